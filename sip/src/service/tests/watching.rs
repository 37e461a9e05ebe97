//! RFC 6665 section 4.1: the subscriber's side, with forks, refreshes, refusals and everything that crosses.

use super::*;
use crate::ports::{OutgoingSubscription, Package, SubscriptionState, Target, WatchingEnd};

const ID: WatchId = WatchId(1);

pub(super) fn begin(world: &mut World) -> Request {
    let wish = OutgoingSubscription {
        target: Target::Uri(uri("sip:bob@192.0.2.7:5060")),
        from: crate::msg::NameAddr::new(uri("sip:ana@example.org")),
        to: uri("sip:bob@phones.example"),
        package: Package::Presence,
        expires: Duration::from_secs(3_600),
    };
    world.core.watch(ID, wish, world.now);
    world.drain();
    world.last_request().1
}

/// A NOTIFY in the dialog of `subscribe`, from a notifier with this tag.
fn notify(world: &mut World, subscribe: &Request, tag: &str, state: &str, body: &str) -> u16 {
    let notify = notify_of(world, subscribe, tag, state, body);
    world.receive(notify, udp(5060));
    world.last_response().status
}

pub(super) fn notify_of(
    world: &mut World,
    subscribe: &Request,
    tag: &str,
    state: &str,
    body: &str,
) -> Message {
    world.serial += 1;
    let n = world.serial;
    let header = |name: &str| subscribe.headers.get(name).unwrap().to_owned();
    let kind = if body.is_empty() { "" } else { "Content-Type: application/pidf+xml\r\n" };
    let text = format!(
        "NOTIFY sip:ana@192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKn{n};rport\r\n\
         From: {};tag={tag}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {n} NOTIFY\r\nMax-Forwards: 70\r\n\
         Record-Route: <sip:192.0.2.9;lr>\r\nContact: <sip:{tag}@192.0.2.7:5060>\r\nEvent: presence\r\n\
         Subscription-State: {state}\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        header("To"),
        header("From"),
        header("Call-ID"),
        body.len(),
    );
    Message::Request(request(text))
}

fn reply(world: &mut World, subscribe: &Request, status: u16, fields: &[(&str, &str)]) {
    let Message::Response(mut response) = answer(subscribe, status, "a", "") else { return };
    for (name, value) in fields {
        response.headers.set(*name, *value);
    }
    world.receive(Message::Response(response), udp(5060));
}

fn ended(world: &World) -> Option<&WatchingEnd> {
    match world.watched.last() {
        Some((_, WatchEvent::Ended(why))) => Some(why),
        _ => None,
    }
}

#[test]
fn a_watching_is_made_by_the_notify_and_refreshes_itself() {
    let mut world = World::new();
    let subscribe = begin(&mut world);
    assert_eq!(subscribe.uri.to_string(), "sip:bob@192.0.2.7:5060");
    for (name, value) in
        [("Event", "presence"), ("Accept", "application/pidf+xml"), ("Expires", "3600")]
    {
        assert_eq!(subscribe.headers.get(name), Some(value));
    }
    // The NOTIFY may come before the answer (section 4.1.2.4).
    assert_eq!(notify(&mut world, &subscribe, "a", "pending;expires=3600", ""), 200);
    reply(&mut world, &subscribe, 200, &[("Expires", "3600")]);
    assert_eq!(notify(&mut world, &subscribe, "a", "active;expires=600", "<open/>"), 200);
    let told: Vec<_> = world.watched.iter().map(|(_, event)| event.clone()).collect();
    let [WatchEvent::Told(pending), WatchEvent::Told(active)] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!((&pending.state, &pending.body), (&SubscriptionState::Pending, &None));
    assert_eq!(
        (&active.state, active.body.as_deref()),
        (&SubscriptionState::Active, Some(&b"<open/>"[..]))
    );
    // Refreshed between 50 and 80 percent of what is left, along the route of the NOTIFY (section 4.4.1).
    world.sent.clear();
    world.pass(299.0);
    assert_eq!(methods(&world.sent, &Method::SUBSCRIBE), 0);
    world.pass(182.0);
    let (_, refresh) = world.last_request();
    assert_eq!(refresh.headers.get("Route"), Some("<sip:192.0.2.9;lr>"));
    assert_eq!(refresh.uri.to_string(), "sip:a@192.0.2.7:5060");
    assert!(refresh.headers.to().unwrap().tag() == Some("a"));
    reply(&mut world, &refresh, 200, &[("Expires", "3600")]);
    world.pass(1_700.0);
    assert!(ended(&world).is_none(), "it was prolonged");
    world.core.unwatch(ID, world.now);
    world.drain();
    let (_, leave) = world.last_request();
    assert_eq!(leave.headers.get("Expires"), Some("0"));
    reply(&mut world, &leave, 200, &[]);
    assert_eq!(notify(&mut world, &subscribe, "a", "terminated;reason=timeout", ""), 200);
    assert_eq!(ended(&world), Some(&WatchingEnd::Unsubscribed));
    assert_eq!(notify(&mut world, &subscribe, "a", "active;expires=9", ""), 481);
    world.pass(40.0);
    assert!(world.is_empty());
}

#[test]
fn forks_are_dialogs_of_their_own_until_timer_n_is_over() {
    let mut world = World::new();
    let subscribe = begin(&mut world);
    reply(&mut world, &subscribe, 202, &[]);
    for tag in ["a", "b"] {
        assert_eq!(notify(&mut world, &subscribe, tag, "active;expires=3600", "<x/>"), 200);
    }
    world.pass(33.0);
    assert_eq!(notify(&mut world, &subscribe, "c", "active;expires=3600", ""), 481, "too late");
    assert_eq!(notify(&mut world, &subscribe, "a", "terminated;reason=noresource", ""), 200);
    assert_eq!(world.watched.last(), Some(&(ID, WatchEvent::ForkEnded("a".into()))));
    assert_eq!(
        notify(&mut world, &subscribe, "b", "terminated;reason=Rejected;retry-after=7", ""),
        200
    );
    let end = WatchingEnd::Terminated {
        reason: Some("rejected".into()),
        retry_after: Some(Duration::from_secs(7)),
    };
    assert_eq!(ended(&world), Some(&end));
    world.pass(40.0);
    assert!(world.is_empty());
}

#[test]
fn what_does_not_come_about_says_why() {
    let refused = |status, secs: Option<u64>| WatchingEnd::Refused {
        status,
        retry_after: secs.map(Duration::from_secs),
    };
    for (status, fields, why) in [
        (403, vec![], refused(403, None)),
        (503, vec![("Retry-After", "20")], refused(503, Some(20))),
        (423, vec![], refused(423, None)),
    ] {
        let mut world = World::new();
        let subscribe = begin(&mut world);
        reply(&mut world, &subscribe, status, &fields);
        assert_eq!(ended(&world), Some(&why));
        world.pass(40.0);
        assert!(world.is_empty());
    }
    // Too short a time is asked for again, once.
    let mut world = World::new();
    let subscribe = begin(&mut world);
    reply(&mut world, &subscribe, 423, &[("Min-Expires", "7200")]);
    let (_, again) = world.last_request();
    assert_eq!(again.headers.get("Expires"), Some("7200"));
    assert_eq!(again.headers.get("Call-ID"), subscribe.headers.get("Call-ID"));
    reply(&mut world, &again, 423, &[("Min-Expires", "9000")]);
    assert_eq!(ended(&world), Some(&refused(423, None)));
    // Accepted, and then nothing: timer N. Not even an answer: timer F.
    for (status, why) in [(Some(200), WatchingEnd::NoNotify), (None, refused(408, None))] {
        let mut world = World::new();
        let subscribe = begin(&mut world);
        if let Some(status) = status {
            reply(&mut world, &subscribe, status, &[]);
        }
        world.pass(33.0);
        assert_eq!(ended(&world), Some(&why));
        world.pass(40.0);
        assert!(world.is_empty());
    }
    // No way there at all.
    let mut world = World::new();
    let wish = OutgoingSubscription {
        target: Target::Uri(uri("sip:bob@nowhere.example")),
        from: crate::msg::NameAddr::new(uri("sip:ana@example.org")),
        to: uri("sip:bob@nowhere.example"),
        package: Package::Presence,
        expires: Duration::from_secs(60),
    };
    world.core.watch(ID, wish, world.now);
    world.drain();
    assert_eq!(ended(&world), Some(&refused(430, None)));
    assert!(world.is_empty());
}

#[test]
fn a_refresh_that_fails_ends_the_dialog_or_is_tried_again() {
    for (status, lasts) in [(481, false), (489, false), (500, true), (503, true)] {
        let mut world = World::new();
        let subscribe = begin(&mut world);
        reply(&mut world, &subscribe, 200, &[]);
        notify(&mut world, &subscribe, "a", "active;expires=1000", "");
        world.pass(801.0);
        let (_, refresh) = world.last_request();
        assert_eq!(refresh.method, Method::SUBSCRIBE);
        reply(&mut world, &refresh, status, &[]);
        assert_eq!(ended(&world).is_none(), lasts, "{status}");
        if lasts {
            world.sent.clear();
            world.pass(60.0);
            assert!(methods(&world.sent, &Method::SUBSCRIBE) > 0, "{status}");
            world.pass(500.0);
            assert_eq!(ended(&world), Some(&WatchingEnd::Expired));
        } else {
            assert_eq!(ended(&world), Some(&WatchingEnd::RefreshRefused(status)));
        }
        world.pass(40.0);
        assert!(world.is_empty());
    }
}

#[test]
fn a_notify_is_judged_like_every_request() {
    let mut world = World::new();
    let subscribe = begin(&mut world);
    reply(&mut world, &subscribe, 200, &[]);
    assert_eq!(notify(&mut world, &subscribe, "a", "active;expires=3600", "<x/>"), 200);
    let told = world.watched.len();
    let base = format!(
        "From: <sip:bob@phones.example>;tag=a\r\nTo: {}\r\nCall-ID: {}\r\nMax-Forwards: 70\r\n\
         Contact: <sip:a@192.0.2.7>\r\n",
        subscribe.headers.get("From").unwrap(),
        subscribe.headers.get("Call-ID").unwrap()
    );
    let table = [
        ("Event: ua-profile\r\nSubscription-State: active\r\n", 90, 489),
        ("Event: dialog\r\nSubscription-State: active\r\n", 91, 481),
        ("Subscription-State: active\r\n", 92, 489),
        ("Event: presence\r\n", 93, 400),
        ("Event: presence\r\nSubscription-State: active\r\nContent-Type: text/html\r\n", 94, 415),
        ("Event: presence\r\nSubscription-State: active\r\n", 0, 500),
    ];
    for (fields, number, status) in table {
        let body = if fields.contains("html") { "<p/>" } else { "" };
        let text = format!(
            "NOTIFY sip:ana@192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKj{number}\r\n\
             {base}CSeq: {number} NOTIFY\r\n{fields}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        world.receive(Message::Request(request(text)), udp(5060));
        assert_eq!(world.last_response().status, status, "{fields}");
    }
    assert_eq!(world.watched.len(), told, "none of them was believed");
}

#[test]
fn who_stops_watching_before_an_answer_came_hears_nothing_more() {
    let mut world = World::new();
    let subscribe = begin(&mut world);
    world.core.unwatch(ID, world.now);
    world.drain();
    assert_eq!(notify(&mut world, &subscribe, "a", "active;expires=3600", "<x/>"), 200);
    assert_eq!(world.last_request().1.headers.get("Expires"), Some("0"));
    assert!(world.watched.is_empty());
    world.pass(33.0);
    assert_eq!(ended(&world), Some(&WatchingEnd::Unsubscribed));
    world.pass(40.0);
    assert!(world.is_empty());
}
