//! RFC 6120 section 7.7.2.2 and RFC 6121 sections 4.5 and 4.6: a session is replaced, and others see it go.

use super::*;
use crate::service::{Attachment, DeviceKind};

/// Bob, who sees Ana's devices.
async fn watcher(world: &World) -> Session {
    let (ana, bob) = (world.online("ana@d/first").await, world.online("bob@d/b").await);
    bob.say("<presence to='ana@d' type='subscribe'/>").await;
    ana.say("<presence to='bob@d' type='subscribed'/>").await;
    ana.lose().await;
    bob.read().await;
    bob
}

#[tokio::test]
async fn a_session_that_is_replaced_is_seen_to_go() {
    let world = World::new();
    let (bob, carl) = (watcher(&world).await, world.online("carl@d/c").await);
    let old = world.online("ana@d/phone").await;
    old.say("<presence to='carl@d/c'/>").await;
    for seer in [&bob, &carl] {
        assert!(seer.read().await.concat().contains("from='ana@d/phone'"));
    }
    let new = world.bind("ana@d/phone");
    assert_eq!(old.outbox.ended(), Some("conflict"));
    for seer in [&bob, &carl] {
        let seen = seer.read().await;
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert!(seen[0].contains("from='ana@d/phone'") && seen[0].contains("type='unavailable'"));
    }
    // The end of the old connection is not the end of the new session.
    old.lose().await;
    new.say("<presence/>").await;
    let seen = bob.read().await;
    assert!(seen.len() == 1 && !seen[0].contains("type="), "{seen:?}");
}

#[tokio::test]
async fn who_was_shown_presence_alone_is_told_of_its_end() {
    let world = World::new();
    let (ana, carl) = (world.bind("ana@d/a"), world.online("carl@d/c").await);
    ana.say("<presence to='carl@d/c'/>").await;
    carl.read().await;
    ana.say("<presence type='unavailable'/>").await;
    let seen = carl.read().await.concat();
    assert!(seen.contains("from='ana@d/a'") && seen.contains("type='unavailable'"), "{seen}");
    ana.lose().await;
    assert!(carl.read().await.is_empty(), "once is enough");
}

#[tokio::test]
async fn an_account_with_all_the_sessions_it_may_have_can_still_replace_one() {
    let store = store();
    let config = Config { domains: vec!["d".into()], max_sessions: 2, ..Config::default() };
    let server = Server::new(config, ports(&store));
    let bind = |resource: &str| {
        let outbox = MemoryOutbox::new();
        server.bind(&jid("ana@d"), Some(resource), "made", outbox).map(drop)
    };
    assert!(bind("one").is_ok() && bind("two").is_ok());
    assert_eq!(bind("three").unwrap_err().condition, Condition::ResourceConstraint);
    assert!(bind("two").is_ok());
}

#[tokio::test]
async fn nothing_of_a_removed_account_stays_connected() {
    let world = World::new();
    let stream = world.online("ana@d/a").await;
    let phone = Attachment {
        priority: 0,
        show: None,
        status: None,
        kind: DeviceKind::new(("client", "phone", ""), []),
    };
    world.server.attach(&jid("ana@d/phone"), phone).await;
    assert_eq!(world.server.presences(&jid("ana@d")).len(), 2);
    assert!(world.server.remove_account(&jid("ana@d")).await.unwrap());
    assert!(stream.outbox.ended().is_some());
    stream.lose().await;
    assert!(world.server.presences(&jid("ana@d")).is_empty());
}
