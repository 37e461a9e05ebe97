//! Tandem sip.

pub mod auth;
pub mod msg;
