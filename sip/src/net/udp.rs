//! Datagrams: read in batches, parsed beside the core. Keep-alives by STUN (RFC 5626 section 4.4.2) are answered here.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::task::Inbound;
use crate::msg::{Limits, parse_datagram};
use crate::transport::{Flow, Protocol, stun};

/// The largest datagram there is.
const MAX_DATAGRAM: usize = 65_535;
/// Datagrams of one batch.
const BATCH: usize = 64;
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
    socket: Arc<UdpSocket>,
    number: u64,
    own: OwnAddress,
    limits: Limits,
}

impl Reader {
    pub(super) fn new(
        socket: Arc<UdpSocket>,
        number: u64,
        local: SocketAddr,
        advertised: Option<IpAddr>,
        limits: Limits,
    ) -> Self {
        Self { socket, number, own: OwnAddress::new(local, advertised), limits }
    }

    /// Until the core is gone.
    pub(super) async fn run(mut self, inbox: mpsc::Sender<Vec<Inbound>>) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            if self.socket.readable().await.is_err() {
                return;
            }
            let socket = self.number;
            // Whether more waits is said first: it decides what becomes of the rest.
            let mut batch = vec![Inbound::Read { socket, drained: false }];
            let mut drained = false;
            for _ in 0..BATCH {
                match self.socket.try_recv_from(&mut buffer) {
                    Ok((count, peer)) => {
                        let received = buffer.get(..count).unwrap_or_default();
                        if stun::is_stun(received) {
                            if let Some(answer) = stun::answer(received, peer) {
                                let _ = self.socket.try_send_to(&answer, peer);
                            }
                            continue;
                        }
                        // A copy of its own size: what a transaction keeps of it must not hold the whole buffer.
                        let datagram = Bytes::copy_from_slice(received);
                        let local = self.own.towards(peer.ip());
                        let flow =
                            Flow { protocol: Protocol::Udp, socket: self.number, peer, local };
                        // What is too short to be a message keeps a NAT open and means nothing else.
                        if datagram.len() > 8 {
                            let message = parse_datagram(datagram, &self.limits);
                            batch.push(Inbound::Message { flow, message: Box::new(message) });
                        }
                    }
                    // Nothing left, or the answer to a datagram that nobody took.
                    Err(_) => {
                        drained = true;
                        break;
                    }
                }
            }
            if let Some(first) = batch.first_mut() {
                *first = Inbound::Read { socket, drained };
            }
            if (batch.len() > 1 || drained) && inbox.send(batch).await.is_err() {
                return;
            }
        }
    }
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
