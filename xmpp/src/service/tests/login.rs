//! Logins from the client's end, over in-memory ports: both profiles of SASL, Bind 2, tokens, upgrades.

mod scram;
mod tokens;

use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{jid, ports, store};
use crate::config::Config;
use crate::jid::Jid;
use crate::ports::Outbox;
use crate::ports::memory::{MemoryBearerTokens, MemoryOutbox, MemoryStore};
use crate::service::{Ports, Server};
use crate::stanza::Stanza;
use crate::stream::binding::Bindings;
use crate::stream::c2s::{Action, C2s, Limits, Secured, Transport};
use crate::stream::sasl::ScramHash;

pub(super) const DEVICE: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";
const SASL2: &str = "urn:xmpp:sasl:2";

/// A server and its accounts `ana`, `bob` and `carl`, whose password is `secret`.
pub(super) struct Logins {
    pub(super) store: Arc<MemoryStore>,
    server: Server,
}

/// A client's stream.
pub(super) struct Client {
    server: Server,
    machine: C2s,
    now: Instant,
    pub(super) outbox: Arc<MemoryOutbox>,
    pub(super) closed: bool,
    /// How the logins ended that count.
    pub(super) counted: Vec<bool>,
    stanzas: Vec<Stanza>,
}

impl Logins {
    pub(super) fn new() -> Self {
        let store = store();
        let ports = ports(&store);
        Self::with(store, ports)
    }

    fn with(store: Arc<MemoryStore>, ports: Ports) -> Self {
        let config =
            Config { domains: vec!["d".into()], scram_iterations: 10, ..Config::default() };
        Self { store, server: Server::new(config, ports) }
    }

    fn client(&self, transport: Transport, secured: Secured) -> Client {
        let (limits, now) = (Limits::default(), Instant::now());
        let seed = self.server.ports().accounts.random();
        let machine = C2s::new(transport, vec!["d".into()], limits, secured, seed, now)
            .with_policy(self.server.login_policy());
        let (server, outbox) = (self.server.clone(), MemoryOutbox::new());
        Client {
            server,
            machine,
            now,
            outbox,
            closed: false,
            counted: Vec::new(),
            stanzas: Vec::new(),
        }
    }

    /// A client behind TLS with both channel bindings, which has seen the features.
    pub(super) async fn bound(&self) -> (Client, String) {
        let bindings =
            Bindings { exporter: Some(b"exported".to_vec()), end_point: Some(b"hash".to_vec()) };
        let secured = Secured { bindings, identities: Vec::new() };
        let mut client = self.client(Transport::Tls, secured);
        let features = client.say(&header("")).await;
        (client, features)
    }

    /// A client without channel bindings.
    pub(super) async fn plain(&self) -> (Client, String) {
        let mut client = self.client(Transport::Tls, Secured::default());
        let features = client.say(&header("")).await;
        (client, features)
    }
}

pub(super) fn header(from: &str) -> String {
    format!(
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
         to='d' version='1.0'{from}>"
    )
}

impl Client {
    /// Sends text and gives what the server says to it.
    pub(super) async fn say(&mut self, text: &str) -> String {
        self.machine.handle_bytes(text.as_bytes(), self.now);
        let mut said = String::new();
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Send(bytes) => said.push_str(std::str::from_utf8(&bytes).unwrap()),
                Action::Ask(question) => {
                    let answer = self.server.answer_login(*question).await;
                    self.machine.handle_answer(answer, self.now);
                }
                Action::LoggedIn(success) => self.counted.push(success),
                Action::BindInline { bind, device } => {
                    let account = self.machine.account().unwrap().clone();
                    let outbox: Arc<dyn Outbox> = self.outbox.clone();
                    let random = self.server.ports().accounts.random();
                    let made_up = format!("r{}", random[31]);
                    let bound = self.server.bind_inline(
                        &account,
                        &bind,
                        device.as_deref(),
                        &made_up,
                        outbox,
                    );
                    let (jid, parts) = bound.await.unwrap();
                    self.machine.handle_bound_inline(jid, parts, self.now);
                }
                Action::Close { last, .. } => {
                    said.push_str(std::str::from_utf8(&last).unwrap());
                    self.closed = true;
                }
                Action::Manage(_) | Action::Active(_) => {}
                Action::Stanza(stanza) => self.stanzas.push(*stanza),
                action => panic!("{action:?}"),
            }
        }
        said
    }

    pub(super) fn jid(&self) -> Option<&Jid> {
        self.machine.jid()
    }

    /// `<authenticate/>` by PLAIN as `name`, with these parts more.
    pub(super) async fn plain(&mut self, name: &str, password: &str, parts: &str) -> String {
        let message = BASE64.encode(format!("\0{name}\0{password}"));
        self.authenticate("PLAIN", &message, parts).await
    }

    pub(super) async fn authenticate(
        &mut self,
        mechanism: &str,
        initial: &str,
        parts: &str,
    ) -> String {
        self.say(&format!(
            "<authenticate xmlns='{SASL2}' mechanism='{mechanism}'>\
             <initial-response>{initial}</initial-response>{parts}</authenticate>"
        ))
        .await
    }
}

/// What stands between two marks.
pub(super) fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let rest = text.split_once(from).unwrap_or_else(|| panic!("no {from} in {text}")).1;
    rest.split_once(to).unwrap_or_else(|| panic!("no {to} in {text}")).0
}

pub(super) fn agent(device: &str) -> String {
    format!("<user-agent id='{device}'><software>Story</software></user-agent>")
}

const BIND: &str = "<bind xmlns='urn:xmpp:bind:0'><tag>Phone</tag></bind>";

/// XEP-0388 sections 2.1 and 3: never without TLS, with what goes inline.
#[tokio::test]
async fn sasl2_is_offered_behind_tls_only_with_what_goes_inline() {
    let logins = Logins::new();
    let mut clear = logins.client(Transport::Tcp, Secured::default());
    let features = clear.say(&header("")).await;
    assert!(features.contains("<required/>") && !features.contains(SASL2), "{features}");
    let said = clear.plain("ana", "secret", "").await;
    assert!(said.contains("<not-authorized") && clear.closed, "{said}");

    let (_, features) = logins.bound().await;
    let offer = between(&features, "<authentication", "</authentication>");
    for part in [
        "<mechanism>SCRAM-SHA-512-PLUS</mechanism>",
        "<mechanism>PLAIN</mechanism>",
        "<inline><bind xmlns='urn:xmpp:bind:0'><inline><feature var='urn:xmpp:carbons:2'/>",
        "<mechanism>HT-SHA-256-EXPR</mechanism><mechanism>HT-SHA-256-ENDP</mechanism>\
         <mechanism>HT-SHA-256-NONE</mechanism></fast>",
        "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-512</upgrade>",
        "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>",
    ] {
        assert!(offer.contains(part), "{part}: {offer}");
    }
    // The old profile beside it, the mechanisms the same; 0-RTT is not allowed.
    assert!(features.contains("<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"));
    assert!(!features.contains("tls-0rtt"), "{features}");
}

/// XEP-0440: the types of this connection, in every profile; none where there is none.
#[tokio::test]
async fn channel_bindings_are_announced_where_there_are_any() {
    let logins = Logins::new();
    let (_, features) = logins.bound().await;
    assert!(features.contains(
        "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/>\
         <channel-binding type='tls-server-end-point'/></sasl-channel-binding>"
    ));
    let (_, features) = logins.plain().await;
    assert!(!features.contains("sasl-cb") && !features.contains("-PLUS"), "{features}");
    assert!(features.contains("HT-SHA-256-NONE") && !features.contains("HT-SHA-256-ENDP"));
}

/// XEP-0388 section 2.6.1.
#[tokio::test]
async fn features_follow_the_success_without_a_new_stream() {
    let logins = Logins::new();
    let (mut client, _) = logins.plain().await;
    let said = client.plain("ana", "secret", "").await;
    let success = "<success xmlns='urn:xmpp:sasl:2'>\
        <authorization-identifier>ana@d</authorization-identifier></success><stream:features>";
    assert!(said.starts_with(success), "{said}");
    assert!(said.contains("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"), "{said}");
    assert!(!said.contains("<mechanism"), "{said}");
    assert_eq!(client.counted, [true]);
}

/// XEP-0388 section 4.8: once is enough.
#[tokio::test]
async fn a_second_login_on_a_stream_ends_it() {
    let logins = Logins::new();
    for parts in ["", BIND] {
        let (mut client, _) = logins.plain().await;
        client.plain("ana", "secret", parts).await;
        let said = client.plain("ana", "secret", "").await;
        assert!(said.contains("<stream:error>") && client.closed, "{said}");
    }
}

/// XEP-0388 section 2.6.2: a failure changes nothing and names a condition of RFC 6120.
#[tokio::test]
async fn a_failed_login_does_nothing_that_was_asked_with_it() {
    let logins = Logins::new();
    let (mut client, _) = logins.plain().await;
    let parts = format!(
        "{}{BIND}<request-token xmlns='urn:xmpp:fast:0' \
        mechanism='HT-SHA-256-NONE'/>",
        agent(DEVICE)
    );
    let said = client.plain("ana", "wrong", &parts).await;
    assert_eq!(
        said,
        "<failure xmlns='urn:xmpp:sasl:2'>\
         <not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></failure>"
    );
    assert_eq!((client.jid(), logins.store.tokens().count()), (None, 0));
    assert!(logins.server.sessions().of(&jid("ana@d")).is_empty());
    // It may try again, and its failures are counted.
    assert!(client.plain("ana", "wrong", &parts).await.contains("<not-authorized"));
    assert!(client.plain("ana", "secret", &parts).await.contains("<success"));
    assert_eq!(client.counted, [false, false, true]);
}

/// RFC 6120 section 6.4.5 and 13.12: neither profile gives more tries than the other.
#[tokio::test]
async fn three_failures_of_either_profile_end_the_stream() {
    let logins = Logins::new();
    let (mut client, _) = logins.plain().await;
    client.plain("ana", "wrong", "").await;
    client
        .say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>")
        .await;
    assert!(!client.closed);
    let said = client.plain("ana", "wrong", "").await;
    assert!(said.contains("<policy-violation") && client.closed, "{said}");
}

/// RFC 6120 sections 6.5.1 to 6.5.10, in both profiles.
#[tokio::test]
async fn every_fault_has_its_condition() {
    let faults = [
        ("PLAIN", "!", "incorrect-encoding"),
        ("PLAIN", "YQ==", "malformed-request"),
        ("PLAIN", "Ym9iQGQAYW5hAHNlY3JldA==", "invalid-authzid"),
        ("ANONYMOUS", "", "invalid-mechanism"),
        ("EXTERNAL", "", "invalid-mechanism"),
        ("OAUTHBEARER", "", "invalid-mechanism"),
        ("SCRAM-SHA-256-PLUS", "", "invalid-mechanism"),
        ("HT-SHA-256-ENDP", "", "invalid-mechanism"),
    ];
    let logins = Logins::new();
    for (mechanism, message, condition) in faults {
        let (mut client, _) = logins.plain().await;
        let said = client.authenticate(mechanism, message, "").await;
        let expected = format!("<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
        assert!(said.contains(&expected) && !client.closed, "{mechanism}: {said}");
        let auth = format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>{message}</auth>"
        );
        let said = client.say(&auth).await;
        assert!(said.contains(&format!("<{condition}/>")) && !client.closed, "{mechanism}: {said}");
        assert!(client.counted.is_empty());
    }
    logins.store.set_broken(true);
    let (mut client, _) = logins.plain().await;
    let said = client.plain("ana", "secret", "").await;
    assert!(said.contains("<temporary-auth-failure"), "{said}");
}

/// XEP-0388 sections 2.4 and 4.5, RFC 6120 section 6.4.4.
#[tokio::test]
async fn a_login_can_be_aborted_and_bears_nothing_else_meanwhile() {
    let logins = Logins::new();
    for (ns, begin) in [(SASL2, "authenticate"), ("urn:ietf:params:xml:ns:xmpp-sasl", "auth")] {
        let (mut client, _) = logins.plain().await;
        let begin = format!("<{begin} xmlns='{ns}' mechanism='PLAIN'/>");
        // Without an initial response the client is asked for it.
        assert_eq!(client.say(&begin).await, format!("<challenge xmlns='{ns}'/>"));
        let said = client.say(&format!("<abort xmlns='{ns}'/>")).await;
        assert!(said.contains("<aborted") && !client.closed, "{said}");
        assert_eq!(client.say(&begin).await, format!("<challenge xmlns='{ns}'/>"));
        let message = BASE64.encode("\0ana\0secret");
        let said = client.say(&format!("<response xmlns='{ns}'>{message}</response>")).await;
        assert!(said.contains("<success"), "{said}");
        for other in
            ["<message xmlns='jabber:client'/>", "<next xmlns='urn:xmpp:sasl:2' task='x'/>", "<x/>"]
        {
            let (mut client, _) = logins.plain().await;
            client.say(&begin).await;
            let said = client.say(other).await;
            assert!(said.contains("<not-authorized") && client.closed, "{other}: {said}");
        }
    }
}

/// XEP-0388 sections 2.1, 2.3 and 4.4: who the header says the client is must agree with whom it acts for.
#[tokio::test]
async fn the_stream_s_from_and_the_authorization_identity_agree() {
    let logins = Logins::new();
    let act_for_ana = BASE64.encode("ana@d\0ana\0secret");
    for (from, right) in [("ana@d", true), ("ANA@d/x", true), ("bob@d", false)] {
        let mut client = logins.client(Transport::Tls, Secured::default());
        client.say(&header(&format!(" from='{from}'"))).await;
        let said = client.authenticate("PLAIN", &act_for_ana, "").await;
        let expected = if right { "<success" } else { "<invalid-authzid" };
        assert!(said.contains(expected), "{from}: {said}");
    }
    let mut client = logins.client(Transport::Tls, Secured::default());
    let said = client.say(&header(" from='ana@elsewhere'")).await;
    assert!(said.contains("<invalid-from") && client.closed, "{said}");
    // The mechanisms are the same whoever it says it is.
    let (_, nobody) = logins.plain().await;
    for name in ["ana", "nobody"] {
        let mut client = logins.client(Transport::Tls, Secured::default());
        let features = client.say(&header(&format!(" from='{name}@d'"))).await;
        let list = |text: &str| between(text, "<authentication", "</authentication>").to_owned();
        assert_eq!(list(&features), list(&nobody));
    }
}

/// XEP-0386 section 3.2.
#[tokio::test]
async fn bind_2_makes_a_resource_that_begins_with_the_tag() {
    let logins = Logins::new();
    let (mut client, _) = logins.plain().await;
    let said = client.plain("ana", "secret", &format!("{}{BIND}", agent(DEVICE))).await;
    let full = client.jid().unwrap().clone();
    assert!(full.resource().unwrap().starts_with("Phone/"), "{full}");
    let name = format!("<authorization-identifier>{full}</authorization-identifier>");
    assert!(said.contains(&name), "{said}");
    assert!(said.contains("<bound xmlns='urn:xmpp:bind:0'"), "{said}");
    // It has a resource, and the id of the installation is in nothing anybody sees.
    assert!(!said.contains("xmpp-bind") && !full.as_str().contains(&DEVICE[..8]), "{said}");
    assert!(!logins.server.sessions().get(&full).unwrap().carbons);
    // Twice the same tag is two resources.
    let (mut other, _) = logins.plain().await;
    other.plain("ana", "secret", BIND).await;
    assert_ne!(other.jid(), Some(&full));
    assert_eq!(logins.server.sessions().of(&jid("ana@d")).len(), 2);
    // A tag that no resource can hold is left out; one that is not there is not missed.
    for tag in ["", "<tag/>", &format!("<tag>{}</tag>", "x".repeat(1_100))] {
        let (mut client, _) = logins.plain().await;
        let bind = format!("<bind xmlns='urn:xmpp:bind:0'>{tag}</bind>");
        assert!(client.plain("bob", "secret", &bind).await.contains("<bound"), "{tag}");
        assert!(client.jid().unwrap().resource().unwrap().starts_with('r'), "{tag}");
    }
}

/// XEP-0386 section 3.2, XEP-0280 section 4.
#[tokio::test]
async fn carbons_can_be_enabled_with_the_bind() {
    let logins = Logins::new();
    let (mut client, _) = logins.plain().await;
    let bind = "<bind xmlns='urn:xmpp:bind:0'><enable xmlns='urn:xmpp:carbons:2'/></bind>";
    client.plain("ana", "secret", bind).await;
    let full = client.jid().unwrap().clone();
    assert!(logins.server.sessions().get(&full).unwrap().carbons);
}

/// XEP-0386 section 3.2: an installation has one session.
#[tokio::test]
async fn an_older_session_of_the_same_installation_ends() {
    let logins = Logins::new();
    let login = async |device: &str| {
        let (mut client, _) = logins.plain().await;
        client.plain("ana", "secret", &format!("{}{BIND}", agent(device))).await;
        client
    };
    let other = login("00000000-4d72-4749-b3d3-740edbf87770").await;
    let older = login(DEVICE).await;
    let newer = login(&DEVICE.to_uppercase()).await;
    assert_eq!(older.outbox.ended(), Some("conflict"));
    assert_eq!((other.outbox.ended(), newer.outbox.ended()), (None, None));
    // Those that do not say which they are leave each other alone.
    let (first, second) = (login("").await, login("").await);
    assert_eq!((first.outbox.ended(), second.outbox.ended()), (None, None));
}

/// RFC 7395 with XEP-0388: each element a message, no second `<open/>`.
#[tokio::test]
async fn sasl2_works_over_websocket() {
    let logins = Logins::new();
    let mut client = logins.client(Transport::WebSocket, Secured::default());
    let open = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='d' version='1.0'/>";
    let features = client.say(open).await;
    assert!(features.contains("<authentication xmlns='urn:xmpp:sasl:2'>"), "{features}");
    assert!(!features.contains("-PLUS") && !features.contains("sasl-cb"), "{features}");
    let said = client.plain("ana", "secret", BIND).await;
    let after = said.split_once("</success>").unwrap().1;
    assert!(after.starts_with("<stream:features xmlns:stream="), "{said}");
    let said = client.say("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>").await;
    assert!(said.contains("<close") && client.closed);
}

/// What is sent along with the login is read after it.
#[tokio::test]
async fn stanzas_may_follow_a_login_at_once() {
    let logins = Logins::new();
    let (mut client, _) = logins.plain().await;
    let message = BASE64.encode("\0ana\0secret");
    let said = client
        .say(&format!(
            "<authenticate xmlns='{SASL2}' mechanism='PLAIN'><initial-response>{message}\
             </initial-response>{BIND}</authenticate><message to='bob@d'><body>hi</body></message>"
        ))
        .await;
    assert!(said.contains("<success"), "{said}");
    let [stanza] = client.stanzas.as_slice() else { panic!("{:?}", client.stanzas) };
    assert_eq!(stanza.from(), client.jid());
}

/// RFC 7628: offered once there is an issuer, and only then.
#[tokio::test]
async fn a_bearer_token_logs_in_where_its_issuer_is_trusted() {
    let store = store();
    let issuer = Arc::new(MemoryBearerTokens::default());
    issuer.vouch("d", "letter", "ana");
    issuer.vouch("d", "ghost", "nobody");
    let ports = Ports { bearer_tokens: Some(issuer), ..ports(&store) };
    let logins = Logins::with(store, ports);
    let (mut client, features) = logins.plain().await;
    assert!(features.contains("<mechanism>OAUTHBEARER</mechanism>"), "{features}");
    let message = |token: &str| BASE64.encode(format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}"));
    let said = client.authenticate("OAUTHBEARER", &message("forged"), "").await;
    let challenge = between(&said, "<challenge xmlns='urn:xmpp:sasl:2'>", "</challenge>");
    assert_eq!(BASE64.decode(challenge).unwrap(), br#"{"status":"invalid_token"}"#);
    let said = client.say("<response xmlns='urn:xmpp:sasl:2'>AQ==</response>").await;
    assert!(said.contains("<not-authorized"), "{said}");
    let said = client.authenticate("OAUTHBEARER", &message("ghost"), "").await;
    assert!(said.contains("<not-authorized"), "{said}");
    let said = client.authenticate("OAUTHBEARER", &message("letter"), BIND).await;
    assert!(said.contains("<success") && client.jid().is_some(), "{said}");
    assert!(!Logins::new().plain().await.1.contains("OAUTHBEARER"));
}

/// RFC 4422 appendix A, XEP-0178 section 2: offered to who has shown a certificate of an account here.
#[tokio::test]
async fn a_verified_certificate_logs_in_by_external() {
    let logins = Logins::new();
    let secured = |names: &[&str]| Secured {
        identities: names.iter().map(|n| jid(n)).collect(),
        ..Secured::default()
    };
    let mut client = logins.client(Transport::Tls, secured(&["ana@d"]));
    let features = client.say(&header("")).await;
    assert!(features.contains("<mechanism>EXTERNAL</mechanism>"), "{features}");
    let said = client
        .say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>")
        .await;
    assert!(said.contains("<success"), "{said}");
    assert_eq!(client.machine.account(), Some(&jid("ana@d")));
    let mut stranger = logins.client(Transport::Tls, secured(&["ana@elsewhere"]));
    assert!(!stranger.say(&header("")).await.contains("EXTERNAL"));
    let mut gone = logins.client(Transport::Tls, secured(&["nobody@d"]));
    gone.say(&header("")).await;
    assert!(gone.authenticate("EXTERNAL", "", "").await.contains("<not-authorized"));
}
