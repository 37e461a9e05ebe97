//! What happens while a call is up, between XMPP apps (aiortc) and SIP phones (baresip): hold and resume (RFC 3264
//! section 8.4, XEP-0167 section 8), and session timers (RFC 4028). Sound is proven by the tone that is heard.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use serde_json::json;
use tandem_tests::{Dice, Server, Transcript};

const PEOPLE: &[&str] = &["ana", "julia", "carl"];

#[test]
fn an_app_holds_and_resumes_ten_times_and_a_phone_too() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let (high, low) = Dice.pitches();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let mut phone = server.phone("phone", "ana", json!({"tone": low}), &log).unwrap();
    phone.tell(json!({"cmd": "auto_answer"}));
    app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": high, "codecs": ["PCMA"]}));
    app.want("connected", &[]);
    phone.want("established", &[]);
    phone.hears(high);
    phone.want("described", &[]);
    for round in 0..10 {
        if round % 2 == 0 {
            app.tell(json!({"cmd": "inform", "what": "hold"}));
            phone.want("described", &[("how", "offer")]);
            app.hears_nothing();
            app.tell(
                json!({"cmd": "inform", "what": if round % 4 == 0 { "unhold" } else { "active" }}),
            );
            phone.want("described", &[("how", "offer")]);
        } else {
            phone.tell(json!({"cmd": "hold"}));
            app.want("hold", &[("from", "ana@localhost/phone-")]);
            phone.tell(json!({"cmd": "resume"}));
            app.want("unhold", &[]);
        }
        phone.hears(high);
        app.hears(low);
    }
    phone.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[("reason", "success")]);
    assert_eq!(server.recorded(1).unwrap()[0].2, "hung up");
}

#[test]
fn phones_hold_each_other_ten_times() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let (high, low) = Dice.pitches();
    let more = json!({"tone": low, "transport": "tls", "mediaenc": "srtp-mand"});
    let mut one = server.phone("one", "ana", more, &log).unwrap();
    let mut other = server.phone("other", "carl", json!({"tone": high}), &log).unwrap();
    other.tell(json!({"cmd": "auto_answer"}));
    one.tell(json!({"cmd": "call", "to": "sip:carl@localhost"}));
    one.want("established", &[]);
    one.hears(high);
    other.want("described", &[]);
    for _ in 0..10 {
        one.tell(json!({"cmd": "hold"}));
        other.want("described", &[("how", "offer")]);
        one.tell(json!({"cmd": "resume"}));
        other.want("described", &[("how", "offer")]);
        other.hears(low);
        one.hears(high);
    }
    one.tell(json!({"cmd": "hangup"}));
    other.want("closed", &[]);
}

#[test]
fn a_call_outlives_several_session_timers() {
    let settings = "[sip]\nsecurity = \"optional\"\nsession_expires = 4\nmin_session_expires = 2\n";
    let server = Server::start_with("localhost", PEOPLE, settings).unwrap();
    let log = Transcript::default();
    let (high, low) = Dice.pitches();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let mut phone = server.phone("phone", "ana", json!({"tone": low}), &log).unwrap();
    phone.tell(json!({"cmd": "auto_answer"}));
    app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": high, "codecs": ["PCMA"]}));
    app.want("connected", &[]);
    phone.want("established", &[]);
    for _ in 0..3 {
        // Half of four seconds: a refresh, then another.
        phone.want("described", &[("how", "offer")]);
    }
    phone.hears(high);
    app.hears(low);
    app.tell(json!({"cmd": "hangup"}));
    phone.want("closed", &[]);
}
