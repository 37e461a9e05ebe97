//! A small element tree for payloads that a handler reads or writes (XML Namespaces 1.0).

use bytes::Bytes;

use super::token::{Attributes, Token, Tokens, declared, is_character, unescape};
use super::{MAX_ATTRIBUTES, MAX_DEPTH, XmlError, ns};

/// An element with its resolved namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    name: String,
    ns: String,
    attrs: Vec<(String, String)>,
    children: Vec<Node>,
}

/// A child of an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// An element.
    Element(Element),
    /// Character data, unescaped.
    Text(String),
}

impl Element {
    /// An empty element.
    pub fn new(name: &str, ns: &str) -> Self {
        Self { name: name.into(), ns: ns.into(), attrs: Vec::new(), children: Vec::new() }
    }

    /// With one attribute more.
    #[must_use]
    pub fn with_attr(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set_attr(name, value);
        self
    }

    /// With an attribute if there is a value for it.
    #[must_use]
    pub fn with_attr_opt(self, name: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.with_attr(name, value),
            None => self,
        }
    }

    /// With one child more.
    #[must_use]
    pub fn with_child(mut self, child: Element) -> Self {
        self.push(child);
        self
    }

    /// With these children more.
    #[must_use]
    pub fn with_children(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        self.children.extend(children.into_iter().map(Node::Element));
        self
    }

    /// With text appended. Characters that XML cannot carry are left out.
    #[must_use]
    pub fn with_text(mut self, text: impl AsRef<str>) -> Self {
        let text: String = text.as_ref().chars().filter(|c| is_character(*c)).collect();
        if !text.is_empty() {
            self.children.push(Node::Text(text));
        }
        self
    }

    /// Local name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Namespace.
    pub fn ns(&self) -> &str {
        &self.ns
    }

    /// Whether it has this name and namespace.
    pub fn is(&self, name: &str, ns: &str) -> bool {
        self.name == name && self.ns == ns
    }

    /// An attribute's value.
    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attrs.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// All attributes but namespace declarations.
    pub fn attrs(&self) -> impl Iterator<Item = (&str, &str)> {
        let attrs = self.attrs.iter().filter(|(n, _)| !n.starts_with("xmlns:"));
        attrs.map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Sets or replaces an attribute.
    pub fn set_attr(&mut self, name: &str, value: impl Into<String>) {
        let value: String = value.into().chars().filter(|c| is_character(*c)).collect();
        match self.attrs.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => *old = value,
            None => self.attrs.push((name.into(), value)),
        }
    }

    /// Takes an attribute away.
    pub fn remove_attr(&mut self, name: &str) {
        self.attrs.retain(|(n, _)| n != name);
    }

    /// Appends a child.
    pub fn push(&mut self, child: Element) {
        self.children.push(Node::Element(child));
    }

    /// Keeps the child elements that `keep` likes; text stays.
    pub fn retain_elements(&mut self, mut keep: impl FnMut(&Element) -> bool) {
        self.children.retain(|n| match n {
            Node::Element(e) => keep(e),
            Node::Text(_) => true,
        });
    }

    /// The first child with this name and namespace.
    pub fn child(&self, name: &str, ns: &str) -> Option<&Element> {
        self.elements().find(|e| e.is(name, ns))
    }

    /// All child elements.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|n| match n {
            Node::Element(e) => Some(e),
            Node::Text(_) => None,
        })
    }

    /// All children.
    pub fn nodes(&self) -> &[Node] {
        &self.children
    }

    /// The text directly inside.
    pub fn text(&self) -> String {
        self.children
            .iter()
            .filter_map(|n| match n {
                Node::Text(t) => Some(t.as_str()),
                Node::Element(_) => None,
            })
            .collect()
    }

    /// As a top-level part of a client stream: `jabber:client` is not declared, everything else is.
    pub fn to_bytes(&self) -> Bytes {
        self.to_bytes_in(ns::CLIENT)
    }

    /// Printed where `parent_ns` is the default namespace.
    pub fn to_bytes_in(&self, parent_ns: &str) -> Bytes {
        let mut out = String::with_capacity(256);
        self.print(&mut out, parent_ns);
        out.into()
    }

    /// Appends the element, printed where `parent_ns` is the default namespace. An element of the stream itself has the
    /// prefix that its header declares; inside others, which go where no header is, nothing has.
    pub fn print(&self, out: &mut String, parent_ns: &str) {
        let prefix = if self.ns == ns::STREAM { "stream:" } else { "" };
        self.print_with(prefix, out, parent_ns);
    }

    fn print_with(&self, prefix: &str, out: &mut String, parent_ns: &str) {
        out.push('<');
        out.push_str(prefix);
        out.push_str(&self.name);
        let mut inner_ns = parent_ns;
        if prefix.is_empty() && self.ns != parent_ns {
            out.push_str(" xmlns='");
            escape(out, &self.ns);
            out.push('\'');
            inner_ns = &self.ns;
        }
        for (name, value) in &self.attrs {
            out.push(' ');
            out.push_str(name);
            out.push_str("='");
            escape(out, value);
            out.push('\'');
        }
        if self.children.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        for child in &self.children {
            match child {
                Node::Element(e) => e.print_with("", out, inner_ns),
                Node::Text(t) => escape(out, t),
            }
        }
        out.push_str("</");
        out.push_str(prefix);
        out.push_str(&self.name);
        out.push('>');
    }

    /// Reads one element; a missing default namespace is `jabber:client`.
    ///
    /// # Errors
    ///
    /// [`XmlError`], with the limits of a stream.
    pub fn parse(input: &[u8]) -> Result<Self, XmlError> {
        Builder::default().build(input)
    }

    /// As [`Element::parse`], where these prefixes (prefix, namespace) are declared outside.
    ///
    /// # Errors
    ///
    /// As for [`Element::parse`].
    pub fn parse_in(input: &[u8], declared: &[(String, String)]) -> Result<Self, XmlError> {
        let scopes = declared.iter().map(|(prefix, ns)| (0, prefix.clone(), ns.clone()));
        Builder { scopes: scopes.collect(), ..Builder::default() }.build(input)
    }
}

/// Escapes text for content and for attributes in either quote.
pub fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&apos;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
}

/// Builds a tree without recursion: depth is data.
#[derive(Default)]
struct Builder {
    /// Open elements with their qualified names.
    open: Vec<(String, Element)>,
    /// Declarations in force: depth, prefix, namespace.
    scopes: Vec<(usize, String, String)>,
    attributes: usize,
    root: Option<Element>,
}

impl Builder {
    fn build(mut self, input: &[u8]) -> Result<Element, XmlError> {
        let mut tokens = Tokens::new(input)?;
        while let Some(token) = tokens.next_token()? {
            match token {
                Token::Start { name, attributes, empty, .. } => {
                    self.start(name, attributes)?;
                    if empty {
                        self.end(name)?;
                    }
                }
                Token::End { name, .. } => self.end(name)?,
                Token::Text(text) => self.text(&unescape(text)?)?,
                Token::Cdata(text) => self.text(text)?,
            }
        }
        match (self.root, self.open.is_empty()) {
            (Some(root), true) => Ok(root),
            _ => Err(XmlError::NotWellFormed("open element")),
        }
    }

    fn start(&mut self, qname: &str, attributes: &str) -> Result<(), XmlError> {
        if self.root.is_some() {
            return Err(XmlError::NotWellFormed("two roots"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(XmlError::TooMuch("elements nested too deeply"));
        }
        let depth = self.open.len() + 1;
        let mut attrs: Vec<(String, String)> = Vec::new();
        for attribute in Attributes::new(attributes) {
            let (name, value) = attribute?;
            self.attributes += 1;
            if self.attributes > MAX_ATTRIBUTES {
                return Err(XmlError::TooMuch("too many attributes"));
            }
            if let Some(prefix) = declared(name, &value)? {
                if self.scopes.iter().any(|(d, p, _)| *d == depth && p == prefix) {
                    return Err(XmlError::NotWellFormed("attribute twice"));
                }
                self.scopes.push((depth, prefix.into(), value.into_owned()));
            } else if attrs.iter().any(|(n, _)| n == name) {
                return Err(XmlError::NotWellFormed("attribute twice"));
            } else {
                attrs.push((name.into(), value.into_owned()));
            }
        }
        // The prefixes of attributes are part of what they mean: the element declares them wherever it is printed.
        let mut declarations: Vec<(String, String)> = Vec::new();
        let mut meant: Vec<(&str, &str)> = Vec::new();
        for (name, _) in &attrs {
            let Some((prefix, local)) = name.split_once(':') else { continue };
            let ns = self.resolve(prefix)?;
            if meant.contains(&(ns, local)) {
                return Err(XmlError::NotWellFormed("attribute twice"));
            }
            meant.push((ns, local));
            let declaration = format!("xmlns:{prefix}");
            if prefix != "xml" && declarations.iter().all(|(known, _)| *known != declaration) {
                declarations.push((declaration, ns.to_owned()));
            }
        }
        attrs.append(&mut declarations);
        let (prefix, name) = qname.split_once(':').unwrap_or(("", qname));
        let ns = self.resolve(prefix)?.to_owned();
        let element = Element { name: name.into(), ns, attrs, children: Vec::new() };
        self.open.push((qname.into(), element));
        Ok(())
    }

    fn end(&mut self, qname: &str) -> Result<(), XmlError> {
        let (opened, element) = self.open.pop().ok_or(XmlError::NotWellFormed("stray end"))?;
        if opened != qname {
            return Err(XmlError::NotWellFormed("tags do not match"));
        }
        let depth = self.open.len();
        while self.scopes.last().is_some_and(|(d, _, _)| *d > depth) {
            self.scopes.pop();
        }
        match self.open.last_mut() {
            Some((_, parent)) => parent.push(element),
            None => self.root = Some(element),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), XmlError> {
        match self.open.last_mut() {
            Some((_, parent)) => match parent.children.last_mut() {
                Some(Node::Text(last)) => last.push_str(text),
                _ => parent.children.push(Node::Text(text.into())),
            },
            None if text.trim().is_empty() => {}
            None => return Err(XmlError::NotWellFormed("text outside")),
        }
        Ok(())
    }

    fn resolve(&self, prefix: &str) -> Result<&str, XmlError> {
        if let Some((_, _, ns)) = self.scopes.iter().rev().find(|(_, p, _)| p == prefix) {
            return Ok(ns);
        }
        match prefix {
            "" => Ok(ns::CLIENT),
            "xml" => Ok(ns::XML),
            "stream" => Ok(ns::STREAM),
            _ => Err(XmlError::UnknownPrefix),
        }
    }
}
