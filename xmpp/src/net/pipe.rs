//! The queue to another server or a component: bounded by bytes, refusing when full, drained in batches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::ports::{BoxFuture, Outbox};

/// Most stanzas written at once.
const BATCH: usize = 64;

#[derive(Default)]
struct State {
    stanzas: VecDeque<Bytes>,
    bytes: usize,
    works: Vec<BoxFuture<'static, ()>>,
    end: Option<&'static str>,
}

struct Shared {
    state: Mutex<State>,
    wake: Notify,
    ending: Notify,
    max_bytes: usize,
}

/// Both ends of the queue. Cheap to clone.
#[derive(Clone)]
pub(super) struct Pipe(Arc<Shared>);

/// What the connection does next.
pub(super) enum Flow {
    /// Write these.
    Stanzas(Vec<Bytes>),
    /// End the stream with this error.
    End(&'static str),
}

impl Pipe {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            wake: Notify::new(),
            ending: Notify::new(),
            max_bytes,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Queues a stanza; false when there is no room or the stream is to end.
    pub(super) fn push(&self, stanza: Bytes) -> bool {
        let mut state = self.state();
        if state.end.is_some() || state.bytes + stanza.len() > self.0.max_bytes {
            return false;
        }
        state.bytes += stanza.len();
        state.stanzas.push_back(stanza);
        drop(state);
        self.0.wake.notify_one();
        true
    }

    /// What is queued, up to a batch.
    pub(super) fn take(&self) -> Vec<Bytes> {
        let mut state = self.state();
        let count = state.stanzas.len().min(BATCH);
        let batch: Vec<Bytes> = state.stanzas.drain(..count).collect();
        state.bytes -= batch.iter().map(Bytes::len).sum::<usize>();
        batch
    }

    /// The next batch, or the end.
    pub(super) async fn next(&self) -> Flow {
        loop {
            let wake = self.0.wake.notified();
            let batch = self.take();
            if !batch.is_empty() {
                return Flow::Stanzas(batch);
            }
            if let Some(condition) = self.state().end {
                return Flow::End(condition);
            }
            wake.await;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state().stanzas.is_empty()
    }

    /// Whether the stream is to end.
    pub(super) fn is_ended(&self) -> bool {
        self.state().end.is_some()
    }

    /// Resolves when the stream is to end.
    pub(super) async fn ending(&self) {
        loop {
            let ending = self.0.ending.notified();
            if self.is_ended() {
                return;
            }
            ending.await;
        }
    }

    /// What was taken and not written comes first again, bound or not.
    pub(super) fn put_back(&self, batch: Vec<Bytes>) {
        let mut state = self.state();
        for stanza in batch.into_iter().rev() {
            state.bytes += stanza.len();
            state.stanzas.push_front(stanza);
        }
    }

    /// Everything that is left; nothing more is taken.
    pub(super) fn close(&self) -> Vec<Bytes> {
        let mut state = self.state();
        state.end.get_or_insert("connection-timeout");
        state.bytes = 0;
        let left = std::mem::take(&mut state.stanzas);
        let works = std::mem::take(&mut state.works);
        drop(state);
        drop(works);
        left.into()
    }

    /// A batch is in the socket.
    pub(super) fn written(&self) {
        let mut state = self.state();
        if !state.stanzas.is_empty() {
            return;
        }
        let works = std::mem::take(&mut state.works);
        drop(state);
        for work in works {
            tokio::spawn(work);
        }
    }
}

impl Outbox for Pipe {
    fn send(&self, bytes: Bytes) -> bool {
        self.push(bytes)
    }

    fn after_written(&self, work: BoxFuture<'static, ()>) {
        let mut state = self.state();
        if state.stanzas.is_empty() {
            drop(state);
            tokio::spawn(work);
        } else if state.end.is_none() {
            state.works.push(work);
        }
    }

    fn end(&self, condition: &'static str) {
        self.state().end.get_or_insert(condition);
        self.0.ending.notify_waiters();
        self.0.wake.notify_one();
    }
}
