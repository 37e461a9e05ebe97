//! XEP-0357: app servers are told what a user misses who is away, and forgotten when they are gone.

use super::*;
use crate::ports::memory_web::MemoryPushes;
use crate::ports::{Passwords, Pushes};

const NS: &str = "urn:xmpp:push:0";

struct Pushed {
    world: World,
    remote: Arc<MemoryRemote>,
}

impl Pushed {
    fn new() -> Self {
        let store = store();
        let remote = Arc::new(MemoryRemote::reachable());
        let ports = Ports { remote: remote.clone(), ..ports(&store) };
        Self { world: World::with(store, ports), remote }
    }

    /// `ana` has enabled this node from her phone and is gone.
    async fn enabled(node: &str) -> Self {
        let pushed = Self::new();
        pushed.enable("ana@d/phone", node).await;
        pushed
    }

    async fn enable(&self, full: &str, node: &str) {
        let phone = self.world.online(full).await;
        let answer = ask(&phone, &enable(node)).await;
        assert!(answer.contains("type='result'"), "{answer}");
        phone.lose().await;
    }

    /// Something is said to `ana` by `bob`; gives what app servers were told.
    async fn say(&self, content: &str) -> Vec<String> {
        let text = format!("<message from='bob@d/x' to='ana@d' type='chat'>{content}</message>");
        self.world.server.handle(Stanza::parse(text.into()).unwrap()).await;
        self.told()
    }

    fn told(&self) -> Vec<String> {
        let sent = self.remote.take_sent();
        sent.into_iter().map(|(_, _, s)| String::from_utf8(s.to_vec()).unwrap()).collect()
    }

    /// The app server answers a notification.
    async fn answer(&self, notification: &str, content: &str) {
        let id = notification.split(" id='").nth(1).unwrap().split('\'').next().unwrap();
        let kind = if content.is_empty() { "result" } else { "error" };
        let text = format!("<iq from='push.app' to='d' id='{id}' type='{kind}'>{content}</iq>");
        self.world.server.handle(Stanza::parse(text.into()).unwrap()).await;
    }
}

fn enable(node: &str) -> String {
    format!(
        "<iq type='set' id='e'><enable xmlns='{NS}' jid='push.app' node='{node}'>\
         <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
         <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
         <field var='secret'><value>s1</value></field></x></enable></iq>"
    )
}

async fn ask(session: &Session, question: &str) -> String {
    session.say(question).await;
    session.read().await.join("")
}

fn error(condition: &str) -> String {
    format!(
        "<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    )
}

/// XEP-0357 section 4.
#[tokio::test]
async fn the_account_says_that_it_can_be_pushed() {
    let pushed = Pushed::new();
    let ana = pushed.world.bind("ana@d/a");
    let question = "<iq type='get' id='q' to='ana@d'>\
                    <query xmlns='http://jabber.org/protocol/disco#info'/></iq>";
    assert!(ask(&ana, question).await.contains(&format!("<feature var='{NS}'/>")));
}

/// XEP-0357 section 7: a publish with a summary and the options, and no word of the message.
#[tokio::test]
async fn an_app_server_is_told_of_a_message_for_who_is_away() {
    let pushed = Pushed::enabled("n1").await;
    let told = pushed.say("<body>secret words</body>").await;
    let [told] = told.as_slice() else { panic!("{told:?}") };
    for part in [
        "type='set'",
        "from='d' to='push.app'",
        "<publish node='n1'>",
        "<notification xmlns='urn:xmpp:push:0'>",
        "<value>urn:xmpp:push:summary</value>",
        "<field var='message-count'><value>1</value></field>",
        "<field var='last-message-sender'><value>bob@d/x</value></field>",
        "<publish-options>",
        "<value>s1</value>",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("secret words") && !told.contains("priority"), "{told}");
}

#[tokio::test]
async fn nobody_is_told_while_somebody_looks_or_of_what_does_not_matter() {
    let pushed = Pushed::enabled("n1").await;
    for content in [
        "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
        "<received xmlns='urn:xmpp:receipts' id='x'/>",
        "<displayed xmlns='urn:xmpp:chat-markers:0' id='x'/>",
    ] {
        assert!(pushed.say(content).await.is_empty(), "{content}");
    }
    let desk = pushed.world.online("ana@d/desk").await;
    assert!(pushed.say("<body>hi</body>").await.is_empty());
    desk.lose().await;
    assert_eq!(pushed.say("<body>hi</body>").await.len(), 1);
}

/// A call rings on every device that has enabled push and is not in use, whatever else is open.
#[tokio::test]
async fn a_call_is_told_at_once_and_marked() {
    let pushed = Pushed::enabled("n1").await;
    let desk = pushed.world.online("ana@d/desk").await;
    let propose = "<propose xmlns='urn:xmpp:jingle-message:0' id='c1'>\
                   <description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/></propose>\
                   <store xmlns='urn:xmpp:hints'/>";
    // One that is not answered yet holds up no call.
    for _ in 0..2 {
        let told = pushed.say(propose).await;
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("<priority xmlns='tigase:push:priority:0'>high</priority>"));
    }
    desk.lose().await;
    // A device that is in use rings by itself.
    let phone = pushed.world.online("ana@d/phone").await;
    assert!(pushed.say(propose).await.is_empty());
    drop(phone);
}

/// XEP-0353 section 3: what a phone that wakes up late finds of a call that it missed.
#[tokio::test]
async fn a_call_that_was_missed_is_kept_for_who_comes_later() {
    let pushed = Pushed::enabled("n1").await;
    pushed
        .say("<propose xmlns='urn:xmpp:jingle-message:0' id='c1'/><store xmlns='urn:xmpp:hints'/>")
        .await;
    pushed
        .say("<retract xmlns='urn:xmpp:jingle-message:0' id='c1'/><store xmlns='urn:xmpp:hints'/>")
        .await;
    let phone = pushed.world.bind("ana@d/phone");
    phone.say("<presence/>").await;
    let read = phone.read().await.join("");
    let (propose, retract) = (read.find("<propose").unwrap(), read.find("<retract").unwrap());
    assert!(propose < retract, "{read}");
}

#[tokio::test]
async fn a_node_that_has_not_answered_is_told_the_rest_in_one() {
    let pushed = Pushed::enabled("n1").await;
    let first = pushed.say("<body>1</body>").await;
    assert!(pushed.say("<body>2</body>").await.is_empty());
    assert!(pushed.say("<body>3</body>").await.is_empty());
    pushed.answer(&first[0], "").await;
    let told = pushed.told();
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("<field var='message-count'><value>3</value></field>"), "{told:?}");
    pushed.answer(&told[0], "").await;
    assert!(pushed.told().is_empty());
    // One that never answers is tried again now and then.
    let mut notifications = 0;
    for _ in 0..40 {
        notifications += pushed.say("<body>x</body>").await.len();
    }
    assert_eq!(notifications, 3);
}

/// XEP-0357 section 7.1.
#[tokio::test]
async fn a_node_that_is_gone_is_not_asked_again() {
    for condition in ["item-not-found", "gone"] {
        let pushed = Pushed::enabled("n1").await;
        let told = pushed.say("<body>1</body>").await;
        // Somebody else cannot switch it off.
        let forged = told[0].replace("push.app", "evil.app");
        let id = forged.split(" id='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
        let text =
            format!("<iq from='evil.app' to='d' id='{id}' type='error'>{}</iq>", error(condition));
        pushed.world.server.handle(Stanza::parse(text.into()).unwrap()).await;
        pushed.answer(&told[0], &error(condition)).await;
        assert!(pushed.say("<body>2</body>").await.is_empty(), "{condition}");
    }
    let pushed = Pushed::enabled("n1").await;
    let told = pushed.say("<body>1</body>").await;
    pushed.answer(&told[0], &error("internal-server-error")).await;
    assert_eq!(pushed.say("<body>2</body>").await.len(), 1, "that may pass");
}

/// XEP-0357 sections 5 and 6.
#[tokio::test]
async fn nodes_are_enabled_and_disabled_one_by_one_or_all() {
    let pushed = Pushed::enabled("n1").await;
    pushed.enable("ana@d/tablet", "n2").await;
    // Enabled again, it is still one.
    pushed.enable("ana@d/tablet", "n2").await;
    assert_eq!(pushed.say("<body>1</body>").await.len(), 2);
    let phone = pushed.world.bind("ana@d/phone");
    let disable = |node: &str| {
        format!("<iq type='set' id='x'><disable xmlns='{NS}' jid='push.app'{node}/></iq>")
    };
    assert!(ask(&phone, &disable(" node='n1'")).await.contains("type='result'"));
    let told = pushed.say("<body>2</body>").await;
    assert!(told.len() == 1 && told[0].contains("node='n2'"), "{told:?}");
    assert!(ask(&phone, &disable("")).await.contains("type='result'"));
    assert!(pushed.say("<body>3</body>").await.is_empty());
}

#[tokio::test]
async fn what_is_no_app_server_cannot_be_enabled() {
    let pushed = Pushed::new();
    let ana = pushed.world.bind("ana@d/a");
    for (request, expected) in [
        (format!("<enable xmlns='{NS}'/>"), "<bad-request"),
        (format!("<enable xmlns='{NS}' jid='@'/>"), "<jid-malformed"),
        (format!("<enable xmlns='{NS}' jid='bob@d/x' node='n'/>"), "<item-not-found"),
        (format!("<enable xmlns='{NS}' jid='d'/>"), "<item-not-found"),
        (
            format!(
                "<enable xmlns='{NS}' jid='push.app'><x xmlns='jabber:x:data' type='submit'/></enable>"
            ),
            "<bad-request",
        ),
        (
            format!("<enable xmlns='{NS}' jid='push.app' node='{}'/>", "n".repeat(1_100)),
            "<not-acceptable",
        ),
    ] {
        let answer = ask(&ana, &format!("<iq type='set' id='x'>{request}</iq>")).await;
        assert!(answer.contains(expected), "{request}: {answer}");
    }
    for n in 0..20 {
        assert!(ask(&ana, &enable(&format!("n{n}"))).await.contains("type='result'"));
    }
    assert!(ask(&ana, &enable("one more")).await.contains("<resource-constraint"));
    assert!(ask(&ana, &enable("n3")).await.contains("type='result'"));
    // Nor for somebody else.
    let for_bob = enable("n").replace("id='e'", "id='e' to='bob@d'");
    assert!(ask(&ana, &for_bob).await.contains("<service-unavailable"));
}

/// Registrations are read from the store once, and again when they change.
#[tokio::test]
async fn registrations_outlive_the_server() {
    let store = store();
    let pushes = Arc::new(MemoryPushes::default());
    let remote = Arc::new(MemoryRemote::reachable());
    let make = || {
        let ports = Ports { remote: remote.clone(), pushes: pushes.clone(), ..ports(&store) };
        Pushed { world: World::with(store.clone(), ports), remote: remote.clone() }
    };
    make().enable("ana@d/phone", "n1").await;
    assert_eq!(make().say("<body>hi</body>").await.len(), 1);
}

/// XEP-0492 section 3: a chat that is silenced wakes nobody; its calls still ring.
#[tokio::test]
async fn a_silenced_chat_wakes_nobody() {
    let pushed = Pushed::enabled("n1").await;
    let ana = pushed.world.bind("ana@d/desk");
    let bookmark = "<iq type='set' id='b'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
        <publish node='urn:xmpp:bookmarks:1'><item id='bob@d'>\
        <conference xmlns='urn:xmpp:bookmarks:1'><extensions>\
        <notify xmlns='urn:xmpp:notification-settings:1'><never/></notify>\
        </extensions></conference></item></publish></pubsub></iq>";
    let answer = ask(&ana, bookmark).await;
    assert!(answer.contains("type='result'"), "{answer}");
    assert!(pushed.say("<body>hi</body>").await.is_empty());
    let propose = "<propose xmlns='urn:xmpp:jingle-message:0' id='c1'/>";
    assert_eq!(pushed.say(propose).await.len(), 1);
}

/// XEP-0077 section 3.2: who takes a name that was free again is not watched by the phone of who had it before.
#[tokio::test]
async fn a_removed_account_is_pushed_no_more() {
    let store = store();
    let (remote, pushes) = (Arc::new(MemoryRemote::reachable()), Arc::new(MemoryPushes::default()));
    let ports = Ports { remote: remote.clone(), pushes: pushes.clone(), ..ports(&store) };
    let pushed = Pushed { world: World::with(store.clone(), ports), remote };
    pushed.enable("ana@d/phone", "n").await;
    let told = pushed.say("<body>1</body>").await;
    pushed.answer(&told[0], "").await;
    assert!(pushed.world.server.remove_account(&jid("ana@d")).await.unwrap());
    // As the store does with an account.
    Pushes::remove(&*pushes, &jid("ana@d"), &jid("push.app"), None).await.unwrap();
    assert!(Passwords::create(&*store, &jid("ana@d"), "other").await.unwrap());
    assert!(pushed.say("<body>2</body>").await.is_empty());
}
