//! One allocation: its relayed addresses, permissions, channels and time (RFC 8656 sections 5, 9 and 12).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bucket::Bucket;
use super::request::Family;
use super::{Client, RelayId};
use crate::stun::TransactionId;

/// For how long a permission holds (section 9).
const PERMISSION: Duration = Duration::from_secs(300);
/// For how long a channel is bound, and for how long after that its number and peer rest (section 12).
const CHANNEL: Duration = Duration::from_secs(600);
const CHANNEL_REST: Duration = Duration::from_secs(300);
/// Most of each for one allocation.
const MAX_PERMISSIONS: usize = 64;
const MAX_CHANNELS: usize = 64;

/// A relayed address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Relay {
    pub(super) id: RelayId,
    pub(super) address: SocketAddr,
}

pub(super) struct Allocation {
    pub(super) client: Client,
    pub(super) owner: Arc<str>,
    /// The request it was made by: it may come again.
    pub(super) made_by: TransactionId,
    pub(super) lifetime: Duration,
    pub(super) expires: Instant,
    pub(super) relays: [Option<Relay>; 2],
    /// The half of a pair that could not be had: its family and error.
    pub(super) missing: Option<(Family, u16)>,
    pub(super) token: Option<[u8; 8]>,
    pub(super) bandwidth: Bucket,
    permissions: Vec<(IpAddr, Instant)>,
    channels: Vec<Channel>,
}

#[derive(Debug, Clone, Copy)]
struct Channel {
    number: u16,
    peer: SocketAddr,
    expires: Instant,
}

/// Why a channel is not bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unbound {
    /// The number is another peer's, or the peer has another number: 400.
    Taken,
    /// 508.
    Full,
}

impl Allocation {
    pub(super) fn new(
        client: Client,
        owner: Arc<str>,
        made_by: TransactionId,
        lifetime: Duration,
        bandwidth: Bucket,
        now: Instant,
    ) -> Self {
        Self {
            client,
            owner,
            made_by,
            lifetime,
            expires: now + lifetime,
            relays: [None; 2],
            missing: None,
            token: None,
            bandwidth,
            permissions: Vec::new(),
            channels: Vec::new(),
        }
    }

    /// The relayed address of a family.
    pub(super) fn relay(&self, family: Family) -> Option<Relay> {
        self.relays.iter().flatten().find(|r| Family::of(r.address.ip()) == family).copied()
    }

    pub(super) fn is_permitted(&self, ip: IpAddr, now: Instant) -> bool {
        self.permissions.iter().any(|(own, expires)| *own == ip && *expires > now)
    }

    /// Installs or refreshes permissions; none of them when there is no room for all.
    pub(super) fn permit(&mut self, peers: &[IpAddr], now: Instant) -> bool {
        self.permissions.retain(|(_, expires)| *expires > now);
        let is_new = |ip: &&IpAddr| !self.permissions.iter().any(|(own, _)| own == *ip);
        if self.permissions.len() + peers.iter().filter(is_new).count() > MAX_PERMISSIONS {
            return false;
        }
        for ip in peers {
            match self.permissions.iter_mut().find(|(own, _)| own == ip) {
                Some((_, expires)) => *expires = now + PERMISSION,
                None => self.permissions.push((*ip, now + PERMISSION)),
            }
        }
        true
    }

    /// Binds a channel or keeps it bound, and permits its peer (section 12.2).
    pub(super) fn bind(
        &mut self,
        number: u16,
        peer: SocketAddr,
        now: Instant,
    ) -> Result<(), Unbound> {
        self.channels.retain(|channel| channel.expires + CHANNEL_REST > now);
        let own = self.channels.iter().find(|c| c.number == number || c.peer == peer);
        let is_bound = match own {
            Some(channel) if channel.number != number || channel.peer != peer => {
                return Err(Unbound::Taken);
            }
            None if self.channels.len() >= MAX_CHANNELS => return Err(Unbound::Full),
            own => own.is_some(),
        };
        if !self.permit(&[peer.ip()], now) {
            return Err(Unbound::Full);
        }
        let expires = now + CHANNEL;
        if is_bound {
            let own = self.channels.iter_mut().filter(|channel| channel.number == number);
            own.for_each(|channel| channel.expires = expires);
        } else {
            self.channels.push(Channel { number, peer, expires });
        }
        Ok(())
    }

    /// The peer of a channel.
    pub(super) fn channel_peer(&self, number: u16, now: Instant) -> Option<SocketAddr> {
        let channel = self.channels.iter().find(|channel| channel.number == number)?;
        (channel.expires > now).then_some(channel.peer)
    }

    /// The channel of a peer.
    pub(super) fn channel_of(&self, peer: SocketAddr, now: Instant) -> Option<u16> {
        let channel = self.channels.iter().find(|channel| channel.peer == peer)?;
        (channel.expires > now).then_some(channel.number)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests {
    use super::*;
    use crate::turn::Transport;

    fn allocation(now: Instant) -> Allocation {
        let remote = "198.51.100.1:40000".parse().unwrap();
        let client = Client { listener: 0, remote, transport: Transport::Udp };
        let bandwidth = Bucket::new(1, now);
        Allocation::new(client, "ana".into(), [0; 12], Duration::from_secs(600), bandwidth, now)
    }

    /// RFC 8656 section 12: one number, one peer; five minutes of rest.
    #[test]
    fn a_channel_is_of_one_peer_until_it_has_rested() {
        let now = Instant::now();
        let (a, b): (SocketAddr, SocketAddr) =
            ("8.8.8.8:1".parse().unwrap(), "8.8.8.8:2".parse().unwrap());
        let mut allocation = allocation(now);
        assert_eq!(allocation.bind(0x4000, a, now), Ok(()));
        assert_eq!(allocation.bind(0x4000, a, now), Ok(()));
        assert_eq!(allocation.bind(0x4000, b, now), Err(Unbound::Taken));
        assert_eq!(allocation.bind(0x4001, a, now), Err(Unbound::Taken));
        assert_eq!(allocation.channel_peer(0x4000, now), Some(a));
        assert_eq!(allocation.channel_of(a, now), Some(0x4000));
        let ended = now + CHANNEL;
        assert_eq!(allocation.channel_peer(0x4000, ended), None);
        assert_eq!(allocation.channel_of(a, ended), None);
        assert_eq!(allocation.bind(0x4000, b, ended), Err(Unbound::Taken));
        assert_eq!(allocation.bind(0x4000, b, ended + CHANNEL_REST), Ok(()));
    }

    #[test]
    fn a_permission_is_of_an_address_for_five_minutes() {
        let now = Instant::now();
        let ip: IpAddr = "8.8.8.8".parse().unwrap();
        let mut allocation = allocation(now);
        assert!(!allocation.is_permitted(ip, now));
        assert!(allocation.permit(&[ip], now));
        assert!(allocation.is_permitted(ip, now + PERMISSION - Duration::from_secs(1)));
        assert!(!allocation.is_permitted(ip, now + PERMISSION));
        let many: Vec<IpAddr> =
            (0..MAX_PERMISSIONS as u32).map(|n| IpAddr::from(n.to_be_bytes())).collect();
        assert!(!allocation.permit(&many, now), "all or none");
        assert!(!allocation.is_permitted(many[0], now));
        assert!(allocation.permit(&many, now + PERMISSION));
    }
}
