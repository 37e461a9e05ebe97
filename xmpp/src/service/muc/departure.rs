//! The end of an account (XEP-0077 section 3.2) as rooms see it: it goes out, and is nothing to any of them.

use super::admin::By;
use super::owner::Destroy;
use super::room::{Action, Room};
use super::{Hall, Refusal, lock};
use crate::jid::Jid;
use crate::ports::{Departure, RoomChange, StoreError, departure};
use crate::service::Server;

impl Server {
    /// Takes an account that is about to be removed out of every room.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails; the rooms that were left until then stay left.
    pub(in crate::service) async fn depart(&self, account: &Jid) -> Result<(), StoreError> {
        let mut rooms = self.0.ports.rooms.of(account).await?;
        // Those too that are not kept, or where it is without being anything.
        let halls: Vec<Hall> = lock(&self.0.halls.rooms).values().cloned().collect();
        for hall in halls {
            let room = lock(&hall);
            if room.knows(account) {
                rooms.push(room.jid.clone());
            }
        }
        rooms.sort();
        rooms.dedup();
        for room in rooms {
            match self.depart_from(account, &room).await {
                // It may have ended meanwhile.
                Ok(()) | Err(Refusal::Stanza(_)) => {}
                Err(Refusal::Store(error)) => return Err(error),
            }
        }
        Ok(())
    }

    async fn depart_from(&self, account: &Jid, jid: &Jid) -> Result<(), Refusal> {
        let ends = self.in_room(jid, |room, _, _| room.departure(account) == Departure::Ends);
        if ends.await? == Some(true) {
            return self.destroy_room(jid, Destroy::default()).await;
        }
        let plan = |room: &mut Room, _: &mut Vec<Action>| {
            let people = match room.departure(account) {
                Departure::Stays => Vec::new(),
                Departure::Leaves(people) => people,
                // Everybody else has gone since the look before; a later owner's account may end it.
                Departure::Ends => vec![(account.clone(), None)],
            };
            Ok((RoomChange { people, ..RoomChange::default() }, ()))
        };
        self.change_room(jid, false, plan, |room, change, (), out| {
            room.see_off(account, out);
            room.apply_people(&change.people, By { jid: account, nick: None }, out);
        })
        .await
    }
}

impl Room {
    fn departure(&self, account: &Jid) -> Departure {
        departure(account, self.people.iter())
    }

    /// Whether an account is inside, is anything to the room, or wants to be.
    fn knows(&self, account: &Jid) -> bool {
        self.people.contains_key(account)
            || self.requests.contains_key(account)
            || self.is_inside(account)
    }

    /// All sessions of an account go out, and what was noted of it for the time being is forgotten.
    fn see_off(&mut self, account: &Jid, out: &mut Vec<Action>) {
        let own = self.sessions.keys().filter(|session| session.as_bare_str() == account.as_str());
        for session in own.cloned().collect::<Vec<_>>() {
            self.abandon(&session, out);
        }
        self.granted.remove(account);
        self.requests.remove(account);
        self.invited.remove(account);
    }
}
