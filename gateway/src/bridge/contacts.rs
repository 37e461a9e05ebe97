//! SIP contacts as XMPP resources: each registered phone is attached to its account's router (RFC 8048, XEP-0030).
//!
//! A phone has no roster and no presence of its own to publish, so the gateway speaks for it: available while its
//! binding lives. The features are those of a client
//! that takes messages with receipts and typing.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tandem_sip::ports::Binding;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::service::{Attachment, Show};
use tandem_xmpp::Server;

/// The disco features of a phone behind the gateway (`interop.md` 6.1).
pub const PHONE_FEATURES: &[&str] = &[
    "http://jabber.org/protocol/caps",
    "http://jabber.org/protocol/chatstates",
    "http://jabber.org/protocol/disco#info",
    "urn:xmpp:ping",
    "urn:xmpp:receipts",
];

/// The phones of every account, by the resource they appear as.
#[derive(Debug, Clone, Default)]
pub struct Contacts(Arc<Mutex<HashMap<Jid, HashMap<String, Binding>>>>);

impl Contacts {
    /// The phone behind a full JID.
    pub fn binding(&self, device: &Jid) -> Option<Binding> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&device.bare())?.get(device.resource()?).cloned()
    }

    /// All phones of an account, with the JID each appears as.
    pub fn of(&self, account: &Jid) -> Vec<(Jid, Binding)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bindings) = all.get(account) else { return Vec::new() };
        bindings
            .iter()
            .filter_map(|(res, b)| Some((account.with_resource(res).ok()?, b.clone())))
            .collect()
    }

    /// Replaces the account's phones and says which appeared and which went.
    fn replace(&self, account: &Jid, bindings: &[Binding]) -> (Vec<Jid>, Vec<Jid>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before: HashSet<String> =
            all.get(account).map(|b| b.keys().cloned().collect()).unwrap_or_default();
        let after: HashMap<String, Binding> =
            bindings.iter().map(|b| (b.id.to_string(), b.clone())).collect();
        let jid = |res: &String| account.with_resource(res).ok();
        let new = after.keys().filter(|r| !before.contains(*r)).filter_map(jid).collect();
        let gone = before.iter().filter(|r| !after.contains_key(*r)).filter_map(jid).collect();
        if after.is_empty() {
            all.remove(account);
        } else {
            all.insert(account.clone(), after);
        }
        (new, gone)
    }
}

/// Brings the XMPP side in line with the bindings of `account`; gives the phones that are new.
pub async fn sync(
    xmpp: &Server,
    contacts: &Contacts,
    account: &Jid,
    bindings: &[Binding],
) -> Vec<Jid> {
    let (new, gone) = contacts.replace(account, bindings);
    for device in gone {
        xmpp.detach(&device).await;
    }
    for device in &new {
        xmpp.attach(device, phone()).await;
    }
    new
}

fn phone() -> Attachment {
    Attachment {
        priority: 0,
        show: None,
        status: None,
        features: PHONE_FEATURES.iter().map(|f| (*f).to_owned()).collect(),
        identity: ("client".into(), "phone".into(), "Phone".into()),
    }
}
