//! Moves stanzas between content namespaces (RFC 6120 section 4.8.3): `jabber:client` inside this server,
//! `jabber:server` between servers, `jabber:component:accept` towards components.
//!
//! A stanza's root and the children that take its namespace carry none of their own on the wire, so nearly every stanza
//! passes as it is. Only where the content namespace is written out is it exchanged, and only there: a forwarded
//! message inside another stays what it is.

use bytes::Bytes;

use super::escape;
use super::token::{Attributes, Token, Tokens};

/// The stanza with content namespace `to` where it had `from`. What is no XML comes back as it is; whoever reads it
/// finds out.
pub fn rescope(stanza: &Bytes, from: &str, to: &str) -> Bytes {
    if memchr::memmem::find(stanza, from.as_bytes()).is_none() {
        return stanza.clone();
    }
    rewritten(stanza, from, to).map_or_else(|| stanza.clone(), Bytes::from)
}

fn rewritten(stanza: &[u8], from: &str, to: &str) -> Option<String> {
    let text = std::str::from_utf8(stanza).ok()?;
    let mut tokens = Tokens::new(stanza).ok()?;
    let mut out = String::with_capacity(text.len() + 64);
    let mut copied = 0;
    // Open elements, and how many of them from the root on are in the content namespace.
    let (mut depth, mut scoped) = (0_usize, 0_usize);
    while let Some(token) = tokens.next_token().ok()? {
        match token {
            Token::Start { name, attributes, empty, at } => {
                let is_scoped =
                    scoped == depth && (depth == 0 || takes_default(name, attributes, from));
                if is_scoped && declares(attributes, from) {
                    out.push_str(text.get(copied..at)?);
                    print_tag(&mut out, name, attributes, (from, to))?;
                    out.push_str(if empty { "/>" } else { ">" });
                    copied = tokens.position();
                }
                if !empty {
                    scoped += usize::from(is_scoped);
                    depth += 1;
                }
            }
            Token::End { .. } => {
                depth = depth.checked_sub(1)?;
                scoped = scoped.min(depth);
            }
            Token::Text(_) | Token::Cdata(_) => {}
        }
    }
    out.push_str(text.get(copied..)?);
    Some(out)
}

/// Whether a child of a scoped element is in the content namespace itself: by its parent's default or by its own.
fn takes_default(name: &str, attributes: &str, from: &str) -> bool {
    let own = Attributes::new(attributes).find_map(|a| a.ok().filter(|(name, _)| *name == "xmlns"));
    !name.contains(':') && own.is_none_or(|(_, ns)| ns == from)
}

fn is_declaration(name: &str) -> bool {
    name == "xmlns" || name.starts_with("xmlns:")
}

fn declares(attributes: &str, from: &str) -> bool {
    Attributes::new(attributes)
        .any(|a| a.is_ok_and(|(name, ns)| is_declaration(name) && ns == from))
}

fn print_tag(out: &mut String, name: &str, attributes: &str, change: (&str, &str)) -> Option<()> {
    out.push('<');
    out.push_str(name);
    for attribute in Attributes::new(attributes) {
        let (name, value) = attribute.ok()?;
        let changed = is_declaration(name) && value == change.0;
        out.push(' ');
        out.push_str(name);
        out.push_str("='");
        escape(out, if changed { change.1 } else { &value });
        out.push('\'');
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_content_namespace_is_exchanged() {
        let table = [
            // Nothing is declared: nothing changes, byte for byte.
            ("<message to=\"a@b\"><body>jabber</body></message>", None),
            ("<message xmlns='a'><body/></message>", Some("<message xmlns='b'><body/></message>")),
            (
                "<message><body xmlns='a' xml:lang=\"en\">x</body></message>",
                Some("<message><body xmlns='b' xml:lang='en'>x</body></message>"),
            ),
            // Inside another namespace it is meant.
            ("<message><f xmlns='f'><message xmlns='a'><body/></message></f></message>", None),
            (
                "<message><f xmlns='f'/><error xmlns='a'/></message>",
                Some("<message><f xmlns='f'/><error xmlns='b'/></message>"),
            ),
            (
                "<x:iq xmlns:x='a'><q xmlns='q'/></x:iq>",
                Some("<x:iq xmlns:x='b'><q xmlns='q'/></x:iq>"),
            ),
            ("<message><body>xmlns='a'</body></message>", None),
            ("<message xmlns='a'", None),
        ];
        for (given, expected) in table {
            let given = Bytes::from(given);
            let became = rescope(&given, "a", "b");
            assert_eq!(became, expected.map_or(given, Bytes::from));
        }
    }
}
