//! How trunks are known: by a password of their own (RFC 3261 section 22), by a certificate (RFC 5922 section 7.4).

use super::calls::{events, over};
use super::*;
use crate::config::Trunk;
use crate::msg::header::MaxForwards;
use crate::ports::{Login, OutgoingInvite, Target};

const FOREIGN: &str = "<sip:+4930123@world.example>;tag=f";

fn one() -> Trunk {
    Trunk {
        name: "world".into(),
        sources: Vec::new(),
        tls_names: Vec::new(),
        account: None,
        secure: false,
        trusted: true,
        uri: "sip:192.0.2.99".into(),
        registers: false,
        supervised: false,
        login: None,
    }
}

fn with_password(secure: bool) -> World {
    let account = Some(Login { username: "provider".into(), password: "of-its-own".into() });
    let trunks = vec![Trunk { account, secure, ..one() }];
    World::with(Config { trunks, ..config() }, Vec::new())
}

fn with_certificate() -> World {
    let trunks = vec![Trunk { tls_names: vec!["sip.World.example".into()], ..one() }];
    World::with(Config { trunks, ..config() }, Vec::new())
}

/// A request as a trunk sends it.
fn from(world: &mut World, method: &str, from: &str) -> Request {
    let (kind, body) = match method {
        "INVITE" => ("Contact: <sip:192.0.2.7:6000>\r\nContent-Type: application/sdp\r\n", SDP),
        _ => ("Content-Type: text/plain\r\n", "hello"),
    };
    let mut request = world.request(method, "sip:+4312345@example.org", "x", kind, body);
    request.headers.set("From", from);
    request
}

/// The trunk and the caller of what was let in.
fn let_in(world: &mut World) -> Option<(Origin, String)> {
    if let Some((_, LegEvent::Invited(invited))) = world.legs.pop() {
        return Some((invited.origin, invited.account));
    }
    world.messages.pop().map(|message| (message.origin, message.account))
}

fn by_world(caller: &str) -> Option<(Origin, String)> {
    Some((Origin::Trunk("world".into()), caller.into()))
}

#[test]
fn a_trunk_is_known_by_its_own_password_wherever_it_comes_from() {
    for method in ["INVITE", "MESSAGE"] {
        // From its own domain, or, as some do, from ours.
        for (sender, caller) in [
            (FOREIGN, "+4930123@world.example"),
            ("<sip:+4930123@example.org>;tag=f", "+4930123@example.org"),
        ] {
            let mut world = with_password(false);
            let request = from(&mut world, method, sender);
            world.receive(Message::Request(request.clone()), udp(7000));
            assert_eq!((world.last_response().status, let_in(&mut world)), (401, None));
            let wrong = world.signed(request.clone(), "provider", "guess", Algorithm::Sha256);
            world.receive(Message::Request(wrong), udp(7000));
            assert_eq!((world.last_response().status, let_in(&mut world)), (401, None));
            let right = world.signed(request, "provider", "of-its-own", Algorithm::Md5);
            world.receive(Message::Request(right), udp(7001));
            assert_eq!(let_in(&mut world), by_world(caller), "{method} {sender}");
            let tried = [
                ("provider@example.org".to_owned(), false),
                ("provider@example.org".to_owned(), true),
            ];
            assert_eq!(world.tried, tried);
        }
    }
}

#[test]
fn who_knows_no_trunks_password_is_nobody_and_learns_nothing() {
    let mut world = with_password(false);
    let request = from(&mut world, "INVITE", FOREIGN);
    world.receive(Message::Request(request.clone()), udp(7000));
    for (user, password) in [("nobody", "of-its-own"), ("ana", "secret"), ("provider", "")] {
        let signed = world.signed(request.clone(), user, password, Algorithm::Sha256);
        world.receive(Message::Request(signed), udp(7000));
        assert_eq!((world.last_response().status, let_in(&mut world)), (401, None), "{user}");
    }
    // Guessing slows down as it does for accounts.
    world.must_wait = Some(Duration::from_secs(7));
    let signed = world.signed(request, "provider", "of-its-own", Algorithm::Sha256);
    world.receive(Message::Request(signed), udp(7000));
    assert_eq!(world.last_response().status, 503);
    assert_eq!(world.last_response().headers.get("Retry-After"), Some("7"));
    // Without such trunks there is nothing to be asked.
    let mut world = with_certificate();
    let request = from(&mut world, "INVITE", FOREIGN);
    world.receive(Message::Request(request), udp(7000));
    assert_eq!(world.last_response().status, 403);
}

#[test]
fn accounts_prove_themselves_as_before_and_a_trunk_is_no_account() {
    let mut world = with_password(false);
    world.ask(
        "MESSAGE",
        "sip:carl@example.org",
        "ana",
        "Content-Type: text/plain\r\n",
        "hi",
        udp(5060),
    );
    assert_eq!(let_in(&mut world), Some((Origin::Account, "ana@example.org".into())));
    // The trunk's password opens nothing else.
    let register = world.request("REGISTER", "sip:example.org", "provider", "", "");
    world.receive(Message::Request(register.clone()), udp(5060));
    let signed = world.signed(register, "provider", "of-its-own", Algorithm::Sha256);
    world.receive(Message::Request(signed), udp(5060));
    assert_eq!(world.last_response().status, 401);
    // Nor does an account of the same name speak for the trunk.
    let message = from(&mut world, "MESSAGE", "<sip:provider@example.org>;tag=f");
    world.receive(Message::Request(message.clone()), udp(5060));
    let signed = world.signed(message, "provider", "of-its-own", Algorithm::Sha256);
    world.receive(Message::Request(signed), udp(5060));
    assert_eq!((world.last_response().status, let_in(&mut world)), (401, None));
}

#[test]
fn a_password_that_is_for_tls_is_neither_asked_for_nor_taken_in_the_clear() {
    let mut world = with_password(true);
    let request = from(&mut world, "MESSAGE", FOREIGN);
    world.receive(Message::Request(request), udp(7000));
    assert_eq!(world.last_response().status, 403);
    let tls = flow(Protocol::Tls, 2_000, 7000);
    world.core.stream_opened(tls);
    let request = from(&mut world, "MESSAGE", FOREIGN);
    world.receive(Message::Request(request.clone()), tls);
    assert_eq!(world.last_response().status, 401);
    let signed = world.signed(request.clone(), "provider", "of-its-own", Algorithm::Sha256);
    world.receive(Message::Request(signed), udp(7000));
    assert_eq!((world.last_response().status, let_in(&mut world)), (403, None));
    let signed = from(&mut world, "MESSAGE", FOREIGN);
    world.receive(Message::Request(signed.clone()), tls);
    let signed = world.signed(signed, "provider", "of-its-own", Algorithm::Sha256);
    world.receive(Message::Request(signed), tls);
    assert_eq!(let_in(&mut world), by_world("+4930123@world.example"));
}

#[test]
fn a_trunk_is_known_by_what_its_certificate_has_proven_on_that_connection_alone() {
    let table: [(&[&str], bool); 5] = [
        (&["sip.world.example"], true),
        (&["other.example", "SIP.WORLD.EXAMPLE"], true),
        (&["world.example"], false),
        (&["x.sip.world.example", "*.world.example"], false),
        (&[], false),
    ];
    for (names, expected) in table {
        let mut world = with_certificate();
        let tls = flow(Protocol::Tls, 2_000, 7000);
        world.core.stream_proven(2_000, names.iter().map(|name| (*name).to_owned()).collect());
        world.core.stream_opened(tls);
        let invite = from(&mut world, "INVITE", FOREIGN);
        world.receive(Message::Request(invite), tls);
        let caller = by_world("+4930123@world.example").filter(|_| expected);
        assert_eq!(let_in(&mut world), caller, "{names:?}");
        // The same socket without TLS is another one, and a later connection has proven nothing.
        let message = from(&mut world, "MESSAGE", FOREIGN);
        world.receive(Message::Request(message), flow(Protocol::Tcp, 2_000, 7000));
        assert_eq!(let_in(&mut world), None);
        world.core.stream_closed(2_000, world.now);
        world.drain();
        world.core.stream_opened(tls);
        let message = from(&mut world, "MESSAGE", FOREIGN);
        world.receive(Message::Request(message), tls);
        assert_eq!(let_in(&mut world), None);
    }
}

#[test]
fn a_trunk_that_is_not_trusted_says_in_from_who_calls() {
    let asserted = "P-Asserted-Identity: <sip:+4930999@world.example>, <tel:+4930999>\r\n";
    for (trusted, caller) in [(true, "+4930999@world.example"), (false, "+4930123@world.example")] {
        let mut world = with_certificate();
        world.core.config.trunks[0].trusted = trusted;
        let tls = flow(Protocol::Tls, 2_000, 7000);
        world.core.stream_proven(2_000, vec!["sip.world.example".into()]);
        world.core.stream_opened(tls);
        let fields = format!("Content-Type: text/plain\r\n{asserted}");
        let mut message = world.request("MESSAGE", "sip:+4312345@example.org", "x", &fields, "hi");
        message.headers.set("From", FOREIGN);
        world.receive(Message::Request(message), tls);
        assert_eq!(let_in(&mut world), by_world(caller));
    }
    let mut world = with_certificate();
    world.core.stream_proven(2_000, vec!["sip.world.example".into()]);
    let fields = "Content-Type: text/plain\r\nP-Asserted-Identity: <tel:+4930999>\r\n";
    let mut message = world.request("MESSAGE", "sip:+4312345@example.org", "x", fields, "hi");
    message.headers.set("From", FOREIGN);
    world.receive(Message::Request(message), flow(Protocol::Tls, 2_000, 7000));
    assert_eq!(let_in(&mut world), by_world("+4930999@invalid"));
}

#[test]
fn a_call_of_a_trunk_goes_on_from_wherever_it_proves_itself() {
    let mut world = with_password(false);
    // From an address of ours, so that only the way tells who it is.
    let invite = from(&mut world, "INVITE", "<sip:+4930123@example.org>;tag=f");
    world.receive(Message::Request(invite.clone()), udp(7000));
    let invite = world.signed(invite, "provider", "of-its-own", Algorithm::Sha256);
    world.receive(Message::Request(invite.clone()), udp(7000));
    let (leg, _) = world.legs.pop().unwrap();
    world.core.accept(leg, Bytes::from_static(SDP.as_bytes()), world.now);
    world.drain();
    let ok = world.last_response().clone();
    let ack = inside(&mut world, &invite, &ok, "ACK", "", "");
    world.receive(ack, udp(7000));
    let elsewhere = Flow { peer: ([198, 51, 100, 9], 5060).into(), ..udp(5060) };
    let Message::Request(bye) = inside(&mut world, &invite, &ok, "BYE", "", "") else { panic!() };
    world.receive(Message::Request(bye.clone()), elsewhere);
    assert_eq!(world.last_response().status, 401);
    let signed = world.signed(bye.clone(), "provider", "guess", Algorithm::Sha256);
    world.receive(Message::Request(signed), elsewhere);
    assert_eq!(world.last_response().status, 401);
    let signed = world.signed(bye, "provider", "of-its-own", Algorithm::Sha256);
    world.receive(Message::Request(signed), elsewhere);
    assert_eq!(world.last_response().status, 200);
    assert!(matches!(world.legs.pop(), Some((_, LegEvent::Ended))));
}

/// RFC 3261 section 22.2: what changes or ends a call is proven as the call was, once for each challenge.
#[test]
fn changes_and_the_end_of_a_call_are_proven_to_a_trunk_that_asks() {
    let mut world = World::new();
    let to = uri("sip:+4930123@192.0.2.7");
    let call = OutgoingInvite {
        target: Target::Uri(to.clone()),
        from: crate::msg::NameAddr::new(uri("sip:+431@192.0.2.7")),
        to,
        offer: Bytes::from_static(SDP.as_bytes()),
        headers: Vec::new(),
        login: Some(Login { username: "care".into(), password: "secret".into() }),
        max_forwards: MaxForwards::DEFAULT,
    };
    world.core.invite(LegId(1), call, world.now);
    world.drain();
    let (_, first) = world.last_request();
    world.receive(answer(&first, 200, "t", SDP), udp(5060));
    assert_eq!(events(&mut world), ["Answered"]);
    let challenge = |request: &Request, nonce: &str| {
        let mut response = request.response(407, Some("t"));
        let value = format!("Digest realm=\"world\", nonce=\"{nonce}\", qop=\"auth\"");
        response.headers.push("Proxy-Authenticate", value);
        Message::Response(response)
    };
    let proven = |request: &Request, before: &Request| {
        let proof = request.headers.get("Proxy-Authorization").unwrap();
        let proof = Credentials::parse(proof).unwrap();
        let ha1 = Algorithm::Md5.ha1("care", "world", "secret");
        let method = request.method.as_str();
        assert_eq!(proof.response, proof.expected(&ha1, method, &request.body));
        let number = |request: &Request| request.headers.cseq().unwrap().number;
        assert_eq!(number(request), number(before) + 1);
        assert_eq!(request.body, before.body);
    };
    world.core.reinvite(LegId(1), Bytes::from_static(b"v=0\r\n"), world.now);
    world.drain();
    let (_, asked) = world.last_request();
    assert_eq!(asked.method, Method::INVITE);
    world.receive(challenge(&asked, "a"), udp(5060));
    let (_, again) = world.last_request();
    proven(&again, &asked);
    assert_eq!(events(&mut world), [""; 0]);
    world.receive(answer(&again, 200, "t", SDP), udp(5060));
    assert_eq!(events(&mut world), ["ReinviteAnswered true"]);
    // One that is not believed is refused, and the call stays as it was.
    world.core.reinvite(LegId(1), Bytes::from_static(b"v=0\r\n"), world.now);
    world.drain();
    for nonce in ["b", "c"] {
        let (_, asked) = world.last_request();
        world.receive(challenge(&asked, nonce), udp(5060));
    }
    assert_eq!(events(&mut world), ["ReinviteAnswered false"]);
    world.core.hang_up(LegId(1), None, world.now);
    world.drain();
    let (_, bye) = world.last_request();
    assert_eq!(bye.method, Method::BYE);
    world.receive(challenge(&bye, "d"), udp(5060));
    let (_, again) = world.last_request();
    proven(&again, &bye);
    let sent = methods(&world.sent, &Method::BYE);
    world.receive(challenge(&again, "e"), udp(5060));
    assert_eq!(methods(&world.sent, &Method::BYE), sent);
    assert_eq!(events(&mut world), ["Ended"]);
    over(world);
}
