//! Datagrams on their way in: demultiplexing (RFC 7983), proof, and the checks that drop what was not negotiated.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Engine, Job, MAX_REMOTES, MAX_WORK, Made, Socket, Work};
use crate::control::{Cause, LegId};
use crate::dtls::is_dtls;
use crate::route::{Source, Stamp};
use crate::session::packet::{Header, is_rtcp, is_rtp_or_rtcp};
use crate::session::{Leg, Payload, Route, Transport};
use crate::stun::{self, Class, is_stun};

/// A packet that passed every check.
struct Taken<'a> {
    from: LegId,
    route: Route,
    header: Header,
    meaning: Payload,
    payload: &'a mut [u8],
}

impl Engine {
    /// Takes a datagram; decrypts in place.
    pub fn handle_datagram(
        &mut self,
        socket: Socket,
        from: SocketAddr,
        datagram: &mut [u8],
        now: Instant,
    ) {
        match socket {
            Socket::Rtp(leg) => self.handle_media(leg, from, datagram, is_rtcp(datagram), now),
            Socket::Rtcp(leg) => self.handle_media(leg, from, datagram, true, now),
            Socket::Shared if is_stun(datagram) => self.handle_stun(from, datagram, now),
            Socket::Shared => match self.by_remote.get(&from).copied() {
                None => self.strangers.count(Cause::WrongAddress),
                Some(leg) if is_dtls(datagram) => self.handle_dtls(leg, from, datagram, now),
                Some(leg) => self.handle_media(leg, from, datagram, is_rtcp(datagram), now),
            },
        }
    }

    /// Takes a packet that a codec worker made, unless the legs are no longer connected that way.
    pub fn handle_made(&mut self, made: &Made, now: Instant) {
        let route = self.legs.get(&made.from).map(|l| l.route);
        let is_current = match route {
            Some(Route::To(to)) => to == made.to,
            Some(Route::Echo) => made.from == made.to,
            _ => false,
        };
        let codec = self.legs.get(&made.to).and_then(|l| l.codecs.as_ref()).map(|c| c.send);
        let Some((payload_type, codec)) = codec.filter(|(_, c)| is_current && *c == made.codec)
        else {
            return;
        };
        let source = Source { leg: made.from.0, ssrc: made.ssrc, transcoded: true };
        let stamp = Stamp {
            sequence: 0,
            timestamp: made.timestamp,
            clock: made.from_codec.clock_rate(),
            out_clock: codec.clock_rate(),
            is_event: false,
        };
        let sent = self.send_rtp(made.to, (source, stamp), payload_type, false, &made.payload, now);
        if let Err(cause) = sent {
            self.count(made.from, cause);
        }
    }

    /// A request names its leg; anything else comes from where we sent a check.
    fn handle_stun(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) {
        let Some(message) = stun::Message::parse(datagram) else {
            return self.strangers.count(Cause::Malformed);
        };
        let leg = if message.class == Class::Request {
            let ufrag = message.username.and_then(|name| name.split(':').next());
            ufrag.and_then(|u| self.by_ufrag.get(u)).copied()
        } else {
            self.by_remote.get(&from).copied()
        };
        let Some(id) = leg else { return self.strangers.count(Cause::WrongAddress) };
        let mut is_ours = false;
        self.with_webrtc(id, now, |webrtc| match webrtc.handle_stun(&message, from, now) {
            Some(outcome) => {
                is_ours = true;
                outcome
            }
            None => crate::session::webrtc::Outcome::Nothing,
        });
        if is_ours {
            self.remember(from, id);
            if let Some(early) = self.take_early(id) {
                self.with_webrtc(id, now, |webrtc| webrtc.handle_dtls(&early, now));
            }
        } else {
            self.count(id, Cause::Authentication);
        }
    }

    /// Datagrams from an address go to the leg that has proven it, except where another leg's media comes from.
    pub(super) fn remember(&mut self, remote: SocketAddr, id: LegId) {
        let owner = self.by_remote.get(&remote).copied();
        let is_taken = owner.is_some_and(|o| {
            o == id || self.legs.get(&o).is_some_and(|leg| leg.rtp_to() == Some(remote))
        });
        // Each leg has at most as many as its agent has pairs, but role changes must not add up.
        let total = self.legs.len().saturating_mul(MAX_REMOTES);
        if !is_taken && self.by_remote.len() < total {
            self.by_remote.insert(remote, id);
        }
    }

    fn take_early(&mut self, id: LegId) -> Option<Vec<u8>> {
        match &mut self.legs.get_mut(&id)?.transport {
            Transport::WebRtc(webrtc) => webrtc.take_early(),
            Transport::Rtp(_) => None,
        }
    }

    fn handle_dtls(&mut self, id: LegId, from: SocketAddr, datagram: &[u8], now: Instant) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Transport::WebRtc(webrtc) = &mut leg.transport else { return };
        if webrtc.agent.is_valid(from) {
            self.with_webrtc(id, now, |webrtc| webrtc.handle_dtls(datagram, now));
        } else if !webrtc.keep_early(from, datagram) {
            leg.counters.count(Cause::WrongAddress);
        }
    }

    fn handle_media(
        &mut self,
        id: LegId,
        from: SocketAddr,
        datagram: &mut [u8],
        is_rtcp: bool,
        now: Instant,
    ) {
        let since_start = now.saturating_duration_since(self.started);
        let Some(leg) = self.legs.get_mut(&id) else {
            return self.strangers.count(Cause::WrongAddress);
        };
        let plain = match open(leg, from, datagram, is_rtcp) {
            Ok(plain) => plain,
            Err(cause) => return leg.counters.count(cause),
        };
        if is_rtcp {
            if !leg.reception.handle_rtcp(plain, now) {
                return leg.counters.count(Cause::Malformed);
            }
            return latch(leg, from, true);
        }
        let Some((header, range)) = Header::parse(plain) else {
            return leg.counters.count(Cause::Malformed);
        };
        let meaning = match leg.accept(header, range.len(), now, since_start) {
            Ok(meaning) => meaning,
            Err(cause) => return leg.counters.count(cause),
        };
        let payload = plain.get_mut(range).unwrap_or_default();
        let taken = Taken { from: id, route: leg.route, header, meaning, payload };
        latch(leg, from, false);
        let is_first = !leg.connected;
        let forwarded = self.forward(taken, now);
        if let Err(cause) = forwarded {
            self.count(id, cause);
        }
        if is_first {
            self.connected(id, now);
        }
    }

    fn forward(&mut self, taken: Taken<'_>, now: Instant) -> Result<(), Cause> {
        let to = match taken.route {
            Route::None => return Err(Cause::NoRoute),
            Route::Echo => taken.from,
            Route::To(leg) => leg,
        };
        let spoken = self.legs.get(&taken.from).and_then(|l| l.audio);
        let heard = self.legs.get(&to).and_then(|l| l.codecs.as_ref()).ok_or(Cause::NoRoute)?;
        let (send, dtmf_send, ptime_ms) = (heard.send, heard.dtmf_send, heard.ptime_ms);
        let header = taken.header;
        let (payload_type, clock, out_clock) = match taken.meaning {
            Payload::Audio(codec) if codec == send.1 => {
                (send.0, codec.clock_rate(), codec.clock_rate())
            }
            Payload::Audio(codec) => {
                let job = Job {
                    from: taken.from,
                    to,
                    ssrc: header.ssrc,
                    from_codec: codec,
                    to_codec: send.1,
                    ptime_ms,
                    sequence: header.sequence,
                    timestamp: header.timestamp,
                    payload: taken.payload.to_vec(),
                };
                return self.transcode(job);
            }
            Payload::Event(clock) => {
                let Some((payload_type, out_clock)) = dtmf_send else {
                    return self.tone(&taken, clock, now);
                };
                crate::session::packet::scale_event(taken.payload, clock, out_clock);
                (payload_type, clock, out_clock)
            }
        };
        let is_event = matches!(taken.meaning, Payload::Event(_));
        let transcoded = spoken.is_some_and(|codec| codec != send.1);
        let source = Source { leg: taken.from.0, ssrc: header.ssrc, transcoded };
        let stamp = Stamp {
            sequence: header.sequence,
            timestamp: header.timestamp,
            clock,
            out_clock,
            is_event,
        };
        self.send_rtp(to, (source, stamp), payload_type, header.marker, taken.payload, now)
    }

    /// A key for a peer that takes no events: with its end it is known how long it was.
    fn tone(&mut self, taken: &Taken<'_>, clock: u32, now: Instant) -> Result<(), Cause> {
        let leg = self.legs.get_mut(&taken.from).ok_or(Cause::NoRoute)?;
        let [event, flags, high, low, ..] = *taken.payload else { return Err(Cause::Malformed) };
        let is_end = flags & 0x80 != 0;
        if is_end && leg.toned.replace(taken.header.timestamp) != Some(taken.header.timestamp) {
            let ticks = u64::from(u16::from_be_bytes([high, low]));
            let duration = Duration::from_millis(ticks * 1_000 / u64::from(clock.max(1)));
            self.press(taken.from, event, duration, now);
        }
        Ok(())
    }

    fn transcode(&mut self, job: Job) -> Result<(), Cause> {
        if self.work.len() >= MAX_WORK {
            return Err(Cause::Overload);
        }
        for leg in [job.from, job.to] {
            if let Some(leg) = self.legs.get_mut(&leg) {
                leg.is_transcoded = true;
            }
        }
        self.work.push_back(Work::Transcode(job));
        Ok(())
    }

    /// Counts a packet of this leg that was dropped, here or by the driver.
    pub fn count(&self, id: LegId, cause: Cause) {
        if let Some(leg) = self.legs.get(&id) {
            leg.counters.count(cause);
        }
    }
}

/// Checks where a packet comes from and decrypts it.
fn open<'a>(
    leg: &mut Leg,
    from: SocketAddr,
    datagram: &'a mut [u8],
    is_rtcp: bool,
) -> Result<&'a mut [u8], Cause> {
    let may = match &leg.transport {
        Transport::WebRtc(webrtc) => webrtc.agent.is_valid(from),
        Transport::Rtp(rtp) => rtp.may_come_from(from, is_rtcp),
    };
    if !may {
        return Err(Cause::WrongAddress);
    }
    if !is_rtp_or_rtcp(datagram) {
        return Err(Cause::Malformed);
    }
    let length = leg.unprotect(datagram, is_rtcp)?;
    datagram.get_mut(..length).ok_or(Cause::Malformed)
}

fn latch(leg: &mut Leg, from: SocketAddr, is_rtcp: bool) {
    if let Transport::Rtp(rtp) = &mut leg.transport {
        rtp.latch(from, is_rtcp);
    }
}
