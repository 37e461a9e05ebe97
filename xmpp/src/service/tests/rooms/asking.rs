//! XEP-0045 sections 6, 7.10, 7.12 and 13.6: what can be found out, by whom; registration; requests between occupants.

use super::*;

const INFO: &str = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
const ITEMS: &str = "<query xmlns='http://jabber.org/protocol/disco#items'/>";
const REGISTER: &str = "jabber:iq:register";

fn text(element: &Element) -> String {
    String::from_utf8(element.to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn the_service_is_found_and_says_what_it_is() {
    let house = House::new();
    let ana = house.online("ana@d/a").await;
    assert!(text(&ana.answer("d", "get", ITEMS).await).contains("jid='rooms.d'"));
    let info = text(&ana.answer("rooms.d", "get", INFO).await);
    for part in [
        "category='conference' type='text'",
        "var='http://jabber.org/protocol/muc'",
        "var='http://jabber.org/protocol/muc#stable_id'",
        "var='urn:xmpp:occupant-id:0'",
        "var='vcard-temp'",
    ] {
        assert!(info.contains(part), "{part}: {info}");
    }
    assert_eq!(ana.ask("rooms.d", "get", "<ping xmlns='urn:xmpp:ping'/>").await, ["iq result"]);
    let unknown = "<query xmlns='jabber:iq:search'/>";
    assert_eq!(ana.ask("rooms.d", "get", unknown).await, ["iq service-unavailable"]);
    assert_eq!(ana.ask("nowhere@rooms.d", "get", INFO).await, ["iq item-not-found"]);
    assert_eq!(ana.ask("tea@rooms.d", "get", unknown).await, ["iq service-unavailable"]);
}

/// Section 6.3: hidden rooms are not listed; a long list comes in pages (XEP-0059).
#[tokio::test]
async fn public_rooms_are_listed() {
    let house = House::new();
    let ana = house.online("ana@d/a").await;
    for n in 0..3 {
        let room = format!("r{n}@rooms.d");
        let muc = "http://jabber.org/protocol/muc";
        ana.say(&format!("<presence to='{room}/A'><x xmlns='{muc}'/></presence>")).await;
        let public = if n == 1 { "0" } else { "1" };
        ana.ask(
            &room,
            "set",
            &format!(
                "<query xmlns='{muc}#owner'><x xmlns='jabber:x:data' type='submit'>\
                 <field var='muc#roomconfig_publicroom'><value>{public}</value></field>\
                 <field var='muc#roomconfig_persistentroom'><value>{}</value></field></x></query>",
                if n == 2 { "0" } else { "1" }
            ),
        )
        .await;
    }
    let list = text(&ana.answer("rooms.d", "get", ITEMS).await);
    assert!(list.contains("r0@rooms.d") && !list.contains("r1@") && list.contains("r2@"), "{list}");
    let page = ITEMS
        .replace("/>", "><set xmlns='http://jabber.org/protocol/rsm'><max>1</max></set></query>");
    let list = text(&ana.answer("rooms.d", "get", &page).await);
    assert!(list.contains("<last>r0@rooms.d</last>") && !list.contains("r2@"), "{list}");
    let page = page.replace("</max>", "</max><after>r0@rooms.d</after>");
    let list = text(&ana.answer("rooms.d", "get", &page).await);
    assert!(list.contains("<first>r2@rooms.d</first>"), "{list}");
}

/// Section 6.4 and 16.3.
#[tokio::test]
async fn a_room_says_what_kind_it_is() {
    let table: &[(Fields<'_>, &[&str])] = &[
        (
            &[],
            &[
                "muc_hidden",
                "muc_membersonly",
                "muc_unmoderated",
                "muc_nonanonymous",
                "muc_unsecured",
                "muc_persistent",
                "urn:xmpp:sid:0",
                "urn:xmpp:occupant-id:0",
                "urn:xmpp:message-moderate:1",
                "urn:xmpp:hats:0",
                "jabber:iq:register",
                "http://jabber.org/protocol/muc#self-ping-optimization",
                "http://jabber.org/protocol/muc#stable_id",
                "http://jabber.org/protocol/muc#request",
            ],
        ),
        (
            &[
                OPEN,
                SEMI,
                MODERATED,
                ("muc#roomconfig_publicroom", "1"),
                ("muc#roomconfig_persistentroom", "0"),
                ("muc#roomconfig_passwordprotectedroom", "1"),
                ("muc#roomconfig_roomsecret", "s"),
            ],
            &[
                "muc_public",
                "muc_open",
                "muc_moderated",
                "muc_semianonymous",
                "muc_passwordprotected",
                "muc_temporary",
            ],
        ),
    ];
    for (fields, features) in table {
        let house = House::new();
        let _ana = house.tea(fields).await;
        let bob = house.online("bob@d/b").await;
        let info = text(&bob.answer("tea@rooms.d", "get", INFO).await);
        for feature in *features {
            assert!(info.contains(&format!("<feature var='{feature}'/>")), "{feature}: {info}");
        }
        assert!(info.contains("muc#roominfo") && !info.contains("<value>s</value>"), "{info}");
    }
}

/// Sections 6.5, 6.6 and 14.4: strangers learn nothing of who is inside and what is talked about.
#[tokio::test]
async fn strangers_learn_nothing_of_the_inside() {
    let house = House::new();
    let ana = house.tea(&[]).await;
    ana.say("<message to='tea@rooms.d' type='groupchat'><subject>Secret</subject></message>").await;
    ana.read().await;
    let bob = house.online("bob@d/b").await;
    let info = text(&bob.answer("tea@rooms.d", "get", INFO).await);
    for hidden in ["Secret", "muc#roominfo_occupants", "ana@d"] {
        assert!(!info.contains(hidden), "{hidden}: {info}");
    }
    assert!(text(&ana.answer("tea@rooms.d", "get", INFO).await).contains("Secret"));
    let items = text(&bob.answer("tea@rooms.d", "get", ITEMS).await);
    assert!(items.contains("<query xmlns='http://jabber.org/protocol/disco#items'/>"), "{items}");
    for kind in [INFO, ITEMS] {
        assert_eq!(bob.ask("tea@rooms.d/Ana", "get", kind).await, ["iq bad-request"]);
    }
    let other = "<query xmlns='jabber:iq:version'/>";
    assert_eq!(bob.ask("tea@rooms.d/Ana", "get", other).await, ["iq not-acceptable"]);
    // A room that is being made is none for others.
    let carl = house.online("carl@d/c").await;
    let muc = "http://jabber.org/protocol/muc";
    carl.say(&format!("<presence to='new@rooms.d/C'><x xmlns='{muc}'/></presence>")).await;
    assert_eq!(bob.ask("new@rooms.d", "get", INFO).await, ["iq item-not-found"]);
    let traffic = "<query xmlns='http://jabber.org/protocol/disco#info' \
                   node='http://jabber.org/protocol/muc#traffic'/>";
    assert_eq!(bob.ask("tea@rooms.d", "get", traffic).await, ["iq service-unavailable"]);
}

/// Section 13.6: a request passes from occupant to occupant, and its answer comes back to the device that asked.
#[tokio::test]
async fn occupants_ask_each_other() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    let bob = house.online("bob@d/b").await;
    bob.enter("Bob").await;
    let ana2 = house.online("ana@d/second").await;
    ana2.enter("Ana").await;
    for guest in [&ana, &bob, &ana2] {
        guest.read().await;
    }
    ana.ask("tea@rooms.d/Bob", "get", "<query xmlns='jabber:iq:version'/>").await;
    let asked = bob.0.read().await.remove(0);
    assert!(asked.starts_with("<iq from='tea@rooms.d/Ana' to='bob@d/b' "), "{asked}");
    assert!(!asked.contains("ana@d"), "{asked}");
    let id = asked.split_once("id='").unwrap().1.split('\'').next().unwrap();
    bob.say(&format!(
        "<iq to='tea@rooms.d/Ana' type='result' id='{id}'>\
         <query xmlns='jabber:iq:version'><name>B</name></query></iq>"
    ))
    .await;
    let answer = ana.0.read().await.remove(0);
    assert!(answer.starts_with("<iq from='tea@rooms.d/Bob' to='ana@d/a' id='q' "), "{answer}");
    assert!(answer.contains("<name>B</name>"));
    assert!(ana2.read().await.is_empty());
    // What nobody asked for goes nowhere.
    bob.say("<iq to='tea@rooms.d/Ana' type='result' id='77-x'/>").await;
    bob.say("<iq to='tea@rooms.d/Ana' type='result' id='x'/>").await;
    assert!(ana.read().await.is_empty() && ana2.read().await.is_empty());
    assert_eq!(
        ana.ask("tea@rooms.d/Zoe", "get", "<query xmlns='jabber:iq:version'/>").await,
        ["iq item-not-found"]
    );
}

fn registration(nick: &str) -> String {
    format!(
        "<query xmlns='{REGISTER}'><x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#register</value></field>\
         <field var='muc#register_roomnick'><value>{nick}</value></field></x></query>"
    )
}

/// Sections 7.10 and 7.12: in an open room who registers is a member, with a name of their own.
#[tokio::test]
async fn who_registers_has_a_name_of_their_own() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    let (bob, carl) = (house.online("bob@d/b").await, house.online("carl@d/c").await);
    bob.enter("Bob").await;
    ana.read().await;
    let ask = format!("<query xmlns='{REGISTER}'/>");
    let form = text(&bob.answer("tea@rooms.d", "get", &ask).await);
    assert!(form.contains("muc#register_roomnick"), "{form}");
    let told = bob.ask("tea@rooms.d", "set", &registration("Robert")).await;
    assert_eq!(told, ["iq result", "+Bob member/participant bob@d/b 110"]);
    let done = text(&bob.answer("tea@rooms.d", "get", &ask).await);
    assert!(done.contains("<registered/>") && done.contains("<username>Robert</username>"));
    let nick = "<query xmlns='http://jabber.org/protocol/disco#info' node='x-roomuser-item'/>";
    let own = text(&bob.answer("tea@rooms.d", "get", nick).await);
    assert!(own.contains("type='text' name='Robert'"), "{own}");
    let none = text(&carl.answer("tea@rooms.d", "get", nick).await);
    assert!(!none.contains("<identity"), "{none}");
    assert_eq!(carl.enter("Robert").await, ["presence conflict"]);
    assert_eq!(carl.ask("tea@rooms.d", "set", &registration("robert")).await, ["iq conflict"]);
    let empty = format!("<query xmlns='{REGISTER}'/>");
    assert_eq!(carl.ask("tea@rooms.d", "set", &empty).await, ["iq bad-request"]);
    let remove = format!("<query xmlns='{REGISTER}'><remove/></query>");
    let told = bob.ask("tea@rooms.d", "set", &remove).await;
    assert_eq!(told, ["iq result", "+Bob none/participant bob@d/b 110"]);
    assert_eq!(ana.ask("tea@rooms.d", "set", &remove).await.last().unwrap(), "iq not-allowed");
    ana.admin("<item jid='carl@d' affiliation='outcast'/>").await;
    carl.read().await;
    assert_eq!(carl.ask("tea@rooms.d", "get", &ask).await, ["iq not-allowed"]);
}

/// Section 9.9: in a members-only room the admins decide.
#[tokio::test]
async fn who_wants_to_be_a_member_is_let_in_by_an_admin() {
    let house = House::with(|config| config.rooms.max_requests = 1);
    let ana = house.tea(&[]).await;
    let (bob, carl) = (house.online("bob@d/b").await, house.online("carl@d/c").await);
    assert_eq!(bob.ask("tea@rooms.d", "set", &registration("Robert")).await, ["iq result"]);
    let asked = ana.0.read().await;
    assert_eq!(asked.len(), 1);
    for part in ["muc#register_allow", "<value>bob@d</value>", "<value>Robert</value>"] {
        assert!(asked[0].contains(part), "{asked:?}");
    }
    // Once, and not too many at a time.
    bob.ask("tea@rooms.d", "set", &registration("Robert")).await;
    assert!(ana.read().await.is_empty());
    let told = carl.ask("tea@rooms.d", "set", &registration("Carl")).await;
    assert_eq!(told, ["iq resource-constraint"]);
    let allow = "<message to='tea@rooms.d'><x xmlns='jabber:x:data' type='submit'>\
        <field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#register</value></field>\
        <field var='muc#jid'><value>bob@d</value></field>\
        <field var='muc#register_allow'><value>1</value></field></x></message>";
    carl.say(allow).await;
    assert_eq!(carl.read().await, ["message forbidden"]);
    ana.say(allow).await;
    assert_eq!(bob.read().await, ["tea@rooms.d message invite ana@d/a"]);
    assert!(bob.enter("Robert").await.iter().any(|s| s.contains("member/participant")));
}

/// XEP-0059 section 2.1: page by page nothing is left out, whatever the names look like.
#[tokio::test]
async fn pages_of_public_rooms_have_them_all() {
    let house = House::new();
    let ana = house.online("ana@d/a").await;
    let muc = "http://jabber.org/protocol/muc";
    // A room that is not kept among those that are; `-` comes before `@`, and `a` before `a-b`.
    for (name, persistent) in [("a", "1"), ("a-b", "1"), ("a-a", "0"), ("b", "1")] {
        let room = format!("{name}@rooms.d");
        ana.say(&format!("<presence to='{room}/A'><x xmlns='{muc}'/></presence>")).await;
        let fields = format!(
            "<field var='muc#roomconfig_publicroom'><value>1</value></field>\
             <field var='muc#roomconfig_persistentroom'><value>{persistent}</value></field>"
        );
        let form = format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>");
        ana.ask(&room, "set", &format!("<query xmlns='{muc}#owner'>{form}</query>")).await;
    }
    let mut listed = Vec::new();
    let mut after = String::new();
    for _ in 0..6 {
        let set = format!("<set xmlns='http://jabber.org/protocol/rsm'><max>1</max>{after}</set>");
        let query = ITEMS.replace("/>", &format!(">{set}</query>"));
        let page = ana.answer("rooms.d", "get", &query).await;
        let list = page.elements().next().unwrap();
        let Some(item) = list.elements().find(|e| e.name() == "item") else { break };
        let room = item.attr("jid").unwrap().to_owned();
        after = format!("<after>{room}</after>");
        listed.push(room);
    }
    listed.sort();
    assert_eq!(listed, ["a-a@rooms.d", "a-b@rooms.d", "a@rooms.d", "b@rooms.d"]);
}
