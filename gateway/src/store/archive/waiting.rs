//! Messages that wait for their owner (XEP-0160): a mark on what its archive holds, or a body of their own.

use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{BoxFuture, Kept, MAX_WAITING, Offline, Seq, StoreError};

use super::{Store, address};
use crate::store::fault;

const OWNER: &str = "(SELECT id FROM addresses WHERE jid = ?1)";

impl Store {
    /// How many messages wait for an account.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails.
    pub async fn waiting_count(&self, owner: &Jid) -> Result<u32, StoreError> {
        let count: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM waiting WHERE owner = (SELECT id FROM addresses WHERE jid = $1)",
        )
        .bind(owner.as_bare_str())
        .fetch_one(&self.readers)
        .await
        .map_err(|e| fault(&e))?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

impl Offline for Store {
    fn store<'a>(
        &'a self,
        owner: &'a Jid,
        stanza: Bytes,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let owner = owner.bare();
        let appends = self.appends.clone();
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                let known = sqlx::query("SELECT 1 FROM accounts WHERE domain = $1 AND name = $2")
                    .bind(owner.domain())
                    .bind(owner.node());
                if known.fetch_optional(&mut *c).await?.is_none() {
                    return Ok(false);
                }
                let owner = address(c, owner.as_str()).await?;
                if waiting_alone(c, owner).await? >= MAX_WAITING {
                    return Ok(false);
                }
                let seq = appends.next();
                sqlx::query("INSERT INTO bodies (seq, stanza) VALUES ($1, $2)")
                    .bind(seq)
                    .bind(stanza.as_ref())
                    .execute(&mut *c)
                    .await?;
                mark(c, owner, seq, false).await?;
                Ok(true)
            })
        }))
    }

    fn hold<'a>(&'a self, owner: &'a Jid, seq: Seq) -> BoxFuture<'a, Result<(), StoreError>> {
        let owner = owner.bare();
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                let owner = address(c, owner.as_str()).await?;
                mark(c, owner, seq, true).await
            })
        }))
    }

    fn load<'a>(
        &'a self,
        owner: &'a Jid,
        bytes: usize,
    ) -> BoxFuture<'a, Result<Vec<Kept>, StoreError>> {
        Box::pin(async move {
            self.appends.settled().await?;
            self.load_waiting(owner, bytes).await.map_err(|e| fault(&e))
        })
    }

    fn delete<'a>(
        &'a self,
        owner: &'a Jid,
        ids: &'a [Seq],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (owner, ids) = (owner.bare(), ids.to_vec());
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                for seq in ids {
                    for statement in [
                        "DELETE FROM bodies WHERE seq IN \
                         (SELECT seq FROM waiting WHERE owner = {OWNER} AND seq = ?2 AND archived = 0)",
                        "DELETE FROM waiting WHERE owner = {OWNER} AND seq = ?2",
                    ] {
                        let sql = statement.replace("{OWNER}", OWNER);
                        sqlx::query(sqlx::AssertSqlSafe(sql))
                            .bind(owner.as_str())
                            .bind(seq)
                            .execute(&mut *c)
                            .await?;
                    }
                }
                Ok(())
            })
        }))
    }

    fn discard<'a>(&'a self, owner: &'a Jid, up_to: Seq) -> BoxFuture<'a, Result<(), StoreError>> {
        let owner = owner.bare();
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                sqlx::query(
                    "DELETE FROM waiting WHERE owner = (SELECT id FROM addresses WHERE jid = $1) \
                     AND seq <= $2 AND archived = 1",
                )
                .bind(owner.as_str())
                .bind(up_to)
                .execute(c)
                .await
                .map(|_| ())
            })
        }))
    }
}

impl Store {
    async fn load_waiting(&self, owner: &Jid, bytes: usize) -> Result<Vec<Kept>, sqlx::Error> {
        let mut rows = sqlx::query(
            "SELECT w.seq, b.stanza, w.archived FROM waiting AS w \
             CROSS JOIN bodies AS b ON b.seq = w.seq \
             WHERE w.owner = (SELECT id FROM addresses WHERE jid = $1) \
             ORDER BY w.seq LIMIT $2",
        )
        .bind(owner.as_str())
        .bind(i64::try_from(MAX_WAITING).unwrap_or(i64::MAX))
        .fetch(&self.readers);
        let (mut kept, mut left) = (Vec::new(), bytes);
        while left > 0
            && let Some(row) = rows.try_next().await?
        {
            let stanza: Vec<u8> = row.try_get(1)?;
            left = left.saturating_sub(stanza.len());
            let (seq, archived) = (row.try_get(0)?, row.try_get(2)?);
            kept.push(Kept { seq, stanza: stanza.into(), archived });
        }
        Ok(kept)
    }
}

async fn mark(
    c: &mut SqliteConnection,
    owner: i64,
    seq: Seq,
    archived: bool,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT OR IGNORE INTO waiting (owner, seq, archived) VALUES ($1, $2, $3)")
        .bind(owner)
        .bind(seq)
        .bind(archived)
        .execute(c)
        .await
        .map(|_| ())
}

/// How many messages wait for an account without being in its archive.
async fn waiting_alone(c: &mut SqliteConnection, owner: i64) -> Result<usize, sqlx::Error> {
    let row = sqlx::query("SELECT count(*) FROM waiting WHERE owner = $1 AND archived = 0")
        .bind(owner)
        .fetch_one(c)
        .await?;
    let count: i64 = row.try_get(0)?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}
