//! XEP-0280 section 6.1 and XEP-0359: messages that come back, seen by all devices of their sender; and sent once
//! more.

use super::*;

const CARBONS: &str = "<iq type='set' id='c' to='d'><enable xmlns='urn:xmpp:carbons:2'/></iq>";

/// Ana with a phone, and a desk that has carbons; other servers may be reached.
struct Sender {
    world: World,
    remote: Arc<MemoryRemote>,
    phone: Session,
    desk: Session,
}

impl Sender {
    async fn new() -> Self {
        let store = store();
        let remote = Arc::new(MemoryRemote::reachable());
        let world = World::with(store.clone(), Ports { remote: remote.clone(), ..ports(&store) });
        let (phone, desk) = (world.online("ana@d/phone").await, world.online("ana@d/desk").await);
        desk.say(CARBONS).await;
        desk.read().await;
        phone.read().await;
        Self { world, remote, phone, desk }
    }

    /// A message comes back to the phone from another server.
    async fn comes_back(&self, id: &str, from: &str) {
        let text = format!(
            "<message type='error' id='{id}' from='{from}' to='ana@d/phone'>\
             <error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        );
        self.world.server.handle(Stanza::parse(text.into()).unwrap()).await;
    }

    /// What the desk has copies of: direction and type of each.
    async fn copies(&self) -> Vec<String> {
        let read = self.desk.read().await;
        let copy = |text: &String| {
            let direction = if text.contains("<sent ") { "sent" } else { "received" };
            assert!(text.contains(" from='ana@d'") && text.contains(" to='ana@d/desk'"), "{text}");
            let kind = text.split_once(" type='").unwrap().1.split_once('\'').unwrap().0;
            format!("{direction} {kind}")
        };
        read.iter().map(copy).collect()
    }

    fn sent(&self) -> usize {
        self.remote.take_sent().len()
    }
}

fn message(to: &str, id: &str, more: &str) -> String {
    format!("<message to='{to}' type='chat' id='{id}'><body>x</body>{more}</message>")
}

fn origin(id: &str) -> String {
    format!("<origin-id xmlns='urn:xmpp:sid:0' id='{id}'/>")
}

/// XEP-0280 section 6.1: an error is copied when what it is about was.
#[tokio::test]
async fn an_error_is_copied_like_what_it_is_about() {
    let ana = Sender::new().await;
    ana.phone.say(&message("bob@far", "1", "")).await;
    assert_eq!(ana.copies().await, ["sent chat"]);
    // From whichever device of the addressee; once.
    for expected in [1, 0] {
        ana.comes_back("1", "bob@far/x").await;
        assert_eq!(ana.phone.read().await.len(), 1);
        assert_eq!(ana.copies().await, vec!["received error"; expected]);
    }
    // Not about anything that was sent, or not to them, or private.
    ana.phone.say(&message("bob@far", "2", "<private xmlns='urn:xmpp:carbons:2'/>")).await;
    ana.phone.say(&message("bob@far", "3", "")).await;
    assert_eq!(ana.copies().await, ["sent chat"]);
    for (id, from) in [("2", "bob@far"), ("3", "carl@far"), ("4", "bob@far")] {
        ana.comes_back(id, from).await;
        assert!(ana.copies().await.is_empty(), "{id} {from}");
    }
}

/// As above, of what the server itself refuses, before anything is kept or after.
#[tokio::test]
async fn a_refusal_is_copied_with_what_was_refused() {
    let ana = Sender::new().await;
    ana.remote.set_reachable(false);
    for to in ["nobody@d", "bob@far"] {
        let outcome = ana.phone.say(&message(to, "1", "")).await;
        assert!(matches!(outcome, Outcome::Refused(_)));
        assert_eq!(ana.phone.read().await.len(), 1);
        assert_eq!(ana.copies().await, ["sent chat", "received error"], "{to}");
    }
    ana.phone.say("<message to='nobody@d' type='groupchat'><body>x</body></message>").await;
    assert!(ana.copies().await.is_empty());
    ana.world.store.set_broken(true);
    ana.phone.say(&message("bob@far", "2", "")).await;
    assert_eq!(ana.copies().await, ["sent chat", "received error"]);
}

/// XEP-0359: a repetition is one only of what has arrived. Sent once more after it came back it is delivered, in the same
/// place of the archive.
#[tokio::test]
async fn what_came_back_is_sent_once_more() {
    let ana = Sender::new().await;
    let text = message("bob@far", "m", &origin("o"));
    ana.phone.say(&text).await;
    assert_eq!(ana.sent(), 1);
    ana.phone.say(&text).await;
    assert_eq!(ana.sent(), 0, "a repetition");
    ana.comes_back("m", "bob@far").await;
    assert_eq!(ana.phone.say(&text).await, Outcome::Sent);
    assert_eq!(ana.sent(), 1);
    ana.phone.say(&text).await;
    assert_eq!(ana.sent(), 0, "a repetition");
    // Refused at once, and then not.
    let text = message("bob@far", "n", &origin("p"));
    ana.remote.set_reachable(false);
    for _ in 0..2 {
        assert!(matches!(ana.phone.say(&text).await, Outcome::Refused(_)));
    }
    ana.remote.set_reachable(true);
    // From another device too.
    assert_eq!(ana.desk.say(&text).await, Outcome::Sent);
    assert_eq!(ana.world.store.archived(&jid("ana@d")).len(), 2);
}

/// The same to an account of this server whose only device, a phone, did not take it and is gone then.
#[tokio::test]
async fn what_came_back_from_a_phone_waits_when_it_is_sent_once_more() {
    let ana = Sender::new().await;
    let attachment = crate::service::Attachment {
        priority: 0,
        show: None,
        status: None,
        kind: crate::service::DeviceKind::new(("client", "phone", ""), []),
    };
    ana.world.server.attach(&jid("bob@d/sip"), attachment).await;
    let text = message("bob@d", "m", &origin("o"));
    ana.phone.say(&text).await;
    ana.comes_back("m", "bob@d/sip").await;
    ana.world.server.detach(&jid("bob@d/sip")).await;
    assert_eq!(ana.phone.say(&text).await, Outcome::Stored);
    let bob = ana.world.bind("bob@d/app");
    bob.say("<presence/>").await;
    assert_eq!(bob.bodies().await, ["x"]);
    assert_eq!(ana.world.store.archived(&jid("bob@d")).len(), 1);
}
