//! Block lists (XEP-0191 section 3.3) where a room stands between two people: what one has it give to the other. What is
//! said to everybody is the room's.

use super::lock;
use super::room::Occupant;
use crate::jid::Jid;
use crate::ports::StoreError;
use crate::router::Place;
use crate::service::Server;
use crate::service::blocking::Blocklist;

impl Server {
    /// Whether an occupant does not want to hear from another's session: from the person, from its name in the room, or
    /// from the room. From memory: whoever is inside has said something.
    pub(super) fn shuns(&self, receiver: &Occupant, sender: &Occupant, session: &Jid) -> bool {
        receiver.real != sender.real
            && [session, &sender.jid].iter().any(|jid| self.blocks_now(&receiver.real, jid))
    }

    /// Whether an account can be invited: it is there, and blocks neither who invites nor the room.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub(super) async fn may_be_invited(
        &self,
        whom: &Jid,
        by: &Jid,
        room: &Jid,
    ) -> Result<bool, StoreError> {
        if self.place(whom) != Place::Account {
            return Ok(true);
        }
        if !self.0.ports.accounts.exists(whom).await? {
            return Ok(false);
        }
        let name = self.in_hall(room, |room, _, _| room.occupant_of(by).map(|o| o.jid.clone()));
        let name = name.flatten().unwrap_or_else(|| room.clone());
        Ok(!self.is_blocked(whom, by).await? && !self.is_blocked(whom, &name).await?)
    }

    /// An account has blocked these: its sessions leave the rooms among them.
    pub(in crate::service) fn leave_blocked(&self, account: &Jid, blocked: &Blocklist) {
        let sessions: Vec<Jid> =
            self.sessions().of(account).iter().map(|r| r.jid.clone()).collect();
        for session in sessions {
            let rooms = lock(&self.0.halls.visits).get(&session).cloned().unwrap_or_default();
            for jid in rooms.iter().filter(|room| blocked.holds(room)) {
                self.in_hall(jid, |room, _, out| room.abandon(&session, out));
            }
        }
    }
}
