//! Files of users (XEP-0363): slots, the folder they are kept in, and how long.
//!
//! A slot's URL holds an unguessable id and, for the PUT, a token: an HMAC over id, name, size, type and end, so that
//! what was granted is what is stored. Bytes go to a file beside the others, are synced and renamed; only then is the
//! slot used and the client told. Nothing here may hold up chat: all of the disk work runs on other threads, a few at a
//! time, at a bounded rate.

mod draft;
mod folder;
mod name;
mod pace;
mod sniff;
mod thumbnail;
mod token;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tandem_web::files::{
    BoxFuture, FileInfo, Files, Incoming, Outgoing, Part, Put, PutRefusal, ReadFault,
};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{self, FileOffer, Slot, SlotRefusal, StoreError, Uploads};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::draft::Draft;
use self::folder::Folder;
use self::pace::Pace;
use self::thumbnail::Thumbnailer;
use crate::config::Config;
use crate::store::{Reserved, Store, Upload, UploadQuota};

/// Slots one account may have open.
const OPEN_SLOTS: u64 = 100;
/// Between two looks at what is out of date.
const HOUSEKEEPING: Duration = Duration::from_secs(60 * 60);
/// Files forgotten at once.
const BATCH: u32 = 500;
/// The type of what was declared to be nothing.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// The files of a node. Cheap to clone.
#[derive(Clone)]
pub struct Depot(Arc<Inner>);

struct Inner {
    store: Store,
    folder: Folder,
    thumbnailer: Thumbnailer,
    pace: Pace,
    key: [u8; 32],
    /// Where the HTTPS listener is reached.
    base: String,
    settings: crate::config::Upload,
    parallel: Arc<Semaphore>,
    /// Slots that are being used.
    busy: Mutex<HashSet<String>>,
}

impl Depot {
    /// Opens the folder, which is made if missing, and begins to keep it tidy.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the folder cannot be used.
    pub async fn open(config: &Config, store: Store) -> Result<Self, StoreError> {
        let dir: PathBuf = config.upload_dir();
        let fault = |e: std::io::Error| {
            StoreError::Unavailable(format!("[upload] dir {}: {e}", dir.display()))
        };
        let folder = Folder::open(&dir).map_err(fault)?;
        let thumbnailer = Thumbnailer::start(store.clone(), folder.clone()).map_err(fault)?;
        let depot = Self(Arc::new(Inner {
            key: store.secret("upload-slots").await?,
            store,
            folder,
            thumbnailer,
            pace: Pace::new(config.upload.bytes_per_second),
            base: config.web_url(),
            parallel: Arc::new(Semaphore::new(config.upload.max_parallel)),
            settings: config.upload.clone(),
            busy: Mutex::default(),
        }));
        Ok(depot)
    }

    /// Forgets what is out of date, now and every hour. Never resolves.
    pub async fn keep_tidy(self) {
        let mut hours = tokio::time::interval(HOUSEKEEPING);
        loop {
            hours.tick().await;
            if let Err(error) = self.tidy(now()).await {
                tracing::error!(%error, "files that are out of date cannot be forgotten");
            }
        }
    }

    /// Forgets what is out of date at `now`, and files that belong to nobody any more.
    async fn tidy(&self, now: i64) -> Result<(), StoreError> {
        let Inner { store, folder, settings, .. } = &*self.0;
        let oldest = now - i64::from(settings.keep_days) * 24 * 60 * 60 * 1000;
        // A slot that closed a moment ago may have a file that is still growing.
        let closed = now - i64::from(settings.slot_seconds) * 1000 - 60 * 60 * 1000;
        loop {
            let ids = store.expired_uploads(oldest, closed, BATCH).await?;
            if ids.is_empty() {
                break;
            }
            tracing::info!(count = ids.len(), "files are out of date");
            folder.remove(ids.clone()).await;
            store.forget_uploads(ids).await?;
        }
        for id in folder.aged().await {
            if store.upload(&id).await?.is_none() {
                folder.remove(vec![id]).await;
            }
        }
        Ok(())
    }

    fn busy(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn reserve_for(&self, owner: &Jid, offer: &FileOffer) -> Result<Slot, SlotRefusal> {
        let Inner { settings, store, base, key, .. } = &*self.0;
        if offer.size > settings.max_file_bytes {
            return Err(SlotRefusal::TooLarge { max: settings.max_file_bytes });
        }
        let content_type = offer.content_type.as_deref().unwrap_or(UNKNOWN_TYPE);
        if !is_allowed(&settings.types, content_type) {
            return Err(SlotRefusal::NotAcceptable("this type of file is not taken here"));
        }
        let now = now();
        let upload = Upload {
            id: token::new_id(),
            name: name::clean(&offer.name),
            content_type: content_type.to_owned(),
            size: offer.size,
            expires: now + i64::from(settings.slot_seconds) * 1000,
            stored: None,
            thumbnail: None,
        };
        let path = format!("{base}/upload/{}/{}", upload.id, name::encode(&upload.name));
        let token = token::make(key, &upload);
        let put = format!("{path}?expires={}&token={token}", upload.expires);
        let quota = UploadQuota {
            bytes: settings.quota_bytes,
            bytes_a_day: settings.daily_bytes,
            open_slots: OPEN_SLOTS,
        };
        let keep = i64::from(settings.keep_days) * 24 * 60 * 60 * 1000;
        let refused = |text, at: i64| SlotRefusal::Quota { text, retry: stamp(at) };
        match store.reserve_upload(owner, upload, quota, now).await {
            Ok(Reserved::Kept) => Ok(Slot { put, get: path }),
            Ok(Reserved::Full(oldest)) => {
                Err(refused("your room for files is used up", oldest + keep))
            }
            Ok(Reserved::FullToday(at)) => {
                Err(refused("your room for files is used up for today", at))
            }
            Ok(Reserved::TooMany(at)) => Err(refused("too many uploads are open", at)),
            Ok(Reserved::Nobody) => Err(SlotRefusal::NotAcceptable("no such account")),
            Err(error) => Err(SlotRefusal::Store(error)),
        }
    }

    /// A file that comes in another way than by PUT, for `owner`: its link, and where its bytes go.
    ///
    /// # Errors
    ///
    /// As for a slot; `Store` also when too much is written already.
    pub async fn begin(
        &self,
        owner: &Jid,
        offer: &FileOffer,
    ) -> Result<(String, Box<dyn Incoming>), SlotRefusal> {
        let slot = self.reserve_for(owner, offer).await?;
        let mut parts = slot.get.rsplit('/');
        let (name, id) = (parts.next(), parts.next().unwrap_or_default());
        let unavailable = |text: &str| SlotRefusal::Store(StoreError::Unavailable(text.to_owned()));
        let upload = self.0.store.upload(id).await.map_err(SlotRefusal::Store)?;
        let (Some(upload), Some(_)) = (upload, name) else {
            return Err(unavailable("a slot is gone"));
        };
        let permit = self.0.parallel.clone().acquire_owned().await;
        let permit = permit.map_err(|_| unavailable("uploads are closed"))?;
        self.busy().insert(upload.id.clone());
        let claim = Claim { depot: self.clone(), id: upload.id.clone(), _permit: permit };
        let draft = self.0.folder.draft(&upload.id, upload.size).await;
        let draft = draft.map_err(|e| unavailable(&e.to_string()))?;
        let depot = self.clone();
        let receiver = Receiver { depot, upload, draft, taken: 0, head: Vec::new(), claim };
        Ok((slot.get, Box::new(receiver)))
    }

    /// Keeps a whole file for `owner`; gives its link.
    ///
    /// # Errors
    ///
    /// As [`Depot::begin`]; `NotAcceptable` when it is not what it is said to be.
    pub async fn keep_whole(
        &self,
        owner: &Jid,
        name: &str,
        content_type: &str,
        bytes: Bytes,
    ) -> Result<String, SlotRefusal> {
        let offer = FileOffer {
            name: name.to_owned(),
            size: bytes.len() as u64,
            content_type: Some(content_type.to_owned()),
        };
        let (link, mut incoming) = self.begin(owner, &offer).await?;
        let refused = |_| SlotRefusal::NotAcceptable("the file is not what it is said to be");
        incoming.write(bytes).await.map_err(refused)?;
        incoming.finish().await.map_err(refused)?;
        Ok(link)
    }

    async fn admit_put(&self, put: Put) -> Result<Box<dyn Incoming>, PutRefusal> {
        let Inner { store, key, folder, parallel, .. } = &*self.0;
        let upload = store.upload(&put.id).await.map_err(|error| failed(&error))?;
        let upload = upload.ok_or(PutRefusal::Denied)?;
        let is_granted = upload.name == put.name
            && upload.expires == put.expires
            && token::is_good(key, &upload, &put.token);
        if !is_granted || now() > upload.expires {
            return Err(PutRefusal::Denied);
        }
        if upload.stored.is_some() {
            return Err(PutRefusal::Used);
        }
        if put.length.ok_or(PutRefusal::LengthRequired)? != upload.size {
            return Err(PutRefusal::WrongLength);
        }
        if put.content_type.is_some_and(|t| !same_type(&t, &upload.content_type)) {
            return Err(PutRefusal::WrongType);
        }
        let permit = parallel.clone().try_acquire_owned().map_err(|_| PutRefusal::Busy)?;
        if !self.busy().insert(upload.id.clone()) {
            return Err(PutRefusal::Used);
        }
        let claim = Claim { depot: self.clone(), id: upload.id.clone(), _permit: permit };
        let draft = folder.draft(&upload.id, upload.size).await.map_err(|error| failed(&error))?;
        let receiver =
            Receiver { depot: self.clone(), upload, draft, taken: 0, head: Vec::new(), claim };
        Ok(Box::new(receiver))
    }
}

impl Uploads for Depot {
    fn max_bytes(&self) -> u64 {
        self.0.settings.max_file_bytes
    }

    fn reserve<'a>(
        &'a self,
        owner: &'a Jid,
        offer: &'a FileOffer,
    ) -> ports::BoxFuture<'a, Result<Slot, SlotRefusal>> {
        Box::pin(self.reserve_for(owner, offer))
    }
}

impl Files for Depot {
    fn admit(&self, put: Put) -> BoxFuture<'_, Result<Box<dyn Incoming>, PutRefusal>> {
        Box::pin(self.admit_put(put))
    }

    fn find<'a>(
        &'a self,
        id: &'a str,
        name: &'a str,
        part: Part,
    ) -> BoxFuture<'a, Result<Option<(FileInfo, Box<dyn Outgoing>)>, ReadFault>> {
        Box::pin(async move {
            let found = self.0.store.upload(id).await.map_err(|_| ReadFault)?;
            let Some(upload) = found.filter(|upload| upload.name == name) else { return Ok(None) };
            let Some(stored) = upload.stored else { return Ok(None) };
            let content_type = match part {
                Part::File => Some(upload.content_type),
                Part::Thumbnail => upload.thumbnail,
            };
            let Some(content_type) = content_type else { return Ok(None) };
            let opened = self.0.folder.read(id, part).await.map_err(|_| ReadFault)?;
            let Some((file, size)) = opened else { return Ok(None) };
            let info = FileInfo { size, content_type, stored: stored.max(0).unsigned_abs() / 1000 };
            Ok(Some((info, Box::new(file) as Box<dyn Outgoing>)))
        })
    }
}

/// A slot is being used while this lives.
struct Claim {
    depot: Depot,
    id: String,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.depot.busy().remove(&self.id);
    }
}

/// A file that comes in.
struct Receiver {
    depot: Depot,
    upload: Upload,
    draft: Draft,
    taken: u64,
    /// The first bytes, by which a file is known.
    head: Vec<u8>,
    claim: Claim,
}

impl Receiver {
    async fn take(&mut self, bytes: Bytes) -> Result<(), PutRefusal> {
        let length = bytes.len() as u64;
        let missing = sniff::NEEDED.saturating_sub(self.head.len());
        if missing > 0 {
            self.head.extend(bytes.iter().take(missing));
            if self.head.len() == sniff::NEEDED {
                self.look()?;
            }
        }
        self.taken += length;
        if self.taken > self.upload.size {
            return Err(PutRefusal::WrongLength);
        }
        self.depot.0.pace.wait(length).await;
        self.depot.0.folder.add(&mut self.draft, &bytes).await.map_err(|error| failed(&error))
    }

    /// Whether it begins like what it was declared to be.
    fn look(&self) -> Result<(), PutRefusal> {
        let fits = sniff::fits(&self.upload.content_type, &self.head);
        if fits { Ok(()) } else { Err(PutRefusal::WrongType) }
    }

    /// Everything is here: it is put on disk and in its place, then the slot is used up.
    async fn keep(self) -> Result<(), PutRefusal> {
        if self.taken != self.upload.size {
            return Err(PutRefusal::WrongLength);
        }
        self.look()?;
        let Self { depot, upload, draft, claim, .. } = self;
        let Inner { store, folder, thumbnailer, .. } = &*depot.0;
        folder.finish(draft).await.map_err(|error| failed(&error))?;
        match store.upload_stored(&upload.id, now()).await {
            Ok(true) => {}
            Ok(false) => {
                folder.remove(vec![upload.id]).await;
                return Err(PutRefusal::Used);
            }
            Err(error) => return Err(failed(&error)),
        }
        if sniff::is_picture(&upload.content_type) {
            thumbnailer.order(upload.id);
        }
        drop(claim);
        Ok(())
    }
}

impl Incoming for Receiver {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), PutRefusal>> {
        Box::pin(self.take(bytes))
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), PutRefusal>> {
        Box::pin(self.keep())
    }
}

/// Whether the allow list has this media type.
fn is_allowed(types: &[String], content_type: &str) -> bool {
    let bare = content_type.split(';').next().unwrap_or_default().trim();
    types.iter().any(|pattern| match pattern.strip_suffix("/*") {
        Some("*") => true,
        Some(main) => bare.split('/').next() == Some(main),
        None => pattern == bare,
    })
}

/// Whether two media types name the same, parameters aside.
fn same_type(one: &str, other: &str) -> bool {
    let bare = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    bare(one) == bare(other)
}

fn failed(error: &dyn std::fmt::Display) -> PutRefusal {
    tracing::error!(%error, "a file cannot be kept");
    PutRefusal::Failed
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

fn stamp(at: i64) -> Option<String> {
    let time = chrono::DateTime::from_timestamp_millis(at)?;
    Some(time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}
