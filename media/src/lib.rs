//! Tandem media.
