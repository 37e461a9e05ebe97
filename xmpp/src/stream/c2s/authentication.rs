//! How a stream logs its client in: the features, the login, and what follows from it (RFC 6120 section 6, XEP-0388).

use std::time::Instant;

use super::{Action, C2s, LIMITS, State, Transport};
use crate::jid::Jid;
use crate::stream::bind2;
use crate::stream::login::{Login, Outcome, SASL, Scene, Turn};
use crate::stream::question::Answer;
use crate::stream::sasl::{Failure, Offer};
use crate::stream::sasl2;
use crate::stream::sm::{self, Resume, Resumption};
use crate::xml::frame::Framer;
use crate::xml::{Element, ns};

const SASL_CB: &str = "urn:xmpp:sasl-cb:0";

impl C2s {
    /// What is offered on this connection.
    fn offer(&self) -> Offer {
        let secured = &self.secured;
        let certified = secured.identities.iter().any(|jid| jid.domain() == self.domain);
        Offer::new(self.policy, &secured.bindings, certified)
    }

    /// The features of a stream that is secured and has nobody logged in: both profiles of SASL and the types of channel
    /// binding (XEP-0440).
    pub(super) fn login_features(&self) -> Element {
        let offer = self.offer();
        let names = offer.mechanisms.iter();
        let mechanisms = names.map(|name| Element::new("mechanism", SASL).with_text(name));
        let limits = Element::new("max-bytes", LIMITS)
            .with_text(self.limits.unauthenticated_bytes.to_string());
        let mut features = Element::new("features", ns::STREAM)
            .with_child(Element::new("mechanisms", SASL).with_children(mechanisms))
            .with_child(sasl2::feature(&offer, &self.secured.bindings));
        if !offer.bindings.is_empty() {
            let types = offer
                .bindings
                .iter()
                .map(|name| Element::new("channel-binding", SASL_CB).with_attr("type", *name));
            features.push(Element::new("sasl-channel-binding", SASL_CB).with_children(types));
        }
        features
            .with_children(self.registers.features())
            .with_child(Element::new("limits", LIMITS).with_child(limits))
    }

    /// `<auth/>` or `<authenticate/>`.
    pub(super) fn begin_login(&mut self, element: &Element) {
        let scene = Scene {
            domain: self.domain.clone(),
            from: self.from.clone(),
            bindings: self.secured.bindings.clone(),
            identities: self.secured.identities.clone(),
            offer: self.offer(),
            nonce: self.ids.next_id(),
        };
        match Login::begin(element, scene) {
            Ok((login, turn)) => self.turn(Box::new(login), turn),
            Err(failure) => self.login_failed(element.ns(), failure),
        }
    }

    pub(super) fn continue_login(&mut self, mut login: Box<Login>, element: &Element) {
        let turn = login.handle_element(element);
        self.turn(login, turn);
    }

    /// What a question of [`Action::Ask`] has come to. The time it took is not the client's: its own begins anew, as
    /// often as the few logins of a stream have questions.
    pub fn handle_answer(&mut self, answer: Answer, now: Instant) {
        match std::mem::replace(&mut self.state, State::Features) {
            State::Waiting(mut login) => {
                self.deadline = Some(now + self.limits.unauthenticated_time);
                let turn = login.handle_answer(answer);
                self.turn(login, turn);
            }
            other => self.state = other,
        }
        self.drain();
    }

    fn turn(&mut self, login: Box<Login>, turn: Turn) {
        match turn {
            Turn::Say(element) => {
                self.state = State::Authenticating(login);
                self.send(&element);
            }
            Turn::Ask(question) => {
                self.state = State::Waiting(login);
                self.actions.push_back(Action::Ask(Box::new(question)));
            }
            Turn::Failed(failure) => self.login_failed(login.ns(), failure),
            Turn::Misplaced => self.fail("not-authorized", "log in first"),
            Turn::Done(outcome) => self.logged_in(outcome),
        }
    }

    pub(super) fn login_failed(&mut self, ns: &str, failure: Failure) {
        if failure == Failure::NotAuthorized {
            self.actions.push_back(Action::LoggedIn(false));
        }
        self.state = State::Features;
        self.send(&Login::failure(ns, failure));
        self.failures += 1;
        if self.failures >= self.limits.login_failures {
            self.fail("policy-violation", "too many failed logins");
        }
    }

    fn logged_in(&mut self, outcome: Box<Outcome>) {
        self.account = Some(outcome.account.clone());
        self.actions.push_back(Action::LoggedIn(true));
        let Some(request) = &outcome.request else { return self.restart(&outcome.success) };
        // No new stream begins: what the client has sent since counts (XEP-0388 section 2.6.1).
        self.framer.set_max_bytes(self.limits.stanza_bytes);
        // To resume comes first, and if it works there is nothing to bind (XEP-0386 section 3.2, XEP-0198 section 9.2).
        match request.resume.as_ref().map(Resume::from_element) {
            None => self.bind_inline(outcome, None),
            Some(None) => self.bind_inline(outcome, Some(sm::failed("bad-request", None))),
            Some(Some(resume)) => {
                self.state = State::ResumingInline(resume.previd.clone(), outcome);
                self.actions.push_back(Action::Resume(resume));
            }
        }
    }

    /// How a resumption that came with the login has ended.
    pub(super) fn resumed_inline(
        &mut self,
        previd: &str,
        outcome: Box<Outcome>,
        resumption: Resumption,
        now: Instant,
    ) {
        match resumption {
            Resumption::Resumed { jid, h } => {
                let resumed = sm::resumed(previd, h);
                let success = success(*outcome, Some(&jid), [resumed]);
                self.send_now(&success);
                self.carry_on(jid, now);
            }
            Resumption::Unknown { h } => {
                self.bind_inline(outcome, Some(sm::failed("item-not-found", h)));
            }
            Resumption::TooHigh(error) => self.fail_too_high(error),
        }
    }

    /// Binds, where that was asked for; `failed` tells of a session that could not be resumed.
    fn bind_inline(&mut self, mut outcome: Box<Outcome>, failed: Option<Element>) {
        outcome.failed = failed;
        let bind = outcome.request.as_ref().and_then(|r| Some((r.bind.clone()?, r.device.clone())));
        match bind {
            Some((bind, device)) => {
                self.state = State::BindingInline(outcome);
                self.actions.push_back(Action::BindInline { bind, device });
            }
            None => {
                self.state = State::Features;
                self.send_success(*outcome, None, None);
            }
        }
    }

    /// A new stream begins (RFC 6120 section 6.4.6).
    fn restart(&mut self, success: &Element) {
        self.send(success);
        self.state = State::Header;
        self.header_sent = false;
        if self.transport == Transport::WebSocket {
            self.framer = Framer::without_header(self.limits.stanza_bytes);
        } else {
            self.framer.restart();
            self.framer.set_max_bytes(self.limits.stanza_bytes);
        }
    }

    /// The resource of [`Action::BindInline`] is registered; `parts` tell what else the session begins with, as the
    /// state of its archive (XEP-0386 section 3.2).
    pub fn handle_bound_inline(&mut self, jid: Jid, mut parts: Vec<Element>, now: Instant) {
        match std::mem::replace(&mut self.state, State::Bound) {
            State::BindingInline(outcome) => {
                self.jid = Some(jid.clone());
                self.deadline = Some(now + self.limits.idle);
                let wanted = outcome.request.as_ref().and_then(|request| request.bind.clone());
                let wanted = wanted.unwrap_or_default();
                parts.extend(wanted.enable.map(|enable| self.manage(enable)));
                if wanted.inactive {
                    self.actions.push_back(Action::Active(false));
                }
                self.send_success(*outcome, Some(&jid), Some(bind2::bound(parts)));
            }
            other => self.state = other,
        }
        self.drain();
    }

    fn send_success(&mut self, outcome: Outcome, jid: Option<&Jid>, bound: Option<Element>) {
        self.send_now(&success(outcome, jid, bound));
        let features = self.features();
        self.send_stream_element(&features);
    }
}

/// XEP-0388 section 2.6.1: the success names who the client is now.
fn success(
    outcome: Outcome,
    jid: Option<&Jid>,
    parts: impl IntoIterator<Item = Element>,
) -> Element {
    let name = jid.unwrap_or(&outcome.account);
    let name = Element::new("authorization-identifier", sasl2::NS).with_text(name.as_str());
    outcome
        .success
        .with_child(name)
        .with_children(outcome.failed)
        .with_children(parts)
        .with_children(outcome.token)
}
