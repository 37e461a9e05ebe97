//! RFC 6665 section 8.2.1: Event.

use std::fmt;

use super::{Header, HeaderError};
use crate::msg::name::Name;
use crate::msg::params::Params;
use crate::msg::scan;

/// Which events a subscription is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Event {
    /// The package with its templates (`presence`, `presence.winfo`). Case-sensitive.
    pub package: String,
    /// Parameters.
    pub params: Params,
}

impl Event {
    /// A package without parameters.
    pub fn new(package: &str) -> Self {
        Event { package: package.to_owned(), params: Params::new() }
    }

    /// The `id` that tells two subscriptions in one dialog apart.
    pub fn id(&self) -> Option<&str> {
        self.params.get("id")
    }
}

impl Header for Event {
    const NAME: Name = Name::Event;
    fn parse(value: &str) -> Result<Self, HeaderError> {
        let (package, params) = value.split_at(value.find(';').unwrap_or(value.len()));
        let package = scan::trim(package);
        let params = Params::parse(params).filter(|_| scan::is_token(package));
        Ok(Event {
            package: package.to_owned(),
            params: params.ok_or(HeaderError::malformed(Self::NAME))?,
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.package, self.params)
    }
}
