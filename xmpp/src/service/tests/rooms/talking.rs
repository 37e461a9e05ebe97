//! XEP-0045 sections 7.4, 7.5, 7.8, 7.13, 8.1: what is said, to all, to one, to those outside.

use super::*;

async fn two(fields: &[(&str, &str)]) -> (House, Guest, Guest) {
    let house = House::new();
    let ana = house.tea(fields).await;
    let bob = house.online("bob@d/b").await;
    bob.enter("Bob").await;
    ana.read().await;
    (house, ana, bob)
}

#[tokio::test]
async fn everybody_hears_it_the_speaker_too_with_the_same_id() {
    let (_house, ana, bob) = two(&[OPEN]).await;
    bob.say(
        "<message to='tea@rooms.d' type='groupchat' id='m7' xml:lang='de'><body>Tee?</body>\
         <active xmlns='http://jabber.org/protocol/chatstates'/>\
         <thing xmlns='urn:unknown' a='1'>é &amp; ü</thing></message>",
    )
    .await;
    for guest in [&ana, &bob] {
        let read = guest.0.read().await;
        let to = guest.0.jid.as_str();
        let head = format!("<message from='tea@rooms.d/Bob' to='{to}' ");
        assert!(read[0].starts_with(&head) && read.len() == 1, "{read:?}");
        for part in [
            "id='m7'",
            "type='groupchat'",
            "xml:lang='de'",
            "<thing xmlns='urn:unknown' a='1'>é &amp; ü</thing>",
            "<stanza-id xmlns='urn:xmpp:sid:0' by='tea@rooms.d' id='",
        ] {
            assert!(read[0].contains(part), "{part}: {read:?}");
        }
    }
}

#[tokio::test]
async fn what_only_the_room_may_say_is_taken_out() {
    let (_house, ana, bob) = two(&[OPEN]).await;
    bob.say(
        "<message to='tea@rooms.d' type='groupchat'><body>x</body>\
         <x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='owner'/></x>\
         <s:stanza-id xmlns:s='urn:xmpp:sid:0' by='tea@rooms.d' id='forged'/>\
         <stanza-id xmlns='urn:xmpp:sid:0' by='TEA@rooms.d' id='forged'/>\
         <stanza-id xmlns='urn:xmpp:sid:0' by='bob@d' id='his own'/>\
         <origin-id xmlns='urn:xmpp:sid:0' id='o1'/>\
         <delay xmlns='urn:xmpp:delay' from='tea@rooms.d' stamp='2000-01-01T00:00:00Z'/>\
         <delay xmlns='urn:xmpp:delay' from='bob@d' stamp='2001-01-01T00:00:00Z'/>\
         <hats xmlns='urn:xmpp:hats:0'><hat uri='u' title='King'/></hats></message>",
    )
    .await;
    let read = ana.0.read().await.remove(0);
    for gone in ["forged", "muc#user", "2000-01-01", "King"] {
        assert!(!read.contains(gone), "{gone}: {read}");
    }
    for left in ["his own", "id='o1'", "2001-01-01"] {
        assert!(read.contains(left), "{left}: {read}");
    }
    assert_eq!(read.matches("by='tea@rooms.d'").count(), 1);
}

/// A state is passed and not remembered: it has no id in the archive.
#[tokio::test]
async fn typing_is_passed_without_an_id() {
    let (house, ana, bob) = two(&[OPEN]).await;
    bob.say(
        "<message to='tea@rooms.d' type='groupchat'>\
         <composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
    )
    .await;
    let read = ana.0.read().await;
    assert!(read[0].contains("<composing") && !read[0].contains("<stanza-id"), "{read:?}");
    let carl = house.online("carl@d/c").await;
    assert!(!carl.enter("Carl").await.iter().any(|s| s.starts_with("late")));
}

/// Section 7.4.
#[tokio::test]
async fn who_may_not_speak_is_told_so() {
    let (house, _ana, bob) = two(&[OPEN, MODERATED]).await;
    bob.talk("x").await;
    assert_eq!(bob.read().await, ["message forbidden"]);
    let carl = house.online("carl@d/c").await;
    carl.talk("x").await;
    assert_eq!(carl.read().await, ["message not-acceptable"]);
    carl.say("<message to='nowhere@rooms.d' type='groupchat'><body>x</body></message>").await;
    assert_eq!(carl.read().await, ["message item-not-found"]);
    carl.say("<message to='rooms.d' type='groupchat'><body>x</body></message>").await;
    assert_eq!(carl.read().await, ["message service-unavailable"]);
}

/// Section 8.1.
#[tokio::test]
async fn the_subject_is_set_by_those_who_may() {
    let (_house, ana, bob) = two(&[OPEN, ("muc#roomconfig_changesubject", "0")]).await;
    let subject = |text: &str, more: &str| {
        format!(
            "<message to='tea@rooms.d' type='groupchat'><subject>{text}</subject>{more}</message>"
        )
    };
    bob.say(&subject("Mine", "")).await;
    assert_eq!(bob.read().await, ["message forbidden"]);
    ana.say(&subject("Tea", "")).await;
    assert_eq!(bob.read().await, ["Ana subject: Tea"]);
    // With a body or a thread it is a message like any other.
    bob.say(&subject("Mine", "<body>x</body>")).await;
    assert_eq!(ana.read().await, ["Ana subject: Tea", "Bob: x"]);
    bob.say(&subject("Mine", "<thread>t</thread>")).await;
    bob.read().await;
    assert_eq!(bob.enter("Bob").await.last().unwrap(), "late Ana subject: Tea");
    ana.say(&subject("", "")).await;
    bob.read().await;
    assert_eq!(bob.enter("Bob").await.last().unwrap(), "late Ana subject:");
    ana.read().await;
    ana.say(&subject(&"x".repeat(5_000), "")).await;
    assert_eq!(ana.read().await, ["message policy-violation"]);
}

#[tokio::test]
async fn participants_set_the_subject_where_they_may() {
    let (house, _ana, bob) = two(&[OPEN]).await;
    bob.say("<message to='tea@rooms.d' type='groupchat'><subject>B</subject></message>").await;
    assert_eq!(bob.read().await, ["Bob subject: B"]);
    let house = house.restarted();
    let carl = house.online("carl@d/c").await;
    assert_eq!(carl.enter("Carl").await.last().unwrap(), "late Bob subject: B");
}

/// Section 7.5.
#[tokio::test]
async fn a_whisper_is_for_one_person_on_all_devices() {
    let (house, ana, bob) = two(&[OPEN]).await;
    let bob2 = house.online("bob@d/second").await;
    bob2.enter("Bob").await;
    bob.read().await;
    let carl = house.online("carl@d/c").await;
    carl.enter("Carl").await;
    for guest in [&ana, &bob, &bob2] {
        guest.read().await;
    }
    let whisper = |to: &str, kind: &str| {
        format!("<message to='tea@rooms.d/{to}' type='{kind}' id='w'><body>psst</body></message>")
    };
    ana.say(&whisper("Bob", "chat")).await;
    for guest in [&bob, &bob2] {
        let read = guest.0.read().await.remove(0);
        assert_eq!(brief(&read), "Anawhispers: psst");
        assert!(read.contains("<x xmlns='http://jabber.org/protocol/muc#user'/>"), "{read}");
        assert!(read.contains("<occupant-id ") && !read.contains("<stanza-id"), "{read}");
    }
    assert!(carl.read().await.is_empty());
    ana.say(&whisper("Bob", "groupchat")).await;
    assert_eq!(ana.read().await, ["message bad-request"]);
    ana.say(&whisper("Nobody", "chat")).await;
    assert_eq!(ana.read().await, ["message item-not-found"]);
    let outside = house.online("p1@d/x").await;
    outside.say(&whisper("Bob", "chat")).await;
    assert_eq!(outside.read().await, ["message not-acceptable"]);
    // The sender's other device there has a copy, one that is elsewhere has none (XEP-0280 section 6.1).
    let (ana2, ana3) = (house.online("ana@d/second").await, house.online("ana@d/third").await);
    ana2.enter("Ana").await;
    for guest in [&ana2, &ana3] {
        guest.say("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
        guest.read().await;
    }
    ana.read().await;
    ana.say(&whisper("Bob", "chat")).await;
    let copy = ana2.0.read().await.join("");
    assert!(copy.contains("<sent ") && copy.contains("to='tea@rooms.d/Bob'"), "{copy}");
    assert!(copy.contains("<x xmlns='http://jabber.org/protocol/muc#user'/>"), "{copy}");
    assert!(ana3.read().await.is_empty() && ana.read().await.is_empty());
    // It is in no history.
    assert!(!outside.enter("P").await.iter().any(|s| s.contains("psst")));
}

#[tokio::test]
async fn whispers_are_for_whom_the_room_allows_them() {
    let table = [
        ("anyone", "visitor", true),
        ("participants", "visitor", false),
        ("participants", "participant", true),
        ("moderators", "participant", false),
        ("moderators", "moderator", true),
        ("none", "moderator", false),
    ];
    for (allowed, role, passes) in table {
        let allow = ("muc#roomconfig_allowpm", allowed);
        let (_house, ana, bob) = two(&[OPEN, MODERATED, allow]).await;
        ana.admin(&format!("<item nick='Bob' role='{role}'/>")).await;
        bob.read().await;
        bob.say("<message to='tea@rooms.d/Ana' type='chat'><body>psst</body></message>").await;
        let heard = ana.read().await;
        assert_eq!(heard == ["Bobwhispers: psst"], passes, "{allowed} {role}");
        assert_eq!(bob.read().await == ["message forbidden"], !passes, "{allowed} {role}");
    }
}

/// Section 7.8: in a members-only room any member invites, and the invited is a member.
#[tokio::test]
async fn a_member_invites_and_the_invited_is_a_member() {
    let house = House::new();
    let ana = house.tea(&[("muc#roomconfig_roomname", "Tea")]).await;
    let (bob, carl) = (house.online("bob@d/b").await, house.online("carl@d/c").await);
    let invite = |whom: &str| {
        format!(
            "<message to='tea@rooms.d'><x xmlns='{USER}'><invite to='{whom}'>\
             <reason>Tea!</reason><continue thread='t'/></invite></x></message>"
        )
    };
    ana.say(&invite("bob@d")).await;
    let read = bob.0.read().await.remove(0);
    assert_eq!(brief(&read), "tea@rooms.d message invite ana@d/a");
    for part in ["<reason>Tea!</reason>", "<continue thread='t'/>"] {
        assert!(read.contains(part), "{read}");
    }
    assert!(bob.enter("Bob").await[1].contains("member/participant"));
    bob.say(&invite("carl@d")).await;
    assert_eq!(carl.read().await, ["tea@rooms.d message invite bob@d/b"]);
    assert!(carl.enter("Carl").await.len() > 2);
    // Nobody is there to be invited.
    bob.say(&invite("nobody@d")).await;
    assert!(bob.read().await.contains(&"message item-not-found".into()));
    // Who is outside invites nobody.
    let p1 = house.online("p1@d/x").await;
    p1.say(&invite("p2@d")).await;
    assert_eq!(p1.read().await, ["message not-acceptable"]);
    // The membership is kept.
    let house = house.restarted();
    let carl = house.online("carl@d/c").await;
    assert!(carl.enter("Carl").await.len() > 1);
}

#[tokio::test]
async fn only_admins_invite_where_the_room_says_so() {
    let house = House::new();
    let ana = house.tea(&[("muc#roomconfig_allowinvites", "0")]).await;
    ana.admin("<item affiliation='member' jid='bob@d'/>").await;
    let bob = house.online("bob@d/b").await;
    bob.read().await;
    bob.enter("Bob").await;
    let invite =
        format!("<message to='tea@rooms.d'><x xmlns='{USER}'><invite to='carl@d'/></x></message>");
    bob.say(&invite).await;
    assert_eq!(bob.read().await, ["message forbidden"]);
    let carl = house.online("carl@d/c").await;
    ana.say(&invite).await;
    assert_eq!(carl.read().await, ["tea@rooms.d message invite ana@d/a"]);
}

/// An invitation to an open room makes nobody a member, and brings the password; the address of the inviter is not
/// shown where it is hidden.
#[tokio::test]
async fn an_invitation_says_what_is_needed_and_no_more() {
    let protected = ("muc#roomconfig_passwordprotectedroom", "1");
    let secret = ("muc#roomconfig_roomsecret", "s");
    let house = House::new();
    let ana = house.tea(&[OPEN, SEMI, protected, secret]).await;
    let bob = house.online("bob@d/b").await;
    ana.say(&format!(
        "<message to='tea@rooms.d'><x xmlns='{USER}'><invite to='bob@d'/></x></message>"
    ))
    .await;
    assert_eq!(bob.read().await, ["tea@rooms.d message invite tea@rooms.d/Ana password s"]);
    let told = bob.enter_with("Bob", "<password>s</password>").await;
    assert!(told.iter().any(|s| s.contains("none/participant")), "{told:?}");
}

#[tokio::test]
async fn a_refusal_reaches_who_invited() {
    let house = House::new();
    let ana = house.tea(&[]).await;
    let (bob, carl) = (house.online("bob@d/b").await, house.online("carl@d/c").await);
    ana.say(&format!(
        "<message to='tea@rooms.d'><x xmlns='{USER}'><invite to='bob@d'/></x></message>"
    ))
    .await;
    bob.read().await;
    ana.read().await;
    let decline = format!(
        "<message to='tea@rooms.d'><x xmlns='{USER}'><decline to='ana@d'>\
         <reason>No tea</reason></decline></x></message>"
    );
    carl.say(&decline).await;
    assert_eq!(carl.read().await, ["message forbidden"], "not invited");
    bob.say(&decline).await;
    let read = ana.0.read().await.remove(0);
    assert_eq!(brief(&read), "tea@rooms.d message decline bob@d");
    assert!(read.contains("No tea"), "{read}");
    bob.say(&decline).await;
    assert_eq!(bob.read().await, ["message forbidden"], "once");
}

/// Sections 7.13 and 8.6.
#[tokio::test]
async fn voice_is_asked_for_and_given() {
    let (_house, ana, bob) = two(&[OPEN, MODERATED]).await;
    let request = |more: &str| {
        format!(
            "<message to='tea@rooms.d'><x xmlns='jabber:x:data' type='submit'>\
             <field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#request</value></field>\
             <field var='muc#role'><value>participant</value></field>{more}</x></message>"
        )
    };
    bob.say(&request("")).await;
    let asked = ana.0.read().await.remove(0);
    for part in ["muc#request_allow", "<value>Bob</value>", "<value>bob@d/b</value>"] {
        assert!(asked.contains(part), "{asked}");
    }
    let answer = request(
        "<field var='muc#roomnick'><value>Bob</value></field>\
         <field var='muc#request_allow'><value>true</value></field>",
    );
    bob.say(&answer).await;
    assert_eq!(bob.read().await, ["message forbidden"]);
    ana.say(&answer).await;
    assert_eq!(bob.read().await, ["+Bob none/participant bob@d/b 110"]);
    bob.talk("thanks").await;
    assert_eq!(bob.read().await, ["Bob: thanks"]);
    // Whoever has been given voice has it at the next visit.
    bob.leave("Bob").await;
    bob.read().await;
    assert!(bob.enter("Bob").await[1].contains("none/participant"));
}

#[tokio::test]
async fn what_is_for_nobody_is_refused() {
    let (_house, ana, bob) = two(&[OPEN]).await;
    bob.say("<message to='tea@rooms.d'><body>x</body></message>").await;
    assert_eq!(bob.read().await, ["message bad-request"]);
    assert!(ana.read().await.is_empty());
}

/// XEP-0313 section 8.1 and XEP-0045 section 7.2.14: what newcomers hear is bounded by their wish.
#[tokio::test]
async fn history_is_told_as_it_is_wished_for() {
    let (house, _ana, bob) = two(&[OPEN, ("muc#maxhistoryfetch", "5")]).await;
    for n in 0..9 {
        bob.talk(&n.to_string()).await;
    }
    let carl = house.online("carl@d/c").await;
    let heard = async |wish: &str| {
        let told = carl.enter_with("Carl", wish).await;
        told.iter()
            .filter_map(|s| s.strip_prefix("late Bob: ").map(str::to_owned))
            .collect::<String>()
    };
    assert_eq!(heard("").await, "45678");
    assert_eq!(heard("<history maxstanzas='2'/>").await, "78");
    assert_eq!(heard("<history maxchars='0'/>").await, "");
    assert_eq!(heard("<history since='2027-01-01T00:00:00Z'/>").await, "");
}

/// XEP-0249: an invitation from person to person passes the server as any message does.
#[tokio::test]
async fn a_direct_invitation_is_passed_untouched() {
    let house = House::new();
    let (ana, bob) = (house.online("ana@d/a").await, house.online("bob@d/b").await);
    let x = "<x xmlns='jabber:x:conference' jid='tea@rooms.d' password='p' reason='Tea' \
             continue='true' thread='t'/>";
    ana.say(&format!("<message to='bob@d'>{x}</message>")).await;
    let read = bob.0.read().await.remove(0);
    assert!(read.contains(x), "{read}");
}

/// Remote people are occupants like any others.
#[tokio::test]
async fn people_of_other_servers_take_part() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    house
        .afar(
            "<presence from='x@far/y' to='tea@rooms.d/X'>\
             <x xmlns='http://jabber.org/protocol/muc'/></presence>",
        )
        .await;
    assert_eq!(
        house.remote(),
        [
            "+Ana owner/moderator ana@d/a",
            "+X none/participant x@far/y 110 100 170",
            "tea@rooms.d subject:"
        ]
    );
    ana.read().await;
    ana.talk("x").await;
    assert_eq!(house.remote(), ["Ana: x"]);
    house
        .afar("<message from='x@far/y' to='tea@rooms.d' type='groupchat'><body>z</body></message>")
        .await;
    assert_eq!(ana.read().await, ["Ana: x", "X: z"]);
    assert_eq!(house.remote(), ["X: z"]);
}
