//! The queue to one client: bounded by bytes, drained in batches, nothing in it forgotten.
//!
//! It is also what lives on of a managed session (XEP-0198) between two connections: what is not acknowledged, the
//! counters, and who holds it. One connection holds a queue at a time; who takes it over waits until the one before has
//! let go of it, because only then its count of handled stanzas is final.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::ports::{Accounts, Attention, BoxFuture, Outbox, Parcel};
use crate::stanza::{Kind, Stanza, delay};
use crate::stream::csi::{self, Weight};
use crate::stream::sm::{TooHigh, Unacked};

/// Most parts written at once.
const BATCH: usize = 64;

/// What is queued, and the message it is a copy of.
struct Part {
    bytes: Bytes,
    parcel: Option<Arc<Parcel>>,
    /// When it was first sent, or queued while nobody was there; of managed sessions only.
    stamp: Option<Arc<str>>,
}

/// A managed session (XEP-0198).
struct Managed {
    unacked: Unacked<Part>,
    /// How many of the client's stanzas are finished.
    handled: u32,
    /// How long it waits for its client; `None` when it cannot be resumed.
    max: Option<Duration>,
    /// No connection holds it.
    detached: bool,
}

#[derive(Default)]
struct State {
    parts: VecDeque<Part>,
    /// Taken by the writer, not confirmed yet.
    writing: Vec<Part>,
    managed: Option<Box<Managed>>,
    /// What waits while nobody looks at the client.
    inactive: Option<Box<csi::Waiting<Part>>>,
    bytes: usize,
    queued: u64,
    /// Written; acknowledged where the session is managed.
    done: u64,
    /// Work for when this many parts are done.
    works: VecDeque<(u64, BoxFuture<'static, ()>)>,
    end: Option<&'static str>,
    /// The connection has been told to end, or has ended.
    ended: bool,
    /// Nothing is written any more.
    gone: bool,
    /// Counts the connections that have held it.
    holder: u32,
}

impl State {
    fn push(&mut self, part: Part) {
        self.queued += 1;
        self.parts.push_back(part);
    }

    /// What waits for an active client is sent.
    fn release(&mut self) {
        let held: Vec<Part> =
            self.inactive.as_mut().map_or(Vec::new(), |waiting| waiting.take().collect());
        held.into_iter().for_each(|part| self.push(part));
    }

    /// These have arrived. Gives the work that waited for them.
    fn finish(&mut self, count: u64) -> Vec<BoxFuture<'static, ()>> {
        self.done = count;
        let mut due = Vec::new();
        while let Some((_, work)) = self.works.pop_front_if(|(at, _)| *at <= count) {
            due.push(work);
        }
        if self.works.is_empty() {
            self.works = VecDeque::new();
        }
        due
    }
}

struct Shared {
    state: Mutex<State>,
    wake: Notify,
    ending: Notify,
    max_bytes: usize,
    clock: Arc<dyn Accounts>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stamp(&self) -> Arc<str> {
        self.clock.stamp().into()
    }
}

/// The writing end, one for each who sends to the client.
#[derive(Clone)]
pub(super) struct Queue(Arc<Shared>);

/// The reading end, held by the connection.
pub(super) struct QueueReader {
    shared: Arc<Shared>,
    holder: u32,
    /// Whoever takes the session over need not wait for this connection.
    has_let_go: bool,
}

/// What the connection does next.
pub(super) enum Item {
    /// Write these, then confirm the count.
    Parts(Vec<Bytes>, u64),
    /// End the stream with this error.
    End(&'static str),
    /// Another connection has taken the session over.
    Taken,
}

/// A queue of so many bytes at most. `clock` stamps what is delayed.
pub(super) fn queue(max_bytes: usize, clock: Arc<dyn Accounts>) -> (Queue, QueueReader) {
    let shared = Arc::new(Shared {
        state: Mutex::default(),
        wake: Notify::new(),
        ending: Notify::new(),
        max_bytes,
        clock,
    });
    (Queue(shared.clone()), QueueReader { shared, holder: 0, has_let_go: false })
}

impl Queue {
    /// The parts up to this count are in the socket.
    pub(super) fn written(&self, count: u64) {
        let mut state = self.0.state();
        if state.managed.is_some() {
            return;
        }
        let written = std::mem::take(&mut state.writing);
        let due = state.finish(count);
        drop(state);
        arrived(written, due);
    }

    /// From here on stanzas are counted, kept until they are acknowledged, and kept for `max` after the stream is lost.
    pub(super) fn manage(&self, max: Option<Duration>) {
        let mut state = self.0.state();
        let unacked = Unacked::default();
        state.managed = Some(Box::new(Managed { unacked, handled: 0, max, detached: false }));
    }

    /// One more of the client's stanzas is finished.
    pub(super) fn handled(&self) {
        if let Some(managed) = &mut self.0.state().managed {
            managed.handled = managed.handled.wrapping_add(1);
        }
    }

    /// How many of the client's stanzas are finished.
    pub(super) fn handled_count(&self) -> u32 {
        self.0.state().managed.as_ref().map_or(0, |managed| managed.handled)
    }

    /// The client has so many.
    ///
    /// # Errors
    ///
    /// [`TooHigh`] when it cannot.
    pub(super) fn acknowledged(&self, h: u32) -> Result<(), TooHigh> {
        let mut state = self.0.state();
        let Some(managed) = &mut state.managed else { return Ok(()) };
        let parts = managed.unacked.acknowledge(h)?;
        state.bytes -= parts.iter().map(|part| part.bytes.len()).sum::<usize>();
        let count = state.done + parts.len() as u64;
        let due = state.finish(count);
        drop(state);
        arrived(parts, due);
        Ok(())
    }

    /// Whether the client must be asked for an acknowledgement now.
    pub(super) fn must_ask(&self) -> bool {
        self.0.state().managed.as_mut().is_some_and(|managed| managed.unacked.ask())
    }

    /// Somebody looks at the client, or nobody does (XEP-0352).
    pub(super) fn set_active(&self, active: bool) {
        let mut state = self.0.state();
        if active {
            state.release();
            state.inactive = None;
            drop(state);
            self.0.wake.notify_one();
        } else if state.inactive.is_none() {
            state.inactive = Some(Box::default());
        }
    }

    /// Takes the session over from the connection that holds it, if one does. `None` when it has ended.
    ///
    /// # Errors
    ///
    /// [`TooHigh`] when the client claims to have more than it was sent.
    pub(super) fn take_over(&self, h: u32) -> Result<Option<QueueReader>, TooHigh> {
        let mut state = self.0.state();
        let Some(managed) = &state.managed else { return Ok(None) };
        if state.gone || state.end.is_some() {
            return Ok(None);
        }
        managed.unacked.count(h)?;
        state.holder += 1;
        let holder = state.holder;
        drop(state);
        self.0.ending.notify_waiters();
        self.0.wake.notify_waiters();
        self.0.wake.notify_one();
        Ok(Some(QueueReader { shared: self.0.clone(), holder, has_let_go: false }))
    }

    fn push(&self, bytes: Bytes, parcel: Option<Arc<Parcel>>) -> bool {
        let mut state = self.0.state();
        if state.gone || state.end.is_some() {
            return false;
        }
        if state.bytes + bytes.len() > self.0.max_bytes {
            drop(state);
            // It does not read. It is dropped; what waits for it goes to whoever else may have it.
            self.end("resource-constraint");
            return false;
        }
        let is_detached = state.managed.as_ref().is_some_and(|managed| managed.detached);
        let stamp = is_detached.then(|| self.0.stamp());
        let size = bytes.len();
        let part = Part { bytes, parcel, stamp };
        if state.inactive.is_some() {
            return self.push_inactive(state, part);
        }
        state.bytes += size;
        state.push(part);
        drop(state);
        self.0.wake.notify_one();
        true
    }

    /// For a client that nobody looks at.
    fn push_inactive(&self, mut state: MutexGuard<'_, State>, part: Part) -> bool {
        let weight =
            Stanza::parse(part.bytes.clone()).map_or(Weight::Important, |s| csi::weigh(&s));
        let size = part.bytes.len();
        let Some(waiting) = &mut state.inactive else { return true };
        let mut overtaken = None;
        match weight {
            Weight::Drops => overtaken = Some(part),
            Weight::Waits(key) => {
                overtaken = waiting.hold(key, part, |part| part.bytes.len());
                let is_full = waiting.is_full();
                state.bytes += size;
                state.bytes -= overtaken.as_ref().map_or(0, |part| part.bytes.len());
                if is_full {
                    state.release();
                }
            }
            Weight::Important => {
                state.release();
                state.bytes += size;
                state.push(part);
            }
        }
        let must_wake = !state.parts.is_empty();
        drop(state);
        // It counts as arrived: its worth is over, and nobody is to get it in this client's place.
        if let Some(parcel) = overtaken.and_then(|part| part.parcel) {
            parcel.mark_written();
        }
        if must_wake {
            self.0.wake.notify_one();
        }
        true
    }
}

fn arrived(parts: Vec<Part>, due: Vec<BoxFuture<'static, ()>>) {
    for parcel in parts.into_iter().filter_map(|part| part.parcel) {
        parcel.mark_written();
    }
    for work in due {
        tokio::spawn(work);
    }
}

impl Outbox for Queue {
    fn send(&self, bytes: Bytes) -> bool {
        self.push(bytes, None)
    }

    fn send_parcel(&self, bytes: Bytes, parcel: Arc<Parcel>) -> bool {
        self.push(bytes, Some(parcel))
    }

    fn after_written(&self, work: BoxFuture<'static, ()>) {
        let mut state = self.0.state();
        if state.gone {
            return;
        }
        if state.done < state.queued {
            let at = state.queued;
            state.works.push_back((at, work));
            return;
        }
        drop(state);
        tokio::spawn(work);
    }

    fn end(&self, condition: &'static str) {
        self.0.state().end.get_or_insert(condition);
        self.0.ending.notify_waiters();
        self.0.wake.notify_one();
    }

    fn attention(&self) -> Attention {
        let state = self.0.state();
        match (&state.managed, &state.inactive) {
            (Some(managed), _) if managed.detached => Attention::Away,
            (_, Some(_)) => Attention::Inactive,
            _ => Attention::Active,
        }
    }
}

impl QueueReader {
    /// The next batch, or the end.
    pub(super) async fn next(&mut self) -> Item {
        loop {
            let shared = self.shared.clone();
            let wake = shared.wake.notified();
            if self.is_taken() {
                return Item::Taken;
            }
            if let Some((parts, count)) = self.take_now() {
                return Item::Parts(parts, count);
            }
            let end = {
                let mut state = self.shared.state();
                let end = state.end.filter(|_| !state.ended);
                state.ended |= end.is_some();
                end
            };
            if let Some(condition) = end {
                return Item::End(condition);
            }
            wake.await;
        }
    }

    /// Whether another connection has taken the session over.
    pub(super) fn is_taken(&self) -> bool {
        self.shared.state().holder != self.holder
    }

    /// Resolves once somebody wants the stream to end, also while a batch is being written; true when that is because
    /// the session was taken over.
    pub(super) async fn ending(&self) -> bool {
        loop {
            let ending = self.shared.ending.notified();
            {
                let state = self.shared.state();
                if state.holder != self.holder || state.end.is_some() {
                    return state.holder != self.holder;
                }
            }
            ending.await;
        }
    }

    /// A batch, if anything waits.
    pub(super) fn take_now(&mut self) -> Option<(Vec<Bytes>, u64)> {
        let mut state = self.shared.state();
        if state.parts.is_empty() || state.holder != self.holder {
            return None;
        }
        let count = state.parts.len().min(BATCH);
        let batch: Vec<Part> = state.parts.drain(..count).collect();
        let parts: Vec<Bytes> = batch.iter().map(|part| part.bytes.clone()).collect();
        if let Some(managed) = &mut state.managed {
            // They count as sent from now on: some may arrive though the write fails.
            let stamp = self.shared.stamp();
            for mut part in batch {
                part.stamp.get_or_insert_with(|| stamp.clone());
                managed.unacked.push(part);
            }
        } else {
            state.bytes -= parts.iter().map(Bytes::len).sum::<usize>();
            state.writing = batch;
        }
        if state.parts.is_empty() {
            state.parts = VecDeque::new();
        }
        let confirmed = state.queued - state.parts.len() as u64;
        Some((parts, confirmed))
    }

    /// The connection is lost. Gives how long the session waits for its client, if it does and is still held by this
    /// connection.
    pub(super) fn detach(&mut self) -> Option<Duration> {
        let mut state = self.shared.state();
        if state.holder != self.holder || state.end.is_some() {
            return None;
        }
        let managed = state.managed.as_mut()?;
        managed.detached = managed.max.is_some();
        self.has_let_go = managed.detached;
        managed.max
    }

    /// The connection that was taken over from has finished all it had begun.
    pub(super) fn let_go(&mut self) {
        if std::mem::replace(&mut self.has_let_go, true) {
            return;
        }
        let mut state = self.shared.state();
        if let Some(managed) = &mut state.managed {
            managed.detached = true;
        }
        drop(state);
        self.shared.ending.notify_waiters();
    }

    /// Waits until the connection before this one has let go, then acknowledges up to `h` and queues the rest again,
    /// in order and with the time of their first sending. Gives how many of the client's stanzas are finished; `None`
    /// when yet another connection has taken the session. In every other case it is this connection's to end.
    pub(super) async fn resume(&mut self, h: u32, domain: &str) -> Option<Result<u32, TooHigh>> {
        loop {
            let changed = self.shared.ending.notified();
            {
                let state = self.shared.state();
                if state.holder != self.holder {
                    return None;
                }
                if state.managed.as_ref()?.detached {
                    break;
                }
            }
            changed.await;
        }
        if let Err(error) = Queue(self.shared.clone()).acknowledged(h) {
            return Some(Err(error));
        }
        let mut state = self.shared.state();
        // XEP-0352 section 4.2: a resumed stream begins active.
        state.release();
        state.inactive = None;
        let managed = state.managed.as_mut()?;
        managed.detached = false;
        let handled = managed.handled;
        let mut again: VecDeque<Part> = managed.unacked.take();
        again.append(&mut state.parts);
        let before: usize = again.iter().map(|part| part.bytes.len()).sum();
        for part in &mut again {
            if let Some(stamp) = part.stamp.clone() {
                part.bytes = delayed(part.bytes.clone(), domain, &stamp);
            }
        }
        state.bytes += again.iter().map(|part| part.bytes.len()).sum::<usize>();
        state.bytes -= before;
        state.parts = again;
        Some(Ok(handled))
    }

    /// Closes the queue and gives the messages that never arrived, here or elsewhere. `None` when another connection
    /// holds the session.
    pub(super) fn close(&mut self, domain: &str) -> Option<Vec<Bytes>> {
        let mut state = self.shared.state();
        if state.holder != self.holder {
            return None;
        }
        state.gone = true;
        let mut left = std::mem::take(&mut state.writing);
        if let Some(managed) = &mut state.managed {
            left.extend(managed.unacked.take());
        }
        state.release();
        left.extend(std::mem::take(&mut state.parts));
        let works = std::mem::take(&mut state.works);
        drop(state);
        drop(works);
        let lost = left.into_iter().filter_map(|part| {
            let stanza = part.parcel?.lost()?;
            Some(match part.stamp {
                Some(stamp) => delayed(stanza, domain, &stamp),
                None => stanza,
            })
        });
        Some(lost.collect())
    }
}

/// XEP-0203: tells when a message or presence was first sent, unless it says so already.
fn delayed(stanza: Bytes, domain: &str, stamp: &str) -> Bytes {
    match Stanza::parse(stanza.clone()) {
        Ok(parsed) if parsed.kind() != Kind::Iq && !parsed.has("delay", delay::NS) => {
            parsed.bytes_with(&delay::Delay::new(domain, stamp).to_element())
        }
        _ => stanza,
    }
}
