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

/// Who serves a WebSocket as a stream; resolves when the stream is over.
pub trait Streams: Send + Sync {
    /// XMPP (RFC 7395): one frame per item, both ways.
    fn xmpp(
        &self,
        incoming: mpsc::Receiver<Bytes>,
        outgoing: mpsc::Sender<Bytes>,
        peer: SocketAddr,
    ) -> BoxFuture<'static, ()>;
}
