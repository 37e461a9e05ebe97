//! The tables of the archive: a group of messages is written with a few statements.
//!
//! SQLite has a thread of its own, and every statement is a visit there; a message that cost five of them would cost more
//! than everything else that happens to it. So rows go in by the hundred.

use std::collections::HashMap;

use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments, AssertSqlSafe, Row};
use tandem_xmpp::ports::{ArchiveRow, Seq};

use super::address;
use super::journal::{AccountBindings, Message, Pending, What};
use crate::store::rows::{MAX_ROWS, bind, insert};

/// Addresses whose numbers the writer remembers.
const MAX_ADDRESSES: usize = 100_000;

/// What the writer knows of the tables.
#[derive(Default)]
pub(in crate::store) struct Writer {
    addresses: HashMap<String, i64>,
}

impl Writer {
    /// A transaction was undone: numbers it had given out are not there.
    pub(in crate::store) fn forget(&mut self) {
        self.addresses.clear();
    }

    /// Writes a group, in the order of places, and where the tables are now in the journal.
    pub(in crate::store) async fn write(
        &mut self,
        c: &mut SqliteConnection,
        messages: &[Pending],
    ) -> Result<(), sqlx::Error> {
        let Some(last) = messages.last() else { return Ok(()) };
        let (mut bodies, mut rows, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        // Of several for one account the last holds.
        let mut bindings: HashMap<&str, &AccountBindings> = HashMap::new();
        for Pending { seq, what } in messages {
            let message = match what {
                What::Message(message) => message,
                What::Bindings(of) => {
                    bindings.insert(&of.account, of);
                    continue;
                }
            };
            for row in &message.rows {
                let row = self.numbered(c, *seq, message, row).await?;
                if row.waits {
                    waiting.push((row.owner, row.seq));
                }
                rows.push(row);
            }
            bodies.push((*seq, message));
        }
        insert_bodies(c, &bodies).await?;
        insert_rows(c, &rows).await?;
        insert_waiting(c, &waiting).await?;
        replace_bindings(c, &bindings.into_values().collect::<Vec<_>>()).await?;
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES ('archive-indexed', $1) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(last.seq)
        .execute(c)
        .await
        .map(|_| ())
    }

    async fn numbered(
        &mut self,
        c: &mut SqliteConnection,
        seq: Seq,
        message: &Message,
        row: &ArchiveRow,
    ) -> Result<Numbered, sqlx::Error> {
        let resource = row.peer.resource().map(str::to_owned);
        let owner = self.number(c, row.owner.as_str()).await?;
        let peer = match resource {
            Some(_) => self.number(c, row.peer.bare().as_str()).await?,
            None => self.number(c, row.peer.as_str()).await?,
        };
        Ok(Numbered {
            owner,
            seq,
            peer,
            resource,
            name: message.name,
            groupchat: message.groupchat,
            waits: row.waits,
        })
    }

    async fn number(&mut self, c: &mut SqliteConnection, jid: &str) -> Result<i64, sqlx::Error> {
        if let Some(number) = self.addresses.get(jid) {
            return Ok(*number);
        }
        let number = address(c, jid).await?;
        if self.addresses.len() >= MAX_ADDRESSES {
            self.addresses.clear();
        }
        self.addresses.insert(jid.to_owned(), number);
        Ok(number)
    }
}

/// A row of the archive as it is written.
struct Numbered {
    owner: i64,
    seq: Seq,
    peer: i64,
    resource: Option<String>,
    name: Option<i64>,
    groupchat: bool,
    waits: bool,
}

/// The last message of the journal that the tables have.
pub(in crate::store) async fn last_indexed(c: &mut SqliteConnection) -> Result<Seq, sqlx::Error> {
    let query = sqlx::query("SELECT value FROM settings WHERE name = 'archive-indexed'");
    query.fetch_optional(c).await?.map_or(Ok(0), |row| row.try_get(0))
}

/// The places of those messages that the tables have.
pub(super) async fn known(
    c: &mut SqliteConnection,
    keys: &[[u8; 16]],
) -> Result<HashMap<[u8; 16], Seq>, sqlx::Error> {
    let mut found = HashMap::new();
    for chunk in keys.chunks(MAX_ROWS) {
        let marks = vec!["?"; chunk.len().next_power_of_two()].join(",");
        let sql =
            format!("SELECT once, seq FROM bodies WHERE once IN ({marks}) AND once IS NOT NULL");
        let mut arguments = SqliteArguments::default();
        for key in chunk {
            bind(&mut arguments, key.as_slice())?;
        }
        for row in sqlx::query_with(AssertSqlSafe(sql), arguments).fetch_all(&mut *c).await? {
            let once: Vec<u8> = row.try_get(0)?;
            if let Ok(once) = once.try_into() {
                found.insert(once, row.try_get(1)?);
            }
        }
    }
    Ok(found)
}

async fn insert_bodies(
    c: &mut SqliteConnection,
    messages: &[(Seq, &Message)],
) -> Result<(), sqlx::Error> {
    for chunk in messages.chunks(MAX_ROWS) {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(3 * chunk.len(), 0);
        for (seq, message) in chunk {
            bind(&mut arguments, *seq)?;
            bind(&mut arguments, message.stanza.as_ref())?;
            bind(&mut arguments, message.once.as_ref().map(<[u8; 16]>::as_slice))?;
        }
        insert(c, "bodies (seq, stanza, once)", 3, chunk.len(), arguments).await?;
    }
    Ok(())
}

async fn insert_rows(c: &mut SqliteConnection, rows: &[Numbered]) -> Result<(), sqlx::Error> {
    for chunk in rows.chunks(MAX_ROWS) {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(6 * chunk.len(), 0);
        for row in chunk {
            bind(&mut arguments, row.owner)?;
            bind(&mut arguments, row.seq)?;
            bind(&mut arguments, row.peer)?;
            bind(&mut arguments, row.resource.as_deref())?;
            bind(&mut arguments, row.name)?;
            bind(&mut arguments, row.groupchat)?;
        }
        let table = "archive (owner, seq, peer, resource, name, groupchat)";
        insert(c, table, 6, chunk.len(), arguments).await?;
    }
    Ok(())
}

async fn insert_waiting(
    c: &mut SqliteConnection,
    waiting: &[(i64, Seq)],
) -> Result<(), sqlx::Error> {
    for chunk in waiting.chunks(MAX_ROWS) {
        let mut arguments = SqliteArguments::default();
        for (owner, seq) in chunk {
            bind(&mut arguments, *owner)?;
            bind(&mut arguments, *seq)?;
            bind(&mut arguments, true)?;
        }
        insert(c, "waiting (owner, seq, archived)", 3, chunk.len(), arguments).await?;
    }
    Ok(())
}

async fn replace_bindings(
    c: &mut SqliteConnection,
    accounts: &[&AccountBindings],
) -> Result<(), sqlx::Error> {
    for chunk in accounts.chunks(MAX_ROWS) {
        let marks = vec!["?"; chunk.len().next_power_of_two()].join(",");
        let mut arguments = SqliteArguments::default();
        for bindings in chunk {
            bind(&mut arguments, bindings.account.as_str())?;
        }
        let sql = format!("DELETE FROM bindings WHERE account IN ({marks})");
        sqlx::query_with(AssertSqlSafe(sql), arguments).execute(&mut *c).await?;
    }
    let rows: Vec<(&str, &(String, String))> = accounts
        .iter()
        .flat_map(|of| of.rows.iter().map(|row| (of.account.as_str(), row)))
        .collect();
    for chunk in rows.chunks(MAX_ROWS) {
        let mut arguments = SqliteArguments::default();
        for (account, (name, text)) in chunk {
            for value in [*account, name.as_str(), text.as_str()] {
                bind(&mut arguments, value)?;
            }
        }
        insert(c, "bindings (account, id, binding)", 3, chunk.len(), arguments).await?;
    }
    Ok(())
}
