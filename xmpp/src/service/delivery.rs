//! What happens to a message (RFC 6121 section 8.5, XEP-0280), as one visible list of calls.

use std::sync::Arc;

use bytes::Bytes;

use super::{Outcome, Server};
use crate::jid::Jid;
use crate::ports::{Outbox, Parcel};
use crate::router::Place;
use crate::stanza::{Condition, Kind, Stanza, StanzaError};
use crate::xml::ns;

const CARBONS: &str = "urn:xmpp:carbons:2";
const FORWARD: &str = "urn:xmpp:forward:0";
const HINTS: &str = "urn:xmpp:hints";
const RECEIPTS: &str = "urn:xmpp:receipts";
const JMI: &str = "urn:xmpp:jingle-message:0";
const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";

/// Where one message goes.
#[derive(Default)]
struct Routes {
    streams: Vec<Arc<dyn Outbox>>,
    attached: Vec<String>,
    /// Carbons-enabled streams of the recipient that are not in `streams`.
    copies: Vec<(Jid, Arc<dyn Outbox>)>,
}

impl Server {
    pub(super) async fn route_message(&self, mut stanza: Stanza) -> Outcome {
        let Some(from) = stanza.from().cloned() else { return Outcome::Ignored };
        if stanza.to().is_none() {
            stanza.set_to(from.bare());
        }
        let Some(to) = stanza.to().cloned() else { return Outcome::Ignored };
        let kind = message_type(&stanza);
        if self.place(&to) == Place::Elsewhere {
            if stanza.has_ns(JMI) {
                self.note_addressed(&from, &to);
            }
            let outcome = self.send_elsewhere(&stanza);
            if !matches!(outcome, Outcome::Refused(_)) {
                self.copy_to_sender(&stanza, &from, &to);
            }
            return outcome;
        }
        if !self.is_local(&to) {
            return self.bounce(&stanza, StanzaError::new(Condition::RemoteServerNotFound));
        }
        if to.node().is_none() {
            return self.bounce(&stanza, StanzaError::new(Condition::ServiceUnavailable));
        }
        match self.0.ports.accounts.exists(&to.bare()).await {
            Ok(true) => {}
            Ok(false) => {
                return self.bounce(&stanza, StanzaError::new(Condition::ServiceUnavailable));
            }
            Err(error) => return self.store_failed(&stanza, &error),
        }
        if stanza.has_ns(JMI) {
            self.0.ports.foreign.observed(&stanza);
            self.note_addressed(&from, &to);
        }
        let outcome = self.deliver_message(&stanza, &from, &to, kind).await;
        if !matches!(outcome, Outcome::Refused(_)) {
            self.copy_to_sender(&stanza, &from, &to);
        }
        outcome
    }

    async fn deliver_message(&self, stanza: &Stanza, from: &Jid, to: &Jid, kind: Type) -> Outcome {
        let routes = self.routes(to, kind);
        let bytes = stanza.bytes();
        let parcel = Parcel::new(bytes.clone());
        let mut sessions = 0;
        for outbox in &routes.streams {
            sessions += usize::from(outbox.send_parcel(bytes.clone(), parcel.clone()));
        }
        let mut attached = 0;
        if !routes.attached.is_empty() {
            if self.0.ports.foreign.deliver(&to.bare(), &routes.attached, stanza) {
                attached = routes.attached.len();
                parcel.mark_written();
            } else if sessions == 0 {
                return self.bounce(stanza, StanzaError::new(Condition::ResourceConstraint));
            }
        }
        if sessions + attached > 0 && to.bare() != from.bare() && may_be_copied(stanza, kind) {
            self.send_copies(&routes.copies, "received", &to.bare(), &bytes, Some(&parcel));
        }
        // All who took a copy may have been lost already.
        if sessions + attached > 0 && parcel.lost().is_none() {
            return Outcome::Delivered { sessions, attached };
        }
        match kind {
            Type::Groupchat => self.bounce(stanza, StanzaError::new(Condition::ServiceUnavailable)),
            Type::Headline | Type::Error => Outcome::Ignored,
            Type::Chat | Type::Normal if is_worth_keeping(stanza) => self.keep(stanza, to).await,
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
            let priority = resource.presence.as_ref().map(|p| p.priority);
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

    /// Carbons for the sender's other devices (XEP-0280 section 7).
    fn copy_to_sender(&self, stanza: &Stanza, from: &Jid, to: &Jid) {
        if !may_be_copied(stanza, message_type(stanza)) {
            return;
        }
        let copies: Vec<_> = self
            .sessions()
            .of(&from.bare())
            .iter()
            .filter(|r| r.carbons && r.jid != *from && r.jid != *to)
            .filter_map(|r| Some((r.jid.clone(), r.outbox.clone()?)))
            .collect();
        // A message to oneself has reached the other devices already.
        if to.bare() == from.bare() && to.is_bare() {
            return;
        }
        self.send_copies(&copies, "sent", &from.bare(), &stanza.bytes(), None);
    }

    fn send_copies(
        &self,
        copies: &[(Jid, Arc<dyn Outbox>)],
        direction: &str,
        account: &Jid,
        message: &Bytes,
        parcel: Option<&Arc<Parcel>>,
    ) {
        let Ok(message) = std::str::from_utf8(message) else { return };
        // The forwarded stanza declares its namespace, which the wrapper has changed.
        let message = message.replacen("<message", "<message xmlns='jabber:client'", 1);
        for (jid, outbox) in copies {
            let mut out = String::with_capacity(message.len() + 300);
            out.push_str("<message from='");
            crate::xml::escape(&mut out, account.as_str());
            out.push_str("' to='");
            crate::xml::escape(&mut out, jid.as_str());
            out.push_str("' type='chat'><");
            out.push_str(direction);
            out.push_str(" xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>");
            out.push_str(&message);
            out.push_str("</forwarded></");
            out.push_str(direction);
            out.push_str("></message>");
            match parcel {
                Some(parcel) => outbox.send_parcel(out.into(), parcel.clone()),
                None => outbox.send(out.into()),
            };
        }
    }

    /// A stanza was queued, and every client that was to get it left before it was written (see [`Parcel`]): a message
    /// goes to another device or is kept, a request is answered, since nobody else will.
    pub async fn redeliver(&self, bytes: Bytes) {
        let Ok(stanza) = Stanza::parse(bytes) else { return };
        let (Some(from), Some(to)) = (stanza.from().cloned(), stanza.to().cloned()) else { return };
        let kind = message_type(&stanza);
        match stanza.kind() {
            Kind::Message if !matches!(kind, Type::Error) && !stanza.has_ns(CARBONS) => {
                self.deliver_message(&stanza, &from, &to, kind).await;
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
        Type::Normal => {
            stanza.has("body", ns::CLIENT)
                || stanza.has_ns(RECEIPTS)
                || stanza.has_ns(JMI)
                || stanza.has_ns(CHAT_STATES)
        }
        Type::Headline | Type::Groupchat | Type::Error => false,
    }
}

/// What a person would miss: text, receipts, calls. A lone typing state is not kept (XEP-0160, XEP-0334).
fn is_worth_keeping(stanza: &Stanza) -> bool {
    if stanza.has("no-store", HINTS) || stanza.has("no-permanent-store", HINTS) {
        return false;
    }
    stanza.has("body", ns::CLIENT)
        || stanza.has("store", HINTS)
        || stanza.has_ns(RECEIPTS)
        || stanza.has_ns(JMI)
}
