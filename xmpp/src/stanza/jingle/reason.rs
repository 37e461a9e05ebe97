//! Why a session ends (XEP-0166 section 7.4), and the error conditions of section 10.

use super::{NS, NS_ERRORS};
use crate::xml::Element;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $wire:literal;)*) => {
        /// Why a session, a content or a proposed call ended.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
            /// Go on in another session, whose id may be given.
            AlternativeSession(Option<String>),
        }

        impl Reason {
            /// All of them, the alternative session without an id.
            pub const ALL: &'static [Reason] = &[$(Self::$name,)* Self::AlternativeSession(None)];

            /// The element's name.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name => $wire,)*
                    Self::AlternativeSession(_) => "alternative-session",
                }
            }

            /// The reason of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($wire => Some(Self::$name),)*
                    "alternative-session" => Some(Self::AlternativeSession(None)),
                    _ => None,
                }
            }
        }
    };
}

reasons! {
    /// In another call.
    Busy = "busy";
    /// The initiator gave up.
    Cancel = "cancel";
    /// No media path.
    ConnectivityError = "connectivity-error";
    /// The user does not want to.
    Decline = "decline";
    /// The session lasted too long, or the proposal was overtaken.
    Expired = "expired";
    /// The application could not start.
    FailedApplication = "failed-application";
    /// The transport could not start.
    FailedTransport = "failed-transport";
    /// Something else.
    GeneralError = "general-error";
    /// The party went away.
    Gone = "gone";
    /// Codecs or the like do not fit.
    IncompatibleParameters = "incompatible-parameters";
    /// The media failed.
    MediaError = "media-error";
    /// Keys or fingerprints failed.
    SecurityError = "security-error";
    /// It went well and is over.
    Success = "success";
    /// Nobody answered in time.
    Timeout = "timeout";
    /// None of these applications.
    UnsupportedApplications = "unsupported-applications";
    /// None of these transports.
    UnsupportedTransports = "unsupported-transports";
}

/// A `<reason/>` with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasonElement {
    /// Why.
    pub reason: Reason,
    /// For people.
    pub text: Option<String>,
}

impl From<Reason> for ReasonElement {
    fn from(reason: Reason) -> Self {
        Self { reason, text: None }
    }
}

impl ReasonElement {
    /// Reads a `<reason/>`; `None` if it names no reason that is known.
    pub fn from_element(element: &Element) -> Option<Self> {
        let named =
            element.elements().find_map(|e| Reason::from_name(e.name()).map(|reason| (reason, e)));
        let (mut reason, named) = named?;
        if let Reason::AlternativeSession(sid) = &mut reason {
            *sid = named.child("sid", named.ns()).map(Element::text).filter(|s| !s.is_empty());
        }
        let text = element.elements().find(|e| e.name() == "text");
        let text = text.map(Element::text).filter(|t| !t.is_empty());
        Some(Self { reason, text })
    }

    /// The `<reason/>`.
    pub fn to_element(&self) -> Element {
        let mut named = Element::new(self.reason.name(), NS);
        if let Reason::AlternativeSession(Some(sid)) = &self.reason {
            named.push(Element::new("sid", NS).with_text(sid));
        }
        let text = self.text.iter().map(|t| Element::new("text", NS).with_text(t));
        Element::new("reason", NS).with_child(named).with_children(text)
    }
}

/// What a Jingle error adds to its stanza error (XEP-0166 section 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JingleCondition {
    /// Not in this state.
    OutOfOrder,
    /// Both sides did it at once, and the other one wins.
    TieBreak,
    /// No such session.
    UnknownSession,
    /// Not understood.
    UnsupportedInfo,
    /// Encryption is a must (XEP-0167 section 11).
    SecurityRequired,
}

impl JingleCondition {
    const ALL: [Self; 5] = [
        Self::OutOfOrder,
        Self::TieBreak,
        Self::UnknownSession,
        Self::UnsupportedInfo,
        Self::SecurityRequired,
    ];

    /// The element's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::OutOfOrder => "out-of-order",
            Self::TieBreak => "tie-break",
            Self::UnknownSession => "unknown-session",
            Self::UnsupportedInfo => "unsupported-info",
            Self::SecurityRequired => "security-required",
        }
    }

    /// The element that goes into an `<error/>`.
    pub fn to_element(self) -> Element {
        Element::new(self.name(), NS_ERRORS)
    }

    /// Finds it in an `<error/>`.
    pub fn from_error(error: &Element) -> Option<Self> {
        Self::ALL.into_iter().find(|c| error.child(c.name(), NS_ERRORS).is_some())
    }
}
