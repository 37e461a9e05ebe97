//! XEP-0030, XEP-0115, XEP-0390, XEP-0092, XEP-0202, XEP-0157: what the server says about itself and to whom.

use super::*;
use crate::ports::memory::MemoryStore;

fn get(to: &str, payload: &str) -> String {
    format!("<iq type='get' id='q' to='{to}'>{payload}</iq>")
}

fn info(to: &str, node: &str) -> String {
    let node = if node.is_empty() { String::new() } else { format!(" node='{node}'") };
    get(to, &format!("<query xmlns='http://jabber.org/protocol/disco#info'{node}/>"))
}

fn items(to: &str, node: &str) -> String {
    info(to, node).replace("disco#info", "disco#items")
}

async fn ask(session: &Session, question: &str) -> String {
    session.say(question).await;
    session.read().await.join("")
}

/// XEP-0030 section 3.1.
#[tokio::test]
async fn the_server_says_what_it_is_and_serves() {
    let world = World::new();
    let ana = world.bind("ana@d/a");
    let answer = ask(&ana, &info("d", "")).await;
    assert!(answer.contains("type='result'") && answer.contains("from='d'"), "{answer}");
    assert!(answer.contains("category='server' type='im'"), "{answer}");
    for feature in ["disco#info", "disco#items", "protocol/caps", "urn:xmpp:caps", "urn:xmpp:time"]
    {
        assert!(answer.contains(feature), "{feature}");
    }
    let answer = ask(&ana, &items("d", "")).await;
    assert!(answer.contains("jid='rooms.d'") && answer.contains("jid='upload.d'"), "{answer}");
}

/// XEP-0030 section 7: a node that nothing is known of.
#[tokio::test]
async fn an_unknown_node_is_not_found() {
    let world = World::new();
    let ana = world.bind("ana@d/a");
    for question in
        [info("d", "odd"), items("d", "odd"), info("ana@d", "odd"), items("ana@d", "odd")]
    {
        let answer = ask(&ana, &question).await;
        assert!(answer.contains("<item-not-found"), "{question} {answer}");
    }
}

/// XEP-0115 section 6.2 and XEP-0390 section 5.5: the hash of the stream features is a node.
#[tokio::test]
async fn the_hashes_of_the_stream_features_can_be_asked_for() {
    let world = World::new();
    let ana = world.bind("ana@d/a");
    let caps = world.server.caps();
    let old = format!("{}#{}", caps[0].attr("node").unwrap(), caps[0].attr("ver").unwrap());
    let new = format!("urn:xmpp:caps#sha-256.{}", caps[1].elements().next().unwrap().text());
    for node in [old, new] {
        let answer = ask(&ana, &info("d", &node)).await;
        assert!(answer.contains("category='server'"), "{answer}");
        assert!(answer.contains(&format!("node='{node}'")), "{answer}");
    }
}

/// XEP-0030 section 8: strangers learn nothing of an account, not even whether it is there.
#[tokio::test]
async fn an_account_is_described_to_who_may_see_it_only() {
    let world = World::new();
    let (ana, bob) = (world.online("ana@d/a").await, world.online("bob@d/b").await);
    let own = ask(&ana, &info("ana@d", "")).await;
    assert!(own.contains("category='account' type='registered'"), "{own}");
    for question in [info("ana@d", ""), items("ana@d", ""), info("nobody@d", "")] {
        let answer = ask(&bob, &question).await;
        assert!(answer.contains("<service-unavailable"), "{answer}");
        assert!(!answer.contains("category"), "{answer}");
    }
    bob.say("<presence to='ana@d' type='subscribe'/>").await;
    ana.say("<presence to='bob@d' type='subscribed'/>").await;
    bob.read().await;
    assert!(ask(&bob, &info("ana@d", "")).await.contains("category='account'"));
}

#[tokio::test]
async fn version_and_time_are_told_and_the_version_may_be_hidden() {
    let version = get("d", "<query xmlns='jabber:iq:version'/>");
    let world = World::new();
    let ana = world.bind("ana@d/a");
    let answer = ask(&ana, &version).await;
    assert!(answer.contains("<name>Tandem</name>"), "{answer}");
    assert!(answer.contains(env!("CARGO_PKG_VERSION")) && !answer.contains("<os"), "{answer}");
    let answer = ask(&ana, &get("d", "<time xmlns='urn:xmpp:time'/>")).await;
    assert!(answer.contains("<tzo>+00:00</tzo><utc>2026-01-01T00:00:00Z</utc>"), "{answer}");

    let (store, config) = (store(), Config::default());
    let config = Config { domains: vec!["d".into()], show_version: false, ..config };
    let ports = ports(&store);
    let world = World { store, server: Server::new(config, ports) };
    let answer = ask(&world.bind("ana@d/a"), &version).await;
    assert!(answer.contains("<name>Tandem</name><version/>"), "{answer}");
}

/// XEP-0157, and XEP-0128 in the hash.
#[tokio::test]
async fn contact_addresses_are_in_the_description_and_its_hash() {
    let plain = World::new().server.caps();
    let store = Arc::new(MemoryStore::with_accounts(&[&jid("ana@d")]));
    let addresses = vec![("abuse".to_owned(), vec!["mailto:abuse@d".to_owned()])];
    let config =
        Config { domains: vec!["d".into()], contact_addresses: addresses, ..Config::default() };
    let ports = ports(&store);
    let world = World { store, server: Server::new(config, ports) };
    let answer = ask(&world.bind("ana@d/a"), &info("d", "")).await;
    assert!(answer.contains("http://jabber.org/network/serverinfo"), "{answer}");
    let field = "<field var='abuse-addresses' type='list-multi'><value>mailto:abuse@d</value>";
    assert!(answer.contains(field), "{answer}");
    assert_ne!(plain, world.server.caps());
}
