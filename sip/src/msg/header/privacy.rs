//! RFC 3323 section 4.2, RFC 3325 section 9.3, RFC 7044: Privacy.

use std::fmt;

use super::{Header, HeaderError};
use crate::msg::name::Name;
use crate::msg::scan;

/// What the sender wants to be hidden: words between semicolons.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Privacy(pub Vec<String>);

impl Privacy {
    /// Whether a word (`id`, `header`, `session`, `user`, `history`, `critical`, `none`) is there.
    pub fn has(&self, word: &str) -> bool {
        self.0.iter().any(|known| known.eq_ignore_ascii_case(word))
    }
}

impl Header for Privacy {
    const NAME: Name = Name::Privacy;
    fn parse(value: &str) -> Result<Self, HeaderError> {
        // The grammar knows semicolons only. COMPAT: some write commas.
        let words: Vec<&str> = value.split([';', ',']).map(scan::trim).collect();
        if !words.iter().all(|word| scan::is_token(word)) {
            return Err(HeaderError::malformed(Self::NAME));
        }
        Ok(Privacy(words.into_iter().map(str::to_ascii_lowercase).collect()))
    }
}

impl fmt::Display for Privacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(";"))
    }
}
