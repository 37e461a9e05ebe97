//! Result sets in pages (XEP-0059): what a client asks for and what it is told of the page.

use crate::xml::Element;

/// The namespace.
pub const NS: &str = "http://jabber.org/protocol/rsm";

/// A request for a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// Most items; 0 asks for the count alone (section 2.7).
    pub max: Option<usize>,
    /// The page that follows this item (section 2.2).
    pub after: Option<String>,
    /// The page that precedes this item; empty for the last page (sections 2.3 and 2.5).
    pub before: Option<String>,
    /// The page that begins at this place (section 2.6).
    pub index: Option<u64>,
}

/// A request that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a number is expected")]
pub struct RsmFault;

/// What is told of a page (section 2.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageInfo {
    /// The first and the last item; `None` on an empty page.
    pub ends: Option<(String, String)>,
    /// The place of the first among all.
    pub index: Option<u64>,
    /// How many there are in all.
    pub count: Option<u64>,
}

impl PageRequest {
    /// Reads the `<set/>` of a query; without one nothing is asked.
    ///
    /// # Errors
    ///
    /// [`RsmFault`] for numbers that are none; the answer is `bad-request`.
    pub fn of(query: &Element) -> Result<Self, RsmFault> {
        let Some(set) = query.child("set", NS) else { return Ok(Self::default()) };
        let text = |name| set.child(name, NS).map(|e| e.text().trim().to_owned());
        let max = text("max").map(|t| t.parse().map_err(|_| RsmFault)).transpose()?;
        let index = text("index").map(|t| t.parse().map_err(|_| RsmFault)).transpose()?;
        // An empty `<after/>` is the beginning.
        let after = text("after").filter(|id| !id.is_empty());
        Ok(Self { max, after, before: text("before"), index })
    }
}

impl PageInfo {
    /// The `<set/>` of an answer.
    pub fn to_element(&self) -> Element {
        let text = |name, text: &str| Element::new(name, NS).with_text(text);
        let mut set = Element::new("set", NS);
        if let Some((first, last)) = &self.ends {
            let index = self.index.map(|index| index.to_string());
            set.push(text("first", first).with_attr_opt("index", index));
            set.push(text("last", last));
        }
        set.with_children(self.count.map(|count| text("count", &count.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &str) -> Result<PageRequest, RsmFault> {
        let query = format!("<query xmlns='q'>{set}</query>");
        PageRequest::of(&Element::parse(query.as_bytes()).unwrap())
    }

    #[test]
    fn requests_are_read() {
        let set = |content: &str| read(&format!("<set xmlns='{NS}'>{content}</set>"));
        let plain = PageRequest::default();
        let table = [
            ("", plain.clone()),
            ("<max>10</max>", PageRequest { max: Some(10), ..plain.clone() }),
            ("<max> 0 </max>", PageRequest { max: Some(0), ..plain.clone() }),
            ("<after>x</after>", PageRequest { after: Some("x".into()), ..plain.clone() }),
            ("<after/>", plain.clone()),
            ("<before/>", PageRequest { before: Some(String::new()), ..plain.clone() }),
            ("<index>371</index>", PageRequest { index: Some(371), ..plain.clone() }),
        ];
        for (content, expected) in table {
            assert_eq!(set(content), Ok(expected), "{content}");
        }
        assert_eq!(read(""), Ok(plain));
        for bad in ["<max>-1</max>", "<max>many</max>", "<index/>"] {
            assert_eq!(set(bad), Err(RsmFault), "{bad}");
        }
    }

    #[test]
    fn an_empty_page_names_no_items() {
        let info = PageInfo { count: Some(0), ..PageInfo::default() };
        assert_eq!(info.to_element().elements().count(), 1);
        let full = PageInfo { ends: Some(("a".into(), "b".into())), index: Some(3), count: None };
        let set = full.to_element();
        assert_eq!(set.child("first", NS).and_then(|e| e.attr("index")), Some("3"));
        assert_eq!(set.child("last", NS).map(Element::text).as_deref(), Some("b"));
    }
}
