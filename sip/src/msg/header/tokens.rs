//! RFC 3261 sections 20.1, 20.5, 20.12, 20.29, 20.32, 20.37, 20.40, RFC 6665: lists of words.

use std::fmt;

use super::{Header, HeaderError, ListHeader};
use crate::msg::name::Name;
use crate::msg::params::Params;
use crate::msg::scan;

token_header! {
    /// A method that is understood.
    Allow, list
}
token_header! {
    /// An event package that is understood.
    AllowEvents, list
}
token_header! {
    /// An extension that the sender knows.
    Supported, list
}
token_header! {
    /// An extension that the receiver has to know.
    Require, list
}
token_header! {
    /// An extension that proxies have to know.
    ProxyRequire, list
}
token_header! {
    /// An extension that was required and is not known.
    Unsupported, list
}
token_header! {
    /// How the body is coded; anything but `identity` is refused by us.
    ContentEncoding, list
}

/// A body type that the sender takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Accept {
    /// `type/subtype`, either of which may be `*`.
    pub media: String,
    /// Parameters, `q` among them.
    pub params: Params,
}

impl Accept {
    /// Whether a body of this type (`application/sdp`) is taken.
    pub fn takes(&self, media: &str) -> bool {
        let (kind, rest) = self.media.split_once('/').unwrap_or((&self.media, "*"));
        let (other, sub) = media.split_once('/').unwrap_or((media, ""));
        kind == "*"
            || kind.eq_ignore_ascii_case(other) && (rest == "*" || rest.eq_ignore_ascii_case(sub))
    }
}

impl Header for Accept {
    const NAME: Name = Name::Accept;
    const IS_LIST: bool = true;
    fn parse(value: &str) -> Result<Self, HeaderError> {
        let (media, params) = value.split_at(value.find(';').unwrap_or(value.len()));
        let (kind, sub) = media.split_once('/').ok_or(HeaderError::malformed(Self::NAME))?;
        let (kind, sub) = (scan::trim(kind), scan::trim(sub));
        let params = Params::parse(params).filter(|_| scan::is_token(kind) && scan::is_token(sub));
        let params = params.ok_or(HeaderError::malformed(Self::NAME))?;
        Ok(Accept { media: format!("{kind}/{sub}"), params })
    }
}

impl ListHeader for Accept {
    const MAY_BE_EMPTY: bool = true;
}

impl fmt::Display for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.media, self.params)
    }
}
