//! RFC 3680, RFC 5628: an account watches where it is registered.

use super::*;

const WATCH: &str = "Contact: <sip:ana@192.0.2.7:5060>\r\nEvent: reg\r\nExpires: 3600\r\n";

impl World {
    /// The body of the last NOTIFY, which is answered.
    fn reginfo(&mut self) -> String {
        let (flow, notify) = self.last_request();
        assert_eq!(notify.method.as_str(), "NOTIFY");
        assert_eq!(notify.headers.get("Event"), Some("reg"));
        assert_eq!(notify.headers.get("Content-Type"), Some("application/reginfo+xml"));
        self.receive(answer(&notify, 200, "p", ""), flow);
        String::from_utf8(notify.body.to_vec()).unwrap()
    }
}

#[test]
fn an_account_hears_of_every_change_of_its_registrations() {
    let mut world = World::new();
    world.ask("SUBSCRIBE", "sip:ana@example.org", "ana", WATCH, "", udp(5060));
    assert_eq!(world.last_response().status, 200);
    let first = world.reginfo();
    for part in ["version=\"0\"", "state=\"full\"", "aor=\"sip:ana@example.org\"", "state=\"init\""]
    {
        assert!(first.contains(part), "{part}: {first}");
    }
    world.pass(6.0);
    let phone = "Supported: gruu\r\nContact: <sip:ana@192.0.2.7:6001>;q=0.5;expires=60;+sip.instance=\"<urn:uuid:1>\"\r\n";
    world.register("ana", phone, udp(6001));
    let second = world.reginfo();
    let gruu = format!("sip:ana@example.org;gr={}", world.binding("ana").id);
    for part in [
        "version=\"1\"",
        "state=\"active\" event=\"registered\" expires=\"60\"",
        "q=\"0.500\"",
        "<uri>sip:ana@192.0.2.7:6001</uri>",
        "&quot;&lt;urn:uuid:1&gt;&quot;",
        &format!("<gr:pub-gruu uri=\"{gruu}\"/>"),
    ] {
        assert!(second.contains(part), "{part}: {second}");
    }
    world.pass(6.0);
    world.register("ana", phone, udp(6001));
    assert!(world.reginfo().contains("event=\"refreshed\""));
    world.pass(61.0);
    let gone = world.reginfo();
    assert!(
        gone.contains("id=\"") && gone.contains("state=\"terminated\" event=\"expired\""),
        "{gone}"
    );
    world.register("ana", phone, udp(6001));
    world.pass(6.0);
    world.reginfo();
    world.register("ana", "Contact: *\r\nExpires: 0\r\n", udp(6001));
    world.pass(6.0);
    assert!(world.reginfo().contains("event=\"unregistered\""));
    // When nobody watches any more nothing is left of it.
    world.pass(4_000.0);
    world.register("ana", phone, udp(6001));
    assert!(world.core.reg_watches.is_empty() && world.core.watches.is_empty());
}

#[test]
fn changes_that_come_together_are_told_together() {
    let mut world = World::new();
    world.ask("SUBSCRIBE", "sip:ana@example.org", "ana", WATCH, "", udp(5060));
    world.reginfo();
    world.sent.clear();
    for port in 6001..6004 {
        let contact = format!("Contact: <sip:ana@192.0.2.7:{port}>\r\n");
        world.register("ana", &contact, udp(port));
    }
    assert_eq!(methods(&world.sent, &Method::NOTIFY), 0);
    world.pass(5.1);
    assert_eq!(methods(&world.sent, &Method::NOTIFY), 1);
    assert_eq!(world.reginfo().matches("<contact ").count(), 3);
}

#[test]
fn nobody_else_hears_of_them() {
    let mut world = World::new();
    let fields = WATCH.replace("ana", "carl");
    world.ask("SUBSCRIBE", "sip:ana@example.org", "carl", &fields, "", udp(5062));
    assert_eq!(world.last_response().status, 403);
    assert!(world.subscriptions.is_empty() && world.core.reg_watches.is_empty());
    world.pass(40.0);
    assert!(world.is_empty());
}

#[test]
fn one_look_is_answered_once() {
    let mut world = World::new();
    world.register("ana", "Contact: <sip:ana@192.0.2.7:6001>\r\n", udp(6001));
    let fields = WATCH.replace("3600", "0");
    world.ask("SUBSCRIBE", "sip:ana@example.org", "ana", &fields, "", udp(5060));
    let (_, notify) = world.last_request();
    assert!(notify.headers.get("Subscription-State").unwrap().starts_with("terminated"));
    assert!(world.reginfo().contains("sip:ana@192.0.2.7:6001"));
    world.pass(40.0);
    assert!(world.is_empty());
}
