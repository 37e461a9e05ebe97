//! Texts to and from telephone numbers, by trunks (RFC 3428, RFC 7572).
//!
//! A number is an XMPP address in a domain of its own, and nobody's account: what no trunk takes goes back to its sender, and
//! is kept for nobody. A trunk's 200 says that it took a text, not that a person's phone did: no receipt is made of it.

use std::time::Instant;

use tandem_sip::msg::Uri;
use tandem_sip::ports::{IncomingMessage, MessageReply, OutgoingMessage, Target};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::{Condition, Stanza, StanzaError};

use super::from_phone::{PATIENCE, Way};
use super::to_phone::TEXT;
use super::{Answer, Chat, Letter};
use crate::bridge::numbers::{Dialled, is_of_trunk};
use crate::bridge::text::PhoneText;
use crate::bridge::tolls::{Item, Refused};
use crate::bridge::{identity, reason};
use crate::config::Trunk;

impl Chat {
    /// Whom a phone writes to: an address, a number that it dialled, or somebody of another domain.
    pub(super) async fn addressee(&self, to: &Uri) -> Result<Jid, u16> {
        if let Some(abroad) = self.0.domains.written_to(to).await {
            return Ok(abroad);
        }
        let plan = &self.0.plan;
        let named = identity::sip_to_jid(to);
        let Some(number) = plan.dialled(to) else { return named.map_err(|_| 404) };
        if let Some(emergency) = plan.emergency(to) {
            return Ok(emergency);
        }
        match named {
            Ok(named) if plan.is_number_domain(&named) || self.is_account(&named).await? => {
                Ok(named)
            }
            _ => Ok(number),
        }
    }

    pub(super) async fn is_account(&self, jid: &Jid) -> Result<bool, u16> {
        let accounts = &self.0.xmpp.ports().accounts;
        accounts.exists(&jid.bare()).await.map_err(|_| 500)
    }

    /// A MESSAGE of a trunk, to the account that has the number.
    pub(super) async fn trunk_wrote(&self, message: &IncomingMessage) -> Result<MessageReply, u16> {
        let plan = &self.0.plan;
        let to = message.headers.to().map(|to| to.0.uri);
        let to = plan.called(&message.to, to.as_ref().ok()).ok_or(404_u16)?;
        if !self.is_account(&to).await? {
            return Err(404);
        }
        let from = plan.caller(&message.account).ok_or(403_u16)?;
        let reply = self.read_phone(message, Way { from: &from, to: &to }).await;
        Ok(reply.unwrap_or_else(|reply| reply))
    }

    /// Sends a letter to a number, by the first trunk that takes it.
    pub(super) async fn send_to_number(&self, letter: &Letter) {
        let stanza = &letter.stanza;
        let Some(body) = self.readable(letter).await else { return };
        let (status, phrase) = match self.send_by_trunk(letter, &body).await {
            Ok(sent) => sent,
            Err(refused) => {
                let account =
                    stanza.from().map(Jid::bare).unwrap_or_else(|| letter.account.clone());
                refused.audit(&account, letter.account.node().unwrap_or_default());
                (refused.status(), refused.why().to_owned())
            }
        };
        self.settled(stanza, status, &phrase).await;
    }

    /// What can be read of a letter by whom no phone of ours speaks for. Nothing: its sender is told.
    pub(super) async fn readable(&self, letter: &Letter) -> Option<String> {
        match self.shown(letter) {
            PhoneText::Text(body) => return Some(body),
            PhoneText::Encrypted(_) => {
                let error = StanzaError::new(Condition::NotAcceptable);
                let error = error.with_text("a phone cannot decrypt this");
                self.refuse(&letter.stanza, 488, &error).await;
            }
            // Receipts and who types stay on this side.
            PhoneText::Nothing => self.answer(&letter.stanza, Answer::Delivered(200)),
        }
        None
    }

    /// A message to elsewhere got its final answer; what nobody took is kept for nobody.
    pub(super) async fn settled(&self, stanza: &Stanza, status: u16, phrase: &str) {
        match reason::status_to_error(status, phrase) {
            None => self.answer(stanza, Answer::Delivered(status)),
            Some(error) => {
                metrics::counter!("tandem_messages_to_phones_failed_total").increment(1);
                self.refuse(stanza, status, &error).await;
            }
        }
    }

    /// The answer of the last trunk that was asked.
    async fn send_by_trunk(&self, letter: &Letter, body: &str) -> Result<(u16, String), Refused> {
        let plan = &self.0.plan;
        let number = plan.number(&letter.account).ok_or(Refused::NoTrunk)?;
        let from = letter.stanza.from().ok_or(Refused::Stranger)?.bare();
        let now = Instant::now();
        let mut ways = plan.admit(&from, &number, Item::Message, now)?;
        ways.retain(|trunk| trunk.messages);
        if ways.is_empty() {
            return Err(Refused::NoTrunk);
        }
        // Those that do not answer come last, and are tried all the same.
        ways.sort_by_key(|trunk| self.0.sip.is_away(&trunk.name));
        let mut last = None;
        for trunk in ways {
            if last.is_some() && now.elapsed() > PATIENCE {
                // Who wrote it has been told that it took too long, and would be wrong if it arrived.
                break;
            }
            if !plan.has_room(&trunk, &number, Item::Message, now) {
                continue;
            }
            let owners = [Some(from.clone()), None];
            let make =
                |text: &str| self.dressed(letter, self.text_by_trunk(&from, &number, &trunk, text));
            let (status, phrase) = self.send_or_link(owners, body, make).await;
            if !is_of_trunk(status) || status == 513 {
                return Ok((status, phrase));
            }
            tracing::warn!(trunk = trunk.name, status, "a trunk did not take a message");
            last = Some((status, phrase));
        }
        last.ok_or(Refused::Full)
    }

    fn text_by_trunk(
        &self,
        from: &Jid,
        number: &Dialled,
        trunk: &Trunk,
        text: &str,
    ) -> Option<OutgoingMessage> {
        let to = self.0.plan.target(number, trunk)?;
        let (from, headers) = self.0.plan.sender(from, trunk, false)?;
        Some(OutgoingMessage {
            target: Target::Uri(to.clone()),
            from,
            to,
            call_id: None,
            cseq: None,
            headers,
            login: trunk.login(),
            content_type: TEXT.to_owned(),
            body: text.to_owned().into(),
        })
    }
}
