//! Requests to the service, to rooms and to those inside (XEP-0045 sections 6 and 8 to 10).

use super::admin::By;
use super::disco::{MODERATE, service_info};
use super::hats::{COMMANDS, Command, status};
use super::owner::Wish;
use super::private::{Asked, VCARD};
use super::register::REGISTER;
use super::room::{Action, Occupant, Room};
use super::wire::{ADMIN, OWNER};
use super::{Refusal, lock};
use crate::jid::Jid;
use crate::ports::RoomChange;
use crate::service::archive::{MAM, Whose};
use crate::service::disco::{INFO, ITEMS};
use crate::service::{Outcome, Server};
use crate::stanza::{Condition, Stanza, StanzaError};
use crate::xml::{Element, ns};

const PING: &str = "urn:xmpp:ping";
const RSM: &str = "http://jabber.org/protocol/rsm";
/// Public rooms on a page of the list.
const MAX_LISTED: usize = 100;

/// What a request is answered with.
type Answer = Result<Option<Element>, Refusal>;

fn refused(condition: Condition) -> Answer {
    Err(StanzaError::new(condition).into())
}

impl Server {
    /// A request or an answer for the room service.
    pub(in crate::service) async fn room_iq(&self, stanza: Stanza) -> Outcome {
        let (Some(from), Some(to)) = (stanza.from().cloned(), stanza.to().cloned()) else {
            return Outcome::Ignored;
        };
        if matches!(stanza.type_(), Some("result" | "error")) {
            self.room_returned(&stanza);
            return Outcome::Ignored;
        }
        let answer = match (to.node(), to.resource()) {
            (None, _) => self.answer_service(&to, &stanza).await,
            (Some(_), Some(nick)) => {
                let room = to.bare();
                let shuns =
                    |to: &Occupant, by: &Occupant, session: &Jid| self.shuns(to, by, session);
                let asked =
                    self.in_room(&room, |room, _, out| room.ask(&stanza, nick, &shuns, out));
                match asked.await {
                    Ok(Some(Ok(Asked::Passed))) => return Outcome::Ignored,
                    Ok(Some(Ok(Asked::Answered))) => Ok(None),
                    Ok(Some(Err(error))) => Err(error.into()),
                    // Whoever asks is not inside (XEP-0410 section 3.2).
                    Ok(None) if stanza.has("ping", PING) => refused(Condition::NotAcceptable),
                    Ok(None) => refused(Condition::ItemNotFound),
                    Err(error) => Err(error.into()),
                }
            }
            (Some(_), None) => match self.answer_room(&from, &to, &stanza).await {
                // It has been answered in its place among what changed.
                Ok(Reply::Sent) => return Outcome::Ignored,
                Ok(Reply::With(answer)) => Ok(answer),
                Err(refusal) => Err(refusal),
            },
        };
        match answer {
            Ok(answer) => {
                self.emit(&to, &from, &result(&stanza, answer).to_bytes());
                Outcome::Ignored
            }
            Err(refusal) => self.refuse(&stanza, refusal),
        }
    }

    /// The service itself (sections 6.1 to 6.3).
    async fn answer_service(&self, to: &Jid, stanza: &Stanza) -> Answer {
        let get = stanza.type_() == Some("get");
        let node = |ns| stanza.child("query", ns).and_then(|q| q.attr("node").map(str::to_owned));
        if get && stanza.has("ping", PING) {
            return Ok(None);
        }
        if get && stanza.has("query", INFO) {
            return match node(INFO) {
                None => Ok(Some(service_info())),
                Some(_) => refused(Condition::ItemNotFound),
            };
        }
        if get && stanza.has("query", ITEMS) {
            return match node(ITEMS) {
                None => self.list_rooms(to, stanza).await,
                Some(_) => refused(Condition::ItemNotFound),
            };
        }
        refused(Condition::ServiceUnavailable)
    }

    /// The public rooms by address, in pages (XEP-0059).
    async fn list_rooms(&self, service: &Jid, stanza: &Stanza) -> Answer {
        let query = stanza.child("query", ITEMS);
        let set = query.as_ref().and_then(|q| q.child("set", RSM));
        let text = |name| set.and_then(|s| s.child(name, RSM)).map(Element::text);
        let max = text("max").and_then(|max| max.parse().ok()).unwrap_or(MAX_LISTED);
        let after = text("after").filter(|after| !after.is_empty());
        let after = after.and_then(|after| Jid::parse(&after).ok());
        let domain = service.domain();
        let behind = after.as_ref().map(Jid::as_str);
        let mut rooms = self.0.ports.rooms.public(domain, behind, MAX_LISTED + 1).await?;
        // Rooms that are not kept are listed too while they last.
        let halls: Vec<_> = lock(&self.0.halls.rooms).values().cloned().collect();
        for hall in halls {
            let room = lock(&hall);
            let listed = room.record.config.public && !room.stored && !room.locked;
            let behind = after.as_ref().is_none_or(|after| room.jid.node() > after.node());
            if listed && !room.closed && behind && room.jid.domain() == domain {
                rooms.push((room.jid.clone(), room.record.config.name.clone()));
            }
        }
        rooms.sort_by(|(a, _), (b, _)| a.node().cmp(&b.node()));
        let more = rooms.len() > max.min(MAX_LISTED);
        rooms.truncate(max.min(MAX_LISTED));
        let mut list = Element::new("query", ITEMS);
        for (jid, name) in &rooms {
            let name = if name.is_empty() { jid.node().unwrap_or_default() } else { name };
            list.push(
                Element::new("item", ITEMS).with_attr("jid", jid.as_str()).with_attr("name", name),
            );
        }
        if more || set.is_some() {
            let mut page = Element::new("set", RSM);
            for (name, room) in [("first", rooms.first()), ("last", rooms.last())] {
                let jid = room.map(|(jid, _)| Element::new(name, RSM).with_text(jid.as_str()));
                page = page.with_children(jid);
            }
            list.push(page);
        }
        Ok(Some(list))
    }

    /// A room itself.
    async fn answer_room(&self, from: &Jid, to: &Jid, stanza: &Stanza) -> Result<Reply, Refusal> {
        let get = stanza.type_() == Some("get");
        let child = stanza.children().next().map(|(name, ns)| (name.to_owned(), ns.to_owned()));
        let Some((name, namespace)) = child else { return Err(bad_request()) };
        let name = name.rsplit(':').next().unwrap_or(&name);
        let Some(payload) = stanza.child(name, &namespace) else { return Err(bad_request()) };
        let node = payload.attr("node");
        match (name, namespace.as_str()) {
            ("ping", PING) if get => self.look(to, |_| Ok(None)).await,
            ("query", INFO) if get => {
                self.look(to, |room| {
                    hidden_while_made(room, from)?;
                    match node {
                        None => Ok(Some(room.info(from))),
                        Some("x-roomuser-item") => Ok(Some(room.nick_info(from))),
                        // Nothing is taken out of what passes (section 17.1.1).
                        Some("http://jabber.org/protocol/muc#traffic") => {
                            Err(StanzaError::new(Condition::ServiceUnavailable))
                        }
                        Some(_) => Err(StanzaError::new(Condition::ItemNotFound)),
                    }
                })
                .await
            }
            ("query", ITEMS) if get => {
                self.look(to, |room| {
                    hidden_while_made(room, from)?;
                    Ok(Some(room.items(node)))
                })
                .await
            }
            ("query", ADMIN) if get => {
                self.look(to, |room| room.list(from, &payload).map(Some)).await
            }
            ("query", OWNER) if get => self.look(to, |room| room.config_form(from).map(Some)).await,
            ("query", REGISTER) if get => {
                self.look(to, |room| {
                    hidden_while_made(room, from)?;
                    room.registration(from).map(Some)
                })
                .await
            }
            ("vCard", VCARD) if get => self.room_vcard(to).await.map(Reply::With),
            ("query", ADMIN) => self.change_people(from, to, stanza, &payload).await,
            ("query", OWNER) => self.own_room(from, to, stanza, &payload).await,
            ("query", REGISTER) => self.register_with_room(from, to, stanza, &payload).await,
            ("vCard", VCARD) => {
                let plan = |room: &mut Room, _: &mut Vec<Action>| {
                    Ok((room.plan_vcard(from, &payload)?, ()))
                };
                self.change_room(to, false, plan, |room, change, (), out| {
                    room.apply_vcard(change, out);
                    answer_first(out, from, result(stanza, None));
                })
                .await?;
                Ok(Reply::Sent)
            }
            ("command", COMMANDS) if !get => self.hat_command(from, to, stanza, &payload).await,
            ("moderate", MODERATE) if !get => self.moderate(from, to, stanza, &payload).await,
            ("query" | "metadata", MAM) => self.read_archive(from, to, stanza, name).await,
            _ => Err(StanzaError::new(Condition::ServiceUnavailable).into()),
        }
    }

    /// The archive of a room, for who may enter it now (XEP-0313 section 6.1.2).
    async fn read_archive(
        &self,
        from: &Jid,
        jid: &Jid,
        stanza: &Stanza,
        name: &str,
    ) -> Result<Reply, Refusal> {
        let addresses = self.in_room(jid, |room, _, _| room.may_read(from)).await?;
        let addresses = addresses.ok_or_else(|| StanzaError::new(Condition::ItemNotFound))??;
        match (stanza.type_(), name) {
            (Some("get"), "metadata") => self.answer_archive_metadata(stanza, jid).await,
            (Some("get"), _) => self.answer_archive_form(stanza),
            (_, "query") => self.answer_archive_query(stanza, jid, Whose::Room { addresses }).await,
            _ => return Err(bad_request()),
        };
        Ok(Reply::Sent)
    }

    /// Asks a room for something that changes nothing.
    async fn look(
        &self,
        jid: &Jid,
        look: impl FnOnce(&Room) -> Result<Option<Element>, StanzaError>,
    ) -> Result<Reply, Refusal> {
        let found = self.in_room(jid, |room, _, _| look(room)).await?;
        let found = found.ok_or_else(|| StanzaError::new(Condition::ItemNotFound))?;
        Ok(Reply::With(found?))
    }

    async fn room_vcard(&self, jid: &Jid) -> Answer {
        let own = self.in_room(jid, |room, _, _| room.vcard.clone()).await?;
        let own = own.ok_or_else(|| StanzaError::new(Condition::ItemNotFound))?;
        let text = match own {
            Some(text) => Some(text),
            None => self.0.ports.rooms.vcard(jid).await?,
        };
        let card = text.and_then(|text| Element::parse(text.as_bytes()).ok());
        Ok(Some(card.unwrap_or_else(|| Element::new("vCard", VCARD))))
    }

    async fn moderate(
        &self,
        from: &Jid,
        jid: &Jid,
        stanza: &Stanza,
        request: &Element,
    ) -> Result<Reply, Refusal> {
        let filters = from.node().is_none() && self.filters(from, jid);
        let planned = self.in_room(jid, |room, _, _| match filters {
            true => room.plan_filtering(request),
            false => room.plan_moderation(from, request),
        });
        let planned = planned.await?;
        let moderation = planned.ok_or_else(|| StanzaError::new(Condition::ItemNotFound))??;
        self.take_back(jid, &moderation).await?;
        self.emit(jid, from, &result(stanza, None).to_bytes());
        Ok(Reply::Sent)
    }

    async fn change_people(
        &self,
        from: &Jid,
        jid: &Jid,
        stanza: &Stanza,
        query: &Element,
    ) -> Result<Reply, Refusal> {
        let plan = |room: &mut Room, _: &mut Vec<Action>| {
            let mut plan = room.plan(from, query)?;
            Ok((std::mem::take(&mut plan.change), plan))
        };
        self.change_room(jid, false, plan, |room, change, plan, out| {
            let nick = room.occupant_of(from).map(|o| o.nick.clone());
            let by = By { jid: from, nick: nick.as_deref() };
            room.apply_roles(&plan, by, out);
            room.apply_people(&change.people, by, out);
            answer_first(out, from, result(stanza, None));
        })
        .await?;
        Ok(Reply::Sent)
    }

    async fn own_room(
        &self,
        from: &Jid,
        jid: &Jid,
        stanza: &Stanza,
        query: &Element,
    ) -> Result<Reply, Refusal> {
        let wish = self.in_room(jid, |room, _, _| room.plan_owner(from, query)).await?;
        let wish = wish.ok_or_else(|| StanzaError::new(Condition::ItemNotFound))??;
        let destroy = match wish {
            Wish::Configure(_) => {
                // Planned again in the room's turn: somebody else may have changed it.
                let plan =
                    |room: &mut Room, _: &mut Vec<Action>| match room.plan_owner(from, query)? {
                        Wish::Configure(change) => Ok((*change, ())),
                        _ => Err(StanzaError::new(Condition::BadRequest)),
                    };
                self.change_room(jid, true, plan, |room, change, (), out| {
                    let nick = room.occupant_of(from).map(|o| o.nick.clone());
                    room.apply_config(change, By { jid: from, nick: nick.as_deref() }, out);
                    answer_first(out, from, result(stanza, None));
                    room.end_if_abandoned(out);
                })
                .await?;
                return Ok(Reply::Sent);
            }
            Wish::Cancel => {
                let locked = self.in_room(jid, |room, _, _| room.locked).await?;
                if locked != Some(true) {
                    return Ok(Reply::With(None));
                }
                super::owner::Destroy::default()
            }
            Wish::Destroy(destroy) => destroy,
        };
        self.destroy_room(jid, destroy).await?;
        Ok(Reply::With(None))
    }

    /// Ends a room with all that was kept of it.
    pub(super) async fn destroy_room(
        &self,
        jid: &Jid,
        destroy: super::owner::Destroy,
    ) -> Result<(), Refusal> {
        let turn = self.0.halls.turns.take([jid]).await;
        if let Some(hall) = self.hall_in_turn(jid).await? {
            self.0.ports.rooms.remove(jid).await?;
            self.0.ports.archive.forget(jid).await?;
            let mut room = lock(&hall);
            let mut actions = Vec::new();
            room.destroy(&destroy, &mut actions);
            self.perform(&mut room, actions);
        }
        drop(turn);
        Ok(())
    }

    async fn register_with_room(
        &self,
        from: &Jid,
        jid: &Jid,
        stanza: &Stanza,
        query: &Element,
    ) -> Result<Reply, Refusal> {
        let plan = |room: &mut Room, out: &mut Vec<Action>| {
            hidden_while_made(room, from)?;
            Ok((room.plan_registration(from, query, out)?, ()))
        };
        self.change_room(jid, false, plan, |room, change, (), out| {
            room.apply_people(&change.people, By { jid: from, nick: None }, out);
            answer_first(out, from, result(stanza, None));
        })
        .await?;
        Ok(Reply::Sent)
    }

    async fn hat_command(
        &self,
        from: &Jid,
        jid: &Jid,
        stanza: &Stanza,
        command: &Element,
    ) -> Result<Reply, Refusal> {
        let done = self.in_room(jid, |room, _, _| room.command(from, command)).await?;
        match done.ok_or_else(|| StanzaError::new(Condition::ItemNotFound))?? {
            Command::Answer(answer) => Ok(Reply::With(Some(answer))),
            Command::Change(_) => {
                let plan =
                    |room: &mut Room, _: &mut Vec<Action>| match room.command(from, command)? {
                        Command::Change(change) => Ok((*change, ())),
                        Command::Answer(_) => Ok((RoomChange::default(), ())),
                    };
                let node = command.attr("node").unwrap_or_default();
                self.change_room(jid, false, plan, |room, change, (), out| {
                    room.apply_hats(change, out);
                    let answer = status(node, "completed", None);
                    answer_first(out, from, result(stanza, Some(answer)));
                })
                .await?;
                Ok(Reply::Sent)
            }
        }
    }
}

/// How a request is answered.
enum Reply {
    /// By this.
    With(Option<Element>),
    /// It has been.
    Sent,
}

fn bad_request() -> Refusal {
    StanzaError::new(Condition::BadRequest).into()
}

/// Nobody but its owner knows of a room that is being made (section 7.2.10).
fn hidden_while_made(room: &Room, from: &Jid) -> Result<(), StanzaError> {
    let owner = room.affiliation(from) == crate::ports::Affiliation::Owner;
    if room.locked && !owner {
        return Err(StanzaError::new(Condition::ItemNotFound));
    }
    Ok(())
}

/// The result of a request.
pub(super) fn result(stanza: &Stanza, payload: Option<Element>) -> Element {
    Element::new("iq", ns::CLIENT)
        .with_attr("type", "result")
        .with_attr_opt("id", stanza.id())
        .with_attr_opt("from", stanza.to().map(Jid::as_str))
        .with_attr_opt("to", stanza.from().map(Jid::as_str))
        .with_children(payload)
}

/// Who asked is told of the success after those who are put out, and before the others (sections 8.2 and 9.1).
pub(super) fn answer_first(out: &mut Vec<Action>, to: &Jid, answer: Element) {
    let at = out.iter().position(|action| matches!(action, Action::Cast(..)));
    out.insert(at.unwrap_or(out.len()), Action::Tell(to.clone(), answer));
}
