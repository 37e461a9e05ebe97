//! TCP and TLS connections: who is let in, frames in, bytes out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::task::Inbound;
use super::udp::OwnAddress;
use crate::config::Config;
use crate::msg::Limits;
use crate::msg::stream::{Frame, Framer};
use crate::transport::{Flow, Protocol};

/// Messages that wait for a connection to take them; one more closes it.
const QUEUE: usize = 256;
/// Time for a handshake, for opening a connection, for the rest of a message and for a write.
const PATIENCE: Duration = Duration::from_secs(15);
/// Time to open a connection to a phone.
const CONNECT: Duration = Duration::from_secs(5);
const PONG: &[u8] = b"\r\n";

/// Lets connections in and runs them. Cheap to clone.
#[derive(Clone)]
pub(super) struct Doorman {
    inbox: mpsc::Sender<Vec<Inbound>>,
    limits: Limits,
    idle: Duration,
    next_socket: Arc<AtomicU64>,
    guests: Arc<Guests>,
}

/// How many connections there are, in all and from each address.
struct Guests {
    counts: Mutex<HashMap<IpAddr, usize>>,
    max: usize,
    max_per_peer: usize,
}

/// A place among the guests; given back when dropped.
struct Guest {
    peer: IpAddr,
    guests: Arc<Guests>,
}

impl Guests {
    fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Guest> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = if counts.len() >= self.max { self.max } else { counts.values().sum() };
        let count = counts.entry(peer).or_insert(0);
        if total >= self.max || *count >= self.max_per_peer {
            if *count == 0 {
                counts.remove(&peer);
            }
            return None;
        }
        *count += 1;
        Some(Guest { peer, guests: self.clone() })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.guests.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

impl Doorman {
    pub(super) fn new(config: &Config, inbox: mpsc::Sender<Vec<Inbound>>, limits: Limits) -> Self {
        let guests = Guests {
            counts: Mutex::default(),
            max: config.max_connections,
            max_per_peer: config.max_connections_per_peer,
        };
        Self {
            inbox,
            limits,
            idle: Duration::from_secs(u64::from(config.idle_connection_secs)),
            // Numbers below belong to listeners.
            next_socket: Arc::new(AtomicU64::new(1_000)),
            guests: Arc::new(guests),
        }
    }

    /// Serves a listener until the core is gone.
    pub(super) async fn accept(
        self,
        listener: TcpListener,
        protocol: Protocol,
        advertised: Option<IpAddr>,
        tls: Option<TlsAcceptor>,
    ) {
        let Ok(local) = listener.local_addr() else { return };
        let mut own = OwnAddress::new(local, advertised);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.inbox.closed() => return,
            };
            let Ok((tcp, peer)) = accepted else {
                // Out of descriptors, mostly: waiting lets some close.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Some(guest) = self.guests.admit(peer.ip()) else {
                tracing::info!(%peer, "too many SIP connections, one is turned away");
                continue;
            };
            let socket = self.next_socket.fetch_add(1, Ordering::Relaxed);
            let flow = Flow { protocol, socket, peer, local: own.towards(peer.ip()) };
            tokio::spawn(self.clone().welcome(tcp, flow, tls.clone(), guest));
        }
    }

    async fn welcome(self, tcp: TcpStream, flow: Flow, tls: Option<TlsAcceptor>, guest: Guest) {
        // Messages are whole when written; waiting for more only adds delay.
        let _ = tcp.set_nodelay(true);
        let (writer, queue) = mpsc::channel(QUEUE);
        match tls {
            None => self.serve(tcp, flow, Some(writer), queue).await,
            Some(acceptor) => {
                if let Ok(Ok(stream)) = timeout(PATIENCE, acceptor.accept(tcp)).await {
                    self.serve(stream, flow, Some(writer), queue).await;
                }
            }
        }
        drop(guest);
    }

    /// Opens a connection for the core; what it sends meanwhile waits in the queue.
    pub(super) fn connect(&self, flow: Flow) -> mpsc::Sender<Bytes> {
        let (writer, queue) = mpsc::channel(QUEUE);
        let doorman = self.clone();
        tokio::spawn(async move {
            match timeout(CONNECT, TcpStream::connect(flow.peer)).await {
                Ok(Ok(tcp)) => {
                    let _ = tcp.set_nodelay(true);
                    doorman.serve(tcp, flow, None, queue).await;
                }
                _ => {
                    let _ = doorman.inbox.send(vec![Inbound::Closed { socket: flow.socket }]).await;
                }
            }
        });
        writer
    }

    /// Reads and writes until either side ends it. `writer` is for the core, where it did not open the connection.
    async fn serve<S: AsyncRead + AsyncWrite>(
        &self,
        stream: S,
        flow: Flow,
        writer: Option<mpsc::Sender<Bytes>>,
        queue: mpsc::Receiver<Bytes>,
    ) {
        let (reader, out) = tokio::io::split(stream);
        let (pongs, pong_queue) = mpsc::channel(4);
        if let Some(writer) = writer {
            let opened = vec![Inbound::Opened { flow, writer }];
            if self.inbox.send(opened).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = self.read(reader, flow, pongs) => {}
            () = write(out, queue, pong_queue) => {}
        }
        let _ = self.inbox.send(vec![Inbound::Closed { socket: flow.socket }]).await;
    }

    async fn read<R: AsyncRead>(
        &self,
        reader: tokio::io::ReadHalf<R>,
        flow: Flow,
        pongs: mpsc::Sender<Bytes>,
    ) {
        let mut reader = reader;
        let mut framer = Framer::new(self.limits);
        let mut chunk = vec![0; 4_096];
        loop {
            // Half a message may not wait for long: that would hold our memory for nothing.
            let patience = if framer.pending() > 0 { PATIENCE } else { self.idle };
            let count = match timeout(patience, reader.read(&mut chunk)).await {
                Ok(Ok(count)) if count > 0 => count,
                _ => return,
            };
            framer.push(chunk.get(..count).unwrap_or_default());
            let mut batch = Vec::new();
            let fault = loop {
                match framer.poll() {
                    Ok(Some(Frame::Message(message))) => {
                        batch.push(Inbound::Message { flow, message: Box::new(message) });
                    }
                    Ok(Some(Frame::Ping)) => {
                        let _ = pongs.try_send(Bytes::from_static(PONG));
                    }
                    Ok(Some(Frame::Pong)) => {}
                    Ok(None) => break false,
                    Err(fault) => {
                        if let Some(error) = fault.answer {
                            let message = Box::new(Err(error));
                            batch.push(Inbound::Message { flow, message });
                        }
                        break true;
                    }
                }
            };
            if !batch.is_empty() && self.inbox.send(batch).await.is_err() {
                return;
            }
            if fault {
                // The answer gets a moment to leave before the connection goes.
                tokio::time::sleep(Duration::from_millis(200)).await;
                return;
            }
        }
    }
}

async fn write<W: AsyncWrite>(
    out: tokio::io::WriteHalf<W>,
    mut queue: mpsc::Receiver<Bytes>,
    mut pongs: mpsc::Receiver<Bytes>,
) {
    let mut out = out;
    loop {
        let bytes = tokio::select! {
            Some(bytes) = queue.recv() => bytes,
            Some(bytes) = pongs.recv() => bytes,
            else => break,
        };
        let done = async {
            out.write_all(&bytes).await?;
            out.flush().await
        };
        if !matches!(timeout(PATIENCE, done).await, Ok(Ok(()))) {
            return;
        }
        if queue.is_closed() && queue.is_empty() {
            break;
        }
    }
    let _ = timeout(PATIENCE, out.shutdown()).await;
}
