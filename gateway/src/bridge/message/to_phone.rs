//! Stanzas become MESSAGE requests (RFC 7572 section 4, RFC 3428; `interop.md` 2.2 to 2.6, 3.4 and 3.5).

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tandem_sip::msg::NameAddr;
use tandem_sip::ports::{Binding, OutgoingMessage};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::{Condition, Stanza, StanzaError};
use tandem_xmpp::xml::ns;
use tokio::sync::oneshot;

use super::receipts::Sent;
use super::waiting::sent_at;
use super::{Answer, Chat, Letter, MARKERS, RECEIPTS, new_id, request, stamp};
use crate::bridge::cpim::Cpim;
use crate::bridge::text::{self, PhoneText};
use crate::bridge::{identity, reason};
use crate::config::LongTexts;

pub(super) const TEXT: &str = "text/plain;charset=utf-8";
/// Bytes of text over connections, where size does no harm.
const MAX_TEXT: usize = 64 * 1024;
/// Characters that stand before the link to a long text.
const BEGINNING: usize = 160;
/// Longest Subject, in characters.
const MAX_SUBJECT: usize = 200;
/// Longest language tag.
const MAX_LANGUAGE: usize = 35;
const REACTIONS: &str = "urn:xmpp:reactions:0";

/// How a message to one phone ended.
pub(super) struct Taken {
    pub(super) device: Jid,
    pub(super) status: u16,
    pub(super) reason: String,
    /// It asks the phone for notifications.
    pub(super) wrapped: bool,
}

impl Taken {
    pub(super) fn new(device: Jid, (status, reason, wrapped): (u16, String, bool)) -> Self {
        Self { device, status, reason, wrapped }
    }

    fn is_taken(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Tells who waits for it, if anybody still does.
    pub(super) fn tell(self, done: oneshot::Sender<Self>) {
        let _ = done.send(self);
    }
}

impl Chat {
    pub(super) async fn send(&self, letter: Letter) {
        if self.0.plan.is_number_domain(&letter.account) {
            return self.send_to_number(&letter).await;
        }
        if self.0.domains.is_abroad(&letter.account) {
            return self.send_abroad(&letter).await;
        }
        match self.shown(&letter) {
            PhoneText::Text(body) => {
                self.state().typing.sent(&letter);
                self.send_text(letter, &body).await;
            }
            PhoneText::Encrypted(hint) => self.send_unreadable(&letter, hint).await,
            PhoneText::Nothing => {
                for (device, _) in &letter.devices {
                    self.send_notification(device, &letter.stanza).await;
                }
                self.send_typing(&letter).await;
            }
        }
    }

    /// What a phone gets of a stanza.
    pub(super) fn shown(&self, letter: &Letter) -> PhoneText {
        let stanza = &letter.stanza;
        if letter.edited
            && let Some(body) = stanza.body()
        {
            return PhoneText::Text(body);
        }
        let Ok(element) = stanza.element() else { return PhoneText::Nothing };
        let who = stanza.from().and_then(|from| from.node().map(str::to_owned)).unwrap_or_default();
        let mut original = None;
        if let Some(reactions) = element.child("reactions", REACTIONS) {
            if !self.0.settings.reactions {
                return PhoneText::Nothing;
            }
            let id = reactions.attr("id").unwrap_or_default();
            original = self.state().text(stanza, id);
        }
        text::for_phone(&element, &who, original.as_deref())
    }

    /// The text of a stanza that a phone can show.
    pub(super) fn text_of(&self, letter: &Letter) -> Option<String> {
        match self.shown(letter) {
            PhoneText::Text(text) => Some(text),
            PhoneText::Encrypted(_) | PhoneText::Nothing => None,
        }
    }

    /// The sender hears of it as soon as one phone has it; the others get theirs as they can.
    async fn send_text(&self, letter: Letter, body: &str) {
        let letter = Arc::new(letter);
        let mut fates: FuturesUnordered<_> = self.post(&letter, body).into_iter().collect();
        let mut refused: Vec<Taken> = Vec::new();
        while let Some(fate) = fates.next().await {
            let Ok(taken) = fate else { continue };
            if !taken.is_taken() {
                refused.push(taken);
                continue;
            }
            self.answer(&letter.stanza, Answer::Delivered(taken.status));
            if !self.confirm(&letter, &taken).await && letter.stanza.has("request", RECEIPTS) {
                // Another may say more than that it is kept for it.
                let chat = self.clone();
                tokio::spawn(async move {
                    while let Some(fate) = fates.next().await {
                        if let Ok(taken) = fate
                            && chat.confirm(&letter, &taken).await
                        {
                            return;
                        }
                    }
                });
            }
            return;
        }
        metrics::counter!("tandem_messages_to_phones_failed_total").increment(1);
        let worst = refused.iter().find(|t| !is_away(t.status)).or_else(|| refused.first());
        let (status, reason) = worst.map_or((480, ""), |taken| (taken.status, &*taken.reason));
        self.failed(&letter, status, reason).await;
    }

    /// Tells who asked that a phone has the text: 200 means that it reached the phone itself (RFC 3428 section 7); 202
    /// does not, and a phone that was asked says so itself.
    async fn confirm(&self, letter: &Letter, taken: &Taken) -> bool {
        let is_there = taken.status == 200 && !taken.wrapped;
        if is_there
            && let Some(from) = letter.stanza.from()
            && letter.stanza.has("request", RECEIPTS)
        {
            self.receipt(&taken.device, from, letter.stanza.id(), "received").await;
        }
        is_there || taken.wrapped
    }

    /// Sends a text to all phones of a letter at once, and waits for all of them.
    pub(super) async fn send_to_all(&self, letter: Letter, body: &str) -> Vec<Taken> {
        let fates = self.post(&Arc::new(letter), body);
        futures_util::future::join_all(fates).await.into_iter().flatten().collect()
    }

    /// Sends a text to one phone: wrapped where a notification is wanted and known, else as it is; what is too long as
    /// its beginning and a link. Status, phrase, and whether it was wrapped.
    pub(super) async fn send_to(
        &self,
        letter: &Letter,
        device: &Jid,
        binding: &Arc<Binding>,
        body: &str,
    ) -> (u16, String, bool) {
        let Some(from) = letter.stanza.from() else { return (400, String::new(), false) };
        if let Some(sessions) = self.0.sessions.get()
            && let Some(status) =
                sessions.send(device, from, TEXT, Bytes::copy_from_slice(body.as_bytes())).await
        {
            return (status, String::new(), false);
        }
        let asks = letter.stanza.has("request", RECEIPTS) || letter.stanza.has("markable", MARKERS);
        if asks && self.state().speaks_cpim.contains(&binding.id) {
            let wrapped = self.wrapped(from, device, binding, &letter.stanza, body);
            let (status, phrase) = self.send_one(self.dressed(letter, wrapped)).await;
            match status {
                // It unlearnt CPIM; the text alone goes through.
                415 => {
                    self.state().speaks_cpim.remove(&binding.id);
                }
                // So it may without the wrapping.
                513 => {}
                _ => return (status, phrase, true),
            }
        }
        let plain =
            |text: &str| self.dressed(letter, request(from, binding, TEXT, text.to_owned()));
        let owners = [letter.stanza.from().map(Jid::bare), Some(letter.account.clone())];
        let (status, phrase) = self.send_or_link(owners, body, plain).await;
        (status, phrase, false)
    }

    /// Sends a text in a request that `make` makes; one that is too long as its beginning and a link to all of it, kept
    /// as a file of the first owner that is an account here.
    pub(in crate::bridge) async fn send_or_link(
        &self,
        owners: [Option<Jid>; 2],
        body: &str,
        make: impl Fn(&str) -> Option<OutgoingMessage>,
    ) -> (u16, String) {
        let (status, phrase) = self.send_one(make(body)).await;
        if status != 513 || self.0.settings.long_texts == LongTexts::Refuse {
            return (status, phrase);
        }
        let Some(link) = self.link_to(owners, body).await else { return (status, phrase) };
        let beginning: String = body.chars().take(BEGINNING).collect();
        self.send_one(make(&format!("{beginning}... {link}"))).await
    }

    async fn link_to(&self, owners: [Option<Jid>; 2], body: &str) -> Option<String> {
        let depot = self.0.depot.as_ref()?;
        for owner in owners.into_iter().flatten() {
            let bytes = body.to_owned().into();
            match depot.keep_whole(&owner, "message.txt", "text/plain; charset=utf-8", bytes).await
            {
                Ok(link) => return Some(link),
                Err(error) => tracing::debug!(?error, "a long text is not kept as a file"),
            }
        }
        None
    }

    async fn send_one(&self, message: Option<OutgoingMessage>) -> (u16, String) {
        let Some(message) = message else { return (400, String::new()) };
        if message.body.len() > MAX_TEXT {
            return (513, format!("at most {MAX_TEXT} bytes reach a phone"));
        }
        match self.0.sip.message(message).await {
            Ok(result) => (result.status, result.reason),
            Err(_) => (503, String::new()),
        }
    }

    /// Puts on a request what table 1 of RFC 7572 has besides the body, and the time where it waited.
    pub(super) fn dressed(
        &self,
        letter: &Letter,
        message: Option<OutgoingMessage>,
    ) -> Option<OutgoingMessage> {
        let mut message = message?;
        let stanza = &letter.stanza;
        // People of other domains are known to phones by their own addresses.
        if let Some(uri) = stanza.from().and_then(|from| self.0.domains.shown(from)) {
            message.from = NameAddr::new(uri);
        }
        let subject = stanza.child("subject", ns::CLIENT).map(|e| e.text());
        if let Some(subject) = subject.filter(|s| !s.is_empty()) {
            let subject: String = subject.chars().take(MAX_SUBJECT).collect();
            message
                .headers
                .push(("Subject".into(), subject.replace(|c: char| c.is_control(), " ")));
        }
        if let Some(language) = language(stanza) {
            message.headers.push(("Content-Language".into(), language));
        }
        if let Some(date) = sent_at(stanza) {
            message.headers.push(("Date".into(), date.to_string()));
        }
        let thread = stanza.child("thread", ns::CLIENT).map(|e| e.text());
        if let (Some(thread), Some(from)) = (thread, stanza.from())
            && let Some(line) = self.state().threads.next(from, &letter.account, &thread)
        {
            message.from = message.from.with_tag(&line.tag);
            message.call_id = Some(line.call_id);
            message.cseq = Some(line.cseq);
        }
        Some(message)
    }

    /// No phone took it. Somebody else may have it; else it is kept, or the sender is told.
    async fn failed(&self, letter: &Letter, status: u16, phrase: &str) {
        let to_all = letter.stanza.to().is_some_and(Jid::is_bare);
        let elsewhere =
            self.0.xmpp.presences(&letter.account).iter().any(|p| !p.attached && p.priority >= 0);
        if to_all && elsewhere {
            return self.answer(&letter.stanza, Answer::Delivered(200));
        }
        if is_away(status) {
            match self.0.xmpp.keep_undelivered(&letter.account, &letter.stanza).await {
                Ok(true) => {
                    self.state().kept.insert(letter.account.clone());
                    return self.answer(&letter.stanza, Answer::Stored);
                }
                Ok(false) => tracing::info!("too many messages wait for an account"),
                Err(error) => tracing::error!(%error, "a message cannot be kept"),
            }
        }
        let error = reason::status_to_error(status, phrase)
            .unwrap_or_else(|| StanzaError::new(Condition::UndefinedCondition));
        self.refuse(&letter.stanza, status, &error).await;
    }

    pub(super) async fn refuse(&self, stanza: &Stanza, status: u16, error: &StanzaError) {
        self.answer(stanza, Answer::Refused(status));
        if let Some(reply) = stanza.error_reply(error) {
            self.0.xmpp.inject(reply).await;
        }
    }

    /// What is encrypted for others is no use to a phone: it gets the client's own hint once, the sender the truth.
    async fn send_unreadable(&self, letter: &Letter, hint: Option<String>) {
        if let (Some(hint), Some(from)) = (hint, letter.stanza.from()) {
            for (_, binding) in &letter.devices {
                self.send_one(request(from, binding, TEXT, hint.clone())).await;
            }
        }
        let others = self.0.xmpp.presences(&letter.account).iter().any(|p| !p.attached);
        if !others {
            let error = StanzaError::new(Condition::NotAcceptable);
            let error = error.with_text("a phone cannot decrypt this");
            self.refuse(&letter.stanza, 488, &error).await;
        }
    }

    fn wrapped(
        &self,
        from: &Jid,
        device: &Jid,
        binding: &Arc<Binding>,
        stanza: &Stanza,
        body: &str,
    ) -> Option<OutgoingMessage> {
        let id = new_id();
        let uri = identity::jid_to_sip(&from.bare()).ok()?.to_string();
        let to = identity::jid_to_sip(&device.bare()).ok()?.to_string();
        let markable = stanza.has("markable", MARKERS);
        let cpim = Cpim::text(&uri, &to, &id, &stamp(), markable, body);
        let sent = Sent::new(from, device, stanza.id().unwrap_or_default());
        self.state().receipts.sent(id, sent);
        request(from, binding, "message/cpim", cpim.print())
    }
}

/// The language of a text, where its sender said it.
fn language(stanza: &Stanza) -> Option<String> {
    if !stanza.mentions("xml:lang") {
        return None;
    }
    let element = stanza.element().ok()?;
    let plain =
        |e: &&tandem_xmpp::xml::Element| e.is("body", ns::CLIENT) && e.attr("xml:lang").is_none();
    // A body in a language of its own is taken where there is none without.
    let body = if element.elements().any(|e| plain(&e)) {
        None
    } else {
        element.child("body", ns::CLIENT).and_then(|b| b.attr("xml:lang"))
    };
    let language = body.or_else(|| element.attr("xml:lang"))?;
    let is_tag = language.len() <= MAX_LANGUAGE
        && !language.is_empty()
        && language.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    is_tag.then(|| language.to_owned())
}

/// Answers that say "not there now" rather than "no".
pub(in crate::bridge) fn is_away(status: u16) -> bool {
    matches!(status, 408 | 430 | 480 | 503 | 504)
}
