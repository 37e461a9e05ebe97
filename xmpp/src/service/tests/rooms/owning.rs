//! XEP-0045 section 10: a room is made, configured, kept, destroyed; XEP-0317 and XEP-0486: its hats and its picture.

use super::*;

const OWNER: &str = "http://jabber.org/protocol/muc#owner";

/// Section 10.1.3: the maker asks for the form, fills it in, and the room is one.
#[tokio::test]
async fn a_reserved_room_is_configured_before_anybody_enters() {
    let house = House::new();
    let (ana, bob) = (house.online("ana@d/a").await, house.online("bob@d/b").await);
    ana.enter("Ana").await;
    let query = format!("<query xmlns='{OWNER}'/>");
    let answer = ana.answer("tea@rooms.d", "get", &query).await;
    let form = String::from_utf8(answer.to_bytes().to_vec()).unwrap();
    for field in [
        "muc#roomconfig_roomname",
        "muc#roomconfig_roomdesc",
        "muc#roomconfig_lang",
        "muc#roomconfig_persistentroom",
        "muc#roomconfig_publicroom",
        "muc#roomconfig_membersonly",
        "muc#roomconfig_moderatedroom",
        "muc#roomconfig_passwordprotectedroom",
        "muc#roomconfig_roomsecret",
        "muc#roomconfig_whois",
        "muc#roomconfig_changesubject",
        "muc#roomconfig_allowinvites",
        "muc#roomconfig_allowpm",
        "muc#roomconfig_maxusers",
        "muc#roomconfig_enablelogging",
        "muc#roomconfig_presencebroadcast",
        "muc#roomconfig_getmemberlist",
        "muc#maxhistoryfetch",
        "muc#roomconfig_roomadmins",
        "muc#roomconfig_roomowners",
    ] {
        assert!(form.contains(&format!("var='{field}'")), "{field}");
    }
    assert_eq!(bob.ask("tea@rooms.d", "get", &query).await, ["iq forbidden"]);
    let refused = ana.configure(&[("muc#roomconfig_passwordprotectedroom", "1")]).await;
    assert_eq!(refused, ["iq not-acceptable"]);
    assert_eq!(bob.enter("Bob").await, ["presence item-not-found"], "still locked");
    assert_eq!(ana.configure(&[OPEN]).await, ["iq result"]);
    assert!(bob.enter("Bob").await.len() > 1);
}

/// Sections 10.1.3 and 10.2: a cancelled room is none; a cancelled change changes nothing.
#[tokio::test]
async fn cancelling_ends_a_new_room_and_leaves_an_old_one() {
    let cancel = format!("<query xmlns='{OWNER}'><x xmlns='jabber:x:data' type='cancel'/></query>");
    let house = House::new();
    let ana = house.online("ana@d/a").await;
    ana.enter("Ana").await;
    let told = ana.ask("tea@rooms.d", "set", &cancel).await;
    assert_eq!(told, ["-Ana none/none destroyed ", "iq result"]);
    assert!(ana.enter("Ana").await[0].contains("201"));
    ana.configure(&[OPEN]).await;
    assert_eq!(ana.ask("tea@rooms.d", "set", &cancel).await, ["iq result"]);
    ana.talk("x").await;
    assert_eq!(ana.read().await, ["Ana: x"]);
}

#[tokio::test]
async fn a_maker_who_leaves_before_configuring_leaves_nothing() {
    let house = House::new();
    let ana = house.online("ana@d/a").await;
    ana.enter("Ana").await;
    ana.leave("Ana").await;
    assert_eq!(ana.read().await, ["-Ana none/none destroyed "]);
    let bob = house.online("bob@d/b").await;
    assert!(bob.enter("Bob").await[0].contains("owner/moderator bob@d/b 110 100 201"));
    bob.0.lose().await;
    assert!(ana.enter("Ana").await[0].contains("201"));
}

/// Section 10.2: only for owners, and the occupants are told what changed.
#[tokio::test]
async fn a_change_of_settings_is_told() {
    let table: &[(Fields<'_>, &str)] = &[
        (&[("muc#roomconfig_roomname", "Tea")], " 104"),
        (&[("muc#roomconfig_enablelogging", "0")], " 171"),
        (&[SEMI], " 173"),
        (&[SEMI, ("muc#roomconfig_roomdesc", "x")], " 173 104"),
        (&[("tandem#roomconfig_showabsent", "1")], " 102"),
    ];
    for (fields, codes) in table {
        let house = House::new();
        let ana = house.tea(&[OPEN]).await;
        let bob = house.online("bob@d/b").await;
        bob.enter("Bob").await;
        assert_eq!(bob.configure(fields).await, ["iq forbidden"]);
        ana.read().await;
        let told = ana.configure(fields).await;
        assert_eq!(told, ["iq result".into(), format!("tea@rooms.d message{codes}")]);
        assert_eq!(bob.read().await, [format!("tea@rooms.d message{codes}")]);
    }
    let house = House::new();
    let ana = house.tea(&[OPEN, SEMI, ("muc#roomconfig_enablelogging", "0")]).await;
    let told = ana
        .configure(&[("muc#roomconfig_whois", "anyone"), ("muc#roomconfig_enablelogging", "1")])
        .await;
    assert_eq!(told[1], "tea@rooms.d message 170 172");
}

#[tokio::test]
async fn a_room_that_is_for_members_only_now_puts_the_others_out() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    let bob = house.online("bob@d/b").await;
    bob.enter("Bob").await;
    ana.read().await;
    let told = ana.configure(&[("muc#roomconfig_membersonly", "1")]).await;
    assert_eq!(told, ["iq result", "-Bob none/none bob@d/b 322", "tea@rooms.d message 104"]);
    assert_eq!(bob.read().await, ["-Bob none/none bob@d/b 322 110"]);
}

/// The full lists of owners and admins.
#[tokio::test]
async fn the_form_names_owners_and_admins() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    let bob = house.online("bob@d/b").await;
    bob.enter("Bob").await;
    ana.read().await;
    ana.configure(&[("muc#roomconfig_roomadmins", "bob@d")]).await;
    assert_eq!(bob.read().await, ["+Bob admin/moderator bob@d/b 110"]);
    ana.configure(&[("muc#roomconfig_roomadmins", "carl@d")]).await;
    assert!(bob.read().await.contains(&"+Bob member/participant bob@d/b 110".into()));
    let told = ana.configure(&[("muc#roomconfig_roomowners", "")]).await;
    assert!(told.contains(&"iq conflict".into()), "{told:?}");
    let told = ana.configure(&[("muc#roomconfig_roomowners", "not an address@@")]).await;
    assert_eq!(told, ["iq not-acceptable"]);
}

/// Section 10.9.
#[tokio::test]
async fn a_destroyed_room_tells_where_to_go() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    let bob = house.online("bob@d/b").await;
    bob.enter("Bob").await;
    ana.read().await;
    let destroy = format!(
        "<query xmlns='{OWNER}'><destroy jid='cake@rooms.d'><reason> Cake!</reason></destroy></query>"
    );
    assert_eq!(bob.ask("tea@rooms.d", "set", &destroy).await, ["iq forbidden"]);
    let told = ana.ask("tea@rooms.d", "set", &destroy).await;
    assert_eq!(told, ["-Ana none/none destroyed cake@rooms.d Cake!", "iq result"]);
    assert_eq!(bob.read().await, ["-Bob none/none destroyed cake@rooms.d Cake!"], "once");
    let house = house.restarted();
    let bob = house.online("bob@d/b").await;
    assert!(bob.enter("Bob").await[0].contains("201"), "it is a new room");
}

/// Section 7.14: a temporary room ends with its last occupant, a persistent one comes back.
#[tokio::test]
async fn what_is_persistent_stays() {
    let temporary = ("muc#roomconfig_persistentroom", "0");
    for (fields, back) in [(vec![OPEN], true), (vec![OPEN, temporary], false)] {
        let house = House::new();
        let ana = house.tea(&fields).await;
        ana.leave("Ana").await;
        ana.read().await;
        let bob = house.online("bob@d/b").await;
        let told = bob.enter("Bob").await;
        assert_eq!(told[0].contains("201"), !back, "{told:?}");
        let house = house.restarted();
        let carl = house.online("carl@d/c").await;
        assert_eq!(carl.enter("Carl").await[0].contains("201"), !back);
    }
}

#[tokio::test]
async fn a_room_may_become_persistent_and_temporary() {
    let house = House::new();
    let ana = house.tea(&[OPEN, ("muc#roomconfig_persistentroom", "0")]).await;
    ana.admin("<item jid='bob@d' affiliation='admin'/>").await;
    ana.configure(&[("muc#roomconfig_persistentroom", "1")]).await;
    let again = house.restarted();
    let bob = again.online("bob@d/b").await;
    assert!(bob.enter("Bob").await[0].contains("admin/moderator"));
    ana.configure(&[("muc#roomconfig_persistentroom", "0")]).await;
    let again = house.restarted();
    let bob = again.online("bob@d/b").await;
    assert!(bob.enter("Bob").await[0].contains("201"));
}

async fn command(guest: &Guest, node: &str, fields: &str) -> Element {
    let form = format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
         <value>urn:xmpp:hats:commands</value></field>{fields}</x>"
    );
    let form = if fields.is_empty() { String::new() } else { form };
    let command = format!(
        "<command xmlns='http://jabber.org/protocol/commands' action='execute' \
         node='urn:xmpp:hats:commands:{node}'>{form}</command>"
    );
    guest.answer("tea@rooms.d", "set", &command).await
}

fn field(var: &str, value: &str) -> String {
    format!("<field var='{var}'><value>{value}</value></field>")
}

/// XEP-0317 sections 3.1 to 3.6.
#[tokio::test]
async fn hats_are_made_given_shown_and_taken() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    let bob = house.online("bob@d/b").await;
    bob.enter("Bob").await;
    let form = command(&ana, "create", "").await;
    let form = form.elements().next().unwrap();
    assert_eq!(form.attr("status"), Some("executing"));
    let nurse =
        field("hats#title", "Nurse") + &field("hats#uri", "urn:nurse") + &field("hats#hue", "90.5");
    let refused = command(&bob, "create", &nurse).await;
    assert_eq!(refused.attr("type"), Some("error"));
    let done = command(&ana, "create", &nurse).await;
    assert_eq!(done.elements().next().unwrap().attr("status"), Some("completed"));
    let give = field("hats#jid", "bob@d") + &field("hats#uri", "urn:nurse");
    bob.read().await;
    command(&ana, "assign", &give).await;
    let shown = bob.0.read().await.remove(0);
    let hat =
        "<hats xmlns='urn:xmpp:hats:0'><hat title='Nurse' uri='urn:nurse' hue='90.5'/></hats>";
    assert!(shown.contains(hat), "{shown}");
    // It is kept, and shown to who enters.
    let again = house.restarted();
    let carl = again.online("bob@d/b").await;
    let muc = "http://jabber.org/protocol/muc";
    carl.say(&format!("<presence to='tea@rooms.d/B'><x xmlns='{muc}'/></presence>")).await;
    assert!(carl.0.read().await[0].contains(hat));
    for (node, expected) in [("list", "urn:nurse"), ("list-assigned", "bob@d")] {
        let list = command(&ana, node, "").await;
        assert!(String::from_utf8(list.to_bytes().to_vec()).unwrap().contains(expected), "{node}");
    }
    command(&ana, "create", &nurse.replace("Nurse", "Doctor")).await;
    let shown = bob.0.read().await.join("");
    assert!(shown.contains("code='104'") && shown.contains("title='Doctor'"), "{shown}");
    command(&ana, "unassign", &give).await;
    assert!(!bob.0.read().await[0].contains("<hats"));
    command(&ana, "assign", &give).await;
    bob.read().await;
    command(&ana, "destroy", &field("hats#uri", "urn:nurse")).await;
    assert!(!bob.0.read().await.join("").contains("<hat "));
    let gone = command(&ana, "assign", &give).await;
    assert_eq!(gone.attr("type"), Some("error"));
}

/// XEP-0486.
#[tokio::test]
async fn a_room_has_a_picture() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    let bob = house.online("bob@d/b").await;
    bob.enter("Bob").await;
    ana.read().await;
    let card = "<vCard xmlns='vcard-temp'><PHOTO><TYPE>image/png</TYPE><BINVAL>aGVsbG8=</BINVAL>\
                </PHOTO></vCard>";
    assert_eq!(bob.ask("tea@rooms.d", "set", card).await, ["iq forbidden"]);
    let told = ana.ask("tea@rooms.d", "set", card).await;
    assert_eq!(told, ["iq result", "tea@rooms.d message 104"]);
    assert_eq!(bob.read().await, ["tea@rooms.d message 104"]);
    let house = house.restarted();
    let carl = house.online("carl@d/c").await;
    let info = carl
        .answer("tea@rooms.d", "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>")
        .await;
    let info = String::from_utf8(info.to_bytes().to_vec()).unwrap();
    // SHA-1 of `hello`.
    assert!(info.contains("aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"), "{info}");
    assert!(info.contains("muc#roominfo_avatarhash") && info.contains("vcard-temp"));
    let got = carl.answer("tea@rooms.d", "get", "<vCard xmlns='vcard-temp'/>").await;
    assert!(String::from_utf8(got.to_bytes().to_vec()).unwrap().contains("aGVsbG8="));
    let ana = house.online("ana@d/a").await;
    ana.ask("tea@rooms.d", "set", "<vCard xmlns='vcard-temp'/>").await;
    let info = carl
        .answer("tea@rooms.d", "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>")
        .await;
    assert!(!String::from_utf8(info.to_bytes().to_vec()).unwrap().contains("avatarhash"));
    let bad = card.replace("aGVsbG8=", "???");
    assert_eq!(ana.ask("tea@rooms.d", "set", &bad).await, ["iq not-acceptable"]);
}
