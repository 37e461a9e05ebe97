//! The calls of each account as lamp fields show them (RFC 4235).

use std::collections::{BTreeMap, HashMap};

use tandem_sip::service::dialog_event::{DialogInfo, DialogState};
use tandem_xmpp::jid::Jid;

use crate::bridge::identity;

/// Calls of one account that are told; what is beyond is not.
const MAX_TOLD: usize = 50;

/// A call and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallNews {
    /// Its number on this node.
    pub id: u64,
    /// Who calls.
    pub caller: Jid,
    /// Who is called.
    pub callee: Jid,
    /// How far it is.
    pub state: DialogState,
}

/// The calls of all accounts.
#[derive(Debug, Default)]
pub struct Lines(HashMap<Jid, BTreeMap<u64, DialogInfo>>);

impl Lines {
    /// The calls of one account, as its own devices see them.
    pub fn of(&self, account: &Jid) -> Vec<DialogInfo> {
        self.0.get(account).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Takes news of a call; gives the accounts whose calls are others now. A call that is over is told once more and
    /// then forgotten by [`Lines::forget_over`].
    pub fn take(&mut self, news: &CallNews) -> [Jid; 2] {
        let (caller, callee) = (news.caller.bare(), news.callee.bare());
        for (account, other, is_initiator) in [(&caller, &callee, true), (&callee, &caller, false)]
        {
            let calls = self.0.entry(account.clone()).or_default();
            if calls.len() >= MAX_TOLD && !calls.contains_key(&news.id) {
                continue;
            }
            let remote = identity::jid_to_sip(other).ok().map(|uri| uri.to_string());
            let id = format!("call-{}", news.id);
            let info = DialogInfo { id, is_initiator, state: news.state, remote };
            calls.insert(news.id, info);
        }
        [caller, callee]
    }

    /// Forgets the calls of an account that are over.
    pub fn forget_over(&mut self, account: &Jid) {
        if let Some(calls) = self.0.get_mut(account) {
            calls.retain(|_, call| !matches!(call.state, DialogState::Terminated(_)));
            if calls.is_empty() {
                self.0.remove(account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tandem_sip::service::dialog_event::DialogEnd;

    use super::*;

    #[test]
    fn both_ends_see_a_call_from_their_side_until_it_was_told_to_be_over() {
        let jid = |text| Jid::parse(text).unwrap();
        let (ana, bob) = (jid("ana@d"), jid("bob@d"));
        let mut lines = Lines::default();
        let news =
            |state| CallNews { id: 7, caller: jid("ana@d/phone"), callee: jid("bob@d"), state };
        assert_eq!(lines.take(&news(DialogState::Early)), [ana.clone(), bob.clone()]);
        let (hers, his) = (lines.of(&ana), lines.of(&bob));
        assert_eq!((hers.len(), hers[0].is_initiator, his[0].is_initiator), (1, true, false));
        assert_eq!(hers[0].remote.as_deref(), Some("sip:bob@d"));
        assert_eq!(his[0].remote.as_deref(), Some("sip:ana@d"));
        lines.take(&news(DialogState::Terminated(DialogEnd::Cancelled)));
        assert_eq!(lines.of(&ana)[0].state, DialogState::Terminated(DialogEnd::Cancelled));
        for account in [&ana, &bob] {
            lines.forget_over(account);
            assert!(lines.of(account).is_empty());
        }
        assert!(lines.0.is_empty());
    }
}
