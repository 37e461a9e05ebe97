//! Block lists, reports, invitations and the list of accounts in memory.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::memory::{MemoryStore, lock};
use super::{Blocklists, BoxFuture, Directory, Invite, Invites, Listed, Report, StoreError};
use crate::jid::Jid;

/// Most unused invitations of one inviter.
const MAX_INVITES: usize = 100;
/// Most reports of one reporter.
const MAX_REPORTS: usize = 1_000;

/// What is lost with the process. Its clock is turned by hand.
#[derive(Debug, Default)]
pub struct MemoryDesk {
    blocked: Mutex<HashMap<Jid, BTreeSet<Jid>>>,
    reports: Mutex<Vec<Report>>,
    /// By token, with their end.
    invites: Mutex<HashMap<String, (Invite, i64)>>,
    now: AtomicI64,
}

impl MemoryDesk {
    /// The reports that were kept.
    pub fn reports(&self) -> Vec<Report> {
        lock(&self.reports).clone()
    }

    /// Turns the clock on.
    pub fn pass(&self, time: Duration) {
        self.now.fetch_add(time.as_millis().try_into().unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// The time by its clock, in milliseconds.
    pub fn now(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }
}

impl Blocklists for MemoryDesk {
    fn load<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<Vec<Jid>, StoreError>> {
        let blocked = lock(&self.blocked).get(owner).cloned().unwrap_or_default();
        Box::pin(std::future::ready(Ok(blocked.into_iter().collect())))
    }

    fn block<'a>(
        &'a self,
        owner: &'a Jid,
        blocked: &'a [Jid],
        reports: &'a [Report],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        lock(&self.blocked).entry(owner.clone()).or_default().extend(blocked.iter().cloned());
        let mut kept = lock(&self.reports);
        for report in reports {
            if kept.iter().filter(|r| r.reporter == report.reporter).count() < MAX_REPORTS {
                kept.push(report.clone());
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn unblock<'a>(
        &'a self,
        owner: &'a Jid,
        unblocked: &'a [Jid],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        if let Some(blocked) = lock(&self.blocked).get_mut(owner) {
            blocked.retain(|jid| !unblocked.contains(jid));
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Invites for MemoryDesk {
    fn add<'a>(
        &'a self,
        token: &'a str,
        invite: &'a Invite,
        lifetime: Duration,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        let now = self.now();
        let end = now + i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX / 2);
        let mut invites = lock(&self.invites);
        let same = |other: &&(Invite, i64)| other.1 > now && other.0.inviter == invite.inviter;
        let taken = invites.values().any(|(other, end)| {
            *end > now
                && invite.name.is_some()
                && other.name == invite.name
                && other.domain == invite.domain
        });
        let many = invite.inviter.is_some() && invites.values().filter(same).count() >= MAX_INVITES;
        let kept = !taken && !many;
        if kept {
            invites.insert(token.to_owned(), (invite.clone(), end));
        }
        let stamp = format!("1970-01-01T00:00:00Z+{end}ms");
        Box::pin(std::future::ready(Ok(kept.then_some(stamp))))
    }

    fn find<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<Invite>, StoreError>> {
        let found = lock(&self.invites).get(token).cloned();
        let now = self.now();
        let usable = found.filter(|(_, end)| *end > now).map(|(invite, _)| invite);
        Box::pin(std::future::ready(Ok(usable)))
    }

    fn is_there<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        let there = lock(&self.invites).contains_key(token);
        Box::pin(std::future::ready(Ok(there)))
    }

    fn take<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        let taken = lock(&self.invites).remove(token).is_some();
        Box::pin(std::future::ready(Ok(taken)))
    }

    fn reserves<'a>(&'a self, account: &'a Jid) -> BoxFuture<'a, Result<bool, StoreError>> {
        let now = self.now();
        let reserved = lock(&self.invites).values().any(|(invite, end)| {
            *end > now
                && invite.name.as_deref() == account.node()
                && invite.domain == account.domain()
        });
        Box::pin(std::future::ready(Ok(reserved)))
    }
}

/// The accounts of a [`MemoryStore`], and which of them may not log in.
#[derive(Debug)]
pub struct MemoryDirectory {
    store: std::sync::Arc<MemoryStore>,
    desk: std::sync::Arc<MemoryDesk>,
    disabled: Mutex<HashSet<Jid>>,
}

impl MemoryDirectory {
    /// Over these accounts, with the desk's clock.
    pub fn new(store: std::sync::Arc<MemoryStore>, desk: std::sync::Arc<MemoryDesk>) -> Self {
        Self { store, desk, disabled: Mutex::default() }
    }

    fn listed(&self, domain: &str) -> Vec<Listed> {
        let disabled = lock(&self.disabled);
        let mut accounts = self.store.accounts();
        accounts.retain(|account| account.domain() == domain);
        accounts.sort_by(|a, b| a.node().cmp(&b.node()));
        let listed = |account: Jid| Listed { disabled: disabled.contains(&account), account };
        accounts.into_iter().map(listed).collect()
    }
}

impl Directory for MemoryDirectory {
    fn list<'a>(
        &'a self,
        domain: &'a str,
        after: Option<&'a str>,
        max: usize,
    ) -> BoxFuture<'a, Result<Vec<Listed>, StoreError>> {
        let mut listed = self.listed(domain);
        listed.retain(|l| after.is_none_or(|after| l.account.node() > Some(after)));
        listed.truncate(max);
        Box::pin(std::future::ready(Ok(listed)))
    }

    fn count<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<(u64, u64), StoreError>> {
        let listed = self.listed(domain);
        let disabled = listed.iter().filter(|l| l.disabled).count() as u64;
        Box::pin(std::future::ready(Ok((listed.len() as u64, disabled))))
    }

    fn set_disabled<'a>(
        &'a self,
        account: &'a Jid,
        disabled: bool,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let known = self.store.accounts().contains(account);
        let mut list = lock(&self.disabled);
        if known && disabled {
            list.insert(account.clone());
        } else {
            list.remove(account);
        }
        Box::pin(std::future::ready(Ok(known)))
    }

    fn unix_ms(&self) -> i64 {
        self.desk.now()
    }
}
