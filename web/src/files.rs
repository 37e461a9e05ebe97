//! What the upload pages need from outside: slots that are used once, and files that are read.

use std::io;

use bytes::Bytes;

pub use crate::ports::BoxFuture;

/// A wish to use a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The file's id, from the path.
    pub id: String,
    /// Its name, from the path.
    pub name: String,
    /// Until when the slot is good, in milliseconds since 1970, from the query.
    pub expires: i64,
    /// What proves that the slot was given, from the query.
    pub token: String,
    /// The length the client announces.
    pub length: Option<u64>,
    /// The type it announces.
    pub content_type: Option<String>,
}

/// Why a file is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutRefusal {
    /// There is no such slot, or it is not theirs, or its time is over.
    Denied,
    /// The length was not announced.
    LengthRequired,
    /// The length is not that of the slot.
    WrongLength,
    /// The type is not that of the slot, or the content is not of that type.
    WrongType,
    /// The slot was used, or is being used.
    Used,
    /// Too many files come in.
    Busy,
    /// The disk or the store failed.
    Failed,
}

/// A file that comes in. Dropped before [`Incoming::finish`], nothing of it stays and the slot may be used again.
pub trait Incoming: Send {
    /// Takes the next bytes; resolves when more may come.
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), PutRefusal>>;
    /// Everything has come. Resolves when the file is safe and can be fetched.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), PutRefusal>>;
}

/// Which part of an upload is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The file.
    File,
    /// The small version of a picture.
    Thumbnail,
}

/// What is said about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// Bytes.
    pub size: u64,
    /// Media type.
    pub content_type: String,
    /// When it was stored, in seconds since 1970.
    pub stored: u64,
}

/// The store or the disk failed; it has been logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadFault;

/// A file that is read.
pub trait Outgoing: Send {
    /// Exactly these bytes.
    fn read(&mut self, at: u64, length: usize) -> BoxFuture<'_, io::Result<Bytes>>;
}

/// A file that was found, and the way to read it.
pub type Found = (FileInfo, Box<dyn Outgoing>);

/// Where files are.
pub trait Files: Send + Sync {
    /// Lets a client use a slot.
    fn admit(&self, put: Put) -> BoxFuture<'_, Result<Box<dyn Incoming>, PutRefusal>>;
    /// A file that is whole; `None` when there is none of this id and name.
    fn find<'a>(
        &'a self,
        id: &'a str,
        name: &'a str,
        part: Part,
    ) -> BoxFuture<'a, Result<Option<Found>, ReadFault>>;
}
