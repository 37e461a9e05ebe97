//! The ports in memory, for tests: the same promises as the real ones, kept in maps.

mod login;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

pub use self::login::{MemoryBearerTokens, MemoryLoginTokens};
use super::memory_archive::Archives;
use super::{
    Accounts, BoxFuture, Foreign, Kept, Offline, Outbox, Parcel, Remote, Roster, RosterItem,
    Rosters, Seq, StoreError, Watch,
};
use crate::jid::Jid;
use crate::stanza::Stanza;
use crate::stream::sasl::PasswordKeys;

/// Rounds of the made-up keys; few, since nothing here is secret.
const ROUNDS: u32 = 10;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Accounts, contacts and waiting messages.
#[derive(Debug, Default)]
pub struct MemoryStore {
    accounts: Mutex<login::Keys>,
    tokens: Arc<MemoryLoginTokens>,
    /// Makes what is random unique.
    drawn: AtomicU64,
    rosters: Mutex<HashMap<Jid, Roster>>,
    requests: Mutex<HashMap<(Jid, Jid), Bytes>>,
    /// Stanzas of messages that are in no archive.
    waiting: Mutex<BTreeMap<(Jid, Seq), Option<Bytes>>>,
    pub(super) archives: Mutex<Archives>,
    broken: AtomicBool,
}

impl MemoryStore {
    /// A store with these accounts, whose password is `secret`.
    pub fn with_accounts(accounts: &[&Jid]) -> Self {
        let accounts = accounts.iter().map(|a| (a.bare(), login::keys_of("secret"))).collect();
        Self { accounts: Mutex::new(accounts), ..Self::default() }
    }

    /// From now on everything fails, or works again.
    pub fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }

    /// The login tokens.
    pub fn tokens(&self) -> Arc<MemoryLoginTokens> {
        self.tokens.clone()
    }

    /// The messages that wait for `owner`, oldest first.
    pub fn waiting(&self, owner: &Jid) -> Vec<Bytes> {
        self.kept(owner).into_iter().map(|kept| kept.stanza).collect()
    }

    fn kept(&self, owner: &Jid) -> Vec<Kept> {
        let archives = self.archives();
        let waiting = lock(&self.waiting);
        let own = waiting.iter().filter(|((o, _), _)| o == owner);
        own.filter_map(|((_, seq), stanza)| {
            let archived = stanza.is_none();
            let stanza = stanza.clone().or_else(|| archives.stanza(*seq))?;
            Some(Kept { seq: *seq, stanza, archived })
        })
        .collect()
    }

    pub(super) fn mark_waiting(&self, owner: &Jid, seq: Seq) {
        lock(&self.waiting).insert((owner.bare(), seq), None);
    }

    pub(super) fn archives(&self) -> MutexGuard<'_, Archives> {
        lock(&self.archives)
    }

    /// Whether this is the password of an account.
    pub fn verifies(&self, account: &Jid, password: &str) -> bool {
        let keys = lock(&self.accounts).get(account).cloned();
        let sha1 = keys.and_then(|keys| keys.sha1.clone());
        sha1.is_some_and(|keys| keys.verify(crate::stream::sasl::ScramHash::Sha1, password))
    }

    /// All accounts.
    pub fn accounts(&self) -> Vec<Jid> {
        lock(&self.accounts).keys().cloned().collect()
    }

    /// The stored roster of `owner`.
    pub fn stored_roster(&self, owner: &Jid) -> Roster {
        lock(&self.rosters).get(owner).cloned().unwrap_or_default()
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("told to fail".into()));
        }
        Ok(())
    }

    fn change(&self, owner: &Jid, change: impl FnOnce(&mut Roster)) -> Result<(), StoreError> {
        self.check()?;
        change(lock(&self.rosters).entry(owner.bare()).or_default());
        Ok(())
    }
}

impl Accounts for MemoryStore {
    fn exists<'a>(&'a self, account: &'a Jid) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            self.check()?;
            Ok(lock(&self.accounts).contains_key(&account.bare()))
        })
    }

    fn keys<'a>(
        &'a self,
        account: &'a Jid,
    ) -> BoxFuture<'a, Result<Option<Arc<PasswordKeys>>, StoreError>> {
        Box::pin(async move {
            self.check()?;
            Ok(lock(&self.accounts).get(account).cloned())
        })
    }

    fn delay(&self, _: IpAddr, _: &str) -> Duration {
        Duration::ZERO
    }

    fn random(&self) -> [u8; 32] {
        let mut bytes = [7; 32];
        let count = self.drawn.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        bytes.iter_mut().rev().zip(count.iter().rev()).for_each(|(byte, drawn)| *byte = *drawn);
        bytes
    }

    fn stamp(&self) -> String {
        "2026-01-01T00:00:00Z".into()
    }

    fn tried(&self, _: IpAddr, _: &str, _: bool) {}
}

impl Rosters for MemoryStore {
    fn load<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<Roster, StoreError>> {
        Box::pin(async move {
            self.check()?;
            Ok(self.stored_roster(owner))
        })
    }

    fn put<'a>(
        &'a self,
        owner: &'a Jid,
        item: &'a RosterItem,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.change(owner, |roster| {
                roster.items.retain(|i| i.jid != item.jid);
                roster.items.push(item.clone());
                roster.version = roster.version.max(item.changed);
            })
        })
    }

    fn remove<'a>(
        &'a self,
        owner: &'a Jid,
        contact: &'a Jid,
        version: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { self.change(owner, |r| r.note_removed(contact, version)) })
    }

    fn set_pending_in<'a>(
        &'a self,
        owner: &'a Jid,
        contact: &'a Jid,
        pending: bool,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            lock(&self.requests).remove(&(owner.bare(), contact.bare()));
            self.change(owner, |roster| {
                roster.pending_in.retain(|j| j != contact);
                if pending {
                    roster.pending_in.push(contact.clone());
                }
            })
        })
    }

    fn keep_request<'a>(
        &'a self,
        owner: &'a Jid,
        contact: &'a Jid,
        stanza: Bytes,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.set_pending_in(owner, contact, true).await?;
            lock(&self.requests).insert((owner.bare(), contact.bare()), stanza);
            Ok(())
        })
    }

    fn requests<'a>(
        &'a self,
        owner: &'a Jid,
    ) -> BoxFuture<'a, Result<Vec<(Jid, Bytes)>, StoreError>> {
        Box::pin(async move {
            self.check()?;
            Ok(self.own_requests(owner))
        })
    }
}

impl MemoryStore {
    fn own_requests(&self, owner: &Jid) -> Vec<(Jid, Bytes)> {
        let requests = lock(&self.requests);
        let own = requests.iter().filter(|((o, _), _)| o == owner);
        own.map(|((_, contact), stanza)| (contact.clone(), stanza.clone())).collect()
    }
}

impl Offline for MemoryStore {
    fn store<'a>(
        &'a self,
        owner: &'a Jid,
        stanza: Bytes,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            self.check()?;
            let next = self.archives().next();
            lock(&self.waiting).insert((owner.bare(), next), Some(stanza));
            Ok(true)
        })
    }

    fn hold<'a>(&'a self, owner: &'a Jid, seq: Seq) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.check()?;
            self.mark_waiting(owner, seq);
            Ok(())
        })
    }

    fn load<'a>(
        &'a self,
        owner: &'a Jid,
        bytes: usize,
    ) -> BoxFuture<'a, Result<Vec<Kept>, StoreError>> {
        Box::pin(async move {
            self.check()?;
            let mut left = bytes;
            let fits = |kept: &Kept| {
                let fits = left > 0;
                left = left.saturating_sub(kept.stanza.len());
                fits
            };
            Ok(self.kept(owner).into_iter().take(super::MAX_WAITING).take_while(fits).collect())
        })
    }

    fn delete<'a>(
        &'a self,
        owner: &'a Jid,
        ids: &'a [Seq],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.check()?;
            lock(&self.waiting).retain(|(o, seq), _| o != owner || !ids.contains(seq));
            Ok(())
        })
    }

    fn discard<'a>(&'a self, owner: &'a Jid, up_to: Seq) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.check()?;
            let kept = |o: &Jid, seq: &Seq, stanza: &Option<Bytes>| {
                o != owner || *seq > up_to || stanza.is_some()
            };
            lock(&self.waiting).retain(|(o, seq), stanza| kept(o, seq, stanza));
            Ok(())
        })
    }
}

/// A bridge that notes what reaches it.
#[derive(Debug, Default)]
pub struct MemoryBridge {
    delivered: Mutex<Vec<(Jid, Vec<String>, Bytes)>>,
    permissions: Mutex<Vec<(Jid, Jid, bool)>>,
}

impl MemoryBridge {
    /// What reached attached devices since the last call: account, resources, stanza.
    pub fn take_delivered(&self) -> Vec<(Jid, Vec<String>, Bytes)> {
        std::mem::take(&mut *lock(&self.delivered))
    }

    /// Owner, contact, and whether it may see, since the last call.
    pub fn take_permissions(&self) -> Vec<(Jid, Jid, bool)> {
        std::mem::take(&mut *lock(&self.permissions))
    }
}

impl Foreign for MemoryBridge {
    fn deliver(&self, account: &Jid, resources: &[String], stanza: &Stanza) -> bool {
        lock(&self.delivered).push((account.clone(), resources.to_vec(), stanza.bytes()));
        true
    }

    fn observed(&self, _: &Stanza) {}
}

impl Watch for MemoryBridge {
    fn presence_changed(&self, _: &Jid) {}

    fn permission_changed(&self, owner: &Jid, contact: &Jid, may_see: bool) {
        lock(&self.permissions).push((owner.clone(), contact.clone(), may_see));
    }
}

/// The way to other servers: notes what is sent there. By default nobody can be reached.
#[derive(Debug, Default)]
pub struct MemoryRemote {
    reachable: AtomicBool,
    sent: Mutex<Vec<(Jid, Jid, Bytes)>>,
}

impl MemoryRemote {
    /// One over which everybody can be reached.
    pub fn reachable() -> Self {
        Self { reachable: AtomicBool::new(true), ..Self::default() }
    }

    /// From now on everybody can be reached, or nobody.
    pub fn set_reachable(&self, reachable: bool) {
        self.reachable.store(reachable, Ordering::Relaxed);
    }

    /// What was sent since the last call: sender, addressee, stanza.
    pub fn take_sent(&self) -> Vec<(Jid, Jid, Bytes)> {
        std::mem::take(&mut *lock(&self.sent))
    }
}

impl Remote for MemoryRemote {
    fn send(&self, from: &Jid, to: &Jid, stanza: Bytes) -> bool {
        let reachable = self.reachable.load(Ordering::Relaxed);
        if reachable {
            lock(&self.sent).push((from.clone(), to.clone(), stanza));
        }
        reachable
    }
}

/// A client's queue that is read by hand: what is queued stays until [`MemoryOutbox::read`] or
/// [`MemoryOutbox::lose`].
#[derive(Default)]
pub struct MemoryOutbox(Mutex<Queued>);

#[derive(Default)]
struct Queued {
    parts: VecDeque<(Bytes, Option<Arc<Parcel>>)>,
    works: Vec<BoxFuture<'static, ()>>,
    end: Option<&'static str>,
}

impl MemoryOutbox {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Writes everything: gives what the client reads, then does what waited for it.
    pub async fn read(&self) -> Vec<String> {
        let (parts, works) = {
            let mut queued = lock(&self.0);
            (std::mem::take(&mut queued.parts), std::mem::take(&mut queued.works))
        };
        let mut read = Vec::new();
        for (bytes, parcel) in parts {
            if let Some(parcel) = parcel {
                parcel.mark_written();
            }
            read.push(String::from_utf8_lossy(&bytes).into_owned());
        }
        for work in works {
            work.await;
        }
        read
    }

    /// The client is gone: gives the messages that nobody has now.
    pub fn lose(&self) -> Vec<Bytes> {
        let (parts, works) = {
            let mut queued = lock(&self.0);
            queued.end.get_or_insert("connection-timeout");
            (std::mem::take(&mut queued.parts), std::mem::take(&mut queued.works))
        };
        drop(works);
        parts.into_iter().filter_map(|(_, parcel)| parcel?.lost()).collect()
    }

    /// The stream error it was ended with.
    pub fn ended(&self) -> Option<&'static str> {
        lock(&self.0).end
    }

    fn queue(&self, bytes: Bytes, parcel: Option<Arc<Parcel>>) -> bool {
        let mut queued = lock(&self.0);
        let open = queued.end.is_none();
        if open {
            queued.parts.push_back((bytes, parcel));
        }
        open
    }
}

impl Outbox for MemoryOutbox {
    fn send(&self, bytes: Bytes) -> bool {
        self.queue(bytes, None)
    }

    fn send_parcel(&self, bytes: Bytes, parcel: Arc<Parcel>) -> bool {
        self.queue(bytes, Some(parcel))
    }

    fn after_written(&self, work: BoxFuture<'static, ()>) {
        lock(&self.0).works.push(work);
    }

    fn end(&self, condition: &'static str) {
        lock(&self.0).end.get_or_insert(condition);
    }
}
