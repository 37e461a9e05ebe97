//! RFC 3261 section 20.15: Content-Type.

use std::fmt;

use super::{Header, HeaderError};
use crate::msg::name::Name;
use crate::msg::params::Params;
use crate::msg::scan;

/// What the body is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContentType {
    /// `type/subtype` in lower case.
    pub media: String,
    /// Parameters (`charset`, `boundary`).
    pub params: Params,
}

impl ContentType {
    /// A type without parameters.
    pub fn new(media: &str) -> Self {
        ContentType { media: media.to_ascii_lowercase(), params: Params::new() }
    }

    /// Whether it is this `type/subtype`.
    pub fn is(&self, media: &str) -> bool {
        self.media.eq_ignore_ascii_case(media)
    }
}

impl Header for ContentType {
    const NAME: Name = Name::ContentType;
    fn parse(value: &str) -> Result<Self, HeaderError> {
        let malformed = HeaderError::malformed(Self::NAME);
        let (media, params) = value.split_at(value.find(';').unwrap_or(value.len()));
        let (kind, sub) = media.split_once('/').ok_or(malformed)?;
        let (kind, sub) = (scan::trim(kind), scan::trim(sub));
        if !scan::is_token(kind) || !scan::is_token(sub) {
            return Err(malformed);
        }
        let media = format!("{kind}/{sub}").to_ascii_lowercase();
        Ok(ContentType { media, params: Params::parse(params).ok_or(malformed)? })
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.media, self.params)
    }
}
