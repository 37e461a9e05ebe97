//! What happens to a message (RFC 6121 section 8.5, XEP-0280, XEP-0313), as one visible list of calls.
//!
//! First, before anything is kept of it, it is seen whether it can be delivered at all; then it goes into the archives of
//! those concerned; when that is committed it is delivered, with the id that it has in its reader's archive.

use std::sync::Arc;

use bytes::Bytes;

use super::archive::{RETRACT, forwarded, importance, name_of, origin_of};
use super::blocking::Verdict;
use super::{Begun, Keeping, Outcome, Server};
use crate::jid::Jid;
use crate::ports::{ArchiveRow, CallTaken, Entry, Outbox, Parcel, Seq, StoreError, Stored};
use crate::router::Place;
use crate::stanza::stanza_id::{self, StanzaId};
use crate::stanza::{Condition, Kind, Stanza, StanzaError, append_child};
use crate::xml::ns;

const CARBONS: &str = "urn:xmpp:carbons:2";
const FORWARD: &str = "urn:xmpp:forward:0";
const HINTS: &str = "urn:xmpp:hints";
const RECEIPTS: &str = "urn:xmpp:receipts";
const MARKERS: &str = "urn:xmpp:chat-markers:0";
const JMI: &str = "urn:xmpp:jingle-message:0";
const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
const DIRECT_INVITE: &str = "jabber:x:conference";
const MUC_USER: &str = "http://jabber.org/protocol/muc#user";

/// In whose archives a message is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Archiving {
    sender: bool,
    recipient: bool,
    /// It waits for its recipient, nobody having been there to take it.
    waits: bool,
}

/// Where one message goes.
#[derive(Default)]
struct Routes {
    streams: Vec<Arc<dyn Outbox>>,
    attached: Vec<String>,
    /// Carbons-enabled streams of the recipient that are not in `streams`.
    copies: Vec<(Jid, Arc<dyn Outbox>)>,
}

impl Routes {
    fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.attached.is_empty()
    }
}

/// A message on its way to an account here.
struct Letter<'a> {
    stanza: &'a Stanza,
    from: &'a Jid,
    to: &'a Jid,
    kind: Type,
    /// As its recipient gets it.
    bytes: Bytes,
    /// Its place in the recipient's archive.
    place: Option<Seq>,
}

impl Server {
    /// What comes before the commit: the message is found deliverable or not, and goes on its way to the archives.
    pub(super) async fn begin_message(&self, mut stanza: Stanza) -> Begun {
        let Some(from) = stanza.from().cloned() else { return Begun::new(stanza) };
        let to = stanza.to().cloned().unwrap_or_else(|| from.bare());
        stanza.set_to(to.clone());
        if self.place(&to) == Place::Rooms {
            return self.begin_room_message(stanza).await;
        }
        let fault = match self.message_fault(&stanza, &to).await {
            Ok(None) => self.strip_forged_ids(&mut stanza).err(),
            Ok(fault) => fault,
            Err(error) => {
                return Begun { kept: Keeping::Kept(Err(error)), ..Begun::new(stanza) };
            }
        };
        if let Some(fault) = fault {
            return Begun { refused: Verdict::Refuse(fault), ..Begun::new(stanza) };
        }
        match self.archive_message(&stanza, &from, &to).await {
            Ok(Some((archiving, entry))) => {
                let kept = Keeping::Waiting(self.0.ports.archive.append(entry));
                Begun { archiving, kept, ..Begun::new(stanza) }
            }
            Ok(None) => Begun::new(stanza),
            Err(error) => Begun { kept: Keeping::Kept(Err(error)), ..Begun::new(stanza) },
        }
    }

    /// Why a message cannot go where it is addressed. What is refused is in nobody's archive.
    async fn message_fault(
        &self,
        stanza: &Stanza,
        to: &Jid,
    ) -> Result<Option<StanzaError>, StoreError> {
        let unavailable = Some(StanzaError::new(Condition::ServiceUnavailable));
        match self.place(to) {
            Place::Host | Place::Uploads => Ok(unavailable),
            Place::Account if !self.0.ports.accounts.exists(&to.bare()).await? => Ok(unavailable),
            // RFC 6121 section 8.5.2.1.1: nobody takes a groupchat message at a bare address.
            Place::Account if message_type(stanza) == Type::Groupchat && to.is_bare() => {
                Ok(unavailable)
            }
            Place::Account | Place::Rooms | Place::Elsewhere => Ok(None),
        }
    }

    /// Ids that claim to be of an archive here are not of the sender's making (XEP-0359 section 3).
    fn strip_forged_ids(&self, stanza: &mut Stanza) -> Result<(), StanzaError> {
        let forged = |id: &crate::xml::Element| {
            id.attr("by").and_then(|by| Jid::parse(by).ok()).is_none_or(|by| {
                matches!(self.place(&by), Place::Host | Place::Account | Place::Rooms)
            })
        };
        let stripped = stanza.strip("stanza-id", stanza_id::NS, forged);
        stripped.map_err(|_| StanzaError::new(Condition::BadRequest))
    }

    /// Who wants a message in the archive, and what goes there.
    async fn archive_message(
        &self,
        stanza: &Stanza,
        from: &Jid,
        to: &Jid,
    ) -> Result<Option<(Archiving, Entry)>, StoreError> {
        let kind = message_type(stanza);
        let importance = importance(stanza);
        if !matches!(kind, Type::Chat | Type::Normal) || !importance.archive {
            return Ok(None);
        }
        let (sender, recipient) = (from.bare(), to.bare());
        let mut archiving = Archiving::default();
        let mut rows = Vec::with_capacity(2);
        if self.place(to) == Place::Account && self.wants_archived(&recipient, from).await? {
            archiving.recipient = true;
            archiving.waits = importance.wait && self.routes(to, kind).is_empty();
            let (owner, waits) = (recipient.clone(), archiving.waits);
            rows.push(ArchiveRow { owner, peer: from.clone(), waits });
        }
        if self.place(from) == Place::Account && self.wants_archived(&sender, to).await? {
            archiving.sender = true;
            if sender != recipient {
                rows.push(ArchiveRow { owner: sender.clone(), peer: to.clone(), waits: false });
            } else if rows.is_empty() {
                rows.push(ArchiveRow { owner: sender.clone(), peer: from.clone(), waits: false });
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let once = origin_of(stanza).map(|id| format!("{sender}\n{recipient}\n{id}"));
        let (stanza, name) = (stanza.bytes(), name_of(stanza));
        Ok(Some((archiving, Entry { stanza, rows, name, once, groupchat: false })))
    }

    /// What comes after the commit.
    pub(super) async fn route_message(
        &self,
        stanza: Stanza,
        archiving: &Archiving,
        stored: Option<Stored>,
    ) -> Outcome {
        let (Some(from), Some(to)) = (stanza.from().cloned(), stanza.to().cloned()) else {
            return Outcome::Ignored;
        };
        if self.place(&to) == Place::Rooms {
            return self.room_message(stanza).await;
        }
        if self.takes_approval(&stanza).await {
            return Outcome::Ignored;
        }
        let seq = stored.map(|stored| stored.seq);
        if let Some(Stored { seq, duplicate: true }) = stored {
            // It was sent before, and who was to get it has it, unless it came back.
            if !self.had_returned(seq).await {
                return Outcome::Ignored;
            }
            if archiving.waits
                && let Err(error) = self.0.ports.offline.hold(&to.bare(), seq).await
            {
                self.note_returned(seq).await;
                return self.store_failed(&stanza, &error);
            }
        }
        let is_copied = may_be_copied(&stanza, message_type(&stanza));
        if is_copied {
            self.note_sent(&stanza, seq);
        }
        if let Some(seq) = seq
            && stanza.has("retract", RETRACT)
        {
            let owner = if archiving.sender { from.bare() } else { to.bare() };
            if let Err(error) = self.entomb_retracted(&stanza, &owner, seq).await {
                tracing::error!(%error, "a retracted message stays in the archive");
            }
        }
        if stanza.has_ns(JMI) {
            self.note_addressed(&from, &to);
            let taken = self.0.ports.foreign.takes_call(&stanza, self.is_attached(&from));
            if taken != CallTaken::No {
                self.copy_to_sender(&stanza, &stanza.bytes(), seq.filter(|_| archiving.sender));
                // What is handled elsewhere rings nobody who comes later.
                if let (CallTaken::Handled, true, Some(seq)) = (taken, archiving.waits, seq)
                    && let Err(error) = self.0.ports.offline.delete(&to.bare(), &[seq]).await
                {
                    tracing::error!(%error, "a call that was handled waits for its callee");
                }
                return Outcome::Stored;
            }
            self.0.ports.foreign.observed(&stanza);
        }
        let bytes = stanza.bytes();
        let active = self.active_resources(&to.bare());
        let outcome = match self.place(&to) {
            Place::Account => {
                let place = seq.filter(|_| archiving.recipient);
                let kind = message_type(&stanza);
                let received = match place {
                    Some(place) => self.with_archive_id(&bytes, &to.bare(), place),
                    None => bytes.clone(),
                };
                let (stanza, from, to) = (&stanza, &from, &to);
                let letter = Letter { stanza, from, to, kind, bytes: received, place };
                self.deliver_message(letter, archiving.waits).await
            }
            _ => self.send_elsewhere(&stanza),
        };
        self.copy_to_sender(&stanza, &bytes, seq.filter(|_| archiving.sender));
        if let Outcome::Refused(error) = &outcome {
            if is_copied {
                self.copy_refused(&stanza, error);
            }
            if let Some(seq) = seq {
                self.note_returned(seq).await;
            }
        } else {
            self.wake(&stanza, &to.bare(), &active).await;
            self.show_delivered(&stanza, seq.filter(|_| archiving.recipient));
        }
        outcome
    }

    /// A message is refused before anything is kept of it. The sender's other devices see what became of it.
    pub(super) fn turn_away_message(&self, stanza: &Stanza, verdict: Verdict) -> Outcome {
        let outcome = self.turn_away(stanza, verdict);
        if let Outcome::Refused(error) = &outcome
            && may_be_copied(stanza, message_type(stanza))
            && stanza.to().is_some_and(|to| self.place(to) != Place::Rooms)
        {
            self.copy_to_sender(stanza, &stanza.bytes(), None);
            self.copy_refused(stanza, error);
        }
        outcome
    }

    async fn deliver_message(&self, letter: Letter<'_>, waits: bool) -> Outcome {
        let Letter { stanza, from, to, kind, bytes, place } = letter;
        if waits {
            self.0.ports.watch.waiting_changed(&to.bare());
            // The recipient may have come online, and looked for waiting messages, before the commit.
            self.offer_waiting(&to.bare()).await;
            return Outcome::Stored;
        }
        let routes = self.routes(to, kind);
        let parcel = Parcel::new(bytes.clone());
        let mut sessions = 0;
        for outbox in &routes.streams {
            sessions += usize::from(outbox.send_parcel(bytes.clone(), parcel.clone()));
        }
        let mut attached = 0;
        if !routes.attached.is_empty() {
            // With its id, by which a phone that does not take it gives it back.
            let numbered = place.and_then(|_| Stanza::parse(bytes.clone()).ok());
            let stanza = numbered.as_ref().unwrap_or(stanza);
            if self.0.ports.foreign.deliver(&to.bare(), &routes.attached, stanza) {
                attached = routes.attached.len();
                parcel.mark_written();
            } else if sessions == 0 {
                return self.bounce(stanza, StanzaError::new(Condition::ResourceConstraint));
            }
        }
        let is_copied = match kind {
            Type::Error => self.is_about_sent(stanza).await,
            _ => {
                to.bare() != from.bare()
                    && may_be_copied(stanza, kind)
                    && !self.is_room_private(stanza)
            }
        };
        if sessions + attached > 0 && is_copied {
            self.send_copies(&routes.copies, "received", &to.bare(), kind, &bytes, Some(&parcel));
        }
        // All who took a copy may have been lost already.
        if sessions + attached > 0 && parcel.lost().is_none() {
            return Outcome::Delivered { sessions, attached };
        }
        match kind {
            Type::Groupchat => self.bounce(stanza, StanzaError::new(Condition::ServiceUnavailable)),
            Type::Headline | Type::Error => Outcome::Ignored,
            Type::Chat | Type::Normal if importance(stanza).wait => {
                self.keep(stanza, to, place).await
            }
            Type::Chat | Type::Normal => Outcome::Ignored,
        }
    }

    /// The table of RFC 6121 section 8.5.
    fn routes(&self, to: &Jid, kind: Type) -> Routes {
        let sessions = self.sessions();
        let resources = sessions.of(&to.bare());
        let mut routes = Routes::default();
        let exact = to.resource().is_some_and(|_| resources.iter().any(|r| r.jid == *to));
        if to.resource().is_some() && !exact && !matches!(kind, Type::Chat | Type::Normal) {
            return routes;
        }
        for resource in resources {
            let priority = resource.priority();
            let wanted = if exact {
                resource.jid == *to
            } else {
                !matches!(kind, Type::Groupchat | Type::Error) && priority.is_some_and(|p| p >= 0)
            };
            match (&resource.outbox, wanted) {
                (Some(outbox), true) => routes.streams.push(outbox.clone()),
                (None, true) => {
                    routes.attached.extend(resource.jid.resource().map(str::to_owned));
                }
                (Some(outbox), false) if resource.carbons => {
                    routes.copies.push((resource.jid.clone(), outbox.clone()));
                }
                _ => {}
            }
        }
        routes
    }

    /// Carbons for the sender's other devices (XEP-0280 section 7), with the id in the sender's archive.
    fn copy_to_sender(&self, stanza: &Stanza, bytes: &Bytes, place: Option<Seq>) {
        let (Some(from), Some(to)) = (stanza.from(), stanza.to()) else { return };
        let kind = message_type(stanza);
        // A message to oneself has reached the other devices already.
        if (to.bare() == from.bare() && to.is_bare()) || !may_be_copied(stanza, kind) {
            return;
        }
        let account = from.bare();
        let copies: Vec<_> = self
            .sessions()
            .of(&account)
            .iter()
            .filter(|r| r.carbons && r.jid != *from && r.jid != *to)
            .filter_map(|r| Some((r.jid.clone(), r.outbox.clone()?)))
            .collect();
        if copies.is_empty() {
            return;
        }
        let numbered = place.map(|place| self.with_archive_id(bytes, &account, place));
        let message = numbered.as_ref().unwrap_or(bytes);
        self.send_copies(&copies, "sent", &account, kind, message, None);
    }

    /// Carbons of a message that has come back to one device of its sender, for the others (XEP-0280 section 6.1).
    pub(super) fn copy_error(&self, error: &Stanza, to: &Jid) {
        let copies = self.routes(to, Type::Error).copies;
        self.send_copies(&copies, "received", &to.bare(), Type::Error, &error.bytes(), None);
    }

    /// Carbons of a private message in a room, for the sender's other devices there (XEP-0280 section 6.1).
    pub(super) fn copy_whisper(&self, stanza: &Stanza, devices: &[Jid]) {
        let kind = message_type(stanza);
        let (Some(from), true) = (stanza.from(), may_be_copied(stanza, kind)) else { return };
        let copies: Vec<_> = {
            let sessions = self.sessions();
            let there = sessions.of(&from.bare()).iter();
            let others = there.filter(|r| r.carbons && r.jid != *from && devices.contains(&r.jid));
            others.filter_map(|r| Some((r.jid.clone(), r.outbox.clone()?))).collect()
        };
        // Which tells that it is one.
        let message =
            append_child(&stanza.bytes(), "<x xmlns='http://jabber.org/protocol/muc#user'/>");
        self.send_copies(&copies, "sent", &from.bare(), kind, &message, None);
    }

    fn send_copies(
        &self,
        copies: &[(Jid, Arc<dyn Outbox>)],
        direction: &str,
        account: &Jid,
        kind: Type,
        message: &Bytes,
        parcel: Option<&Arc<Parcel>>,
    ) {
        if copies.is_empty() {
            return;
        }
        // All copies end alike; only the addressee differs.
        let tail = format!(
            "' type='{}'><{direction} xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>{}\
             </forwarded></{direction}></message>",
            kind.name(),
            forwarded(message)
        );
        for (jid, outbox) in copies {
            let mut out = String::with_capacity(tail.len() + 200);
            out.push_str("<message from='");
            crate::xml::escape(&mut out, account.as_str());
            out.push_str("' to='");
            crate::xml::escape(&mut out, jid.as_str());
            out.push_str(&tail);
            match parcel {
                Some(parcel) => outbox.send_parcel(out.into(), parcel.clone()),
                None => outbox.send(out.into()),
            };
        }
    }

    /// A private message out of a room, which gives it to all devices that are there (XEP-0280 section 6.1). Invitations
    /// come from the room itself and only once.
    fn is_room_private(&self, stanza: &Stanza) -> bool {
        stanza.from().is_some_and(|f| f.resource().is_some() && self.place(f) != Place::Account)
            && stanza.child("x", MUC_USER).is_some_and(|x| x.child("invite", MUC_USER).is_none())
    }

    /// The place of a stanza in the owner's archive, which its id there tells.
    pub(super) fn place_in(&self, owner: &Jid, stanza: &Stanza) -> Option<Seq> {
        if !stanza.has("stanza-id", stanza_id::NS) {
            return None;
        }
        let whole = stanza.element().ok()?;
        let mut ids = whole.elements().filter_map(StanzaId::from_element);
        self.archive_seq(&ids.find(|id| id.by == *owner)?.id)
    }

    /// A stanza was queued, and every client that was to get it left before it was written (see [`Parcel`]): a message
    /// goes to another device or is kept, a request is answered, since nobody else will.
    pub async fn redeliver(&self, bytes: Bytes) {
        let Ok(stanza) = Stanza::parse(bytes) else { return };
        let (Some(from), Some(to)) = (stanza.from().cloned(), stanza.to().cloned()) else { return };
        let kind = message_type(&stanza);
        match stanza.kind() {
            Kind::Message if !matches!(kind, Type::Error) && !stanza.has_ns(CARBONS) => {
                let place = self.place_in(&to.bare(), &stanza);
                let (stanza, from, to) = (&stanza, &from, &to);
                let letter = Letter { stanza, from, to, kind, bytes: stanza.bytes(), place };
                self.deliver_message(letter, false).await;
            }
            Kind::Iq => {
                self.bounce(&stanza, StanzaError::new(Condition::ServiceUnavailable));
            }
            _ => {}
        }
    }
}

/// RFC 6121 section 5.2.2; what is unknown counts as normal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Chat,
    Normal,
    Headline,
    Groupchat,
    Error,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Normal => "normal",
            Self::Headline => "headline",
            Self::Groupchat => "groupchat",
            Self::Error => "error",
        }
    }
}

fn message_type(stanza: &Stanza) -> Type {
    match stanza.type_() {
        Some("chat") => Type::Chat,
        Some("headline") => Type::Headline,
        Some("groupchat") => Type::Groupchat,
        Some("error") => Type::Error,
        _ => Type::Normal,
    }
}

/// XEP-0280 section 6.1.
fn may_be_copied(stanza: &Stanza, kind: Type) -> bool {
    if stanza.has("private", CARBONS) || stanza.has("no-copy", HINTS) {
        return false;
    }
    // A copy is never copied again.
    if stanza.has_ns(CARBONS) || stanza.has_ns(FORWARD) {
        return false;
    }
    match kind {
        Type::Chat => true,
        Type::Normal | Type::Headline => {
            // What is worth keeping is worth a copy: a reaction without text, say.
            (kind == Type::Normal && (stanza.has("body", ns::CLIENT) || importance(stanza).wait))
                || [RECEIPTS, MARKERS, JMI, CHAT_STATES, DIRECT_INVITE, MUC_USER]
                    .iter()
                    .any(|payload| stanza.has_ns(payload))
        }
        Type::Groupchat | Type::Error => false,
    }
}
