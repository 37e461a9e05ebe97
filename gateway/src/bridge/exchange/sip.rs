//! What phones tell the exchange (RFC 3261, RFC 3264), and the calls they start.

use std::sync::Arc;
use std::time::Instant;

use tandem_media::codec::Codec;
use tandem_media::sdp::{Encryption, Session};
use tandem_sip::msg::NameAddr;
use tandem_sip::msg::header::MaxForwards;
use tandem_sip::ports::{
    Binding, Invited, LegEvent, LegId as SipLeg, Origin, OutgoingInvite, Target,
};
use tandem_sip::service::identity as privacy;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::StoreError;

use super::act::Refusal;
use super::audio::Security;
use super::entry::{CallKey, Entry, Kind, Leg, PhoneAudio, Way};
use super::{
    CALLER, Cause, Exchange, Input, LegKey, Outgoing, answering, audio, breadth, protection,
};
use crate::bridge::{call_reason, echo, identity, sdp_webrtc, star_codes};

impl Exchange {
    pub(super) async fn handle_sip(&mut self, leg: SipLeg, event: LegEvent, now: Instant) {
        if let LegEvent::Invited(invited) = event {
            let is_ours = invited.origin.is_account();
            let dialled = is_ours.then(|| invited.to.user_decoded()).flatten();
            let taken = match dialled.as_deref().and_then(star_codes::read) {
                Some(code) => self.ordered(leg, &invited, code, now).await,
                None => self.invited(leg, *invited, now).await,
            };
            if let Err(refusal) = taken {
                self.parts.sip.reject(leg, refusal.status, None, refusal.headers);
            }
            return;
        }
        let Some((call, key)) = self.index.place(leg) else {
            if matches!(event, LegEvent::Digit { .. }) {
                self.parts.sip.answer_digit(leg, 481);
            }
            return;
        };
        let is_acked = matches!(event, LegEvent::Acked { .. });
        if is_acked && self.calls.get(&call).is_some_and(|entry| entry.is_order) {
            // Nothing is left to say (RFC 3261 section 15.1.1: not before the ACK).
            self.end_leg(call, CALLER, &Cause::HungUp);
            return self.input(call, Input::HungUp(CALLER, Cause::HungUp), now);
        }
        match event {
            LegEvent::Progress { status: 180..=198, sdp, .. } => {
                let is_heard = sdp.is_some_and(|sdp| self.plays(call, key, &sdp, now));
                // What a phone plays is not to be drowned by a ringing of the caller's own.
                if !is_heard {
                    self.input(call, Input::Ringing(key), now);
                }
            }
            LegEvent::Answered { sdp } => self.phone_answered(call, key, &sdp, now),
            LegEvent::Acked { sdp: Some(sdp) } => self.phone_acked(call, key, &sdp, now),
            LegEvent::Failed { status, headers, .. } => {
                self.index.forget_dialog(leg);
                let reason = headers.get("Reason").map(str::to_owned);
                self.phone_refused(call, key, status, reason, now);
            }
            LegEvent::Cancelled { reason } => {
                let cause = match call_reason::is_answered_elsewhere(reason.as_deref()) {
                    true => Cause::TakenBeforeUs,
                    false => Cause::Cancelled,
                };
                self.input(call, Input::HungUp(key, cause), now);
            }
            LegEvent::Bye { reason } => {
                let cause = Cause::Jingle(call_reason::bye_to_jingle(reason.as_deref()));
                self.hung_up(call, key, cause, now);
            }
            LegEvent::Referred(refer) => self.referred((call, key), leg, *refer, now).await,
            LegEvent::Reinvited { offer } => {
                let answer = self.reinvited(call, key, offer.as_deref());
                self.parts.sip.answer_reinvite(leg, answer);
            }
            LegEvent::Digit { event, duration_ms } => {
                let status = self.pressed(call, key, event, duration_ms);
                self.parts.sip.answer_digit(leg, status);
            }
            LegEvent::Ended => {
                self.index.forget_dialog(leg);
                self.hung_up(call, key, Cause::ConnectionFailed, now);
            }
            LegEvent::ReinviteAnswered(Ok(sdp)) => self.change_answered(call, key, &sdp),
            LegEvent::ReinviteDue => self.offer_again(call, key),
            LegEvent::Invited(_)
            | LegEvent::Progress { .. }
            | LegEvent::Acked { .. }
            | LegEvent::ReinviteAnswered(Err(_)) => {}
        }
    }

    /// A phone calls: find who is meant, ring all of their devices. `Err` is how it is refused.
    async fn invited(
        &mut self,
        leg: SipLeg,
        invited: Invited,
        now: Instant,
    ) -> Result<(), Refusal> {
        if self.is_full() || self.parts.media.is_short_of_ports() {
            metrics::counter!("tandem_calls_no_room_total").increment(1);
            return Err(Refusal::no_room());
        }
        let sid = self.new_sid();
        let (caller, mut callee) = self.parties(&invited, &sid)?;
        if let Some(replaced) = invited.replaces {
            return self.takes_place(leg, &invited, (replaced, &caller), now);
        }
        let exists = self.parts.xmpp.ports().accounts.exists(&callee.bare()).await;
        if !exists.map_err(|_| 500_u16)? && !self.is_elsewhere(&callee) {
            let plan = &self.parts.plan;
            let number = invited.origin.is_account().then(|| plan.dialled(&invited.to)).flatten();
            callee = number.ok_or(404_u16)?;
        }
        if self.is_cut_off(&caller, &callee).await.map_err(|_| 500_u16)? {
            return Err(480.into());
        }
        let offer = offer_of(&invited)?;
        let codecs = codecs_of(offer.as_ref());
        if offer.is_some() && codecs.is_empty() {
            return Err(488.into());
        }
        let key = self.new_key();
        let device = self.parts.contacts.device(&caller, invited.binding.as_deref());
        // XMPP talks to full addresses; a phone that is not registered gets one for this call.
        let is_hidden = privacy::is_private(&invited.headers);
        let guest = match &device {
            // Numbers and other domains have addresses, which need no lending.
            _ if !invited.origin.is_account() => None,
            _ if is_hidden => identity::nobody(caller.domain(), &sid),
            None => caller.with_resource(&format!("call-{sid}")).ok(),
            Some(_) => None,
        };
        if is_hidden && guest.is_none() && invited.origin.is_account() {
            return Err(433.into());
        }
        let known = guest.clone().or_else(|| device.clone()).unwrap_or_else(|| caller.clone());
        let is_web = is_web(&invited, offer.as_ref());
        let secure = invited.is_secure;
        let strict = self.must_encrypt(&invited.origin, &caller);
        let kind = Kind::SipCaller { leg, is_web, offer, audio: None, secure, strict };
        let leg_ = Leg::new(kind, device);
        let mut entry = self.new_entry(sid, known, callee.clone(), leg_, now);
        entry.caller_codecs = codecs;
        entry.guest = guest;
        entry.is_hidden = is_hidden;
        entry.said_name = self.said_name(&invited).filter(|_| !is_hidden);
        // What trunks and other domains ask for here is not heard.
        let wish = answering::Wish::of(&invited.headers);
        if invited.origin.is_account() {
            entry.answering = wish;
        }
        entry.diverted = self.diverted_before(&invited);
        // One that came with 0 was answered before it came here.
        entry.max_forwards = invited.headers.max_forwards().next().unwrap_or(MaxForwards(0));
        entry.max_breadth = breadth::of(&invited.headers);
        self.index.set_place(leg, (key, CALLER));
        if callee.node() == Some(echo::NAME) {
            let target = entry.add_leg(Leg::new(Kind::Echo, None));
            self.begin(key, entry, false, now);
            self.input(key, Input::Answered(target), now);
            return Ok(());
        }
        if self.is_elsewhere(&entry.callee) && breadth::share(entry.max_breadth, 1).is_none() {
            self.index.forget_call(key);
            return Err(440.into());
        }
        if self.parts.plan.is_number_domain(&entry.callee) {
            let rung = self.ring_number(key, &mut entry, &caller.bare(), now);
            rung.inspect_err(|_| self.index.forget_call(key)).map_err(Refusal::from)?;
        } else if self.parts.domains.is_abroad(&entry.callee) {
            let rung = self.ring_abroad(key, &mut entry, &caller.bare());
            rung.inspect_err(|_| self.index.forget_call(key)).map_err(Refusal::from)?;
        } else {
            self.follow(&mut entry);
        }
        if wish.is_required && entry.turned_away.is_none() && !self.may_answer_itself(&entry) {
            // It is not to be answered otherwise (RFC 5373 section 4.5.1).
            self.index.forget_call(key);
            return Err(403.into());
        }
        if let Some(guest) = &entry.guest {
            let _ = self.parts.outbox.send(Outgoing::Guest(guest.clone(), true));
        }
        if !entry.forwarded.is_empty() || !self.is_elsewhere(&entry.callee) {
            self.ring_in_the_end(key, &mut entry, &caller, now).await;
        }
        self.begin(key, entry, false, now);
        Ok(())
    }

    /// Whether the media of a caller has to be encrypted.
    fn must_encrypt(&self, origin: &Origin, caller: &Jid) -> bool {
        match origin {
            Origin::Trunk(trunk) => self.parts.plan.is_encrypted(trunk),
            Origin::Account => self.parts.protection.must_encrypt(caller),
            Origin::Foreign => self.parts.domains.is_encrypted(caller),
        }
    }

    /// A phone takes the place of another leg (RFC 3891).
    fn takes_place(
        &mut self,
        leg: SipLeg,
        invited: &Invited,
        (replaced, caller): (SipLeg, &Jid),
        now: Instant,
    ) -> Result<(), Refusal> {
        let place = self.index.place(replaced).ok_or(481_u16)?;
        let offer = offer_of(invited)?;
        let device = self.parts.contacts.device(caller, invited.binding.as_deref());
        let is_web = offer.as_ref().is_some_and(sdp_webrtc::wants_web);
        let secure = invited.is_secure;
        let strict = self.parts.protection.must_encrypt(caller);
        let kind = Kind::SipCaller { leg, is_web, offer, audio: None, secure, strict };
        Ok(self.replaces(leg, place, caller, Leg::new(kind, device), now)?)
    }

    /// Who calls, and who is called.
    fn parties(&self, invited: &Invited, sid: &str) -> Result<(Jid, Jid), u16> {
        match invited.origin {
            Origin::Trunk(_) => {
                let caller = self.caller_of_trunk(invited, sid).ok_or(403_u16)?;
                Ok((caller, self.called_by_trunk(invited).ok_or(404_u16)?))
            }
            Origin::Foreign => self.foreign_parties(invited, sid),
            Origin::Account => {
                let caller = crate::bridge::account(&invited.account).map_err(|_| 403_u16)?;
                let plan = &self.parts.plan;
                let number = || plan.dialled(&invited.to);
                let named = || identity::sip_to_jid(&invited.to).ok();
                let abroad = || self.parts.domains.dialled(&invited.to);
                let known = plan.emergency(&invited.to).or_else(abroad);
                let callee = known.or_else(named).or_else(number);
                Ok((caller, callee.ok_or(404_u16)?))
            }
        }
    }

    /// Whether one of two does not want to hear from the other (XEP-0191); a phone is then told that nobody is there.
    pub(super) async fn is_cut_off(&self, caller: &Jid, callee: &Jid) -> Result<bool, StoreError> {
        let xmpp = &self.parts.xmpp;
        Ok(xmpp.is_blocked(callee, caller).await? || xmpp.is_blocked(caller, callee).await?)
    }

    /// Invites every phone of the called account but the one that calls, those that sleep too.
    /// None where the caller lets the call branch less often than there are phones.
    pub(super) fn ring_phones(&mut self, call: CallKey, entry: &mut Entry) {
        let account = entry.callee.bare();
        let mut phones = self.parts.contacts.of(&account);
        phones.extend(self.parts.contacts.asleep(&account));
        let caller = entry.legs.get(&CALLER).and_then(|leg| leg.device.as_ref());
        phones.retain(|(device, _)| {
            let is_meant = entry.callee.resource().is_none_or(|r| Some(r) == device.resource());
            is_meant && caller != Some(device)
        });
        if phones.is_empty() {
            return;
        }
        let Some(each) = breadth::share(entry.max_breadth, phones.len()) else {
            entry.turned_away.get_or_insert(Cause::Sip { status: 440, reason: None });
            return;
        };
        entry.max_breadth = each;
        for (device, binding) in phones {
            // A phone under TLS gets keys first; what it refuses is tried the other way.
            let strict = self.parts.protection.must_encrypt(&device);
            let secure = binding.is_secure() || strict;
            let leg = self.ring_phone(entry, &binding, device, secure, strict);
            let key = LegKey(entry.next_key);
            if let Some(leg) = leg {
                self.index_target(call, key, &leg);
                entry.add_leg(leg);
            }
        }
    }

    /// From here on what the phone says belongs to that leg.
    pub(super) fn index_target(&mut self, call: CallKey, key: LegKey, leg: &Leg) {
        if let Kind::SipTarget { leg, .. } = &leg.kind {
            self.index.set_place(*leg, (call, key));
        }
        if let Some(media) = leg.media {
            self.by_media.insert(media, (call, key));
        }
    }

    fn ring_phone(
        &self,
        entry: &Entry,
        binding: &Arc<Binding>,
        device: Jid,
        secure: bool,
        retried: bool,
    ) -> Option<Leg> {
        let security = if binding.flow.protocol.is_websocket() {
            // A page can do nothing else.
            Security::Web((self.parts.random)())
        } else if secure {
            Security::Rtp(Encryption::Required(audio::keys(self.parts.random)))
        } else {
            Security::Rtp(Encryption::Off)
        };
        let (media, mut audio) = self.open_audio(entry, security)?;
        let offer = audio.offer();
        let from = if entry.is_hidden {
            privacy::anonymous()
        } else {
            let abroad = self.parts.domains.shown(&entry.caller);
            let uri = abroad.or_else(|| identity::jid_to_sip(&entry.caller.bare()).ok())?;
            let name = entry.known_name.as_ref().or(entry.said_name.as_ref());
            NameAddr::new(uri).with_display(name.map(String::as_str))
        };
        let mut headers = entry.diversions();
        headers.extend(self.answering(entry));
        headers.extend(entry.legs.get(&CALLER).and_then(protection::field));
        let picture = entry.picture.as_ref().map(|link| format!("<{link}>;purpose=icon"));
        headers.extend(picture.map(|picture| ("Call-Info".to_owned(), picture)));
        headers.push(breadth::field(entry.max_breadth));
        let leg = self.parts.sip.invite(OutgoingInvite {
            target: Target::Binding(binding.clone()),
            from,
            to: binding.account_uri()?,
            offer,
            headers,
            login: None,
            max_forwards: entry.max_forwards,
        });
        let binding = binding.clone();
        let way = Way::Phone(binding);
        let kind = Kind::SipTarget { leg, way, audio: Box::new(audio), retried };
        let mut leg = Leg::new(kind, Some(device));
        leg.media = Some(media);
        Some(leg)
    }

    /// Media for a phone that is about to be called.
    pub(super) fn open_audio(
        &self,
        entry: &Entry,
        security: Security,
    ) -> Option<(tandem_media::LegId, PhoneAudio)> {
        let (media, first) = (&self.parts.media, &entry.caller_codecs);
        match audio::open(media, entry.media.id(), first, security, (self.number(), false)) {
            Ok(opened) => Some(opened),
            Err(error) => {
                self.no_media(&error);
                None
            }
        }
    }

    /// A leg gets no media. Where one does not, many do not.
    pub(super) fn no_media(&self, error: &tandem_media::MediaError) {
        if let Some(more) = self.audit.may_say("media", 1, Instant::now()) {
            tracing::error!(%error, more, "no media for a phone");
        }
    }

    /// A phone answered our INVITE.
    fn phone_answered(&mut self, call: CallKey, key: LegKey, sdp: &[u8], now: Instant) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let Some(leg) = entry.legs.get_mut(&key) else { return };
        let (Kind::SipTarget { audio, .. }, Some(media)) = (&mut leg.kind, leg.media) else {
            return;
        };
        match audio::accept(&self.parts.media, media, audio, sdp, &entry.caller_codecs) {
            Ok((codec, _)) => {
                leg.codec = codec;
                self.input(call, Input::Answered(key), now);
            }
            Err(error) => {
                tracing::warn!(%error, "a phone answered with what cannot be used");
                self.end_leg(call, key, &Cause::Unsupported);
                self.input(call, Input::Refused(key, Cause::Unsupported), now);
            }
        }
    }

    /// The answer to our own offer, when the phone's INVITE had none (RFC 3261 section 13.2.1).
    fn phone_acked(&mut self, call: CallKey, key: LegKey, sdp: &[u8], now: Instant) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let taken = entry.machine.taken_by().and_then(|t| entry.legs.get(&t));
        let preferred: Vec<Codec> = taken.and_then(|leg| leg.codec).into_iter().collect();
        let Some(leg) = entry.legs.get_mut(&key) else { return };
        let is_first = key == CALLER
            && matches!(&leg.kind, Kind::SipCaller { offer: None, .. })
            && entry.answered.is_none();
        if !is_first {
            // The answer to what we offered in a change.
            return self.change_answered(call, key, sdp);
        }
        let (Kind::SipCaller { audio: Some(audio), .. }, Some(media)) = (&mut leg.kind, leg.media)
        else {
            return;
        };
        match audio::accept(&self.parts.media, media, audio, sdp, &preferred) {
            Ok((codec, _)) => {
                leg.codec = codec;
                self.input(call, Input::CallerUp, now);
            }
            Err(error) => {
                tracing::warn!(%error, "a phone's answer cannot be used");
                self.end_leg(call, key, &Cause::Unsupported);
                self.input(call, Input::HungUp(key, Cause::Unsupported), now);
            }
        }
    }

    /// A branch failed. A phone that wants the other kind of RTP is asked once more with it.
    fn phone_refused(
        &mut self,
        call: CallKey,
        key: LegKey,
        status: u16,
        reason: Option<String>,
        now: Instant,
    ) {
        if self.calls.get(&call).is_some_and(|entry| entry.is_of_before(key)) {
            return self.close_media(call, key);
        }
        if matches!(status, 488 | 415 | 606) && self.retry_phone(call, key)
            || self.next_trunk(call, key, status, now)
        {
            return;
        }
        let cause = Cause::Sip { status, reason };
        let input = match status {
            600 | 603 | 604 | 607 | 608 => Input::Declined(cause),
            _ => Input::Refused(key, cause),
        };
        self.close_media(call, key);
        self.input(call, input, now);
    }

    fn retry_phone(&mut self, call: CallKey, key: LegKey) -> bool {
        let Some(entry) = self.calls.get(&call) else { return false };
        let Some(old) = entry.legs.get(&key) else { return false };
        let (Kind::SipTarget { way: Way::Phone(binding), audio, retried: false, .. }, Some(device)) =
            (&old.kind, &old.device)
        else {
            return false;
        };
        let Some(has_keys) = audio.requires_keys() else { return false };
        let secure = !has_keys;
        let Some(leg) = self.ring_phone(entry, binding, device.clone(), secure, true) else {
            return false;
        };
        self.close_media(call, key);
        self.index_target(call, key, &leg);
        // The same target, tried again: the machine need not know.
        if let Some(entry) = self.calls.get_mut(&call) {
            entry.legs.insert(key, leg);
        }
        true
    }

    /// A session id that no client chose.
    pub(super) fn new_sid(&self) -> String {
        let random = (self.parts.random)();
        random.iter().take(12).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What a phone that calls offers.
pub(super) fn offer_of(invited: &Invited) -> Result<Option<Session>, u16> {
    let offer = invited.offer.as_ref().map(|body| Session::parse(body));
    offer.transpose().map_err(tandem_media::sdp::SdpError::status)
}

/// The codecs of an offer, in its order.
fn codecs_of(offer: Option<&Session>) -> Vec<Codec> {
    let audio = offer.and_then(Session::audio);
    audio
        .map(|audio| audio.audio_formats().iter().filter_map(|f| f.encoding.codec()).collect())
        .unwrap_or_default()
}

/// Whether a phone that calls speaks WebRTC.
fn is_web(invited: &Invited, offer: Option<&Session>) -> bool {
    match offer {
        Some(offer) => sdp_webrtc::wants_web(offer),
        // Whoever comes over a WebSocket can answer nothing else (RFC 7118 section 1).
        None => invited.headers.top_via().is_ok_and(|via| via.transport.starts_with("WS")),
    }
}
