//! RFC 4028 sections 4 and 5: Session-Expires and Min-SE.

use std::fmt;

use super::{Header, HeaderError};
use crate::msg::name::Name;
use crate::msg::params::Params;
use crate::msg::scan;

macro_rules! interval {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $type {
            /// Seconds.
            pub seconds: u32,
            /// Parameters.
            pub params: Params,
        }

        impl Header for $type {
            const NAME: Name = Name::$type;
            fn parse(value: &str) -> Result<Self, HeaderError> {
                let (number, params) = value.split_at(value.find(';').unwrap_or(value.len()));
                let seconds = scan::saturating_u32(scan::trim(number));
                match (seconds, Params::parse(params)) {
                    (Some(seconds), Some(params)) => Ok($type { seconds, params }),
                    _ => Err(HeaderError::malformed(Self::NAME)),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", self.seconds, self.params)
            }
        }
    };
}

interval! {
    /// How long a call lives without a refresh.
    SessionExpires
}
interval! {
    /// The shortest such time that is taken.
    MinSe
}

impl SessionExpires {
    /// Who refreshes: `uac` or `uas`.
    pub fn refresher(&self) -> Option<&str> {
        self.params.get("refresher")
    }
}
