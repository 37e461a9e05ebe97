//! A client's stream (RFC 6120 sections 4 to 7; RFC 7395 over WebSocket): header, STARTTLS, SASL, bind, stanzas.
//!
//! Feed [`C2s::handle_bytes`], answer what it asks by action ([`Action::Ask`], [`Action::Bind`]), drain
//! [`C2s::poll_action`] after each call and call [`C2s::handle_timeout`] when [`C2s::poll_timeout`] is due. After
//! [`Action::Close`] nothing more comes out.

mod authentication;
mod registration;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use base64::Engine as _;
use bytes::Bytes;

pub use self::registration::Registers;
use super::bind2::BindRequest;
use super::binding::Bindings;
use super::csi;
use super::login::{Login, Outcome, SASL};
use super::question::Question;
use super::rate::{Bucket, Rate};
use super::sasl::{Failure, Policy};
use super::sasl2;
use super::sm::{self, Resumption};
use crate::jid::Jid;
use crate::stanza::{Condition, Stanza, StanzaError, StanzaFault};
use crate::xml::frame::{Frame, Framer, check_message};
use crate::xml::token::{Attributes, Token, Tokens};
use crate::xml::{Element, XmlError, ns};

const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
const SESSION: &str = "urn:ietf:params:xml:ns:xmpp-session";
const FRAMING: &str = "urn:ietf:params:xml:ns:xmpp-framing";
const ROSTER_VERSIONS: &str = "urn:xmpp:features:rosterver";
/// RFC 6121 section 3.4.
const PRE_APPROVAL: &str = "urn:xmpp:features:pre-approval";
const LIMITS: &str = "urn:xmpp:stream-limits:0";
const PING: &str = "urn:xmpp:ping";
/// Bytes of prefixes and namespaces remembered of a stream's header.
const MAX_DECLARED_BYTES: usize = 4 * 1024;

/// What bounds a stream. The defaults are those of the documentation of `[xmpp]` in the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes an unauthenticated stream may send in all. Default 16 KiB.
    pub unauthenticated_bytes: usize,
    /// Time until it must be authenticated. Default 15 s.
    pub unauthenticated_time: Duration,
    /// Bytes of one stanza. Default 256 KiB.
    pub stanza_bytes: usize,
    /// Silence after which the client is pinged. Default 5 min.
    pub idle: Duration,
    /// Time to answer that ping. Default 60 s.
    pub ping_answer: Duration,
    /// Wrong logins before the stream ends. Default 3.
    pub login_failures: u32,
    /// Time in which a client that is written to must take at least something. Default 30 s.
    pub write_stall: Duration,
    /// Bytes a logged-in client may send. Default 8 MiB a second, 32 MiB at once.
    pub bytes: Rate,
    /// Stanzas it may send. Default 5,000 a second, 20,000 at once.
    pub stanzas: Rate,
    /// How long it may be at these limits without a pause. Default 5 min.
    pub at_limit: Duration,
    /// How long a session waits for its client to resume it; zero for never. Default 5 min.
    pub resume: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unauthenticated_bytes: 16 * 1024,
            unauthenticated_time: Duration::from_secs(15),
            stanza_bytes: 256 * 1024,
            idle: Duration::from_secs(300),
            ping_answer: Duration::from_secs(60),
            login_failures: 3,
            write_stall: Duration::from_secs(30),
            bytes: Rate::of(8 * 1024 * 1024),
            stanzas: Rate::of(5_000),
            at_limit: Duration::from_secs(300),
            resume: Duration::from_secs(300),
        }
    }
}

/// How the bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Plain TCP; STARTTLS is required before anything else.
    Tcp,
    /// TLS from the first byte (XEP-0368), or after STARTTLS.
    Tls,
    /// WebSocket over HTTPS (RFC 7395).
    WebSocket,
}

/// What the driver must do.
#[derive(Debug)]
pub enum Action {
    /// Write this.
    Send(Bytes),
    /// Start TLS as the server, then call [`C2s::handle_tls`].
    StartTls,
    /// Find this out, then call [`C2s::handle_answer`].
    Ask(Box<Question>),
    /// A login ended; keep count.
    LoggedIn(bool),
    /// Register this resource, or a made-up one, then call [`C2s::handle_bound`].
    Bind(Option<String>),
    /// Register a resource that begins with this tag, with what is to go with it, then call
    /// [`C2s::handle_bound_inline`].
    BindInline {
        /// What the client wants.
        bind: BindRequest,
        /// Its `user-agent` id: an older session of the same device ends (XEP-0386 section 3.2).
        device: Option<String>,
    },
    /// Answer this request about a new account, then call [`C2s::handle_registered`].
    Register {
        /// The domain it is for.
        domain: String,
        /// The whole request.
        iq: Box<Element>,
    },
    /// Route this.
    Stanza(Box<Stanza>),
    /// Queue this stanza to the client behind what others sent it.
    Reply(Bytes),
    /// A stanza has been answered here; it counts among those that were handled.
    Answered,
    /// Count and keep stanzas from here on (XEP-0198).
    Manage(sm::Granted),
    /// Take over that session, then call [`C2s::handle_resumed`].
    Resume(sm::Resume),
    /// Call [`C2s::send_ack`] once all before this is finished.
    AckAsked,
    /// The client has handled so many; call [`C2s::fail_too_high`] if it was sent fewer.
    Acked(u32),
    /// Somebody looks at the client, or nobody does (XEP-0352).
    Active(bool),
    /// Write what is queued, then these last bytes, then close.
    Close {
        /// The end of the stream.
        last: Bytes,
        /// The client may come back: it did not say goodbye, and nothing it did is the cause.
        resumable: bool,
    },
}

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

/// What TLS says of a connection.
#[derive(Debug, Clone, Default)]
pub struct Secured {
    /// What ties a login to it.
    pub bindings: Bindings,
    /// Whom the client's certificate names, if the TLS layer has verified one.
    pub identities: Vec<Jid>,
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
            ids: Ids { seed, count: 0 },
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

    /// Makes a routed stanza fit for this stream: over WebSocket each declares its namespace (RFC 7395 section 3.3.3).
    pub fn frame(&self, stanza: Bytes) -> Bytes {
        if self.transport != Transport::WebSocket {
            return stanza;
        }
        let first = Tokens::new(&stanza).and_then(|mut tokens| tokens.next_token());
        let Ok(Some(Token::Start { name, attributes, .. })) = first else { return stanza };
        if Attributes::new(attributes).any(|a| a.is_ok_and(|(name, _)| name == "xmlns")) {
            return stanza;
        }
        let text = std::str::from_utf8(&stanza).unwrap_or_default();
        let (name, rest) = text.split_at_checked(1 + name.len()).unwrap_or((text, ""));
        format!("{name} xmlns='{}'{rest}", ns::CLIENT).into()
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
        self.drain(now);
        self.throttle(bytes.len(), now);
    }

    /// Continues after the driver has answered a question.
    fn drain(&mut self, now: Instant) {
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
                    self.handle_part(raw, now);
                }
                Ok(Some(Frame::End)) => self.close(),
                Ok(None) => return,
                Err(error) => return self.fail(error.condition(), &error.to_string()),
            }
        }
    }

    /// TLS stands.
    pub fn handle_tls(&mut self, secured: Secured) {
        self.transport = Transport::Tls;
        self.secured = secured;
        self.framer.restart();
        self.state = State::Header;
        self.header_sent = false;
    }

    /// The resource is registered under this address.
    pub fn handle_bound(&mut self, jid: Jid, now: Instant) {
        let State::Binding(id) = std::mem::replace(&mut self.state, State::Bound) else { return };
        let bind = Element::new("bind", BIND)
            .with_child(Element::new("jid", BIND).with_text(jid.as_str()));
        self.send_now(&iq_result(&id).with_child(bind));
        self.jid = Some(jid);
        self.settle();
        self.deadline = Some(now + self.limits.idle);
        self.drain(now);
    }

    /// How the session that was to be resumed is (XEP-0198 section 5). Without it the client may bind on this stream.
    pub fn handle_resumed(&mut self, outcome: Resumption, now: Instant) {
        let previd = match std::mem::replace(&mut self.state, State::Features) {
            State::Resuming(previd) => previd,
            State::ResumingInline(previd, login) => {
                self.resumed_inline(&previd, login, outcome, now);
                return self.drain(now);
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
        self.drain(now);
    }

    /// A stream that is bound is negotiated: what was needed for that is dropped.
    fn settle(&mut self) {
        self.caps = Vec::new();
        self.secured = Secured::default();
        self.from = None;
    }

    /// The stream carries on a session with its counters.
    fn carry_on(&mut self, jid: Jid, now: Instant) {
        self.jid = Some(jid);
        self.state = State::Bound;
        self.managed = true;
        self.deadline = Some(now + self.limits.idle);
        self.settle();
    }

    /// Begins to manage the stream and gives the answer to the `<enable/>`. Once for a stream, after a resource is
    /// bound, or as part of that (XEP-0198 sections 3 and 9.1).
    fn manage(&mut self, enable: sm::Enable) -> Element {
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

    /// Ends the stream of a client that acknowledged what it was never sent (XEP-0198 section 6).
    pub fn fail_too_high(&mut self, error: sm::TooHigh) {
        self.fail_with("undefined-condition", &error.to_string(), Some(error.to_element()), false);
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

    /// Ends the stream with an error, for instance `conflict` or `system-shutdown`.
    pub fn fail(&mut self, condition: &str, text: &str) {
        self.fail_with(condition, text, None, false);
    }

    fn fail_with(
        &mut self,
        condition: &str,
        text: &str,
        application: Option<Element>,
        resumable: bool,
    ) {
        if matches!(self.state, State::Closed) {
            return;
        }
        // RFC 6120 section 4.9.1.3: the header goes out before the error.
        if !self.header_sent {
            self.send_header();
        }
        let error = Element::new("error", ns::STREAM)
            .with_child(Element::new(condition, ns::STREAMS))
            .with_child(Element::new("text", ns::STREAMS).with_text(text))
            .with_children(application);
        let error = self.stream_element(&error);
        self.close_with(error, resumable);
    }

    fn close(&mut self) {
        self.close_with(String::new(), false);
    }

    fn close_with(&mut self, mut last: String, resumable: bool) {
        if matches!(self.state, State::Closed) {
            return;
        }
        // Over WebSocket each is a message of its own (RFC 7395 section 3.3).
        if self.transport == Transport::WebSocket {
            if !last.is_empty() {
                self.actions.push_back(Action::Send(std::mem::take(&mut last).into()));
            }
            Element::new("close", FRAMING).print(&mut last, "");
        } else {
            last.push_str("</stream:stream>");
        }
        self.actions.push_back(Action::Close { last: last.into(), resumable });
        self.state = State::Closed;
        self.deadline = None;
    }

    fn handle_header(&mut self, raw: &[u8]) {
        let mut closed = raw.to_vec();
        if let Some(bracket) = closed.pop() {
            closed.push(b'/');
            closed.push(bracket);
        }
        self.declared = declarations(&closed);
        match Element::parse(&closed) {
            Ok(header) => self.open(&header, header.is("stream", ns::STREAM)),
            Err(error) => self.fail(error.condition(), "bad stream header"),
        }
    }

    fn open(&mut self, header: &Element, named_right: bool) {
        let prepared = |to: &str| Jid::new(None, to, None).ok().map(|j| j.domain().to_owned());
        let to = header.attr("to").map(|to| prepared(to).unwrap_or_default());
        let known = to.as_deref().is_none_or(|to| self.domains.iter().any(|d| d == to));
        if let Some(to) = to.filter(|_| known) {
            self.domain = to;
        }
        self.from = header.attr("from").and_then(|from| Jid::parse(from).ok());
        self.send_header();
        if !named_right {
            return self.fail("invalid-namespace", "not a stream");
        }
        if !known {
            return self.fail("host-unknown", "no such domain here");
        }
        if self.from.as_ref().is_some_and(|from| from.domain() != self.domain) {
            return self.fail("invalid-from", "you are of another domain");
        }
        let version = header.attr("version").and_then(|v| v.split('.').next()?.parse::<u32>().ok());
        if version.is_none_or(|v| v < 1) {
            return self.fail("unsupported-version", "XMPP 1.0 is needed");
        }
        self.state = State::Features;
        let features = self.features();
        self.send_stream_element(&features);
    }

    fn features(&self) -> Element {
        let features = Element::new("features", ns::STREAM);
        if self.transport == Transport::Tcp {
            let tls = Element::new("starttls", TLS).with_child(Element::new("required", TLS));
            return features.with_child(tls);
        }
        if self.account.is_none() {
            return self.login_features();
        }
        let limits = Element::new("limits", LIMITS).with_child(
            Element::new("max-bytes", LIMITS).with_text(self.limits.stanza_bytes.to_string()),
        );
        let mut features = features;
        if self.jid.is_none() {
            features.push(Element::new("bind", BIND));
            let optional = Element::new("optional", SESSION);
            features.push(Element::new("session", SESSION).with_child(optional));
        }
        if !self.managed {
            features.push(Element::new("sm", sm::NS));
        }
        let features = features
            .with_child(Element::new("csi", csi::NS))
            .with_child(Element::new("ver", ROSTER_VERSIONS))
            .with_child(Element::new("sub", PRE_APPROVAL));
        features.with_child(limits).with_children(self.caps.clone())
    }

    fn handle_part(&mut self, raw: Bytes, now: Instant) {
        if matches!(self.state, State::Bound) {
            return self.handle_stanza(raw, now);
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

    fn handle_negotiation(&mut self, element: &Element) {
        match (element.name(), element.ns()) {
            ("starttls", TLS) if self.transport == Transport::Tcp => {
                if !self.framer.is_empty() {
                    return self.fail("policy-violation", "data before TLS");
                }
                self.send(&Element::new("proceed", TLS));
                self.state = State::Securing;
                self.actions.push_back(Action::StartTls);
            }
            ("auth", SASL) | ("authenticate", sasl2::NS)
                if self.transport != Transport::Tcp && self.account.is_none() =>
            {
                self.begin_login(element);
            }
            ("abort", name @ (SASL | sasl2::NS)) if self.account.is_none() => {
                self.login_failed(name, Failure::Aborted);
            }
            ("iq", ns::CLIENT) if self.account.is_some() => self.handle_bind(element),
            ("resume", sm::NS) if self.account.is_some() => match sm::Resume::from_element(element)
            {
                Some(resume) => {
                    self.state = State::Resuming(resume.previd.clone());
                    self.actions.push_back(Action::Resume(resume));
                }
                None => self.send(&sm::failed("bad-request", None)),
            },
            ("enable" | "resume", sm::NS) => self.send(&sm::failed("unexpected-request", None)),
            ("iq", ns::CLIENT) if self.is_registration(element) => self.ask_to_register(element),
            _ => self.fail("not-authorized", "log in first"),
        }
    }

    fn handle_bind(&mut self, iq: &Element) {
        let id = iq.attr("id").unwrap_or_default().to_owned();
        match iq.child("bind", BIND) {
            Some(bind) if iq.attr("type") == Some("set") => {
                let resource =
                    bind.child("resource", BIND).map(Element::text).filter(|r| !r.is_empty());
                if let (Some(account), Some(resource)) = (&self.account, &resource)
                    && account.with_resource(resource).is_err()
                {
                    let error = StanzaError::new(Condition::BadRequest).to_element();
                    let reply = Element::new("iq", ns::CLIENT)
                        .with_attr("type", "error")
                        .with_attr("id", id)
                        .with_child(error);
                    return self.send(&reply);
                }
                self.state = State::Binding(id);
                self.actions.push_back(Action::Bind(resource));
            }
            _ => self.fail("not-authorized", "bind a resource first"),
        }
    }

    fn handle_stanza(&mut self, raw: Bytes, _now: Instant) {
        if self.transport == Transport::WebSocket
            && Element::parse(&raw).is_ok_and(|e| e.is("close", FRAMING))
        {
            return self.close();
        }
        match Stanza::parse_in(raw.clone(), &self.declared) {
            Ok(stanza) => self.admit(stanza),
            Err(StanzaFault::Xml(error)) => self.fail(error.condition(), &error.to_string()),
            Err(StanzaFault::NotAStanza) => self.handle_other(&raw),
            Err(StanzaFault::BadAddress) => self.refuse_address(&raw),
        }
    }

    /// What flows among stanzas and is none: acknowledgements and client state.
    fn handle_other(&mut self, raw: &[u8]) {
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
            _ => self.fail("unsupported-stanza-type", "not a stanza"),
        }
    }

    /// Stamps the sender (RFC 6120 section 8.1.2.1) and answers the legacy session request.
    fn admit(&mut self, mut stanza: Stanza) {
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

    fn refuse_address(&mut self, raw: &[u8]) {
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

    fn send_header(&mut self) {
        self.header_sent = true;
        let id = self.ids.next_id();
        let header = match self.transport {
            Transport::WebSocket => Element::new("open", FRAMING)
                .with_attr("from", self.domain.as_str())
                .with_attr("id", id)
                .with_attr("version", "1.0")
                .with_attr("xml:lang", "en")
                .to_bytes_in(""),
            _ => Bytes::from(format!(
                "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                 xmlns:stream='http://etherx.jabber.org/streams' from='{}' id='{id}' \
                 version='1.0' xml:lang='en'>",
                self.domain
            )),
        };
        self.actions.push_back(Action::Send(header));
    }

    /// Every element of a WebSocket stands for itself, so the prefix is declared there (RFC 7395 section 3.3.3).
    fn send_stream_element(&mut self, element: &Element) {
        let text = self.stream_element(element);
        self.actions.push_back(Action::Send(text.into()));
    }

    fn stream_element(&self, element: &Element) -> String {
        let mut text = String::new();
        element.print(&mut text, ns::CLIENT);
        if self.transport == Transport::WebSocket {
            let declared = format!("<stream:{} xmlns:stream='{}'", element.name(), ns::STREAM);
            text = text.replacen(&format!("<stream:{}", element.name()), &declared, 1);
        }
        text
    }

    /// Says something of the negotiation, or a stanza once bound.
    fn send(&mut self, element: &Element) {
        if matches!(self.state, State::Bound) && element.ns() == ns::CLIENT {
            return self.actions.push_back(Action::Reply(element.to_bytes()));
        }
        self.send_now(element);
    }

    fn send_now(&mut self, element: &Element) {
        let bytes = match self.transport {
            Transport::WebSocket => element.to_bytes_in(""),
            _ => element.to_bytes(),
        };
        self.actions.push_back(Action::Send(bytes));
    }
}

/// Stream ids and nonces: unpredictable, from one random seed.
#[derive(Debug)]
struct Ids {
    seed: [u8; 32],
    count: u64,
}

impl Ids {
    fn next_id(&mut self) -> String {
        use sha2::Digest;
        self.count += 1;
        let digest =
            sha2::Sha256::new().chain_update(self.seed).chain_update(self.count.to_be_bytes());
        let digest = digest.finalize();
        base64::engine::general_purpose::URL_SAFE_NO_PAD
            .encode(digest.get(..18).unwrap_or_default())
    }
}

fn iq_result(id: &str) -> Element {
    Element::new("iq", ns::CLIENT).with_attr("type", "result").with_attr("id", id)
}

/// The prefixes a header declares; those beyond the bound are unknown, as they would grow every stanza that uses them.
fn declarations(header: &[u8]) -> Vec<(String, String)> {
    let first = Tokens::new(header).and_then(|mut tokens| tokens.next_token());
    let Ok(Some(Token::Start { attributes, .. })) = first else { return Vec::new() };
    let mut room = MAX_DECLARED_BYTES;
    Attributes::new(attributes)
        .map_while(Result::ok)
        .filter_map(|(name, ns)| Some((name.strip_prefix("xmlns:")?.to_owned(), ns.into_owned())))
        .filter(|(prefix, _)| !matches!(prefix.as_str(), "stream" | "xml" | "xmlns"))
        .take_while(|(prefix, ns)| {
            let fits = prefix.len() + ns.len() <= room;
            room = room.saturating_sub(prefix.len() + ns.len());
            fits
        })
        .collect()
}

impl From<XmlError> for StanzaError {
    fn from(_: XmlError) -> Self {
        Self::new(Condition::BadRequest)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
#[path = "c2s_tests.rs"]
mod tests;
