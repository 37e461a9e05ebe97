//! SIP over WebSocket (RFC 7118): one message is one frame, and answers leave by the socket that asked.
//!
//! Whoever serves HTTP does the handshake and hands the frames in; text and binary ones mean the same here.

use std::net::SocketAddr;
use std::time::Instant as StdInstant;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::stream::{Doorman, PATIENCE, PONG, QUEUE};
use super::task::Inbound;
use crate::msg::parse_datagram;
use crate::transport::{Flow, Protocol};

/// Both ends of a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebSocketEnds {
    /// The phone.
    pub peer: SocketAddr,
    /// Our address, as Via and Contact name it.
    pub local: SocketAddr,
    /// Whether it runs under TLS.
    pub is_secure: bool,
}

impl Doorman {
    /// Until either side ends it.
    pub(super) async fn websocket(
        &self,
        incoming: mpsc::Receiver<Bytes>,
        outgoing: mpsc::Sender<Bytes>,
        ends: WebSocketEnds,
    ) {
        let Some((guest, socket)) = self.admit(ends.peer) else { return };
        let protocol = if ends.is_secure { Protocol::Wss } else { Protocol::Ws };
        let flow = Flow { protocol, socket, peer: ends.peer, local: ends.local };
        let (writer, queue) = mpsc::channel(QUEUE);
        if self.inbox.send(vec![Inbound::Opened { flow, writer }]).await.is_err() {
            return;
        }
        tokio::select! {
            () = self.read_frames(incoming, &outgoing, flow) => {}
            () = write_frames(queue, &outgoing) => {}
        }
        let _ = self.inbox.send(vec![Inbound::Closed { socket }]).await;
        drop(guest);
    }

    async fn read_frames(
        &self,
        mut incoming: mpsc::Receiver<Bytes>,
        outgoing: &mpsc::Sender<Bytes>,
        flow: Flow,
    ) {
        let opened = Instant::now();
        // Who opens a socket has to say something soon.
        let mut is_known = false;
        loop {
            let until = if is_known { Instant::now() + self.idle } else { opened + PATIENCE };
            let Ok(Some(frame)) = timeout_at(until, incoming.recv()).await else { return };
            if frame.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                // A keep-alive (section 6, RFC 5626 section 4.4.1): two line ends ask for one.
                if frame.len() >= 4 {
                    let _ = outgoing.try_send(Bytes::from_static(PONG));
                }
                continue;
            }
            self.charge(flow.peer, 1).await;
            let (message, at) = (Box::new(parse_datagram(frame, &self.limits)), StdInstant::now());
            is_known |= message.is_ok();
            if self.inbox.send(vec![Inbound::Message { flow, message, at }]).await.is_err() {
                return;
            }
        }
    }
}

/// Without a core, or given up by it, the socket ends.
async fn write_frames(mut queue: mpsc::Receiver<Bytes>, outgoing: &mpsc::Sender<Bytes>) {
    while let Some(bytes) = queue.recv().await {
        if !matches!(timeout(PATIENCE, outgoing.send(bytes)).await, Ok(Ok(()))) {
            return;
        }
    }
}
