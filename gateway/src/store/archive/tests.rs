//! The archive over SQLite: what was acknowledged is there once and in order, pages are ranges of an index.

use std::path::Path;
use std::time::Duration;

use tandem_xmpp::ports::{ArchiveRow, MAX_WAITING, Offline};

use super::*;
use crate::store::NewPassword;

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

async fn open(dir: &Path) -> Store {
    Store::open(&dir.join("tandem.db")).await.unwrap()
}

/// A message from one account to another, in both archives.
fn entry(from: &str, to: &str, body: &str) -> Entry {
    let (from, to) = (jid(from), jid(to));
    let row = |owner: &Jid, peer: &Jid| ArchiveRow {
        owner: owner.bare(),
        peer: peer.clone(),
        waits: false,
    };
    let mut rows = vec![row(&from, &to)];
    if from.bare() != to.bare() {
        rows.push(row(&to, &from));
    }
    Entry {
        stanza: format!(
            "<message from='{from}' to='{to}' id='{body}'><body>{body}</body></message>"
        )
        .into(),
        rows,
        name: Some(body.into()),
        once: None,
        groupchat: false,
    }
}

fn once(from: &str, to: &str, body: &str, origin: &str) -> Entry {
    Entry { once: Some(format!("{from}\n{to}\n{origin}")), ..entry(from, to, body) }
}

async fn page(store: &Store, query: &ArchiveQuery) -> Page {
    Archive::page(store, query).await.unwrap().unwrap()
}

fn bodies(page: &Page) -> Vec<String> {
    let body = |m: &Archived| {
        let text = String::from_utf8_lossy(&m.stanza).into_owned();
        text.split_once("<body>").unwrap().1.split_once("</body>").unwrap().0.to_owned()
    };
    page.messages.iter().map(body).collect()
}

fn all(owner: &str) -> ArchiveQuery {
    ArchiveQuery::new(jid(owner), 10_000)
}

/// The files as a machine that loses power now would find them.
async fn after_power_cut(dir: &Path) -> (tempfile::TempDir, Store) {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        // The index of the write-ahead log is in memory and is lost.
        if !path.to_string_lossy().ends_with("-shm") {
            std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let store = open(copy.path()).await;
    (copy, store)
}

#[tokio::test]
async fn one_body_is_in_both_archives_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut last = 0;
    for n in 0..300 {
        let (from, to) = if n % 2 == 0 { ("a@d/x", "b@d") } else { ("b@d/y", "a@d") };
        let stored = store.append(entry(from, to, &n.to_string())).await.unwrap();
        assert!(stored.seq > last && !stored.duplicate);
        last = stored.seq;
    }
    store.append(entry("a@d/x", "a@d", "self")).await.unwrap();
    store.append(entry("c@d/x", "a@d", "from c")).await.unwrap();
    let numbers: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    assert_eq!(bodies(&page(&store, &all("b@d")).await), numbers);
    let with = |who: &str| ArchiveQuery { with: Some(jid(who)), ..all("a@d") };
    assert_eq!(bodies(&page(&store, &with("b@d")).await), numbers);
    assert_eq!(bodies(&page(&store, &with("b@d/y")).await).len(), 150);
    assert_eq!(bodies(&page(&store, &with("a@d")).await), ["self"]);
    assert_eq!(bodies(&page(&store, &with("c@d")).await), ["from c"]);
    let count: i64 = sqlx::query("SELECT count(*) FROM bodies")
        .fetch_one(&store.readers)
        .await
        .unwrap()
        .try_get(0)
        .unwrap();
    assert_eq!(count, 302);
}

#[tokio::test]
async fn pages_count_and_anchors() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut seqs = Vec::new();
    for n in 0..30 {
        seqs.push(store.append(entry("a@d/x", "b@d", &n.to_string())).await.unwrap().seq);
    }
    let query = ArchiveQuery { max: 10, count: true, ..all("a@d") };
    let first = page(&store, &query).await;
    assert_eq!((first.complete, first.count, first.index), (false, Some(30), Some(0)));
    let next = ArchiveQuery { after: vec![seqs[9]], ..query.clone() };
    let next = page(&store, &next).await;
    assert_eq!((bodies(&next)[0].as_str(), next.index, next.complete), ("10", Some(10), false));
    let last = ArchiveQuery { last: true, before: vec![seqs[25]], ..query.clone() };
    let last = page(&store, &last).await;
    assert_eq!((bodies(&last)[0].as_str(), last.index, last.complete), ("15", Some(15), false));
    let rest = page(&store, &ArchiveQuery { after: vec![seqs[19]], ..query.clone() }).await;
    assert!(rest.complete);
    let only = page(&store, &ArchiveQuery { max: 0, start: Some(seqs[5]), ..all("a@d") }).await;
    assert_eq!((only.messages.len(), only.count, only.complete), (0, Some(25), false));
    let ids = ArchiveQuery { ids: Some(vec![seqs[3], seqs[1]]), ..all("a@d") };
    assert_eq!(bodies(&page(&store, &ids).await), ["1", "3"]);
    for query in [
        ArchiveQuery { after: vec![seqs[0] + 1], ..all("a@d") },
        ArchiveQuery { before: vec![1], ..all("a@d") },
        ArchiveQuery { ids: Some(vec![seqs[0], 1]), ..all("a@d") },
        ArchiveQuery { after: vec![seqs[0]], ..all("c@d") },
    ] {
        assert_eq!(Archive::page(&store, &query).await.unwrap(), None);
    }
}

/// The statements of a page search an index from where the page begins; nothing is sorted, nothing scanned.
#[tokio::test]
async fn pages_are_ranges_of_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let start = ArchiveQuery { start: Some(5), ..all("a@d") };
    let table = [
        (all("a@d"), "SEARCH a USING PRIMARY KEY (owner=?)"),
        (start.clone(), "SEARCH a USING PRIMARY KEY (owner=? AND seq>?)"),
        (
            ArchiveQuery { last: true, ..start.clone() },
            "SEARCH a USING PRIMARY KEY (owner=? AND seq>?)",
        ),
        (
            ArchiveQuery { after: vec![7], ..start.clone() },
            "SEARCH a USING PRIMARY KEY (owner=? AND seq>?)",
        ),
        (
            ArchiveQuery { with: Some(jid("b@d")), last: true, ..start.clone() },
            "SEARCH a USING COVERING INDEX archive_peer (owner=? AND peer=? AND seq>?)",
        ),
        (
            ArchiveQuery { with: Some(jid("b@d/x")), ..start },
            "SEARCH a USING INDEX archive_peer (owner=? AND peer=? AND seq>?)",
        ),
    ];
    for (query, expected) in table {
        let filter = read::page_filter(&query).unwrap();
        let sql = format!("EXPLAIN QUERY PLAN {}", filter.sql);
        let rows = sqlx::query_with(sqlx::AssertSqlSafe(sql), filter.arguments)
            .fetch_all(&store.readers)
            .await
            .unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.try_get(3).unwrap()).collect();
        assert!(plan.iter().any(|step| step == expected), "{expected} in {plan:?}");
        assert!(
            plan.iter().any(|step| step == "SEARCH b USING INTEGER PRIMARY KEY (rowid=?)"),
            "{plan:?}"
        );
        assert!(!plan.iter().any(|s| s.contains("SCAN") || s.contains("TEMP B-TREE")), "{plan:?}");
    }
}

#[tokio::test]
async fn a_second_sending_is_recognised_in_the_same_commit_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let send = |store: &Store| store.append(once("a@d/x", "b@d", "x", "o1"));
    let sent: Vec<_> = (0..10).map(|_| send(&store)).collect();
    let stored = futures_util::future::try_join_all(sent).await.unwrap();
    assert_eq!(stored.iter().filter(|s| !s.duplicate).count(), 1);
    assert!(stored.iter().all(|s| s.seq == stored[0].seq));
    let other = store.append(once("a@d/x", "c@d", "y", "o1")).await.unwrap();
    assert!(!other.duplicate && other.seq > stored[0].seq);
    store.close().await;
    let store = open(dir.path()).await;
    let again = send(&store).await.unwrap();
    assert_eq!((again.seq, again.duplicate), (stored[0].seq, true));
    assert_eq!(bodies(&page(&store, &all("b@d")).await), ["x"]);
}

#[tokio::test]
async fn places_go_on_after_a_restart_and_are_never_given_twice() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let first = store.append(entry("a@d/x", "b@d", "1")).await.unwrap().seq;
    store.forget_archive(jid("a@d")).await.unwrap();
    store.forget_archive(jid("b@d")).await.unwrap();
    store.close().await;
    let store = open(dir.path()).await;
    assert!(store.appends.last() >= first);
    assert!(store.append(entry("a@d/x", "b@d", "2")).await.unwrap().seq > first);
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_power_cut_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut acknowledged = 0;
    for round in 0..10 {
        let sent = (0..50).map(|n| {
            let name = format!("{round}-{n}");
            store.append(once("a@d/x", "b@d", &name, &name))
        });
        acknowledged += futures_util::future::try_join_all(sent).await.unwrap().len();
        // The store stays open and is not told: only what is in the files counts.
        let (_copy, restored) = after_power_cut(dir.path()).await;
        for owner in ["a@d", "b@d"] {
            assert_eq!(page(&restored, &all(owner)).await.messages.len(), acknowledged);
        }
        // The client that heard nothing sends all once more.
        let again = (0..50).map(|n| {
            let name = format!("{round}-{n}");
            restored.append(once("a@d/x", "b@d", &name, &name))
        });
        let again = futures_util::future::try_join_all(again).await.unwrap();
        assert!(again.iter().all(|stored| stored.duplicate));
    }
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_what_was_promised_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.append(entry("a@d/x", "b@d", "first")).await.unwrap();
    let pages = |limit: i64| {
        store.write(move |c| {
            Box::pin(async move {
                // The pragma is out of the transaction's reach, as a full disk is.
                let sql = format!("PRAGMA max_page_count = {limit}");
                sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(c).await?.try_get::<i64, _>(0)
            })
        })
    };
    pages(1).await.unwrap();
    let mut acknowledged = vec!["first".to_owned()];
    let refused = loop {
        let name = format!("{}-{}", acknowledged.len(), "x".repeat(2_000));
        match store.append(entry("a@d/x", "b@d", &name)).await {
            Ok(_) => acknowledged.push(name),
            Err(StoreError::Unavailable(_)) => break name,
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    // What was acknowledged is not shown as if it were not there.
    assert!(Archive::page(&store, &all("a@d")).await.is_err());
    let (_copy, restored) = after_power_cut(dir.path()).await;
    for owner in ["a@d", "b@d"] {
        assert_eq!(bodies(&page(&restored, &all(owner)).await), acknowledged);
    }
    // With room again it goes on, on the same connection.
    pages(1_000_000).await.unwrap();
    while store.append(entry("a@d/x", "b@d", &refused)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    acknowledged.push(refused);
    assert_eq!(bodies(&page(&store, &all("b@d")).await), acknowledged);
    let (_copy, restored) = after_power_cut(dir.path()).await;
    assert_eq!(bodies(&page(&restored, &all("a@d")).await), acknowledged);
}

#[tokio::test]
async fn a_tombstone_takes_the_place_in_both_archives() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for name in ["1", "2", "3"] {
        store.append(entry("a@d/x", "b@d", name)).await.unwrap();
    }
    store.append(entry("a@d/x", "c@d", "2")).await.unwrap();
    let found = store.find(&jid("a@d"), &jid("b@d"), "2").await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(store.find(&jid("a@d"), &jid("b@d"), "4").await.unwrap().is_empty());
    store.replace(found[0].seq, "<message><body>gone</body></message>".into()).await.unwrap();
    for owner in ["a@d", "b@d"] {
        let page = page(&store, &ArchiveQuery { max: 3, ..all(owner) }).await;
        assert_eq!(bodies(&page), ["1", "gone", "3"]);
        assert_eq!(page.messages[1].seq, found[0].seq);
    }
}

#[tokio::test]
async fn what_is_too_old_goes_from_the_oldest_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for n in 0..1_100 {
        store.append(entry("a@d/x", "b@d", &n.to_string())).await.unwrap();
    }
    assert_eq!(store.forget_older(Duration::from_secs(3_600)).await.unwrap(), 0);
    let limit = page(&store, &all("a@d")).await.messages[1_050].seq;
    let age = chrono::Utc::now().timestamp_micros() - limit;
    let gone = store.forget_older(Duration::from_micros(age.unsigned_abs())).await.unwrap();
    // Time goes on between the two looks at the clock.
    assert!((2_100..=2_200).contains(&gone), "{gone}");
    let left = page(&store, &all("b@d")).await;
    assert_eq!(left.messages.len() as u64, 1_100 - gone / 2);
    assert_eq!(bodies(&left).last().map(String::as_str), Some("1099").filter(|_| gone < 2_200));
}

#[tokio::test]
async fn a_removed_account_takes_its_archive_and_leaves_that_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ana = jid("a@d");
    let password = NewPassword::derive(&ana, "p", b"salt", 100);
    store.add_account(&ana, password).await.unwrap();
    for n in 0..600 {
        store.append(entry("a@d/x", "b@d", &n.to_string())).await.unwrap();
    }
    store.append(entry("a@d/x", "a@d", "note")).await.unwrap();
    let prefs = ArchivePrefs { habit: Habit::Roster, always: vec![jid("b@d")], never: Vec::new() };
    store.set_prefs(&ana, &prefs).await.unwrap();
    assert_eq!(store.prefs(&ana).await.unwrap(), prefs);
    assert!(store.remove_account(&ana).await.unwrap());
    assert!(page(&store, &all("a@d")).await.messages.is_empty());
    assert_eq!(page(&store, &all("b@d")).await.messages.len(), 600);
    assert_eq!(store.prefs(&ana).await.unwrap(), ArchivePrefs::default());
    let count = sqlx::query("SELECT count(*) FROM bodies").fetch_one(&store.readers).await.unwrap();
    assert_eq!(count.try_get::<i64, _>(0).unwrap(), 600);
    // The other one goes too: nothing stays.
    store.forget(&jid("b@d")).await.unwrap();
    let count = sqlx::query("SELECT count(*) FROM bodies").fetch_one(&store.readers).await.unwrap();
    assert_eq!(count.try_get::<i64, _>(0).unwrap(), 0);
}

#[tokio::test]
async fn what_waits_is_a_mark_on_the_archive_or_a_body_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let bob = jid("b@d");
    let password = NewPassword::derive(&bob, "p", b"salt", 100);
    store.add_account(&bob, password).await.unwrap();
    let mut waiting = entry("a@d/x", "b@d", "1");
    waiting.rows[1].waits = true;
    let first = store.append(waiting).await.unwrap().seq;
    assert!(
        Offline::store(&store, &bob, "<message><body>2</body></message>".into()).await.unwrap()
    );
    let third = store.append(entry("a@d/x", "b@d", "3")).await.unwrap().seq;
    store.hold(&bob, third).await.unwrap();
    store.hold(&bob, third).await.unwrap();
    let kept = Offline::load(&store, &bob, usize::MAX).await.unwrap();
    assert_eq!(kept.iter().map(|k| k.archived).collect::<Vec<_>>(), [true, false, true]);
    assert!(kept.is_sorted_by_key(|k| k.seq));
    // What was read in the archive is forgotten, what is only here is not.
    store.discard(&bob, first).await.unwrap();
    assert_eq!(Offline::load(&store, &bob, usize::MAX).await.unwrap().len(), 2);
    let ids: Vec<Seq> = kept.iter().map(|k| k.seq).collect();
    Offline::delete(&store, &bob, &ids).await.unwrap();
    assert!(Offline::load(&store, &bob, usize::MAX).await.unwrap().is_empty());
    assert_eq!(bodies(&page(&store, &all("b@d")).await), ["1", "3"]);
    // Only given in pieces.
    for n in 0..MAX_WAITING + 5 {
        let mut entry = entry("a@d/x", "b@d", &n.to_string());
        entry.rows[1].waits = true;
        store.append(entry).await.unwrap();
    }
    assert_eq!(Offline::load(&store, &bob, usize::MAX).await.unwrap().len(), MAX_WAITING);
    // Nor more bytes at once than are asked for, but one message always.
    for (bytes, expected) in [(1, 1), (200, 4), (0, 0)] {
        let kept = Offline::load(&store, &bob, bytes).await.unwrap();
        assert_eq!(kept.len(), expected, "{bytes}");
    }
}

/// Nobody makes the server read more of large messages into memory than fits a page.
#[tokio::test]
async fn a_page_has_so_many_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let body = |n: usize| format!("{n}{}", "x".repeat(1_000));
    for n in 0..10 {
        store.append(entry("a@d/x", "b@d", &body(n))).await.unwrap();
    }
    let query = ArchiveQuery { max_bytes: 7_000, count: true, ..all("a@d") };
    let first = page(&store, &query).await;
    assert_eq!(bodies(&first), [body(0), body(1), body(2)]);
    assert_eq!((first.complete, first.count, first.index), (false, Some(10), Some(0)));
    let last = page(&store, &ArchiveQuery { last: true, ..query.clone() }).await;
    assert_eq!(bodies(&last), [body(7), body(8), body(9)]);
    assert_eq!((last.complete, last.index), (false, Some(7)));
    let one = page(&store, &ArchiveQuery { max_bytes: 1, ..query.clone() }).await;
    assert_eq!((one.messages.len(), one.complete), (1, false));
    let rest = ArchiveQuery { after: vec![first.messages[2].seq], max: 2, ..query };
    assert_eq!(bodies(&page(&store, &rest).await), [body(3), body(4)]);
}

#[tokio::test]
async fn what_came_back_is_noted_until_it_is_sent_again_or_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let first = store.append(once("a@d", "b@d", "1", "o")).await.unwrap().seq;
    for (returned, before) in [(false, false), (true, false), (true, true)] {
        assert_eq!(store.set_returned(first, returned).await.unwrap(), before);
    }
    store.close().await;
    let store = open(dir.path()).await;
    let again = store.append(once("a@d", "b@d", "1", "o")).await.unwrap();
    assert_eq!(again, Stored { seq: first, duplicate: true });
    assert!(store.set_returned(first, false).await.unwrap());
    assert!(!store.set_returned(first, false).await.unwrap());
    store.set_returned(first, true).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2)).await;
    store.forget_older(Duration::from_millis(1)).await.unwrap();
    assert!(!store.set_returned(first, false).await.unwrap());
}
