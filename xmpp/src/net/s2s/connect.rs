//! Finds another server and connects to it (RFC 6120 section 3, XEP-0368).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificates::proven;
use super::{Federation, GOODBYE};
use crate::jid::Jid;
use crate::net::sleep_until;
use crate::net::wire::{Stream, Wire};
use crate::ports::DnsError;
use crate::service::Server;
use crate::stream::s2s_out::{Action, Failure, Purpose, S2sOut, Settings};
use crate::stream::targets::{self, Service, Target};

/// Time for one address to answer.
const CONNECT: Duration = Duration::from_secs(10);
/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 4;

/// Why another server cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreachable {
    /// There is no such domain, or it has no XMPP server.
    NoSuchServer,
    /// Nothing answers there now, or DNS does not.
    Away,
    /// It was reached and something is wrong.
    Failed(Failure),
}

impl Unreachable {
    /// Whether a later attempt may work.
    pub(super) fn is_temporary(self) -> bool {
        matches!(self, Self::Away | Self::Failed(Failure::Broken | Failure::Timeout))
    }
}

/// A stream that has got as far as it was to get.
pub(super) struct Reached {
    pub(super) machine: S2sOut,
    pub(super) wire: Stream<TlsStream<TcpStream>>,
    /// The answer to [`Purpose::Verify`]; else it is ready.
    pub(super) verified: Option<bool>,
    /// How the other server knows us.
    pub(super) by: &'static str,
}

impl Federation {
    /// Tries the hosts of `remote` one after another until a stream from `local` has reached its purpose.
    pub(super) async fn reach(
        &self,
        server: &Server,
        (local, remote): (&str, &str),
        purpose: Purpose,
        external: bool,
    ) -> Result<Reached, Unreachable> {
        let settings = Settings {
            local: local.to_owned(),
            remote: remote.to_owned(),
            purpose,
            secret: self.settings().secret,
            require_valid_certificate: self.settings().require_valid_certificates,
            external,
            limits: server.config().limits,
        };
        let ascii = Jid::new(None, remote, None).ok().and_then(|jid| jid.domain_ascii());
        let ascii = ascii.ok_or(Unreachable::NoSuchServer)?;
        let mut failure = Unreachable::NoSuchServer;
        for (address, direct_tls) in self.addresses(server, &ascii).await? {
            match self.try_one(&settings, &ascii, address, direct_tls).await {
                Ok(reached) => return Ok(reached),
                // A host that answered says more than one that did not.
                Err(Unreachable::Away) if matches!(failure, Unreachable::Failed(_)) => {}
                Err(next) => failure = next,
            }
            tracing::debug!(domain = remote, %address, ?failure, "another server is not reached");
        }
        Err(failure)
    }

    async fn addresses(
        &self,
        server: &Server,
        domain: &str,
    ) -> Result<Vec<(SocketAddr, bool)>, Unreachable> {
        if let Some(address) = targets::literal(domain) {
            return Ok(vec![(address, false)]);
        }
        let (direct, starttls) = tokio::join!(
            self.services("_xmpps-server", domain),
            self.services("_xmpp-server", domain)
        );
        let (direct, starttls) = match (direct, starttls) {
            (Err(error), Err(_)) => return Err(error),
            (direct, starttls) => (direct.unwrap_or_default(), starttls.unwrap_or_default()),
        };
        let bytes = server.ports().accounts.random();
        let mut bytes =
            bytes.chunks_exact(2).map(|b| u32::from(b[0]) << 8 | u32::from(b[1])).cycle();
        let hosts = targets::order(domain, direct, starttls, |total| {
            bytes.next().unwrap_or(0) % (total + 1)
        });
        let mut found = Vec::new();
        let mut failed = None;
        for Target { host, port, direct_tls } in hosts {
            match self.settings().dns.addresses(&host).await {
                Ok(addresses) => found.extend(
                    addresses
                        .into_iter()
                        .take(MAX_ADDRESSES)
                        .map(|address| (SocketAddr::new(address, port), direct_tls)),
                ),
                Err(DnsError::NotFound) => {}
                Err(DnsError::Failed(_)) => failed = Some(Unreachable::Away),
            }
        }
        match failed {
            Some(failure) if found.is_empty() => Err(failure),
            _ => Ok(found),
        }
    }

    async fn services(&self, name: &str, domain: &str) -> Result<Vec<Service>, Unreachable> {
        match self.settings().dns.services(&format!("{name}._tcp.{domain}")).await {
            Ok(services) => Ok(services),
            Err(DnsError::NotFound) => Ok(Vec::new()),
            Err(DnsError::Failed(error)) => {
                tracing::debug!(domain, %error, "DNS fails");
                Err(Unreachable::Away)
            }
        }
    }

    async fn try_one(
        &self,
        settings: &Settings,
        ascii: &str,
        address: SocketAddr,
        direct_tls: bool,
    ) -> Result<Reached, Unreachable> {
        let connected = timeout(CONNECT, TcpStream::connect(address)).await;
        let Ok(Ok(tcp)) = connected else { return Err(Unreachable::Away) };
        let _ = tcp.set_nodelay(true);
        let mut machine = S2sOut::new(settings.clone(), Instant::now());
        let tcp = if direct_tls {
            tcp
        } else {
            machine.start();
            let mut wire = Stream(tcp);
            match drive(&mut machine, &mut wire).await {
                Milestone::StartTls => wire.0,
                other => return Err(other.failure()),
            }
        };
        let [with_alpn, without] = &self.settings().tls;
        let tls = if direct_tls { with_alpn } else { without };
        let name = ServerName::try_from(ascii.to_owned()).map_err(|_| Unreachable::NoSuchServer)?;
        let handshake = TlsConnector::from(tls.clone()).connect(name, tcp);
        let Ok(Ok(stream)) = timeout(CONNECT, handshake).await else {
            return Err(Unreachable::Failed(Failure::Broken));
        };
        let names = proven(stream.get_ref().1.peer_certificates(), &self.settings().roots);
        machine.handle_tls(names.cover(ascii));
        let mut wire = Stream(stream);
        match drive(&mut machine, &mut wire).await {
            Milestone::Ready(by) => Ok(Reached { machine, wire, verified: None, by }),
            Milestone::Verified(valid) => {
                Ok(Reached { machine, wire, verified: Some(valid), by: "nothing" })
            }
            other => Err(other.failure()),
        }
    }
}

/// How far a stream has got.
enum Milestone {
    StartTls,
    Ready(&'static str),
    Verified(bool),
    Failed(Failure),
}

impl Milestone {
    fn failure(&self) -> Unreachable {
        match self {
            Self::Failed(failure) => Unreachable::Failed(*failure),
            _ => Unreachable::Failed(Failure::Broken),
        }
    }
}

async fn drive<W: Wire>(machine: &mut S2sOut, wire: &mut W) -> Milestone {
    loop {
        while let Some(action) = machine.poll_action() {
            match action {
                Action::Send(bytes) => {
                    if !wire.send(&[bytes], CONNECT).await {
                        machine.handle_gone();
                    }
                }
                Action::StartTls => return Milestone::StartTls,
                Action::Ready { external } => {
                    return Milestone::Ready(if external { "external" } else { "dialback" });
                }
                Action::Verified(valid) => {
                    say_goodbye(machine, wire).await;
                    return Milestone::Verified(valid);
                }
                Action::Failed(failure) => {
                    say_goodbye(machine, wire).await;
                    return Milestone::Failed(failure);
                }
                Action::Close => return Milestone::Failed(Failure::Broken),
            }
        }
        tokio::select! {
            received = wire.receive() => match received {
                Some(bytes) => machine.handle_bytes(&bytes),
                None => machine.handle_gone(),
            },
            () = sleep_until(machine.poll_timeout()) => machine.handle_timeout(Instant::now()),
        }
    }
}

/// Writes what is left to be written and closes.
pub(super) async fn say_goodbye<W: Wire>(machine: &mut S2sOut, wire: &mut W) {
    let rest: Vec<Bytes> = std::iter::from_fn(|| machine.poll_action())
        .filter_map(|action| match action {
            Action::Send(bytes) => Some(bytes),
            _ => None,
        })
        .collect();
    let goodbye = async {
        wire.send(&rest, GOODBYE).await;
        wire.close().await;
    };
    let _ = timeout(GOODBYE, goodbye).await;
}
