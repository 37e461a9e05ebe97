//! The queue to one client: bounded by bytes, drained in batches, nothing in it forgotten.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::ports::{BoxFuture, Outbox};

/// Most parts written at once.
const BATCH: usize = 64;

#[derive(Default)]
struct State {
    parts: VecDeque<Bytes>,
    /// Taken by the writer, not confirmed yet.
    writing: Vec<Bytes>,
    bytes: usize,
    queued: u64,
    written: u64,
    end: Option<&'static str>,
    closed: bool,
}

struct Shared {
    state: Mutex<State>,
    wake: Notify,
    progress: Notify,
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
        progress: Notify::new(),
        max_bytes,
    });
    (Queue(shared.clone()), QueueReader(shared))
}

impl Queue {
    /// The parts up to this count are in the socket.
    pub(super) fn written(&self, count: u64) {
        let mut state = self.0.state();
        state.written = count;
        state.writing.clear();
        drop(state);
        self.0.progress.notify_waiters();
    }
}

impl Queue {
    async fn flushed(&self) -> bool {
        let target = self.0.state().queued;
        loop {
            let progress = self.0.progress.notified();
            {
                let state = self.0.state();
                if state.written >= target {
                    return true;
                }
                if state.closed {
                    return false;
                }
            }
            progress.await;
        }
    }
}

impl Outbox for Queue {
    fn send(&self, bytes: Bytes) -> bool {
        let mut state = self.0.state();
        if state.closed || state.end.is_some() {
            return false;
        }
        if state.bytes + bytes.len() > self.0.max_bytes {
            // It does not read. It is dropped; what waits for it goes to whoever else may have it.
            state.end = Some("resource-constraint");
            drop(state);
            self.0.wake.notify_one();
            return false;
        }
        state.bytes += bytes.len();
        state.queued += 1;
        state.parts.push_back(bytes);
        drop(state);
        self.0.wake.notify_one();
        true
    }

    fn after_written(&self, work: BoxFuture<'static, ()>) {
        let queue = self.clone();
        tokio::spawn(async move {
            if queue.flushed().await {
                work.await;
            }
        });
    }

    fn end(&self, condition: &'static str) {
        self.0.state().end.get_or_insert(condition);
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
                match state.end {
                    Some(condition) if !state.closed => {
                        state.closed = true;
                        Some(condition)
                    }
                    _ => None,
                }
            };
            if let Some(condition) = end {
                return Item::End(condition);
            }
            wake.await;
        }
    }

    /// A batch, if anything waits.
    pub(super) fn take_now(&mut self) -> Option<(Vec<Bytes>, u64)> {
        let mut state = self.0.state();
        if state.parts.is_empty() {
            return None;
        }
        let count = state.parts.len().min(BATCH);
        let parts: Vec<Bytes> = state.parts.drain(..count).collect();
        state.bytes -= parts.iter().map(Bytes::len).sum::<usize>();
        state.writing.clone_from(&parts);
        if state.parts.is_empty() {
            state.parts = VecDeque::new();
        }
        let confirmed = state.queued - state.parts.len() as u64;
        Some((parts, confirmed))
    }

    /// Closes the queue and gives what was never written.
    pub(super) fn close(&mut self) -> Vec<Bytes> {
        let mut state = self.0.state();
        state.closed = true;
        let mut left = std::mem::take(&mut state.writing);
        left.extend(std::mem::take(&mut state.parts));
        drop(state);
        self.0.progress.notify_waiters();
        left
    }
}
