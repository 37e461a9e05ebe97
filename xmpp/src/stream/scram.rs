//! SCRAM on the server's side (RFC 5802, RFC 7677; SHA-512 as in draft-melnikov-scram-sha-512), with channel binding and
//! the hash that protects the choice of a mechanism (XEP-0474).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use precis_profiles::OpaqueString;
use precis_profiles::precis_core::profile::Profile;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::binding::Bindings;
use super::sasl::Failure;

/// Longest nonce of a client.
const MAX_NONCE: usize = 256;

/// The hash a SCRAM mechanism uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScramHash {
    /// SCRAM-SHA-1
    Sha1,
    /// SCRAM-SHA-256
    Sha256,
    /// SCRAM-SHA-512
    Sha512,
}

impl ScramHash {
    /// All, strongest first.
    pub const ALL: [Self; 3] = [Self::Sha512, Self::Sha256, Self::Sha1];

    /// Bytes of a digest.
    pub fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => hmac_with::<Hmac<Sha1>>(key, data),
            Self::Sha256 => hmac_with::<Hmac<Sha256>>(key, data),
            Self::Sha512 => hmac_with::<Hmac<Sha512>>(key, data),
        }
    }

    fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(data).to_vec(),
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        }
    }
}

fn hmac_with<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// What the server keeps instead of a password, for one hash (RFC 5802 section 3).
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
    /// Keys for a password; as slow as its rounds. The password is prepared first (RFC 8265 section 4.2), one that
    /// cannot be is taken as it is.
    pub fn derive(hash: ScramHash, password: &str, salt: &[u8], iterations: u32) -> Self {
        let prepared = OpaqueString::new().enforce(password);
        let password = prepared.as_deref().unwrap_or(password).as_bytes();
        let mut salted = vec![0; hash.length()];
        match hash {
            ScramHash::Sha1 => {
                pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, iterations, &mut salted);
            }
            ScramHash::Sha256 => {
                pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted);
            }
            ScramHash::Sha512 => {
                pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut salted);
            }
        }
        Self::from_salted(hash, &salted, salt, iterations)
    }

    /// Keys for a salted password, which a client has derived (XEP-0480 section 3).
    pub fn from_salted(hash: ScramHash, salted: &[u8], salt: &[u8], iterations: u32) -> Self {
        let client_key = hash.hmac(salted, b"Client Key");
        Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: hash.digest(&client_key),
            server_key: hash.hmac(salted, b"Server Key"),
        }
    }

    /// Keys that no password fits; the same for the same seed each time.
    pub fn fake(hash: ScramHash, seed: &[u8], salt: &[u8], iterations: u32) -> Self {
        let stored_key = hash.hmac(seed, b"Stored Key");
        let server_key = hash.hmac(seed, b"Server Key");
        Self { salt: salt.to_vec(), iterations, stored_key, server_key }
    }

    /// Whether these are the keys of the same password, told in constant time.
    pub fn matches(&self, derived: &Self) -> bool {
        self.stored_key.ct_eq(&derived.stored_key).into()
    }

    /// Whether this is the password; as slow as its rounds.
    pub fn verify(&self, hash: ScramHash, password: &str) -> bool {
        self.matches(&Self::derive(hash, password, &self.salt, self.iterations))
    }
}

/// All the keys of one password. An account may lack those of hashes that came after its password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PasswordKeys {
    /// For SCRAM-SHA-1.
    pub sha1: Option<ScramKeys>,
    /// For SCRAM-SHA-256.
    pub sha256: Option<ScramKeys>,
    /// For SCRAM-SHA-512.
    pub sha512: Option<ScramKeys>,
}

impl PasswordKeys {
    /// Keys of every hash, with one salt; as slow as all their rounds together.
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Self {
        let keys = |hash| Some(ScramKeys::derive(hash, password, salt, iterations));
        Self {
            sha1: keys(ScramHash::Sha1),
            sha256: keys(ScramHash::Sha256),
            sha512: keys(ScramHash::Sha512),
        }
    }

    /// The keys of one hash.
    pub fn of(&self, hash: ScramHash) -> Option<&ScramKeys> {
        match hash {
            ScramHash::Sha1 => self.sha1.as_ref(),
            ScramHash::Sha256 => self.sha256.as_ref(),
            ScramHash::Sha512 => self.sha512.as_ref(),
        }
    }

    /// Adds or replaces the keys of one hash.
    pub fn set(&mut self, hash: ScramHash, keys: ScramKeys) {
        match hash {
            ScramHash::Sha1 => self.sha1 = Some(keys),
            ScramHash::Sha256 => self.sha256 = Some(keys),
            ScramHash::Sha512 => self.sha512 = Some(keys),
        }
    }

    /// Salt and rounds, which all hashes share.
    pub fn salt(&self) -> Option<(&[u8], u32)> {
        let keys = ScramHash::ALL.iter().find_map(|hash| self.of(*hash))?;
        Some((&keys.salt, keys.iterations))
    }
}

/// What a login is checked against: the keys of an account, or made-up ones that look the same.
#[derive(Debug, Clone)]
pub struct LoginKeys {
    keys: Option<std::sync::Arc<PasswordKeys>>,
    seed: Vec<u8>,
    iterations: u32,
}

impl LoginKeys {
    /// `name` is the prepared name, `secret` is kept across restarts and `iterations` are those of new passwords: an
    /// unknown name gets the same salt each time, with every mechanism.
    pub fn new(
        keys: Option<std::sync::Arc<PasswordKeys>>,
        secret: &[u8],
        name: &str,
        iterations: u32,
    ) -> Self {
        let seed = ScramHash::Sha256.hmac(secret, name.as_bytes());
        Self { keys, seed, iterations }
    }

    /// The keys of one hash, and whether they are real.
    pub fn of(&self, hash: ScramHash) -> (ScramKeys, bool) {
        if let Some(keys) = self.keys.as_ref().and_then(|keys| keys.of(hash)) {
            return (keys.clone(), true);
        }
        let (salt, iterations) = self.salt();
        (ScramKeys::fake(hash, &self.seed, &salt, iterations), false)
    }

    /// Salt and rounds of all hashes.
    pub fn salt(&self) -> (Vec<u8>, u32) {
        match self.keys.as_ref().and_then(|keys| keys.salt()) {
            Some((salt, iterations)) => (salt.to_vec(), iterations),
            None => {
                let salt = ScramHash::Sha256.hmac(&self.seed, b"Salt");
                (salt.get(..16).unwrap_or_default().to_vec(), self.iterations)
            }
        }
    }

    /// Whether the account has no keys of this hash.
    pub fn lacks(&self, hash: ScramHash) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.of(hash).is_none())
    }
}

/// A client's first message, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct First {
    pub(super) username: String,
    pub(super) authzid: Option<String>,
    bare: String,
    nonce: String,
    binding: Vec<u8>,
}

/// A SCRAM exchange that waits for the client's proof.
#[derive(Debug)]
pub(super) struct Challenged {
    hash: ScramHash,
    keys: ScramKeys,
    known: bool,
    auth: String,
    nonce: String,
    binding: Vec<u8>,
}

impl First {
    /// Reads a client-first-message (RFC 5802 section 7). `nonce` is ours, random.
    pub(super) fn parse(
        message: &[u8],
        plus: bool,
        bindings: &Bindings,
        nonce: &str,
    ) -> Result<Self, Failure> {
        const BAD: Failure = Failure::MalformedRequest;
        let text = std::str::from_utf8(message).map_err(|_| BAD)?;
        let (flag, rest) = text.split_once(',').ok_or(BAD)?;
        let (authzid, bare) = rest.split_once(',').ok_or(BAD)?;
        let mut binding = format!("{flag},{authzid},").into_bytes();
        match (flag.strip_prefix("p="), flag) {
            (Some(name), _) if plus => {
                binding.extend_from_slice(bindings.data(name).ok_or(BAD)?);
            }
            (None, "n") if !plus => {}
            // The client could bind but saw no -PLUS: honest only when we offered none (RFC 5802 section 6).
            (None, "y") if !plus && bindings.is_empty() => {}
            (None, "y") if !plus => return Err(Failure::NotAuthorized),
            _ => return Err(BAD),
        }
        let authzid = match authzid {
            "" => None,
            claim => Some(claim.strip_prefix("a=").and_then(saslname).ok_or(BAD)?),
        };
        let mut parts = bare.split(',');
        let name = parts.next().and_then(|p| p.strip_prefix("n=")).ok_or(BAD)?;
        let theirs = parts.next().and_then(|p| p.strip_prefix("r=")).ok_or(BAD)?;
        if theirs.is_empty() || theirs.len() > MAX_NONCE || name.is_empty() {
            return Err(BAD);
        }
        Ok(Self {
            username: saslname(name).ok_or(BAD)?,
            authzid,
            bare: bare.into(),
            nonce: format!("{theirs}{nonce}"),
            binding,
        })
    }

    /// The server-first-message, and what waits for its answer. `offered` is what was announced, as XEP-0474 section 6.1
    /// joins it.
    pub(super) fn challenge(
        self,
        hash: ScramHash,
        keys: ScramKeys,
        known: bool,
        offered: &str,
    ) -> (Challenged, Vec<u8>) {
        let protection = BASE64.encode(hash.digest(offered.as_bytes()));
        let first = format!(
            "r={},s={},i={},h={protection}",
            self.nonce,
            BASE64.encode(&keys.salt),
            keys.iterations
        );
        let auth = format!("{},{first}", self.bare);
        let challenged =
            Challenged { hash, keys, known, auth, nonce: self.nonce, binding: self.binding };
        (challenged, first.into_bytes())
    }
}

impl Challenged {
    /// Checks a client-final-message and gives the server-final-message. Made-up keys are checked to the end too.
    pub(super) fn finish(self, message: &[u8]) -> Result<Vec<u8>, Failure> {
        const BAD: Failure = Failure::MalformedRequest;
        let text = std::str::from_utf8(message).map_err(|_| BAD)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(BAD)?;
        let mut parts = without_proof.split(',');
        let binding = parts.next().and_then(|p| p.strip_prefix("c=")).ok_or(BAD)?;
        let nonce = parts.next().and_then(|p| p.strip_prefix("r=")).ok_or(BAD)?;
        let binding = BASE64.decode(binding).map_err(|_| BAD)?;
        let proof = BASE64.decode(proof).map_err(|_| BAD)?;
        let hash = self.hash;
        if nonce != self.nonce || binding != self.binding || proof.len() != hash.length() {
            return Err(Failure::NotAuthorized);
        }
        let auth = format!("{},{without_proof}", self.auth);
        let signature = hash.hmac(&self.keys.stored_key, auth.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let right = hash.digest(&client_key).ct_eq(&self.keys.stored_key);
        if !bool::from(right) || !self.known {
            return Err(Failure::NotAuthorized);
        }
        let signature = hash.hmac(&self.keys.server_key, auth.as_bytes());
        Ok(format!("v={}", BASE64.encode(signature)).into_bytes())
    }
}

/// `=2C` and `=3D` are the only escapes (RFC 5802 section 5.1).
pub(super) fn saslname(name: &str) -> Option<String> {
    let plain = name.replace("=2C", "\u{0}").replace("=3D", "\u{1}");
    if plain.contains('=') {
        return None;
    }
    Some(plain.replace('\u{0}', ",").replace('\u{1}', "="))
}

#[cfg(test)]
#[path = "scram_tests.rs"]
mod tests;
