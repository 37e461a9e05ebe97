//! SIP methods (RFC 3261 section 7.1): an open set, case-sensitive.

use std::fmt;

/// A method name. Unknown ones are kept as written.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Method(Word);

/// A known method is never `Other`, so that the constants can be matched as patterns.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Word {
    Known(&'static str),
    Other(Box<str>),
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident)*) => {
        impl Method {
            $($(#[$doc])* pub const $name: Method = Method(Word::Known(stringify!($name)));)*

            /// The method written `name`. Any text is taken; the parser has checked that it is a token.
            pub fn new(name: &str) -> Self {
                match name {
                    $(stringify!($name) => Method::$name,)*
                    _ => Method(Word::Other(name.into())),
                }
            }
        }
    };
}

methods! {
    /// RFC 3261.
    INVITE
    /// RFC 3261.
    ACK
    /// RFC 3261.
    CANCEL
    /// RFC 3261.
    BYE
    /// RFC 3261.
    OPTIONS
    /// RFC 3261.
    REGISTER
    /// RFC 3428.
    MESSAGE
    /// RFC 6665.
    SUBSCRIBE
    /// RFC 6665.
    NOTIFY
    /// RFC 3903.
    PUBLISH
    /// RFC 3515.
    REFER
    /// RFC 6086.
    INFO
    /// RFC 3311.
    UPDATE
    /// RFC 3262.
    PRACK
}

impl Method {
    /// The name as it goes on the wire.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Word::Known(name) => name,
            Word::Other(name) => name,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq<str> for Method {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}
