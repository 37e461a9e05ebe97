//! INVITE server transaction (RFC 3261 17.2.1, RFC 6026 8.7).
//!
//! `Proceeding -> Completed -> Confirmed -> Terminated`, or `Proceeding -> Accepted -> Terminated`.
//! The 2xx is repeated by the user, who alone sees the ACK for it.

use std::time::{Duration, Instant};

use super::timers::{GIVE_UP, LONGEST_REPEAT, MESSAGE_LIFE, Repeat};

/// A 100 leaves unless the user answers within this time.
const TRYING_AFTER: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No final answer yet; `trying` is when a 100 is due.
    Proceeding {
        trying: Option<Instant>,
        has_response: bool,
    },
    /// Refused: repeated by timer G until the ACK or timer H.
    Completed {
        repeat: Option<Repeat>,
        give_up: Instant,
    },
    /// Acknowledged: further ACKs are absorbed until timer I.
    Confirmed {
        until: Instant,
    },
    /// Accepted: INVITE repeats are absorbed, ACKs go up, until timer L.
    Accepted {
        until: Instant,
    },
    Terminated,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// Send the last response again.
    SendResponse,
    /// Send a 100 made from the request.
    SendTrying,
    /// Hand the ACK to the user.
    DeliverAck,
    /// No ACK came for a refusal.
    AckMissing,
}

/// The machine. It holds no messages; the layer does.
#[derive(Debug)]
pub struct InviteServer {
    state: State,
    is_reliable: bool,
}

impl InviteServer {
    /// The INVITE has just arrived.
    #[must_use]
    pub fn new(is_reliable: bool, now: Instant) -> Self {
        Self {
            state: State::Proceeding { trying: Some(now + TRYING_AFTER), has_response: false },
            is_reliable,
        }
    }

    /// The INVITE arrived again.
    pub fn handle_repeat(&mut self) -> Action {
        match self.state {
            State::Proceeding { has_response: true, .. } | State::Completed { .. } => {
                Action::SendResponse
            }
            State::Proceeding { has_response: false, .. } => Action::SendTrying,
            State::Accepted { .. } | State::Confirmed { .. } | State::Terminated => Action::Nothing,
        }
    }

    /// The user answers; false: too late, do not send.
    pub fn handle_answer(&mut self, status: u16, now: Instant) -> bool {
        let State::Proceeding { .. } = self.state else {
            // The user's repeats of a 2xx pass.
            return matches!(self.state, State::Accepted { .. }) && (200..300).contains(&status);
        };
        self.state = match status {
            0..=199 => State::Proceeding { trying: None, has_response: true },
            200..=299 => State::Accepted { until: now + GIVE_UP },
            _ => {
                let repeat = (!self.is_reliable).then(|| Repeat::first(now));
                State::Completed { repeat, give_up: now + GIVE_UP }
            }
        };
        true
    }

    /// An ACK arrived.
    pub fn handle_ack(&mut self, now: Instant) -> Action {
        match self.state {
            State::Completed { .. } if self.is_reliable => {
                self.state = State::Terminated;
                Action::Nothing
            }
            State::Completed { .. } => {
                self.state = State::Confirmed { until: now + MESSAGE_LIFE };
                Action::Nothing
            }
            State::Accepted { .. } => Action::DeliverAck,
            _ => Action::Nothing,
        }
    }

    /// Something may be due.
    pub fn handle_timeout(&mut self, now: Instant) -> Action {
        match self.state {
            State::Proceeding { trying: Some(at), has_response } if at <= now => {
                self.state = State::Proceeding { trying: None, has_response };
                Action::SendTrying
            }
            State::Completed { give_up, .. } if give_up <= now => {
                self.state = State::Terminated;
                Action::AckMissing
            }
            State::Completed { repeat: Some(repeat), give_up } if repeat.at <= now => {
                self.state =
                    State::Completed { repeat: Some(repeat.next(now, LONGEST_REPEAT)), give_up };
                Action::SendResponse
            }
            State::Confirmed { until } | State::Accepted { until } if until <= now => {
                self.state = State::Terminated;
                Action::Nothing
            }
            _ => Action::Nothing,
        }
    }

    /// When to call `handle_timeout`.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Proceeding { trying, .. } => trying,
            State::Completed { repeat, give_up } => {
                Some(repeat.map_or(give_up, |r| r.at.min(give_up)))
            }
            State::Confirmed { until } | State::Accepted { until } => Some(until),
            State::Terminated => None,
        }
    }

    /// Whether no final answer was given yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Proceeding { .. })
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
    use super::*;

    #[test]
    fn a_refusal_is_repeated_up_to_t2_until_timer_h() {
        let start = Instant::now();
        let mut machine = InviteServer::new(false, start);
        assert!(machine.handle_answer(486, start));
        let mut sent = Vec::new();
        let end = loop {
            let at = machine.next_timeout().unwrap();
            match machine.handle_timeout(at) {
                Action::SendResponse => sent.push((at - start).as_millis()),
                Action::AckMissing => break at,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(sent, [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
        assert_eq!(end - start, GIVE_UP);
    }

    #[test]
    fn a_100_leaves_after_200_ms_unless_the_user_answered() {
        let start = Instant::now();
        let mut machine = InviteServer::new(false, start);
        assert_eq!(machine.handle_timeout(start + TRYING_AFTER), Action::SendTrying);
        assert_eq!(machine.next_timeout(), None);
        let mut quick = InviteServer::new(false, start);
        assert!(quick.handle_answer(180, start));
        assert_eq!(quick.next_timeout(), None);
        assert_eq!(quick.handle_repeat(), Action::SendResponse);
    }

    #[test]
    fn acks_are_absorbed_after_a_refusal_and_delivered_after_a_2xx() {
        let now = Instant::now();
        let mut refused = InviteServer::new(false, now);
        refused.handle_answer(603, now);
        assert_eq!(refused.handle_ack(now), Action::Nothing);
        assert_eq!(refused.next_timeout(), Some(now + MESSAGE_LIFE));
        let mut accepted = InviteServer::new(false, now);
        accepted.handle_answer(200, now);
        assert_eq!(accepted.handle_ack(now), Action::DeliverAck);
        assert_eq!(accepted.handle_repeat(), Action::Nothing);
        assert!(accepted.handle_answer(200, now), "the user repeats its 2xx");
        assert!(!accepted.handle_answer(486, now));
        accepted.handle_timeout(now + GIVE_UP);
        assert!(accepted.is_terminated());
    }
}
