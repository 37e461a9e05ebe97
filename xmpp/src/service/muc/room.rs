//! One room (XEP-0045) as a machine without I/O: a command in, actions out.
//!
//! What outlives a visit (settings, people, subject, hats) changes only by the `apply_…` methods, after the change has been
//! kept; who is inside changes at once. Commands are in a file each.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::history::History;
use super::say::Ready;
use super::wire::{Item, Shared, Target, occupant_id, user_x};
use crate::config::RoomLimits;
use crate::jid::Jid;
use crate::ports::{Affiliation, Member, Role, RoomRecord, StoredRoom};
use crate::stanza::Stanza;
use crate::xml::Element;

/// Presence updates of one session that pass at once.
const PRESENCE_BURST: i64 = 20;
/// Microseconds until one more passes.
const PRESENCE_EVERY: i64 = 2_000_000;

/// What a room wants done, in this order.
#[derive(Debug)]
pub(super) enum Action {
    /// One stanza for all of these.
    Cast(Arc<[Arc<Target>]>, Shared),
    /// One stanza for one of those inside.
    Send(Arc<Target>, Shared),
    /// An answer for this address, inside or not.
    Tell(Jid, Element),
    /// A stanza of the room for somebody who is not inside: handled like that of any other sender.
    Post(Element),
    /// As [`Action::Post`], of this person through the room.
    Pass(Jid, Element),
    /// This session has entered.
    Entered(Jid),
    /// This session is no longer inside.
    Left(Jid),
    /// The room is no more; what was kept of it goes too.
    Close,
}

/// The present, as the driver says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now<'a> {
    /// By XEP-0082.
    pub(super) stamp: &'a str,
    /// Microseconds since 1970.
    pub(super) micros: i64,
}

/// What a session said about itself: the attributes and the children of its presence that pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) head: String,
    pub(super) content: String,
}

/// One session that is inside.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) target: Arc<Target>,
    /// Names it in requests that pass through the room.
    pub(super) number: u64,
    pub(super) said: Said,
    /// When its next presence may pass, as a bucket that leaks.
    due: i64,
}

impl Visit {
    /// Whether one more presence passes now.
    pub(super) fn may_announce(&mut self, now: i64) -> bool {
        let due = self.due.max(now);
        if due - now > PRESENCE_BURST * PRESENCE_EVERY {
            return false;
        }
        self.due = due + PRESENCE_EVERY;
        true
    }
}

/// A nickname that is inside, with one person's sessions.
#[derive(Debug)]
pub(super) struct Occupant {
    pub(super) nick: String,
    /// Room and nickname.
    pub(super) jid: Jid,
    /// The person, bare.
    pub(super) real: Jid,
    pub(super) role: Role,
    /// By XEP-0421.
    pub(super) id: String,
    pub(super) visits: Vec<Visit>,
    /// Which session's presence is shown.
    pub(super) shown: usize,
    /// The others have been shown that it is there.
    pub(super) seen: bool,
}

impl Occupant {
    /// The full address and the words of the session that is shown.
    pub(super) fn shown(&self) -> Option<&Visit> {
        self.visits.get(self.shown).or_else(|| self.visits.first())
    }
}

/// A room.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) jid: Jid,
    pub(super) record: RoomRecord,
    /// By bare address; bans of a domain by the domain.
    pub(super) people: HashMap<Jid, Member>,
    /// By nickname.
    pub(super) occupants: HashMap<String, Occupant>,
    /// Nicknames by full address.
    pub(super) sessions: HashMap<Jid, String>,
    /// Who has voice though their affiliation does not give it, or the reverse; as long as the room is in memory.
    pub(super) granted: HashMap<Jid, Role>,
    /// Who has asked for membership, and by what nickname.
    pub(super) requests: HashMap<Jid, String>,
    /// Who was invited lately, bare: they may decline.
    pub(super) invited: HashSet<Jid>,
    pub(super) history: History,
    /// The vCard of a room that the store does not keep.
    pub(super) vcard: Option<String>,
    /// Made and not configured yet (section 10.1).
    pub(super) locked: bool,
    /// Kept by the store.
    pub(super) stored: bool,
    /// No longer a room; whoever still holds it must look again.
    pub(super) closed: bool,
    pub(super) limits: RoomLimits,
    /// The last place that was given to a message, the next that is due, and what is ready before its turn.
    pub(super) tickets: u64,
    pub(super) due: u64,
    pub(super) parked: BTreeMap<u64, Option<Ready>>,
    all: Option<Arc<[Arc<Target>]>>,
    visits: u64,
}

impl Room {
    /// A room that has just been made by `owner`.
    pub(super) fn new(jid: &Jid, owner: &Jid, secret: [u8; 32], limits: &RoomLimits) -> Self {
        let mut record = RoomRecord { secret, ..RoomRecord::default() };
        record.config.max_users = limits.people;
        record.config.allow_invites = limits.members_invite;
        record.config.history = record.config.history.min(limits.history);
        let first = Member { affiliation: Affiliation::Owner, ..Member::default() };
        let stored = StoredRoom { record, people: vec![(owner.bare(), first)] };
        Self { locked: true, stored: false, ..Self::load(jid, stored, limits) }
    }

    /// A room as it was kept.
    pub(super) fn load(jid: &Jid, stored: StoredRoom, limits: &RoomLimits) -> Self {
        Self {
            jid: jid.clone(),
            history: History::new(limits.history),
            record: stored.record,
            people: stored.people.into_iter().collect(),
            occupants: HashMap::new(),
            sessions: HashMap::new(),
            granted: HashMap::new(),
            requests: HashMap::new(),
            invited: HashSet::new(),
            vcard: None,
            locked: false,
            stored: true,
            closed: false,
            limits: limits.clone(),
            tickets: 0,
            due: 1,
            parked: BTreeMap::new(),
            all: None,
            visits: 0,
        }
    }

    /// What this person is to the room. A ban of the whole domain counts where nothing is said of the person
    /// (section 9.2).
    pub(super) fn affiliation(&self, jid: &Jid) -> Affiliation {
        let own = self.people.get(&jid.bare()).map(|m| m.affiliation);
        if let Some(own) = own.filter(|own| *own != Affiliation::None) {
            return own;
        }
        let domain = Jid::new(None, jid.domain(), None).ok();
        domain.and_then(|d| self.people.get(&d)).map_or(Affiliation::None, |m| m.affiliation)
    }

    /// The usual role of an affiliation here (section 5.1.2).
    pub(super) fn usual_role(&self, affiliation: Affiliation) -> Role {
        match affiliation {
            Affiliation::Owner | Affiliation::Admin => Role::Moderator,
            Affiliation::Member => Role::Participant,
            Affiliation::None if self.record.config.moderated => Role::Visitor,
            Affiliation::None => Role::Participant,
            Affiliation::Outcast => Role::None,
        }
    }

    /// The occupant that a session speaks as.
    pub(super) fn occupant_of(&self, session: &Jid) -> Option<&Occupant> {
        self.occupants.get(self.sessions.get(session)?)
    }

    /// The role of whoever sends from this address; none for who is not inside.
    pub(super) fn role_of(&self, session: &Jid) -> Role {
        self.occupant_of(session).map_or(Role::None, |o| o.role)
    }

    /// How many people are inside, by bare address.
    pub(super) fn people_inside(&self) -> usize {
        self.occupants.values().map(|o| &o.real).collect::<HashSet<_>>().len()
    }

    /// Whether any session of this person is inside.
    pub(super) fn is_inside(&self, person: &Jid) -> bool {
        self.occupants.values().any(|o| o.real == *person)
    }

    /// Whether those of this role may see real addresses.
    pub(super) fn sees_addresses(&self, role: Role) -> bool {
        !self.record.config.semi_anonymous || role == Role::Moderator
    }

    /// The id of a person here (XEP-0421 section 4.1): the same at each visit, different in each room.
    pub(super) fn occupant_id(&self, person: &Jid) -> String {
        let mut mac = match Hmac::<Sha256>::new_from_slice(&self.record.secret) {
            Ok(mac) => mac,
            // A key of any length is taken.
            Err(_) => return String::new(),
        };
        mac.update(person.as_bare_str().as_bytes());
        let digest = mac.finalize().into_bytes();
        digest.iter().take(20).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Everybody inside, session by session.
    pub(super) fn all(&mut self) -> Arc<[Arc<Target>]> {
        if let Some(all) = &self.all {
            return all.clone();
        }
        let all: Arc<[Arc<Target>]> =
            self.occupants.values().flat_map(|o| &o.visits).map(|v| v.target.clone()).collect();
        self.all = Some(all.clone());
        all
    }

    /// The sessions of those who are not this nickname, and see addresses or do not.
    pub(super) fn others(&self, nick: &str, sees: bool) -> Arc<[Arc<Target>]> {
        self.occupants
            .values()
            .filter(|o| o.nick != nick && self.sees_addresses(o.role) == sees)
            .flat_map(|o| &o.visits)
            .map(|v| v.target.clone())
            .collect()
    }

    /// Puts a session inside, under a nickname that is free or the person's own.
    pub(super) fn admit(&mut self, target: Arc<Target>, nick: &str, said: Said, role: Role) {
        let Ok(jid) = self.jid.with_resource(nick) else { return };
        self.visits += 1;
        let number = self.visits;
        let id = self.occupant_id(&target.bare);
        self.sessions.insert(target.jid.clone(), nick.to_owned());
        let real = target.bare.clone();
        let occupant = self.occupants.entry(nick.to_owned()).or_insert_with(|| Occupant {
            nick: nick.to_owned(),
            jid,
            real,
            role,
            id,
            visits: Vec::new(),
            shown: 0,
            seen: false,
        });
        occupant.visits.push(Visit { target, number, said, due: 0 });
        occupant.shown = occupant.visits.len() - 1;
        self.all = None;
    }

    /// Takes one session out: its nickname, itself, and its occupant too when it was the last.
    pub(super) fn take_out(&mut self, session: &Jid) -> Option<(String, Visit, Option<Occupant>)> {
        let nick = self.sessions.remove(session)?;
        self.all = None;
        let occupant = self.occupants.get_mut(&nick)?;
        let at = occupant.visits.iter().position(|v| v.target.jid == *session)?;
        let visit = occupant.visits.remove(at);
        if occupant.shown >= at {
            occupant.shown = occupant.shown.saturating_sub(1);
        }
        let last = occupant.visits.is_empty();
        let gone = if last { self.occupants.remove(&nick) } else { None };
        Some((nick, visit, gone))
    }

    /// Takes a nickname out with all its sessions.
    pub(super) fn take_occupant(&mut self, nick: &str) -> Option<Occupant> {
        let occupant = self.occupants.remove(nick)?;
        for visit in &occupant.visits {
            self.sessions.remove(&visit.target.jid);
        }
        self.all = None;
        Some(occupant)
    }

    /// Gives an occupant another name.
    pub(super) fn rename(&mut self, old: &str, new: &str) {
        let Ok(jid) = self.jid.with_resource(new) else { return };
        let Some(mut occupant) = self.occupants.remove(old) else { return };
        for visit in &occupant.visits {
            self.sessions.insert(visit.target.jid.clone(), new.to_owned());
        }
        occupant.nick = new.to_owned();
        occupant.jid = jid;
        self.occupants.insert(new.to_owned(), occupant);
    }

    /// The presence of an occupant as some see it.
    pub(super) fn presence(
        &self,
        occupant: &Occupant,
        said: &Said,
        item: &Item<'_>,
        codes: &[u16],
    ) -> Shared {
        let mut content = said.content.clone();
        content.push_str(&user_x(Some(item), codes));
        content.push_str(&occupant_id(&occupant.id));
        content.push_str(&self.hats_of(&occupant.real));
        Shared::new("presence", occupant.jid.as_str(), &said.head, &content)
    }

    /// The item of an occupant as it is now, with the address of the session that is shown.
    pub(super) fn item<'a>(&self, occupant: &'a Occupant, sees: bool) -> Item<'a> {
        Item {
            affiliation: self.affiliation(&occupant.real).name(),
            role: occupant.role.name(),
            jid: occupant.shown().filter(|_| sees).map(|v| v.target.jid.as_str()),
            ..Item::default()
        }
    }

    /// Whether presence of this role is shown to others (`muc#roomconfig_presencebroadcast`).
    pub(super) fn is_broadcast(&self, role: Role) -> bool {
        self.record.config.broadcast.contains(&role)
    }
}

/// What passes of a presence: everything but what only the room may say.
pub(super) fn said(stanza: &Stanza, room: &Jid) -> Said {
    Said { head: stanza.head().to_owned(), content: cleaned(stanza, room) }
}

/// The content of a stanza without what only the room may say (section 13.5, XEP-0421 section 4, XEP-0359 section 3,
/// XEP-0313 section 8.4): extended presence, occupant ids, hats, ids and delays in the room's name.
pub(super) fn cleaned(stanza: &Stanza, room: &Jid) -> String {
    use super::wire::{DELAY, HATS, MUC, OCCUPANT_ID, SID, USER};
    stanza.content_without(|name, ns, text| match (name, ns) {
        (_, USER | OCCUPANT_ID | HATS) | ("x", MUC) => true,
        ("stanza-id", SID) => claims(text, "by", room),
        ("delay", DELAY) => claims(text, "from", room),
        _ => false,
    })
}

/// Whether an attribute of this element names the room or somebody in it. What cannot be read claims anything.
fn claims(element: &str, attribute: &str, room: &Jid) -> bool {
    let Ok(element) = Element::parse(element.as_bytes()) else { return true };
    let claimed = element.attr(attribute).map(Jid::parse);
    claimed.is_some_and(|jid| jid.is_ok_and(|jid| jid.as_bare_str() == room.as_bare_str()))
}
