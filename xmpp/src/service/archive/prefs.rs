//! What an account wants archived (XEP-0441): looked up once, then remembered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::MAM;
use crate::jid::Jid;
use crate::ports::{ArchivePrefs, Habit, StoreError};
use crate::service::{Outcome, Server};
use crate::stanza::{Condition, Stanza, StanzaError};
use crate::xml::Element;

/// Accounts whose wishes are remembered.
const MAX_CACHED: usize = 50_000;
/// Most addresses in one list.
const MAX_LISTED: usize = 1_000;

/// Wishes of accounts that have lately sent or got something.
#[derive(Default)]
pub(in crate::service) struct PrefsCache(Mutex<HashMap<Jid, Arc<ArchivePrefs>>>);

impl PrefsCache {
    fn get(&self, owner: &Jid) -> Option<Arc<ArchivePrefs>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(owner).cloned()
    }

    /// Remembers what was read, unless something newer is known by now.
    fn learn(&self, owner: &Jid, prefs: Arc<ArchivePrefs>) {
        self.with_room().entry(owner.clone()).or_insert(prefs);
    }

    fn put(&self, owner: &Jid, prefs: Arc<ArchivePrefs>) {
        self.with_room().insert(owner.clone(), prefs);
    }

    fn with_room(&self) -> MutexGuard<'_, HashMap<Jid, Arc<ArchivePrefs>>> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= MAX_CACHED {
            cached.clear();
        }
        cached
    }
}

impl Server {
    /// Whether `owner` (bare) wants what it exchanges with `peer` in its archive.
    pub(in crate::service) async fn wants_archived(
        &self,
        owner: &Jid,
        peer: &Jid,
    ) -> Result<bool, StoreError> {
        let prefs = self.archive_prefs(owner).await?;
        // An entry without a resource stands for all of them (section 2.3).
        let lists = |list: &[Jid]| {
            list.iter().any(|jid| jid == peer || (jid.is_bare() && *jid == peer.bare()))
        };
        if lists(&prefs.never) {
            return Ok(false);
        }
        if lists(&prefs.always) {
            return Ok(true);
        }
        match prefs.habit {
            Habit::Always => Ok(true),
            Habit::Never => Ok(false),
            Habit::Roster => Ok(self.roster(owner).await?.item(&peer.bare()).is_some()),
        }
    }

    async fn archive_prefs(&self, owner: &Jid) -> Result<Arc<ArchivePrefs>, StoreError> {
        if let Some(prefs) = self.0.archive_prefs.get(owner) {
            return Ok(prefs);
        }
        let prefs = Arc::new(self.0.ports.archive.prefs(owner).await?);
        self.0.archive_prefs.learn(owner, prefs.clone());
        Ok(prefs)
    }

    /// An account is gone.
    pub(in crate::service) fn forget_archive_prefs(&self, owner: &Jid) {
        self.0.archive_prefs.with_room().remove(owner);
    }

    /// Asks for the wishes of the sender's account, or changes them.
    pub(in crate::service) async fn answer_archive_prefs(&self, stanza: &Stanza) -> Outcome {
        let Some(owner) = stanza.from().map(Jid::bare) else { return Outcome::Ignored };
        let done = if stanza.type_() == Some("get") {
            self.archive_prefs(&owner).await.map(|prefs| to_element(&prefs))
        } else {
            let asked = stanza.child("prefs", MAM);
            let prefs = match asked.as_ref().map_or(Err(Condition::BadRequest), from_element) {
                Ok(prefs) => prefs,
                Err(condition) => return self.bounce(stanza, StanzaError::new(condition)),
            };
            let kept = self.0.ports.archive.set_prefs(&owner, &prefs).await;
            kept.map(|()| {
                let element = to_element(&prefs);
                self.0.archive_prefs.put(&owner, Arc::new(prefs));
                element
            })
        };
        match done {
            Ok(prefs) => self.reply(stanza, Some(prefs)),
            Err(error) => self.store_failed(stanza, &error),
        }
    }
}

fn to_element(prefs: &ArchivePrefs) -> Element {
    let list = |name: &str, jids: &[Jid]| {
        let jids = jids.iter().map(|jid| Element::new("jid", MAM).with_text(jid.as_str()));
        Element::new(name, MAM).with_children(jids)
    };
    Element::new("prefs", MAM)
        .with_attr("default", name(prefs.habit))
        .with_child(list("always", &prefs.always))
        .with_child(list("never", &prefs.never))
}

fn from_element(element: &Element) -> Result<ArchivePrefs, Condition> {
    let all = [Habit::Always, Habit::Never, Habit::Roster];
    let habit = all.into_iter().find(|habit| element.attr("default") == Some(name(*habit)));
    let list = |list: &str| {
        let list = element.child(list, MAM);
        let jids = list.iter().flat_map(|list| list.elements()).filter(|e| e.is("jid", MAM));
        let jids: Vec<Jid> = jids
            .map(|e| Jid::parse(e.text().trim()).map_err(|_| Condition::JidMalformed))
            .collect::<Result<_, _>>()?;
        if jids.len() > MAX_LISTED { Err(Condition::PolicyViolation) } else { Ok(jids) }
    };
    Ok(ArchivePrefs {
        habit: habit.ok_or(Condition::BadRequest)?,
        always: list("always")?,
        never: list("never")?,
    })
}

/// The wire word.
fn name(habit: Habit) -> &'static str {
    match habit {
        Habit::Always => "always",
        Habit::Never => "never",
        Habit::Roster => "roster",
    }
}
