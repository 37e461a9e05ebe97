//! INVITE client transaction (RFC 3261 17.1.1, RFC 6026 8.4).
//!
//! `Calling -> Proceeding -> Completed | Accepted -> Terminated`. The ACK to a refusal belongs to
//! the transaction; the ACK to a 2xx is the user's.

use std::time::Instant;

use super::timers::{GIVE_UP, ROUND_TRIP, Repeat};

/// Where the transaction stands, with the deadlines of each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing heard yet: timers A (repeat, datagrams only) and B (give up).
    Calling {
        repeat: Option<Repeat>,
        give_up: Instant,
    },
    /// A 1xx was heard; how long to wait on is the user's choice.
    Proceeding,
    /// Refused and acknowledged: repeats of the refusal are acknowledged until timer D.
    Completed {
        until: Instant,
    },
    /// Accepted: every 2xx goes up until timer M.
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
    /// Send the INVITE again.
    SendRequest,
    /// Hand the response to the user.
    Deliver,
    /// Send an ACK for this refusal and hand the response to the user.
    AckAndDeliver,
    /// Send the ACK again.
    SendAck,
    /// Nobody answered.
    TimedOut,
}

/// The machine. It holds no messages; the layer does.
#[derive(Debug)]
pub struct InviteClient {
    state: State,
    is_reliable: bool,
}

impl InviteClient {
    /// The INVITE has just been sent.
    #[must_use]
    pub fn new(is_reliable: bool, now: Instant) -> Self {
        let repeat = (!is_reliable).then(|| Repeat::first(now));
        Self { state: State::Calling { repeat, give_up: now + GIVE_UP }, is_reliable }
    }

    /// A response arrived.
    pub fn handle_response(&mut self, status: u16, now: Instant) -> Action {
        match (self.state, status) {
            (State::Calling { .. } | State::Proceeding, 100..=199) => {
                self.state = State::Proceeding;
                Action::Deliver
            }
            (State::Calling { .. } | State::Proceeding, 200..=299) => {
                self.state = State::Accepted { until: now + GIVE_UP };
                Action::Deliver
            }
            (State::Calling { .. } | State::Proceeding, _) => {
                self.state = if self.is_reliable {
                    State::Terminated
                } else {
                    State::Completed { until: now + GIVE_UP }
                };
                Action::AckAndDeliver
            }
            (State::Completed { .. }, 300..) => Action::SendAck,
            (State::Accepted { .. }, 200..=299) => Action::Deliver,
            _ => Action::Nothing,
        }
    }

    /// Something may be due.
    pub fn handle_timeout(&mut self, now: Instant) -> Action {
        match self.state {
            State::Calling { give_up, .. } if give_up <= now => {
                self.state = State::Terminated;
                Action::TimedOut
            }
            State::Calling { repeat: Some(repeat), give_up } if repeat.at <= now => {
                // Timer A doubles without a bound.
                self.state =
                    State::Calling { repeat: Some(repeat.next(now, ROUND_TRIP * 64)), give_up };
                Action::SendRequest
            }
            State::Completed { until } | State::Accepted { until } if until <= now => {
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
            State::Calling { repeat, give_up } => {
                Some(repeat.map_or(give_up, |r| r.at.min(give_up)))
            }
            State::Completed { until } | State::Accepted { until } => Some(until),
            State::Proceeding | State::Terminated => None,
        }
    }

    /// Whether a final response may still come.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Calling { .. } | State::Proceeding)
    }

    /// Whether a CANCEL may be sent (a 1xx was heard).
    #[must_use]
    pub fn may_cancel(&self) -> bool {
        self.state == State::Proceeding
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
    fn an_unanswered_invite_is_sent_seven_times_and_given_up_after_32_seconds() {
        let start = Instant::now();
        let mut machine = InviteClient::new(false, start);
        let mut sent = vec![0];
        let end = loop {
            let at = machine.next_timeout().unwrap();
            match machine.handle_timeout(at) {
                Action::SendRequest => sent.push((at - start).as_millis()),
                Action::TimedOut => break at,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(sent, [0, 500, 1500, 3500, 7500, 15_500, 31_500]);
        assert_eq!(end - start, Duration::from_secs(32));
        assert!(machine.is_terminated());
    }

    #[test]
    fn responses_move_it_as_the_table_says() {
        let now = Instant::now();
        type Steps = &'static [(u16, Action)];
        let cases: [(&str, bool, Steps, bool); 5] = [
            (
                "ringing then answered twice",
                false,
                &[(180, Action::Deliver), (200, Action::Deliver), (200, Action::Deliver)],
                false,
            ),
            (
                "refused over udp",
                false,
                &[(486, Action::AckAndDeliver), (486, Action::SendAck)],
                false,
            ),
            ("refused over tcp", true, &[(486, Action::AckAndDeliver)], true),
            (
                "late ringing after the answer",
                false,
                &[(200, Action::Deliver), (180, Action::Nothing)],
                false,
            ),
            (
                "refusal after the answer",
                false,
                &[(200, Action::Deliver), (486, Action::Nothing)],
                false,
            ),
        ];
        for (name, is_reliable, steps, terminated) in cases {
            let mut machine = InviteClient::new(is_reliable, now);
            for (status, action) in steps {
                assert_eq!(machine.handle_response(*status, now), *action, "{name}");
            }
            assert_eq!(machine.is_terminated(), terminated, "{name}");
        }
    }

    #[test]
    fn a_stream_repeats_nothing() {
        let start = Instant::now();
        let machine = InviteClient::new(true, start);
        assert_eq!(machine.next_timeout(), Some(start + GIVE_UP));
    }
}
