//! Where phones are registered (RFC 3261 section 10): kept before the 200 to a REGISTER leaves.

use std::sync::Arc;

use sqlx::Row;
use tandem_sip::ports::{Binding, StoreError};

use super::archive::AccountBindings;
use super::{Store, fault};

impl Store {
    /// All bindings. One that cannot be read was kept by another version, and its phone registers again.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails.
    pub async fn bindings(&self) -> Result<Vec<Binding>, StoreError> {
        self.appends.settled().await.map_err(|e| sip_fault(&e))?;
        let rows = sqlx::query("SELECT binding FROM bindings ORDER BY account, id")
            .fetch_all(&self.readers)
            .await
            .map_err(|e| sip_fault(&fault(&e)))?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            let text: String = row.try_get(0).ok()?;
            serde_json::from_str(&text).ok()
        };
        Ok(rows.iter().filter_map(read).collect())
    }

    /// Replaces the bindings of one account; resolves once they are on disk.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails: nothing was changed.
    pub async fn save_bindings(
        &self,
        account: &str,
        bindings: &[Arc<Binding>],
    ) -> Result<(), StoreError> {
        let bindings =
            rows(account, bindings).map_err(|e| StoreError::Unavailable(e.to_string()))?;
        self.appends.push_bindings(bindings).await.map_err(|e| sip_fault(&e))
    }

    /// Replaces the bindings of one account soon, a quarter of a second later at most.
    pub fn save_bindings_later(&self, account: &str, bindings: &[Arc<Binding>]) {
        self.appends.push_bindings_later(account, bindings);
    }
}

/// What is kept of an account's bindings.
pub(super) fn rows(
    account: &str,
    bindings: &[Arc<Binding>],
) -> Result<AccountBindings, serde_json::Error> {
    let row = |binding: &Arc<Binding>| Ok((row_name(binding), serde_json::to_string(&**binding)?));
    let rows: Result<_, serde_json::Error> = bindings.iter().map(row).collect();
    Ok(AccountBindings { account: account.to_owned(), rows: rows? })
}

/// A phone has a row for each of its flows.
fn row_name(binding: &Binding) -> String {
    match binding.reg_id {
        Some(flow) => format!("{}/{flow}", binding.id),
        None => binding.id.clone(),
    }
}

/// The same fault in the words of the SIP crate.
pub fn sip_fault(error: &tandem_xmpp::ports::StoreError) -> StoreError {
    match error {
        tandem_xmpp::ports::StoreError::Conflict => StoreError::Conflict,
        other => StoreError::Unavailable(other.to_string()),
    }
}
