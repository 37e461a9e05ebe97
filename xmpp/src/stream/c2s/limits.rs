//! What bounds a client's stream (RFC 6120 section 13.12).

use std::time::Duration;

use crate::stream::rate::Rate;

/// What bounds a stream. The defaults are those of the documentation of `[xmpp]` in the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes an unauthenticated stream may send in all. Default 16 KiB.
    pub unauthenticated_bytes: usize,
    /// Time until it must be authenticated. Default 15 s.
    pub unauthenticated_time: Duration,
    /// Bytes of one stanza. Default 256 KiB.
    pub stanza_bytes: usize,
    /// Silence after which the client is pinged. Default 5 min.
    pub idle: Duration,
    /// Time to answer that ping. Default 60 s.
    pub ping_answer: Duration,
    /// Wrong logins before the stream ends. Default 3.
    pub login_failures: u32,
    /// Time in which a client that is written to must take at least something. Default 30 s.
    pub write_stall: Duration,
    /// Bytes a logged-in client may send. Default 8 MiB a second, 32 MiB at once.
    pub bytes: Rate,
    /// Stanzas it may send. Default 5,000 a second, 20,000 at once.
    pub stanzas: Rate,
    /// How long it may be at these limits without a pause. Default 5 min.
    pub at_limit: Duration,
    /// How long a session waits for its client to resume it; zero for never. Default 5 min.
    pub resume: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unauthenticated_bytes: 16 * 1024,
            unauthenticated_time: Duration::from_secs(15),
            stanza_bytes: 256 * 1024,
            idle: Duration::from_secs(300),
            ping_answer: Duration::from_secs(60),
            login_failures: 3,
            write_stall: Duration::from_secs(30),
            bytes: Rate::of(8 * 1024 * 1024),
            stanzas: Rate::of(5_000),
            at_limit: Duration::from_secs(300),
            resume: Duration::from_secs(300),
        }
    }
}
