//! Accounts that are made, given another password and removed while the server runs (XEP-0077, XEP-0133).

use super::{BoxFuture, StoreError};
use crate::jid::Jid;
use crate::stream::sasl::{ScramHash, ScramKeys};

/// Where accounts are changed. Each change resolves after its commit and holds for the next login at once.
///
/// Deriving keys from a password is slow on purpose; an implementation does it off the threads that serve connections.
pub trait Passwords: Send + Sync {
    /// Makes an account with this password. False when it exists already, which changes nothing.
    fn create<'a>(
        &'a self,
        account: &'a Jid,
        password: &'a str,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// Replaces the password, and forgets every login token that was given for the old one. False when there is no such
    /// account.
    fn set_password<'a>(
        &'a self,
        account: &'a Jid,
        password: &'a str,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// Adds the keys of a hash that the account lacks (XEP-0480), derived with its salt. False when it has them, which
    /// changes nothing, or when there is no such account.
    fn upgrade<'a>(
        &'a self,
        account: &'a Jid,
        hash: ScramHash,
        keys: ScramKeys,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// Whether every account has keys of this hash, as far as is known here.
    fn covers(&self, hash: ScramHash) -> bool;
    /// Removes an account with everything it owns in the store. False when there was none.
    fn remove<'a>(&'a self, account: &'a Jid) -> BoxFuture<'a, Result<bool, StoreError>>;
}
