//! SCRAM against the transcripts that its documents print, and against what they forbid.

use super::*;
use crate::stream::binding::EXPORTER;
use crate::stream::sasl::Offer;

fn decode(text: &str) -> Vec<u8> {
    BASE64.decode(text).unwrap()
}

/// A transcript: everything said, in order, and the channel binding.
struct Transcript {
    hash: ScramHash,
    bare: &'static str,
    server_first: &'static str,
    client_final: &'static str,
    server_final: &'static str,
    binding: &'static [u8],
}

impl Transcript {
    /// Checks the client's last message as the server does that has sent the challenge.
    fn check(&self) {
        let field = |name: &str| {
            self.server_first.split(',').find_map(|f| f.strip_prefix(name)).unwrap().to_owned()
        };
        let iterations = field("i=").parse().unwrap();
        let keys = ScramKeys::derive(self.hash, "pencil", &decode(&field("s=")), iterations);
        let challenged = Challenged {
            hash: self.hash,
            keys,
            known: true,
            auth: format!("{},{}", self.bare, self.server_first),
            nonce: field("r="),
            binding: self.binding.to_vec(),
        };
        let answer = challenged.finish(self.client_final.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), self.server_final);
    }
}

/// RFC 5802 section 5 and RFC 7677 section 3: user, pencil.
#[test]
fn the_transcripts_of_the_rfcs_are_accepted() {
    Transcript {
        hash: ScramHash::Sha1,
        bare: "n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        server_first: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        client_final: "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        server_final: "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        binding: b"n,,",
    }
    .check();
    Transcript {
        hash: ScramHash::Sha256,
        bare: "n=user,r=rOprNGfwEbeRWgbNEkqO",
        server_first: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        client_final: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        server_final: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        binding: b"n,,",
    }
    .check();
}

/// XEP-0474 section 6.3, with an attribute that nobody knows in the client's last message.
#[test]
fn the_transcript_of_xep_0474_is_accepted_and_its_hash_is_ours() {
    let offer = Offer {
        mechanisms: vec!["SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"],
        bindings: vec!["tls-server-end-point", EXPORTER],
    };
    let hash = ScramHash::Sha1.digest(offer.joined().as_bytes());
    assert_eq!(BASE64.encode(hash), "G6k/rBLDqgOhRRaCuuatSDFkJ08=");
    Transcript {
        hash: ScramHash::Sha1,
        bare: "n=user,r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6",
        server_first: "r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6a09117a6-ac50-4f2f-93f1-93799c2bddf6,s=QSXCR+Q6sek8bf92,i=4096,h=G6k/rBLDqgOhRRaCuuatSDFkJ08=",
        client_final: "c=cD10bHMtZXhwb3J0ZXIsLFRISVMgSVMgRkFLRSBDQiBEQVRB,r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6a09117a6-ac50-4f2f-93f1-93799c2bddf6,x=19C6532F-1CF4-4A27-A18D-DC9CEA41BBB3,p=M/SIDjT+dfcxUh89jZEypRvFxB4=",
        server_final: "v=MQrMPvv7yv4x4Cq4W4Ih25EqS2c=",
        binding: b"p=tls-exporter,,THIS IS FAKE CB DATA",
    }
    .check();
}

/// XEP-0480 section 3: what the client of the example sends back.
#[test]
fn a_salted_password_makes_the_keys_of_the_password() {
    for hash in ScramHash::ALL {
        let derived = ScramKeys::derive(hash, "pencil", b"salt", 50);
        let mut salted = vec![0; hash.length()];
        match hash {
            ScramHash::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(b"pencil", b"salt", 50, &mut salted),
            ScramHash::Sha256 => {
                pbkdf2::pbkdf2_hmac::<Sha256>(b"pencil", b"salt", 50, &mut salted);
            }
            ScramHash::Sha512 => {
                pbkdf2::pbkdf2_hmac::<Sha512>(b"pencil", b"salt", 50, &mut salted);
            }
        }
        assert_eq!(ScramKeys::from_salted(hash, &salted, b"salt", 50), derived);
    }
}

/// RFC 5802 section 5.1: a password typed in another form of Unicode is the same password.
#[test]
fn a_password_is_prepared() {
    let keys = |password| ScramKeys::derive(ScramHash::Sha256, password, b"salt", 10);
    assert_eq!(keys("Gr\u{fc}\u{df}e"), keys("Gru\u{308}\u{df}e"));
    assert_ne!(keys("geheim"), keys("Geheim"));
}

#[test]
fn messages_of_another_form_are_malformed() {
    let bindings = Bindings { exporter: Some(vec![1]), end_point: None };
    let parse = |text: &[u8], plus| First::parse(text, plus, &bindings, "n").unwrap_err();
    for bad in [
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=",
        "n,,n=a",
        "n,,n=a,r=",
        "n,,r=b,n=a",
        "x,,n=a,r=b",
        "n,b=c,n=a,r=b",
        "n,,n=a=2D,r=b",
        "n,,m=x,n=a,r=b",
        "p=tls-exporter,,n=a,r=b",
    ] {
        assert_eq!(parse(bad.as_bytes(), false), Failure::MalformedRequest, "{bad}");
    }
    for bad in ["n,,n=a,r=b", "y,,n=a,r=b", "p=tls-unique,,n=a,r=b", "p=,,n=a,r=b"] {
        assert_eq!(parse(bad.as_bytes(), true), Failure::MalformedRequest, "{bad}");
    }
    assert_eq!(parse(b"n,,n=\xff,r=b", false), Failure::MalformedRequest);
    let long = format!("n,,n=a,r={}", "x".repeat(257));
    assert_eq!(parse(long.as_bytes(), false), Failure::MalformedRequest);
    let escaped = First::parse(b"n,a=x=2Cy@d,n=x=2Cy=3D,r=b", false, &bindings, "n").unwrap();
    assert_eq!((escaped.username.as_str(), escaped.authzid.as_deref()), ("x,y=", Some("x,y@d")));
}

/// RFC 5802 section 6: who could bind and saw no -PLUS was robbed of it.
#[test]
fn a_client_that_was_robbed_of_channel_binding_is_refused() {
    let bindings = Bindings { exporter: None, end_point: Some(vec![1]) };
    let robbed = First::parse(b"y,,n=a,r=b", false, &bindings, "c");
    assert_eq!(robbed, Err(Failure::NotAuthorized));
    assert!(First::parse(b"y,,n=a,r=b", false, &Bindings::default(), "c").is_ok());
}

fn challenged(known: bool) -> Challenged {
    let bindings = Bindings { exporter: Some(b"ours".to_vec()), end_point: None };
    let first = First::parse(b"p=tls-exporter,,n=a,r=b", true, &bindings, "c").unwrap();
    let keys = ScramKeys::derive(ScramHash::Sha512, "p", b"s", 10);
    first.challenge(ScramHash::Sha512, keys, known, "").0
}

/// The client's last message for [`challenged`].
fn proof(binding: &[u8], nonce: &str, password: &str) -> String {
    let hash = ScramHash::Sha512;
    let mut salted = vec![0; 64];
    pbkdf2::pbkdf2_hmac::<Sha512>(password.as_bytes(), b"s", 10, &mut salted);
    let client_key = hash.hmac(&salted, b"Client Key");
    let without = format!("c={},r={nonce}", BASE64.encode(binding));
    let auth = format!("{},{without}", challenged(true).auth);
    let signature = hash.hmac(&hash.digest(&client_key), auth.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
    format!("{without},p={}", BASE64.encode(proof))
}

#[test]
fn only_the_right_proof_of_a_real_account_on_this_channel_is_accepted() {
    let binding = b"p=tls-exporter,,ours";
    let finish = |known, message: String| challenged(known).finish(message.as_bytes());
    assert!(finish(true, proof(binding, "bc", "p")).is_ok());
    assert_eq!(finish(false, proof(binding, "bc", "p")), Err(Failure::NotAuthorized));
    for wrong in [
        proof(binding, "bc", "q"),
        proof(binding, "bd", "p"),
        proof(b"p=tls-exporter,,theirs", "bc", "p"),
        proof(b"p=tls-server-end-point,,ours", "bc", "p"),
        proof(b"n,,", "bc", "p"),
    ] {
        assert_eq!(finish(true, wrong.clone()), Err(Failure::NotAuthorized), "{wrong}");
    }
    for bad in ["", "c=biws", "c=biws,r=bc", "c=!,r=bc,p=AAAA", "c=biws,r=bc,p=!", "r=bc,c=biws,p="]
    {
        assert_eq!(finish(true, bad.into()), Err(Failure::MalformedRequest), "{bad}");
    }
}

/// RFC 6120 section 13.11: what an unknown account shows is what a known one shows.
#[test]
fn unknown_names_show_one_salt_with_every_mechanism_each_time() {
    let unknown = |name| LoginKeys::new(None, b"secret", name, 10_000);
    let salt = unknown("nobody").salt();
    assert_eq!((salt.0.len(), salt.1), (16, 10_000));
    for hash in ScramHash::ALL {
        let (keys, known) = unknown("nobody").of(hash);
        assert_eq!((keys.salt, keys.iterations, known), (salt.0.clone(), 10_000, false));
        assert_eq!(keys.stored_key.len(), hash.length());
    }
    assert_ne!(unknown("noone").salt(), salt);
}

/// An account without keys of a hash shows its own salt there too.
#[test]
fn a_missing_hash_looks_like_a_wrong_password() {
    let mut own = PasswordKeys::derive("p", b"its own salt", 7);
    own.sha512 = None;
    let keys = LoginKeys::new(Some(std::sync::Arc::new(own)), b"secret", "ana", 10_000);
    let (missing, known) = keys.of(ScramHash::Sha512);
    assert_eq!(
        (missing.salt.as_slice(), missing.iterations, known),
        (&b"its own salt"[..], 7, false)
    );
    assert!(keys.lacks(ScramHash::Sha512) && !keys.lacks(ScramHash::Sha1));
}
