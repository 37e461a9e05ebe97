use super::super::dialback;
use super::*;

const OPEN: &str = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
     xmlns:db='jabber:server:dialback' from='peer.example' to='d' version='1.0'>";

struct World {
    machine: S2sIn,
    now: Instant,
}

fn rules() -> Rules {
    Rules {
        serves: Arc::new(|domain| matches!(domain, "d" | "rooms.d")),
        admits: Arc::new(|domain| domain != "denied.example"),
        secret: [3; 32],
        limits: Limits::default(),
    }
}

fn certificate(names: &[&str]) -> Names {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let params = rcgen::CertificateParams::new(names).unwrap();
    Names::of(params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der())
}

impl World {
    fn plain() -> Self {
        let now = Instant::now();
        Self { machine: S2sIn::new(rules(), [7; 32], now), now }
    }

    /// Behind TLS, with these names on the peer's certificate; the header has been exchanged.
    fn secure(names: &[&str]) -> Self {
        let mut world = Self::plain();
        world.machine.handle_tls(certificate(names));
        let features = world.say(OPEN).join("");
        assert!(features.contains("<stream:features"), "{features}");
        world
    }

    /// One that may send from `peer.example` to `d`.
    fn authenticated() -> Self {
        let mut world = Self::secure(&["peer.example"]);
        let said = world
            .say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>");
        assert!(said.contains(&"peer.example -> d by external".to_owned()), "{said:?}");
        let said = world.say(OPEN).join("");
        assert!(said.contains("<stream:features") && !said.contains("<mechanisms"), "{said}");
        world
    }

    fn say(&mut self, text: &str) -> Vec<String> {
        self.machine.handle_bytes(text.as_bytes(), self.now);
        self.drain()
    }

    fn drain(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.machine.poll_action())
            .map(|action| match action {
                Action::Send(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                Action::StartTls => "tls".into(),
                Action::Verify(asked) => {
                    format!("verify {} {} {} {}", asked.from, asked.to, asked.id, asked.key)
                }
                Action::Authenticated { from, to, by } => format!("{from} -> {to} by {by}"),
                Action::Stanza(stanza) => {
                    format!("routed {}", String::from_utf8_lossy(&stanza.bytes()))
                }
                Action::Close => "closed".into(),
            })
            .collect()
    }

    fn asked(&self, key: &str) -> Verification {
        Verification {
            from: "peer.example".into(),
            to: "d".into(),
            id: self.machine.stream_id.clone(),
            key: key.into(),
        }
    }
}

/// RFC 6120 section 5.4.2: before TLS there is STARTTLS and nothing else.
#[test]
fn tls_comes_first_and_nothing_may_be_slipped_in_before_it() {
    let mut world = World::plain();
    let features = world.say(OPEN).join("");
    assert!(features.contains("<starttls") && features.contains("<required/>"), "{features}");
    assert!(!features.contains("dialback'><errors"), "{features}");
    let said = world.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    assert_eq!(said, ["<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "tls"]);
    assert!(world.say("<message/>").join("").contains("<policy-violation"));
    for early in [
        "<db:result from='peer.example' to='d'>k</db:result>",
        "<message from='a@peer.example' to='b@d'/>",
    ] {
        let mut world = World::plain();
        world.say(OPEN);
        assert!(world.say(early).join("").ends_with("</stream:stream>closed"), "{early}");
    }
}

#[test]
fn headers_that_do_not_fit_are_answered_with_a_header_and_their_error() {
    let table = [
        (OPEN.replace("to='d'", "to='other.d'"), "host-unknown"),
        (OPEN.replace("to='d'", ""), "host-unknown"),
        (OPEN.replace("jabber:server' ", "jabber:client' "), "invalid-namespace"),
        (OPEN.replace("peer.example", "a@@b"), "invalid-from"),
        (OPEN.replace("peer.example", "denied.example"), "policy-violation"),
        // Nobody else speaks for our own domains.
        (OPEN.replace("peer.example", "rooms.d"), "policy-violation"),
    ];
    for (header, condition) in table {
        let said = World::plain().say(&header).join("");
        assert!(said.starts_with("<?xml version='1.0'?><stream:stream "), "{said}");
        assert!(said.contains(&format!("<{condition} ")) && said.ends_with("closed"), "{said}");
    }
}

/// XEP-0178 section 3: EXTERNAL is for who has a certificate of the domain.
#[test]
fn external_is_offered_to_and_works_for_the_certificate_s_own_domain_only() {
    World::authenticated();
    let auth = |authzid: &str| {
        format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>{}</auth>",
            BASE64.encode(authzid)
        )
    };
    for (names, authzid, fits) in [
        (&["peer.example"][..], "peer.example", true),
        (&["*.example"], "peer.example", false),
        (&["other.example"], "peer.example", false),
        (&["peer.example", "other.example"], "other.example", false),
        (&[], "peer.example", false),
    ] {
        let mut world = World::plain();
        world.machine.handle_tls(certificate(names));
        let offered = world.say(OPEN).join("").contains("<mechanism>EXTERNAL</mechanism>");
        assert_eq!(offered, names.contains(&"peer.example"), "{names:?}");
        let said = world.say(&auth(authzid)).join("");
        assert_eq!(said.contains("<success"), fits, "{names:?} {authzid}: {said}");
        assert_eq!(said.contains("<not-authorized"), !fits, "{names:?} {authzid}: {said}");
    }
}

#[test]
fn a_key_is_shown_to_the_server_of_its_domain_and_its_verdict_counts() {
    for (verdict, answer) in [
        (Verdict::Valid, "type='valid'/>"),
        (Verdict::Invalid, "type='invalid'/>"),
        (Verdict::Unreachable, "<remote-server-timeout"),
    ] {
        let mut world = World::secure(&[]);
        let said = world.say("<db:result from='peer.example' to='d'> abc\n</db:result>");
        let asked = world.asked("abc");
        assert_eq!(said, [format!("verify peer.example d {} abc", asked.id)]);
        // Asked again meanwhile, it is not asked twice.
        assert!(world.say("<db:result from='peer.example' to='d'>abc</db:result>").is_empty());
        world.machine.handle_verified(&asked, verdict, world.now);
        let said = world.drain().join("");
        assert!(said.contains(answer) && said.contains("from='d' to='peer.example'"), "{said}");
        let said = world.say("<message from='a@peer.example' to='b@d'/>").join("");
        assert_eq!(said.starts_with("routed"), verdict == Verdict::Valid, "{said}");
    }
}

#[test]
fn a_verdict_about_another_stream_or_pair_is_dropped() {
    let mut world = World::secure(&[]);
    world.say("<db:result from='peer.example' to='d'>abc</db:result>");
    let right = world.asked("abc");
    for wrong in [
        Verification { id: "x".into(), ..right.clone() },
        Verification { from: "x".into(), ..right.clone() },
        Verification { to: "rooms.d".into(), ..right },
    ] {
        world.machine.handle_verified(&wrong, Verdict::Valid, world.now);
        assert!(world.drain().is_empty());
    }
}

/// XEP-0220 section 2.2.1: an unknown target is an error of dialback, not of the stream.
#[test]
fn what_dialback_cannot_give_is_an_error_that_leaves_the_stream() {
    for (from, to, condition) in [
        ("peer.example", "unknown", "item-not-found"),
        ("denied.example", "d", "not-allowed"),
        ("d", "rooms.d", "not-allowed"),
    ] {
        let mut world = World::authenticated();
        let said = world.say(&format!("<db:result from='{from}' to='{to}'>k</db:result>")).join("");
        assert!(said.contains(&format!("<{condition} ")) && !said.contains("closed"), "{said}");
        assert_eq!(world.say("<message from='a@peer.example' to='b@d'/>").len(), 1);
    }
}

/// A second pair over one stream (XEP-0220 section 2.5), without a look back where the certificate proves it.
#[test]
fn one_stream_carries_several_pairs_and_each_is_proven() {
    let mut world = World::secure(&["peer.example"]);
    let said = world.say("<db:result from='peer.example' to='d'>k</db:result>");
    assert_eq!(said[0], "peer.example -> d by certificate");
    let stanza = "<message from='a@peer.example' to='tea@rooms.d'/>";
    let said = world.say("<db:result from='peer.example' to='rooms.d'>k</db:result>");
    assert_eq!(said[0], "peer.example -> rooms.d by certificate");
    assert!(world.say(stanza)[0].starts_with("routed"));
    let said = world.say("<db:result from='chat.peer.example' to='d'>k</db:result>");
    assert!(said[0].starts_with("verify chat.peer.example d"), "{said:?}");
    let said = world.say("<message from='r@chat.peer.example' to='b@d'/>").join("");
    assert!(said.contains("<invalid-from "), "{said}");
}

/// RFC 6120 sections 4.9.3.6, 4.9.3.7 and 4.9.3.9.
#[test]
fn stanzas_come_from_an_authenticated_pair_with_both_addresses() {
    let table = [
        ("<message from='a@other.example' to='b@d'/>", "invalid-from"),
        ("<message from='a@sub.peer.example' to='b@d'/>", "invalid-from"),
        ("<message from='a@d' to='b@d'/>", "invalid-from"),
        ("<message from='a@peer.example' to='b@rooms.d'/>", "invalid-from"),
        ("<message from='a@peer.example' to='b@elsewhere'/>", "host-unknown"),
        ("<message from='a@peer.example'/>", "improper-addressing"),
        ("<message to='b@d'/>", "improper-addressing"),
        ("<message from='a@@' to='b@d'/>", "improper-addressing"),
        ("<other/>", "unsupported-stanza-type"),
        ("<message from='a@peer.example' to='b@d'><x:y/></message>", "bad-namespace-prefix"),
    ];
    for (stanza, condition) in table {
        let said = World::authenticated().say(stanza).join("");
        assert!(
            said.contains(&format!("<{condition} ")) && said.ends_with("closed"),
            "{stanza}: {said}"
        );
    }
    let said = World::secure(&["peer.example"]).say("<message from='a@peer.example' to='b@d'/>");
    assert!(said.join("").contains("<not-authorized "), "{said:?}");
    // An addressee that is none costs the stanza only.
    let mut world = World::authenticated();
    assert!(world.say("<message from='a@peer.example' to='b@@d'/>").is_empty());
    assert_eq!(world.say("<message from='a@peer.example' to='b@d'/>").len(), 1);
}

#[test]
fn the_content_namespace_becomes_ours_and_all_else_passes_untouched() {
    let mut world = World::authenticated();
    let stanza = "<message xmlns='jabber:server' from='a@peer.example' to='b@d' id=\"1\" x='y'>\
         <body xmlns='jabber:server'>t</body><f xmlns='f'><m xmlns='jabber:server'/></f></message>";
    assert_eq!(
        world.say(stanza),
        ["routed <message from='a@peer.example' to='b@d' id='1' x='y'>\
          <body xmlns='jabber:client'>t</body><f xmlns='f'><m xmlns='jabber:server'/></f></message>"]
    );
}

/// XEP-0220 section 2.2.2: we are the authority for our keys, also on a stream that is not authenticated.
#[test]
fn keys_that_we_gave_out_are_confirmed_and_others_are_not() {
    let mut world = World::plain();
    world.say(OPEN);
    let key = dialback::key(&[3; 32], "peer.example", "d", "their-id");
    for (key, id, to, answer) in [
        (key.as_str(), "their-id", "d", "type='valid'"),
        (key.as_str(), "other-id", "d", "type='invalid'"),
        ("abc", "their-id", "d", "type='invalid'"),
        (key.as_str(), "their-id", "unknown", "<item-not-found"),
    ] {
        let verify =
            format!("<db:verify from='peer.example' to='{to}' id='{id}'>{key}</db:verify>");
        let said = world.say(&verify).join("");
        assert!(said.contains(answer) && said.contains(&format!("id='{id}'")), "{said}");
        assert!(!said.contains("closed"), "{said}");
    }
}

#[test]
fn who_authenticates_nothing_is_shown_out_and_who_is_idle_hears_white_space() {
    let mut world = World::secure(&[]);
    world.now += NEGOTIATION;
    world.machine.handle_timeout(world.now);
    assert!(world.drain().join("").contains("<connection-timeout "));
    let mut world = World::authenticated();
    for _ in 0..3 {
        world.now = world.machine.poll_timeout().unwrap();
        world.machine.handle_timeout(world.now);
        assert_eq!(world.drain(), [" "]);
    }
}

#[test]
fn a_flood_of_presence_and_a_storm_of_probes_are_cut() {
    for kind in ["", " type='unavailable'", " type='probe'"] {
        let mut world = World::authenticated();
        let one = format!("<presence from='a@peer.example/x' to='b@d'{kind}/>");
        let routed: usize = (0..2_000).map(|_| world.say(&one).len()).sum();
        assert_eq!(routed, 100, "{kind}");
        assert_eq!(world.say("<presence from='c@peer.example' to='b@d'/>").len(), 1);
        assert_eq!(world.say("<message from='a@peer.example' to='b@d'/>").len(), 1);
    }
}

#[test]
fn attempts_and_pairs_are_counted() {
    let mut world = World::secure(&[]);
    let said: String = (0..MAX_REFUSED)
        .map(|_| world.say("<db:result from='peer.example' to='unknown'>k</db:result>").join(""))
        .collect();
    assert!(said.contains("<policy-violation ") && said.ends_with("closed"), "{said}");
    let mut world = World::authenticated();
    let said: Vec<String> = (0..MAX_VERIFYING + 1)
        .flat_map(|n| world.say(&format!("<db:result from='x{n}.example' to='d'>k</db:result>")))
        .collect();
    assert_eq!(said.iter().filter(|s| s.starts_with("verify")).count(), MAX_VERIFYING);
    assert!(said.last().unwrap().contains("<resource-constraint "), "{said:?}");
}

#[test]
fn garbage_ends_its_stream_and_never_panics() {
    for garbage in [
        "\0",
        "<",
        "<a",
        "<a>",
        "</a>",
        "<stream:stream>",
        "]]>",
        "<!DOCTYPE x>",
        "<?x?>",
        "&",
        "<a xmlns:b=''/>",
        "<db:result>",
        "<db:result/>",
        "<db:verify/>",
        "<db:result from='a@@' to='d'/>",
        "<auth/>",
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>!!</auth>",
        "<stream:error/>",
        "<stream:features/>",
        "<iq/>",
        "<presence/>",
    ] {
        for mut world in [World::plain(), World::secure(&["peer.example"]), World::authenticated()]
        {
            for byte in garbage.bytes() {
                world.machine.handle_bytes(&[byte], world.now);
                world.drain();
            }
            world.machine.handle_bytes(garbage.as_bytes(), world.now);
            world.drain();
        }
    }
    let long = "x".repeat(Limits::default().unauthenticated_bytes);
    assert!(
        World::secure(&[])
            .say(&format!("<db:result>{long}"))
            .join("")
            .contains("<policy-violation ")
    );
}
