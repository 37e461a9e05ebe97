//! Calls between XMPP devices (XEP-0353), which pass through untouched: only the call log is ours.

use std::time::SystemTime;

use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::jingle::ReasonElement;
use tandem_xmpp::stanza::jmi::{Jmi, JmiAction};

use super::record::millis;
use super::{Cause, Exchange};
use crate::store::CallRecord;

/// Calls that are followed at once; beyond them calls are not recorded.
const MAX_FOLLOWED: usize = 10_000;

/// A call that we only hear of.
pub(super) struct Passing {
    caller: Jid,
    callee: Jid,
    started: SystemTime,
    answered: Option<SystemTime>,
}

impl Exchange {
    /// A message between devices says how their call goes on.
    pub(super) fn passing(&mut self, from: &Jid, to: &Jid, jmi: &Jmi) {
        // The caller's account and the id name the call; either party may speak of it.
        let known = [from, to]
            .into_iter()
            .map(|party| (jmi.id.clone(), party.bare()))
            .find(|key| self.passing.contains_key(key));
        // While phones ring along the call is the machine's to record.
        let is_ours = self.call_of(&jmi.id, from).is_some();
        match (&jmi.action, known) {
            (JmiAction::Propose { .. }, None) if self.passing.len() < MAX_FOLLOWED => {
                let (caller, callee) = (from.bare(), to.bare());
                let started = SystemTime::now();
                let call = Passing { caller, callee, started, answered: None };
                self.passing.insert((jmi.id.clone(), from.bare()), call);
            }
            (JmiAction::Proceed, Some(key)) => {
                if let Some(call) = self.passing.get_mut(&key) {
                    call.answered.get_or_insert_with(SystemTime::now);
                }
            }
            (_, Some(_)) if is_ours => {}
            (JmiAction::Reject { reason, .. }, Some(key)) => {
                self.passed(&key, &word(reason.as_ref(), "declined"));
            }
            (JmiAction::Retract { .. }, Some(key)) => self.passed(&key, "cancelled"),
            (JmiAction::Finish { reason, .. }, Some(key)) => {
                self.passed(&key, &word(reason.as_ref(), "hung up"));
            }
            _ => {}
        }
    }

    /// Whether somebody of this account talks to somebody whom it reaches without us.
    pub(super) fn is_passing_call_of(&self, account: &Jid) -> bool {
        let is_its = |call: &Passing| call.caller == *account || call.callee == *account;
        self.passing.values().any(|call| call.answered.is_some() && is_its(call))
    }

    /// It is over.
    fn passed(&mut self, key: &(String, Jid), result: &str) {
        let Some(call) = self.passing.remove(key) else { return };
        let record = CallRecord {
            caller: call.caller,
            callee: call.callee,
            started: millis(call.started),
            answered: call.answered.map(millis),
            ended: millis(SystemTime::now()),
            result: result.to_owned(),
            // Both ends talk to each other; nothing of it is seen here.
            legs: "[]".to_owned(),
        };
        self.keep(record);
    }

    /// The node stops: what was not heard of again is recorded as that.
    pub(super) fn stop_passing(&mut self) {
        let keys: Vec<_> = self.passing.keys().cloned().collect();
        for key in keys {
            self.passed(&key, "lost sight of");
        }
    }
}

fn word(reason: Option<&ReasonElement>, usual: &str) -> String {
    reason.map_or(usual.to_owned(), |r| Cause::Jingle(r.reason.clone()).word().to_owned())
}
