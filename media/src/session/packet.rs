//! The RTP header (RFC 3550 section 5.1), read and written in place, and the telephone-event payload (RFC 4733).

use std::ops::Range;

/// What of an RTP header matters to us. Extensions and CSRCs are the peer's own and not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Marker bit.
    pub marker: bool,
    /// Payload type.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp, in the clock of the payload type.
    pub timestamp: u32,
    /// Source.
    pub ssrc: u32,
}

/// Length of the header that we write.
pub const HEADER: usize = 12;

impl Header {
    /// Reads a packet; gives header and where the payload is, padding cut off. `None` when it is no RTP.
    pub fn parse(packet: &[u8]) -> Option<(Self, Range<usize>)> {
        let [first, second, a, b, t0, t1, t2, t3, s0, s1, s2, s3, ..] = *packet else {
            return None;
        };
        if first >> 6 != 2 {
            return None;
        }
        let mut start = HEADER + 4 * usize::from(first & 0x0f);
        if first & 0x10 != 0 {
            let words = packet.get(start + 2..start + 4)?;
            let words = u16::from_be_bytes(words.try_into().ok()?);
            start += 4 + 4 * usize::from(words);
        }
        let mut end = packet.len();
        if first & 0x20 != 0 {
            let padding = usize::from(*packet.last()?);
            end = end.checked_sub(padding).filter(|_| padding > 0)?;
        }
        let header = Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence: u16::from_be_bytes([a, b]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
        };
        (start <= end).then_some((header, start..end))
    }

    /// The twelve bytes.
    pub fn to_bytes(self) -> [u8; HEADER] {
        let [a, b] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [s0, s1, s2, s3] = self.ssrc.to_be_bytes();
        let second = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        [0x80, second, a, b, t0, t1, t2, t3, s0, s1, s2, s3]
    }
}

/// Whether a datagram in RTP's range is RTCP (RFC 5761 section 4).
pub fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.get(1).is_some_and(|second| (192..=223).contains(second))
}

/// Whether the first byte says RTP or RTCP (RFC 7983).
pub fn is_rtp_or_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(128..=191))
}

/// Rewrites the duration of a telephone-event payload for another clock (RFC 4733 section 2.3.5).
pub fn scale_event(payload: &mut [u8], from: u32, to: u32) {
    if let [_, _, high, low, ..] = payload
        && from > 0
    {
        let duration = u64::from(u16::from_be_bytes([*high, *low]));
        let scaled = duration * u64::from(to) / u64::from(from);
        [*high, *low] = u16::try_from(scaled).unwrap_or(u16::MAX).to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_extensions_and_padding_are_cut_off() {
        let header = Header {
            marker: true,
            payload_type: 111,
            sequence: 7,
            timestamp: 9,
            ssrc: 0xa1b2_c3d4,
        };
        let mut packet = header.to_bytes().to_vec();
        packet.extend(b"voice");
        assert_eq!(Header::parse(&packet), Some((header, 12..17)));

        let mut long = packet.clone();
        long[0] = 0x80 | 0x20 | 0x10 | 1;
        let extras = [&[0; 4][..], &[0xbe, 0xde, 0, 1], &[0; 4]].concat();
        long.splice(12..12, extras);
        long.extend([0, 0, 3]);
        assert_eq!(Header::parse(&long), Some((header, 24..29)));
        assert_eq!(long[24..29], *b"voice");
    }

    #[test]
    fn no_prefix_or_flipped_bit_of_a_packet_reads_past_its_end() {
        let packet = [&[0xbf, 0x80][..], &[255; 40]].concat();
        for end in 0..packet.len() {
            let _ = Header::parse(&packet[..end]);
        }
        assert_eq!(Header::parse(&packet), None);
    }

    #[test]
    fn an_event_s_duration_follows_the_clock() {
        for (from, to, duration, expected) in
            [(8_000, 48_000, 160, 960), (48_000, 8_000, 960, 160), (8_000, 48_000, 60_000, 65_535)]
        {
            let [high, low] = u16::to_be_bytes(duration);
            let mut payload = [1, 10, high, low];
            scale_event(&mut payload, from, to);
            assert_eq!(u16::from_be_bytes([payload[2], payload[3]]), expected);
        }
    }
}
