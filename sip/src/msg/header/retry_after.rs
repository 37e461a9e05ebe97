//! RFC 3261 section 20.33: Retry-After.

use std::fmt;

use super::{Header, HeaderError};
use crate::msg::name::Name;
use crate::msg::scan;

/// Seconds until another try makes sense. The comment and the parameters are not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RetryAfter(pub u32);

impl Header for RetryAfter {
    const NAME: Name = Name::RetryAfter;
    fn parse(value: &str) -> Result<Self, HeaderError> {
        let value = scan::trim(value);
        let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
        let (number, rest) = value.split_at(end);
        let is_known = rest.is_empty() || rest.starts_with([' ', '\t', ';', '(']);
        let seconds = scan::saturating_u32(number).filter(|_| is_known);
        seconds.map(RetryAfter).ok_or(HeaderError::malformed(Self::NAME))
    }
}

impl fmt::Display for RetryAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
