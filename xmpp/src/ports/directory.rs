//! Who has an account, for administrators (XEP-0133), and the clock on the wall.

use super::{BoxFuture, StoreError};
use crate::jid::Jid;

/// An account as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its address.
    pub account: Jid,
    /// It may not log in.
    pub disabled: bool,
}

/// The list of accounts.
pub trait Directory: Send + Sync {
    /// Accounts of a domain in the order of their names, after one; no more than `max`.
    fn list<'a>(
        &'a self,
        domain: &'a str,
        after: Option<&'a str>,
        max: usize,
    ) -> BoxFuture<'a, Result<Vec<Listed>, StoreError>>;
    /// How many accounts a domain has, and how many of them are disabled.
    fn count<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<(u64, u64), StoreError>>;
    /// Lets an account log in no more, or again; nothing of it is lost. False when there is none. Resolves after the
    /// commit and holds for the next login at once.
    fn set_disabled<'a>(
        &'a self,
        account: &'a Jid,
        disabled: bool,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// Milliseconds since 1970. May jump, as wall clocks do.
    fn unix_ms(&self) -> i64;
}
