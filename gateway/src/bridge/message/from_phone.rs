//! MESSAGE requests become stanzas (RFC 7572 section 5, RFC 3428 section 7; `interop.md` 2.2 and 2.5).

use std::time::Duration;

use sha2::{Digest, Sha256};
use tandem_sip::msg::Name;
use tandem_sip::msg::header::Date;
use tandem_sip::ports::{IncomingMessage, MessageReply, Origin};
use tandem_xmpp::Outcome;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::SlotRefusal;
use tandem_xmpp::stanza::Condition;
use tandem_xmpp::xml::{Element, ns};
use tokio::sync::oneshot;

use super::{Answer, Chat, MARKERS, RECEIPTS};
use crate::bridge::body::{self, File, Part};
use crate::bridge::cpim::{Cpim, CpimError};
use crate::bridge::{reason, text};

/// What a phone may send; told with 415.
const ACCEPT: &str = "text/plain, message/cpim, application/im-iscomposing+xml, message/imdn+xml, text/html, \
    multipart/mixed, multipart/alternative, image/*, audio/*, video/*";
/// How long a phone's MESSAGE to another phone waits for that one's answer, below the sender's timer F.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// A message that is older says when it was written.
const FRESH_SECS: i64 = 10;
const OOB: &str = "jabber:x:oob";
const DELAY: &str = "urn:xmpp:delay";
/// Longest subject taken, in characters.
const MAX_SUBJECT: usize = 200;

/// Between whom a message goes.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) from: &'a Jid,
    pub(super) to: &'a Jid,
}

impl Chat {
    /// A MESSAGE of an authenticated phone, of a trunk, or of another domain.
    pub async fn from_phone(&self, message: IncomingMessage) -> MessageReply {
        let wrote = match message.origin {
            Origin::Account => None,
            Origin::Trunk(_) => Some(self.trunk_wrote(&message).await),
            Origin::Foreign => Some(self.foreigner_wrote(&message).await),
        };
        if let Some(wrote) = wrote {
            return wrote.unwrap_or_else(MessageReply::new);
        }
        let Ok(account) = crate::bridge::account(&message.account) else {
            return MessageReply::new(404);
        };
        let to = match self.addressee(&message.to).await {
            Ok(to) => to,
            Err(status) => return MessageReply::new(status),
        };
        let device = self.0.contacts.device(&account, message.binding.as_deref());
        if let Some((rooms, room)) = self.0.rooms.get().and_then(|r| Some((r, r.room_of(&to)?))) {
            return rooms.from_phone(&message, &account, device, &room).await;
        }
        let from = device.unwrap_or(account);
        let reply = self.read_phone(&message, Way { from: &from, to: &to }).await;
        reply.unwrap_or_else(|reply| reply)
    }

    /// `Err` is an answer too: the one that ends the reading early.
    pub(super) async fn read_phone(
        &self,
        message: &IncomingMessage,
        way: Way<'_>,
    ) -> Result<MessageReply, MessageReply> {
        let content_type = message.content_type.as_deref();
        let disposition = message.headers.get("Content-Disposition");
        if text::media_type(content_type) != "message/cpim" {
            let parts = body::read(content_type, disposition, &message.body);
            return self
                .parts_from_phone(message, way, parts.map_err(|_| unsupported())?, None)
                .await;
        }
        let cpim = Cpim::parse(&message.body).map_err(|error| match error {
            CpimError::Malformed => MessageReply::new(400),
            CpimError::Requires(_) => unsupported(),
        })?;
        if let Some(binding) = &message.binding {
            self.state().speaks_cpim.insert(binding.clone());
        }
        let disposition = cpim.mime("Content-Disposition");
        let parts = body::read(Some(cpim.content_type()), disposition, &cpim.content);
        self.parts_from_phone(message, way, parts.map_err(|_| unsupported())?, Some(&cpim)).await
    }

    async fn parts_from_phone(
        &self,
        message: &IncomingMessage,
        way: Way<'_>,
        parts: Vec<Part>,
        cpim: Option<&Cpim>,
    ) -> Result<MessageReply, MessageReply> {
        let id = stanza_id(message, cpim);
        if let Some(status) = self.state().answered.get_mut(&id).copied() {
            return Ok(MessageReply::new(status));
        }
        let (mut texts, mut files) = (Vec::new(), Vec::new());
        for part in parts {
            match part {
                Part::Text(text) => texts.push(text),
                Part::File(file) => files.push(file),
                Part::Notification(body) => return Ok(self.notified(way.from, &body).await),
                Part::Typing(body) => {
                    return Ok(self.typing_from_phone(message, way.from, way.to, &body).await);
                }
            }
        }
        if texts.is_empty() && files.is_empty() {
            return Err(unsupported());
        }
        if !files.is_empty() && message.origin == Origin::Foreign {
            // Nobody here lends strangers room.
            return Err(unsupported());
        }
        // All files first: a message of which a part cannot be taken is not taken at all.
        let mut links = Vec::new();
        // A trunk has no room of its own for files.
        let owner = if message.origin.is_account() { way.from.bare() } else { way.to.bare() };
        for file in files {
            links.push(self.keep_file(&owner, file).await?);
        }
        let mut reply = MessageReply::new(200);
        if !texts.is_empty() {
            let stanza = self.stanza(message, way, &id, cpim, &texts.join("\n"));
            reply = self.hand_in(stanza, way.to, &id).await;
        }
        for (n, link) in links.iter().enumerate() {
            if reply.status >= 300 {
                break;
            }
            let id =
                if texts.is_empty() && n == 0 { id.clone() } else { format!("{id}-{}", n + 1) };
            let url = Element::new("url", OOB).with_text(link);
            let stanza = self.stanza(message, way, &id, cpim, link);
            let stanza = stanza.with_child(Element::new("x", OOB).with_child(url));
            reply = self.hand_in(stanza, way.to, &id).await;
        }
        if reply.status < 300 {
            self.state().answered.put(&id, reply.status);
        }
        Ok(reply)
    }

    /// Keeps a file that a phone sent; its link goes to the other side (XEP-0066).
    pub(in crate::bridge) async fn keep_file(
        &self,
        owner: &Jid,
        file: File,
    ) -> Result<String, MessageReply> {
        let depot = self.0.depot.as_ref().ok_or_else(unsupported)?;
        let kept = depot.keep_whole(owner, &file.name, &file.content_type, file.bytes).await;
        kept.map_err(|refusal| match refusal {
            SlotRefusal::TooLarge { .. } => MessageReply::new(413),
            SlotRefusal::NotAcceptable(_) => unsupported(),
            SlotRefusal::Quota { .. } => MessageReply::new(403),
            SlotRefusal::Store(_) => MessageReply::new(500),
        })
    }

    /// The stanza of a phone's message by table 2 of RFC 7572.
    fn stanza(
        &self,
        message: &IncomingMessage,
        way: Way<'_>,
        id: &str,
        cpim: Option<&Cpim>,
        body: &str,
    ) -> Element {
        {
            let mut state = self.state();
            state.typing.received(way.from, way.to);
            state.remember_written((way.from, way.to), id, body);
        }
        let mut stanza = self.message_from(way.from, way.to).with_attr("id", id);
        if let Some(language) = message.headers.get("Content-Language").map(str::trim)
            && !language.is_empty()
            && language.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        {
            stanza.set_attr("xml:lang", language);
        }
        let subject = message.headers.get(Name::Subject).or_else(|| cpim?.get("Subject"));
        if let Some(subject) = subject.map(text::clean).filter(|s| !s.is_empty()) {
            let subject: String = subject.chars().take(MAX_SUBJECT).collect();
            stanza.push(Element::new("subject", ns::CLIENT).with_text(subject));
        }
        stanza.push(Element::new("body", ns::CLIENT).with_text(body));
        let thread = self.state().threads.of(&way.from.bare(), &message.call_id);
        if let Some(thread) = thread {
            stanza.push(Element::new("thread", ns::CLIENT).with_text(text::clean(&thread)));
        }
        if let Some(stamp) = written_at(message, cpim) {
            let from = way.from.bare();
            stanza.push(
                Element::new("delay", DELAY)
                    .with_attr("from", from.as_str())
                    .with_attr("stamp", stamp),
            );
        }
        self.ask(&mut stanza, way, id, cpim);
        stanza
    }

    /// Passes on what a phone wants to know of its message.
    fn ask(&self, stanza: &mut Element, way: Way<'_>, id: &str, cpim: Option<&Cpim>) {
        let wants = cpim.map(Cpim::wants).unwrap_or_default();
        let Some(message_id) = cpim.and_then(|c| c.imdn("Message-ID")) else { return };
        if !(wants.delivered || wants.failed || wants.displayed) {
            return;
        }
        self.state().receipts.asked(id, way.from, way.to, message_id, wants);
        if wants.delivered {
            stanza.push(Element::new("request", RECEIPTS));
        }
        if wants.displayed {
            stanza.push(Element::new("markable", MARKERS));
        }
    }

    /// Gives a stanza to the XMPP side and waits for what becomes of it, but for no human.
    async fn hand_in(&self, stanza: Element, to: &Jid, id: &str) -> MessageReply {
        let (answered, answer) = oneshot::channel();
        self.state().waiting.insert(id.to_owned(), answered);
        let outcome = self.0.xmpp.inject(stanza).await;
        let is_number = self.0.plan.is_number_domain(to) || self.0.domains.is_abroad(to);
        let status = match outcome {
            Outcome::Delivered { .. } | Outcome::Sent if waits(&outcome, is_number) => {
                match tokio::time::timeout(PATIENCE, answer).await {
                    Ok(Ok(Answer::Delivered(status) | Answer::Refused(status))) => status,
                    Ok(Ok(Answer::Stored)) => 202,
                    _ => 504,
                }
            }
            Outcome::Delivered { .. } | Outcome::Ignored => 200,
            Outcome::Stored | Outcome::Sent => 202,
            Outcome::Refused(error) if error.condition == Condition::ServiceUnavailable => 404,
            Outcome::Refused(error) => reason::error_to_status(&error, !to.is_bare()),
        };
        self.state().waiting.remove(id);
        // A 401 or 407 of the other phone is between it and us.
        MessageReply::new(if matches!(status, 401 | 407) { 403 } else { status })
    }
}

/// Whether what becomes of a message is said by a phone, a trunk or another domain.
fn waits(outcome: &Outcome, is_number: bool) -> bool {
    match outcome {
        Outcome::Delivered { sessions, .. } => *sessions == 0,
        Outcome::Sent => is_number,
        _ => false,
    }
}

pub(in crate::bridge) fn unsupported() -> MessageReply {
    let mut reply = MessageReply::new(415);
    reply.headers.push(("Accept".into(), ACCEPT.into()));
    reply
}

/// The same for a message that is sent again, different for each message: by its own id where it has one, else by what
/// names its request.
pub(in crate::bridge) fn stanza_id(message: &IncomingMessage, cpim: Option<&Cpim>) -> String {
    let text = match cpim.and_then(|c| c.imdn("Message-ID")) {
        Some(id) => format!("{} imdn {id}", message.account),
        None => {
            let tag = message.from.tag().unwrap_or_default();
            format!("{} {} {tag} {}", message.call_id, message.cseq, message.account)
        }
    };
    Sha256::digest(text).iter().take(12).map(|b| format!("{b:02x}")).collect()
}

/// When a message was written, if that is some time ago (RFC 3428 section 7, XEP-0203).
fn written_at(message: &IncomingMessage, cpim: Option<&Cpim>) -> Option<String> {
    let header = message.headers.optional::<Date>().ok().flatten();
    let at = match header {
        Some(date) => chrono::DateTime::from_timestamp(i64::try_from(date.0).ok()?, 0)?,
        None => chrono::DateTime::parse_from_rfc3339(cpim?.get("DateTime")?).ok()?.to_utc(),
    };
    let age = chrono::Utc::now().signed_duration_since(at).num_seconds();
    (age > FRESH_SECS).then(|| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}
