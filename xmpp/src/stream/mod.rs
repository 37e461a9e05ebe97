//! Core machines of a stream: what to say, when, and when to give up. No sockets here.

pub mod c2s;
pub mod component;
mod header;
pub mod sasl;
