//! Block lists, invitations and the list of accounts: the same promises over the database as in memory.

use std::sync::Arc;
use std::time::Duration;

use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::memory::MemoryStore;
use tandem_xmpp::ports::memory_accounts::{MemoryDesk, MemoryDirectory};
use tandem_xmpp::ports::{
    Blocklists, Directory, Evidence, Invite, Invites, Report, Roster, RosterItem, Rosters,
};

use super::*;

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

/// A database with the accounts of [`memory`].
async fn database() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("tandem.db")).await.unwrap();
    for account in ["ana@d", "bob@d", "carl@e"] {
        let account = jid(account);
        let password = NewPassword::derive(&account, "secret", b"salt", 10);
        store.add_account(&account, password).await.unwrap();
    }
    (dir, store)
}

fn memory() -> (Arc<MemoryDesk>, MemoryDirectory) {
    let accounts = [jid("ana@d"), jid("bob@d"), jid("carl@e")];
    let store = Arc::new(MemoryStore::with_accounts(&accounts.each_ref()));
    let desk = Arc::new(MemoryDesk::default());
    (desk.clone(), MemoryDirectory::new(store, desk))
}

async fn check_blocklists(lists: &dyn Blocklists) {
    let (ana, domain) = (jid("ana@d"), jid("d"));
    assert!(lists.load(&ana).await.unwrap().is_empty());
    lists.block(&ana, &[jid("x@e"), jid("e")], &[]).await.unwrap();
    lists.block(&ana, &[jid("x@e"), jid("y@e/r")], &[]).await.unwrap();
    lists.block(&domain, &[jid("z@e")], &[]).await.unwrap();
    let mut blocked = lists.load(&ana).await.unwrap();
    blocked.sort();
    assert_eq!(blocked, [jid("e"), jid("x@e"), jid("y@e/r")]);
    lists.unblock(&ana, &[jid("x@e"), jid("never@e")]).await.unwrap();
    assert_eq!(lists.load(&ana).await.unwrap().len(), 2);
    assert_eq!(lists.load(&domain).await.unwrap(), [jid("z@e")]);
}

#[tokio::test]
async fn block_lists_keep_their_promises() {
    let (_dir, store) = database().await;
    check_blocklists(&store).await;
    check_blocklists(&*memory().0).await;
}

async fn check_invites(invites: &dyn Invites) {
    let week = Duration::from_secs(7 * 24 * 3_600);
    let invite = Invite {
        domain: "d".into(),
        inviter: Some(jid("ana@d")),
        name: Some("eve".into()),
        registers: true,
        joins: false,
    };
    assert!(invites.add("one", &invite, week).await.unwrap().is_some());
    assert!(invites.add("two", &invite, week).await.unwrap().is_none(), "the name is taken");
    assert_eq!(invites.find("one").await.unwrap(), Some(invite.clone()));
    assert_eq!(invites.find("two").await.unwrap(), None);
    assert!(invites.reserves(&jid("eve@d")).await.unwrap());
    assert!(!invites.reserves(&jid("eve@e")).await.unwrap());
    assert!(invites.take("one").await.unwrap());
    assert!(!invites.take("one").await.unwrap());
    assert!(!invites.reserves(&jid("eve@d")).await.unwrap());
    // What is over cannot be found, and can still be used by who has shown it in time.
    assert!(invites.add("over", &invite, Duration::ZERO).await.unwrap().is_some());
    assert_eq!(invites.find("over").await.unwrap(), None);
    assert!(!invites.reserves(&jid("eve@d")).await.unwrap());
    assert!(invites.is_there("over").await.unwrap() && invites.take("over").await.unwrap());
    let open = Invite { name: None, ..invite };
    for n in 0..100 {
        assert!(invites.add(&format!("token-{n}"), &open, week).await.unwrap().is_some());
    }
    assert!(invites.add("too many", &open, week).await.unwrap().is_none());
    let operator = Invite { inviter: None, ..open };
    assert!(invites.add("operator", &operator, week).await.unwrap().is_some());
}

#[tokio::test]
async fn invitations_keep_their_promises() {
    let (_dir, store) = database().await;
    check_invites(&store).await;
    check_invites(&*memory().0).await;
}

async fn check_directory(directory: &dyn Directory) {
    let names = async |after: Option<&str>, max| {
        let listed = directory.list("d", after, max).await.unwrap();
        listed.into_iter().map(|l| l.account.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 10).await, ["ana@d", "bob@d"]);
    assert_eq!(names(None, 1).await, ["ana@d"]);
    assert_eq!(names(Some("ana"), 10).await, ["bob@d"]);
    assert_eq!(directory.count("d").await.unwrap(), (2, 0));
    assert!(directory.set_disabled(&jid("bob@d"), true).await.unwrap());
    assert!(!directory.set_disabled(&jid("nobody@d"), true).await.unwrap());
    assert_eq!(directory.count("d").await.unwrap(), (2, 1));
    assert!(directory.list("d", None, 10).await.unwrap()[1].disabled);
    assert!(directory.set_disabled(&jid("bob@d"), false).await.unwrap());
    assert_eq!(directory.count("d").await.unwrap(), (2, 0));
}

#[tokio::test]
async fn the_list_of_accounts_keeps_its_promises() {
    let (_dir, store) = database().await;
    check_directory(&store).await;
    check_directory(&memory().1).await;
}

#[tokio::test]
async fn a_report_outlives_the_account_and_its_lists_do_not() {
    let (_dir, store) = database().await;
    let ana = jid("ana@d");
    let evidence =
        Evidence { by: "ana@d".into(), id: "7".into(), stanza: Some("<message/>".into()) };
    let report = Report {
        reporter: ana.clone(),
        reported: jid("x@e"),
        reason: "urn:xmpp:reporting:spam".into(),
        text: Some("words".into()),
        to_origin: false,
        to_others: false,
        evidence: vec![evidence],
    };
    store.block(&ana, &[jid("x@e")], &[report]).await.unwrap();
    assert!(store.remove_account(&ana).await.unwrap());
    assert!(Blocklists::load(&store, &ana).await.unwrap().is_empty());
    let reports = store.reports(10).await.unwrap();
    assert_eq!((reports.len(), reports[0].reported.as_str()), (1, "x@e"));
    let named = ("ana@d".to_owned(), "7".to_owned(), Some("<message/>".to_owned()));
    assert_eq!(reports[0].evidence, [named]);
}

/// RFC 6121 section 2.6: removals are forgotten from the oldest on, and a new account of the name goes on above.
#[tokio::test]
async fn roster_versions_only_grow() {
    let (_dir, store) = database().await;
    let (ana, x) = (jid("ana@d"), jid("x@e"));
    let born = Rosters::load(&store, &ana).await.unwrap();
    assert!(born.version > 0 && born.known_since == born.version);
    for n in 1..=(Roster::MAX_REMOVED as u64 + 5) {
        Rosters::remove(&store, &ana, &x, born.version + n).await.unwrap();
    }
    let item = RosterItem { changed: born.version + 200, ..RosterItem::new(x.clone()) };
    store.put(&ana, &item).await.unwrap();
    let roster = Rosters::load(&store, &ana).await.unwrap();
    assert_eq!((roster.version, roster.removed.len()), (item.changed, Roster::MAX_REMOVED));
    assert_eq!(roster.known_since, born.version + 6);
    store.remove_account(&ana).await.unwrap();
    tokio::task::yield_now().await;
    let password = NewPassword::derive(&ana, "secret", b"salt", 10);
    store.add_account(&ana, password).await.unwrap();
    let again = Rosters::load(&store, &ana).await.unwrap();
    assert!(again.version >= born.version && again.items.is_empty() && again.removed.is_empty());
}
