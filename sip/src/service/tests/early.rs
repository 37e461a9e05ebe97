//! RFC 3262, RFC 3311 before the answer, RFC 6228: provisional answers that have to arrive, both ways.

use super::calls::{FIELDS, accept, called, calling, events, over};
use super::*;
use crate::msg::header::RSeq;

const OTHER: &str = "v=0\r\no=- 1 2 IN IP4 192.0.2.7\r\ns=-\r\n";

/// A phone rings with `status`, reliably where `rseq` is given.
fn rings(invite: &Request, status: u16, tag: &str, rseq: Option<u32>, sdp: &str) -> Message {
    let Message::Response(mut response) = answer(invite, status, tag, sdp) else { unreachable!() };
    if let Some(rseq) = rseq {
        response.headers.push("Require", "100rel");
        response.headers.push_typed(&RSeq(rseq));
    }
    Message::Response(response)
}

/// A request of the phone `tag` inside the early dialog that our `invite` made.
fn from_phone(world: &mut World, invite: &Request, tag: &str, method: &str, body: &str) -> Message {
    world.serial += 1;
    let n = world.serial;
    let header = |name: &str| invite.headers.get(name).unwrap().to_owned();
    Message::Request(request(format!(
        "{method} sip:server@192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK{n};rport\r\n\
         From: {};tag={tag}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {n} {method}\r\nMax-Forwards: 70\r\n\
         Contact: <sip:moved-{n}@192.0.2.7:5060>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        header("To"),
        header("From"),
        header("Call-ID"),
        body.len(),
    )))
}

/// A phone calls with more header fields.
fn called_with(world: &mut World, fields: &str) -> (Request, LegId) {
    let fields = format!("{FIELDS}{fields}");
    let invite = world.ask("INVITE", "sip:carl@example.org", "ana", &fields, SDP, udp(5060));
    world.sent.clear();
    (invite, world.legs.last().unwrap().0)
}

fn ring(world: &mut World, leg: LegId, status: u16, sdp: Option<&'static str>) -> Response {
    world.core.ring(leg, status, sdp.map(|sdp| Bytes::from_static(sdp.as_bytes())), world.now);
    world.drain();
    world.last_response().clone()
}

fn prack(world: &mut World, invite: &Request, told: &Response, body: &str) -> Message {
    let rack = format!(
        "RAck: {} {}\r\nContent-Type: application/sdp\r\n",
        told.headers.get("RSeq").unwrap(),
        invite.headers.get("CSeq").unwrap()
    );
    inside(world, invite, told, "PRACK", &rack, body)
}

#[test]
fn reliable_ringing_is_acknowledged_once_and_in_order() {
    let mut world = World::new();
    let (_, invite, flow) = calling(&mut world);
    assert!(invite.headers.get("Supported").unwrap().contains("100rel"));
    world.receive(rings(&invite, 183, "p", Some(7), SDP), flow);
    let (_, prack) = world.last_request();
    assert_eq!(prack.method, Method::PRACK);
    let number = invite.headers.cseq().unwrap().number;
    assert_eq!(prack.headers.get("RAck"), Some(format!("7 {number} INVITE").as_str()));
    assert_eq!(prack.uri.to_string(), "sip:phone-p@192.0.2.7:5060");
    assert_eq!(prack.headers.cseq().unwrap().number, number + 1);
    world.receive(answer(&prack, 200, "p", ""), flow);
    // The same again, and one that comes too early.
    world.receive(rings(&invite, 183, "p", Some(7), SDP), flow);
    world.receive(rings(&invite, 180, "p", Some(9), ""), flow);
    assert_eq!(methods(&world.sent, &Method::PRACK), 1);
    world.receive(rings(&invite, 180, "p", Some(8), ""), flow);
    assert_eq!(methods(&world.sent, &Method::PRACK), 2);
    // Another phone behind the fork counts for itself.
    world.receive(rings(&invite, 183, "q", Some(1_000), SDP), flow);
    let (_, prack) = world.last_request();
    assert_eq!(prack.uri.to_string(), "sip:phone-q@192.0.2.7:5060");
    assert_eq!(events(&mut world), ["Progress 183", "Progress 180", "Progress 183"]);
    // The answer came before: a 200 without one has it. Later requests count on from the PRACKs.
    world.receive(answer(&invite, 200, "p", ""), flow);
    let Some((leg, LegEvent::Answered { sdp })) = world.legs.last().cloned() else { panic!() };
    assert_eq!(&sdp[..], SDP.as_bytes());
    world.core.hang_up(leg, None, world.now);
    world.drain();
    let (_, bye) = world.last_request();
    assert_eq!(bye.headers.cseq().unwrap().number, number + 3);
    over(world);
}

#[test]
fn a_ringing_phone_changes_its_session_or_is_told_to_wait() {
    let mut world = World::new();
    let (leg, invite, flow) = calling(&mut world);
    world.receive(rings(&invite, 183, "p", None, SDP), flow);
    // A preview is no answer: our offer is still open.
    let update = from_phone(&mut world, &invite, "p", "UPDATE", OTHER);
    world.receive(update, flow);
    assert_eq!(world.last_response().status, 491);
    let bare = from_phone(&mut world, &invite, "p", "UPDATE", "");
    world.receive(bare, flow);
    assert_eq!(world.last_response().status, 200);
    world.receive(rings(&invite, 183, "p", Some(1), SDP), flow);
    let update = from_phone(&mut world, &invite, "p", "UPDATE", OTHER);
    world.receive(update, flow);
    let second = from_phone(&mut world, &invite, "p", "UPDATE", OTHER);
    world.receive(second, flow);
    assert_eq!(world.last_response().status, 500);
    assert!(world.last_response().headers.has("Retry-After"));
    world.core.answer_reinvite(leg, Ok(Bytes::from_static(b"v=0\r\n")), world.now);
    world.drain();
    let ok = world.last_response();
    assert_eq!((ok.status, &ok.body[..]), (200, &b"v=0\r\n"[..]));
    assert!(ok.headers.has("Contact"));
    assert_eq!(events(&mut world), ["Progress 183", "Progress 183", "Reinvited"]);
    // What it asks when the call is taken is answered in the call.
    let update = from_phone(&mut world, &invite, "p", "UPDATE", OTHER);
    world.receive(update, flow);
    world.receive(answer(&invite, 200, "p", ""), flow);
    world.core.answer_reinvite(leg, Err(488), world.now);
    world.drain();
    assert_eq!(world.last_response().status, 488);
    let unknown = from_phone(&mut world, &invite, "z", "UPDATE", OTHER);
    world.receive(unknown, flow);
    assert_eq!(world.last_response().status, 481);
    world.core.hang_up(leg, None, world.now);
    world.drain();
    over(world);
}

#[test]
fn a_phone_that_rings_no_more_is_forgotten() {
    let mut world = World::new();
    let (leg, invite, flow) = calling(&mut world);
    for tag in ["p", "q"] {
        world.receive(rings(&invite, 180, tag, None, ""), flow);
    }
    world.receive(rings(&invite, 199, "p", None, ""), flow);
    let update = from_phone(&mut world, &invite, "p", "UPDATE", "");
    world.receive(update, flow);
    assert_eq!(world.last_response().status, 481);
    let update = from_phone(&mut world, &invite, "q", "UPDATE", "");
    world.receive(update, flow);
    assert_eq!(world.last_response().status, 200);
    // A fork with very many phones takes no more room than a small one.
    for n in 0..100 {
        world.receive(rings(&invite, 180, &format!("many-{n}"), None, ""), flow);
    }
    assert!(world.core.leg_of_dialog.len() <= 16);
    world.core.hang_up(leg, None, world.now);
    world.drain();
    world.receive(answer(&invite, 487, "q", ""), flow);
    over(world);
}

#[test]
fn a_caller_that_requires_it_is_told_reliably_until_it_acknowledges() {
    let mut world = World::new();
    let (invite, leg) = called_with(&mut world, "Require: 100rel\r\n");
    let told = ring(&mut world, leg, 180, None);
    assert_eq!(told.headers.get("Require"), Some("100rel"));
    let rseq: u32 = told.headers.get("RSeq").unwrap().parse().unwrap();
    assert!((1..=1 << 31).contains(&rseq));
    // The next waits for the PRACK.
    world.core.ring(leg, 183, Some(Bytes::from_static(SDP.as_bytes())), world.now);
    world.drain();
    world.pass(3.6);
    assert_eq!(world.said(), ["180"; 4], "at 0, 0.5, 1.5 and 3.5 seconds");
    let Message::Request(mut wrong) = prack(&mut world, &invite, &told, "") else { unreachable!() };
    wrong.headers.set("RAck", format!("{} 1 INVITE", rseq + 1));
    world.receive(Message::Request(wrong), udp(5060));
    assert_eq!(world.said(), ["481"]);
    let right = prack(&mut world, &invite, &told, "");
    world.receive(right.clone(), udp(5060));
    world.receive(right, udp(5060));
    assert_eq!(world.said(), ["200", "183", "200"], "a repeat gets the same answer again");
    let told: Vec<_> = world.legs.iter().collect();
    assert_eq!(told.len(), 1, "nothing of it goes up");
    // The 200 may not overtake the description; it then says nothing new.
    world.core.ring(leg, 180, None, world.now);
    world.core.accept(leg, Bytes::from_static(SDP.as_bytes()), world.now);
    world.drain();
    world.pass(0.6);
    let last = world.last_response().clone();
    assert_eq!(
        (last.status, last.headers.get("RSeq")),
        (183, Some((rseq + 1).to_string().as_str()))
    );
    let right = prack(&mut world, &invite, &last, "");
    world.sent.clear();
    world.receive(right, udp(5060));
    assert_eq!(world.last_response().status, 200);
    assert!(world.last_response().body.is_empty(), "it was answered in the 183");
    let ok = world.last_response().clone();
    let ack = inside(&mut world, &invite, &ok, "ACK", "", "");
    world.receive(ack, udp(5060));
    let bye = inside(&mut world, &invite, &ok, "BYE", "", "");
    world.receive(bye, udp(5060));
    over(world);
}

#[test]
fn a_caller_that_never_acknowledges_is_refused_after_32_seconds() {
    let mut world = World::new();
    let (_, leg) = called_with(&mut world, "Supported: 100rel\r\n");
    let plain = ring(&mut world, leg, 180, None);
    assert!(!plain.headers.has("RSeq"), "without a description there is no need");
    let told = ring(&mut world, leg, 183, Some(SDP));
    assert!(told.headers.has("RSeq"));
    world.pass(33.0);
    assert_eq!(world.sent.iter().filter(|(_, m)| word(m) == "183").count(), 7);
    assert_eq!(word(&world.sent.iter().rev().find(|(_, m)| word(m) != "504").unwrap().1), "183");
    assert_eq!(events(&mut world), ["Invited", "Cancelled", "Ended"]);
    over(world);
    // Who does not know it is told once.
    let mut world = World::new();
    let (_, leg) = called(&mut world);
    let told = ring(&mut world, leg, 183, Some(SDP));
    assert!(!told.headers.has("RSeq") && !told.headers.has("Require"));
    world.pass(40.0);
    assert_eq!(world.said(), ["183"]);
    world.core.reject(leg, 486, None, Vec::new(), world.now);
    world.drain();
    over(world);
}

#[test]
fn a_waiting_caller_changes_its_session_once_it_has_an_answer() {
    let mut world = World::new();
    let (invite, leg) = called_with(&mut world, "Supported: 100rel\r\n");
    let ringing = ring(&mut world, leg, 180, None);
    let moved = "Contact: <sip:ana@192.0.2.7:7000>\r\n";
    let bare = inside(&mut world, &invite, &ringing, "UPDATE", moved, "");
    world.receive(bare, udp(5060));
    assert_eq!(world.last_response().status, 200);
    let early = inside(&mut world, &invite, &ringing, "UPDATE", FIELDS, OTHER);
    world.receive(early, udp(5060));
    assert_eq!(world.last_response().status, 500, "we owe it an answer (RFC 3311 section 5.2)");
    assert!(world.last_response().headers.has("Retry-After"));
    let told = ring(&mut world, leg, 183, Some(SDP));
    let right = prack(&mut world, &invite, &told, "");
    world.receive(right, udp(5060));
    let update = inside(&mut world, &invite, &told, "UPDATE", FIELDS, OTHER);
    world.receive(update, udp(5060));
    world.core.answer_reinvite(leg, Ok(Bytes::from_static(b"v=0\r\n")), world.now);
    world.drain();
    assert_eq!(&world.last_response().body[..], b"v=0\r\n");
    assert_eq!(events(&mut world), ["Invited", "Reinvited"]);
    let ok = accept(&mut world, leg);
    assert!(ok.body.is_empty());
    let ack = inside(&mut world, &invite, &ok, "ACK", "", "");
    world.receive(ack, udp(5060));
    world.core.hang_up(leg, None, world.now);
    world.drain();
    over(world);
    // A PRACK outside any call.
    let mut world = World::new();
    let (invite, leg) = called_with(&mut world, "Supported: 100rel\r\n");
    let told = ring(&mut world, leg, 183, Some(SDP));
    let right = prack(&mut world, &invite, &told, "");
    world.core.reject(leg, 486, None, Vec::new(), world.now);
    world.drain();
    world.receive(right, udp(5060));
    assert_eq!(world.last_response().status, 481);
    over(world);
}
