//! XEP-0313 with XEP-0059, XEP-0441, XEP-0334, XEP-0359 and XEP-0424: what is archived, under which id, and how it is read.

use super::*;
use crate::stanza::stanza_id::StanzaId;
use crate::xml::Element;

const MAM: &str = "urn:xmpp:mam:2";

fn refused(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Refused(error) => Some(error.condition.name()),
        _ => None,
    }
}

fn parse(text: &str) -> Element {
    Element::parse(text.as_bytes()).unwrap()
}

/// A query with these form fields and this `<set/>` content.
fn query(fields: &[(&str, &str)], set: &str, more: &str) -> String {
    let fields: String = fields
        .iter()
        .map(|(var, value)| {
            let values: String =
                value.split(' ').map(|value| format!("<value>{value}</value>")).collect();
            format!("<field var='{var}'>{values}</field>")
        })
        .collect();
    format!(
        "<iq type='set' id='q'><query xmlns='{MAM}' queryid='f27'><x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE' type='hidden'><value>{MAM}</value></field>{fields}</x>\
         <set xmlns='http://jabber.org/protocol/rsm'>{set}</set>{more}</query></iq>"
    )
}

/// What a query gave.
#[derive(Debug, PartialEq)]
struct Answer {
    bodies: Vec<String>,
    ids: Vec<String>,
    complete: bool,
    fin: Element,
}

/// Asks and reads the answer.
async fn ask(session: &Session, iq: &str) -> Answer {
    let outcome = session.say(iq).await;
    assert_eq!(refused(&outcome), None, "{iq}");
    let mut answer = Answer {
        bodies: Vec::new(),
        ids: Vec::new(),
        complete: false,
        fin: Element::new("none", MAM),
    };
    for stanza in session.read().await {
        let stanza = parse(&stanza);
        if let Some(result) = stanza.child("result", MAM) {
            assert_eq!(stanza.attr("from"), Some(session.jid.bare().as_str()));
            assert_eq!(stanza.attr("to"), Some(session.jid.as_str()));
            answer.ids.push(result.attr("id").unwrap().to_owned());
            let forwarded = result.child("forwarded", "urn:xmpp:forward:0").unwrap();
            assert!(forwarded.child("delay", "urn:xmpp:delay").unwrap().attr("stamp").is_some());
            let message = forwarded.child("message", "jabber:client").unwrap();
            let body = message.child("body", "jabber:client").map(Element::text);
            answer.bodies.push(body.unwrap_or_default());
        } else if let Some(fin) = stanza.child("fin", MAM) {
            answer.complete = fin.attr("complete") == Some("true");
            answer.fin = fin.clone();
        }
    }
    answer
}

/// Ana and Bob, who have exchanged this many messages, the even ones from Ana.
async fn talked(world: &World, count: usize) -> (Session, Session) {
    let (ana, bob) = (world.online("ana@d/a").await, world.online("bob@d/b").await);
    for n in 0..count {
        let (session, to) = if n % 2 == 0 { (&ana, "bob@d") } else { (&bob, "ana@d") };
        session.say(&chat(to, &n.to_string())).await;
    }
    ana.read().await;
    bob.read().await;
    (ana, bob)
}

fn ids_in(stanza: &str) -> Vec<StanzaId> {
    parse(stanza).elements().filter_map(StanzaId::from_element).collect()
}

/// The n-th page of a query, forwards from nothing.
async fn forwards(session: &Session, fields: &[(&str, &str)], max: usize) -> Vec<Answer> {
    let mut pages: Vec<Answer> = Vec::new();
    loop {
        let after = pages.last().and_then(|page| page.ids.last().cloned());
        let after = after.map(|id| format!("<after>{id}</after>")).unwrap_or_default();
        let page = ask(session, &query(fields, &format!("<max>{max}</max>{after}"), "")).await;
        let complete = page.complete;
        pages.push(page);
        if complete {
            return pages;
        }
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn both_archives_have_a_message_and_each_reader_its_own_id() {
    let world = World::new();
    let (ana, bob) = (world.online("ana@d/a").await, world.online("bob@d/b").await);
    let desk = world.online("ana@d/desk").await;
    desk.say("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    for session in [&ana, &bob, &desk] {
        session.read().await;
    }
    ana.say(&chat("bob@d", "hello")).await;
    let got = bob.read().await;
    let [id] = ids_in(&got[0]).try_into().unwrap();
    assert_eq!(id.by, jid("bob@d"));
    assert_eq!(ask(&bob, &query(&[], "", "")).await.ids, std::slice::from_ref(&id.id));
    // The sender's other device learns the id that the message has in the sender's archive, and no other.
    let copy = desk.read().await;
    let copy = parse(&copy[0]);
    let sent = copy.child("sent", "urn:xmpp:carbons:2").unwrap();
    let forwarded = sent.child("forwarded", "urn:xmpp:forward:0").unwrap();
    let message = forwarded.child("message", "jabber:client").unwrap();
    let ids: Vec<_> = message.elements().filter_map(StanzaId::from_element).collect();
    assert_eq!(ids.iter().map(|id| id.by.as_str()).collect::<Vec<_>>(), ["ana@d"]);
    assert_eq!(ask(&ana, &query(&[], "", "")).await.ids, [ids[0].id.clone()]);
}

/// XEP-0359 section 3: an id by somebody who is served here is not the sender's to give.
#[tokio::test]
async fn forged_ids_are_taken_out_and_others_stay() {
    let world = World::new();
    let (ana, bob) = (world.online("ana@d/a").await, world.online("bob@d/b").await);
    let forged = "<message to='bob@d' type='chat'><stanza-id xmlns='urn:xmpp:sid:0' by='bob@d' id='f'/>\
                  <body>x</body><stanza-id xmlns='urn:xmpp:sid:0' by='ana@d' id='g'/>\
                  <stanza-id xmlns='urn:xmpp:sid:0' by='tea@rooms.d' id='g'/>\
                  <stanza-id xmlns='urn:xmpp:sid:0' by='far@away' id='h'/>\
                  <origin-id xmlns='urn:xmpp:sid:0' id='o'/></message>";
    ana.say(forged).await;
    let got = bob.read().await;
    let ids = ids_in(&got[0]);
    let by: Vec<_> = ids.iter().map(|id| (id.by.as_str(), id.id == "f")).collect();
    assert_eq!(by, [("far@away", false), ("bob@d", false)]);
    assert!(got[0].contains("<origin-id xmlns='urn:xmpp:sid:0' id='o'/>"), "{}", got[0]);
    // What nobody archives passes without.
    ana.say("<message to='bob@d' type='chat'><stanza-id xmlns='urn:xmpp:sid:0' by='bob@d' id='f'/></message>")
        .await;
    assert_eq!(ids_in(&bob.read().await[0]), []);
}

#[tokio::test]
async fn a_resend_gets_the_same_id_and_is_not_delivered_again() {
    let world = World::new();
    let (ana, bob) = (world.online("ana@d/a").await, world.online("bob@d/b").await);
    let once = "<message to='bob@d' type='chat'><body>x</body><origin-id xmlns='urn:xmpp:sid:0' id='o1'/></message>";
    ana.say(once).await;
    assert_eq!(bob.bodies().await, ["x"]);
    assert_eq!(ana.say(once).await, Outcome::Ignored);
    assert!(bob.read().await.is_empty());
    assert_eq!(ask(&bob, &query(&[], "", "")).await.bodies, ["x"]);
    assert_eq!(ask(&ana, &query(&[], "", "")).await.bodies, ["x"]);
    // The same words without an origin id, and the same id from or to somebody else, are other messages.
    ana.say(&chat("bob@d", "x")).await;
    ana.say(&once.replace("bob@d", "carl@d")).await;
    bob.say(&once.replace("bob@d", "ana@d")).await;
    assert_eq!(world.store.archived(&jid("ana@d")).len(), 4);
}

#[tokio::test]
async fn pages_follow_one_another_forwards_and_backwards() {
    let world = World::new();
    let (ana, _) = talked(&world, 25).await;
    let pages = forwards(&ana, &[], 10).await;
    let bodies: Vec<_> = pages.iter().map(|page| page.bodies.len()).collect();
    assert_eq!(bodies, [10, 10, 5]);
    assert!(!pages[0].complete && !pages[1].complete && pages[2].complete);
    let all: Vec<String> = pages.iter().flat_map(|page| page.bodies.clone()).collect();
    assert_eq!(all, numbers(0..25));

    let last = ask(&ana, &query(&[], "<max>10</max><before/>", "")).await;
    assert_eq!(last.bodies, numbers(15..25));
    assert!(!last.complete);
    let before = format!("<max>10</max><before>{}</before>", last.ids[0]);
    assert_eq!(ask(&ana, &query(&[], &before, "")).await.bodies, numbers(5..15));
    let first = ask(&ana, &query(&[], &before, "")).await.ids[0].clone();
    let page = ask(&ana, &query(&[], &format!("<max>10</max><before>{first}</before>"), "")).await;
    assert_eq!((page.bodies, page.complete), (numbers(0..5), true));
    // Nothing more after the last.
    let end = pages[2].ids.last().unwrap();
    let page = ask(&ana, &query(&[], &format!("<after>{end}</after>"), "")).await;
    assert_eq!((page.bodies.len(), page.complete), (0, true));
}

/// Sections 4.3.1 and 4.3.2 of XEP-0313: flipping changes the order of sending and nothing else.
#[tokio::test]
async fn a_flipped_page_comes_newest_first() {
    let world = World::new();
    let (ana, _) = talked(&world, 6).await;
    let set = "<max>3</max><before/>";
    let plain = ask(&ana, &query(&[], set, "")).await;
    let flipped = ask(&ana, &query(&[], set, "<flip-page/>")).await;
    assert_eq!(plain.bodies, ["3", "4", "5"]);
    assert_eq!(flipped.bodies, ["5", "4", "3"]);
    assert_eq!(plain.fin, flipped.fin);
}

#[tokio::test]
async fn the_count_is_told_where_it_is_asked_for_or_free() {
    let world = World::new();
    let (ana, _) = talked(&world, 12).await;
    let rsm = "http://jabber.org/protocol/rsm";
    let set = |answer: &Answer| answer.fin.child("set", rsm).unwrap().clone();
    let counted = ask(&ana, &query(&[], "<max>0</max>", "")).await;
    assert!(counted.bodies.is_empty() && !counted.complete);
    let counted = set(&counted);
    assert_eq!(counted.child("count", rsm).unwrap().text(), "12");
    assert!(counted.child("first", rsm).is_none());
    let whole = set(&ask(&ana, &query(&[], "", "")).await);
    assert_eq!(whole.child("count", rsm).unwrap().text(), "12");
    assert_eq!(whole.child("first", rsm).unwrap().attr("index"), Some("0"));
    // A place by its number would have to be counted to: not served (XEP-0059 section 2.6).
    let outcome = ana.say(&query(&[], "<max>5</max><index>3</index>", "")).await;
    assert_eq!(refused(&outcome), Some("feature-not-implemented"));
}

#[tokio::test]
async fn messages_are_found_by_whom_they_are_with() {
    let world = World::new();
    let (ana, bob) = talked(&world, 4).await;
    let carl = world.online("carl@d/c").await;
    carl.say(&chat("ana@d", "from carl")).await;
    ana.say(&chat("ana@d", "note to myself")).await;
    ana.say(&chat("bob@d/b", "to a device")).await;
    bob.read().await;
    ana.read().await;
    let with = |who: &'static str| {
        let ana = &ana;
        async move { ask(ana, &query(&[("with", who)], "", "")).await.bodies }
    };
    assert_eq!(with("carl@d").await, ["from carl"]);
    assert_eq!(with("bob@d").await.len(), 5);
    // A full address matches that device only.
    assert_eq!(with("bob@d/b").await, ["1", "3", "to a device"]);
    // With oneself: what one wrote to oneself, and once.
    assert_eq!(with("ana@d").await, ["note to myself"]);
    assert!(with("nobody@d").await.is_empty());
}

#[tokio::test]
async fn messages_are_found_by_time_and_by_id() {
    let world = World::new();
    let (ana, _) = talked(&world, 10).await;
    let all = ask(&ana, &query(&[], "", "")).await;
    let stamp = |n: usize| crate::stanza::stamp::print(world.store.archived(&jid("ana@d"))[n].seq);
    let bodies = async |fields: &[(&str, &str)]| ask(&ana, &query(fields, "", "")).await.bodies;
    assert_eq!(bodies(&[("start", &stamp(7))]).await, ["7", "8", "9"]);
    assert_eq!(bodies(&[("end", &stamp(1))]).await, ["0", "1"]);
    assert_eq!(bodies(&[("start", &stamp(3)), ("end", &stamp(4))]).await, ["3", "4"]);
    assert_eq!(bodies(&[("after-id", &all.ids[7])]).await, ["8", "9"]);
    assert_eq!(bodies(&[("before-id", &all.ids[2])]).await, ["0", "1"]);
    let between = [("after-id", all.ids[3].as_str()), ("before-id", all.ids[6].as_str())];
    assert_eq!(bodies(&between).await, ["4", "5"]);
    let some = format!("{} {}", all.ids[8], all.ids[2]);
    assert_eq!(bodies(&[("ids", &some)]).await, ["2", "8"]);
    assert_eq!(bodies(&[("include-groupchat", "false")]).await.len(), 10);
    assert_eq!(bodies(&[("include-groupchat", "true")]).await.len(), 10);
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let world = World::new();
    let (ana, bob) = talked(&world, 2).await;
    let theirs = ask(&bob, &query(&[], "", "")).await.ids[0].clone();
    let carl = world.online("carl@d/c").await;
    let unknown = "AAAAAAAAAAAAAAAAAAAAAA";
    let table = [
        (query(&[("{x}search", "y")], "", ""), "feature-not-implemented"),
        (query(&[("start", "yesterday")], "", ""), "bad-request"),
        (query(&[("with", "@")], "", ""), "jid-malformed"),
        (query(&[("include-groupchat", "maybe")], "", ""), "bad-request"),
        (query(&[("before-id", unknown)], "", ""), "item-not-found"),
        (query(&[("after-id", unknown)], "", ""), "item-not-found"),
        (query(&[("ids", unknown)], "", ""), "item-not-found"),
        (query(&[], &format!("<after>{unknown}</after>"), ""), "item-not-found"),
        (query(&[], &format!("<before>{unknown}</before>"), ""), "item-not-found"),
        // An id of another archive.
        (query(&[], &format!("<after>{theirs}</after>"), ""), "item-not-found"),
        (query(&[], "<max>x</max>", ""), "bad-request"),
        (query(&[], "", "").replace("type='submit'", "type='form'"), "bad-request"),
        (query(&[], "", "").replace("queryid=", "node='n' queryid="), "item-not-found"),
        // Somebody else's archive, whether or not there is one.
        (query(&[], "", "").replace("id='q'", "id='q' to='ana@d'"), "forbidden"),
        (query(&[], "", "").replace("id='q'", "id='q' to='nobody@d'"), "forbidden"),
    ];
    for (iq, expected) in table {
        assert_eq!(refused(&carl.say(&iq).await), Some(expected), "{iq}");
    }
    assert_eq!(
        refused(&ana.say("<iq type='set' id='m'><metadata xmlns='urn:xmpp:mam:2'/></iq>").await),
        Some("bad-request")
    );
}

#[tokio::test]
async fn the_form_and_the_ends_of_the_archive_are_told() {
    let world = World::new();
    let empty = world.online("carl@d/c").await;
    let metadata = "<iq type='get' id='m'><metadata xmlns='urn:xmpp:mam:2'/></iq>";
    empty.say(metadata).await;
    let got = parse(&empty.read().await[0]);
    assert_eq!(got.child("metadata", MAM).unwrap().elements().count(), 0);

    let (ana, _) = talked(&world, 5).await;
    let all = ask(&ana, &query(&[], "", "")).await;
    ana.say(metadata).await;
    let got = parse(&ana.read().await[0]);
    let ends = got.child("metadata", MAM).unwrap();
    for (name, n) in [("start", 0), ("end", 4)] {
        let end = ends.child(name, MAM).unwrap();
        assert_eq!(end.attr("id"), Some(all.ids[n].as_str()));
        let seq = world.store.archived(&jid("ana@d"))[n].seq;
        assert_eq!(end.attr("timestamp").and_then(crate::stanza::stamp::parse), Some(seq));
    }

    ana.say("<iq type='get' id='f'><query xmlns='urn:xmpp:mam:2'/></iq>").await;
    let form = ana.read().await;
    for field in ["with", "start", "end", "before-id", "after-id", "ids", "include-groupchat"] {
        assert!(form[0].contains(&format!("var='{field}'")), "{field} in {}", form[0]);
    }
    assert!(form[0].contains("<open/>"), "{}", form[0]);
}

/// Section 7: the archive is announced at the account's address and not at the server's.
#[tokio::test]
async fn the_account_announces_its_archive() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    ana.say("<iq type='get' id='a' to='ana@d'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        .await;
    let account = ana.read().await.concat();
    for feature in
        [MAM, "urn:xmpp:mam:2#extended", "urn:xmpp:mam:2#groupchat-field", "urn:xmpp:sid:0"]
    {
        assert!(account.contains(&format!("var='{feature}'")), "{feature}");
    }
    ana.say(
        "<iq type='get' id='s' to='d'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
    )
    .await;
    assert!(!ana.read().await.concat().contains("urn:xmpp:mam:2"));
}

#[tokio::test]
async fn wishes_are_kept_and_followed() {
    let world = World::new();
    let (ana, bob) = (world.online("ana@d/a").await, world.online("bob@d/b").await);
    let carl = world.online("carl@d/c").await;
    let get = "<iq type='get' id='p'><prefs xmlns='urn:xmpp:mam:2'/></iq>";
    ana.say(get).await;
    let prefs = parse(&ana.read().await[0]).child("prefs", MAM).unwrap().clone();
    assert_eq!(prefs.attr("default"), Some("always"));
    assert!(prefs.child("always", MAM).is_some() && prefs.child("never", MAM).is_some());

    let set = |habit: &str, always: &str, never: &str| {
        let list =
            |jid: &str| if jid.is_empty() { String::new() } else { format!("<jid>{jid}</jid>") };
        format!(
            "<iq type='set' id='p'><prefs xmlns='urn:xmpp:mam:2' default='{habit}'>\
             <always>{}</always><never>{}</never></prefs></iq>",
            list(always),
            list(never)
        )
    };
    let count = |who: &str| world.store.archived(&jid(who)).len();
    // Never but with Bob.
    ana.say(&set("never", "bob@d", "")).await;
    assert!(ana.read().await[0].contains("default='never'"));
    ana.say(&chat("bob@d", "1")).await;
    carl.say(&chat("ana@d", "2")).await;
    assert_eq!((count("ana@d"), count("bob@d"), count("carl@d")), (1, 1, 1));
    // What is not archived for her has no id of her archive; it still comes.
    let got = ana.read().await;
    assert_eq!(ids_in(&got[0]), []);
    // Those of the roster only; never wins over it.
    ana.say(
        "<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='carl@d'/></query></iq>",
    )
    .await;
    ana.say(&set("roster", "", "carl@d/other")).await;
    carl.say(&chat("ana@d", "3")).await;
    bob.say(&chat("ana@d", "4")).await;
    assert_eq!((count("ana@d"), count("bob@d")), (2, 2));
    for (bad, expected) in [
        (set("sometimes", "", ""), "bad-request"),
        (set("always", "@", ""), "jid-malformed"),
        (set("never", "", "").replace("id='p'", "id='p' to='bob@d'"), "forbidden"),
    ] {
        assert_eq!(refused(&ana.say(&bad).await), Some(expected), "{bad}");
    }
    ana.read().await;
    ana.say(get).await;
    assert!(ana.read().await[0].contains("<jid>carl@d/other</jid>"));
}

/// XEP-0424: who wrote a message takes it back, in every archive; its place stays.
#[tokio::test]
async fn a_retracted_message_stays_as_a_tombstone() {
    let world = World::new();
    let (ana, bob) = (world.online("ana@d/a").await, world.online("bob@d/b").await);
    ana.say("<message to='bob@d' type='chat' id='m1'><body>secret</body><origin-id xmlns='urn:xmpp:sid:0' id='m1'/></message>")
        .await;
    let before = ask(&bob, &query(&[], "", "")).await;
    let retract = "<message to='TO' type='chat' id='r1'><retract xmlns='urn:xmpp:message-retract:1' id='m1'/>\
                   <body>I took something back</body></message>";
    // Bob cannot take back what Ana wrote.
    bob.say(&retract.replace("TO", "ana@d").replace("r1", "r0")).await;
    assert!(ask(&ana, &query(&[], "", "")).await.bodies.contains(&"secret".to_owned()));
    ana.read().await;
    ana.say(&retract.replace("TO", "bob@d")).await;
    assert!(bob.read().await.concat().contains("<retract"), "it is delivered");
    for session in [&ana, &bob] {
        session.say(&query(&[], "", "")).await;
        let got = session.read().await;
        assert!(!got.concat().contains("secret"));
        let message = parse(&got[0]);
        let result = message.child("result", MAM).unwrap();
        let forwarded = result.child("forwarded", "urn:xmpp:forward:0").unwrap();
        let message = forwarded.child("message", "jabber:client").unwrap();
        let retracted = message.child("retracted", "urn:xmpp:message-retract:1").unwrap();
        assert_eq!(retracted.attr("id"), Some("r1"));
        assert_eq!(message.attr("from"), Some("ana@d/a"));
        assert_eq!(message.attr("id"), Some("m1"));
        // Tombstone, Bob's try, the retraction.
        assert_eq!(got.len(), 4);
    }
    let after = ask(&bob, &query(&[], "", "")).await;
    assert_eq!(before.ids[0], after.ids[0]);
}

/// XEP-0308, 0444, 0461, 0428, 0372, 0513, 0393: passed as they are, and archived as messages.
#[tokio::test]
async fn what_messages_carry_is_passed_and_archived_as_it_came() {
    let world = World::new();
    let (ana, bob) = (world.online("ana@d/a").await, world.online("bob@d/b").await);
    let payloads = [
        "<body>new</body><replace xmlns='urn:xmpp:message-correct:0' id='m'/>",
        "<reactions xmlns='urn:xmpp:reactions:0' id='m'><reaction>\u{1f44d}</reaction></reactions><store xmlns='urn:xmpp:hints'/>",
        "<body>&gt; old\nnew</body><reply xmlns='urn:xmpp:reply:0' to='bob@d' id='m'/><fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='0' end='6'/></fallback>",
        "<body>@bob hi</body><reference xmlns='urn:xmpp:reference:0' type='mention' begin='0' end='4' uri='xmpp:bob@d'/>",
        "<body>@bob hi</body><mentions xmlns='urn:xmpp:mentions:0'><mention jid='bob@d'/></mentions>",
        "<body>*not bold*</body><unstyled xmlns='urn:xmpp:styling:0'/>",
        "<body xml:lang='de'>x</body><y:any xmlns:y='urn:unknown' b='1' a='2'>t<![CDATA[<raw>]]><y:in/></y:any>",
    ];
    for (n, payload) in payloads.iter().enumerate() {
        let sent = format!("<message to='bob@d' type='chat' id='p{n}'>{payload}</message>");
        ana.say(&sent).await;
        let got = bob.read().await;
        assert!(got[0].contains(payload), "{payload} in {}", got[0]);
        let kept = world.store.archived(&jid("bob@d"));
        assert_eq!(kept.len(), n + 1, "{payload}");
        assert!(String::from_utf8_lossy(&kept[n].stanza).contains(payload));
    }
}

/// XEP-0313 section 6.1.1: what is refused is in nobody's archive, and only chat and normal messages are in any.
#[tokio::test]
async fn refused_messages_and_other_types_are_not_archived() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let _bob = world.online("bob@d/b").await;
    ana.say(&chat("nobody@d", "x")).await;
    ana.say(&chat("d", "x")).await;
    for kind in ["headline", "error", "groupchat"] {
        ana.say(&chat("bob@d/b", "x").replace("'chat'", &format!("'{kind}'"))).await;
    }
    ana.say("<message to='bob@d' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>").await;
    assert!(world.store.archived(&jid("ana@d")).is_empty());
    assert!(world.store.archived(&jid("bob@d")).is_empty());
}

/// XEP-0160 and XEP-0313 section 6.1.1: old clients get what waited, with the id it has in the archive.
#[tokio::test]
async fn what_waited_comes_with_its_delay_and_its_id() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    assert_eq!(ana.say(&chat("bob@d", "late")).await, Outcome::Stored);
    let bob = world.bind("bob@d/b");
    bob.say("<presence/>").await;
    let got: Vec<_> = bob.read().await.into_iter().filter(|s| s.starts_with("<message")).collect();
    assert_eq!(got.len(), 1);
    let message = parse(&got[0]);
    assert_eq!(message.child("delay", "urn:xmpp:delay").unwrap().attr("from"), Some("d"));
    let ids = ids_in(&got[0]);
    assert_eq!(ids.len(), 1);
    assert_eq!(ask(&bob, &query(&[], "", "")).await.ids, [ids[0].id.clone()]);
    assert!(world.store.waiting(&jid("bob@d")).is_empty());
}

#[tokio::test]
async fn who_has_read_the_archive_is_not_given_the_same_again() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    ana.say(&chat("bob@d", "1")).await;
    ana.say(&chat("bob@d", "2")).await;
    let bob = world.bind("bob@d/b");
    assert_eq!(ask(&bob, &query(&[], "", "")).await.bodies, ["1", "2"]);
    // One more after it has read.
    ana.say(&chat("bob@d", "3")).await;
    bob.say("<presence/>").await;
    assert_eq!(bob.bodies().await, ["3"]);
    assert!(world.store.waiting(&jid("bob@d")).is_empty());
    assert_eq!(world.store.archived(&jid("bob@d")).len(), 3);
}

/// XEP-0386: a session that is told of the archive when it binds reads there.
#[tokio::test]
async fn who_is_told_of_the_archive_at_bind_is_given_nothing_that_waited() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    ana.say(&chat("bob@d", "1")).await;
    let bob = world.bind("bob@d/b");
    let metadata = world.server.archive_at_bind(&bob.jid).await.unwrap();
    assert!(metadata.child("end", MAM).is_some());
    bob.say("<presence/>").await;
    assert!(bob.bodies().await.is_empty());
    assert!(world.store.waiting(&jid("bob@d")).is_empty());
}

#[tokio::test]
async fn what_a_lost_client_did_not_read_waits_under_the_place_it_has() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let bob = world.online("bob@d/b").await;
    ana.say(&chat("bob@d", "once")).await;
    bob.lose().await;
    assert_eq!(world.store.archived(&jid("bob@d")).len(), 1);
    assert_eq!(world.store.waiting(&jid("bob@d")).len(), 1);
    let again = world.bind("bob@d/again");
    again.say("<presence/>").await;
    let got = again.read().await;
    let got: Vec<_> = got.iter().filter(|s| s.contains("once")).collect();
    assert_eq!(got.len(), 1);
    assert_eq!(ids_in(got[0]).len(), 1, "{}", got[0]);
}

/// What is not archived waits too, in a body of its own (XEP-0334 section 4.1).
#[tokio::test]
async fn what_must_not_be_archived_waits_all_the_same() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let text = "<message to='bob@d' type='chat'><body>x</body><no-permanent-store xmlns='urn:xmpp:hints'/></message>";
    assert_eq!(ana.say(text).await, Outcome::Stored);
    assert!(world.store.archived(&jid("bob@d")).is_empty());
    assert_eq!(ana.say(&text.replace("no-permanent-store", "no-store")).await, Outcome::Ignored);
    let bob = world.bind("bob@d/b");
    bob.say("<presence/>").await;
    assert_eq!(bob.bodies().await, ["x"]);
}

/// The sender is told when the store fails, and nothing is delivered: what nobody keeps is not half sent.
#[tokio::test]
async fn what_cannot_be_kept_is_refused_and_not_delivered() {
    let world = World::new();
    let (ana, bob) = talked(&world, 1).await;
    world.store.set_broken(true);
    assert_eq!(refused(&ana.say(&chat("bob@d", "x")).await), Some("internal-server-error"));
    assert!(bob.read().await.is_empty());
    assert!(ana.read().await.concat().contains("internal-server-error"));
}

/// A call that rang while nobody was there is learnt of later (XEP-0353).
#[tokio::test]
async fn a_call_that_was_missed_waits_and_is_archived() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let propose = "<message to='bob@d' type='chat'><propose xmlns='urn:xmpp:jingle-message:0' id='c1'/><store xmlns='urn:xmpp:hints'/></message>";
    assert_eq!(ana.say(propose).await, Outcome::Stored);
    ana.say(&propose.replace("propose", "retract")).await;
    assert_eq!(world.store.archived(&jid("bob@d")).len(), 2);
    let bob = world.bind("bob@d/b");
    bob.say("<presence/>").await;
    let got = bob.read().await.concat();
    assert!(got.contains("<propose") && got.contains("<retract"), "{got}");
}

/// To another server: the sender's archive has it, the addressee gets it without the sender's id.
#[tokio::test]
async fn what_goes_elsewhere_is_in_the_senders_archive_alone() {
    let store = store();
    let remote = Arc::new(MemoryRemote::reachable());
    let ports = Ports { remote: remote.clone(), ..ports(&store) };
    let world = World::with(store, ports);
    let ana = world.online("ana@d/a").await;
    ana.say(&chat("zoe@far", "over there")).await;
    let sent = remote.take_sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(ids_in(std::str::from_utf8(&sent[0].2).unwrap()), []);
    assert_eq!(world.store.archived(&jid("ana@d")).len(), 1);
    assert!(world.store.archived(&jid("zoe@far")).is_empty());
    // And back.
    let mut answer = Stanza::parse(chat("ana@d", "over here").into()).unwrap();
    answer.set_from(jid("zoe@far/x"));
    world.server.handle(answer).await;
    let got = ana.read().await;
    assert_eq!(ids_in(got.last().unwrap()).len(), 1);
    assert_eq!(ask(&ana, &query(&[("with", "zoe@far")], "", "")).await.bodies.len(), 2);
}
