//! RFC 3261 sections 20.30 and 20.34, RFC 3327: Record-Route, Route, Path.

use std::fmt;
use std::ops::Deref;

use super::{Header, HeaderError, ListHeader, NameAddr};
use crate::msg::name::Name;

macro_rules! hop {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $type(pub NameAddr);

        impl $type {
            /// Whether the hop routes loosely (`;lr`).
            pub fn is_loose(&self) -> bool {
                self.0.uri.params.has("lr")
            }
        }

        impl Header for $type {
            const NAME: Name = Name::$type;
            const IS_LIST: bool = true;
            fn parse(value: &str) -> Result<Self, HeaderError> {
                // The grammar knows only the form with brackets here; without them `;lr` would be lost.
                let address = NameAddr::parse(value).filter(|_| value.contains('<'));
                address.map($type).ok_or(HeaderError::malformed(Self::NAME))
            }
        }

        impl ListHeader for $type {}

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

hop! {
    /// A hop that this request has to take.
    Route
}
hop! {
    /// A hop that wants to see the rest of the dialog.
    RecordRoute
}
hop! {
    /// A hop between a registrar and the contact.
    Path
}
