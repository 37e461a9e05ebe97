//! Sockets of external components (XEP-0114), and which of them is connected.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::net::TcpStream;

use super::pipe::{Flow, Pipe};
use super::wire::{Stream, Wire};
use super::{GOODBYE, sleep_until};
use crate::ports::Outbox;
use crate::service::Server;
use crate::stanza::Condition;
use crate::stream::component::{Action, Component, Host};

/// The components of this node. Cheap to clone.
#[derive(Clone)]
pub struct Components(Arc<Inner>);

struct Inner {
    hosts: Vec<Host>,
    max_queued_bytes: usize,
    connected: Mutex<HashMap<String, Pipe>>,
}

impl Components {
    /// Those that may connect; `max_queued_bytes` bounds what waits for one that does not read.
    pub fn new(hosts: Vec<Host>, max_queued_bytes: usize) -> Self {
        Self(Arc::new(Inner { hosts, max_queued_bytes, connected: Mutex::default() }))
    }

    fn connected(&self) -> MutexGuard<'_, HashMap<String, Pipe>> {
        self.0.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a stanza for a component; `None` when the domain is no component's, false when the component is away or
    /// does not read.
    pub fn send(&self, domain: &str, stanza: Bytes) -> Option<bool> {
        if !self.0.hosts.iter().any(|host| host.domain == domain) {
            return None;
        }
        let pipe = self.connected().get(domain).cloned();
        Some(pipe.is_some_and(|pipe| pipe.push(stanza)))
    }

    /// Serves one connection.
    pub async fn serve(self, server: Server, tcp: TcpStream, peer: SocketAddr) {
        let _ = tcp.set_nodelay(true);
        let seed = server.ports().accounts.random();
        let limits = server.config().limits;
        let machine = Component::new(self.0.hosts.clone(), limits, seed, Instant::now());
        let pipe = Pipe::new(self.0.max_queued_bytes);
        let open = server.open_stream(Arc::new(pipe.clone()));
        let mut connection =
            Connection { server, components: self, machine, pipe, domain: None, peer };
        connection.run(&mut Stream(tcp)).await;
        connection.finish().await;
        drop(open);
    }
}

struct Connection {
    server: Server,
    components: Components,
    machine: Component,
    pipe: Pipe,
    domain: Option<String>,
    peer: SocketAddr,
}

impl Connection {
    async fn run<W: Wire>(&mut self, wire: &mut W) {
        loop {
            let deadline = self.machine.poll_timeout();
            tokio::select! {
                biased;
                flow = self.pipe.next() => match flow {
                    Flow::Stanzas(batch) => {
                        if !self.write_queued(wire, batch).await {
                            return;
                        }
                    }
                    Flow::End(condition) => self.machine.fail(condition, ""),
                },
                received = wire.receive() => match received {
                    Some(bytes) => self.machine.handle_bytes(&bytes, Instant::now()),
                    None => return,
                },
                () = sleep_until(deadline) => self.machine.handle_timeout(Instant::now()),
            }
            while let Some(action) = self.machine.poll_action() {
                match action {
                    Action::Send(bytes) => {
                        if !self.write(wire, &[bytes]).await {
                            return;
                        }
                    }
                    Action::Accepted(domain) => self.accepted(domain),
                    Action::Stanza(stanza) => {
                        self.server.handle(*stanza).await;
                    }
                    Action::Close => {
                        let _ = tokio::time::timeout(GOODBYE, wire.close()).await;
                        return;
                    }
                }
            }
        }
    }

    fn accepted(&mut self, domain: String) {
        tracing::info!(peer = %self.peer, component = %domain, "component connected");
        let old = self.components.connected().insert(domain.clone(), self.pipe.clone());
        if let Some(old) = old {
            old.end("conflict");
        }
        self.domain = Some(domain);
    }

    async fn write_queued<W: Wire>(&mut self, wire: &mut W, batch: Vec<Bytes>) -> bool {
        let framed: Vec<Bytes> = batch.iter().map(Component::frame).collect();
        let written = self.write(wire, &framed).await;
        if written {
            self.pipe.written();
        } else {
            self.give_back(batch).await;
        }
        written
    }

    async fn write<W: Wire>(&self, wire: &mut W, parts: &[Bytes]) -> bool {
        wire.send(parts, self.server.config().limits.write_stall).await
    }

    async fn give_back(&self, stanzas: Vec<Bytes>) {
        for stanza in stanzas {
            self.server.returned(stanza, Condition::ServiceUnavailable).await;
        }
    }

    async fn finish(self) {
        if let Some(domain) = &self.domain {
            let mut connected = self.components.connected();
            if connected.get(domain).is_some_and(|pipe| pipe.is(&self.pipe)) {
                connected.remove(domain);
            }
            drop(connected);
            tracing::info!(peer = %self.peer, component = %domain, "component left");
        }
        let left = self.pipe.close();
        self.give_back(left).await;
    }
}
