//! Changes to one account come one after another (RFC 6121 section 2.1.6: a push shows what was committed).
//!
//! Who wants to read, decide and write takes the turn of every account concerned and holds it over the awaits; others
//! wait for these accounts only. No more entries than there are changes under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::lock::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::jid::Jid;

/// The turns that are taken or waited for.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<Jid, Arc<AsyncMutex<()>>>>);

/// The turn of some accounts, until it is dropped.
pub(super) struct Turn<'a> {
    _claims: Vec<Claim<'a>>,
}

/// One account, waited for and then held.
struct Claim<'a> {
    turns: &'a Turns,
    account: Jid,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the turn of these accounts, always in the same order, so that two who want the same never wait for
    /// each other.
    pub(super) async fn take<const N: usize>(&self, accounts: [&Jid; N]) -> Turn<'_> {
        let mut accounts = accounts.map(Jid::clone).to_vec();
        accounts.sort();
        accounts.dedup();
        let mut claims = Vec::with_capacity(accounts.len());
        for account in accounts {
            let lock = self.table().entry(account.clone()).or_default().clone();
            // The claim is there before the wait: a wait that is given up cleans the table too.
            let mut claim = Claim { turns: self, account, held: None };
            claim.held = Some(lock.lock_owned().await);
            claims.push(claim);
        }
        Turn { _claims: claims }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Jid, Arc<AsyncMutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.held = None;
        let mut table = self.turns.table();
        if table.get(&self.account).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            table.remove(&self.account);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn jid(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    #[tokio::test]
    async fn the_turn_is_waited_for_and_leaves_nothing_behind() {
        let turns = Turns::default();
        let (a, b) = (jid("a@d"), jid("b@d"));
        let first = turns.take([&a, &b]).await;
        let mut second = Box::pin(turns.take([&b, &a]));
        assert!((&mut second).now_or_never().is_none());
        // Others are not held up.
        drop(turns.take([&jid("c@d")]).await);
        // One that gives up waiting leaves nothing either.
        let mut third = Box::pin(turns.take([&b]));
        assert!((&mut third).now_or_never().is_none());
        drop(third);
        drop(first);
        drop(second.await);
        assert!(turns.table().is_empty());
    }
}
