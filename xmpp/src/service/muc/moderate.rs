//! Messages that moderators take back for others (XEP-0425), and senders their own (XEP-0424).

use super::disco::MODERATE;
use super::room::Room;
use super::wire::{attribute, occupant_id};
use crate::jid::Jid;
use crate::ports::Role;
use crate::service::archive::RETRACT;
use crate::stanza::{Condition, StanzaError};
use crate::xml::{Element, escape};

/// Most bytes of a reason.
const MAX_REASON: usize = 1_024;

/// A message that is to be taken back, by its id in the room.
#[derive(Debug, Clone)]
pub(super) struct Moderation {
    pub(super) id: String,
    /// `<moderated/>` and `<reason/>`, as they go into the message and the tombstone.
    pub(super) inner: String,
}

impl Moderation {
    /// By the room itself, as a filter says, or by the one with this name and occupant id.
    pub(super) fn new(id: &str, by: Option<(&Jid, &str)>, reason: Option<&str>) -> Self {
        let mut inner = format!("<moderated xmlns='{MODERATE}'");
        match by {
            Some((jid, occupant)) => {
                attribute(&mut inner, "by", jid.as_str());
                inner.push('>');
                inner.push_str(&occupant_id(occupant));
                inner.push_str("</moderated>");
            }
            None => inner.push_str("/>"),
        }
        if let Some(reason) = reason.filter(|r| !r.is_empty()) {
            inner.push_str("<reason>");
            let end = reason.char_indices().map(|(at, _)| at).find(|at| *at >= MAX_REASON);
            escape(&mut inner, reason.get(..end.unwrap_or(reason.len())).unwrap_or_default());
            inner.push_str("</reason>");
        }
        Self { id: id.to_owned(), inner }
    }

    fn read(request: &Element, by: Option<(&Jid, &str)>) -> Result<Self, StanzaError> {
        let id = request.attr("id").filter(|id| !id.is_empty());
        let (Some(id), Some(_)) = (id, request.child("retract", RETRACT)) else {
            return Err(StanzaError::new(Condition::BadRequest));
        };
        let reason = request.child("reason", MODERATE).map(Element::text);
        Ok(Self::new(id, by, reason.as_deref()))
    }

    /// What stands in the message's place: by which message it was taken back, and when.
    pub(super) fn retracted(&self, by: &str, stamp: &str) -> Element {
        let mut out = format!("<retracted xmlns='{RETRACT}'");
        attribute(&mut out, "id", by);
        attribute(&mut out, "stamp", stamp);
        out.push('>');
        out.push_str(&self.inner);
        out.push_str("</retracted>");
        Element::parse(out.as_bytes()).unwrap_or_else(|_| Element::new("retracted", RETRACT))
    }

    /// What the message of the room carries.
    pub(super) fn retract(&self) -> String {
        let mut out = format!("<retract xmlns='{RETRACT}'");
        attribute(&mut out, "id", &self.id);
        out.push('>');
        out.push_str(&self.inner);
        out + "</retract>"
    }
}

impl Room {
    /// What a request to moderate asks for.
    ///
    /// # Errors
    ///
    /// `not-acceptable` from outside, `forbidden` for who is no moderator, `bad-request` without an id or for another
    /// action than taking back.
    pub(super) fn plan_moderation(
        &self,
        from: &Jid,
        request: &Element,
    ) -> Result<Moderation, StanzaError> {
        let refused = |condition| Err(StanzaError::new(condition));
        let Some(occupant) = self.occupant_of(from) else {
            return refused(Condition::NotAcceptable);
        };
        if occupant.role != Role::Moderator {
            let error = StanzaError::new(Condition::Forbidden);
            return Err(error.with_text("only moderators may moderate"));
        }
        Moderation::read(request, Some((&occupant.jid, occupant.id.as_str())))
    }

    /// What a request of a content filter asks for: what it decides, the room decides.
    ///
    /// # Errors
    ///
    /// `bad-request` without an id or for another action than taking back.
    pub(super) fn plan_filtering(&self, request: &Element) -> Result<Moderation, StanzaError> {
        Moderation::read(request, None)
    }
}
