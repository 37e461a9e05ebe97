//! RFC 3261 section 22.1, RFC 7616 sections 3.4.6 and 5.4: what a server does with an answer.
//!
//! Two steps, because the password's hash comes from storage: [`Verifier::read`] finds whose it is, then
//! [`Verifier::verify`] judges. An unknown user goes through `verify` too, with `None`: it takes as long and ends alike.

use std::time::Instant;

use subtle::ConstantTimeEq;

use super::algorithm::Algorithm;
use super::digest::{Challenge, Credentials, Qop};
use super::nonce::{NonceState, Nonces};
use crate::msg::{Name, Request};

/// What a request brought along for one realm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presented {
    /// Nothing that can be judged: challenge.
    Nothing,
    /// An answer: get the hash of its user and call [`Verifier::verify`].
    Answer(Box<Credentials>),
}

/// What an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The user is who the answer says.
    Granted,
    /// Right, but for a nonce that is too old or a count used before: challenge with `stale=true`, count no failure.
    Stale,
    /// Wrong: challenge, count a failure.
    Denied,
}

/// Challenges and judges answers for one realm.
#[derive(Debug)]
pub struct Verifier {
    realm: String,
    algorithms: Vec<Algorithm>,
    qop: Vec<Qop>,
    nonces: Nonces,
}

impl Verifier {
    /// `algorithms` are offered in this order; the strongest should be first ([`Algorithm::ALL`]).
    pub fn new(realm: &str, algorithms: &[Algorithm], nonces: Nonces) -> Self {
        let (algorithms, qop) = (algorithms.to_vec(), vec![Qop::Auth]);
        Verifier { realm: realm.to_owned(), algorithms, qop, nonces }
    }

    /// Offers answers that cover the body, too (`auth-int`). They are taken whether offered or not.
    #[must_use]
    pub fn with_auth_int(mut self, offered: bool) -> Self {
        if offered {
            self.qop.push(Qop::AuthInt);
        }
        self
    }

    /// The realm.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// One challenge for each algorithm, in order, each for a WWW-Authenticate of its own (RFC 8760 section 2.3).
    pub fn challenges(&mut self, is_stale: bool, now: Instant) -> Vec<Challenge> {
        let nonce = self.nonces.make(&self.realm, now);
        let challenge = |algorithm: &Algorithm| Challenge {
            realm: self.realm.clone(),
            nonce: nonce.clone(),
            opaque: None,
            is_stale,
            algorithm: *algorithm,
            qop: self.qop.clone(),
        };
        self.algorithms.iter().map(challenge).collect()
    }

    /// The answer for our realm in the Authorization fields of a request; others are passed over.
    pub fn read(&self, request: &Request) -> Presented {
        let answers = request
            .headers
            .get_all(Name::Authorization)
            .filter_map(|value| Credentials::parse(value).ok());
        let is_ours = |answer: &Credentials| {
            answer.realm == self.realm && self.algorithms.contains(&answer.algorithm)
        };
        answers
            .into_iter()
            .find(is_ours)
            .map_or(Presented::Nothing, |answer| Presented::Answer(Box::new(answer)))
    }

    /// Whether a nonce is one of ours, however old.
    pub fn made(&self, nonce: &str, now: Instant) -> bool {
        self.nonces.judge(nonce, &self.realm, now) != NonceState::Foreign
    }

    /// Judges an answer. `ha1` is what is stored for its user, realm and algorithm; `None` when there is no such user.
    /// An answer without `qop` is denied: it could be replayed without end.
    pub fn verify(
        &mut self,
        answer: &Credentials,
        ha1: Option<&str>,
        request: &Request,
        now: Instant,
    ) -> Outcome {
        let expected =
            answer.expected(ha1.unwrap_or_default(), request.method.as_str(), &request.body);
        let given = answer.response.to_ascii_lowercase();
        let is_right = bool::from(expected.as_bytes().ct_eq(given.as_bytes())) && ha1.is_some();
        let Some(protection) = answer.protection.as_ref().filter(|_| is_right) else {
            return Outcome::Denied;
        };
        match self.nonces.judge(&answer.nonce, &self.realm, now) {
            NonceState::Foreign | NonceState::Stale => Outcome::Stale,
            NonceState::Fresh if self.nonces.take(&answer.nonce, protection.count, now) => {
                Outcome::Granted
            }
            NonceState::Fresh => Outcome::Stale,
        }
    }
}
