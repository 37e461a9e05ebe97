//! Subscriptions by request (XEP-0060 sections 6.1, 6.2, 5.6 and 8.8). Presence subscriptions need none.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Answer, EVENT, KnownNode, NS, OWNER, Refusal, is_hidden, node_name, wire};
use crate::jid::Jid;
use crate::ports::StoreError;
use crate::ports::pubsub::{Node, SendLast};
use crate::service::Server;
use crate::stanza::Condition;
use crate::xml::Element;

/// Everybody who subscribed to a node by request, or has asked to.
pub(super) fn list(node: &Node) -> String {
    let entry = |(jid, state): (&Jid, &str)| {
        Element::new("subscription", OWNER)
            .with_attr("jid", jid.as_str())
            .with_attr("subscription", state)
    };
    let list = Element::new("subscriptions", OWNER)
        .with_attr("node", &*node.name)
        .with_children(states(node).map(entry));
    wire::owner_of(&list)
}

fn states(node: &Node) -> impl Iterator<Item = (&Jid, &'static str)> {
    let subscribed = node.subscriptions.iter().map(|jid| (jid, "subscribed"));
    subscribed.chain(node.pending.iter().map(|jid| (jid, "pending")))
}

/// The address a request is about; it must be that of who asks (section 6.1.3.1).
fn subscriber(from: &Jid, verb: &Element) -> Result<Jid, Refusal> {
    let jid = verb.attr("jid").and_then(|jid| Jid::parse(jid).ok());
    match jid {
        Some(jid) if jid == *from || jid == from.bare() => Ok(jid),
        _ => Err(Refusal::because(Condition::BadRequest, "invalid-jid")),
    }
}

fn subscription(node: &str, jid: &Jid, state: &str) -> Element {
    Element::new("subscription", NS)
        .with_attr("node", node)
        .with_attr("jid", jid.as_str())
        .with_attr("subscription", state)
}

impl Server {
    pub(super) async fn subscribe_request(
        &self,
        from: &Jid,
        owner: &Jid,
        verb: &Element,
    ) -> Answer {
        let name = node_name(verb)?;
        let jid = subscriber(from, verb)?;
        let turn = self.pep_turn(owner).await;
        let profile = self.profile(owner).await?;
        let known = profile.find(name).filter(|_| !is_hidden(name));
        let Some(known) = known else { return Err(Refusal::new(Condition::ItemNotFound)) };
        if self.needs_approval(owner, known, from).await? {
            let is_new = self.note_pending_subscription(owner, known, &jid).await?;
            drop(turn);
            if is_new {
                self.ask_for_approval(owner, name, &jid).await;
            }
            return Ok(Some(wire::pubsub_of(&subscription(name, &jid, "pending"))));
        }
        self.check_reader(owner, known, from).await?;
        if !known.node.subscriptions.contains(&jid) {
            if known.node.subscriptions.len() >= self.config().pubsub.max_subscriptions {
                return Err(Refusal::because(Condition::PolicyViolation, "too-many-subscriptions"));
            }
            let mut node = known.node.clone();
            node.subscriptions.push(jid.clone());
            self.save_node(owner, node).await?;
        }
        self.send_last_to_subscriber(owner, known, &jid).await?;
        Ok(Some(wire::pubsub_of(&subscription(name, &jid, "subscribed"))))
    }

    pub(super) async fn unsubscribe_request(
        &self,
        from: &Jid,
        owner: &Jid,
        verb: &Element,
    ) -> Answer {
        let name = node_name(verb)?;
        let jid = subscriber(from, verb)?;
        let _turn = self.pep_turn(owner).await;
        let profile = self.profile(owner).await?;
        let known = profile.find(name).filter(|_| !is_hidden(name));
        let Some(known) = known else { return Err(Refusal::new(Condition::ItemNotFound)) };
        if !states(&known.node).any(|(other, _)| *other == jid) {
            return Err(Refusal::because(Condition::UnexpectedRequest, "not-subscribed"));
        }
        let mut node = known.node.clone();
        node.subscriptions.retain(|other| *other != jid);
        node.pending.retain(|other| *other != jid);
        self.save_node(owner, node).await?;
        Ok(None)
    }

    /// The subscriptions by request of who asks, to all nodes of an account or to one.
    pub(super) async fn subscriptions_request(
        &self,
        from: &Jid,
        owner: &Jid,
        verb: &Element,
    ) -> Answer {
        let profile = self.profile(owner).await?;
        let of_one = verb.attr("node");
        let mut list = Element::new("subscriptions", NS).with_attr_opt("node", of_one);
        for known in profile.shown().filter(|k| of_one.is_none_or(|name| k.node.name == name)) {
            let own = states(&known.node).filter(|(jid, _)| jid.bare() == from.bare());
            for (jid, state) in own {
                list.push(subscription(&known.node.name, jid, state));
            }
        }
        Ok(Some(wire::pubsub_of(&list)))
    }

    /// The owner adds and removes subscribers; they are told (section 8.8.4).
    pub(super) async fn set_subscriptions(
        &self,
        owner: &Jid,
        known: &Arc<KnownNode>,
        verb: &Element,
    ) -> Answer {
        let mut node = known.node.clone();
        let mut told = Vec::new();
        for entry in verb.elements().filter(|e| e.is("subscription", OWNER)) {
            let jid = entry.attr("jid").and_then(|jid| Jid::parse(jid).ok());
            let jid = jid.ok_or_else(|| Refusal::new(Condition::BadRequest))?;
            let state = entry.attr("subscription").unwrap_or_default();
            node.subscriptions.retain(|other| *other != jid);
            node.pending.retain(|other| *other != jid);
            match state {
                "subscribed" => node.subscriptions.push(jid.clone()),
                "none" => {}
                _ => return Err(Refusal::new(Condition::NotAcceptable)),
            }
            told.push((jid, state.to_owned()));
        }
        if node.subscriptions.len() > self.config().pubsub.max_subscriptions {
            return Err(Refusal::because(Condition::PolicyViolation, "too-many-subscriptions"));
        }
        let name = node.name.clone();
        self.save_node(owner, node).await?;
        for (jid, state) in told {
            self.tell_subscriber(owner, &name, &jid, &state);
        }
        Ok(None)
    }

    /// What became of a subscription, for who has it (section 8.8.4).
    pub(super) fn tell_subscriber(&self, owner: &Jid, node: &str, jid: &Jid, state: &str) {
        let news = Element::new("subscription", EVENT)
            .with_attr("node", node)
            .with_attr("jid", jid.as_str())
            .with_attr("subscription", state);
        for to in self.reached(jid, &HashSet::new()) {
            self.send_event(owner, &to, &wire::event_of(&news));
        }
    }

    /// The item published last, for who has just subscribed (section 6.1.7).
    pub(super) async fn send_last_to_subscriber(
        &self,
        owner: &Jid,
        known: &KnownNode,
        jid: &Jid,
    ) -> Result<(), StoreError> {
        if known.node.config.send_last != SendLast::Never {
            for to in self.reached(jid, &HashSet::new()) {
                self.send_last(owner, known, &to).await?;
            }
        }
        Ok(())
    }
}
