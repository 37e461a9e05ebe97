//! What the outside says to a shard and hears from it: ids, descriptions of legs, commands, events, counters.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::codec::Codec;
use crate::ice::Credentials;
use crate::srtp::MasterKey;

/// A call: legs on one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub(crate) u64);

/// One leg of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub(crate) u64);

/// One of our addresses, or the peer's (RFC 8839 section 5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Equal for candidates of the same base.
    pub foundation: String,
    /// 1: everything is multiplexed.
    pub component: u16,
    /// RFC 8445 section 5.1.2.
    pub priority: u32,
    /// Where. A peer's mDNS names cannot be had here: leave such candidates out.
    pub address: SocketAddr,
    /// `host`, `srflx`, `prflx` or `relay`.
    pub kind: String,
}

/// What the peer of a WebRTC leg must know about us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalTransport {
    /// User name fragment.
    pub ufrag: String,
    /// Password.
    pub pwd: String,
    /// SHA-256, upper-case hex with colons.
    pub fingerprint_sha256: String,
    /// Host candidates; there are no others, and none come later.
    pub candidates: Vec<Candidate>,
}

/// `a=setup` of the peer (RFC 4145).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// The peer is DTLS client.
    Active,
    /// The peer is DTLS server.
    Passive,
    /// The peer leaves it to us: we are client (RFC 5763 section 5).
    ActPass,
}

/// What the peer of a WebRTC leg told about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteTransport {
    /// User name fragment.
    pub ufrag: String,
    /// Password.
    pub pwd: String,
    /// Hash name and hex with colons. Only `sha-256` ones are used; without any the leg fails.
    pub fingerprints: Vec<(String, String)>,
    /// The peer's role.
    pub setup: Setup,
    /// What it has so far.
    pub candidates: Vec<Candidate>,
}

/// Keys of an SDES leg (RFC 4568).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SdesPair {
    /// From our SDP: for what we send.
    pub ours: MasterKey,
    /// From the peer's SDP.
    pub theirs: MasterKey,
}

/// Where an RTP leg sends, and by which keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpRemote {
    /// From `c=` and `m=`. Port 0 or the unspecified address: nothing is sent yet.
    pub addr: SocketAddr,
    /// From `a=rtcp`. None: the next port.
    pub rtcp: Option<SocketAddr>,
    /// RTCP goes with RTP.
    pub rtcp_mux: bool,
    /// None: plain RTP.
    pub srtp: Option<SdesPair>,
}

/// What was negotiated for a leg. Everything else is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegCodecs {
    /// Payload types the peer may send.
    pub receive: Vec<(u8, Codec)>,
    /// What we send.
    pub send: (u8, Codec),
    /// Telephone-event payload types the peer may send, with their clock rate.
    pub dtmf_receive: Vec<(u8, u32)>,
    /// Telephone-event as we send it.
    pub dtmf_send: Option<(u8, u32)>,
    /// Milliseconds of audio in a packet that we make. Default 20.
    pub ptime_ms: u32,
}

impl LegCodecs {
    /// Whether the peer hears keys: as telephone events, or as tones in its audio.
    pub fn hears_keys(&self) -> bool {
        self.dtmf_send.is_some() || crate::codec::tones::can_sound(self.send.1)
    }
}

/// What a shard tells.
#[derive(Debug, Clone, PartialEq)]
pub enum MediaEvent {
    /// Keys are agreed (WebRTC), or the first good packet came (RTP).
    Connected {
        /// Which leg.
        leg: LegId,
    },
    /// The leg is dead: no path, consent lost, wrong certificate.
    Failed {
        /// Which leg.
        leg: LegId,
        /// For the log.
        why: String,
    },
    /// Media is expected and none came. Told once, until media comes again.
    Silent {
        /// Which leg.
        leg: LegId,
        /// How long.
        for_: Duration,
    },
    /// The leg is gone.
    Closed {
        /// Which leg.
        leg: LegId,
        /// Its last counters.
        stats: LegStats,
    },
}

/// Why a packet was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Not from where it should come.
    WrongAddress,
    /// A second source beside the one that talks.
    WrongSsrc,
    /// The SRTP tag does not match, or there are no keys yet.
    Authentication,
    /// Seen before, or too old.
    Replay,
    /// Payload type that was not negotiated.
    NotNegotiated,
    /// No RTP, RTCP, STUN or DTLS.
    Malformed,
    /// The leg, or the one it feeds, is on hold.
    Held,
    /// No other leg wants it, or that leg cannot send yet.
    NoRoute,
    /// The codec worker or the socket does not keep up.
    Overload,
}

const CAUSES: usize = 9;

impl Cause {
    /// Every cause, for counters with a name each.
    pub const ALL: [Self; CAUSES] = [
        Self::WrongAddress,
        Self::WrongSsrc,
        Self::Authentication,
        Self::Replay,
        Self::NotNegotiated,
        Self::Malformed,
        Self::Held,
        Self::NoRoute,
        Self::Overload,
    ];
}

/// Dropped packets by cause.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops([u64; CAUSES]);

impl std::fmt::Debug for Drops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seen = Cause::ALL.iter().map(|c| (c, self.of(*c))).filter(|(_, n)| *n > 0);
        f.debug_map().entries(seen).finish()
    }
}

impl Drops {
    /// How many for this cause.
    pub fn of(&self, cause: Cause) -> u64 {
        self.0.get(cause as usize).copied().unwrap_or_default()
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// Counters of a leg.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LegStats {
    /// RTP packets taken.
    pub packets_in: u64,
    /// RTP packets sent.
    pub packets_out: u64,
    /// Payload bytes taken.
    pub bytes_in: u64,
    /// Payload bytes sent.
    pub bytes_out: u64,
    /// Packets that were never seen, by sequence number (RFC 3550 appendix A.3).
    pub lost: u64,
    /// Interarrival jitter in microseconds.
    pub jitter_us: u64,
    /// What was dropped.
    pub drops: Drops,
}

/// The shard's side of [`LegStats`]: it alone writes, anyone reads.
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) packets_in: AtomicU64,
    pub(crate) packets_out: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) jitter_us: AtomicU64,
    drops: [AtomicU64; CAUSES],
}

impl Counters {
    /// Counts a dropped packet.
    pub(crate) fn count(&self, cause: Cause) {
        if let Some(counter) = self.drops.get(cause as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The values now.
    pub fn read(&self) -> LegStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LegStats {
            packets_in: get(&self.packets_in),
            packets_out: get(&self.packets_out),
            bytes_in: get(&self.bytes_in),
            bytes_out: get(&self.bytes_out),
            lost: get(&self.lost),
            jitter_us: get(&self.jitter_us),
            drops: Drops(std::array::from_fn(|at| self.drops.get(at).map_or(0, get))),
        }
    }
}

/// What the handle says to the engine of a shard.
#[derive(Debug)]
pub enum Command {
    /// A WebRTC leg.
    OpenWebRtc {
        /// Its call.
        call: CallId,
        /// Its id.
        leg: LegId,
        /// Our ICE role, until a conflict says otherwise.
        controlling: bool,
        /// Our side of ICE.
        ours: Credentials,
        /// For role conflicts.
        tie_breaker: u64,
        /// Shared with the handle.
        counters: Arc<Counters>,
    },
    /// An RTP leg; its sockets are known to the driver.
    OpenRtp {
        /// Its call.
        call: CallId,
        /// Its id.
        leg: LegId,
        /// Shared with the handle.
        counters: Arc<Counters>,
    },
    /// The peer's side of a WebRTC leg.
    SetWebRtcRemote(LegId, RemoteTransport),
    /// One more candidate of the peer.
    AddCandidate(LegId, Candidate),
    /// The peer's side of an RTP leg.
    SetRtpRemote(LegId, RtpRemote),
    /// What was negotiated.
    SetCodecs(LegId, LegCodecs),
    /// Two legs hear each other.
    Connect(LegId, LegId),
    /// A leg hears itself.
    Echo(LegId),
    /// Which directions flow.
    Hold {
        /// Which leg.
        leg: LegId,
        /// Whether we send to it.
        send: bool,
        /// Whether we take from it.
        receive: bool,
    },
    /// A key was pressed on a leg, told outside of its audio: whoever hears the leg gets a telephone event.
    Digit {
        /// Where it was pressed.
        from: LegId,
        /// Event code of RFC 4733 section 3.2.
        event: u8,
        /// How long it was pressed.
        duration: Duration,
    },
    /// Ends a leg.
    CloseLeg(LegId),
    /// Ends a call.
    CloseCall(CallId),
}

impl Candidate {
    /// A host candidate of ours, the best first (RFC 8445 section 5.1.2.1).
    pub fn host(index: usize, address: SocketAddr) -> Self {
        let rank = u32::try_from(index).unwrap_or(u32::MAX).min(1_000);
        let local: u32 = if address.is_ipv6() { 65_535 } else { 64_000 };
        Self {
            foundation: format!("{}", index + 1),
            component: 1,
            priority: (126 << 24) | ((local - rank) << 8) | 255,
            address,
            kind: "host".to_owned(),
        }
    }
}
