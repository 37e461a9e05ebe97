//! XEP-0060, XEP-0163, XEP-0223: publishing, reading, taking back, and who may.

use super::*;
use crate::config::PubSubLimits;
use crate::ports::memory_pubsub::MemoryPubSub;

const PUBSUB: &str = "http://jabber.org/protocol/pubsub";

/// A set to the account's own service.
pub(super) fn set(inside: &str) -> String {
    format!("<iq type='set' id='s'><pubsub xmlns='{PUBSUB}'>{inside}</pubsub></iq>")
}

pub(super) fn publish(node: &str, id: &str, payload: &str) -> String {
    set(&format!("<publish node='{node}'><item id='{id}'>{payload}</item></publish>"))
}

/// A publication with these options, as name and value.
pub(super) fn publish_with(
    node: &str,
    id: &str,
    payload: &str,
    options: &[(&str, &str)],
) -> String {
    let fields: String = options
        .iter()
        .map(|(var, value)| format!("<field var='pubsub#{var}'><value>{value}</value></field>"))
        .collect();
    set(&format!(
        "<publish node='{node}'><item id='{id}'>{payload}</item></publish><publish-options>\
         <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
         <value>{PUBSUB}#publish-options</value></field>{fields}</x></publish-options>"
    ))
}

/// A get to the service of `owner`.
pub(super) fn get(owner: &str, inside: &str) -> String {
    format!("<iq type='get' id='g' to='{owner}'><pubsub xmlns='{PUBSUB}'>{inside}</pubsub></iq>")
}

pub(super) fn items(owner: &str, node: &str) -> String {
    get(owner, &format!("<items node='{node}'/>"))
}

/// Says something and reads all that comes.
pub(super) async fn ask(session: &Session, text: &str) -> String {
    session.say(text).await;
    session.read().await.join("\n")
}

/// Says something that must be granted.
pub(super) async fn done(session: &Session, text: &str) -> String {
    let read = ask(session, text).await;
    assert!(read.contains("type='result'"), "{text}: {read}");
    read
}

/// The first question of the server about what a client can do, answered with these wishes for news.
pub(super) async fn answer_wishes(session: &Session, read: &[String], wishes: &[&str]) -> String {
    let question = read.iter().find(|s| s.contains("id='features-")).expect("no question");
    let id = question.split_once(" id='").unwrap().1.split_once('\'').unwrap().0;
    let from = question.split_once(" from='").unwrap().1.split_once('\'').unwrap().0;
    let wishes: String = wishes.iter().map(|w| format!("<feature var='{w}+notify'/>")).collect();
    let answer = format!(
        "<iq type='result' id='{id}' to='{from}'>\
         <query xmlns='http://jabber.org/protocol/disco#info'>{wishes}</query></iq>"
    );
    ask(session, &answer).await
}

impl World {
    /// A session that is available and wants the news of these nodes.
    pub(super) async fn wishing(&self, full: &str, wishes: &[&str]) -> Session {
        let session = self.bind(full);
        session.say("<presence/>").await;
        let read = session.read().await;
        answer_wishes(&session, &read, wishes).await;
        session
    }

    /// `watcher` sees `owner` from now on.
    pub(super) async fn befriend(&self, owner: &Session, watcher: &Session) {
        let (owner_bare, watcher_bare) = (owner.jid.bare(), watcher.jid.bare());
        watcher.say(&format!("<presence to='{owner_bare}' type='subscribe'/>")).await;
        owner.say(&format!("<presence to='{watcher_bare}' type='subscribed'/>")).await;
        owner.read().await;
        watcher.read().await;
    }

    /// With a store of items that is at hand.
    pub(super) fn with_pubsub(limits: PubSubLimits) -> (Self, Arc<MemoryPubSub>) {
        let store = store();
        let pubsub = Arc::new(MemoryPubSub::default());
        let ports = Ports { pubsub: pubsub.clone(), ..ports(&store) };
        let config = Config { domains: vec!["d".into()], pubsub: limits, ..Config::default() };
        (Self { store, server: Server::new(config, ports) }, pubsub)
    }
}

/// XEP-0163 section 4.3, XEP-0060 sections 7.1 and 12.1: the node is made, the id comes back, and contacts who asked for
/// the node are told by the account in a headline; strangers and who did not ask are not.
#[tokio::test]
async fn what_is_published_reaches_who_asked_for_it() {
    let world = World::new();
    let ana = world.wishing("ana@d/a", &["urn:tune"]).await;
    let other = world.wishing("ana@d/b", &[]).await;
    let bob = world.wishing("bob@d/b", &["urn:tune", "urn:x"]).await;
    let deaf = world.wishing("bob@d/c", &["urn:x"]).await;
    let carl = world.wishing("carl@d/c", &["urn:tune"]).await;
    world.befriend(&ana, &bob).await;
    other.read().await;
    deaf.read().await;
    let read =
        done(&ana, &publish("urn:tune", "1", "<tune xmlns='urn:tune' a='1'>x &amp; y</tune>"))
            .await;
    assert!(read.contains("<publish node='urn:tune'><item id='1'/>"), "{read}");
    assert!(read.contains("from='ana@d' to='ana@d/a' type='headline' id='pep-"), "{read}");
    let news = bob.read().await.join("");
    assert!(
        news.starts_with("<message from='ana@d' to='bob@d/b' type='headline' id='pep-"),
        "{news}"
    );
    assert!(news.contains("<items node='urn:tune'><item id='1' publisher='ana@d'>"), "{news}");
    assert!(news.contains("<tune xmlns='urn:tune' a='1'>x &amp; y</tune>"), "{news}");
    for silent in [&other, &deaf, &carl] {
        assert!(silent.read().await.is_empty(), "{}", silent.jid);
    }
}

/// XEP-0060 section 7.1.2.1: an item without id gets one; section 12.8: which is unique.
#[tokio::test]
async fn an_item_without_id_gets_one() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let read =
        done(&ana, &set("<publish node='n'><item><x xmlns='urn:x'/></item></publish>")).await;
    let id = read.split_once("<item id='").unwrap().1.split_once('\'').unwrap().0;
    assert_eq!(id.len(), 20, "{read}");
    assert!(done(&ana, &items("ana@d", "n")).await.contains(id));
}

/// XEP-0060 section 7.1.3: what is no publication.
#[tokio::test]
async fn a_bad_publication_is_refused_with_its_reason() {
    let limits = PubSubLimits { max_item_bytes: 100, ..PubSubLimits::default() };
    let (world, _) = World::with_pubsub(limits);
    let ana = world.online("ana@d/a").await;
    let long = "x".repeat(100);
    let cases = [
        (set("<publish><item><x xmlns='u'/></item></publish>"), "<bad-request", "nodeid-required"),
        (set("<publish node='n'/>"), "<bad-request", "item-required"),
        (set("<publish node='n'><item id='1'/></publish>"), "<bad-request", "payload-required"),
        (publish("n", "1", "<x xmlns='u'/><y xmlns='u'/>"), "<bad-request", "invalid-payload"),
        (
            publish("n", "1", &format!("<x xmlns='u'>{long}</x>")),
            "<not-acceptable",
            "payload-too-big",
        ),
        (publish("tandem:vcard", "1", "<x xmlns='u'/>"), "<forbidden", ""),
        (set("<odd/>"), "<feature-not-implemented", ""),
        (
            set("<options node='n' jid='ana@d'/>"),
            "<feature-not-implemented",
            "subscription-options",
        ),
    ];
    for (request, condition, detail) in cases {
        let read = ask(&ana, &request).await;
        assert!(read.contains(condition) && read.contains(detail), "{request}: {read}");
    }
    // None of them has made the node.
    assert!(ask(&ana, &items("ana@d", "n")).await.contains("<item-not-found"));
}

/// XEP-0060 section 7.1.5: options make the node, are met, or refuse the publication.
#[tokio::test]
async fn options_of_a_publication_are_preconditions() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let private = [
        ("persist_items", "true"),
        ("max_items", "max"),
        ("send_last_published_item", "never"),
        ("access_model", "whitelist"),
    ];
    let item = "<x xmlns='urn:x'/>";
    done(&ana, &publish_with("n", "1", item, &private)).await;
    done(&ana, &publish_with("n", "2", item, &private)).await;
    for options in [
        ("access_model", "open"),
        ("max_items", "1"),
        ("send_last_published_item", "on_sub"),
        ("unheard_of", "1"),
        ("access_model", "lottery"),
    ] {
        let read = ask(&ana, &publish_with("n", "3", item, &[options])).await;
        assert!(read.contains("<conflict") && read.contains("<precondition-not-met"), "{read}");
    }
    let read = done(&ana, &items("ana@d", "n")).await;
    assert!(
        read.contains("id='1'") && read.contains("id='2'") && !read.contains("id='3'"),
        "{read}"
    );
    let plain =
        set("<publish node='n'><item id='4'><x xmlns='u'/></item></publish><publish-options/>");
    assert!(ask(&ana, &plain).await.contains("<bad-request"));
}

/// XEP-0060 section 4.5, XEP-0163 section 7.1, XEP-0223 section 3: who may read a node by its access model.
#[tokio::test]
async fn a_node_is_read_by_who_may() {
    let world = World::new();
    let ana = world.interested("ana@d/a").await;
    let bob = world.online("bob@d/b").await;
    let carl = world.online("carl@d/c").await;
    world.befriend(&ana, &bob).await;
    for model in ["open", "presence", "roster", "whitelist"] {
        let options = [("access_model", model), ("roster_groups_allowed", "Family")];
        done(&ana, &publish_with(model, "1", "<x xmlns='urn:x'/>", &options)).await;
        done(&ana, &items("ana@d", model)).await;
    }
    done(&bob, &items("ana@d", "open")).await;
    done(&bob, &items("ana@d", "presence")).await;
    done(&carl, &items("ana@d", "open")).await;
    for (who, node, condition, detail) in [
        (&bob, "roster", "<not-authorized", "<not-in-roster-group"),
        (&bob, "whitelist", "<not-allowed", "<closed-node"),
        (&carl, "presence", "<not-authorized", "<presence-subscription-required"),
        (&carl, "roster", "<not-authorized", "<not-in-roster-group"),
        (&carl, "whitelist", "<not-allowed", "<closed-node"),
    ] {
        let read = ask(who, &items("ana@d", node)).await;
        assert!(read.contains(condition) && read.contains(detail), "{node}: {read}");
        assert!(!read.contains("urn:x"), "{read}");
    }
    let group = "<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='bob@d'>\
                 <group>Family</group></item></query></iq>";
    done(&ana, group).await;
    done(&bob, &items("ana@d", "roster")).await;
    // No account and no subscription look alike where there is nothing to read.
    assert!(ask(&carl, &items("nobody@d", "open")).await.contains("<service-unavailable"));
}

/// XEP-0060 section 6.5: by id, the last few, all, page by page (XEP-0059 sections 2.1 to 2.4, 2.6).
#[tokio::test]
async fn items_are_read_by_id_and_by_page() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    for n in 1..=5 {
        let item = format!("<x xmlns='urn:x'>{n}</x>");
        done(&ana, &publish_with("n", &n.to_string(), &item, &[("max_items", "max")])).await;
    }
    // What is published again is the newest.
    done(&ana, &publish("n", "2", "<x xmlns='urn:x'>2b</x>")).await;
    let rsm = |inside: &str| {
        get(
            "ana@d",
            &format!("<items node='n'/><set xmlns='http://jabber.org/protocol/rsm'>{inside}</set>"),
        )
    };
    let cases = [
        (items("ana@d", "n"), "1 3 4 5 2", ""),
        (get("ana@d", "<items node='n' max_items='2'/>"), "5 2", "<count>5</count>"),
        (get("ana@d", "<items node='n'><item id='3'/><item id='5'/></items>"), "3 5", ""),
        (rsm("<max>2</max>"), "1 3", "<first index='0'>1</first><last>3</last><count>5</count>"),
        (rsm("<max>2</max><after>3</after>"), "4 5", "<first index='2'>4</first>"),
        (rsm("<max>2</max><before/>"), "5 2", "<first index='3'>5</first>"),
        (rsm("<max>2</max><before>5</before>"), "3 4", "<first index='1'>3</first>"),
        (rsm("<max>2</max><index>2</index>"), "4 5", "<first index='2'>4</first>"),
        (rsm("<max>0</max>"), "", "<count>5</count>"),
    ];
    for (request, expected, set) in cases {
        let read = done(&ana, &request).await;
        let ids: Vec<&str> =
            read.split("<item id='").skip(1).map(|rest| rest.split_once('\'').unwrap().0).collect();
        assert_eq!(ids.join(" "), expected, "{request}: {read}");
        assert!(read.contains(set), "{request}: {read}");
    }
    for missing in [rsm("<after>9</after>"), get("ana@d", "<items node='n'><item id='9'/></items>")]
    {
        assert!(ask(&ana, &missing).await.contains("<item-not-found"), "{missing}");
    }
    assert!(ask(&ana, &rsm("<max>many</max>")).await.contains("<bad-request"));
}

/// XEP-0060 section 7.2: retraction, with and without the wish to tell others.
#[tokio::test]
async fn an_item_is_taken_back_and_others_are_told() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let bob = world.wishing("bob@d/b", &["n"]).await;
    world.befriend(&ana, &bob).await;
    let quiet = [("notify_retract", "0"), ("max_items", "max")];
    for id in ["1", "2"] {
        done(&ana, &publish_with("n", id, "<x xmlns='urn:x'/>", &quiet)).await;
    }
    bob.read().await;
    done(&ana, &set("<retract node='n'><item id='1'/></retract>")).await;
    assert!(bob.read().await.is_empty());
    done(&ana, &set("<retract node='n' notify='true'><item id='2'/></retract>")).await;
    let news = bob.read().await.join("");
    assert!(news.contains("<items node='n'><retract id='2'/></items>"), "{news}");
    for (request, condition) in [
        (set("<retract node='n'><item id='1'/></retract>"), "<item-not-found"),
        (set("<retract node='m'><item id='1'/></retract>"), "<item-not-found"),
        (set("<retract node='n'/>"), "<item-required"),
        (set("<retract><item id='1'/></retract>"), "<nodeid-required"),
    ] {
        assert!(ask(&ana, &request).await.contains(condition), "{request}");
    }
}

/// XEP-0060 section 8.2.4: as many items are kept as the node says, no more than the server allows, and no longer.
#[tokio::test]
async fn old_items_make_room_and_expire() {
    let limits = PubSubLimits { max_items: 3, ..PubSubLimits::default() };
    let (world, memory) = World::with_pubsub(limits);
    let ana = world.online("ana@d/a").await;
    let item = "<x xmlns='urn:x'/>";
    for (node, max, left) in [("one", "1", "4"), ("two", "2", "3 4"), ("all", "max", "2 3 4")] {
        for n in 1..=4 {
            done(&ana, &publish_with(node, &n.to_string(), item, &[("max_items", max)])).await;
        }
        let read = done(&ana, &items("ana@d", node)).await;
        for n in 1..=4 {
            let is_left = left.contains(&n.to_string());
            assert_eq!(read.contains(&format!("<item id='{n}'")), is_left, "{node} {n}: {read}");
        }
    }
    done(&ana, &publish_with("short", "1", item, &[("item_expire", "60")])).await;
    memory.advance(59);
    assert!(done(&ana, &items("ana@d", "short")).await.contains("id='1'"));
    memory.advance(1);
    assert!(!done(&ana, &items("ana@d", "short")).await.contains("id='1'"));
}

/// XEP-0060 section 4.3: a node that keeps nothing still tells.
#[tokio::test]
async fn a_node_that_keeps_nothing_tells_and_has_only_its_last_item() {
    let world = World::new();
    let ana = world.wishing("ana@d/a", &["n"]).await;
    let transient = [("persist_items", "0"), ("deliver_payloads", "0")];
    let read = done(&ana, &publish_with("n", "1", "<x xmlns='urn:x'/>", &transient)).await;
    assert!(read.contains("<item id='1' publisher='ana@d'/></items>"), "{read}");
    done(&ana, &publish_with("n", "2", "<x xmlns='urn:x'/>", &transient)).await;
    let read = done(&ana, &items("ana@d", "n")).await;
    assert!(read.contains("id='2'") && !read.contains("id='1'"), "{read}");
    let read = ask(&ana, &set("<retract node='n'><item id='2'/></retract>")).await;
    assert!(
        read.contains("<feature-not-implemented") && read.contains("persistent-items"),
        "{read}"
    );
}

/// Limits: nodes, bytes; and no query for who has nothing.
#[tokio::test]
async fn an_account_has_bounds_and_one_without_nodes_costs_nothing() {
    let limits = PubSubLimits { max_nodes: 2, max_bytes: 200, ..PubSubLimits::default() };
    let (world, memory) = World::with_pubsub(limits);
    let ana = world.online("ana@d/a").await;
    let before = memory.reads();
    for _ in 0..5 {
        ana.say("<presence/>").await;
        assert!(ask(&ana, &items("ana@d", "n")).await.contains("<item-not-found"));
    }
    assert_eq!(memory.reads(), before);
    done(&ana, &publish("a", "1", "<x xmlns='urn:x'/>")).await;
    let long = format!("<x xmlns='urn:x'>{}</x>", "y".repeat(200));
    let read = ask(&ana, &publish("a", "1", &long)).await;
    assert!(read.contains("<resource-constraint"), "{read}");
    assert!(done(&ana, &items("ana@d", "a")).await.contains("<x xmlns='urn:x'/>"));
    done(&ana, &publish("b", "1", "<x xmlns='urn:x'/>")).await;
    let read = ask(&ana, &publish("c", "1", "<x xmlns='urn:x'/>")).await;
    assert!(
        read.contains("<resource-constraint") && read.contains("<max-nodes-exceeded"),
        "{read}"
    );
    memory.set_broken(true);
    let read = ask(&ana, &publish("a", "2", "<x xmlns='urn:x'/>")).await;
    assert!(read.contains("<internal-server-error"), "{read}");
}

/// XEP-0163 section 6: what the account says it is, and its nodes to who may read them.
#[tokio::test]
async fn an_account_is_a_service_with_nodes() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let carl = world.online("carl@d/c").await;
    let disco = |what: &str, node: &str| {
        let node = if node.is_empty() { String::new() } else { format!(" node='{node}'") };
        format!(
            "<iq type='get' id='q' to='ana@d'>\
             <query xmlns='http://jabber.org/protocol/disco#{what}'{node}/></iq>"
        )
    };
    let read = done(&ana, &disco("info", "")).await;
    for part in [
        "category='pubsub' type='pep'",
        "pubsub#publish-options",
        "pubsub#pep",
        "pubsub#pubsub-on-a-jid",
        "vcard-temp",
        "pubsub#persistent-items",
        "pubsub#access-whitelist",
        "pubsub#auto-create",
        "pubsub#filtered-notifications",
        "pubsub#auto-subscribe",
        "pubsub#last-published",
    ] {
        assert!(read.contains(part), "{part}: {read}");
    }
    done(&ana, &publish_with("hidden", "1", "<x xmlns='u'/>", &[("access_model", "whitelist")]))
        .await;
    let shown = [("access_model", "open"), ("title", "Songs"), ("type", "urn:song")];
    done(&ana, &publish_with("shown", "1", "<x xmlns='u'/>", &shown)).await;
    let read = done(&ana, &disco("items", "")).await;
    assert!(read.contains("node='hidden'") && read.contains("node='shown'"), "{read}");
    let read = done(&carl, &disco("items", "")).await;
    assert!(!read.contains("hidden"), "{read}");
    assert!(read.contains("<item jid='ana@d' node='shown' name='Songs'/>"), "{read}");
    let read = done(&carl, &disco("info", "shown")).await;
    assert!(read.contains("category='pubsub' type='leaf'"), "{read}");
    assert!(
        read.contains("pubsub#meta-data") && read.contains("<value>urn:song</value>"),
        "{read}"
    );
    let read = done(&carl, &disco("items", "shown")).await;
    assert!(read.contains("<item jid='ana@d' name='1'/>"), "{read}");
    for hidden in ["hidden", "nothing", "tandem:vcard"] {
        for what in ["info", "items"] {
            let read = ask(&carl, &disco(what, hidden)).await;
            assert!(read.contains("<service-unavailable"), "{hidden}: {read}");
        }
    }
    assert!(ask(&ana, &disco("info", "nothing")).await.contains("<item-not-found"));
}
