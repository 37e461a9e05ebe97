//! Notifications (XEP-0163 section 4.3): who gets them, and how they are sent: by the account, as headlines, with an id.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use super::access::barrier;
use super::{EVENT, KnownNode, item_text, wire};
use crate::jid::Jid;
use crate::ports::StoreError;
use crate::ports::pubsub::{Item, Node};
use crate::service::Server;
use crate::xml::{Element, escape};

impl Server {
    pub(super) async fn notify_item(
        &self,
        owner: &Jid,
        node: &Node,
        item: &Item,
    ) -> Result<(), StoreError> {
        let with_payload = node.config.deliver_payloads;
        let event = wire::items_event(&node.name, |out| item_text(out, item, with_payload));
        self.notify(owner, node, &event).await
    }

    pub(super) async fn notify_retracted(
        &self,
        owner: &Jid,
        node: &Node,
        ids: &[String],
    ) -> Result<(), StoreError> {
        let event = wire::items_event(&node.name, |out| {
            for id in ids {
                out.push_str("<retract");
                wire::attribute(out, "id", id);
                out.push_str("/>");
            }
        });
        self.notify(owner, node, &event).await
    }

    /// Tells that a node is gone, empty, or has new settings.
    pub(super) async fn notify_node(
        &self,
        owner: &Jid,
        node: &Node,
        what: &str,
        inside: Option<Element>,
    ) -> Result<(), StoreError> {
        let what = Element::new(what, EVENT).with_attr("node", &*node.name).with_children(inside);
        self.notify(owner, node, &wire::event_of(&what)).await
    }

    /// Sends an event to everybody who wants it.
    pub(in crate::service) async fn notify(
        &self,
        owner: &Jid,
        node: &Node,
        event: &str,
    ) -> Result<(), StoreError> {
        for to in self.audience(owner, node).await? {
            self.send_event(owner, &to, event);
        }
        Ok(())
    }

    /// One notification; anybody's bounce goes to the account, not to one of its devices.
    pub(in crate::service) fn send_event(&self, owner: &Jid, to: &Jid, event: &str) {
        if self.blocks_now(&to.bare(), owner) {
            return;
        }
        let number = self.0.profiles.notified.fetch_add(1, Ordering::Relaxed);
        let mut out = String::with_capacity(event.len() + 160);
        out.push_str("<message from='");
        escape(&mut out, owner.as_str());
        out.push_str("' to='");
        escape(&mut out, to.as_str());
        out.push_str("' type='headline' id='pep-");
        out.push_str(&number.to_string());
        out.push_str("'>");
        out.push_str(event);
        out.push_str("</message>");
        self.emit(owner, to, &out.into());
    }

    /// Who gets the news of a node: the account's own devices and those of who sees its presence, where they asked for
    /// this node (XEP-0060 section 9.2), and who subscribed by request.
    async fn audience(&self, owner: &Jid, node: &Node) -> Result<Vec<Jid>, StoreError> {
        if super::is_hidden(&node.name) {
            return Ok(Vec::new());
        }
        let wish = wish(&node.name);
        let mut audience = self.interested(owner, &wish);
        let (roster, blocked) = (self.roster(owner).await?, self.blocks_of(owner).await?);
        for contact in roster.items.iter().filter(|item| item.from && !blocked.holds(&item.jid)) {
            if barrier(owner, node, &contact.jid, &roster).is_none() {
                audience.extend(self.interested(&contact.jid, &wish));
            }
        }
        if node.subscriptions.is_empty() {
            return Ok(audience);
        }
        let mut told: HashSet<Jid> = audience.iter().cloned().collect();
        for subscriber in &node.subscriptions {
            let barrier = barrier(owner, node, &subscriber.bare(), &roster);
            if barrier.is_some() || (subscriber.bare() != *owner && blocked.holds(subscriber)) {
                continue;
            }
            for to in self.reached(subscriber, &told) {
                if told.insert(to.clone()) {
                    audience.push(to);
                }
            }
        }
        Ok(audience)
    }

    /// Where a subscription by request leads (XEP-0163 section 4.3.2): to its full address, or to the devices that are
    /// there. Somebody elsewhere of whom no device is known is told at the bare address.
    pub(super) fn reached(&self, subscriber: &Jid, told: &HashSet<Jid>) -> Vec<Jid> {
        if !subscriber.is_bare() {
            return vec![subscriber.clone()];
        }
        if self.is_local(subscriber) {
            let sessions = self.sessions();
            let here = sessions.of(subscriber).iter();
            return here.filter(|r| r.presence.is_some()).map(|r| r.jid.clone()).collect();
        }
        if told.iter().any(|jid| jid.as_bare_str() == subscriber.as_str()) {
            return Vec::new();
        }
        vec![subscriber.clone()]
    }

    /// Forgets the subscriptions of somebody who may no longer read (XEP-0163 section 7.1).
    pub(in crate::service) async fn cancel_subscriptions(
        &self,
        owner: &Jid,
        who: &Jid,
    ) -> Result<(), StoreError> {
        let subscribed = |known: &&std::sync::Arc<KnownNode>| {
            known.node.subscriptions.iter().any(|jid| jid.bare() == *who)
        };
        // Most accounts have no such subscription; then nothing waits here.
        if !self.profile(owner).await?.nodes.iter().any(|known| subscribed(&known)) {
            return Ok(());
        }
        let _turn = self.pep_turn(owner).await;
        let profile = self.profile(owner).await?;
        for known in profile.nodes.iter().filter(subscribed) {
            if !self.may_read(owner, &known.node, who).await? {
                let mut node = known.node.clone();
                node.subscriptions.retain(|jid| jid.bare() != *who);
                self.save_node(owner, node).await?;
            }
        }
        Ok(())
    }
}

/// The feature by which a device asks for the news of a node.
pub(super) fn wish(node: &str) -> String {
    format!("{node}+notify")
}
