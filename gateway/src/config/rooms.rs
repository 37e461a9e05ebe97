//! `[rooms]`: how many people, how many rooms, and who may make them.

use serde::{Deserialize, Serialize};
use tandem_xmpp::config::RoomLimits;

/// `[rooms]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rooms {
    /// People, by address, that a new room has place for.
    pub people: usize,
    /// Most people that an owner may set.
    pub max_people: usize,
    /// Places beyond the limit for admins and owners.
    pub reserve: usize,
    /// Whether members may invite, where the owner has not said.
    pub members_invite: bool,
    /// Whether accounts of other servers may make rooms.
    pub remote_owners: bool,
    /// Most rooms in all.
    pub max_rooms: usize,
    /// Most rooms that one account owns.
    pub max_owned: usize,
    /// Most rooms that one session is in.
    pub max_joined: usize,
    /// Most people with an affiliation, bans included, of one room.
    pub max_affiliations: usize,
    /// Most messages that a room gives to who enters.
    pub history: usize,
}

impl Default for Rooms {
    fn default() -> Self {
        let usual = RoomLimits::default();
        Self {
            people: usual.people,
            max_people: usual.max_people,
            reserve: usual.reserve,
            members_invite: usual.members_invite,
            remote_owners: usual.remote_owners,
            max_rooms: usual.max_rooms,
            max_owned: usual.max_owned,
            max_joined: usual.max_joined,
            max_affiliations: usual.max_affiliations,
            history: usual.history,
        }
    }
}

impl Rooms {
    /// As the XMPP server wants them.
    pub fn limits(&self) -> RoomLimits {
        RoomLimits {
            people: self.people,
            max_people: self.max_people,
            reserve: self.reserve,
            members_invite: self.members_invite,
            remote_owners: self.remote_owners,
            max_rooms: self.max_rooms,
            max_owned: self.max_owned,
            max_joined: self.max_joined,
            max_affiliations: self.max_affiliations,
            history: self.history,
            ..RoomLimits::default()
        }
    }
}
