//! Why the media engine refuses a call on it.

/// Ours to fix, or the sign that the node is full; never something a peer sent.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// A socket could not be made or bound.
    #[error("socket: {0}")]
    Socket(#[from] std::io::Error),
    /// Every port pair of the range is taken.
    #[error("no free port pair")]
    NoPorts,
    /// The certificate could not be made.
    #[error("certificate: {0}")]
    Certificate(#[from] crate::dtls::DtlsError),
    /// The shard's control queue is full, or its thread has ended.
    #[error("media shard does not take commands")]
    Busy,
    /// The configuration makes no sense.
    #[error("configuration: {0}")]
    Config(&'static str),
}
