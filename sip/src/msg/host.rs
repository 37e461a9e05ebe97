//! Hosts in URIs and Via (RFC 3261 section 25.1, IPv6 by RFC 5118), and the port behind them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::scan::{self, Class};

/// What a name or an IPv4 address is written with.
static NAME: Class = Class::alphanumeric_and(b"-._");

/// The host of a URI or of a Via.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A domain name, as written.
    Name(String),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address; in brackets on the wire.
    V6(Ipv6Addr),
    /// None: a `tel:` URI, or one of an unknown scheme.
    None,
}

impl Host {
    /// Reads a host without a port. IPv6 must be in brackets.
    pub fn parse(text: &str) -> Option<Host> {
        match split(text)? {
            (host, None) => Some(host.into_owned()),
            _ => None,
        }
    }

    /// The address, where the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Host::V4(ip) => Some(IpAddr::V4(*ip)),
            Host::V6(ip) => Some(IpAddr::V6(*ip)),
            Host::Name(_) | Host::None => None,
        }
    }

    /// Whether two hosts are one: names without case and without a final dot.
    pub fn is_same(&self, other: &Host) -> bool {
        match (self, other) {
            (Host::Name(a), Host::Name(b)) => a
                .strip_suffix('.')
                .unwrap_or(a)
                .eq_ignore_ascii_case(b.strip_suffix('.').unwrap_or(b)),
            (a, b) => a == b,
        }
    }
}

impl std::convert::From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Host::V4(ip),
            IpAddr::V6(ip) => Host::V6(ip),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::V4(ip) => write!(f, "{ip}"),
            Host::V6(ip) => write!(f, "[{ip}]"),
            Host::None => Ok(()),
        }
    }
}

/// A checked host that still borrows its text.
#[derive(Debug, Clone, Copy)]
pub(crate) enum HostRef<'a> {
    Name(&'a str),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl HostRef<'_> {
    pub(crate) fn into_owned(self) -> Host {
        match self {
            HostRef::Name(name) => Host::Name(name.to_owned()),
            HostRef::V4(ip) => Host::V4(ip),
            HostRef::V6(ip) => Host::V6(ip),
        }
    }
}

/// Splits `host[:port]`, white space allowed round the colon (Via has it; a URI's text was refused white space before).
pub(crate) fn split(text: &str) -> Option<(HostRef<'_>, Option<u16>)> {
    let text = scan::trim(text);
    if let Some(rest) = text.strip_prefix('[') {
        let (inner, after) = rest.split_once(']')?;
        return Some((HostRef::V6(ipv6(inner)?), port(after)?));
    }
    let end = memchr::memchr(b':', text.as_bytes()).unwrap_or(text.len());
    let (name, after) = (scan::trim(text.get(..end)?), text.get(end..)?);
    let port = port(after)?;
    if name.is_empty() || !NAME.has_all(name) {
        return None;
    }
    let host = name.parse().map_or(HostRef::Name(name), HostRef::V4);
    Some((host, port))
}

/// RFC 5118 section 4.10: the grammar of RFC 3261 wants one colon too many before an IPv4 part, and some obey it.
fn ipv6(text: &str) -> Option<Ipv6Addr> {
    let extra = |at: usize| text.get(at..).is_some_and(|rest| rest.contains('.'));
    match text.find(":::") {
        Some(at) if extra(at) => text.replacen(":::", "::", 1).parse().ok(),
        _ => text.parse().ok(),
    }
}

/// `:port` or nothing.
fn port(text: &str) -> Option<Option<u16>> {
    let text = scan::trim(text);
    if text.is_empty() {
        return Some(None);
    }
    let number = scan::trim(text.strip_prefix(':')?);
    let port = scan::digits(number)?.ok()?;
    Some(Some(u16::try_from(port).ok()?))
}
