//! RFC 3891 section 6.1, RFC 3911 section 7.1, RFC 4538 section 7: the fields that name a dialog.

use std::fmt;

use super::{Header, HeaderError};
use crate::msg::name::Name;
use crate::msg::params::Params;
use crate::msg::scan;

macro_rules! dialog_header {
    ($(#[$doc:meta])* $type:ident, $near:literal, $far:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $type {
            /// Its Call-ID.
            pub call_id: String,
            /// The two tags, and others.
            pub params: Params,
        }

        impl $type {
            /// A dialog by its Call-ID, the tag of the side that gets the request, and the tag of the other side.
            pub fn new(call_id: &str, near: &str, far: &str) -> Self {
                let params = Params::new().with($near, Some(near)).with($far, Some(far));
                $type { call_id: call_id.to_owned(), params }
            }
        }

        impl Header for $type {
            const NAME: Name = Name::$type;
            fn parse(value: &str) -> Result<Self, HeaderError> {
                let (call_id, params) = value.split_at(value.find(';').unwrap_or(value.len()));
                let call_id = scan::trim(call_id).to_owned();
                let params = Params::parse(params).filter(|params| {
                    !call_id.is_empty() && params.get($near).is_some() && params.get($far).is_some()
                });
                Ok($type { call_id, params: params.ok_or(HeaderError::malformed(Self::NAME))? })
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", self.call_id, self.params)
            }
        }
    };
}

dialog_header! {
    /// The dialog that a new INVITE takes the place of (RFC 3891).
    Replaces, "to-tag", "from-tag"
}
dialog_header! {
    /// The dialog that a new INVITE joins (RFC 3911).
    Join, "to-tag", "from-tag"
}
dialog_header! {
    /// The dialog whose trust a request outside of it asks for (RFC 4538).
    TargetDialog, "local-tag", "remote-tag"
}

impl Replaces {
    /// The tag of the side that gets the INVITE.
    pub fn to_tag(&self) -> Option<&str> {
        self.params.get("to-tag")
    }

    /// The tag of the other side.
    pub fn from_tag(&self) -> Option<&str> {
        self.params.get("from-tag")
    }

    /// Whether only a call that is not answered yet may be replaced.
    pub fn is_early_only(&self) -> bool {
        self.params.has("early-only")
    }
}

impl Join {
    /// The tag of the side that gets the INVITE.
    pub fn to_tag(&self) -> Option<&str> {
        self.params.get("to-tag")
    }

    /// The tag of the other side.
    pub fn from_tag(&self) -> Option<&str> {
        self.params.get("from-tag")
    }
}

impl TargetDialog {
    /// The tag of the side that gets the request.
    pub fn local_tag(&self) -> Option<&str> {
        self.params.get("local-tag")
    }

    /// The tag of the side that sends the request.
    pub fn remote_tag(&self) -> Option<&str> {
        self.params.get("remote-tag")
    }
}
