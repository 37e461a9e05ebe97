//! What is said to everybody on its way through the archive (XEP-0313 section 6.1.2): taken, kept, given out. What was
//! taken first is given out first, whatever is kept first: the room and its archive have one order.

use bytes::Bytes;

use super::message::Spoken;
use super::moderate::Moderation;
use super::room::{Action, Now, Occupant, Room};
use super::{Hall, Refusal, lock};
use crate::jid::Jid;
use crate::ports::{ArchiveQuery, RoomChange, StoreError, Stored};
use crate::service::archive::RETRACT;
use crate::service::blocking::Verdict;
use crate::service::push::{Absent, Heard};
use crate::service::{Begun, Keeping, Outcome, Server};
use crate::stanza::{Condition, Stanza, StanzaError, stamp};
use crate::xml::Element;

/// Messages read of an archive for each that a newcomer may be told: notes about messages are among them.
const RECALLED: usize = 5;

/// A message that is to be given out, once those before it have been.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) spoken: Spoken,
    /// Its id in the archive, or one that nobody has.
    pub(super) id: Option<String>,
    /// When it arrived, in microseconds since 1970.
    pub(super) micros: i64,
}

/// A message that a room has taken.
pub(in crate::service) struct Taken {
    spoken: Spoken,
    ticket: Ticket,
}

/// A message's place among those of its room. Dropped, it lets the others pass.
struct Ticket {
    server: Server,
    hall: Hall,
    number: u64,
    used: bool,
}

impl Ticket {
    /// The message is given out when its turn has come.
    fn turn_in(mut self, ready: Ready) {
        self.used = true;
        self.server.turn_in(&self.hall, self.number, Some(ready));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.used {
            self.server.turn_in(&self.hall, self.number, None);
        }
    }
}

impl Server {
    /// What comes before the commit of a message for the room service.
    pub(in crate::service) async fn begin_room_message(&self, stanza: Stanza) -> Begun {
        let room = stanza.to().filter(|to| to.node().is_some() && to.is_bare()).cloned();
        let Some(room) = room.filter(|_| stanza.type_() == Some("groupchat")) else {
            return Begun::new(stanza);
        };
        match self.take(&room, &stanza).await {
            Ok((taken, kept)) => Begun { taken: Some(Box::new(taken)), kept, ..Begun::new(stanza) },
            Err(Refusal::Stanza(error)) => {
                Begun { refused: Verdict::Refuse(error), ..Begun::new(stanza) }
            }
            Err(Refusal::Store(error)) => {
                Begun { kept: Keeping::Kept(Err(error)), ..Begun::new(stanza) }
            }
        }
    }

    async fn take(&self, jid: &Jid, stanza: &Stanza) -> Result<(Taken, Keeping), Refusal> {
        self.check_retraction(jid, stanza).await?;
        loop {
            let hall = self.hall(jid).await?;
            let hall = hall.ok_or_else(|| StanzaError::new(Condition::ItemNotFound))?;
            let mut room = lock(&hall);
            if room.closed {
                continue;
            }
            let (stamp, micros) = self.now();
            let spoken = room.speak(stanza, Now { stamp: &stamp, micros })?;
            let kept = self.archive_spoken(&room, &spoken);
            let number = room.take_ticket();
            drop(room);
            let ticket = Ticket { server: self.clone(), hall, number, used: false };
            return Ok((Taken { spoken, ticket }, kept));
        }
    }

    /// Under the room's lock, so that the archive has the order of the tickets.
    fn archive_spoken(&self, room: &Room, spoken: &Spoken) -> Keeping {
        if spoken.kept && room.record.config.logging {
            Keeping::Waiting(self.0.ports.archive.append(room.entry(spoken)))
        } else {
            Keeping::Kept(Ok(None))
        }
    }

    /// One takes back only what one has said oneself (XEP-0424 section 6).
    async fn check_retraction(&self, jid: &Jid, stanza: &Stanza) -> Result<(), Refusal> {
        let retract = stanza.child("retract", RETRACT);
        let seq = retract.and_then(|r| self.archive_seq(r.attr("id")?));
        let (Some(seq), Some(from)) = (seq, stanza.from()) else { return Ok(()) };
        let query = ArchiveQuery { ids: Some(vec![seq]), ..ArchiveQuery::new(jid.clone(), 1) };
        let page = self.0.ports.archive.page(&query).await?;
        let Some(original) = page.and_then(|page| page.messages.into_iter().next()) else {
            return Ok(());
        };
        let own = self.in_room(jid, |room, _, _| room.occupant_id(from)).await?;
        let author = Stanza::parse(original.stanza).ok();
        let author = author.and_then(|s| s.child("occupant-id", super::wire::OCCUPANT_ID));
        if author.as_ref().and_then(|id| id.attr("id")) == own.as_deref() {
            return Ok(());
        }
        Err(StanzaError::new(Condition::Forbidden).with_text("somebody else has said that").into())
    }

    /// What comes after the commit.
    pub(in crate::service) async fn give_out(
        &self,
        stanza: &Stanza,
        taken: Taken,
        stored: Option<Stored>,
    ) -> Outcome {
        let Taken { spoken, ticket } = taken;
        let (Some(from), Some(jid)) = (stanza.from(), stanza.to()) else { return Outcome::Ignored };
        if let Some(Stored { seq, duplicate: true }) = stored {
            drop(ticket);
            let id = self.archive_id(seq);
            self.in_hall(jid, |room, _, out| room.repeat(&spoken, &id, from, out));
            return Outcome::Ignored;
        }
        if spoken.subject.is_some()
            && let Err(refusal) = self.keep_subject(jid, &spoken).await
        {
            return self.refuse(stanza, refusal);
        }
        if let (Some(id), Some(stored)) = (&spoken.retracts, stored)
            && let Some(place) = self.archive_seq(id)
        {
            let retracted = Element::new("retracted", RETRACT)
                .with_attr_opt("id", stanza.id())
                .with_attr("stamp", stamp::print(stored.seq));
            if let Err(error) = self.entomb(jid, place, retracted).await {
                tracing::error!(%error, "a retracted message stays in the archive of a room");
            }
        }
        let id = match stored {
            Some(stored) => Some(self.archive_id(stored.seq)),
            None => spoken.kept.then(|| self.room_message_id()),
        };
        let micros = stored.map_or_else(|| self.now().1, |stored| stored.seq);
        let (reached, heard) = {
            let room = lock(&ticket.hall);
            (room.sessions.len(), self.heard(&room, &spoken, id.as_deref()))
        };
        ticket.turn_in(Ready { spoken, id, micros });
        if let Some(heard) = heard {
            self.wake_room(jid, heard).await;
        }
        Outcome::Delivered { sessions: reached, attached: 0 }
    }

    /// Shows what was said to the filters of the room, and finds who is inside and does not look.
    fn heard(&self, room: &Room, spoken: &Spoken, id: Option<&str>) -> Option<Heard> {
        let is_away = |o: &&Occupant| o.real != spoken.sender && self.is_away(&o.real);
        let away: Vec<Absent> = room
            .occupants
            .values()
            .filter(is_away)
            .map(|occupant| Absent {
                account: occupant.real.clone(),
                nick: occupant.nick.clone(),
                occupant: occupant.jid.clone(),
                occupant_id: occupant.id.clone(),
            })
            .collect();
        let is_filtered = self.is_filtered(&room.jid);
        if away.is_empty() && !is_filtered {
            return None;
        }
        let bytes = Bytes::from(spoken.finished(&room.jid, id).text().to_owned());
        if is_filtered && spoken.kept {
            self.show_filters(&room.jid, &bytes, id);
        }
        Some(Heard { bytes, away, is_public: room.record.config.public })
    }

    async fn keep_subject(&self, jid: &Jid, spoken: &Spoken) -> Result<(), Refusal> {
        let plan = |room: &mut Room, _: &mut Vec<Action>| {
            let mut record = room.record.clone();
            record.subject.clone_from(&spoken.subject);
            Ok((RoomChange { record: Some(record), ..RoomChange::default() }, ()))
        };
        self.change_room(jid, false, plan, |room, _, (), _| {
            room.record.subject.clone_from(&spoken.subject);
        })
        .await
    }

    fn turn_in(&self, hall: &Hall, number: u64, ready: Option<Ready>) {
        let mut room = lock(hall);
        self.run(&mut room, |room, _, out| room.turn_in(number, ready, out));
    }

    /// An id that nobody has.
    pub(super) fn room_message_id(&self) -> String {
        let random = self.0.ports.accounts.random();
        random.iter().take(16).map(|b| format!("{b:02x}")).collect()
    }

    /// Takes a message back for everybody (XEP-0425 sections 3.1 and 4).
    ///
    /// # Errors
    ///
    /// `item-not-found` for a message that the room does not know.
    pub(super) async fn take_back(
        &self,
        jid: &Jid,
        moderation: &Moderation,
    ) -> Result<(), Refusal> {
        let not_found = || StanzaError::new(Condition::ItemNotFound);
        let id = self.room_message_id();
        let stone = moderation.retracted(&id, &self.now().0);
        let known = self.in_room(jid, |room, _, _| room.history.get(&moderation.id).is_some());
        let mut known = known.await?.ok_or_else(not_found)?;
        if let Some(place) = self.archive_seq(&moderation.id) {
            known |= self.entomb(jid, place, stone).await?;
        }
        if !known {
            return Err(not_found().into());
        }
        let spoken = Spoken::by_room(jid, &id, moderation.retract(), Some(&moderation.id));
        let hall = self.hall(jid).await?.ok_or_else(not_found)?;
        let (number, kept) = {
            let mut room = lock(&hall);
            let kept = self.archive_spoken(&room, &spoken);
            (room.take_ticket(), kept)
        };
        let ticket = Ticket { server: self.clone(), hall, number, used: false };
        let (id, micros) = match kept {
            Keeping::Waiting(stored) => {
                let seq = stored.await?.seq;
                (self.archive_id(seq), seq)
            }
            Keeping::Kept(_) => (id, self.now().1),
        };
        ticket.turn_in(Ready { spoken, id: Some(id), micros });
        Ok(())
    }

    /// A content filter takes a message of a room back; false when the room does not know it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub(in crate::service) async fn filter_out(
        &self,
        room: &Jid,
        id: &str,
        reason: &str,
    ) -> Result<bool, StoreError> {
        match self.take_back(room, &Moderation::new(id, None, Some(reason))).await {
            Ok(()) => Ok(true),
            Err(Refusal::Stanza(_)) => Ok(false),
            Err(Refusal::Store(error)) => Err(error),
        }
    }

    /// The last messages of a room that comes out of the store, for those who enter.
    pub(super) async fn recall(&self, room: &mut Room) {
        let max = room.record.config.history.min(room.limits.history);
        if !room.record.config.logging || max == 0 {
            return;
        }
        let most = max.saturating_mul(RECALLED);
        let query = ArchiveQuery {
            last: true,
            max_bytes: self.portion(),
            ..ArchiveQuery::new(room.jid.clone(), most)
        };
        match self.0.ports.archive.page(&query).await {
            Ok(page) => {
                for message in page.map(|page| page.messages).unwrap_or_default() {
                    let id = self.archive_id(message.seq);
                    room.recall(&id, message.seq, message.stanza);
                }
            }
            // The room works without; the archive can be asked later.
            Err(error) => tracing::warn!(%error, "a room's last messages cannot be read"),
        }
    }
}

impl Room {
    /// The next place among the room's messages.
    fn take_ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// A message is ready, or will never be: everything up to the first that is not is given out.
    fn turn_in(&mut self, number: u64, ready: Option<Ready>, out: &mut Vec<Action>) {
        self.parked.insert(number, ready);
        while let Some(ready) = self.parked.remove(&self.due) {
            self.due += 1;
            if let Some(Ready { spoken, id, micros }) = ready {
                let stamp = stamp::print(micros);
                self.deliver(&spoken, id.as_deref(), Now { stamp: &stamp, micros }, out);
            }
        }
    }
}
