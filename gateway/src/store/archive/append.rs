//! New messages (XEP-0313) and registrations: each takes its place at once, is written to the journal with all that came
//! meanwhile, and is promised then. The tables get it a little later, with many others.
//!
//! A page of the database belongs to one archive or to one moment; a commit of few messages touches almost as many pages as
//! one of thousands. So whoever sends waits for the journal alone, and whoever reads waits until the tables have caught up.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::SqliteConnection;
use tandem_sip::ports::Binding;
use tandem_xmpp::ports::{BoxFuture, Entry, Seq, StoreError, Stored};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot, watch};

use super::index::known;
use super::journal::{AccountBindings, Journal, Message, Pending, What};
use super::{name_key, once_key};
use crate::store::bindings::rows;

/// Most messages of one commit.
const GROUP: usize = 4_096;
/// Bytes of messages that one write to the journal takes.
const WRITE: usize = 1024 * 1024;
/// Bytes of messages that are not yet in the tables; more is refused.
const MAX_BYTES: usize = 256 * 1024 * 1024;
/// How long the tables may lag behind the journal, unless somebody reads: the more of them go in together, the fewer pages
/// are written for each.
const LAG: Duration = Duration::from_millis(400);
/// How long what may be lost waits, so that a phone that registers again and again is written once.
const LATER: Duration = Duration::from_millis(250);
/// After a commit that failed: a full disk is not emptied in an instant.
const RETRY: Duration = Duration::from_secs(1);

/// A message on its way to the journal.
struct Append {
    pending: Pending,
    done: oneshot::Sender<Result<Stored, StoreError>>,
}

/// Messages on their way, in the order of their places.
pub(in crate::store) struct Appends {
    state: Mutex<State>,
    /// Something changed that the journal's thread waits for.
    recorder: Condvar,
    /// Something is in the journal that the tables do not have.
    recorded: Notify,
    /// Somebody wants to read it.
    wanted: Notify,
    indexed: watch::Sender<Indexed>,
    /// The journal's thread has ended, or there is none.
    is_idle: watch::Sender<bool>,
}

struct State {
    /// The last place given.
    last: Seq,
    bytes: usize,
    /// For the journal.
    new: Vec<Append>,
    /// Bindings of accounts that only last longer, for the journal once `later_at` has come.
    later: HashMap<String, Vec<Arc<Binding>>>,
    later_at: Instant,
    /// In the journal, for the tables.
    recorded: Vec<Pending>,
    last_recorded: Seq,
    /// What recognises second sendings of messages that the tables do not have.
    once: HashMap<[u8; 16], Seq>,
    is_open: bool,
}

/// What the tables have.
#[derive(Debug, Clone, Copy, Default)]
struct Indexed {
    last: Seq,
    /// The last commit failed. Nothing is taken until one succeeds.
    is_failing: bool,
}

impl Appends {
    /// Nothing on its way; places go on after this one. Without a journal nothing is taken.
    pub(in crate::store) fn after(last: Seq, has_journal: bool) -> Self {
        let state = State {
            last,
            bytes: 0,
            new: Vec::new(),
            later: HashMap::new(),
            later_at: Instant::now(),
            recorded: Vec::new(),
            last_recorded: 0,
            once: HashMap::new(),
            is_open: has_journal,
        };
        Self {
            state: Mutex::new(state),
            recorder: Condvar::new(),
            recorded: Notify::new(),
            wanted: Notify::new(),
            indexed: watch::Sender::default(),
            is_idle: watch::Sender::new(!has_journal),
        }
    }

    /// A new place, for a message that goes another way.
    pub(in crate::store) fn next(&self) -> Seq {
        next(&mut self.state())
    }

    /// The last place that was given.
    pub(in crate::store) fn last(&self) -> Seq {
        self.state().last
    }

    pub(super) fn push(&self, entry: Entry) -> BoxFuture<'static, Result<Stored, StoreError>> {
        self.record(What::Message(Message {
            stanza: entry.stanza,
            rows: entry.rows,
            name: entry.name.as_deref().map(name_key),
            once: entry.once.as_deref().map(once_key),
            groupchat: entry.groupchat,
        }))
    }

    /// Keeps the bindings of an account in place of those it had.
    pub(in crate::store) async fn push_bindings(
        &self,
        bindings: AccountBindings,
    ) -> Result<(), StoreError> {
        self.state().later.remove(&bindings.account);
        self.record(What::Bindings(bindings)).await.map(|_| ())
    }

    /// Keeps them soon: within [`LATER`], or when the store closes.
    pub(in crate::store) fn push_bindings_later(&self, account: &str, bindings: &[Arc<Binding>]) {
        let mut state = self.state();
        if state.later.insert(account.to_owned(), bindings.to_vec()).is_none()
            && state.later.len() == 1
        {
            state.later_at = Instant::now() + LATER;
            self.recorder.notify_one();
        }
    }

    fn record(&self, what: What) -> BoxFuture<'static, Result<Stored, StoreError>> {
        let (done, stored) = oneshot::channel();
        let mut pending = Pending { seq: 0, what };
        let size = pending.size();
        let refused = |why: &str| -> BoxFuture<'static, _> {
            Box::pin(std::future::ready(Err(StoreError::Unavailable(why.into()))))
        };
        {
            let mut state = self.state();
            if !state.is_open {
                return refused("the store is closed, or another program has it");
            }
            if self.is_failing() {
                return refused("the database cannot be written");
            }
            if state.bytes + size > MAX_BYTES {
                return refused("too much waits to be written");
            }
            state.bytes += size;
            pending.seq = next(&mut state);
            state.new.push(Append { pending, done });
        }
        self.recorder.notify_one();
        Box::pin(async move {
            let lost = || StoreError::Unavailable("it was not written".into());
            stored.await.map_err(|_| lost())?
        })
    }

    /// Takes nothing more; what was taken is still written.
    pub(in crate::store) fn close(&self) {
        self.state().is_open = false;
        self.recorder.notify_one();
    }

    /// Closes, and resolves once the journal has everything.
    pub(in crate::store) async fn closed(&self) {
        self.close();
        // The sender is ours.
        let _ = self.is_idle.subscribe().wait_for(|is_idle| *is_idle).await;
    }

    /// Resolves once the tables have all that was promised before.
    pub(in crate::store) async fn settled(&self) -> Result<(), StoreError> {
        let wanted = self.state().last_recorded;
        if self.indexed.borrow().last >= wanted {
            return Ok(());
        }
        let mut indexed = self.indexed.subscribe();
        loop {
            let now = *indexed.borrow_and_update();
            if now.last >= wanted {
                return Ok(());
            }
            if now.is_failing {
                return Err(StoreError::Unavailable("the database cannot be written".into()));
            }
            self.wanted.notify_one();
            let closed = || StoreError::Unavailable("the store is closed".into());
            indexed.changed().await.map_err(|_| closed())?;
        }
    }

    /// Resolves when the tables should catch up.
    pub(in crate::store) async fn due(&self) {
        if self.is_failing() {
            return tokio::time::sleep(RETRY).await;
        }
        self.recorded.notified().await;
        let _ = tokio::time::timeout(LAG, self.wanted.notified()).await;
    }

    /// What goes into the next commit.
    pub(in crate::store) fn take(&self) -> Vec<Pending> {
        let mut state = self.state();
        let count = state.recorded.len().min(GROUP);
        let rest = state.recorded.split_off(count);
        std::mem::replace(&mut state.recorded, rest)
    }

    /// Whether the last commit of messages failed.
    pub(in crate::store) fn is_failing(&self) -> bool {
        self.indexed.borrow().is_failing
    }

    /// The commit is done.
    pub(in crate::store) fn indexed(&self, messages: &[Pending]) {
        let Some(last) = messages.last() else { return };
        {
            let mut state = self.state();
            for message in messages {
                state.bytes -= message.size();
                if let Some(once) = message.once() {
                    state.once.remove(&once);
                }
            }
            self.indexed.send_replace(Indexed { last: last.seq, is_failing: false });
        }
        self.recorder.notify_one();
    }

    /// The commit failed: these go into the next.
    pub(in crate::store) fn put_back(&self, mut messages: Vec<Pending>) {
        if messages.is_empty() {
            return;
        }
        {
            let mut state = self.state();
            messages.append(&mut state.recorded);
            state.recorded = messages;
            self.indexed.send_modify(|indexed| indexed.is_failing = true);
        }
        self.recorder.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the next write takes. `None`: closed, and everything is written.
    fn wait_for_new(&self) -> Option<Vec<Append>> {
        let mut state = self.state();
        loop {
            if !state.is_open || state.later_at <= Instant::now() {
                take_later(&mut state);
            }
            if !state.new.is_empty() {
                break;
            }
            if !state.is_open {
                return None;
            }
            state = if state.later.is_empty() {
                self.recorder.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                let time = state.later_at.saturating_duration_since(Instant::now());
                let waited = self.recorder.wait_timeout(state, time);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
        }
        let mut size = 0;
        let fits = |append: &&Append| {
            size += append.pending.size();
            size <= WRITE
        };
        let count = state.new.iter().take_while(fits).count().max(1);
        let rest = state.new.split_off(count);
        Some(std::mem::replace(&mut state.new, rest))
    }

    /// Waits until the tables have this message; false: they do not take any.
    fn wait_for_tables(&self, last: Seq) -> bool {
        let mut state = self.state();
        loop {
            let indexed = *self.indexed.borrow();
            if indexed.last >= last {
                return true;
            }
            if indexed.is_failing {
                return false;
            }
            self.wanted.notify_one();
            state = self.recorder.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// What could wait waits no longer. Nobody is told how it ends: a fault is logged, and the phone registers again.
fn take_later(state: &mut State) {
    for (account, bindings) in std::mem::take(&mut state.later) {
        match rows(&account, &bindings) {
            Ok(bindings) => {
                let pending = Pending { seq: next(state), what: What::Bindings(bindings) };
                state.bytes += pending.size();
                state.new.push(Append { pending, done: oneshot::channel().0 });
            }
            Err(error) => tracing::error!(%error, account, "a registration cannot be kept"),
        }
    }
}

/// The clock says where a message belongs, unless it has been there before.
fn next(state: &mut State) -> Seq {
    state.last = chrono::Utc::now().timestamp_micros().max(state.last + 1);
    state.last
}

/// The journal's thread: it waits for the disk, so nobody else does.
pub(in crate::store) struct Recorder {
    pub(in crate::store) appends: Arc<Appends>,
    pub(in crate::store) journal: Journal,
    /// Where second sendings are looked up.
    pub(in crate::store) reader: SqliteConnection,
    pub(in crate::store) runtime: Handle,
}

impl Recorder {
    /// Works until the queue is closed and empty.
    pub(in crate::store) fn run(mut self) {
        while let Some(appends) = self.appends.wait_for_new() {
            self.record(appends);
        }
        self.appends.is_idle.send_replace(true);
    }

    fn record(&mut self, appends: Vec<Append>) {
        let size: usize = appends.iter().map(|append| append.pending.size()).sum();
        let (dones, messages): (Vec<_>, Vec<_>) =
            appends.into_iter().map(|append| (append.done, append.pending)).unzip();
        match self.write(messages) {
            Ok(stored) => {
                for (done, stored) in dones.into_iter().zip(stored) {
                    let _ = done.send(Ok(stored));
                }
            }
            Err(error) => {
                tracing::error!(%error, "messages cannot be kept");
                self.appends.state().bytes -= size;
                for done in dones {
                    let _ = done.send(Err(error.clone()));
                }
            }
        }
    }

    fn write(&mut self, messages: Vec<Pending>) -> Result<Vec<Stored>, StoreError> {
        let mut firsts = self.firsts(&messages).map_err(|error| super::fault(&error))?;
        let mut stored = Vec::with_capacity(messages.len());
        let mut fresh = Vec::with_capacity(messages.len());
        let mut doubled = 0;
        for message in messages {
            let once = message.once();
            let first = once.and_then(|once| firsts.get(&once).copied());
            stored.push(Stored { seq: first.unwrap_or(message.seq), duplicate: first.is_some() });
            if first.is_some() {
                doubled += message.size();
                continue;
            }
            if let Some(once) = once {
                firsts.insert(once, message.seq);
            }
            fresh.push(message);
        }
        if !fresh.is_empty() {
            if let Some(last) = self.journal.needs(&fresh)
                && !self.appends.wait_for_tables(last)
            {
                return Err(StoreError::Unavailable("the database cannot be written".into()));
            }
            let failed = |error: std::io::Error| StoreError::Unavailable(error.to_string());
            self.journal.write(&fresh).map_err(failed)?;
        }
        let mut state = self.appends.state();
        state.bytes -= doubled;
        state.last_recorded = fresh.last().map_or(state.last_recorded, |last| last.seq);
        state.once.extend(fresh.iter().filter_map(|m| Some((m.once()?, m.seq))));
        state.recorded.append(&mut fresh);
        drop(state);
        self.appends.recorded.notify_one();
        Ok(stored)
    }

    /// The places of those messages that were sent before.
    fn firsts(&mut self, messages: &[Pending]) -> Result<HashMap<[u8; 16], Seq>, sqlx::Error> {
        let mut firsts = HashMap::new();
        let mut others = Vec::new();
        {
            let state = self.appends.state();
            for once in messages.iter().filter_map(Pending::once) {
                match state.once.get(&once) {
                    Some(seq) => drop(firsts.insert(once, *seq)),
                    None => others.push(once),
                }
            }
        }
        // What is not on its way any more is in the tables by now.
        if !others.is_empty() {
            firsts.extend(self.runtime.block_on(known(&mut self.reader, &others))?);
        }
        Ok(firsts)
    }
}
