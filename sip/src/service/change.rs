//! Changes of a call that is up (RFC 3261 section 14, RFC 3311) and its signs of life (RFC 4028): re-INVITE and UPDATE,
//! theirs and ours, and what happens when both come at once.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::invite::Leg;
use super::message::some;
use super::session::Unacked;
use super::trunk::proof;
use super::{Core, Output, Owner};
use crate::dialog::DialogId;
use crate::dialog::timer::Agreed;
use crate::msg::header::{MinSe, RetryAfter};
use crate::msg::{Message, Method, Name, Params, Request, Response};
use crate::ports::{LegEvent, LegId};
use crate::transaction::TxId;
use crate::transport::Flow;

/// Why we ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The gateway offers something.
    Wish,
    /// A sign of life.
    Refresh,
}

/// Our re-INVITE or UPDATE that is on its way.
pub(super) struct Asking {
    pub(super) tx: TxId,
    number: u32,
    why: Why,
    method: Method,
    offer: Bytes,
    /// As it left, where a challenge can be answered.
    sent: Option<Box<Request>>,
}

/// Their re-INVITE or UPDATE, not answered yet.
pub(super) struct Asked {
    pub(super) tx: TxId,
    pub(super) request: Box<Request>,
    pub(super) agreed: Option<Agreed>,
}

/// Longest pause that a peer's Retry-After puts between two offers of ours.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Core {
    /// One change of the session at a time (section 14.2, RFC 3311 section 5.2).
    pub(super) fn ask_later(&mut self, tx: TxId, request: &Request, now: Instant) {
        let mut response = self.response(request, 500);
        let pause = self.ids.below(10) + 1;
        response.headers.set("Retry-After", pause.to_string());
        self.respond(tx, response, now);
    }

    pub(super) fn reinvited(&mut self, leg: LegId, tx: TxId, request: Box<Request>, now: Instant) {
        let terms = self.config.session_terms();
        let Some(session) = self.session(leg) else { return };
        // A mere sign of life does not collide with anything but another request of its kind.
        let is_bare = request.method == Method::UPDATE && request.body.is_empty();
        if session.asking.is_some() && !is_bare {
            return self.answer(tx, &request, 491, now);
        }
        if session.asked.is_some() || (session.unacked.is_some() && !is_bare) {
            return self.ask_later(tx, &request, now);
        }
        let before = session.timer.as_ref().map(|timer| timer.refresher());
        let agreed = match terms.answer(&request.headers, before) {
            Ok(agreed) => agreed,
            Err(least) => return self.too_brief(tx, &request, least, now),
        };
        session.dialog.refresh_target(&request.headers);
        session.learn(&request.headers);
        let offer = some(&request.body);
        if let Some(offer) = &offer {
            session.heard = offer.clone();
        }
        session.asked = Some(Asked { tx, request, agreed });
        if is_bare {
            return self.answer_reinvite(leg, Ok(Bytes::new()), now);
        }
        self.outputs.push_back(Output::Leg(leg, LegEvent::Reinvited { offer }));
    }

    /// The session timer is shorter than what we take (RFC 4028 section 9).
    pub(super) fn too_brief(&mut self, tx: TxId, request: &Request, least: u32, now: Instant) {
        let mut response = self.response(request, 422);
        response.headers.set_typed(&MinSe { seconds: least, params: Params::default() });
        self.respond(tx, response, now);
    }

    /// They take their re-INVITE back (section 9.2).
    pub(super) fn forget_reinvite(&mut self, invite: TxId, cancel: &Request, now: Instant) {
        let leg = DialogId::of_request(cancel)
            .and_then(|dialog| self.leg_of_dialog.get(&dialog).copied());
        let Some(leg) = leg else { return };
        if let Some(session) = self.session(leg) {
            session.asked.take_if(|asked| asked.tx == invite);
        }
        self.settle(leg, now);
    }

    /// Answers a re-INVITE or an UPDATE: with a session description, or with a status that leaves the call as it was.
    pub fn answer_reinvite(&mut self, leg: LegId, answer: Result<Bytes, u16>, now: Instant) {
        match self.legs.get(&leg) {
            Some(Leg::Calling(_)) => return self.answer_early(leg, answer, now),
            Some(Leg::Called(_)) => return self.answer_called(leg, answer, now),
            Some(Leg::Up(_)) | None => {}
        }
        let Some(session) = self.session(leg) else { return };
        let Some(asked) = session.asked.take() else { return };
        let (user, flow) = (session.user.clone(), session.dialog.flow);
        if let Ok(sdp) = &answer {
            session.live_for(asked.agreed, now);
            if !sdp.is_empty() {
                session.said = sdp.clone();
            }
        }
        let unacked = self.answer_change(asked, &user, flow, answer, now);
        if let Some(session) = self.session(leg) {
            session.unacked = session.unacked.take().or(unacked);
        }
        self.settle(leg, now);
    }

    /// The final answer to a change of theirs, in an early or a confirmed dialog; a 2xx to an INVITE waits for its ACK.
    pub(super) fn answer_change(
        &mut self,
        asked: Asked,
        user: &str,
        flow: Flow,
        answer: Result<Bytes, u16>,
        now: Instant,
    ) -> Option<Unacked> {
        let Asked { tx, request, agreed } = asked;
        let sdp = match answer {
            Ok(sdp) => sdp,
            Err(status) => {
                self.answer(tx, &request, status.clamp(300, 699), now);
                return None;
            }
        };
        let mut response = request.response(200, None);
        response.headers.push_typed(&self.contact(user, flow));
        self.introduce(&mut response.headers);
        if let Some(agreed) = agreed {
            agreed.write(&mut response.headers);
        }
        response.headers.set(Name::Server, &self.config.software);
        if !sdp.is_empty() {
            response = response.with_body("application/sdp", sdp);
        }
        let reply = self.layer.reply_flow(tx).unwrap_or(flow);
        let ok = Message::Response(response.clone()).to_bytes();
        self.layer.respond(tx, response, now);
        let number = request.headers.cseq().map_or(0, |cseq| cseq.number);
        let is_invite = request.method == Method::INVITE;
        is_invite.then(|| Unacked::new(number, ok, reply, now))
    }

    /// Offers another session description. `ReinviteAnswered` follows; after a 491 also `ReinviteDue`, when it may be
    /// tried again.
    pub fn reinvite(&mut self, leg: LegId, offer: Bytes, now: Instant) {
        let Some(session) = self.session(leg) else { return };
        if session.is_still() && session.wish.is_none() {
            self.ask(leg, Method::INVITE, offer, Why::Wish, now);
        } else {
            session.wish.get_or_insert(None);
            let event = LegEvent::ReinviteAnswered(Err(491));
            self.outputs.push_back(Output::Leg(leg, event));
        }
        self.run_events(now);
    }

    /// A sign of life is due (RFC 4028 section 10): an UPDATE where the peer takes it, else what we said last again.
    pub(super) fn refresh(&mut self, leg: LegId, now: Instant) {
        let Some(session) = self.session(leg) else { return };
        if session.asking.is_some() || session.asked.is_some() || session.unacked.is_some() {
            if let Some(timer) = &mut session.timer {
                timer.again(Some(Duration::from_secs(1)), now);
            }
            return;
        }
        let (method, offer) = if session.takes_update {
            (Method::UPDATE, Bytes::new())
        } else {
            (Method::INVITE, session.said.clone())
        };
        self.ask(leg, method, offer, Why::Refresh, now);
    }

    fn ask(&mut self, leg: LegId, method: Method, offer: Bytes, why: Why, now: Instant) {
        self.ask_with(leg, (method, offer, why), None, now);
    }

    /// `proof`: the header field that answers a challenge to the last one.
    fn ask_with(
        &mut self,
        leg: LegId,
        (method, offer, why): (Method, Bytes, Why),
        proof: Option<(&'static str, String)>,
        now: Instant,
    ) {
        let terms = self.config.session_terms();
        let Some(session) = self.session(leg) else { return };
        let mut request = session.dialog.request(method.clone());
        let refresher = session.timer.as_ref().map(|timer| timer.refresher());
        terms.ask(&mut request.headers, session.least, refresher);
        if let (Why::Refresh, Some(timer)) = (why, &mut session.timer) {
            timer.sent();
        }
        let (user, dialog) = (session.user.clone(), session.dialog.clone());
        let flow = self.flow_of(&dialog);
        if !offer.is_empty() {
            request = request.with_body("application/sdp", offer.clone());
        }
        request.headers.push_typed(&self.contact(&user, flow));
        self.introduce(&mut request.headers);
        if let Some((field, proof)) = proof {
            request.headers.set(field, proof);
        }
        let is_kept = self.session(leg).is_some_and(|session| session.login.is_some());
        let sent = is_kept.then(|| Box::new(request.clone()));
        let tx = self.request(request, flow, Owner::Reinvite(leg), now);
        if let Some(session) = self.session(leg) {
            let number = dialog.local_seq;
            session.asking = Some(Asking { tx, number, why, method, offer, sent });
            session.dialog.flow = flow;
        }
    }

    pub(super) fn reinvite_answered(
        &mut self,
        leg: LegId,
        tx: TxId,
        response: &Response,
        now: Instant,
    ) {
        if response.status < 200 {
            return;
        }
        let Some(session) = self.session(leg) else { return };
        let Some(asking) = session.asking.take_if(|asking| asking.tx == tx) else {
            // An answer that comes again, maybe while the next offer is on its way.
            let number = response.headers.cseq().map_or(0, |cseq| cseq.number);
            let is_ok = response.status < 300;
            let is_invite = response.headers.cseq().is_ok_and(|cseq| cseq.method == Method::INVITE);
            let dialog = session.dialog.clone();
            if is_ok && is_invite {
                self.ack(&dialog, number);
            }
            return;
        };
        if response.status < 300 {
            self.change_taken(leg, asking, response, now);
        } else if let Some(proof) = self.prove_change(leg, &asking, response) {
            let Asking { method, offer, why, .. } = asking;
            self.ask_with(leg, (method, offer, why), Some(proof), now);
        } else {
            self.change_refused(leg, &asking, response, now);
        }
        self.settle(leg, now);
    }

    /// The header field that answers a challenge to a change of ours (section 22.2).
    fn prove_change(
        &mut self,
        leg: LegId,
        asking: &Asking,
        response: &Response,
    ) -> Option<(&'static str, String)> {
        let cnonce = self.ids.token();
        let login = self.session(leg)?.login.as_ref()?;
        proof(login, response, asking.sent.as_ref()?, &cnonce)
    }

    fn change_taken(&mut self, leg: LegId, asking: Asking, response: &Response, now: Instant) {
        let terms = self.config.session_terms();
        let Some(session) = self.session(leg) else { return };
        session.dialog.refresh_target(&response.headers);
        session.learn(&response.headers);
        session.live_for(terms.accepted(&response.headers, session.least), now);
        if !asking.offer.is_empty() {
            session.said = asking.offer;
        }
        let is_new = session.heard != response.body;
        if !response.body.is_empty() {
            session.heard = response.body.clone();
        }
        let dialog = session.dialog.clone();
        if asking.method == Method::INVITE {
            self.ack(&dialog, asking.number);
            // Who only wanted a sign of life may have got another description for it.
            if asking.why == Why::Wish || (is_new && !response.body.is_empty()) {
                let event = LegEvent::ReinviteAnswered(Ok(response.body.clone()));
                self.outputs.push_back(Output::Leg(leg, event));
            }
        }
    }

    fn change_refused(&mut self, leg: LegId, asking: &Asking, response: &Response, now: Instant) {
        // The peer knows nothing of this call any more (section 12.2.1.2).
        let is_gone = matches!(response.status, 408 | 481);
        if asking.why == Why::Wish || is_gone {
            let event = LegEvent::ReinviteAnswered(Err(response.status));
            self.outputs.push_back(Output::Leg(leg, event));
        }
        if is_gone {
            return self.end_session(leg, None, now);
        }
        let pause = self.pause_after(leg, response);
        let Some(session) = self.session(leg) else { return };
        let mut again = pause;
        match response.status {
            422 => {
                let least = response.headers.optional::<MinSe>().ok().flatten();
                let least = least.map_or(0, |least| least.seconds);
                again = (least > session.least).then_some(Duration::ZERO);
                session.least = session.least.max(least);
            }
            405 | 501 if asking.method == Method::UPDATE => {
                session.takes_update = false;
                again = Some(Duration::ZERO);
            }
            _ => {}
        }
        match asking.why {
            Why::Wish if again.is_some() => session.wish = Some(again.map(|pause| now + pause)),
            Why::Wish => {}
            Why::Refresh => {
                if let Some(timer) = &mut session.timer {
                    timer.again(again, now);
                }
            }
        }
    }

    /// How long to wait after both sides asked at once (section 14.1), or the peer is not ready (section 14.2).
    fn pause_after(&mut self, leg: LegId, response: &Response) -> Option<Duration> {
        match response.status {
            491 => {
                let we_called = self.session(leg)?.we_called;
                let (least, steps) = if we_called { (2_100, 191) } else { (0, 201) };
                let millis = least + 10 * self.ids.below(steps);
                Some(Duration::from_millis(millis))
            }
            500 => {
                let after = response.headers.optional::<RetryAfter>().ok().flatten()?;
                Some(Duration::from_secs(u64::from(after.0)).min(LONGEST_PAUSE))
            }
            _ => None,
        }
    }

    /// After a step: whoever waited for the session to be still hears of it, and the next deadline is queued.
    pub(super) fn settle(&mut self, leg: LegId, now: Instant) {
        let Some(session) = self.session(leg) else { return };
        if session.is_still() && session.wish.take_if(|at| at.is_none_or(|at| at <= now)).is_some()
        {
            self.outputs.push_back(Output::Leg(leg, LegEvent::ReinviteDue));
        }
        self.arm(leg, now);
    }
}
