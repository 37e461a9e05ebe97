//! Linphone's command line (liblinphone) as a phone: calls with an XMPP app (aiortc) and another phone (baresip), hold, TLS
//! with SDES-SRTP, and a push that wakes it (RFC 8599). Sound is proven by the tone that is heard.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use serde_json::{Value, json};
use tandem_tests::{Dice, Peer, PushService, Server, Transcript};

const PEOPLE: &[&str] = &["ana", "julia", "carl"];

/// A Linphone of an account, registered. `more` are further fields of its `start`.
fn linphone(server: &Server, user: &str, more: Value, log: &Transcript) -> Peer {
    let mut phone = Peer::start("linphone", "linphone.py", log).unwrap();
    begin(server, &mut phone, user, more);
    phone
}

fn begin(server: &Server, phone: &mut Peer, user: &str, more: Value) {
    let port = if more["transport"] == "tls" { server.sips } else { server.sip };
    let mut start = json!({
        "cmd": "start", "user": user, "password": format!("secret-{user}"), "domain": "localhost", "port": port,
    });
    start.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    phone.tell(start);
    phone.want("registered", &[]);
}

#[test]
fn linphone_and_an_app_call_each_other_and_hold() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let (high, low) = Dice.pitches();
    let mut phone = linphone(&server, "ana", json!({"tone": low, "codec": "opus/48000"}), &log);
    let mut app = server.softphone("app", "carl", &log).unwrap();
    phone.tell(json!({"cmd": "call", "to": "sip:carl@localhost"}));
    app.want("incoming", &[("from", "ana@localhost/phone-")]);
    app.tell(json!({"cmd": "answer", "tone": high}));
    phone.want("streams", &[]);
    phone.hears(high);
    app.hears(low);
    phone.tell(json!({"cmd": "hold"}));
    app.want("hold", &[("from", "ana@localhost/phone-")]);
    phone.want("paused", &[]);
    phone.tell(json!({"cmd": "resume"}));
    app.want("unhold", &[]);
    phone.want("streams", &[]);
    phone.hears(high);
    app.hears(low);
    phone.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[("reason", "success")]);

    // The other way round.
    app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": high}));
    phone.want("incoming", &[("from", "carl@localhost")]);
    phone.tell(json!({"cmd": "answer"}));
    app.want("connected", &[]);
    phone.hears(high);
    app.hears(low);
    app.tell(json!({"cmd": "hangup"}));
    phone.want("ended", &[]);
    assert!(server.recorded(2).unwrap().iter().all(|call| call.2 == "hung up"));
}

/// RFC 5589 section 7.3: Linphone has talked to both, and lets them talk to each other.
#[test]
fn linphone_transfers_an_app_to_another_after_it_has_asked_there() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let (high, low) = Dice.pitches();
    let mut phone = linphone(&server, "ana", json!({"tone": 1000}), &log);
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let mut other = server.softphone("other app", "julia", &log).unwrap();
    app.tell(json!({"cmd": "auto_answer", "tone": high, "codecs": ["PCMA"]}));
    other.tell(json!({"cmd": "auto_answer", "tone": low, "codecs": ["PCMA"]}));
    phone.tell(json!({"cmd": "call", "to": "sip:carl@localhost"}));
    app.want("connected", &[]);
    phone.want("streams", &[]);
    phone.tell(json!({"cmd": "hold"}));
    phone.want("paused", &[]);
    phone.tell(json!({"cmd": "call", "to": "sip:julia@localhost"}));
    other.want("connected", &[]);
    phone.want("streams", &[]);
    other.hears(1000);
    phone.tell(json!({"cmd": "transfer", "call": 1, "to": 2}));
    phone.want("ended", &[]);
    phone.want("ended", &[]);
    app.hears(low);
    other.hears(high);
    app.tell(json!({"cmd": "hangup"}));
    other.want("ended", &[("reason", "success")]);
}

/// Keys that a phone tells by INFO reach the other end in its audio (RFC 4733).
#[test]
fn keys_that_linphone_tells_by_info_are_heard_in_the_audio_of_another_phone() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut phone = linphone(&server, "ana", json!({"tone": 600, "info": true}), &log);
    let mut desk =
        server.phone("desk", "carl", json!({"tone": 900, "answer": "auto"}), &log).unwrap();
    phone.tell(json!({"cmd": "call", "to": "sip:carl@localhost"}));
    phone.want("streams", &[]);
    phone.hears(900);
    desk.hears(600);
    for key in ["4", "2", "*", "#"] {
        phone.tell(json!({"cmd": "dtmf", "digits": key}));
        desk.want("dtmf", &[("digit", key)]);
    }
    // The voice goes on after the keys.
    desk.hears(600);
    phone.tell(json!({"cmd": "hangup"}));
    desk.want("closed", &[]);
}

#[test]
fn linphone_under_tls_calls_a_phone_with_encrypted_sound() {
    let settings = "[sip]\nsecurity = \"required\"\n";
    let server = Server::start_with("localhost", PEOPLE, settings).unwrap();
    let log = Transcript::default();
    let (high, low) = Dice.pitches();
    let mut phone = linphone(
        &server,
        "ana",
        json!({"tone": low, "transport": "tls", "encryption": "srtp", "codec": "PCMU/8000"}),
        &log,
    );
    let more = json!({"tone": high, "transport": "tls", "mediaenc": "srtp-mand"});
    let mut other = server.phone("other", "carl", more, &log).unwrap();
    other.tell(json!({"cmd": "auto_answer"}));
    phone.tell(json!({"cmd": "call", "to": "sip:carl@localhost"}));
    other.want("established", &[]);
    phone.want("streams", &[]);
    phone.hears(high);
    other.hears(low);
    phone.tell(json!({"cmd": "hangup"}));
    other.want("closed", &[]);
    assert_eq!(server.recorded(1).unwrap()[0].2, "hung up");
}

#[test]
fn linphone_is_woken_by_its_push_service_and_takes_the_call() {
    let service = PushService::start().unwrap();
    let settings = service.section("");
    let server = Server::start_with("localhost", PEOPLE, &settings).unwrap();
    let log = Transcript::default();
    let (high, low) = Dice.pitches();
    let more = json!({
        "tone": low, "transport": "tcp", "push": "pn-provider=acme;pn-prid=anas;pn-param=app",
    });
    let mut phone = linphone(&server, "ana", more.clone(), &log);
    // The system ends the app; nobody is told, and its connection is closed.
    phone.tell(json!({"cmd": "sleep"}));
    phone.want("exited", &[]);
    let mut caller = server.phone("caller", "carl", json!({"tone": high}), &log).unwrap();
    caller.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    let push = service.next().unwrap();
    assert_eq!(push, json!({"provider": "acme", "prid": "anas", "param": "app"}));
    caller.want("ringing", &[]);
    begin(&server, &mut phone, "ana", more);
    phone.want("incoming", &[("from", "carl@localhost")]);
    phone.tell(json!({"cmd": "answer"}));
    caller.want("established", &[]);
    phone.hears(high);
    caller.hears(low);
    caller.tell(json!({"cmd": "hangup"}));
    phone.want("ended", &[]);
    assert_eq!(server.recorded(1).unwrap()[0].2, "hung up");
}

/// Of a phone whose time has run out XMPP knows nothing; its app's call wakes it all the same.
#[test]
fn linphone_is_woken_by_the_call_of_an_app_when_its_time_has_run_out() {
    let service = PushService::start().unwrap();
    let settings = service.section("min_expires = 1\nmax_expires = 2");
    let server = Server::start_with("localhost", PEOPLE, &settings).unwrap();
    let log = Transcript::default();
    let (high, low) = Dice.pitches();
    let push = "pn-provider=acme;pn-prid=anas;pn-param=app";
    let mut phone = linphone(&server, "ana", json!({"tone": low, "push": push}), &log);
    phone.tell(json!({"cmd": "sleep"}));
    phone.want("exited", &[]);
    std::thread::sleep(std::time::Duration::from_secs(4));
    let mut app = server.softphone("app", "carl", &log).unwrap();
    app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": high, "codecs": ["PCMA"]}));
    assert_eq!(service.next().unwrap()["prid"], "anas");
    app.want("ringing", &[("from", "ana@localhost/phone-")]);
    begin(&server, &mut phone, "ana", json!({"tone": low, "push": push}));
    phone.want("incoming", &[("from", "carl@localhost")]);
    phone.tell(json!({"cmd": "answer"}));
    app.want("connected", &[]);
    phone.hears(high);
    app.hears(low);
    app.tell(json!({"cmd": "hangup"}));
    phone.want("ended", &[]);
    assert_eq!(server.recorded(1).unwrap()[0].2, "hung up");
}
