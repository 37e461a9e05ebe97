//! Hints about storing and copying a message (XEP-0334).

use crate::xml::Element;

/// The namespace.
pub const NS: &str = "urn:xmpp:hints";

/// One hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hint {
    /// Not into permanent storage.
    NoPermanentStore,
    /// Not into any storage.
    NoStore,
    /// To nobody but its addressee.
    NoCopy,
    /// Store it although it looks unimportant.
    Store,
}

impl Hint {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::NoPermanentStore, Self::NoStore, Self::NoCopy, Self::Store];

    /// The element's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoPermanentStore => "no-permanent-store",
            Self::NoStore => "no-store",
            Self::NoCopy => "no-copy",
            Self::Store => "store",
        }
    }

    /// Reads an element.
    pub fn from_element(element: &Element) -> Option<Self> {
        let known = element.ns() == NS;
        Self::ALL.into_iter().find(|h| known && h.name() == element.name())
    }

    /// Whether a `<message/>` carries this hint.
    pub fn is_in(self, message: &Element) -> bool {
        message.elements().any(|e| Self::from_element(e) == Some(self))
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
    fn all_round_trip() {
        for hint in Hint::ALL {
            let message = Element::new("message", "jabber:client").with_child(hint.to_element());
            let message = Element::parse(&message.to_bytes()).unwrap();
            for other in Hint::ALL {
                assert_eq!(other.is_in(&message), other == hint);
            }
        }
    }
}
