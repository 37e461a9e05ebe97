//! RFC 3428, RFC 3856, RFC 6665, RFC 3261 section 8.2: messages, subscriptions, and requests that go nowhere.

use super::*;
use crate::msg::NameAddr;
use crate::ports::{OutgoingMessage, SubscriptionState, Target};

const CONTACT: &str = "Contact: <sip:ana@192.0.2.7:5060>\r\n";

pub(super) fn message(binding: &Binding) -> OutgoingMessage {
    OutgoingMessage {
        target: Target::Binding(Arc::new(binding.clone())),
        from: NameAddr::new(uri("sip:carl@example.org")),
        to: uri("sip:ana@example.org"),
        call_id: None,
        cseq: None,
        login: None,
        headers: Vec::new(),
        content_type: "text/plain".into(),
        body: Bytes::from_static(b"hello"),
    }
}

#[test]
fn a_message_is_handed_on_once_and_answered_as_told() {
    let mut world = World::new();
    world.register("ana", CONTACT, udp(5060));
    world.reply =
        MessageReply { status: 202, reason: None, headers: vec![("X".into(), "y".into())] };
    let fields = "Content-Type: text/plain\r\n";
    let sent = world.ask("MESSAGE", "sip:carl@192.0.2.1", "ana", fields, "hi", udp(5060));
    world.receive(Message::Request(sent), udp(5060));
    assert_eq!(world.messages.len(), 1, "the repeat is answered by the transaction");
    let message = &world.messages[0];
    assert_eq!(message.account, "ana@example.org");
    assert_eq!(message.to.to_string(), "sip:carl@example.org");
    assert_eq!(message.binding.as_ref(), Some(&world.binding("ana").id));
    assert_eq!(world.last_response().status, 202);
    assert_eq!(world.last_response().headers.get("X"), Some("y"));
    assert_eq!(world.said().iter().filter(|word| *word == "202").count(), 2);
}

#[test]
fn a_message_in_a_call_is_a_message_to_the_other_end() {
    let mut world = World::new();
    let (invite, ok, _) = super::calls::talking(&mut world);
    let fields = "Content-Type: text/plain\r\n";
    let talk = inside(&mut world, &invite, &ok, "MESSAGE", fields, "can you hear me?");
    world.receive(talk, udp(5060));
    let message = world.messages.last().unwrap();
    assert_eq!(message.account, "ana@example.org");
    assert_eq!(message.to.to_string(), "sip:carl@example.org");
    assert_eq!(&message.body[..], b"can you hear me?");
    assert_eq!(world.last_response().status, 200);
    assert!(world.last_response().headers.get("Contact").is_none());
    let empty = inside(&mut world, &invite, &ok, "MESSAGE", fields, "");
    world.receive(empty, udp(5060));
    assert_eq!(world.last_response().status, 400);
}

#[test]
fn a_message_over_udp_stays_below_the_limit_of_rfc_3428() {
    let mut world = World::new();
    world.register("ana", CONTACT, udp(5060));
    let binding = world.binding("ana");
    let mut largest = 0;
    for size in (0..2_000).step_by(50) {
        world.sent.clear();
        let body = Bytes::from(vec![b'x'; size]);
        let message = OutgoingMessage { body, ..message(&binding) };
        world.core.send_message(Ticket(size as u64), message, world.now);
        world.drain();
        match world.sent.first() {
            Some((_, Message::Request(request))) => {
                largest = request.to_bytes().len();
                assert!(largest <= 1_300, "{largest}");
            }
            _ => assert_eq!(world.results.last().unwrap().1.status, 513),
        }
    }
    assert!(largest > 1_000, "{largest}");
}

#[test]
fn a_message_carries_the_tag_call_id_and_number_it_is_given_and_no_contact() {
    let mut world = World::new();
    world.register("ana", CONTACT, udp(5060));
    let binding = world.binding("ana");
    let from = NameAddr::new(uri("sip:carl@example.org")).with_tag("t1");
    let message =
        OutgoingMessage { from, call_id: Some("c1".into()), cseq: Some(7), ..message(&binding) };
    world.core.send_message(Ticket(1), message, world.now);
    world.drain();
    let (_, request) = world.last_request();
    assert_eq!(request.headers.from().unwrap().0.tag(), Some("t1"));
    assert_eq!(request.headers.get("Call-ID"), Some("c1"));
    assert_eq!(request.headers.get("CSeq"), Some("7 MESSAGE"));
    assert!(!request.headers.has("Contact"));
}

#[test]
fn a_message_to_a_phone_is_repeated_answered_or_given_up() {
    let mut world = World::new();
    world.register("ana", CONTACT, udp(5060));
    let binding = world.binding("ana");
    world.sent.clear();
    world.core.send_message(Ticket(1), message(&binding), world.now);
    world.drain();
    world.pass(1.6);
    assert_eq!(world.said(), ["MESSAGE"; 3]);
    world.core.send_message(Ticket(2), message(&binding), world.now);
    world.drain();
    let (flow, request) = world.last_request();
    assert_eq!(flow.peer, binding.flow.peer);
    assert_eq!(request.uri.to_string(), "sip:ana@192.0.2.7:5060");
    world.receive(answer(&request, 486, "p", ""), flow);
    world.receive(answer(&request, 486, "p", ""), flow);
    world.pass(40.0);
    let ends: Vec<(u64, u16)> = world.results.iter().map(|(t, r)| (t.0, r.status)).collect();
    assert_eq!(ends, [(2, 486), (1, 408)]);
    assert!(world.is_empty());
}

#[test]
fn a_lost_connection_fails_what_is_on_it_at_once_and_is_opened_again() {
    let mut world = World::new();
    let stream = flow(Protocol::Tcp, 1_000, 40_000);
    world.core.stream_opened(stream);
    world.register("ana", "Contact: <sip:ana@192.0.2.7:5060;transport=tcp>\r\n", stream);
    let binding = world.binding("ana");
    world.core.send_message(Ticket(1), message(&binding), world.now);
    world.drain();
    assert_eq!(world.last_request().0, stream);
    world.core.stream_closed(1_000, world.now);
    world.drain();
    assert_eq!(world.results[0].1.status, 503);
    world.core.send_message(Ticket(2), message(&binding), world.now);
    world.drain();
    let opened = world.connects[0];
    assert_eq!((opened.peer.port(), world.last_request().0), (5_060, opened));
    world.core.stream_closed(opened.socket, world.now);
    world.drain();
    assert_eq!(world.results[1].1.status, 503, "the phone is gone");
}

pub(super) fn watch(world: &mut World, fields: &str) -> (Request, Response) {
    let fields = format!("{CONTACT}{fields}");
    let request = world.ask("SUBSCRIBE", "sip:carl@example.org", "ana", &fields, "", udp(5060));
    let response = world.last_response().clone();
    (request, response)
}

#[test]
fn subscriptions_are_judged_before_anybody_is_asked() {
    let table = [
        ("Event: presence\r\n", 200),
        ("Event: dialog\r\n", 200),
        ("Event: Presence\r\n", 489),
        ("Event: ua-profile\r\n", 489),
        ("", 489),
        ("Event: presence\r\nAccept: text/plain\r\n", 406),
        ("Event: presence\r\nAccept: application/pidf+xml, text/plain\r\n", 200),
        ("Event: presence\r\nExpires: 59\r\n", 423),
        ("Event: presence\r\nExpires: 60\r\n", 200),
    ];
    for (fields, status) in table {
        let mut world = World::new();
        assert_eq!(watch(&mut world, fields).1.status, status, "{fields}");
        assert_eq!(world.subscriptions.len(), usize::from(status == 200));
    }
    let mut world = World::new();
    world.consent = Err(403);
    assert_eq!(watch(&mut world, "Event: presence\r\n").1.status, 403);
    world.pass(40.0);
    assert!(world.is_empty());
}

#[test]
fn one_notify_is_on_its_way_at_a_time_and_the_newest_state_follows() {
    let mut world = World::new();
    watch(&mut world, "Event: presence;id=7\r\nExpires: 100\r\n");
    let id = world.subscriptions[0].id;
    let body = |text: &'static str| Some(crate::ports::Document::new("application/pidf+xml", text));
    world.sent.clear();
    for text in ["first", "second", "third"] {
        world.core.notify(id, SubscriptionState::Active, body(text), world.now);
        world.drain();
    }
    assert_eq!(methods(&world.sent, &Method::NOTIFY), 1);
    let (flow, first) = world.last_request();
    assert_eq!(first.headers.get("Event"), Some("presence;id=7"));
    assert_eq!(first.headers.get("Subscription-State"), Some("active;expires=100"));
    world.receive(answer(&first, 200, "p", ""), flow);
    // Five seconds lie between two changes of presence (RFC 3856 section 6.10).
    world.pass(4.9);
    assert_eq!(methods(&world.sent, &Method::NOTIFY), 1);
    world.pass(0.2);
    let (_, next) = world.last_request();
    assert_eq!((&first.body[..], &next.body[..]), (&b"first"[..], &b"third"[..]));
    world.receive(answer(&next, 200, "p", ""), flow);
    // Nobody refreshes: it ends by itself, and says so.
    world.pass(101.0);
    let (flow, last) = world.last_request();
    assert_eq!(last.headers.get("Subscription-State"), Some("terminated;reason=timeout"));
    assert_eq!(world.ended, [(id, SubscriptionEnd::Expired)]);
    world.receive(answer(&last, 200, "p", ""), flow);
    world.pass(40.0);
    assert!(world.is_empty());
}

#[test]
fn a_watcher_refreshes_leaves_looks_once_or_is_gone() {
    let mut world = World::new();
    let (request, ok) = watch(&mut world, "Event: presence\r\n");
    let id = world.subscriptions[0].id;
    let fields = format!("{CONTACT}Event: presence\r\nExpires: 600\r\n");
    let refresh = inside(&mut world, &request, &ok, "SUBSCRIBE", &fields, "");
    world.receive(refresh, udp(5060));
    assert_eq!(world.last_response().headers.get("Expires"), Some("600"));
    assert!(!world.subscriptions[1].initial);
    let leave =
        inside(&mut world, &request, &ok, "SUBSCRIBE", "Event: presence\r\nExpires: 0\r\n", "");
    world.receive(leave, udp(5060));
    assert_eq!(world.last_response().headers.get("Expires"), Some("0"));
    let closed = crate::ports::Document::new("application/pidf+xml", "closed");
    world.core.notify(id, SubscriptionState::Active, Some(closed), world.now);
    world.drain();
    assert_eq!(world.last_request().1.body, "closed");
    assert_eq!(world.ended, [(id, SubscriptionEnd::Unsubscribed)]);
    assert_eq!(
        world.last_request().1.headers.get("Subscription-State"),
        Some("terminated;reason=timeout")
    );
    let late = inside(&mut world, &request, &ok, "SUBSCRIBE", "Event: presence\r\n", "");
    world.receive(late, udp(5060));
    assert_eq!(world.last_response().status, 481);
    // A look: one NOTIFY with the state, which ends it.
    watch(&mut world, "Event: presence\r\nExpires: 0\r\n");
    let look = world.subscriptions.last().unwrap().id;
    world.core.notify(look, SubscriptionState::Active, None, world.now);
    world.drain();
    assert_eq!(
        world.last_request().1.headers.get("Subscription-State"),
        Some("terminated;reason=timeout")
    );
    // A watcher that does not know its subscription any more.
    watch(&mut world, "Event: presence\r\n");
    let gone = world.subscriptions.last().unwrap().id;
    world.core.notify(gone, SubscriptionState::Pending, None, world.now);
    world.drain();
    let (flow, notify) = world.last_request();
    world.receive(answer(&notify, 481, "p", ""), flow);
    assert_eq!(world.ended.last(), Some(&(gone, SubscriptionEnd::NotifyFailed)));
    world.pass(40.0);
    assert!(world.is_empty());
}

#[test]
fn requests_that_lead_nowhere_are_told_so() {
    let table = [
        ("OPTIONS", "sip:example.org", "", 200),
        ("BYE", "sip:server@192.0.2.1", "", 481),
        ("INFO", "sip:server@192.0.2.1", "", 481),
        ("CANCEL", "sip:carl@example.org", "", 481),
        ("PUBLISH", "sip:ana@example.org", "", 401),
        ("NOTIFY", "sip:ana@example.org", "", 481),
        ("REFER", "sip:ana@example.org", "", 405),
        ("NEWMETHOD", "sip:ana@example.org", "", 501),
        ("OPTIONS", "sip:example.org", "Require: nothingSupportsThis\r\n", 420),
        (
            "INVITE",
            "sip:carl@example.org",
            "Require: precondition\r\nContact: <sip:a@192.0.2.7>\r\n",
            420,
        ),
        ("OPTIONS", "nobodyKnowsThisScheme:x", "", 416),
        ("INVITE", "sip:carl@example.org", "Contact: <sip:a@192.0.2.7>\r\n", 401),
        ("MESSAGE", "sip:carl@example.org", "", 401),
        ("SUBSCRIBE", "sip:carl@example.org", "Event: presence\r\n", 401),
    ];
    for (method, target, fields, status) in table {
        let mut world = World::new();
        let request = world.request(method, target, "ana", fields, "");
        world.receive(Message::Request(request), udp(5060));
        assert_eq!(world.last_response().status, status, "{method} {target} {fields}");
    }
    // zeromf of RFC 4475: an endpoint processes it, but we would have to pass a call on.
    for (method, status) in [("OPTIONS", 200), ("INVITE", 483), ("MESSAGE", 483)] {
        let mut world = World::new();
        let mut request = world.request(method, "sip:carl@example.org", "ana", CONTACT, "");
        request.headers.set("Max-Forwards", "0");
        world.receive(Message::Request(request), udp(5060));
        assert_eq!(world.last_response().status, status, "{method}");
    }
    // regaut01: a scheme that nobody knows is no answer.
    let mut world = World::new();
    let fields = format!("{CONTACT}Authorization: NoOneKnowsThisScheme opaque-data=here\r\n");
    let request = world.request("REGISTER", "sip:example.org", "ana", &fields, "");
    world.receive(Message::Request(request), udp(5060));
    assert_eq!(world.last_response().status, 401);
}
