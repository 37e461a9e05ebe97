//! What an audio leg says about itself and what was agreed for it (RFC 3264; formats of RFC 3551, RFC 7587, RFC 4733;
//! keys of RFC 4568).

use std::net::{Ipv4Addr, SocketAddr};

use super::session::Media;
use super::value::Direction;
use crate::codec::Codec;
use crate::control::{LegCodecs, RtpRemote, SdesPair};
use crate::srtp::sdes::Crypto;

/// Milliseconds per packet where the peer says nothing (RFC 3551 section 4.5).
const PTIME: u32 = 20;
/// What the media engine can make, the longest first.
const PTIMES: [u32; 5] = [60, 40, 30, 20, 10];
/// Our numbers where we choose. 101 is what most phones have for events.
const OPUS: u8 = 111;
const EVENTS_8000: u8 = 101;
const EVENTS_48000: u8 = 110;

/// What a format carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Audio.
    Audio(Codec),
    /// DTMF as RFC 4733 events.
    TelephoneEvent {
        /// Hertz of its timestamp, that of the audio it stands beside.
        clock: u32,
    },
}

impl Encoding {
    /// Name in `a=rtpmap`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Audio(codec) => codec.name(),
            Self::TelephoneEvent { .. } => "telephone-event",
        }
    }

    /// Hertz of the RTP timestamp; 8000 for G.722 (RFC 3551 section 4.5.2).
    pub fn clock(self) -> u32 {
        match self {
            Self::Audio(codec) => codec.clock_rate(),
            Self::TelephoneEvent { clock } => clock,
        }
    }

    /// The audio codec. `None`: events.
    pub fn codec(self) -> Option<Codec> {
        match self {
            Self::Audio(codec) => Some(codec),
            Self::TelephoneEvent { .. } => None,
        }
    }

    /// Name, clock and channels as in `a=rtpmap`: `opus/48000/2`.
    pub(super) fn rtpmap(self) -> String {
        let channels = self.codec().map_or(1, Codec::channels);
        let channels = if channels > 1 { format!("/{channels}") } else { String::new() };
        format!("{}/{}{channels}", self.name(), self.clock())
    }
}

/// One format of an `m=audio` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioFormat {
    /// Its number, 0 to 127.
    pub payload_type: u8,
    /// What it carries.
    pub encoding: Encoding,
    /// `a=fmtp`: what its writer wishes to get.
    pub fmtp: Option<String>,
}

impl AudioFormat {
    /// An audio format with our parameters for it: in-band FEC for Opus.
    pub fn audio(payload_type: u8, codec: Codec) -> Self {
        let fmtp = (codec == Codec::Opus).then(|| "useinbandfec=1".to_owned());
        Self { payload_type, encoding: Encoding::Audio(codec), fmtp }
    }

    /// Telephone events 0 to 15, with the clock of the audio they stand beside.
    pub fn events(payload_type: u8, clock: u32) -> Self {
        let encoding = Encoding::TelephoneEvent { clock };
        Self { payload_type, encoding, fmtp: Some("0-15".to_owned()) }
    }
}

/// Formats to offer: these codecs in this order, with our numbers, and telephone events for each clock among them.
pub fn offer_formats(codecs: &[Codec]) -> Vec<AudioFormat> {
    let number = |codec: Codec| codec.static_payload_type().unwrap_or(OPUS);
    let mut formats: Vec<_> = codecs.iter().map(|c| AudioFormat::audio(number(*c), *c)).collect();
    for (payload_type, clock) in [(EVENTS_8000, 8_000), (EVENTS_48000, 48_000)] {
        if codecs.iter().any(|codec| codec.clock_rate() == clock) {
            formats.push(AudioFormat::events(payload_type, clock));
        }
    }
    formats
}

impl Media {
    /// The formats of this line that we know, in its order, each number and each encoding once. A number without a
    /// readable `a=rtpmap` is taken from RFC 3551.
    pub fn audio_formats(&self) -> Vec<AudioFormat> {
        self.formats_beside(&[])
    }

    /// The same for an answer to `offered`: a dynamic number without `a=rtpmap` means what was offered by it.
    pub(super) fn formats_beside(&self, offered: &[AudioFormat]) -> Vec<AudioFormat> {
        let mut formats: Vec<AudioFormat> = Vec::new();
        for text in &self.formats {
            let Some(payload_type) = text.parse().ok().filter(|n: &u8| *n < 128) else { continue };
            let Some(encoding) = self.encoding(payload_type, offered) else { continue };
            if formats.iter().any(|f| f.payload_type == payload_type || f.encoding == encoding) {
                continue;
            }
            let fmtp = self.section.fmtp(text).map(str::to_owned);
            formats.push(AudioFormat { payload_type, encoding, fmtp });
        }
        formats
    }

    fn encoding(&self, payload_type: u8, offered: &[AudioFormat]) -> Option<Encoding> {
        let Some(map) = self.section.rtpmaps().find(|map| map.payload_type == payload_type) else {
            if let Some(ours) = offered.iter().find(|f| f.payload_type == payload_type) {
                return Some(ours.encoding);
            }
            let of_number = |codec: &Codec| codec.static_payload_type() == Some(payload_type);
            let codec = [Codec::G722, Codec::Pcmu, Codec::Pcma].into_iter().find(of_number);
            return codec.map(Encoding::Audio);
        };
        if map.name.eq_ignore_ascii_case("telephone-event") {
            return Some(Encoding::TelephoneEvent { clock: map.clock });
        }
        map.codec().map(Encoding::Audio)
    }

    /// Milliseconds per packet this writer wishes, as far as the engine can make them: `a=ptime`, not over `a=maxptime`.
    /// `None`: it does not say, or nothing we can do.
    pub fn packet_time(&self) -> Option<u32> {
        let wish = self.section.ptime().filter(|ms| PTIMES.contains(ms));
        match self.section.maxptime() {
            Some(most) if wish.unwrap_or(PTIME) > most => PTIMES.into_iter().find(|ms| *ms <= most),
            _ => wish,
        }
    }
}

/// RTP profiles of the SIP side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// `RTP/AVP` (RFC 3551).
    Avp,
    /// `RTP/AVPF` (RFC 4585).
    Avpf,
    /// `RTP/SAVP` (RFC 3711).
    Savp,
    /// `RTP/SAVPF` (RFC 5124).
    Savpf,
}

impl Profile {
    /// By the third word of `m=`. `None`: one that we do not do, such as DTLS-SRTP.
    pub fn parse(proto: &str) -> Option<Self> {
        [Self::Avp, Self::Avpf, Self::Savp, Self::Savpf]
            .into_iter()
            .find(|p| p.name().eq_ignore_ascii_case(proto))
    }

    /// Third word of `m=`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avp => "RTP/AVP",
            Self::Avpf => "RTP/AVPF",
            Self::Savp => "RTP/SAVP",
            Self::Savpf => "RTP/SAVPF",
        }
    }

    /// Whether media must be encrypted.
    pub fn is_secure(self) -> bool {
        matches!(self, Self::Savp | Self::Savpf)
    }

    /// The same with or without encryption.
    pub(super) fn secured(self, secure: bool) -> Self {
        match (self, secure) {
            (Self::Avp | Self::Savp, false) => Self::Avp,
            (Self::Avp | Self::Savp, true) => Self::Savp,
            (Self::Avpf | Self::Savpf, false) => Self::Avpf,
            (Self::Avpf | Self::Savpf, true) => Self::Savpf,
        }
    }
}

/// Whether a leg encrypts, and our keys, one for each suite, the preferred first. Lists must not be empty. Give the same
/// keys for the life of a leg: others are a change of keys (RFC 4568 section 7.1.4). To never fall back to plain RTP in
/// the middle of a call, go over to `Required` once keys are agreed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Encryption {
    /// Plain RTP. Who offers `RTP/SAVP` is refused.
    #[default]
    Off,
    /// Keys are offered over `RTP/AVP`, and used if the peer has some too. No RFC says so; phones call it best effort.
    Opportunistic(Vec<Crypto>),
    /// `RTP/SAVP` is offered, and who has no keys is refused.
    Required(Vec<Crypto>),
}

impl Encryption {
    /// Our keys.
    pub fn keys(&self) -> &[Crypto] {
        match self {
            Self::Off => &[],
            Self::Opportunistic(keys) | Self::Required(keys) => keys,
        }
    }

    /// Whether plain RTP is out of the question.
    pub fn is_required(&self) -> bool {
        matches!(self, Self::Required(_))
    }
}

/// Our side of an audio leg, as it should be described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalAudio {
    /// Where we take RTP.
    pub addr: SocketAddr,
    /// Where we take RTCP; `None`: the next port. Only another than the next is written.
    pub rtcp_port: Option<u16>,
    /// Whether RTCP may share the port of RTP. Offered, and answered if the peer offers it. Default false.
    pub rtcp_mux: bool,
    /// What we can take and send, the preferred first; see [`offer_formats`]. Numbers are for an offer: an answer takes
    /// those of the peer.
    pub formats: Vec<AudioFormat>,
    /// Whether an answer lists formats in our order: for when another leg decides the codec. Default false: the
    /// peer's order (RFC 3264 section 6.1).
    pub own_order: bool,
    /// `a=ptime`, milliseconds. `None`, the default: not said in an offer, the peer's in an answer.
    pub ptime_ms: Option<u32>,
    /// What we want to do; an answer does not do more than the peer allows. `SendOnly` or `Inactive` holds the peer.
    /// Default both ways.
    pub direction: Direction,
    /// Default off.
    pub encryption: Encryption,
}

impl LocalAudio {
    /// Both ways, plain, with the defaults above.
    pub fn new(addr: SocketAddr, formats: Vec<AudioFormat>) -> Self {
        Self {
            addr,
            rtcp_port: None,
            rtcp_mux: false,
            formats,
            own_order: false,
            ptime_ms: None,
            direction: Direction::SendRecv,
            encryption: Encryption::Off,
        }
    }
}

/// A format that both have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreedFormat {
    /// What it carries.
    pub encoding: Encoding,
    /// Number to send it with: the peer's.
    pub send: u8,
    /// Number it comes with: ours from our offer, or that of the peer's offer.
    pub receive: u8,
    /// The peer's `a=fmtp`: what it wishes to get.
    pub fmtp: Option<String>,
}

/// What was agreed. Two equal ones: the exchange changed nothing for media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteAudio {
    /// Where we send RTP. `None`: nowhere for now (`c=0.0.0.0`).
    pub addr: Option<SocketAddr>,
    /// Where we send RTCP. `None`: the port after `addr`, or `addr` itself with `rtcp_mux`.
    pub rtcp: Option<SocketAddr>,
    /// Whether RTCP shares the port of RTP, both ways.
    pub rtcp_mux: bool,
    /// Common formats, the first audio one is the preferred: order of the peer, or ours in an answer with
    /// [`LocalAudio::own_order`]. At least one is audio.
    pub formats: Vec<AgreedFormat>,
    /// What we do now: what we want, as far as the peer allows it.
    pub direction: Direction,
    /// What the peer does, seen by it; `c=0.0.0.0` counts as not taking anything.
    pub peer_direction: Direction,
    /// Keys. `None`: plain RTP.
    pub srtp: Option<SdesPair>,
    /// Milliseconds per packet the peer wishes, if the engine can make them. `None`: it does not say.
    pub ptime_ms: Option<u32>,
    /// Profile of the line.
    pub profile: Profile,
}

impl RemoteAudio {
    /// Whether the peer put us on hold: it will not take our audio (RFC 3264 section 8.4).
    pub fn is_held(&self) -> bool {
        !self.peer_direction.receives()
    }

    /// The common codecs in order.
    pub fn codecs(&self) -> impl Iterator<Item = Codec> {
        self.formats.iter().filter_map(|format| format.encoding.codec())
    }

    /// Where the engine sends, and by which keys.
    pub fn rtp_remote(&self) -> RtpRemote {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        RtpRemote {
            addr: self.addr.unwrap_or(nowhere),
            rtcp: self.rtcp,
            rtcp_mux: self.rtcp_mux,
            srtp: self.srtp.clone(),
        }
    }

    /// Codecs for the engine; we send the first of `preferred` that is common, else the first common one. Events have the
    /// clock of what we send, or else the first that is common (RFC 4733 section 2.1). `None` only without an audio
    /// format, which no negotiation gives.
    pub fn leg_codecs(&self, preferred: &[Codec]) -> Option<LegCodecs> {
        let audio = || self.formats.iter().filter_map(|f| f.encoding.codec().map(|c| (f, c)));
        let wished = preferred.iter().find_map(|p| audio().find(|(_, codec)| codec == p));
        let (format, codec) = wished.or_else(|| audio().next())?;
        let events = || self.formats.iter().filter(|f| f.encoding.codec().is_none());
        let same_clock = events().find(|f| f.encoding.clock() == codec.clock_rate());
        let sent = same_clock.or_else(|| events().next());
        Some(LegCodecs {
            receive: audio().map(|(f, codec)| (f.receive, codec)).collect(),
            send: (format.send, codec),
            dtmf_receive: events().map(|f| (f.receive, f.encoding.clock())).collect(),
            dtmf_send: sent.map(|f| (f.send, f.encoding.clock())),
            ptime_ms: self.ptime_ms.unwrap_or(PTIME),
        })
    }
}
