//! RFC 6121 sections 2 to 4: contacts, subscriptions and presence as two people see them.

use super::delivery::refused;
use super::*;
use crate::ports::{BoxFuture, Roster, RosterItem, Rosters, StoreError};

/// A store that lets others run within each of its operations.
struct Yielding(Arc<MemoryStore>);

async fn others() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

impl Rosters for Yielding {
    fn load<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<Roster, StoreError>> {
        Box::pin(async move {
            let roster = Rosters::load(&*self.0, owner).await;
            others().await;
            roster
        })
    }

    fn put<'a>(
        &'a self,
        owner: &'a Jid,
        item: &'a RosterItem,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            others().await;
            self.0.put(owner, item).await?;
            others().await;
            Ok(())
        })
    }

    fn remove<'a>(
        &'a self,
        owner: &'a Jid,
        contact: &'a Jid,
        version: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Rosters::remove(&*self.0, owner, contact, version)
    }

    fn set_pending_in<'a>(
        &'a self,
        owner: &'a Jid,
        contact: &'a Jid,
        pending: bool,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.0.set_pending_in(owner, contact, pending)
    }
}

fn set(contact: &str, name: &str) -> String {
    format!(
        "<iq type='set' id='s'><query xmlns='jabber:iq:roster'>\
         <item jid='{contact}' name='{name}'/></query></iq>"
    )
}

/// Bob agrees while Ana gives him a name, at every moment in between.
#[tokio::test]
async fn changes_of_one_account_at_once_are_all_there() {
    for moment in 0..30 {
        let store = store();
        let ports = Ports { rosters: Arc::new(Yielding(store.clone())), ..ports(&store) };
        let world = World::with(store, ports);
        let (ana, bob) = (world.online("ana@d/a").await, world.online("bob@d/b").await);
        ana.say("<presence to='bob@d' type='subscribe'/>").await;
        let naming = tokio::spawn(async move {
            for _ in 0..moment {
                tokio::task::yield_now().await;
            }
            ana.say(&set("bob@d", "Bobby")).await
        });
        let agreeing = tokio::spawn(async move {
            bob.say("<presence to='ana@d' type='subscribed'/>").await;
        });
        naming.await.unwrap();
        agreeing.await.unwrap();
        let roster = world.store.stored_roster(&jid("ana@d"));
        let item = roster.item(&jid("bob@d")).unwrap();
        let became = (item.name.as_deref(), item.to, item.ask);
        assert_eq!(became, (Some("Bobby"), true, false), "at moment {moment}");
        let remembered = world.server.roster(&jid("ana@d")).await.unwrap();
        assert_eq!(*remembered, roster, "at moment {moment}");
    }
}

#[tokio::test]
async fn every_push_has_its_own_id() {
    let world = World::new();
    let ana = world.interested("ana@d/a").await;
    let desk = world.interested("ana@d/desk").await;
    ana.read().await;
    for name in ["one", "two"] {
        ana.say(&set("bob@d", name)).await;
    }
    let mut ids = Vec::new();
    for session in [&ana, &desk] {
        let pushes = session.read().await;
        let pushes = pushes.iter().filter(|s| s.contains("type='set'"));
        ids.extend(
            pushes.map(|s| s.split("id='").nth(1).unwrap().split('\'').next().unwrap().to_owned()),
        );
    }
    assert_eq!(ids.len(), 4);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

/// RFC 6121 section 3.1.3: the request is kept with all it holds and comes at each login until it is answered.
#[tokio::test]
async fn a_request_to_somebody_away_comes_whole_at_login() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    ana.say(
        "<presence to='bob@d/any' type='subscribe' id='9'><status>It is Ana</status>\
         <nick xmlns='http://jabber.org/protocol/nick'>Ana</nick></presence>",
    )
    .await;
    for _ in 0..2 {
        let bob = world.bind("bob@d/b");
        bob.say("<presence/>").await;
        let read = bob.read().await;
        let request = read.iter().find(|s| s.contains("type='subscribe'")).unwrap();
        assert!(request.contains("from='ana@d' to='bob@d'"), "{request}");
        assert!(request.contains("It is Ana") && request.contains(">Ana</nick>"), "{request}");
        bob.lose().await;
    }
    let bob = world.online("bob@d/b").await;
    bob.say("<presence to='ana@d' type='subscribed'/>").await;
    bob.lose().await;
    let bob = world.bind("bob@d/b");
    bob.say("<presence/>").await;
    assert!(!bob.read().await.join("").contains("type='subscribe'"));
}

#[tokio::test]
async fn a_subscription_is_asked_granted_seen_and_ended() {
    let world = World::new();
    let (ana, bob) = (world.interested("ana@d/a").await, world.interested("bob@d/b").await);
    ana.say("<presence to='bob@d' type='subscribe'/>").await;
    assert!(ana.read().await.join("").contains("ask='subscribe'"));
    assert!(bob.read().await.join("").contains("type='subscribe'"));
    bob.say("<presence to='ana@d' type='subscribed'/>").await;
    let seen = ana.read().await.join("");
    assert!(seen.contains("subscription='to'") && seen.contains("type='subscribed'"), "{seen}");
    assert!(seen.contains("from='bob@d/b'"), "{seen}");
    assert!(bob.read().await.join("").contains("subscription='from'"));
    bob.say("<presence><show>dnd</show></presence>").await;
    assert!(ana.read().await.join("").contains("<show>dnd</show>"));
    ana.say("<presence to='bob@d' type='unsubscribe'/>").await;
    let seen = ana.read().await.join("");
    assert!(seen.contains("subscription='none'"), "{seen}");
    assert!(seen.contains("from='bob@d/b'") && seen.contains("type='unavailable'"), "{seen}");
    assert!(bob.read().await.join("").contains("type='unsubscribe'"));
    bob.say("<presence><show>away</show></presence>").await;
    assert!(ana.read().await.is_empty());
}

#[tokio::test]
async fn who_leaves_is_gone_for_all_who_saw_it() {
    let world = World::new();
    let (ana, bob) = (world.online("ana@d/a").await, world.online("bob@d/b").await);
    bob.say("<presence to='ana@d/a'/>").await;
    assert!(ana.read().await.join("").contains("from='bob@d/b'"));
    bob.lose().await;
    let seen = ana.read().await.join("");
    assert!(seen.contains("from='bob@d/b'") && seen.contains("type='unavailable'"), "{seen}");
}

#[tokio::test]
async fn a_full_roster_takes_no_more_by_subscribing_either() {
    let store = store();
    let ports = ports(&store);
    let config = Config { domains: vec!["d".into()], max_contacts: 2, ..Config::default() };
    let world = World { store, server: Server::new(config, ports) };
    let ana = world.online("ana@d/a").await;
    for name in ["x", "y", "z"] {
        ana.say(&format!("<presence to='{name}@d' type='subscribe'/>")).await;
    }
    assert_eq!(world.store.stored_roster(&jid("ana@d")).items.len(), 2);
    assert!(ana.read().await.join("").contains("<resource-constraint"));
}

const GET: &str = "<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>";

fn get(version: &str) -> String {
    GET.replace("roster'/>", &format!("roster' ver='{version}'/>"))
}

/// What a roster answer or push says of its version.
fn version(text: &str) -> String {
    let (_, rest) = text.rsplit_once("ver='").unwrap();
    rest.split('\'').next().unwrap().to_owned()
}

/// RFC 6121 section 2.6.3.
#[tokio::test]
async fn a_client_that_knows_a_version_gets_only_what_has_changed() {
    let world = World::new();
    let ana = world.interested("ana@d/a").await;
    for contact in ["x@e", "y@e", "z@e"] {
        ana.say(&set(contact, "one")).await;
    }
    let known = version(&ana.read().await.join(""));
    let desk = world.bind("ana@d/desk");
    desk.say(&get(&known)).await;
    let read = desk.read().await;
    assert_eq!(read, ["<iq type='result' id='g' to='ana@d/desk'/>"]);

    ana.say(&set("y@e", "two")).await;
    ana.say(
        "<iq type='set' id='s'><query xmlns='jabber:iq:roster'>\
         <item jid='x@e' subscription='remove'/></query></iq>",
    )
    .await;
    desk.lose().await;
    let desk = world.bind("ana@d/desk");
    desk.say(&get(&known)).await;
    let read = desk.read().await;
    let [empty, changed, removed] = read.as_slice() else { panic!("{read:?}") };
    assert!(empty.contains("type='result'") && !empty.contains("query"), "{empty}");
    assert!(changed.contains("jid='y@e'") && changed.contains("name='two'"), "{changed}");
    assert!(removed.contains("jid='x@e'") && removed.contains("'remove'"), "{removed}");
    assert!(version(changed).parse::<u64>().unwrap() < version(removed).parse().unwrap());
    // The device that was told is up to date, and hears of what comes.
    desk.say(&get(&version(removed))).await;
    assert_eq!(desk.read().await.len(), 1);
    ana.say(&set("y@e", "three")).await;
    assert!(desk.read().await.join("").contains("three"));
}

#[tokio::test]
async fn who_knows_no_version_or_one_of_another_life_gets_the_whole_roster() {
    let world = World::new();
    let ana = world.interested("ana@d/a").await;
    ana.say(&set("x@e", "one")).await;
    ana.read().await;
    for known in [GET.to_owned(), get(""), get("ver14"), get("999")] {
        ana.say(&known).await;
        let read = ana.read().await.join("");
        assert!(read.contains("jid='x@e'") && read.contains("ver='1'"), "{known} {read}");
    }
}

#[tokio::test]
async fn removals_are_remembered_up_to_a_bound() {
    let world = World::new();
    let ana = world.interested("ana@d/a").await;
    ana.say(&set("x@e", "stays")).await;
    for round in 0..=Roster::MAX_REMOVED {
        ana.say(&set("y@e", &round.to_string())).await;
        ana.say(
            "<iq type='set' id='s'><query xmlns='jabber:iq:roster'>\
             <item jid='y@e' subscription='remove'/></query></iq>",
        )
        .await;
    }
    let last = version(ana.read().await.iter().rfind(|s| s.contains("ver=")).unwrap());
    assert!(world.store.stored_roster(&jid("ana@d")).removed.len() <= Roster::MAX_REMOVED);
    ana.say(&get("1")).await;
    assert!(ana.read().await.join("").contains("jid='x@e'"));
    let before: u64 = last.parse::<u64>().unwrap() - 1;
    ana.say(&get(&before.to_string())).await;
    assert!(ana.read().await.join("").contains("subscription='remove'"));
}

/// RFC 6121 sections 2.1.5 and 2.3.3.
#[tokio::test]
async fn a_roster_set_is_held_against_the_rules() {
    let world = World::new();
    let ana = world.interested("ana@d/a").await;
    let item = |inside: &str| {
        format!("<iq type='set' id='s'><query xmlns='jabber:iq:roster'>{inside}</query></iq>")
    };
    let long = "x".repeat(1024);
    for (inside, condition) in [
        (String::new(), "<bad-request"),
        ("<item jid='x@e'/><item jid='y@e'/>".into(), "<bad-request"),
        ("<item jid='x@e'><group>a</group><group>a</group></item>".into(), "<bad-request"),
        ("<item jid='x@e'><group/></item>".into(), "<not-acceptable"),
        (format!("<item jid='x@e'><group>{long}</group></item>"), "<not-acceptable"),
        (format!("<item jid='x@e' name='{long}'/>"), "<not-acceptable"),
        ("<item jid='@'/>".into(), "<bad-request"),
        ("<item jid='x@e' subscription='remove'/>".into(), "<item-not-found"),
        ("<item jid='ana@d'/>".into(), "<not-allowed"),
    ] {
        ana.say(&item(&inside)).await;
        let read = ana.read().await.join("");
        assert!(read.contains(condition), "{inside} {read}");
    }
    assert!(world.store.stored_roster(&jid("ana@d")).items.is_empty());
    // Somebody else's.
    let stranger = item("<item jid='x@e'/>").replace("id='s'", "id='s' to='bob@d'");
    ana.say(&stranger).await;
    assert!(ana.read().await.join("").contains("<forbidden"));
    // What a client says of subscriptions is not heard (section 2.1.2.5).
    ana.say(&item("<item jid='x@e' subscription='both' ask='subscribe'/>")).await;
    let stored = world.store.stored_roster(&jid("ana@d"));
    let contact = stored.item(&jid("x@e")).unwrap();
    assert!(!contact.to && !contact.from && !contact.ask);
}

/// RFC 6121 section 2.1.4.
#[tokio::test]
async fn the_roster_of_somebody_new_is_empty() {
    let world = World::new();
    let ana = world.bind("ana@d/a");
    ana.say(GET).await;
    let read = ana.read().await.join("");
    assert!(read.contains("type='result'") && !read.contains("<item"), "{read}");
    assert!(read.contains("<query xmlns='jabber:iq:roster'"), "{read}");
}

/// RFC 6121 section 2.5.2.
#[tokio::test]
async fn a_contact_that_is_removed_sees_both_subscriptions_end() {
    let world = World::new();
    let (ana, bob) = (world.interested("ana@d/a").await, world.interested("bob@d/b").await);
    for (one, other) in [(&ana, &bob), (&bob, &ana)] {
        one.say(&format!("<presence to='{}' type='subscribe'/>", other.jid.bare())).await;
        other.say(&format!("<presence to='{}' type='subscribed'/>", one.jid.bare())).await;
    }
    ana.read().await;
    bob.read().await;
    ana.say(
        "<iq type='set' id='s'><query xmlns='jabber:iq:roster'>\
         <item jid='bob@d' subscription='remove'/></query></iq>",
    )
    .await;
    assert!(ana.read().await.join("").contains("<item jid='bob@d' subscription='remove'/>"));
    let seen = bob.read().await.join("");
    for sign in ["type='unsubscribe'", "type='unsubscribed'", "subscription='none'"] {
        assert!(seen.contains(sign), "{sign} {seen}");
    }
}

/// RFC 6121 sections 4.2.2 and 4.4.2: whoever is available is subscribed to itself.
#[tokio::test]
async fn a_device_hears_its_own_presence() {
    let world = World::new();
    let ana = world.bind("ana@d/a");
    for content in ["", "<show>away</show>"] {
        ana.say(&format!("<presence>{content}</presence>")).await;
        let read = ana.read().await.concat();
        assert_eq!(read.matches("<presence ").count(), 1, "{read}");
        assert!(read.contains("from='ana@d/a'") && read.contains(content), "{read}");
    }
    ana.say("<presence type='unavailable'/>").await;
    assert!(ana.read().await.is_empty());
}

/// RFC 6121 section 4.6.3: who has shown itself to one person only is seen to go by that person and nobody else.
#[tokio::test]
async fn who_was_seen_by_one_is_seen_to_go_by_one() {
    let world = World::new();
    let (ana, bob) = (world.online("ana@d/a").await, world.online("bob@d/b").await);
    let carl = world.online("carl@d/c").await;
    ana.say("<presence to='bob@d' type='subscribe'/>").await;
    bob.say("<presence to='ana@d' type='subscribed'/>").await;
    ana.read().await;
    for farewell in [true, false] {
        let hidden = world.bind("bob@d/hidden");
        hidden.say("<presence to='carl@d'/>").await;
        assert_eq!(carl.read().await.len(), 1);
        if farewell {
            hidden.say("<presence type='unavailable'/>").await;
        }
        hidden.lose().await;
        let seen = carl.read().await;
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert!(seen[0].contains("type='unavailable'"), "{seen:?}");
        assert!(ana.read().await.is_empty());
    }
}

/// RFC 6121 section 4.6.3: nobody sees a presence of which it could not be told that it ended.
#[tokio::test]
async fn directed_presence_goes_to_as_many_as_can_be_told_of_its_end() {
    let world = World::new();
    let ana = world.bind("ana@d/a");
    for n in 0..1_000 {
        ana.say(&format!("<presence to='x{n}@d'/>")).await;
    }
    let bob = world.online("bob@d/b").await;
    assert_eq!(refused(&ana.say("<presence to='bob@d'/>").await), Some(Condition::PolicyViolation));
    assert!(bob.read().await.is_empty());
    ana.say("<presence to='x1@d' type='unavailable'/>").await;
    ana.say("<presence to='bob@d'/>").await;
    assert_eq!(bob.read().await.len(), 1);
}
