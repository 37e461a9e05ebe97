//! Hashed tokens (draft-schmaus-kitten-sasl-ht-09): the mechanisms of FAST (XEP-0484), one message each way.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::binding::{Bindings, END_POINT, EXPORTER};
use super::sasl::Failure;

/// Most tokens of one device that are looked at: the one in use and the one that is to follow it.
pub const MAX_TOKENS: usize = 2;

/// A mechanism that takes a token, by what it is bound to. All use SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenMechanism {
    /// HT-SHA-256-EXPR, bound by tls-exporter.
    Exporter,
    /// HT-SHA-256-ENDP, bound by tls-server-end-point.
    EndPoint,
    /// HT-SHA-256-NONE, for clients that cannot bind, as in browsers.
    Unbound,
}

impl TokenMechanism {
    /// All, strongest first.
    pub const ALL: [Self; 3] = [Self::Exporter, Self::EndPoint, Self::Unbound];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exporter => "HT-SHA-256-EXPR",
            Self::EndPoint => "HT-SHA-256-ENDP",
            Self::Unbound => "HT-SHA-256-NONE",
        }
    }

    /// By its registered name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// The channel binding data; `None` where the connection has not this kind.
    pub fn data(self, bindings: &Bindings) -> Option<&[u8]> {
        match self {
            Self::Exporter => bindings.data(EXPORTER),
            Self::EndPoint => bindings.data(END_POINT),
            Self::Unbound => Some(&[]),
        }
    }

    /// Those that this connection can do.
    pub fn offered(bindings: &Bindings) -> Vec<Self> {
        Self::ALL.into_iter().filter(|m| m.data(bindings).is_some()).collect()
    }
}

/// What the server keeps of a token. The token itself is longer than a block of SHA-256, so that its digest is all that
/// HMAC uses of it (RFC 2104 section 2): whoever reads the store learns no token, though like every keeper of a shared
/// secret it could log in until that expires.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenKey(pub [u8; 32]);

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey")
    }
}

impl TokenKey {
    /// Of a token in the form the client has it; at least 65 bytes.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    fn hmac(&self, role: &[u8], binding: &[u8]) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0)
            .expect("HMAC takes keys of any length");
        mac.update(role);
        mac.update(binding);
        mac.finalize().into_bytes().into()
    }
}

/// A token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// Names it in the store.
    pub id: i64,
    /// The only mechanism it is good for (XEP-0484 section 3.4).
    pub mechanism: TokenMechanism,
    /// What it is checked with.
    pub key: TokenKey,
    /// Its time is over.
    pub expired: bool,
    /// A new one should replace it.
    pub due: bool,
}

/// A token as its client gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// The secret.
    pub token: String,
    /// When it expires (XEP-0082).
    pub expiry: String,
}

/// An initiator's message.
#[derive(Debug)]
pub(super) struct Initiator {
    pub(super) username: String,
    hashed: Vec<u8>,
}

impl Initiator {
    /// Reads `authcid NUL hashed-token`.
    pub(super) fn parse(message: &[u8]) -> Result<Self, Failure> {
        let at = message.iter().position(|b| *b == 0).ok_or(Failure::MalformedRequest)?;
        let (name, hashed) = message.split_at(at);
        let name = std::str::from_utf8(name).map_err(|_| Failure::MalformedRequest)?;
        let hashed = hashed.get(1..).unwrap_or_default();
        if name.is_empty() || hashed.len() != 32 {
            return Err(Failure::MalformedRequest);
        }
        Ok(Self { username: name.to_owned(), hashed: hashed.to_vec() })
    }

    /// The token this proves the possession of, and the answer that proves ours. As many are tried whether there are
    /// any or not.
    pub(super) fn check(
        &self,
        mechanism: TokenMechanism,
        tokens: &[StoredToken],
        binding: &[u8],
    ) -> Option<(StoredToken, Vec<u8>)> {
        let mut found = None;
        for n in 0..MAX_TOKENS {
            let token = tokens.get(n);
            let key = token.map_or(TokenKey([0; 32]), |token| token.key);
            let right: bool = key.hmac(b"Initiator", binding).ct_eq(&self.hashed).into();
            if let Some(token) = token.filter(|token| right && token.mechanism == mechanism) {
                found = Some((token.clone(), key.hmac(b"Responder", binding).to_vec()));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "a-token-of-more-than-sixty-four-bytes-so-that-hmac-digests-it-before-use";

    fn stored(mechanism: TokenMechanism) -> StoredToken {
        StoredToken { id: 7, mechanism, key: TokenKey::of(TOKEN), expired: false, due: false }
    }

    /// What a client computes: HMAC keyed with the token itself.
    fn clients(role: &[u8], binding: &[u8]) -> Vec<u8> {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(TOKEN.as_bytes()).unwrap();
        mac.update(role);
        mac.update(binding);
        mac.finalize().into_bytes().to_vec()
    }

    fn message(binding: &[u8]) -> Vec<u8> {
        [b"ana\0".as_slice(), &clients(b"Initiator", binding)].concat()
    }

    #[test]
    fn a_digest_of_the_token_checks_the_proof_and_makes_the_answer() {
        for (mechanism, binding) in
            [(TokenMechanism::Unbound, b"".as_slice()), (TokenMechanism::Exporter, b"channel")]
        {
            let initiator = Initiator::parse(&message(binding)).unwrap();
            assert_eq!(initiator.username, "ana");
            let tokens = [stored(mechanism)];
            let (token, answer) = initiator.check(mechanism, &tokens, binding).unwrap();
            assert_eq!((token.id, answer), (7, clients(b"Responder", binding)));
        }
    }

    /// XEP-0484 section 3.4: a token is good for its mechanism only, and for its channel.
    #[test]
    fn another_mechanism_another_channel_or_no_token_is_refused() {
        let initiator = Initiator::parse(&message(b"channel")).unwrap();
        let tokens = [stored(TokenMechanism::Exporter)];
        assert!(initiator.check(TokenMechanism::Exporter, &tokens, b"other").is_none());
        assert!(initiator.check(TokenMechanism::EndPoint, &tokens, b"channel").is_none());
        assert!(initiator.check(TokenMechanism::Exporter, &[], b"channel").is_none());
        // The stand-in for a missing token is no way in.
        let zero = TokenKey([0; 32]).hmac(b"Initiator", b"");
        let forged = Initiator::parse(&[b"ana\0".as_slice(), &zero].concat()).unwrap();
        assert!(forged.check(TokenMechanism::Unbound, &[], b"").is_none());
    }

    #[test]
    fn what_is_no_message_of_the_mechanism_is_malformed() {
        for bad in [b"".as_slice(), b"ana", b"\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", b"ana\0short"] {
            assert_eq!(Initiator::parse(bad).unwrap_err(), Failure::MalformedRequest, "{bad:?}");
        }
    }
}
