//! Typed header fields, one file each (RFC 3261 section 20 and its extensions).
//!
//! A type knows its name, reads one value (of a list: one element) and prints it. [`Headers`](super::Headers) does the
//! rest: `headers.typed::<CSeq>()`, `headers.list::<Contact>()`.

use std::fmt::Display;

use super::name::Name;

mod authenticate;
mod call_id;
mod contact;
mod content_type;
mod cseq;
mod date;
mod event;
mod expires;
mod from_to;
mod max_forwards;
mod name_addr;
mod rack;
mod reason;
mod refer_to;
mod replaces;
mod retry_after;
mod route;
mod session_expires;
mod subscription_state;
mod tokens;
mod via;
mod warning;

pub use authenticate::{Authorization, ProxyAuthenticate, ProxyAuthorization, WwwAuthenticate};
pub use call_id::CallId;
pub use contact::{Contact, Contacts};
pub use content_type::ContentType;
pub use cseq::CSeq;
pub use date::Date;
pub use event::Event;
pub use expires::{Expires, MinExpires};
pub use from_to::{From, To};
pub use max_forwards::MaxForwards;
pub use name_addr::NameAddr;
pub use rack::{RAck, RSeq};
pub use reason::Reason;
pub use refer_to::{PAssertedIdentity, ReferTo, ReferredBy};
pub use replaces::Replaces;
pub use retry_after::RetryAfter;
pub use route::{Path, RecordRoute, Route};
pub use session_expires::{MinSe, SessionExpires};
pub use subscription_state::{SubscriptionState, SubscriptionStateValue};
pub use tokens::{
    Accept, Allow, AllowEvents, ContentEncoding, ProxyRequire, Require, Supported, Unsupported,
};
pub use via::Via;
pub use warning::Warning;

/// A header field with a type.
pub trait Header: Sized + Display {
    /// Which field.
    const NAME: Name;
    /// Whether the field's value is a list with commas.
    const IS_LIST: bool = false;

    /// Reads one value; of a list, one element.
    ///
    /// # Errors
    /// The text is not what the grammar of this field asks for. In a request that is a 400.
    fn parse(value: &str) -> Result<Self, HeaderError>;
}

/// A header field that may hold several elements and stand several times.
pub trait ListHeader: Header {
    /// Whether the field may be there without any element.
    const MAY_BE_EMPTY: bool = false;
}

/// A header field that could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", name.as_str())]
pub struct HeaderError {
    /// The field.
    pub name: Name,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It has to be there.
    #[error("missing")]
    Missing,
    /// It may stand only once.
    #[error("repeated")]
    Repeated,
    /// It is not UTF-8.
    #[error("not text")]
    NotText,
    /// It breaks its grammar.
    #[error("malformed")]
    Malformed,
    /// A number beyond its range.
    #[error("out of range")]
    OutOfRange,
}

impl HeaderError {
    /// An error of that field.
    pub const fn new(name: Name, problem: Problem) -> Self {
        HeaderError { name, problem }
    }

    /// The field breaks its grammar.
    pub(crate) const fn malformed(name: Name) -> Self {
        HeaderError::new(name, Problem::Malformed)
    }
}
