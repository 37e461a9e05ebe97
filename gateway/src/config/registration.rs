//! `[registration]`: how accounts come to be over XMPP (XEP-0077, XEP-0401).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_xmpp::config::RegistrationConfig;

/// Who may make accounts and who may invite.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registration {
    /// Whether anybody may make an account.
    pub open: bool,
    /// Accounts that one address may make in an hour.
    pub per_hour: usize,
    /// Whether who was invited may make one.
    pub by_invite: bool,
    /// Whether members may invite, not only administrators.
    pub members_invite: bool,
    /// Days an invitation can be used.
    pub invite_days: u32,
}

impl Default for Registration {
    fn default() -> Self {
        Self { open: false, per_hour: 3, by_invite: true, members_invite: true, invite_days: 7 }
    }
}

impl super::Config {
    /// Where the pages about invitations are; a token goes to the end.
    pub fn invite_url(&self) -> String {
        format!("{}/invite/", self.web_url())
    }

    /// As the XMPP server wants it.
    pub(super) fn registration_config(&self) -> RegistrationConfig {
        let set = &self.registration;
        RegistrationConfig {
            open: set.open,
            per_hour: set.per_hour,
            by_invite: set.by_invite,
            members_invite: set.members_invite,
            invite_lifetime: Duration::from_secs(u64::from(set.invite_days) * 24 * 60 * 60),
            landing_url: (!self.listen.https.is_empty()).then(|| self.invite_url()),
        }
    }
}
