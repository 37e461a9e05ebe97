//! Port pairs for RTP legs (RFC 3550 section 11): an even port for RTP, the next for RTCP.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use super::bind_udp;
use crate::error::MediaError;

/// Walks round the range, so that a port rests before it is used again.
#[derive(Debug)]
pub(super) struct PortPairs {
    ip: IpAddr,
    first: u16,
    last: u16,
    next: u16,
}

impl PortPairs {
    pub(super) fn new(ip: IpAddr, (first, last): (u16, u16)) -> Self {
        let first = first.next_multiple_of(2);
        Self { ip, first, last, next: first }
    }

    /// Binds the next free pair.
    pub(super) fn bind(&mut self) -> Result<(UdpSocket, UdpSocket), MediaError> {
        let pairs = usize::from(self.last.saturating_sub(self.first)).div_ceil(2);
        for _ in 0..pairs {
            let port = self.next;
            let following = port.checked_add(2).filter(|p| p.checked_add(1) <= Some(self.last));
            self.next = following.filter(|p| *p < self.last).unwrap_or(self.first);
            let Some(odd) = port.checked_add(1) else { continue };
            let Ok(rtp) = bind_udp(SocketAddr::new(self.ip, port)) else { continue };
            if let Ok(rtcp) = bind_udp(SocketAddr::new(self.ip, odd)) {
                return Ok((rtp, rtcp));
            }
        }
        Err(MediaError::NoPorts)
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
    }
}
