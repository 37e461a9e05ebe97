//! `[federation]` and `[dns]`: other servers, and where they are.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[federation]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Federation {
    /// Whether other servers are talked to.
    pub enabled: bool,
    /// The only domains, with those below them, that are talked to; empty for all.
    pub allow: Vec<String>,
    /// Domains, with those below them, that are not talked to.
    pub deny: Vec<String>,
    /// Whether another server must have a valid certificate.
    pub require_valid_certificates: bool,
    /// PEM files of authorities that are trusted beside those of the system.
    pub extra_roots: Vec<PathBuf>,
    /// Bytes that wait for one pair of domains.
    pub max_queued_bytes: usize,
    /// Pairs of domains with a way out at once.
    pub max_links: usize,
    /// Seconds a stanza waits for a domain that cannot be reached.
    pub patience_seconds: u64,
}

impl Default for Federation {
    fn default() -> Self {
        Self {
            enabled: true,
            allow: Vec::new(),
            deny: Vec::new(),
            require_valid_certificates: true,
            extra_roots: Vec::new(),
            max_queued_bytes: 1024 * 1024,
            max_links: 10_000,
            patience_seconds: 30,
        }
    }
}

/// `[dns]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// Name servers; empty for those of the system.
    pub servers: Vec<SocketAddr>,
    /// Where the XMPP servers of these domains are, instead of what DNS says.
    pub hosts: BTreeMap<String, Vec<Host>>,
}

/// One way to a server: `address:port`, or `tls:address:port` for TLS from the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Host {
    /// Where.
    pub address: SocketAddr,
    /// TLS from the first byte (XEP-0368).
    pub direct_tls: bool,
}

impl TryFrom<String> for Host {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (address, direct_tls) = match text.strip_prefix("tls:") {
            Some(rest) => (rest, true),
            None => (text.as_str(), false),
        };
        let parsed = address.parse().map_err(|_| {
            format!(
                "`{text}` is no address with port, such as 192.0.2.1:5269 or tls:192.0.2.1:5270"
            )
        });
        parsed.map(|address| Self { address, direct_tls })
    }
}

impl From<Host> for String {
    fn from(host: Host) -> Self {
        format!("{}{}", if host.direct_tls { "tls:" } else { "" }, host.address)
    }
}

impl Host {
    /// The address without the port.
    pub(crate) fn ip(&self) -> IpAddr {
        self.address.ip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_address_with_a_port() {
        for (text, direct_tls) in [("127.0.0.1:5269", false), ("tls:[::1]:5270", true)] {
            let host = Host::try_from(text.to_owned()).unwrap();
            assert_eq!((host.direct_tls, String::from(host)), (direct_tls, text.to_owned()));
        }
        for text in ["", "example.com:5269", "127.0.0.1", "tls:", "tls:1.2.3.4"] {
            assert!(Host::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
