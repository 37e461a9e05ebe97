//! XEP-0353: what is said of a call reaches every device of both, and is in both archives.

use super::*;

const HINT: &str = "<store xmlns='urn:xmpp:hints'/>";
const ENABLE: &str = "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>";

fn said(to: &str, action: &str) -> String {
    format!(
        "<message to='{to}' type='chat'><{action} xmlns='urn:xmpp:jingle-message:0' id='c1'/>{HINT}</message>"
    )
}

/// Ana and Bob with a phone and a desk each, all with carbons; the desks have a negative priority.
async fn devices(world: &World) -> [Session; 4] {
    let mut all = Vec::new();
    for full in ["ana@d/phone", "ana@d/desk", "bob@d/phone", "bob@d/desk"] {
        let device = world.online(full).await;
        device.say(ENABLE).await;
        if full.ends_with("desk") {
            device.say("<presence><priority>-1</priority></presence>").await;
        }
        all.push(device);
    }
    for device in &all {
        device.read().await;
    }
    all.try_into().unwrap_or_else(|_| unreachable!())
}

#[tokio::test]
async fn a_call_rings_every_device_whatever_its_priority() {
    let world = World::new();
    let [ana, ana_desk, bob, bob_desk] = devices(&world).await;
    ana.say(&said("bob@d", "propose")).await;
    assert!(ana.read().await.is_empty());
    let rung = bob.read().await.concat();
    assert!(rung.contains("from='ana@d/phone'") && rung.contains("<propose"), "{rung}");
    let rung = bob_desk.read().await.concat();
    assert!(rung.contains("<received") && rung.contains("<propose"), "{rung}");
    let known = ana_desk.read().await.concat();
    assert!(known.contains("<sent") && known.contains("<propose"), "{known}");
}

#[tokio::test]
async fn what_a_device_says_of_a_call_is_known_to_all_and_kept_for_both() {
    for action in ["ringing", "proceed", "reject", "finish"] {
        let world = World::new();
        let [ana, ana_desk, bob, bob_desk] = devices(&world).await;
        bob.say(&said("ana@d", action)).await;
        assert!(bob.read().await.is_empty());
        for (device, copy) in [(&ana, ""), (&ana_desk, "<received"), (&bob_desk, "<sent")] {
            let read = device.read().await.concat();
            assert!(
                read.contains(&format!("<{action}")) && read.contains(copy),
                "{action}: {read}"
            );
        }
        for account in ["ana@d", "bob@d"] {
            assert_eq!(world.store.archived(&jid(account)).len(), 1, "{action} at {account}");
        }
    }
}
