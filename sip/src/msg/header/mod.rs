//! Typed header fields, one file each (RFC 3261 section 20 and its extensions).
//!
//! A type knows its name, reads one value (of a list: one element) and prints it. [`Headers`](super::Headers) does the
//! rest: `headers.typed::<CSeq>()`, `headers.list::<Contact>()`.

use std::fmt::Display;

use super::name::Name;

#[macro_use]
mod shape;

mod alert_info;
mod answer_mode;
mod authenticate;
mod call_id;
mod call_info;
mod contact;
mod content_disposition;
mod content_type;
mod cseq;
mod date;
mod diversion;
mod error_info;
mod event;
mod expires;
mod flow_timer;
mod from_to;
mod history_info;
mod info_package;
mod max_breadth;
mod max_forwards;
mod name_addr;
mod p_identity;
mod privacy;
mod rack;
mod reason;
mod refer_sub;
mod refer_to;
mod referred_by;
mod replaces;
mod retry_after;
mod route;
mod security;
mod session_expires;
mod session_id;
mod sip_etag;
mod subscription_state;
mod suppress_if_match;
mod tokens;
mod via;
mod warning;

pub use alert_info::AlertInfo;
pub use answer_mode::{AnswerMode, PrivAnswerMode};
pub use authenticate::{Authorization, ProxyAuthenticate, ProxyAuthorization, WwwAuthenticate};
pub use call_id::CallId;
pub use call_info::CallInfo;
pub use contact::{Contact, Contacts, Push};
pub use content_disposition::ContentDisposition;
pub use content_type::ContentType;
pub use cseq::CSeq;
pub use date::Date;
pub use diversion::Diversion;
pub use error_info::ErrorInfo;
pub use event::Event;
pub use expires::{Expires, MinExpires};
pub use flow_timer::FlowTimer;
pub use from_to::{From, To};
pub use history_info::HistoryInfo;
pub use info_package::{InfoPackage, RecvInfo};
pub use max_breadth::MaxBreadth;
pub use max_forwards::MaxForwards;
pub use name_addr::NameAddr;
pub use p_identity::{PAssertedIdentity, PPreferredIdentity};
pub use privacy::Privacy;
pub use rack::{RAck, RSeq};
pub use reason::Reason;
pub use refer_sub::ReferSub;
pub use refer_to::ReferTo;
pub use referred_by::ReferredBy;
pub use replaces::{Join, Replaces, TargetDialog};
pub use retry_after::RetryAfter;
pub use route::{Path, RecordRoute, Route, ServiceRoute};
pub use security::{SecurityClient, SecurityServer, SecurityVerify};
pub use session_expires::{MinSe, SessionExpires};
pub use session_id::SessionId;
pub use sip_etag::{SipEtag, SipIfMatch};
pub use subscription_state::{SubscriptionState, SubscriptionStateValue};
pub use suppress_if_match::SuppressIfMatch;
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
