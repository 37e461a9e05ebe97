//! Accounts and their credentials: SCRAM keys and digest HA1, never a password.

use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use md5::Md5;
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::StoreError;
use tandem_xmpp::stream::sasl::{PasswordKeys, ScramHash, ScramKeys};

use super::{Store, fault};

/// Label of the credential that the operator's commands set.
const MAIN: &str = "main";

/// Everything that is derived from a new password.
#[derive(Debug, Clone)]
pub struct NewPassword {
    keys: PasswordKeys,
    salt: Vec<u8>,
    iterations: u32,
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
            keys: PasswordKeys::derive(password, salt, iterations),
            salt: salt.to_vec(),
            iterations,
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
        let made = account.clone();
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
        .await?;
        self.keys.forget(&made);
        Ok(())
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
        let owner = account.clone();
        let set = self
            .write(move |c| Box::pin(async move { put_password(c, &owner, &password).await }))
            .await;
        self.keys.forget(&account);
        set
    }

    /// Removes an account with everything it owns. False when there was none.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn remove_account(&self, account: &Jid) -> Result<bool, StoreError> {
        let account = account.bare();
        let owner = account.clone();
        if self.account_exists(&owner).await? {
            self.depart(&owner).await?;
        }
        let removed = self.write(move |c| {
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
                sqlx::query("DELETE FROM call_settings WHERE account = $1")
                    .bind(account.as_str())
                    .execute(&mut *c)
                    .await?;
                Ok(removed.rows_affected() > 0)
            })
        });
        let removed = removed.await;
        self.keys.forget(&owner);
        let removed = removed?;
        self.calls.set(&owner, None);
        // What others said with it stays theirs.
        self.forget_archive(owner).await?;
        Ok(removed)
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

    /// The keys of an account's password, at most a moment old. `None` for an account that is not there or may not log
    /// in.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn password_keys(
        &self,
        account: &Jid,
        now: Instant,
    ) -> Result<Option<Arc<PasswordKeys>>, StoreError> {
        let mark = match self.keys.get(account, now) {
            Ok(keys) => return Ok(keys),
            Err(mark) => mark,
        };
        let row = sqlx::query(
            "SELECT salt, iterations, sha1_stored, sha1_server, sha256_stored, sha256_server, \
             sha512_stored, sha512_server FROM credentials JOIN accounts ON accounts.id = account \
             WHERE domain = $1 AND name = $2 AND label = $3 AND disabled = 0",
        )
        .bind(account.domain())
        .bind(account.node())
        .bind(MAIN)
        .fetch_optional(&self.readers)
        .await
        .map_err(|e| fault(&e))?;
        let keys = row.map(|row| read_keys(&row)).transpose().map_err(|e| fault(&e))?.map(Arc::new);
        self.keys.put(account, keys.clone(), mark, now);
        Ok(keys)
    }

    /// Adds the keys of a hash that the account lacks. False when it has them or is not there.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn add_keys(
        &self,
        account: &Jid,
        hash: ScramHash,
        keys: ScramKeys,
    ) -> Result<bool, StoreError> {
        let sql = match hash {
            ScramHash::Sha1 => {
                "UPDATE credentials SET sha1_stored = $4, sha1_server = $5 WHERE sha1_stored IS NULL \
                 AND label = $3 AND account = (SELECT id FROM accounts WHERE domain = $1 AND name = $2)"
            }
            ScramHash::Sha256 => {
                "UPDATE credentials SET sha256_stored = $4, sha256_server = $5 WHERE sha256_stored IS NULL \
                 AND label = $3 AND account = (SELECT id FROM accounts WHERE domain = $1 AND name = $2)"
            }
            ScramHash::Sha512 => {
                "UPDATE credentials SET sha512_stored = $4, sha512_server = $5 WHERE sha512_stored IS NULL \
                 AND label = $3 AND account = (SELECT id FROM accounts WHERE domain = $1 AND name = $2)"
            }
        };
        let account = account.bare();
        let owner = account.clone();
        let added = self.write(move |c| {
            Box::pin(async move {
                let done = sqlx::query(sql)
                    .bind(owner.domain())
                    .bind(owner.node())
                    .bind(MAIN)
                    .bind(keys.stored_key)
                    .bind(keys.server_key)
                    .execute(c)
                    .await?;
                Ok(done.rows_affected() > 0)
            })
        });
        let added = added.await;
        self.keys.forget(&account);
        added
    }

    /// How many accounts have no keys for SHA-512, but for those of this name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn accounts_without_sha512(&self, except: &str) -> Result<i64, StoreError> {
        let row = sqlx::query(
            "SELECT count(*) FROM credentials JOIN accounts ON accounts.id = account \
             WHERE sha512_stored IS NULL AND name <> $1",
        )
        .bind(except)
        .fetch_one(&self.readers)
        .await
        .map_err(|e| fault(&e))?;
        row.try_get(0).map_err(|e| fault(&e))
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
    // Tokens were given for the old password.
    sqlx::query(
        "DELETE FROM login_tokens WHERE account = \
         (SELECT id FROM accounts WHERE domain = $1 AND name = $2)",
    )
    .bind(account.domain())
    .bind(account.node())
    .execute(&mut *c)
    .await?;
    let stored = |hash| password.keys.of(hash).map(|keys| keys.stored_key.as_slice());
    let server = |hash| password.keys.of(hash).map(|keys| keys.server_key.as_slice());
    let done = sqlx::query(
        "INSERT OR REPLACE INTO credentials (account, label, purpose, iterations, salt, \
         sha1_stored, sha1_server, sha256_stored, sha256_server, sha512_stored, sha512_server, \
         realm, ha1_md5, ha1_sha256) \
         SELECT id, $3, 'all', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14 FROM accounts \
         WHERE domain = $1 AND name = $2",
    )
    .bind(account.domain())
    .bind(account.node())
    .bind(MAIN)
    .bind(password.iterations)
    .bind(&password.salt)
    .bind(stored(ScramHash::Sha1))
    .bind(server(ScramHash::Sha1))
    .bind(stored(ScramHash::Sha256))
    .bind(server(ScramHash::Sha256))
    .bind(stored(ScramHash::Sha512))
    .bind(server(ScramHash::Sha512))
    .bind(&password.realm)
    .bind(&password.ha1_md5)
    .bind(&password.ha1_sha256)
    .execute(c)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// One row's salt and rounds, then the two keys of each hash that there are.
fn read_keys(row: &SqliteRow) -> Result<PasswordKeys, sqlx::Error> {
    let (salt, iterations): (Vec<u8>, u32) = (row.try_get(0)?, row.try_get(1)?);
    let pair = |at: usize| -> Result<Option<ScramKeys>, sqlx::Error> {
        let (stored, server): (Option<Vec<u8>>, Option<Vec<u8>>) =
            (row.try_get(at)?, row.try_get(at + 1)?);
        Ok(stored.zip(server).map(|(stored_key, server_key)| ScramKeys {
            salt: salt.clone(),
            iterations,
            stored_key,
            server_key,
        }))
    };
    Ok(PasswordKeys { sha1: pair(2)?, sha256: pair(4)?, sha512: pair(6)? })
}
