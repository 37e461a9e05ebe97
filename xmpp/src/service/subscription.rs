//! Subscriptions (RFC 6121 section 3 and appendix A) between accounts here and elsewhere.
//!
//! Each change takes the turn of both accounts, so the two rosters never disagree.

use bytes::Bytes;

use super::invites::PREAUTH;
use super::{Server, addressed};
use crate::jid::Jid;
use crate::ports::{Roster, RosterItem, StoreError};
use crate::router::Place;
use crate::stanza::{Condition, Stanza, StanzaError};
use crate::subscription::{self, Effect, Request, State};
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
        let Some(request) = Request::from_name(kind).filter(|_| from != to) else {
            return Ok(None);
        };
        if matches!(self.place(to), Place::Host | Place::Rooms | Place::Uploads) {
            return Ok(None);
        }
        let stanza = stanza.unwrap_or_else(|| plain(from, to, kind));
        // Who is elsewhere has a server that has changed its side.
        if self.place(from) != Place::Account {
            if self.place(to) == Place::Account {
                self.pass_request(from, to, request, stanza).await?;
            }
            return Ok(None);
        }
        match self.ask(from, to, request).await? {
            Asked::Refused(error) => Ok(Some(error)),
            Asked::Done { routed: false, .. } => Ok(None),
            Asked::Done { granted, revoked, .. } => {
                self.pass_request(from, to, request, stanza).await?;
                self.after_change(from, to, granted, revoked).await?;
                Ok(None)
            }
        }
    }

    /// The sender's own side (appendix A.2).
    async fn ask(&self, user: &Jid, contact: &Jid, request: Request) -> Result<Asked, StoreError> {
        let roster = self.roster(user).await?;
        let before = state_of(&roster, contact);
        let (after, routed) = subscription::sent(before, request);
        let is_new = roster.item(contact).is_none() && item_facts(after) != item_facts(before);
        if is_new && roster.items.len() >= self.config().max_contacts {
            return Ok(Asked::Refused(StanzaError::new(Condition::ResourceConstraint)));
        }
        self.apply(user, contact, (before, after), None).await?;
        let granted = after.from && !before.from;
        let revoked = before.from && !after.from;
        Ok(Asked::Done { routed, granted, revoked })
    }

    /// Takes a request to its addressee: to its side here (appendix A.3), or to its server.
    async fn pass_request(
        &self,
        from: &Jid,
        to: &Jid,
        request: Request,
        stanza: Bytes,
    ) -> Result<(), StoreError> {
        if self.place(to) != Place::Account {
            self.emit(from, to, &stanza);
            return Ok(());
        }
        if self.take_request(to, from, request, stanza).await? {
            self.agree(to, from).await?;
        }
        Ok(())
    }

    /// The addressee's side. True when its server is to agree on its behalf.
    async fn take_request(
        &self,
        user: &Jid,
        contact: &Jid,
        request: Request,
        stanza: Bytes,
    ) -> Result<bool, StoreError> {
        if request == Request::Subscribe {
            // Unknown and unwilling look alike: nothing comes back (section 3.1.3).
            let is_known = self.0.ports.accounts.exists(user).await?;
            if !is_known || self.is_blocked(user, contact).await? {
                return Ok(false);
            }
            if self.accept_invited(user, contact, &stanza).await? {
                return Ok(false);
            }
        }
        let roster = self.roster(user).await?;
        let before = state_of(&roster, contact);
        let (after, effect) = subscription::received(before, request);
        if after.pending_in && !before.pending_in && roster.pending_in.len() >= MAX_PENDING {
            return Ok(false);
        }
        self.apply(user, contact, (before, after), Some(&stanza)).await?;
        if effect == Effect::Deliver {
            self.show_subscription(user, &stanza);
        }
        // What the contact saw of the user ends by its own request too (section 3.3.3).
        self.after_change(user, contact, false, before.from && !after.from).await?;
        Ok(effect == Effect::Agree)
    }

    /// The server answers for a user who has agreed already (sections 3.1.3 and 3.4.2).
    async fn agree(&self, user: &Jid, contact: &Jid) -> Result<(), StoreError> {
        let answer = plain(user, contact, Request::Subscribed.name());
        if self.place(contact) == Place::Account {
            self.take_request(contact, user, Request::Subscribed, answer).await?;
        } else {
            self.emit(user, contact, &answer);
        }
        self.after_change(user, contact, true, false).await
    }

    /// Stores what differs, the item before the request that it answers.
    async fn apply(
        &self,
        user: &Jid,
        contact: &Jid,
        (before, after): (State, State),
        request: Option<&Bytes>,
    ) -> Result<(), StoreError> {
        if item_facts(after) != item_facts(before) {
            let known = self.roster(user).await?.item(contact).cloned();
            let item = known.unwrap_or_else(|| RosterItem::new(contact.clone()));
            let (to, from, ask, approved) = item_facts(after);
            self.put_item(user, RosterItem { to, from, ask, approved, ..item }).await?;
        }
        match (before.pending_in, after.pending_in, request) {
            (false, true, Some(stanza)) => self.keep_request(user, contact, stanza).await,
            (true, false, _) => self.set_pending_in(user, contact, false).await,
            _ => Ok(()),
        }
    }

    /// `contact` sees `user` from now on, or no longer (sections 3.1.5, 3.2.2 and 3.3.3).
    async fn after_change(
        &self,
        user: &Jid,
        contact: &Jid,
        granted: bool,
        revoked: bool,
    ) -> Result<(), StoreError> {
        if granted {
            self.show_to(user, contact);
            self.show_last_items(user, contact).await?;
            self.0.ports.watch.permission_changed(user, contact, true);
        }
        if revoked {
            self.cancel_subscriptions(user, contact).await?;
            self.show_gone(user, contact);
            self.0.ports.watch.permission_changed(user, contact, false);
        }
        Ok(())
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
        let (subscribe, subscribed) = (Request::Subscribe.name(), Request::Subscribed.name());
        Box::pin(self.change_subscription(contact, user, subscribed, None)).await?;
        Box::pin(self.change_subscription(contact, user, subscribe, None)).await?;
        if self.place(user) == Place::Account {
            Box::pin(self.change_subscription(user, contact, subscribed, None)).await?;
        }
        Ok(true)
    }

    /// Shows every available resource of `owner` to `watcher`: to each of its streams, or by its server.
    fn show_to(&self, owner: &Jid, watcher: &Jid) {
        if self.place(watcher) != Place::Account {
            return self.show_account(owner, watcher);
        }
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

/// What became of a user's own request.
enum Asked {
    Refused(StanzaError),
    Done { routed: bool, granted: bool, revoked: bool },
}

fn state_of(roster: &Roster, contact: &Jid) -> State {
    let pending_in = roster.pending_in.contains(contact);
    let item = roster.item(contact);
    item.map_or(State { pending_in, ..State::default() }, |item| State {
        to: item.to,
        from: item.from,
        pending_out: item.ask,
        pending_in,
        approved: item.approved,
    })
}

/// What of a state stands in the roster: to, from, ask, approved.
fn item_facts(state: State) -> (bool, bool, bool, bool) {
    (state.to, state.from, state.pending_out, state.approved)
}

fn plain(from: &Jid, to: &Jid, kind: &str) -> Bytes {
    Element::new("presence", ns::CLIENT)
        .with_attr("from", from.as_str())
        .with_attr("to", to.as_str())
        .with_attr("type", kind)
        .to_bytes()
}
