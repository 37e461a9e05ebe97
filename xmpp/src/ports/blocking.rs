//! Whom somebody does not want to hear from (XEP-0191), and what was said about them (XEP-0377).

use bytes::Bytes;

use super::{BoxFuture, StoreError};
use crate::jid::Jid;

/// A complaint about somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who complains.
    pub reporter: Jid,
    /// About whom: what was blocked with it.
    pub reported: Jid,
    /// A URN such as `urn:xmpp:reporting:spam`.
    pub reason: String,
    /// In the reporter's words.
    pub text: Option<String>,
    /// It may be passed on to the server it came from.
    pub to_origin: bool,
    /// It may be passed on to third parties.
    pub to_others: bool,
    /// The messages it is about.
    pub evidence: Vec<Evidence>,
}

/// A message somebody complains about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Who gave the id: the archive it is in (XEP-0359).
    pub by: String,
    /// The id.
    pub id: String,
    /// The message as it was in the reporter's archive then; whatever becomes of it there.
    pub stanza: Option<Bytes>,
}

/// Where block lists and reports are kept. An owner is an account, or a domain for the list of the whole server. Each
/// change resolves after its commit.
pub trait Blocklists: Send + Sync {
    /// Everything the owner blocks.
    fn load<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<Vec<Jid>, StoreError>>;
    /// Adds to the list and keeps the reports, in one commit. What is on the list stays there. Of a reporter who
    /// complains without end no more is kept.
    fn block<'a>(
        &'a self,
        owner: &'a Jid,
        blocked: &'a [Jid],
        reports: &'a [Report],
    ) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Takes off the list.
    fn unblock<'a>(
        &'a self,
        owner: &'a Jid,
        unblocked: &'a [Jid],
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}
