//! Why the server could not start, and why a request could not be handed to it.

use std::io;
use std::net::SocketAddr;

use crate::ports::StoreError;
use crate::transport::Protocol;

/// The server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be bound.
    #[error("cannot listen on {protocol} {addr}")]
    Bind {
        /// Protocol of the listener.
        protocol: Protocol,
        /// Its address.
        addr: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A TLS listener was asked for without a certificate.
    #[error("a TLS listener needs a TLS configuration")]
    NoCertificate,
    /// WebSockets are handed in by whoever serves HTTP.
    #[error("WebSockets are not listened for here")]
    WebSocket,
    /// The bindings could not be read.
    #[error("cannot load the bindings")]
    Bindings(#[from] StoreError),
    /// There is no thread for it.
    #[error("cannot start the SIP thread")]
    Thread(#[source] io::Error),
    /// The system gave no random bytes.
    #[error("no random bytes")]
    Random,
}

/// A request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The queue of the SIP task is full.
    #[error("the SIP task is overloaded")]
    Busy,
    /// The server is shut down.
    #[error("the SIP server is shut down")]
    Closed,
}
