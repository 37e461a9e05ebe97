//! Sockets and tasks of client streams: bytes in, bytes out, deadlines. Decides nothing.

mod component;
mod login;
mod outbox;
mod pipe;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use self::component::Components;
use self::outbox::{Item, Queue, QueueReader};
use self::wire::{Frames, Stream, Wire};
use crate::ports::Outbox;
use crate::service::{Begun, OpenStream, Server};
use crate::stream::binding::Bindings;
use crate::stream::c2s::{Action, C2s, Secured, Transport};
use crate::stream::certified;

/// Time to take the rest once a stream is to end: after a conflict, an overflow, or when the node stops.
const GOODBYE: Duration = Duration::from_secs(2);
/// Stanzas of one client that may wait for the store before no more is read from it.
const MAX_WORK: usize = 64;

/// Ends all streams and waits until what they had queued is written, or given to other devices and the store. False
/// when some had not left after `limit`.
pub async fn stop(server: &Server, limit: Duration) -> bool {
    server.close_all();
    tokio::time::timeout(limit, server.all_left()).await.is_ok()
}

/// Serves a connection that begins in the clear and must start TLS (port 5222).
pub async fn serve_starttls(server: Server, tcp: TcpStream, peer: SocketAddr, tls: Tls) {
    let _ = tcp.set_nodelay(true);
    let c2s = machine(&server, Transport::Tcp, Secured::default());
    let mut connection = Connection::new(server, c2s, peer);
    let mut wire = Stream(tcp);
    if connection.run(&mut wire).await == End::StartTls {
        let limit = connection.server.config().limits.unauthenticated_time;
        let accepted = tokio::select! {
            accepted = tokio::time::timeout(limit, TlsAcceptor::from(tls.config.clone()).accept(wire.0)) => accepted,
            () = connection.reader.ending() => return,
        };
        let Ok(Ok(stream)) = accepted else { return };
        connection.c2s.handle_tls(secured(&stream, tls.end_point));
        connection.run(&mut Stream(stream)).await;
    }
    connection.finish().await;
}

/// Serves a connection that is TLS from its first byte (XEP-0368).
/// `end_point` is that of the certificate the stream was accepted with, as in [`Tls`].
pub async fn serve_tls(
    server: Server,
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
    end_point: Option<Vec<u8>>,
) {
    let _ = stream.get_ref().0.set_nodelay(true);
    let c2s = machine(&server, Transport::Tls, secured(&stream, end_point));
    let mut connection = Connection::new(server, c2s, peer);
    connection.run(&mut Stream(stream)).await;
    connection.finish().await;
}

/// Serves a WebSocket whose frames travel over these channels (RFC 7395).
pub async fn serve_websocket(
    server: Server,
    incoming: mpsc::Receiver<Bytes>,
    outgoing: mpsc::Sender<Bytes>,
    peer: SocketAddr,
) {
    // Its TLS ends elsewhere, and browsers know nothing of it.
    let c2s = machine(&server, Transport::WebSocket, Secured::default());
    let mut connection = Connection::new(server, c2s, peer);
    connection.run(&mut Frames { incoming, outgoing }).await;
    connection.finish().await;
}

/// How to accept TLS, and with which certificate.
#[derive(Clone)]
pub struct Tls {
    /// The settings.
    pub config: Arc<rustls::ServerConfig>,
    /// The tls-server-end-point binding of the certificate that these settings present, from
    /// [`crate::stream::binding::end_point`].
    pub end_point: Option<Vec<u8>>,
}

fn machine(server: &Server, transport: Transport, secured: Secured) -> C2s {
    let config = server.config();
    let seed = server.ports().accounts.random();
    C2s::new(transport, config.domains.clone(), config.limits, secured, seed, Instant::now())
        .with_policy(server.login_policy())
        .with_caps(server.caps())
}

/// What a TLS connection gives a login: bindings, and the client's certificate where the settings have asked for one,
/// which rustls has then verified.
fn secured(stream: &TlsStream<TcpStream>, end_point: Option<Vec<u8>>) -> Secured {
    let (_, tls) = stream.get_ref();
    // RFC 9266: 32 bytes under this label, TLS 1.3 only.
    let is_13 = tls.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
    let export = || {
        tls.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None)
            .ok()
            .map(|key| key.to_vec())
    };
    let exporter = is_13.then(export).flatten();
    let certificate = tls.peer_certificates().and_then(|chain| chain.first());
    Secured {
        bindings: Bindings { exporter, end_point },
        identities: certificate.map(|c| certified::identities(c)).unwrap_or_default(),
    }
}

#[derive(PartialEq, Eq)]
enum End {
    Closed,
    StartTls,
}

struct Connection {
    server: Server,
    c2s: C2s,
    peer: SocketAddr,
    queue: Queue,
    reader: QueueReader,
    outbox: Arc<dyn Outbox>,
    username: String,
    /// Stanzas that were taken and are not finished, oldest first.
    work: VecDeque<Begun>,
    /// Dropped last, when nothing is queued any more.
    open: OpenStream,
}

impl Connection {
    fn new(server: Server, c2s: C2s, peer: SocketAddr) -> Self {
        let (queue, reader) = outbox::queue(server.config().max_queued_bytes);
        let outbox: Arc<dyn Outbox> = Arc::new(queue.clone());
        let open = server.open_stream(outbox.clone());
        let (username, work) = (String::new(), VecDeque::new());
        Self { server, c2s, peer, queue, reader, outbox, username, work, open }
    }

    async fn run<W: Wire>(&mut self, wire: &mut W) -> End {
        loop {
            let deadline = self.c2s.poll_timeout();
            let is_full = self.work.len() >= MAX_WORK;
            tokio::select! {
                biased;
                // 1. What others send to this client.
                item = self.reader.next() => match item {
                    Item::Parts(parts, count) => {
                        if !self.write_queued(wire, parts, count).await {
                            return End::Closed;
                        }
                    }
                    Item::End(condition) => self.c2s.fail(condition, ""),
                },
                // 2. What it sent before and is kept now.
                () = first_kept(&mut self.work) => self.finish_ready().await,
                // 3. What it sends; no more is read while much waits for the store.
                received = wire.receive(), if !is_full => match received {
                    Some(bytes) => self.c2s.handle_bytes(&bytes, Instant::now()),
                    None => return End::Closed,
                },
                // 4. What is due.
                () = sleep_until(deadline) => self.c2s.handle_timeout(Instant::now()),
            }
            if let Some(end) = self.act(wire).await {
                return end;
            }
        }
    }

    async fn act<W: Wire>(&mut self, wire: &mut W) -> Option<End> {
        let mut out = Vec::new();
        while let Some(action) = self.c2s.poll_action() {
            if !matches!(action, Action::Send(_))
                && !out.is_empty()
                && !self.write(wire, &std::mem::take(&mut out)).await
            {
                return Some(End::Closed);
            }
            match action {
                Action::Send(bytes) => out.push(bytes),
                Action::StartTls => return Some(End::StartTls),
                Action::Ask(question) => self.ask(*question).await,
                Action::LoggedIn(success) => {
                    let accounts = &self.server.ports().accounts;
                    accounts.tried(self.peer.ip(), &self.username, success);
                }
                Action::Bind(resource) => self.bind(resource.as_deref()),
                Action::BindInline { bind, device } => self.bind_inline(&bind, device.as_deref()),
                Action::Stanza(stanza) => {
                    let begun = self.server.begin(*stanza).await;
                    self.work.push_back(begun);
                    self.finish_ready().await;
                }
                Action::Close => {
                    // What was queued before the end still goes out.
                    while let Some((parts, count)) = self.reader.take_now() {
                        if !self.write_queued(wire, parts, count).await {
                            return Some(End::Closed);
                        }
                    }
                    let _ = tokio::time::timeout(GOODBYE, wire.close()).await;
                    return Some(End::Closed);
                }
            }
        }
        if !out.is_empty() && !self.write(wire, &out).await {
            return Some(End::Closed);
        }
        None
    }

    /// Finishes what waits for no commit, up to the first that does: one sender's stanzas stay in order.
    async fn finish_ready(&mut self) {
        while let Some(begun) = self.work.pop_front_if(|begun| !begun.waits()) {
            self.server.finish(begun).await;
        }
    }

    async fn write_queued<W: Wire>(&mut self, wire: &mut W, parts: Vec<Bytes>, count: u64) -> bool {
        let parts: Vec<Bytes> = parts.into_iter().map(|part| self.c2s.frame(part)).collect();
        let written = self.write(wire, &parts).await;
        if written {
            self.queue.written(count);
        }
        written
    }

    /// Writes, unless the client takes nothing for too long; shortly once the stream is to end.
    async fn write<W: Wire>(&mut self, wire: &mut W, parts: &[Bytes]) -> bool {
        let stall = self.server.config().limits.write_stall;
        let hurried = async {
            self.reader.ending().await;
            tokio::time::sleep(GOODBYE).await;
        };
        let written = tokio::select! {
            biased;
            written = wire.send(parts, stall) => written,
            () = hurried => false,
        };
        if !written {
            tracing::debug!(peer = %self.peer, "client does not read or is gone");
        }
        written
    }

    fn bind(&mut self, resource: Option<&str>) {
        let Some(account) = self.c2s.account().cloned() else { return };
        let made_up = self.made_up();
        match self.server.bind(&account, resource, &made_up, self.outbox.clone()) {
            Ok(jid) => {
                tracing::info!(peer = %self.peer, "client logged in");
                self.c2s.handle_bound(jid, Instant::now());
            }
            Err(error) => self.c2s.fail("policy-violation", error.condition.name()),
        }
    }

    /// The stream is over: nothing that was queued and not written is lost.
    async fn finish(mut self) {
        while let Some(begun) = self.work.pop_front() {
            self.server.finish(begun).await;
        }
        let Some(jid) = self.c2s.jid().cloned() else { return };
        self.server.unbind(&jid, &self.outbox).await;
        for stanza in self.reader.close() {
            self.server.redeliver(stanza).await;
        }
        // What was on its way to it from the store waits again; another device may take it.
        self.server.offer_waiting(&jid.bare()).await;
        tracing::info!(peer = %self.peer, "client left");
        drop(self.open);
    }
}

/// Resolves when the stanza that was taken first is kept.
async fn first_kept(work: &mut VecDeque<Begun>) {
    match work.front_mut() {
        Some(begun) => begun.kept().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
