//! Calls that are up (RFC 3261 sections 13.3.1.4, 14 and 15, RFC 3311): ACK, re-INVITE, UPDATE, BYE, INFO.

use std::time::Instant;

use bytes::Bytes;

use super::invite::Leg;
use super::message::some;
use super::{Core, Output, Owner, Timer};
use crate::dialog::{Dialog, DialogId};
use crate::msg::{Message, Method, Name, Request, Response};
use crate::ports::{LegEvent, LegId};
use crate::transaction::TxId;
use crate::transaction::timers::{GIVE_UP, LONGEST_REPEAT, Repeat};
use crate::transport::Flow;

/// An established dialog of a call.
pub(super) struct Session {
    pub(super) dialog: Dialog,
    /// Who we are in Contact.
    user: String,
    /// Our 2xx that waits for its ACK.
    pub(super) unacked: Option<Unacked>,
    /// A BYE that waits for the ACK (section 15).
    hang_up: Option<Option<String>>,
    /// Our re-INVITE that is on its way, and its number.
    asking: Option<(TxId, u32)>,
    /// Their re-INVITE or UPDATE, not answered yet.
    asked: Option<(TxId, Box<Request>)>,
}

/// A 2xx to an INVITE is sent until it is acknowledged, whatever the transport (section 13.3.1.4).
pub(super) struct Unacked {
    pub(super) number: u32,
    pub(super) ok: Bytes,
    pub(super) flow: Flow,
    pub(super) repeat: Repeat,
    pub(super) give_up: Instant,
}

impl Unacked {
    /// A 2xx that has just left.
    pub(super) fn new(number: u32, ok: Bytes, flow: Flow, now: Instant) -> Self {
        Self { number, ok, flow, repeat: Repeat::first(now), give_up: now + GIVE_UP }
    }
}

impl Session {
    pub(super) fn new(dialog: Dialog, user: String) -> Self {
        Self { dialog, user, unacked: None, hang_up: None, asking: None, asked: None }
    }
}

impl Core {
    fn session(&mut self, leg: LegId) -> Option<&mut Session> {
        match self.legs.get_mut(&leg) {
            Some(Leg::Up(session)) => Some(session),
            _ => None,
        }
    }

    pub(super) fn handle_ack(&mut self, ack: &Request, now: Instant) {
        let leg =
            DialogId::of_request(ack).and_then(|dialog| self.leg_of_dialog.get(&dialog).copied());
        let Some(leg) = leg else { return };
        let number = ack.headers.cseq().map_or(0, |cseq| cseq.number);
        let Some(session) = self.session(leg) else { return };
        if session.unacked.take_if(|unacked| unacked.number == number).is_none() {
            return;
        }
        let event = LegEvent::Acked { sdp: some(&ack.body) };
        let hang_up = session.hang_up.take();
        self.outputs.push_back(Output::Leg(leg, event));
        if let Some(reason) = hang_up {
            self.end_session(leg, reason, now);
        }
    }

    /// A request inside a call.
    pub(super) fn handle_in_session(
        &mut self,
        leg: LegId,
        tx: TxId,
        request: Box<Request>,
        flow: Flow,
        now: Instant,
    ) {
        if matches!(self.legs.get(&leg), Some(Leg::Called(_))) {
            return self.handle_early(leg, tx, &request, now);
        }
        let number = request.headers.cseq().map_or(0, |cseq| cseq.number);
        let Some(session) = self.session(leg) else {
            return self.answer(tx, &request, 481, now);
        };
        if !session.dialog.accept_seq(number) {
            return self.answer(tx, &request, 500, now);
        }
        // A phone that changed its network is reached where it speaks from.
        session.dialog.flow = flow;
        match request.method {
            Method::BYE => {
                let reason = request.headers.get("Reason").map(str::to_owned);
                self.answer(tx, &request, 200, now);
                self.outputs.push_back(Output::Leg(leg, LegEvent::Bye { reason }));
                self.drop_session(leg, now);
            }
            Method::INVITE | Method::UPDATE => self.reinvited(leg, tx, request, now),
            Method::INFO => {
                let content_type = request.headers.get(Name::ContentType).map(str::to_owned);
                let event = LegEvent::Info { content_type, body: request.body.clone() };
                self.answer(tx, &request, 200, now);
                self.outputs.push_back(Output::Leg(leg, event));
            }
            Method::MESSAGE => {
                let (local, remote) =
                    (session.dialog.local.uri.clone(), session.dialog.remote.uri.clone());
                self.message_in_call(tx, request, (local, &remote), flow, now);
            }
            Method::OPTIONS => self.answer(tx, &request, 200, now),
            _ => self.not_allowed(tx, &request, now),
        }
    }

    /// A request before the call is answered: the caller may only leave.
    fn handle_early(&mut self, leg: LegId, tx: TxId, request: &Request, now: Instant) {
        match request.method {
            Method::BYE => {
                self.answer(tx, request, 200, now);
                let reason = request.headers.get("Reason").map(str::to_owned);
                self.caller_gave_up(leg, reason, now);
            }
            Method::INVITE | Method::UPDATE => self.ask_later(tx, request, now),
            Method::OPTIONS => self.answer(tx, request, 200, now),
            _ => self.not_allowed(tx, request, now),
        }
    }

    /// One change of the session at a time (section 14.2, RFC 3311 section 5.2).
    fn ask_later(&mut self, tx: TxId, request: &Request, now: Instant) {
        let mut response = self.response(request, 500);
        response.headers.set("Retry-After", "3");
        self.respond(tx, response, now);
    }

    fn reinvited(&mut self, leg: LegId, tx: TxId, request: Box<Request>, now: Instant) {
        let Some(session) = self.session(leg) else { return };
        if session.asking.is_some() {
            return self.answer(tx, &request, 491, now);
        }
        if session.asked.is_some() || session.unacked.is_some() {
            return self.ask_later(tx, &request, now);
        }
        session.dialog.refresh_target(&request.headers);
        let is_update = request.method == Method::UPDATE;
        let offer = some(&request.body);
        session.asked = Some((tx, request));
        if is_update && offer.is_none() {
            // A mere sign of life.
            return self.answer_reinvite(leg, Ok(Bytes::new()), now);
        }
        self.outputs.push_back(Output::Leg(leg, LegEvent::Reinvited { offer }));
    }

    /// They take their re-INVITE back (section 9.2).
    pub(super) fn forget_reinvite(&mut self, invite: TxId, cancel: &Request) {
        let leg = DialogId::of_request(cancel)
            .and_then(|dialog| self.leg_of_dialog.get(&dialog).copied());
        if let Some(session) = leg.and_then(|leg| self.session(leg)) {
            session.asked.take_if(|(tx, _)| *tx == invite);
        }
    }

    /// Answers a re-INVITE or an UPDATE: with a session description, or with a status that leaves the call as it was.
    pub fn answer_reinvite(&mut self, leg: LegId, answer: Result<Bytes, u16>, now: Instant) {
        let Some(session) = self.session(leg) else { return };
        let Some((tx, request)) = session.asked.take() else { return };
        let (user, flow) = (session.user.clone(), session.dialog.flow);
        let sdp = match answer {
            Ok(sdp) => sdp,
            Err(status) => return self.answer(tx, &request, status.clamp(300, 699), now),
        };
        let mut response = request.response(200, None);
        response.headers.push_typed(&self.contact(&user, flow));
        response.headers.push("Allow", super::dispatch::ALLOW);
        response.headers.set(Name::Server, &self.config.software);
        if !sdp.is_empty() {
            response = response.with_body("application/sdp", sdp);
        }
        let reply = self.layer.reply_flow(tx).unwrap_or(flow);
        let ok = Message::Response(response.clone()).to_bytes();
        self.layer.respond(tx, response, now);
        if request.method == Method::INVITE {
            let number = request.headers.cseq().map_or(0, |cseq| cseq.number);
            self.timers.push(now, Repeat::first(now).at, Timer::Leg(leg));
            if let Some(session) = self.session(leg) {
                session.unacked = Some(Unacked::new(number, ok, reply, now));
            }
        }
    }

    /// Offers another session description. `ReinviteAnswered` follows.
    pub fn reinvite(&mut self, leg: LegId, offer: Bytes, now: Instant) {
        let Some(session) = self.session(leg) else { return };
        if session.asking.is_some() || session.asked.is_some() || session.unacked.is_some() {
            let event = LegEvent::ReinviteAnswered(Err(491));
            return self.outputs.push_back(Output::Leg(leg, event));
        }
        let request = session.dialog.request(Method::INVITE);
        let (user, dialog) = (session.user.clone(), session.dialog.clone());
        let flow = self.flow_of(&dialog);
        let mut request = request.with_body("application/sdp", offer);
        request.headers.push_typed(&self.contact(&user, flow));
        let tx = self.request(request, flow, Owner::Reinvite(leg), now);
        if let Some(session) = self.session(leg) {
            session.asking = Some((tx, dialog.local_seq));
            session.dialog.flow = flow;
        }
        self.run_events(now);
    }

    pub(super) fn reinvite_answered(&mut self, leg: LegId, response: &Response, now: Instant) {
        if response.status < 200 {
            return;
        }
        let number = response.headers.cseq().map_or(0, |cseq| cseq.number);
        let Some(session) = self.session(leg) else { return };
        if response.status < 300 {
            if session.asking.take_if(|(_, asked)| *asked == number).is_none() {
                // An answer that comes again, maybe while the next offer is on its way.
                let dialog = session.dialog.clone();
                return self.ack(&dialog, number);
            }
            session.dialog.refresh_target(&response.headers);
            let dialog = session.dialog.clone();
            self.ack(&dialog, number);
            let event = LegEvent::ReinviteAnswered(Ok(response.body.clone()));
            return self.outputs.push_back(Output::Leg(leg, event));
        }
        session.asking = None;
        let event = LegEvent::ReinviteAnswered(Err(response.status));
        self.outputs.push_back(Output::Leg(leg, event));
        // The peer knows nothing of this call any more (section 12.2.1.2).
        if matches!(response.status, 408 | 481) {
            self.end_session(leg, None, now);
        }
    }

    /// BYE, at once or after the ACK we wait for.
    pub(super) fn end_session(&mut self, leg: LegId, reason: Option<String>, now: Instant) {
        let Some(session) = self.session(leg) else { return };
        if session.unacked.is_some() {
            session.hang_up.get_or_insert(reason);
            return;
        }
        let mut dialog = session.dialog.clone();
        self.bye(&mut dialog, reason, now);
        self.drop_session(leg, now);
    }

    fn drop_session(&mut self, leg: LegId, now: Instant) {
        let Some(Leg::Up(session)) = self.legs.remove(&leg) else { return };
        self.leg_of_dialog.remove(&session.dialog.id);
        if let Some((tx, request)) = session.asked {
            self.answer(tx, &request, 487, now);
        }
        if let Some((tx, _)) = session.asking {
            // A peer that only ever says 100 would keep it for good.
            self.layer.forget(tx);
        }
        self.outputs.push_back(Output::Leg(leg, LegEvent::Ended));
    }

    /// Our 2xx is due again, or its ACK will not come any more.
    pub(super) fn session_due(&mut self, leg: LegId, now: Instant) {
        let Some(session) = self.session(leg) else { return };
        let Some(unacked) = &mut session.unacked else { return };
        if unacked.give_up <= now {
            session.unacked = None;
            let reason = session.hang_up.take().flatten();
            return self.end_session(leg, reason, now);
        }
        if unacked.repeat.at <= now {
            unacked.repeat = unacked.repeat.next(now, LONGEST_REPEAT);
            let (ok, before, target) =
                (unacked.ok.clone(), unacked.flow, session.dialog.next_hop().clone());
            let flow = self.reconnect(before, &target).unwrap_or(before);
            self.layer.send_bytes(ok, flow);
        }
        let Some(session) = self.session(leg) else { return };
        if let Some(unacked) = &session.unacked {
            let at = unacked.repeat.at.min(unacked.give_up);
            self.timers.push(now, at, Timer::Leg(leg));
        }
    }
}
