//! Wrong passwords are slowed, per address and per account, over all protocols.
//!
//! After three free mistakes each further one doubles the wait, up to a minute for an address; a quarter of an hour
//! without mistakes forgets. Who guesses at an account from many addresses slows its owner too, but never so much that
//! a client would give up. `now` is passed in; the tables are bounded, and full they forget the oldest.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tandem_xmpp::service::network;

const FREE: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The longest for an account: its owner must still get in while others guess.
const LONGEST_FOR_ACCOUNT: Duration = Duration::from_secs(4);
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
        let peer = wait(tables.peers.get(&network(peer)), LONGEST_WAIT, now);
        peer.max(wait(tables.accounts.get(account), LONGEST_FOR_ACCOUNT, now))
    }

    /// How much of that wait is left: for protocols where a refusal says when to come again. `None`: nothing.
    pub fn remaining(&self, peer: IpAddr, account: &str, now: Instant) -> Option<Duration> {
        let tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |mistakes: Option<&Mistakes>, longest| {
            let wait = wait(mistakes, longest, now);
            wait.checked_sub(now.saturating_duration_since(mistakes?.last))
        };
        let left = left(tables.peers.get(&network(peer)), LONGEST_WAIT)
            .max(left(tables.accounts.get(account), LONGEST_FOR_ACCOUNT));
        left.filter(|left| !left.is_zero())
    }

    /// An attempt ended. Success forgives the mistakes with this account and no others: who has an account of their own
    /// does not guess at those of others the faster for it.
    pub fn tried(&self, peer: IpAddr, account: &str, success: bool, now: Instant) {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = network(peer);
        if success {
            let forgiven = tables.accounts.remove(account).map_or(0, |mistakes| mistakes.count);
            if let Some(mistakes) = tables.peers.get_mut(&peer) {
                mistakes.count = mistakes.count.saturating_sub(forgiven);
            }
        } else {
            count(&mut tables.peers, peer, now);
            count(&mut tables.accounts, account.to_owned(), now);
        }
    }
}

fn wait(mistakes: Option<&Mistakes>, longest: Duration, now: Instant) -> Duration {
    match mistakes {
        Some(m) if m.count >= FREE && now.saturating_duration_since(m.last) < FORGET => {
            FIRST_WAIT.saturating_mul(1 << (m.count - FREE).min(16)).min(longest)
        }
        _ => Duration::ZERO,
    }
}

fn count<K: Eq + Hash + Clone>(table: &mut HashMap<K, Mistakes>, key: K, now: Instant) {
    if table.len() >= MAX_ENTRIES && !table.contains_key(&key) {
        table.retain(|_, m| now.saturating_duration_since(m.last) < FORGET);
        if table.len() >= MAX_ENTRIES {
            // Many at once: a look through all of them for each new one would be a way to keep us busy.
            let mut times: Vec<Instant> = table.values().map(|m| m.last).collect();
            let (_, oldest, _) = times.select_nth_unstable(MAX_ENTRIES / 10);
            let oldest = *oldest;
            table.retain(|_, m| m.last > oldest);
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

    /// Nobody is shut out of the own account by others who guess at it, nor let guess faster by having one.
    #[test]
    fn owners_get_in_and_their_success_forgives_only_their_own_mistakes() {
        let guard = Guard::default();
        let (owner, now) = (IpAddr::from([192, 0, 2, 1]), Instant::now());
        for n in 0..50 {
            guard.tried(IpAddr::from([198, 51, 100, n]), "ana", false, now);
        }
        assert_eq!(guard.delay(owner, "ana", now), LONGEST_FOR_ACCOUNT);
        assert_eq!(guard.remaining(owner, "ana", now), Some(LONGEST_FOR_ACCOUNT));
        let insider = IpAddr::from([203, 0, 113, 1]);
        for name in ["bob", "carl", "dora", "emil", "fritz"] {
            guard.tried(insider, name, false, now);
            guard.tried(insider, "own", true, now);
        }
        assert!(!guard.delay(insider, "gerd", now).is_zero());
        // Mistyped and then got right: nothing is left of it.
        for success in [false, false, false, false, true] {
            guard.tried(owner, "hans", success, now);
        }
        assert!(guard.delay(owner, "hans", now).is_zero());
    }

    #[test]
    fn a_network_of_version_6_is_one_guesser() {
        let guard = Guard::default();
        let now = Instant::now();
        for n in 0..9 {
            let peer = format!("2001:db8:1:2::{n}").parse().unwrap();
            guard.tried(peer, &format!("name{n}"), false, now);
        }
        let same = "2001:db8:1:2:ffff::1".parse().unwrap();
        let other = "2001:db8:1:3::1".parse().unwrap();
        assert_eq!(guard.delay(same, "ana", now), FIRST_WAIT * 64);
        assert!(guard.delay(other, "ana", now).is_zero());
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
        let peers = guard.0.lock().unwrap().peers.len();
        assert!((MAX_ENTRIES / 2..=MAX_ENTRIES).contains(&peers), "{peers}");
    }
}
