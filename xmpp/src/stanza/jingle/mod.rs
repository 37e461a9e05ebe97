//! Jingle (XEP-0166, XEP-0167): one `<jingle/>` request, read leniently and written strictly.
//!
//! Namespaces of the parts: ICE (XEP-0176), DTLS fingerprints (XEP-0320), grouping (XEP-0338), feedback (XEP-0293),
//! header extensions (XEP-0294), sources (XEP-0339), DTMF (XEP-0181). What a peer sends beyond them is ignored, but
//! the counts are limited: a request with more contents, payload types or candidates than any client needs is refused.

mod content;
mod reason;
mod rtp;
#[cfg(test)]
mod tests;
mod transport;

pub use self::content::{Content, Senders};
pub use self::reason::{JingleCondition, Reason, ReasonElement};
pub use self::rtp::{
    HeaderExtension, PayloadType, RtcpFeedback, RtpDescription, Source, SourceGroup,
};
pub use self::transport::{Candidate, Fingerprint, IceUdp, Setup};

use crate::xml::Element;

/// Jingle itself.
pub const NS: &str = "urn:xmpp:jingle:1";
/// Its error conditions.
pub const NS_ERRORS: &str = "urn:xmpp:jingle:errors:1";
/// RTP descriptions.
pub const NS_RTP: &str = "urn:xmpp:jingle:apps:rtp:1";
/// Ringing, hold and the like.
pub const NS_RTP_INFO: &str = "urn:xmpp:jingle:apps:rtp:info:1";
/// Feedback messages.
pub const NS_RTCP_FB: &str = "urn:xmpp:jingle:apps:rtp:rtcp-fb:0";
/// Header extensions.
pub const NS_HDREXT: &str = "urn:xmpp:jingle:apps:rtp:rtp-hdrext:0";
/// Source attributes.
pub const NS_SSMA: &str = "urn:xmpp:jingle:apps:rtp:ssma:0";
/// Grouping.
pub const NS_GROUPING: &str = "urn:xmpp:jingle:apps:grouping:0";
/// ICE over UDP.
pub const NS_ICE_UDP: &str = "urn:xmpp:jingle:transports:ice-udp:1";
/// The deferred successor (XEP-0371), read where it is offered.
pub const NS_ICE: &str = "urn:xmpp:jingle:transports:ice:0";
/// DTLS fingerprints.
pub const NS_DTLS: &str = "urn:xmpp:jingle:apps:dtls:0";
/// DTMF in signalling.
pub const NS_DTMF: &str = "urn:xmpp:jingle:dtmf:0";
/// Ours: how the other end of a bridged call is protected.
pub const NS_PROTECTION: &str = "urn:tandem:protection:0";
/// XEP-0251.
pub const NS_TRANSFER: &str = "urn:xmpp:jingle:transfer:0";

/// Most contents in one request.
pub const MAX_CONTENTS: usize = 16;
/// Most payload types in one description.
pub const MAX_PAYLOAD_TYPES: usize = 64;
/// Most candidates in one transport.
pub const MAX_CANDIDATES: usize = 64;
/// Most of any smaller part: parameters, feedback, extensions, sources, groups, fingerprints.
pub const MAX_PARTS: usize = 64;
/// Longest session id taken.
pub const MAX_SID: usize = 256;

/// Why a `<jingle/>` element is refused. The wire answer is `bad-request`, or `resource-constraint` for [`Self::TooMany`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JingleFault {
    /// Another element.
    #[error("not a jingle element")]
    NotJingle,
    /// No such action.
    #[error("unknown action")]
    UnknownAction,
    /// A required attribute is missing or cannot be read.
    #[error("missing or malformed {0}")]
    Missing(&'static str),
    /// More parts than allowed.
    #[error("too many {0}")]
    TooMany(&'static str),
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $wire:literal;)*) => {
        /// What a request asks for (XEP-0166 section 7.2).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action { $($(#[$doc])* $name,)* }

        impl Action {
            /// All of them.
            pub const ALL: &'static [Action] = &[$(Self::$name,)*];

            /// The wire word.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $wire,)* }
            }

            /// From the wire word.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($wire => Some(Self::$name),)* _ => None }
            }
        }
    };
}

actions! {
    /// Agree to an added content.
    ContentAccept = "content-accept";
    /// Add a content.
    ContentAdd = "content-add";
    /// Change a content's direction.
    ContentModify = "content-modify";
    /// Turn an added content down.
    ContentReject = "content-reject";
    /// Take a content away.
    ContentRemove = "content-remove";
    /// Advice about a description.
    DescriptionInfo = "description-info";
    /// Security negotiation.
    SecurityInfo = "security-info";
    /// Agree to the session.
    SessionAccept = "session-accept";
    /// Ringing, hold, ping.
    SessionInfo = "session-info";
    /// Begin a session.
    SessionInitiate = "session-initiate";
    /// End it.
    SessionTerminate = "session-terminate";
    /// Agree to another transport.
    TransportAccept = "transport-accept";
    /// Candidates.
    TransportInfo = "transport-info";
    /// Turn another transport down.
    TransportReject = "transport-reject";
    /// Propose another transport.
    TransportReplace = "transport-replace";
}

/// Contents that share a transport (XEP-0338).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `BUNDLE`, `LS`.
    pub semantics: String,
    /// Names of the contents.
    pub contents: Vec<String>,
}

/// The payload of `session-info` (XEP-0167 section 8, XEP-0181).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Info {
    /// The callee's device rings.
    Ringing,
    /// The sender listens and speaks again.
    Active,
    /// On hold.
    Hold,
    /// Off hold.
    Unhold,
    /// The sender's content of this name is muted; all without a name.
    Mute(Option<String>),
    /// And not muted any more.
    Unmute(Option<String>),
    /// A key was pressed.
    Dtmf {
        /// 0-9, `*`, `#`, A-D.
        code: char,
        /// Milliseconds.
        duration_ms: Option<u32>,
    },
    /// The receiver is to talk to somebody else instead (XEP-0251).
    Transfer {
        /// Whom.
        to: String,
        /// In this session that the sender has with them.
        sid: Option<String>,
    },
    /// How the other end of a bridged call is protected, a matter of this server's.
    Protection {
        /// `tls` or `clear`.
        signalling: Option<String>,
        /// `dtls-srtp`, `sdes-srtp` or `clear`.
        media: Option<String>,
    },
    /// Something that we do not know: the answer is `unsupported-info`.
    Unknown,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jingle {
    /// What is asked for.
    pub action: Action,
    /// The session.
    pub sid: String,
    /// Who began it, as written.
    pub initiator: Option<String>,
    /// Who answers, where other than the IQ's sender.
    pub responder: Option<String>,
    /// What is negotiated.
    pub contents: Vec<Content>,
    /// Which contents go together.
    pub groups: Vec<Group>,
    /// Why.
    pub reason: Option<ReasonElement>,
    /// What `session-info` tells.
    pub info: Option<Info>,
}

impl Jingle {
    /// A request without parts.
    pub fn new(action: Action, sid: &str) -> Self {
        Self {
            action,
            sid: sid.into(),
            initiator: None,
            responder: None,
            contents: Vec::new(),
            groups: Vec::new(),
            reason: None,
            info: None,
        }
    }

    /// Whether this is the empty `session-info` that asks if the session lives (XEP-0166 section 6.8).
    pub fn is_ping(&self) -> bool {
        self.action == Action::SessionInfo && self.info.is_none()
    }

    /// Reads a `<jingle/>`.
    ///
    /// # Errors
    ///
    /// [`JingleFault`] says what is wrong with it.
    pub fn from_element(element: &Element) -> Result<Self, JingleFault> {
        if !element.is("jingle", NS) {
            return Err(JingleFault::NotJingle);
        }
        let action = element.attr("action").ok_or(JingleFault::Missing("action"))?;
        let action = Action::from_name(action.trim()).ok_or(JingleFault::UnknownAction)?;
        let sid = element.attr("sid").filter(|s| !s.is_empty() && s.len() <= MAX_SID);
        let mut jingle = Self::new(action, sid.ok_or(JingleFault::Missing("sid"))?);
        jingle.initiator = element.attr("initiator").map(str::to_owned);
        jingle.responder = element.attr("responder").map(str::to_owned);
        for child in element.elements() {
            match (child.name(), child.ns()) {
                ("content", NS) => {
                    full(&jingle.contents, MAX_CONTENTS, "contents")?;
                    jingle.contents.push(Content::from_element(child)?);
                }
                ("group", NS_GROUPING) => {
                    full(&jingle.groups, MAX_CONTENTS, "groups")?;
                    jingle.groups.push(Group::from_element(child)?);
                }
                ("reason", NS) => jingle.reason = ReasonElement::from_element(child),
                _ if action == Action::SessionInfo && jingle.info.is_none() => {
                    jingle.info = Some(Info::from_element(child));
                }
                _ => {}
            }
        }
        Ok(jingle)
    }

    /// The `<jingle/>`.
    pub fn to_element(&self) -> Element {
        Element::new("jingle", NS)
            .with_attr("action", self.action.name())
            .with_attr_opt("initiator", self.initiator.as_deref())
            .with_attr_opt("responder", self.responder.as_deref())
            .with_attr("sid", &*self.sid)
            .with_children(self.groups.iter().map(Group::to_element))
            .with_children(self.contents.iter().map(Content::to_element))
            .with_children(self.reason.iter().map(ReasonElement::to_element))
            .with_children(self.info.iter().filter_map(Info::to_element))
    }
}

impl Group {
    fn from_element(element: &Element) -> Result<Self, JingleFault> {
        let mut contents = Vec::new();
        for content in element.elements().filter(|e| e.is("content", NS_GROUPING)) {
            full(&contents, MAX_CONTENTS, "grouped contents")?;
            contents.extend(content.attr("name").map(str::to_owned));
        }
        // Old clients wrote the semantics as `type`.
        let semantics = element.attr("semantics").or(element.attr("type")).unwrap_or_default();
        Ok(Self { semantics: semantics.into(), contents })
    }

    fn to_element(&self) -> Element {
        let name = |n: &String| Element::new("content", NS_GROUPING).with_attr("name", &**n);
        Element::new("group", NS_GROUPING)
            .with_attr("semantics", &*self.semantics)
            .with_children(self.contents.iter().map(name))
    }
}

impl Info {
    fn from_element(element: &Element) -> Self {
        let name = || element.attr("name").map(str::to_owned);
        match (element.name(), element.ns()) {
            ("ringing", NS_RTP_INFO) => Self::Ringing,
            ("active", NS_RTP_INFO) => Self::Active,
            ("hold", NS_RTP_INFO) => Self::Hold,
            ("unhold", NS_RTP_INFO) => Self::Unhold,
            ("mute", NS_RTP_INFO) => Self::Mute(name()),
            ("unmute", NS_RTP_INFO) => Self::Unmute(name()),
            ("dtmf", NS_DTMF) => Self::dtmf(element).unwrap_or(Self::Unknown),
            ("transfer", NS_TRANSFER) => match element.attr("to") {
                Some(to) => Self::Transfer {
                    to: to.to_owned(),
                    sid: element.attr("sid").map(str::to_owned),
                },
                None => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }

    fn dtmf(element: &Element) -> Option<Self> {
        let mut code = element.attr("code")?.trim().chars();
        let key = code.next()?.to_ascii_uppercase();
        if code.next().is_some() || !matches!(key, '0'..='9' | '*' | '#' | 'A'..='D') {
            return None;
        }
        let duration_ms = element.attr("duration").and_then(|d| d.trim().parse().ok());
        Some(Self::Dtmf { code: key, duration_ms })
    }

    fn to_element(&self) -> Option<Element> {
        let plain = |name| Some(Element::new(name, NS_RTP_INFO));
        match self {
            Self::Ringing => plain("ringing"),
            Self::Active => plain("active"),
            Self::Hold => plain("hold"),
            Self::Unhold => plain("unhold"),
            Self::Mute(name) => plain("mute").map(|e| e.with_attr_opt("name", name.as_deref())),
            Self::Unmute(name) => plain("unmute").map(|e| e.with_attr_opt("name", name.as_deref())),
            Self::Dtmf { code, duration_ms } => Some(
                Element::new("dtmf", NS_DTMF)
                    .with_attr("code", code.to_string())
                    .with_attr_opt("duration", duration_ms.map(|d| d.to_string())),
            ),
            Self::Transfer { to, sid } => Some(
                Element::new("transfer", NS_TRANSFER)
                    .with_attr("to", &**to)
                    .with_attr_opt("sid", sid.as_deref()),
            ),
            Self::Protection { signalling, media } => Some(
                Element::new("protection", NS_PROTECTION)
                    .with_attr_opt("signalling", signalling.as_deref())
                    .with_attr_opt("media", media.as_deref()),
            ),
            Self::Unknown => None,
        }
    }
}

/// Whether one more part would be too many.
fn full<T>(parts: &[T], limit: usize, what: &'static str) -> Result<(), JingleFault> {
    if parts.len() >= limit { Err(JingleFault::TooMany(what)) } else { Ok(()) }
}

/// A number in an attribute; surrounding space is forgiven.
fn number<T: std::str::FromStr>(element: &Element, name: &str) -> Option<T> {
    element.attr(name).and_then(|v| v.trim().parse().ok())
}
