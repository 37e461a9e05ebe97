//! Invitations, by the hash of their token: who reads the file cannot use them.

use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::Row;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{BoxFuture, Invite, Invites, StoreError};

use super::{Store, fault};

/// Most unused invitations of one inviter.
const MAX_INVITES: i64 = 100;

/// How long an invitation is kept beyond its end, in milliseconds.
const GRACE: i64 = 60 * 60 * 1_000;

fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

impl Invites for Store {
    fn add<'a>(
        &'a self,
        token: &'a str,
        invite: &'a Invite,
        lifetime: Duration,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        let (token, invite, now) = (hash(token), invite.clone(), now());
        let lifetime = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX / 4);
        let end = chrono::DateTime::from_timestamp_millis(now.saturating_add(lifetime));
        Box::pin(async move {
            let Some(end) = end else {
                return Err(StoreError::Unavailable("an end beyond all calendars".into()));
            };
            let kept = self.write(move |c| {
                Box::pin(async move {
                    // A stream that has shown its token in time may still use it.
                    sqlx::query("DELETE FROM invites WHERE expires <= $1")
                        .bind(now - GRACE)
                        .execute(&mut *c)
                        .await?;
                    let added = sqlx::query(
                        "INSERT INTO invites (token, domain, inviter, name, registers, joins, expires) \
                         SELECT $1, $2, $3, $4, $5, $6, $7 \
                         WHERE ($3 IS NULL OR (SELECT count(*) FROM invites WHERE inviter = $3 AND expires > $9) < $8) \
                         AND ($4 IS NULL OR NOT EXISTS \
                         (SELECT 1 FROM invites WHERE domain = $2 AND name = $4 AND expires > $9))",
                    )
                    .bind(token)
                    .bind(&invite.domain)
                    .bind(invite.inviter.as_ref().map(Jid::as_str))
                    .bind(&invite.name)
                    .bind(invite.registers)
                    .bind(invite.joins)
                    .bind(end.timestamp_millis())
                    .bind(MAX_INVITES)
                    .bind(now)
                    .execute(&mut *c)
                    .await?;
                    Ok(added.rows_affected() > 0)
                })
            });
            let stamp = end.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
            Ok(kept.await?.then_some(stamp))
        })
    }

    fn find<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<Invite>, StoreError>> {
        Box::pin(async move {
            let row = sqlx::query(
                "SELECT domain, inviter, name, registers, joins FROM invites \
                 WHERE token = $1 AND expires > $2",
            )
            .bind(hash(token))
            .bind(now())
            .fetch_optional(&self.readers)
            .await
            .map_err(|e| fault(&e))?;
            let Some(row) = row else { return Ok(None) };
            let read = || -> Result<Invite, sqlx::Error> {
                let inviter: Option<String> = row.try_get(1)?;
                Ok(Invite {
                    domain: row.try_get(0)?,
                    inviter: inviter.and_then(|i| Jid::parse(&i).ok()),
                    name: row.try_get(2)?,
                    registers: row.try_get(3)?,
                    joins: row.try_get(4)?,
                })
            };
            read().map(Some).map_err(|e| fault(&e))
        })
    }

    fn is_there<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT 1 FROM invites WHERE token = $1")
                .bind(hash(token))
                .fetch_optional(&self.readers)
                .await;
            row.map(|r| r.is_some()).map_err(|e| fault(&e))
        })
    }

    fn take<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        let token = hash(token);
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                let taken = sqlx::query("DELETE FROM invites WHERE token = $1").bind(token);
                Ok(taken.execute(c).await?.rows_affected() > 0)
            })
        }))
    }

    fn reserves<'a>(&'a self, account: &'a Jid) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let row = sqlx::query(
                "SELECT 1 FROM invites WHERE domain = $1 AND name = $2 AND expires > $3",
            )
            .bind(account.domain())
            .bind(account.node())
            .bind(now())
            .fetch_optional(&self.readers)
            .await;
            row.map(|r| r.is_some()).map_err(|e| fault(&e))
        })
    }
}
