//! Values the program keeps for itself, such as secrets that must outlive a restart.

use sqlx::Row;
use tandem_xmpp::ports::StoreError;

use super::{Store, fault};

impl Store {
    /// A secret by name, made at its first use.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store or the source of randomness fails.
    pub async fn secret(&self, name: &'static str) -> Result<[u8; 32], StoreError> {
        let mut fresh = [0_u8; 32];
        getrandom::fill(&mut fresh).map_err(|e| StoreError::Unavailable(e.to_string()))?;
        self.write(move |c| {
            Box::pin(async move {
                sqlx::query("INSERT OR IGNORE INTO settings (name, value) VALUES ($1, $2)")
                    .bind(name)
                    .bind(&fresh[..])
                    .execute(c)
                    .await
                    .map(|_| ())
            })
        })
        .await?;
        let row = sqlx::query("SELECT value FROM settings WHERE name = $1")
            .bind(name)
            .fetch_one(&self.readers)
            .await
            .map_err(|e| fault(&e))?;
        let value: Vec<u8> = row.try_get(0).map_err(|e| fault(&e))?;
        value.try_into().map_err(|_| StoreError::Unavailable("a stored secret is damaged".into()))
    }
}
