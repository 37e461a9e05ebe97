//! Messages for accounts that are away (XEP-0160): kept, given once, forgotten when written.
//!
//! A message is in the store, or on its way to one stream and in the store, or gone. What is on its way is noted here,
//! so that it is given to nobody else meanwhile; when that stream is lost, the note goes and the message waits again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::turns::Turns;
use super::{Outcome, Server};
use crate::jid::Jid;
use crate::ports::{BoxFuture, Kept, MAX_WAITING, Outbox, Seq, StoreError};
use crate::stanza::{Condition, Stanza, StanzaError};
use crate::xml::Element;

const DELAY: &str = "urn:xmpp:delay";

/// What is being given.
#[derive(Default)]
pub(super) struct Waiting {
    turns: Turns,
    given: Mutex<HashMap<Jid, HashSet<i64>>>,
}

impl Waiting {
    /// Notes a message as on its way; false when it is already.
    fn note(&self, owner: &Jid, id: i64) -> bool {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.entry(owner.clone()).or_default().insert(id)
    }

    fn forget(&self, owner: &Jid, ids: &[i64]) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(noted) = given.get_mut(owner) else { return };
        for id in ids {
            noted.remove(id);
        }
        if noted.is_empty() {
            given.remove(owner);
        }
    }
}

/// Messages that are on their way to one stream. Dropped, they wait again.
struct Given {
    server: Server,
    owner: Jid,
    ids: Vec<i64>,
}

impl Given {
    /// They are written. The owner's turn is held over the commit: whoever looks at the store meanwhile would find
    /// them there and no note of them.
    async fn delete(self) {
        let waiting = &self.server.0.waiting;
        let turn = waiting.turns.take([&self.owner]).await;
        let deleted = self.server.0.ports.offline.delete(&self.owner, &self.ids).await;
        if let Err(error) = deleted {
            tracing::error!(%error, "delivered messages stay in the store and will come again");
        }
        waiting.forget(&self.owner, &self.ids);
        drop(turn);
        self.server.0.ports.watch.waiting_changed(&self.owner);
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        self.server.0.waiting.forget(&self.owner, &self.ids);
    }
}

/// A message that waited, in the hands of whoever gives it to a device that is no stream. Dropped, it waits again.
pub struct TakenMessage {
    given: Given,
    /// The message, with the time it was sent at.
    pub stanza: Bytes,
}

impl TakenMessage {
    /// It has arrived: nobody else gets it. Resolves after the commit.
    pub async fn delivered(self) {
        self.given.delete().await;
    }
}

impl Server {
    /// What waits for an account and is not on its way to a stream, oldest first, a page at most.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn take_waiting(&self, owner: &Jid) -> Result<Vec<TakenMessage>, StoreError> {
        let owner = owner.bare();
        let turn = self.0.waiting.turns.take([&owner]).await;
        let waiting = self.0.ports.offline.load(&owner, self.portion()).await?;
        let mut taken = Vec::new();
        for Kept { seq: id, stanza, archived } in waiting {
            if self.0.waiting.note(&owner, id) {
                let stanza = if archived { self.delayed(&stanza, &owner, id) } else { stanza };
                let given = Given { server: self.clone(), owner: owner.clone(), ids: vec![id] };
                taken.push(TakenMessage { given, stanza });
            }
        }
        drop(turn);
        Ok(taken)
    }

    /// Keeps a message for who is away: the promise is made after the commit. One of the archive, at `place`, is only
    /// marked.
    pub(super) async fn keep(&self, stanza: &Stanza, to: &Jid, place: Option<Seq>) -> Outcome {
        let owner = to.bare();
        match self.keep_waiting(&owner, stanza, place).await {
            Ok(true) => {
                self.0.ports.watch.waiting_changed(&owner);
                // The owner may have come online, and looked for waiting messages, before the commit.
                self.offer_waiting(&owner).await;
                Outcome::Stored
            }
            Ok(false) => {
                let full = StanzaError::new(Condition::ServiceUnavailable)
                    .with_text("too many messages wait for this account");
                self.bounce(stanza, full)
            }
            Err(error) => self.store_failed(stanza, &error),
        }
    }

    async fn keep_waiting(
        &self,
        owner: &Jid,
        stanza: &Stanza,
        place: Option<Seq>,
    ) -> Result<bool, StoreError> {
        let offline = &self.0.ports.offline;
        if let Some(place) = place {
            return offline.hold(owner, place).await.map(|()| true);
        }
        let bytes = if stanza.has("delay", DELAY) {
            stanza.bytes()
        } else {
            let stamp = Element::new("delay", DELAY)
                .with_attr("from", owner.domain())
                .with_attr("stamp", self.0.ports.accounts.stamp());
            stanza.bytes_with(&stamp)
        };
        offline.store(owner, bytes).await
    }

    /// Keeps a message that was routed to the account's devices, none of which has it. False when too many wait.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be kept.
    pub async fn keep_undelivered(
        &self,
        account: &Jid,
        stanza: &Stanza,
    ) -> Result<bool, StoreError> {
        let place = self.place_in(&account.bare(), stanza);
        self.keep_waiting(&account.bare(), stanza, place).await
    }

    /// What an account's client has read in its archive does not wait any more.
    pub(super) async fn forget_waiting(&self, owner: &Jid, read: Seq) {
        let turn = self.0.waiting.turns.take([owner]).await;
        if let Err(error) = self.0.ports.offline.discard(owner, read).await {
            tracing::error!(%error, "messages that were read in the archive will come once more");
        }
        drop(turn);
    }

    /// Gives what waits to the stream that wants it most, if one is there.
    pub async fn offer_waiting(&self, owner: &Jid) {
        let receptive = {
            let sessions = self.sessions();
            let open = sessions.of(owner).iter().filter_map(|r| {
                let priority = r.presence.as_ref()?.priority;
                Some((priority, r.outbox.clone()?)).filter(|(priority, _)| *priority >= 0)
            });
            open.max_by_key(|(priority, _)| *priority)
        };
        if let Some((_, outbox)) = receptive {
            self.flush_offline(owner.clone(), outbox).await;
        }
    }

    /// Bytes that are read of the store and queued for one client at once.
    pub(super) fn portion(&self) -> usize {
        self.0.config.max_queued_bytes / 4
    }

    /// Gives a client what waits for its account: a portion, the rest when that is written.
    pub(super) fn flush_offline(
        &self,
        owner: Jid,
        outbox: Arc<dyn Outbox>,
    ) -> BoxFuture<'static, ()> {
        let server = self.clone();
        Box::pin(async move {
            let turn = server.0.waiting.turns.take([&owner]).await;
            let waiting = match server.0.ports.offline.load(&owner, server.portion()).await {
                Ok(waiting) => waiting,
                Err(error) => {
                    tracing::error!(%error, "waiting messages cannot be read");
                    return;
                }
            };
            let mut given = Given { server: server.clone(), owner: owner.clone(), ids: Vec::new() };
            let bytes: usize = waiting.iter().map(|kept| kept.stanza.len()).sum();
            let is_all = waiting.len() < MAX_WAITING && bytes < server.portion();
            for Kept { seq: id, stanza, archived } in waiting {
                if !server.0.waiting.note(&owner, id) {
                    continue;
                }
                let stanza = if archived { server.delayed(&stanza, &owner, id) } else { stanza };
                if !outbox.send(stanza) {
                    server.0.waiting.forget(&owner, &[id]);
                    break;
                }
                given.ids.push(id);
            }
            drop(turn);
            if given.ids.is_empty() {
                return;
            }
            let unfinished = server.unfinished();
            let next = (!is_all).then(|| outbox.clone());
            outbox.after_written(Box::pin(async move {
                given.delete().await;
                drop(unfinished);
                if let Some(outbox) = next {
                    server.flush_offline(owner, outbox).await;
                }
            }));
        })
    }
}
