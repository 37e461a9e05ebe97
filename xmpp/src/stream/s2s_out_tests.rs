use std::sync::Arc;

use super::super::names::Names;
use super::super::s2s_in::{self, Rules, S2sIn, Verdict};
use super::*;

const HEADER: &str = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
     xmlns:db='jabber:server:dialback' id='their-id' from='peer.example' to='d' version='1.0'>";
const STARTTLS: &str =
    "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>";
const EXTERNAL: &str = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
     <mechanism>EXTERNAL</mechanism></mechanisms></stream:features>";
const SASL_FAILURE: &str =
    "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>";

fn settings(purpose: Purpose) -> Settings {
    Settings {
        local: "d".into(),
        remote: "peer.example".into(),
        purpose,
        secret: [3; 32],
        require_valid_certificate: true,
        external: true,
        limits: Limits::default(),
    }
}

struct World {
    machine: S2sOut,
    now: Instant,
}

impl World {
    fn with(settings: Settings) -> Self {
        let now = Instant::now();
        Self { machine: S2sOut::new(settings, now), now }
    }

    /// Behind TLS with a valid certificate.
    fn secure() -> Self {
        let mut world = Self::with(settings(Purpose::Deliver));
        world.machine.handle_tls(true);
        world.drain();
        world
    }

    fn ready() -> Self {
        let mut world = Self::secure();
        world.hear(&format!("{HEADER}{EXTERNAL}"));
        world.hear("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
        let said = world.hear(&format!("{HEADER}<stream:features/>"));
        assert_eq!(said, ["ready by external"]);
        world.machine.note_written(world.now);
        world
    }

    fn hear(&mut self, text: &str) -> Vec<String> {
        self.machine.handle_bytes(text.as_bytes());
        self.drain()
    }

    fn drain(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.machine.poll_action())
            .map(|action| match action {
                Action::Send(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                Action::Ready { external } => {
                    format!("ready by {}", if external { "external" } else { "dialback" })
                }
                other => format!("{other:?}"),
            })
            .collect()
    }
}

#[test]
fn starttls_is_asked_for_even_where_it_is_not_offered() {
    for features in [STARTTLS, "<stream:features/>"] {
        let mut world = World::with(settings(Purpose::Deliver));
        world.machine.start();
        let header = world.drain().join("");
        assert!(header.contains(" from='d' to='peer.example' version='1.0'"), "{header}");
        let said = world.hear(&format!("{HEADER}{features}"));
        assert_eq!(said, ["<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"]);
        assert_eq!(world.hear("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), ["StartTls"]);
    }
    let mut world = World::with(settings(Purpose::Deliver));
    world.machine.start();
    world.hear(&format!("{HEADER}{STARTTLS}"));
    let said = world.hear("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").join("");
    assert!(said.contains("Failed(NoTls)"), "{said}");
}

#[test]
fn what_is_slipped_in_before_tls_ends_the_stream() {
    let mut world = World::with(settings(Purpose::Deliver));
    world.machine.start();
    world.hear(&format!("{HEADER}{STARTTLS}"));
    let said =
        world.hear("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><stream:features/>").join("");
    assert!(said.contains("Failed(Broken)") && !said.contains("StartTls"), "{said}");
}

#[test]
fn a_certificate_that_is_not_valid_ends_it_unless_the_setting_allows() {
    let mut world = World::with(settings(Purpose::Deliver));
    world.machine.handle_tls(false);
    assert_eq!(world.drain(), ["Failed(Certificate)", "Close"]);
    let lax = Settings { require_valid_certificate: false, ..settings(Purpose::Deliver) };
    let mut world = World::with(lax);
    world.machine.handle_tls(false);
    assert!(world.drain()[0].contains("<stream:stream"));
}

#[test]
fn external_comes_first_and_dialback_where_it_is_refused() {
    World::ready();
    let mut world = World::secure();
    let both = EXTERNAL.replace(
        "</stream:features>",
        "<dialback xmlns='urn:xmpp:features:dialback'/></stream:features>",
    );
    let said = world.hear(&format!("{HEADER}{both}"));
    assert_eq!(
        said,
        ["<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>ZA==</auth>"]
    );
    let key = dialback::key(&[3; 32], "peer.example", "d", "their-id");
    let said = world.hear(SASL_FAILURE);
    assert_eq!(said, [format!("<db:result from='d' to='peer.example'>{key}</db:result>")]);
    assert!(world.hear("<db:result from='other' to='d' type='valid'/>").is_empty());
    assert_eq!(
        world.hear("<db:result from='peer.example' to='d' type='valid'/>"),
        ["ready by dialback"]
    );
}

#[test]
fn a_refusal_is_told_from_a_broken_stream() {
    let table = [
        ("<db:result from='peer.example' to='d' type='invalid'/>", "Failed(Refused)"),
        (
            "<db:result from='peer.example' to='d' type='error'><error><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>",
            "Failed(Refused)",
        ),
        (
            "<db:result from='peer.example' to='d' type='error'><error><remote-server-timeout xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>",
            "Failed(Broken)",
        ),
        (
            "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
            "Failed(Refused)",
        ),
        (
            "<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
            "Failed(Broken)",
        ),
        ("</stream:stream>", "Failed(Broken)"),
        ("garbage", "Failed(Broken)"),
    ];
    for (said, failure) in table {
        let mut world = World::secure();
        world.hear(&format!("{HEADER}<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>"));
        let became = world.hear(said);
        assert!(
            became.contains(&failure.to_owned()) && became.last().unwrap() == "Close",
            "{said}: {became:?}"
        );
    }
    // A server that hangs up after it has refused EXTERNAL may take dialback on another stream.
    let mut world = World::secure();
    world.hear(&format!("{}{EXTERNAL}", HEADER.replace(" xmlns:db='jabber:server:dialback'", "")));
    assert!(world.hear(SASL_FAILURE).contains(&"Failed(ExternalRefused)".to_owned()));
}

#[test]
fn a_key_of_theirs_is_asked_about_and_only_the_answer_to_it_counts() {
    let purpose = Purpose::Verify { id: "our-id".into(), key: "abc".into() };
    for (kind, verdict) in
        [("valid", "Verified(true)"), ("invalid", "Verified(false)"), ("error", "Failed(Refused)")]
    {
        let mut world = World::with(settings(purpose.clone()));
        world.machine.handle_tls(true);
        world.drain();
        let said = world.hear(&format!("{HEADER}{EXTERNAL}"));
        assert_eq!(said, ["<db:verify from='d' to='peer.example' id='our-id'>abc</db:verify>"]);
        assert!(
            world.hear("<db:verify from='peer.example' to='d' id='x' type='valid'/>").is_empty()
        );
        assert!(world.hear("<db:verify from='other' to='d' id='our-id' type='valid'/>").is_empty());
        let said = world
            .hear(&format!("<db:verify from='peer.example' to='d' id='our-id' type='{kind}'/>"));
        assert_eq!((said[0].as_str(), said.last().unwrap().as_str()), (verdict, "Close"));
    }
}

#[test]
fn a_stream_that_does_not_get_ready_or_is_idle_is_closed() {
    let mut world = World::secure();
    world.now += NEGOTIATION;
    world.machine.handle_timeout(world.now);
    assert!(world.drain().contains(&"Failed(Timeout)".to_owned()));
    let mut world = World::ready();
    world.now += IDLE - Duration::from_secs(1);
    world.machine.note_written(world.now);
    world.machine.handle_timeout(world.now + Duration::from_secs(1));
    assert!(world.drain().is_empty());
    world.machine.handle_timeout(world.now + IDLE);
    assert_eq!(world.drain(), ["</stream:stream>", "Close"]);
}

#[test]
fn nothing_is_taken_from_a_stream_that_is_ours_to_send_on() {
    let mut world = World::ready();
    assert!(
        world.hear("<message from='a@peer.example' to='b@d'><body>x</body></message>").is_empty()
    );
    assert_eq!(world.hear("</stream:stream>"), ["</stream:stream>", "Close"]);
}

#[test]
fn garbage_never_panics() {
    for garbage in [
        "\0",
        "<",
        "<a>",
        "</a>",
        "<stream:features>",
        "<stream:features/>",
        "<db:result/>",
        "<db:verify/>",
        "<proceed/>",
        "<stream:error/>",
    ] {
        for mut world in [World::secure(), World::ready(), World::with(settings(Purpose::Deliver))]
        {
            for byte in garbage.bytes().chain(garbage.bytes()) {
                world.machine.handle_bytes(&[byte]);
                world.drain();
            }
            world.machine.handle_gone();
            world.drain();
        }
    }
}

/// Our two halves against each other, as two servers would: the stream of `d` to `peer.example`.
#[test]
fn the_two_halves_understand_each_other_by_certificate_and_by_dialback() {
    for (names, expected) in [(&["d"][..], "ready by external"), (&[], "ready by dialback")] {
        let params = rcgen::CertificateParams::new(
            names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>(),
        );
        let made = params.unwrap().self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let mut world = World::with(settings(Purpose::Deliver));
        let rules = Rules {
            serves: Arc::new(|domain| domain == "peer.example"),
            admits: Arc::new(|_| true),
            secret: [9; 32],
            limits: Limits::default(),
        };
        let mut theirs = S2sIn::new(rules, [1; 32], world.now);
        world.machine.start();
        let mut seen = Vec::new();
        loop {
            let mut moved = false;
            while let Some(action) = world.machine.poll_action() {
                moved = true;
                match action {
                    Action::Send(bytes) => theirs.handle_bytes(&bytes, world.now),
                    Action::StartTls => {
                        theirs.handle_tls(Names::of(made.der()));
                        world.machine.handle_tls(true);
                    }
                    Action::Ready { external } => {
                        seen.push(format!(
                            "ready by {}",
                            if external { "external" } else { "dialback" }
                        ));
                        let stanza =
                            "<message from='a@d' to='b@peer.example'><body>x</body></message>";
                        theirs.handle_bytes(stanza.as_bytes(), world.now);
                    }
                    other => panic!("{other:?}"),
                }
            }
            while let Some(action) = theirs.poll_action() {
                moved = true;
                match action {
                    s2s_in::Action::Send(bytes) => world.machine.handle_bytes(&bytes),
                    s2s_in::Action::Verify(asked) => {
                        let key = dialback::key(&[3; 32], "peer.example", "d", &asked.id);
                        let verdict =
                            if key == asked.key { Verdict::Valid } else { Verdict::Invalid };
                        theirs.handle_verified(&asked, verdict, world.now);
                    }
                    s2s_in::Action::Stanza(_) => seen.push("routed".into()),
                    s2s_in::Action::Close => panic!("closed"),
                    _ => {}
                }
            }
            if !moved {
                break;
            }
        }
        assert_eq!(seen, [expected, "routed"]);
    }
}
