//! A client's stream (RFC 6120 sections 4 to 7; RFC 7395 over WebSocket): header, STARTTLS, SASL, bind, stanzas.
//!
//! Feed [`C2s::handle_bytes`], answer what it asks by action ([`Action::Ask`], [`Action::Bind`]), drain
//! [`C2s::poll_action`] after each call and call [`C2s::handle_timeout`] when [`C2s::poll_timeout`] is due. After
//! [`Action::Close`] nothing more comes out.

mod action;
mod authentication;
mod bound;
mod end;
mod limits;
mod negotiation;
mod output;
mod registration;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

pub use self::action::{Action, Secured, Transport};
pub use self::limits::Limits;
pub use self::registration::Registers;
use super::header::Ids;
use super::login::{Login, Outcome, SASL};
use super::rate::Bucket;
use super::sasl::Policy;
use super::sm;
use crate::jid::Jid;
use crate::xml::frame::{Frame, Framer, check_message};
use crate::xml::{Element, ns};

const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
const SESSION: &str = "urn:ietf:params:xml:ns:xmpp-session";
const FRAMING: &str = "urn:ietf:params:xml:ns:xmpp-framing";
const ROSTER_VERSIONS: &str = "urn:xmpp:features:rosterver";
/// RFC 6121 section 3.4.
const PRE_APPROVAL: &str = "urn:xmpp:features:pre-approval";
const LIMITS: &str = "urn:xmpp:stream-limits:0";
const PING: &str = "urn:xmpp:ping";

#[derive(Debug)]
enum State {
    /// Waiting for a stream header.
    Header,
    /// Features are out.
    Features,
    /// TLS is being set up.
    Securing,
    /// SASL runs.
    Authenticating(Box<Login>),
    /// It waits for the driver.
    Waiting(Box<Login>),
    /// A bind request with this id waits for the driver.
    Binding(String),
    /// A login that binds waits for the driver.
    BindingInline(Box<Outcome>),
    /// A request to resume this session waits for the driver.
    Resuming(String),
    /// A request about a new account waits for the driver.
    Registering,
    /// One that came with a login.
    ResumingInline(String, Box<Outcome>),
    /// Stanzas flow.
    Bound,
    Closed,
}

/// One stream.
#[derive(Debug)]
pub struct C2s {
    state: State,
    framer: Framer,
    /// Prefixes declared on the stream's header, with their namespaces (RFC 6120 section 4.8.4).
    declared: Vec<(String, String)>,
    transport: Transport,
    domains: Vec<String>,
    limits: Limits,
    secured: Secured,
    policy: Policy,
    registers: Registers,
    domain: String,
    /// Who the header says the client is; not proven by that.
    from: Option<Jid>,
    caps: Vec<Element>,
    account: Option<Jid>,
    jid: Option<Jid>,
    /// Source of stream ids and nonces, made from the seed.
    ids: Ids,
    header_sent: bool,
    received: usize,
    failures: u32,
    deadline: Option<Instant>,
    ping_sent: bool,
    managed: bool,
    byte_rate: Bucket,
    stanza_rate: Bucket,
    /// Parts of the stream since bytes came last.
    parts: usize,
    /// Until when no more is read.
    pause: Option<Instant>,
    actions: VecDeque<Action>,
}

impl C2s {
    /// A stream that has just been opened. `seed` is random and unique.
    pub fn new(
        transport: Transport,
        domains: Vec<String>,
        limits: Limits,
        secured: Secured,
        seed: [u8; 32],
        now: Instant,
    ) -> Self {
        let bytes = limits.unauthenticated_bytes;
        let framer = match transport {
            Transport::WebSocket => Framer::without_header(bytes),
            Transport::Tcp | Transport::Tls => Framer::new(bytes),
        };
        Self {
            state: State::Header,
            framer,
            declared: Vec::new(),
            transport,
            domain: domains.first().cloned().unwrap_or_default(),
            domains,
            limits,
            secured,
            policy: Policy::default(),
            registers: Registers::default(),
            from: None,
            caps: Vec::new(),
            account: None,
            jid: None,
            ids: Ids::new(seed),
            header_sent: false,
            received: 0,
            failures: 0,
            deadline: Some(now + limits.unauthenticated_time),
            ping_sent: false,
            managed: false,
            byte_rate: Bucket::new(limits.bytes, now),
            stanza_rate: Bucket::new(limits.stanzas, now),
            parts: 0,
            pause: None,
            actions: VecDeque::new(),
        }
    }

    /// Announces these capabilities of the server to who has logged in (XEP-0115 section 6.3, XEP-0390 section 5.2).
    #[must_use]
    pub fn with_caps(mut self, caps: Vec<Element>) -> Self {
        self.caps = caps;
        self
    }

    /// Allows these mechanisms.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The bound address.
    pub fn jid(&self) -> Option<&Jid> {
        self.jid.as_ref()
    }

    /// The account, once logged in.
    pub fn account(&self) -> Option<&Jid> {
        self.account.as_ref()
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        if action.is_none() {
            // An idle stream holds no room for what it once had to do.
            self.actions = VecDeque::new();
        }
        action
    }

    /// The next deadline.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.pause.into_iter().chain(self.deadline).min()
    }

    /// Whether the client has sent so much that no more is to be read before [`C2s::poll_timeout`].
    pub fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// A client that sends too fast is not read for a while; one that never stops is ended (RFC 6120 section 13.12).
    fn throttle(&mut self, bytes: usize, now: Instant) {
        let parts = std::mem::take(&mut self.parts);
        if self.account.is_none() || matches!(self.state, State::Closed) {
            return;
        }
        let wait = self.byte_rate.take(bytes, now).max(self.stanza_rate.take(parts, now));
        self.pause = (!wait.is_zero()).then(|| now + wait);
        if self.byte_rate.low_for(now).max(self.stanza_rate.low_for(now)) > self.limits.at_limit {
            self.fail("policy-violation", "too much is sent for too long");
        }
    }

    /// Takes bytes; over WebSocket exactly one frame.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        if matches!(self.state, State::Closed) {
            return;
        }
        if self.account.is_none() {
            self.received += bytes.len();
            if self.received > self.limits.unauthenticated_bytes {
                return self.fail("policy-violation", "too many bytes before login");
            }
        }
        if matches!(self.state, State::Bound) {
            self.deadline = Some(now + self.limits.idle);
            self.ping_sent = false;
        }
        if matches!(self.state, State::Securing) {
            // Bytes between <proceed/> and the handshake would be an injection (RFC 6120 section 5.4.3.3).
            return self.fail("policy-violation", "data before TLS");
        }
        if self.transport == Transport::WebSocket
            && let Err(error) = check_message(bytes, self.framer.max_bytes())
        {
            return self.fail(error.condition(), &error.to_string());
        }
        self.framer.push(bytes);
        self.drain();
        self.throttle(bytes.len(), now);
    }

    /// Continues after the driver has answered a question.
    fn drain(&mut self) {
        while !matches!(
            self.state,
            State::Closed
                | State::Securing
                | State::Waiting(_)
                | State::Binding(_)
                | State::BindingInline(_)
                | State::Resuming(_)
                | State::Registering
                | State::ResumingInline(..)
        ) {
            match self.framer.poll() {
                Ok(Some(Frame::Header(raw))) => self.handle_header(&raw),
                Ok(Some(Frame::Stanza(raw))) => {
                    self.parts += 1;
                    self.handle_part(raw);
                }
                Ok(Some(Frame::End)) => self.close(),
                Ok(None) => return,
                Err(error) => return self.fail(error.condition(), &error.to_string()),
            }
        }
    }

    /// A stream that is bound is negotiated: what was needed for that is dropped.
    fn settle(&mut self) {
        self.caps = Vec::new();
        self.secured = Secured::default();
        self.from = None;
    }

    /// Acts on a deadline that `now` has reached.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.pause = self.pause.filter(|until| now < *until);
        if self.deadline.is_none_or(|at| now < at) {
            return;
        }
        if !matches!(self.state, State::Bound) {
            return self.fail("connection-timeout", "login took too long");
        }
        if self.ping_sent {
            return self.fail_with("connection-timeout", "no answer to a ping", None, true);
        }
        self.ping_sent = true;
        self.deadline = Some(now + self.limits.ping_answer);
        if self.managed {
            return self.actions.push_back(Action::Send(sm::REQUEST));
        }
        let ping = Element::new("iq", ns::CLIENT)
            .with_attr("type", "get")
            .with_attr("id", self.ids.next_id())
            .with_attr("from", self.domain.as_str())
            .with_child(Element::new("ping", PING));
        self.send(&ping);
    }

    fn handle_part(&mut self, raw: Bytes) {
        if matches!(self.state, State::Bound) {
            return self.handle_stanza(raw);
        }
        let element = match Element::parse_in(&raw, &self.declared) {
            Ok(element) => element,
            Err(error) => return self.fail(error.condition(), &error.to_string()),
        };
        if self.transport == Transport::WebSocket && element.ns() == FRAMING {
            return match element.name() {
                "open" => self.open(&element, true),
                _ => self.close(),
            };
        }
        match std::mem::replace(&mut self.state, State::Features) {
            State::Features => self.handle_negotiation(&element),
            State::Authenticating(login) => self.continue_login(login, &element),
            other => {
                self.state = other;
                self.fail("not-authorized", "no stream header yet");
            }
        }
    }
}

fn iq_result(id: &str) -> Element {
    Element::new("iq", ns::CLIENT).with_attr("type", "result").with_attr("id", id)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
#[path = "c2s_tests.rs"]
mod tests;
