//! How many connections one address may have at the TLS and HTTPS listeners before it is known who they are of: many
//! that send nothing, or little, must not take the places of others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tandem_xmpp::service::network;

/// Who is there. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Visitors(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection, counted while this lives.
#[derive(Debug)]
pub(crate) struct Visit {
    visitors: Visitors,
    address: IpAddr,
}

impl Visitors {
    /// So many from one address, or network of version 6.
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Inner { most, counts: Mutex::default() }))
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets one in; `None` when there are too many of its address.
    pub(crate) fn enter(&self, peer: IpAddr) -> Option<Visit> {
        let address = network(peer);
        let mut counts = self.counts();
        let count = counts.get(&address).copied().unwrap_or_default();
        if count >= self.0.most {
            return None;
        }
        counts.insert(address, count + 1);
        drop(counts);
        Some(Visit { visitors: self.clone(), address })
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut counts = self.visitors.counts();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_takes_nobody_elses() {
        let visitors = Visitors::new(2);
        let enter = |address: &str| visitors.enter(address.parse().unwrap());
        let first = enter("2001:db8::1").unwrap();
        let _second = enter("2001:db8::2").unwrap();
        assert!(enter("2001:db8::3").is_none());
        let _other = enter("192.0.2.1").unwrap();
        drop(first);
        assert!(enter("2001:db8::3").is_some());
        assert_eq!(visitors.counts().len(), 2, "who has left is forgotten");
    }
}
