//! Where files of users go (XEP-0363): a slot is asked for here, the bytes travel by HTTP.

use super::{BoxFuture, StoreError};
use crate::jid::Jid;

/// The file a user wants to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOffer {
    /// Its name as given; the store makes it fit for a URL.
    pub name: String,
    /// Its length in bytes, at least one.
    pub size: u64,
    /// Its media type in lower case; `None` is taken for `application/octet-stream`.
    pub content_type: Option<String>,
}

/// Where it goes and where it will be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The URL for one PUT, good for a short time.
    pub put: String,
    /// The URL for everybody who knows it.
    pub get: String,
}

/// Why there is no slot.
#[derive(Debug, Clone)]
pub enum SlotRefusal {
    /// The file is longer than this many bytes.
    TooLarge {
        /// The bound.
        max: u64,
    },
    /// Name or type is not taken; the text says which.
    NotAcceptable(&'static str),
    /// The user has used what there is for now.
    Quota {
        /// What is used up, for people.
        text: &'static str,
        /// When some of it is free again, as an XMPP timestamp.
        retry: Option<String>,
    },
    /// The store failed.
    Store(StoreError),
}

/// Where files go.
pub trait Uploads: Send + Sync {
    /// Bytes of the longest file.
    fn max_bytes(&self) -> u64;
    /// Reserves room for a file; resolves after the commit.
    fn reserve<'a>(
        &'a self,
        owner: &'a Jid,
        offer: &'a FileOffer,
    ) -> BoxFuture<'a, Result<Slot, SlotRefusal>>;
}
