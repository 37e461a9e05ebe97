//! Calls of ours until they are answered (RFC 3261 sections 9.1, 13.2 and 15): INVITE, CANCEL, and answers that cross it or
//! come from several phones.

use std::time::Instant;

use super::early::Early;
use super::invite::Leg;
use super::locate::Wish;
use super::outbound::{Other, Way};
use super::session::Session;
use super::trunk::proof;
use super::{Core, Output, Owner, Timer};
use crate::dialog::Dialog;
use crate::msg::header::{CSeq, MinSe};
use crate::msg::{Method, Name, Request, Response};
use crate::ports::{LegEvent, LegId, Login, OutgoingInvite};
use crate::transaction::TxId;
use crate::transaction::timers::GIVE_UP;
use crate::transport::Flow;

/// Our INVITE without a final answer.
pub(super) struct Calling {
    tx: TxId,
    pub(super) invite: Box<Request>,
    branch: String,
    pub(super) flow: Flow,
    /// The Min-SE that was heard.
    pub(super) least: u32,
    /// The phones that ring.
    pub(super) early: Vec<Early>,
    /// Bindings of the same phone that were not tried yet.
    pub(super) others: Vec<Other>,
    /// What a challenge is answered with.
    pub(super) login: Option<Login>,
    /// Nobody wants the call any more; the Reason for it.
    given_up: Option<Option<String>>,
    /// A CANCEL has left; the INVITE is over at this time whatever happens (section 9.1).
    over_at: Option<Instant>,
}

impl Calling {
    /// Whether nobody wants the call any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.is_some()
    }
}

impl Core {
    /// Places a call. Its fate comes as [`LegEvent`]s.
    pub fn invite(&mut self, leg: LegId, call: OutgoingInvite, now: Instant) {
        if let Some(search) = self.search(&call.target) {
            return self.look_up(Wish::Invite(leg, Box::new(call)), search);
        }
        if let Some(call) = self.wake_first(leg, call, now) {
            self.place(leg, call, now);
        }
        self.run_events(now);
    }

    /// Places a call whose target can be reached now.
    pub(super) fn place(&mut self, leg: LegId, call: OutgoingInvite, now: Instant) {
        let Some((way, others)) = self.route(&call.target, now) else {
            let (status, reason) = call.target.no_way();
            return self.fail(leg, &refusal(status, reason), now);
        };
        let call_id = self.ids.token();
        let user = call.from.uri.user_decoded().unwrap_or_default();
        let uri = way.uri.clone();
        let mut request = self.outside(Method::INVITE, uri, call.from, call.to, call_id, 1);
        request.headers.set_typed(&call.max_forwards);
        request.headers.push_typed(&self.contact(&user, way.flow));
        self.introduce(&mut request.headers);
        for (name, value) in call.headers {
            request.headers.push(name.as_str(), value);
        }
        self.assert_caller(&mut request);
        let request = request.with_body("application/sdp", call.offer);
        self.call_over(leg, request, (way, others), call.login, now);
    }

    fn call_over(
        &mut self,
        leg: LegId,
        mut request: Request,
        (way, others): (Way, Vec<Other>),
        login: Option<Login>,
        now: Instant,
    ) {
        way.lead(&mut request);
        let (way, others) = self.spare(&request, way, others, now);
        self.send_invite(leg, request, (way.flow, others), (0, login), now);
    }

    /// `least` is the Min-SE that was heard (RFC 4028 section 7.4).
    pub(super) fn send_invite(
        &mut self,
        leg: LegId,
        mut request: Request,
        (flow, others): (Flow, Vec<Other>),
        (least, login): (u32, Option<Login>),
        now: Instant,
    ) {
        self.config.session_terms().ask(&mut request.headers, least, None);
        let branch = self.ids.branch();
        let invite = Box::new(request.clone());
        let owner = Owner::Invite(leg, invite.clone());
        let tx = self.request_as(request, &branch, flow, owner, now);
        let calling = Calling {
            tx,
            invite,
            branch,
            flow,
            others,
            login,
            least,
            early: Vec::new(),
            given_up: None,
            over_at: None,
        };
        self.legs.insert(leg, Leg::Calling(Box::new(calling)));
    }

    /// The callee wants a longer session timer: the same INVITE once more, with what it asks for. False: it did before.
    fn ask_for_longer(&mut self, leg: LegId, response: &Response, now: Instant) -> bool {
        let least = response.headers.optional::<MinSe>().ok().flatten().map(|least| least.seconds);
        let Some(Leg::Calling(calling)) = self.legs.get_mut(&leg) else { return false };
        let Some(least) = least.filter(|least| *least > calling.least) else { return false };
        if calling.given_up.is_some() {
            return false;
        }
        let (mut request, flow) = ((*calling.invite).clone(), calling.flow);
        let others = std::mem::take(&mut calling.others);
        let login = calling.login.take();
        self.forget_early(leg, None, now);
        let number = request.headers.cseq().map_or(1, |cseq| cseq.number);
        request.headers.set_typed(&CSeq::new(number.wrapping_add(1), Method::INVITE));
        self.send_invite(leg, request, (flow, others), (least, login), now);
        true
    }

    /// Calls the same phone over its next flow, where this one failed; true: it is called.
    fn call_again(&mut self, leg: LegId, response: &Response, now: Instant) -> bool {
        let Some(Leg::Calling(calling)) = self.legs.get_mut(&leg) else { return false };
        if calling.given_up.is_some() {
            return false;
        }
        let mut request = *calling.invite.clone();
        let (flow, others) = (calling.flow, std::mem::take(&mut calling.others));
        let login = calling.login.clone();
        if !self.goes_on(flow, &others, response, now) {
            return false;
        }
        let Some(next) = self.next_way(others) else { return false };
        let from = request.headers.from().ok().and_then(|from| from.uri.user_decoded());
        let contact = self.contact(&from.unwrap_or_default(), next.0.flow);
        request.headers.set_typed(&contact);
        self.forget_early(leg, None, now);
        self.call_over(leg, request, next, login, now);
        true
    }

    /// An answer to our INVITE, or to one whose leg is gone already.
    pub(super) fn invite_answered(
        &mut self,
        leg: LegId,
        tx: TxId,
        invite: &Request,
        response: &Response,
        now: Instant,
    ) {
        match response.status {
            0..=199 => self.provisional(leg, response, now),
            200..=299 => self.accepted(leg, tx, invite, response, now),
            _ => {
                let is_ours =
                    matches!(self.legs.get(&leg), Some(Leg::Calling(calling)) if calling.tx == tx);
                if !is_ours {
                    return;
                }
                let is_sent_again = match response.status {
                    401 | 407 => self.prove(leg, response, now),
                    422 => self.ask_for_longer(leg, response, now),
                    _ => false,
                };
                if !is_sent_again && !self.call_again(leg, response, now) {
                    self.fail(leg, response, now);
                }
            }
        }
    }

    fn provisional(&mut self, leg: LegId, response: &Response, now: Instant) {
        let Some(Leg::Calling(calling)) = self.legs.get(&leg) else { return };
        if calling.given_up.is_some() {
            return self.cancel(leg, now);
        }
        if response.status > 100 {
            self.rings(leg, response, now);
        }
    }

    /// A 2xx: the first makes the call, the same again wants its ACK again, another phone's is hung up at once
    /// (section 13.2.2.4).
    fn accepted(
        &mut self,
        leg: LegId,
        tx: TxId,
        invite: &Request,
        response: &Response,
        now: Instant,
    ) {
        let number = invite.headers.cseq().map_or(1, |cseq| cseq.number);
        let flow = match self.legs.get(&leg) {
            Some(Leg::Calling(calling)) => calling.flow,
            Some(Leg::Up(session)) => {
                let tag = response.headers.to_tag().map(str::to_owned);
                if tag.as_deref() == Some(session.dialog.id.remote_tag.as_str()) {
                    let dialog = session.dialog.clone();
                    return self.ack(&dialog, number);
                }
                session.dialog.flow
            }
            Some(Leg::Called(_)) => return,
            None => match self.layer.reply_flow(tx) {
                Some(flow) => flow,
                None => return,
            },
        };
        let Some(mut dialog) = Dialog::of_outgoing(invite, response, flow) else {
            // Neither to be acknowledged nor to be hung up.
            if matches!(self.legs.get(&leg), Some(Leg::Calling(_))) {
                self.fail(leg, &refusal(502, "Unreadable Answer"), now);
            }
            return;
        };
        dialog.flow = self.flow_of(&dialog);
        self.ack(&dialog, number);
        let is_wanted = matches!(self.legs.get(&leg), Some(Leg::Calling(calling)) if calling.given_up.is_none());
        if is_wanted {
            let early = self.take_early(leg, &dialog.id.remote_tag, now);
            let mut sdp = response.body.clone();
            let mut asked = None;
            if let Some(early) = early {
                // What was said in the early dialog goes on counting.
                dialog.local_seq = dialog.local_seq.max(early.dialog.local_seq);
                dialog.remote_seq = early.dialog.remote_seq;
                asked = early.asked;
                if sdp.is_empty() {
                    sdp = early.answer;
                }
            }
            self.leg_of_dialog.insert(dialog.id.clone(), leg);
            let user = invite.headers.from().ok().and_then(|from| from.uri.user_decoded());
            let mut session = Session::new(dialog, user.unwrap_or_default(), true);
            if let Some(Leg::Calling(calling)) = self.legs.get(&leg) {
                session.least = calling.least;
                session.said = calling.invite.body.clone();
                session.login.clone_from(&calling.login);
            }
            session.heard = sdp.clone();
            session.asked = asked;
            session.learn(&response.headers);
            let terms = self.config.session_terms();
            session.live_for(terms.accepted(&response.headers, session.least), now);
            self.legs.insert(leg, Leg::Up(Box::new(session)));
            self.known(flow);
            let event = LegEvent::Answered { sdp };
            self.outputs.push_back(Output::Leg(leg, event));
            return self.arm(leg, now);
        }
        let (reason, login) = match self.legs.get(&leg) {
            Some(Leg::Calling(calling)) => {
                (calling.given_up.clone().flatten(), calling.login.clone())
            }
            Some(Leg::Up(session)) => (None, session.login.clone()),
            _ => (None, None),
        };
        self.bye(&mut dialog, reason, login, now);
        if matches!(self.legs.get(&leg), Some(Leg::Calling(_))) {
            self.fail(leg, &refusal(487, "Request Terminated"), now);
        }
    }

    /// A call that was given up before anything left.
    pub(super) fn called_off(&mut self, leg: LegId, now: Instant) {
        self.fail(leg, &refusal(487, "Request Terminated"), now);
    }

    /// The last event of a call that did not come about.
    pub(super) fn fail(&mut self, leg: LegId, response: &Response, now: Instant) {
        self.forget_early(leg, None, now);
        self.legs.remove(&leg);
        let event = LegEvent::Failed {
            status: response.status,
            reason: response.reason.clone(),
            headers: response.headers.clone(),
        };
        self.outputs.push_back(Output::Leg(leg, event));
    }

    /// A CANCEL leaves once a 1xx has come (section 9.1).
    fn cancel(&mut self, leg: LegId, now: Instant) {
        let Some(Leg::Calling(calling)) = self.legs.get_mut(&leg) else { return };
        let Some(reason) = calling.given_up.clone() else { return };
        if calling.over_at.is_some() || !self.layer.may_cancel(calling.tx) {
            return;
        }
        calling.over_at = Some(now + GIVE_UP);
        let invite = &calling.invite;
        let mut cancel = Request::new(Method::CANCEL, invite.uri.clone());
        for name in [Name::Route, Name::MaxForwards, Name::From, Name::To, Name::CallId] {
            cancel.headers.copy_from(&invite.headers, name);
        }
        let number = invite.headers.cseq().map_or(1, |cseq| cseq.number);
        cancel.headers.push_typed(&CSeq::new(number, Method::CANCEL));
        if let Some(reason) = reason {
            cancel.headers.push("Reason", reason);
        }
        let (branch, flow) = (calling.branch.clone(), calling.flow);
        self.timers.push(now, now + GIVE_UP, Timer::Leg(leg));
        self.request_as(cancel, &branch, flow, Owner::Nobody, now);
    }

    /// Nobody wants this call any more.
    pub(super) fn give_up(&mut self, leg: LegId, reason: Option<String>, now: Instant) {
        if let Some(Leg::Calling(calling)) = self.legs.get_mut(&leg) {
            calling.given_up.get_or_insert(reason);
            self.cancel(leg, now);
        }
    }

    /// A CANCEL that nobody answered in time.
    pub(super) fn calling_due(&mut self, leg: LegId, now: Instant) {
        let Some(Leg::Calling(calling)) = self.legs.get(&leg) else { return };
        if calling.over_at.is_some_and(|at| at <= now) {
            self.layer.forget(calling.tx);
            self.fail(leg, &refusal(487, "Request Terminated"), now);
        }
    }

    /// Hangs up a dialog that has no leg (any more).
    pub(super) fn bye(
        &mut self,
        dialog: &mut Dialog,
        reason: Option<String>,
        login: Option<Login>,
        now: Instant,
    ) {
        let mut bye = dialog.request(Method::BYE);
        if let Some(reason) = reason {
            bye.headers.push("Reason", reason);
        }
        let flow = self.flow_of(dialog);
        let owner = match login {
            Some(login) => Owner::Bye(Box::new((bye.clone(), flow, login))),
            None => Owner::Nobody,
        };
        self.request(bye, flow, owner, now);
    }

    /// Who has to be sure who hangs up is told once more, with credentials: a call that goes on costs money.
    pub(super) fn bye_answered(
        &mut self,
        (bye, flow, login): &(Request, Flow, Login),
        response: &Response,
        now: Instant,
    ) {
        let cnonce = self.ids.token();
        let Some((field, proof)) = proof(login, response, bye, &cnonce) else { return };
        let mut bye = bye.clone();
        bye.headers.set(field, proof);
        let number = bye.headers.cseq().map_or(1, |cseq| cseq.number);
        bye.headers.set_typed(&CSeq::new(number.wrapping_add(1), Method::BYE));
        self.request(bye, *flow, Owner::Nobody, now);
    }
}

/// A failure that nobody sent.
fn refusal(status: u16, reason: &str) -> Response {
    let mut response = Response::new(status);
    reason.clone_into(&mut response.reason);
    response
}
