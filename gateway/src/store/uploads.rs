//! What is known of the files of users (XEP-0363); their bytes are in a folder, see [`crate::uploads`].

use sqlx::{Row, SqliteConnection};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::StoreError;

use super::{Store, fault};

/// A file for which there is a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Unguessable; part of the URL and the name on disk.
    pub id: String,
    /// Fit for a URL and a header.
    pub name: String,
    /// Media type.
    pub content_type: String,
    /// Bytes.
    pub size: u64,
    /// Milliseconds since 1970 after which the slot is refused.
    pub expires: i64,
    /// When it was stored, in milliseconds since 1970; `None`: it may still come.
    pub stored: Option<i64>,
    /// The media type of its thumbnail, once there is one.
    pub thumbnail: Option<String>,
}

/// What one account may use.
#[derive(Debug, Clone, Copy)]
pub struct UploadQuota {
    /// Bytes in all.
    pub bytes: u64,
    /// Bytes within 24 hours.
    pub bytes_a_day: u64,
    /// Slots that are open at once.
    pub open_slots: u64,
}

/// What became of a wish for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// There is room.
    Kept,
    /// All is used; something is free again at this time, in milliseconds since 1970, counted from when the oldest file
    /// was stored.
    Full(i64),
    /// The share of the day is used; there is more at this time.
    FullToday(i64),
    /// Too many slots are open; the first closes at this time.
    TooMany(i64),
    /// No such account.
    Nobody,
}

const DAY: i64 = 24 * 60 * 60 * 1000;

impl Store {
    /// Reserves room for a file of `owner`, if its quota has it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails.
    pub async fn reserve_upload(
        &self,
        owner: &Jid,
        upload: Upload,
        quota: UploadQuota,
        now: i64,
    ) -> Result<Reserved, StoreError> {
        let owner = owner.bare();
        self.write(move |c| Box::pin(async move { reserve(c, &owner, &upload, quota, now).await }))
            .await
    }

    /// A file by its id.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails.
    pub async fn upload(&self, id: &str) -> Result<Option<Upload>, StoreError> {
        let row = sqlx::query(
            "SELECT id, name, type, size, expires, stored, thumbnail FROM uploads WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&self.readers)
        .await
        .map_err(|e| fault(&e))?;
        row.map(|row| read(&row).map_err(|e| fault(&e))).transpose()
    }

    /// The bytes are on disk; resolves after the commit. False when the slot was used or is gone.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails.
    pub async fn upload_stored(&self, id: &str, now: i64) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.write(move |c| {
            Box::pin(async move {
                sqlx::query("UPDATE uploads SET stored = $2 WHERE id = $1 AND stored IS NULL")
                    .bind(id)
                    .bind(now)
                    .execute(c)
                    .await
                    .map(|done| done.rows_affected() > 0)
            })
        })
        .await
    }

    /// A thumbnail of this media type has been made.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails.
    pub async fn upload_has_thumbnail(
        &self,
        id: &str,
        content_type: &'static str,
    ) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |c| {
            Box::pin(async move {
                sqlx::query("UPDATE uploads SET thumbnail = $2 WHERE id = $1")
                    .bind(id)
                    .bind(content_type)
                    .execute(c)
                    .await
                    .map(|_| ())
            })
        })
        .await
    }

    /// Up to `most` ids whose time is over: made before `oldest`, or never used by the time `now`, both in
    /// milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails.
    pub async fn expired_uploads(
        &self,
        oldest: i64,
        now: i64,
        most: u32,
    ) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query(
            "SELECT id FROM uploads WHERE created < $1 OR (stored IS NULL AND expires < $2) \
             LIMIT $3",
        )
        .bind(oldest)
        .bind(now)
        .bind(most)
        .fetch_all(&self.readers)
        .await
        .map_err(|e| fault(&e))?;
        rows.iter().map(|row| row.try_get(0).map_err(|e| fault(&e))).collect()
    }

    /// Forgets these files.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails.
    pub async fn forget_uploads(&self, ids: Vec<String>) -> Result<(), StoreError> {
        self.write(move |c| {
            Box::pin(async move {
                for id in ids {
                    sqlx::query("DELETE FROM uploads WHERE id = $1")
                        .bind(id)
                        .execute(&mut *c)
                        .await?;
                }
                Ok(())
            })
        })
        .await
    }
}

fn read(row: &sqlx::sqlite::SqliteRow) -> Result<Upload, sqlx::Error> {
    let size: i64 = row.try_get(3)?;
    Ok(Upload {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        content_type: row.try_get(2)?,
        size: size.try_into().unwrap_or_default(),
        expires: row.try_get(4)?,
        stored: row.try_get(5)?,
        thumbnail: row.try_get(6)?,
    })
}

async fn reserve(
    c: &mut SqliteConnection,
    owner: &Jid,
    upload: &Upload,
    quota: UploadQuota,
    now: i64,
) -> Result<Reserved, sqlx::Error> {
    let account = sqlx::query("SELECT id FROM accounts WHERE domain = $1 AND name = $2")
        .bind(owner.domain())
        .bind(owner.node())
        .fetch_optional(&mut *c)
        .await?;
    let Some(account) = account else { return Ok(Reserved::Nobody) };
    let account: i64 = account.try_get(0)?;
    // A slot counts until it is used or closes.
    let used = sqlx::query(
        "SELECT coalesce(sum(size), 0), coalesce(min(created), $2), \
         coalesce(sum(size) FILTER (WHERE created > $3), 0), \
         coalesce(min(created) FILTER (WHERE created > $3), $2), \
         count(*) FILTER (WHERE stored IS NULL), \
         coalesce(min(expires) FILTER (WHERE stored IS NULL), $2) \
         FROM uploads WHERE owner = $1 AND (stored IS NOT NULL OR expires > $2)",
    )
    .bind(account)
    .bind(now)
    .bind(now - DAY)
    .fetch_one(&mut *c)
    .await?;
    let bytes = |at: usize| -> Result<u64, sqlx::Error> {
        Ok(used.try_get::<i64, _>(at)?.try_into().unwrap_or_default())
    };
    if bytes(0)?.saturating_add(upload.size) > quota.bytes {
        return Ok(Reserved::Full(used.try_get(1)?));
    }
    if bytes(2)?.saturating_add(upload.size) > quota.bytes_a_day {
        return Ok(Reserved::FullToday(used.try_get::<i64, _>(3)?.saturating_add(DAY)));
    }
    if bytes(4)? >= quota.open_slots {
        return Ok(Reserved::TooMany(used.try_get(5)?));
    }
    sqlx::query(
        "INSERT INTO uploads (id, owner, name, type, size, created, expires) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&upload.id)
    .bind(account)
    .bind(&upload.name)
    .bind(&upload.content_type)
    .bind(i64::try_from(upload.size).unwrap_or(i64::MAX))
    .bind(now)
    .bind(upload.expires)
    .execute(&mut *c)
    .await?;
    Ok(Reserved::Kept)
}
