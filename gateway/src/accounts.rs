//! The account port of the XMPP server: keys from the store, kept in memory, guesses slowed by the guard.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{Accounts, BoxFuture, StoreError};
use tandem_xmpp::stream::sasl::{ScramHash, ScramKeys};

use crate::guard::Guard;
use crate::store::Store;

/// Most accounts whose existence is remembered, and how long: another process may add or remove one.
const MAX_KNOWN: usize = 100_000;
const KNOWN_FOR: Duration = Duration::from_secs(10);

/// Accounts of the store.
pub struct StoredAccounts {
    store: Store,
    guard: Arc<Guard>,
    /// So that routing a message costs no query.
    known: Mutex<HashMap<Jid, Instant>>,
}

impl StoredAccounts {
    /// Over this store and guard.
    pub fn new(store: Store, guard: Arc<Guard>) -> Self {
        Self { store, guard, known: Mutex::default() }
    }
}

impl Accounts for StoredAccounts {
    fn exists<'a>(&'a self, account: &'a Jid) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let now = Instant::now();
            {
                let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                if known.get(account).is_some_and(|at| now.duration_since(*at) < KNOWN_FOR) {
                    return Ok(true);
                }
            }
            let exists = self.store.account_exists(account).await?;
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= MAX_KNOWN {
                known.clear();
            }
            if exists {
                known.insert(account.bare(), now);
            } else {
                known.remove(account);
            }
            Ok(exists)
        })
    }

    fn scram<'a>(
        &'a self,
        account: &'a Jid,
        hash: ScramHash,
    ) -> BoxFuture<'a, Result<Option<ScramKeys>, StoreError>> {
        Box::pin(self.store.scram_keys(account, hash))
    }

    fn delay(&self, peer: IpAddr, account: &str) -> Duration {
        self.guard.delay(peer, account, Instant::now())
    }

    fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        // Without randomness no nonce is safe; Linux gives it always once booted.
        getrandom::fill(&mut bytes).expect("the system has a source of randomness");
        bytes
    }

    fn stamp(&self) -> String {
        chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    }

    fn tried(&self, peer: IpAddr, account: &str, success: bool) {
        if !success {
            metrics::counter!("tandem_xmpp_logins_refused_total").increment(1);
        }
        self.guard.tried(peer, account, success, Instant::now());
    }
}
