//! Ids that cannot be guessed, and tokens that bind a PUT to what was granted.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::store::Upload;

/// 144 random bits for a URL and a file name; never begins with a dot or holds a slash.
pub(super) fn new_id() -> String {
    let mut bytes = [0; 18];
    getrandom::fill(&mut bytes).expect("the system has a source of randomness");
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The token of a slot.
pub(super) fn make(key: &[u8; 32], upload: &Upload) -> String {
    URL_SAFE_NO_PAD.encode(mac(key, upload).finalize().into_bytes())
}

/// Whether this is the token of the slot; takes the same time whatever it is.
pub(super) fn is_good(key: &[u8; 32], upload: &Upload, token: &str) -> bool {
    URL_SAFE_NO_PAD.decode(token).is_ok_and(|token| mac(key, upload).verify_slice(&token).is_ok())
}

fn mac(key: &[u8; 32], upload: &Upload) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("any length is a key");
    // No part can hold a line end, so the parts cannot run into each other.
    let parts = format!(
        "{}\n{}\n{}\n{}\n{}",
        upload.id, upload.name, upload.size, upload.content_type, upload.expires
    );
    mac.update(parts.as_bytes());
    mac
}
