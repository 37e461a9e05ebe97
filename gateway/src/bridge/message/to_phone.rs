//! Stanzas become MESSAGE requests (RFC 7572 section 4, RFC 3428; `interop.md` 2.2 to 2.6, 3.4 and 3.5).

use tandem_sip::ports::{Binding, OutgoingMessage};
use tandem_sip::transport::Protocol;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{Kept, Offline};
use tandem_xmpp::stanza::{Condition, Stanza, StanzaError};

use super::{Answer, Chat, Job, MARKERS, RECEIPTS, Sent, new_id, request, stamp};
use crate::bridge::cpim::Cpim;
use crate::bridge::text::{self, PhoneText};
use crate::bridge::{identity, reason};

const TEXT: &str = "text/plain;charset=utf-8";
/// Bytes of body that fit a datagram beside the header fields: a request over UDP has to stay below 1300 (RFC 3428
/// section 8).
const MAX_DATAGRAM_BODY: usize = 850;

impl Chat {
    pub(super) async fn send(&self, job: Job) {
        let who = job.stanza.from().and_then(|from| from.node().map(str::to_owned));
        let shown =
            job.stanza.element().map(|e| text::for_phone(&e, &who.unwrap_or_default(), None));
        match shown {
            Ok(PhoneText::Text(body)) => {
                self.state().typing.sent(&job);
                self.send_text(&job, &body).await;
            }
            Ok(PhoneText::Encrypted(hint)) => self.send_unreadable(&job, hint).await,
            Ok(PhoneText::Nothing) | Err(_) => {
                for (device, _) in &job.devices {
                    self.send_notification(device, &job.stanza).await;
                }
                self.send_typing(&job).await;
            }
        }
    }

    async fn send_text(&self, job: &Job, body: &str) {
        let Some(from) = job.stanza.from() else { return };
        let wants_receipt = job.stanza.has("request", RECEIPTS);
        let sends = job.devices.iter().map(|(device, binding)| async move {
            let wrapped = wants_receipt && self.state().speaks_cpim.contains(&binding.id);
            let (status, phrase) =
                self.send_to(from, device, binding, &job.stanza, body, wrapped).await;
            (status, phrase, wrapped, device)
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
        metrics::counter!("tandem_messages_to_phones_failed_total").increment(1);
        let worst = results.iter().find(|(s, ..)| !is_away(*s)).or_else(|| results.first());
        let (status, phrase) = worst.map_or((480, ""), |(status, phrase, ..)| (*status, phrase));
        self.failed(job, status, phrase).await;
    }

    /// Sends a text to one phone, wrapped where a notification is wanted; status and phrase.
    async fn send_to(
        &self,
        from: &Jid,
        device: &Jid,
        binding: &Binding,
        stanza: &Stanza,
        body: &str,
        wrapped: bool,
    ) -> (u16, String) {
        let plain = || request(from, binding, TEXT, body.to_owned());
        let first =
            if wrapped { self.wrapped(from, device, binding, stanza, body) } else { plain() };
        let (status, phrase) = self.send_one(binding, first).await;
        if !(wrapped && status == 415) {
            return (status, phrase);
        }
        // It unlearnt CPIM; the text alone goes through.
        self.state().speaks_cpim.remove(&binding.id);
        self.send_one(binding, plain()).await
    }

    async fn send_one(&self, binding: &Binding, message: Option<OutgoingMessage>) -> (u16, String) {
        let Some(message) = message else { return (400, String::new()) };
        let is_datagram = binding.flow.protocol == Protocol::Udp;
        if is_datagram && message.body.len() > MAX_DATAGRAM_BODY {
            let text = format!("at most {MAX_DATAGRAM_BODY} bytes reach this phone over UDP");
            return (513, text);
        }
        match self.0.sip.message(message).await {
            Ok(result) => (result.status, result.reason),
            Err(_) => (503, String::new()),
        }
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
            match self.0.xmpp.keep_undelivered(&job.account, &job.stanza).await {
                Ok(true) => return self.answer(&job.stanza, Answer::Stored),
                Ok(false) => tracing::info!("too many messages wait for an account"),
                Err(error) => tracing::error!(%error, "a message cannot be kept"),
            }
        }
        let error = reason::status_to_error(status, phrase)
            .unwrap_or_else(|| StanzaError::new(Condition::UndefinedCondition));
        self.refuse(&job.stanza, status, &error).await;
    }

    async fn refuse(&self, stanza: &Stanza, status: u16, error: &StanzaError) {
        self.answer(stanza, Answer::Refused(status));
        if let Some(reply) = stanza.error_reply(error) {
            self.0.xmpp.inject(reply).await;
        }
    }

    /// What is encrypted for others is no use to a phone: it gets the client's own hint once, the sender the truth.
    async fn send_unreadable(&self, job: &Job, hint: Option<String>) {
        if let (Some(hint), Some(from)) = (hint, job.stanza.from()) {
            for (_, binding) in &job.devices {
                self.send_one(binding, request(from, binding, TEXT, hint.clone())).await;
            }
        }
        let others = self.0.xmpp.presences(&job.account).iter().any(|p| !p.attached);
        if !others {
            let error = StanzaError::new(Condition::NotAcceptable);
            let error = error.with_text("a phone cannot decrypt this");
            self.refuse(&job.stanza, 488, &error).await;
        }
    }

    fn wrapped(
        &self,
        from: &Jid,
        device: &Jid,
        binding: &Binding,
        stanza: &Stanza,
        body: &str,
    ) -> Option<OutgoingMessage> {
        let id = new_id();
        let uri = identity::jid_to_sip(&from.bare()).ok()?.to_string();
        let to = identity::jid_to_sip(&device.bare()).ok()?.to_string();
        let markable = stanza.has("markable", MARKERS);
        let cpim = Cpim::text(&uri, &to, &id, &stamp(), markable, body);
        let sent = Sent {
            sender: from.clone(),
            device: device.clone(),
            stanza_id: stanza.id().unwrap_or_default().to_owned(),
            told: false,
        };
        self.state().sent.put(id, sent);
        request(from, binding, "message/cpim", cpim.print())
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
        for Kept { seq: id, stanza, .. } in waiting {
            let Some(binding) = self.0.contacts.binding(device) else { return };
            let Ok(stanza) = Stanza::parse(stanza) else { continue };
            let (Some(from), Some(body)) = (stanza.from(), stanza.body()) else { continue };
            let (status, _) = self.send_one(&binding, request(from, &binding, TEXT, body)).await;
            match status {
                200..=299 => {}
                // It does not fit this phone; an app will show it.
                513 => continue,
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
