//! Registrations that come together are kept together: a statement for all of them instead of some for each.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments, AssertSqlSafe};
use tandem_xmpp::ports::StoreError;
use tokio::sync::oneshot;

use super::{Store, insert};

/// Most rows of one statement.
const MAX_ROWS: usize = 512;

/// The bindings of one account as they are from now on.
pub(super) struct Save {
    account: String,
    /// Name and text of each.
    rows: Vec<(String, String)>,
    done: oneshot::Sender<()>,
}

/// Saves that wait for the next commit.
pub(super) type Saves = Arc<Mutex<Vec<Save>>>;

impl Store {
    /// Replaces the rows of an account; resolves after the commit.
    pub(super) async fn replace_bindings(
        &self,
        account: String,
        rows: Vec<(String, String)>,
    ) -> Result<(), StoreError> {
        let (done, kept) = oneshot::channel();
        let is_first = {
            let mut saves = self.saves.lock().unwrap_or_else(PoisonError::into_inner);
            saves.push(Save { account, rows, done });
            saves.len() == 1
        };
        if is_first {
            let saves = self.saves.clone();
            let taken = self.write(move |c| {
                Box::pin(async move {
                    let taken =
                        std::mem::take(&mut *saves.lock().unwrap_or_else(PoisonError::into_inner));
                    write(c, &taken).await?;
                    Ok(taken)
                })
            });
            // Where this fails, all of them are dropped, and whoever waits sees it.
            for save in taken.await? {
                let _ = save.done.send(());
            }
        }
        let lost = || StoreError::Unavailable("the registration was not committed".into());
        kept.await.map_err(|_| lost())
    }
}

async fn write(c: &mut SqliteConnection, saves: &[Save]) -> Result<(), sqlx::Error> {
    // Of several for one account the last holds.
    let mut seen = HashSet::new();
    let last: Vec<&Save> =
        saves.iter().rev().filter(|save| seen.insert(save.account.as_str())).collect();
    for chunk in last.chunks(MAX_ROWS) {
        let marks = vec!["?"; chunk.len().next_power_of_two()].join(",");
        let mut arguments = SqliteArguments::default();
        for save in chunk {
            arguments.add(save.account.as_str()).map_err(sqlx::Error::Encode)?;
        }
        let sql = format!("DELETE FROM bindings WHERE account IN ({marks})");
        sqlx::query_with(AssertSqlSafe(sql), arguments).execute(&mut *c).await?;
    }
    let rows: Vec<_> =
        last.iter().flat_map(|save| save.rows.iter().map(|row| (&save.account, row))).collect();
    for chunk in rows.chunks(MAX_ROWS) {
        let mut arguments = SqliteArguments::default();
        for (account, (name, binding)) in chunk {
            for value in [account.as_str(), name.as_str(), binding.as_str()] {
                arguments.add(value).map_err(sqlx::Error::Encode)?;
            }
        }
        insert(c, "bindings (account, id, binding)", 3, chunk.len(), arguments).await?;
    }
    Ok(())
}
