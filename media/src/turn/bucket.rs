//! Token buckets: how much an allocation carries, and how often an address is told that it is a stranger (RFC 8656
//! section 5: a server may limit what a client uses).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// A bucket that fills steadily. Empty it refuses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    tokens: u64,
    filled: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(size: u64, now: Instant) -> Self {
        Self { tokens: size, filled: now }
    }

    /// Takes some, if there are as many. `rate` is what comes in a second, `size` what fits.
    pub(super) fn take(&mut self, amount: u64, rate: u64, size: u64, now: Instant) -> bool {
        if self.tokens < amount {
            // Filled when needed only: most takes are one comparison.
            let elapsed = now.saturating_duration_since(self.filled);
            let nanos = u128::from(rate) * elapsed.as_nanos() / 1_000_000_000;
            let more = u64::try_from(nanos).unwrap_or(u64::MAX);
            if more > 0 {
                self.tokens = self.tokens.saturating_add(more).min(size);
                self.filled = now;
            }
        }
        if self.tokens < amount {
            return false;
        }
        self.tokens -= amount;
        true
    }
}

/// Buckets of addresses, networks of version 6 by their first 64 bits. Bounded: when full, those that are full again
/// are forgotten, and while none is, strangers share one.
#[derive(Debug)]
pub(super) struct Sources {
    buckets: HashMap<IpAddr, Bucket>,
    rest: Bucket,
    rate: u64,
    swept: Instant,
}

const MAX_SOURCES: usize = 20_000;
const SWEEP: Duration = Duration::from_secs(10);

impl Sources {
    pub(super) fn new(rate: u64, now: Instant) -> Self {
        Self { buckets: HashMap::new(), rest: Bucket::new(rate * 2, now), rate, swept: now }
    }

    /// Whether an address may have one more answer that costs it nothing.
    pub(super) fn take(&mut self, ip: IpAddr, now: Instant) -> bool {
        let (rate, size) = (self.rate, self.rate * 2);
        let source = network(ip);
        if self.buckets.len() >= MAX_SOURCES
            && !self.buckets.contains_key(&source)
            && now.saturating_duration_since(self.swept) >= SWEEP
        {
            self.swept = now;
            self.buckets.retain(|_, bucket| now.saturating_duration_since(bucket.filled) < SWEEP);
        }
        if self.buckets.len() >= MAX_SOURCES && !self.buckets.contains_key(&source) {
            return self.rest.take(1, rate, size, now);
        }
        let bucket = self.buckets.entry(source).or_insert_with(|| Bucket::new(size, now));
        bucket.take(1, rate, size, now)
    }
}

/// An address as it is counted: one customer has a whole /64.
pub(super) fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        },
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_rate_and_no_more() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start);
        let taken = (0..20).filter(|_| bucket.take(1, 5, 10, start)).count();
        assert_eq!(taken, 10);
        let mut given = 0;
        for tenth in 1..=100 {
            let now = start + Duration::from_millis(100 * tenth);
            given += (0..5).filter(|_| bucket.take(1, 5, 10, now)).count();
        }
        assert_eq!(given, 50, "ten seconds at five a second");
    }

    #[test]
    fn addresses_are_counted_apart_and_networks_of_version_6_together() {
        let now = Instant::now();
        let mut sources = Sources::new(2, now);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let taken = |sources: &mut Sources, text: &str| {
            (0..10).filter(|_| sources.take(ip(text), now)).count()
        };
        assert_eq!(taken(&mut sources, "192.0.2.1"), 4);
        assert_eq!(taken(&mut sources, "192.0.2.2"), 4);
        assert_eq!(taken(&mut sources, "::ffff:192.0.2.2"), 0);
        assert_eq!(taken(&mut sources, "2600::1"), 4);
        assert_eq!(taken(&mut sources, "2600::2"), 0);
        for n in 0..MAX_SOURCES + 10 {
            sources.take(Ipv6Addr::from_bits((n as u128) << 64).into(), now);
        }
        assert!(sources.buckets.len() <= MAX_SOURCES);
    }
}
