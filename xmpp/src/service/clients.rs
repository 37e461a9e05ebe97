//! What the clients of our accounts and of their contacts can do, by the capabilities in their presence (XEP-0115,
//! XEP-0390): a hash that was proven once is never asked for again.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Server;
use super::caps::{CAPS, CAPS2, Info};
use super::disco::{INFO, QUESTION};
use crate::jid::Jid;
use crate::ports::StoreError;
use crate::stanza::Stanza;
use crate::xml::{Element, ns};

const HASHES: &str = "urn:xmpp:hashes:2";
/// A feature that asks for the news of a node (XEP-0060 section 9.2).
const NOTIFY: &str = "+notify";
/// Most features remembered of one client.
const MAX_FEATURES: usize = 256;
/// Hashes whose meaning is remembered; the oldest go.
const MAX_HASHES: usize = 2_000;
/// Features that are remembered by hash in bytes; of a client with more they are remembered for it alone.
const MAX_FEATURE_BYTES: usize = 16 * 1024;
/// Devices of contacts elsewhere that are remembered, and of one contact.
const MAX_DEVICES: usize = 50_000;
const MAX_DEVICES_OF_ONE: usize = 20;
/// Longest node and hash that a client may name.
const MAX_CLAIM: usize = 512;

/// What a client says about itself: a hash over all it can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// The algorithm and the hash; `None` when it cannot be proven.
    key: Option<String>,
    /// Where the client is asked for what the hash stands for.
    node: String,
}

/// Features, shared by all clients of a kind.
pub(super) type Features = Arc<[String]>;

/// A device of a contact elsewhere.
struct Device {
    jid: Jid,
    claim: Claim,
    features: Option<Features>,
    /// The accounts here that it has shown itself to.
    seen_by: Vec<Jid>,
}

/// What is remembered of clients.
#[derive(Default)]
pub(super) struct Clients {
    table: Mutex<Table>,
    /// Names questions.
    questions: AtomicU64,
}

#[derive(Default)]
struct Table {
    proven: HashMap<String, Features>,
    /// The hashes in the order they were proven in.
    order: VecDeque<String>,
    /// By bare address.
    elsewhere: HashMap<Jid, Vec<Device>>,
    devices: usize,
}

impl Clients {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn features(&self, claim: &Claim) -> Option<Features> {
        self.proven.get(claim.key.as_deref()?).cloned()
    }

    fn prove(&mut self, key: &str, features: &Features) {
        if features.iter().map(String::len).sum::<usize>() > MAX_FEATURE_BYTES {
            return;
        }
        if self.proven.insert(key.to_owned(), features.clone()).is_none() {
            self.order.push_back(key.to_owned());
        }
        if self.order.len() > MAX_HASHES
            && let Some(oldest) = self.order.pop_front()
        {
            self.proven.remove(&oldest);
        }
    }

    fn device(&mut self, jid: &Jid) -> Option<&mut Device> {
        self.elsewhere.get_mut(&jid.bare())?.iter_mut().find(|device| device.jid == *jid)
    }

    /// The device, made when there is room for it.
    fn device_or_new(&mut self, jid: &Jid) -> Option<&mut Device> {
        let bare = jid.bare();
        let devices = self.elsewhere.get(&bare).map(Vec::as_slice).unwrap_or_default();
        if !devices.iter().any(|device| device.jid == *jid) {
            if devices.len() >= MAX_DEVICES_OF_ONE || self.devices >= MAX_DEVICES {
                return None;
            }
            let claim = Claim { key: None, node: String::new() };
            let device = Device { jid: jid.clone(), claim, features: None, seen_by: Vec::new() };
            self.elsewhere.entry(bare).or_default().push(device);
            self.devices += 1;
        }
        self.device(jid)
    }

    /// It has left this account's sight.
    fn lose(&mut self, jid: &Jid, account: &Jid) {
        let Some(devices) = self.elsewhere.get_mut(&jid.bare()) else { return };
        for device in devices.iter_mut().filter(|device| device.jid == *jid) {
            device.seen_by.retain(|seer| seer != account);
        }
        let before = devices.len();
        devices.retain(|device| !device.seen_by.is_empty());
        self.devices -= before - devices.len();
        if devices.is_empty() {
            self.elsewhere.remove(&jid.bare());
        }
    }
}

impl Claim {
    /// What a presence says; the newer specification first.
    pub(super) fn of(presence: &Stanza) -> Option<Self> {
        if presence.has("c", CAPS2)
            && let Some(claim) = presence.child("c", CAPS2).as_ref().and_then(Self::new_style)
        {
            return Some(claim);
        }
        if !presence.has("c", CAPS) {
            return None;
        }
        let caps = presence.child("c", CAPS)?;
        let (node, ver) = (caps.attr("node")?, caps.attr("ver")?);
        if node.len() + ver.len() > MAX_CLAIM {
            return None;
        }
        // The form before version 1.4 has no hash, and others than SHA-1 nobody uses (section 4).
        let key = (caps.attr("hash") == Some("sha-1")).then(|| format!("sha-1 {ver}"));
        Some(Self { key, node: format!("{node}#{ver}") })
    }

    fn new_style(caps: &Element) -> Option<Self> {
        let hash = caps
            .elements()
            .find(|e| e.is("hash", HASHES) && e.attr("algo") == Some("sha-256"))?
            .text();
        let hash = hash.trim();
        (hash.len() <= MAX_CLAIM).then(|| Self {
            key: Some(format!("sha-256 {hash}")),
            node: format!("urn:xmpp:caps#sha-256.{hash}"),
        })
    }

    /// Whether an answer is what the hash was made of.
    fn is_proven_by(&self, info: &Info) -> bool {
        match self.key.as_deref().and_then(|key| key.split_once(' ')) {
            Some(("sha-1", ver)) => info.ver() == ver,
            Some((_, hash)) => info.hash() == hash,
            None => false,
        }
    }
}

impl Server {
    /// A device of ours has come online, or says something else about itself.
    pub(super) async fn note_claim(&self, jid: &Jid, presence: &Stanza, initial: bool) {
        let claim = Claim::of(presence);
        let known = claim.as_ref().and_then(|claim| self.0.clients.lock().features(claim));
        {
            let mut sessions = self.sessions();
            let Some(resource) = sessions.get_mut(jid) else { return };
            if !initial && (claim.is_none() || resource.claim.as_deref() == claim.as_ref()) {
                return;
            }
            resource.claim = claim.clone().map(Arc::new);
            if initial {
                // What it was before it left is not what it is now.
                resource.features = None;
            }
        }
        match known {
            Some(features) => self.take_features(jid, features).await,
            None => {
                let server = Jid::new(None, jid.domain(), None);
                let node = claim.map(|claim| claim.node);
                if let Ok(server) = server {
                    self.ask_features(&server, jid, node.as_deref());
                }
            }
        }
    }

    /// Asks a client what it can do; the answer reaches [`Server::learn_features`].
    fn ask_features(&self, from: &Jid, to: &Jid, node: Option<&str>) {
        let number = self.0.clients.questions.fetch_add(1, Ordering::Relaxed);
        let question = Element::new("iq", ns::CLIENT)
            .with_attr("type", "get")
            .with_attr("id", format!("{QUESTION}{number}"))
            .with_attr("from", from.as_str())
            .with_attr("to", to.as_str())
            .with_child(Element::new("query", INFO).with_attr_opt("node", node));
        self.emit(from, to, &question.to_bytes());
    }

    /// A client's answer to the server's question. What does not fit the hash counts for this client alone (XEP-0115
    /// section 5.4).
    pub(super) async fn learn_features(&self, stanza: &Stanza) {
        let (Some(from), Some(query)) = (stanza.from(), stanza.child("query", INFO)) else {
            return;
        };
        let Some(info) = Info::from_element(&query) else { return };
        let features: Features = info.features.iter().take(MAX_FEATURES).cloned().collect();
        let local = self.sessions().get(from).map(|r| r.claim.clone());
        if let Some(claim) = local {
            if let Some(claim) = claim.filter(|claim| claim.is_proven_by(&info)) {
                self.prove(&claim, &features);
            }
            self.take_features(from, features).await;
            return;
        }
        let seen_by = {
            let mut table = self.0.clients.lock();
            let Some(device) = table.device(from) else { return };
            device.features = Some(features.clone());
            let (claim, seen_by) = (device.claim.clone(), device.seen_by.clone());
            if claim.is_proven_by(&info) {
                table.prove(claim.key.as_deref().unwrap_or_default(), &features);
            }
            seen_by
        };
        let wishes = wishes(&features);
        for account in seen_by {
            self.send_last_items_logged(&account, from, &wishes).await;
        }
    }

    fn prove(&self, claim: &Claim, features: &Features) {
        if let Some(key) = &claim.key {
            self.0.clients.lock().prove(key, features);
        }
    }

    /// Now it is known what a device of ours can do: it gets what it asks for and did not ask for before.
    async fn take_features(&self, jid: &Jid, features: Features) {
        let before = {
            let mut sessions = self.sessions();
            let Some(resource) = sessions.get_mut(jid) else { return };
            resource.features.replace(features.clone())
        };
        let mut wishes = wishes(&features);
        if let Some(before) = before {
            wishes.retain(|wish| !before.contains(wish));
        }
        if let Err(error) = self.catch_up(jid, &wishes).await {
            tracing::error!(%error, "what was published last cannot be read");
        }
    }

    /// A presence of somebody elsewhere has reached an account here. Only devices of who sees the account matter.
    pub(super) async fn note_elsewhere(&self, from: &Jid, to: &Jid, presence: &Stanza) {
        let account = to.bare();
        if from.is_bare() || account.node().is_none() {
            return;
        }
        if presence.type_().is_some() {
            if presence.type_() == Some("unavailable") {
                self.0.clients.lock().lose(from, &account);
            }
            return;
        }
        let Some(claim) = Claim::of(presence) else { return };
        let seen = self.roster(&account).await;
        if !seen.is_ok_and(|roster| roster.item(&from.bare()).is_some_and(|item| item.from)) {
            return;
        }
        let (initial, ask, features) = {
            let mut table = self.0.clients.lock();
            let known = table.features(&claim);
            let Some(device) = table.device_or_new(from) else { return };
            let changed = device.claim != claim;
            if changed {
                device.claim = claim.clone();
                device.features = known.or(device.features.take());
            }
            let initial = !device.seen_by.contains(&account);
            if initial {
                device.seen_by.push(account.clone());
            }
            let proven = table.features(&claim).is_some();
            let features = table.device(from).and_then(|device| device.features.clone());
            let unknown = changed || (initial && features.is_none());
            (initial, unknown && !proven, features)
        };
        if ask {
            // The contact shares its presence with this account, which may therefore ask (RFC 6121 section 8.5.3.1).
            self.ask_features(&account, from, Some(&claim.node));
        } else if let (true, Some(features)) = (initial, features) {
            self.send_last_items_logged(&account, from, &wishes(&features)).await;
        }
    }

    async fn send_last_items_logged(&self, owner: &Jid, device: &Jid, wishes: &[String]) {
        let sent: Result<(), StoreError> = self.send_last_items(owner, device, wishes).await;
        if let Err(error) = sent {
            tracing::error!(%error, "what was published last cannot be read");
        }
    }

    /// The available devices of an account, here or elsewhere, that have this feature.
    pub(super) fn interested(&self, account: &Jid, feature: &str) -> Vec<Jid> {
        let has = |features: &Option<Features>| {
            features.as_ref().is_some_and(|known| known.iter().any(|f| f == feature))
        };
        if self.is_local(account) {
            let sessions = self.sessions();
            let here = sessions.of(account).iter();
            let here = here.filter(|r| r.presence.is_some() && has(&r.features));
            return here.map(|r| r.jid.clone()).collect();
        }
        let table = self.0.clients.lock();
        let devices = table.elsewhere.get(account).map(Vec::as_slice).unwrap_or_default();
        devices.iter().filter(|d| has(&d.features)).map(|d| d.jid.clone()).collect()
    }

    /// The available devices of an account with what news each asks for.
    pub(super) fn wishes_of(&self, account: &Jid) -> Vec<(Jid, Vec<String>)> {
        let of = |jid: &Jid, features: &Option<Features>| {
            Some((jid.clone(), wishes(features.as_ref()?)))
        };
        if self.is_local(account) {
            let sessions = self.sessions();
            let here = sessions.of(account).iter().filter(|r| r.presence.is_some());
            return here.filter_map(|r| of(&r.jid, &r.features)).collect();
        }
        let table = self.0.clients.lock();
        let devices = table.elsewhere.get(account).map(Vec::as_slice).unwrap_or_default();
        devices.iter().filter_map(|d| of(&d.jid, &d.features)).collect()
    }
}

fn wishes(features: &Features) -> Vec<String> {
    features.iter().filter(|f| f.ends_with(NOTIFY)).cloned().collect()
}
