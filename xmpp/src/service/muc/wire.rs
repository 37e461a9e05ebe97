//! Stanzas of a room (XEP-0045) as text: written once, addressed many times.

use std::sync::Arc;

use bytes::Bytes;

use crate::jid::Jid;
use crate::xml::{Element, escape, ns};

pub(super) const MUC: &str = "http://jabber.org/protocol/muc";
pub(super) const USER: &str = "http://jabber.org/protocol/muc#user";
pub(super) const ADMIN: &str = "http://jabber.org/protocol/muc#admin";
pub(super) const OWNER: &str = "http://jabber.org/protocol/muc#owner";
pub(super) const OCCUPANT_ID: &str = "urn:xmpp:occupant-id:0";
pub(super) const HATS: &str = "urn:xmpp:hats:0";
pub(super) const SID: &str = "urn:xmpp:sid:0";
pub(super) const DELAY: &str = "urn:xmpp:delay";

/// One session that is inside, with its address as it is printed.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) jid: Jid,
    pub(super) bare: Jid,
    /// A session or device of this server.
    pub(super) local: bool,
    to: Box<str>,
}

impl Target {
    pub(super) fn new(jid: &Jid, local: bool) -> Arc<Self> {
        let mut to = String::with_capacity(jid.as_str().len() + 6);
        attribute(&mut to, "to", jid.as_str());
        Arc::new(Self { jid: jid.clone(), bare: jid.bare(), local, to: to.into() })
    }
}

/// A stanza that goes to several: only `to` differs.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    text: Box<str>,
    /// Where `to` goes.
    at: usize,
}

impl Shared {
    /// From the start tag up to the addressee, and what follows.
    pub(super) fn new(name: &str, from: &str, head: &str, content: &str) -> Self {
        let mut text = String::with_capacity(from.len() + head.len() + content.len() + 48);
        text.push('<');
        text.push_str(name);
        attribute(&mut text, "from", from);
        let at = text.len();
        text.push_str(head);
        if content.is_empty() {
            text.push_str("/>");
        } else {
            text.push('>');
            text.push_str(content);
            text.push_str("</");
            text.push_str(name);
            text.push('>');
        }
        Self { text: text.into(), at }
    }

    /// As it goes to one of them.
    pub(super) fn to(&self, target: &Target) -> Bytes {
        let (before, after) = self.text.split_at(self.at);
        let mut out = Vec::with_capacity(self.text.len() + target.to.len());
        out.extend_from_slice(before.as_bytes());
        out.extend_from_slice(target.to.as_bytes());
        out.extend_from_slice(after.as_bytes());
        out.into()
    }

    /// As it is kept: without an addressee.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// A message that was given before, with its time (XEP-0203).
    pub(super) fn delayed(&self, room: &Jid, stamp: &str) -> Self {
        let end = "</message>";
        let body = self.text.strip_suffix(end).unwrap_or(&self.text);
        let mut text = String::with_capacity(self.text.len() + 120);
        text.push_str(body);
        text.push_str(&delay(room, stamp));
        text.push_str(end);
        Self { text: text.into(), at: self.at }
    }

    /// Bytes of it.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }
}

/// The `<delay/>` of a room.
pub(super) fn delay(room: &Jid, stamp: &str) -> String {
    let mut out = format!("<delay xmlns='{DELAY}'");
    attribute(&mut out, "from", room.as_str());
    attribute(&mut out, "stamp", stamp);
    out + "/>"
}

/// The `<occupant-id/>` (XEP-0421).
pub(super) fn occupant_id(id: &str) -> String {
    format!("<occupant-id xmlns='{OCCUPANT_ID}' id='{id}'/>")
}

/// The `<stanza-id/>` of a room (XEP-0359).
pub(super) fn stanza_id(room: &Jid, id: &str) -> String {
    let mut out = format!("<stanza-id xmlns='{SID}'");
    attribute(&mut out, "by", room.as_str());
    attribute(&mut out, "id", id);
    out + "/>"
}

/// An attribute behind a blank.
pub(super) fn attribute(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("='");
    escape(out, value);
    out.push('\'');
}

/// The `<item/>` of a room's `<x/>` (section 7.2.2).
#[derive(Debug, Clone, Default)]
pub(super) struct Item<'a> {
    pub(super) affiliation: &'a str,
    pub(super) role: &'a str,
    pub(super) jid: Option<&'a str>,
    pub(super) nick: Option<&'a str>,
    /// Nickname of who did it.
    pub(super) actor: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
}

/// The `<x/>` of a room with these status codes.
pub(super) fn user_x(item: Option<&Item<'_>>, codes: &[u16]) -> String {
    let mut out = format!("<x xmlns='{USER}'>");
    if let Some(item) = item {
        out.push_str("<item");
        attribute(&mut out, "affiliation", item.affiliation);
        attribute(&mut out, "role", item.role);
        for (name, value) in [("jid", item.jid), ("nick", item.nick)] {
            if let Some(value) = value {
                attribute(&mut out, name, value);
            }
        }
        if item.actor.is_some() || item.reason.is_some() {
            out.push('>');
            if let Some(actor) = item.actor {
                out.push_str("<actor");
                attribute(&mut out, "nick", actor);
                out.push_str("/>");
            }
            if let Some(reason) = item.reason {
                out.push_str("<reason>");
                escape(&mut out, reason);
                out.push_str("</reason>");
            }
            out.push_str("</item>");
        } else {
            out.push_str("/>");
        }
    }
    for code in codes {
        out.push_str(&format!("<status code='{code}'/>"));
    }
    out.push_str("</x>");
    out
}

/// A message of the room itself to an address, as a tree.
pub(super) fn message(from: &Jid, to: &Jid) -> Element {
    Element::new("message", ns::CLIENT)
        .with_attr("from", from.as_str())
        .with_attr("to", to.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_addressee_differs() {
        let jid = |t| Jid::parse(t).unwrap();
        let shared = Shared::new("message", "r@rooms.d/a'b", " id='1'", "<body>x</body>");
        let (a, b) = (Target::new(&jid("a@d/x"), true), Target::new(&jid("b@d/y<"), true));
        let text = |t| String::from_utf8(shared.to(t).to_vec()).unwrap();
        let expected =
            "<message from='r@rooms.d/a&apos;b' to='a@d/x' id='1'><body>x</body></message>";
        assert_eq!(text(&a), expected);
        assert_eq!(text(&b), expected.replace("a@d/x", "b@d/y&lt;"));
        let kept = shared.delayed(&jid("r@rooms.d"), "2026-01-01T00:00:00Z");
        assert!(kept.text().ends_with(
            "<delay xmlns='urn:xmpp:delay' from='r@rooms.d' stamp='2026-01-01T00:00:00Z'/></message>"
        ));
    }
}
