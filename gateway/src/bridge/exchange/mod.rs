//! The exchange: every call of this node that has a phone in it (B2BUA of RFC 7092, `interop.md` part 6).
//!
//! One task owns all calls, so no call needs a lock. It takes events from the phones, from XMPP clients and from the
//! media engine, feeds the call machine of [`crate::bridge::call`], and carries out what the machine decides. What it
//! says to XMPP goes through one ordered outbox; SIP and media are told directly and never wait.
//!
//! `sip.rs`, `jingle.rs` and `jmi.rs` translate what comes in; `act.rs` carries out decisions; `audio.rs` negotiates, `change.rs` and
//! `transfer.rs` are what happens while a call is up; `trunk.rs` is the telephone network, `abroad.rs` other SIP domains;
//! `order.rs` and `forward.rs` are what accounts want done with calls to them; `entry.rs` is the data; `record.rs` writes the call log.

mod abroad;
mod act;
mod answering;
mod audio;
mod breadth;
mod change;
mod early;
mod entry;
mod forward;
mod index;
mod introduce;
mod jingle;
mod jmi;
mod line;
mod order;
mod passing;
mod protection;
mod record;
mod sip;
mod transfer;
mod trunk;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tandem_media::{LegId as MediaLeg, MediaEvent, MediaHandle};
use tandem_sip::SipHandle;
use tandem_sip::msg::header::MaxForwards;
use tandem_sip::ports::{LegEvent, LegId as SipLeg};
use tandem_sip::service::dialog_event::DialogState;
use tandem_xmpp::Server;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::Stanza;
use tandem_xmpp::xml::Element;
use tokio::sync::{mpsc, oneshot};

use self::entry::{CallKey, Entry, Leg};
use self::index::Index;
use self::passing::Passing;
use self::record::Records;
use self::transfer::Room;
use super::call::{CALLER, Call as Machine, Cause, Input, LegKey, Patience};
use super::call_desk::{CallDesk, Why};
use super::contacts::Contacts;
use super::domains::Domains;
use super::numbers::Plan;
use super::pictures::Links;
use super::protection::Protection;
use crate::audit::Audit;
use crate::cluster::Bus;
use crate::store::{CallRecord, Store};

/// Calls at once; more are told that we are busy.
const MAX_CALLS: usize = 10_000;
/// Events that are worked on before others have their turn.
const TURN: u32 = 32;

/// What the exchange is told by phones and media.
pub enum Event {
    /// Something happened on a phone's call leg.
    Sip(SipLeg, LegEvent),
    /// Something happened to media.
    Media(MediaEvent),
    /// End all calls; answer when their legs have been told.
    Stop(oneshot::Sender<()>),
}

/// A call stanza (Jingle or XEP-0353) that was routed to phones, or that passed between XMPP devices.
pub struct Call {
    /// The account of the phones.
    pub account: Jid,
    /// The phones' resources; empty for a stanza that only passed by.
    pub resources: Vec<String>,
    /// The stanza.
    pub stanza: Stanza,
    /// A proposal that went to nobody else: the account wants its calls handled.
    pub is_taken: bool,
}

impl Call {
    /// A stanza between XMPP devices.
    pub fn observed(stanza: &Stanza) -> Self {
        let account = stanza.from().or(stanza.to()).map(Jid::bare);
        let account = account.unwrap_or_else(|| Jid::new(None, "invalid", None).expect("a domain"));
        Self { account, resources: Vec::new(), stanza: stanza.clone(), is_taken: false }
    }
}

/// What the exchange works with.
pub struct Parts {
    /// The XMPP router.
    pub xmpp: Server,
    /// The SIP user agent.
    pub sip: SipHandle,
    /// The media engine.
    pub media: MediaHandle,
    /// The registered phones.
    pub contacts: Contacts,
    /// Numbers and trunks.
    pub plan: Arc<Plan>,
    /// Other SIP domains.
    pub domains: Arc<Domains>,
    /// What accounts want done with calls to them.
    pub calls: CallDesk,
    /// Whose phones have to be encrypted.
    pub protection: Protection,
    /// Links to the pictures of callers.
    pub pictures: Links,
    /// The way to whoever shows calls to others.
    pub bus: Arc<dyn Bus>,
    /// Stanzas on their way to XMPP, in order: as many as calls make.
    pub outbox: mpsc::UnboundedSender<Outgoing>,
    /// Fresh random bytes.
    pub random: fn() -> [u8; 32],
}

/// What leaves through the ordered outbox.
pub enum Outgoing {
    /// A stanza.
    Stanza(Element),
    /// A caller without a resource gets one for its call, or loses it.
    Guest(Jid, bool),
    /// A phone is in a call, or is no more.
    InCall(Jid, bool),
    /// What is kept of a call.
    Record(Box<CallRecord>),
    /// Everything before this has been said and kept.
    Done(oneshot::Sender<()>),
}

/// The task's state.
pub struct Exchange {
    parts: Parts,
    calls: HashMap<CallKey, Entry>,
    /// When the machines of calls wait for something, the first to come first.
    armed: BTreeSet<(Instant, CallKey)>,
    index: Index,
    by_media: HashMap<MediaLeg, (CallKey, LegKey)>,
    /// Calls between XMPP devices, by session id and caller.
    passing: HashMap<(String, Jid), Passing>,
    /// Transfers that apps asked for: who is meant has to be looked up.
    wishes: Vec<Wish>,
    /// Calls that go on to somebody else, who has to be looked up.
    going_on: Vec<(CallKey, Why)>,
    next_call: u64,
    audit: Audit<&'static str>,
}

/// A transfer that an app asks for.
struct Wish {
    place: (CallKey, LegKey),
    to: Jid,
    sid: Option<String>,
}

impl Exchange {
    /// An exchange without calls.
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            calls: HashMap::new(),
            armed: BTreeSet::new(),
            index: Index::default(),
            by_media: HashMap::new(),
            passing: HashMap::new(),
            wishes: Vec::new(),
            going_on: Vec::new(),
            next_call: 0,
            audit: Audit::default(),
        }
    }

    /// Serves events until told to stop.
    pub async fn run(
        mut self,
        mut legs: mpsc::UnboundedReceiver<Event>,
        mut stanzas: mpsc::Receiver<Call>,
    ) {
        let mut turns = 0_u32;
        loop {
            let due = self.armed.first().map(|(at, _)| *at);
            tokio::select! {
                event = legs.recv() => match event {
                    Some(Event::Stop(done)) => {
                        self.stop();
                        let _ = self.parts.outbox.send(Outgoing::Done(done));
                        return;
                    }
                    Some(Event::Sip(leg, event)) => self.handle_sip(leg, event, Instant::now()).await,
                    Some(Event::Media(event)) => self.handle_media(&event, Instant::now()),
                    None => return self.stop(),
                },
                Some(call) = stanzas.recv() => {
                    match call.is_taken {
                        true => self.handle_taken(&call, Instant::now()).await,
                        false => self.handle_stanza(&call, Instant::now()).await,
                    }
                    for wish in std::mem::take(&mut self.wishes) {
                        self.app_transfers(wish, Instant::now()).await;
                    }
                }
                () = sleep_until(due) => self.handle_timeouts(Instant::now()),
            }
            while let Some((call, why)) = self.going_on.pop() {
                self.go_on(call, why, Instant::now()).await;
            }
            turns = turns.wrapping_add(1);
            if turns.is_multiple_of(TURN) {
                // Whoever reads the sockets is on this thread too.
                tokio::task::yield_now().await;
            }
        }
    }

    fn handle_timeouts(&mut self, now: Instant) {
        while let Some((at, key)) = self.armed.first().copied().filter(|(at, _)| *at <= now) {
            self.armed.remove(&(at, key));
            if let Some(call) = self.calls.get_mut(&key) {
                call.armed = None;
            }
            if let Some(call) = self.calls.get_mut(&key) {
                call.machine.handle_timeout(now);
            }
            self.act(key, now);
        }
    }

    /// Sets the alarm of a call to what its machine waits for.
    fn arm(&mut self, key: CallKey) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let at = call.machine.poll_timeout();
        if at == call.armed {
            return;
        }
        if let Some(before) = std::mem::replace(&mut call.armed, at) {
            self.armed.remove(&(before, key));
        }
        self.armed.extend(at.map(|at| (at, key)));
    }

    /// Feeds the machine and does what it says.
    fn input(&mut self, key: CallKey, input: Input, now: Instant) {
        if let Some(call) = self.calls.get_mut(&key) {
            call.machine.handle(input, now);
        }
        self.act(key, now);
    }

    /// Whoever is on this leg is gone.
    fn hung_up(&mut self, call: CallKey, key: LegKey, cause: Cause, now: Instant) {
        if !self.left_while_transferring(call, key, &cause, now) {
            self.input(call, Input::HungUp(key, cause), now);
        }
    }

    /// A path that fails, a peer that vanished (`interop.md` 6.7): the leg is over.
    fn handle_media(&mut self, event: &MediaEvent, now: Instant) {
        match event {
            MediaEvent::Failed { leg, why } => {
                let Some((call, key)) = self.by_media.get(leg).copied() else { return };
                tracing::warn!(call = call.0, why, "the media of a call failed");
                self.hung_up(call, key, Cause::ConnectionFailed, now);
            }
            MediaEvent::Silent { leg, for_ } => {
                let Some((call, key)) = self.by_media.get(leg).copied() else { return };
                if self.calls.get(&call).is_some_and(|entry| entry.answered.is_none()) {
                    // Nobody has to speak, or play, before the answer.
                    return;
                }
                tracing::warn!(call = call.0, ?for_, "a leg fell silent");
                metrics::counter!("tandem_calls_silent_total").increment(1);
                self.hung_up(call, key, Cause::ConnectionFailed, now);
            }
            MediaEvent::Closed { leg, stats } => {
                if let Some((call, key)) = self.by_media.remove(leg)
                    && let Some(leg) = self.calls.get_mut(&call).and_then(|c| c.legs.get_mut(&key))
                {
                    leg.stats = Some(*stats);
                }
            }
            MediaEvent::Connected { .. } => {}
        }
    }

    /// A call of `caller` with the caller's leg in it and nobody to ring yet.
    fn new_entry(
        &mut self,
        sid: String,
        caller: Jid,
        callee: Jid,
        leg: Leg,
        now: Instant,
    ) -> Entry {
        let media = Room::open(&self.parts.media);
        self.entry_in(media, sid, caller, callee, leg, now)
    }

    /// The same, with its media beside that of another call.
    fn entry_in(
        &mut self,
        media: Arc<Room>,
        sid: String,
        caller: Jid,
        callee: Jid,
        leg: Leg,
        now: Instant,
    ) -> Entry {
        let mut entry = Entry {
            // Replaced once the targets are known.
            machine: Machine::new([], true, Patience::default(), now),
            media,
            rooms: Vec::new(),
            transferring: None,
            max_forwards: MaxForwards::DEFAULT,
            max_breadth: breadth::USUAL,
            hops: 0,
            sid,
            caller,
            callee,
            legs: BTreeMap::new(),
            next_key: CALLER.0,
            caller_codecs: Vec::new(),
            is_hidden: false,
            answering: answering::Wish::default(),
            diverted: Vec::new(),
            playing: None,
            said_name: None,
            known_name: None,
            picture: None,
            payer: None,
            forwarded: Vec::new(),
            is_order: false,
            turned_away: None,
            voice: None,
            held: Vec::new(),
            refused: None,
            guest: None,
            is_proposed: false,
            busy: Vec::new(),
            armed: None,
            started: SystemTime::now(),
            answered: None,
        };
        entry.add_leg(leg);
        entry
    }

    /// From here on the call lives by itself.
    fn begin(&mut self, key: CallKey, mut entry: Entry, others_ring: bool, now: Instant) {
        let targets: Vec<LegKey> =
            entry.legs.keys().copied().filter(|key| *key != CALLER).collect();
        tracing::info!(call = key.0, targets = targets.len(), others_ring, "call");
        metrics::counter!("tandem_calls_total").increment(1);
        entry.machine = self.machine_of(&mut entry, targets, others_ring, now);
        self.index.set_call(&entry.sid, &entry.caller, key);
        self.index.set_call(&entry.sid, &entry.callee, key);
        self.calls.insert(key, entry);
        self.count();
        self.tell_line(key, DialogState::Trying);
        self.act(key, now);
    }

    fn stop(&mut self) {
        let now = Instant::now();
        let keys: Vec<CallKey> = self.calls.keys().copied().collect();
        for key in keys {
            // The machine hangs up the targets of a caller that left; the caller is told here.
            self.end_leg(key, CALLER, &Cause::ShuttingDown);
            self.input(key, Input::HungUp(CALLER, Cause::ShuttingDown), now);
        }
        self.stop_passing();
    }

    fn new_key(&mut self) -> CallKey {
        self.next_call += 1;
        CallKey(self.next_call)
    }

    fn count(&self) {
        metrics::gauge!("tandem_calls").set(u32::try_from(self.calls.len()).unwrap_or(u32::MAX));
    }

    fn is_full(&self) -> bool {
        self.calls.len() >= MAX_CALLS
    }

    /// The call of this session id with this XMPP party.
    fn call_of(&self, sid: &str, party: &Jid) -> Option<CallKey> {
        self.index.call(sid, party)
    }

    fn say(&self, stanza: Element) {
        let _ = self.parts.outbox.send(Outgoing::Stanza(stanza));
    }

    /// A number for a session description.
    fn number(&self) -> u64 {
        let random = (self.parts.random)();
        random.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// Sends what the exchange says, in order, until it is gone.
pub async fn send_all(
    xmpp: Server,
    contacts: Contacts,
    (store, bus): (Store, Arc<dyn Bus>),
    mut outbox: mpsc::UnboundedReceiver<Outgoing>,
) {
    let mut records = Records::new(store, bus);
    loop {
        let due = records.due();
        let outgoing = tokio::select! {
            outgoing = outbox.recv() => outgoing,
            () = sleep_until(due) => {
                records.keep();
                continue;
            }
        };
        match outgoing {
            Some(Outgoing::Stanza(stanza)) => {
                xmpp.inject(stanza).await;
            }
            Some(Outgoing::Guest(jid, true)) => xmpp.attach(&jid, super::contacts::guest()).await,
            Some(Outgoing::Guest(jid, false)) => xmpp.detach(&jid).await,
            Some(Outgoing::InCall(device, begins)) => {
                contacts.show_call(&xmpp, &device, begins).await;
            }
            Some(Outgoing::Record(record)) => records.add(*record, Instant::now()),
            Some(Outgoing::Done(done)) => {
                records.settle().await;
                let _ = done.send(());
            }
            None => return records.settle().await,
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
