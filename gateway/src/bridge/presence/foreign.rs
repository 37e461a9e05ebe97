//! An XMPP user who watches a SIP contact (RFC 8048 section 5.2, `interop.md` 4.2): one machine a user and contact.
//!
//! The permission lasts, the SIP subscription behind it comes and goes: it is there while the user is online, begins
//! anew after what passes, and ends for good only when the contact says so. Feed it with [`Contact::handle`], drain
//! [`Contact::poll_action`], and call [`Contact::handle_timeout`] when [`Contact::poll_timeout`] is due.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use tandem_sip::ports::{SubscriptionState, WatchingEnd};

use crate::bridge::pidf_read::{Document, Tuple};

/// First pause after a failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// Longest pause, and the shortest after a contact's server gave up asking.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);
/// Devices of one contact that are shown.
const MAX_SHOWN: usize = 32;

/// What happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The user asks to see the contact.
    Subscribe,
    /// The user wants to see it no more.
    Unsubscribe,
    /// The user's first device is there.
    Online,
    /// The user's last device has gone.
    Offline,
    /// A NOTIFY: who of those who answer says it, whether we are let, and the state.
    Told(String, SubscriptionState, Option<Document>),
    /// One of those who answer says no more.
    ForkEnded(String),
    /// The SIP subscription is over.
    Ended(WatchingEnd),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Begin a SIP subscription.
    Watch,
    /// End it.
    Unwatch,
    /// `<presence type='subscribed'/>` from the contact.
    Subscribed,
    /// `<presence type='unsubscribed'/>` from the contact.
    Unsubscribed,
    /// The request cannot be fulfilled, for this SIP status: an error stanza.
    Failed(u16),
    /// Presence of one device.
    Show(Tuple),
    /// A device is there no more.
    Gone(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing is asked of the contact.
    Idle,
    /// A SIP subscription begins or lives.
    Watching,
    /// It is being ended.
    Closing,
    /// It failed and begins anew at this time.
    Waiting(Instant),
}

/// One user and one contact.
#[derive(Debug)]
pub struct Contact {
    phase: Phase,
    is_online: bool,
    /// The user wants to see the contact.
    is_wanted: bool,
    /// The contact has let the user see it.
    is_let: bool,
    failures: u32,
    forks: BTreeMap<String, Vec<Tuple>>,
    shown: BTreeSet<String>,
    actions: VecDeque<Action>,
}

impl Contact {
    /// A machine at rest. `is_let`: the user's roster says that the contact let it before.
    pub fn new(is_let: bool, is_online: bool) -> Self {
        Self {
            phase: Phase::Idle,
            is_online,
            is_wanted: is_let,
            is_let,
            failures: 0,
            forks: BTreeMap::new(),
            shown: BTreeSet::new(),
            actions: VecDeque::new(),
        }
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The devices that are shown.
    pub fn shown(&self) -> Vec<&Tuple> {
        let is_shown = |tuple: &&Tuple| tuple.open && self.shown.contains(&tuple.resource);
        self.forks.values().flatten().filter(is_shown).collect()
    }

    /// When [`Contact::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting(at) => Some(at),
            _ => None,
        }
    }

    /// Whether nothing is wanted and nothing runs: it can be forgotten.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Idle && !self.is_wanted && self.actions.is_empty()
    }

    /// A pause may be over.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.phase = Phase::Idle;
            self.begin();
        }
    }

    /// Takes what happened.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Subscribe => {
                self.is_wanted = true;
                // Asked of a contact that has agreed, the server answers (RFC 6121 section 3.1.3).
                if self.is_let {
                    self.actions.push_back(Action::Subscribed);
                }
                self.begin();
            }
            Input::Unsubscribe => self.unsubscribe(),
            Input::Online => {
                self.is_online = true;
                self.begin();
            }
            Input::Offline => self.go_offline(),
            Input::Told(fork, state, document) => self.told(fork, &state, document),
            Input::ForkEnded(fork) => {
                self.forks.remove(&fork);
                self.show();
            }
            Input::Ended(why) => self.ended(&why, now),
        }
    }

    /// A request is asked at once; what was granted is watched while somebody looks.
    fn begin(&mut self) {
        let is_due = self.is_wanted && (self.is_online || !self.is_let);
        if is_due && self.phase == Phase::Idle {
            self.phase = Phase::Watching;
            // What was shown stays until the new dialog says otherwise.
            self.forks.clear();
            self.actions.push_back(Action::Watch);
        }
    }

    fn unsubscribe(&mut self) {
        self.is_wanted = false;
        self.is_let = false;
        self.hide();
        match self.phase {
            Phase::Watching => self.close(),
            // It ends already; the end is told then.
            Phase::Closing => {}
            Phase::Idle | Phase::Waiting(_) => {
                self.phase = Phase::Idle;
                self.actions.push_back(Action::Unsubscribed);
            }
        }
    }

    /// The subscription lapses, the permission stays; a request that waits for its answer is not given up.
    fn go_offline(&mut self) {
        self.is_online = false;
        if !self.is_let {
            return;
        }
        // Nobody is there to be shown anything.
        self.shown.clear();
        match self.phase {
            Phase::Watching => self.close(),
            Phase::Waiting(_) => self.phase = Phase::Idle,
            Phase::Idle | Phase::Closing => {}
        }
    }

    fn close(&mut self) {
        self.phase = Phase::Closing;
        self.forks.clear();
        self.actions.push_back(Action::Unwatch);
    }

    fn told(&mut self, fork: String, state: &SubscriptionState, document: Option<Document>) {
        // While it is pending nothing is told (RFC 8048 section 5.2.1).
        if *state != SubscriptionState::Active || self.phase != Phase::Watching {
            return;
        }
        self.failures = 0;
        if !self.is_let {
            self.is_let = true;
            self.actions.push_back(Action::Subscribed);
        }
        // An active subscription without a state: nothing is known of the contact.
        self.forks.insert(fork, document.map(|document| document.tuples).unwrap_or_default());
        self.show();
    }

    /// Says what differs from what was shown: one device a tuple that is open (`interop.md` 4.5).
    fn show(&mut self) {
        let open = self.forks.values().flatten().filter(|tuple| tuple.open);
        let open: Vec<Tuple> = open.take(MAX_SHOWN).cloned().collect();
        let names: BTreeSet<String> = open.iter().map(|tuple| tuple.resource.clone()).collect();
        for gone in self.shown.difference(&names) {
            self.actions.push_back(Action::Gone(gone.clone()));
        }
        self.actions.extend(open.into_iter().map(Action::Show));
        self.shown = names;
    }

    fn hide(&mut self) {
        self.forks.clear();
        self.show();
    }

    /// RFC 8048 section 5.2.2, RFC 6665 section 4.1.3.
    fn ended(&mut self, why: &WatchingEnd, now: Instant) {
        let was_closing = self.phase == Phase::Closing;
        self.phase = Phase::Idle;
        if was_closing {
            if !self.is_wanted {
                self.actions.push_back(Action::Unsubscribed);
            }
            return self.begin();
        }
        match why {
            WatchingEnd::Refused { status: 403 | 489 | 603, .. }
            | WatchingEnd::RefreshRefused(403 | 489 | 603) => self.lose(None),
            WatchingEnd::Refused { status: status @ (404 | 410 | 604), .. } => {
                self.lose(Some(*status));
            }
            WatchingEnd::Refused { retry_after, .. } => self.pause(*retry_after, now),
            // The permission stays; the dialog is made anew.
            WatchingEnd::RefreshRefused(423 | 481) | WatchingEnd::Expired => self.begin(),
            WatchingEnd::RefreshRefused(_) | WatchingEnd::NoNotify | WatchingEnd::Unsubscribed => {
                self.pause(None, now);
            }
            WatchingEnd::Terminated { reason, retry_after } => {
                self.terminated(reason.as_deref(), *retry_after, now);
            }
        }
    }

    fn terminated(&mut self, reason: Option<&str>, retry_after: Option<Duration>, now: Instant) {
        match reason {
            Some("deactivated" | "timeout") => self.begin(),
            Some("rejected") => self.lose(None),
            Some("noresource") => self.lose(Some(404)),
            Some("giveup") => {
                let pause = retry_after.unwrap_or(LONGEST_PAUSE).max(LONGEST_PAUSE);
                self.phase = Phase::Waiting(now + pause);
            }
            // It will not change: what is shown stays.
            Some("invariant") => {}
            _ => self.pause(retry_after, now),
        }
    }

    /// The contact does not let the user see it, or is none.
    fn lose(&mut self, status: Option<u16>) {
        self.hide();
        let was_let = std::mem::replace(&mut self.is_let, false);
        self.is_wanted = false;
        if was_let || status.is_none() {
            self.actions.push_back(Action::Unsubscribed);
        }
        if let Some(status) = status {
            self.actions.push_back(Action::Failed(status));
        }
    }

    /// Another try later: nobody knows meanwhile how the contact is.
    fn pause(&mut self, retry_after: Option<Duration>, now: Instant) {
        self.hide();
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(6)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        if self.is_wanted {
            self.phase = Phase::Waiting(now + pause.max(retry_after.unwrap_or_default()));
        }
    }
}

#[cfg(test)]
#[path = "foreign_tests.rs"]
mod tests;
