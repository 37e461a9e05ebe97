//! A phone calls somebody whose app is away: it is woken (XEP-0357) and takes the call, or learns later that it was called
//! (XEP-0353 section 3.3, XEP-0313). Sound is proven by the tone that is heard.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use serde_json::json;
use tandem_tests::{Peer, Server, Transcript, free_ports};

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
