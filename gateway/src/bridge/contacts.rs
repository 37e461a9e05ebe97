//! SIP contacts as XMPP resources: each registered phone is attached to its account's router (RFC 8048, XEP-0030).
//!
//! A phone has no roster and no presence of its own to publish, so the gateway speaks for it: available while its
//! binding lives, "on the phone" while it is in a call. The features are those of a client that takes messages with
//! receipts and typing and can be called with Jingle, which is what makes other people's apps show a call button.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use tandem_sip::ports::Binding;
use tandem_xmpp::Server;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::service::{Attachment, DeviceKind, Show};

/// The disco features of a phone behind the gateway (`interop.md` 6.1), beside those of a call.
const PHONE_FEATURES: [&str; 6] = [
    "http://jabber.org/protocol/caps",
    "http://jabber.org/protocol/chatstates",
    "http://jabber.org/protocol/disco#info",
    "urn:xmpp:jingle:transfer:0",
    "urn:xmpp:ping",
    "urn:xmpp:receipts",
];

/// A registered phone, one that is not and says something of itself, and a caller that is not registered.
static PHONE: LazyLock<Arc<DeviceKind>> =
    LazyLock::new(|| kind(PHONE_FEATURES.iter().chain(&super::echo_call::FEATURES)));
static UNREGISTERED: LazyLock<Arc<DeviceKind>> = LazyLock::new(|| kind([].iter()));
static GUEST: LazyLock<Arc<DeviceKind>> = LazyLock::new(|| {
    kind(super::echo_call::FEATURES.iter().chain(&["http://jabber.org/protocol/disco#info"]))
});

#[derive(Debug, Default)]
struct State {
    /// By account, with the JID that each appears as, the preferred first.
    phones: HashMap<Jid, Vec<(Jid, Arc<Binding>)>>,
    /// Phones that are not registered any more, but can be woken (RFC 8599).
    asleep: HashMap<Jid, Vec<(Jid, Arc<Binding>)>>,
    /// Full JIDs with the number of their calls.
    in_call: HashMap<Jid, usize>,
    /// What phones say of themselves.
    looks: HashMap<Jid, Look>,
}

/// Phones that came and went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Who came.
    pub new: Vec<Jid>,
    /// Who went.
    pub gone: Vec<Jid>,
}

/// How a phone says that its user can be reached (RFC 3863).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Whether it can be.
    pub is_open: bool,
    /// Sub-state.
    pub show: Option<Show>,
    /// In its user's words.
    pub status: Option<String>,
}

/// The phones of every account. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Contacts(Arc<Mutex<State>>, Arc<tokio::sync::Mutex<()>>);

impl Contacts {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The phone behind a full JID.
    pub fn binding(&self, device: &Jid) -> Option<Arc<Binding>> {
        let state = self.state();
        let phones = state.phones.get(&device.bare())?;
        phones.iter().find(|(jid, _)| jid == device).map(|(_, binding)| binding.clone())
    }

    /// All phones of an account, with the JID each appears as, the preferred first.
    pub fn of(&self, account: &Jid) -> Vec<(Jid, Arc<Binding>)> {
        self.state().phones.get(account).cloned().unwrap_or_default()
    }

    /// The phones of an account that sleep, with the JID each had.
    pub fn asleep(&self, account: &Jid) -> Vec<(Jid, Arc<Binding>)> {
        self.state().asleep.get(account).cloned().unwrap_or_default()
    }

    /// Replaces those.
    pub fn set_asleep(&self, account: &Jid, asleep: &[Arc<Binding>]) {
        let phone = |binding: &Arc<Binding>| {
            Some((account.with_resource(&binding.id).ok()?, binding.clone()))
        };
        let phones: Vec<_> = asleep.iter().filter_map(phone).collect();
        let mut state = self.state();
        match phones.is_empty() {
            true => state.asleep.remove(account),
            false => state.asleep.insert(account.clone(), phones),
        };
    }

    /// The JID of the phone of `account` with this binding, or of its only phone.
    pub fn device(&self, account: &Jid, binding: Option<&str>) -> Option<Jid> {
        let state = self.state();
        let phones = state.phones.get(account)?;
        let found = match binding {
            Some(id) => phones.iter().find(|(_, known)| known.id == id),
            None => phones.first().filter(|_| phones.len() == 1),
        };
        found.map(|(jid, _)| jid.clone())
    }

    /// Whether this device is in a call.
    pub fn is_in_call(&self, device: &Jid) -> bool {
        self.state().in_call.contains_key(device)
    }

    /// Replaces the account's phones and says which appeared and which went.
    pub fn replace(&self, account: &Jid, bindings: &[Arc<Binding>]) -> Change {
        let mut state = self.state();
        let before = state.phones.remove(account).unwrap_or_default();
        let mut known: HashMap<&str, &Jid> =
            before.iter().map(|(jid, binding)| (binding.id.as_str(), jid)).collect();
        let mut new = Vec::new();
        let mut after = Vec::with_capacity(bindings.len());
        for binding in bindings {
            let jid = match known.remove(binding.id.as_str()) {
                Some(jid) => jid.clone(),
                None => {
                    let Ok(jid) = account.with_resource(&binding.id) else { continue };
                    new.push(jid.clone());
                    jid
                }
            };
            after.push((jid, binding.clone()));
        }
        let gone = known.into_values().cloned().collect();
        after.sort_by(|(a, x), (b, y)| (Reverse(x.q), a).cmp(&(Reverse(y.q), b)));
        if !after.is_empty() {
            state.phones.insert(account.clone(), after);
        }
        Change { new, gone }
    }

    /// One call more or less on a device. True when it is the first, or was the last.
    fn count_call(&self, device: &Jid, begins: bool) -> bool {
        let mut state = self.state();
        if begins {
            let calls = state.in_call.entry(device.clone()).or_insert(0);
            *calls += 1;
            return *calls == 1;
        }
        let Some(calls) = state.in_call.get_mut(device) else { return false };
        *calls = calls.saturating_sub(1);
        let was_last = *calls == 0;
        if was_last {
            state.in_call.remove(device);
        }
        was_last
    }

    /// Shows that a phone is in a call, or is no more, to everybody who may see it.
    pub async fn show_call(&self, xmpp: &Server, device: &Jid, begins: bool) {
        if self.count_call(device, begins) && self.binding(device).is_some() {
            self.show(xmpp, device).await;
        }
    }

    /// Takes what a phone says of itself, `None` when that is over, and shows it.
    pub async fn set_look(&self, xmpp: &Server, device: &Jid, look: Option<Look>) {
        {
            let mut state = self.state();
            match look {
                Some(look) => state.looks.insert(device.clone(), look),
                None => state.looks.remove(device),
            };
        }
        self.show(xmpp, device).await;
    }

    /// Shows a phone as it is: what it says of itself, and its calls unless it says that nobody is there.
    async fn show(&self, xmpp: &Server, device: &Jid) {
        let _turn = self.1.lock().await;
        let (is_phone, in_call, look) = {
            let state = self.state();
            let phones = state.phones.get(&device.bare());
            let is_phone = phones.is_some_and(|phones| phones.iter().any(|(jid, _)| jid == device));
            (is_phone, state.in_call.contains_key(device), state.looks.get(device).cloned())
        };
        match look {
            // Not registered: it is there as long as it says so.
            Some(look) if !is_phone && look.is_open => {
                let (show, status) = (look.show, look.status);
                xmpp.attach(device, Attachment { show, status, ..unregistered() }).await;
            }
            _ if !is_phone => xmpp.detach(device).await,
            Some(look) if !look.is_open => xmpp.hide(device).await,
            _ if in_call => xmpp.set_presence(device, Some(Show::Dnd), Some(ON_THE_PHONE)).await,
            Some(look) => xmpp.set_presence(device, look.show, look.status.as_deref()).await,
            None => xmpp.set_presence(device, None, None).await,
        }
    }
}

/// What an app shows beside a contact who is in a call.
pub const ON_THE_PHONE: &str = "On the phone";

/// Brings the XMPP side in line with a change.
pub async fn sync(xmpp: &Server, contacts: &Contacts, change: &Change) {
    for device in &change.gone {
        xmpp.detach(device).await;
    }
    for device in &change.new {
        xmpp.attach(device, phone()).await;
        if contacts.state().looks.contains_key(device) {
            contacts.show(xmpp, device).await;
        }
    }
}

fn kind<'f>(features: impl Iterator<Item = &'f &'static str>) -> Arc<DeviceKind> {
    DeviceKind::new(("client", "phone", "Phone"), features.copied())
}

fn phone() -> Attachment {
    Attachment { priority: 0, show: None, status: None, kind: PHONE.clone() }
}

/// What publishes without being registered: it is seen, and gets nothing.
fn unregistered() -> Attachment {
    Attachment { priority: -1, kind: UNREGISTERED.clone(), ..phone() }
}

/// A caller that is not registered: reachable for the time of its call, and for nothing else.
pub(super) fn guest() -> Attachment {
    Attachment { priority: -1, kind: GUEST.clone(), ..phone() }
}
