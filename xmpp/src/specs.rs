//! What is served, as data (XEP-0453): the list behind `conf/tandem.doap` and the README's claims.
//!
//! A specification stands here when its server side works; a note says what is left out of it.

use crate::xml::Element;

/// How much of a specification is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// All that a server must do.
    Complete,
    /// A part; the note says which is missing.
    Partial,
}

/// One extension.
#[derive(Debug, Clone, Copy)]
pub struct Extension {
    /// Its number.
    pub number: u16,
    /// The version that was read.
    pub version: &'static str,
    /// How much of it.
    pub state: State,
    /// What is special, or left out.
    pub note: &'static str,
}

/// The RFCs.
pub const RFCS: &[u16] = &[
    5802, 6120, 6121, 6122, 7395, 7590, 7622, 7628, 7677, 9266,
];

const fn complete(number: u16, version: &'static str, note: &'static str) -> Extension {
    Extension { number, version, state: State::Complete, note }
}

const fn partial(number: u16, version: &'static str, note: &'static str) -> Extension {
    Extension { number, version, state: State::Partial, note }
}
