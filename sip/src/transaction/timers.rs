//! Timer values of RFC 3261 17 and RFC 6026, and a queue of deadlines that costs O(1) for them.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::{Duration, Instant},
};

/// Estimate of a round trip (T1).
pub const ROUND_TRIP: Duration = Duration::from_millis(500);
/// Longest pause between repeats (T2).
pub const LONGEST_REPEAT: Duration = Duration::from_secs(4);
/// Longest time a message stays in the network (T4).
pub const MESSAGE_LIFE: Duration = Duration::from_secs(5);
/// 64 times T1: timers B, D, F, H, J, L, M, N.
pub const GIVE_UP: Duration = Duration::from_secs(32);

/// The repeat of something sent: at T1, then doubling up to a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// When it is due.
    pub at: Instant,
    /// The pause that ends then.
    pub pause: Duration,
}

impl Repeat {
    /// The first repeat, T1 from now.
    #[must_use]
    pub fn first(now: Instant) -> Self {
        Self { at: now + ROUND_TRIP, pause: ROUND_TRIP }
    }

    /// The next one, twice as long but at most `bound` after this one.
    #[must_use]
    pub fn next(self, now: Instant, bound: Duration) -> Self {
        let pause = (self.pause * 2).min(bound);
        Self { at: now + pause, pause }
    }
}

/// Most deadlines are a few fixed pauses away from now, so each pause has a lane that is sorted by
/// construction; the rest go to a heap. None is looked for and removed: who gets a stale entry
/// ignores it. Where they are many and far away, as the half hours of calls that were over in a
/// minute, all that are stale are dropped at once; see [`Deadlines::is_crowded`].
#[derive(Debug)]
pub struct Deadlines<T> {
    lanes: Vec<(Duration, VecDeque<(Instant, T)>)>,
    heap: BinaryHeap<Reverse<(Instant, T)>>,
    /// How many were left when stale ones were dropped last.
    kept: usize,
}

const MAX_LANES: usize = 12;
/// So many are not worth looking through.
const FEW: usize = 1024;

impl<T: Ord> Default for Deadlines<T> {
    fn default() -> Self {
        Self { lanes: Vec::new(), heap: BinaryHeap::new(), kept: 0 }
    }
}

impl<T: Ord> Deadlines<T> {
    /// Remembers `token` for `at`.
    pub fn push(&mut self, now: Instant, at: Instant, token: T) {
        let pause = at.saturating_duration_since(now);
        if let Some((_, lane)) = self.lanes.iter_mut().find(|(p, _)| *p == pause) {
            if lane.back().is_none_or(|(last, _)| *last <= at) {
                lane.push_back((at, token));
                return;
            }
        } else if self.lanes.len() < MAX_LANES
            && pause.subsec_millis().is_multiple_of(50)
            && pause.subsec_nanos().is_multiple_of(1_000_000)
        {
            // Only pauses that the specification names are whole fiftieths; a remainder is not.
            self.lanes.push((pause, VecDeque::from([(at, token)])));
            return;
        }
        self.heap.push(Reverse((at, token)));
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let lanes = self.lanes.iter().filter_map(|(_, lane)| lane.front().map(|(at, _)| *at));
        lanes.chain(self.heap.peek().map(|Reverse((at, _))| *at)).min()
    }

    /// How many are remembered, stale ones included.
    pub fn count(&self) -> usize {
        self.lanes.iter().map(|(_, lane)| lane.len()).sum::<usize>() + self.heap.len()
    }

    /// Whether they have doubled since stale ones were dropped, so that looking through all costs each of them once or
    /// twice in its life.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.count() > FEW + 2 * self.kept
    }

    /// Drops those that `is_alive` does not know any more.
    pub fn drop_stale(&mut self, mut is_alive: impl FnMut(Instant, &T) -> bool) {
        for (_, lane) in &mut self.lanes {
            lane.retain(|(at, token)| is_alive(*at, token));
            lane.shrink_to(2 * lane.len());
        }
        self.heap.retain(|Reverse((at, token))| is_alive(*at, token));
        self.heap.shrink_to(2 * self.heap.len());
        self.kept = self.count();
    }

    /// Takes one token that is due.
    pub fn pop(&mut self, now: Instant) -> Option<(Instant, T)> {
        for (_, lane) in &mut self.lanes {
            if lane.front().is_some_and(|(at, _)| *at <= now) {
                return lane.pop_front();
            }
        }
        if self.heap.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            return self.heap.pop().map(|Reverse(entry)| entry);
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_out_when_due_whatever_their_lane() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        deadlines.push(start, start + GIVE_UP, 1);
        deadlines.push(start, start + ROUND_TRIP, 2);
        deadlines.push(start, start + Duration::from_micros(7), 3);
        assert_eq!(deadlines.next(), Some(start + Duration::from_micros(7)));
        assert_eq!(deadlines.pop(start), None);
        let due = start + ROUND_TRIP;
        let mut popped: Vec<i32> =
            std::iter::from_fn(|| deadlines.pop(due)).map(|(_, token)| token).collect();
        popped.sort_unstable();
        assert_eq!(popped, [2, 3]);
        assert_eq!(deadlines.next(), Some(start + GIVE_UP));
    }

    #[test]
    fn what_is_stale_is_dropped_when_it_has_become_much() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        let far = Duration::from_secs(900);
        for n in 0..100_000_u64 {
            let now = start + Duration::from_micros(n);
            // Two of three in a lane, the others in the heap; each is stale soon, but for every thousandth.
            let at = now + far + Duration::from_micros(if n % 3 == 0 { 7 } else { 0 });
            deadlines.push(now, at, n);
            if deadlines.is_crowded() {
                deadlines.drop_stale(|_, token| token % 1_000 == 0 || n - token < 10);
            }
            assert!(deadlines.count() <= 2 * FEW + 4 * (n as usize / 1_000 + 10), "{n}");
        }
        let end = start + 2 * far;
        let left: Vec<u64> =
            std::iter::from_fn(|| deadlines.pop(end)).map(|(_, token)| token).collect();
        assert_eq!(left.iter().filter(|token| *token % 1_000 == 0).count(), 100);
    }
}
