//! Stanzas (RFC 6120 section 8): the header read once, the bytes kept, children found without being parsed.

pub mod chat_states;
pub mod data_form;
pub mod delay;
mod error;
pub mod hints;
pub mod jingle;
pub mod jmi;
pub mod markers;
mod reader;
pub mod receipts;
pub mod rsm;
pub mod stamp;
pub mod stanza_id;

use std::ops::Range;

use bytes::Bytes;

pub use self::error::{Condition, ErrorType, StanzaError};
use crate::jid::Jid;
use crate::xml::{Element, XmlError, ns};

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
        Self::parse_in(raw, &[])
    }

    /// As [`Stanza::parse`], where these prefixes (prefix, namespace) have been declared on the stream's header. What
    /// of them the stanza uses is declared on the stanza itself, since it goes to other streams.
    ///
    /// # Errors
    ///
    /// As for [`Stanza::parse`].
    pub fn parse_in(raw: Bytes, declared: &[(String, String)]) -> Result<Self, StanzaFault> {
        reader::read(raw, declared)
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
        // Alone it means the same, unless it uses a prefix that the stanza declares.
        let alone = self.raw.get(child.range.clone()).and_then(|raw| Element::parse(raw).ok());
        if let Some(child) = alone.filter(|c| c.ns() == ns) {
            return Some(child);
        }
        self.element().ok()?.child(self.text(&child.name).rsplit(':').next()?, ns).cloned()
    }

    /// Takes away the children of this name and namespace that `is_doomed` condemns.
    ///
    /// # Errors
    ///
    /// [`StanzaFault`], which cannot happen for a stanza that was read.
    pub fn strip(
        &mut self,
        name: &str,
        ns: &str,
        is_doomed: impl Fn(&Element) -> bool,
    ) -> Result<(), StanzaFault> {
        if !self.has(name, ns) {
            return Ok(());
        }
        let whole = self.element()?;
        let of_name = whole.elements().filter(|e| e.is(name, ns));
        let mut doomed = of_name.map(is_doomed);
        let mut kept = Vec::with_capacity(self.raw.len());
        let mut at = 0;
        for child in &self.children {
            let is_named =
                child.ns == ns && self.text(&child.name).rsplit(':').next() == Some(name);
            if is_named && doomed.next() == Some(true) {
                kept.extend_from_slice(self.raw.get(at..child.range.start).unwrap_or_default());
                at = child.range.end;
            }
        }
        if at == 0 {
            return Ok(());
        }
        kept.extend_from_slice(self.raw.get(at..).unwrap_or_default());
        // Prefixes that the stream had declared are on the head, which printing adds; so it is printed and read again.
        let (from, to) = (self.from.clone(), self.to.clone());
        let removed = self.raw.len() - kept.len();
        self.raw = kept.into();
        self.content.end -= removed;
        *self = Self::parse(self.bytes())?;
        (self.from, self.to) = (from, to);
        Ok(())
    }

    /// The attributes of the start tag but the addresses, printed, each behind a blank.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// The content byte for byte, without the children that `dropped` says by name, namespace and text.
    pub fn content_without(&self, dropped: impl Fn(&str, &str, &str) -> bool) -> String {
        let mut out = String::with_capacity(self.content.len());
        let mut at = self.content.start;
        for child in &self.children {
            let name = self.text(&child.name);
            let name = name.rsplit(':').next().unwrap_or(name);
            if dropped(name, &child.ns, self.text(&child.range)) {
                out.push_str(self.text(&(at..child.range.start)));
                at = child.range.end;
            }
        }
        out.push_str(self.text(&(at..self.content.end)));
        out
    }

    /// The first body's text.
    pub fn body(&self) -> Option<String> {
        self.child("body", ns::CLIENT).map(|b| b.text())
    }

    /// Whether this text is anywhere in it, as it was written: a quick no for who looks for what is rare.
    pub fn mentions(&self, text: &str) -> bool {
        self.head.contains(text) || memchr::memmem::find(&self.raw, text.as_bytes()).is_some()
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
        self.print("")
    }

    /// As [`Stanza::bytes`], with one child more at the end.
    pub fn bytes_with(&self, child: &Element) -> Bytes {
        let mut text = String::new();
        child.print(&mut text, ns::CLIENT);
        self.print(&text)
    }

    fn print(&self, more: &str) -> Bytes {
        let name = match self.kind {
            Kind::Message => "message",
            Kind::Presence => "presence",
            Kind::Iq => "iq",
        };
        let content = self.raw.get(self.content.clone()).unwrap_or_default();
        let mut out = Vec::with_capacity(content.len() + self.head.len() + more.len() + 160);
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
        if content.is_empty() && more.is_empty() {
            out.extend_from_slice(b"/>");
        } else {
            out.push(b'>');
            out.extend_from_slice(content);
            out.extend_from_slice(more.as_bytes());
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

/// A printed stanza with one child more, given as text, at its end.
pub fn append_child(stanza: &Bytes, child: &str) -> Bytes {
    let mut out = Vec::with_capacity(stanza.len() + child.len() + 16);
    if let Some(open) = stanza.strip_suffix(b"/>") {
        let name = open.split(|b| b.is_ascii_whitespace()).next().unwrap_or_default();
        out.extend_from_slice(open);
        out.push(b'>');
        out.extend_from_slice(child.as_bytes());
        out.extend_from_slice(b"</");
        out.extend_from_slice(name.strip_prefix(b"<").unwrap_or(name));
        out.push(b'>');
        return out.into();
    }
    let end = memchr::memmem::rfind(stanza, b"</").unwrap_or(stanza.len());
    let (before, after) = stanza.split_at(end);
    out.extend_from_slice(before);
    out.extend_from_slice(child.as_bytes());
    out.extend_from_slice(after);
    out.into()
}

#[cfg(test)]
mod tests;
