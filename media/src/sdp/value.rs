//! Values of single SDP lines: RFC 8866 sections 5 and 6, RFC 3605 (rtcp), RFC 5888 (group), RFC 8122 (fingerprint),
//! RFC 4145 (setup).
//!
//! Each `parse` takes what stands behind `x=` or behind the attribute's colon. `None`: not understood, read past.

use std::net::{IpAddr, SocketAddr};

use crate::codec::Codec;

/// `c=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// As written, without the TTL or count of a multicast address.
    pub address: String,
}

impl Connection {
    /// Reads `IN IP4 192.0.2.1/127`.
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        words.next().filter(|net| net.eq_ignore_ascii_case("IN"))?;
        words
            .next()
            .filter(|kind| kind.eq_ignore_ascii_case("IP4") || kind.eq_ignore_ascii_case("IP6"))?;
        let address = words.next()?.split('/').next()?;
        Some(Self { address: address.to_owned() })
    }

    /// `None`: a name. Names are never resolved, so that a description cannot make us ask somebody's DNS.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
    }

    /// What stands behind `c=` for this address.
    pub fn print(ip: IpAddr) -> String {
        format!("IN {} {ip}", if ip.is_ipv6() { "IP6" } else { "IP4" })
    }
}

/// `b=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bandwidth {
    /// `AS`, `CT`, `TIAS`, `RS`, `RR` ...
    pub kind: String,
    /// Kilobits a second for `AS` and `CT`, bits a second for the others (RFC 3890, RFC 3556).
    pub value: u64,
}

impl Bandwidth {
    /// Reads `AS:64`.
    pub fn parse(value: &str) -> Option<Self> {
        let (kind, value) = value.split_once(':')?;
        Some(Self { kind: kind.trim().to_owned(), value: value.trim().parse().ok()? })
    }
}

/// Which way media flows, seen by who writes it (RFC 8866 section 6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Both ways; meant where nothing is said.
    #[default]
    SendRecv,
    /// The writer only sends: it holds the other.
    SendOnly,
    /// The writer only takes.
    RecvOnly,
    /// Nothing flows.
    Inactive,
}

impl Direction {
    /// From both facts.
    pub fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// By the attribute's name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive]
            .into_iter()
            .find(|d| d.name().eq_ignore_ascii_case(name))
    }

    /// The attribute's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// Whether the writer sends.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the writer takes.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same seen from the other end.
    pub fn mirror(self) -> Self {
        Self::new(self.receives(), self.sends())
    }

    /// What both allow, seen from the same end.
    pub fn and(self, other: Self) -> Self {
        Self::new(self.sends() && other.sends(), self.receives() && other.receives())
    }
}

/// `a=rtpmap` (RFC 8866 section 6.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpMap {
    /// Number in `m=`.
    pub payload_type: u8,
    /// Encoding name, any case.
    pub name: String,
    /// Hertz of the RTP timestamp.
    pub clock: u32,
    /// Channels; 1 where nothing is said.
    pub channels: u32,
}

impl RtpMap {
    /// Reads `111 opus/48000/2`.
    pub fn parse(value: &str) -> Option<Self> {
        let (number, rest) = value.trim().split_once(|c: char| c.is_ascii_whitespace())?;
        let payload_type = number.parse().ok().filter(|n| *n < 128)?;
        let mut parts = rest.trim().split('/').map(str::trim);
        let name = parts.next().filter(|n| !n.is_empty())?.to_owned();
        let clock = parts.next()?.parse().ok()?;
        let channels = parts.next().map_or(Some(1), |c| c.parse().ok())?;
        Some(Self { payload_type, name, clock, channels })
    }

    /// The codec. Opus always says two channels (RFC 7587 section 7); who says one means the same.
    pub fn codec(&self) -> Option<Codec> {
        Codec::from_rtpmap(&self.name, self.clock)
            .filter(|codec| *codec == Codec::Opus || self.channels <= 1)
    }
}

/// `a=rtcp` (RFC 3605).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rtcp {
    /// Where RTCP is taken.
    pub port: u16,
    /// `None`: the address of `c=`.
    pub connection: Option<Connection>,
}

impl Rtcp {
    /// Reads `53020 IN IP4 126.16.64.4`.
    pub fn parse(value: &str) -> Option<Self> {
        let value = value.trim();
        let (port, rest) = value.split_once(' ').unwrap_or((value, ""));
        let port = port.parse().ok()?;
        match rest.trim() {
            "" => Some(Self { port, connection: None }),
            rest => Some(Self { port, connection: Some(Connection::parse(rest)?) }),
        }
    }

    /// Where that is, for a peer at `audio`. `None`: nowhere.
    pub fn address(&self, audio: SocketAddr) -> Option<SocketAddr> {
        let ip = match &self.connection {
            Some(connection) => connection.ip()?,
            None => audio.ip(),
        };
        let usable = self.port != 0 && is_unicast(ip) && ip.is_ipv4() == audio.is_ipv4();
        usable.then(|| SocketAddr::new(ip, self.port))
    }
}

/// Whether one host can be meant by it.
pub(super) fn is_unicast(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !(ip.is_unspecified() || ip.is_multicast() || broadcast)
}

/// `a=group` (RFC 5888).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `BUNDLE`, `LS` ...
    pub semantics: String,
    /// `a=mid` of its sections.
    pub mids: Vec<String>,
}

impl Group {
    /// Reads `BUNDLE a v`.
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace().map(str::to_owned);
        Some(Self { semantics: words.next()?, mids: words.collect() })
    }
}

/// `a=fingerprint` (RFC 8122 section 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// `sha-256` ..., lower case.
    pub hash: String,
    /// Hex with colons, as written: compare without case.
    pub value: String,
}

impl Fingerprint {
    /// Reads `sha-256 02:1A:...`.
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        Some(Self { hash: words.next()?.to_ascii_lowercase(), value: words.next()?.to_owned() })
    }
}

/// `a=setup` (RFC 4145 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetupRole {
    /// The writer connects.
    Active,
    /// The writer waits.
    Passive,
    /// The writer leaves it to the other.
    ActPass,
    /// No connection for now.
    HoldConn,
}

impl SetupRole {
    /// Reads `actpass`.
    pub fn parse(value: &str) -> Option<Self> {
        match value.trim().to_ascii_lowercase().as_str() {
            "active" => Some(Self::Active),
            "passive" => Some(Self::Passive),
            "actpass" => Some(Self::ActPass),
            "holdconn" => Some(Self::HoldConn),
            _ => None,
        }
    }
}
