//! Where what accounts publish is kept (XEP-0060, XEP-0163): nodes with their settings, and their items.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BoxFuture, StoreError};
use crate::jid::Jid;

/// Who may subscribe to a node and read its items (XEP-0060 section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Anybody.
    Open,
    /// Who may see the owner's presence.
    Presence,
    /// Who may see it and is in one of some groups of the owner's roster.
    Roster,
    /// Whose subscription the owner has approved.
    Authorize,
    /// Who is on the node's list.
    Whitelist,
}

/// When the item published last is sent without being asked for (XEP-0060 section 6.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SendLast {
    /// Never.
    Never,
    /// To who subscribes.
    OnSubscription,
    /// To who subscribes and to who comes online.
    OnPresence,
}

/// The settings of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeConfig {
    /// For people.
    pub title: String,
    /// For people, longer.
    pub description: String,
    /// The namespace of its payloads.
    pub payload: String,
    /// Who may read.
    pub access: Access,
    /// The groups that [`Access::Roster`] asks for.
    pub groups: Vec<String>,
    /// Items are kept.
    pub persist: bool,
    /// Most items kept; `None` is as many as the server allows.
    pub max_items: Option<u32>,
    /// When the last item is sent unasked.
    pub send_last: SendLast,
    /// Notifications carry the payload.
    pub deliver_payloads: bool,
    /// Seconds after which an item is no longer there.
    pub item_expire: Option<u64>,
    /// Readers are told of items taken back.
    pub notify_retract: bool,
    /// Readers are told that the node is gone.
    pub notify_delete: bool,
    /// Readers are told of new settings.
    pub notify_config: bool,
}

impl Default for NodeConfig {
    /// What a node of an account has unless its owner says otherwise (XEP-0163 section 5).
    fn default() -> Self {
        Self {
            title: String::new(),
            description: String::new(),
            payload: String::new(),
            access: Access::Presence,
            groups: Vec::new(),
            persist: true,
            max_items: Some(1),
            send_last: SendLast::OnPresence,
            deliver_payloads: true,
            item_expire: None,
            notify_retract: true,
            notify_delete: true,
            notify_config: false,
        }
    }
}

/// What somebody is to a node (XEP-0060 section 4.1). The account is its owner and not listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Affiliation {
    /// May publish and read.
    Publisher,
    /// May read.
    Member,
    /// May do nothing.
    Outcast,
}

/// A node of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name, unique in the account.
    pub name: String,
    /// Its settings.
    pub config: NodeConfig,
    /// Who is more or less to it than their presence subscription says; bare addresses.
    pub affiliations: Vec<(Jid, Affiliation)>,
    /// Who subscribed by request; bare or full addresses.
    pub subscriptions: Vec<Jid>,
    /// Who has asked to, and waits for the owner's approval.
    pub pending: Vec<Jid>,
}

/// One item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Unique in its node.
    pub id: String,
    /// Who published it: a bare address.
    pub publisher: String,
    /// When, by XEP-0082.
    pub stamp: String,
    /// An element that stands for itself: every namespace it uses is declared in it. May be empty.
    pub payload: Bytes,
}

/// Which items are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Those with these ids; what is not there is left out.
    Ids(Vec<String>),
    /// The first so many after this one.
    After(Option<String>, u32),
    /// The last so many before this one.
    Before(Option<String>, u32),
    /// So many from this position on.
    At(u32, u32),
}

/// Some items of a node, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The items.
    pub items: Vec<Item>,
    /// The position of the first of them among all.
    pub first: u32,
    /// How many the node has.
    pub total: u32,
}

/// Bounds that a publication must stay in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most items the node keeps: the oldest go.
    pub items: u32,
    /// Most bytes of payload in all nodes of the account.
    pub bytes: u64,
}

/// What became of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It is committed; these older items had to go.
    Yes(Vec<String>),
    /// The account has no room for it; nothing has changed.
    Full,
}

/// The nodes and items of all accounts. Each change resolves after its commit. Items are ordered by when they were last
/// published, and one older than its node's [`NodeConfig::item_expire`] is not there. Nothing is kept of who has no account:
/// that is an error.
pub trait PubSub: Send + Sync {
    /// All nodes of an account, by name.
    fn nodes<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<Vec<Node>, StoreError>>;
    /// Adds or replaces a node; the items stay.
    fn put_node<'a>(
        &'a self,
        owner: &'a Jid,
        node: &'a Node,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Removes a node and its items.
    fn remove_node<'a>(
        &'a self,
        owner: &'a Jid,
        name: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Adds or replaces items of a node in this order, and the node itself when it is not there; all or nothing.
    fn publish<'a>(
        &'a self,
        owner: &'a Jid,
        node: &'a Node,
        items: &'a [Item],
        bounds: Bounds,
    ) -> BoxFuture<'a, Result<Kept, StoreError>>;
    /// Removes these items, or all; gives the ids of those that were there.
    fn retract<'a>(
        &'a self,
        owner: &'a Jid,
        node: &'a str,
        ids: Option<&'a [String]>,
    ) -> BoxFuture<'a, Result<Vec<String>, StoreError>>;
    /// Reads items. `None` when the one to begin after or before is not there.
    fn items<'a>(
        &'a self,
        owner: &'a Jid,
        node: &'a Node,
        wanted: &'a Wanted,
    ) -> BoxFuture<'a, Result<Option<Page>, StoreError>>;
}
