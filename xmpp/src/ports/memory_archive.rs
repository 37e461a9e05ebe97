//! The archive in memory, for tests (XEP-0313): the same promises as the real one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::ready;

use bytes::Bytes;

use super::memory::{MemoryStore, lock};
use super::{
    Archive, ArchivePrefs, ArchiveQuery, ArchiveRow, Archived, BoxFuture, Entry, Page, Seq,
    StoreError, Stored,
};
use crate::jid::Jid;

/// 2026-01-01T00:00:00Z; every message is a second after the one before.
const EPOCH: Seq = 1_767_225_600_000_000;
const SECOND: Seq = 1_000_000;

/// All archives.
#[derive(Debug, Default)]
pub(super) struct Archives {
    bodies: BTreeMap<Seq, Body>,
    rows: BTreeMap<(Jid, Seq), ArchiveRow>,
    once: HashMap<String, Seq>,
    prefs: HashMap<Jid, ArchivePrefs>,
    returned: HashSet<Seq>,
    last: Seq,
}

#[derive(Debug)]
struct Body {
    stanza: Bytes,
    name: Option<String>,
    groupchat: bool,
}

impl Archives {
    /// The next place; messages that only wait take one too.
    pub(super) fn next(&mut self) -> Seq {
        self.last = self.last.max(EPOCH) + SECOND;
        self.last
    }

    pub(super) fn stanza(&self, seq: Seq) -> Option<Bytes> {
        Some(self.bodies.get(&seq)?.stanza.clone())
    }

    fn append(&mut self, entry: Entry) -> (Stored, Vec<Jid>) {
        if let Some(seq) = entry.once.as_ref().and_then(|once| self.once.get(once)) {
            return (Stored { seq: *seq, duplicate: true }, Vec::new());
        }
        let seq = self.next();
        if let Some(once) = entry.once {
            self.once.insert(once, seq);
        }
        let waiting = entry.rows.iter().filter(|p| p.waits).map(|p| p.owner.clone()).collect();
        for row in entry.rows {
            self.rows.insert((row.owner.clone(), seq), row);
        }
        let body = Body { stanza: entry.stanza, name: entry.name, groupchat: entry.groupchat };
        self.bodies.insert(seq, body);
        (Stored { seq, duplicate: false }, waiting)
    }

    fn page(&self, query: &ArchiveQuery) -> Option<Page> {
        let has = |seq: &Seq| self.rows.contains_key(&(query.owner.clone(), *seq));
        let named = query.after.iter().chain(&query.before).chain(query.ids.iter().flatten());
        if !named.into_iter().all(has) {
            return None;
        }
        let matches = |seq: Seq| {
            query.start.is_none_or(|at| seq >= at)
                && query.end.is_none_or(|at| seq <= at)
                && query.ids.as_ref().is_none_or(|ids| ids.contains(&seq))
        };
        let of_owner = self.rows.iter().filter(|((owner, _), _)| *owner == query.owner);
        let all: Vec<Seq> = of_owner
            .filter(|((_, seq), place)| {
                let with = query.with.as_ref().is_none_or(|with| {
                    *with == place.peer || (with.is_bare() && *with == place.peer.bare())
                });
                let groupchat = self.bodies.get(seq).map(|b| b.groupchat);
                with && matches(*seq) && query.groupchat.is_none_or(|g| Some(g) == groupchat)
            })
            .map(|((_, seq), _)| *seq)
            .collect();
        let paged: Vec<Seq> = all
            .iter()
            .copied()
            .filter(|seq| query.after.iter().all(|a| seq > a))
            .filter(|seq| query.before.iter().all(|b| seq < b))
            .collect();
        let size = |seq: &Seq| self.bodies.get(seq).map_or(0, |body| body.stanza.len());
        let cut = if query.last {
            fitting(paged.iter().rev().map(size), query)
        } else {
            fitting(paged.iter().map(size), query)
        };
        let chosen = if query.last { paged.split_at(paged.len() - cut).1 } else { &paged[..cut] };
        let counted = query.count || query.max == 0;
        let messages: Vec<Archived> = chosen
            .iter()
            .filter_map(|seq| Some(Archived { seq: *seq, stanza: self.stanza(*seq)? }))
            .collect();
        let first = messages.first().map(|m| m.seq);
        Some(Page {
            complete: cut == paged.len(),
            count: counted.then_some(all.len() as u64),
            index: first
                .filter(|_| counted)
                .map(|first| all.iter().filter(|seq| **seq < first).count() as u64),
            messages,
        })
    }

    fn forget(&mut self, owner: &Jid) {
        self.rows.retain(|(o, _), _| o != owner);
        self.prefs.remove(owner);
        let kept: Vec<Seq> = self.rows.keys().map(|(_, seq)| *seq).collect();
        self.bodies.retain(|seq, _| kept.contains(seq));
    }
}

/// How many messages of these sizes are on a page.
fn fitting(sizes: impl Iterator<Item = usize>, query: &ArchiveQuery) -> usize {
    let mut bytes = 0_usize;
    let fits = sizes.take(query.max).enumerate().take_while(|(at, size)| {
        bytes = bytes.saturating_add(*size);
        *at == 0 || bytes <= query.max_bytes
    });
    fits.count()
}

impl MemoryStore {
    /// What an archive holds, oldest first.
    pub fn archived(&self, owner: &Jid) -> Vec<Archived> {
        let query = ArchiveQuery::new(owner.clone(), usize::MAX);
        self.archives().page(&query).unwrap_or_default().messages
    }

    pub(crate) fn forget_archive(&self, owner: &Jid) {
        self.archives().forget(owner);
    }
}

impl Archive for MemoryStore {
    fn append(&self, entry: Entry) -> BoxFuture<'static, Result<Stored, StoreError>> {
        let stored = self.check().map(|()| {
            let (stored, waiting) = self.archives().append(entry);
            for owner in waiting {
                self.mark_waiting(&owner, stored.seq);
            }
            stored
        });
        Box::pin(ready(stored))
    }

    fn page<'a>(
        &'a self,
        query: &'a ArchiveQuery,
    ) -> BoxFuture<'a, Result<Option<Page>, StoreError>> {
        Box::pin(async move {
            self.check()?;
            Ok(self.archives().page(query))
        })
    }

    fn find<'a>(
        &'a self,
        owner: &'a Jid,
        peer: &'a Jid,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Archived>, StoreError>> {
        Box::pin(async move {
            self.check()?;
            let archives = self.archives();
            let rows = archives.rows.iter().rev().filter(|((o, seq), place)| {
                let same =
                    archives.bodies.get(seq).is_some_and(|b| b.name.as_deref() == Some(name));
                o == owner && place.peer.bare() == *peer && same
            });
            Ok(rows
                .filter_map(|((_, seq), _)| {
                    Some(Archived { seq: *seq, stanza: archives.stanza(*seq)? })
                })
                .collect())
        })
    }

    fn replace(&self, seq: Seq, stanza: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.check()?;
            if let Some(body) = self.archives().bodies.get_mut(&seq) {
                body.stanza = stanza;
            }
            Ok(())
        })
    }

    fn set_returned(&self, seq: Seq, returned: bool) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            self.check()?;
            let noted = &mut self.archives().returned;
            Ok(if returned { !noted.insert(seq) } else { noted.remove(&seq) })
        })
    }

    fn forget<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.check()?;
            self.archives().forget(owner);
            Ok(())
        })
    }

    fn prefs<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<ArchivePrefs, StoreError>> {
        Box::pin(async move {
            self.check()?;
            Ok(self.archives().prefs.get(owner).cloned().unwrap_or_default())
        })
    }

    fn set_prefs<'a>(
        &'a self,
        owner: &'a Jid,
        prefs: &'a ArchivePrefs,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.check()?;
            lock(&self.archives).prefs.insert(owner.bare(), prefs.clone());
            Ok(())
        })
    }
}
