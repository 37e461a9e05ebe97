//! Which app servers want to be told of what an absent user misses (XEP-0357).

use bytes::Bytes;

use super::{BoxFuture, StoreError};
use crate::jid::Jid;

/// One node of an app server, which leads to one device or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushTarget {
    /// The app server.
    pub service: Jid,
    /// Its node; empty when the client named none.
    pub node: String,
    /// The publish options that go with every notification, as the client gave them: a data form.
    pub options: Option<Bytes>,
    /// The resource that enabled it: the device it wakes.
    pub resource: Option<String>,
}

/// Where they are kept. Each change resolves after its commit.
pub trait Pushes: Send + Sync {
    /// All of an account.
    fn load<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<Vec<PushTarget>, StoreError>>;
    /// Adds one, or replaces that with the same service and node.
    fn put<'a>(
        &'a self,
        owner: &'a Jid,
        target: &'a PushTarget,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Forgets one node of a service, or all of them.
    fn remove<'a>(
        &'a self,
        owner: &'a Jid,
        service: &'a Jid,
        node: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}
