//! RFC 3326: Reason.

use std::fmt;

use super::{Header, HeaderError, ListHeader};
use crate::msg::name::Name;
use crate::msg::params::Params;
use crate::msg::scan;

/// Why a request was sent: `SIP;cause=200;text="Call completed elsewhere"`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reason {
    /// `SIP`, `Q.850` or another.
    pub protocol: String,
    /// `cause`, `text` and others.
    pub params: Params,
}

impl Reason {
    /// A reason with a SIP status.
    pub fn sip(cause: u16, text: &str) -> Self {
        let params = Params::new().with("cause", Some(&cause.to_string()));
        Reason { protocol: "SIP".to_owned(), params: params.with("text", Some(&scan::quote(text))) }
    }

    /// The cause in the protocol's own numbers.
    pub fn cause(&self) -> Option<u16> {
        self.params.get("cause")?.parse().ok()
    }

    /// The text for people.
    pub fn text(&self) -> Option<String> {
        self.params.get_unquoted("text")
    }
}

impl Header for Reason {
    const NAME: Name = Name::Reason;
    const IS_LIST: bool = true;
    fn parse(value: &str) -> Result<Self, HeaderError> {
        let (protocol, params) = value.split_at(value.find(';').unwrap_or(value.len()));
        let protocol = scan::trim(protocol);
        let params = Params::parse(params).filter(|_| scan::is_token(protocol));
        Ok(Reason {
            protocol: protocol.to_owned(),
            params: params.ok_or(HeaderError::malformed(Self::NAME))?,
        })
    }
}

impl ListHeader for Reason {}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.protocol, self.params)
    }
}
