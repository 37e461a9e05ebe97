//! Calls that go to somebody else, or to nobody, because whoever is called wants it so (RFC 3261 section 16.5, RFC 5806;
//! 3GPP TS 22.082): at once, where it is busy, where nobody answers, while it is not to be disturbed.
//!
//! A call of an app to an account with such wishes is taken over: the proposal reaches none of the account's apps, and both
//! ends have their session with us, by a resource of ours each.

use std::time::Instant;

use tandem_sip::msg::NameAddr;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::jingle::Reason;
use tandem_xmpp::stanza::jmi::{Jmi, JmiAction};

use super::entry::{CallKey, Entry, Kind, Leg};
use super::{CALLER, Cause, Exchange, LegKey, Outgoing, jmi};
use crate::bridge::call::{Call as Machine, Forwards, Patience};
use crate::bridge::call_desk::{Verdict, Why};
use crate::bridge::identity;

/// Most times that one call is forwarded.
const MAX_FORWARDS: usize = 5;

/// Who sent a call on.
#[derive(Debug, Clone)]
pub(super) struct Forwarded {
    /// Who was called, bare.
    pub(super) by: Jid,
    /// Why it went on.
    pub(super) why: Why,
    /// Its apps know of the call.
    pub(super) knows: bool,
    /// The first leg that rang afterwards.
    pub(super) next: LegKey,
}

impl Entry {
    /// Who was called first, bare.
    pub(super) fn called(&self) -> Jid {
        self.forwarded.first().map_or_else(|| self.callee.bare(), |first| first.by.clone())
    }

    /// Whether its apps know of the call.
    pub(super) fn called_knows(&self) -> bool {
        self.forwarded.first().map_or(self.is_proposed, |first| first.knows)
    }

    /// Whether a leg belongs to a round of ringing that is over: what it says late is about nothing.
    pub(super) fn is_of_before(&self, key: LegKey) -> bool {
        key != CALLER && self.forwarded.last().is_some_and(|last| key < last.next)
    }

    /// Who sent the call to this leg, and why.
    pub(super) fn sent_by(&self, key: LegKey) -> Option<&Forwarded> {
        self.forwarded.iter().rfind(|by| key >= by.next).filter(|_| key != CALLER)
    }

    /// Who sent the call on, the last first (RFC 5806 section 4.2).
    pub(super) fn diversions(&self) -> Vec<(String, String)> {
        let line = |by: &Forwarded| {
            let mut who = NameAddr::new(identity::jid_to_sip(&by.by).ok()?);
            who.params.set("reason", Some(by.why.word()));
            Some(("Diversion".to_owned(), who.to_string()))
        };
        if self.is_hidden {
            Vec::new()
        } else {
            self.forwarded.iter().rev().filter_map(line).collect()
        }
    }

    /// Goes on to somebody else.
    fn send_on(&mut self, to: &Jid, why: Why) -> Result<(), Cause> {
        let was = self.callee.bare();
        let is_known = was == *to || self.forwarded.iter().any(|by| by.by == *to);
        if is_known || self.forwarded.len() >= MAX_FORWARDS {
            return Err(Cause::Sip { status: 482, reason: None });
        }
        let next = LegKey(self.next_key);
        let knows = std::mem::take(&mut self.is_proposed);
        self.forwarded.push(Forwarded { by: was, why, knows, next });
        self.callee = to.clone();
        Ok(())
    }
}

impl Exchange {
    /// Follows the wishes of whoever is called until somebody is to be rung. Where nobody is, the call says why.
    pub(super) fn follow(&mut self, entry: &mut Entry) {
        if let Err(cause) = self.try_follow(entry) {
            entry.turned_away = Some(cause);
        }
        if !entry.forwarded.is_empty() {
            self.tell_forwarded(entry);
        }
    }

    fn try_follow(&self, entry: &mut Entry) -> Result<(), Cause> {
        while let Some(wishes) = self.parts.calls.of(&entry.callee) {
            let is_in_call = wishes.one_call && self.is_in_call(&entry.callee);
            match wishes.on_arrival(is_in_call) {
                Verdict::Ring => break,
                Verdict::Refuse(cause) => return Err(cause),
                Verdict::Forward(to, why) => entry.send_on(&to, why)?,
            }
        }
        Ok(())
    }

    /// A phone that calls is told that somebody else is called (RFC 3261 section 21.1.3).
    fn tell_forwarded(&self, entry: &Entry) {
        if let Some(Kind::SipCaller { leg, .. }) = entry.legs.get(&CALLER).map(|leg| &leg.kind) {
            self.parts.sip.ring(*leg, 181, None);
        }
    }

    /// Whether somebody of this account talks.
    fn is_in_call(&self, account: &Jid) -> bool {
        let account = account.bare();
        self.calls.values().any(|entry| {
            entry.machine.taken_by().is_some()
                && (entry.caller.bare() == account || entry.callee.bare() == account)
        }) || self.is_passing_call_of(&account)
    }

    /// When the call goes on to somebody else.
    pub(super) fn forwards(&self, entry: &Entry) -> Forwards {
        let wishes = self.parts.calls.of(&entry.callee);
        wishes.map_or_else(Forwards::default, |wishes| wishes.forwards())
    }

    /// Rings whoever is called in the end, where they hear from `caller` at all.
    pub(super) async fn ring_in_the_end(
        &mut self,
        call: CallKey,
        entry: &mut Entry,
        caller: &Jid,
        now: Instant,
    ) {
        let is_forwarded = !entry.forwarded.is_empty();
        if is_forwarded && !matches!(self.is_cut_off(caller, &entry.callee).await, Ok(false)) {
            entry.turned_away.get_or_insert(Cause::Unavailable);
        }
        let wakes = self.can_wake(&entry.callee).await;
        self.ring_forwarded(call, entry, wakes, now);
    }

    /// Rings whoever is called in the end: a number with the rights of who sent the call there.
    pub(super) fn ring_forwarded(
        &mut self,
        call: CallKey,
        entry: &mut Entry,
        wakes: bool,
        now: Instant,
    ) {
        if entry.turned_away.is_some() {
            return;
        }
        let last = entry.forwarded.last().map(|last| last.by.clone());
        if let Some(payer) = last.filter(|_| self.parts.plan.is_number_domain(&entry.callee)) {
            entry.refused = self.ring_number(call, entry, &payer, now).err();
            return;
        }
        self.ring_phones(call, entry);
        if entry.turned_away.is_some() {
            return;
        }
        // Apps answer to who calls: where that is nobody of ours, they answer to nobody.
        let peer = entry.legs.get(&CALLER).map(|leg| &leg.kind);
        let is_ours =
            !matches!(peer, Some(Kind::JingleCaller { peer, .. }) if *peer == entry.caller);
        if is_ours {
            self.ring_clients(call, entry, wakes);
        }
    }

    /// Nobody took the call where it was: it goes on.
    pub(super) async fn go_on(&mut self, call: CallKey, why: Why, now: Instant) {
        let Some(mut entry) = self.calls.remove(&call) else { return };
        // What was proposed and not taken is no leg of anything.
        entry.legs.retain(|_, leg| !matches!(leg.kind, Kind::Proposed { session: None }));
        let wishes = self.parts.calls.of(&entry.callee);
        let to = wishes.as_ref().and_then(|wishes| wishes.target(why));
        match to.map(|to| entry.send_on(to, why)) {
            Some(Ok(())) => self.follow(&mut entry),
            Some(Err(cause)) => entry.turned_away = Some(cause),
            None => entry.turned_away = Some(Cause::Unavailable),
        }
        let first = LegKey(entry.next_key);
        let caller = entry.caller.clone();
        self.ring_in_the_end(call, &mut entry, &caller, now).await;
        let refused = entry
            .refused
            .take()
            .map(|refused| Cause::Sip { status: refused.status(), reason: Some(refused.reason()) });
        let targets = match entry.turned_away.take().or(refused) {
            Some(cause) => Err(cause),
            None => Ok(entry.legs.range(first..).map(|(key, _)| *key).collect()),
        };
        self.index.set_call(&entry.sid, &entry.callee, call);
        let forwards = self.forwards(&entry);
        entry.machine.forward(targets, forwards, now);
        tracing::info!(call = call.0, why = why.word(), "a call goes to somebody else");
        self.calls.insert(call, entry);
        self.act(call, now);
    }

    /// How a call is decided from its beginning.
    pub(super) fn machine_of(
        &self,
        entry: &mut Entry,
        targets: Vec<LegKey>,
        others_ring: bool,
        now: Instant,
    ) -> Machine {
        if let Some(refused) = entry.refused.take() {
            let reason = Some(refused.reason());
            return Machine::refused(Cause::Sip { status: refused.status(), reason }, now);
        }
        if let Some(cause) = entry.turned_away.take() {
            return Machine::refused(cause, now);
        }
        // Apps that were called without us go on ringing.
        match self.forwards(entry) {
            forwards if others_ring || forwards == Forwards::default() => {
                Machine::new(targets, others_ring, Patience::default(), now)
            }
            forwards => Machine::forwarding(targets, forwards, Patience::default(), now),
        }
    }

    /// An app calls an account that wants its calls handled: none of its apps has heard of it.
    pub(super) async fn take_over_proposal(
        &mut self,
        from: &Jid,
        to: &Jid,
        jmi: &Jmi,
        now: Instant,
    ) {
        let is_known = self.call_of(&jmi.id, from).or_else(|| self.call_of(&jmi.id, to)).is_some();
        if self.is_elsewhere(from) {
            // The trace of a call that rang nobody, which we leave ourselves.
            return;
        }
        let sid = self.new_sid();
        let voice = to.with_resource(&format!("line-{sid}")).ok();
        let Some(voice) = voice.filter(|_| !is_known && !from.is_bare()) else { return };
        if self.is_full() || !jmi.wants_audio() {
            let reject = JmiAction::Reject { reason: Some(Reason::Busy.into()), tie_break: false };
            return self.say(jmi::message(&voice, from, &Jmi::new(&jmi.id, reject)));
        }
        let is_local = self.parts.plan.may_dial(from);
        let guest = from.with_resource(&format!("call-{sid}")).ok().filter(|_| is_local);
        let key = self.new_key();
        let kind =
            Kind::JingleCaller { peer: from.clone(), session: None, offer: None, proceeded: None };
        let leg = Leg::new(kind, Some(from.clone()));
        let known = guest.clone().unwrap_or_else(|| from.clone());
        let mut entry = self.new_entry(sid, known, to.clone(), leg, now);
        entry.guest = guest;
        entry.voice = Some((voice, jmi.id.clone()));
        if let Some(guest) = &entry.guest {
            let _ = self.parts.outbox.send(Outgoing::Guest(guest.clone(), true));
        }
        self.index.set_call(&jmi.id, from, key);
        self.follow(&mut entry);
        self.ring_in_the_end(key, &mut entry, from, now).await;
        self.begin(key, entry, false, now);
    }
}
