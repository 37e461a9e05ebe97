//! The audio of phone legs: offers and answers (RFC 3264) on one side, the media engine on the other.

use bytes::Bytes;
use tandem_media::codec::Codec;
use tandem_media::sdp::{
    Encryption, LocalAudio, Negotiator, RemoteAudio, SdpError, Session, offer_formats,
};
use tandem_media::srtp::{Profile, sdes::Crypto};
use tandem_media::{CallId, LegId, MediaError, MediaHandle};

use super::entry::PhoneAudio;
use crate::bridge::sdp_jingle::preference;

/// Opens an RTP leg with a description of ours that lists all codecs, `first` before the others.
pub(super) fn open(
    media: &MediaHandle,
    call: CallId,
    first: &[Codec],
    encryption: Encryption,
    number: u64,
) -> Result<(LegId, PhoneAudio), MediaError> {
    let (leg, address) = media.open_rtp(call)?;
    let mut local = LocalAudio::new(address, offer_formats(&preference(first)));
    local.encryption = encryption;
    // The other leg's codec decides, so that packets can pass through.
    local.own_order = !first.is_empty();
    Ok((leg, PhoneAudio { negotiator: Negotiator::new(number), local }))
}

/// Fresh keys (RFC 4568).
pub(super) fn keys(random: fn() -> [u8; 32]) -> Vec<Crypto> {
    let mut bytes = [0; 30];
    bytes.iter_mut().zip(random()).for_each(|(byte, random)| *byte = random);
    vec![Crypto::new(1, Profile::Aes128CmSha1_80, bytes)]
}

/// Answers a phone's offer and sets the media leg up; `preferred` are the codecs of the other leg.
pub(super) fn answer(
    media: &MediaHandle,
    leg: LegId,
    audio: &mut PhoneAudio,
    offer: &Session,
    preferred: &[Codec],
) -> Result<(Bytes, RemoteAudio, Option<Codec>), SdpError> {
    let (bytes, remote) = audio.negotiator.answer(offer, &audio.local)?;
    lock(&mut audio.local, &remote);
    let codec = apply(media, leg, &remote, preferred);
    Ok((bytes, remote, codec))
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
    let remote = audio.negotiator.accept_answer(&answer)?;
    lock(&mut audio.local, &remote);
    Ok((apply(media, leg, &remote, preferred), remote.is_held()))
}

/// Gives the media engine what was agreed; the codec we send.
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

/// Once a leg is encrypted it stays so: a later offer without keys is refused.
fn lock(local: &mut LocalAudio, remote: &RemoteAudio) {
    if let (Encryption::Opportunistic(keys), Some(_)) = (&local.encryption, &remote.srtp) {
        local.encryption = Encryption::Required(keys.clone());
    }
}
