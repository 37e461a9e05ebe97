//! Tandem's media engine.
pub mod srtp;
