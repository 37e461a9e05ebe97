//! Who is mentioned in a message: references (XEP-0372), explicit mentions (XEP-0513), a name in the text.

use crate::jid::Jid;
use crate::stanza::Stanza;
use crate::xml::Element;

const REFERENCES: &str = "urn:xmpp:reference:0";
const MENTIONS: &str = "urn:xmpp:mentions:0";
/// Mentions everybody in the room (XEP-0513 section 3.2).
const CHANNEL: &str = "urn:xmpp:mentions:0#channel";

/// What a user is called in a chat.
#[derive(Debug, Clone, Copy)]
pub(super) struct Called<'a> {
    /// The account.
    pub(super) account: &'a Jid,
    /// In a room: the nickname.
    pub(super) nick: Option<&'a str>,
    /// In a room: the address there.
    pub(super) occupant: Option<&'a Jid>,
    /// In a room: the id there (XEP-0421).
    pub(super) occupant_id: Option<&'a str>,
}

/// Whether a message mentions somebody.
pub(super) fn mentions(stanza: &Stanza, called: Called<'_>) -> bool {
    if !stanza.has_ns(REFERENCES) && !stanza.has_ns(MENTIONS) {
        return names(stanza, called.nick);
    }
    let Ok(message) = stanza.element() else { return false };
    message.elements().any(|e| is_mention(e, called)) || names(stanza, called.nick)
}

fn is_mention(element: &Element, called: Called<'_>) -> bool {
    let is_them = |text: &str| {
        Jid::parse(text).is_ok_and(|jid| {
            jid.bare() == *called.account || called.occupant.is_some_and(|own| *own == jid)
        })
    };
    if element.is("reference", REFERENCES) && element.attr("type") == Some("mention") {
        let address = element.attr("uri").and_then(|uri| uri.strip_prefix("xmpp:"));
        let address = address.and_then(|a| a.split('?').next());
        return address.is_some_and(|address| is_them(&decoded(address)));
    }
    if element.is("mention", MENTIONS) {
        return element.attr("mentions") == Some(CHANNEL)
            || element.attr("jid").is_some_and(is_them)
            || element.attr("occupantid").is_some_and(|id| Some(id) == called.occupant_id);
    }
    false
}

/// Whether the nickname stands in the text as a word of its own.
fn names(stanza: &Stanza, nick: Option<&str>) -> bool {
    let Some(nick) = nick.filter(|nick| !nick.is_empty()).map(str::to_lowercase) else {
        return false;
    };
    let Some(text) = stanza.body().map(|body| body.to_lowercase()) else { return false };
    text.match_indices(&nick).any(|(at, found)| {
        let before = text.get(..at).and_then(|t| t.chars().next_back());
        let after = text.get(at + found.len()..).and_then(|t| t.chars().next());
        [before, after].into_iter().flatten().all(|c| !c.is_alphanumeric())
    })
}

/// An address of a URI (RFC 5122): what is not allowed there is percent-encoded.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let hex = more.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = hex.and_then(|two| u8::from_str_radix(two, 16).ok()).filter(|_| *first == b'%');
        bytes.push(byte.unwrap_or(*first));
        rest = more.get(if byte.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mention_is_by_address_by_id_or_by_name() {
        let account = Jid::parse("ana@d").unwrap();
        let occupant = Jid::parse("tea@rooms.d/Ana B").unwrap();
        let called = Called {
            account: &account,
            nick: Some("Ana B"),
            occupant: Some(&occupant),
            occupant_id: Some("o1"),
        };
        let reference = |kind: &str, uri: &str| {
            format!("<reference xmlns='{REFERENCES}' type='{kind}' uri='{uri}'/>")
        };
        for (content, expected) in [
            (reference("mention", "xmpp:ana@d"), true),
            (reference("mention", "xmpp:tea@rooms.d/Ana%20B"), true),
            (reference("mention", "xmpp:ana@d?message"), true),
            (reference("mention", "xmpp:bob@d"), false),
            (reference("data", "xmpp:ana@d"), false),
            (format!("<mention xmlns='{MENTIONS}' jid='ana@d'/>"), true),
            (format!("<mention xmlns='{MENTIONS}' occupantid='o1'/>"), true),
            (format!("<mention xmlns='{MENTIONS}' occupantid='o2'/>"), false),
            (format!("<mention xmlns='{MENTIONS}' mentions='{CHANNEL}'/>"), true),
            ("<body>ana b: hi</body>".into(), true),
            ("<body>hello Ana B!</body>".into(), true),
            ("<body>banana bread</body>".into(), false),
            ("<body>hi</body>".into(), false),
        ] {
            let message = format!("<message from='tea@rooms.d/x'>{content}</message>");
            let stanza = Stanza::parse(message.into()).unwrap();
            assert_eq!(mentions(&stanza, called), expected, "{content}");
        }
    }
}
