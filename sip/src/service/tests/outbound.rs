//! RFC 3327, RFC 5626 and RFC 5627: the ways to a phone, and its own addresses.

use super::*;

const EDGE: &str = "Path: <sip:192.0.2.50;transport=tcp;lr;ob>\r\n";
const KNOWS: &str = "Supported: path, outbound, gruu\r\n";

fn tcp(socket: u64, port: u16) -> Flow {
    flow(Protocol::Tcp, socket, port)
}

/// A Contact of the device `n` for a flow.
fn device(n: u32, reg_id: u32, port: u16) -> String {
    format!(
        "Contact: <sip:ana@192.0.2.7:{port};transport=tcp;ob>;reg-id={reg_id};+sip.instance=\"<urn:uuid:{n}>\"\r\n"
    )
}

impl World {
    fn open(&mut self, flow: Flow) {
        self.core.stream_opened(flow);
        self.drain();
    }

    fn close(&mut self, flow: Flow) {
        self.core.stream_closed(flow.socket, self.now);
        self.drain();
    }

    /// Registers the device `n` over a connection.
    fn flow(&mut self, n: u32, reg_id: u32, flow: Flow) -> u16 {
        self.open(flow);
        let fields = format!("{KNOWS}{}", device(n, reg_id, flow.peer.port()));
        self.register("ana", &fields, flow)
    }

    fn text(&mut self, ticket: u64, binding: &Binding) {
        let message = super::requests::message(binding);
        self.core.send_message(Ticket(ticket), message, self.now);
        self.drain();
    }

    /// The last request of ours is answered by whom it went to.
    fn phone_says(&mut self, status: u16) {
        let (flow, request) = self.last_request();
        self.receive(answer(&request, status, "p", ""), flow);
    }

    fn gruu(&self, name: &str) -> String {
        let contact: crate::msg::header::Contact = self.last_response().headers.typed().unwrap();
        contact.params.get_unquoted(name).unwrap()
    }
}

#[test]
fn each_flow_is_a_binding_and_one_registered_again_takes_the_place_of_itself() {
    let mut world = World::new();
    assert_eq!(world.flow(1, 1, tcp(1001, 6001)), 200);
    let answer = world.last_response();
    assert_eq!(answer.headers.get("Require"), Some("outbound"));
    assert_eq!(answer.headers.get("Flow-Timer"), Some("120"));
    let contact = answer.headers.get("Contact").unwrap();
    assert!(contact.contains(";ob>") && contact.contains(";reg-id=1"), "{contact}");
    assert_eq!(world.flow(1, 2, tcp(1002, 6002)), 200);
    assert_eq!(world.core.bindings("ana@example.org").len(), 2);
    assert_eq!(world.last_response().headers.get_all("Contact").count(), 2);
    // It comes back from another port: the flow is another one, the binding is not.
    assert_eq!(world.flow(1, 1, tcp(1003, 6003)), 200);
    let bindings = world.core.bindings("ana@example.org");
    let flows: Vec<u64> = bindings.iter().map(|binding| binding.flow.socket).collect();
    assert_eq!(flows, [1002, 1003]);
    assert_eq!(bindings[0].id, bindings[1].id, "it is one phone");
    assert_eq!(world.core.phones("ana@example.org").len(), 1);
    // The same number at another device is another flow.
    assert_eq!(world.flow(2, 1, tcp(1004, 6004)), 200);
    assert_eq!(world.core.bindings("ana@example.org").len(), 3);
    assert_eq!(world.core.phones("ana@example.org").len(), 2);
    // A phone that knows nothing of flows lives beside them.
    assert_eq!(world.register("ana", "Contact: <sip:ana@192.0.2.7:7000>\r\n", udp(7000)), 200);
    assert_eq!(world.core.bindings("ana@example.org").len(), 4);
    assert!(!world.last_response().headers.has("Require"));
}

#[test]
fn what_a_registrar_has_to_know_may_be_required() {
    for (tags, status) in [("path", 200), ("outbound, gruu", 200), ("path, moonlight", 420)] {
        let mut world = World::new();
        let fields = format!("Require: {tags}\r\n");
        let register = world.request("REGISTER", "sip:example.org", "ana", &fields, "");
        world.receive(Message::Request(register.clone()), udp(5060));
        if status == 200 {
            let signed = world.signed(register, "ana", "secret", Algorithm::Md5);
            world.receive(Message::Request(signed), udp(5060));
        }
        assert_eq!(world.last_response().status, status, "{tags}");
    }
}

#[test]
fn a_flow_without_a_device_or_behind_a_proxy_that_knows_none_is_no_flow() {
    let no_device = "Contact: <sip:ana@192.0.2.7:5060>;reg-id=1\r\n";
    let two = "Contact: <sip:a@192.0.2.7:1>;reg-id=1;+sip.instance=\"<urn:uuid:1>\", <sip:a@192.0.2.7:2>\r\n";
    let leaves = "Contact: <sip:a@192.0.2.7:1>;reg-id=1;+sip.instance=\"<urn:uuid:1>\", <sip:a@192.0.2.7:2>;expires=0\r\n";
    let proxy = "Path: <sip:192.0.2.50;lr>\r\n";
    let contact = device(1, 1, 6001);
    let plain = "Supported: path\r\n";
    let behind = |fields: String| (fields, true);
    let direct = |fields: String| (fields, false);
    let table = [
        (direct(format!("{KNOWS}{no_device}")), 200, None),
        (direct(format!("{KNOWS}{two}")), 400, None),
        (direct(format!("{KNOWS}{leaves}")), 200, Some(1)),
        (direct(format!("{plain}{contact}")), 200, Some(1)),
        (behind(format!("{KNOWS}{contact}")), 439, None),
        (behind(format!("{KNOWS}{proxy}{contact}")), 439, None),
        (behind(format!("{plain}{proxy}{contact}")), 200, None),
        (behind(format!("{KNOWS}{EDGE}{contact}")), 200, Some(1)),
    ];
    for ((fields, is_behind), status, reg_id) in table {
        let mut world = World::new();
        let via = "Via: SIP/2.0/UDP 192.0.2.99:5060;branch=z9hG4bKfirst\r\n";
        let fields = if is_behind { format!("{via}{fields}") } else { fields };
        assert_eq!(world.register("ana", &fields, udp(5060)), status, "{fields}");
        let require = world.last_response().headers.get("Require").map(str::to_owned);
        let bindings = world.core.bindings("ana@example.org");
        assert_eq!(bindings.first().and_then(|b| b.reg_id), reg_id, "{fields}");
        let says = fields.contains("outbound") && reg_id.is_some();
        assert_eq!(require.as_deref(), says.then_some("outbound"), "{fields}");
    }
}

#[test]
fn the_latest_open_flow_is_used_and_the_next_where_it_fails() {
    let mut world = World::new();
    let (one, two) = (tcp(1001, 6001), tcp(1002, 6002));
    world.flow(1, 1, one);
    world.flow(1, 2, two);
    let binding = world.binding("ana");
    world.text(1, &binding);
    assert_eq!(world.last_request().0, two);
    assert_eq!(methods(&world.sent, &Method::MESSAGE), 1, "one flow at a time");
    // What the edge proxy says of a flow that has gone.
    world.phone_says(430);
    assert_eq!(world.last_request().0, one);
    assert!(world.results.is_empty());
    world.phone_says(200);
    assert_eq!(world.results.pop().unwrap().1.status, 200);
    // Any other answer is the phone's own.
    world.text(2, &binding);
    world.sent.retain(|(flow, _)| *flow == two);
    world.phone_says(480);
    assert_eq!(world.results.pop().unwrap().1.status, 480);
    // A connection that closes takes its flow with it, also in the middle of a request.
    world.text(3, &binding);
    world.close(two);
    assert_eq!(world.last_request().0, one);
    world.phone_says(200);
    assert_eq!(world.results.pop().unwrap().1.status, 200);
    world.close(one);
    world.text(4, &binding);
    assert_eq!(world.results.pop().unwrap().1.status, 430);
    assert!(world.connects.is_empty(), "a flow is not replaced by a call back");
    assert_eq!(world.core.bindings("ana@example.org").len(), 2, "it will come back");
}

/// RFC 7118 section 5.5: nobody connects to a page.
#[test]
fn a_phone_whose_websocket_closes_is_registered_no_more() {
    let mut world = World::new();
    let (one, two) = (flow(Protocol::Wss, 1001, 6001), flow(Protocol::Wss, 1002, 6002));
    let page = |name: &str| format!("Contact: <sip:{name}@a1b2.invalid;transport=ws>\r\n");
    for (flow, name) in [(one, "one"), (two, "two")] {
        world.open(flow);
        assert_eq!(world.register("ana", &page(name), flow), 200);
    }
    world.register("ana", "Contact: <sip:ana@192.0.2.7:5060>\r\n", udp(5060));
    let lost = world.binding("ana");
    // A call that rings there ends, and the next does not begin.
    let call = super::calls::call(&world);
    world.core.invite(LegId(1), call.clone(), world.now);
    world.drain();
    assert_eq!(world.last_request().0, one);
    world.close(one);
    assert!(matches!(world.legs.last(), Some((LegId(1), LegEvent::Failed { .. }))));
    world.core.invite(LegId(3), call, world.now);
    world.drain();
    assert!(matches!(world.legs.last(), Some((LegId(3), LegEvent::Failed { status: 430, .. }))));
    let left: Vec<String> =
        world.core.bindings("ana@example.org").iter().map(|b| b.contact.clone()).collect();
    assert_eq!(left, ["sip:two@a1b2.invalid;transport=ws", "sip:ana@192.0.2.7:5060"]);
    assert_eq!(world.saves.last().unwrap().2.len(), 2, "it is kept no more");
    // One that closes while its REGISTER is being kept leaves after that.
    world.saves.clear();
    world.holds_saves = true;
    let three = flow(Protocol::Wss, 1003, 6003);
    world.open(three);
    world.register("ana", &page("three"), three);
    world.close(three);
    world.save(Ok(()));
    assert!(world.core.bindings("ana@example.org").iter().all(|b| b.flow.socket != 1003));
    world.save(Ok(()));
    // After a restart no socket is left.
    let world = World::with(config(), vec![lost]);
    assert!(world.core.bindings("ana@example.org").is_empty());
}

#[test]
fn a_call_takes_the_next_flow_too_until_the_phone_has_said_something() {
    let mut world = World::new();
    let (one, two) = (tcp(1001, 6001), tcp(1002, 6002));
    world.flow(1, 1, one);
    world.flow(1, 2, two);
    let call = super::calls::call(&world);
    world.core.invite(LegId(1), call.clone(), world.now);
    world.drain();
    let (flow, first) = world.last_request();
    assert_eq!((flow, first.method.as_str()), (two, "INVITE"));
    world.phone_says(430);
    // The ACK ends the first branch, the second is one of the same call.
    let again = world.sent.iter().rev().find_map(|(flow, message)| match message {
        Message::Request(request) if request.method == Method::INVITE => Some((*flow, request)),
        _ => None,
    });
    let (flow, again) = again.unwrap();
    assert_eq!(flow, one);
    assert_eq!(again.headers.call_id(), first.headers.call_id());
    assert_ne!(
        again.headers.top_via().unwrap().branch(),
        first.headers.top_via().unwrap().branch()
    );
    assert!(again.uri.to_string().contains(":6001"));
    let ok = answer(again, 200, "p", SDP);
    world.receive(ok, one);
    assert!(matches!(world.legs.last(), Some((LegId(1), LegEvent::Answered { .. }))));
    world.core.hang_up(LegId(1), None, world.now);
    world.drain();
    let (flow, bye) = world.last_request();
    assert_eq!((flow, bye.method.as_str()), (one, "BYE"), "a dialog stays on its flow");
    world.phone_says(200);
    // Busy is an answer.
    world.core.invite(LegId(3), call, world.now);
    world.drain();
    world.phone_says(486);
    assert!(matches!(world.legs.last(), Some((LegId(3), LegEvent::Failed { status: 486, .. }))));
}

#[test]
fn proxies_on_the_way_are_kept_told_and_taken_again() {
    let mut world = World::new();
    let path = "Path: <sip:192.0.2.50:5080;lr>, <sip:p1.example.net;lr>\r\n";
    let contact = "Contact: <sip:ana@10.0.0.7:5060>\r\n";
    let via = "Via: SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bKa\r\n";
    // A proxy that nobody asked for is pointed out.
    assert_eq!(world.register("ana", &format!("{via}{path}{contact}"), udp(5060)), 420);
    assert_eq!(world.last_response().headers.get("Unsupported"), Some("path"));
    let fields = format!("{via}{path}Supported: path\r\n{contact}");
    assert_eq!(world.register("ana", &fields, udp(5060)), 200);
    let told: Vec<_> = world.last_response().headers.get_all("Path").collect();
    assert_eq!(told, ["<sip:192.0.2.50:5080;lr>", "<sip:p1.example.net;lr>"]);
    // Also by what is kept.
    let mut world = World::with(config(), vec![world.binding("ana")]);
    let binding = world.binding("ana");
    world.text(1, &binding);
    let (flow, request) = world.last_request();
    let routes: Vec<_> = request.headers.get_all("Route").collect();
    assert_eq!(routes, ["<sip:192.0.2.50:5080;lr>", "<sip:p1.example.net;lr>"]);
    assert_eq!(request.uri.to_string(), "sip:ana@10.0.0.7:5060");
    assert_eq!(flow.peer, ([192, 0, 2, 50], 5080).into());
}

#[test]
fn a_contact_is_not_the_address_that_leads_to_it() {
    let mut world = World::new();
    world.register("ana", &format!("{KNOWS}{}", device(1, 1, 6001)), udp(5060));
    let (public, temporary) = (world.gruu("pub-gruu"), world.gruu("temp-gruu"));
    let instance = ";+sip.instance=\"<urn:uuid:9>\"";
    let loops = [
        "sip:ana@example.org",
        "sip:ANA@Example.Org.",
        "sip:ana@192.0.2.1:5060",
        &public,
        &temporary,
    ];
    for contact in loops {
        let fields = format!("Contact: <{contact}>{instance}\r\n");
        assert_eq!(world.register("ana", &fields, udp(5060)), 403, "{contact}");
    }
    let fields = format!("Contact: <tel:+4912345>{instance}\r\n");
    assert_eq!(world.register("ana", &fields, udp(5060)), 403);
    assert_eq!(world.core.bindings("ana@example.org").len(), 1);
    // A phone on this machine is no loop.
    let fields = format!("Contact: <sip:ana@192.0.2.1:5070>{instance}\r\n");
    assert_eq!(world.register("ana", &fields, udp(5060)), 200);
}

#[test]
fn a_device_gets_a_lasting_address_and_fresh_ones_that_tell_nothing() {
    let mut world = World::new();
    let fields =
        format!("{KNOWS}{}", device(1, 1, 6001).replace(">\"", ">\";pub-gruu=\"sip:x@y\""));
    world.register("ana", &fields, udp(5060));
    let id = world.binding("ana").id;
    let (public, one) = (world.gruu("pub-gruu"), world.gruu("temp-gruu"));
    assert_eq!(
        public,
        format!("sip:ana@example.org;gr={id}"),
        "what the phone suggests is nothing"
    );
    assert!(one.starts_with("sip:tgruu.") && one.ends_with("@example.org;gr"), "{one}");
    assert!(!one.contains("ana@") && !one.contains(&id));
    // Who knows nothing of such addresses is told none, and a phone without an id has none.
    world.register("ana", "Supported: path\r\n", udp(5060));
    assert!(!world.last_response().headers.get("Contact").unwrap().contains("gruu"));
    world.register("carl", &format!("{KNOWS}Contact: <sip:carl@192.0.2.7:5062>\r\n"), udp(5062));
    assert!(!world.last_response().headers.get("Contact").unwrap().contains("gruu"));
    // Both lead to the phone; the gateway hears of the public one only.
    for gruu in [&public, &one] {
        world.ask("MESSAGE", gruu, "carl", "", "hello", udp(5062));
        assert_eq!(world.last_response().status, 200, "{gruu}");
        assert_eq!(world.messages.pop().unwrap().to.to_string(), public);
    }
    // They outlive a restart.
    let mut world = World::with(config(), vec![world.binding("ana")]);
    world.ask("MESSAGE", &one, "carl", "", "hello", udp(5062));
    assert_eq!(world.messages.pop().unwrap().to.to_string(), public);
    // Another Call-ID ends what was given out before, an end of the registration all of it.
    world.register("ana", &format!("{KNOWS}{}", device(1, 1, 6001)), udp(5060));
    let two = world.gruu("temp-gruu");
    for (gruu, status) in [(&one, 404), (&two, 200), (&public, 200)] {
        world.ask("MESSAGE", gruu, "carl", "", "hello", udp(5062));
        assert_eq!(world.last_response().status, status, "{gruu}");
    }
    world.register("ana", "Contact: *\r\nExpires: 0\r\n", udp(5060));
    for (gruu, status) in [(&two, 404), (&public, 480)] {
        world.ask("MESSAGE", gruu, "carl", "", "hello", udp(5062));
        assert_eq!(world.last_response().status, status, "{gruu}");
    }
    let other = public.replace("ana", "nobody");
    world.ask("INVITE", &other, "carl", "Contact: <sip:carl@192.0.2.7>\r\n", "", udp(5062));
    assert_eq!(world.last_response().status, 480);
}

#[test]
fn what_a_contact_can_do_is_kept_and_told() {
    let mut world = World::new();
    let contact =
        "Contact: <sip:ana@192.0.2.7;x=y>;q=0.25;audio;methods=\"INVITE,BYE\";expires=90\r\n";
    world.register("ana", contact, udp(5060));
    let told = world.last_response().headers.get("Contact").unwrap();
    for part in
        ["<sip:ana@192.0.2.7;x=y>", ";audio", ";methods=\"INVITE,BYE\"", ";q=0.250", ";expires=90"]
    {
        assert!(told.contains(part), "{part} of {told}");
    }
    assert_eq!(world.binding("ana").q, 250);
}
