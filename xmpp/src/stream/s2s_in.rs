//! A stream that another server opens to us (RFC 6120, XEP-0220, XEP-0178): header, STARTTLS, SASL EXTERNAL or dialback
//! for any number of domain pairs, stanzas of those pairs and of no others.
//!
//! Feed [`S2sIn::handle_bytes`], answer [`Action::Verify`] by [`S2sIn::handle_verified`], drain [`S2sIn::poll_action`]
//! after each call and call [`S2sIn::handle_timeout`] when [`S2sIn::poll_timeout`] is due. Over direct TLS (XEP-0368)
//! call [`S2sIn::handle_tls`] first.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use super::c2s::Limits;
use super::dialback::{self, DIALBACK, FEATURE, Rest};
use super::flood::Flood;
use super::header::{Header, Ids, prepared, stream_error};
use super::names::Names;
use crate::jid::Jid;
use crate::stanza::{Condition, Kind, Stanza, StanzaError, StanzaFault};
use crate::xml::frame::{Frame, Framer};
use crate::xml::{Element, ns, rescope};

const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const LIMITS: &str = "urn:xmpp:stream-limits:0";
/// Time until a first domain pair must be authenticated: the look back at the other server takes some.
const NEGOTIATION: Duration = Duration::from_secs(60);
/// Most domain pairs of one stream, and most that are being verified at once.
const MAX_PAIRS: usize = 64;
const MAX_VERIFYING: usize = 16;
/// Most refused attempts to authenticate.
const MAX_REFUSED: u32 = 5;

/// A question about a domain.
pub type Ask = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// What the stream is held to.
#[derive(Clone)]
pub struct Rules {
    /// Whether we serve this domain.
    pub serves: Ask,
    /// Whether this domain may talk to us.
    pub admits: Ask,
    /// Secret of our dialback keys; the same on all streams of this server.
    pub secret: [u8; 32],
    /// Bounds of what is read.
    pub limits: Limits,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// A key to be shown to the server that its sender says to be (XEP-0220 section 2.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The domain to be proven.
    pub from: String,
    /// Ours.
    pub to: String,
    /// The stream the key was given on.
    pub id: String,
    /// The key.
    pub key: String,
}

/// What the other server says about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is theirs.
    Valid,
    /// It is not.
    Invalid,
    /// It could not be asked.
    Unreachable,
}

/// What the driver must do.
#[derive(Debug)]
pub enum Action {
    /// Write this.
    Send(Bytes),
    /// Start TLS as the server, asking for a certificate, then call [`S2sIn::handle_tls`].
    StartTls,
    /// Ask the authoritative server, then call [`S2sIn::handle_verified`].
    Verify(Verification),
    /// This domain (the first) is who it says, and may send to ours (the second).
    Authenticated {
        /// Theirs.
        from: String,
        /// Ours.
        to: String,
        /// How: `external`, `certificate` or `dialback`.
        by: &'static str,
    },
    /// Route this.
    Stanza(Box<Stanza>),
    /// Write what is queued, then close.
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Open,
    Securing,
    Closed,
}

/// One stream.
#[derive(Debug)]
pub struct S2sIn {
    state: State,
    rules: Rules,
    framer: Framer,
    declared: Vec<(String, String)>,
    is_secure: bool,
    /// What the certificate of the other server proves.
    names: Names,
    ids: Ids,
    stream_id: String,
    header_sent: bool,
    from: Option<String>,
    to: Option<String>,
    pairs: Vec<(String, String)>,
    verifying: Vec<(String, String)>,
    refused: u32,
    flood: Flood,
    deadline: Option<Instant>,
    actions: VecDeque<Action>,
}

impl S2sIn {
    /// A stream that has just been opened. `seed` is random and unique.
    pub fn new(rules: Rules, seed: [u8; 32], now: Instant) -> Self {
        Self {
            state: State::Header,
            framer: Framer::new(rules.limits.unauthenticated_bytes),
            rules,
            declared: Vec::new(),
            is_secure: false,
            names: Names::default(),
            ids: Ids::new(seed),
            stream_id: String::new(),
            header_sent: false,
            from: None,
            to: None,
            pairs: Vec::new(),
            verifying: Vec::new(),
            refused: 0,
            flood: Flood::default(),
            deadline: Some(now + NEGOTIATION),
            actions: VecDeque::new(),
        }
    }

    /// TLS stands; `names` are those of the other server's certificate where its chain is valid.
    pub fn handle_tls(&mut self, names: Names) {
        self.is_secure = true;
        self.names = names;
        self.restart();
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next deadline.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// The domain the stream says it is from.
    pub fn from(&self) -> Option<&str> {
        self.from.as_deref()
    }

    /// Takes bytes.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        if self.state == State::Closed {
            return;
        }
        if self.state == State::Securing {
            // RFC 6120 section 5.4.3.3: an injection.
            return self.fail("policy-violation", "data before TLS");
        }
        if !self.pairs.is_empty() {
            self.deadline = Some(now + self.rules.limits.idle);
        }
        self.framer.push(bytes);
        while !matches!(self.state, State::Closed | State::Securing) {
            match self.framer.poll() {
                Ok(Some(Frame::Header(raw))) => self.handle_header(&raw),
                Ok(Some(Frame::Stanza(raw))) => self.handle_part(&raw, now),
                Ok(Some(Frame::End)) => self.close(),
                Ok(None) => return,
                Err(error) => return self.fail(error.condition(), &error.to_string()),
            }
        }
    }

    /// The answer to [`Action::Verify`].
    pub fn handle_verified(&mut self, asked: &Verification, verdict: Verdict, now: Instant) {
        let pair = (asked.from.clone(), asked.to.clone());
        let known = self.verifying.iter().position(|p| *p == pair);
        let Some(at) = known.filter(|_| asked.id == self.stream_id && self.state == State::Open)
        else {
            return;
        };
        self.verifying.swap_remove(at);
        match verdict {
            Verdict::Valid => {
                self.admit(pair, "dialback", now);
                self.answer(asked, &Rest::Type("valid"));
            }
            Verdict::Invalid => {
                self.answer(asked, &Rest::Type("invalid"));
                // Section 2.2.1: with other pairs it may only be misconfigured.
                if self.pairs.is_empty() {
                    self.close();
                }
            }
            Verdict::Unreachable => {
                self.answer(asked, &Rest::Error(StanzaError::new(Condition::RemoteServerTimeout)));
            }
        }
    }

    /// Acts on a deadline that `now` has reached.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_none_or(|at| now < at) {
            return;
        }
        if self.pairs.is_empty() {
            return self.fail("connection-timeout", "no domain was authenticated");
        }
        // White space: TCP tells when nobody is there any more (RFC 6120 section 4.6.1).
        self.deadline = Some(now + self.rules.limits.idle);
        self.send(" ");
    }

    /// Ends the stream with an error.
    pub fn fail(&mut self, condition: &str, text: &str) {
        if self.state == State::Closed {
            return;
        }
        if !self.header_sent {
            self.send_header();
        }
        self.send_stream_element(&stream_error(condition, text));
        self.close();
    }

    fn close(&mut self) {
        self.send("</stream:stream>");
        self.actions.push_back(Action::Close);
        self.state = State::Closed;
        self.deadline = None;
    }

    fn restart(&mut self) {
        self.framer.restart();
        self.state = State::Header;
        self.header_sent = false;
    }

    fn send(&mut self, text: impl Into<Bytes>) {
        self.actions.push_back(Action::Send(text.into()));
    }

    fn send_stream_element(&mut self, element: &Element) {
        let mut out = String::new();
        element.print(&mut out, ns::SERVER);
        self.send(out);
    }

    fn handle_header(&mut self, raw: &[u8]) {
        let header = match Header::parse(raw) {
            Ok(header) => header,
            Err(error) => return self.fail(error.condition(), "bad stream header"),
        };
        let served = header.to.clone().flatten().filter(|to| (self.rules.serves)(to));
        self.to.clone_from(&served);
        self.from = header.from.clone().flatten();
        self.send_header();
        if !header.is_stream || header.content != ns::SERVER {
            return self.fail("invalid-namespace", "a server's stream is expected here");
        }
        if served.is_none() {
            return self.fail("host-unknown", "no such domain here");
        }
        if header.from == Some(None) {
            return self.fail("invalid-from", "no domain");
        }
        if self.from.as_ref().is_some_and(|from| !self.admits(from)) {
            return self.fail("policy-violation", "not with this domain");
        }
        self.declared = header.declared;
        self.state = State::Open;
        if header.is_xmpp_1 {
            let features = self.features();
            self.send_stream_element(&features);
        }
    }

    /// Whether another domain may talk to us. Our own are nobody else's.
    fn admits(&self, domain: &str) -> bool {
        (self.rules.admits)(domain) && !(self.rules.serves)(domain)
    }

    fn send_header(&mut self) {
        self.header_sent = true;
        self.stream_id = self.ids.next_id();
        let mut header = String::from(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
             xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback'",
        );
        for (name, value) in [("from", &self.to), ("to", &self.from)] {
            if let Some(value) = value {
                header.push_str(&format!(" {name}='"));
                crate::xml::escape(&mut header, value);
                header.push('\'');
            }
        }
        header.push_str(&format!(" id='{}' version='1.0' xml:lang='en'>", self.stream_id));
        self.send(header);
    }

    fn features(&self) -> Element {
        let features = Element::new("features", ns::STREAM);
        if !self.is_secure {
            let required = Element::new("required", TLS);
            return features.with_child(Element::new("starttls", TLS).with_child(required));
        }
        let external = Element::new("mechanisms", SASL)
            .with_child(Element::new("mechanism", SASL).with_text("EXTERNAL"));
        let may_external =
            self.pairs.is_empty() && self.from.as_ref().is_some_and(|from| self.is_proven(from));
        let bytes = self.rules.limits.stanza_bytes.to_string();
        features
            .with_children(may_external.then_some(external))
            .with_child(
                Element::new("dialback", FEATURE).with_child(Element::new("errors", FEATURE)),
            )
            .with_child(
                Element::new("limits", LIMITS)
                    .with_child(Element::new("max-bytes", LIMITS).with_text(bytes)),
            )
    }

    /// Whether the certificate speaks for this domain.
    fn is_proven(&self, domain: &str) -> bool {
        let jid = Jid::new(None, domain, None).ok();
        jid.and_then(|jid| jid.domain_ascii()).is_some_and(|ascii| self.names.cover(&ascii))
    }

    fn handle_part(&mut self, raw: &Bytes, now: Instant) {
        let raw = rescope(raw, ns::SERVER, ns::CLIENT);
        // Whatever is no stanza is small and rare.
        match Stanza::parse_in(raw.clone(), &self.declared) {
            Ok(stanza) => self.handle_stanza(stanza, now),
            Err(StanzaFault::Xml(error)) => self.fail(error.condition(), &error.to_string()),
            Err(StanzaFault::BadAddress) => self.refuse_address(&raw),
            Err(StanzaFault::NotAStanza) => match Element::parse_in(&raw, &self.declared) {
                Ok(element) => self.handle_element(&element, now),
                Err(error) => self.fail(error.condition(), &error.to_string()),
            },
        }
    }

    fn handle_element(&mut self, element: &Element, now: Instant) {
        match (element.name(), element.ns()) {
            ("starttls", TLS) if !self.is_secure => self.start_tls(),
            ("auth", SASL) if self.is_secure && self.pairs.is_empty() => {
                self.external(element, now)
            }
            ("verify", DIALBACK) => self.answer_verify(element),
            ("result", DIALBACK) if self.is_secure => self.handle_result(element, now),
            ("result", DIALBACK) => self.fail("policy-violation", "TLS comes first"),
            ("error", ns::STREAM) => self.close(),
            _ if self.pairs.is_empty() => self.fail("not-authorized", "authenticate first"),
            _ => self.fail("unsupported-stanza-type", "not a stanza"),
        }
    }

    fn start_tls(&mut self) {
        if !self.framer.is_empty() {
            return self.fail("policy-violation", "data before TLS");
        }
        self.send(Element::new("proceed", TLS).to_bytes_in(ns::SERVER));
        self.state = State::Securing;
        self.actions.push_back(Action::StartTls);
    }

    /// SASL EXTERNAL (XEP-0178 section 3): the authorization identity, or else the stream's `from`.
    fn external(&mut self, auth: &Element, now: Instant) {
        if auth.attr("mechanism") != Some("EXTERNAL") {
            return self.sasl_failure("invalid-mechanism");
        }
        let text = auth.text();
        let given = match text.trim() {
            "" | "=" => self.from.clone(),
            text => BASE64
                .decode(text)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .and_then(|domain| prepared(&domain)),
        };
        let Some(from) = given else { return self.sasl_failure("invalid-authzid") };
        // With a `from` on the header the two must be one (RFC 6120 section 4.7.1, XEP-0178 section 3).
        let is_other = self.from.as_ref().is_some_and(|header| *header != from);
        if is_other || !self.is_proven(&from) || !self.admits(&from) {
            return self.sasl_failure("not-authorized");
        }
        let Some(to) = self.to.clone() else { return self.sasl_failure("not-authorized") };
        self.admit((from, to), "external", now);
        self.send(Element::new("success", SASL).to_bytes_in(ns::SERVER));
        self.restart();
    }

    fn sasl_failure(&mut self, condition: &str) {
        let failure = Element::new("failure", SASL).with_child(Element::new(condition, SASL));
        self.send(failure.to_bytes_in(ns::SERVER));
        self.note_refused();
    }

    fn note_refused(&mut self) {
        self.refused += 1;
        if self.refused >= MAX_REFUSED && self.pairs.is_empty() {
            self.fail("policy-violation", "too many attempts");
        }
    }

    fn admit(&mut self, pair: (String, String), by: &'static str, now: Instant) {
        self.framer.set_max_bytes(self.rules.limits.stanza_bytes);
        self.deadline = Some(now + self.rules.limits.idle);
        let (from, to) = pair.clone();
        self.actions.push_back(Action::Authenticated { from, to, by });
        if !self.pairs.contains(&pair) {
            self.pairs.push(pair);
        }
    }

    /// We are the authority for the keys that we gave out (XEP-0220 section 2.2.2).
    fn answer_verify(&mut self, verify: &Element) {
        let Some((from, to)) = dialback::pair(verify) else {
            return self.fail("improper-addressing", "both domains are needed");
        };
        let id = verify.attr("id").unwrap_or_default();
        let rest = if !(self.rules.serves)(&to) {
            Rest::Error(StanzaError::new(Condition::ItemNotFound))
        } else if dialback::is_same(
            &dialback::key(&self.rules.secret, &from, &to, id),
            &verify.text(),
        ) {
            Rest::Type("valid")
        } else {
            Rest::Type("invalid")
        };
        let answer = dialback::print("verify", &to, &from, Some(id), &rest);
        self.send(answer);
    }

    fn answer(&mut self, asked: &Verification, rest: &Rest<'_>) {
        let answer = dialback::print("result", &asked.to, &asked.from, None, rest);
        self.send(answer);
    }

    /// A key is given to us (XEP-0220 section 2.2.1). What a certificate proves needs no look back.
    fn handle_result(&mut self, result: &Element, now: Instant) {
        let Some((from, to)) = dialback::pair(result) else {
            return self.fail("improper-addressing", "both domains are needed");
        };
        let (id, key) = (self.stream_id.clone(), result.text().trim().to_owned());
        let asked = Verification { from, to, id, key };
        let refused = if !(self.rules.serves)(&asked.to) {
            Some(Condition::ItemNotFound)
        } else if !self.admits(&asked.from) {
            Some(Condition::NotAllowed)
        } else if self.pairs.len() >= MAX_PAIRS || self.verifying.len() >= MAX_VERIFYING {
            Some(Condition::ResourceConstraint)
        } else {
            None
        };
        if let Some(condition) = refused {
            self.answer(&asked, &Rest::Error(StanzaError::new(condition)));
            return self.note_refused();
        }
        let pair = (asked.from.clone(), asked.to.clone());
        if self.is_proven(&asked.from) {
            self.admit(pair, "certificate", now);
            return self.answer(&asked, &Rest::Type("valid"));
        }
        if !self.verifying.contains(&pair) {
            self.verifying.push(pair);
            self.actions.push_back(Action::Verify(asked));
        }
    }

    /// Both addresses are needed and belong to an authenticated pair (RFC 6120 sections 4.9.3.7 and 4.9.3.9).
    fn handle_stanza(&mut self, stanza: Stanza, now: Instant) {
        if self.pairs.is_empty() {
            return self.fail("not-authorized", "authenticate first");
        }
        let (Some(from), Some(to)) = (stanza.from(), stanza.to()) else {
            return self.fail("improper-addressing", "both addresses are needed");
        };
        let is_pair = |pair: &(String, String)| pair.0 == from.domain() && pair.1 == to.domain();
        if !self.pairs.iter().any(is_pair) {
            if !(self.rules.serves)(to.domain()) {
                return self.fail("host-unknown", "no such domain here");
            }
            return self.fail("invalid-from", "that domain is not authenticated");
        }
        let is_flood = stanza.kind() == Kind::Presence
            && matches!(stanza.type_(), None | Some("unavailable" | "probe"))
            && !self.flood.admits(from.as_bare_str(), now);
        if !is_flood {
            self.actions.push_back(Action::Stanza(Box::new(stanza)));
        }
    }

    /// An address is none: the sender's ends the stream, the addressee's costs the stanza.
    fn refuse_address(&mut self, raw: &[u8]) {
        if self.pairs.is_empty() {
            return self.fail("not-authorized", "authenticate first");
        }
        let Ok(element) = Element::parse_in(raw, &self.declared) else { return };
        let from = element.attr("from").map(Jid::parse);
        let Some(Ok(from)) = from else {
            return self.fail("improper-addressing", "the sender is no address");
        };
        if !self.pairs.iter().any(|(theirs, _)| theirs == from.domain()) {
            self.fail("invalid-from", "that domain is not authenticated");
        }
        // Otherwise the stanza alone is refused; it has no addressee who could answer.
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
#[path = "s2s_in_tests.rs"]
mod tests;
