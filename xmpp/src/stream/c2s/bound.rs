//! A stream whose client has a resource: stanzas, acknowledgements (XEP-0198), client state (XEP-0352).

use std::time::Instant;

use bytes::Bytes;

use super::{Action, C2s, FRAMING, SESSION, State, Transport, iq_result};
use crate::jid::Jid;
use crate::stanza::{Condition, Stanza, StanzaError, StanzaFault};
use crate::stream::csi;
use crate::stream::sm::{self, Resumption};
use crate::xml::{Element, ns};

impl C2s {
    /// How the session that was to be resumed is (XEP-0198 section 5). Without it the client may bind on this stream.
    pub fn handle_resumed(&mut self, outcome: Resumption, now: Instant) {
        let previd = match std::mem::replace(&mut self.state, State::Features) {
            State::Resuming(previd) => previd,
            State::ResumingInline(previd, login) => {
                self.resumed_inline(&previd, login, outcome, now);
                return self.drain();
            }
            other => {
                self.state = other;
                return;
            }
        };
        match outcome {
            Resumption::Resumed { jid, h } => {
                self.send_now(&sm::resumed(&previd, h));
                self.carry_on(jid, now);
            }
            Resumption::Unknown { h } => self.send_now(&sm::failed("item-not-found", h)),
            Resumption::TooHigh(error) => return self.fail_too_high(error),
        }
        self.drain();
    }

    /// The stream carries on a session with its counters.
    pub(super) fn carry_on(&mut self, jid: Jid, now: Instant) {
        self.jid = Some(jid);
        self.state = State::Bound;
        self.managed = true;
        self.deadline = Some(now + self.limits.idle);
        self.settle();
    }

    /// Begins to manage the stream and gives the answer to the `<enable/>`. Once for a stream, after a resource is
    /// bound, or as part of that (XEP-0198 sections 3 and 9.1).
    pub(super) fn manage(&mut self, enable: sm::Enable) -> Element {
        self.managed = true;
        let max = enable.max.unwrap_or(self.limits.resume).min(self.limits.resume);
        let id = (enable.resume && !max.is_zero()).then(|| self.ids.next_id());
        let granted = sm::Granted { id, max };
        let answer = granted.to_element();
        self.actions.push_back(Action::Manage(granted));
        answer
    }

    /// Tells the client how many of its stanzas are handled.
    pub fn send_ack(&mut self, h: u32) {
        if !matches!(self.state, State::Closed) {
            self.actions.push_back(Action::Send(sm::answer(h)));
        }
    }

    /// Asks the client how many it has handled.
    pub fn ask_ack(&mut self) {
        self.actions.push_back(Action::Send(sm::REQUEST));
    }

    /// The client is asked how many it has handled: it must say something soon, or it is gone.
    pub fn handle_asked(&mut self, now: Instant) {
        if matches!(self.state, State::Bound) && !self.ping_sent {
            self.ping_sent = true;
            self.deadline = Some(now + self.limits.ping_answer);
        }
    }

    pub(super) fn handle_stanza(&mut self, raw: Bytes) {
        match Stanza::parse_in(raw.clone(), &self.declared) {
            Ok(stanza) => self.admit(stanza),
            Err(StanzaFault::Xml(error)) => self.fail(error.condition(), &error.to_string()),
            Err(StanzaFault::NotAStanza) => self.handle_other(&raw),
            Err(StanzaFault::BadAddress) => self.refuse_address(&raw),
        }
    }

    /// What flows among stanzas and is none: acknowledgements, client state, the end over WebSocket.
    pub(super) fn handle_other(&mut self, raw: &[u8]) {
        let Ok(element) = Element::parse_in(raw, &self.declared) else {
            return self.fail("not-well-formed", "not XML");
        };
        match (element.name(), element.ns()) {
            ("r", sm::NS) if self.managed => self.actions.push_back(Action::AckAsked),
            ("a", sm::NS) if self.managed => {
                match element.attr("h").and_then(|h| h.trim().parse().ok()) {
                    Some(h) => self.actions.push_back(Action::Acked(h)),
                    None => self.fail("bad-format", "no count in an acknowledgement"),
                }
            }
            // XEP-0198 section 3: once is enough.
            ("enable", sm::NS) if self.managed => {
                self.fail("policy-violation", "stream management is enabled already");
            }
            ("enable", sm::NS) => {
                if let Some(enable) = sm::Enable::from_element(&element) {
                    let enabled = self.manage(enable);
                    self.send_now(&enabled);
                }
            }
            ("resume", sm::NS) => self.send_now(&sm::failed("unexpected-request", None)),
            (state @ ("active" | "inactive"), csi::NS) => {
                self.actions.push_back(Action::Active(state == "active"));
            }
            ("close", FRAMING) if self.transport == Transport::WebSocket => self.close(),
            _ => self.fail("unsupported-stanza-type", "not a stanza"),
        }
    }

    /// Stamps the sender (RFC 6120 section 8.1.2.1) and answers the legacy session request.
    pub(super) fn admit(&mut self, mut stanza: Stanza) {
        let Some(jid) = self.jid.clone() else { return };
        if let Some(from) = stanza.from()
            && *from != jid
            && *from != jid.bare()
        {
            return self.fail("invalid-from", "that is not your address");
        }
        stanza.set_from(jid);
        if stanza.has("session", SESSION) {
            self.send(&iq_result(stanza.id().unwrap_or_default()));
            return self.actions.push_back(Action::Answered);
        }
        self.actions.push_back(Action::Stanza(Box::new(stanza)));
    }

    pub(super) fn refuse_address(&mut self, raw: &[u8]) {
        self.actions.push_back(Action::Answered);
        let Ok(element) = Element::parse_in(raw, &self.declared) else { return };
        if matches!(element.attr("type"), Some("error" | "result")) {
            return;
        }
        let error = StanzaError::new(Condition::JidMalformed);
        let reply = Element::new(element.name(), ns::CLIENT)
            .with_attr("type", "error")
            .with_attr_opt("id", element.attr("id"))
            .with_child(error.to_element());
        self.send(&reply);
    }
}
