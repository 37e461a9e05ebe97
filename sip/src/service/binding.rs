//! A registered contact (RFC 3261 section 10, RFC 5626 section 6).

use serde::{Deserialize, Serialize};

use crate::msg::header::{Contact, Push};
use crate::msg::{Host, NameAddr, Uri};
use crate::transport::Flow;

/// One way to one phone of one account, as its last REGISTER left it. A phone has several where it keeps several flows
/// (RFC 5626); they differ in `reg_id` and share the `id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The phone's name within the account: the same for the same device or contact address, also after a restart. The
    /// `gr` of its public address (RFC 5627) and its resource at XMPP.
    pub id: String,
    /// `user@domain`.
    pub account: String,
    /// The contact URI as the phone wrote it.
    pub contact: String,
    /// The device's id (`+sip.instance`).
    pub instance: Option<String>,
    /// The flow's number (RFC 5626); `None` for a contact that is known by its address.
    #[serde(default)]
    pub reg_id: Option<u32>,
    /// Proxies between us and the phone, the first to be visited first (RFC 3327).
    #[serde(default)]
    pub path: Vec<String>,
    /// What else the Contact field said (RFC 3840), as parameters.
    #[serde(default)]
    pub features: Option<String>,
    /// Whether the phone was given addresses of its own (RFC 5627).
    #[serde(default)]
    pub has_gruu: bool,
    /// Preference, 0 to 1000.
    pub q: u16,
    /// Call-ID of the last REGISTER.
    pub call_id: String,
    /// CSeq of the last REGISTER.
    pub cseq: u32,
    /// When the last REGISTER came, in seconds since 1970.
    #[serde(default)]
    pub registered_at: u64,
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

    /// Whether a later REGISTER left everything as it was but for the time, which it lengthened.
    pub fn is_refresh_of(&self, known: &Self) -> bool {
        let Self {
            id,
            account,
            contact,
            instance,
            reg_id,
            path,
            features,
            has_gruu,
            q,
            call_id,
            cseq,
            registered_at,
            expires_at,
            flow,
            user_agent,
        } = known;
        self.cseq > *cseq
            && self.registered_at >= *registered_at
            && self.expires_at >= *expires_at
            && self.id == *id
            && self.account == *account
            && self.contact == *contact
            && self.instance == *instance
            && self.reg_id == *reg_id
            && self.path == *path
            && self.features == *features
            && self.has_gruu == *has_gruu
            && self.q == *q
            && self.call_id == *call_id
            && self.flow == *flow
            && self.user_agent == *user_agent
    }

    /// Where the phone can be woken (RFC 8599).
    pub fn push(&self) -> Option<Push> {
        Contact(NameAddr::new(self.uri()?)).push()
    }

    /// Whether the phone is reached by one connection of its own and in no other way (RFC 7118 section 5.5).
    pub fn is_bound_to_socket(&self) -> bool {
        self.flow.protocol.is_websocket()
    }

    /// Whether the phone is reached under TLS.
    pub fn is_secure(&self) -> bool {
        self.flow.protocol.is_secure()
    }
}
