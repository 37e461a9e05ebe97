//! What the presence desk is told, in order, each account's changes once: what counts is how things are when the desk looks.
//!
//! A change of which the desk has not heard yet needs no second word, and of a call only the last counts, so that calls by the
//! thousand leave little here. What is said only once waits in the same line; that has a bound.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tandem_xmpp::jid::Jid;
use tokio::sync::{Notify, oneshot};

use super::Event;
use super::lines::CallNews;
use crate::cluster::NotTaken;

/// Events that wait at most.
const MOST: usize = 16_384;
/// Calls of which there is news at most: one that is lost leaves a lamp as it was.
const MOST_CALLS: usize = 65_536;

/// What changed, whatever it is now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Change {
    Presence(Jid),
    Requests(Jid),
    Waiting(Jid),
}

impl Change {
    fn of(event: &Event) -> Option<Self> {
        match event {
            Event::Changed(account) => Some(Self::Presence(account.bare())),
            Event::Requests(owner) => Some(Self::Requests(owner.bare())),
            Event::Waiting(account) => Some(Self::Waiting(account.bare())),
            _ => None,
        }
    }
}

#[derive(Debug)]
enum Item {
    Event(Box<Event>),
    /// What is the last of this call.
    Call(u64),
}

#[derive(Debug, Default)]
struct State {
    line: VecDeque<Item>,
    changes: HashSet<Change>,
    calls: HashMap<u64, CallNews>,
    /// Somebody wants the desk to end; this does not wait in line.
    stop: Option<oneshot::Sender<()>>,
}

/// The line to the desk. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Line(Arc<(Mutex<State>, Notify)>);

impl Line {
    /// Takes an event in.
    ///
    /// # Errors
    ///
    /// [`NotTaken`]: the desk is behind.
    pub fn send(&self, event: Event) -> Result<(), NotTaken> {
        let (state, wake) = &*self.0;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Event::Call(news) = event {
            let (id, has_room) = (news.id, state.calls.len() < MOST_CALLS);
            match state.calls.entry(id) {
                Entry::Occupied(mut waiting) => {
                    waiting.insert(news);
                    return Ok(());
                }
                Entry::Vacant(_) if !has_room => return Err(NotTaken),
                Entry::Vacant(vacant) => vacant.insert(news),
            };
            state.line.push_back(Item::Call(id));
            drop(state);
            wake.notify_one();
            return Ok(());
        }
        let change = Change::of(&event);
        if change.as_ref().is_some_and(|change| state.changes.contains(change)) {
            return Ok(());
        }
        if state.line.len() - state.calls.len() >= MOST {
            return Err(NotTaken);
        }
        state.changes.extend(change);
        state.line.push_back(Item::Event(Box::new(event)));
        drop(state);
        wake.notify_one();
        Ok(())
    }

    /// Ends the desk before anything else: the other end hears when all watchers have been told.
    pub fn stop(&self) -> oneshot::Receiver<()> {
        let (done, ended) = oneshot::channel();
        let (state, wake) = &*self.0;
        state.lock().unwrap_or_else(PoisonError::into_inner).stop = Some(done);
        wake.notify_one();
        ended
    }

    /// The next event, when there is one; `Err` is who wants to know of the end.
    pub(super) async fn next(&self) -> Result<Event, oneshot::Sender<()>> {
        let (state, wake) = &*self.0;
        loop {
            {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(done) = state.stop.take() {
                    return Err(done);
                }
                let event = match state.line.pop_front() {
                    Some(Item::Call(id)) => state.calls.remove(&id).map(Event::Call),
                    Some(Item::Event(event)) => Some(*event),
                    None => None,
                };
                if let Some(event) = event {
                    // From here on a change is another one.
                    if let Some(change) = Change::of(&event) {
                        state.changes.remove(&change);
                    }
                    return Ok(event);
                }
            }
            wake.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(n: usize) -> Jid {
        Jid::new(Some(&format!("user{n}")), "example.org", None).unwrap()
    }

    #[tokio::test]
    async fn an_account_that_changes_again_and_again_waits_once_and_keeps_its_place() {
        let line = Line::default();
        for n in 0..100_000 {
            line.send(Event::Changed(account(n % 3).with_resource("x").unwrap())).unwrap();
            line.send(Event::Waiting(account(n % 3))).unwrap();
        }
        let mut seen = Vec::new();
        for _ in 0..6 {
            seen.push(format!("{:?}", line.next().await.unwrap()));
        }
        assert!(seen[0].contains("Changed") && seen[0].contains("user0"), "{seen:?}");
        assert!(seen[5].contains("Waiting") && seen[5].contains("user2"), "{seen:?}");
        // What changes after it was looked at is told again.
        line.send(Event::Changed(account(0))).unwrap();
        assert!(matches!(line.next().await, Ok(Event::Changed(_))));
        assert!(line.0.0.lock().unwrap().line.is_empty());
    }

    #[tokio::test]
    async fn of_a_call_the_last_counts() {
        use tandem_sip::service::dialog_event::DialogState;
        let line = Line::default();
        let news = |id: u64, state: DialogState| {
            Event::Call(CallNews { id, caller: account(0), callee: account(1), state })
        };
        for state in [DialogState::Trying, DialogState::Early, DialogState::Confirmed] {
            for id in 0..20_000 {
                line.send(news(id, state)).unwrap();
            }
        }
        // Calls do not take the place of others.
        line.send(Event::Changed(account(0))).unwrap();
        for _ in 0..20_000 {
            let Ok(Event::Call(news)) = line.next().await else { panic!("a call") };
            assert_eq!(news.state, DialogState::Confirmed);
        }
        assert!(matches!(line.next().await, Ok(Event::Changed(_))));
    }

    #[tokio::test]
    async fn what_is_said_once_is_bounded_and_the_end_waits_for_nothing() {
        let line = Line::default();
        let gives = |n: usize| Event::Permission {
            owner: account(0),
            contact: account(n),
            may_see: n.is_multiple_of(2),
        };
        let taken = (0..100_000).filter(|n| line.send(gives(*n)).is_ok()).count();
        assert_eq!(taken, MOST);
        let ended = line.stop();
        let Err(done) = line.next().await else { panic!("the end comes first") };
        done.send(()).unwrap();
        ended.await.unwrap();
    }
}
