//! Why a leg of a call ended, in words that both protocols can be told (`bridge::call_reason` holds the tables).

use tandem_xmpp::stanza::jingle::{Reason, ReasonElement};

/// Why a leg ended or is ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Cause {
    /// A person hung up.
    HungUp,
    /// The caller gave up before an answer.
    Cancelled,
    /// It goes on with somebody else.
    Transferred,
    /// Another device took or refused the call.
    AnsweredElsewhere,
    /// Somebody took the call whom the caller's own side had called too: a CANCEL that says so (RFC 3326 section 3.1).
    TakenBeforeUs,
    /// Nobody answered in time.
    NoAnswer,
    /// Nobody could be reached.
    Unavailable,
    /// Whoever is called is not to be disturbed.
    Undisturbed,
    /// ICE, DTLS or the media stream failed.
    ConnectionFailed,
    /// The caller never completed its side.
    CallerVanished,
    /// No common codec, or media we cannot carry.
    Unsupported,
    /// The program is stopping.
    ShuttingDown,
    /// A SIP phone's final status.
    Sip {
        /// The status code, 300 to 699.
        status: u16,
        /// The `Reason` header or reason phrase, when it helps.
        reason: Option<String>,
    },
    /// An XMPP client's own word.
    Jingle(Reason),
}

impl Cause {
    /// Which of several refusals the caller is told: a human's word before a machine's.
    pub fn weight(&self) -> u8 {
        match self {
            Self::Sip { status: 600..=699, .. } | Self::Jingle(Reason::Decline) => 9,
            Self::Sip { status: 486, .. } | Self::Jingle(Reason::Busy) => 8,
            Self::NoAnswer | Self::Sip { status: 408 | 480, .. } => 5,
            Self::Unsupported | Self::Sip { status: 488 | 415, .. } => 4,
            Self::Sip { .. } | Self::Jingle(_) => 3,
            _ => 1,
        }
    }

    /// The SIP status for a caller that is refused, and its `Reason` header (RFC 3326).
    pub fn to_sip(&self) -> (u16, Option<String>) {
        match self {
            Self::HungUp | Self::Transferred => (480, Some("Q.850;cause=16".into())),
            Self::Cancelled | Self::TakenBeforeUs | Self::CallerVanished => (487, None),
            Self::AnsweredElsewhere => {
                (480, Some("SIP;cause=200;text=\"Call completed elsewhere\"".into()))
            }
            Self::NoAnswer => (480, Some("Q.850;cause=19".into())),
            Self::Unavailable => (480, Some("Q.850;cause=20".into())),
            Self::Undisturbed => (480, Some("SIP;cause=480;text=\"Do not disturb\"".into())),
            Self::ConnectionFailed => (480, Some("Q.850;cause=38".into())),
            Self::Unsupported => (488, None),
            Self::ShuttingDown => (503, None),
            Self::Sip { status, reason } => (*status, reason.clone()),
            Self::Jingle(reason) => crate::bridge::call_reason::jingle_to_sip_refusal(reason),
        }
    }

    /// The `Reason` header for a BYE or CANCEL.
    pub fn to_sip_reason(&self) -> Option<String> {
        match self {
            Self::HungUp | Self::Transferred => Some("Q.850;cause=16".into()),
            Self::Cancelled => None,
            Self::AnsweredElsewhere | Self::TakenBeforeUs => {
                Some("SIP;cause=200;text=\"Call completed elsewhere\"".into())
            }
            Self::NoAnswer | Self::CallerVanished => Some("SIP;cause=408".into()),
            Self::Unavailable | Self::Undisturbed => Some("Q.850;cause=27".into()),
            Self::ConnectionFailed => Some("Q.850;cause=41".into()),
            Self::Unsupported => Some("SIP;cause=488".into()),
            Self::ShuttingDown => Some("SIP;cause=503".into()),
            Self::Sip { status, reason } => {
                reason.clone().or_else(|| Some(format!("SIP;cause={status}")))
            }
            Self::Jingle(reason) => crate::bridge::call_reason::jingle_to_sip_bye(reason),
        }
    }

    /// The Jingle reason for an XMPP client (XEP-0166 section 7.4).
    pub fn to_jingle(&self) -> Reason {
        match self {
            Self::HungUp | Self::Transferred => Reason::Success,
            Self::Cancelled | Self::AnsweredElsewhere | Self::TakenBeforeUs => Reason::Cancel,
            Self::NoAnswer | Self::CallerVanished => Reason::Timeout,
            Self::Unavailable | Self::ShuttingDown => Reason::Gone,
            // What says least (XEP-0353 section 3.5).
            Self::Undisturbed => Reason::Busy,
            Self::ConnectionFailed => Reason::ConnectivityError,
            Self::Unsupported => Reason::IncompatibleParameters,
            Self::Sip { status, reason } => {
                crate::bridge::call_reason::sip_to_jingle(*status, reason.as_deref())
            }
            Self::Jingle(reason) => reason.clone(),
        }
    }

    /// The same with what the telephone network says of it in words.
    pub fn to_jingle_in_words(&self) -> ReasonElement {
        let text = match self {
            Self::Sip { status, reason } => {
                crate::bridge::call_reason::sip_to_text(*status, reason.as_deref())
            }
            _ => None,
        };
        ReasonElement { reason: self.to_jingle(), text }
    }

    /// Whether no device of whoever is called could be reached.
    pub fn is_nobody_there(&self) -> bool {
        matches!(
            self,
            Self::NoAnswer
                | Self::Unavailable
                | Self::Sip { status: 404 | 408 | 410 | 430 | 480 | 503, .. }
                | Self::Jingle(Reason::Gone | Reason::Timeout)
        )
    }

    /// One word for the call record.
    pub fn word(&self) -> &'static str {
        match self {
            Self::HungUp => "hung up",
            Self::Cancelled => "cancelled",
            Self::Transferred => "transferred",
            Self::AnsweredElsewhere | Self::TakenBeforeUs => "answered elsewhere",
            Self::NoAnswer => "no answer",
            Self::Unavailable => "unavailable",
            Self::Undisturbed => "do not disturb",
            Self::ConnectionFailed => "connection failed",
            Self::CallerVanished => "caller vanished",
            Self::Unsupported => "unsupported",
            Self::ShuttingDown => "shutting down",
            Self::Sip { status: 486 | 600, .. } | Self::Jingle(Reason::Busy) => "busy",
            Self::Sip { status: 603, .. } | Self::Jingle(Reason::Decline) => "declined",
            Self::Sip { .. } => "refused",
            Self::Jingle(Reason::Success) => "hung up",
            Self::Jingle(Reason::Cancel) => "cancelled",
            Self::Jingle(_) => "ended",
        }
    }
}
