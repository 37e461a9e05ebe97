//! RFC 3261 section 20.42, RFC 3581 (rport), RFC 5118 (IPv6), RFC 6223 (keep): Via.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::{Header, HeaderError, ListHeader};
use crate::msg::host::{self, Host};
use crate::msg::name::Name;
use crate::msg::params::Params;
use crate::msg::scan;

/// One hop that the request came through.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Via {
    /// `UDP`, `TCP`, `TLS`, `WS` or anything else, as written.
    pub transport: String,
    /// Sent-by: where the hop says responses should go.
    pub host: Host,
    /// The port of sent-by, where written.
    pub port: Option<u16>,
    /// Parameters.
    pub params: Params,
}

impl Via {
    /// A Via of ours.
    pub fn new(transport: &str, host: Host, port: Option<u16>, branch: &str) -> Self {
        Via {
            transport: transport.to_owned(),
            host,
            port,
            params: Params::new().with("branch", Some(branch)),
        }
    }

    /// The transaction's id.
    pub fn branch(&self) -> Option<&str> {
        self.params.get("branch")
    }

    /// The address the hop before saw; brackets round IPv6 or not (RFC 5118 section 4.5).
    pub fn received(&self) -> Option<IpAddr> {
        let text = self.params.get("received")?;
        text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text).parse().ok()
    }

    /// Whether the sender asks for the port it sends from.
    pub fn wants_rport(&self) -> bool {
        self.params.has("rport")
    }

    /// The port in `rport`, once it is filled in.
    pub fn rport(&self) -> Option<u16> {
        self.params.get("rport")?.parse().ok()
    }

    /// Notes where the request really came from: `received` when sent-by is a name or another address or `rport` was
    /// asked for, and the port in an `rport` (RFC 3261 section 18.2.1, RFC 3581 section 4).
    pub fn note_source(&mut self, source: SocketAddr) {
        let ip = source.ip().to_canonical();
        self.params.remove("received");
        if self.wants_rport() {
            self.params.set("rport", Some(&source.port().to_string()));
        }
        if self.wants_rport() || self.host.ip() != Some(ip) {
            self.params.set("received", Some(&ip.to_string()));
        }
    }

    /// Agrees to keep-alives where the sender offers them (RFC 6223 section 4.4), one every so many seconds.
    pub fn agree_to_keep(&mut self, seconds: u32) {
        if self.params.has("keep") && self.params.get("keep").is_none() {
            self.params.set("keep", Some(&seconds.to_string()));
        }
    }

    pub(crate) fn check(text: &str) -> bool {
        RawVia::split(text).is_some_and(|raw| Params::check(raw.params))
    }
}

struct RawVia<'a> {
    transport: &'a str,
    place: (host::HostRef<'a>, Option<u16>),
    params: &'a str,
}

impl<'a> RawVia<'a> {
    /// `SIP / 2.0 / UDP  host : port ; params`, white space nearly everywhere.
    fn split(text: &'a str) -> Option<RawVia<'a>> {
        let (protocol, rest) = scan::split_once(text, b'/')?;
        let (version, rest) = scan::split_once(rest, b'/')?;
        if !scan::trim(protocol).eq_ignore_ascii_case("SIP") || scan::trim(version) != "2.0" {
            return None;
        }
        let rest = scan::trim(rest);
        let blank = memchr::memchr2(b' ', b'\t', rest.as_bytes())?;
        let (transport, rest) = (&rest[..blank], &rest[blank + 1..]);
        let (place, params) =
            rest.split_at(memchr::memchr(b';', rest.as_bytes()).unwrap_or(rest.len()));
        scan::is_token(transport).then_some(RawVia {
            transport,
            place: host::split(place)?,
            params,
        })
    }
}

impl Header for Via {
    const NAME: Name = Name::Via;
    const IS_LIST: bool = true;
    fn parse(value: &str) -> Result<Self, HeaderError> {
        let read = || {
            let raw = RawVia::split(value)?;
            let (host, port) = raw.place;
            Some(Via {
                transport: raw.transport.to_owned(),
                host: host.into_owned(),
                port,
                params: Params::parse(raw.params)?,
            })
        };
        read().ok_or(HeaderError::malformed(Self::NAME))
    }
}

impl ListHeader for Via {}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} {}", self.transport, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "{}", self.params)
    }
}
