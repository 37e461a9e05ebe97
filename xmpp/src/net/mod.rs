//! Sockets and tasks of client streams: bytes in, bytes out, deadlines. Decides nothing.

#[cfg(test)]
mod bind_tests;
mod bosh;
mod component;
mod login;
mod outbox;
mod pipe;
mod resume;
pub mod s2s;
#[cfg(test)]
mod sim_tests;
#[cfg(test)]
mod sm_rooms_tests;
#[cfg(test)]
mod sm_tests;
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

pub use self::bosh::BoshSessions;
pub use self::component::Components;
use self::outbox::{Item, Queue, QueueReader};
use self::wire::{Frames, Stream, Wire};
use crate::jid::Jid;
use crate::ports::Outbox;
use crate::service::{Begun, OpenStream, Registration, Server, Stranger};
use crate::stream::binding::Bindings;
use crate::stream::c2s::{Action, C2s, Secured, Transport};
use crate::stream::certified;
use crate::stream::sm;

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
    let stranger = server.admit(peer.ip());
    let mut connection = Connection::new(server, c2s, stranger, peer);
    let mut wire = Stream(tcp);
    let mut end = connection.run(&mut wire).await;
    if end == End::StartTls {
        let limit = connection.server.config().limits.unauthenticated_time;
        let accepting = TlsAcceptor::from(tls.config.clone()).accept(wire.0);
        let accepting = Box::pin(tokio::time::timeout(limit, accepting));
        let accepted = tokio::select! {
            accepted = accepting => accepted,
            _ = connection.reader.ending() => return,
        };
        let Ok(Ok(stream)) = accepted else { return };
        connection.c2s.handle_tls(secured(&stream, tls.end_point));
        end = connection.run(&mut Stream(stream)).await;
    }
    Box::pin(connection.finish(end)).await;
}

/// Serves a connection that is TLS from its first byte (XEP-0368), and was admitted before the handshake.
/// `end_point` is that of the certificate the stream was accepted with, as in [`Tls`].
pub async fn serve_tls(
    server: Server,
    stranger: Stranger,
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
    end_point: Option<Vec<u8>>,
) {
    let _ = stream.get_ref().0.set_nodelay(true);
    let c2s = machine(&server, Transport::Tls, secured(&stream, end_point));
    let mut connection = Connection::new(server, c2s, Some(stranger), peer);
    let end = connection.run(&mut Stream(stream)).await;
    Box::pin(connection.finish(end)).await;
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
    let stranger = server.admit(peer.ip());
    let mut connection = Connection::new(server, c2s, stranger, peer);
    let end = connection.run(&mut Frames { incoming, outgoing }).await;
    Box::pin(connection.finish(end)).await;
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
    C2s::new(transport, config.domains.clone(), config.limits, secured, seed, now())
        .with_policy(server.login_policy())
        .with_registration(server.registers())
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

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// With a goodbye, or by its own fault: there is no coming back.
    Closed,
    /// The client is gone or takes nothing; it may come back.
    Lost,
    StartTls,
}

/// What was taken from the client, in order.
#[allow(clippy::large_enum_variant)] // nearly all are stanzas; a box each would cost more
enum Work {
    /// A stanza that is not finished; true when it counts (XEP-0198).
    Stanza(Begun, bool),
    /// A stanza that was answered before it came here; true when it counts.
    Answered(bool),
    /// The client asks how far this has come.
    AckAsked,
}

struct Connection {
    server: Server,
    c2s: C2s,
    peer: SocketAddr,
    queue: Queue,
    reader: QueueReader,
    outbox: Arc<dyn Outbox>,
    username: String,
    /// What it has done about a new account.
    registration: Registration,
    /// What was taken and is not finished, oldest first.
    work: VecDeque<Work>,
    /// Stanzas are counted (XEP-0198).
    managed: bool,
    /// Until it is logged in.
    stranger: Option<Stranger>,
    /// Under which id the session may be resumed, and whose it is.
    session: Option<(String, Jid)>,
    /// Dropped last, when nothing is queued any more.
    open: OpenStream,
}

impl Connection {
    /// Without a [`Stranger`] its address has too many connections: it is ended at once.
    fn new(server: Server, c2s: C2s, stranger: Option<Stranger>, peer: SocketAddr) -> Self {
        let clock = server.ports().accounts.clone();
        let (queue, reader) = outbox::queue(server.config().max_queued_bytes, clock);
        let outbox: Arc<dyn Outbox> = Arc::new(queue.clone());
        let open = server.open_stream(outbox.clone());
        if stranger.is_none() {
            outbox.end("policy-violation");
        }
        let (username, work, managed) = (String::new(), VecDeque::new(), false);
        Self {
            server,
            c2s,
            peer,
            queue,
            reader,
            outbox,
            username,
            registration: Registration::default(),
            work,
            managed,
            stranger,
            session: None,
            open,
        }
    }

    async fn run<W: Wire>(&mut self, wire: &mut W) -> End {
        loop {
            let deadline = self.c2s.poll_timeout();
            let is_paused = self.c2s.is_paused();
            let is_full = self.work.len() >= MAX_WORK;
            tokio::select! {
                biased;
                // 1. What others send to this client.
                item = self.reader.next() => match item {
                    Item::Parts(parts, count) => {
                        if !self.write_queued(wire, parts, count).await {
                            return End::Lost;
                        }
                    }
                    Item::End(condition) => self.c2s.fail(condition, ""),
                    Item::Taken => {
                        Box::pin(self.give_away(wire)).await;
                        return End::Closed;
                    }
                },
                // 2. What it sent before and is kept now.
                () = first_kept(&mut self.work) => self.finish_ready().await,
                // 3. What it sends; no more is read while much waits for the store.
                received = wire.receive(), if !is_full && !is_paused => match received {
                    Some(bytes) => self.c2s.handle_bytes(&bytes, now()),
                    None => return End::Lost,
                },
                // 4. What is due.
                () = sleep_until(deadline) => self.c2s.handle_timeout(now()),
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
                return Some(End::Lost);
            }
            match action {
                Action::Send(bytes) => out.push(bytes),
                Action::StartTls => return Some(End::StartTls),
                Action::Ask(question) => Box::pin(self.ask(*question)).await,
                Action::LoggedIn(success) => {
                    if success {
                        self.stranger = None;
                    }
                    let accounts = &self.server.ports().accounts;
                    accounts.tried(self.peer.ip(), &self.username, success);
                }
                Action::Bind(resource) => Box::pin(self.bind(resource.as_deref())).await,
                Action::BindInline { bind, device } => {
                    Box::pin(self.bind_inline(&bind, device.as_deref())).await;
                }
                Action::Register { domain, iq } => {
                    let (state, peer) = (&mut self.registration, self.peer.ip());
                    let answer = self.server.register(state, &domain, peer, &iq);
                    let answer = Box::pin(answer).await;
                    self.c2s.handle_registered(&answer);
                }
                Action::Stanza(stanza) => {
                    // Boxed like all that is done for one stanza: an idle session holds no room for it.
                    let begun = Box::pin(self.server.begin(*stanza)).await;
                    self.take(Work::Stanza(begun, self.managed)).await;
                }
                Action::Reply(bytes) => {
                    self.outbox.send(bytes);
                }
                Action::Answered => self.take(Work::Answered(self.managed)).await,
                Action::AckAsked => self.take(Work::AckAsked).await,
                Action::Manage(granted) => self.manage(granted),
                Action::Resume(resume) => Box::pin(self.resume(resume)).await,
                Action::Acked(h) => self.acknowledged(h),
                Action::Active(active) => self.queue.set_active(active),
                Action::Close { last, resumable } => {
                    return Some(Box::pin(self.close(wire, last, resumable)).await);
                }
            }
        }
        if !out.is_empty() && !self.write(wire, &out).await {
            return Some(End::Lost);
        }
        None
    }

    /// What was sent and queued before the end still goes its way, then the last words.
    async fn close<W: Wire>(&mut self, wire: &mut W, last: Bytes, resumable: bool) -> End {
        self.finish_work().await;
        while let Some((parts, count)) = self.reader.take_now() {
            if !self.write_queued(wire, parts, count).await {
                return if resumable { End::Lost } else { End::Closed };
            }
        }
        if self.managed {
            let answer = sm::answer(self.queue.handled_count());
            self.write(wire, &[answer]).await;
        }
        self.write(wire, &[last]).await;
        let _ = tokio::time::timeout(GOODBYE, wire.close()).await;
        if resumable { End::Lost } else { End::Closed }
    }

    async fn take(&mut self, work: Work) {
        self.work.push_back(work);
        self.finish_ready().await;
    }

    /// Finishes what waits for no commit, up to the first that does: one sender's stanzas stay in order.
    async fn finish_ready(&mut self) {
        let is_ready = |work: &mut Work| !matches!(work, Work::Stanza(begun, _) if begun.waits());
        while let Some(work) = self.work.pop_front_if(is_ready) {
            self.finish_one(work).await;
        }
        if self.work.is_empty() {
            self.work = VecDeque::new();
        }
    }

    /// Finishes all, however long the store takes.
    async fn finish_work(&mut self) {
        while let Some(work) = self.work.pop_front() {
            self.finish_one(work).await;
        }
    }

    async fn finish_one(&mut self, work: Work) {
        match work {
            Work::Stanza(begun, counts) => {
                Box::pin(self.server.finish(begun)).await;
                if counts {
                    self.queue.handled();
                }
            }
            Work::Answered(true) => self.queue.handled(),
            // It came before the stanzas were counted (XEP-0198 section 4).
            Work::Answered(false) => {}
            Work::AckAsked => self.c2s.send_ack(self.queue.handled_count()),
        }
    }

    async fn write_queued<W: Wire>(&mut self, wire: &mut W, parts: Vec<Bytes>, count: u64) -> bool {
        let mut parts: Vec<Bytes> = parts.into_iter().map(|part| self.c2s.frame(part)).collect();
        if self.queue.must_ask() {
            parts.push(sm::REQUEST);
            self.c2s.handle_asked(now());
        }
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
            let is_taken = self.reader.ending().await;
            if !is_taken {
                tokio::time::sleep(GOODBYE).await;
            }
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

    async fn bind(&mut self, resource: Option<&str>) {
        let Some(account) = self.c2s.account().cloned() else { return };
        let made_up = self.made_up();
        match self.server.bind(&account, resource, &made_up, self.outbox.clone()) {
            Ok(bound) => {
                let jid = self.server.greet(bound).await;
                tracing::info!(peer = %self.peer, "client logged in");
                self.c2s.handle_bound(jid, now());
            }
            Err(error) => self.c2s.refuse_bind(&error),
        }
    }

    /// The stream is over: nothing that was queued and has not arrived is lost.
    async fn finish(mut self, end: End) {
        self.finish_work().await;
        if end == End::Lost && !self.waits_in_vain().await {
            return;
        }
        let resumed = self.session.as_ref().map(|(_, jid)| jid);
        let Some(jid) = self.c2s.jid().or(resumed).cloned() else { return };
        let Some(left) = self.reader.close(jid.domain()) else { return self.reader.let_go() };
        if let Some((id, _)) = &self.session {
            self.server.forget_session(id, self.queue.handled_count());
        }
        self.server.unbind(&jid, &self.outbox).await;
        for stanza in left {
            self.server.redeliver(stanza).await;
        }
        // What was on its way to it from the store waits again; another device may take it.
        self.server.offer_waiting(&jid.bare()).await;
        tracing::info!(peer = %self.peer, "client left");
        drop(self.open);
    }
}

/// Resolves when the stanza that was taken first is kept.
async fn first_kept(work: &mut VecDeque<Work>) {
    match work.front_mut() {
        Some(Work::Stanza(begun, _)) => begun.kept().await,
        _ => std::future::pending().await,
    }
}

/// The time of the runtime, which tests make jump.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
