//! The queue to one client: bounded by bytes, drained in batches, nothing in it forgotten.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::ports::{BoxFuture, Outbox, Parcel};

/// Most parts written at once.
const BATCH: usize = 64;

/// What is queued, and the message it is a copy of.
struct Part {
    bytes: Bytes,
    parcel: Option<Arc<Parcel>>,
}

#[derive(Default)]
struct State {
    parts: VecDeque<Part>,
    /// Taken by the writer, not confirmed yet.
    writing: Vec<Part>,
    bytes: usize,
    queued: u64,
    written: u64,
    /// Work for when this many parts have been written.
    works: VecDeque<(u64, BoxFuture<'static, ()>)>,
    end: Option<&'static str>,
    /// The connection has been told to end, or has ended.
    ended: bool,
    /// Nothing is written any more.
    gone: bool,
}

struct Shared {
    state: Mutex<State>,
    wake: Notify,
    ending: Notify,
    max_bytes: usize,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writing end, one for each who sends to the client.
#[derive(Clone)]
pub(super) struct Queue(Arc<Shared>);

/// The reading end, held by the connection.
pub(super) struct QueueReader(Arc<Shared>);

/// What the connection does next.
pub(super) enum Item {
    /// Write these, then confirm the count.
    Parts(Vec<Bytes>, u64),
    /// End the stream with this error.
    End(&'static str),
}

pub(super) fn queue(max_bytes: usize) -> (Queue, QueueReader) {
    let shared = Arc::new(Shared {
        state: Mutex::default(),
        wake: Notify::new(),
        ending: Notify::new(),
        max_bytes,
    });
    (Queue(shared.clone()), QueueReader(shared))
}

impl Queue {
    /// The parts up to this count are in the socket.
    pub(super) fn written(&self, count: u64) {
        let mut state = self.0.state();
        state.written = count;
        let written = std::mem::take(&mut state.writing);
        let mut due = Vec::new();
        while let Some((_, work)) = state.works.pop_front_if(|(at, _)| *at <= count) {
            due.push(work);
        }
        drop(state);
        for parcel in written.into_iter().filter_map(|part| part.parcel) {
            parcel.mark_written();
        }
        for work in due {
            tokio::spawn(work);
        }
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
        state.bytes += bytes.len();
        state.queued += 1;
        state.parts.push_back(Part { bytes, parcel });
        drop(state);
        self.0.wake.notify_one();
        true
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
        if state.written < state.queued {
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
}

impl QueueReader {
    /// The next batch, or the end.
    pub(super) async fn next(&mut self) -> Item {
        loop {
            let shared = self.0.clone();
            let wake = shared.wake.notified();
            if let Some((parts, count)) = self.take_now() {
                return Item::Parts(parts, count);
            }
            let end = {
                let mut state = self.0.state();
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

    /// Resolves once somebody wants the stream to end, also while a batch is being written.
    pub(super) async fn ending(&self) {
        loop {
            let ending = self.0.ending.notified();
            if self.0.state().end.is_some() {
                return;
            }
            ending.await;
        }
    }

    /// A batch, if anything waits.
    pub(super) fn take_now(&mut self) -> Option<(Vec<Bytes>, u64)> {
        let mut state = self.0.state();
        if state.parts.is_empty() {
            return None;
        }
        let count = state.parts.len().min(BATCH);
        let batch: Vec<Part> = state.parts.drain(..count).collect();
        let parts: Vec<Bytes> = batch.iter().map(|part| part.bytes.clone()).collect();
        state.bytes -= parts.iter().map(Bytes::len).sum::<usize>();
        state.writing = batch;
        if state.parts.is_empty() {
            state.parts = VecDeque::new();
        }
        let confirmed = state.queued - state.parts.len() as u64;
        Some((parts, confirmed))
    }

    /// Closes the queue and gives the messages that were never written, here or elsewhere.
    pub(super) fn close(&mut self) -> Vec<Bytes> {
        let mut state = self.0.state();
        state.gone = true;
        let mut left = std::mem::take(&mut state.writing);
        left.extend(std::mem::take(&mut state.parts));
        let works = std::mem::take(&mut state.works);
        drop(state);
        drop(works);
        left.into_iter().filter_map(|part| part.parcel?.lost()).collect()
    }
}
