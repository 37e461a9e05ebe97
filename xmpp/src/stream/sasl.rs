//! SASL on the server's side: SCRAM (RFC 5802, 7677) with channel binding (RFC 9266), PLAIN (RFC 4616).
//!
//! A machine: the client's messages in, challenges out. It asks for the account's keys once and cannot tell its caller
//! whether a name exists: for unknown names it runs on keys made from a secret, so that timing and salt look real.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The hash a SCRAM mechanism uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScramHash {
    /// SCRAM-SHA-1
    Sha1,
    /// SCRAM-SHA-256
    Sha256,
}

/// What the server keeps instead of a password (RFC 5802 section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// Random, per account.
    pub salt: Vec<u8>,
    /// PBKDF2 rounds.
    pub iterations: u32,
    /// H(ClientKey).
    pub stored_key: Vec<u8>,
    /// HMAC(SaltedPassword, "Server Key").
    pub server_key: Vec<u8>,
}

impl ScramKeys {
    /// Keys for a password.
    pub fn derive(hash: ScramHash, password: &str, salt: &[u8], iterations: u32) -> Self {
        let mut salted = vec![0; hash.length()];
        match hash {
            ScramHash::Sha1 => {
                pbkdf2::pbkdf2_hmac::<Sha1>(password.as_bytes(), salt, iterations, &mut salted);
            }
            ScramHash::Sha256 => {
                pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, iterations, &mut salted);
            }
        }
        let client_key = hash.hmac(&salted, b"Client Key");
        Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: hash.digest(&client_key),
            server_key: hash.hmac(&salted, b"Server Key"),
        }
    }

    /// Keys nobody has the password for, the same for the same name each time.
    pub fn fake(hash: ScramHash, secret: &[u8], username: &str, iterations: u32) -> Self {
        let salt = hash.hmac(secret, username.as_bytes());
        let stored_key = hash.hmac(secret, &salt);
        let server_key = hash.hmac(&stored_key, &salt);
        Self {
            salt: salt.get(..16).unwrap_or_default().to_vec(),
            iterations,
            stored_key,
            server_key,
        }
    }

    /// Whether this is the password (PLAIN).
    pub fn verify(&self, hash: ScramHash, password: &str) -> bool {
        let keys = Self::derive(hash, password, &self.salt, self.iterations);
        keys.stored_key.ct_eq(&self.stored_key).into()
    }
}

impl ScramHash {
    fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => hmac_with::<Hmac<Sha1>>(key, data),
            Self::Sha256 => hmac_with::<Hmac<Sha256>>(key, data),
        }
    }

    fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(data).to_vec(),
            Self::Sha256 => Sha256::digest(data).to_vec(),
        }
    }
}

fn hmac_with<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// An offered mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// SCRAM; `plus` binds to the TLS channel.
    Scram {
        /// Its hash.
        hash: ScramHash,
        /// With channel binding.
        plus: bool,
    },
    /// The password itself, over TLS only.
    Plain,
}

impl Mechanism {
    /// Offered, strongest first. Without a channel binding the -PLUS forms are left out.
    pub fn offered(binding: bool) -> Vec<&'static str> {
        const PLUS: [&str; 2] = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"];
        let plus = if binding { &PLUS[..] } else { &[] };
        plus.iter().chain(&["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"]).copied().collect()
    }

    /// By its registered name.
    pub fn parse(name: &str) -> Option<Self> {
        let scram = |hash, plus| Some(Self::Scram { hash, plus });
        match name {
            "SCRAM-SHA-256-PLUS" => scram(ScramHash::Sha256, true),
            "SCRAM-SHA-1-PLUS" => scram(ScramHash::Sha1, true),
            "SCRAM-SHA-256" => scram(ScramHash::Sha256, false),
            "SCRAM-SHA-1" => scram(ScramHash::Sha1, false),
            "PLAIN" => Some(Self::Plain),
            _ => None,
        }
    }
}

/// Why an attempt failed (RFC 6120 section 6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Wrong name or password, and nothing says which.
    NotAuthorized,
    /// The message is not of the mechanism's form.
    MalformedRequest,
    /// It asks to act as somebody else.
    InvalidAuthzid,
    /// Our storage failed.
    TemporaryAuthFailure,
}

impl Failure {
    /// The element's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAuthorized => "not-authorized",
            Self::MalformedRequest => "malformed-request",
            Self::InvalidAuthzid => "invalid-authzid",
            Self::TemporaryAuthFailure => "temporary-auth-failure",
        }
    }
}

/// What the attempt needs next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Give the keys of this name and hash to [`Attempt::handle_keys`].
    NeedKeys {
        /// The claimed local part.
        username: String,
        /// Which keys.
        hash: ScramHash,
    },
    /// Send this and wait for the client.
    Challenge(Vec<u8>),
    /// It is them; send this with the success.
    Success {
        /// The local part, as claimed.
        username: String,
        /// Additional data of the success.
        data: Option<Vec<u8>>,
    },
    /// It is over.
    Failed(Failure),
}

#[derive(Debug)]
enum State {
    Plain {
        username: String,
        password: String,
    },
    First {
        hash: ScramHash,
        username: String,
        bare: String,
        nonce: String,
        binding: Vec<u8>,
    },
    Challenged {
        hash: ScramHash,
        username: String,
        keys: Box<ScramKeys>,
        known: bool,
        auth: String,
        nonce: String,
        binding: Vec<u8>,
    },
    Done,
}

/// One attempt to log in.
#[derive(Debug)]
pub struct Attempt(State);

impl Attempt {
    /// Begins with the client's first message. `exporter` is the stream's tls-exporter value, `nonce` is ours, random.
    pub fn start(
        mechanism: Mechanism,
        message: &[u8],
        exporter: Option<&[u8]>,
        nonce: &str,
    ) -> (Self, Step) {
        let begun = match mechanism {
            Mechanism::Plain => start_plain(message),
            Mechanism::Scram { hash, plus } => start_scram(hash, plus, message, exporter, nonce),
        };
        match begun {
            Ok((state, username, hash)) => (Self(state), Step::NeedKeys { username, hash }),
            Err(failure) => (Self(State::Done), Step::Failed(failure)),
        }
    }

    /// The keys that were asked for; `known` is false when they are made up.
    pub fn handle_keys(&mut self, keys: ScramKeys, known: bool) -> Step {
        match std::mem::replace(&mut self.0, State::Done) {
            State::Plain { username, password } => {
                let right = keys.verify(ScramHash::Sha256, &password);
                if right && known {
                    Step::Success { username, data: None }
                } else {
                    Step::Failed(Failure::NotAuthorized)
                }
            }
            State::First { hash, username, bare, nonce, binding } => {
                let first =
                    format!("r={nonce},s={},i={}", BASE64.encode(&keys.salt), keys.iterations);
                let auth = format!("{bare},{first}");
                self.0 = State::Challenged {
                    hash,
                    username,
                    keys: Box::new(keys),
                    known,
                    auth,
                    nonce,
                    binding,
                };
                Step::Challenge(first.into_bytes())
            }
            _ => Step::Failed(Failure::MalformedRequest),
        }
    }

    /// The client's answer to the challenge.
    pub fn handle_response(&mut self, message: &[u8]) -> Step {
        let State::Challenged { hash, username, keys, known, auth, nonce, binding } =
            std::mem::replace(&mut self.0, State::Done)
        else {
            return Step::Failed(Failure::MalformedRequest);
        };
        match finish_scram(hash, message, &keys, &auth, &nonce, &binding) {
            Ok(signature) if known => {
                let data = format!("v={}", BASE64.encode(signature)).into_bytes();
                Step::Success { username, data: Some(data) }
            }
            Ok(_) => Step::Failed(Failure::NotAuthorized),
            Err(failure) => Step::Failed(failure),
        }
    }
}

type Begun = Result<(State, String, ScramHash), Failure>;

fn start_plain(message: &[u8]) -> Begun {
    let text = std::str::from_utf8(message).map_err(|_| Failure::MalformedRequest)?;
    let mut parts = text.split('\0');
    let (Some(authzid), Some(name), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Failure::MalformedRequest);
    };
    if name.is_empty() || password.is_empty() {
        return Err(Failure::MalformedRequest);
    }
    if !authzid.is_empty() && authzid.split('@').next() != Some(name) {
        return Err(Failure::InvalidAuthzid);
    }
    let state = State::Plain { username: name.into(), password: password.into() };
    Ok((state, name.into(), ScramHash::Sha256))
}

fn start_scram(
    hash: ScramHash,
    plus: bool,
    message: &[u8],
    exporter: Option<&[u8]>,
    server_nonce: &str,
) -> Begun {
    const BAD: Failure = Failure::MalformedRequest;
    let text = std::str::from_utf8(message).map_err(|_| BAD)?;
    let (flag, rest) = text.split_once(',').ok_or(BAD)?;
    let (authzid, bare) = rest.split_once(',').ok_or(BAD)?;
    let header = format!("{flag},{authzid},");
    let mut binding = header.into_bytes();
    match flag {
        "p=tls-exporter" if plus => binding.extend_from_slice(exporter.ok_or(BAD)?),
        "n" if !plus => {}
        // The client could bind but saw no -PLUS: honest only when we offered none (RFC 5802 section 6).
        "y" if !plus && exporter.is_none() => {}
        "y" if !plus => return Err(Failure::NotAuthorized),
        _ => return Err(BAD),
    }
    let mut parts = bare.split(',');
    let name = parts.next().and_then(|p| p.strip_prefix("n=")).ok_or(BAD)?;
    let nonce = parts.next().and_then(|p| p.strip_prefix("r=")).ok_or(BAD)?;
    if nonce.is_empty() || nonce.len() > 256 || name.is_empty() {
        return Err(BAD);
    }
    let username = saslname(name).ok_or(BAD)?;
    let claims = authzid.strip_prefix("a=").and_then(saslname);
    if claims.is_some_and(|a| a.split('@').next() != Some(&username)) {
        return Err(Failure::InvalidAuthzid);
    }
    let nonce = format!("{nonce}{server_nonce}");
    let state =
        State::First { hash, username: username.clone(), bare: bare.into(), nonce, binding };
    Ok((state, username, hash))
}

fn finish_scram(
    hash: ScramHash,
    message: &[u8],
    keys: &ScramKeys,
    auth: &str,
    nonce: &str,
    binding: &[u8],
) -> Result<Vec<u8>, Failure> {
    const BAD: Failure = Failure::MalformedRequest;
    let text = std::str::from_utf8(message).map_err(|_| BAD)?;
    let (without_proof, proof) = text.rsplit_once(",p=").ok_or(BAD)?;
    let mut parts = without_proof.split(',');
    let sent_binding = parts.next().and_then(|p| p.strip_prefix("c=")).ok_or(BAD)?;
    let sent_nonce = parts.next().and_then(|p| p.strip_prefix("r=")).ok_or(BAD)?;
    let sent_binding = BASE64.decode(sent_binding).map_err(|_| BAD)?;
    let proof = BASE64.decode(proof).map_err(|_| BAD)?;
    if sent_nonce != nonce || sent_binding != binding || proof.len() != hash.length() {
        return Err(Failure::NotAuthorized);
    }
    let auth = format!("{auth},{without_proof}");
    let signature = hash.hmac(&keys.stored_key, auth.as_bytes());
    let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
    if !bool::from(hash.digest(&client_key).ct_eq(&keys.stored_key)) {
        return Err(Failure::NotAuthorized);
    }
    Ok(hash.hmac(&keys.server_key, auth.as_bytes()))
}

/// `=2C` and `=3D` are the only escapes (RFC 5802 section 5.1).
fn saslname(name: &str) -> Option<String> {
    let plain = name.replace("=2C", "\u{0}").replace("=3D", "\u{1}");
    if plain.contains('=') {
        return None;
    }
    Some(plain.replace('\u{0}', ",").replace('\u{1}', "="))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677 section 3: user, pencil.
    #[test]
    fn speaks_the_example_of_rfc_7677() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let keys = ScramKeys::derive(ScramHash::Sha256, "pencil", &salt, 4096);
        let mechanism = Mechanism::parse("SCRAM-SHA-256").unwrap();
        let (mut attempt, step) = Attempt::start(
            mechanism,
            b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            None,
            "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        );
        assert_eq!(step, Step::NeedKeys { username: "user".into(), hash: ScramHash::Sha256 });
        let Step::Challenge(challenge) = attempt.handle_keys(keys, true) else { panic!() };
        assert_eq!(
            String::from_utf8(challenge).unwrap(),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let step = attempt.handle_response(
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        );
        let data = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_vec();
        assert_eq!(step, Step::Success { username: "user".into(), data: Some(data) });
    }

    #[test]
    fn plain_takes_the_right_password_only() {
        let keys = ScramKeys::derive(ScramHash::Sha256, "geheim", b"salt", 1000);
        for (password, known, success) in
            [("geheim", true, true), ("falsch", true, false), ("geheim", false, false)]
        {
            let message = format!("\0ana\0{password}");
            let (mut attempt, _) = Attempt::start(Mechanism::Plain, message.as_bytes(), None, "x");
            let step = attempt.handle_keys(keys.clone(), known);
            assert_eq!(matches!(step, Step::Success { .. }), success, "{password} {known}");
        }
    }

    #[test]
    fn a_client_that_was_robbed_of_channel_binding_is_refused() {
        let mechanism = Mechanism::parse("SCRAM-SHA-1").unwrap();
        let (_, step) = Attempt::start(mechanism, b"y,,n=a,r=b", Some(b"binding"), "c");
        assert_eq!(step, Step::Failed(Failure::NotAuthorized));
    }

    #[test]
    fn a_proof_bound_to_another_channel_is_refused() {
        let mechanism = Mechanism::parse("SCRAM-SHA-256-PLUS").unwrap();
        let keys = ScramKeys::derive(ScramHash::Sha256, "p", b"s", 1000);
        let (mut attempt, _) =
            Attempt::start(mechanism, b"p=tls-exporter,,n=a,r=b", Some(b"ours"), "c");
        attempt.handle_keys(keys, true);
        let theirs = BASE64.encode(b"p=tls-exporter,,theirs");
        let proof = BASE64.encode([0; 32]);
        let step = attempt.handle_response(format!("c={theirs},r=bc,p={proof}").as_bytes());
        assert_eq!(step, Step::Failed(Failure::NotAuthorized));
    }

    #[test]
    fn unknown_names_get_a_stable_salt() {
        let one = ScramKeys::fake(ScramHash::Sha1, b"secret", "nobody", 10_000);
        assert_eq!(one, ScramKeys::fake(ScramHash::Sha1, b"secret", "nobody", 10_000));
        assert_ne!(one.salt, ScramKeys::fake(ScramHash::Sha1, b"secret", "noone", 10_000).salt);
    }
}
