//! XEP-0054, XEP-0292, XEP-0084, XEP-0153, XEP-0398, XEP-0172: who somebody is.

use super::pep::{ask, done, items, publish, publish_with, set};
use super::*;

const DATA: &str = "urn:xmpp:avatar:data";
const METADATA: &str = "urn:xmpp:avatar:metadata";
/// `image` in base64 and its SHA-1.
const IMAGE: &str = "aW1hZ2U=";
const HASH: &str = "0e76292794888d4f1fa75fb3aff4ca27c58f56a6";

fn vcard(inside: &str) -> String {
    format!("<iq type='set' id='v'><vCard xmlns='vcard-temp'>{inside}</vCard></iq>")
}

fn vcard_of(jid: &str) -> String {
    format!("<iq type='get' id='v' to='{jid}'><vCard xmlns='vcard-temp'/></iq>")
}

fn photo() -> String {
    format!("<PHOTO><TYPE>image/gif</TYPE><BINVAL>{IMAGE}</BINVAL></PHOTO>")
}

async fn publish_avatar(session: &Session, access: &str) {
    let options = [("access_model", access)];
    let data = format!("<data xmlns='{DATA}'>{IMAGE}</data>");
    done(session, &publish_with(DATA, HASH, &data, &options)).await;
    let info = format!(
        "<metadata xmlns='{METADATA}'><info bytes='9' id='aa' type='image/png' url='http://x'/>\
         <info bytes='5' id='{HASH}' type='image/png'/></metadata>"
    );
    done(session, &publish_with(METADATA, HASH, &info, &options)).await;
}

/// XEP-0054 section 3.
#[tokio::test]
async fn a_vcard_is_written_by_its_owner_and_read_by_all() {
    let world = World::new();
    let (ana, carl) = (world.online("ana@d/a").await, world.online("carl@d/c").await);
    assert!(ask(&ana, &vcard_of("ana@d")).await.contains("<item-not-found"));
    for nobody in ["ana@d", "nobody@d"] {
        assert!(ask(&carl, &vcard_of(nobody)).await.contains("<service-unavailable"), "{nobody}");
    }
    done(&ana, &vcard("<FN>Ana</FN>")).await;
    for (who, to) in [(&ana, "ana@d"), (&carl, "ana@d")] {
        let read = done(who, &vcard_of(to)).await;
        assert!(read.contains("<vCard xmlns='vcard-temp'><FN>Ana</FN></vCard>"), "{read}");
    }
    let foreign = vcard("<FN>Carl</FN>").replace("id='v'", "id='v' to='ana@d'");
    assert!(ask(&carl, &foreign).await.contains("<forbidden"));
    let long = vcard(&format!("<DESC>{}</DESC>", "x".repeat(40_000)));
    assert!(ask(&ana, &long).await.contains("<not-acceptable"));
}

/// XEP-0077 section 3.2: of an account that was removed nothing is left in memory for the next one of its name.
#[tokio::test]
async fn a_removed_account_leaves_no_profile() {
    let (world, memory) = World::with_pubsub(crate::config::PubSubLimits::default());
    let ana = world.online("ana@d/a").await;
    done(&ana, &publish("n", "1", "<x xmlns='urn:x'/>")).await;
    let reads = memory.reads();
    done(&ana, &items("ana@d", "n")).await;
    assert_eq!(memory.reads(), reads + 1);
    assert!(world.server.remove_account(&jid("ana@d")).await.unwrap());
    // The nodes are read again.
    ana.say(&items("ana@d", "n")).await;
    assert_eq!(memory.reads(), reads + 3);
}

/// XEP-0398 section 3.2: the photo of a vCard becomes the avatar, and contacts are told.
#[tokio::test]
async fn the_photo_of_a_vcard_is_the_avatar() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let bob = world.wishing("bob@d/b", &[METADATA]).await;
    world.befriend(&ana, &bob).await;
    done(&ana, &vcard(&format!("<FN>Ana</FN>{}", photo()))).await;
    let news = bob.read().await.join("");
    assert!(news.contains(&format!("<items node='{METADATA}'><item id='{HASH}'")), "{news}");
    assert!(news.contains(&format!("<info id='{HASH}' type='image/gif' bytes='5'/>")), "{news}");
    let read = done(&bob, &items("ana@d", DATA)).await;
    assert!(read.contains(&format!("<item id='{HASH}'")) && read.contains(IMAGE), "{read}");
    let read = done(&bob, &vcard_of("ana@d")).await;
    assert!(read.contains("<FN>Ana</FN>") && read.contains(&photo()), "{read}");
    // A vCard without a photo leaves the avatar; an empty photo takes it away.
    done(&ana, &vcard("<FN>Ana M.</FN>")).await;
    assert!(done(&ana, &vcard_of("ana@d")).await.contains(IMAGE));
    done(&ana, &vcard("<FN>Ana M.</FN><PHOTO/>")).await;
    assert!(!done(&ana, &vcard_of("ana@d")).await.contains("PHOTO"));
    let bad = vcard("<PHOTO><BINVAL>!</BINVAL></PHOTO>");
    assert!(ask(&ana, &bad).await.contains("<bad-request"));
    let link = "<PHOTO><EXTVAL>http://x/y.png</EXTVAL></PHOTO>";
    done(&ana, &vcard(link)).await;
    assert!(done(&ana, &vcard_of("ana@d")).await.contains(link));
}

/// XEP-0398 sections 3.1 and 7: the avatar is the photo of the vCard, for who may see it.
#[tokio::test]
async fn the_avatar_is_the_photo_of_the_vcard() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let bob = world.online("bob@d/b").await;
    let carl = world.online("carl@d/c").await;
    world.befriend(&ana, &bob).await;
    publish_avatar(&ana, "presence").await;
    let expected = format!("<PHOTO><TYPE>image/png</TYPE><BINVAL>{IMAGE}</BINVAL></PHOTO>");
    for who in [&ana, &bob] {
        let read = done(who, &vcard_of("ana@d")).await;
        assert!(read.contains(&expected), "{read}");
    }
    assert!(ask(&carl, &vcard_of("ana@d")).await.contains("<service-unavailable"));
    // Data that is not what its name says is no photo.
    let data = format!("<data xmlns='{DATA}'>b3RoZXI=</data>");
    done(&ana, &publish(DATA, HASH, &data)).await;
    assert!(ask(&bob, &vcard_of("ana@d")).await.contains("type='error'"));
}

/// XEP-0153 section 4.1, XEP-0398 section 4: the hash is in every available presence, unless the client has none.
#[tokio::test]
async fn the_hash_of_the_avatar_is_in_presence() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let (bob, carl) = (world.online("bob@d/b").await, world.online("carl@d/c").await);
    world.befriend(&ana, &bob).await;
    publish_avatar(&ana, "open").await;
    let update = format!("<x xmlns='vcard-temp:x:update'><photo>{HASH}</photo></x>");
    // The new hash is shown at once.
    let seen = bob.read().await.join("");
    assert!(seen.contains("from='ana@d/a'") && seen.contains(&update), "{seen}");
    for (presence, expected) in [
        ("<presence><show>away</show></presence>", true),
        ("<presence><x xmlns='vcard-temp:x:update'/></presence>", true),
        ("<presence><x xmlns='vcard-temp:x:update'><photo>old</photo></x></presence>", true),
        ("<presence><x xmlns='vcard-temp:x:update'><photo/></x></presence>", false),
    ] {
        ana.say(presence).await;
        let seen = bob.read().await.join("");
        assert_eq!(seen.contains(&update), expected, "{presence}: {seen}");
        assert_eq!(seen.matches("vcard-temp:x:update").count(), 1, "{seen}");
    }
    ana.say("<presence to='carl@d'/>").await;
    assert!(carl.read().await.join("").contains(&update));
    ana.say("<presence/>").await;
    // Who comes later sees it too.
    bob.lose().await;
    let bob = world.bind("bob@d/b");
    bob.say("<presence/>").await;
    assert!(bob.read().await.join("").contains(&update));
    // An avatar that is taken away is not shown any more.
    done(&ana, &publish(METADATA, "none", &format!("<metadata xmlns='{METADATA}'/>"))).await;
    let none = "<x xmlns='vcard-temp:x:update'><photo/></x>";
    let seen = bob.read().await.join("");
    assert!(seen.contains("from='ana@d/a'") && seen.contains(none), "{seen}");
    bob.say("<presence type='unavailable'/>").await;
    assert!(!ask(&bob, "<presence/>").await.contains(HASH));
    // Another one is shown as the first was.
    publish_avatar(&ana, "open").await;
    assert!(bob.read().await.join("").contains(&update));
    done(&ana, &set(&format!("<retract node='{METADATA}'><item id='{HASH}'/></retract>"))).await;
    assert!(bob.read().await.join("").contains(none));
    ana.say("<presence/>").await;
    assert!(!bob.read().await.join("").contains(HASH));
}

/// XEP-0084 section 3, XEP-0172 section 4.3, XEP-0292 section 4.1: profiles are nodes like others.
#[tokio::test]
async fn profiles_are_nodes() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let nodes = ["http://jabber.org/protocol/nick", "urn:xmpp:vcard4", METADATA];
    let bob = world.wishing("bob@d/b", &nodes).await;
    let carl = world.wishing("carl@d/c", &nodes).await;
    world.befriend(&ana, &bob).await;
    let payloads = [
        "<nick xmlns='http://jabber.org/protocol/nick'>Ana</nick>",
        "<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'><fn><text>Ana</text></fn></vcard>",
        "<metadata xmlns='urn:xmpp:avatar:metadata'/>",
    ];
    for (node, payload) in nodes.iter().zip(payloads) {
        done(&ana, &publish(node, "current", payload)).await;
        let news = bob.read().await.join("");
        assert!(news.contains(&format!("<items node='{node}'>")), "{news}");
        assert!(news.contains(payload), "{news}");
        assert!(done(&bob, &items("ana@d", node)).await.contains(payload));
    }
    assert!(carl.read().await.is_empty());
    // The first of two items is replaced: a profile has one.
    done(
        &ana,
        &set("<publish node='urn:xmpp:vcard4'><item id='b'><x xmlns='u'/></item></publish>"),
    )
    .await;
    assert_eq!(done(&ana, &items("ana@d", "urn:xmpp:vcard4")).await.matches("<item ").count(), 1);
}
