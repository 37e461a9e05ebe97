//! Audio codecs: their names in SDP (RFC 3551, RFC 7587) and what turns one into another.

pub mod tones;
pub mod transcode;

/// A codec we can send, receive and transcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// RFC 6716, RFC 7587.
    Opus,
    /// ITU G.722 at 64 kbit/s.
    G722,
    /// G.711 mu-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

impl Codec {
    /// Encoding name in `a=rtpmap`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::G722 => "G722",
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    /// Rate of the RTP timestamp. G.722 keeps the 8000 of an old mistake (RFC 3551 section 4.5.2).
    pub fn clock_rate(self) -> u32 {
        if self == Self::Opus { 48_000 } else { 8_000 }
    }

    /// Channels in `a=rtpmap`: Opus always says 2.
    pub fn channels(self) -> u32 {
        if self == Self::Opus { 2 } else { 1 }
    }

    /// Payload type of RFC 3551, where there is one.
    pub fn static_payload_type(self) -> Option<u8> {
        match self {
            Self::Opus => None,
            Self::G722 => Some(9),
            Self::Pcmu => Some(0),
            Self::Pcma => Some(8),
        }
    }

    /// By name and clock rate of `a=rtpmap`.
    pub fn from_rtpmap(name: &str, clock_rate: u32) -> Option<Self> {
        [Self::Opus, Self::G722, Self::Pcmu, Self::Pcma]
            .into_iter()
            .find(|c| c.name().eq_ignore_ascii_case(name) && c.clock_rate() == clock_rate)
    }

    /// Rate of the samples it carries at best.
    pub fn sample_rate(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            Self::G722 => 16_000,
            Self::Pcmu | Self::Pcma => 8_000,
        }
    }
}
