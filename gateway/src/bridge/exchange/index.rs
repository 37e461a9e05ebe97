//! How what arrives finds its call: by the phone's dialog (RFC 3261 section 12), or by session id and party (XEP-0166).

use std::collections::HashMap;

use tandem_sip::ports::LegId as SipLeg;
use tandem_xmpp::jid::Jid;

use super::entry::CallKey;
use crate::bridge::call::LegKey;

/// What calls are known by.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_sip: HashMap<SipLeg, (CallKey, LegKey)>,
    /// Session id and the XMPP party's bare JID name a call: ids are chosen by clients and may collide.
    by_sid: HashMap<(String, Jid), CallKey>,
    /// What to forget with a call.
    names: HashMap<CallKey, Names>,
}

#[derive(Debug, Default)]
struct Names {
    dialogs: Vec<SipLeg>,
    sids: Vec<(String, Jid)>,
}

impl Index {
    /// Where a phone's dialog belongs.
    pub(super) fn place(&self, dialog: SipLeg) -> Option<(CallKey, LegKey)> {
        self.by_sip.get(&dialog).copied()
    }

    /// From here on the dialog belongs there.
    pub(super) fn set_place(&mut self, dialog: SipLeg, place: (CallKey, LegKey)) {
        self.by_sip.insert(dialog, place);
        self.names.entry(place.0).or_default().dialogs.push(dialog);
    }

    /// A dialog is over.
    pub(super) fn forget_dialog(&mut self, dialog: SipLeg) {
        self.by_sip.remove(&dialog);
    }

    /// The call of this session id with this party.
    pub(super) fn call(&self, sid: &str, party: &Jid) -> Option<CallKey> {
        self.by_sid.get(&(sid.to_owned(), party.bare())).copied()
    }

    /// From here on this session id with this party is that call.
    pub(super) fn set_call(&mut self, sid: &str, party: &Jid, call: CallKey) {
        let name = (sid.to_owned(), party.bare());
        self.by_sid.insert(name.clone(), call);
        self.names.entry(call).or_default().sids.push(name);
    }

    /// A call is over. What other calls have taken over stays theirs.
    pub(super) fn forget_call(&mut self, call: CallKey) {
        let Some(names) = self.names.remove(&call) else { return };
        for dialog in names.dialogs {
            if self.by_sip.get(&dialog).is_some_and(|(known, _)| *known == call) {
                self.by_sip.remove(&dialog);
            }
        }
        for name in names.sids {
            if self.by_sid.get(&name) == Some(&call) {
                self.by_sid.remove(&name);
            }
        }
    }
}
