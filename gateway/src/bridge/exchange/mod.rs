//! The exchange: every call of this node (B2BUA of RFC 7092, `interop.md` part 6).
//!
//! One task owns all calls, so no call needs a lock. It takes events from the phones, from XMPP clients and from the
//! media engine, feeds the call machine of [`crate::bridge::call`], and carries out what the machine decides. What it
//! says to XMPP goes through one ordered outbox; SIP and media are told directly and never wait.
//!
//! `sip.rs`, `xmpp.rs` and `media.rs` translate what comes in; `act.rs` carries out decisions; `entry.rs` is the data.

mod act;
mod entry;
mod media;
mod sip;
mod xmpp;

use std::collections::HashMap;
use std::time::Instant;

use tandem_media::{LegId as MediaLeg, MediaEvent, MediaHandle};
use tandem_sip::ports::{LegEvent, LegId as SipLeg};
use tandem_sip::SipHandle;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::Stanza;
use tandem_xmpp::xml::Element;
use tandem_xmpp::Server;
use tokio::sync::{mpsc, oneshot};

use self::entry::{CallKey, Entry};
use super::call::{CALLER, Cause, Input, LegKey};
use super::contacts::{Contacts, OnThePhone};
use super::features::Features;
use crate::store::Store;

/// What the exchange is told.
pub enum Event {
    /// Something happened on a phone's call leg.
    Sip(SipLeg, LegEvent),
    /// Something happened to media.
    Media(MediaEvent),
    /// A call stanza (Jingle or XEP-0353) for `to`, a device or an account that we speak for.
    Stanza(Box<Stanza>),
    /// End all calls; answer when their legs have been told.
    Stop(oneshot::Sender<()>),
}

/// What the exchange works with.
pub struct Parts {
    /// The XMPP router.
    pub xmpp: Server,
    /// The SIP user agent.
    pub sip: SipHandle,
    /// The media engine.
    pub media: MediaHandle,
    /// Accounts and call records.
    pub store: Store,
    /// The registered phones.
    pub contacts: Contacts,
    /// Who is in a call.
    pub on_the_phone: OnThePhone,
    /// What XMPP clients can do.
    pub features: Features,
    /// Stanzas on their way to XMPP, in order.
    pub outbox: mpsc::UnboundedSender<Element>,
    /// The echo account, bare.
    pub echo: Jid,
}

/// The task's state.
pub struct Exchange {
    parts: Parts,
    calls: HashMap<CallKey, Entry>,
    by_sip: HashMap<SipLeg, (CallKey, LegKey)>,
    by_media: HashMap<MediaLeg, (CallKey, LegKey)>,
    /// Session id and the XMPP party's bare JID name a call: ids are chosen by clients and may collide.
    by_sid: HashMap<(String, Jid), CallKey>,
    next_call: u64,
}

impl Exchange {
    /// An exchange without calls.
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            calls: HashMap::new(),
            by_sip: HashMap::new(),
            by_media: HashMap::new(),
            by_sid: HashMap::new(),
            next_call: 0,
        }
    }

    /// Serves events until told to stop.
    #[allow(clippy::disallowed_methods)] // the driver reads the clock
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        loop {
            let due = self.calls.values().filter_map(|c| c.machine.poll_timeout()).min();
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Stop(done)) => {
                        self.stop().await;
                        let _ = done.send(());
                        return;
                    }
                    Some(event) => self.handle(event, Instant::now()).await,
                    None => return self.stop().await,
                },
                () = sleep_until(due) => self.handle_timeouts(Instant::now()).await,
            }
        }
    }

    async fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Sip(leg, event) => self.handle_sip(leg, event, now).await,
            Event::Media(event) => self.handle_media(&event, now).await,
            Event::Stanza(stanza) => self.handle_stanza(&stanza, now).await,
            Event::Stop(_) => {}
        }
    }

    async fn handle_timeouts(&mut self, now: Instant) {
        let due: Vec<CallKey> = self
            .calls
            .iter()
            .filter(|(_, c)| c.machine.poll_timeout().is_some_and(|at| at <= now))
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            if let Some(call) = self.calls.get_mut(&key) {
                call.machine.handle_timeout(now);
            }
            self.act(key, now).await;
        }
    }

    /// Feeds the machine and does what it says.
    async fn input(&mut self, key: CallKey, input: Input, now: Instant) {
        if let Some(call) = self.calls.get_mut(&key) {
            call.machine.handle(input, now);
        }
        self.act(key, now).await;
    }

    #[allow(clippy::disallowed_methods)]
    async fn stop(&mut self) {
        let now = Instant::now();
        let keys: Vec<CallKey> = self.calls.keys().copied().collect();
        for key in keys {
            let target = self.calls.get(&key).and_then(|c| c.machine.taken_by());
            // Both ends are told: the machine hangs up the target for a caller that left, the caller is told here.
            if let Some(call) = self.calls.get_mut(&key) {
                let caller = call.legs.get_mut(&CALLER);
                if let Some(leg) = caller {
                    act::end_leg(&self.parts, leg, &Cause::ShuttingDown);
                }
            }
            tracing::info!(call = key.0, taken = target.is_some(), "call ended, the program stops");
            self.input(key, Input::HungUp(CALLER, Cause::ShuttingDown), now).await;
        }
    }

    fn new_key(&mut self) -> CallKey {
        self.next_call += 1;
        CallKey(self.next_call)
    }

    fn leg_of_sid(&self, sid: &str, party: &Jid) -> Option<CallKey> {
        self.by_sid.get(&(sid.to_owned(), party.bare())).copied()
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
