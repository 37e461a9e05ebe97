//! Provisional answers to callers (RFC 3262): ringing, session descriptions before the answer, PRACK, and the UPDATE of a
//! caller that waits (RFC 3311).
//!
//! A provisional answer is reliable where the caller requires it, or supports it and a session description is in it. One is
//! on its way at a time; a 2xx waits while one with a description is not acknowledged.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::change::Asked;
use super::invite::Leg;
use super::message::some;
use super::{Core, Output, Timer};
use crate::dialog::Dialog;
use crate::dialog::timer::supports;
use crate::msg::header::{RAck, RSeq};
use crate::msg::{Method, Name, Request, Response};
use crate::ports::{LegEvent, LegId};
use crate::transaction::TxId;
use crate::transaction::timers::{GIVE_UP, Repeat};

/// Provisional answers that wait for the PRACK of an earlier one; more are not worth telling.
const MAX_WAITING: usize = 4;

/// What a caller has been told, and what waits.
#[derive(Default)]
pub(super) struct Told {
    /// The last RSeq.
    rseq: u32,
    /// On its way.
    open: Option<Open>,
    waiting: VecDeque<(u16, Option<Bytes>)>,
    /// The answer that was acknowledged in a provisional response.
    pub(super) answered: bool,
    /// The final answer that waits for a PRACK.
    accept: Option<Bytes>,
    /// Their UPDATE or the offer in a PRACK, not answered yet.
    pub(super) asked: Option<Asked>,
}

struct Open {
    response: Response,
    has_sdp: bool,
    repeat: Repeat,
    give_up: Instant,
}

impl Core {
    /// A provisional answer to a caller.
    pub fn ring(&mut self, leg: LegId, status: u16, sdp: Option<Bytes>, now: Instant) {
        let Some(Leg::Called(called)) = self.legs.get_mut(&leg) else { return };
        if called.told.open.is_some() {
            if called.told.waiting.len() < MAX_WAITING {
                called.told.waiting.push_back((status, sdp));
            }
            return;
        }
        let is_required = called
            .invite
            .headers
            .get_all("Require")
            .any(|value| value.split(',').any(|tag| tag.trim().eq_ignore_ascii_case("100rel")));
        let is_reliable =
            is_required || (sdp.is_some() && supports(&called.invite.headers, "100rel"));
        let mut response = called.invite.response(status.clamp(101, 199), Some(&called.to_tag));
        response.headers.copy_from(&called.invite.headers, Name::RecordRoute);
        let has_sdp = sdp.is_some();
        if let Some(sdp) = sdp {
            response = response.with_body("application/sdp", sdp);
        }
        let (tx, flow) = (called.tx, called.flow);
        let user = called.invite.uri.user_decoded().unwrap_or_default();
        if called.early.is_none()
            && let Some(dialog) = Dialog::of_incoming(&called.invite, &called.to_tag, flow)
        {
            self.leg_of_dialog.insert(dialog.id.clone(), leg);
            called.early = Some(dialog);
        }
        let rseq = called.told.rseq;
        response.headers.push_typed(&self.contact(&user, flow));
        self.introduce(&mut response.headers);
        if is_reliable {
            let first = self.ids.below(1 << 30) as u32 + 1;
            let rseq = if rseq == 0 { first } else { rseq.wrapping_add(1) };
            response.headers.push("Require", "100rel");
            response.headers.push_typed(&RSeq(rseq));
            if let Some(Leg::Called(called)) = self.legs.get_mut(&leg) {
                called.told.rseq = rseq;
                let (repeat, give_up) = (Repeat::first(now), now + GIVE_UP);
                let response = response.clone();
                called.told.open = Some(Open { response, has_sdp, repeat, give_up });
                self.timers.push(now, repeat.at, Timer::Leg(leg));
            }
        }
        self.reopen_for(leg);
        self.respond(tx, response, now);
    }

    /// A 2xx may not overtake a description that is on its way (RFC 3262 section 3). True: it waits.
    pub(super) fn accept_waits(&mut self, leg: LegId, sdp: &Bytes) -> bool {
        let Some(Leg::Called(called)) = self.legs.get_mut(&leg) else { return false };
        let waits = called.told.open.as_ref().is_some_and(|open| open.has_sdp);
        if waits {
            called.told.accept = Some(sdp.clone());
        }
        waits
    }

    /// A request before the call is answered.
    pub(super) fn handle_early(
        &mut self,
        leg: LegId,
        tx: TxId,
        request: Box<Request>,
        now: Instant,
    ) {
        let number = request.headers.cseq().map_or(0, |cseq| cseq.number);
        let Some(Leg::Called(called)) = self.legs.get_mut(&leg) else { return };
        if called.early.as_mut().is_some_and(|dialog| !dialog.accept_seq(number)) {
            return self.answer(tx, &request, 500, now);
        }
        match request.method {
            Method::BYE => {
                self.answer(tx, &request, 200, now);
                let reason = request.headers.get("Reason").map(str::to_owned);
                self.caller_gave_up(leg, reason, now);
            }
            Method::PRACK => self.pracked(leg, tx, request, now),
            Method::UPDATE => self.updated(leg, tx, request, now),
            Method::INVITE => self.ask_later(tx, &request, now),
            Method::OPTIONS => self.answer(tx, &request, 200, now),
            Method::INFO => self.informed_early(tx, &request, now),
            _ => self.not_allowed(tx, &request, now),
        }
    }

    /// The caller has a provisional answer.
    fn pracked(&mut self, leg: LegId, tx: TxId, request: Box<Request>, now: Instant) {
        let Ok(rack) = request.headers.typed::<RAck>() else {
            return self.answer(tx, &request, 400, now);
        };
        let Some(Leg::Called(called)) = self.legs.get_mut(&leg) else { return };
        let number = called.invite.headers.cseq().map_or(0, |cseq| cseq.number);
        let is_it = rack.method == Method::INVITE
            && (rack.rseq, rack.cseq) == (called.told.rseq, number)
            && called.told.open.is_some();
        let Some(open) = called.told.open.take_if(|_| is_it) else {
            return self.answer(tx, &request, 481, now);
        };
        called.told.answered |= open.has_sdp;
        let accept = called.told.accept.take();
        if request.body.is_empty() {
            self.answer(tx, &request, 200, now);
        } else if called.told.answered && called.told.asked.is_none() {
            // An offer after our answer.
            self.caller_asks(leg, tx, request);
        } else {
            self.answer(tx, &request, 488, now);
        }
        if let Some(sdp) = accept {
            return self.accept(leg, sdp, now);
        }
        let Some(Leg::Called(called)) = self.legs.get_mut(&leg) else { return };
        if let Some((status, sdp)) = called.told.waiting.pop_front() {
            self.ring(leg, status, sdp, now);
        }
    }

    /// A waiting caller changes the session, or only its Contact (RFC 3311 section 5.2).
    fn updated(&mut self, leg: LegId, tx: TxId, request: Box<Request>, now: Instant) {
        let Some(Leg::Called(called)) = self.legs.get_mut(&leg) else { return };
        let is_bare = request.body.is_empty();
        let may = called.told.answered && called.told.asked.is_none();
        if !is_bare && !may {
            // We owe it an answer already.
            return self.ask_later(tx, &request, now);
        }
        if let Some(dialog) = &mut called.early {
            dialog.refresh_target(&request.headers);
        }
        if is_bare {
            let (user, flow) = (called.invite.uri.user_decoded().unwrap_or_default(), called.flow);
            let asked = Asked { tx, request, agreed: None };
            self.answer_change(asked, &user, flow, Ok(Bytes::new()), now);
            return;
        }
        self.caller_asks(leg, tx, request);
    }

    fn caller_asks(&mut self, leg: LegId, tx: TxId, request: Box<Request>) {
        let Some(Leg::Called(called)) = self.legs.get_mut(&leg) else { return };
        let offer = some(&request.body);
        called.told.asked = Some(Asked { tx, request, agreed: None });
        self.outputs.push_back(Output::Leg(leg, LegEvent::Reinvited { offer }));
    }

    /// Answers the UPDATE of a caller that waits.
    pub(super) fn answer_called(&mut self, leg: LegId, answer: Result<Bytes, u16>, now: Instant) {
        let Some(Leg::Called(called)) = self.legs.get_mut(&leg) else { return };
        let Some(asked) = called.told.asked.take() else { return };
        let (user, flow) = (called.invite.uri.user_decoded().unwrap_or_default(), called.flow);
        self.answer_change(asked, &user, flow, answer, now);
    }

    /// A provisional answer is due again, or its PRACK will not come any more.
    pub(super) fn called_due(&mut self, leg: LegId, now: Instant) {
        let Some(Leg::Called(called)) = self.legs.get_mut(&leg) else { return };
        let Some(open) = &mut called.told.open else { return };
        if open.give_up <= now {
            let reason = Some("SIP;cause=504".to_owned());
            return self.caller_gone(leg, 504, reason, now);
        }
        if open.repeat.at <= now {
            open.repeat = open.repeat.next(now, GIVE_UP);
            let response = open.response.clone();
            let (tx, at) = (called.tx, open.repeat.at.min(open.give_up));
            self.timers.push(now, at, Timer::Leg(leg));
            self.reopen_for(leg);
            self.respond(tx, response, now);
        }
    }
}
