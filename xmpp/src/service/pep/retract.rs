//! Taking an item back (XEP-0060 section 7.2).

use super::access::affiliation;
use super::{Answer, NS, Refusal, is_hidden, node_name};
use crate::jid::Jid;
use crate::ports::StoreError;
use crate::ports::pubsub::{Affiliation, Node};
use crate::service::Server;
use crate::service::bookmarks::STORAGE;
use crate::stanza::Condition;
use crate::xml::Element;

/// Most items one request takes back.
const MAX_AT_ONCE: usize = 1_000;

impl Server {
    pub(super) async fn retract_request(&self, from: &Jid, owner: &Jid, verb: &Element) -> Answer {
        let name = node_name(verb)?;
        let items = verb.elements().filter(|e| e.is("item", NS));
        let ids: Option<Vec<String>> = items.map(|e| e.attr("id").map(str::to_owned)).collect();
        let ids = ids
            .filter(|ids| !ids.is_empty() && ids.len() <= MAX_AT_ONCE)
            .ok_or_else(|| Refusal::because(Condition::BadRequest, "item-required"))?;
        let own = from.bare() == *owner;
        if name == STORAGE && own {
            let nothing = Element::new("storage", STORAGE);
            self.replace_bookmarks(owner, &nothing).await?;
            return Ok(None);
        }
        let _turn = self.pep_turn(owner).await;
        let profile = self.profile(owner).await?;
        let known = profile.find(name).filter(|_| !is_hidden(name));
        let Some(known) = known else { return Err(Refusal::new(Condition::ItemNotFound)) };
        if !own && affiliation(&known.node, &from.bare()) != Some(Affiliation::Publisher) {
            return Err(Refusal::new(Condition::Forbidden));
        }
        if !known.node.config.persist {
            return Err(Refusal::unsupported("persistent-items"));
        }
        let notify = matches!(verb.attr("notify"), Some("1" | "true"));
        let gone = self.retract(owner, &known.node, &ids, notify).await?;
        if gone.is_empty() {
            return Err(Refusal::new(Condition::ItemNotFound));
        }
        Ok(None)
    }

    /// Removes items and tells who wants to know. For who has the account's turn. Gives the ids that were there.
    pub(in crate::service) async fn retract(
        &self,
        owner: &Jid,
        node: &Node,
        ids: &[String],
        notify: bool,
    ) -> Result<Vec<String>, StoreError> {
        let gone = self.0.ports.pubsub.retract(owner, &node.name, Some(ids)).await?;
        if gone.is_empty() {
            return Ok(gone);
        }
        let profile = self.profile(owner).await?;
        self.remember(owner, profile.with(node.clone(), std::sync::OnceLock::new()));
        if notify || node.config.notify_retract {
            self.notify_retracted(owner, node, &gone).await?;
        }
        self.published(owner, &node.name).await?;
        Ok(gone)
    }
}
