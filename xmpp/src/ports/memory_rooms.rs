//! Rooms in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::memory::lock;
use super::{
    Affiliation, BoxFuture, Jid, Member, RoomChange, RoomRecord, Rooms, StoreError, StoredRoom,
};

#[derive(Debug, Default)]
struct Kept {
    record: RoomRecord,
    people: HashMap<Jid, Member>,
    vcard: Option<String>,
}

/// Rooms that are lost with the process.
#[derive(Debug, Default)]
pub struct MemoryRooms {
    rooms: Mutex<BTreeMap<Jid, Kept>>,
    broken: AtomicBool,
}

impl MemoryRooms {
    /// From now on everything fails, or works again.
    pub fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("told to fail".into()));
        }
        Ok(())
    }

    fn change(&self, room: &Jid, change: RoomChange) {
        let mut rooms = lock(&self.rooms);
        if let Some(record) = change.record {
            rooms.entry(room.clone()).or_default().record = record;
        }
        let Some(kept) = rooms.get_mut(room) else { return };
        for (jid, member) in change.people {
            match member {
                Some(member) => kept.people.insert(jid, member),
                None => kept.people.remove(&jid),
            };
        }
        if let Some(vcard) = change.vcard {
            kept.vcard = Some(vcard).filter(|v| !v.is_empty());
        }
    }
}

impl Rooms for MemoryRooms {
    fn load<'a>(&'a self, room: &'a Jid) -> BoxFuture<'a, Result<Option<StoredRoom>, StoreError>> {
        Box::pin(async move {
            self.check()?;
            Ok(lock(&self.rooms).get(room).map(|kept| StoredRoom {
                record: kept.record.clone(),
                people: kept.people.iter().map(|(j, m)| (j.clone(), m.clone())).collect(),
            }))
        })
    }

    fn save<'a>(
        &'a self,
        room: &'a Jid,
        change: RoomChange,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.check()?;
            self.change(room, change);
            Ok(())
        })
    }

    fn remove<'a>(&'a self, room: &'a Jid) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.check()?;
            lock(&self.rooms).remove(room);
            Ok(())
        })
    }

    fn vcard<'a>(&'a self, room: &'a Jid) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        Box::pin(async move {
            self.check()?;
            Ok(lock(&self.rooms).get(room).and_then(|kept| kept.vcard.clone()))
        })
    }

    fn public<'a>(
        &'a self,
        service: &'a str,
        after: Option<&'a str>,
        max: usize,
    ) -> BoxFuture<'a, Result<Vec<(Jid, String)>, StoreError>> {
        Box::pin(async move {
            self.check()?;
            let rooms = lock(&self.rooms);
            let after = after.and_then(|after| Jid::parse(after).ok());
            let mut listed: Vec<_> = rooms
                .iter()
                .filter(|(jid, kept)| kept.record.config.public && jid.domain() == service)
                .filter(|(jid, _)| after.as_ref().is_none_or(|after| jid.node() > after.node()))
                .collect();
            listed.sort_by_key(|(jid, _)| jid.node());
            let listed = listed.into_iter().take(max);
            Ok(listed.map(|(j, k)| (j.clone(), k.record.config.name.clone())).collect())
        })
    }

    fn of<'a>(&'a self, person: &'a Jid) -> BoxFuture<'a, Result<Vec<Jid>, StoreError>> {
        Box::pin(async move {
            self.check()?;
            let rooms = lock(&self.rooms);
            let known = rooms.iter().filter(|(_, kept)| kept.people.contains_key(person));
            Ok(known.map(|(jid, _)| jid.clone()).collect())
        })
    }

    fn count<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<(usize, usize), StoreError>> {
        Box::pin(async move {
            self.check()?;
            let rooms = lock(&self.rooms);
            let owns = |kept: &&Kept| {
                kept.people.get(owner).is_some_and(|m| m.affiliation == Affiliation::Owner)
            };
            Ok((rooms.len(), rooms.values().filter(owns).count()))
        })
    }
}
