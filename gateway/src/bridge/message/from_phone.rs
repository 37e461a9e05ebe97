//! MESSAGE requests become stanzas (RFC 7572 section 5, RFC 3428 section 7; `interop.md` 2.2 and 2.5).

use std::time::Duration;

use sha2::{Digest, Sha256};
use tandem_sip::ports::{IncomingMessage, MessageReply};
use tandem_xmpp::Outcome;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::Condition;
use tandem_xmpp::xml::{Element, ns};
use tokio::sync::oneshot;

use super::{Answer, Asked, Chat, MARKERS, RECEIPTS, message_from};
use crate::bridge::cpim::Cpim;
use crate::bridge::iscomposing;
use crate::bridge::{identity, reason, text};

/// What a phone may send; told with 415.
const ACCEPT: &str =
    "text/plain, message/cpim, application/im-iscomposing+xml, message/imdn+xml, text/html";
/// How long a phone's MESSAGE to another phone waits for that one's answer, below the sender's timer F.
const PATIENCE: Duration = Duration::from_secs(30);

impl Chat {
    /// A MESSAGE of an authenticated phone.
    pub async fn from_phone(&self, message: IncomingMessage) -> MessageReply {
        let (Ok(account), Ok(to)) =
            (crate::bridge::account(&message.account), identity::sip_to_jid(&message.to))
        else {
            return MessageReply::new(404);
        };
        let device = self.0.contacts.device(&account, message.binding.as_deref());
        let from = device.unwrap_or(account);
        let content_type = message.content_type.as_deref();
        match text::media_type(content_type).as_str() {
            "message/cpim" => self.cpim_from_phone(&message, &from, &to).await,
            "message/imdn+xml" => self.notified(&from, &message.body).await,
            iscomposing::CONTENT_TYPE => self.typing_from_phone(&message, &from, &to).await,
            _ => match text::from_phone(content_type, &message.body) {
                Ok(text) => self.text_from_phone(&message, &from, &to, &text, None).await,
                Err(_) => unsupported(),
            },
        }
    }

    async fn cpim_from_phone(
        &self,
        message: &IncomingMessage,
        from: &Jid,
        to: &Jid,
    ) -> MessageReply {
        let Some(cpim) = Cpim::parse(&message.body) else { return unsupported() };
        if let Some(binding) = &message.binding {
            self.state().speaks_cpim.insert(binding.clone());
        }
        if cpim.content_type.starts_with("message/imdn+xml") {
            return self.notified(from, cpim.content.as_bytes()).await;
        }
        match text::from_phone(Some(&cpim.content_type), cpim.content.as_bytes()) {
            Ok(text) => self.text_from_phone(message, from, to, &text, Some(&cpim)).await,
            Err(_) => unsupported(),
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
        self.state().typing.received(from, to);
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
            Outcome::Stored | Outcome::Sent => 202,
            Outcome::Refused(error) if error.condition == Condition::ServiceUnavailable => 404,
            Outcome::Refused(error) => reason::error_to_status(&error, !to.is_bare()),
        };
        self.state().waiting.remove(&id);
        // A 401 or 407 of the other phone is between it and us.
        MessageReply::new(if matches!(status, 401 | 407) { 403 } else { status })
    }
}

fn unsupported() -> MessageReply {
    let mut reply = MessageReply::new(415);
    reply.headers.push(("Accept".into(), ACCEPT.into()));
    reply
}

/// The same for a retransmission that slipped through, different for each message.
fn stanza_id(message: &IncomingMessage) -> String {
    let text = format!("{} {} {}", message.call_id, message.cseq, message.account);
    Sha256::digest(text).iter().take(12).map(|b| format!("{b:02x}")).collect()
}
