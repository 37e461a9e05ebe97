//! `[pubsub]`: bounds of what accounts publish and keep for themselves.

use serde::{Deserialize, Serialize};
use tandem_xmpp::config::PubSubLimits;

/// `[pubsub]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PubSub {
    /// Most nodes of one account.
    pub max_nodes: usize,
    /// Most items of one node.
    pub max_items: u32,
    /// Most bytes of one item.
    pub max_item_bytes: usize,
    /// Most bytes of all items of one account.
    pub max_bytes: u64,
    /// Most subscriptions by request to one node, and most entries in its list of people.
    pub max_subscriptions: usize,
}

impl Default for PubSub {
    fn default() -> Self {
        let limits = PubSubLimits::default();
        Self {
            max_nodes: limits.max_nodes,
            max_items: limits.max_items,
            max_item_bytes: limits.max_item_bytes,
            max_bytes: limits.max_bytes,
            max_subscriptions: limits.max_subscriptions,
        }
    }
}

impl PubSub {
    /// As the XMPP server wants them.
    pub fn limits(&self) -> PubSubLimits {
        PubSubLimits {
            max_nodes: self.max_nodes,
            max_items: self.max_items,
            max_item_bytes: self.max_item_bytes,
            max_bytes: self.max_bytes,
            max_subscriptions: self.max_subscriptions,
        }
    }
}
