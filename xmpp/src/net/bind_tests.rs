//! Resource binding (RFC 6120 section 7), and what is said after it comes in order (section 10.1).

use super::tests::{HEADER, World};
use crate::config::Config;

fn bind(resource: &str) -> String {
    format!(
        "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{resource}</bind></iq>"
    )
}

fn named(name: &str) -> String {
    bind(&format!("<resource>{name}</resource>"))
}

fn bound(answer: &str) -> String {
    let (_, rest) = answer.split_once("<jid>").unwrap();
    rest.split('<').next().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_resource_is_bound_as_asked_or_made_by_the_server() {
    let world = World::new();
    let mut made = Vec::new();
    for _ in 0..2 {
        let mut client = world.connect();
        let features = client.log_in("ana").await;
        assert!(
            features.contains("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"),
            "{features}"
        );
        let answer = client.say(&bind(""), "</iq>").await;
        assert!(answer.contains("type='result'") && answer.contains("id='b'"), "{answer}");
        made.push((bound(&answer), client));
    }
    let resource = |n: usize| made[n].0.strip_prefix("ana@d/").unwrap();
    assert!(resource(0).len() >= 8 && resource(0) != resource(1), "{}", made[0].0);
    let mut client = world.connect();
    client.log_in("ana").await;
    assert_eq!(bound(&client.say(&named("balcony"), "</iq>").await), "ana@d/balcony");
}

#[tokio::test(start_paused = true)]
async fn a_resource_in_use_goes_to_the_newer_session() {
    let world = World::new();
    let mut old = world.login("ana", "r").await;
    let mut new = world.login("ana", "r").await;
    let end = old.hear("</stream:stream>").await;
    assert!(end.contains("<conflict"), "{end}");
    world.message("ana@d/r", "for the newer").await;
    new.hear("for the newer").await;
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_is_none_is_refused_and_another_may_be_asked_for() {
    let world = World::new();
    for wrong in ["&#9;".to_owned(), "x".repeat(1024)] {
        let mut client = world.connect();
        client.log_in("ana").await;
        let answer = client.say(&named(&wrong), "</iq>").await;
        assert!(answer.contains("<bad-request") && answer.contains("id='b'"), "{answer}");
        assert_eq!(bound(&client.say(&named("r"), "</iq>").await), "ana@d/r");
    }
}

#[tokio::test(start_paused = true)]
async fn more_sessions_than_an_account_may_have_are_refused() {
    let world = World::new();
    let most = Config::default().max_sessions;
    let mut all = Vec::new();
    for n in 0..most {
        all.push(world.login("ana", &n.to_string()).await);
    }
    let mut client = world.connect();
    client.log_in("ana").await;
    let answer = client.say(&named("more"), "</iq>").await;
    assert!(answer.contains("type='error'") && answer.contains("<resource-constraint"), "{answer}");
    // One that takes the place of another is welcome.
    assert_eq!(bound(&client.say(&named("0"), "</iq>").await), "ana@d/0");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_before_a_resource_is_bound() {
    let world = World::new();
    for early in ["<message to='bob@d'><body>x</body></message>", "<presence/>"] {
        let mut client = world.connect();
        client.log_in("ana").await;
        let end = client.say(early, "</stream:stream>").await;
        assert!(end.contains("<not-authorized"), "{early}: {end}");
    }
    let mut client = world.connect();
    client.say(HEADER, "</stream:features>").await;
    let end = client.say(&named("r"), "</stream:stream>").await;
    assert!(end.contains("<not-authorized"), "{end}");
}

/// RFC 6120 section 10.1.
#[tokio::test(start_paused = true)]
async fn what_one_says_to_another_comes_in_order() {
    let world = World::new();
    let mut ana = world.login("ana", "r").await;
    let mut bob = world.login("bob", "r").await;
    // A device answers requests of those that it has shown itself to.
    bob.write("<presence to='ana@d'/>").await;
    ana.hear("bob@d/r").await;
    let presence = |n: u32| format!("<presence to='bob@d/r'><status>{n}.</status></presence>");
    let message = |n: u32| format!("<message to='bob@d/r' type='chat'><body>{n}.</body></message>");
    let request =
        |n: u32| format!("<iq to='bob@d/r' type='get' id='q{n}'><x xmlns='urn:x'>{n}.</x></iq>");
    let mut said = String::new();
    for n in (0..30).step_by(3) {
        said.extend([presence(n), message(n + 1), request(n + 2)]);
    }
    ana.write(&said).await;
    let heard = bob.hear(">29.<").await;
    let places: Vec<_> = (0..30).map(|n| heard.find(&format!(">{n}.<")).unwrap()).collect();
    assert!(places.is_sorted(), "{heard}");
}
