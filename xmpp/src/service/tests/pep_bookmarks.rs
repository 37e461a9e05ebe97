//! XEP-0402 and the older forms of bookmarks, XEP-0469, XEP-0492, XEP-0049, XEP-0490.

use super::pep::{ask, done, items, publish, publish_with, set};
use super::*;
use crate::service::NotificationSetting;

const BOOKMARKS: &str = "urn:xmpp:bookmarks:1";

fn bookmark(room: &str, name: &str, extensions: &str) -> String {
    let payload = format!(
        "<conference xmlns='{BOOKMARKS}' name='{name}' autojoin='1'><nick>Ana</nick>\
         <extensions>{extensions}</extensions></conference>"
    );
    publish(BOOKMARKS, room, &payload)
}

fn private(kind: &str, inside: &str) -> String {
    format!("<iq type='{kind}' id='p'><query xmlns='jabber:iq:private'>{inside}</query></iq>")
}

const OLD: &str = "<storage xmlns='storage:bookmarks'/>";

/// XEP-0402 section 3: many items, for the owner alone, never sent unasked, also without options.
#[tokio::test]
async fn bookmarks_are_private_and_many() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let bob = world.wishing("bob@d/b", &[BOOKMARKS]).await;
    world.befriend(&ana, &bob).await;
    done(&ana, &bookmark("tea@rooms.d", "Tea", "")).await;
    done(&ana, &bookmark("song@rooms.d", "Song", "")).await;
    let read = done(&ana, &items("ana@d", BOOKMARKS)).await;
    assert!(read.contains("tea@rooms.d") && read.contains("song@rooms.d"), "{read}");
    assert!(bob.read().await.is_empty());
    assert!(ask(&bob, &items("ana@d", BOOKMARKS)).await.contains("<closed-node"));
    let options = [
        ("persist_items", "true"),
        ("max_items", "max"),
        ("send_last_published_item", "never"),
        ("access_model", "whitelist"),
    ];
    let conference = format!("<conference xmlns='{BOOKMARKS}'/>");
    done(&ana, &publish_with(BOOKMARKS, "x@rooms.d", &conference, &options)).await;
}

/// XEP-0402 section 5.3.1: what is published in the new form is read in both old ones.
#[tokio::test]
async fn new_bookmarks_are_read_in_the_old_forms() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let empty = done(&ana, &private("get", OLD)).await;
    assert!(empty.contains("<storage xmlns='storage:bookmarks'/>"), "{empty}");
    done(&ana, &bookmark("tea@rooms.d", "Tea &amp; cake", "<x xmlns='urn:x'/>")).await;
    let expected = "<conference name='Tea &amp; cake' autojoin='true' jid='tea@rooms.d'>\
                    <nick>Ana</nick></conference>";
    let read = done(&ana, &private("get", OLD)).await;
    assert!(read.contains(expected), "{read}");
    let read = done(&ana, &items("ana@d", "storage:bookmarks")).await;
    assert!(read.contains("<item id='current'>") && read.contains(expected), "{read}");
}

/// XEP-0402 section 5.3.2: a list in an old form changes what differs, and leaves extensions and what is the same.
#[tokio::test]
async fn old_bookmarks_change_what_differs() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let pinned = "<pinned xmlns='urn:xmpp:bookmarks-pinning:0'/>";
    done(&ana, &bookmark("tea@rooms.d", "Tea", pinned)).await;
    done(&ana, &bookmark("song@rooms.d", "Song", "")).await;
    done(&ana, &bookmark("gone@rooms.d", "Gone", "")).await;
    let seer = world.wishing("ana@d/b", &[BOOKMARKS, "storage:bookmarks"]).await;
    ana.read().await;
    let list = "<storage xmlns='storage:bookmarks'>\
                <conference jid='tea@rooms.d' name='Green tea' autojoin='1'><nick>Ana</nick></conference>\
                <conference jid='song@rooms.d' name='Song' autojoin='true'><nick>Ana</nick></conference>\
                <conference jid='new@rooms.d'/><conference jid='@bad'/>\
                <url name='Home' url='http://example.org'/></storage>";
    done(&ana, &private("set", list)).await;
    let news = seer.read().await.join("\n");
    let new: Vec<&str> =
        news.lines().filter(|l| l.contains("node='urn:xmpp:bookmarks:1'")).collect();
    assert_eq!(new.len(), 3, "{news}");
    assert!(new[0].contains("<retract id='gone@rooms.d'/>"), "{news}");
    assert!(new[1].contains("<item id='tea@rooms.d'") && new[1].contains(pinned), "{news}");
    assert!(new[2].contains("<item id='new@rooms.d'"), "{news}");
    assert!(news.contains("<items node='storage:bookmarks'><item id='current'><storage"), "{news}");
    let read = done(&ana, &private("get", OLD)).await;
    assert!(read.contains("Green tea") && read.contains("http://example.org"), "{read}");
    assert!(!read.contains("gone@"), "{read}");
    // By the old node too; and all of them at once.
    let one = "<storage xmlns='storage:bookmarks'><conference jid='only@rooms.d'/></storage>";
    done(&ana, &publish("storage:bookmarks", "current", one)).await;
    let read = done(&ana, &items("ana@d", BOOKMARKS)).await;
    assert_eq!(read.matches("<item ").count(), 1, "{read}");
    done(&ana, &set("<retract node='storage:bookmarks'><item id='current'/></retract>")).await;
    assert!(!done(&ana, &items("ana@d", BOOKMARKS)).await.contains("<item "));
    let read = ask(&ana, &publish("storage:bookmarks", "current", "<odd xmlns='urn:x'/>")).await;
    assert!(read.contains("<invalid-payload"), "{read}");
    let open = [("access_model", "open")];
    let read = ask(&ana, &publish_with("storage:bookmarks", "current", one, &open)).await;
    assert!(read.contains("<precondition-not-met"), "{read}");
    // Who means the old node alone must not take the new bookmarks away.
    let delete = "<iq type='set' id='o'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'>\
                  <delete node='storage:bookmarks'/></pubsub></iq>";
    assert!(ask(&ana, delete).await.contains("<not-allowed"));
}

/// XEP-0402 section 2, XEP-0469 section 3: what is in the extensions comes back as it was.
#[tokio::test]
async fn extensions_of_bookmarks_are_kept() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let extensions = "<pinned xmlns='urn:xmpp:bookmarks-pinning:0'/>\
                      <state xmlns='urn:odd' a:b='1' xmlns:a='urn:a'><deep/>text</state>";
    done(&ana, &bookmark("tea@rooms.d", "Tea", extensions)).await;
    let read = done(&ana, &items("ana@d", BOOKMARKS)).await;
    assert!(read.contains("<pinned xmlns='urn:xmpp:bookmarks-pinning:0'/>"), "{read}");
    assert!(read.contains("a:b='1' xmlns:a='urn:a'><deep/>text</state>"), "{read}");
}

/// XEP-0492 sections 2 and 3: the setting of a chat, its default, and that it is read once.
#[tokio::test]
async fn a_chat_has_its_notification_setting() {
    use NotificationSetting::{Always, Never, OnMention};
    let (world, memory) = World::with_pubsub(crate::config::PubSubLimits::default());
    let ana = world.online("ana@d/a").await;
    let notify = |inside: &str| {
        format!("<notify xmlns='urn:xmpp:notification-settings:1'>{inside}</notify>")
    };
    done(&ana, &bookmark("tea@rooms.d", "Tea", &notify("<never/>"))).await;
    done(&ana, &bookmark("bob@d", "Bob", &notify("<on-mention/>"))).await;
    done(&ana, &bookmark("plain@rooms.d", "Plain", "")).await;
    let ana_jid = jid("ana@d");
    let cases = [
        ("tea@rooms.d/bob", true, Never),
        ("bob@d/x", false, OnMention),
        ("plain@rooms.d", false, Always),
        ("plain@rooms.d", true, OnMention),
        ("carl@d", false, Always),
    ];
    for (chat, public, expected) in cases {
        let setting = world.server.notification_setting(&ana_jid, &jid(chat), public).await;
        assert_eq!(setting, expected, "{chat} {public}");
    }
    let reads = memory.reads();
    world.server.notification_setting(&ana_jid, &jid("tea@rooms.d"), true).await;
    world.server.notification_setting(&jid("bob@d"), &jid("tea@rooms.d"), true).await;
    let after_bob = memory.reads();
    world.server.notification_setting(&jid("bob@d"), &jid("tea@rooms.d"), true).await;
    assert!(after_bob <= reads + 1 && memory.reads() == after_bob);
    done(&ana, &bookmark("tea@rooms.d", "Tea", &notify("<always/>"))).await;
    let setting = world.server.notification_setting(&ana_jid, &jid("tea@rooms.d"), true).await;
    assert_eq!(setting, Always);
}

/// XEP-0049 sections 2 and 4: kept by name and namespace, for its owner alone.
#[tokio::test]
async fn private_storage_is_kept_for_its_owner() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let bob = world.online("bob@d/b").await;
    let read = done(&ana, &private("get", "<prefs xmlns='urn:prefs'/>")).await;
    assert!(
        read.contains("<query xmlns='jabber:iq:private'><prefs xmlns='urn:prefs'/></query>"),
        "{read}"
    );
    let two = "<prefs xmlns='urn:prefs'><a>1</a></prefs><prefs xmlns='urn:other'/>";
    done(&ana, &private("set", two)).await;
    let read = done(&ana, &private("get", "<prefs xmlns='urn:prefs'/>")).await;
    assert!(read.contains("<prefs xmlns='urn:prefs'><a>1</a></prefs>"), "{read}");
    let read = ask(&bob, &private("get", "<prefs xmlns='urn:prefs'/>")).await;
    assert!(!read.contains("<a>1</a>"), "{read}");
    let foreign =
        private("get", "<prefs xmlns='urn:prefs'/>").replace("id='p'", "id='p' to='ana@d'");
    assert!(ask(&bob, &foreign).await.contains("type='error'"));
    for bad in [
        private("get", ""),
        private("set", ""),
        private("set", "<query xmlns='jabber:iq:roster'/>"),
        private("get", "<a xmlns='urn:a'/><b xmlns='urn:b'/>"),
    ] {
        assert!(ask(&ana, &bad).await.contains("type='error'"), "{bad}");
    }
}

/// XEP-0490 sections 4 and 7: one item a chat, told to the owner's other devices, closed to others.
#[tokio::test]
async fn what_was_displayed_is_told_to_own_devices_only() {
    const MDS: &str = "urn:xmpp:mds:displayed:0";
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let other = world.wishing("ana@d/b", &[MDS]).await;
    let bob = world.wishing("bob@d/b", &[MDS]).await;
    world.befriend(&ana, &bob).await;
    let displayed = |id: &str| {
        format!(
            "<displayed xmlns='{MDS}'><stanza-id xmlns='urn:xmpp:sid:0' by='ana@d' id='{id}'/></displayed>"
        )
    };
    let options = [
        ("persist_items", "true"),
        ("max_items", "max"),
        ("send_last_published_item", "never"),
        ("access_model", "whitelist"),
    ];
    other.read().await;
    for (chat, id) in [("bob@d", "1"), ("tea@rooms.d", "2"), ("bob@d", "3")] {
        done(&ana, &publish_with(MDS, chat, &displayed(id), &options)).await;
    }
    assert_eq!(other.read().await.len(), 3);
    assert!(bob.read().await.is_empty());
    let read = done(&ana, &items("ana@d", MDS)).await;
    assert_eq!(read.matches("<item ").count(), 2, "{read}");
    assert!(ask(&bob, &items("ana@d", MDS)).await.contains("<closed-node"));
}
