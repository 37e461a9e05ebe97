//! RFC 3515, RFC 4488, RFC 5589 and RFC 3891: transfers asked for inside a call, and INVITEs that take the place of one.

use super::calls::{FIELDS, accept, called, calling, events, over, talking};
use super::*;
use crate::ports::Refer;

/// A REFER in a call of a phone, and the event that went up.
fn refer(world: &mut World, call: &(Request, Response, LegId), fields: &str) -> Option<Refer> {
    let refer = inside(world, &call.0, &call.1, "REFER", fields, "");
    world.receive(refer, udp(5060));
    match world.legs.pop() {
        Some((_, LegEvent::Referred(refer))) => Some(*refer),
        _ => None,
    }
}

fn notified(world: &mut World) -> (String, String, String) {
    let (flow, notify) = world.last_request();
    assert_eq!(notify.method, Method::NOTIFY);
    assert_eq!(notify.headers.get("Content-Type"), Some("message/sipfrag;version=2.0"));
    assert!(notify.headers.has("Contact"));
    world.receive(answer(&notify, 200, "f1", ""), flow);
    world.sent.clear();
    let header = |name: &str| notify.headers.get(name).unwrap().to_owned();
    let body = String::from_utf8(notify.body.to_vec()).unwrap();
    (header("Event"), header("Subscription-State"), body)
}

#[test]
fn a_transfer_is_taken_on_told_about_and_over() {
    let mut world = World::new();
    let call = talking(&mut world);
    let fields = "Refer-To: <sip:julia@example.org>\r\nReferred-By: <sip:ana@example.org>\r\n";
    let wish = refer(&mut world, &call, fields).unwrap();
    assert_eq!(wish.to, uri("sip:julia@example.org"));
    assert_eq!((wish.replaces, wish.by.as_deref()), (None, Some("<sip:ana@example.org>")));
    // One at a time.
    assert_eq!(refer(&mut world, &call, fields), None);
    assert_eq!(world.last_response().status, 500);
    world.sent.clear();
    world.core.answer_refer(call.2, 200, world.now);
    world.drain();
    assert_eq!(world.last_response().status, 200, "never 202 (RFC 7647 section 5)");
    let (event, state, body) = notified(&mut world);
    assert_eq!((event.as_str(), body.as_str()), ("refer", "SIP/2.0 100 Trying\r\n"));
    assert!(state.starts_with("active;expires="));
    world.core.refer_progress(call.2, 180, world.now);
    world.drain();
    assert_eq!(notified(&mut world).2, "SIP/2.0 180 Ringing\r\n");
    world.core.refer_progress(call.2, 200, world.now);
    world.drain();
    let (_, state, body) = notified(&mut world);
    assert_eq!(
        (state.as_str(), body.as_str()),
        ("terminated;reason=noresource", "SIP/2.0 200 OK\r\n")
    );
    world.core.refer_progress(call.2, 200, world.now);
    world.drain();
    assert_eq!(world.said(), [""; 0], "it has been told");
    // The next one has a number, so that its NOTIFYs can be told apart (RFC 3515 section 2.4.6).
    let wish = refer(&mut world, &call, fields);
    assert!(wish.is_some());
    let number = world.serial;
    world.core.answer_refer(call.2, 200, world.now);
    world.drain();
    assert_eq!(notified(&mut world).0, format!("refer;id={number}"));
    world.core.refer_progress(call.2, 486, world.now);
    world.drain();
    assert_eq!(notified(&mut world).2, "SIP/2.0 486 Busy Here\r\n");
    world.core.hang_up(call.2, None, world.now);
    world.drain();
    over(world);
}

#[test]
fn a_phone_that_wants_no_news_gets_none() {
    let mut world = World::new();
    let call = talking(&mut world);
    let fields = "Refer-To: <sip:julia@example.org>\r\nRefer-Sub: false\r\nRequire: norefersub\r\n";
    assert!(refer(&mut world, &call, fields).is_some());
    world.core.answer_refer(call.2, 200, world.now);
    world.core.refer_progress(call.2, 200, world.now);
    world.drain();
    assert_eq!(world.last_response().headers.get("Refer-Sub"), Some("false"));
    assert_eq!(methods(&world.sent, &Method::NOTIFY), 0);
    // Or one that had enough of them.
    refer(&mut world, &call, "Refer-To: <sip:julia@example.org>\r\n").unwrap();
    world.core.answer_refer(call.2, 200, world.now);
    world.drain();
    let event = format!("Event: refer;id={}\r\nExpires: 0\r\n", world.serial);
    let enough = inside(&mut world, &call.0, &call.1, "SUBSCRIBE", &event, "");
    world.receive(enough, udp(5060));
    assert!(notified(&mut world).1.starts_with("terminated"));
    world.core.refer_progress(call.2, 200, world.now);
    world.drain();
    assert_eq!(methods(&world.sent, &Method::NOTIFY), 0);
    world.core.hang_up(call.2, None, world.now);
    world.drain();
    over(world);
}

#[test]
fn what_makes_no_transfer_is_refused() {
    let mut world = World::new();
    let call = talking(&mut world);
    for (fields, status) in [
        ("", 400),
        ("Refer-To: <sip:a@example.org>\r\nRefer-To: <sip:b@example.org>\r\n", 400),
        ("Refer-To: <http://example.org/>\r\n", 416),
        ("Refer-To: <sip:a@example.org;method=BYE>\r\n", 403),
        ("Refer-To: <sip:a@example.org?Replaces=nothing>\r\n", 400),
        ("Refer-To: <sip:a@example.org?Replaces=x%3Bto-tag%3D1%3Bfrom-tag%3D2>\r\n", 481),
    ] {
        assert_eq!(refer(&mut world, &call, fields), None, "{fields}");
        assert_eq!(world.last_response().status, status, "{fields}");
    }
    assert!(refer(&mut world, &call, "Refer-To: <sip:a@example.org>\r\n").is_some());
    world.core.answer_refer(call.2, 603, world.now);
    world.drain();
    assert_eq!(world.last_response().status, 603);
    let outside = world.request(
        "REFER",
        "sip:carl@example.org",
        "ana",
        "Refer-To: <sip:x@example.org>\r\n",
        "",
    );
    world.receive(Message::Request(outside), udp(5060));
    assert_eq!(world.last_response().status, 405);
    world.core.hang_up(call.2, None, world.now);
    world.drain();
    over(world);
}

#[test]
fn a_transfer_may_name_another_call_of_the_phone() {
    let mut world = World::new();
    let first = talking(&mut world);
    let second = talking(&mut world);
    let tag = |value: Option<&str>| value.unwrap().split("tag=").nth(1).unwrap().to_owned();
    let (ours, theirs) = (tag(second.1.headers.get("To")), tag(second.0.headers.get("From")));
    let fields = format!(
        "Refer-To: <sip:julia@example.org?Replaces={}%3Bto-tag%3D{ours}%3Bfrom-tag%3D{theirs}>\r\n",
        second.0.headers.get("Call-ID").unwrap()
    );
    let wish = refer(&mut world, &first, &fields).unwrap();
    assert_eq!((wish.to, wish.replaces), (uri("sip:julia@example.org"), Some(second.2)));
}

#[test]
fn an_invite_takes_the_place_of_a_call_that_may_be_replaced() {
    let replaces = |dialog: &DialogNames, more: &str| {
        format!(
            "{FIELDS}Replaces: {};to-tag={};from-tag={}{more}\r\n",
            dialog.0, dialog.1, dialog.2
        )
    };
    type DialogNames = (String, String, String);
    let tag = |value: Option<&str>| value.unwrap().split("tag=").nth(1).unwrap().to_owned();
    let invite = |world: &mut World, fields: &str| {
        world.legs.clear();
        world.ask("INVITE", "sip:carl@example.org", "ana", fields, SDP, udp(5060));
        match world.legs.last() {
            Some((_, LegEvent::Invited(invited))) => Ok(invited.replaces),
            _ => Err(world.last_response().status),
        }
    };
    // One that is up.
    let mut world = World::new();
    let (asked, ok, leg) = talking(&mut world);
    let up = (
        asked.headers.get("Call-ID").unwrap().to_owned(),
        tag(ok.headers.get("To")),
        tag(asked.headers.get("From")),
    );
    assert_eq!(invite(&mut world, &replaces(&up, "")), Ok(Some(leg)));
    let required = format!("{}Require: replaces\r\n", replaces(&up, ""));
    assert_eq!(invite(&mut world, &required), Ok(Some(leg)));
    assert_eq!(invite(&mut world, &replaces(&up, ";early-only")), Err(486));
    let two = format!("{}Replaces: x;to-tag=1;from-tag=2\r\n", replaces(&up, ""));
    assert_eq!(invite(&mut world, &two), Err(400));
    let swapped = (up.0.clone(), up.2.clone(), up.1.clone());
    assert_eq!(invite(&mut world, &replaces(&swapped, "")), Err(481));
    assert_eq!(invite(&mut world, FIELDS), Ok(None));
    // One of theirs that is not answered.
    let (asked, leg) = called(&mut world);
    world.core.ring(leg, 180, None, world.now);
    world.drain();
    let early = (
        asked.headers.get("Call-ID").unwrap().to_owned(),
        tag(world.last_response().headers.get("To")),
        tag(asked.headers.get("From")),
    );
    assert_eq!(invite(&mut world, &replaces(&early, "")), Err(481));
    // One of ours that rings.
    let (leg, ours, flow) = calling(&mut world);
    world.receive(answer(&ours, 180, "p", ""), flow);
    let ringing = (
        ours.headers.get("Call-ID").unwrap().to_owned(),
        tag(ours.headers.get("From")),
        "p".to_owned(),
    );
    assert_eq!(invite(&mut world, &replaces(&ringing, ";early-only")), Ok(Some(leg)));
    let _ = (accept, events);
}
