//! RFC 8599: phones that sleep are woken before they are called.

use super::calls::{call_to, events};
use super::*;
use crate::ports::Target;

const PHONE: &str =
    "Contact: <sip:ana@192.0.2.7:5060;pn-provider=acme;pn-prid=ana%3A1;pn-param=app>";

fn world() -> World {
    World::with(
        Config { push_services: vec!["acme".into(), "webpush".into()], ..config() },
        Vec::new(),
    )
}

fn push() -> Push {
    Push { provider: "acme".into(), device: "ana:1".into(), param: Some("app".into()) }
}

fn caps(world: &World) -> Vec<String> {
    let fields = world.last_response().headers.get_all("Feature-Caps");
    fields.map(str::to_owned).collect()
}

fn ring(world: &mut World, binding: Binding) -> LegId {
    world.serial += 1;
    let leg = LegId(u64::from(world.serial) * 2 + 1);
    let call = call_to(Target::Binding(Arc::new(binding)));
    world.core.invite(leg, call, world.now);
    world.drain();
    leg
}

#[test]
fn a_phone_is_told_which_push_services_there_are() {
    let mut world = world();
    assert_eq!(world.register("ana", &format!("{PHONE}\r\n"), udp(5060)), 200);
    assert_eq!(caps(&world), ["*;+sip.pns=\"acme\""]);
    let contact = world.last_response().headers.get("Contact").unwrap().to_owned();
    assert!(contact.contains("pn-prid=ana%3A1") && contact.contains("pn-param=app"), "{contact}");
    // It wakes itself, and learns how early.
    assert_eq!(world.register("ana", &format!("{PHONE};+sip.pnsreg\r\n"), udp(5060)), 200);
    assert_eq!(caps(&world), ["*;+sip.pns=\"acme\";+sip.pnsreg=\"130\""]);
    // A phone may ask what there is.
    let asks = "Contact: <sip:ana@192.0.2.7:5070;pn-provider>\r\n";
    assert_eq!(world.register("ana", asks, udp(5070)), 200);
    assert_eq!(caps(&world), ["*;+sip.pns=\"acme\"", "*;+sip.pns=\"webpush\""]);
    let silent = "Contact: <sip:ana@192.0.2.7:5080>\r\n";
    assert_eq!(world.register("ana", silent, udp(5080)), 200);
    assert!(caps(&world).is_empty());
}

#[test]
fn an_unknown_push_service_is_a_555_unless_there_are_none_at_all() {
    let other = "Contact: <sip:ana@192.0.2.7:5060;pn-provider=other;pn-prid=1>\r\n";
    let mut served = world();
    assert_eq!(served.register("ana", other, udp(5060)), 555);
    assert_eq!(served.last_response().reason, "Push Notification Service Not Supported");
    assert_eq!(caps(&served), ["*;+sip.pns=\"acme\", *;+sip.pns=\"webpush\""]);
    assert!(served.core.bindings("ana@example.org").is_empty());
    let mut without = World::new();
    assert_eq!(without.register("ana", other, udp(5060)), 200);
    assert!(caps(&without).is_empty());
}

#[test]
fn a_call_waits_until_the_phone_that_was_woken_has_registered() {
    let mut world = world();
    world.register("ana", &format!("{PHONE}\r\n"), udp(5060));
    world.pass(60.0);
    world.sent.clear();
    let binding = world.binding("ana");
    let leg = ring(&mut world, binding);
    assert_eq!(world.pushes, [push()]);
    assert_eq!(methods(&world.sent, &Method::INVITE), 0);
    assert_eq!(events(&mut world), ["Progress 180"]);
    world.pass(15.0);
    assert_eq!(methods(&world.sent, &Method::INVITE), 0);
    // It comes from another address; the device at the push service is the same.
    let moved = PHONE.replace("5060", "6060");
    assert_eq!(world.register("ana", &format!("{moved}\r\n"), udp(6060)), 200);
    let (flow, invite) = world.last_request();
    assert_eq!((invite.method.clone(), flow.peer.port()), (Method::INVITE, 6060));
    assert_eq!(world.core.bindings("ana@example.org").len(), 1, "it is one phone");
    world.receive(answer(&invite, 200, "p", SDP), udp(6060));
    assert_eq!(events(&mut world), ["Answered"]);
    world.core.hang_up(leg, None, world.now);
    world.drain();
}

#[test]
fn a_phone_whose_registration_has_ended_is_woken_too_also_after_a_restart() {
    let mut before = world();
    before.register("ana", &format!("{PHONE};expires=60\r\n"), udp(5060));
    before.pass(62.0);
    assert!(before.core.bindings("ana@example.org").is_empty());
    let kept = &before.saves.last().unwrap().2;
    assert_eq!(kept.len(), 1);
    // The world that comes next begins when this one did.
    let kept = Binding { expires_at: kept[0].expires_at - 3600, ..Binding::clone(&kept[0]) };
    // The same, and one that was kept for too long.
    let old = Binding { id: "old".into(), expires_at: 1_700_000_000, ..kept.clone() };
    let mut config = before.core.config.clone();
    let mut world = World::with(config.clone(), vec![kept.clone(), old]);
    let asleep: Vec<&str> = world.asleep.iter().map(|binding| binding.id.as_str()).collect();
    assert_eq!(asleep, [kept.id.as_str()]);
    let binding = Binding::clone(&world.asleep[0]);
    ring(&mut world, binding);
    assert_eq!(world.pushes, [push()]);
    assert_eq!(world.register("ana", &format!("{PHONE}\r\n"), udp(5060)), 200);
    assert_eq!(world.last_request().1.method, Method::INVITE);
    assert!(world.asleep.is_empty());
    assert_eq!(world.saves.last().unwrap().2.len(), 1);
    // Without a service to wake it, nothing is remembered.
    config.push_services.clear();
    let without = World::with(config, vec![kept]);
    assert!(without.asleep.is_empty());
}

#[test]
fn a_phone_that_took_its_leave_is_not_woken() {
    let mut world = world();
    world.register("ana", &format!("{PHONE};expires=60\r\n"), udp(5060));
    world.pass(62.0);
    assert_eq!(world.asleep.len(), 1);
    assert_eq!(world.register("ana", &format!("{PHONE};expires=0\r\n"), udp(5060)), 200);
    assert!(world.asleep.is_empty());
    assert!(world.saves.last().unwrap().2.is_empty());
    world.register("ana", &format!("{PHONE};expires=60\r\n"), udp(5060));
    world.pass(62.0);
    assert_eq!(world.asleep.len(), 1);
    assert_eq!(world.register("ana", "Contact: *\r\nExpires: 0\r\n", udp(5060)), 200);
    assert!(world.asleep.is_empty());
}

#[test]
fn who_does_not_wake_up_is_not_waited_for_for_ever() {
    let mut world = world();
    world.register("ana", &format!("{PHONE};expires=60\r\n"), udp(5060));
    world.pass(62.0);
    world.sent.clear();
    let binding = Binding::clone(&world.asleep[0]);
    ring(&mut world, binding.clone());
    // A second call to the same phone needs no push of its own.
    ring(&mut world, binding.clone());
    assert_eq!(world.pushes.len(), 1);
    assert_eq!(events(&mut world), ["Progress 180", "Progress 180"]);
    world.pass(21.0);
    assert_eq!(events(&mut world), ["Failed 480", "Failed 480"]);
    assert!(world.is_empty());
    // Given up meanwhile.
    let leg = ring(&mut world, binding.clone());
    world.core.hang_up(leg, None, world.now);
    world.drain();
    assert_eq!(events(&mut world), ["Progress 180", "Failed 487"]);
    world.register("ana", &format!("{PHONE}\r\n"), udp(5060));
    assert_eq!(methods(&world.sent, &Method::INVITE), 0);
    assert!(world.core.waking.is_empty());
}

#[test]
fn a_phone_is_woken_before_its_registration_ends_unless_it_wakes_itself() {
    let mut world = world();
    world.register("ana", &format!("{PHONE};expires=600\r\n"), udp(5060));
    world.pass(478.0);
    assert!(world.pushes.is_empty());
    world.pass(5.0);
    assert_eq!(world.pushes, [push()]);
    // It comes, and is left in peace until the next time.
    world.register("ana", &format!("{PHONE};expires=600\r\n"), udp(5060));
    world.pass(470.0);
    assert_eq!(world.pushes.len(), 1);
    world.pass(200.0);
    assert_eq!(world.pushes.len(), 2);
    assert!(world.core.bindings("ana@example.org").is_empty(), "it did not come");
    // One that wakes itself is not woken, and a short time is no reason to.
    for contact in
        [format!("{PHONE};+sip.pnsreg;expires=600\r\n"), format!("{PHONE};expires=200\r\n")]
    {
        let mut world = self::world();
        world.register("ana", &contact, udp(5060));
        world.pass(700.0);
        assert!(world.pushes.is_empty(), "{contact}");
        assert_eq!(world.asleep.len(), 1);
    }
}

#[test]
fn what_waits_wakes_a_phone_once_in_a_while() {
    let mut world = world();
    world.register("ana", &format!("{PHONE};expires=60\r\n"), udp(5060));
    let awake = Arc::new(world.binding("ana"));
    world.core.nudge(&awake, world.now);
    world.drain();
    assert!(world.pushes.is_empty());
    world.pass(62.0);
    let phone = world.asleep[0].clone();
    for (seconds, pushes) in [(0.0, 1), (30.0, 1), (31.0, 2)] {
        world.pass(seconds);
        world.core.nudge(&phone, world.now);
        world.drain();
        assert_eq!(world.pushes.len(), pushes);
    }
    // A call that waits for it has asked already.
    world.pass(61.0);
    ring(&mut world, Binding::clone(&phone));
    world.core.nudge(&phone, world.now);
    world.drain();
    assert_eq!(world.pushes.len(), 3);
}

#[test]
fn a_push_that_nobody_takes_ends_the_call_of_a_phone_that_is_gone_and_tries_one_that_is_not() {
    let mut world = world();
    world.takes_pushes = false;
    world.register("ana", &format!("{PHONE};expires=90\r\n"), udp(5060));
    world.pass(60.0);
    world.sent.clear();
    let binding = world.binding("ana");
    ring(&mut world, binding);
    let (flow, invite) = world.last_request();
    assert_eq!(invite.method, Method::INVITE);
    world.receive(answer(&invite, 486, "p", ""), flow);
    assert_eq!(events(&mut world), ["Failed 486"]);
    world.pass(62.0);
    let binding = Binding::clone(&world.asleep[0]);
    ring(&mut world, binding);
    assert_eq!(events(&mut world), ["Failed 480"]);
}

#[test]
fn a_phone_whose_connection_is_open_or_that_has_just_registered_is_called_at_once() {
    let mut world = world();
    world.register("ana", &format!("{PHONE}\r\n"), udp(5060));
    let binding = world.binding("ana");
    ring(&mut world, binding);
    assert_eq!(world.last_request().1.method, Method::INVITE);
    let tcp = flow(Protocol::Tcp, 1001, 6001);
    world.core.stream_opened(tcp);
    let contact =
        PHONE.replace("5060", "6001").replace(";pn-provider", ";transport=tcp;pn-provider");
    assert_eq!(world.register("ana", &format!("{contact}\r\n"), tcp), 200);
    world.pass(60.0);
    let binding = world.binding("ana");
    ring(&mut world, binding.clone());
    assert_eq!(world.last_request().0, tcp);
    assert!(world.pushes.is_empty());
    // The connection is gone: it is woken, and no other is opened to where it was.
    world.core.stream_closed(tcp.socket, world.now);
    world.drain();
    ring(&mut world, binding);
    assert_eq!(world.pushes, [push()]);
    assert!(world.connects.is_empty());
}
