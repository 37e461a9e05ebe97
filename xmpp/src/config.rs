//! Settings of the XMPP server.

use std::time::Duration;

use crate::jid::Jid;
use crate::service::FilterRule;
use crate::stream::c2s::Limits;

/// Bounds of what an account publishes and keeps (XEP-0060, XEP-0163).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PubSubLimits {
    /// Most nodes of one account. Default 500.
    pub max_nodes: usize,
    /// Most items of one node. Default 2,000.
    pub max_items: u32,
    /// Most bytes of one item. Default 192 KiB.
    pub max_item_bytes: usize,
    /// Most bytes of all items of one account. Default 32 MiB.
    pub max_bytes: u64,
    /// Most subscriptions by request to one node, and most entries in its list of people. Default 200.
    pub max_subscriptions: usize,
}

impl Default for PubSubLimits {
    fn default() -> Self {
        Self {
            max_nodes: 500,
            max_items: 2_000,
            max_item_bytes: 192 * 1024,
            max_bytes: 32 * 1024 * 1024,
            max_subscriptions: 200,
        }
    }
}

/// How accounts come to be over XMPP (XEP-0077, XEP-0401).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationConfig {
    /// Whether anybody may make an account. Default false.
    pub open: bool,
    /// Accounts that one address, or network of version 6, may make in an hour. Default 3.
    pub per_hour: usize,
    /// Whether who was invited may make an account. Default true.
    pub by_invite: bool,
    /// Whether everybody with an account may invite, not only administrators. Default true.
    pub members_invite: bool,
    /// How long an invitation can be used. Default 7 days.
    pub invite_lifetime: Duration,
    /// Where the pages about invitations are; the token is put at the end. Default none.
    pub landing_url: Option<String>,
}

impl Default for RegistrationConfig {
    fn default() -> Self {
        Self {
            open: false,
            per_hour: 3,
            by_invite: true,
            members_invite: true,
            invite_lifetime: Duration::from_secs(7 * 24 * 60 * 60),
            landing_url: None,
        }
    }
}

/// `[xmpp]` in `tandem.toml`, as the server uses it.
#[derive(Debug, Clone)]
pub struct Config {
    /// The domains that are served here. Default `localhost`.
    pub domains: Vec<String>,
    /// Domains of external components (XEP-0114). Default none.
    pub components: Vec<String>,
    /// Which components are shown the messages of which chats. Default none.
    pub filters: Vec<FilterRule>,
    /// Bounds of a stream.
    pub limits: Limits,
    /// Most sessions of one account. Default 50.
    pub max_sessions: usize,
    /// Most contacts of one account. Default 2,000.
    pub max_contacts: usize,
    /// PBKDF2 rounds of made-up keys; the same as real ones. Default 10,000.
    pub scram_iterations: u32,
    /// Whether PLAIN is offered, for clients that know nothing better. Default true.
    pub plain: bool,
    /// Most connections from one address that are not logged in. Default 200.
    pub max_strangers: usize,
    /// Bytes queued for a client that does not read before it is dropped. Default 4 MiB.
    pub max_queued_bytes: usize,
    /// Most entries of one block list. Default 1,000.
    pub max_blocked: usize,
    /// How accounts come to be.
    pub registration: RegistrationConfig,
    /// Accounts that may administer the server (XEP-0133). Default none.
    pub admins: Vec<Jid>,
    /// Whether the version is told to who asks (XEP-0092). Default true.
    pub show_version: bool,
    /// Addresses of the operators as URIs, by purpose: `abuse`, `admin`, `feedback`, `sales`, `security`, `status`,
    /// `support` (XEP-0157). Default none.
    pub contact_addresses: Vec<(String, Vec<String>)>,
    /// Bounds of what an account publishes.
    pub pubsub: PubSubLimits,
    /// Bounds and usual settings of rooms.
    pub rooms: RoomLimits,
}

/// `[rooms]` in `tandem.toml`, as the server uses it.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // each is a setting of its own
pub struct RoomLimits {
    /// People, by bare address, that a new room has place for. Default 10.
    pub people: usize,
    /// Most people that an owner may set. Default 200.
    pub max_people: usize,
    /// Places beyond the limit for admins and owners. Default 2.
    pub reserve: usize,
    /// Whether members may invite, where the owner has not said. Default yes.
    pub members_invite: bool,
    /// Whether accounts of other servers may make rooms. Default no.
    pub remote_owners: bool,
    /// Most rooms in all. Default 100,000.
    pub max_rooms: usize,
    /// Most rooms that one account owns. Default 50.
    pub max_owned: usize,
    /// Most rooms that one session is in. Default 200.
    pub max_joined: usize,
    /// Most sessions of one person in a room. Default 20.
    pub max_sessions: usize,
    /// Most people with an affiliation, bans included, of one room. Default 2,000.
    pub max_affiliations: usize,
    /// Bytes of a nickname. Default 128.
    pub nick_bytes: usize,
    /// Bytes of a subject, all languages and its markup together. Default 4,096.
    pub subject_bytes: usize,
    /// Messages that a room gives to who enters, at most. Default 50.
    pub history: usize,
    /// Requests for membership that wait for an admin. Default 32.
    pub max_requests: usize,
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self {
            people: 10,
            max_people: 200,
            reserve: 2,
            members_invite: true,
            remote_owners: false,
            max_rooms: 100_000,
            max_owned: 50,
            max_joined: 200,
            max_sessions: 20,
            max_affiliations: 2_000,
            nick_bytes: 128,
            subject_bytes: 4_096,
            history: 50,
            max_requests: 32,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            domains: vec!["localhost".into()],
            components: Vec::new(),
            filters: Vec::new(),
            limits: Limits::default(),
            max_sessions: 50,
            max_contacts: 2_000,
            scram_iterations: 10_000,
            plain: true,
            max_strangers: 200,
            max_queued_bytes: 4 * 1024 * 1024,
            max_blocked: 1_000,
            registration: RegistrationConfig::default(),
            admins: Vec::new(),
            show_version: true,
            contact_addresses: Vec::new(),
            pubsub: PubSubLimits::default(),
            rooms: RoomLimits::default(),
        }
    }
}
