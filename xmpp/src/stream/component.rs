//! The stream of an external component (XEP-0114, `jabber:component:accept`): header, handshake, stanzas.
//!
//! Feed [`Component::handle_bytes`], drain [`Component::poll_action`] after each call and call
//! [`Component::handle_timeout`] when [`Component::poll_timeout`] is due. After [`Action::Close`] nothing more comes
//! out.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use super::c2s::Limits;
use super::header::{Header, Ids, stream_error};
use crate::stanza::{Condition, Stanza, StanzaError, StanzaFault};
use crate::xml::frame::{Frame, Framer};
use crate::xml::{Element, ns, rescope};

/// One component that may connect.
#[derive(Clone)]
pub struct Host {
    /// Its domain, prepared.
    pub domain: String,
    /// What it proves to know.
    pub secret: String,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("domain", &self.domain).finish_non_exhaustive()
    }
}

/// What the driver must do.
#[derive(Debug)]
pub enum Action {
    /// Write this.
    Send(Bytes),
    /// The component has proven itself: what is for its domain goes here now, and a stream that had it before is ended
    /// with `conflict`.
    Accepted(String),
    /// Route this.
    Stanza(Box<Stanza>),
    /// Write what is queued, then close.
    Close,
}

#[derive(Debug)]
enum State {
    /// Waiting for the header.
    Header,
    /// Waiting for the handshake of this host over this stream id.
    Handshake(Host, String),
    /// Stanzas flow.
    Accepted(String),
    Closed,
}

/// One stream of a component.
#[derive(Debug)]
pub struct Component {
    state: State,
    framer: Framer,
    hosts: Vec<Host>,
    declared: Vec<(String, String)>,
    limits: Limits,
    ids: Ids,
    header_sent: bool,
    deadline: Option<Instant>,
    actions: VecDeque<Action>,
}

impl Component {
    /// A stream that has just been opened. `seed` is random and unique.
    pub fn new(hosts: Vec<Host>, limits: Limits, seed: [u8; 32], now: Instant) -> Self {
        Self {
            state: State::Header,
            framer: Framer::new(limits.unauthenticated_bytes),
            hosts,
            declared: Vec::new(),
            limits,
            ids: Ids::new(seed),
            header_sent: false,
            deadline: Some(now + limits.unauthenticated_time),
            actions: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next deadline.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Makes a routed stanza fit for this stream.
    pub fn frame(stanza: &Bytes) -> Bytes {
        rescope(stanza, ns::CLIENT, ns::COMPONENT)
    }

    /// Takes bytes.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        if matches!(self.state, State::Closed) {
            return;
        }
        if matches!(self.state, State::Accepted(_)) {
            self.deadline = Some(now + self.limits.idle);
        }
        self.framer.push(bytes);
        while !matches!(self.state, State::Closed) {
            match self.framer.poll() {
                Ok(Some(Frame::Header(raw))) => self.handle_header(&raw),
                Ok(Some(Frame::Stanza(raw))) => self.handle_part(&raw, now),
                Ok(Some(Frame::End)) => self.close(),
                Ok(None) => return,
                Err(error) => return self.fail(error.condition(), &error.to_string()),
            }
        }
    }

    /// Acts on a deadline that `now` has reached.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_none_or(|at| now < at) {
            return;
        }
        match self.state {
            // White space: TCP tells when nobody is there any more (RFC 6120 section 4.6.1).
            State::Accepted(_) => {
                self.deadline = Some(now + self.limits.idle);
                self.actions.push_back(Action::Send(Bytes::from_static(b" ")));
            }
            _ => self.fail("connection-timeout", "the handshake took too long"),
        }
    }

    /// Ends the stream with an error.
    pub fn fail(&mut self, condition: &str, text: &str) {
        if matches!(self.state, State::Closed) {
            return;
        }
        if !self.header_sent {
            self.send_header(None);
        }
        let mut out = String::new();
        stream_error(condition, text).print(&mut out, ns::COMPONENT);
        self.actions.push_back(Action::Send(out.into()));
        self.close();
    }

    fn close(&mut self) {
        self.actions.push_back(Action::Send(Bytes::from_static(b"</stream:stream>")));
        self.actions.push_back(Action::Close);
        self.state = State::Closed;
        self.deadline = None;
    }

    fn handle_header(&mut self, raw: &[u8]) {
        let header = match Header::parse(raw) {
            Ok(header) => header,
            Err(error) => return self.fail(error.condition(), "bad stream header"),
        };
        if !header.is_stream || header.content != ns::COMPONENT {
            return self.fail("invalid-namespace", "a component's stream is expected here");
        }
        let wanted = header.to.flatten();
        let host = self.hosts.iter().find(|h| Some(&h.domain) == wanted.as_ref()).cloned();
        let Some(host) = host else {
            return self.fail("host-unknown", "no such component is configured");
        };
        self.declared = header.declared;
        let id = self.send_header(Some(&host.domain));
        self.state = State::Handshake(host, id);
    }

    fn send_header(&mut self, from: Option<&str>) -> String {
        self.header_sent = true;
        let id = self.ids.next_id();
        let from = from.map(|from| format!(" from='{from}'")).unwrap_or_default();
        let header = format!(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
             xmlns:stream='http://etherx.jabber.org/streams'{from} id='{id}'>"
        );
        self.actions.push_back(Action::Send(header.into()));
        id
    }

    fn handle_part(&mut self, raw: &Bytes, now: Instant) {
        let raw = rescope(raw, ns::COMPONENT, ns::CLIENT);
        match &self.state {
            State::Accepted(domain) => {
                let domain = domain.clone();
                self.handle_stanza(raw, &domain);
            }
            State::Handshake(host, id) => {
                let proof =
                    hex(&Sha1::new().chain_update(id).chain_update(&host.secret).finalize());
                let given = Element::parse_in(&raw, &self.declared)
                    .ok()
                    .filter(|e| e.is("handshake", ns::CLIENT))
                    .map(|e| e.text().trim().to_lowercase());
                let domain = host.domain.clone();
                if !given.is_some_and(|given| given.as_bytes().ct_eq(proof.as_bytes()).into()) {
                    return self.fail("not-authorized", "the handshake is wrong");
                }
                self.state = State::Accepted(domain.clone());
                self.framer.set_max_bytes(self.limits.stanza_bytes);
                self.deadline = Some(now + self.limits.idle);
                self.actions.push_back(Action::Send(Bytes::from_static(b"<handshake/>")));
                self.actions.push_back(Action::Accepted(domain));
            }
            State::Header | State::Closed => self.fail("not-authorized", "no stream header yet"),
        }
    }

    /// Both addresses are needed, and the sender is of the component's own domain.
    fn handle_stanza(&mut self, raw: Bytes, domain: &str) {
        match Stanza::parse_in(raw.clone(), &self.declared) {
            Ok(stanza) => match (stanza.from(), stanza.to()) {
                (Some(from), Some(_)) if from.domain() == domain => {
                    self.actions.push_back(Action::Stanza(Box::new(stanza)));
                }
                (Some(_), Some(_)) => self.fail("invalid-from", "that is not your domain"),
                _ => self.fail("improper-addressing", "both addresses are needed"),
            },
            Err(StanzaFault::Xml(error)) => self.fail(error.condition(), &error.to_string()),
            Err(StanzaFault::NotAStanza) => self.fail("unsupported-stanza-type", "not a stanza"),
            Err(StanzaFault::BadAddress) => self.refuse_address(&raw),
        }
    }

    fn refuse_address(&mut self, raw: &[u8]) {
        let Ok(element) = Element::parse_in(raw, &self.declared) else { return };
        if matches!(element.attr("type"), Some("error" | "result")) {
            return;
        }
        let reply = Element::new(element.name(), ns::CLIENT)
            .with_attr("type", "error")
            .with_attr_opt("id", element.attr("id"))
            .with_attr_opt("from", element.attr("to"))
            .with_attr_opt("to", element.attr("from"))
            .with_child(StanzaError::new(Condition::JidMalformed).to_element());
        self.actions.push_back(Action::Send(reply.to_bytes()));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
#[path = "component_tests.rs"]
mod tests;
