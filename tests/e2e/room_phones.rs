//! Phones that know only MESSAGE, in one room with apps (slixmpp): baresip, and a phone by hand (`interop.md` 5.3,
//! XEP-0045, RFC 3428).

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test
#![allow(clippy::disallowed_methods)] // waits for a disk

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tandem_tests::{Peer, Server, Transcript};

const PEOPLE: &[&str] = &["ana", "julia", "carl", "otto"];
const ROOM: &str = "tea@rooms.localhost";
const SIP_ROOM: &str = "sip:tea@rooms.localhost";

fn raw(app: &mut Peer, xml: String) {
    app.tell(json!({"cmd": "raw", "xml": xml}));
}

fn raw_phone(server: &Server, name: &str, user: &str, log: &Transcript) -> Peer {
    let mut phone = Peer::start(name, "rawphone.py", log).unwrap();
    phone.tell(json!({"cmd": "start", "user": user, "password": format!("secret-{user}"), "domain": "localhost",
        "port": server.sip, "algorithm": "SHA-256"}));
    phone.want("registered", &[("status", "200")]);
    phone
}

fn enter(app: &mut Peer, nick: &str) {
    raw(
        app,
        format!(
            "<presence to='{ROOM}/{nick}'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>"
        ),
    );
    app.want("presence", &[("from", &format!("{ROOM}/{nick}")), ("type", "available")]);
}

/// A room of Carl's with Ana and Julia as members.
fn make_room(app: &mut Peer) {
    enter(app, "carl");
    raw(
        app,
        format!(
            "<iq type='set' id='own' to='{ROOM}'><query xmlns='http://jabber.org/protocol/muc#owner'>\
        <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>\
        <field var='muc#roomconfig_roomname'><value>Tea</value></field></x></query></iq>"
        ),
    );
    raw(
        app,
        format!(
            "<iq type='set' id='who' to='{ROOM}'><query xmlns='http://jabber.org/protocol/muc#admin'>\
        <item affiliation='member' jid='ana@localhost'/><item affiliation='member' jid='julia@localhost'/></query></iq>"
        ),
    );
}

fn say(app: &mut Peer, id: &str, text: &str) {
    raw(
        app,
        format!("<message to='{ROOM}' type='groupchat' id='{id}'><body>{text}</body></message>"),
    );
    app.want("message", &[("from", ROOM), ("body", text)]);
}

fn write(phone: &mut Peer, to: &str, text: &str) -> Value {
    phone.tell(json!({"cmd": "send", "to": to, "body": text}));
    phone.want("answer", &[])["status"].clone()
}

#[test]
fn a_baresip_phone_and_an_app_talk_in_one_room() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut app = server.softphone("carl's app", "carl", &log).unwrap();
    make_room(&mut app);
    let mut phone =
        server.phone("ana's phone", "ana", json!({"contacts": [SIP_ROOM]}), &log).unwrap();
    app.want("presence", &[("from", &format!("{ROOM}/ana")), ("type", "available")]);
    say(&mut app, "m1", "who is for tea?");
    phone.want("message", &[("from", ROOM), ("body", "carl: who is for tea?")]);
    phone.tell(json!({"cmd": "message", "to": SIP_ROOM, "body": "I am"}));
    app.want("message", &[("from", &format!("{ROOM}/ana")), ("body", "I am")]);
    phone.tell(json!({"cmd": "message", "to": SIP_ROOM, "body": "/who"}));
    phone.want("message", &[("from", ROOM), ("body", "In Tea: ana, carl")]);
    phone.never("message", &[("body", "I am")]);
    phone.tell(json!({"cmd": "message", "to": SIP_ROOM, "body": "/leave"}));
    app.want("presence", &[("from", &format!("{ROOM}/ana")), ("type", "unavailable")]);
    say(&mut app, "m2", "without ana");
    phone.tell(json!({"cmd": "message", "to": SIP_ROOM, "body": "back again"}));
    app.want("presence", &[("from", &format!("{ROOM}/ana")), ("type", "available")]);
    app.want("message", &[("from", &format!("{ROOM}/ana")), ("body", "back again")]);
    say(&mut app, "m3", "welcome back");
    phone.want("message", &[("from", ROOM), ("body", "carl: welcome back")]);
    phone.never("message", &[("body", "without ana")]);
}

#[test]
fn what_happens_in_a_room_reaches_a_phone_and_what_it_may_not_do_is_said() {
    let more = "[chat]\nroom_events = true\nroom_private = true\n[chat.room_numbers]\n\"8001@localhost\" = \"tea@rooms.localhost\"\n";
    let server = Server::start_with("localhost", PEOPLE, more).unwrap();
    let log = Transcript::default();
    let mut app = server.softphone("carl's app", "carl", &log).unwrap();
    make_room(&mut app);
    let mut phone = raw_phone(&server, "ana's phone", "ana", &log);
    app.want("presence", &[("from", &format!("{ROOM}/ana")), ("type", "available")]);

    // The number leads to the room as well, and everybody else hears it once.
    assert_eq!(write(&mut phone, "sip:8001@localhost", "by number"), 200);
    app.want("message", &[("from", &format!("{ROOM}/ana")), ("body", "by number")]);
    say(&mut app, "m1", "hello");
    let heard = phone.want("request", &[("body", "carl: hello")]);
    assert!(
        heard["from"].as_str().unwrap().starts_with("\"carl (Tea)\" <sip:tea@rooms.localhost>"),
        "{heard}"
    );
    let headers = heard["headers"].to_string();
    assert!(headers.contains("X-Origin-Room") && !headers.contains("Contact"), "{headers}");
    raw(
        &mut app,
        format!("<message to='{ROOM}' type='groupchat' id='s'><subject>Cake</subject></message>"),
    );
    phone.want("request", &[("body", "* carl set the subject: Cake")]);
    raw(
        &mut app,
        format!(
            "<message to='{ROOM}' type='groupchat' id='r'><reactions xmlns='urn:xmpp:reactions:0' id='m1'><reaction>🍰</reaction></reactions></message>"
        ),
    );
    phone.want("request", &[("body", "carl reacted 🍰 to: \"hello\"")]);
    let mut julia = server.softphone("julia's app", "julia", &log).unwrap();
    enter(&mut julia, "jule");
    phone.want("request", &[("body", "* jule joined")]);
    raw(
        &mut julia,
        format!("<message to='{ROOM}/ana' type='chat' id='p'><body>a secret</body></message>"),
    );
    phone.want("request", &[("body", "jule: (to you alone) a secret")]);
    assert_eq!(write(&mut phone, SIP_ROOM, "@jule another"), 200);
    julia.want(
        "message",
        &[("from", &format!("{ROOM}/ana")), ("body", "another"), ("type", "chat")],
    );
    assert_eq!(write(&mut phone, SIP_ROOM, "@nobody another"), 404);
    raw(&mut julia, format!("<presence to='{ROOM}/jule' type='unavailable'/>"));
    phone.want("request", &[("body", "* jule left")]);

    // A muted room is silent, and heard again.
    assert_eq!(write(&mut phone, SIP_ROOM, "/mute 8h"), 200);
    phone.want("request", &[("body", "told nothing for 8 hours")]);
    say(&mut app, "m2", "into silence");
    assert_eq!(write(&mut phone, SIP_ROOM, "/unmute"), 200);
    phone.want("request", &[("body", "told everything again")]);
    say(&mut app, "m3", "heard");
    phone.want("request", &[("body", "carl: heard")]);
    phone.never("request", &[("body", "into silence")]);

    // A phone that has shown CPIM is told by it who speaks.
    phone.tell(json!({"cmd": "send", "to": "sip:carl@localhost", "type": "message/cpim",
        "body": "From: <sip:ana@localhost>\r\n\r\nContent-Type: text/plain\r\n\r\nhi"}));
    say(&mut app, "m4", "wrapped");
    let wrapped = phone.want("request", &[("type", "message/cpim"), ("body", "wrapped")]);
    let body = wrapped["body"].as_str().unwrap();
    assert!(
        body.contains("From: \"carl\" <sip:tea@rooms.localhost;gr=carl>")
            && !body.contains("carl: "),
        "{body}"
    );

    // What is not allowed.
    let mut stranger = raw_phone(&server, "otto's phone", "otto", &log);
    assert_eq!(write(&mut stranger, SIP_ROOM, "let me in"), 403);
    assert_eq!(write(&mut stranger, "sip:nowhere@rooms.localhost", "hello?"), 404);
    let looped = json!({"cmd": "send", "to": SIP_ROOM, "body": "echo", "headers": "X-Origin-Room: other@rooms.localhost\r\n"});
    phone.tell(looped);
    phone.want("answer", &[("status", "482")]);
    phone.tell(
        json!({"cmd": "send", "to": SIP_ROOM, "type": "application/vnd.3gpp.sms", "body": "x"}),
    );
    phone.want("answer", &[("status", "415")]);
    raw(
        &mut app,
        format!(
            "<iq type='set' id='kick' to='{ROOM}'><query xmlns='http://jabber.org/protocol/muc#admin'><item nick='ana' role='none'/></query></iq>"
        ),
    );
    phone.want("request", &[("body", "You were asked to leave.")]);
    app.never("message", &[("body", "let me in")]);
    app.never("message", &[("body", "echo")]);
}

#[test]
fn a_phone_that_comes_back_hears_what_it_missed() {
    let mut server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut app = server.softphone("carl's app", "carl", &log).unwrap();
    make_room(&mut app);
    say(&mut app, "m0", "before its time");
    let mut phone = raw_phone(&server, "ana's phone", "ana", &log);
    app.want("presence", &[("from", &format!("{ROOM}/ana")), ("type", "available")]);
    say(&mut app, "m1", "one");
    phone.want("request", &[("body", "carl: one")]);
    // It answers what it heard after it has gone.
    phone.tell(json!({"cmd": "answer", "status": 0}));
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    say(&mut app, "m2", "two");
    phone.want("request", &[("body", "carl: two")]);
    phone.tell(json!({"cmd": "unregister"}));
    app.want("presence", &[("from", &format!("{ROOM}/ana")), ("type", "unavailable")]);
    phone.tell(json!({"cmd": "answer", "status": 200}));
    // On disk: what a crash takes before would be told once more.
    let heard =
        format!("SELECT 1 FROM phone_rooms WHERE account = 'ana@localhost' AND heard >= {before}");
    for turn in 0.. {
        if server.select(&heard).unwrap().as_array().is_some_and(|rows| !rows.is_empty()) {
            break;
        }
        assert!(turn < 100, "the answer of a phone that has left does not count");
        std::thread::sleep(Duration::from_millis(50));
    }
    say(&mut app, "m3", "three");
    say(&mut app, "m4", "four");
    server.crash_and_restart().unwrap();
    let mut phone = raw_phone(&server, "ana's phone again", "ana", &log);
    let missed = phone.want("request", &[("body", "carl: three")]);
    assert!(missed["headers"].to_string().contains("\"Date\""), "{missed}");
    phone.want("request", &[("body", "carl: four")]);
    let mut app = server.softphone("carl's app again", "carl", &log).unwrap();
    enter(&mut app, "carl");
    say(&mut app, "m5", "five");
    phone.want("request", &[("body", "carl: five")]);
    for old in ["before", "carl: one", "carl: two"] {
        phone.never("request", &[("body", old)]);
    }
}
