//! Calls of phones until they are answered (RFC 3261 sections 9.2, 13.3 and 15, RFC 3264): INVITE, CANCEL, BYE.

use std::time::Instant;

use bytes::Bytes;

use super::calling::Calling;
use super::message::some;
use super::reliable::Told;
use super::session::{Session, Unacked};
use super::{Core, Output};
use crate::dialog::Dialog;
use crate::dialog::timer::Agreed;
use crate::msg::{Name, Request};
use crate::ports::{Invited, LegEvent, LegId, Origin};
use crate::transaction::TxId;
use crate::transport::Flow;

/// What an INVITE has in common with itself by another way: From tag, Call-ID, CSeq number (section 8.2.2.2).
pub(super) type CallName = (String, String, u32);

/// One leg of a call.
pub(super) enum Leg {
    /// We call.
    Calling(Box<Calling>),
    /// We are called.
    Called(Box<Called>),
    /// The call is up.
    Up(Box<Session>),
}

/// Their INVITE without a final answer.
pub(super) struct Called {
    pub(super) tx: TxId,
    pub(super) invite: Box<Request>,
    pub(super) to_tag: String,
    pub(super) flow: Flow,
    /// From where it comes.
    origin: Origin,
    /// The session timer that a 2xx agrees on (RFC 4028).
    agreed: Option<Agreed>,
    /// The early dialog, once a provisional answer told our tag.
    pub(super) early: Option<Dialog>,
    /// What the caller has been told.
    pub(super) told: Told,
    /// What the 200 says beside what it has to.
    fields: Vec<(String, String)>,
}

impl Core {
    /// An INVITE of an account that proved itself, of a trunk, or of another domain.
    pub(super) fn invited(
        &mut self,
        tx: TxId,
        request: Box<Request>,
        flow: Flow,
        (account, origin): (String, Origin),
        now: Instant,
    ) {
        if self.is_closed {
            // It was let in before, while its password was looked up.
            return self.answer(tx, &request, 503, now);
        }
        let headers = &request.headers;
        let (Ok(from), Ok(call_id), Some(_)) =
            (headers.from(), headers.call_id(), crate::dialog::contact(headers))
        else {
            return self.answer(tx, &request, 400, now);
        };
        let agreed = match self.config.session_terms().answer(headers, None) {
            Ok(agreed) => agreed,
            Err(least) => return self.too_brief(tx, &request, least, now),
        };
        let replaces = match self.takes_place(&request) {
            Ok(replaces) => replaces,
            Err(status) => return self.answer(tx, &request, status, now),
        };
        self.next_leg += 2;
        let leg = LegId(self.next_leg);
        let invited = Invited {
            from: from.0,
            to: self.canonical(&request.uri, flow.local),
            offer: some(&request.body),
            call_id: call_id.0,
            headers: headers.clone(),
            binding: origin.is_account().then(|| self.binding_of(&account, flow)).flatten(),
            source: flow.peer,
            is_secure: flow.protocol.is_secure(),
            replaces,
            account,
            origin: origin.clone(),
        };
        let to_tag = self.ids.token();
        if let Some(name) = call_name(&request) {
            self.leg_of_call.insert(name, leg);
        }
        let called = Called {
            tx,
            invite: request,
            to_tag,
            flow,
            origin,
            agreed,
            early: None,
            told: Told::default(),
            fields: Vec::new(),
        };
        self.legs.insert(leg, Leg::Called(Box::new(called)));
        self.leg_of_invite.insert(tx, leg);
        self.outputs.push_back(Output::Leg(leg, LegEvent::Invited(Box::new(invited))));
    }

    /// The same INVITE by another way.
    pub(super) fn is_merged(&self, request: &Request) -> bool {
        call_name(request).is_some_and(|name| self.leg_of_call.contains_key(&name))
    }

    /// Their INVITE has its final answer.
    fn forget_invite(&mut self, called: &Called) {
        self.leg_of_invite.remove(&called.tx);
        if let Some(name) = call_name(&called.invite) {
            self.leg_of_call.remove(&name);
        }
    }

    /// A caller whose connection is gone is answered over another.
    pub(super) fn reopen_for(&mut self, leg: LegId) {
        if let Some(Leg::Called(called)) = self.legs.get(&leg) {
            let (tx, invite) = (called.tx, called.invite.clone());
            self.reopen(tx, &invite);
        }
    }

    /// Header fields for the answer that comes.
    pub fn say_in_answer(&mut self, leg: LegId, fields: Vec<(String, String)>) {
        if let Some(Leg::Called(called)) = self.legs.get_mut(&leg) {
            called.fields = fields;
        }
    }

    /// Answers a caller with our session description.
    pub fn accept(&mut self, leg: LegId, sdp: Bytes, now: Instant) {
        if self.accept_waits(leg, &sdp) {
            return;
        }
        let Some(mut called) = self.take_called(leg) else { return };
        let early = called.early.take();
        let dialog =
            early.or_else(|| Dialog::of_incoming(&called.invite, &called.to_tag, called.flow));
        let Some(dialog) = dialog else {
            self.end_called(&called, 400, None, Vec::new(), now);
            return self.outputs.push_back(Output::Leg(leg, LegEvent::Ended));
        };
        self.forget_invite(&called);
        let Called { tx, invite, to_tag, flow, origin, agreed, told, fields, .. } = *called;
        let user = invite.uri.user_decoded().unwrap_or_default();
        let mut response = invite.response(200, Some(&to_tag));
        response.headers.copy_from(&invite.headers, Name::RecordRoute);
        response.headers.push_typed(&self.contact(&user, flow));
        self.introduce(&mut response.headers);
        for (name, value) in fields {
            response.headers.push(name.as_str(), value);
        }
        if let Some(agreed) = agreed {
            agreed.write(&mut response.headers);
        }
        // What was answered reliably is not said again (RFC 3262 section 5).
        if !told.answered {
            response = response.with_body("application/sdp", sdp.clone());
        }
        response.headers.set(Name::Server, &self.config.software);
        let ok = crate::msg::Message::Response(response.clone()).to_bytes();
        self.reopen(tx, &invite);
        let reply = self.layer.reply_flow(tx).unwrap_or(flow);
        self.layer.respond(tx, response, now);
        self.leg_of_dialog.insert(dialog.id.clone(), leg);
        let number = invite.headers.cseq().map_or(0, |cseq| cseq.number);
        let mut session = Session::new(dialog, user, false);
        session.login = match &origin {
            Origin::Trunk(trunk) => self.login_at(trunk),
            Origin::Account | Origin::Foreign => None,
        };
        session.origin = Some(origin);
        session.unacked = Some(Unacked::new(number, ok, reply, now));
        session.said = sdp;
        session.heard = invite.body.clone();
        session.asked = told.asked;
        session.learn(&invite.headers);
        session.live_for(agreed, now);
        self.legs.insert(leg, Leg::Up(Box::new(session)));
        self.known(flow);
        self.arm(leg, now);
    }

    /// The INVITE of a leg that is about to get its final answer.
    fn take_called(&mut self, leg: LegId) -> Option<Box<Called>> {
        match self.legs.remove(&leg)? {
            Leg::Called(called) => Some(called),
            other => {
                self.legs.insert(leg, other);
                None
            }
        }
    }

    /// Refuses a caller. `Ended` follows.
    pub fn reject(
        &mut self,
        leg: LegId,
        status: u16,
        reason: Option<&str>,
        headers: Vec<(String, String)>,
        now: Instant,
    ) {
        let Some(called) = self.take_called(leg) else { return };
        self.end_called(&called, status, reason, headers, now);
        self.outputs.push_back(Output::Leg(leg, LegEvent::Ended));
    }

    fn end_called(
        &mut self,
        called: &Called,
        status: u16,
        reason: Option<&str>,
        headers: Vec<(String, String)>,
        now: Instant,
    ) {
        self.forget_invite(called);
        if let Some(early) = &called.early {
            self.leg_of_dialog.remove(&early.id);
        }
        if let Some(asked) = &called.told.asked {
            self.answer(asked.tx, &asked.request, 487, now);
        }
        let mut response = called.invite.response(status.clamp(300, 699), Some(&called.to_tag));
        if let Some(reason) = reason {
            reason.clone_into(&mut response.reason);
        }
        for (name, value) in headers {
            response.headers.push(name.as_str(), value);
        }
        self.reopen(called.tx, &called.invite);
        self.respond(called.tx, response, now);
    }

    /// The caller gives up (section 9.2).
    pub(super) fn handle_cancel(&mut self, tx: TxId, cancel: &Request, now: Instant) {
        let Some(invite) = self.layer.cancelled(cancel) else {
            return self.answer(tx, cancel, 481, now);
        };
        self.answer(tx, cancel, 200, now);
        let reason = cancel.headers.get("Reason").map(str::to_owned);
        if let Some(leg) = self.leg_of_invite.get(&invite).copied() {
            return self.caller_gave_up(leg, reason, now);
        }
        // A change of the session, or an INVITE whose sender is not known yet.
        self.forget_reinvite(invite, cancel, now);
        if self.layer.awaits_answer(invite)
            && let Some(request) = self.layer.invite(invite).cloned()
        {
            self.answer(invite, &request, 487, now);
        }
    }

    pub(super) fn caller_gave_up(&mut self, leg: LegId, reason: Option<String>, now: Instant) {
        self.caller_gone(leg, 487, reason, now);
    }

    /// A caller left, or is not heard of any more.
    pub(super) fn caller_gone(
        &mut self,
        leg: LegId,
        status: u16,
        reason: Option<String>,
        now: Instant,
    ) {
        let Some(called) = self.take_called(leg) else { return };
        self.end_called(&called, status, None, Vec::new(), now);
        self.outputs.push_back(Output::Leg(leg, LegEvent::Cancelled { reason }));
        self.outputs.push_back(Output::Leg(leg, LegEvent::Ended));
    }

    /// Ends a leg whatever it does: CANCEL, BYE, or a 480 to a caller. The last event follows.
    pub fn hang_up(&mut self, leg: LegId, reason: Option<String>, now: Instant) {
        match self.legs.get(&leg) {
            Some(Leg::Calling(_)) => self.give_up(leg, reason, now),
            Some(Leg::Called(_)) => self.reject(leg, 480, None, Vec::new(), now),
            Some(Leg::Up(_)) => self.end_session(leg, reason, now),
            None => {
                self.stop_search(leg, now);
                self.stop_waking(leg, now);
            }
        }
        self.run_events(now);
    }

    /// Something of a leg may be due.
    pub(super) fn leg_due(&mut self, leg: LegId, now: Instant) {
        match self.legs.get(&leg) {
            Some(Leg::Calling(_)) => self.calling_due(leg, now),
            Some(Leg::Up(_)) => self.session_due(leg, now),
            Some(Leg::Called(_)) => self.called_due(leg, now),
            None => self.waking_due(leg, now),
        }
    }
}

fn call_name(invite: &Request) -> Option<CallName> {
    let headers = &invite.headers;
    let tag = headers.from().ok()?.tag()?.to_owned();
    Some((tag, headers.call_id().ok()?.0, headers.cseq().ok()?.number))
}
