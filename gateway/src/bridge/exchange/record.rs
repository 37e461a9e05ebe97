//! The end of a call: its record, and everything that belonged to it let go.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tandem_sip::service::dialog_event::DialogState;
use tandem_xmpp::stanza::jmi::{Jmi, JmiAction};

use super::entry::{CallKey, Entry, Kind, Leg};
use super::{CALLER, Cause, Exchange, Input, Outgoing, jmi, line};
use crate::bridge::call::Outcome;
use crate::store::CallRecord;

impl Exchange {
    pub(super) fn record(&mut self, call: CallKey, outcome: &Outcome) {
        self.tell_line(call, DialogState::Terminated(line::end_of(outcome)));
        let keys: Vec<_> =
            self.calls.get(&call).map(|e| e.legs.keys().copied().collect()).unwrap_or_default();
        for key in keys {
            self.close_media(call, key);
        }
        let Some(mut entry) = self.calls.remove(&call) else { return };
        self.finish_client(&mut entry, outcome);
        self.by_sid.retain(|_, known| *known != call);
        for device in entry.busy.drain(..) {
            let _ = self.parts.outbox.send(Outgoing::InCall(device, false));
        }
        if let Some(guest) = entry.guest.take() {
            let _ = self.parts.outbox.send(Outgoing::Guest(guest, false));
        }
        // Legs of phones stay known until their last event has come, which finds no call any more.
        self.by_sip.retain(|_, (known, _)| *known != call);
        if let Some(child) = entry.transferring.take() {
            // Nobody is left who waits for the new party.
            self.input(child, Input::HungUp(CALLER, Cause::Cancelled), Instant::now());
        }
        let record = describe(&entry, outcome);
        tracing::info!(call = call.0, result = record.result, "call ended");
        // A call that rang on along with XMPP devices and was taken there is theirs to record.
        if *outcome == Outcome::Elsewhere {
            return;
        }
        self.passing.remove(&(entry.sid.clone(), entry.caller.bare()));
        self.keep(record);
    }

    /// Writes a record; the store is closed only after it.
    pub(super) fn keep(&self, record: CallRecord) {
        let _ = self.parts.outbox.send(Outgoing::Record(Box::new(record)));
    }

    /// The caller by XEP-0353 that hung up itself gets our `<finish/>` too (XEP-0353 section 3.7).
    fn finish_client(&self, entry: &mut Entry, outcome: &Outcome) {
        let Outcome::Completed(cause) = outcome else { return };
        let Some(Leg {
            kind: Kind::JingleCaller { peer, proceeded: Some(phone), session, .. },
            ..
        }) = entry.legs.get(&CALLER)
        else {
            return;
        };
        if session.as_ref().is_some_and(super::super::jingle_leg::JingleLeg::is_ended_by_peer) {
            let reason = Some(cause.to_jingle().into());
            let finish = JmiAction::Finish { reason, migrated: None };
            let sid = session.as_ref().map_or(&*entry.sid, |session| session.sid());
            self.say(jmi::message(phone, peer, &Jmi::new(sid, finish)));
        }
    }
}

fn describe(entry: &Entry, outcome: &Outcome) -> CallRecord {
    let legs: Vec<serde_json::Value> = entry
        .legs
        .values()
        .map(|leg| {
            let stats = leg.stats.unwrap_or_default();
            serde_json::json!({
                "protocol": leg.kind.protocol(),
                "device": leg.device.as_ref().map(ToString::to_string),
                "codec": leg.codec.map(tandem_media::codec::Codec::name),
                "packets_in": stats.packets_in,
                "packets_out": stats.packets_out,
                "lost": stats.lost,
                "jitter_us": stats.jitter_us,
                "dropped": stats.drops.total(),
            })
        })
        .collect();
    let result = match outcome {
        Outcome::Completed(cause) | Outcome::Missed(cause) => cause.word(),
        Outcome::Elsewhere => "answered elsewhere",
    };
    CallRecord {
        caller: entry.caller.bare(),
        callee: entry.callee.bare(),
        started: millis(entry.started),
        answered: entry.answered.map(millis),
        ended: millis(SystemTime::now()),
        result: result.to_owned(),
        legs: serde_json::Value::from(legs).to_string(),
    }
}

pub(super) fn millis(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
