//! RFC 6120 section 8: what a request must be, that each is answered, and that errors earn no errors.

use super::*;

fn error(said: &[String], condition: &str) -> bool {
    said.len() == 1
        && said[0].contains("type='error'")
        && said[0].contains("id='q'")
        && said[0].contains("to='ana@d/a'")
        && said[0].contains(&format!("<{condition} "))
}

#[tokio::test]
async fn a_request_has_a_type_an_id_and_one_child() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    let ping = "<ping xmlns='urn:xmpp:ping'/>";
    for to in ["d", "ana@d", "bob@d", "bob@d/none"] {
        for wrong in [
            format!("<iq id='q' to='{to}'>{ping}</iq>"),
            format!("<iq id='q' to='{to}' type='ask'>{ping}</iq>"),
            format!("<iq id='q' to='{to}' type='get'/>"),
            format!("<iq id='q' to='{to}' type='set'>{ping}{ping}</iq>"),
        ] {
            ana.say(&wrong).await;
            let said = ana.read().await;
            assert!(error(&said, "bad-request"), "{wrong}: {said:?}");
            assert!(said[0].contains(&format!("from='{to}'")), "{said:?}");
        }
    }
    ana.say(&format!("<iq to='d' type='get'>{ping}</iq>")).await;
    let said = ana.read().await.concat();
    assert!(said.contains("<bad-request"), "{said}");
}

#[tokio::test]
async fn every_request_is_answered_once_whoever_is_asked_for_whatever() {
    let world = World::new();
    let (ana, bob) = (world.online("ana@d/a").await, world.online("bob@d/b").await);
    for to in ["d", "ana@d", "bob@d", "nobody@d", "bob@d/b", "bob@d/none", "nobody@d/none"] {
        for kind in ["get", "set"] {
            ana.say(&format!("<iq id='q' to='{to}' type='{kind}'><x xmlns='urn:unknown'/></iq>"))
                .await;
            let said = ana.read().await;
            assert!(error(&said, "service-unavailable"), "{kind} to {to}: {said:?}");
        }
    }
    assert!(bob.read().await.is_empty());
    ana.say("<iq id='q' to='z@far' type='get'><x xmlns='urn:unknown'/></iq>").await;
    let said = ana.read().await;
    assert!(error(&said, "remote-server-not-found"), "{said:?}");
}

#[tokio::test]
async fn answers_and_errors_are_not_answered() {
    let world = World::new();
    let ana = world.online("ana@d/a").await;
    for to in ["d", "ana@d", "bob@d", "nobody@d", "bob@d/none", "tea@rooms.d", "tea@rooms.d/x"] {
        for kind in ["result", "error"] {
            ana.say(&format!("<iq id='q' to='{to}' type='{kind}'/>")).await;
        }
        ana.say(&format!("<message id='q' to='{to}' type='error'><body>x</body></message>")).await;
        ana.say(&format!("<presence id='q' to='{to}' type='error'/>")).await;
        let said = ana.read().await;
        assert!(said.is_empty(), "{to}: {said:?}");
    }
}

#[tokio::test]
async fn what_is_not_understood_inside_a_stanza_reaches_its_addressee_whole() {
    let world = World::new();
    let (ana, bob) = (world.online("ana@d/a").await, world.online("bob@d/b").await);
    let inside = "<x xmlns='urn:a' q='1'><y xmlns='urn:b'>t &lt; u</y></x><z xmlns='urn:c'/>";
    ana.say(&format!("<message id='m' to='bob@d' type='chat'>{inside}<body>b</body></message>"))
        .await;
    let got = bob.read().await.concat();
    assert!(got.contains(inside), "{got}");
}

#[tokio::test]
async fn without_an_addressee_the_own_account_is_meant() {
    let world = World::new();
    let (ana, desk) = (world.online("ana@d/a").await, world.online("ana@d/desk").await);
    ana.read().await;
    ana.say("<message id='m' type='chat'><body>note to myself</body></message>").await;
    assert_eq!(ana.bodies().await, ["note to myself"]);
    assert_eq!(desk.bodies().await, ["note to myself"]);
    ana.say("<iq id='q' type='get'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    let said = ana.read().await.concat();
    assert!(said.contains("type='result'") && !said.contains(" from="), "{said}");
}
