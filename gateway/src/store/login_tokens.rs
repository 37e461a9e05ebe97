//! Tokens that devices log in with (XEP-0484).

use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::StoreError;
use tandem_xmpp::stream::ht::{StoredToken, TokenKey, TokenMechanism};

use super::{Store, fault};

/// Most devices of one account that have tokens; the one whose token is the oldest makes way.
const MAX_DEVICES: i64 = 50;

impl Store {
    /// The tokens of a device, as of `now` in milliseconds. None for an account that may not log in.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn login_tokens(
        &self,
        account: &Jid,
        device: &str,
        now: i64,
    ) -> Result<Vec<StoredToken>, StoreError> {
        let rows = sqlx::query(
            "SELECT login_tokens.id, mechanism, key, issued, expires FROM login_tokens \
             JOIN accounts ON accounts.id = account \
             WHERE domain = $1 AND name = $2 AND disabled = 0 AND device = $3 \
             ORDER BY login_tokens.id DESC LIMIT 2",
        )
        .bind(account.domain())
        .bind(account.node())
        .bind(device)
        .fetch_all(&self.readers)
        .await
        .map_err(|e| fault(&e))?;
        Ok(rows.iter().filter_map(|row| read(row, now)).collect())
    }

    /// Keeps a token that lives for `life`; gives the time of its end. One of the device that was never used goes.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails or there is no such account.
    pub async fn issue_login_token(
        &self,
        account: &Jid,
        device: &str,
        mechanism: TokenMechanism,
        key: TokenKey,
        now: i64,
        life: Duration,
    ) -> Result<i64, StoreError> {
        let (account, device) = (account.bare(), device.to_owned());
        let expires = now.saturating_add(i64::try_from(life.as_millis()).unwrap_or(i64::MAX));
        self.write(move |c| {
            Box::pin(async move {
                let owner: i64 =
                    sqlx::query("SELECT id FROM accounts WHERE domain = $1 AND name = $2")
                        .bind(account.domain())
                        .bind(account.node())
                        .fetch_one(&mut *c)
                        .await?
                        .try_get(0)?;
                make_room(c, owner, &device, now).await?;
                sqlx::query(
                    "INSERT INTO login_tokens (account, device, mechanism, key, issued, expires) \
                     VALUES ($1, $2, $3, $4, $5, $6)",
                )
                .bind(owner)
                .bind(device)
                .bind(mechanism.name())
                .bind(&key.0[..])
                .bind(now)
                .bind(expires)
                .execute(&mut *c)
                .await?;
                Ok(expires)
            })
        })
        .await
    }

    /// Notes the use of a token; see [`tandem_xmpp::ports::LoginTokens::mark_used`].
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn use_login_token(
        &self,
        account: &Jid,
        device: &str,
        token: i64,
        count: Option<u32>,
        invalidate: bool,
    ) -> Result<bool, StoreError> {
        let (account, device) = (account.bare(), device.to_owned());
        self.write(move |c| {
            Box::pin(async move {
                let row = sqlx::query(
                    "UPDATE login_tokens SET used = 1, count = coalesce($5, count) \
                     WHERE id = $4 AND device = $3 AND ($5 IS NULL OR count IS NULL OR count < $5) \
                     AND account = (SELECT id FROM accounts WHERE domain = $1 AND name = $2) \
                     RETURNING account, expires",
                )
                .bind(account.domain())
                .bind(account.node())
                .bind(&device)
                .bind(token)
                .bind(count)
                .fetch_optional(&mut *c)
                .await?;
                let Some(row) = row else { return Ok(false) };
                sqlx::query(
                    "DELETE FROM login_tokens WHERE account = $1 AND device = $2 \
                     AND ($3 OR (expires < $4 AND id <> $5))",
                )
                .bind(row.try_get::<i64, _>(0)?)
                .bind(&device)
                .bind(invalidate)
                .bind(row.try_get::<i64, _>(1)?)
                .bind(token)
                .execute(&mut *c)
                .await?;
                Ok(true)
            })
        })
        .await
    }
}

/// Forgets what is long over, what the device never used, and the oldest of too many devices.
async fn make_room(
    c: &mut SqliteConnection,
    owner: i64,
    device: &str,
    now: i64,
) -> Result<(), sqlx::Error> {
    const DAY: i64 = 24 * 3600 * 1000;
    // A day's grace: whoever comes a little late is told that the token has expired.
    sqlx::query("DELETE FROM login_tokens WHERE expires < $1")
        .bind(now.saturating_sub(DAY))
        .execute(&mut *c)
        .await?;
    sqlx::query("DELETE FROM login_tokens WHERE account = $1 AND device = $2 AND used = 0")
        .bind(owner)
        .bind(device)
        .execute(&mut *c)
        .await?;
    sqlx::query(
        "DELETE FROM login_tokens WHERE account = $1 AND device IN \
         (SELECT device FROM login_tokens WHERE account = $1 AND device <> $2 \
          GROUP BY device ORDER BY max(id) DESC LIMIT -1 OFFSET $3)",
    )
    .bind(owner)
    .bind(device)
    .bind(MAX_DEVICES - 1)
    .execute(&mut *c)
    .await?;
    Ok(())
}

fn read(row: &SqliteRow, now: i64) -> Option<StoredToken> {
    let mechanism: String = row.try_get(1).ok()?;
    let key: Vec<u8> = row.try_get(2).ok()?;
    let (issued, expires): (i64, i64) = (row.try_get(3).ok()?, row.try_get(4).ok()?);
    Some(StoredToken {
        id: row.try_get(0).ok()?,
        mechanism: TokenMechanism::from_name(&mechanism)?,
        key: TokenKey(key.try_into().ok()?),
        expired: expires <= now,
        due: now - issued >= expires - now,
    })
}
