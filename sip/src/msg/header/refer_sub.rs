//! RFC 4488 section 4: Refer-Sub.

use std::fmt;

use super::{Header, HeaderError};
use crate::msg::name::Name;
use crate::msg::params::Params;
use crate::msg::scan;

/// Whether a REFER makes a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReferSub {
    /// False: no NOTIFY is wanted.
    pub is_wanted: bool,
    /// Parameters.
    pub params: Params,
}

impl ReferSub {
    /// No subscription.
    pub const NONE: ReferSub = ReferSub { is_wanted: false, params: Params::new() };
}

impl Header for ReferSub {
    const NAME: Name = Name::ReferSub;
    fn parse(value: &str) -> Result<Self, HeaderError> {
        let malformed = HeaderError::malformed(Self::NAME);
        let (word, params) = value.split_at(value.find(';').unwrap_or(value.len()));
        let is_wanted = match scan::trim(word) {
            word if word.eq_ignore_ascii_case("true") => true,
            word if word.eq_ignore_ascii_case("false") => false,
            _ => return Err(malformed),
        };
        Ok(ReferSub { is_wanted, params: Params::parse(params).ok_or(malformed)? })
    }
}

impl fmt::Display for ReferSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.is_wanted, self.params)
    }
}
