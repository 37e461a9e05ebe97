//! Tandem's media engine.
pub mod dtls;
pub mod ice;
pub mod srtp;
pub mod stun;
