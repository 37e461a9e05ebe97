//! A content: what is sent (description) and how (transport) (XEP-0166 section 7.3).

use super::{IceUdp, JingleFault, NS, NS_ICE, NS_ICE_UDP, NS_RTP, RtpDescription};
use crate::xml::Element;

/// Who sends. The words are absolute: initiator and responder of the session, whoever writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Senders {
    /// Both.
    #[default]
    Both,
    /// Only the session's initiator.
    Initiator,
    /// Only its responder.
    Responder,
    /// Neither.
    None,
}

impl Senders {
    /// The wire word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Initiator => "initiator",
            Self::Responder => "responder",
            Self::None => "none",
        }
    }

    /// From the wire word.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Both, Self::Initiator, Self::Responder, Self::None]
            .into_iter()
            .find(|s| s.name() == name)
    }

    /// Whether the initiator sends.
    pub fn initiator_sends(self) -> bool {
        matches!(self, Self::Both | Self::Initiator)
    }

    /// Whether the responder sends.
    pub fn responder_sends(self) -> bool {
        matches!(self, Self::Both | Self::Responder)
    }
}

/// One content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// `initiator` or `responder`: whose name it bears.
    pub creator: String,
    /// Its name, unique for its creator.
    pub name: String,
    /// Who sends.
    pub senders: Senders,
    /// `session` unless said otherwise.
    pub disposition: Option<String>,
    /// RTP media; none in `transport-info` and for other applications.
    pub description: Option<RtpDescription>,
    /// ICE; none in `content-modify` and for other transports.
    pub transport: Option<IceUdp>,
    /// Namespace of a description that is not RTP.
    pub other_description: Option<String>,
    /// Namespace of a transport that is not ICE.
    pub other_transport: Option<String>,
}

impl Content {
    /// A content without parts.
    pub fn new(creator: &str, name: &str) -> Self {
        Self {
            creator: creator.into(),
            name: name.into(),
            senders: Senders::Both,
            disposition: None,
            description: None,
            transport: None,
            other_description: None,
            other_transport: None,
        }
    }

    /// The same content by name only, for `content-reject` and the like.
    #[must_use]
    pub fn bare(self) -> Self {
        Self { senders: self.senders, ..Self::new(&self.creator, &self.name) }
    }

    /// Whether it carries audio.
    pub fn is_audio(&self) -> bool {
        self.description.as_ref().is_some_and(|d| d.media == "audio")
    }

    /// Reads a `<content/>`. Several clients leave `creator` out: the initiator is meant.
    ///
    /// # Errors
    ///
    /// [`JingleFault`] for a missing name or too many parts.
    pub fn from_element(element: &Element) -> Result<Self, JingleFault> {
        let name = element.attr("name").ok_or(JingleFault::Missing("content name"))?;
        let creator = match element.attr("creator") {
            Some("responder") => "responder",
            _ => "initiator",
        };
        let mut content = Self::new(creator, name);
        content.senders = element.attr("senders").and_then(Senders::from_name).unwrap_or_default();
        content.disposition = element.attr("disposition").map(str::to_owned);
        for child in element.elements() {
            match (child.name(), child.ns()) {
                ("description", NS_RTP) => {
                    content.description = Some(RtpDescription::from_element(child)?);
                }
                ("transport", NS_ICE_UDP | NS_ICE) => {
                    content.transport = Some(IceUdp::from_element(child)?);
                }
                ("description", ns) => content.other_description = Some(ns.into()),
                ("transport", ns) => content.other_transport = Some(ns.into()),
                _ => {}
            }
        }
        Ok(content)
    }

    /// The `<content/>`. Parts of other namespaces are not written.
    pub fn to_element(&self) -> Element {
        Element::new("content", NS)
            .with_attr("creator", &*self.creator)
            .with_attr_opt("disposition", self.disposition.as_deref())
            .with_attr("name", &*self.name)
            .with_attr("senders", self.senders.name())
            .with_children(self.description.iter().map(RtpDescription::to_element))
            .with_children(self.transport.iter().map(IceUdp::to_element))
    }
}
