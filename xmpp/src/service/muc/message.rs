//! What is said to everybody (XEP-0045 sections 7.4 and 8.1): taken from who may speak, given to all in one order.

use std::sync::Arc;

use bytes::Bytes;

use super::history::Kept;
use super::room::{Action, Now, Room, cleaned};
use super::wire::{Item, Shared, USER, attribute, occupant_id, stanza_id, user_x};
use crate::jid::Jid;
use crate::ports::{ArchiveRow, Entry, Role, Subject};
use crate::service::archive::{RETRACT, name_of, origin_of};
use crate::stanza::{Condition, Stanza, StanzaError, stamp};
use crate::xml::ns;

const HINTS: &str = "urn:xmpp:hints";
const REACTIONS: &str = "urn:xmpp:reactions:0";
const MARKERS: &str = "urn:xmpp:chat-markers:0";

/// A message that was taken and is not given out yet.
#[derive(Debug, Clone)]
pub(super) struct Spoken {
    /// Who said it, bare.
    pub(super) sender: Jid,
    /// Who said it, as the room calls them.
    pub(super) from: Jid,
    /// What its sender named it by, so that a repetition is known (XEP-0359).
    pub(super) origin_id: Option<String>,
    /// The subject that it sets.
    pub(super) subject: Option<Subject>,
    /// Whether it belongs into the archive.
    pub(super) kept: bool,
    /// Whether newcomers are told of it.
    is_told: bool,
    /// The message that it takes back (XEP-0424).
    pub(super) retracts: Option<String>,
    /// The name by which it is corrected.
    name: Option<String>,
    /// The session that said it.
    session: Option<Jid>,
    head: String,
    content: String,
}

impl Spoken {
    /// What the room itself says to everybody.
    pub(super) fn by_room(room: &Jid, id: &str, content: String, retracts: Option<&str>) -> Self {
        let mut head = String::new();
        attribute(&mut head, "id", id);
        attribute(&mut head, "type", "groupchat");
        Self {
            sender: room.clone(),
            from: room.clone(),
            origin_id: None,
            subject: None,
            kept: true,
            is_told: true,
            retracts: retracts.map(str::to_owned),
            name: None,
            session: None,
            head,
            content,
        }
    }

    /// The finished message, with the id that it has in the room's archive.
    pub(super) fn finished(&self, room: &Jid, id: Option<&str>) -> Shared {
        let mut content = String::with_capacity(self.content.len() + 160);
        content.push_str(&self.content);
        if let Some(id) = id {
            content.push_str(&stanza_id(room, id));
        }
        Shared::new("message", self.from.as_str(), &self.head, &content)
    }
}

impl Room {
    /// Takes a message for everybody from a session that is inside.
    ///
    /// # Errors
    ///
    /// `not-acceptable` from outside, `forbidden` without voice or for a subject that is not theirs to set, and
    /// `policy-violation` for a subject that is too long.
    pub(super) fn speak(&self, stanza: &Stanza, now: Now<'_>) -> Result<Spoken, StanzaError> {
        let refused = |condition| StanzaError::new(condition);
        let from = stanza.from().ok_or_else(|| refused(Condition::BadRequest))?;
        let occupant = self.occupant_of(from).ok_or_else(|| refused(Condition::NotAcceptable))?;
        let is_subject = stanza.has("subject", ns::CLIENT)
            && !stanza.has("body", ns::CLIENT)
            && !stanza.has("thread", ns::CLIENT);
        let least = match (is_subject, self.record.config.change_subject) {
            (true, false) => Role::Moderator,
            _ => Role::Participant,
        };
        if occupant.role < least {
            return Err(refused(Condition::Forbidden));
        }
        let mut content = cleaned(stanza, &self.jid);
        let subject = if is_subject { Some(self.subject(stanza, &content, now)?) } else { None };
        content.push_str(&occupant_id(&occupant.id));
        let retracts =
            stanza.child("retract", RETRACT).and_then(|r| r.attr("id").map(str::to_owned));
        if let Some(id) = &retracts
            && let Some(kept) = self.history.get(id)
            && kept.sender != occupant.real
        {
            return Err(refused(Condition::Forbidden));
        }
        let origin_id = origin_of(stanza);
        Ok(Spoken {
            sender: occupant.real.clone(),
            from: occupant.jid.clone(),
            origin_id,
            kept: subject.is_some() || retracts.is_some() || is_kept(stanza),
            is_told: !is_note(stanza),
            subject,
            retracts,
            name: name_of(stanza),
            session: Some(from.clone()),
            head: stanza.head().to_owned(),
            content,
        })
    }

    fn subject(
        &self,
        stanza: &Stanza,
        content: &str,
        now: Now<'_>,
    ) -> Result<Subject, StanzaError> {
        if content.len() > self.limits.subject_bytes {
            let error = StanzaError::new(Condition::PolicyViolation);
            return Err(error.with_text("the subject is too long"));
        }
        let nick = stanza.from().and_then(|from| self.sessions.get(from)).cloned();
        let text = stanza.child("subject", ns::CLIENT).map(|s| s.text()).unwrap_or_default();
        // Kept: the subject in its languages; what else came with it was for those who heard it.
        let content =
            stanza.content_without(|name, space, _| (name, space) != ("subject", ns::CLIENT));
        let nick = nick.unwrap_or_default();
        Ok(Subject { nick, stamp: now.stamp.to_owned(), content, text })
    }

    /// Gives a message to everybody inside, and remembers it for those who will come.
    pub(super) fn deliver(
        &mut self,
        spoken: &Spoken,
        id: Option<&str>,
        now: Now<'_>,
        out: &mut Vec<Action>,
    ) {
        let shared = spoken.finished(&self.jid, id);
        out.push(Action::Cast(self.all(), shared.clone()));
        if let Some(subject) = &spoken.subject {
            self.record.subject = Some(subject.clone());
            return;
        }
        if let Some(taken_back) = &spoken.retracts {
            self.history.forget(taken_back);
        }
        if let (true, Some(id)) = (spoken.kept && spoken.is_told, id) {
            self.history.add(Kept {
                id: id.to_owned(),
                stamp: now.stamp.to_owned(),
                micros: now.micros,
                sender: spoken.sender.clone(),
                stanza: Arc::new(shared),
            });
        }
    }

    /// A message as it goes to the archive: who has said it is noted, to be shown to those who may know (XEP-0313 section
    /// 6.1.2).
    pub(super) fn entry(&self, spoken: &Spoken) -> Entry {
        let mut content = spoken.content.clone();
        if let Some(occupant) = spoken.session.as_ref().and_then(|s| self.occupant_of(s)) {
            let jid = spoken.session.as_ref().map(Jid::as_str);
            content.push_str(&user_x(Some(&Item { jid, ..self.item(occupant, false) }), &[]));
        }
        let shared = Shared::new("message", spoken.from.as_str(), &spoken.head, &content);
        let once =
            spoken.origin_id.as_ref().map(|id| format!("{}\n{}\n{id}", spoken.sender, self.jid));
        let row = ArchiveRow { owner: self.jid.clone(), peer: spoken.from.clone(), waits: false };
        Entry {
            stanza: shared.text().to_owned().into(),
            rows: vec![row],
            name: spoken.name.clone(),
            once,
            groupchat: true,
        }
    }

    /// A message out of the archive, for those who will enter. The subject is told in another way; what was taken back
    /// is not told, nor who has read what.
    pub(super) fn recall(&mut self, id: &str, micros: i64, stanza: Bytes) {
        let Ok(stanza) = Stanza::parse(stanza) else { return };
        let Some(from) = stanza.from() else { return };
        let is_subject = stanza.has("subject", ns::CLIENT) && !stanza.has("body", ns::CLIENT);
        if is_subject || is_note(&stanza) || stanza.has("retracted", RETRACT) {
            return;
        }
        let item = stanza.child("x", USER).and_then(|x| x.child("item", USER).cloned());
        let sender = item.and_then(|item| Jid::parse(item.attr("jid")?).ok());
        let mut content = stanza.content_without(|name, ns, _| (name, ns) == ("x", USER));
        content.push_str(&stanza_id(&self.jid, id));
        let shared = Shared::new("message", from.as_str(), stanza.head(), &content);
        self.history.add(Kept {
            id: id.to_owned(),
            stamp: stamp::print(micros),
            micros,
            sender: sender.map_or_else(|| self.jid.clone(), |sender| sender.bare()),
            stanza: Arc::new(shared),
        });
    }

    /// Gives a message that has been given before to the session that repeats it, so that it learns its id.
    pub(super) fn repeat(&self, spoken: &Spoken, id: &str, session: &Jid, out: &mut Vec<Action>) {
        let Some(occupant) = self.occupant_of(session) else { return };
        let Some(visit) = occupant.visits.iter().find(|v| v.target.jid == *session) else { return };
        let shared = spoken.finished(&self.jid, Some(id));
        out.push(Action::Send(visit.target.clone(), shared));
    }

    /// A message of the room itself to everybody (sections 10.2.1 and 13).
    pub(super) fn notice(&mut self, kind: Option<&str>, content: &str, out: &mut Vec<Action>) {
        let mut head = String::new();
        if let Some(kind) = kind {
            attribute(&mut head, "type", kind);
        }
        let shared = Shared::new("message", self.jid.as_str(), &head, content);
        out.push(Action::Cast(self.all(), shared));
    }
}

/// A note that something has been read (XEP-0333) and no more: in the archive it is of use, to a newcomer it is not.
fn is_note(stanza: &Stanza) -> bool {
    stanza.has_ns(MARKERS) && !stanza.has("body", ns::CLIENT) && !stanza.has("retract", RETRACT)
}

/// What a person would miss (XEP-0313 section 6.1.2, XEP-0334): text, reactions, corrections, markers. Not that somebody
/// is typing.
fn is_kept(stanza: &Stanza) -> bool {
    if stanza.has("no-store", HINTS) || stanza.has("no-permanent-store", HINTS) {
        return false;
    }
    stanza.has("body", ns::CLIENT)
        || stanza.has("store", HINTS)
        || stanza.has_ns(REACTIONS)
        || stanza.has_ns(MARKERS)
}
