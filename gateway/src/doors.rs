//! What listeners speak, and how a connection begins: the handshake, then the protocol that its first bytes or its ALPN
//! name.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tandem_media::net::RelayHandle;
use tandem_web::Ends;
use tandem_xmpp::net::s2s::Federation;
use tandem_xmpp::{Server, net};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::live_certificate::Front;
use crate::patient::Patient;
use crate::relay::Rewound;
use crate::visitors::Visitors;

/// Time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(15);

/// What a listener speaks.
#[derive(Clone)]
pub(crate) enum Door {
    /// XMPP in the clear that must start TLS.
    StartTls { tls: Front },
    /// TLS; ALPN chooses between XMPP, HTTP and TURN, XMPP alone where there is no web.
    Tls { tls: Front, web: Option<(axum::Router, Option<RelayHandle>)>, visitors: Visitors },
    /// TURN over TCP.
    Relay(Option<RelayHandle>, Visitors),
    /// TURN over TLS.
    RelayTls(Front, Option<RelayHandle>, Visitors),
    /// Plain HTTP.
    Http { router: axum::Router },
    /// External components.
    Components(net::Components),
    /// Other servers, in the clear first.
    Federation(Federation, Arc<rustls::ServerConfig>),
    /// Other servers over TLS.
    FederationTls(Federation, Arc<rustls::ServerConfig>),
}

/// Serves who connects to a listener, for ever.
pub(crate) async fn accept(
    listener: TcpListener,
    door: Door,
    xmpp: Server,
    permits: Arc<Semaphore>,
) {
    loop {
        let (tcp, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, mostly: waiting lets some close.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            tracing::warn!("too many connections, one is turned away");
            continue;
        };
        let (door, xmpp) = (door.clone(), xmpp.clone());
        tokio::spawn(async move {
            // Most connections are idle for hours: nothing of how they began stays with them.
            let rest = Box::pin(begin(door, xmpp, tcp, peer)).await;
            if let Some(rest) = rest {
                rest.await;
            }
            drop(permit);
        });
    }
}

/// A connection from its handshake on.
type Rest = Pin<Box<dyn Future<Output = ()> + Send>>;

async fn begin(door: Door, xmpp: Server, tcp: TcpStream, peer: SocketAddr) -> Option<Rest> {
    Some(match door {
        Door::StartTls { tls } => Box::pin(net::serve_starttls(xmpp, tcp, peer, tls.tls())),
        Door::Components(components) => {
            Box::pin(async move { components.serve(xmpp, tcp, peer).await })
        }
        Door::Federation(federation, tls) => {
            let stranger = xmpp.admit(peer.ip())?;
            Box::pin(async move { federation.serve_starttls(stranger, tcp, peer, tls).await })
        }
        Door::FederationTls(federation, tls) => {
            let stranger = xmpp.admit(peer.ip())?;
            let handshake = tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(tcp));
            let stream = handshake.await.ok()?.ok()?;
            Box::pin(async move { federation.serve_tls(stranger, stream, peer).await })
        }
        Door::Http { router } => {
            let ends = Ends { peer, local: tcp.local_addr().ok()?, is_secure: false };
            Box::pin(serve_http(TokioIo::new(tcp), router, ends))
        }
        Door::Relay(relay, visitors) => {
            let (relay, visit) = (relay?, visitors.enter(peer.ip())?);
            tcp.set_nodelay(true).ok()?;
            Box::pin(async move {
                crate::relay::serve(relay, tcp, peer).await;
                drop(visit);
            })
        }
        Door::RelayTls(tls, relay, visitors) => {
            let (relay, visit) = (relay?, visitors.enter(peer.ip())?);
            tcp.set_nodelay(true).ok()?;
            let handshake = TlsAcceptor::from(tls.tls().config).accept(tcp);
            let stream = tokio::time::timeout(HANDSHAKE, handshake).await.ok()?.ok()?;
            Box::pin(async move {
                crate::relay::serve(relay, stream, peer).await;
                drop(visit);
            })
        }
        Door::Tls { tls, web, visitors } => {
            let visit = visitors.enter(peer.ip())?;
            let ends = Ends { peer, local: tcp.local_addr().ok()?, is_secure: true };
            let stranger = xmpp.admit(peer.ip())?;
            let tls = tls.tls();
            let handshake = TlsAcceptor::from(tls.config).accept(tcp);
            let stream = tokio::time::timeout(HANDSHAKE, handshake).await.ok()?.ok()?;
            let is_xmpp = stream.get_ref().1.alpn_protocol() == Some(b"xmpp-client");
            match web {
                Some((router, relay)) if !is_xmpp => {
                    drop(stranger);
                    // Browsers do not say that they want a relay, and others say both: the first byte tells.
                    let peeked = tokio::time::timeout(HANDSHAKE, Rewound::peek(stream));
                    let (first, stream) = peeked.await.ok()??;
                    let is_turn = crate::relay::is_stun(first);
                    Box::pin(async move {
                        match relay {
                            Some(relay) if is_turn => {
                                crate::relay::serve(relay, stream, peer).await
                            }
                            _ => serve_http(TokioIo::new(Patient::new(stream)), router, ends).await,
                        }
                        // Until it is over, or a WebSocket.
                        drop(visit);
                    })
                }
                _ => Box::pin(net::serve_tls(xmpp, stranger, stream, peer, tls.end_point)),
            }
        }
    })
}

async fn serve_http<I>(io: I, router: axum::Router, ends: Ends)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |mut request: hyper::Request<_>| {
        request.extensions_mut().insert(ConnectInfo(ends.peer));
        request.extensions_mut().insert(ends);
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE)
        .max_buf_size(64 * 1024)
        .serve_connection(io, service);
    if let Err(error) = connection.with_upgrades().await {
        tracing::debug!(peer = %ends.peer, %error, "HTTP connection ended");
    }
}
