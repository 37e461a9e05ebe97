//! Chat and presence between XMPP apps (slixmpp) and SIP phones (baresip, and one by hand): RFC 7572, RFC 8048,
//! RFC 5438, RFC 3994, XEP-0184, XEP-0085.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use serde_json::json;
use tandem_tests::{Peer, Server, Transcript, befriend};

const PEOPLE: &[&str] = &["ana", "julia", "carl"];

#[test]
fn messages_cross_both_ways_with_receipts_and_the_echo_address_answers_a_phone() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let contacts = json!({"contacts": ["sip:carl@localhost", "sip:echo@localhost"], "tone": 530});
    let mut phone = server.phone("phone", "ana", contacts, &log).unwrap();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    app.tell(json!({"cmd": "message", "to": "ana@localhost", "body": "Grüße an das Telefon", "id": "m1"}));
    phone.want("message", &[("from", "carl@localhost"), ("body", "Grüße an das Telefon")]);
    app.want("receipt", &[("id", "m1")]);
    phone.tell(json!({"cmd": "message", "to": "sip:carl@localhost", "body": "back to the app"}));
    app.want("message", &[("from", "ana@localhost/"), ("body", "back to the app")]);
    phone.tell(json!({"cmd": "message", "to": "sip:echo@localhost", "body": "anybody there?"}));
    phone.want("message", &[("from", "echo@localhost"), ("body", "anybody there?")]);
    phone.tell(json!({"cmd": "call", "to": "sip:echo@localhost"}));
    phone.want("established", &[]);
    phone.hears(530);
    phone.tell(json!({"cmd": "hangup"}));
    phone.want("closed", &[]);
}

#[test]
fn a_phone_is_seen_while_registered_and_while_in_a_call() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let mut anas = server.softphone("ana's app", "ana", &log).unwrap();
    befriend(&mut app, &mut anas, ["carl@localhost", "ana@localhost"]);
    let more = json!({"watch": ["sip:carl@localhost", "sip:julia@localhost"]});
    let mut phone = server.phone("phone", "ana", more, &log).unwrap();
    app.want("presence", &[("from", "ana@localhost/phone-"), ("type", "available")]);
    // Carl lets Ana see him; Julia was never asked, so she gets a request and shows nothing.
    phone.want("presence", &[("from", "carl@localhost"), ("status", "Online")]);
    let mut julia = server.softphone("julia", "julia", &log).unwrap();
    julia.want("presence", &[("from", "ana@localhost"), ("type", "subscribe")]);
    phone.never("presence", &[("from", "julia@localhost"), ("status", "Online")]);
    julia.tell(json!({"cmd": "presence", "type": "subscribed", "to": "ana@localhost"}));
    phone.want("presence", &[("from", "julia@localhost"), ("status", "Online")]);
    phone.tell(json!({"cmd": "call", "to": "sip:echo@localhost"}));
    phone.want("established", &[]);
    app.want(
        "presence",
        &[("from", "ana@localhost/phone-"), ("show", "dnd"), ("status", "On the phone")],
    );
    phone.tell(json!({"cmd": "hangup"}));
    app.want(
        "presence",
        &[("from", "ana@localhost/phone-"), ("type", "available"), ("show", "null")],
    );
    julia.tell(json!({"cmd": "logout"}));
    phone.want("presence", &[("from", "julia@localhost"), ("status", "Offline")]);
    drop(phone);
    app.want("presence", &[("from", "ana@localhost/phone-"), ("type", "unavailable")]);
}

/// The bodies that a phone with notifications sends.
fn cpim(headers: &str, inner: &str, content: &str) -> String {
    format!(
        "From: <sip:ana@localhost>\r\nTo: <sip:carl@localhost>\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
         DateTime: 2026-01-05T10:00:02Z\r\n{headers}\r\nContent-Type: {inner}\r\n\r\n{content}"
    )
}

#[test]
fn notifications_and_typing_cross_and_what_a_phone_refuses_is_said() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut phone = Peer::start("phone", "rawphone.py", &log).unwrap();
    let start = json!({"cmd": "start", "user": "ana", "password": "secret-ana", "domain": "localhost",
        "port": server.sip, "algorithm": "SHA-256"});
    phone.tell(start.clone());
    phone.want("registered", &[("status", "200")]);
    let mut app = server.softphone("app", "carl", &log).unwrap();

    let asks = "imdn.Message-ID: abc123\r\nimdn.Disposition-Notification: positive-delivery\r\n";
    let body = cpim(asks, "text/plain;charset=utf-8", "did you get this?");
    phone.tell(
        json!({"cmd": "send", "to": "sip:carl@localhost", "type": "message/cpim", "body": body}),
    );
    phone.want("answer", &[("status", "200")]);
    app.want("message", &[("body", "did you get this?"), ("receipt", "true")]);
    let told = phone.want("request", &[("type", "message/cpim"), ("body", "<delivered")]);
    assert!(told["body"].as_str().unwrap().contains("abc123"), "{told}");

    let typing = "<?xml version='1.0'?><isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing'>\
                  <state>active</state></isComposing>";
    let kind = "application/im-iscomposing+xml";
    phone.tell(json!({"cmd": "send", "to": "sip:carl@localhost", "type": kind, "body": typing}));
    app.want("chat_state", &[("from", "ana@localhost/"), ("state", "composing")]);
    app.tell(json!({"cmd": "chat_state", "to": "ana@localhost", "state": "composing"}));
    phone.want("request", &[("type", kind), ("body", "<state>active</state>")]);

    // The app's request for a receipt goes out as one for a notification, whose answer comes back as a receipt.
    app.tell(json!({"cmd": "message", "to": "ana@localhost", "body": "and you?", "id": "r1"}));
    let asked = phone.want("request", &[("type", "message/cpim"), ("body", "and you?")]);
    let text = asked["body"].as_str().unwrap();
    let id = text.lines().find_map(|l| l.strip_prefix("imdn.Message-ID: ")).unwrap();
    app.never("receipt", &[("id", "r1")]);
    let notice = format!(
        "<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"><message-id>{id}</message-id>\
         <datetime>2026-01-05T10:00:00Z</datetime><delivery-notification><status><delivered/></status>\
         </delivery-notification></imdn>"
    );
    let body = cpim("imdn.Message-ID: x9\r\n", "message/imdn+xml", &notice);
    phone.tell(
        json!({"cmd": "send", "to": "sip:carl@localhost", "type": "message/cpim", "body": body}),
    );
    app.want("receipt", &[("id", "r1")]);

    // A text to one's own address, with no other device there, waits for one. Nobody is left without an answer.
    phone.tell(json!({"cmd": "send", "to": "sip:ana@localhost", "body": "note to self"}));
    phone.want("answer", &[("status", "202")]);

    // A refusal is an error; an absence keeps the message for the next phone.
    phone.tell(json!({"cmd": "answer", "status": 486}));
    app.tell(json!({"cmd": "message", "to": "ana@localhost", "body": "busy?", "id": "r2"}));
    app.want("message_error", &[("id", "r2"), ("condition", "recipient-unavailable")]);
    phone.tell(json!({"cmd": "answer", "status": 480}));
    app.tell(
        json!({"cmd": "message", "to": "ana@localhost", "body": "kept for later", "id": "r3"}),
    );
    phone.want("request", &[("body", "kept for later")]);
    for (to, kind, status) in [
        ("sip:nobody@localhost", "text/plain", "404"),
        ("sip:carl@localhost", "application/vnd.3gpp.sms", "415"),
        // On its way to another server: whether it arrives is not known yet.
        ("sip:carl@elsewhere.example", "text/plain", "202"),
    ] {
        phone.tell(json!({"cmd": "send", "to": to, "type": kind, "body": "x"}));
        phone.want("answer", &[("status", status)]);
    }
    phone.tell(json!({"cmd": "unregister"}));
    let mut next = Peer::start("next phone", "rawphone.py", &log).unwrap();
    next.tell(start);
    next.want("request", &[("body", "note to self")]);
    next.want("request", &[("body", "kept for later")]);
    app.want("receipt", &[("id", "r3")]);
}

#[test]
fn wrong_passwords_are_refused_and_slowed_and_nobody_speaks_for_another() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut phone = Peer::start("phone", "rawphone.py", &log).unwrap();
    let start = |user: &str, password: &str| json!({"cmd": "start", "user": user, "password": password, "domain": "localhost", "port": server.sip});
    // An unknown user looks like a wrong password.
    phone.tell(start("nobody", "wrong"));
    phone.want("registered", &[("status", "401")]);
    // Mistakes are few, then this address has to wait, whatever it says, and is told so.
    let is_slowed = (0..10).any(|_| {
        phone.tell(start("nobody", "wrong"));
        phone.want("registered", &[])["status"] == 503
    });
    assert!(is_slowed, "{}", log.text());
    phone.tell(start("ana", "secret-ana"));
    phone.want("registered", &[("status", "503")]);
    let metrics = server.http("/metrics").unwrap();
    assert!(metrics.contains("tandem_sip_logins_refused_total"), "{metrics}");
}
