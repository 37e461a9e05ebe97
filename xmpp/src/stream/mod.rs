//! Core machines of a stream: what to say, when, and when to give up. No sockets here.

pub mod backoff;
pub mod bind2;
pub mod binding;
pub mod bosh;
pub mod c2s;
pub mod certified;
pub mod component;
pub mod csi;
mod der;
pub mod dialback;
mod flood;
mod header;
pub mod ht;
mod login;
pub mod names;
pub mod question;
pub mod rate;
pub mod s2s_in;
pub mod s2s_out;
pub mod sasl;
pub mod sasl2;
pub mod scram;
pub mod sm;
pub mod targets;
