//! The end of an account (XEP-0077 section 3.2) and of its sessions (XEP-0133 section 4.5).

use super::Server;
use crate::jid::Jid;
use crate::ports::StoreError;

impl Server {
    /// Removes an account with everything of it. False when there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails; what was done until then stays done.
    pub async fn remove_account(&self, account: &Jid) -> Result<bool, StoreError> {
        self.remove_account_with(account, || ()).await
    }

    /// As [`Server::remove_account`]; `done` is called when it is gone and its sessions still are there.
    pub(super) async fn remove_account_with<T>(
        &self,
        account: &Jid,
        done: impl FnOnce() -> T,
    ) -> Result<bool, StoreError> {
        let account = account.bare();
        if !self.0.ports.accounts.exists(&account).await? {
            return Ok(false);
        }
        self.leave_contacts(&account).await?;
        self.depart(&account).await?;
        let removed = self.0.ports.passwords.remove(&account).await?;
        self.forget_blocks(&account);
        self.forget_archive_prefs(&account);
        self.forget_nodes(&account);
        self.forget_profile(&account).await;
        done();
        self.end_sessions(&account, None);
        let attached: Vec<Jid> = {
            let sessions = self.sessions();
            let attached = sessions.of(&account).iter().filter(|r| r.outbox.is_none());
            attached.map(|r| r.jid.clone()).collect()
        };
        for device in &attached {
            self.detach(device).await;
        }
        self.forget_roster(&account);
        tracing::info!(removed, "an account was removed");
        Ok(removed)
    }

    /// Contacts see that they are no longer subscribed to, and no longer subscribed.
    async fn leave_contacts(&self, account: &Jid) -> Result<(), StoreError> {
        let roster = self.roster(account).await?;
        for item in &roster.items {
            let _turn = self.0.roster_turns.take([account, &item.jid]).await;
            if item.to || item.ask {
                self.change_subscription(account, &item.jid, "unsubscribe", None).await?;
            }
            if item.from {
                self.change_subscription(account, &item.jid, "unsubscribed", None).await?;
            }
        }
        for contact in &roster.pending_in {
            let _turn = self.0.roster_turns.take([account, contact]).await;
            self.change_subscription(account, contact, "unsubscribed", None).await?;
        }
        Ok(())
    }

    /// Ends the streams of an account, or the one with this resource; gives how many.
    pub(super) fn end_sessions(&self, account: &Jid, resource: Option<&str>) -> usize {
        let streams: Vec<_> = self
            .sessions()
            .of(account)
            .iter()
            .filter(|r| resource.is_none_or(|wanted| r.jid.resource() == Some(wanted)))
            .filter_map(|r| r.outbox.clone())
            .collect();
        for stream in &streams {
            stream.end("not-authorized");
        }
        streams.len()
    }

    /// Sends every available stream of a domain a copy of a message; gives how many got it.
    pub(super) fn tell_all_online(&self, domain: &str, message: &crate::xml::Element) -> usize {
        let streams: Vec<_> = {
            let sessions = self.sessions();
            let own = sessions.accounts().filter(|account| account.domain() == domain);
            own.flat_map(|account| sessions.of(account))
                .filter(|r| r.presence.is_some())
                .filter_map(|r| Some((r.jid.clone(), r.outbox.clone()?)))
                .collect()
        };
        let mut told = 0;
        for (jid, stream) in streams {
            let copy = message.clone().with_attr("to", jid.as_str());
            told += usize::from(stream.send(copy.to_bytes()));
        }
        told
    }
}
