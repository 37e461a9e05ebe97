//! Tandem sip.

pub mod msg;
