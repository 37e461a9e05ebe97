//! Calls that go to somebody else, or to nobody, because whoever is called wants it so (RFC 3261 section 16.5, RFC 5806;
//! 3GPP TS 22.082): at once, where it is busy, where nobody answers, while it is not to be disturbed.
//!
//! A call of an app to an account with such wishes is taken over: the proposal reaches none of the account's apps, and both
//! ends have their session with us, by a resource of ours each.

use std::time::Instant;

use tandem_sip::msg::header::Diversion;
use tandem_sip::msg::{NameAddr, Uri};
use tandem_sip::ports::{Invited, Origin};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::jingle::{Jingle, Reason};
use tandem_xmpp::stanza::jmi::{Jmi, JmiAction};

use super::entry::{CallKey, Entry, Kind, Leg};
use super::jingle::usable;
use super::{CALLER, Cause, Exchange, LegKey, Outgoing, jmi};
use crate::bridge::call::{Call as Machine, Forwards, Patience};
use crate::bridge::call_desk::{Verdict, Why};
use crate::bridge::identity;
use crate::bridge::jingle_leg::JingleLeg;
use crate::config::Trunk;

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
            return Vec::new();
        }
        let before = self.diverted.iter().map(|said| ("Diversion".to_owned(), said.clone()));
        self.forwarded.iter().rev().filter_map(line).chain(before).collect()
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
    /// Who sent a call on before it came here: what a trunk says that is believed is passed on as it is (RFC 5806 section 3.1).
    pub(super) fn diverted_before(&self, invited: &Invited) -> Vec<String> {
        let Origin::Trunk(trunk) = &invited.origin else { return Vec::new() };
        let said = match self.parts.plan.is_trusted(trunk) {
            true => invited.headers.list::<Diversion>().unwrap_or_default(),
            false => Vec::new(),
        };
        said.iter().take(MAX_FORWARDS).map(ToString::to_string).collect()
    }

    /// Who sent a call on, for a trunk that is told: by their numbers, the last first.
    pub(super) fn diversions_by(&self, entry: &Entry, trunk: &Trunk) -> Vec<(String, String)> {
        let line = |by: &Forwarded| {
            let host = Uri::parse(&trunk.uri).ok()?.host;
            let number = self.parts.plan.shown(&by.by, trunk)?;
            let mut who = NameAddr::new(Uri::sip(Some(&number), host));
            who.params.set("reason", Some(by.why.word()));
            Some(("Diversion".to_owned(), who.to_string()))
        };
        match trunk.diversion && !entry.is_hidden {
            true => entry.forwarded.iter().rev().filter_map(line).collect(),
            false => Vec::new(),
        }
    }

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
        self.introduce(entry).await;
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
        if entry.turned_away.is_some() || entry.answering.is_required {
            // No app answers by itself.
            return;
        }
        let peer = entry.legs.get(&CALLER).map(|leg| &leg.kind);
        if matches!(peer, Some(Kind::JingleCaller { peer, .. }) if *peer == entry.caller) {
            if !entry.is_taken_over() && entry.forwarded.is_empty() {
                // The apps hear of it by the caller itself.
                return;
            }
            // They answer to who calls, and are heard by us.
            self.hold(entry, &entry.sid.clone(), &entry.callee.clone());
        }
        self.parts.calls.held.speak(&entry.sid);
        self.ring_clients(call, entry, wakes);
    }

    /// What this account says of the session is for us.
    pub(super) fn hold(&self, entry: &mut Entry, sid: &str, account: &Jid) {
        self.parts.calls.held.hold(sid, account);
        entry.held.push((sid.to_owned(), account.bare()));
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

    /// An app begins a session with another, whose account wants its calls handled, and nothing was said of it before (XEP-0166).
    pub(super) async fn take_over_session(
        &mut self,
        (from, to): (&Jid, &Jid),
        id: &str,
        jingle: &Jingle,
        now: Instant,
    ) {
        let mut session = JingleLeg::incoming(to.clone(), from.clone(), jingle);
        session.acknowledge(id);
        let refused = match usable(jingle) {
            _ if self.is_full() || self.call_of(&jingle.sid, from).is_some() => Err(Reason::Busy),
            offer => offer,
        };
        let (offer, audio) = match refused {
            Ok(offer) => offer,
            Err(reason) => {
                session.terminate(reason);
                std::iter::from_fn(|| session.poll_stanza()).for_each(|stanza| self.say(stanza));
                return self.parts.calls.held.release(&jingle.sid, from, now);
            }
        };
        let sid = self.new_sid();
        let guest = self.guest_of(from, &sid);
        let key = self.new_key();
        let kind = Kind::JingleCaller {
            peer: from.clone(),
            session: Some(session),
            offer: Some(Box::new(offer)),
            proceeded: None,
        };
        let known = guest.clone().unwrap_or_else(|| from.clone());
        let leg = Leg::new(kind, Some(from.clone()));
        let mut entry = self.new_entry(sid, known, to.clone(), leg, now);
        entry.caller_codecs = audio.order();
        self.hold(&mut entry, &jingle.sid, from);
        self.drain(&mut entry, CALLER);
        self.ring_taken_over(key, entry, guest, (&jingle.sid, from), now).await;
    }

    /// The resource by which the apps that ring answer to an account of ours that calls by an app.
    fn guest_of(&self, caller: &Jid, sid: &str) -> Option<Jid> {
        let is_local = self.parts.plan.may_dial(caller);
        caller.with_resource(&format!("call-{sid}")).ok().filter(|_| is_local)
    }

    async fn ring_taken_over(
        &mut self,
        key: CallKey,
        mut entry: Entry,
        guest: Option<Jid>,
        (sid, from): (&str, &Jid),
        now: Instant,
    ) {
        entry.guest = guest;
        if let Some(guest) = &entry.guest {
            let _ = self.parts.outbox.send(Outgoing::Guest(guest.clone(), true));
        }
        self.index.set_call(sid, from, key);
        self.follow(&mut entry);
        self.ring_in_the_end(key, &mut entry, from, now).await;
        self.begin(key, entry, false, now);
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
        let guest = self.guest_of(from, &sid);
        let key = self.new_key();
        let kind =
            Kind::JingleCaller { peer: from.clone(), session: None, offer: None, proceeded: None };
        let leg = Leg::new(kind, Some(from.clone()));
        let known = guest.clone().unwrap_or_else(|| from.clone());
        let mut entry = self.new_entry(sid, known, to.clone(), leg, now);
        entry.voice = Some((voice, jmi.id.clone()));
        self.ring_taken_over(key, entry, guest, (&jmi.id, from), now).await;
    }
}
