//! Ids that a message has in an archive, and that its sender gave it (XEP-0359).

use crate::jid::Jid;
use crate::xml::Element;

/// The namespace.
pub const NS: &str = "urn:xmpp:sid:0";

/// The `<stanza-id/>` that `by` gave a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StanzaId {
    /// Whose archive it is.
    pub by: Jid,
    /// The message's id there.
    pub id: String,
}

impl StanzaId {
    /// Reads one; `None` without both attributes.
    pub fn from_element(element: &Element) -> Option<Self> {
        if !element.is("stanza-id", NS) {
            return None;
        }
        let by = Jid::parse(element.attr("by")?).ok()?;
        Some(Self { by, id: element.attr("id").filter(|id| !id.is_empty())?.to_owned() })
    }

    /// The element.
    pub fn to_element(&self) -> Element {
        Element::new("stanza-id", NS)
            .with_attr("by", self.by.as_str())
            .with_attr("id", self.id.as_str())
    }
}

/// The id that the sender's client gave a message, if it is one that can be told from others.
pub fn origin_id(element: &Element) -> Option<&str> {
    element.attr("id").filter(|id| element.is("origin-id", NS) && !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip() {
        let id = StanzaId { by: Jid::parse("ana@d").unwrap(), id: "x<'>".into() };
        let element = Element::parse(&id.to_element().to_bytes()).unwrap();
        assert_eq!(StanzaId::from_element(&element), Some(id));
        for bad in
            ["<stanza-id xmlns='urn:xmpp:sid:0' by='a@d'/>", "<stanza-id xmlns='x' by='a' id='b'/>"]
        {
            assert_eq!(StanzaId::from_element(&Element::parse(bad.as_bytes()).unwrap()), None);
        }
        let origin = Element::new("origin-id", NS).with_attr("id", "o");
        assert_eq!(origin_id(&origin), Some("o"));
        assert_eq!(origin_id(&Element::new("origin-id", NS).with_attr("id", "")), None);
    }
}
