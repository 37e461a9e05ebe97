//! The documents that watchers get, made from what the XMPP side, the call log and the exchange know.

use tandem_sip::ports::{Document, Package, SubscriptionId};
use tandem_sip::service::dialog_event::{self, DialogInfo};
use tandem_sip::service::message_summary::{self, Count, Summary};
use tandem_sip::service::resource_list::{self, Instance, Resource};
use tandem_sip::service::winfo::{self, WatcherEvent, WatcherStatus};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::RosterItem;

use super::{PresenceDesk, Watcher};
use crate::bridge::{identity, pidf};

/// Contacts of one list; a roster with more of them is told in part, in the order of their addresses.
const MAX_LISTED: usize = 100;
/// Watchers that watcher information names.
const MAX_NAMED: usize = 500;

impl PresenceDesk {
    /// What a watcher gets now, and whose changes it is to be told. `None`: nothing can be said.
    pub(super) async fn state(&self, id: SubscriptionId) -> Option<(Document, Vec<Jid>)> {
        let watcher = self.watchers.get(&id)?;
        let target = watcher.target.clone();
        if watcher.is_list {
            return self.list(watcher).await;
        }
        let document = match watcher.package {
            Package::PresenceWinfo => self.winfo(&target).await?,
            Package::MessageSummary => self.summary(&target).await?,
            package => self.seen(package, &watcher.watcher, &target)?,
        };
        Some((document, vec![target]))
    }

    /// What one may see of another.
    fn seen(&self, package: Package, watcher: &Jid, target: &Jid) -> Option<Document> {
        match package {
            Package::Presence => Some(self.pidf(target, &self.devices(target))),
            Package::Dialog => {
                let is_own = watcher.bare() == *target;
                let shown = |call: DialogInfo| DialogInfo {
                    // Whom somebody talks to is told to nobody else (RFC 4235 section 3.6).
                    remote: call.remote.filter(|_| is_own),
                    ..call
                };
                let calls: Vec<DialogInfo> = self.lines.of(target).into_iter().map(shown).collect();
                Some(dialog_event::document(&uri(target)?, &calls))
            }
            _ => None,
        }
    }

    pub(super) fn pidf(&self, target: &Jid, devices: &[pidf::Device]) -> Document {
        let entity = uri(target).unwrap_or_else(|| format!("sip:{target}"));
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

    /// Who sees an account, and who asks to (RFC 3857).
    async fn winfo(&self, owner: &Jid) -> Option<Document> {
        let roster = self.xmpp.contacts(owner).await.ok()?;
        let watcher = |jid: &Jid, name: Option<String>, status, event| {
            Some(winfo::Watcher {
                id: format!("w-{}", pidf::short_hash(jid.as_str())),
                uri: uri(jid)?,
                name,
                status,
                event,
            })
        };
        let name = |jid: &Jid| roster.item(jid).and_then(|item| item.name.clone());
        let asking = roster.pending_in.iter().filter_map(|jid| {
            let has_gone = self.waiting.contains(&(owner.clone(), jid.clone()));
            let (status, event) = if has_gone {
                (WatcherStatus::Waiting, WatcherEvent::Timeout)
            } else {
                (WatcherStatus::Pending, WatcherEvent::Subscribe)
            };
            watcher(jid, name(jid), status, event)
        });
        let seeing = roster.items.iter().filter(|item| item.from).filter_map(|item| {
            let (status, event) = (WatcherStatus::Active, WatcherEvent::Approved);
            watcher(&item.jid, item.name.clone(), status, event)
        });
        // Whoever is let no more is named as long as it is remembered.
        let refused = self.refused.iter().filter(|(_, by)| by == owner);
        let refused = refused.filter(|(jid, _)| {
            !roster.pending_in.contains(jid) && !roster.item(jid).is_some_and(|item| item.from)
        });
        let refused = refused.filter_map(|(jid, _)| {
            watcher(jid, name(jid), WatcherStatus::Terminated, WatcherEvent::Rejected)
        });
        let all: Vec<_> = asking.chain(seeing).chain(refused).take(MAX_NAMED).collect();
        Some(winfo::document(&uri(owner)?, &all))
    }

    /// What waits for an account (RFC 3842).
    async fn summary(&self, account: &Jid) -> Option<Document> {
        let (new, old) = self.store.missed_calls(account).await.ok()?;
        let texts = self.store.waiting_count(account).await.ok()?;
        let summary = Summary { calls: Count { new, old }, texts: Count { new: texts, old: 0 } };
        Some(message_summary::document(&uri(account)?, summary))
    }

    /// The contacts whom the watcher's account watches (RFC 4662).
    async fn list(&self, watcher: &Watcher) -> Option<(Document, Vec<Jid>)> {
        let roster = self.xmpp.contacts(&watcher.watcher).await.ok()?;
        let is_watched = |item: &&RosterItem| item.to || item.ask;
        let mut items: Vec<&RosterItem> = roster.items.iter().filter(is_watched).collect();
        items.sort_by(|a, b| a.jid.cmp(&b.jid));
        items.truncate(MAX_LISTED);
        let mut follows = vec![watcher.target.clone()];
        let mut resources = Vec::new();
        for item in items {
            let Some(uri) = uri(&item.jid) else { continue };
            follows.push(item.jid.clone());
            let may_see = self.xmpp.may_see(&watcher.watcher, &item.jid).await.unwrap_or(false);
            let seen = may_see.then(|| self.seen(watcher.package, &watcher.watcher, &item.jid));
            let instance = match seen.flatten() {
                Some(document) => Instance::Active(document),
                None => Instance::Pending,
            };
            resources.push(Resource { uri, name: item.name.clone(), instance });
        }
        Some((resource_list::document(&uri(&watcher.target)?, &resources), follows))
    }
}

fn uri(jid: &Jid) -> Option<String> {
    identity::jid_to_sip(&jid.bare()).ok().map(|uri| uri.to_string())
}
