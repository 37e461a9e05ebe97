//! Making a node without publishing to it (XEP-0060 section 8.1).

use std::sync::OnceLock;

use super::config::{self, default_config};
use super::publish::new_node;
use super::{Answer, NS, Refusal, is_hidden, node_name, wire};
use crate::jid::Jid;
use crate::ports::StoreError;
use crate::ports::pubsub::Node;
use crate::service::Server;
use crate::service::bookmarks::STORAGE;
use crate::stanza::Condition;
use crate::xml::Element;

impl Server {
    pub(super) async fn create_request(
        &self,
        from: &Jid,
        owner: &Jid,
        request: &Element,
        verb: &Element,
    ) -> Answer {
        if from.bare() != *owner {
            return Err(Refusal::new(Condition::Forbidden));
        }
        // One without a name gets one (section 8.1.2).
        let name = match verb.attr("node") {
            None => self.made_up_id(),
            Some(_) => node_name(verb)?.to_owned(),
        };
        if is_hidden(&name) {
            return Err(Refusal::new(Condition::Forbidden));
        }
        let _turn = self.pep_turn(owner).await;
        let profile = self.profile(owner).await?;
        if name == STORAGE || profile.find(&name).is_some() {
            return Err(Refusal::new(Condition::Conflict));
        }
        self.check_node_count(&profile)?;
        let mut settings = default_config(&name);
        if let Some(form) = request.child("configure", NS) {
            settings = config::submitted(&settings, form)?;
        }
        self.save_node(owner, new_node(&name, settings)).await?;
        Ok(Some(wire::pubsub_of(&Element::new("create", NS).with_attr("node", name))))
    }

    /// Commits a node; its items stay. For who has the account's turn.
    pub(super) async fn save_node(&self, owner: &Jid, node: Node) -> Result<(), StoreError> {
        self.0.ports.pubsub.put_node(owner, &node).await?;
        let profile = self.profile(owner).await?;
        // What was published last to a node that keeps nothing is only here.
        let last = OnceLock::new();
        if let Some(known) = profile.find(&node.name)
            && !known.node.config.persist
            && let Some(item) = known.last.get()
        {
            let _ = last.set(item.clone());
        }
        self.remember(owner, profile.with(node, last));
        Ok(())
    }
}
