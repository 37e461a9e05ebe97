//! What accounts want done with calls to them (RFC 5806, XEP-0050, XEP-0353, 3GPP TS 22.030): forwarding at once, where somebody
//! is busy and where nobody answers, do not disturb, second calls; set by an operator and by phones (baresip), for calls of
//! phones and of apps (aiortc). Sound is proven by the tone that is heard.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use serde_json::{Value, json};
use tandem_tests::{Peer, Server, Transcript};

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
