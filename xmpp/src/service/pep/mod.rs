//! What an account publishes (XEP-0060 on the account itself, XEP-0163; private data by XEP-0223).
//!
//! The nodes of an account are read once and kept as a [`Profile`], which every change replaces: accounts without nodes
//! cost no query. Changes to one account come one after another.

mod access;
mod affiliations;
mod approve;
mod config;
mod create;
mod disco;
mod last;
mod notify;
mod owner;
mod publish;
mod retract;
mod retrieve;
mod subscribe;
mod wire;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub(super) use self::config::default_config;
pub(super) use self::disco::describe_account;
pub(super) use self::publish::Draft;
use self::wire::item_text;
pub(super) use self::wire::whole_event;
use super::avatar::METADATA;
use super::bookmarks::{BOOKMARKS, Settings};
use super::turns::{Turn, Turns};
use super::{Outcome, Server};
use crate::jid::Jid;
use crate::ports::StoreError;
use crate::ports::pubsub::{Item, Node, Wanted};
use crate::stanza::{Condition, Stanza, StanzaError};
use crate::xml::Element;

pub(super) const NS: &str = "http://jabber.org/protocol/pubsub";
pub(super) const OWNER: &str = "http://jabber.org/protocol/pubsub#owner";
const EVENT: &str = "http://jabber.org/protocol/pubsub#event";
const ERRORS: &str = "http://jabber.org/protocol/pubsub#errors";
/// Nodes of the server's own begin so; no client sees them.
const HIDDEN: &str = "tandem:";
/// Longest name of a node and longest id of an item in bytes.
const MAX_NAME: usize = 1_024;
/// Accounts whose nodes are kept in memory.
const MAX_PROFILES: usize = 20_000;
/// Longest payload that is kept in memory as the last one of its node.
const MAX_KEPT: usize = 8 * 1024;

/// The nodes of an account as they were last committed.
#[derive(Default)]
pub(super) struct Profile {
    pub(super) nodes: Vec<Arc<KnownNode>>,
    /// What its bookmarks say about notifications, once somebody has asked (XEP-0492).
    pub(super) settings: OnceLock<Arc<Settings>>,
    /// The hash of its avatar, once somebody has asked (XEP-0153).
    pub(super) avatar: OnceLock<Option<String>>,
}

/// A node, and the item published last once it was needed.
pub(super) struct KnownNode {
    pub(super) node: Node,
    last: OnceLock<Option<Arc<Item>>>,
}

impl Profile {
    /// The node of this name, hidden or not.
    pub(super) fn find(&self, name: &str) -> Option<&Arc<KnownNode>> {
        self.nodes.iter().find(|known| known.node.name == name)
    }

    /// Those that clients may know of.
    fn shown(&self) -> impl Iterator<Item = &Arc<KnownNode>> {
        self.nodes.iter().filter(|known| !is_hidden(&known.node.name))
    }

    /// The same with this node in place of the one of its name.
    fn with(&self, node: Node, last: OnceLock<Option<Arc<Item>>>) -> Self {
        let mut nodes = self.without(&node.name).nodes;
        nodes.push(Arc::new(KnownNode { node, last }));
        Self { nodes, ..Self::default() }
    }

    fn without(&self, name: &str) -> Self {
        let others = self.nodes.iter().filter(|known| known.node.name != name);
        Self { nodes: others.cloned().collect(), ..Self::default() }
    }
}

fn is_hidden(name: &str) -> bool {
    name.starts_with(HIDDEN)
}

/// What is kept in memory of all accounts.
#[derive(Default)]
pub(super) struct Profiles {
    known: Mutex<HashMap<Jid, Arc<Profile>>>,
    /// Counts commits: what was read before one is not remembered after it.
    commits: AtomicU64,
    turns: Turns,
    /// Names notifications.
    notified: AtomicU64,
}

impl Profiles {
    fn lock(&self) -> MutexGuard<'_, HashMap<Jid, Arc<Profile>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a request is refused.
#[derive(Debug)]
pub(super) enum Refusal {
    Fault(StanzaError),
    Store(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Refusal {
    pub(super) fn new(condition: Condition) -> Self {
        Self::Fault(StanzaError::new(condition))
    }

    /// With a condition of XEP-0060 section 16.5 beside the general one.
    fn because(condition: Condition, detail: &str) -> Self {
        Self::Fault(StanzaError::new(condition).with_detail(Element::new(detail, ERRORS)))
    }

    /// A part of the specification that is left out here.
    fn unsupported(feature: &str) -> Self {
        let detail = Element::new("unsupported", ERRORS).with_attr("feature", feature);
        Self::Fault(StanzaError::new(Condition::FeatureNotImplemented).with_detail(detail))
    }
}

/// The text inside a result, or why there is none.
pub(super) type Answer = Result<Option<String>, Refusal>;

impl Server {
    /// A request to the publish-subscribe service that each account is.
    pub(super) async fn pubsub(&self, stanza: &Stanza, from: &Jid, to: &Jid) -> Outcome {
        let answer = self.answer_pubsub(stanza, from, to).await;
        self.give(stanza, answer)
    }

    /// Sends an answer to who asked.
    pub(super) fn give(&self, stanza: &Stanza, answer: Answer) -> Outcome {
        match answer {
            Ok(payload) => {
                self.reply_text(stanza, payload.as_deref().unwrap_or_default());
                Outcome::Ignored
            }
            Err(Refusal::Store(error)) => self.store_failed(stanza, &error),
            Err(Refusal::Fault(error)) => self.bounce(stanza, error),
        }
    }

    /// As [`Server::give`], with an element.
    pub(super) fn give_element(
        &self,
        stanza: &Stanza,
        answer: Result<Element, Refusal>,
    ) -> Outcome {
        match answer {
            Ok(payload) => self.reply(stanza, Some(payload)),
            Err(refusal) => self.give(stanza, Err(refusal)),
        }
    }

    /// Waits until nobody else changes what an account publishes.
    pub(super) async fn pep_turn(&self, owner: &Jid) -> Turn<'_> {
        self.0.profiles.turns.take([owner]).await
    }

    /// A commit has changed the items of a node: what else is made of them follows.
    async fn published(&self, owner: &Jid, node: &str) -> Result<(), StoreError> {
        match node {
            BOOKMARKS => self.show_old_bookmarks(owner).await,
            METADATA => self.show_avatar(owner).await,
            _ => Ok(()),
        }
    }

    async fn answer_pubsub(&self, stanza: &Stanza, from: &Jid, to: &Jid) -> Answer {
        if *to != from.bare() && !self.0.ports.accounts.exists(to).await? {
            return Err(Refusal::new(Condition::ServiceUnavailable));
        }
        let malformed = || Refusal::new(Condition::BadRequest);
        let element = stanza.element().map_err(|_| malformed())?;
        let request = element.elements().next().ok_or_else(malformed)?;
        let verb = request.elements().next().ok_or_else(malformed)?;
        let set = stanza.type_() == Some("set");
        if request.ns() == OWNER {
            return self.answer_owner(from, to, set, verb).await;
        }
        match (verb.name(), set) {
            ("publish", true) => self.publish_request(from, to, request, verb).await,
            ("retract", true) => self.retract_request(from, to, verb).await,
            ("create", true) => self.create_request(from, to, request, verb).await,
            ("subscribe", true) => self.subscribe_request(from, to, verb).await,
            ("unsubscribe", true) => self.unsubscribe_request(from, to, verb).await,
            ("items", false) => self.items_request(from, to, request, verb).await,
            ("subscriptions", false) => self.subscriptions_request(from, to, verb).await,
            ("affiliations", false) => self.affiliations_request(from, to, verb).await,
            ("options", _) => Err(Refusal::unsupported("subscription-options")),
            ("default", _) => Err(Refusal::unsupported("retrieve-default-sub")),
            _ => Err(Refusal::new(Condition::FeatureNotImplemented)),
        }
    }

    /// The nodes of an account here.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub(super) async fn profile(&self, owner: &Jid) -> Result<Arc<Profile>, StoreError> {
        if let Some(profile) = self.0.profiles.lock().get(owner).cloned() {
            return Ok(profile);
        }
        let commits = self.0.profiles.commits.load(Ordering::SeqCst);
        let nodes = self.0.ports.pubsub.nodes(owner).await?;
        let nodes = nodes.into_iter().map(|node| KnownNode { node, last: OnceLock::new() });
        let profile = Profile { nodes: nodes.map(Arc::new).collect(), ..Profile::default() };
        let profile = Arc::new(profile);
        self.make_room();
        let mut known = self.0.profiles.lock();
        if self.0.profiles.commits.load(Ordering::SeqCst) == commits {
            known.insert(owner.clone(), profile.clone());
        }
        drop(known);
        Ok(profile)
    }

    /// Forgets the nodes of absent accounts when there are too many; of all, when all are here.
    fn make_room(&self) {
        if self.0.profiles.lock().len() < MAX_PROFILES {
            return;
        }
        let online: std::collections::HashSet<Jid> = self.sessions().accounts().cloned().collect();
        let mut known = self.0.profiles.lock();
        known.retain(|owner, _| online.contains(owner));
        if known.len() >= MAX_PROFILES {
            known.clear();
        }
    }

    /// A commit changed an account's nodes; done with its turn held.
    fn remember(&self, owner: &Jid, profile: Profile) {
        self.make_room();
        let mut known = self.0.profiles.lock();
        self.0.profiles.commits.fetch_add(1, Ordering::SeqCst);
        known.insert(owner.clone(), Arc::new(profile));
    }

    /// Drops what is kept in memory of an account that has been removed.
    pub(super) async fn forget_profile(&self, owner: &Jid) {
        // Whoever is still publishing for it has come to an end, and finds no account from now on.
        let _turn = self.pep_turn(owner).await;
        let mut known = self.0.profiles.lock();
        self.0.profiles.commits.fetch_add(1, Ordering::SeqCst);
        known.remove(owner);
    }

    /// The item published last to a node.
    pub(super) async fn last_item(
        &self,
        owner: &Jid,
        known: &KnownNode,
    ) -> Result<Option<Arc<Item>>, StoreError> {
        if let Some(last) = known.last.get() {
            return Ok(last.clone());
        }
        let page = self.0.ports.pubsub.items(owner, &known.node, &Wanted::Before(None, 1)).await?;
        let last = page.and_then(|mut page| page.items.pop()).map(Arc::new);
        let is_small = last.as_ref().is_none_or(|item| item.payload.len() <= MAX_KEPT);
        if is_small && known.node.config.item_expire.is_none() {
            let _ = known.last.set(last.clone());
        }
        Ok(last)
    }

    /// A result with this text inside.
    pub(super) fn reply_text(&self, stanza: &Stanza, payload: &str) {
        let Some(to) = stanza.from() else { return };
        let from = stanza.to().cloned().unwrap_or_else(|| to.bare());
        let mut out = String::with_capacity(payload.len() + 200);
        out.push_str("<iq type='result'");
        if let Some(id) = stanza.id() {
            wire::attribute(&mut out, "id", id);
        }
        if let Some(from) = stanza.to() {
            wire::attribute(&mut out, "from", from.as_str());
        }
        wire::attribute(&mut out, "to", to.as_str());
        if payload.is_empty() {
            out.push_str("/>");
        } else {
            out.push('>');
            out.push_str(payload);
            out.push_str("</iq>");
        }
        self.emit(&from, to, &out.into());
    }
}

/// The name of the node a verb is about.
fn node_name(verb: &Element) -> Result<&str, Refusal> {
    match verb.attr("node").filter(|name| !name.is_empty()) {
        None => Err(Refusal::because(Condition::BadRequest, "nodeid-required")),
        Some(name) if name.len() > MAX_NAME => Err(Refusal::new(Condition::NotAcceptable)),
        Some(name) => Ok(name),
    }
}
