//! Contacts (RFC 6121 section 2): get, set, remove, versions, and pushes to every interested resource.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Outcome, Server};
use crate::jid::Jid;
use crate::ports::{Roster, RosterItem, StoreError};
use crate::stanza::{Condition, Stanza, StanzaError};
use crate::xml::{Element, ns};

const ROSTER: &str = "jabber:iq:roster";
/// Most groups of one contact, and bytes of a name.
const MAX_GROUPS: usize = 32;
const MAX_NAME: usize = 1023;

impl Server {
    pub(super) async fn roster_get(&self, stanza: &Stanza, from: &Jid) -> Outcome {
        let owner = from.bare();
        // Nothing changes between the answer and the first push.
        let turn = self.0.roster_turns.take([&owner]).await;
        let roster = match self.roster(&owner).await {
            Ok(roster) => roster,
            Err(error) => return self.store_failed(stanza, &error),
        };
        if let Some(resource) = self.sessions().get_mut(from) {
            resource.interested = true;
        }
        let query = stanza.child("query", ROSTER);
        let cached = query.as_ref().and_then(|q| q.attr("ver")?.parse().ok());
        let answer = match cached.and_then(|version| missed(&roster, version)) {
            Some(changes) => {
                let answer = self.reply(stanza, None);
                for (version, item) in changes {
                    self.push_to(from, version, item);
                }
                answer
            }
            None => {
                let items = roster.items.iter().map(item_element);
                let query = Element::new("query", ROSTER)
                    .with_attr("ver", roster.version.to_string())
                    .with_children(items);
                self.reply(stanza, Some(query))
            }
        };
        drop(turn);
        answer
    }

    pub(super) async fn roster_set(&self, stanza: &Stanza, from: &Jid) -> Outcome {
        let bad = || StanzaError::new(Condition::BadRequest);
        let Some(query) = stanza.child("query", ROSTER) else { return self.bounce(stanza, bad()) };
        let mut items = query.elements();
        let (Some(item), None) = (items.next(), items.next()) else {
            return self.bounce(stanza, bad());
        };
        let Some(contact) = item.attr("jid").and_then(|j| Jid::parse(j).ok()) else {
            return self.bounce(stanza, bad());
        };
        let contact = contact.bare();
        let owner = from.bare();
        if contact == owner {
            return self.bounce(stanza, StanzaError::new(Condition::NotAllowed));
        }
        let turn = self.0.roster_turns.take([&owner, &contact]).await;
        let done = if item.attr("subscription") == Some("remove") {
            self.roster_remove(&owner, &contact).await
        } else {
            self.roster_edit(&owner, contact.clone(), item).await
        };
        drop(turn);
        match done {
            Ok(Some(refused)) => self.bounce(stanza, refused),
            Ok(None) => self.reply(stanza, None),
            Err(error) => self.store_failed(stanza, &error),
        }
    }

    async fn roster_edit(
        &self,
        owner: &Jid,
        contact: Jid,
        given: &Element,
    ) -> Result<Option<StanzaError>, StoreError> {
        let roster = self.roster(owner).await?;
        let groups: Vec<String> =
            given.elements().filter(|e| e.is("group", ROSTER)).map(Element::text).collect();
        let mut unlike = groups.clone();
        unlike.sort_unstable();
        unlike.dedup();
        if unlike.len() < groups.len() {
            return Ok(Some(StanzaError::new(Condition::BadRequest)));
        }
        let name = given.attr("name").map(str::to_owned).filter(|n| !n.is_empty());
        let too_long = |s: &String| s.is_empty() || s.len() > MAX_NAME;
        if groups.len() > MAX_GROUPS
            || groups.iter().any(too_long)
            || name.as_ref().is_some_and(too_long)
        {
            return Ok(Some(StanzaError::new(Condition::NotAcceptable)));
        }
        let known = roster.item(&contact).cloned();
        if known.is_none() && roster.items.len() >= self.config().max_contacts {
            return Ok(Some(StanzaError::new(Condition::ResourceConstraint)));
        }
        let mut item = known.unwrap_or_else(|| RosterItem::new(contact));
        item.name = name;
        item.groups = groups;
        self.put_item(owner, item).await?;
        Ok(None)
    }

    /// Removing a contact also ends both subscriptions (section 2.5.2).
    async fn roster_remove(
        &self,
        owner: &Jid,
        contact: &Jid,
    ) -> Result<Option<StanzaError>, StoreError> {
        let roster = self.roster(owner).await?;
        let Some(item) = roster.item(contact).cloned() else {
            return Ok(Some(StanzaError::new(Condition::ItemNotFound)));
        };
        if item.to || item.ask {
            self.change_subscription(owner, contact, "unsubscribe", None).await?;
        }
        if item.from || item.approved {
            self.change_subscription(owner, contact, "unsubscribed", None).await?;
        }
        let version = self.roster(owner).await?.version + 1;
        self.0.ports.rosters.remove(owner, contact, version).await?;
        self.change_cached(owner, |r| r.note_removed(contact, version));
        self.push(owner, version, &removed_element(contact));
        Ok(None)
    }

    /// Stores an item, then shows it to the owner's devices. The caller has the owner's turn, as for each change.
    pub(super) async fn put_item(
        &self,
        owner: &Jid,
        mut item: RosterItem,
    ) -> Result<(), StoreError> {
        item.changed = self.roster(owner).await?.version + 1;
        self.0.ports.rosters.put(owner, &item).await?;
        self.change_cached(owner, |r| {
            r.version = item.changed;
            match r.items.iter_mut().find(|i| i.jid == item.jid) {
                Some(old) => *old = item.clone(),
                None => r.items.push(item.clone()),
            }
        });
        self.push(owner, item.changed, &item_element(&item));
        Ok(())
    }

    pub(super) async fn set_pending_in(
        &self,
        owner: &Jid,
        contact: &Jid,
        pending: bool,
    ) -> Result<(), StoreError> {
        self.0.ports.rosters.set_pending_in(owner, contact, pending).await?;
        self.note_pending(owner, contact, pending);
        Ok(())
    }

    pub(super) fn note_pending(&self, owner: &Jid, contact: &Jid, pending: bool) {
        self.change_cached(owner, |r| {
            r.pending_in.retain(|j| j != contact);
            if pending {
                r.pending_in.push(contact.clone());
            }
        });
        self.0.ports.watch.requests_changed(owner);
    }

    /// An account is gone.
    pub(super) fn forget_roster(&self, owner: &Jid) {
        let mut rosters = self.rosters();
        self.0.roster_commits.fetch_add(1, Ordering::SeqCst);
        rosters.remove(owner);
    }

    fn change_cached(&self, owner: &Jid, change: impl FnOnce(&mut Roster)) {
        let mut rosters = self.rosters();
        self.0.roster_commits.fetch_add(1, Ordering::SeqCst);
        if let Some(roster) = rosters.get_mut(owner) {
            change(Arc::make_mut(roster));
        }
    }

    /// A roster push to each interested resource (section 2.1.6).
    fn push(&self, owner: &Jid, version: u64, item: &Element) {
        let interested: Vec<Jid> = self
            .sessions()
            .of(owner)
            .iter()
            .filter(|r| r.interested)
            .map(|r| r.jid.clone())
            .collect();
        for jid in interested {
            self.push_to(&jid, version, item.clone());
        }
    }

    fn push_to(&self, jid: &Jid, version: u64, item: Element) {
        let query = Element::new("query", ROSTER).with_attr("ver", version.to_string());
        self.push_iq(jid, query.with_child(item));
    }

    /// Sends a device something that has changed, as a request; what it answers is of no interest.
    pub(super) fn push_iq(&self, jid: &Jid, payload: Element) {
        let number = self.0.pushes.fetch_add(1, Ordering::Relaxed);
        let push = Element::new("iq", ns::CLIENT)
            .with_attr("type", "set")
            .with_attr("id", format!("push-{number}"))
            .with_attr("to", jid.as_str())
            .with_child(payload);
        self.send_to(jid, &push);
    }
}

/// What has changed since a version that a client remembers (section 2.6.3), oldest first. `None` where that is not
/// known, or where the whole roster is shorter.
fn missed(roster: &Roster, since: u64) -> Option<Vec<(u64, Element)>> {
    if since > roster.version || since < roster.known_since {
        return None;
    }
    let changed = roster.items.iter().filter(|i| i.changed > since);
    let gone = roster.removed.iter().filter(|(version, jid)| {
        // One that was put in again since comes as it is now.
        *version > since && roster.item(jid).is_none()
    });
    let mut changes: Vec<_> = changed
        .map(|i| (i.changed, item_element(i)))
        .chain(gone.map(|(version, jid)| (*version, removed_element(jid))))
        .collect();
    changes.sort_by_key(|(version, _)| *version);
    (changes.len() <= roster.items.len() / 2 + 5).then_some(changes)
}

fn removed_element(contact: &Jid) -> Element {
    Element::new("item", ROSTER)
        .with_attr("jid", contact.as_str())
        .with_attr("subscription", "remove")
}

fn item_element(item: &RosterItem) -> Element {
    Element::new("item", ROSTER)
        .with_attr("jid", item.jid.as_str())
        .with_attr_opt("name", item.name.as_deref())
        .with_attr("subscription", item.subscription())
        .with_attr_opt("ask", item.ask.then_some("subscribe"))
        .with_attr_opt("approved", item.approved.then_some("true"))
        .with_children(item.groups.iter().map(|g| Element::new("group", ROSTER).with_text(g)))
}
