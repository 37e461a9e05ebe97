//! Requests (RFC 6120 section 8.2.3, RFC 6121 section 8.5): answered here, passed to a device, or refused; never lost.

use super::registration::REGISTER;
use super::sessions::Resource;
use super::{
    Outcome, Server, about, adhoc, archive, blocking, disco, extdisco, filter, pep, private, push,
    vcard,
};
use crate::jid::Jid;
use crate::ports::{CallTaken, Parcel, StoreError};
use crate::router::Place;
use crate::stanza::{Condition, Stanza, StanzaError};
use crate::xml::{Element, ns};

const ROSTER: &str = "jabber:iq:roster";
const PING: &str = "urn:xmpp:ping";
const CARBONS: &str = "urn:xmpp:carbons:2";

impl Server {
    pub(super) async fn handle_iq(&self, stanza: Stanza) -> Outcome {
        let Some(from) = stanza.from().cloned() else { return Outcome::Ignored };
        let request = match stanza.type_() {
            Some("get" | "set") => true,
            Some("result" | "error") => false,
            _ => return self.bounce(&stanza, StanzaError::new(Condition::BadRequest)),
        };
        if request && (stanza.children().count() != 1 || stanza.id().is_none()) {
            return self.bounce(&stanza, StanzaError::new(Condition::BadRequest));
        }
        let to = stanza.to().cloned().unwrap_or_else(|| from.bare());
        if request && self.place(&to) == Place::Uploads {
            return self.answer_upload(&stanza, &from).await;
        }
        if self.place(&to) == Place::Rooms {
            return self.room_iq(stanza).await;
        }
        if request && to.bare() != from.bare() {
            self.note_addressed(&from, &to);
        }
        if self.place(&to) == Place::Elsewhere {
            if self.is_of_handled_call(&stanza, &from) {
                return Outcome::Delivered { sessions: 0, attached: 1 };
            }
            return self.send_elsewhere(&stanza);
        }
        if !self.is_local(&to) {
            return self.bounce(&stanza, StanzaError::new(Condition::RemoteServerNotFound));
        }
        if to.resource().is_some() {
            return match self.may_ask(&stanza, &from, &to).await {
                Ok(true) => self.pass_iq(&stanza, &to),
                // As if nobody were there, so that nobody can find out who is.
                Ok(false) => self.bounce(&stanza, StanzaError::new(Condition::ServiceUnavailable)),
                Err(error) => self.store_failed(&stanza, &error),
            };
        }
        if !request {
            if stanza.id().is_some_and(|id| id.starts_with(disco::QUESTION)) {
                self.learn_features(&stanza).await;
            }
            self.push_answered(&stanza).await;
            return Outcome::Ignored;
        }
        self.answer_iq(&stanza, &from, &to).await
    }

    /// Whether a device may be asked by another account: its presence is shared by subscription or directed presence
    /// (RFC 6121 section 8.5.3.1), or it has itself begun to talk to that account, as in a call (XEP-0166, XEP-0353).
    /// Answers always pass. So do calls to and from attached devices: whom they may ring is for the bridge to say.
    async fn may_ask(&self, stanza: &Stanza, from: &Jid, to: &Jid) -> Result<bool, StoreError> {
        if !matches!(stanza.type_(), Some("get" | "set")) || from.bare() == to.bare() {
            return Ok(true);
        }
        let known = {
            let sessions = self.sessions();
            let is_attached = |jid| sessions.get(jid).is_some_and(|r| r.attachment.is_some());
            sessions.get(to).is_some_and(|r| r.has_shown_itself(from))
                || is_attached(from)
                || (stanza.type_() == Some("set") && is_attached(to))
        };
        if known { Ok(true) } else { self.may_see(from, to).await }
    }

    pub(super) fn note_addressed(&self, from: &Jid, to: &Jid) {
        if let Some(resource) = self.sessions().get_mut(from) {
            resource.address(to.bare());
        }
    }

    /// To one device. An attached device's disco is answered here.
    fn pass_iq(&self, stanza: &Stanza, to: &Jid) -> Outcome {
        let kind = |r: &Resource| r.attachment.as_ref().map(|attachment| attachment.kind.clone());
        let kind = self.sessions().get(to).map(kind);
        match kind {
            None => self.bounce(stanza, StanzaError::new(Condition::ServiceUnavailable)),
            Some(Some(kind)) if stanza.type_() == Some("get") => {
                let answer = if stanza.has("query", disco::INFO) {
                    return self.describe_attached(stanza, &kind);
                } else if stanza.has("query", disco::ITEMS) {
                    Some(Element::new("query", disco::ITEMS))
                } else if stanza.has("ping", PING) {
                    None
                } else {
                    return self.bounce(stanza, StanzaError::new(Condition::ServiceUnavailable));
                };
                self.reply(stanza, answer)
            }
            Some(None) if stanza.from().is_some_and(|by| self.is_of_handled_call(stanza, by)) => {
                Outcome::Delivered { sessions: 0, attached: 1 }
            }
            Some(attachment) => {
                if self.send_request(to, stanza) {
                    let attached = usize::from(attachment.is_some());
                    return Outcome::Delivered { sessions: 1 - attached, attached };
                }
                self.bounce(stanza, StanzaError::new(Condition::ResourceConstraint))
            }
        }
    }

    /// Whether whoever is called, or an app that is, has its calls handled on the other side of the bridge.
    fn is_of_handled_call(&self, stanza: &Stanza, from: &Jid) -> bool {
        let is_attached = self.is_attached(from);
        self.0.ports.foreign.takes_call(stanza, is_attached) != CallTaken::No
    }

    /// To a device; a client that is lost before it is written gives it back.
    fn send_request(&self, to: &Jid, stanza: &Stanza) -> bool {
        let outbox = self.sessions().get(to).and_then(|r| r.outbox.clone());
        let bytes = stanza.bytes();
        let Some(outbox) = outbox else { return self.send_bytes(to, &bytes) };
        let parcel = Parcel::new(bytes.clone());
        outbox.send_parcel(bytes, parcel.clone()) && parcel.lost().is_none()
    }

    async fn answer_iq(&self, stanza: &Stanza, from: &Jid, to: &Jid) -> Outcome {
        let own = *to == from.bare();
        let server = to.node().is_none();
        let get = stanza.type_() == Some("get");
        let child = stanza.children().next().map(|(name, ns)| (name.to_owned(), ns.to_owned()));
        let Some((name, namespace)) = child else { return Outcome::Ignored };
        match (name.as_str(), namespace.as_str()) {
            ("query" | "metadata" | "prefs", archive::MAM) if !server => {
                self.answer_archive(stanza).await
            }
            ("query", ROSTER) if own && get => self.roster_get(stanza, from).await,
            ("query", ROSTER) if own => self.roster_set(stanza, from).await,
            // Somebody else's (RFC 6121 section 2.3.3); whether there is an account does not show.
            ("query", ROSTER) if !server => {
                self.bounce(stanza, StanzaError::new(Condition::Forbidden))
            }
            ("blocklist", blocking::BLOCKING) if get && own => {
                self.answer_blocklist(stanza, from).await
            }
            ("block" | "unblock", blocking::BLOCKING) if !get && own => {
                self.change_blocklist(stanza, from).await
            }
            ("query", disco::INFO) if get => self.answer_disco_info(stanza, from, to).await,
            ("query", disco::ITEMS) if get => self.answer_disco_items(stanza, from, to).await,
            ("ping", PING) if get && (server || own) => self.reply(stanza, None),
            ("enable" | "disable", CARBONS) if !get && (own || server) => {
                if let Some(resource) = self.sessions().get_mut(from) {
                    resource.carbons = name == "enable";
                }
                self.reply(stanza, None)
            }
            ("query", REGISTER) if (server || own) && self.place(from) == Place::Account => {
                self.answer_register(stanza, from).await
            }
            ("command", adhoc::COMMANDS) if !get && server => {
                self.handle_command(stanza, from, to).await
            }
            ("query", about::VERSION) if get && server => self.answer_version(stanza),
            ("time", about::TIME) if get && server => self.answer_time(stanza),
            ("verdict", filter::NS) if !get && server => self.answer_verdict(stanza, from).await,
            ("enable" | "disable", push::NS) if own && !get => self.answer_push(stanza, from).await,
            ("services" | "credentials", extdisco::NS) if get && server => {
                self.answer_services(stanza, from)
            }
            ("pubsub", pep::NS | pep::OWNER) if !server => self.pubsub(stanza, from, to).await,
            ("query", private::NS) if own => self.private_storage(stanza, from).await,
            ("vCard", vcard::NS) if !server => self.vcard(stanza, from, to).await,
            _ => self.bounce(stanza, StanzaError::new(Condition::ServiceUnavailable)),
        }
    }

    /// A result for a request.
    pub(super) fn reply(&self, stanza: &Stanza, payload: Option<Element>) -> Outcome {
        let Some(from) = stanza.from() else { return Outcome::Ignored };
        let reply = Element::new("iq", ns::CLIENT)
            .with_attr("type", "result")
            .with_attr_opt("id", stanza.id())
            .with_attr_opt("from", stanza.to().map(Jid::as_str))
            .with_attr("to", from.as_str())
            .with_children(payload);
        self.answer(stanza, from, &reply);
        Outcome::Ignored
    }
}
