//! Messages that wait for their owner (XEP-0160); the archive will read the same tables.

use bytes::Bytes;
use sqlx::Row;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{BoxFuture, Offline, StoreError};
use tandem_xmpp::stanza::Stanza;

use super::{Store, fault};

/// Most messages that wait for one account.
const MAX_WAITING: i64 = 1_000;

impl Offline for Store {
    fn store<'a>(
        &'a self,
        owner: &'a Jid,
        stanza: Bytes,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let owner = owner.bare();
        let read = Stanza::parse(stanza.clone()).ok();
        let body = read.as_ref().and_then(Stanza::body);
        let peer = read.and_then(|s| s.from().map(|j| j.bare().to_string())).unwrap_or_default();
        let now = chrono::Utc::now().timestamp_millis();
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                let waiting: i64 = sqlx::query(
                    "SELECT count(*) FROM message_owners JOIN accounts ON accounts.id = owner \
                     WHERE domain = $1 AND name = $2 AND waiting = 1",
                )
                .bind(owner.domain())
                .bind(owner.node())
                .fetch_one(&mut *c)
                .await?
                .try_get(0)?;
                if waiting >= MAX_WAITING {
                    return Ok(false);
                }
                let message = sqlx::query(
                    "INSERT INTO messages (domain, stamp, stanza, body) VALUES ($1, $2, $3, $4)",
                )
                .bind(owner.domain())
                .bind(now)
                .bind(stanza.as_ref())
                .bind(body)
                .execute(&mut *c)
                .await?
                .last_insert_rowid();
                let kept = sqlx::query(
                    "INSERT INTO message_owners (owner, message, peer, waiting) \
                     SELECT id, $3, $4, 1 FROM accounts WHERE domain = $1 AND name = $2",
                )
                .bind(owner.domain())
                .bind(owner.node())
                .bind(message)
                .bind(peer)
                .execute(&mut *c)
                .await?;
                Ok(kept.rows_affected() > 0)
            })
        }))
    }

    fn load<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<Vec<(i64, Bytes)>, StoreError>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT messages.id, stanza FROM messages \
                 JOIN message_owners ON message = messages.id \
                 JOIN accounts ON accounts.id = owner \
                 WHERE accounts.domain = $1 AND name = $2 AND waiting = 1 ORDER BY messages.id",
            )
            .bind(owner.domain())
            .bind(owner.node())
            .fetch_all(&self.readers)
            .await
            .map_err(|e| fault(&e))?;
            rows.iter()
                .map(|r| {
                    let stanza: Vec<u8> = r.try_get(1).map_err(|e| fault(&e))?;
                    Ok((r.try_get(0).map_err(|e| fault(&e))?, stanza.into()))
                })
                .collect()
        })
    }

    fn delete<'a>(
        &'a self,
        owner: &'a Jid,
        ids: &'a [i64],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let owner = owner.bare();
        let ids = ids.to_vec();
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                for id in ids {
                    sqlx::query(
                        "DELETE FROM message_owners WHERE message = $3 AND owner = \
                         (SELECT id FROM accounts WHERE domain = $1 AND name = $2)",
                    )
                    .bind(owner.domain())
                    .bind(owner.node())
                    .bind(id)
                    .execute(&mut *c)
                    .await?;
                    sqlx::query(
                        "DELETE FROM messages WHERE id = $1 AND NOT EXISTS \
                         (SELECT 1 FROM message_owners WHERE message = $1)",
                    )
                    .bind(id)
                    .execute(&mut *c)
                    .await?;
                }
                Ok(())
            })
        }))
    }
}
