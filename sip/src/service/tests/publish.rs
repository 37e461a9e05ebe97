//! RFC 3903: entity-tags, times, and what is refused.

use super::*;

const FIRST: &str = "Event: presence\r\nContent-Type: application/pidf+xml\r\n";
/// Fields, body, status, and a field of the answer.
type Refused = (&'static str, &'static str, u16, Option<(&'static str, &'static str)>);

const BODY: &str = "<presence/>";

/// A PUBLISH of Ana; gives its status and entity-tag.
fn publish(world: &mut World, fields: &str, body: &str) -> (u16, Option<String>) {
    world.ask("PUBLISH", "sip:ana@example.org", "ana", fields, body, udp(5060));
    let response = world.last_response();
    (response.status, response.headers.get("SIP-ETag").map(str::to_owned))
}

fn again(tag: &str, more: &str) -> String {
    format!("Event: presence\r\nSIP-If-Match: {tag}\r\n{more}")
}

#[test]
fn a_state_is_made_renewed_changed_and_removed_each_time_under_a_fresh_tag() {
    let mut world = World::new();
    world.register("ana", "Contact: <sip:ana@192.0.2.7:5060>\r\n", udp(5060));
    let (status, first) = publish(&mut world, &format!("{FIRST}Expires: 600\r\n"), BODY);
    let first = first.unwrap();
    assert_eq!((status, world.last_response().headers.get("Expires")), (200, Some("600")));
    let id = world.publications[0].id;
    assert_eq!(world.publications[0].device, Some(world.binding("ana").id));
    world.pass(500.0);
    // A refresh has no body and leaves the state as it is (section 4.3).
    let (status, second) = publish(&mut world, &again(&first, "Expires: 600\r\n"), "");
    let second = second.unwrap();
    assert_eq!((status, world.publications.len()), (200, 1));
    assert_ne!(first, second);
    assert_eq!(publish(&mut world, &again(&first, ""), "").0, 412, "the old tag names nothing");
    world.pass(500.0);
    assert!(world.unpublished.is_empty(), "it was refreshed");
    let change = "Content-Type: application/pidf+xml\r\n";
    let (status, third) = publish(&mut world, &again(&second, change), "<presence a='b'/>");
    let third = third.unwrap();
    assert_eq!((status, world.publications[1].id), (200, id));
    assert_eq!(world.last_response().headers.get("Expires"), Some("3600"), "the default");
    let (status, last) = publish(&mut world, &again(&third, "Expires: 0\r\n"), "");
    assert_eq!((status, world.unpublished.clone()), (200, vec![id]));
    assert!(last.is_some_and(|last| last != third));
    assert_eq!(publish(&mut world, &again(&third, ""), "").0, 412);
    world.pass(4_000.0);
    assert!(world.unpublished.len() == 1 && world.core.publications.is_empty());
}

#[test]
fn what_is_not_renewed_is_over_and_each_phone_has_its_own() {
    let mut world = World::new();
    let (_, one) = publish(&mut world, &format!("{FIRST}Expires: 100\r\n"), BODY);
    let (_, other) = publish(&mut world, &format!("{FIRST}Expires: 200\r\n"), BODY);
    assert_ne!(one, other);
    assert_ne!(world.publications[0].id, world.publications[1].id);
    assert_eq!(world.publications[0].device, None, "it is not registered");
    world.pass(101.0);
    assert_eq!(world.unpublished, [world.publications[0].id]);
    world.pass(100.0);
    assert_eq!(world.unpublished, [world.publications[0].id, world.publications[1].id]);
    world.pass(40.0);
    assert!(world.is_empty());
}

/// Section 6, steps 1 to 5.
#[test]
fn what_cannot_be_published_is_refused() {
    let table: [Refused; 10] = [
        ("", BODY, 489, Some(("Allow-Events", "presence"))),
        ("Event: dialog\r\n", BODY, 489, Some(("Allow-Events", "presence"))),
        ("Event: presence\r\nSIP-If-Match: nobody\r\n", BODY, 412, None),
        ("Event: presence\r\nSIP-If-Match: a, b\r\n", BODY, 400, None),
        ("Event: presence\r\nSIP-If-Match: a\r\nSIP-If-Match: b\r\n", BODY, 400, None),
        ("Event: presence\r\n", "", 400, None),
        ("Event: presence\r\nExpires: 59\r\n", BODY, 423, Some(("Min-Expires", "60"))),
        ("Event: presence\r\n", BODY, 415, Some(("Accept", "application/pidf+xml"))),
        // RFC 5263: parts of a state are not taken.
        (
            "Event: presence\r\nContent-Type: application/pidf-diff+xml\r\n",
            BODY,
            415,
            Some(("Accept", "application/pidf+xml")),
        ),
        ("Event: presence\r\nContent-Type: text/plain\r\n", "hi", 415, None),
    ];
    for (fields, body, status, header) in table {
        let mut world = World::new();
        assert_eq!(publish(&mut world, fields, body), (status, None), "{fields}");
        if let Some((name, value)) = header {
            assert_eq!(world.last_response().headers.get(name), Some(value), "{fields}");
        }
        assert!(world.publications.is_empty());
        world.pass(40.0);
        assert!(world.is_empty(), "{fields}");
    }
    for (target, status) in [("sip:ana@elsewhere.example", 404), ("sip:carl@example.org", 403)] {
        let mut world = World::new();
        world.ask("PUBLISH", target, "ana", FIRST, BODY, udp(5060));
        assert_eq!(world.last_response().status, status);
    }
}

#[test]
fn a_state_that_cannot_be_read_changes_nothing() {
    let mut world = World::new();
    let (_, tag) = publish(&mut world, &format!("{FIRST}Expires: 100\r\n"), BODY);
    world.consent = Err(400);
    let change = "Content-Type: application/pidf+xml\r\n";
    let tag = tag.unwrap();
    assert_eq!(publish(&mut world, &again(&tag, change), "<"), (400, None));
    assert_eq!(publish(&mut world, &again(&tag, ""), "").0, 200, "the tag still names it");
    // A removal needs no reading, and a first state that lasts no time is none.
    assert_eq!(publish(&mut world, &format!("{FIRST}Expires: 0\r\n"), BODY).0, 200);
    assert!(world.unpublished.is_empty());
}

#[test]
fn an_account_may_not_publish_without_end_and_contacts_do_not_matter() {
    let mut world = World::new();
    for _ in 0..20 {
        let fields = format!("{FIRST}Contact: *\r\nRecord-Route: <sip:p.example.net;lr>\r\n");
        assert_eq!(publish(&mut world, &fields, BODY).0, 200);
        assert!(!world.last_response().headers.has("Record-Route"));
        world.sent.clear();
    }
    assert_eq!(publish(&mut world, FIRST, BODY).0, 503);
    assert!(world.last_response().headers.has("Retry-After"));
    assert_eq!(world.publications.len(), 20);
}

/// Section 6: in order, each whole.
#[test]
fn one_publish_of_an_account_is_in_work_at_a_time() {
    let mut world = World::new();
    let (_, tag) = publish(&mut world, FIRST, BODY);
    world.sent.clear();
    world.held_states = Some(Vec::new());
    let tag = tag.unwrap();
    let change = "Content-Type: application/pidf+xml\r\n";
    for fields in [again(&tag, change), again(&tag, "")] {
        world.ask(
            "PUBLISH",
            "sip:ana@example.org",
            "ana",
            &fields,
            if fields.contains("Type") { BODY } else { "" },
            udp(5060),
        );
    }
    assert_eq!(world.said(), ["401", "401"], "both wait");
    for job in world.held_states.take().unwrap() {
        world.core.job_done(job, JobResult::Publish(Ok(())), world.now);
        world.drain();
    }
    assert_eq!(world.said(), ["200", "412"], "the second finds what the first has made");
}
