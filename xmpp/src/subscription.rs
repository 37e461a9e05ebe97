//! The states of a subscription and what each request makes of them (RFC 6121 section 3 and appendix A).
//!
//! A state is one side's: that of a user towards a contact. Who asks changes its own by [`sent`]; where that routes the
//! request, the other side changes its own by [`received`]. On one server both happen here, else one of them.

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// To see the other.
    Subscribe,
    /// The other may see the sender.
    Subscribed,
    /// No longer to see the other.
    Unsubscribe,
    /// The other may not, or no longer, see the sender.
    Unsubscribed,
}

impl Request {
    /// The wire word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Subscribed => "subscribed",
            Self::Unsubscribe => "unsubscribe",
            Self::Unsubscribed => "unsubscribed",
        }
    }

    /// From the wire word.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Subscribe, Self::Subscribed, Self::Unsubscribe, Self::Unsubscribed]
            .into_iter()
            .find(|request| request.name() == name)
    }
}

/// Where a user stands towards a contact (section A.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // five independent facts
pub struct State {
    /// The user sees the contact.
    pub to: bool,
    /// The contact sees the user.
    pub from: bool,
    /// The user has asked, and was not answered.
    pub pending_out: bool,
    /// The contact has asked, and was not answered.
    pub pending_in: bool,
    /// The user has agreed before it was asked (section 3.4).
    pub approved: bool,
}

/// What the other side's request does besides changing the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The user is told.
    Deliver,
    /// Nothing more.
    Nothing,
    /// The user's server agrees on its behalf: it has agreed already (sections 3.1.3 and 3.4.2).
    Agree,
}

/// The user's own request (section A.2): its state then, and whether the request goes to the contact.
pub fn sent(state: State, request: Request) -> (State, bool) {
    let mut next = state;
    let routed = match request {
        Request::Subscribe => {
            next.pending_out = !state.to;
            true
        }
        Request::Unsubscribe => {
            (next.to, next.pending_out) = (false, false);
            true
        }
        Request::Subscribed => {
            next.from |= state.pending_in;
            next.pending_in = false;
            next.approved |= !next.from;
            state.pending_in
        }
        Request::Unsubscribed => {
            (next.from, next.pending_in, next.approved) = (false, false, false);
            state.from || state.pending_in
        }
    };
    (next, routed)
}

/// The contact's request (section A.3): the user's state then, and what else is to be done.
pub fn received(state: State, request: Request) -> (State, Effect) {
    let mut next = state;
    let effect = match request {
        Request::Subscribe if state.from || state.approved => {
            (next.from, next.pending_in) = (true, false);
            Effect::Agree
        }
        Request::Subscribe => {
            next.pending_in = true;
            if state.pending_in { Effect::Nothing } else { Effect::Deliver }
        }
        Request::Unsubscribe => {
            (next.from, next.pending_in) = (false, false);
            if state.from || state.pending_in { Effect::Deliver } else { Effect::Nothing }
        }
        Request::Subscribed => {
            next.to |= state.pending_out;
            next.pending_out = false;
            if state.pending_out { Effect::Deliver } else { Effect::Nothing }
        }
        Request::Unsubscribed => {
            (next.to, next.pending_out) = (false, false);
            if state.to || state.pending_out { Effect::Deliver } else { Effect::Nothing }
        }
    };
    (next, effect)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nine states of section A.1, as the tables name them.
    fn state(name: &str) -> State {
        State {
            to: name.starts_with("To") || name == "Both",
            from: name.starts_with("From") || name == "Both",
            pending_out: name.contains("Out"),
            pending_in: name.contains("In"),
            approved: false,
        }
    }

    const STATES: [&str; 9] =
        ["None", "None+Out", "None+In", "None+Out+In", "To", "To+In", "From", "From+Out", "Both"];

    /// Section A.2: next state and whether it is routed, in the order of `STATES`.
    #[test]
    fn the_tables_of_outbound_requests_hold() {
        let same = STATES;
        let table = [
            (
                Request::Subscribe,
                [
                    "None+Out",
                    "None+Out",
                    "None+Out+In",
                    "None+Out+In",
                    "To",
                    "To+In",
                    "From+Out",
                    "From+Out",
                    "Both",
                ],
                [true; 9],
            ),
            (
                Request::Unsubscribe,
                ["None", "None", "None+In", "None+In", "None", "None+In", "From", "From", "From"],
                [true; 9],
            ),
            (
                Request::Subscribed,
                [same[0], same[1], "From", "From+Out", same[4], "Both", same[6], same[7], same[8]],
                [false, false, true, true, false, true, false, false, false],
            ),
            (
                Request::Unsubscribed,
                [same[0], same[1], "None", "None+Out", same[4], "To", "None", "None+Out", "To"],
                [false, false, true, true, false, true, true, true, true],
            ),
        ];
        for (request, expected, routed) in table {
            for (n, name) in STATES.iter().enumerate() {
                let (mut next, goes) = sent(state(name), request);
                // Agreeing to what nobody asked for is the pre-approval of section 3.4.2.
                let early = request == Request::Subscribed && !next.from;
                assert_eq!(std::mem::take(&mut next.approved), early, "{name} {request:?}");
                assert_eq!((next, goes), (state(expected[n]), routed[n]), "{name} {request:?}");
            }
        }
    }

    /// Section A.3: next state and whether it is delivered, in the order of `STATES`.
    #[test]
    fn the_tables_of_inbound_requests_hold() {
        let same = STATES;
        let table = [
            (
                Request::Subscribe,
                [
                    "None+In",
                    "None+Out+In",
                    "None+In",
                    "None+Out+In",
                    "To+In",
                    "To+In",
                    same[6],
                    same[7],
                    same[8],
                ],
                [true, true, false, false, true, false, false, false, false],
            ),
            (
                Request::Unsubscribe,
                [same[0], same[1], "None", "None+Out", same[4], "To", "None", "None+Out", "To"],
                [false, false, true, true, false, true, true, true, true],
            ),
            (
                Request::Subscribed,
                [same[0], "To", same[2], "To+In", same[4], same[5], same[6], "Both", same[8]],
                [false, true, false, true, false, false, false, true, false],
            ),
            (
                Request::Unsubscribed,
                [same[0], "None", same[2], "None+In", "None", "None+In", same[6], "From", "From"],
                [false, true, false, true, true, true, false, true, true],
            ),
        ];
        for (request, expected, delivered) in table {
            for (n, name) in STATES.iter().enumerate() {
                let (next, effect) = received(state(name), request);
                assert_eq!(next, state(expected[n]), "{name} {request:?}");
                assert_eq!(effect == Effect::Deliver, delivered[n], "{name} {request:?}");
                let agrees = request == Request::Subscribe && state(name).from;
                assert_eq!(effect == Effect::Agree, agrees, "{name} {request:?}");
            }
        }
    }

    /// Section 3.4.2.
    #[test]
    fn who_was_approved_before_is_agreed_to_unseen_until_that_is_taken_back() {
        let (approved, routed) = sent(State::default(), Request::Subscribed);
        assert!(approved.approved && !approved.from && !routed);
        let (next, effect) = received(approved, Request::Subscribe);
        assert!(next.from && !next.pending_in && effect == Effect::Agree);
        let (next, routed) = sent(approved, Request::Unsubscribed);
        assert_eq!((next, routed), (State::default(), false));
    }
}
