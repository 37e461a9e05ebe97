//! How fast one client may send (RFC 6120 section 13.12): a bucket of tokens that fills with time.

use std::time::{Duration, Instant};

/// Settings of one bucket. The defaults of both kinds are those of `[xmpp]` in the configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Tokens that come back in a second; zero for no limit.
    pub per_second: u32,
    /// Tokens that may be used at once.
    pub burst: u32,
}

impl Rate {
    /// So many a second, and four times as many at once.
    pub fn of(per_second: u32) -> Self {
        Self { per_second, burst: per_second.saturating_mul(4) }
    }
}

/// A bucket. It may be overdrawn; what is owed is waited for before anything more is taken.
#[derive(Debug, Clone)]
pub struct Bucket {
    rate: Rate,
    tokens: f64,
    at: Instant,
    /// Since when it has never been half full.
    low_since: Option<Instant>,
}

impl Bucket {
    /// A full bucket.
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, tokens: f64::from(rate.burst), at: now, low_since: None }
    }

    /// Takes tokens out and says how long to wait before the next are taken.
    pub fn take(&mut self, tokens: usize, now: Instant) -> Duration {
        if self.rate.per_second == 0 {
            return Duration::ZERO;
        }
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        let burst = f64::from(self.rate.burst);
        self.at = now;
        self.tokens = (self.tokens + elapsed * f64::from(self.rate.per_second)).min(burst);
        if self.tokens >= burst / 2.0 {
            self.low_since = None;
        }
        self.tokens -= tokens as f64;
        if self.tokens >= 0.0 {
            return Duration::ZERO;
        }
        self.low_since.get_or_insert(now);
        Duration::from_secs_f64(-self.tokens / f64::from(self.rate.per_second))
    }

    /// How long the limit has been reached without a pause.
    pub fn low_for(&self, now: Instant) -> Duration {
        self.low_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 20 };

    #[test]
    fn a_burst_passes_and_what_is_owed_is_waited_for() {
        let start = Instant::now();
        let mut bucket = Bucket::new(RATE, start);
        assert_eq!(bucket.take(20, start), Duration::ZERO);
        assert_eq!(bucket.take(5, start), Duration::from_millis(500));
        let later = start + Duration::from_millis(500);
        assert_eq!(bucket.take(0, later), Duration::ZERO);
        assert_eq!(bucket.take(20, later + Duration::from_secs(60)), Duration::ZERO);
    }

    #[test]
    fn who_never_pauses_is_known_for_it() {
        let start = Instant::now();
        let mut bucket = Bucket::new(RATE, start);
        let mut now = start;
        for _ in 0..100 {
            now += bucket.take(15, now);
        }
        assert!(bucket.low_for(now) > Duration::from_secs(100), "{:?}", bucket.low_for(now));
        now += Duration::from_secs(2);
        bucket.take(1, now);
        assert_eq!(bucket.low_for(now), Duration::ZERO);
    }

    #[test]
    fn no_rate_is_no_limit() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Rate { per_second: 0, burst: 0 }, start);
        assert_eq!(bucket.take(usize::MAX, start), Duration::ZERO);
    }
}
