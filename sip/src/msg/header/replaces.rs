//! RFC 3891: Replaces.

use std::fmt;

use super::{Header, HeaderError};
use crate::msg::name::Name;
use crate::msg::params::Params;
use crate::msg::scan;

/// The dialog that a new INVITE takes the place of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Replaces {
    /// Its Call-ID.
    pub call_id: String,
    /// `to-tag`, `from-tag`, `early-only`.
    pub params: Params,
}

impl Replaces {
    /// The tag of the side that gets the INVITE.
    pub fn to_tag(&self) -> Option<&str> {
        self.params.get("to-tag")
    }

    /// The tag of the other side.
    pub fn from_tag(&self) -> Option<&str> {
        self.params.get("from-tag")
    }

    /// Whether only a call that is not answered yet may be replaced.
    pub fn is_early_only(&self) -> bool {
        self.params.has("early-only")
    }
}

impl Header for Replaces {
    const NAME: Name = Name::Replaces;
    fn parse(value: &str) -> Result<Self, HeaderError> {
        let (call_id, params) = value.split_at(value.find(';').unwrap_or(value.len()));
        let call_id = scan::trim(call_id).to_owned();
        let params = Params::parse(params).filter(|params| {
            !call_id.is_empty()
                && params.get("to-tag").is_some()
                && params.get("from-tag").is_some()
        });
        Ok(Replaces { call_id, params: params.ok_or(HeaderError::malformed(Self::NAME))? })
    }
}

impl fmt::Display for Replaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.call_id, self.params)
    }
}
