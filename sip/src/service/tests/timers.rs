//! RFC 4028 in calls: what is said at the start, refreshes both ways, and the end of a call that nobody refreshes.

use super::calls::{FIELDS, accept, calling, events, over, talking};
use super::*;
use crate::msg::header::SessionExpires;

const UPDATES: &str = "Allow: INVITE, ACK, BYE, UPDATE\r\n";

/// A call that is up, from a phone whose INVITE says `fields`.
fn talking_with(world: &mut World, fields: &str) -> (Request, Response, LegId) {
    let fields = format!("{FIELDS}{fields}");
    let invite = world.ask("INVITE", "sip:carl@example.org", "ana", &fields, SDP, udp(5060));
    let leg = world.legs.last().unwrap().0;
    let ok = accept(world, leg);
    let ack = inside(world, &invite, &ok, "ACK", "", "");
    world.receive(ack, udp(5060));
    world.sent.clear();
    world.legs.clear();
    (invite, ok, leg)
}

fn expires(headers: &crate::msg::Headers) -> String {
    headers.typed::<SessionExpires>().unwrap().to_string()
}

/// What a phone answers to a refresh.
fn refreshed(request: &Request, fields: &[(&str, &str)], sdp: &str) -> Message {
    let Message::Response(mut response) = answer(request, 200, "f1", sdp) else { unreachable!() };
    fields.iter().for_each(|(name, value)| response.headers.push(*name, *value));
    Message::Response(response)
}

#[test]
fn we_refresh_with_update_at_half_time_for_as_long_as_the_call_lives() {
    let mut world = World::new();
    let fields = format!("{UPDATES}Supported: timer\r\nSession-Expires: 600;refresher=uas\r\n");
    let (_, ok, leg) = talking_with(&mut world, &fields);
    assert_eq!(expires(&ok.headers), "600;refresher=uas");
    assert_eq!(ok.headers.get("Require"), Some("timer"));
    assert!(ok.headers.get("Supported").unwrap().contains("timer"));
    for _ in 0..4 {
        world.pass(299.0);
        assert_eq!(world.said(), [""; 0]);
        world.pass(1.1);
        let (flow, update) = world.last_request();
        assert_eq!((&update.method, update.body.len()), (&Method::UPDATE, 0));
        assert_eq!(expires(&update.headers), "1800;refresher=uac", "who refreshes keeps doing it");
        assert!(update.headers.has("Contact"));
        let fields = [("Session-Expires", "600;refresher=uac"), ("Require", "timer")];
        world.receive(refreshed(&update, &fields, ""), flow);
        world.sent.clear();
    }
    assert_eq!(events(&mut world), [""; 0], "the gateway hears nothing of it");
    world.core.hang_up(leg, None, world.now);
    world.drain();
    over(world);
}

#[test]
fn a_phone_without_update_is_refreshed_by_the_same_description_again() {
    let mut world = World::new();
    let (_, ok, leg) = talking_with(&mut world, "");
    assert_eq!(expires(&ok.headers), "1800;refresher=uas");
    assert!(!ok.headers.has("Require"), "it need not know");
    world.pass(900.5);
    let (flow, reinvite) = world.last_request();
    assert_eq!((&reinvite.method, &reinvite.body[..]), (&Method::INVITE, &ok.body[..]));
    world.receive(refreshed(&reinvite, &[], SDP), flow);
    assert_eq!(world.last_request().1.method, Method::ACK);
    assert_eq!(events(&mut world), [""; 0], "the same as before is no news");
    world.pass(900.5);
    let (flow, reinvite) = world.last_request();
    world.receive(refreshed(&reinvite, &[], "v=0\r\nmoved\r\n"), flow);
    assert_eq!(events(&mut world), ["ReinviteAnswered true"], "another one is");
    world.core.hang_up(leg, None, world.now);
    world.drain();
    over(world);
}

#[test]
fn a_call_that_nobody_refreshes_is_hung_up_before_its_time_is_over() {
    let mut world = World::new();
    let fields = "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n";
    let (invite, ok, _) = talking_with(&mut world, fields);
    assert_eq!(expires(&ok.headers), "90;refresher=uac");
    world.pass(50.0);
    let fields = "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n";
    let update = inside(&mut world, &invite, &ok, "UPDATE", fields, "");
    world.receive(update, udp(5060));
    assert_eq!(expires(&world.last_response().headers), "90;refresher=uac");
    world.sent.clear();
    world.pass(59.0);
    assert_eq!(world.said(), [""; 0], "the clock began again");
    world.pass(1.1);
    let (_, bye) = world.last_request();
    assert_eq!(bye.method, Method::BYE);
    assert!(bye.headers.get("Reason").unwrap().starts_with("SIP;cause=408"));
    assert_eq!(events(&mut world), ["Ended"]);
    over(world);
}

#[test]
fn a_refresh_without_an_answer_ends_the_call_and_a_refused_one_is_tried_again() {
    let mut world = World::new();
    let fields = format!("{UPDATES}Supported: timer\r\nSession-Expires: 600;refresher=uas\r\n");
    let (..) = talking_with(&mut world, &fields);
    world.pass(333.0);
    assert_eq!(world.last_request().1.method, Method::BYE);
    assert_eq!(events(&mut world), ["ReinviteAnswered false", "Ended"]);
    over(world);

    let mut world = World::new();
    let (_, _, leg) = talking_with(&mut world, &fields);
    world.pass(300.5);
    let (flow, update) = world.last_request();
    world.receive(answer(&update, 491, "f1", ""), flow);
    world.sent.clear();
    world.pass(2.1);
    let (flow, again) = world.last_request();
    assert_eq!(again.method, Method::UPDATE, "not our Call-ID: within two seconds");
    // A peer that turns out not to take it gets the other kind.
    world.receive(answer(&again, 405, "f1", ""), flow);
    world.pass(0.1);
    let (flow, other) = world.last_request();
    assert_eq!(other.method, Method::INVITE);
    // And one that wants longer pauses gets them.
    let Message::Response(mut brief) = answer(&other, 422, "f1", "") else { unreachable!() };
    brief.headers.push("Min-SE", "3600");
    world.receive(Message::Response(brief), flow);
    world.pass(0.1);
    let (flow, longer) = world.last_request();
    assert_eq!(expires(&longer.headers), "3600;refresher=uac");
    assert_eq!(longer.headers.get("Min-SE"), Some("3600"));
    world.receive(refreshed(&longer, &[("Session-Expires", "3600;refresher=uac")], SDP), flow);
    world.sent.clear();
    world.pass(1_790.0);
    assert_eq!(methods(&world.sent, &Method::INVITE), 0);
    world.core.hang_up(leg, None, world.now);
    world.drain();
    over(world);
}

#[test]
fn too_small_an_interval_is_refused_both_ways() {
    let mut world = World::new();
    let fields = format!("{FIELDS}Supported: timer\r\nSession-Expires: 60\r\n");
    world.ask("INVITE", "sip:carl@example.org", "ana", &fields, SDP, udp(5060));
    assert_eq!(world.last_response().status, 422);
    assert_eq!(world.last_response().headers.get("Min-SE"), Some("90"));
    assert_eq!(events(&mut world), [""; 0]);
    over(world);

    let mut world = World::new();
    let (invite, ok, leg) = talking(&mut world);
    let brief = "Supported: timer\r\nSession-Expires: 5\r\n";
    let update = inside(&mut world, &invite, &ok, "UPDATE", brief, "");
    world.receive(update, udp(5060));
    assert_eq!(world.last_response().status, 422);
    world.core.hang_up(leg, None, world.now);
    world.drain();
    over(world);

    let mut world = World::new();
    let (_, invite, flow) = calling(&mut world);
    assert_eq!(expires(&invite.headers), "1800");
    let Message::Response(mut brief) = answer(&invite, 422, "p", "") else { unreachable!() };
    brief.headers.push("Min-SE", "2400");
    world.receive(Message::Response(brief.clone()), flow);
    let (flow, longer) = world.last_request();
    assert_eq!((&longer.method, expires(&longer.headers)), (&Method::INVITE, "2400".into()));
    assert_eq!(longer.headers.get("Call-ID"), invite.headers.get("Call-ID"));
    assert_eq!(longer.headers.cseq().unwrap().number, invite.headers.cseq().unwrap().number + 1);
    assert_eq!(events(&mut world), [""; 0]);
    // Whoever asks for the same again gets no third try.
    let Message::Response(mut brief) = answer(&longer, 422, "p", "") else { unreachable!() };
    brief.headers.push("Min-SE", "2400");
    world.receive(Message::Response(brief), flow);
    assert_eq!(events(&mut world), ["Failed 422"]);
    over(world);
}

#[test]
fn the_callee_may_be_the_one_who_refreshes() {
    let mut world = World::new();
    let (_, invite, flow) = calling(&mut world);
    let Message::Response(mut ok) = answer(&invite, 200, "p", SDP) else { unreachable!() };
    ok.headers.push("Session-Expires", "300;refresher=uas");
    world.receive(Message::Response(ok), flow);
    world.sent.clear();
    world.pass(267.0);
    assert_eq!(world.said(), [""; 0]);
    world.pass(1.1);
    assert_eq!(world.last_request().1.method, Method::BYE);
    over(world);
}

#[test]
fn an_offer_at_a_bad_time_is_due_again_later() {
    let mut world = World::new();
    let (_, invite, flow) = calling(&mut world);
    world.receive(answer(&invite, 200, "p", SDP), flow);
    let leg = world.legs.last().unwrap().0;
    world.legs.clear();
    world.core.reinvite(leg, Bytes::from_static(b"v=0\r\n"), world.now);
    world.drain();
    let (flow, ours) = world.last_request();
    world.receive(answer(&ours, 491, "p", ""), flow);
    assert_eq!(events(&mut world), ["ReinviteAnswered false"]);
    world.pass(2.09);
    assert_eq!(events(&mut world), [""; 0], "our Call-ID: 2.1 to 4 seconds (section 14.1)");
    world.pass(1.92);
    assert_eq!(events(&mut world), ["ReinviteDue"]);
    world.core.hang_up(leg, None, world.now);
    world.drain();
    over(world);
}
