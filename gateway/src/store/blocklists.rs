//! Block lists, and the reports that come with blocking.

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{Blocklists, BoxFuture, Report, StoreError};

use super::{Store, fault};

/// Most reports of one reporter that are kept.
const MAX_REPORTS: i64 = 1_000;

/// A report as an operator reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FiledReport {
    /// Its number.
    pub id: i64,
    /// When it came, in milliseconds since 1970.
    pub at: i64,
    /// Who complained.
    pub reporter: String,
    /// About whom.
    pub reported: String,
    /// The URN of the reason.
    pub reason: String,
    /// In the reporter's words.
    pub text: Option<String>,
    /// The messages that were named: who gave the id, the id, and the message as it was then.
    pub evidence: Vec<(String, String, Option<String>)>,
}

impl Blocklists for Store {
    fn load<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<Vec<Jid>, StoreError>> {
        Box::pin(async move {
            let rows = sqlx::query("SELECT blocked FROM blocklists WHERE owner = $1")
                .bind(owner.as_str())
                .fetch_all(&self.readers)
                .await
                .map_err(|e| fault(&e))?;
            Ok(rows.iter().filter_map(|r| Jid::parse(r.try_get(0).ok()?).ok()).collect())
        })
    }

    fn block<'a>(
        &'a self,
        owner: &'a Jid,
        blocked: &'a [Jid],
        reports: &'a [Report],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (owner, blocked, reports) = (owner.clone(), blocked.to_vec(), reports.to_vec());
        let now = chrono::Utc::now().timestamp_millis();
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                for jid in &blocked {
                    sqlx::query(
                        "INSERT OR IGNORE INTO blocklists (owner, blocked) VALUES ($1, $2)",
                    )
                    .bind(owner.as_str())
                    .bind(jid.as_str())
                    .execute(&mut *c)
                    .await?;
                }
                for report in &reports {
                    file(&mut *c, report, now).await?;
                }
                Ok(())
            })
        }))
    }

    fn unblock<'a>(
        &'a self,
        owner: &'a Jid,
        unblocked: &'a [Jid],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (owner, unblocked) = (owner.clone(), unblocked.to_vec());
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                for jid in &unblocked {
                    sqlx::query("DELETE FROM blocklists WHERE owner = $1 AND blocked = $2")
                        .bind(owner.as_str())
                        .bind(jid.as_str())
                        .execute(&mut *c)
                        .await?;
                }
                Ok(())
            })
        }))
    }
}

async fn file(c: &mut SqliteConnection, report: &Report, now: i64) -> Result<(), sqlx::Error> {
    let filed = sqlx::query(
        "INSERT INTO reports (at, domain, reporter, reported, reason, text, to_origin, to_others) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8 \
         WHERE (SELECT count(*) FROM reports WHERE reporter = $3) < $9",
    )
    .bind(now)
    .bind(report.reporter.domain())
    .bind(report.reporter.as_str())
    .bind(report.reported.as_str())
    .bind(&report.reason)
    .bind(&report.text)
    .bind(report.to_origin)
    .bind(report.to_others)
    .bind(MAX_REPORTS)
    .execute(&mut *c)
    .await?;
    if filed.rows_affected() == 0 {
        return Ok(());
    }
    let id = filed.last_insert_rowid();
    for (number, evidence) in (0_i64..).zip(&report.evidence) {
        sqlx::query(
            "INSERT INTO report_evidence (report, number, given_by, stanza_id, stanza) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(id)
        .bind(number)
        .bind(&evidence.by)
        .bind(&evidence.id)
        .bind(evidence.stanza.as_deref())
        .execute(&mut *c)
        .await?;
    }
    Ok(())
}

impl Store {
    /// The newest reports, the last first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn reports(&self, max: u32) -> Result<Vec<FiledReport>, StoreError> {
        self.read_reports(max).await.map_err(|e| fault(&e))
    }

    async fn read_reports(&self, max: u32) -> Result<Vec<FiledReport>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT id, at, reporter, reported, reason, text FROM reports \
             ORDER BY id DESC LIMIT $1",
        )
        .bind(max)
        .fetch_all(&self.readers)
        .await?;
        let mut reports = Vec::with_capacity(rows.len());
        for row in rows {
            let id = row.try_get(0)?;
            let evidence = sqlx::query(
                "SELECT given_by, stanza_id, stanza FROM report_evidence WHERE report = $1 \
                 ORDER BY number",
            )
            .bind(id)
            .fetch_all(&self.readers)
            .await?;
            let named = |row: &sqlx::sqlite::SqliteRow| {
                let stanza: Option<Vec<u8>> = row.try_get(2)?;
                let stanza = stanza.map(|s| String::from_utf8_lossy(&s).into_owned());
                Ok((row.try_get(0)?, row.try_get(1)?, stanza))
            };
            reports.push(FiledReport {
                id,
                at: row.try_get(1)?,
                reporter: row.try_get(2)?,
                reported: row.try_get(3)?,
                reason: row.try_get(4)?,
                text: row.try_get(5)?,
                evidence: evidence.iter().map(named).collect::<Result<_, sqlx::Error>>()?,
            });
        }
        Ok(reports)
    }
}
