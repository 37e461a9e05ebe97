//! Presence of those who are inside (XEP-0045 sections 7.6, 7.7 and 7.14): shown, renamed, gone.

use super::room::{Action, Now, Occupant, Room, Said, said};
use super::wire::Item;
use crate::jid::Jid;
use crate::ports::{Affiliation, Role};
use crate::stanza::{Condition, Stanza, StanzaError};

/// Why somebody is put out.
#[derive(Debug, Clone, Default)]
pub(super) struct Removal<'a> {
    /// The status code: 301, 307, 321, 322, 332 or 333.
    pub(super) code: u16,
    /// Nickname of who did it.
    pub(super) actor: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
    /// What the session itself said last.
    pub(super) said: Option<Said>,
}

impl Room {
    /// A session that is inside says something new about itself, or takes another nickname.
    ///
    /// # Errors
    ///
    /// As for a change of nickname.
    pub(super) fn update(
        &mut self,
        session: &Jid,
        nick: &str,
        stanza: &Stanza,
        now: Now<'_>,
        out: &mut Vec<Action>,
    ) -> Result<(), StanzaError> {
        let Some(current) = self.sessions.get(session).cloned() else { return Ok(()) };
        if current != nick {
            return self.change_nick(session, nick, stanza, now, out);
        }
        let words = said(stanza, &self.jid);
        let Some(occupant) = self.occupants.get_mut(&current) else { return Ok(()) };
        let Some(at) = occupant.visits.iter().position(|v| v.target.jid == *session) else {
            return Ok(());
        };
        let Some(visit) = occupant.visits.get_mut(at) else { return Ok(()) };
        let same = visit.said.content == words.content;
        visit.said = words;
        // A flood of presence reaches nobody; what was said last is told to those who enter.
        if (same && occupant.shown == at) || !visit.may_announce(now.micros) {
            return Ok(());
        }
        occupant.shown = at;
        self.show(&current, &[], out);
        Ok(())
    }

    /// Shows an occupant to everybody, itself last.
    pub(super) fn show(&mut self, nick: &str, codes: &[u16], out: &mut Vec<Action>) {
        self.show_to_others(nick, codes, out);
        let Some(occupant) = self.occupants.get(nick) else { return };
        let Some(shown) = occupant.shown() else { return };
        let own = [&[110], codes].concat();
        let shared = self.presence(occupant, &shown.said, &self.item(occupant, true), &own);
        for visit in &occupant.visits {
            out.push(Action::Send(visit.target.clone(), shared.clone()));
        }
    }

    /// Shows an occupant to the others: with its address to those who may see it. One whose role is not shown any more
    /// is seen to go.
    pub(super) fn show_to_others(&mut self, nick: &str, codes: &[u16], out: &mut Vec<Action>) {
        let Some(role) = self.occupants.get(nick).map(|o| o.role) else { return };
        let is_shown = self.is_broadcast(role);
        let Some(occupant) = self.occupants.get_mut(nick) else { return };
        let was_seen = std::mem::replace(&mut occupant.seen, is_shown);
        let Some(occupant) = self.occupants.get(nick) else { return };
        if !is_shown {
            if was_seen {
                self.show_gone(occupant, &[], &Removal::default(), out);
            }
            return;
        }
        let Some(shown) = occupant.shown() else { return };
        for sees in [true, false] {
            let others = self.others(nick, sees);
            if !others.is_empty() {
                let item = self.item(occupant, sees);
                let shared = self.presence(occupant, &shown.said, &item, codes);
                out.push(Action::Cast(others, shared));
            }
        }
    }

    /// Another nickname (section 7.6). All sessions of the old one move.
    pub(super) fn change_nick(
        &mut self,
        session: &Jid,
        nick: &str,
        stanza: &Stanza,
        now: Now<'_>,
        out: &mut Vec<Action>,
    ) -> Result<(), StanzaError> {
        let Some(old) = self.sessions.get(session).cloned() else { return Ok(()) };
        let person = session.bare();
        self.may_rename(&person, &old, nick)?;
        let Some(occupant) = self.occupants.get_mut(&old) else { return Ok(()) };
        let at = occupant.visits.iter().position(|v| v.target.jid == *session).unwrap_or(0);
        let Some(visit) = occupant.visits.get_mut(at) else { return Ok(()) };
        if !visit.may_announce(now.micros) {
            return Err(StanzaError::new(Condition::ResourceConstraint));
        }
        visit.said = said(stanza, &self.jid);
        occupant.shown = at;
        self.farewell(&old, nick, out);
        self.rename(&old, nick);
        self.show(nick, &[], out);
        Ok(())
    }

    fn may_rename(&self, person: &Jid, old: &str, nick: &str) -> Result<(), StanzaError> {
        let role = self.occupants.get(old).map_or(Role::None, |o| o.role);
        if self.record.config.locked_nicks {
            return Err(StanzaError::new(Condition::NotAcceptable));
        }
        // A long name is a way to speak without voice; so is a quick change of it.
        if role == Role::Visitor && self.record.config.moderated {
            let error = StanzaError::new(Condition::NotAllowed);
            return Err(error.with_text("who has no voice keeps their name"));
        }
        let own_letters = super::join::skeleton(old) == super::join::skeleton(nick);
        if own_letters && nick.len() <= self.limits.nick_bytes {
            return Ok(());
        }
        self.check_nick(person, nick)?;
        if self.occupants.contains_key(nick) {
            // Their own, of another device: two occupants do not become one.
            return Err(StanzaError::new(Condition::Conflict));
        }
        Ok(())
    }

    /// The old name goes, and says which is the new one.
    fn farewell(&self, old: &str, new: &str, out: &mut Vec<Action>) {
        let Some(occupant) = self.occupants.get(old) else { return };
        let gone = Said { head: " type='unavailable'".into(), content: String::new() };
        let show = |sees, codes: &[u16]| {
            let item = Item { nick: Some(new), ..self.item(occupant, sees) };
            self.presence(occupant, &gone, &item, codes)
        };
        if occupant.seen {
            for sees in [true, false] {
                let others = self.others(old, sees);
                if !others.is_empty() {
                    out.push(Action::Cast(others, show(sees, &[303])));
                }
            }
        }
        let own = show(true, &[303, 110]);
        for visit in &occupant.visits {
            out.push(Action::Send(visit.target.clone(), own.clone()));
        }
    }

    /// One session goes: it said so, it was lost, or what it was sent came back.
    pub(super) fn leave(&mut self, session: &Jid, why: &Removal<'_>, out: &mut Vec<Action>) {
        let Some((nick, visit, gone)) = self.take_out(session) else { return };
        let codes: &[u16] = if why.code == 0 { &[] } else { &[why.code] };
        out.push(Action::Left(session.clone()));
        match gone {
            Some(mut occupant) => {
                occupant.visits.push(visit);
                self.say_gone(&occupant, codes, why, out);
            }
            None => {
                // Other sessions of the same name stay: only this one is told.
                let Some(occupant) = self.occupants.get(&nick) else { return };
                let own = [codes, &[110]].concat();
                let item = Item { role: Role::None.name(), ..self.item(occupant, true) };
                let said = gone_words(why);
                let shared = self.presence(occupant, &said, &item, &own);
                out.push(Action::Send(visit.target, shared));
                self.show(&nick, &[], out);
            }
        }
        self.end_if_empty(out);
    }

    /// Puts an occupant out with all its sessions.
    pub(super) fn put_out(&mut self, nick: &str, why: &Removal<'_>, out: &mut Vec<Action>) {
        let Some(occupant) = self.take_occupant(nick) else { return };
        out.extend(occupant.visits.iter().map(|v| Action::Left(v.target.jid.clone())));
        self.say_gone(&occupant, &[why.code], why, out);
        self.end_if_empty(out);
    }

    /// Tells everybody that an occupant, who has been taken out, is gone: first itself, then the others.
    fn say_gone(
        &self,
        occupant: &Occupant,
        codes: &[u16],
        why: &Removal<'_>,
        out: &mut Vec<Action>,
    ) {
        let item = self.gone_item(occupant, why, true);
        let codes_own = [codes, &[110]].concat();
        let own = self.presence(occupant, &gone_words(why), &item, &codes_own);
        for visit in &occupant.visits {
            out.push(Action::Send(visit.target.clone(), own.clone()));
        }
        if occupant.seen {
            self.show_gone(occupant, codes, why, out);
        }
    }

    /// The others see an occupant go.
    fn show_gone(
        &self,
        occupant: &Occupant,
        codes: &[u16],
        why: &Removal<'_>,
        out: &mut Vec<Action>,
    ) {
        for sees in [true, false] {
            let others = self.others(&occupant.nick, sees);
            if !others.is_empty() {
                let item = self.gone_item(occupant, why, sees);
                let shared = self.presence(occupant, &gone_words(why), &item, codes);
                out.push(Action::Cast(others, shared));
            }
        }
    }

    fn gone_item<'a>(&self, occupant: &'a Occupant, why: &Removal<'a>, sees: bool) -> Item<'a> {
        Item {
            role: Role::None.name(),
            actor: why.actor,
            reason: why.reason,
            ..self.item(occupant, sees)
        }
    }

    /// A room that nobody is in ends unless it is kept; one that was never configured ends with its maker.
    fn end_if_empty(&mut self, out: &mut Vec<Action>) {
        let ends = self.occupants.is_empty() && (self.locked || !self.record.config.persistent);
        if ends && !self.closed {
            self.closed = true;
            out.push(Action::Close);
        }
    }

    /// Settings may end a room that nobody is in.
    pub(super) fn end_if_abandoned(&mut self, out: &mut Vec<Action>) {
        self.end_if_empty(out);
    }

    /// The maker of a room that is not configured goes: the room is destroyed, and it is told so (section 10.1.3).
    pub(super) fn abandon(&mut self, session: &Jid, out: &mut Vec<Action>) {
        if self.locked {
            self.destroy(&super::owner::Destroy::default(), out);
        } else {
            self.leave(session, &Removal::default(), out);
        }
    }

    /// Everybody is put out because the service ends (section 11.2).
    pub(super) fn shut_down(&self, out: &mut Vec<Action>) {
        for occupant in self.occupants.values() {
            let item = Item { role: Role::None.name(), ..self.item(occupant, true) };
            let said = gone_words(&Removal::default());
            let shared = self.presence(occupant, &said, &item, &[110, 332]);
            for visit in &occupant.visits {
                out.push(Action::Send(visit.target.clone(), shared.clone()));
            }
        }
    }

    /// Whoever is inside is what their affiliation makes of them now; gives the names that have changed.
    pub(super) fn settle_roles(&mut self, person: &Jid, before: Affiliation) -> Vec<String> {
        let affiliation = self.affiliation(person);
        let usual = self.usual_role(affiliation);
        let mut changed = Vec::new();
        for occupant in self.occupants.values_mut().filter(|o| o.real == *person) {
            // Who gains keeps what they were given before; who loses does not.
            occupant.role = if affiliation >= before { occupant.role.max(usual) } else { usual };
            changed.push(occupant.nick.clone());
        }
        changed
    }
}

/// The last words of who goes: their own, or none.
fn gone_words(why: &Removal<'_>) -> Said {
    let content = why.said.as_ref().map(|s| s.content.clone()).unwrap_or_default();
    Said { head: " type='unavailable'".into(), content }
}
