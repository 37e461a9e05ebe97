//! Calls by message (XEP-0353): who is called by it, and what clients say with it.

use std::time::Instant;

use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::jingle::{Jingle, Reason};
use tandem_xmpp::stanza::jmi::{Jmi, JmiAction};
use tandem_xmpp::stanza::{Condition, Kind as StanzaKind};
use tandem_xmpp::xml::{Element, ns};

use super::entry::{CallKey, Entry, Kind, Leg};
use super::{CALLER, Call, Cause, Exchange, Input, LegKey, introduce};
use crate::bridge::jingle_leg::{JingleLeg, refusal};
use crate::bridge::sdp_jingle;

const JINGLE: &str = "urn:xmpp:jingle:1";
const JMI: &str = "urn:xmpp:jingle-message:0";
const RTP_AUDIO: &str = "urn:xmpp:jingle:apps:rtp:audio";
const HINTS: &str = "urn:xmpp:hints";

/// A message about a call. One device may be meant by a proposal; what is said of it is for all of the other's
/// devices (XEP-0353 sections 3.2, 3.4, 3.5 and 3.7).
pub(super) fn message(from: &Jid, to: &Jid, jmi: &Jmi) -> Element {
    let to = match jmi.action {
        JmiAction::Propose { .. } | JmiAction::Retract { .. } => to.clone(),
        _ => to.bare(),
    };
    Element::new("message", ns::CLIENT)
        .with_attr("type", "chat")
        .with_attr("from", from.as_str())
        .with_attr("to", to.as_str())
        .with_child(jmi.to_element())
        .with_child(Element::new("store", HINTS))
}

impl Exchange {
    /// Rings the XMPP devices of the called account: all at once by `<propose/>`, those that do not know it one by one. Where
    /// `wakes`, one that is away may come.
    pub(super) fn ring_clients(&mut self, call: CallKey, entry: &mut Entry, wakes: bool) {
        let mut is_proposed = false;
        for device in self.parts.xmpp.presences(&entry.callee.bare()) {
            let is_meant = entry.callee.resource().is_none_or(|r| Some(r) == device.jid.resource());
            if device.attached || !is_meant || device.jid == entry.caller {
                continue;
            }
            let knows = |feature: &str| {
                device.features.as_ref().is_none_or(|known| known.iter().any(|f| f == feature))
            };
            if knows(JMI) {
                is_proposed = true;
            } else if knows(RTP_AUDIO) {
                self.ring_client(call, entry, device.jid);
            }
        }
        if is_proposed || wakes && entry.callee.is_bare() {
            entry.is_proposed = true;
            let propose = Jmi::propose(&entry.sid, &["audio"]);
            let said = message(&entry.caller, &entry.callee, &propose);
            self.say(said.with_children(introduce::nick(entry)));
            entry.add_leg(Leg::new(Kind::Proposed { session: None }, None));
        }
    }

    /// Whether a device of whoever is called may be woken by push (XEP-0357).
    pub(super) async fn can_wake(&self, callee: &Jid) -> bool {
        let woken = self.parts.xmpp.can_be_woken(callee).await;
        woken.unwrap_or_else(|error| {
            tracing::error!(%error, "push registrations cannot be read");
            false
        })
    }

    /// What tells the called account's devices, once they come, that a call was missed which none of them was there for. It rings
    /// nobody.
    pub(super) fn leave_missed(&self, entry: &Entry, now: Instant) {
        let callee = entry.called();
        let reason = Some(Reason::Cancel.into());
        // By the id that an app gave its call, which is known already.
        let caller = match entry.legs.get(&CALLER).map(|leg| &leg.kind) {
            Some(Kind::JingleCaller { peer, .. }) => peer,
            _ => &entry.caller,
        };
        let sid = entry.caller_sid();
        self.parts.calls.held.trace(sid, now);
        for action in
            [Jmi::propose(sid, &["audio"]).action, JmiAction::Retract { reason, tie_break: false }]
        {
            self.say(message(caller, &callee, &Jmi::new(sid, action)));
        }
    }

    fn ring_client(&mut self, call: CallKey, entry: &mut Entry, device: Jid) {
        let Some((media, session, offer)) = self.initiate(entry, &device) else { return };
        let mut leg =
            Leg::new(Kind::JingleTarget { session, offer: Box::new(offer) }, Some(device));
        leg.media = Some(media);
        let key = entry.add_leg(leg);
        self.by_media.insert(media, (call, key));
        self.drain(entry, key);
    }

    /// Opens a WebRTC leg and a session with a device.
    fn initiate(
        &self,
        entry: &Entry,
        device: &Jid,
    ) -> Option<(tandem_media::LegId, JingleLeg, tandem_xmpp::stanza::jingle::Content)> {
        let opened = self.parts.media.open_webrtc(entry.media.id(), true, (self.parts.random)());
        let (media, local) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!(%error, "no media for a client");
                return None;
            }
        };
        let offer = sdp_jingle::offer("audio", &local, &entry.caller_codecs);
        let (us, peer) = (entry.caller.clone(), device.clone());
        let session = JingleLeg::outgoing(us, peer, &entry.sid, offer.clone());
        Some((media, session, offer))
    }

    /// A proposal, or the begin of a session, that nobody but us has seen.
    pub(super) async fn handle_taken(&mut self, said: &Call, now: Instant) {
        let (Some(from), Some(to)) = (said.stanza.from(), said.stanza.to()) else { return };
        if said.stanza.kind() == StanzaKind::Iq {
            let id = said.stanza.id().unwrap_or_default();
            let jingle = said.stanza.child("jingle", JINGLE).map(|e| (Jingle::from_element(&e), e));
            match jingle {
                Some((Ok(jingle), _)) => {
                    self.take_over_session((from, to), id, &jingle, now).await;
                }
                Some((Err(_), said)) => {
                    let sid = said.attr("sid").unwrap_or_default();
                    self.parts.calls.held.release(sid, from, now);
                    self.say(refusal(to, from, id, Condition::BadRequest, None));
                }
                None => {}
            }
            return;
        }
        let jmi = said.stanza.element().ok().and_then(|e| Jmi::from_message(&e));
        if let Some(Ok(jmi)) = jmi
            && matches!(jmi.action, JmiAction::Propose { .. })
        {
            self.take_over_proposal(from, to, &jmi, now).await;
        }
    }

    /// A XEP-0353 message to phones, or between XMPP devices.
    pub(super) async fn handle_jmi(&mut self, said: &Call, jmi: &Jmi, now: Instant) {
        let (Some(from), Some(to)) = (said.stanza.from(), said.stanza.to()) else { return };
        if self.parts.contacts.binding(from).is_some() || self.is_elsewhere(from) {
            // What phones, numbers and people of other domains say here we have said for them.
            return;
        }
        if said.resources.is_empty() {
            self.passing(from, to, jmi);
        }
        match &jmi.action {
            JmiAction::Propose { .. } if !said.resources.is_empty() || self.all_sleep(to) => {
                self.proposed(from, to, jmi, now).await;
            }
            JmiAction::Ringing => {
                if let Some((call, key)) = self.proposed_leg(&jmi.id, from) {
                    self.input(call, Input::Ringing(key), now);
                }
            }
            JmiAction::Proceed => self.proceeded(from, jmi, now),
            JmiAction::Reject { reason, .. } => {
                let reason = reason.as_ref().map_or(Reason::Busy, |r| r.reason.clone());
                if self.proposed_leg(&jmi.id, from).is_some() || self.is_watched(&jmi.id, from) {
                    let Some(call) = self.call_of(&jmi.id, from) else { return };
                    self.input(call, Input::Declined(Cause::Jingle(reason)), now);
                }
            }
            JmiAction::Retract { .. } => {
                let Some(call) = self.call_of(&jmi.id, from) else { return };
                let entry = self.calls.get(&call);
                if entry.is_some_and(|e| is_peer_of_caller(e, from) && e.is_called(&jmi.id)) {
                    self.input(call, Input::HungUp(CALLER, Cause::Cancelled), now);
                }
            }
            JmiAction::Propose { .. } | JmiAction::Finish { .. } => {}
        }
    }

    /// Whether an account has no phone that is there, but some that can be woken: of them XMPP knows nothing.
    fn all_sleep(&self, account: &Jid) -> bool {
        let contacts = &self.parts.contacts;
        account.is_bare() && !contacts.asleep(account).is_empty() && contacts.of(account).is_empty()
    }

    /// An XMPP client calls an account that has phones.
    async fn proposed(&mut self, from: &Jid, to: &Jid, jmi: &Jmi, now: Instant) {
        // Our own proposal comes by here too when the called account has phones: they ring already.
        let is_known = self.call_of(&jmi.id, from).or_else(|| self.call_of(&jmi.id, to)).is_some();
        if is_known || !jmi.wants_audio() || from.is_bare() {
            return;
        }
        let key = self.new_key();
        let kind =
            Kind::JingleCaller { peer: from.clone(), session: None, offer: None, proceeded: None };
        let leg = Leg::new(kind, Some(from.clone()));
        let mut entry = self.new_entry(jmi.id.clone(), from.clone(), to.clone(), leg, now);
        if !self.is_full() {
            self.ring_phones_or_number(key, &mut entry, now).await;
        }
        let others = self.parts.xmpp.presences(&to.bare());
        let others_ring =
            to.is_bare() && others.iter().any(|d| !d.attached && d.priority >= 0 && d.jid != *from);
        self.begin(key, entry, others_ring, now);
    }

    /// A device of the called account says that its human took the call.
    fn proceeded(&mut self, from: &Jid, jmi: &Jmi, now: Instant) {
        if self.is_watched(&jmi.id, from) {
            if let Some(call) = self.call_of(&jmi.id, from) {
                self.input(call, Input::AnsweredElsewhere, now);
            }
            return;
        }
        let Some((call, key)) = self.proposed_leg(&jmi.id, from) else { return };
        self.input(call, Input::PickedUp(key), now);
        if self.calls.get(&call).is_none_or(|c| c.machine.taken_by() != Some(key)) {
            // Somebody else was quicker.
            return;
        }
        let Some(mut entry) = self.calls.remove(&call) else { return };
        match self.initiate(&entry, from) {
            Some((media, session, offer)) => {
                if let Some(leg) = entry.legs.get_mut(&key) {
                    leg.kind = Kind::Proposed { session: Some((session, Box::new(offer))) };
                    leg.media = Some(media);
                    leg.device = Some(from.clone());
                }
                self.by_media.insert(media, (call, key));
                self.drain(&mut entry, key);
                self.calls.insert(call, entry);
            }
            None => {
                self.calls.insert(call, entry);
                self.input(call, Input::Refused(key, Cause::ConnectionFailed), now);
            }
        }
    }

    /// The leg that our `<propose/>` is, if `from` is of the account that was called by it and nobody has it yet.
    fn proposed_leg(&self, sid: &str, from: &Jid) -> Option<(CallKey, LegKey)> {
        let call = self.call_of(sid, from)?;
        let entry = self.calls.get(&call).filter(|e| e.callee.bare() == from.bare())?;
        let is_open = |leg: &Leg| matches!(leg.kind, Kind::Proposed { session: None });
        let key = entry.legs.iter().find(|(_, leg)| is_open(leg)).map(|(key, _)| *key)?;
        Some((call, key))
    }

    /// Whether this is about a call between XMPP devices whose phones only ring along, said by a called device.
    fn is_watched(&self, sid: &str, from: &Jid) -> bool {
        let entry = self.call_of(sid, from).and_then(|call| self.calls.get(&call));
        entry.is_some_and(|entry| {
            let caller = entry.legs.get(&CALLER);
            // One that was taken over rings nobody but by us.
            let caller = caller.filter(|_| !entry.is_taken_over());
            entry.callee.bare() == from.bare()
                && !is_peer_of_caller(entry, from)
                && caller.is_some_and(|leg| matches!(leg.kind, Kind::JingleCaller { .. }))
                // What our own phones say comes from their resources.
                && self.parts.contacts.binding(from).is_none()
        })
    }
}

/// Whether `from` is the device that calls.
fn is_peer_of_caller(entry: &Entry, from: &Jid) -> bool {
    match entry.legs.get(&CALLER) {
        Some(Leg { kind: Kind::JingleCaller { peer, .. }, .. }) => peer == from,
        _ => false,
    }
}
