//! Long-term credentials (RFC 8489 section 9.2) without a store: names that hold the time they end and passwords that
//! follow from a secret (draft-uberti-behave-turn-rest), and nonces that prove themselves.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::Client;
use super::request::Request;

/// Seconds for which a nonce is taken (RFC 8656 section 5: at most an hour).
const NONCE_SECONDS: u64 = 3_600;
/// Says that password algorithms and hashed names are spoken: bits 0 and 1 of 24 (RFC 8489 sections 9.2 and 18.1).
const COOKIE: &str = "obMatJos2wAAA";
/// MD5 and SHA-256, without parameters (RFC 8489 section 14.11): the better one first.
pub(super) const ALGORITHMS: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];
/// Names handed out whose hashes are known.
const MAX_HASHES: usize = 100_000;

/// How a request proved itself, for the answer.
#[derive(Clone)]
pub(super) struct Proof {
    /// Whose it is: what stays the same when credentials are renewed.
    pub(super) owner: Arc<str>,
    key: Vec<u8>,
    is_sha256: bool,
}

impl Proof {
    /// Signs an answer as its request was.
    pub(super) fn sign(&self, writer: crate::stun::Writer) -> crate::stun::Writer {
        if self.is_sha256 { writer.sign_sha256(&self.key) } else { writer.sign_sha1(&self.key) }
    }
}

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// 400.
    Malformed,
    /// 401.
    Unauthorized,
    /// 438.
    Stale,
}

/// What is needed to believe somebody.
pub(super) struct Auth {
    realm: String,
    /// The newest first: the others still count, so that a secret can be changed.
    secrets: Vec<Vec<u8>>,
    fixed: HashMap<String, String>,
    nonce_key: [u8; 32],
    /// SHA-256 of `name:realm`, and the name (RFC 8489 section 14.4), with the second it ends.
    hashes: HashMap<[u8; 32], (Arc<str>, u64)>,
}

impl Auth {
    pub(super) fn new(
        realm: &str,
        secrets: Vec<Vec<u8>>,
        fixed: HashMap<String, String>,
        nonce_key: [u8; 32],
    ) -> Self {
        let mut auth =
            Self { realm: realm.to_owned(), secrets, fixed, nonce_key, hashes: HashMap::new() };
        let names: Vec<String> = auth.fixed.keys().cloned().collect();
        for name in names {
            auth.remember(&name, u64::MAX, 0);
        }
        auth
    }

    pub(super) fn realm(&self) -> &str {
        &self.realm
    }

    /// Makes a name known by its hash until it ends.
    pub(super) fn remember(&mut self, name: &str, ends: u64, now: u64) {
        if self.hashes.len() >= MAX_HASHES {
            self.hashes.retain(|_, (_, ends)| *ends > now);
        }
        if self.hashes.len() < MAX_HASHES {
            let hash = Sha256::digest(format!("{name}:{}", self.realm));
            self.hashes.insert(hash.into(), (name.into(), ends));
        }
    }

    /// A nonce for a client. `now` counts seconds since 1970.
    pub(super) fn nonce(&self, client: &Client, now: u64) -> String {
        let mut bytes = [0; 24];
        let (time, code) = bytes.split_at_mut(8);
        time.copy_from_slice(&now.to_be_bytes());
        code.copy_from_slice(&self.nonce_code(client, now));
        format!("{COOKIE}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    fn nonce_code(&self, client: &Client, made: u64) -> [u8; 16] {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.nonce_key)
            .expect("HMAC takes keys of any length");
        mac.update(&made.to_be_bytes());
        mac.update(client.remote.to_string().as_bytes());
        let mut code = [0; 16];
        code.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
        code
    }

    fn is_fresh(&self, nonce: &[u8], client: &Client, now: u64) -> bool {
        let check = || {
            let rest = nonce.strip_prefix(COOKIE.as_bytes())?;
            let bytes: [u8; 24] = URL_SAFE_NO_PAD.decode(rest).ok()?.try_into().ok()?;
            let (time, code) = bytes.split_at(8);
            let made = u64::from_be_bytes(time.try_into().ok()?);
            let is_ours = bool::from(code.ct_eq(&self.nonce_code(client, made)));
            Some(is_ours && made <= now && now - made < NONCE_SECONDS)
        };
        check().unwrap_or(false)
    }

    /// Judges a request in the order of RFC 8489 section 9.2.4.
    pub(super) fn check(
        &self,
        request: &Request<'_>,
        client: &Client,
        now: u64,
    ) -> Result<Proof, Refused> {
        if request.integrity.is_none() && request.integrity_sha256.is_none() {
            return Err(Refused::Unauthorized);
        }
        let (Some(nonce), Some(_)) = (request.nonce, request.realm) else {
            return Err(Refused::Malformed);
        };
        let is_named = request.username.is_some() || request.userhash.is_some();
        if !is_named {
            return Err(Refused::Malformed);
        }
        let algorithm = chosen_algorithm(request, nonce)?;
        let name = self.name_of(request).ok_or(Refused::Unauthorized)?;
        if request.realm != Some(self.realm.as_bytes()) {
            return Err(Refused::Unauthorized);
        }
        for password in self.passwords(&name, now) {
            let key = key(algorithm, &name, &self.realm, &password);
            let is_sha256 = request.integrity_sha256.is_some();
            let is_right = match (request.integrity_sha256, request.integrity) {
                (Some(at), _) => request.frame.is_signed_sha256(at, &key),
                (None, Some(at)) => request.frame.is_signed_sha1(at, &key),
                (None, None) => false,
            };
            if is_right {
                if !self.is_fresh(nonce, client, now) {
                    return Err(Refused::Stale);
                }
                let owner = name.split_once(':').map_or(&*name, |(_, account)| account);
                return Ok(Proof { owner: owner.into(), key, is_sha256 });
            }
        }
        Err(Refused::Unauthorized)
    }

    fn name_of(&self, request: &Request<'_>) -> Option<Arc<str>> {
        match (request.username, request.userhash) {
            (Some(name), _) => std::str::from_utf8(name).ok().map(Arc::from),
            (None, Some(hash)) => {
                let hash: &[u8; 32] = hash.try_into().ok()?;
                self.hashes.get(hash).map(|(name, _)| name.clone())
            }
            (None, None) => None,
        }
    }

    /// What may be the password of a name: none when it has ended or nobody made it.
    fn passwords(&self, name: &str, now: u64) -> Vec<String> {
        if let Some(password) = self.fixed.get(name) {
            return vec![password.clone()];
        }
        let ends = name.split_once(':').map_or(name, |(ends, _)| ends);
        if !ends.parse::<u64>().is_ok_and(|ends| ends >= now) {
            return Vec::new();
        }
        self.secrets.iter().map(|secret| rest_password(secret, name)).collect()
    }
}

/// The password of a name that ends (draft-uberti-behave-turn-rest section 2.2).
pub fn rest_password(secret: &[u8], name: &str) -> String {
    let mut mac =
        <Hmac<Sha1> as KeyInit>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(name.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Md5,
    Sha256,
}

/// The algorithm of the key. Both attributes or none, and the list as it was sent: else somebody in between has bid
/// down (RFC 8489 section 9.2.4). Only nonces with the cookie have them.
fn chosen_algorithm(request: &Request<'_>, nonce: &[u8]) -> Result<Algorithm, Refused> {
    if !nonce.starts_with(COOKIE.as_bytes()) {
        return Ok(Algorithm::Md5);
    }
    match (request.password_algorithms, request.password_algorithm) {
        (None, None) => Ok(Algorithm::Md5),
        (Some(list), Some([0, number, 0, 0])) if list == ALGORITHMS => match number {
            1 => Ok(Algorithm::Md5),
            2 => Ok(Algorithm::Sha256),
            _ => Err(Refused::Malformed),
        },
        _ => Err(Refused::Malformed),
    }
}

fn key(algorithm: Algorithm, name: &str, realm: &str, password: &str) -> Vec<u8> {
    let joined = format!("{name}:{realm}:{password}");
    match algorithm {
        Algorithm::Md5 => Md5::digest(joined).to_vec(),
        Algorithm::Sha256 => Sha256::digest(joined).to_vec(),
    }
}
