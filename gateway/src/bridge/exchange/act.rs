//! Carries out what the call machine decides.

use std::time::{Instant, SystemTime};

use tandem_media::sdp::Encryption;
use tandem_sip::service::dialog_event::DialogState;
use tandem_xmpp::stanza::jingle::Info;
use tandem_xmpp::stanza::jmi::{Jmi, JmiAction};

use super::audio::Security;
use super::entry::{CallKey, Kind, Leg};
use super::{CALLER, Cause, Exchange, Input, LegKey, Outgoing, audio, jmi};
use crate::bridge::call::Action;
use crate::telemetry::Telemetry;

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
                Action::Join(one, other) => self.join(call, one, other),
                Action::Record(outcome) => self.record(call, &outcome),
            }
        }
    }

    fn ring_caller(&mut self, call: CallKey) {
        self.tell_line(call, DialogState::Early);
        let Some(mut entry) = self.calls.remove(&call) else { return };
        let phone = entry.legs.values().find_map(|leg| match &leg.kind {
            Kind::SipTarget { .. } => leg.device.clone(),
            _ => None,
        });
        match entry.legs.get_mut(&CALLER).map(|leg| &mut leg.kind) {
            Some(Kind::SipCaller { leg, .. }) => self.parts.sip.ring(*leg, 180, None),
            Some(Kind::JingleCaller { session: Some(session), .. }) => {
                session.inform(Info::Ringing)
            }
            Some(Kind::JingleCaller { peer, session: None, .. }) => {
                if let Some(phone) = phone {
                    self.say(jmi::message(&phone, peer, &Jmi::new(&entry.sid, JmiAction::Ringing)));
                }
            }
            _ => {}
        }
        self.drain(&mut entry, CALLER);
        self.calls.insert(call, entry);
    }

    /// A target took the call: the caller gets its answer.
    fn answer_caller(&mut self, call: CallKey, target: LegKey, now: Instant) {
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
        match entry.legs.get_mut(&CALLER).map(|leg| &mut leg.kind) {
            Some(Kind::SipCaller { .. }) => self.answer_phone(call, target, now),
            Some(Kind::JingleCaller { session: Some(_), .. }) => {
                self.answer_client(call, target, now);
            }
            Some(Kind::JingleCaller { peer, session: None, proceeded, .. }) => {
                let Some(phone) = phone else { return };
                *proceeded = Some(phone.clone());
                let proceed = jmi::message(&phone, peer, &Jmi::new(&entry.sid, JmiAction::Proceed));
                self.say(proceed);
            }
            _ => {}
        }
    }

    /// Answers the phone that called, with the codec of whoever took the call first.
    fn answer_phone(&mut self, call: CallKey, target: LegKey, now: Instant) {
        let number = self.number();
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let preferred: Vec<_> =
            entry.legs.get(&target).and_then(|leg| leg.codec).into_iter().collect();
        let Some(leg) = entry.legs.get(&CALLER) else { return };
        let Kind::SipCaller { is_web, offer, .. } = &leg.kind else { return };
        let security = if *is_web {
            Security::Web((self.parts.random)())
        } else if offer.is_some() {
            Security::Rtp(Encryption::Opportunistic(audio::keys(self.parts.random)))
        } else {
            // It made no offer: plain RTP is what every phone can answer; its answer comes with the ACK.
            Security::Rtp(Encryption::Off)
        };
        let ends = (number, offer.is_some());
        let opened = audio::open(&self.parts.media, entry.media, &preferred, security, ends);
        let Some(leg) = entry.legs.get_mut(&CALLER) else { return };
        let Kind::SipCaller { leg: sip, offer, audio, .. } = &mut leg.kind else { return };
        let sip = *sip;
        let (media, mut ours) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!(%error, "no media ports for a phone");
                let cause = Cause::Sip { status: 503, reason: None };
                self.end_leg(call, CALLER, &cause);
                return self.input(call, Input::HungUp(CALLER, cause), now);
            }
        };
        leg.media = Some(media);
        self.by_media.insert(media, (call, CALLER));
        let Some(offer) = offer else {
            let offer = ours.offer();
            *audio = Some(Box::new(ours));
            return self.parts.sip.answer(sip, offer);
        };
        match audio::answer(&self.parts.media, media, &mut ours, offer, &preferred) {
            Ok((answer, _, codec)) => {
                leg.codec = codec;
                *audio = Some(Box::new(ours));
                self.parts.sip.answer(sip, answer);
                self.input(call, Input::CallerUp, now);
            }
            Err(error) => {
                tracing::info!(%error, "a caller's offer cannot be used");
                let mut headers = Vec::new();
                if let Some((code, text)) = error.warning() {
                    headers.push(("Warning".to_owned(), format!("{code} tandem \"{text}\"")));
                }
                self.parts.sip.reject(sip, error.status(), None, headers);
                self.input(call, Input::HungUp(CALLER, Cause::Unsupported), now);
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
            let leg = entry.legs.get(&key);
            let is_phone = leg.is_some_and(|leg| {
                matches!(leg.kind, Kind::SipCaller { .. } | Kind::SipTarget { .. })
            });
            if let Some(device) = leg.filter(|_| is_phone).and_then(|leg| leg.device.clone()) {
                entry.busy.push(device.clone());
                let _ = self.parts.outbox.send(Outgoing::InCall(device, true));
            }
        }
    }

    /// Ends a leg, whatever it is doing.
    pub(super) fn end_leg(&mut self, call: CallKey, key: LegKey, cause: &Cause) {
        let Some(mut entry) = self.calls.remove(&call) else { return };
        let (sid, caller, callee) = (entry.sid.clone(), entry.caller.clone(), entry.callee.clone());
        let phone = entry.legs.values().find_map(|leg| match &leg.kind {
            Kind::SipTarget { .. } => leg.device.clone(),
            _ => None,
        });
        let others_have_it = *cause == Cause::AnsweredElsewhere;
        if let Some(leg) = entry.legs.get_mut(&key) {
            match &mut leg.kind {
                Kind::SipCaller { leg, audio: None, .. } => {
                    let (status, reason) = cause.to_sip();
                    let headers = reason.into_iter().map(|r| ("Reason".to_owned(), r)).collect();
                    self.parts.sip.reject(*leg, status, None, headers);
                }
                Kind::SipCaller { leg, .. } | Kind::SipTarget { leg, .. } => {
                    self.parts.sip.hang_up(*leg, cause.to_sip_reason());
                }
                Kind::JingleCaller { session: Some(session), peer, proceeded, .. } => {
                    session.terminate(cause.to_jingle());
                    if let Some(phone) = proceeded {
                        self.finish(phone, peer, &sid, cause);
                    }
                }
                Kind::JingleCaller { session: None, peer, proceeded, .. } => {
                    if let Some(phone) = proceeded.clone().or(phone) {
                        let reason = Some(cause.to_jingle().into());
                        let action = match proceeded {
                            Some(_) => JmiAction::Finish { reason, migrated: None },
                            None => JmiAction::Reject { reason, tie_break: false },
                        };
                        self.say(jmi::message(&phone, peer, &Jmi::new(&sid, action)));
                    }
                }
                Kind::Proposed { session: Some((session, _)) } => {
                    let peer = session.peer().clone();
                    session.terminate(cause.to_jingle());
                    self.finish(&caller, &peer, &sid, cause);
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
