//! The contract of the port, over SQLite and over the version in memory that the server's tests use.

use tandem_xmpp::ports::memory_pubsub::MemoryPubSub;
use tandem_xmpp::ports::pubsub::{Access, NodeConfig};

use super::*;
use crate::store::NewPassword;

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

async fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("tandem.db")).await.unwrap();
    for name in ["a@d", "b@d"] {
        let account = jid(name);
        let password = NewPassword::derive(&account, "p", b"salt", 100);
        store.add_account(&account, password).await.unwrap();
    }
    (dir, store)
}

fn node(name: &str) -> Node {
    Node {
        name: name.into(),
        config: NodeConfig {
            title: "Titel <&>".into(),
            access: Access::Roster,
            groups: vec!["Ärzte".into()],
            max_items: None,
            ..NodeConfig::default()
        },
        affiliations: vec![
            (jid("b@d"), Affiliation::Publisher),
            (jid("c@e"), Affiliation::Outcast),
        ],
        subscriptions: vec![jid("b@d"), jid("c@e/x")],
        pending: vec![jid("eve@d")],
    }
}

fn item(id: &str, bytes: usize) -> Item {
    Item {
        id: id.into(),
        publisher: "a@d".into(),
        stamp: "2026-01-01T00:00:00Z".into(),
        payload: "x".repeat(bytes).into(),
    }
}

const BOUNDS: Bounds = Bounds { items: 4, bytes: 100 };

async fn ids(port: &dyn PubSub, owner: &Jid, node: &Node, wanted: Wanted) -> Option<String> {
    let page = port.items(owner, node, &wanted).await.unwrap()?;
    let ids: Vec<String> = page.items.into_iter().map(|item| item.id).collect();
    Some(format!("{}:{}/{}", ids.join(" "), page.first, page.total))
}

async fn contract(port: &dyn PubSub) {
    let (a, b) = (jid("a@d"), jid("b@d"));
    assert!(port.nodes(&a).await.unwrap().is_empty());
    let (n, m) = (node("n"), node("m"));
    port.put_node(&a, &m).await.unwrap();
    // A node is made by what is published to it, and what was published is not lost by new settings.
    let kept = port.publish(&a, &n, &[item("1", 1), item("2", 1)], BOUNDS).await.unwrap();
    assert_eq!(kept, Kept::Yes(vec![]));
    assert_eq!(port.nodes(&a).await.unwrap(), [m.clone(), n.clone()]);
    let mut other = n.clone();
    other.config.title = "Other".into();
    other.subscriptions.clear();
    port.put_node(&a, &other).await.unwrap();
    assert_eq!(port.nodes(&a).await.unwrap(), [m.clone(), other]);
    assert!(port.nodes(&b).await.unwrap().is_empty());
    for id in ["3", "1"] {
        port.publish(&a, &n, &[item(id, 1)], BOUNDS).await.unwrap();
    }
    // In order of publication, read from either end.
    let id = |id: &str| Some(id.to_owned());
    for (wanted, expected) in [
        (Wanted::After(None, 9), Some("2 3 1:0/3")),
        (Wanted::After(id("2"), 1), Some("3:1/3")),
        (Wanted::Before(None, 2), Some("3 1:1/3")),
        (Wanted::Before(id("1"), 1), Some("3:1/3")),
        (Wanted::At(1, 5), Some("3 1:1/3")),
        (Wanted::Ids(vec!["1".into(), "2".into(), "9".into()]), Some("2 1:0/3")),
        (Wanted::After(id("9"), 1), None),
        (Wanted::Before(id("9"), 1), None),
    ] {
        let read = ids(port, &a, &n, wanted.clone()).await;
        assert_eq!(read.as_deref(), expected, "{wanted:?}");
    }
    let page = port.items(&a, &n, &Wanted::Ids(vec!["2".into()])).await.unwrap().unwrap();
    assert_eq!(page.items, [item("2", 1)]);
    assert_eq!(ids(port, &b, &n, Wanted::At(0, 9)).await.as_deref(), Some(":0/0"));
    // The oldest make room; what is too much for the account changes nothing.
    let kept = port.publish(&a, &n, &[item("4", 1), item("5", 1)], BOUNDS).await.unwrap();
    assert_eq!(kept, Kept::Yes(vec!["2".into()]));
    let kept = port.publish(&a, &m, &[item("x", 50), item("y", 60)], BOUNDS).await.unwrap();
    assert_eq!(kept, Kept::Full);
    let fresh = node("fresh");
    assert_eq!(port.publish(&a, &fresh, &[item("x", 99)], BOUNDS).await.unwrap(), Kept::Full);
    assert_eq!(port.nodes(&a).await.unwrap().len(), 2);
    assert_eq!(ids(port, &a, &m, Wanted::At(0, 9)).await.as_deref(), Some(":0/0"));
    let kept = port.publish(&a, &m, &[item("x", 50)], BOUNDS).await.unwrap();
    assert_eq!(kept, Kept::Yes(vec![]));
    assert_eq!(port.publish(&a, &m, &[item("x", 90)], BOUNDS).await.unwrap(), Kept::Yes(vec![]));
    // Taken back one by one and all at once.
    let some = ["3".to_owned(), "9".to_owned()];
    assert_eq!(port.retract(&a, "n", Some(&some)).await.unwrap(), ["3"]);
    assert_eq!(port.retract(&a, "odd", None).await.unwrap(), Vec::<String>::new());
    let mut gone = port.retract(&a, "n", None).await.unwrap();
    gone.sort();
    assert_eq!(gone, ["1", "4", "5"]);
    port.remove_node(&a, "m").await.unwrap();
    port.remove_node(&a, "odd").await.unwrap();
    assert_eq!(port.nodes(&a).await.unwrap().len(), 1);
    assert_eq!(ids(port, &a, &m, Wanted::At(0, 9)).await.as_deref(), Some(":0/0"));
}

#[tokio::test]
async fn the_store_keeps_the_contract() {
    let (_dir, store) = store().await;
    contract(&store).await;
}

#[tokio::test]
async fn the_memory_version_keeps_the_contract() {
    contract(&MemoryPubSub::default()).await;
}

/// An item is there until it is as old as its node says.
#[tokio::test]
async fn items_expire_in_the_store() {
    let (_dir, store) = store().await;
    let a = jid("a@d");
    let mut n = node("n");
    n.config.item_expire = Some(60);
    store.publish(&a, &n, &[item("1", 1)], BOUNDS).await.unwrap();
    assert_eq!(ids(&store, &a, &n, Wanted::At(0, 9)).await.as_deref(), Some("1:0/1"));
    let older = "UPDATE pubsub_items SET created = created - 60";
    store
        .write(move |c| Box::pin(async move { sqlx::query(older).execute(c).await.map(|_| ()) }))
        .await
        .unwrap();
    assert_eq!(ids(&store, &a, &n, Wanted::At(0, 9)).await.as_deref(), Some(":0/0"));
    assert_eq!(ids(&store, &a, &n, Wanted::After(Some("1".into()), 9)).await, None);
    assert!(store.retract(&a, "n", None).await.unwrap().is_empty());
}

/// Nothing is left of a removed account, and nothing comes to be of one that is not there.
#[tokio::test]
async fn nodes_go_with_their_account() {
    let (_dir, store) = store().await;
    let a = jid("a@d");
    store.publish(&a, &node("n"), &[item("1", 1)], BOUNDS).await.unwrap();
    store.remove_account(&a).await.unwrap();
    assert!(store.nodes(&a).await.unwrap().is_empty());
    assert!(store.publish(&a, &node("n"), &[item("1", 1)], BOUNDS).await.is_err());
    assert!(store.put_node(&a, &node("n")).await.is_err());
    assert!(store.nodes(&a).await.unwrap().is_empty());
}
