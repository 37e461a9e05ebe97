//! Non-INVITE client transaction (RFC 3261 17.1.2): `Trying -> Proceeding -> Completed -> Terminated`.

use std::time::Instant;

use super::timers::{GIVE_UP, LONGEST_REPEAT, MESSAGE_LIFE, Repeat};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No final response yet: timers E (repeat, datagrams only) and F (give up).
    Trying {
        repeat: Option<Repeat>,
        give_up: Instant,
        is_proceeding: bool,
    },
    /// Answered: repeats are absorbed until timer K.
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
    /// Send the request again.
    SendRequest,
    /// Hand the response to the user.
    Deliver,
    /// Nobody answered.
    TimedOut,
}

/// The machine. It holds no messages; the layer does.
#[derive(Debug)]
pub struct Client {
    state: State,
    is_reliable: bool,
}

impl Client {
    /// The request has just been sent.
    #[must_use]
    pub fn new(is_reliable: bool, now: Instant) -> Self {
        let repeat = (!is_reliable).then(|| Repeat::first(now));
        Self {
            state: State::Trying { repeat, give_up: now + GIVE_UP, is_proceeding: false },
            is_reliable,
        }
    }

    /// A response arrived.
    pub fn handle_response(&mut self, status: u16, now: Instant) -> Action {
        let State::Trying { repeat, give_up, .. } = self.state else { return Action::Nothing };
        self.state = if status < 200 {
            State::Trying { repeat, give_up, is_proceeding: true }
        } else if self.is_reliable {
            State::Terminated
        } else {
            State::Completed { until: now + MESSAGE_LIFE }
        };
        Action::Deliver
    }

    /// Something may be due.
    pub fn handle_timeout(&mut self, now: Instant) -> Action {
        match self.state {
            State::Trying { give_up, .. } if give_up <= now => {
                self.state = State::Terminated;
                Action::TimedOut
            }
            State::Trying { repeat: Some(repeat), give_up, is_proceeding } if repeat.at <= now => {
                let repeat = if is_proceeding {
                    Repeat { at: now + LONGEST_REPEAT, pause: LONGEST_REPEAT }
                } else {
                    repeat.next(now, LONGEST_REPEAT)
                };
                self.state = State::Trying { repeat: Some(repeat), give_up, is_proceeding };
                Action::SendRequest
            }
            State::Completed { until } if until <= now => {
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
            State::Trying { repeat, give_up, .. } => {
                Some(repeat.map_or(give_up, |r| r.at.min(give_up)))
            }
            State::Completed { until } => Some(until),
            State::Terminated => None,
        }
    }

    /// Whether a final response may still come.
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
    use super::*;

    fn schedule(provisional: bool) -> (Vec<u128>, u128) {
        let start = Instant::now();
        let mut machine = Client::new(false, start);
        if provisional {
            assert_eq!(machine.handle_response(100, start), Action::Deliver);
        }
        let mut sent = Vec::new();
        loop {
            let at = machine.next_timeout().unwrap();
            match machine.handle_timeout(at) {
                Action::SendRequest => sent.push((at - start).as_millis()),
                _ => return (sent, (at - start).as_millis()),
            }
        }
    }

    #[test]
    fn repeats_follow_timer_e_and_end_with_timer_f() {
        let trying =
            (vec![500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500], 32_000);
        assert_eq!(schedule(false), trying);
        assert_eq!(
            schedule(true),
            (vec![500, 4500, 8500, 12_500, 16_500, 20_500, 24_500, 28_500], 32_000)
        );
    }

    #[test]
    fn a_final_response_is_delivered_once_and_absorbed_for_t4() {
        let now = Instant::now();
        let mut machine = Client::new(false, now);
        assert_eq!(machine.handle_response(200, now), Action::Deliver);
        assert_eq!(machine.handle_response(200, now), Action::Nothing);
        assert_eq!(machine.next_timeout(), Some(now + MESSAGE_LIFE));
        let mut stream = Client::new(true, now);
        stream.handle_response(200, now);
        assert!(stream.is_terminated());
    }
}
