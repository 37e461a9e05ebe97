//! Hosts that nobody registered from (RFC 3263), and large requests (RFC 3261 section 18.1.1), in virtual time.

use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::msg::NameAddr;
use crate::msg::header::MaxForwards;
use crate::ports::{OutgoingInvite, OutgoingMessage, Target};
use crate::transport::Srv;

fn srv(priority: u16, port: u16, target: &str) -> Srv {
    Srv { priority, weight: 0, port, target: target.into() }
}

/// Two servers of `b.example` over UDP, and one that speaks TCP alone of `t.example`.
fn world() -> World {
    let mut world = World::new();
    let ip = |last| IpAddr::from([198, 51, 100, last]);
    let names = &mut world.names;
    names.srv.insert(
        "_sip._udp.b.example".into(),
        vec![srv(1, 5071, "one.b.example"), srv(2, 5072, "two.b.example")],
    );
    names.srv.insert("_sip._tcp.t.example".into(), vec![srv(1, 5073, "one.b.example")]);
    names.addresses.insert("one.b.example".into(), vec![ip(1)]);
    names.addresses.insert("two.b.example".into(), vec![ip(2)]);
    world
}

fn call(uri: &str, offer: &str) -> OutgoingInvite {
    let uri = Uri::parse(uri).unwrap();
    OutgoingInvite {
        target: Target::Uri(uri.clone()),
        from: NameAddr::new(Uri::parse("sip:ana@example.org").unwrap()),
        to: uri,
        offer: Bytes::copy_from_slice(offer.as_bytes()),
        headers: Vec::new(),
        login: None,
        max_forwards: MaxForwards::DEFAULT,
    }
}

/// The peers of what was sent since the last look, with the words.
fn sent(world: &mut World) -> Vec<(SocketAddr, String)> {
    world.sent.drain(..).map(|(flow, message)| (flow.peer, word(&message))).collect()
}

const ONE: ([u8; 4], u16) = ([198, 51, 100, 1], 5071);
const TWO: ([u8; 4], u16) = ([198, 51, 100, 2], 5072);

#[test]
fn a_host_is_looked_up_and_its_places_are_tried_in_turn() {
    let mut world = world();
    world.core.invite(LegId(1), call("sip:carl@b.example", "v=0"), world.now);
    world.drain();
    let (flow, invite) = world.last_request();
    assert_eq!((flow.peer, invite.uri.to_string().as_str()), (ONE.into(), "sip:carl@b.example"));
    let first = invite.headers.top_via().unwrap();
    assert!(first.wants_rport() && first.rport().is_none());
    // Section 4.3: nobody answers for 64 * T1; the next place gets the request with another branch.
    world.pass(32.5);
    let (flow, again) = world.last_request();
    assert_eq!(flow.peer, TWO.into());
    assert_ne!(again.headers.top_via().unwrap().branch(), first.branch());
    assert_eq!(again.headers.get("i"), invite.headers.get("i"));
    assert!(world.legs.is_empty(), "the caller need not know");
    // Whoever calls next is spared the wait, and not for ever.
    world.core.invite(LegId(2), call("sip:dora@b.example", "v=0"), world.now);
    world.drain();
    assert_eq!(world.last_request().0.peer, TWO.into());
    world.pass(31.0);
    world.core.invite(LegId(3), call("sip:emil@b.example", "v=0"), world.now);
    world.drain();
    assert_eq!(world.last_request().0.peer, ONE.into());
}

#[test]
fn a_503_moves_a_message_on_and_another_refusal_does_not() {
    for (status, expected) in [(503, Some(TWO)), (486, None)] {
        let mut world = world();
        let uri = Uri::parse("sip:carl@b.example").unwrap();
        let message = OutgoingMessage {
            target: Target::Uri(uri.clone()),
            from: NameAddr::new(Uri::parse("sip:ana@example.org").unwrap()),
            to: uri,
            call_id: None,
            cseq: None,
            login: None,
            headers: Vec::new(),
            content_type: "text/plain".into(),
            body: Bytes::from_static(b"hello"),
        };
        world.core.send_message(Ticket(1), message, world.now);
        world.drain();
        let (flow, request) = world.last_request();
        assert_eq!(flow.peer, ONE.into());
        world.sent.clear();
        let response = request.response(status, Some("t"));
        world.receive(Message::Response(response), flow);
        match expected {
            Some(place) => assert_eq!(sent(&mut world), [(place.into(), "MESSAGE".into())]),
            None => assert_eq!(world.results[0].1.status, status),
        }
    }
}

#[test]
fn what_is_not_found_is_said_and_a_call_given_up_meanwhile_never_leaves() {
    let mut world = world();
    world.core.invite(LegId(1), call("sip:carl@nowhere.example", "v=0"), world.now);
    world.drain();
    assert!(matches!(world.legs[0], (LegId(1), LegEvent::Failed { status: 502, .. })));
    world.holds_lookups = true;
    world.core.invite(LegId(2), call("sip:carl@b.example", "v=0"), world.now);
    world.drain();
    world.core.hang_up(LegId(2), None, world.now);
    world.drain();
    assert!(matches!(world.legs[1], (LegId(2), LegEvent::Failed { status: 487, .. })));
    let (id, search) = world.lookups.remove(0);
    let hops = world.found(*search);
    world.core.job_done(id, JobResult::Located(hops), world.now);
    world.drain();
    assert_eq!(world.said(), [""; 0]);
}

#[test]
fn a_service_over_tcp_is_called_over_a_connection_of_ours() {
    let mut world = world();
    world.core.invite(LegId(1), call("sip:carl@t.example", "v=0"), world.now);
    world.drain();
    let (flow, invite) = world.last_request();
    assert_eq!((flow.protocol, flow.peer), (Protocol::Tcp, ([198, 51, 100, 1], 5073).into()));
    assert_eq!(world.connects, [flow]);
    assert_eq!(invite.headers.top_via().unwrap().transport, "TCP");
    // It is used again, also for another name at the same place.
    world.core.invite(LegId(2), call("sip:dora@198.51.100.1:5073;transport=tcp", "v=0"), world.now);
    world.drain();
    assert_eq!((world.last_request().0, world.connects.len()), (flow, 1));
}

/// RFC 3261 section 18.1.1.
#[test]
fn a_large_request_takes_a_connection_and_datagrams_where_none_is_taken() {
    let (large, small) = ("x".repeat(1_300), "v=0");
    let mut world = World::new();
    let uri = "sip:carl@198.51.100.9";
    world.core.invite(LegId(1), call(uri, small), world.now);
    world.drain();
    assert_eq!(world.last_request().0.protocol, Protocol::Udp);
    world.core.invite(LegId(2), call(uri, &large), world.now);
    world.drain();
    let (flow, invite) = world.last_request();
    assert_eq!(flow.protocol, Protocol::Tcp);
    assert_eq!(invite.headers.top_via().unwrap().transport, "TCP");
    // Nobody listens there: the same request goes as a datagram, and the next one at once.
    world.core.stream_closed(flow.socket, world.now);
    world.drain();
    let (flow, again) = world.last_request();
    assert_eq!((flow.protocol, again.headers.get("i")), (Protocol::Udp, invite.headers.get("i")));
    assert_eq!(again.headers.top_via().unwrap().transport, "UDP");
    world.core.invite(LegId(3), call(uri, &large), world.now);
    world.drain();
    assert_eq!(world.last_request().0.protocol, Protocol::Udp);
    assert!(world.legs.is_empty());
}

#[test]
fn a_large_request_to_a_phone_behind_a_nat_stays_a_datagram() {
    let mut world = World::new();
    assert_eq!(world.register("ana", "Contact: <sip:ana@10.0.0.5:5060>\r\n", udp(4_321)), 200);
    let binding = Arc::new(world.binding("ana"));
    let invite = OutgoingInvite {
        target: Target::Binding(binding),
        ..call("sip:ana@example.org", &"x".repeat(1_300))
    };
    world.core.invite(LegId(1), invite, world.now);
    world.drain();
    assert_eq!(world.last_request().0, udp(4_321));
}
