//! Transfers that phones ask for (RFC 3515, RFC 4488, RFC 5589) and calls that take the place of others (RFC 3891).
//!
//! A REFER inside a call goes up as [`LegEvent::Referred`]; how it goes on is told by NOTIFYs of the subscription that it
//! implies, one REFER at a time. Outside a call there is nobody to be transferred.

use std::time::Instant;

use bytes::Bytes;

use super::invite::Leg;
use super::{Core, Output, Owner};
use crate::dialog::DialogId;
use crate::msg::header::{Event, Expires, ReferSub, ReferTo, Replaces};
use crate::msg::{Header, Method, Name, Request, Scheme, Uri, reason_phrase};
use crate::ports::{LegEvent, LegId, Refer};
use crate::transaction::TxId;

/// How long a transfer is told about, in seconds; longer than anybody lets it ring.
const LIFE: u32 = 180;

/// A REFER in work.
pub(super) struct Referral {
    /// Until the gateway said whether it will do it.
    asked: Option<(TxId, Box<Request>)>,
    /// The CSeq number, where more than one REFER came in this call (RFC 3515 section 2.4.6).
    id: Option<u32>,
    /// Whether the phone wants to hear how it goes on.
    tells: bool,
}

impl Core {
    /// A REFER inside a call that is up.
    pub(super) fn referred(&mut self, leg: LegId, tx: TxId, request: Box<Request>, now: Instant) {
        let is_second = match self.session(leg) {
            Some(session) if session.referral.is_some() => {
                // One at a time.
                return self.ask_later(tx, &request, now);
            }
            Some(session) => session.referrals > 0,
            None => return self.answer(tx, &request, 481, now),
        };
        let refer = match self.read_refer(&request) {
            Ok(refer) => refer,
            Err(status) => return self.answer(tx, &request, status, now),
        };
        let number = request.headers.cseq().map_or(0, |cseq| cseq.number);
        let sub = request.headers.optional::<ReferSub>().ok().flatten();
        let tells = sub.is_none_or(|sub| sub.is_wanted);
        if let Some(session) = self.session(leg) {
            session.referrals += 1;
            let id = is_second.then_some(number);
            session.referral = Some(Referral { asked: Some((tx, request)), id, tells });
        }
        let event = LegEvent::Referred(Box::new(refer));
        self.outputs.push_back(Output::Leg(leg, event));
    }

    /// What a REFER asks for.
    fn read_refer(&self, request: &Request) -> Result<Refer, u16> {
        if request.headers.count(Name::ReferTo) != 1 || request.headers.count(Name::ReferredBy) > 1
        {
            return Err(400);
        }
        let to = request.headers.typed::<ReferTo>().map_err(|_| 400_u16)?;
        let mut uri = to.uri.clone();
        let is_call = |uri: &Uri| {
            matches!(uri.scheme, Scheme::Sip | Scheme::Sips | Scheme::Tel)
                || uri.scheme.as_str().eq_ignore_ascii_case("xmpp")
        };
        if !is_call(&uri) {
            return Err(416);
        }
        if !to.method().eq_ignore_ascii_case("INVITE") {
            return Err(403);
        }
        let replaces = match to.uri_header("Replaces") {
            // The dialog as its other end names it: ours is the To tag.
            Some(value) => {
                let replaces = Replaces::parse(&value).map_err(|_| 400_u16)?;
                Some(self.replaced(&replaces).ok_or(481_u16)?)
            }
            None => None,
        };
        uri.params.remove("method");
        uri.headers = None;
        let by = request.headers.get(Name::ReferredBy).map(str::to_owned);
        Ok(Refer { to: uri, replaces, by })
    }

    /// The leg that a Replaces means.
    pub(super) fn replaced(&self, replaces: &Replaces) -> Option<LegId> {
        let id = DialogId {
            call_id: replaces.call_id.clone(),
            local_tag: replaces.to_tag()?.to_owned(),
            // A peer of RFC 2543 has none, which is written as 0 (RFC 3891 section 3).
            remote_tag: replaces.from_tag()?.to_owned(),
        };
        let bare = || DialogId { remote_tag: String::new(), ..id.clone() };
        let found = self.leg_of_dialog.get(&id);
        found.or_else(|| self.leg_of_dialog.get(&bare()).filter(|_| id.remote_tag == "0")).copied()
    }

    /// The leg that an INVITE wants to take the place of (RFC 3891 section 3).
    ///
    /// # Errors
    /// The status it is refused with.
    pub(super) fn takes_place(&self, invite: &Request) -> Result<Option<LegId>, u16> {
        match invite.headers.count(Name::Replaces) {
            0 => return Ok(None),
            1 => {}
            _ => return Err(400),
        }
        let replaces = invite.headers.typed::<Replaces>().map_err(|_| 400_u16)?;
        let leg = self.replaced(&replaces).ok_or(481_u16)?;
        match self.legs.get(&leg) {
            Some(Leg::Up(_)) if replaces.is_early_only() => Err(486),
            Some(Leg::Up(_) | Leg::Calling(_)) => Ok(Some(leg)),
            // An early dialog that we did not begin, or none any more.
            Some(Leg::Called(_)) | None => Err(481),
        }
    }

    /// Takes a transfer on (2xx; what becomes of it is told by [`Core::refer_progress`]) or refuses it.
    pub fn answer_refer(&mut self, leg: LegId, status: u16, now: Instant) {
        let Some(session) = self.session(leg) else { return };
        let Some(referral) = &mut session.referral else { return };
        let Some((tx, request)) = referral.asked.take() else { return };
        let tells = referral.tells;
        let (user, flow) = (session.user.clone(), session.dialog.flow);
        if status >= 300 {
            session.referral = None;
            return self.answer(tx, &request, status.min(699), now);
        }
        let mut response = request.response(200, None);
        response.headers.push_typed(&self.contact(&user, flow));
        if !tells {
            response.headers.push_typed(&ReferSub::NONE);
        }
        self.respond(tx, response, now);
        self.refer_progress(leg, 100, now);
    }

    /// How a transfer goes on: the status of the new call. A final one ends the telling.
    pub fn refer_progress(&mut self, leg: LegId, status: u16, now: Instant) {
        let Some(session) = self.session(leg) else { return };
        let Some(referral) = session.referral.take_if(|_| status >= 200) else {
            let id = match &session.referral {
                Some(referral) if referral.tells && referral.asked.is_none() => referral.id,
                _ => return,
            };
            let state = format!("active;expires={LIFE}");
            return self.notify_refer(leg, id, &state, status, now);
        };
        if referral.tells {
            self.notify_refer(leg, referral.id, "terminated;reason=noresource", status, now);
        }
    }

    fn notify_refer(
        &mut self,
        leg: LegId,
        id: Option<u32>,
        state: &str,
        status: u16,
        now: Instant,
    ) {
        let Some(session) = self.session(leg) else { return };
        let mut notify = session.dialog.request(Method::NOTIFY);
        let (user, dialog) = (session.user.clone(), session.dialog.clone());
        let event = id.map_or("refer".to_owned(), |id| format!("refer;id={id}"));
        notify.headers.push("Event", event);
        notify.headers.push("Subscription-State", state);
        let flow = self.flow_of(&dialog);
        notify.headers.push_typed(&self.contact(&user, flow));
        let body = format!("SIP/2.0 {status} {}\r\n", reason_phrase(status));
        let notify = notify.with_body("message/sipfrag;version=2.0", Bytes::from(body));
        self.request(notify, flow, Owner::Nobody, now);
        self.run_events(now);
    }

    /// The phone refreshes the subscription of its REFER, or wants to hear no more (RFC 3515 section 2.4.4).
    pub(super) fn refer_watched(&mut self, leg: LegId, tx: TxId, request: &Request, now: Instant) {
        let event = request.headers.optional::<Event>().ok().flatten();
        let is_refer = event.is_some_and(|event| event.package.eq_ignore_ascii_case("refer"));
        let expires = request.headers.optional::<Expires>().ok().flatten();
        let Some(session) = self.session(leg) else { return };
        let Some(referral) = session.referral.as_mut().filter(|r| is_refer && r.tells) else {
            return self.answer(tx, request, 481, now);
        };
        let id = referral.id;
        let is_over = expires.is_some_and(|expires| expires.0 == 0);
        referral.tells = !is_over;
        let mut response = self.response(request, 200);
        let life = if is_over { 0 } else { LIFE };
        response.headers.push("Expires", life.to_string());
        self.respond(tx, response, now);
        let state = if is_over {
            "terminated;reason=timeout".to_owned()
        } else {
            format!("active;expires={LIFE}")
        };
        self.notify_refer(leg, id, &state, 100, now);
    }
}
