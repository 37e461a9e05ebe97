//! Reads the header of a stanza (RFC 6120 sections 4.8 and 8) and proves the rest well-formed, in one pass.

use std::ops::Range;

use bytes::Bytes;

use super::{Child, Kind, Stanza, StanzaFault};
use crate::jid::Jid;
use crate::xml::token::{Attributes, Token, Tokens, declared, unescape};
use crate::xml::{MAX_ATTRIBUTES, MAX_DEPTH, XmlError, ns};

/// Bytes by which a rewritten stanza may be more than twice as long.
const MAX_REWRITTEN: usize = 4 * 1024;

/// Reads a stanza. One with a prefixed root is first rewritten without that prefix: the content namespace is the
/// default one on every stream it goes to (RFC 6120 section 4.8.5).
pub(super) fn read(raw: Bytes, declared: &[(String, String)]) -> Result<Stanza, StanzaFault> {
    let reader = |raw| Reader { declared, ..Reader::default() }.read(raw);
    let root = raw.split(|b| b" \t\r\n/>".contains(b)).next().unwrap_or_default();
    if !root.contains(&b':') {
        return reader(raw);
    }
    let read = reader(raw.clone())?;
    reader(unprefixed(&raw, &read)?)
}

/// The stanza with an unprefixed root. Children that took their namespace from the root's default declare it.
fn unprefixed(raw: &Bytes, read: &Stanza) -> Result<Bytes, XmlError> {
    let mut tokens = Tokens::new(raw)?;
    let Some(Token::Start { name, attributes, empty, .. }) = tokens.next_token()? else {
        return Err(XmlError::NotWellFormed("no root"));
    };
    let local = name.rsplit(':').next().unwrap_or(name);
    let mut out = format!("<{local}");
    let mut default = None;
    for attribute in Attributes::new(attributes) {
        let (name, value) = attribute?;
        if name == "xmlns" {
            default = Some(value.into_owned());
            continue;
        }
        push_attribute(&mut out, name, &value);
    }
    if empty {
        return Ok((out + "/>").into());
    }
    out.push('>');
    let text = |range: Range<usize>| {
        std::str::from_utf8(raw.get(range).unwrap_or_default()).unwrap_or_default()
    };
    let mut at = read.content.start;
    for child in &read.children {
        let declares = Attributes::new(child_attributes(text(child.range.clone())))
            .any(|a| a.is_ok_and(|(name, _)| name == "xmlns"));
        if let Some(default) = &default
            && !declares
            && !text(child.name.clone()).contains(':')
        {
            out.push_str(text(at..child.name.end));
            push_attribute(&mut out, "xmlns", default);
            at = child.name.end;
            // A long namespace times many children would be a way to make us hold much for little.
            if out.len() > 2 * raw.len() + MAX_REWRITTEN {
                return Err(XmlError::TooMuch("too many children in a default namespace"));
            }
        }
    }
    out.push_str(text(at..read.content.end));
    Ok((out + "</" + local + ">").into())
}

/// What stands between the name and the bracket of an element's start tag.
fn child_attributes(element: &str) -> &str {
    match Tokens::new(element.as_bytes()).and_then(|mut t| t.next_token()) {
        Ok(Some(Token::Start { attributes, .. })) => attributes,
        _ => "",
    }
}

fn push_attribute(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("='");
    crate::xml::escape(out, value);
    out.push('\'');
}

/// One pass over the tokens.
#[derive(Default)]
struct Reader<'a> {
    /// Prefixes and namespaces of the stream's header.
    declared: &'a [(String, String)],
    /// Those of them that were needed.
    used: Vec<(String, String)>,
    open: Vec<(Range<usize>, usize)>,
    scopes: Vec<(usize, String, String)>,
    attributes: usize,
}

impl Reader<'_> {
    fn read(mut self, raw: Bytes) -> Result<Stanza, StanzaFault> {
        let mut tokens = Tokens::new(&raw)?;
        let Some(Token::Start { name, attributes, empty, .. }) = tokens.next_token()? else {
            return Err(StanzaFault::NotAStanza);
        };
        let start = tokens.position();
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
        for (prefix, ns) in self.used {
            head.declare(&prefix, &ns);
        }
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
            if let Some(prefix) = declared(name, &value)? {
                self.scopes.push((depth, prefix.into(), value.into_owned()));
            }
        }
        let mut meant: Vec<(String, &str)> = Vec::new();
        for name in seen {
            if let Some((prefix, local)) = name.split_once(':')
                && prefix != "xmlns"
            {
                let known = (self.resolve(name)?, local);
                if meant.contains(&known) {
                    return Err(XmlError::NotWellFormed("attribute twice"));
                }
                meant.push(known);
            }
        }
        Ok(())
    }

    fn close_scope(&mut self, depth: usize) {
        while self.scopes.last().is_some_and(|(d, _, _)| *d >= depth) {
            self.scopes.pop();
        }
    }

    fn resolve(&mut self, qname: &str) -> Result<String, XmlError> {
        let prefix = qname.split_once(':').map_or("", |(prefix, _)| prefix);
        if let Some((_, _, ns)) = self.scopes.iter().rev().find(|(_, p, _)| p == prefix) {
            return Ok(ns.clone());
        }
        if let Some((prefix, ns)) = self.declared.iter().find(|(p, _)| p == prefix) {
            if !self.used.iter().any(|(p, _)| p == prefix) {
                self.used.push((prefix.clone(), ns.clone()));
            }
            return Ok(ns.clone());
        }
        match prefix {
            "" => Ok(ns::CLIENT.into()),
            "xml" => Ok(ns::XML.into()),
            // Every header declares it, but a stanza also goes where none stands before it (RFC 7395 section 3.3.3).
            "stream" => {
                if !self.used.iter().any(|(p, _)| p == "stream") {
                    self.used.push(("stream".into(), ns::STREAM.into()));
                }
                Ok(ns::STREAM.into())
            }
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
                push_attribute(&mut self.rest, name, value);
            }
        }
    }

    fn declare(&mut self, prefix: &str, ns: &str) {
        push_attribute(&mut self.rest, &format!("xmlns:{prefix}"), ns);
    }
}
