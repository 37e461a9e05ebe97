//! `[relay]`: the STUN and TURN server (RFC 8489, RFC 8656).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use tandem_media::turn::{Family, Network, Policy, Settings};

use super::Config;

/// `[relay]`.
#[derive(Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Relay {
    /// Name or address that clients are told. Empty: the first domain.
    pub host: String,
    /// Addresses that relayed addresses are bound to, one of each family at most. Empty: those of `listen.turn`, or this
    /// machine's own where that is 0.0.0.0.
    pub bind: Vec<IpAddr>,
    /// Told to peers instead, one of each family at most.
    pub advertised: Vec<IpAddr>,
    /// First and last UDP port of relayed addresses.
    pub ports: (u16, u16),
    /// Networks that are reached although they are private.
    pub allow: Vec<String>,
    /// Networks that are never reached.
    pub deny: Vec<String>,
    /// Shared with other servers that hand out credentials. Empty: none.
    pub secret: String,
    /// Names and passwords that do not end, for other servers.
    pub users: BTreeMap<String, String>,
    /// Seconds for which credentials are good that clients get (XEP-0215).
    pub seconds: u32,
    /// Most allocations.
    pub max_allocations: usize,
    /// Most of one account.
    pub max_per_account: usize,
    /// Most of one address, or network of version 6.
    pub max_per_address: usize,
    /// Bytes a second that one allocation carries, both ways together.
    pub bytes_per_second: u64,
    /// Whether channels 0x5000 to 0x7ffe are taken too: RFC 5766 had them, RFC 8656 has not.
    pub old_channels: bool,
    /// Answers a second to one address that has not proven who it is.
    pub max_strangers_per_second: u32,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without what is secret.
        f.debug_struct("Relay").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            host: String::new(),
            bind: Vec::new(),
            advertised: Vec::new(),
            ports: (49_152, 65_535),
            allow: Vec::new(),
            deny: Vec::new(),
            secret: String::new(),
            users: BTreeMap::new(),
            seconds: 3_600,
            max_allocations: 2_000,
            max_per_account: 10,
            max_per_address: 50,
            bytes_per_second: 400_000,
            old_channels: false,
            max_strangers_per_second: 50,
        }
    }
}

impl Relay {
    /// What is wrong with it.
    pub(super) fn fault(&self) -> Option<String> {
        for (name, networks) in [("allow", &self.allow), ("deny", &self.deny)] {
            if let Some(fault) = networks.iter().find_map(|text| text.parse::<Network>().err()) {
                return Some(format!("relay.{name}: {fault}"));
            }
        }
        if self.ports.0 < 1_024 || self.ports.1 <= self.ports.0 {
            return Some("relay.ports: a range of ports above 1023 is needed".into());
        }
        if !(60..=86_400).contains(&self.seconds) {
            return Some("relay.seconds: between 60 and 86400".into());
        }
        // One name is a user, the other ends: neither may be taken for the other.
        let is_bad =
            |name: &&String| name.is_empty() || name.contains(':') || name.parse::<u64>().is_ok();
        let bad = self.users.keys().find(is_bad);
        bad.map(|name| {
            format!("relay.users: `{name}` is no name; it has no colon and is no number")
        })
    }
}

impl Config {
    /// As the relay wants them; `None` when nobody could reach it. `secret` is our own.
    pub fn relay_config(&self, secret: Vec<u8>) -> Option<tandem_media::net::RelayConfig> {
        let listen = &self.listen;
        if listen.turn.is_empty() && listen.turns.is_empty() {
            return None;
        }
        let relay = &self.relay;
        let bind = if relay.bind.is_empty() { self.bound() } else { relay.bind.clone() };
        let mut families: Vec<Family> = bind.iter().map(|ip| Family::of(*ip)).collect();
        families.dedup();
        let parse = |networks: &[String]| networks.iter().filter_map(|n| n.parse().ok()).collect();
        let own = bind.iter().chain(&relay.advertised).copied().chain(self.media_addresses());
        let web_media = self.media.webrtc.port();
        let (rtp, relayed) = (self.media.rtp_ports, relay.ports);
        let policy = Policy {
            allow: parse(&relay.allow),
            deny: parse(&relay.deny),
            own: own.chain(machine_addresses()).collect(),
            own_ports: vec![web_media..=web_media, rtp.0..=rtp.1, relayed.0..=relayed.1],
        };
        let secrets = [secret, relay.secret.clone().into_bytes()];
        Some(tandem_media::net::RelayConfig {
            listen: listen.turn.clone(),
            bind,
            advertised: relay.advertised.clone(),
            ports: relay.ports,
            settings: Settings {
                realm: self.domains.first().cloned().unwrap_or_default(),
                secrets: secrets.into_iter().filter(|secret| !secret.is_empty()).collect(),
                users: relay.users.clone().into_iter().collect(),
                policy,
                families,
                max_allocations: relay.max_allocations,
                max_per_user: relay.max_per_account,
                max_per_address: relay.max_per_address,
                bytes_per_second: relay.bytes_per_second,
                old_channels: relay.old_channels,
                strangers_per_second: relay.max_strangers_per_second.into(),
            },
        })
    }

    /// Addresses to relay from, where none are set.
    fn bound(&self) -> Vec<IpAddr> {
        let listeners = self.listen.turn.iter().chain(&self.listen.turns);
        let mut found: Vec<IpAddr> = Vec::new();
        for ip in listeners.map(SocketAddr::ip) {
            let ip = if ip.is_unspecified() { own_address(ip.is_ipv4()) } else { Some(ip) };
            let is_new = |ip: &IpAddr| !found.iter().any(|own| own.is_ipv4() == ip.is_ipv4());
            found.extend(ip.filter(is_new));
        }
        found
    }

    fn media_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let told = self.media.advertised.iter().chain(&self.media.rtp_advertised);
        told.copied().filter(|ip| !ip.is_unspecified())
    }
}

/// The address of a family that this machine would use towards others. Nothing is sent: a UDP `connect` only asks the
/// routing table.
pub(super) fn own_address(is_v4: bool) -> Option<IpAddr> {
    let (any, far) =
        if is_v4 { ("0.0.0.0:0", "192.0.2.1:9") } else { ("[::]:0", "[2001:db8::1]:9") };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect(far).ok()?;
    socket.local_addr().ok().map(|a| a.ip()).filter(|ip| !ip.is_unspecified())
}

/// All addresses of this machine: services that listen on them are nobody's business.
fn machine_addresses() -> Vec<IpAddr> {
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces
            .iter()
            .map(if_addrs::Interface::ip)
            // What is private is refused anyway, but for what `allow` names.
            .filter(|ip| !ip.is_loopback())
            .collect(),
        Err(error) => {
            tracing::warn!(%error, "the addresses of this machine are not known to its relay");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let fault = |set: fn(&mut Relay)| {
            let mut relay = Relay::default();
            set(&mut relay);
            relay.fault().unwrap_or_default()
        };
        assert_eq!(fault(|_| ()), "");
        assert!(fault(|r| r.allow = vec!["10.0.0.0/40".into()]).starts_with("relay.allow: "));
        assert!(fault(|r| r.deny = vec!["x".into()]).starts_with("relay.deny: "));
        assert!(fault(|r| r.ports = (80, 90)).starts_with("relay.ports: "));
        assert!(fault(|r| r.seconds = 0).starts_with("relay.seconds: "));
        assert!(
            fault(|r| r.users = BTreeMap::from([("9:x".into(), String::new())])).contains("9:x")
        );
    }

    /// A house allows its own network by one setting; our own services stay closed even then.
    #[test]
    fn an_allowed_network_does_not_open_our_own_ports() {
        let mut config = Config::default();
        config.listen.turn = vec!["192.168.7.5:3478".parse().unwrap()];
        config.listen.turns = Vec::new();
        config.relay.allow = vec!["192.168.7.0/24".into()];
        let policy = config.relay_config(vec![1]).unwrap().settings.policy;
        let reaches = |text: &str| policy.allows(text.parse().unwrap());
        assert!(reaches("192.168.7.9:80"));
        assert!(!reaches("192.168.7.5:5432"));
        assert!(
            reaches("192.168.7.5:20000")
                && reaches("192.168.7.5:50000")
                && reaches("192.168.7.5:3479")
        );
        assert!(!reaches("192.168.8.9:80"));
    }
}
