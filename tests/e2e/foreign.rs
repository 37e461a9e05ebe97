//! Another SIP domain: Kamailio with baresip behind it, found by DNS, let in by policy. Sound is proven by the tone that is
//! heard.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use std::net::UdpSocket;
use std::time::Duration;

use serde_json::json;
use tandem_tests::names::Names;
use tandem_tests::provider::Provider;
use tandem_tests::{Peer, Server, Transcript};

const ABROAD: &str = "abroad.test";
/// Bob, as apps know him.
const BOB: &str = "bob\\40abroad.test@sip.localhost";

/// A server, and somebody of another domain.
struct World {
    server: Server,
    bob: Peer,
    _domain: Provider,
    _names: Names,
}

/// `policy` are lines of `[sip]`.
fn world(log: &Transcript, policy: &str) -> World {
    let names = Names::start().unwrap();
    let port = Provider::port().unwrap();
    names.serve_sip(ABROAD, port);
    let sections = format!(
        "[dns]\nservers = [\"{}\"]\n[sip]\nsecurity = \"optional\"\n{policy}\n",
        names.address
    );
    let server = Server::start_with("localhost", &["ana", "carl"], &sections).unwrap();
    let domain = Provider::domain(ABROAD, port, server.sip).unwrap();
    let mut bob = Peer::start("bob of another domain", "baresip.py", log).unwrap();
    let contacts = ["ana", "carl", "nobody"].map(|user| format!("sip:{user}@localhost"));
    bob.tell(json!({
        "cmd": "start", "user": "bob", "password": "none", "domain": ABROAD, "port": port, "tone": 740,
        "contacts": contacts,
    }));
    bob.want("registered", &[]);
    World { server, bob, _domain: domain, _names: names }
}

/// Named, so that it has to come from its own server.
const NAMED: &str = "foreign = \"allow\"\nforeign_domains = [\"abroad.test\"]";

#[test]
fn calls_go_out_and_come_in_and_both_ends_hear_each_other() {
    let log = Transcript::default();
    let World { server, mut bob, _domain, _names } = world(&log, NAMED);
    let mut desk = server.phone("desk phone", "ana", json!({"tone": 620}), &log).unwrap();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    desk.tell(json!({"cmd": "call", "to": format!("sip:bob@{ABROAD}")}));
    bob.want("incoming", &[("from", "sip:ana@localhost")]);
    bob.tell(json!({"cmd": "answer"}));
    desk.want("established", &[]);
    desk.hears(740);
    bob.hears(620);
    desk.tell(json!({"cmd": "hangup"}));
    bob.want("closed", &[]);
    app.tell(json!({"cmd": "call", "to": BOB, "tone": 500}));
    bob.want("incoming", &[("from", "sip:carl@localhost")]);
    bob.tell(json!({"cmd": "answer"}));
    app.want("connected", &[]);
    app.hears(740);
    bob.hears(500);
    bob.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[("reason", "success")]);
    bob.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    desk.want("incoming", &[("from", &format!("sip:bob@{ABROAD}"))]);
    desk.tell(json!({"cmd": "answer"}));
    bob.want("established", &[]);
    desk.hears(740);
    bob.hears(620);
    desk.tell(json!({"cmd": "hangup"}));
    bob.want("closed", &[]);
    bob.tell(json!({"cmd": "call", "to": "sip:carl@localhost"}));
    app.want("incoming", &[("from", &format!("{BOB}/"))]);
    app.tell(json!({"cmd": "answer", "tone": 500}));
    app.want("connected", &[]);
    app.hears(740);
    bob.hears(500);
    app.tell(json!({"cmd": "hangup"}));
    bob.want("closed", &[]);
    let calls = server.recorded(4).unwrap();
    let out: Vec<_> = calls.iter().filter(|call| call.1 == BOB).collect();
    assert!(out.len() == 2 && out.iter().all(|call| call.3[1]["domain"] == ABROAD), "{calls:?}");
    assert_eq!(calls.iter().filter(|call| call.0 == BOB).count(), 2, "{calls:?}");
}

#[test]
fn messages_go_out_and_come_in_and_what_does_not_arrive_is_said() {
    let log = Transcript::default();
    let World { server, mut bob, _domain, _names } = world(&log, NAMED);
    let contacts = ["bob", "nobody"].map(|user| format!("sip:{user}@{ABROAD}"));
    let mut desk = server.phone("desk phone", "ana", json!({"contacts": contacts}), &log).unwrap();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    app.tell(json!({"cmd": "message", "to": BOB, "body": "from an app", "id": "t1"}));
    bob.want("message", &[("from", "sip:carl@localhost"), ("body", "from an app")]);
    desk.tell(json!({"cmd": "message", "to": contacts[0], "body": "from a phone"}));
    bob.want("message", &[("from", "sip:ana@localhost"), ("body", "from a phone")]);
    bob.tell(json!({"cmd": "message", "to": "sip:ana@localhost", "body": "to a phone"}));
    desk.want("message", &[("from", &contacts[0]), ("body", "to a phone")]);
    bob.tell(json!({"cmd": "message", "to": "sip:carl@localhost", "body": "to an app"}));
    app.want("message", &[("from", BOB), ("body", "to an app")]);
    // Nobody there, no way there, nobody here.
    desk.tell(json!({"cmd": "message", "to": contacts[1], "body": "?"}));
    desk.want("message_failed", &[("reason", "404")]);
    app.tell(
        json!({"cmd": "message", "to": "x\\40other.test@sip.localhost", "body": "?", "id": "t2"}),
    );
    app.want("message_error", &[("id", "t2"), ("condition", "item-not-found")]);
    bob.tell(json!({"cmd": "message", "to": "sip:nobody@localhost", "body": "?"}));
    bob.want("message_failed", &[("reason", "404")]);
}

/// Says something to the server from 127.0.0.9, which is nobody's server; gives the first line of the answer.
fn say(server: &Server, method: &str, from: &str, to: &str, more: &str) -> String {
    let socket = UdpSocket::bind("127.0.0.9:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let here = socket.local_addr().unwrap();
    let (kind, body) = match method {
        "INVITE" => (
            "application/sdp",
            "v=0\r\no=- 1 1 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\nm=audio 9000 RTP/AVP 8\r\n",
        ),
        _ => ("text/plain", "hello"),
    };
    let text = format!(
        "{method} {to} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{0};rport\r\nFrom: <{from}>;tag=a\r\n\
         {more}To: <{to}>\r\nCall-ID: c{0}\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n\
         Contact: <sip:{here}>\r\nContent-Type: {kind}\r\nContent-Length: {1}\r\n\r\n{body}",
        here.port(),
        body.len(),
    );
    socket.send_to(text.as_bytes(), ("127.0.0.1", server.sip)).unwrap();
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).unwrap();
        let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let line = answer.lines().next().unwrap_or_default().to_owned();
        if !line.starts_with("SIP/2.0 1") {
            return line;
        }
    }
}

#[test]
fn nobody_poses_as_somebody_of_ours_or_of_a_domain_that_is_named() {
    let log = Transcript::default();
    let open =
        "foreign = \"open\"\nforeign_domains = [\"abroad.test\"]\nmax_foreign_per_minute = 4";
    let World { server, bob: _bob, _domain, _names } = world(&log, open);
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let carl = "sip:carl@localhost";
    let two = "From: <sip:eve@far.test>;tag=b\r\n";
    assert!(say(&server, "MESSAGE", "sip:ana@localhost", carl, "").contains("401"));
    assert!(say(&server, "MESSAGE", "sip:ana@localhost", carl, two).contains("400"));
    assert!(
        say(&server, "MESSAGE", "sip:eve@far.test", carl, "From: <sip:ana@localhost>;tag=b\r\n")
            .contains("400")
    );
    assert!(say(&server, "MESSAGE", "sip:ana@127.0.0.1", carl, "").contains("401"));
    assert!(say(&server, "MESSAGE", "sip:+431@tel.localhost", carl, "").contains("403"));
    assert!(say(&server, "MESSAGE", "sip:bob@abroad.test", carl, "").contains("403"));
    assert!(say(&server, "MESSAGE", "sip:eve@far.test", "sip:bob@abroad.test", "").contains("403"));
    assert!(say(&server, "MESSAGE", "sip:eve@far.test", "sip:echo@localhost", "").contains("404"));
    let asserted = "P-Asserted-Identity: <sip:ana@localhost>\r\n";
    assert!(say(&server, "MESSAGE", "sip:eve@far.test", carl, asserted).contains("200"));
    app.want("message", &[("from", "eve\\40far.test@sip.localhost"), ("body", "hello")]);
    // The fourth of this minute was the last one.
    assert!(
        say(&server, "MESSAGE", "sip:eve@far.test", "sip:nobody@localhost", "").contains("404")
    );
    assert!(say(&server, "MESSAGE", "sip:eve@far.test", carl, "").contains("503"));
}

#[test]
fn closed_nobody_comes_in_or_gets_out() {
    let log = Transcript::default();
    let World { server, mut bob, _domain, _names } = world(&log, "");
    let contacts = [format!("sip:bob@{ABROAD}")];
    let mut desk = server.phone("desk phone", "ana", json!({"contacts": contacts}), &log).unwrap();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    bob.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    bob.want("closed", &[("reason", "403")]);
    bob.tell(json!({"cmd": "message", "to": "sip:ana@localhost", "body": "?"}));
    bob.want("message_failed", &[("reason", "403")]);
    desk.tell(json!({"cmd": "call", "to": contacts[0]}));
    desk.want("closed", &[("reason", "404")]);
    app.tell(json!({"cmd": "call", "to": BOB, "tone": 500}));
    app.want("ended", &[("by", "reject")]);
    app.tell(json!({"cmd": "message", "to": BOB, "body": "?", "id": "t1"}));
    app.want("message_error", &[("id", "t1"), ("condition", "item-not-found")]);
    desk.never("incoming", &[]);
}

/// RFC 5393 section 5.3.3.2: nobody rings where there are more phones than branches, and all do where a call says nothing of it.
#[test]
fn a_call_that_may_not_branch_so_often_rings_nobody() {
    let log = Transcript::default();
    let World { server, mut bob, _domain, _names } = world(&log, "foreign = \"open\"");
    let mut one = server.phone("one phone", "ana", json!({}), &log).unwrap();
    let mut other = server.phone("other phone", "ana", json!({}), &log).unwrap();
    let ana = "sip:ana@localhost";
    for breadth in [0, 1] {
        let field = format!("Max-Breadth: {breadth}\r\n");
        let answer = say(&server, "INVITE", "sip:eve@far.test", ana, &field);
        assert_eq!(answer, "SIP/2.0 440 Max-Breadth Exceeded");
    }
    // That it was missed is told to apps, and rings no phone.
    one.never("incoming", &[]);
    bob.tell(json!({"cmd": "call", "to": ana}));
    one.want("incoming", &[]);
    other.want("incoming", &[]);
    one.tell(json!({"cmd": "answer"}));
    bob.want("established", &[]);
    bob.tell(json!({"cmd": "hangup"}));
    one.want("closed", &[]);
}
