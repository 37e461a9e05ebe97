//! What lasts (RFC 3261 section 10, RFC 6665 section 4.2): bindings and subscriptions that are refreshed for weeks, stores
//! that fail meanwhile, and what was loaded at the start.

use super::requests::watch;
use super::*;

const CONTACT: &str = "Contact: <sip:ana@192.0.2.7:5060>\r\n";

#[test]
fn a_week_of_refreshes_leaves_no_pile_of_timers() {
    let mut world = World::new();
    for _ in 0..200 {
        world.register("ana", CONTACT, udp(5060));
        world.sent.clear();
        world.pass(1_800.0);
    }
    assert!(world.core.timers.count() < 10, "{} timers", world.core.timers.count());
    assert_eq!(world.core.bindings("ana@example.org").len(), 1);
}

#[test]
fn a_week_of_renewed_watching_leaves_no_pile_of_timers() {
    let mut world = World::new();
    let (request, ok) = watch(&mut world, "Event: presence\r\nExpires: 3600\r\n");
    for _ in 0..200 {
        let fields = format!("{CONTACT}Event: presence\r\nExpires: 3600\r\n");
        let again = inside(&mut world, &request, &ok, "SUBSCRIBE", &fields, "");
        world.receive(again, udp(5060));
        assert_eq!(world.last_response().status, 200);
        world.sent.clear();
        world.pass(1_800.0);
    }
    assert!(world.core.timers.count() < 10, "{} timers", world.core.timers.count());
    world.pass(3_700.0);
    assert_eq!(world.ended.len(), 1);
}

#[test]
fn a_phone_expires_also_when_the_store_failed_at_that_moment() {
    let mut world = World::new();
    world.register("ana", &format!("{CONTACT}Expires: 60\r\n"), udp(5060));
    world.holds_saves = true;
    world.saves.clear();
    world.pass(59.0);
    world.ask(
        "REGISTER",
        "sip:example.org",
        "ana",
        &format!("{CONTACT}Expires: 60\r\n"),
        "",
        udp(5060),
    );
    world.pass(5.0);
    world.save(Err(StoreError::Conflict));
    world.holds_saves = false;
    world.pass(5.0);
    assert!(world.core.bindings("ana@example.org").is_empty());
}

#[test]
fn a_look_that_nobody_answers_does_not_last() {
    let mut world = World::new();
    watch(&mut world, "Event: presence\r\nExpires: 0\r\n");
    world.pass(100.0);
    assert!(world.is_empty());
    assert_eq!(world.ended.len(), 1);
}

#[test]
fn a_subscription_that_ended_while_its_refresh_was_judged_is_gone() {
    let mut world = World::new();
    let (request, ok) = watch(&mut world, "Event: presence\r\n");
    let id = world.subscriptions[0].id;
    let again = inside(&mut world, &request, &ok, "SUBSCRIBE", "Event: presence\r\n", "");
    world.core.handle_message(again, udp(5060), world.now);
    let Some(Output::Job(job, _)) = world.core.poll_output() else { panic!("no job") };
    world.core.notify(
        id,
        crate::ports::SubscriptionState::Terminated("rejected".into()),
        None,
        world.now,
    );
    world.core.job_done(job, JobResult::Subscribe(Ok(())), world.now);
    world.drain();
    assert_eq!(world.last_response().status, 481);
}

#[test]
fn a_name_with_escapes_is_escaped_once() {
    let mut world = World::new();
    let fields = format!("{CONTACT}Event: presence\r\n");
    world.ask("SUBSCRIBE", "sip:o%40b@example.org", "ana", &fields, "", udp(5060));
    let contact = world.last_response().headers.get("Contact").unwrap().to_owned();
    assert!(contact.starts_with("<sip:o%40b@"), "{contact}");
}

#[test]
fn a_watcher_may_not_collect_subscriptions_without_end() {
    let mut world = World::new();
    for _ in 0..super::super::notifier::MAX_WATCHES {
        assert_eq!(watch(&mut world, "Event: presence\r\n").1.status, 200);
        world.sent.clear();
    }
    let (_, response) = watch(&mut world, "Event: presence\r\n");
    assert_eq!((response.status, response.headers.get("Retry-After").is_some()), (480, true));
    world.pass(4_000.0);
    assert!(world.is_empty());
    assert_eq!(watch(&mut world, "Event: presence\r\n").1.status, 200);
}

/// Section 10.3 step 7, and phones that learn an instance id by an update.
#[test]
fn one_phone_stays_one_binding() {
    let table = [
        ("the same contact twice", vec![format!("{CONTACT}{CONTACT}")]),
        (
            "an instance id later",
            vec![
                CONTACT.to_owned(),
                "Contact: <sip:ana@192.0.2.7:5060>;+sip.instance=\"<urn:uuid:1>\"\r\n".to_owned(),
            ],
        ),
        (
            "another port, the same instance",
            vec![
                "Contact: <sip:ana@192.0.2.7:1>;+sip.instance=\"<urn:uuid:1>\"\r\n".to_owned(),
                "Contact: <sip:ana@192.0.2.7:2>;+sip.instance=\"<urn:uuid:1>\"\r\n".to_owned(),
            ],
        ),
    ];
    for (name, steps) in table {
        let mut world = World::new();
        for fields in steps {
            assert_eq!(world.register("ana", &fields, udp(5060)), 200, "{name}");
        }
        assert_eq!(world.core.bindings("ana@example.org").len(), 1, "{name}");
    }
}

#[test]
fn what_was_kept_is_loaded_but_for_what_ran_out_and_what_is_nonsense() {
    let mut world = World::new();
    world.register("ana", CONTACT, udp(5060));
    let kept = world.binding("ana");
    let forever = Binding { id: "f".into(), expires_at: u64::MAX, ..kept.clone() };
    let gone = Binding { id: "g".into(), expires_at: 5, ..kept.clone() };
    let mut world = World::with(config(), vec![kept.clone(), forever, gone]);
    let ids: Vec<&str> =
        world.core.bindings("ana@example.org").iter().map(|binding| binding.id.as_str()).collect();
    assert_eq!(ids, [kept.id.as_str(), "f"]);
    world.pass(8_000.0);
    assert!(world.core.bindings("ana@example.org").is_empty(), "no phone outlives the limit");
}

/// After a restart on another port the phone has to be told the port that is open now.
#[test]
fn a_loaded_binding_is_reached_from_the_listener_of_today() {
    let mut world = World::new();
    world.register("ana", CONTACT, udp(5060));
    let mut kept = world.binding("ana");
    kept.flow.local = ([192, 0, 2, 1], 5999).into();
    kept.flow.socket = 7;
    let mut world = World::with(config(), vec![kept]);
    let binding = world.binding("ana");
    world.core.send_message(Ticket(1), super::requests::message(&binding), world.now);
    world.drain();
    let (flow, request) = world.last_request();
    assert_eq!((flow.socket, flow.local.port()), (0, 5060));
    assert!(request.headers.get("Via").unwrap().contains("192.0.2.1:5060"));
}
