//! How fast all uploads together may be. Decryption and the disk are shared with chat: uploads take a bounded part.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A common rate: whoever has taken bytes waits until all that was taken fits the rate.
pub(super) struct Pace {
    bytes_per_second: u64,
    /// When the next byte is due.
    due: Mutex<Instant>,
}

/// What may be taken at once after a pause.
const BURST: Duration = Duration::from_millis(50);

impl Pace {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), due: Mutex::new(Instant::now()) }
    }

    /// Resolves when these bytes, which have been taken, fit the rate.
    pub(super) async fn wait(&self, bytes: u64) {
        let wait = self.take(bytes, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn take(&self, bytes: u64, now: Instant) -> Duration {
        let nanos = bytes.saturating_mul(1_000_000_000) / self.bytes_per_second;
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let from = now.checked_sub(BURST).map_or(*due, |earliest| (*due).max(earliest));
        *due = from + Duration::from_nanos(nanos);
        due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_keep_to_the_rate() {
        let pace = Pace::new(1_000_000);
        let now = Instant::now() + Duration::from_secs(1);
        let waits: Vec<_> = (0..4).map(|_| pace.take(50_000, now).as_millis()).collect();
        assert_eq!(waits, [0, 50, 100, 150]);
        // A pause does not save up more than a little.
        let later = now + Duration::from_secs(60);
        assert_eq!(pace.take(1_000_000, later).as_millis(), 950);
    }
}
