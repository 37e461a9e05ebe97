//! Tags, branches and Call-IDs nobody can guess (RFC 3261 sections 8.1.1.4, 8.1.1.7 and 19.3).

use sha2::{Digest, Sha256};

use crate::msg::{Name, Request};
use crate::transaction::key::COOKIE;

/// Makes names out of a secret and a counter.
pub(super) struct Ids {
    secret: [u8; 32],
    counter: u64,
}

impl Ids {
    pub(super) fn new(secret: [u8; 32]) -> Self {
        Self { secret, counter: 0 }
    }

    /// 20 hex digits: 80 bits.
    pub(super) fn token(&mut self) -> String {
        hex(&self.next(), 10)
    }

    /// A number that was not given before.
    pub(super) fn number(&mut self) -> u64 {
        u64::from_be_bytes(self.bytes())
    }

    /// A tag that the same request gets again, though nothing of it is remembered (section 8.2.7).
    pub(super) fn tag_of(&self, request: &Request) -> String {
        let mut hash = Sha256::new();
        hash.update(self.secret);
        for name in [Name::Via, Name::From, Name::CallId, Name::CSeq] {
            hash.update(request.headers.get(name).unwrap_or_default());
            hash.update([0]);
        }
        hex(&hash.finalize(), 10)
    }

    /// Eight bytes that were not given before.
    pub(super) fn bytes(&mut self) -> [u8; 8] {
        self.next().first_chunk().copied().unwrap_or_default()
    }

    fn next(&mut self) -> [u8; 32] {
        self.counter += 1;
        let mut hash = Sha256::new();
        hash.update(self.secret);
        hash.update(self.counter.to_be_bytes());
        hash.finalize().into()
    }

    /// A number below `bound` that nobody can foresee.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let token = self.token();
        let number = token.get(..15).and_then(|hex| u64::from_str_radix(hex, 16).ok());
        number.unwrap_or_default() % bound.max(1)
    }

    pub(super) fn branch(&mut self) -> String {
        format!("{COOKIE}{}", self.token())
    }
}

/// The name of a contact: a hash, so that it tells nothing and fits any address form.
pub(super) fn stable(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hex(&hash.finalize(), 6)
}

fn hex(bytes: &[u8], count: usize) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    let digits = bytes.iter().take(count).flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    let mut out = String::with_capacity(count * 2);
    out.extend(digits);
    out
}
