//! Logins in memory: passwords, tokens that we issue, tokens that others do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::{MemoryStore, ROUNDS, lock};
use crate::jid::Jid;
use crate::ports::{BearerTokens, BoxFuture, LoginTokens, Passwords, StoreError};
use crate::stream::ht::{StoredToken, TokenKey, TokenMechanism};
use crate::stream::sasl::{PasswordKeys, ScramHash, ScramKeys};

/// The account's keys, or a copy of nothing.
pub(super) type Keys = HashMap<Jid, Arc<PasswordKeys>>;

pub(super) fn keys_of(password: &str) -> Arc<PasswordKeys> {
    Arc::new(PasswordKeys::derive(password, b"salt", ROUNDS))
}

impl MemoryStore {
    /// Takes the keys of a hash away from an account, as if its password were older than the hash.
    pub fn remove_keys(&self, account: &Jid, hash: ScramHash) {
        if let Some(keys) = lock(&self.accounts).get_mut(&account.bare()) {
            let keys = Arc::make_mut(keys);
            match hash {
                ScramHash::Sha1 => keys.sha1 = None,
                ScramHash::Sha256 => keys.sha256 = None,
                ScramHash::Sha512 => keys.sha512 = None,
            }
        }
    }

    /// The keys of an account.
    pub fn stored_keys(&self, account: &Jid) -> Option<Arc<PasswordKeys>> {
        lock(&self.accounts).get(&account.bare()).cloned()
    }
}

impl Passwords for MemoryStore {
    fn create<'a>(
        &'a self,
        account: &'a Jid,
        password: &'a str,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            self.check()?;
            let mut accounts = lock(&self.accounts);
            let is_new = !accounts.contains_key(&account.bare());
            if is_new {
                accounts.insert(account.bare(), keys_of(password));
            }
            Ok(is_new)
        })
    }

    fn set_password<'a>(
        &'a self,
        account: &'a Jid,
        password: &'a str,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            self.check()?;
            self.tokens.forget(&account.bare());
            let mut accounts = lock(&self.accounts);
            let kept = accounts.get_mut(&account.bare());
            Ok(kept.map(|kept| *kept = keys_of(password)).is_some())
        })
    }

    fn upgrade<'a>(
        &'a self,
        account: &'a Jid,
        hash: ScramHash,
        keys: ScramKeys,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            self.check()?;
            let mut accounts = lock(&self.accounts);
            let Some(kept) = accounts.get_mut(&account.bare()) else { return Ok(false) };
            let is_missing = kept.of(hash).is_none();
            if is_missing {
                Arc::make_mut(kept).set(hash, keys);
            }
            Ok(is_missing)
        })
    }

    fn covers(&self, hash: ScramHash) -> bool {
        lock(&self.accounts).values().all(|keys| keys.of(hash).is_some())
    }

    fn remove<'a>(&'a self, account: &'a Jid) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            self.check()?;
            self.tokens.forget(&account.bare());
            lock(&self.rosters).remove(&account.bare());
            lock(&self.waiting).retain(|(owner, _), _| *owner != account.bare());
            self.forget_archive(&account.bare());
            Ok(lock(&self.accounts).remove(&account.bare()).is_some())
        })
    }
}

/// Login tokens. Its clock counts days and is moved by hand; a token lives twenty and is due for another after ten.
#[derive(Debug, Default)]
pub struct MemoryLoginTokens {
    tokens: Mutex<Vec<Kept>>,
    next: AtomicI64,
    day: AtomicU64,
}

#[derive(Debug)]
struct Kept {
    id: i64,
    account: Jid,
    device: String,
    mechanism: TokenMechanism,
    key: TokenKey,
    expires: u64,
    used: bool,
    count: Option<u32>,
}

/// Days that a token of [`MemoryLoginTokens`] lives.
const LIFE: u64 = 20;

impl MemoryLoginTokens {
    /// Lets days pass.
    pub fn wait_days(&self, days: u64) {
        self.day.fetch_add(days, Ordering::Relaxed);
    }

    /// How many tokens are kept.
    pub fn count(&self) -> usize {
        lock(&self.tokens).len()
    }

    fn forget(&self, account: &Jid) {
        lock(&self.tokens).retain(|token| token.account != *account);
    }
}

impl LoginTokens for MemoryLoginTokens {
    fn load<'a>(
        &'a self,
        account: &'a Jid,
        device: &'a str,
    ) -> BoxFuture<'a, Result<Vec<StoredToken>, StoreError>> {
        let day = self.day.load(Ordering::Relaxed);
        let tokens = lock(&self.tokens);
        let own = tokens.iter().filter(|t| t.account == *account && t.device == device);
        let stored = own.map(|token| StoredToken {
            id: token.id,
            mechanism: token.mechanism,
            key: token.key,
            expired: token.expires <= day,
            due: token.expires <= day + LIFE / 2,
        });
        Box::pin(std::future::ready(Ok(stored.collect())))
    }

    fn issue<'a>(
        &'a self,
        account: &'a Jid,
        device: &'a str,
        mechanism: TokenMechanism,
        key: TokenKey,
    ) -> BoxFuture<'a, Result<String, StoreError>> {
        let expires = self.day.load(Ordering::Relaxed) + LIFE;
        let mut tokens = lock(&self.tokens);
        tokens.retain(|t| t.account != *account || t.device != device || t.used);
        tokens.push(Kept {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            account: account.clone(),
            device: device.to_owned(),
            mechanism,
            key,
            expires,
            used: false,
            count: None,
        });
        Box::pin(std::future::ready(Ok(format!("2026-01-{:02}T00:00:00Z", expires % 28 + 1))))
    }

    fn mark_used<'a>(
        &'a self,
        account: &'a Jid,
        device: &'a str,
        token: i64,
        count: Option<u32>,
        invalidate: bool,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let mut tokens = lock(&self.tokens);
        let is_own = |t: &Kept| t.account == *account && t.device == device;
        let found = tokens.iter_mut().find(|t| is_own(t) && t.id == token);
        let counted = match found {
            Some(found) if count.is_none() || count > found.count => {
                found.used = true;
                found.count = count.or(found.count);
                Some(found.expires)
            }
            _ => None,
        };
        if let Some(expires) = counted {
            tokens
                .retain(|t| !is_own(t) || (!invalidate && (t.id == token || t.expires > expires)));
        }
        Box::pin(std::future::ready(Ok(counted.is_some())))
    }
}

/// An issuer that has vouched for some.
#[derive(Debug, Default)]
pub struct MemoryBearerTokens(Mutex<HashMap<(String, String), String>>);

impl MemoryBearerTokens {
    /// Makes a token good for a name in a domain.
    pub fn vouch(&self, domain: &str, token: &str, name: &str) {
        lock(&self.0).insert((domain.to_owned(), token.to_owned()), name.to_owned());
    }
}

impl BearerTokens for MemoryBearerTokens {
    fn validate<'a>(
        &'a self,
        domain: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        let name = lock(&self.0).get(&(domain.to_owned(), token.to_owned())).cloned();
        Box::pin(std::future::ready(Ok(name)))
    }
}
