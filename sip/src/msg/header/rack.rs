//! RFC 3262 section 7: RSeq and RAck.

use std::fmt;

use super::{Header, HeaderError};
use crate::msg::Method;
use crate::msg::name::Name;
use crate::msg::scan;

/// The number of a reliable provisional response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RSeq(pub u32);

impl Header for RSeq {
    const NAME: Name = Name::RSeq;
    fn parse(value: &str) -> Result<Self, HeaderError> {
        number(scan::trim(value)).map(RSeq).ok_or(HeaderError::malformed(Self::NAME))
    }
}

impl fmt::Display for RSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which reliable provisional response a PRACK answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RAck {
    /// The response's RSeq.
    pub rseq: u32,
    /// The number of its CSeq.
    pub cseq: u32,
    /// The method of its CSeq.
    pub method: Method,
}

impl Header for RAck {
    const NAME: Name = Name::RAck;
    fn parse(value: &str) -> Result<Self, HeaderError> {
        let read = || {
            let mut words = value.split_ascii_whitespace();
            let (rseq, cseq, method) =
                (number(words.next()?)?, number(words.next()?)?, words.next()?);
            let is_whole = words.next().is_none() && scan::is_token(method);
            is_whole.then(|| RAck { rseq, cseq, method: Method::new(method) })
        };
        read().ok_or(HeaderError::malformed(Self::NAME))
    }
}

fn number(text: &str) -> Option<u32> {
    u32::try_from(scan::digits(text)?.ok()?).ok()
}

impl fmt::Display for RAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.rseq, self.cseq, self.method)
    }
}
