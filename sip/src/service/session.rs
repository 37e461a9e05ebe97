//! Calls that are up (RFC 3261 sections 13.3.1.4 and 15): ACK, BYE, INFO, and what else is said inside a call. Changes
//! of the session are `change.rs`.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::change::{Asked, Asking};
use super::invite::Leg;
use super::message::some;
use super::refer::Referral;
use super::{Core, Output, Timer};
use crate::dialog::timer::{Agreed, Due, SessionTimer};
use crate::dialog::{Dialog, DialogId};
use crate::msg::{Headers, Method, Request};
use crate::ports::{LegEvent, LegId, Login, Origin};
use crate::transaction::TxId;
use crate::transaction::timers::{GIVE_UP, LONGEST_REPEAT, Repeat};
use crate::transport::Flow;

/// An established dialog of a call.
pub(super) struct Session {
    pub(super) dialog: Dialog,
    /// From where the call came, where the other end began it.
    pub(super) origin: Option<Origin>,
    /// What a challenge of whom we called is answered with.
    pub(super) login: Option<Login>,
    /// Who we are in Contact.
    pub(super) user: String,
    /// Whether the Call-ID is ours.
    pub(super) we_called: bool,
    /// Our last session description, and theirs.
    pub(super) said: Bytes,
    pub(super) heard: Bytes,
    /// Whether the peer takes UPDATE.
    pub(super) takes_update: bool,
    /// How long the call lives without a refresh (RFC 4028).
    pub(super) timer: Option<SessionTimer>,
    /// The longest Min-SE heard in this call, in seconds.
    pub(super) least: u32,
    /// Our 2xx that waits for its ACK.
    pub(super) unacked: Option<Unacked>,
    /// A BYE that waits for the ACK (section 15).
    hang_up: Option<Option<String>>,
    /// Our re-INVITE or UPDATE that is on its way.
    pub(super) asking: Option<Asking>,
    /// Their re-INVITE or UPDATE, not answered yet.
    pub(super) asked: Option<Asked>,
    /// The gateway wants to offer something and could not; not before this time, if there is one.
    pub(super) wish: Option<Option<Instant>>,
    /// INFOs whose keys nobody has said to have heard.
    pub(super) keys: VecDeque<(TxId, Box<Request>)>,
    /// Their REFER in work, and how many came.
    pub(super) referral: Option<Referral>,
    pub(super) referrals: u32,
    /// The earliest deadline that is queued.
    armed: Option<Instant>,
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
    /// The trunk that called.
    pub(super) fn trunk(&self) -> Option<&str> {
        match &self.origin {
            Some(Origin::Trunk(trunk)) => Some(trunk),
            _ => None,
        }
    }

    pub(super) fn new(dialog: Dialog, user: String, we_called: bool) -> Self {
        Self {
            dialog,
            origin: None,
            login: None,
            user,
            we_called,
            said: Bytes::new(),
            heard: Bytes::new(),
            takes_update: false,
            timer: None,
            least: 0,
            unacked: None,
            hang_up: None,
            asking: None,
            asked: None,
            wish: None,
            keys: VecDeque::new(),
            referral: None,
            referrals: 0,
            armed: None,
        }
    }

    /// What the peer says of itself in a request or a 2xx.
    pub(super) fn learn(&mut self, headers: &Headers) {
        if headers.has("Allow") {
            let mut methods = headers.get_all("Allow").flat_map(|value| value.split(','));
            self.takes_update = methods.any(|method| method.trim() == "UPDATE");
        }
    }

    /// A 2xx agreed on this, or on no timer.
    pub(super) fn live_for(&mut self, agreed: Option<Agreed>, now: Instant) {
        self.timer = agreed.map(|agreed| SessionTimer::new(agreed, now));
    }

    /// Whether neither side is changing the session.
    pub(super) fn is_still(&self) -> bool {
        self.asking.is_none() && self.asked.is_none() && self.unacked.is_none()
    }

    /// When something may be due.
    fn next(&self) -> Option<Instant> {
        let unacked = self.unacked.as_ref().map(|unacked| unacked.repeat.at.min(unacked.give_up));
        let timer = self.timer.as_ref().map(SessionTimer::next);
        let wish = self.wish.flatten();
        [unacked, timer, wish].into_iter().flatten().min()
    }
}

impl Core {
    pub(super) fn session(&mut self, leg: LegId) -> Option<&mut Session> {
        match self.legs.get_mut(&leg) {
            Some(Leg::Up(session)) => Some(session),
            _ => None,
        }
    }

    /// Queues the next deadline of a session.
    pub(super) fn arm(&mut self, leg: LegId, now: Instant) {
        let Some(session) = self.session(leg) else { return };
        let Some(at) = session.next() else { return };
        if session.armed.is_none_or(|armed| at < armed || armed < now) {
            session.armed = Some(at);
            self.timers.push(now, at, Timer::Leg(leg));
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
        if !ack.body.is_empty() {
            session.heard = ack.body.clone();
        }
        let event = LegEvent::Acked { sdp: some(&ack.body) };
        let hang_up = session.hang_up.take();
        self.outputs.push_back(Output::Leg(leg, event));
        match hang_up {
            Some(reason) => self.end_session(leg, reason, now),
            None => self.settle(leg, now),
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
        match self.legs.get(&leg) {
            Some(Leg::Called(_)) => return self.handle_early(leg, tx, request, now),
            Some(Leg::Calling(_)) => return self.handle_ringing(leg, tx, request, flow, now),
            Some(Leg::Up(_)) | None => {}
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
            Method::INFO => self.informed(leg, tx, request, now),
            Method::MESSAGE => {
                let (local, remote) =
                    (session.dialog.local.uri.clone(), session.dialog.remote.uri.clone());
                let origin = session.origin.clone();
                let origin = origin.unwrap_or_else(|| self.origin_at(&remote, flow.local));
                self.message_in_call(tx, request, (local, &remote), origin, flow, now);
            }
            Method::REFER => self.referred(leg, tx, request, now),
            Method::SUBSCRIBE => self.refer_watched(leg, tx, &request, now),
            Method::OPTIONS => self.answer(tx, &request, 200, now),
            _ => self.not_allowed(tx, &request, now),
        }
    }

    /// BYE, at once or after the ACK we wait for.
    pub(super) fn end_session(&mut self, leg: LegId, reason: Option<String>, now: Instant) {
        let Some(session) = self.session(leg) else { return };
        if session.unacked.is_some() {
            session.hang_up.get_or_insert(reason);
            return;
        }
        let (mut dialog, login) = (session.dialog.clone(), session.login.clone());
        self.bye(&mut dialog, reason, login, now);
        self.drop_session(leg, now);
    }

    fn drop_session(&mut self, leg: LegId, now: Instant) {
        let Some(Leg::Up(session)) = self.legs.remove(&leg) else { return };
        self.leg_of_dialog.remove(&session.dialog.id);
        if let Some(asked) = session.asked {
            self.answer(asked.tx, &asked.request, 487, now);
        }
        for (tx, key) in session.keys {
            self.answer(tx, &key, 481, now);
        }
        if let Some(asking) = session.asking {
            // A peer that only ever says 100 would keep it for good.
            self.layer.forget(asking.tx);
        }
        self.outputs.push_back(Output::Leg(leg, LegEvent::Ended));
    }

    /// Our 2xx is due again, or its ACK will not come any more; a refresh is due, or the call is over.
    pub(super) fn session_due(&mut self, leg: LegId, now: Instant) {
        let Some(session) = self.session(leg) else { return };
        session.armed.take_if(|at| *at <= now);
        let due = session.timer.as_ref().map_or(Due::Nothing, |timer| timer.due(now));
        if due == Due::Over {
            // Nobody will acknowledge either.
            session.unacked = None;
            let reason = "SIP;cause=408;text=\"Session timer expired\"";
            return self.end_session(leg, Some(reason.to_owned()), now);
        }
        if !self.repeat_ok(leg, now) {
            return;
        }
        if due == Due::Refresh {
            self.refresh(leg, now);
        }
        self.settle(leg, now);
    }

    /// Our 2xx again, until its ACK. False: the session is over.
    fn repeat_ok(&mut self, leg: LegId, now: Instant) -> bool {
        let Some(session) = self.session(leg) else { return false };
        let Some(unacked) = &mut session.unacked else { return true };
        if unacked.give_up <= now {
            session.unacked = None;
            let reason = session.hang_up.take().flatten();
            self.end_session(leg, reason, now);
            return false;
        }
        if unacked.repeat.at <= now {
            unacked.repeat = unacked.repeat.next(now, LONGEST_REPEAT);
            let (ok, before, target) =
                (unacked.ok.clone(), unacked.flow, session.dialog.next_hop().clone());
            let flow = self.reconnect(before, &target).unwrap_or(before);
            self.layer.send_bytes(ok, flow);
        }
        true
    }
}
