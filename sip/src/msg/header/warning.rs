//! RFC 3261 section 20.43: Warning.

use std::fmt;

use super::{Header, HeaderError, ListHeader};
use crate::msg::name::Name;
use crate::msg::scan;

/// More about a refusal: `399 host "text"`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Warning {
    /// Three digits.
    pub code: u16,
    /// Who warns: a host or a pseudonym.
    pub agent: String,
    /// The text for people.
    pub text: String,
}

impl Header for Warning {
    const NAME: Name = Name::Warning;
    const IS_LIST: bool = true;
    fn parse(value: &str) -> Result<Self, HeaderError> {
        let read = || {
            let (code, rest) = scan::trim(value).split_once(' ')?;
            let (agent, text) = scan::trim(rest).split_once(' ')?;
            let (text, code) =
                (scan::trim(text), (code.len() == 3).then(|| scan::digits(code))??.ok()?);
            (scan::quoted_len(text) == Some(text.len())).then_some(())?;
            Some(Warning {
                code: u16::try_from(code).ok()?,
                agent: agent.to_owned(),
                text: scan::unquote(text),
            })
        };
        read().ok_or(HeaderError::malformed(Self::NAME))
    }
}

impl ListHeader for Warning {}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03} {} {}", self.code, self.agent, scan::quote(&self.text))
    }
}
