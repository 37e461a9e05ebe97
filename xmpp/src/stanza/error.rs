//! Stanza errors (RFC 6120 section 8.3).

use crate::xml::{Element, ns};

/// What the sender may do about it (RFC 6120 section 8.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// Retry after giving credentials.
    Auth,
    /// Do not retry.
    Cancel,
    /// Go on: it was a warning.
    Continue,
    /// Retry after changing the data.
    Modify,
    /// Retry after waiting.
    Wait,
}

macro_rules! conditions {
    ($($(#[$doc:meta])* $name:ident = $wire:literal, $kind:ident;)*) => {
        /// The defined conditions (RFC 6120 section 8.3.3).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Condition { $($(#[$doc])* $name,)* }

        impl Condition {
            /// All of them.
            pub const ALL: &'static [Condition] = &[$(Self::$name,)*];

            /// The element's name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $wire,)* }
            }

            /// The condition of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($wire => Some(Self::$name),)* _ => None }
            }

            /// The type usually sent with it.
            pub fn usual_type(self) -> ErrorType {
                match self { $(Self::$name => ErrorType::$kind,)* }
            }
        }
    };
}

conditions! {
    /// The stanza cannot be understood.
    BadRequest = "bad-request", Modify;
    /// A name is taken.
    Conflict = "conflict", Cancel;
    /// Not implemented here.
    FeatureNotImplemented = "feature-not-implemented", Cancel;
    /// Not permitted.
    Forbidden = "forbidden", Auth;
    /// No longer at this address.
    Gone = "gone", Cancel;
    /// Our fault.
    InternalServerError = "internal-server-error", Cancel;
    /// No such thing.
    ItemNotFound = "item-not-found", Cancel;
    /// An address that is none.
    JidMalformed = "jid-malformed", Modify;
    /// Understood, but not with these values.
    NotAcceptable = "not-acceptable", Modify;
    /// Nobody may do that.
    NotAllowed = "not-allowed", Cancel;
    /// Credentials are needed.
    NotAuthorized = "not-authorized", Auth;
    /// Against a rule of the house.
    PolicyViolation = "policy-violation", Modify;
    /// The recipient is away.
    RecipientUnavailable = "recipient-unavailable", Wait;
    /// Elsewhere for now.
    Redirect = "redirect", Modify;
    /// Registration is needed.
    RegistrationRequired = "registration-required", Auth;
    /// No such domain.
    RemoteServerNotFound = "remote-server-not-found", Cancel;
    /// The other server did not answer.
    RemoteServerTimeout = "remote-server-timeout", Wait;
    /// Too busy.
    ResourceConstraint = "resource-constraint", Wait;
    /// Not offered here.
    ServiceUnavailable = "service-unavailable", Cancel;
    /// A subscription is needed.
    SubscriptionRequired = "subscription-required", Auth;
    /// None of the others.
    UndefinedCondition = "undefined-condition", Cancel;
    /// Not now.
    UnexpectedRequest = "unexpected-request", Wait;
}

/// An error a stanza earned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StanzaError {
    /// What the sender may do.
    pub kind: ErrorType,
    /// What went wrong.
    pub condition: Condition,
    /// For people, in English.
    pub text: Option<String>,
    /// What a specification of its own says more precisely (RFC 6120 section 8.3.4).
    pub detail: Option<Box<Element>>,
}

impl StanzaError {
    /// With the condition's usual type and no text.
    pub fn new(condition: Condition) -> Self {
        Self { kind: condition.usual_type(), condition, text: None, detail: None }
    }

    /// With a text for people.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// With another type than the usual one.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorType) -> Self {
        self.kind = kind;
        self
    }

    /// With an application's own condition.
    #[must_use]
    pub fn with_detail(mut self, detail: Element) -> Self {
        self.detail = Some(Box::new(detail));
        self
    }

    /// The `<error/>` element.
    pub fn to_element(&self) -> Element {
        let kind = match self.kind {
            ErrorType::Auth => "auth",
            ErrorType::Cancel => "cancel",
            ErrorType::Continue => "continue",
            ErrorType::Modify => "modify",
            ErrorType::Wait => "wait",
        };
        let mut error = Element::new("error", ns::CLIENT)
            .with_attr("type", kind)
            .with_child(Element::new(self.condition.name(), ns::STANZAS));
        if let Some(text) = &self.text {
            let text =
                Element::new("text", ns::STANZAS).with_attr("xml:lang", "en").with_text(text);
            error.push(text);
        }
        error.with_children(self.detail.as_deref().cloned())
    }

    /// Reads an `<error/>` element; what is unknown becomes `undefined-condition`.
    pub fn from_element(error: &Element) -> Self {
        let condition = error
            .elements()
            .filter(|e| e.ns() == ns::STANZAS)
            .find_map(|e| Condition::from_name(e.name()))
            .unwrap_or(Condition::UndefinedCondition);
        let kind = match error.attr("type") {
            Some("auth") => ErrorType::Auth,
            Some("continue") => ErrorType::Continue,
            Some("modify") => ErrorType::Modify,
            Some("wait") => ErrorType::Wait,
            _ => ErrorType::Cancel,
        };
        let detail = error.elements().find(|e| e.ns() != ns::STANZAS).cloned().map(Box::new);
        Self { kind, condition, text: error.child("text", ns::STANZAS).map(Element::text), detail }
    }
}
