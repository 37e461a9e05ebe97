//! Tandem sip.
