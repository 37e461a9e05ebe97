//! Publishing an item (XEP-0060 section 7.1): preconditions, automatic nodes, the commit, and only then the news.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use bytes::Bytes;

use super::access::affiliation;
use super::config::{self, default_config};
use super::{
    Answer, KnownNode, MAX_KEPT, MAX_NAME, NS, Profile, Refusal, is_hidden, node_name, wire,
};
use crate::jid::Jid;
use crate::ports::StoreError;
use crate::ports::pubsub::{Affiliation, Bounds, Item, Kept, Node};
use crate::service::Server;
use crate::service::bookmarks::STORAGE;
use crate::stanza::Condition;
use crate::xml::Element;

/// An item that is to be published.
#[derive(Debug, Clone)]
pub(in crate::service) struct Draft {
    pub(in crate::service) id: String,
    pub(in crate::service) payload: Bytes,
}

impl Draft {
    /// An item with this payload.
    pub(in crate::service) fn new(id: impl Into<String>, payload: &Element) -> Self {
        Self { id: id.into(), payload: wire::free_standing(payload) }
    }
}

impl Server {
    pub(super) async fn publish_request(
        &self,
        from: &Jid,
        owner: &Jid,
        request: &Element,
        verb: &Element,
    ) -> Answer {
        let name = node_name(verb)?;
        if is_hidden(name) {
            return Err(Refusal::new(Condition::Forbidden));
        }
        let draft = self.draft(verb)?;
        let id = draft.id.clone();
        let options = request.child("publish-options", NS);
        if name == STORAGE {
            if from.bare() != *owner {
                return Err(Refusal::new(Condition::Forbidden));
            }
            let storage = verb.elements().next().and_then(|item| item.elements().next());
            let storage = storage.filter(|e| e.is("storage", STORAGE));
            let storage = storage
                .ok_or_else(|| Refusal::because(Condition::BadRequest, "invalid-payload"))?;
            let kept = default_config(STORAGE);
            if let Some(options) = options
                && config::with_options(&kept, options)?.access != kept.access
            {
                return Err(config::not_met());
            }
            self.replace_bookmarks(owner, storage).await?;
        } else {
            let _turn = self.pep_turn(owner).await;
            let node = self.node_to_publish(from, owner, name, options).await?;
            self.check_payload(&node, &draft)?;
            self.publish(owner, &from.bare(), &node, vec![draft]).await?;
        }
        let item = Element::new("item", NS).with_attr("id", id);
        let publish = Element::new("publish", NS).with_attr("node", name).with_child(item);
        Ok(Some(wire::pubsub_of(&publish)))
    }

    /// The one item of a request.
    fn draft(&self, verb: &Element) -> Result<Draft, Refusal> {
        let mut items = verb.elements().filter(|e| e.is("item", NS));
        let item = match (items.next(), items.next()) {
            (Some(item), None) => item,
            (None, _) => return Err(Refusal::because(Condition::BadRequest, "item-required")),
            _ => return Err(Refusal::new(Condition::BadRequest)),
        };
        let id = match item.attr("id").filter(|id| !id.is_empty()) {
            Some(id) if id.len() > MAX_NAME => return Err(Refusal::new(Condition::BadRequest)),
            Some(id) => id.to_owned(),
            None => self.made_up_id(),
        };
        let mut payloads = item.elements();
        let payload = match (payloads.next(), payloads.next()) {
            (Some(payload), None) => wire::free_standing(payload),
            (None, _) => Bytes::new(),
            _ => return Err(Refusal::because(Condition::BadRequest, "invalid-payload")),
        };
        if payload.len() > self.config().pubsub.max_item_bytes {
            return Err(Refusal::because(Condition::NotAcceptable, "payload-too-big"));
        }
        Ok(Draft { id, payload })
    }

    pub(super) fn made_up_id(&self) -> String {
        let random = self.0.ports.accounts.random();
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&random[..15])
    }

    /// A node that keeps or hands out payloads needs one (section 7.1.3.6).
    fn check_payload(&self, node: &Node, draft: &Draft) -> Result<(), Refusal> {
        let config = &node.config;
        if draft.payload.is_empty() && (config.persist || config.deliver_payloads) {
            return Err(Refusal::because(Condition::BadRequest, "payload-required"));
        }
        Ok(())
    }

    /// The node an item goes to, as it is or as it is to be made.
    async fn node_to_publish(
        &self,
        from: &Jid,
        owner: &Jid,
        name: &str,
        options: Option<&Element>,
    ) -> Result<Node, Refusal> {
        let own = from.bare() == *owner;
        let profile = self.profile(owner).await?;
        if let Some(known) = profile.find(name) {
            let publisher = affiliation(&known.node, &from.bare()) == Some(Affiliation::Publisher);
            if !own && !publisher {
                return Err(Refusal::new(Condition::Forbidden));
            }
            let config = &known.node.config;
            let is_met = match options {
                Some(options) => config::with_options(config, options)? == *config,
                None => true,
            };
            return if is_met { Ok(known.node.clone()) } else { Err(config::not_met()) };
        }
        if !own {
            return Err(Refusal::new(Condition::Forbidden));
        }
        self.check_node_count(&profile)?;
        let mut config = default_config(name);
        if let Some(options) = options {
            config = config::with_options(&config, options)?;
        }
        Ok(new_node(name, config))
    }

    pub(super) fn check_node_count(&self, profile: &Profile) -> Result<(), Refusal> {
        if profile.shown().count() >= self.config().pubsub.max_nodes {
            return Err(Refusal::because(Condition::ResourceConstraint, "max-nodes-exceeded"));
        }
        Ok(())
    }

    /// Commits items to a node, which is made when it is not there, and tells who wants to know. For who has the
    /// account's turn.
    pub(in crate::service) async fn publish(
        &self,
        owner: &Jid,
        publisher: &Jid,
        node: &Node,
        drafts: Vec<Draft>,
    ) -> Result<(), Refusal> {
        let stamp = self.0.ports.accounts.stamp();
        let item = |draft: Draft| Item {
            id: draft.id,
            publisher: publisher.as_str().to_owned(),
            stamp: stamp.clone(),
            payload: draft.payload,
        };
        let items: Vec<Item> = drafts.into_iter().map(item).collect();
        if node.config.persist {
            let limits = &self.config().pubsub;
            let most = node.config.max_items.unwrap_or(limits.max_items).min(limits.max_items);
            let bounds = Bounds { items: most, bytes: limits.max_bytes };
            match self.0.ports.pubsub.publish(owner, node, &items, bounds).await? {
                Kept::Yes(_) => {}
                Kept::Full => return Err(Refusal::new(Condition::ResourceConstraint)),
            }
        } else {
            self.0.ports.pubsub.put_node(owner, node).await?;
        }
        let last = OnceLock::new();
        if let Some(item) = items.last() {
            let keeps = item.payload.len() <= MAX_KEPT && node.config.item_expire.is_none();
            if keeps || !node.config.persist {
                let _ = last.set(Some(Arc::new(item.clone())));
            }
        }
        let profile = self.profile(owner).await?;
        self.remember(owner, profile.with(node.clone(), last));
        for item in &items {
            self.notify_item(owner, node, item).await?;
        }
        self.published(owner, &node.name).await?;
        Ok(())
    }

    /// The node of this name, or one that is yet to be made with these settings.
    pub(in crate::service) async fn own_node(
        &self,
        owner: &Jid,
        name: &str,
        config: impl FnOnce() -> crate::ports::pubsub::NodeConfig,
    ) -> Result<Node, StoreError> {
        let profile = self.profile(owner).await?;
        let known: Option<&Arc<KnownNode>> = profile.find(name);
        Ok(known.map_or_else(|| new_node(name, config()), |known| known.node.clone()))
    }
}

pub(super) fn new_node(name: &str, config: crate::ports::pubsub::NodeConfig) -> Node {
    Node {
        name: name.to_owned(),
        config,
        affiliations: Vec::new(),
        subscriptions: Vec::new(),
        pending: Vec::new(),
    }
}
