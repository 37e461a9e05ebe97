//! XEP-0163 section 4.3 across servers (XEP-0115): contacts elsewhere are asked, told, caught up, and never strangers.

use super::pep::{done, items, publish, publish_with};
use super::*;
use crate::ports::{RosterItem, Rosters};

/// A server from which others can be reached; `romeo@e` sees `ana@d`.
async fn world() -> (World, Arc<MemoryRemote>) {
    let store = store();
    let remote = Arc::new(MemoryRemote::reachable());
    let mut item = RosterItem::new(jid("romeo@e"));
    item.from = true;
    Rosters::put(&*store, &jid("ana@d"), &item).await.unwrap();
    let ports = Ports { remote: remote.clone(), ..ports(&store) };
    (World::with(store, ports), remote)
}

/// What another server delivers.
async fn arrive(world: &World, stanza: &str) {
    world.server.handle(Stanza::parse(stanza.to_owned().into()).unwrap()).await;
}

/// What was sent elsewhere and is of publish-subscribe or disco.
fn sent(remote: &MemoryRemote) -> Vec<String> {
    let sent = remote.take_sent().into_iter();
    let texts = sent.map(|(_, _, stanza)| String::from_utf8(stanza.to_vec()).unwrap());
    texts.filter(|text| text.contains("jabber.org/protocol/")).collect()
}

fn capable(device: &str, wish: &str) -> (String, String) {
    let identity = crate::service::caps::Identity::new("client", "pc");
    let wish = format!("{wish}+notify");
    let info = crate::service::caps::Info::new(identity, [wish.as_str()]);
    let text = |e: crate::xml::Element| String::from_utf8(e.to_bytes().to_vec()).unwrap();
    let caps = text(info.caps("urn:client"));
    let presence = format!("<presence from='{device}' to='ana@d'>{caps}</presence>");
    (presence, text(info.to_element()))
}

/// A device of `romeo@e` that the server has asked what it can do.
async fn come(world: &World, remote: &MemoryRemote, device: &str, wish: &str) -> Vec<String> {
    let (presence, query) = capable(device, wish);
    arrive(world, &presence).await;
    let asked = sent(remote);
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].contains(&format!("from='ana@d' to='{device}'")), "{asked:?}");
    assert!(asked[0].contains("disco#info' node='urn:client#"), "{asked:?}");
    let id = asked[0].split_once(" id='").unwrap().1.split_once('\'').unwrap().0;
    let answer = format!("<iq type='result' id='{id}' from='{device}' to='ana@d'>{query}</iq>");
    arrive(world, &answer).await;
    sent(remote)
}

#[tokio::test]
async fn contacts_elsewhere_are_told_by_their_capabilities() {
    let (world, remote) = world().await;
    let ana = world.online("ana@d/a").await;
    done(&ana, &publish("n", "1", "<x xmlns='urn:x'/>")).await;
    let caught_up = come(&world, &remote, "romeo@e/r", "n").await;
    assert_eq!(caught_up.len(), 1, "{caught_up:?}");
    assert!(caught_up[0].starts_with("<message from='ana@d' to='romeo@e/r' type='headline'"));
    assert!(caught_up[0].contains("<delay"), "{caught_up:?}");
    done(&ana, &publish("n", "2", "<x xmlns='urn:x'/>")).await;
    let news = sent(&remote);
    assert_eq!(news.len(), 1, "{news:?}");
    assert!(news[0].contains("to='romeo@e/r'") && news[0].contains("<item id='2'"), "{news:?}");
    // The hash is proven: another device is not asked, and gets the last item at once; the first presence only.
    let (presence, _) = capable("romeo@e/s", "n");
    arrive(&world, &presence).await;
    let caught_up = sent(&remote);
    assert!(caught_up.len() == 1 && caught_up[0].contains("to='romeo@e/s'"), "{caught_up:?}");
    arrive(&world, &presence).await;
    assert!(sent(&remote).is_empty());
    for device in ["romeo@e/r", "romeo@e/s"] {
        let gone = format!("<presence from='{device}' to='ana@d' type='unavailable'/>");
        arrive(&world, &gone).await;
    }
    done(&ana, &publish("n", "3", "<x xmlns='urn:x'/>")).await;
    assert!(sent(&remote).is_empty());
}

#[tokio::test]
async fn strangers_elsewhere_are_neither_asked_nor_told() {
    let (world, remote) = world().await;
    let ana = world.online("ana@d/a").await;
    let (presence, query) = capable("eve@e/x", "n");
    arrive(&world, &presence).await;
    assert!(sent(&remote).is_empty());
    arrive(
        &world,
        &format!("<iq type='result' id='features-0' from='eve@e/x' to='ana@d'>{query}</iq>"),
    )
    .await;
    done(&ana, &publish("n", "1", "<x xmlns='urn:x'/>")).await;
    assert!(sent(&remote).is_empty());
    let read = |node: &str| items("ana@d", node).replace("id='g'", "id='g' from='eve@e/x'");
    arrive(&world, &read("n")).await;
    let refused = sent(&remote).join("");
    assert!(refused.contains("<presence-subscription-required"), "{refused}");
}

/// XEP-0060 section 6.1, XEP-0163 section 4.3.2: who subscribed by request and is elsewhere is told at its address.
#[tokio::test]
async fn a_subscription_from_elsewhere_is_served() {
    let (world, remote) = world().await;
    let ana = world.online("ana@d/a").await;
    let open = [("access_model", "open")];
    done(&ana, &publish_with("n", "1", "<x xmlns='urn:x'/>", &open)).await;
    let request = "<iq type='set' id='q' from='eve@e/x' to='ana@d'>\
                   <pubsub xmlns='http://jabber.org/protocol/pubsub'>\
                   <subscribe node='n' jid='eve@e'/></pubsub></iq>";
    arrive(&world, request).await;
    let answers = sent(&remote);
    assert!(answers.iter().any(|a| a.contains("subscription='subscribed'")), "{answers:?}");
    assert!(answers.iter().any(|a| a.contains("to='eve@e' type='headline'")), "{answers:?}");
    done(&ana, &publish_with("n", "2", "<x xmlns='urn:x'/>", &open)).await;
    let news = sent(&remote);
    assert!(news.len() == 1 && news[0].contains("to='eve@e' type='headline'"), "{news:?}");
    arrive(&world, &items("ana@d", "n").replace("id='g'", "id='g' from='eve@e/x'")).await;
    assert!(sent(&remote).join("").contains("<item id='2'"));
}

/// XEP-0163 section 4.3.1: what bounces goes to the account and no further.
#[tokio::test]
async fn a_bounced_notification_ends_at_the_account() {
    let (world, remote) = world().await;
    let ana = world.online("ana@d/a").await;
    let bounced = "<message type='error' id='pep-1' from='romeo@e/r' to='ana@d'>\
                   <event xmlns='http://jabber.org/protocol/pubsub#event'/><error type='cancel'>\
                   <gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>";
    arrive(&world, bounced).await;
    assert!(ana.read().await.is_empty());
    assert!(sent(&remote).is_empty());
}
