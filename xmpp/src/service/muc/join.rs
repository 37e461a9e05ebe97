//! Entering a room (XEP-0045 sections 5.1.2, 7.1, 7.2 and 10.1).

use std::sync::Arc;

use super::history::Wish;
use super::room::{Action, Now, Room, said};
use super::wire::{Item, MUC, Shared, Target, delay, user_x};
use crate::jid::Jid;
use crate::ports::{Affiliation, Role};
use crate::stanza::{Condition, Stanza, StanzaError};

/// A nickname as people confuse it: case and blanks make no difference (section 14.8).
pub(super) fn skeleton(nick: &str) -> String {
    let lower = nick.to_lowercase();
    lower.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Room {
    /// A session wants to enter, or has lost track and enters again.
    ///
    /// # Errors
    ///
    /// The conditions of section 7.2.17; nothing has changed then.
    pub(super) fn join(
        &mut self,
        target: Arc<Target>,
        nick: &str,
        stanza: &Stanza,
        now: Now<'_>,
        out: &mut Vec<Action>,
    ) -> Result<(), StanzaError> {
        let x = stanza.child("x", MUC);
        let wish = Wish::read(x.as_ref());
        let session = target.jid.clone();
        if let Some(current) = self.sessions.get(&session).cloned() {
            if current != nick {
                self.change_nick(&session, nick, stanza, now, out)?;
            }
            self.say_again(&session, stanza);
            self.welcome(&session, &[], &wish, now, out);
            return Ok(());
        }
        let password = x.as_ref().and_then(|x| x.child("password", MUC)).map(|p| p.text());
        self.check_person(&session, password.as_deref())?;
        let (nick, rewritten) = self.nick_for(&session, nick)?;
        self.check_places(&session, &nick)?;
        let affiliation = self.affiliation(&session);
        let granted = self.granted.get(&target.bare).copied();
        let usual = self.usual_role(affiliation);
        let role = self.occupants.get(&nick).map_or(usual, |o| o.role);
        let role = if affiliation <= Affiliation::Member { granted.unwrap_or(role) } else { role };
        self.admit(target, &nick, said(stanza, &self.jid), role);
        out.push(Action::Entered(session.clone()));
        self.show_to_others(&nick, &[], out);
        let mut codes = Vec::new();
        if self.locked && self.sessions.len() == 1 {
            codes.push(201);
        }
        if rewritten {
            codes.push(210);
        }
        self.welcome(&session, &codes, &wish, now, out);
        Ok(())
    }

    /// A session that is not inside and does not ask to enter has been left behind (section 7.2.18).
    pub(super) fn left_behind(&self, from: &Jid, nick: &str) -> Option<Shared> {
        let jid = self.jid.with_resource(nick).ok()?;
        let item = Item {
            affiliation: self.affiliation(from).name(),
            role: Role::None.name(),
            ..Item::default()
        };
        let x = user_x(Some(&item), &[110, 307, 333]);
        Some(Shared::new("presence", jid.as_str(), " type='unavailable'", &x))
    }

    /// Who this is, and whether the room is for them.
    fn check_person(&self, session: &Jid, password: Option<&str>) -> Result<(), StanzaError> {
        let affiliation = self.affiliation(session);
        let refused = |condition| Err(StanzaError::new(condition));
        let config = &self.record.config;
        if affiliation == Affiliation::Outcast {
            return refused(Condition::Forbidden);
        }
        if self.locked && affiliation != Affiliation::Owner {
            return refused(Condition::ItemNotFound);
        }
        if config.members_only && affiliation < Affiliation::Member {
            return refused(Condition::RegistrationRequired);
        }
        if !config.password.is_empty() && password != Some(&*config.password) && !self.locked {
            return refused(Condition::NotAuthorized);
        }
        Ok(())
    }

    /// Whether this person may read the room's archive, and whether with the real addresses in it.
    ///
    /// # Errors
    ///
    /// `forbidden` for who may not enter, `service-unavailable` where nothing is archived.
    pub(super) fn may_read(&self, from: &Jid) -> Result<bool, StanzaError> {
        let affiliation = self.affiliation(from);
        let config = &self.record.config;
        if self.locked && affiliation != Affiliation::Owner {
            return Err(StanzaError::new(Condition::ItemNotFound));
        }
        // A password is asked for at the door only; who has not passed it reads nothing.
        let closed = config.members_only || !config.password.is_empty();
        let belongs = affiliation >= Affiliation::Member || self.is_inside(&from.bare());
        if affiliation == Affiliation::Outcast || (closed && !belongs) {
            return Err(StanzaError::new(Condition::Forbidden));
        }
        if !config.logging {
            return Err(StanzaError::new(Condition::ServiceUnavailable));
        }
        let role = self.best_role(from).max(self.usual_role(affiliation));
        Ok(self.sees_addresses(role))
    }

    /// The nickname under which they enter, and whether it is another than they wanted.
    fn nick_for(&self, session: &Jid, nick: &str) -> Result<(String, bool), StanzaError> {
        let own = self.people.get(&session.bare()).and_then(|m| m.nick.clone());
        let (nick, rewritten) = match own {
            Some(own) if self.record.config.locked_nicks && own != nick => (own, true),
            None if self.record.config.locked_nicks
                && self.affiliation(session) < Affiliation::Admin =>
            {
                let error = StanzaError::new(Condition::NotAcceptable)
                    .with_text("this room asks for a registered nickname");
                return Err(error);
            }
            _ => (nick.to_owned(), false),
        };
        self.check_nick(&session.bare(), &nick)?;
        Ok((nick, rewritten))
    }

    /// Whether this person may be called so: nobody else is, or has reserved it (sections 7.2.8 and 7.6).
    pub(super) fn check_nick(&self, person: &Jid, nick: &str) -> Result<(), StanzaError> {
        let wanted = skeleton(nick);
        if nick.len() > self.limits.nick_bytes || wanted.is_empty() {
            return Err(StanzaError::new(Condition::NotAcceptable));
        }
        let inside = self.occupants.values();
        let same = inside.filter(|o| skeleton(&o.nick) == wanted);
        // One's own name in other letters would be two occupants that nobody can tell apart.
        let taken = same.into_iter().any(|o| o.real != *person || o.nick != nick);
        let reserved = self.people.iter().any(|(owner, member)| {
            owner != person && member.nick.as_deref().is_some_and(|n| skeleton(n) == wanted)
        });
        if taken || reserved {
            return Err(StanzaError::new(Condition::Conflict));
        }
        Ok(())
    }

    /// Whether there is a place (section 7.2.9). Who is inside already takes none more.
    fn check_places(&self, session: &Jid, nick: &str) -> Result<(), StanzaError> {
        let full = || {
            let error = StanzaError::new(Condition::ServiceUnavailable);
            Err(error.with_text("the room is full"))
        };
        let person = session.bare();
        let visits = self.occupants.values().filter(|o| o.real == person);
        let visits: usize = visits.map(|o| o.visits.len()).sum();
        if visits >= self.limits.max_sessions {
            return full();
        }
        if visits > 0 || self.occupants.contains_key(nick) {
            return Ok(());
        }
        let reserve =
            if self.affiliation(session) >= Affiliation::Admin { self.limits.reserve } else { 0 };
        if self.people_inside() >= self.record.config.max_users + reserve {
            return full();
        }
        Ok(())
    }

    /// What a session that is already inside says when it enters again.
    fn say_again(&mut self, session: &Jid, stanza: &Stanza) {
        let words = said(stanza, &self.jid);
        let nick = self.sessions.get(session).cloned().unwrap_or_default();
        if let Some(occupant) = self.occupants.get_mut(&nick)
            && let Some(visit) = occupant.visits.iter_mut().find(|v| v.target.jid == *session)
        {
            visit.said = words;
        }
    }

    /// Everything a newcomer must know, in this order: the others, itself, what was said, the subject (section 7.1).
    fn welcome(
        &mut self,
        session: &Jid,
        codes: &[u16],
        wish: &Wish,
        now: Now<'_>,
        out: &mut Vec<Action>,
    ) {
        let Some(occupant) = self.occupant_of(session) else { return };
        let Some(visit) = occupant.visits.iter().find(|v| v.target.jid == *session) else { return };
        let target = visit.target.clone();
        let sees = self.sees_addresses(occupant.role);
        let mut send = |shared| out.push(Action::Send(target.clone(), shared));
        for other in self.occupants.values() {
            if other.nick != occupant.nick
                && self.is_broadcast(other.role)
                && let Some(shown) = other.shown()
            {
                send(self.presence(other, &shown.said, &self.item(other, sees), &[]));
            }
        }
        if self.record.config.show_absent {
            self.absent(sees).into_iter().for_each(&mut send);
        }
        let mut own = vec![110];
        if !self.record.config.semi_anonymous {
            own.push(100);
        }
        // Whoever comes may read the archive of an open room: it is a public one.
        if self.record.config.logging && !self.record.config.members_only {
            own.push(170);
        }
        own.extend_from_slice(codes);
        let item = Item { jid: Some(session.as_str()), ..self.item(occupant, true) };
        send(self.presence(occupant, &visit.said, &item, &own));
        for message in self.history.tell(&self.jid, wish, self.record.config.history, now.micros) {
            send(message);
        }
        send(self.subject_message());
    }

    /// Members with a nickname who are not here (status codes 102 and 103).
    fn absent(&self, sees: bool) -> Vec<Shared> {
        let absent = self.people.iter().filter(|(jid, member)| {
            member.affiliation >= Affiliation::Member && !self.is_inside(jid)
        });
        absent
            .filter_map(|(jid, member)| {
                let nick = member.nick.as_deref()?;
                let address = self.jid.with_resource(nick).ok()?;
                let item = Item {
                    affiliation: member.affiliation.name(),
                    role: Role::None.name(),
                    jid: Some(jid.as_str()).filter(|_| sees),
                    ..Item::default()
                };
                let mut content = user_x(Some(&item), &[]);
                content.push_str(&super::wire::occupant_id(&self.occupant_id(jid)));
                let head = " type='unavailable'";
                Some(Shared::new("presence", address.as_str(), head, &content))
            })
            .collect()
    }

    /// The subject as it is told to who enters; empty where there is none (section 7.2.15).
    pub(super) fn subject_message(&self) -> Shared {
        let head = " type='groupchat'";
        match &self.record.subject {
            Some(subject) => {
                let from = self.jid.with_resource(&subject.nick);
                let from = from.as_ref().unwrap_or(&self.jid);
                let content = subject.content.clone() + &delay(&self.jid, &subject.stamp);
                Shared::new("message", from.as_str(), head, &content)
            }
            None => Shared::new("message", self.jid.as_str(), head, "<subject/>"),
        }
    }
}
