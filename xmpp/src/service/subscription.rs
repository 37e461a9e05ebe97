//! Subscriptions (RFC 6121 section 3 and appendix A), both ends local.
//!
//! Each change takes the turn of both accounts, so the two rosters never disagree.

use bytes::Bytes;

use super::invites::PREAUTH;
use super::{Server, addressed};
use crate::jid::Jid;
use crate::ports::{RosterItem, StoreError};
use crate::stanza::{Condition, Stanza, StanzaError};
use crate::xml::{Element, ns};

/// Most unanswered requests to see one account; what comes after is not kept.
const MAX_PENDING: usize = 1_000;
/// Longest request that is kept whole; of a longer one only who asked.
const MAX_REQUEST: usize = 8 * 1024;

/// A change that was refused to the user who asked for it, or made.
type Changed = Result<Option<StanzaError>, StoreError>;

impl Server {
    /// A user's subscription stanza.
    pub(super) async fn subscription(
        &self,
        from: &Jid,
        to: &Jid,
        kind: &str,
        stanza: &Stanza,
    ) -> Changed {
        let mut stanza = stanza.clone();
        // Who is asked, and who asks, are accounts (sections 3.1.2 and 3.1.3).
        stanza.set_from(from.clone());
        stanza.set_to(to.clone());
        let _turn = self.0.roster_turns.take([from, to]).await;
        self.change_subscription(from, to, kind, Some(stanza.bytes())).await
    }

    /// As [`Server::subscription`], for who has the turn of both. Without a stanza a plain one is made.
    pub(super) async fn change_subscription(
        &self,
        from: &Jid,
        to: &Jid,
        kind: &str,
        stanza: Option<Bytes>,
    ) -> Changed {
        if from == to || to.node().is_none() {
            return Ok(None);
        }
        let stanza = stanza.unwrap_or_else(|| plain(from, to, kind));
        match kind {
            "subscribe" => return self.subscribe(from, to, stanza).await,
            "subscribed" => self.approve(from, to, &stanza).await?,
            "unsubscribe" => {
                self.lose_sight(from, to).await?;
                self.drop_pending(to, from).await?;
                self.revoke(to, from).await?;
                self.show_subscription(to, &stanza);
            }
            _ => {
                self.drop_pending(from, to).await?;
                self.revoke(from, to).await?;
                self.lose_sight(to, from).await?;
                self.show_subscription(to, &stanza);
            }
        }
        Ok(None)
    }

    async fn subscribe(&self, user: &Jid, contact: &Jid, stanza: Bytes) -> Changed {
        let roster = self.roster(user).await?;
        let known = roster.item(contact).cloned();
        if known.is_none() && roster.items.len() >= self.config().max_contacts {
            return Ok(Some(StanzaError::new(Condition::ResourceConstraint)));
        }
        let mut item = known.unwrap_or_else(|| RosterItem::new(contact.clone()));
        if !item.to {
            item.ask = true;
            self.put_item(user, item).await?;
        }
        if !self.0.ports.accounts.exists(contact).await? {
            // Unknown and unwilling look alike: nothing comes back (section 3.1.3).
            return Ok(None);
        }
        if self.is_blocked(contact, user).await? {
            return Ok(None);
        }
        if self.accept_invited(contact, user, &stanza).await? {
            return Ok(None);
        }
        let theirs = self.roster(contact).await?;
        if theirs.item(user).is_some_and(|i| i.from) {
            self.grant(contact, user, &plain(contact, user, "subscribed")).await?;
            return Ok(None);
        }
        if !theirs.pending_in.contains(user) {
            if theirs.pending_in.len() >= MAX_PENDING {
                return Ok(None);
            }
            self.keep_request(contact, user, &stanza).await?;
        }
        self.show_subscription(contact, &stanza);
        Ok(None)
    }

    /// A request with the token of an invitation of `contact` is granted, and `contact` asks to see `user` in turn
    /// (XEP-0379 section 3.5); who has taken up the invitation lets it, here as elsewhere.
    async fn accept_invited(
        &self,
        contact: &Jid,
        user: &Jid,
        stanza: &Bytes,
    ) -> Result<bool, StoreError> {
        let request = Stanza::parse(stanza.clone()).ok();
        let preauth = request.and_then(|r| r.child("preauth", PREAUTH));
        let Some(token) = preauth.as_ref().and_then(|p| p.attr("token")) else { return Ok(false) };
        if !self.takes_invitation(contact, token).await? {
            return Ok(false);
        }
        self.set_pending_in(contact, user, true).await?;
        self.approve(contact, user, &plain(contact, user, "subscribed")).await?;
        Box::pin(self.change_subscription(contact, user, "subscribe", None)).await?;
        if self.is_local(user) {
            let agreed = plain(user, contact, "subscribed");
            self.approve(user, contact, &agreed).await?;
        }
        Ok(true)
    }

    async fn keep_request(
        &self,
        owner: &Jid,
        contact: &Jid,
        stanza: &Bytes,
    ) -> Result<(), StoreError> {
        if stanza.len() > MAX_REQUEST {
            return self.set_pending_in(owner, contact, true).await;
        }
        self.0.ports.rosters.keep_request(owner, contact, stanza.clone()).await?;
        self.note_pending(owner, contact, true);
        Ok(())
    }

    /// Shows a device the unanswered requests, as they were made.
    pub(super) async fn show_requests(&self, account: &Jid, device: &Jid, pending: &[Jid]) {
        if pending.is_empty() {
            return;
        }
        let kept = self.0.ports.rosters.requests(account).await.unwrap_or_else(|error| {
            tracing::error!(%error, "requests cannot be read; plain ones are shown");
            Vec::new()
        });
        for contact in pending {
            let kept = kept.iter().find(|(jid, _)| jid == contact).map(|(_, s)| s.clone());
            let request = kept.unwrap_or_else(|| plain(contact, account, "subscribe"));
            self.send_bytes(device, &addressed(&request, account));
        }
    }

    /// `owner` lets `watcher` see it, if it was asked.
    async fn approve(&self, owner: &Jid, watcher: &Jid, stanza: &Bytes) -> Result<(), StoreError> {
        let roster = self.roster(owner).await?;
        if !roster.pending_in.contains(watcher) {
            return Ok(());
        }
        let mut item =
            roster.item(watcher).cloned().unwrap_or_else(|| RosterItem::new(watcher.clone()));
        item.from = true;
        self.put_item(owner, item).await?;
        self.drop_pending(owner, watcher).await?;
        self.grant(owner, watcher, stanza).await
    }

    async fn grant(&self, owner: &Jid, watcher: &Jid, stanza: &Bytes) -> Result<(), StoreError> {
        self.change(watcher, owner, |i| {
            i.to |= i.ask;
            i.ask = false;
        })
        .await?;
        self.show_subscription(watcher, stanza);
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
        self.show_last_items(owner, watcher).await?;
        self.0.ports.watch.permission_changed(owner, watcher, true);
        Ok(())
    }

    /// `watcher` no longer sees `owner`, whoever of them wished so.
    async fn revoke(&self, owner: &Jid, watcher: &Jid) -> Result<(), StoreError> {
        self.change(owner, watcher, |i| i.from = false).await?;
        self.cancel_subscriptions(owner, watcher).await?;
        self.show_gone(owner, watcher);
        self.0.ports.watch.permission_changed(owner, watcher, false);
        Ok(())
    }

    async fn lose_sight(&self, watcher: &Jid, owner: &Jid) -> Result<(), StoreError> {
        self.change(watcher, owner, |i| {
            i.to = false;
            i.ask = false;
        })
        .await
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

    /// Shows a subscription stanza to the addressee's streams.
    fn show_subscription(&self, to: &Jid, stanza: &Bytes) {
        let from = Stanza::parse(stanza.clone()).ok().and_then(|s| s.from().cloned());
        if from.is_some_and(|from| self.blocks_now(to, &from)) {
            return;
        }
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

fn plain(from: &Jid, to: &Jid, kind: &str) -> Bytes {
    Element::new("presence", ns::CLIENT)
        .with_attr("from", from.as_str())
        .with_attr("to", to.as_str())
        .with_attr("type", kind)
        .to_bytes()
}
