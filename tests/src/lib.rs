//! Tandem tests.
