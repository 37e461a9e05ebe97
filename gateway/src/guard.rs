//! Wrong passwords are slowed, per address and per account, over all protocols.
//!
//! After three free mistakes each further one doubles the wait, up to a minute; a quarter of an hour without mistakes
//! forgets. `now` is passed in; the table is bounded, and full it forgets the oldest.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const FREE: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const FORGET: Duration = Duration::from_secs(15 * 60);
const MAX_ENTRIES: usize = 50_000;

#[derive(Debug, Clone, Copy)]
struct Mistakes {
    count: u32,
    last: Instant,
}

/// Who made how many mistakes.
#[derive(Debug, Default)]
pub struct Guard(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    peers: HashMap<IpAddr, Mistakes>,
    accounts: HashMap<String, Mistakes>,
}

impl Guard {
    /// How long the answer to an attempt must wait.
    pub fn delay(&self, peer: IpAddr, account: &str, now: Instant) -> Duration {
        let tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wait(tables.peers.get(&peer), now).max(wait(tables.accounts.get(account), now))
    }

    /// How much of that wait is left: for protocols where a refusal says when to come again. `None`: nothing.
    pub fn remaining(&self, peer: IpAddr, account: &str, now: Instant) -> Option<Duration> {
        let tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |mistakes: Option<&Mistakes>| {
            let mistakes = mistakes?;
            wait(Some(mistakes), now).checked_sub(now.saturating_duration_since(mistakes.last))
        };
        let left = left(tables.peers.get(&peer)).max(left(tables.accounts.get(account)));
        left.filter(|left| !left.is_zero())
    }

    /// An attempt ended.
    pub fn tried(&self, peer: IpAddr, account: &str, success: bool, now: Instant) {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if success {
            tables.peers.remove(&peer);
            tables.accounts.remove(account);
        } else {
            count(&mut tables.peers, peer, now);
            count(&mut tables.accounts, account.to_owned(), now);
        }
    }
}

fn wait(mistakes: Option<&Mistakes>, now: Instant) -> Duration {
    match mistakes {
        Some(m) if m.count >= FREE && now.saturating_duration_since(m.last) < FORGET => {
            FIRST_WAIT.saturating_mul(1 << (m.count - FREE).min(16)).min(LONGEST_WAIT)
        }
        _ => Duration::ZERO,
    }
}

fn count<K: Eq + Hash + Clone>(table: &mut HashMap<K, Mistakes>, key: K, now: Instant) {
    if table.len() >= MAX_ENTRIES && !table.contains_key(&key) {
        table.retain(|_, m| now.saturating_duration_since(m.last) < FORGET);
        if table.len() >= MAX_ENTRIES {
            let oldest = table.iter().min_by_key(|(_, m)| m.last).map(|(k, _)| k.clone());
            oldest.and_then(|k| table.remove(&k));
        }
    }
    let mistakes = table.entry(key).or_insert(Mistakes { count: 0, last: now });
    if now.saturating_duration_since(mistakes.last) >= FORGET {
        mistakes.count = 0;
    }
    mistakes.count += 1;
    mistakes.last = now;
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_cost_more_and_more_and_are_forgotten() {
        let guard = Guard::default();
        let (peer, now) = (IpAddr::from([192, 0, 2, 1]), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..6 {
            waits.push(guard.delay(peer, "ana", now).as_millis());
            guard.tried(peer, "ana", false, now);
        }
        assert_eq!(waits, [0, 0, 0, 500, 1_000, 2_000]);
        // Another address is slowed for this account, this address for another account, nobody else.
        let other = IpAddr::from([192, 0, 2, 2]);
        assert!(!guard.delay(other, "ana", now).is_zero());
        assert!(!guard.delay(peer, "bob", now).is_zero());
        assert!(guard.delay(other, "bob", now).is_zero());
        assert!(guard.delay(peer, "ana", now + FORGET).is_zero());
        guard.tried(peer, "ana", true, now);
        assert!(guard.delay(peer, "ana", now).is_zero());
    }

    #[test]
    fn the_table_does_not_grow_without_bound() {
        let guard = Guard::default();
        let now = Instant::now();
        for n in 0..MAX_ENTRIES as u32 + 20 {
            guard.tried(
                IpAddr::from(n.to_be_bytes()),
                "x",
                false,
                now + Duration::from_nanos(n.into()),
            );
        }
        assert!(guard.0.lock().unwrap().peers.len() == MAX_ENTRIES);
    }
}
