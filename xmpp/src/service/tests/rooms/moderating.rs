//! XEP-0045 sections 8.2 to 8.5 and 9: roles and affiliations, who may change whose, and what everybody sees of it.

use super::*;

/// Ana owns, Adam is an admin, Mo a moderator without affiliation, Bob an ordinary participant, Mia a member.
struct Cast {
    house: House,
    ana: Guest,
    adam: Guest,
    mo: Guest,
    bob: Guest,
    mia: Guest,
}

impl Cast {
    async fn new(fields: &[(&str, &str)]) -> Self {
        let house = House::new();
        let ana = house.tea(fields).await;
        ana.admin("<item affiliation='admin' jid='p1@d'/><item affiliation='member' jid='p2@d'/>")
            .await;
        let mut guests = Vec::new();
        for (account, nick) in [("p1", "Adam"), ("p2", "Mia"), ("p3", "Mo"), ("p4", "Bob")] {
            let guest = house.online(&format!("{account}@d/x")).await;
            guest.enter(nick).await;
            guests.push(guest);
        }
        ana.admin("<item nick='Mo' role='moderator'/>").await;
        let mut guests = guests.into_iter();
        let mut next = || guests.next().unwrap();
        let (adam, mia, mo, bob) = (next(), next(), next(), next());
        let cast = Self { house, ana, adam, mo, bob, mia };
        cast.quiet().await;
        cast
    }

    async fn quiet(&self) {
        for guest in [&self.ana, &self.adam, &self.mo, &self.bob, &self.mia] {
            guest.read().await;
        }
    }

    fn who(&self, name: &str) -> &Guest {
        match name {
            "Ana" => &self.ana,
            "Adam" => &self.adam,
            "Mo" => &self.mo,
            "Mia" => &self.mia,
            _ => &self.bob,
        }
    }
}

/// Sections 5.1.1, 8.2 to 8.4, 9.6 and 9.7: who may give which role to whom.
#[tokio::test]
async fn roles_are_changed_by_those_who_may() {
    let table = [
        ("Mo", "Bob", "none", "result"),
        ("Mo", "Mia", "none", "not-allowed"),
        ("Mo", "Ana", "none", "not-allowed"),
        ("Mo", "Mo", "none", "conflict"),
        ("Adam", "Mo", "none", "result"),
        ("Adam", "Ana", "none", "not-allowed"),
        ("Bob", "Mia", "none", "forbidden"),
        ("Ana", "Nobody", "none", "item-not-found"),
        ("Mo", "Bob", "participant", "result"),
        ("Mo", "Adam", "visitor", "not-allowed"),
        ("Mo", "Ana", "participant", "not-allowed"),
        ("Mo", "Mia", "visitor", "not-allowed"),
        ("Adam", "Mia", "visitor", "result"),
        ("Adam", "Mo", "participant", "result"),
        ("Adam", "Ana", "participant", "not-allowed"),
        ("Ana", "Adam", "visitor", "not-allowed"),
        ("Mo", "Bob", "moderator", "forbidden"),
        ("Adam", "Bob", "moderator", "result"),
        ("Bob", "Bob", "participant", "forbidden"),
        ("Ana", "Bob", "king", "bad-request"),
    ];
    for (who, whom, role, expected) in table {
        let cast = Cast::new(&[OPEN, MODERATED]).await;
        let told = cast.who(who).admin(&format!("<item nick='{whom}' role='{role}'/>")).await;
        let answer = format!("iq {expected}");
        assert!(told.contains(&answer), "{who} makes {whom} {role}: {told:?}");
    }
}

/// Sections 5.2.1, 9.1 to 9.5 and 10.3 to 10.8: who may give which affiliation to whom.
#[tokio::test]
async fn affiliations_are_changed_by_those_who_may() {
    let table = [
        ("Adam", "p4@d", "member", "result"),
        ("Adam", "p4@d", "outcast", "result"),
        ("Adam", "p2@d", "none", "result"),
        ("Adam", "p4@d", "admin", "forbidden"),
        ("Adam", "p4@d", "owner", "forbidden"),
        ("Adam", "ana@d", "outcast", "not-allowed"),
        ("Adam", "ana@d", "none", "forbidden"),
        ("Adam", "p1@d", "outcast", "conflict"),
        ("Adam", "p1@d", "member", "result"),
        ("Ana", "p4@d", "owner", "result"),
        ("Ana", "p1@d", "none", "result"),
        ("Ana", "ana@d", "outcast", "conflict"),
        ("Ana", "ana@d", "admin", "conflict"),
        ("Ana", "ana@d", "none", "conflict"),
        ("Mo", "p4@d", "member", "forbidden"),
        ("Bob", "p4@d", "member", "forbidden"),
        ("Ana", "evil.example", "outcast", "result"),
        ("Ana", "evil.example", "member", "bad-request"),
        ("Ana", "@", "member", "jid-malformed"),
        ("Ana", "p4@d", "friend", "bad-request"),
    ];
    for (who, whom, affiliation, expected) in table {
        let cast = Cast::new(&[OPEN]).await;
        let item = format!("<item jid='{whom}' affiliation='{affiliation}'/>");
        let told = cast.who(who).admin(&item).await;
        let answer = format!("iq {expected}");
        assert!(told.contains(&answer), "{who} makes {whom} {affiliation}: {told:?}");
    }
}

/// Section 8.2: the one who goes, then the moderator, then the others.
#[tokio::test]
async fn a_kick_is_told_to_everybody_with_its_reason() {
    let cast = Cast::new(&[OPEN]).await;
    let told = cast.mo.admin("<item nick='Bob' role='none'><reason>Noise</reason></item>").await;
    assert_eq!(told, ["iq result", "-Bob none/none p4@d/x by Mo (Noise) 307"]);
    assert_eq!(cast.bob.read().await, ["-Bob none/none p4@d/x by Mo (Noise) 307 110"]);
    assert_eq!(cast.mia.read().await, ["-Bob none/none p4@d/x by Mo (Noise) 307"]);
    // It is no ban.
    assert!(cast.bob.enter("Bob").await.len() > 1);
}

/// Section 9.1.
#[tokio::test]
async fn a_ban_puts_out_and_keeps_out() {
    let cast = Cast::new(&[OPEN]).await;
    let ban = "<item affiliation='outcast' jid='p4@d/any'><reason>Noise</reason></item>";
    let told = cast.adam.admin(ban).await;
    assert_eq!(told, ["iq result", "-Bob outcast/none p4@d/x by Adam (Noise) 301"]);
    assert_eq!(cast.bob.read().await, ["-Bob outcast/none p4@d/x by Adam (Noise) 301 110"]);
    assert_eq!(cast.mia.read().await, ["-Bob outcast/none p4@d/x by Adam (Noise) 301"]);
    assert_eq!(cast.bob.enter("Bob").await, ["presence forbidden"]);
    let house = cast.house.restarted();
    let bob = house.online("p4@d/x").await;
    assert_eq!(bob.enter("Bob").await, ["presence forbidden"], "also after a restart");
}

#[tokio::test]
async fn a_ban_of_a_domain_puts_its_people_out() {
    let cast = Cast::new(&[OPEN]).await;
    cast.house
        .afar(
            "<presence from='x@far/y' to='tea@rooms.d/X'>\
             <x xmlns='http://jabber.org/protocol/muc'/></presence>",
        )
        .await;
    cast.quiet().await;
    let told = cast.ana.admin("<item affiliation='outcast' jid='far'/>").await;
    assert_eq!(told, ["iq result", "-X outcast/none x@far/y by Ana 301"]);
}

/// Section 9.4: only the removal, not first the loss.
#[tokio::test]
async fn who_loses_membership_leaves_a_members_room() {
    let house = House::new();
    let ana = house.tea(&[]).await;
    let bob = house.online("bob@d/b").await;
    ana.admin("<item affiliation='member' jid='bob@d'/>").await;
    // Section 9.5: a new member of such a room is invited.
    assert_eq!(bob.read().await, ["tea@rooms.d message invite ana@d/a"]);
    bob.enter("Bob").await;
    ana.read().await;
    let told = ana.admin("<item affiliation='none' jid='bob@d'/>").await;
    assert_eq!(told, ["iq result", "-Bob none/none bob@d/b by Ana 321"]);
    assert_eq!(bob.read().await, ["-Bob none/none bob@d/b by Ana 321 110"]);
    assert_eq!(bob.enter("Bob").await, ["presence registration-required"]);
}

/// Sections 8.3, 9.3, 9.6, 10.3 and 10.6: a change of somebody inside is shown with their presence.
#[tokio::test]
async fn a_change_of_somebody_inside_is_shown() {
    let table = [
        ("<item jid='p4@d' affiliation='member'/>", "+Bob member/participant"),
        ("<item jid='p4@d' affiliation='admin'/>", "+Bob admin/moderator"),
        ("<item jid='p4@d' affiliation='owner'/>", "+Bob owner/moderator"),
        ("<item nick='Bob' affiliation='member'/>", "+Bob member/participant"),
        ("<item nick='Bob' role='moderator'/>", "+Bob none/moderator"),
        ("<item nick='Bob' role='participant'/>", "+Bob none/participant"),
    ];
    for (item, shown) in table {
        let cast = Cast::new(&[OPEN, MODERATED]).await;
        let told = cast.ana.admin(item).await;
        assert_eq!(told, ["iq result".into(), format!("{shown} p4@d/x")], "{item}");
        assert_eq!(cast.bob.read().await, [format!("{shown} p4@d/x 110")], "{item}");
    }
    let cast = Cast::new(&[OPEN, MODERATED]).await;
    cast.ana.admin("<item jid='p1@d' affiliation='none'/>").await;
    assert_eq!(cast.adam.read().await, ["+Adam none/visitor p1@d/x 110"]);
}

/// Status code 101, and the note to those inside.
#[tokio::test]
async fn a_change_of_somebody_absent_is_told() {
    let cast = Cast::new(&[OPEN]).await;
    let carl = cast.house.online("carl@d/c").await;
    let told = cast.ana.admin("<item jid='carl@d' affiliation='owner'/>").await;
    assert_eq!(told, ["iq result", "tea@rooms.d message owner/none carl@d"]);
    assert_eq!(cast.bob.read().await, ["tea@rooms.d message owner/none carl@d"]);
    assert_eq!(carl.read().await, ["tea@rooms.d message owner/none 101"]);
    // Where addresses are hidden, only moderators learn of whom.
    let cast = Cast::new(&[OPEN, SEMI]).await;
    cast.ana.admin("<item jid='carl@d' affiliation='owner'/>").await;
    assert_eq!(cast.mo.read().await, ["tea@rooms.d message owner/none carl@d"]);
    assert!(cast.bob.read().await.is_empty());
}

/// Section 9.2: all of a request or nothing.
#[tokio::test]
async fn one_wrong_item_undoes_the_request() {
    let cast = Cast::new(&[OPEN]).await;
    let told = cast
        .adam
        .admin("<item jid='p4@d' affiliation='outcast'/><item jid='ana@d' affiliation='outcast'/>")
        .await;
    assert_eq!(told, ["iq not-allowed"]);
    assert!(cast.bob.read().await.is_empty());
    // Two owners who both leave in one request would leave none.
    cast.ana.admin("<item jid='p4@d' affiliation='owner'/>").await;
    let told = cast
        .ana
        .admin("<item jid='p4@d' affiliation='none'/><item jid='ana@d' affiliation='none'/>")
        .await;
    assert!(told.contains(&"iq conflict".into()), "{told:?}");
    // One of two may.
    assert!(cast.ana.admin("<item jid='ana@d' affiliation='member'/>").await[0] == "iq result");
}

#[tokio::test]
async fn a_change_that_cannot_be_kept_is_none() {
    let cast = Cast::new(&[OPEN]).await;
    cast.house.rooms.set_broken(true);
    let told = cast.ana.admin("<item jid='p4@d' affiliation='outcast'/>").await;
    assert_eq!(told, ["iq internal-server-error"]);
    assert!(cast.bob.read().await.is_empty());
    cast.house.rooms.set_broken(false);
    cast.bob.talk("still here").await;
    assert_eq!(cast.ana.read().await, ["Bob: still here"]);
}

async fn list(guest: &Guest, item: &str) -> Vec<String> {
    let query = format!("<query xmlns='http://jabber.org/protocol/muc#admin'>{item}</query>");
    let answer = guest.answer("tea@rooms.d", "get", &query).await;
    if answer.attr("type") == Some("error") {
        let error = answer.child("error", ns::CLIENT).unwrap();
        return vec![error.elements().next().unwrap().name().to_owned()];
    }
    let query = answer.elements().next().unwrap();
    let mut items: Vec<String> = query
        .elements()
        .map(|item| {
            let said = |name| item.attr(name).unwrap_or("-");
            let words = ["nick", "affiliation", "role", "jid"].map(said);
            words.join(" ")
        })
        .collect();
    items.sort();
    items
}

/// Sections 8.5, 9.2, 9.5, 9.8, 10.5 and 10.8.
#[tokio::test]
async fn lists_are_for_those_who_may_see_them() {
    let cast = Cast::new(&[OPEN]).await;
    cast.ana.admin("<item jid='p9@d' affiliation='outcast'><reason>x</reason></item>").await;
    let table: &[(&str, &str, &[&str])] = &[
        (
            "Mo",
            "role='participant'",
            &["Bob none participant p4@d/x", "Mia member participant p2@d/x"],
        ),
        ("Bob", "role='participant'", &["forbidden"]),
        ("Mo", "role='moderator'", &["forbidden"]),
        (
            "Adam",
            "role='moderator'",
            &[
                "Adam admin moderator p1@d/x",
                "Ana owner moderator ana@d/a",
                "Mo none moderator p3@d/x",
            ],
        ),
        ("Adam", "affiliation='outcast'", &["- outcast - p9@d"]),
        ("Bob", "affiliation='outcast'", &["forbidden"]),
        ("Bob", "affiliation='member'", &["- member - p2@d"]),
        ("Mia", "affiliation='owner'", &["- owner - ana@d"]),
        ("Ana", "affiliation='admin'", &["- admin - p1@d"]),
        ("Ana", "affiliation='none'", &["bad-request"]),
        ("Ana", "", &["bad-request"]),
    ];
    for (who, item, expected) in table {
        let found = list(cast.who(who), &format!("<item {item}/>")).await;
        assert_eq!(found, *expected, "{who}: {item}");
    }
    let cast = Cast::new(&[OPEN, SEMI]).await;
    assert_eq!(list(&cast.mia, "<item affiliation='member'/>").await, ["forbidden"]);
    assert_eq!(list(&cast.adam, "<item affiliation='member'/>").await, ["- member - p2@d"]);
    assert_eq!(list(&cast.adam, "<item affiliation='owner'/>").await, ["forbidden"]);
}

/// A nickname that an admin reserves is nobody else's; a ban frees it.
#[tokio::test]
async fn a_nickname_is_reserved() {
    let cast = Cast::new(&[OPEN]).await;
    let carl = cast.house.online("carl@d/c").await;
    cast.ana.admin("<item jid='p9@d' affiliation='member' nick='Zoe'/>").await;
    assert_eq!(carl.enter("zoe").await, ["presence conflict"]);
    let told = cast.ana.admin("<item jid='p8@d' affiliation='member' nick='ZOE'/>").await;
    assert_eq!(told, ["iq conflict"].iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
    cast.ana.admin("<item jid='p9@d' affiliation='outcast'/>").await;
    assert!(carl.enter("Zoe").await.len() > 1);
}

#[tokio::test]
async fn a_room_knows_only_so_many_people() {
    let house = House::with(|config| config.rooms.max_affiliations = 2);
    let ana = house.tea(&[]).await;
    assert_eq!(ana.admin("<item jid='p1@d' affiliation='member'/>").await[0], "iq result");
    let told = ana.admin("<item jid='p2@d' affiliation='member'/>").await;
    assert_eq!(told, ["iq resource-constraint"]);
}

/// XEP-0425: a moderator takes back what another said; newcomers do not hear it.
#[tokio::test]
async fn a_moderator_takes_a_message_back() {
    let cast = Cast::new(&[OPEN]).await;
    cast.bob.talk("rude").await;
    let heard = cast.mia.0.read().await.remove(0);
    let id = heard.split_once("by='tea@rooms.d' id='").unwrap().1.split('\'').next().unwrap();
    cast.quiet().await;
    let moderate = |id: &str| {
        format!(
            "<moderate xmlns='urn:xmpp:message-moderate:1' id='{id}'>\
             <retract xmlns='urn:xmpp:message-retract:1'/><reason>Rude</reason></moderate>"
        )
    };
    assert_eq!(cast.bob.ask("tea@rooms.d", "set", &moderate(id)).await, ["iq forbidden"]);
    assert_eq!(cast.mo.ask("tea@rooms.d", "set", &moderate("no")).await, ["iq item-not-found"]);
    let told = cast.mo.ask("tea@rooms.d", "set", &moderate(id)).await;
    assert!(told.contains(&"iq result".to_owned()), "{told:?}");
    let read = cast.mia.0.read().await.remove(0);
    for part in [
        "<message from='tea@rooms.d' ",
        &format!("<retract xmlns='urn:xmpp:message-retract:1' id='{id}'>"),
        "<moderated xmlns='urn:xmpp:message-moderate:1' by='tea@rooms.d/Mo'><occupant-id ",
        "<reason>Rude</reason>",
    ] {
        assert!(read.contains(part), "{part}: {read}");
    }
    let carl = cast.house.online("carl@d/c").await;
    assert!(!carl.enter("Carl").await.iter().any(|s| s.contains("rude")));
}

/// XEP-0424 section 5: only what one has said oneself.
#[tokio::test]
async fn a_sender_takes_its_own_message_back_and_no_other() {
    let cast = Cast::new(&[OPEN]).await;
    cast.bob.talk("oops").await;
    let heard = cast.mia.0.read().await.remove(0);
    let id = heard.split_once("by='tea@rooms.d' id='").unwrap().1.split('\'').next().unwrap();
    cast.quiet().await;
    let retract = format!(
        "<message to='tea@rooms.d' type='groupchat'>\
         <retract xmlns='urn:xmpp:message-retract:1' id='{id}'/></message>"
    );
    cast.mia.say(&retract).await;
    assert_eq!(cast.mia.read().await, ["message forbidden"]);
    cast.bob.say(&retract).await;
    assert_eq!(cast.mia.read().await, ["Bob message"]);
    let carl = cast.house.online("carl@d/c").await;
    assert!(!carl.enter("Carl").await.iter().any(|s| s.contains("oops")));
}
