//! RFC 3261 sections 20.20 and 20.39: From and To.

use std::fmt;
use std::ops::Deref;

use super::{Header, HeaderError, NameAddr};
use crate::msg::name::Name;

macro_rules! address {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $type(pub NameAddr);

        impl Header for $type {
            const NAME: Name = Name::$type;
            fn parse(value: &str) -> Result<Self, HeaderError> {
                NameAddr::parse(value).map($type).ok_or(HeaderError::malformed(Self::NAME))
            }
        }

        impl Deref for $type {
            type Target = NameAddr;
            fn deref(&self) -> &NameAddr {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

address! {
    /// Who sends.
    From
}
address! {
    /// Whom it is for.
    To
}
