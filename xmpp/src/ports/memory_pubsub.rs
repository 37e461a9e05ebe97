//! The port [`PubSub`] in memory, for tests: the same promises as the real one, with a clock that is set by hand.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::pubsub::{Bounds, Item, Kept, Node, Page, PubSub, Wanted};
use super::{BoxFuture, StoreError};
use crate::jid::Jid;

/// A node and its items, oldest first, each with the second it was published in.
type Stored = (Node, Vec<(u64, Item)>);
/// By owner and name.
type Nodes = BTreeMap<(Jid, String), Stored>;

/// Nodes and items in a map.
#[derive(Debug, Default)]
pub struct MemoryPubSub {
    nodes: Mutex<Nodes>,
    now: AtomicU64,
    reads: AtomicU64,
    broken: AtomicBool,
}

impl MemoryPubSub {
    /// Lets this many seconds go by.
    pub fn advance(&self, seconds: u64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }

    /// How often nodes or items were asked for.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// From now on everything fails, or works again.
    pub fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }

    fn lock(&self) -> Result<MutexGuard<'_, Nodes>, StoreError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("told to fail".into()));
        }
        Ok(self.nodes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn expire(&self, stored: &mut Stored) {
        if let Some(seconds) = stored.0.config.item_expire {
            let now = self.now.load(Ordering::Relaxed);
            stored.1.retain(|(at, _)| at + seconds > now);
        }
    }

    fn keep(
        &self,
        owner: &Jid,
        node: &Node,
        items: &[Item],
        bounds: Bounds,
    ) -> Result<Kept, StoreError> {
        let mut nodes = self.lock()?;
        let before = nodes.clone();
        let key = (owner.bare(), node.name.clone());
        let stored = nodes.entry(key).or_insert_with(|| (node.clone(), Vec::new()));
        self.expire(stored);
        for item in items {
            stored.1.retain(|(_, old)| old.id != item.id);
            stored.1.push((self.now.load(Ordering::Relaxed), item.clone()));
        }
        let keep = usize::try_from(bounds.items).unwrap_or(usize::MAX);
        let excess = stored.1.len().saturating_sub(keep);
        let gone = stored.1.drain(..excess).map(|(_, item)| item.id).collect();
        let own = nodes.iter().filter(|((o, _), _)| *o == owner.bare());
        let bytes: usize =
            own.flat_map(|(_, (_, items))| items).map(|(_, item)| item.payload.len()).sum();
        if u64::try_from(bytes).unwrap_or(u64::MAX) > bounds.bytes {
            *nodes = before;
            return Ok(Kept::Full);
        }
        Ok(Kept::Yes(gone))
    }

    fn page(&self, owner: &Jid, node: &Node, wanted: &Wanted) -> Result<Option<Page>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let mut nodes = self.lock()?;
        let Some(stored) = nodes.get_mut(&(owner.bare(), node.name.clone())) else {
            return Ok(Some(Page::default()));
        };
        self.expire(stored);
        let items: Vec<Item> = stored.1.iter().map(|(_, item)| item.clone()).collect();
        let place = |id: &str| items.iter().position(|item| item.id == *id);
        let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let range = match wanted {
            Wanted::Ids(ids) => {
                let found = items.iter().filter(|item| ids.contains(&item.id)).cloned();
                let total = u32::try_from(items.len()).unwrap_or(u32::MAX);
                return Ok(Some(Page { items: found.collect(), first: 0, total }));
            }
            Wanted::After(None, count) => 0..size(*count),
            Wanted::After(Some(id), count) => match place(id) {
                Some(at) => at + 1..(at + 1).saturating_add(size(*count)),
                None => return Ok(None),
            },
            Wanted::Before(id, count) => {
                let end = match id {
                    Some(id) => place(id),
                    None => Some(items.len()),
                };
                let Some(end) = end else { return Ok(None) };
                end.saturating_sub(size(*count))..end
            }
            Wanted::At(at, count) => size(*at)..size(*at).saturating_add(size(*count)),
        };
        let total = u32::try_from(items.len()).unwrap_or(u32::MAX);
        let start = range.start.min(items.len());
        let end = range.end.min(items.len());
        let first = u32::try_from(start).unwrap_or(u32::MAX);
        let items = items.get(start..end).unwrap_or_default().to_vec();
        Ok(Some(Page { items, first, total }))
    }
}

impl PubSub for MemoryPubSub {
    fn nodes<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<Vec<Node>, StoreError>> {
        Box::pin(async move {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let nodes = self.lock()?;
            let own = nodes.iter().filter(|((o, _), _)| *o == owner.bare());
            Ok(own.map(|(_, (node, _))| node.clone()).collect())
        })
    }

    fn put_node<'a>(
        &'a self,
        owner: &'a Jid,
        node: &'a Node,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut nodes = self.lock()?;
            let key = (owner.bare(), node.name.clone());
            nodes.entry(key).or_insert_with(|| (node.clone(), Vec::new())).0 = node.clone();
            Ok(())
        })
    }

    fn remove_node<'a>(
        &'a self,
        owner: &'a Jid,
        name: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.lock()?.remove(&(owner.bare(), name.to_owned()));
            Ok(())
        })
    }

    fn publish<'a>(
        &'a self,
        owner: &'a Jid,
        node: &'a Node,
        items: &'a [Item],
        bounds: Bounds,
    ) -> BoxFuture<'a, Result<Kept, StoreError>> {
        Box::pin(async move { self.keep(owner, node, items, bounds) })
    }

    fn retract<'a>(
        &'a self,
        owner: &'a Jid,
        node: &'a str,
        ids: Option<&'a [String]>,
    ) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        Box::pin(async move {
            let mut nodes = self.lock()?;
            let Some(stored) = nodes.get_mut(&(owner.bare(), node.to_owned())) else {
                return Ok(Vec::new());
            };
            self.expire(stored);
            let all = std::mem::take(&mut stored.1);
            let wanted = |item: &Item| ids.is_none_or(|ids| ids.contains(&item.id));
            let (gone, left): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, i)| wanted(i));
            stored.1 = left;
            Ok(gone.into_iter().map(|(_, item)| item.id).collect())
        })
    }

    fn items<'a>(
        &'a self,
        owner: &'a Jid,
        node: &'a Node,
        wanted: &'a Wanted,
    ) -> BoxFuture<'a, Result<Option<Page>, StoreError>> {
        Box::pin(async move { self.page(owner, node, wanted) })
    }
}
