//! Datagrams to one place that leave in one system call (UDP segmentation offload, where the kernel has it).

use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};

/// Longest batch in bytes, headers of UDP and IP left out.
const MAX_BYTES: usize = 65_000;

/// A socket.
pub(super) struct Port {
    socket: UdpSocket,
    state: UdpSocketState,
    is_v6: bool,
}

impl Port {
    pub(super) fn new(socket: UdpSocket) -> std::io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let is_v6 = socket.local_addr()?.is_ipv6();
        Ok(Self { socket, state, is_v6 })
    }

    pub(super) fn local(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    pub(super) fn recv(
        &self,
        slices: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> std::io::Result<usize> {
        self.state.recv(UdpSockRef::from(&self.socket), slices, metas)
    }

    fn segments(&self) -> usize {
        self.state.max_gso_segments().max(1)
    }
}

/// Which socket, and where to.
pub(super) type Key = (u8, u32, SocketAddr);

/// Datagrams of one length to one place; the last may be shorter.
#[derive(Default)]
pub(super) struct Gather {
    bytes: Vec<u8>,
    key: Option<Key>,
    segment: usize,
    is_closed: bool,
}

impl Gather {
    pub(super) fn key(&self) -> Option<Key> {
        self.key
    }

    /// Whether a datagram can join those that wait.
    pub(super) fn fits(&self, key: Key, length: usize) -> bool {
        match self.key {
            None => true,
            Some(own) => {
                own == key
                    && !self.is_closed
                    && length <= self.segment
                    && length > 0
                    && self.bytes.len() + length <= MAX_BYTES
            }
        }
    }

    pub(super) fn push(&mut self, key: Key, header: &[u8], payload: &[u8]) {
        let length = header.len() + payload.len();
        if self.key.is_none() {
            self.key = Some(key);
            self.segment = length;
        }
        self.is_closed = length < self.segment || length == 0;
        self.bytes.extend_from_slice(header);
        self.bytes.extend_from_slice(payload);
    }

    /// Sends what waits. Media does not wait: what the kernel refuses is lost like any packet.
    pub(super) fn send(&self, port: &Port) {
        let Some((_, _, to)) = self.key else { return };
        let destination = match to.ip() {
            IpAddr::V4(ip) if port.is_v6 => (ip.to_ipv6_mapped(), to.port()).into(),
            _ => to,
        };
        let whole = self.segment.max(1) * port.segments();
        let mut rest = &*self.bytes;
        loop {
            let (contents, after) = rest.split_at(rest.len().min(whole));
            let segment_size = (contents.len() > self.segment).then_some(self.segment);
            let transmit =
                Transmit { destination, ecn: None, contents, segment_size, src_ip: None };
            let _ = port.state.try_send(UdpSockRef::from(&port.socket), &transmit);
            if after.is_empty() {
                return;
            }
            rest = after;
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.key = None;
        self.is_closed = false;
    }
}
