//! What accounts want done with calls to them. All of it is in memory too, so that a call asks no database.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use sqlx::Row;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::StoreError;

use super::{Store, fault};

/// What an account wants done with calls to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSettings {
    /// Nobody is to ring it.
    pub undisturbed: bool,
    /// Who is called instead, at once.
    pub always: Option<Jid>,
    /// Who is called instead where it is busy.
    pub busy: Option<Jid>,
    /// Who is called instead where nobody answers, or nobody is there.
    pub no_answer: Option<Jid>,
    /// How long nobody answers before that, in seconds.
    pub seconds: u8,
    /// While it is in a call it is busy for others.
    pub one_call: bool,
    /// Whose calls its phones may answer by themselves, where the caller asks for it (RFC 5373).
    pub answers: Vec<Jid>,
}

impl Default for CallSettings {
    fn default() -> Self {
        Self {
            undisturbed: false,
            always: None,
            busy: None,
            no_answer: None,
            seconds: 20,
            one_call: false,
            answers: Vec::new(),
        }
    }
}

/// The settings of all accounts that have any.
#[derive(Default)]
pub(super) struct CallCache(RwLock<HashMap<Jid, Arc<CallSettings>>>);

impl CallCache {
    /// Reads them all, once.
    pub(super) async fn load(readers: &SqlitePool) -> Result<Self, StoreError> {
        let rows = sqlx::query(
            "SELECT account, undisturbed, always, busy, no_answer, seconds, one_call, answers \
             FROM call_settings",
        )
        .fetch_all(readers)
        .await
        .map_err(|e| fault(&e))?;
        let known = rows.iter().filter_map(read).collect();
        Ok(Self(RwLock::new(known)))
    }

    fn get(&self, account: &Jid) -> Option<Arc<CallSettings>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() { None } else { known.get(&account.bare()).cloned() }
    }

    /// From here on they are these, or none.
    pub(super) fn set(&self, account: &Jid, settings: Option<CallSettings>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match settings {
            Some(settings) => known.insert(account.bare(), Arc::new(settings)),
            None => known.remove(&account.bare()),
        };
    }
}

fn read(row: &SqliteRow) -> Option<(Jid, Arc<CallSettings>)> {
    let jid = |at: usize| -> Option<Option<Jid>> {
        let text: Option<String> = row.try_get(at).ok()?;
        Some(text.and_then(|text| Jid::parse(&text).ok()))
    };
    let settings = CallSettings {
        undisturbed: row.try_get(1).ok()?,
        always: jid(2)?,
        busy: jid(3)?,
        no_answer: jid(4)?,
        seconds: row.try_get(5).ok()?,
        one_call: row.try_get(6).ok()?,
        answers: row.try_get::<String, _>(7).ok()?.split(' ').flat_map(Jid::parse).collect(),
    };
    Some((jid(0)??, Arc::new(settings)))
}

impl Store {
    /// What an account wants done with calls to it; `None`: nothing special.
    pub fn call_settings(&self, account: &Jid) -> Option<Arc<CallSettings>> {
        self.calls.get(account)
    }

    /// Keeps what an account wants done with calls to it; resolves after the commit.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails.
    pub async fn keep_call_settings(
        &self,
        account: &Jid,
        settings: &CallSettings,
    ) -> Result<(), StoreError> {
        let account = account.bare();
        let is_set = *settings != CallSettings::default();
        let (key, row) = (account.clone(), settings.clone());
        self.write(move |c| {
            Box::pin(async move {
                sqlx::query("DELETE FROM call_settings WHERE account = $1")
                    .bind(key.as_str())
                    .execute(&mut *c)
                    .await?;
                if !is_set {
                    return Ok(());
                }
                sqlx::query("INSERT INTO call_settings VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
                    .bind(key.as_str())
                    .bind(key.domain())
                    .bind(row.undisturbed)
                    .bind(row.always.as_ref().map(Jid::as_str))
                    .bind(row.busy.as_ref().map(Jid::as_str))
                    .bind(row.no_answer.as_ref().map(Jid::as_str))
                    .bind(row.seconds)
                    .bind(row.one_call)
                    .bind(row.answers.iter().map(Jid::as_str).collect::<Vec<_>>().join(" "))
                    .execute(&mut *c)
                    .await
                    .map(|_| ())
            })
        })
        .await?;
        self.calls.set(&account, is_set.then(|| settings.clone()));
        Ok(())
    }
}
