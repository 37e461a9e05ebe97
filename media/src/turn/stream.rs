//! Messages on TCP and TLS (RFC 8656 section 12.5, RFC 8489 section 6.2.2): one after the other, told apart by their
//! first bits.

use crate::stun::be16;

/// Longest message that a client may send: more than a datagram carries.
const MAX: usize = 4 + 65_535 + 3;

/// Bytes that came and are not a whole message yet.
#[derive(Debug, Default)]
pub struct Framer(Vec<u8>);

/// Neither STUN nor ChannelData: the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

impl Framer {
    /// Takes bytes and hands out each whole message, without the padding of ChannelData.
    ///
    /// # Errors
    ///
    /// [`Broken`] when the bytes are no messages.
    pub fn handle(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Broken> {
        self.0.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(rest) = self.0.get(at..).filter(|rest| !rest.is_empty()) {
            let Some((message, whole)) = measure(rest)? else { break };
            if rest.len() < whole {
                break;
            }
            each(rest.get(..message).unwrap_or_default());
            at += whole;
        }
        self.0.drain(..at);
        if self.0.len() > MAX {
            return Err(Broken);
        }
        // An idle stream holds no buffer.
        if self.0.is_empty() && self.0.capacity() > 4_096 {
            self.0 = Vec::new();
        }
        Ok(())
    }
}

/// Length of the message that begins here, and with its padding. None while that cannot be known.
fn measure(bytes: &[u8]) -> Result<Option<(usize, usize)>, Broken> {
    let Some(first) = bytes.first() else { return Ok(None) };
    let Some(length) = be16(bytes, 2).map(usize::from) else { return Ok(None) };
    match first >> 6 {
        0 if length % 4 == 0 => Ok(Some((20 + length, 20 + length))),
        1 => Ok(Some((4 + length, 4 + length.next_multiple_of(4)))),
        _ => Err(Broken),
    }
}

/// ChannelData on a stream is padded (section 12.5): how many zeroes follow a payload.
pub fn padding(length: usize) -> usize {
    length.next_multiple_of(4) - length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let mut bytes = vec![0x00, 0x01, 0, 4];
        bytes.extend([7; 20]);
        bytes.extend([0x40, 0x00, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0]);
        bytes.extend([0x4f, 0xff, 0, 0]);
        for step in 1..bytes.len() {
            let mut framer = Framer::default();
            let mut found = Vec::new();
            for part in bytes.chunks(step) {
                framer.handle(part, |message| found.push(message.to_vec())).unwrap();
            }
            assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [24, 9, 4], "{step}");
        }
    }

    #[test]
    fn what_is_no_message_ends_the_stream() {
        for bytes in [&b"\x16\x03\x01\x02"[..], &[0x80, 0, 0, 0], &[0, 1, 0, 3]] {
            assert_eq!(Framer::default().handle(bytes, |_| {}), Err(Broken), "{bytes:?}");
        }
    }
}
