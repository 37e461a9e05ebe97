//! The audio of phone legs: offers and answers (RFC 3264) on one side, the media engine on the other.

use bytes::Bytes;
use tandem_media::codec::Codec;
use tandem_media::sdp::{
    Direction, Encryption, LocalAudio, Negotiator, RemoteAudio, SdpError, Session, offer_formats,
};
use tandem_media::srtp::{Profile, sdes::Crypto};
use tandem_media::{CallId, LegId, MediaError, MediaHandle, RemoteTransport};

use super::entry::PhoneAudio;
use crate::bridge::sdp_jingle::preference;
use crate::bridge::sdp_webrtc::{Agreed, WebAudio};

/// How a phone's leg is to be encrypted.
pub(super) enum Security {
    /// RTP, or SRTP with these keys.
    Rtp(Encryption),
    /// ICE and DTLS-SRTP, with a password that comes of this.
    Web([u8; 32]),
}

/// Opens a leg with a description of ours that lists all codecs, `first` before the others. `is_caller`: the phone began.
pub(super) fn open(
    media: &MediaHandle,
    call: CallId,
    first: &[Codec],
    security: Security,
    (number, is_caller): (u64, bool),
) -> Result<(LegId, PhoneAudio), MediaError> {
    let encryption = match security {
        Security::Rtp(encryption) => encryption,
        Security::Web(random) => {
            // Whoever offers controls (RFC 8445 section 6.1.1).
            let (leg, transport) = media.open_webrtc(call, !is_caller, random)?;
            let audio = WebAudio::new(transport, number, first);
            return Ok((leg, PhoneAudio::Web { audio, remote: None }));
        }
    };
    let (leg, address) = media.open_rtp(call)?;
    let mut local = LocalAudio::new(address, offer_formats(&preference(first)));
    local.encryption = encryption;
    // The other leg's codec decides, so that packets can pass through.
    local.own_order = !first.is_empty();
    Ok((leg, PhoneAudio::Rtp { negotiator: Negotiator::new(number), local }))
}

impl PhoneAudio {
    /// Our offer, as things are now.
    pub(super) fn offer(&mut self) -> Bytes {
        match self {
            Self::Rtp { negotiator, local } => negotiator.offer(local),
            Self::Web { audio, .. } => audio.offer(),
        }
    }

    /// What we want to do from the next description on.
    pub(super) fn set_direction(&mut self, direction: Direction) {
        match self {
            Self::Rtp { local, .. } => local.direction = direction,
            Self::Web { audio, .. } => audio.direction = direction,
        }
    }

    /// Whether plain RTP is out of the question; `None` for what is encrypted by its nature.
    pub(super) fn requires_keys(&self) -> Option<bool> {
        match self {
            Self::Rtp { local, .. } => Some(local.encryption.is_required()),
            Self::Web { .. } => None,
        }
    }
}

/// Fresh keys (RFC 4568).
pub(super) fn keys(random: fn() -> [u8; 32]) -> Vec<Crypto> {
    let mut bytes = [0; 30];
    bytes.iter_mut().zip(random()).for_each(|(byte, random)| *byte = random);
    vec![Crypto::new(1, Profile::Aes128CmSha1_80, bytes)]
}

/// Answers a phone's offer and sets the media leg up; `preferred` are the codecs of the other leg. Gives the answer, whether
/// the phone holds, and the codec we send.
pub(super) fn answer(
    media: &MediaHandle,
    leg: LegId,
    audio: &mut PhoneAudio,
    offer: &Session,
    preferred: &[Codec],
) -> Result<(Bytes, bool, Option<Codec>), SdpError> {
    match audio {
        PhoneAudio::Rtp { negotiator, local } => {
            let (bytes, remote) = negotiator.answer(offer, local)?;
            lock(local, &remote);
            let codec = apply(media, leg, &remote, preferred);
            Ok((bytes, remote.is_held(), codec))
        }
        PhoneAudio::Web { audio, remote } => {
            let (bytes, agreed) = audio.answer(offer, preferred)?;
            let is_held = agreed.is_held;
            Ok((bytes, is_held, Some(apply_web(media, leg, remote, agreed))))
        }
    }
}

/// Takes a phone's answer to our offer and sets the media leg up; the codec we send, and whether the phone holds.
pub(super) fn accept(
    media: &MediaHandle,
    leg: LegId,
    audio: &mut PhoneAudio,
    answer: &[u8],
    preferred: &[Codec],
) -> Result<(Option<Codec>, bool), SdpError> {
    let answer = Session::parse(answer)?;
    match audio {
        PhoneAudio::Rtp { negotiator, local } => {
            let remote = negotiator.accept_answer(&answer)?;
            lock(local, &remote);
            Ok((apply(media, leg, &remote, preferred), remote.is_held()))
        }
        PhoneAudio::Web { audio, remote } => {
            let agreed = audio.accept(&answer, preferred)?;
            let is_held = agreed.is_held;
            Ok((Some(apply_web(media, leg, remote, agreed)), is_held))
        }
    }
}

/// Gives the media engine what was agreed for RTP; the codec we send.
fn apply(
    media: &MediaHandle,
    leg: LegId,
    remote: &RemoteAudio,
    preferred: &[Codec],
) -> Option<Codec> {
    let codecs = remote.leg_codecs(preferred)?;
    let codec = codecs.send.1;
    media.set_codecs(leg, codecs);
    // On hold in the old style (`c=0.0.0.0`) the address we know stays, and nothing is sent there.
    if remote.addr.is_some() {
        media.set_rtp_remote(leg, remote.rtp_remote());
    }
    media.hold(leg, remote.direction.sends(), remote.direction.receives());
    Some(codec)
}

/// The same for WebRTC.
fn apply_web(
    media: &MediaHandle,
    leg: LegId,
    known: &mut Option<RemoteTransport>,
    agreed: Agreed,
) -> Codec {
    let codec = agreed.codecs.send.1;
    media.set_codecs(leg, agreed.codecs);
    // The same once more would be a restart for nothing; the role is settled by then.
    let is_new = known.as_ref().is_none_or(|known| {
        known.ufrag != agreed.transport.ufrag || known.pwd != agreed.transport.pwd
    });
    if is_new {
        media.set_webrtc_remote(leg, agreed.transport.clone());
        *known = Some(agreed.transport);
    }
    media.hold(leg, agreed.direction.sends(), agreed.direction.receives());
    codec
}

/// Once a leg is encrypted it stays so: a later offer without keys is refused.
fn lock(local: &mut LocalAudio, remote: &RemoteAudio) {
    if let (Encryption::Opportunistic(keys), Some(_)) = (&local.encryption, &remote.srtp) {
        local.encryption = Encryption::Required(keys.clone());
    }
}
