//! Chat across the bridge (RFC 7572, RFC 3428, RFC 5438, RFC 3994; `interop.md` parts 2 and 3).
//!
//! One queue per sender and account keeps messages in order, one on its way at a time (RFC 3428 section 8), to all phones
//! of the account at once. A message that no phone takes goes to the account's XMPP devices' store, or back to its sender
//! as an error: never into silence.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tandem_sip::SipHandle;
use tandem_sip::msg::NameAddr;
use tandem_sip::ports::{Binding, IncomingMessage, MessageReply, OutgoingMessage, Target};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::Offline;
use tandem_xmpp::stanza::{Condition, Kind, Stanza, StanzaError};
use tandem_xmpp::xml::{Element, ns};
use tandem_xmpp::{Outcome, Server};
use tokio::sync::{mpsc, oneshot};

use super::contacts::Contacts;
use super::cpim::{Cpim, Notification, Status};
use super::{identity, reason};
use crate::store::Store;

const RECEIPTS: &str = "urn:xmpp:receipts";
const MARKERS: &str = "urn:xmpp:chat-markers:0";
const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
const HINTS: &str = "urn:xmpp:hints";
const COMPOSING: &str = "urn:ietf:params:xml:ns:im-iscomposing";
/// What a phone may send; told with 415.
const ACCEPT: &str = "text/plain, message/cpim, application/im-iscomposing+xml, message/imdn+xml";
/// Messages that wait for one account from one sender.
const QUEUE: usize = 64;
/// Ids that are remembered for receipts.
const MAX_IDS: usize = 50_000;
/// How long a phone's MESSAGE to another phone waits for that one's answer, below the sender's timer F.
const PATIENCE: Duration = Duration::from_secs(30);

/// The chat bridge. Cheap to clone.
#[derive(Clone)]
pub struct Chat(Arc<Inner>);

struct Inner {
    xmpp: Server,
    sip: SipHandle,
    contacts: Contacts,
    store: Store,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queues: HashMap<(Jid, Jid), mpsc::Sender<Job>>,
    /// Phones that sent CPIM or typing states: only they are sent such.
    speaks_cpim: HashSet<String>,
    speaks_composing: HashSet<String>,
    /// Messages from phones that asked for notifications, by stanza id.
    asked: Remembered<Asked>,
    /// Messages to phones that XMPP clients want receipts for, by CPIM message id.
    sent: Remembered<Sent>,
    /// Phones that wait for another phone's answer, by stanza id.
    waiting: HashMap<String, oneshot::Sender<Answer>>,
}

/// A bounded memory that forgets the oldest.
struct Remembered<T> {
    entries: HashMap<String, T>,
    order: VecDeque<String>,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T> Remembered<T> {
    fn put(&mut self, id: String, value: T) {
        if self.entries.insert(id.clone(), value).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > MAX_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }
}

struct Asked {
    device: Jid,
    message_id: String,
    delivered: bool,
    displayed: bool,
}

struct Sent {
    sender: Jid,
    device: Jid,
    stanza_id: String,
    told: bool,
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
        let state = Mutex::default();
        Self(Arc::new(Inner { xmpp, sip, contacts, store, state }))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
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
        if devices.is_empty() {
            return true;
        }
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
                return;
            }
        }
    }

    async fn send(&self, job: Job) {
        if let Some(body) = job.stanza.body() {
            return self.send_text(&job, &body).await;
        }
        for (device, _) in &job.devices {
            self.send_notification(device, &job.stanza).await;
        }
        self.send_typing(&job).await;
    }

    async fn send_text(&self, job: &Job, body: &str) {
        let Some(from) = job.stanza.from() else { return };
        let wants_receipt = job.stanza.has("request", RECEIPTS);
        let markable = job.stanza.has("markable", MARKERS);
        let sends = job.devices.iter().map(|(device, binding)| async move {
            let speaks_cpim = self.state().speaks_cpim.contains(&binding.id);
            let message = if wants_receipt && speaks_cpim {
                self.wrapped(from, device, binding, &job.stanza, markable, body)
            } else {
                plain(from, binding, "text/plain;charset=utf-8", body.to_owned())
            };
            let wrapped = wants_receipt && speaks_cpim;
            let Some(message) = message else { return (400, String::new(), wrapped, device) };
            match self.0.sip.message(message).await {
                Ok(result) => (result.status, result.reason, wrapped, device),
                Err(_) => (503, String::new(), wrapped, device),
            }
        });
        let results = futures_util::future::join_all(sends).await;
        let taken = results.iter().find(|(status, ..)| (200..300).contains(status));
        if let Some((status, _, wrapped, device)) = taken {
            // 200 means that it reached the phone itself (RFC 3428 section 7); 202 does not.
            if wants_receipt && *status == 200 && !wrapped {
                self.receipt(device, from, job.stanza.id(), "received").await;
            }
            return self.answer(&job.stanza, Answer::Delivered(*status));
        }
        let worst = results.iter().find(|(s, ..)| !is_away(*s)).or_else(|| results.first());
        let Some((status, phrase, ..)) = worst else { return };
        self.failed(job, *status, phrase).await;
    }

    /// No phone took it. Somebody else may have it; else it is kept, or the sender is told.
    async fn failed(&self, job: &Job, status: u16, phrase: &str) {
        let to_all = job.stanza.to().is_some_and(Jid::is_bare);
        let elsewhere =
            self.0.xmpp.presences(&job.account).iter().any(|p| !p.attached && p.priority >= 0);
        if to_all && elsewhere {
            return self.answer(&job.stanza, Answer::Delivered(200));
        }
        if is_away(status) {
            match Offline::store(&self.0.store, &job.account, job.stanza.bytes()).await {
                Ok(true) => return self.answer(&job.stanza, Answer::Stored),
                Ok(false) => tracing::info!("too many messages wait for an account"),
                Err(error) => tracing::error!(%error, "a message cannot be kept"),
            }
        }
        self.answer(&job.stanza, Answer::Refused(status));
        let error = reason::status_to_error(status, phrase)
            .unwrap_or_else(|| StanzaError::new(Condition::UndefinedCondition));
        if let Some(reply) = job.stanza.error_reply(&error) {
            self.0.xmpp.inject(reply).await;
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

    fn wrapped(
        &self,
        from: &Jid,
        device: &Jid,
        binding: &Binding,
        stanza: &Stanza,
        markable: bool,
        body: &str,
    ) -> Option<OutgoingMessage> {
        let id = new_id();
        let uri = identity::jid_to_sip(&from.bare()).ok()?.to_string();
        let to = identity::jid_to_sip(&device.bare()).ok()?.to_string();
        let cpim = Cpim::text(&uri, &to, &id, &now(), markable, body);
        let sent = Sent {
            sender: from.clone(),
            device: device.clone(),
            stanza_id: stanza.id().unwrap_or_default().to_owned(),
            told: false,
        };
        self.state().sent.put(id, sent);
        plain(from, binding, "message/cpim", cpim.print())
    }

    /// A receipt or marker of an XMPP client, for a phone that asked for one.
    async fn send_notification(&self, device: &Jid, stanza: &Stanza) {
        let received = stanza.child("received", RECEIPTS).map(|e| (e, Status::Delivered));
        let marked = stanza.child("displayed", MARKERS).map(|e| (e, Status::Displayed));
        for (element, status) in received.into_iter().chain(marked) {
            let Some(id) = element.attr("id") else { continue };
            let message_id = {
                let mut state = self.state();
                let Some(asked) = state.asked.entries.get_mut(id) else { continue };
                let wanted = match status {
                    Status::Delivered => &mut asked.delivered,
                    _ => &mut asked.displayed,
                };
                // One notification of each kind, whoever of several devices is first.
                if asked.device != *device || !std::mem::take(wanted) {
                    continue;
                }
                asked.message_id.clone()
            };
            self.send_imdn(device, stanza, &Notification { message_id, status }).await;
        }
    }

    async fn send_imdn(&self, device: &Jid, stanza: &Stanza, about: &Notification) {
        let (Some(from), Some(binding)) = (stanza.from(), self.0.contacts.binding(device)) else {
            return;
        };
        let (Ok(from_uri), Ok(to)) =
            (identity::jid_to_sip(&from.bare()), identity::jid_to_sip(&device.bare()))
        else {
            return;
        };
        let (from_uri, to) = (from_uri.to_string(), to.to_string());
        let cpim = Cpim::notification(&from_uri, &to, &new_id(), &now(), about);
        if let Some(message) = plain(from, &binding, "message/cpim", cpim.print())
            && let Err(error) = self.0.sip.message(message).await
        {
            tracing::debug!(%error, "a notification did not reach its phone");
        }
    }

    /// Typing, for phones that have shown that they know it (RFC 3994 section 4).
    async fn send_typing(&self, job: &Job) {
        let state = job.stanza.children().find(|(_, ns)| *ns == CHAT_STATES).map(|(n, _)| n);
        let state = match state {
            Some("composing") => "active",
            Some("paused" | "active" | "inactive") => "idle",
            _ => return,
        };
        let Some(from) = job.stanza.from() else { return };
        for (_, binding) in &job.devices {
            if !self.state().speaks_composing.contains(&binding.id) {
                continue;
            }
            let mut document = Element::new("isComposing", COMPOSING)
                .with_child(Element::new("state", COMPOSING).with_text(state));
            if state == "active" {
                document.push(Element::new("contenttype", COMPOSING).with_text("text/plain"));
                document.push(Element::new("refresh", COMPOSING).with_text("90"));
            }
            let body = document.to_bytes_in("");
            let body = format!("<?xml version='1.0'?>\r\n{}", String::from_utf8_lossy(&body));
            if let Some(message) = plain(from, binding, "application/im-iscomposing+xml", body)
                && self.0.sip.message(message).await.is_ok_and(|r| r.status == 415)
            {
                self.state().speaks_composing.remove(&binding.id);
            }
        }
    }

    /// A receipt or marker from a phone to an XMPP client.
    async fn receipt(&self, device: &Jid, to: &Jid, id: Option<&str>, kind: &str) {
        let Some(id) = id else { return };
        let ns = if kind == "displayed" { MARKERS } else { RECEIPTS };
        let message =
            message_from(device, to).with_child(Element::new(kind, ns).with_attr("id", id));
        self.0.xmpp.inject(message).await;
    }

    /// A MESSAGE of an authenticated phone.
    pub async fn from_phone(&self, message: IncomingMessage) -> MessageReply {
        let content_type = message.content_type.clone().unwrap_or_else(|| "text/plain".into());
        let media_type = content_type.split(';').next().unwrap_or_default().trim().to_lowercase();
        let (Ok(account), Ok(to)) =
            (super::account(&message.account), identity::sip_to_jid(&message.to))
        else {
            return MessageReply::new(404);
        };
        let device = self.0.contacts.device(&account, message.binding.as_deref());
        let from = device.unwrap_or_else(|| account.clone());
        match media_type.as_str() {
            "text/plain" => match std::str::from_utf8(&message.body) {
                Ok(text) => self.text_from_phone(&message, &from, &to, text, None).await,
                Err(_) => unsupported(),
            },
            "message/cpim" => {
                let Some(cpim) = Cpim::parse(&message.body) else { return unsupported() };
                if let Some(binding) = &message.binding {
                    self.state().speaks_cpim.insert(binding.clone());
                }
                if cpim.content_type.starts_with("message/imdn+xml") {
                    return self.notified(&from, cpim.content.as_bytes()).await;
                }
                if !cpim.content_type.to_lowercase().starts_with("text/plain") {
                    return unsupported();
                }
                let text = cpim.content.clone();
                self.text_from_phone(&message, &from, &to, &text, Some(&cpim)).await
            }
            "message/imdn+xml" => self.notified(&from, &message.body).await,
            "application/im-iscomposing+xml" => self.typing_from_phone(&message, &from, &to).await,
            _ => unsupported(),
        }
    }

    async fn text_from_phone(
        &self,
        message: &IncomingMessage,
        from: &Jid,
        to: &Jid,
        text: &str,
        cpim: Option<&Cpim>,
    ) -> MessageReply {
        let id = stanza_id(message);
        let mut stanza = message_from(from, to)
            .with_attr("id", id.as_str())
            .with_child(Element::new("body", ns::CLIENT).with_text(text));
        let (delivered, displayed) = cpim.map(Cpim::wants).unwrap_or_default();
        if let Some(message_id) = cpim.and_then(|c| c.imdn("Message-ID"))
            && (delivered || displayed)
        {
            let asked = Asked {
                device: from.clone(),
                message_id: message_id.to_owned(),
                delivered,
                displayed,
            };
            self.state().asked.put(id.clone(), asked);
            if delivered {
                stanza.push(Element::new("request", RECEIPTS));
            }
            if displayed {
                stanza.push(Element::new("markable", MARKERS));
            }
        }
        let (answered, answer) = oneshot::channel();
        self.state().waiting.insert(id.clone(), answered);
        let outcome = self.0.xmpp.inject(stanza).await;
        let status = match outcome {
            Outcome::Delivered { sessions: 0, .. } => {
                match tokio::time::timeout(PATIENCE, answer).await {
                    Ok(Ok(Answer::Delivered(status) | Answer::Refused(status))) => status,
                    Ok(Ok(Answer::Stored)) => 202,
                    _ => 504,
                }
            }
            Outcome::Delivered { .. } | Outcome::Ignored => 200,
            Outcome::Stored => 202,
            Outcome::Refused(error) if error.condition == Condition::ServiceUnavailable => 404,
            Outcome::Refused(error) => reason::error_to_status(&error, !to.is_bare()),
        };
        self.state().waiting.remove(&id);
        // A 401 or 407 of the other phone is between it and us.
        MessageReply::new(if matches!(status, 401 | 407) { 403 } else { status })
    }

    /// A phone's notification about a message that came from XMPP.
    async fn notified(&self, device: &Jid, body: &[u8]) -> MessageReply {
        let Some(about) = Notification::parse(body) else { return MessageReply::new(400) };
        let found = {
            let mut state = self.state();
            state.sent.entries.get_mut(&about.message_id).map(|sent| {
                let first = !std::mem::replace(&mut sent.told, true);
                (sent.sender.clone(), sent.device.clone(), sent.stanza_id.clone(), first)
            })
        };
        let Some((sender, addressed, id, first)) = found else { return MessageReply::new(200) };
        if addressed.bare() != device.bare() {
            return MessageReply::new(403);
        }
        match about.status {
            Status::Delivered if first => {
                self.receipt(device, &sender, Some(&id), "received").await;
            }
            Status::Displayed => {
                // Seen implies received; both are told, received first.
                if first {
                    self.receipt(device, &sender, Some(&id), "received").await;
                }
                self.receipt(device, &sender, Some(&id), "displayed").await;
            }
            Status::Failed => {
                let error = StanzaError::new(Condition::RecipientUnavailable);
                let failed = message_from(device, &sender)
                    .with_attr("type", "error")
                    .with_attr("id", id.as_str())
                    .with_child(error.to_element());
                self.0.xmpp.inject(failed).await;
            }
            Status::Delivered => {}
        }
        MessageReply::new(200)
    }

    async fn typing_from_phone(
        &self,
        message: &IncomingMessage,
        from: &Jid,
        to: &Jid,
    ) -> MessageReply {
        let text = String::from_utf8_lossy(&message.body);
        let text = text.split_once("?>").map_or(&*text, |(_, rest)| rest).trim();
        let Ok(document) = Element::parse(text.as_bytes()) else { return MessageReply::new(400) };
        let Some(state) = document.elements().find(|e| e.name() == "state") else {
            return MessageReply::new(400);
        };
        if let Some(binding) = &message.binding {
            self.state().speaks_composing.insert(binding.clone());
        }
        // An unknown word counts as idle (RFC 3994 section 3.5).
        let state = if state.text().trim() == "active" { "composing" } else { "active" };
        let stanza = message_from(from, to)
            .with_child(Element::new(state, CHAT_STATES))
            .with_child(Element::new("no-store", HINTS));
        self.0.xmpp.inject(stanza).await;
        MessageReply::new(200)
    }

    /// Gives a phone that has registered what waited for its account.
    pub async fn flush(&self, account: &Jid, device: &Jid) {
        let waiting = match Offline::load(&self.0.store, account).await {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::error!(%error, "waiting messages cannot be read");
                return;
            }
        };
        for (id, bytes) in waiting {
            let Some(binding) = self.0.contacts.binding(device) else { return };
            let Ok(stanza) = Stanza::parse(bytes) else { continue };
            let (Some(from), Some(body)) = (stanza.from(), stanza.body()) else { continue };
            let message = plain(from, &binding, "text/plain;charset=utf-8", body);
            let Some(message) = message else { continue };
            match self.0.sip.message(message).await {
                Ok(result) if (200..300).contains(&result.status) => {}
                // It has gone again; the rest waits on.
                _ => return,
            }
            if stanza.has("request", RECEIPTS) {
                self.receipt(device, from, stanza.id(), "received").await;
            }
            if let Err(error) = Offline::delete(&self.0.store, account, &[id]).await {
                tracing::error!(%error, "a delivered message stays in the store");
                return;
            }
        }
    }
}

/// Answers that say "not there now" rather than "no".
fn is_away(status: u16) -> bool {
    matches!(status, 408 | 430 | 480 | 503 | 504)
}

fn unsupported() -> MessageReply {
    let mut reply = MessageReply::new(415);
    reply.headers.push(("Accept".into(), ACCEPT.into()));
    reply
}

fn message_from(from: &Jid, to: &Jid) -> Element {
    Element::new("message", ns::CLIENT)
        .with_attr("type", "chat")
        .with_attr("from", from.as_str())
        .with_attr("to", to.as_str())
}

fn plain(
    from: &Jid,
    binding: &Binding,
    content_type: &str,
    body: String,
) -> Option<OutgoingMessage> {
    let to = binding.account_uri()?;
    Some(OutgoingMessage {
        target: Target::Binding(Box::new(binding.clone())),
        from: NameAddr::new(identity::jid_to_sip(&from.bare()).ok()?),
        to,
        call_id: None,
        cseq: None,
        headers: Vec::new(),
        content_type: content_type.to_owned(),
        body: Bytes::from(body),
    })
}

/// The same for a retransmission that slipped through, different for each message.
fn stanza_id(message: &IncomingMessage) -> String {
    let text = format!("{} {} {}", message.call_id, message.cseq, message.account);
    Sha256::digest(text).iter().take(12).map(|b| format!("{b:02x}")).collect()
}

fn new_id() -> String {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).expect("the system has a source of randomness");
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
