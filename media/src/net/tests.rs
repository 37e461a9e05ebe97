//! The engine with its threads and sockets: two phones on loopback. Waits for packets and events, not for time.

use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::codec::Codec;
use crate::control::{CallId, LegCodecs, LegId, RtpRemote};
use crate::session::packet::Header;

struct Phone {
    socket: UdpSocket,
    leg: LegId,
    gateway: SocketAddr,
    codec: (u8, Codec),
}

fn start(rtp_ports: (u16, u16)) -> (MediaHandle, Receiver<MediaEvent>) {
    let config = Config {
        webrtc: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        rtp: Ipv4Addr::LOCALHOST.into(),
        rtp_ports,
        ..Config::default()
    };
    let (sender, events) = channel();
    let sender = std::sync::Mutex::new(sender);
    let media = Media::start(config, [1; 32], move |event| {
        let _ = sender.lock().unwrap().send(event);
    });
    (media.unwrap(), events)
}

fn phone(media: &MediaHandle, call: CallId, codec: (u8, Codec)) -> Phone {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (leg, gateway) = media.open_rtp(call).unwrap();
    assert_eq!(gateway.port() % 2, 0);
    assert_eq!(media.rtp_address(leg), Some(gateway));
    let addr = socket.local_addr().unwrap();
    media.set_rtp_remote(leg, RtpRemote { addr, rtcp: None, rtcp_mux: true, srtp: None });
    let codecs = LegCodecs {
        receive: vec![codec],
        send: codec,
        dtmf_receive: Vec::new(),
        dtmf_send: None,
        ptime_ms: 20,
    };
    media.set_codecs(leg, codecs);
    Phone { socket, leg, gateway, codec }
}

impl Phone {
    fn say(&self, sequence: u16, payload: &[u8]) {
        let payload_type = self.codec.0;
        let timestamp = u32::from(sequence) * 160;
        let header = Header { marker: false, payload_type, sequence, timestamp, ssrc: 5 };
        let packet = [&header.to_bytes(), payload].concat();
        self.socket.send_to(&packet, self.gateway).unwrap();
    }

    /// The next RTP packet; reports are read past.
    fn hear(&self) -> (Header, usize) {
        let mut buffer = [0; 2_000];
        loop {
            let (length, from) = self.socket.recv_from(&mut buffer).unwrap();
            assert_eq!(from, self.gateway);
            if !crate::session::packet::is_rtcp(&buffer[..length]) {
                let (header, range) = Header::parse(&buffer[..length]).unwrap();
                return (header, range.len());
            }
        }
    }
}

#[test]
fn two_phones_hear_each_other_through_real_sockets() {
    let (media, events) = start((42_000, 42_099));
    let call = media.open_call();
    let [a, b] = [(); 2].map(|()| phone(&media, call, (0, Codec::Pcmu)));
    media.connect(a.leg, b.leg);
    for n in 0..20 {
        a.say(n, &[0x55; 160]);
        assert_eq!(b.hear().1, 160);
        b.say(n, &[0x55; 80]);
        assert_eq!(a.hear().1, 80);
    }
    let mut connected = [events.recv().unwrap(), events.recv().unwrap()];
    connected.sort_by_key(|event| matches!(event, MediaEvent::Connected { leg } if *leg == b.leg));
    assert_eq!(connected, [a.leg, b.leg].map(|leg| MediaEvent::Connected { leg }));
    assert_eq!(media.stats(a.leg).unwrap().packets_in, 20);
    media.close_call(call);
    assert!(matches!(events.recv().unwrap(), MediaEvent::Closed { .. }));
    assert_eq!(media.stats(a.leg), None);
}

#[test]
fn phones_of_different_codecs_hear_each_other_by_a_worker() {
    let (media, _events) = start((42_100, 42_199));
    let call = media.open_call();
    let a = phone(&media, call, (0, Codec::Pcmu));
    let b = phone(&media, call, (96, Codec::Opus));
    media.connect(a.leg, b.leg);
    for n in 0..10 {
        a.say(n, &[0x55; 160]);
    }
    let heard: Vec<Header> = (0..10).map(|_| b.hear().0).collect();
    assert!(heard.iter().all(|h| h.payload_type == 96));
    let steps = heard.windows(2).map(|w| {
        (w[1].sequence.wrapping_sub(w[0].sequence), w[1].timestamp.wrapping_sub(w[0].timestamp))
    });
    assert!(steps.eq([(1, 960); 9]));
}

#[test]
fn the_threads_end_and_the_ports_are_free_when_the_last_handle_goes() {
    let (media, events) = start((42_200, 42_201));
    let call = media.open_call();
    let first = phone(&media, call, (0, Codec::Pcmu));
    assert!(matches!(media.open_rtp(call), Err(MediaError::NoPorts)));
    media.close_leg(first.leg);
    assert!(matches!(events.recv().unwrap(), MediaEvent::Closed { .. }));
    assert!(media.open_rtp(call).is_ok());
    drop(media);
    // The listener goes with the thread.
    assert!(events.recv_timeout(Duration::from_secs(10)).is_err());
}

#[test]
fn a_configuration_that_makes_no_sense_does_not_start() {
    for config in [
        Config { shards: 0, ..Config::default() },
        Config { codec_workers: 0, ..Config::default() },
        Config { rtp_ports: (30_000, 20_000), ..Config::default() },
        Config { rtp_ports: (80, 90), ..Config::default() },
    ] {
        let started = Media::start(config, [0; 32], |_| {});
        assert!(matches!(started, Err(MediaError::Config(_))));
    }
}
