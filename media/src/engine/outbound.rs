//! Datagrams on their way out: one buffer for a whole batch, filled and encrypted in place.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::{Engine, Socket};
use crate::codec::{Codec, tones};
use crate::control::{Cause, LegId};
use crate::route::{Source, Stamp};
use crate::session::packet::Header;
use crate::session::{Leg, Route, Transport, report};
use crate::srtp::MAX_OVERHEAD;

/// A datagram in the outbox.
#[derive(Debug, Clone, Copy)]
pub struct Queued {
    /// Leaves by this socket.
    pub socket: Socket,
    /// Goes there.
    pub to: SocketAddr,
    start: usize,
    end: usize,
}

/// What a batch wants sent. Its memory is kept from batch to batch.
#[derive(Debug, Default)]
pub struct Outbox {
    data: Vec<u8>,
    queue: Vec<Queued>,
}

impl Outbox {
    /// The datagrams, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Queued, &[u8])> {
        self.queue.iter().map(|q| (*q, self.data.get(q.start..q.end).unwrap_or_default()))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// All were sent.
    pub fn clear(&mut self) {
        self.data.clear();
        self.queue.clear();
    }

    fn push(&mut self, socket: Socket, to: SocketAddr, parts: [&[u8]; 2]) {
        let start = self.data.len();
        for part in parts {
            self.data.extend_from_slice(part);
        }
        self.queue.push(Queued { socket, to, start, end: self.data.len() });
    }

    /// Encrypts the last datagram; without success it is taken back.
    fn seal(&mut self, protect: impl FnOnce(&mut [u8], usize) -> Option<usize>) -> bool {
        let Some(last) = self.queue.last_mut() else { return false };
        let plain = last.end - last.start;
        self.data.resize(last.end + MAX_OVERHEAD, 0);
        let sealed = self.data.get_mut(last.start..).and_then(|d| protect(d, plain));
        match sealed {
            Some(length) => {
                last.end = last.start + length;
                self.data.truncate(last.end);
                true
            }
            None => {
                self.data.truncate(last.start);
                self.queue.pop();
                false
            }
        }
    }
}

impl Engine {
    /// Sends a payload to a leg's peer as the next packet of its stream, unless an event of ours takes the voice's place.
    pub(super) fn send_rtp(
        &mut self,
        to: LegId,
        at: (Source, Stamp),
        payload_type: u8,
        marker: bool,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), Cause> {
        if self.legs.get(&to).is_some_and(|leg| leg.digits.sounds()) {
            return Ok(());
        }
        self.send_stamped(to, at, payload_type, marker, payload, now)
    }

    fn send_stamped(
        &mut self,
        to: LegId,
        (source, stamp): (Source, Stamp),
        payload_type: u8,
        marker: bool,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), Cause> {
        let leg = self.legs.get_mut(&to).ok_or(Cause::NoRoute)?;
        if !leg.send {
            return Err(Cause::Held);
        }
        let address = leg.rtp_to().ok_or(Cause::NoRoute)?;
        if leg.is_secure() && leg.srtp_out.is_none() {
            return Err(Cause::NoRoute);
        }
        let (sequence, timestamp, is_new) = leg.out.next(source, stamp, now);
        let header = Header {
            marker: marker || is_new,
            payload_type,
            sequence,
            timestamp,
            ssrc: leg.out.ssrc,
        };
        self.outbox.push(rtp_socket(leg), address, [&header.to_bytes(), payload]);
        if let Some(context) = &mut leg.srtp_out
            && !self.outbox.seal(|data, length| context.protect_rtp(data, length).ok())
        {
            return Err(Cause::Overload);
        }
        leg.counters.packets_out.fetch_add(1, Relaxed);
        leg.counters.bytes_out.fetch_add(payload.len() as u64, Relaxed);
        Ok(())
    }

    /// A key goes to whoever hears the leg: as a telephone event, or as tones where that peer takes none.
    pub(super) fn press(&mut self, from: LegId, event: u8, duration: Duration, now: Instant) {
        let to = match self.legs.get(&from).map(|leg| leg.route) {
            Some(Route::To(to)) => to,
            Some(Route::Echo) => from,
            Some(Route::None) => return self.count(from, Cause::NoRoute),
            None => return,
        };
        let Some(leg) = self.legs.get_mut(&to) else { return };
        if leg.codecs.as_ref().is_none_or(|codecs| !codecs.hears_keys()) {
            return self.count(from, Cause::NotNegotiated);
        }
        if !leg.digits.push(event, duration, now) {
            return self.count(from, Cause::Overload);
        }
        self.lower_due(to);
    }

    /// Sends the packet of an event that is due.
    pub(super) fn sound(&mut self, id: LegId, now: Instant) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if leg.digits.poll_timeout().is_none_or(|at| now < at) {
            return;
        }
        let Some(codecs) = &leg.codecs else {
            return self.silence_digits(id, Cause::NotNegotiated);
        };
        let Some((payload_type, clock)) = codecs.dtmf_send else {
            let send = codecs.send;
            return self.sound_tones(id, send, now);
        };
        let Some(step) = leg.digits.next(clock, now) else { return };
        // A stream of its own beside the voice, which is silent while it lasts; numbered on in the leg's one stream.
        let source = Source { leg: u64::MAX, ssrc: 0, transcoded: true };
        let stamp =
            Stamp { sequence: 0, timestamp: step.number, clock, out_clock: clock, is_event: true };
        let (at, payload) = ((source, stamp), &step.payload);
        match self.send_stamped(id, at, payload_type, step.marker, payload, now) {
            Err(cause) => self.silence_digits(id, cause),
            Ok(()) => {
                if let (Some(ticks), Some(leg)) = (step.ended, self.legs.get_mut(&id)) {
                    leg.out.advance(ticks, now);
                }
            }
        }
    }

    /// The same where the peer takes no events: its audio has the key's tones, 20 ms after 20 ms.
    fn sound_tones(&mut self, id: LegId, (payload_type, codec): (u8, Codec), now: Instant) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Some(step) = leg.digits.next(codec.clock_rate(), now) else { return };
        // What only repeats an end is the pause to the next key.
        let Some(before) = step.before else { return };
        let [event, ..] = step.payload;
        let Some(payload) = tones::packet(event, codec, before) else {
            return self.silence_digits(id, Cause::NotNegotiated);
        };
        let clock = codec.clock_rate();
        let source = Source { leg: u64::MAX, ssrc: step.number, transcoded: true };
        let stamp =
            Stamp { sequence: 0, timestamp: before, clock, out_clock: clock, is_event: false };
        let sent = self.send_stamped(id, (source, stamp), payload_type, step.marker, &payload, now);
        if let Err(cause) = sent {
            self.silence_digits(id, cause);
        }
    }

    /// The peer cannot be told: its keys are lost, and counted.
    fn silence_digits(&mut self, id: LegId, cause: Cause) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        for _ in 0..leg.digits.clear() {
            leg.counters.count(cause);
        }
    }

    /// Sends what ICE and DTLS of a leg have ready.
    pub(super) fn flush_webrtc(&mut self, id: LegId) {
        loop {
            let Some(leg) = self.legs.get_mut(&id) else { return };
            let Transport::WebRtc(webrtc) = &mut leg.transport else { return };
            let Some((to, bytes)) = webrtc.poll_stun() else { break };
            self.outbox.push(Socket::Shared, to, [&bytes, &[]]);
            // The answer will come from there.
            self.remember(to, id);
        }
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Transport::WebRtc(webrtc) = &mut leg.transport else { return };
        // Before a pair is selected DTLS answers on one that works.
        let Some(path) = webrtc.agent.selected().or_else(|| webrtc.agent.any_valid()) else {
            return;
        };
        while let Some(bytes) = webrtc.poll_dtls() {
            self.outbox.push(Socket::Shared, path, [&bytes, &[]]);
        }
    }

    /// Sends a report and plans the next.
    pub(super) fn report(&mut self, id: LegId, now: Instant) {
        let wall = self.wall + now.saturating_duration_since(self.started);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.report_at = Some(now + report::INTERVAL);
        let clock = leg.codecs.as_ref().map_or(8_000, |c| c.send.1.clock_rate());
        let Some((to, socket)) = rtcp_path(leg) else { return };
        if leg.is_secure() && leg.srtp_out.is_none() {
            return;
        }
        let stats = leg.counters.read();
        let (timestamp, at) = leg.out.last();
        let passed = at.map_or(0, |at| now.saturating_duration_since(at).as_micros());
        let ticks = passed * u128::from(clock) / 1_000_000;
        let sent = report::Sent {
            ssrc: leg.out.ssrc,
            packets: (stats.packets_out & 0xffff_ffff) as u32,
            octets: (stats.bytes_out & 0xffff_ffff) as u32,
            timestamp: timestamp.wrapping_add((ticks & 0xffff_ffff) as u32),
            wall,
        };
        let mut out = [0; report::MAX_REPORT];
        let length = report::write(sent, &mut leg.reception, now, &mut out);
        self.outbox.push(socket, to, [out.get(..length).unwrap_or_default(), &[]]);
        if let Some(context) = &mut leg.srtp_out {
            self.outbox.seal(|data, length| context.protect_rtcp(data, length).ok());
        }
    }
}

fn rtp_socket(leg: &Leg) -> Socket {
    match leg.transport {
        Transport::WebRtc(_) => Socket::Shared,
        Transport::Rtp(_) => Socket::Rtp(leg.id),
    }
}

fn rtcp_path(leg: &Leg) -> Option<(SocketAddr, Socket)> {
    match &leg.transport {
        Transport::WebRtc(webrtc) => webrtc.agent.selected().map(|to| (to, Socket::Shared)),
        Transport::Rtp(rtp) => rtp.rtcp_to().map(|(to, by_rtp)| {
            (to, if by_rtp { Socket::Rtp(leg.id) } else { Socket::Rtcp(leg.id) })
        }),
    }
}
