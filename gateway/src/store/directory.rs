//! The list of accounts, for administrators.

use sqlx::Row;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{BoxFuture, Directory, Listed, StoreError};

use super::{Store, fault};

impl Directory for Store {
    fn list<'a>(
        &'a self,
        domain: &'a str,
        after: Option<&'a str>,
        max: usize,
    ) -> BoxFuture<'a, Result<Vec<Listed>, StoreError>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT name, disabled FROM accounts WHERE domain = $1 AND name > $2 \
                 ORDER BY name LIMIT $3",
            )
            .bind(domain)
            .bind(after.unwrap_or_default())
            .bind(i64::try_from(max).unwrap_or(i64::MAX))
            .fetch_all(&self.readers)
            .await
            .map_err(|e| fault(&e))?;
            let read = |row: &sqlx::sqlite::SqliteRow| {
                let account = Jid::new(Some(row.try_get(0).ok()?), domain, None).ok()?;
                Some(Listed { account, disabled: row.try_get(1).ok()? })
            };
            Ok(rows.iter().filter_map(read).collect())
        })
    }

    fn count<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<(u64, u64), StoreError>> {
        Box::pin(async move {
            let row = sqlx::query(
                "SELECT count(*), coalesce(sum(disabled), 0) FROM accounts WHERE domain = $1",
            )
            .bind(domain)
            .fetch_one(&self.readers)
            .await
            .map_err(|e| fault(&e))?;
            let read =
                |at: usize| row.try_get::<i64, _>(at).map(i64::unsigned_abs).map_err(|e| fault(&e));
            Ok((read(0)?, read(1)?))
        })
    }

    fn set_disabled<'a>(
        &'a self,
        account: &'a Jid,
        disabled: bool,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let account = account.bare();
        let owner = account.clone();
        let set = self.write(move |c| {
            Box::pin(async move {
                let set = sqlx::query(
                    "UPDATE accounts SET disabled = $3 WHERE domain = $1 AND name = $2",
                )
                .bind(account.domain())
                .bind(account.node())
                .bind(disabled)
                .execute(c)
                .await?;
                Ok(set.rows_affected() > 0)
            })
        });
        Box::pin(async move {
            let set = set.await;
            self.forget_keys(&owner);
            set
        })
    }

    fn unix_ms(&self) -> i64 {
        chrono::Utc::now().timestamp_millis()
    }
}
