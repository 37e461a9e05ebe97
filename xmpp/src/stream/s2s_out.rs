//! A stream that we open to another server (RFC 6120, XEP-0220, XEP-0178): header, STARTTLS, then SASL EXTERNAL or
//! dialback, until it is ready for the stanzas of one domain pair; or one question of dialback and its answer.
//!
//! Feed [`S2sOut::handle_bytes`], drain [`S2sOut::poll_action`] after each call and call [`S2sOut::handle_timeout`]
//! when [`S2sOut::poll_timeout`] is due. Over direct TLS (XEP-0368) call [`S2sOut::handle_tls`] first. Stanzas are
//! written by the driver between [`Action::Ready`] and [`Action::Close`], each by [`frame`]. Nothing is sent over a
//! connection without TLS, and the absence of STARTTLS among the features is taken for an attack (RFC 7590 section 3.1).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use super::c2s::Limits;
use super::dialback::{self, DIALBACK, FEATURE, Rest};
use super::header::{Header, stream_error};
use crate::xml::frame::{Frame, Framer};
use crate::xml::{Element, escape, ns, rescope};

const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// Time until a stream must be ready.
const NEGOTIATION: Duration = Duration::from_secs(30);
/// Silence after which a stream is closed; the next stanza opens another.
const IDLE: Duration = Duration::from_secs(600);

/// What the stream is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// Stanzas from the one domain to the other.
    Deliver,
    /// To ask whether a key that was given to us is theirs (XEP-0220 section 2.1.2).
    Verify {
        /// The id of the stream it was given on.
        id: String,
        /// The key.
        key: String,
    },
}

/// What a stream is opened with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our domain.
    pub local: String,
    /// Theirs.
    pub remote: String,
    /// What for.
    pub purpose: Purpose,
    /// Secret of our dialback keys; the same on all streams of this server.
    pub secret: [u8; 32],
    /// Whether the other server's certificate must be valid for its domain.
    pub require_valid_certificate: bool,
    /// Whether SASL EXTERNAL is tried; not where our certificate was refused before.
    pub external: bool,
    /// Bounds of what is read.
    pub limits: Limits,
}

/// Why a stream did not become ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Its certificate is not valid for the domain. Trying again does not help.
    Certificate,
    /// There is no TLS.
    NoTls,
    /// EXTERNAL was refused and there is nothing else; dialback may work on another stream.
    ExternalRefused,
    /// The other server does not believe us, or does not serve the domain.
    Refused,
    /// It broke off, or speaks something else.
    Broken,
    /// It took too long.
    Timeout,
}

/// What the driver must do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Write this.
    Send(Bytes),
    /// Start TLS as the client, then call [`S2sOut::handle_tls`].
    StartTls,
    /// Stanzas may be written.
    Ready {
        /// By SASL EXTERNAL, not dialback.
        external: bool,
    },
    /// The answer to [`Purpose::Verify`].
    Verified(bool),
    /// It will not become ready. [`Action::Close`] follows.
    Failed(Failure),
    /// Close the connection.
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing has been sent: TLS comes first.
    New,
    Header,
    Features,
    Proceed,
    Securing,
    External,
    Dialback,
    Verifying,
    Ready,
    Closed,
}

/// One stream.
#[derive(Debug)]
pub struct S2sOut {
    state: State,
    settings: Settings,
    framer: Framer,
    declared: Vec<(String, String)>,
    is_secure: bool,
    is_authenticated: bool,
    external_refused: bool,
    /// Theirs.
    stream_id: String,
    has_dialback: bool,
    deadline: Option<Instant>,
    actions: VecDeque<Action>,
}

/// A stanza as it goes between servers.
pub fn frame(stanza: &Bytes) -> Bytes {
    rescope(stanza, ns::CLIENT, ns::SERVER)
}

impl S2sOut {
    /// A stream over a connection that has just been opened.
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            state: State::New,
            framer: Framer::new(settings.limits.stanza_bytes),
            settings,
            declared: Vec::new(),
            is_secure: false,
            is_authenticated: false,
            external_refused: false,
            stream_id: String::new(),
            has_dialback: false,
            deadline: Some(now + NEGOTIATION),
            actions: VecDeque::new(),
        }
    }

    /// Begins over plain TCP.
    pub fn start(&mut self) {
        self.open();
    }

    /// TLS stands; `is_valid` says whether the other server's certificate is, for its domain.
    pub fn handle_tls(&mut self, is_valid: bool) {
        self.is_secure = true;
        if self.settings.require_valid_certificate && !is_valid {
            return self.give_up(Failure::Certificate);
        }
        self.framer.restart();
        self.open();
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next deadline.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Takes bytes.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        if self.state == State::Closed {
            return;
        }
        if self.state == State::Securing {
            // RFC 6120 section 5.4.3.3: an injection.
            return self.give_up(Failure::Broken);
        }
        self.framer.push(bytes);
        while !matches!(self.state, State::Closed | State::Securing) {
            match self.framer.poll() {
                Ok(Some(Frame::Header(raw))) => self.handle_header(&raw),
                Ok(Some(Frame::Stanza(raw))) => self.handle_part(&raw),
                Ok(Some(Frame::End)) => self.end(),
                Ok(None) => return,
                Err(error) => return self.fail(error.condition()),
            }
        }
    }

    /// The connection is gone.
    pub fn handle_gone(&mut self) {
        match self.state {
            State::Closed => {}
            State::Ready => self.close(),
            _ if self.external_refused => self.give_up(Failure::ExternalRefused),
            _ => self.give_up(Failure::Broken),
        }
    }

    /// Something was written at `now`.
    pub fn note_written(&mut self, now: Instant) {
        if self.state == State::Ready {
            self.deadline = Some(now + IDLE);
        }
    }

    /// Acts on a deadline that `now` has reached.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_none_or(|at| now < at) {
            return;
        }
        match self.state {
            State::Ready => self.end(),
            _ => self.give_up(Failure::Timeout),
        }
    }

    /// Ends the stream with an error, for instance `system-shutdown`.
    pub fn fail(&mut self, condition: &str) {
        if self.state == State::Closed {
            return;
        }
        let mut out = String::new();
        stream_error(condition, "").print(&mut out, ns::SERVER);
        self.send(out);
        if self.state == State::Ready { self.end() } else { self.give_up(Failure::Broken) }
    }

    fn open(&mut self) {
        let mut header = String::from(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
             xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback'",
        );
        for (name, value) in [("from", &self.settings.local), ("to", &self.settings.remote)] {
            header.push_str(&format!(" {name}='"));
            escape(&mut header, value);
            header.push('\'');
        }
        header.push_str(" version='1.0' xml:lang='en'>");
        self.send(header);
        self.state = State::Header;
    }

    fn send(&mut self, text: impl Into<Bytes>) {
        self.actions.push_back(Action::Send(text.into()));
    }

    fn end(&mut self) {
        if self.state != State::Ready {
            return self.handle_gone();
        }
        self.close();
    }

    fn close(&mut self) {
        self.send("</stream:stream>");
        self.actions.push_back(Action::Close);
        self.state = State::Closed;
        self.deadline = None;
    }

    fn give_up(&mut self, failure: Failure) {
        if self.state == State::Closed {
            return;
        }
        let failure = if failure == Failure::Broken && self.external_refused {
            Failure::ExternalRefused
        } else {
            failure
        };
        self.actions.push_back(Action::Failed(failure));
        if self.state == State::Securing || self.state == State::New {
            self.actions.push_back(Action::Close);
            self.state = State::Closed;
            self.deadline = None;
        } else {
            self.close();
        }
    }

    fn handle_header(&mut self, raw: &[u8]) {
        let header = match Header::parse(raw) {
            Ok(header) => header,
            Err(error) => return self.fail(error.condition()),
        };
        if !header.is_stream || header.content != ns::SERVER {
            return self.fail("invalid-namespace");
        }
        self.has_dialback = header.declared.iter().any(|(_, ns)| ns == DIALBACK);
        self.declared = header.declared;
        self.stream_id = header.id.unwrap_or_default();
        self.state = State::Features;
        if !header.is_xmpp_1 {
            // It has no features and so no TLS.
            self.give_up(Failure::NoTls);
        }
    }

    fn handle_part(&mut self, raw: &Bytes) {
        if self.state == State::Ready {
            // Nothing is expected the other way but an error before the end; dialback has its own streams.
            return;
        }
        let raw = rescope(raw, ns::SERVER, ns::CLIENT);
        let element = match Element::parse_in(&raw, &self.declared) {
            Ok(element) => element,
            Err(error) => return self.fail(error.condition()),
        };
        if element.is("error", ns::STREAM) {
            return self.handle_error(&element);
        }
        match (self.state, element.name(), element.ns()) {
            (State::Features, "features", ns::STREAM) => self.handle_features(&element),
            (State::Proceed, "proceed", TLS) => self.secure(),
            (State::Proceed, "failure", TLS) => self.give_up(Failure::NoTls),
            (State::External, "success", SASL) => {
                // A new stream begins (RFC 6120 section 6.4.6).
                self.is_authenticated = true;
                self.framer.restart();
                self.open();
            }
            (State::External, "failure", SASL) => {
                self.external_refused = true;
                self.authenticate_by_dialback();
            }
            (State::Dialback, "result", DIALBACK) => self.handle_result(&element),
            (State::Verifying, "verify", DIALBACK) => self.handle_verified(&element),
            // A stanza, or a dialback element for another pair.
            _ => {}
        }
    }

    fn handle_error(&mut self, error: &Element) {
        let refused = ["host-unknown", "not-authorized", "policy-violation", "invalid-from"];
        let is_refused = refused.iter().any(|name| error.child(name, ns::STREAMS).is_some());
        self.give_up(if is_refused { Failure::Refused } else { Failure::Broken });
    }

    fn handle_features(&mut self, features: &Element) {
        if !self.is_secure {
            self.send(Element::new("starttls", TLS).to_bytes_in(ns::SERVER));
            self.state = State::Proceed;
            return;
        }
        if let Purpose::Verify { id, key } = &self.settings.purpose {
            let Settings { local, remote, .. } = &self.settings;
            let verify = dialback::print("verify", local, remote, Some(id), &Rest::Key(key));
            self.send(verify);
            self.state = State::Verifying;
            return;
        }
        if self.is_authenticated {
            return self.become_ready(true);
        }
        self.has_dialback |= features.child("dialback", FEATURE).is_some();
        let mut mechanisms =
            features.child("mechanisms", SASL).into_iter().flat_map(Element::elements);
        if self.settings.external && mechanisms.any(|m| m.text().trim() == "EXTERNAL") {
            let auth = Element::new("auth", SASL)
                .with_attr("mechanism", "EXTERNAL")
                .with_text(BASE64.encode(&self.settings.local));
            self.send(auth.to_bytes_in(ns::SERVER));
            self.state = State::External;
            return;
        }
        self.authenticate_by_dialback();
    }

    fn secure(&mut self) {
        if !self.framer.is_empty() {
            return self.give_up(Failure::Broken);
        }
        self.state = State::Securing;
        self.actions.push_back(Action::StartTls);
    }

    fn authenticate_by_dialback(&mut self) {
        if !self.has_dialback {
            let refused =
                if self.external_refused { Failure::ExternalRefused } else { Failure::Refused };
            return self.give_up(refused);
        }
        let Settings { local, remote, secret, .. } = &self.settings;
        let key = dialback::key(secret, remote, local, &self.stream_id);
        let result = dialback::print("result", local, remote, None, &Rest::Key(&key));
        self.send(result);
        self.state = State::Dialback;
    }

    /// Whether a dialback element answers what was asked on this stream (XEP-0220 section 3.1).
    fn is_answer(&self, element: &Element) -> bool {
        dialback::pair(element)
            .is_some_and(|(from, to)| from == self.settings.remote && to == self.settings.local)
    }

    fn handle_result(&mut self, result: &Element) {
        if !self.is_answer(result) {
            return;
        }
        match result.attr("type") {
            Some("valid") => self.become_ready(false),
            // Their look back at us may work later (section 2.5).
            Some("error") if is_temporary(result) => self.give_up(Failure::Broken),
            _ => self.give_up(Failure::Refused),
        }
    }

    fn handle_verified(&mut self, answer: &Element) {
        let Purpose::Verify { id, .. } = &self.settings.purpose else { return };
        if !self.is_answer(answer) || answer.attr("id") != Some(id) {
            return;
        }
        match answer.attr("type") {
            Some(kind @ ("valid" | "invalid")) => {
                self.actions.push_back(Action::Verified(kind == "valid"));
                self.close();
            }
            _ => self.give_up(Failure::Refused),
        }
    }

    fn become_ready(&mut self, external: bool) {
        self.state = State::Ready;
        // The first note of something written sets the clock; until then the deadline of the negotiation counts.
        self.actions.push_back(Action::Ready { external });
    }
}

fn is_temporary(result: &Element) -> bool {
    let error = result.child("error", ns::CLIENT);
    error.is_some_and(|error| {
        ["remote-server-timeout", "remote-connection-failed", "resource-constraint"]
            .iter()
            .any(|name| error.child(name, ns::STANZAS).is_some())
    })
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
#[path = "s2s_out_tests.rs"]
mod tests;
