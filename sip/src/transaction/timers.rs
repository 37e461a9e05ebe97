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
/// construction; the rest go to a heap. Nothing is ever removed early: who gets a stale entry
/// ignores it.
#[derive(Debug)]
pub struct Deadlines<T> {
    lanes: Vec<(Duration, VecDeque<(Instant, T)>)>,
    heap: BinaryHeap<Reverse<(Instant, T)>>,
}

const MAX_LANES: usize = 12;

impl<T: Ord> Default for Deadlines<T> {
    fn default() -> Self {
        Self { lanes: Vec::new(), heap: BinaryHeap::new() }
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
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.lanes.iter().map(|(_, lane)| lane.len()).sum::<usize>() + self.heap.len()
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
}
