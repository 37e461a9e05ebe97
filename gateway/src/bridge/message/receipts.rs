//! Delivered and displayed (XEP-0184, XEP-0333) against IMDN (RFC 5438; `interop.md` 3.1 and 3.2).

use std::collections::{HashMap, VecDeque};

use tandem_sip::ports::MessageReply;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::{Condition, Stanza, StanzaError};
use tandem_xmpp::xml::Element;

use super::{Chat, MARKERS, RECEIPTS, message_from, new_id, request, stamp};
use crate::bridge::cpim::{Cpim, Notification, Status};
use crate::bridge::identity;

/// Ids that are remembered for receipts.
const MAX_IDS: usize = 50_000;

/// A bounded memory that forgets the oldest.
pub(super) struct Remembered<T> {
    entries: HashMap<String, T>,
    order: VecDeque<String>,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T> Remembered<T> {
    pub(super) fn put(&mut self, id: String, value: T) {
        if self.entries.insert(id.clone(), value).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > MAX_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }

    fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        self.entries.get_mut(id)
    }
}

/// A message from a phone that asked for notifications.
pub(super) struct Asked {
    pub(super) device: Jid,
    pub(super) message_id: String,
    pub(super) delivered: bool,
    pub(super) displayed: bool,
}

/// A message to a phone that an XMPP client wants a receipt for.
pub(super) struct Sent {
    pub(super) sender: Jid,
    pub(super) device: Jid,
    pub(super) stanza_id: String,
    /// The receipt has been given.
    pub(super) told: bool,
}

impl Chat {
    /// A receipt or marker of an XMPP client, for a phone that asked for one.
    pub(super) async fn send_notification(&self, device: &Jid, stanza: &Stanza) {
        let received = stanza.child("received", RECEIPTS).map(|e| (e, Status::Delivered));
        let marked = stanza.child("displayed", MARKERS).map(|e| (e, Status::Displayed));
        for (element, status) in received.into_iter().chain(marked) {
            let Some(id) = element.attr("id") else { continue };
            let message_id = {
                let mut state = self.state();
                let Some(asked) = state.asked.get_mut(id) else { continue };
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
        let cpim = Cpim::notification(&from_uri, &to, &new_id(), &stamp(), about);
        if let Some(message) = request(from, &binding, "message/cpim", cpim.print())
            && let Err(error) = self.0.sip.message(message).await
        {
            tracing::debug!(%error, "a notification did not reach its phone");
        }
    }

    /// A receipt or marker from a phone to an XMPP client.
    pub(super) async fn receipt(&self, device: &Jid, to: &Jid, id: Option<&str>, kind: &str) {
        let Some(id) = id else { return };
        let ns = if kind == "displayed" { MARKERS } else { RECEIPTS };
        let receipt = Element::new(kind, ns).with_attr("id", id);
        self.0.xmpp.inject(message_from(device, to).with_child(receipt)).await;
    }

    /// A phone's notification about a message that came from XMPP.
    pub(super) async fn notified(&self, device: &Jid, body: &[u8]) -> MessageReply {
        let Some(about) = Notification::parse(body) else { return MessageReply::new(400) };
        let found = {
            let mut state = self.state();
            state.sent.get_mut(&about.message_id).map(|sent| {
                let is_theirs = sent.device.bare() == device.bare();
                let first = is_theirs && !std::mem::replace(&mut sent.told, is_theirs);
                (sent.sender.clone(), is_theirs, sent.stanza_id.clone(), first)
            })
        };
        let Some((sender, is_theirs, id, first)) = found else { return MessageReply::new(200) };
        if !is_theirs {
            return MessageReply::new(403);
        }
        match about.status {
            // Seen implies received; both are told, received first.
            Status::Delivered | Status::Displayed => {
                if first {
                    self.receipt(device, &sender, Some(&id), "received").await;
                }
                if about.status == Status::Displayed {
                    self.receipt(device, &sender, Some(&id), "displayed").await;
                }
            }
            Status::Failed => {
                let error = StanzaError::new(Condition::RecipientUnavailable);
                let failed = message_from(device, &sender)
                    .with_attr("type", "error")
                    .with_attr("id", id.as_str())
                    .with_child(error.to_element());
                self.0.xmpp.inject(failed).await;
            }
        }
        MessageReply::new(200)
    }
}
