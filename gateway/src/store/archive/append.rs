//! New messages (XEP-0313): each takes its place at once; a group of them is written with a few statements.
//!
//! The writer is another thread, and every statement is a visit there; a message that cost five of them would cost more
//! than everything else that happens to it. So rows go in by the hundred.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments, AssertSqlSafe, Row};
use tandem_xmpp::ports::{ArchiveRow, BoxFuture, Entry, Seq, StoreError, Stored};
use tokio::sync::{Notify, oneshot};

use super::{address, name_key, once_key};

/// Most messages of one commit.
const GROUP: usize = 2_048;
/// Bytes of messages that may wait to be written; more is refused.
const MAX_BYTES: usize = 256 * 1024 * 1024;
/// Most rows of one statement; fewer are brought up to a power of two, so that few statements are ever prepared.
const MAX_ROWS: usize = 512;
/// Addresses whose numbers the writer remembers.
const MAX_ADDRESSES: usize = 100_000;

/// A message on its way to the store.
pub(in crate::store) struct Append {
    seq: Seq,
    entry: Entry,
    done: oneshot::Sender<Result<Stored, StoreError>>,
}

/// Messages that wait for the writer, in the order of their places.
pub(in crate::store) struct Appends {
    queue: Mutex<Queue>,
    pushed: Notify,
}

struct Queue {
    last: Seq,
    bytes: usize,
    appends: Vec<Append>,
}

impl Appends {
    /// An empty queue; places go on after this one.
    pub(in crate::store) fn after(last: Seq) -> Self {
        let queue = Queue { last, bytes: 0, appends: Vec::new() };
        Self { queue: Mutex::new(queue), pushed: Notify::new() }
    }

    /// A new place, for a message that goes another way.
    pub(in crate::store) fn next(&self) -> Seq {
        next(&mut self.queue())
    }

    /// The last place that was given.
    pub(in crate::store) fn last(&self) -> Seq {
        self.queue().last
    }

    pub(super) fn push(&self, entry: Entry) -> BoxFuture<'static, Result<Stored, StoreError>> {
        let (done, stored) = oneshot::channel();
        {
            let mut queue = self.queue();
            if queue.bytes + entry.stanza.len() > MAX_BYTES {
                let error = StoreError::Unavailable("too much waits to be archived".into());
                return Box::pin(std::future::ready(Err(error)));
            }
            queue.bytes += entry.stanza.len();
            let seq = next(&mut queue);
            queue.appends.push(Append { seq, entry, done });
        }
        self.pushed.notify_one();
        let closed = || StoreError::Unavailable("the message was not committed".into());
        Box::pin(async move { stored.await.map_err(|_| closed())? })
    }

    /// Resolves when something may be there.
    pub(in crate::store) async fn pushed(&self) {
        self.pushed.notified().await;
    }

    /// What goes into the next commit.
    pub(in crate::store) fn take(&self) -> Vec<Append> {
        let mut queue = self.queue();
        let taken = if queue.appends.len() > GROUP {
            self.pushed.notify_one();
            let rest = queue.appends.split_off(GROUP);
            std::mem::replace(&mut queue.appends, rest)
        } else {
            std::mem::take(&mut queue.appends)
        };
        queue.bytes -= taken.iter().map(|a| a.entry.stanza.len()).sum::<usize>();
        taken
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clock says where a message belongs, unless it has been there before.
fn next(queue: &mut Queue) -> Seq {
    queue.last = chrono::Utc::now().timestamp_micros().max(queue.last + 1);
    queue.last
}

/// What the writer knows of the tables.
#[derive(Default)]
pub(in crate::store) struct Writer {
    addresses: HashMap<String, i64>,
}

impl Writer {
    /// A transaction was undone: numbers it had given out are not there.
    pub(in crate::store) fn forget(&mut self) {
        self.addresses.clear();
    }

    /// Writes a group and says what became of each, once it is committed.
    pub(in crate::store) async fn write(
        &mut self,
        c: &mut SqliteConnection,
        appends: &[Append],
    ) -> Result<Vec<Stored>, sqlx::Error> {
        let keys: Vec<Option<Vec<u8>>> =
            appends.iter().map(|a| a.entry.once.as_deref().map(once_key)).collect();
        let mut known = known(c, keys.iter().flatten()).await?;
        let mut stored = Vec::with_capacity(appends.len());
        let (mut bodies, mut rows, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        for (append, key) in appends.iter().zip(keys) {
            let first = key.as_ref().and_then(|key| known.get(key).copied());
            stored.push(Stored { seq: first.unwrap_or(append.seq), duplicate: first.is_some() });
            if first.is_some() {
                continue;
            }
            if let Some(key) = &key {
                known.insert(key.clone(), append.seq);
            }
            let name = append.entry.name.as_deref().map(name_key);
            for row in &append.entry.rows {
                let row = self.numbered(c, append, row, name).await?;
                if row.waits {
                    waiting.push((row.owner, row.seq));
                }
                rows.push(row);
            }
            bodies.push((append, key));
        }
        insert_bodies(c, bodies).await?;
        insert_rows(c, &rows).await?;
        insert_waiting(c, &waiting).await?;
        Ok(stored)
    }

    async fn numbered(
        &mut self,
        c: &mut SqliteConnection,
        append: &Append,
        row: &ArchiveRow,
        name: Option<i64>,
    ) -> Result<Numbered, sqlx::Error> {
        let resource = row.peer.resource().map(str::to_owned);
        let owner = self.number(c, row.owner.as_str()).await?;
        let peer = match resource {
            Some(_) => self.number(c, row.peer.bare().as_str()).await?,
            None => self.number(c, row.peer.as_str()).await?,
        };
        Ok(Numbered {
            owner,
            seq: append.seq,
            peer,
            resource,
            name,
            groupchat: append.entry.groupchat,
            waits: row.waits,
        })
    }

    async fn number(&mut self, c: &mut SqliteConnection, jid: &str) -> Result<i64, sqlx::Error> {
        if let Some(number) = self.addresses.get(jid) {
            return Ok(*number);
        }
        let number = address(c, jid).await?;
        if self.addresses.len() >= MAX_ADDRESSES {
            self.addresses.clear();
        }
        self.addresses.insert(jid.to_owned(), number);
        Ok(number)
    }
}

/// A row of the archive as it is written.
struct Numbered {
    owner: i64,
    seq: Seq,
    peer: i64,
    resource: Option<String>,
    name: Option<i64>,
    groupchat: bool,
    waits: bool,
}

/// Tells everybody what became of their messages. Called after the commit.
pub(in crate::store) fn confirm(appends: Vec<Append>, stored: Vec<Stored>) {
    for (append, stored) in appends.into_iter().zip(stored) {
        let _ = append.done.send(Ok(stored));
    }
}

/// Tells everybody that their messages are not kept.
pub(in crate::store) fn refuse(appends: Vec<Append>, error: &StoreError) {
    for append in appends {
        let _ = append.done.send(Err(error.clone()));
    }
}

/// The places of those messages that are there already.
async fn known(
    c: &mut SqliteConnection,
    keys: impl Iterator<Item = &Vec<u8>>,
) -> Result<HashMap<Vec<u8>, Seq>, sqlx::Error> {
    let mut found = HashMap::new();
    let keys: Vec<&Vec<u8>> = keys.collect();
    for chunk in keys.chunks(MAX_ROWS) {
        let marks = vec!["?"; chunk.len().next_power_of_two()].join(",");
        let sql =
            format!("SELECT once, seq FROM bodies WHERE once IN ({marks}) AND once IS NOT NULL");
        let mut arguments = SqliteArguments::default();
        for key in chunk {
            bind(&mut arguments, key.as_slice())?;
        }
        for row in sqlx::query_with(AssertSqlSafe(sql), arguments).fetch_all(&mut *c).await? {
            found.insert(row.try_get(0)?, row.try_get(1)?);
        }
    }
    Ok(found)
}

async fn insert_bodies(
    c: &mut SqliteConnection,
    bodies: Vec<(&Append, Option<Vec<u8>>)>,
) -> Result<(), sqlx::Error> {
    for chunk in bodies.chunks(MAX_ROWS) {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(3 * chunk.len(), 0);
        for (append, once) in chunk {
            bind(&mut arguments, append.seq)?;
            bind(&mut arguments, append.entry.stanza.as_ref())?;
            bind(&mut arguments, once.as_deref())?;
        }
        insert(c, "bodies (seq, stanza, once)", 3, chunk.len(), arguments).await?;
    }
    Ok(())
}

async fn insert_rows(c: &mut SqliteConnection, rows: &[Numbered]) -> Result<(), sqlx::Error> {
    for chunk in rows.chunks(MAX_ROWS) {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(6 * chunk.len(), 0);
        for row in chunk {
            bind(&mut arguments, row.owner)?;
            bind(&mut arguments, row.seq)?;
            bind(&mut arguments, row.peer)?;
            bind(&mut arguments, row.resource.as_deref())?;
            bind(&mut arguments, row.name)?;
            bind(&mut arguments, row.groupchat)?;
        }
        let table = "archive (owner, seq, peer, resource, name, groupchat)";
        insert(c, table, 6, chunk.len(), arguments).await?;
    }
    Ok(())
}

async fn insert_waiting(
    c: &mut SqliteConnection,
    waiting: &[(i64, Seq)],
) -> Result<(), sqlx::Error> {
    for chunk in waiting.chunks(MAX_ROWS) {
        let mut arguments = SqliteArguments::default();
        for (owner, seq) in chunk {
            bind(&mut arguments, *owner)?;
            bind(&mut arguments, *seq)?;
            bind(&mut arguments, true)?;
        }
        insert(c, "waiting (owner, seq, archived)", 3, chunk.len(), arguments).await?;
    }
    Ok(())
}

/// Inserts rows of so many columns with one statement. Its surplus rows are not bound, so NULL, and left out.
async fn insert(
    c: &mut SqliteConnection,
    table: &str,
    columns: usize,
    rows: usize,
    arguments: SqliteArguments,
) -> Result<(), sqlx::Error> {
    let row = format!("({})", vec!["?"; columns].join(","));
    let names: Vec<String> = (1..=columns).map(|n| format!("column{n}")).collect();
    let sql = format!(
        "INSERT INTO {table} SELECT {} FROM (VALUES {}) WHERE column1 IS NOT NULL",
        names.join(","),
        vec![row; rows.next_power_of_two()].join(",")
    );
    sqlx::query_with(AssertSqlSafe(sql), arguments).execute(c).await.map(|_| ())
}

fn bind<'t, T>(arguments: &mut SqliteArguments, value: T) -> Result<(), sqlx::Error>
where
    T: sqlx::Encode<'t, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    arguments.add(value).map_err(sqlx::Error::Encode)
}
