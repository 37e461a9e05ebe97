//! Delivered and displayed (XEP-0184, XEP-0333) against IMDN (RFC 5438; `interop.md` 3.1 and 3.2).

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use tandem_sip::ports::MessageReply;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::{Condition, Stanza, StanzaError};
use tandem_xmpp::xml::Element;

use super::{Chat, MARKERS, RECEIPTS, message_from, new_id, request, stamp};
use crate::bridge::cpim::{Cpim, Notification, Status, Wants};
use crate::bridge::identity;

/// Ids that are remembered for receipts.
const MAX_IDS: usize = 50_000;
/// Of what matters for minutes alone: every message leaves some.
pub(super) const FEW_IDS: usize = 10_000;
/// Messages of one conversation that may be marked as read at once.
const MAX_UNREAD: usize = 100;

/// A bounded memory that forgets the oldest. Names are kept as 64 bits that nobody outside can foresee: of as many as are
/// remembered, two of the same bits are met once in ten billion such memories.
pub(super) struct Remembered<T, const MOST: usize = MAX_IDS> {
    entries: HashMap<u64, T, BuildHasherDefault<Hashed>>,
    order: VecDeque<u64>,
    key: RandomState,
}

/// A name is a hash already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, name: u64) {
        self.0 = name;
    }

    fn write(&mut self, _: &[u8]) {}
}

impl<T, const MOST: usize> Default for Remembered<T, MOST> {
    fn default() -> Self {
        Self { entries: HashMap::default(), order: VecDeque::new(), key: RandomState::new() }
    }
}

impl<T, const MOST: usize> Remembered<T, MOST> {
    pub(super) fn put(&mut self, id: &str, value: T) {
        if self.order.is_empty() && MOST <= FEW_IDS {
            // It will be full soon. A table that doubles takes three times its room while it does, some minutes later, when
            // somebody looks for what leaks.
            self.entries.reserve(MOST + 1);
            self.order.reserve_exact(MOST + 1);
        }
        let name = self.name(id);
        if self.entries.insert(name, value).is_none() {
            self.order.push_back(name);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        let name = self.name(id);
        self.entries.get_mut(&name)
    }

    fn name(&self, id: &str) -> u64 {
        self.key.hash_one(id)
    }
}

/// Who asked whom for what.
#[derive(Default)]
pub(super) struct Receipts {
    /// Messages from phones that asked for notifications, by stanza id.
    asked: Remembered<Asked>,
    /// Those of one phone to one account that may still be displayed, oldest first.
    unread: Remembered<VecDeque<String>>,
    /// Messages to phones that XMPP clients want receipts for, by CPIM message id.
    sent: Remembered<Sent>,
    /// The last message of a conversation that a phone said was displayed.
    displayed: Remembered<u64>,
    count: u64,
}

/// A message from a phone that asked for notifications.
struct Asked {
    device: Jid,
    message_id: String,
    wants: Wants,
}

/// A message to a phone that an XMPP client wants a receipt for.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    sender: Jid,
    device: Jid,
    stanza_id: String,
    /// Its place among all that were sent.
    number: u64,
    /// The receipt has been given.
    told: bool,
}

impl Sent {
    pub(super) fn new(sender: &Jid, device: &Jid, stanza_id: &str) -> Self {
        let (sender, device) = (sender.clone(), device.clone());
        Self { sender, device, stanza_id: stanza_id.to_owned(), number: 0, told: false }
    }
}

/// What a phone's notification means for the client that wrote.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// Nothing: nobody asked, or it was said before.
    Nothing,
    /// It speaks of a message that was not for it.
    Forbidden,
    /// These receipts, in this order, to this client about this stanza.
    Receipts(Vec<&'static str>, Jid, String),
    /// It will not arrive.
    Failed(Jid, String),
}

impl Receipts {
    /// A phone's message asks for notifications.
    pub(super) fn asked(
        &mut self,
        id: &str,
        device: &Jid,
        to: &Jid,
        message_id: &str,
        wants: Wants,
    ) {
        if wants.displayed {
            let talk = talk(device, to);
            match self.unread.get_mut(&talk) {
                Some(unread) => {
                    unread.push_back(id.to_owned());
                    if unread.len() > MAX_UNREAD {
                        unread.pop_front();
                    }
                }
                None => self.unread.put(&talk, VecDeque::from([id.to_owned()])),
            }
        }
        let asked = Asked { device: device.clone(), message_id: message_id.to_owned(), wants };
        self.asked.put(id, asked);
    }

    /// A wrapped message leaves for a phone.
    pub(super) fn sent(&mut self, id: String, sent: Sent) {
        self.count += 1;
        self.sent.put(&id, Sent { number: self.count, ..sent });
    }

    /// What a phone is to be told when a client says `status` about a message: one notification of each kind, whoever of
    /// several devices is first. A marker stands for everything before it; a displayed message has been delivered.
    fn answers(
        &mut self,
        device: &Jid,
        reader: &Jid,
        id: &str,
        status: Status,
    ) -> Vec<Notification> {
        let mut ids = vec![id.to_owned()];
        if status == Status::Displayed
            && let Some(unread) = self.unread.get_mut(&talk(device, reader))
            && let Some(at) = unread.iter().position(|known| known == id)
        {
            ids = unread.drain(..=at).collect();
        }
        let mut answers = Vec::new();
        for id in ids {
            let Some(asked) = self.asked.get_mut(&id).filter(|a| a.device == *device) else {
                continue;
            };
            let wants = &mut asked.wants;
            let delivered = status != Status::Failed && std::mem::take(&mut wants.delivered);
            let failed = status == Status::Failed && std::mem::take(&mut wants.failed);
            let displayed = status == Status::Displayed && std::mem::take(&mut wants.displayed);
            let said = [
                (delivered, Status::Delivered),
                (failed, Status::Failed),
                (displayed, Status::Displayed),
            ];
            let message_id = &asked.message_id;
            answers.extend(
                said.into_iter()
                    .filter(|(is_said, _)| *is_said)
                    .map(|(_, status)| Notification { message_id: message_id.clone(), status }),
            );
        }
        answers
    }

    /// What a client is to be told when a phone notifies.
    fn told(&mut self, device: &Jid, about: &Notification) -> Told {
        let Some(sent) = self.sent.get_mut(&about.message_id) else { return Told::Nothing };
        if sent.device.bare() != device.bare() {
            return Told::Forbidden;
        }
        let (sender, id, number) = (sent.sender.clone(), sent.stanza_id.clone(), sent.number);
        let mut receipts = Vec::new();
        match about.status {
            Status::Failed if !sent.told => return Told::Failed(sender, id),
            Status::Failed => return Told::Nothing,
            // Seen implies received; both are told, received first.
            Status::Delivered | Status::Displayed => {
                if !std::mem::replace(&mut sent.told, true) {
                    receipts.push("received");
                }
            }
        }
        if about.status == Status::Displayed {
            let talk = talk(&device.bare(), &sender);
            let last = self.displayed.get_mut(&talk).copied().unwrap_or_default();
            if number > last {
                self.displayed.put(&talk, number);
                receipts.push("displayed");
            }
        }
        if receipts.is_empty() { Told::Nothing } else { Told::Receipts(receipts, sender, id) }
    }
}

fn talk(device: &Jid, other: &Jid) -> String {
    format!("{device} {}", other.bare())
}

impl Chat {
    /// A receipt or marker of an XMPP client, for a phone that asked for one.
    pub(super) async fn send_notification(&self, device: &Jid, stanza: &Stanza) {
        let received = stanza.child("received", RECEIPTS).map(|e| (e, Status::Delivered));
        let marked = stanza.child("displayed", MARKERS).map(|e| (e, Status::Displayed));
        let Some(reader) = stanza.from() else { return };
        for (element, status) in received.into_iter().chain(marked) {
            let Some(id) = element.attr("id") else { continue };
            let answers = self.state().receipts.answers(device, reader, id, status);
            for about in answers {
                self.send_imdn(device, reader, &about).await;
            }
        }
    }

    /// A phone's message comes back from where it was sent after the phone was told that it was on its way.
    pub(super) async fn bounced(&self, stanza: &Stanza) {
        let (Some(id), Some(from), Some(device)) = (stanza.id(), stanza.from(), stanza.to()) else {
            return;
        };
        let answers = self.state().receipts.answers(device, from, id, Status::Failed);
        for about in answers {
            self.send_imdn(device, from, &about).await;
        }
    }

    async fn send_imdn(&self, device: &Jid, from: &Jid, about: &Notification) {
        let Some(binding) = self.0.contacts.binding(device) else { return };
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
        let told = self.state().receipts.told(device, &about);
        match told {
            Told::Nothing => {}
            Told::Forbidden => return MessageReply::new(403),
            Told::Receipts(kinds, sender, id) => {
                for kind in kinds {
                    self.receipt(device, &sender, Some(&id), kind).await;
                }
            }
            Told::Failed(sender, id) => {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    fn said(message_id: &str, status: Status) -> Notification {
        Notification { message_id: message_id.into(), status }
    }

    #[test]
    fn a_marker_stands_for_all_before_it_and_each_is_told_once() {
        let (phone, app) = (jid("ana@h/phone"), jid("carl@h/app"));
        let mut receipts = Receipts::default();
        let all = Wants { delivered: true, failed: true, displayed: true };
        receipts.asked("s1", &phone, &app, "m1", all);
        receipts.asked("s2", &phone, &app, "m2", Wants { delivered: true, ..Wants::default() });
        receipts.asked("s3", &phone, &app, "m3", all);
        receipts.asked("s4", &phone, &app, "m4", all);
        let answers = receipts.answers(&phone, &jid("carl@h/other"), "s1", Status::Delivered);
        assert_eq!(answers, [said("m1", Status::Delivered)]);
        assert_eq!(receipts.answers(&phone, &app, "s1", Status::Delivered), []);
        assert_eq!(receipts.answers(&jid("eve@h/x"), &app, "s3", Status::Displayed), []);
        let answers = receipts.answers(&phone, &app, "s3", Status::Displayed);
        let expected = [
            said("m1", Status::Displayed),
            said("m3", Status::Delivered),
            said("m3", Status::Displayed),
        ];
        assert_eq!(answers, expected, "the second asked for no display");
        assert_eq!(receipts.answers(&phone, &app, "s3", Status::Displayed), []);
        assert_eq!(
            receipts.answers(&phone, &app, "s4", Status::Failed),
            [said("m4", Status::Failed)]
        );
    }

    #[test]
    fn a_phones_notifications_go_forward_only() {
        let (phone, app) = (jid("ana@h/phone"), jid("carl@h/app"));
        let mut receipts = Receipts::default();
        for n in 1..=3 {
            receipts.sent(format!("i{n}"), Sent::new(&app, &phone, &format!("s{n}")));
        }
        let told =
            |receipts: &mut Receipts, id: &str, status| receipts.told(&phone, &said(id, status));
        let both = Told::Receipts(vec!["received", "displayed"], app.clone(), "s2".into());
        assert_eq!(told(&mut receipts, "i2", Status::Displayed), both);
        assert_eq!(told(&mut receipts, "i2", Status::Displayed), Told::Nothing);
        assert_eq!(told(&mut receipts, "i2", Status::Failed), Told::Nothing);
        let late = Told::Receipts(vec!["received"], app.clone(), "s1".into());
        assert_eq!(told(&mut receipts, "i1", Status::Displayed), late, "it moves nothing forward");
        assert_eq!(
            told(&mut receipts, "i3", Status::Failed),
            Told::Failed(app.clone(), "s3".into())
        );
        assert_eq!(told(&mut receipts, "none", Status::Delivered), Told::Nothing);
        assert_eq!(receipts.told(&jid("eve@h/p"), &said("i3", Status::Delivered)), Told::Forbidden);
    }
}
