//! Too much of everything: RFC 3261 section 21.5.4, and peers that flood.

use super::*;
use crate::msg::ParseError;

#[test]
fn beyond_its_transactions_the_server_refuses_what_is_new_and_still_ends_what_runs() {
    let mut world = World::with(Config { max_transactions: 6, ..config() }, Vec::new());
    let fields = "Contact: <sip:ana@192.0.2.7>\r\nContent-Type: application/sdp\r\n";
    let invite = world.ask("INVITE", "sip:carl@example.org", "ana", fields, SDP, udp(5060));
    let leg = world.legs[0].0;
    world.core.accept(leg, Bytes::from_static(SDP.as_bytes()), world.now);
    world.drain();
    let ok = world.last_response().clone();
    let ack = inside(&mut world, &invite, &ok, "ACK", "", "");
    world.receive(ack, udp(5060));
    for _ in 0..6 {
        let request = world.request("OPTIONS", "sip:example.org", "ana", "", "");
        world.receive(Message::Request(request), udp(5060));
    }
    assert_eq!(world.last_response().status, 503);
    assert_eq!(world.last_response().headers.get("Retry-After"), Some("10"));
    let before = world.core.layer.len();
    for _ in 0..100 {
        let request = world.request("REGISTER", "sip:example.org", "ana", "", "");
        world.receive(Message::Request(request), udp(5060));
    }
    assert_eq!(world.core.layer.len(), before, "a refusal costs no state");
    let bye = inside(&mut world, &invite, &ok, "BYE", "", "");
    world.receive(bye, udp(5060));
    assert_eq!(world.last_response().status, 200);
    world.pass(40.0);
    assert!(world.is_empty());
}

/// What waited too long is refused when it is new, with a word on when to come again; what goes on or ends, and what is in
/// work already, is served on.
#[test]
fn what_comes_too_late_is_refused_when_it_is_new_and_served_when_it_goes_on() {
    let mut world = World::new();
    let fields = "Contact: <sip:ana@192.0.2.7>\r\nContent-Type: application/sdp\r\n";
    let invite = world.ask("INVITE", "sip:carl@example.org", "ana", fields, SDP, udp(5060));
    let leg = world.legs[0].0;
    let late = |world: &mut World, message: Message| {
        world.core.handle_late(message, udp(5060), world.now);
        world.drain();
        world.last_response().clone()
    };
    // It is in work: its repeat is not refused.
    let repeat = late(&mut world, Message::Request(invite.clone()));
    assert_ne!(repeat.status, 503);
    world.core.accept(leg, Bytes::from_static(SDP.as_bytes()), world.now);
    world.drain();
    let ok = world.last_response().clone();
    for method in ["INVITE", "MESSAGE", "REGISTER", "OPTIONS"] {
        let request = world.request(method, "sip:carl@example.org", "ana", fields, SDP);
        let answer = late(&mut world, Message::Request(request));
        assert_eq!((answer.status, answer.headers.get("Retry-After")), (503, Some("10")));
    }
    let ack = inside(&mut world, &invite, &ok, "ACK", "", "");
    world.core.handle_late(ack, udp(5060), world.now);
    let bye = inside(&mut world, &invite, &ok, "BYE", "", "");
    assert_eq!(late(&mut world, bye).status, 200);
    world.pass(40.0);
    assert!(world.is_empty(), "a refusal costs no state");
}

#[test]
fn a_server_that_is_about_to_stop_takes_nothing_new_and_ends_what_runs() {
    let mut world = World::new();
    let fields = "Contact: <sip:ana@192.0.2.7>\r\nContent-Type: application/sdp\r\n";
    let invite = world.ask("INVITE", "sip:carl@example.org", "ana", fields, SDP, udp(5060));
    let leg = world.legs[0].0;
    world.core.accept(leg, Bytes::from_static(SDP.as_bytes()), world.now);
    world.drain();
    let ok = world.last_response().clone();
    let ack = inside(&mut world, &invite, &ok, "ACK", "", "");
    world.receive(ack, udp(5060));
    world.ask("INVITE", "sip:carl@example.org", "ana", fields, SDP, udp(5060));
    assert_eq!(world.core.legs.len(), 2, "it rings");
    world.core.close();
    let request = world.request("INVITE", "sip:carl@example.org", "ana", fields, SDP);
    world.receive(Message::Request(request), udp(5060));
    assert_eq!(world.last_response().status, 503);
    world.sent.clear();
    world.core.stop(world.now);
    world.drain();
    assert_eq!(world.last_response().status, 503, "who was not answered hears so");
    assert_eq!(world.sent.len(), 1);
    let bye = inside(&mut world, &invite, &ok, "BYE", "", "");
    world.receive(bye, udp(5060));
    assert_eq!(world.last_response().status, 200);
}

#[test]
fn a_flood_without_credentials_is_not_answered_for_the_rest_of_the_second() {
    let mut world = World::with(Config { max_strangers_per_second: 5, ..config() }, Vec::new());
    let flood = |world: &mut World| {
        for _ in 0..20 {
            let request = world.request("REGISTER", "sip:example.org", "ana", "", "");
            world.receive(Message::Request(request), udp(5060));
        }
        world.said().len()
    };
    assert_eq!(flood(&mut world), 5);
    world.pass(1.0);
    assert_eq!(flood(&mut world), 5);
}

/// Bytes as a stranger sends them; what comes back: a status, or silence.
fn earns(world: &mut World, bytes: Vec<u8>) -> Option<u16> {
    match parse_datagram(Bytes::from(bytes), &Limits::default()) {
        Ok(message) => world.receive(message, udp(5060)),
        Err(error) => {
            if let ParseError::Drop(_) = error {
                world.core.handle_bad(&error, udp(5060), world.now);
                world.drain();
                assert!(world.sent.is_empty());
                return None;
            }
            world.core.handle_bad(&error, udp(5060), world.now);
            world.drain();
        }
    }
    let status = world.sent.last().map(|(_, message)| word(message).parse().unwrap());
    world.sent.clear();
    status
}

#[test]
fn what_is_no_message_gets_the_status_of_rfc_4475_or_silence() {
    let usual = "Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKbad\r\nMax-Forwards: 70\r\n";
    let from = "From: <sip:a@example.org>;tag=1\r\n";
    let to = "To: <sip:b@example.org>\r\n";
    let ids = "Call-ID: 1\r\nCSeq: 1 OPTIONS\r\n";
    let start = "OPTIONS sip:example.org SIP/2.0\r\n";
    let table = [
        ("good", format!("{start}{usual}{from}{to}{ids}\r\n"), Some(200)),
        ("From twice", format!("{start}{usual}{from}{from}{to}{ids}\r\n"), Some(400)),
        ("To twice", format!("{start}{usual}{from}{to}{to}{ids}\r\n"), Some(400)),
        ("Call-ID twice", format!("{start}{usual}{from}{to}{ids}Call-ID: 2\r\n\r\n"), Some(400)),
        ("CSeq twice", format!("{start}{usual}{from}{to}{ids}CSeq: 2 OPTIONS\r\n\r\n"), Some(400)),
        (
            "body short",
            format!("{start}{usual}{from}{to}{ids}Content-Length: 9\r\n\r\nx"),
            Some(400),
        ),
        (
            "length twice",
            format!("{start}{usual}{from}{to}{ids}l: 0\r\nContent-Length: 1\r\n\r\nx"),
            Some(400),
        ),
        (
            "length negative",
            format!("{start}{usual}{from}{to}{ids}Content-Length: -1\r\n\r\n"),
            Some(400),
        ),
        (
            "version 7",
            format!("OPTIONS sip:example.org SIP/7.0\r\n{usual}{from}{to}{ids}\r\n"),
            Some(505),
        ),
        ("no SIP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), None),
        ("noise", "\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), None),
        ("bad response", format!("SIP/2.0 9999 What\r\n{usual}{from}{to}{ids}\r\n"), None),
    ];
    for (name, text, expected) in table {
        let mut world = World::new();
        assert_eq!(earns(&mut world, text.into_bytes()), expected, "{name}");
        world.pass(40.0);
        assert!(world.is_empty(), "{name}");
    }
    // 64 KiB is the limit: just inside it is read, just outside it is refused.
    let head = format!("{start}{usual}{from}{to}{ids}Content-Type: text/plain\r\n");
    let of = |size: usize| {
        let body = size - head.len() - "Content-Length: 65000\r\n\r\n".len();
        format!("{head}Content-Length: {body:05}\r\n\r\n{}", "x".repeat(body)).into_bytes()
    };
    assert_eq!(earns(&mut World::new(), of(65_536)), Some(200));
    assert_eq!(earns(&mut World::new(), of(65_537)), Some(513));
}

/// Whatever they send: what brings no proof is counted, so a forged sender is not flooded by us either.
#[test]
fn every_kind_of_flood_falls_silent() {
    let kinds: [(&str, &str, &str); 6] = [
        ("a question", "OPTIONS sip:example.org SIP/2.0", ""),
        ("a question with junk", "OPTIONS sip:example.org SIP/2.0", "Authorization: Digest x\r\n"),
        ("an unknown method", "REFER sip:ana@example.org SIP/2.0", ""),
        ("an unknown extension", "INVITE sip:ana@example.org SIP/2.0", "Require: x\r\n"),
        ("no message", "OPTIONS sip:example.org SIP/9.0", ""),
        ("made-up proof", "REGISTER sip:example.org SIP/2.0", MADE_UP),
    ];
    for (name, start, field) in kinds {
        let mut world = World::with(Config { max_strangers_per_second: 5, ..config() }, Vec::new());
        let method = start.split(' ').next().unwrap();
        let mut answers = 0;
        for n in 0..20 {
            let text = format!(
                "{start}\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKf{n};rport\r\n\
                 From: <sip:ana@example.org>;tag=1\r\nTo: <sip:ana@example.org>\r\nCall-ID: f\r\n\
                 CSeq: {n} {method}\r\nMax-Forwards: 70\r\n{field}\r\n"
            );
            answers += usize::from(earns(&mut world, text.into_bytes()).is_some());
        }
        assert_eq!(answers, 5, "{name}");
        assert!(world.tried.is_empty(), "{name}: nobody was asked");
        // Who is in keeps being heard.
        world.pass(1.0);
        assert_eq!(world.register("ana", "Contact: <sip:ana@192.0.2.7>\r\n", udp(5060)), 200);
        world.pass(40.0);
        assert!(world.is_empty(), "{name}");
    }
}

const MADE_UP: &str = "Authorization: Digest username=\"ana\", realm=\"example.org\", nonce=\"n\", uri=\"sip:x\", \
response=\"00\", algorithm=MD5, qop=auth, cnonce=\"c\", nc=00000001\r\n";

/// A nonce from before a restart is no reason to ask the store, and no wrong password (RFC 7616 section 3.3).
#[test]
fn a_nonce_that_is_not_ours_is_renewed_without_looking_anybody_up() {
    let mut world = World::new();
    let text = world.request("REGISTER", "sip:example.org", "ana", MADE_UP, "");
    world.core.handle_message(Message::Request(text), udp(5060), world.now);
    let Some(Output::Send(..)) = world.core.poll_output() else { panic!("somebody was asked") };
    assert!(world.core.jobs.is_empty());
}

#[test]
fn scanners_hear_nothing_and_what_is_turned_away_is_told() {
    use crate::ports::Refusal;
    let mut world = World::new();
    for (agent, hears) in [
        ("friendly-scanner", false),
        ("SIPVicious 1", false),
        ("sipcli/v1.8", false),
        ("Linphone", true),
        ("", true),
    ] {
        for method in ["OPTIONS", "REGISTER", "INVITE"] {
            let fields = format!("User-Agent: {agent}\r\nContact: <sip:x@192.0.2.7>\r\n");
            let request = world.request(method, "sip:example.org", "ana", &fields, "");
            world.sent.clear();
            world.receive(Message::Request(request), udp(5060));
            assert_eq!(!world.sent.is_empty(), hears, "{agent} {method}");
            assert_eq!(world.turned_away.pop(), (!hears).then_some(Refusal::Scanner));
        }
    }
    world.pass(40.0);
    assert!(world.is_empty());
}
