//! Wishes for voice and for membership, and what moderators and admins say to them (XEP-0045 sections 7.13, 8.6, 9.9).

use super::form::{Form, FormKind, Kind};
use super::invite::answers;
use super::room::{Action, Room};
use super::wire::message;
use crate::jid::Jid;
use crate::ports::{Affiliation, Member, Role, RoomChange};
use crate::stanza::{Condition, StanzaError};
use crate::xml::Element;

const REQUEST: &str = "http://jabber.org/protocol/muc#request";
pub(super) const REGISTER: &str = "http://jabber.org/protocol/muc#register";

impl Room {
    /// A form was sent to the room. What must be kept of it comes back.
    ///
    /// # Errors
    ///
    /// `not-acceptable` from outside, `forbidden` for who may not decide, `item-not-found` for a name that is not
    /// there, `bad-request` for another form.
    pub(super) fn form(
        &mut self,
        from: &Jid,
        form: &Element,
        out: &mut Vec<Action>,
    ) -> Result<RoomChange, StanzaError> {
        if let Some(answers) = answers(form, REQUEST) {
            return match answers.tick("muc#request_allow") {
                None => self.ask_for_voice(from, out).map(|()| RoomChange::default()),
                Some(allow) => {
                    let nick = answers.text("muc#roomnick").unwrap_or_default();
                    self.answer_voice(from, &nick, allow, out).map(|()| RoomChange::default())
                }
            };
        }
        if let Some(answers) = answers(form, REGISTER)
            && let Some(allow) = answers.tick("muc#register_allow")
        {
            let person = answers.text("muc#jid").and_then(|jid| Jid::parse(&jid).ok());
            let person = person.ok_or_else(|| StanzaError::new(Condition::BadRequest))?;
            return self.answer_registration(from, &person.bare(), allow);
        }
        Err(StanzaError::new(Condition::BadRequest))
    }

    fn ask_for_voice(&self, from: &Jid, out: &mut Vec<Action>) -> Result<(), StanzaError> {
        let Some(occupant) = self.occupant_of(from) else {
            return Err(StanzaError::new(Condition::NotAcceptable));
        };
        if occupant.role >= Role::Participant {
            return Ok(());
        }
        let form = Form::new(FormKind::Form, REQUEST)
            .titled("Voice request", "To approve this request for voice, tick the box and submit.")
            .choice(
                Kind::ListSingle,
                "muc#role",
                "Requested role",
                ["participant"],
                &[("Participant", "participant")],
            )
            .field(Kind::JidSingle, "muc#jid", "User ID", [from.as_str()])
            .field(Kind::TextSingle, "muc#roomnick", "Room nickname", [occupant.nick.as_str()])
            .tick("muc#request_allow", "Grant voice to this person?", false)
            .done();
        let moderators = self.occupants.values().filter(|o| o.role == Role::Moderator);
        for visit in moderators.flat_map(|o| &o.visits) {
            out.push(Action::Post(message(&self.jid, &visit.target.jid).with_child(form.clone())));
        }
        Ok(())
    }

    fn answer_voice(
        &mut self,
        from: &Jid,
        nick: &str,
        allow: bool,
        out: &mut Vec<Action>,
    ) -> Result<(), StanzaError> {
        if self.role_of(from) != Role::Moderator {
            return Err(StanzaError::new(Condition::Forbidden));
        }
        if !allow {
            return Ok(());
        }
        let found = self.occupants.get_mut(nick);
        let occupant = found.ok_or_else(|| StanzaError::new(Condition::ItemNotFound))?;
        // Somebody else may have answered before.
        if occupant.role == Role::Visitor {
            self.set_role(nick, Role::Participant, out);
        }
        Ok(())
    }

    /// Notes that somebody wants to be a member, and tells the admins; once for each who asks.
    ///
    /// # Errors
    ///
    /// `resource-constraint` when too many wait.
    pub(super) fn ask_for_membership(
        &mut self,
        person: &Jid,
        nick: &str,
        out: &mut Vec<Action>,
    ) -> Result<(), StanzaError> {
        if self.requests.contains_key(person) {
            self.requests.insert(person.clone(), nick.to_owned());
            return Ok(());
        }
        if self.requests.len() >= self.limits.max_requests {
            return Err(StanzaError::new(Condition::ResourceConstraint));
        }
        self.requests.insert(person.clone(), nick.to_owned());
        let form = Form::new(FormKind::Form, REGISTER)
            .titled(
                "Registration request",
                "To approve this registration, tick the box and submit.",
            )
            .field(Kind::JidSingle, "muc#jid", "User ID", [person.as_str()])
            .field(Kind::TextSingle, "muc#register_roomnick", "Desired nickname", [nick])
            .tick("muc#register_allow", "Allow this person to register with the room?", false)
            .done();
        for (admin, member) in &self.people {
            if member.affiliation >= Affiliation::Admin {
                out.push(Action::Post(message(&self.jid, admin).with_child(form.clone())));
            }
        }
        Ok(())
    }

    fn answer_registration(
        &mut self,
        from: &Jid,
        person: &Jid,
        allow: bool,
    ) -> Result<RoomChange, StanzaError> {
        if self.affiliation(from) < Affiliation::Admin {
            return Err(StanzaError::new(Condition::Forbidden));
        }
        let Some(nick) = self.requests.remove(person) else {
            return Err(StanzaError::new(Condition::ItemNotFound));
        };
        let mut change = RoomChange::default();
        if allow && self.affiliation(person) == Affiliation::None {
            // The name may have been taken since.
            let free = self.check_nick(person, &nick).is_ok();
            let member = Member {
                affiliation: Affiliation::Member,
                nick: Some(nick).filter(|n| free && !n.is_empty()),
                ..Member::default()
            };
            change.people.push((person.clone(), Some(member)));
        }
        Ok(change)
    }
}
