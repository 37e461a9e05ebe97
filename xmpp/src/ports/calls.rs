//! What accounts want done with calls to them, as people fill it in, and what becomes of a call for it.

/// What an account wants done with calls to it. Who is called instead is an address, a number as it is dialled, or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallWishes {
    /// Nobody is to ring it.
    pub undisturbed: bool,
    /// Who is called instead, at once.
    pub always: String,
    /// Who is called instead where it is busy.
    pub busy: String,
    /// Who is called instead where nobody answers.
    pub no_answer: String,
    /// How long nobody answers before that, in seconds.
    pub seconds: String,
    /// While it is in a call it is busy for others.
    pub one_call: bool,
    /// Whose calls its phones may answer by themselves.
    pub answers: Vec<String>,
}

/// What becomes of a stanza about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallTaken {
    /// It goes where it is addressed.
    No,
    /// It stays in the archives and goes no further; a message waits there for who is away.
    Kept,
    /// The other side of the bridge has it, and answers it.
    Handled,
}
