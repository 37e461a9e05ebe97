//! Messages between apps (slixmpp) and phones by hand, in everything that they carry: RFC 7572, RFC 3428, RFC 3862,
//! RFC 5438, XEP-0308, XEP-0424, XEP-0066.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use serde_json::{Value, json};
use tandem_tests::{Peer, Server, Transcript};

const PEOPLE: &[&str] = &["ana", "julia", "carl"];

struct World {
    log: Transcript,
    server: Server,
}

impl World {
    fn new() -> Self {
        Self { server: Server::start("localhost", PEOPLE).unwrap(), log: Transcript::default() }
    }

    /// A phone by hand, registered.
    fn phone(&self, name: &str, user: &str) -> Peer {
        let mut phone = Peer::start(name, "rawphone.py", &self.log).unwrap();
        phone.tell(json!({"cmd": "start", "user": user, "password": format!("secret-{user}"), "domain": "localhost",
            "port": self.server.sip, "algorithm": "SHA-256"}));
        phone.want("registered", &[("status", "200")]);
        phone
    }

    fn app(&self, user: &str) -> Peer {
        self.server.softphone(&format!("{user}'s app"), user, &self.log).unwrap()
    }
}

fn header<'a>(event: &'a Value, name: &str) -> Option<&'a str> {
    let fields = event["headers"].as_array().unwrap().iter();
    let mut found = fields.filter(|f| f[0].as_str().unwrap().eq_ignore_ascii_case(name));
    found.next().map(|f| f[1].as_str().unwrap())
}

#[test]
fn what_a_message_carries_crosses_both_ways() {
    let world = World::new();
    let (mut phone, mut app) = (world.phone("phone", "ana"), world.app("carl"));
    for body in ["one", "two"] {
        app.tell(json!({"cmd": "raw", "xml": format!(
            "<message to='ana@localhost' id='m-{body}' xml:lang='de'><subject>Tee</subject><thread>t1</thread>\
             <body>{body}</body></message>")}));
    }
    let one = phone.want("request", &[("body", "one")]);
    let two = phone.want("request", &[("body", "two")]);
    assert_eq!(header(&one, "Subject"), Some("Tee"));
    assert_eq!(header(&one, "Content-Language"), Some("de"));
    assert_eq!(header(&one, "Contact"), None);
    assert_eq!(one["call"], two["call"]);
    assert_eq!(one["from"], two["from"], "one tag for one thread");
    assert!(one["from"].as_str().unwrap().starts_with("<sip:carl@localhost;gr="), "{one}");
    assert_eq!(
        (one["cseq"].as_str(), two["cseq"].as_str()),
        (Some("1 MESSAGE"), Some("2 MESSAGE"))
    );

    // The answer comes back into the thread; a Call-ID of the phone's own is one when it is used again.
    let to = "sip:carl@localhost";
    phone.tell(json!({"cmd": "send", "to": to, "body": "ja", "call": one["call"],
        "headers": "Subject: Re: Tee\r\nContent-Language: de-AT\r\n"}));
    let answer = app.want("message", &[("body", "ja")]);
    let says = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        (says(&answer, "thread"), says(&answer, "subject")),
        ("t1".into(), "Re: Tee".into())
    );
    assert_eq!((says(&answer, "lang"), says(&answer, "type")), ("de-AT".into(), "chat".into()));
    assert!(says(&answer, "from").starts_with("ana@localhost/phone-"), "{answer}");
    phone.tell(json!({"cmd": "send", "to": to, "body": "new", "call": "own@phone",
        "headers": "Date: Sat, 13 Nov 2010 23:29:00 GMT\r\n"}));
    let first = app.want("message", &[("body", "new")]);
    assert_eq!(
        (&first["thread"], says(&first, "delay")),
        (&Value::Null, "2010-11-13T23:29:00Z".into())
    );
    phone.tell(json!({"cmd": "send", "to": to, "body": "again", "call": "own@phone"}));
    assert_eq!(says(&app.want("message", &[("body", "again")]), "thread"), "own@phone");

    // Character sets and markup become text; a second sending of the same is answered and not shown again.
    phone.tell(json!({"cmd": "send", "to": to, "type": "text/html; charset=utf-8", "body": "<p>Gr&uuml;&szlig;e<br/>&amp; <b>bis</b> bald</p>"}));
    app.want("message", &[("body", "Grüße\n& bis bald")]);
    let cpim = |id: &str, inner: &str, text: &str| {
        format!(
            "From: <sip:ana@localhost>\r\nTo: <sip:carl@localhost>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: {id}\r\n\r\nContent-Type: {inner}\r\n\r\n{text}"
        )
    };
    for _ in 0..2 {
        phone.tell(json!({"cmd": "send", "to": to, "type": "message/cpim", "body": cpim("once-1", "text/plain", "only once")}));
        phone.want("answer", &[("status", "200")]);
    }
    app.want("message", &[("body", "only once")]);
    phone.tell(json!({"cmd": "send", "to": to, "type": "message/cpim", "body": cpim("r-1", "text/plain", "x").replace("NS:", "Require: some.Thing\r\nNS:")}));
    phone.want("answer", &[("status", "415")]);
    app.never("message", &[("body", "only once")]);
}

#[test]
fn files_and_long_texts_become_links() {
    let world = World::new();
    let (mut phone, mut app) = (world.phone("phone", "ana"), world.app("carl"));
    let body = "--b\r\nContent-Type: text/plain\r\n\r\nmy notes\r\n--b\r\nContent-Type: text/csv\r\n\
        Content-Disposition: attachment; filename=\"pulse.csv\"\r\n\r\nday,beats\r\n1,70\r\n--b--\r\n";
    phone.tell(json!({"cmd": "send", "to": "sip:carl@localhost", "type": "multipart/mixed;boundary=b", "body": body}));
    phone.want("answer", &[("status", "200")]);
    app.want("message", &[("body", "my notes")]);
    let file = app.want("message", &[("url", "/pulse.csv")]);
    assert_eq!(file["url"], file["body"]);
    app.tell(json!({"cmd": "fetch", "url": file["url"]}));
    let fetched = app.want("fetched", &[("status", "200")]);
    assert_eq!(fetched["body"].as_str().unwrap(), "day,beats\r\n1,70");

    // A text that no datagram may carry arrives as its beginning and a link to all of it.
    let long = format!("Liebe Ana, {}", "es war einmal ".repeat(200));
    app.tell(json!({"cmd": "message", "to": "ana@localhost", "body": long, "id": "long"}));
    let got = phone.want("request", &[("body", "Liebe Ana")]);
    assert!(got["size"].as_u64().unwrap() <= 1_300, "{got}");
    let link = got["body"].as_str().unwrap().rsplit(' ').next().unwrap();
    app.tell(json!({"cmd": "fetch", "url": link}));
    assert_eq!(app.want("fetched", &[("status", "200")])["body"].as_str().unwrap(), long);
    app.want("receipt", &[("id", "long")]);
}

#[test]
fn what_waits_for_phones_is_given_once_in_order_with_its_time_and_as_edited() {
    let mut world = World::new();
    let mut app = world.app("carl");
    let say = |app: &mut Peer, id: &str, inner: &str| {
        app.tell(json!({"cmd": "raw", "xml": format!("<message to='ana@localhost' type='chat' id='{id}'>{inner}</message>")}));
    };
    for n in 1..=9 {
        say(&mut app, &format!("w{n}"), &format!("<body>number {n}</body>"));
    }
    say(
        &mut app,
        "w10",
        "<body>number two</body><replace xmlns='urn:xmpp:message-correct:0' id='w2'/>",
    );
    say(&mut app, "w11", "<body>gone</body><retract xmlns='urn:xmpp:message-retract:1' id='w3'/>");
    // All of it is on disk once this is answered.
    app.tell(json!({"cmd": "message", "to": "nobody@localhost", "body": "?", "id": "end"}));
    app.want("message_error", &[("id", "end")]);
    world.server.crash_and_restart().unwrap();
    let mut phones = [world.phone("one phone", "ana"), world.phone("other phone", "ana")];
    let mut app = world.app("carl");
    say(&mut app, "w12", "<body>number 12</body>");
    for phone in &mut phones {
        phone.want("request", &[("body", "number 12")]);
    }
    let [one, other] = &mut phones;
    let expected: Vec<String> = [1, 2, 4, 5, 6, 7, 8, 9]
        .map(|n| if n == 2 { "number two".into() } else { format!("number {n}") })
        .to_vec();
    let mut got = Vec::new();
    for phone in [one, other] {
        for text in &expected {
            // Which of the two was first is chance, that it got all of them in order is not.
            while let Some(event) = phone.has("request", &[("body", text)]) {
                assert!(header(&event, "Date").is_some_and(|d| d.ends_with("GMT")), "{event}");
                got.push(text.clone());
            }
        }
        phone.never("request", &[("body", "number")]);
        phone.never("request", &[("body", "corrected")]);
    }
    assert_eq!(got, expected);
    // What has been given is corrected and taken back in words.
    say(
        &mut app,
        "w13",
        "<body>number 13</body><replace xmlns='urn:xmpp:message-correct:0' id='w12'/>",
    );
    say(&mut app, "w14", "<body>x</body><retract xmlns='urn:xmpp:message-retract:1' id='w12'/>");
    say(
        &mut app,
        "w15",
        "<reactions xmlns='urn:xmpp:reactions:0' id='w12'><reaction>👍</reaction></reactions><store xmlns='urn:xmpp:hints'/>",
    );
    for phone in &mut phones {
        phone.want("request", &[("body", "* corrected: number 13")]);
        phone.want("request", &[("body", "A message was deleted by its sender.")]);
        phone.want("request", &[("body", "carl reacted 👍 to: \"number 12\"")]);
    }
}

/// RFC 3428 section 8: a phone that is gone without a word delays neither the other phone nor what the sender hears.
#[test]
fn a_phone_that_is_silent_keeps_nobody_waiting() {
    let world = World::new();
    let mut silent = world.phone("silent", "ana");
    silent.tell(json!({"cmd": "answer", "status": 0}));
    let mut awake = world.phone("awake", "ana");
    let mut carl = world.phone("carl's phone", "carl");
    let mut app = world.app("carl");
    for body in ["one", "two", "three"] {
        carl.tell(json!({"cmd": "send", "to": "sip:ana@localhost", "body": body}));
        awake.want("request", &[("method", "MESSAGE"), ("body", body)]);
        carl.want("answer", &[("status", "200")]);
    }
    app.tell(json!({"cmd": "message", "to": "ana@localhost", "body": "four", "id": "m4"}));
    awake.want("request", &[("body", "four")]);
    app.want("receipt", &[("id", "m4")]);
    // All of this was before it was given up: it has not been sent the second one yet.
    silent.never("request", &[("body", "two")]);
    // It comes back: what waited for it is given in order.
    silent.tell(json!({"cmd": "answer", "status": 200}));
    for body in ["two", "three", "four"] {
        silent.want("request", &[("method", "MESSAGE"), ("body", body)]);
    }
}
