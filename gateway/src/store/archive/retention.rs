//! What goes again (XEP-0313 section 3.2): what is too old, oldest first, and what belonged to a removed account.
//!
//! In steps of a few hundred messages, each a change like any other, so that nobody's message waits long behind them.

use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{Seq, StoreError};

use super::Store;
use crate::store::fault;

/// Messages of one step.
const STEP: i64 = 500;

impl Store {
    /// Forgets all messages that are older than this. Gives how many places in archives went.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails; what went before is gone.
    pub async fn forget_older(&self, age: Duration) -> Result<u64, StoreError> {
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let limit = chrono::Utc::now().timestamp_micros().saturating_sub(age);
        let mut gone = 0;
        for owner in self.owners_before(limit).await.map_err(|e| fault(&e))? {
            loop {
                let step = self.step(DELETE_ROWS, vec![owner, limit]).await?;
                gone += step;
                if step < STEP.unsigned_abs() {
                    break;
                }
            }
        }
        for statement in [DELETE_WAITING, DELETE_BODIES, DELETE_RETURNED] {
            while self.step(statement, vec![limit]).await? == STEP.unsigned_abs() {}
        }
        Ok(gone)
    }

    async fn owners_before(&self, limit: Seq) -> Result<Vec<i64>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT id FROM addresses WHERE EXISTS \
             (SELECT 1 FROM archive WHERE owner = id AND seq < $1)",
        )
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    }

    async fn step(&self, statement: &'static str, values: Vec<i64>) -> Result<u64, StoreError> {
        self.write(move |c| {
            Box::pin(async move {
                let mut query = sqlx::query(statement);
                for value in values {
                    query = query.bind(value);
                }
                Ok(query.bind(STEP).execute(c).await?.rows_affected())
            })
        })
        .await
    }

    /// Forgets an archive, what waits for its owner, and its wishes. Bodies stay where somebody else has them.
    pub(in crate::store) async fn forget_archive(&self, owner: Jid) -> Result<(), StoreError> {
        // What the tables do not have yet would come into them afterwards.
        self.appends.settled().await?;
        let last = self.appends.last();
        self.write(move |c| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO settings (name, value) VALUES ('archive-last', $1) \
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                )
                .bind(last)
                .execute(c)
                .await
                .map(|_| ())
            })
        })
        .await?;
        while {
            let owner = owner.clone();
            self.write(move |c| Box::pin(async move { forget_some(c, &owner).await })).await?
        } {}
        Ok(())
    }
}

const DELETE_ROWS: &str = "DELETE FROM archive WHERE owner = ?1 AND seq IN \
     (SELECT seq FROM archive WHERE owner = ?1 AND seq < ?2 ORDER BY seq LIMIT ?3)";
const DELETE_WAITING: &str = "DELETE FROM waiting WHERE (owner, seq) IN \
     (SELECT owner, seq FROM waiting WHERE seq < ?1 LIMIT ?2)";
const DELETE_RETURNED: &str = "DELETE FROM returned WHERE seq IN \
     (SELECT seq FROM returned WHERE seq < ?1 ORDER BY seq LIMIT ?2)";
const DELETE_BODIES: &str = "DELETE FROM bodies WHERE seq IN \
     (SELECT seq FROM bodies WHERE seq < ?1 ORDER BY seq LIMIT ?2)";

/// One step; true while there is more.
async fn forget_some(c: &mut SqliteConnection, owner: &Jid) -> Result<bool, sqlx::Error> {
    let row = sqlx::query("SELECT id FROM addresses WHERE jid = $1").bind(owner.as_str());
    let Some(row) = row.fetch_optional(&mut *c).await? else { return Ok(false) };
    let owner: i64 = row.try_get(0)?;
    // Of two who talk each is the other's peer; in the archive of a room, or with oneself, nobody else has it.
    let mut gone = 0;
    for statement in [
        "DELETE FROM bodies WHERE seq IN (SELECT seq FROM waiting WHERE owner = ?1 AND archived = 0 \
         ORDER BY seq LIMIT ?2)",
        "DELETE FROM waiting WHERE owner = ?1 AND seq IN \
         (SELECT seq FROM waiting WHERE owner = ?1 ORDER BY seq LIMIT ?2)",
        "DELETE FROM bodies WHERE seq IN (SELECT r.seq FROM archive AS r WHERE r.owner = ?1 \
         AND r.seq IN (SELECT seq FROM archive WHERE owner = ?1 ORDER BY seq LIMIT ?2) \
         AND NOT EXISTS (SELECT 1 FROM archive AS o WHERE o.owner = r.peer AND o.owner <> ?1 \
         AND o.seq = r.seq) \
         AND NOT EXISTS (SELECT 1 FROM waiting AS w WHERE w.owner = r.peer AND w.owner <> ?1 \
         AND w.seq = r.seq))",
        "DELETE FROM archive WHERE owner = ?1 AND seq IN \
         (SELECT seq FROM archive WHERE owner = ?1 ORDER BY seq LIMIT ?2)",
        "DELETE FROM archive_prefs WHERE owner = ?1 AND ?2 > 0",
    ] {
        let done = sqlx::query(statement).bind(owner).bind(STEP).execute(&mut *c).await?;
        gone += done.rows_affected();
    }
    Ok(gone > 0)
}
