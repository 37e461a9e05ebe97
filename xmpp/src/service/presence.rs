//! Presence and subscriptions (RFC 6121 sections 3 and 4).

use bytes::Bytes;

use super::sessions::{Announced, Resource, Show};
use super::{Outcome, Server};
use crate::jid::Jid;
use crate::ports::{RosterItem, StoreError};
use crate::stanza::{Condition, Stanza, StanzaError};
use crate::xml::{Element, ns};

/// Most addressees of directed presence of one session.
const MAX_DIRECTED: usize = 1_000;

impl Server {
    pub(super) async fn handle_presence(&self, stanza: Stanza) -> Outcome {
        let Some(from) = stanza.from().cloned() else { return Outcome::Ignored };
        match (stanza.type_().map(str::to_owned).as_deref(), stanza.to().cloned()) {
            (None, None) => self.announce(&from, &stanza).await,
            (Some("unavailable"), None) => self.retire(&from, &stanza).await,
            (None | Some("unavailable"), Some(to)) => self.direct(&from, &to, &stanza),
            (
                Some(kind @ ("subscribe" | "subscribed" | "unsubscribe" | "unsubscribed")),
                Some(to),
            ) => {
                if !self.is_local(&to) {
                    let error = StanzaError::new(Condition::RemoteServerNotFound);
                    return self.bounce(&stanza, error);
                }
                match self.subscription(&from.bare(), &to.bare(), kind).await {
                    Ok(()) => {}
                    Err(error) => return self.store_failed(&stanza, &error),
                }
            }
            (Some("probe"), Some(to)) => self.probe(&from, &to.bare()).await,
            (Some("error"), _) => {}
            _ => return self.bounce(&stanza, StanzaError::new(Condition::BadRequest)),
        }
        Outcome::Ignored
    }

    /// Available presence without addressee (section 4.2).
    async fn announce(&self, from: &Jid, stanza: &Stanza) {
        let show = stanza.child("show", ns::CLIENT).and_then(|e| Show::from_name(e.text().trim()));
        let status = stanza.child("status", ns::CLIENT).map(|e| e.text());
        let priority = stanza.child("priority", ns::CLIENT);
        let priority = priority.and_then(|e| e.text().trim().parse().ok()).unwrap_or(0);
        let announced = Announced { stanza: stanza.bytes(), show, status, priority };
        let (initial, woke, outbox) = {
            let mut sessions = self.sessions();
            let Some(resource) = sessions.get_mut(from) else { return };
            let before = resource.presence.replace(announced).map(|p| p.priority);
            let woke = priority >= 0 && before.is_none_or(|p| p < 0);
            (before.is_none(), woke, resource.outbox.clone())
        };
        self.broadcast_presence(from).await;
        if initial {
            self.welcome(from).await;
            self.ask_features(from);
        }
        if let (true, Some(outbox)) = (woke, outbox) {
            self.flush_offline(from, &outbox).await;
        }
    }

    /// What a device that came online must learn: its contacts' presence and unanswered requests.
    async fn welcome(&self, jid: &Jid) {
        let account = jid.bare();
        let Ok(roster) = self.roster(&account).await else { return };
        for item in roster.items.iter().filter(|i| i.to && self.is_local(&i.jid)) {
            self.show_account(&item.jid, jid);
        }
        self.show_account(&account, jid);
        for contact in &roster.pending_in {
            let request = Element::new("presence", ns::CLIENT)
                .with_attr("type", "subscribe")
                .with_attr("from", contact.as_str())
                .with_attr("to", account.as_str());
            self.send_to(jid, &request);
        }
    }

    /// Sends every available presence of `account` to one device.
    fn show_account(&self, account: &Jid, to: &Jid) {
        let shown: Vec<Bytes> = self
            .sessions()
            .of(account)
            .iter()
            .filter(|r| r.jid != *to)
            .filter_map(|r| r.presence.as_ref().map(|p| p.stanza.clone()))
            .collect();
        for stanza in shown {
            self.send_bytes(to, &addressed(&stanza, to));
        }
    }

    /// Tells everybody who may see it what this resource last announced.
    pub(super) async fn broadcast_presence(&self, from: &Jid) {
        let stanza =
            self.sessions().get(from).and_then(|r| Some(r.presence.as_ref()?.stanza.clone()));
        if let Some(stanza) = stanza {
            self.broadcast(from, &stanza).await;
        }
        self.0.ports.watch.presence_changed(&from.bare());
    }

    async fn broadcast(&self, from: &Jid, stanza: &Bytes) {
        let account = from.bare();
        let Ok(roster) = self.roster(&account).await else { return };
        let seers = roster.items.iter().filter(|i| i.from && self.is_local(&i.jid));
        for contact in seers.map(|i| &i.jid).chain([&account]) {
            self.send_presence(contact, from, stanza);
        }
    }

    /// To the available streams of an account.
    fn send_presence(&self, account: &Jid, except: &Jid, stanza: &Bytes) {
        let receivers: Vec<_> = self
            .sessions()
            .of(account)
            .iter()
            .filter(|r| r.presence.is_some() && r.jid != *except)
            .filter_map(|r| Some((r.jid.clone(), r.outbox.clone()?)))
            .collect();
        for (jid, outbox) in receivers {
            outbox.send(addressed(stanza, &jid));
        }
    }

    async fn retire(&self, from: &Jid, stanza: &Stanza) {
        let directed = {
            let mut sessions = self.sessions();
            let Some(resource) = sessions.get_mut(from) else { return };
            if resource.presence.take().is_none() {
                return;
            }
            std::mem::take(&mut resource.directed)
        };
        self.say_goodbye(from, directed, &stanza.bytes()).await;
    }

    /// A resource has gone without a word, or with `last`.
    pub(super) async fn became_unavailable(
        &self,
        jid: &Jid,
        resource: Resource,
        last: Option<Bytes>,
    ) {
        if resource.presence.is_none() && resource.directed.is_empty() {
            return;
        }
        let goodbye = last.unwrap_or_else(|| {
            Element::new("presence", ns::CLIENT)
                .with_attr("from", jid.as_str())
                .with_attr("type", "unavailable")
                .to_bytes()
        });
        self.say_goodbye(jid, resource.directed, &goodbye).await;
    }

    async fn say_goodbye(&self, from: &Jid, directed: Vec<Jid>, goodbye: &Bytes) {
        self.broadcast(from, goodbye).await;
        for to in directed {
            if to.resource().is_some() {
                self.send_bytes(&to, &addressed(goodbye, &to));
            } else {
                self.send_presence(&to, from, goodbye);
            }
        }
        self.0.ports.watch.presence_changed(&from.bare());
    }

    /// Presence for one addressee only (section 4.6).
    fn direct(&self, from: &Jid, to: &Jid, stanza: &Stanza) {
        if !self.is_local(to) {
            return;
        }
        {
            let mut sessions = self.sessions();
            let Some(resource) = sessions.get_mut(from) else { return };
            resource.directed.retain(|j| j != to);
            if stanza.type_().is_none() && resource.directed.len() < MAX_DIRECTED {
                resource.directed.push(to.clone());
            }
        }
        if to.resource().is_some() {
            self.send_bytes(to, &stanza.bytes());
        } else {
            self.send_presence(to, from, &stanza.bytes());
        }
    }

    async fn probe(&self, from: &Jid, target: &Jid) {
        if self.may_see(from, target).await.unwrap_or(false) {
            self.show_account(target, from);
        }
    }

    /// The subscription machine, both ends local (section 3 and appendix A).
    pub(super) async fn subscription(
        &self,
        from: &Jid,
        to: &Jid,
        kind: &str,
    ) -> Result<(), StoreError> {
        if from == to || to.node().is_none() {
            return Ok(());
        }
        match kind {
            "subscribe" => self.subscribe(from, to).await,
            "subscribed" => self.approve(from, to).await,
            "unsubscribe" => {
                self.change(from, to, |i| {
                    i.to = false;
                    i.ask = false;
                })
                .await?;
                self.drop_pending(to, from).await?;
                self.revoke(to, from, "unsubscribe").await
            }
            _ => {
                self.drop_pending(from, to).await?;
                self.change(from, to, |i| i.from = false).await?;
                self.change(to, from, |i| {
                    i.to = false;
                    i.ask = false;
                })
                .await?;
                self.notify_request(from, to, "unsubscribed");
                self.show_gone(from, to);
                self.0.ports.watch.permission_changed(from, to, false);
                Ok(())
            }
        }
    }

    async fn subscribe(&self, user: &Jid, contact: &Jid) -> Result<(), StoreError> {
        let roster = self.roster(user).await?;
        let mut item =
            roster.item(contact).cloned().unwrap_or_else(|| RosterItem::new(contact.clone()));
        if !item.to {
            item.ask = true;
            self.put_item(user, item).await?;
        }
        if !self.0.ports.accounts.exists(contact).await? {
            // Unknown and unwilling look alike: nothing comes back (section 3.1.3).
            return Ok(());
        }
        let theirs = self.roster(contact).await?;
        if theirs.item(user).is_some_and(|i| i.from) {
            return self.grant(contact, user).await;
        }
        if !theirs.pending_in.contains(user) {
            self.set_pending_in(contact, user, true).await?;
        }
        self.notify_request(user, contact, "subscribe");
        Ok(())
    }

    /// `owner` lets `watcher` see it, if it was asked.
    async fn approve(&self, owner: &Jid, watcher: &Jid) -> Result<(), StoreError> {
        let roster = self.roster(owner).await?;
        if !roster.pending_in.contains(watcher) {
            return Ok(());
        }
        let mut item =
            roster.item(watcher).cloned().unwrap_or_else(|| RosterItem::new(watcher.clone()));
        item.from = true;
        self.put_item(owner, item).await?;
        self.drop_pending(owner, watcher).await?;
        self.grant(owner, watcher).await
    }

    async fn grant(&self, owner: &Jid, watcher: &Jid) -> Result<(), StoreError> {
        self.change(watcher, owner, |i| {
            i.to |= i.ask;
            i.ask = false;
        })
        .await?;
        self.notify_request(owner, watcher, "subscribed");
        let streams: Vec<Jid> = self
            .sessions()
            .of(watcher)
            .iter()
            .filter(|r| r.outbox.is_some())
            .map(|r| r.jid.clone())
            .collect();
        for jid in streams {
            self.show_account(owner, &jid);
        }
        self.0.ports.watch.permission_changed(owner, watcher, true);
        Ok(())
    }

    /// `watcher` no longer sees `owner`, by its own wish.
    async fn revoke(&self, owner: &Jid, watcher: &Jid, kind: &str) -> Result<(), StoreError> {
        self.change(owner, watcher, |i| i.from = false).await?;
        self.notify_request(watcher, owner, kind);
        self.show_gone(owner, watcher);
        self.0.ports.watch.permission_changed(owner, watcher, false);
        Ok(())
    }

    async fn change(
        &self,
        owner: &Jid,
        contact: &Jid,
        change: impl FnOnce(&mut RosterItem),
    ) -> Result<(), StoreError> {
        let roster = self.roster(owner).await?;
        let Some(old) = roster.item(contact) else { return Ok(()) };
        let mut item = old.clone();
        change(&mut item);
        if item == *old {
            return Ok(());
        }
        self.put_item(owner, item).await
    }

    async fn drop_pending(&self, owner: &Jid, contact: &Jid) -> Result<(), StoreError> {
        if self.roster(owner).await?.pending_in.contains(contact) {
            self.set_pending_in(owner, contact, false).await?;
        }
        Ok(())
    }

    /// Shows a subscription stanza to the addressee's available streams.
    fn notify_request(&self, from: &Jid, to: &Jid, kind: &str) {
        let stanza = Element::new("presence", ns::CLIENT)
            .with_attr("from", from.as_str())
            .with_attr("to", to.as_str())
            .with_attr("type", kind)
            .to_bytes();
        let receivers: Vec<_> = self
            .sessions()
            .of(to)
            .iter()
            .filter(|r| r.presence.is_some() || r.interested)
            .filter_map(|r| r.outbox.clone())
            .collect();
        for outbox in receivers {
            outbox.send(stanza.clone());
        }
    }

    /// `watcher` sees every resource of `owner` go.
    fn show_gone(&self, owner: &Jid, watcher: &Jid) {
        let resources: Vec<Jid> = self
            .sessions()
            .of(owner)
            .iter()
            .filter(|r| r.presence.is_some())
            .map(|r| r.jid.clone())
            .collect();
        for jid in resources {
            let gone = Element::new("presence", ns::CLIENT)
                .with_attr("from", jid.as_str())
                .with_attr("type", "unavailable")
                .to_bytes();
            self.send_presence(watcher, &jid, &gone);
        }
    }
}

/// The same presence with this addressee.
fn addressed(stanza: &Bytes, to: &Jid) -> Bytes {
    match Stanza::parse(stanza.clone()) {
        Ok(mut stanza) => {
            stanza.set_to(to.clone());
            stanza.bytes()
        }
        Err(_) => stanza.clone(),
    }
}
