//! Non-INVITE server transaction (RFC 3261 17.2.2, RFC 4320): `Trying -> Completed -> Terminated`.
//! Proceeding is folded into Trying: we never send a 1xx to a non-INVITE.

use std::time::Instant;

use super::timers::GIVE_UP;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not answered; an answer after timer F of the peer is late and not sent (RFC 4320 4.2).
    Trying {
        late: Instant,
    },
    /// Answered: repeats get the answer again until timer J.
    Completed {
        until: Instant,
    },
    Terminated,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// Send the response again.
    SendResponse,
}

/// The machine. It holds no messages; the layer does.
#[derive(Debug)]
pub struct Server {
    state: State,
    is_reliable: bool,
}

impl Server {
    /// The request has just arrived.
    #[must_use]
    pub fn new(is_reliable: bool, now: Instant) -> Self {
        Self { state: State::Trying { late: now + GIVE_UP }, is_reliable }
    }

    /// The request arrived again.
    pub fn handle_repeat(&mut self) -> Action {
        if matches!(self.state, State::Completed { .. }) {
            Action::SendResponse
        } else {
            Action::Nothing
        }
    }

    /// The user answers; false: too late, do not send.
    pub fn handle_answer(&mut self, now: Instant) -> bool {
        let State::Trying { late } = self.state else { return false };
        if late <= now {
            self.state = State::Terminated;
            return false;
        }
        self.state = if self.is_reliable {
            State::Terminated
        } else {
            State::Completed { until: now + GIVE_UP }
        };
        true
    }

    /// Something may be due.
    pub fn handle_timeout(&mut self, now: Instant) -> Action {
        if self.next_timeout().is_some_and(|at| at <= now) {
            self.state = State::Terminated;
        }
        Action::Nothing
    }

    /// When to call `handle_timeout`.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Trying { late } => Some(late),
            State::Completed { until } => Some(until),
            State::Terminated => None,
        }
    }

    /// Whether it waits for its final answer.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Trying { .. })
    }

    /// Whether it can be forgotten.
    #[must_use]
    pub fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn repeats_are_answered_until_timer_j_and_late_answers_are_not_sent() {
        let now = Instant::now();
        let mut machine = Server::new(false, now);
        assert_eq!(machine.handle_repeat(), Action::Nothing);
        assert!(machine.handle_answer(now));
        assert_eq!(machine.handle_repeat(), Action::SendResponse);
        assert_eq!(machine.next_timeout(), Some(now + GIVE_UP));
        machine.handle_timeout(now + GIVE_UP);
        assert!(machine.is_terminated());
        let mut slow = Server::new(false, now);
        assert!(!slow.handle_answer(now + Duration::from_secs(33)));
    }
}
