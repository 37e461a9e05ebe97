//! Digest access authentication for SIP (RFC 3261 section 22, RFC 7616, RFC 8760), both sides.
//!
//! - [`digest`]: challenges and answers on the wire, the hashes, the answer of a client.
//! - [`nonce`]: nonces that need no memory, and the window that stops a counter from being used twice.
//! - [`verify`]: what a server does with an answer.
//!
//! Left out: Basic (RFC 8760 forbids it), `-sess` algorithms (read, then refused as unknown), `userhash`.

mod algorithm;
mod answer;
pub mod digest;
pub mod nonce;
pub mod verify;

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests;

pub use algorithm::Algorithm;
pub use digest::{AuthError, Challenge, Credentials, Qop};
pub use nonce::{NonceState, Nonces};
pub use verify::{Outcome, Presented, Verifier};
