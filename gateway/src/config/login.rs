//! `[login]`: how clients prove who they are.

use serde::{Deserialize, Serialize};

/// `[login]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Login {
    /// Whether PLAIN is offered.
    pub plain: bool,
    /// Days that a device may be away and still log in by its token.
    pub token_days: u16,
}

impl Default for Login {
    fn default() -> Self {
        Self { plain: true, token_days: 21 }
    }
}
