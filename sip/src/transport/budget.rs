//! How much an address may send before anybody looks at it: a flood costs no more than its receipt, and only its sender.
//!
//! Each source has a budget that fills up evenly: an IPv4 address, or an IPv6 network of 64 bits, which is what one customer
//! has. Who has proven an account, or is in a call, has a much larger one; trunks have none. Who guesses at passwords or
//! looks around like a scanner has a tenth. The table is bounded: when it is full, strangers that are not in it share one
//! budget.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Sources that are told apart.
const MAX_SOURCES: usize = 100_000;
/// A budget that was not used holds as much as comes in this time.
const BURST: Duration = Duration::from_secs(2);
/// What is known of a source is forgotten after this time without news.
const MEMORY: Duration = Duration::from_secs(2 * 60 * 60);
/// How long a source that misbehaved has less.
const SUSPICION: Duration = Duration::from_secs(10 * 60);
/// How much more whoever is known may send, how much less who misbehaves, and how much more all strangers together that
/// there is no room to tell apart.
const KNOWN: u32 = 40;
const SUSPECT: u32 = 10;
const TOGETHER: u32 = 4;

#[derive(Debug, Clone, Copy)]
struct Source {
    /// When the budget is full again (the theoretical arrival time of GCRA).
    full_at: Instant,
    known: Option<Instant>,
    suspect: Option<Instant>,
    /// What was turned away and not told yet.
    silent: u64,
}

/// The budgets of all sources. Nothing here costs more than a look into a table.
#[derive(Debug)]
pub struct Budgets {
    /// Of a stranger, in messages a second.
    rate: u32,
    trunks: Vec<IpAddr>,
    sources: HashMap<IpAddr, Source>,
    /// Of the strangers that are not in the table.
    others: Source,
    cleaned: Instant,
    over: Vec<IpAddr>,
}

impl Budgets {
    /// `rate` is what a stranger may send in a second; what comes from `trunks` is not counted.
    #[must_use]
    pub fn new(rate: u32, trunks: impl IntoIterator<Item = IpAddr>, now: Instant) -> Self {
        let trunks = trunks.into_iter().map(|ip| ip.to_canonical()).collect();
        let (sources, others, over) = (HashMap::new(), Source::new(now), Vec::new());
        Self { rate: rate.max(1), trunks, sources, others, cleaned: now, over }
    }

    /// Charges one message to its source. False: it is more than the source may send, and is dropped unseen.
    pub fn admits(&mut self, peer: IpAddr, now: Instant) -> bool {
        let wait = self.charge(peer, now);
        if wait.is_none() {
            return true;
        }
        let key = network(peer);
        let source = self.sources.get_mut(&key).unwrap_or(&mut self.others);
        source.silent += 1;
        if source.silent == 1 {
            self.over.push(peer);
        }
        false
    }

    /// The same for what waits instead of being lost: how long until it is taken.
    pub fn wait(&mut self, peer: IpAddr, now: Instant) -> Duration {
        self.charge(peer, now).unwrap_or_default()
    }

    /// How long until one more message is within the budget; `None`: it is, and is charged.
    fn charge(&mut self, peer: IpAddr, now: Instant) -> Option<Duration> {
        if self.trunks.contains(&peer.to_canonical()) {
            return None;
        }
        let rate = self.rate;
        match self.entry(peer, now) {
            Some(source) => {
                let rate = source.rate(rate, now);
                source.charge(rate, now)
            }
            None => self.others.charge(rate.saturating_mul(TOGETHER), now),
        }
    }

    /// An account was proven from there, or a call is up.
    pub fn vouch(&mut self, peer: IpAddr, now: Instant) {
        if let Some(source) = self.entry(peer, now) {
            source.known = Some(now + MEMORY);
        }
    }

    /// A password was wrong, or a scanner was seen.
    pub fn suspect(&mut self, peer: IpAddr, now: Instant) {
        if let Some(source) = self.entry(peer, now) {
            source.suspect = Some(now + SUSPICION);
        }
    }

    /// Who sent more than it may since the last time, and how much more.
    pub fn poll_over(&mut self) -> Option<(IpAddr, u64)> {
        let peer = self.over.pop()?;
        let source = self.sources.get_mut(&network(peer)).unwrap_or(&mut self.others);
        Some((peer, std::mem::take(&mut source.silent)))
    }

    fn entry(&mut self, peer: IpAddr, now: Instant) -> Option<&mut Source> {
        let key = network(peer);
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&key) {
            // Once a second at most: a look through all for each newcomer would be a way to keep us busy.
            if now.saturating_duration_since(self.cleaned) < Duration::from_secs(1) {
                return None;
            }
            self.cleaned = now;
            self.sources.retain(|_, source| source.matters(now));
            if self.sources.len() >= MAX_SOURCES {
                return None;
            }
        }
        Some(self.sources.entry(key).or_insert_with(|| Source::new(now)))
    }
}

impl Source {
    const fn new(now: Instant) -> Self {
        Self { full_at: now, known: None, suspect: None, silent: 0 }
    }

    fn rate(&self, rate: u32, now: Instant) -> u32 {
        let lasts = |until: Option<Instant>| until.is_some_and(|until| until > now);
        match (lasts(self.known), lasts(self.suspect)) {
            // Behind one address may be a house of good phones and one that is not.
            (true, _) => rate.saturating_mul(KNOWN),
            (false, true) => (rate / SUSPECT).max(1),
            (false, false) => rate,
        }
    }

    fn charge(&mut self, rate: u32, now: Instant) -> Option<Duration> {
        let full_at = self.full_at.max(now) + Duration::from_secs(1) / rate;
        let owed = full_at.saturating_duration_since(now);
        if owed > BURST {
            return Some(owed - BURST);
        }
        self.full_at = full_at;
        None
    }

    fn matters(&self, now: Instant) -> bool {
        let lasts = |until: Option<Instant>| until.is_some_and(|until| until > now);
        self.full_at > now || self.silent > 0 || lasts(self.known) || lasts(self.suspect)
    }
}

/// What counts as one source.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of so many messages a second from there are let in within ten seconds.
    fn taken(budgets: &mut Budgets, peer: IpAddr, rate: u32, from: Instant) -> u32 {
        let at = |n: u32| from + Duration::from_secs(1) * n / rate;
        (0..10 * rate).map(|n| u32::from(budgets.admits(peer, at(n)))).sum()
    }

    #[test]
    fn a_flood_from_one_source_does_not_slow_another() {
        let now = Instant::now();
        let mut budgets = Budgets::new(1_000, [], now);
        let (bad, good) = (ip("192.0.2.66"), ip("192.0.2.7"));
        let (mut let_in, mut heard) = (0, 0);
        for ms in 0..10_000 {
            let at = now + Duration::from_millis(ms);
            let_in += (0..100).filter(|_| budgets.admits(bad, at)).count();
            heard += usize::from(budgets.admits(good, at));
        }
        assert_eq!(heard, 10_000, "all that the other sent");
        assert!((11_900..=12_100).contains(&let_in), "a burst of 2 s and 1,000 a second: {let_in}");
        let mut over = 0;
        while let Some((peer, count)) = budgets.poll_over() {
            assert_eq!(peer, bad);
            over += count;
        }
        assert_eq!(over, 1_000_000 - u64::try_from(let_in).unwrap(), "each is counted once");
    }

    #[test]
    fn who_is_known_may_send_more_who_guesses_less_and_trunks_what_they_like() {
        let now = Instant::now();
        let [stranger, known, guesser, trunk] =
            ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"].map(ip);
        let mut budgets = Budgets::new(100, [trunk], now);
        budgets.vouch(known, now);
        budgets.suspect(guesser, now);
        let mut taken = |peer| taken(&mut budgets, peer, 3_000, now);
        assert_eq!(taken(trunk), 30_000);
        assert_eq!(taken(known), 30_000);
        assert!((1_195..=1_205).contains(&taken(stranger)));
        assert!((115..=125).contains(&taken(guesser)));
        // What is known and suspected is forgotten.
        let later = now + MEMORY + SUSPICION;
        for peer in [known, guesser, stranger] {
            let taken = self::taken(&mut budgets, peer, 3_000, later);
            assert!((1_195..=1_205).contains(&taken), "{peer}: {taken}");
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_source_and_a_mapped_address_is_that_of_ipv4() {
        let now = Instant::now();
        let mut budgets = Budgets::new(100, [], now);
        let mut sum = 0;
        for n in 0..1_000_u16 {
            let peer = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, n);
            sum += u32::from(budgets.admits(peer.into(), now));
        }
        assert_eq!(sum, 200);
        assert!(budgets.admits(ip("2001:db8:0:2::1"), now));
        let mapped =
            |n: u32| if n.is_multiple_of(2) { ip("::ffff:192.0.2.1") } else { ip("192.0.2.1") };
        assert_eq!((0..1_000).map(|n| u32::from(budgets.admits(mapped(n), now))).sum::<u32>(), 200);
    }

    #[test]
    fn what_waits_is_told_how_long() {
        let now = Instant::now();
        let mut budgets = Budgets::new(10, [], now);
        let peer = ip("192.0.2.1");
        let waits: Vec<Duration> = (0..22).map(|_| budgets.wait(peer, now)).collect();
        assert!(waits[..20].iter().all(Duration::is_zero));
        assert_eq!(waits[20..], [Duration::from_millis(100); 2]);
        assert!(budgets.wait(peer, now + Duration::from_millis(100)).is_zero());
    }

    #[test]
    fn the_table_is_bounded_and_who_is_in_it_is_not_pushed_out() {
        let now = Instant::now();
        let mut budgets = Budgets::new(10, [], now);
        let known = ip("2001:db8::1");
        budgets.vouch(known, now);
        for n in 0..2 * u32::try_from(MAX_SOURCES).unwrap() {
            budgets.admits(IpAddr::from((0x0a00_0000 + n).to_be_bytes()), now);
        }
        assert_eq!(budgets.sources.len(), MAX_SOURCES);
        assert!(budgets.over.len() <= MAX_SOURCES);
        assert!(taken(&mut budgets, known, 300, now) >= 3_000);
        // A second later those that sent once have their full budget, and are forgotten.
        assert!(budgets.admits(ip("192.0.2.1"), now + Duration::from_secs(1)));
        assert!(budgets.sources.len() < 10);
    }
}
