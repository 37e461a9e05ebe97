//! What owners do with their room (XEP-0045 sections 10.1, 10.2 and 10.9): configure it, unlock it, end it.

use super::admin::By;
use super::config::{CONFIG, form, read};
use super::form::{Answers, DATA};
use super::presence::Removal;
use super::room::{Action, Room};
use super::wire::{OWNER, Shared, USER, user_x};
use crate::jid::Jid;
use crate::ports::{Affiliation, Member, RoomChange, RoomConfig};
use crate::stanza::{Condition, StanzaError};
use crate::xml::Element;

/// Why a room ends, and where to go instead.
#[derive(Debug, Clone, Default)]
pub(super) struct Destroy {
    venue: Option<String>,
    password: Option<String>,
    reason: Option<String>,
}

/// What an owner wants.
#[derive(Debug)]
pub(super) enum Wish {
    /// These settings and people.
    Configure(Box<RoomChange>),
    /// Leave it as it is.
    Cancel,
    /// End it.
    Destroy(Destroy),
}

fn refused<T>(condition: Condition) -> Result<T, StanzaError> {
    Err(StanzaError::new(condition))
}

impl Room {
    /// The configuration form.
    ///
    /// # Errors
    ///
    /// `forbidden` for who is no owner.
    pub(super) fn config_form(&self, from: &Jid) -> Result<Element, StanzaError> {
        if self.affiliation(from) != Affiliation::Owner {
            return refused(Condition::Forbidden);
        }
        let named = |affiliation| {
            let people = self.people.iter().filter(move |(_, m)| m.affiliation == affiliation);
            people.map(|(jid, _)| jid.as_str()).collect::<Vec<_>>()
        };
        let form = form(
            &self.record.config,
            &self.limits,
            &named(Affiliation::Admin),
            &named(Affiliation::Owner),
        );
        Ok(Element::new("query", OWNER).with_child(form))
    }

    /// What a request of an owner would do.
    ///
    /// # Errors
    ///
    /// `forbidden` for who is no owner, `not-acceptable` for settings that cannot be, `conflict` when no owner would be
    /// left, `bad-request` for anything else.
    pub(super) fn plan_owner(&self, from: &Jid, query: &Element) -> Result<Wish, StanzaError> {
        if self.affiliation(from) != Affiliation::Owner {
            return refused(Condition::Forbidden);
        }
        if let Some(destroy) = query.child("destroy", OWNER) {
            let text = |name| destroy.child(name, OWNER).map(Element::text);
            return Ok(Wish::Destroy(Destroy {
                venue: destroy.attr("jid").map(str::to_owned),
                password: text("password"),
                reason: text("reason"),
            }));
        }
        let Some(x) = query.child("x", DATA) else { return refused(Condition::BadRequest) };
        if x.attr("type") == Some("cancel") {
            return Ok(Wish::Cancel);
        }
        let Some(answers) = Answers::of(x, CONFIG) else { return refused(Condition::BadRequest) };
        let mut change = RoomChange::default();
        if answers.is_empty() {
            // The room as it is: an instant room (section 10.1.2).
            return Ok(Wish::Configure(Box::new(change)));
        }
        let config = read(&self.record.config, &answers, &self.limits)?;
        if config != self.record.config {
            let mut record = self.record.clone();
            record.config = config;
            change.record = Some(record);
        }
        change.people = self.named_people(&answers)?;
        if !self.keeps_owner(&change.people) {
            return refused(Condition::Conflict);
        }
        self.check_room_for(&change)?;
        Ok(Wish::Configure(Box::new(change)))
    }

    /// The full lists of owners and admins that the form names; who is left out becomes a member.
    fn named_people(&self, answers: &Answers) -> Result<Vec<(Jid, Option<Member>)>, StanzaError> {
        let mut changed: Vec<(Jid, Option<Member>)> = Vec::new();
        let lists = [
            ("muc#roomconfig_roomadmins", Affiliation::Admin),
            ("muc#roomconfig_roomowners", Affiliation::Owner),
        ];
        for (field, affiliation) in lists {
            let Some(named) = answers.values(field) else { continue };
            let mut people = Vec::new();
            for jid in named {
                let jid = Jid::parse(&jid).ok().filter(|j| j.node().is_some());
                people.push(jid.ok_or_else(|| StanzaError::new(Condition::NotAcceptable))?.bare());
            }
            let before = self.people.iter().filter(|(_, m)| m.affiliation == affiliation);
            for (jid, member) in before {
                if !people.contains(jid) && !changed.iter().any(|(j, _)| j == jid) {
                    let member = Member { affiliation: Affiliation::Member, ..member.clone() };
                    changed.push((jid.clone(), Some(member)));
                }
            }
            for jid in people {
                let member = self.people.get(&jid).cloned().unwrap_or_default();
                changed.retain(|(j, _)| *j != jid);
                if member.affiliation != affiliation {
                    changed.push((jid, Some(Member { affiliation, ..member })));
                }
            }
        }
        Ok(changed)
    }

    /// The settings are kept: everybody is told, and who may not be inside any more is put out.
    pub(super) fn apply_config(&mut self, change: &RoomChange, by: By<'_>, out: &mut Vec<Action>) {
        let first = std::mem::replace(&mut self.locked, false);
        if let Some(record) = &change.record {
            let before = std::mem::replace(&mut self.record, record.clone());
            if !first {
                self.settle_config(&before.config, out);
            }
        }
        self.apply_people(&change.people, by, out);
    }

    fn settle_config(&mut self, before: &RoomConfig, out: &mut Vec<Action>) {
        let after = self.record.config.clone();
        if after.members_only && !before.members_only {
            let strangers: Vec<String> = self
                .occupants
                .values()
                .filter(|o| self.affiliation(&o.real) < Affiliation::Member)
                .map(|o| o.nick.clone())
                .collect();
            for nick in strangers {
                self.put_out(&nick, &Removal { code: 322, ..Removal::default() }, out);
            }
        }
        let codes = changed_codes(before, &after);
        if !codes.is_empty() {
            self.notice(Some("groupchat"), &user_x(None, &codes), out);
        }
        // Everybody may know everybody now; they learn it at once.
        let reveals = before.semi_anonymous && !after.semi_anonymous;
        let meant =
            self.occupants.values().filter(|o| reveals || o.seen != self.is_broadcast(o.role));
        for nick in meant.map(|o| o.nick.clone()).collect::<Vec<_>>() {
            self.show_to_others(&nick, &[], out);
        }
    }

    /// The end: each occupant is told once, for itself (section 10.9).
    pub(super) fn destroy(&mut self, why: &Destroy, out: &mut Vec<Action>) {
        let item = super::wire::Item {
            affiliation: Affiliation::None.name(),
            role: crate::ports::Role::None.name(),
            ..super::wire::Item::default()
        };
        let mut destroy = Element::new("destroy", USER).with_attr_opt("jid", why.venue.as_deref());
        for (name, text) in [("password", &why.password), ("reason", &why.reason)] {
            if let Some(text) = text {
                destroy.push(Element::new(name, USER).with_text(text));
            }
        }
        let mut inner = String::new();
        destroy.print(&mut inner, USER);
        let x = user_x(Some(&item), &[]).replacen("</x>", &(inner + "</x>"), 1);
        for occupant in self.occupants.values() {
            let content = x.clone() + &super::wire::occupant_id(&occupant.id);
            let head = " type='unavailable'";
            let shared = Shared::new("presence", occupant.jid.as_str(), head, &content);
            for visit in &occupant.visits {
                out.push(Action::Left(visit.target.jid.clone()));
                out.push(Action::Send(visit.target.clone(), shared.clone()));
            }
        }
        for nick in self.occupants.keys().cloned().collect::<Vec<_>>() {
            self.take_occupant(&nick);
        }
        if !self.closed {
            self.closed = true;
            out.push(Action::Close);
        }
    }
}

/// What the occupants are told of a change of settings (section 10.2.1).
fn changed_codes(before: &RoomConfig, after: &RoomConfig) -> Vec<u16> {
    let mut codes = Vec::new();
    let mut same = after.clone();
    if before.logging != after.logging {
        codes.push(if after.logging { 170 } else { 171 });
        same.logging = before.logging;
    }
    if before.semi_anonymous != after.semi_anonymous {
        codes.push(if after.semi_anonymous { 173 } else { 172 });
        same.semi_anonymous = before.semi_anonymous;
    }
    if before.show_absent != after.show_absent {
        codes.push(if after.show_absent { 102 } else { 103 });
        same.show_absent = before.show_absent;
    }
    if same != *before {
        codes.push(104);
    }
    codes
}
