//! What an account says it can do and what nodes it has (XEP-0163 section 6, XEP-0060 section 5).

use std::sync::Arc;

use super::config::meta_data;
use super::{KnownNode, NS, Refusal, is_hidden};
use crate::jid::Jid;
use crate::ports::pubsub::Wanted;
use crate::service::Server;
use crate::service::caps::{Identity, Info};
use crate::service::disco::ITEMS;
use crate::stanza::Condition;
use crate::xml::Element;

/// What is served of XEP-0060, each as `http://jabber.org/protocol/pubsub#…`.
const PARTS: &[&str] = &[
    "access-authorize",
    "access-open",
    "access-presence",
    "access-roster",
    "access-whitelist",
    "auto-create",
    "auto-subscribe",
    "config-node",
    "config-node-max",
    "create-and-configure",
    "create-nodes",
    "delete-items",
    "delete-nodes",
    "filtered-notifications",
    "instant-nodes",
    "item-ids",
    "last-published",
    "manage-subscriptions",
    "member-affiliation",
    "meta-data",
    "modify-affiliations",
    "multi-items",
    "outcast-affiliation",
    "pep",
    "persistent-items",
    "presence-notifications",
    "presence-subscribe",
    "publish",
    "publish-options",
    "publisher-affiliation",
    "pubsub-on-a-jid",
    "purge-nodes",
    "retract-items",
    "retrieve-affiliations",
    "retrieve-default",
    "retrieve-items",
    "retrieve-subscriptions",
    "rsm",
    "subscribe",
];

/// What else an account is known for here.
const OTHERS: &[&str] = &[
    NS,
    "http://jabber.org/protocol/rsm",
    "vcard-temp",
    "urn:xmpp:bookmarks:1#compat",
    "urn:xmpp:bookmarks:1#compat-pep",
    "urn:xmpp:pep-vcard-conversion:0",
];

/// Adds the publish-subscribe part to an account's description.
pub(in crate::service) fn describe_account(info: &mut Info) {
    info.identities.push(Identity::new("pubsub", "pep"));
    info.features.extend(OTHERS.iter().map(|f| (*f).to_owned()));
    info.features.extend(PARTS.iter().map(|part| format!("{NS}#{part}")));
}

impl Server {
    /// A node's description, for who may read it.
    pub(in crate::service) async fn node_info(
        &self,
        from: &Jid,
        owner: &Jid,
        name: &str,
    ) -> Result<Info, Refusal> {
        let known = self.node_for(from, owner, name).await?;
        let node = &known.node;
        let identity =
            Identity { name: node.config.title.clone(), ..Identity::new("pubsub", "leaf") };
        let mut info = Info::new(identity, [NS]);
        info.forms.push(meta_data(&node.config, owner.as_str(), node.subscriptions.len()));
        Ok(info)
    }

    /// The nodes that somebody may read, or the items of one.
    pub(in crate::service) async fn account_items(
        &self,
        from: &Jid,
        owner: &Jid,
        node: Option<&str>,
    ) -> Result<Element, Refusal> {
        let profile = self.profile(owner).await?;
        let mut query = Element::new("query", ITEMS).with_attr_opt("node", node);
        let entry = || Element::new("item", ITEMS).with_attr("jid", owner.as_str());
        if let Some(name) = node {
            let known = self.node_for(from, owner, name).await?;
            let most = self.config().pubsub.max_items;
            let wanted = Wanted::Before(None, most);
            let page = self.0.ports.pubsub.items(owner, &known.node, &wanted).await?;
            for item in page.unwrap_or_default().items {
                query.push(entry().with_attr("name", item.id));
            }
            return Ok(query);
        }
        for known in profile.shown() {
            if self.shows(owner, known, from).await? {
                let title = Some(&*known.node.config.title).filter(|title| !title.is_empty());
                let entry = entry().with_attr("node", &*known.node.name);
                query.push(entry.with_attr_opt("name", title));
            }
        }
        if query.elements().next().is_none() && !self.may_see(from, owner).await? {
            return Err(Refusal::new(Condition::ServiceUnavailable));
        }
        Ok(query)
    }

    /// A node that somebody may read. To strangers, what they may not read looks like no account (XEP-0030 section 8).
    async fn node_for(
        &self,
        from: &Jid,
        owner: &Jid,
        name: &str,
    ) -> Result<Arc<KnownNode>, Refusal> {
        let profile = self.profile(owner).await?;
        let known = profile.find(name).filter(|_| !is_hidden(name)).cloned();
        let answer = match known {
            Some(known) => self.check_reader(owner, &known, from).await.map(|()| known),
            None => Err(Refusal::new(Condition::ItemNotFound)),
        };
        if matches!(answer, Err(Refusal::Fault(_))) && !self.may_see(from, owner).await? {
            return Err(Refusal::new(Condition::ServiceUnavailable));
        }
        answer
    }

    async fn shows(&self, owner: &Jid, known: &KnownNode, from: &Jid) -> Result<bool, Refusal> {
        Ok(self.may_read(owner, &known.node, &from.bare()).await?)
    }
}
