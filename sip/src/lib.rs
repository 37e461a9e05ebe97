//! Tandem's SIP side: registrar, user agent of calls and messages, presence notifier.
//!
//! | module | duty | sources |
//! |---|---|---|
//! | [`msg`] | messages, URIs, typed header fields, stream framing | RFC 3261 sections 7, 18.3, 19, 20, 25; RFC 4475, 5118 |
//! | [`auth`] | digest, both sides | RFC 7616, RFC 8760 |
//! | [`transport`] | protocols and flows, where a request goes, keep-alives | RFC 3261 section 18, RFC 3263, RFC 3581, RFC 5626 section 4.4, RFC 5922 |
//! | [`transaction`] | transactions and their timers | RFC 3261 section 17, RFC 6026, RFC 4320 |
//! | [`dialog`] | who talks with whom, and how long without a sign of life | RFC 3261 section 12, RFC 4028 |
//! | [`service`] | the server: registrar, calls, messages, presence | RFC 3261 sections 8 to 15, RFC 3262, RFC 3311, RFC 3323, RFC 3325, RFC 3515, RFC 3891, RFC 3428, RFC 3856, RFC 6665 |
//! | [`msrp`] | message sessions: framing, chunks, reports, connections | RFC 4975, RFC 6714, RFC 7701 section 7 |
//! | [`ports`] | what the server needs from outside | |
//! | `net` | UDP, TCP, TLS and WebSockets on tokio | RFC 3261 section 18, RFC 7118 |

pub mod auth;
pub mod config;
pub mod dialog;
pub mod error;
pub mod msg;
pub mod msrp;
#[cfg(feature = "net")]
#[allow(clippy::disallowed_methods)] // drivers read the clock and make tasks
pub mod net;
pub mod ports;
pub mod service;
pub mod transaction;
pub mod transport;

pub use config::Config;
#[cfg(feature = "net")]
pub use net::{Listener, Place, Sip, SipHandle, Tls, WebSocketEnds};
