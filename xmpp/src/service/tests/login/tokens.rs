//! FAST (XEP-0484) with hashed tokens.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::*;

const NONE: &str = "HT-SHA-256-NONE";

fn mac(token: &str, role: &str, binding: &[u8]) -> Vec<u8> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(token.as_bytes()).unwrap();
    mac.update(role.as_bytes());
    mac.update(binding);
    mac.finalize().into_bytes().to_vec()
}

fn request(mechanism: &str) -> String {
    format!("{}<request-token xmlns='urn:xmpp:fast:0' mechanism='{mechanism}'/>", agent(DEVICE))
}

/// The token that was given with a success, if one was.
fn given(said: &str) -> Option<String> {
    let token = said.split_once("<token xmlns='urn:xmpp:fast:0'")?.1;
    assert!(between(token, "expiry='", "'").ends_with('Z'), "{said}");
    Some(between(token, " token='", "'").to_owned())
}

impl Logins {
    /// Logs in by password and asks for a token.
    async fn token(&self, mechanism: &str) -> String {
        let (mut client, _) = self.bound().await;
        given(&client.plain("ana", "secret", &request(mechanism)).await).unwrap()
    }

    /// Logs in by a token. `fast` are attributes of `<fast/>`, `parts` come beside it.
    async fn by_token(&self, mechanism: &str, token: &str, fast: &str, parts: &str) -> String {
        let (mut client, _) = self.bound().await;
        let binding: &[u8] = match mechanism {
            "HT-SHA-256-EXPR" => b"exported",
            "HT-SHA-256-ENDP" => b"hash",
            _ => b"",
        };
        let proof = mac(token, "Initiator", binding);
        let message = BASE64.encode([b"ana\0".as_slice(), &proof].concat());
        let parts = format!("{}<fast xmlns='urn:xmpp:fast:0'{fast}/>{parts}", agent(DEVICE));
        let said = client.authenticate(mechanism, &message, &parts).await;
        if said.contains("<success") {
            let data = between(&said, "<additional-data>", "</additional-data>");
            assert_eq!(BASE64.decode(data).unwrap(), mac(token, "Responder", binding));
        }
        said
    }
}

/// XEP-0484 sections 3.2 to 3.4, draft-schmaus-kitten-sasl-ht sections 3.1 to 3.3.
#[tokio::test]
async fn a_token_logs_in_again_by_its_mechanism_only() {
    let logins = Logins::new();
    let mechanisms = ["HT-SHA-256-EXPR", "HT-SHA-256-ENDP", NONE];
    for mechanism in mechanisms {
        let token = logins.token(mechanism).await;
        // More than a block of SHA-256, or the store could not keep its digest alone.
        assert!(token.len() > 64, "{token}");
        for other in mechanisms.iter().filter(|other| **other != mechanism) {
            let said = logins.by_token(other, &token, "", "").await;
            assert!(said.contains("<not-authorized"), "{mechanism} by {other}: {said}");
        }
        let said = logins.by_token(mechanism, &token, "", BIND).await;
        assert!(said.contains("<success") && said.contains("<bound"), "{said}");
        assert!(given(&said).is_none(), "not due: {said}");
    }
}

/// XEP-0484 section 3.2: only for a mechanism that was offered, and only to a client that says which it is.
#[tokio::test]
async fn no_token_is_given_that_could_not_be_used() {
    let logins = Logins::new();
    let nameless = format!("<request-token xmlns='urn:xmpp:fast:0' mechanism='{NONE}'/>");
    for parts in [request("PLAIN"), request("HT-SHA-256-ENDP"), nameless] {
        let (mut client, _) = logins.plain().await;
        let said = client.plain("ana", "secret", &parts).await;
        assert!(said.contains("<success") && given(&said).is_none(), "{said}");
    }
    // The old profile has no tokens.
    let (mut client, _) = logins.plain().await;
    let said = client
        .say(&format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{NONE}'>YQ==</auth>"
        ))
        .await;
    assert!(said.contains("<invalid-mechanism"), "{said}");
    assert_eq!(logins.store.tokens().count(), 0);
}

/// XEP-0484 section 4.1, and 3.4: `<fast/>` says that a token is used.
#[tokio::test]
async fn a_token_belongs_to_its_device_and_its_account() {
    let logins = Logins::new();
    let token = logins.token(NONE).await;
    let proof = mac(&token, "Initiator", b"");
    let message = |name: &str| BASE64.encode([name.as_bytes(), b"\0", &proof].concat());
    let fast = "<fast xmlns='urn:xmpp:fast:0'/>";
    let other = agent("00000000-4d72-4749-b3d3-740edbf87770");
    for (name, parts, condition) in [
        ("bob", format!("{}{fast}", agent(DEVICE)), "not-authorized"),
        ("nobody", format!("{}{fast}", agent(DEVICE)), "not-authorized"),
        ("a b", format!("{}{fast}", agent(DEVICE)), "not-authorized"),
        ("ana", format!("{other}{fast}"), "not-authorized"),
        ("ana", fast.to_owned(), "malformed-request"),
        ("ana", agent(DEVICE), "malformed-request"),
        ("ana", format!("{}{fast}", agent(DEVICE)), "success"),
    ] {
        let (mut client, _) = logins.plain().await;
        let said = client.authenticate(NONE, &message(name), &parts).await;
        assert!(said.contains(&format!("<{condition}")), "{name} {parts}: {said}");
    }
}

/// XEP-0484 section 3.5: the old one is good until the new one is used.
#[tokio::test]
async fn a_token_that_grows_old_is_replaced_without_a_gap() {
    let logins = Logins::new();
    let old = logins.token(NONE).await;
    assert!(given(&logins.by_token(NONE, &old, "", "").await).is_none());
    logins.store.tokens().wait_days(11);
    let lost = given(&logins.by_token(NONE, &old, "", "").await).unwrap();
    // The client never got that one: it comes back with the old one and is given another.
    let new = given(&logins.by_token(NONE, &old, "", "").await).unwrap();
    assert!(logins.by_token(NONE, &lost, "", "").await.contains("<not-authorized"));
    assert_eq!(logins.store.tokens().count(), 2);
    assert!(logins.by_token(NONE, &new, "", "").await.contains("<success"));
    assert!(logins.by_token(NONE, &old, "", "").await.contains("<not-authorized"));
    assert_eq!(logins.store.tokens().count(), 1);
}

/// XEP-0484 section 4.2.
#[tokio::test]
async fn a_token_that_is_out_of_date_says_so_and_the_password_helps() {
    let logins = Logins::new();
    let token = logins.token(NONE).await;
    logins.store.tokens().wait_days(20);
    let said = logins.by_token(NONE, &token, "", "").await;
    assert!(said.contains("<credentials-expired"), "{said}");
    // Whoever has not the token is not told.
    let said = logins.by_token(NONE, &"x".repeat(80), "", "").await;
    assert!(said.contains("<not-authorized"), "{said}");
    logins.token(NONE).await;
}

/// XEP-0484 section 3.6.
#[tokio::test]
async fn a_token_can_be_given_back() {
    let logins = Logins::new();
    let token = logins.token(NONE).await;
    logins.store.tokens().wait_days(11);
    let said = logins.by_token(NONE, &token, " invalidate='true'", "").await;
    assert!(said.contains("<success") && given(&said).is_none(), "{said}");
    assert!(logins.by_token(NONE, &token, "", "").await.contains("<not-authorized"));
    // A new one only for who asks for it.
    let token = logins.token(NONE).await;
    let ask = format!("<request-token xmlns='urn:xmpp:fast:0' mechanism='{NONE}'/>");
    let said = logins.by_token(NONE, &token, " invalidate='1'", &ask).await;
    let next = given(&said).unwrap();
    assert!(logins.by_token(NONE, &token, "", "").await.contains("<not-authorized"));
    assert!(logins.by_token(NONE, &next, "", "").await.contains("<success"));
}

/// XEP-0484 section 3.4: a count that was seen is a replay.
#[tokio::test]
async fn a_use_that_was_counted_does_not_count_again() {
    let logins = Logins::new();
    let token = logins.token(NONE).await;
    for (count, right) in [(1, true), (1, false), (0, false), (7, true), (6, false), (8, true)] {
        let said = logins.by_token(NONE, &token, &format!(" count='{count}'"), "").await;
        assert_eq!(said.contains("<success"), right, "{count}: {said}");
    }
}

/// A password that was changed may have been known to somebody: tokens go with it.
#[tokio::test]
async fn a_new_password_ends_every_token() {
    let logins = Logins::new();
    let token = logins.token(NONE).await;
    logins.server.ports().passwords.set_password(&jid("ana@d"), "secret").await.unwrap();
    assert!(logins.by_token(NONE, &token, "", "").await.contains("<not-authorized"));
}
