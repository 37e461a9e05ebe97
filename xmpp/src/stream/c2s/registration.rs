//! Accounts that are made before login, on a stream that is secured (XEP-0077 section 3.1.1, XEP-0445).

use super::{Action, C2s, State, Transport};
use crate::xml::{Element, ns};

const REGISTER: &str = "jabber:iq:register";
const FEATURE: &str = "http://jabber.org/features/iq-register";
const TOKEN_FEATURE: &str = "urn:xmpp:ibr-token:0";
const PREAUTH: &str = "urn:xmpp:pars:0";

/// Whether accounts can be made on a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Registers {
    /// By anybody.
    pub open: bool,
    /// With the token of an invitation.
    pub by_token: bool,
}

impl Registers {
    /// The stream features.
    pub(super) fn features(self) -> impl Iterator<Item = Element> {
        let token = self.by_token.then(|| Element::new("register", TOKEN_FEATURE));
        let any = (self.open || self.by_token).then(|| Element::new("register", FEATURE));
        token.into_iter().chain(any)
    }
}

impl C2s {
    /// Lets accounts be made.
    #[must_use]
    pub fn with_registration(mut self, registers: Registers) -> Self {
        self.registers = registers;
        self
    }

    /// Whether this is a request about a new account that may be made here.
    pub(super) fn is_registration(&self, iq: &Element) -> bool {
        let about = iq.elements().next();
        let known = about.is_some_and(|e| e.is("query", REGISTER) || e.is("preauth", PREAUTH));
        let offered = self.registers.open || self.registers.by_token;
        known && offered && self.account.is_none() && self.transport != Transport::Tcp
    }

    pub(super) fn ask_to_register(&mut self, iq: &Element) {
        self.state = State::Registering;
        let domain = self.domain.clone();
        self.actions.push_back(Action::Register { domain, iq: Box::new(iq.clone()) });
    }

    /// The answer to an [`Action::Register`]. The client may go on to log in.
    pub fn handle_registered(&mut self, answer: &Element) {
        if matches!(self.state, State::Registering) {
            debug_assert_eq!(answer.ns(), ns::CLIENT);
            self.state = State::Features;
            self.send(answer);
            self.drain();
        }
    }
}
