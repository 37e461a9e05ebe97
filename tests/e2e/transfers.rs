//! Transfers across the protocols (RFC 3515, RFC 5589, XEP-0251): phones (baresip) and apps (aiortc) hand a call on to an
//! app, a phone, and back. Sound is proven by the tone that is heard.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use serde_json::json;
use tandem_tests::{Peer, Server, Transcript};

const PEOPLE: &[&str] = &["ana", "julia", "carl"];

#[test]
fn a_phone_transfers_an_app_to_another_app_and_to_another_phone() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let mut phone = server.phone("phone", "ana", json!({"tone": 620}), &log).unwrap();
    let mut other = server.softphone("other app", "julia", &log).unwrap();
    phone.tell(json!({"cmd": "auto_answer"}));
    app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": 500, "codecs": ["PCMA"]}));
    app.want("connected", &[]);
    phone.want("established", &[]);
    app.hears(620);
    phone.tell(json!({"cmd": "transfer", "to": "sip:julia@localhost"}));
    other.want("incoming", &[("from", "carl@localhost")]);
    other.tell(json!({"cmd": "answer", "tone": 860, "codecs": ["opus"]}));
    other.want("connected", &[]);
    phone.want("closed", &[]);
    other.hears(500);
    app.hears(860);
    other.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[("reason", "success")]);
    let mut results: Vec<String> =
        server.recorded(2).unwrap().into_iter().map(|call| call.2).collect();
    results.sort();
    assert_eq!(results, ["hung up", "transferred"]);
    // And to a phone.
    let mut desk = server.phone("desk phone", "julia", json!({"tone": 740}), &log).unwrap();
    app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": 500, "codecs": ["PCMA"]}));
    app.want("connected", &[]);
    phone.want("established", &[]);
    phone.tell(json!({"cmd": "transfer", "to": "sip:julia@localhost"}));
    desk.want("incoming", &[("from", "carl@localhost")]);
    desk.tell(json!({"cmd": "answer"}));
    phone.want("closed", &[]);
    desk.hears(500);
    app.hears(740);
    app.tell(json!({"cmd": "hangup"}));
    desk.want("closed", &[]);
}

/// A phone in a call with an app asks for a transfer to another app, which rings: app, phone, other app.
fn asked(server: &Server, log: &Transcript) -> [Peer; 3] {
    let mut app = server.softphone("app", "carl", log).unwrap();
    let mut phone = server.phone("phone", "ana", json!({"tone": 620}), log).unwrap();
    let mut other = server.softphone("other app", "julia", log).unwrap();
    app.tell(json!({"cmd": "auto_answer", "tone": 500, "codecs": ["PCMA"]}));
    phone.tell(json!({"cmd": "call", "to": "sip:carl@localhost"}));
    phone.want("established", &[]);
    app.want("connected", &[]);
    phone.tell(json!({"cmd": "transfer", "to": "sip:julia@localhost"}));
    other.want("incoming", &[("from", "carl@localhost")]);
    [app, phone, other]
}

#[test]
fn a_transfer_that_nobody_takes_leaves_the_call_as_it_was() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let [mut app, mut phone, mut other] = asked(&server, &log);
    other.tell(json!({"cmd": "hangup"}));
    phone.want("transfer_failed", &[]);
    // baresip holds the call while it transfers; it is still there, and ends as calls do.
    phone.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[("by", "terminate")]);
}

#[test]
fn who_stays_may_hang_up_while_the_new_party_rings() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let [mut app, mut phone, mut other] = asked(&server, &log);
    app.tell(json!({"cmd": "hangup"}));
    other.want("ended", &[("by", "retract")]);
    phone.want("closed", &[]);
}

#[test]
fn an_app_transfers_a_phone_to_another_app() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let mut phone = server.phone("phone", "ana", json!({"tone": 620}), &log).unwrap();
    let mut other = server.softphone("other app", "julia", &log).unwrap();
    phone.tell(json!({"cmd": "auto_answer"}));
    app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": 500, "codecs": ["PCMA"]}));
    app.want("connected", &[]);
    phone.want("established", &[]);
    app.tell(json!({"cmd": "transfer", "to": "julia@localhost"}));
    other.want("incoming", &[("from", "ana@localhost")]);
    other.tell(json!({"cmd": "answer", "tone": 860, "codecs": ["PCMA"]}));
    other.want("connected", &[]);
    app.want("ended", &[("by", "terminate"), ("reason", "success")]);
    other.hears(620);
    phone.hears(860);
    phone.tell(json!({"cmd": "hangup"}));
    other.want("ended", &[("reason", "success")]);
}
