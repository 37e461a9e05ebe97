//! Content filters: copies (XEP-0297) to a component, verdicts, and what a filter that hangs changes: nothing.

use super::*;
use crate::service::FilterRule;

const NS: &str = "urn:tandem:filter:0";

struct Filtered {
    world: World,
    remote: Arc<MemoryRemote>,
    desk: Arc<MemoryDesk>,
}

impl Filtered {
    fn new(remote: MemoryRemote) -> Self {
        let store = store();
        let remote = Arc::new(remote);
        let desk = Arc::new(MemoryDesk::default());
        let ports = Ports { remote: remote.clone(), blocklists: desk.clone(), ..ports(&store) };
        let watch = vec!["d".into(), "*@rooms.d".into()];
        let rule = FilterRule { watch, component: jid("filter.d") };
        let config = Config { domains: vec!["d".into()], filters: vec![rule], ..Config::default() };
        Self { world: World { store, server: Server::new(config, ports) }, remote, desk }
    }

    /// Ana and Bob in a room, having read everything.
    async fn room(&self) -> (Session, Session) {
        let (ana, bob) = (self.world.online("ana@d/a").await, self.world.online("bob@d/b").await);
        enter(&ana, "Ana").await;
        let muc = "http://jabber.org/protocol/muc";
        ana.say(&format!(
            "<iq to='tea@rooms.d' type='set' id='c'><query xmlns='{muc}#owner'>\
             <x xmlns='jabber:x:data' type='submit'>\
             <field var='muc#roomconfig_membersonly'><value>0</value></field></x></query></iq>"
        ))
        .await;
        enter(&bob, "Bob").await;
        ana.read().await;
        bob.read().await;
        (ana, bob)
    }

    /// What somebody reads in the archive of the room.
    async fn history(&self, session: &Session) -> String {
        session
            .say("<iq to='tea@rooms.d' type='set' id='h'><query xmlns='urn:xmpp:mam:2'/></iq>")
            .await;
        session.read().await.join("")
    }

    fn copies(&self) -> Vec<String> {
        let sent = self.remote.take_sent();
        sent.into_iter().map(|(_, _, s)| String::from_utf8(s.to_vec()).unwrap()).collect()
    }

    async fn verdict(&self, from: &str, content: &str) -> String {
        let text = format!("<iq type='set' id='v' from='{from}' to='d'>{content}</iq>");
        self.world.server.handle(Stanza::parse(text.into()).unwrap()).await;
        self.copies().join("")
    }
}

async fn enter(session: &Session, nick: &str) {
    session
        .say(&format!(
            "<presence to='tea@rooms.d/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        ))
        .await;
}

fn spoken(body: &str) -> String {
    format!("<message to='tea@rooms.d' type='groupchat' id='m'><body>{body}</body></message>")
}

fn attribute<'a>(text: &'a str, name: &str) -> &'a str {
    text.split(&format!(" {name}='")).nth(1).unwrap().split('\'').next().unwrap()
}

/// XEP-0297 section 3: the message as it was, its namespace declared, with its time.
#[tokio::test]
async fn what_is_said_is_copied_once_it_is_kept() {
    let filtered = Filtered::new(MemoryRemote::reachable());
    let ana = filtered.world.online("ana@d/a").await;
    ana.say("<message to='bob@d' type='chat' id='m1'><body>bad &lt;words&gt;</body><x xmlns='odd' a='b'/></message>").await;
    let copies = filtered.copies();
    let [copy] = copies.as_slice() else { panic!("{copies:?}") };
    for part in [
        "<message from='d' to='filter.d'",
        "<copy xmlns='urn:tandem:filter:0' by='bob@d' id='",
        "<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='",
        "<message xmlns='jabber:client' from='ana@d/a' to='bob@d'",
        "<body>bad &lt;words&gt;</body><x xmlns='odd' a='b'/>",
    ] {
        assert!(copy.contains(part), "{part}: {copy}");
    }
    // Nothing is said by typing.
    ana.say("<message to='bob@d' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>").await;
    assert!(filtered.copies().is_empty());
}

#[tokio::test]
async fn a_verdict_leaves_a_tombstone_and_files_a_report() {
    let filtered = Filtered::new(MemoryRemote::reachable());
    let ana = filtered.world.online("ana@d/a").await;
    ana.say("<message to='bob@d' type='chat' id='m1'><body>bad words</body></message>").await;
    let copy = filtered.copies().join("");
    let id = attribute(copy.split_once("<copy").unwrap().1, "id").to_owned();
    let verdict = format!("<verdict xmlns='{NS}' by='bob@d' id='{id}'>rude</verdict>");
    // Who is shown nothing decides nothing.
    let answer = filtered.verdict("other.d", &verdict).await;
    assert!(answer.contains("<forbidden"), "{answer}");
    let answer = filtered.verdict("filter.d", &verdict).await;
    assert!(answer.contains("type='result'"), "{answer}");
    let bob = filtered.world.bind("bob@d/b");
    bob.say("<iq type='set' id='h'><query xmlns='urn:xmpp:mam:2'/></iq>").await;
    let history = bob.read().await.join("");
    assert!(history.contains("<retracted") && !history.contains("bad words"), "{history}");
    assert!(history.contains("<moderated") && history.contains("rude"), "{history}");
}

#[tokio::test]
async fn a_verdict_that_cannot_be_carried_out_is_refused() {
    let filtered = Filtered::new(MemoryRemote::reachable());
    for (content, expected) in [
        (format!("<verdict xmlns='{NS}' by='bob@d' id='nothing'/>"), "<item-not-found"),
        (format!("<verdict xmlns='{NS}' by='bob@elsewhere' id='x'/>"), "<forbidden"),
        (format!("<verdict xmlns='{NS}' by='bob@d'/>"), "<bad-request"),
        (format!("<verdict xmlns='{NS}' by='bob@d' id='x' action='burn'/>"), "<bad-request"),
    ] {
        let answer = filtered.verdict("filter.d", &content).await;
        assert!(answer.contains(expected), "{content}: {answer}");
    }
}

/// A filter that takes nothing: copies are dropped and counted, messages go their way.
#[tokio::test]
async fn a_filter_that_hangs_changes_nothing_for_chat() {
    let filtered = Filtered::new(MemoryRemote::default());
    let ana = filtered.world.online("ana@d/a").await;
    let bob = filtered.world.online("bob@d/b").await;
    for n in 0..100 {
        let outcome = ana.say(&chat("bob@d", &n.to_string())).await;
        assert!(matches!(outcome, Outcome::Delivered { .. }), "{outcome:?}");
    }
    assert_eq!(bob.bodies().await.len(), 100);
    assert_eq!(filtered.world.server.filter_copies_dropped(), 100);
}

/// A room tells everybody, as XEP-0425 has it; the report says who and what.
#[tokio::test]
async fn a_verdict_takes_back_what_was_said_in_a_room() {
    let filtered = Filtered::new(MemoryRemote::reachable());
    let (ana, bob) = filtered.room().await;
    bob.say(&spoken("bad words")).await;
    ana.read().await;
    let copy = filtered.copies().join("");
    assert!(copy.contains("<copy xmlns='urn:tandem:filter:0' by='tea@rooms.d' id='"), "{copy}");
    let id = attribute(copy.split_once("<copy").unwrap().1, "id").to_owned();
    let verdict = format!("<verdict xmlns='{NS}' by='tea@rooms.d' id='{id}'>rude</verdict>");
    let answer = filtered.verdict("filter.d", &verdict).await;
    assert!(answer.contains("type='result'"), "{answer}");
    let told = ana.read().await.join("");
    for part in [
        "<message from='tea@rooms.d' ",
        &format!("<retract xmlns='urn:xmpp:message-retract:1' id='{id}'>"),
        "<moderated xmlns='urn:xmpp:message-moderate:1'/><reason>rude</reason>",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let history = filtered.history(&ana).await;
    assert!(history.contains("<retracted ") && !history.contains("bad words"), "{history}");
    let reports = filtered.desk.reports();
    let [report] = reports.as_slice() else { panic!("{reports:?}") };
    assert_eq!(report.reporter, jid("filter.d"));
    assert_eq!(report.text.as_deref(), Some("rude"));
    let evidence = report.evidence[0].stanza.clone().unwrap();
    assert!(String::from_utf8_lossy(&evidence).contains("bad words"));
}

/// XEP-0425 section 3.1: a filter that watches the room may ask as its moderators do, without being inside.
#[tokio::test]
async fn a_filter_moderates_the_rooms_that_it_watches() {
    let filtered = Filtered::new(MemoryRemote::reachable());
    let (ana, bob) = filtered.room().await;
    bob.say(&spoken("bad words")).await;
    ana.read().await;
    let copy = filtered.copies().join("");
    let id = attribute(copy.split_once("<copy").unwrap().1, "id").to_owned();
    let ask = async |from: &str, id: &str, action: &str| {
        let text = format!(
            "<iq type='set' id='v' from='{from}' to='tea@rooms.d'>\
             <moderate xmlns='urn:xmpp:message-moderate:1' id='{id}'>{action}\
             <reason>rude</reason></moderate></iq>"
        );
        filtered.world.server.handle(Stanza::parse(text.into()).unwrap()).await;
        filtered.copies().join("")
    };
    let retract = "<retract xmlns='urn:xmpp:message-retract:1'/>";
    for (from, id, action, condition) in [
        ("other.d", id.as_str(), retract, "<not-acceptable"),
        ("somebody@filter.d", &id, retract, "<not-acceptable"),
        ("filter.d", "nothing", retract, "<item-not-found"),
        ("filter.d", &id, "", "<bad-request"),
    ] {
        let answer = ask(from, id, action).await;
        assert!(answer.contains(condition), "{from} {id} {action}: {answer}");
    }
    assert!(ana.read().await.is_empty());
    let answer = ask("filter.d", &id, retract).await;
    assert!(answer.contains("type='result'"), "{answer}");
    let told = ana.read().await.join("");
    assert!(told.contains("<moderated xmlns='urn:xmpp:message-moderate:1'/>"), "{told}");
    let history = filtered.history(&ana).await;
    assert!(history.contains("<retracted ") && !history.contains("bad words"), "{history}");
}

/// The queue of the filter is full: rooms do not wait for it either.
#[tokio::test]
async fn a_filter_that_hangs_changes_nothing_for_rooms() {
    let filtered = Filtered::new(MemoryRemote::default());
    let (ana, bob) = filtered.room().await;
    for n in 0..100 {
        bob.say(&spoken(&n.to_string())).await;
        // It has been heard when its sender may go on.
        assert_eq!(ana.bodies().await, [n.to_string()]);
    }
    assert_eq!(filtered.world.server.filter_copies_dropped(), 100);
}

/// What was queued for a filter that went away comes back: it is counted, and nobody is told.
#[tokio::test]
async fn a_copy_that_comes_back_is_dropped() {
    let filtered = Filtered::new(MemoryRemote::reachable());
    let ana = filtered.world.online("ana@d/a").await;
    ana.say("<message to='bob@d' type='chat' id='m1'><body>words</body></message>").await;
    let copy = filtered.copies().join("");
    filtered.world.server.returned(copy.into(), Condition::ServiceUnavailable).await;
    assert_eq!(filtered.world.server.filter_copies_dropped(), 1);
    assert!(filtered.copies().is_empty());
    assert!(ana.read().await.is_empty());
}
