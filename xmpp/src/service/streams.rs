//! Every open stream of the node, bound or not, and how all are ended (RFC 6120 section 4.9.3.22, `system-shutdown`).

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use super::Server;
use crate::ports::Outbox;

/// The streams that are open and the work that must be done before the node may stop.
#[derive(Default)]
pub(super) struct Streams(Mutex<State>);

#[derive(Default)]
struct State {
    next: u64,
    open: HashMap<u64, Arc<dyn Outbox>>,
    unfinished: usize,
    stopping: bool,
    wakers: Vec<Waker>,
}

impl Streams {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        let wakers = std::mem::take(&mut self.state().wakers);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A stream is open while this lives. The driver drops it after what was queued is written or given back.
pub struct OpenStream {
    server: Server,
    id: u64,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let streams = &self.server.0.streams;
        let gone = streams.state().open.remove(&self.id);
        drop(gone);
        streams.wake();
    }
}

/// Something is to be done before the node may stop, while this lives.
pub struct Unfinished(Server);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let streams = &self.0.0.streams;
        streams.state().unfinished -= 1;
        streams.wake();
    }
}

impl Server {
    /// Notes a stream as soon as it is opened, long before it is bound. On a node that stops it is ended at once.
    pub fn open_stream(&self, outbox: Arc<dyn Outbox>) -> OpenStream {
        let (id, stopping) = {
            let mut state = self.0.streams.state();
            let id = state.next;
            state.next += 1;
            state.open.insert(id, outbox.clone());
            (id, state.stopping)
        };
        if stopping {
            outbox.end("system-shutdown");
        }
        OpenStream { server: self.clone(), id }
    }

    /// Holds up [`Server::all_left`] until it is dropped.
    pub fn unfinished(&self) -> Unfinished {
        self.0.streams.state().unfinished += 1;
        Unfinished(self.clone())
    }

    /// Tells all streams, bound or not, to end with `system-shutdown`, and those that open later too. What is queued
    /// is written or given back after that: wait for [`Server::all_left`] before the store is closed.
    pub fn close_all(&self) {
        let open: Vec<_> = {
            let mut state = self.0.streams.state();
            state.stopping = true;
            state.open.values().cloned().collect()
        };
        self.close_rooms();
        let bound = self.sessions().outboxes();
        for outbox in open.into_iter().chain(bound) {
            outbox.end("system-shutdown");
        }
    }

    /// Resolves when no stream is open and nothing that streams have caused is under way. Not bounded; each driver
    /// bounds its own goodbye.
    pub async fn all_left(&self) {
        poll_fn(|cx| {
            let mut state = self.0.streams.state();
            if state.open.is_empty() && state.unfinished == 0 {
                return Poll::Ready(());
            }
            if !state.wakers.iter().any(|w| w.will_wake(cx.waker())) {
                state.wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// How many streams are open: bound, not yet bound, or giving back what could not be written.
    pub fn session_count(&self) -> usize {
        self.0.streams.state().open.len()
    }
}
