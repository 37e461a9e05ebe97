//! Settings of the SIP server.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::ports::Login;

/// What a SIP server can be told. An empty table is a working server for `localhost`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The domains whose accounts register here; the first is the digest realm of requests that
    /// name none of them.
    pub domains: Vec<String>,
    /// Registration time given to a phone that asks for none, in seconds.
    pub default_expires_secs: u32,
    /// Shortest registration, in seconds; shorter ones get a 423.
    pub min_expires_secs: u32,
    /// Longest registration, in seconds; longer ones are cut.
    pub max_expires_secs: u32,
    /// Seconds within which a phone that keeps flows open is asked to give a sign of life (RFC 5626).
    pub flow_timer_secs: u32,
    /// Contacts one account may register.
    pub max_contacts: usize,
    /// Longest presence subscription, in seconds.
    pub max_subscription_secs: u32,
    /// Shortest presence subscription, in seconds.
    pub min_subscription_secs: u32,
    /// The user that stands for the list of the asking account's contacts (RFC 4662): who watches `sip:contacts@DOMAIN`
    /// watches all of them. An account of that name cannot be watched.
    pub list_user: String,
    /// Whether MD5 digests are accepted besides SHA-256. Most phones need them.
    pub allow_md5: bool,
    /// Whether digests over the body (`auth-int`) are offered. They are taken in any case; old phones stumble over the
    /// offer.
    pub auth_int: bool,
    /// Largest message taken from the network, in bytes.
    pub max_message_bytes: usize,
    /// Transactions in work at most; more requests get a 503 with Retry-After.
    pub max_transactions: usize,
    /// Stream connections at most.
    pub max_connections: usize,
    /// Stream connections from one address at most.
    pub max_connections_per_peer: usize,
    /// Messages of any kind taken from one address (of IPv6: one network of 64 bits) a second; more are dropped before they are
    /// read, and streams are read no faster. Forty times as many once an account was proven from there, a tenth after a wrong
    /// password or what scanners do; trunks that are known by their address send what they like.
    pub max_messages_per_second: u32,
    /// Requests without credentials taken from one address a second; more are dropped unanswered.
    pub max_strangers_per_second: u32,
    /// How the User-Agent field of scanners begins, in lower case: they get no answer.
    pub scanners: Vec<String>,
    /// A stream connection without traffic is closed after this many seconds.
    pub idle_connection_secs: u32,
    /// How long a call lives without a sign of life (RFC 4028), in seconds; 0: as long as the peer likes. Half of it
    /// passes between two refreshes.
    pub session_expires_secs: u32,
    /// The shortest such time taken from a peer, in seconds. RFC 4028 asks for 90.
    pub min_session_expires_secs: u32,
    /// Whether phones have to come under TLS.
    pub require_tls: bool,
    /// Accounts, `user@domain`, whose phones may come without all the same.
    pub clear_accounts: Vec<String>,
    /// Servers whose calls are let in without a password.
    pub trunks: Vec<Trunk>,
    /// The push services by which sleeping phones are woken (RFC 8599), in lower case. Without any, what phones say of push
    /// services is left alone.
    pub push_services: Vec<String>,
    /// How many seconds a call waits for a phone that was woken.
    pub push_wait_secs: u32,
    /// Other domains.
    pub foreign: Foreign,
    /// What Server and User-Agent say.
    pub software: String,
}

/// A server that is known by where it is, by the certificate that it shows, or by a password of its own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trunk {
    /// What we call it.
    pub name: String,
    /// Where its requests come from.
    pub sources: Vec<Source>,
    /// The domains that its certificate names, one of which will do (RFC 5922).
    pub tls_names: Vec<String>,
    /// Who it is here: what it answers our challenge with.
    pub account: Option<Login>,
    /// Whether it may prove that under TLS alone.
    pub secure: bool,
    /// Whether what it says of callers in P-Asserted-Identity is believed (RFC 3325).
    pub trusted: bool,
    /// Where it is: a SIP URI.
    pub uri: String,
    /// Whether it wants to be told where we are.
    pub registers: bool,
    /// Whether it is asked now and then whether it is there (OPTIONS).
    pub supervised: bool,
    /// Who we are there.
    pub login: Option<Login>,
}

/// Whose calls and messages are let in without being an account of ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Nobody's.
    #[default]
    Closed,
    /// Those of the domains that are named.
    Allow,
    /// Everybody's.
    Open,
}

/// Other domains: their people reach accounts here, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Foreign {
    /// Who is let in.
    pub policy: Policy,
    /// The domains that are named: what claims to be from them has to come from there, whatever the policy is.
    pub domains: Vec<String>,
    /// Domains, named or not, that may come without TLS where it is required.
    pub clear: Vec<String>,
    /// Names that are no other domain, beside those below ours.
    pub reserved: Vec<String>,
    /// Calls and messages taken from one address a minute.
    pub max_per_minute: u32,
}

impl Default for Foreign {
    fn default() -> Self {
        Self {
            policy: Policy::Closed,
            domains: Vec::new(),
            clear: Vec::new(),
            reserved: Vec::new(),
            max_per_minute: 60,
        }
    }
}

impl Foreign {
    /// Whether a domain is named.
    #[must_use]
    pub fn names(&self, domain: &str) -> bool {
        self.domains.iter().any(|known| known.eq_ignore_ascii_case(domain))
    }

    /// Whether a domain may come without TLS where it is required.
    #[must_use]
    pub fn may_be_clear(&self, domain: &str) -> bool {
        self.clear.iter().any(|known| known.eq_ignore_ascii_case(domain))
    }

    /// Whether people of this domain may come.
    #[must_use]
    pub fn lets_in(&self, domain: &str) -> bool {
        match self.policy {
            Policy::Closed => false,
            Policy::Allow => self.names(domain),
            Policy::Open => true,
        }
    }
}

/// An address, with any port or one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The address.
    pub ip: IpAddr,
    /// The port; any without one.
    pub port: Option<u16>,
}

impl Source {
    /// Whether this is it.
    pub(crate) fn has(&self, peer: SocketAddr) -> bool {
        self.ip == peer.ip().to_canonical() && self.port.is_none_or(|port| port == peer.port())
    }
}

/// What the usual ones call themselves.
pub const SCANNERS: [&str; 9] = [
    "friendly-scanner",
    "friendly-request",
    "sipvicious",
    "sipcli",
    "sip-scan",
    "sundayddr",
    "iwar",
    "vaxsipuseragent",
    "pplsip",
];

impl Default for Config {
    fn default() -> Self {
        Self {
            domains: vec!["localhost".to_owned()],
            default_expires_secs: 3600,
            min_expires_secs: 60,
            max_expires_secs: 7200,
            flow_timer_secs: 120,
            max_contacts: 10,
            max_subscription_secs: 3600,
            min_subscription_secs: 60,
            list_user: "contacts".to_owned(),
            allow_md5: true,
            auth_int: false,
            max_message_bytes: 65_536,
            max_transactions: 500_000,
            max_connections: 10_000,
            max_connections_per_peer: 200,
            max_messages_per_second: 1_000,
            max_strangers_per_second: 5_000,
            scanners: SCANNERS.iter().map(|name| (*name).to_owned()).collect(),
            idle_connection_secs: 3_600,
            require_tls: false,
            clear_accounts: Vec::new(),
            trunks: Vec::new(),
            foreign: Foreign::default(),
            session_expires_secs: 1_800,
            min_session_expires_secs: 90,
            push_services: Vec::new(),
            push_wait_secs: 20,
            software: concat!("Tandem/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

impl Config {
    /// What we want of a call's session timer.
    #[must_use]
    pub fn session_terms(&self) -> crate::dialog::timer::Terms {
        crate::dialog::timer::Terms {
            interval: self.session_expires_secs,
            least: self.min_session_expires_secs,
        }
    }

    /// Whether the phones of an account may come without TLS.
    #[must_use]
    pub fn may_be_clear(&self, account: &str) -> bool {
        !self.require_tls
            || self.clear_accounts.iter().any(|known| known.eq_ignore_ascii_case(account))
    }

    /// Whether `host` is one of our domains.
    #[must_use]
    pub fn is_ours(&self, host: &str) -> bool {
        self.domains.iter().any(|domain| domain.eq_ignore_ascii_case(host))
    }

    /// Whether `host` is ours, or below one that is: nobody else's domain.
    #[must_use]
    pub fn is_own(&self, host: &str) -> bool {
        let own = self.domains.iter().chain(&self.foreign.reserved);
        own.into_iter().any(|domain| is_below(host, domain))
    }

    /// The digest realm: the domain itself where it is ours, else the first one.
    #[must_use]
    pub fn realm<'a>(&'a self, host: &str) -> &'a str {
        let known = self.domains.iter().find(|domain| domain.eq_ignore_ascii_case(host));
        known.or(self.domains.first()).map_or("localhost", String::as_str)
    }
}

/// Whether `host` is `domain` or one of its subdomains.
fn is_below(host: &str, domain: &str) -> bool {
    let Some(at) = host.len().checked_sub(domain.len()) else { return false };
    let (above, tail) = (host.get(..at), host.get(at..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(domain))
        && above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
}
