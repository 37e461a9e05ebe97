//! Accounts and their credentials: SCRAM keys and digest HA1, never a password.

use base64::Engine as _;
use md5::Md5;
use sha2::{Digest, Sha256};
use sqlx::Row;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::StoreError;
use tandem_xmpp::stream::sasl::{ScramHash, ScramKeys};

use super::{Store, fault};

/// Label of the credential that the operator's commands set.
const MAIN: &str = "main";

/// Everything that is derived from a new password.
#[derive(Debug, Clone)]
pub struct NewPassword {
    sha1: ScramKeys,
    sha256: ScramKeys,
    realm: String,
    ha1_md5: String,
    ha1_sha256: String,
}

impl NewPassword {
    /// Derives keys for the account; slow on purpose.
    pub fn derive(account: &Jid, password: &str, salt: &[u8], iterations: u32) -> Self {
        let realm = account.domain().to_owned();
        let text = format!("{}:{realm}:{password}", account.node().unwrap_or_default());
        Self {
            sha1: ScramKeys::derive(ScramHash::Sha1, password, salt, iterations),
            sha256: ScramKeys::derive(ScramHash::Sha256, password, salt, iterations),
            ha1_md5: hex(&Md5::digest(&text)),
            ha1_sha256: hex(&Sha256::digest(&text)),
            realm,
        }
    }
}

/// A random password: 12 characters that survive being read aloud and typed on a phone.
pub fn random_password() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 9];
    getrandom::fill(&mut bytes)?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes).replace(['-', '_'], "x"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl Store {
    /// Makes an account.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when it exists.
    pub async fn add_account(
        &self,
        account: &Jid,
        password: NewPassword,
    ) -> Result<(), StoreError> {
        let account = account.bare();
        let now = chrono::Utc::now().timestamp_millis();
        self.write(move |c| {
            Box::pin(async move {
                sqlx::query("INSERT INTO accounts (domain, name, created) VALUES ($1, $2, $3)")
                    .bind(account.domain())
                    .bind(account.node())
                    .bind(now)
                    .execute(&mut *c)
                    .await?;
                put_password(c, &account, &password).await.map(|_| ())
            })
        })
        .await
    }

    /// Makes an account unless it exists.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store or the source of randomness fails.
    pub async fn ensure_account(
        &self,
        account: &Jid,
        password: &str,
        iterations: u32,
    ) -> Result<(), StoreError> {
        if self.account_exists(account).await? {
            return Ok(());
        }
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|e| StoreError::Unavailable(e.to_string()))?;
        self.add_account(account, NewPassword::derive(account, password, &salt, iterations)).await
    }

    /// Replaces the password. False when there is no such account.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn set_password(
        &self,
        account: &Jid,
        password: NewPassword,
    ) -> Result<bool, StoreError> {
        let account = account.bare();
        self.write(move |c| Box::pin(async move { put_password(c, &account, &password).await }))
            .await
    }

    /// Removes an account with everything it owns. False when there was none.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn remove_account(&self, account: &Jid) -> Result<bool, StoreError> {
        let account = account.bare();
        self.write(move |c| {
            Box::pin(async move {
                let removed = sqlx::query("DELETE FROM accounts WHERE domain = $1 AND name = $2")
                    .bind(account.domain())
                    .bind(account.node())
                    .execute(&mut *c)
                    .await?;
                sqlx::query("DELETE FROM bindings WHERE account = $1")
                    .bind(account.as_str())
                    .execute(&mut *c)
                    .await?;
                // Reports stay: they are about others.
                sqlx::query("DELETE FROM blocklists WHERE owner = $1")
                    .bind(account.as_str())
                    .execute(&mut *c)
                    .await?;
                sqlx::query("DELETE FROM invites WHERE inviter = $1")
                    .bind(account.as_str())
                    .execute(&mut *c)
                    .await?;
                Ok(removed.rows_affected() > 0)
            })
        })
        .await
    }

    /// All accounts, in order.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn accounts(&self) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query("SELECT name || '@' || domain FROM accounts ORDER BY domain, name")
            .fetch_all(&self.readers)
            .await
            .map_err(|e| fault(&e))?;
        rows.iter().map(|r| r.try_get(0).map_err(|e| fault(&e))).collect()
    }

    /// Whether the account exists.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn account_exists(&self, account: &Jid) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT 1 FROM accounts WHERE domain = $1 AND name = $2")
            .bind(account.domain())
            .bind(account.node())
            .fetch_optional(&self.readers)
            .await;
        row.map(|r| r.is_some()).map_err(|e| fault(&e))
    }

    /// Keys for a SCRAM login.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn scram_keys(
        &self,
        account: &Jid,
        hash: ScramHash,
    ) -> Result<Option<ScramKeys>, StoreError> {
        let sql = match hash {
            ScramHash::Sha1 => {
                "SELECT salt, iterations, sha1_stored, sha1_server FROM credentials \
                 JOIN accounts ON accounts.id = account WHERE domain = $1 AND name = $2 AND label = $3 AND disabled = 0"
            }
            ScramHash::Sha256 => {
                "SELECT salt, iterations, sha256_stored, sha256_server FROM credentials \
                 JOIN accounts ON accounts.id = account WHERE domain = $1 AND name = $2 AND label = $3 AND disabled = 0"
            }
        };
        let row = sqlx::query(sql)
            .bind(account.domain())
            .bind(account.node())
            .bind(MAIN)
            .fetch_optional(&self.readers)
            .await
            .map_err(|e| fault(&e))?;
        let Some(row) = row else { return Ok(None) };
        let read = || -> Result<ScramKeys, sqlx::Error> {
            Ok(ScramKeys {
                salt: row.try_get(0)?,
                iterations: row.try_get(1)?,
                stored_key: row.try_get(2)?,
                server_key: row.try_get(3)?,
            })
        };
        read().map(Some).map_err(|e| fault(&e))
    }

    /// The digest HA1 of an account: MD5 and SHA-256, lower-case hex.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn digest_ha1(&self, account: &Jid) -> Result<Option<(String, String)>, StoreError> {
        let row = sqlx::query(
            "SELECT ha1_md5, ha1_sha256 FROM credentials JOIN accounts ON accounts.id = account \
             WHERE domain = $1 AND name = $2 AND label = $3 AND disabled = 0",
        )
        .bind(account.domain())
        .bind(account.node())
        .bind(MAIN)
        .fetch_optional(&self.readers)
        .await
        .map_err(|e| fault(&e))?;
        let Some(row) = row else { return Ok(None) };
        let read = || Ok((row.try_get(0)?, row.try_get(1)?));
        read().map(Some).map_err(|e: sqlx::Error| fault(&e))
    }
}

async fn put_password(
    c: &mut sqlx::sqlite::SqliteConnection,
    account: &Jid,
    password: &NewPassword,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "INSERT OR REPLACE INTO credentials (account, label, purpose, iterations, salt, \
         sha1_stored, sha1_server, sha256_stored, sha256_server, realm, ha1_md5, ha1_sha256) \
         SELECT id, $3, 'all', $4, $5, $6, $7, $8, $9, $10, $11, $12 FROM accounts \
         WHERE domain = $1 AND name = $2",
    )
    .bind(account.domain())
    .bind(account.node())
    .bind(MAIN)
    .bind(password.sha256.iterations)
    .bind(&password.sha256.salt)
    .bind(&password.sha1.stored_key)
    .bind(&password.sha1.server_key)
    .bind(&password.sha256.stored_key)
    .bind(&password.sha256.server_key)
    .bind(&password.realm)
    .bind(&password.ha1_md5)
    .bind(&password.ha1_sha256)
    .execute(c)
    .await?;
    Ok(done.rows_affected() > 0)
}
