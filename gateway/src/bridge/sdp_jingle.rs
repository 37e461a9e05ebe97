//! Jingle contents and media legs (XEP-0167, XEP-0176, XEP-0320, `interop.md` 6.2), and which codec a call takes.
//!
//! Nothing is copied from one leg to the other: a content says what its client can do, the answer or offer for it is
//! built from our own transport. Codecs of the other leg only decide the order, so that packets can pass through.

use std::net::SocketAddr;

use tandem_media::codec::Codec;
use tandem_media::{Candidate as MediaCandidate, LegCodecs, LocalTransport, RemoteTransport};
use tandem_xmpp::stanza::jingle::{
    Candidate, Content, Fingerprint, IceUdp, PayloadType, Reason, RtpDescription, Senders, Setup,
};

/// Our payload type for Opus where we choose.
pub const OPUS: u8 = 111;
/// Our payload types for telephone events, with their clocks.
pub const EVENTS: [(u8, u32); 2] = [(110, 48_000), (126, 8_000)];
/// What we can do, the best first.
pub const CODECS: [Codec; 4] = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma];
/// Milliseconds of audio in a packet.
const PTIME: u32 = 20;
/// Shortest ICE credentials (RFC 8839 section 5.4).
const MIN_UFRAG: usize = 4;
const MIN_PWD: usize = 22;

/// Why a content cannot become a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// No audio in it.
    #[error("no audio")]
    NoAudio,
    /// No ICE transport, or without credentials.
    #[error("no usable ICE transport")]
    NoTransport,
    /// No codec in common.
    #[error("no common codec")]
    NoCodec,
    /// No SHA-256 fingerprint: media would not be encrypted to anybody in particular.
    #[error("no usable fingerprint")]
    NoFingerprint,
}

impl Unusable {
    /// What the client is told.
    pub fn reason(self) -> Reason {
        match self {
            Self::NoAudio => Reason::UnsupportedApplications,
            Self::NoTransport => Reason::UnsupportedTransports,
            Self::NoCodec => Reason::IncompatibleParameters,
            Self::NoFingerprint => Reason::SecurityError,
        }
    }
}

/// What one side takes in: the numbers it chose, the preferred first. SDP of a phone gives the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audio {
    /// Codecs we know.
    pub codecs: Vec<(u8, Codec)>,
    /// Telephone events with their clock.
    pub events: Vec<(u8, u32)>,
    /// Milliseconds per packet it wishes.
    pub ptime: Option<u32>,
}

impl Audio {
    /// Reads formats as `(number, name, clock, channels)`; a number without a name is taken from RFC 3551.
    pub fn from_formats<'a>(
        formats: impl IntoIterator<Item = (u8, Option<&'a str>, Option<u32>, u32)>,
    ) -> Self {
        let mut audio = Self::default();
        for (id, name, clock, channels) in formats {
            match (name.filter(|n| !n.is_empty()), clock) {
                (Some(name), Some(clock)) if name.eq_ignore_ascii_case("telephone-event") => {
                    audio.events.push((id, clock));
                }
                (Some(name), Some(clock)) => {
                    // Opus is always written as two channels (RFC 7587 section 7); clients that say 1 mean the same.
                    let codec = Codec::from_rtpmap(name, clock);
                    let codec = codec.filter(|c| *c == Codec::Opus || channels <= 1);
                    audio.codecs.extend(codec.map(|c| (id, c)));
                }
                _ => {
                    let known = CODECS.into_iter().find(|c| c.static_payload_type() == Some(id));
                    audio.codecs.extend(known.map(|c| (id, c)));
                }
            }
        }
        audio
    }

    /// Reads a content.
    ///
    /// # Errors
    ///
    /// [`Unusable::NoAudio`], or [`Unusable::NoCodec`] if none is known.
    pub fn from_content(content: &Content) -> Result<Self, Unusable> {
        let description = content.description.as_ref().filter(|d| d.media == "audio");
        let types = &description.ok_or(Unusable::NoAudio)?.payload_types;
        let mut audio = Self::from_formats(
            types.iter().map(|p| (p.id, Some(p.name.as_str()), p.clockrate, u32::from(p.channels))),
        );
        audio.ptime = types.iter().filter_map(|p| p.ptime).min();
        if audio.codecs.is_empty() { Err(Unusable::NoCodec) } else { Ok(audio) }
    }

    /// The codecs without their numbers, in order.
    pub fn order(&self) -> Vec<Codec> {
        let mut order = Vec::new();
        for (_, codec) in &self.codecs {
            if !order.contains(codec) {
                order.push(*codec);
            }
        }
        order
    }

    fn number(&self, codec: Codec) -> Option<u8> {
        self.codecs.iter().find(|(_, c)| *c == codec).map(|(id, _)| *id)
    }
}

/// Our codecs in the order to offer or choose them: first those of the other leg, in its order.
pub fn preference(other_leg: &[Codec]) -> Vec<Codec> {
    let mut order: Vec<Codec> = Vec::with_capacity(CODECS.len());
    for codec in other_leg.iter().chain(&CODECS) {
        if !order.contains(codec) {
            order.push(*codec);
        }
    }
    order
}

/// The codec both legs should use: the first of `one` that `other` has too.
pub fn common(one: &[Codec], other: &[Codec]) -> Option<Codec> {
    one.iter().copied().find(|codec| other.contains(codec))
}

/// What a leg's media needs when `ours` was described by us and `theirs` by the peer. We send with their numbers and
/// take in ours (RFC 3264 section 5.1). The codec sent is the first of `preferred` that both have.
///
/// # Errors
///
/// [`Unusable::NoCodec`]
pub fn agree(ours: &Audio, theirs: &Audio, preferred: &[Codec]) -> Result<LegCodecs, Unusable> {
    let order = preference(preferred);
    let send = order
        .iter()
        .filter(|codec| ours.number(**codec).is_some())
        .find_map(|codec| theirs.number(*codec).map(|id| (id, *codec)))
        .ok_or(Unusable::NoCodec)?;
    // Whatever we offered may come (RFC 3264 section 5.1): some clients answer with one codec and send another of ours.
    let receive = ours.codecs.clone();
    let clocks = |clock: u32| theirs.events.iter().any(|(_, c)| *c == clock);
    let dtmf_receive = ours.events.iter().filter(|(_, clock)| clocks(*clock)).copied().collect();
    let ours_has = |clock: u32| ours.events.iter().any(|(_, c)| *c == clock);
    let usable = || theirs.events.iter().filter(|(_, clock)| ours_has(*clock));
    // Events share the timestamps of the audio (RFC 4733 section 2.1), so the clock of the codec is the right one.
    let dtmf_send = usable().find(|(_, c)| *c == send.1.clock_rate()).or_else(|| usable().next());
    let ptime_ms = theirs.ptime.filter(|p| matches!(p, 10 | 20 | 30 | 40 | 60)).unwrap_or(PTIME);
    Ok(LegCodecs { receive, send, dtmf_receive, dtmf_send: dtmf_send.copied(), ptime_ms })
}

/// Our offer for a client: all codecs, those of the other leg first.
pub fn offer(name: &str, local: &LocalTransport, preferred: &[Codec]) -> Content {
    let order = preference(preferred);
    let codecs = order.iter().map(|c| (c.static_payload_type().unwrap_or(OPUS), *c)).collect();
    let audio = Audio { codecs, events: EVENTS.to_vec(), ptime: None };
    let mut content = Content::new("initiator", name);
    content.description = Some(describe(&audio, true));
    content.transport = Some(transport(local, Setup::Actpass));
    content
}

/// Our answer to a client's offer, with its numbers, and what the leg's media needs.
///
/// # Errors
///
/// [`Unusable`] says which part of the offer is.
pub fn answer(
    offer: &Content,
    local: &LocalTransport,
    preferred: &[Codec],
) -> Result<(Content, LegCodecs), Unusable> {
    let theirs = Audio::from_content(offer)?;
    let remote = remote_transport(offer)?;
    let codecs = preference(preferred)
        .into_iter()
        .filter_map(|codec| theirs.number(codec).map(|id| (id, codec)))
        .collect();
    let events = theirs.events.iter().filter(|(_, clock)| matches!(clock, 8_000 | 48_000));
    let ours = Audio { codecs, events: events.copied().collect(), ptime: theirs.ptime };
    let agreed = agree(&ours, &theirs, preferred)?;
    let mut content = Content::new(&offer.creator, &offer.name);
    content.senders = offer.senders;
    content.description = Some(describe(&ours, is_muxed(offer)));
    let setup = match remote.setup {
        tandem_media::Setup::Active => Setup::Passive,
        tandem_media::Setup::Passive | tandem_media::Setup::ActPass => Setup::Active,
    };
    content.transport = Some(transport(local, setup));
    Ok((content, agreed))
}

/// What the leg's media needs after the client accepted our offer.
///
/// # Errors
///
/// [`Unusable`] says which part of its answer is.
pub fn accept(
    ours: &Content,
    answer: &Content,
    preferred: &[Codec],
) -> Result<(LegCodecs, RemoteTransport), Unusable> {
    let agreed = agree(&Audio::from_content(ours)?, &Audio::from_content(answer)?, preferred)?;
    let mut remote = remote_transport(answer)?;
    // An answer has to choose. Where it repeats `actpass` (XEP-0343 prints it so), the answerer begins.
    if remote.setup == tandem_media::Setup::ActPass {
        remote.setup = tandem_media::Setup::Active;
    }
    Ok((agreed, remote))
}

/// The client's transport.
///
/// # Errors
///
/// [`Unusable::NoTransport`], [`Unusable::NoFingerprint`]
pub fn remote_transport(content: &Content) -> Result<RemoteTransport, Unusable> {
    let transport = content.transport.as_ref().ok_or(Unusable::NoTransport)?;
    let credential = |value: &Option<String>, least: usize| {
        let legal = |v: &&str| {
            v.len() >= least
                && v.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
        };
        value.as_deref().filter(legal).map(str::to_owned).ok_or(Unusable::NoTransport)
    };
    let ufrag = credential(&transport.ufrag, MIN_UFRAG)?;
    let pwd = credential(&transport.pwd, MIN_PWD)?;
    let usable = || transport.fingerprints.iter().filter(|f| f.hash == "sha-256");
    let first = usable().next().ok_or(Unusable::NoFingerprint)?;
    let setup = match first.setup {
        Some(Setup::Active) => tandem_media::Setup::Active,
        Some(Setup::Passive) => tandem_media::Setup::Passive,
        Some(Setup::Actpass) | None => tandem_media::Setup::ActPass,
    };
    let fingerprints = usable().map(|f| (f.hash.clone(), f.value.clone())).collect();
    Ok(RemoteTransport { ufrag, pwd, fingerprints, setup, candidates: candidates(content) })
}

/// The candidates of a content, `transport-info` included, that an ICE agent with one UDP component can use.
pub fn candidates(content: &Content) -> Vec<MediaCandidate> {
    let all = content.transport.iter().flat_map(|t| &t.candidates);
    all.filter_map(media_candidate).collect()
}

fn media_candidate(candidate: &Candidate) -> Option<MediaCandidate> {
    let usable = candidate.component == 1
        && candidate.protocol == "udp"
        && candidate.port != 0
        && !candidate.ip.is_unspecified()
        && !candidate.ip.is_multicast()
        && matches!(candidate.kind.as_str(), "host" | "srflx" | "prflx" | "relay");
    usable.then(|| MediaCandidate {
        foundation: candidate.foundation.clone(),
        component: 1,
        priority: candidate.priority,
        address: SocketAddr::new(candidate.ip, candidate.port),
        kind: candidate.kind.clone(),
    })
}

/// Whether the writer of this content, initiator or not, sends and takes audio now.
pub fn direction(senders: Senders, writer_is_initiator: bool) -> (bool, bool) {
    let both = (senders.initiator_sends(), senders.responder_sends());
    if writer_is_initiator { both } else { (both.1, both.0) }
}

/// Whether RTP and RTCP share a port. Some clients write it into the transport.
pub fn is_muxed(content: &Content) -> bool {
    content.description.as_ref().is_some_and(|d| d.rtcp_mux)
        || content.transport.as_ref().is_some_and(|t| t.rtcp_mux)
}

fn describe(audio: &Audio, rtcp_mux: bool) -> RtpDescription {
    let codec = |(id, codec): &(u8, Codec)| {
        let mut payload = PayloadType::new(*id, codec.name(), codec.clock_rate());
        payload.channels = u8::try_from(codec.channels()).unwrap_or(1);
        match codec {
            Codec::Opus => {
                payload.with_parameter("minptime", "10").with_parameter("useinbandfec", "1")
            }
            _ => payload,
        }
    };
    let event = |(id, clock): &(u8, u32)| {
        PayloadType::new(*id, "telephone-event", *clock).with_parameter("", "0-15")
    };
    let payload_types =
        audio.codecs.iter().map(codec).chain(audio.events.iter().map(event)).collect();
    RtpDescription { media: "audio".into(), payload_types, rtcp_mux, ..RtpDescription::default() }
}

fn transport(local: &LocalTransport, setup: Setup) -> IceUdp {
    let fingerprint = Fingerprint {
        hash: "sha-256".into(),
        setup: Some(setup),
        value: local.fingerprint_sha256.clone(),
    };
    let candidate = |(n, c): (usize, &MediaCandidate)| Candidate {
        component: 1,
        foundation: c.foundation.clone(),
        generation: 0,
        id: format!("c{n}"),
        ip: c.address.ip(),
        network: 0,
        port: c.address.port(),
        priority: c.priority,
        protocol: "udp".into(),
        related: None,
        kind: c.kind.clone(),
        tcptype: None,
    };
    IceUdp {
        ufrag: Some(local.ufrag.clone()),
        pwd: Some(local.pwd.clone()),
        fingerprints: vec![fingerprint],
        candidates: local.candidates.iter().enumerate().map(candidate).collect(),
        ..IceUdp::default()
    }
}

#[cfg(test)]
#[path = "sdp_jingle_tests.rs"]
mod tests;
