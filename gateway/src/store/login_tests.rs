//! Credentials and login tokens: the same promises in memory and on disk, old rows and new ones.

use std::time::{Duration, Instant};

use tandem_xmpp::ports::memory::MemoryStore;
use tandem_xmpp::ports::{LoginTokens, Passwords};
use tandem_xmpp::stream::ht::{TokenKey, TokenMechanism};
use tandem_xmpp::stream::sasl::{ScramHash, ScramKeys};

use super::*;
use crate::accounts::StoredAccounts;
use crate::config::Config;
use crate::guard::Guard;

const PHONE: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";
const LAPTOP: &str = "e4565fa7-4d72-4749-b3d3-740edbf87771";
const KIND: TokenMechanism = TokenMechanism::Unbound;

fn jid(text: &str) -> tandem_xmpp::jid::Jid {
    tandem_xmpp::jid::Jid::parse(text).unwrap()
}

async fn accounts(store: &Store) -> StoredAccounts {
    let mut config = Config::default();
    config.xmpp.scram_iterations = 10;
    StoredAccounts::new(store.clone(), Arc::new(Guard::default()), &config).await.unwrap()
}

/// XEP-0484 sections 3.4 to 3.6.
async fn tokens_take_turns(tokens: &dyn LoginTokens, passwords: &dyn Passwords) {
    let ana = jid("ana@d");
    let issue = async |key: u8| tokens.issue(&ana, PHONE, KIND, TokenKey([key; 32])).await.unwrap();
    let load = async |device| {
        let mut stored = tokens.load(&ana, device).await.unwrap();
        stored.sort_by_key(|token| token.id);
        stored
    };
    let used = async |id, count| tokens.mark_used(&ana, PHONE, id, count, false).await.unwrap();
    issue(1).await;
    // One that was never used makes way; one in use stays until its successor is used.
    let expiry = issue(2).await;
    assert!(expiry.starts_with("20") && expiry.ends_with('Z'), "{expiry}");
    let first = load(PHONE).await;
    assert_eq!(first.len(), 1);
    assert_eq!((first[0].key, first[0].mechanism), (TokenKey([2; 32]), KIND));
    assert_eq!((first[0].expired, first[0].due), (false, false));
    assert!(used(first[0].id, Some(1)).await);
    assert!(load(LAPTOP).await.is_empty());
    // A count that was seen is a replay; without a count nothing is counted.
    assert!(!used(first[0].id, Some(1)).await);
    assert!(!used(first[0].id, Some(0)).await);
    assert!(used(first[0].id, None).await);
    assert!(!used(first[0].id, Some(1)).await);
    assert!(used(first[0].id, Some(2)).await);
    // Of another device, another account, or unknown.
    assert!(!tokens.mark_used(&ana, LAPTOP, first[0].id, None, false).await.unwrap());
    assert!(!tokens.mark_used(&jid("bob@d"), PHONE, first[0].id, None, false).await.unwrap());
    assert!(!used(first[0].id + 100, None).await);
    issue(3).await;
    assert_eq!(load(PHONE).await.len(), 2);
    assert!(used(first[0].id, None).await);
    tokens.issue(&ana, LAPTOP, KIND, TokenKey([9; 32])).await.unwrap();
    // All of the device go when it logs out; those of others stay.
    assert!(tokens.mark_used(&ana, PHONE, first[0].id, None, true).await.unwrap());
    assert!(load(PHONE).await.is_empty());
    assert_eq!(load(LAPTOP).await.len(), 1);
    // With another password all devices have to show it.
    assert!(passwords.set_password(&ana, "another").await.unwrap());
    assert!(load(LAPTOP).await.is_empty());
}

#[tokio::test]
async fn tokens_take_turns_in_memory_and_on_disk() {
    let memory = MemoryStore::with_accounts(&[&jid("ana@d"), &jid("bob@d")]);
    tokens_take_turns(&*memory.tokens(), &memory).await;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("tandem.db")).await.unwrap();
    let accounts = accounts(&store).await;
    assert!(accounts.create(&jid("ana@d"), "one").await.unwrap());
    assert!(!accounts.create(&jid("ana@d"), "two").await.unwrap());
    assert!(accounts.create(&jid("bob@d"), "one").await.unwrap());
    tokens_take_turns(&accounts, &accounts).await;
}

#[tokio::test]
async fn a_token_ages_outlives_a_restart_and_ends_its_predecessor() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tandem.db");
    let store = Store::open(&path).await.unwrap();
    let ana = jid("ana@d");
    accounts(&store).await.create(&ana, "one").await.unwrap();
    let life = Duration::from_millis(100);
    let key = TokenKey([1; 32]);
    assert_eq!(store.issue_login_token(&ana, PHONE, KIND, key, 1_000, life).await.unwrap(), 1_100);
    store.close().await;
    let store = Store::open(&path).await.unwrap();
    let at = async |now| {
        let stored = store.login_tokens(&ana, PHONE, now).await.unwrap();
        stored.iter().map(|t| (t.due, t.expired)).collect::<Vec<_>>()
    };
    assert_eq!(at(1_049).await, [(false, false)]);
    assert_eq!(at(1_050).await, [(true, false)]);
    assert_eq!(at(1_100).await, [(true, true)]);
    let first = store.login_tokens(&ana, PHONE, 1_000).await.unwrap()[0].id;
    assert!(store.use_login_token(&ana, PHONE, first, None, false).await.unwrap());
    store.issue_login_token(&ana, PHONE, KIND, TokenKey([2; 32]), 1_060, life).await.unwrap();
    let both = store.login_tokens(&ana, PHONE, 1_060).await.unwrap();
    assert_eq!(both.len(), 2);
    let next = both.iter().find(|t| t.id != first).unwrap().id;
    assert!(store.use_login_token(&ana, PHONE, next, None, false).await.unwrap());
    let left = store.login_tokens(&ana, PHONE, 1_060).await.unwrap();
    assert_eq!(left.iter().map(|t| t.id).collect::<Vec<_>>(), [next]);
    // No more than fifty devices have tokens, and none of an account that may not log in.
    for n in 0..60 {
        let device = format!("device-{n}");
        store.issue_login_token(&ana, &device, KIND, key, 1_070, life).await.unwrap();
    }
    assert!(store.login_tokens(&ana, "device-0", 1_070).await.unwrap().is_empty());
    assert_eq!(store.login_tokens(&ana, "device-59", 1_070).await.unwrap().len(), 1);
    tandem_xmpp::ports::Directory::set_disabled(&store, &ana, true).await.unwrap();
    assert!(store.login_tokens(&ana, "device-59", 1_070).await.unwrap().is_empty());
    assert!(store.password_keys(&ana, Instant::now()).await.unwrap().is_none());
}

/// A password that was set before SHA-512 came, and one from before SHA-256: they log in with what they have.
#[tokio::test]
async fn old_credentials_keep_their_keys_and_get_the_missing_ones() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("tandem.db")).await.unwrap();
    let ana = jid("ana@d");
    accounts(&store).await.create(&ana, "one").await.unwrap();
    let strip = "UPDATE credentials SET sha256_stored = NULL, sha256_server = NULL, \
        sha512_stored = NULL, sha512_server = NULL";
    store.write(move |c| Box::pin(sqlx::query(strip).execute(c))).await.map(|_| ()).unwrap();
    store.forget_keys(&ana);
    let accounts = accounts(&store).await;
    assert!(!accounts.covers(ScramHash::Sha512) && accounts.covers(ScramHash::Sha256));
    let keys = store.password_keys(&ana, Instant::now()).await.unwrap().unwrap();
    assert!(keys.sha1.as_ref().unwrap().verify(ScramHash::Sha1, "one"));
    assert!(keys.sha256.is_none() && keys.sha512.is_none());
    let (salt, iterations) = keys.salt().unwrap();
    for hash in [ScramHash::Sha256, ScramHash::Sha512] {
        let fresh = ScramKeys::derive(hash, "one", salt, iterations);
        assert!(accounts.upgrade(&ana, hash, fresh.clone()).await.unwrap());
        // What is there is not replaced.
        assert!(!accounts.upgrade(&ana, hash, fresh).await.unwrap());
    }
    let keys = store.password_keys(&ana, Instant::now()).await.unwrap().unwrap();
    for hash in ScramHash::ALL {
        assert!(keys.of(hash).unwrap().verify(hash, "one"), "{hash:?}");
    }
    assert!(accounts.covers(ScramHash::Sha512));
}
