//! Delivery receipts (XEP-0184).

use crate::xml::Element;

/// The namespace.
pub const NS: &str = "urn:xmpp:receipts";

/// What a message says about delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// Tell me when this has arrived.
    Request,
    /// The message with this id has arrived.
    Received(String),
}

impl Receipt {
    /// Reads an element. A `<received/>` without an id tells nothing (XEP-0184 section 5.2) and is none.
    pub fn from_element(element: &Element) -> Option<Self> {
        match (element.name(), element.ns()) {
            ("request", NS) => Some(Self::Request),
            ("received", NS) => {
                let id = element.attr("id").filter(|id| !id.is_empty())?;
                Some(Self::Received(id.to_owned()))
            }
            _ => None,
        }
    }

    /// What a `<message/>` says.
    pub fn from_message(message: &Element) -> Option<Self> {
        message.elements().find_map(Self::from_element)
    }

    /// The element.
    pub fn to_element(&self) -> Element {
        match self {
            Self::Request => Element::new("request", NS),
            Self::Received(id) => Element::new("received", NS).with_attr("id", &**id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_round_trip() {
        for receipt in [Receipt::Request, Receipt::Received("a<b".into())] {
            let bytes = receipt.to_element().to_bytes();
            let element = Element::parse(&bytes).unwrap();
            assert_eq!(Receipt::from_element(&element), Some(receipt));
        }
        assert_eq!(Receipt::from_element(&Element::new("received", NS)), None);
        assert_eq!(Receipt::from_element(&Element::new("request", "other")), None);
    }
}
