//! What is heard before the answer (RFC 3261 section 13.2.1, RFC 3960, `interop.md` 6.8): the announcement that a number is not in
//! service, the ringing of another country.
//!
//! A phone that calls hears it by a 183 with our session description, which its 200 repeats. An app knows no such thing: it
//! gets its session accepted at once where the trunk is one whose early media apps hear, and shows the call as connected; else
//! it rings by itself. Of several phones that play something the last one to begin is heard; the answer decides.

use std::time::Instant;

use super::entry::{CallKey, Kind, Way};
use super::{CALLER, Exchange, LegKey, audio};

impl Exchange {
    /// A phone that rings has said where its media comes from. Whether the caller hears it.
    pub(super) fn plays(&mut self, call: CallKey, key: LegKey, sdp: &[u8], now: Instant) -> bool {
        let Some(entry) = self.calls.get_mut(&call) else { return false };
        if entry.machine.taken_by().is_some() || entry.is_of_before(key) {
            return false;
        }
        let preferred = entry.caller_codecs.clone();
        let Some(leg) = entry.legs.get_mut(&key) else { return false };
        let (Kind::SipTarget { audio, way, .. }, Some(media)) = (&mut leg.kind, leg.media) else {
            return false;
        };
        let is_for_apps = matches!(way, Way::Trunk { trunk, .. } if trunk.early_media);
        match audio::accept(&self.parts.media, media, audio, sdp, &preferred) {
            Ok((codec, _)) => leg.codec = codec,
            Err(error) => {
                // The answer itself may be another.
                tracing::debug!(call = call.0, %error, "early media cannot be used");
                return false;
            }
        }
        entry.playing = Some(key);
        match entry.legs.get(&CALLER).map(|leg| &leg.kind) {
            Some(Kind::SipCaller { offer: Some(_), .. }) => self.play_to_phone(call),
            Some(Kind::JingleCaller { .. }) if is_for_apps => {
                self.play_to_app(call, now);
                true
            }
            _ => false,
        }
    }

    fn play_to_phone(&mut self, call: CallKey) -> bool {
        let Some(mut entry) = self.calls.remove(&call) else { return false };
        let playing = entry.playing.and_then(|key| entry.legs.get(&key));
        let preferred: Vec<_> = playing.and_then(|leg| leg.codec).into_iter().collect();
        let room = entry.media.id();
        let mut is_heard = true;
        if let Some(leg) = entry.legs.get_mut(&CALLER)
            && leg.early.is_none()
            && let Some(dialog) = leg.kind.dialog()
        {
            match self.answer_for(room, leg, &preferred) {
                Ok(answer) => {
                    leg.early = Some(answer.clone());
                    self.parts.sip.ring(dialog, 183, Some(answer));
                    if let Some(media) = leg.media {
                        self.by_media.insert(media, (call, CALLER));
                    }
                }
                // The answer says what is wrong.
                Err(_) => is_heard = false,
            }
        }
        self.calls.insert(call, entry);
        self.play(call);
        is_heard
    }

    /// An app is told to begin its session, or has begun it.
    fn play_to_app(&mut self, call: CallKey, now: Instant) {
        let caller = self.calls.get(&call).and_then(|entry| entry.legs.get(&CALLER));
        let Some(Kind::JingleCaller { session, proceeded, .. }) = caller.map(|leg| &leg.kind)
        else {
            return;
        };
        match (session.is_some(), proceeded.is_some()) {
            (true, _) => self.play_in_session(call),
            (false, false) => {
                if let Some(key) = self.calls.get(&call).and_then(|entry| entry.playing) {
                    self.answer_caller(call, key, now);
                }
            }
            // It is on its way.
            (false, true) => {}
        }
    }

    /// The session of an app that calls is there, and somebody plays: it is accepted before the call is.
    pub(super) fn play_in_session(&mut self, call: CallKey) {
        let Some(mut entry) = self.calls.remove(&call) else { return };
        let playing = entry.playing.and_then(|key| entry.legs.get(&key));
        let preferred: Vec<_> = playing.and_then(|leg| leg.codec).into_iter().collect();
        let is_first = entry.legs.get(&CALLER).is_some_and(|leg| leg.early.is_none());
        if playing.is_some() && is_first && self.accept_session(&mut entry, &preferred).is_ok() {
            if let Some(leg) = entry.legs.get_mut(&CALLER) {
                leg.early = Some(bytes::Bytes::new());
                if let Some(media) = leg.media {
                    self.by_media.insert(media, (call, CALLER));
                }
            }
            self.drain(&mut entry, CALLER);
        }
        self.calls.insert(call, entry);
        self.play(call);
    }

    /// The caller hears whoever began to play last.
    fn play(&self, call: CallKey) {
        let Some(entry) = self.calls.get(&call) else { return };
        let media = |key: LegKey| entry.legs.get(&key).and_then(|leg| leg.media);
        if let (Some(caller), Some(playing)) = (media(CALLER), entry.playing.and_then(media)) {
            self.parts.media.connect(caller, playing);
        }
    }
}
