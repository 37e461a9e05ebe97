//! Presence and messages for rooms (XEP-0045 sections 7 and 8): what they are, and which room they are for.

use super::admin::By;
use super::invite::{Errand, errand};
use super::presence::Removal;
use super::room::{Action, Now, Occupant, Room, said};
use super::wire::{Item, MUC, Shared, Target, user_x};
use super::{Refusal, lock};
use crate::jid::Jid;
use crate::router::Place;
use crate::service::{Outcome, Server};
use crate::stanza::{Condition, Kind, Stanza, StanzaError};

impl Server {
    /// Presence for the room service.
    pub(in crate::service) async fn room_presence(&self, stanza: Stanza) -> Outcome {
        let (Some(from), Some(to)) = (stanza.from().cloned(), stanza.to().cloned()) else {
            return Outcome::Ignored;
        };
        if to.node().is_none() {
            return Outcome::Ignored;
        }
        let room = to.bare();
        match stanza.type_() {
            None => self.enter_or_update(&from, &to, &stanza).await,
            Some("unavailable") => {
                self.in_hall(&room, |room, _, out| {
                    if room.locked && room.sessions.contains_key(&from) {
                        room.abandon(&from, out);
                        return;
                    }
                    let words = said(&stanza, &room.jid);
                    let why = Removal { said: Some(words), ..Removal::default() };
                    room.leave(&from, &why, out);
                });
                Outcome::Ignored
            }
            Some("error") => {
                self.in_hall(&room, |room, _, out| room.lost(&from, out));
                Outcome::Ignored
            }
            _ => Outcome::Ignored,
        }
    }

    async fn enter_or_update(&self, from: &Jid, to: &Jid, stanza: &Stanza) -> Outcome {
        let room = to.bare();
        let asks = stanza.has("x", MUC);
        let inside = self.in_hall(&room, |room, _, _| room.sessions.contains_key(from));
        let inside = inside.unwrap_or(false);
        let Some(nick) = to.resource() else {
            return self.refuse(stanza, StanzaError::new(Condition::JidMalformed).into());
        };
        if inside && !asks {
            let updated =
                self.in_hall(&room, |room, now, out| room.update(from, nick, stanza, now, out));
            return match updated {
                Some(Err(error)) => self.refuse(stanza, error.into()),
                _ => Outcome::Ignored,
            };
        }
        if !asks {
            return self.tell_left_behind(from, to).await;
        }
        match self.enter(from, &room, nick, stanza).await {
            Ok(()) => Outcome::Ignored,
            Err(refusal) => self.refuse(stanza, refusal),
        }
    }

    /// Somebody believes to be inside and is not (section 7.2.18).
    async fn tell_left_behind(&self, from: &Jid, to: &Jid) -> Outcome {
        let nick = to.resource().unwrap_or_default();
        let known = self.in_room(&to.bare(), |room, _, _| room.left_behind(from, nick)).await;
        let shared = known.ok().flatten().flatten().unwrap_or_else(|| {
            let item = Item { affiliation: "none", role: "none", ..Item::default() };
            let x = user_x(Some(&item), &[110, 307, 333]);
            Shared::new("presence", to.as_str(), " type='unavailable'", &x)
        });
        let target = Target::new(from, self.place(from) == Place::Account);
        self.emit(to, from, &shared.to(&target));
        Outcome::Ignored
    }

    async fn enter(
        &self,
        from: &Jid,
        room: &Jid,
        nick: &str,
        stanza: &Stanza,
    ) -> Result<(), Refusal> {
        let is_full = lock(&self.0.halls.visits).get(from).is_some_and(|joined| {
            joined.len() >= self.0.config.rooms.max_joined && !joined.contains(room)
        });
        if from.is_bare() || is_full {
            return Err(StanzaError::new(Condition::ResourceConstraint).into());
        }
        let target = Target::new(from, self.place(from) == Place::Account);
        let join = |room: &mut Room, now: Now<'_>, out: &mut Vec<Action>| {
            room.join(target.clone(), nick, stanza, now, out)
        };
        if let Some(entered) = self.in_room(room, join).await? {
            return Ok(entered?);
        }
        // Nobody else makes this room meanwhile.
        let turn = self.0.halls.turns.take([room]).await;
        while let Some(hall) = self.hall_in_turn(room).await? {
            let mut room = lock(&hall);
            // Its last occupant may have left since it was found.
            if !room.closed {
                return Ok(self.run(&mut room, join).0?);
            }
        }
        self.may_create(from).await?;
        // A room of this name may have been before; nothing of it is for this one.
        self.0.ports.archive.forget(room).await?;
        let secret = self.0.ports.accounts.random();
        let hall = self.open_hall(Room::new(room, from, secret, &self.0.config.rooms));
        let mut made = lock(&hall);
        let entered = self.run(&mut made, join).0;
        if entered.is_err() {
            made.closed = true;
            lock(&self.0.halls.rooms).remove(room);
        }
        drop(turn);
        Ok(entered?)
    }

    /// Whether this person may make one more room (section 10.1.1).
    async fn may_create(&self, from: &Jid) -> Result<(), Refusal> {
        let limits = &self.0.config.rooms;
        let refused = |text: &str| {
            Err(Refusal::Stanza(StanzaError::new(Condition::NotAllowed).with_text(text)))
        };
        if self.place(from) != Place::Account && !limits.remote_owners {
            return refused("rooms are made by accounts of this server");
        }
        let (all, own) = self.0.ports.rooms.count(&from.bare()).await?;
        if all >= limits.max_rooms {
            return refused("there are too many rooms");
        }
        if own >= limits.max_owned {
            return refused("you own too many rooms");
        }
        Ok(())
    }

    /// A message for the room service.
    pub(in crate::service) async fn room_message(&self, stanza: Stanza) -> Outcome {
        let (Some(from), Some(to)) = (stanza.from().cloned(), stanza.to().cloned()) else {
            return Outcome::Ignored;
        };
        if stanza.type_() == Some("error") {
            self.in_hall(&to.bare(), |room, _, out| room.bounced(&stanza, out));
            return Outcome::Ignored;
        }
        if to.node().is_none() {
            let error = StanzaError::new(Condition::ServiceUnavailable);
            return self.refuse(&stanza, error.into());
        }
        let room = to.bare();
        let done = match to.resource() {
            Some(nick) => {
                let shuns =
                    |to: &Occupant, by: &Occupant, session: &Jid| self.shuns(to, by, session);
                let whisper = |room: &mut Room, _: Now<'_>, out: &mut Vec<Action>| {
                    room.whisper(&stanza, nick, &shuns, out)
                };
                let done = self.in_room(&room, whisper).await;
                if let Ok(Some(Ok(devices))) = &done {
                    self.copy_whisper(&stanza, devices);
                }
                done
            }
            // Taken before, if it could be.
            None if stanza.type_() == Some("groupchat") => return Outcome::Ignored,
            None => match self.room_errand(&room, &from, &stanza).await {
                Ok(()) => return Outcome::Ignored,
                Err(refusal) => return self.refuse(&stanza, refusal),
            },
        };
        match done {
            Ok(Some(Ok(_))) => Outcome::Delivered { sessions: 1, attached: 0 },
            Ok(Some(Err(error))) => self.refuse(&stanza, error.into()),
            Ok(None) => self.refuse(&stanza, StanzaError::new(Condition::ItemNotFound).into()),
            Err(error) => self.refuse(&stanza, error.into()),
        }
    }

    /// What is for the room itself: invitations, refusals, forms.
    async fn room_errand(&self, jid: &Jid, from: &Jid, stanza: &Stanza) -> Result<(), Refusal> {
        let not_found = || StanzaError::new(Condition::ItemNotFound);
        match errand(stanza) {
            Some(Errand::Invite(invited)) => {
                for invitation in &invited {
                    // Where it can be known that there is nobody, the inviter learns it (section 7.8.2).
                    if !self.may_be_invited(&invitation.whom.bare(), from, jid).await? {
                        return Err(not_found().into());
                    }
                }
                self.change_room(
                    jid,
                    false,
                    |room, _| Ok((room.plan_invite(from, &invited)?, ())),
                    |room, change, (), out| {
                        // They are invited by who did it, not by the room as well.
                        for (person, member) in &change.people {
                            if let Some(member) = member {
                                room.people.insert(person.clone(), member.clone());
                            }
                        }
                        room.invite(from, &invited, out);
                    },
                )
                .await
            }
            Some(Errand::Decline(decline)) => {
                let done = self.in_room(jid, |room, _, out| room.decline(from, &decline, out));
                Ok(done.await?.ok_or_else(not_found)??)
            }
            Some(Errand::Form(form)) => {
                self.change_room(
                    jid,
                    false,
                    |room, out| Ok((room.form(from, &form, out)?, ())),
                    |room, change, (), out| {
                        let nick = room.occupant_of(from).map(|o| o.nick.clone());
                        let by = By { jid: from, nick: nick.as_deref() };
                        room.apply_people(&change.people, by, out);
                    },
                )
                .await
            }
            None => Err(StanzaError::new(Condition::BadRequest).into()),
        }
    }

    /// Something that a room sent has come back, or is answered.
    pub(in crate::service) fn room_returned(&self, stanza: &Stanza) {
        let Some(to) = stanza.to().cloned() else { return };
        self.in_hall(&to.bare(), |room, _, out| match (stanza.kind(), stanza.type_()) {
            (Kind::Iq, Some("result" | "error")) => {
                if let Some(nick) = to.resource() {
                    room.answer(stanza, nick, out);
                }
            }
            (Kind::Message, Some("error")) => room.bounced(stanza, out),
            (Kind::Presence, Some("error")) => {
                if let Some(from) = stanza.from() {
                    room.lost(from, out);
                }
            }
            _ => {}
        });
    }

    /// Says no to whoever sent this, anywhere.
    pub(super) fn refuse(&self, stanza: &Stanza, refusal: Refusal) -> Outcome {
        let error = match refusal {
            Refusal::Stanza(error) => error,
            Refusal::Store(error) => {
                tracing::error!(%error, "store failed while a room was asked");
                StanzaError::new(Condition::InternalServerError)
            }
        };
        if let (Some(mut reply), Some(from), Some(to)) =
            (stanza.error_reply(&error), stanza.from(), stanza.to())
        {
            // Clients tell a refused entry from other errors by it (section 7.2).
            if stanza.kind() == Kind::Presence && stanza.has("x", MUC) {
                reply.push(crate::xml::Element::new("x", MUC));
            }
            self.emit(to, from, &reply.to_bytes());
        }
        Outcome::Refused(error)
    }
}
