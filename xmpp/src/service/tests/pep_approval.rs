//! XEP-0060 sections 6.1.4 and 8.6: subscriptions that the owner of a node approves.

use super::pep::{ask, done, get, items, publish, publish_with, set};
use super::*;

const AUTHORIZATION: &str = "http://jabber.org/protocol/pubsub#subscribe_authorization";

fn subscribe(node: &str, jid: &str) -> String {
    get("ana@d", &format!("<subscribe node='{node}' jid='{jid}'/>")).replace("'get'", "'set'")
}

/// The owner's answer to a request.
fn decide(node: &str, jid: &str, kind: &str, allow: &str) -> String {
    let field =
        |var: &str, value: &str| format!("<field var='{var}'><value>{value}</value></field>");
    format!(
        "<message to='ana@d' id='a'><x xmlns='jabber:x:data' type='{kind}'>{}{}{}{}</x></message>",
        field("FORM_TYPE", AUTHORIZATION),
        field("pubsub#node", node),
        field("pubsub#subscriber_jid", jid),
        field("pubsub#allow", allow),
    )
}

#[tokio::test]
async fn the_owner_approves_who_may_read() {
    let world = World::new();
    let (ana, bob) = (world.online("ana@d/a").await, world.online("bob@d/b").await);
    let carl = world.online("carl@d/c").await;
    let item = |n: u32| format!("<x xmlns='urn:x'>{n}</x>");
    done(&ana, &publish_with("n", "1", &item(1), &[("access_model", "authorize")])).await;
    let read = ask(&bob, &items("ana@d", "n")).await;
    assert!(read.contains("<not-authorized") && read.contains("<not-subscribed"), "{read}");
    for (who, jid) in [(&bob, "bob@d"), (&bob, "bob@d"), (&carl, "carl@d/c")] {
        let read = done(who, &subscribe("n", jid)).await;
        assert!(read.contains(&format!("jid='{jid}' subscription='pending'/>")), "{read}");
        assert!(!read.contains("<item"), "{read}");
    }
    // Asked once for each, by the account itself, in words and by a form.
    let asked = ana.read().await;
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked[0].contains(" from='ana@d'") && asked[0].contains("<body>bob@d wants"));
    for part in [AUTHORIZATION, "pubsub#allow", "<value>n</value>", "<value>bob@d</value>"] {
        assert!(asked[0].contains(part), "{part} {}", asked[0]);
    }
    // A cancelled form decides nothing, nor does anybody else's.
    ana.say(&decide("n", "bob@d", "cancel", "1")).await;
    bob.say(&decide("n", "bob@d", "submit", "1")).await;
    ana.read().await;
    assert!(ask(&bob, &items("ana@d", "n")).await.contains("<not-subscribed"));
    ana.say(&decide("n", "bob@d", "submit", "1")).await;
    ana.say(&decide("n", "carl@d/c", "submit", "0")).await;
    assert!(ana.read().await.is_empty(), "the answer is for the service");
    let news = bob.read().await.join("");
    assert!(news.contains("jid='bob@d' subscription='subscribed'/>"), "{news}");
    assert!(news.contains("<item id='1'"), "{news}");
    let news = carl.read().await.join("");
    assert!(news.contains("subscription='none'/>") && !news.contains("<item"), "{news}");
    assert!(done(&bob, &items("ana@d", "n")).await.contains("<item id='1'"));
    done(&ana, &publish("n", "2", &item(2))).await;
    assert!(bob.read().await.join("").contains("<item id='2'"));
    assert!(carl.read().await.is_empty());
    // Denied once is not denied for good.
    assert!(done(&carl, &subscribe("n", "carl@d")).await.contains("'pending'"));
    assert!(done(&carl, &get("ana@d", "<subscriptions/>")).await.contains("'pending'"));
    let leave = subscribe("n", "carl@d").replace("<subscribe", "<unsubscribe");
    done(&carl, &leave).await;
    assert!(!done(&carl, &get("ana@d", "<subscriptions/>")).await.contains("<subscription "));
}

#[tokio::test]
async fn an_owner_who_is_away_is_asked_later_and_a_member_needs_no_approval() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let (bob, carl) = (world.online("bob@d/b").await, world.online("carl@d/c").await);
    let options = [("access_model", "authorize")];
    done(&ana, &publish_with("n", "1", "<x xmlns='urn:x'/>", &options)).await;
    let owner = "http://jabber.org/protocol/pubsub#owner";
    let member = "<affiliation jid='carl@d' affiliation='member'/>";
    let member = format!("<affiliations node='n'>{member}</affiliations>");
    done(&ana, &set(&member).replace("pubsub'>", "pubsub#owner'>")).await;
    ana.lose().await;
    assert!(done(&carl, &subscribe("n", "carl@d")).await.contains("'subscribed'"));
    assert!(done(&bob, &subscribe("n", "bob@d")).await.contains("'pending'"));
    let ana = world.bind("ana@d/a");
    assert!(ask(&ana, "<presence/>").await.contains(AUTHORIZATION));
    let list = format!(
        "<iq type='get' id='l'><pubsub xmlns='{owner}'><subscriptions node='n'/></pubsub></iq>"
    );
    let list = done(&ana, &list).await;
    assert!(list.contains("jid='bob@d' subscription='pending'/>"), "{list}");
    // Or in the list of subscribers (section 8.8).
    let entry = "<subscription jid='bob@d' subscription='subscribed'/>";
    let change = set(&format!("<subscriptions node='n'>{entry}</subscriptions>"));
    done(&ana, &change.replace("pubsub'>", "pubsub#owner'>")).await;
    assert!(bob.read().await.join("").contains("subscription='subscribed'/>"));
    done(&bob, &items("ana@d", "n")).await;
}
