//! What is archived, and what waits for who is away (XEP-0313 section 6.1.1, XEP-0334, XEP-0160).

use crate::stanza::Stanza;
use crate::xml::ns;

const HINTS: &str = "urn:xmpp:hints";
const CARBONS: &str = "urn:xmpp:carbons:2";
const MUC_USER: &str = "http://jabber.org/protocol/muc#user";

/// Payloads that are worth keeping though no text is with them.
const CONTENT: [&str; 8] = [
    // Call messages: a phone that wakes up late learns of a missed call (XEP-0353).
    "urn:xmpp:jingle-message:0",
    // Retractions must be kept, reactions change what is shown (XEP-0424, XEP-0444).
    "urn:xmpp:message-retract:1",
    "urn:xmpp:reactions:0",
    // What is encrypted is text to those who can read it (XEP-0380, XEP-0384).
    "urn:xmpp:eme:0",
    "eu.siacs.conversations.axolotl",
    "urn:xmpp:omemo:2",
    // Invitations to rooms and files (XEP-0249, XEP-0066).
    "jabber:x:conference",
    "jabber:x:oob",
];
/// Notes about other messages: they wait for who is away, and are archived only where their sender asks for it.
const NOTES: [&str; 2] = ["urn:xmpp:receipts", "urn:xmpp:chat-markers:0"];

/// What becomes of a message beside its delivery.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::service) struct Importance {
    /// It belongs in archives.
    pub(in crate::service) archive: bool,
    /// It waits for an addressee who is away.
    pub(in crate::service) wait: bool,
}

/// Of a message of type chat or normal; no other is kept.
pub(in crate::service) fn importance(stanza: &Stanza) -> Importance {
    let hint = |name| stanza.has(name, HINTS);
    let mut content = false;
    let mut note = false;
    for (name, namespace) in stanza.children() {
        // A copy made by a server was kept where it was made; a client has no business sending one.
        if namespace == CARBONS && name != "private" {
            return Importance::default();
        }
        content |= (namespace == ns::CLIENT && name == "body") || CONTENT.contains(&namespace);
        // A mere offer to be told (request, markable) is not a note.
        note |= NOTES.contains(&namespace) && !matches!(name, "request" | "markable");
        content |= namespace == HINTS && name == "store";
        content |= namespace == MUC_USER
            && stanza.child("x", MUC_USER).is_some_and(|x| {
                x.child("invite", MUC_USER).is_some() || x.child("decline", MUC_USER).is_some()
            });
    }
    if hint("no-store") {
        return Importance::default();
    }
    Importance { archive: content && !hint("no-permanent-store"), wait: content || note }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept() {
        let (both, neither) = (Importance { archive: true, wait: true }, Importance::default());
        let waits = Importance { archive: false, wait: true };
        let hint = |name: &str| format!("<{name} xmlns='urn:xmpp:hints'/>");
        let body = "<body>x</body>".to_owned();
        let table = [
            (body.clone(), both),
            (String::new(), neither),
            (hint("store"), both),
            (body.clone() + &hint("no-store"), neither),
            (body.clone() + &hint("no-permanent-store"), waits),
            (hint("store") + &hint("no-store"), neither),
            ("<composing xmlns='http://jabber.org/protocol/chatstates'/>".into(), neither),
            (body.clone() + "<active xmlns='http://jabber.org/protocol/chatstates'/>", both),
            ("<rtt xmlns='urn:xmpp:rtt:0'/>".into(), neither),
            ("<received xmlns='urn:xmpp:receipts' id='1'/>".into(), waits),
            (format!("<received xmlns='urn:xmpp:receipts' id='1'/>{}", hint("store")), both),
            ("<request xmlns='urn:xmpp:receipts'/>".into(), neither),
            ("<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>".into(), waits),
            (format!("<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>{}", hint("store")), both),
            ("<markable xmlns='urn:xmpp:chat-markers:0'/>".into(), neither),
            ("<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>".into(), both),
            ("<retract xmlns='urn:xmpp:message-retract:1' id='1'/>".into(), both),
            ("<reactions xmlns='urn:xmpp:reactions:0' id='1'/>".into(), both),
            ("<encrypted xmlns='eu.siacs.conversations.axolotl'/>".into(), both),
            ("<x xmlns='jabber:x:conference' jid='r@d'/>".into(), both),
            (
                "<x xmlns='http://jabber.org/protocol/muc#user'><invite from='a@d'/></x>".into(),
                both,
            ),
            ("<x xmlns='http://jabber.org/protocol/muc#user'/>".into(), neither),
            (body.clone() + "<private xmlns='urn:xmpp:carbons:2'/>", both),
            (body + "<received xmlns='urn:xmpp:carbons:2'/>", neither),
        ];
        for (content, expected) in table {
            let text = format!("<message type='chat' to='a@d'>{content}</message>");
            let stanza = Stanza::parse(text.into()).unwrap();
            assert_eq!(importance(&stanza), expected, "{content}");
        }
    }
}
