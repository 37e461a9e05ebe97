//! Lines for whoever watches a server under attack: one of a kind within a second, with how many there were.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between lines of one kind.
const PAUSE: Duration = Duration::from_secs(1);

/// Remembers of what kind a line was written, and when.
#[derive(Debug)]
pub struct Audit<K>(Mutex<HashMap<K, (Instant, u64)>>);

impl<K> Default for Audit<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq> Audit<K> {
    /// Whether a line is written now for so many of a kind; gives how many were not written since the last line.
    pub fn may_say(&self, kind: K, count: u64, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kinds.get_mut(&kind) {
            Some((at, silent)) if now.saturating_duration_since(*at) < PAUSE => {
                *silent += count;
                None
            }
            Some(known) => Some(std::mem::replace(known, (now, 0)).1 + count.saturating_sub(1)),
            None => {
                kinds.insert(kind, (now, 0));
                Some(count.saturating_sub(1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)] // an origin for virtual time
    fn a_kind_is_said_once_a_second_with_the_number_of_others() {
        let (audit, now) = (Audit::default(), Instant::now());
        let later = now + PAUSE;
        let said: Vec<_> =
            [("a", now), ("a", now), ("b", now), ("a", now), ("a", later), ("a", later)]
                .map(|(kind, at)| audit.may_say(kind, 1, at))
                .into();
        assert_eq!(said, [Some(0), None, Some(0), None, Some(2), None]);
    }
}
