//! Where other servers are (RFC 6120 section 3.2).

use std::net::IpAddr;

use super::BoxFuture;
use crate::stream::targets::Service;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// There is no such name, or no such record at it.
    #[error("no such name")]
    NotFound,
    /// DNS cannot be asked now.
    #[error("DNS failed: {0}")]
    Failed(String),
}

/// The domain name system.
pub trait Dns: Send + Sync {
    /// The SRV records at a name such as `_xmpp-server._tcp.example.com`.
    fn services<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Service>, DnsError>>;
    /// The addresses of a host, IPv6 among them.
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, DnsError>>;
}
