//! Message sessions of phones with people, rooms and files: RFC 4975, RFC 6714, RFC 7573, RFC 7702, RFC 7701, RFC 5547. The
//! phone is `tests/peers/msrpphone.py`, the others are slixmpp.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use serde_json::{Value, json};
use tandem_tests::{Peer, Server, Transcript};

const PEOPLE: &[&str] = &["ana", "julia", "carl", "otto"];
const ROOM: &str = "tea@rooms.localhost";
const SIP_ROOM: &str = "sip:tea@rooms.localhost";

fn phone(server: &Server, user: &str, log: &Transcript) -> Peer {
    let mut phone = Peer::start(&format!("{user}'s phone"), "msrpphone.py", log).unwrap();
    phone.tell(json!({"cmd": "start", "user": user, "password": format!("secret-{user}"), "domain": "localhost",
        "port": server.sip, "algorithm": "SHA-256"}));
    phone.want("registered", &[("status", "200")]);
    phone
}

fn invite(phone: &mut Peer, to: &str, more: &str) -> String {
    phone.tell(json!({"cmd": "invite", "to": to, "more": more}));
    phone.want("session", &[("status", "200")])["sdp"].as_str().unwrap().to_owned()
}

fn raw(app: &mut Peer, xml: String) {
    app.tell(json!({"cmd": "raw", "xml": xml}));
}

#[test]
fn a_chat_session_carries_texts_both_ways_in_chunks_and_with_reports() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let (mut phone, mut app) =
        (phone(&server, "ana", &log), server.softphone("app", "carl", &log).unwrap());
    let sdp = invite(&mut phone, "sip:carl@localhost", "a=msrp-cema\r\n");
    for line in [
        "a=setup:passive",
        "a=path:msrp://127.0.0.1:",
        "a=accept-types:message/cpim text/plain",
        "a=max-size:65536",
        "a=msrp-cema",
    ] {
        assert!(sdp.contains(line), "{line}: {sdp}");
    }
    phone.tell(json!({"cmd": "say", "body": "grüß dich", "type": "text/plain;charset=utf-8"}));
    phone.want("said", &[("status", "200")]);
    let first = app.want("message", &[("body", "grüß dich")]);
    assert!(first["from"].as_str().unwrap().starts_with("ana@localhost/phone-"), "{first}");
    let long = "abcdefghij".repeat(900);
    phone.tell(json!({"cmd": "say", "body": long, "chunk": 2048, "success": "yes"}));
    phone.want("said", &[("status", "200")]);
    assert_eq!(app.want("message", &[("body", "abcdefghij")])["body"].as_str().unwrap(), long);
    let report = phone.want("msrp", &[("method", "REPORT")]);
    assert_eq!(report["headers"]["Status"], "000 200 OK");

    // What is written to the phone goes over its session, the report comes back as a receipt; the thread is the session.
    app.tell(json!({"cmd": "message", "to": "ana@localhost", "body": long, "id": "r1"}));
    let got = phone.want("msrp", &[("method", "SEND")]);
    assert_eq!(got["body"].as_str().unwrap(), long);
    app.want("receipt", &[("id", "r1")]);
    phone.never("request", &[("method", "MESSAGE")]);
    let typing = "<?xml version='1.0'?><isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing'><state>active</state></isComposing>";
    phone.tell(json!({"cmd": "say", "body": typing, "type": "application/im-iscomposing+xml"}));
    app.want("chat_state", &[("state", "composing")]);
    phone.tell(json!({"cmd": "say", "body": "x", "type": "application/sdp"}));
    phone.want("said", &[("status", "415")]);
    phone.tell(json!({"cmd": "bye"}));
    app.want("chat_state", &[("state", "gone")]);
    phone.want("closed", &[]);
    // Without a session it is a single message again.
    app.tell(json!({"cmd": "message", "to": "ana@localhost", "body": "still there?", "id": "r2"}));
    phone.want("request", &[("method", "MESSAGE"), ("body", "still there?")]);
}

#[test]
fn sessions_run_over_tls_and_refusals_are_said() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let (mut phone, mut app) =
        (phone(&server, "ana", &log), server.softphone("app", "carl", &log).unwrap());
    phone.tell(json!({"cmd": "invite", "to": "sip:carl@localhost", "tls": true}));
    let sdp = phone.want("session", &[("status", "200")])["sdp"].as_str().unwrap().to_owned();
    assert!(sdp.contains("TCP/TLS/MSRP") && sdp.contains("a=path:msrps://"), "{sdp}");
    phone.tell(json!({"cmd": "say", "body": "in private"}));
    app.want("message", &[("body", "in private")]);
    phone.tell(json!({"cmd": "bye"}));
    for (to, more, status) in [
        ("sip:nobody@localhost", "", "404"),
        ("sip:nowhere@rooms.localhost", "", "404"),
        ("sip:carl@localhost", "a=recvonly\r\na=file-selector:hash:sha-1:72:24\r\n", "488"),
        (
            "sip:carl@localhost",
            "a=sendonly\r\na=file-selector:name:\"x\" size:99999999999\r\n",
            "413",
        ),
    ] {
        phone.tell(json!({"cmd": "invite", "to": to, "more": more}));
        phone.want("session", &[("status", status)]);
    }
}

#[test]
fn a_file_that_a_phone_sends_arrives_as_a_link() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let (mut phone, mut app) =
        (phone(&server, "ana", &log), server.softphone("app", "carl", &log).unwrap());
    let content = "day,beats\r\n".to_owned() + &"1,70\r\n".repeat(2_000);
    let more = format!(
        "a=sendonly\r\na=file-selector:name:\"pulse of may.csv\" type:text/csv size:{}\r\na=file-transfer-id:abc123\r\n",
        content.len()
    );
    let sdp = invite(&mut phone, "sip:carl@localhost", &more);
    assert!(
        sdp.contains("a=recvonly")
            && sdp.contains("a=file-transfer-id:abc123")
            && sdp.contains("a=file-selector:name:\"pulse of may.csv\""),
        "{sdp}"
    );
    phone.tell(json!({"cmd": "say", "body": content, "type": "text/csv", "chunk": 2048}));
    let link = app.want("message", &[("url", "/upload/")]);
    app.tell(json!({"cmd": "fetch", "url": link["url"]}));
    let fetched = app.want("fetched", &[("status", "200")]);
    assert_eq!(fetched["body"].as_str().unwrap(), content);
    assert!(fetched["type"].as_str().unwrap().starts_with("text/csv"), "{fetched}");
    phone.want("bye", &[]);
}

fn cpim(from: &str, to: &str, text: &str) -> String {
    format!(
        "From: <{from}>\r\nTo: <{to}>\r\n\r\nContent-Type: text/plain;charset=utf-8\r\n\r\n{text}"
    )
}

fn say(phone: &mut Peer, body: String) -> Value {
    phone.tell(json!({"cmd": "say", "body": body, "type": "message/cpim"}));
    phone.want("said", &[])["status"].clone()
}

/// Carl's room, where Ana may enter, and Carl's app in it.
fn make_room(server: &Server, log: &Transcript) -> Peer {
    let mut app = server.softphone("carl's app", "carl", log).unwrap();
    raw(
        &mut app,
        format!(
            "<presence to='{ROOM}/carl'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        ),
    );
    app.want("presence", &[("from", &format!("{ROOM}/carl")), ("type", "available")]);
    raw(
        &mut app,
        format!(
            "<iq type='set' id='own' to='{ROOM}'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>"
        ),
    );
    raw(
        &mut app,
        format!(
            "<iq type='set' id='who' to='{ROOM}'><query xmlns='http://jabber.org/protocol/muc#admin'><item affiliation='member' jid='ana@localhost'/></query></iq>"
        ),
    );
    app
}

#[test]
fn a_session_with_a_room_has_names_a_roster_and_what_was_said_before() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut app = make_room(&server, &log);
    raw(
        &mut app,
        format!("<message to='{ROOM}' type='groupchat' id='m0'><body>said before</body></message>"),
    );
    app.want("message", &[("from", ROOM), ("body", "said before")]);
    let mut phone = phone(&server, "ana", &log);
    let sdp = invite(&mut phone, SIP_ROOM, "");
    assert!(
        sdp.contains("a=chatroom:nickname private-messages")
            && sdp.contains("a=accept-types:message/cpim"),
        "{sdp}"
    );
    let old = phone.want("msrp", &[("body", "said before")]);
    let body = old["body"].as_str().unwrap();
    assert!(
        body.contains("From: \"carl\" <sip:tea@rooms.localhost;gr=carl>")
            && body.contains("DateTime: "),
        "{body}"
    );
    let watch = json!({"cmd": "send", "method": "SUBSCRIBE", "to": SIP_ROOM,
        "headers": "Event: conference\r\nExpires: 300\r\nContact: <sip:ana@127.0.0.1>\r\n"});
    phone.tell(watch.clone());
    phone.want("answer", &[("status", "200")]);
    let roster = phone
        .want("request", &[("method", "NOTIFY"), ("body", "<display-text>carl</display-text>")]);
    let body = roster["body"].as_str().unwrap();
    assert!(
        body.contains("state=\"full\" version=\"0\"") && body.contains("<entry>moderator</entry>"),
        "{body}"
    );
    assert!(body.contains("entity=\"sip:tea@rooms.localhost;gr=ana\""), "{body}");
    phone.tell(json!({"cmd": "nickname", "name": "Ana by the sea"}));
    phone.want("said", &[("status", "200")]);
    app.want("presence", &[("from", &format!("{ROOM}/Ana by the sea")), ("type", "available")]);
    phone.tell(json!({"cmd": "nickname", "name": "carl"}));
    phone.want("said", &[("status", "425")]);
    phone.want(
        "request",
        &[("method", "NOTIFY"), ("body", "<display-text>Ana by the sea</display-text>")],
    );
    let mut stranger = crate::phone(&server, "otto", &log);
    stranger.tell(watch);
    stranger.want("answer", &[("status", "403")]);
    stranger.tell(json!({"cmd": "invite", "to": SIP_ROOM}));
    stranger.want("session", &[("status", "403")]);
}

#[test]
fn a_session_with_a_room_speaks_to_all_and_to_one_and_in_no_other_name() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut app = make_room(&server, &log);
    let mut phone = phone(&server, "ana", &log);
    invite(&mut phone, SIP_ROOM, "");
    let ana = format!("{ROOM}/ana");
    assert_eq!(say(&mut phone, cpim("sip:ana@localhost", SIP_ROOM, "hello all")), 200);
    app.want("message", &[("from", &ana), ("body", "hello all"), ("type", "groupchat")]);
    let to_carl = format!("{SIP_ROOM};gr=carl");
    assert_eq!(say(&mut phone, cpim("sip:ana@localhost", &to_carl, "for you")), 200);
    app.want("message", &[("from", &ana), ("body", "for you"), ("type", "chat")]);
    raw(
        &mut app,
        format!("<message to='{ana}' type='chat' id='p1'><body>for you too</body></message>"),
    );
    let private = phone.want("msrp", &[("body", "for you too")]);
    assert!(private["body"].as_str().unwrap().contains("To: <sip:ana@localhost>"), "{private}");
    // Not one's own name, nobody's address, no wrapping.
    assert_eq!(say(&mut phone, cpim("sip:otto@localhost", SIP_ROOM, "forged")), 200);
    assert_eq!(phone.want("msrp", &[("method", "REPORT")])["headers"]["Status"], "000 403");
    let to_nobody = format!("{SIP_ROOM};gr=nobody");
    assert_eq!(say(&mut phone, cpim("sip:ana@localhost", &to_nobody, "hm")), 200);
    assert_eq!(phone.want("msrp", &[("method", "REPORT")])["headers"]["Status"], "000 404");
    phone.tell(json!({"cmd": "say", "body": "bare"}));
    phone.want("said", &[("status", "415")]);
    app.never("message", &[("body", "forged")]);
    // Who is put out is hung up on.
    raw(
        &mut app,
        format!(
            "<iq type='set' id='kick' to='{ROOM}'><query xmlns='http://jabber.org/protocol/muc#admin'><item nick='ana' role='none'/></query></iq>"
        ),
    );
    let bye = phone.want("bye", &[]);
    assert!(bye["head"].as_str().unwrap().contains("kicked"), "{bye}");
}
