//! Sockets and tasks of client streams: bytes in, bytes out, deadlines. Decides nothing.

mod outbox;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::outbox::{Item, Queue, QueueReader};
use crate::jid::Jid;
use crate::ports::Outbox;
use crate::service::Server;
use crate::stream::c2s::{Action, C2s, Transport};
use crate::stream::sasl::ScramKeys;

/// Bytes read at once.
const READ: usize = 8 * 1024;

/// Where frames of one connection come from and go to.
trait Wire: Send {
    /// The next bytes or frame; `None` at the end.
    fn receive(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
    /// Writes all of these; false when the peer is gone.
    fn send(&mut self, parts: &[Bytes]) -> impl Future<Output = bool> + Send;
    /// Says goodbye.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}

struct Stream<S>(S);

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for Stream<S> {
    async fn receive(&mut self) -> Option<Bytes> {
        // One poll, one read: the connection may drop this future at any await, and bytes already read must not go
        // with it. The buffer lives only for that poll, so an idle stream holds none.
        std::future::poll_fn(|cx| {
            let mut space = [0; READ];
            let mut read = ReadBuf::new(&mut space);
            match Pin::new(&mut self.0).poll_read(cx, &mut read) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    Poll::Ready(Some(Bytes::copy_from_slice(read.filled())))
                }
                Poll::Ready(_) => Poll::Ready(None),
            }
        })
        .await
    }

    async fn send(&mut self, parts: &[Bytes]) -> bool {
        let sent = match parts {
            [one] => self.0.write_all(one).await,
            many => self.0.write_all(&many.concat()).await,
        };
        sent.is_ok() && self.0.flush().await.is_ok()
    }

    async fn close(&mut self) {
        let _ = self.0.shutdown().await;
    }
}

struct Frames {
    incoming: mpsc::Receiver<Bytes>,
    outgoing: mpsc::Sender<Bytes>,
}

impl Wire for Frames {
    async fn receive(&mut self) -> Option<Bytes> {
        self.incoming.recv().await
    }

    async fn send(&mut self, parts: &[Bytes]) -> bool {
        for part in parts {
            if self.outgoing.send(part.clone()).await.is_err() {
                return false;
            }
        }
        true
    }

    async fn close(&mut self) {}
}

/// Serves a connection that begins in the clear and must start TLS (port 5222).
pub async fn serve_starttls(
    server: Server,
    tcp: TcpStream,
    peer: SocketAddr,
    tls: Arc<rustls::ServerConfig>,
) {
    let _ = tcp.set_nodelay(true);
    let c2s = machine(&server, Transport::Tcp, None);
    let mut connection = Connection::new(server, c2s, peer);
    let mut wire = Stream(tcp);
    if connection.run(&mut wire).await == End::StartTls {
        let limit = connection.server.config().limits.unauthenticated_time;
        let accepted = tokio::time::timeout(limit, TlsAcceptor::from(tls).accept(wire.0)).await;
        let Ok(Ok(stream)) = accepted else { return };
        connection.c2s.handle_tls(exporter(&stream));
        connection.run(&mut Stream(stream)).await;
    }
    connection.finish().await;
}

/// Serves a connection that is TLS from its first byte (XEP-0368).
pub async fn serve_tls(server: Server, stream: TlsStream<TcpStream>, peer: SocketAddr) {
    let _ = stream.get_ref().0.set_nodelay(true);
    let c2s = machine(&server, Transport::Tls, exporter(&stream));
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
    let c2s = machine(&server, Transport::WebSocket, None);
    let mut connection = Connection::new(server, c2s, peer);
    connection.run(&mut Frames { incoming, outgoing }).await;
    connection.finish().await;
}

fn machine(server: &Server, transport: Transport, exporter: Option<Vec<u8>>) -> C2s {
    let config = server.config();
    let seed = server.ports().accounts.random();
    C2s::new(transport, config.domains.clone(), config.limits, exporter, seed, Instant::now())
}

/// RFC 9266: 32 bytes under this label, TLS 1.3 only.
fn exporter(stream: &TlsStream<TcpStream>) -> Option<Vec<u8>> {
    let (_, tls) = stream.get_ref();
    if tls.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
        return None;
    }
    tls.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None).ok().map(|k| k.to_vec())
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
}

impl Connection {
    fn new(server: Server, c2s: C2s, peer: SocketAddr) -> Self {
        let (queue, reader) = outbox::queue(server.config().max_queued_bytes);
        let outbox: Arc<dyn Outbox> = Arc::new(queue.clone());
        Self { server, c2s, peer, queue, reader, outbox, username: String::new() }
    }

    async fn run<W: Wire>(&mut self, wire: &mut W) -> End {
        loop {
            let deadline = self.c2s.poll_timeout();
            tokio::select! {
                biased;
                // 1. What others send to this client.
                item = self.reader.next() => match item {
                    Item::Parts(parts, count) => {
                        let parts = self.framed(parts);
                        if !wire.send(&parts).await {
                            return End::Closed;
                        }
                        self.queue.written(count);
                    }
                    Item::End(condition) => self.c2s.fail(condition, ""),
                },
                // 2. What it sends.
                received = wire.receive() => match received {
                    Some(bytes) => self.c2s.handle_bytes(&bytes, Instant::now()),
                    None => return End::Closed,
                },
                // 3. What is due.
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
                && !wire.send(&std::mem::take(&mut out)).await
            {
                return Some(End::Closed);
            }
            match action {
                Action::Send(bytes) => out.push(bytes),
                Action::StartTls => return Some(End::StartTls),
                Action::NeedKeys { account, username, hash } => {
                    self.username.clone_from(&username);
                    self.look_up(account, &username, hash).await;
                }
                Action::LoggedIn(success) => {
                    let accounts = &self.server.ports().accounts;
                    accounts.tried(self.peer.ip(), &self.username, success);
                }
                Action::Bind(resource) => self.bind(resource.as_deref()),
                Action::Stanza(stanza) => {
                    self.server.handle(*stanza).await;
                }
                Action::Close => {
                    // What was queued before the end still goes out.
                    if let Some((parts, count)) = self.reader.take_now() {
                        let parts = self.framed(parts);
                        if !wire.send(&parts).await {
                            return Some(End::Closed);
                        }
                        self.queue.written(count);
                    }
                    wire.close().await;
                    return Some(End::Closed);
                }
            }
        }
        if !out.is_empty() && !wire.send(&out).await {
            return Some(End::Closed);
        }
        None
    }

    fn framed(&self, parts: Vec<Bytes>) -> Vec<Bytes> {
        parts.into_iter().map(|part| self.c2s.frame(part)).collect()
    }

    async fn look_up(
        &mut self,
        account: Option<Jid>,
        username: &str,
        hash: crate::stream::sasl::ScramHash,
    ) {
        let ports = self.server.ports();
        let wait = ports.accounts.delay(self.peer.ip(), username);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let keys = match &account {
            Some(account) => ports.accounts.scram(account, hash).await.map_err(|error| {
                tracing::error!(%error, "login keys cannot be read");
            }),
            None => Ok(None),
        };
        let iterations = self.server.config().scram_iterations;
        let secret = ports.secret;
        let fake = || ScramKeys::fake(hash, &secret, username, iterations);
        self.c2s.handle_keys(keys, fake, Instant::now());
    }

    fn bind(&mut self, resource: Option<&str>) {
        let Some(account) = self.c2s.account().cloned() else { return };
        let random = self.server.ports().accounts.random();
        let made_up: String = random.iter().take(8).map(|b| format!("{b:02x}")).collect();
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
        let Some(jid) = self.c2s.jid().cloned() else { return };
        self.server.unbind(&jid, &self.outbox).await;
        for stanza in self.reader.close() {
            self.server.redeliver(stanza).await;
        }
        tracing::info!(peer = %self.peer, "client left");
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A busy outgoing queue drops the pending read again and again; what was read must come out.
    #[tokio::test]
    async fn a_read_that_is_dropped_loses_nothing() {
        let (mut far, near) = tokio::io::duplex(4096);
        far.write_all(&[b'x'; 1024]).await.unwrap();
        let mut wire = Stream(near);
        let got = tokio::select! {
            biased;
            got = wire.receive() => got,
            () = std::future::ready(()) => None,
        };
        assert_eq!(got.map(|b| b.len()), Some(1024));
    }
}
