//! The legs of one shard: who gets a datagram, and where it goes. No socket, no thread, no clock.
//!
//! Feed [`Engine::handle_command`], [`Engine::handle_datagram`], [`Engine::handle_made`] and, when due by
//! [`Engine::poll_timeout`], [`Engine::handle_timeout`]. After each batch send what [`Engine::outbox`] holds and clear
//! it, then drain [`Engine::poll_event`] and [`Engine::poll_work`].

mod inbound;
mod outbound;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

pub use self::outbound::{Outbox, Queued};
use crate::codec::Codec;
use crate::control::{CallId, Command, Counters, LegId, LegStats, MediaEvent, RtpRemote};
use crate::dtls::{Identity, SrtpKeys};
use crate::ice::Credentials;
use crate::route::Outgoing;
use crate::session::rtp::Rtp;
use crate::session::webrtc::{Outcome, WebRtc};
use crate::session::{Leg, Route, Transport};
use crate::srtp::{Context, SrtpError};

/// Which socket a datagram came by, or leaves by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Socket {
    /// The one of all WebRTC legs.
    Shared,
    /// The even port of an RTP leg.
    Rtp(LegId),
    /// The odd port of an RTP leg.
    Rtcp(LegId),
}

/// For a codec worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Turn this packet into another codec.
    Transcode(Job),
    /// The leg is gone: its state can go.
    Forget(LegId),
}

/// One packet to transcode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Who spoke.
    pub from: LegId,
    /// Who will hear it.
    pub to: LegId,
    /// The speaker's source.
    pub ssrc: u32,
    /// What it is.
    pub from_codec: Codec,
    /// What it becomes.
    pub to_codec: Codec,
    /// Length of a packet to make, in milliseconds.
    pub ptime_ms: u32,
    /// As received.
    pub sequence: u16,
    /// As received.
    pub timestamp: u32,
    /// As received.
    pub payload: Vec<u8>,
}

/// One packet that a codec worker made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Who spoke.
    pub from: LegId,
    /// Who hears it.
    pub to: LegId,
    /// The speaker's source.
    pub ssrc: u32,
    /// What it was.
    pub from_codec: Codec,
    /// What it is.
    pub codec: Codec,
    /// Start of the packet, in the speaker's clock.
    pub timestamp: u32,
    /// Encoded.
    pub payload: Vec<u8>,
}

/// Most packets waiting for a codec worker.
const MAX_WORK: usize = 1_024;
/// Most addresses remembered for one WebRTC leg.
const MAX_REMOTES: usize = 64;

/// All legs of a shard.
pub struct Engine {
    legs: HashMap<LegId, Leg>,
    calls: HashMap<CallId, Vec<LegId>>,
    by_ufrag: HashMap<String, LegId>,
    by_remote: HashMap<SocketAddr, LegId>,
    identity: Arc<Identity>,
    seed: [u8; 32],
    started: Instant,
    wall: Duration,
    /// Never later than the earliest deadline of any leg.
    due: Option<Instant>,
    outbox: Outbox,
    events: VecDeque<MediaEvent>,
    work: VecDeque<Work>,
    /// Datagrams that belong to no leg.
    strangers: Arc<Counters>,
}

impl Engine {
    /// An empty shard. `wall` is the time since 1970 at `now`; `seed` makes SSRCs and first numbers unpredictable.
    pub fn new(
        identity: Arc<Identity>,
        seed: [u8; 32],
        now: Instant,
        wall: Duration,
        strangers: Arc<Counters>,
    ) -> Self {
        Self {
            legs: HashMap::new(),
            calls: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_remote: HashMap::new(),
            identity,
            seed,
            started: now,
            wall,
            due: None,
            outbox: Outbox::default(),
            events: VecDeque::new(),
            work: VecDeque::new(),
            strangers,
        }
    }

    /// What must be sent now.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<MediaEvent> {
        self.events.pop_front()
    }

    /// The next thing for a codec worker.
    pub fn poll_work(&mut self) -> Option<Work> {
        self.work.pop_front()
    }

    /// When to call [`Engine::handle_timeout`]; may be early.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Counters of a leg.
    pub fn stats(&self, leg: LegId) -> Option<LegStats> {
        self.legs.get(&leg).map(|l| l.counters.read())
    }

    /// Does what the outside wants. Unknown legs are ignored: a leg may end while a command is on its way.
    pub fn handle_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::OpenWebRtc { call, leg, controlling, ours, tie_breaker, counters } => {
                let ufrag = ours.ufrag.clone();
                let webrtc = self.webrtc(ours, controlling, tie_breaker);
                self.open(call, leg, webrtc, counters, now);
                self.by_ufrag.insert(ufrag, leg);
            }
            Command::OpenRtp { call, leg, counters } => {
                self.open(call, leg, Transport::Rtp(Rtp::default()), counters, now);
            }
            Command::SetWebRtcRemote(leg, remote) => {
                self.with_webrtc(leg, now, |w| w.set_remote(remote, now));
            }
            Command::AddCandidate(leg, candidate) => self.with_webrtc(leg, now, |w| {
                w.add_candidate(&candidate, now);
                Outcome::Nothing
            }),
            Command::SetRtpRemote(leg, remote) => self.set_rtp_remote(leg, remote),
            Command::SetCodecs(leg, codecs) => self.with_leg(leg, |l| {
                l.codecs = Some(codecs);
                l.media_at = now;
                l.forget_source();
            }),
            Command::Connect(a, b) => {
                self.unroute(a);
                self.unroute(b);
                self.with_leg(a, |l| l.route = Route::To(b));
                self.with_leg(b, |l| l.route = Route::To(a));
            }
            Command::Echo(leg) => {
                self.unroute(leg);
                self.with_leg(leg, |l| l.route = Route::Echo);
            }
            Command::Hold { leg, send, receive } => self.with_leg(leg, |l| {
                l.send = send;
                l.receive = receive;
                l.media_at = now;
            }),
            Command::Digit { from, event, duration } => self.press(from, event, duration, now),
            Command::CloseLeg(leg) => self.close(leg),
            Command::CloseCall(call) => {
                for leg in self.calls.remove(&call).unwrap_or_default() {
                    self.close(leg);
                }
            }
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due: Vec<LegId> = self
            .legs
            .values()
            .filter(|leg| leg.poll_timeout().is_some_and(|at| now >= at))
            .map(|leg| leg.id)
            .collect();
        for id in due {
            self.leg_timeout(id, now);
        }
        self.due = self.legs.values().filter_map(Leg::poll_timeout).min();
    }

    fn leg_timeout(&mut self, id: LegId, now: Instant) {
        self.with_webrtc(id, now, |webrtc| webrtc.handle_timeout(now));
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if leg.silence_at().is_some_and(|at| now >= at) {
            leg.silent = true;
            let for_ = now.saturating_duration_since(leg.media_at);
            self.events.push_back(MediaEvent::Silent { leg: id, for_ });
        }
        if leg.report_at.is_some_and(|at| now >= at) {
            self.report(id, now);
        }
        self.sound(id, now);
    }

    fn webrtc(&self, ours: Credentials, controlling: bool, tie_breaker: u64) -> Transport {
        let identity = self.identity.clone();
        Transport::WebRtc(Box::new(WebRtc::new(ours, controlling, tie_breaker, identity)))
    }

    fn open(
        &mut self,
        call: CallId,
        id: LegId,
        transport: Transport,
        counters: Arc<Counters>,
        now: Instant,
    ) {
        let random =
            Sha256::new().chain_update(self.seed).chain_update(id.0.to_be_bytes()).finalize();
        let word = |at: usize| {
            let bytes = random.get(at..at + 4).and_then(|b| b.try_into().ok());
            u32::from_be_bytes(bytes.unwrap_or_default())
        };
        // The first numbers stay below 2^15, so that an SRTP receiver does not guess the rollover wrong (RFC 3711
        // section 3.3.1).
        let out = Outgoing::new(word(0), (word(4) & 0x7fff) as u16, word(8));
        self.legs.insert(id, Leg::new(id, call, transport, out, counters, now));
        self.calls.entry(call).or_default().push(id);
    }

    fn set_rtp_remote(&mut self, id: LegId, remote: RtpRemote) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Transport::Rtp(rtp) = &mut leg.transport else { return };
        let changed_keys = rtp.remote().map(|r| &r.srtp) != Some(&remote.srtp);
        let srtp = remote.srtp.clone();
        rtp.set_remote(remote);
        leg.forget_source();
        if !changed_keys {
            return;
        }
        leg.srtp_in = None;
        leg.srtp_out = None;
        if let Some(pair) = srtp
            && let Err(error) = set_keys(leg, &SrtpKeys { ours: pair.ours, theirs: pair.theirs })
        {
            self.fail(id, error.to_string());
        }
    }

    fn with_leg(&mut self, id: LegId, change: impl FnOnce(&mut Leg)) {
        if let Some(leg) = self.legs.get_mut(&id) {
            change(leg);
            self.lower_due(id);
        }
    }

    /// Runs `step` on a WebRTC leg that lives, sends what it wants sent and acts on the outcome.
    fn with_webrtc(&mut self, id: LegId, now: Instant, step: impl FnOnce(&mut WebRtc) -> Outcome) {
        let Some(leg) = self.legs.get_mut(&id).filter(|l| !l.failed) else { return };
        let Transport::WebRtc(webrtc) = &mut leg.transport else { return };
        let outcome = step(webrtc);
        self.flush_webrtc(id);
        match outcome {
            Outcome::Nothing => {}
            Outcome::Path(path) => {
                self.by_remote.insert(path, id);
            }
            Outcome::Keys(keys) => self.secured(id, &keys, now),
            Outcome::Failed(why) => self.fail(id, why),
        }
        self.lower_due(id);
    }

    fn secured(&mut self, id: LegId, keys: &SrtpKeys, now: Instant) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        match set_keys(leg, keys) {
            Ok(()) => self.connected(id, now),
            Err(error) => self.fail(id, error.to_string()),
        }
    }

    fn connected(&mut self, id: LegId, now: Instant) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if !leg.connected {
            leg.connected = true;
            leg.media_at = now;
            leg.report_at = Some(now + Duration::from_millis(500));
            self.events.push_back(MediaEvent::Connected { leg: id });
            self.lower_due(id);
        }
    }

    fn fail(&mut self, id: LegId, why: String) {
        if let Some(leg) = self.legs.get_mut(&id)
            && !leg.failed
        {
            leg.failed = true;
            self.events.push_back(MediaEvent::Failed { leg: id, why });
        }
    }

    /// The partner of a leg that gets another one hears nothing more.
    fn unroute(&mut self, id: LegId) {
        let Some(Route::To(partner)) = self.legs.get(&id).map(|l| l.route) else { return };
        self.with_leg(partner, |l| {
            if l.route == Route::To(id) {
                l.route = Route::None;
            }
        });
        self.with_leg(id, |l| l.route = Route::None);
    }

    fn close(&mut self, id: LegId) {
        self.unroute(id);
        let Some(leg) = self.legs.remove(&id) else { return };
        if let Some(legs) = self.calls.get_mut(&leg.call) {
            legs.retain(|l| *l != id);
            if legs.is_empty() {
                self.calls.remove(&leg.call);
            }
        }
        if let Transport::WebRtc(webrtc) = &leg.transport {
            self.by_ufrag.remove(&webrtc.agent.credentials().ufrag);
            self.by_remote.retain(|_, l| *l != id);
        }
        if leg.is_transcoded {
            self.work.push_back(Work::Forget(id));
        }
        self.events.push_back(MediaEvent::Closed { leg: id, stats: leg.counters.read() });
    }

    fn lower_due(&mut self, id: LegId) {
        let leg = self.legs.get(&id).and_then(Leg::poll_timeout);
        self.due = [self.due, leg].into_iter().flatten().min();
    }
}

fn set_keys(leg: &mut Leg, keys: &SrtpKeys) -> Result<(), SrtpError> {
    leg.srtp_out = Some(Context::new(&keys.ours)?);
    leg.srtp_in = Some(Context::new(&keys.theirs)?);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests;
