//! Datagrams: read in batches. Keep-alives by STUN (RFC 5626 section 4.4.2) are answered here.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;

use crate::transport::{Flow, Protocol, stun};

/// The largest datagram there is.
const MAX_DATAGRAM: usize = 65_535;
/// Datagrams that are read before others have their turn.
const BATCH: usize = 512;
/// Kernel buffers, so that a burst waits instead of being lost.
const BUFFER: usize = 4 * 1024 * 1024;
/// Peers whose route is remembered on a listener for all addresses.
const MAX_ROUTES: usize = 10_000;

pub(super) fn bind(addr: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, None)?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        // [::] is for both families, whatever the system thinks.
        socket.set_only_v6(false)?;
    }
    // The system may grant less; that is no fault.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    UdpSocket::from_std(socket.into())
}

/// Reads one socket.
pub(super) struct Reader {
    pub(super) socket: Arc<UdpSocket>,
    pub(super) number: u64,
    /// Whether it is of IPv6.
    pub(super) is_v6: bool,
    own: OwnAddress,
    buffer: Vec<u8>,
}

impl Reader {
    pub(super) fn new(
        socket: Arc<UdpSocket>,
        number: u64,
        local: SocketAddr,
        advertised: Option<IpAddr>,
    ) -> Self {
        let own = OwnAddress::new(local, advertised);
        Self { socket, number, is_v6: local.is_ipv6(), own, buffer: vec![0; MAX_DATAGRAM] }
    }

    /// Takes what has come, up to a bound, without waiting: what stays in the kernel is the next to be lost. `admits` says
    /// whether a peer may send one more, before anybody looks at it.
    pub(super) fn read(
        &mut self,
        mut admits: impl FnMut(IpAddr) -> bool,
        mut take: impl FnMut(Flow, Bytes),
    ) {
        for _ in 0..BATCH {
            // Nothing left, or the answer to a datagram that nobody took.
            let Ok((count, peer)) = self.socket.try_recv_from(&mut self.buffer) else { return };
            if !admits(peer.ip()) {
                continue;
            }
            let received = self.buffer.get(..count).unwrap_or_default();
            if stun::is_stun(received) {
                if let Some(answer) = stun::answer(received, peer) {
                    let _ = self.socket.try_send_to(&answer, peer);
                }
                continue;
            }
            // What is too short to be a message keeps a NAT open and means nothing else.
            if received.len() > 8 {
                // A copy of its own size: what a transaction keeps of it must not hold the whole buffer.
                let datagram = Bytes::copy_from_slice(received);
                let local = self.own.towards(peer.ip());
                take(Flow { protocol: Protocol::Udp, socket: self.number, peer, local }, datagram);
            }
        }
    }
}

/// Resolves when one of the sockets has something to read.
pub(super) fn readable(readers: &[Reader]) -> impl Future<Output = ()> {
    std::future::poll_fn(|cx| {
        let is_ready = readers.iter().any(|reader| reader.socket.poll_recv_ready(cx).is_ready());
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    })
}

/// The address of ours that a peer sees.
pub(super) struct OwnAddress {
    local: SocketAddr,
    routes: HashMap<IpAddr, IpAddr>,
}

impl OwnAddress {
    pub(super) fn new(local: SocketAddr, advertised: Option<IpAddr>) -> Self {
        let ip = advertised.unwrap_or(local.ip());
        Self { local: SocketAddr::new(ip, local.port()), routes: HashMap::new() }
    }

    /// For a listener on all addresses, the routing table is asked, once a peer.
    pub(super) fn towards(&mut self, peer: IpAddr) -> SocketAddr {
        // On a listener for both families an IPv4 peer looks like an IPv6 one.
        let peer = peer.to_canonical();
        if !self.local.ip().is_unspecified() {
            return self.local;
        }
        let known = self.routes.get(&peer).copied();
        let ip = known.or_else(|| {
            let ip = route_to(peer)?;
            if self.routes.len() >= MAX_ROUTES {
                self.routes.clear();
            }
            self.routes.insert(peer, ip);
            Some(ip)
        });
        SocketAddr::new(ip.unwrap_or(self.local.ip()), self.local.port())
    }
}

/// Our addresses towards the world, where a listener is open on all of one family or of both.
pub(super) fn outward(bound: IpAddr) -> [Option<IpAddr>; 2] {
    // Addresses of documentation: the way to them is the way to anywhere (RFC 5737, RFC 3849).
    let (v4, v6) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]));
    match bound {
        IpAddr::V4(ip) if ip.is_unspecified() => [route_to(v4), None],
        IpAddr::V6(ip) if ip.is_unspecified() => [route_to(v4), route_to(v6)],
        _ => [None; 2],
    }
}

/// Nothing is sent: connecting a datagram socket only looks up the route.
fn route_to(peer: IpAddr) -> Option<IpAddr> {
    let any: SocketAddr =
        if peer.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 8], 0).into() };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect((peer, 9)).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip())
}
