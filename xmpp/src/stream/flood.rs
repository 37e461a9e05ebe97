//! Bounds what one address may say about its presence over a server's stream: a flood, or a storm of probes, costs its
//! sender's presence and nobody's time (RFC 6120 section 13.12).

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Presences at once of one sender, and the time in which one more is earned.
const BURST: u32 = 100;
const EARNS: Duration = Duration::from_millis(200);
/// Most senders that are remembered of one stream; beyond them all share one measure.
const MAX_SENDERS: usize = 10_000;

/// What each sender has left.
#[derive(Debug, Default)]
pub(super) struct Flood {
    senders: HashMap<String, Bucket>,
    others: Option<Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u32,
    since: Instant,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self { left: BURST, since: now }
    }

    fn refill(&mut self, now: Instant) {
        let earned = now.saturating_duration_since(self.since).as_millis() / EARNS.as_millis();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(BURST);
            self.since +=
                EARNS.saturating_mul(earned).min(now.saturating_duration_since(self.since));
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let admitted = self.left > 0;
        self.left = self.left.saturating_sub(1);
        admitted
    }
}

impl Flood {
    /// Whether one more presence of this sender is passed on.
    pub(super) fn admits(&mut self, sender: &str, now: Instant) -> bool {
        if let Some(bucket) = self.senders.get_mut(sender) {
            return bucket.take(now);
        }
        if self.senders.len() >= MAX_SENDERS {
            // Who has a full measure again need not be remembered.
            self.senders.retain(|_, bucket| {
                bucket.refill(now);
                bucket.left < BURST
            });
        }
        if self.senders.len() >= MAX_SENDERS {
            return self.others.get_or_insert_with(|| Bucket::new(now)).take(now);
        }
        let mut bucket = Bucket::new(now);
        let admitted = bucket.take(now);
        self.senders.insert(sender.to_owned(), bucket);
        admitted
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_to_what_was_earned_and_others_are_not_cut() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        let admitted = (0..10_000).filter(|_| flood.admits("a@d", start)).count();
        assert_eq!(admitted, 100);
        assert!(flood.admits("b@d", start));
        let later = start + Duration::from_secs(2);
        assert_eq!((0..10_000).filter(|_| flood.admits("a@d", later)).count(), 10);
        let much_later = start + Duration::from_secs(3_600);
        assert_eq!((0..10_000).filter(|_| flood.admits("a@d", much_later)).count(), 100);
    }

    #[test]
    fn many_senders_are_bounded_too() {
        let (mut flood, now) = (Flood::default(), Instant::now());
        let admitted = (0..50_000).filter(|n| flood.admits(&format!("{n}@d"), now)).count();
        assert_eq!(admitted, MAX_SENDERS + BURST as usize);
        assert!(flood.senders.len() <= MAX_SENDERS);
        assert!(flood.admits("new@d", now + Duration::from_secs(60)));
    }
}
