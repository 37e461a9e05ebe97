//! Jingle Message Initiation (XEP-0353 version 0.8): calls that are proposed by message before a session exists.
//!
//! The namespace is `urn:xmpp:jingle-message:0`, as the examples and the schema have it. All of these travel as chat
//! messages with a `<store/>` hint: `propose` and `retract` to the bare address, the others to the caller's device.

use super::jingle::{JingleFault, ReasonElement, RtpDescription};
use crate::xml::Element;

/// The namespace.
pub const NS_JMI: &str = "urn:xmpp:jingle-message:0";
/// Most descriptions in one proposal.
const MAX_DESCRIPTIONS: usize = 8;
/// Longest id taken; it becomes a session id.
const MAX_ID: usize = super::jingle::MAX_SID;

/// What is said about the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JmiAction {
    /// I would like to call you.
    Propose {
        /// One for each medium.
        descriptions: Vec<RtpDescription>,
    },
    /// A device rings.
    Ringing,
    /// This device takes the call: begin the session with it.
    Proceed,
    /// The user does not take it, on any device.
    Reject {
        /// Why; `busy` is usual.
        reason: Option<ReasonElement>,
        /// Two proposals crossed, and this one lost.
        tie_break: bool,
    },
    /// The caller gave up.
    Retract {
        /// Why; `cancel` is usual.
        reason: Option<ReasonElement>,
        /// Two proposals crossed, and this one lost.
        tie_break: bool,
    },
    /// The session is over.
    Finish {
        /// Why.
        reason: Option<ReasonElement>,
        /// It goes on under this id.
        migrated: Option<String>,
    },
}

/// One statement about one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jmi {
    /// The call; later the Jingle session's id.
    pub id: String,
    /// What is said.
    pub action: JmiAction,
}

impl Jmi {
    /// A statement.
    pub fn new(id: &str, action: JmiAction) -> Self {
        Self { id: id.into(), action }
    }

    /// A proposal with media named only (`audio`, `video`).
    pub fn propose(id: &str, media: &[&str]) -> Self {
        let description =
            |m: &&str| RtpDescription { media: (*m).into(), ..RtpDescription::default() };
        Self::new(id, JmiAction::Propose { descriptions: media.iter().map(description).collect() })
    }

    /// Whether a child of a message belongs here and can be read.
    pub fn is_jmi(name: &str, ns: &str) -> bool {
        let known = ["propose", "ringing", "proceed", "accept", "reject", "retract", "finish"];
        ns == NS_JMI && known.contains(&name)
    }

    /// The statement in a `<message/>`; `None` if there is none.
    pub fn from_message(message: &Element) -> Option<Result<Self, JingleFault>> {
        message.elements().find(|e| Self::is_jmi(e.name(), e.ns())).map(Self::from_element)
    }

    /// Reads one of the elements. The old `<accept/>` of earlier versions is a `<proceed/>` of sorts: it told the
    /// caller's other devices, and is read as such.
    ///
    /// # Errors
    ///
    /// [`JingleFault`] for a missing id, too many parts, or another element.
    pub fn from_element(element: &Element) -> Result<Self, JingleFault> {
        if !Self::is_jmi(element.name(), element.ns()) {
            return Err(JingleFault::NotJingle);
        }
        let id = element.attr("id").filter(|id| !id.is_empty() && id.len() <= MAX_ID);
        let id = id.ok_or(JingleFault::Missing("id"))?;
        let reason = || {
            let found = element.elements().find(|e| e.name() == "reason");
            found.and_then(ReasonElement::from_element)
        };
        let tie_break = element.elements().any(|e| e.name() == "tie-break");
        let action = match element.name() {
            "propose" => JmiAction::Propose { descriptions: descriptions(element)? },
            "ringing" => JmiAction::Ringing,
            "reject" => JmiAction::Reject { reason: reason(), tie_break },
            "retract" => JmiAction::Retract { reason: reason(), tie_break },
            "finish" => {
                let migrated = element.elements().find(|e| e.name() == "migrated");
                let migrated = migrated.and_then(|e| e.attr("to")).map(str::to_owned);
                JmiAction::Finish { reason: reason(), migrated }
            }
            _ => JmiAction::Proceed,
        };
        Ok(Self::new(id, action))
    }

    /// The element for a message.
    pub fn to_element(&self) -> Element {
        let mut element = Element::new(self.name(), NS_JMI).with_attr("id", &*self.id);
        let (reason, tie_break) = match &self.action {
            JmiAction::Propose { descriptions } => {
                return element.with_children(descriptions.iter().map(RtpDescription::to_element));
            }
            JmiAction::Ringing | JmiAction::Proceed => return element,
            JmiAction::Reject { reason, tie_break } | JmiAction::Retract { reason, tie_break } => {
                (reason, *tie_break)
            }
            JmiAction::Finish { reason, migrated } => {
                if let Some(to) = migrated {
                    element.push(Element::new("migrated", NS_JMI).with_attr("to", &**to));
                }
                (reason, false)
            }
        };
        if let Some(reason) = reason {
            element.push(reason.to_element());
        }
        if tie_break {
            element.push(Element::new("tie-break", NS_JMI));
        }
        element
    }

    /// The element's name.
    pub fn name(&self) -> &'static str {
        match self.action {
            JmiAction::Propose { .. } => "propose",
            JmiAction::Ringing => "ringing",
            JmiAction::Proceed => "proceed",
            JmiAction::Reject { .. } => "reject",
            JmiAction::Retract { .. } => "retract",
            JmiAction::Finish { .. } => "finish",
        }
    }

    /// Whether a proposal asks for audio. One that describes nothing we can read is taken for a voice call only if
    /// it has no description at all.
    pub fn wants_audio(&self) -> bool {
        match &self.action {
            JmiAction::Propose { descriptions } => {
                descriptions.is_empty() || descriptions.iter().any(|d| d.media == "audio")
            }
            _ => false,
        }
    }
}

fn descriptions(element: &Element) -> Result<Vec<RtpDescription>, JingleFault> {
    let mut found = Vec::new();
    for child in element.elements().filter(|e| e.name() == "description") {
        if found.len() >= MAX_DESCRIPTIONS {
            return Err(JingleFault::TooMany("descriptions"));
        }
        // Descriptions of other applications keep their place, so that "no description" stays tellable.
        if child.ns() == super::jingle::NS_RTP {
            found.push(RtpDescription::from_element(child)?);
        } else {
            let media = child.attr("media").unwrap_or("application").to_owned();
            found.push(RtpDescription { media, ..RtpDescription::default() });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stanza::jingle::Reason;

    fn round_trip(jmi: &Jmi) {
        let bytes = jmi.to_element().to_bytes();
        assert_eq!(Jmi::from_element(&Element::parse(&bytes).unwrap()).as_ref(), Ok(jmi));
    }

    #[test]
    fn every_statement_round_trips() {
        let busy = || Some(ReasonElement { reason: Reason::Busy, text: Some("On a call".into()) });
        round_trip(&Jmi::propose("c1", &["audio", "video"]));
        for action in [
            JmiAction::Ringing,
            JmiAction::Proceed,
            JmiAction::Reject { reason: busy(), tie_break: false },
            JmiAction::Reject { reason: Some(Reason::Expired.into()), tie_break: true },
            JmiAction::Retract { reason: Some(Reason::Cancel.into()), tie_break: false },
            JmiAction::Finish { reason: Some(Reason::Success.into()), migrated: None },
            JmiAction::Finish { reason: None, migrated: Some("c2".into()) },
        ] {
            round_trip(&Jmi::new("c1", action));
        }
    }

    #[test]
    fn a_message_of_a_client_is_found() {
        let message = Element::parse(
            b"<message type='chat' to='a@b'><propose xmlns='urn:xmpp:jingle-message:0' id='x'>\
              <description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/></propose>\
              <store xmlns='urn:xmpp:hints'/></message>",
        )
        .unwrap();
        let jmi = Jmi::from_message(&message).unwrap().unwrap();
        assert_eq!(jmi.id, "x");
        assert!(jmi.wants_audio());
    }

    #[test]
    fn a_statement_without_id_or_with_too_much_is_refused() {
        let bare = Element::new("proceed", NS_JMI);
        assert_eq!(Jmi::from_element(&bare), Err(JingleFault::Missing("id")));
        let many = vec!["audio"; MAX_DESCRIPTIONS + 1];
        let many = Jmi::propose("x", &many).to_element();
        assert_eq!(Jmi::from_element(&many), Err(JingleFault::TooMany("descriptions")));
        let video = Jmi::propose("x", &["video"]);
        assert!(!video.wants_audio());
    }
}
