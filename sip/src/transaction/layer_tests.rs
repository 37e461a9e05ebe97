//! RFC 3261 sections 17.1.3, 17.2.3 and 18.2, RFC 6026: which messages belong together, what is sent again, and that nothing
//! is left.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::layer::{Event, Layer, TxId};
use crate::msg::{Limits, Message, Method, Request, Response, parse_datagram};
use crate::transport::{Flow, Protocol};

/// A layer, its time, and all it has said.
struct World {
    layer: Layer,
    now: Instant,
    sent: Vec<(Flow, Message)>,
    events: Vec<Event>,
}

fn flow(protocol: Protocol) -> Flow {
    let peer = ([192, 0, 2, 7], 5060).into();
    Flow { protocol, socket: 1, peer, local: ([192, 0, 2, 1], 5060).into() }
}

const UDP: Protocol = Protocol::Udp;

impl World {
    #[allow(clippy::disallowed_methods)] // an origin for virtual time
    fn new() -> Self {
        let layer = Layer::default();
        Self { layer, now: Instant::now(), sent: Vec::new(), events: Vec::new() }
    }

    fn drain(&mut self) {
        while let Some((flow, bytes)) = self.layer.poll_send() {
            self.sent.push((flow, parse_datagram(bytes, &Limits::default()).unwrap()));
        }
        while let Some(event) = self.layer.poll_event() {
            self.events.push(event);
        }
    }

    fn receive(&mut self, message: Message, protocol: Protocol) {
        self.layer.handle_message(message, flow(protocol), self.now);
        self.drain();
    }

    fn pass(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        while let Some(at) = self.layer.next_timeout().filter(|at| *at <= until) {
            self.now = at;
            self.layer.handle_timeout(at);
            self.drain();
        }
        self.now = until;
    }

    fn send(&mut self, request: &Request, branch: &str, protocol: Protocol) -> TxId {
        let tx = self.layer.request(request.clone(), branch, flow(protocol), self.now);
        self.drain();
        tx
    }

    /// The transaction of the last new request.
    fn tx(&self) -> TxId {
        let found = self.events.iter().rev().find_map(|event| match event {
            Event::Request { tx, .. } => Some(*tx),
            _ => None,
        });
        found.unwrap()
    }

    fn respond(&mut self, request: &Request, status: u16) -> bool {
        let is_sent = self.layer.respond(self.tx(), request.response(status, Some("t")), self.now);
        self.drain();
        is_sent
    }

    /// What was sent and told since the last look.
    fn said(&mut self) -> (Vec<String>, Vec<&'static str>) {
        let sent = self.sent.drain(..).map(|(_, message)| match message {
            Message::Request(request) => request.method.to_string(),
            Message::Response(response) => response.status.to_string(),
        });
        let events = self.events.drain(..).map(|event| match event {
            Event::Request { .. } => "request",
            Event::Ack { .. } => "ack",
            Event::Response { .. } => "response",
            Event::Failed { .. } => "failed",
            Event::Done { .. } => "done",
        });
        (sent.collect(), events.collect())
    }
}

fn request(method: &str, via: &str) -> Request {
    let text = format!(
        "{method} sip:b@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {via}\r\nRoute: <sip:192.0.2.9;lr>\r\n\
         From: <sip:a@example.org>;tag=1\r\nTo: <sip:b@example.org>\r\nCall-ID: c\r\nCSeq: 7 {method}\r\n\
         Max-Forwards: 70\r\n\r\n"
    );
    match parse_datagram(Bytes::from(text), &Limits::default()).unwrap() {
        Message::Request(request) => request,
        Message::Response(_) => unreachable!(),
    }
}

fn answer(request: &Request, status: u16) -> Message {
    Message::Response(request.response(status, Some("t")))
}

#[test]
fn a_request_is_a_repeat_by_branch_sender_and_method() {
    // Two Vias; whether the second is the first again.
    let table = [
        ("192.0.2.7;branch=z9hG4bKa", "192.0.2.7;branch=z9hG4bKa", true),
        ("192.0.2.7;branch=z9hG4bKa", "192.0.2.7;branch=z9hG4bKb", false),
        ("192.0.2.7;branch=z9hG4bKa", "192.0.2.8;branch=z9hG4bKa", false),
        ("192.0.2.7:5060;branch=z9hG4bKa", "192.0.2.7:5070;branch=z9hG4bKa", false),
        // Without the cookie: RFC 2543, by all that a repeat has in common.
        ("192.0.2.7", "192.0.2.7", true),
        ("192.0.2.7;branch=1", "192.0.2.7;branch=1", true),
        ("192.0.2.7;branch=1", "192.0.2.7;branch=2", false),
    ];
    for (one, other, is_repeat) in table {
        let mut world = World::new();
        world.receive(Message::Request(request("OPTIONS", one)), UDP);
        world.receive(Message::Request(request("OPTIONS", other)), UDP);
        assert_eq!(world.events.len(), if is_repeat { 1 } else { 2 }, "{one} {other}");
        assert!(world.layer.knows(&request("OPTIONS", one)));
        assert!(!world.layer.knows(&request("MESSAGE", one)));
        world.pass(100);
        assert!(world.layer.is_empty());
    }
}

#[test]
fn a_repeat_gets_the_same_answer_again_and_none_before_there_is_one() {
    let options = request("OPTIONS", "192.0.2.7;branch=z9hG4bKa");
    let mut world = World::new();
    world.receive(Message::Request(options.clone()), UDP);
    world.receive(Message::Request(options.clone()), UDP);
    assert_eq!(world.said().0, [""; 0]);
    world.receive(Message::Request(request("OPTIONS", "192.0.2.7;branch=z9hG4bKb")), UDP);
    assert!(world.respond(&options, 200));
    assert!(!world.respond(&options, 500), "one answer is enough");
    world.receive(Message::Request(request("OPTIONS", "192.0.2.7;branch=z9hG4bKb")), UDP);
    assert_eq!(world.said().0, ["200", "200"]);
    world.pass(31);
    world.receive(Message::Request(request("OPTIONS", "192.0.2.7;branch=z9hG4bKb")), UDP);
    assert_eq!(world.said().0, ["200"], "until timer J");
    world.pass(2);
    assert!(world.layer.is_empty());
    // An answer that comes after the sender gave up stays here (RFC 4320 section 4.2).
    world.receive(Message::Request(options.clone()), UDP);
    let tx = world.tx();
    world.pass(33);
    assert!(!world.layer.respond(tx, options.response(200, None), world.now));
}

#[test]
fn an_invite_is_answered_100_then_repeated_until_its_ack() {
    let invite = request("INVITE", "192.0.2.7;branch=z9hG4bKa");
    let mut ack = request("ACK", "192.0.2.7;branch=z9hG4bKa");
    ack.headers.set("To", "<sip:b@example.org>;tag=t");
    let mut world = World::new();
    world.receive(Message::Request(invite.clone()), UDP);
    world.pass(1);
    assert_eq!(world.said().0, ["100"]);
    world.receive(Message::Request(invite.clone()), UDP);
    assert_eq!(world.said().0, ["100"]);
    world.receive(Message::Request(request("INVITE", "192.0.2.7;branch=z9hG4bKb")), UDP);
    world.respond(&request("INVITE", "192.0.2.7;branch=z9hG4bKb"), 486);
    world.pass(4);
    assert_eq!(world.said().0, ["486", "486", "486", "486"], "after 0.5, 1.5 and 3.5 s");
    let mut other = ack.clone();
    other.headers.set("Via", "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKb");
    world.receive(Message::Request(other.clone()), UDP);
    world.receive(Message::Request(other), UDP);
    world.pass(100);
    assert_eq!(world.said(), (Vec::new(), Vec::new()), "the ACK of a refusal is nobody's business");
    assert_eq!(world.layer.len(), 1, "the first still rings");
}

#[test]
fn an_ack_to_a_2xx_and_one_to_nothing_go_up() {
    let mut world = World::new();
    let invite = request("INVITE", "192.0.2.7;branch=z9hG4bKa");
    world.receive(Message::Request(invite.clone()), UDP);
    world.respond(&invite, 200);
    world.receive(Message::Request(invite), UDP);
    world.said();
    for via in ["192.0.2.7;branch=z9hG4bKa", "192.0.2.7;branch=z9hG4bKother"] {
        world.receive(Message::Request(request("ACK", via)), UDP);
        assert_eq!(world.said().1, ["ack"], "{via}");
    }
    world.pass(100);
    assert!(world.layer.is_empty());
}

#[test]
fn a_refusal_is_acknowledged_as_the_invite_went() {
    for (protocol, repeats) in [(UDP, 2), (Protocol::Tcp, 1)] {
        let mut world = World::new();
        let invite = request("INVITE", "192.0.2.1;branch=z9hG4bKa");
        world.send(&invite, "z9hG4bKa", protocol);
        for _ in 0..2 {
            world.receive(answer(&invite, 486), protocol);
        }
        let Some((_, Message::Request(ack))) = world.sent.last() else { panic!("no ACK") };
        assert_eq!((&ack.method, &ack.uri), (&Method::ACK, &invite.uri));
        for name in ["Via", "Route", "From", "Call-ID"] {
            assert_eq!(ack.headers.get(name), invite.headers.get(name), "{name}");
        }
        assert_eq!(ack.headers.get("To"), Some("<sip:b@example.org>;tag=t"));
        assert_eq!(ack.headers.get("CSeq"), Some("7 ACK"));
        let (sent, events) = world.said();
        assert_eq!(sent.iter().filter(|word| *word == "ACK").count(), repeats);
        assert_eq!(events.iter().filter(|event| **event == "response").count(), 1);
        world.pass(33);
        assert!(world.layer.is_empty());
    }
}

#[test]
fn responses_that_belong_to_nothing_are_dropped() {
    let ours = request("MESSAGE", "192.0.2.1;branch=z9hG4bKa");
    let change = |name: &str, value: &str| {
        let mut response: Response = ours.response(200, Some("t"));
        response.headers.set(name, value);
        Message::Response(response)
    };
    let mut two = ours.response(200, Some("t"));
    two.headers.push("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKz");
    let table = [
        ("another branch", change("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKb")),
        ("no branch", change("Via", "SIP/2.0/UDP 192.0.2.1")),
        ("another method", change("CSeq", "7 INVITE")),
        ("two Vias", Message::Response(two)),
        (
            "two Vias in a line",
            change(
                "Via",
                "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa, SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKz",
            ),
        ),
    ];
    for (name, stray) in table {
        let mut world = World::new();
        world.send(&ours, "z9hG4bKa", UDP);
        world.said();
        world.receive(stray, UDP);
        assert_eq!(world.said(), (Vec::new(), Vec::new()), "{name}");
        world.receive(answer(&ours, 200), UDP);
        assert_eq!(world.said().1, ["response"], "{name}");
    }
}

#[test]
fn a_lost_connection_ends_the_requests_on_it_and_no_others() {
    let mut world = World::new();
    let of = |branch: &str| request("MESSAGE", &format!("192.0.2.1;branch={branch}"));
    for (branch, protocol) in
        [("z9hG4bKa", Protocol::Tcp), ("z9hG4bKb", Protocol::Tcp), ("z9hG4bKc", UDP)]
    {
        world.send(&of(branch), branch, protocol);
    }
    world.receive(answer(&of("z9hG4bKa"), 200), Protocol::Tcp);
    world.said();
    world.layer.flow_lost(1);
    world.drain();
    assert_eq!(world.said().1, ["failed", "done"]);
    world.pass(33);
    assert_eq!(world.said().1, ["failed", "done"], "the datagram's time ran out by itself");
    assert!(world.layer.is_empty());
}
