//! RFC 6121 section 8 and XEP-0280: where a message and a request go, and what comes back when a client is lost.

use super::*;
use crate::service::{Attachment, DeviceKind};
use crate::stanza::Condition;

pub(super) fn refused(outcome: &Outcome) -> Option<Condition> {
    match outcome {
        Outcome::Refused(error) => Some(error.condition),
        _ => None,
    }
}

/// RFC 6121 section 8.5.4, table 1: a message by its type and address, to Bob with one available resource `r`, one of
/// negative priority `n`, or none.
#[tokio::test]
async fn messages_go_where_the_table_says() {
    // type, addressee, who is there, sessions that get it or what else becomes of it
    let table = [
        ("chat", "bob@d", "r", "r"),
        ("chat", "bob@d", "rn", "r"),
        ("chat", "bob@d", "n", "stored"),
        ("chat", "bob@d", "", "stored"),
        ("chat", "bob@d/r", "rn", "r"),
        ("chat", "bob@d/n", "rn", "n"),
        ("chat", "bob@d/gone", "r", "r"),
        ("chat", "bob@d/gone", "", "stored"),
        ("normal", "bob@d", "r", "r"),
        ("normal", "bob@d", "", "stored"),
        ("headline", "bob@d", "r", "r"),
        ("headline", "bob@d", "", "ignored"),
        ("headline", "bob@d/gone", "r", "ignored"),
        ("groupchat", "bob@d", "r", "refused"),
        ("groupchat", "bob@d/r", "r", "r"),
        ("groupchat", "bob@d/gone", "r", "refused"),
        ("error", "bob@d", "r", "ignored"),
        ("error", "bob@d/r", "r", "r"),
        ("error", "bob@d/gone", "r", "ignored"),
        ("chat", "nobody@d", "r", "refused"),
        ("chat", "bob@elsewhere", "r", "refused"),
    ];
    for (kind, to, there, expected) in table {
        let world = World::new();
        let ana = world.online("ana@d/a").await;
        let mut sessions = Vec::new();
        for name in there.split("").filter(|n| !n.is_empty()) {
            let session = world.online(&format!("bob@d/{name}")).await;
            let priority = if name == "n" { -1 } else { 1 };
            session.say(&format!("<presence><priority>{priority}</priority></presence>")).await;
            sessions.push(session);
        }
        for session in &sessions {
            session.read().await;
        }
        let text = format!("<message to='{to}' type='{kind}'><body>x</body></message>");
        let outcome = ana.say(&text).await;
        let mut got = String::new();
        for session in &sessions {
            if !session.bodies().await.is_empty() {
                got.push_str(session.jid.resource().unwrap());
            }
        }
        let became = match outcome {
            Outcome::Stored => "stored",
            Outcome::Sent => "sent",
            Outcome::Ignored => "ignored",
            Outcome::Refused(_) => "refused",
            Outcome::Delivered { .. } => got.as_str(),
        };
        assert_eq!(became, expected, "{kind} to {to} with {there:?}");
    }
}

#[tokio::test]
async fn what_one_device_has_does_not_come_again_when_another_is_lost() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let phone = world.online("bob@d/phone").await;
    let desk = world.online("bob@d/desk").await;
    desk.read().await;
    phone.read().await;
    ana.say(&chat("bob@d", "once")).await;
    assert_eq!(desk.bodies().await, ["once"]);
    phone.lose().await;
    assert!(desk.bodies().await.is_empty());
    assert!(world.store.waiting(&jid("bob@d")).is_empty());
}

#[tokio::test]
async fn what_was_lost_with_every_device_is_kept_once() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let phone = world.online("bob@d/phone").await;
    let desk = world.online("bob@d/desk").await;
    ana.say(&chat("bob@d", "once")).await;
    phone.lose().await;
    assert!(world.store.waiting(&jid("bob@d")).is_empty(), "the desk may still get it");
    desk.lose().await;
    assert_eq!(world.store.waiting(&jid("bob@d")).len(), 1);
}

/// XEP-0280: a device with carbons has a copy of what went to another's full address.
#[tokio::test]
async fn a_carbon_counts_as_had() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let phone = world.online("bob@d/phone").await;
    let desk = world.online("bob@d/desk").await;
    desk.say("<iq type='set' id='c' to='d'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    desk.read().await;
    ana.say(&chat("bob@d/phone", "once")).await;
    assert_eq!(desk.bodies().await, ["once"]);
    phone.lose().await;
    assert!(desk.bodies().await.is_empty());
}

#[tokio::test]
async fn what_only_the_lost_device_was_to_get_goes_to_the_other() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let phone = world.online("bob@d/phone").await;
    let desk = world.online("bob@d/desk").await;
    desk.read().await;
    ana.say(&chat("bob@d/phone", "for the phone")).await;
    phone.lose().await;
    assert_eq!(desk.bodies().await, ["for the phone"]);
}

/// RFC 6121 section 8.5.3.1: presence shared by subscription or directed, or nothing is said about who is there.
#[tokio::test]
async fn a_request_to_a_device_needs_its_presence() {
    let ask = "<iq type='get' id='q' to='bob@d/r'><query xmlns='jabber:iq:last'/></iq>";
    let world = World::new();
    let (ana, bob) = (world.online("ana@d/a").await, world.online("bob@d/r").await);
    assert_eq!(refused(&ana.say(ask).await), Some(Condition::ServiceUnavailable));
    assert!(bob.read().await.is_empty());
    // It looks the same when nobody is there.
    let gone = ask.replace("bob@d/r", "bob@d/gone");
    assert_eq!(refused(&ana.say(&gone).await), Some(Condition::ServiceUnavailable));

    bob.say("<presence to='ana@d'/>").await;
    assert!(matches!(ana.say(ask).await, Outcome::Delivered { sessions: 1, .. }));
    // The answer passes though Ana has shown Bob nothing.
    let answer = "<iq type='result' id='q' to='ana@d/a'/>";
    assert!(matches!(bob.say(answer).await, Outcome::Delivered { sessions: 1, .. }));
    bob.say("<presence to='ana@d' type='unavailable'/>").await;
    assert!(refused(&ana.say(ask).await).is_some());

    let ana2 = world.online("ana@d/second").await;
    assert!(refused(&ana2.say(&ask.replace("bob@d/r", "ana@d/a")).await).is_none(), "own devices");
}

#[tokio::test]
async fn a_subscriber_may_ask_a_device() {
    let world = World::new();
    let (ana, bob) = (world.online("ana@d/a").await, world.online("bob@d/r").await);
    ana.say("<presence to='bob@d' type='subscribe'/>").await;
    bob.say("<presence to='ana@d' type='subscribed'/>").await;
    let ask = "<iq type='get' id='q' to='bob@d/r'><query xmlns='jabber:iq:last'/></iq>";
    assert!(refused(&ana.say(ask).await).is_none());
    // Ana has written to Bob from this device: Bob's part of the conversation may come back (XEP-0166).
    let back = "<iq type='set' id='j' to='ana@d/a'><jingle xmlns='urn:xmpp:jingle:1'/></iq>";
    assert!(refused(&bob.say(back).await).is_none());
}

/// XEP-0353: who says `proceed` from a device waits for the session there.
#[tokio::test]
async fn a_device_that_takes_a_call_may_be_called() {
    let world = World::new();
    let (ana, bob) = (world.online("ana@d/a").await, world.online("bob@d/r").await);
    let start = "<iq type='set' id='j' to='bob@d/r'><jingle xmlns='urn:xmpp:jingle:1'/></iq>";
    assert!(refused(&ana.say(start).await).is_some());
    bob.say("<message to='ana@d/a'><proceed xmlns='urn:xmpp:jingle-message:0' id='1'/></message>")
        .await;
    assert!(refused(&ana.say(start).await).is_none());
}

#[tokio::test]
async fn a_request_that_was_never_written_is_answered() {
    let world = World::new();
    let (ana, bob) = (world.online("ana@d/a").await, world.online("bob@d/r").await);
    bob.say("<presence to='ana@d'/>").await;
    ana.read().await;
    ana.say("<iq type='get' id='q7' to='bob@d/r'><query xmlns='jabber:iq:last'/></iq>").await;
    bob.lose().await;
    let read = ana.read().await.join("");
    assert!(read.contains("id='q7'") && read.contains("<service-unavailable"), "{read}");
}

#[tokio::test]
async fn a_phone_may_ring_and_be_rung_by_anybody_but_tells_strangers_nothing() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let phone = Attachment {
        priority: 0,
        show: None,
        status: None,
        kind: DeviceKind::new(("client", "phone", ""), []),
    };
    world.server.attach(&jid("bob@d/phone"), phone).await;
    let call = "<iq type='set' id='j' to='bob@d/phone'><jingle xmlns='urn:xmpp:jingle:1'/></iq>";
    let disco = "<iq type='get' id='d' to='bob@d/phone'>\
                 <query xmlns='http://jabber.org/protocol/disco#info'/></iq>";
    assert_eq!(refused(&ana.say(disco).await), Some(Condition::ServiceUnavailable));
    assert!(refused(&ana.say(call).await).is_none());
    let back = "<iq type='set' id='k' from='bob@d/phone' to='ana@d/a'>\
                <jingle xmlns='urn:xmpp:jingle:1'/></iq>";
    assert!(refused(&world.server.handle(Stanza::parse(back.into()).unwrap()).await).is_none());
}

/// A phone whose user says that nobody is there is shown to nobody, and rings all the same.
#[tokio::test]
async fn a_hidden_device_is_unavailable_and_is_reached() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let bob = world.online("bob@d/r").await;
    let attachment = Attachment {
        priority: 0,
        show: None,
        status: None,
        kind: DeviceKind::new(("client", "phone", ""), []),
    };
    let phone = jid("bob@d/phone");
    world.server.attach(&phone, attachment).await;
    assert!(bob.read().await.concat().contains("bob@d/phone"));
    world.server.hide(&phone).await;
    let said = bob.read().await.concat();
    assert!(said.contains("bob@d/phone") && said.contains("unavailable"), "{said}");
    assert!(world.server.presences(&jid("bob@d")).iter().all(|p| p.jid != phone));
    bob.lose().await;
    let outcome = ana.say(&chat("bob@d", "still there?")).await;
    assert!(matches!(outcome, Outcome::Delivered { .. }), "{outcome:?}");
    assert!(world.store.waiting(&jid("bob@d")).is_empty());
    world.server.set_presence(&phone, None, Some("back")).await;
    assert_eq!(world.server.presences(&jid("bob@d"))[0].status.as_deref(), Some("back"));
    world.server.hide(&phone).await;
    world.server.hide(&phone).await;
    world.server.detach(&phone).await;
    assert!(world.server.presences(&jid("bob@d")).is_empty());
}

const ENABLE: &str = "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>";
const DISABLE: &str = "<iq type='set' id='c'><disable xmlns='urn:xmpp:carbons:2'/></iq>";

/// Bob's phone, which gets what is sent, and his desk, which gets copies.
async fn with_copies(world: &World) -> (Session, Session, Session) {
    let ana = world.online("ana@d/a").await;
    let phone = world.online("bob@d/phone").await;
    let desk = world.online("bob@d/desk").await;
    desk.say(ENABLE).await;
    for session in [&ana, &phone, &desk] {
        session.read().await;
    }
    (ana, phone, desk)
}

#[tokio::test]
async fn carbons_are_announced() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    ana.say(
        "<iq type='get' id='s' to='d'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
    )
    .await;
    let got = ana.read().await.concat();
    assert!(got.contains("var='urn:xmpp:carbons:2'"), "{got}");
    assert!(got.contains("var='urn:xmpp:carbons:rules:0'"), "{got}");
}

#[tokio::test]
async fn carbons_are_turned_on_and_off() {
    let world = World::new();
    let (ana, phone, desk) = with_copies(&world).await;
    ana.say(&chat("bob@d/phone", "1")).await;
    assert_eq!(desk.bodies().await, ["1"]);
    desk.say(DISABLE).await;
    assert!(desk.read().await.concat().contains("result"));
    ana.say(&chat("bob@d/phone", "2")).await;
    assert!(desk.read().await.is_empty());
    assert_eq!(phone.bodies().await, ["1", "2"]);
}

/// XEP-0280 sections 7 and 8.
#[tokio::test]
async fn a_carbon_is_wrapped_as_it_must_be() {
    let world = World::new();
    let (ana, phone, desk) = with_copies(&world).await;
    for (kind, direction) in [("chat", "received"), ("normal", "received"), ("chat", "sent")] {
        if direction == "received" {
            ana.say(&chat("bob@d/phone", "x").replace("'chat'", &format!("'{kind}'"))).await;
        } else {
            phone.say(&chat("ana@d/a", "x")).await;
        }
        let got = desk.read().await;
        assert_eq!(got.len(), 1, "{kind} {direction}");
        let copy = crate::xml::Element::parse(got[0].as_bytes()).unwrap();
        assert_eq!(copy.attr("from"), Some("bob@d"));
        assert_eq!(copy.attr("to"), Some("bob@d/desk"));
        assert_eq!(copy.attr("type"), Some(kind));
        let wrapped = copy.child(direction, "urn:xmpp:carbons:2").unwrap();
        let forwarded = wrapped.child("forwarded", "urn:xmpp:forward:0").unwrap();
        let message = forwarded.child("message", "jabber:client").unwrap();
        let to = if direction == "received" { "bob@d/phone" } else { "ana@d/a" };
        assert_eq!(message.attr("to"), Some(to));
        // The device that wrote it gets nothing back, the one that got it no copy.
        let plain = usize::from(direction == "received");
        assert_eq!(phone.bodies().await.len(), plain);
        ana.read().await;
    }
}

#[tokio::test]
async fn hints_keep_carbons_away() {
    let world = World::new();
    let (ana, phone, desk) = with_copies(&world).await;
    for hint in ["<private xmlns='urn:xmpp:carbons:2'/>", "<no-copy xmlns='urn:xmpp:hints'/>"] {
        ana.say(&chat("bob@d/phone", "x").replace("<body>", &format!("{hint}<body>"))).await;
        phone.say(&chat("ana@d", "y").replace("<body>", &format!("{hint}<body>"))).await;
        assert!(desk.read().await.is_empty(), "{hint}");
        assert!(phone.read().await.concat().contains(hint), "it passes");
    }
}

/// XEP-0280 section 6.1.
#[tokio::test]
async fn what_is_copied() {
    let body = "<body>x</body>";
    let table = [
        ("chat", body, true),
        ("chat", "", true),
        ("normal", body, true),
        ("normal", "<subject>x</subject>", false),
        ("normal", "<received xmlns='urn:xmpp:receipts' id='1'/>", true),
        ("normal", "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", true),
        ("normal", "<paused xmlns='http://jabber.org/protocol/chatstates'/>", true),
        ("normal", "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>", true),
        ("normal", "<x xmlns='jabber:x:conference' jid='tea@rooms.d'/>", true),
        ("normal", "<reactions xmlns='urn:xmpp:reactions:0' id='1'/>", true),
        ("normal", "<retract xmlns='urn:xmpp:message-retract:1' id='1'/>", true),
        (
            "normal",
            "<x xmlns='http://jabber.org/protocol/muc#user'><invite from='carl@d'/></x>",
            true,
        ),
        ("groupchat", body, false),
        ("headline", body, false),
        ("error", body, false),
        (
            "chat",
            "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'/></received>",
            false,
        ),
    ];
    let world = World::new();
    let (ana, _phone, desk) = with_copies(&world).await;
    for (kind, content, copied) in table {
        ana.say(&format!("<message to='bob@d/phone' type='{kind}'>{content}</message>")).await;
        assert_eq!(desk.read().await.len(), usize::from(copied), "{kind} {content}");
    }
}

#[tokio::test]
async fn what_a_room_sends_to_each_device_is_not_copied() {
    let world = World::new();
    let (_, phone, desk) = with_copies(&world).await;
    let text = "<message to='bob@d/phone' type='chat'><x xmlns='http://jabber.org/protocol/muc#user'/>\
                <body>x</body></message>";
    let mut private = Stanza::parse(text.into()).unwrap();
    private.set_from(jid("tea@rooms.far/carl"));
    world.server.handle(private).await;
    assert_eq!(phone.bodies().await, ["x"]);
    assert!(desk.read().await.is_empty());
    // What Bob says so is copied to his devices.
    phone.say(&text.replace("bob@d/phone", "ana@d/a")).await;
    assert_eq!(desk.bodies().await, ["x"]);
}

/// RFC 6121 section 8.5.2: the address stays as it was written, whoever gets it.
#[tokio::test]
async fn messages_keep_their_addressee() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let bob = world.online("bob@d/r").await;
    for to in ["bob@d", "bob@d/r", "bob@d/gone"] {
        ana.say(&chat(to, "x")).await;
        let got = bob.read().await;
        assert!(got[0].contains(&format!("to='{to}'")), "{}", got[0]);
    }
}
