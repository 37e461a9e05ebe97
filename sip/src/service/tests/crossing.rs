//! RFC 3261 sections 9.2, 12, 13.2.2.4 and 18.2.2: calls whose messages cross, lack something, or lose their connection.

use super::calls::{FIELDS, accept, called, calling, events, over, talking};
use super::*;

#[test]
fn a_cancel_that_comes_while_the_password_is_looked_up_ends_the_call() {
    let mut world = World::new();
    let invite = world.request("INVITE", "sip:carl@example.org", "ana", FIELDS, SDP);
    world.receive(Message::Request(invite.clone()), udp(5060));
    let signed = world.signed(invite, "ana", "secret", Algorithm::Md5);
    world.core.handle_message(Message::Request(signed.clone()), udp(5060), world.now);
    let Some(Output::Job(id, job)) = world.core.poll_output() else { panic!("no job") };
    let mut cancel = signed.clone();
    cancel.method = Method::CANCEL;
    cancel.headers.set("CSeq", format!("{} CANCEL", signed.headers.cseq().unwrap().number));
    cancel.body = Bytes::new();
    world.sent.clear();
    world.receive(Message::Request(cancel), udp(5060));
    assert_eq!(world.said(), ["200", "487"]);
    world.job(id, job);
    assert!(world.legs.is_empty(), "nobody rings any more");
    over(world);
}

#[test]
fn a_cancelled_reinvite_leaves_the_call_as_it_was() {
    let mut world = World::new();
    let (invite, ok, leg) = talking(&mut world);
    let Message::Request(again) = inside(&mut world, &invite, &ok, "INVITE", FIELDS, SDP) else {
        unreachable!()
    };
    world.receive(Message::Request(again.clone()), udp(5060));
    let mut cancel = again.clone();
    cancel.method = Method::CANCEL;
    cancel.headers.set("CSeq", format!("{} CANCEL", again.headers.cseq().unwrap().number));
    cancel.body = Bytes::new();
    world.receive(Message::Request(cancel), udp(5060));
    assert_eq!(world.said(), ["200", "487"]);
    world.core.answer_reinvite(leg, Ok(Bytes::from_static(b"v=0\r\n")), world.now);
    world.drain();
    assert!(world.sent.is_empty(), "too late");
    world.core.hang_up(leg, None, world.now);
    world.drain();
    assert_eq!(world.said(), ["BYE"]);
    over(world);
}

/// The answer without what it has to have (section 12.1.2): the phone is still the one we called.
#[test]
fn an_answer_without_contact_is_acknowledged_where_the_invite_went() {
    let mut world = World::new();
    let (_, invite, flow) = calling(&mut world);
    let mut bare = invite.response(200, Some("p"));
    bare = bare.with_body("application/sdp", Bytes::from_static(SDP.as_bytes()));
    world.receive(Message::Response(bare.clone()), flow);
    let (_, ack) = world.last_request();
    assert_eq!((&ack.method, ack.uri.to_string()), (&Method::ACK, invite.uri.to_string()));
    assert_eq!(events(&mut world), ["Answered"]);
    // Another phone's answer of that kind must not take the call that is up with it.
    let mut other = invite.response(200, Some("q"));
    other.headers.push("Record-Route", "<<not a route>");
    world.receive(Message::Response(other), flow);
    assert_eq!(events(&mut world), [""; 0]);
    assert_eq!(world.core.legs.len(), 1);
}

#[test]
fn a_late_answer_to_the_last_offer_is_not_taken_for_one_to_the_next() {
    let mut world = World::new();
    let (_, _, leg) = talking(&mut world);
    let offer = Bytes::from_static(b"v=0\r\n");
    let mut asked = Vec::new();
    for _ in 0..2 {
        world.core.reinvite(leg, offer.clone(), world.now);
        world.drain();
        asked.push(world.last_request().1);
        if asked.len() == 1 {
            world.receive(answer(&asked[0], 200, "x", SDP), udp(5060));
        }
    }
    events(&mut world);
    world.sent.clear();
    world.receive(answer(&asked[0], 200, "x", SDP), udp(5060));
    assert_eq!(events(&mut world), [""; 0], "the second is still open");
    let (_, ack) = world.last_request();
    assert_eq!(ack.headers.cseq().unwrap().number, asked[0].headers.cseq().unwrap().number);
    world.receive(answer(&asked[1], 200, "x", SDP), udp(5060));
    assert_eq!(events(&mut world), ["ReinviteAnswered true"]);
}

#[test]
fn a_late_repeat_of_the_first_answer_gets_the_ack_of_the_first() {
    let mut world = World::new();
    let (leg, invite, flow) = calling(&mut world);
    world.receive(answer(&invite, 200, "p", SDP), flow);
    world.core.reinvite(leg, Bytes::from_static(b"v=0\r\n"), world.now);
    world.drain();
    let again = world.last_request().1;
    world.receive(answer(&again, 200, "p", SDP), flow);
    world.receive(answer(&invite, 200, "p", SDP), flow);
    let (_, ack) = world.last_request();
    assert_eq!((ack.method, ack.headers.get("CSeq")), (Method::ACK, Some("1 ACK")));
}

#[test]
fn before_the_answer_a_caller_may_only_leave() {
    for (method, status) in [
        ("UPDATE", "500"),
        ("INVITE", "500"),
        ("INFO", "415"),
        ("PRACK", "400"),
        ("OPTIONS", "200"),
    ] {
        let mut world = World::new();
        let (invite, leg) = called(&mut world);
        world.core.ring(leg, 180, None, world.now);
        world.drain();
        let ringing = world.last_response().clone();
        world.said();
        let early = inside(&mut world, &invite, &ringing, method, FIELDS, SDP);
        world.receive(early, udp(5060));
        assert_eq!(world.said(), [status], "{method}");
        world.core.hang_up(leg, None, world.now);
        world.drain();
        over(world);
    }
}

#[test]
fn a_response_that_was_meant_for_somebody_behind_us_is_dropped() {
    let mut world = World::new();
    let (_, invite, flow) = calling(&mut world);
    let Message::Response(mut stray) = answer(&invite, 200, "p", SDP) else { unreachable!() };
    stray.headers.push("Via", "SIP/2.0/UDP 198.51.100.1;branch=z9hG4bKother");
    world.sent.clear();
    world.receive(Message::Response(stray), flow);
    assert_eq!((events(&mut world), world.sent.len()), (Vec::new(), 0));
}

/// Section 12.1.1: whoever asked to stay in the way is told to the caller by each answer that begins the dialog.
#[test]
fn record_routes_are_repeated_by_ringing_and_answer() {
    let mut world = World::new();
    let fields = format!("{FIELDS}Record-Route: <sip:192.0.2.99;lr>\r\n");
    world.ask("INVITE", "sip:carl@example.org", "ana", &fields, SDP, udp(5060));
    let leg = world.legs.last().unwrap().0;
    world.core.ring(leg, 180, None, world.now);
    world.drain();
    assert_eq!(world.last_response().headers.get("Record-Route"), Some("<sip:192.0.2.99;lr>"));
    let ok = accept(&mut world, leg);
    assert_eq!(ok.headers.get("Record-Route"), Some("<sip:192.0.2.99;lr>"));
}

/// Section 18.2.2: an answer whose connection has gone takes a new one to the address the request came from.
#[test]
fn an_answer_finds_its_way_after_the_connection_is_lost() {
    let mut world = World::new();
    let stream = flow(Protocol::Tcp, 1_000, 40_000);
    world.core.stream_opened(stream);
    let fields = FIELDS.replace("5060>", "5060;transport=tcp>");
    world.ask("INVITE", "sip:carl@example.org", "ana", &fields, SDP, stream);
    let leg = world.legs.last().unwrap().0;
    world.core.stream_closed(1_000, world.now);
    world.drain();
    accept(&mut world, leg);
    let opened = *world.connects.first().unwrap();
    assert_eq!(opened.peer, ([192, 0, 2, 7], 5060).into(), "the port that Via names");
    assert_eq!(world.sent.last().unwrap().0, opened);
    world.sent.clear();
    world.pass(1.0);
    assert!(world.sent.iter().all(|(flow, _)| *flow == opened), "repeats take the same way");
    // In the call too.
    world.core.stream_closed(opened.socket, world.now);
    world.pass(40.0);
    let (flow, bye) = world.last_request();
    assert_eq!((flow.socket, bye.method), (world.connects.last().unwrap().socket, Method::BYE));
    assert!(world.connects.len() > 1);
    assert!(world.legs.iter().any(|(_, event)| matches!(event, LegEvent::Ended)));
}

/// A stranger who closes at once does not make us call back.
#[test]
fn no_connection_is_opened_for_a_stranger() {
    let mut world = World::new();
    let stream = flow(Protocol::Tcp, 1_000, 40_000);
    let request = world.request("REGISTER", "sip:example.org", "ana", "", "");
    world.receive(Message::Request(request), stream);
    let request = world.request("OPTIONS", "sip:example.org", "ana", "", "");
    world.receive(Message::Request(request), stream);
    assert!(world.connects.is_empty());
}

#[test]
fn a_forked_invite_is_refused_before_anybody_is_asked_for_a_password() {
    let mut world = World::new();
    let (mut invite, _) = called(&mut world);
    invite.headers.set("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKother;rport");
    world.receive(Message::Request(invite), udp(5060));
    assert_eq!(world.said(), ["482"]);
}

/// A phone that comes back over another connection, or from behind another NAT port, is reached there.
#[test]
fn what_belongs_to_a_dialog_follows_the_phone() {
    let mut world = World::new();
    let (invite, ok, leg) = talking(&mut world);
    let info = inside(&mut world, &invite, &ok, "INFO", "", "");
    world.receive(info, udp(6_000));
    world.core.hang_up(leg, None, world.now);
    world.drain();
    let (flow, bye) = world.last_request();
    assert_eq!((flow.peer.port(), bye.method), (6_000, Method::BYE));

    let mut world = World::new();
    let fields = "Event: presence\r\nExpires: 600\r\n";
    let (subscribe, ok) = super::requests::watch(&mut world, fields);
    let stream = super::flow(Protocol::Tcp, 1_000, 40_000);
    world.core.stream_opened(stream);
    let again = inside(&mut world, &subscribe, &ok, "SUBSCRIBE", fields, "");
    world.receive(again, stream);
    let id = world.subscriptions[0].id;
    world.core.notify(id, crate::ports::SubscriptionState::Active, None, world.now);
    world.drain();
    assert_eq!(world.last_request().0, stream);
}
