//! `[sip] security = "required"`, the default: a capture of calls and messages that holds nothing in the clear, and what becomes
//! of whoever comes without TLS or without SRTP (RFC 3261 section 26, RFC 4568, RFC 5764).

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use serde_json::json;
use tandem_tests::{Capture, Dice, Peer, Server, Transcript, udp_ports};

/// What gives SIP, SDP, XMPP and HTTP away.
const SIGNS: [&str; 9] = [
    "SIP/2.0",
    "REGISTER ",
    "m=audio",
    "<stream",
    "<message",
    "jabber:",
    "<iq",
    "HTTP/1.1",
    "GET /",
];

/// A port of one server may be another's a moment later: what is captured is of one test.
static TURN: Mutex<()> = Mutex::new(());

fn app(server: &Server, user: &str, log: &Transcript) -> Peer {
    let mut app = Peer::start("app", "softphone.py", log).unwrap();
    app.tell(json!({
        "cmd": "login", "jid": format!("{user}@localhost"), "password": format!("secret-{user}"),
        "port": server.xmpps, "direct": true,
    }));
    app.want("online", &[]);
    app
}

#[test]
fn nothing_of_calls_and_messages_goes_in_the_clear() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let capture = Capture::start(&folder.path().join("capture.pcap")).unwrap();
    let log = Transcript::default();
    let people = ["ana", "carl", "julia"];
    let server = Server::start_with("localhost", &people, "[sip]\n").unwrap();
    let mut ports = BTreeSet::from([
        server.sip,
        server.sips,
        server.xmpp,
        server.xmpps,
        server.https,
        server.s2s,
        server.s2s_tls,
    ]);
    let carls = "sip:carl@localhost";
    let more =
        json!({"transport": "tls", "mediaenc": "srtp-mand", "tone": 620, "contacts": [carls]});
    let mut phone = server.phone("phone", "ana", more, &log).unwrap();
    let mut carl = app(&server, "carl", &log);
    let mut web = server.web("web client", "stanza.mjs", "julia", &log).unwrap();

    let (there, back) = (Dice.word(), Dice.word());
    carl.tell(json!({"cmd": "message", "to": "ana@localhost", "body": there, "id": "m1"}));
    phone.want("message", &[("body", &there)]);
    phone.tell(json!({"cmd": "message", "to": carls, "body": back}));
    carl.want("message", &[("body", &back)]);
    web.tell(json!({"cmd": "message", "to": "ana@localhost", "body": there}));
    phone.want("message", &[("body", &there)]);

    phone.tell(json!({"cmd": "call", "to": carls}));
    carl.want("incoming", &[]);
    carl.tell(json!({"cmd": "answer", "tone": 500}));
    phone.want("established", &[]);
    phone.hears(500);
    carl.hears(620);
    ports.extend(udp_ports(server.id()).unwrap());
    carl.tell(json!({"cmd": "hangup"}));
    phone.want("closed", &[]);
    phone.tell(json!({"cmd": "auto_answer"}));
    carl.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": 540}));
    carl.want("connected", &[]);
    phone.hears(540);
    carl.hears(620);
    ports.extend(udp_ports(server.id()).unwrap());
    phone.tell(json!({"cmd": "hangup"}));
    carl.want("ended", &[("reason", "success")]);
    for (_, _, _, legs) in server.recorded(2).unwrap() {
        for leg in legs.as_array().unwrap() {
            let media = if leg["protocol"] == "sip" { "sdes-srtp" } else { "dtls-srtp" };
            assert_eq!(
                (&leg["signalling"], &leg["media"]),
                (&json!("tls"), &json!(media)),
                "{legs}"
            );
        }
    }
    let captured = capture.stop().unwrap();
    let mut signs = SIGNS.to_vec();
    signs.extend([there.as_str(), back.as_str(), "secret-"]);
    assert_eq!(captured.texts(&ports, &signs), [""; 0]);
    let shares = captured.commonest_bytes(&ports);
    assert!(shares.len() >= 4, "two calls have two legs each: {shares:?}");
    assert!(shares.values().all(|share| *share < 0.012), "this is no SRTP: {shares:?}");
}

#[test]
fn whoever_comes_in_the_clear_is_refused_unless_named() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let log = Transcript::default();
    let sections = "[sip]\nclear = [\"carl@localhost\"]\n";
    let server = Server::start_with("localhost", &["ana", "carl"], sections).unwrap();
    let mut raw = Peer::start("phone by hand", "rawphone.py", &log).unwrap();
    raw.tell(json!({
        "cmd": "start", "user": "ana", "password": "secret-ana", "domain": "localhost", "port": server.sip,
    }));
    let refused = raw.want("registered", &[("status", "403")]);
    assert!(refused["headers"].to_string().contains("TLS"), "{refused}");
    // Under TLS, but with media that anybody can hear.
    let more = json!({"transport": "tls"});
    let mut open = server.phone("phone without SRTP", "ana", more, &log).unwrap();
    open.tell(json!({"cmd": "call", "to": "sip:echo@localhost"}));
    open.want("closed", &[("reason", "488")]);
    // An exception is whole: signalling and media.
    let mut old = server.phone("old phone", "carl", json!({"tone": 620}), &log).unwrap();
    old.tell(json!({"cmd": "call", "to": "sip:echo@localhost"}));
    old.want("established", &[]);
    old.hears(620);
    old.tell(json!({"cmd": "hangup"}));
    old.want("closed", &[]);
    let (.., legs) = server.recorded(2).unwrap().pop().unwrap();
    assert_eq!((&legs[0]["signalling"], &legs[0]["media"]), (&json!("clear"), &json!("clear")));
}
