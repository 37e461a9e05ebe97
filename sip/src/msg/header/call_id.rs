//! RFC 3261 section 20.8: Call-ID.

use std::fmt;

use super::{Header, HeaderError};
use crate::msg::name::Name;
use crate::msg::scan;

/// The id of a call or of one device's registrations. Compared byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub String);

impl CallId {
    /// One word. Its grammar is loose; white space and control characters are refused.
    pub(crate) fn check(value: &str) -> bool {
        let value = scan::trim(value);
        !value.is_empty() && !value.bytes().any(|byte| byte <= b' ' || byte == 0x7f)
    }
}

impl Header for CallId {
    const NAME: Name = Name::CallId;
    fn parse(value: &str) -> Result<Self, HeaderError> {
        if !CallId::check(value) {
            return Err(HeaderError::malformed(Self::NAME));
        }
        Ok(CallId(scan::trim(value).to_owned()))
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
