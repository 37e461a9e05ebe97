//! SDP (RFC 8866) and offer/answer (RFC 3264) for the SIP leg of a call, as data: no socket, no clock, no randomness.
//!
//! | file | duty |
//! |---|---|
//! | `session` | [`Session`], [`Media`], [`Origin`]: parse and print |
//! | `section` | [`Line`], [`Section`]: lines in order, typed access to them |
//! | `value` | the values of single lines: [`Connection`], [`Direction`], [`RtpMap`] ... |
//! | `audio` | what a leg says ([`LocalAudio`]) and what was agreed ([`RemoteAudio`]) |
//! | `select` | which line, codecs, keys and address of a peer's description we take |
//! | `negotiator` | [`Negotiator`]: offers, answers, versions and slots of one dialog |
//!
//! Use: one [`Negotiator`] a dialog. Caller: [`Negotiator::offer`], then [`Negotiator::accept_answer`]. Callee:
//! [`Session::parse`], look with [`Session::audio`], then [`Negotiator::answer`]. The result is a [`RemoteAudio`], of
//! which [`RemoteAudio::rtp_remote`] and [`RemoteAudio::leg_codecs`] are what the media handle takes.
//!
//! Left out: ICE and DTLS-SRTP on this side (a line that demands DTLS is refused, one that only allows ICE is answered
//! without), grouping (`a=group` is read, never answered), video and text (refused with port 0), `a=tcap`/`a=pcfg`
//! (RFC 5939: the actual configuration is answered).

mod audio;
mod error;
mod negotiator;
mod section;
mod select;
mod session;
#[cfg(test)]
mod tests;
mod value;

pub use self::audio::{
    AgreedFormat, AudioFormat, Encoding, Encryption, LocalAudio, Profile, RemoteAudio,
    offer_formats,
};
pub use self::error::SdpError;
pub use self::negotiator::Negotiator;
pub use self::section::{Line, Section};
pub use self::session::{Media, Origin, Session};
pub use self::value::{
    Bandwidth, Connection, Direction, Fingerprint, Group, Rtcp, RtpMap, SetupRole,
};

/// Longest description read, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// Most `m=` lines of a description.
pub const MAX_MEDIA: usize = 32;
/// Most `a=` lines of one section: before the first `m=`, or after one.
pub const MAX_ATTRIBUTES: usize = 256;
/// Most lines of one section that are not `a=`.
pub const MAX_OTHER_LINES: usize = 64;
/// Most formats of one `m=` line.
pub const MAX_FORMATS: usize = 64;
