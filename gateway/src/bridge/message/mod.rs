//! Chat across the bridge (RFC 7572, RFC 3428, RFC 5438, RFC 3994; `interop.md` parts 2 and 3).
//!
//! One queue per sender and account keeps messages in order, one on its way at a time (RFC 3428 section 8), to all phones
//! of the account at once. A message that no phone takes goes to the account's store, or back to its sender as an error:
//! never into silence.
//!
//! | file | duty |
//! |---|---|
//! | `to_phone` | stanzas become MESSAGE requests |
//! | `from_phone` | MESSAGE requests become stanzas |
//! | `receipts` | XEP-0184 and XEP-0333 against IMDN |
//! | `typing` | XEP-0085 against isComposing, with their timers |

mod from_phone;
mod receipts;
mod to_phone;
mod typing;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tandem_sip::SipHandle;
use tandem_sip::msg::NameAddr;
use tandem_sip::ports::{Binding, OutgoingMessage, Target};
use tandem_xmpp::Server;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::{Kind, Stanza};
use tandem_xmpp::xml::{Element, ns};
use tokio::sync::{Notify, mpsc, oneshot};

use self::receipts::{Asked, Remembered, Sent};
use self::typing::Typing;
use super::contacts::Contacts;
use super::identity;
use crate::store::Store;

const RECEIPTS: &str = "urn:xmpp:receipts";
const MARKERS: &str = "urn:xmpp:chat-markers:0";
/// Messages that wait for one account from one sender.
const QUEUE: usize = 64;
/// Longest wait for what is on its way when the node stops.
const FAREWELL: Duration = Duration::from_secs(5);

/// The chat bridge. Cheap to clone.
#[derive(Clone)]
pub struct Chat(Arc<Inner>);

struct Inner {
    xmpp: Server,
    sip: SipHandle,
    contacts: Contacts,
    store: Store,
    state: Mutex<State>,
    /// Something changed in the queues or in who types.
    changed: Notify,
}

#[derive(Default)]
struct State {
    queues: HashMap<(Jid, Jid), mpsc::Sender<Job>>,
    /// Phones, by binding, that sent CPIM or typing states: only they are sent such.
    speaks_cpim: HashSet<String>,
    speaks_composing: HashSet<String>,
    /// Messages from phones that asked for notifications, by stanza id.
    asked: Remembered<Asked>,
    /// Messages to phones that XMPP clients want receipts for, by CPIM message id.
    sent: Remembered<Sent>,
    /// Phones that wait for another phone's answer, by stanza id.
    waiting: HashMap<String, oneshot::Sender<Answer>>,
    typing: Typing,
}

/// One stanza for the phones of one account.
struct Job {
    account: Jid,
    devices: Vec<(Jid, Binding)>,
    stanza: Stanza,
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
    pub fn new(xmpp: Server, sip: SipHandle, contacts: Contacts, store: Store) -> Self {
        let (state, changed) = (Mutex::default(), Notify::new());
        let chat = Self(Arc::new(Inner { xmpp, sip, contacts, store, state, changed }));
        tokio::spawn(chat.clone().keep_typing());
        chat
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message stanza for phones; false when too much waits already.
    pub fn deliver(&self, account: &Jid, resources: &[String], stanza: &Stanza) -> bool {
        if stanza.kind() != Kind::Message || stanza.type_() == Some("error") {
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
        let mut job = Job { account: account.clone(), devices, stanza: stanza.clone() };
        let key = (from, account.clone());
        let mut state = self.state();
        if let Some(queue) = state.queues.get(&key) {
            match queue.try_send(job) {
                Ok(()) => return true,
                Err(mpsc::error::TrySendError::Full(_)) => return false,
                Err(mpsc::error::TrySendError::Closed(back)) => job = back,
            }
        }
        let (queue, jobs) = mpsc::channel(QUEUE);
        let _ = queue.try_send(job);
        state.queues.insert(key.clone(), queue);
        drop(state);
        tokio::spawn(self.clone().work(key, jobs));
        true
    }

    /// Sends what is queued, in order; ends when nothing waits.
    async fn work(self, key: (Jid, Jid), mut jobs: mpsc::Receiver<Job>) {
        loop {
            while let Ok(job) = jobs.try_recv() {
                self.send(job).await;
            }
            let mut state = self.state();
            // Under the lock nobody can add a job, so an empty queue can be taken down.
            if jobs.is_empty() {
                state.queues.remove(&key);
                self.0.changed.notify_waiters();
                return;
            }
        }
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
}

/// A chat message from one address to another, to be filled.
fn message_from(from: &Jid, to: &Jid) -> Element {
    Element::new("message", ns::CLIENT)
        .with_attr("type", "chat")
        .with_attr("from", from.as_str())
        .with_attr("to", to.as_str())
}

/// A MESSAGE to a phone.
fn request(
    from: &Jid,
    binding: &Binding,
    content_type: &str,
    body: String,
) -> Option<OutgoingMessage> {
    Some(OutgoingMessage {
        target: Target::Binding(Box::new(binding.clone())),
        from: NameAddr::new(identity::jid_to_sip(&from.bare()).ok()?),
        to: binding.account_uri()?,
        call_id: None,
        cseq: None,
        headers: Vec::new(),
        content_type: content_type.to_owned(),
        body: Bytes::from(body),
    })
}

fn new_id() -> String {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).expect("the system has a source of randomness");
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The time as CPIM writes it.
fn stamp() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
