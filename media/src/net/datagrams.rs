//! Datagrams in batches: many are read in one system call, and those to one place leave in one (`recvmmsg`, `sendmmsg`,
//! UDP segmentation offload). Control messages are not asked for: each costs time with every packet.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, sendmsg,
};

/// Datagrams read in one call.
pub(super) const BATCH: usize = 32;
/// Room for one datagram.
const BUFFER: usize = 65_535;
/// Datagrams of one length to one place that leave as one; the kernel takes 64.
const MAX_SEGMENTS: usize = 64;
/// As few leave one by one.
const MIN_SEGMENTS: usize = 4;
/// Longest that goes anywhere in one piece.
const MAX_SEGMENT: usize = 1_200;
/// Bytes that leave as one.
const MAX_BYTES: usize = 65_000;

/// A socket.
pub(super) struct Port {
    socket: UdpSocket,
    is_v6: bool,
}

impl Port {
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let is_v6 = socket.local_addr()?.is_ipv6();
        Ok(Self { socket, is_v6 })
    }

    pub(super) fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// An address as this socket wants it: on one of both families, version 4 is mapped.
    fn reach(&self, to: SocketAddr) -> SocketAddr {
        match to.ip() {
            IpAddr::V4(ip) if self.is_v6 => (ip.to_ipv6_mapped(), to.port()).into(),
            _ => to,
        }
    }
}

/// Reads datagrams. Belongs to one thread.
pub(super) struct Inbox {
    /// Of sockets of version 4, and of 6: what the kernel wrote last time is the room it finds next time.
    headers: [MultiHeaders<SockaddrStorage>; 2],
    buffer: Vec<u8>,
    /// Length and sender of each that was read last.
    met: [(usize, Option<SocketAddr>); BATCH],
}

impl Inbox {
    pub(super) fn new() -> Self {
        let headers = || MultiHeaders::preallocate(BATCH, None);
        let (buffer, met) = (vec![0; BUFFER * BATCH], [(0, None); BATCH]);
        Self { headers: [headers(), headers()], buffer, met }
    }

    /// Reads what is there, a batch at most. Gives the number of datagrams.
    pub(super) fn recv(&mut self, port: &Port) -> io::Result<usize> {
        let [v4, v6] = &mut self.headers;
        let headers = if port.is_v6 { v6 } else { v4 };
        let mut chunks = self.buffer.chunks_mut(BUFFER);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(chunks.next().unwrap_or_default())]);
        let flags = MsgFlags::MSG_DONTWAIT;
        let results = recvmmsg(port.descriptor(), headers, slices.iter_mut(), flags, None)?;
        let mut count = 0;
        for (message, met) in results.zip(&mut self.met) {
            *met = (message.bytes, message.address.and_then(socket_addr));
            count += 1;
        }
        Ok(count)
    }

    /// One of those that were read last: its sender and itself.
    pub(super) fn get(&self, index: usize) -> Option<(SocketAddr, &[u8])> {
        let (length, from) = *self.met.get(index)?;
        let datagram = self.buffer.chunks(BUFFER).nth(index)?.get(..length)?;
        let from = from?;
        Some((SocketAddr::new(from.ip().to_canonical(), from.port()), datagram))
    }
}

fn socket_addr(address: SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::from((v4.ip(), v4.port())));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::from((v6.ip(), v6.port()))))
}

/// A datagram that waits: its socket, where it goes, and its part of the bytes.
#[derive(Debug, Clone, Copy)]
struct Waiting<P> {
    place: P,
    to: SocketAddr,
    start: usize,
    length: usize,
}

/// Datagrams that wait to be sent. Belongs to one thread.
pub(super) struct Outbox<P> {
    bytes: Vec<u8>,
    waiting: Vec<Waiting<P>>,
    headers: MultiHeaders<SockaddrStorage>,
    has_segments: bool,
}

impl<P: Copy + Ord> Outbox<P> {
    pub(super) fn new() -> Self {
        let headers = MultiHeaders::preallocate(MAX_SEGMENTS, None);
        Self { bytes: Vec::new(), waiting: Vec::new(), headers, has_segments: true }
    }

    /// Queues a datagram. True when it is time to send.
    pub(super) fn push(&mut self, place: P, to: SocketAddr, parts: [&[u8]; 2]) -> bool {
        let start = self.bytes.len();
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        let length = self.bytes.len() - start;
        self.waiting.push(Waiting { place, to, start, length });
        self.waiting.len() >= MAX_SEGMENTS || self.bytes.len() >= MAX_BYTES
    }

    /// Sends all that waits. Media does not wait: what the kernel refuses is lost like any packet.
    pub(super) fn flush<'a>(&mut self, port: impl Fn(P) -> Option<&'a Port>) {
        // Those of one socket come together, in their order.
        self.waiting.sort_unstable_by_key(|waiting| (waiting.place, waiting.start));
        let waiting = std::mem::take(&mut self.waiting);
        for run in waiting.chunk_by(|a, b| a.place == b.place) {
            if let Some(port) = run.first().and_then(|first| port(first.place)) {
                self.send(port, run);
            }
        }
        self.waiting = waiting;
        self.waiting.clear();
        self.bytes.clear();
    }

    /// Sends datagrams of one socket.
    fn send(&mut self, port: &Port, run: &[Waiting<P>]) {
        let mut single = 0..0;
        let mut at = 0;
        while let Some(first) = run.get(at) {
            let rest = run.get(at..).unwrap_or_default();
            let alike = rest.iter().take_while(|w| w.to == first.to && w.length == first.length);
            let most = MAX_SEGMENTS.min(MAX_BYTES / first.length.max(1));
            let count = alike.take(most).count().max(1);
            let fits = (1..=MAX_SEGMENT).contains(&first.length);
            if count >= MIN_SEGMENTS && fits && self.has_segments {
                self.send_single(port, run.get(single.clone()).unwrap_or_default());
                self.send_segments(port, rest.get(..count).unwrap_or_default());
                single = at + count..at + count;
            } else {
                single.end = at + count;
            }
            at += count;
        }
        self.send_single(port, run.get(single).unwrap_or_default());
    }

    fn send_single(&mut self, port: &Port, run: &[Waiting<P>]) {
        let get = |w: &Waiting<P>| self.bytes.get(w.start..w.start + w.length).unwrap_or_default();
        match run {
            [] => {}
            [one] => {
                let _ = port.socket.send_to(get(one), port.reach(one.to));
            }
            many => {
                let mut slices = [[IoSlice::new(&[])]; MAX_SEGMENTS];
                let mut addresses = [None; MAX_SEGMENTS];
                for ((waiting, slice), address) in many.iter().zip(&mut slices).zip(&mut addresses)
                {
                    *slice = [IoSlice::new(get(waiting))];
                    *address = Some(SockaddrStorage::from(port.reach(waiting.to)));
                }
                let count = many.len().min(MAX_SEGMENTS);
                let flags = MsgFlags::MSG_DONTWAIT;
                let slices = slices.iter().take(count);
                let _ =
                    sendmmsg(port.descriptor(), &mut self.headers, slices, addresses, [], flags);
            }
        }
    }

    /// Sends datagrams of one length to one place.
    fn send_segments(&mut self, port: &Port, run: &[Waiting<P>]) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return };
        let bytes = self.bytes.get(first.start..last.start + last.length).unwrap_or_default();
        // Datagrams of others may stand between.
        let is_joined = run.windows(2).all(|pair| match pair {
            [a, b] => a.start + a.length == b.start,
            _ => true,
        });
        let joined;
        let bytes = if is_joined {
            bytes
        } else {
            joined = run.iter().fold(Vec::with_capacity(run.len() * first.length), |mut all, w| {
                all.extend_from_slice(
                    self.bytes.get(w.start..w.start + w.length).unwrap_or_default(),
                );
                all
            });
            &joined
        };
        let segment = u16::try_from(first.length).unwrap_or(u16::MAX);
        let to = SockaddrStorage::from(port.reach(first.to));
        let sent = sendmsg(
            port.descriptor(),
            &[IoSlice::new(bytes)],
            &[ControlMessage::UdpGsoSegments(&segment)],
            MsgFlags::MSG_DONTWAIT,
            Some(&to),
        );
        if matches!(sent, Err(Errno::EIO | Errno::EINVAL | Errno::ENOPROTOOPT | Errno::EOPNOTSUPP))
        {
            // This kernel or card cannot.
            self.has_segments = false;
            self.send_single(port, run);
        }
    }
}
