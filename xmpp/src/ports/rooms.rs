//! Where rooms are kept (XEP-0045 section 10): what outlives the visits, in the words of the room service.

use serde::{Deserialize, Serialize};

use super::{BoxFuture, StoreError};
use crate::jid::Jid;

/// A lasting association with a room (XEP-0045 section 5.2), from least to most.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Affiliation {
    /// Banned.
    Outcast,
    /// None.
    #[default]
    None,
    /// May enter a members-only room.
    Member,
    /// Manages people.
    Admin,
    /// Manages the room.
    Owner,
}

impl Affiliation {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Outcast, Self::None, Self::Member, Self::Admin, Self::Owner];

    /// The wire word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Outcast => "outcast",
            Self::None => "none",
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// From the wire word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }
}

/// What somebody is in a room for the time of a visit (section 5.1), from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Not inside.
    None,
    /// Listens.
    Visitor,
    /// Speaks.
    Participant,
    /// Keeps order.
    Moderator,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::None, Self::Visitor, Self::Participant, Self::Moderator];

    /// The wire word.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Visitor => "visitor",
            Self::Participant => "participant",
            Self::Moderator => "moderator",
        }
    }

    /// From the wire word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.name() == name)
    }
}

/// Who may send private messages (`muc#roomconfig_allowpm`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AllowPm {
    /// Every occupant.
    Anyone,
    /// Those who may speak.
    Participants,
    /// Moderators.
    Moderators,
    /// Nobody.
    None,
}

impl AllowPm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Anyone, Self::Participants, Self::Moderators, Self::None];

    /// The wire word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Participants => "participants",
            Self::Moderators => "moderators",
            Self::None => "none",
        }
    }

    /// From the wire word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }
}

/// The settings of a room (section 16.5.3). The default is that of a circle: members only, kept, hidden, everybody's
/// address known to everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools)] // the form is a list of boxes to tick
pub struct RoomConfig {
    /// Its name for people.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Language of the talk.
    pub language: String,
    /// Stays when the last occupant leaves.
    pub persistent: bool,
    /// Listed.
    pub public: bool,
    /// Only members enter.
    pub members_only: bool,
    /// Who is not a member enters without voice.
    pub moderated: bool,
    /// The password; empty for none.
    pub password: String,
    /// Real addresses are shown to moderators only.
    pub semi_anonymous: bool,
    /// Participants may change the subject.
    pub change_subject: bool,
    /// Members may invite; in a members-only room the invited becomes a member.
    pub allow_invites: bool,
    /// Who may send private messages.
    pub allow_pm: AllowPm,
    /// Most people, by bare address; admins and owners may be a few more.
    pub max_users: usize,
    /// The talk is archived for those who may enter.
    pub logging: bool,
    /// Roles whose presence is shown to others.
    pub broadcast: Vec<Role>,
    /// Roles that may read the lists of members.
    pub member_list: Vec<Role>,
    /// Messages shown to who enters, at most.
    pub history: usize,
    /// Who has registered a nickname uses it, others do not enter.
    pub locked_nicks: bool,
    /// Absent members with a nickname are shown to who enters.
    pub show_absent: bool,
}

impl Default for RoomConfig {
    fn default() -> Self {
        let speaking = vec![Role::Visitor, Role::Participant, Role::Moderator];
        Self {
            name: String::new(),
            description: String::new(),
            language: String::new(),
            persistent: true,
            public: false,
            members_only: true,
            moderated: false,
            password: String::new(),
            semi_anonymous: false,
            change_subject: true,
            allow_invites: true,
            allow_pm: AllowPm::Anyone,
            max_users: 10,
            logging: true,
            broadcast: speaking.clone(),
            member_list: speaking,
            history: 20,
            locked_nicks: false,
            show_absent: false,
        }
    }
}

/// A hat of a room (XEP-0317): a title that some people wear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hat {
    /// What it is known by.
    pub uri: String,
    /// What people read.
    pub title: String,
    /// Its colour as a hue angle.
    pub hue: Option<String>,
}

/// The last change of the subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Nickname of who set it.
    pub nick: String,
    /// When, by XEP-0082.
    pub stamp: String,
    /// The children of the message.
    pub content: String,
    /// The text in the first language, for service discovery.
    pub text: String,
}

/// What a room is, but for its people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomRecord {
    /// Settings.
    pub config: RoomConfig,
    /// The subject, if one was ever set.
    pub subject: Option<Subject>,
    /// Keys the occupant ids (XEP-0421); never leaves the server.
    pub secret: [u8; 32],
    /// The hats there are.
    pub hats: Vec<Hat>,
    /// SHA-1 of each picture of the room (XEP-0486); empty without one.
    pub avatar: Vec<String>,
}

/// One person's lasting part in a room.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// What they are.
    pub affiliation: Affiliation,
    /// The nickname that is theirs.
    pub nick: Option<String>,
    /// Why, as far as was said.
    pub reason: Option<String>,
    /// URIs of the hats they wear.
    #[serde(default)]
    pub hats: Vec<String>,
}

/// A room as it comes back after a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredRoom {
    /// What it is.
    pub record: RoomRecord,
    /// People by bare address; a ban may be of a whole domain.
    pub people: Vec<(Jid, Member)>,
}

/// What is to be kept of one change; all of it or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomChange {
    /// The new record; makes the room where there was none.
    pub record: Option<RoomRecord>,
    /// People who change; `None` for those of whom nothing remains.
    pub people: Vec<(Jid, Option<Member>)>,
    /// The room's vCard (XEP-0486); an empty one removes it.
    pub vcard: Option<String>,
}

impl RoomChange {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.record.is_none() && self.people.is_empty() && self.vcard.is_none()
    }
}

/// What becomes of a room when the account of one of its people is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Departure {
    /// Nothing: the room does not know the person, or has banned it.
    Stays,
    /// These people change.
    Leaves(Vec<(Jid, Option<Member>)>),
    /// The room ends: its only owner goes, and nobody else is anything to it.
    Ends,
}

/// Takes an account that is removed out of the people of a room. Where it was the only owner (XEP-0045 section 10.4),
/// the admins are owners from now on. A ban stays: a new account of the same name would lift it.
pub fn departure<'a>(
    person: &Jid,
    people: impl Iterator<Item = (&'a Jid, &'a Member)>,
) -> Departure {
    let (own, others): (Vec<_>, Vec<_>) = people.partition(|(jid, _)| *jid == person);
    let own = own.first().map(|(_, member)| member.affiliation);
    let Some(own) = own.filter(|own| *own != Affiliation::Outcast) else {
        return Departure::Stays;
    };
    let is_left = |least| others.iter().any(|(_, member)| member.affiliation >= least);
    let mut changed = vec![(person.clone(), None)];
    if own == Affiliation::Owner && !is_left(Affiliation::Member) {
        return Departure::Ends;
    }
    if own == Affiliation::Owner && !is_left(Affiliation::Owner) {
        let admins = others.iter().filter(|(_, member)| member.affiliation == Affiliation::Admin);
        changed.extend(admins.map(|(jid, member)| {
            let owner = Member { affiliation: Affiliation::Owner, ..(*member).clone() };
            ((*jid).clone(), Some(owner))
        }));
    }
    Departure::Leaves(changed)
}

/// Where persistent rooms are kept. Each change resolves after its commit.
pub trait Rooms: Send + Sync {
    /// All of a room but its vCard; `None` when there is no such room.
    fn load<'a>(&'a self, room: &'a Jid) -> BoxFuture<'a, Result<Option<StoredRoom>, StoreError>>;
    /// Makes or changes a room. A change of people of a room that is not there is lost.
    fn save<'a>(
        &'a self,
        room: &'a Jid,
        change: RoomChange,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Forgets a room.
    fn remove<'a>(&'a self, room: &'a Jid) -> BoxFuture<'a, Result<(), StoreError>>;
    /// The room's vCard.
    fn vcard<'a>(&'a self, room: &'a Jid) -> BoxFuture<'a, Result<Option<String>, StoreError>>;
    /// The public rooms of a service in the order of their local parts, from behind `after` (an address), at most `max`:
    /// address and name.
    fn public<'a>(
        &'a self,
        service: &'a str,
        after: Option<&'a str>,
        max: usize,
    ) -> BoxFuture<'a, Result<Vec<(Jid, String)>, StoreError>>;
    /// The rooms that keep something of this person, a ban too.
    fn of<'a>(&'a self, person: &'a Jid) -> BoxFuture<'a, Result<Vec<Jid>, StoreError>>;
    /// How many rooms there are, and how many of them this account owns.
    fn count<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<(usize, usize), StoreError>>;
}
