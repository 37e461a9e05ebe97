//! What apps say of calls that the exchange has taken over (XEP-0353, XEP-0166): stanzas to somebody whom the exchange only speaks
//! for, an app that was not rung or a person on another XMPP server, and which have to come to it all the same.
//!
//! The router asks while it routes, so the answer is here and not in the exchange's task.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::{Kind, Stanza};
use tandem_xmpp::xml::Element;

const JINGLE: &str = "urn:xmpp:jingle:1";
const JMI: &str = "urn:xmpp:jingle-message:0";
const RTP: &str = "urn:xmpp:jingle:apps:rtp:1";
/// How long the last words of a call may be on their way.
const LINGER: Duration = Duration::from_secs(32);
/// Calls between apps whose session may begin; beyond them the oldest are forgotten.
const MAX_AGREED: usize = 10_000;

/// A session id and one account that speaks of it.
type Name = (String, Jid);

/// The calls that are the exchange's, whoever they are addressed to. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Held(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Whose words come to the exchange.
    held: HashSet<Name>,
    /// Ids under which the exchange itself speaks.
    own: HashMap<String, Own>,
    /// What is over, and when it is forgotten.
    over: VecDeque<(Instant, Over)>,
    /// Sessions that a device has agreed to (XEP-0353 section 3.4): id and device.
    agreed: VecDeque<(String, Jid)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    /// It rings.
    Call,
    /// The trace of a call that rang nobody: it is kept, and rings nobody either.
    Trace,
}

#[derive(Debug)]
enum Over {
    Held(Name),
    Own(String),
}

/// Whose a stanza is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// The exchange says it itself, and it is to arrive.
    Own,
    /// The exchange leaves it as a trace: it is kept and goes no further.
    Trace,
    /// It is said of a call that the exchange holds.
    Held,
    /// It begins the audio or video session of this id, to which nobody has agreed.
    Uninvited(String),
    /// Nothing of the exchange's.
    Nobodys,
}

impl Held {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on what `party` says of the session comes to the exchange.
    pub fn hold(&self, sid: &str, party: &Jid) {
        self.known().held.insert((sid.to_owned(), party.bare()));
    }

    /// The exchange speaks under this id for who calls.
    pub fn speak(&self, sid: &str) {
        self.known().own.insert(sid.to_owned(), Own::Call);
    }

    /// The exchange leaves the trace of a call that rang nobody.
    pub fn trace(&self, sid: &str, now: Instant) {
        let mut known = self.known();
        known.own.insert(sid.to_owned(), Own::Trace);
        known.end(Over::Own(sid.to_owned()), now);
    }

    /// The exchange speaks under this id no more.
    pub fn fall_silent(&self, sid: &str, now: Instant) {
        let mut known = self.known();
        if known.own.contains_key(sid) {
            known.end(Over::Own(sid.to_owned()), now);
        }
    }

    /// A session with `party` is over; what is on its way still comes.
    pub fn release(&self, sid: &str, party: &Jid, now: Instant) {
        self.known().end(Over::Held((sid.to_owned(), party.bare())), now);
    }

    /// A device agreed to a call between apps: its session may begin.
    pub fn agreed(&self, stanza: &Stanza) {
        let (Some(device), Some(id)) = (stanza.from(), id_of(stanza, "proceed")) else { return };
        let mut known = self.known();
        if known.agreed.len() >= MAX_AGREED {
            known.agreed.pop_front();
        }
        known.agreed.push_back((id, device.clone()));
    }

    /// Whose a stanza between two addresses is.
    pub fn whose(&self, stanza: &Stanza) -> Whose {
        let Some(from) = stanza.from() else { return Whose::Nobodys };
        match (stanza.kind(), stanza.type_()) {
            (Kind::Message, _) => {
                self.known().whose_message(from, jmi_of(stanza).and_then(|e| owned(&e, "id")))
            }
            (Kind::Iq, Some("set")) if stanza.has("jingle", JINGLE) => {
                let jingle = stanza.child("jingle", JINGLE);
                jingle.map_or(Whose::Nobodys, |jingle| self.known().whose_request(stanza, &jingle))
            }
            (Kind::Iq, Some("result" | "error")) => {
                // Our ids begin with the session's.
                let sid = stanza.id().and_then(|id| id.rsplit_once('-')).map(|(sid, _)| sid);
                let known = self.known();
                match sid.filter(|_| !known.held.is_empty()) {
                    Some(sid) if known.holds(sid, from) => Whose::Held,
                    _ => Whose::Nobodys,
                }
            }
            _ => Whose::Nobodys,
        }
    }
}

impl Known {
    fn end(&mut self, what: Over, now: Instant) {
        while let Some((_, over)) = self.over.pop_front_if(|(at, _)| *at <= now) {
            match over {
                Over::Held(name) => {
                    self.held.remove(&name);
                }
                Over::Own(sid) => {
                    self.own.remove(&sid);
                }
            }
        }
        self.over.push_back((now + LINGER, what));
    }

    fn holds(&self, sid: &str, party: &Jid) -> bool {
        self.held.contains(&(sid.to_owned(), party.bare()))
    }

    fn whose_message(&self, from: &Jid, id: Option<String>) -> Whose {
        let Some(id) = id else { return Whose::Nobodys };
        match self.own.get(&id) {
            _ if self.holds(&id, from) => Whose::Held,
            Some(Own::Call) => Whose::Own,
            Some(Own::Trace) => Whose::Trace,
            None => Whose::Nobodys,
        }
    }

    fn whose_request(&self, stanza: &Stanza, jingle: &Element) -> Whose {
        let (Some(from), Some(to), Some(sid)) = (stanza.from(), stanza.to(), jingle.attr("sid"))
        else {
            return Whose::Nobodys;
        };
        if self.holds(sid, from) {
            return Whose::Held;
        }
        if self.own.contains_key(sid) {
            return Whose::Own;
        }
        let is_call = jingle.attr("action") == Some("session-initiate")
            && jingle.elements().any(|content| content.child("description", RTP).is_some());
        let is_agreed = || self.agreed.iter().any(|(id, by)| id == sid && by == to);
        if is_call && !is_agreed() { Whose::Uninvited(sid.to_owned()) } else { Whose::Nobodys }
    }
}

fn jmi_of(stanza: &Stanza) -> Option<Element> {
    stanza.children().find(|(_, ns)| *ns == JMI).and_then(|(name, ns)| stanza.child(name, ns))
}

fn id_of(stanza: &Stanza, action: &str) -> Option<String> {
    stanza.has(action, JMI).then(|| stanza.child(action, JMI))?.and_then(|e| owned(&e, "id"))
}

fn owned(element: &Element, attribute: &str) -> Option<String> {
    element.attr(attribute).map(str::to_owned)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests {
    use bytes::Bytes;

    use super::*;

    fn stanza(text: &str) -> Stanza {
        Stanza::parse(Bytes::from(text.to_owned())).unwrap()
    }

    fn message(from: &str, action: &str, id: &str) -> Stanza {
        stanza(&format!(
            "<message xmlns='jabber:client' from='{from}' to='ana@d'><{action} xmlns='{JMI}' id='{id}'/></message>"
        ))
    }

    fn initiate(sid: &str, content: &str) -> Stanza {
        stanza(&format!(
            "<iq xmlns='jabber:client' type='set' id='1' from='bob@e/x' to='ana@d/app'>\
             <jingle xmlns='{JINGLE}' action='session-initiate' sid='{sid}'><content name='a' creator='initiator'>\
             <description xmlns='{content}'/></content></jingle></iq>"
        ))
    }

    #[test]
    fn what_belongs_to_a_held_call_is_ours_until_its_last_words_have_come() {
        let (held, now) = (Held::default(), Instant::now());
        let result =
            "<iq xmlns='jabber:client' type='result' id='s-1' from='bob@e/x' to='ana@d/app'/>";
        assert_eq!(held.whose(&stanza(result)), Whose::Nobodys);
        held.hold("s", &Jid::parse("bob@e/x").unwrap());
        assert_eq!(held.whose(&stanza(result)), Whose::Held);
        assert_eq!(held.whose(&message("bob@e/y", "ringing", "s")), Whose::Held);
        assert_eq!(held.whose(&message("eve@e/y", "ringing", "s")), Whose::Nobodys);
        held.release("s", &Jid::parse("bob@e").unwrap(), now);
        assert_eq!(held.whose(&stanza(result)), Whose::Held, "it may be on its way");
        held.release("other", &Jid::parse("bob@e").unwrap(), now + LINGER);
        assert_eq!(held.whose(&stanza(result)), Whose::Nobodys);
    }

    #[test]
    fn a_session_of_sound_needs_somebody_who_agreed_to_it() {
        let held = Held::default();
        assert_eq!(held.whose(&initiate("s", RTP)), Whose::Uninvited("s".to_owned()));
        assert_eq!(
            held.whose(&initiate("s", "urn:xmpp:jingle:apps:file-transfer:5")),
            Whose::Nobodys
        );
        held.agreed(&message("ana@d/other", "proceed", "s"));
        assert_eq!(
            held.whose(&initiate("s", RTP)),
            Whose::Uninvited("s".to_owned()),
            "not this device"
        );
        held.agreed(&message("ana@d/app", "proceed", "s"));
        assert_eq!(held.whose(&initiate("s", RTP)), Whose::Nobodys);
        held.speak("t");
        assert_eq!(held.whose(&initiate("t", RTP)), Whose::Own);
        held.trace("t", Instant::now());
        assert_eq!(held.whose(&message("bob@e/x", "propose", "t")), Whose::Trace);
    }
}
