//! Blocking (XEP-0191): whom an account does not want to hear from, and what becomes of stanzas between the two.
//!
//! The lists of accounts that are or were lately online are in memory: what a stanza costs is a look into a set. A
//! domain has a list too (XEP-0133 section 4.11), for everybody in it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::turns::Turns;
use super::{Outcome, Server, reports};
use crate::jid::Jid;
use crate::ports::{Roster, StoreError};
use crate::router::Place;
use crate::stanza::{Condition, ErrorType, Kind, Stanza, StanzaError};
use crate::xml::{Element, ns};

pub(super) const BLOCKING: &str = "urn:xmpp:blocking";
const ERRORS: &str = "urn:xmpp:blocking:errors";
/// Lists kept in memory before those of absent accounts are dropped.
const MAX_LISTS: usize = 20_000;

/// The lists in memory.
#[derive(Default)]
pub(super) struct Blocks {
    lists: Mutex<HashMap<Jid, Arc<Blocklist>>>,
    /// Counts what was committed: a list read before a commit is not remembered after it.
    commits: AtomicU64,
    /// Whose list is being changed.
    turns: Turns,
}

impl Blocks {
    fn lists(&self) -> MutexGuard<'_, HashMap<Jid, Arc<Blocklist>>> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whom one account blocks.
#[derive(Debug, Default)]
pub(super) struct Blocklist(HashSet<Jid>);

impl Blocklist {
    /// Whether this address is blocked: by itself, by its account or domain (section 5). A full address that is blocked
    /// says nothing of the account.
    pub(super) fn holds(&self, jid: &Jid) -> bool {
        if self.0.is_empty() {
            return false;
        }
        self.0.contains(jid)
            || self.0.contains(&jid.bare())
            || Jid::new(None, jid.domain(), None).is_ok_and(|domain| self.0.contains(&domain))
    }

    /// All of it, in order.
    pub(super) fn sorted(&self) -> Vec<Jid> {
        let mut blocked: Vec<Jid> = self.0.iter().cloned().collect();
        blocked.sort();
        blocked
    }
}

/// What becomes of a stanza.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nobody minds.
    Pass,
    /// It vanishes.
    Drop,
    /// Its sender is told.
    Refuse(StanzaError),
}

impl Server {
    /// Whether `account` does not want to hear from `jid`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the list cannot be read.
    pub async fn is_blocked(&self, account: &Jid, jid: &Jid) -> Result<bool, StoreError> {
        let account = account.bare();
        Ok(account != jid.bare() && self.blocks_of(&account).await?.holds(jid))
    }

    pub(super) async fn blocks_of(&self, owner: &Jid) -> Result<Arc<Blocklist>, StoreError> {
        let blocks = &self.0.blocks;
        if let Some(list) = blocks.lists().get(owner).cloned() {
            return Ok(list);
        }
        let commits = blocks.commits.load(Ordering::SeqCst);
        let list = self.0.ports.blocklists.load(owner).await?;
        let list = Arc::new(Blocklist(list.into_iter().collect()));
        if blocks.lists().len() >= MAX_LISTS {
            let online: HashSet<Jid> = self.sessions().accounts().cloned().collect();
            blocks.lists().retain(|owner, _| owner.node().is_none() || online.contains(owner));
        }
        let mut lists = blocks.lists();
        if blocks.commits.load(Ordering::SeqCst) == commits {
            lists.insert(owner.clone(), list.clone());
        }
        drop(lists);
        Ok(list)
    }

    /// As [`Server::is_blocked`], from memory: the list of a session that has ever said something is there.
    pub(super) fn blocks_now(&self, account: &Jid, jid: &Jid) -> bool {
        let list = self.0.blocks.lists().get(account).cloned();
        list.is_some_and(|list| *account != jid.bare() && list.holds(jid))
    }

    /// Looks at both ends of a stanza before anything is done with it (section 3.3). Subscriptions are looked at where
    /// they change rosters, so that those of two accounts never disagree.
    pub(super) async fn judge(&self, stanza: &Stanza) -> Result<Verdict, StoreError> {
        let Some(from) = stanza.from() else { return Ok(Verdict::Pass) };
        let sender = from.bare();
        let is_account = self.place(from) == Place::Account;
        // Read for every session, also when it talks to nobody: presence relies on it.
        let own = if is_account { Some(self.blocks_of(&sender).await?) } else { None };
        let Some(to) = stanza.to() else { return Ok(Verdict::Pass) };
        if to.bare() == sender {
            return Ok(Verdict::Pass);
        }
        let place = self.place(to);
        if place != Place::Host && own.is_some_and(|own| own.holds(to)) {
            return Ok(outbound(stanza));
        }
        let refused = (place == Place::Account && self.is_blocked(to, from).await?)
            || self.is_unwelcome(from, to, place).await?;
        Ok(if refused { inbound(stanza) } else { Verdict::Pass })
    }

    /// Whether the domain does not want to hear from somebody, operators apart.
    async fn is_unwelcome(&self, from: &Jid, to: &Jid, place: Place) -> Result<bool, StoreError> {
        let domain = match place {
            Place::Elsewhere => return Ok(false),
            Place::Host | Place::Account => to.domain(),
            Place::Rooms | Place::Uploads => to.domain().split_once('.').map_or("", |(_, d)| d),
        };
        let Ok(domain) = Jid::new(None, domain, None) else { return Ok(false) };
        let list = self.blocks_of(&domain).await?;
        Ok(list.holds(from) && !self.is_admin(from))
    }

    pub(super) fn turn_away(&self, stanza: &Stanza, verdict: Verdict) -> Outcome {
        match verdict {
            Verdict::Refuse(error) => self.bounce(stanza, error),
            Verdict::Drop | Verdict::Pass => Outcome::Ignored,
        }
    }

    /// The list; the device that asked is told of changes from now on (section 3.5).
    pub(super) async fn answer_blocklist(&self, stanza: &Stanza, from: &Jid) -> Outcome {
        let list = match self.blocks_of(&from.bare()).await {
            Ok(list) => list,
            Err(error) => return self.store_failed(stanza, &error),
        };
        if let Some(resource) = self.sessions().get_mut(from) {
            resource.follows_blocks = true;
        }
        self.reply(stanza, Some(items("blocklist", &list.sorted())))
    }

    /// A request to block or unblock; with the reports in it (XEP-0377).
    pub(super) async fn change_blocklist(&self, stanza: &Stanza, from: &Jid) -> Outcome {
        let block = stanza.child("block", BLOCKING);
        let Some(request) = block.or_else(|| stanza.child("unblock", BLOCKING)) else {
            return self.bounce(stanza, StanzaError::new(Condition::BadRequest));
        };
        let named = match self.named(&request, from) {
            Ok(named) => named,
            Err(error) => return self.bounce(stanza, error),
        };
        let owner = from.bare();
        let blocks = request.name() == "block";
        let changed = if blocks {
            let reports = match reports::read(&request, &owner) {
                Ok(reports) => reports,
                Err(error) => return self.bounce(stanza, error),
            };
            self.block(&owner, &named, reports).await
        } else {
            self.unblock(&owner, named).await
        };
        match changed {
            Ok(Some(refused)) => self.bounce(stanza, refused),
            Err(error) => self.store_failed(stanza, &error),
            Ok(None) => {
                let outcome = self.reply(stanza, None);
                // As it was asked, also where it changed nothing; reports are nobody else's business.
                self.push_blocks(&owner, request.name(), &request);
                outcome
            }
        }
    }

    /// The addresses in a request, each once.
    fn named(&self, request: &Element, from: &Jid) -> Result<Vec<Jid>, StanzaError> {
        let mut named = Vec::new();
        for item in request.elements().filter(|e| e.is("item", BLOCKING)) {
            let jid = item.attr("jid").and_then(|jid| Jid::parse(jid).ok());
            let jid = jid.ok_or_else(|| StanzaError::new(Condition::JidMalformed))?;
            if jid.bare() == from.bare() {
                return Err(StanzaError::new(Condition::NotAllowed));
            }
            if !named.contains(&jid) {
                named.push(jid);
            }
            if named.len() > self.config().max_blocked {
                return Err(StanzaError::new(Condition::ResourceConstraint));
            }
        }
        if named.is_empty() && request.name() == "block" {
            return Err(StanzaError::new(Condition::BadRequest));
        }
        Ok(named)
    }

    /// Blocks after those who could see the account have seen it go (section 3.3). An owner that is a domain is nobody
    /// to be seen.
    pub(super) async fn block(
        &self,
        owner: &Jid,
        named: &[Jid],
        reports: Vec<crate::ports::Report>,
    ) -> Result<Option<StanzaError>, StoreError> {
        let _turn = self.0.blocks.turns.take([owner]).await;
        let old = self.blocks_of(owner).await?;
        let mut list = old.0.clone();
        list.extend(named.iter().cloned());
        if list.len() > self.config().max_blocked {
            return Ok(Some(StanzaError::new(Condition::ResourceConstraint)));
        }
        let reports = self.with_evidence(reports).await?;
        // Read before the commit: what is kept holds at once.
        let roster = self.roster(owner).await?;
        self.0.ports.blocklists.block(owner, named, &reports).await?;
        let new = Arc::new(Blocklist(list));
        if owner.node().is_some() {
            self.vanish_for(owner, &roster, &old, &new);
            self.leave_blocked(owner, &new);
        }
        self.remember_blocks(owner, new);
        Ok(None)
    }

    /// Takes addresses off the list, all when none is named, and shows itself again to who may see it (section 3.4).
    pub(super) async fn unblock(
        &self,
        owner: &Jid,
        named: Vec<Jid>,
    ) -> Result<Option<StanzaError>, StoreError> {
        let _turn = self.0.blocks.turns.take([owner]).await;
        let old = self.blocks_of(owner).await?;
        let named = if named.is_empty() { old.sorted() } else { named };
        self.0.ports.blocklists.unblock(owner, &named).await?;
        let mut list = old.0.clone();
        list.retain(|jid| !named.contains(jid));
        let new = Arc::new(Blocklist(list));
        self.remember_blocks(owner, new.clone());
        if owner.node().is_some() {
            self.appear_for(owner, &old, &new).await?;
        }
        Ok(None)
    }

    fn remember_blocks(&self, owner: &Jid, list: Arc<Blocklist>) {
        let mut lists = self.0.blocks.lists();
        self.0.blocks.commits.fetch_add(1, Ordering::SeqCst);
        lists.insert(owner.clone(), list);
    }

    /// An account is gone.
    pub(super) fn forget_blocks(&self, owner: &Jid) {
        let mut lists = self.0.blocks.lists();
        self.0.blocks.commits.fetch_add(1, Ordering::SeqCst);
        lists.remove(owner);
    }

    /// Everybody who could see the account and is blocked now sees it go.
    fn vanish_for(&self, owner: &Jid, roster: &Roster, old: &Blocklist, new: &Blocklist) {
        let newly = |jid: &Jid| new.holds(jid) && !old.holds(jid);
        let contacts: Vec<Jid> = roster
            .items
            .iter()
            .filter(|i| i.from && newly(&i.jid))
            .map(|i| i.jid.clone())
            .collect();
        for (device, directed) in self.take_directed(owner, newly) {
            let gone = unavailable(&device);
            for to in contacts.iter().chain(&directed) {
                self.show_one(&device, to, &gone);
            }
        }
        for contact in &contacts {
            self.0.ports.watch.permission_changed(owner, contact, false);
        }
    }

    /// The devices that others know of, each with whom of these it has shown itself to by directed presence.
    fn take_directed(&self, owner: &Jid, whom: impl Fn(&Jid) -> bool) -> Vec<(Jid, Vec<Jid>)> {
        let mut sessions = self.sessions();
        let devices: Vec<Jid> = sessions.of(owner).iter().map(|r| r.jid.clone()).collect();
        let mut taken = Vec::new();
        for jid in devices {
            let Some(resource) = sessions.get_mut(&jid) else { continue };
            let (directed, kept) =
                std::mem::take(&mut resource.directed).into_iter().partition(&whom);
            resource.directed = kept;
            if resource.presence.is_some() || !Vec::is_empty(&directed) {
                taken.push((jid, directed));
            }
        }
        taken
    }

    async fn appear_for(
        &self,
        owner: &Jid,
        old: &Blocklist,
        new: &Blocklist,
    ) -> Result<(), StoreError> {
        let again = |jid: &Jid| old.holds(jid) && !new.holds(jid);
        let roster = self.roster(owner).await?;
        let shown: Vec<(Jid, bytes::Bytes)> = self
            .sessions()
            .of(owner)
            .iter()
            .filter_map(|r| Some((r.jid.clone(), r.presence.as_ref()?.stanza.clone())))
            .collect();
        for item in roster.items.iter().filter(|i| again(&i.jid)) {
            if item.from {
                for (device, presence) in &shown {
                    self.show_one(device, &item.jid, presence);
                }
                self.0.ports.watch.permission_changed(owner, &item.jid, true);
            }
            if item.to && self.is_local(&item.jid) {
                for (device, _) in &shown {
                    self.show_account(&item.jid, device);
                }
            }
        }
        Ok(())
    }

    /// One device's presence to one address, whatever is blocked.
    fn show_one(&self, device: &Jid, to: &Jid, presence: &bytes::Bytes) {
        if self.place(to) == Place::Account && to.resource().is_none() {
            self.send_presence(to, device, presence);
        } else {
            self.emit(device, to, &super::addressed(presence, to));
        }
    }

    fn push_blocks(&self, owner: &Jid, name: &str, request: &Element) {
        let named = request.elements().filter(|e| e.is("item", BLOCKING));
        let named = named.filter_map(|e| Jid::parse(e.attr("jid")?).ok());
        let change = items(name, &named.collect::<Vec<_>>());
        let followers: Vec<Jid> = self
            .sessions()
            .of(owner)
            .iter()
            .filter(|r| r.follows_blocks)
            .map(|r| r.jid.clone())
            .collect();
        for device in followers {
            self.push_iq(&device, change.clone());
        }
    }
}

/// What somebody sends to whom it has blocked (section 3.3).
fn outbound(stanza: &Stanza) -> Verdict {
    if matches!(stanza.type_(), Some("error" | "result")) {
        return Verdict::Drop;
    }
    let error = StanzaError::new(Condition::NotAcceptable)
        .with_kind(ErrorType::Cancel)
        .with_detail(Element::new("blocked", ERRORS));
    Verdict::Refuse(error)
}

/// What somebody sends to who has blocked it (section 3.3): as if nobody were there.
fn inbound(stanza: &Stanza) -> Verdict {
    let refused = Verdict::Refuse(StanzaError::new(Condition::ServiceUnavailable));
    match (stanza.kind(), stanza.type_()) {
        (Kind::Presence, Some("subscribe" | "subscribed" | "unsubscribe" | "unsubscribed")) => {
            Verdict::Pass
        }
        (Kind::Presence, _) | (Kind::Message, Some("error" | "groupchat")) => Verdict::Drop,
        (Kind::Iq, Some("result" | "error")) => Verdict::Drop,
        (Kind::Message | Kind::Iq, _) => refused,
    }
}

fn items(name: &str, jids: &[Jid]) -> Element {
    let item = |jid: &Jid| Element::new("item", BLOCKING).with_attr("jid", jid.as_str());
    Element::new(name, BLOCKING).with_children(jids.iter().map(item))
}

fn unavailable(device: &Jid) -> bytes::Bytes {
    Element::new("presence", ns::CLIENT)
        .with_attr("from", device.as_str())
        .with_attr("type", "unavailable")
        .to_bytes()
}
