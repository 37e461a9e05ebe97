//! Streams that other servers open (RFC 6120 section 4, XEP-0220 section 2.2).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificates::proven;
use super::{Federation, GOODBYE};
use crate::net::pipe::{Flow, Pipe};
use crate::net::wire::{Stream, Wire};
use crate::net::{MAX_WORK, sleep_until};
use crate::service::{Begun, Server, Stranger};
use crate::stream::names::Names;
use crate::stream::s2s_in::{Action, Rules, S2sIn, Verdict, Verification};
use crate::stream::s2s_out::Purpose;

/// Time for a look back.
const VERIFY: Duration = Duration::from_secs(30);
/// Bytes that may be queued here: nothing but the order to end is.
const QUEUE: usize = 1;

impl Federation {
    /// Serves a connection that begins in the clear and must start TLS (port 5269). `tls` asks for a certificate and
    /// takes any ([`super::AnyCertificate`]). `stranger` counts until a domain is proven.
    pub async fn serve_starttls(
        self,
        stranger: Stranger,
        tcp: TcpStream,
        peer: SocketAddr,
        tls: Arc<rustls::ServerConfig>,
    ) {
        let _ = tcp.set_nodelay(true);
        let Some(mut incoming) = self.incoming(stranger, peer) else { return };
        let mut wire = Stream(tcp);
        if incoming.run(&mut wire).await == End::StartTls {
            let limit = incoming.server.config().limits.unauthenticated_time;
            let accepted = tokio::time::timeout(limit, TlsAcceptor::from(tls).accept(wire.0)).await;
            let Ok(Ok(stream)) = accepted else { return };
            let names = incoming.names(&stream);
            incoming.machine.handle_tls(names);
            incoming.run(&mut Stream(stream)).await;
        }
        incoming.finish().await;
    }

    /// Serves a connection that is TLS from its first byte (XEP-0368, port 5270).
    /// `stranger` was admitted before the handshake.
    pub async fn serve_tls(
        self,
        stranger: Stranger,
        stream: TlsStream<TcpStream>,
        peer: SocketAddr,
    ) {
        let _ = stream.get_ref().0.set_nodelay(true);
        let Some(mut incoming) = self.incoming(stranger, peer) else { return };
        let names = incoming.names(&stream);
        incoming.machine.handle_tls(names);
        incoming.run(&mut Stream(stream)).await;
        incoming.finish().await;
    }

    fn incoming(self, stranger: Stranger, peer: SocketAddr) -> Option<Incoming> {
        let server = self.0.server.get()?.clone();
        let (served, admitted) = (server.clone(), self.clone());
        let rules = Rules {
            serves: Arc::new(move |domain| served.serves(domain)),
            admits: Arc::new(move |domain| admitted.settings().admits(domain)),
            secret: self.settings().secret,
            limits: server.config().limits,
        };
        let machine = S2sIn::new(rules, server.ports().accounts.random(), Instant::now());
        let pipe = Pipe::new(QUEUE);
        let open = server.open_stream(Arc::new(pipe.clone()));
        let (verdicts, verified) = mpsc::channel(1);
        Some(Incoming {
            federation: self,
            server,
            machine,
            stranger: Some(stranger),
            peer,
            pipe,
            verdicts,
            verified,
            work: VecDeque::new(),
            _open: open,
        })
    }

    /// Asks the server that a domain leads to whether it gave out a key.
    async fn verify(self, server: Server, asked: Verification) -> (Verification, Verdict) {
        let purpose = Purpose::Verify { id: asked.id.clone(), key: asked.key.clone() };
        let reached = self.reach(&server, (&asked.to, &asked.from), purpose, false);
        let verdict = match tokio::time::timeout(VERIFY, reached).await {
            Ok(Ok(reached)) => match reached.verified {
                Some(true) => Verdict::Valid,
                _ => Verdict::Invalid,
            },
            _ => Verdict::Unreachable,
        };
        (asked, verdict)
    }
}

#[derive(PartialEq, Eq)]
enum End {
    Closed,
    StartTls,
}

struct Incoming {
    federation: Federation,
    server: Server,
    machine: S2sIn,
    /// Until a domain is proven.
    stranger: Option<Stranger>,
    peer: SocketAddr,
    /// Tells when to end.
    pipe: Pipe,
    verdicts: mpsc::Sender<(Verification, Verdict)>,
    verified: mpsc::Receiver<(Verification, Verdict)>,
    /// Stanzas that were taken and are not finished, oldest first.
    work: VecDeque<Begun>,
    _open: crate::service::OpenStream,
}

impl Incoming {
    fn names(&self, stream: &TlsStream<TcpStream>) -> Names {
        proven(stream.get_ref().1.peer_certificates(), &self.federation.settings().roots)
    }

    async fn run<W: Wire>(&mut self, wire: &mut W) -> End {
        loop {
            let deadline = self.machine.poll_timeout();
            let is_full = self.work.len() >= MAX_WORK;
            tokio::select! {
                biased;
                flow = self.pipe.next() => if let Flow::End(condition) = flow {
                    self.machine.fail(condition, "");
                },
                () = first_kept(&mut self.work) => self.finish_ready().await,
                Some((asked, verdict)) = self.verified.recv() => {
                    self.machine.handle_verified(&asked, verdict, Instant::now());
                }
                received = wire.receive(), if !is_full => match received {
                    Some(bytes) => self.machine.handle_bytes(&bytes, Instant::now()),
                    None => return End::Closed,
                },
                () = sleep_until(deadline) => self.machine.handle_timeout(Instant::now()),
            }
            if let Some(end) = self.act(wire).await {
                return end;
            }
        }
    }

    async fn act<W: Wire>(&mut self, wire: &mut W) -> Option<End> {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Send(bytes) => {
                    if !wire.send(&[bytes], self.server.config().limits.write_stall).await {
                        return Some(End::Closed);
                    }
                }
                Action::StartTls => return Some(End::StartTls),
                Action::Verify(asked) => {
                    let (federation, server) = (self.federation.clone(), self.server.clone());
                    let verdicts = self.verdicts.clone();
                    tokio::spawn(async move {
                        let _ = verdicts.send(federation.verify(server, asked).await).await;
                    });
                }
                Action::Authenticated { from, to, by } => {
                    self.stranger = None;
                    tracing::info!(peer = %self.peer, from, to, by, "stream from another server");
                }
                Action::Stanza(stanza) => {
                    let begun = self.server.begin(*stanza).await;
                    self.work.push_back(begun);
                    self.finish_ready().await;
                }
                Action::Close => {
                    let _ = tokio::time::timeout(GOODBYE, wire.close()).await;
                    return Some(End::Closed);
                }
            }
        }
        None
    }

    async fn finish_ready(&mut self) {
        while let Some(begun) = self.work.pop_front_if(|begun| !begun.waits()) {
            self.server.finish(begun).await;
        }
    }

    async fn finish(mut self) {
        while let Some(begun) = self.work.pop_front() {
            self.server.finish(begun).await;
        }
    }
}

/// Resolves when the stanza that was taken first is kept.
async fn first_kept(work: &mut VecDeque<Begun>) {
    match work.front_mut() {
        Some(begun) => begun.kept().await,
        None => std::future::pending().await,
    }
}
