//! A registered contact (RFC 3261 section 10, RFC 5626 section 6).

use serde::{Deserialize, Serialize};

use crate::msg::{Host, Uri};
use crate::transport::Flow;

/// One phone of one account, as its last REGISTER left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Its name within the account: the same for the same device or contact address, also after a restart.
    pub id: String,
    /// `user@domain`.
    pub account: String,
    /// The contact URI as the phone wrote it.
    pub contact: String,
    /// The device's id (`+sip.instance`).
    pub instance: Option<String>,
    /// Preference, 0 to 1000.
    pub q: u16,
    /// Call-ID of the last REGISTER.
    pub call_id: String,
    /// CSeq of the last REGISTER.
    pub cseq: u32,
    /// When it ends, in seconds since 1970.
    pub expires_at: u64,
    /// Where the last REGISTER came from.
    pub flow: Flow,
    /// What the phone calls itself.
    pub user_agent: Option<String>,
}

impl Binding {
    /// The contact URI, read; `None` cannot be for one that was accepted.
    pub fn uri(&self) -> Option<Uri> {
        Uri::parse(&self.contact).ok()
    }

    /// The address of record.
    pub fn account_uri(&self) -> Option<Uri> {
        let (user, domain) = self.account.rsplit_once('@')?;
        Some(Uri::sip(Some(user), Host::parse(domain)?))
    }

    /// Whether the phone is reached under TLS.
    pub fn is_secure(&self) -> bool {
        self.flow.protocol.is_secure()
    }
}
