//! TCP and TLS connections: who is let in, frames in, bytes out.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certificates::proven;
use super::task::{Inbound, SharedBudgets};
use super::udp::OwnAddress;
use crate::config::Config;
use crate::msg::Limits;
use crate::msg::stream::{Frame, Framer};
use crate::transport::{Flow, Protocol};

/// Messages that wait for a connection to take them; one more closes it.
pub(super) const QUEUE: usize = 256;
/// Time for a handshake, for the first message, for the rest of a message and for a write.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// Time to open a connection to a phone.
const CONNECT: Duration = Duration::from_secs(5);
pub(super) const PONG: &[u8] = b"\r\n";

/// Lets connections in and runs them. Cheap to clone.
#[derive(Clone)]
pub(super) struct Doorman {
    pub(super) inbox: mpsc::Sender<Vec<Inbound>>,
    budgets: SharedBudgets,
    pub(super) limits: Limits,
    pub(super) idle: Duration,
    connector: Option<TlsConnector>,
    /// Whose word counts for certificates that are shown to us.
    roots: Option<Arc<RootCertStore>>,
    next_socket: Arc<AtomicU64>,
    guests: Arc<Guests>,
    /// Where connections live.
    runtime: Handle,
}

/// How many connections there are, in all and from each address.
struct Guests {
    present: Mutex<Present>,
    max: usize,
    max_per_peer: usize,
}

#[derive(Default)]
struct Present {
    total: usize,
    from: HashMap<IpAddr, usize>,
}

/// A place among the guests; given back when dropped.
pub(super) struct Guest {
    peer: IpAddr,
    guests: Arc<Guests>,
}

impl Guests {
    fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Guest> {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let count = present.from.get(&peer).copied().unwrap_or(0);
        if present.total >= self.max || count >= self.max_per_peer {
            return None;
        }
        present.total += 1;
        present.from.insert(peer, count + 1);
        Some(Guest { peer, guests: self.clone() })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut present = self.guests.present.lock().unwrap_or_else(PoisonError::into_inner);
        present.total = present.total.saturating_sub(1);
        if let Some(count) = present.from.get_mut(&self.peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                present.from.remove(&self.peer);
            }
        }
    }
}

impl Doorman {
    pub(super) fn new(
        config: &Config,
        (inbox, budgets): (mpsc::Sender<Vec<Inbound>>, SharedBudgets),
        limits: Limits,
        connector: Option<TlsConnector>,
        roots: Option<Arc<RootCertStore>>,
    ) -> Self {
        let guests = Guests {
            present: Mutex::default(),
            max: config.max_connections,
            max_per_peer: config.max_connections_per_peer,
        };
        Self {
            inbox,
            budgets,
            limits,
            idle: Duration::from_secs(u64::from(config.idle_connection_secs)),
            connector,
            roots,
            // Numbers below belong to listeners.
            next_socket: Arc::new(AtomicU64::new(1_000)),
            guests: Arc::new(guests),
            runtime: Handle::current(),
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
            let Some((guest, socket)) = self.admit(peer) else { continue };
            let flow = Flow { protocol, socket, peer, local: own.towards(peer.ip()) };
            tokio::spawn(self.clone().welcome(tcp, flow, tls.clone(), guest));
        }
    }

    /// A place for one more connection and its number, unless there are too many.
    pub(super) fn admit(&self, peer: SocketAddr) -> Option<(Guest, u64)> {
        let Some(guest) = self.guests.admit(peer.ip()) else {
            tracing::info!(%peer, "too many SIP connections, one is turned away");
            return None;
        };
        Some((guest, self.next_socket.fetch_add(1, Ordering::Relaxed)))
    }

    /// Who sends more than its budget has is read from later. Reading is cheap; what is read is not looked at before.
    pub(super) async fn charge(&self, peer: SocketAddr, messages: usize) {
        for _ in 0..messages {
            let wait = {
                let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
                budgets.wait(peer.ip(), std::time::Instant::now())
            };
            if !wait.is_zero() {
                tokio::time::sleep(wait.min(PATIENCE)).await;
            }
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
                    let chain = stream.get_ref().1.peer_certificates();
                    let names = self.roots.as_ref().map(|roots| proven(chain, roots));
                    if let Some(names) = names.filter(|names| !names.is_empty()) {
                        let proven = Inbound::Proven { socket: flow.socket, names };
                        let _ = self.inbox.send(vec![proven]).await;
                    }
                    self.serve(stream, flow, Some(writer), queue).await;
                }
            }
        }
        drop(guest);
    }

    /// Opens a connection for the core; what it sends meanwhile waits in the queue.
    pub(super) fn connect(&self, flow: Flow, name: Option<String>) -> mpsc::Sender<Bytes> {
        let (writer, queue) = mpsc::channel(QUEUE);
        let doorman = self.clone();
        self.runtime.spawn(async move {
            if !doorman.open(flow, name, queue).await {
                let _ = doorman.inbox.send(vec![Inbound::Closed { socket: flow.socket }]).await;
            }
        });
        writer
    }

    /// False: there is nobody, or it is somebody else.
    async fn open(&self, flow: Flow, name: Option<String>, queue: mpsc::Receiver<Bytes>) -> bool {
        let Ok(Ok(tcp)) = timeout(CONNECT, TcpStream::connect(flow.peer)).await else {
            return false;
        };
        let _ = tcp.set_nodelay(true);
        if flow.protocol != Protocol::Tls {
            self.serve(tcp, flow, None, queue).await;
            return true;
        }
        let name = name
            .and_then(|name| ServerName::try_from(name.trim_matches(['[', ']']).to_owned()).ok());
        let (Some(connector), Some(name)) = (&self.connector, name) else { return false };
        match timeout(PATIENCE, connector.connect(name, tcp)).await {
            Ok(Ok(stream)) => self.serve(stream, flow, None, queue).await,
            Ok(Err(error)) => {
                tracing::info!(peer = %flow.peer, %error, "no TLS with a SIP server");
                return false;
            }
            Err(_) => return false,
        }
        true
    }

    /// Reads and writes until either side ends it. `writer` is for the core, where it did not open the connection.
    pub(super) async fn serve<S: AsyncRead + AsyncWrite>(
        &self,
        stream: S,
        flow: Flow,
        writer: Option<mpsc::Sender<Bytes>>,
        queue: mpsc::Receiver<Bytes>,
    ) {
        let (reader, out) = tokio::io::split(stream);
        let (pongs, pong_queue) = mpsc::channel(4);
        let is_known = writer.is_none();
        if let Some(writer) = writer {
            let opened = vec![Inbound::Opened { flow, writer }];
            if self.inbox.send(opened).await.is_err() {
                return;
            }
        }
        // Whom we called is known; who calls has to say something soon.
        tokio::select! {
            () = self.read(reader, flow, pongs, is_known) => {}
            () = write(out, queue, pong_queue) => {}
        }
        let _ = self.inbox.send(vec![Inbound::Closed { socket: flow.socket }]).await;
    }

    async fn read<R: AsyncRead>(
        &self,
        reader: tokio::io::ReadHalf<R>,
        flow: Flow,
        pongs: mpsc::Sender<Bytes>,
        mut is_known: bool,
    ) {
        let mut reader = reader;
        let mut framer = Framer::new(self.limits);
        let mut chunk = vec![0; 4_096];
        let opened = Instant::now();
        // When the message began that is not whole yet.
        let mut begun = None;
        loop {
            // Half a message may not wait for long, however it drips: that would hold our memory for nothing.
            let until = match begun {
                _ if !is_known => opened + PATIENCE,
                Some(begun) => begun + PATIENCE,
                None => Instant::now() + self.idle,
            };
            let count = match timeout_at(until, reader.read(&mut chunk)).await {
                Ok(Ok(count)) if count > 0 => count,
                _ => return,
            };
            self.charge(flow.peer, 1).await;
            framer.push(chunk.get(..count).unwrap_or_default());
            let at = std::time::Instant::now();
            let mut batch = Vec::new();
            let fault = loop {
                match framer.poll() {
                    Ok(Some(Frame::Message(message))) => {
                        is_known |= message.is_ok();
                        begun = None;
                        batch.push(Inbound::Message { flow, message: Box::new(message), at });
                    }
                    Ok(Some(Frame::Ping)) => {
                        let _ = pongs.try_send(Bytes::from_static(PONG));
                    }
                    Ok(Some(Frame::Pong)) => {}
                    Ok(None) => break false,
                    Err(fault) => {
                        if let Some(error) = fault.answer {
                            let message = Box::new(Err(error));
                            batch.push(Inbound::Message { flow, message, at });
                        }
                        break true;
                    }
                }
            };
            begun = match framer.pending() {
                0 => None,
                _ => begun.or_else(|| Some(Instant::now())),
            };
            // One is charged already.
            let more = batch.len().saturating_sub(1);
            if !batch.is_empty() && self.inbox.send(batch).await.is_err() {
                return;
            }
            self.charge(flow.peer, more).await;
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
            // Without a core, or given up by it: what is queued was sent, the connection ends.
            bytes = queue.recv() => match bytes {
                Some(bytes) => bytes,
                None => break,
            },
            Some(bytes) = pongs.recv() => bytes,
        };
        let done = async {
            out.write_all(&bytes).await?;
            out.flush().await
        };
        if !matches!(timeout(PATIENCE, done).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = timeout(PATIENCE, out.shutdown()).await;
}
