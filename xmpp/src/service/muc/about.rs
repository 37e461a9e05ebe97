//! What those who speak for others have to know of a room before they enter it (XEP-0045 sections 6.4 and 7.2).

use crate::jid::Jid;
use crate::ports::{Affiliation, StoreError};
use crate::service::Server;

/// A room, and what somebody is to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomAbout {
    /// Its name for people; the local part where it has none.
    pub name: String,
    /// What that person is.
    pub affiliation: Affiliation,
}

impl Server {
    /// A room of this server as `person` finds it; `None` when there is no such room.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn room_about(
        &self,
        room: &Jid,
        person: &Jid,
    ) -> Result<Option<RoomAbout>, StoreError> {
        self.in_room(&room.bare(), |room, _, _| {
            let name = match &*room.record.config.name {
                "" => room.jid.node().unwrap_or_default().to_owned(),
                name => name.to_owned(),
            };
            RoomAbout { name, affiliation: room.affiliation(person) }
        })
        .await
    }
}
