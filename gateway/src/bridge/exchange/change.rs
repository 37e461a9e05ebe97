//! Changes of a call that is up (RFC 3264 section 8, XEP-0167 section 8, `interop.md` 6.9): hold and resume across the
//! protocols, other codecs and addresses, offers that we make and that are made to us.
//!
//! Each leg is changed for itself: what crosses is only that somebody holds. A phone is told by a re-INVITE, an app by
//! `<hold/>`.

use std::time::Duration;

use bytes::Bytes;
use tandem_media::codec::Codec;
use tandem_media::sdp::{Direction, SdpError, Session};
use tandem_xmpp::stanza::jingle::Info;

use super::entry::{CallKey, Entry, Kind, Leg, PhoneAudio};
use super::{CALLER, Exchange, LegKey, audio};

impl Entry {
    /// The leg that hears `key`, once the call is taken.
    pub(super) fn other(&self, key: LegKey) -> Option<LegKey> {
        let taken = self.machine.taken_by()?;
        match key {
            CALLER => Some(taken),
            key => (key == taken).then_some(CALLER),
        }
    }
}

impl Leg {
    /// The audio of a phone that has answered, or was answered.
    pub(super) fn audio(&mut self) -> Option<&mut PhoneAudio> {
        match &mut self.kind {
            Kind::SipCaller { audio: Some(audio), .. } | Kind::SipTarget { audio, .. } => {
                Some(audio)
            }
            _ => None,
        }
    }
}

impl Exchange {
    /// A re-INVITE or an UPDATE: hold, resume, another codec or address, or a sign of life.
    pub(super) fn reinvited(
        &mut self,
        call: CallKey,
        key: LegKey,
        offer: Option<&[u8]>,
    ) -> Result<Bytes, u16> {
        let leg = self.calls.get_mut(&call).and_then(|entry| entry.legs.get_mut(&key));
        let leg = leg.ok_or(481_u16)?;
        let media = leg.media.ok_or(500_u16)?;
        let preferred: Vec<Codec> = leg.codec.into_iter().collect();
        let audio = leg.audio().ok_or(500_u16)?;
        let Some(offer) = offer else {
            // They want to hear ours: all that we can do, as secure as before (RFC 3261 section 14.2).
            return Ok(audio.offer());
        };
        let offer = Session::parse(offer).map_err(SdpError::status)?;
        let (answer, is_held, codec) =
            audio::answer(&self.parts.media, media, audio, &offer, &preferred)
                .map_err(SdpError::status)?;
        leg.codec = codec;
        self.holds(call, key, is_held);
        Ok(answer)
    }

    /// A phone answered an offer of ours in a call that is up.
    pub(super) fn change_answered(&mut self, call: CallKey, key: LegKey, answer: &[u8]) {
        let leg = self.calls.get_mut(&call).and_then(|entry| entry.legs.get_mut(&key));
        let Some(leg) = leg else { return };
        let Some(media) = leg.media else { return };
        let preferred: Vec<Codec> = leg.codec.into_iter().collect();
        let Some(audio) = leg.audio() else { return };
        match audio::accept(&self.parts.media, media, audio, answer, &preferred) {
            Ok((codec, is_held)) => {
                leg.codec = codec;
                self.holds(call, key, is_held);
            }
            Err(error) => {
                // The call goes on as it was.
                tracing::warn!(call = call.0, %error, "a phone's answer to a change cannot be used");
            }
        }
    }

    /// An offer that came at a bad time is made again, as things are now.
    pub(super) fn offer_again(&mut self, call: CallKey, key: LegKey) {
        let leg = self.calls.get_mut(&call).and_then(|entry| entry.legs.get_mut(&key));
        if let Some(leg) = leg {
            Self::offer_change(&self.parts.sip, leg);
        }
    }

    fn offer_change(sip: &tandem_sip::SipHandle, leg: &mut Leg) {
        let Some(dialog) = leg.kind.dialog() else { return };
        if let Some(audio) = leg.audio() {
            sip.reinvite(dialog, audio.offer());
        }
    }

    /// Whoever is on this leg holds, or does no more: the other side is told, once.
    pub(super) fn holds(&mut self, call: CallKey, key: LegKey, holds: bool) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let other = entry.other(key);
        let Some(leg) = entry.legs.get_mut(&key) else { return };
        if leg.holds == holds {
            return;
        }
        leg.holds = holds;
        if let Some(other) = other {
            self.tell_hold(call, other, holds);
        }
    }

    /// A key was pressed on this leg: the other side hears it in its audio. As the status of an INFO: 480 where nobody is there
    /// yet, 488 where whoever is there takes neither telephone events nor tones.
    pub(super) fn pressed(&self, call: CallKey, key: LegKey, event: u8, duration_ms: u32) -> u16 {
        let Some(entry) = self.calls.get(&call) else { return 481 };
        let media = |key: LegKey| entry.legs.get(&key).and_then(|leg| leg.media);
        let Some(other) = entry.other(key).filter(|_| entry.answered.is_some()) else {
            return 480;
        };
        let is_echo = entry.legs.get(&other).is_some_and(|leg| matches!(leg.kind, Kind::Echo));
        let hearer = if is_echo { media(key) } else { media(other) };
        match (media(key), hearer) {
            (Some(from), Some(to)) if self.parts.media.hears_keys(to) => {
                self.parts.media.press(from, event, Duration::from_millis(duration_ms.into()));
                200
            }
            (Some(_), Some(_)) => 488,
            _ => 480,
        }
    }

    /// Tells a leg that the other side holds, or does no more.
    pub(super) fn tell_hold(&mut self, call: CallKey, key: LegKey, held: bool) {
        let Some(mut entry) = self.calls.remove(&call) else { return };
        if let Some(leg) = entry.legs.get_mut(&key) {
            if let Some(session) = leg.kind.session() {
                session.inform(if held { Info::Hold } else { Info::Unhold });
            } else if let Some(audio) = leg.audio() {
                // What the holder plays is still sent.
                audio.set_direction(if held { Direction::SendOnly } else { Direction::SendRecv });
                Self::offer_change(&self.parts.sip, leg);
            }
        }
        self.drain(&mut entry, key);
        self.calls.insert(call, entry);
    }

    /// An app holds, or does no more: nothing is sent to it, and the other side is told.
    pub(super) fn app_holds(&mut self, call: CallKey, key: LegKey, holds: bool) {
        let media = self.calls.get(&call).and_then(|e| e.legs.get(&key)).and_then(|l| l.media);
        if let Some(media) = media {
            self.parts.media.hold(media, !holds, true);
        }
        self.holds(call, key, holds);
    }
}
