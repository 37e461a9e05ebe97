//! What one occupant has for another (XEP-0045 sections 7.5 and 13.6, XEP-0410): private messages and requests.

use super::room::{Action, Occupant, Room, cleaned};
use super::wire::{Shared, USER, attribute, occupant_id};
use crate::jid::Jid;
use crate::ports::{AllowPm, Role};
use crate::stanza::{Condition, Stanza, StanzaError};

const PING: &str = "urn:xmpp:ping";
pub(super) const VCARD: &str = "vcard-temp";

/// Whether the first, who receives, does not want to hear from the second, whose session this is.
pub(super) type Shuns<'a> = &'a dyn Fn(&Occupant, &Occupant, &Jid) -> bool;

/// What becomes of a request to an occupant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It is on its way.
    Passed,
    /// The answer is an empty result.
    Answered,
}

impl Room {
    /// A message of one occupant to another. Gives the devices that the sender has inside under the same name.
    ///
    /// # Errors
    ///
    /// `not-acceptable` from outside, `bad-request` for groupchat, `item-not-found` for nobody, `forbidden` where the
    /// room does not allow it, `service-unavailable` where the other does not want it.
    pub(super) fn whisper(
        &self,
        stanza: &Stanza,
        nick: &str,
        shuns: Shuns<'_>,
        out: &mut Vec<Action>,
    ) -> Result<Vec<Jid>, StanzaError> {
        let refused = |condition| Err(StanzaError::new(condition));
        let from = stanza.from();
        let Some((from, sender)) = from.and_then(|from| Some((from, self.occupant_of(from)?)))
        else {
            return refused(Condition::NotAcceptable);
        };
        if stanza.type_() == Some("groupchat") {
            return refused(Condition::BadRequest);
        }
        let Some(receiver) = self.occupants.get(nick) else {
            return refused(Condition::ItemNotFound);
        };
        let least = match self.record.config.allow_pm {
            AllowPm::Anyone => Role::Visitor,
            AllowPm::Participants => Role::Participant,
            AllowPm::Moderators => Role::Moderator,
            AllowPm::None => return refused(Condition::Forbidden),
        };
        if sender.role < least {
            return refused(Condition::Forbidden);
        }
        if shuns(receiver, sender, from) {
            return refused(Condition::ServiceUnavailable);
        }
        let mut content = cleaned(stanza, &self.jid);
        content.push_str(&format!("<x xmlns='{USER}'/>"));
        content.push_str(&occupant_id(&sender.id));
        let shared = Shared::new("message", sender.jid.as_str(), stanza.head(), &content);
        for visit in &receiver.visits {
            out.push(Action::Send(visit.target.clone(), shared.clone()));
        }
        Ok(sender.visits.iter().map(|visit| visit.target.jid.clone()).collect())
    }

    /// A request of one occupant to another, or to itself.
    ///
    /// # Errors
    ///
    /// `not-acceptable` from outside (`bad-request` for disco, section 6.6), `item-not-found` for nobody,
    /// `service-unavailable` where the other does not want to be asked.
    pub(super) fn ask(
        &self,
        stanza: &Stanza,
        nick: &str,
        shuns: Shuns<'_>,
        out: &mut Vec<Action>,
    ) -> Result<Asked, StanzaError> {
        let refused = |condition| Err(StanzaError::new(condition));
        let from = stanza.from();
        let Some(sender) = from.and_then(|from| self.occupant_of(from)) else {
            let is_disco = stanza.has_ns(super::super::disco::INFO)
                || stanza.has_ns(super::super::disco::ITEMS);
            return refused(if is_disco {
                Condition::BadRequest
            } else {
                Condition::NotAcceptable
            });
        };
        let own = sender.nick == nick;
        if stanza.has("ping", PING) && own {
            return Ok(Asked::Answered);
        }
        let Some(receiver) = self.occupants.get(nick) else {
            return refused(Condition::ItemNotFound);
        };
        if from.is_some_and(|from| shuns(receiver, sender, from)) {
            return refused(Condition::ServiceUnavailable);
        }
        let number = sender.visits.iter().find(|v| Some(&v.target.jid) == from).map(|v| v.number);
        let (Some(number), Some(shown)) = (number, receiver.shown()) else {
            return refused(Condition::ItemNotFound);
        };
        // The answer comes to the sender's name; the number finds the session that asked.
        let mut head = String::new();
        attribute(&mut head, "id", &format!("{number}-{}", stanza.id().unwrap_or_default()));
        attribute(&mut head, "type", stanza.type_().unwrap_or("get"));
        let content = stanza.content_without(|_, _, _| false);
        let shared = Shared::new("iq", sender.jid.as_str(), &head, &content);
        // A person's card is with the account, not with the device.
        if stanza.has("vCard", VCARD) && stanza.type_() == Some("get") {
            let request = crate::xml::Element::parse(shared.text().as_bytes());
            let Ok(request) = request else { return refused(Condition::BadRequest) };
            out.push(Action::Post(request.with_attr("to", receiver.real.as_str())));
        } else {
            out.push(Action::Send(shown.target.clone(), shared));
        }
        Ok(Asked::Passed)
    }

    /// An answer that an occupant, or its account, gives to another's request. What nobody asked for is dropped.
    pub(super) fn answer(&self, stanza: &Stanza, nick: &str, out: &mut Vec<Action>) {
        let Some(from) = stanza.from() else { return };
        let answering = |o: &&Occupant| o.real == *from && from.is_bare();
        let Some(sender) =
            self.occupant_of(from).or_else(|| self.occupants.values().find(answering))
        else {
            return;
        };
        let Some(receiver) = self.occupants.get(nick) else { return };
        let Some((number, id)) = stanza.id().and_then(|id| id.split_once('-')) else { return };
        let number = number.parse::<u64>().ok();
        let Some(visit) = receiver.visits.iter().find(|v| Some(v.number) == number) else { return };
        let mut head = String::new();
        attribute(&mut head, "id", id);
        attribute(&mut head, "type", stanza.type_().unwrap_or("result"));
        let content = stanza.content_without(|_, _, _| false);
        let shared = Shared::new("iq", sender.jid.as_str(), &head, &content);
        out.push(Action::Send(visit.target.clone(), shared));
    }

    /// What the room sent has come back: whoever it was for is not there (sections 11.1 and 13.1, XEP-0410).
    pub(super) fn bounced(&mut self, stanza: &Stanza, out: &mut Vec<Action>) {
        let Some(from) = stanza.from().cloned() else { return };
        if !self.sessions.contains_key(&from) {
            return;
        }
        let gone = stanza.child("error", crate::xml::ns::CLIENT).is_some_and(|error| {
            use Condition::{
                Gone, ItemNotFound, RecipientUnavailable, Redirect, RemoteServerNotFound,
                RemoteServerTimeout, ServiceUnavailable,
            };
            let condition = StanzaError::from_element(&error).condition;
            let lost = [Gone, ItemNotFound, RecipientUnavailable, Redirect];
            let unreachable = [RemoteServerNotFound, RemoteServerTimeout, ServiceUnavailable];
            lost.contains(&condition) || unreachable.contains(&condition)
        });
        if gone {
            self.lost(&from, out);
        }
    }

    /// A session cannot be reached any more.
    pub(super) fn lost(&mut self, session: &Jid, out: &mut Vec<Action>) {
        let why = super::presence::Removal { code: 333, ..Default::default() };
        self.leave(session, &why, out);
    }
}
