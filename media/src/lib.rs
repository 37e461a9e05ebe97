//! Tandem's media engine: every leg of a call is ended here, and what comes out of one goes into another.
//!
//! | module | duty |
//! |---|---|
//! | [`control`] | what the outside says and hears: ids, transports, codecs, commands, events, counters |
//! | [`stun`], [`ice`], [`dtls`], [`srtp`] | one core each, usable alone |
//! | [`turn`] | the relay for who cannot be reached |
//! | [`session`] | one leg: transport, sources, clock mapping, reports |
//! | [`route`] | how a stream that changes its source stays one stream |
//! | [`engine`] | the legs of a shard: who gets a datagram, and where it goes |
//! | [`codec`] | names, and transcoding outside the shards |
//! | [`sdp`] | descriptions of SIP legs: parse, print, offer and answer |
//! | `net` | sockets and threads (feature `net`) |
//!
//! Cores take `now` as an argument and hold no socket. A forwarded packet costs no allocation, lock or wait.

pub mod codec;
pub mod config;
pub mod control;
pub mod dtls;
pub mod engine;
pub mod error;
pub mod ice;
#[cfg(feature = "net")]
#[allow(clippy::disallowed_methods)] // The driver reads the clock and makes threads.
pub mod net;
pub mod route;
pub mod sdp;
pub mod session;
pub mod srtp;
pub mod stun;
pub mod turn;

pub use config::Config;
pub use control::{
    CallId, Candidate, Cause, Drops, LegCodecs, LegId, LegStats, LocalTransport, MediaEvent,
    RemoteTransport, RtpRemote, SdesPair, Setup,
};
pub use error::MediaError;
#[cfg(feature = "net")]
pub use net::{Media, MediaHandle};
