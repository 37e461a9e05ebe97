//! The STUN and TURN server's connections over TCP and TLS (RFC 8656 section 3.1), and its place beside HTTPS: on one
//! port, told apart by the first byte; ALPN (RFC 7443) is understood.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tandem_media::net::{RelayHandle, Taken};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// What TURN and STUN are called in ALPN (RFC 7443 section 3).
pub(crate) const ALPN: [&str; 2] = ["stun.turn", "stun.nat-discovery"];
/// Messages that may wait for a client that reads slowly.
const QUEUE: usize = 256;
/// Read at once.
const CHUNK: usize = 16 * 1024;
/// Before bytes are given again to a relay that was too busy.
const BUSY: Duration = Duration::from_millis(2);

/// Whether bytes begin as a STUN message does: no text has these (RFC 8489 section 5).
pub(crate) fn is_stun(first: u8) -> bool {
    first < 4
}

/// Serves a client until it leaves.
pub(crate) async fn serve<S>(relay: RelayHandle, stream: S, peer: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (queue, mut waiting) = mpsc::channel::<Bytes>(QUEUE);
    let sink = Arc::new(move |bytes| match queue.try_send(bytes) {
        Ok(()) => Taken::Yes,
        Err(TrySendError::Full(_)) => Taken::Full,
        Err(TrySendError::Closed(_)) => Taken::Gone,
    });
    let Some(connection) = relay.connect(peer, sink) else { return };
    let (mut read, mut write) = tokio::io::split(stream);
    let reading = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            match read.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let mut bytes = buffer.split().freeze();
            // Nothing is read meanwhile: the client waits as TCP has it.
            while let Err(back) = connection.receive(bytes) {
                bytes = back;
                tokio::time::sleep(BUSY).await;
            }
        }
    };
    let writing = async {
        while let Some(bytes) = waiting.recv().await {
            if write.write_all(&bytes).await.is_err() {
                return;
            }
            if waiting.is_empty() && write.flush().await.is_err() {
                return;
            }
        }
        let _ = write.shutdown().await;
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
}

/// A stream of which the first bytes were looked at already.
pub(crate) struct Rewound<S> {
    first: Bytes,
    inner: S,
}

impl<S: AsyncRead + Unpin> Rewound<S> {
    /// Waits for the first bytes; `None` when the other end leaves without any.
    pub(crate) async fn peek(mut inner: S) -> Option<(u8, Self)> {
        let mut first = BytesMut::with_capacity(1_024);
        inner.read_buf(&mut first).await.ok()?;
        let byte = *first.first()?;
        Some((byte, Self { first: first.freeze(), inner }))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let count = self.first.len().min(buf.remaining());
        buf.put_slice(self.first.get(..count).unwrap_or_default());
        self.first.advance(count);
        if self.first.is_empty() {
            self.first = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
