//! STUN and TURN beside the server (XEP-0215).

use crate::jid::Jid;

/// What proves at a relay that its user is ours, for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayCredentials {
    /// The user name at the relay.
    pub username: String,
    /// The password that goes with it.
    pub password: String,
    /// Seconds since 1970 after which they are refused.
    pub expires: u64,
    /// The same as an XMPP timestamp.
    pub expires_stamp: String,
}

/// One service that is not reached over XMPP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalService {
    /// `stun`, `stuns`, `turn` or `turns`.
    pub kind: &'static str,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `udp` or `tcp`.
    pub transport: &'static str,
    /// For services that want them.
    pub credentials: Option<RelayCredentials>,
}

/// The relays that calls of our users may go through.
pub trait Relays: Send + Sync {
    /// All of them, with credentials made now for this account; none when no relay is set.
    fn services(&self, account: &Jid) -> Vec<ExternalService>;
}
