//! A call: a caller, a set of targets, one answer (RFC 3261 section 16.7, XEP-0353, XEP-0166; `B2BUA` of RFC 7092).
//!
//! The machine knows no protocol. SIP branches, the XMPP devices behind one `<propose/>`, a single Jingle session and
//! the echo service are all *targets*; the exchange translates. Nothing here counts to two: any number of targets ring,
//! the first that picks up is kept, the others are stopped.
//!
//! States: *alerting* (targets ring), *connecting* (one picked up, its media is being agreed), *answering* (the caller
//! is being connected), *active*, *ended*; between two rounds of ringing, where the call goes to somebody else, *forwarding*. Feed it with [`Call::handle`], drain [`Call::poll_action`], and call
//! [`Call::handle_timeout`] when [`Call::poll_timeout`] is due. After [`Action::Record`] the call is over.

mod cause;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub use cause::Cause;

use super::call_desk::Why;

/// Names one leg inside one call. The caller is always [`CALLER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegKey(pub u32);

/// The leg that started the call.
pub const CALLER: LegKey = LegKey(0);

/// How long a call may ring or take to connect.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Ringing without an answer. Default 60 s, below the three minutes of upstream proxies (timer C).
    pub ringing: Duration,
    /// From picking up to media being agreed. Default 20 s.
    pub connecting: Duration,
    /// From the answer to the caller's own session being up. Default 15 s.
    pub answering: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            ringing: Duration::from_secs(60),
            connecting: Duration::from_secs(20),
            answering: Duration::from_secs(15),
        }
    }
}

/// What happened on a leg.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A target alerts a human.
    Ringing(LegKey),
    /// A human took the call there (`<proceed/>`); media is not agreed yet.
    PickedUp(LegKey),
    /// The target's media is agreed (SIP 2xx, `session-accept`). Implies picked up.
    Answered(LegKey),
    /// The target ended before an answer.
    Refused(LegKey, Cause),
    /// A human refused the call for all of the account's devices (JMI `<reject/>`, SIP 6xx).
    Declined(Cause),
    /// Another device that the caller reaches without us took the call.
    AnsweredElsewhere,
    /// The caller's own session is up.
    CallerUp,
    /// The caller left, or an established leg ended.
    HungUp(LegKey, Cause),
}

/// What the exchange must do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Tell the caller that somebody's device rings. Once.
    RingCaller,
    /// This target is no longer wanted.
    Stop(LegKey, Cause),
    /// Answer the caller with the media agreed on this target.
    AnswerCaller(LegKey),
    /// End the caller's attempt.
    RefuseCaller(Cause),
    /// End an established leg.
    HangUp(LegKey, Cause),
    /// Nobody rings any more: somebody else is to. Answer with [`Call::forward`].
    Forward(Why),
    /// Let the two legs hear each other.
    Join(LegKey, LegKey),
    /// The call is over: keep its record and forget it.
    Record(Outcome),
}

/// When somebody else is called instead (RFC 3261 section 16.5 leaves it to the callee).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forwards {
    /// Where everybody is busy.
    pub busy: bool,
    /// After so long without an answer, or where nobody is there.
    pub no_answer: Option<Duration>,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Both sides were connected; the cause is that of the hang-up.
    Completed(Cause),
    /// Never connected.
    Missed(Cause),
    /// Taken on a device that the caller reaches without us.
    Elsewhere,
}

#[derive(Debug)]
enum State {
    Alerting {
        give_up_at: Instant,
    },
    Connecting {
        target: LegKey,
        give_up_at: Instant,
    },
    Answering {
        target: LegKey,
        give_up_at: Instant,
    },
    /// Whoever is called instead is being looked up.
    Forwarding,
    Active {
        target: LegKey,
    },
    Ended,
}

#[derive(Debug)]
struct Target {
    key: LegKey,
    refused: Option<Cause>,
}

/// One call. See the module's head for the order of calls.
#[derive(Debug)]
pub struct Call {
    state: State,
    targets: Vec<Target>,
    /// The caller also reaches devices that are not our targets; silence from ours does not end the attempt.
    others_ring: bool,
    rung: bool,
    patience: Patience,
    forwards: Forwards,
    actions: VecDeque<Action>,
}

impl Call {
    /// A call that rings `targets`. With none, and nobody else ringing, it is refused at once as `unavailable`.
    pub fn new(
        targets: impl IntoIterator<Item = LegKey>,
        others_ring: bool,
        patience: Patience,
        now: Instant,
    ) -> Self {
        let targets: Vec<_> =
            targets.into_iter().map(|key| Target { key, refused: None }).collect();
        let mut call = Self {
            state: State::Alerting { give_up_at: now + patience.ringing },
            targets,
            others_ring,
            rung: false,
            patience,
            forwards: Forwards::default(),
            actions: VecDeque::new(),
        };
        if call.targets.is_empty() {
            call.all_refused();
        }
        call
    }

    /// A call that is refused before anybody rings.
    pub fn refused(cause: Cause, now: Instant) -> Self {
        let patience = Patience::default();
        let mut call = Self {
            state: State::Alerting { give_up_at: now + patience.ringing },
            targets: Vec::new(),
            others_ring: false,
            rung: false,
            patience,
            forwards: Forwards::default(),
            actions: VecDeque::new(),
        };
        call.refuse(cause);
        call
    }

    /// A call that goes to somebody else where nobody takes it.
    pub fn forwarding(
        targets: impl IntoIterator<Item = LegKey>,
        forwards: Forwards,
        patience: Patience,
        now: Instant,
    ) -> Self {
        let mut call = Self {
            state: State::Forwarding,
            targets: Vec::new(),
            others_ring: false,
            rung: false,
            patience,
            forwards: Forwards::default(),
            actions: VecDeque::new(),
        };
        call.forward(Ok(targets.into_iter().collect()), forwards, now);
        call
    }

    /// Who rings now, as [`Action::Forward`] asked for, or why nobody does.
    pub fn forward(
        &mut self,
        targets: Result<Vec<LegKey>, Cause>,
        forwards: Forwards,
        now: Instant,
    ) {
        if !matches!(self.state, State::Forwarding) {
            return;
        }
        let targets = match targets {
            Ok(targets) => targets,
            Err(cause) => return self.refuse(cause),
        };
        self.targets = targets.into_iter().map(|key| Target { key, refused: None }).collect();
        let patience = forwards.no_answer.unwrap_or(self.patience.ringing);
        self.state = State::Alerting { give_up_at: now + patience };
        self.forwards = forwards;
        if self.targets.is_empty() {
            self.all_refused();
        }
    }

    /// Adds a target that turned up while the call rings (a branch tried again with other media). Ignored later.
    pub fn add_target(&mut self, key: LegKey) {
        if matches!(self.state, State::Alerting { .. }) {
            self.targets.push(Target { key, refused: None });
        }
    }

    /// Whether the call has ended.
    pub fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// The target that took the call, once one did.
    pub fn taken_by(&self) -> Option<LegKey> {
        match self.state {
            State::Connecting { target, .. }
            | State::Answering { target, .. }
            | State::Active { target } => Some(target),
            State::Alerting { .. } | State::Forwarding | State::Ended => None,
        }
    }

    /// Takes one event.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Ringing(_) => self.handle_ringing(),
            Input::PickedUp(key) => self.handle_picked_up(key, now),
            Input::Answered(key) => self.handle_answered(key, now),
            Input::Refused(key, cause) => self.handle_refused(key, cause),
            Input::Declined(cause) => self.handle_declined(cause),
            Input::AnsweredElsewhere => self.handle_elsewhere(),
            Input::CallerUp => self.handle_caller_up(),
            Input::HungUp(CALLER, cause) => self.handle_caller_gone(cause),
            Input::HungUp(key, cause) => self.handle_target_gone(key, cause),
        }
    }

    /// Acts on a deadline that `now` has reached.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Alerting { give_up_at } if now >= give_up_at => {
                self.stop_targets(None, &Cause::NoAnswer);
                self.refuse_or_forward(Cause::NoAnswer);
            }
            State::Connecting { target, give_up_at } if now >= give_up_at => {
                self.actions.push_back(Action::Stop(target, Cause::ConnectionFailed));
                self.refuse(Cause::ConnectionFailed);
            }
            State::Answering { target, give_up_at } if now >= give_up_at => {
                self.actions.push_back(Action::HangUp(target, Cause::CallerVanished));
                self.refuse(Cause::ConnectionFailed);
            }
            _ => {}
        }
    }

    /// The next deadline.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Alerting { give_up_at }
            | State::Connecting { give_up_at, .. }
            | State::Answering { give_up_at, .. } => Some(give_up_at),
            State::Forwarding | State::Active { .. } | State::Ended => None,
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn handle_ringing(&mut self) {
        if matches!(self.state, State::Alerting { .. }) && !self.rung {
            self.rung = true;
            self.actions.push_back(Action::RingCaller);
        }
    }

    fn handle_picked_up(&mut self, key: LegKey, now: Instant) {
        match self.state {
            State::Alerting { .. } if self.is_open(key) => {
                self.stop_targets(Some(key), &Cause::AnsweredElsewhere);
                let give_up_at = now + self.patience.connecting;
                self.state = State::Connecting { target: key, give_up_at };
            }
            State::Alerting { .. } => {}
            State::Connecting { target, .. }
            | State::Answering { target, .. }
            | State::Active { target }
                if target == key => {}
            // A second device was quick too: the first one has the call.
            _ => self.actions.push_back(Action::Stop(key, Cause::AnsweredElsewhere)),
        }
    }

    fn handle_answered(&mut self, key: LegKey, now: Instant) {
        self.handle_picked_up(key, now);
        match self.state {
            State::Connecting { target, .. } if target == key => {
                let give_up_at = now + self.patience.answering;
                self.state = State::Answering { target, give_up_at };
                self.actions.push_back(Action::AnswerCaller(target));
            }
            _ => {}
        }
    }

    fn handle_refused(&mut self, key: LegKey, cause: Cause) {
        match self.state {
            State::Alerting { .. } => {
                if let Some(target) = self.targets.iter_mut().find(|t| t.key == key) {
                    target.refused.get_or_insert(cause);
                }
                if self.targets.iter().all(|t| t.refused.is_some()) {
                    self.all_refused();
                }
            }
            State::Connecting { target, .. } if target == key => self.refuse(cause),
            _ => {}
        }
    }

    fn handle_declined(&mut self, cause: Cause) {
        if matches!(self.state, State::Alerting { .. }) {
            self.stop_targets(None, &Cause::AnsweredElsewhere);
            self.refuse_or_forward(cause);
        }
    }

    fn handle_elsewhere(&mut self) {
        if matches!(self.state, State::Alerting { .. }) {
            self.stop_targets(None, &Cause::AnsweredElsewhere);
            self.end(Outcome::Elsewhere);
        }
    }

    fn handle_caller_up(&mut self) {
        if let State::Answering { target, .. } = self.state {
            self.state = State::Active { target };
            self.actions.push_back(Action::Join(CALLER, target));
        }
    }

    fn handle_caller_gone(&mut self, cause: Cause) {
        match self.state {
            State::Alerting { .. } | State::Forwarding => {
                self.stop_targets(None, &cause);
                self.end(Outcome::Missed(cause));
            }
            State::Connecting { target, .. } => {
                self.actions.push_back(Action::Stop(target, cause.clone()));
                self.end(Outcome::Missed(cause));
            }
            State::Answering { target, .. } => {
                self.actions.push_back(Action::HangUp(target, cause.clone()));
                self.end(Outcome::Missed(cause));
            }
            State::Active { target } => {
                self.actions.push_back(Action::HangUp(target, cause.clone()));
                self.end(Outcome::Completed(cause));
            }
            State::Ended => {}
        }
    }

    fn handle_target_gone(&mut self, key: LegKey, cause: Cause) {
        match self.state {
            State::Active { target } if target == key => {
                self.actions.push_back(Action::HangUp(CALLER, cause.clone()));
                self.end(Outcome::Completed(cause));
            }
            State::Answering { target, .. } if target == key => self.refuse(cause),
            _ => self.handle_refused(key, cause),
        }
    }

    /// Nobody of ours can take the call any more.
    fn all_refused(&mut self) {
        if self.others_ring {
            // The caller still rings devices that we do not serve; they decide.
            self.end(Outcome::Elsewhere);
            return;
        }
        let best = self.targets.iter().filter_map(|t| t.refused.clone()).max_by_key(Cause::weight);
        self.refuse_or_forward(best.unwrap_or(Cause::Unavailable));
    }

    /// Nobody takes the call: somebody else does, or the caller is told.
    fn refuse_or_forward(&mut self, cause: Cause) {
        let why = match cause.word() {
            "busy" if self.forwards.busy => Why::Busy,
            _ if cause.is_nobody_there() && self.forwards.no_answer.is_some() => Why::NoAnswer,
            _ => return self.refuse(cause),
        };
        self.targets.clear();
        self.state = State::Forwarding;
        self.actions.push_back(Action::Forward(why));
    }

    fn refuse(&mut self, cause: Cause) {
        self.actions.push_back(Action::RefuseCaller(cause.clone()));
        self.end(Outcome::Missed(cause));
    }

    fn end(&mut self, outcome: Outcome) {
        self.state = State::Ended;
        self.actions.push_back(Action::Record(outcome));
    }

    fn is_open(&self, key: LegKey) -> bool {
        self.targets.iter().any(|t| t.key == key && t.refused.is_none())
    }

    fn stop_targets(&mut self, except: Option<LegKey>, cause: &Cause) {
        for target in &self.targets {
            if Some(target.key) != except && target.refused.is_none() {
                self.actions.push_back(Action::Stop(target.key, cause.clone()));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests;
