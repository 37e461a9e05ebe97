//! What the server needs from outside, in its own words. The gateway implements these over its store and bridges.

mod archive;
mod bearer_tokens;
mod blocking;
mod calls;
mod directory;
mod dns;
mod invites;
mod login_tokens;
#[cfg(any(test, feature = "memory"))]
pub mod memory;
#[cfg(any(test, feature = "memory"))]
pub mod memory_accounts;
#[cfg(any(test, feature = "memory"))]
mod memory_archive;
pub mod memory_pubsub;
#[cfg(any(test, feature = "memory"))]
pub mod memory_rooms;
#[cfg(any(test, feature = "memory"))]
pub mod memory_web;
mod passwords;
pub mod pubsub;
mod pushes;
mod relays;
pub mod rooms;
mod uploads;

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

pub use self::archive::{
    Archive, ArchivePrefs, ArchiveQuery, ArchiveRow, Archived, Entry, Habit, Page, Seq, Stored,
};
pub use self::bearer_tokens::BearerTokens;
pub use self::blocking::{Blocklists, Evidence, Report};
pub use self::calls::{CallTaken, CallWishes};
pub use self::directory::{Directory, Listed};
pub use self::dns::{Dns, DnsError};
pub use self::invites::{Invite, Invites};
pub use self::login_tokens::LoginTokens;
pub use self::passwords::Passwords;
pub use self::pubsub::PubSub;
pub use self::pushes::{PushTarget, Pushes};
pub use self::relays::{ExternalService, RelayCredentials, Relays};
pub use self::rooms::{
    Affiliation, AllowPm, Departure, Hat, Member, Role, RoomChange, RoomConfig, RoomRecord, Rooms,
    StoredRoom, Subject, departure,
};
pub use self::uploads::{FileOffer, Slot, SlotRefusal, Uploads};
use crate::jid::Jid;
use crate::stanza::Stanza;
use crate::stream::sasl::PasswordKeys;

/// What an async port gives back.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The store failed; nothing the peer did. The wire answer is `internal-server-error`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached or broke.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// Somebody else changed the same thing.
    #[error("conflicting change")]
    Conflict,
}

/// Who has an account, and how logins are slowed.
pub trait Accounts: Send + Sync {
    /// Whether the account exists.
    fn exists<'a>(&'a self, account: &'a Jid) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// The keys of the account's password; `None` for an unknown account or one without a password.
    fn keys<'a>(
        &'a self,
        account: &'a Jid,
    ) -> BoxFuture<'a, Result<Option<Arc<PasswordKeys>>, StoreError>>;
    /// How long this attempt must wait before it is answered. `account` is the prepared name.
    fn delay(&self, peer: IpAddr, account: &str) -> Duration;
    /// Fresh random bytes.
    fn random(&self) -> [u8; 32];
    /// The wall clock as an XMPP timestamp (XEP-0082), for delayed delivery.
    fn stamp(&self) -> String;
    /// An attempt ended.
    fn tried(&self, peer: IpAddr, account: &str, success: bool);
}

/// The state of one contact (RFC 6121 section 2.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterItem {
    /// The contact, bare.
    pub jid: Jid,
    /// What the user calls it.
    pub name: Option<String>,
    /// Groups it is in.
    pub groups: Vec<String>,
    /// The user sees the contact.
    pub to: bool,
    /// The contact sees the user.
    pub from: bool,
    /// The user has asked to see the contact.
    pub ask: bool,
    /// The user has agreed to be seen before it was asked (RFC 6121 section 3.4).
    pub approved: bool,
    /// The roster's version in which it came to be as it is.
    pub changed: u64,
}

impl RosterItem {
    /// A contact without any subscription.
    pub fn new(jid: Jid) -> Self {
        Self {
            jid,
            name: None,
            groups: Vec::new(),
            to: false,
            from: false,
            ask: false,
            approved: false,
            changed: 0,
        }
    }

    /// The wire word.
    pub fn subscription(&self) -> &'static str {
        match (self.to, self.from) {
            (true, true) => "both",
            (true, false) => "to",
            (false, true) => "from",
            (false, false) => "none",
        }
    }
}

/// A user's contacts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    /// The items.
    pub items: Vec<RosterItem>,
    /// Who has asked to see the user and was not answered.
    pub pending_in: Vec<Jid>,
    /// Counts the changes to the items (RFC 6121 section 2.6). An account made anew goes on above the old one's.
    pub version: u64,
    /// Items that were removed, with the version in which; the oldest first, not more than [`Roster::MAX_REMOVED`].
    pub removed: Vec<(u64, Jid)>,
    /// The oldest version since which all removals are known.
    pub known_since: u64,
}

impl Roster {
    /// Most removals that are remembered.
    pub const MAX_REMOVED: usize = 100;

    /// Takes an item out and remembers that.
    pub fn note_removed(&mut self, contact: &Jid, version: u64) {
        self.items.retain(|i| i.jid != *contact);
        self.removed.push((version, contact.clone()));
        self.version = self.version.max(version);
        if self.removed.len() > Self::MAX_REMOVED {
            let (forgotten, _) = self.removed.remove(0);
            self.known_since = forgotten;
        }
    }

    /// One contact.
    pub fn item(&self, contact: &Jid) -> Option<&RosterItem> {
        self.items.iter().find(|i| i.jid == *contact)
    }
}

/// Where rosters are kept. Each change resolves after its commit.
pub trait Rosters: Send + Sync {
    /// All of it.
    fn load<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<Roster, StoreError>>;
    /// Adds or replaces an item.
    fn put<'a>(
        &'a self,
        owner: &'a Jid,
        item: &'a RosterItem,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Removes an item; the removal is remembered with this version.
    fn remove<'a>(
        &'a self,
        owner: &'a Jid,
        contact: &'a Jid,
        version: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Remembers or forgets an unanswered request to see `owner`.
    fn set_pending_in<'a>(
        &'a self,
        owner: &'a Jid,
        contact: &'a Jid,
        pending: bool,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Remembers an unanswered request to see `owner` with the whole stanza (RFC 6121 section 3.1.3), which
    /// [`Rosters::set_pending_in`] forgets. A store that does not override it keeps who asked and no more.
    fn keep_request<'a>(
        &'a self,
        owner: &'a Jid,
        contact: &'a Jid,
        stanza: Bytes,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        drop(stanza);
        self.set_pending_in(owner, contact, true)
    }
    /// The stanzas of unanswered requests to see `owner`, by who asked. Where one is missing, the server makes a plain
    /// one.
    fn requests<'a>(
        &'a self,
        owner: &'a Jid,
    ) -> BoxFuture<'a, Result<Vec<(Jid, Bytes)>, StoreError>> {
        let _ = owner;
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

/// A message that waits for its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Since when it waits, and by what it is deleted.
    pub seq: Seq,
    /// As it was sent.
    pub stanza: Bytes,
    /// It is in the owner's archive too, at the same place.
    pub archived: bool,
}

/// Messages that wait for their owner: those of its archive are only marked, others are kept for the purpose.
pub trait Offline: Send + Sync {
    /// Keeps a stanza that is in no archive; resolves after the commit. False when the owner's box is full.
    fn store<'a>(
        &'a self,
        owner: &'a Jid,
        stanza: Bytes,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// Marks a message of the owner's archive as waiting; resolves after the commit. Also done by [`ArchiveRow::waits`].
    fn hold<'a>(&'a self, owner: &'a Jid, seq: Seq) -> BoxFuture<'a, Result<(), StoreError>>;
    /// What waits, oldest first: at most [`MAX_WAITING`], and none after those that have `bytes` together.
    fn load<'a>(
        &'a self,
        owner: &'a Jid,
        bytes: usize,
    ) -> BoxFuture<'a, Result<Vec<Kept>, StoreError>>;
    /// Forgets what has been delivered. It stays in the archive.
    fn delete<'a>(
        &'a self,
        owner: &'a Jid,
        ids: &'a [Seq],
    ) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Forgets what waits up to this place and is in the owner's archive: a client reads it there.
    fn discard<'a>(&'a self, owner: &'a Jid, up_to: Seq) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Most messages that [`Offline::load`] gives at once, and that wait for one account without being in its archive.
pub const MAX_WAITING: usize = 1_000;

/// The other side of the bridge: devices that are attached to accounts but do not speak XMPP.
pub trait Foreign: Send + Sync {
    /// A stanza was routed to these attached resources of `account`. False when the queue is full; the sender then
    /// gets `resource-constraint`.
    fn deliver(&self, account: &Jid, resources: &[String], stanza: &Stanza) -> bool;
    /// What an account wants done with calls to it; `None` where nothing can be wanted.
    fn call_wishes(&self, account: &Jid) -> Option<CallWishes> {
        let _ = account;
        None
    }
    /// Keeps what an account wants done with calls to it; resolves after the commit. Inside, why it cannot be wanted.
    fn set_call_wishes<'a>(
        &'a self,
        account: &'a Jid,
        wishes: &'a CallWishes,
    ) -> BoxFuture<'a, Result<Result<(), String>, StoreError>> {
        let _ = (account, wishes);
        Box::pin(std::future::ready(Ok(Err("calls are not handled here".to_owned()))))
    }
    /// A call message (XEP-0353), or an IQ that may be of a Jingle session (XEP-0166), is about to be delivered or sent to another
    /// server; `is_attached` where an attached device sends it. Where whoever is called wants the call kept from its devices,
    /// or has it handled, the other side takes it, and the caller hears from there.
    fn takes_call(&self, stanza: &Stanza, is_attached: bool) -> CallTaken {
        let _ = (stanza, is_attached);
        CallTaken::No
    }
    /// A call message (XEP-0353) passed between XMPP devices; attached devices of either side may have to stop
    /// ringing.
    fn observed(&self, stanza: &Stanza);
}

/// The way to domains that are not served here: other servers (RFC 6120, server to server) and components (XEP-0114).
pub trait Remote: Send + Sync {
    /// Queues a stanza with both addresses on it. False when the domain may not be reached or its queue is full; the
    /// sender is then told. What is queued and cannot be delivered comes back as an error stanza.
    fn send(&self, from: &Jid, to: &Jid, stanza: Bytes) -> bool;
}

/// Who wants to know about presence beyond XMPP.
pub trait Watch: Send + Sync {
    /// Something about the account's presence changed.
    fn presence_changed(&self, account: &Jid);
    /// `contact` may now see `owner`, or may no longer.
    fn permission_changed(&self, owner: &Jid, contact: &Jid, may_see: bool);
    /// Somebody asked to see `owner`, or was answered.
    fn requests_changed(&self, owner: &Jid) {
        let _ = owner;
    }
    /// A message waits for the account, or waits no longer.
    fn waiting_changed(&self, account: &Jid) {
        let _ = account;
    }
}

/// One message on its way to all who get a copy of it: it has arrived when one of them has it, and comes back when the
/// last of them is lost (RFC 6121 section 8.5.2.1.1, XEP-0280).
///
/// Each queue holds a copy by its `Arc`; whoever hands out the copies holds one too until all are out.
#[derive(Debug)]
pub struct Parcel {
    stanza: Bytes,
    written: AtomicBool,
}

impl Parcel {
    /// A message nobody has yet.
    pub fn new(stanza: Bytes) -> Arc<Self> {
        Arc::new(Self { stanza, written: AtomicBool::new(false) })
    }

    /// One of those who were to get it has it.
    pub fn mark_written(&self) {
        self.written.store(true, Ordering::Release);
    }

    /// This copy will not be written. The message comes out when nobody has it and nobody else still may.
    pub fn lost(self: Arc<Self>) -> Option<Bytes> {
        let last = Arc::into_inner(self)?;
        (!last.written.into_inner()).then_some(last.stanza)
    }
}

/// Whether a client's user would notice what is sent to it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// As far as is known.
    Active,
    /// The client has said that nobody looks at it (XEP-0352).
    Inactive,
    /// Its stream is lost and its session waits for it (XEP-0198).
    Away,
}

/// The way to one connected client. The driver implements it over a bounded queue.
pub trait Outbox: Send + Sync {
    /// Queues bytes that need not come back when the client is lost. False when it is gone or does not read: it is
    /// then dropped by the driver.
    fn send(&self, bytes: Bytes) -> bool;
    /// Queues a copy of a message, in the form this client gets it. The driver calls [`Parcel::mark_written`] or
    /// [`Parcel::lost`]; an implementation without a queue has written it at once.
    fn send_parcel(&self, bytes: Bytes, parcel: Arc<Parcel>) -> bool {
        let sent = self.send(bytes);
        if sent {
            parcel.mark_written();
        }
        sent
    }
    /// Runs `work` beside the connection once everything queued so far has been written. When the client is lost
    /// before, `work` is dropped at once.
    fn after_written(&self, work: BoxFuture<'static, ()>);
    /// Ends the stream with this stream error condition.
    fn end(&self, condition: &'static str);
    /// Whether anybody looks.
    fn attention(&self) -> Attention {
        Attention::Active
    }
}
