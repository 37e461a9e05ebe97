//! The account ports of the XMPP and SIP servers: keys from the store, kept in memory, guesses slowed by the guard.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tandem_sip::ports::{Algorithm, Refusal};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{Accounts, BoxFuture, LoginTokens, Passwords, StoreError};
use tandem_xmpp::stream::ht::{StoredToken, TokenKey, TokenMechanism};
use tandem_xmpp::stream::sasl::{PasswordKeys, ScramHash, ScramKeys};

use crate::audit::Audit;
use crate::bridge::echo;
use crate::config::Config;
use crate::guard::Guard;
use crate::store::{NewPassword, Store, sip_fault};

/// Most accounts whose existence is remembered, and how long: another process may add or remove one.
const MAX_KNOWN: usize = 100_000;
const KNOWN_FOR: Duration = Duration::from_secs(10);

/// Accounts of the store.
pub struct StoredAccounts {
    store: Store,
    guard: Arc<Guard>,
    /// PBKDF2 rounds of new passwords.
    rounds: u32,
    /// How long a device's token lives.
    token_life: Duration,
    /// Every account has keys for SHA-512.
    has_sha512: AtomicBool,
    /// So that routing a message costs no query.
    known: Mutex<HashMap<Jid, Instant>>,
}

impl StoredAccounts {
    /// Over this store and guard.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn new(store: Store, guard: Arc<Guard>, config: &Config) -> Result<Self, StoreError> {
        const DAY: u64 = 24 * 3600;
        let accounts = Self {
            store,
            guard,
            rounds: config.xmpp.scram_iterations,
            token_life: Duration::from_secs(u64::from(config.login.token_days) * DAY),
            has_sha512: AtomicBool::new(true),
            known: Mutex::default(),
        };
        let lacking = accounts.look_for_sha512().await?;
        if lacking > 0 {
            tracing::info!(
                accounts = lacking,
                "SCRAM-SHA-512 is not offered until every password was set or upgraded (XEP-0480)"
            );
        }
        Ok(accounts)
    }

    /// Whether SCRAM-SHA-512 can be offered. Nobody logs in to the echo service.
    async fn look_for_sha512(&self) -> Result<i64, StoreError> {
        let lacking = self.store.accounts_without_sha512(echo::NAME).await?;
        self.has_sha512.store(lacking == 0, Ordering::Relaxed);
        Ok(lacking)
    }

    /// Keys of a new password, derived on a thread that may take its time.
    async fn derive(&self, account: &Jid, password: &str) -> Result<NewPassword, StoreError> {
        let (account, password, rounds) = (account.bare(), password.to_owned(), self.rounds);
        let salt = self.random();
        let derived = tokio::task::spawn_blocking(move || {
            NewPassword::derive(&account, &password, salt.get(..16).unwrap_or(&salt), rounds)
        });
        derived.await.map_err(|e| StoreError::Unavailable(e.to_string()))
    }

    fn forget(&self, account: &Jid) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&account.bare());
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

    fn keys<'a>(
        &'a self,
        account: &'a Jid,
    ) -> BoxFuture<'a, Result<Option<Arc<PasswordKeys>>, StoreError>> {
        Box::pin(self.store.password_keys(account, Instant::now()))
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

impl Passwords for StoredAccounts {
    fn create<'a>(
        &'a self,
        account: &'a Jid,
        password: &'a str,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            if self.store.account_exists(account).await? {
                return Ok(false);
            }
            let new = self.derive(account, password).await?;
            match self.store.add_account(account, new).await {
                Ok(()) => Ok(true),
                // Somebody else was faster.
                Err(StoreError::Conflict) => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    fn set_password<'a>(
        &'a self,
        account: &'a Jid,
        password: &'a str,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let new = self.derive(account, password).await?;
            let changed = self.store.set_password(account, new).await;
            self.forget(account);
            if !self.covers(ScramHash::Sha512) {
                self.look_for_sha512().await?;
            }
            changed
        })
    }

    fn upgrade<'a>(
        &'a self,
        account: &'a Jid,
        hash: ScramHash,
        keys: ScramKeys,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let upgraded = self.store.add_keys(account, hash, keys).await?;
            if !self.covers(ScramHash::Sha512) {
                self.look_for_sha512().await?;
            }
            Ok(upgraded)
        })
    }

    fn covers(&self, hash: ScramHash) -> bool {
        hash != ScramHash::Sha512 || self.has_sha512.load(Ordering::Relaxed)
    }

    fn remove<'a>(&'a self, account: &'a Jid) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let removed = self.store.remove_account(account).await;
            self.forget(account);
            removed
        })
    }
}

impl LoginTokens for StoredAccounts {
    fn load<'a>(
        &'a self,
        account: &'a Jid,
        device: &'a str,
    ) -> BoxFuture<'a, Result<Vec<StoredToken>, StoreError>> {
        let now = chrono::Utc::now().timestamp_millis();
        Box::pin(self.store.login_tokens(account, device, now))
    }

    fn issue<'a>(
        &'a self,
        account: &'a Jid,
        device: &'a str,
        mechanism: TokenMechanism,
        key: TokenKey,
    ) -> BoxFuture<'a, Result<String, StoreError>> {
        Box::pin(async move {
            let now = chrono::Utc::now();
            let (at, life) = (now.timestamp_millis(), self.token_life);
            self.store.issue_login_token(account, device, mechanism, key, at, life).await?;
            let expires = now + life;
            Ok(expires.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
        })
    }

    fn mark_used<'a>(
        &'a self,
        account: &'a Jid,
        device: &'a str,
        token: i64,
        count: Option<u32>,
        invalidate: bool,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.store.use_login_token(account, device, token, count, invalidate))
    }
}

/// Most digest hashes that are remembered, and how long: a changed password counts everywhere after that.
const MAX_HASHES: usize = 100_000;
const HASHED_FOR: Duration = Duration::from_secs(10);

type Hashes = HashMap<Jid, (Instant, Option<(String, String)>)>;

/// Accounts of the store for phones.
pub struct PhoneAccounts {
    store: Store,
    guard: Arc<Guard>,
    /// So that a request of a phone costs no query.
    known: Mutex<Hashes>,
    audit: Audit<Refusal>,
}

impl PhoneAccounts {
    /// Over this store and guard, which XMPP logins share.
    pub fn new(store: Store, guard: Arc<Guard>) -> Self {
        Self { store, guard, known: Mutex::default(), audit: Audit::default() }
    }

    async fn hashes(&self, account: &Jid) -> Result<Option<(String, String)>, StoreError> {
        let now = Instant::now();
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, hashes)) = known.get(account)
                && now.duration_since(*at) < HASHED_FOR
            {
                return Ok(hashes.clone());
            }
        }
        let hashes = self.store.digest_ha1(account).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_HASHES {
            known.clear();
        }
        known.insert(account.clone(), (now, hashes.clone()));
        Ok(hashes)
    }
}

impl tandem_sip::ports::Accounts for PhoneAccounts {
    fn turned_away(&self, peer: IpAddr, why: Refusal, count: u64) {
        metrics::counter!("tandem_sip_refused_total", "why" => why.word()).increment(count);
        if let Some(more) = self.audit.may_say(why, count, Instant::now()) {
            tracing::warn!(target: "audit", %peer, why = why.word(), more, "a SIP request was turned away");
        }
    }

    fn ha1<'a>(
        &'a self,
        realm: &'a str,
        user: &'a str,
        algorithm: Algorithm,
    ) -> BoxFuture<'a, Result<Option<String>, tandem_sip::ports::StoreError>> {
        Box::pin(async move {
            let Ok(account) = Jid::new(Some(user), realm, None) else { return Ok(None) };
            let hashes = self.hashes(&account).await.map_err(|e| sip_fault(&e))?;
            Ok(hashes.map(|(md5, sha256)| match algorithm {
                Algorithm::Md5 => md5,
                Algorithm::Sha256 => sha256,
            }))
        })
    }

    fn must_wait(&self, peer: IpAddr, account: &str) -> Option<Duration> {
        self.guard.remaining(peer, account, Instant::now())
    }

    fn tried(&self, peer: IpAddr, account: &str, success: bool) {
        if !success {
            metrics::counter!("tandem_sip_logins_refused_total").increment(1);
        }
        self.guard.tried(peer, account, success, Instant::now());
    }
}
