//! What the HTTP layer needs from outside.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;
use tokio::sync::mpsc;

/// What an async port gives back.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whether the node can do its work.
pub trait Health: Send + Sync {
    /// `Err` says, for an operator, what is missing.
    fn ready(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// Both ends of a connection. Whoever serves the router adds it to each request as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub peer: SocketAddr,
    /// Our side.
    pub local: SocketAddr,
    /// Whether it runs under TLS.
    pub is_secure: bool,
}

/// Who serves WebSockets and HTTP requests as streams. The first resolves when the stream is over.
pub trait Streams: Send + Sync {
    /// XMPP (RFC 7395): one frame per item, both ways.
    fn xmpp(
        &self,
        incoming: mpsc::Receiver<Bytes>,
        outgoing: mpsc::Sender<Bytes>,
        peer: SocketAddr,
    ) -> BoxFuture<'static, ()>;
    /// SIP (RFC 7118): one message per item, both ways.
    fn sip(
        &self,
        incoming: mpsc::Receiver<Bytes>,
        outgoing: mpsc::Sender<Bytes>,
        ends: Ends,
    ) -> BoxFuture<'static, ()>;
    /// XMPP over BOSH (XEP-0124): the content of one request, and that of its answer when there is one to give. `None`:
    /// too many sessions.
    fn bosh(&self, content: Bytes, peer: SocketAddr) -> BoxFuture<'static, Option<Bytes>>;
}
