//! Registering with a room: a membership and a nickname (XEP-0045 sections 7.10 and 7.12, XEP-0077).

use super::form::{Answers, DATA, Form, FormKind, Kind};
use super::room::{Action, Room};
use super::voice::REGISTER as FORM;
use crate::jid::Jid;
use crate::ports::{Affiliation, Member, RoomChange};
use crate::stanza::{Condition, StanzaError};
use crate::xml::Element;

pub(super) const REGISTER: &str = "jabber:iq:register";

fn refused<T>(condition: Condition) -> Result<T, StanzaError> {
    Err(StanzaError::new(condition))
}

impl Room {
    /// What registration asks for, or that it is done.
    ///
    /// # Errors
    ///
    /// `not-allowed` for the banned.
    pub(super) fn registration(&self, from: &Jid) -> Result<Element, StanzaError> {
        let query = Element::new("query", REGISTER);
        match self.affiliation(from) {
            Affiliation::Outcast => refused(Condition::NotAllowed),
            Affiliation::None => {
                let form = Form::new(FormKind::Form, FORM)
                    .titled("Registration", "The name by which the room shall know you.")
                    .field(Kind::TextSingle, "muc#register_roomnick", "Nickname", [])
                    .done();
                let instructions = Element::new("instructions", REGISTER)
                    .with_text("Fill in the form to become a member of this room.");
                Ok(query.with_child(instructions).with_child(form))
            }
            _ => {
                let nick = self.people.get(&from.bare()).and_then(|m| m.nick.as_deref());
                let username = nick.map(|n| Element::new("username", REGISTER).with_text(n));
                Ok(query.with_child(Element::new("registered", REGISTER)).with_children(username))
            }
        }
    }

    /// Registers, takes another nickname, or gives both up. What must be kept comes back; in a members-only room the
    /// admins are asked first.
    ///
    /// # Errors
    ///
    /// `not-allowed` for the banned, `conflict` for a nickname of somebody else, `bad-request` without a form.
    pub(super) fn plan_registration(
        &mut self,
        from: &Jid,
        query: &Element,
        out: &mut Vec<Action>,
    ) -> Result<RoomChange, StanzaError> {
        let person = from.bare();
        let affiliation = self.affiliation(from);
        let mut change = RoomChange::default();
        if affiliation == Affiliation::Outcast {
            return refused(Condition::NotAllowed);
        }
        if query.child("remove", REGISTER).is_some() {
            self.requests.remove(&person);
            return match affiliation {
                // Who runs the room stays known to it.
                Affiliation::Admin | Affiliation::Owner => refused(Condition::NotAllowed),
                Affiliation::Member => {
                    change.people.push((person, None));
                    Ok(change)
                }
                _ => Ok(change),
            };
        }
        let answers = query.child("x", DATA).and_then(|x| Answers::of(x, FORM));
        let nick = answers.and_then(|a| a.text("muc#register_roomnick")).unwrap_or_default();
        let Ok(nick) = self.jid.with_resource(&nick) else { return refused(Condition::BadRequest) };
        let nick = nick.resource().unwrap_or_default().to_owned();
        if self.check_nick(&person, &nick).is_err() {
            return refused(Condition::Conflict);
        }
        if affiliation == Affiliation::None && self.record.config.members_only {
            self.ask_for_membership(&person, &nick, out)?;
            return Ok(change);
        }
        let member = self.people.get(&person).cloned().unwrap_or_default();
        let affiliation = affiliation.max(Affiliation::Member);
        change.people.push((person, Some(Member { affiliation, nick: Some(nick), ..member })));
        self.check_room_for(&change)?;
        Ok(change)
    }

    /// The nickname that is reserved for somebody (section 7.12).
    pub(super) fn reserved_nick(&self, person: &Jid) -> Option<&str> {
        self.people.get(&person.bare())?.nick.as_deref()
    }
}
