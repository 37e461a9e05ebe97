//! Keys of accounts that log in, kept for a moment: a device that comes back at once costs no query.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tandem_xmpp::jid::Jid;
use tandem_xmpp::stream::sasl::PasswordKeys;

/// Most accounts that are remembered, unknown ones too: both are answered as fast.
const MAX: usize = 50_000;
/// How long: another process may change a password.
const KEPT_FOR: Duration = Duration::from_secs(10);

type Keys = Option<Arc<PasswordKeys>>;

#[derive(Default)]
struct State {
    kept: HashMap<Jid, (Instant, Keys)>,
    /// Counts what was forgotten: keys that were read before are not remembered after.
    forgotten: u64,
}

/// The keys of lately seen accounts.
#[derive(Default)]
pub(super) struct KeyCache(Mutex<State>);

impl KeyCache {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of an account, or the mark to give to [`KeyCache::put`] with what the store says.
    pub(super) fn get(&self, account: &Jid, now: Instant) -> Result<Keys, u64> {
        let state = self.state();
        match state.kept.get(account) {
            Some((at, keys)) if now.duration_since(*at) < KEPT_FOR => Ok(keys.clone()),
            _ => Err(state.forgotten),
        }
    }

    pub(super) fn put(&self, account: &Jid, keys: Keys, mark: u64, now: Instant) {
        let mut state = self.state();
        if state.forgotten != mark {
            return;
        }
        if state.kept.len() >= MAX {
            state.kept.clear();
        }
        state.kept.insert(account.clone(), (now, keys));
    }

    /// The account has changed: called after the commit, and before anybody is told of it.
    pub(super) fn forget(&self, account: &Jid) {
        let mut state = self.state();
        state.forgotten += 1;
        state.kept.remove(account);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_for_a_moment_and_not_beyond_a_change() {
        let cache = KeyCache::default();
        let (ana, now) = (Jid::parse("ana@d").unwrap(), Instant::now());
        let keys = Some(Arc::new(PasswordKeys::default()));
        let mark = cache.get(&ana, now).unwrap_err();
        cache.put(&ana, keys.clone(), mark, now);
        assert_eq!(cache.get(&ana, now), Ok(keys.clone()));
        assert!(cache.get(&ana, now + KEPT_FOR).is_err());
        cache.forget(&ana);
        let mark = cache.get(&ana, now).unwrap_err();
        // Read before the change, remembered after it: not so.
        cache.forget(&ana);
        cache.put(&ana, keys, mark, now);
        assert!(cache.get(&ana, now).is_err());
    }
}
