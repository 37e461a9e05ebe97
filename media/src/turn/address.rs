//! Which peers a relay reaches (RFC 8656 sections 10.2 and 21): the open network and what is allowed by name, never
//! what only this machine or its neighbours should reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::Deserialize;

/// A network in CIDR form: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    ip: IpAddr,
    prefix: u8,
}

impl Network {
    const fn v4(a: u8, b: u8, c: u8, prefix: u8) -> Self {
        Self { ip: IpAddr::V4(Ipv4Addr::new(a, b, c, 0)), prefix }
    }

    const fn v6(first: u16, second: u16, prefix: u8) -> Self {
        Self { ip: IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0)), prefix }
    }

    /// Whether an address is in it. Families never mix.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                let differs = u32::from(own) ^ u32::from(ip);
                self.prefix == 0 || differs.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                let differs = u128::from(own) ^ u128::from(ip);
                self.prefix == 0 || differs.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is no network such as 10.0.0.0/8");
        let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, p)| (ip, Some(p)));
        let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
        let widest = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().ok().filter(|p| *p <= widest).ok_or_else(wrong)?,
            None => widest,
        };
        Ok(Self { ip, prefix })
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Networks that nobody on the open network has (RFC 6890 and the registries it made), and groups.
const INNER: [Network; 25] = [
    Network::v4(0, 0, 0, 8),
    Network::v4(10, 0, 0, 8),
    Network::v4(100, 64, 0, 10),
    Network::v4(127, 0, 0, 8),
    Network::v4(169, 254, 0, 16),
    Network::v4(172, 16, 0, 12),
    Network::v4(192, 0, 0, 24),
    Network::v4(192, 0, 2, 24),
    Network::v4(192, 88, 99, 24),
    Network::v4(192, 168, 0, 16),
    Network::v4(198, 18, 0, 15),
    Network::v4(198, 51, 100, 24),
    Network::v4(203, 0, 113, 24),
    Network::v4(224, 0, 0, 4),
    Network::v4(240, 0, 0, 4),
    // Unspecified, loopback, and addresses of version 4 in their deprecated form.
    Network::v6(0, 0, 96),
    Network::v6(0xfe80, 0, 10),
    Network::v6(0xfec0, 0, 10),
    Network::v6(0xfc00, 0, 7),
    Network::v6(0xff00, 0, 8),
    Network::v6(0x2001, 0x0db8, 32),
    Network::v6(0x2001, 0x0000, 32),
    Network::v6(0x0100, 0, 64),
    Network::v6(0x5f00, 0, 16),
    Network::v6(0x3fff, 0, 20),
];

/// The address of version 4 that one of version 6 stands for: mapped, NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056).
fn disguised(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match (a, b, c, d, e, f) {
        // Mapped, and translated (RFC 2765).
        (0, 0, 0, 0, 0, 0xffff) | (0, 0, 0, 0, 0xffff, 0) => Some(join(g, h)),
        (0x0064, 0xff9b, 0, 0, 0, 0) | (0x0064, 0xff9b, 1, _, _, _) => Some(join(g, h)),
        (0x2002, ..) => Some(join(b, c)),
        // ISATAP (RFC 5214).
        (_, _, _, _, 0 | 0x0200, 0x5efe) => Some(join(g, h)),
        _ => None,
    }
}

/// Whom the relay reaches.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Reached although they would not be: the house's own network. `deny` goes before it.
    pub allow: Vec<Network>,
    /// Never reached.
    pub deny: Vec<Network>,
    /// Addresses of this machine, as bound and as advertised. Only `own_ports` of them are reached.
    pub own: Vec<IpAddr>,
    /// Ports of our own that are media: of legs, and of other relays.
    pub own_ports: Vec<RangeInclusive<u16>>,
}

impl Policy {
    /// Whether a permission for an address may be given. Ports of our own are looked at when data comes.
    pub fn allows_ip(&self, ip: IpAddr) -> bool {
        if !self.allows_one(ip) {
            return false;
        }
        // Who wants version 4 asks for version 4: the address inside has to be one that is reached too.
        match ip {
            IpAddr::V6(v6) => disguised(v6).is_none_or(|v4| self.allows_one(v4.into())),
            IpAddr::V4(_) => true,
        }
    }

    fn allows_one(&self, ip: IpAddr) -> bool {
        let within = |networks: &[Network]| networks.iter().any(|network| network.contains(ip));
        if within(&self.deny) {
            return false;
        }
        within(&self.allow) || self.own.contains(&ip) || !within(&INNER)
    }

    /// Whether data may go to an address.
    pub fn allows(&self, peer: SocketAddr) -> bool {
        if peer.port() == 0 || !self.allows_ip(peer.ip()) {
            return false;
        }
        let inside = match peer.ip() {
            IpAddr::V6(v6) => disguised(v6).map(IpAddr::V4),
            IpAddr::V4(_) => None,
        };
        let is_own =
            self.own.contains(&peer.ip()) || inside.is_some_and(|ip| self.own.contains(&ip));
        !is_own || self.own_ports.iter().any(|ports| ports.contains(&peer.port()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// RFC 8656 section 21; the disguises of `interop.md` 10.2.
    #[test]
    fn inner_networks_are_refused_in_every_disguise() {
        let policy = Policy::default();
        let inner = [
            "127.0.0.1",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.254",
            "169.254.169.254",
            "172.31.0.1",
            "192.168.1.1",
            "0.0.0.0",
            "192.0.0.1",
            "192.0.2.1",
            "198.19.0.1",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "100::1",
            "fd00:ec2::254",
            // The same in version 6.
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a00:1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2002:a9fe:a9fe::",
            "2001:0:1::1",
            "2600:1::5efe:a00:1",
            "2600:1::200:5efe:7f00:1",
        ];
        for address in inner {
            assert!(!policy.allows_ip(ip(address)), "{address}");
            assert!(!policy.allows(SocketAddr::new(ip(address), 443)), "{address}");
        }
        for address in [
            "192.0.1.1",
            "8.8.8.8",
            "100.128.0.1",
            "172.32.0.1",
            "2600::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(policy.allows_ip(ip(address)), "{address}");
        }
    }

    #[test]
    fn a_house_allows_its_own_network_and_denies_a_part_of_it() {
        let policy = Policy {
            allow: vec!["192.168.1.0/24".parse().unwrap(), "127.0.0.1".parse().unwrap()],
            deny: vec!["192.168.1.1".parse().unwrap(), "8.8.0.0/16".parse().unwrap()],
            ..Policy::default()
        };
        assert!(policy.allows_ip(ip("192.168.1.20")));
        assert!(policy.allows_ip(ip("127.0.0.1")));
        for address in [
            "192.168.2.20",
            "192.168.1.1",
            "::ffff:192.168.1.1",
            "127.0.0.2",
            "8.8.8.8",
            "2002:808:808::",
        ] {
            assert!(!policy.allows_ip(ip(address)), "{address}");
        }
    }

    #[test]
    fn of_our_own_addresses_media_ports_alone_are_reached() {
        let own = ip("192.168.7.5");
        let policy = Policy {
            own: vec![own, ip("8.1.1.1")],
            own_ports: vec![3479..=3480, 20_000..=29_999],
            ..Policy::default()
        };
        assert!(policy.allows_ip(own));
        for (port, is_reached) in
            [(3479, true), (25_000, true), (3478, false), (5432, false), (22, false), (0, false)]
        {
            assert_eq!(policy.allows(SocketAddr::new(own, port)), is_reached, "{port}");
            let mapped = SocketAddr::new(ip("::ffff:8.1.1.1"), port);
            assert_eq!(policy.allows(mapped), is_reached, "{mapped}");
        }
        assert!(!policy.allows_ip(ip("192.168.7.6")));
    }

    #[test]
    fn what_is_no_network_is_said() {
        for text in ["10.0.0.0/33", "::/129", "ten", "10.0.0.0/", "/8", ""] {
            assert!(text.parse::<Network>().unwrap_err().contains("is no network"), "{text}");
        }
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains(ip("9.9.9.9")));
        assert!("::/0".parse::<Network>().unwrap().contains(ip("2600::1")));
    }
}
