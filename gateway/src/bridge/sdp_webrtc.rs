//! Audio of phones that speak WebRTC: `UDP/TLS/RTP/SAVPF` with ICE (RFC 8829 section 5, RFC 8839, RFC 8842, RFC 5763).
//!
//! One audio line; every other line of the phone is refused in its slot. The peer of such a leg is told our transport
//! once: a later description changes direction and codecs alone.

use std::fmt::Write;
use std::net::SocketAddr;

use bytes::Bytes;
use tandem_media::codec::Codec;
use tandem_media::sdp::{Connection, Direction, Media, SdpError, Session, SetupRole};
use tandem_media::{Candidate, LegCodecs, LocalTransport, RemoteTransport, Setup};

use super::sdp_jingle::{Audio, CODECS, EVENTS, OPUS, agree, preference};

/// The profile of such lines, as we write it (RFC 5764 section 8).
const PROTO: &str = "UDP/TLS/RTP/SAVPF";
/// Candidates of the peer that are looked at.
const MAX_CANDIDATES: usize = 32;

/// What was agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// The peer's side of ICE and DTLS.
    pub transport: RemoteTransport,
    /// Codecs for the engine.
    pub codecs: LegCodecs,
    /// What we do.
    pub direction: Direction,
    /// Whether the peer takes nothing of ours.
    pub is_held: bool,
}

/// Our side of such a leg.
#[derive(Debug, Clone)]
pub struct WebAudio {
    transport: LocalTransport,
    id: u64,
    version: u64,
    /// What we said last, without `o=`.
    said: String,
    /// The codecs with our numbers, as offered or answered last.
    ours: Audio,
    /// Codecs of the other leg, which decide.
    first: Vec<Codec>,
    /// What we want to do. Default both ways.
    pub direction: Direction,
    /// The lines of the session: that of the audio, and those that were refused.
    slots: Vec<Slot>,
    /// Our role in DTLS, once agreed (RFC 8842 section 5.3: it stays).
    role: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Slot {
    Audio { mid: Option<String> },
    Refused { line: String, mid: Option<String> },
}

/// Whether a line asks for DTLS-SRTP.
pub fn is_web(media: &Media) -> bool {
    ["UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP"]
        .iter()
        .any(|known| media.proto.eq_ignore_ascii_case(known))
}

/// The first audio line with a port that asks for DTLS-SRTP.
fn audio_of(session: &Session) -> Option<(usize, &Media)> {
    session
        .media
        .iter()
        .enumerate()
        .find(|(_, media)| media.is_audio() && media.port != 0 && is_web(media))
}

/// Whether a phone's offer can only be answered so.
pub fn wants_web(session: &Session) -> bool {
    audio_of(session).is_some() && session.audio().is_none_or(|media| media.profile().is_none())
}

impl WebAudio {
    /// `id` is random; `first` are the codecs of the other leg.
    pub fn new(transport: LocalTransport, id: u64, first: &[Codec]) -> Self {
        Self {
            transport,
            id: id >> 1,
            version: 0,
            said: String::new(),
            ours: Audio::default(),
            first: first.to_vec(),
            direction: Direction::SendRecv,
            slots: Vec::new(),
            role: None,
        }
    }

    /// Our offer, also in the middle of a call.
    pub fn offer(&mut self) -> Bytes {
        if self.ours.codecs.is_empty() {
            let number = |codec: Codec| codec.static_payload_type().unwrap_or(OPUS);
            let codecs =
                preference(&self.first).into_iter().map(|codec| (number(codec), codec)).collect();
            self.ours = Audio { codecs, events: EVENTS.to_vec(), ptime: None };
        }
        if self.slots.is_empty() {
            self.slots.push(Slot::Audio { mid: Some("0".to_owned()) });
        }
        self.write("actpass", self.direction, true)
    }

    /// Answers an offer.
    ///
    /// # Errors
    /// [`SdpError`] says which part of it is unusable; all stays as it was.
    pub fn answer(
        &mut self,
        offer: &Session,
        preferred: &[Codec],
    ) -> Result<(Bytes, Agreed), SdpError> {
        let (index, media) = audio_of(offer).ok_or(SdpError::UnsupportedTransport)?;
        let theirs = read_audio(media);
        let transport = remote(offer, media)?;
        let codecs: Vec<(u8, Codec)> = preference(preferred)
            .into_iter()
            .filter_map(|codec| theirs.codecs.iter().find(|(_, known)| *known == codec).copied())
            .collect();
        let events = theirs.events.iter().filter(|(_, clock)| matches!(clock, 8_000 | 48_000));
        let ours = Audio { codecs, events: events.copied().collect(), ptime: theirs.ptime };
        let codecs = agree(&ours, &theirs, preferred).map_err(|_| SdpError::NoCommonCodec)?;
        let role = match transport.setup {
            Setup::Active => "passive",
            Setup::Passive | Setup::ActPass => "active",
        };
        self.slots =
            offer.media.iter().enumerate().map(|(at, media)| slot(at == index, media)).collect();
        self.ours = ours;
        let role = *self.role.get_or_insert(role);
        let peer = offer.direction_of(media);
        let direction = self.direction.and(peer.mirror());
        let is_bundled = offer.section.groups().any(|group| group.semantics == "BUNDLE");
        let bytes = self.write(role, direction, is_bundled);
        Ok((bytes, Agreed { transport, codecs, direction, is_held: !peer.receives() }))
    }

    /// Takes the answer to our offer.
    ///
    /// # Errors
    /// [`SdpError`] says which part of it is unusable.
    pub fn accept(&mut self, answer: &Session, preferred: &[Codec]) -> Result<Agreed, SdpError> {
        let index = self.slots.iter().position(|slot| matches!(slot, Slot::Audio { .. }));
        let media =
            index.and_then(|index| answer.media.get(index)).ok_or(SdpError::AnswerMismatch)?;
        if media.port == 0 {
            return Err(SdpError::NoAudio);
        }
        if !media.is_audio() || !is_web(media) {
            return Err(SdpError::UnsupportedTransport);
        }
        let codecs = agree(&self.ours, &read_audio(media), preferred)
            .map_err(|_| SdpError::NoCommonCodec)?;
        let mut transport = remote(answer, media)?;
        // An answer has to choose; where it does not, the answerer begins.
        if transport.setup == Setup::ActPass {
            transport.setup = Setup::Active;
        }
        let role = if transport.setup == Setup::Active { "passive" } else { "active" };
        self.role.get_or_insert(role);
        let peer = answer.direction_of(media);
        let direction = self.direction.and(peer.mirror());
        Ok(Agreed { transport, codecs, direction, is_held: !peer.receives() })
    }

    fn write(&mut self, setup: &str, direction: Direction, is_bundled: bool) -> Bytes {
        let mut body = String::from("s=-\r\nt=0 0\r\n");
        let mid = self.slots.iter().find_map(|slot| match slot {
            Slot::Audio { mid } => mid.as_deref(),
            Slot::Refused { .. } => None,
        });
        if let Some(mid) = mid.filter(|_| is_bundled) {
            line(&mut body, format_args!("a=group:BUNDLE {mid}"));
        }
        for slot in &self.slots {
            match slot {
                Slot::Audio { mid } => {
                    self.write_audio(&mut body, mid.as_deref(), setup, direction)
                }
                Slot::Refused { line: refused, mid } => {
                    line(&mut body, format_args!("m={refused}"));
                    line(&mut body, format_args!("c=IN IP4 0.0.0.0"));
                    if let Some(mid) = mid {
                        line(&mut body, format_args!("a=mid:{mid}"));
                    }
                }
            }
        }
        if body != self.said {
            self.version += 1;
            self.said = body;
        }
        let ip = Connection::print(self.address().ip());
        Bytes::from(format!("v=0\r\no=- {} {} {ip}\r\n{}", self.id, self.version, self.said))
    }

    fn write_audio(&self, body: &mut String, mid: Option<&str>, setup: &str, direction: Direction) {
        let address = self.address();
        let numbers = self.ours.codecs.iter().map(|(id, _)| *id);
        let numbers = numbers.chain(self.ours.events.iter().map(|(id, _)| *id));
        let numbers = numbers.map(|id| format!(" {id}")).collect::<String>();
        line(body, format_args!("m=audio {} {PROTO}{numbers}", address.port()));
        line(body, format_args!("c={}", Connection::print(address.ip())));
        if let Some(mid) = mid {
            line(body, format_args!("a=mid:{mid}"));
        }
        line(body, format_args!("a={}", direction.name()));
        for (id, codec) in &self.ours.codecs {
            let channels =
                if codec.channels() > 1 { format!("/{}", codec.channels()) } else { String::new() };
            line(
                body,
                format_args!("a=rtpmap:{id} {}/{}{channels}", codec.name(), codec.clock_rate()),
            );
            if *codec == Codec::Opus {
                line(body, format_args!("a=fmtp:{id} minptime=10;useinbandfec=1"));
            }
        }
        for (id, clock) in &self.ours.events {
            line(body, format_args!("a=rtpmap:{id} telephone-event/{clock}"));
            line(body, format_args!("a=fmtp:{id} 0-15"));
        }
        line(body, format_args!("a=rtcp-mux"));
        line(body, format_args!("a=setup:{setup}"));
        line(body, format_args!("a=fingerprint:sha-256 {}", self.transport.fingerprint_sha256));
        line(body, format_args!("a=ice-ufrag:{}", self.transport.ufrag));
        line(body, format_args!("a=ice-pwd:{}", self.transport.pwd));
        for candidate in &self.transport.candidates {
            let Candidate { foundation, component, priority, address, kind } = candidate;
            let (ip, port) = (address.ip(), address.port());
            line(
                body,
                format_args!(
                    "a=candidate:{foundation} {component} udp {priority} {ip} {port} typ {kind}"
                ),
            );
        }
        line(body, format_args!("a=end-of-candidates"));
    }

    /// The first candidate, for those who do not do ICE to see (RFC 8839 section 4.2.1.2).
    fn address(&self) -> SocketAddr {
        let first = self.transport.candidates.first().map(|candidate| candidate.address);
        first.unwrap_or_else(|| ([0, 0, 0, 0], 9).into())
    }
}

fn line(body: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into memory does not fail.
    let _ = write!(body, "{text}\r\n");
}

fn slot(is_audio: bool, media: &Media) -> Slot {
    let mid = media.section.mid().map(str::to_owned);
    if is_audio {
        return Slot::Audio { mid };
    }
    let formats = media.formats.iter().map(|format| format!(" {format}")).collect::<String>();
    Slot::Refused { line: format!("{} 0 {}{formats}", media.media, media.proto), mid }
}

fn read_audio(media: &Media) -> Audio {
    let maps: Vec<_> = media.section.rtpmaps().collect();
    let formats =
        media.formats.iter().filter_map(|text| text.parse::<u8>().ok().filter(|id| *id < 128));
    let formats = formats.map(|id| {
        let map = maps.iter().find(|map| map.payload_type == id);
        let (name, clock) = (map.map(|map| map.name.as_str()), map.map(|map| map.clock));
        (id, name, clock, map.map_or(1, |map| map.channels))
    });
    let mut audio = Audio::from_formats(formats);
    audio.ptime = media.packet_time();
    audio.codecs.retain(|(_, codec)| CODECS.contains(codec));
    audio
}

fn remote(session: &Session, media: &Media) -> Result<RemoteTransport, SdpError> {
    let said =
        |name: &str| media.section.attribute(name).or_else(|| session.section.attribute(name));
    let legal = |text: &&str, least: usize| {
        (least..=256).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
    };
    // RFC 8839 section 5.4.
    let ufrag =
        said("ice-ufrag").filter(|text| legal(text, 4)).ok_or(SdpError::UnsupportedTransport)?;
    let pwd =
        said("ice-pwd").filter(|text| legal(text, 22)).ok_or(SdpError::UnsupportedTransport)?;
    let fingerprints: Vec<(String, String)> = session
        .fingerprints_of(media)
        .into_iter()
        .filter(|fingerprint| fingerprint.hash == "sha-256")
        .map(|fingerprint| (fingerprint.hash, fingerprint.value))
        .collect();
    // RTP and RTCP of such a leg share one port; without a fingerprint media would be encrypted to anybody.
    if !media.section.rtcp_mux() {
        return Err(SdpError::UnsupportedTransport);
    }
    if fingerprints.is_empty() {
        return Err(SdpError::NoCrypto);
    }
    let setup = match session.setup_of(media) {
        Some(SetupRole::Active) => Setup::Active,
        Some(SetupRole::Passive) => Setup::Passive,
        _ => Setup::ActPass,
    };
    let candidates =
        media.section.attributes("candidate").take(MAX_CANDIDATES).filter_map(candidate).collect();
    Ok(RemoteTransport {
        ufrag: ufrag.to_owned(),
        pwd: pwd.to_owned(),
        fingerprints,
        setup,
        candidates,
    })
}

/// RFC 8839 section 5.1: `foundation component transport priority address port typ kind ...`. Names (mDNS) are left out.
fn candidate(value: &str) -> Option<Candidate> {
    let words: Vec<&str> = value.split_ascii_whitespace().take(8).collect();
    let [foundation, component, transport, priority, ip, port, typ, kind] = words.as_slice() else {
        return None;
    };
    let ip: std::net::IpAddr = ip.parse().ok()?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    let usable = *component == "1"
        && transport.eq_ignore_ascii_case("udp")
        && *typ == "typ"
        && foundation.len() <= 32
        && !ip.is_unspecified()
        && !ip.is_multicast()
        && matches!(*kind, "host" | "srflx" | "prflx" | "relay");
    usable.then(|| Candidate {
        foundation: (*foundation).to_owned(),
        component: 1,
        priority: priority.parse().unwrap_or(0),
        address: SocketAddr::new(ip, port),
        kind: (*kind).to_owned(),
    })
}

#[cfg(test)]
#[path = "sdp_webrtc_tests.rs"]
mod tests;
