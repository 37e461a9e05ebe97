//! The item published last, sent to who comes online or begins to see somebody (XEP-0060 section 6.1.7, XEP-0163
//! section 4.3.4).

use super::access::barrier;
use super::notify::wish;
use super::{KnownNode, item_text, wire};
use crate::jid::Jid;
use crate::ports::StoreError;
use crate::ports::pubsub::SendLast;
use crate::service::Server;
use crate::stanza::delay;

impl Server {
    /// What a device of ours asks for and has not been told: of its own account and of everybody it sees.
    pub(in crate::service) async fn catch_up(
        &self,
        device: &Jid,
        wishes: &[String],
    ) -> Result<(), StoreError> {
        if wishes.is_empty() {
            return Ok(());
        }
        let account = device.bare();
        self.send_last_items(&account, device, wishes).await?;
        let roster = self.roster(&account).await?;
        for contact in roster.items.iter().filter(|i| i.to && self.is_local(&i.jid)) {
            self.send_last_items(&contact.jid, device, wishes).await?;
        }
        Ok(())
    }

    /// `watcher` sees `owner` from now on.
    pub(in crate::service) async fn show_last_items(
        &self,
        owner: &Jid,
        watcher: &Jid,
    ) -> Result<(), StoreError> {
        if self.profile(owner).await?.nodes.is_empty() {
            return Ok(());
        }
        for (device, wishes) in self.wishes_of(watcher) {
            self.send_last_items(owner, &device, &wishes).await?;
        }
        Ok(())
    }

    /// The last items of an account, as far as this device asks for them and may have them.
    pub(in crate::service) async fn send_last_items(
        &self,
        owner: &Jid,
        device: &Jid,
        wishes: &[String],
    ) -> Result<(), StoreError> {
        let profile = self.profile(owner).await?;
        let who = device.bare();
        let wanted: Vec<_> = profile
            .shown()
            .filter(|known| known.node.config.send_last == SendLast::OnPresence)
            .filter(|known| wishes.contains(&wish(&known.node.name)))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        if self.is_blocked(owner, device).await? {
            return Ok(());
        }
        let roster = self.roster(owner).await?;
        for known in wanted {
            if barrier(owner, &known.node, &who, &roster).is_none() {
                self.send_last(owner, known, device).await?;
            }
        }
        Ok(())
    }

    /// The last item of one node, with the time it was published at.
    pub(super) async fn send_last(
        &self,
        owner: &Jid,
        known: &KnownNode,
        to: &Jid,
    ) -> Result<(), StoreError> {
        let Some(item) = self.last_item(owner, known).await? else { return Ok(()) };
        let with_payload = known.node.config.deliver_payloads;
        let mut event =
            wire::items_event(&known.node.name, |out| item_text(out, &item, with_payload));
        event.push_str("<delay xmlns='");
        event.push_str(delay::NS);
        event.push('\'');
        wire::attribute(&mut event, "stamp", &item.stamp);
        event.push_str("/>");
        self.send_event(owner, to, &event);
        Ok(())
    }
}
