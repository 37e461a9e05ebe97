//! Where conversations are kept (XEP-0313): one body, one place in the archive of each who took part.

use bytes::Bytes;

use super::{BoxFuture, StoreError};
use crate::jid::Jid;

/// The place of a message among all messages of a node: microseconds since 1970 of its arrival, made strictly
/// increasing. It is the order of every archive, its time, and its key; it is never given twice, also not after a
/// restart. On the wire it is hidden (see `service::archive`).
pub type Seq = i64;

/// A message that is to be kept.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The stanza, as everybody may read it: addresses stamped, without the ids of archives.
    pub stanza: Bytes,
    /// Whose archives it goes to: sender and recipient, one of them, or a room. Never empty, an owner never twice.
    pub rows: Vec<ArchiveRow>,
    /// The id by which corrections and retractions name it: its origin id (XEP-0359), else its stanza id.
    pub name: Option<String>,
    /// What makes a second sending of it recognisable: sender, addressee and origin id, as one text. `None` where the
    /// client gave no origin id.
    pub once: Option<String>,
    /// Type `groupchat`.
    pub groupchat: bool,
}

/// A message's place in one archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveRow {
    /// Whose archive, bare. An account or a room; nobody has to have been announced.
    pub owner: Jid,
    /// The other side, with the resource it had: addressee of what the owner sent, sender of what it got. In the archive
    /// of a room the occupant who wrote.
    pub peer: Jid,
    /// It also waits for the owner, nobody being there to take it (XEP-0160); see [`super::Offline`].
    pub waits: bool,
}

/// What became of an [`Entry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its place; of a duplicate, the place it was given the first time.
    pub seq: Seq,
    /// It was there already: nothing was kept and nobody needs to be told again.
    pub duplicate: bool,
}

/// Which messages of an archive. Everything that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveQuery {
    /// Whose archive, bare.
    pub owner: Jid,
    /// The other side: a bare address for all its resources.
    pub with: Option<Jid>,
    /// Not before this place.
    pub start: Option<Seq>,
    /// Not after this place.
    pub end: Option<Seq>,
    /// After these messages, which must be in the archive.
    pub after: Vec<Seq>,
    /// Before these messages, which must be in the archive.
    pub before: Vec<Seq>,
    /// These messages and no others, which must be in the archive. `None`: any.
    pub ids: Option<Vec<Seq>>,
    /// Only groupchat messages, or none of them.
    pub groupchat: Option<bool>,
    /// Most messages to give; 0 only counts.
    pub max: usize,
    /// Bytes of the messages to give, but one at least: what is beyond is for the next page.
    pub max_bytes: usize,
    /// The last of them rather than the first. They come in order either way.
    pub last: bool,
    /// Whether the total is wanted: [`Page::count`] and [`Page::index`]. With `max` 0 it is always.
    pub count: bool,
}

impl ArchiveQuery {
    /// Everything `owner` has, in pages of so many messages.
    pub fn new(owner: Jid, max: usize) -> Self {
        Self {
            owner,
            with: None,
            start: None,
            end: None,
            after: Vec::new(),
            before: Vec::new(),
            ids: None,
            groupchat: None,
            max,
            max_bytes: usize::MAX,
            last: false,
            count: false,
        }
    }
}

/// A message out of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// Its place.
    pub seq: Seq,
    /// As it was kept, or what stands in its place.
    pub stanza: Bytes,
}

/// What a query gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Oldest first.
    pub messages: Vec<Archived>,
    /// Nothing that was asked for lies beyond the page, in the direction of the query.
    pub complete: bool,
    /// How many match, however they are paged; where it was wanted and is not too many to count.
    pub count: Option<u64>,
    /// How many of them come before the page's first.
    pub index: Option<u64>,
}

/// Whether an account's messages are archived where its lists say nothing (XEP-0441).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Habit {
    /// All.
    #[default]
    Always,
    /// None.
    Never,
    /// Those with contacts of the roster.
    Roster,
}

/// An account's wishes for its archive (XEP-0441).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchivePrefs {
    /// Where neither list names the other side.
    pub habit: Habit,
    /// Archived whatever the habit. A bare address stands for all its resources.
    pub always: Vec<Jid>,
    /// Not archived whatever the habit.
    pub never: Vec<Jid>,
}

/// The archives of a node: of accounts, and of rooms (the owner is then the room's bare address).
pub trait Archive: Send + Sync {
    /// Keeps a message. Its place is taken before this returns, in the order of the calls; the future resolves after the
    /// commit and need not be polled for that to happen.
    fn append(&self, entry: Entry) -> BoxFuture<'static, Result<Stored, StoreError>>;
    /// A page of an archive. `None` when a message that `after`, `before` or `ids` names is not in it.
    fn page<'a>(
        &'a self,
        query: &'a ArchiveQuery,
    ) -> BoxFuture<'a, Result<Option<Page>, StoreError>>;
    /// Messages between `owner` and `peer` (bare) that may be those with this [`Entry::name`], newest first; few. The
    /// caller looks whether it is, and who wrote it.
    fn find<'a>(
        &'a self,
        owner: &'a Jid,
        peer: &'a Jid,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Archived>, StoreError>>;
    /// Puts something else in a message's place, in every archive that has it (XEP-0424). Place and time stay.
    fn replace(&self, seq: Seq, stanza: Bytes) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Notes that the message at this place has come back to its sender, or takes the note away; resolves after the commit.
    /// Whether it was there before.
    fn set_returned(&self, seq: Seq, returned: bool) -> BoxFuture<'_, Result<bool, StoreError>>;
    /// Forgets an archive: a removed account's or a destroyed room's. What others have of it stays with them.
    fn forget<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<(), StoreError>>;
    /// An account's wishes.
    fn prefs<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<ArchivePrefs, StoreError>>;
    /// Changes them.
    fn set_prefs<'a>(
        &'a self,
        owner: &'a Jid,
        prefs: &'a ArchivePrefs,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}
