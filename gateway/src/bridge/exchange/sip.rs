//! What phones tell the exchange (RFC 3261, RFC 3264), and the calls they start.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use tandem_media::codec::Codec;
use tandem_media::sdp;
use tandem_sip::msg::{NameAddr, Uri};
use tandem_sip::ports::{Binding, LegEvent, LegId as SipLeg, Invited};
use tandem_xmpp::jid::Jid;

use super::entry::{CallKey, Entry, Kind, Leg};
use super::{CALLER, Cause, Exchange, Input, LegKey, act};
use crate::bridge::call::{Call, Patience};
use crate::bridge::{audio, identity};

impl Exchange {
    pub(super) async fn handle_sip(&mut self, leg: SipLeg, event: LegEvent, now: Instant) {
        if let LegEvent::Invited(invited) = event {
            return self.sip_invited(leg, *invited, now).await;
        }
        let Some(&(call, key)) = self.by_sip.get(&leg) else { return };
        match event {
            LegEvent::Invited(_) => {}
            LegEvent::Progress { status, .. } => {
                if status > 100 {
                    self.input(call, Input::Ringing(key), now).await;
                }
            }
            LegEvent::Answered { sdp } => self.sip_answered(call, key, &sdp, now).await,
            LegEvent::Acked { sdp } => self.sip_acked(call, key, sdp, now).await,
            LegEvent::Failed { status, reason, .. } => {
                self.sip_failed(call, key, status, reason, now).await;
            }
            LegEvent::Cancelled { .. } => {
                self.input(call, Input::HungUp(key, Cause::Cancelled), now).await;
            }
            LegEvent::Bye { reason } => {
                let cause = super::act::bye_cause(reason);
                self.input(call, Input::HungUp(key, cause), now).await;
            }
            LegEvent::Reinvited { offer } => self.sip_reinvited(call, key, leg, offer),
            LegEvent::ReinviteAnswered(_) | LegEvent::Info { .. } => {}
            LegEvent::Ended => {
                self.by_sip.remove(&leg);
                self.input(call, Input::HungUp(key, Cause::ConnectionFailed), now).await;
            }
        }
    }

    /// A phone calls: find who is meant, ring all of their devices.
    async fn sip_invited(&mut self, leg: SipLeg, invited: Invited, now: Instant) {
        if let Err(status) = self.try_sip_invited(leg, invited, now).await {
            self.parts.sip.reject(leg, status, None, Vec::new());
        }
    }

    async fn try_sip_invited(
        &mut self,
        leg: SipLeg,
        invited: Invited,
        now: Instant,
    ) -> Result<(), u16> {
        let callee = identity::sip_to_jid(&invited.to).map_err(|_| 404_u16)?;
        let account = callee.bare();
        let caller = Jid::parse(&invited.account).map_err(|_| 403_u16)?;
        match self.parts.store.account_exists(&account).await {
            Ok(true) => {}
            Ok(false) => return Err(404),
            Err(_) => return Err(500),
        }
        let offer = match &invited.offer {
            Some(body) => Some(sdp::Session::parse(body).map_err(|_| 488_u16)?),
            None => None,
        };
        let caller_codecs = offer.as_ref().map(audio::offered_codecs).unwrap_or_default();
        if offer.is_some() && caller_codecs.is_empty() {
            return Err(488);
        }
        let media_call = self.parts.media.open_call();
        let key = self.new_key();
        let device = self.device_of(&caller, &invited);
        let mut entry = Entry {
            machine: Call::new([], true, Patience::default(), now),
            media: media_call,
            sid: act::new_sid(),
            caller: device.clone().unwrap_or_else(|| caller.clone()),
            callee: account.clone(),
            legs: std::collections::BTreeMap::new(),
            next_key: 0,
            caller_codecs,
            started: wall_clock(),
            answered: None,
        };
        let kind = Kind::SipCaller { leg, offer, ours: None, answer: None, up: false };
        entry.add_leg(Leg { kind, media: None, codec: None, device });
        self.by_sip.insert(leg, (key, CALLER));
        let sid = entry.sid.clone();
        self.by_sid.insert((sid.clone(), account.clone()), key);
        self.by_sid.insert((sid, caller.bare()), key);

        let mut targets = Vec::new();
        if account == self.parts.echo {
            let echo = Leg { kind: Kind::Echo, media: None, codec: None, device: None };
            targets.push(entry.add_leg(echo));
        } else {
            self.ring_phones(key, &mut entry, &callee, Some(leg), &mut targets);
            self.ring_xmpp(key, &mut entry, &callee, &mut targets).await;
        }
        tracing::info!(call = key.0, targets = targets.len(), "call from a phone");
        entry.machine = Call::new(targets.iter().copied(), false, Patience::default(), now);
        let echo = targets
            .iter()
            .copied()
            .find(|t| matches!(entry.legs.get(t), Some(Leg { kind: Kind::Echo, .. })));
        self.calls.insert(key, entry);
        match echo {
            Some(target) => self.input(key, Input::Answered(target), now).await,
            None => self.act(key, now).await,
        }
        Ok(())
    }

    /// The full JID of the phone that called, if it is registered.
    fn device_of(&self, caller: &Jid, invited: &Invited) -> Option<Jid> {
        let phones = self.parts.contacts.of(&caller.bare());
        let by_flow = phones.iter().find(|(_, b)| b.is_from(invited.source));
        by_flow.or_else(|| phones.first()).map(|(jid, _)| jid.clone())
    }

    /// Invites every phone of the called account but the one that calls.
    pub(super) fn ring_phones(
        &mut self,
        call: CallKey,
        entry: &mut Entry,
        callee: &Jid,
        _caller_leg: Option<SipLeg>,
        targets: &mut Vec<LegKey>,
    ) {
        let phones = self.parts.contacts.of(&callee.bare());
        for (device, binding) in phones {
            if callee.resource().is_some_and(|r| Some(r) != device.resource())
                || entry.caller == device
            {
                continue;
            }
            let secure = binding.is_secure();
            match self.invite(entry, &binding, device, secure, false) {
                Ok((leg, sip)) => {
                    let key = entry.add_leg(leg);
                    self.by_sip.insert(sip, (call, key));
                    if let Some(media) = entry.legs.get(&key).and_then(|l| l.media) {
                        self.by_media.insert(media, (call, key));
                    }
                    targets.push(key);
                }
                Err(error) => tracing::error!(%error, "no media ports for a phone"),
            }
        }
    }

    fn invite(
        &self,
        entry: &Entry,
        binding: &Binding,
        device: Jid,
        secure: bool,
        retried: bool,
    ) -> Result<(Leg, SipLeg), tandem_media::MediaError> {
        let (media, address) = self.parts.media.open_rtp(entry.media)?;
        let codecs = audio::preference(&entry.caller_codecs);
        let ours = audio::sip_offer(address, &codecs, secure);
        let from = NameAddr::new(identity::jid_to_sip(&entry.caller.bare()));
        let sip = self.parts.sip.invite(tandem_sip::OutgoingInvite {
            target: binding.clone().into(),
            from,
            to: identity::jid_to_sip(&entry.callee),
            offer: Some(Bytes::from(ours.to_string())),
            headers: Vec::new(),
        });
        let kind = Kind::SipTarget {
            leg: sip,
            binding: Box::new(binding.clone()),
            ours,
            secure,
            retried,
            up: false,
        };
        Ok((Leg { kind, media: Some(media), codec: None, device: Some(device) }, sip))
    }

    /// A phone answered our INVITE.
    async fn sip_answered(&mut self, call: CallKey, key: LegKey, body: &[u8], now: Instant) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let caller_codecs = entry.caller_codecs.clone();
        let Some(leg) = entry.legs.get_mut(&key) else { return };
        let Kind::SipTarget { ours, up, .. } = &mut leg.kind else { return };
        *up = true;
        let answer = sdp::Session::parse(body).ok();
        let negotiated = answer.and_then(|a| sdp::accept_answer(ours, &a).ok());
        match (negotiated, leg.media) {
            (Some(negotiated), Some(media)) => {
                leg.codec = Some(audio::apply(&self.parts.media, media, &negotiated, &caller_codecs));
                self.input(call, Input::Answered(key), now).await;
            }
            _ => {
                // It answered with nothing we can carry: the dialog is up, so it is hung up with a reason.
                act::end_leg(&self.parts, leg, &Cause::Unsupported);
                self.input(call, Input::Refused(key, Cause::Unsupported), now).await;
            }
        }
    }

    /// The answer to our own offer, when the phone's INVITE had none (RFC 3261 section 13.2.1).
    async fn sip_acked(
        &mut self,
        call: CallKey,
        key: LegKey,
        body: Option<Bytes>,
        now: Instant,
    ) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let preferred: Vec<Codec> = entry
            .machine
            .taken_by()
            .and_then(|t| entry.legs.get(&t))
            .and_then(|l| l.codec)
            .into_iter()
            .collect();
        let Some(leg) = entry.legs.get_mut(&key) else { return };
        let Kind::SipCaller { ours, .. } = &mut leg.kind else { return };
        let Some(ours) = ours.take() else { return };
        let answer = body.and_then(|b| sdp::Session::parse(&b).ok());
        let negotiated = answer.and_then(|a| sdp::accept_answer(&ours, &a).ok());
        match (negotiated, leg.media) {
            (Some(negotiated), Some(media)) => {
                leg.codec = Some(audio::apply(&self.parts.media, media, &negotiated, &preferred));
                self.input(call, Input::CallerUp, now).await;
            }
            _ => {
                act::end_leg(&self.parts, leg, &Cause::Unsupported);
                self.input(call, Input::HungUp(key, Cause::Unsupported), now).await;
            }
        }
    }

    /// A branch failed. A phone that wants the other kind of RTP is asked once more with it.
    async fn sip_failed(
        &mut self,
        call: CallKey,
        key: LegKey,
        status: u16,
        reason: String,
        now: Instant,
    ) {
        if matches!(status, 488 | 415 | 606) && self.try_other_profile(call, key) {
            return;
        }
        let cause = Cause::Sip { status, reason: Some(reason).filter(|r| r.contains("cause=")) };
        let input = match status {
            600 | 603 | 604 | 607 | 608 => Input::Declined(cause),
            _ => Input::Refused(key, cause),
        };
        self.input(call, input, now).await;
    }

    fn try_other_profile(&mut self, call: CallKey, key: LegKey) -> bool {
        let Some(mut entry) = self.calls.remove(&call) else { return false };
        let retry = match entry.legs.get(&key) {
            Some(Leg {
                kind: Kind::SipTarget { binding, secure, retried: false, .. },
                media,
                device: Some(device),
                ..
            }) => Some((binding.clone(), !*secure, *media, device.clone())),
            _ => None,
        };
        let mut done = false;
        if let Some((binding, secure, media, device)) = retry
            && let Ok((leg, sip)) = self.invite(&entry, &binding, device, secure, true)
        {
            if let Some(media) = media {
                self.by_media.remove(&media);
                self.parts.media.close_leg(media);
            }
            if let Some(media) = leg.media {
                self.by_media.insert(media, (call, key));
            }
            // The same target, tried again: the machine need not know.
            entry.legs.insert(key, leg);
            self.by_sip.insert(sip, (call, key));
            done = true;
        }
        self.calls.insert(call, entry);
        done
    }

    /// A re-INVITE: hold, resume, or a session refresh (RFC 3264 section 8.4, RFC 4028).
    fn sip_reinvited(&mut self, call: CallKey, key: LegKey, sip: SipLeg, offer: Option<Bytes>) {
        let answer = self.answer_reinvite(call, key, offer);
        self.parts.sip.answer_reinvite(sip, answer);
    }

    fn answer_reinvite(
        &mut self,
        call: CallKey,
        key: LegKey,
        offer: Option<Bytes>,
    ) -> Result<Bytes, u16> {
        let entry = self.calls.get_mut(&call).ok_or(481_u16)?;
        let leg = entry.legs.get_mut(&key).ok_or(481_u16)?;
        let media = leg.media.ok_or(500_u16)?;
        let address = self.parts.media.rtp_address(media).ok_or(500_u16)?;
        let Some(offer) = offer else {
            let codecs: Vec<Codec> = leg.codec.into_iter().collect();
            return Ok(Bytes::from(audio::sip_offer(address, &codecs, false).to_string()));
        };
        let offer = sdp::Session::parse(&offer).map_err(|_| 488_u16)?;
        let preferred: Vec<Codec> = leg.codec.into_iter().collect();
        let (answer, negotiated) =
            audio::sip_answer(&offer, address, &audio::preference(&preferred))
                .map_err(|_| 488_u16)?;
        leg.codec = Some(audio::apply(&self.parts.media, media, &negotiated, &preferred));
        let held = !negotiated.direction.we_send();
        let other = if key == CALLER { entry.machine.taken_by() } else { Some(CALLER) };
        if let Some(leg) = other.and_then(|o| entry.legs.get_mut(&o)) {
            act::show_hold(&self.parts, leg, held);
        }
        Ok(Bytes::from(answer.to_string()))
    }
}

/// The address of record behind a called URI, for logs.
#[allow(dead_code)]
fn aor(uri: &Uri) -> String {
    uri.to_string()
}

#[allow(clippy::disallowed_methods)]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
