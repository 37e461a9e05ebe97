//! Connections that are not logged in, counted by address, so that one address does not take all (RFC 6120 section 13.12).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use super::Server;

/// How many there are by address.
#[derive(Default)]
pub(super) struct Strangers(Mutex<HashMap<IpAddr, usize>>);

/// A connection that is not logged in, while this lives.
pub struct Stranger {
    server: Server,
    address: IpAddr,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let strangers = &self.server.0.strangers;
        let mut counts = strangers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

impl Server {
    /// Counts a connection until it is logged in or gone; `None` when its address has too many of them. Drivers ask
    /// before anything is done for a connection, a TLS handshake too.
    pub fn admit(&self, peer: IpAddr) -> Option<Stranger> {
        let address = network(peer);
        let mut counts = self.0.strangers.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= self.0.config.max_strangers {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Stranger { server: self.clone(), address })
    }
}

/// What one customer of a network has: an address of version 4, of version 6 all that have their first 64 bits in common.
/// Whatever is counted by address is counted by this.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_counts_as_one() {
        let table = [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ];
        for (address, expected) in table {
            assert_eq!(network(address.parse().unwrap()), expected.parse::<IpAddr>().unwrap());
        }
    }
}
