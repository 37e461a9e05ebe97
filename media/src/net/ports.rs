//! Port pairs for RTP legs (RFC 3550 section 11): an even port for RTP, the next for RTCP.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use super::bind_udp;
use crate::error::MediaError;

/// Ports that others turned out to hold before one gives up for now: each attempt is a system call.
const ATTEMPTS: usize = 256;

/// Walks round the range, so that a port rests before it is used again. It knows what it gave out: with none left nothing is
/// tried.
#[derive(Debug)]
pub(super) struct PortPairs {
    ip: IpAddr,
    first: u16,
    /// Whether each pair is given out.
    taken: Vec<bool>,
    next: usize,
    free: usize,
}

impl PortPairs {
    pub(super) fn new(ip: IpAddr, (first, last): (u16, u16)) -> Self {
        let first = first.next_multiple_of(2);
        let free = (usize::from(last) + 1).saturating_sub(usize::from(first)) / 2;
        Self { ip, first, taken: vec![false; free], next: 0, free }
    }

    /// All pairs.
    pub(super) fn len(&self) -> usize {
        self.taken.len()
    }

    /// Pairs that are not given out.
    pub(super) fn free(&self) -> usize {
        self.free
    }

    /// Binds the next free pair; [`PortPairs::release`] gives it back.
    pub(super) fn bind(&mut self) -> Result<(UdpSocket, UdpSocket), MediaError> {
        let mut attempts = ATTEMPTS;
        for _ in 0..self.taken.len() {
            if self.free == 0 || attempts == 0 {
                break;
            }
            let at = self.next;
            self.next = if at + 1 < self.taken.len() { at + 1 } else { 0 };
            let Some(taken) = self.taken.get_mut(at).filter(|taken| !**taken) else { continue };
            attempts -= 1;
            let even = u16::try_from(at * 2).ok().and_then(|offset| self.first.checked_add(offset));
            let Some((even, odd)) = even.and_then(|even| Some((even, even.checked_add(1)?))) else {
                continue;
            };
            let Ok(rtp) = bind_udp(SocketAddr::new(self.ip, even)) else { continue };
            if let Ok(rtcp) = bind_udp(SocketAddr::new(self.ip, odd)) {
                *taken = true;
                self.free -= 1;
                return Ok((rtp, rtcp));
            }
        }
        Err(MediaError::NoPorts)
    }

    /// The pair of this port is not needed any more. Its sockets may be open for a moment yet: it rests.
    pub(super) fn release(&mut self, port: u16) {
        let at = usize::from(port.saturating_sub(self.first) / 2);
        if let Some(taken) = self.taken.get_mut(at).filter(|taken| **taken) {
            *taken = false;
            self.free += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_even_distinct_and_skip_what_is_taken() {
        let ip = IpAddr::from([127, 0, 0, 1]);
        let mut pairs = PortPairs::new(ip, (41_001, 41_008));
        let held = bind_udp(SocketAddr::new(ip, 41_005)).unwrap();
        let taken: Vec<_> = (0..2).map(|_| pairs.bind().unwrap()).collect();
        let ports: Vec<u16> = taken.iter().map(|(a, _)| a.local_addr().unwrap().port()).collect();
        assert_eq!(ports, [41_002, 41_006]);
        assert!(matches!(pairs.bind(), Err(MediaError::NoPorts)));
        drop(held);
        assert_eq!(pairs.bind().unwrap().0.local_addr().unwrap().port(), 41_004);
        assert_eq!(pairs.free(), 0);
        assert!(matches!(pairs.bind(), Err(MediaError::NoPorts)));
        drop(taken);
        pairs.release(41_002);
        pairs.release(41_002);
        pairs.release(50_000);
        assert_eq!(pairs.free(), 1);
        assert_eq!(pairs.bind().unwrap().0.local_addr().unwrap().port(), 41_002);
    }
}
