//! The stream from the client's end, in virtual time (RFC 6120, RFC 7395), and each limit.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::*;
use crate::stanza::Stanza;
use crate::stream::question::{Answer, Question};
use crate::stream::sasl::{LoginKeys, PasswordKeys};

struct Client {
    machine: C2s,
    now: Instant,
    said: String,
    closed: bool,
    stanzas: Vec<Stanza>,
    /// What the driver would do beside.
    others: Vec<Action>,
}

const HEADER: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='d' version='1.0'>";

impl Client {
    fn new(transport: Transport) -> Self {
        let now = Instant::now();
        let limits = Limits::default();
        let machine =
            C2s::new(transport, vec!["d".into()], limits, Secured::default(), [7; 32], now);
        Self {
            machine,
            now,
            said: String::new(),
            closed: false,
            stanzas: Vec::new(),
            others: Vec::new(),
        }
    }

    /// Sends text and gives what the server said since.
    fn say(&mut self, text: &str) -> String {
        self.machine.handle_bytes(text.as_bytes(), self.now);
        self.drain()
    }

    fn wait(&mut self, seconds: u64) -> String {
        self.now += Duration::from_secs(seconds);
        self.machine.handle_timeout(self.now);
        self.drain()
    }

    fn drain(&mut self) -> String {
        self.said.clear();
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Send(bytes) | Action::Reply(bytes) => {
                    self.said.push_str(std::str::from_utf8(&bytes).unwrap());
                }
                Action::StartTls => self.machine.handle_tls(Secured::default()),
                Action::Ask(question) => {
                    let answer = self.answer(*question);
                    self.machine.handle_answer(answer, self.now);
                }
                Action::Bind(resource) => {
                    let jid = format!("ana@d/{}", resource.unwrap_or_else(|| "made".into()));
                    self.machine.handle_bound(Jid::parse(&jid).unwrap(), self.now);
                }
                Action::BindInline { bind, .. } => {
                    let jid = format!("ana@d/{}/made", bind.tag.unwrap_or_default());
                    let jid = Jid::parse(&jid).unwrap();
                    self.machine.handle_bound_inline(jid, Vec::new(), self.now);
                }
                Action::Register { domain, iq } => {
                    let answer = Element::new("iq", ns::CLIENT)
                        .with_attr_opt("id", iq.attr("id"))
                        .with_attr("from", domain)
                        .with_attr("type", "result");
                    self.machine.handle_registered(&answer);
                }
                Action::Stanza(stanza) => self.stanzas.push(*stanza),
                Action::LoggedIn(_) => {}
                Action::Close { last, .. } => {
                    self.said.push_str(std::str::from_utf8(&last).unwrap());
                    self.closed = true;
                }
                other => self.others.push(other),
            }
        }
        self.said.clone()
    }

    /// There is one account, `ana`, whose password is `secret`.
    fn answer(&self, question: Question) -> Answer {
        match question {
            Question::Keys(claim) => {
                let own = || Arc::new(PasswordKeys::derive("secret", b"salt", 10));
                let keys = (claim.name() == "ana").then(own);
                Answer::Keys(LoginKeys::new(keys, b"s", claim.name(), 10))
            }
            Question::Derive { password, salt, iterations } => {
                crate::service::derive(&password.0, &salt, iterations)
            }
            question => panic!("not asked here: {question:?}"),
        }
    }

    fn plain(password: &str) -> String {
        let message = BASE64.encode(format!("\0ana\0{password}"));
        format!("<auth xmlns='{SASL}' mechanism='PLAIN'>{message}</auth>")
    }

    fn bound() -> Self {
        let mut client = Self::new(Transport::Tls);
        client.say(HEADER);
        assert!(client.say(&Self::plain("secret")).contains("<success"));
        client.say(HEADER);
        let bind = format!(
            "<iq type='set' id='b'><bind xmlns='{BIND}'><resource>r</resource></bind></iq>"
        );
        assert!(client.say(&bind).contains("ana@d/r"));
        client
    }
}

#[test]
fn nothing_but_starttls_is_offered_in_the_clear_and_login_follows_it() {
    let mut client = Client::new(Transport::Tcp);
    let features = client.say(HEADER);
    assert!(features.contains("<starttls") && !features.contains("mechanism"), "{features}");
    let answer = client.say(&format!("<starttls xmlns='{TLS}'/>"));
    assert!(answer.contains("<proceed"), "{answer}");
    assert!(client.say(HEADER).contains("SCRAM-SHA-256"));
}

#[test]
fn a_login_in_the_clear_and_bytes_smuggled_before_tls_are_refused() {
    let mut client = Client::new(Transport::Tcp);
    client.say(HEADER);
    assert!(client.say(&Client::plain("secret")).contains("not-authorized"));
    assert!(client.closed);

    let mut client = Client::new(Transport::Tcp);
    client.say(HEADER);
    let answer = client.say(&format!("<starttls xmlns='{TLS}'/><iq/>"));
    assert!(answer.contains("policy-violation") && client.closed, "{answer}");
}

#[test]
fn sixteen_kib_before_login_are_the_end() {
    let mut client = Client::new(Transport::Tls);
    client.say(HEADER);
    let room = 16 * 1024 - HEADER.len();
    client.say(&" ".repeat(room));
    assert!(!client.closed);
    assert!(client.say(" ").contains("policy-violation"));
    assert!(client.closed);
}

#[test]
fn fifteen_seconds_without_login_are_the_end() {
    let mut client = Client::new(Transport::Tls);
    client.say(HEADER);
    client.wait(14);
    assert!(!client.closed);
    assert!(client.wait(1).contains("connection-timeout"));
    assert!(client.closed);
}

/// The answer waits when others have guessed: who knows the password is let in all the same.
#[test]
fn the_time_that_an_answer_takes_is_not_the_clients() {
    let mut client = Client::new(Transport::Tls);
    client.say(HEADER);
    client.machine.handle_bytes(Client::plain("secret").as_bytes(), client.now);
    let Some(Action::Ask(question)) = client.machine.poll_action() else { panic!("no question") };
    client.now += Duration::from_secs(60);
    let answer = client.answer(*question);
    client.machine.handle_answer(answer, client.now);
    client.machine.handle_timeout(client.now);
    assert!(client.drain().contains("<success"));
    assert!(!client.closed);
    assert!(client.wait(15).contains("connection-timeout"), "then it is the client's again");
}

#[test]
fn the_third_wrong_password_ends_the_stream() {
    let mut client = Client::new(Transport::Tls);
    client.say(HEADER);
    for _ in 0..2 {
        assert!(client.say(&Client::plain("wrong")).contains("<not-authorized"));
        assert!(!client.closed);
    }
    client.say(&Client::plain("wrong"));
    assert!(client.closed);
}

#[test]
fn unknown_name_and_wrong_password_sound_the_same() {
    let answer = |name: &str| {
        let mut client = Client::new(Transport::Tls);
        client.say(HEADER);
        let message = BASE64.encode(format!("\0{name}\0wrong"));
        client.say(&format!("<auth xmlns='{SASL}' mechanism='PLAIN'>{message}</auth>"))
    };
    assert_eq!(answer("ana"), answer("nobody"));
}

#[test]
fn too_long_too_deep_or_too_rich_stanzas_are_policy_violations() {
    let deep = format!("<message>{}", "<a>".repeat(100_000));
    let long = format!("<message><body>{}</body></message>", "x".repeat(256 * 1024));
    let attributes: String = (0..257).map(|n| format!(" a{n}='x'")).collect();
    let rich = format!("<message><a{attributes}/></message>");
    for bad in [deep, long, rich] {
        let mut client = Client::bound();
        assert!(client.say(&bad).contains("policy-violation"), "{}", &bad[..40]);
        assert!(client.closed);
        assert!(client.stanzas.is_empty());
    }
    // Just inside each bound.
    let deep = format!("<message>{}{}</message>", "<a>".repeat(63), "</a>".repeat(63));
    let long = format!("<message><body>{}</body></message>", "x".repeat(250 * 1024));
    let attributes: String = (0..256).map(|n| format!(" a{n}='x'")).collect();
    let rich = format!("<message><a{attributes}/></message>");
    for good in [deep, long, rich] {
        let mut client = Client::bound();
        client.say(&good);
        assert_eq!((client.stanzas.len(), client.closed), (1, false), "{}", &good[..40]);
    }
}

#[test]
fn faults_end_the_stream_with_their_condition() {
    let table = [
        ("<message><!-- x --></message>", "restricted-xml"),
        ("<message>&unknown;</message>", "restricted-xml"),
        ("<message></iq>", "not-well-formed"),
        ("<message><p:a/></message>", "bad-namespace-prefix"),
        ("<message>\u{1}</message>", "not-well-formed"),
        ("<other/>", "unsupported-stanza-type"),
        ("<message from='bob@d/x'/>", "invalid-from"),
        ("text", "not-well-formed"),
    ];
    for (bad, condition) in table {
        let mut client = Client::bound();
        let said = client.say(bad);
        assert!(said.contains(condition) && client.closed, "{bad}: {said}");
    }
    let mut client = Client::bound();
    let said = client.say("<message to='@@@' id='7'/>");
    assert!(said.contains("jid-malformed") && said.contains("id='7'") && !client.closed, "{said}");
}

#[test]
fn a_wrong_domain_is_told_after_our_own_header() {
    let mut client = Client::new(Transport::Tls);
    let said = client.say(&HEADER.replace("to='d'", "to='elsewhere'"));
    assert!(said.starts_with("<?xml") && said.contains("<host-unknown"), "{said}");
    assert!(client.closed);
}

#[test]
fn a_domain_is_known_in_every_form() {
    let limits = Limits::default();
    for to in ["b\u{fc}cher", "BU\u{308}CHER", "xn--bcher-kva"] {
        let mut client = Client::new(Transport::Tls);
        let domains = vec!["b\u{fc}cher".into()];
        client.machine =
            C2s::new(Transport::Tls, domains, limits, Secured::default(), [7; 32], client.now);
        let said = client.say(&HEADER.replace("to='d'", &format!("to='{to}'")));
        assert!(said.contains("<stream:features"), "{to}: {said}");
    }
}

#[test]
fn a_silent_client_is_pinged_and_then_dropped() {
    let mut client = Client::bound();
    assert!(client.wait(300).contains("urn:xmpp:ping"));
    client.say(" ");
    assert!(client.wait(299).is_empty());
    assert!(client.wait(1).contains("urn:xmpp:ping"));
    assert!(client.wait(60).contains("connection-timeout"));
}

#[test]
fn over_websocket_each_frame_stands_for_itself() {
    let mut client = Client::new(Transport::WebSocket);
    let open = format!("<open xmlns='{FRAMING}' to='d' version='1.0'/>");
    let said = client.say(&open);
    assert!(said.starts_with("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'"), "{said}");
    assert!(said.contains("<stream:features xmlns:stream='http://etherx.jabber.org/streams'"));
    assert!(client.say(&Client::plain("secret")).contains("<success xmlns="));
    assert!(client.say(&open).contains("<bind"));
    let framed = client.machine.frame(Bytes::from_static(b"<message to='a'><body/></message>"));
    assert_eq!(&framed[..], b"<message xmlns='jabber:client' to='a'><body/></message>");
    assert!(client.say(&format!("<close xmlns='{FRAMING}'/>")).contains("<close"));
    assert!(client.closed);
}

#[test]
fn a_websocket_message_is_one_element() {
    let open = format!("<open xmlns='{FRAMING}' to='d' version='1.0'/>");
    let bad = [
        format!("{open}{open}"),
        format!("{open}{}", Client::plain("secret")),
        "<open".to_owned(),
        format!("{open}x"),
        HEADER.to_owned(),
    ];
    for bad in bad {
        let mut client = Client::new(Transport::WebSocket);
        let said = client.say(&bad);
        assert!(said.contains("<not-well-formed") && client.closed, "{bad}: {said}");
    }
    // A stanza in two messages is none.
    let mut client = Client::new(Transport::WebSocket);
    client.say(&open);
    client.say(&Client::plain("secret"));
    client.say(&open);
    client.say(&format!("<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='{BIND}'/></iq>"));
    assert!(!client.closed);
    client.say(" ");
    assert!(client.say("<message xmlns='jabber:client'>").contains("<not-well-formed"));
    assert!(client.stanzas.is_empty());
}

#[test]
fn a_default_namespace_in_a_value_is_no_declaration() {
    let client = Client::new(Transport::WebSocket);
    let framed = client.machine.frame(Bytes::from_static(b"<message id='x xmlns=y'/>"));
    assert_eq!(&framed[..], b"<message xmlns='jabber:client' id='x xmlns=y'/>");
}

/// RFC 6120 section 4.8.4: what the header declares holds for the stanzas, and goes with them to other streams.
#[test]
fn prefixes_of_the_header_hold_in_stanzas() {
    let header = HEADER.replace(" to=", " xmlns:c='jabber:client' xmlns:x='urn:x' to=");
    let mut client = Client::new(Transport::Tls);
    client.say(&header);
    client.say(&Client::plain("secret"));
    client.say(&header);
    client.say(&format!("<c:iq type='set' id='b'><bind xmlns='{BIND}'/></c:iq>"));
    client.say("<message to='bob@d'><x:a x:b='1'/></message>");
    client.say("<c:message to='bob@d'><c:body>hi</c:body></c:message>");
    client.say("<message to='bob@d'><body>plain</body></message>");
    assert!(!client.closed);
    let sent: Vec<Stanza> =
        client.stanzas.iter().map(|s| Stanza::parse(s.bytes()).unwrap()).collect();
    assert!(sent[0].has("a", "urn:x"));
    assert_eq!(sent[1].body().as_deref(), Some("hi"));
    assert!(sent[1].bytes().starts_with(b"<message "));
    assert!(!String::from_utf8_lossy(&sent[2].bytes()).contains("xmlns"));
}

const REGISTER: &str = "<iq type='get' id='r'><query xmlns='jabber:iq:register'/></iq>";
const PREAUTH: &str = "<iq type='set' id='p'><preauth xmlns='urn:xmpp:pars:0' token='t'/></iq>";

/// XEP-0077 section 8 and XEP-0445 section 3: offered where it may be used, and only over TLS.
#[test]
fn accounts_are_made_before_login_where_that_is_offered() {
    let offer = |transport, registers| {
        let mut client = Client::new(transport);
        client.machine = client.machine.with_registration(registers);
        let features = client.say(HEADER);
        (client, features)
    };
    let open = Registers { open: true, by_token: false };
    let by_token = Registers { open: false, by_token: true };
    let (mut client, features) = offer(Transport::Tls, by_token);
    assert!(features.contains("<register xmlns='urn:xmpp:ibr-token:0'/>"), "{features}");
    assert!(features.contains("<register xmlns='http://jabber.org/features/iq-register'/>"));
    for request in [PREAUTH, REGISTER] {
        assert!(client.say(request).contains("type='result'"));
    }
    assert!(
        client
            .say("<iq type='get' id='x'><ping xmlns='urn:xmpp:ping'/></iq>")
            .contains("<not-authorized")
    );
    let (_, features) = offer(Transport::Tls, open);
    assert!(features.contains("iq-register") && !features.contains("ibr-token"), "{features}");
    for (transport, registers) in [(Transport::Tls, Registers::default()), (Transport::Tcp, open)] {
        let (mut client, features) = offer(transport, registers);
        assert!(!features.contains("<register"), "{features}");
        assert!(client.say(REGISTER).contains("<not-authorized"));
    }
}

/// XEP-0478: a client knows before and after login how long its stanzas may be.
#[test]
fn the_limits_are_told_before_and_after_login() {
    let mut client = Client::new(Transport::Tls);
    let limits = |bytes: usize| format!("<limits xmlns='{LIMITS}'><max-bytes>{bytes}</max-bytes>");
    let said = client.say(HEADER);
    assert!(said.contains(&limits(Limits::default().unauthenticated_bytes)), "{said}");
    client.say(&Client::plain("secret"));
    let said = client.say(HEADER);
    assert!(said.contains(&limits(Limits::default().stanza_bytes)), "{said}");
}

/// RFC 6120 section 4.7.
#[test]
fn the_header_names_the_server_and_an_id_that_is_new() {
    let mut client = Client::new(Transport::Tls);
    let first = client.say(HEADER);
    client.say(&Client::plain("secret"));
    let second = client.say(HEADER);
    let id =
        |said: &str| said.split(" id='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    for said in [&first, &second] {
        for attribute in [" from='d'", " version='1.0'", " xml:lang='en'"] {
            assert!(said.contains(attribute), "{attribute}: {said}");
        }
    }
    assert_ne!(id(&first), id(&second));
    assert!(id(&first).len() >= 22, "128 bits at least");
}

/// RFC 6120 section 13.12.
#[test]
fn who_sends_too_fast_is_not_read_for_a_while_and_ended_when_it_never_stops() {
    let mut client = Client::bound();
    let limits = Limits::default();
    let flood = "<iq type='get' id='f'><q xmlns='x'/></iq>".repeat(2_500);
    let mut sent = 0;
    while !client.machine.is_paused() {
        client.say(&flood);
        sent += 2_500;
    }
    assert!(sent >= limits.stanzas.burst as usize);
    assert_eq!(client.stanzas.len(), sent, "none is dropped");
    // It may go on as soon as what it owes has come back.
    let pause = client.machine.poll_timeout().unwrap();
    assert!(pause <= client.now + Duration::from_secs(1));
    client.now = pause;
    client.machine.handle_timeout(client.now);
    assert!(!client.machine.is_paused() && !client.closed);
    let mut said = String::new();
    for _ in 0..2_000 {
        said = client.say(&flood);
        if client.closed {
            break;
        }
        client.stanzas.clear();
        client.now = client.machine.poll_timeout().unwrap();
        client.machine.handle_timeout(client.now);
    }
    assert!(client.closed && said.contains("<policy-violation"), "{said}");
}

/// RFC 7395 section 3.3: one element a message, also at the end.
#[test]
fn over_websocket_an_error_and_the_close_are_two_messages() {
    let mut client = Client::new(Transport::WebSocket);
    client.machine.handle_bytes(b"<open xmlns='x'/><b/>", client.now);
    let mut messages = Vec::new();
    while let Some(action) = client.machine.poll_action() {
        if let Action::Send(bytes) | Action::Close { last: bytes, .. } = action {
            messages.push(String::from_utf8(bytes.to_vec()).unwrap());
        }
    }
    let [open, error, close] = messages.as_slice() else { panic!("{messages:?}") };
    assert!(open.starts_with("<open ") && error.starts_with("<stream:error "), "{messages:?}");
    assert_eq!(close, &format!("<close xmlns='{FRAMING}'/>"));
}

/// RFC 6121 section 2.6.1.
#[test]
fn roster_versions_are_announced_to_who_has_logged_in() {
    let mut client = Client::new(Transport::Tls);
    assert!(!client.say(HEADER).contains("rosterver"));
    client.say(&Client::plain("secret"));
    assert!(client.say(HEADER).contains("<ver xmlns='urn:xmpp:features:rosterver'/>"));
}
