//! Calls between XMPP apps (aiortc by XEP-0353, stanza.js) and SIP phones (baresip): RFC 3261, RFC 3264, RFC 4568,
//! XEP-0166, XEP-0353. Sound is proven by the tone that is heard at the far end.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use serde_json::{Value, json};
use tandem_tests::{Dice, Peer, Server, Transcript, befriend};

const PEOPLE: &[&str] = &["ana", "julia", "carl"];

/// The codecs of a call's legs, by protocol.
/// The form of every message about a call (XEP-0353 section 3).
const TO_ALL: (&str, &str) = ("form", "chat, stored, to all");

fn codecs(call: &(String, String, String, Value)) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    call.3
        .as_array()
        .unwrap()
        .iter()
        .map(|leg| (text(&leg["protocol"]), text(&leg["codec"])))
        .collect()
}

/// Both directions of calling, each with both directions of sound.
fn talk(server: &Server, transport: &str, mediaenc: &str, app_codec: &str) {
    let log = Transcript::default();
    let (high, low) = Dice.pitches();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let more = json!({"transport": transport, "mediaenc": mediaenc, "codecs": ["PCMA/8000/1"], "tone": low});
    let mut phone = server.phone("phone", "ana", more, &log).unwrap();

    phone.tell(json!({"cmd": "auto_answer"}));
    app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": high, "codecs": [app_codec]}));
    app.want("ringing", &[("from", "ana@localhost/phone-")]);
    app.want("connected", &[]);
    phone.want("established", &[]);
    phone.hears(high);
    app.hears(low);
    phone.want("codec", &[("decoder", "PCMA")]);
    app.tell(json!({"cmd": "stats"}));
    app.want("stats", &[("codec", &format!("audio/{app_codec}"))]);
    if !mediaenc.is_empty() {
        phone.want("secure", &[("how", "AES_CM_128_HMAC_SHA1_80")]);
    }
    app.tell(json!({"cmd": "hangup"}));
    phone.want("closed", &[]);
    app.want("finish", &[("reason", "success")]);

    app.tell(json!({"cmd": "auto_answer", "tone": high, "codecs": [app_codec]}));
    phone.tell(json!({"cmd": "call", "to": "sip:carl@localhost"}));
    app.want("incoming", &[("via", "propose")]);
    phone.want("established", &[]);
    app.want("connected", &[]);
    phone.hears(high);
    app.hears(low);
    phone.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[("by", "terminate"), ("reason", "success")]);

    let calls = server.recorded(2).unwrap();
    assert_eq!(calls.len(), 2, "{calls:?}");
    for call in &calls {
        assert_eq!(call.2, "hung up");
        let expected = if app_codec == "opus" { "opus" } else { "PCMA" };
        let mut found = codecs(call);
        found.sort();
        assert_eq!(found, [("sip".into(), "PCMA".into()), ("xmpp".into(), expected.into())]);
    }
}

#[test]
fn sound_passes_untouched_where_the_codec_is_common_in_the_clear() {
    talk(&Server::start("localhost", PEOPLE).unwrap(), "udp", "", "PCMA");
}

#[test]
fn sound_passes_untouched_where_the_codec_is_common_with_sdes() {
    talk(&Server::start("localhost", PEOPLE).unwrap(), "udp", "srtp-mand", "PCMA");
}

#[test]
fn sound_is_transcoded_where_it_is_not_in_the_clear_over_tcp() {
    talk(&Server::start("localhost", PEOPLE).unwrap(), "tcp", "", "opus");
}

#[test]
fn sound_is_transcoded_where_it_is_not_with_sdes_over_tls() {
    talk(&Server::start("localhost", PEOPLE).unwrap(), "tls", "srtp-mand", "opus");
}

#[test]
fn a_client_without_message_initiation_calls_and_is_called() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let (high, low) = Dice.pitches();
    let mut web = server.web("web", "stanza.mjs", "julia", &log).unwrap();
    let more = json!({"codecs": ["G722/16000/1"], "tone": low});
    let mut phone = server.phone("phone", "ana", more, &log).unwrap();
    let mut watcher = server.softphone("watcher", "ana", &log).unwrap();
    // Without XEP-0353 a call goes from device to device, and those are known to contacts alone.
    befriend(&mut web, &mut watcher, ["julia@localhost", "ana@localhost"]);
    let seen = web.want("presence", &[("from", "ana@localhost/phone-"), ("type", "available")]);
    phone.tell(json!({"cmd": "auto_answer"}));
    web.tell(json!({"cmd": "call", "to": seen["from"], "tone": high, "codecs": ["opus"]}));
    web.want("ringing", &[]);
    web.want("connected", &[]);
    phone.hears(high);
    web.hears(low);
    phone.tell(json!({"cmd": "hangup"}));
    web.want("ended", &[("reason", "success")]);
    web.tell(json!({"cmd": "auto_answer", "tone": high, "codecs": ["opus"]}));
    phone.tell(json!({"cmd": "call", "to": "sip:julia@localhost"}));
    web.want("connected", &[]);
    phone.want("established", &[]);
    phone.hears(high);
    web.hears(low);
    web.tell(json!({"cmd": "hangup"}));
    phone.want("closed", &[]);
}

#[test]
fn every_way_to_end_a_call_ends_both_legs_and_is_said_in_the_form_of_message_initiation() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let mut phone = server.phone("phone", "ana", json!({}), &log).unwrap();
    let call = |app: &mut Peer| {
        app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": 500, "codecs": ["PCMA"]}));
    };
    // The app gives up: the phone stops ringing.
    call(&mut app);
    phone.want("incoming", &[("from", "carl@localhost")]);
    app.want("ringing", &[TO_ALL]);
    app.tell(json!({"cmd": "hangup"}));
    phone.want("closed", &[]);
    app.want("ended", &[("by", "us")]);
    // The phone refuses: the app is told that it is busy.
    call(&mut app);
    phone.want("incoming", &[]);
    phone.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[("by", "reject"), ("reason", "busy"), TO_ALL]);
    // The phone gives up.
    phone.tell(json!({"cmd": "call", "to": "sip:carl@localhost"}));
    app.want("incoming", &[TO_ALL]);
    phone.want("ringing", &[]);
    phone.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[("by", "retract"), ("reason", "cancel"), TO_ALL]);
    // The app refuses.
    phone.want("closed", &[]);
    phone.tell(json!({"cmd": "call", "to": "sip:carl@localhost"}));
    app.want("incoming", &[]);
    app.tell(json!({"cmd": "hangup"}));
    phone.want("closed", &[("reason", "486")]);
    // Nobody of that name; nobody there.
    phone.tell(json!({"cmd": "call", "to": "sip:nobody@localhost"}));
    phone.want("closed", &[("reason", "404")]);
    phone.tell(json!({"cmd": "call", "to": "sip:julia@localhost"}));
    phone.want("closed", &[("reason", "480")]);
    let results: Vec<String> = server.recorded(5).unwrap().into_iter().map(|call| call.2).collect();
    assert_eq!(results, ["cancelled", "busy", "cancelled", "busy", "unavailable"]);
}

#[test]
fn all_devices_ring_the_first_answer_wins_and_the_others_stop() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut caller = server.softphone("caller", "carl", &log).unwrap();
    let mut app = server.softphone("ana's app", "ana", &log).unwrap();
    let mut desk = server.phone("desk phone", "ana", json!({"tone": 620}), &log).unwrap();
    let mut cell = server.phone("cell phone", "ana", json!({"tone": 740}), &log).unwrap();
    // A phone answers.
    caller.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": 500, "codecs": ["opus"]}));
    app.want("incoming", &[]);
    desk.want("incoming", &[]);
    cell.want("incoming", &[]);
    cell.tell(json!({"cmd": "answer"}));
    desk.want("closed", &[]);
    app.want("ended", &[("by", "elsewhere")]);
    caller.want("connected", &[]);
    caller.hears(740);
    cell.tell(json!({"cmd": "hangup"}));
    caller.want("ended", &[("reason", "success")]);
    caller.want("finish", &[("reason", "success"), TO_ALL]);
    // The app answers; that call is between the two apps.
    caller.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": 500, "codecs": ["opus"]}));
    desk.want("incoming", &[]);
    cell.want("incoming", &[]);
    app.want("incoming", &[]);
    app.tell(json!({"cmd": "answer", "tone": 860, "codecs": ["opus"]}));
    cell.want("closed", &[]);
    desk.want("closed", &[]);
    caller.want("connected", &[]);
    app.want("connected", &[]);
    caller.hears(860);
    caller.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[]);
    // A phone calls from outside the account: the app and the phones ring, the app answers.
    let mut other = server.phone("julia's phone", "julia", json!({"tone": 980}), &log).unwrap();
    other.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    desk.want("incoming", &[("from", "julia@localhost")]);
    cell.want("incoming", &[("from", "julia@localhost")]);
    app.want("incoming", &[("from", "julia@localhost")]);
    app.tell(json!({"cmd": "answer", "tone": 860, "codecs": ["opus"]}));
    desk.want("closed", &[]);
    cell.want("closed", &[]);
    app.want("connected", &[]);
    app.hears(980);
    other.hears(860);
    other.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[("reason", "success")]);
}

#[test]
fn phones_call_each_other_press_keys_and_are_found_again_after_a_crash() {
    let mut server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let more = json!({"tone": 560, "codecs": ["opus/48000/1"], "transport": "tcp"});
    let mut one = server.phone("one", "ana", more, &log).unwrap();
    let mut other = server.phone("other", "carl", json!({"tone": 680}), &log).unwrap();
    let talk = |one: &mut Peer, other: &mut Peer| {
        other.tell(json!({"cmd": "auto_answer"}));
        one.tell(json!({"cmd": "call", "to": "sip:carl@localhost"}));
        one.want("established", &[]);
        one.hears(680);
        other.hears(560);
    };
    talk(&mut one, &mut other);
    one.tell(json!({"cmd": "dtmf", "digits": "42"}));
    other.want("dtmf", &[("digit", "4")]);
    other.want("dtmf", &[("digit", "2")]);
    one.tell(json!({"cmd": "hangup"}));
    other.want("closed", &[]);
    // The record is on disk once the call is over for both; a crash takes neither it nor the registrations.
    server.recorded(1).unwrap();
    server.crash_and_restart().unwrap();
    assert_eq!(server.calls().unwrap()[0].2, "hung up");
    let mut app = server.softphone("app", "julia", &log).unwrap();
    app.tell(json!({"cmd": "call", "to": "carl@localhost", "tone": 800, "codecs": ["PCMA"]}));
    app.want("connected", &[]);
    app.hears(680);
    other.hears(800);
    app.tell(json!({"cmd": "hangup"}));
}

/// `interop.md` 6.9: a door that takes no telephone events hears the key, and where nobody can hear it, that is said.
#[test]
fn a_key_is_heard_by_who_takes_no_events_or_it_is_said_that_it_was_not() {
    let server = Server::start_with(
        "localhost",
        &["ana", "carl", "julia"],
        "[sip]\nsecurity = \"optional\"\n",
    )
    .unwrap();
    let log = Transcript::default();
    let raw = |name: &str, user: &str| {
        let mut phone = Peer::start(name, "rawphone.py", &log).unwrap();
        phone.tell(json!({
            "cmd": "start", "user": user, "password": format!("secret-{user}"), "domain": "localhost", "port": server.sip,
        }));
        phone.want("registered", &[("status", "200")]);
        phone
    };
    let mut door = raw("door", "ana");
    door.tell(json!({"cmd": "take", "formats": "0"}));
    // From a phone, which has agreed on telephone events with us.
    let mut phone = server.phone("phone", "carl", json!({}), &log).unwrap();
    phone.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    phone.want("established", &[]);
    phone.tell(json!({"cmd": "dtmf", "digits": "5#"}));
    let heard = keys(&mut door, 2);
    assert_eq!(heard, "5#");
    phone.tell(json!({"cmd": "hangup"}));
    phone.want("closed", &[]);
    // From an app, by its session.
    let mut app = server.softphone("app", "carl", &log).unwrap();
    app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": 500}));
    app.want("connected", &[]);
    app.tell(json!({"cmd": "key", "code": "9"}));
    app.want("key_taken", &[]);
    assert_eq!(keys(&mut door, 3), "5#9");
    app.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[]);
    // One that has neither events nor a codec for tones.
    let mut deaf = raw("deaf door", "julia");
    deaf.tell(json!({"cmd": "take", "formats": "9"}));
    app.tell(json!({"cmd": "call", "to": "julia@localhost", "tone": 500}));
    app.want("connected", &[]);
    app.tell(json!({"cmd": "key", "code": "#"}));
    app.want("key_refused", &[("condition", "not-acceptable")]);
}

/// What a phone by hand has heard, once it is so many keys.
#[allow(clippy::disallowed_methods)] // a key takes its time
fn keys(phone: &mut Peer, count: usize) -> String {
    let mut heard = String::new();
    for _ in 0..50 {
        phone.tell(json!({"cmd": "keys"}));
        phone.want("keys", &[])["keys"].as_str().unwrap().clone_into(&mut heard);
        if heard.len() >= count {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    heard
}

/// A picture of one pixel.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

/// RFC 3261 section 20.9, XEP-0084, XEP-0172: who calls is shown as whom is called knows it, with a picture where there is one.
#[test]
fn callers_are_shown_by_name_and_picture() {
    let server =
        Server::start_with("localhost", PEOPLE, "[sip]\nsecurity = \"optional\"\n").unwrap();
    let log = Transcript::default();
    let raw = |name: &str, user: &str, display: &str| {
        let mut phone = Peer::start(name, "rawphone.py", &log).unwrap();
        phone.tell(json!({
            "cmd": "start", "user": user, "password": format!("secret-{user}"), "domain": "localhost", "port": server.sip,
            "display": display,
        }));
        phone.want("registered", &[("status", "200")]);
        phone
    };
    let mut phone = raw("phone", "ana", "");
    phone.tell(json!({"cmd": "auto"}));
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let call = json!({"cmd": "call", "to": "ana@localhost", "tone": 500});
    let mut rung = || {
        app.tell(call.clone());
        let rung = phone.want("ringing", &[]);
        app.want("ended", &[("by", "reject")]);
        let fields = rung["headers"].as_array().unwrap().clone();
        let get = |name: &str| {
            let field = fields.iter().find(|field| field[0] == name);
            field.map(|field| field[1].as_str().unwrap().to_owned())
        };
        (get("From").unwrap(), get("Call-Info"))
    };
    // Nothing is known of who calls but the address.
    let (from, picture) = rung();
    assert!(from.starts_with("<sip:carl@localhost>") && picture.is_none(), "{from} {picture:?}");
    // Ana has a name for Carl, who has a picture.
    let mut anas = server.softphone("ana's app", "ana", &log).unwrap();
    anas.tell(json!({"cmd": "raw", "xml":
        "<iq type='set' id='r1'><query xmlns='jabber:iq:roster'><item jid='carl@localhost' name='Carl, the \"nurse\"'/></query></iq>"}));
    anas.tell(json!({"cmd": "history"}));
    anas.want("history", &[]);
    anas.tell(json!({"cmd": "logout"}));
    anas.want("offline", &[]);
    let mut carls = server.softphone("carl's other app", "carl", &log).unwrap();
    carls.tell(json!({"cmd": "raw", "xml": format!(
        "<iq type='set' id='v1'><vCard xmlns='vcard-temp'><PHOTO><TYPE>image/png</TYPE><BINVAL>{PIXEL}</BINVAL></PHOTO></vCard></iq>")}));
    carls.tell(json!({"cmd": "history"}));
    carls.want("history", &[]);
    let (from, picture) = rung();
    assert!(from.starts_with(r#""Carl, the \"nurse\"" <sip:carl@localhost>"#), "{from}");
    let picture = picture.unwrap();
    let url = picture.strip_prefix('<').unwrap().strip_suffix(">;purpose=icon").unwrap();
    carls.tell(json!({"cmd": "fetch", "url": url}));
    let fetched = carls.want("fetched", &[("status", "200"), ("type", "image/png")]);
    assert!(fetched["body"].as_str().unwrap().contains("PNG"), "{fetched}");
    // A phone that says who it is, to an app that does not know it.
    let mut desk = raw("desk", "julia", "Julia at the desk");
    carls.tell(json!({"cmd": "auto_answer", "tone": 860}));
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";
    desk.tell(json!({
        "cmd": "send", "method": "INVITE", "to": "sip:carl@localhost", "type": "application/sdp", "body": sdp,
        "headers": "Contact: <sip:julia@127.0.0.1:9>\r\n",
    }));
    carls.want("incoming", &[("from", "julia@localhost"), ("nick", "Julia at the desk")]);
}

/// Both ends see how the other is protected, in the words of the record.
#[test]
fn both_ends_see_how_the_other_is_protected() {
    let server =
        Server::start_with("localhost", PEOPLE, "[sip]\nsecurity = \"optional\"\n").unwrap();
    let log = Transcript::default();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    app.tell(json!({"cmd": "auto_answer", "tone": 500}));
    let secure = json!({"transport": "tls", "mediaenc": "srtp-mand"});
    for (user, more, signalling, media) in
        [("ana", json!({}), "clear", "clear"), ("julia", secure, "tls", "sdes-srtp")]
    {
        let mut phone = server.phone("phone", user, more, &log).unwrap();
        phone.tell(json!({"cmd": "call", "to": "sip:carl@localhost"}));
        phone.want("established", &[]);
        app.want("protection", &[("signalling", signalling), ("media", media)]);
        phone.tell(json!({"cmd": "hangup"}));
        app.want("ended", &[]);
    }
    let mut phone = Peer::start("phone by hand", "rawphone.py", &log).unwrap();
    phone.tell(json!({
        "cmd": "start", "user": "ana", "password": "secret-ana", "domain": "localhost", "port": server.sip,
    }));
    phone.want("registered", &[("status", "200")]);
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";
    phone.tell(json!({
        "cmd": "send", "method": "INVITE", "to": "sip:carl@localhost", "type": "application/sdp", "body": sdp,
        "headers": "Contact: <sip:ana@127.0.0.1:9>\r\n",
    }));
    let answered = phone.want("answer", &[("status", "200")])["headers"].to_string();
    assert!(answered.contains("signalling=tls;media=dtls-srtp"), "{answered}");
}
