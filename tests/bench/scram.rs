//! The client's side of SCRAM-SHA-1 (RFC 5802), with the slow part done once an account: a bench measures servers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha1::{Digest, Sha1};

/// Password, and salt with rounds.
type Made = (String, String);

/// Salted passwords by what they are made of.
static SALTED: Mutex<Option<HashMap<Made, [u8; 20]>>> = Mutex::new(None);

fn salted(password: &str, salt: &str, iterations: u32) -> Result<[u8; 20]> {
    let key = (password.to_owned(), format!("{salt} {iterations}"));
    let known = |all: &Option<HashMap<_, _>>| all.as_ref().and_then(|m| m.get(&key).copied());
    if let Some(known) = known(&SALTED.lock().unwrap_or_else(PoisonError::into_inner)) {
        return Ok(known);
    }
    let mut made = [0; 20];
    let salt = BASE64.decode(salt)?;
    pbkdf2::pbkdf2_hmac::<Sha1>(password.as_bytes(), &salt, iterations, &mut made);
    let mut all = SALTED.lock().unwrap_or_else(PoisonError::into_inner);
    all.get_or_insert_default().insert(key, made);
    Ok(made)
}

fn hmac(key: &[u8], data: &str) -> Result<[u8; 20]> {
    let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(key).context("key")?;
    mac.update(data.as_bytes());
    Ok(mac.finalize().into_bytes().into())
}

/// The client's first message, without its GS2 header.
pub(crate) fn first(user: &str) -> String {
    format!("n={user},r=bench-{user}")
}

/// The client's final message, for a challenge.
pub(crate) fn last(first: &str, challenge: &str, password: &str) -> Result<String> {
    let field = |name: &str| {
        challenge.split(',').find_map(|f| f.strip_prefix(name)).context("an odd challenge")
    };
    let (nonce, salt, iterations) = (field("r=")?, field("s=")?, field("i=")?.parse()?);
    let bare = format!("c=biws,r={nonce}");
    let auth = format!("{first},{challenge},{bare}");
    let client_key = hmac(&salted(password, salt, iterations)?, "Client Key")?;
    let signature = hmac(&Sha1::digest(client_key), &auth)?;
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    Ok(format!("{bare},p={}", BASE64.encode(proof)))
}
