//! Keys pressed elsewhere than in the audio, sent as telephone events (RFC 4733 section 2.5.1), or as tones.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Keys that wait behind the one that sounds; further ones are not taken.
const MAX_WAITING: usize = 32;
/// Between two packets of an event.
const STEP: Duration = Duration::from_millis(20);
/// Shorter ones are not noticed by every receiver.
const SHORTEST: Duration = Duration::from_millis(60);
/// A duration field of 16 bits holds this also at 48 kHz, so that no event needs segments (section 2.5.1.3).
const LONGEST: Duration = Duration::from_millis(1_300);
/// The last packet is sent so often (section 2.5.1.4).
const ENDS: u32 = 3;
/// Power in -dBm0, in the low six bits (section 2.3.4).
const VOLUME: u8 = 10;

/// The keys that a leg's peer is still to hear.
#[derive(Debug, Default)]
pub struct Digits {
    waiting: VecDeque<(u8, Duration)>,
    current: Option<Current>,
    at: Option<Instant>,
    /// Tells events of this leg apart.
    number: u32,
}

#[derive(Debug)]
struct Current {
    event: u8,
    steps: u32,
    total: u32,
    ends: u32,
}

/// One packet of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Of this event; the same for all of its packets.
    pub number: u32,
    /// Set on the first packet.
    pub marker: bool,
    /// The payload.
    pub payload: [u8; 4],
    /// Ticks of the whole event, with its last packet.
    pub ended: Option<u32>,
    /// Ticks of the event before this packet; `None` where the packet only repeats its end.
    pub before: Option<u32>,
}

impl Digits {
    /// One more key; false when too many wait.
    pub fn push(&mut self, event: u8, duration: Duration, now: Instant) -> bool {
        if self.waiting.len() >= MAX_WAITING {
            return false;
        }
        self.waiting.push_back((event, duration.clamp(SHORTEST, LONGEST)));
        self.at.get_or_insert(now);
        true
    }

    /// Whether an event is being sent, which takes the place of the voice (section 2.2).
    pub fn sounds(&self) -> bool {
        self.current.is_some()
    }

    /// When the next packet is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.at
    }

    /// The packet that is due, in this clock.
    pub fn next(&mut self, clock: u32, now: Instant) -> Option<Step> {
        let at = self.at.filter(|at| now >= *at)?;
        if self.current.is_none() {
            let Some((event, duration)) = self.waiting.pop_front() else {
                self.at = None;
                return None;
            };
            let total = u32::try_from(duration.as_millis().div_ceil(STEP.as_millis())).unwrap_or(1);
            self.number = self.number.wrapping_add(1);
            self.current = Some(Current { event, steps: 0, total, ends: 0 });
        }
        let current = self.current.as_mut()?;
        current.steps = (current.steps + 1).min(current.total);
        let is_last = current.steps == current.total;
        if is_last {
            current.ends += 1;
        }
        let ticks = u64::from(current.steps) * u64::from(clock) * 20 / 1_000;
        let ticks = u16::try_from(ticks).unwrap_or(u16::MAX);
        let [high, low] = ticks.to_be_bytes();
        let end = if is_last { 0x80 } else { 0 };
        let is_over = current.ends == ENDS;
        let step = Step {
            number: self.number,
            marker: current.steps == 1 && current.ends == 0,
            payload: [current.event, end | VOLUME, high, low],
            ended: is_over.then_some(u32::from(ticks)),
            before: (current.ends <= 1).then_some((current.steps - 1) * clock / 50),
        };
        // A driver that was late does not hurry after: a key is as long as its packets say.
        let base = if now.saturating_duration_since(at) > STEP { now } else { at };
        self.at = Some(base + if is_over { 3 * STEP } else { STEP });
        if is_over {
            self.current = None;
        }
        Some(step)
    }

    /// Nothing can be sent to the peer: what waits is dropped. How many keys that were.
    pub fn clear(&mut self) -> usize {
        let lost = self.waiting.len() + usize::from(self.current.is_some());
        self.waiting.clear();
        self.current = None;
        self.at = None;
        lost
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests {
    use super::*;

    /// All packets, with the milliseconds at which they left.
    fn packets(digits: &mut Digits, start: Instant) -> Vec<(u128, Step)> {
        let mut sent = Vec::new();
        while let Some(at) = digits.poll_timeout() {
            if let Some(step) = digits.next(8_000, at) {
                sent.push((at.duration_since(start).as_millis(), step));
            }
        }
        sent
    }

    #[test]
    fn an_event_grows_ends_three_times_and_leaves_room_to_the_next() {
        let start = Instant::now();
        let mut digits = Digits::default();
        assert!(digits.push(5, Duration::from_millis(80), start));
        assert!(digits.push(11, Duration::from_millis(1), start));
        let sent = packets(&mut digits, start);
        let first: Vec<_> = sent.iter().filter(|(_, s)| s.number == 1).collect();
        let durations: Vec<u16> =
            first.iter().map(|(_, s)| u16::from_be_bytes([s.payload[2], s.payload[3]])).collect();
        assert_eq!(durations, [160, 320, 480, 640, 640, 640]);
        assert_eq!(first.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 20, 40, 60, 80, 100]);
        assert!(first.iter().all(|(_, s)| s.payload[0] == 5));
        let ends: Vec<bool> = first.iter().map(|(_, s)| s.payload[1] & 0x80 != 0).collect();
        assert_eq!(ends, [false, false, false, true, true, true]);
        let marked: Vec<bool> = first.iter().map(|(_, s)| s.marker).collect();
        assert_eq!(marked, [true, false, false, false, false, false]);
        assert_eq!(first.last().unwrap().1.ended, Some(640));
        let second: Vec<_> = sent.iter().filter(|(_, s)| s.number == 2).collect();
        assert_eq!((second[0].0, second.len()), (160, 5));
    }

    #[test]
    fn no_more_keys_wait_than_may_and_no_event_is_longer_than_its_field_holds() {
        let now = Instant::now();
        let mut digits = Digits::default();
        let taken = (0..100).filter(|_| digits.push(1, LONGEST * 9, now)).count();
        assert_eq!(taken, MAX_WAITING);
        let longest = packets(&mut digits, now).iter().filter_map(|(_, s)| s.ended).max();
        assert_eq!(longest, Some(10_400));
        assert!(digits.push(1, LONGEST, now));
        assert_eq!(digits.clear(), 1);
        assert_eq!(digits.poll_timeout(), None);
    }
}
