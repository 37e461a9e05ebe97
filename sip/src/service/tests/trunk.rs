//! Trunks: calls let in by where they come from (RFC 3325), and our answers to challenges (RFC 3261 section 22).

use super::calls::{events, over};
use super::*;
use crate::config::{Source, Trunk};
use crate::msg::header::MaxForwards;
use crate::ports::{Login, OutgoingInvite, OutgoingMessage, Target};

/// A call of ours to a host that asks who we are.
fn invite(world: &mut World, login: Option<(&str, &str)>) -> Request {
    let to = uri("sip:+4930123@192.0.2.7");
    let call = OutgoingInvite {
        target: Target::Uri(to.clone()),
        from: crate::msg::NameAddr::new(uri("sip:+431@192.0.2.7")),
        to,
        offer: Bytes::from_static(SDP.as_bytes()),
        headers: Vec::new(),
        login: login.map(|(username, password)| Login {
            username: username.into(),
            password: password.into(),
        }),
        max_forwards: MaxForwards::DEFAULT,
    };
    world.core.invite(LegId(1), call, world.now);
    world.drain();
    world.last_request().1
}

fn challenge(request: &Request, nonce: &str, more: &str) -> Message {
    let mut response = request.response(407, Some("t"));
    for hash in ["MD5", "SHA-256", "SHA-512-256"] {
        let value = format!(
            "Digest realm=\"world\", nonce=\"{nonce}\", qop=\"auth\", algorithm={hash}{more}"
        );
        response.headers.push("Proxy-Authenticate", value);
    }
    Message::Response(response)
}

#[test]
fn a_challenge_is_answered_by_the_best_hash_once_and_again_where_the_nonce_was_old() {
    let mut world = World::new();
    let first = invite(&mut world, Some(("care", "secret")));
    let mut last = first.clone();
    for (nonce, more) in [("n1", ""), ("n2", ", stale=true")] {
        world.receive(challenge(&last, nonce, more), udp(5060));
        let (_, request) = world.last_request();
        let proof = request.headers.get("Proxy-Authorization").unwrap();
        let proof = Credentials::parse(proof).unwrap();
        assert_eq!((proof.algorithm, proof.nonce.as_str()), (Algorithm::Sha256, nonce));
        let ha1 = Algorithm::Sha256.ha1("care", "world", "secret");
        assert_eq!(proof.response, proof.expected(&ha1, "INVITE", &request.body));
        let number = |request: &Request| request.headers.cseq().unwrap().number;
        assert_eq!(number(&request), number(&last) + 1);
        assert_eq!(request.headers.get("Call-ID"), first.headers.get("Call-ID"));
        last = request;
    }
    // It does not believe us.
    world.receive(challenge(&last, "n3", ""), udp(5060));
    assert_eq!(events(&mut world), ["Failed 407"]);
    over(world);
}

#[test]
fn a_challenge_without_a_password_or_with_unknown_hashes_is_the_end() {
    let mut world = World::new();
    let first = invite(&mut world, None);
    world.receive(challenge(&first, "n", ""), udp(5060));
    assert_eq!(events(&mut world), ["Failed 407"]);
    let first = invite(&mut world, Some(("care", "secret")));
    let mut response = first.response(401, Some("t"));
    response.headers.push("WWW-Authenticate", "Digest realm=\"w\", nonce=\"n\", algorithm=X-9");
    world.receive(Message::Response(response), udp(5060));
    assert_eq!(events(&mut world), ["Failed 401"]);
    over(world);
}

fn one() -> Trunk {
    Trunk {
        name: "world".into(),
        sources: Vec::new(),
        tls_names: Vec::new(),
        account: None,
        secure: false,
        trusted: true,
        uri: "sip:care@192.0.2.7".into(),
        registers: false,
        supervised: false,
        login: None,
    }
}

#[test]
fn a_message_is_proven_as_a_call_is_and_another_server_is_asked_afresh() {
    let mut world = World::new();
    let to = uri("sip:+4930123@192.0.2.7");
    let login = Some(Login { username: "care".into(), password: "secret".into() });
    let message = |login| OutgoingMessage {
        target: Target::Uri(to.clone()),
        from: crate::msg::NameAddr::new(uri("sip:+431@192.0.2.7")),
        to: to.clone(),
        call_id: Some("c".into()),
        cseq: Some(4),
        headers: Vec::new(),
        login,
        content_type: "text/plain".into(),
        body: Bytes::from_static(b"hello"),
    };
    world.core.send_message(Ticket(1), message(login.clone()), world.now);
    world.drain();
    let (_, first) = world.last_request();
    assert!(!first.headers.has("Proxy-Authorization"));
    world.receive(challenge(&first, "n1", ""), udp(5060));
    let (_, second) = world.last_request();
    let proof = Credentials::parse(second.headers.get("Proxy-Authorization").unwrap()).unwrap();
    let ha1 = Algorithm::Sha256.ha1("care", "world", "secret");
    assert_eq!(proof.response, proof.expected(&ha1, "MESSAGE", b"hello"));
    assert_eq!(
        (second.headers.get("CSeq"), second.headers.get("Call-ID")),
        (Some("5 MESSAGE"), Some("c"))
    );
    assert_eq!(world.results, []);
    world.receive(Message::Response(second.response(202, Some("t"))), udp(5060));
    assert_eq!(world.results.pop().unwrap().1.status, 202);
    // What is too large for a datagram once it is proven is not sent at all.
    for (size, login, statuses) in [(900, login.clone(), vec![513]), (900, None, vec![])] {
        let body = Bytes::from(vec![b'x'; size]);
        let large = OutgoingMessage { body, ..message(login) };
        world.core.send_message(Ticket(3), large, world.now);
        world.drain();
        let told: Vec<u16> = world.results.drain(..).map(|(_, result)| result.status).collect();
        assert_eq!(told, statuses);
    }
    let (_, fits) = world.last_request();
    world.receive(Message::Response(fits.response(200, Some("t"))), udp(5060));
    world.results.clear();
    // Who is not believed is told so, and so is who has nothing to say.
    for (login, asked) in [(login, 2), (None, 1)] {
        world.core.send_message(Ticket(2), message(login), world.now);
        world.drain();
        for nonce in ["a", "b", "c"].iter().take(asked) {
            assert_eq!(world.results, []);
            let (_, request) = world.last_request();
            world.receive(challenge(&request, nonce, ""), udp(5060));
        }
        assert_eq!(world.results.pop().unwrap().1.status, 407);
    }
    over(world);
}

fn world_trunk() -> Origin {
    Origin::Trunk("world".into())
}

fn trunk() -> World {
    let sources = vec![Source { ip: [192, 0, 2, 7].into(), port: Some(6000) }];
    let trunks = vec![Trunk { sources, ..one() }];
    World::with(Config { trunks, ..config() }, Vec::new())
}

/// An INVITE as a trunk sends it.
fn incoming(world: &mut World, fields: &str) -> Request {
    let fields =
        format!("Contact: <sip:192.0.2.7:6000>\r\nContent-Type: application/sdp\r\n{fields}");
    let mut request = world.request("INVITE", "sip:+4312345@example.org", "x", &fields, SDP);
    request.headers.set("From", "<sip:+4930123@world.example>;tag=f");
    request
}

#[test]
fn a_trunk_is_known_by_where_it_is_and_says_who_calls() {
    let table = [
        ("", "+4930123@world.example"),
        ("P-Asserted-Identity: <sip:+4930999@world.example>\r\n", "+4930999@world.example"),
        ("P-Asserted-Identity: <sip:anonymous@anonymous.invalid>\r\n", ""),
    ];
    for (fields, account) in table {
        let mut world = trunk();
        let invite = incoming(&mut world, fields);
        world.receive(Message::Request(invite), udp(6000));
        let Some((_, LegEvent::Invited(invited))) = world.legs.pop() else { panic!("{fields}") };
        assert_eq!((invited.account.as_str(), &invited.origin), (account, &world_trunk()));
    }
    // From anywhere else it is nobody, and elsewhere it may do nothing but call.
    let mut world = trunk();
    let invite = incoming(&mut world, "");
    world.receive(Message::Request(invite), udp(6001));
    assert_eq!(world.last_response().status, 403);
    let register = world.request("REGISTER", "sip:example.org", "ana", "", "");
    world.receive(Message::Request(register), udp(6000));
    assert_eq!(world.last_response().status, 401);
    assert!(world.legs.is_empty());
}

#[test]
fn a_trunk_brings_messages_of_whom_it_names_but_of_nobody_who_hides() {
    let table = [
        ("", Ok("+4930123@world.example")),
        ("P-Asserted-Identity: <sip:+4930999@world.example>\r\n", Ok("+4930999@world.example")),
        ("P-Asserted-Identity: <sip:anonymous@anonymous.invalid>\r\n", Err(433)),
        ("Privacy: id\r\n", Err(433)),
    ];
    for (fields, expected) in table {
        let mut world = trunk();
        let fields = format!("Content-Type: text/plain\r\n{fields}");
        let mut message =
            world.request("MESSAGE", "sip:+4312345@example.org", "x", &fields, "hello");
        message.headers.set("From", "<sip:+4930123@world.example>;tag=f");
        world.receive(Message::Request(message), udp(6000));
        match expected {
            Ok(account) => {
                let message = world.messages.pop().unwrap();
                assert_eq!((message.account.as_str(), &message.origin), (account, &world_trunk()));
                assert_eq!(world.last_response().status, 200);
            }
            Err(status) => {
                assert!(world.messages.is_empty());
                assert_eq!(world.last_response().status, status);
            }
        }
    }
}

#[test]
fn what_a_trunk_writes_in_a_call_is_no_account_of_ours() {
    let mut world = trunk();
    let mut invite = incoming(&mut world, "");
    invite.headers.set("From", "<sip:ana@example.org>;tag=f");
    world.receive(Message::Request(invite.clone()), udp(6000));
    let (leg, _) = world.legs.pop().unwrap();
    world.core.accept(leg, Bytes::from_static(SDP.as_bytes()), world.now);
    world.drain();
    let ok = world.last_response().clone();
    let ack = inside(&mut world, &invite, &ok, "ACK", "", "");
    world.receive(ack, udp(6000));
    let message = inside(&mut world, &invite, &ok, "MESSAGE", "Content-Type: text/plain\r\n", "hi");
    world.receive(message, udp(6000));
    assert_eq!(world.messages.pop().unwrap().origin, world_trunk());
}

#[test]
fn what_a_trunk_that_we_called_writes_in_the_call_is_the_trunks() {
    let mut world = World::with(Config { trunks: vec![one()], ..config() }, Vec::new());
    let first = invite(&mut world, None);
    world.receive(answer(&first, 200, "t", SDP), udp(5060));
    let header = |name: &str| first.headers.get(name).unwrap().to_owned();
    let text = format!(
        "MESSAGE sip:+431@192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKm\r\n\
         From: {};tag=t\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 1 MESSAGE\r\nMax-Forwards: 70\r\n\
         Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi",
        header("To"),
        header("From"),
        header("Call-ID"),
    );
    world.receive(Message::Request(request(text)), udp(5060));
    let message = world.messages.pop().unwrap();
    assert_eq!((message.account.as_str(), &message.origin), ("+4930123@192.0.2.7", &world_trunk()));
}

/// A trunk that wants a REGISTER.
fn registering() -> World {
    let login = Some(Login { username: "care".into(), password: "secret".into() });
    let trunks = vec![Trunk { registers: true, login, ..one() }];
    let mut world = World::with(Config { trunks, ..config() }, Vec::new());
    world.pass(0.0);
    world
}

fn registered(request: &Request, seconds: u32) -> Message {
    let mut response = request.response(200, Some("t"));
    let contact = request.headers.get("Contact").unwrap();
    response.headers.push("Contact", "<sip:other@192.0.2.99>;expires=5");
    response.headers.push("Contact", format!("{contact};expires={seconds}"));
    Message::Response(response)
}

#[test]
fn a_trunk_is_told_where_we_are_proven_and_renewed_in_time() {
    let mut world = registering();
    let (flow, first) = world.last_request();
    assert_eq!(
        (first.method.as_str(), first.uri.to_string().as_str()),
        ("REGISTER", "sip:192.0.2.7")
    );
    assert_eq!(flow.peer, ([192, 0, 2, 7], 5060).into());
    assert!(first.headers.get("To").unwrap().contains("sip:care@192.0.2.7"));
    let mut brief = first.response(423, Some("t"));
    brief.headers.push("Min-Expires", "1800");
    world.receive(Message::Response(brief), udp(5060));
    let (_, second) = world.last_request();
    assert_eq!(second.headers.get("Expires"), Some("1800"));
    let mut asked = second.response(401, Some("t"));
    asked
        .headers
        .push("WWW-Authenticate", "Digest realm=\"w\", nonce=\"n\", qop=\"auth\", algorithm=MD5");
    world.receive(Message::Response(asked), udp(5060));
    let (_, third) = world.last_request();
    let proof = Credentials::parse(third.headers.get("Authorization").unwrap()).unwrap();
    assert_eq!(
        proof.response,
        proof.expected(&Algorithm::Md5.ha1("care", "w", "secret"), "REGISTER", b"")
    );
    assert_eq!(third.headers.get("Call-ID"), first.headers.get("Call-ID"));
    world.receive(registered(&third, 100), udp(5060));
    assert_eq!(world.trunk_is_up, Some(true));
    world.sent.clear();
    world.pass(49.0);
    assert_eq!(world.said(), [""; 0]);
    world.pass(1.2);
    assert_eq!(world.said(), ["REGISTER"]);
}

#[test]
fn a_trunk_that_does_not_take_it_is_asked_again_after_longer_and_longer_pauses() {
    let mut world = registering();
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let (_, request) = world.last_request();
        world.receive(Message::Response(request.response(500, Some("t"))), udp(5060));
        assert_eq!(world.trunk_is_up, Some(false));
        world.sent.clear();
        let begun = world.now;
        while methods(&world.sent, &Method::REGISTER) == 0 {
            world.pass(1.0);
        }
        pauses.push(world.now.duration_since(begun).as_secs());
    }
    assert!((30..=36).contains(&pauses[0]) && (60..=66).contains(&pauses[1]), "{pauses:?}");
    assert!(pauses[7] <= 906, "{pauses:?}");
    // A password that is not believed is not sent on and on.
    let (_, mut request) = world.last_request();
    for nonce in ["n", "m"] {
        let mut asked = request.response(401, Some("t"));
        let value = format!("Digest realm=\"w\", nonce=\"{nonce}\", algorithm=MD5");
        asked.headers.push("WWW-Authenticate", value);
        world.receive(Message::Response(asked), udp(5060));
        request = world.last_request().1;
    }
    assert_eq!(methods(&world.sent, &Method::REGISTER), 2);
}

#[test]
fn a_trunk_that_does_not_answer_is_down_until_it_does() {
    let trunks = vec![Trunk { supervised: true, ..one() }];
    let mut world = World::with(Config { trunks, ..config() }, Vec::new());
    world.pass(0.0);
    let answered = |world: &mut World, status: u16| {
        let (flow, request) = world.last_request();
        assert_eq!(
            (request.method.as_str(), flow.peer),
            ("OPTIONS", ([192, 0, 2, 7], 5060).into())
        );
        world.receive(Message::Response(request.response(status, Some("t"))), udp(5060));
    };
    // Who asks for a password is there too.
    for status in [200, 407, 404] {
        answered(&mut world, status);
        world.sent.clear();
        world.pass(30.0);
    }
    assert_eq!(world.trunk_is_there, [true; 0]);
    // The last question, and the one after it.
    world.pass(29.0);
    assert_eq!(world.trunk_is_there, [true; 0]);
    world.pass(10.0);
    assert_eq!(world.trunk_is_there, [false]);
    answered(&mut world, 503);
    world.pass(100.0);
    assert_eq!(world.trunk_is_there, [false]);
    answered(&mut world, 200);
    assert_eq!(world.trunk_is_there, [false, true]);
}

#[test]
fn a_trunk_that_asks_who_asks_is_told_and_asked_once_more() {
    let login = Some(Login { username: "care".into(), password: "secret".into() });
    let trunks = vec![Trunk { supervised: true, login, ..one() }];
    let mut world = World::with(Config { trunks, ..config() }, Vec::new());
    world.pass(0.0);
    let (_, first) = world.last_request();
    world.receive(challenge(&first, "n", ""), udp(5060));
    let (_, second) = world.last_request();
    let proof = Credentials::parse(second.headers.get("Proxy-Authorization").unwrap()).unwrap();
    let ha1 = Algorithm::Sha256.ha1("care", "world", "secret");
    assert_eq!(proof.response, proof.expected(&ha1, "OPTIONS", b""));
    assert_eq!(second.headers.get("Call-ID"), first.headers.get("Call-ID"));
    assert_eq!(second.headers.cseq().unwrap().number, 2);
    // One that does not believe us is there all the same, and is left alone until the next question.
    let before = methods(&world.sent, &Method::OPTIONS);
    world.receive(challenge(&second, "m", ""), udp(5060));
    assert_eq!(methods(&world.sent, &Method::OPTIONS), before);
    world.pass(29.0);
    assert_eq!(world.trunk_is_there, [true; 0]);
    world.pass(2.0);
    let (_, next) = world.last_request();
    assert_eq!(
        (next.headers.cseq().unwrap().number, next.headers.has("Proxy-Authorization")),
        (1, false)
    );
}
