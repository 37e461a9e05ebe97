//! SASL mechanisms on the server's side (RFC 4422): SCRAM, PLAIN (RFC 4616), EXTERNAL (RFC 4422 appendix A),
//! OAUTHBEARER (RFC 7628) and hashed tokens. The profile around them is `super::login`.
//!
//! A machine: the client's messages in, challenges and questions out. It cannot tell its caller whether a name exists:
//! for unknown names it runs to the end on keys made from a secret, so that timing and salt look real.

use super::binding::Bindings;
use super::ht::{Initiator, StoredToken, TokenMechanism};
use super::question::{Answer, Claim, Question, Secret};
use super::scram;
pub use super::scram::{LoginKeys, PasswordKeys, ScramHash, ScramKeys};
use crate::jid::Jid;

/// RFC 7628 section 3.2.2: what a client is told about a token that is not valid here.
const INVALID_TOKEN: &[u8] = br#"{"status":"invalid_token"}"#;
/// Longest password or bearer token.
const MAX_SECRET: usize = 4 * 1024;

/// A mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// SCRAM; `plus` binds to the TLS channel.
    Scram {
        /// Its hash.
        hash: ScramHash,
        /// With channel binding.
        plus: bool,
    },
    /// The password itself, over TLS only.
    Plain,
    /// A client certificate that the TLS layer has verified.
    External,
    /// A token of an issuer that is trusted here.
    OauthBearer,
    /// A token we have issued (XEP-0484).
    Token(TokenMechanism),
}

impl Mechanism {
    /// By its registered name.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(mechanism) = TokenMechanism::from_name(name) {
            return Some(Self::Token(mechanism));
        }
        let (rest, plus) = match name.strip_suffix("-PLUS") {
            Some(rest) => (rest, true),
            None => (name, false),
        };
        let hash = match rest {
            "SCRAM-SHA-1" => ScramHash::Sha1,
            "SCRAM-SHA-256" => ScramHash::Sha256,
            "SCRAM-SHA-512" => ScramHash::Sha512,
            "PLAIN" if !plus => return Some(Self::Plain),
            "EXTERNAL" if !plus => return Some(Self::External),
            "OAUTHBEARER" if !plus => return Some(Self::OauthBearer),
            _ => return None,
        };
        Some(Self::Scram { hash, plus })
    }
}

/// What may be logged in with, apart from the connection's own properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// SCRAM-SHA-512. Off while an account has no keys for it: its client would choose that, fail, and not know why.
    pub sha512: bool,
    /// PLAIN.
    pub plain: bool,
    /// OAUTHBEARER: an issuer is configured.
    pub bearer: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { sha512: true, plain: true, bearer: false }
    }
}

/// What is announced on one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// Mechanisms, strongest first; the tokens of FAST are not among them.
    pub mechanisms: Vec<&'static str>,
    /// Types of channel binding.
    pub bindings: Vec<&'static str>,
}

impl Offer {
    /// The same for every account of a domain: what a connection can do. `certified` says that the client has a
    /// certificate of an account in it.
    pub fn new(policy: Policy, bindings: &Bindings, certified: bool) -> Self {
        const PLUS: [&str; 3] = ["SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"];
        const PLAIN: [&str; 3] = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1"];
        let from = usize::from(!policy.sha512);
        let mut mechanisms = Vec::new();
        if certified {
            mechanisms.push("EXTERNAL");
        }
        if !bindings.is_empty() {
            mechanisms.extend(PLUS.iter().skip(from));
        }
        mechanisms.extend(PLAIN.iter().skip(from));
        if policy.bearer {
            mechanisms.push("OAUTHBEARER");
        }
        if policy.plain {
            mechanisms.push("PLAIN");
        }
        Self { mechanisms, bindings: bindings.names() }
    }

    /// The announced lists as XEP-0474 section 6.1 joins them.
    pub fn joined(&self) -> String {
        let sorted = |list: &[&str]| {
            let mut list = list.to_vec();
            list.sort_unstable();
            list.join("\u{1e}")
        };
        let mut joined = sorted(&self.mechanisms);
        if !self.bindings.is_empty() {
            joined.push('\u{1f}');
            joined.push_str(&sorted(&self.bindings));
        }
        joined
    }
}

/// Why an attempt failed (RFC 6120 section 6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The client has given up.
    Aborted,
    /// The token was right once.
    CredentialsExpired,
    /// Not Base64.
    IncorrectEncoding,
    /// It asks to act as somebody else.
    InvalidAuthzid,
    /// It was not offered.
    InvalidMechanism,
    /// The message is not of the mechanism's form.
    MalformedRequest,
    /// Wrong name or password, and nothing says which.
    NotAuthorized,
    /// Our storage failed.
    TemporaryAuthFailure,
}

impl Failure {
    /// The element's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::CredentialsExpired => "credentials-expired",
            Self::IncorrectEncoding => "incorrect-encoding",
            Self::InvalidAuthzid => "invalid-authzid",
            Self::InvalidMechanism => "invalid-mechanism",
            Self::MalformedRequest => "malformed-request",
            Self::NotAuthorized => "not-authorized",
            Self::TemporaryAuthFailure => "temporary-auth-failure",
        }
    }
}

/// What the attempt needs next.
#[derive(Debug)]
pub enum Step {
    /// Find out, then call [`Attempt::handle_answer`].
    Ask(Question),
    /// Send this and wait for the client.
    Challenge(Vec<u8>),
    /// It is them.
    Success(Box<Success>),
    /// It is over.
    Failed(Failure),
}

/// Somebody has proved who they are.
#[derive(Debug)]
pub struct Success {
    /// Who.
    pub account: Jid,
    /// Additional data of the success.
    pub data: Option<Vec<u8>>,
    /// The keys it was checked against, where it was a password.
    pub keys: Option<LoginKeys>,
    /// The token it was checked against.
    pub token: Option<StoredToken>,
}

/// What an attempt knows of its stream.
#[derive(Debug)]
pub struct Context<'a> {
    /// The stream's domain.
    pub domain: &'a str,
    /// Its channel bindings.
    pub bindings: &'a Bindings,
    /// Who its certificate says the client is.
    pub identities: &'a [Jid],
    /// Who the stream's header says the client is; XEP-0388 section 2.3 wants it to agree.
    pub from: Option<&'a Jid>,
    /// What was announced, from [`Offer::joined`].
    pub offered: &'a str,
    /// Ours, random and new.
    pub nonce: &'a str,
    /// The client's `user-agent` id (XEP-0388), which tokens are bound to.
    pub device: Option<&'a str>,
    /// The number the client has for this use of a token, if it counts.
    pub count: Option<u32>,
    /// Whether the token is to be forgotten after this use.
    pub invalidate: bool,
}

#[derive(Debug)]
enum State {
    Empty(Mechanism),
    PlainClaimed { claim: Claim, password: Secret },
    PlainDerived { claim: Claim, keys: LoginKeys },
    ScramClaimed { claim: Claim, hash: ScramHash, first: scram::First },
    ScramChallenged { claim: Claim, keys: LoginKeys, challenged: scram::Challenged },
    Bearer { authzid: Option<String> },
    BearerRefused,
    Proved { account: Jid },
    TokenClaimed { claim: Claim, mechanism: TokenMechanism, initiator: Initiator },
    TokenUsed { account: Jid, data: Vec<u8>, token: StoredToken },
    Done,
}

/// One attempt to log in.
#[derive(Debug)]
pub struct Attempt(State);

impl Attempt {
    /// Begins with the client's first message; without one the client is asked for it, as all mechanisms here are
    /// client-first (RFC 4422 section 5).
    pub fn start(
        mechanism: Mechanism,
        message: Option<&[u8]>,
        context: &Context<'_>,
    ) -> (Self, Step) {
        let mut attempt = Self(State::Empty(mechanism));
        let step = match message {
            Some(message) => attempt.handle_response(message, context),
            None => Step::Challenge(Vec::new()),
        };
        (attempt, step)
    }

    /// A message of the client.
    pub fn handle_response(&mut self, message: &[u8], context: &Context<'_>) -> Step {
        let next = match std::mem::replace(&mut self.0, State::Done) {
            State::Empty(Mechanism::Plain) => plain(message, context),
            State::Empty(Mechanism::Scram { hash, plus }) => {
                begin_scram(hash, plus, message, context)
            }
            State::Empty(Mechanism::External) => external(message, context),
            State::Empty(Mechanism::OauthBearer) => bearer(message, context),
            State::Empty(Mechanism::Token(mechanism)) => token(mechanism, message, context),
            State::ScramChallenged { claim, keys, challenged } => {
                challenged.finish(message).and_then(|data| {
                    let account = claim.account.ok_or(Failure::NotAuthorized)?;
                    let keys = Some(keys);
                    Ok((State::Done, success(account, Some(data), keys, None)))
                })
            }
            State::BearerRefused => Err(Failure::NotAuthorized),
            _ => Err(Failure::MalformedRequest),
        };
        self.turn(next)
    }

    /// The answer to a question.
    pub fn handle_answer(&mut self, answer: Answer, context: &Context<'_>) -> Step {
        let next = match (std::mem::replace(&mut self.0, State::Done), answer) {
            (_, Answer::Unavailable) => Err(Failure::TemporaryAuthFailure),
            (State::PlainClaimed { claim, password }, Answer::Keys(keys)) => {
                let (salt, iterations) = keys.salt();
                let question = Question::Derive { password, salt, iterations };
                Ok((State::PlainDerived { claim, keys }, Step::Ask(question)))
            }
            (State::PlainDerived { claim, keys }, Answer::Derived { sha256, sha1 }) => {
                check_plain(claim, keys, &sha256, &sha1)
            }
            (State::ScramClaimed { claim, hash, first }, Answer::Keys(keys)) => {
                let (own, known) = keys.of(hash);
                let (challenged, data) = first.challenge(hash, own, known, context.offered);
                let state = State::ScramChallenged { claim, keys, challenged };
                Ok((state, Step::Challenge(data)))
            }
            (State::Bearer { authzid }, Answer::Identity(name)) => {
                identified(name, authzid.as_deref(), context)
            }
            (State::Proved { account }, Answer::Exists(true)) => {
                Ok((State::Done, success(account, None, None, None)))
            }
            (State::TokenClaimed { claim, mechanism, initiator }, Answer::Tokens(tokens)) => {
                check_token(claim, mechanism, &initiator, &tokens, context)
            }
            (State::TokenUsed { account, data, token }, Answer::Used(true)) => {
                Ok((State::Done, success(account, Some(data), None, Some(token))))
            }
            _ => Err(Failure::NotAuthorized),
        };
        self.turn(next)
    }

    fn turn(&mut self, next: Next) -> Step {
        match next {
            Ok((state, step)) => {
                self.0 = state;
                step
            }
            Err(failure) => Step::Failed(failure),
        }
    }
}

type Next = Result<(State, Step), Failure>;

fn success(
    account: Jid,
    data: Option<Vec<u8>>,
    keys: Option<LoginKeys>,
    token: Option<StoredToken>,
) -> Step {
    Step::Success(Box::new(Success { account, data, keys, token }))
}

/// Nobody acts for somebody else: an authorization identity is the account's own address (RFC 6120 section 6.3.8).
fn check_authzid(
    authzid: Option<&str>,
    claim: &Claim,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let Some(authzid) = authzid.filter(|authzid| !authzid.is_empty()) else { return Ok(()) };
    let claimed = claim.account.as_ref();
    if context.from.is_some_and(|from| claimed != Some(&from.bare())) {
        return Err(Failure::InvalidAuthzid);
    }
    match Jid::parse(authzid) {
        Ok(jid) if claimed == Some(&jid) => Ok(()),
        // The local part alone, as some clients send it.
        Ok(_) if authzid == claim.username => Ok(()),
        _ => Err(Failure::InvalidAuthzid),
    }
}

fn plain(message: &[u8], context: &Context<'_>) -> Next {
    let text = std::str::from_utf8(message).map_err(|_| Failure::MalformedRequest)?;
    let mut parts = text.split('\0');
    let (Some(authzid), Some(name), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Failure::MalformedRequest);
    };
    if name.is_empty() || password.is_empty() || password.len() > MAX_SECRET {
        return Err(Failure::MalformedRequest);
    }
    let claim = Claim::new(name, context.domain);
    check_authzid(Some(authzid), &claim, context)?;
    let question = Question::Keys(claim.clone());
    let password = Secret(password.to_owned());
    Ok((State::PlainClaimed { claim, password }, Step::Ask(question)))
}

/// Both hashes were derived, whichever the account has keys of: the time says nothing about it.
fn check_plain(claim: Claim, keys: LoginKeys, sha256: &ScramKeys, sha1: &ScramKeys) -> Next {
    let (own256, known256) = keys.of(ScramHash::Sha256);
    let (own1, known1) = keys.of(ScramHash::Sha1);
    let right256 = own256.matches(sha256) & known256;
    let right1 = own1.matches(sha1) & known1 & !known256;
    match claim.account {
        Some(account) if right256 | right1 => {
            Ok((State::Done, success(account, None, Some(keys), None)))
        }
        _ => Err(Failure::NotAuthorized),
    }
}

fn begin_scram(hash: ScramHash, plus: bool, message: &[u8], context: &Context<'_>) -> Next {
    let first = scram::First::parse(message, plus, context.bindings, context.nonce)?;
    let claim = Claim::new(&first.username, context.domain);
    check_authzid(first.authzid.as_deref(), &claim, context)?;
    let question = Question::Keys(claim.clone());
    Ok((State::ScramClaimed { claim, hash, first }, Step::Ask(question)))
}

/// XEP-0178 section 2: the address is that of the certificate, or the one of several that the client names.
fn external(message: &[u8], context: &Context<'_>) -> Next {
    let authzid = std::str::from_utf8(message).map_err(|_| Failure::MalformedRequest)?;
    let own: Vec<&Jid> =
        context.identities.iter().filter(|jid| jid.domain() == context.domain).collect();
    let account = match (authzid, own.as_slice()) {
        (_, []) => return Err(Failure::NotAuthorized),
        ("", [only]) => (*only).clone(),
        ("", _) => return Err(Failure::InvalidAuthzid),
        (named, all) => {
            let named = Jid::parse(named).map_err(|_| Failure::InvalidAuthzid)?;
            let found = all.iter().find(|jid| ***jid == named);
            (**found.ok_or(Failure::InvalidAuthzid)?).clone()
        }
    };
    let question = Question::Exists(account.clone());
    Ok((State::Proved { account }, Step::Ask(question)))
}

/// RFC 7628 section 3.1: a GS2 header, then pairs, each ended by a control character.
fn bearer(message: &[u8], context: &Context<'_>) -> Next {
    const BAD: Failure = Failure::MalformedRequest;
    let text = std::str::from_utf8(message).map_err(|_| BAD)?;
    let (header, pairs) = text.split_once('\u{1}').ok_or(BAD)?;
    let (flag, rest) = header.split_once(',').ok_or(BAD)?;
    let authzid = rest.strip_suffix(',').ok_or(BAD)?;
    let authzid = match authzid {
        "" => None,
        claim => Some(claim.strip_prefix("a=").and_then(scram::saslname).ok_or(BAD)?),
    };
    if !matches!(flag, "n" | "y") {
        return Err(BAD);
    }
    let pairs = pairs.strip_suffix("\u{1}\u{1}").ok_or(BAD)?;
    let auth = pairs.split('\u{1}').find_map(|pair| pair.strip_prefix("auth=")).ok_or(BAD)?;
    let token = match auth.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        // An empty header asks what is needed (section 4.3); another scheme is not ours.
        _ => return Ok((State::BearerRefused, Step::Challenge(INVALID_TOKEN.to_vec()))),
    };
    if token.len() > MAX_SECRET {
        return Err(BAD);
    }
    let token = Secret(token.to_owned());
    let question = Question::Bearer { domain: context.domain.to_owned(), token };
    Ok((State::Bearer { authzid }, Step::Ask(question)))
}

fn identified(name: Option<String>, authzid: Option<&str>, context: &Context<'_>) -> Next {
    let refused = (State::BearerRefused, Step::Challenge(INVALID_TOKEN.to_vec()));
    let Some(name) = name else { return Ok(refused) };
    let claim = Claim::new(&name, context.domain);
    check_authzid(authzid, &claim, context)?;
    let Some(account) = claim.account else { return Ok(refused) };
    let question = Question::Exists(account.clone());
    Ok((State::Proved { account }, Step::Ask(question)))
}

fn token(mechanism: TokenMechanism, message: &[u8], context: &Context<'_>) -> Next {
    let initiator = Initiator::parse(message)?;
    // A token belongs to a device: one that does not say which it is has none (XEP-0484 section 4.1).
    let device = context.device.ok_or(Failure::MalformedRequest)?.to_owned();
    let claim = Claim::new(&initiator.username, context.domain);
    let question = Question::Tokens { claim: claim.clone(), device };
    Ok((State::TokenClaimed { claim, mechanism, initiator }, Step::Ask(question)))
}

fn check_token(
    claim: Claim,
    mechanism: TokenMechanism,
    initiator: &Initiator,
    tokens: &[StoredToken],
    context: &Context<'_>,
) -> Next {
    let binding = mechanism.data(context.bindings).ok_or(Failure::NotAuthorized)?;
    let found = initiator.check(mechanism, tokens, binding);
    let (token, data) = found.ok_or(Failure::NotAuthorized)?;
    let (Some(account), Some(device)) = (claim.account, context.device) else {
        return Err(Failure::NotAuthorized);
    };
    if token.expired {
        return Err(Failure::CredentialsExpired);
    }
    let question = Question::UseToken {
        account: account.clone(),
        device: device.to_owned(),
        token: token.id,
        count: context.count,
        invalidate: context.invalidate,
    };
    Ok((State::TokenUsed { account, data, token }, Step::Ask(question)))
}

#[cfg(test)]
#[path = "sasl_tests.rs"]
mod tests;
