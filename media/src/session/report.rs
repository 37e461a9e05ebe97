//! RTCP reports of a leg (RFC 3550 section 6): what we tell the peer about its stream and ours, and what we learn.
//!
//! We send SR or RR with CNAME every five seconds. Of what comes in we use the time of the last SR; the rest is read past.

use std::time::{Duration, Instant};

/// Between two reports.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// Longest report that we write.
pub const MAX_REPORT: usize = 96;

/// Reception of the peer's stream (RFC 3550 appendix A).
#[derive(Debug, Default)]
pub struct Reception {
    ssrc: u32,
    first: u32,
    /// Highest sequence number, with its wraps above.
    highest: u32,
    received: u32,
    reported: (u32, u32),
    transit: Option<i64>,
    /// In ticks, times 16.
    jitter: u64,
    clock: u32,
    last_sr: Option<(u32, Instant)>,
}

impl Reception {
    /// Takes note of a packet.
    pub fn note(&mut self, ssrc: u32, sequence: u16, timestamp: u32, clock: u32, at: Duration) {
        if self.received == 0 || self.ssrc != ssrc {
            let first = u32::from(sequence);
            *self = Self { ssrc, first, highest: first, last_sr: self.last_sr, ..Self::default() };
        }
        self.received = self.received.wrapping_add(1);
        let step = sequence.wrapping_sub((self.highest & 0xffff) as u16);
        if step < 0x8000 {
            self.highest = self.highest.wrapping_add(u32::from(step));
        }
        if clock != self.clock {
            self.clock = clock;
            self.transit = None;
        }
        let arrival = (at.as_micros() * u128::from(clock) / 1_000_000) as i64;
        let transit = (arrival - i64::from(timestamp)) & 0xffff_ffff;
        if let Some(before) = self.transit {
            let difference = u64::from(((transit - before) as i32).unsigned_abs());
            // One jump of the peer's clock is not jitter.
            if difference < u64::from(clock) {
                self.jitter = (self.jitter + difference).saturating_sub((self.jitter + 8) >> 4);
            }
        }
        self.transit = Some(transit);
    }

    /// Packets that never came.
    pub fn lost(&self) -> u32 {
        let expected = self.highest.wrapping_sub(self.first).wrapping_add(1);
        if self.received == 0 { 0 } else { expected.saturating_sub(self.received) }
    }

    /// Jitter in microseconds.
    pub fn jitter_us(&self) -> u64 {
        (self.jitter >> 4) * 1_000_000 / u64::from(self.clock.max(1))
    }

    /// Reads a compound packet. False when it is none (RFC 3550 appendix A.2).
    pub fn handle_rtcp(&mut self, packet: &[u8], now: Instant) -> bool {
        let mut rest = packet;
        let mut any = false;
        while let [first, kind, a, b, body @ ..] = rest {
            let length = 4 * usize::from(u16::from_be_bytes([*a, *b]));
            if first >> 6 != 2 || !(192..=223).contains(kind) || body.len() < length {
                return false;
            }
            if let (200, [s0, s1, s2, s3, _, _, n2, n3, n4, n5, ..]) = (*kind, body)
                && length >= 24
                && u32::from_be_bytes([*s0, *s1, *s2, *s3]) == self.ssrc
            {
                self.last_sr = Some((u32::from_be_bytes([*n2, *n3, *n4, *n5]), now));
            }
            any = true;
            rest = body.get(length..).unwrap_or_default();
        }
        any && rest.is_empty()
    }

    fn block(&mut self, now: Instant) -> [u8; 24] {
        let expected = self.highest.wrapping_sub(self.first).wrapping_add(1);
        let (expected_before, received_before) = self.reported;
        let step = expected.wrapping_sub(expected_before);
        let missing = step.saturating_sub(self.received.wrapping_sub(received_before));
        let fraction =
            if step == 0 { 0 } else { (u64::from(missing) * 256 / u64::from(step)).min(255) };
        self.reported = (expected, self.received);
        let lost = self.lost().min(0x7f_ffff) | (fraction as u32) << 24;
        let (last, delay) = self.last_sr.map_or((0, 0), |(last, at)| {
            let passed = now.saturating_duration_since(at).as_micros() * 65_536 / 1_000_000;
            (last, u32::try_from(passed).unwrap_or(u32::MAX))
        });
        let jitter = (self.jitter >> 4) as u32;
        let mut out = [0; 24];
        let words = [self.ssrc, lost, self.highest, jitter, last, delay];
        for (to, word) in out.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_be_bytes());
        }
        out
    }
}

/// Our stream, as an SR tells it.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// Ours.
    pub ssrc: u32,
    /// Packets sent; 0 makes an RR.
    pub packets: u32,
    /// Payload bytes sent.
    pub octets: u32,
    /// RTP time of now.
    pub timestamp: u32,
    /// Time since 1970.
    pub wall: Duration,
}

/// Writes SR or RR and SDES into `out`; gives the length.
pub fn write(sent: Sent, reception: &mut Reception, now: Instant, out: &mut [u8]) -> usize {
    let blocks: u8 = u8::from(reception.received > 0);
    let mut at = Writer { out, length: 0 };
    if sent.packets > 0 {
        at.put(&[0x80 | blocks, 200, 0, 6 + 6 * blocks]);
        at.put(&sent.ssrc.to_be_bytes());
        // Seconds from 1900 to 1970.
        let seconds = (sent.wall.as_secs() + 2_208_988_800) as u32;
        at.put(&seconds.to_be_bytes());
        let fraction = (u64::from(sent.wall.subsec_nanos()) << 32) / 1_000_000_000;
        at.put(&(fraction as u32).to_be_bytes());
        at.put(&sent.timestamp.to_be_bytes());
        at.put(&sent.packets.to_be_bytes());
        at.put(&sent.octets.to_be_bytes());
    } else {
        at.put(&[0x80 | blocks, 201, 0, 1 + 6 * blocks]);
        at.put(&sent.ssrc.to_be_bytes());
    }
    if blocks > 0 {
        at.put(&reception.block(now));
    }
    // One chunk: CNAME "tandem", its end, padded to a word.
    at.put(&[0x81, 202, 0, 4]);
    at.put(&sent.ssrc.to_be_bytes());
    at.put(&[1, 6]);
    at.put(b"tandem");
    at.put(&[0; 4]);
    at.length
}

struct Writer<'a> {
    out: &'a mut [u8],
    length: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        if let Some(to) = self.out.get_mut(self.length..self.length + bytes.len()) {
            to.copy_from_slice(bytes);
            self.length += bytes.len();
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests {
    use super::*;

    fn sent(packets: u32) -> Sent {
        Sent { ssrc: 5, packets, octets: 160, timestamp: 8, wall: Duration::from_millis(1_500) }
    }

    #[test]
    fn what_one_end_writes_the_other_reads() {
        let now = Instant::now();
        let mut ours = Reception::default();
        ours.note(9, 1, 0, 8_000, Duration::ZERO);
        for (packets, length) in [(0, 8 + 24 + 20), (3, 28 + 24 + 20)] {
            let mut out = [0; MAX_REPORT];
            let written = write(sent(packets), &mut ours, now, &mut out);
            assert_eq!(written, length);
            let mut theirs = Reception::default();
            theirs.note(5, 1, 0, 8_000, Duration::ZERO);
            assert!(theirs.handle_rtcp(&out[..written], now));
            assert_eq!(theirs.last_sr.is_some(), packets > 0);
            for cut in 1..written {
                let whole = cut == written - 20;
                assert_eq!(theirs.handle_rtcp(&out[..cut], now), whole, "{cut}");
            }
        }
    }

    #[test]
    fn losses_and_wraps_are_counted() {
        let mut reception = Reception::default();
        for sequence in [65_534, 65_535, 1, 2, 0, 5] {
            reception.note(1, sequence, 0, 8_000, Duration::ZERO);
        }
        assert_eq!(reception.lost(), 2);
        let block = reception.block(Instant::now());
        assert_eq!(block[4], 64);
        assert_eq!(block[8..12], [0, 1, 0, 5]);
    }

    #[test]
    fn an_even_stream_has_no_jitter_and_an_uneven_one_has() {
        let run = |late: [u64; 6]| {
            let mut reception = Reception::default();
            for (n, late) in (0_u16..).zip(late) {
                let at = Duration::from_millis(u64::from(n) * 20 + late);
                reception.note(1, n, u32::from(n) * 160, 8_000, at);
            }
            reception.jitter_us()
        };
        assert_eq!(run([0; 6]), 0);
        assert!(run([0, 10, 0, 10, 0, 10]) > 1_000);
    }
}
