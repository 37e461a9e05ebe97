//! The end of a call: its record, and everything that belonged to it let go.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tandem_sip::service::dialog_event::DialogState;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::jmi::{Jmi, JmiAction};
use tokio::task::JoinSet;

use super::entry::{CallKey, Entry, Kind, Leg, Way};
use super::{CALLER, Cause, Exchange, Input, Outgoing, jmi, line};
use crate::bridge::call::Outcome;
use crate::bridge::presence;
use crate::cluster::{Bus, Envelope};
use crate::store::{CallRecord, Store};

impl Exchange {
    pub(super) fn record(&mut self, call: CallKey, outcome: &Outcome) {
        self.tell_line(call, DialogState::Terminated(line::end_of(outcome)));
        let keys: Vec<_> =
            self.calls.get(&call).map(|e| e.legs.keys().copied().collect()).unwrap_or_default();
        for key in keys {
            self.close_media(call, key);
        }
        let Some(mut entry) = self.calls.remove(&call) else { return };
        self.count();
        self.finish_client(&mut entry, outcome);
        if is_missed(&entry, outcome) && !self.is_elsewhere(&entry.called()) {
            self.leave_missed(&entry, Instant::now());
        }
        for device in entry.busy.drain(..) {
            let _ = self.parts.outbox.send(Outgoing::InCall(device, false));
        }
        let is_lent = matches!(
            entry.legs.get(&CALLER).map(|leg| &leg.kind),
            Some(Kind::JingleCaller { proceeded: Some(_), .. })
        );
        if let Some((voice, _)) = entry.voice.take().filter(|_| is_lent) {
            let _ = self.parts.outbox.send(Outgoing::Guest(voice, false));
        }
        if let Some(guest) = entry.guest.take() {
            let _ = self.parts.outbox.send(Outgoing::Guest(guest, false));
        }
        self.parts.calls.held.fall_silent(&entry.sid, Instant::now());
        for (sid, account) in entry.held.drain(..) {
            self.parts.calls.held.release(&sid, &account, Instant::now());
        }
        // Legs of phones stay known until their last event has come, which finds no call any more.
        self.index.forget_call(call);
        if let Some(at) = entry.armed {
            self.armed.remove(&(at, call));
        }
        if let Some(child) = entry.transferring.take() {
            // Nobody is left who waits for the new party.
            self.input(child, Input::HungUp(CALLER, Cause::Cancelled), Instant::now());
        }
        let record = describe(&entry, outcome);
        tracing::info!(call = call.0, result = record.result, "call ended");
        // A call that rang on along with XMPP devices and was taken there is theirs to record.
        if *outcome == Outcome::Elsewhere || entry.is_order {
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

/// Records of calls that ended one after the other share a commit: 50 ms are what a crash may take.
pub(super) struct Records {
    store: Store,
    bus: Arc<dyn Bus>,
    waiting: Vec<CallRecord>,
    due: Option<Instant>,
    kept: JoinSet<()>,
}

/// How long the first record waits for others.
const GATHER: Duration = Duration::from_millis(50);
/// Records that go at once.
const MANY: usize = 256;

impl Records {
    pub(super) fn new(store: Store, bus: Arc<dyn Bus>) -> Self {
        Self { store, bus, waiting: Vec::new(), due: None, kept: JoinSet::new() }
    }

    /// When [`Records::keep`] is to be called.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn add(&mut self, record: CallRecord, now: Instant) {
        self.waiting.push(record);
        self.due.get_or_insert(now + GATHER);
        if self.waiting.len() >= MANY {
            self.keep();
        }
    }

    /// Has all that wait written.
    pub(super) fn keep(&mut self) {
        self.due = None;
        let records = std::mem::take(&mut self.waiting);
        if records.is_empty() {
            return;
        }
        let (store, bus) = (self.store.clone(), self.bus.clone());
        self.kept.spawn(async move {
            let parties: HashSet<Jid> =
                records.iter().flat_map(|r| [r.caller.clone(), r.callee.clone()]).collect();
            let count = records.len();
            if let Err(error) = store.keep_calls(records).await {
                tracing::error!(%error, count, "records of calls are lost");
            }
            // Full: the lamp for missed calls is late.
            for party in parties {
                let _ = bus.send(Envelope::Presence(presence::Event::Waiting(party)));
            }
        });
        while self.kept.try_join_next().is_some() {}
    }

    /// Resolves once everything is written.
    pub(super) async fn settle(&mut self) {
        self.keep();
        while self.kept.join_next().await.is_some() {}
    }
}

/// Whether the called account has to learn of a call that none of its XMPP devices heard of.
fn is_missed(entry: &Entry, outcome: &Outcome) -> bool {
    let by_phone =
        matches!(entry.legs.get(&CALLER), Some(Leg { kind: Kind::SipCaller { .. }, .. }));
    let by_us = by_phone || entry.is_taken_over();
    let Outcome::Missed(cause) = outcome else { return false };
    by_us && !entry.called_knows() && !matches!(cause.word(), "declined" | "answered elsewhere")
}

fn describe(entry: &Entry, outcome: &Outcome) -> CallRecord {
    let legs: Vec<serde_json::Value> = entry
        .legs
        .iter()
        .map(|(key, leg)| {
            let stats = leg.stats.unwrap_or_default();
            let trunk = match &leg.kind {
                Kind::SipTarget { way: Way::Trunk { trunk, .. }, .. } => Some(trunk.name.as_str()),
                _ => None,
            };
            let domain = match &leg.kind {
                Kind::SipTarget { way: Way::Abroad { domain, .. }, .. } => Some(domain.as_str()),
                _ => None,
            };
            let payer = entry.payer.as_ref().filter(|_| trunk.is_some());
            let sent_by = entry.sent_by(*key);
            serde_json::json!({
                "protocol": leg.kind.protocol(),
                "trunk": trunk,
                "forwarded_by": sent_by.map(|sent| sent.by.as_str()),
                "forwarded": sent_by.map(|sent| sent.why.word()),
                "payer": payer.map(ToString::to_string),
                "domain": domain,
                "signalling": leg.kind.signalling_protection(),
                "media": leg.kind.media_protection(),
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
        callee: entry.called(),
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
