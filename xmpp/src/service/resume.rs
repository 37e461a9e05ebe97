//! Sessions whose clients may come back to them (XEP-0198 section 5): found by their id, and only by their owner.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Server;
use crate::jid::Jid;

/// Ended sessions of which it is remembered how far they had come.
const MAX_PAST: usize = 10_000;

/// What a driver keeps of a session; only the driver looks inside.
pub type Held = Arc<dyn Any + Send + Sync>;

/// The sessions.
#[derive(Default)]
pub(super) struct Resumables(Mutex<State>);

#[derive(Default)]
struct State {
    open: HashMap<String, (Jid, Held)>,
    /// Ended ones, oldest first, with what was handled of each.
    past: VecDeque<(String, Jid, u32)>,
}

impl Resumables {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Notes a session of this account under its id, until [`Server::forget_session`].
    pub fn hold_session(&self, id: String, account: Jid, session: Held) {
        self.0.resumables.state().open.insert(id, (account, session));
    }

    /// The session with this id, where it belongs to this account.
    ///
    /// # Errors
    ///
    /// How many stanzas had been handled when it ended, where that is remembered.
    pub fn held_session(&self, id: &str, account: &Jid) -> Result<Held, Option<u32>> {
        let state = self.0.resumables.state();
        if let Some((owner, session)) = state.open.get(id) {
            return if owner == account { Ok(session.clone()) } else { Err(None) };
        }
        let past = state.past.iter().find(|(past, owner, _)| past == id && owner == account);
        Err(past.map(|(_, _, h)| *h))
    }

    /// The session has ended, after so many of its client's stanzas were handled.
    pub fn forget_session(&self, id: &str, h: u32) {
        let mut state = self.0.resumables.state();
        let Some((account, session)) = state.open.remove(id) else { return };
        if state.past.len() >= MAX_PAST {
            state.past.pop_front();
        }
        state.past.push_back((id.to_owned(), account, h));
        drop(state);
        drop(session);
    }
}
