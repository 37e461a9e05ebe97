//! XEP-0191 and XEP-0377: what becomes of stanzas between who blocks and who is blocked.

use super::*;

fn set(payload: &str) -> String {
    format!("<iq type='set' id='b'>{payload}</iq>")
}

fn block(jid: &str) -> String {
    set(&format!("<block xmlns='urn:xmpp:blocking'><item jid='{jid}'/></block>"))
}

fn unblock(jid: &str) -> String {
    block(jid).replace("block xmlns", "unblock xmlns").replace("</block>", "</unblock>")
}

const LIST: &str = "<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>";
const BLOCKED: &str = "<blocked xmlns='urn:xmpp:blocking:errors'/>";

async fn say(session: &Session, text: &str) -> String {
    session.say(text).await;
    session.read().await.join("")
}

/// Two who see each other.
async fn friends(world: &World) -> (Session, Session) {
    let (ana, bob) = (world.interested("ana@d/a").await, world.interested("bob@d/b").await);
    for (one, other) in [(&ana, &bob), (&bob, &ana)] {
        one.say(&format!("<presence to='{}' type='subscribe'/>", other.jid.bare())).await;
        other.say(&format!("<presence to='{}' type='subscribed'/>", one.jid.bare())).await;
    }
    ana.read().await;
    bob.read().await;
    (ana, bob)
}

/// Section 3.2, 3.3, 3.4, 3.5.
#[tokio::test]
async fn a_list_is_empty_then_holds_what_was_blocked_until_it_is_unblocked() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    assert!(say(&ana, LIST).await.contains("<blocklist xmlns='urn:xmpp:blocking'/>"));
    let answer = say(&ana, &block("bob@d")).await;
    assert!(answer.contains("type='result'"), "{answer}");
    ana.say(&block("other.example")).await;
    let list = say(&ana, LIST).await;
    assert!(list.contains("<item jid='bob@d'/><item jid='other.example'/>"), "{list}");
    ana.say(&unblock("bob@d")).await;
    ana.read().await;
    let list = say(&ana, LIST).await;
    assert!(!list.contains("bob@d") && list.contains("other.example"), "{list}");
    ana.say(&set("<unblock xmlns='urn:xmpp:blocking'/>")).await;
    ana.read().await;
    assert!(say(&ana, LIST).await.contains("<blocklist xmlns='urn:xmpp:blocking'/>"));
}

#[tokio::test]
async fn devices_that_asked_for_the_list_hear_of_changes() {
    let world = World::new();
    let (ana, desk) = (world.online("ana@d/a").await, world.online("ana@d/desk").await);
    let other = world.online("ana@d/other").await;
    say(&desk, LIST).await;
    other.read().await;
    ana.say(&block("bob@d")).await;
    let push = desk.read().await.join("");
    assert!(push.contains("type='set'") && push.contains("to='ana@d/desk'"), "{push}");
    let change = "<block xmlns='urn:xmpp:blocking'><item jid='bob@d'/></block>";
    assert!(push.contains(change), "{push}");
    ana.say(&set("<unblock xmlns='urn:xmpp:blocking'/>")).await;
    assert!(desk.read().await.join("").contains("<unblock xmlns='urn:xmpp:blocking'/>"));
    assert!(other.read().await.is_empty());
}

#[tokio::test]
async fn what_names_nobody_or_oneself_is_refused() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    for (request, condition) in [
        (set("<block xmlns='urn:xmpp:blocking'/>"), "<bad-request"),
        (block("@@"), "<jid-malformed"),
        (block("ana@d"), "<not-allowed"),
        (block("ana@d/a"), "<not-allowed"),
    ] {
        let answer = say(&ana, &request).await;
        assert!(answer.contains(condition), "{request} {answer}");
    }
}

#[tokio::test]
async fn a_list_has_an_end() {
    let (store, config) = (store(), Config::default());
    let config = Config { domains: vec!["d".into()], max_blocked: 2, ..config };
    let ports = ports(&store);
    let world = World { store, server: Server::new(config, ports) };
    let ana = world.online("ana@d/a").await;
    for jid in ["x@e", "y@e"] {
        assert!(say(&ana, &block(jid)).await.contains("type='result'"));
    }
    assert!(say(&ana, &block("z@e")).await.contains("<resource-constraint"));
    assert!(say(&ana, &block("x@e")).await.contains("type='result'"));
}

/// Section 3.3: who is blocked sees the account go, and hears nothing more of it.
#[tokio::test]
async fn who_is_blocked_sees_the_account_go_and_come_back() {
    let world = World::new();
    let (ana, bob) = friends(&world).await;
    ana.say(&block("bob@d")).await;
    let seen = bob.read().await.join("");
    assert!(seen.contains("from='ana@d/a'") && seen.contains("type='unavailable'"), "{seen}");
    ana.say("<presence><show>away</show></presence>").await;
    assert!(bob.read().await.is_empty());
    bob.say("<presence to='ana@d' type='probe'/>").await;
    assert!(!bob.read().await.join("").contains("ana@d/a"));
    let again = world.online("bob@d/again").await;
    assert!(!again.read().await.join("").contains("ana@d/a"));
    again.lose().await;
    bob.read().await;
    ana.say(&unblock("bob@d")).await;
    let seen = bob.read().await.join("");
    assert!(seen.contains("from='ana@d/a'") && seen.contains("<show>away</show>"), "{seen}");
}

/// Section 3.3: directed presence too.
#[tokio::test]
async fn who_got_directed_presence_sees_the_account_go_too() {
    let world = World::new();
    let (ana, bob) = (world.online("ana@d/a").await, world.online("bob@d/b").await);
    ana.say("<presence to='bob@d/b'/>").await;
    bob.read().await;
    ana.say(&block("bob@d")).await;
    assert!(bob.read().await.join("").contains("type='unavailable'"));
}

#[tokio::test]
async fn what_comes_from_who_is_blocked_does_not_arrive() {
    let world = World::new();
    let (ana, bob) = friends(&world).await;
    ana.say(&block("bob@d")).await;
    ana.read().await;
    bob.read().await;
    let answer = say(&bob, &chat("ana@d", "hello")).await;
    assert!(answer.contains("type='error'") && answer.contains("<service-unavailable"), "{answer}");
    let answer = say(&bob, &chat("ana@d/a", "hello")).await;
    assert!(answer.contains("<service-unavailable"), "{answer}");
    let answer =
        say(&bob, "<iq type='get' id='q' to='ana@d/a'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    assert!(answer.contains("<service-unavailable"), "{answer}");
    for silent in [
        "<presence to='ana@d/a'/>",
        "<presence><show>dnd</show></presence>",
        "<iq type='result' id='q' to='ana@d/a'/>",
        "<message type='error' to='ana@d/a'/>",
    ] {
        assert!(!say(&bob, silent).await.contains("type='error'"), "{silent}");
    }
    assert!(ana.read().await.is_empty());
    assert!(world.store.waiting(&jid("ana@d")).is_empty());
}

#[tokio::test]
async fn nothing_goes_to_who_is_blocked() {
    let world = World::new();
    let (ana, bob) = friends(&world).await;
    ana.say(&block("bob@d")).await;
    ana.read().await;
    bob.read().await;
    for stanza in [
        chat("bob@d", "hello"),
        "<iq type='get' id='q' to='bob@d/b'><ping xmlns='urn:xmpp:ping'/></iq>".into(),
        "<presence to='bob@d'/>".into(),
        "<presence to='bob@d' type='subscribe'/>".into(),
    ] {
        let answer = say(&ana, &stanza).await;
        let refused = answer.contains("<error type='cancel'><not-acceptable");
        assert!(refused && answer.contains(BLOCKED), "{stanza} {answer}");
    }
    assert!(bob.read().await.is_empty());
}

/// Section 5: by device, account and domain.
#[tokio::test]
async fn addresses_match_by_device_account_and_domain() {
    for (blocked, sender, passes) in [
        ("bob@d/b", "bob@d/b", false),
        ("bob@d/b", "bob@d/c", true),
        ("bob@d", "bob@d/c", false),
        ("d", "bob@d/b", false),
        ("carl@d", "bob@d/b", true),
        ("other", "bob@d/b", true),
        ("d/x", "bob@d/x", true),
    ] {
        let world = World::new();
        let ana = world.online("ana@d/a").await;
        ana.say(&block(blocked)).await;
        let bob = world.online(sender).await;
        bob.say(&chat("ana@d", "hello")).await;
        let arrived = ana.read().await.join("").contains("hello");
        assert_eq!(arrived, passes, "{blocked} {sender}");
    }
}

/// The account itself is never cut off, whatever it blocks.
#[tokio::test]
async fn who_blocks_the_own_domain_still_reaches_its_own_devices_and_the_server() {
    let world = World::new();
    let (ana, desk) = (world.online("ana@d/a").await, world.online("ana@d/desk").await);
    ana.say(&block("d")).await;
    ana.say(&chat("ana@d/desk", "hello")).await;
    assert!(desk.bodies().await.contains(&"hello".to_owned()));
    let answer = say(&ana, "<iq type='get' id='q' to='d'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    assert!(answer.contains("type='result'"), "{answer}");
}

/// RFC 6121 section 3.1.3: the request of somebody blocked is as if it had not come, and who asks cannot tell.
#[tokio::test]
async fn a_request_of_somebody_blocked_is_not_shown_and_not_kept() {
    let world = World::new();
    let (ana, bob) = (world.online("ana@d/a").await, world.interested("bob@d/b").await);
    ana.say(&block("bob@d")).await;
    ana.read().await;
    let answer = say(&bob, "<presence to='ana@d' type='subscribe'/>").await;
    assert!(answer.contains("ask='subscribe'") && !answer.contains("type='error'"), "{answer}");
    assert!(ana.read().await.is_empty());
    assert!(world.store.stored_roster(&jid("ana@d")).pending_in.is_empty());
}

#[tokio::test]
async fn a_list_outlives_the_session_and_counts_before_the_next_one() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    ana.say(&block("bob@d")).await;
    ana.lose().await;
    let bob = world.online("bob@d/b").await;
    assert!(say(&bob, &chat("ana@d", "hello")).await.contains("<service-unavailable"));
    assert!(world.server.is_blocked(&jid("ana@d"), &jid("bob@d/b")).await.unwrap());
    assert!(!world.server.is_blocked(&jid("ana@d"), &jid("carl@d/c")).await.unwrap());
}

/// XEP-0377: the block happens, the report is kept, and it is in nobody's push.
#[tokio::test]
async fn a_report_is_kept_with_what_it_names() {
    let store = store();
    let desk = Arc::new(MemoryDesk::default());
    let ports = Ports { blocklists: desk.clone(), ..ports(&store) };
    let world = World::with(store, ports);
    let ana = world.online("ana@d/a").await;
    say(&ana, LIST).await;
    let answer = say(
        &ana,
        &set("<block xmlns='urn:xmpp:blocking'><item jid='bob@d'>\
             <report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='ana@d' id='77'/>\
             <text xml:lang='en'>Never came trouble to my house like this.</text>\
             <third-party/></report></item><item jid='carl@d'/></block>"),
    )
    .await;
    assert!(answer.contains("type='result'") && !answer.contains("report"), "{answer}");
    let reports = desk.reports();
    let [report] = reports.as_slice() else { panic!("{reports:?}") };
    assert_eq!((report.reporter.as_str(), report.reported.as_str()), ("ana@d", "bob@d"));
    assert_eq!(report.reason, "urn:xmpp:reporting:spam");
    assert!(report.text.as_deref().unwrap().starts_with("Never came trouble"));
    assert!(report.to_others && !report.to_origin);
    assert_eq!((report.evidence[0].by.as_str(), report.evidence[0].id.as_str()), ("ana@d", "77"));
    assert!(say(&ana, LIST).await.contains("<item jid='bob@d'/><item jid='carl@d'/>"));
}

#[tokio::test]
async fn a_report_without_a_reason_is_refused_whole() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let request = set("<block xmlns='urn:xmpp:blocking'><item jid='bob@d'>\
         <report xmlns='urn:xmpp:reporting:1'/></item></block>");
    assert!(say(&ana, &request).await.contains("<bad-request"));
    assert!(!say(&ana, LIST).await.contains("bob@d"));
}

/// What is reported is kept as it was, also when it is retracted later (XEP-0424).
#[tokio::test]
async fn evidence_is_copied_out_of_the_archive() {
    let store = store();
    let desk = Arc::new(MemoryDesk::default());
    let ports = Ports { blocklists: desk.clone(), ..ports(&store) };
    let world = World::with(store, ports);
    let (ana, bob) = (world.online("ana@d/a").await, world.online("bob@d/b").await);
    bob.say(&chat("ana@d", "buy now")).await;
    let message = ana.read().await.join("");
    let (_, id) = message.split_once("<stanza-id").unwrap();
    let id = id.split("id='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    let report = |by: &str, id: &str| {
        set(&format!(
            "<block xmlns='urn:xmpp:blocking'><item jid='bob@d'>\
             <report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:abuse'>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='{by}' id='{id}'/></report></item></block>"
        ))
    };
    for (by, id) in [("ana@d", id.as_str()), ("bob@d", &id), ("ana@d", "made up")] {
        assert!(say(&ana, &report(by, id)).await.contains("type='result'"));
    }
    let kept: Vec<_> = desk.reports().into_iter().map(|r| r.evidence[0].stanza.clone()).collect();
    let text = String::from_utf8(kept[0].as_ref().unwrap().to_vec()).unwrap();
    assert!(text.contains("<body>buy now</body>") && text.contains("from='bob@d/b'"), "{text}");
    // Only what is in the reporter's own archive.
    assert_eq!(&kept[1..], [None, None]);
}

/// XEP-0377 section 3 and XEP-0191 section 3.1.
#[tokio::test]
async fn the_feature_of_reports_is_announced() {
    let world = World::new();
    let ana = world.bind("ana@d/a");
    let question = "<iq type='get' id='q' to='d'>\
                    <query xmlns='http://jabber.org/protocol/disco#info'/></iq>";
    let answer = say(&ana, question).await;
    for feature in ["urn:xmpp:blocking", "urn:xmpp:reporting:1"] {
        assert!(answer.contains(&format!("<feature var='{feature}'/>")), "{answer}");
    }
}

/// Section 3.3: a list that is kept holds at once; one that cannot be put into force is not kept.
#[tokio::test]
async fn a_block_holds_or_is_refused() {
    let world = World::new();
    let (ana, bob) = (world.bind("ana@d/a"), world.online("bob@d/b").await);
    world.store.set_broken(true);
    ana.say(
        "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='bob@d'/></block></iq>",
    )
    .await;
    assert!(ana.read().await.join("").contains("<internal-server-error"));
    world.store.set_broken(false);
    let kept = world.server.ports().blocklists.load(&jid("ana@d")).await.unwrap();
    let is_refused = matches!(bob.say(&chat("ana@d", "x")).await, Outcome::Refused(_));
    assert_eq!(is_refused, !kept.is_empty());
}
