//! Pages and single messages (XEP-0313 section 4): ranges of an index, never a scan of what was not asked for.

use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Row};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{ArchiveQuery, Archived, Page, Seq};

use super::{Store, name_key};

/// Most messages that are counted beside a page.
const MAX_COUNT: i64 = 10_000;
/// Most messages that share a name's few bits and are looked at.
const MAX_CANDIDATES: i64 = 20;

/// A condition under construction.
struct Filter {
    sql: String,
    arguments: SqliteArguments,
}

impl Filter {
    fn push<'t, T>(&mut self, sql: &str, value: T) -> Result<(), sqlx::Error>
    where
        T: sqlx::Encode<'t, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        self.sql.push_str(sql);
        self.arguments.add(value).map_err(sqlx::Error::Encode)
    }

    /// What the query wants, whatever the page; and the index that has it in order.
    fn of(query: &ArchiveQuery) -> Result<Self, sqlx::Error> {
        let mut filter = Self { sql: String::new(), arguments: SqliteArguments::default() };
        filter.sql = match query.with {
            Some(_) => " FROM archive AS a INDEXED BY archive_peer".into(),
            None => " FROM archive AS a NOT INDEXED".into(),
        };
        filter.push(
            " WHERE a.owner = (SELECT id FROM addresses WHERE jid = ?)",
            query.owner.as_str().to_owned(),
        )?;
        if let Some(with) = &query.with {
            filter.push(
                " AND a.peer = (SELECT id FROM addresses WHERE jid = ?)",
                with.bare().as_str().to_owned(),
            )?;
            if let Some(resource) = with.resource() {
                filter.push(" AND a.resource = ?", resource.to_owned())?;
            }
        }
        if let Some(groupchat) = query.groupchat {
            filter.push(" AND a.groupchat = ?", groupchat)?;
        }
        if let Some(ids) = &query.ids {
            filter.sql.push_str(" AND a.seq IN (");
            for (at, id) in ids.iter().enumerate() {
                filter.push(if at == 0 { "?" } else { ",?" }, *id)?;
            }
            filter.sql.push(')');
        }
        Ok(filter)
    }

    /// From one place to another, both included.
    fn between(mut self, low: Option<Seq>, high: Option<Seq>) -> Result<Self, sqlx::Error> {
        if let Some(low) = low {
            self.push(" AND a.seq >= ?", low)?;
        }
        if let Some(high) = high {
            self.push(" AND a.seq <= ?", high)?;
        }
        Ok(self)
    }
}

impl Store {
    pub(super) async fn archive_page(
        &self,
        query: &ArchiveQuery,
    ) -> Result<Option<Page>, sqlx::Error> {
        let named: Vec<Seq> = query
            .after
            .iter()
            .chain(&query.before)
            .chain(query.ids.iter().flatten())
            .copied()
            .collect();
        if !self.has_all(&query.owner, named).await? {
            return Ok(None);
        }
        let mut page = Page { complete: true, ..Page::default() };
        if query.max > 0 {
            (page.messages, page.complete) = self.messages(query).await?;
        }
        let limit = if query.max == 0 { i64::MAX } else { MAX_COUNT };
        if query.count || query.max == 0 {
            let all = self.count(query, (query.start, query.end), limit).await?;
            page.count = all.and_then(|n| u64::try_from(n).ok());
            page.complete &= query.max > 0 || all == Some(0);
        }
        if let (Some(_), Some(first)) = (page.count, page.messages.first()) {
            let before = (query.start, Some(first.seq - 1));
            let before = self.count(query, before, limit).await?;
            page.index = before.and_then(|n| u64::try_from(n).ok());
        }
        Ok(Some(page))
    }

    async fn messages(&self, query: &ArchiveQuery) -> Result<(Vec<Archived>, bool), sqlx::Error> {
        let filter = page_filter(query)?;
        let mut rows =
            sqlx::query_with(AssertSqlSafe(filter.sql), filter.arguments).fetch(&self.readers);
        let mut messages = Vec::new();
        let (mut complete, mut bytes) = (true, 0_usize);
        while let Some(row) = rows.try_next().await? {
            let message = archived(&row)?;
            bytes = bytes.saturating_add(message.stanza.len());
            let is_beyond = bytes > query.max_bytes && !messages.is_empty();
            if messages.len() == query.max || is_beyond {
                complete = false;
                break;
            }
            messages.push(message);
        }
        if query.last {
            messages.reverse();
        }
        Ok((messages, complete))
    }

    /// Whether the archive has all of these.
    async fn has_all(&self, owner: &Jid, mut seqs: Vec<Seq>) -> Result<bool, sqlx::Error> {
        seqs.sort_unstable();
        seqs.dedup();
        if seqs.is_empty() {
            return Ok(true);
        }
        let query = ArchiveQuery { ids: Some(seqs.clone()), ..ArchiveQuery::new(owner.clone(), 0) };
        let found = self.count(&query, (None, None), i64::MAX).await?;
        Ok(found.and_then(|n| usize::try_from(n).ok()) == Some(seqs.len()))
    }

    /// How many match, unless they are more than `limit`.
    async fn count(
        &self,
        query: &ArchiveQuery,
        (low, high): (Option<Seq>, Option<Seq>),
        limit: i64,
    ) -> Result<Option<i64>, sqlx::Error> {
        let mut filter = Filter::of(query)?.between(low, high)?;
        filter.push(" LIMIT ?", limit.saturating_add(1))?;
        let sql = format!("SELECT count(*) FROM (SELECT 1{})", filter.sql);
        let row =
            sqlx::query_with(AssertSqlSafe(sql), filter.arguments).fetch_one(&self.readers).await?;
        Ok(Some(row.try_get(0)?).filter(|count| *count <= limit))
    }

    pub(super) async fn archive_find(
        &self,
        owner: &Jid,
        peer: &Jid,
        name: &str,
    ) -> Result<Vec<Archived>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT a.seq, b.stanza FROM archive AS a INDEXED BY archive_peer \
             CROSS JOIN bodies AS b ON b.seq = a.seq \
             WHERE a.owner = (SELECT id FROM addresses WHERE jid = $1) \
             AND a.peer = (SELECT id FROM addresses WHERE jid = $2) AND a.name = $3 \
             ORDER BY a.seq DESC LIMIT $4",
        )
        .bind(owner.as_str())
        .bind(peer.as_str())
        .bind(name_key(name))
        .bind(MAX_CANDIDATES)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(archived).collect()
    }
}

/// One message more than the page, which tells whether it is the last.
pub(super) fn page_filter(query: &ArchiveQuery) -> Result<PageFilter, sqlx::Error> {
    let after = query.after.iter().map(|seq| seq.saturating_add(1)).max();
    let before = query.before.iter().map(|seq| seq.saturating_sub(1)).min();
    let low = [query.start, after].into_iter().flatten().max();
    let high = [query.end, before].into_iter().flatten().min();
    let mut filter = Filter::of(query)?.between(low, high)?;
    let from = " FROM archive AS a";
    let joined = filter.sql.find(" WHERE ").unwrap_or(from.len());
    filter.sql.insert_str(joined, " CROSS JOIN bodies AS b ON b.seq = a.seq");
    let limit = i64::try_from(query.max).unwrap_or(i64::MAX).saturating_add(1);
    let order = if query.last { " ORDER BY a.seq DESC LIMIT ?" } else { " ORDER BY a.seq LIMIT ?" };
    filter.push(order, limit)?;
    let sql = format!("SELECT a.seq, b.stanza{}", filter.sql);
    Ok(PageFilter { sql, arguments: filter.arguments })
}

/// A page's statement.
pub(super) struct PageFilter {
    pub(super) sql: String,
    pub(super) arguments: SqliteArguments,
}

fn archived(row: &SqliteRow) -> Result<Archived, sqlx::Error> {
    let stanza: Vec<u8> = row.try_get(1)?;
    Ok(Archived { seq: row.try_get(0)?, stanza: stanza.into() })
}
