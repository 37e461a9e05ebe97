//! What a request is and who takes it (RFC 3261 sections 8.2, 11 and 12.2.2).

use std::time::Instant;

use super::events::ALLOW_EVENTS;
use super::invite::Leg;
use super::notifier::Watch;
use super::{Core, Owner};
use crate::dialog::{Dialog, DialogId};
use crate::msg::{Headers, Method, Name, Request, Response, SUPPORTED, check_request};
use crate::ports::Refusal;
use crate::transaction::{Event, TxId};
use crate::transport::Flow;

/// The methods that are served; others that are known get a 405.
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, MESSAGE, SUBSCRIBE, NOTIFY, PUBLISH, INFO, PRACK, REFER, UPDATE";
/// What a call may carry.
const ACCEPT: &str = "application/sdp, text/plain, message/cpim";

/// Whether this request may be turned away when there is too much to do: not what ends or refreshes something.
pub(super) fn may_be_shed(request: &Request) -> bool {
    let ends = matches!(request.method, Method::ACK | Method::BYE | Method::CANCEL);
    let is_inside = request.headers.to().is_ok_and(|to| to.tag().is_some());
    !ends && !is_inside
}

/// Whether a request that has to prove its account brings something for that.
pub(super) fn brings_proof(request: &Request) -> bool {
    !matches!(request.method, Method::ACK | Method::CANCEL | Method::OPTIONS)
        && request.headers.has(Name::Authorization)
}

impl Core {
    /// Works off what the transaction layer has to say.
    pub(super) fn run_events(&mut self, now: Instant) {
        while let Some(event) = self.layer.poll_event() {
            match event {
                Event::Request { tx, request, flow } => self.handle_request(tx, request, flow, now),
                Event::Ack { request } => self.handle_ack(&request, now),
                Event::Response { tx, response } => self.handle_response(tx, &response, now),
                Event::Failed { tx, status } => {
                    let response = Response::new(status);
                    self.handle_response(tx, &response, now);
                }
                Event::Done { tx } => {
                    self.owners.remove(&tx);
                }
            }
        }
    }

    fn handle_response(&mut self, tx: TxId, response: &Response, now: Instant) {
        let Some(owner) = self.owners.remove(&tx) else { return };
        match &owner {
            Owner::Invite(leg, invite) => self.invite_answered(*leg, tx, invite, response, now),
            Owner::Reinvite(leg) => self.reinvite_answered(*leg, tx, response, now),
            Owner::Message(ticket) => self.message_done(*ticket, response, now),
            Owner::Notify(id) => self.notify_answered(*id, response, now),
            Owner::Subscribe(id, dialog) => {
                self.watch_answered(*id, dialog.as_ref(), response, now);
            }
            Owner::Trunk(at, flow) => self.register_answered(*at, *flow, response, now),
            Owner::Supervision(at) => self.trunk_answered(*at, response, now),
            Owner::Bye(bye) => self.bye_answered(bye, response, now),
            Owner::Nobody => {}
        }
        // Further answers may come; `Event::Done` says when none can.
        self.owners.insert(tx, owner);
    }

    fn handle_request(&mut self, tx: TxId, request: Box<Request>, flow: Flow, now: Instant) {
        if self.is_scanner(&request) {
            // An answer of any kind tells it that somebody is here.
            self.turn_away(flow, Refusal::Scanner);
            return self.layer.forget(tx);
        }
        let refusal = check_request(&request).err();
        let is_proven = brings_proof(&request) && refusal.is_none();
        if !is_proven && !self.is_inside(&request) && self.is_flood(flow, now) {
            // A flood is not answered: that would make us its amplifier.
            return self.layer.forget(tx);
        }
        if let Some(refusal) = refusal {
            let mut response = self.response(&request, refusal.status);
            response.reason = refusal.reason;
            for (name, value) in refusal.headers {
                response.headers.push(name.as_str(), value);
            }
            self.respond(tx, response, now);
            return;
        }
        if request.method == Method::CANCEL {
            return self.handle_cancel(tx, &request, now);
        }
        if let Some(dialog) = DialogId::of_request(&request) {
            return self.handle_inside(tx, request, &dialog, flow, now);
        }
        match request.method {
            Method::OPTIONS => self.handle_options(tx, &request, now),
            Method::INVITE | Method::MESSAGE
                if request.headers.has(Name::MaxForwards)
                    && request.headers.max_forwards().0 == 0 =>
            {
                self.answer(tx, &request, 483, now);
            }
            Method::REGISTER
            | Method::INVITE
            | Method::MESSAGE
            | Method::SUBSCRIBE
            | Method::PUBLISH => {
                self.admit(tx, request, flow, now);
            }
            Method::BYE | Method::INFO | Method::PRACK | Method::UPDATE | Method::NOTIFY => {
                self.answer(tx, &request, 481, now);
            }
            // A REFER too: outside a call there is nobody to be transferred.
            _ => self.not_allowed(tx, &request, now),
        }
    }

    fn is_scanner(&self, request: &Request) -> bool {
        let agent = request.headers.get(Name::UserAgent).unwrap_or_default();
        let begins = |name: &String| {
            agent.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        self.config.scanners.iter().any(begins)
    }

    /// Whether a request names what only its phone can know: a dialog, or the branch of an INVITE it gives up.
    fn is_inside(&self, request: &Request) -> bool {
        let is_known = |dialog: DialogId| {
            self.leg_of_dialog.contains_key(&dialog)
                || self.watch_of_dialog.contains_key(&dialog)
                || self.watchings.find(&dialog).is_some()
        };
        DialogId::of_request(request).is_some_and(is_known)
            || request.method == Method::CANCEL && self.layer.cancelled(request).is_some()
    }

    fn handle_inside(
        &mut self,
        tx: TxId,
        request: Box<Request>,
        dialog: &DialogId,
        flow: Flow,
        now: Instant,
    ) {
        if self.dialog(dialog).is_some_and(|dialog| !self.is_familiar(dialog, flow)) {
            return self.admit(tx, request, flow, now);
        }
        self.handle_proven(tx, request, dialog, flow, now);
    }

    /// The dialog of that name, once it is confirmed.
    pub(super) fn dialog(&self, id: &DialogId) -> Option<&Dialog> {
        if let Some(leg) = self.leg_of_dialog.get(id) {
            return match self.legs.get(leg)? {
                Leg::Up(session) => Some(&session.dialog),
                Leg::Calling(_) | Leg::Called(_) => None,
            };
        }
        let watch = self.watch_of_dialog.get(id)?;
        self.watches.get(watch).map(Watch::dialog)
    }

    /// A request inside a dialog, of whom the dialog is with.
    pub(super) fn handle_proven(
        &mut self,
        tx: TxId,
        request: Box<Request>,
        dialog: &DialogId,
        flow: Flow,
        now: Instant,
    ) {
        if let Some(leg) = self.leg_of_dialog.get(dialog).copied() {
            self.known(flow);
            return self.handle_in_session(leg, tx, request, flow, now);
        }
        if let Some(watch) = self.watch_of_dialog.get(dialog).copied()
            && request.method == Method::SUBSCRIBE
        {
            return self.refresh_watch(watch, tx, &request, flow, now);
        }
        if let Some(watching) =
            self.watchings.find(dialog).filter(|_| request.method == Method::NOTIFY)
        {
            return self.notified(watching, tx, &request, flow, now);
        }
        if request.method == Method::OPTIONS {
            return self.handle_options(tx, &request, now);
        }
        self.answer(tx, &request, 481, now);
    }

    /// What we can do, for the start of a dialog and for each change of it.
    pub(super) fn introduce(&self, headers: &mut Headers) {
        headers.set("Allow", ALLOW);
        headers.set(Name::Supported, SUPPORTED.join(", "));
    }

    fn handle_options(&mut self, tx: TxId, request: &Request, now: Instant) {
        let mut response = self.response(request, 200);
        self.introduce(&mut response.headers);
        for (name, value) in [("Accept", ACCEPT), ("Allow-Events", ALLOW_EVENTS)] {
            response.headers.set(name, value);
        }
        self.respond(tx, response, now);
    }

    pub(super) fn not_allowed(&mut self, tx: TxId, request: &Request, now: Instant) {
        let mut response = self.response(request, 405);
        response.headers.set("Allow", ALLOW);
        self.respond(tx, response, now);
    }
}
