//! Chat markers (XEP-0333): what has been seen.

use crate::xml::Element;

/// The namespace.
pub const NS: &str = "urn:xmpp:chat-markers:0";

/// What a message says about being seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marker {
    /// Tell me when this has been seen.
    Markable,
    /// Arrived, in versions before 0.4.
    Received(String),
    /// Everything up to the message with this id has been seen.
    Displayed(String),
    /// Acted upon, in versions before 0.4.
    Acknowledged(String),
}

impl Marker {
    /// Reads an element; without an id it tells nothing.
    pub fn from_element(element: &Element) -> Option<Self> {
        if element.ns() != NS {
            return None;
        }
        let id = element.attr("id").filter(|id| !id.is_empty()).map(str::to_owned);
        match element.name() {
            "markable" => Some(Self::Markable),
            "received" => id.map(Self::Received),
            "displayed" => id.map(Self::Displayed),
            "acknowledged" => id.map(Self::Acknowledged),
            _ => None,
        }
    }

    /// What a `<message/>` says.
    pub fn from_message(message: &Element) -> Option<Self> {
        message.elements().find_map(Self::from_element)
    }

    /// The element.
    pub fn to_element(&self) -> Element {
        let (name, id) = match self {
            Self::Markable => ("markable", None),
            Self::Received(id) => ("received", Some(id)),
            Self::Displayed(id) => ("displayed", Some(id)),
            Self::Acknowledged(id) => ("acknowledged", Some(id)),
        };
        Element::new(name, NS).with_attr_opt("id", id.map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_round_trip() {
        let id = || "m1".to_owned();
        for marker in [
            Marker::Markable,
            Marker::Received(id()),
            Marker::Displayed(id()),
            Marker::Acknowledged(id()),
        ] {
            let element = Element::parse(&marker.to_element().to_bytes()).unwrap();
            assert_eq!(Marker::from_element(&element), Some(marker));
        }
        assert_eq!(Marker::from_element(&Element::new("displayed", NS)), None);
    }
}
