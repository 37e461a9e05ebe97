//! Registrations (RFC 5626, RFC 5627) from outside: a phone's own addresses over a crash.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use serde_json::{Value, json};
use tandem_tests::{Dice, Peer, Server, Transcript};

const PEOPLE: &[&str] = &["ana", "carl"];

/// A value that the 200 to a REGISTER told in Contact.
fn told(registered: &Value, name: &str) -> String {
    let fields = registered["headers"].as_array().unwrap();
    let contact = fields.iter().find(|field| field[0] == "Contact").unwrap()[1].as_str().unwrap();
    let (_, rest) = contact.split_once(&format!("{name}=\"")).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

fn start(server: &Server, phone: &mut Peer, user: &str, more: Value) -> Value {
    let mut command = json!({"cmd": "start", "user": user, "password": format!("secret-{user}"), "domain": "localhost", "port": server.sip});
    for (name, value) in more.as_object().unwrap() {
        command[name] = value.clone();
    }
    phone.tell(command);
    phone.want("registered", &[("status", "200")])
}

#[test]
fn a_phones_own_addresses_reach_it_alone_and_outlive_a_crash() {
    let mut server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let phone = |name, user, more| {
        let mut phone = Peer::start(name, "rawphone.py", &log).unwrap();
        let registered = start(&server, &mut phone, user, more);
        (phone, registered)
    };
    let device = |n: u32| json!({"fields": "Supported: gruu, outbound, path\r\n", "params": format!(";reg-id=1;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-00000000000{n}>\"")});
    let (mut one, registered) = phone("one", "ana", device(1));
    let (mut two, _) = phone("two", "ana", device(2));
    let (mut carl, _) = phone("carl", "carl", json!({}));
    let (public, temporary) = (told(&registered, "pub-gruu"), told(&registered, "temp-gruu"));
    assert!(public.starts_with("sip:ana@localhost;gr=phone-"), "{public}");
    for crash in [false, true] {
        if crash {
            server.crash_and_restart().unwrap();
        }
        for gruu in [&public, &temporary] {
            let body = Dice.word();
            carl.tell(json!({"cmd": "send", "to": gruu, "body": body}));
            // After a restart the phone is found a moment later, and the message waits so long.
            carl.want("answer", &[("status", "20")]);
            one.want("request", &[("method", "MESSAGE"), ("body", &body)]);
        }
        two.never("request", &[]);
    }
    // An XMPP app writes to the same phone by the resource that its address names.
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let (_, resource) = public.split_once(";gr=").unwrap();
    let body = Dice.word();
    let full = format!("ana@localhost/{resource}");
    app.tell(json!({"cmd": "message", "to": full, "body": body, "id": "m1"}));
    one.want("request", &[("method", "MESSAGE"), ("body", &body)]);
    two.never("request", &[]);
}
