//! Rooms (XEP-0045): who is asked for what, which rooms are in memory, and what they want done.
//!
//! A room is a machine behind a lock of its own, so that rooms do not wait for each other. What it wants sent is queued
//! while the lock is held: everybody inside sees one order. What must be kept is planned under the lock, committed
//! while only the room's turn is held, and then applied. A room is in memory from its first use until nobody is inside
//! and the memory is wanted.

mod about;
mod admin;
mod avatar;
mod blocked;
mod config;
mod departure;
mod disco;
mod form;
mod hats;
mod history;
mod invite;
mod iq;
mod join;
mod message;
mod moderate;
mod owner;
mod presence;
mod private;
mod register;
mod room;
mod route;
mod say;
mod voice;
mod wire;

pub use self::about::RoomAbout;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::presence::Removal;
use self::room::{Action, Now, Room, said};
pub(super) use self::say::Taken;
use self::wire::{Shared, Target};
use super::Server;
use super::turns::Turns;
use crate::jid::Jid;
use crate::ports::{Outbox, RoomChange, StoreError};
use crate::router::Place;
use crate::stanza::{Stanza, StanzaError, stamp};
use crate::xml::Element;

/// Rooms kept in memory before those that nobody is in are dropped.
const MAX_IDLE: usize = 10_000;

/// The rooms of the node that are in memory.
#[derive(Default)]
pub(super) struct Halls {
    rooms: Mutex<HashMap<Jid, Hall>>,
    /// Which rooms a session is in, by its full address. Whatever ends the session, it leaves them.
    visits: Mutex<HashMap<Jid, Vec<Jid>>>,
    /// Whose lasting part is being changed.
    turns: Turns,
}

/// A room and its lock.
type Hall = Arc<Mutex<Room>>;

/// Why a command was not done.
#[derive(Debug)]
enum Refusal {
    /// It may not, or cannot be.
    Stanza(StanzaError),
    /// The store failed.
    Store(StoreError),
}

impl From<StanzaError> for Refusal {
    fn from(error: StanzaError) -> Self {
        Self::Stanza(error)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What the store must do before a change is applied.
enum Keep {
    Nothing,
    Save(Box<RoomChange>),
    Remove,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a room has for somebody outside.
struct Post {
    /// Who has it given.
    by: Option<Jid>,
    element: Element,
}

/// How something reaches one who is inside.
enum Way {
    Stream(Arc<dyn Outbox>),
    Device,
    Remote,
    Nobody,
}

impl Server {
    /// The time, as rooms note it.
    fn now(&self) -> (String, i64) {
        let stamp = self.0.ports.accounts.stamp();
        let micros = stamp::parse(&stamp).unwrap_or_default();
        (stamp, micros)
    }

    /// A room that is there, out of memory or the store.
    async fn hall(&self, jid: &Jid) -> Result<Option<Hall>, StoreError> {
        let halls = &self.0.halls;
        if let Some(hall) = lock(&halls.rooms).get(jid).cloned() {
            return Ok(Some(hall));
        }
        let turn = halls.turns.take([jid]).await;
        let hall = self.hall_in_turn(jid).await;
        drop(turn);
        hall
    }

    /// As [`Server::hall`], for who holds the room's turn.
    async fn hall_in_turn(&self, jid: &Jid) -> Result<Option<Hall>, StoreError> {
        let halls = &self.0.halls;
        if let Some(hall) = lock(&halls.rooms).get(jid).cloned() {
            return Ok(Some(hall));
        }
        let Some(stored) = self.0.ports.rooms.load(jid).await? else { return Ok(None) };
        let mut room = Room::load(jid, stored, &self.0.config.rooms);
        self.recall(&mut room).await;
        Ok(Some(self.open_hall(room)))
    }

    /// Puts a room into memory; idle ones make place for it.
    fn open_hall(&self, room: Room) -> Hall {
        let jid = room.jid.clone();
        let hall = Arc::new(Mutex::new(room));
        let mut rooms = lock(&self.0.halls.rooms);
        if rooms.len() >= MAX_IDLE {
            rooms.retain(|_, hall| {
                // One that is in use is not idle. Who still holds an idle one looks again.
                let Ok(mut room) = hall.try_lock() else { return true };
                let idle = room.stored && room.occupants.is_empty();
                room.closed |= idle;
                !idle
            });
        }
        rooms.insert(jid, hall.clone());
        hall
    }

    /// Runs a command in a room; what it wants done is done in the same moment. `None` when there is no such room.
    async fn in_room<T>(
        &self,
        jid: &Jid,
        command: impl FnOnce(&mut Room, Now<'_>, &mut Vec<Action>) -> T,
    ) -> Result<Option<T>, StoreError> {
        let (result, posts) = loop {
            let Some(hall) = self.hall(jid).await? else { return Ok(None) };
            let mut room = lock(&hall);
            if !room.closed {
                break self.run(&mut room, command);
            }
        };
        self.post(posts).await;
        Ok(Some(result))
    }

    /// As [`Server::in_room`] for a room in memory, without waiting. What would have to wait is dropped.
    fn in_hall<T>(
        &self,
        jid: &Jid,
        command: impl FnOnce(&mut Room, Now<'_>, &mut Vec<Action>) -> T,
    ) -> Option<T> {
        let hall = lock(&self.0.halls.rooms).get(jid).cloned()?;
        let mut room = lock(&hall);
        (!room.closed).then(|| self.run(&mut room, command).0)
    }

    fn run<T>(
        &self,
        room: &mut Room,
        command: impl FnOnce(&mut Room, Now<'_>, &mut Vec<Action>) -> T,
    ) -> (T, Vec<Post>) {
        let (stamp, micros) = self.now();
        let mut actions = Vec::new();
        let result = command(room, Now { stamp: &stamp, micros }, &mut actions);
        (result, self.perform(room, actions))
    }

    /// Changes the lasting part of a room: planned, kept, applied. `unlocks` says that a room which was being made is
    /// one afterwards.
    async fn change_room<P>(
        &self,
        jid: &Jid,
        unlocks: bool,
        plan: impl FnOnce(&mut Room, &mut Vec<Action>) -> Result<(RoomChange, P), StanzaError>,
        apply: impl FnOnce(&mut Room, &RoomChange, P, &mut Vec<Action>),
    ) -> Result<(), Refusal> {
        let not_found = || StanzaError::new(crate::stanza::Condition::ItemNotFound);
        let turn = self.0.halls.turns.take([jid]).await;
        let (hall, (change, plan, keep, mut posts)) = loop {
            let hall = self.hall_in_turn(jid).await?.ok_or_else(not_found)?;
            let mut room = lock(&hall);
            // Dropped from memory since it was found.
            if room.closed {
                continue;
            }
            let mut actions = Vec::new();
            let (change, plan) = plan(&mut room, &mut actions)?;
            let keep = keep(&room, &change, unlocks);
            let posts = self.perform(&mut room, actions);
            drop(room);
            break (hall, (change, plan, keep, posts));
        };
        let persists = match keep {
            Keep::Nothing => None,
            Keep::Save(change) => {
                self.0.ports.rooms.save(jid, *change).await?;
                Some(true)
            }
            Keep::Remove => {
                self.0.ports.rooms.remove(jid).await?;
                Some(false)
            }
        };
        {
            let mut room = lock(&hall);
            room.stored = persists.unwrap_or(room.stored);
            let mut actions = Vec::new();
            apply(&mut room, &change, plan, &mut actions);
            posts.extend(self.perform(&mut room, actions));
        }
        drop(turn);
        self.post(posts).await;
        Ok(())
    }

    /// Does what a room wants, in its order and under its lock. Gives what is for others than those inside.
    fn perform(&self, room: &mut Room, actions: Vec<Action>) -> Vec<Post> {
        let mut posts = Vec::new();
        let mut lost = Vec::new();
        let mut actions = actions;
        loop {
            for action in actions.drain(..) {
                match action {
                    Action::Cast(targets, shared) => {
                        self.cast(&room.jid, &targets, &shared, &mut lost);
                    }
                    Action::Send(target, shared) => {
                        self.cast(&room.jid, &[target], &shared, &mut lost);
                    }
                    Action::Tell(to, element) => {
                        self.emit(&room.jid, &to, &element.to_bytes());
                    }
                    Action::Post(element) => posts.push(Post { by: None, element }),
                    Action::Pass(by, element) => posts.push(Post { by: Some(by), element }),
                    Action::Entered(session) => {
                        let mut visits = lock(&self.0.halls.visits);
                        visits.entry(session).or_default().push(room.jid.clone());
                    }
                    Action::Left(session) => self.forget_visit(&session, &room.jid),
                    Action::Close => {
                        lock(&self.0.halls.rooms).remove(&room.jid);
                    }
                }
            }
            // Who cannot be reached is not inside (section 11.1): no ghosts.
            for session in lost.drain(..) {
                room.lost(&session, &mut actions);
            }
            if actions.is_empty() {
                return posts;
            }
        }
    }

    fn forget_visit(&self, session: &Jid, room: &Jid) {
        let mut visits = lock(&self.0.halls.visits);
        if let Some(rooms) = visits.get_mut(session) {
            rooms.retain(|r| r != room);
            if rooms.is_empty() {
                visits.remove(session);
            }
        }
    }

    /// One stanza for several of those inside; gives those who are not there any more.
    fn cast(&self, room: &Jid, targets: &[Arc<Target>], shared: &Shared, lost: &mut Vec<Jid>) {
        let ways: smallvec::SmallVec<[Way; 16]> = {
            let sessions = self.sessions();
            let way = |target: &Arc<Target>| {
                if !target.local {
                    return Way::Remote;
                }
                match sessions.of(&target.bare).iter().find(|r| r.jid == target.jid) {
                    Some(resource) => match &resource.outbox {
                        Some(outbox) => Way::Stream(outbox.clone()),
                        None => Way::Device,
                    },
                    None => Way::Nobody,
                }
            };
            targets.iter().map(way).collect()
        };
        for (target, way) in targets.iter().zip(ways) {
            let sent = match way {
                // A client that does not read is ended by its driver, and leaves then.
                Way::Stream(outbox) => {
                    outbox.send(shared.to(target));
                    true
                }
                Way::Device => self.emit(room, &target.jid, &shared.to(target)),
                Way::Remote => self.0.ports.remote.send(room, &target.jid, shared.to(target)),
                Way::Nobody => false,
            };
            if !sent {
                lost.push(target.jid.clone());
            }
        }
    }

    /// A session has ended or gone offline: it leaves every room that it is in (RFC 6121 section 4.6.3).
    pub(super) fn leave_rooms(&self, session: &Jid, last: Option<&Stanza>) {
        let rooms = lock(&self.0.halls.visits).remove(session).unwrap_or_default();
        for jid in rooms {
            self.in_hall(&jid, |room, _, out| {
                if room.locked {
                    room.abandon(session, out);
                    return;
                }
                let words = last.map(|stanza| said(stanza, &room.jid));
                room.leave(session, &Removal { said: words, ..Removal::default() }, out);
            });
        }
    }

    /// Everybody in every room is told that the service ends (section 11.2).
    pub(super) fn close_rooms(&self) {
        let halls: Vec<Hall> = lock(&self.0.halls.rooms).values().cloned().collect();
        for hall in halls {
            let mut room = lock(&hall);
            let mut actions = Vec::new();
            room.shut_down(&mut actions);
            self.perform(&mut room, actions);
        }
    }

    /// Whether what is noted of sessions and what rooms know of them is the same.
    #[cfg(test)]
    pub(crate) fn halls_are_tidy(&self) -> bool {
        let halls = lock(&self.0.halls.rooms);
        let mut inside = 0;
        for hall in halls.values() {
            let room = lock(hall);
            let visits: usize = room.occupants.values().map(|o| o.visits.len()).sum();
            if visits != room.sessions.len() {
                return false;
            }
            inside += visits;
        }
        drop(halls);
        let noted: usize = lock(&self.0.halls.visits).values().map(Vec::len).sum();
        inside == noted
    }

    /// What rooms have for people outside goes the way of every stanza.
    async fn post(&self, posts: Vec<Post>) {
        for Post { by, element } in posts {
            let Ok(stanza) = Stanza::from_element(&element) else { continue };
            // Whoever blocks a person hears nothing of it through rooms either (XEP-0191 section 3.3).
            if let (Some(by), Some(to)) = (&by, stanza.to())
                && self.place(to) == Place::Account
                && matches!(self.is_blocked(to, by).await, Ok(true))
            {
                continue;
            }
            // A room may write to somebody whose server answers a room.
            Box::pin(self.handle(stanza)).await;
        }
    }
}

/// What the store must do for a change: nothing for a room that is not kept, all of it when it becomes one that is.
fn keep(room: &Room, change: &RoomChange, unlocks: bool) -> Keep {
    let persistent = change.record.as_ref().unwrap_or(&room.record).config.persistent;
    let exists = !room.locked || unlocks;
    match (persistent && exists, room.stored) {
        (false, false) => Keep::Nothing,
        (false, true) => Keep::Remove,
        (true, true) if change.is_empty() => Keep::Nothing,
        (true, true) => Keep::Save(Box::new(change.clone())),
        (true, false) => {
            let mut people = room.people.clone();
            for (jid, member) in &change.people {
                match member {
                    Some(member) => people.insert(jid.clone(), member.clone()),
                    None => people.remove(jid),
                };
            }
            Keep::Save(Box::new(RoomChange {
                record: Some(change.record.clone().unwrap_or_else(|| room.record.clone())),
                people: people.into_iter().map(|(jid, member)| (jid, Some(member))).collect(),
                vcard: change.vcard.clone().or_else(|| room.vcard.clone()),
            }))
        }
    }
}
