//! The way out for one domain pair: opened when something is queued, tried again, closed when idle, given up.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::connect::{Reached, Unreachable, say_goodbye};
use super::{Federation, GOODBYE, Pair};
use crate::net::pipe::{Flow, Pipe};
use crate::net::sleep_until;
use crate::net::wire::{Stream, Wire};
use crate::service::Server;
use crate::stanza::Condition;
use crate::stream::backoff::Retries;
use crate::stream::s2s_out::{Action, Failure, Purpose, S2sOut, frame};

/// Drives the way until nothing waits for it any more.
pub(super) async fn run(federation: Federation, server: Server, pair: Pair, pipe: Pipe) {
    let open = server.open_stream(Arc::new(pipe.clone()));
    let link = Link { federation: &federation, server: &server, pair: &pair, pipe: &pipe };
    let left = tokio::select! {
        left = link.work() => left,
        // The node stops: what the other server has not taken by then comes back.
        () = async { pipe.ending().await; tokio::time::sleep(GOODBYE).await } => {
            Some(Condition::RemoteServerTimeout)
        }
    };
    if let Some(condition) = left {
        for stanza in federation.give_up(&pair, &pipe) {
            server.returned(stanza, condition).await;
        }
    }
    drop(open);
}

struct Link<'a> {
    federation: &'a Federation,
    server: &'a Server,
    pair: &'a Pair,
    pipe: &'a Pipe,
}

impl Link<'_> {
    /// Resolves with the reason when the domain is given up.
    async fn work(&self) -> Option<Condition> {
        let patience = self.federation.settings().patience;
        let mut retries = Retries::new(Instant::now(), patience);
        let mut external = true;
        loop {
            let pair = (self.pair.0.as_str(), self.pair.1.as_str());
            match self.federation.reach(self.server, pair, Purpose::Deliver, external).await {
                Ok(reached) => {
                    let by = reached.by;
                    tracing::info!(from = pair.0, to = pair.1, by, "stream to another server");
                    self.federation.reached(self.pair);
                    self.deliver(reached).await;
                    if self.federation.close_if_empty(self.pair, self.pipe) {
                        return None;
                    }
                    if self.pipe.is_ended() {
                        return Some(Condition::RemoteServerTimeout);
                    }
                    retries = Retries::new(Instant::now(), patience);
                    // One that closes at once each time is not run against in circles.
                    sleep_until(retries.failed(Instant::now())).await;
                }
                Err(Unreachable::Failed(Failure::ExternalRefused)) if external => external = false,
                Err(failure) => {
                    let again = retries.failed(Instant::now()).filter(|_| failure.is_temporary());
                    let Some(at) = again else {
                        tracing::info!(from = pair.0, to = pair.1, ?failure, "no way to a server");
                        return Some(match failure {
                            f if f.is_temporary() => Condition::RemoteServerTimeout,
                            _ => Condition::RemoteServerNotFound,
                        });
                    };
                    sleep_until(Some(at)).await;
                }
            }
        }
    }

    async fn deliver(&self, mut reached: Reached) {
        let (machine, wire) = (&mut reached.machine, &mut reached.wire);
        loop {
            tokio::select! {
                biased;
                flow = self.pipe.next() => match flow {
                    Flow::Stanzas(batch) => {
                        if !self.write(machine, wire, batch).await {
                            return;
                        }
                    }
                    Flow::End(condition) => machine.fail(condition),
                },
                received = wire.receive() => match received {
                    Some(bytes) => machine.handle_bytes(&bytes),
                    None => return,
                },
                () = sleep_until(machine.poll_timeout()) => machine.handle_timeout(Instant::now()),
            }
            if !self.act(machine, wire).await {
                return;
            }
        }
    }

    async fn act(&self, machine: &mut S2sOut, wire: &mut Stream<TlsStream<TcpStream>>) -> bool {
        let stall = self.server.config().limits.write_stall;
        while let Some(action) = machine.poll_action() {
            match action {
                Action::Send(bytes) => {
                    if !wire.send(&[bytes], stall).await {
                        return false;
                    }
                }
                _ => {
                    say_goodbye(machine, wire).await;
                    return false;
                }
            }
        }
        true
    }

    /// What could not be written waits for the next stream.
    async fn write(
        &self,
        machine: &mut S2sOut,
        wire: &mut Stream<TlsStream<TcpStream>>,
        batch: Vec<Bytes>,
    ) -> bool {
        let framed: Vec<Bytes> = batch.iter().map(frame).collect();
        let written = wire.send(&framed, self.server.config().limits.write_stall).await;
        if written {
            machine.note_written(Instant::now());
            self.pipe.written();
        } else {
            self.pipe.put_back(batch);
        }
        written
    }
}
