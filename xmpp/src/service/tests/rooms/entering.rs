//! XEP-0045 sections 7.1, 7.2, 7.6, 7.7, 7.14 and 11: in, about, out; and that nobody stays who is not there.

use super::*;

#[tokio::test]
async fn a_new_room_is_locked_until_it_is_configured() {
    let house = House::new();
    let (ana, bob) = (house.online("ana@d/a").await, house.online("bob@d/b").await);
    assert_eq!(
        ana.enter("Ana").await,
        ["+Ana owner/moderator ana@d/a 110 100 201", "tea@rooms.d subject:"]
    );
    assert_eq!(bob.enter("Bob").await, ["presence item-not-found"]);
    // An instant room: an empty form.
    assert_eq!(ana.configure(&[]).await, ["iq result"]);
    assert_eq!(bob.enter("Bob").await, ["presence registration-required"]);
}

/// Section 7.1: the others, oneself, what was said, the subject, and then what happens.
#[tokio::test]
async fn the_order_of_entering_is_sacred() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    let (bob, carl) = (house.online("bob@d/b").await, house.online("carl@d/c").await);
    bob.enter("Bob").await;
    ana.talk("one").await;
    bob.talk("two").await;
    ana.say("<message to='tea@rooms.d' type='groupchat'><subject>Tea</subject></message>").await;
    ana.read().await;
    bob.read().await;
    let mut told = carl.enter("Carl").await;
    told[..2].sort();
    assert_eq!(
        told,
        [
            "+Ana owner/moderator ana@d/a",
            "+Bob none/participant bob@d/b",
            "+Carl none/participant carl@d/c 110 100 170",
            "late Ana: one",
            "late Bob: two",
            "late Ana subject: Tea",
        ]
    );
    assert_eq!(bob.read().await, ["+Carl none/participant carl@d/c"]);
    assert_eq!(ana.read().await, ["+Carl none/participant carl@d/c"]);
    ana.talk("three").await;
    assert_eq!(carl.read().await, ["Ana: three"]);
}

/// Section 7.2.17.
#[tokio::test]
async fn who_may_not_enter_learns_why() {
    let secret = ("muc#roomconfig_roomsecret", "s");
    let locked = ("muc#roomconfig_passwordprotectedroom", "1");
    let table: &[(Fields<'_>, &str, &str, &str)] = &[
        (&[], "Bob", "", "registration-required"),
        (&[OPEN, secret, locked], "Bob", "", "not-authorized"),
        (&[OPEN, secret, locked], "Bob", "<password>x</password>", "not-authorized"),
        (&[OPEN, secret, locked], "Bob", "<password>s</password>", ""),
        (&[OPEN], "Ana", "", "conflict"),
        (&[OPEN], "ANA", "", "conflict"),
        (&[OPEN], " ana ", "", "conflict"),
        (&[OPEN, ("muc#roomconfig_maxusers", "1")], "Bob", "", "service-unavailable"),
        (&[OPEN, ("tandem#roomconfig_locknicks", "1")], "Bob", "", "not-acceptable"),
        (&[OPEN], "   ", "", "not-acceptable"),
    ];
    for (fields, nick, x, expected) in table {
        let house = House::new();
        let _ana = house.tea(fields).await;
        let told = house.online("bob@d/b").await.enter_with(nick, x).await;
        if expected.is_empty() {
            assert!(told.iter().any(|s| s.contains(" 110")), "{fields:?}: {told:?}");
        } else {
            assert_eq!(told, [format!("presence {expected}")], "{fields:?} {nick}");
        }
    }
}

#[tokio::test]
async fn the_banned_and_the_nameless_stay_outside() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    let bob = house.online("bob@d/b").await;
    ana.admin("<item affiliation='outcast' jid='bob@d'/>").await;
    assert_eq!(bob.read().await, ["tea@rooms.d message outcast/none 101"]);
    assert_eq!(bob.enter("Bob").await, ["presence forbidden"]);
    let nameless =
        "<presence to='tea@rooms.d'><x xmlns='http://jabber.org/protocol/muc'/></presence>";
    let carl = house.online("carl@d/c").await;
    carl.say(nameless).await;
    assert_eq!(carl.read().await, ["presence jid-malformed"]);
    // A ban of a domain is one of everybody there.
    ana.admin("<item affiliation='outcast' jid='evil.example'/>").await;
    house
        .afar(
            "<presence from='x@evil.example/y' to='tea@rooms.d/X'>\
             <x xmlns='http://jabber.org/protocol/muc'/></presence>",
        )
        .await;
    assert_eq!(house.remote(), ["presence forbidden"]);
}

#[tokio::test]
async fn only_so_many_rooms_are_made_and_by_whom() {
    let house = House::with(|config| config.rooms.max_owned = 1);
    let ana = house.tea(&[]).await;
    let make =
        "<presence to='other@rooms.d/A'><x xmlns='http://jabber.org/protocol/muc'/></presence>";
    ana.say(make).await;
    assert_eq!(ana.read().await, ["presence not-allowed"]);
    house.afar(&make.replacen("<presence", "<presence from='x@far/y'", 1)).await;
    assert_eq!(house.remote(), ["presence not-allowed"]);
    let house = House::with(|config| config.rooms.max_rooms = 0);
    let bob = house.online("bob@d/b").await;
    assert_eq!(bob.enter("Bob").await, ["presence not-allowed"]);
    let house = House::with(|config| config.rooms.max_joined = 1);
    let ana = house.tea(&[]).await;
    ana.say(make).await;
    assert_eq!(ana.read().await, ["presence resource-constraint"]);
}

/// Section 7.2.1: whoever enters twice has lost track, and hears everything again.
#[tokio::test]
async fn entering_again_tells_everything_again() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    let bob = house.online("bob@d/b").await;
    let first = bob.enter("Bob").await;
    assert_eq!(bob.enter("Bob").await, first);
    ana.read().await;
    ana.talk("x").await;
    assert_eq!(bob.read().await, ["Bob: x".replace("Bob", "Ana")], "once, not twice");
}

/// Section 7.2.18.
#[tokio::test]
async fn presence_without_the_wish_to_enter_shows_that_one_is_outside() {
    let house = House::new();
    let _ana = house.tea(&[OPEN]).await;
    let bob = house.online("bob@d/b").await;
    bob.say("<presence to='tea@rooms.d/Bob'/>").await;
    bob.say("<presence to='nowhere@rooms.d/Bob'/>").await;
    assert_eq!(bob.read().await, ["-Bob none/none 110 307 333"; 2]);
}

/// Section 7.2.8.
#[tokio::test]
async fn one_person_has_one_name_on_many_devices() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    let (phone, desk) = (house.online("bob@d/phone").await, house.online("bob@d/desk").await);
    phone.enter("Bob").await;
    desk.read().await;
    let told = desk.enter("Bob").await;
    assert_eq!(told[1], "+Bob none/participant bob@d/desk 110 100 170");
    phone.read().await;
    ana.read().await;
    ana.talk("x").await;
    assert_eq!(phone.read().await, ["Ana: x"]);
    assert_eq!(desk.read().await, ["Ana: x"]);
    desk.talk("y").await;
    assert_eq!(phone.read().await, ["Bob: y"]);
    // One goes: the name stays, seen from the other.
    desk.read().await;
    ana.read().await;
    desk.leave("Bob").await;
    assert_eq!(desk.read().await, ["-Bob none/none bob@d/phone 110"]);
    assert_eq!(ana.read().await, ["+Bob none/participant bob@d/phone"]);
    phone.leave("Bob").await;
    assert_eq!(ana.read().await, ["-Bob none/none bob@d/phone"]);
}

#[tokio::test]
async fn people_are_counted_and_admins_find_a_place_in_the_reserve() {
    let house = House::new();
    let ana = house.tea(&[OPEN, ("muc#roomconfig_maxusers", "2")]).await;
    ana.admin("<item affiliation='admin' jid='carl@d'/>").await;
    let bob = house.online("bob@d/b").await;
    assert!(bob.enter("Bob").await.len() > 1);
    let bob2 = house.online("bob@d/second").await;
    assert!(bob2.enter("Bob").await.len() > 1, "the same person takes no second place");
    let other = house.online("p1@d/x").await;
    assert_eq!(other.enter("P").await, ["presence service-unavailable"]);
    let carl = house.online("carl@d/c").await;
    assert!(carl.enter("Carl").await.len() > 1);
}

/// The issue's own race: twenty for ten places.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_race_for_ten_places_and_ten_are_inside() {
    let house = Arc::new(House::new());
    let ana = house.tea(&[OPEN]).await;
    ana.leave("Ana").await;
    ana.read().await;
    let mut guests = Vec::new();
    for n in 0..20 {
        guests.push(house.online(&format!("p{n}@d/x")).await);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (n, guest) in guests.into_iter().enumerate() {
        tasks.spawn(async move {
            let told = guest.enter(&format!("P{n}")).await;
            (told.iter().any(|s| s.contains(" 110")), guest)
        });
    }
    let tried = tasks.join_all().await;
    let inside = tried.iter().filter(|(inside, _)| *inside).count();
    assert_eq!(inside, 10);
    let (_, first) = tried.into_iter().find(|(inside, _)| *inside).unwrap();
    assert_eq!(occupants(&first).await, 10);
}

async fn occupants(guest: &Guest) -> usize {
    let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    let answer = guest.answer("tea@rooms.d", "get", info).await;
    let text = String::from_utf8(answer.to_bytes().to_vec()).unwrap();
    let at = text.split_once("muc#roominfo_occupants").unwrap().1;
    at.split_once("<value>").unwrap().1.split_once('<').unwrap().0.parse().unwrap()
}

/// Whatever order things come in: who is gone is not inside.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_of_comings_and_goings_leaves_no_ghost() {
    let house = Arc::new(House::new());
    let ana = house.tea(&[OPEN]).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..9 {
        let house = house.clone();
        tasks.spawn(async move {
            for round in 0..40 {
                let guest = house.online(&format!("p{n}@d/x")).await;
                guest.enter(&format!("P{n}")).await;
                match round % 4 {
                    // The connection is lost.
                    0 => guest.0.lose().await,
                    // It says goodbye to everybody.
                    1 => {
                        guest.say("<presence type='unavailable'/>").await;
                        guest.0.lose().await;
                    }
                    // A new stream takes the place of this one, which is lost later.
                    2 => {
                        let newer = house.online(&format!("p{n}@d/x")).await;
                        guest.0.lose().await;
                        newer.0.lose().await;
                    }
                    // It leaves and comes again in a hurry.
                    _ => {
                        guest.leave(&format!("P{n}")).await;
                        guest.enter(&format!("P{n}")).await;
                        guest.talk("x").await;
                        guest.0.lose().await;
                    }
                }
            }
        });
    }
    tasks.join_all().await;
    ana.read().await;
    assert_eq!(occupants(&ana).await, 1);
    assert!(house.world.server.halls_are_tidy(), "nobody is noted as inside who is not");
}

/// RFC 6121 section 4.6.3: a client that goes offline leaves, with its last words.
#[tokio::test]
async fn who_goes_offline_leaves() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    let bob = house.online("bob@d/b").await;
    bob.enter("Bob").await;
    ana.read().await;
    bob.say("<presence type='unavailable'><status>tired</status></presence>").await;
    let read = ana.0.read().await;
    assert_eq!(brief(&read[0]), "-Bob none/none bob@d/b");
    assert!(read[0].contains("<status>tired</status>"), "{read:?}");
    bob.say("<presence/>").await;
    bob.enter("Bob").await;
    ana.read().await;
    bob.0.lose().await;
    assert_eq!(ana.read().await, ["-Bob none/none bob@d/b"]);
}

/// Section 7.6.
#[tokio::test]
async fn a_new_name_is_told_with_the_old() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    let bob = house.online("bob@d/b").await;
    bob.enter("Bob").await;
    ana.read().await;
    bob.say("<presence to='tea@rooms.d/Robert'/>").await;
    let told = ["-Bob none/participant bob@d/b Robert 303", "+Robert none/participant bob@d/b"];
    assert_eq!(ana.read().await, told);
    let own =
        ["-Bob none/participant bob@d/b Robert 303 110", "+Robert none/participant bob@d/b 110"];
    assert_eq!(bob.read().await, own);
    bob.say("<presence to='tea@rooms.d/Ana'/>").await;
    assert_eq!(bob.read().await, ["presence conflict"]);
    // The same name in other letters is still theirs.
    bob.say("<presence to='tea@rooms.d/ROBERT'/>").await;
    assert_eq!(bob.read().await.len(), 2);
    ana.read().await;
    ana.talk("x").await;
    assert_eq!(bob.read().await, ["Ana: x"]);
}

#[tokio::test]
async fn a_locked_nickname_is_given_and_kept() {
    let house = House::new();
    let ana = house.tea(&[OPEN, ("tandem#roomconfig_locknicks", "1")]).await;
    ana.admin("<item affiliation='member' jid='bob@d' nick='Robert'/>").await;
    let bob = house.online("bob@d/b").await;
    bob.read().await;
    let told = bob.enter("Bob").await;
    assert!(
        told.contains(&"+Robert member/participant bob@d/b 110 100 170 210".into()),
        "{told:?}"
    );
    bob.say("<presence to='tea@rooms.d/Bobby'/>").await;
    assert_eq!(bob.read().await, ["presence not-acceptable"]);
}

/// Section 7.7, and that a flood of it is not passed on.
#[tokio::test]
async fn a_change_of_presence_is_shown_and_a_flood_is_not() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    let bob = house.online("bob@d/b").await;
    bob.enter("Bob").await;
    ana.read().await;
    bob.say("<presence to='tea@rooms.d/Bob'><show>away</show></presence>").await;
    let read = ana.0.read().await;
    assert!(read[0].contains("<show>away</show>"), "{read:?}");
    // The same again is no change.
    bob.say("<presence to='tea@rooms.d/Bob'><show>away</show></presence>").await;
    assert!(ana.read().await.is_empty());
    for n in 0..200 {
        bob.say(&format!("<presence to='tea@rooms.d/Bob'><status>{n}</status></presence>")).await;
    }
    assert!(ana.read().await.len() < 30);
    // Who enters sees the last.
    let carl = house.online("carl@d/c").await;
    let muc = "http://jabber.org/protocol/muc";
    carl.say(&format!("<presence to='tea@rooms.d/C'><x xmlns='{muc}'/></presence>")).await;
    let told = carl.0.read().await.join("");
    assert!(told.contains("<status>199</status>"), "{told}");
}

/// Sections 7.2.3 and 7.2.4.
#[tokio::test]
async fn addresses_are_for_moderators_where_the_room_says_so() {
    let house = House::new();
    let ana = house.tea(&[OPEN, SEMI]).await;
    let (bob, carl) = (house.online("bob@d/b").await, house.online("carl@d/c").await);
    let told = bob.enter("Bob").await;
    assert_eq!(told[0], "+Ana owner/moderator");
    assert_eq!(told[1], "+Bob none/participant bob@d/b 110 170");
    assert_eq!(ana.read().await, ["+Bob none/participant bob@d/b"]);
    carl.enter("Carl").await;
    assert_eq!(bob.read().await, ["+Carl none/participant"]);
    carl.leave("Carl").await;
    assert_eq!(bob.read().await, ["-Carl none/none"]);
}

/// XEP-0421: the same at each visit, another in each room, and nobody can say a false one.
#[tokio::test]
async fn occupant_ids_are_stable_and_not_forged() {
    let house = House::new();
    let _ana = house.tea(&[OPEN]).await;
    let bob = house.online("bob@d/b").await;
    let id = |read: &[String], nick: &str| {
        let own = read.iter().find(|s| s.contains(&format!("/{nick}'"))).unwrap();
        assert_eq!(own.matches("<occupant-id").count(), 1, "{own}");
        own.split_once("urn:xmpp:occupant-id:0' id='")
            .unwrap()
            .1
            .split('\'')
            .next()
            .unwrap()
            .to_owned()
    };
    let muc = "http://jabber.org/protocol/muc";
    let forged = "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/>";
    let enter = format!("<presence to='tea@rooms.d/Bob'><x xmlns='{muc}'/>{forged}</presence>");
    bob.say(&enter).await;
    let first = id(&bob.0.read().await, "Bob");
    assert!(first.len() <= 128 && first != "forged");
    bob.leave("Bob").await;
    assert_eq!(id(&bob.0.read().await, "Bob"), first);
    bob.say(&enter).await;
    assert_eq!(id(&bob.0.read().await, "Bob"), first);
    bob.say(&format!(
        "<message to='tea@rooms.d' type='groupchat'><body>x</body>{forged}</message>"
    ))
    .await;
    assert_eq!(id(&bob.0.read().await, "Bob"), first);
    // After a restart too.
    let house = house.restarted();
    let bob = house.online("bob@d/b").await;
    bob.say(&enter).await;
    assert_eq!(id(&bob.0.read().await, "Bob"), first);
}

/// Section 11.1: what comes back shows that somebody is not there any more.
#[tokio::test]
async fn who_cannot_be_reached_is_put_out() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    let enter = |who: &str, nick: &str| {
        format!(
            "<presence from='{who}' to='tea@rooms.d/{nick}'>\
             <x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
    };
    for condition in ["gone", "item-not-found", "recipient-unavailable", "remote-server-not-found"]
    {
        house.afar(&enter("x@far/y", "X")).await;
        ana.read().await;
        let bounce = format!(
            "<message from='x@far/y' to='tea@rooms.d/Ana' type='error'><error type='cancel'>\
             <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        );
        house.afar(&bounce).await;
        assert_eq!(ana.read().await, ["-X none/none x@far/y 333"], "{condition}");
    }
    house.afar(&enter("x@far/y", "X")).await;
    ana.read().await;
    house.afar("<presence from='x@far/y' to='tea@rooms.d/X' type='error'/>").await;
    assert_eq!(ana.read().await, ["-X none/none x@far/y 333"]);
    // A refusal that is no sign of absence changes nothing.
    house.afar(&enter("x@far/y", "X")).await;
    ana.read().await;
    house
        .afar(
            "<message from='x@far/y' to='tea@rooms.d/Ana' type='error'><error type='modify'>\
             <policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>",
        )
        .await;
    assert!(ana.read().await.is_empty());
}

/// The other server cannot be reached at all.
#[tokio::test]
async fn who_cannot_even_be_sent_to_is_put_out() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    house
        .afar(
            "<presence from='x@far/y' to='tea@rooms.d/X'>\
             <x xmlns='http://jabber.org/protocol/muc'/></presence>",
        )
        .await;
    ana.read().await;
    house.remote.set_reachable(false);
    ana.talk("x").await;
    assert_eq!(ana.read().await, ["Ana: x", "-X none/none x@far/y 333"]);
}

/// XEP-0410.
#[tokio::test]
async fn a_ping_to_oneself_says_whether_one_is_inside() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    let bob = house.online("bob@d/b").await;
    let ping = "<ping xmlns='urn:xmpp:ping'/>";
    assert_eq!(ana.ask("tea@rooms.d/Ana", "get", ping).await, ["iq result"]);
    assert_eq!(bob.ask("tea@rooms.d/Bob", "get", ping).await, ["iq not-acceptable"]);
    assert_eq!(bob.ask("tea@rooms.d/Ana", "get", ping).await, ["iq not-acceptable"]);
    assert_eq!(bob.ask("nowhere@rooms.d/Bob", "get", ping).await, ["iq not-acceptable"]);
    assert_eq!(ana.ask("tea@rooms.d/Nobody", "get", ping).await, ["iq item-not-found"]);
    // The same person's other device is not inside.
    let ana2 = house.online("ana@d/second").await;
    assert_eq!(ana2.ask("tea@rooms.d/Ana", "get", ping).await, ["iq not-acceptable"]);
}

/// Section 11.2.
#[tokio::test]
async fn the_end_of_the_service_is_told() {
    let house = House::new();
    let ana = house.tea(&[]).await;
    house.world.server.close_rooms();
    assert_eq!(ana.read().await, ["-Ana owner/none ana@d/a 110 332"]);
}

/// Status codes 102 and 103.
#[tokio::test]
async fn absent_members_are_shown_where_the_room_says_so() {
    let house = House::new();
    let ana = house.tea(&[("tandem#roomconfig_showabsent", "1")]).await;
    ana.admin("<item affiliation='member' jid='bob@d' nick='Bob'/>").await;
    ana.admin("<item affiliation='member' jid='carl@d'/>").await;
    let carl = house.online("carl@d/c").await;
    carl.read().await;
    let told = carl.enter("Carl").await;
    assert!(told.contains(&"-Bob member/none bob@d".into()), "{told:?}");
    ana.read().await;
    let told = ana.configure(&[("tandem#roomconfig_showabsent", "0")]).await;
    assert_eq!(told, ["iq result", "tea@rooms.d message 103"]);
}

/// Section 7.2.1: who has lost track enters again, also one who is in as many rooms as may be.
#[tokio::test]
async fn the_last_room_that_may_be_entered_may_be_entered_again() {
    let house = House::with(|config| config.rooms.max_joined = 1);
    let ana = house.tea(&[]).await;
    let again = ana.enter("Ana").await;
    assert_eq!(again[0], "+Ana owner/moderator ana@d/a 110 100");
    let muc = "http://jabber.org/protocol/muc";
    ana.say(&format!("<presence to='cake@rooms.d/Ana'><x xmlns='{muc}'/></presence>")).await;
    assert_eq!(ana.read().await, ["presence resource-constraint"]);
}

/// Section 7.1: text for newcomers is not crowded out by notes that somebody has read it (XEP-0333).
#[tokio::test]
async fn a_newcomer_is_told_what_was_said_not_who_has_read_it() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    ana.talk("one").await;
    for n in 0..30 {
        ana.say(&format!(
            "<message to='tea@rooms.d' type='groupchat' id='r{n}'>\
             <displayed xmlns='urn:xmpp:chat-markers:0' id='m'/></message>"
        ))
        .await;
    }
    for house in [&house, &house.restarted()] {
        let bob = house.online("bob@d/b").await;
        let told = bob.enter("Bob").await;
        assert!(told.contains(&"late Ana: one".to_owned()), "{told:?}");
        assert!(!told.contains(&"late Ana message".to_owned()), "{told:?}");
    }
}

/// Section 10.1: whose role is not shown any more is seen to go, and nobody sees a ghost (`presencebroadcast`).
#[tokio::test]
async fn who_is_not_shown_any_more_is_seen_to_go() {
    let house = House::new();
    let shown = ("muc#roomconfig_presencebroadcast", "moderator");
    let ana = house.tea(&[OPEN]).await;
    let (bob, carl) = (house.online("bob@d/b").await, house.online("carl@d/c").await);
    bob.enter("Bob").await;
    carl.enter("Carl").await;
    ana.read().await;
    bob.read().await;
    // Carl becomes a moderator, which is all that is shown from now on.
    ana.admin("<item nick='Carl' role='moderator'/>").await;
    bob.read().await;
    carl.read().await;
    ana.configure(&[shown]).await;
    let gone = "-Bob none/none bob@d/b".to_owned();
    let seen = carl.read().await;
    assert!(seen.contains(&gone), "{seen:?}");
    bob.read().await;
    ana.admin("<item nick='Carl' role='participant'/>").await;
    let seen = bob.read().await;
    assert_eq!(seen, ["-Carl none/none carl@d/c"]);
    // And back again.
    carl.read().await;
    ana.admin("<item nick='Carl' role='moderator'/>").await;
    assert_eq!(bob.read().await, ["+Carl none/moderator carl@d/c"]);
    carl.leave("Carl").await;
    assert_eq!(bob.read().await, ["-Carl none/none carl@d/c"]);
    bob.leave("Bob").await;
    assert!(house.world.server.halls_are_tidy());
}
