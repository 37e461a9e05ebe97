//! Tandem's SIP side, as far as it stands: the wire layer and digest authentication. Neither is served yet.
//!
//! | module | duty |
//! |---|---|
//! | [`msg`] | messages, URIs, typed header fields, stream framing (RFC 3261 sections 7, 18.3, 19, 20, 25; RFC 4475) |
//! | [`auth`] | digest, both sides (RFC 7616, RFC 8760) |

pub mod auth;
pub mod msg;
