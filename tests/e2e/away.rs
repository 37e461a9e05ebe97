//! A phone calls somebody whose app is away: it is woken (XEP-0357) and takes the call, or learns later that it was called
//! (XEP-0353 section 3.3, XEP-0313). Phones are woken by their own push services (RFC 8599). Sound is proven by the tone that is heard.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use serde_json::json;
use tandem_tests::{Peer, PushService, Server, Transcript, free_ports};

#[test]
fn an_app_that_sleeps_is_woken_by_a_phones_call_and_takes_it() {
    let [port] = free_ports().unwrap();
    let listen = format!("components = [\"127.0.0.1:{port}\"]");
    let sections = "[[components]]\nhost = \"push.localhost\"\nsecret = \"between us\"\n";
    let server = Server::start_listening("localhost", &["ana", "carl"], &listen, sections).unwrap();
    let log = Transcript::default();
    let mut apps = Peer::start("app server", "appserver.py", &log).unwrap();
    apps.tell(
        json!({"cmd": "start", "host": "push.localhost", "secret": "between us", "port": port}),
    );
    apps.want("ready", &[]);
    let mut app = server.softphone("app", "carl", &log).unwrap();
    app.tell(json!({
        "cmd": "raw",
        "xml": "<iq xmlns='jabber:client' type='set' id='e'><enable xmlns='urn:xmpp:push:0' jid='push.localhost' node='carls'/></iq>",
    }));
    app.tell(json!({"cmd": "logout"}));
    app.want("offline", &[]);

    let mut phone = server.phone("phone", "ana", json!({"tone": 620}), &log).unwrap();
    phone.tell(json!({"cmd": "call", "to": "sip:carl@localhost"}));
    apps.want("pushed", &[("node", "carls"), ("urgent", "true")]);
    let mut app = server.softphone("app, awake", "carl", &log).unwrap();
    app.want("incoming", &[("from", "ana@localhost/phone-")]);
    app.tell(json!({"cmd": "answer", "tone": 500}));
    phone.want("established", &[]);
    app.hears(620);
    phone.hears(500);
    phone.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[]);
    assert_eq!(server.recorded(1).unwrap()[0].2, "hung up");
}

#[test]
fn who_was_away_learns_of_the_call_when_it_comes_back() {
    let server = Server::start("localhost", &["ana", "carl"]).unwrap();
    let log = Transcript::default();
    let mut phone = server.phone("phone", "ana", json!({"tone": 620}), &log).unwrap();
    phone.tell(json!({"cmd": "call", "to": "sip:carl@localhost"}));
    phone.want("closed", &[("reason", "480")]);
    server.recorded(1).unwrap();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    app.want("incoming", &[("from", "ana@localhost/phone-")]);
    app.want("ended", &[("by", "retract")]);
}

#[test]
fn a_phone_whose_registration_has_ended_is_woken_by_its_push_service_also_after_a_crash() {
    let service = PushService::start().unwrap();
    let settings = service.section("min_expires = 1");
    let mut server = Server::start_with("localhost", &["ana", "carl"], &settings).unwrap();
    let log = Transcript::default();
    let mut phone = Peer::start("phone", "rawphone.py", &log).unwrap();
    phone.tell(json!({
        "cmd": "start", "user": "ana", "password": "secret-ana", "domain": "localhost", "port": server.sip,
        "seconds": 2, "uri": ";pn-provider=acme;pn-prid=anas%3A1;pn-param=app",
    }));
    let registered = phone.want("registered", &[("status", "200")]);
    let fields = registered["headers"].as_array().unwrap();
    let caps = fields.iter().find(|field| field[0] == "Feature-Caps").unwrap();
    assert_eq!(caps[1], "*;+sip.pns=\"acme\"");
    // Its time runs out while it sleeps.
    std::thread::sleep(std::time::Duration::from_secs(4));
    server.crash_and_restart().unwrap();

    let mut caller = server.phone("caller", "carl", json!({}), &log).unwrap();
    caller.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    let push = service.next().unwrap();
    assert_eq!(push, json!({"provider": "acme", "prid": "anas:1", "param": "app"}));
    caller.want("ringing", &[]);
    phone.never("request", &[]);
    phone.tell(json!({"cmd": "answer", "status": 486}));
    phone.tell(json!({"cmd": "refresh"}));
    phone.want("request", &[("method", "INVITE")]);
    caller.want("closed", &[("reason", "486")]);
    phone.tell(json!({"cmd": "answer", "status": 200}));

    // It sleeps again. What an app writes waits for it, and wakes it.
    std::thread::sleep(std::time::Duration::from_secs(4));
    let mut app = server.softphone("app", "carl", &log).unwrap();
    app.tell(json!({"cmd": "message", "to": "ana@localhost", "body": "guten Morgen", "id": "m1"}));
    assert_eq!(service.next().unwrap()["prid"], "anas:1");
    phone.tell(json!({"cmd": "refresh"}));
    phone.want("request", &[("method", "MESSAGE"), ("body", "guten Morgen")]);
}
