use std::time::Duration;

use super::*;

const OPEN: &str = "<stream:stream xmlns='jabber:component:accept' \
     xmlns:stream='http://etherx.jabber.org/streams' to='filter.d'>";

struct World {
    component: Component,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let hosts = vec![Host { domain: "filter.d".into(), secret: "s3cret".into() }];
        let now = Instant::now();
        Self { component: Component::new(hosts, Limits::default(), [7; 32], now), now }
    }

    fn accepted() -> Self {
        let mut world = World::new();
        let header = world.say(OPEN).join("");
        let id = header.split("id='").nth(1).unwrap().split('\'').next().unwrap();
        let proof = hex(&Sha1::digest(format!("{id}s3cret")));
        let said = world.say(&format!("<handshake>{proof}</handshake>"));
        assert_eq!(said, ["<handshake/>", "accepted filter.d"]);
        world
    }

    fn say(&mut self, text: &str) -> Vec<String> {
        self.component.handle_bytes(text.as_bytes(), self.now);
        self.drain()
    }

    fn drain(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.component.poll_action())
            .map(|action| match action {
                Action::Send(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                Action::Accepted(domain) => format!("accepted {domain}"),
                Action::Stanza(stanza) => {
                    format!("routed {}", String::from_utf8_lossy(&stanza.bytes()))
                }
                Action::Close => "closed".into(),
            })
            .collect()
    }
}

#[test]
fn a_component_that_knows_the_secret_is_accepted_and_its_stanzas_are_routed() {
    let mut world = World::accepted();
    let stanza = "<message from='a@filter.d/x' to='ana@d'><body xmlns='jabber:component:accept'>hi</body></message>";
    assert_eq!(
        world.say(stanza),
        [
            "routed <message from='a@filter.d/x' to='ana@d'><body xmlns='jabber:client'>hi</body></message>"
        ]
    );
    assert_eq!(world.say("</stream:stream>"), ["</stream:stream>", "closed"]);
}

#[test]
fn a_wrong_handshake_ends_the_stream() {
    let mut world = World::new();
    world.say(OPEN);
    let said =
        world.say("<handshake>da39a3ee5e6b4b0d3255bfef95601890afd80709</handshake>").join("");
    assert!(said.contains("<not-authorized") && said.ends_with("</stream:stream>closed"), "{said}");
    // The secret is not spelled out in logs.
    assert!(!format!("{:?}", World::new().component).contains("s3cret"));
}

#[test]
fn a_header_that_does_not_fit_is_answered_with_a_header_and_its_error() {
    let table = [
        (OPEN.replace("filter.d", "other.d"), "host-unknown"),
        (OPEN.replace("to='filter.d'", ""), "host-unknown"),
        (OPEN.replace("component:accept", "client"), "invalid-namespace"),
        (OPEN.replace("etherx.jabber.org/streams", "x"), "invalid-namespace"),
        ("<stream:stream to='filter.d'".to_owned() + " a='b' a='c'>", "not-well-formed"),
    ];
    for (header, condition) in table {
        let mut world = World::new();
        let said = world.say(&header).join("");
        assert!(said.starts_with("<?xml version='1.0'?><stream:stream "), "{said}");
        assert!(said.contains(&format!("<{condition} ")) && said.ends_with("closed"), "{said}");
    }
}

#[test]
fn a_component_speaks_for_its_own_domain_only() {
    let table = [
        ("<message from='ana@d' to='bob@d'/>", "invalid-from"),
        ("<message from='x@sub.filter.d' to='bob@d'/>", "invalid-from"),
        ("<message to='bob@d'/>", "improper-addressing"),
        ("<message from='x@filter.d'/>", "improper-addressing"),
        ("<other from='x@filter.d' to='bob@d'/>", "unsupported-stanza-type"),
        ("<message from='x@filter.d' to='bob@d'><!-- --></message>", "restricted-xml"),
    ];
    for (stanza, condition) in table {
        let said = World::accepted().say(stanza).join("");
        assert!(said.contains(&format!("<{condition} ")) && said.ends_with("closed"), "{said}");
    }
}

#[test]
fn an_address_that_is_none_costs_the_stanza_only() {
    let mut world = World::accepted();
    let said = world.say("<message id='1' from='x@filter.d' to='a@@d'/>").join("");
    assert!(said.contains("<jid-malformed") && said.contains("to='x@filter.d'"), "{said}");
    assert_eq!(world.say("<presence from='filter.d' to='ana@d'/>").len(), 1);
}

#[test]
fn who_says_nothing_is_shown_out_and_who_is_idle_hears_white_space() {
    let mut world = World::new();
    world.now += Limits::default().unauthenticated_time;
    world.component.handle_timeout(world.now);
    assert!(world.drain().join("").contains("<connection-timeout"));
    let mut world = World::accepted();
    for _ in 0..3 {
        assert_eq!(world.component.poll_timeout(), Some(world.now + Limits::default().idle));
        world.now += Limits::default().idle;
        world.component.handle_timeout(world.now);
        assert_eq!(world.drain(), [" "]);
    }
    world.component.handle_timeout(world.now + Duration::from_secs(1));
    assert!(world.drain().is_empty());
}

#[test]
fn no_more_than_the_limit_before_the_handshake_and_no_stanza_over_the_limit_after_it() {
    let mut world = World::new();
    let long = "x".repeat(Limits::default().unauthenticated_bytes);
    assert!(world.say(&format!("{OPEN}<handshake>{long}")).join("").contains("<policy-violation"));
    let mut world = World::accepted();
    let long = "x".repeat(Limits::default().stanza_bytes);
    let said = world.say(&format!("<message from='filter.d' to='ana@d'><body>{long}")).join("");
    assert!(said.contains("<policy-violation"), "{said}");
}

#[test]
fn what_goes_to_a_component_is_in_its_namespace() {
    let given =
        Bytes::from("<message to='filter.d'><body xmlns='jabber:client'>x</body></message>");
    let expected =
        "<message to='filter.d'><body xmlns='jabber:component:accept'>x</body></message>";
    assert_eq!(Component::frame(&given), expected);
}
