//! Invitations: links that make an account, join two rosters, or both (XEP-0379, XEP-0401, XEP-0445).

use std::time::Duration;

use super::{BoxFuture, StoreError};
use crate::jid::Jid;

/// What a token is good for. It is good once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// The domain it was made for.
    pub domain: String,
    /// Who has invited; `None` for the operator.
    pub inviter: Option<Jid>,
    /// The only name an account made with it may have. It is kept free for it.
    pub name: Option<String>,
    /// An account can be made with it.
    pub registers: bool,
    /// Who uses it and the inviter see each other.
    pub joins: bool,
}

/// Where invitations are kept. A token is known only to who made it: what is kept is its hash.
pub trait Invites: Send + Sync {
    /// Keeps an invitation that can be used for so long; gives its end as an XMPP timestamp (XEP-0082). `None` when the
    /// inviter has too many unused ones, or the name is taken by another. Resolves after the commit.
    fn add<'a>(
        &'a self,
        token: &'a str,
        invite: &'a Invite,
        lifetime: Duration,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>>;
    /// An invitation that can be used now.
    fn find<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<Invite>, StoreError>>;
    /// Whether an invitation is unused, be its time over or not.
    fn is_there<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// Uses an invitation up, whether its time is over or not. False when it was used before. Resolves after the
    /// commit.
    fn take<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// Whether this name is kept free for an invitation that can be used now.
    fn reserves<'a>(&'a self, account: &'a Jid) -> BoxFuture<'a, Result<bool, StoreError>>;
}
