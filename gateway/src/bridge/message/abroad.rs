//! Texts to and from people of other SIP domains (RFC 3428, RFC 7572, RFC 3263).

use tandem_sip::msg::NameAddr;
use tandem_sip::ports::{IncomingMessage, MessageReply, OutgoingMessage};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::{Condition, StanzaError};

use super::from_phone::Way;
use super::to_phone::TEXT;
use super::{Chat, Letter};
use crate::bridge::{echo, identity};

impl Chat {
    /// A MESSAGE of somebody of another domain: to accounts alone, and to no services.
    pub(super) async fn foreigner_wrote(
        &self,
        message: &IncomingMessage,
    ) -> Result<MessageReply, u16> {
        let to = identity::sip_to_jid(&message.to).map_err(|_| 404_u16)?;
        if to.node() == Some(echo::NAME) || !self.is_account(&to).await? {
            return Err(404);
        }
        let from = self.0.domains.address(&message.account).ok_or(403_u16)?;
        let reply = self.read_phone(message, Way { from: &from, to: &to }).await;
        Ok(reply.unwrap_or_else(|reply| reply))
    }

    /// Sends a letter to somebody of another domain.
    pub(super) async fn send_abroad(&self, letter: &Letter) {
        let stanza = &letter.stanza;
        let Some(from) = stanza.from().filter(|from| self.0.domains.may_leave(from)) else {
            return self.refuse(stanza, 403, &StanzaError::new(Condition::Forbidden)).await;
        };
        if self.0.domains.uri(&letter.account).is_none() {
            return self.refuse(stanza, 404, &StanzaError::new(Condition::ItemNotFound)).await;
        }
        let Some(body) = self.readable(letter).await else { return };
        let owners = [Some(from.bare()), None];
        let make = |text: &str| self.dressed(letter, self.text_abroad(from, &letter.account, text));
        let (status, phrase) = self.send_or_link(owners, &body, make).await;
        self.settled(stanza, status, &phrase).await;
    }

    fn text_abroad(&self, from: &Jid, to: &Jid, text: &str) -> Option<OutgoingMessage> {
        Some(OutgoingMessage {
            target: self.0.domains.target(to)?,
            from: NameAddr::new(identity::jid_to_sip(&from.bare()).ok()?),
            to: self.0.domains.uri(to)?,
            call_id: None,
            cseq: None,
            headers: Vec::new(),
            login: None,
            content_type: TEXT.to_owned(),
            body: text.to_owned().into(),
        })
    }
}
