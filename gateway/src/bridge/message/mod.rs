//! Chat across the bridge (RFC 7572, RFC 3428, RFC 5438, RFC 3994; `interop.md` parts 2 and 3).
//!
//! One queue per sender and account keeps messages in order, one on its way at a time (RFC 3428 section 8), to all phones
//! of the account at once; a phone that is slow or gone holds up itself alone. A message that no phone takes goes to the account's store, or back to its sender as an error:
//! never into silence.
//!
//! | file | duty |
//! |---|---|
//! | `to_phone` | stanzas become MESSAGE requests |
//! | `from_phone` | MESSAGE requests become stanzas |
//! | `threads` | XMPP threads against Call-IDs |
//! | `abroad` | texts to and from people of other SIP domains |
//! | `lanes` | the order of what one phone gets |
//! | `edits` | corrections and retractions of what still waits |
//! | `waiting` | what waited for phones that were away |
//! | `receipts` | XEP-0184 and XEP-0333 against IMDN |
//! | `trunk` | texts to and from telephone numbers |
//! | `typing` | XEP-0085 against isComposing, with their timers |

mod abroad;
mod edits;
pub(super) mod from_phone;
mod lanes;
mod receipts;
mod threads;
pub(super) mod to_phone;
mod trunk;
mod typing;
mod waiting;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tandem_sip::SipHandle;
use tandem_sip::msg::NameAddr;
use tandem_sip::ports::{Binding, OutgoingMessage, Target};
use tandem_xmpp::Server;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::chat_states::ChatState;
use tandem_xmpp::stanza::{Kind, Stanza};
use tandem_xmpp::xml::{Element, ns};
use tokio::sync::{Notify, RwLock, oneshot};

use self::edits::Pending;
use self::lanes::Lane;
use self::receipts::Receipts;
use self::receipts::{FEW_IDS, Remembered};
use self::threads::Threads;
use self::typing::Typing;
use super::contacts::Contacts;
use super::domains::Domains;
use super::identity;
use super::msrp::MsrpDesk;
use super::numbers::Plan;
use super::room_phone::RoomPhones;
use crate::config;
use crate::uploads::Depot;

const RECEIPTS: &str = "urn:xmpp:receipts";
const MARKERS: &str = "urn:xmpp:chat-markers:0";
/// Messages that wait for one account from one sender.
const QUEUE: usize = 64;
/// Longest wait for what is on its way when the node stops.
const FAREWELL: Duration = Duration::from_secs(5);
/// Characters kept of a message, for who quotes it.
const QUOTE: usize = 60;

/// The chat bridge. Cheap to clone.
#[derive(Clone)]
pub struct Chat(Arc<Inner>);

struct Inner {
    xmpp: Server,
    sip: SipHandle,
    contacts: Contacts,
    /// Numbers and trunks.
    plan: Arc<Plan>,
    /// Other SIP domains.
    domains: Arc<Domains>,
    settings: config::Chat,
    /// Where files go that phones send, and texts that are too long for them.
    depot: Option<Depot>,
    /// The rooms of phones.
    rooms: OnceLock<RoomPhones>,
    /// The message sessions of phones.
    sessions: OnceLock<MsrpDesk>,
    state: Mutex<State>,
    /// Something changed in the queues or in who types.
    changed: Notify,
}

#[derive(Default)]
struct State {
    queues: HashMap<(Jid, Jid), VecDeque<Pending<Job>>>,
    /// What is on its way to each phone.
    lanes: HashMap<Jid, Lane>,
    /// Phones, by binding, that sent CPIM or typing states: only they are sent such.
    speaks_cpim: HashSet<String>,
    speaks_composing: HashSet<String>,
    receipts: Receipts,
    threads: Threads,
    /// The beginnings of messages, by conversation and id, for reactions.
    texts: Remembered<Box<str>, FEW_IDS>,
    /// What phones sent and how it was answered: sent again, it is answered again and goes nowhere.
    answered: Remembered<u16, FEW_IDS>,
    /// Phones that wait for another phone's answer, by stanza id.
    waiting: HashMap<String, oneshot::Sender<Answer>>,
    typing: Typing,
    /// Held shared by what is sent to an account's phones, alone by what gives them what waited.
    doors: HashMap<Jid, Arc<RwLock<()>>>,
    /// Accounts for which something was kept since their last phone was given what waited.
    kept: HashSet<Jid>,
}

/// The phones that a stanza is for.
struct Job {
    account: Jid,
    devices: Vec<(Jid, Arc<Binding>)>,
}

/// A stanza on its way to phones.
struct Letter {
    account: Jid,
    devices: Vec<(Jid, Arc<Binding>)>,
    stanza: Stanza,
    /// It is a later version of a message that was never given.
    edited: bool,
}

/// What became of a message for phones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Delivered(u16),
    Stored,
    Refused(u16),
}

impl Chat {
    /// A bridge between these.
    pub fn new(
        xmpp: Server,
        sip: SipHandle,
        (contacts, plan, domains): (Contacts, Arc<Plan>, Arc<Domains>),
        settings: config::Chat,
        depot: Option<Depot>,
    ) -> Self {
        let (state, changed) = (Mutex::default(), Notify::new());
        let (rooms, sessions) = (OnceLock::new(), OnceLock::new());
        let inner = Inner {
            xmpp,
            sip,
            contacts,
            plan,
            domains,
            settings,
            depot,
            rooms,
            sessions,
            state,
            changed,
        };
        let chat = Self(Arc::new(inner));
        tokio::spawn(chat.clone().keep_typing());
        chat
    }

    /// From now on phones' messages to rooms go to these.
    pub fn with_rooms(&self, rooms: RoomPhones) {
        let _ = self.0.rooms.set(rooms);
    }

    /// From now on what is written to phones goes over their sessions where they have one.
    pub fn with_sessions(&self, sessions: MsrpDesk) {
        let _ = self.0.sessions.set(sessions);
    }

    /// A phone has ended its session with somebody, who is told so (RFC 7573 section 6).
    pub(super) async fn gone(&self, device: &Jid, peer: &Jid) {
        self.say_typing(device, peer, ChatState::Gone).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message stanza for phones; false when too much waits already.
    pub fn deliver(&self, account: &Jid, resources: &[String], stanza: &Stanza) -> bool {
        if stanza.kind() != Kind::Message {
            return true;
        }
        if stanza.type_() == Some("error") {
            let (chat, stanza) = (self.clone(), stanza.clone());
            tokio::spawn(async move { chat.bounced(&stanza).await });
            return true;
        }
        let Some(from) = stanza.from().map(Jid::bare) else { return true };
        let devices: Vec<_> = self
            .0
            .contacts
            .of(account)
            .into_iter()
            .filter(|(jid, _)| jid.resource().is_some_and(|r| resources.iter().any(|x| x == r)))
            // Never back to the device that sent it.
            .filter(|(jid, _)| stanza.from() != Some(jid))
            .collect();
        // None left, as when a phone writes to its own account alone: the queue keeps the text or tells the sender.
        let job = Job { account: account.clone(), devices };
        let key = (from, account.clone());
        let mut state = self.state();
        state.remember_text(stanza);
        if let Some(queue) = state.queues.get_mut(&key) {
            if queue.len() >= QUEUE {
                return false;
            }
            edits::enqueue(queue, stanza.clone(), job);
            return true;
        }
        state.queues.insert(key.clone(), VecDeque::from([Pending::new(stanza.clone(), job)]));
        drop(state);
        tokio::spawn(self.clone().work(key));
        true
    }

    /// Sends what is queued, in order; ends when nothing waits.
    async fn work(self, key: (Jid, Jid)) {
        loop {
            let next = {
                let mut state = self.state();
                let next = state.queues.get_mut(&key).and_then(VecDeque::pop_front);
                // Under the lock nobody can add a message, so an empty queue can be taken down.
                if next.is_none() {
                    state.queues.remove(&key);
                }
                next
            };
            let Some(Pending { mut parts, stanza, edited, .. }) = next else {
                self.0.changed.notify_waiters();
                return;
            };
            if let (Some(stanza), Some(Job { account, devices })) = (stanza, parts.pop()) {
                self.send_in_turn(Letter { account, devices, stanza, edited }).await;
            }
        }
    }

    /// Sends a letter after what waited for the account before it.
    async fn send_in_turn(&self, letter: Letter) {
        let is_behind = self.state().kept.contains(&letter.account);
        if is_behind {
            for (device, _) in &letter.devices {
                self.flush(&letter.account, device).await;
            }
        }
        let door = self.door(&letter.account);
        let _shared = door.read().await;
        self.send(letter).await;
    }

    /// The door of an account.
    fn door(&self, account: &Jid) -> Arc<RwLock<()>> {
        let mut state = self.state();
        state.doors.retain(|_, door| Arc::strong_count(door) > 1);
        state.doors.entry(account.clone()).or_default().clone()
    }

    /// Waits until nothing is on its way any more. Called after the SIP server has stopped: then every message that
    /// phones have not taken goes to the store.
    pub async fn settle(&self) {
        let settled = async {
            loop {
                let changed = self.0.changed.notified();
                if self.state().queues.is_empty() {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(FAREWELL, settled).await.is_err() {
            tracing::error!("some messages to phones were still on their way");
        }
    }

    /// Whether a phone has shown that it knows CPIM.
    pub(super) fn speaks_cpim(&self, binding: &Binding) -> bool {
        self.state().speaks_cpim.contains(&binding.id)
    }

    /// A service of ours took the stanza: it counts as delivered.
    pub fn taken(&self, stanza: &Stanza) {
        self.answer(stanza, Answer::Delivered(200));
    }

    /// A phone waits for this stanza's fate.
    fn answer(&self, stanza: &Stanza, answer: Answer) {
        let waiting = stanza.id().and_then(|id| self.state().waiting.remove(id));
        if let Some(waiting) = waiting {
            let _ = waiting.send(answer);
        }
    }

    /// A chat message from one address to another, to be filled.
    fn message_from(&self, from: &Jid, to: &Jid) -> Element {
        message_from(from, to).with_attr("type", self.0.settings.message_type.name())
    }
}

impl State {
    fn remember_text(&mut self, stanza: &Stanza) {
        let (Some(id), Some(talk)) = (stanza.id(), talk(stanza)) else { return };
        let key = format!("{talk} {id}");
        if self.texts.get_mut(&key).is_none()
            && let Some(body) = stanza.body()
        {
            self.texts.put(&key, beginning(&body));
        }
    }

    /// The same of a message that a phone has written, which is no stanza yet.
    fn remember_written(&mut self, (from, to): (&Jid, &Jid), id: &str, body: &str) {
        self.texts.put(&format!("{} {id}", talk_of(from, to)), beginning(body));
    }

    /// The beginning of a message of the conversation that `stanza` belongs to.
    fn text(&mut self, stanza: &Stanza, id: &str) -> Option<String> {
        self.texts.get_mut(&format!("{} {id}", talk(stanza)?)).map(|text| String::from(&**text))
    }
}

/// The conversation of a stanza, the same whoever of the two speaks.
fn talk(stanza: &Stanza) -> Option<String> {
    Some(talk_of(stanza.from()?, stanza.to()?))
}

fn talk_of(from: &Jid, to: &Jid) -> String {
    let (from, to) = (from.as_bare_str(), to.as_bare_str());
    let (one, other) = if from <= to { (from, to) } else { (to, from) };
    format!("{one} {other}")
}

/// What is quoted of a message.
fn beginning(body: &str) -> Box<str> {
    let end = body.char_indices().nth(QUOTE).map_or(body.len(), |(at, _)| at);
    body.get(..end).unwrap_or_default().into()
}

/// A chat message from one address to another, to be filled.
fn message_from(from: &Jid, to: &Jid) -> Element {
    Element::new("message", ns::CLIENT)
        .with_attr("type", "chat")
        .with_attr("from", from.as_str())
        .with_attr("to", to.as_str())
}

/// A MESSAGE to a phone, from the device that wrote (RFC 7572 section 4).
fn request(
    from: &Jid,
    binding: &Arc<Binding>,
    content_type: &str,
    body: impl Into<Bytes>,
) -> Option<OutgoingMessage> {
    Some(OutgoingMessage {
        target: Target::Binding(binding.clone()),
        from: NameAddr::new(identity::jid_to_sip(from).ok()?),
        to: binding.account_uri()?,
        call_id: None,
        cseq: None,
        login: None,
        headers: Vec::new(),
        content_type: content_type.to_owned(),
        body: body.into(),
    })
}

pub(super) fn new_id() -> String {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).expect("the system has a source of randomness");
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The time as CPIM writes it.
pub(super) fn stamp() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
