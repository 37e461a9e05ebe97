//! RFC 3261 section 22.1, RFC 3323, RFC 3325: who may say what, as whom, and who is told of it.

use super::*;
use crate::msg::Name;

const OFFER: &str = "Contact: <sip:carl@192.0.2.7:5062>\r\nContent-Type: application/sdp\r\n";

impl World {
    /// Carl calls Ana with these fields; gives the status, and the fields as the gateway sees them.
    fn call_with(&mut self, fields: &str) -> (u16, Option<crate::msg::Headers>) {
        self.ask(
            "INVITE",
            "sip:ana@example.org",
            "carl",
            &format!("{OFFER}{fields}"),
            SDP,
            udp(5062),
        );
        let headers = match self.legs.pop() {
            Some((_, LegEvent::Invited(invited))) => Some(invited.headers),
            _ => None,
        };
        (self.last_response().status, headers)
    }
}

fn elsewhere(port: u16) -> Flow {
    Flow { peer: ([198, 51, 100, 9], port).into(), ..udp(port) }
}

#[test]
fn what_a_phone_says_of_itself_is_replaced_by_what_was_proven() {
    let proven = "<sip:carl@example.org>";
    let table = [
        ("", proven),
        ("P-Asserted-Identity: \"The Boss\" <sip:boss@example.org>\r\n", proven),
        ("P-Asserted-Identity: <sip:boss@example.org>, <tel:+491>\r\n", proven),
        (
            "P-Preferred-Identity: \"Carl\" <sip:carl@example.org>\r\n",
            "\"Carl\" <sip:carl@example.org>",
        ),
        ("P-Preferred-Identity: \"The Boss\" <sip:boss@example.org>\r\n", proven),
    ];
    for (fields, expected) in table {
        let mut world = World::new();
        let (_, headers) = world.call_with(fields);
        let headers = headers.unwrap_or_else(|| panic!("{fields}: no call"));
        let asserted: Vec<_> = headers.get_all(Name::PAssertedIdentity).collect();
        assert_eq!(asserted, [expected], "{fields}");
        assert!(!headers.has(Name::PPreferredIdentity), "{fields}");
    }
}

#[test]
fn privacy_is_told_apart_and_what_cannot_be_given_is_refused() {
    let is_private = crate::service::identity::is_private;
    let table = [
        ("", Some(false)),
        ("Privacy: none\r\n", Some(false)),
        ("Privacy: header;session\r\n", Some(false)),
        ("Privacy: id\r\n", Some(true)),
        ("Privacy: user;id;critical\r\n", Some(true)),
        ("Privacy: moonlight\r\n", Some(false)),
        ("Privacy: id;moonlight;critical\r\n", None),
    ];
    for (fields, expected) in table {
        let mut world = World::new();
        let (status, headers) = world.call_with(fields);
        assert_eq!(headers.as_ref().map(is_private), expected, "{fields}");
        if let Some(headers) = headers {
            let words = fields.split_once(": ").map(|(_, words)| words.trim());
            assert_eq!(headers.get(Name::Privacy), words, "{fields}");
        } else {
            assert_eq!(status, 500);
            assert_eq!(world.last_response().reason, "Privacy Failure: moonlight");
        }
    }
}

/// A message without a sender could not be answered, a subscription neither.
#[test]
fn nobody_sends_no_messages() {
    let mut world = World::new();
    for (method, fields, body) in [
        ("MESSAGE", "Privacy: id\r\n", "hello"),
        ("SUBSCRIBE", "Privacy: user\r\nEvent: presence\r\n", ""),
    ] {
        world.ask(method, "sip:ana@example.org", "carl", fields, body, udp(5062));
        assert_eq!(world.last_response().status, 433, "{method}");
    }
    assert!(world.messages.is_empty() && world.subscriptions.is_empty());
}

#[test]
fn who_hides_in_from_proves_who_it_is_and_is_private() {
    let mut world = World::new();
    let mut invite = world.request("INVITE", "sip:ana@example.org", "carl", OFFER, SDP);
    invite.headers.set("From", "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=x");
    world.receive(Message::Request(invite.clone()), udp(5062));
    assert_eq!(world.last_response().status, 401);
    let signed = world.signed(invite, "carl", "secret", Algorithm::Sha256);
    world.receive(Message::Request(signed), udp(5062));
    let Some((_, LegEvent::Invited(invited))) = world.legs.pop() else { panic!("no call") };
    assert_eq!(invited.account, "carl@example.org");
    assert!(crate::service::identity::is_private(&invited.headers));
    assert_eq!(invited.headers.get(Name::PAssertedIdentity), Some("<sip:carl@example.org>"));
    // A registration names its account, whoever makes it.
    let mut register = world.request("REGISTER", "sip:example.org", "carl", "", "");
    register.headers.set("To", "<sip:carl@anonymous.invalid>");
    world.receive(Message::Request(register), udp(5062));
    assert_eq!(world.last_response().status, 404);
}

#[test]
fn a_called_phone_is_told_who_calls_unless_that_is_private() {
    let mut world = World::new();
    world.register("ana", "Contact: <sip:ana@192.0.2.7:5060>\r\n", udp(5060));
    let mut call = super::calls::call(&world);
    call.from.display = Some("Carl".into());
    world.core.invite(LegId(1), call.clone(), world.now);
    world.drain();
    let asserted = "\"Carl\" <sip:carl@example.org>";
    assert_eq!(world.last_request().1.headers.get(Name::PAssertedIdentity), Some(asserted));
    let secret = [
        crate::ports::OutgoingInvite {
            from: crate::service::identity::anonymous(),
            ..call.clone()
        },
        crate::ports::OutgoingInvite { headers: vec![("Privacy".into(), "id".into())], ..call },
    ];
    for (leg, call) in (2..).zip(secret) {
        world.core.invite(LegId(leg), call, world.now);
        world.drain();
        assert!(!world.last_request().1.headers.has(Name::PAssertedIdentity));
    }
}

#[test]
fn another_accounts_password_opens_nothing() {
    for (method, fields, body) in [
        ("INVITE", OFFER, SDP),
        ("MESSAGE", "Content-Type: text/plain\r\n", "hello"),
        ("SUBSCRIBE", "Contact: <sip:carl@192.0.2.7>\r\nEvent: presence\r\n", ""),
    ] {
        let mut world = World::new();
        let request = world.request(method, "sip:ana@example.org", "carl", fields, body);
        world.receive(Message::Request(request.clone()), udp(5062));
        assert_eq!(world.last_response().status, 401, "{method}");
        let signed = world.signed(request, "ana", "secret", Algorithm::Sha256);
        world.receive(Message::Request(signed), udp(5062));
        assert_eq!(world.last_response().status, 403, "{method}");
        assert!(
            world.legs.is_empty() && world.messages.is_empty() && world.subscriptions.is_empty()
        );
    }
}

#[test]
fn two_senders_are_none() {
    let mut world = World::new();
    let mut invite = world.request("INVITE", "sip:ana@example.org", "carl", OFFER, SDP);
    invite.headers.push("From", "<sip:ana@example.org>;tag=2");
    let text = Message::Request(invite).to_bytes();
    let error = parse_datagram(text, &Limits::default()).unwrap_err();
    world.core.handle_bad(&error, udp(5062), world.now);
    world.drain();
    assert_eq!(world.last_response().status, 400);
    assert!(world.legs.is_empty());
}

#[test]
fn inside_a_dialog_who_comes_from_elsewhere_proves_the_account() {
    let mut world = World::new();
    let (invite, leg) = super::calls::called(&mut world);
    let ok = super::calls::accept(&mut world, leg);
    let ack = inside(&mut world, &invite, &ok, "ACK", "", "");
    world.receive(ack, udp(5060));
    world.legs.clear();
    world.sent.clear();
    // The same host from behind another port is the phone, as routers change ports.
    let info = inside(&mut world, &invite, &ok, "INFO", "", "");
    world.receive(info, udp(40_000));
    assert_eq!(world.said(), ["200"]);
    // From another host the tags alone end nothing.
    let bye = inside(&mut world, &invite, &ok, "BYE", "", "");
    world.receive(bye.clone(), elsewhere(5060));
    let Message::Request(bye) = bye else { unreachable!() };
    assert_eq!(world.last_response().status, 401);
    let caller = invite.headers.from().unwrap().uri.user_decoded().unwrap();
    let other = if caller == "ana" { "carl" } else { "ana" };
    let forged = world.signed(bye.clone(), other, "secret", Algorithm::Sha256);
    world.receive(Message::Request(forged), elsewhere(5060));
    assert_eq!(world.last_response().status, 403);
    assert!(!world.legs.iter().any(|(_, event)| matches!(event, LegEvent::Bye { .. })));
    // The phone itself in another network can say who it is.
    let mut bye = bye;
    bye.headers.set("Via", "SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKelsewhere;rport");
    world.receive(Message::Request(bye.clone()), elsewhere(5060));
    let signed = world.signed(bye, &caller, "secret", Algorithm::Sha256);
    world.receive(Message::Request(signed), elsewhere(5060));
    assert_eq!(world.last_response().status, 200);
    assert!(world.legs.iter().any(|(_, event)| matches!(event, LegEvent::Bye { .. })));
}

#[test]
fn a_body_that_is_covered_is_taken_only_as_it_was() {
    let offers = Config { auth_int: true, ..config() };
    for (config, offered) in [(config(), "qop=\"auth\""), (offers, "qop=\"auth,auth-int\"")] {
        let mut world = World::with(config, Vec::new());
        let text = "Content-Type: text/plain\r\n";
        let message = world.request("MESSAGE", "sip:ana@example.org", "carl", text, "hello");
        world.receive(Message::Request(message.clone()), udp(5062));
        let challenge = world.last_response().headers.get("WWW-Authenticate").unwrap().to_owned();
        assert!(challenge.contains(offered), "{challenge}");
        let mut challenge = Challenge::parse(&challenge).unwrap();
        challenge.qop = vec![crate::auth::Qop::AuthInt];
        let ha1 = challenge.algorithm.ha1("carl", "example.org", "secret");
        for (n, (body, status)) in (1..).zip([("hullo", 401), ("hello", 200)]) {
            let what = ("MESSAGE", "sip:ana@example.org", &b"hello"[..]);
            let mut signed = message.clone();
            signed.body = Bytes::from(body);
            let credentials = challenge.answer("carl", &ha1, what, ("c", n));
            signed.headers.set("Authorization", credentials.to_string());
            let via = format!("SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKint{n};rport");
            signed.headers.set("Via", via);
            world.receive(Message::Request(signed), udp(5062));
            assert_eq!(world.last_response().status, status, "{body}");
        }
    }
}
