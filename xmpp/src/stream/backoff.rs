//! When a domain that could not be reached is tried again (RFC 6120 section 3.3).

use std::time::{Duration, Instant};

const FIRST_RETRY: Duration = Duration::from_secs(1);
const FIRST_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(300);

/// The attempts for one queue: again and again, twice as long after each, until what waits has waited long enough.
#[derive(Debug, Clone)]
pub struct Retries {
    until: Instant,
    next: Duration,
}

impl Retries {
    /// What waits since `now` may wait for `patience`.
    pub fn new(now: Instant, patience: Duration) -> Self {
        Self { until: now + patience, next: FIRST_RETRY }
    }

    /// An attempt has failed: when to try again, or `None` to give up.
    pub fn failed(&mut self, now: Instant) -> Option<Instant> {
        let at = now + self.next;
        self.next *= 2;
        (at < self.until).then_some(at)
    }
}

/// The rest that a domain is given after its queue was given back: nobody waits for it meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Rest {
    until: Instant,
    length: Duration,
}

impl Rest {
    /// After a failure at `now`; longer when it follows `before`.
    pub fn after(before: Option<Self>, now: Instant) -> Self {
        let length = before.map_or(FIRST_REST, |rest| (rest.length * 2).min(LONGEST_REST));
        Self { until: now + length, length }
    }

    /// Whether it lasts.
    pub fn lasts(&self, now: Instant) -> bool {
        now < self.until
    }

    /// Whether it is so long over that the domain counts as new.
    pub fn is_forgotten(&self, now: Instant) -> bool {
        now >= self.until + LONGEST_REST
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_tried_for_as_long_as_it_may_wait() {
        let start = Instant::now();
        let mut retries = Retries::new(start, Duration::from_secs(30));
        let (mut now, mut waits) = (start, Vec::new());
        while let Some(at) = retries.failed(now) {
            waits.push((at - now).as_secs());
            now = at;
        }
        assert_eq!(waits, [1, 2, 4, 8]);
    }

    #[test]
    fn a_domain_that_stays_away_rests_longer_each_time() {
        let mut now = Instant::now();
        let mut rest: Option<Rest> = None;
        for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
            let next = Rest::after(rest, now);
            assert!(next.lasts(now + Duration::from_secs(seconds - 1)));
            now += Duration::from_secs(seconds);
            assert!(!next.lasts(now) && !next.is_forgotten(now));
            assert!(next.is_forgotten(now + LONGEST_REST));
            rest = Some(next);
        }
    }
}
