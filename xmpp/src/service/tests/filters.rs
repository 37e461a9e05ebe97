//! Content filters: copies (XEP-0297) to a component, verdicts, and what a filter that hangs changes: nothing.

use super::*;
use crate::service::FilterRule;

const NS: &str = "urn:tandem:filter:0";

struct Filtered {
    world: World,
    remote: Arc<MemoryRemote>,
}

impl Filtered {
    fn new(remote: MemoryRemote) -> Self {
        let store = store();
        let remote = Arc::new(remote);
        let ports = Ports { remote: remote.clone(), ..ports(&store) };
        let rule = FilterRule { watch: vec!["d".into()], component: jid("filter.d") };
        let config = Config { domains: vec!["d".into()], filters: vec![rule], ..Config::default() };
        Self { world: World { store, server: Server::new(config, ports) }, remote }
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
