//! Roles and affiliations, asked for and changed (XEP-0045 sections 8.2 to 8.5 and 9): planned, kept, then applied.

use std::collections::HashMap;

use super::presence::Removal;
use super::room::{Action, Room};
use super::wire::{ADMIN, Item, USER, message, user_x};
use crate::jid::Jid;
use crate::ports::{Affiliation, Member, Role, RoomChange};
use crate::stanza::{Condition, StanzaError};
use crate::xml::Element;

/// Most items of one request.
const MAX_ITEMS: usize = 200;

/// What one request changes, all of it or nothing.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// What must be kept.
    pub(super) change: RoomChange,
    /// Names and what they become, with the reason.
    pub(super) roles: Vec<(String, Role, Option<String>)>,
}

/// Who changes people, for those who are told.
#[derive(Debug, Clone, Copy)]
pub(super) struct By<'a> {
    pub(super) jid: &'a Jid,
    /// The name they have inside.
    pub(super) nick: Option<&'a str>,
}

fn refused<T>(condition: Condition) -> Result<T, StanzaError> {
    Err(StanzaError::new(condition))
}

impl Room {
    /// The highest role of this person's sessions.
    pub(super) fn best_role(&self, person: &Jid) -> Role {
        let person = person.bare();
        let own = self.occupants.values().filter(|o| o.real == person);
        own.map(|o| o.role).max().unwrap_or(Role::None)
    }

    /// A list of people by role or affiliation.
    ///
    /// # Errors
    ///
    /// `forbidden` for who may not see it, `bad-request` for anything else.
    pub(super) fn list(&self, from: &Jid, query: &Element) -> Result<Element, StanzaError> {
        let item = query.child("item", ADMIN);
        let item = item.ok_or_else(|| StanzaError::new(Condition::BadRequest))?;
        let mut list = Element::new("query", ADMIN);
        if let Some(role) = item.attr("role").and_then(Role::from_name) {
            let least =
                if role == Role::Moderator { Affiliation::Admin } else { Affiliation::None };
            let moderates = self.best_role(from) == Role::Moderator;
            if (!moderates || self.affiliation(from) < least)
                && self.affiliation(from) < Affiliation::Admin
            {
                return refused(Condition::Forbidden);
            }
            for occupant in self.occupants.values().filter(|o| o.role == role) {
                list.push(element(&self.item(occupant, true)).with_attr("nick", &*occupant.nick));
            }
            return Ok(list);
        }
        let affiliation = item.attr("affiliation").and_then(Affiliation::from_name);
        let Some(affiliation) = affiliation.filter(|a| *a != Affiliation::None) else {
            return refused(Condition::BadRequest);
        };
        if !self.may_list(from, affiliation) {
            return refused(Condition::Forbidden);
        }
        for (jid, member) in self.people.iter().filter(|(_, m)| m.affiliation == affiliation) {
            let mut item = Element::new("item", ADMIN)
                .with_attr("affiliation", affiliation.name())
                .with_attr("jid", jid.as_str())
                .with_attr_opt("nick", member.nick.as_deref());
            if let Some(reason) = &member.reason {
                item.push(Element::new("reason", ADMIN).with_text(reason));
            }
            list.push(item);
        }
        Ok(list)
    }

    /// Bans are for admins. The others are known to members where addresses are known to all (section 9.5).
    fn may_list(&self, from: &Jid, affiliation: Affiliation) -> bool {
        let own = self.affiliation(from);
        let config = &self.record.config;
        if own >= Affiliation::Admin {
            return own == Affiliation::Owner
                || affiliation != Affiliation::Owner
                || !config.semi_anonymous;
        }
        if affiliation == Affiliation::Outcast || config.semi_anonymous {
            return false;
        }
        match self.best_role(from) {
            Role::None => own >= Affiliation::Member,
            role => config.member_list.contains(&role),
        }
    }

    /// What a request to change people would do.
    ///
    /// # Errors
    ///
    /// `forbidden`, `not-allowed`, `conflict` and `item-not-found` as sections 8 and 9 say; `bad-request` for what is
    /// neither a role of a name nor an affiliation of an address, `resource-constraint` beyond the limit.
    pub(super) fn plan(&self, from: &Jid, query: &Element) -> Result<Plan, StanzaError> {
        let items: Vec<_> = query.elements().filter(|e| e.is("item", ADMIN)).collect();
        if items.is_empty() || items.len() > MAX_ITEMS || self.locked {
            return refused(Condition::BadRequest);
        }
        let mut plan = Plan::default();
        for item in items {
            let reason = item.child("reason", ADMIN).map(Element::text).filter(|r| !r.is_empty());
            match (item.attr("role"), item.attr("affiliation")) {
                (Some(role), None) => {
                    let nick = item.attr("nick").unwrap_or_default();
                    let Some(role) = Role::from_name(role) else {
                        return refused(Condition::BadRequest);
                    };
                    self.check_role(from, nick, role)?;
                    plan.roles.push((nick.to_owned(), role, reason));
                }
                (None, Some(affiliation)) => {
                    let Some(affiliation) = Affiliation::from_name(affiliation) else {
                        return refused(Condition::BadRequest);
                    };
                    let person = self.person(item)?;
                    self.check_affiliation(from, &person, affiliation)?;
                    let member = self.changed(&person, affiliation, item.attr("nick"), reason)?;
                    plan.change.people.retain(|(jid, _)| *jid != person);
                    plan.change.people.push((person, member));
                }
                _ => return refused(Condition::BadRequest),
            }
        }
        if !self.keeps_owner(&plan.change.people) {
            return refused(Condition::Conflict);
        }
        self.check_room_for(&plan.change)?;
        Ok(plan)
    }

    /// Whom an item means: an address, or a name that is inside.
    fn person(&self, item: &Element) -> Result<Jid, StanzaError> {
        match (item.attr("jid"), item.attr("nick")) {
            (Some(jid), _) => Jid::parse(jid)
                .map(|jid| jid.bare())
                .map_err(|_| StanzaError::new(Condition::JidMalformed)),
            (None, Some(nick)) => match self.occupants.get(nick) {
                Some(occupant) => Ok(occupant.real.clone()),
                None => refused(Condition::ItemNotFound),
            },
            (None, None) => refused(Condition::BadRequest),
        }
    }

    fn check_role(&self, from: &Jid, nick: &str, role: Role) -> Result<(), StanzaError> {
        let own = self.affiliation(from);
        if self.best_role(from) != Role::Moderator {
            return refused(Condition::Forbidden);
        }
        let Some(occupant) = self.occupants.get(nick) else {
            return refused(Condition::ItemNotFound);
        };
        let theirs = self.affiliation(&occupant.real);
        let is_moderator = occupant.role == Role::Moderator;
        match role {
            Role::None if occupant.real == from.bare() => refused(Condition::Conflict),
            Role::None if theirs > own => refused(Condition::NotAllowed),
            Role::None if is_moderator && own < Affiliation::Admin => {
                refused(Condition::NotAllowed)
            }
            Role::Moderator if own < Affiliation::Admin => refused(Condition::Forbidden),
            Role::Visitor | Role::Participant if is_moderator => {
                if theirs >= Affiliation::Admin {
                    refused(Condition::NotAllowed)
                } else if own < Affiliation::Admin {
                    refused(Condition::Forbidden)
                } else {
                    Ok(())
                }
            }
            Role::Visitor if theirs >= Affiliation::Admin || theirs >= own => {
                refused(Condition::NotAllowed)
            }
            _ => Ok(()),
        }
    }

    fn check_affiliation(
        &self,
        from: &Jid,
        person: &Jid,
        wanted: Affiliation,
    ) -> Result<(), StanzaError> {
        let own = self.affiliation(from);
        let theirs = self.affiliation(person);
        let is_domain = person.node().is_none();
        if own < Affiliation::Admin {
            return refused(Condition::Forbidden);
        }
        if wanted == Affiliation::Outcast && (*person == from.bare() || covers(person, from)) {
            return refused(Condition::Conflict);
        }
        if is_domain && !matches!(wanted, Affiliation::Outcast | Affiliation::None) {
            return refused(Condition::BadRequest);
        }
        if own < Affiliation::Owner && wanted == Affiliation::Outcast && theirs >= own {
            return refused(Condition::NotAllowed);
        }
        // An admin may step down, but no other admin and no owner is theirs to change.
        let steps_down = *person == from.bare() && wanted <= theirs;
        let high = theirs >= Affiliation::Admin && !steps_down || wanted >= Affiliation::Admin;
        if own < Affiliation::Owner && high && !(steps_down && wanted == theirs) {
            return refused(Condition::Forbidden);
        }
        Ok(())
    }

    /// What is kept of a person after the change; `None` when nothing is.
    fn changed(
        &self,
        person: &Jid,
        affiliation: Affiliation,
        nick: Option<&str>,
        reason: Option<String>,
    ) -> Result<Option<Member>, StanzaError> {
        let mut member = self.people.get(person).cloned().unwrap_or_default();
        member.affiliation = affiliation;
        member.reason = reason;
        match affiliation {
            Affiliation::None => return Ok(None),
            Affiliation::Outcast => {
                member.nick = None;
                member.hats.clear();
            }
            _ => match nick {
                Some("") => member.nick = None,
                Some(nick) => {
                    self.check_nick(person, nick)?;
                    member.nick = Some(nick.to_owned());
                }
                None => {}
            },
        }
        Ok(Some(member))
    }

    /// Whether an owner is left after a change of people (section 10.4).
    pub(super) fn keeps_owner(&self, changed: &[(Jid, Option<Member>)]) -> bool {
        let changes: HashMap<&Jid, Affiliation> = changed
            .iter()
            .map(|(jid, m)| (jid, m.as_ref().map_or(Affiliation::None, |m| m.affiliation)))
            .collect();
        let stays = self.people.iter().any(|(jid, member)| {
            let after = changes.get(jid).copied().unwrap_or(member.affiliation);
            after == Affiliation::Owner
        });
        stays || changes.values().any(|a| *a == Affiliation::Owner)
    }

    /// Whether the list of people may grow so far.
    pub(super) fn check_room_for(&self, change: &RoomChange) -> Result<(), StanzaError> {
        let more =
            change.people.iter().filter(|(j, m)| m.is_some() && !self.people.contains_key(j));
        if self.people.len() + more.count() > self.limits.max_affiliations {
            return refused(Condition::ResourceConstraint);
        }
        Ok(())
    }

    /// Gives an occupant a role and tells everybody; none puts them out.
    pub(super) fn set_role(&mut self, nick: &str, role: Role, out: &mut Vec<Action>) {
        let Some(occupant) = self.occupants.get_mut(nick) else { return };
        occupant.role = role;
        let person = occupant.real.clone();
        if self.granted.len() < self.limits.max_affiliations {
            self.granted.insert(person, role);
        }
        self.show(nick, &[], out);
    }

    /// Does what was planned of the roles.
    pub(super) fn apply_roles(&mut self, plan: &Plan, by: By<'_>, out: &mut Vec<Action>) {
        for (nick, role, reason) in &plan.roles {
            if *role == Role::None {
                let why =
                    Removal { code: 307, actor: by.nick, reason: reason.as_deref(), said: None };
                self.put_out(nick, &why, out);
            } else {
                self.set_role(nick, *role, out);
            }
        }
    }

    /// People have changed, and it is kept: those inside become what they are now, or are put out; the others are told.
    pub(super) fn apply_people(
        &mut self,
        people: &[(Jid, Option<Member>)],
        by: By<'_>,
        out: &mut Vec<Action>,
    ) {
        for (person, member) in people {
            let before = self.affiliation(person);
            match member {
                Some(member) => self.people.insert(person.clone(), member.clone()),
                None => self.people.remove(person),
            };
            self.granted.remove(person);
            self.requests.remove(person);
            let reason = member.as_ref().and_then(|m| m.reason.as_deref());
            self.apply_one(person, before, reason, by, out);
        }
    }

    fn apply_one(
        &mut self,
        person: &Jid,
        before: Affiliation,
        reason: Option<&str>,
        by: By<'_>,
        out: &mut Vec<Action>,
    ) {
        let after = self.affiliation(person);
        let is_meant = |o: &super::room::Occupant| o.real == *person || covers(person, &o.real);
        let inside: Vec<(String, Jid)> = self
            .occupants
            .values()
            .filter(|o| is_meant(o))
            .map(|o| (o.nick.clone(), o.real.clone()))
            .collect();
        if inside.is_empty() {
            if before != after {
                self.tell_absent(person, before, by, out);
            }
            return;
        }
        let mut removal = Removal { code: 0, actor: by.nick, reason, said: None };
        for (nick, real) in inside {
            let now = self.affiliation(&real);
            removal.code = match now {
                Affiliation::Outcast => 301,
                Affiliation::None if self.record.config.members_only => 321,
                _ => 0,
            };
            if removal.code == 0 {
                for nick in self.settle_roles(&real, before) {
                    self.show(&nick, &[], out);
                }
            } else {
                self.put_out(&nick, &removal, out);
            }
        }
    }

    /// Somebody who is not inside is something else now: those inside are told, and the person (sections 9.5, 10.3;
    /// status code 101).
    fn tell_absent(
        &mut self,
        person: &Jid,
        before: Affiliation,
        by: By<'_>,
        out: &mut Vec<Action>,
    ) {
        let after = self.affiliation(person);
        let item = Item {
            affiliation: after.name(),
            role: Role::None.name(),
            jid: Some(person.as_str()),
            ..Item::default()
        };
        let x = user_x(Some(&item), &[]);
        if self.record.config.semi_anonymous {
            let shared = super::wire::Shared::new("message", self.jid.as_str(), "", &x);
            let moderators = self.others("", true);
            out.push(Action::Cast(moderators, shared));
        } else {
            self.notice(None, &x, out);
        }
        if person.node().is_none() || *person == by.jid.bare() {
            return;
        }
        if self.record.config.members_only
            && before == Affiliation::None
            && after == Affiliation::Member
        {
            self.invite_member(person, by.jid, out);
            return;
        }
        let item = Element::new("item", USER)
            .with_attr("affiliation", after.name())
            .with_attr("role", Role::None.name());
        let x = Element::new("x", USER)
            .with_child(item)
            .with_child(Element::new("status", USER).with_attr("code", "101"));
        out.push(Action::Post(message(&self.jid, person).with_child(x)));
    }
}

/// Whether a ban of `domain` is of this person too.
fn covers(domain: &Jid, person: &Jid) -> bool {
    domain.node().is_none() && domain.domain() == person.domain()
}

fn element(item: &Item<'_>) -> Element {
    Element::new("item", ADMIN)
        .with_attr("affiliation", item.affiliation)
        .with_attr("role", item.role)
        .with_attr_opt("jid", item.jid)
}
