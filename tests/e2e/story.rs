//! The crossing, told in one transcript: an app and a phone write to each other and see each other; a web client,
//! headless and in Chromium, and a phone call each other both ways. Names, domain, ports and pitches are drawn anew.
//!
//! `make story` prints the transcript and leaves it with a packet capture in `target/story`.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::json;
use tandem_tests::{Capture, Peer, Server, Transcript, root, udp_ports};

/// Numbers that nobody has chosen: from the system's random bytes.
struct Dice(Vec<u8>);

impl Dice {
    fn new() -> Self {
        use std::io::Read;
        let mut bytes = vec![0; 64];
        std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
        Self(bytes)
    }

    fn number(&mut self, below: u32) -> u32 {
        let (a, b) = (self.0.pop().unwrap(), self.0.pop().unwrap());
        (u32::from(a) << 8 | u32::from(b)) % below
    }

    fn word(&mut self) -> String {
        const SOUNDS: [&str; 8] = ["ba", "do", "fe", "ki", "lu", "ma", "no", "ri"];
        (0..4).map(|_| SOUNDS[self.number(8) as usize]).collect()
    }

    /// Between 400 and 1580 Hz, in steps that tell them apart.
    fn pitch(&mut self) -> u32 {
        400 + self.number(60) * 20
    }
}

/// Who has which UDP ports while a call is up.
#[derive(Default)]
struct Ports {
    gateway: BTreeSet<u16>,
    phone: BTreeSet<u16>,
    client: BTreeSet<u16>,
}

impl Ports {
    fn note(&mut self, server: &Server, phone: &Peer, client: &Peer) {
        self.gateway.extend(udp_ports(server.id()).unwrap());
        self.phone.extend(udp_ports(phone.id()).unwrap());
        self.client.extend(udp_ports(client.id()).unwrap());
    }
}

fn folder() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let folder = target.join("story");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_crossing() {
    let (mut dice, log) = (Dice::new(), Transcript::default());
    let domain = format!("{}.example", dice.word());
    let people = [dice.word() + "1", dice.word() + "2", dice.word() + "3"];
    let [elder, daughter, carer] = &people;
    log.line(format!("== {elder}, {daughter} and {carer} of {domain}"));
    let names: Vec<&str> = people.iter().map(String::as_str).collect();
    let folder = folder();
    let capture = Capture::start(&folder.join("capture.pcap")).unwrap();
    let server = Server::start(&domain, &names).unwrap();

    // The elder has a phone, the carer an app that is her contact.
    let mut app = server.softphone("carer's app (slixmpp)", carer, &log).unwrap();
    let tone = dice.pitch();
    let carers = format!("sip:{carer}@{domain}");
    let more =
        json!({"tone": tone, "contacts": [carers], "watch": [carers], "codecs": ["PCMA/8000/1"]});
    let mut phone = server.phone("elder's phone (baresip)", elder, more, &log).unwrap();

    log.line("== they see each other once both agree".into());
    let (elders, carers_jid) = (format!("{elder}@{domain}"), format!("{carer}@{domain}"));
    app.want("presence", &[("from", &elders), ("type", "subscribe")]);
    phone.never("presence", &[("status", "Online")]);
    app.tell(json!({"cmd": "presence", "type": "subscribed", "to": elders}));
    phone.want("presence", &[("from", &carers_jid), ("status", "Online")]);
    let mut elders_app = server.softphone("elder's app (slixmpp)", elder, &log).unwrap();
    app.tell(json!({"cmd": "presence", "type": "subscribe", "to": elders}));
    elders_app.want("presence", &[("from", &carers_jid), ("type", "subscribe")]);
    elders_app.tell(json!({"cmd": "presence", "type": "subscribed", "to": carers_jid}));
    app.want("presence", &[("from", &format!("{elders}/phone-")), ("type", "available")]);
    elders_app.tell(json!({"cmd": "logout"}));

    log.line("== they write to each other".into());
    let (there, back) =
        (format!("did you sleep well? {}", dice.word()), format!("yes, {}", dice.word()));
    app.tell(json!({"cmd": "message", "to": elders, "body": there, "id": "story-1"}));
    phone.want("message", &[("from", &carers_jid), ("body", &there)]);
    app.want("receipt", &[("id", "story-1")]);
    phone.tell(json!({"cmd": "message", "to": carers, "body": back}));
    app.want("message", &[("from", &elders), ("body", &back)]);

    let mut ports = Ports::default();
    for (name, script) in
        [("web client (stanza.js)", "stanza.mjs"), ("web client in Chromium", "chromium.mjs")]
    {
        let mut web = server.web(name, script, daughter, &log).unwrap();
        let pitch = dice.pitch();
        // A client that knows no XEP-0353 calls a device, whose address its owner's contacts see.
        app.tell(json!({"cmd": "presence"}));
        let device = phone_of(&mut elders_app, &server, elder, &log);

        log.line(format!("== the {name} calls the phone: {pitch} Hz there, {tone} Hz back"));
        phone.tell(json!({"cmd": "auto_answer"}));
        web.tell(json!({"cmd": "call", "to": device, "tone": pitch}));
        web.want("connected", &[]);
        app.want("presence", &[("from", &device), ("show", "dnd"), ("status", "On the phone")]);
        ports.note(&server, &phone, &web);
        phone.hears(pitch);
        web.hears(tone);
        web.tell(json!({"cmd": "hangup"}));
        phone.want("closed", &[]);

        log.line(format!("== the phone calls the {name}"));
        web.tell(json!({"cmd": "auto_answer", "tone": pitch}));
        phone.tell(json!({"cmd": "call", "to": format!("sip:{daughter}@{domain}")}));
        phone.want("established", &[]);
        web.want("connected", &[]);
        ports.note(&server, &phone, &web);
        phone.hears(pitch);
        web.hears(tone);
        phone.tell(json!({"cmd": "hangup"}));
        web.want("ended", &[]);
    }

    let pairs = capture.stop().unwrap();
    // Whatever RTP touches a port of the phone or of a client has the gateway at its other end.
    let (mut to_phone, mut to_client) = (0, 0);
    for ((one, other), count) in &pairs {
        let with = |side: &BTreeSet<u16>| side.contains(one) || side.contains(other);
        let through = with(&ports.gateway);
        if with(&ports.phone) {
            assert!(through, "RTP past the gateway: {one} {other}\n{}", log.text());
            to_phone += count;
        }
        if with(&ports.client) {
            assert!(through, "RTP past the gateway: {one} {other}\n{}", log.text());
            to_client += count;
        }
    }
    assert!(to_phone > 400 && to_client > 400, "{to_phone} and {to_client} packets were seen");
    log.line(format!(
        "== {to_phone} RTP packets with the phone, {to_client} with the web clients, all through the gateway"
    ));
    for call in server.calls().unwrap() {
        log.line(format!("== recorded: {} called {}: {}, {}", call.0, call.1, call.2, call.3));
    }
    std::fs::write(folder.join("transcript.txt"), log.text()).unwrap();
    println!("{}", log.text());
}

/// The full address of the phone, as another device of its account sees it.
fn phone_of(app: &mut Peer, server: &Server, elder: &str, log: &Transcript) -> String {
    *app = server.softphone("elder's app (slixmpp)", elder, log).unwrap();
    let seen = app.want("presence", &[("from", "/phone-"), ("type", "available")]);
    app.tell(json!({"cmd": "logout"}));
    seen["from"].as_str().unwrap().to_owned()
}
