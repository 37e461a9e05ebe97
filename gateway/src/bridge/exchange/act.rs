//! Carries out what the call machine decides.

use std::time::{Instant, SystemTime};

use tandem_media::sdp::Encryption;
use tandem_sip::service::dialog_event::DialogState;
use tandem_xmpp::stanza::jingle::Info;
use tandem_xmpp::stanza::jmi::{Jmi, JmiAction};

use super::audio::Security;
use super::entry::{CallKey, Kind, Leg};
use super::{CALLER, Cause, Exchange, Input, LegKey, Outgoing, audio, jmi, protection};
use crate::bridge::call::Action;
use crate::bridge::tolls::Refused;
use crate::telemetry::Telemetry;

/// How a phone's call is refused.
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
}

impl Refusal {
    fn new(status: u16) -> Self {
        Self { status, headers: Vec::new() }
    }

    /// There is no room for one more call at the moment (RFC 3261 section 21.5.4).
    pub(super) fn no_room() -> Self {
        Self { status: 503, headers: vec![("Retry-After".to_owned(), "10".to_owned())] }
    }
}

impl From<u16> for Refusal {
    fn from(status: u16) -> Self {
        Self::new(status)
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self { status: refused.status(), headers: refused.headers() }
    }
}

impl Exchange {
    pub(super) fn act(&mut self, call: CallKey, now: Instant) {
        while let Some(action) = self.calls.get_mut(&call).and_then(|c| c.machine.poll_action()) {
            match action {
                Action::RingCaller => self.ring_caller(call),
                Action::Stop(key, cause) | Action::HangUp(key, cause) => {
                    self.end_leg(call, key, &cause);
                }
                Action::AnswerCaller(target) => self.answer_caller(call, target, now),
                Action::RefuseCaller(cause) => self.end_leg(call, CALLER, &cause),
                Action::Forward(why) => self.going_on.push((call, why)),
                Action::Join(one, other) => self.join(call, one, other),
                Action::Record(outcome) => self.record(call, &outcome),
            }
        }
        self.arm(call);
    }

    fn ring_caller(&mut self, call: CallKey) {
        self.tell_line(call, DialogState::Early);
        let Some(mut entry) = self.calls.remove(&call) else { return };
        let own_sid = entry.caller_sid().to_owned();
        let voice = entry.voice.as_ref().map(|(voice, _)| voice.clone());
        let is_played = entry.legs.get(&CALLER).is_some_and(|leg| leg.early.is_some());
        let phone = entry.legs.values().find_map(|leg| match &leg.kind {
            Kind::SipTarget { .. } => leg.device.clone(),
            _ => None,
        });
        match entry.legs.get_mut(&CALLER).map(|leg| &mut leg.kind) {
            Some(Kind::SipCaller { .. }) if is_played => {}
            Some(Kind::SipCaller { leg, .. }) => self.parts.sip.ring(*leg, 180, None),
            Some(Kind::JingleCaller { session: Some(session), .. }) => {
                session.inform(Info::Ringing)
            }
            Some(Kind::JingleCaller { peer, session: None, .. }) => {
                if let Some(phone) = voice.or(phone) {
                    let ringing = Jmi::new(&own_sid, JmiAction::Ringing);
                    self.say(jmi::message(&phone, peer, &ringing));
                }
            }
            Some(Kind::Waiting(waiting)) => {
                let waiting = *waiting;
                self.transfer_told(&waiting, 180);
            }
            _ => {}
        }
        self.drain(&mut entry, CALLER);
        self.calls.insert(call, entry);
    }

    /// A target took the call: the caller gets its answer.
    pub(super) fn answer_caller(&mut self, call: CallKey, target: LegKey, now: Instant) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let taker = entry.legs.get(&target);
        let phone = taker.and_then(|leg| leg.device.clone());
        let is_phone = taker.is_some_and(|leg| matches!(leg.kind, Kind::SipTarget { .. }));
        let is_proposed =
            entry.legs.values().any(|leg| matches!(leg.kind, Kind::Proposed { session: None }));
        // XMPP devices that were asked stop ringing when they see that a phone of theirs went ahead.
        if let (true, true, Some(phone)) = (is_phone, is_proposed, &phone) {
            let proceed =
                jmi::message(phone, &entry.caller, &Jmi::new(&entry.sid, JmiAction::Proceed));
            let _ = self.parts.outbox.send(Outgoing::Stanza(proceed));
        }
        if entry.legs.get(&CALLER).is_some_and(|leg| leg.up) {
            return self.input(call, Input::CallerUp, now);
        }
        match entry.legs.get_mut(&CALLER).map(|leg| &mut leg.kind) {
            Some(Kind::Waiting(waiting)) => {
                let waiting = *waiting;
                self.transfer_taken(call, &waiting, now);
            }
            Some(Kind::SipCaller { .. }) => self.answer_phone(call, target, now),
            Some(Kind::JingleCaller { session: Some(_), .. }) => {
                self.answer_client(call, target, now);
            }
            // It was asked to begin its session before the answer.
            Some(Kind::JingleCaller { session: None, proceeded: Some(_), .. }) => {}
            Some(Kind::JingleCaller { peer, session: None, proceeded, .. }) => {
                let (phone, sid) = match (&entry.voice, phone) {
                    (Some((voice, sid)), _) => {
                        // Only now is anybody here for the session that comes.
                        let _ = self.parts.outbox.send(Outgoing::Guest(voice.clone(), true));
                        (voice.clone(), sid)
                    }
                    (None, Some(phone)) => (phone, &entry.sid),
                    (None, None) => return,
                };
                *proceeded = Some(phone.clone());
                let proceed = jmi::message(&phone, peer, &Jmi::new(sid, JmiAction::Proceed));
                self.say(proceed);
            }
            _ => {}
        }
    }

    /// Answers the phone that called, with the codec of whoever took the call first.
    fn answer_phone(&mut self, call: CallKey, target: LegKey, now: Instant) {
        let Some(mut entry) = self.calls.remove(&call) else { return };
        let preferred: Vec<_> =
            entry.legs.get(&target).and_then(|leg| leg.codec).into_iter().collect();
        let room = entry.media.id();
        let shown = entry.legs.get(&target).and_then(protection::field);
        let mut leg = entry.legs.get_mut(&CALLER);
        let early = leg.as_mut().and_then(|leg| leg.early.take());
        let dialog = leg.as_ref().and_then(|leg| leg.kind.dialog());
        let has_offer =
            leg.as_ref().is_some_and(|l| matches!(&l.kind, Kind::SipCaller { offer: Some(_), .. }));
        let answer = match early {
            Some(early) => Some(Ok(early)),
            None => leg.map(|leg| self.answer_for(room, leg, &preferred)),
        };
        if let Some(media) = entry.legs.get(&CALLER).and_then(|leg| leg.media) {
            self.by_media.insert(media, (call, CALLER));
        }
        self.calls.insert(call, entry);
        match (dialog, answer) {
            (Some(dialog), Some(Ok(answer))) => {
                self.parts.sip.answer_with(dialog, answer, shown.into_iter().collect());
                if has_offer {
                    self.input(call, Input::CallerUp, now);
                }
            }
            (Some(dialog), Some(Err(refusal))) => {
                self.parts.sip.reject(dialog, refusal.status, None, refusal.headers);
                self.input(call, Input::HungUp(CALLER, Cause::Unsupported), now);
            }
            _ => {}
        }
    }

    /// Our description for a phone that calls: the answer to its offer, or an offer where it made none.
    pub(super) fn answer_for(
        &self,
        room: tandem_media::CallId,
        leg: &mut Leg,
        preferred: &[tandem_media::codec::Codec],
    ) -> Result<bytes::Bytes, Refusal> {
        let Kind::SipCaller { is_web, offer, audio, secure, strict, .. } = &mut leg.kind else {
            return Err(Refusal::new(500));
        };
        let keys = || audio::keys(self.parts.random);
        let security = match (&offer, *is_web, *secure) {
            (_, true, _) => Security::Web((self.parts.random)()),
            _ if *strict => Security::Rtp(Encryption::Required(keys())),
            (Some(_), ..) => Security::Rtp(Encryption::Opportunistic(keys())),
            // Without an offer of its own it gets one it can answer: keys where nobody listens to them, plain RTP else.
            (None, _, true) => Security::Rtp(Encryption::Required(keys())),
            (None, _, false) => Security::Rtp(Encryption::Off),
        };
        let ends = (self.number(), offer.is_some());
        let opened = audio::open(&self.parts.media, room, preferred, security, ends);
        let (media, mut ours) = opened.map_err(|error| {
            self.no_media(&error);
            Refusal::no_room()
        })?;
        leg.media = Some(media);
        let Some(offer) = offer else {
            let offer = ours.offer();
            *audio = Some(Box::new(ours));
            return Ok(offer);
        };
        match audio::answer(&self.parts.media, media, &mut ours, offer, preferred) {
            Ok((answer, _, codec)) => {
                *audio = Some(Box::new(ours));
                leg.codec = codec;
                Ok(answer)
            }
            Err(error) => {
                tracing::info!(%error, "a caller's offer cannot be used");
                let mut refusal = Refusal::new(error.status());
                if let Some((code, text)) = error.warning() {
                    let warning = format!("{code} tandem \"{text}\"");
                    refusal.headers.push(("Warning".to_owned(), warning));
                }
                Err(refusal)
            }
        }
    }

    fn join(&mut self, call: CallKey, one: LegKey, other: LegKey) {
        self.tell_line(call, DialogState::Confirmed);
        let Some(entry) = self.calls.get_mut(&call) else { return };
        entry.answered = Some(SystemTime::now());
        let media = |key: LegKey| entry.legs.get(&key).and_then(|leg| leg.media);
        let is_echo = entry.legs.get(&other).is_some_and(|leg| matches!(leg.kind, Kind::Echo));
        match (media(one), media(other)) {
            (Some(one), Some(other)) => self.parts.media.connect(one, other),
            (Some(one), None) if is_echo => self.parts.media.echo(one),
            _ => {}
        }
        for key in [one, other] {
            if let Some(leg) = entry.legs.get_mut(&key) {
                // One that came from another call is shown as busy already.
                if std::mem::replace(&mut leg.up, true) {
                    continue;
                }
            }
            let leg = entry.legs.get(&key);
            let is_phone = leg.is_some_and(|leg| {
                matches!(leg.kind, Kind::SipCaller { .. } | Kind::SipTarget { .. })
            });
            if let Some(device) = leg.filter(|_| is_phone).and_then(|leg| leg.device.clone()) {
                entry.busy.push(device.clone());
                let _ = self.parts.outbox.send(Outgoing::InCall(device, true));
            }
        }
        self.show_protection(call, one, other);
    }

    /// Ends a leg, whatever it is doing.
    pub(super) fn end_leg(&mut self, call: CallKey, key: LegKey, cause: &Cause) {
        let Some(mut entry) = self.calls.remove(&call) else { return };
        let own_sid = entry.caller_sid().to_owned();
        let (sid, caller, callee) = (entry.sid.clone(), entry.caller.clone(), entry.callee.clone());
        let phone = entry.legs.values().find_map(|leg| match &leg.kind {
            Kind::SipTarget { .. } => leg.device.clone(),
            _ => None,
        });
        let own_voice = entry.voice.as_ref().map(|(voice, _)| voice.clone());
        let others_have_it = *cause == Cause::AnsweredElsewhere;
        // A person's device says no more than it has to; the telephone network may say what is wrong.
        let told = || match self.parts.plan.is_number_domain(&callee) {
            true => cause.to_jingle_in_words(),
            false => cause.to_jingle().into(),
        };
        if let Some(leg) = entry.legs.get_mut(&key) {
            let is_early = leg.early.is_some();
            match &mut leg.kind {
                Kind::SipCaller { leg, audio, .. } if is_early || audio.is_none() => {
                    let (status, reason) = cause.to_sip();
                    let headers = reason.into_iter().map(|r| ("Reason".to_owned(), r)).collect();
                    self.parts.sip.reject(*leg, status, None, headers);
                }
                Kind::SipCaller { leg, .. } | Kind::SipTarget { leg, .. } => {
                    self.parts.sip.hang_up(*leg, cause.to_sip_reason());
                }
                Kind::JingleCaller { session: Some(session), peer, proceeded, .. } => {
                    session.terminate(told());
                    if let Some(phone) = proceeded {
                        self.finish(phone, peer, session.sid(), cause);
                    }
                }
                Kind::JingleCaller { session: None, peer, proceeded, .. } => {
                    let voice = || self.voice_of(&callee);
                    if let Some(phone) = proceeded.clone().or(own_voice).or(phone).or_else(voice) {
                        let reason = Some(told());
                        let action = match proceeded {
                            Some(_) => JmiAction::Finish { reason, migrated: None },
                            None => JmiAction::Reject { reason, tie_break: false },
                        };
                        self.say(jmi::message(&phone, peer, &Jmi::new(&own_sid, action)));
                    }
                }
                Kind::Proposed { session: Some((session, _)) } => {
                    session.terminate(cause.to_jingle());
                    self.finish(session.us(), session.peer(), session.sid(), cause);
                }
                Kind::Proposed { session: None } if others_have_it && phone.is_some() => {
                    // The proceed of the phone that answered, copied to them by carbons, stops them.
                }
                Kind::Proposed { session: None } => {
                    let reason = Some(tandem_xmpp::stanza::jingle::Reason::Cancel.into());
                    let retract = JmiAction::Retract { reason, tie_break: false };
                    self.say(jmi::message(&caller, &callee, &Jmi::new(&sid, retract)));
                }
                Kind::JingleTarget { session, .. } => session.terminate(cause.to_jingle()),
                Kind::Waiting(waiting) => {
                    let (waiting, (status, _)) = (*waiting, cause.to_sip());
                    self.transfer_told(&waiting, status);
                }
                Kind::Echo => {}
            }
        }
        self.drain(&mut entry, key);
        self.calls.insert(call, entry);
        self.close_media(call, key);
    }

    /// A call that began by XEP-0353 ends by it.
    fn finish(
        &self,
        from: &tandem_xmpp::jid::Jid,
        to: &tandem_xmpp::jid::Jid,
        sid: &str,
        cause: &Cause,
    ) {
        let reason = Some(cause.to_jingle().into());
        let finish = JmiAction::Finish { reason, migrated: None };
        self.say(jmi::message(from, to, &Jmi::new(sid, finish)));
    }

    /// Ends a leg's media and keeps its counters for the record.
    pub(super) fn close_media(&mut self, call: CallKey, key: LegKey) {
        let leg = self.calls.get_mut(&call).and_then(|entry| entry.legs.get_mut(&key));
        let Some(Leg { media, stats, .. }) = leg else { return };
        if let Some(media) = media.take() {
            *stats = self.parts.media.stats(media);
            if let Some(stats) = stats {
                Telemetry::count_drops(&stats.drops);
            }
            self.by_media.remove(&media);
            self.parts.media.close_leg(media);
        }
    }
}
