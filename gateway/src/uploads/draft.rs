//! A file that grows. Chat's commits share the disk with it, so nothing of it may gather where they would wait for it.
//!
//! Its blocks are reserved before the first byte: a journal that is committed for the database then has no blocks of
//! it to write first (ext4 in its ordered mode). Whole chunks go past the page cache, one by one at the pace of the
//! uploads, and not in bursts at a time that the kernel chooses. Where a file system can do neither, it is an ordinary
//! file.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, OFlags, fallocate, fcntl_setfl};
use rustix::io::Errno;

/// Bytes gathered of one file before they are written.
pub(super) const CHUNK: usize = 128 * 1024;
/// What writes past the page cache want of addresses and lengths.
const ALIGNED: usize = 4096;

pub(super) struct Draft {
    file: Arc<File>,
    place: Place,
    last: PathBuf,
    /// `None` while it is being written.
    chunk: Option<Chunk>,
    /// Bytes that have been written.
    at: u64,
}

impl Draft {
    /// Begins a file of this length at `path`, which will be at `last` when it is whole.
    pub(super) fn open(path: PathBuf, last: PathBuf, size: u64) -> io::Result<Self> {
        let place = Place(Some(path.clone()));
        let open = |flags: OFlags| {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            options.custom_flags(flags.bits().cast_signed()).open(&path)
        };
        let file = match open(OFlags::DIRECT) {
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                open(OFlags::empty())?
            }
            opened => opened?,
        };
        match fallocate(&file, FallocateFlags::empty(), 0, size) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self { file: Arc::new(file), place, last, chunk: None, at: 0 })
    }

    /// Takes of `bytes` what fits the chunk. Gives the way to write it when it is full.
    pub(super) fn gather(
        &mut self,
        bytes: &mut &[u8],
    ) -> Option<impl FnOnce() -> io::Result<Chunk> + Send + use<>> {
        let mut chunk = self.chunk.take().unwrap_or_else(Chunk::new);
        *bytes = chunk.fill(bytes);
        if !chunk.is_full() {
            self.chunk = Some(chunk);
            return None;
        }
        let (file, at) = (self.file.clone(), self.at);
        self.at += CHUNK as u64;
        Some(move || {
            write(&file, chunk.bytes(), at)?;
            chunk.length = 0;
            Ok(chunk)
        })
    }

    /// The chunk has been written and may be filled again.
    pub(super) fn written(&mut self, chunk: Chunk) {
        self.chunk = Some(chunk);
    }

    /// Puts the file in its place; when it returns, it would survive a power cut there.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let path = self.place.0.clone().unwrap_or_default();
        if let Some(chunk) = &self.chunk {
            // What is left has an odd length.
            fcntl_setfl(&*self.file, OFlags::empty())?;
            self.file.write_all_at(chunk.bytes(), self.at)?;
        }
        self.file.sync_all()?;
        let shelf = self.last.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(shelf)?;
        std::fs::rename(&path, &self.last)?;
        self.place.0 = None;
        File::open(shelf)?.sync_all()?;
        shelf.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    }
}

/// Writes a whole chunk; a file system whose blocks are larger gets it by way of the page cache.
fn write(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    match file.write_all_at(bytes, at) {
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            fcntl_setfl(file, OFlags::empty())?;
            file.write_all_at(bytes, at)
        }
        done => done,
    }
}

/// Bytes in memory from where they can go straight to the disk.
pub(super) struct Chunk {
    space: Vec<u8>,
    from: usize,
    length: usize,
}

impl Chunk {
    fn new() -> Self {
        let space = vec![0; CHUNK + ALIGNED];
        let from = space.as_ptr().align_offset(ALIGNED).min(ALIGNED);
        Self { space, from, length: 0 }
    }

    /// Takes what fits; gives what does not.
    fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (taken, left) = bytes.split_at(bytes.len().min(CHUNK - self.length));
        let at = self.from + self.length;
        if let Some(room) = self.space.get_mut(at..at + taken.len()) {
            room.copy_from_slice(taken);
            self.length += taken.len();
        }
        left
    }

    fn is_full(&self) -> bool {
        self.length == CHUNK
    }

    fn bytes(&self) -> &[u8] {
        self.space.get(self.from..self.from + self.length).unwrap_or_default()
    }
}

/// Where a file grows; dropped before it is whole, it is removed.
struct Place(Option<PathBuf>);

impl Drop for Place {
    fn drop(&mut self) {
        let Some(path) = self.0.take() else { return };
        let remove = move || std::fs::remove_file(path);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => drop(remove()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the depot does it, in pieces of every size.
    fn keep(dir: &Path, size: usize, piece: usize) -> Vec<u8> {
        let (path, last) = (dir.join("growing"), dir.join("ab").join("whole"));
        let bytes: Vec<u8> = (0..size).map(|n| (n * 7 % 251) as u8).collect();
        let mut draft = Draft::open(path.clone(), last.clone(), size as u64).unwrap();
        for mut piece in bytes.chunks(piece) {
            while let Some(write) = draft.gather(&mut piece) {
                let chunk = write().unwrap();
                draft.written(chunk);
            }
        }
        draft.finish().unwrap();
        assert!(!path.exists());
        assert!(std::fs::read(last).unwrap() == bytes, "{size} bytes in pieces of {piece}");
        bytes
    }

    #[test]
    fn every_length_is_kept_as_it_came() {
        let dir = tempfile::tempdir().unwrap();
        for size in [1, ALIGNED, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 4095] {
            for piece in [997, 16 * 1024, CHUNK, 10 * CHUNK] {
                assert_eq!(keep(dir.path(), size, piece).len(), size);
            }
        }
    }

    /// A file system in memory, where the page cache cannot be passed by or blocks not be reserved.
    #[test]
    fn a_file_system_of_another_kind_keeps_files_too() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        keep(dir.path(), 2 * CHUNK + 5, 16 * 1024);
    }

    #[test]
    fn half_a_file_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("growing");
        let draft = Draft::open(path.clone(), dir.path().join("whole"), 10).unwrap();
        assert!(path.exists());
        drop(draft);
        assert!(!path.exists());
    }
}
