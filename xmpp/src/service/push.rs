//! Push (XEP-0357 version 0.4.1), this server's part: app servers are told what a user misses whose devices are away.
//!
//! A device enables a node of its app server; the node is told of each important message that comes while nobody looks:
//! how many there are and from whom, no word of what they say. A call (XEP-0353) is told to every enabled device that is
//! not itself in use, and marked as urgent. What a user has set for a chat (XEP-0492) holds here too; it is about messages, so calls ring all the
//! same.
//!
//! A node has one unanswered notification at most: what comes meanwhile is summed up in the next. Calls do not wait.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::bookmarks::NotificationSetting;
use super::mentions::{Called, mentions};
use super::turns::Turns;
use super::{Outcome, Server};
use crate::jid::Jid;
use crate::ports::{Attention, PushTarget, StoreError};
use crate::router::Place;
use crate::stanza::data_form::{Field, Form, FormKind};
use crate::stanza::{Condition, Stanza, StanzaError};
use crate::xml::{Element, ns};

/// The namespace.
pub(super) const NS: &str = "urn:xmpp:push:0";
const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const OPTIONS: &str = "http://jabber.org/protocol/pubsub#publish-options";
const SUMMARY: &str = "urn:xmpp:push:summary";
const DATA: &str = "jabber:x:data";
/// How app servers learn that a notification must wake the device at once; those that do not know it see one more
/// element.
const PRIORITY: &str = "tigase:push:priority:0";
const JMI: &str = "urn:xmpp:jingle-message:0";
const ENCRYPTION: &str = "urn:xmpp:eme:0";
const MUC_USER: &str = "http://jabber.org/protocol/muc#user";
const DIRECT_INVITE: &str = "jabber:x:conference";

/// Ids of notifications begin with this.
const ID: &str = "push-";
/// Most nodes of one account.
const MAX_TARGETS: usize = 20;
/// Bytes of a node's name and of its publish options.
const MAX_NODE: usize = 1_023;
const MAX_OPTIONS: usize = 4 * 1024;
/// Accounts whose nodes are remembered before the memory is emptied.
const MAX_KNOWN: usize = 50_000;
/// Notifications whose answer is waited for; of older ones it is not known whom they were about.
const MAX_UNANSWERED: usize = 20_000;
/// Messages after which a node that does not answer is tried again.
const MAX_HELD: u32 = 16;

/// How much a message matters to somebody who is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    Usual,
    /// The phone must ring now.
    Urgent,
}

/// What an app server is told.
#[derive(Debug, Clone)]
struct Notice {
    sender: Jid,
    weight: Weight,
}

/// Where a message was said, and what its reader is called there.
#[derive(Clone, Copy)]
struct Chat<'a> {
    address: &'a Jid,
    is_public: bool,
    called: Called<'a>,
}

/// Somebody in a room who does not look.
pub(super) struct Absent {
    pub(super) account: Jid,
    pub(super) nick: String,
    pub(super) occupant: Jid,
    pub(super) occupant_id: String,
}

/// What was said in a room, and who has not seen it.
pub(super) struct Heard {
    pub(super) bytes: Bytes,
    pub(super) away: Vec<Absent>,
    pub(super) is_public: bool,
}

/// A node and how far its notifications have come.
#[derive(Debug, Clone)]
struct Node {
    target: PushTarget,
    unanswered: Option<u64>,
    /// What came since the unanswered one.
    held: u32,
    last: Option<Notice>,
}

#[derive(Default)]
struct Watched {
    nodes: Vec<Node>,
    /// Messages since somebody last looked.
    missed: u32,
}

/// What is remembered of push.
#[derive(Default)]
pub(super) struct PushDesk {
    next: AtomicU64,
    /// Counts changes: what was read before one is not remembered after it.
    changes: AtomicU64,
    turns: Turns,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: HashMap<Jid, Watched>,
    unanswered: HashMap<u64, (Jid, Jid, String)>,
    order: VecDeque<u64>,
}

impl PushDesk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// A client enables or disables a node (sections 5 and 6).
    pub(super) async fn answer_push(&self, stanza: &Stanza, from: &Jid) -> Outcome {
        let (enable, disable) = (stanza.child("enable", NS), stanza.child("disable", NS));
        let Some(request) = enable.as_ref().or(disable.as_ref()) else {
            return self.bounce(stanza, StanzaError::new(Condition::BadRequest));
        };
        let service = match request.attr("jid").map(Jid::parse) {
            Some(Ok(service)) => service,
            Some(Err(_)) => return self.bounce(stanza, StanzaError::new(Condition::JidMalformed)),
            None => return self.bounce(stanza, StanzaError::new(Condition::BadRequest)),
        };
        let owner = from.bare();
        let turn = self.0.push.turns.take([&owner]).await;
        let done = if enable.is_some() {
            match target(request, service, from) {
                Ok(target) => self.enable_push(&owner, &target).await,
                Err(error) => return self.bounce(stanza, error),
            }
        } else {
            self.disable_push(&owner, &service, request.attr("node")).await.map(|()| None)
        };
        drop(turn);
        match done {
            Ok(None) => self.reply(stanza, None),
            Ok(Some(error)) => self.bounce(stanza, error),
            Err(error) => self.store_failed(stanza, &error),
        }
    }

    async fn enable_push(
        &self,
        owner: &Jid,
        target: &PushTarget,
    ) -> Result<Option<StanzaError>, StoreError> {
        // An app server is somebody else's: what is here would only be made to answer questions nobody asked.
        if self.place(&target.service) != Place::Elsewhere {
            return Ok(Some(StanzaError::new(Condition::ItemNotFound)));
        }
        let nodes = self.0.ports.pushes.load(owner).await?;
        let is_known = nodes.iter().any(|t| t.service == target.service && t.node == target.node);
        if nodes.len() >= MAX_TARGETS && !is_known {
            let error = StanzaError::new(Condition::ResourceConstraint);
            return Ok(Some(error.with_text("too many push services are enabled")));
        }
        self.0.ports.pushes.put(owner, target).await?;
        self.forget_nodes(owner);
        Ok(None)
    }

    async fn disable_push(
        &self,
        owner: &Jid,
        service: &Jid,
        node: Option<&str>,
    ) -> Result<(), StoreError> {
        self.0.ports.pushes.remove(owner, service, node).await?;
        self.forget_nodes(owner);
        Ok(())
    }

    /// What is enabled has changed, or the account is gone.
    pub(super) fn forget_nodes(&self, owner: &Jid) {
        self.0.push.changes.fetch_add(1, Ordering::SeqCst);
        self.0.push.state().known.remove(owner);
    }

    /// Tells the app servers of an account of a message that it was sent, if they must know. `active` are the clients
    /// that were looked at before it was delivered: one that has read it and left has no need to be told.
    pub(super) async fn wake(&self, stanza: &Stanza, owner: &Jid, active: &[String]) {
        let Some(weight) = weigh(stanza) else { return };
        let Some(from) = stanza.from() else { return };
        if from.bare() == *owner || self.place(owner) != Place::Account {
            return;
        }
        let called = Called { account: owner, nick: None, occupant: None, occupant_id: None };
        // Of a room elsewhere it is not known whether it is public.
        let is_public = stanza.type_() == Some("groupchat");
        let chat = Chat { address: &from.bare(), is_public, called };
        self.wake_for(active, &Notice { sender: from.clone(), weight }, stanza, chat).await;
    }

    /// Tells the app servers of those in a room who do not look of what was said there.
    pub(super) async fn wake_room(&self, room: &Jid, heard: Heard) {
        let Ok(stanza) = Stanza::parse(heard.bytes) else { return };
        let (Some(weight), Some(from)) = (weigh(&stanza), stanza.from()) else { return };
        for person in heard.away {
            let owner = &person.account;
            let called = Called {
                account: owner,
                nick: Some(&person.nick),
                occupant: Some(&person.occupant),
                occupant_id: Some(&person.occupant_id),
            };
            let chat = Chat { address: room, is_public: heard.is_public, called };
            let active = self.active_resources(owner);
            self.wake_for(&active, &Notice { sender: from.clone(), weight }, &stanza, chat).await;
        }
    }

    /// Whether a device of an account that is away can be woken.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the registrations cannot be read.
    pub async fn can_be_woken(&self, account: &Jid) -> Result<bool, StoreError> {
        self.knows_nodes(&account.bare()).await
    }

    /// Whether somebody is of this server and nobody looks at any of their clients.
    pub(super) fn is_away(&self, account: &Jid) -> bool {
        self.place(account) == Place::Account && self.active_resources(account).is_empty()
    }

    async fn wake_for(&self, active: &[String], notice: &Notice, stanza: &Stanza, chat: Chat<'_>) {
        let owner = chat.called.account;
        match self.knows_nodes(owner).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                return tracing::error!(%error, "push registrations cannot be read");
            }
        }
        if !active.is_empty() && notice.weight == Weight::Usual {
            if let Some(watched) = self.0.push.state().known.get_mut(owner) {
                watched.missed = 0;
            }
            return;
        }
        if notice.weight == Weight::Usual {
            let setting = self.notification_setting(owner, chat.address, chat.is_public).await;
            if !is_wanted(setting, stanza, chat.called) {
                return;
            }
        }
        for (node, missed) in self.due_nodes(owner, notice, active) {
            self.publish_notice(owner, &node, notice, missed);
        }
    }

    /// The nodes that are told now.
    fn due_nodes(&self, owner: &Jid, notice: &Notice, active: &[String]) -> Vec<(PushTarget, u32)> {
        let mut state = self.0.push.state();
        let Some(watched) = state.known.get_mut(owner) else { return Vec::new() };
        watched.missed = watched.missed.saturating_add(1);
        let missed = watched.missed;
        let mut due = Vec::new();
        for node in &mut watched.nodes {
            if node.target.resource.as_ref().is_some_and(|own| active.contains(own)) {
                continue;
            }
            let waits = node.unanswered.is_some() && node.held < MAX_HELD;
            if waits && notice.weight == Weight::Usual {
                node.held += 1;
                node.last = Some(notice.clone());
                continue;
            }
            due.push((node.target.clone(), missed));
        }
        due
    }

    /// Publishes to one node (section 7). An app server that cannot be reached now is tried with the next message.
    fn publish_notice(&self, owner: &Jid, target: &PushTarget, notice: &Notice, missed: u32) {
        let Ok(domain) = Jid::new(None, owner.domain(), None) else { return };
        let number = self.0.push.next.fetch_add(1, Ordering::Relaxed);
        let stanza = publish(&domain, target, notice, missed, &format!("{ID}{number}"));
        let is_sent = self.emit(&domain, &target.service, &stanza.to_bytes());
        let mut state = self.0.push.state();
        if is_sent {
            state.order.push_back(number);
            let about = (owner.clone(), target.service.clone(), target.node.clone());
            state.unanswered.insert(number, about);
            if state.order.len() > MAX_UNANSWERED
                && let Some(oldest) = state.order.pop_front()
            {
                state.unanswered.remove(&oldest);
            }
        }
        let nodes = state.known.get_mut(owner).map(|watched| &mut watched.nodes);
        let found = nodes.into_iter().flatten().find(|node| is_at(node, target));
        if let Some(node) = found {
            node.unanswered = is_sent.then_some(number);
            node.held = 0;
            node.last = None;
        }
    }

    /// An app server answers a notification (section 7.1): one that does not know the node any more is not asked again.
    pub(super) async fn push_answered(&self, stanza: &Stanza) {
        let number = stanza.id().and_then(|id| id.strip_prefix(ID)).and_then(|n| n.parse().ok());
        let (Some(number), Some(from)) = (number, stanza.from()) else { return };
        let about = {
            let mut state = self.0.push.state();
            let is_theirs = state.unanswered.get(&number).is_some_and(|about| about.1 == *from);
            if !is_theirs {
                return;
            }
            state.unanswered.remove(&number)
        };
        let Some((owner, service, node)) = about else { return };
        if is_final(stanza) {
            let turn = self.0.push.turns.take([&owner]).await;
            if let Err(error) = self.disable_push(&owner, &service, Some(&node)).await {
                tracing::error!(%error, "a push node that is gone stays enabled");
            }
            drop(turn);
            tracing::debug!(%service, "a push node is gone");
            return;
        }
        if let Some((target, notice, missed)) = self.next_notice(&owner, &service, &node, number) {
            self.publish_notice(&owner, &target, &notice, missed);
        }
    }

    /// What came while a notification was unanswered, summed up.
    fn next_notice(
        &self,
        owner: &Jid,
        service: &Jid,
        name: &str,
        number: u64,
    ) -> Option<(PushTarget, Notice, u32)> {
        let is_watched = self.active_resources(owner).is_empty();
        let mut state = self.0.push.state();
        let watched = state.known.get_mut(owner)?;
        let missed = watched.missed;
        let found = |n: &&mut Node| n.target.service == *service && n.target.node == name;
        let node = watched.nodes.iter_mut().find(found)?;
        if node.unanswered != Some(number) {
            return None;
        }
        node.unanswered = None;
        node.held = 0;
        let notice = node.last.take().filter(|_| is_watched)?;
        Some((node.target.clone(), notice, missed))
    }

    /// Whether an account has nodes; reads them once.
    async fn knows_nodes(&self, owner: &Jid) -> Result<bool, StoreError> {
        if let Some(watched) = self.0.push.state().known.get(owner) {
            return Ok(!watched.nodes.is_empty());
        }
        let changes = self.0.push.changes.load(Ordering::SeqCst);
        let targets = self.0.ports.pushes.load(owner).await?;
        let has_some = !targets.is_empty();
        let mut state = self.0.push.state();
        if state.known.len() >= MAX_KNOWN {
            state.known.clear();
        }
        if self.0.push.changes.load(Ordering::SeqCst) == changes {
            let node = |target| Node { target, unanswered: None, held: 0, last: None };
            let nodes = targets.into_iter().map(node).collect();
            state.known.entry(owner.clone()).or_insert(Watched { nodes, missed: 0 });
        }
        Ok(has_some)
    }

    /// The resources of an account at which somebody may be looking. Devices behind the bridge have no screen of ours.
    pub(super) fn active_resources(&self, owner: &Jid) -> Vec<String> {
        let sessions = self.sessions();
        let looks = sessions.of(owner).iter().filter(|resource| {
            let attention = resource.outbox.as_ref().map(|outbox| outbox.attention());
            resource.presence.is_some() && attention == Some(Attention::Active)
        });
        looks.filter_map(|r| r.jid.resource().map(str::to_owned)).collect()
    }
}

fn is_at(node: &Node, target: &PushTarget) -> bool {
    node.target.service == target.service && node.target.node == target.node
}

/// XEP-0492 section 3.
fn is_wanted(setting: NotificationSetting, stanza: &Stanza, called: Called<'_>) -> bool {
    match setting {
        NotificationSetting::Never => false,
        NotificationSetting::OnMention => mentions(stanza, called),
        NotificationSetting::Always => true,
    }
}

/// Reads `<enable/>` (section 5).
fn target(request: &Element, service: Jid, from: &Jid) -> Result<PushTarget, StanzaError> {
    let node = request.attr("node").unwrap_or_default();
    if node.len() > MAX_NODE {
        return Err(StanzaError::new(Condition::NotAcceptable).with_text("the node is too long"));
    }
    let form = request.child("x", DATA);
    if let Some(form) = form
        && Form::from_element(form).is_none_or(|form| form.form_type() != Some(OPTIONS))
    {
        return Err(StanzaError::new(Condition::BadRequest).with_text("not publish options"));
    }
    let options = form.map(|form| form.to_bytes_in(""));
    if options.as_ref().is_some_and(|options| options.len() > MAX_OPTIONS) {
        let error = StanzaError::new(Condition::NotAcceptable);
        return Err(error.with_text("the publish options are too long"));
    }
    let resource = from.resource().map(str::to_owned);
    Ok(PushTarget { service, node: node.to_owned(), options, resource })
}

/// What somebody who is away would want to know of at once; `None` for all else.
fn weigh(stanza: &Stanza) -> Option<Weight> {
    if stanza.type_() == Some("error") || stanza.type_() == Some("headline") {
        return None;
    }
    if stanza.has("propose", JMI) {
        return Some(Weight::Urgent);
    }
    let matters = stanza.has("body", ns::CLIENT)
        || stanza.has_ns(ENCRYPTION)
        || stanza.has("retract", JMI)
        || stanza.has("x", DIRECT_INVITE)
        || stanza.child("x", MUC_USER).is_some_and(|x| x.child("invite", MUC_USER).is_some());
    matters.then_some(Weight::Usual)
}

/// The notification (section 7).
fn publish(domain: &Jid, target: &PushTarget, notice: &Notice, missed: u32, id: &str) -> Element {
    let mut form = Form::about(FormKind::Form, SUMMARY);
    form.fields.push(Field::value_of("message-count", missed.to_string()));
    form.fields.push(Field::value_of("last-message-sender", notice.sender.as_str()));
    let mut notification = Element::new("notification", NS).with_child(form.to_element());
    if notice.weight == Weight::Urgent {
        notification.push(Element::new("priority", PRIORITY).with_text("high"));
    }
    let item = Element::new("item", PUBSUB).with_child(notification);
    let publish = Element::new("publish", PUBSUB)
        .with_attr_opt("node", Some(target.node.as_str()).filter(|node| !node.is_empty()))
        .with_child(item);
    let options = target.options.as_ref().and_then(|form| Element::parse(form).ok());
    let options = options.map(|form| Element::new("publish-options", PUBSUB).with_child(form));
    let pubsub = Element::new("pubsub", PUBSUB).with_child(publish).with_children(options);
    Element::new("iq", ns::CLIENT)
        .with_attr("type", "set")
        .with_attr("id", id)
        .with_attr("from", domain.as_str())
        .with_attr("to", target.service.as_str())
        .with_child(pubsub)
}

/// Whether an answer says that the node will never be there again. Others may pass.
fn is_final(stanza: &Stanza) -> bool {
    if stanza.type_() != Some("error") {
        return false;
    }
    let error = stanza.child("error", ns::CLIENT).map(|error| StanzaError::from_element(&error));
    error.is_some_and(|error| matches!(error.condition, Condition::Gone | Condition::ItemNotFound))
}
