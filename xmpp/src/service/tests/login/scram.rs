//! SCRAM from the client's end (RFC 5802, RFC 7677), its protection (XEP-0474) and its upgrades (XEP-0480).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::*;

const ALL: [(&str, ScramHash); 3] = [
    ("SCRAM-SHA-512", ScramHash::Sha512),
    ("SCRAM-SHA-256", ScramHash::Sha256),
    ("SCRAM-SHA-1", ScramHash::Sha1),
];

fn hmac(hash: ScramHash, key: &[u8], data: &[u8]) -> Vec<u8> {
    fn with<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
        let mut mac = <M as KeyInit>::new_from_slice(key).unwrap();
        mac.update(data);
        mac.finalize().into_bytes().to_vec()
    }
    match hash {
        ScramHash::Sha1 => with::<Hmac<Sha1>>(key, data),
        ScramHash::Sha256 => with::<Hmac<Sha256>>(key, data),
        ScramHash::Sha512 => with::<Hmac<Sha512>>(key, data),
    }
}

fn digest(hash: ScramHash, data: &[u8]) -> Vec<u8> {
    match hash {
        ScramHash::Sha1 => Sha1::digest(data).to_vec(),
        ScramHash::Sha256 => Sha256::digest(data).to_vec(),
        ScramHash::Sha512 => Sha512::digest(data).to_vec(),
    }
}

fn salted(hash: ScramHash, password: &str, salt: &[u8], rounds: u32) -> Vec<u8> {
    let mut salted = vec![0; hash.length()];
    let password = password.as_bytes();
    match hash {
        ScramHash::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, rounds, &mut salted),
        ScramHash::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, rounds, &mut salted),
        ScramHash::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, rounds, &mut salted),
    }
    salted
}

/// A client's side of one exchange.
pub(super) struct Scram {
    hash: ScramHash,
    header: &'static str,
    binding: &'static [u8],
    bare: String,
}

impl Scram {
    fn new(hash: ScramHash, name: &str, header: &'static str, binding: &'static [u8]) -> Self {
        Self { hash, header, binding, bare: format!("n={name},r=client") }
    }

    fn first(&self) -> String {
        BASE64.encode(format!("{}{}", self.header, self.bare))
    }

    /// The last message, and the server's that would be the answer to it.
    fn last(&self, challenge: &str, password: &str) -> (String, String) {
        let challenge = String::from_utf8(BASE64.decode(challenge).unwrap()).unwrap();
        let field = |name: &str| challenge.split(',').find_map(|f| f.strip_prefix(name)).unwrap();
        let (salt, rounds) = (BASE64.decode(field("s=")).unwrap(), field("i=").parse().unwrap());
        let hash = self.hash;
        let salted = salted(hash, password, &salt, rounds);
        let client_key = hmac(hash, &salted, b"Client Key");
        let bound = [self.header.as_bytes(), self.binding].concat();
        let without = format!("c={},r={}", BASE64.encode(bound), field("r="));
        let auth = format!("{},{challenge},{without}", self.bare);
        let signature = hmac(hash, &digest(hash, &client_key), auth.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let server_key = hmac(hash, &salted, b"Server Key");
        let answer = hmac(hash, &server_key, auth.as_bytes());
        (
            BASE64.encode(format!("{without},p={}", BASE64.encode(proof))),
            BASE64.encode(format!("v={}", BASE64.encode(answer))),
        )
    }

    /// The exchange in SASL2; gives the challenge and the outcome.
    async fn run(
        &self,
        client: &mut Client,
        mechanism: &str,
        password: &str,
        parts: &str,
    ) -> (String, String) {
        let said = client.authenticate(mechanism, &self.first(), parts).await;
        if said.contains("<failure") {
            return (String::new(), said);
        }
        let challenge = between(&said, "<challenge xmlns='urn:xmpp:sasl:2'>", "</challenge>");
        let (last, answer) = self.last(challenge, password);
        let said = client.say(&format!("<response xmlns='{SASL2}'>{last}</response>")).await;
        if said.contains("<success") || said.contains("<continue") {
            let data = format!("<additional-data>{answer}</additional-data>");
            assert!(said.contains(&data), "{said}");
        }
        let challenge = BASE64.decode(challenge).unwrap();
        (String::from_utf8(challenge).unwrap(), said)
    }
}

/// RFC 5802 sections 5 and 6, RFC 9266, RFC 5929: every hash, bound and not, in both profiles.
#[tokio::test]
async fn every_hash_logs_in_by_every_binding() {
    let logins = Logins::new();
    for (name, hash) in ALL {
        for (header, binding, plus) in [
            ("n,,", b"".as_slice(), ""),
            ("p=tls-exporter,,", b"exported", "-PLUS"),
            ("p=tls-server-end-point,,", b"hash", "-PLUS"),
        ] {
            let mechanism = format!("{name}{plus}");
            let (mut client, _) = logins.bound().await;
            let scram = Scram::new(hash, "ana", header, binding);
            let (_, said) = scram.run(&mut client, &mechanism, "secret", "").await;
            assert!(said.contains("<success"), "{mechanism} {header}: {said}");

            let (mut client, _) = logins.bound().await;
            let ns = "urn:ietf:params:xml:ns:xmpp-sasl";
            let auth =
                format!("<auth xmlns='{ns}' mechanism='{mechanism}'>{}</auth>", scram.first());
            let said = client.say(&auth).await;
            let challenge = between(&said, "xmpp-sasl'>", "</challenge>");
            let (last, answer) = scram.last(challenge, "secret");
            let said = client.say(&format!("<response xmlns='{ns}'>{last}</response>")).await;
            assert_eq!(said, format!("<success xmlns='{ns}'>{answer}</success>"), "{mechanism}");
        }
    }
}

/// RFC 5802 section 6: another channel, and a list that somebody has shortened.
#[tokio::test]
async fn a_login_on_another_channel_is_refused() {
    let logins = Logins::new();
    for (header, binding, mechanism) in [
        ("p=tls-exporter,,", b"theirs".as_slice(), "SCRAM-SHA-256-PLUS"),
        ("p=tls-server-end-point,,", b"theirs", "SCRAM-SHA-256-PLUS"),
        ("y,,", b"", "SCRAM-SHA-256"),
    ] {
        let (mut client, _) = logins.bound().await;
        let scram = Scram::new(ScramHash::Sha256, "ana", header, binding);
        let (_, said) = scram.run(&mut client, mechanism, "secret", "").await;
        assert!(said.contains("<not-authorized"), "{header}: {said}");
    }
    // Where nothing can bind, a client that could is right.
    let (mut client, _) = logins.plain().await;
    let scram = Scram::new(ScramHash::Sha256, "ana", "y,,", b"");
    let (_, said) = scram.run(&mut client, "SCRAM-SHA-256", "secret", "").await;
    assert!(said.contains("<success"), "{said}");
}

/// XEP-0474 section 6.1: of the lists as they were announced in the profile that is used.
#[tokio::test]
async fn the_challenge_protects_what_was_announced() {
    let logins = Logins::new();
    for (name, hash) in ALL {
        for is_bound in [true, false] {
            let (mut client, features) =
                if is_bound { logins.bound().await } else { logins.plain().await };
            let offer = between(&features, "<authentication", "<inline>");
            let list = |text: &str, from: &str, to: &str| {
                let mut list: Vec<String> = text
                    .split(from)
                    .skip(1)
                    .map(|part| part.split_once(to).unwrap().0.to_owned())
                    .collect();
                list.sort();
                list.join("\u{1e}")
            };
            let mut joined = list(offer, "<mechanism>", "<");
            let types = list(&features, "<channel-binding type='", "'");
            if !types.is_empty() {
                joined.push('\u{1f}');
                joined.push_str(&types);
            }
            let expected = format!(",h={}", BASE64.encode(digest(hash, joined.as_bytes())));
            let scram = Scram::new(hash, "ana", "n,,", b"");
            let (challenge, said) = scram.run(&mut client, name, "secret", "").await;
            assert!(challenge.ends_with(&expected), "{challenge} {joined:?}");
            assert!(said.contains("<success"), "{said}");
        }
    }
}

/// RFC 6120 section 13.11: who does not exist, who exists, and whose password is older than the mechanism.
#[tokio::test]
async fn nobody_can_tell_a_missing_account_or_key_from_a_wrong_password() {
    let logins = Logins::new();
    logins.store.remove_keys(&jid("bob@d"), ScramHash::Sha256);
    for (mechanism, hash) in ALL.into_iter().skip(1) {
        let mut seen = Vec::new();
        for (name, password) in
            [("ana", "wrong"), ("nobody", "wrong"), ("bob", "wrong"), ("a b", "wrong")]
        {
            let run = async || {
                let (mut client, _) = logins.plain().await;
                let scram = Scram::new(hash, name, "n,,", b"");
                let (challenge, said) = scram.run(&mut client, mechanism, password, "").await;
                let field = |f: &str| {
                    challenge.split(',').find_map(|p| p.strip_prefix(f)).unwrap().to_owned()
                };
                (field("s="), field("i="), said, client.counted)
            };
            let (first, second) = (run().await, run().await);
            // The same salt each time, and the same outcome for all.
            assert_eq!(first, second, "{name}");
            seen.push((first.1, first.2, first.3));
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
    }
    // An account shows one salt with all mechanisms, whichever keys it has; so does one that is not there.
    for name in ["ana", "bob", "nobody", "NoBody"] {
        let mut salts = Vec::new();
        for (mechanism, hash) in ALL.into_iter().skip(1) {
            let (mut client, _) = logins.plain().await;
            let scram = Scram::new(hash, name, "n,,", b"");
            let (challenge, _) = scram.run(&mut client, mechanism, "wrong", "").await;
            salts.push(between(&challenge, ",s=", ",").to_owned());
        }
        assert_eq!(salts[0], salts[1], "{name}");
    }
}

/// SCRAM-SHA-512 waits until it works for everybody: a client that prefers it would not know why it fails.
#[tokio::test]
async fn sha_512_is_offered_once_every_account_has_keys_for_it() {
    let logins = Logins::new();
    assert!(logins.plain().await.1.contains("SCRAM-SHA-512</mechanism>"));
    logins.store.remove_keys(&jid("bob@d"), ScramHash::Sha512);
    let (mut client, features) = logins.plain().await;
    assert!(!features.contains("SCRAM-SHA-512</mechanism>"), "{features}");
    assert!(features.contains("UPGR-SCRAM-SHA-512"), "{features}");
    // The others work as before.
    let scram = Scram::new(ScramHash::Sha1, "bob", "n,,", b"");
    let (_, said) = scram.run(&mut client, "SCRAM-SHA-1", "secret", "").await;
    assert!(said.contains("<success"), "{said}");
}

const UPGRADES: &str = "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>\
    <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-512</upgrade>";

/// An account whose password was set when there was only SHA-1.
fn old_account() -> Logins {
    let logins = Logins::new();
    logins.store.remove_keys(&jid("ana@d"), ScramHash::Sha256);
    logins.store.remove_keys(&jid("ana@d"), ScramHash::Sha512);
    logins
}

/// Logs in by SHA-1 and asks for both upgrades.
async fn begin_upgrade(client: &mut Client, parts: &str) -> String {
    let scram = Scram::new(ScramHash::Sha1, "ana", "n,,", b"");
    let parts = format!("{UPGRADES}{parts}");
    scram.run(client, "SCRAM-SHA-1", "secret", &parts).await.1
}

/// Begins a task and gives the salted password it asks for.
async fn task(client: &mut Client, hash: ScramHash, name: &str) -> String {
    let said = client.say(&format!("<next xmlns='{SASL2}' task='{name}'/>")).await;
    let rounds = between(
        &said,
        "<task-data xmlns='urn:xmpp:sasl:2'><salt xmlns='urn:xmpp:scram-upgrade:0' iterations='",
        "'",
    );
    let salt = BASE64.decode(between(&said, "'>", "</salt>").rsplit('>').next().unwrap()).unwrap();
    BASE64.encode(salted(hash, "secret", &salt, rounds.parse().unwrap()))
}

fn answer(hash: &str) -> String {
    format!(
        "<task-data xmlns='{SASL2}'><hash xmlns='urn:xmpp:scram-upgrade:0'>{hash}</hash></task-data>"
    )
}

/// XEP-0480 sections 2.2, 2.3 and 3; XEP-0388 section 2.6.3.
#[tokio::test]
async fn an_old_account_is_upgraded_task_by_task_before_it_is_in() {
    let logins = old_account();
    let (mut client, _) = logins.plain().await;
    let said = begin_upgrade(&mut client, BIND).await;
    assert!(said.starts_with("<continue") && !said.contains("<success"), "{said}");
    assert!(said.ends_with("<tasks><task>UPGR-SCRAM-SHA-512</task></tasks></continue>"), "{said}");
    assert!(client.jid().is_none() && client.counted.is_empty());
    let hash = task(&mut client, ScramHash::Sha512, "UPGR-SCRAM-SHA-512").await;
    let said = client.say(&answer(&hash)).await;
    assert!(said.contains("<task>UPGR-SCRAM-SHA-256</task>"), "{said}");
    assert!(!said.contains("additional-data"), "{said}");
    let hash = task(&mut client, ScramHash::Sha256, "UPGR-SCRAM-SHA-256").await;
    let said = client.say(&answer(&hash)).await;
    assert!(said.starts_with("<success") && said.contains("<bound"), "{said}");
    assert!(!said.contains("additional-data") && client.counted == [true], "{said}");
    // Now every mechanism works, SHA-1 too, and nothing is left to upgrade.
    for (mechanism, hash) in ALL {
        let (mut client, _) = logins.plain().await;
        let scram = Scram::new(hash, "ana", "n,,", b"");
        let (_, said) = scram.run(&mut client, mechanism, "secret", UPGRADES).await;
        assert!(said.contains("<success"), "{mechanism}: {said}");
    }
}

#[tokio::test]
async fn an_upgrade_that_fails_or_is_given_up_leaves_the_client_outside() {
    let logins = old_account();
    let right = BASE64.encode([0; 64]);
    for (name, data, condition) in [
        ("UPGR-SCRAM-SHA-256", String::new(), "malformed-request"),
        ("UPGR-SCRAM-SHA-512", answer("!"), "incorrect-encoding"),
        ("UPGR-SCRAM-SHA-512", answer(&BASE64.encode([0; 32])), "malformed-request"),
        ("UPGR-SCRAM-SHA-512", answer(""), "malformed-request"),
        ("UPGR-SCRAM-SHA-512", format!("<task-data xmlns='{SASL2}'/>"), "malformed-request"),
        ("UPGR-SCRAM-SHA-512", format!("<abort xmlns='{SASL2}'/>"), "aborted"),
    ] {
        let (mut client, _) = logins.plain().await;
        let token = "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>";
        begin_upgrade(&mut client, &format!("{}{BIND}{token}", agent(DEVICE))).await;
        let next = format!("<next xmlns='{SASL2}' task='{name}'/>");
        let mut said = client.say(&next).await;
        if !data.is_empty() {
            assert!(said.contains("<salt"), "{said}");
            said = client.say(&data).await;
        }
        assert!(said.contains(&format!("<{condition} ")), "{data}: {said}");
        assert!(client.jid().is_none() && client.counted.is_empty());
        assert_eq!(logins.store.tokens().count(), 0);
    }
    assert!(logins.store.stored_keys(&jid("ana@d")).unwrap().sha512.is_none());
    // What belongs to another stage ends the stream.
    for misplaced in [answer(&right), format!("<response xmlns='{SASL2}'/>")] {
        let (mut client, _) = logins.plain().await;
        begin_upgrade(&mut client, "").await;
        let said = client.say(&misplaced).await;
        assert!(said.contains("<stream:error>") && client.closed, "{said}");
    }
}
