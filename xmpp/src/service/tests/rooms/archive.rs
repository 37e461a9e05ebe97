//! XEP-0313 section 6.1.2: what a room keeps, who may read it, and what they see of who said it.

use super::*;

const MAM: &str = "urn:xmpp:mam:2";

/// The archive as this guest reads it: results in short words, then the answer.
async fn history(guest: &Guest, form: &str) -> Vec<String> {
    let raw = raw_history(guest, form).await;
    raw.iter()
        .map(|stanza| {
            let stanza = Element::parse(stanza.as_bytes()).unwrap();
            match stanza.child("result", MAM) {
                Some(result) => {
                    let forwarded = result.elements().next().unwrap();
                    let message = forwarded.elements().find(|e| e.name() == "message").unwrap();
                    brief(std::str::from_utf8(&message.to_bytes()).unwrap())
                }
                None => brief(std::str::from_utf8(&stanza.to_bytes()).unwrap()),
            }
        })
        .collect()
}

async fn raw_history(guest: &Guest, form: &str) -> Vec<String> {
    let query = format!("<query xmlns='{MAM}' queryid='f'>{form}</query>");
    guest.say(&format!("<iq to='tea@rooms.d' type='set' id='q'>{query}</iq>")).await;
    guest.0.read().await
}

fn id_of(stanza: &str) -> String {
    let at = stanza.split_once("by='tea@rooms.d' id='").unwrap().1;
    at.split('\'').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_room_keeps_what_is_said_to_all() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    let bob = house.online("bob@d/b").await;
    bob.enter("Bob").await;
    bob.talk("one").await;
    ana.say("<message to='tea@rooms.d' type='groupchat'><subject>Tea</subject></message>").await;
    ana.say("<message to='tea@rooms.d/Bob' type='chat'><body>psst</body></message>").await;
    bob.say(
        "<message to='tea@rooms.d' type='groupchat'>\
         <composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
    )
    .await;
    // Refused: it is in no archive.
    let carl = house.online("carl@d/c").await;
    carl.talk("outside").await;
    carl.read().await;
    let expected = [
        "Bob: one none/participant bob@d/b",
        "Ana subject: Tea owner/moderator ana@d/a",
        "iq result",
    ];
    assert_eq!(history(&carl, "").await, expected, "an open room is read by everybody");
    // The id is that of the message as it was heard; nobody is addressed in what is kept.
    let heard = bob.0.read().await;
    let heard = heard.iter().find(|s| s.contains("<body>one")).unwrap();
    let read = raw_history(&carl, "").await.remove(0);
    assert!(read.contains(&format!("id='{}'", id_of(heard))), "{read}");
    assert!(read.contains("<occupant-id ") && !read.contains("to='tea@"), "{read}");
    // By occupant.
    let with = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
                <value>urn:xmpp:mam:2</value></field><field var='with'>\
                <value>tea@rooms.d/Ana</value></field></x>";
    assert_eq!(history(&carl, with).await, expected[1..]);
}

#[tokio::test]
async fn addresses_in_the_archive_are_for_those_who_may_see_them() {
    let house = House::new();
    let ana = house.tea(&[OPEN, SEMI]).await;
    let bob = house.online("bob@d/b").await;
    bob.enter("Bob").await;
    ana.talk("one").await;
    bob.read().await;
    ana.read().await;
    let read = raw_history(&bob, "").await.join("");
    assert!(read.contains("<body>one") && !read.contains("ana@d"), "{read}");
    assert_eq!(history(&ana, "").await[0], "Ana: one owner/moderator ana@d/a");
    // Access is that of now: what was hidden is shown once the room shows it.
    ana.configure(&[("muc#roomconfig_whois", "anyone")]).await;
    bob.read().await;
    assert_eq!(history(&bob, "").await[0], "Ana: one owner/moderator ana@d/a");
}

#[tokio::test]
async fn who_may_not_enter_may_not_read() {
    let protected = ("muc#roomconfig_passwordprotectedroom", "1");
    let secret = ("muc#roomconfig_roomsecret", "s");
    let off = ("muc#roomconfig_enablelogging", "0");
    let table: &[(Fields<'_>, &str)] = &[
        (&[], "forbidden"),
        (&[OPEN], "result"),
        (&[OPEN, protected, secret], "forbidden"),
        (&[OPEN, off], "service-unavailable"),
    ];
    for (fields, expected) in table {
        let house = House::new();
        let ana = house.tea(fields).await;
        let bob = house.online("bob@d/b").await;
        assert_eq!(history(&bob, "").await, [format!("iq {expected}")], "{fields:?}");
        let metadata = format!("<metadata xmlns='{MAM}'/>");
        assert_eq!(bob.ask("tea@rooms.d", "get", &metadata).await, [format!("iq {expected}")]);
        let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
        let info = bob.answer("tea@rooms.d", "get", info).await;
        let announced = String::from_utf8(info.to_bytes().to_vec()).unwrap().contains(MAM);
        assert_eq!(announced, !fields.contains(&off));
        ana.admin("<item jid='bob@d' affiliation='outcast'/>").await;
        bob.read().await;
        assert_eq!(history(&bob, "").await, ["iq forbidden"], "{fields:?}");
    }
}

/// A client that does not know whether its message arrived sends it again (XEP-0359): it is said once.
#[tokio::test]
async fn a_repeated_message_is_said_once_and_keeps_its_id() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    let bob = house.online("bob@d/b").await;
    bob.enter("Bob").await;
    ana.read().await;
    let message = "<message to='tea@rooms.d' type='groupchat' id='o1'><body>one</body>\
                   <origin-id xmlns='urn:xmpp:sid:0' id='o1'/></message>";
    bob.say(message).await;
    let first = bob.0.read().await.remove(0);
    bob.say(message).await;
    let again = bob.0.read().await.remove(0);
    assert_eq!(id_of(&first), id_of(&again), "its sender learns the id");
    assert_eq!(ana.read().await, ["Bob: one"]);
    assert_eq!(history(&ana, "").await.len(), 2);
    // Another's message of the same id is another message.
    ana.say(message).await;
    assert_eq!(bob.read().await, ["Ana: one"]);
}

#[tokio::test]
async fn after_a_restart_newcomers_hear_the_last_messages() {
    let house = House::new();
    let ana = house.tea(&[OPEN, ("muc#maxhistoryfetch", "2")]).await;
    for body in ["one", "two", "three"] {
        ana.talk(body).await;
    }
    let heard = ana.0.read().await;
    let house = house.restarted();
    let bob = house.online("bob@d/b").await;
    let muc = "http://jabber.org/protocol/muc";
    bob.say(&format!("<presence to='tea@rooms.d/Bob'><x xmlns='{muc}'/></presence>")).await;
    let read = bob.0.read().await;
    let late: Vec<_> = read.iter().filter(|s| s.contains("urn:xmpp:delay")).collect();
    assert_eq!(late.len(), 2);
    assert!(late[1].contains("<body>three</body>") && late[1].contains("<occupant-id "));
    assert_eq!(id_of(late[1]), id_of(&heard[2]));
    assert!(!late[1].contains("muc#user"), "{late:?}");
}

/// XEP-0424 section 5 and XEP-0425 section 4.
#[tokio::test]
async fn what_is_taken_back_leaves_a_tombstone() {
    let house = House::new();
    let ana = house.tea(&[OPEN]).await;
    let bob = house.online("bob@d/b").await;
    bob.enter("Bob").await;
    ana.read().await;
    bob.talk("rude").await;
    bob.talk("oops").await;
    let heard = ana.0.read().await;
    let (rude, oops) = (id_of(&heard[0]), id_of(&heard[1]));
    let moderate = format!(
        "<moderate xmlns='urn:xmpp:message-moderate:1' id='{rude}'>\
         <retract xmlns='urn:xmpp:message-retract:1'/><reason>Rude</reason></moderate>"
    );
    assert!(ana.ask("tea@rooms.d", "set", &moderate).await.contains(&"iq result".into()));
    let retract = format!(
        "<message to='tea@rooms.d' type='groupchat' id='r1'>\
         <retract xmlns='urn:xmpp:message-retract:1' id='{oops}'/></message>"
    );
    // After a restart the room knows from its archive whose message it was.
    let house = house.restarted();
    let (ana, bob) = (house.online("ana@d/a").await, house.online("bob@d/b").await);
    ana.enter("Ana").await;
    bob.enter("Bob").await;
    ana.say(&retract).await;
    assert_eq!(ana.read().await.last().unwrap(), "message forbidden");
    bob.say(&retract).await;
    bob.read().await;
    let read = raw_history(&bob, "").await;
    assert_eq!(read.len(), 5, "two tombstones, what took them back, the answer: {read:?}");
    let all = read.join("");
    assert!(!all.contains("rude") && !all.contains("oops"), "{all}");
    assert!(read[0].contains(&format!("id='{rude}'")) && read[0].contains("<retracted "));
    assert!(read[0].contains("<moderated ") && read[0].contains("<reason>Rude</reason>"));
    assert!(read[0].contains("<occupant-id "));
    assert!(read[1].contains("<retracted ") && read[1].contains("id='r1'"), "{}", read[1]);
    assert!(read[2].contains("<moderated "), "{}", read[2]);
    assert!(
        read[3].contains(&format!("<retract xmlns='urn:xmpp:message-retract:1' id='{oops}'/>"))
    );
}

#[tokio::test]
async fn the_archive_ends_with_the_room() {
    let house = House::new();
    let temporary = ("muc#roomconfig_persistentroom", "0");
    let ana = house.tea(&[OPEN, temporary]).await;
    ana.talk("one").await;
    ana.leave("Ana").await;
    ana.read().await;
    let bob = house.online("bob@d/b").await;
    let told = bob.enter("Bob").await;
    assert!(!told.iter().any(|s| s.contains("one")), "{told:?}");
    bob.configure(&[OPEN]).await;
    assert_eq!(history(&bob, "").await, ["iq result"]);
}

/// What is said while the store works is given out in the order in which it was said, as it is in the archive.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_room_and_its_archive_have_one_order() {
    let house = Arc::new(House::new());
    let ana = house.tea(&[OPEN]).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..8 {
        let house = house.clone();
        tasks.spawn(async move {
            let guest = house.online(&format!("p{n}@d/x")).await;
            guest.enter(&format!("P{n}")).await;
            for round in 0..20 {
                guest.talk(&format!("{n}.{round}")).await;
            }
            guest
        });
    }
    let _guests = tasks.join_all().await;
    let heard = ana.read().await;
    let heard: Vec<_> =
        heard.iter().filter_map(|s| Some(s.split_once(": ")?.1.to_owned())).collect();
    assert_eq!(heard.len(), 160);
    let max = "<set xmlns='http://jabber.org/protocol/rsm'><max>200</max></set>";
    let kept = history(&ana, max).await;
    let kept: Vec<_> = kept
        .iter()
        .filter_map(|s| Some(s.split_once(": ")?.1.split(' ').next()?.to_owned()))
        .collect();
    assert_eq!(heard, kept);
}
