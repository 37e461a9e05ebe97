//! UDP, TCP, TLS and WebSockets for the SIP server (RFC 3261 section 18, RFC 7118), and the handle that others hold.
//!
//! One task owns the [`Core`] and reads all datagrams, which wait in a [`Backlog`](crate::transport::Backlog) of their
//! urgency; they leave straight from it too. A task a connection parses what arrives and hands it over by bounded queues: a
//! full one stops the reading, and what a connection does not take in time closes it. What an address may send is bounded by
//! its budget before anybody looks at it.

#[cfg(test)]
mod address_tests;
pub mod certificates;
mod handle;
pub mod msrp;
mod pinned;
mod stream;
mod task;
#[cfg(test)]
mod tests;
mod udp;
mod websocket;
#[cfg(test)]
mod websocket_tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

pub use self::handle::SipHandle;
pub use self::websocket::WebSocketEnds;
use crate::config::Config;
use crate::error::StartError;
use crate::msg::Limits;
use crate::ports::Ports;
use crate::service::{Core, Listening};
use crate::transport::Protocol;

/// Batches of messages of connections that wait for the core.
const INBOX: usize = 1_024;

/// An address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// The protocol.
    pub protocol: Protocol,
    /// Where; port 0 takes a free one.
    pub addr: SocketAddr,
    /// The address that peers are told. `None`: the one above, or for 0.0.0.0 the one that reaches the peer.
    pub advertised: Option<IpAddr>,
}

/// Where the core and the readers of datagrams run. Connections run where [`Sip::start`] is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// With the caller.
    Here,
    /// On a thread of their own: what they say to each other by the thousand then wakes no other thread.
    OwnThread,
}

impl Place {
    /// A runtime, which ends with the other value.
    fn runtime(self) -> std::io::Result<(Handle, Option<oneshot::Sender<()>>)> {
        if self == Self::Here {
            return Ok((Handle::current(), None));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (alive, gone) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("sip".into());
        thread.spawn(move || runtime.block_on(gone))?;
        Ok((handle, Some(alive)))
    }
}

/// TLS in both directions.
#[derive(Debug, Clone)]
pub struct Tls {
    /// For phones and servers that connect to us.
    pub server: Arc<rustls::ServerConfig>,
    /// For servers that we connect to; `None`: none under TLS. It has to verify names.
    pub client: Option<Arc<rustls::ClientConfig>>,
    /// The authorities that are believed where somebody who connects to us shows a certificate.
    pub roots: Option<Arc<rustls::RootCertStore>>,
}

/// Starts the server.
#[derive(Debug)]
pub struct Sip;

impl Sip {
    /// Binds all listeners and starts the tasks; also gives the addresses as bound. `seed` is random.
    ///
    /// # Errors
    /// An address cannot be bound, the bindings cannot be read, or TLS has no certificate.
    pub async fn start(
        config: Config,
        ports: Ports,
        listeners: &[Listener],
        tls: Option<Tls>,
        seed: [u8; 32],
        place: Place,
    ) -> Result<(SipHandle, Vec<SocketAddr>), StartError> {
        let limits = Limits { message: config.max_message_bytes, ..Limits::default() };
        let budgets = task::budgets(&config);
        let (runtime, alive) = place.runtime().map_err(StartError::Thread)?;
        let (inbox, events) = mpsc::channel(INBOX);
        let doorman = stream::Doorman::new(
            &config,
            (inbox.clone(), budgets.clone()),
            limits,
            tls.as_ref().and_then(|tls| tls.client.clone()).map(Into::into),
            tls.as_ref().and_then(|tls| tls.roots.clone()),
        );
        let mut listening = Vec::new();
        let mut bound = Vec::new();
        let mut sockets = Vec::new();
        for (number, listener) in (0_u64..).zip(listeners) {
            let Listener { protocol, addr, advertised } = *listener;
            let fault = |source| StartError::Bind { protocol, addr, source };
            let local = match protocol {
                Protocol::Udp => {
                    let socket = {
                        let _entered = runtime.enter();
                        Arc::new(udp::bind(addr).map_err(fault)?)
                    };
                    let local = socket.local_addr().map_err(fault)?;
                    sockets.push(udp::Reader::new(socket, number, local, advertised));
                    local
                }
                Protocol::Tcp | Protocol::Tls => {
                    let acceptor = match (protocol, &tls) {
                        (Protocol::Tls, None) => return Err(StartError::NoCertificate),
                        (Protocol::Tls, Some(tls)) => Some(tls.server.clone().into()),
                        _ => None,
                    };
                    let socket = TcpListener::bind(addr).await.map_err(fault)?;
                    let local = socket.local_addr().map_err(fault)?;
                    tokio::spawn(doorman.clone().accept(socket, protocol, advertised, acceptor));
                    local
                }
                Protocol::Ws | Protocol::Wss => return Err(StartError::WebSocket),
            };
            bound.push(local);
            let local = SocketAddr::new(advertised.unwrap_or(local.ip()), local.port());
            let outward = udp::outward(local.ip());
            listening.push(Listening { protocol, socket: number, local, outward });
        }
        let bindings = ports.bindings.load().await?;
        task::vouch_all(&budgets, &bindings);
        let key = ports.bindings.key().await?;
        let mut core =
            Core::new(config, listening, bindings, seed, Instant::now(), SystemTime::now());
        core.set_gruu_key(key);
        let (gauges, away) = (Arc::default(), Arc::default());
        let shown = (Arc::clone(&gauges), Arc::clone(&away));
        let (handle, commands) = SipHandle::new(doorman.clone(), shown, runtime.clone());
        let task = task::Task::new(core, ports, sockets, (doorman, budgets), (gauges, away));
        runtime.spawn(async move {
            task.run(events, commands).await;
            drop(alive);
        });
        Ok((handle, bound))
    }
}
