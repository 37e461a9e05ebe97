//! RFC 7989 section 5: Session-ID.

use std::fmt;

use super::{Header, HeaderError};
use crate::msg::name::Name;
use crate::msg::params::Params;
use crate::msg::scan;

/// Names a call from end to end: 32 hex digits of each end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionId {
    /// The sender's half, in lower case.
    pub local: String,
    /// `remote` and others.
    pub params: Params,
}

impl SessionId {
    /// The other end's half; `None` when it is not known.
    pub fn remote(&self) -> Option<&str> {
        self.params.get("remote").filter(|id| is_id(id))
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Header for SessionId {
    const NAME: Name = Name::SessionId;
    fn parse(value: &str) -> Result<Self, HeaderError> {
        let (local, params) = value.split_at(value.find(';').unwrap_or(value.len()));
        let local = scan::trim(local).to_ascii_lowercase();
        let params = Params::parse(params).filter(|_| is_id(&local));
        Ok(SessionId { local, params: params.ok_or(HeaderError::malformed(Self::NAME))? })
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.local, self.params)
    }
}
