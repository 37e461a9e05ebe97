//! What XMPP clients say in Jingle sessions (XEP-0166, XEP-0167, XEP-0176).

use std::time::Instant;

use tandem_media::codec::Codec;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::jingle::{Action, Content, Jingle, Reason};
use tandem_xmpp::stanza::jmi::Jmi;
use tandem_xmpp::stanza::{Condition, Kind as StanzaKind, StanzaError};

use super::entry::{CallKey, Entry, Kind, Leg};
use super::{CALLER, Call, Cause, Exchange, Input, LegKey, Wish};
use crate::bridge::jingle_leg::{Event, JingleLeg, refusal};
use crate::bridge::sdp_jingle::{self, Audio};

const JINGLE: &str = "urn:xmpp:jingle:1";

impl Exchange {
    /// A stanza that belongs to a call, or pretends to.
    pub(super) async fn handle_stanza(&mut self, said: &Call, now: Instant) {
        let stanza = &said.stanza;
        let Some(from) = stanza.from().cloned() else { return };
        let us = match (stanza.to(), said.resources.first()) {
            (Some(to), _) if !to.is_bare() => to.clone(),
            (_, Some(resource)) => match said.account.with_resource(resource) {
                Ok(us) => us,
                Err(_) => return,
            },
            _ => said.account.clone(),
        };
        match (stanza.kind(), stanza.type_()) {
            (StanzaKind::Message, Some("error")) => self.bounced(&from, stanza, now),
            (StanzaKind::Message, _) => {
                let jmi = stanza.element().ok().and_then(|e| Jmi::from_message(&e));
                match jmi {
                    Some(Ok(jmi)) => self.handle_jmi(said, &jmi, now).await,
                    _ if self.is_elsewhere(&us) => {
                        let error = StanzaError::new(Condition::ServiceUnavailable);
                        stanza.error_reply(&error).into_iter().for_each(|reply| self.say(reply));
                    }
                    _ => {}
                }
            }
            (StanzaKind::Iq, Some("set")) => {
                let id = stanza.id().unwrap_or_default();
                let jingle = stanza.child("jingle", JINGLE).map(|e| Jingle::from_element(&e));
                match jingle {
                    Some(Ok(jingle)) => self.handle_set(&us, &from, id, jingle, now).await,
                    Some(Err(_)) => self.say(refusal(&us, &from, id, Condition::BadRequest, None)),
                    None => self.say(refusal(&us, &from, id, Condition::ServiceUnavailable, None)),
                }
            }
            (StanzaKind::Iq, Some("get")) if self.number_asked(&us, &from, stanza) => {}
            (StanzaKind::Iq, Some("get")) => {
                let id = stanza.id().unwrap_or_default();
                self.say(refusal(&us, &from, id, Condition::ServiceUnavailable, None));
            }
            (StanzaKind::Iq, Some(kind)) => {
                let id = stanza.id().unwrap_or_default();
                self.handle_reply(&from, id, kind == "error", now);
            }
            _ => {}
        }
    }

    async fn handle_set(&mut self, us: &Jid, from: &Jid, id: &str, jingle: Jingle, now: Instant) {
        let call = self.call_of(&jingle.sid, from);
        if jingle.action == Action::SessionInitiate {
            return match call {
                Some(call) => self.initiated(call, us, from, id, &jingle, now),
                None => self.called(us, from, id, &jingle, now).await,
            };
        }
        let found = call.and_then(|call| Some((call, self.leg_with(call, from)?)));
        let Some((call, key)) = found else {
            let mut nobody = JingleLeg::unknown(us.clone(), from.clone(), &jingle.sid);
            nobody.refuse_unknown(id);
            std::iter::from_fn(|| nobody.poll_stanza()).for_each(|stanza| self.say(stanza));
            return;
        };
        let entry = self.calls.get_mut(&call);
        if let Some(session) =
            entry.and_then(|e| e.legs.get_mut(&key)).and_then(|l| l.kind.session())
        {
            session.handle_set(id, jingle);
        }
        self.session_moved(call, key, now);
    }

    /// The leg whose session is with this client.
    pub(super) fn leg_with(&mut self, call: CallKey, peer: &Jid) -> Option<LegKey> {
        let entry = self.calls.get_mut(&call)?;
        entry.legs.iter_mut().find_map(|(key, leg)| {
            let session = leg.kind.session()?;
            (session.peer() == peer).then_some(*key)
        })
    }

    /// The reply to an IQ of ours.
    fn handle_reply(&mut self, from: &Jid, id: &str, is_error: bool, now: Instant) {
        // Our ids begin with the session's.
        let Some((sid, _)) = id.rsplit_once('-') else { return };
        let found =
            self.call_of(sid, from).and_then(|call| Some((call, self.leg_with(call, from)?)));
        let Some((call, key)) = found else { return };
        let entry = self.calls.get_mut(&call);
        if let Some(session) =
            entry.and_then(|e| e.legs.get_mut(&key)).and_then(|l| l.kind.session())
        {
            session.handle_reply(id, is_error);
        }
        self.session_moved(call, key, now);
    }

    /// A message about a call came back: whoever it was for is gone.
    fn bounced(&mut self, from: &Jid, stanza: &tandem_xmpp::stanza::Stanza, now: Instant) {
        let jmi = stanza.element().ok().and_then(|e| Jmi::from_message(&e));
        let Some(Ok(jmi)) = jmi else { return };
        let Some(call) = self.call_of(&jmi.id, from) else { return };
        let Some(entry) = self.calls.get(&call) else { return };
        let proposed = entry
            .legs
            .iter()
            .find(|(_, leg)| matches!(leg.kind, Kind::Proposed { session: None }))
            .map(|(key, _)| *key);
        if let Some(key) = proposed.filter(|_| entry.callee.bare() == from.bare()) {
            self.input(call, Input::Refused(key, Cause::Unavailable), now);
        }
    }

    /// A client without XEP-0353 calls one phone.
    async fn called(&mut self, us: &Jid, from: &Jid, id: &str, jingle: &Jingle, now: Instant) {
        let mut session = JingleLeg::incoming(us.clone(), from.clone(), jingle);
        session.acknowledge(id);
        let offer = usable(jingle);
        let refused = match &offer {
            Err(reason) => Some(reason.clone()),
            // An id that the called account has in use would mix two calls up.
            Ok(_) if self.is_full() || self.call_of(&jingle.sid, us).is_some() => {
                Some(Reason::Busy)
            }
            Ok(_) => None,
        };
        if let Some(reason) = refused {
            session.terminate(reason);
            std::iter::from_fn(|| session.poll_stanza()).for_each(|stanza| self.say(stanza));
            return;
        }
        let Ok((offer, audio)) = offer else { return };
        let key = self.new_key();
        let kind = Kind::JingleCaller {
            peer: from.clone(),
            session: Some(session),
            offer: Some(Box::new(offer)),
            proceeded: None,
        };
        let leg = Leg::new(kind, Some(from.clone()));
        let mut entry = self.new_entry(jingle.sid.clone(), from.clone(), us.clone(), leg, now);
        entry.caller_codecs = audio.order();
        self.drain(&mut entry, CALLER);
        self.ring_phones_or_number(key, &mut entry, now).await;
        self.begin(key, entry, false, now);
    }

    /// The session that was announced by XEP-0353: the phone has answered, now the caller's media is agreed.
    fn initiated(
        &mut self,
        call: CallKey,
        us: &Jid,
        from: &Jid,
        id: &str,
        jingle: &Jingle,
        now: Instant,
    ) {
        let is_expected = self.calls.get(&call).and_then(|e| e.legs.get(&CALLER)).is_some_and(|leg| {
            matches!(&leg.kind, Kind::JingleCaller { peer, session: None, proceeded: Some(phone), .. }
                if peer == from && phone == us)
        });
        if !is_expected {
            let more = Some(tandem_xmpp::stanza::jingle::JingleCondition::OutOfOrder);
            return self.say(refusal(us, from, id, Condition::UnexpectedRequest, more));
        }
        let mut opened = JingleLeg::incoming(us.clone(), from.clone(), jingle);
        opened.acknowledge(id);
        let content = usable(jingle);
        let Some(mut entry) = self.calls.remove(&call) else { return };
        let refused = match content {
            Ok((content, audio)) => {
                entry.caller_codecs = audio.order();
                if let Some(Leg { kind: Kind::JingleCaller { session, offer, .. }, .. }) =
                    entry.legs.get_mut(&CALLER)
                {
                    *session = Some(opened);
                    *offer = Some(Box::new(content));
                }
                None
            }
            Err(reason) => {
                opened.terminate(reason.clone());
                std::iter::from_fn(|| opened.poll_stanza()).for_each(|stanza| self.say(stanza));
                Some(reason)
            }
        };
        self.drain(&mut entry, CALLER);
        let taken = entry.machine.taken_by();
        self.calls.insert(call, entry);
        match (refused, taken) {
            (None, Some(target)) => self.answer_client(call, target, now),
            (Some(reason), _) => {
                self.input(call, Input::HungUp(CALLER, Cause::Jingle(reason)), now)
            }
            (None, None) => self.play_in_session(call),
        }
    }

    /// Accepts the caller's session with the codec of the phone that answered.
    pub(super) fn answer_client(&mut self, call: CallKey, target: LegKey, now: Instant) {
        let Some(mut entry) = self.calls.remove(&call) else { return };
        if entry.legs.get_mut(&CALLER).is_some_and(|leg| leg.early.take().is_some()) {
            self.calls.insert(call, entry);
            return self.input(call, Input::CallerUp, now);
        }
        let preferred: Vec<Codec> =
            entry.legs.get(&target).and_then(|leg| leg.codec).into_iter().collect();
        let result = self.accept_session(&mut entry, &preferred);
        self.drain(&mut entry, CALLER);
        if let Some(media) = entry.legs.get(&CALLER).and_then(|leg| leg.media) {
            self.by_media.insert(media, (call, CALLER));
        }
        self.calls.insert(call, entry);
        match result {
            Ok(()) => self.input(call, Input::CallerUp, now),
            Err(reason) => {
                self.end_leg(call, CALLER, &Cause::Jingle(reason.clone()));
                self.input(call, Input::HungUp(CALLER, Cause::Jingle(reason)), now);
            }
        }
    }

    pub(super) fn accept_session(
        &self,
        entry: &mut Entry,
        preferred: &[Codec],
    ) -> Result<(), Reason> {
        let media_call = entry.media.id();
        let leg = entry.legs.get_mut(&CALLER).ok_or(Reason::GeneralError)?;
        let Kind::JingleCaller { session: Some(session), offer, .. } = &mut leg.kind else {
            return Err(Reason::GeneralError);
        };
        let offer = offer.take().ok_or(Reason::GeneralError)?;
        let remote = sdp_jingle::remote_transport(&offer).map_err(sdp_jingle::Unusable::reason)?;
        let media = &self.parts.media;
        let (id, local) = media
            .open_webrtc(media_call, false, (self.parts.random)())
            .map_err(|_| Reason::GeneralError)?;
        leg.media = Some(id);
        let (answer, codecs) =
            sdp_jingle::answer(&offer, &local, preferred).map_err(sdp_jingle::Unusable::reason)?;
        leg.codec = Some(codecs.send.1);
        media.set_codecs(id, codecs);
        media.set_webrtc_remote(id, remote);
        session.accept(answer);
        Ok(())
    }

    /// Works off what a session has to say after a step.
    pub(super) fn session_moved(&mut self, call: CallKey, key: LegKey, now: Instant) {
        loop {
            let Some(mut entry) = self.calls.remove(&call) else { return };
            self.drain(&mut entry, key);
            let leg = entry.legs.get_mut(&key);
            let media = leg.as_ref().and_then(|leg| leg.media);
            let event = leg.and_then(|leg| leg.kind.session()).and_then(JingleLeg::poll_event);
            self.calls.insert(call, entry);
            match event {
                None => return,
                Some(Event::Ringing) => self.input(call, Input::Ringing(key), now),
                Some(Event::Accepted(content)) => self.accepted(call, key, &content, now),
                Some(Event::Candidates(content)) => {
                    self.add_candidates(call, key, media, &content);
                }
                Some(Event::Hold(held)) => self.app_holds(call, key, held),
                Some(Event::Digit { id, event, duration_ms }) => {
                    let is_heard = self.pressed(call, key, event, duration_ms) == 200;
                    let leg = self.calls.get_mut(&call).and_then(|entry| entry.legs.get_mut(&key));
                    if let Some(session) = leg.and_then(|leg| leg.kind.session()) {
                        session.answer_key(&id, is_heard);
                    }
                }
                Some(Event::Transfer { to, sid }) => {
                    if let Ok(to) = to.parse() {
                        self.wishes.push(Wish { place: (call, key), to, sid });
                    }
                }
                Some(Event::Terminated(reason)) => {
                    let is_early = self.calls.get(&call).is_some_and(|e| e.answered.is_none());
                    let cause = match reason {
                        // It heard something, and took the call for answered.
                        Some(Reason::Success) if key == CALLER && is_early => Cause::Cancelled,
                        reason => reason.map_or(Cause::Unavailable, Cause::Jingle),
                    };
                    self.hung_up(call, key, cause, now);
                }
            }
        }
    }

    /// Candidates before our answer wait in the offer.
    fn add_candidates(
        &mut self,
        call: CallKey,
        key: LegKey,
        media: Option<tandem_media::LegId>,
        content: &Content,
    ) {
        if let Some(media) = media {
            for candidate in sdp_jingle::candidates(content) {
                self.parts.media.add_candidate(media, candidate);
            }
            return;
        }
        let leg = self.calls.get_mut(&call).and_then(|entry| entry.legs.get_mut(&key));
        if let Some(Leg { kind: Kind::JingleCaller { offer: Some(offer), .. }, .. }) = leg
            && let (Some(ours), Some(more)) = (&mut offer.transport, &content.transport)
            && ours.candidates.len() + more.candidates.len() <= MAX_CANDIDATES
        {
            ours.candidates.extend(more.candidates.iter().cloned());
        }
    }

    /// A device took our session.
    fn accepted(&mut self, call: CallKey, key: LegKey, content: &Content, now: Instant) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let preferred = entry.caller_codecs.clone();
        let Some(leg) = entry.legs.get_mut(&key) else { return };
        let (
            Kind::Proposed { session: Some((_, offer)) } | Kind::JingleTarget { offer, .. },
            Some(media),
        ) = (&leg.kind, leg.media)
        else {
            return;
        };
        match sdp_jingle::accept(offer, content, &preferred) {
            Ok((codecs, remote)) => {
                leg.codec = Some(codecs.send.1);
                self.parts.media.set_codecs(media, codecs);
                self.parts.media.set_webrtc_remote(media, remote);
                self.input(call, Input::Answered(key), now);
            }
            Err(unusable) => {
                let cause = Cause::Jingle(unusable.reason());
                self.end_leg(call, key, &cause);
                self.input(call, Input::Refused(key, cause), now);
            }
        }
    }

    /// Sends what a session has to say.
    pub(super) fn drain(&self, entry: &mut Entry, key: LegKey) {
        let session = entry.legs.get_mut(&key).and_then(|leg| leg.kind.session());
        if let Some(session) = session {
            std::iter::from_fn(|| session.poll_stanza()).for_each(|stanza| self.say(stanza));
        }
    }
}

/// Candidates that wait for our answer.
const MAX_CANDIDATES: usize = 50;

/// The audio content of an offer, if we can take it; other contents are turned down by not being accepted.
pub(super) fn usable(jingle: &Jingle) -> Result<(Content, Audio), Reason> {
    let content = jingle.contents.iter().find(|c| c.is_audio());
    let content = content.ok_or(Reason::UnsupportedApplications)?;
    let audio = Audio::from_content(content).map_err(sdp_jingle::Unusable::reason)?;
    sdp_jingle::remote_transport(content).map_err(sdp_jingle::Unusable::reason)?;
    Ok((content.clone(), audio))
}
