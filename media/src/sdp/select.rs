//! Which line, codecs, keys and address of a peer's description we take (RFC 3264 sections 6 and 7, RFC 4568 section 5).

use std::net::SocketAddr;

use super::SdpError;
use super::audio::{AgreedFormat, AudioFormat, Encoding, Encryption, LocalAudio, RemoteAudio};
use super::session::{Media, Session};
use super::value::{self, Direction};
use crate::control::SdesPair;
use crate::srtp::sdes::Crypto;

/// What is answered to an offer.
pub(super) struct Chosen<'a> {
    /// Which line.
    pub(super) index: usize,
    /// That line.
    pub(super) media: &'a Media,
    /// Our key under the tag of the offer.
    pub(super) key: Option<Crypto>,
    /// For the caller.
    pub(super) remote: RemoteAudio,
}

/// The first audio line we can take; the one in use, `last`, before all others. Some phones offer the same audio twice,
/// encrypted and plain.
pub(super) fn for_answer<'a>(
    offer: &'a Session,
    local: &LocalAudio,
    last: Option<usize>,
) -> Result<Chosen<'a>, SdpError> {
    let lines = offer.media.iter().enumerate();
    let mut lines: Vec<_> = lines.filter(|(_, m)| m.is_audio() && m.port != 0).collect();
    lines.sort_by_key(|(index, _)| Some(*index) != last);
    let mut why = None;
    for (index, media) in lines {
        match take_offered(offer, media, local) {
            Ok((key, remote)) => return Ok(Chosen { index, media, key, remote }),
            Err(error) => why = why.or(Some(error)),
        }
    }
    Err(why.unwrap_or(SdpError::NoAudio))
}

fn take_offered(
    offer: &Session,
    media: &Media,
    local: &LocalAudio,
) -> Result<(Option<Crypto>, RemoteAudio), SdpError> {
    let profile = media.profile().ok_or(SdpError::UnsupportedTransport)?;
    let addr = remote_address(offer, media, local.addr)?;
    let formats = common_for_answer(media, local)?;
    let required = profile.is_secure() || local.encryption.is_required();
    let (key, srtp) = answer_key(media, &local.encryption, required)?.unzip();
    // These numbers cannot be told from RTCP (RFC 5761 section 4).
    let muxable = |f: &AgreedFormat| !(64..=95).contains(&f.receive);
    let rtcp_mux = media.section.rtcp_mux() && local.rtcp_mux && formats.iter().all(muxable);
    let peer_direction = peer_direction(offer, media, addr);
    let remote = RemoteAudio {
        addr,
        rtcp: remote_rtcp(media, addr, rtcp_mux),
        rtcp_mux,
        formats,
        direction: local.direction.and(peer_direction.mirror()),
        peer_direction,
        srtp,
        ptime_ms: media.packet_time(),
        profile,
    };
    Ok((key, remote))
}

/// What follows from the answer to `local`, which was offered on line `index`, with `RTP/SAVP(F)` if `secure`.
pub(super) fn from_answer(
    answer: &Session,
    local: &LocalAudio,
    index: usize,
    secure: bool,
) -> Result<RemoteAudio, SdpError> {
    let media = answer.media.get(index).ok_or(SdpError::AnswerMismatch)?;
    if !media.is_audio() {
        return Err(SdpError::AnswerMismatch);
    }
    if media.port == 0 {
        return Err(SdpError::NoAudio);
    }
    let profile = media.profile().ok_or(SdpError::UnsupportedTransport)?;
    let addr = remote_address(answer, media, local.addr)?;
    let formats = common_from_answer(media, local)?;
    let srtp = answered_key(media, local.encryption.keys());
    if srtp.is_none() && (secure || profile.is_secure()) {
        return Err(SdpError::NoCrypto);
    }
    let rtcp_mux = media.section.rtcp_mux() && local.rtcp_mux;
    let peer_direction = peer_direction(answer, media, addr);
    Ok(RemoteAudio {
        addr,
        rtcp: remote_rtcp(media, addr, rtcp_mux),
        rtcp_mux,
        formats,
        direction: local.direction.and(peer_direction.mirror()),
        peer_direction,
        srtp,
        ptime_ms: media.packet_time(),
        profile,
    })
}

/// Our parameters for a format.
pub(super) fn our_fmtp(local: &LocalAudio, encoding: Encoding) -> Option<String> {
    local.formats.iter().find(|f| f.encoding == encoding).and_then(|f| f.fmtp.clone())
}

/// `None`: nothing to send to, which is how RFC 2543 held calls.
fn remote_address(
    session: &Session,
    media: &Media,
    ours: SocketAddr,
) -> Result<Option<SocketAddr>, SdpError> {
    let connection = session.connection_of(media).ok_or(SdpError::BadAddress)?;
    let ip = connection.ip().ok_or(SdpError::BadAddress)?;
    if ip.is_unspecified() {
        return Ok(None);
    }
    if !value::is_unicast(ip) || ip.is_ipv4() != ours.ip().to_canonical().is_ipv4() {
        return Err(SdpError::BadAddress);
    }
    Ok(Some(SocketAddr::new(ip, media.port)))
}

/// `None`: the next port, or multiplexed. What cannot be used counts as not said.
fn remote_rtcp(media: &Media, addr: Option<SocketAddr>, rtcp_mux: bool) -> Option<SocketAddr> {
    if rtcp_mux {
        return None;
    }
    media.section.rtcp()?.address(addr?)
}

fn peer_direction(session: &Session, media: &Media, addr: Option<SocketAddr>) -> Direction {
    let said = session.direction_of(media);
    if addr.is_none() { Direction::new(said.sends(), false) } else { said }
}

/// The offer's numbers serve both ways. Events are taken for the clocks of the common codecs; if there are none for
/// these, any common ones are better than no DTMF.
fn common_for_answer(media: &Media, local: &LocalAudio) -> Result<Vec<AgreedFormat>, SdpError> {
    let rank = |e: Encoding| local.formats.iter().position(|ours| ours.encoding == e);
    let mut common = media.audio_formats();
    common.retain(|format| rank(format.encoding).is_some());
    let clocks: Vec<u32> =
        common.iter().filter_map(|f| f.encoding.codec()).map(|c| c.clock_rate()).collect();
    if clocks.is_empty() {
        return Err(SdpError::NoCommonCodec);
    }
    let is_event = |f: &AudioFormat| f.encoding.codec().is_none();
    let fits = |f: &AudioFormat| clocks.contains(&f.encoding.clock());
    if common.iter().any(|f| is_event(f) && fits(f)) {
        common.retain(|f| !is_event(f) || fits(f));
    }
    if local.own_order {
        common.sort_by_key(|format| rank(format.encoding));
    }
    let agreed = |f: AudioFormat| AgreedFormat {
        encoding: f.encoding,
        send: f.payload_type,
        receive: f.payload_type,
        fmtp: f.fmtp,
    };
    Ok(common.into_iter().map(agreed).collect())
}

/// We send by the answer's numbers and take by our own (RFC 3264 section 7).
fn common_from_answer(media: &Media, local: &LocalAudio) -> Result<Vec<AgreedFormat>, SdpError> {
    let agreed: Vec<AgreedFormat> = media
        .formats_beside(&local.formats)
        .into_iter()
        .filter_map(|theirs| {
            let ours = local.formats.iter().find(|f| f.encoding == theirs.encoding)?;
            Some(AgreedFormat {
                encoding: theirs.encoding,
                send: theirs.payload_type,
                receive: ours.payload_type,
                fmtp: theirs.fmtp,
            })
        })
        .collect();
    let has_audio = agreed.iter().any(|f| f.encoding.codec().is_some());
    if has_audio { Ok(agreed) } else { Err(SdpError::NoCommonCodec) }
}

/// Our key for the first offered suite that we have too, under the offer's tag (RFC 4568 section 5.1.2).
fn answer_key(
    media: &Media,
    encryption: &Encryption,
    required: bool,
) -> Result<Option<(Crypto, SdesPair)>, SdpError> {
    let chosen = media.section.cryptos().find_map(|theirs| {
        let ours = encryption.keys().iter().find(|k| k.key.profile == theirs.key.profile)?;
        let pair = SdesPair { ours: ours.key.clone(), theirs: theirs.key };
        Some((Crypto { tag: theirs.tag, key: ours.key.clone() }, pair))
    });
    if chosen.is_none() && required { Err(SdpError::NoCrypto) } else { Ok(chosen) }
}

/// The pair where tag and suite are those of a key we offered (RFC 4568 section 5.1.3).
fn answered_key(media: &Media, offered: &[Crypto]) -> Option<SdesPair> {
    media.section.cryptos().find_map(|theirs| {
        let same = |k: &&Crypto| k.tag == theirs.tag && k.key.profile == theirs.key.profile;
        let ours = offered.iter().find(same)?;
        Some(SdesPair { ours: ours.key.clone(), theirs: theirs.key })
    })
}
