//! Where the bytes or frames of one connection come from and go to (RFC 6120 section 3, RFC 7395).

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Bytes read at once.
const READ: usize = 8 * 1024;

/// One connection.
pub(super) trait Wire: Send {
    /// The next bytes or frame; `None` at the end.
    fn receive(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
    /// Writes all of these; false when the peer is gone or takes nothing for as long as `stall`.
    fn send(&mut self, parts: &[Bytes], stall: Duration) -> impl Future<Output = bool> + Send;
    /// Says goodbye.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}

/// A byte stream.
pub(super) struct Stream<S>(pub(super) S);

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for Stream<S> {
    async fn receive(&mut self) -> Option<Bytes> {
        // One poll, one read: the connection may drop this future at any await, and bytes already read must not go
        // with it. The buffer lives only for that poll, so an idle stream holds none.
        std::future::poll_fn(|cx| {
            let mut space = [0; READ];
            let mut read = ReadBuf::new(&mut space);
            match Pin::new(&mut self.0).poll_read(cx, &mut read) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    Poll::Ready(Some(Bytes::copy_from_slice(read.filled())))
                }
                Poll::Ready(_) => Poll::Ready(None),
            }
        })
        .await
    }

    async fn send(&mut self, parts: &[Bytes], stall: Duration) -> bool {
        let joined;
        let mut rest: &[u8] = match parts {
            [one] => one,
            many => {
                joined = many.concat();
                &joined
            }
        };
        // The clock starts again with every byte the client takes: slow is not stopped.
        while !rest.is_empty() {
            match timeout(stall, self.0.write(rest)).await {
                Ok(Ok(count)) if count > 0 => rest = rest.get(count..).unwrap_or_default(),
                _ => return false,
            }
        }
        matches!(timeout(stall, self.0.flush()).await, Ok(Ok(())))
    }

    async fn close(&mut self) {
        let _ = self.0.shutdown().await;
    }
}

/// Frames that somebody else reads from and writes to a WebSocket.
pub(super) struct Frames {
    pub(super) incoming: mpsc::Receiver<Bytes>,
    pub(super) outgoing: mpsc::Sender<Bytes>,
}

impl Wire for Frames {
    async fn receive(&mut self) -> Option<Bytes> {
        self.incoming.recv().await
    }

    async fn send(&mut self, parts: &[Bytes], stall: Duration) -> bool {
        for part in parts {
            if !matches!(timeout(stall, self.outgoing.send(part.clone())).await, Ok(Ok(()))) {
                return false;
            }
        }
        true
    }

    async fn close(&mut self) {}
}
