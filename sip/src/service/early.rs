//! Calls of ours that ring (RFC 3261 section 13.2.2.1, RFC 3262, RFC 3311, RFC 6228): the early dialogs of a forked INVITE,
//! PRACK for what has to arrive, UPDATE before the answer.

use std::time::Instant;

use bytes::Bytes;

use super::change::Asked;
use super::invite::Leg;
use super::message::some;
use super::{Core, Output, Owner};
use crate::dialog::timer::supports;
use crate::dialog::{Dialog, DialogId};
use crate::msg::header::{RAck, RSeq};
use crate::msg::{Method, Request, Response};
use crate::ports::{LegEvent, LegId};
use crate::transaction::TxId;
use crate::transport::Flow;

/// Early dialogs of one INVITE that are kept; further phones behind a fork ring without one.
const MAX_EARLY: usize = 16;

/// One phone that rings behind an INVITE of ours.
pub(super) struct Early {
    pub(super) dialog: Dialog,
    /// The last reliable response of it.
    rseq: Option<u32>,
    /// Its answer to our offer, once it came reliably.
    pub(super) answer: Bytes,
    /// Its UPDATE, not answered yet.
    pub(super) asked: Option<Asked>,
}

impl Core {
    /// A 101 to 199.
    pub(super) fn rings(&mut self, leg: LegId, response: &Response, now: Instant) {
        let tag = response.headers.to_tag().map(str::to_owned);
        if response.status == 199 {
            self.forget_early(leg, tag.as_deref(), now);
        } else if let Some(tag) = &tag
            && !self.ring_in_order(leg, tag, response, now)
        {
            return;
        }
        let event =
            LegEvent::Progress { status: response.status, sdp: some(&response.body), fork: tag };
        self.outputs.push_back(Output::Leg(leg, event));
    }

    /// Notes the early dialog, and acknowledges what has to arrive. False: it came before, or something is missing before
    /// it (RFC 3262 section 4).
    fn ring_in_order(&mut self, leg: LegId, tag: &str, response: &Response, now: Instant) -> bool {
        let Some(Leg::Calling(calling)) = self.legs.get_mut(&leg) else { return false };
        let is_of = |early: &Early| early.dialog.id.remote_tag == tag;
        if !calling.early.iter().any(is_of) && calling.early.len() < MAX_EARLY {
            let dialog = Dialog::of_outgoing(&calling.invite, response, calling.flow);
            if let Some(dialog) = dialog {
                self.leg_of_dialog.insert(dialog.id.clone(), leg);
                let early = Early { dialog, rseq: None, answer: Bytes::new(), asked: None };
                calling.early.push(early);
            }
        }
        let number = calling.invite.headers.cseq().map_or(1, |cseq| cseq.number);
        let is_reliable = supports(&response.headers, "100rel");
        let rseq = response.headers.optional::<RSeq>().ok().flatten().filter(|_| is_reliable);
        let (Some(RSeq(rseq)), Some(early)) = (rseq, calling.early.iter_mut().find(|e| is_of(e)))
        else {
            return !is_reliable;
        };
        if early.rseq.is_some_and(|last| rseq != last.wrapping_add(1)) {
            return false;
        }
        early.rseq = Some(rseq);
        early.dialog.refresh_target(&response.headers);
        if !response.body.is_empty() {
            early.answer = response.body.clone();
        }
        let mut prack = early.dialog.request(Method::PRACK);
        prack.headers.push_typed(&RAck { rseq, cseq: number, method: Method::INVITE });
        let dialog = early.dialog.clone();
        let flow = self.flow_of(&dialog);
        self.request(prack, flow, Owner::Nobody, now);
        true
    }

    /// A request of a phone that rings.
    pub(super) fn handle_ringing(
        &mut self,
        leg: LegId,
        tx: TxId,
        request: Box<Request>,
        flow: Flow,
        now: Instant,
    ) {
        let number = request.headers.cseq().map_or(0, |cseq| cseq.number);
        let id = DialogId::of_request(&request);
        let Some(early) = self.early(leg, |early| Some(&early.dialog.id) == id.as_ref()) else {
            return self.answer(tx, &request, 481, now);
        };
        if !early.dialog.accept_seq(number) {
            return self.answer(tx, &request, 500, now);
        }
        early.dialog.flow = flow;
        let is_pending = early.answer.is_empty();
        let is_asked = early.asked.is_some();
        match request.method {
            // Our offer is on its way (RFC 3311 section 5.2).
            Method::UPDATE if is_pending && !request.body.is_empty() => {
                self.answer(tx, &request, 491, now);
            }
            Method::UPDATE if is_asked => self.ask_later(tx, &request, now),
            Method::UPDATE => {
                early.dialog.refresh_target(&request.headers);
                let offer = some(&request.body);
                early.asked = Some(Asked { tx, request, agreed: None });
                match offer {
                    None => self.answer_early(leg, Ok(Bytes::new()), now),
                    offer => {
                        self.outputs.push_back(Output::Leg(leg, LegEvent::Reinvited { offer }));
                    }
                }
            }
            Method::OPTIONS => self.answer(tx, &request, 200, now),
            Method::INFO => self.informed_early(tx, &request, now),
            // A phone that does not want the call refuses the INVITE.
            Method::BYE => self.answer(tx, &request, 481, now),
            _ => self.not_allowed(tx, &request, now),
        }
    }

    /// Answers the UPDATE of a phone that rings.
    pub(super) fn answer_early(&mut self, leg: LegId, answer: Result<Bytes, u16>, now: Instant) {
        let Some(early) = self.early(leg, |early| early.asked.is_some()) else { return };
        let Some(asked) = early.asked.take() else { return };
        let flow = early.dialog.flow;
        let user = early.dialog.local.uri.user_decoded().unwrap_or_default();
        self.answer_change(asked, &user, flow, answer, now);
    }

    fn early(&mut self, leg: LegId, which: impl Fn(&Early) -> bool) -> Option<&mut Early> {
        let Some(Leg::Calling(calling)) = self.legs.get_mut(&leg) else { return None };
        calling.early.iter_mut().find(|early| which(early))
    }

    /// This phone rings no more (RFC 6228), or none does.
    pub(super) fn forget_early(&mut self, leg: LegId, tag: Option<&str>, now: Instant) {
        let Some(Leg::Calling(calling)) = self.legs.get_mut(&leg) else { return };
        let gone = calling
            .early
            .extract_if(.., |early| tag.is_none_or(|tag| early.dialog.id.remote_tag == tag));
        for early in gone.collect::<Vec<_>>() {
            self.leg_of_dialog.remove(&early.dialog.id);
            if let Some(asked) = early.asked {
                self.answer(asked.tx, &asked.request, 487, now);
            }
        }
    }

    /// The early dialog that a 2xx confirms, with what was said in it; all others are over.
    pub(super) fn take_early(&mut self, leg: LegId, tag: &str, now: Instant) -> Option<Early> {
        let Some(Leg::Calling(calling)) = self.legs.get_mut(&leg) else { return None };
        let at = calling.early.iter().position(|early| early.dialog.id.remote_tag == tag);
        let taken = at.map(|at| calling.early.swap_remove(at));
        self.forget_early(leg, None, now);
        taken
    }
}
