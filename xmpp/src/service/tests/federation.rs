//! RFC 6121 between domains: subscriptions, presence and probes, what comes back, what strangers learn.

use super::*;

/// A world whose way out is open and noted.
struct Beyond {
    world: World,
    remote: Arc<MemoryRemote>,
}

impl Beyond {
    fn new() -> Self {
        let (store, remote) = (store(), Arc::new(MemoryRemote::reachable()));
        let ports = Ports { remote: remote.clone(), ..ports(&store) };
        Self { world: World::with(store, ports), remote }
    }

    /// What was sent to other servers since the last call.
    fn sent(&self) -> Vec<String> {
        let sent = self.remote.take_sent();
        sent.iter().map(|(_, _, stanza)| String::from_utf8_lossy(stanza).into_owned()).collect()
    }

    /// A stanza of another server, proven to be from there.
    async fn hear(&self, text: &str) -> Outcome {
        self.world.server.handle(Stanza::parse(text.to_owned().into()).unwrap()).await
    }

    /// Ana, who sees `rey@far` and is seen by it, online.
    async fn friends(&self) -> Session {
        let ana = self.world.interested("ana@d/a").await;
        ana.say("<presence to='rey@far' type='subscribe'/>").await;
        self.hear("<presence from='rey@far' to='ana@d' type='subscribed'/>").await;
        self.hear("<presence from='rey@far' to='ana@d' type='subscribe'/>").await;
        ana.say("<presence to='rey@far' type='subscribed'/>").await;
        ana.read().await;
        self.sent();
        ana
    }
}

#[tokio::test]
async fn a_subscription_to_somebody_elsewhere_is_asked_granted_and_ended() {
    let beyond = Beyond::new();
    let ana = beyond.world.interested("ana@d/a").await;
    ana.say("<presence to='rey@far/x' type='subscribe' id='7'><status>hi</status></presence>")
        .await;
    // Both addresses are accounts' (section 3.1.2), all else is as it was sent.
    assert_eq!(
        beyond.sent(),
        [
            "<presence from='ana@d' to='rey@far' type='subscribe' id='7'><status>hi</status></presence>"
        ]
    );
    assert!(ana.read().await.join("").contains("ask='subscribe'"));
    beyond.hear("<presence from='rey@far' to='ana@d' type='subscribed'/>").await;
    let seen = ana.read().await.join("");
    assert!(seen.contains("subscription='to'") && seen.contains("type='subscribed'"), "{seen}");
    // Granted twice, it is shown once (appendix A.3.3).
    beyond.hear("<presence from='rey@far' to='ana@d' type='subscribed'/>").await;
    assert!(ana.read().await.is_empty());
    beyond.hear("<presence from='rey@far/y' to='ana@d'><show>away</show></presence>").await;
    assert!(ana.read().await.join("").contains("<show>away</show>"));
    ana.say("<presence to='rey@far' type='unsubscribe'/>").await;
    assert!(beyond.sent()[0].contains("type='unsubscribe'"));
    assert!(ana.read().await.join("").contains("subscription='none'"));
    let item = beyond.world.store.stored_roster(&jid("ana@d"));
    assert!(!item.item(&jid("rey@far")).unwrap().to);
}

#[tokio::test]
async fn somebody_elsewhere_asks_is_shown_everything_and_loses_it_again() {
    let beyond = Beyond::new();
    let ana = beyond.world.interested("ana@d/a").await;
    beyond.hear("<presence from='rey@far' to='ana@d' type='subscribe'/>").await;
    assert!(ana.read().await.join("").contains("type='subscribe'"));
    // Asked again, the user is not asked again (appendix A.3.1).
    beyond.hear("<presence from='rey@far' to='ana@d' type='subscribe'/>").await;
    assert!(ana.read().await.is_empty());
    assert!(beyond.sent().is_empty());
    ana.say("<presence to='rey@far' type='subscribed'/>").await;
    let sent = beyond.sent();
    assert_eq!(sent[0], "<presence from='ana@d' to='rey@far' type='subscribed'/>");
    assert_eq!(sent[1], "<presence from='ana@d/a' to='rey@far'/>");
    ana.say("<presence><show>dnd</show></presence>").await;
    assert_eq!(
        beyond.sent(),
        ["<presence from='ana@d/a' to='rey@far'><show>dnd</show></presence>"]
    );
    ana.say("<presence to='rey@far' type='unsubscribed'/>").await;
    let sent = beyond.sent().join("");
    assert!(sent.contains("type='unsubscribed'"), "{sent}");
    assert!(
        sent.contains("from='ana@d/a' to='rey@far' type='unavailable'")
            || sent.contains("from='ana@d/a' type='unavailable' to='rey@far'")
            || (sent.contains("type='unavailable'") && sent.contains("to='rey@far'")),
        "{sent}"
    );
    ana.say("<presence/>").await;
    assert!(beyond.sent().is_empty());
}

/// Section 3.3.3: who stops looking sees the other go.
#[tokio::test]
async fn an_unsubscribe_from_elsewhere_ends_what_was_seen() {
    let beyond = Beyond::new();
    let ana = beyond.friends().await;
    beyond.hear("<presence from='rey@far' to='ana@d' type='unsubscribe'/>").await;
    assert!(beyond.sent().join("").contains("type='unavailable'"));
    let seen = ana.read().await.join("");
    assert!(seen.contains("subscription='to'") && seen.contains("type='unsubscribe'"), "{seen}");
}

#[tokio::test]
async fn removing_a_contact_elsewhere_ends_both_directions() {
    let beyond = Beyond::new();
    let ana = beyond.friends().await;
    ana.say(
        "<iq type='set' id='s'><query xmlns='jabber:iq:roster'>\
         <item jid='rey@far' subscription='remove'/></query></iq>",
    )
    .await;
    let sent = beyond.sent().join("");
    assert!(sent.contains("type='unsubscribe'") && sent.contains("type='unsubscribed'"), "{sent}");
    assert!(sent.contains("type='unavailable'"), "{sent}");
}

/// Section 3.4.2.
#[tokio::test]
async fn who_was_approved_before_asking_is_agreed_to_at_once() {
    let beyond = Beyond::new();
    let ana = beyond.world.interested("ana@d/a").await;
    ana.say("<presence to='rey@far' type='subscribed'/>").await;
    assert!(beyond.sent().is_empty());
    let pushed = ana.read().await.join("");
    assert!(
        pushed.contains("approved='true'") && pushed.contains("subscription='none'"),
        "{pushed}"
    );
    beyond.hear("<presence from='rey@far' to='ana@d' type='subscribe'/>").await;
    let sent = beyond.sent();
    assert!(
        sent[0].contains("type='subscribed'") && sent[1].contains("from='ana@d/a'"),
        "{sent:?}"
    );
    let seen = ana.read().await.join("");
    assert!(seen.contains("subscription='from'") && !seen.contains("type='subscribe'"), "{seen}");
    // The same between two accounts here.
    let bob = beyond.world.interested("bob@d/b").await;
    bob.say("<presence to='ana@d' type='subscribed'/>").await;
    ana.say("<presence to='bob@d' type='subscribe'/>").await;
    let seen = ana.read().await.join("");
    assert!(seen.contains("type='subscribed'") && seen.contains("from='bob@d/b'"), "{seen}");
    assert!(!bob.read().await.join("").contains("type='subscribe'"));
}

/// Section 3.1.3: who is seen already is told so again.
#[tokio::test]
async fn a_request_that_was_granted_before_is_answered_by_the_server() {
    let beyond = Beyond::new();
    let ana = beyond.friends().await;
    beyond.hear("<presence from='rey@far' to='ana@d' type='subscribe'/>").await;
    assert!(beyond.sent()[0].contains("type='subscribed'"));
    assert!(ana.read().await.is_empty());
}

/// Sections 4.2.2, 4.3.1 and 4.5.2.
#[tokio::test]
async fn coming_online_probes_contacts_elsewhere_and_leaving_tells_them() {
    let beyond = Beyond::new();
    let ana = beyond.friends().await;
    let desk = beyond.world.bind("ana@d/desk");
    desk.say("<presence/>").await;
    let sent = beyond.sent();
    assert!(sent.contains(&"<presence from='ana@d/desk' to='rey@far'/>".to_owned()), "{sent:?}");
    let probe = "<presence from='ana@d/desk' to='rey@far' type='probe'/>".to_owned();
    assert!(sent.contains(&probe), "{sent:?}");
    desk.say("<presence><show>away</show></presence>").await;
    assert!(!beyond.sent().join("").contains("type='probe'"));
    desk.lose().await;
    let sent = beyond.sent().join("");
    assert!(sent.contains("from='ana@d/desk'") && sent.contains("type='unavailable'"), "{sent}");
    drop(ana);
}

/// Section 4.3.2.
#[tokio::test]
async fn a_probe_is_answered_to_who_may_see_and_tells_others_the_same_of_all() {
    let beyond = Beyond::new();
    let ana = beyond.friends().await;
    beyond.hear("<presence from='rey@far/y' to='ana@d' type='probe'/>").await;
    assert_eq!(beyond.sent(), ["<presence from='ana@d/a' to='rey@far/y'/>"]);
    ana.lose().await;
    beyond.sent();
    beyond.hear("<presence from='rey@far/y' to='ana@d' type='probe'/>").await;
    assert_eq!(beyond.sent(), ["<presence from='ana@d' to='rey@far' type='unavailable'/>"]);
    let _bob = beyond.world.online("bob@d/b").await;
    for target in ["bob", "carl", "nobody"] {
        beyond.hear(&format!("<presence from='eve@far/e' to='{target}@d' type='probe'/>")).await;
        let expected = format!("<presence from='{target}@d' to='eve@far' type='unsubscribed'/>");
        assert_eq!(beyond.sent(), [expected]);
    }
}

/// Section 4.6.3: who got directed presence hears when it ends.
#[tokio::test]
async fn directed_presence_goes_elsewhere_and_is_taken_back_once() {
    let beyond = Beyond::new();
    let ana = beyond.world.online("ana@d/a").await;
    ana.say("<presence to='eve@far/e'/>").await;
    assert_eq!(beyond.sent(), ["<presence from='ana@d/a' to='eve@far/e'/>"]);
    ana.say("<presence type='unavailable'/>").await;
    let sent = beyond.sent();
    assert!(sent.len() == 1 && sent[0].contains("to='eve@far/e'"), "{sent:?}");
    ana.say("<presence/>").await;
    assert!(beyond.sent().is_empty());
    // One that could not be delivered is not taken back.
    ana.say("<presence to='eve@far/e'/>").await;
    let error =
        "<presence from='eve@far/e' to='ana@d/a' type='error'><error type='cancel'/></presence>";
    beyond.sent();
    ana.read().await;
    beyond.hear(error).await;
    assert!(ana.read().await.join("").contains("type='error'"));
    ana.lose().await;
    assert!(beyond.sent().is_empty());
}

#[tokio::test]
async fn messages_and_requests_cross_both_ways_untouched() {
    let beyond = Beyond::new();
    let ana = beyond.world.online("ana@d/a").await;
    let extra = "<message to='rey@far/y' type='chat' id='1' x='&quot;'><body xml:lang='de'>gr\u{fc}\u{df}</body>\
         <z xmlns='urn:z'><!--no-->".replace("<!--no-->", "") + "</z></message>";
    ana.say(&extra).await;
    let sent = beyond.sent().join("");
    assert!(sent.starts_with("<message from='ana@d/a' to='rey@far/y'"), "{sent}");
    assert!(
        sent.contains("<body xml:lang='de'>gr\u{fc}\u{df}</body><z xmlns='urn:z'></z>"),
        "{sent}"
    );
    ana.say("<iq type='get' id='2' to='far'><query xmlns='jabber:iq:version'/></iq>").await;
    assert!(beyond.sent()[0].contains("to='far'"));
    beyond.hear("<iq type='result' id='2' from='far' to='ana@d/a'/>").await;
    assert!(ana.read().await.join("").contains("id='2'"));
    beyond
        .hear("<message from='rey@far/y' to='ana@d' type='chat'><body>back</body></message>")
        .await;
    assert_eq!(ana.bodies().await, ["back"]);
    beyond
        .hear("<iq type='get' id='3' from='rey@far/y' to='d'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await;
    let sent = beyond.sent();
    assert!(sent[0].contains("type='result'") && sent[0].contains("to='rey@far/y'"), "{sent:?}");
}

#[tokio::test]
async fn what_cannot_leave_comes_back_to_its_sender() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    ana.say(&chat("rey@far", "x")).await;
    ana.say("<iq type='get' id='2' to='far'><query xmlns='jabber:iq:version'/></iq>").await;
    let read = ana.read().await;
    assert_eq!(
        read.iter().filter(|s| s.contains("<remote-server-not-found")).count(),
        2,
        "{read:?}"
    );
    // What was queued and is given up.
    let queued = "<message from='ana@d/a' to='rey@far' type='chat' id='m'><body>x</body></message>";
    world.server.returned(queued.into(), Condition::RemoteServerTimeout).await;
    let read = ana.read().await.join("");
    assert!(read.contains("<remote-server-timeout") && read.contains("from='rey@far'"), "{read}");
    assert!(read.contains("id='m'") && read.contains("type='error'"), "{read}");
    // Never an error for an error, and none for what the server itself says.
    for silent in [
        "<message from='ana@d/a' to='rey@far' type='error'><body>x</body></message>",
        "<iq from='ana@d/a' to='rey@far' type='result' id='1'/>",
        "<presence from='ana@d/a' to='rey@far' type='probe'/>",
        "<presence from='ana@d/a' to='rey@far' type='unavailable'/>",
        "garbage",
    ] {
        world.server.returned(silent.to_owned().into(), Condition::RemoteServerTimeout).await;
    }
    assert!(ana.read().await.is_empty());
}

/// RFC 6121 sections 8.5.1 and 8.5.3.1, XEP-0030 section 8: what a stranger asks is answered the same for an account
/// that is online, one that is away and none at all, at every address of it.
#[tokio::test]
async fn strangers_learn_nothing_of_accounts_presence_or_resources() {
    let questions = [
        "<query xmlns='http://jabber.org/protocol/disco#info'/>",
        "<query xmlns='http://jabber.org/protocol/disco#items'/>",
        "<query xmlns='jabber:iq:last'/>",
        "<query xmlns='jabber:iq:version'/>",
        "<ping xmlns='urn:xmpp:ping'/>",
        "<query xmlns='jabber:iq:roster'/>",
        "<time xmlns='urn:xmpp:time'/>",
        "<unknown xmlns='urn:unknown'/>",
    ];
    let beyond = Beyond::new();
    let ana = beyond.world.online("ana@d/a").await;
    for question in questions {
        for resource in ["", "/a", "/other"] {
            let mut answers = Vec::new();
            for name in ["ana", "carl", "nobody"] {
                let to = format!("{name}@d{resource}");
                beyond
                    .hear(&format!(
                        "<iq type='get' id='1' from='eve@far/e' to='{to}'>{question}</iq>"
                    ))
                    .await;
                answers.push(beyond.sent().join("").replace(&format!("{name}@d"), "X"));
            }
            assert!(answers[0].contains("type='error'"), "{question} {resource}: {answers:?}");
            answers.dedup();
            assert_eq!(answers.len(), 1, "{question} {resource}: {answers:?}");
        }
    }
    // Nothing of it reached a device.
    assert!(ana.read().await.is_empty());
    // Presence to nobody is dropped in silence (section 8.5.1).
    for kind in [
        "",
        " type='unavailable'",
        " type='subscribe'",
        " type='unsubscribe'",
        " type='subscribed'",
    ] {
        beyond.hear(&format!("<presence from='eve@far/e' to='nobody@d'{kind}/>")).await;
    }
    assert!(beyond.sent().is_empty());
}

#[tokio::test]
async fn requests_to_see_an_account_are_bounded() {
    let beyond = Beyond::new();
    for n in 0..1_200 {
        beyond.hear(&format!("<presence from='e{n}@far' to='carl@d' type='subscribe'/>")).await;
    }
    assert_eq!(beyond.world.store.stored_roster(&jid("carl@d")).pending_in.len(), 1_000);
}
