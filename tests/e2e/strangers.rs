//! RTP, STUN and DTLS from addresses and sources that were not negotiated (RFC 3550, RFC 5764, RFC 8445): dropped, counted,
//! and without effect on the call beside them.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use std::net::UdpSocket;

use serde_json::json;
use tandem_tests::{Server, Transcript, udp_ports};

/// The value of a counter with this cause.
fn counted(metrics: &str, name: &str, cause: &str) -> u64 {
    let line = format!("{name}{{cause=\"{cause}\"}} ");
    let value = metrics.lines().find_map(|l| l.strip_prefix(line.as_str()));
    value.map_or(0, |v| v.parse().unwrap())
}

#[test]
fn what_was_not_negotiated_is_dropped_and_counted_and_the_call_goes_on() {
    let server = Server::start("localhost", &["ana"]).unwrap();
    let log = Transcript::default();
    let more = json!({"tone": 660, "codecs": ["PCMA/8000/1"]});
    let mut phone = server.phone("phone", "ana", more, &log).unwrap();
    phone.tell(json!({"cmd": "call", "to": "sip:echo@localhost"}));
    phone.want("established", &[]);
    phone.hears(660);
    // Another address of this machine, which nobody has named in a session description.
    let stranger = UdpSocket::bind("127.0.0.2:0").unwrap();
    let mut rtp = vec![0x80, 8, 0, 1, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef];
    rtp.resize(172, 0x2a);
    let mut stun = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    stun.resize(20, 7);
    let dtls = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4];
    for number in 0..100_u8 {
        rtp[3] = number;
        for port in udp_ports(server.id()).unwrap() {
            for datagram in [&rtp[..], &stun, &dtls, &[number]] {
                // A port may be gone, or say so; that is no matter of this test.
                let _ = stranger.send_to(datagram, ("127.0.0.1", port));
            }
        }
    }
    phone.hears(660);
    phone.tell(json!({"cmd": "hangup"}));
    phone.want("closed", &[]);
    server.recorded(1).unwrap();
    let metrics = server.http("/metrics").unwrap();
    let dropped = counted(&metrics, "tandem_media_dropped_total", "WrongAddress");
    assert!(dropped >= 100, "{metrics}");
    let strangers: u64 = ["WrongAddress", "Malformed", "Authentication"]
        .iter()
        .map(|cause| counted(&metrics, "tandem_media_strangers_total", cause))
        .sum();
    assert!(strangers >= 100, "{metrics}");
}
