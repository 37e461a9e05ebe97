//! One leg: its transport with keys, the source it listens to, the stream it sends.

pub mod digits;
pub mod packet;
pub mod report;
pub mod rtp;
pub mod webrtc;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use self::packet::Header;
use self::report::Reception;
use crate::codec::Codec;
use crate::control::{CallId, Cause, Counters, LegCodecs, LegId};
use crate::route::Outgoing;
use crate::srtp::{Context, SrtpError};

/// A second SSRC is believed when the first was silent for this long.
const SOURCE_SWITCH: Duration = Duration::from_millis(500);
/// Media that is expected and does not come for this long is worth an event.
pub const SILENCE: Duration = Duration::from_secs(30);

/// How packets reach the peer.
#[derive(Debug)]
pub enum Transport {
    /// ICE and DTLS-SRTP on the shared port.
    WebRtc(Box<webrtc::WebRtc>),
    /// An own port pair, plain or with SDES keys.
    Rtp(rtp::Rtp),
}

/// Where a leg's media goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Nowhere.
    None,
    /// To another leg.
    To(LegId),
    /// Back.
    Echo,
}

/// What a negotiated payload type means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// Voice.
    Audio(Codec),
    /// A telephone event in this clock.
    Event(u32),
}

/// One leg.
#[derive(Debug)]
pub struct Leg {
    /// Itself.
    pub id: LegId,
    /// Its call.
    pub call: CallId,
    /// How packets reach the peer.
    pub transport: Transport,
    /// Unprotects.
    pub srtp_in: Option<Context>,
    /// Protects.
    pub srtp_out: Option<Context>,
    /// Nothing is received or sent before it is set.
    pub codecs: Option<LegCodecs>,
    /// Whether a codec worker knows it.
    pub is_transcoded: bool,
    /// Whether we send to the peer.
    pub send: bool,
    /// Whether we take from the peer.
    pub receive: bool,
    /// Where its media goes.
    pub route: Route,
    /// What the peer hears.
    pub out: Outgoing,
    /// Shared with the handle.
    pub counters: Arc<Counters>,
    /// The peer's stream.
    pub reception: Reception,
    source: Option<(u32, Instant)>,
    /// What the peer last spoke.
    pub audio: Option<Codec>,
    /// Since when media is awaited.
    pub media_at: Instant,
    /// Told.
    pub silent: bool,
    /// Told.
    pub connected: bool,
    /// Told; nothing flows any more.
    pub failed: bool,
    /// When the next RTCP report is due.
    pub report_at: Option<Instant>,
    /// Keys that the peer is still to hear.
    pub digits: digits::Digits,
    /// Timestamp of the peer's last key that became tones.
    pub toned: Option<u32>,
}

impl Leg {
    /// A leg on which nothing flows yet.
    pub fn new(
        id: LegId,
        call: CallId,
        transport: Transport,
        out: Outgoing,
        counters: Arc<Counters>,
        now: Instant,
    ) -> Self {
        Self {
            id,
            call,
            transport,
            srtp_in: None,
            srtp_out: None,
            codecs: None,
            is_transcoded: false,
            send: true,
            receive: true,
            route: Route::None,
            out,
            counters,
            reception: Reception::default(),
            source: None,
            audio: None,
            media_at: now,
            silent: false,
            connected: false,
            failed: false,
            report_at: None,
            digits: digits::Digits::default(),
            toned: None,
        }
    }

    /// Whether packets must be protected.
    pub fn is_secure(&self) -> bool {
        match &self.transport {
            Transport::WebRtc(_) => true,
            Transport::Rtp(rtp) => rtp.is_secure(),
        }
    }

    /// Where RTP goes, if it can.
    pub fn rtp_to(&self) -> Option<SocketAddr> {
        if self.failed {
            return None;
        }
        match &self.transport {
            Transport::WebRtc(webrtc) => webrtc.agent.selected(),
            Transport::Rtp(rtp) => rtp.rtp_to(),
        }
    }

    /// Decrypts in place, if this leg has keys; gives the plain length.
    ///
    /// # Errors
    ///
    /// The cause to count.
    pub fn unprotect(&mut self, packet: &mut [u8], is_rtcp: bool) -> Result<usize, Cause> {
        if !self.is_secure() {
            return Ok(packet.len());
        }
        let context = self.srtp_in.as_mut().ok_or(Cause::Authentication)?;
        let plain =
            if is_rtcp { context.unprotect_rtcp(packet) } else { context.unprotect_rtp(packet) };
        plain.map_err(|error| match error {
            SrtpError::Replay => Cause::Replay,
            SrtpError::Authentication => Cause::Authentication,
            SrtpError::TooManySources => Cause::WrongSsrc,
            SrtpError::Malformed | SrtpError::NoRoom => Cause::Malformed,
        })
    }

    /// What a payload type of the peer means.
    pub fn payload(&self, payload_type: u8) -> Option<Payload> {
        let codecs = self.codecs.as_ref()?;
        let audio = codecs.receive.iter().find(|(pt, _)| *pt == payload_type);
        let event = codecs.dtmf_receive.iter().find(|(pt, _)| *pt == payload_type);
        audio
            .map(|(_, codec)| Payload::Audio(*codec))
            .or_else(|| event.map(|(_, clock)| Payload::Event(*clock)))
    }

    /// Checks a packet against what was negotiated, and counts it as received.
    ///
    /// # Errors
    ///
    /// The cause to count.
    pub fn accept(
        &mut self,
        header: Header,
        bytes: usize,
        now: Instant,
        since_start: Duration,
    ) -> Result<Payload, Cause> {
        let payload = self.payload(header.payload_type).ok_or(Cause::NotNegotiated)?;
        match &mut self.source {
            Some((ssrc, at)) if *ssrc == header.ssrc => *at = now,
            Some((_, at)) if now.saturating_duration_since(*at) < SOURCE_SWITCH => {
                return Err(Cause::WrongSsrc);
            }
            source => *source = Some((header.ssrc, now)),
        }
        let clock = match payload {
            Payload::Audio(codec) => {
                self.audio = Some(codec);
                codec.clock_rate()
            }
            Payload::Event(clock) => clock,
        };
        self.reception.note(header.ssrc, header.sequence, header.timestamp, clock, since_start);
        self.media_at = now;
        self.silent = false;
        self.counters.packets_in.fetch_add(1, Relaxed);
        self.counters.bytes_in.fetch_add(bytes as u64, Relaxed);
        self.counters.lost.store(u64::from(self.reception.lost()), Relaxed);
        self.counters.jitter_us.store(self.reception.jitter_us(), Relaxed);
        if self.receive { Ok(payload) } else { Err(Cause::Held) }
    }

    /// A new answer may bring a new source.
    pub fn forget_source(&mut self) {
        self.source = None;
    }

    /// When silence is to be told.
    pub fn silence_at(&self) -> Option<Instant> {
        let expected = self.receive && !self.silent && !self.failed && self.codecs.is_some();
        expected.then(|| self.media_at + SILENCE)
    }

    /// The next deadline.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let transport = match &self.transport {
            Transport::WebRtc(webrtc) => webrtc.poll_timeout(),
            Transport::Rtp(_) => None,
        };
        let report = self.report_at.filter(|_| !self.failed);
        [transport, report, self.silence_at(), self.digits.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }
}
