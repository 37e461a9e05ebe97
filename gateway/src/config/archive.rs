//! `[archive]`: how long history is kept (XEP-0313 section 3.2).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[archive]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Archive {
    /// Days after which a message is forgotten; 0 keeps it for ever.
    pub days: u32,
}

impl Default for Archive {
    fn default() -> Self {
        Self { days: 365 }
    }
}

impl Archive {
    /// The age at which a message is forgotten; `None` for never.
    pub fn age(&self) -> Option<Duration> {
        (self.days > 0).then(|| Duration::from_secs(u64::from(self.days) * 24 * 60 * 60))
    }
}
