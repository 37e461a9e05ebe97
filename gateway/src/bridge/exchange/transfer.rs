//! Transfers (RFC 3515, RFC 3891, RFC 5589, XEP-0251; `interop.md` 6.9): done here, whoever asks for them. Neither a phone
//! nor an app is ever told to call somebody else.
//!
//! A number is rung with the rights of who transfers, who pays for it. Blind: the new party is rung as a call of its own, whose caller is a leg that only waits ([`Kind::Waiting`]). When it is
//! taken, whoever stays moves over from the old call into that leg. Attended: whoever stays moves into the place that the
//! transferor has in its other call. An INVITE with Replaces moves the new leg into the place of the old one.

use std::sync::Arc;
use std::time::Instant;

use tandem_sip::msg::Uri;
use tandem_sip::ports::{LegId as SipLeg, Refer};
use tandem_xmpp::jid::Jid;

use super::entry::{CallKey, Entry, Kind, Leg, Waiting};
use super::{CALLER, Cause, Exchange, Input, LegKey, Outgoing, Wish};
use crate::bridge::tolls::Refused;
use crate::bridge::{echo, identity};

/// Transfers of one call in a row.
const MAX_HOPS: u8 = 5;

impl Exchange {
    /// A phone wants whoever it talks to to talk to somebody else.
    pub(super) async fn referred(
        &mut self,
        (call, key): (CallKey, LegKey),
        dialog: SipLeg,
        refer: Refer,
        now: Instant,
    ) {
        if let Some(other) = refer.replaces {
            let place = self.index.place(other);
            let result = match place {
                Some(place) => self.attended((call, key), place),
                None => Err(481),
            };
            // The transferor hears of it before its call ends, which `attended` leaves to be done.
            self.parts.sip.answer_refer(dialog, result.err().unwrap_or(200));
            if result.is_ok() {
                self.parts.sip.refer_progress(dialog, 200);
                self.leave(call, key, now);
            }
            return;
        }
        match self.meant(&refer.to).await {
            Ok(target) => {
                self.parts.sip.answer_refer(dialog, 200);
                let wakes = self.can_wake(&target).await;
                if let Err(status) = self.blind((call, key), target, wakes, now) {
                    self.parts.sip.refer_progress(dialog, status);
                }
            }
            Err(status) => self.parts.sip.answer_refer(dialog, status),
        }
    }

    /// An app wants the same (XEP-0251): by `sid` in a session that it has with the new party.
    pub(super) async fn app_transfers(
        &mut self,
        Wish { place: (call, key), to, sid }: Wish,
        now: Instant,
    ) {
        let peer = self.calls.get_mut(&call).and_then(|entry| {
            entry.legs.get_mut(&key)?.kind.session().map(|session| session.peer().clone())
        });
        let result = match (sid, peer) {
            (Some(sid), Some(peer)) => {
                let other = self.call_of(&sid, &peer);
                let place = other.and_then(|other| Some((other, self.leg_with(other, &peer)?)));
                let result = place.map_or(Err(481), |place| self.attended((call, key), place));
                if result.is_ok() {
                    self.leave(call, key, now);
                }
                result
            }
            _ => match self.may_be_rung(&to).await {
                Ok(()) => {
                    let wakes = self.can_wake(&to).await;
                    self.blind((call, key), to, wakes, now)
                }
                Err(status) => Err(status),
            },
        };
        if let Err(status) = result {
            tracing::info!(call = call.0, status, "a transfer by an app is refused");
        }
    }

    /// Whom a phone means: an address, or a number that it would dial.
    async fn meant(&self, to: &Uri) -> Result<Jid, u16> {
        let plan = &self.parts.plan;
        if let Some(emergency) = plan.emergency(to) {
            return Ok(emergency);
        }
        let rung = match identity::sip_to_jid(to) {
            Ok(named) => self.may_be_rung(&named).await.map(|()| named),
            Err(_) => Err(404),
        };
        match rung {
            Err(404) => plan.dialled(to).ok_or(404),
            other => other,
        }
    }

    async fn may_be_rung(&self, target: &Jid) -> Result<(), u16> {
        if self.parts.plan.is_number_domain(target) {
            return Ok(());
        }
        let exists = self.parts.xmpp.ports().accounts.exists(&target.bare()).await;
        match exists {
            Ok(true) => Ok(()),
            Ok(false) if target.node() == Some(echo::NAME) => Ok(()),
            Ok(false) => Err(404),
            Err(_) => Err(500),
        }
    }

    /// Rings the new party; whoever stays waits in the old call meanwhile.
    fn blind(
        &mut self,
        (call, by): (CallKey, LegKey),
        target: Jid,
        wakes: bool,
        now: Instant,
    ) -> Result<(), u16> {
        let entry = self.calls.get(&call).ok_or(481_u16)?;
        if entry.answered.is_none() || entry.transferring.is_some() || self.is_full() {
            return Err(if self.is_full() { 503 } else { 403 });
        }
        let rest = entry.other(by).ok_or(403_u16)?;
        if entry.hops >= MAX_HOPS || target.node() == Some(echo::NAME) {
            return Err(403);
        }
        let (hops, media) = (entry.hops + 1, entry.media.clone());
        let codecs = entry.legs.get(&rest).and_then(|leg| leg.codec).into_iter().collect();
        let party = entry.party(rest);
        let (payer, is_hidden) = (entry.party(by).bare(), entry.is_hidden && by == CALLER);
        // Who hides, or has no resource of its own, has one that moves along.
        let lent = (rest == CALLER && entry.guest.is_some()).then(|| entry.caller.clone());
        let phone = entry.legs.get(&rest).and_then(|leg| leg.kind.dialog().and(leg.device.clone()));
        let child = self.new_key();
        let sid = self.new_sid();
        // An app that stays is spoken for by a resource of ours: what is answered to it has to come here.
        let guest = match phone.as_ref().or(lent.as_ref()) {
            Some(_) => None,
            // Numbers have addresses, which need no lending.
            None if self.parts.plan.is_number_domain(&party) => None,
            None => party.bare().with_resource(&format!("call-{sid}")).ok(),
        };
        let known = lent.or(phone).or_else(|| guest.clone()).unwrap_or(party);
        let waiting = Waiting { call, by, rest };
        let leg = Leg::new(Kind::Waiting(waiting), None);
        let mut new = self.entry_in(media, sid, known, target, leg, now);
        new.hops = hops;
        new.caller_codecs = codecs;
        new.guest = guest;
        if self.parts.plan.is_number_domain(&new.callee) {
            // Who transfers pays, and shows its number.
            new.is_hidden = is_hidden;
            let rung = self.ring_number(child, &mut new, &payer, now);
            rung.map_err(Refused::status)?;
        } else {
            self.follow(&mut new);
            self.ring_forwarded(child, &mut new, wakes, now);
        }
        if let Some(guest) = &new.guest {
            let _ = self.parts.outbox.send(Outgoing::Guest(guest.clone(), true));
        }
        if let Some(entry) = self.calls.get_mut(&call) {
            entry.transferring = Some(child);
        }
        self.begin(child, new, false, now);
        Ok(())
    }

    /// Moves whoever stays in `call` into the place that the transferor has in another call of its.
    fn attended(
        &mut self,
        (call, by): (CallKey, LegKey),
        (other, place): (CallKey, LegKey),
    ) -> Result<(), u16> {
        let (one, two) = match (self.calls.get(&call), self.calls.get(&other)) {
            (Some(one), Some(two)) if call != other => (one, two),
            _ => return Err(481),
        };
        if one.party(by).bare() != two.party(place).bare() {
            return Err(403);
        }
        let rest = one.other(by).filter(|_| one.answered.is_some()).ok_or(403_u16)?;
        let is_up = two.answered.is_some() && two.other(place).is_some();
        if !is_up && (place != CALLER || two.machine.is_ended()) {
            return Err(403);
        }
        if one.transferring.is_some() || one.hops.max(two.hops) >= MAX_HOPS {
            return Err(403);
        }
        self.take_over((call, rest), (other, place));
        Ok(())
    }

    /// The transferor's part is over: the call it came from ends for it.
    pub(super) fn leave(&mut self, call: CallKey, by: LegKey, now: Instant) {
        self.end_leg(call, by, &Cause::Transferred);
        self.input(call, Input::HungUp(by, Cause::Transferred), now);
    }

    /// A leg of one call takes a place in another. Who had the place is hung up; who hears it is connected.
    pub(super) fn take_over(
        &mut self,
        (from, key): (CallKey, LegKey),
        (to, place): (CallKey, LegKey),
    ) {
        let Some(mut old) = self.calls.remove(&from) else { return };
        let Some(mut leg) = old.legs.remove(&key) else {
            self.calls.insert(from, old);
            return;
        };
        // What this leg was told of the one it heard.
        let was_held = old.other(key).and_then(|k| old.legs.get(&k)).is_some_and(|l| l.holds);
        let party = if key == CALLER { old.caller.clone() } else { old.party_of(key, &leg) };
        let guest = if key == CALLER { old.guest.take() } else { None };
        self.index_leg((to, place), &mut leg);
        let device = leg.device.clone();
        let was_busy = device.as_ref().and_then(|d| old.busy.iter().position(|b| b == d));
        let busy = was_busy.map(|at| old.busy.swap_remove(at));
        let Some(mut new) = self.calls.remove(&to) else {
            self.calls.insert(from, old);
            return;
        };
        // The media of the leg lives as long as the room it was opened in.
        new.rooms.push(old.media.clone());
        new.rooms.extend(old.rooms.iter().cloned());
        new.hops = new.hops.max(old.hops).saturating_add(1);
        new.busy.extend(busy);
        self.calls.insert(from, old);
        let place_holds = new.legs.get(&place).is_some_and(|leg| leg.holds);
        let displaced = new.legs.insert(place, leg);
        if place == CALLER {
            new.caller = party;
        }
        new.guest = new.guest.take().or(guest);
        let other = new.other(place).filter(|_| new.answered.is_some());
        let media = |key: LegKey| new.legs.get(&key).and_then(|leg| leg.media);
        if let Some((one, two)) = other.and_then(|other| Some((media(place)?, media(other)?))) {
            self.parts.media.connect(one, two);
        }
        let holds = |key: LegKey| new.legs.get(&key).is_some_and(|leg| leg.holds);
        let (holds, other_holds) = (holds(place), other.is_some_and(holds));
        if let Some(device) = displaced.as_ref().and_then(|leg| leg.device.clone())
            && let Some(at) = new.busy.iter().position(|busy| *busy == device)
        {
            new.busy.swap_remove(at);
            let _ = self.parts.outbox.send(Outgoing::InCall(device, false));
        }
        self.calls.insert(to, new);
        if let Some(displaced) = displaced {
            self.dismiss(displaced);
        }
        if was_held != other_holds {
            self.tell_hold(to, place, other_holds);
        }
        if let Some(other) = other.filter(|_| place_holds != holds) {
            self.tell_hold(to, other, holds);
        }
        tracing::info!(from = from.0, to = to.0, "a leg moved to another call");
    }

    /// Whoever had a place that another leg took.
    fn dismiss(&mut self, mut leg: Leg) {
        if let Some(dialog) = leg.kind.dialog() {
            self.index.forget_dialog(dialog);
            self.parts.sip.hang_up(dialog, Cause::Transferred.to_sip_reason());
        }
        if let Some(session) = leg.kind.session() {
            session.terminate(Cause::Transferred.to_jingle());
            let said: Vec<_> = std::iter::from_fn(|| session.poll_stanza()).collect();
            said.into_iter().for_each(|stanza| self.say(stanza));
        }
        if let Some(media) = leg.media.take() {
            self.by_media.remove(&media);
            self.parts.media.close_leg(media);
        }
    }

    /// From here on what this leg says belongs to that place.
    fn index_leg(&mut self, (call, key): (CallKey, LegKey), leg: &mut Leg) {
        if let Some(dialog) = leg.kind.dialog() {
            self.index.set_place(dialog, (call, key));
        }
        if let Some(media) = leg.media {
            self.by_media.insert(media, (call, key));
        }
        if let Some(session) = leg.kind.session() {
            self.index.set_call(session.sid(), session.peer(), call);
        }
    }

    /// The new party took the call that a leg waits for.
    pub(super) fn transfer_taken(&mut self, child: CallKey, waiting: &Waiting, now: Instant) {
        let Waiting { call, by, rest } = *waiting;
        if let Some(entry) = self.calls.get_mut(&call) {
            entry.transferring = None;
        }
        self.take_over((call, rest), (child, CALLER));
        let dialog = self.dialog_of(call, by);
        if let Some(dialog) = dialog {
            self.parts.sip.refer_progress(dialog, 200);
        }
        self.leave(call, by, now);
        self.input(child, Input::CallerUp, now);
    }

    /// The new party rings, or cannot be had: the transferor is told, and the old call goes on.
    pub(super) fn transfer_told(&mut self, waiting: &Waiting, status: u16) {
        if let Some(dialog) = self.dialog_of(waiting.call, waiting.by) {
            self.parts.sip.refer_progress(dialog, status);
        }
        if status >= 200
            && let Some(entry) = self.calls.get_mut(&waiting.call)
        {
            entry.transferring = None;
        }
    }

    fn dialog_of(&self, call: CallKey, key: LegKey) -> Option<SipLeg> {
        self.calls.get(&call)?.legs.get(&key)?.kind.dialog()
    }

    /// Somebody hangs up in a call that is being transferred. True: it was the transferor, and whoever stays goes on
    /// waiting in the new call.
    pub(super) fn left_while_transferring(
        &mut self,
        call: CallKey,
        key: LegKey,
        cause: &Cause,
        now: Instant,
    ) -> bool {
        let Some(entry) = self.calls.get_mut(&call) else { return false };
        let Some(child) = entry.transferring.take() else { return false };
        let rest = entry.other(key);
        let is_transferor = self.calls.get(&child).is_some_and(|child| {
            matches!(&child.legs.get(&CALLER).map(|leg| &leg.kind),
                Some(Kind::Waiting(waiting)) if waiting.by == key)
        });
        match rest {
            Some(rest) if is_transferor => {
                self.take_over((call, rest), (child, CALLER));
                self.input(call, Input::HungUp(key, cause.clone()), now);
                true
            }
            _ => {
                self.input(child, Input::HungUp(CALLER, cause.clone()), now);
                false
            }
        }
    }

    /// An INVITE takes the place of a leg (RFC 3891): of a phone of the same account.
    pub(super) fn replaces(
        &mut self,
        dialog: SipLeg,
        (call, place): (CallKey, LegKey),
        account: &Jid,
        mut leg: Leg,
        now: Instant,
    ) -> Result<(), u16> {
        let entry = self.calls.get_mut(&call).ok_or(481_u16)?;
        if entry.party(place).bare() != account.bare() {
            return Err(403);
        }
        let is_up = entry.answered.is_some();
        let other = entry.other(place).filter(|_| is_up);
        let media_call = entry.media.id();
        let heard = other.unwrap_or(CALLER);
        let preferred: Vec<_> = match entry.legs.get(&heard).and_then(|leg| leg.codec) {
            Some(codec) => vec![codec],
            None => entry.caller_codecs.clone(),
        };
        let answer = self.answer_for(media_call, &mut leg, &preferred).map_err(|r| r.status)?;
        self.index_leg((call, place), &mut leg);
        leg.up = is_up;
        let media = leg.media;
        let device = leg.device.clone();
        let Some(entry) = self.calls.get_mut(&call) else { return Err(481) };
        let displaced = entry.legs.insert(place, leg);
        let gone = displaced.as_ref().and_then(|leg| leg.device.clone());
        if let Some(at) = entry.busy.iter().position(|busy| Some(busy) == gone.as_ref()) {
            let gone = entry.busy.swap_remove(at);
            let _ = self.parts.outbox.send(Outgoing::InCall(gone, false));
        }
        if let (true, Some(device)) = (is_up, device) {
            entry.busy.push(device.clone());
            let _ = self.parts.outbox.send(Outgoing::InCall(device, true));
        }
        let heard_media = other.and_then(|other| entry.legs.get(&other)).and_then(|leg| leg.media);
        if let (Some(one), Some(two)) = (media, heard_media) {
            self.parts.media.connect(one, two);
        }
        self.parts.sip.answer(dialog, answer);
        let place_held = displaced.as_ref().is_some_and(|leg| leg.holds);
        if let Some(displaced) = displaced {
            self.dismiss(displaced);
        }
        if let Some(other) = other.filter(|_| place_held) {
            self.tell_hold(call, other, false);
        }
        if !is_up {
            self.input(call, Input::Answered(place), now);
        }
        Ok(())
    }
}

impl Entry {
    /// Who is on a leg: the device, or its account.
    pub(super) fn party(&self, key: LegKey) -> Jid {
        match self.legs.get(&key) {
            Some(leg) => self.party_of(key, leg),
            None => self.callee.clone(),
        }
    }

    fn party_of(&self, key: LegKey, leg: &Leg) -> Jid {
        match (&leg.device, key) {
            (Some(device), _) => device.clone(),
            (None, CALLER) => self.caller.clone(),
            (None, _) => self.callee.clone(),
        }
    }
}

/// The media of a call on its shard. It ends when the last call that a leg of it lives in does.
pub(super) struct Room {
    handle: tandem_media::MediaHandle,
    id: tandem_media::CallId,
}

impl Room {
    pub(super) fn open(handle: &tandem_media::MediaHandle) -> Arc<Self> {
        Arc::new(Self { id: handle.open_call(), handle: handle.clone() })
    }

    /// Names it for the media engine.
    pub(super) fn id(&self) -> tandem_media::CallId {
        self.id
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.handle.close_call(self.id);
    }
}
