//! Stanzas (RFC 6120 section 8): the header read once, the bytes kept, children found without being parsed.

pub mod chat_states;
pub mod delay;
mod error;
pub mod hints;
pub mod jingle;
pub mod jmi;
pub mod markers;
pub mod receipts;

use std::ops::Range;

use bytes::Bytes;

pub use self::error::{Condition, ErrorType, StanzaError};
use crate::jid::Jid;
use crate::xml::token::{Attributes, Token, Tokens, unescape};
use crate::xml::{Element, MAX_ATTRIBUTES, MAX_DEPTH, XmlError, ns};

/// The three kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `<message/>`
    Message,
    /// `<presence/>`
    Presence,
    /// `<iq/>`
    Iq,
}

/// Why a part of a stream is not a stanza we can route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StanzaFault {
    /// Not XML. The stream ends.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// Some other element. The stream ends with `unsupported-stanza-type`.
    #[error("not a stanza")]
    NotAStanza,
    /// `to` or `from` is no address; the sender gets `jid-malformed`.
    #[error("malformed address")]
    BadAddress,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Child {
    name: Range<usize>,
    ns: String,
    range: Range<usize>,
}

/// One stanza.
#[derive(Debug, Clone)]
pub struct Stanza {
    kind: Kind,
    from: Option<Jid>,
    to: Option<Jid>,
    id: Option<String>,
    type_: Option<String>,
    raw: Bytes,
    /// The start tag's attributes other than `from`, as raw text.
    head: String,
    /// Where the content begins and ends in `raw`.
    content: Range<usize>,
    children: Vec<Child>,
}

impl Stanza {
    /// Reads a framed part of a client stream and proves it well-formed.
    ///
    /// # Errors
    ///
    /// [`StanzaFault`] says whether the stream or only this stanza is at fault.
    pub fn parse(raw: Bytes) -> Result<Self, StanzaFault> {
        Reader::default().read(raw)
    }

    /// A stanza we made.
    ///
    /// # Errors
    ///
    /// [`StanzaFault`] when the element is no stanza.
    pub fn from_element(element: &Element) -> Result<Self, StanzaFault> {
        Self::parse(element.to_bytes())
    }

    /// Which of the three.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The sender.
    pub fn from(&self) -> Option<&Jid> {
        self.from.as_ref()
    }

    /// The addressee.
    pub fn to(&self) -> Option<&Jid> {
        self.to.as_ref()
    }

    /// The id.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The `type` attribute.
    pub fn type_(&self) -> Option<&str> {
        self.type_.as_deref()
    }

    /// Sets the sender; done once, at the door (RFC 6120 section 8.1.2.1).
    pub fn set_from(&mut self, from: Jid) {
        self.from = Some(from);
    }

    /// Sets the addressee where it was implied.
    pub fn set_to(&mut self, to: Jid) {
        self.to = Some(to);
    }

    /// Whether a child with this name and namespace is there.
    pub fn has(&self, name: &str, ns: &str) -> bool {
        self.find(name, ns).is_some()
    }

    /// Whether any child is in this namespace.
    pub fn has_ns(&self, ns: &str) -> bool {
        self.children.iter().any(|c| c.ns == ns)
    }

    /// Names and namespaces of the children.
    pub fn children(&self) -> impl Iterator<Item = (&str, &str)> {
        self.children.iter().map(|c| (self.text(&c.name), c.ns.as_str()))
    }

    /// Parses one child.
    pub fn child(&self, name: &str, ns: &str) -> Option<Element> {
        let child = self.find(name, ns)?;
        self.element().ok()?.child(self.text(&child.name).rsplit(':').next()?, ns).cloned()
    }

    /// The first body's text.
    pub fn body(&self) -> Option<String> {
        self.child("body", ns::CLIENT).map(|b| b.text())
    }

    /// The whole stanza as a tree, with the addresses it has now.
    ///
    /// # Errors
    ///
    /// [`XmlError`], which cannot happen for a stanza that was read.
    pub fn element(&self) -> Result<Element, XmlError> {
        Element::parse(&self.bytes())
    }

    /// As it goes out to a client: `from` and `to` as set, everything else byte for byte.
    pub fn bytes(&self) -> Bytes {
        let name = match self.kind {
            Kind::Message => "message",
            Kind::Presence => "presence",
            Kind::Iq => "iq",
        };
        let content = self.raw.get(self.content.clone()).unwrap_or_default();
        let mut out = Vec::with_capacity(content.len() + self.head.len() + 160);
        out.push(b'<');
        out.extend_from_slice(name.as_bytes());
        for (attribute, jid) in [("from", &self.from), ("to", &self.to)] {
            if let Some(jid) = jid {
                out.push(b' ');
                out.extend_from_slice(attribute.as_bytes());
                out.extend_from_slice(b"='");
                let mut escaped = String::new();
                crate::xml::escape(&mut escaped, jid.as_str());
                out.extend_from_slice(escaped.as_bytes());
                out.push(b'\'');
            }
        }
        out.extend_from_slice(self.head.as_bytes());
        if content.is_empty() {
            out.extend_from_slice(b"/>");
        } else {
            out.push(b'>');
            out.extend_from_slice(content);
            out.extend_from_slice(b"</");
            out.extend_from_slice(name.as_bytes());
            out.push(b'>');
        }
        out.into()
    }

    /// The error reply to this stanza: addresses swapped, id kept. `None` for errors and results, which earn none.
    pub fn error_reply(&self, error: &StanzaError) -> Option<Element> {
        if matches!(self.type_(), Some("error" | "result")) {
            return None;
        }
        let name = match self.kind {
            Kind::Message => "message",
            Kind::Presence => "presence",
            Kind::Iq => "iq",
        };
        let reply = Element::new(name, ns::CLIENT)
            .with_attr("type", "error")
            .with_attr_opt("id", self.id())
            .with_attr_opt("from", self.to().map(Jid::as_str))
            .with_attr_opt("to", self.from().map(Jid::as_str))
            .with_child(error.to_element());
        Some(reply)
    }

    fn find(&self, name: &str, ns: &str) -> Option<&Child> {
        self.children
            .iter()
            .find(|c| c.ns == ns && self.text(&c.name).rsplit(':').next() == Some(name))
    }

    fn text(&self, range: &Range<usize>) -> &str {
        std::str::from_utf8(self.raw.get(range.clone()).unwrap_or_default()).unwrap_or_default()
    }
}

/// One pass over the tokens.
#[derive(Default)]
struct Reader {
    open: Vec<(Range<usize>, usize)>,
    scopes: Vec<(usize, String, String)>,
    attributes: usize,
}

impl Reader {
    fn read(mut self, raw: Bytes) -> Result<Stanza, StanzaFault> {
        let mut tokens = Tokens::new(&raw)?;
        let Some(Token::Start { name, attributes, empty, .. }) = tokens.next_token()? else {
            return Err(StanzaFault::NotAStanza);
        };
        let start = tokens.position();
        let root = name.to_owned();
        let mut head = Head::default();
        self.open_scope(attributes, Some(&mut head))?;
        let root_ns = self.resolve(name)?;
        let kind = match (name.rsplit(':').next().unwrap_or(name), root_ns.as_str()) {
            ("message", ns::CLIENT) => Kind::Message,
            ("presence", ns::CLIENT) => Kind::Presence,
            ("iq", ns::CLIENT) => Kind::Iq,
            _ => return Err(StanzaFault::NotAStanza),
        };
        self.open.push((1..1 + name.len(), 0));
        let mut children = Vec::new();
        let end = if empty {
            start..start
        } else {
            start..self.content(&raw, &mut tokens, &mut children)?
        };
        let address = |text: Option<String>| match text {
            Some(text) => Jid::parse(&text).map(Some).map_err(|_| StanzaFault::BadAddress),
            None => Ok(None),
        };
        // A prefixed root is rare; its declarations stay in the head, so the content keeps its meaning.
        let _ = root;
        Ok(Stanza {
            kind,
            from: address(head.from)?,
            to: address(head.to)?,
            id: head.id,
            type_: head.type_,
            head: head.rest,
            content: end,
            children,
            raw: raw.clone(),
        })
    }

    /// Reads to the end of the root and gives the offset of its end tag.
    fn content(
        &mut self,
        raw: &Bytes,
        tokens: &mut Tokens<'_>,
        children: &mut Vec<Child>,
    ) -> Result<usize, StanzaFault> {
        let mismatch = XmlError::NotWellFormed("tags do not match");
        loop {
            let before = tokens.position();
            let token = tokens.next_token()?.ok_or(XmlError::NotWellFormed("open element"))?;
            match token {
                Token::Start { name, attributes, empty, at } => {
                    if self.open.len() >= MAX_DEPTH {
                        return Err(XmlError::TooMuch("elements nested too deeply").into());
                    }
                    self.open_scope(attributes, None)?;
                    let ns = self.resolve(name)?;
                    if self.open.len() == 1 {
                        let name = at + 1..at + 1 + name.len();
                        children.push(Child { name, ns, range: at..tokens.position() });
                    }
                    if empty {
                        self.close_scope(self.open.len() + 1);
                    } else {
                        self.open.push((at + 1..at + 1 + name.len(), at));
                    }
                }
                Token::End { name, after } => {
                    let (opened, _) = self.open.pop().ok_or_else(|| mismatch.clone())?;
                    if raw.get(opened).unwrap_or_default() != name.as_bytes() {
                        return Err(mismatch.into());
                    }
                    self.close_scope(self.open.len() + 1);
                    if self.open.len() == 1
                        && let Some(child) = children.last_mut()
                    {
                        child.range.end = after;
                    }
                    if self.open.is_empty() {
                        if tokens.next_token()?.is_some() {
                            return Err(XmlError::NotWellFormed("after the stanza").into());
                        }
                        return Ok(before);
                    }
                }
                Token::Text(text) => {
                    unescape(text)?;
                }
                Token::Cdata(_) => {}
            }
        }
    }

    fn open_scope(
        &mut self,
        attributes: &str,
        mut head: Option<&mut Head>,
    ) -> Result<(), XmlError> {
        let depth = self.open.len() + 1;
        let mut seen: Vec<&str> = Vec::new();
        for attribute in Attributes::new(attributes) {
            let (name, value) = attribute?;
            self.attributes += 1;
            if self.attributes > MAX_ATTRIBUTES {
                return Err(XmlError::TooMuch("too many attributes"));
            }
            if seen.contains(&name) {
                return Err(XmlError::NotWellFormed("attribute twice"));
            }
            seen.push(name);
            if let Some(head) = &mut head {
                head.take(name, &value);
            }
            if name == "xmlns" {
                self.scopes.push((depth, String::new(), value.into_owned()));
            } else if let Some(prefix) = name.strip_prefix("xmlns:") {
                self.scopes.push((depth, prefix.into(), value.into_owned()));
            }
        }
        for name in seen {
            match name.split_once(':') {
                Some(("xmlns" | "xml", _)) | None => {}
                Some(_) => {
                    self.resolve(name)?;
                }
            }
        }
        Ok(())
    }

    fn close_scope(&mut self, depth: usize) {
        while self.scopes.last().is_some_and(|(d, _, _)| *d >= depth) {
            self.scopes.pop();
        }
    }

    fn resolve(&self, qname: &str) -> Result<String, XmlError> {
        let prefix = qname.split_once(':').map_or("", |(prefix, _)| prefix);
        if let Some((_, _, ns)) = self.scopes.iter().rev().find(|(_, p, _)| p == prefix) {
            return Ok(ns.clone());
        }
        match prefix {
            "" => Ok(ns::CLIENT.into()),
            "xml" => Ok(ns::XML.into()),
            "stream" => Ok(ns::STREAM.into()),
            _ => Err(XmlError::UnknownPrefix),
        }
    }
}

/// What the start tag says.
#[derive(Default)]
struct Head {
    from: Option<String>,
    to: Option<String>,
    id: Option<String>,
    type_: Option<String>,
    rest: String,
}

impl Head {
    fn take(&mut self, name: &str, value: &str) {
        match name {
            "from" => self.from = Some(value.to_owned()),
            "to" => self.to = Some(value.to_owned()),
            "xmlns" => {}
            _ => {
                match name {
                    "id" => self.id = Some(value.to_owned()),
                    "type" => self.type_ = Some(value.to_owned()),
                    _ => {}
                }
                self.rest.push(' ');
                self.rest.push_str(name);
                self.rest.push_str("='");
                crate::xml::escape(&mut self.rest, value);
                self.rest.push('\'');
            }
        }
    }
}
