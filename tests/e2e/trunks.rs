//! The telephone network by a trunk: Kamailio as the provider, which asks for a password, baresip behind it. Sound is proven by
//! the tone that is heard.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use serde_json::json;
use tandem_tests::names::Names;
use tandem_tests::provider::{DOMAIN, LOGIN, Provider};
use tandem_tests::{Peer, Server, Transcript};

/// A server with a trunk, and somebody with a phone of the telephone network.
struct World {
    server: Server,
    stranger: Peer,
    provider: Provider,
    _names: Names,
}

/// `more` are lines of `[numbers]`.
fn world(log: &Transcript, more: &str) -> World {
    let names = Names::start().unwrap();
    names.address(DOMAIN, [127, 0, 0, 1]);
    let port = Provider::port().unwrap();
    let (name, password) = LOGIN;
    let sections = format!(
        "[dns]\nservers = [\"{}\"]\n\
         [[trunks]]\nname = \"dead\"\nuri = \"sip:127.0.0.1:1;transport=tcp\"\nprefixes = [\"+49301\"]\n\
         [[trunks]]\nname = \"mute\"\nuri = \"sip:127.0.0.1:1;transport=tcp\"\nprefixes = [\"+432\"]\nmessages = false\n\
         [[trunks]]\nname = \"pstn\"\nuri = \"sip:{DOMAIN}:{port}\"\nusername = \"{name}\"\npassword = \"{password}\"\n\
         sources = [\"127.0.0.1:{port}\"]\nencrypted = false\nprefixes = [\"+49\"]\ncaller = \"+4930500\"\n\
         [numbers]\ncountry = \"49\"\n{more}\n\
         [numbers.accounts]\n\"+4930501\" = \"ana@localhost\"\n\"+4930502\" = \"carl@localhost\"\n",
        names.address
    );
    let server = Server::start_with("localhost", &["ana", "carl"], &sections).unwrap();
    let provider = Provider::start(port, server.sip).unwrap();
    let mut stranger = Peer::start("stranger", "baresip.py", log).unwrap();
    let contacts =
        ["+4930501", "+4930502", "+4930599"].map(|number| format!("sip:{number}@{DOMAIN}"));
    stranger.tell(json!({
        "cmd": "start", "user": "+4930123", "password": "none", "domain": DOMAIN, "port": port, "tone": 740,
        "contacts": contacts,
    }));
    stranger.want("registered", &[]);
    World { server, stranger, provider, _names: names }
}

#[test]
fn phones_and_apps_call_numbers_and_show_their_own() {
    let log = Transcript::default();
    let World { server, mut stranger, provider: _provider, _names } = world(&log, "");
    let mut desk = server.phone("desk phone", "ana", json!({"tone": 620}), &log).unwrap();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    for dialled in ["sip:030123@localhost", "sip:+4930123@localhost"] {
        desk.tell(json!({"cmd": "call", "to": dialled}));
        stranger.want("incoming", &[("from", "+4930501@")]);
        stranger.tell(json!({"cmd": "answer"}));
        desk.want("established", &[]);
        desk.hears(740);
        stranger.hears(620);
        desk.tell(json!({"cmd": "hangup"}));
        stranger.want("closed", &[]);
    }
    app.tell(json!({"cmd": "call", "to": "+4930123@tel.localhost", "tone": 500}));
    stranger.want("incoming", &[("from", "+4930502@")]);
    stranger.tell(json!({"cmd": "answer"}));
    app.want("connected", &[]);
    app.hears(740);
    stranger.hears(500);
    stranger.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[("reason", "success")]);
    let calls = server.recorded(3).unwrap();
    for (_, callee, result, legs) in &calls {
        assert_eq!((callee.as_str(), result.as_str()), ("+4930123@tel.localhost", "hung up"));
        assert_eq!(legs[1]["trunk"], "pstn", "{legs}");
    }
}

/// Call settings: with the rights of who forwards, who pays and is shown, and not of who calls.
#[test]
fn a_call_that_is_forwarded_to_a_number_is_dialled_by_who_forwards_it() {
    let log = Transcript::default();
    let World { server, mut stranger, provider: _provider, _names } =
        world(&log, "denied = [\"+49900\"]");
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let forward = |to: &str| {
        let always = format!("always={to}");
        server.run(&["user", "calls", "ana@localhost", &always]).unwrap();
    };
    forward("030123");
    app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": 500}));
    stranger.want("incoming", &[("from", "+4930501@")]);
    stranger.tell(json!({"cmd": "answer"}));
    app.want("connected", &[]);
    app.hears(740);
    stranger.hears(500);
    stranger.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[("reason", "success")]);
    let (_, callee, result, legs) = server.recorded(1).unwrap().remove(0);
    assert_eq!((callee.as_str(), result.as_str()), ("ana@localhost", "hung up"));
    assert_eq!(legs[1]["payer"], "ana@localhost", "{legs}");
    assert_eq!(
        (&legs[1]["forwarded_by"], &legs[1]["trunk"]),
        (&json!("ana@localhost"), &json!("pstn"))
    );
    // What she may not dial is not dialled for her.
    forward("+49900123");
    app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": 500}));
    app.want("ended", &[("by", "reject")]);
    let is_said = |line: &String| {
        line.contains("audit") && line.contains("+49900123") && line.contains("ana@localhost")
    };
    assert!(server.log().iter().any(is_said), "{:#?}", server.log());
}

#[test]
fn whoever_calls_a_number_of_ours_reaches_the_phones_and_apps_of_its_account() {
    let log = Transcript::default();
    let World { server, mut stranger, provider: _provider, _names } = world(&log, "");
    let mut desk = server.phone("desk phone", "ana", json!({"tone": 620}), &log).unwrap();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    stranger.tell(json!({"cmd": "call", "to": format!("sip:+4930501@{DOMAIN}")}));
    desk.want("incoming", &[("from", "+4930123@")]);
    desk.tell(json!({"cmd": "answer"}));
    stranger.want("established", &[]);
    desk.hears(740);
    stranger.hears(620);
    desk.tell(json!({"cmd": "hangup"}));
    stranger.want("closed", &[]);
    stranger.tell(json!({"cmd": "call", "to": format!("sip:+4930502@{DOMAIN}")}));
    app.want("incoming", &[("from", "+4930123@tel.localhost/")]);
    app.tell(json!({"cmd": "answer", "tone": 500}));
    stranger.want("established", &[]);
    app.hears(740);
    stranger.hears(500);
    app.tell(json!({"cmd": "hangup"}));
    stranger.want("closed", &[]);
    // Nobody has this one.
    stranger.tell(json!({"cmd": "call", "to": format!("sip:+4930599@{DOMAIN}")}));
    stranger.want("closed", &[("reason", "404")]);
    let calls = server.recorded(2).unwrap();
    assert!(calls.iter().all(|call| call.0 == "+4930123@tel.localhost"), "{calls:?}");
}

#[test]
fn texts_cross_both_ways_and_what_does_not_arrive_is_said() {
    let log = Transcript::default();
    let World { server, mut stranger, provider: _provider, _names } =
        world(&log, "max_messages_per_hour = 4");
    let contacts = ["030123", "030999", "+431234"].map(|number| format!("sip:{number}@localhost"));
    let mut desk = server.phone("desk phone", "ana", json!({"contacts": contacts}), &log).unwrap();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    // Out: as whose number, whatever it is written from.
    let mine = |n| format!("sip:+493050{n}@{DOMAIN}");
    app.tell(json!({"cmd": "message", "to": "+4930123@tel.localhost", "body": "from an app", "id": "t1"}));
    stranger.want("message", &[("from", &mine(2)), ("body", "from an app")]);
    desk.tell(json!({"cmd": "message", "to": contacts[0], "body": "from a phone"}));
    stranger.want("message", &[("from", &mine(1)), ("body", "from a phone")]);
    // In: the account of the number, on whatever it has; and back to where it came from.
    stranger.tell(json!({"cmd": "message", "to": mine(1), "body": "to a phone"}));
    desk.want("message", &[("from", "sip:+4930123@tel.localhost"), ("body", "to a phone")]);
    stranger.tell(json!({"cmd": "message", "to": mine(2), "body": "to an app"}));
    app.want("message", &[("from", "+4930123@tel.localhost"), ("body", "to an app")]);
    // Nobody there, no way there, nobody here.
    app.tell(json!({"cmd": "message", "to": "+4930999@tel.localhost", "body": "?", "id": "t2"}));
    app.want("message_error", &[("id", "t2"), ("condition", "item-not-found")]);
    desk.tell(json!({"cmd": "message", "to": contacts[1], "body": "?"}));
    desk.want("message_failed", &[("reason", "404")]);
    desk.tell(json!({"cmd": "message", "to": contacts[2], "body": "?"}));
    desk.want("message_failed", &[("reason", "404")]);
    stranger.tell(json!({"cmd": "message", "to": format!("sip:+4930599@{DOMAIN}"), "body": "?"}));
    stranger.want("message_failed", &[("reason", "404")]);
    // There is a way there, but not for texts.
    app.tell(json!({"cmd": "message", "to": "+432345@tel.localhost", "body": "?", "id": "t5"}));
    app.want("message_error", &[("id", "t5"), ("text", "no trunk takes it")]);
    // Four an hour.
    app.tell(
        json!({"cmd": "message", "to": "+4930123@tel.localhost", "body": "a third", "id": "t3"}),
    );
    stranger.want("message", &[("body", "a third")]);
    app.tell(
        json!({"cmd": "message", "to": "+4930123@tel.localhost", "body": "a fourth", "id": "t4"}),
    );
    app.want(
        "message_error",
        &[("id", "t4"), ("condition", "forbidden"), ("text", "too many within an hour")],
    );
    stranger.never("message", &[("body", "a fourth")]);
}

#[test]
fn who_transfers_to_a_number_pays_for_it_and_is_shown() {
    let log = Transcript::default();
    let World { server, mut stranger, provider: _provider, _names } =
        world(&log, "max_calls_per_hour = 1");
    let mut desk = server.phone("desk phone", "ana", json!({"tone": 620}), &log).unwrap();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    desk.tell(json!({"cmd": "auto_answer"}));
    let call = |app: &mut Peer, desk: &mut Peer| {
        app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": 500, "codecs": ["PCMA"]}));
        app.want("connected", &[]);
        desk.want("established", &[]);
    };
    // A phone hands an app on to a number that it dials.
    call(&mut app, &mut desk);
    desk.tell(json!({"cmd": "transfer", "to": "sip:030123@localhost"}));
    stranger.want("incoming", &[("from", "+4930501@")]);
    stranger.tell(json!({"cmd": "answer"}));
    desk.want("closed", &[]);
    app.hears(740);
    stranger.hears(500);
    app.tell(json!({"cmd": "hangup"}));
    stranger.want("closed", &[]);
    // An app hands a phone on: that one is the app's own call of this hour.
    call(&mut app, &mut desk);
    app.tell(json!({"cmd": "transfer", "to": "+4930123@tel.localhost"}));
    stranger.want("incoming", &[("from", "+4930502@")]);
    stranger.tell(json!({"cmd": "answer"}));
    app.want("ended", &[("by", "terminate"), ("reason", "success")]);
    desk.hears(740);
    stranger.hears(620);
    desk.tell(json!({"cmd": "hangup"}));
    stranger.want("closed", &[]);
    // Both have had theirs.
    call(&mut app, &mut desk);
    desk.tell(json!({"cmd": "transfer", "to": "sip:030123@localhost"}));
    desk.want("transfer_failed", &[]);
    desk.tell(json!({"cmd": "hangup"}));
    app.want("ended", &[("by", "terminate")]);
    let calls = server.recorded(5).unwrap();
    let paid = |payer: &str| calls.iter().any(|call| call.3[1]["payer"] == payer);
    assert!(paid("ana@localhost") && paid("carl@localhost"), "{calls:?}");
}

#[test]
fn who_called_from_the_telephone_network_is_transferred_to_an_app_and_to_another_number() {
    let log = Transcript::default();
    let World { server, mut stranger, provider, _names } = world(&log, "");
    let mut desk = server.phone("desk phone", "ana", json!({"tone": 620}), &log).unwrap();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let mut other = Peer::start("other", "baresip.py", &log).unwrap();
    other.tell(json!({
        "cmd": "start", "user": "+4930124", "password": "none", "domain": DOMAIN, "port": provider.port, "tone": 860,
    }));
    other.want("registered", &[]);
    desk.tell(json!({"cmd": "auto_answer"}));
    let call = |stranger: &mut Peer, desk: &mut Peer| {
        stranger.tell(json!({"cmd": "call", "to": format!("sip:+4930501@{DOMAIN}")}));
        stranger.want("established", &[]);
        desk.want("established", &[]);
    };
    call(&mut stranger, &mut desk);
    desk.tell(json!({"cmd": "transfer", "to": "sip:carl@localhost"}));
    app.want("incoming", &[("from", "+4930123@tel.localhost/")]);
    app.tell(json!({"cmd": "answer", "tone": 500}));
    desk.want("closed", &[]);
    app.hears(740);
    stranger.hears(500);
    app.tell(json!({"cmd": "hangup"}));
    stranger.want("closed", &[]);
    call(&mut stranger, &mut desk);
    desk.tell(json!({"cmd": "transfer", "to": "sip:030124@localhost"}));
    other.want("incoming", &[("from", "+4930501@")]);
    other.tell(json!({"cmd": "answer"}));
    desk.want("closed", &[]);
    other.hears(740);
    stranger.hears(860);
    stranger.tell(json!({"cmd": "hangup"}));
    other.want("closed", &[]);
    let calls = server.recorded(4).unwrap();
    assert!(calls.iter().any(|call| call.3[1]["payer"] == "ana@localhost"), "{calls:?}");
}

#[test]
fn who_calls_from_the_telephone_network_transfers_nobody_back_to_it() {
    let log = Transcript::default();
    let World { server, mut stranger, provider: _provider, _names } = world(&log, "");
    let mut desk = server.phone("desk phone", "ana", json!({"tone": 620}), &log).unwrap();
    desk.tell(json!({"cmd": "auto_answer"}));
    stranger.tell(json!({"cmd": "call", "to": format!("sip:+4930501@{DOMAIN}")}));
    stranger.want("established", &[]);
    stranger.tell(json!({"cmd": "transfer", "to": "sip:+4930124@localhost"}));
    stranger.want("transfer_failed", &[]);
    stranger.tell(json!({"cmd": "hangup"}));
    desk.want("closed", &[]);
    assert_eq!(server.recorded(1).unwrap().len(), 1);
}

#[test]
fn an_emergency_number_that_is_set_goes_to_its_trunk_whatever_else_has_that_name() {
    let log = Transcript::default();
    let names = Names::start().unwrap();
    names.address(DOMAIN, [127, 0, 0, 1]);
    let port = Provider::port().unwrap();
    let (name, password) = LOGIN;
    let sections = format!(
        "[dns]\nservers = [\"{}\"]\n\
         [[trunks]]\nname = \"pstn\"\nuri = \"sip:{DOMAIN}:{port}\"\nusername = \"{name}\"\npassword = \"{password}\"\n\
         encrypted = false\nmax_calls = 0\n\
         max_calls_per_hour = 0\ndenied = [\"+\"]\n[numbers]\nmax_calls_per_hour = 0\nmax_calls_per_account = 0\ndenied = [\"+\"]\n[numbers.emergency]\n\"112\" = \"pstn\"\n",
        names.address
    );
    let server = Server::start_with("localhost", &["ana", "112"], &sections).unwrap();
    let _provider = Provider::start(port, server.sip).unwrap();
    let mut help = Peer::start("emergency service", "baresip.py", &log).unwrap();
    help.tell(json!({
        "cmd": "start", "user": "112", "password": "none", "domain": DOMAIN, "port": port, "tone": 740,
    }));
    help.want("registered", &[]);
    let mut desk = server.phone("desk phone", "ana", json!({"tone": 620}), &log).unwrap();
    desk.tell(json!({"cmd": "call", "to": "sip:112@localhost"}));
    help.want("incoming", &[]);
    help.tell(json!({"cmd": "answer"}));
    desk.want("established", &[]);
    desk.hears(740);
    help.hears(620);
    help.tell(json!({"cmd": "hangup"}));
    desk.want("closed", &[]);
    assert_eq!(server.recorded(1).unwrap()[0].1, "112@tel.localhost");
}

#[test]
fn what_may_not_be_dialled_is_refused_and_said() {
    let log = Transcript::default();
    let more = "max_calls_per_hour = 1";
    let World { server, mut stranger, provider: _provider, _names } = world(&log, more);
    let mut desk = server.phone("desk phone", "ana", json!({"tone": 620}), &log).unwrap();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    // No trunk goes there; no emergency number is set.
    for (dialled, status) in [("+431234", "404"), ("112", "404")] {
        desk.tell(json!({"cmd": "call", "to": format!("sip:{dialled}@localhost")}));
        desk.want("closed", &[("reason", status)]);
    }
    app.tell(json!({"cmd": "call", "to": "+431234@tel.localhost", "tone": 500}));
    let why = [("by", "reject"), ("reason", "gone"), ("text", "no trunk takes it")];
    app.want("ended", &why);
    // What a trunk says of it is said, too.
    app.tell(json!({"cmd": "call", "to": "+4930999@tel.localhost", "tone": 500}));
    app.want("ended", &[("reason", "gone"), ("text", "unknown number or user")]);
    // One call an hour.
    desk.tell(json!({"cmd": "call", "to": "sip:+4930123@localhost"}));
    stranger.want("incoming", &[]);
    stranger.tell(json!({"cmd": "hangup"}));
    desk.want("closed", &[]);
    desk.tell(json!({"cmd": "call", "to": "sip:+4930123@localhost"}));
    desk.want("closed", &[("reason", "403")]);
    let said =
        |why: &str| server.log().iter().any(|line| line.contains("audit") && line.contains(why));
    assert!(said("no trunk takes it") && said("too many within an hour"), "{:#?}", server.log());
}

/// RFC 3261 section 13.2.1, `interop.md` 6.8: what is played before the answer is heard, the last of two forks; the answer decides.
#[test]
fn what_a_trunk_plays_before_the_answer_is_heard_by_phones_and_apps() {
    let log = Transcript::default();
    let (server, mut trunk) = by_hand(&log, "early_media = true");
    let mut phone = server.phone("phone", "ana", json!({"tone": 620}), &log).unwrap();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    phone.tell(json!({"cmd": "call", "to": "sip:030123@localhost"}));
    trunk.want("invited", &[("uri", "+4930123@")]);
    trunk.tell(json!({"cmd": "play", "fork": "a", "tone": 740}));
    phone.hears(740);
    // Another phone behind the trunk takes over, rings on and answers.
    trunk.tell(json!({"cmd": "stop", "fork": "a"}));
    trunk.tell(json!({"cmd": "play", "fork": "b", "tone": 860}));
    phone.hears(860);
    trunk.tell(json!({"cmd": "ring"}));
    phone.never("established", &[]);
    trunk.tell(json!({"cmd": "answer", "fork": "b"}));
    phone.want("established", &[]);
    phone.hears(860);
    phone.tell(json!({"cmd": "hangup"}));
    trunk.want("ended", &[("method", "BYE")]);
    // An announcement, and then no call.
    phone.tell(json!({"cmd": "call", "to": "sip:030123@localhost"}));
    trunk.want("invited", &[]);
    trunk.tell(json!({"cmd": "play", "fork": "a", "tone": 740}));
    phone.hears(740);
    trunk.tell(json!({"cmd": "refuse", "status": 404}));
    phone.want("closed", &[("reason", "404")]);
    // An app.
    let call = json!({"cmd": "call", "to": "+4930123@tel.localhost", "tone": 500});
    app.tell(call.clone());
    trunk.want("invited", &[]);
    trunk.tell(json!({"cmd": "play", "fork": "a", "tone": 740}));
    app.want("connected", &[]);
    app.hears(740);
    trunk.tell(json!({"cmd": "answer", "fork": "a"}));
    trunk.want("acked", &[]);
    app.hears(740);
    app.tell(json!({"cmd": "hangup"}));
    trunk.want("ended", &[("method", "BYE")]);
    app.tell(call.clone());
    trunk.want("invited", &[]);
    trunk.tell(json!({"cmd": "play", "fork": "a", "tone": 860}));
    app.want("connected", &[]);
    app.hears(860);
    trunk.tell(json!({"cmd": "refuse", "status": 404}));
    app.want("ended", &[("by", "terminate"), ("reason", "gone")]);
    // And one that leaves before the answer.
    app.tell(call);
    trunk.want("invited", &[]);
    trunk.tell(json!({"cmd": "play", "fork": "a", "tone": 740}));
    app.want("connected", &[]);
    app.tell(json!({"cmd": "hangup"}));
    trunk.want("ended", &[("method", "CANCEL")]);
    let calls = server.recorded(5).unwrap();
    let results: Vec<&str> = calls.iter().map(|call| call.2.as_str()).collect();
    assert_eq!(results, ["hung up", "refused", "hung up", "refused", "cancelled"]);
}

/// A server with a trunk by hand, whose section has these lines too; Ana and Carl have numbers.
fn by_hand(log: &Transcript, more: &str) -> (Server, Peer) {
    let port = Provider::port().unwrap();
    let sections = format!(
        "[[trunks]]\nname = \"early\"\nuri = \"sip:127.0.0.1:{port}\"\nencrypted = false\nsupervise = false\n\
         sources = [\"127.0.0.1:{port}\"]\n{more}\n[numbers]\ncountry = \"49\"\n\
         [numbers.accounts]\n\"+4930501\" = \"ana@localhost\"\n\"+4930502\" = \"carl@localhost\"\n\
         [sip]\nsecurity = \"optional\"\n"
    );
    let server = Server::start_with("localhost", &["ana", "carl"], &sections).unwrap();
    let mut trunk = Peer::start("trunk", "earlytrunk.py", log).unwrap();
    trunk.tell(json!({"cmd": "start", "port": port}));
    (server, trunk)
}

/// RFC 5373 section 7, RFC 5806 section 3.1: a trunk opens nobody's microphone; whom it says a call was for is passed on.
#[test]
fn what_a_trunk_asks_of_phones_is_not_heard() {
    let log = Transcript::default();
    let (server, mut trunk) = by_hand(&log, "");
    let mut phone = Peer::start("phone", "rawphone.py", &log).unwrap();
    phone.tell(json!({
        "cmd": "start", "user": "ana", "password": "secret-ana", "domain": "localhost", "port": server.sip,
    }));
    phone.want("registered", &[("status", "200")]);
    phone.tell(json!({"cmd": "auto"}));
    // Also where its account trusts somebody, who the trunk says that it is.
    server.run(&["user", "calls", "ana@localhost", "auto-answer=carl"]).unwrap();
    let to = format!("sip:+4930501@127.0.0.1:{}", server.sip);
    let asks = "Answer-Mode: Auto\r\nCall-Info: <sip:x>;answer-after=0\r\nAlert-Info: <http://x>;info=alert-autoanswer\r\n\
                P-Asserted-Identity: <sip:carl@localhost>\r\n";
    trunk.tell(json!({"cmd": "invite", "server": server.sip, "to": to, "headers": asks}));
    let rung = phone.want("ringing", &[])["headers"].to_string();
    assert!(!rung.to_lowercase().contains("answer") && !rung.contains("Diversion"), "{rung}");
    trunk.want("said", &[("status", "486")]);
    let diverted = "<sip:+4930999@127.0.0.1>;reason=no-answer;counter=2";
    let headers = format!("Diversion: {diverted}\r\n");
    trunk.tell(json!({"cmd": "invite", "server": server.sip, "to": to, "headers": headers}));
    let rung = phone.want("ringing", &[])["headers"].to_string();
    assert!(rung.contains(diverted), "{rung}");
    trunk.want("said", &[("status", "486")]);
    let headers = "Answer-Mode: Auto;require\r\n";
    trunk.tell(json!({"cmd": "invite", "server": server.sip, "to": to, "headers": headers}));
    trunk.want("said", &[("status", "403")]);
}

#[test]
fn a_trunk_is_told_who_sent_a_call_on_where_it_is_set_so() {
    for (more, expected) in [("diversion = true", true), ("", false)] {
        let log = Transcript::default();
        let (server, mut trunk) = by_hand(&log, more);
        server.run(&["user", "calls", "ana@localhost", "always=030123"]).unwrap();
        let mut phone = server.phone("phone", "carl", json!({}), &log).unwrap();
        phone.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
        let invited = trunk.want("invited", &[("uri", "+4930123@")])["headers"].to_string();
        let told = "<sip:+4930501@127.0.0.1>;reason=unconditional";
        assert_eq!(invited.contains(told), expected, "{invited}");
        assert_eq!(invited.contains("Diversion"), expected, "{invited}");
        trunk.tell(json!({"cmd": "refuse", "status": 486}));
        phone.want("closed", &[("reason", "486")]);
    }
}
