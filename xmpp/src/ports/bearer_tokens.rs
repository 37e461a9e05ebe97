//! Tokens of somebody else who vouches for people of a domain (RFC 7628).

use super::{BoxFuture, StoreError};

/// An issuer whose bearer tokens are trusted.
pub trait BearerTokens: Send + Sync {
    /// The local part of the account in `domain` that this token was issued to. `None` when it is not valid, expired, or
    /// for another service.
    fn validate<'a>(
        &'a self,
        domain: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>>;
}
