//! XEP-0060 section 8: what the owner of a node may do, and nobody else.

use super::pep::{ask, done, get, items, publish, publish_with, set};
use super::*;

const OWNER: &str = "http://jabber.org/protocol/pubsub#owner";

fn own(kind: &str, inside: &str) -> String {
    format!("<iq type='{kind}' id='o' to='ana@d'><pubsub xmlns='{OWNER}'>{inside}</pubsub></iq>")
}

fn configure(node: &str, fields: &[(&str, &str)]) -> String {
    let fields: String = fields
        .iter()
        .map(|(var, value)| format!("<field var='pubsub#{var}'><value>{value}</value></field>"))
        .collect();
    own(
        "set",
        &format!(
            "<configure node='{node}'><x xmlns='jabber:x:data' type='submit'>\
             <field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#node_config</value>\
             </field>{fields}</x></configure>"
        ),
    )
}

/// Sections 8.1 and 8.2: made with settings, read, changed, and their defaults.
#[tokio::test]
async fn a_node_is_made_and_configured() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let read = done(&ana, &own("get", "<default/>")).await;
    assert!(
        read.contains("pubsub#access_model") && read.contains("<value>presence</value>"),
        "{read}"
    );
    assert!(read.contains("<value>on_sub_and_presence</value>"), "{read}");
    done(&ana, &set("<create node='n'/>")).await;
    assert!(ask(&ana, &set("<create node='n'/>")).await.contains("<conflict"));
    let read = done(&ana, &set("<create/>")).await;
    assert!(read.contains("<create node='"), "{read}");
    done(&ana, &configure("n", &[("access_model", "open"), ("max_items", "7"), ("odd", "x")]))
        .await;
    let read = done(&ana, &own("get", "<configure node='n'/>")).await;
    assert!(read.contains("<value>open</value>") && read.contains("<value>7</value>"), "{read}");
    for bad in [("access_model", "lottery"), ("max_items", "0"), ("persist_items", "perhaps")] {
        let read = ask(&ana, &configure("n", &[bad])).await;
        assert!(read.contains("<not-acceptable"), "{bad:?}: {read}");
        let is_model = bad.0 == "access_model";
        assert_eq!(read.contains("<unsupported-access-model"), is_model, "{read}");
    }
    let cancel = "<configure node='n'><x xmlns='jabber:x:data' type='cancel'/></configure>";
    done(&ana, &own("set", cancel)).await;
    for (request, condition) in [
        (own("get", "<configure node='m'/>"), "<item-not-found"),
        (own("get", "<configure/>"), "<nodeid-required"),
        (own("set", "<delete node='m'/>"), "<item-not-found"),
        (own("get", "<configure node='tandem:vcard'/>"), "<item-not-found"),
    ] {
        assert!(ask(&ana, &request).await.contains(condition), "{request}");
    }
}

/// Sections 8.2.5, 8.4.3 and 8.5.2: who reads a node is told of its settings, its end, and that it is empty.
#[tokio::test]
async fn readers_are_told_what_the_owner_does() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let bob = world.wishing("bob@d/b", &["n"]).await;
    world.befriend(&ana, &bob).await;
    done(&ana, &publish_with("n", "1", "<x xmlns='urn:x'/>", &[("notify_config", "1")])).await;
    bob.read().await;
    done(&ana, &configure("n", &[("title", "New")])).await;
    let news = bob.read().await.join("");
    assert!(
        news.contains("<configuration node='n'>") && news.contains("<value>New</value>"),
        "{news}"
    );
    done(&ana, &own("set", "<purge node='n'/>")).await;
    let news = bob.read().await;
    assert_eq!(news.len(), 1);
    assert!(news[0].contains("<purge node='n'/>"), "{news:?}");
    assert!(!done(&ana, &items("ana@d", "n")).await.contains("<item "));
    done(&ana, &own("set", "<delete node='n'/>")).await;
    let news = bob.read().await.join("");
    assert!(news.contains("<delete node='n'/>"), "{news}");
    assert!(ask(&ana, &items("ana@d", "n")).await.contains("<item-not-found"));
    done(&ana, &publish_with("q", "1", "<x xmlns='urn:x'/>", &[("persist_items", "0")])).await;
    let read = ask(&ana, &own("set", "<purge node='q'/>")).await;
    assert!(
        read.contains("<feature-not-implemented") && read.contains("persistent-items"),
        "{read}"
    );
}

/// Section 8 throughout: nobody but the owner.
#[tokio::test]
async fn nobody_else_owns_a_node() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let bob = world.online("bob@d/b").await;
    world.befriend(&ana, &bob).await;
    done(&ana, &publish("n", "1", "<x xmlns='urn:x'/>")).await;
    for (kind, inside) in [
        ("get", "<configure node='n'/>"),
        ("set", "<delete node='n'/>"),
        ("set", "<purge node='n'/>"),
        ("get", "<subscriptions node='n'/>"),
        ("get", "<affiliations node='n'/>"),
        ("get", "<default/>"),
    ] {
        assert!(ask(&bob, &own(kind, inside)).await.contains("<forbidden"), "{inside}");
    }
    let elsewhere = |text: String| text.replace("id='s'", "id='s' to='ana@d'");
    for request in [
        set("<create node='m'/>"),
        publish("n", "2", "<x xmlns='urn:x'/>"),
        publish("m", "2", "<x xmlns='urn:x'/>"),
        publish("storage:bookmarks", "2", "<storage xmlns='storage:bookmarks'/>"),
        set("<retract node='n'><item id='1'/></retract>"),
    ] {
        let read = ask(&bob, &elsewhere(request.clone())).await;
        assert!(read.contains("<forbidden"), "{request}: {read}");
    }
}

/// Sections 4.1, 5.7 and 8.9: members read what is closed, publishers write, outcasts do neither.
#[tokio::test]
async fn affiliations_open_and_close_a_node() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let bob = world.wishing("bob@d/b", &["n"]).await;
    world.befriend(&ana, &bob).await;
    let closed = [("access_model", "whitelist")];
    done(&ana, &publish_with("n", "1", "<x xmlns='urn:x'/>", &closed)).await;
    let affiliate = |word: &str| {
        let entry = format!("<affiliation jid='bob@d' affiliation='{word}'/>");
        own("set", &format!("<affiliations node='n'>{entry}</affiliations>"))
    };
    assert!(ask(&bob, &items("ana@d", "n")).await.contains("<closed-node"));
    done(&ana, &affiliate("member")).await;
    done(&bob, &items("ana@d", "n")).await;
    done(&ana, &publish("n", "1", "<x xmlns='urn:x'/>")).await;
    assert!(bob.read().await.join("").contains("<items node='n'>"));
    let to_ana = |text: String| text.replace("id='s'", "id='s' to='ana@d'");
    let write = to_ana(publish("n", "2", "<x xmlns='urn:x'/>"));
    assert!(ask(&bob, &write).await.contains("<forbidden"));
    done(&ana, &affiliate("publisher")).await;
    let read = done(&bob, &write).await;
    assert!(read.contains("publisher='bob@d'"), "{read}");
    done(&bob, &to_ana(set("<retract node='n'><item id='2'/></retract>"))).await;
    let read = done(&bob, &get("ana@d", "<affiliations/>")).await;
    assert!(read.contains("<affiliation node='n' affiliation='publisher'/>"), "{read}");
    let read = done(&ana, &own("get", "<affiliations node='n'/>")).await;
    assert!(read.contains("<affiliation jid='bob@d' affiliation='publisher'/>"), "{read}");
    done(&ana, &configure("n", &[("access_model", "open")])).await;
    done(&ana, &affiliate("outcast")).await;
    let read = ask(&bob, &items("ana@d", "n")).await;
    assert!(read.contains("<forbidden"), "{read}");
    let subscribe = get("ana@d", "<subscribe node='n' jid='bob@d'/>").replace("'get'", "'set'");
    assert!(ask(&bob, &subscribe).await.contains("<forbidden"));
    done(&ana, &affiliate("none")).await;
    done(&bob, &items("ana@d", "n")).await;
    let own_down = affiliate("outcast").replace("bob@d", "ana@d");
    assert!(ask(&ana, &own_down).await.contains("<not-acceptable"));
    assert!(ask(&ana, &affiliate("king")).await.contains("<not-acceptable"));
    let read = ask(&ana, &affiliate("publish-only")).await;
    assert!(read.contains("<feature-not-implemented") && read.contains("publish-only"), "{read}");
}

/// Section 8.8: the owner sees and changes who is subscribed; they are told.
#[tokio::test]
async fn the_owner_manages_subscriptions() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let carl = world.online("carl@d/c").await;
    done(&ana, &publish_with("n", "1", "<x xmlns='urn:x'/>", &[("access_model", "open")])).await;
    let change = |state: &str| {
        let entry = format!("<subscription jid='carl@d/c' subscription='{state}'/>");
        own("set", &format!("<subscriptions node='n'>{entry}</subscriptions>"))
    };
    done(&ana, &change("subscribed")).await;
    let news = carl.read().await.join("");
    assert!(
        news.contains("<subscription node='n' jid='carl@d/c' subscription='subscribed'/>"),
        "{news}"
    );
    assert!(done(&ana, &own("get", "<subscriptions node='n'/>")).await.contains("carl@d/c"));
    done(&ana, &change("none")).await;
    assert!(carl.read().await.join("").contains("subscription='none'"));
    assert!(!done(&ana, &own("get", "<subscriptions node='n'/>")).await.contains("carl"));
    assert!(ask(&ana, &change("perhaps")).await.contains("<not-acceptable"));
}

/// Section 8.8.4: who is subscribed by a bare address is told on each device that is there.
#[tokio::test]
async fn who_is_removed_by_bare_address_is_told() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let carl = world.online("carl@d/c").await;
    done(&ana, &publish_with("n", "1", "<x xmlns='urn:x'/>", &[("access_model", "open")])).await;
    for state in ["subscribed", "none"] {
        let entry = format!("<subscription jid='carl@d' subscription='{state}'/>");
        let change = own("set", &format!("<subscriptions node='n'>{entry}</subscriptions>"));
        done(&ana, &change).await;
        let news = carl.read().await.join("");
        assert!(news.contains(&format!("jid='carl@d' subscription='{state}'/>")), "{news}");
    }
}
