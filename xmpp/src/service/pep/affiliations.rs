//! Who is what to a node (XEP-0060 sections 5.7 and 8.9).

use std::sync::Arc;

use super::access::affiliation;
use super::{Answer, KnownNode, NS, OWNER, Refusal, wire};
use crate::jid::Jid;
use crate::ports::pubsub::{Affiliation, Node};
use crate::service::Server;
use crate::stanza::Condition;
use crate::xml::Element;

const WORDS: [(Affiliation, &str); 3] = [
    (Affiliation::Publisher, "publisher"),
    (Affiliation::Member, "member"),
    (Affiliation::Outcast, "outcast"),
];

fn word(affiliation: Affiliation) -> &'static str {
    WORDS.iter().find(|(a, _)| *a == affiliation).map_or("none", |(_, word)| word)
}

/// Everybody on a node's list.
pub(super) fn list(node: &Node) -> String {
    let entry = |(jid, affiliation): &(Jid, Affiliation)| {
        Element::new("affiliation", OWNER)
            .with_attr("jid", jid.as_str())
            .with_attr("affiliation", word(*affiliation))
    };
    let list = Element::new("affiliations", OWNER)
        .with_attr("node", &*node.name)
        .with_children(node.affiliations.iter().map(entry));
    wire::owner_of(&list)
}

impl Server {
    /// What somebody is to the nodes of an account.
    pub(super) async fn affiliations_request(
        &self,
        from: &Jid,
        owner: &Jid,
        verb: &Element,
    ) -> Answer {
        let profile = self.profile(owner).await?;
        let who = from.bare();
        let of_one = verb.attr("node");
        let mut list = Element::new("affiliations", NS).with_attr_opt("node", of_one);
        for known in profile.shown().filter(|k| of_one.is_none_or(|name| k.node.name == name)) {
            let word = match affiliation(&known.node, &who) {
                _ if who == *owner => "owner",
                Some(affiliation) => word(affiliation),
                None => continue,
            };
            let entry = Element::new("affiliation", NS)
                .with_attr("node", &*known.node.name)
                .with_attr("affiliation", word);
            list.push(entry);
        }
        Ok(Some(wire::pubsub_of(&list)))
    }

    pub(super) async fn set_affiliations(
        &self,
        owner: &Jid,
        known: &Arc<KnownNode>,
        verb: &Element,
    ) -> Answer {
        let mut node = known.node.clone();
        for entry in verb.elements().filter(|e| e.is("affiliation", OWNER)) {
            let jid = entry.attr("jid").and_then(|jid| Jid::parse(jid).ok());
            let jid = jid.ok_or_else(|| Refusal::new(Condition::BadRequest))?.bare();
            let wanted = entry.attr("affiliation").unwrap_or_default();
            if jid == *owner && wanted != "owner" {
                // An account always owns what it publishes.
                return Err(Refusal::new(Condition::NotAcceptable));
            }
            if wanted == "publish-only" {
                return Err(Refusal::unsupported("publish-only-affiliation"));
            }
            let affiliation = WORDS.iter().find(|(_, word)| *word == wanted).map(|(a, _)| *a);
            if affiliation.is_none() && wanted != "none" && jid != *owner {
                return Err(Refusal::new(Condition::NotAcceptable));
            }
            node.affiliations.retain(|(other, _)| *other != jid);
            if let Some(affiliation) = affiliation {
                node.affiliations.push((jid.clone(), affiliation));
            }
            if affiliation == Some(Affiliation::Outcast) {
                node.subscriptions.retain(|subscriber| subscriber.bare() != jid);
                node.pending.retain(|subscriber| subscriber.bare() != jid);
            }
        }
        if node.affiliations.len() > self.config().pubsub.max_subscriptions {
            return Err(Refusal::new(Condition::ResourceConstraint));
        }
        self.save_node(owner, node).await?;
        Ok(None)
    }
}
