//! Presence across the bridge (RFC 8048, RFC 3856, RFC 6665): phones as XMPP resources, XMPP contacts as PIDF.
//!
//! One task owns the watchers' dialogs. A phone that watches a contact gets that contact's state only while the
//! contact's roster lets it (`from` or `both`); until then its dialog is `pending` and the contact sees an ordinary
//! XMPP subscription request. State is sent whole; the SIP server keeps the distance between two NOTIFYs.

use std::collections::HashMap;

use tandem_sip::SipHandle;
use tandem_sip::ports::{Document, Package, Subscription, SubscriptionId, SubscriptionState};
use tandem_xmpp::Server;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::xml::Element;
use tokio::sync::{mpsc, oneshot};

use super::contacts::Contacts;
use super::{identity, pidf};

/// Most watching dialogs of one program; more are refused with 503 by the port.
pub const MAX_WATCHERS: usize = 100_000;

/// What the presence task is told.
#[derive(Debug)]
pub enum Event {
    /// Tell every watcher to come back (`deactivated`), then answer.
    Stop(oneshot::Sender<()>),
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
}

struct Watcher {
    watcher: Jid,
    target: Jid,
    active: bool,
}

/// The task's state.
pub struct PresenceDesk {
    xmpp: Server,
    sip: SipHandle,
    contacts: Contacts,
    watchers: HashMap<SubscriptionId, Watcher>,
    by_target: HashMap<Jid, Vec<SubscriptionId>>,
}

impl PresenceDesk {
    /// A desk without watchers.
    pub fn new(xmpp: Server, sip: SipHandle, contacts: Contacts) -> Self {
        Self { xmpp, sip, contacts, watchers: HashMap::new(), by_target: HashMap::new() }
    }

    /// Serves events until told to stop.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let done = loop {
            match events.recv().await {
                Some(Event::Stop(done)) => break Some(done),
                Some(event) => self.handle(event).await,
                None => break None,
            }
        };
        for id in self.watchers.into_keys() {
            let state = SubscriptionState::Terminated("deactivated".into());
            self.sip.notify(id, state, None);
        }
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Subscribed(subscription) => self.subscribed(subscription).await,
            Event::Ended(id) => self.forget(id),
            Event::Stop(_) => {}
            Event::Changed(account) => self.changed(&account.bare()).await,
            Event::Permission { owner, contact, may_see } => {
                self.permission(&owner.bare(), &contact.bare(), may_see).await;
            }
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
        let allowed = self.xmpp.may_see(&watcher, &target).await.unwrap_or(false);
        let known = self.watchers.contains_key(&id);
        if !known {
            self.by_target.entry(target.clone()).or_default().push(id);
        }
        let entry = Watcher { watcher: watcher.clone(), target: target.clone(), active: allowed };
        self.watchers.insert(id, entry);
        if subscription.expires.is_zero() && !subscription.initial {
            // Who leaves sees nobody any more (RFC 8048 section 5.3.3).
            let closed = self.document(&target, &[]);
            self.sip.notify(id, SubscriptionState::Active, Some(closed));
        } else if allowed {
            self.send_state(id);
        } else {
            self.sip.notify(id, SubscriptionState::Pending, None);
            // A look asks for nothing that lasts (RFC 8048 section 7).
            if !known && !subscription.expires.is_zero() {
                self.ask(&watcher, &target).await;
            }
        }
        if subscription.expires.is_zero() {
            self.forget(id);
        }
    }

    /// The contact sees an ordinary subscription request from the watching account.
    async fn ask(&self, watcher: &Jid, target: &Jid) {
        let request = Element::new("presence", "jabber:client")
            .with_attr("from", watcher.bare().as_str())
            .with_attr("to", target.as_str())
            .with_attr("type", "subscribe");
        self.xmpp.inject(request).await;
    }

    async fn changed(&mut self, account: &Jid) {
        for id in self.by_target.get(account).cloned().unwrap_or_default() {
            if self.watchers.get(&id).is_some_and(|watcher| watcher.active) {
                self.send_state(id);
            }
        }
    }

    async fn permission(&mut self, owner: &Jid, contact: &Jid, may_see: bool) {
        for id in self.by_target.get(owner).cloned().unwrap_or_default() {
            let Some(watcher) = self.watchers.get_mut(&id) else { continue };
            if watcher.watcher.bare() != *contact {
                continue;
            }
            if may_see {
                watcher.active = true;
                self.send_state(id);
            } else {
                let state = SubscriptionState::Terminated("rejected".into());
                self.sip.notify(id, state, None);
                self.forget(id);
            }
        }
    }

    fn send_state(&self, id: SubscriptionId) {
        let Some(watcher) = self.watchers.get(&id) else { return };
        let target = watcher.target.clone();
        let document = self.document(&target, &self.devices(&target));
        self.sip.notify(id, SubscriptionState::Active, Some(document));
    }

    fn document(&self, target: &Jid, devices: &[pidf::Device]) -> Document {
        let entity = format!("sip:{target}");
        let stamp = chrono::Utc::now().to_rfc3339();
        Document::new(Package::Presence.media(), pidf::build(&entity, devices, &stamp))
    }

    fn devices(&self, target: &Jid) -> Vec<pidf::Device> {
        self.xmpp
            .presences(target)
            .into_iter()
            .map(|p| pidf::Device {
                on_the_phone: self.contacts.is_in_call(&p.jid),
                resource: p.jid.resource().unwrap_or_default().to_owned(),
                show: p.show,
                status: p.status,
                priority: p.priority,
            })
            .collect()
    }

    fn forget(&mut self, id: SubscriptionId) {
        let Some(watcher) = self.watchers.remove(&id) else { return };
        if let Some(ids) = self.by_target.get_mut(&watcher.target) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_target.remove(&watcher.target);
            }
        }
    }
}
