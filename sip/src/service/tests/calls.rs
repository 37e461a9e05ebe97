//! RFC 3261 sections 9, 13, 14 and 15, RFC 6026, RFC 3311: calls both ways, and what crosses on the wire.

use super::*;
use crate::msg::NameAddr;
use crate::msg::header::MaxForwards;
use crate::ports::{OutgoingInvite, Target};

pub(super) const FIELDS: &str =
    "Contact: <sip:ana@192.0.2.7:5060>\r\nContent-Type: application/sdp\r\n";

/// A phone calls; the INVITE as it was let in, and the leg.
pub(super) fn called(world: &mut World) -> (Request, LegId) {
    let invite = world.ask("INVITE", "sip:carl@example.org", "ana", FIELDS, SDP, udp(5060));
    world.sent.clear();
    (invite, world.legs.last().unwrap().0)
}

pub(super) fn accept(world: &mut World, leg: LegId) -> Response {
    world.core.accept(leg, Bytes::from_static(b"v=0\r\n"), world.now);
    world.drain();
    world.last_response().clone()
}

/// A call that is up, from the phone.
pub(super) fn talking(world: &mut World) -> (Request, Response, LegId) {
    let (invite, leg) = called(world);
    let ok = accept(world, leg);
    let ack = inside(world, &invite, &ok, "ACK", "", "");
    world.receive(ack, udp(5060));
    world.sent.clear();
    (invite, ok, leg)
}

/// A call to Ana's phone.
pub(super) fn call(world: &World) -> OutgoingInvite {
    call_to(Target::Binding(Arc::new(world.binding("ana"))))
}

pub(super) fn call_to(target: Target) -> OutgoingInvite {
    OutgoingInvite {
        target,
        from: NameAddr::new(uri("sip:carl@example.org")),
        to: uri("sip:ana@example.org"),
        offer: Bytes::from_static(SDP.as_bytes()),
        headers: Vec::new(),
        login: None,
        max_forwards: MaxForwards::DEFAULT,
    }
}

/// We call a registered phone.
pub(super) fn calling(world: &mut World) -> (LegId, Request, Flow) {
    world.register("ana", "Contact: <sip:ana@192.0.2.7:5060>\r\n", udp(5060));
    world.sent.clear();
    world.serial += 1;
    let leg = LegId(u64::from(world.serial) * 2 + 1);
    let call = call(world);
    world.core.invite(leg, call, world.now);
    world.drain();
    let (flow, invite) = world.last_request();
    (leg, invite, flow)
}

pub(super) fn events(world: &mut World) -> Vec<String> {
    let name = |event: &LegEvent| match event {
        LegEvent::Failed { status, .. } => format!("Failed {status}"),
        LegEvent::Progress { status, .. } => format!("Progress {status}"),
        LegEvent::ReinviteAnswered(result) => format!("ReinviteAnswered {}", result.is_ok()),
        other => format!("{other:?}").split(['(', ' ', '{']).next().unwrap_or_default().to_owned(),
    };
    world.legs.drain(..).map(|(_, event)| name(&event)).collect()
}

pub(super) fn over(mut world: World) {
    world.pass(100.0);
    assert!(world.is_empty(), "something is left");
}

#[test]
fn a_caller_hears_100_then_180_then_the_answer_until_it_acknowledges() {
    let mut world = World::new();
    let (invite, leg) = called(&mut world);
    world.pass(0.3);
    assert_eq!(world.said(), ["100"]);
    world.receive(Message::Request(invite.clone()), udp(5060));
    world.core.ring(leg, 180, None, world.now);
    world.drain();
    world.receive(Message::Request(invite.clone()), udp(5060));
    assert_eq!(world.said(), ["100", "180", "180"], "repeats get the last answer");
    let ok = accept(&mut world, leg);
    assert!(ok.headers.has("Contact") && ok.headers.to().unwrap().tag().is_some());
    world.pass(3.6);
    assert_eq!(world.said(), ["200"; 4], "at 0, 0.5, 1.5 and 3.5 seconds");
    let ack = inside(&mut world, &invite, &ok, "ACK", "", "");
    world.receive(ack, udp(5060));
    world.pass(10.0);
    assert_eq!(world.said(), [""; 0]);
    let bye = inside(&mut world, &invite, &ok, "BYE", "Reason: Q.850;cause=16\r\n", "");
    world.receive(bye.clone(), udp(5060));
    world.receive(bye, udp(5060));
    assert_eq!(world.said(), ["200", "200"]);
    assert_eq!(events(&mut world), ["Invited", "Acked", "Bye", "Ended"]);
    over(world);
}

#[test]
fn an_answer_that_is_never_acknowledged_ends_with_a_bye() {
    let mut world = World::new();
    let (_, leg) = called(&mut world);
    accept(&mut world, leg);
    world.pass(33.0);
    assert_eq!(world.last_request().1.method, Method::BYE);
    assert_eq!(events(&mut world), ["Invited", "Ended"]);
    over(world);
}

#[test]
fn whoever_hangs_up_before_the_ack_waits_for_it() {
    let mut world = World::new();
    let (invite, leg) = called(&mut world);
    let ok = accept(&mut world, leg);
    world.core.hang_up(leg, Some("SIP;cause=503".into()), world.now);
    world.drain();
    assert_eq!(methods(&world.sent, &Method::BYE), 0);
    let ack = inside(&mut world, &invite, &ok, "ACK", "", "");
    world.receive(ack, udp(5060));
    let (flow, bye) = world.last_request();
    assert_eq!((&bye.method, bye.headers.get("Reason")), (&Method::BYE, Some("SIP;cause=503")));
    world.receive(answer(&bye, 200, "x", ""), flow);
    over(world);
}

#[test]
fn a_caller_gives_up_is_refused_or_leaves_early() {
    let mut world = World::new();
    let (invite, _) = called(&mut world);
    let mut cancel = invite.clone();
    cancel.method = Method::CANCEL;
    cancel.headers.set("CSeq", format!("{} CANCEL", invite.headers.cseq().unwrap().number));
    cancel.headers.push("Reason", "SIP;cause=200");
    cancel.body = Bytes::new();
    world.receive(Message::Request(cancel.clone()), udp(5060));
    assert_eq!(world.said(), ["200", "487"]);
    assert_eq!(events(&mut world), ["Invited", "Cancelled", "Ended"]);
    over(world);

    // Too late: the call is up, the CANCEL changes nothing.
    let mut world = World::new();
    let (invite, leg) = called(&mut world);
    accept(&mut world, leg);
    world.sent.clear();
    cancel.headers.set("Via", invite.headers.get("Via").unwrap());
    world.receive(Message::Request(cancel), udp(5060));
    assert_eq!(world.said(), ["200"]);
    assert_eq!(events(&mut world), ["Invited"]);

    let mut world = World::new();
    let (_, leg) = called(&mut world);
    let headers = vec![("Reason".to_owned(), "Q.850;cause=17".to_owned())];
    world.core.reject(leg, 486, None, headers, world.now);
    world.drain();
    assert_eq!(world.last_response().headers.get("Reason"), Some("Q.850;cause=17"));
    world.pass(2.0);
    assert_eq!(world.said(), ["486"; 3], "repeated until the ACK");
    assert_eq!(events(&mut world), ["Invited", "Ended"]);
    over(world);

    let mut world = World::new();
    let (invite, leg) = called(&mut world);
    world.core.ring(leg, 180, None, world.now);
    world.drain();
    let ringing = world.last_response().clone();
    world.sent.clear();
    let bye = inside(&mut world, &invite, &ringing, "BYE", "", "");
    world.receive(bye, udp(5060));
    assert_eq!(world.said(), ["200", "487"]);
    over(world);
}

#[test]
fn a_phone_rings_answers_and_repeats_itself() {
    let mut world = World::new();
    let (leg, invite, flow) = calling(&mut world);
    assert_eq!(invite.uri.to_string(), "sip:ana@192.0.2.7:5060");
    for status in [100, 180, 183] {
        world.receive(answer(&invite, status, "p", ""), flow);
    }
    world.receive(answer(&invite, 200, "p", SDP), flow);
    let (_, ack) = world.last_request();
    assert_eq!(ack.method, Method::ACK);
    assert_eq!(ack.uri.to_string(), "sip:phone-p@192.0.2.7:5060", "to the Contact of the answer");
    world.receive(answer(&invite, 200, "p", SDP), flow);
    assert_eq!(methods(&world.sent, &Method::ACK), 2, "the 200 again, the ACK again");
    assert_eq!(events(&mut world), ["Progress 180", "Progress 183", "Answered"]);
    // A second phone behind a fork answers too: it is hung up at once.
    world.receive(answer(&invite, 200, "q", SDP), flow);
    let (_, bye) = world.last_request();
    assert_eq!(
        (&bye.method, bye.uri.to_string()),
        (&Method::BYE, "sip:phone-q@192.0.2.7:5060".into())
    );
    assert_eq!(events(&mut world), [""; 0]);
    world.core.hang_up(leg, None, world.now);
    world.drain();
    assert_eq!(world.last_request().1.uri.to_string(), "sip:phone-p@192.0.2.7:5060");
    assert_eq!(events(&mut world), ["Ended"]);
    over(world);
}

#[test]
fn a_call_of_ours_is_refused_given_up_or_never_answered() {
    let mut world = World::new();
    let (_, invite, flow) = calling(&mut world);
    world.receive(answer(&invite, 486, "p", ""), flow);
    world.receive(answer(&invite, 486, "p", ""), flow);
    assert_eq!(methods(&world.sent, &Method::ACK), 2);
    assert_eq!(events(&mut world), ["Failed 486"]);
    over(world);

    let mut world = World::new();
    calling(&mut world);
    world.pass(33.0);
    assert_eq!(methods(&world.sent, &Method::INVITE), 7);
    assert_eq!(events(&mut world), ["Failed 408"]);
    over(world);

    // Nothing heard yet: the CANCEL waits for the first 1xx (section 9.1).
    let mut world = World::new();
    let (leg, invite, flow) = calling(&mut world);
    world.core.hang_up(leg, Some("SIP;cause=200".into()), world.now);
    world.drain();
    assert_eq!(methods(&world.sent, &Method::CANCEL), 0);
    world.receive(answer(&invite, 180, "p", ""), flow);
    let (_, cancel) = world.last_request();
    assert_eq!(
        (&cancel.method, cancel.headers.get("Reason")),
        (&Method::CANCEL, Some("SIP;cause=200"))
    );
    assert_eq!(
        cancel.headers.get("Via").unwrap().split(';').nth(1),
        invite.headers.get("Via").unwrap().split(';').nth(1)
    );
    world.receive(answer(&cancel, 200, "p", ""), flow);
    world.receive(answer(&invite, 487, "p", ""), flow);
    assert_eq!(events(&mut world), ["Failed 487"]);
    over(world);

    // The answer crosses the CANCEL.
    let mut world = World::new();
    let (leg, invite, flow) = calling(&mut world);
    world.receive(answer(&invite, 180, "p", ""), flow);
    world.core.hang_up(leg, None, world.now);
    world.drain();
    world.receive(answer(&invite, 200, "p", SDP), flow);
    let said = world.said();
    assert!(said.ends_with(&["CANCEL".into(), "ACK".into(), "BYE".into()]), "{said:?}");
    assert_eq!(events(&mut world), ["Progress 180", "Failed 487"]);
    over(world);

    // A phone that vanished after ringing answers neither.
    let mut world = World::new();
    let (leg, invite, flow) = calling(&mut world);
    world.receive(answer(&invite, 180, "p", ""), flow);
    world.core.hang_up(leg, None, world.now);
    world.drain();
    world.pass(33.0);
    assert_eq!(events(&mut world), ["Progress 180", "Failed 487"]);
    over(world);
}

#[test]
fn sessions_change_refresh_and_collide() {
    let mut world = World::new();
    let (invite, ok, leg) = talking(&mut world);
    events(&mut world);
    let reinvite = inside(&mut world, &invite, &ok, "INVITE", FIELDS, SDP);
    world.receive(reinvite, udp(5060));
    // While one is open, another has to wait.
    let second = inside(&mut world, &invite, &ok, "INVITE", FIELDS, SDP);
    world.receive(second, udp(5060));
    assert_eq!(world.last_response().status, 500);
    world.core.reinvite(leg, Bytes::from_static(b"v=0\r\n"), world.now);
    world.drain();
    world.core.answer_reinvite(leg, Ok(Bytes::from_static(b"v=0\r\n")), world.now);
    world.drain();
    assert_eq!(world.last_response().status, 200);
    assert_eq!(events(&mut world), ["Reinvited", "ReinviteAnswered false"]);
    world.pass(1.0);
    assert_eq!(world.said().iter().filter(|w| *w == "200").count(), 2, "until the ACK");
    let number = world.serial;
    let ack = inside(&mut world, &invite, &ok, "ACK", "", "");
    let Message::Request(mut ack) = ack else { unreachable!() };
    ack.headers.set("CSeq", format!("{} ACK", number - 1));
    world.receive(Message::Request(ack), udp(5060));
    // Ours: theirs collides with it, and is told so.
    world.core.reinvite(leg, Bytes::from_static(b"v=0\r\n"), world.now);
    world.drain();
    let (flow, ours) = world.last_request();
    let collides = inside(&mut world, &invite, &ok, "INVITE", FIELDS, SDP);
    world.receive(collides, udp(5060));
    assert_eq!(world.last_response().status, 491);
    world.receive(answer(&ours, 200, "f1", SDP), flow);
    assert_eq!(world.last_request().1.method, Method::ACK);
    // A sign of life without a description is answered at once; an old number is not.
    let update =
        inside(&mut world, &invite, &ok, "UPDATE", "Contact: <sip:ana@192.0.2.7:7000>\r\n", "");
    world.receive(update.clone(), udp(5060));
    assert_eq!(world.last_response().status, 200);
    let Message::Request(mut old) = update else { unreachable!() };
    old.headers.set("Via", "SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKold;rport");
    old.headers.set("CSeq", "1 UPDATE");
    world.receive(Message::Request(old), udp(5060));
    assert_eq!(world.last_response().status, 500);
    let info = inside(
        &mut world,
        &invite,
        &ok,
        "INFO",
        "Content-Type: application/dtmf-relay\r\n",
        "Signal=5",
    );
    world.receive(info, udp(5060));
    // The moved Contact counts for what follows; a peer that forgot the call ends it.
    world.core.reinvite(leg, Bytes::from_static(b"v=0\r\n"), world.now);
    world.drain();
    let (flow, lost) = world.last_request();
    assert_eq!(lost.uri.port, Some(7_000));
    world.receive(answer(&lost, 481, "f1", ""), flow);
    let told = ["Acked", "ReinviteDue", "ReinviteAnswered true", "Digit", "ReinviteAnswered false"];
    let mut heard = events(&mut world);
    assert_eq!(heard.pop().as_deref(), Some("Ended"));
    assert_eq!(heard, told);
    over(world);
}

/// A key that is told before anybody answered is heard by nobody, on neither side, and that is said.
#[test]
fn a_key_before_the_answer_is_refused() {
    let relay = "Content-Type: application/dtmf-relay\r\n";
    let mut world = World::new();
    let (invite, leg) = called(&mut world);
    world.core.ring(leg, 180, None, world.now);
    world.drain();
    let ringing = world.last_response().clone();
    for (body, status) in [("Signal=#", 480), ("", 200)] {
        let info = inside(&mut world, &invite, &ringing, "INFO", relay, body);
        world.receive(info, udp(5060));
        assert_eq!(world.last_response().status, status, "{body}");
    }
    let again = inside(&mut world, &invite, &ringing, "INFO", relay, "Signal=#");
    world.receive(again, udp(5060));
    let warning = world.last_response().headers.get("Warning").unwrap();
    assert!(warning.contains("nobody has answered"), "{warning}");
    world.core.hang_up(leg, None, world.now);
    world.drain();
    over(world);
}

/// What an INFO carries is a key, nothing, or refused by name (RFC 6086 section 4.2.2, RFC 3261 section 21.4.13).
#[test]
fn keys_told_by_info_are_heard_and_other_bodies_are_refused() {
    let mut world = World::new();
    let (invite, ok, leg) = talking(&mut world);
    world.legs.clear();
    let relay = "Content-Type: application/dtmf-relay\r\n";
    let plain = "Content-Type: application/dtmf\r\n";
    let long = format!("Signal=5\r\n{}", " ".repeat(300));
    let cases = [
        (relay, "Signal=5\r\nDuration=250\r\n", 200, Some((5, 250))),
        (relay, "Signal= *\r\n", 200, Some((10, 160))),
        (relay, "signal=11\nduration = 90", 200, Some((11, 90))),
        (plain, "#\r\n", 200, Some((11, 160))),
        ("Content-Type: Application/DTMF;x=y\r\n", "d", 200, Some((15, 160))),
        (relay, "Signal=17\r\n", 400, None),
        (relay, "Signal=5\r\nDuration=-1\r\n", 400, None),
        (relay, "Duration=100\r\n", 400, None),
        (relay, &long, 400, None),
        (plain, "55", 400, None),
        (plain, "", 200, None),
        ("Content-Type: application/media_control+xml\r\n", "<x/>", 415, None),
        ("", "5", 415, None),
        ("Info-Package: trickle-ice\r\nContent-Type: application/dtmf\r\n", "5", 469, None),
    ];
    for (fields, body, status, key) in cases {
        let info = inside(&mut world, &invite, &ok, "INFO", fields, body);
        world.receive(info, udp(5060));
        let told = world.legs.drain(..).find_map(|(_, event)| match event {
            LegEvent::Digit { event, duration_ms } => Some((event, duration_ms)),
            _ => None,
        });
        assert_eq!(told, key, "{fields} {body}");
        if key.is_some() {
            world.core.answer_digit(leg, 200, world.now);
            world.drain();
        }
        assert_eq!(world.last_response().status, status, "{fields} {body}");
    }
    let headers = &world.last_response().headers;
    assert_eq!(headers.get("Recv-Info"), Some(""));
    // What nobody can hear is said; no more keys wait than may, and none is left without an answer.
    let key = |world: &mut World| {
        let info = inside(world, &invite, &ok, "INFO", relay, "Signal=#");
        world.receive(info, udp(5060));
    };
    key(&mut world);
    world.core.answer_digit(leg, 488, world.now);
    world.drain();
    assert_eq!(world.last_response().status, 488);
    let warning = world.last_response().headers.get("Warning").map(str::to_owned);
    assert_eq!(warning.as_deref(), Some("399 tandem \"the other side hears no keys\""));
    for _ in 0..=16 {
        key(&mut world);
    }
    assert_eq!(world.last_response().status, 503);
    world.core.hang_up(leg, None, world.now);
    world.drain();
    assert_eq!(world.last_response().status, 481);
}

#[test]
fn what_belongs_to_no_call_is_refused_or_ignored() {
    let mut world = World::new();
    let (invite, ok, _) = talking(&mut world);
    for method in ["BYE", "INVITE", "INFO", "UPDATE"] {
        let mut stranger = ok.clone();
        stranger.headers.set("To", "<sip:carl@example.org>;tag=guessed");
        let request = inside(&mut world, &invite, &stranger, method, FIELDS, SDP);
        world.receive(request, udp(5060));
        assert_eq!(world.last_response().status, 481, "{method}");
    }
    world.sent.clear();
    let mut stray = ok.clone();
    stray.headers.set("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKstray");
    world.receive(Message::Response(stray), udp(5060));
    let ack = inside(&mut world, &invite, &ok, "ACK", "", "");
    world.receive(ack, udp(5060));
    assert!(world.sent.is_empty());
}
