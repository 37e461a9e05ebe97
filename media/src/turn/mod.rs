//! TURN and STUN server (RFC 8656, RFC 8489): a relay for who cannot be reached.
//!
//! [`Server`] is a machine without sockets. What a client sends goes to [`Server::handle_client`], what a peer sends to
//! a relayed address to [`Server::handle_peer`]; both name where data goes next and touch no byte of it. Everything
//! else it wants done comes out of [`Server::poll_action`]: answers, relayed addresses to bind and to release.
//!
//! | module | duty |
//! |---|---|
//! | [`address`] | which peers are reached |
//! | `auth` | credentials and nonces that need no store |
//! | `request` | attributes |
//! | `allocation` | permissions, channels and time of one client |
//! | `server`, `allocate` | the requests |
//! | `data` | what is relayed |
//! | [`stream`] | messages on TCP and TLS |
//! | `bucket` | limits by time |
//!
//! Not done: DONT-FRAGMENT (it gets 420, and an indication with it is dropped, as section 14 wants of who cannot), and
//! ICMP errors towards the client.

pub mod address;
mod allocate;
mod allocation;
mod auth;
mod bucket;
mod data;
mod request;
mod server;
pub mod stream;
#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;

pub use self::address::{Network, Policy};
pub use self::auth::rest_password;
pub use self::data::write_indication;
pub use self::request::Family;
pub use self::server::Server;

/// What a server is told at its start.
#[derive(Clone)]
pub struct Settings {
    /// REALM of all credentials.
    pub realm: String,
    /// Secrets that passwords follow from, the newest first.
    pub secrets: Vec<Vec<u8>>,
    /// Names with passwords that do not end, for other servers' use.
    pub users: HashMap<String, String>,
    /// Who is reached.
    pub policy: Policy,
    /// Families that relayed addresses can be had of.
    pub families: Vec<Family>,
    /// Most allocations in all: 508.
    pub max_allocations: usize,
    /// Most of one name, whatever its end: 486.
    pub max_per_user: usize,
    /// Most of one address or network of version 6: 486.
    pub max_per_address: usize,
    /// Bytes a second that one allocation carries, both ways together. What is more is dropped.
    pub bytes_per_second: u64,
    /// Whether channels 0x5000 to 0x7ffe are taken too, which RFC 5766 had and RFC 8656 has not.
    pub old_channels: bool,
    /// Answers a second to one address that has not proven who it is.
    pub strangers_per_second: u64,
}

/// How a client reaches us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// TCP or TLS, by the number that the driver gave the connection.
    Stream(u64),
}

/// The 5-tuple of a client (RFC 8656 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client {
    /// Which of our listeners.
    pub listener: u16,
    /// Its address as we see it.
    pub remote: SocketAddr,
    /// The protocol.
    pub transport: Transport,
}

/// The driver's number of a relayed address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelayId(pub u32);

/// A relayed address that was bound: what it is called, and where peers find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Its number.
    pub id: RelayId,
    /// As peers see it.
    pub address: SocketAddr,
}

/// Relayed addresses for one allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindRequest {
    /// One address of each.
    pub families: Vec<Family>,
    /// The port is even.
    pub even: bool,
    /// The next port is bound too, for later.
    pub reserve: bool,
}

/// What the driver does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Sends a message to a client.
    Answer {
        /// To whom.
        client: Client,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Binds relayed addresses and says so by [`Server::handle_bound`].
    Bind {
        /// To be given back.
        ticket: u64,
        /// What.
        request: BindRequest,
    },
    /// Closes a relayed address.
    Release(RelayId),
    /// Closes a connection over which nothing is allocated.
    Close(Client),
}

/// What becomes of what a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// This part of it goes to a peer.
    Relay {
        /// From this address.
        relay: RelayId,
        /// To this one.
        peer: SocketAddr,
        /// The part.
        payload: Range<usize>,
    },
    /// It was a request; actions may follow.
    Handled,
    /// It is nothing, or not allowed.
    Dropped,
}

/// How data of a peer is handed to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrap {
    /// As ChannelData with this number.
    Channel(u16),
    /// As a Data indication: see [`write_indication`].
    Indication,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Allocations made.
    pub allocations: u64,
    /// Allocations that stand.
    pub open: u64,
    /// Packets relayed, to peers and to clients.
    pub relayed: u64,
    /// Bytes relayed.
    pub bytes: u64,
    /// Requests refused for their credentials.
    pub unauthorized: u64,
    /// Requests that were not even answered, as their address asks too often.
    pub ignored: u64,
    /// Peers refused by policy.
    pub forbidden: u64,
    /// Allocations refused for a limit.
    pub over_quota: u64,
    /// Packets dropped: no permission.
    pub unpermitted: u64,
    /// Packets dropped: more than an allocation may carry.
    pub over_bandwidth: u64,
}
