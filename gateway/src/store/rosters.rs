//! Contacts and unanswered requests.

use bytes::Bytes;
use sqlx::Row;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{BoxFuture, Roster, RosterItem, Rosters, StoreError};

use super::{Store, fault};

/// A version as the database has it; it never comes near the bound.
fn stored(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

impl Rosters for Store {
    fn load<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<Roster, StoreError>> {
        Box::pin(async move { self.load_roster(owner).await.map_err(|e| fault(&e)) })
    }

    fn put<'a>(
        &'a self,
        owner: &'a Jid,
        item: &'a RosterItem,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (owner, item) = (owner.bare(), item.clone());
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                let groups = serde_json::to_string(&item.groups).unwrap_or_else(|_| "[]".into());
                sqlx::query(
                    "INSERT OR REPLACE INTO roster_items \
                     (owner, contact, name, groups, sub_to, sub_from, ask, changed, approved) \
                     SELECT id, $3, $4, $5, $6, $7, $8, $9, $10 FROM accounts \
                     WHERE domain = $1 AND name = $2",
                )
                .bind(owner.domain())
                .bind(owner.node())
                .bind(item.jid.as_str())
                .bind(&item.name)
                .bind(groups)
                .bind(item.to)
                .bind(item.from)
                .bind(item.ask)
                .bind(stored(item.changed))
                .bind(item.approved)
                .execute(c)
                .await
                .map(|_| ())
            })
        }))
    }

    fn remove<'a>(
        &'a self,
        owner: &'a Jid,
        contact: &'a Jid,
        version: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (owner, contact) = (owner.bare(), contact.bare());
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                let id: Option<i64> =
                    sqlx::query_scalar("SELECT id FROM accounts WHERE domain = $1 AND name = $2")
                        .bind(owner.domain())
                        .bind(owner.node())
                        .fetch_optional(&mut *c)
                        .await?;
                let Some(id) = id else { return Ok(()) };
                sqlx::query("DELETE FROM roster_items WHERE owner = $1 AND contact = $2")
                    .bind(id)
                    .bind(contact.as_str())
                    .execute(&mut *c)
                    .await?;
                sqlx::query(
                    "INSERT OR REPLACE INTO roster_removed (owner, version, contact) \
                     VALUES ($1, $2, $3)",
                )
                .bind(id)
                .bind(stored(version))
                .bind(contact.as_str())
                .execute(&mut *c)
                .await?;
                sqlx::query(
                    "DELETE FROM roster_removed WHERE owner = $1 AND version <= (SELECT version \
                     FROM roster_removed WHERE owner = $1 ORDER BY version DESC LIMIT 1 OFFSET $2)",
                )
                .bind(id)
                .bind(stored(Roster::MAX_REMOVED as u64))
                .execute(c)
                .await
                .map(|_| ())
            })
        }))
    }

    fn set_pending_in<'a>(
        &'a self,
        owner: &'a Jid,
        contact: &'a Jid,
        pending: bool,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (owner, contact) = (owner.bare(), contact.bare());
        let sql = if pending {
            "INSERT OR IGNORE INTO roster_pending (owner, contact) \
             SELECT id, $3 FROM accounts WHERE domain = $1 AND name = $2"
        } else {
            "DELETE FROM roster_pending WHERE contact = $3 AND owner = \
             (SELECT id FROM accounts WHERE domain = $1 AND name = $2)"
        };
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                sqlx::query(sql)
                    .bind(owner.domain())
                    .bind(owner.node())
                    .bind(contact.as_str())
                    .execute(c)
                    .await
                    .map(|_| ())
            })
        }))
    }

    fn keep_request<'a>(
        &'a self,
        owner: &'a Jid,
        contact: &'a Jid,
        stanza: Bytes,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (owner, contact) = (owner.bare(), contact.bare());
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT OR REPLACE INTO roster_pending (owner, contact, stanza) \
                     SELECT id, $3, $4 FROM accounts WHERE domain = $1 AND name = $2",
                )
                .bind(owner.domain())
                .bind(owner.node())
                .bind(contact.as_str())
                .bind(stanza.as_ref())
                .execute(c)
                .await
                .map(|_| ())
            })
        }))
    }

    fn requests<'a>(
        &'a self,
        owner: &'a Jid,
    ) -> BoxFuture<'a, Result<Vec<(Jid, Bytes)>, StoreError>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT contact, stanza FROM roster_pending JOIN accounts ON accounts.id = owner \
                 WHERE domain = $1 AND accounts.name = $2 AND stanza IS NOT NULL",
            )
            .bind(owner.domain())
            .bind(owner.node())
            .fetch_all(&self.readers)
            .await
            .map_err(|e| fault(&e))?;
            let read = |row: &sqlx::sqlite::SqliteRow| {
                let stanza: Vec<u8> = row.try_get(1).ok()?;
                Some((Jid::parse(row.try_get(0).ok()?).ok()?, stanza.into()))
            };
            Ok(rows.iter().filter_map(read).collect())
        })
    }
}

impl Store {
    async fn load_roster(&self, owner: &Jid) -> Result<Roster, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT contact, roster_items.name, groups, sub_to, sub_from, ask, changed, approved \
             FROM roster_items \
             JOIN accounts ON accounts.id = owner WHERE domain = $1 AND accounts.name = $2",
        )
        .bind(owner.domain())
        .bind(owner.node())
        .fetch_all(&self.readers)
        .await?;
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            // What was stored was an address; a row that is none is skipped rather than fatal.
            let Ok(jid) = Jid::parse(row.try_get(0)?) else { continue };
            let groups: String = row.try_get(2)?;
            items.push(RosterItem {
                jid,
                name: row.try_get(1)?,
                groups: serde_json::from_str(&groups).unwrap_or_default(),
                to: row.try_get(3)?,
                from: row.try_get(4)?,
                ask: row.try_get(5)?,
                changed: row.try_get::<i64, _>(6)?.unsigned_abs(),
                approved: row.try_get(7)?,
            });
        }
        let pending = sqlx::query(
            "SELECT contact FROM roster_pending JOIN accounts ON accounts.id = owner \
             WHERE domain = $1 AND accounts.name = $2",
        )
        .bind(owner.domain())
        .bind(owner.node())
        .fetch_all(&self.readers)
        .await?;
        let pending_in =
            pending.iter().filter_map(|r| Jid::parse(r.try_get(0).ok()?).ok()).collect();
        let removed = self.removed_contacts(owner).await?;
        let born: Option<i64> =
            sqlx::query_scalar("SELECT created FROM accounts WHERE domain = $1 AND name = $2")
                .bind(owner.domain())
                .bind(owner.node())
                .fetch_optional(&self.readers)
                .await?;
        let born = born.unwrap_or_default().unsigned_abs();
        let changes = items.iter().map(|i: &RosterItem| i.changed);
        let version = changes.chain(removed.iter().map(|(v, _)| *v)).max().unwrap_or(0).max(born);
        // Where the list is full, something before it may have been forgotten.
        let full = removed.len() >= Roster::MAX_REMOVED;
        let known_since = removed.first().map_or(born, |(v, _)| if full { *v } else { born });
        Ok(Roster { items, pending_in, version, removed, known_since })
    }

    async fn removed_contacts(&self, owner: &Jid) -> Result<Vec<(u64, Jid)>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT version, contact FROM roster_removed JOIN accounts ON accounts.id = owner \
             WHERE domain = $1 AND accounts.name = $2 ORDER BY version",
        )
        .bind(owner.domain())
        .bind(owner.node())
        .fetch_all(&self.readers)
        .await?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            let version = row.try_get::<i64, _>(0).ok()?.unsigned_abs();
            Some((version, Jid::parse(row.try_get(1).ok()?).ok()?))
        };
        Ok(rows.iter().filter_map(read).collect())
    }
}
