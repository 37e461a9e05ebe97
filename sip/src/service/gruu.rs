//! Addresses of one device (RFC 5627): a public one that lasts, and temporary ones that tell nothing.
//!
//! The public address is the address of record with the device's name as `gr`. A temporary one is a sealed token: a nonce,
//! the enciphered name of the registration and a tag over both, so that any number can be given out without being kept,
//! and two of them cannot be known to be of one device. They end with the registration's Call-ID or with the registration.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Core;
use super::binding::Binding;
use crate::msg::{Host, Uri};

/// What the user part of a temporary address begins with.
const PREFIX: &str = "tgruu.";
const NONCE_LEN: usize = 8;
const NAME_LEN: usize = 8;
const TAG_LEN: usize = 10;

/// What makes and reads temporary addresses.
pub(super) struct Gruus {
    key: [u8; 32],
    /// Accounts by the names of those of their registrations that have such addresses.
    accounts: HashMap<u64, String>,
}

impl Gruus {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { key, accounts: HashMap::new() }
    }

    pub(super) fn set_key(&mut self, key: [u8; 32]) {
        self.key = key;
    }

    /// The bindings of an account were these and are those.
    pub(super) fn changed<'a>(
        &mut self,
        before: impl Iterator<Item = &'a Binding>,
        after: impl Iterator<Item = &'a Binding>,
    ) {
        for binding in before.filter(|binding| binding.has_gruu) {
            self.accounts.remove(&name(binding));
        }
        for binding in after.filter(|binding| binding.has_gruu) {
            self.accounts.insert(name(binding), binding.account.clone());
        }
    }

    fn hmac(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.key)
            .expect("HMAC takes a key of any length");
        mac.update(purpose.as_bytes());
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Ciphers or deciphers a name.
    fn cipher(&self, nonce: &[u8], name: [u8; NAME_LEN]) -> [u8; NAME_LEN] {
        let stream = self.hmac("gruu name", &[nonce]);
        let mut out = name;
        out.iter_mut().zip(stream).for_each(|(byte, pad)| *byte ^= pad);
        out
    }

    fn seal(&self, nonce: [u8; NONCE_LEN], name: u64) -> String {
        let sealed = self.cipher(&nonce, name.to_be_bytes());
        let tag = self.hmac("gruu tag", &[&nonce, &sealed]);
        let mut token = Vec::with_capacity(NONCE_LEN + NAME_LEN + TAG_LEN);
        token.extend_from_slice(&nonce);
        token.extend_from_slice(&sealed);
        token.extend(tag.iter().take(TAG_LEN));
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(token))
    }

    fn open(&self, user: &str) -> Option<u64> {
        let token = URL_SAFE_NO_PAD.decode(user.strip_prefix(PREFIX)?).ok()?;
        let (nonce, rest) = token.split_at_checked(NONCE_LEN)?;
        let (sealed, tag) = rest.split_at_checked(NAME_LEN)?;
        let expected = self.hmac("gruu tag", &[nonce, sealed]);
        let is_ours = expected.get(..TAG_LEN)?.ct_eq(tag);
        let name = self.cipher(nonce, sealed.try_into().ok()?);
        bool::from(is_ours).then_some(u64::from_be_bytes(name))
    }
}

/// The name of a registration: another one when the phone begins anew with another Call-ID (section 5.1).
fn name(binding: &Binding) -> u64 {
    let mut hash = Sha256::new();
    for part in [&binding.account, &binding.id, &binding.call_id] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

impl Core {
    /// The key that temporary addresses are made with, the same after a restart.
    pub fn set_gruu_key(&mut self, key: [u8; 32]) {
        self.gruus.set_key(key);
    }

    /// The device's own address (section 5.4).
    pub(super) fn public_gruu(binding: &Binding) -> Option<Uri> {
        let mut uri = binding.account_uri()?;
        uri.params.set("gr", Some(&binding.id));
        Some(uri)
    }

    /// Another address of the device that does not tell whose it is.
    pub(super) fn temporary_gruu(&mut self, binding: &Binding) -> Option<Uri> {
        let nonce = self.ids.bytes();
        let user = self.gruus.seal(nonce, name(binding));
        let (_, domain) = binding.account.rsplit_once('@')?;
        let mut uri = Uri::sip(Some(&user), Host::parse(domain)?);
        uri.params.set("gr", None);
        Some(uri)
    }

    /// Whether an address looks like a temporary one of ours; it may have ended.
    pub(super) fn is_temporary_gruu(&self, uri: &Uri) -> bool {
        uri.params.has("gr")
            && uri.param("gr").is_none()
            && uri.user_decoded().is_some_and(|user| self.gruus.open(&user).is_some())
    }

    /// Who is meant by a request to a device's address: the address itself where it has a name in it, the public one
    /// for a temporary one.
    ///
    /// # Errors
    /// 404: a temporary address that has ended or never was. 480: the phone is not registered (section 6.1).
    pub(super) fn resolve_gruu(&self, uri: &Uri, domain: &str) -> Result<Uri, u16> {
        if !uri.params.has("gr") {
            return Ok(uri.clone());
        }
        let user = uri.user_decoded().unwrap_or_default();
        let Some(device) = uri.param("gr") else {
            let name_of = self.gruus.open(&user).ok_or(404_u16)?;
            let account = self.gruus.accounts.get(&name_of).ok_or(404_u16)?;
            let found = self.bindings(account).iter().find(|binding| name(binding) == name_of);
            return found.and_then(|binding| Self::public_gruu(binding)).ok_or(404);
        };
        let account = format!("{}@{domain}", user.to_lowercase());
        let is_here = self.bindings(&account).iter().any(|binding| binding.id == device);
        // Other names are of devices that do not register here.
        if device.starts_with("phone-") && !is_here { Err(480) } else { Ok(uri.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_only_whole_and_two_of_one_name_have_nothing_in_common() {
        let gruus = Gruus::new([3; 32]);
        let tokens: Vec<String> = (0..50_u64).map(|n| gruus.seal(n.to_be_bytes(), 42)).collect();
        for (at, token) in tokens.iter().enumerate() {
            assert_eq!(gruus.open(token), Some(42));
            assert_eq!(Gruus::new([4; 32]).open(token), None);
            // Behind the nonce, which is random on the wire, no two bytes in a row agree with another token.
            let sealed = &token[PREFIX.len() + 12..];
            assert!(tokens.iter().skip(at + 1).all(|other| !other.contains(&sealed[..6])));
        }
        for user in ["", "tgruu.", "tgruu.AAAA", "ana", &tokens[0][..20]] {
            assert_eq!(gruus.open(user), None, "{user}");
        }
        let mut broken = tokens[0].clone().into_bytes();
        for at in PREFIX.len()..broken.len() - 1 {
            broken[at] = if broken[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(gruus.open(std::str::from_utf8(&broken).unwrap()), None, "byte {at}");
            broken.copy_from_slice(tokens[0].as_bytes());
        }
    }
}
