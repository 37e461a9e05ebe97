//! RFC 3261 sections 20.7, 20.27, 20.28, 20.44: the fields that carry digest challenges and answers.
//!
//! Their commas separate parameters, so they are no lists; `auth::digest` reads what is inside.

use std::fmt;

use super::{Header, HeaderError};
use crate::msg::name::Name;
use crate::msg::scan;

macro_rules! credentials {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $type {
            /// `Digest` or an unknown scheme.
            pub scheme: String,
            /// What follows it, as written.
            pub params: String,
        }

        impl Header for $type {
            const NAME: Name = Name::$type;
            fn parse(value: &str) -> Result<Self, HeaderError> {
                let (scheme, params) = scan::trim(value).split_once([' ', '\t']).unwrap_or((value, ""));
                if !scan::is_token(scheme) {
                    return Err(HeaderError::malformed(Self::NAME));
                }
                Ok($type { scheme: scheme.to_owned(), params: scan::trim(params).to_owned() })
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} {}", self.scheme, self.params)
            }
        }
    };
}

credentials! {
    /// A server's challenge.
    WwwAuthenticate
}
credentials! {
    /// A proxy's challenge.
    ProxyAuthenticate
}
credentials! {
    /// An answer to a server's challenge.
    Authorization
}
credentials! {
    /// An answer to a proxy's challenge.
    ProxyAuthorization
}
