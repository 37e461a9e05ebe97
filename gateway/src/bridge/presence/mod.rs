//! What phones watch, told out of the XMPP side (RFC 8048, RFC 3856, RFC 3857, RFC 3842, RFC 4235, RFC 4662), and what
//! they publish, shown there.
//!
//! One task owns the watchers' dialogs. A phone that watches a contact gets that contact's state only while the
//! contact's roster lets it (`from` or `both`); until then its dialog is `pending` and the contact sees an ordinary
//! XMPP subscription request, once. State is sent whole; the SIP server keeps the distance between two NOTIFYs.
//!
//! `state` makes the documents, `lines` knows the calls, `published` what phones say of themselves, `foreign` and
//! `abroad` watch contacts of other SIP domains.

mod abroad;
mod foreign;
mod lines;
mod published;
mod queue;
mod state;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tandem_sip::SipHandle;
use tandem_sip::ports::{
    Package, Publication, PublicationId, Subscription, SubscriptionId, SubscriptionState,
    WatchEvent, WatchId,
};
use tandem_xmpp::Server;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::Stanza;
use tandem_xmpp::xml::Element;

use self::abroad::Abroad;
pub use self::abroad::{NoRoutes, Routes};
pub use self::lines::CallNews;
use self::lines::Lines;
use self::published::Published;
pub use self::queue::Line;
use super::contacts::Contacts;
use super::identity;
use super::pidf_read::Document as Pidf;
use crate::store::Store;

/// Most watching dialogs of one program; more are refused with 503 by the port.
pub const MAX_WATCHERS: usize = 100_000;
/// Contacts that one account's phones may ask in a minute; further ones are asked when the phone refreshes.
const ASKS_PER_MINUTE: usize = 10;
/// Events that are worked on before others have their turn.
const TURN: u32 = 32;
const MINUTE: Duration = Duration::from_secs(60);
/// Refusals that are remembered, so that a phone that is restarted does not ask again and again.
const MAX_REFUSALS: usize = 10_000;

/// What the presence task is told.
#[derive(Debug)]
pub enum Event {
    /// A phone watches, or refreshes.
    Subscribed(Subscription),
    /// A watching dialog ended.
    Ended(SubscriptionId),
    /// Something about the account's presence changed.
    Changed(Jid),
    /// `owner` gave or took `contact`'s permission to see it.
    Permission {
        /// Whose presence it is.
        owner: Jid,
        /// Who may or may not see it.
        contact: Jid,
        /// The new state.
        may_see: bool,
    },
    /// Somebody asked to see the account, or was answered.
    Requests(Jid),
    /// What waits for the account changed.
    Waiting(Jid),
    /// A call goes on.
    Call(CallNews),
    /// A phone says how its user can be reached.
    Published(Box<(Publication, Pidf)>),
    /// What a phone said is over.
    Unpublished(PublicationId),
    /// A user's presence stanza for a contact beyond this server that is reached over SIP.
    Abroad(Box<Stanza>),
    /// Something was heard about a contact that we watch.
    Watched(WatchId, WatchEvent),
}

/// One dialog of a phone that watches.
struct Watcher {
    package: Package,
    watcher: Jid,
    target: Jid,
    is_list: bool,
    /// It may see.
    is_active: bool,
    /// Its request is among those the target has not answered.
    is_asking: bool,
    /// Whose changes it is told.
    follows: Vec<Jid>,
}

/// The task's state.
pub struct PresenceDesk {
    xmpp: Server,
    sip: SipHandle,
    contacts: Contacts,
    store: Store,
    watchers: HashMap<SubscriptionId, Watcher>,
    by_target: HashMap<Jid, Vec<SubscriptionId>>,
    lines: Lines,
    published: Published,
    /// By owner and watcher: who asked, and went before it was answered (RFC 3857 section 4.7.1).
    waiting: HashSet<(Jid, Jid)>,
    /// By watcher and target: who was refused and need not ask again.
    refused: HashSet<(Jid, Jid)>,
    asked: HashMap<Jid, VecDeque<Instant>>,
    routes: Arc<dyn Routes>,
    abroad: Abroad,
}

impl PresenceDesk {
    /// A desk without watchers.
    pub fn new(
        xmpp: Server,
        sip: SipHandle,
        contacts: Contacts,
        store: Store,
        routes: Arc<dyn Routes>,
    ) -> Self {
        Self {
            xmpp,
            sip,
            contacts,
            store,
            watchers: HashMap::new(),
            by_target: HashMap::new(),
            lines: Lines::default(),
            published: Published::default(),
            waiting: HashSet::new(),
            refused: HashSet::new(),
            asked: HashMap::new(),
            routes,
            abroad: Abroad::default(),
        }
    }

    /// Serves events until told to stop; then tells every watcher to come back (`deactivated`).
    pub async fn run(mut self, events: Line) {
        let mut turns = 0_u32;
        let done = loop {
            let due = self.abroad.due;
            tokio::select! {
                event = events.next() => match event {
                    Ok(event) => self.handle(event).await,
                    Err(done) => break done,
                },
                () = sleep_until(due) => self.abroad_due(Instant::now()).await,
            }
            turns = turns.wrapping_add(1);
            if turns.is_multiple_of(TURN) {
                // Whoever reads the sockets is on this thread too.
                tokio::task::yield_now().await;
            }
        };
        for id in self.watchers.into_keys() {
            let state = SubscriptionState::Terminated("deactivated".into());
            self.sip.notify(id, state, None);
        }
        let _ = done.send(());
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Subscribed(subscription) => self.subscribed(subscription).await,
            Event::Ended(id) => self.ended(id).await,
            Event::Changed(account) => {
                self.changed(&account.bare(), Package::Presence).await;
                self.moved(&account.bare(), Instant::now()).await;
            }
            Event::Abroad(stanza) => self.went_abroad(&stanza, Instant::now()).await,
            Event::Watched(id, event) => self.heard(id, event, Instant::now()).await,
            Event::Permission { owner, contact, may_see } => {
                self.permission(&owner.bare(), &contact.bare(), may_see).await;
            }
            Event::Requests(owner) => self.requests(&owner.bare()).await,
            Event::Waiting(account) => {
                self.changed(&account.bare(), Package::MessageSummary).await;
            }
            Event::Call(news) => {
                for account in self.lines.take(&news) {
                    self.changed(&account, Package::Dialog).await;
                    self.lines.forget_over(&account);
                }
            }
            Event::Published(said) => {
                let (publication, document) = *said;
                let device = self.published.take(&publication, document);
                self.show(device).await;
            }
            Event::Unpublished(id) => {
                let device = self.published.remove(id);
                self.show(device).await;
            }
        }
    }

    /// Shows a device as its phone says it is.
    async fn show(&self, device: Option<Jid>) {
        if let Some(device) = device {
            let look = self.published.look(&device);
            self.contacts.set_look(&self.xmpp, &device, look).await;
        }
    }

    async fn subscribed(&mut self, subscription: Subscription) {
        let id = subscription.id;
        let (Ok(watcher), Ok(target)) =
            (super::account(&subscription.watcher), identity::sip_to_jid(&subscription.target))
        else {
            let state = SubscriptionState::Terminated("noresource".into());
            return self.sip.notify(id, state, None);
        };
        let target = target.bare();
        let is_list = subscription.is_list;
        let may_see = is_list || self.xmpp.may_see(&watcher, &target).await.unwrap_or(false);
        let is_asking = !may_see && self.is_asking(&watcher, &target).await;
        let before = self.watchers.get(&id);
        let is_known = before.is_some();
        if !is_known && self.watchers.len() >= MAX_WATCHERS {
            let state = SubscriptionState::Terminated("probation".into());
            return self.sip.notify(id, state, None);
        }
        let entry = Watcher {
            package: subscription.package,
            watcher: watcher.clone(),
            target: target.clone(),
            is_list,
            is_active: may_see,
            is_asking,
            follows: before.map(|before| before.follows.clone()).unwrap_or_default(),
        };
        self.watchers.insert(id, entry);
        if !is_known {
            self.follow(id, vec![target.clone()]);
        }
        let leaves = subscription.expires.is_zero() && !subscription.initial;
        if leaves && subscription.package == Package::Presence && !is_list {
            // Who leaves sees nobody any more (RFC 8048 section 5.3.3).
            let closed = self.pidf(&target, &[]);
            self.sip.notify(id, SubscriptionState::Active, Some(closed));
        } else if may_see {
            self.send_state(id).await;
        } else {
            self.sip.notify(id, SubscriptionState::Pending, None);
            // A look asks for nothing that lasts (RFC 8048 section 7), and a lamp for nothing at all.
            if !subscription.expires.is_zero() && subscription.package == Package::Presence {
                self.ask(&watcher, &target).await;
            }
        }
        if subscription.expires.is_zero() {
            self.ended(id).await;
        } else if !may_see && self.waiting.remove(&(target.clone(), watcher.bare())) {
            // It is back, and its request is as it was.
            self.changed(&target, Package::PresenceWinfo).await;
        }
    }

    /// The contact sees an ordinary subscription request from the watching account: once, whatever the phone repeats.
    async fn ask(&mut self, watcher: &Jid, target: &Jid) {
        let pair = (watcher.bare(), target.clone());
        let Ok(roster) = self.xmpp.contacts(watcher).await else { return };
        let has_asked = roster.item(target).is_some_and(|item| item.ask || item.to);
        if has_asked || self.refused.contains(&pair) || !self.may_ask(watcher) {
            return;
        }
        let request = Element::new("presence", "jabber:client")
            .with_attr("from", watcher.bare().as_str())
            .with_attr("to", target.as_str())
            .with_attr("type", "subscribe");
        self.xmpp.inject(request).await;
    }

    /// Whether one has asked to see the other and was not answered.
    async fn is_asking(&self, watcher: &Jid, target: &Jid) -> bool {
        let roster = self.xmpp.contacts(target).await.ok();
        roster.is_some_and(|roster| roster.pending_in.contains(&watcher.bare()))
    }

    /// Counts what an account's phones ask of others.
    fn may_ask(&mut self, watcher: &Jid) -> bool {
        let now = Instant::now();
        self.asked.retain(|_, times| times.back().is_some_and(|at| now - *at < MINUTE));
        let times = self.asked.entry(watcher.bare()).or_default();
        times.retain(|at| now - *at < MINUTE);
        if times.len() >= ASKS_PER_MINUTE {
            return false;
        }
        times.push_back(now);
        true
    }

    /// Tells the watchers of one package of an account, and the lists it is in.
    async fn changed(&mut self, account: &Jid, package: Package) {
        for id in self.by_target.get(account).cloned().unwrap_or_default() {
            let watcher = self.watchers.get(&id);
            if watcher.is_some_and(|watcher| watcher.is_active && watcher.package == package) {
                self.send_state(id).await;
            }
        }
    }

    async fn permission(&mut self, owner: &Jid, contact: &Jid, may_see: bool) {
        let pair = (contact.clone(), owner.clone());
        if may_see {
            self.refused.remove(&pair);
        } else {
            self.note_refusal(pair);
        }
        self.waiting.remove(&(owner.clone(), contact.clone()));
        for id in self.by_target.get(owner).cloned().unwrap_or_default() {
            let Some(watcher) = self.watchers.get_mut(&id) else { continue };
            if watcher.watcher.bare() != *contact || watcher.is_list {
                continue;
            }
            if may_see {
                watcher.is_active = true;
                self.send_state(id).await;
            } else {
                self.reject(id);
            }
        }
        self.changed(owner, Package::PresenceWinfo).await;
        // The lists of who may see one more, or one less.
        let lists: Vec<SubscriptionId> = self
            .watchers
            .iter()
            .filter(|(_, watcher)| watcher.is_list && watcher.watcher.bare() == *contact)
            .map(|(id, _)| *id)
            .collect();
        for id in lists {
            self.send_state(id).await;
        }
    }

    /// Requests to see `owner` came or were answered: whoever asked and is neither let nor waiting was refused.
    async fn requests(&mut self, owner: &Jid) {
        let Ok(roster) = self.xmpp.contacts(owner).await else { return };
        for id in self.by_target.get(owner).cloned().unwrap_or_default() {
            let Some(watcher) = self.watchers.get_mut(&id) else { continue };
            if watcher.is_active || watcher.is_list {
                continue;
            }
            let contact = watcher.watcher.bare();
            let is_asking = roster.pending_in.contains(&contact);
            let was_asking = std::mem::replace(&mut watcher.is_asking, is_asking);
            if was_asking && !is_asking && !roster.item(&contact).is_some_and(|item| item.from) {
                self.note_refusal((contact, owner.clone()));
                self.reject(id);
            }
        }
        self.changed(owner, Package::PresenceWinfo).await;
    }

    fn note_refusal(&mut self, pair: (Jid, Jid)) {
        if self.refused.len() < MAX_REFUSALS {
            self.refused.insert(pair);
        }
    }

    fn reject(&mut self, id: SubscriptionId) {
        self.sip.notify(id, SubscriptionState::Terminated("rejected".into()), None);
        self.forget(id);
    }

    async fn send_state(&mut self, id: SubscriptionId) {
        let Some((document, follows)) = self.state(id).await else { return };
        self.follow(id, follows);
        self.sip.notify(id, SubscriptionState::Active, Some(document));
    }

    /// From now on the watcher is told of changes of these.
    fn follow(&mut self, id: SubscriptionId, follows: Vec<Jid>) {
        let Some(watcher) = self.watchers.get_mut(&id) else { return };
        if watcher.follows == follows {
            return;
        }
        for jid in std::mem::replace(&mut watcher.follows, follows.clone()) {
            self.unfollow(&jid, id);
        }
        for jid in follows {
            self.by_target.entry(jid).or_default().push(id);
        }
    }

    fn unfollow(&mut self, jid: &Jid, id: SubscriptionId) {
        if let Some(ids) = self.by_target.get_mut(jid) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_target.remove(jid);
            }
        }
    }

    /// The SIP side says that a dialog is over.
    async fn ended(&mut self, id: SubscriptionId) {
        let Some(watcher) = self.watchers.get(&id) else { return };
        let (owner, contact) = (watcher.target.clone(), watcher.watcher.bare());
        let was_asking = watcher.is_asking;
        self.forget(id);
        let is_back = self.by_target.get(&owner).into_iter().flatten().any(|other| {
            self.watchers.get(other).is_some_and(|w| w.is_asking && w.watcher.bare() == contact)
        });
        if was_asking && !is_back && self.waiting.len() < MAX_REFUSALS {
            self.waiting.insert((owner.clone(), contact));
            self.changed(&owner, Package::PresenceWinfo).await;
        }
    }

    fn forget(&mut self, id: SubscriptionId) {
        let Some(watcher) = self.watchers.remove(&id) else { return };
        for jid in &watcher.follows {
            self.unfollow(jid, id);
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
