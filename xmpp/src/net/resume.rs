//! A session that outlives its connection (XEP-0198): managed, lost, waiting, taken over by the next.

use std::sync::Arc;

use super::outbox::Queue;
use super::wire::Wire;
use super::{Connection, GOODBYE, now};
use crate::jid::Jid;
use crate::ports::Outbox;
use crate::stream::sm::{Granted, Resume, Resumption};

/// What is kept of a session under its id.
struct Session {
    jid: Jid,
    queue: Queue,
    /// The one that is bound; its address is its identity.
    outbox: Arc<dyn Outbox>,
}

impl Connection {
    /// From here on stanzas are counted, and the session may be resumed where that was granted.
    pub(super) fn manage(&mut self, granted: Granted) {
        self.managed = true;
        self.queue.manage(granted.id.is_some().then_some(granted.max));
        let (Some(id), Some(jid)) = (granted.id, self.c2s.jid().cloned()) else { return };
        let session =
            Session { jid: jid.clone(), queue: self.queue.clone(), outbox: self.outbox.clone() };
        self.server.hold_session(id.clone(), jid.bare(), Arc::new(session));
        self.session = Some((id, jid.clone()));
    }

    /// The client has so many of our stanzas; it is asked again when that is not all.
    pub(super) fn acknowledged(&mut self, h: u32) {
        match self.queue.acknowledged(h) {
            Ok(()) if self.queue.must_ask() => {
                self.c2s.ask_ack();
                self.c2s.handle_asked(now());
            }
            Ok(()) => {}
            Err(error) => self.c2s.fail_too_high(error),
        }
    }

    pub(super) async fn resume(&mut self, resume: Resume) {
        let outcome = self.take_over(&resume).await;
        self.c2s.handle_resumed(outcome, now());
    }

    /// Puts the session that is asked for in the place of the empty one that this connection began with.
    async fn take_over(&mut self, resume: &Resume) -> Resumption {
        let unknown = Resumption::Unknown { h: None };
        let Some(account) = self.c2s.account() else { return unknown };
        let held = match self.server.held_session(&resume.previd, account) {
            Ok(held) => held,
            Err(h) => return Resumption::Unknown { h },
        };
        let Ok(session) = held.downcast::<Session>() else { return unknown };
        let mut reader = match session.queue.take_over(resume.h) {
            Ok(Some(reader)) => reader,
            Ok(None) => return unknown,
            Err(error) => return Resumption::TooHigh(error),
        };
        let Some(handled) = reader.resume(resume.h, session.jid.domain()).await else {
            return unknown;
        };
        // From here on the session is this connection's to end, also when the client is at fault.
        self.reader = reader;
        self.queue = session.queue.clone();
        self.outbox = session.outbox.clone();
        self.session = Some((resume.previd.clone(), session.jid.clone()));
        self.managed = true;
        tracing::info!(peer = %self.peer, "client came back");
        match handled {
            Ok(h) => Resumption::Resumed { jid: session.jid.clone(), h },
            Err(error) => Resumption::TooHigh(error),
        }
    }

    /// Another connection of the client has taken the session: what was begun is finished first, since the count of it
    /// goes there, then this stream ends (section 5).
    pub(super) async fn give_away<W: Wire>(&mut self, wire: &mut W) {
        self.finish_work().await;
        self.reader.let_go();
        self.c2s.fail("conflict", "the session was resumed on another stream");
        let farewell = async {
            while let Some(action) = self.c2s.poll_action() {
                if let crate::stream::c2s::Action::Send(bytes)
                | crate::stream::c2s::Action::Close { last: bytes, .. } = action
                {
                    wire.send(&[bytes], GOODBYE).await;
                }
            }
            wire.close().await;
        };
        let _ = tokio::time::timeout(GOODBYE, farewell).await;
    }

    /// The connection is lost. Waits for the client to come back on another; true when it did not and the session must
    /// end, false when it is no longer this connection's.
    pub(super) async fn waits_in_vain(&mut self) -> bool {
        let Some(limit) = self.reader.detach() else { return true };
        tracing::info!(peer = %self.peer, "client lost, its session waits");
        let is_taken = tokio::select! {
            is_taken = self.reader.ending() => is_taken,
            () = tokio::time::sleep(limit) => false,
        };
        !is_taken
    }
}
