//! What phones watch and publish, seen from XMPP apps (slixmpp) and by phones (baresip, and one by hand): RFC 3903,
//! RFC 3856, RFC 3857, RFC 3842, RFC 4235, RFC 4662, RFC 8048.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use serde_json::{Value, json};
use tandem_tests::{Peer, Server, Transcript, befriend};

const PEOPLE: &[&str] = &["ana", "julia", "carl"];
const LISTS: &str =
    "application/pidf+xml, application/dialog-info+xml, application/rlmi+xml, multipart/related";

fn watcher(server: &Server, name: &str, user: &str, log: &Transcript) -> Peer {
    let mut phone = Peer::start(name, "watcher.py", log).unwrap();
    phone.tell(json!({"cmd": "start", "user": user, "password": format!("secret-{user}"), "domain": "localhost",
        "port": server.sip, "algorithm": "SHA-256"}));
    phone.want("registered", &[("status", "200")]);
    phone
}

fn watch(phone: &mut Peer, user: &str, event: &str, status: &str) {
    phone.tell(json!({"cmd": "watch", "to": format!("sip:{user}@localhost"), "event": event}));
    phone.want("answer", &[("status", status)]);
}

fn publish(phone: &mut Peer, body: &str, etag: &str, expires: u32, status: &str) -> String {
    phone.tell(json!({"cmd": "publish", "body": body, "etag": etag, "expires": expires}));
    let answer = phone.want("answer", &[("status", status)]);
    answer["etag"].as_str().unwrap().to_owned()
}

fn pidf(basic: &str, note: &str, activity: &str) -> String {
    format!(
        "<?xml version='1.0' encoding='UTF-8'?>\n<presence xmlns='urn:ietf:params:xml:ns:pidf' \
         xmlns:dm='urn:ietf:params:xml:ns:pidf:data-model' xmlns:r='urn:ietf:params:xml:ns:pidf:rpid' \
         entity='sip:ana@localhost'><tuple id='t1'><status><basic>{basic}</basic></status>\
         <note>{note}</note></tuple><dm:person id='p1'><r:activities>{activity}</r:activities></dm:person></presence>"
    )
}

/// RFC 3903: what a phone publishes is what XMPP contacts see; RFC 8048 section 6.
#[test]
fn what_a_phone_publishes_is_seen_by_xmpp_contacts() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let mut anas = server.softphone("ana's app", "ana", &log).unwrap();
    befriend(&mut app, &mut anas, ["carl@localhost", "ana@localhost"]);
    let mut phone = watcher(&server, "phone", "ana", &log);
    let device = ("from", "ana@localhost/phone-");
    app.want("presence", &[device, ("type", "available")]);
    let tag = publish(&mut phone, &pidf("open", "at lunch", "<r:meal/>"), "", 600, "200");
    app.want("presence", &[device, ("show", "away"), ("status", "at lunch")]);
    let next = publish(&mut phone, &pidf("open", "back", ""), &tag, 600, "200");
    app.want("presence", &[device, ("show", "null"), ("status", "back")]);
    publish(&mut phone, "", &tag, 600, "412");
    publish(&mut phone, "<presence", &next, 600, "400");
    let next = publish(&mut phone, "", &next, 600, "200");
    // Closed is gone (RFC 8048 section 6.2), and open again is there again.
    let next = publish(&mut phone, &pidf("closed", "", ""), &next, 600, "200");
    app.want("presence", &[device, ("type", "unavailable")]);
    // A message still reaches the phone.
    app.tell(json!({"cmd": "message", "to": "ana@localhost", "body": "still there?", "id": "m1"}));
    phone.want("request", &[("method", "MESSAGE"), ("body", "still there?")]);
    publish(&mut phone, "", &next, 0, "200");
    app.want("presence", &[device, ("type", "available"), ("show", "null")]);
}

/// RFC 8048 section 5.3, RFC 3857: a phone asks to see somebody, who sees the request on phone and app, and decides.
#[test]
fn a_watcher_waits_for_consent_and_its_requests_are_listed() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut julia = server.softphone("julia", "julia", &log).unwrap();
    let mut julias = watcher(&server, "julia's phone", "julia", &log);
    watch(&mut julias, "julia", "presence.winfo", "200");
    let list = julias.want("notify", &[("event_package", "presence.winfo"), ("state", "active")]);
    assert!(list["body"].as_str().unwrap().contains("version=\"0\" state=\"full\""), "{list}");
    let mut phone = watcher(&server, "phone", "ana", &log);
    watch(&mut phone, "julia", "presence.winfo", "403");
    watch(&mut phone, "julia", "message-summary", "403");
    watch(&mut phone, "julia", "presence", "200");
    let told =
        phone.want("notify", &[("event_package", "presence"), ("state", "pending;expires=")]);
    assert_eq!(told["body"], "");
    julia.want("presence", &[("from", "ana@localhost"), ("type", "subscribe")]);
    julias.want("notify", &[("body", "status=\"pending\" event=\"subscribe\">sip:ana@localhost<")]);
    // Refreshes and further phones ask nobody again.
    phone.tell(json!({"cmd": "renew", "event": "presence", "expires": 500}));
    phone.want("notify", &[("state", "pending;expires=")]);
    watch(&mut phone, "julia", "presence", "200");
    phone.want("notify", &[("state", "pending;expires=")]);
    julia.never("presence", &[("from", "ana@localhost"), ("type", "subscribe")]);
    phone.never("notify", &[("state", "active")]);
    julia.tell(json!({"cmd": "presence", "type": "subscribed", "to": "ana@localhost"}));
    phone.want("notify", &[("state", "active"), ("body", "<basic>open</basic>")]);
    julias.want("notify", &[("body", "status=\"active\" event=\"approved\">sip:ana@localhost<")]);
    julia.tell(json!({"cmd": "presence", "type": "unsubscribed", "to": "ana@localhost"}));
    phone.want("notify", &[("state", "terminated;reason=rejected")]);
    julias
        .want("notify", &[("body", "status=\"terminated\" event=\"rejected\">sip:ana@localhost<")]);
    // Whoever was refused stays so, and asks no more by asking again.
    julia.never("presence", &[("from", "ana@localhost"), ("type", "subscribe")]);
    watch(&mut phone, "julia", "presence", "200");
    phone.want("notify", &[("state", "pending;expires=")]);
    julia.never("presence", &[("from", "ana@localhost"), ("type", "subscribe")]);
    // A look by a stranger tells nothing and asks for nothing (RFC 8048 section 7).
    let mut stranger = watcher(&server, "stranger", "carl", &log);
    stranger.tell(
        json!({"cmd": "watch", "to": "sip:julia@localhost", "event": "presence", "expires": 0}),
    );
    let look = stranger.want("notify", &[("state", "terminated;reason=timeout")]);
    assert_eq!(look["body"], "");
    stranger.tell(json!({"cmd": "watch", "to": "sip:nobody@localhost", "event": "presence"}));
    stranger.want("notify", &[("state", "pending;expires=")]);
    julia.never("presence", &[("from", "carl@localhost"), ("type", "subscribe")]);
}

/// RFC 8048 section 5.3.2: a refusal ends what waited.
#[test]
fn a_refused_request_ends_the_waiting_subscription() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut julia = server.softphone("julia", "julia", &log).unwrap();
    let mut phone = watcher(&server, "phone", "ana", &log);
    watch(&mut phone, "julia", "presence", "200");
    phone.want("notify", &[("state", "pending;expires=")]);
    julia.want("presence", &[("from", "ana@localhost"), ("type", "subscribe")]);
    julia.tell(json!({"cmd": "presence", "type": "unsubscribed", "to": "ana@localhost"}));
    phone.want("notify", &[("state", "terminated;reason=rejected")]);
}

/// RFC 4235 and RFC 3842: the lamp of a colleague, one's own line, and the calls one has missed.
#[test]
fn calls_light_lamps_and_missed_calls_are_counted() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let mut anas = server.softphone("ana's app", "ana", &log).unwrap();
    befriend(&mut app, &mut anas, ["carl@localhost", "ana@localhost"]);
    let mut lamp = watcher(&server, "carl's phone", "carl", &log);
    let mut own = watcher(&server, "ana's desk", "ana", &log);
    let mut stranger = watcher(&server, "julia's phone", "julia", &log);
    for phone in [&mut lamp, &mut own, &mut stranger] {
        watch(phone, "ana", "dialog", "200");
    }
    lamp.want("notify", &[("state", "active"), ("body", "version=\"0\" state=\"full\"")]);
    own.want("notify", &[("state", "active")]);
    let hidden = stranger.want("notify", &[("state", "pending;expires=")]);
    assert_eq!(hidden["body"], "");
    watch(&mut own, "ana", "message-summary", "200");
    own.want("notify", &[("body", "Messages-Waiting: no\r\n"), ("body", "Voice-Message: 0/0")]);
    own.tell(json!({"cmd": "answer", "status": 486}));
    let contacts = json!({"contacts": ["sip:ana@localhost"]});
    let mut caller = server.phone("caller", "julia", contacts, &log).unwrap();
    let mut callee = server.phone("callee", "ana", json!({}), &log).unwrap();
    caller.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    callee.want("incoming", &[]);
    let early = lamp.want("notify", &[("body", "<state>early</state>")]);
    let body = early["body"].as_str().unwrap();
    assert!(body.contains("direction=\"recipient\"") && !body.contains("julia"), "{body}");
    let early = own.want("notify", &[("body", "<state>early</state>")]);
    assert!(early["body"].as_str().unwrap().contains("<identity>sip:julia@localhost</identity>"));
    caller.tell(json!({"cmd": "hangup"}));
    lamp.want("notify", &[("body", "<state event=\"cancelled\">terminated</state>")]);
    own.want("notify", &[("body", "Messages-Waiting: yes\r\n"), ("body", "Voice-Message: 1/0")]);
    caller.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    callee.want("incoming", &[]);
    callee.tell(json!({"cmd": "answer"}));
    callee.want("established", &[]);
    lamp.want("notify", &[("body", "<state>confirmed</state>")]);
    callee.tell(json!({"cmd": "hangup"}));
    lamp.want("notify", &[("body", "terminated</state>")]);
    // Who takes a call has seen what was missed before.
    own.want("notify", &[("body", "Messages-Waiting: no\r\n"), ("body", "Voice-Message: 0/1")]);
    stranger.never("notify", &[("state", "active")]);
}

/// RFC 4662: one subscription for the whole roster.
#[test]
fn a_phone_watches_its_whole_roster_by_one_subscription() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut carl = server.softphone("carl", "carl", &log).unwrap();
    let mut ana = server.softphone("ana", "ana", &log).unwrap();
    befriend(&mut carl, &mut ana, ["carl@localhost", "ana@localhost"]);
    ana.tell(json!({"cmd": "presence", "type": "subscribe", "to": "julia@localhost"}));
    let mut phone = watcher(&server, "phone", "ana", &log);
    phone.tell(json!({"cmd": "watch", "to": "sip:contacts@localhost", "event": "presence"}));
    phone.want("answer", &[("status", "421")]);
    let list = |event: &str| -> Value {
        json!({"cmd": "watch", "to": "sip:contacts@localhost", "event": event, "accept": LISTS,
            "more": "Supported: eventlist\r\n"})
    };
    phone.tell(list("presence"));
    phone.want("answer", &[("status", "200")]);
    let told = phone.want("notify", &[("require", "eventlist"), ("type", "multipart/related")]);
    let body = told["body"].as_str().unwrap();
    for part in [
        "version=\"0\" uri=\"sip:contacts@localhost\" fullState=\"true\"",
        "<resource uri=\"sip:carl@localhost\">",
        "state=\"active\" cid=",
        "<resource uri=\"sip:julia@localhost\"><instance id=\"1\" state=\"pending\"/>",
        "entity='sip:carl@localhost'",
        "<basic>open</basic>",
    ] {
        assert!(body.contains(part), "{part} is not in {body}");
    }
    carl.tell(json!({"cmd": "logout"}));
    phone.want("notify", &[("body", "version=\"1\""), ("body", "<basic>closed</basic>")]);
    let mut julia = server.softphone("julia", "julia", &log).unwrap();
    julia.want("presence", &[("from", "ana@localhost"), ("type", "subscribe")]);
    julia.tell(json!({"cmd": "presence", "type": "subscribed", "to": "ana@localhost"}));
    phone.want("notify", &[("body", "entity='sip:julia@localhost'")]);
    phone.tell(list("dialog"));
    phone.want("answer", &[("status", "200")]);
    phone.want(
        "notify",
        &[("event_package", "dialog"), ("body", "<dialog-info"), ("require", "eventlist")],
    );
    phone.tell(json!({"cmd": "renew", "event": "presence", "expires": 0}));
    phone.want("notify", &[("state", "terminated;reason=timeout"), ("require", "eventlist")]);
}

/// RFC 3857 section 4.7.1: a request stays known when its phone has gone.
#[test]
fn who_asked_and_went_is_waiting() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut julias = watcher(&server, "julia's phone", "julia", &log);
    watch(&mut julias, "julia", "presence.winfo", "200");
    let mut phone = watcher(&server, "phone", "ana", &log);
    watch(&mut phone, "julia", "presence", "200");
    julias.want("notify", &[("body", "status=\"pending\" event=\"subscribe\"")]);
    phone.tell(json!({"cmd": "renew", "event": "presence", "expires": 0}));
    let last = phone.want("notify", &[("state", "terminated;reason=timeout")]);
    assert!(last["body"].as_str().unwrap().contains("<basic>closed</basic>"), "{last}");
    julias.want("notify", &[("body", "status=\"waiting\" event=\"timeout\"")]);
    watch(&mut phone, "julia", "presence", "200");
    julias.want("notify", &[("body", "status=\"pending\" event=\"subscribe\"")]);
}

/// RFC 8048 section 8.1: a phone that watches many is no storm of requests.
#[test]
fn a_phone_with_many_contacts_asks_them_slowly() {
    let names: Vec<String> = (1..=11).map(|n| format!("friend{n}")).collect();
    let people: Vec<&str> = names.iter().map(String::as_str).chain(["ana"]).collect();
    let server = Server::start("localhost", &people).unwrap();
    let log = Transcript::default();
    let mut tenth = server.softphone("tenth", "friend10", &log).unwrap();
    let mut last = server.softphone("last", "friend11", &log).unwrap();
    let mut phone = watcher(&server, "phone", "ana", &log);
    for name in &names {
        watch(&mut phone, name, "presence", "200");
        phone.want("notify", &[("state", "pending;expires=")]);
    }
    tenth.want("presence", &[("from", "ana@localhost"), ("type", "subscribe")]);
    last.never("presence", &[("from", "ana@localhost"), ("type", "subscribe")]);
}

/// RFC 6665 section 4.4.2.
#[test]
fn watchers_are_told_to_come_back_when_the_node_stops() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut phone = watcher(&server, "phone", "ana", &log);
    watch(&mut phone, "ana", "presence", "200");
    phone.want("notify", &[("state", "active;expires=")]);
    server.stop().unwrap();
    phone.want("notify", &[("state", "terminated;reason=deactivated")]);
}

/// RFC 3842 with a phone not written here.
#[test]
fn the_message_lamp_of_baresip_is_lit() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut phone = server.phone("phone", "ana", json!({"mwi": true}), &log).unwrap();
    phone.want("waiting", &[("text", "Messages-Waiting: no")]);
    let mut caller = server.phone("caller", "julia", json!({}), &log).unwrap();
    caller.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    phone.want("incoming", &[]);
    caller.tell(json!({"cmd": "hangup"}));
    phone.want("waiting", &[("text", "Voice-Message: 1/0")]);
}
