//! RFC 3261 section 20.22: Max-Forwards.

use std::fmt;

use super::{Header, HeaderError, Problem};
use crate::msg::name::Name;
use crate::msg::scan;

/// How many hops are left. A value beyond 255 reads as 255: it means "many" (RFC 4475 section 3.1.2.4 allows it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MaxForwards(pub u8);

impl MaxForwards {
    /// What a request without the field gets.
    pub const DEFAULT: MaxForwards = MaxForwards(70);

    /// One hop less; `None` at 0, where the answer is 483.
    pub fn next(self) -> Option<MaxForwards> {
        self.0.checked_sub(1).map(MaxForwards)
    }
}

impl Header for MaxForwards {
    const NAME: Name = Name::MaxForwards;
    fn parse(value: &str) -> Result<Self, HeaderError> {
        let number = scan::saturating_u32(scan::trim(value))
            .ok_or(HeaderError::new(Self::NAME, Problem::Malformed))?;
        Ok(MaxForwards(u8::try_from(number).unwrap_or(u8::MAX)))
    }
}

impl fmt::Display for MaxForwards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
