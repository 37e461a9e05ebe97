//! What was acknowledged is there: after a restart, and in a copy of the files as they stand on disk.

use std::time::Instant;

use bytes::Bytes;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{Offline, RosterItem, Rosters};
use tandem_xmpp::stream::sasl::ScramHash;

use super::*;

fn password(account: &Jid, text: &str) -> NewPassword {
    NewPassword::derive(account, text, b"salt", 100)
}

async fn open(dir: &Path) -> Store {
    Store::open(&dir.join("tandem.db")).await.unwrap()
}

fn message(n: usize) -> Bytes {
    format!("<message from='b@d/x' to='a@d'><body>{n}</body></message>").into()
}

#[tokio::test]
async fn an_account_can_be_made_once_changed_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ana = Jid::parse("ana@localhost").unwrap();
    store.add_account(&ana, password(&ana, "one")).await.unwrap();
    let again = store.add_account(&ana, password(&ana, "two")).await;
    assert!(matches!(again, Err(StoreError::Conflict)));
    let keys = store.password_keys(&ana, Instant::now()).await.unwrap().unwrap();
    for hash in ScramHash::ALL {
        assert!(keys.of(hash).unwrap().verify(hash, "one"));
    }

    assert!(store.set_password(&ana, password(&ana, "two")).await.unwrap());
    // A change counts at once, though the old keys were remembered.
    let keys = store.password_keys(&ana, Instant::now()).await.unwrap().unwrap();
    assert!(keys.of(ScramHash::Sha256).unwrap().verify(ScramHash::Sha256, "two"));
    assert_eq!(store.accounts().await.unwrap(), ["ana@localhost"]);
    let (md5, _) = store.digest_ha1(&ana).await.unwrap().unwrap();
    assert_eq!(md5, "cc66c981327f6470cde136cb4faf7f02");

    assert!(store.remove_account(&ana).await.unwrap());
    assert!(!store.account_exists(&ana).await.unwrap());
    assert!(!store.set_password(&ana, password(&ana, "x")).await.unwrap());
}

#[tokio::test]
async fn the_files_on_disk_hold_every_acknowledged_write() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ana = Jid::parse("a@d").unwrap();
    store.add_account(&ana, password(&ana, "p")).await.unwrap();
    for n in 0..20 {
        assert!(Offline::store(&store, &ana, message(n)).await.unwrap());
        // The store stays open and is not told: only what is in the files counts.
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            if !entry.file_name().to_string_lossy().ends_with("-shm") {
                std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
            }
        }
        let restored = open(copy.path()).await;
        assert_eq!(Offline::load(&restored, &ana, usize::MAX).await.unwrap().len(), n + 1);
    }
}

#[tokio::test]
async fn many_writers_share_commits_and_one_failure_is_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ana = Jid::parse("a@d").unwrap();
    store.add_account(&ana, password(&ana, "p")).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..200 {
        let (store, ana) = (store.clone(), ana.clone());
        tasks.spawn(async move {
            if n % 10 == 0 {
                store.add_account(&ana, password(&ana, "p")).await.is_err()
            } else {
                Offline::store(&store, &ana, message(n)).await.unwrap()
            }
        });
    }
    assert!(tasks.join_all().await.into_iter().all(|ok| ok));
    let waiting = Offline::load(&store, &ana, usize::MAX).await.unwrap();
    assert_eq!(waiting.len(), 180);
    let ids: Vec<i64> = waiting.iter().map(|kept| kept.seq).take(100).collect();
    Offline::delete(&store, &ana, &ids).await.unwrap();
    assert_eq!(Offline::load(&store, &ana, usize::MAX).await.unwrap().len(), 80);
}

#[tokio::test]
async fn a_box_takes_no_more_than_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ana = Jid::parse("a@d").unwrap();
    store.add_account(&ana, password(&ana, "p")).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..1_010 {
        let (store, ana) = (store.clone(), ana.clone());
        tasks.spawn(async move { Offline::store(&store, &ana, message(n)).await.unwrap() });
    }
    let kept = tasks.join_all().await.into_iter().filter(|kept| *kept).count();
    assert_eq!(kept, 1_000);
}

#[tokio::test]
async fn rosters_come_back_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (Jid::parse("a@d").unwrap(), Jid::parse("b@d").unwrap());
    let mut item = RosterItem::new(b.clone());
    item.name = Some("Bea".into());
    item.groups = vec!["Family".into(), "Ärzte".into()];
    item.to = true;
    {
        let store = open(dir.path()).await;
        store.add_account(&a, password(&a, "p")).await.unwrap();
        store.put(&a, &item).await.unwrap();
        store.keep_request(&a, &b, "<presence type='subscribe'/>".into()).await.unwrap();
        store.close().await;
    }
    let store = open(dir.path()).await;
    let roster = Rosters::load(&store, &a).await.unwrap();
    assert_eq!(roster.items, [item]);
    assert_eq!(roster.pending_in, std::slice::from_ref(&b));
    let requests = store.requests(&a).await.unwrap();
    assert_eq!(requests, [(b.clone(), "<presence type='subscribe'/>".into())]);
    store.set_pending_in(&a, &b, false).await.unwrap();
    let version = roster.version + 1;
    Rosters::remove(&store, &a, &b, version).await.unwrap();
    let empty = Rosters::load(&store, &a).await.unwrap();
    assert!(empty.items.is_empty() && empty.pending_in.is_empty());
    assert_eq!((empty.version, empty.removed), (version, vec![(version, b)]));
}

fn binding(account: &str, port: u16) -> Arc<tandem_sip::ports::Binding> {
    let peer = ([127, 0, 0, 1], port).into();
    Arc::new(tandem_sip::ports::Binding {
        id: format!("phone-{port}"),
        account: account.into(),
        contact: format!("sip:a@127.0.0.1:{port}"),
        instance: Some("urn:uuid:1".into()),
        reg_id: None,
        path: vec!["<sip:192.0.2.9;lr>".into()],
        features: None,
        has_gruu: true,
        q: 500,
        call_id: "c".into(),
        cseq: 7,
        registered_at: 1_799_999_000,
        expires_at: 1_800_000_000,
        flow: tandem_sip::ports::Flow {
            protocol: tandem_sip::ports::Protocol::Tls,
            socket: 3,
            peer,
            local: peer,
        },
        user_agent: None,
    })
}

/// What the disk holds when a save returns is what a power cut leaves: the files are copied then, as they are.
#[tokio::test]
async fn registrations_and_call_records_are_on_disk_when_they_are_promised() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let two = [binding("a@d", 5060), binding("a@d", 5061)];
    store.save_bindings("a@d", &two).await.unwrap();
    store.save_bindings("b@d", &[binding("b@d", 5062)]).await.unwrap();
    store.save_bindings("b@d", &[]).await.unwrap();
    let record = CallRecord {
        caller: Jid::parse("a@d").unwrap(),
        callee: Jid::parse("b@d").unwrap(),
        started: 1,
        answered: Some(2),
        ended: 3,
        result: "hung up".into(),
        legs: "[]".into(),
    };
    store.keep_calls(vec![record.clone()]).await.unwrap();
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        // The index of the write-ahead log is in memory; a machine that loses power loses it.
        if !path.to_string_lossy().ends_with("-shm") {
            std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let restored = open(copy.path()).await;
    assert_eq!(restored.bindings().await.unwrap(), two.map(|binding| (*binding).clone()));
    assert_eq!(restored.calls(10).await.unwrap(), [record]);
}

#[tokio::test]
async fn what_lasts_longer_is_kept_soon_and_never_over_what_is_newer() {
    let dir = tempfile::tempdir().unwrap();
    let last = |cseq: u32| {
        Arc::new(tandem_sip::ports::Binding { cseq, ..(*binding("a@d", 5060)).clone() })
    };
    let store = open(dir.path()).await;
    store.save_bindings("a@d", &[last(1)]).await.unwrap();
    store.save_bindings_later("a@d", &[last(2)]);
    store.save_bindings_later("a@d", &[last(3)]);
    let cseq = || async { store.bindings().await.unwrap().first().map(|binding| binding.cseq) };
    let mut turns = 0;
    while cseq().await != Some(3) {
        turns += 1;
        assert!(turns < 500, "it was not kept");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // The phone leaves while a longer time waits to be kept.
    store.save_bindings_later("a@d", &[last(4)]);
    store.save_bindings("a@d", &[]).await.unwrap();
    // And what waits when the store closes is kept.
    store.save_bindings_later("b@d", &[binding("b@d", 5062)]);
    store.close().await;
    let store = open(dir.path()).await;
    assert_eq!(store.bindings().await.unwrap(), [(*binding("b@d", 5062)).clone()]);
}
