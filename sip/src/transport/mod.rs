//! Transport rules (RFC 3261 18, RFC 3581): protocols and flows; where a request goes (RFC 3263).

mod avoid;
mod backlog;
mod budget;
pub mod certificate;
mod locate;
#[cfg(test)]
mod locate_tests;
pub mod stun;

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use self::avoid::{Avoided, PAUSE};
pub use self::backlog::{Backlog, Class, call_of_bytes};
pub use self::budget::Budgets;
pub use self::locate::{Found, Hop, Naptr, Question, Search, Srv};

/// A transport protocol we listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Datagrams.
    Udp,
    /// A stream in the clear.
    Tcp,
    /// A stream under TLS.
    Tls,
    /// A WebSocket in the clear (RFC 7118).
    Ws,
    /// A WebSocket under TLS (RFC 7118).
    Wss,
}

impl Protocol {
    /// Whether the transport itself repeats what was lost.
    #[must_use]
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// As Via writes it.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// As the `transport` parameter of a URI writes it; `ws` means both WebSockets (RFC 7118 section 5.3).
    #[must_use]
    pub const fn param(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws | Self::Wss => "ws",
        }
    }

    /// Whether nobody between can read along.
    #[must_use]
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// How often a phone should send a keep-alive (RFC 5626 section 4.4): before a NAT forgets it.
    #[must_use]
    pub const fn keep_alive_secs(self) -> u32 {
        if self.is_reliable() { 120 } else { 29 }
    }

    /// Whether it is a WebSocket: opened by the phone alone, one message a frame.
    #[must_use]
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// The port that is meant where none is written.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Wss { "wss" } else { self.param() })
    }
}

/// Where bytes came from and can be sent back to: a socket of ours and the address of the peer.
/// For streams the socket is the connection and is never reused for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Flow {
    /// The transport.
    pub protocol: Protocol,
    /// Which listener (UDP) or which connection (everything else).
    pub socket: u64,
    /// The peer.
    pub peer: SocketAddr,
    /// Our own address that the peer reaches on this flow, as Via and Contact name it.
    pub local: SocketAddr,
}
