//! Transactions (RFC 3261 section 17, RFC 6026, RFC 4320): four machines, their timers, and the layer that matches
//! messages to them.
//!
//! | module | machine |
//! |---|---|
//! | [`invite_client`], [`client`] | requests of ours |
//! | [`invite_server`], [`server`] | requests of others |
//! | [`layer`] | finds the machine for a message, keeps what may have to be sent again |

pub mod client;
pub mod invite_client;
pub mod invite_server;
pub mod key;
pub mod layer;
#[cfg(test)]
mod layer_tests;
pub mod server;
pub mod timers;

pub use layer::{Event, Layer, TxId};
