//! Places that did not answer (RFC 3263 section 4.3): tried again only after a while.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Hop, Protocol};

/// How long a place is left alone that did not say itself how long.
pub const PAUSE: Duration = Duration::from_secs(30);
/// The longest pause that a Retry-After is taken for.
const MAX_PAUSE: Duration = Duration::from_secs(600);
/// Places remembered at once.
const MAX: usize = 10_000;

/// Which places are left alone until when.
#[derive(Debug, Default)]
pub struct Avoided(HashMap<(Protocol, SocketAddr), Instant>);

impl Avoided {
    /// This place did not answer, or asked for a pause.
    pub fn add(&mut self, protocol: Protocol, address: SocketAddr, pause: Duration, now: Instant) {
        if self.0.len() >= MAX {
            self.0.retain(|_, until| *until > now);
        }
        if self.0.len() < MAX {
            self.0.insert((protocol, address), now + pause.min(MAX_PAUSE));
        }
    }

    /// It answered.
    pub fn forgive(&mut self, protocol: Protocol, address: SocketAddr) {
        self.0.remove(&(protocol, address));
    }

    /// Whether it is to be left alone.
    pub fn has(&self, protocol: Protocol, address: SocketAddr, now: Instant) -> bool {
        self.0.get(&(protocol, address)).is_some_and(|until| *until > now)
    }

    /// Puts the places to be left alone behind the others: where all failed, they are better than nothing.
    pub fn sort(&self, hops: &mut [Hop], now: Instant) {
        hops.sort_by_key(|hop| self.has(hop.protocol, hop.address, now));
    }
}
