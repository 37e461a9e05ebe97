//! Accounts that are made, given another password and removed while the server runs (XEP-0077, XEP-0133).

use super::{BoxFuture, StoreError};
use crate::jid::Jid;

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
    /// Removes an account with everything it owns in the store. False when there was none.
    fn remove<'a>(&'a self, account: &'a Jid) -> BoxFuture<'a, Result<bool, StoreError>>;
}
