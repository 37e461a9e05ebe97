//! How a leg's outgoing stream stays one stream (RFC 3550 section 5.1) whatever feeds it.
//!
//! A leg sends under one SSRC for its whole life. Sources come and go: another leg is connected, the peer's SSRC changes,
//! a codec worker steps in. [`Outgoing`] maps sequence numbers and timestamps so that neither ever jumps back.

use std::time::{Duration, Instant};

/// What feeds a stream. Any difference begins a new mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// The leg it comes from.
    pub leg: u64,
    /// The SSRC there.
    pub ssrc: u32,
    /// Whether packets are made here, so that they are numbered one by one.
    pub transcoded: bool,
}

/// The timestamp of an incoming packet.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    /// As received.
    pub sequence: u16,
    /// As received.
    pub timestamp: u32,
    /// Rate of that timestamp.
    pub clock: u32,
    /// Rate of the timestamp to write.
    pub out_clock: u32,
    /// Events keep the time of their start (RFC 4733 section 2.1) and do not move the stream's time.
    pub is_event: bool,
}

#[derive(Debug, Clone, Copy)]
struct Mapping {
    source: Source,
    clock: u32,
    sequence_offset: u16,
    in_timestamp: u32,
    out_timestamp: u32,
}

/// One outgoing stream.
#[derive(Debug)]
pub struct Outgoing {
    /// Ours.
    pub ssrc: u32,
    sequence: u16,
    timestamp: u32,
    sent_at: Option<Instant>,
    mapping: Option<Mapping>,
    event: Option<(u32, u32)>,
}

impl Outgoing {
    /// A stream that begins at random places (RFC 3550 section 5.1).
    pub fn new(ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        Self { ssrc, sequence, timestamp, sent_at: None, mapping: None, event: None }
    }

    /// Timestamp of the last packet, and when it left.
    pub fn last(&self) -> (u32, Option<Instant>) {
        (self.timestamp, self.sent_at)
    }

    /// Sequence number, timestamp, and whether a new mapping began, which sets the marker.
    pub fn next(&mut self, source: Source, stamp: Stamp, now: Instant) -> (u16, u32, bool) {
        let known = self.mapping.filter(|m| m.source == source);
        let is_new = known.is_none();
        let mut mapping = known.unwrap_or_else(|| {
            self.event = None;
            self.start(source, stamp, now)
        });
        let timestamp = match self.event {
            Some((theirs, ours)) if stamp.is_event && theirs == stamp.timestamp => ours,
            _ if stamp.clock != mapping.clock && stamp.is_event => self.fresh(stamp.out_clock, now),
            _ => {
                if stamp.clock != mapping.clock {
                    mapping = Mapping {
                        sequence_offset: mapping.sequence_offset,
                        ..self.start(source, stamp, now)
                    };
                }
                mapping.out_timestamp.wrapping_add(scale(
                    stamp.timestamp.wrapping_sub(mapping.in_timestamp),
                    stamp.clock,
                    stamp.out_clock,
                ))
            }
        };
        if stamp.is_event {
            self.event = Some((stamp.timestamp, timestamp));
        }
        let sequence = if source.transcoded {
            self.sequence.wrapping_add(1)
        } else {
            stamp.sequence.wrapping_add(mapping.sequence_offset)
        };
        // A packet that arrives late does not turn the clock back for the next source.
        if sequence.wrapping_sub(self.sequence) < 0x8000 {
            self.sequence = sequence;
            if timestamp.wrapping_sub(self.timestamp) < 0x8000_0000 {
                self.timestamp = timestamp;
            }
        }
        self.sent_at = Some(now);
        // Long streams: the base moves along, so that differences stay small.
        if !stamp.is_event && timestamp.wrapping_sub(mapping.out_timestamp) < 0x8000_0000 {
            mapping.in_timestamp = stamp.timestamp;
            mapping.out_timestamp = timestamp;
        }
        self.mapping = Some(mapping);
        (sequence, timestamp, is_new)
    }

    /// Time that an event took, which has one timestamp: what comes next begins after it.
    pub fn advance(&mut self, ticks: u32, now: Instant) {
        self.timestamp = self.timestamp.wrapping_add(ticks);
        self.sent_at = Some(now);
        self.mapping = None;
    }

    fn start(&self, source: Source, stamp: Stamp, now: Instant) -> Mapping {
        Mapping {
            source,
            clock: stamp.clock,
            sequence_offset: self.sequence.wrapping_add(1).wrapping_sub(stamp.sequence),
            in_timestamp: stamp.timestamp,
            out_timestamp: self.fresh(stamp.out_clock, now),
        }
    }

    /// A timestamp as much later as time has passed, at least one frame.
    fn fresh(&self, clock: u32, now: Instant) -> u32 {
        let passed = self
            .sent_at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
            .max(Duration::from_millis(20));
        let ticks = passed.as_micros() * u128::from(clock) / 1_000_000;
        self.timestamp.wrapping_add((ticks & 0xffff_ffff) as u32)
    }
}

/// A difference of timestamps in another clock; small steps back stay steps back.
fn scale(difference: u32, from: u32, to: u32) -> u32 {
    if from == to || from == 0 {
        return difference;
    }
    let signed = i64::from(difference.cast_signed());
    ((signed * i64::from(to) / i64::from(from)) & 0xffff_ffff) as u32
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests;
