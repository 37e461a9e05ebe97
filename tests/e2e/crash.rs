//! `kill -9` (commit before promise): what a phone was told is taken is not lost, and a crash in a call hurts that call alone.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use serde_json::json;
use tandem_tests::{Dice, Peer, Server, Transcript};

const PEOPLE: &[&str] = &["ana", "carl"];
const MESSAGES: u32 = 12;

#[test]
fn messages_that_were_taken_from_a_phone_survive() {
    let mut server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut phone = Peer::start("phone", "rawphone.py", &log).unwrap();
    phone.tell(json!({"cmd": "start", "user": "ana", "password": "secret-ana", "domain": "localhost", "port": server.sip}));
    phone.want("registered", &[("status", "200")]);
    let word = Dice.word();
    for n in 0..MESSAGES {
        let body = format!("{word} {n};");
        phone.tell(json!({"cmd": "send", "to": "sip:carl@localhost", "body": body}));
        // Nobody is there to read it: taken, not delivered (RFC 3428 section 7).
        phone.want("answer", &[("status", "202")]);
    }
    server.crash_and_restart().unwrap();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    for n in 0..MESSAGES {
        let next = app.want("message", &[("from", "ana@localhost")]);
        assert_eq!(next["body"], format!("{word} {n};"), "{}", log.text());
    }
    app.never("message", &[]);
}

#[test]
fn a_crash_in_a_call_loses_no_record_and_no_registration() {
    let mut server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let (high, low) = Dice.pitches();
    let mut phone = server.phone("phone", "ana", json!({"tone": low}), &log).unwrap();
    phone.tell(json!({"cmd": "auto_answer"}));
    let call = |app: &mut Peer, phone: &mut Peer| {
        app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": high, "codecs": ["opus"]}));
        app.want("connected", &[]);
        phone.want("established", &[]);
        phone.hears(high);
        app.hears(low);
    };
    let mut app = server.softphone("app", "carl", &log).unwrap();
    call(&mut app, &mut phone);
    app.tell(json!({"cmd": "hangup"}));
    phone.want("closed", &[]);
    let before = server.recorded(1).unwrap();
    call(&mut app, &mut phone);
    server.crash_and_restart().unwrap();
    app.want("offline", &[]);
    assert_eq!(server.calls().unwrap(), before);
    // The phone was told nothing of the crash, hangs up, and is called again without having registered again.
    phone.tell(json!({"cmd": "hangup"}));
    phone.want("closed", &[]);
    phone.never("registered", &[]);
    let mut app = server.softphone("app, again", "carl", &log).unwrap();
    call(&mut app, &mut phone);
    phone.never("registered", &[]);
    app.tell(json!({"cmd": "hangup"}));
    phone.want("closed", &[]);
    assert_eq!(server.recorded(2).unwrap()[0], before[0]);
}
