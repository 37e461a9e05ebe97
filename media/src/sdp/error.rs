//! Why a description cannot be used, and the SIP answer to it (RFC 3261 sections 21.4 and 20.43, RFC 3264 section 6).

/// Why a description cannot become a leg. For an offer in a request, answer with [`SdpError::status`]; the session
/// before it stays as it was. For an answer in a 2xx to INVITE: ACK, then BYE with `Reason: SIP;cause=` that status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// No `v=0`, no `o=`, or a line that is none: 400. A body that never claimed to be SDP is the caller's 415.
    #[error("not a session description")]
    NotSdp,
    /// Over one of the limits of this module: 413.
    #[error("session description over a limit")]
    TooLarge,
    /// No `m=audio` with a port, or the answer refused ours: 488, warning 304.
    #[error("no audio stream")]
    NoAudio,
    /// Audio, but only over what we do not do on this side, such as DTLS-SRTP: 488, warning 302.
    #[error("unsupported transport")]
    UnsupportedTransport,
    /// No codec that both have: 488, warning 305.
    #[error("no common codec")]
    NoCommonCodec,
    /// SRTP is demanded by either side, and no `a=crypto` is usable by both: 488, warning 306.
    #[error("no usable key")]
    NoCrypto,
    /// `c=` is missing, is no IP address (names are not resolved), is multicast, or is of the other IP version: 488,
    /// warning 301.
    #[error("unusable address")]
    BadAddress,
    /// The answer has not the `m=` lines of our offer (RFC 3264 section 6): 488, warning 307.
    #[error("answer does not fit the offer")]
    AnswerMismatch,
    /// An answer, and nothing was offered: 400.
    #[error("answer without an offer")]
    NoOffer,
}

impl SdpError {
    /// Status to refuse the request with.
    pub fn status(self) -> u16 {
        match self {
            Self::NotSdp | Self::NoOffer => 400,
            Self::TooLarge => 413,
            Self::NoAudio
            | Self::UnsupportedTransport
            | Self::NoCommonCodec
            | Self::NoCrypto
            | Self::BadAddress
            | Self::AnswerMismatch => 488,
        }
    }

    /// Code and text for a `Warning` header (RFC 3261 section 20.43). `None`: the status says all.
    pub fn warning(self) -> Option<(u16, &'static str)> {
        match self {
            Self::NotSdp | Self::TooLarge | Self::NoOffer => None,
            Self::NoAudio => Some((304, "Media type not available")),
            Self::UnsupportedTransport => Some((302, "Incompatible transport protocol")),
            Self::NoCommonCodec => Some((305, "Incompatible media format")),
            Self::NoCrypto => Some((306, "Attribute not understood")),
            Self::BadAddress => Some((301, "Incompatible network address formats")),
            Self::AnswerMismatch => Some((307, "Session description parameter not understood")),
        }
    }
}
