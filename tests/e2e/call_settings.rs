//! What accounts want done with calls to them (RFC 5806, XEP-0050, XEP-0353, 3GPP TS 22.030): forwarding at once, where somebody
//! is busy and where nobody answers, do not disturb, second calls; set by an operator and by phones (baresip), for calls of
//! phones and of apps (aiortc). Sound is proven by the tone that is heard.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use serde_json::{Value, json};
use tandem_tests::names::{Authority, Names};
use tandem_tests::neighbour::{Neighbour, Proof, installed};
use tandem_tests::{Peer, Server, Transcript, befriend, free_ports};

const PEOPLE: &[&str] = &["ana", "julia", "carl", "dora"];

/// Sets words for an account, at the running server.
fn set(server: &Server, account: &str, words: &[&str]) -> String {
    let address = format!("{account}@localhost");
    let mut arguments = vec!["user", "calls", &address];
    arguments.extend(words);
    server.run(&arguments).unwrap()
}

/// The one target leg of a record that was answered or rung last, and its call.
fn last_leg(server: &Server, count: usize) -> (String, String, Value) {
    let calls = server.recorded(count).unwrap();
    let (_, callee, result, legs) = calls.last().unwrap().clone();
    let leg = legs.as_array().unwrap().last().unwrap().clone();
    (callee, result, leg)
}

fn talk(one: &mut Peer, tone: u32, other: &mut Peer, its: u32) {
    other.hears(tone);
    one.hears(its);
}

#[test]
fn all_calls_of_phones_and_apps_go_to_somebody_else() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut phone = server.phone("caller's phone", "julia", json!({"tone": 620}), &log).unwrap();
    let mut called = server.phone("called phone", "ana", json!({}), &log).unwrap();
    let mut called_app = server.softphone("called app", "ana", &log).unwrap();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let mut desk = server.phone("desk phone", "dora", json!({"tone": 740}), &log).unwrap();
    assert!(set(&server, "ana", &["always=dora"]).contains(" always=dora@localhost "));
    // From a phone to a phone.
    desk.tell(json!({"cmd": "auto_answer"}));
    phone.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    phone.want("established", &[]);
    talk(&mut phone, 620, &mut desk, 740);
    phone.tell(json!({"cmd": "hangup"}));
    desk.want("closed", &[]);
    let (callee, result, leg) = last_leg(&server, 1);
    assert_eq!((callee.as_str(), result.as_str()), ("ana@localhost", "hung up"));
    assert_eq!(
        (&leg["forwarded_by"], &leg["forwarded"]),
        (&json!("ana@localhost"), &json!("unconditional"))
    );
    // From an app to a phone.
    app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": 500}));
    app.want("connected", &[]);
    talk(&mut app, 500, &mut desk, 740);
    app.tell(json!({"cmd": "hangup"}));
    desk.want("closed", &[]);
    let (callee, _, leg) = last_leg(&server, 2);
    assert_eq!((callee.as_str(), &leg["forwarded_by"]), ("ana@localhost", &json!("ana@localhost")));
    // From a phone, and from an app, to an app.
    set(&server, "ana", &["always=carl"]);
    let mut other = server.softphone("other app", "dora", &log).unwrap();
    app.tell(json!({"cmd": "auto_answer", "tone": 500}));
    phone.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    app.want("connected", &[]);
    talk(&mut phone, 620, &mut app, 500);
    phone.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[("reason", "success")]);
    other.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": 860}));
    other.want("connected", &[]);
    talk(&mut other, 860, &mut app, 500);
    app.tell(json!({"cmd": "hangup"}));
    other.want("ended", &[("reason", "success")]);
    called.never("incoming", &[]);
    called_app.never("incoming", &[]);
    // And back.
    assert!(set(&server, "ana", &["always=off"]).contains(" always=off "));
    phone.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    called.want("incoming", &[]);
    called_app.want("incoming", &[]);
}

#[test]
fn a_phone_sees_who_sent_a_call_to_it_the_last_first() {
    let server =
        Server::start_with("localhost", PEOPLE, "[sip]\nsecurity = \"optional\"\n").unwrap();
    let log = Transcript::default();
    let mut phone = Peer::start("phone", "rawphone.py", &log).unwrap();
    phone.tell(json!({
        "cmd": "start", "user": "dora", "password": "secret-dora", "domain": "localhost", "port": server.sip,
    }));
    phone.want("registered", &[("status", "200")]);
    phone.tell(json!({"cmd": "answer", "status": 486}));
    let mut caller = server.phone("caller", "carl", json!({}), &log).unwrap();
    set(&server, "ana", &["always=julia"]);
    set(&server, "julia", &["busy=dora", "dnd=on"]);
    caller.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    let invite = phone.want("request", &[("method", "INVITE")]);
    let fields = invite["headers"].as_array().unwrap().iter();
    let said: Vec<&Value> = fields.filter(|field| field[0] == "Diversion").map(|f| &f[1]).collect();
    assert_eq!(
        said,
        ["<sip:julia@localhost>;reason=do-not-disturb", "<sip:ana@localhost>;reason=unconditional"]
    );
    caller.want("closed", &[("reason", "486")]);
    let (callee, result, leg) = last_leg(&server, 1);
    assert_eq!((callee.as_str(), result.as_str()), ("ana@localhost", "busy"));
    assert_eq!(leg["forwarded_by"], "julia@localhost");
}

#[test]
fn a_circle_of_forwards_ends() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut phone = server.phone("phone", "carl", json!({}), &log).unwrap();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    for (account, to) in [("ana", "julia"), ("julia", "dora"), ("dora", "ana")] {
        set(&server, account, &[&format!("always={to}")]);
    }
    phone.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    phone.want("closed", &[("reason", "482")]);
    app.tell(json!({"cmd": "call", "to": "julia@localhost", "tone": 500}));
    app.want("ended", &[("by", "reject"), ("reason", "general-error")]);
}

#[test]
fn where_somebody_is_busy_or_does_not_answer_somebody_else_rings() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut phone = server.phone("phone", "julia", json!({"tone": 620}), &log).unwrap();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let mut called = server.phone("called phone", "ana", json!({}), &log).unwrap();
    let mut called_app = server.softphone("called app", "ana", &log).unwrap();
    let mut desk = server.phone("desk phone", "dora", json!({"tone": 740}), &log).unwrap();
    desk.tell(json!({"cmd": "auto_answer"}));
    set(&server, "ana", &["no-answer=dora", "seconds=5"]);
    // Nobody answers a phone's call.
    phone.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    called.want("incoming", &[]);
    called_app.want("incoming", &[]);
    phone.want("established", &[]);
    called.want("closed", &[]);
    called_app.want("ended", &[("by", "retract")]);
    talk(&mut phone, 620, &mut desk, 740);
    phone.tell(json!({"cmd": "hangup"}));
    desk.want("closed", &[]);
    let (callee, result, leg) = last_leg(&server, 1);
    assert_eq!((callee.as_str(), result.as_str()), ("ana@localhost", "hung up"));
    assert_eq!(leg["forwarded"], "no-answer");
    // Nobody answers an app's call.
    app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": 500}));
    called.want("incoming", &[]);
    called_app.want("incoming", &[]);
    app.want("connected", &[]);
    called_app.want("ended", &[("by", "retract")]);
    talk(&mut app, 500, &mut desk, 740);
    app.tell(json!({"cmd": "hangup"}));
    desk.want("closed", &[]);
    // Somebody says that they are busy.
    set(&server, "ana", &["no-answer=off", "busy=dora"]);
    phone.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    called_app.want("incoming", &[]);
    called_app.tell(json!({"cmd": "hangup", "reason": "busy"}));
    phone.want("established", &[]);
    talk(&mut phone, 620, &mut desk, 740);
    phone.tell(json!({"cmd": "hangup"}));
    desk.want("closed", &[]);
    let (_, _, leg) = last_leg(&server, 3);
    assert_eq!(leg["forwarded"], "user-busy");
}

#[test]
fn an_app_answers_as_before_where_its_account_has_wishes() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let mut called = server.softphone("called app", "ana", &log).unwrap();
    set(&server, "ana", &["no-answer=dora"]);
    called.tell(json!({"cmd": "auto_answer", "tone": 860}));
    app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": 500}));
    called.want("incoming", &[("from", "carl@localhost")]);
    app.want("connected", &[]);
    talk(&mut app, 500, &mut called, 860);
    called.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[("reason", "success")]);
    let (callee, result, leg) = last_leg(&server, 1);
    assert_eq!((callee.as_str(), result.as_str()), ("ana@localhost", "hung up"));
    assert_eq!(leg["forwarded_by"], Value::Null);
}

#[test]
fn who_is_not_to_be_disturbed_is_not_rung_and_finds_the_call_missed() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut phone = server.phone("phone", "julia", json!({}), &log).unwrap();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let mut called = server.phone("called phone", "ana", json!({"mwi": true}), &log).unwrap();
    let mut called_app = server.softphone("called app", "ana", &log).unwrap();
    set(&server, "ana", &["dnd=on"]);
    phone.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    phone.want("closed", &[("reason", "480")]);
    app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": 500}));
    app.want("ended", &[("by", "reject"), ("reason", "busy")]);
    let calls = server.recorded(2).unwrap();
    assert!(
        calls.iter().all(|call| call.1 == "ana@localhost" && call.2 == "do not disturb"),
        "{calls:?}"
    );
    called.want("waiting", &[("text", "Voice-Message: 2/0")]);
    // The next call rings: the lot before it would have come first.
    set(&server, "ana", &["dnd=off"]);
    phone.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    called.want("incoming", &[]);
    called_app.want("incoming", &[]);
    called_app.never("incoming", &[("from", "carl@localhost")]);
}

#[test]
fn who_takes_one_call_is_busy_for_a_second() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut first = server.phone("first", "julia", json!({"tone": 620}), &log).unwrap();
    let mut second = server.phone("second", "dora", json!({}), &log).unwrap();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let mut called = server.phone("called phone", "ana", json!({"tone": 740}), &log).unwrap();
    let mut called_app = server.softphone("called app", "ana", &log).unwrap();
    first.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    called_app.want("incoming", &[]);
    called.want("incoming", &[]);
    called.tell(json!({"cmd": "answer"}));
    first.want("established", &[]);
    called_app.want("ended", &[]);
    // As it is, a second call rings.
    second.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    called.want("incoming", &[("from", "dora@")]);
    second.tell(json!({"cmd": "hangup"}));
    called_app.want("ended", &[]);
    set(&server, "ana", &["second-calls=busy"]);
    second.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    second.want("closed", &[("reason", "486")]);
    app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": 500}));
    app.want("ended", &[("by", "reject"), ("reason", "busy")]);
    called.hears(620);
    first.tell(json!({"cmd": "hangup"}));
    called.want("closed", &[]);
    second.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    called.want("incoming", &[("from", "dora@")]);
}

#[test]
fn a_phone_dials_what_it_wants() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut called = server.phone("called phone", "ana", json!({}), &log).unwrap();
    let codes = [
        ("*21*dora%23", "always=dora@localhost"),
        ("%2321%23", "always=off"),
        ("*67*carl%23", "busy=carl@localhost"),
        ("**61*dora**15%23", "no-answer=dora@localhost seconds=15"),
        ("%23%23002%23", "busy=off no-answer=off"),
        ("%2343%23", "second-calls=busy"),
        ("*78", "dnd=on"),
        ("*79", "dnd=off"),
    ];
    for (code, expected) in codes {
        called.tell(json!({"cmd": "call", "to": format!("sip:{code}@localhost")}));
        called.want("established", &[]);
        called.want("closed", &[]);
        let now = set(&server, "ana", &[]);
        assert!(now.contains(expected), "{code}: {now}");
    }
    for (code, status) in [("*21*nobody%23", "404"), ("*99%23", "484")] {
        called.tell(json!({"cmd": "call", "to": format!("sip:{code}@localhost")}));
        called.want("closed", &[("reason", status)]);
    }
    assert!(server.calls().unwrap().is_empty(), "nobody was called");
}

/// RFC 5373 section 7: consent comes first, and what others than accounts of ours ask for is not heard.
#[test]
fn a_phone_answers_by_itself_only_for_whom_its_account_trusts() {
    let server =
        Server::start_with("localhost", PEOPLE, "[sip]\nsecurity = \"optional\"\n").unwrap();
    let log = Transcript::default();
    let raw = |name: &str, user: &str| {
        let mut phone = Peer::start(name, "rawphone.py", &log).unwrap();
        phone.tell(json!({
            "cmd": "start", "user": user, "password": format!("secret-{user}"), "domain": "localhost", "port": server.sip,
        }));
        phone.want("registered", &[("status", "200")]);
        phone
    };
    let mut called = raw("called phone", "ana");
    called.tell(json!({"cmd": "auto"}));
    let mut caller = raw("caller", "carl");
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";
    let asks = [
        "Answer-Mode: Auto\r\n",
        "Call-Info: <sip:localhost>;answer-after=0\r\n",
        "Alert-Info: <http://localhost>;info=alert-autoanswer\r\n",
    ];
    let mut call = |fields: &str, id: &str| {
        caller.tell(json!({
            "cmd": "send", "method": "INVITE", "to": "sip:ana@localhost", "type": "application/sdp", "body": sdp, "call": id,
            "headers": format!("Contact: <sip:carl@127.0.0.1:9>\r\n{fields}"),
        }));
    };
    // Without consent it rings, however it is asked, and no word of the caller's reaches it.
    call(&asks.concat(), "one");
    let rung = called.want("ringing", &[]);
    let said = rung["headers"].to_string().to_lowercase();
    assert!(!said.contains("answer-") && !said.contains("autoanswer"), "{said}");
    set(&server, "ana", &["auto-answer=julia"]);
    call(&asks.concat(), "two");
    called.want("ringing", &[]);
    // With consent each of the ways is enough; nothing asked is nothing told.
    assert!(set(&server, "ana", &["auto-answer=julia,carl"]).contains("carl@localhost,julia@"));
    for (n, asked) in asks.iter().enumerate() {
        call(asked, &format!("asked-{n}"));
        called.want("answered", &[]);
    }
    call("", "three");
    called.want("ringing", &[]);
    // Who wants it so or not at all does not ring without consent (section 4.5.1).
    call("Answer-Mode: Auto;require\r\n", "four");
    assert!(called.want("answered", &[])["headers"].to_string().contains("Auto;require"));
    set(&server, "ana", &["auto-answer=off"]);
    call("Answer-Mode: Auto;require\r\n", "five");
    caller.want("answer", &[("status", "403")]);
}

/// The address of the one device that an app has in the presences of another.
fn device_of(account: &str, seen_by: &mut Peer) -> String {
    let seen = seen_by.want("presence", &[("from", &format!("{account}/")), ("type", "available")]);
    seen["from"].as_str().unwrap().to_owned()
}

#[test]
fn a_call_straight_to_an_app_finds_the_wishes_of_its_account() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let mut called = server.softphone("called app", "ana", &log).unwrap();
    let mut desk = server.phone("desk phone", "dora", json!({"tone": 740}), &log).unwrap();
    befriend(&mut app, &mut called, ["carl@localhost", "ana@localhost"]);
    let device = device_of("ana@localhost", &mut app);
    desk.tell(json!({"cmd": "auto_answer"}));
    // Nobody is to disturb: the app hears nothing, and finds the call missed.
    set(&server, "ana", &["dnd=on"]);
    app.tell(json!({"cmd": "call", "to": device, "tone": 500}));
    app.want("ended", &[("by", "terminate"), ("reason", "busy")]);
    let (_, callee, result, _) = server.recorded(1).unwrap().pop().unwrap();
    assert_eq!((callee.as_str(), result.as_str()), ("ana@localhost", "do not disturb"));
    called.tell(json!({"cmd": "history"}));
    let seen = called.want("history", &[]);
    assert_eq!(seen["calls"], json!(["propose carl@localhost", "retract carl@localhost"]));
    // All calls go to somebody else.
    set(&server, "ana", &["dnd=off", "always=dora"]);
    app.tell(json!({"cmd": "call", "to": device, "tone": 500}));
    app.want("connected", &[]);
    talk(&mut app, 500, &mut desk, 740);
    desk.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[("reason", "success")]);
    called.never("incoming", &[]);
    // It rings, and goes on where nobody answers; the app's own end reaches the phone.
    set(&server, "ana", &["always=off", "no-answer=dora", "seconds=5"]);
    app.tell(json!({"cmd": "call", "to": device, "tone": 500}));
    called.want("incoming", &[("from", "carl@localhost")]);
    app.want("connected", &[]);
    called.want("ended", &[("by", "retract")]);
    talk(&mut app, 500, &mut desk, 740);
    app.tell(json!({"cmd": "hangup"}));
    desk.want("closed", &[]);
    let (callee, result, leg) = last_leg(&server, 3);
    assert_eq!((callee.as_str(), result.as_str()), ("ana@localhost", "hung up"));
    assert_eq!(leg["forwarded"], "no-answer");
    // Whoever is called may answer it.
    called.tell(json!({"cmd": "auto_answer", "tone": 860}));
    app.tell(json!({"cmd": "call", "to": device, "tone": 500}));
    app.want("connected", &[]);
    talk(&mut app, 500, &mut called, 860);
    called.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[("reason", "success")]);
}

#[test]
fn a_call_of_an_app_that_rang_nobody_is_found_to_be_over() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    set(&server, "ana", &["dnd=on"]);
    app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": 500}));
    app.want("ended", &[("by", "reject"), ("reason", "busy")]);
    server.recorded(1).unwrap();
    // Who comes later is not rung by what is long over.
    let mut called = server.softphone("called app", "ana", &log).unwrap();
    called.want("ended", &[("by", "retract")]);
    called.tell(json!({"cmd": "history"}));
    let seen = called.want("history", &[]);
    assert!(seen["calls"].as_array().unwrap().contains(&json!("retract carl@localhost")), "{seen}");
}

#[test]
fn a_phone_that_is_not_registered_rings_nobody_by_the_trace_of_its_call() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut caller = Peer::start("caller", "baresip.py", &log).unwrap();
    caller.tell(json!({
        "cmd": "start", "user": "julia", "password": "secret-julia", "domain": "localhost", "port": server.sip, "regint": 0,
    }));
    caller.want("started", &[]);
    let mut friend = server.phone("friend", "dora", json!({"tone": 620}), &log).unwrap();
    let mut called = server.phone("called phone", "ana", json!({"tone": 740}), &log).unwrap();
    let mut called_app = server.softphone("called app", "ana", &log).unwrap();
    friend.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    called_app.want("incoming", &[]);
    called.want("incoming", &[]);
    called.tell(json!({"cmd": "answer"}));
    friend.want("established", &[]);
    called_app.want("ended", &[]);
    set(&server, "ana", &["second-calls=busy"]);
    caller.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    caller.want("closed", &[("reason", "486")]);
    assert_eq!(server.recorded(1).unwrap()[0].2, "busy");
    called.hears(620);
    friend.tell(json!({"cmd": "hangup"}));
    called.want("closed", &[]);
    // Nothing of the second call has rung, here or there.
    called.never("incoming", &[("from", "julia@localhost")]);
    called_app.never("incoming", &[("from", "julia@localhost")]);
    assert_eq!(server.recorded(2).unwrap().len(), 2);
}

/// Our server at `domain` and a Prosody at `there`, which know each other by name and certificate.
fn neighbours(domain: &str, there: &str) -> (Server, Neighbour, (Names, Authority)) {
    installed(&["prosody"]).unwrap();
    let (names, authority) = (Names::start().unwrap(), Authority::new().unwrap());
    let (certificate, key) = authority.issue(&[domain]).unwrap();
    let [s2s] = free_ports().unwrap();
    names.serve(domain, s2s, false);
    let sections = format!(
        "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n[dns]\nservers = [\"{}\"]\n\
         [federation]\nextra_roots = [\"{}\"]\n",
        certificate.display(),
        key.display(),
        names.address,
        authority.root().display(),
    );
    let listen = format!("s2s = [\"127.0.0.1:{s2s}\"]");
    let server = Server::start_listening(domain, PEOPLE, &listen, &sections).unwrap();
    let neighbour = Neighbour::prosody(there, &names, &authority, Proof::Certificate).unwrap();
    names.serve(there, neighbour.s2s, false);
    (server, neighbour, (names, authority))
}

#[test]
fn a_call_from_another_xmpp_server_goes_to_somebody_else_too() {
    let (server, neighbour, _names) = neighbours("wishes-here.test", "wishes-there.test");
    let log = Transcript::default();
    let mut app = Peer::start("foreign app", "softphone.py", &log).unwrap();
    app.tell(json!({
        "cmd": "login", "jid": "rey@wishes-there.test", "password": "secret-rey", "port": neighbour.c2s, "enroll": true,
    }));
    app.want("online", &[]);
    let mut called = server.softphone("called app", "ana", &log).unwrap();
    let mut desk = server.softphone("desk app", "dora", &log).unwrap();
    let wishes = |words: &[&str]| {
        let mut arguments = vec!["user", "calls", "ana@wishes-here.test"];
        arguments.extend(words);
        server.run(&arguments).unwrap()
    };
    desk.tell(json!({"cmd": "auto_answer", "tone": 740}));
    let call = json!({"cmd": "call", "to": "ana@wishes-here.test", "tone": 500});
    // Nobody answers.
    wishes(&["no-answer=dora", "seconds=5"]);
    app.tell(call.clone());
    called.want("incoming", &[("from", "rey@wishes-there.test")]);
    app.want("ringing", &[]);
    app.want("connected", &[]);
    called.want("ended", &[("by", "retract")]);
    desk.want("incoming", &[("from", "rey@wishes-there.test")]);
    talk(&mut app, 500, &mut desk, 740);
    app.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[("by", "us")]);
    desk.want("ended", &[("reason", "success")]);
    // Somebody is busy.
    wishes(&["no-answer=off", "busy=dora"]);
    app.tell(call.clone());
    called.want("incoming", &[]);
    called.tell(json!({"cmd": "hangup", "reason": "busy"}));
    app.want("connected", &[]);
    talk(&mut app, 500, &mut desk, 740);
    desk.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[("reason", "success")]);
    // And whoever is called may answer.
    called.tell(json!({"cmd": "auto_answer", "tone": 860}));
    app.tell(call);
    app.want("connected", &[]);
    talk(&mut app, 500, &mut called, 860);
    called.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[("reason", "success")]);
    let (callee, result, leg) = last_leg(&server, 3);
    assert_eq!((callee.as_str(), result.as_str()), ("ana@wishes-here.test", "hung up"));
    assert_eq!((&leg["protocol"], &leg["media"]), (&json!("xmpp"), &json!("dtls-srtp")));
}
