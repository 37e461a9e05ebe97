//! Rooms of phones that know only single messages: what outlives their registrations.

use sqlx::Row;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::StoreError;

use super::{Store, fault};

/// One account's phones in one room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PhoneRoom {
    /// Its owner has left, and comes back when it says so.
    pub is_left: bool,
    /// Nothing is told before this time, in milliseconds since 1970.
    pub mute: i64,
    /// When the last message was sent that a phone took, in milliseconds since 1970; 0: none.
    pub heard: i64,
}

impl Store {
    /// The rooms that an account's phones are known in.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails.
    pub async fn phone_rooms(&self, account: &Jid) -> Result<Vec<(Jid, PhoneRoom)>, StoreError> {
        let rows =
            sqlx::query("SELECT room, is_left, mute, heard FROM phone_rooms WHERE account = $1")
                .bind(account.as_str())
                .fetch_all(&self.readers)
                .await
                .map_err(|e| fault(&e))?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            let room = Jid::parse(row.try_get(0).ok()?).ok()?;
            let is_left = row.try_get(1).ok()?;
            Some((
                room,
                PhoneRoom { is_left, mute: row.try_get(2).ok()?, heard: row.try_get(3).ok()? },
            ))
        };
        Ok(rows.iter().filter_map(read).collect())
    }

    /// Keeps what an account's phones do in a room.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails.
    pub async fn keep_phone_room(
        &self,
        account: &Jid,
        room: &Jid,
        is: PhoneRoom,
    ) -> Result<(), StoreError> {
        let (account, room) = (account.bare(), room.bare());
        self.write(move |c| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO phone_rooms (account, room, is_left, mute, heard) VALUES ($1, $2, $3, $4, $5) \
                     ON CONFLICT (account, room) DO UPDATE SET is_left = excluded.is_left, \
                     mute = excluded.mute, heard = excluded.heard",
                )
                .bind(account.as_str())
                .bind(room.as_str())
                .bind(is.is_left)
                .bind(is.mute)
                .bind(is.heard)
                .execute(c)
                .await
                .map(|_| ())
            })
        })
        .await
    }
}
