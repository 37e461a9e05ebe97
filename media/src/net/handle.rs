//! What others hold of the engine. Every call returns at once: ids, credentials and ports are made here.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};

use super::ports::PortPairs;
use super::shard::{Control, Started};
use crate::config::Config;
use crate::control::{
    CallId, Candidate, Command, Counters, LegCodecs, LegId, LegStats, LocalTransport,
    RemoteTransport, RtpRemote,
};
use crate::dtls::Identity;
use crate::error::MediaError;
use crate::ice::Credentials;

/// Low bits of an id name the shard.
const SHARD_BITS: u32 = 6;

#[derive(Debug)]
pub(super) struct ShardHandle {
    started: Started,
    candidates: Vec<SocketAddr>,
    strangers: Arc<Counters>,
}

impl ShardHandle {
    pub(super) fn new(
        started: Started,
        candidates: Vec<SocketAddr>,
        strangers: Arc<Counters>,
    ) -> Self {
        Self { started, candidates, strangers }
    }
}

struct OpenLeg {
    call: CallId,
    counters: Arc<Counters>,
    rtp: Option<SocketAddr>,
    hears_keys: bool,
}

struct Shared {
    config: Config,
    shards: Vec<ShardHandle>,
    identity: Arc<Identity>,
    next: AtomicU64,
    ports: Mutex<PortPairs>,
    legs: Mutex<HashMap<LegId, OpenLeg>>,
}

/// The running engine. Cheap to clone; the threads end with the last one.
#[derive(Clone)]
pub struct MediaHandle(Arc<Shared>);

impl std::fmt::Debug for MediaHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MediaHandle").field("shards", &self.0.shards.len()).finish_non_exhaustive()
    }
}

impl MediaHandle {
    pub(super) fn new(config: Config, shards: Vec<ShardHandle>, identity: Arc<Identity>) -> Self {
        let ports = Mutex::new(PortPairs::new(config.rtp, config.rtp_ports));
        let legs = Mutex::new(HashMap::new());
        Self(Arc::new(Shared { config, shards, identity, next: AtomicU64::new(1), ports, legs }))
    }

    /// Begins a call; all its legs will live on one shard.
    pub fn open_call(&self) -> CallId {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let shard = number % self.0.shards.len().max(1) as u64;
        CallId(number << SHARD_BITS | shard)
    }

    /// Ends a call with all its legs.
    pub fn close_call(&self, call: CallId) {
        self.say(call.0, Command::CloseCall(call));
        let mut legs = self.legs();
        let gone: Vec<LegId> =
            legs.iter().filter(|(_, leg)| leg.call == call).map(|(id, _)| *id).collect();
        let gone: Vec<OpenLeg> = gone.iter().filter_map(|id| legs.remove(id)).collect();
        drop(legs);
        gone.iter().for_each(|leg| self.release(leg));
    }

    /// Opens a WebRTC leg. `controlling`: we began the session. `random` must be unpredictable: the password comes of it.
    ///
    /// # Errors
    ///
    /// [`MediaError::Busy`] when the shard does not take it.
    pub fn open_webrtc(
        &self,
        call: CallId,
        controlling: bool,
        random: [u8; 32],
    ) -> Result<(LegId, LocalTransport), MediaError> {
        let leg = self.new_leg(call);
        let part = |label: &str, length: usize| {
            let digest = Sha256::new().chain_update(random).chain_update(label).finalize();
            let mut text = STANDARD_NO_PAD.encode(digest);
            text.truncate(length);
            text
        };
        let ours = Credentials {
            // The id makes it unique on the shard, the rest hard to guess.
            ufrag: format!("{:x}{}", leg.0, part("ufrag", 6)),
            pwd: part("pwd", 32),
        };
        let tie_breaker = Sha256::new().chain_update(random).chain_update("tie").finalize();
        let tie_breaker = tie_breaker.get(..8).and_then(|b| b.try_into().ok());
        let counters = self.remember(call, leg, None);
        let command = Command::OpenWebRtc {
            call,
            leg,
            controlling,
            ours: ours.clone(),
            tie_breaker: u64::from_be_bytes(tie_breaker.unwrap_or_default()),
            counters,
        };
        let shard = self.shard(call.0)?;
        if let Err(error) = shard.started.send(Control::Command(command)) {
            self.forget(leg);
            return Err(error);
        }
        let candidates =
            shard.candidates.iter().enumerate().map(|(n, a)| Candidate::host(n, *a)).collect();
        let local = LocalTransport {
            ufrag: ours.ufrag,
            pwd: ours.pwd,
            fingerprint_sha256: self.0.identity.fingerprint().to_owned(),
            candidates,
        };
        Ok((leg, local))
    }

    /// The peer's description of a WebRTC leg. Other credentials later restart ICE.
    pub fn set_webrtc_remote(&self, leg: LegId, remote: RemoteTransport) {
        self.say(leg.0, Command::SetWebRtcRemote(leg, remote));
    }

    /// One more candidate of the peer.
    pub fn add_candidate(&self, leg: LegId, candidate: Candidate) {
        self.say(leg.0, Command::AddCandidate(leg, candidate));
    }

    /// Opens an RTP leg; gives the address for SDP. RTCP has the next port.
    ///
    /// # Errors
    ///
    /// [`MediaError::NoPorts`] or [`MediaError::Busy`].
    pub fn open_rtp(&self, call: CallId) -> Result<(LegId, SocketAddr), MediaError> {
        let (rtp, rtcp) = self.ports().bind()?;
        let bound = rtp.local_addr()?;
        let ip = self.0.config.rtp_advertised.unwrap_or(bound.ip());
        let address = SocketAddr::new(ip, bound.port());
        let leg = self.new_leg(call);
        let counters = self.remember(call, leg, Some(address));
        let command = Command::OpenRtp { call, leg, counters };
        let sent = self
            .shard(call.0)
            .and_then(|shard| shard.started.send(Control::OpenRtp { command, leg, rtp, rtcp }));
        if sent.is_err() {
            self.forget(leg);
        }
        sent.map(|()| (leg, address))
    }

    /// The peer's description of an RTP leg.
    pub fn set_rtp_remote(&self, leg: LegId, remote: RtpRemote) {
        self.say(leg.0, Command::SetRtpRemote(leg, remote));
    }

    /// The address that an RTP leg has in SDP.
    pub fn rtp_address(&self, leg: LegId) -> Option<SocketAddr> {
        self.legs().get(&leg).and_then(|l| l.rtp)
    }

    /// What was negotiated for a leg. Everything else is dropped and counted.
    pub fn set_codecs(&self, leg: LegId, codecs: LegCodecs) {
        if let Some(open) = self.legs().get_mut(&leg) {
            open.hears_keys = codecs.hears_keys();
        }
        self.say(leg.0, Command::SetCodecs(leg, codecs));
    }

    /// Two legs of one call hear each other; replaces what they heard before.
    pub fn connect(&self, a: LegId, b: LegId) {
        self.say(a.0, Command::Connect(a, b));
    }

    /// A leg hears itself.
    pub fn echo(&self, leg: LegId) {
        self.say(leg.0, Command::Echo(leg));
    }

    /// Which directions of a leg flow.
    pub fn hold(&self, leg: LegId, send: bool, receive: bool) {
        self.say(leg.0, Command::Hold { leg, send, receive });
    }

    /// A key was pressed on a leg and told outside of its audio (INFO, XEP-0181): whoever hears the leg gets a telephone
    /// event (RFC 4733). `event` is its code there. What the hearer cannot take is counted as dropped on a leg.
    pub fn press(&self, from: LegId, event: u8, duration: Duration) {
        self.say(from.0, Command::Digit { from, event, duration });
    }

    /// Whether the peer of a leg hears a key that is pressed elsewhere.
    pub fn hears_keys(&self, leg: LegId) -> bool {
        self.legs().get(&leg).is_some_and(|open| open.hears_keys)
    }

    /// Ends a leg; [`crate::MediaEvent::Closed`] follows.
    pub fn close_leg(&self, leg: LegId) {
        self.say(leg.0, Command::CloseLeg(leg));
        self.forget(leg);
    }

    /// Legs that are open.
    pub fn open_legs(&self) -> usize {
        self.legs().len()
    }

    /// Counters of an open leg.
    pub fn stats(&self, leg: LegId) -> Option<LegStats> {
        self.legs().get(&leg).map(|l| l.counters.read())
    }

    /// Datagrams that belonged to no leg, of all shards.
    pub fn strangers(&self) -> Vec<LegStats> {
        self.0.shards.iter().map(|s| s.strangers.read()).collect()
    }

    fn new_leg(&self, call: CallId) -> LegId {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        LegId(number << SHARD_BITS | call.0 & ((1 << SHARD_BITS) - 1))
    }

    fn shard(&self, id: u64) -> Result<&ShardHandle, MediaError> {
        let index = usize::try_from(id & ((1 << SHARD_BITS) - 1)).unwrap_or(usize::MAX);
        self.0.shards.get(index).ok_or(MediaError::Busy)
    }

    fn say(&self, id: u64, command: Command) {
        let sent = self.shard(id).and_then(|s| s.started.send(Control::Command(command)));
        if let Err(error) = sent {
            tracing::error!(%error, "a media command was lost");
        }
    }

    fn remember(&self, call: CallId, leg: LegId, rtp: Option<SocketAddr>) -> Arc<Counters> {
        let counters = Arc::new(Counters::default());
        self.legs()
            .insert(leg, OpenLeg { call, counters: counters.clone(), rtp, hears_keys: false });
        counters
    }

    fn forget(&self, leg: LegId) {
        let gone = self.legs().remove(&leg);
        gone.iter().for_each(|leg| self.release(leg));
    }

    fn release(&self, leg: &OpenLeg) {
        if let Some(address) = leg.rtp {
            self.ports().release(address.port());
        }
    }

    /// Whether there are so few ports for RTP left that no new call should begin: what is left is for those that run.
    pub fn is_short_of_ports(&self) -> bool {
        let ports = self.ports();
        // A call has two legs.
        ports.free() < 2 + ports.len() / 64
    }

    fn ports(&self) -> std::sync::MutexGuard<'_, PortPairs> {
        self.0.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn legs(&self) -> std::sync::MutexGuard<'_, HashMap<LegId, OpenLeg>> {
        self.0.legs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any address is offered to WebRTC peers; without one no browser can be called.
    pub fn advertised(&self) -> Vec<IpAddr> {
        self.0
            .shards
            .first()
            .map_or_else(Vec::new, |s| s.candidates.iter().map(SocketAddr::ip).collect())
    }
}
