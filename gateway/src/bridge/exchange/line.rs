//! How far each call is, for those who watch it (RFC 4235).

use tandem_sip::service::dialog_event::{DialogEnd, DialogState};

use super::entry::CallKey;
use super::{Cause, Exchange};
use crate::bridge::call::Outcome;
use crate::bridge::presence::{CallNews, Event};
use crate::cluster::Envelope;

impl Exchange {
    /// Tells how far a call is.
    pub(super) fn tell_line(&self, call: CallKey, state: DialogState) {
        let Some(entry) = self.calls.get(&call) else { return };
        let (caller, callee) = (entry.caller.bare(), entry.callee.bare());
        let news = CallNews { id: call.0, caller, callee, state };
        // Full: a lamp is late.
        let _ = self.parts.bus.send(Envelope::Presence(Event::Call(news)));
    }
}

/// What lamps show of how a call ended.
pub(super) fn end_of(outcome: &Outcome) -> DialogEnd {
    match outcome {
        Outcome::Completed(_) | Outcome::Elsewhere => DialogEnd::RemoteBye,
        Outcome::Missed(Cause::Cancelled | Cause::TakenBeforeUs) => DialogEnd::Cancelled,
        Outcome::Missed(Cause::NoAnswer) => DialogEnd::Timeout,
        Outcome::Missed(cause) if matches!(cause.word(), "busy" | "declined" | "refused") => {
            DialogEnd::Rejected
        }
        Outcome::Missed(_) => DialogEnd::Error,
    }
}
