//! What a login must know from outside and what is answered: the port calls of a stream, as data.

use std::fmt;

use super::ht::{IssuedToken, StoredToken, TokenMechanism};
use super::scram::{LoginKeys, ScramHash, ScramKeys};
use crate::jid::Jid;

/// Who somebody claims to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The name as given.
    pub username: String,
    /// The account of that name in the stream's domain; `None` when the name is no local part of an address.
    pub account: Option<Jid>,
}

impl Claim {
    /// A name in a domain.
    pub fn new(username: &str, domain: &str) -> Self {
        let account = Jid::new(Some(username), domain, None).ok();
        Self { username: username.to_owned(), account }
    }

    /// The name in the one form all its spellings share.
    pub fn name(&self) -> &str {
        self.account.as_ref().and_then(Jid::node).unwrap_or(&self.username)
    }
}

/// A password that a client has sent, kept out of logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What a login asks its driver. Each is answered once, by [`super::c2s::C2s::handle_answer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The keys of an account: [`Answer::Keys`]. The answer waits as long as wrong guesses have made it.
    Keys(Claim),
    /// Keys derived from this password, which is slow: [`Answer::Derived`].
    Derive {
        /// What the client sent.
        password: Secret,
        /// Salt to derive with.
        salt: Vec<u8>,
        /// Rounds.
        iterations: u32,
    },
    /// Whose bearer token this is in a domain: [`Answer::Identity`].
    Bearer {
        /// The stream's.
        domain: String,
        /// The token.
        token: Secret,
    },
    /// Whether there is such an account and it may log in: [`Answer::Exists`].
    Exists(Jid),
    /// The login tokens of an account's device: [`Answer::Tokens`]. Waits like `Keys`.
    Tokens {
        /// Whose.
        claim: Claim,
        /// The client's `user-agent` id.
        device: String,
    },
    /// Notes that a token was used, before anything follows from that: [`Answer::Used`].
    UseToken {
        /// Whose.
        account: Jid,
        /// The client's `user-agent` id.
        device: String,
        /// Which.
        token: i64,
        /// What the client has counted, if it counts.
        count: Option<u32>,
        /// Whether the device's tokens are to be forgotten.
        invalidate: bool,
    },
    /// Adds the keys of a hash that the account lacks: [`Answer::Upgraded`].
    Upgrade {
        /// Whose.
        account: Jid,
        /// Of which hash.
        hash: ScramHash,
        /// The keys.
        keys: ScramKeys,
    },
    /// Makes a login token: [`Answer::Issued`].
    IssueToken {
        /// Whose.
        account: Jid,
        /// The client's `user-agent` id.
        device: String,
        /// What it is for.
        mechanism: TokenMechanism,
    },
}

/// What the driver found out.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Real or made-up keys.
    Keys(LoginKeys),
    /// The password's keys.
    Derived {
        /// By SHA-256.
        sha256: ScramKeys,
        /// By SHA-1.
        sha1: ScramKeys,
    },
    /// The local part the token was issued to; `None` when it is not valid here.
    Identity(Option<String>),
    /// Whether the account exists.
    Exists(bool),
    /// The device's tokens; none for an unknown account.
    Tokens(Vec<StoredToken>),
    /// Whether the use counts: false for one that was counted before.
    Used(bool),
    /// The keys are stored.
    Upgraded,
    /// The token.
    Issued(IssuedToken),
    /// Our own store failed.
    Unavailable,
}
