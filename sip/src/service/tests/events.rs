//! RFC 6665 section 4.2 and RFC 4662: what the notifier grants, how often it speaks, and what ends it.

use super::requests::watch;
use super::*;
use crate::ports::{Document, SubscriptionState};

const CONTACT: &str = "Contact: <sip:ana@192.0.2.7:5060>\r\n";

fn told(world: &mut World, state: SubscriptionState, body: &'static str) {
    let id = world.subscriptions.last().unwrap().id;
    let document = Document::counted("application/pidf+xml", body, "");
    world.core.notify(id, state, Some(document), world.now);
    world.drain();
}

fn accept(world: &mut World) -> Request {
    let (flow, notify) = world.last_request();
    world.receive(answer(&notify, 200, "p", ""), flow);
    notify
}

#[test]
fn each_package_is_served_with_its_type_and_others_are_named() {
    for (package, media) in [
        ("presence", "application/pidf+xml"),
        ("presence.winfo", "application/watcherinfo+xml"),
        ("dialog", "application/dialog-info+xml"),
        ("message-summary", "application/simple-message-summary"),
        ("conference", "application/conference-info+xml"),
    ] {
        for (accept, status) in [(media, 200), ("application/cpim-pidf+xml", 406)] {
            let mut world = World::new();
            let (_, response) =
                watch(&mut world, &format!("Event: {package}\r\nAccept: {accept}\r\n"));
            assert_eq!(response.status, status, "{package} {accept}");
        }
    }
    let mut world = World::new();
    let (_, ok) = watch(&mut world, "Event: presence\r\n");
    assert_eq!(
        ok.headers.get("Allow-Events"),
        Some("presence, dialog, message-summary, reg, conference")
    );
    assert_eq!(ok.headers.get("Expires"), Some("3600"));
    let (_, refused) = watch(&mut world, "Event: ua-profile\r\n");
    assert_eq!(
        refused.headers.get("Allow-Events"),
        Some("presence, dialog, message-summary, reg, conference")
    );
    let options = world.request("OPTIONS", "sip:example.org", "ana", "", "");
    world.receive(Message::Request(options), udp(5060));
    let offered = world.last_response();
    assert!(offered.headers.get("Allow").is_some_and(|allow| allow.contains("PUBLISH")));
    assert_eq!(offered.headers.get("Allow-Events"), ok.headers.get("Allow-Events"));
    // What the gateway has no part in is no package either.
    world.consent = Err(489);
    let (_, refused) = watch(&mut world, "Event: dialog\r\n");
    assert_eq!((refused.status, refused.headers.has("Allow-Events")), (489, true));
    // RFC 5263: whoever takes only parts of a state gets none; whoever takes both gets it whole.
    let mut world = World::new();
    let only = watch(&mut world, "Event: presence\r\nAccept: application/pidf-diff+xml\r\n").1;
    assert_eq!(only.status, 406);
    let fields = "Event: presence\r\nAccept: application/pidf-diff+xml, application/pidf+xml\r\n";
    assert_eq!(watch(&mut world, fields).1.status, 200);
}

#[test]
fn time_is_shortened_never_lengthened_and_an_hour_is_never_too_short() {
    for (least, asked, status, granted) in [
        (60, 59, 423, None),
        (60, 60, 200, Some("60")),
        (60, 0, 200, Some("0")),
        (60, 100_000, 200, Some("3600")),
        (7_200, 3_600, 200, Some("3600")),
        (7_200, 3_599, 423, None),
    ] {
        let mut world =
            World::with(Config { min_subscription_secs: least, ..config() }, Vec::new());
        let (_, response) = watch(&mut world, &format!("Event: presence\r\nExpires: {asked}\r\n"));
        assert_eq!(response.status, status, "{asked}");
        assert_eq!(response.headers.get("Expires"), granted, "{asked}");
        assert_eq!(response.headers.has("Min-Expires"), status == 423);
    }
}

#[test]
fn what_answers_a_subscribe_and_what_gives_permission_leaves_at_once() {
    let mut world = World::new();
    let (request, ok) = watch(&mut world, "Event: presence\r\nExpires: 600\r\n");
    told(&mut world, SubscriptionState::Pending, "");
    assert_eq!(accept(&mut world).headers.get("Subscription-State"), Some("pending;expires=600"));
    told(&mut world, SubscriptionState::Active, "a");
    assert_eq!(accept(&mut world).body, "a1", "permission does not wait, and documents count");
    world.sent.clear();
    told(&mut world, SubscriptionState::Active, "b");
    assert!(world.sent.is_empty(), "a change keeps its distance");
    let fields = format!("{CONTACT}Event: presence\r\nExpires: 600\r\n");
    let refresh = inside(&mut world, &request, &ok, "SUBSCRIBE", &fields, "");
    world.receive(refresh, udp(5060));
    assert_eq!(world.said(), ["200", "NOTIFY"], "a refresh is answered with state at once");
    told(&mut world, SubscriptionState::Terminated("rejected".into()), "");
    assert!(world.sent.is_empty(), "one NOTIFY at a time");
    world.pass(33.0);
    assert!(world.core.watches.is_empty(), "a watcher that does not answer is gone");
    assert_eq!(world.ended.last().unwrap().1, SubscriptionEnd::NotifyFailed);
}

#[test]
fn other_packages_keep_a_distance_of_their_own() {
    for (package, seconds) in
        [("presence.winfo", 5.0), ("conference", 5.0), ("dialog", 1.0), ("message-summary", 1.0)]
    {
        let mut world = World::new();
        watch(&mut world, &format!("Event: {package}\r\n"));
        told(&mut world, SubscriptionState::Active, "a");
        accept(&mut world);
        told(&mut world, SubscriptionState::Active, "b");
        world.sent.clear();
        world.pass(seconds - 0.1);
        assert!(world.sent.is_empty(), "{package}");
        world.pass(0.2);
        assert_eq!(world.said(), ["NOTIFY"], "{package}");
    }
}

/// Section 4.2.2: some refusals are about the subscription, others about one NOTIFY.
#[test]
fn a_refused_notify_ends_the_subscription_or_does_not() {
    for status in [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604, 400, 500, 603] {
        let mut world = World::new();
        watch(&mut world, "Event: presence\r\n");
        told(&mut world, SubscriptionState::Active, "a");
        let (flow, notify) = world.last_request();
        world.receive(answer(&notify, status, "p", ""), flow);
        let lasts = matches!(status, 400 | 500 | 603);
        assert_eq!(!world.core.watches.is_empty(), lasts, "{status}");
        assert_eq!(world.ended.is_empty(), lasts, "{status}");
    }
}

#[test]
fn a_dialog_holds_one_subscription() {
    let mut world = World::new();
    let (request, ok) = watch(&mut world, "Event: presence;id=1\r\n");
    for (event, status) in [
        ("presence", 481),
        ("dialog", 481),
        ("foo", 489),
        ("presence;id=2", 481),
        ("presence;id=1", 200),
    ] {
        let fields = format!("{CONTACT}Event: {event}\r\n");
        let again = inside(&mut world, &request, &ok, "SUBSCRIBE", &fields, "");
        world.receive(again, udp(5060));
        assert_eq!(world.last_response().status, status, "{event}");
    }
    // An older number is out of order.
    let fields = format!("{CONTACT}Event: presence;id=1\r\n");
    let Message::Request(mut old) = inside(&mut world, &request, &ok, "SUBSCRIBE", &fields, "")
    else {
        unreachable!()
    };
    old.headers.set("CSeq", "1 SUBSCRIBE");
    world.receive(Message::Request(old), udp(5060));
    assert_eq!(world.last_response().status, 500);
}

/// RFC 4662 sections 4.1 and 4.3.
#[test]
fn a_list_is_for_those_who_know_lists_and_is_said_to_be_one() {
    let types = "Accept: application/pidf+xml, application/rlmi+xml, multipart/related\r\n";
    for (fields, status) in [
        (String::new(), 421),
        (types.to_owned(), 421),
        ("Supported: eventlist\r\nAccept: application/pidf+xml\r\n".to_owned(), 406),
        (format!("Supported: eventlist\r\n{types}"), 200),
        (format!("Supported: eventlist\r\nRequire: eventlist\r\n{types}"), 200),
    ] {
        let mut world = World::new();
        let fields = format!("{CONTACT}Event: presence\r\n{fields}");
        world.ask("SUBSCRIBE", "sip:contacts@example.org", "ana", &fields, "", udp(5060));
        let response = world.last_response().clone();
        assert_eq!(response.status, status, "{fields}");
        let is_said = response.headers.get("Require") == Some("eventlist");
        assert_eq!(is_said, status != 406, "{fields}");
        if status == 200 {
            assert!(world.subscriptions[0].is_list);
            told(&mut world, SubscriptionState::Active, "list");
            assert_eq!(accept(&mut world).headers.get("Require"), Some("eventlist"));
        }
    }
    let mut world = World::new();
    watch(&mut world, &format!("Event: presence\r\nSupported: eventlist\r\n{types}"));
    assert!(!world.subscriptions[0].is_list, "one person is no list");
    told(&mut world, SubscriptionState::Active, "");
    assert!(!accept(&mut world).headers.has("Require"));
}
