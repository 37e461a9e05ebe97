//! The call log: one record a call, written when it is over.

use sqlx::sqlite::SqliteArguments;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::StoreError;

use super::Store;
use super::rows::{MAX_ROWS, bind, insert};

/// How far back missed calls are told, in milliseconds.
const MONTH: i64 = 30 * 24 * 60 * 60 * 1_000;

/// What is kept of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// Who called, bare.
    pub caller: Jid,
    /// Who was called, bare.
    pub callee: Jid,
    /// When it began, in milliseconds since 1970.
    pub started: i64,
    /// When both were connected, if they were.
    pub answered: Option<i64>,
    /// When it ended.
    pub ended: i64,
    /// One word or two: `hung up`, `busy`, `no answer`, `cancelled` ...
    pub result: String,
    /// The devices that took part, as JSON: their protocol, address, codec and counters.
    pub legs: String,
}

impl Store {
    /// Keeps records; resolves after the commit.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails.
    pub async fn keep_calls(&self, records: Vec<CallRecord>) -> Result<(), StoreError> {
        self.write(move |c| {
            Box::pin(async move {
                for chunk in records.chunks(MAX_ROWS) {
                    let mut arguments = SqliteArguments::default();
                    for record in chunk {
                        bind(&mut arguments, record.callee.domain())?;
                        bind(&mut arguments, record.caller.as_str())?;
                        bind(&mut arguments, record.callee.as_str())?;
                        bind(&mut arguments, record.started)?;
                        bind(&mut arguments, record.answered)?;
                        bind(&mut arguments, record.ended)?;
                        bind(&mut arguments, record.result.as_str())?;
                        bind(&mut arguments, record.legs.as_str())?;
                    }
                    let table =
                        "calls (domain, caller, callee, started, answered, ended, result, legs)";
                    insert(c, table, 8, chunk.len(), arguments).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Calls to the account that nobody took: those since it last called or took a call, and those of the month before.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails.
    pub async fn missed_calls(&self, account: &Jid) -> Result<(u32, u32), StoreError> {
        use sqlx::Row;
        let month = chrono::Utc::now().timestamp_millis() - MONTH;
        let row = sqlx::query(
            "SELECT COALESCE(SUM(started > seen), 0), COALESCE(SUM(started <= seen), 0) FROM \
             (SELECT started FROM calls WHERE callee = ?1 AND started > ?2 AND answered IS NULL \
              AND result NOT IN ('declined', 'answered elsewhere')), \
             (SELECT COALESCE(MAX(started), 0) AS seen FROM calls WHERE started > ?2 \
              AND (caller = ?1 OR callee = ?1 AND answered IS NOT NULL))",
        )
        .bind(account.as_bare_str())
        .bind(month)
        .fetch_one(&self.readers)
        .await
        .map_err(|e| super::fault(&e))?;
        let count = |at: usize| row.try_get::<i64, _>(at).map(|n| u32::try_from(n).unwrap_or(0));
        let missed =
            (count(0).map_err(|e| super::fault(&e))?, count(1).map_err(|e| super::fault(&e))?);
        Ok(missed)
    }

    /// The newest records, the latest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails.
    pub async fn calls(&self, limit: u32) -> Result<Vec<CallRecord>, StoreError> {
        use sqlx::Row;
        let rows = sqlx::query(
            "SELECT caller, callee, started, answered, ended, result, legs FROM calls \
             ORDER BY id DESC LIMIT $1",
        )
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .map_err(|e| super::fault(&e))?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            Some(CallRecord {
                caller: Jid::parse(row.try_get(0).ok()?).ok()?,
                callee: Jid::parse(row.try_get(1).ok()?).ok()?,
                started: row.try_get(2).ok()?,
                answered: row.try_get(3).ok()?,
                ended: row.try_get(4).ok()?,
                result: row.try_get(5).ok()?,
                legs: row.try_get(6).ok()?,
            })
        };
        Ok(rows.iter().filter_map(read).collect())
    }
}
