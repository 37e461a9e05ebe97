//! XEP-0215: relays with credentials, for sessions of this server only, renewed before they end.

use super::*;
use crate::ports::memory_web::MemoryRelays;

const NS: &str = "urn:xmpp:extdisco:2";

struct Relayed {
    world: World,
    relays: Arc<MemoryRelays>,
}

impl Relayed {
    fn new() -> Self {
        let store = store();
        let relays = Arc::new(MemoryRelays::default());
        relays.set_expires(10_000);
        let ports = Ports { relays: Some(relays.clone()), ..ports(&store) };
        Self { world: World::with(store, ports), relays }
    }
}

fn get(payload: &str) -> String {
    format!("<iq type='get' id='x' to='d'>{payload}</iq>")
}

async fn ask(session: &Session, payload: &str) -> String {
    session.say(&get(payload)).await;
    session.read().await.join("")
}

/// XEP-0215 sections 3.1, 3.2 and 6.
#[tokio::test]
async fn all_services_or_those_of_a_type_are_listed() {
    let relayed = Relayed::new();
    let ana = relayed.world.bind("ana@d/a");
    let answer = ask(&ana, &format!("<services xmlns='{NS}'/>")).await;
    assert_eq!(answer.matches("<service ").count(), 3, "{answer}");
    assert!(
        answer.contains("type='stun' host='relay.d' port='3478' transport='udp'/>"),
        "{answer}"
    );
    assert!(
        answer.contains(
            "restricted='true' username='10000:ana' password='password' \
             expires='2026-01-01T01:00:00Z'"
        ),
        "{answer}"
    );
    let answer = ask(&ana, &format!("<services xmlns='{NS}' type='turns'/>")).await;
    assert!(answer.contains(&format!("<services xmlns='{NS}' type='turns'>")), "{answer}");
    assert_eq!(answer.matches("<service ").count(), 1, "{answer}");
    let info = ask(&ana, "<query xmlns='http://jabber.org/protocol/disco#info'/>").await;
    assert!(info.contains(NS), "{info}");
}

/// XEP-0215 section 3.3.
#[tokio::test]
async fn credentials_of_one_service_can_be_asked_for() {
    let relayed = Relayed::new();
    let ana = relayed.world.bind("ana@d/a");
    let table = [
        ("host='relay.d' type='turn'", "username='10000:ana'"),
        ("host='relay.d' type='turns' port='5349'", "port='5349'"),
        ("host='relay.d' type='turn' port='1'", "<item-not-found"),
        ("host='other.d' type='turn'", "<item-not-found"),
        // Nothing has to be proven to a STUN server.
        ("host='relay.d' type='stun'", "<item-not-found"),
        ("host='relay.d'", "<bad-request"),
    ];
    for (asked, expected) in table {
        let question = format!("<credentials xmlns='{NS}'><service {asked}/></credentials>");
        let answer = ask(&ana, &question).await;
        assert!(answer.contains(expected), "{asked}: {answer}");
    }
}

/// XEP-0215 section 3.2: a push to who has asked and is still there.
#[tokio::test]
async fn who_has_asked_gets_new_credentials_before_the_old_ones_end() {
    let relayed = Relayed::new();
    let ana = relayed.world.bind("ana@d/a");
    let bob = relayed.world.bind("bob@d/b");
    ask(&ana, &format!("<services xmlns='{NS}'/>")).await;
    relayed.relays.set_expires(20_000);
    relayed.world.server.renew_services(9_999);
    assert!(ana.read().await.is_empty());
    relayed.world.server.renew_services(10_000);
    let push = ana.read().await.join("");
    assert!(push.contains("type='set'") && push.contains("username='20000:ana'"), "{push}");
    assert!(push.contains("action='modify'") && !push.contains("type='stun'"), "{push}");
    assert!(bob.read().await.is_empty());
    // Told once; and nobody who is gone.
    relayed.world.server.renew_services(10_000);
    assert!(ana.read().await.is_empty());
    ana.lose().await;
    relayed.world.server.renew_services(90_000);
}

/// Relays cost: only our own users get credentials.
#[tokio::test]
async fn strangers_get_no_credentials() {
    let relayed = Relayed::new();
    let mut stanza = Stanza::parse(get(&format!("<services xmlns='{NS}'/>")).into()).unwrap();
    stanza.set_from(jid("eve@elsewhere/x"));
    let outcome = relayed.world.server.handle(stanza).await;
    assert!(
        matches!(&outcome, Outcome::Refused(e) if e.condition == Condition::Forbidden),
        "{outcome:?}"
    );
}
