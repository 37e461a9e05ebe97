//! RFC 3261 sections 10.3 and 22, RFC 7616, RFC 8760: who registers what.

use super::*;

const CONTACT: &str = "Contact: <sip:ana@192.0.2.7:5060>\r\n";

#[test]
fn both_hashes_are_offered_the_stronger_first_and_each_lets_in() {
    for hash in Algorithm::ALL {
        let mut world = World::new();
        let register = world.request("REGISTER", "sip:example.org", "ana", CONTACT, "");
        world.receive(Message::Request(register.clone()), udp(5060));
        let challenge = world.last_response();
        assert_eq!(challenge.status, 401);
        let offered: Vec<Algorithm> = challenge
            .headers
            .get_all("WWW-Authenticate")
            .map(|text| Challenge::parse(text).unwrap().algorithm)
            .collect();
        assert_eq!(offered, [Algorithm::Sha256, Algorithm::Md5]);
        let signed = world.signed(register, "ana", "secret", hash);
        world.receive(Message::Request(signed.clone()), udp(5060));
        assert_eq!(world.last_response().status, 200);
        assert_eq!(world.tried, [("ana@example.org".to_owned(), true)]);
        // The same answer again in a new transaction is a replay: asked again, counted as no mistake.
        let mut replay = signed;
        replay.headers.set("Via", "SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKreplay;rport");
        world.receive(Message::Request(replay), udp(5060));
        let again = world.last_response();
        assert_eq!(again.status, 401);
        assert!(again.headers.get("WWW-Authenticate").unwrap().contains("stale=true"));
        assert_eq!(world.tried.len(), 1);
    }
}

#[test]
fn a_challenge_leaves_nothing_behind_and_a_repeat_gets_the_same_tag() {
    let mut world = World::new();
    for method in ["REGISTER", "INVITE"] {
        let request = world.request(method, "sip:example.org", "ana", CONTACT, "");
        let mut tags = Vec::new();
        for _ in 0..2 {
            world.receive(Message::Request(request.clone()), udp(5060));
            let challenge = world.last_response();
            assert_eq!(challenge.status, 401);
            tags.push(challenge.headers.to().unwrap().tag().unwrap().to_owned());
            assert!(world.core.layer.is_empty());
        }
        assert_eq!(tags[0], tags[1]);
        let other = world.request(method, "sip:example.org", "ana", CONTACT, "");
        world.receive(Message::Request(other), udp(5060));
        assert_ne!(world.last_response().headers.to().unwrap().tag(), Some(tags[0].as_str()));
    }
}

#[test]
fn an_old_nonce_is_renewed_and_counts_as_no_mistake() {
    let mut world = World::new();
    let register = world.request("REGISTER", "sip:example.org", "ana", CONTACT, "");
    world.receive(Message::Request(register.clone()), udp(5060));
    let signed = world.signed(register.clone(), "ana", "secret", Algorithm::Sha256);
    world.pass(301.0);
    world.receive(Message::Request(signed), udp(5060));
    let again = world.last_response();
    assert_eq!(again.status, 401);
    assert!(again.headers.get("WWW-Authenticate").unwrap().contains("stale=true"));
    assert!(world.tried.is_empty());
    let signed = world.signed(register, "ana", "secret", Algorithm::Sha256);
    world.receive(Message::Request(signed), udp(5060));
    assert_eq!(world.last_response().status, 200);
}

#[test]
fn a_phone_that_chokes_on_two_challenges_gets_one() {
    let mut world = World::new();
    let fields = "User-Agent: baresip v1.0.0 (x86_64/linux)\r\n";
    let register = world.request("REGISTER", "sip:example.org", "ana", fields, "");
    world.receive(Message::Request(register), udp(5060));
    let offered: Vec<_> = world.last_response().headers.get_all("WWW-Authenticate").collect();
    assert!(matches!(offered.as_slice(), [one] if one.contains("algorithm=MD5")), "{offered:?}");
}

#[test]
fn wrong_passwords_unknown_users_and_foreign_addresses_are_refused() {
    let mut world = World::new();
    for (user, password) in [("ana", "wrong"), ("nobody", "secret")] {
        let register = world.request("REGISTER", "sip:example.org", user, CONTACT, "");
        world.receive(Message::Request(register.clone()), udp(5060));
        let signed = world.signed(register, user, password, Algorithm::Md5);
        world.receive(Message::Request(signed), udp(5060));
        assert_eq!(world.last_response().status, 401, "{user}");
        assert_eq!(world.tried.pop(), Some((format!("{user}@example.org"), false)));
    }
    // Ana's password opens Ana's address only.
    let register = world.request("REGISTER", "sip:example.org", "carl", CONTACT, "");
    world.receive(Message::Request(register.clone()), udp(5060));
    let signed = world.signed(register, "ana", "secret", Algorithm::Md5);
    world.receive(Message::Request(signed), udp(5060));
    assert_eq!(world.last_response().status, 403);
    // Another domain is none of ours.
    let mut foreign = world.request("REGISTER", "sip:example.net", "ana", CONTACT, "");
    foreign.headers.set("To", "<sip:ana@example.net>");
    world.receive(Message::Request(foreign), udp(5060));
    assert_eq!(world.last_response().status, 404);
    assert!(world.saves.is_empty());
    // Whoever guesses too often waits.
    world.must_wait = Some(Duration::from_secs(4));
    assert_eq!(world.register("ana", CONTACT, udp(5060)), 503);
    assert_eq!(world.last_response().headers.get("Retry-After"), Some("4"));
}

#[test]
fn the_200_leaves_after_the_save_and_not_when_it_fails() {
    let mut world = World::new();
    world.holds_saves = true;
    world.ask("REGISTER", "sip:example.org", "ana", CONTACT, "", udp(5060));
    assert_eq!(world.said(), ["401"]);
    assert!(world.core.bindings("ana@example.org").is_empty());
    world.save(Ok(()));
    assert_eq!(world.said(), ["200"]);
    assert_eq!(world.core.bindings("ana@example.org").len(), 1);
    world.ask("REGISTER", "sip:example.org", "ana", "Contact: *\r\nExpires: 0\r\n", "", udp(5060));
    world.save(Err(StoreError::Unavailable("disk".into())));
    assert_eq!(world.said(), ["401", "500"]);
    assert_eq!(world.core.bindings("ana@example.org").len(), 1);
}

#[test]
fn a_refresh_is_confirmed_at_once_and_what_is_new_is_kept_before() {
    let mut world = World::new();
    let first = world.ask("REGISTER", "sip:example.org", "ana", CONTACT, "", udp(5060));
    assert_eq!((world.saves.len(), world.last_response().status), (1, 200));
    world.holds_saves = true;
    let again = |world: &mut World, cseq: &str, fields: &str, from: Flow| {
        let mut request = world.request("REGISTER", "sip:example.org", "ana", fields, "");
        request.headers.set("Call-ID", first.headers.get("Call-ID").unwrap());
        world.receive(Message::Request(request.clone()), from);
        let mut request = world.signed(request, "ana", "secret", Algorithm::Md5);
        request.headers.set("CSeq", cseq);
        world.sent.clear();
        world.receive(Message::Request(request), from);
        world.said()
    };
    world.pass(600.0);
    assert_eq!(again(&mut world, "20 REGISTER", CONTACT, udp(5060)), ["200"]);
    assert_eq!(world.saves.len(), 1, "nothing waits for the disk");
    let (account, kept) = world.refreshes.pop().unwrap();
    assert_eq!((account.as_str(), kept.len(), kept[0].cseq), ("ana@example.org", 1, 20));
    assert_eq!(world.core.bindings("ana@example.org"), kept);
    // It lasts: the time of the first is over, that of the second is not.
    world.pass(3_500.0);
    assert_eq!(world.core.bindings("ana@example.org").len(), 1);
    // Another address, less time or the end are kept before they are confirmed.
    let shorter = format!("{CONTACT}Expires: 60\r\n");
    let gone = format!("{CONTACT}Expires: 0\r\n");
    for (cseq, fields, from) in [
        ("21 REGISTER", CONTACT, udp(5061)),
        ("22 REGISTER", &shorter, udp(5061)),
        ("23 REGISTER", &gone, udp(5061)),
    ] {
        let saves = world.saves.len();
        assert_eq!(again(&mut world, cseq, fields, from), Vec::<String>::new());
        assert_eq!((world.saves.len(), world.refreshes.len()), (saves + 1, 0), "{cseq}");
        world.saves.drain(..saves);
        world.save(Ok(()));
        assert_eq!(world.said(), ["200"]);
        world.sent.clear();
    }
}

#[test]
fn times_stars_and_old_numbers_are_judged_as_the_rfc_says() {
    let table = [
        ("Contact: <sip:ana@192.0.2.7>;expires=59\r\n", 423),
        ("Contact: <sip:ana@192.0.2.7>;expires=60\r\n", 200),
        ("Contact: <sip:ana@192.0.2.7>\r\nExpires: 99999999\r\n", 200),
        ("Contact: *\r\n", 400),
        ("Contact: *\r\nExpires: 60\r\n", 400),
        ("Contact: *\r\nExpires: 0\r\n", 200),
        ("Contact: <tel:+431>\r\n", 403),
        ("Contact: <sip:a@192.0.2.7?Route=%3Csip:x%3E>\r\n", 400),
        ("", 200),
    ];
    for (fields, status) in table {
        let mut world = World::new();
        assert_eq!(world.register("ana", fields, udp(5060)), status, "{fields}");
        let least = world.last_response().headers.get("Min-Expires");
        assert_eq!(least, (status == 423).then_some("60"), "{fields}");
    }
    let mut world = World::new();
    world.register("ana", "Contact: <sip:ana@192.0.2.7>\r\nExpires: 99999999\r\n", udp(5060));
    let contact = world.last_response().headers.get("Contact").unwrap();
    assert!(contact.contains("expires=7200"), "{contact}");
    // An older REGISTER of the same phone that comes late changes nothing.
    let request = world.ask("REGISTER", "sip:example.org", "ana", CONTACT, "", udp(5060));
    let mut late = world.request("REGISTER", "sip:example.org", "ana", CONTACT, "");
    late.headers.set("Call-ID", request.headers.get("Call-ID").unwrap());
    late.headers.set("CSeq", "1 REGISTER");
    world.receive(Message::Request(late.clone()), udp(5060));
    let mut late = world.signed(late, "ana", "secret", Algorithm::Md5);
    late.headers.set("CSeq", "1 REGISTER");
    world.receive(Message::Request(late), udp(5060));
    assert_eq!(world.last_response().status, 500);
}

#[test]
fn several_phones_live_side_by_side_until_their_time_is_up() {
    let mut world = World::new();
    let one = "Contact: <sip:ana@192.0.2.7:5060>;expires=100;+sip.instance=\"<urn:uuid:1>\"\r\n";
    let moved = "Contact: <sip:ana@192.0.2.7:6000>;expires=300;+sip.instance=\"<urn:uuid:1>\"\r\n";
    let other = "Contact: <sip:ana@192.0.2.7:5070>;expires=200;q=0.5\r\n";
    world.register("ana", one, udp(5060));
    let id = world.binding("ana").id;
    world.register("ana", other, udp(5070));
    assert_eq!(world.core.bindings("ana@example.org").len(), 2);
    let told = world.last_response();
    assert_eq!(told.headers.get_all("Contact").count(), 2);
    for seconds in [";expires=100", ";expires=200"] {
        assert!(told.headers.get_all("Contact").any(|c| c.contains(seconds)), "{told:?}");
    }
    assert_eq!(told.headers.get("Date"), Some("Fri, 15 Jan 2027 08:00:00 GMT"));
    // The device is known by its instance wherever it moves, and keeps its name.
    world.register("ana", moved, udp(6000));
    let bindings = world.core.bindings("ana@example.org");
    assert_eq!(bindings.len(), 2);
    assert!(bindings.iter().any(|b| b.id == id && b.contact.contains(":6000")));
    world.saves.clear();
    world.pass(202.0);
    let left = world.core.bindings("ana@example.org");
    assert!(matches!(left, [binding] if binding.contact.contains(":6000")), "{left:?}");
    assert_eq!(world.saves.len(), 1, "what ran out is taken off the disk too");
    // What was kept comes back after a restart, but for what ran out meanwhile.
    let mut kept: Vec<Binding> = left.iter().map(|kept| Binding::clone(kept)).collect();
    kept.push(Binding { id: "old".into(), expires_at: 1_799_999_999, ..kept[0].clone() });
    let world = World::with(config(), kept);
    assert_eq!(world.core.bindings("ana@example.org").len(), 1);
}

#[test]
fn an_account_has_no_more_phones_than_the_limit() {
    let mut world = World::with(Config { max_contacts: 2, ..config() }, Vec::new());
    for port in [5061, 5062] {
        let contact = format!("Contact: <sip:ana@192.0.2.7:{port}>\r\n");
        assert_eq!(world.register("ana", &contact, udp(port)), 200);
    }
    assert_eq!(world.register("ana", "Contact: <sip:ana@192.0.2.7:5063>\r\n", udp(5063)), 403);
}

#[test]
fn an_address_of_ours_stands_for_the_domain() {
    let mut world = World::new();
    let mut register = world.request("REGISTER", "sip:192.0.2.1", "ana", CONTACT, "");
    register.headers.set("To", "<sip:ana@192.0.2.1>");
    world.receive(Message::Request(register.clone()), udp(5060));
    let signed = world.signed(register, "ana", "secret", Algorithm::Md5);
    world.receive(Message::Request(signed), udp(5060));
    assert_eq!(world.last_response().status, 200);
    assert_eq!(world.binding("ana").account, "ana@example.org");
}

#[test]
fn an_answer_goes_where_the_request_came_from_or_where_via_says() {
    let mut world = World::new();
    let with_rport = world.request("OPTIONS", "sip:example.org", "ana", "", "");
    world.receive(Message::Request(with_rport), udp(33_000));
    let (flow, _) = &world.sent[0];
    assert_eq!(flow.peer.port(), 33_000);
    let via = world.last_response().headers.top_via().unwrap();
    assert_eq!((via.rport(), via.received().is_some()), (Some(33_000), true));
    let mut without = world.request("OPTIONS", "sip:example.org", "ana", "", "");
    without.headers.set("Via", "SIP/2.0/UDP 192.0.2.7:5099;branch=z9hG4bKplain");
    world.receive(Message::Request(without), udp(33_000));
    assert_eq!(world.sent[1].0.peer.port(), 5_099);
}
