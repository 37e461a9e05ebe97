//! Tandem web.
