//! SQLite, and the only place with sqlx. One writer groups commits; a pool of readers never waits for it.
//!
//! A write resolves after the commit that keeps it, with `synchronous=FULL`: what was promised survives a power cut.
//! While one commit is on its way to the disk, the next writes gather and share the following one. Messages for the archive
//! and registrations do not wait for commits: a journal keeps them until the tables have them (see `archive`).

mod accounts;
mod archive;
mod bindings;
mod blocklists;
mod call_settings;
mod calls;
mod directory;
mod invites;
mod key_cache;
mod login_tokens;
mod phone_rooms;
mod pubsub;
mod pushes;
mod rooms;
mod rosters;
mod rows;
mod settings;
mod uploads;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Row};
use tandem_xmpp::ports::{BoxFuture, StoreError};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

pub use self::accounts::{NewPassword, random_password};
use self::archive::{Appends, Journal, Pending, Recorder, Writer, last_indexed};
pub use self::bindings::sip_fault;
pub use self::blocklists::FiledReport;
use self::call_settings::CallCache;
pub use self::call_settings::CallSettings;
pub use self::calls::CallRecord;
use self::key_cache::KeyCache;
pub use self::phone_rooms::PhoneRoom;
pub use self::uploads::{Reserved, Upload, UploadQuota};

/// Most writes that share a commit.
const GROUP: usize = 512;
/// Writes that may wait; more make their senders wait.
const QUEUE: usize = 4096;
/// How long a database that is in use is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

type Done = Box<dyn FnOnce() + Send>;
type Job = Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Option<Done>> + Send>;

/// The database of one node. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    readers: SqlitePool,
    writer: mpsc::Sender<Job>,
    keys: Arc<KeyCache>,
    calls: Arc<CallCache>,
    appends: Arc<Appends>,
    open: Arc<Open>,
}

/// Lets the journal's thread end with the last [`Store`].
struct Open(Arc<Appends>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Store {
    /// Opens the database of a data folder, which is made with mode 0700 if missing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the folder or the database cannot be used, or another program has it.
    pub async fn open_in(data_dir: &Path) -> Result<Self, StoreError> {
        Self::open(&database_in(data_dir)?).await
    }

    /// As [`Store::open_in`], maybe beside a running server: then nothing can be added to archives.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the folder or the database cannot be used.
    pub async fn open_beside(data_dir: &Path) -> Result<Self, StoreError> {
        let path = database_in(data_dir)?;
        let journal = Journal::open(&path).map_err(|e| unavailable(&e))?;
        Self::open_with(&path, journal).await
    }

    /// Opens or makes the database and brings it up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the file cannot be opened, is of a newer program, or in use.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let begun = Instant::now();
        loop {
            // Whoever had it may be on the way out.
            match Journal::open(path).map_err(|e| unavailable(&e))? {
                Some(journal) => return Self::open_with(path, Some(journal)).await,
                None if begun.elapsed() > PATIENCE => {
                    let text = format!("another program has {}", path.display());
                    return Err(StoreError::Unavailable(text));
                }
                None => tokio::time::sleep(PATIENCE / 100).await,
            }
        }
    }

    async fn open_with(
        path: &Path,
        journal: Option<(Journal, Vec<Pending>)>,
    ) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // Every connection has pages of its own, beside the kernel's: at SQLite's 2 MiB each of these six, a day of
            // messages is held six times over.
            .pragma("cache_size", "-512")
            .busy_timeout(std::time::Duration::from_secs(10));
        let mut connection = options.connect().await.map_err(|e| fault(&e))?;
        sqlx::migrate!("./migrations")
            .run(&mut connection)
            .await
            .map_err(|e| StoreError::Unavailable(e.to_string()))?;
        let (journal, held) = journal.unzip();
        catch_up(&mut connection, held.unwrap_or_default()).await.map_err(|e| fault(&e))?;
        let last = last_place(&mut connection).await.map_err(|e| fault(&e))?;
        let options = options.read_only(true);
        let appends = Arc::new(Appends::after(last, journal.is_some()));
        if let Some(journal) = journal {
            let reader = options.connect().await.map_err(|e| fault(&e))?;
            let runtime = Handle::current();
            let recorder = Recorder { appends: appends.clone(), journal, reader, runtime };
            let thread = std::thread::Builder::new().name("journal".into());
            thread.spawn(|| recorder.run()).map_err(|e| unavailable(&e))?;
        }
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options)
            .await
            .map_err(|e| fault(&e))?;
        let calls = Arc::new(CallCache::load(&readers).await?);
        let (writer, jobs) = mpsc::channel(QUEUE);
        tokio::spawn(write_all(connection, jobs, appends.clone()));
        let open = Arc::new(Open(appends.clone()));
        Ok(Self { readers, writer, appends, open, calls, keys: Arc::default() })
    }

    /// Runs a change in the next commit and gives its result once that is on disk.
    async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>
            + Send
            + 'static,
    {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            Box::pin(async move {
                match change(connection).await {
                    Ok(value) => Some(Box::new(move || {
                        let _ = done.send(Ok(value));
                    }) as Done),
                    Err(error) => {
                        let _ = done.send(Err(fault(&error)));
                        None
                    }
                }
            })
        });
        let closed = || StoreError::Unavailable("the store is closed".into());
        self.writer.send(job).await.map_err(|_| closed())?;
        result.await.map_err(|_| closed())?
    }

    /// An account's login has changed: keys that were read before are read again.
    fn forget_keys(&self, account: &tandem_xmpp::jid::Jid) {
        self.keys.forget(account);
    }

    /// Waits until everything that was written is on disk and closes the file.
    pub async fn close(self) {
        let Self { readers, writer, appends, open, .. } = self;
        appends.closed().await;
        let (done, flushed) = oneshot::channel();
        let last: Job = Box::new(move |_| {
            Box::pin(async move {
                Some(Box::new(move || {
                    let _ = done.send(());
                }) as Done)
            })
        });
        if writer.send(last).await.is_ok() {
            let _ = flushed.await;
        }
        drop((writer, open));
        readers.close().await;
    }
}

/// The folder of the database, and its file.
fn database_in(data_dir: &Path) -> Result<PathBuf, StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    let mut folder = std::fs::DirBuilder::new();
    folder
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .map_err(|e| StoreError::Unavailable(format!("{}: {e}", data_dir.display())))?;
    Ok(data_dir.join("tandem.db"))
}

/// What the journal held before a stop goes to the tables.
async fn catch_up(
    connection: &mut SqliteConnection,
    mut held: Vec<Pending>,
) -> Result<(), sqlx::Error> {
    let indexed = last_indexed(connection).await?;
    held.retain(|message| message.seq > indexed);
    commit(connection, &mut Writer::default(), &held, &mut Vec::new()).await
}

/// The writer task. Messages for the archive go first in each commit, together; other changes follow one by one.
async fn write_all(
    mut connection: SqliteConnection,
    mut jobs: mpsc::Receiver<Job>,
    appends: Arc<Appends>,
) {
    let mut group = Vec::new();
    let mut writer = Writer::default();
    loop {
        tokio::select! {
            received = jobs.recv_many(&mut group, GROUP) => if received == 0 { break },
            () = appends.due() => {}
        }
        loop {
            let taken = appends.take();
            if taken.is_empty() && group.is_empty() {
                break;
            }
            // What keeps messages from the tables may not stand in the way of the rest for long.
            let was_failing = appends.is_failing();
            let mut nothing = Vec::new();
            let shared = if was_failing { &mut nothing } else { &mut group };
            match commit(&mut connection, &mut writer, &taken, shared).await {
                Ok(()) => appends.indexed(&taken),
                Err(error) => {
                    tracing::error!(%error, "commit failed");
                    writer.forget();
                    appends.put_back(taken);
                    if was_failing
                        && let Err(error) =
                            commit(&mut connection, &mut writer, &[], &mut group).await
                    {
                        tracing::error!(%error, "commit failed");
                    }
                    // Whoever still waits sees the channel close and reports the failure.
                    group.clear();
                    break;
                }
            }
        }
    }
    let _ = connection.close().await;
}

/// One commit. Transactions are spelt out: when the disk is full, SQLite may have undone one by itself, and whoever counts
/// how deep it is in them counts wrong from then on, and takes a savepoint's release for a commit.
async fn commit(
    connection: &mut SqliteConnection,
    writer: &mut Writer,
    messages: &[Pending],
    group: &mut Vec<Job>,
) -> Result<(), sqlx::Error> {
    match write_group(connection, writer, messages, group).await {
        Ok(done) => {
            done.into_iter().for_each(|done| done());
            Ok(())
        }
        Err(error) => {
            // Where nothing is open any more, there is nothing to undo.
            let _ = run(connection, "ROLLBACK").await;
            Err(error)
        }
    }
}

async fn write_group(
    connection: &mut SqliteConnection,
    writer: &mut Writer,
    messages: &[Pending],
    group: &mut Vec<Job>,
) -> Result<Vec<Done>, sqlx::Error> {
    run(connection, "BEGIN IMMEDIATE").await?;
    writer.write(connection, messages).await?;
    let mut done = Vec::with_capacity(group.len());
    for job in group.drain(..) {
        // One change that fails leaves the others of its group alone.
        run(connection, "SAVEPOINT change").await?;
        match job(connection).await {
            Some(finished) => done.push(finished),
            None => run(connection, "ROLLBACK TO change").await?,
        }
        run(connection, "RELEASE change").await?;
    }
    run(connection, "COMMIT").await?;
    Ok(done)
}

async fn run(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(sql).execute(connection).await.map(|_| ())
}

/// The last place that was given to a message.
async fn last_place(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query(
        "SELECT max(coalesce((SELECT max(seq) FROM bodies), 0), \
         coalesce((SELECT value FROM settings WHERE name = 'archive-last'), 0))",
    )
    .fetch_one(connection)
    .await?
    .try_get(0)
}

fn unavailable(error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

fn fault(error: &sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(e) if e.is_unique_violation() => StoreError::Conflict,
        error => StoreError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod desk_tests;
#[cfg(test)]
mod login_tests;
#[cfg(test)]
mod tests;
