//! One login from its first element to its outcome, by either profile of SASL: RFC 6120 section 6, XEP-0388.
//!
//! A machine: [`Login::begin`], then [`Login::handle_element`] for what the client sends and [`Login::handle_answer`]
//! for what the driver found out, until the turn is `Done` or `Failed`.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::binding::Bindings;
use super::ht::{IssuedToken, TokenMechanism};
use super::question::{Answer, Question};
use super::sasl::{
    Attempt, Context, Failure, LoginKeys, Mechanism, Offer, ScramHash, ScramKeys, Step, Success,
};
use super::sasl2::{self, Request};
use crate::jid::Jid;
use crate::xml::Element;

/// The profile of RFC 6120.
pub(super) const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";

/// What a login knows of its stream.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) domain: String,
    pub(super) from: Option<Jid>,
    pub(super) bindings: Bindings,
    pub(super) identities: Vec<Jid>,
    pub(super) offer: Offer,
    /// Random and new.
    pub(super) nonce: String,
}

/// What happens next.
#[derive(Debug)]
pub(super) enum Turn {
    /// Send this and wait for the client.
    Say(Element),
    /// Find this out.
    Ask(Question),
    /// It is them.
    Done(Box<Outcome>),
    /// It is over.
    Failed(Failure),
    /// The client says something that has no place here; the stream ends.
    Misplaced,
}

/// A login that has succeeded.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) account: Jid,
    /// The success, without what follows from binding.
    pub(super) success: Element,
    /// What else was asked for; `None` in the profile of RFC 6120.
    pub(super) request: Option<Request>,
    /// The token for the next login, as part of the success.
    pub(super) token: Option<Element>,
    /// Why no session was resumed, where that was asked for.
    pub(super) failed: Option<Element>,
}

#[derive(Debug)]
enum Stage {
    /// The mechanism runs.
    Mechanism,
    /// A task was offered, in `<continue/>`.
    Offered(ScramHash),
    /// The salt is out.
    Salted(ScramHash),
    /// The keys are being stored.
    Storing,
    /// A token is being made.
    Issuing,
}

/// A login under way.
#[derive(Debug)]
pub(super) struct Login {
    scene: Scene,
    offered: String,
    /// `None` in the profile of RFC 6120.
    request: Option<Request>,
    attempt: Attempt,
    stage: Stage,
    /// Once the mechanism has succeeded.
    proved: Option<Box<Success>>,
    tasks: VecDeque<ScramHash>,
}

impl Login {
    /// Begins with `<auth/>` (RFC 6120 section 6.4.2) or `<authenticate/>` (XEP-0388 section 2.3).
    ///
    /// # Errors
    ///
    /// The [`Failure`] to send, when nothing has begun.
    pub(super) fn begin(element: &Element, scene: Scene) -> Result<(Self, Turn), Failure> {
        let is_sasl2 = element.ns() == sasl2::NS;
        let request = is_sasl2.then(|| Request::from_element(element));
        let name = element.attr("mechanism").ok_or(Failure::InvalidMechanism)?;
        let mechanism = Mechanism::parse(name).ok_or(Failure::InvalidMechanism)?;
        match (mechanism, &request) {
            // A token goes with FAST only, and says so (XEP-0484 section 3.4).
            (Mechanism::Token(token), Some(request)) if token.data(&scene.bindings).is_some() => {
                request.fast.as_ref().ok_or(Failure::MalformedRequest)?;
            }
            _ if scene.offer.mechanisms.contains(&name) => {}
            _ => return Err(Failure::InvalidMechanism),
        }
        let message = if is_sasl2 {
            element.child("initial-response", sasl2::NS).map(Element::text)
        } else {
            Some(element.text()).filter(|text| !text.trim().is_empty())
        };
        let message = message.map(|text| decode(&text)).transpose()?;
        let offered = scene.offer.joined();
        let context = context(&scene, &offered, request.as_ref());
        let (attempt, step) = Attempt::start(mechanism, message.as_deref(), &context);
        let stage = Stage::Mechanism;
        let tasks = VecDeque::new();
        let mut login = Self { scene, offered, request, attempt, stage, proved: None, tasks };
        let turn = login.step(step);
        Ok((login, turn))
    }

    /// What the client sends meanwhile.
    pub(super) fn handle_element(&mut self, element: &Element) -> Turn {
        if element.ns() != self.ns() {
            return Turn::Misplaced;
        }
        if element.name() == "abort" {
            return Turn::Failed(Failure::Aborted);
        }
        match (element.name(), &self.stage) {
            ("response", Stage::Mechanism) => match decode(&element.text()) {
                Ok(message) => {
                    let context = context(&self.scene, &self.offered, self.request.as_ref());
                    let step = self.attempt.handle_response(&message, &context);
                    self.step(step)
                }
                Err(failure) => Turn::Failed(failure),
            },
            ("next", Stage::Offered(hash)) => self.begin_task(element, *hash),
            ("task-data", Stage::Salted(hash)) => self.finish_task(element, *hash),
            _ => Turn::Misplaced,
        }
    }

    /// What the driver has found out.
    pub(super) fn handle_answer(&mut self, answer: Answer) -> Turn {
        match (&self.stage, answer) {
            (Stage::Mechanism, answer) => {
                let context = context(&self.scene, &self.offered, self.request.as_ref());
                let step = self.attempt.handle_answer(answer, &context);
                self.step(step)
            }
            (Stage::Storing, Answer::Upgraded) => self.advance(),
            (Stage::Issuing, Answer::Issued(token)) => self.done(Some(&token)),
            // Without a token for the next time it is a login all the same.
            (Stage::Issuing, _) => self.done(None),
            _ => Turn::Failed(Failure::TemporaryAuthFailure),
        }
    }

    /// The element for a failure (RFC 6120 section 6.5, XEP-0388 section 2.6.2).
    pub(super) fn failure(ns: &str, failure: Failure) -> Element {
        Element::new("failure", ns).with_child(Element::new(failure.name(), SASL))
    }

    /// The namespace of the profile.
    pub(super) fn ns(&self) -> &'static str {
        if self.request.is_some() { sasl2::NS } else { SASL }
    }

    fn step(&mut self, step: Step) -> Turn {
        match step {
            Step::Ask(question) => Turn::Ask(question),
            Step::Failed(failure) => Turn::Failed(failure),
            Step::Challenge(data) => {
                Turn::Say(Element::new("challenge", self.ns()).with_text(BASE64.encode(data)))
            }
            Step::Success(success) => {
                if let (Some(request), Some(keys)) = (&self.request, &success.keys) {
                    let lacking = request.upgrades.iter().filter(|hash| keys.lacks(**hash));
                    self.tasks = lacking.copied().collect();
                }
                self.proved = Some(success);
                self.advance()
            }
        }
    }

    /// After the mechanism, and after each task: the next task, the token, or the end.
    fn advance(&mut self) -> Turn {
        if let Some(hash) = self.tasks.pop_front() {
            self.stage = Stage::Offered(hash);
            let task = Element::new("task", sasl2::NS).with_text(sasl2::task(hash));
            let tasks = Element::new("tasks", sasl2::NS).with_child(task);
            let next = Element::new("continue", sasl2::NS).with_children(self.additional_data());
            return Turn::Say(next.with_child(tasks));
        }
        match self.token_to_issue() {
            Some(question) => {
                self.stage = Stage::Issuing;
                Turn::Ask(question)
            }
            None => self.done(None),
        }
    }

    /// The mechanism's last data, once: with the first task or with the success.
    fn additional_data(&mut self) -> Option<Element> {
        let data = self.proved.as_mut().and_then(|proved| proved.data.take())?;
        Some(Element::new("additional-data", sasl2::NS).with_text(BASE64.encode(data)))
    }

    /// A token that was asked for, or that is to replace the one that was used (XEP-0484 sections 3.2 and 3.5).
    fn token_to_issue(&self) -> Option<Question> {
        let (request, proved) = (self.request.as_ref()?, self.proved.as_ref()?);
        let is_offered = |m: &TokenMechanism| m.data(&self.scene.bindings).is_some();
        let keeps = request.fast.as_ref().is_none_or(|fast| !fast.invalidate);
        let due = proved.token.as_ref().filter(|token| token.due && keeps);
        let mechanism =
            request.wants_token.filter(is_offered).or(due.map(|token| token.mechanism))?;
        let device = request.device.clone()?;
        Some(Question::IssueToken { account: proved.account.clone(), device, mechanism })
    }

    fn done(&mut self, token: Option<&IssuedToken>) -> Turn {
        let success = match &self.request {
            Some(_) => Element::new("success", sasl2::NS).with_children(self.additional_data()),
            None => {
                let data = self.proved.as_mut().and_then(|proved| proved.data.take());
                let text = data.map(|data| BASE64.encode(data)).unwrap_or_default();
                Element::new("success", SASL).with_text(text)
            }
        };
        let Some(proved) = self.proved.take() else {
            return Turn::Failed(Failure::TemporaryAuthFailure);
        };
        let token = token.map(|issued| {
            Element::new("token", sasl2::FAST)
                .with_attr("expiry", issued.expiry.as_str())
                .with_attr("token", issued.token.as_str())
        });
        let request = self.request.take();
        let account = proved.account;
        Turn::Done(Box::new(Outcome { account, success, request, token, failed: None }))
    }

    /// XEP-0480 section 3: the salt and the rounds the client derives with.
    fn begin_task(&mut self, next: &Element, hash: ScramHash) -> Turn {
        if next.attr("task") != Some(sasl2::task(hash)) {
            return Turn::Failed(Failure::MalformedRequest);
        }
        let Some((salt, iterations)) = self.keys().map(LoginKeys::salt) else {
            return Turn::Failed(Failure::TemporaryAuthFailure);
        };
        self.stage = Stage::Salted(hash);
        let salt = Element::new("salt", sasl2::SCRAM_UPGRADE)
            .with_attr("iterations", iterations.to_string())
            .with_text(BASE64.encode(salt));
        Turn::Say(Element::new("task-data", sasl2::NS).with_child(salt))
    }

    fn finish_task(&mut self, data: &Element, hash: ScramHash) -> Turn {
        let salted = data.child("hash", sasl2::SCRAM_UPGRADE).map(|e| decode(&e.text()));
        let salted = match salted {
            Some(Ok(salted)) if salted.len() == hash.length() => salted,
            Some(Err(failure)) => return Turn::Failed(failure),
            _ => return Turn::Failed(Failure::MalformedRequest),
        };
        let (Some((salt, iterations)), Some(proved)) =
            (self.keys().map(LoginKeys::salt), &self.proved)
        else {
            return Turn::Failed(Failure::TemporaryAuthFailure);
        };
        let keys = ScramKeys::from_salted(hash, &salted, &salt, iterations);
        let account = proved.account.clone();
        self.stage = Stage::Storing;
        Turn::Ask(Question::Upgrade { account, hash, keys })
    }

    fn keys(&self) -> Option<&LoginKeys> {
        self.proved.as_ref()?.keys.as_ref()
    }
}

fn context<'a>(scene: &'a Scene, offered: &'a str, request: Option<&'a Request>) -> Context<'a> {
    let fast = request.and_then(|request| request.fast.as_ref());
    Context {
        domain: &scene.domain,
        bindings: &scene.bindings,
        identities: &scene.identities,
        from: scene.from.as_ref().filter(|_| request.is_some()),
        offered,
        nonce: &scene.nonce,
        device: request.and_then(|request| request.device.as_deref()),
        count: fast.and_then(|fast| fast.count),
        invalidate: fast.is_some_and(|fast| fast.invalidate),
    }
}

/// RFC 6120 section 6.4.2: a lone `=` is an empty message; XEP-0388 section 2.2 has no need of it.
fn decode(text: &str) -> Result<Vec<u8>, Failure> {
    match text.trim() {
        "=" | "" => Ok(Vec::new()),
        text => BASE64.decode(text).map_err(|_| Failure::IncorrectEncoding),
    }
}
