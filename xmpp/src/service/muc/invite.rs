//! Invitations through the room, and what becomes of them (XEP-0045 sections 7.8 and 9.5).

use super::form::{Answers, DATA};
use super::room::{Action, Room};
use super::wire::{USER, message};
use crate::jid::Jid;
use crate::ports::{Affiliation, Member, Role, RoomChange};
use crate::stanza::{Condition, Stanza, StanzaError};
use crate::xml::Element;

/// Most people invited by one message.
const MAX_INVITED: usize = 20;
/// Most invitations that are remembered, so that they can be declined.
const MAX_REMEMBERED: usize = 256;

/// Somebody is to be invited.
#[derive(Debug)]
pub(super) struct Invitation {
    /// Whom, as the inviter wrote it.
    pub(super) whom: Jid,
    invite: Element,
}

/// What a message to the room itself is, when it is not for everybody.
#[derive(Debug)]
pub(super) enum Errand {
    /// People are invited.
    Invite(Vec<Invitation>),
    /// An invitation is declined.
    Decline(Element),
    /// A data form: a wish for voice, or the answer to one.
    Form(Element),
}

/// Reads a message to the room that is not for everybody.
pub(super) fn errand(stanza: &Stanza) -> Option<Errand> {
    if let Some(x) = stanza.child("x", USER) {
        if let Some(decline) = x.child("decline", USER) {
            return Some(Errand::Decline(decline.clone()));
        }
        let invites = x.elements().filter(|e| e.is("invite", USER)).take(MAX_INVITED);
        let invited = invites.filter_map(|invite| {
            let whom = Jid::parse(invite.attr("to")?).ok()?;
            Some(Invitation { whom, invite: invite.clone() })
        });
        return Some(Errand::Invite(invited.collect()));
    }
    // XEP-0249, sent to the room by mistake or habit, says no more than the room knows.
    stanza.child("x", DATA).map(Errand::Form)
}

impl Room {
    /// Whether this session may invite, and what changes by it: in a members-only room the invited become members.
    ///
    /// # Errors
    ///
    /// `not-acceptable` from outside, `forbidden` where only admins may invite or a banned person is meant.
    pub(super) fn plan_invite(
        &self,
        from: &Jid,
        invited: &[Invitation],
    ) -> Result<RoomChange, StanzaError> {
        let refused = |condition| Err(StanzaError::new(condition));
        let Some(occupant) = self.occupant_of(from) else {
            return refused(Condition::NotAcceptable);
        };
        if invited.is_empty() {
            return refused(Condition::BadRequest);
        }
        let config = &self.record.config;
        let affiliation = self.affiliation(from);
        let may = affiliation >= Affiliation::Admin
            || (config.allow_invites
                && occupant.role >= Role::Participant
                && (!config.members_only || affiliation >= Affiliation::Member));
        if !may || self.locked {
            return refused(Condition::Forbidden);
        }
        let mut change = RoomChange::default();
        for invitation in invited {
            let person = invitation.whom.bare();
            match self.affiliation(&person) {
                Affiliation::Outcast => return refused(Condition::Forbidden),
                Affiliation::None if config.members_only => {
                    let member = Member {
                        affiliation: Affiliation::Member,
                        ..self.people.get(&person).cloned().unwrap_or_default()
                    };
                    change.people.push((person, Some(member)));
                }
                _ => {}
            }
        }
        self.check_room_for(&change)?;
        Ok(change)
    }

    /// The invitations themselves (section 7.8.2).
    pub(super) fn invite(&mut self, from: &Jid, invited: &[Invitation], out: &mut Vec<Action>) {
        let semi_anonymous = self.record.config.semi_anonymous;
        let inviter = match self.occupant_of(from) {
            Some(occupant) if semi_anonymous => occupant.jid.clone(),
            _ => from.clone(),
        };
        for invitation in invited {
            let mut invite = invitation.invite.clone();
            invite.remove_attr("to");
            invite.set_attr("from", inviter.as_str());
            let message = self.invitation(&invitation.whom, invite);
            out.push(Action::Pass(from.clone(), message));
            if self.invited.len() >= MAX_REMEMBERED {
                self.invited.clear();
            }
            self.invited.insert(invitation.whom.bare());
        }
    }

    /// An invitation of the room's own to somebody who has become a member.
    pub(super) fn invite_member(&self, whom: &Jid, by: &Jid, out: &mut Vec<Action>) {
        let shown = if self.record.config.semi_anonymous { &self.jid } else { by };
        let invite = Element::new("invite", USER).with_attr("from", shown.as_str());
        out.push(Action::Pass(by.clone(), self.invitation(whom, invite)));
    }

    fn invitation(&self, whom: &Jid, invite: Element) -> Element {
        let password = &self.record.config.password;
        let mut x = Element::new("x", USER).with_child(invite);
        if !password.is_empty() {
            x.push(Element::new("password", USER).with_text(password));
        }
        message(&self.jid, whom).with_child(x)
    }

    /// Passes a refusal on to who invited: a name in the room or an address.
    ///
    /// # Errors
    ///
    /// `forbidden` for who was not invited here, `item-not-found` for an inviter who is not inside.
    pub(super) fn decline(
        &mut self,
        from: &Jid,
        decline: &Element,
        out: &mut Vec<Action>,
    ) -> Result<(), StanzaError> {
        if !self.invited.contains(&from.bare()) {
            return Err(StanzaError::new(Condition::Forbidden));
        }
        let whom = decline.attr("to").and_then(|to| Jid::parse(to).ok());
        let whom = whom.ok_or_else(|| StanzaError::new(Condition::BadRequest))?;
        let inviter = if whom.as_bare_str() == self.jid.as_str() {
            whom.resource().and_then(|nick| self.occupants.get(nick))
        } else {
            self.occupants.values().find(|o| o.real == whom.bare())
        };
        // Only to those who are inside: the room is no way to write to strangers in its name.
        let occupant = inviter.ok_or_else(|| StanzaError::new(Condition::ItemNotFound))?;
        let mut decline = decline.clone();
        decline.remove_attr("to");
        decline.set_attr("from", from.bare().as_str());
        for visit in &occupant.visits {
            let x = Element::new("x", USER).with_child(decline.clone());
            let declined = message(&self.jid, &visit.target.jid).with_child(x);
            out.push(Action::Pass(from.clone(), declined));
        }
        self.invited.remove(&from.bare());
        Ok(())
    }
}

/// The type of a form, when it is an answer.
pub(super) fn form_type(form: &Element) -> Option<String> {
    let field = form.elements().find(|f| f.attr("var") == Some("FORM_TYPE"))?;
    field.child("value", DATA).map(|v| v.text().trim().to_owned())
}

/// The answers of a form of this type.
pub(super) fn answers(form: &Element, kind: &str) -> Option<Answers> {
    (form_type(form).as_deref() == Some(kind)).then(|| Answers::of(form, kind)).flatten()
}
