//! Requests from other domains: who is let in, by what, and to what (RFC 3261 section 22, RFC 3263, RFC 3325, RFC 5922).

use super::*;
use crate::config::{Foreign, Policy, Source, Trunk};
use crate::ports::{OutgoingMessage, Refusal, Target};
use crate::transport::Srv;

const FIELDS: &str = "Contact: <sip:192.0.2.7:5060>\r\nContent-Type: application/sdp\r\n";

/// `b.example` has a server at 192.0.2.7, `c.example` at 192.0.2.8.
fn world(policy: Policy, foreign: Foreign, more: Config) -> World {
    let foreign = Foreign { policy, ..foreign };
    let mut world = World::with(Config { foreign, ..more }, Vec::new());
    for (domain, last) in [("b.example", 7), ("c.example", 8)] {
        let host = format!("sip.{domain}");
        let srv = Srv { priority: 1, weight: 0, port: 5060, target: host.clone() };
        world.names.srv.insert(format!("_sip._udp.{domain}"), vec![srv]);
        world.names.addresses.insert(host, vec![[192, 0, 2, last].into()]);
    }
    world
}

fn named() -> Foreign {
    Foreign { domains: vec!["b.example".into(), "c.example".into()], ..Foreign::default() }
}

/// A request of somebody of that address to `to`.
fn from(world: &mut World, method: &str, from: &str, to: &str) -> Request {
    let body = if method == "INVITE" { SDP } else { "hello" };
    let fields = if method == "INVITE" { FIELDS } else { "Content-Type: text/plain\r\n" };
    let mut request = world.request(method, to, "x", fields, body);
    request.headers.set("From", format!("<{from}>;tag=f"));
    request
}

/// How such a message over UDP from 192.0.2.7 is answered.
fn status(world: &mut World, sender: &str, to: &str) -> u16 {
    let message = from(world, "MESSAGE", sender, to);
    world.receive(Message::Request(message), udp(5060));
    world.last_response().status
}

#[test]
fn closed_nobody_is_let_in_and_everybody_is_told_the_same() {
    let mut world = world(Policy::Closed, named(), config());
    for to in ["sip:ana@example.org", "sip:nobody@example.org", "sip:x@elsewhere.example"] {
        for sender in ["sip:bob@b.example", "sip:bob@d.example", "sip:bob@192.0.2.7", "tel:+431"] {
            assert_eq!(status(&mut world, sender, to), 403, "{sender} {to}");
        }
    }
    let call = from(&mut world, "INVITE", "sip:bob@b.example", "sip:ana@example.org");
    world.receive(Message::Request(call), udp(5060));
    assert_eq!(world.last_response().status, 403);
    assert!(world.legs.is_empty() && world.messages.is_empty());
    assert!(world.turned_away.iter().all(|why| *why == Refusal::Foreign));
    assert_eq!(world.turned_away.len(), 13);
}

#[test]
fn a_domain_that_is_named_comes_from_its_own_servers_and_others_not_at_all() {
    let mut world = world(Policy::Allow, named(), config());
    let ana = "sip:ana@example.org";
    assert_eq!(status(&mut world, "sip:bob@b.example", ana), 200);
    assert_eq!(status(&mut world, "sip:bob@B.Example.", ana), 200);
    // Its server is another one; it is not named.
    assert_eq!(status(&mut world, "sip:bob@c.example", ana), 403);
    assert_eq!(status(&mut world, "sip:bob@d.example", ana), 403);
    assert_eq!(status(&mut world, "sip:b.example", ana), 403);
    let [one, _] = &world.messages[..] else { panic!("{:?}", world.messages) };
    assert_eq!((one.account.as_str(), &one.origin), ("bob@b.example", &Origin::Foreign));
    // Not while it is found out, if it is given up.
    world.holds_lookups = true;
    let call = from(&mut world, "INVITE", "sip:bob@b.example", ana);
    world.receive(Message::Request(call.clone()), udp(5060));
    assert!(world.legs.is_empty());
    let mut cancel = Request::new(Method::CANCEL, call.uri.clone());
    for name in ["Via", "From", "To", "Call-ID"] {
        cancel.headers.push(name, call.headers.get(name).unwrap());
    }
    let number = call.headers.cseq().unwrap().number;
    cancel.headers.push("CSeq", format!("{number} CANCEL"));
    world.receive(Message::Request(cancel), udp(5060));
    assert_eq!(world.last_response().status, 487);
    let (id, search) = world.lookups.pop().unwrap();
    let hops = world.found(*search);
    world.core.job_done(id, JobResult::Located(hops), world.now);
    world.drain();
    assert!(world.legs.is_empty());
    // And the same call once more goes through.
    world.holds_lookups = false;
    let call = from(&mut world, "INVITE", "sip:bob@b.example", ana);
    world.receive(Message::Request(call), udp(5060));
    let [(_, LegEvent::Invited(invited))] = &world.legs[..] else { panic!("{:?}", world.legs) };
    assert_eq!((invited.account.as_str(), &invited.origin), ("bob@b.example", &Origin::Foreign));
    assert_eq!(invited.binding, None);
}

#[test]
fn open_everybody_is_let_in_but_for_what_is_named_and_is_elsewhere() {
    let domains = vec!["c.example".to_owned()];
    let mut world = world(Policy::Open, Foreign { domains, ..Foreign::default() }, config());
    let ana = "sip:ana@example.org";
    assert_eq!(status(&mut world, "sip:bob@b.example", ana), 200);
    assert_eq!(status(&mut world, "sip:bob@d.example", ana), 200);
    assert_eq!(status(&mut world, "sip:bob@c.example", ana), 403);
    assert_eq!(world.messages.len(), 2);
}

/// The failure that `field.md` 3.1 tells of: an outsider who is shown as somebody from inside.
#[test]
fn an_outsider_cannot_pose_as_somebody_of_ours() {
    let foreign = Foreign { reserved: vec!["numbers.example".into()], ..Foreign::default() };
    let mut world = world(Policy::Open, foreign, config());
    let ana = "sip:ana@example.org";
    for (sender, expected) in [
        ("sip:carl@example.org", 401),
        ("sip:carl@EXAMPLE.ORG", 401),
        ("sip:carl@example.org.", 401),
        ("sip:carl@192.0.2.1", 401),
        ("sip:anonymous@anonymous.invalid", 401),
        ("sip:+431@tel.example.org", 403),
        ("sip:+431@numbers.example", 403),
        ("sip:carl@192.0.2.7", 403),
        ("sip:carl@[2001:db8::1]", 403),
        ("tel:+431", 403),
    ] {
        assert_eq!(status(&mut world, sender, ana), expected, "{sender}");
    }
    // Two senders, whichever comes first.
    for [first, second] in
        [["carl@example.org", "bob@b.example"], ["bob@b.example", "carl@example.org"]]
    {
        let mut request = from(&mut world, "MESSAGE", &format!("sip:{first}"), ana);
        request.headers.push("From", format!("<sip:{second}>;tag=g"));
        let error = parse_datagram(Message::Request(request).to_bytes(), &Limits::default());
        assert_eq!(error.unwrap_err().status(), Some(400));
    }
    let mut both = from(&mut world, "MESSAGE", "sip:bob@b.example", ana);
    both.headers.set("From", "<sip:bob@b.example>;tag=f, <sip:carl@example.org>;tag=g");
    world.receive(Message::Request(both), udp(5060));
    assert_eq!(world.last_response().status, 400);
    assert!(world.messages.is_empty());
    // What it says of itself beside From is taken away.
    let mut request = from(&mut world, "MESSAGE", "sip:bob@b.example", ana);
    for name in ["P-Asserted-Identity", "P-Preferred-Identity"] {
        request.headers.push(name, "<sip:carl@example.org>");
    }
    world.receive(Message::Request(request), udp(5060));
    let message = world.messages.pop().unwrap();
    assert_eq!(message.account, "bob@b.example");
    assert!(!message.headers.has("P-Asserted-Identity"));
    assert!(!message.headers.has("P-Preferred-Identity"));
    // Another name in the body of a dialog: nothing else is asked for by outsiders.
    for method in ["SUBSCRIBE", "PUBLISH"] {
        let request = from(&mut world, method, "sip:bob@b.example", ana);
        world.receive(Message::Request(request), udp(5060));
        assert_eq!(world.last_response().status, 403, "{method}");
    }
}

fn one() -> Trunk {
    Trunk {
        name: "world".into(),
        sources: vec![Source { ip: [192, 0, 2, 9].into(), port: None }],
        tls_names: Vec::new(),
        account: None,
        secure: false,
        trusted: true,
        uri: "sip:192.0.2.9".into(),
        registers: false,
        supervised: false,
        login: None,
    }
}

#[test]
fn nothing_is_relayed_and_nobodys_place_is_taken() {
    let more = Config { trunks: vec![one()], ..config() };
    let mut world = world(Policy::Open, Foreign::default(), more);
    for to in ["sip:eve@c.example", "sip:+431@192.0.2.9", "tel:+431", "sip:+431@tel.example.org"] {
        assert_eq!(status(&mut world, "sip:bob@b.example", to), 403, "{to}");
    }
    let mut call = from(&mut world, "INVITE", "sip:bob@b.example", "sip:ana@example.org");
    call.headers.push("Replaces", "c;to-tag=a;from-tag=b");
    world.receive(Message::Request(call), udp(5060));
    assert_eq!(world.last_response().status, 403);
    assert!(world.legs.is_empty() && world.messages.is_empty());
}

#[test]
fn one_address_sends_so_much_a_minute() {
    let foreign = Foreign { max_per_minute: 3, ..Foreign::default() };
    let mut world = world(Policy::Open, foreign, config());
    let (bob, ana) = ("sip:bob@b.example", "sip:ana@example.org");
    for expected in [200, 200, 200, 503, 503] {
        assert_eq!(status(&mut world, bob, ana), expected);
    }
    assert_eq!(world.last_response().headers.get("Retry-After"), Some("60"));
    assert_eq!(world.turned_away, [Refusal::Excess; 2]);
    // Others are no worse off for it, and one of ours is not counted.
    let message = from(&mut world, "MESSAGE", bob, ana);
    let other = Flow { peer: ([192, 0, 2, 8], 5060).into(), ..udp(5060) };
    world.receive(Message::Request(message), other);
    assert_eq!(world.messages.len(), 4);
    assert_eq!(status(&mut world, "sip:carl@example.org", ana), 401);
    world.now += Duration::from_secs(60);
    assert_eq!(status(&mut world, bob, ana), 200);
}

#[test]
fn where_tls_is_required_other_domains_need_it_too_but_for_those_excepted() {
    let foreign = Foreign { clear: vec!["b.example".into()], ..Foreign::default() };
    let more = Config { require_tls: true, ..config() };
    let mut world = world(Policy::Open, foreign, more);
    let ana = "sip:ana@example.org";
    assert_eq!(status(&mut world, "sip:bob@b.example", ana), 200);
    assert_eq!(status(&mut world, "sip:bob@d.example", ana), 403);
    assert_eq!(world.last_response().reason, "TLS Required");
    let secure = flow(Protocol::Tls, 7, 5061);
    world.core.stream_opened(secure);
    let message = from(&mut world, "MESSAGE", "sip:bob@d.example", ana);
    world.receive(Message::Request(message), secure);
    assert_eq!(world.last_response().status, 200);
}

#[test]
fn a_target_that_has_to_be_secure_is_reached_under_tls_or_not_at_all() {
    let local = ([192, 0, 2, 1], 5061).into();
    let tls = Listening { protocol: Protocol::Tls, socket: 2, local, outward: [None; 2] };
    for (listeners, expected) in [(vec![tls], 1), (Vec::new(), 0)] {
        let mut world = world(Policy::Open, Foreign::default(), config());
        world.core.listeners.extend(listeners);
        let to = uri("sip:bob@b.example");
        let sips = Srv { priority: 1, weight: 0, port: 5061, target: "sip.b.example".into() };
        world.names.srv.insert("_sips._tcp.b.example".into(), vec![sips]);
        let message = OutgoingMessage {
            target: Target::Secure(to.clone()),
            from: crate::msg::NameAddr::new(uri("sip:ana@example.org")),
            to,
            call_id: None,
            cseq: None,
            headers: Vec::new(),
            login: None,
            content_type: "text/plain".into(),
            body: Bytes::from_static(b"hello"),
        };
        world.core.send_message(Ticket(1), message, world.now);
        world.drain();
        let secure = |flow: &&Flow| flow.protocol == Protocol::Tls;
        assert_eq!(world.connects.iter().filter(secure).count(), expected);
        assert!(world.sent.iter().all(|(flow, _)| flow.protocol == Protocol::Tls));
        let failed = world.results.iter().filter(|(_, result)| result.status == 502).count();
        assert_eq!(failed, 1 - expected);
    }
}

/// A domain is believed by its certificate wherever it connects from, and another's certificate does not make it so.
#[test]
fn a_domain_that_is_named_is_known_by_its_certificate() {
    for (shown, status) in [("c.example", 200), ("C.Example", 200), ("b.example", 403)] {
        let mut world = world(Policy::Allow, named(), config());
        let secure = flow(Protocol::Tls, 7, 6000);
        world.core.stream_proven(7, vec![shown.into()]);
        world.core.stream_opened(secure);
        let message = from(&mut world, "MESSAGE", "sip:bob@c.example", "sip:ana@example.org");
        world.receive(Message::Request(message), secure);
        assert_eq!(world.last_response().status, status, "{shown}");
    }
}

/// Where trunks have passwords, numbers are asked for those, and people are not.
#[test]
fn people_of_other_domains_are_not_asked_for_the_password_of_a_trunk() {
    let login = crate::ports::Login { username: "provider".into(), password: "p".into() };
    let one = Trunk { account: Some(login), sources: Vec::new(), ..one() };
    let mut world =
        world(Policy::Open, Foreign::default(), Config { trunks: vec![one], ..config() });
    let bob = "sip:bob@b.example";
    assert_eq!(status(&mut world, bob, "sip:ana@example.org"), 200);
    assert_eq!(status(&mut world, bob, "sip:+4312345@example.org"), 401);
}
