//! Files on disk: `incoming/<id>` while they grow, `<first two of id>/<id>` once they are whole, `.thumb` beside them.
//!
//! All of it runs on threads made for blocking, a few at a time, so that the disk's own queue stays short for the
//! database.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tandem_web::files::{BoxFuture, Outgoing, Part};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::draft::Draft;

/// Writes and syncs that run at once.
const WRITERS: usize = 2;
/// Reads that run at once.
const READERS: usize = 4;
/// Files younger than this may belong to a slot whose row is about to be written.
const ADULT: Duration = Duration::from_secs(24 * 60 * 60);
/// Files looked at in one round of housekeeping.
const MAX_AGED: usize = 100_000;

/// The folder. Cheap to clone.
#[derive(Clone)]
pub(super) struct Folder {
    dir: Arc<Path>,
    writers: Arc<Semaphore>,
    readers: Arc<Semaphore>,
}

impl Folder {
    /// Opens or makes it; what was growing when the program stopped is removed.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let incoming = dir.join("incoming");
        DirBuilder::new().recursive(true).mode(0o700).create(&incoming)?;
        for entry in std::fs::read_dir(&incoming)? {
            std::fs::remove_file(entry?.path())?;
        }
        Ok(Self {
            dir: dir.into(),
            writers: Arc::new(Semaphore::new(WRITERS)),
            readers: Arc::new(Semaphore::new(READERS)),
        })
    }

    /// Where a whole file is.
    pub(super) fn path(&self, id: &str, part: Part) -> PathBuf {
        let shelf = self.dir.join(id.get(..2).unwrap_or("__"));
        match part {
            Part::File => shelf.join(id),
            Part::Thumbnail => shelf.join(format!("{id}.thumb")),
        }
    }

    /// Begins a file of this length.
    pub(super) async fn draft(&self, id: &str, size: u64) -> io::Result<Draft> {
        let (path, last) = (self.dir.join("incoming").join(id), self.path(id, Part::File));
        blocking(&self.writers, move || Draft::open(path, last, size)).await
    }

    /// Adds bytes to a file; resolves when no more than a chunk of it is held in memory.
    pub(super) async fn add(&self, draft: &mut Draft, mut bytes: &[u8]) -> io::Result<()> {
        while let Some(write) = draft.gather(&mut bytes) {
            draft.written(blocking(&self.writers, write).await?);
        }
        Ok(())
    }

    /// Puts a file in its place; resolves when it would survive a power cut there.
    pub(super) async fn finish(&self, draft: Draft) -> io::Result<()> {
        blocking(&self.writers, move || draft.finish()).await
    }

    /// Opens a file and gives its length; `None` when it is not there.
    pub(super) async fn read(&self, id: &str, part: Part) -> io::Result<Option<(Reading, u64)>> {
        let path = self.path(id, part);
        let opened = blocking(&self.readers, move || match File::open(path) {
            Ok(file) => Ok(Some((file.metadata()?.len(), file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        });
        let readers = self.readers.clone();
        Ok(opened.await?.map(|(size, file)| (Reading { file: Arc::new(file), readers }, size)))
    }

    /// Removes files and their thumbnails; what is not there is no fault.
    pub(super) async fn remove(&self, ids: Vec<String>) {
        let folder = self.clone();
        let _ = blocking(&self.writers, move || {
            for id in ids {
                for part in [Part::File, Part::Thumbnail] {
                    if let Err(error) = std::fs::remove_file(folder.path(&id, part))
                        && error.kind() != io::ErrorKind::NotFound
                    {
                        tracing::warn!(%error, "a file cannot be removed");
                    }
                }
            }
            Ok(())
        })
        .await;
    }

    /// The ids of files that have been there for a day.
    pub(super) async fn aged(&self) -> Vec<String> {
        let dir = self.dir.clone();
        blocking(&self.readers, move || Ok(aged(&dir))).await.unwrap_or_default()
    }
}

fn aged(dir: &Path) -> Vec<String> {
    let entries = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
    let shelves = entries(dir).filter(|e| e.file_name() != "incoming").map(|e| e.path());
    shelves
        .flat_map(|shelf| entries(&shelf).collect::<Vec<_>>())
        .filter(|file| {
            let age = file.metadata().and_then(|m| m.modified()).map(|at| at.elapsed());
            age.is_ok_and(|age| age.is_ok_and(|age| age > ADULT))
        })
        .filter_map(|file| file.file_name().into_string().ok())
        .map(|name| name.trim_end_matches(".thumb").to_owned())
        .take(MAX_AGED)
        .collect()
}

/// Runs work on a thread made for it when its turn has come.
async fn blocking<T: Send + 'static>(
    turns: &Arc<Semaphore>,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let turn = turns.clone().acquire_owned().await.map_err(io::Error::other)?;
    spawn_blocking(move || {
        let done = work();
        drop(turn);
        done
    })
    .await
    .map_err(io::Error::other)?
}

/// A file that is read.
pub(super) struct Reading {
    file: Arc<File>,
    readers: Arc<Semaphore>,
}

impl Outgoing for Reading {
    fn read(&mut self, at: u64, length: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        let (file, readers) = (self.file.clone(), self.readers.clone());
        Box::pin(async move {
            blocking(&readers, move || {
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, at)?;
                Ok(bytes.into())
            })
            .await
        })
    }
}
