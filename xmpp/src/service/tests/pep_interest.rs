//! XEP-0163 section 4.3, XEP-0115 and XEP-0390: who is told what, when, by what their clients say they can do.

use super::pep::{answer_wishes, ask, done, get, publish, publish_with};
use super::*;

const INFO: &str = "http://jabber.org/protocol/disco#info";

/// The `<c/>` of a client with these wishes and what it would answer when asked.
fn capable(wishes: &[&str]) -> (String, String) {
    let features: Vec<String> = wishes.iter().map(|w| format!("{w}+notify")).collect();
    let identity = crate::service::caps::Identity::new("client", "pc");
    let info = crate::service::caps::Info::new(identity, features.iter().map(String::as_str));
    let text =
        |element: crate::xml::Element| String::from_utf8(element.to_bytes().to_vec()).unwrap();
    (text(info.caps("urn:client")), text(info.to_element()))
}

fn answer(read: &str, query: &str) -> String {
    let question = read.split("<iq ").find(|s| s.contains("id='features-")).expect("no question");
    let id = question.split_once("id='").unwrap().1.split_once('\'').unwrap().0;
    let from = question.split_once("from='").unwrap().1.split_once('\'').unwrap().0;
    format!("<iq type='result' id='{id}' to='{from}'>{query}</iq>")
}

/// XEP-0115 sections 5.4, 6.2 and 9.3: a proven hash is asked for once; one that does not fit is not believed of others.
#[tokio::test]
async fn a_hash_that_was_proven_is_not_asked_for_again() {
    let world = World::new();
    let (caps, query) = capable(&["n"]);
    let ana = world.bind("ana@d/a");
    let read = ask(&ana, &format!("<presence>{caps}</presence>")).await;
    assert!(read.contains(&format!("<query xmlns='{INFO}' node='urn:client#")), "{read}");
    ask(&ana, &answer(&read, &query)).await;
    done(&ana, &publish("n", "1", "<x xmlns='urn:x'/>")).await;
    let again = world.bind("ana@d/b");
    let read = ask(&again, &format!("<presence>{caps}</presence>")).await;
    assert!(!read.contains(INFO), "{read}");
    assert!(read.contains("<items node='n'>"), "{read}");
    // The same presence again is no news.
    let read = ask(&again, &format!("<presence>{caps}</presence>")).await;
    assert!(!read.contains(INFO) && !read.contains("<items"), "{read}");
    // A client that lies about its hash is believed for itself only.
    let (claimed, _) = capable(&["m"]);
    let (_, lie) = capable(&["m", "n"]);
    let bob = world.bind("bob@d/b");
    let read = ask(&bob, &format!("<presence>{claimed}</presence>")).await;
    ask(&bob, &answer(&read, &lie)).await;
    let carl = world.bind("carl@d/c");
    let read = ask(&carl, &format!("<presence>{claimed}</presence>")).await;
    assert!(read.contains(INFO), "{read}");
}

/// XEP-0115 section 6.2: caps that change are asked for, and only what is newly wished for is sent.
#[tokio::test]
async fn a_client_that_changes_gets_what_it_newly_asks_for() {
    let world = World::new();
    let ana = world.online("ana@d/x").await;
    for node in ["m", "n"] {
        done(&ana, &publish(node, "1", "<x xmlns='urn:x'/>")).await;
    }
    let client = world.bind("ana@d/a");
    for (wishes, expected) in [(&["m"][..], "m"), (&["m", "n"][..], "n")] {
        let (caps, query) = capable(wishes);
        let read = ask(&client, &format!("<presence>{caps}</presence>")).await;
        let read = ask(&client, &answer(&read, &query)).await;
        assert_eq!(read.matches("<items ").count(), 1, "{read}");
        assert!(read.contains(&format!("<items node='{expected}'>")), "{read}");
    }
}

/// XEP-0390 section 5.3: the newer hash is taken first.
#[tokio::test]
async fn the_newer_hash_is_asked_for_by_its_own_node() {
    let world = World::new();
    let info = crate::service::caps::Info::new(
        crate::service::caps::Identity::new("client", "pc"),
        ["n+notify"],
    );
    let text = |e: crate::xml::Element| String::from_utf8(e.to_bytes().to_vec()).unwrap();
    let presence = format!("<presence>{}{}</presence>", text(info.caps("u")), text(info.caps2()));
    let ana = world.bind("ana@d/a");
    let read = ask(&ana, &presence).await;
    assert!(read.contains("node='urn:xmpp:caps#sha-256."), "{read}");
    ask(&ana, &answer(&read, &text(info.to_element()))).await;
    let again = world.bind("ana@d/b");
    assert!(!ask(&again, &presence).await.contains(INFO));
}

/// XEP-0163 section 4.3.4, XEP-0060 section 6.1.7: the last item at the first presence, with its time, and by the
/// node's setting; at once when somebody is let in.
#[tokio::test]
async fn who_comes_online_or_is_let_in_gets_the_last_item() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    for (node, last) in [("always", "on_sub_and_presence"), ("sub", "on_sub"), ("never", "never")] {
        for id in ["1", "2"] {
            let options = [("send_last_published_item", last)];
            done(&ana, &publish_with(node, id, "<x xmlns='urn:x'/>", &options)).await;
        }
    }
    let bob = world.bind("bob@d/b");
    bob.say("<presence/>").await;
    let read = bob.read().await;
    assert!(answer_wishes(&bob, &read, &["always", "sub", "never"]).await.is_empty());
    bob.say("<presence to='ana@d' type='subscribe'/>").await;
    ana.say("<presence to='bob@d' type='subscribed'/>").await;
    let read = bob.read().await.join("");
    assert_eq!(read.matches("<items ").count(), 1, "{read}");
    bob.lose().await;
    let bob = world.bind("bob@d/b");
    bob.say("<presence/>").await;
    let read = bob.read().await;
    let read = answer_wishes(&bob, &read, &["always", "sub", "never"]).await;
    assert_eq!(read.matches("<message ").count(), 1, "{read}");
    assert!(read.contains("from='ana@d' to='bob@d/b' type='headline'"), "{read}");
    assert!(read.contains("<items node='always'><item id='2'"), "{read}");
    assert!(read.contains("<delay xmlns='urn:xmpp:delay' stamp='2026-"), "{read}");
    // Only the first presence counts.
    assert!(!ask(&bob, "<presence><show>away</show></presence>").await.contains("<items"));
}

/// XEP-0163 section 4.3.3 and XEP-0191: blocked contacts hear nothing; nor does who has blocked.
#[tokio::test]
async fn who_is_blocked_hears_nothing() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let bob = world.wishing("bob@d/b", &["n"]).await;
    world.befriend(&ana, &bob).await;
    let block =
        "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='bob@d'/></block></iq>";
    done(&ana, block).await;
    bob.read().await;
    done(&ana, &publish("n", "1", "<x xmlns='urn:x'/>")).await;
    assert!(bob.read().await.is_empty());
}

/// XEP-0060 sections 6.1, 6.2 and 5.6: subscriptions by request, of who is no contact.
#[tokio::test]
async fn strangers_subscribe_to_open_nodes_and_leave() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let carl = world.online("carl@d/c").await;
    done(&ana, &publish_with("open", "1", "<x xmlns='urn:x'/>", &[("access_model", "open")])).await;
    done(&ana, &publish("closed", "1", "<x xmlns='urn:x'/>")).await;
    let subscribe = |node: &str, jid: &str| {
        get("ana@d", &format!("<subscribe node='{node}' jid='{jid}'/>")).replace("'get'", "'set'")
    };
    let read = done(&carl, &subscribe("open", "carl@d")).await;
    assert!(
        read.contains("<subscription node='open' jid='carl@d' subscription='subscribed'/>"),
        "{read}"
    );
    // The item published last comes with it, to a bare address as to a full one (section 6.1.7).
    assert!(read.contains("<item id='1'") && read.contains("to='carl@d/c'"), "{read}");
    done(&carl, &subscribe("open", "carl@d")).await;
    for (request, condition) in [
        (subscribe("closed", "carl@d"), "<presence-subscription-required"),
        (subscribe("nothing", "carl@d"), "<item-not-found"),
        (subscribe("open", "bob@d"), "<invalid-jid"),
    ] {
        assert!(ask(&carl, &request).await.contains(condition), "{request}");
    }
    done(&ana, &publish("open", "2", "<x xmlns='urn:x'/>")).await;
    let news = carl.read().await;
    assert_eq!(news.len(), 1, "{news:?}");
    assert!(news[0].contains("to='carl@d/c'") && news[0].contains("<item id='2'"), "{news:?}");
    let read = done(&carl, &get("ana@d", "<subscriptions node='closed'/>")).await;
    assert!(!read.contains("<subscription "), "{read}");
    let read = done(&carl, &get("ana@d", "<subscriptions/>")).await;
    assert!(read.contains("node='open'") && read.contains("subscribed"), "{read}");
    let leave = get("ana@d", "<unsubscribe node='open' jid='carl@d'/>").replace("'get'", "'set'");
    done(&carl, &leave).await;
    assert!(ask(&carl, &leave).await.contains("<not-subscribed"));
    done(&ana, &publish("open", "3", "<x xmlns='urn:x'/>")).await;
    assert!(carl.read().await.is_empty());
}

/// XEP-0060 section 6.1.3.9: a node has so many subscriptions by request.
#[tokio::test]
async fn a_node_has_a_bound_of_subscriptions() {
    let limits = crate::config::PubSubLimits { max_subscriptions: 1, ..Default::default() };
    let (world, _) = World::with_pubsub(limits);
    let ana = world.online("ana@d/a").await;
    let open = [("access_model", "open")];
    done(&ana, &publish_with("n", "1", "<x xmlns='urn:x'/>", &open)).await;
    for (who, granted) in [("bob", true), ("carl", false), ("bob", true)] {
        let session = world.online(&format!("{who}@d/x")).await;
        let subscribe = get("ana@d", &format!("<subscribe node='n' jid='{who}@d'/>"));
        let read = ask(&session, &subscribe.replace("'get'", "'set'")).await;
        assert_eq!(read.contains("subscription='subscribed'"), granted, "{read}");
        let refused =
            read.contains("<policy-violation") && read.contains("<too-many-subscriptions");
        assert_eq!(refused, !granted, "{read}");
    }
}

/// XEP-0163 section 7.1: a subscription ends with the permission.
#[tokio::test]
async fn a_subscription_ends_with_the_permission() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let bob = world.online("bob@d/b").await;
    world.befriend(&ana, &bob).await;
    done(&ana, &publish("n", "1", "<x xmlns='urn:x'/>")).await;
    let subscribe = get("ana@d", "<subscribe node='n' jid='bob@d'/>").replace("'get'", "'set'");
    done(&bob, &subscribe).await;
    let list = "<iq type='get' id='o'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'>\
                <subscriptions node='n'/></pubsub></iq>";
    assert!(done(&ana, list).await.contains("bob@d"));
    ana.say("<presence to='bob@d' type='unsubscribed'/>").await;
    ana.read().await;
    assert!(!done(&ana, list).await.contains("bob@d"));
    bob.read().await;
    done(&ana, &publish("n", "2", "<x xmlns='urn:x'/>")).await;
    assert!(bob.read().await.is_empty());
}
