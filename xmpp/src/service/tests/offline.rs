//! XEP-0160 with everything that can happen while the store is being asked.

use std::sync::Mutex;

use tokio::sync::Semaphore;

use super::*;
use crate::ports::{
    Archive, ArchivePrefs, ArchiveQuery, Archived, BoxFuture, Entry, Kept, Offline, Page, Seq,
    StoreError, Stored,
};
use bytes::Bytes;

/// A store whose commits wait to be let through.
struct Slow {
    store: Arc<MemoryStore>,
    commits: Arc<Semaphore>,
    deletes: Semaphore,
    held: Arc<Mutex<usize>>,
}

impl Slow {
    async fn pass(&self, gate: &Semaphore) {
        *self.held.lock().unwrap() += 1;
        gate.acquire().await.unwrap().forget();
    }

    /// Until somebody waits at a gate.
    async fn reached(&self, count: usize) {
        while *self.held.lock().unwrap() < count {
            tokio::task::yield_now().await;
        }
    }
}

impl Offline for Slow {
    fn store<'a>(
        &'a self,
        owner: &'a Jid,
        stanza: Bytes,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            self.pass(&self.commits).await;
            self.store.store(owner, stanza).await
        })
    }

    fn hold<'a>(&'a self, owner: &'a Jid, seq: Seq) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.pass(&self.commits).await;
            self.store.hold(owner, seq).await
        })
    }

    fn discard<'a>(&'a self, owner: &'a Jid, up_to: Seq) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.store.discard(owner, up_to))
    }

    fn load<'a>(
        &'a self,
        owner: &'a Jid,
        bytes: usize,
    ) -> BoxFuture<'a, Result<Vec<Kept>, StoreError>> {
        Offline::load(&*self.store, owner, bytes)
    }

    fn delete<'a>(
        &'a self,
        owner: &'a Jid,
        ids: &'a [Seq],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.pass(&self.deletes).await;
            self.store.delete(owner, ids).await
        })
    }
}

impl Archive for Slow {
    fn append(&self, entry: Entry) -> BoxFuture<'static, Result<Stored, StoreError>> {
        let (store, commits, held) = (self.store.clone(), self.commits.clone(), self.held.clone());
        Box::pin(async move {
            *held.lock().unwrap() += 1;
            commits.acquire().await.unwrap().forget();
            store.append(entry).await
        })
    }

    fn page<'a>(
        &'a self,
        query: &'a ArchiveQuery,
    ) -> BoxFuture<'a, Result<Option<Page>, StoreError>> {
        self.store.page(query)
    }

    fn find<'a>(
        &'a self,
        owner: &'a Jid,
        peer: &'a Jid,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Archived>, StoreError>> {
        self.store.find(owner, peer, name)
    }

    fn replace(&self, seq: Seq, stanza: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.replace(seq, stanza)
    }

    fn set_returned(&self, seq: Seq, returned: bool) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.store.set_returned(seq, returned)
    }

    fn forget<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<(), StoreError>> {
        self.store.forget(owner)
    }

    fn prefs<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<ArchivePrefs, StoreError>> {
        self.store.prefs(owner)
    }

    fn set_prefs<'a>(
        &'a self,
        owner: &'a Jid,
        prefs: &'a ArchivePrefs,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.store.set_prefs(owner, prefs)
    }
}

fn slow() -> (World, Arc<Slow>) {
    let store = store();
    let slow = Arc::new(Slow {
        store: store.clone(),
        commits: Arc::new(Semaphore::new(0)),
        deletes: Semaphore::new(0),
        held: Arc::default(),
    });
    let ports = Ports { offline: slow.clone(), archive: slow.clone(), ..ports(&store) };
    (World::with(store, ports), slow)
}

#[tokio::test]
async fn a_message_whose_commit_comes_after_the_owner_looked_is_given_at_once() {
    let (world, slow) = slow();
    let ana = world.online("ana@d/a").await;
    let kept = tokio::spawn(async move { ana.say(&chat("bob@d", "late")).await });
    slow.reached(1).await;
    let bob = world.online("bob@d/r").await;
    slow.commits.add_permits(1);
    assert_eq!(kept.await.unwrap(), Outcome::Stored);
    slow.deletes.add_permits(1);
    assert_eq!(bob.bodies().await, ["late"]);
    assert!(world.store.waiting(&jid("bob@d")).is_empty());
}

#[tokio::test]
async fn nothing_is_given_twice_while_its_deletion_is_under_way() {
    let (world, slow) = slow();
    slow.commits.add_permits(1);
    let ana = world.online("ana@d/a").await;
    ana.say(&chat("bob@d", "once")).await;
    let bob = Arc::new(world.bind("bob@d/r"));
    bob.say("<presence/>").await;
    let reading = tokio::spawn({
        let bob = bob.clone();
        async move { bob.bodies().await }
    });
    slow.reached(2).await;
    // Written, not deleted yet: the priority goes down and up again, and another device comes.
    bob.say("<presence><priority>-1</priority></presence>").await;
    let raised = tokio::spawn({
        let bob = bob.clone();
        async move { bob.say("<presence/>").await }
    });
    let other = Arc::new(world.bind("bob@d/other"));
    let came = tokio::spawn({
        let other = other.clone();
        async move { other.say("<presence/>").await }
    });
    tokio::task::yield_now().await;
    slow.deletes.add_permits(10);
    assert_eq!(reading.await.unwrap(), ["once"]);
    raised.await.unwrap();
    came.await.unwrap();
    assert!(bob.bodies().await.is_empty());
    assert!(other.bodies().await.is_empty());
}

#[tokio::test]
async fn raising_the_priority_before_the_client_has_read_repeats_nothing() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    ana.say(&chat("bob@d", "once")).await;
    let bob = world.bind("bob@d/r");
    bob.say("<presence/>").await;
    bob.say("<presence><priority>-1</priority></presence>").await;
    bob.say("<presence/>").await;
    assert_eq!(bob.bodies().await, ["once"]);
}

#[tokio::test]
async fn what_a_lost_client_did_not_read_goes_to_the_next_and_is_in_the_store_once() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    ana.say(&chat("bob@d", "once")).await;
    let lost = world.bind("bob@d/lost");
    lost.say("<presence/>").await;
    let other = world.online("bob@d/other").await;
    lost.lose().await;
    assert_eq!(world.store.waiting(&jid("bob@d")).len(), 1);
    assert_eq!(other.bodies().await, ["once"]);
    assert!(world.store.waiting(&jid("bob@d")).is_empty());
}

#[tokio::test]
async fn more_than_the_queue_takes_comes_in_pieces_and_in_order() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let body = "x".repeat(200_000);
    let expected: Vec<String> = (0..40).map(|n| format!("{n}-{body}")).collect();
    for body in &expected {
        ana.say(&chat("bob@d", body)).await;
    }
    let bob = world.bind("bob@d/r");
    bob.say("<presence/>").await;
    let mut got = Vec::new();
    loop {
        let bodies = bob.bodies().await;
        if bodies.is_empty() {
            break;
        }
        let bytes: usize = bodies.iter().map(String::len).sum();
        assert!(bytes < world.server.config().max_queued_bytes, "{bytes} at once");
        got.extend(bodies);
    }
    assert!(got == expected, "{} of {}", got.len(), expected.len());
    assert!(world.store.waiting(&jid("bob@d")).is_empty());
}

/// XEP-0203 section 4: what came late already says since when.
#[tokio::test]
async fn a_delay_that_is_there_stays() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let delay = "<delay xmlns='urn:xmpp:delay' from='far' stamp='2020-01-01T00:00:00Z'/>";
    for hint in ["store", "no-permanent-store"] {
        let more = format!("{delay}<{hint} xmlns='urn:xmpp:hints'/><body>");
        ana.say(&chat("bob@d", "x").replace("<body>", &more)).await;
    }
    let bob = world.bind("bob@d/r");
    bob.say("<presence/>").await;
    let got: Vec<_> = bob.read().await.into_iter().filter(|s| s.contains("<body>")).collect();
    assert_eq!(got.len(), 2);
    assert!(got.iter().all(|message| message.contains(delay)), "{got:?}");
}
