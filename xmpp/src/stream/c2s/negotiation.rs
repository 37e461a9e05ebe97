//! How a stream begins: header, features, TLS, and the resource (RFC 6120 sections 4.3, 5 and 7).

use std::time::Instant;

use super::{
    Action, BIND, C2s, LIMITS, PRE_APPROVAL, ROSTER_VERSIONS, SASL, SESSION, Secured, State, TLS,
    Transport, iq_result,
};
use crate::jid::Jid;
use crate::stanza::{Condition, StanzaError};
use crate::stream::header::declarations;
use crate::stream::sasl::Failure;
use crate::stream::{csi, sasl2, sm};
use crate::xml::{Element, ns};

impl C2s {
    /// TLS stands.
    pub fn handle_tls(&mut self, secured: Secured) {
        self.transport = Transport::Tls;
        self.secured = secured;
        self.framer.restart();
        self.state = State::Header;
        self.header_sent = false;
    }

    pub(super) fn handle_header(&mut self, raw: &[u8]) {
        let mut closed = raw.to_vec();
        if let Some(bracket) = closed.pop() {
            closed.push(b'/');
            closed.push(bracket);
        }
        self.declared = declarations(&closed).1;
        match Element::parse(&closed) {
            Ok(header) => self.open(&header, header.is("stream", ns::STREAM)),
            Err(error) => self.fail(error.condition(), "bad stream header"),
        }
    }

    pub(super) fn open(&mut self, header: &Element, named_right: bool) {
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

    pub(super) fn features(&self) -> Element {
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

    pub(super) fn handle_negotiation(&mut self, element: &Element) {
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

    pub(super) fn handle_bind(&mut self, iq: &Element) {
        let id = iq.attr("id").unwrap_or_default().to_owned();
        match iq.child("bind", BIND) {
            Some(bind) if iq.attr("type") == Some("set") => {
                let resource =
                    bind.child("resource", BIND).map(Element::text).filter(|r| !r.is_empty());
                let is_none = self.account.as_ref().zip(resource.as_ref());
                let is_none = is_none.is_some_and(|(a, r)| a.with_resource(r).is_err());
                self.state = State::Binding(id);
                if is_none {
                    return self.refuse_bind(&StanzaError::new(Condition::BadRequest));
                }
                self.actions.push_back(Action::Bind(resource));
            }
            _ => self.fail("not-authorized", "bind a resource first"),
        }
    }

    /// The resource cannot be had; the client may ask for another (RFC 6120 sections 7.6.2.1 and 7.7.2.1).
    pub fn refuse_bind(&mut self, error: &StanzaError) {
        let State::Binding(id) = std::mem::replace(&mut self.state, State::Features) else {
            return;
        };
        let reply = Element::new("iq", ns::CLIENT)
            .with_attr("type", "error")
            .with_attr("id", id)
            .with_child(error.to_element());
        self.send_now(&reply);
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
        self.drain();
    }
}
