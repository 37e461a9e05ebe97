//! RFC 3261 sections 20.19 and 20.23: Expires and Min-Expires.

use std::fmt;

use super::{Header, HeaderError};
use crate::msg::name::Name;
use crate::msg::scan;

macro_rules! seconds {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $type(pub u32);

        impl Header for $type {
            const NAME: Name = Name::$type;
            fn parse(value: &str) -> Result<Self, HeaderError> {
                scan::saturating_u32(scan::trim(value)).map($type).ok_or(HeaderError::malformed(Self::NAME))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

seconds! {
    /// Seconds until something ends; a larger number than 2^32-1 is that number.
    Expires
}
seconds! {
    /// The shortest time a registrar or notifier takes, in seconds.
    MinExpires
}
