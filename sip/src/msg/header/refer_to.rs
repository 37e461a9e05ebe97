//! RFC 3515, RFC 3892, RFC 3325: Refer-To, Referred-By and P-Asserted-Identity.

use std::fmt;
use std::ops::Deref;

use super::{Header, HeaderError, ListHeader, NameAddr};
use crate::msg::name::Name;

macro_rules! address {
    ($(#[$doc:meta])* $type:ident, $is_list:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $type(pub NameAddr);

        impl Header for $type {
            const NAME: Name = Name::$type;
            const IS_LIST: bool = $is_list;
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
    /// Whom a transferred party should call.
    ReferTo, false
}
address! {
    /// Who transfers.
    ReferredBy, false
}
address! {
    /// Who the sender is, as the trusted network says.
    PAssertedIdentity, true
}

impl ListHeader for PAssertedIdentity {}
