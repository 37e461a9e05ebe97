//! Rooms and the people of each.

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{
    BoxFuture, Departure, Member, RoomChange, RoomRecord, Rooms, StoreError, StoredRoom, departure,
};

use super::{Store, fault};

impl Rooms for Store {
    fn load<'a>(&'a self, room: &'a Jid) -> BoxFuture<'a, Result<Option<StoredRoom>, StoreError>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT id, state FROM rooms WHERE domain = $1 AND name = $2")
                .bind(room.domain())
                .bind(room.node())
                .fetch_optional(&self.readers)
                .await
                .map_err(|e| fault(&e))?;
            let Some(row) = row else { return Ok(None) };
            let id: i64 = row.try_get(0).map_err(|e| fault(&e))?;
            let record: RoomRecord = parse(&row, 1)?;
            let people = sqlx::query("SELECT person, state FROM room_people WHERE room = $1")
                .bind(id)
                .fetch_all(&self.readers)
                .await
                .map_err(|e| fault(&e))?;
            let read = |row: &SqliteRow| {
                let person: &str = row.try_get(0).map_err(|e| fault(&e))?;
                let person = Jid::parse(person).map_err(|_| damaged("an address"))?;
                Ok((person, parse(row, 1)?))
            };
            let people = people.iter().map(read).collect::<Result<_, StoreError>>()?;
            Ok(Some(StoredRoom { record, people }))
        })
    }

    fn save<'a>(
        &'a self,
        room: &'a Jid,
        change: RoomChange,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let room = room.clone();
        Box::pin(self.write(move |c| Box::pin(save(c, room, change))))
    }

    fn remove<'a>(&'a self, room: &'a Jid) -> BoxFuture<'a, Result<(), StoreError>> {
        let room = room.clone();
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                sqlx::query("DELETE FROM rooms WHERE domain = $1 AND name = $2")
                    .bind(room.domain())
                    .bind(room.node())
                    .execute(c)
                    .await
                    .map(|_| ())
            })
        }))
    }

    fn vcard<'a>(&'a self, room: &'a Jid) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT vcard FROM rooms WHERE domain = $1 AND name = $2")
                .bind(room.domain())
                .bind(room.node())
                .fetch_optional(&self.readers)
                .await
                .map_err(|e| fault(&e))?;
            row.map_or(Ok(None), |row| row.try_get(0).map_err(|e| fault(&e)))
        })
    }

    fn public<'a>(
        &'a self,
        service: &'a str,
        after: Option<&'a str>,
        max: usize,
    ) -> BoxFuture<'a, Result<Vec<(Jid, String)>, StoreError>> {
        Box::pin(async move {
            let after = after.and_then(|after| Jid::parse(after).ok());
            let rows = sqlx::query(
                "SELECT name, title FROM rooms \
                 WHERE domain = $1 AND public = 1 AND name > $2 ORDER BY name LIMIT $3",
            )
            .bind(service)
            .bind(after.as_ref().and_then(Jid::node).unwrap_or_default())
            .bind(i64::try_from(max).unwrap_or(i64::MAX))
            .fetch_all(&self.readers)
            .await
            .map_err(|e| fault(&e))?;
            let read = |row: &SqliteRow| {
                let jid = Jid::new(Some(row.try_get(0).ok()?), service, None).ok()?;
                Some((jid, row.try_get(1).ok()?))
            };
            Ok(rows.iter().filter_map(read).collect())
        })
    }

    fn of<'a>(&'a self, person: &'a Jid) -> BoxFuture<'a, Result<Vec<Jid>, StoreError>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT name, domain FROM rooms \
                 WHERE id IN (SELECT room FROM room_people WHERE person = $1) \
                 ORDER BY name, domain",
            )
            .bind(person.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(|e| fault(&e))?;
            let read = |row: &SqliteRow| {
                Jid::new(Some(row.try_get(0).ok()?), row.try_get(1).ok()?, None).ok()
            };
            Ok(rows.iter().filter_map(read).collect())
        })
    }

    fn count<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<(usize, usize), StoreError>> {
        Box::pin(async move {
            let row = sqlx::query(
                "SELECT (SELECT COUNT(*) FROM rooms), (SELECT COUNT(*) FROM room_people \
                 WHERE person = $1 AND affiliation = 'owner')",
            )
            .bind(owner.as_str())
            .fetch_one(&self.readers)
            .await
            .map_err(|e| fault(&e))?;
            let number = |at| {
                let number: i64 = row.try_get(at).map_err(|e| fault(&e))?;
                Ok::<_, StoreError>(usize::try_from(number).unwrap_or(usize::MAX))
            };
            Ok((number(0)?, number(1)?))
        })
    }
}

impl Store {
    /// Takes an account that is about to be removed out of every room.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails; the rooms that were left until then stay left.
    pub(super) async fn depart(&self, account: &Jid) -> Result<(), StoreError> {
        for room in Rooms::of(self, account).await? {
            let Some(stored) = Rooms::load(self, &room).await? else { continue };
            match departure(account, stored.people.iter().map(|(jid, member)| (jid, member))) {
                Departure::Stays => {}
                Departure::Leaves(people) => {
                    let change = RoomChange { people, ..RoomChange::default() };
                    Rooms::save(self, &room, change).await?;
                }
                Departure::Ends => {
                    Rooms::remove(self, &room).await?;
                    self.forget_archive(room).await?;
                }
            }
        }
        Ok(())
    }
}

async fn save(c: &mut SqliteConnection, room: Jid, change: RoomChange) -> Result<(), sqlx::Error> {
    if let Some(record) = &change.record {
        sqlx::query(
            "INSERT INTO rooms (domain, name, title, public, state) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (domain, name) DO UPDATE \
             SET title = excluded.title, public = excluded.public, state = excluded.state",
        )
        .bind(room.domain())
        .bind(room.node())
        .bind(&record.config.name)
        .bind(record.config.public)
        .bind(print(record)?)
        .execute(&mut *c)
        .await?;
    }
    if let Some(vcard) = &change.vcard {
        sqlx::query("UPDATE rooms SET vcard = $3 WHERE domain = $1 AND name = $2")
            .bind(room.domain())
            .bind(room.node())
            .bind(Some(vcard).filter(|v| !v.is_empty()))
            .execute(&mut *c)
            .await?;
    }
    for (person, member) in &change.people {
        save_person(&mut *c, &room, person, member.as_ref()).await?;
    }
    Ok(())
}

async fn save_person(
    c: &mut SqliteConnection,
    room: &Jid,
    person: &Jid,
    member: Option<&Member>,
) -> Result<(), sqlx::Error> {
    let query = match member {
        Some(member) => sqlx::query(
            "INSERT OR REPLACE INTO room_people (room, person, affiliation, state) \
             SELECT id, $3, $4, $5 FROM rooms WHERE domain = $1 AND name = $2",
        )
        .bind(room.domain())
        .bind(room.node())
        .bind(person.as_str())
        .bind(member.affiliation.name())
        .bind(print(member)?),
        None => sqlx::query(
            "DELETE FROM room_people WHERE person = $3 AND room = \
             (SELECT id FROM rooms WHERE domain = $1 AND name = $2)",
        )
        .bind(room.domain())
        .bind(room.node())
        .bind(person.as_str()),
    };
    query.execute(c).await.map(|_| ())
}

fn print<T: serde::Serialize>(value: &T) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|e| sqlx::Error::Encode(Box::new(e)))
}

/// A state that cannot be read is no room to be made anew: somebody else would own it.
fn parse<T: serde::de::DeserializeOwned>(row: &SqliteRow, at: usize) -> Result<T, StoreError> {
    let text: &str = row.try_get(at).map_err(|e| fault(&e))?;
    serde_json::from_str(text).map_err(|_| damaged("a room"))
}

fn damaged(what: &str) -> StoreError {
    StoreError::Unavailable(format!("{what} in the store is damaged"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tandem_xmpp::ports::memory_rooms::MemoryRooms;
    use tandem_xmpp::ports::{Affiliation, RoomConfig, Subject};

    use super::*;

    fn jid(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    fn member(affiliation: Affiliation) -> Option<Member> {
        Some(Member { affiliation, nick: Some("n'ick".into()), ..Member::default() })
    }

    fn record(name: &str, public: bool) -> RoomRecord {
        RoomRecord {
            config: RoomConfig { name: name.into(), public, ..RoomConfig::default() },
            subject: Some(Subject {
                nick: "Ana".into(),
                stamp: "2026-01-01T00:00:00Z".into(),
                content: "<subject>é</subject>".into(),
                text: "é".into(),
            }),
            secret: [9; 32],
            ..RoomRecord::default()
        }
    }

    /// The promises of the port, kept by both.
    async fn keeps_rooms(rooms: &dyn Rooms) {
        let (tea, ana, bob) = (jid("tea@rooms.d"), jid("ana@d"), jid("bob@d"));
        assert_eq!(rooms.load(&tea).await.unwrap(), None);
        // People of a room that is not there are lost.
        let lost = RoomChange { people: vec![(ana.clone(), None)], ..RoomChange::default() };
        rooms.save(&tea, lost).await.unwrap();
        assert_eq!(rooms.load(&tea).await.unwrap(), None);

        let people = vec![
            (ana.clone(), member(Affiliation::Owner)),
            (bob.clone(), member(Affiliation::Member)),
            (jid("evil.example"), member(Affiliation::Outcast)),
        ];
        let change = RoomChange {
            record: Some(record("Tea", false)),
            people,
            vcard: Some("<vCard/>".into()),
        };
        rooms.save(&tea, change).await.unwrap();
        let change = RoomChange {
            record: Some(record("Tea time", true)),
            people: vec![(bob.clone(), None)],
            vcard: None,
        };
        rooms.save(&tea, change).await.unwrap();
        let loaded = rooms.load(&tea).await.unwrap().unwrap();
        assert_eq!(loaded.record, record("Tea time", true));
        let people: HashMap<Jid, Member> = loaded.people.into_iter().collect();
        assert_eq!(people.len(), 2);
        assert_eq!(people.get(&ana), member(Affiliation::Owner).as_ref());
        assert_eq!(rooms.vcard(&tea).await.unwrap().as_deref(), Some("<vCard/>"));
        let no_card = RoomChange { vcard: Some(String::new()), ..RoomChange::default() };
        rooms.save(&tea, no_card).await.unwrap();
        assert_eq!(rooms.vcard(&tea).await.unwrap(), None);

        let more = RoomChange { record: Some(record("", true)), ..RoomChange::default() };
        rooms.save(&jid("zoo@rooms.d"), more.clone()).await.unwrap();
        rooms.save(&jid("zoo@rooms.e"), more).await.unwrap();
        let listed = rooms.public("rooms.d", None, 10).await.unwrap();
        let expected = [(tea.clone(), "Tea time".to_owned()), (jid("zoo@rooms.d"), String::new())];
        assert_eq!(listed, expected);
        assert_eq!(rooms.public("rooms.d", None, 1).await.unwrap(), expected[..1]);
        assert_eq!(rooms.public("rooms.d", Some(tea.as_str()), 9).await.unwrap(), expected[1..]);
        assert_eq!(rooms.count(&ana).await.unwrap(), (3, 1));
        assert_eq!(rooms.of(&ana).await.unwrap(), std::slice::from_ref(&tea));
        assert_eq!(rooms.of(&bob).await.unwrap(), []);
        rooms.remove(&tea).await.unwrap();
        assert_eq!(rooms.load(&tea).await.unwrap(), None);
        assert_eq!(rooms.count(&ana).await.unwrap(), (2, 0));
    }

    #[tokio::test]
    async fn the_database_keeps_rooms() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("tandem.db")).await.unwrap();
        keeps_rooms(&store).await;
    }

    /// XEP-0077 section 3.2, as the command line does it.
    #[tokio::test]
    async fn an_account_that_is_removed_leaves_its_rooms() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("tandem.db")).await.unwrap();
        let (ana, bob) = (jid("ana@d"), jid("bob@d"));
        store.ensure_account(&ana, "secret", 4096).await.unwrap();
        let people = |others: &[(&Jid, Affiliation)]| RoomChange {
            record: Some(record("", true)),
            people: others.iter().map(|(jid, a)| ((*jid).clone(), member(*a))).collect(),
            vcard: None,
        };
        use Affiliation::{Admin, Member, Outcast, Owner};
        for (room, others) in [
            ("left@rooms.d", vec![(&ana, Member), (&bob, Owner)]),
            ("handed@rooms.d", vec![(&ana, Owner), (&bob, Admin)]),
            ("empty@rooms.d", vec![(&ana, Owner), (&bob, Outcast)]),
            ("banned@rooms.d", vec![(&ana, Outcast), (&bob, Owner)]),
        ] {
            Rooms::save(&store, &jid(room), people(&others)).await.unwrap();
        }
        assert!(store.remove_account(&ana).await.unwrap());
        assert_eq!(Rooms::of(&store, &ana).await.unwrap(), [jid("banned@rooms.d")]);
        assert_eq!(Rooms::load(&store, &jid("empty@rooms.d")).await.unwrap(), None);
        let handed = Rooms::load(&store, &jid("handed@rooms.d")).await.unwrap().unwrap();
        assert_eq!(handed.people, [(bob.clone(), member(Owner).unwrap())]);
        assert_eq!(Rooms::count(&store, &bob).await.unwrap(), (3, 3));
    }

    #[tokio::test]
    async fn the_memory_keeps_rooms() {
        keeps_rooms(&MemoryRooms::default()).await;
    }
}
