//! Chat states (XEP-0085): who is typing.

use crate::xml::{Element, ns};

/// The namespace.
pub const NS: &str = "http://jabber.org/protocol/chatstates";

/// What the other person does in this chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChatState {
    /// Reads or has just sent.
    Active,
    /// Types.
    Composing,
    /// Stopped typing.
    Paused,
    /// Looks elsewhere.
    Inactive,
    /// Closed the chat.
    Gone,
}

impl ChatState {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Active, Self::Composing, Self::Paused, Self::Inactive, Self::Gone];

    /// The element's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Composing => "composing",
            Self::Paused => "paused",
            Self::Inactive => "inactive",
            Self::Gone => "gone",
        }
    }

    /// Reads an element.
    pub fn from_element(element: &Element) -> Option<Self> {
        let known = element.ns() == NS;
        Self::ALL.into_iter().find(|s| known && s.name() == element.name())
    }

    /// The state in a `<message/>`; the first, should there be several against the rule.
    pub fn from_message(message: &Element) -> Option<Self> {
        message.elements().find_map(Self::from_element)
    }

    /// Whether a `<message/>` carries a state and nothing that a person reads (section 5.5).
    pub fn is_standalone(message: &Element) -> bool {
        Self::from_message(message).is_some() && message.child("body", ns::CLIENT).is_none()
    }

    /// The element.
    pub fn to_element(self) -> Element {
        Element::new(self.name(), NS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_round_trip_and_others_are_none() {
        for state in ChatState::ALL {
            let message = Element::new("message", ns::CLIENT).with_child(state.to_element());
            let message = Element::parse(&message.to_bytes()).unwrap();
            assert_eq!(ChatState::from_message(&message), Some(state));
            assert!(ChatState::is_standalone(&message));
            let with_body = message.with_child(Element::new("body", ns::CLIENT));
            assert!(!ChatState::is_standalone(&with_body));
        }
        assert_eq!(ChatState::from_element(&Element::new("typing", NS)), None);
        assert_eq!(ChatState::from_element(&Element::new("active", "other")), None);
    }
}
