//! Client state (XEP-0352): while nobody looks at a client, what only a looking person needs waits, and what is
//! overtaken by something newer is never sent.
//!
//! The order of what is sent is kept: before anything important leaves, all that waits does.

use std::collections::VecDeque;

use crate::stanza::{Kind, Stanza, chat_states};
use crate::xml::{Element, ns};

/// The namespace.
pub const NS: &str = "urn:xmpp:csi:0";

const RTT: &str = "urn:xmpp:rtt:0";
const CARBONS: &str = "urn:xmpp:carbons:2";
const FORWARD: &str = "urn:xmpp:forward:0";
/// Stanzas that may wait; one more and all are sent.
const MAX_HELD: usize = 500;
/// Bytes that may wait.
const MAX_HELD_BYTES: usize = 256 * 1024;

/// How much a stanza matters to a client that nobody looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weight {
    /// It is sent: text, calls, requests and their answers, and whatever is unknown.
    Important,
    /// It waits; a newer one with the same key takes its place.
    Waits(String),
    /// It is worth nothing later.
    Drops,
}

/// Weighs a stanza that is to be sent to a client.
pub fn weigh(stanza: &Stanza) -> Weight {
    let from = stanza.from().map(|jid| jid.as_str()).unwrap_or_default();
    match stanza.kind() {
        Kind::Iq => Weight::Important,
        Kind::Presence if matches!(stanza.type_(), None | Some("unavailable")) => {
            // A room's presence may tell who it is about and what was done to whom (XEP-0045): it is not merged.
            let kind = if stanza.has_ns("http://jabber.org/protocol/muc#user") { "o" } else { "p" };
            Weight::Waits(format!("{kind}{from}"))
        }
        Kind::Presence => Weight::Important,
        Kind::Message if stanza.has_ns(CARBONS) => {
            let inner = stanza.element().ok().and_then(|copy| weigh_copied(&copy));
            inner.unwrap_or(Weight::Important)
        }
        Kind::Message => {
            let children: Vec<_> = stanza.children().collect();
            weigh_message(&children, from)
        }
    }
}

/// A carbon weighs what the message in it weighs.
fn weigh_copied(copy: &Element) -> Option<Weight> {
    let wrapper = copy.elements().find(|e| e.ns() == CARBONS)?;
    let message = wrapper.child("forwarded", FORWARD)?.child("message", ns::CLIENT)?;
    let children: Vec<_> = message.elements().map(|e| (e.name(), e.ns())).collect();
    let key = format!("{}>{}", message.attr("from")?, message.attr("to")?);
    Some(weigh_message(&children, &key))
}

fn weigh_message(children: &[(&str, &str)], from: &str) -> Weight {
    let has_ns = |wanted: &str| children.iter().any(|(_, ns)| *ns == wanted);
    let has = |wanted: &str| children.iter().any(|(name, ns)| *name == wanted && *ns == ns::CLIENT);
    if has("body") {
        return Weight::Important;
    }
    // The text of a call carries the call in its thread: it is live, whoever looks.
    if has_ns(RTT) {
        return if has("thread") { Weight::Important } else { Weight::Drops };
    }
    let is_about_it = |ns: &str| ns == chat_states::NS || ns == "urn:xmpp:hints";
    let is_state = has_ns(chat_states::NS)
        && children.iter().all(|(name, ns)| is_about_it(ns) || *name == "thread");
    if is_state { Weight::Waits(format!("s{from}")) } else { Weight::Important }
}

/// What waits for an inactive client, in order. It is dropped as a whole once the client is active.
#[derive(Debug)]
pub struct Waiting<T> {
    held: VecDeque<(String, T)>,
    bytes: usize,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { held: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Waiting<T> {
    /// Keeps a stanza of so many bytes and gives the one it overtakes. Whether a room's presence (key `o`) or
    /// another's, the last one counts; only the former keeps its predecessors.
    pub fn hold(&mut self, key: String, stanza: T, bytes: impl Fn(&T) -> usize) -> Option<T> {
        let at = self.held.iter().position(|(k, _)| *k == key && !k.starts_with('o'));
        let old = at.and_then(|at| self.held.remove(at)).map(|(_, old)| old);
        self.bytes += bytes(&stanza);
        self.bytes -= old.as_ref().map_or(0, &bytes);
        self.held.push_back((key, stanza));
        old
    }

    /// Whether so much waits that it must be sent.
    pub fn is_full(&self) -> bool {
        self.held.len() > MAX_HELD || self.bytes > MAX_HELD_BYTES
    }

    /// Takes all out, in order.
    pub fn take(&mut self) -> impl Iterator<Item = T> + use<T> {
        self.bytes = 0;
        std::mem::take(&mut self.held).into_iter().map(|(_, stanza)| stanza)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(text: &str) -> Weight {
        weigh(&Stanza::parse(text.to_owned().into()).unwrap())
    }

    #[test]
    fn text_calls_and_requests_are_important_and_the_rest_is_not() {
        let chat =
            |inner: &str| format!("<message from='a@d/r' to='b@d' type='chat'>{inner}</message>");
        let state = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
        let rtt = "<rtt xmlns='urn:xmpp:rtt:0' seq='1'><t>x</t></rtt>";
        let copy = |inner: &str| {
            format!(
                "<message from='b@d' to='b@d/x'><sent xmlns='{CARBONS}'><forwarded xmlns='{FORWARD}'>\
                 <message xmlns='jabber:client' from='b@d/y' to='a@d'>{inner}</message></forwarded></sent></message>"
            )
        };
        let table = [
            (chat("<body>x</body>"), true),
            (chat(&format!("<body>x</body>{state}")), true),
            (chat(&format!("<body>x</body>{rtt}")), true),
            (chat("<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>"), true),
            (chat("<received xmlns='urn:xmpp:receipts' id='1'/>"), true),
            (chat("<unknown xmlns='x'/>"), true),
            (chat(&format!("<thread>sid</thread>{rtt}")), true),
            (chat(rtt), false),
            (chat(state), false),
            (chat(&format!("{state}<thread>t</thread><no-store xmlns='urn:xmpp:hints'/>")), false),
            (copy("<body>x</body>"), true),
            (copy(state), false),
            (copy(rtt), false),
            (
                "<iq from='a@d/r' type='set' id='1'><jingle xmlns='urn:xmpp:jingle:1'/></iq>"
                    .into(),
                true,
            ),
            ("<presence from='a@d/r'/>".into(), false),
            ("<presence from='a@d/r' type='unavailable'/>".into(), false),
            ("<presence from='a@d' type='subscribe'/>".into(), true),
        ];
        for (text, important) in table {
            assert_eq!(weight(&text) == Weight::Important, important, "{text}");
        }
    }

    #[test]
    fn the_last_of_each_sender_waits_in_order() {
        let mut waiting = Waiting::default();
        let size = |_: &u8| 10;
        assert_eq!(waiting.hold("pa".into(), 1, size), None);
        assert_eq!(waiting.hold("pb".into(), 2, size), None);
        assert_eq!(waiting.hold("pa".into(), 3, size), Some(1));
        // What happens in a room is not overtaken.
        assert_eq!(waiting.hold("or".into(), 4, size), None);
        assert_eq!(waiting.hold("or".into(), 5, size), None);
        assert_eq!(waiting.take().collect::<Vec<_>>(), [2, 3, 4, 5]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut waiting = Waiting::default();
        for n in 0..MAX_HELD {
            waiting.hold(format!("p{n}"), n, |_| 1);
        }
        assert!(!waiting.is_full());
        waiting.hold("p".into(), 0, |_| 1);
        assert!(waiting.is_full());
        let mut waiting = Waiting::default();
        waiting.hold("p".into(), 0, |_| MAX_HELD_BYTES + 1);
        assert!(waiting.is_full());
    }
}
