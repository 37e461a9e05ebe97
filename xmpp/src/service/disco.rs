//! Service discovery (XEP-0030): what the server, an account and an attached device say about themselves.
//!
//! A feature is a line in one of the lists here, put in by whoever serves it; the hashes in stream features and presence
//! follow by themselves (see `caps`).

use super::archive;
use super::attached::DeviceKind;
use super::caps::{CAPS, CAPS2, Identity, Info};
use super::{Outcome, Server, adhoc, extdisco, pep, push};

use crate::jid::Jid;
use crate::router;
use crate::stanza::data_form::{Field, FieldKind, Form, FormKind};
use crate::stanza::{Condition, Stanza, StanzaError};
use crate::xml::Element;

pub(super) const INFO: &str = "http://jabber.org/protocol/disco#info";
pub(super) const ITEMS: &str = "http://jabber.org/protocol/disco#items";
/// Ids of the server's own questions begin with this.
pub(super) const QUESTION: &str = "features-";

/// What the server itself serves.
const SERVER_FEATURES: &[&str] = &[
    INFO,
    ITEMS,
    CAPS,
    CAPS2,
    adhoc::COMMANDS,
    "jabber:iq:register",
    "jabber:iq:roster",
    "jabber:iq:version",
    "urn:xmpp:blocking",
    "urn:xmpp:carbons:2",
    "urn:xmpp:carbons:rules:0",
    "urn:xmpp:message-retract:1",
    "urn:xmpp:message-retract:1#tombstone",
    "urn:xmpp:ping",
    "urn:xmpp:reporting:1",
    "urn:xmpp:time",
    "msgoffline",
];

/// What an account's bare address serves, for its owner and who may see it.
const ACCOUNT_FEATURES: &[&str] = &[INFO, ITEMS, "urn:xmpp:ping", push::NS];

/// Where the server's capabilities can be looked up by humans; clients take it as a name (XEP-0115 section 4).
const SERVER_NODE: &str = "https://tandem.example/server";
const DEVICE_NODE: &str = "https://tandem.example/phone";
/// The form of contact addresses (XEP-0157).
const SERVER_INFO: &str = "http://jabber.org/network/serverinfo";

fn device_info(identity: &(String, String, String), features: &[String]) -> Info {
    let (category, kind, name) = identity;
    let identity = Identity { name: name.clone(), ..Identity::new(category, kind) };
    Info::new(identity, features.iter().map(String::as_str))
}

/// The `<c/>` of attached devices (XEP-0115 section 5.1).
pub(super) fn device_caps(identity: &(String, String, String), features: &[String]) -> Element {
    device_info(identity, features).caps(DEVICE_NODE)
}

impl Server {
    /// The server's capabilities as streams announce them (XEP-0115 section 6.3, XEP-0390 section 5.2): a client that
    /// knows one of these hashes asks nothing.
    pub fn caps(&self) -> Vec<Element> {
        let info = self.server_info();
        vec![info.caps(SERVER_NODE), info.caps2()]
    }

    fn server_info(&self) -> Info {
        let identity = Identity::new("server", "im").named("Tandem");
        let mut info = Info::new(identity, SERVER_FEATURES.iter().copied());
        info.features.extend(self.0.ports.relays.as_ref().map(|_| extdisco::NS.to_owned()));
        info.forms.extend(self.contact_addresses());
        info
    }

    /// Whom to write to about this server (XEP-0157); nothing when no address is set.
    fn contact_addresses(&self) -> Option<Form> {
        let set = self.config().contact_addresses.iter().filter(|(_, uris)| !uris.is_empty());
        let fields = set.map(|(kind, uris)| {
            Field::new(FieldKind::ListMulti, format!("{kind}-addresses")).with_values(uris.clone())
        });
        let mut form = Form::about(FormKind::Result, SERVER_INFO);
        form.fields.extend(fields);
        (form.fields.len() > 1).then_some(form)
    }

    fn account_info(&self) -> Info {
        let identity = Identity::new("account", "registered");
        let mut info =
            Info::new(identity, ACCOUNT_FEATURES.iter().chain(archive::FEATURES).copied());
        pep::describe_account(&mut info);
        info
    }

    /// A question for the server or an account. Of an account only its owner and who may see it learn something (XEP-0030
    /// section 8); to others it is as if there were none.
    pub(super) async fn answer_disco_info(&self, stanza: &Stanza, from: &Jid, to: &Jid) -> Outcome {
        let query = stanza.child("query", INFO);
        let node = query.as_ref().and_then(|q| q.attr("node")).map(str::to_owned);
        if to.node().is_none() {
            if let Some(node) = node.as_deref()
                && let Some(info) = self.command_info(from, node)
            {
                return self.reply(stanza, Some(info.to_element().with_attr("node", node)));
            }
            return self.describe(stanza, &self.server_info(), node.as_deref(), SERVER_NODE);
        }
        if let Some(node) = node.as_deref() {
            let info = self.node_info(from, to, node).await;
            return self.give_element(stanza, info.map(|i| i.to_element().with_attr("node", node)));
        }
        match self.may_see(from, to).await {
            Ok(true) => self.describe(stanza, &self.account_info(), None, ""),
            Ok(false) => self.bounce(stanza, StanzaError::new(Condition::ServiceUnavailable)),
            Err(error) => self.store_failed(stanza, &error),
        }
    }

    /// What is found at the server or an account, under the same rule.
    pub(super) async fn answer_disco_items(
        &self,
        stanza: &Stanza,
        from: &Jid,
        to: &Jid,
    ) -> Outcome {
        let query = stanza.child("query", ITEMS);
        let node = query.as_ref().and_then(|q| q.attr("node")).map(str::to_owned);
        if to.node().is_some() {
            let items = self.account_items(from, to, node.as_deref()).await;
            return self.give_element(stanza, items);
        }
        match node.as_deref() {
            None => self.reply(stanza, Some(self.server_items(to.domain()))),
            Some(adhoc::COMMANDS) => self.reply(stanza, Some(self.command_items(from, to))),
            Some(_) => self.bounce(stanza, StanzaError::new(Condition::ItemNotFound)),
        }
    }

    /// The services beside the server.
    fn server_items(&self, domain: &str) -> Element {
        let files = self.0.ports.uploads.as_ref().map(|_| (router::UPLOADS, "Files"));
        let items = [(router::ROOMS, "Rooms")].into_iter().chain(files).map(|(name, title)| {
            Element::new("item", ITEMS)
                .with_attr("jid", format!("{name}.{domain}"))
                .with_attr("name", title)
        });
        let components = &self.config().components;
        let components = components.iter().map(|c| Element::new("item", ITEMS).with_attr("jid", c));
        Element::new("query", ITEMS).with_children(items).with_children(components)
    }

    /// An attached device's disco is answered here.
    pub(super) fn describe_attached(&self, stanza: &Stanza, kind: &DeviceKind) -> Outcome {
        let query = stanza.child("query", INFO);
        let node = query.as_ref().and_then(|q| q.attr("node"));
        let info = device_info(&kind.identity, &kind.features);
        self.describe(stanza, &info, node, DEVICE_NODE)
    }

    /// The answer to a disco question; the node that was asked for is named in it (XEP-0115 section 6.2). A node that
    /// nothing is known of is none (XEP-0030 section 7).
    pub(super) fn describe(
        &self,
        stanza: &Stanza,
        info: &Info,
        node: Option<&str>,
        caps_node: &str,
    ) -> Outcome {
        if !info.is_at(node, caps_node) {
            return self.bounce(stanza, StanzaError::new(Condition::ItemNotFound));
        }
        self.reply(stanza, Some(info.to_element().with_attr_opt("node", node)))
    }
}
