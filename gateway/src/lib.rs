//! Tandem gateway.
