//! Store and forward (RFC 3428 section 7, `interop.md` 2.6): what waited for an account is given to the first of its
//! phones that is there, in order, each message to one device, with the time it was sent at.

use tandem_sip::msg::header::Date;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::Stanza;

use super::edits::{self, Pending};
use super::to_phone::is_away;
use super::{Chat, Letter, RECEIPTS};

const DELAY: &str = "urn:xmpp:delay";

impl Chat {
    /// Something waits for an account: its phones that sleep are woken, and get it when they have registered.
    pub fn wake_phones(&self, account: &Jid) {
        for (_, phone) in self.0.contacts.asleep(account) {
            self.0.sip.nudge(phone);
        }
    }

    /// Gives a phone what waited for its account.
    pub async fn flush(&self, account: &Jid, device: &Jid) {
        let door = self.door(account);
        let _alone = door.write().await;
        self.state().kept.remove(account);
        loop {
            let waiting = match self.0.xmpp.take_waiting(account).await {
                Ok(waiting) => waiting,
                Err(error) => return tracing::error!(%error, "waiting messages cannot be read"),
            };
            let mut queue = Vec::new();
            for taken in waiting {
                if let Ok(stanza) = Stanza::parse(taken.stanza.clone()) {
                    edits::enqueue(&mut queue, stanza, taken);
                }
            }
            let mut given = 0;
            for pending in queue {
                match self.give(account, device, &pending).await {
                    Given::Delivered => given += pending.parts.len(),
                    // No use to this phone; an app will show it.
                    Given::Unusable => continue,
                    Given::Away => {
                        self.state().kept.insert(account.clone());
                        return;
                    }
                }
                for taken in pending.parts {
                    taken.delivered().await;
                }
            }
            if given == 0 {
                return;
            }
        }
    }

    async fn give<T>(&self, account: &Jid, device: &Jid, pending: &Pending<T>) -> Given {
        let Some(stanza) = &pending.stanza else { return Given::Delivered };
        let Some(binding) = self.0.contacts.binding(device) else { return Given::Away };
        let letter = Letter {
            account: account.clone(),
            devices: vec![(device.clone(), binding)],
            stanza: stanza.clone(),
            edited: pending.edited,
        };
        let Some(text) = self.text_of(&letter) else { return Given::Unusable };
        let Some(taken) = self.send_to_all(letter, &text).await.into_iter().next() else {
            return Given::Away;
        };
        match taken.status {
            200..=299 => {}
            status if is_away(status) => return Given::Away,
            _ => return Given::Unusable,
        }
        if let Some(from) = stanza.from()
            && stanza.has("request", RECEIPTS)
            && !taken.wrapped
        {
            self.receipt(device, from, stanza.id(), "received").await;
        }
        Given::Delivered
    }
}

enum Given {
    Delivered,
    Unusable,
    Away,
}

/// When a message that waited was sent.
pub(super) fn sent_at(stanza: &Stanza) -> Option<Date> {
    let delay = stanza.child("delay", DELAY)?;
    let at = chrono::DateTime::parse_from_rfc3339(delay.attr("stamp")?).ok()?;
    u64::try_from(at.timestamp()).ok().map(Date)
}
