//! SQLite, and the only place with sqlx. One writer groups commits; a pool of readers never waits for it.
//!
//! A write resolves after the commit that keeps it, with `synchronous=FULL`: what was promised survives a power cut.
//! While one commit is on its way to the disk, the next writes gather and share the following one.

mod accounts;
mod archive;
mod bindings;
mod blocklists;
mod calls;
mod directory;
mod invites;
mod key_cache;
mod login_tokens;
mod pubsub;
mod pushes;
mod rooms;
mod rosters;
mod settings;
mod uploads;

use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Row};
use tandem_xmpp::ports::{BoxFuture, StoreError, Stored};
use tokio::sync::{mpsc, oneshot};

pub use self::accounts::{NewPassword, random_password};
use self::archive::{Append, Appends, Writer, confirm, refuse};
pub use self::bindings::sip_fault;
pub use self::blocklists::FiledReport;
pub use self::calls::CallRecord;
use self::key_cache::KeyCache;
pub use self::uploads::{Reserved, Upload, UploadQuota};

/// Most writes that share a commit.
const GROUP: usize = 512;
/// Writes that may wait; more make their senders wait.
const QUEUE: usize = 4096;

type Done = Box<dyn FnOnce() + Send>;
type Job = Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Option<Done>> + Send>;

/// The database of one node. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    readers: SqlitePool,
    writer: mpsc::Sender<Job>,
    keys: Arc<KeyCache>,
    appends: Arc<Appends>,
}

impl Store {
    /// Opens the database of a data folder, which is made with mode 0700 if missing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the folder or the database cannot be used.
    pub async fn open_in(data_dir: &Path) -> Result<Self, StoreError> {
        use std::os::unix::fs::DirBuilderExt;
        let mut folder = std::fs::DirBuilder::new();
        folder
            .recursive(true)
            .mode(0o700)
            .create(data_dir)
            .map_err(|e| StoreError::Unavailable(format!("{}: {e}", data_dir.display())))?;
        Self::open(&data_dir.join("tandem.db")).await
    }

    /// Opens or makes the database and brings it up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the file cannot be opened or is of a newer program.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(std::time::Duration::from_secs(10));
        let mut connection = options.connect().await.map_err(|e| fault(&e))?;
        sqlx::migrate!("./migrations")
            .run(&mut connection)
            .await
            .map_err(|e| StoreError::Unavailable(e.to_string()))?;
        let last = last_place(&mut connection).await.map_err(|e| fault(&e))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options.read_only(true))
            .await
            .map_err(|e| fault(&e))?;
        let (writer, jobs) = mpsc::channel(QUEUE);
        let appends = Arc::new(Appends::after(last));
        tokio::spawn(write_all(connection, jobs, appends.clone()));
        Ok(Self { readers, writer, appends, keys: Arc::default() })
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
        let Self { readers, writer, .. } = self;
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
        drop(writer);
        readers.close().await;
    }
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
            () = appends.pushed() => {}
        }
        loop {
            let taken = appends.take();
            if taken.is_empty() && group.is_empty() {
                break;
            }
            if let Err(error) = commit(&mut connection, &mut writer, taken, &mut group).await {
                // The waiting senders see their channels close and report the failure.
                tracing::error!(%error, "commit failed");
                writer.forget();
                group.clear();
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
    appends: Vec<Append>,
    group: &mut Vec<Job>,
) -> Result<(), sqlx::Error> {
    let done = match write_group(connection, writer, &appends, group).await {
        Ok(done) => done,
        Err(error) => {
            // Where nothing is open any more, there is nothing to undo.
            let _ = run(connection, "ROLLBACK").await;
            refuse(appends, &fault(&error));
            return Err(error);
        }
    };
    let (stored, finished) = done;
    confirm(appends, stored);
    finished.into_iter().for_each(|finished| finished());
    Ok(())
}

async fn write_group(
    connection: &mut SqliteConnection,
    writer: &mut Writer,
    appends: &[Append],
    group: &mut Vec<Job>,
) -> Result<(Vec<Stored>, Vec<Done>), sqlx::Error> {
    run(connection, "BEGIN IMMEDIATE").await?;
    let stored =
        if appends.is_empty() { Vec::new() } else { writer.write(connection, appends).await? };
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
    Ok((stored, done))
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
