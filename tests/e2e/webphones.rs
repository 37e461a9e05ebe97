//! Phones of web pages over secure WebSocket (RFC 7118): JsSIP and SIP.js in Chromium, with an XMPP app of slixmpp.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use serde_json::json;
use tandem_tests::{Peer, Server, Transcript};

/// A phone in a page, registered.
fn web_phone(server: &Server, stack: &str, user: &str, log: &Transcript) -> Peer {
    let mut phone = Peer::start(stack, "webphone.mjs", log).unwrap();
    phone.tell(json!({
        "cmd": "start", "stack": stack, "url": format!("wss://localhost:{}/sip-websocket", server.https),
        "user": user, "password": format!("secret-{user}"), "domain": "localhost",
    }));
    phone.want("registered", &[]);
    phone
}

fn registers_and_talks(stack: &str) {
    let server = Server::start("localhost", &["ana", "carl"]).unwrap();
    let log = Transcript::default();
    let mut phone = web_phone(&server, stack, "ana", &log);
    let mut app = server.softphone("app", "carl", &log).unwrap();
    app.tell(json!({"cmd": "message", "to": "ana@localhost", "body": "Grüße in den Browser", "id": "m1"}));
    phone.want("message", &[("from", "carl@localhost"), ("body", "Grüße in den Browser")]);
    phone.tell(json!({"cmd": "message", "to": "sip:carl@localhost", "body": "und zurück"}));
    phone.want("sent", &[("status", "200")]);
    app.want("message", &[("from", "ana@localhost/"), ("body", "und zurück")]);
}

/// Calls the echo address and hears itself; is called by a desk phone, and both hear each other.
fn calls_and_is_called(stack: &str) {
    let server = Server::start("localhost", &["ana", "carl"]).unwrap();
    let log = Transcript::default();
    let mut web = web_phone(&server, stack, "ana", &log);
    web.tell(json!({"cmd": "call", "to": "sip:echo@localhost", "tone": 640}));
    web.want("established", &[]);
    web.hears(640);
    web.tell(json!({"cmd": "stats"}));
    web.want("stats", &[("dtls", "connected"), ("codec", "audio/opus")]);
    web.tell(json!({"cmd": "hangup"}));
    web.want("closed", &[]);

    let mut desk = server.phone("desk", "carl", json!({"tone": 480}), &log).unwrap();
    web.tell(json!({"cmd": "auto_answer", "tone": 720}));
    desk.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    web.want("incoming", &[("from", "carl@localhost")]);
    desk.want("established", &[]);
    web.hears(480);
    desk.hears(720);
    desk.tell(json!({"cmd": "hangup"}));
    web.want("closed", &[]);
    let calls = server.recorded(2).unwrap();
    assert!(calls.iter().all(|(_, _, result, _)| result == "hung up"), "{calls:?}");
}

#[test]
fn jssip_in_chromium_calls_and_is_called() {
    calls_and_is_called("jssip");
}

#[test]
fn sip_js_in_chromium_calls_and_is_called() {
    calls_and_is_called("sipjs");
}

#[test]
fn jssip_in_chromium_registers_and_messages_cross_both_ways() {
    registers_and_talks("jssip");
}

#[test]
fn sip_js_in_chromium_registers_and_messages_cross_both_ways() {
    registers_and_talks("sipjs");
}
