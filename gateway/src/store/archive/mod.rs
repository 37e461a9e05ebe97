//! The archive (XEP-0313): appends that share syncs, pages that are ranges of an index, housekeeping in small steps.
//!
//! | file | duty |
//! |---|---|
//! | `append` | the way of new messages into the journal, and from there to the tables |
//! | `journal` | the files that keep them until then |
//! | `index` | how a group of them is written to the tables |
//! | `read` | pages and single messages |
//! | `retention` | what is older than it may be goes, and what belonged to a removed account |
//! | `waiting` | messages that an account has not got yet (XEP-0160) |

mod append;
mod index;
mod journal;
mod read;
mod retention;
#[cfg(test)]
mod tests;
mod waiting;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{
    Archive, ArchivePrefs, ArchiveQuery, Archived, BoxFuture, Entry, Habit, Page, Seq, StoreError,
    Stored,
};

pub(super) use self::append::{Appends, Recorder};
pub(super) use self::index::{Writer, last_indexed};
pub(super) use self::journal::{AccountBindings, Journal, Pending};
use super::{Store, fault};

impl Archive for Store {
    fn append(&self, entry: Entry) -> BoxFuture<'static, Result<Stored, StoreError>> {
        self.appends.push(entry)
    }

    fn page<'a>(
        &'a self,
        query: &'a ArchiveQuery,
    ) -> BoxFuture<'a, Result<Option<Page>, StoreError>> {
        Box::pin(async move {
            self.appends.settled().await?;
            self.archive_page(query).await.map_err(|e| fault(&e))
        })
    }

    fn find<'a>(
        &'a self,
        owner: &'a Jid,
        peer: &'a Jid,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Archived>, StoreError>> {
        Box::pin(async move {
            self.appends.settled().await?;
            self.archive_find(owner, peer, name).await.map_err(|e| fault(&e))
        })
    }

    fn replace(&self, seq: Seq, stanza: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                sqlx::query("UPDATE bodies SET stanza = $2 WHERE seq = $1")
                    .bind(seq)
                    .bind(stanza.as_ref())
                    .execute(c)
                    .await
                    .map(|_| ())
            })
        }))
    }

    fn set_returned(&self, seq: Seq, returned: bool) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.note_returned(seq, returned))
    }

    fn forget<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.forget_archive(owner.bare()))
    }

    fn prefs<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<ArchivePrefs, StoreError>> {
        Box::pin(async move {
            let row = sqlx::query(
                "SELECT habit, always, never FROM archive_prefs \
                 WHERE owner = (SELECT id FROM addresses WHERE jid = $1)",
            )
            .bind(owner.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(|e| fault(&e))?;
            let Some(row) = row else { return Ok(ArchivePrefs::default()) };
            let text = |at: usize| row.try_get::<String, _>(at).map_err(|e| fault(&e));
            Ok(ArchivePrefs {
                habit: habit_of(&text(0)?),
                always: addresses_of(&text(1)?),
                never: addresses_of(&text(2)?),
            })
        })
    }

    fn set_prefs<'a>(
        &'a self,
        owner: &'a Jid,
        prefs: &'a ArchivePrefs,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (owner, prefs) = (owner.bare(), prefs.clone());
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                let owner = address(c, owner.as_str()).await?;
                sqlx::query(
                    "INSERT INTO archive_prefs (owner, habit, always, never) \
                     VALUES ($1, $2, $3, $4) ON CONFLICT (owner) DO UPDATE \
                     SET habit = excluded.habit, always = excluded.always, never = excluded.never",
                )
                .bind(owner)
                .bind(habit_name(prefs.habit))
                .bind(lines(&prefs.always))
                .bind(lines(&prefs.never))
                .execute(c)
                .await
                .map(|_| ())
            })
        }))
    }
}

impl Store {
    async fn note_returned(&self, seq: Seq, returned: bool) -> Result<bool, StoreError> {
        let noted = sqlx::query("SELECT 1 FROM returned WHERE seq = $1")
            .bind(seq)
            .fetch_optional(&self.readers)
            .await
            .map_err(|e| fault(&e))?
            .is_some();
        if noted == returned {
            return Ok(noted);
        }
        let statement = if returned {
            "INSERT OR IGNORE INTO returned (seq) VALUES ($1)"
        } else {
            "DELETE FROM returned WHERE seq = $1"
        };
        let changed = self.write(move |c| {
            Box::pin(async move {
                let done = sqlx::query(statement).bind(seq).execute(c).await?;
                Ok(done.rows_affected() > 0)
            })
        });
        // Somebody else may have done the same.
        Ok(changed.await? != returned)
    }
}

/// The number of an address, which is given one if it has none.
async fn address(c: &mut SqliteConnection, jid: &str) -> Result<i64, sqlx::Error> {
    sqlx::query(
        "INSERT INTO addresses (jid) VALUES ($1) ON CONFLICT (jid) DO UPDATE SET jid = excluded.jid \
         RETURNING id",
    )
    .bind(jid)
    .fetch_one(c)
    .await?
    .try_get(0)
}

/// What recognises a second sending.
fn once_key(once: &str) -> [u8; 16] {
    let hash: [u8; 32] = Sha256::digest(once).into();
    std::array::from_fn(|at| hash.get(at).copied().unwrap_or_default())
}

/// Few bits that tell most names apart.
fn name_key(name: &str) -> i64 {
    let hash = Sha256::digest(name);
    hash.iter().take(4).fold(0, |key, byte| (key << 8) | i64::from(*byte))
}

fn habit_name(habit: Habit) -> &'static str {
    match habit {
        Habit::Always => "always",
        Habit::Never => "never",
        Habit::Roster => "roster",
    }
}

fn habit_of(name: &str) -> Habit {
    let all = [Habit::Always, Habit::Never, Habit::Roster];
    all.into_iter().find(|habit| habit_name(*habit) == name).unwrap_or_default()
}

fn lines(jids: &[Jid]) -> String {
    jids.iter().map(Jid::as_str).collect::<Vec<_>>().join("\n")
}

fn addresses_of(lines: &str) -> Vec<Jid> {
    lines.lines().filter_map(|line| Jid::parse(line).ok()).collect()
}
