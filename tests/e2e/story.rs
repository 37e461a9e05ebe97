//! The crossing, told in one transcript: an app and a phone write to each other and see each other; a web client,
//! headless and in Chromium, and a phone call each other both ways. Names, domain, ports and pitches are drawn anew.
//!
//! `make story` prints the transcript and leaves it with a packet capture in `target/story`.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::SystemTime;

use serde_json::json;
use tandem_tests::{Capture, Captured, Dice, Peer, Server, Transcript, befriend, root, udp_ports};

/// The transcript, kept and shown however the story ends.
struct Told(Transcript, PathBuf);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = std::fs::write(self.1.join("transcript.txt"), self.0.text());
        println!("{}", self.0.text());
    }
}

/// One call: when it was, and who had which UDP ports while it was up.
struct Call {
    from: SystemTime,
    until: SystemTime,
    gateway: BTreeSet<u16>,
    phone: BTreeSet<u16>,
    client: BTreeSet<u16>,
}

/// The people, and what of them takes part.
struct World {
    server: Server,
    log: Transcript,
    domain: String,
    elder: String,
    daughter: String,
    carer: String,
}

#[test]
fn the_crossing() {
    let (log, folder) = (Transcript::default(), folder());
    let _told = Told(log.clone(), folder.clone());
    let capture = Capture::start(&folder.join("capture.pcap")).unwrap();
    let world = World::new(log.clone());
    let (elders, carers) = (world.jid(&world.elder), world.jid(&world.carer));

    let mut app = world.server.softphone("carer's app (slixmpp)", &world.carer, &log).unwrap();
    let tone = 400 + Dice.number(20) * 10;
    let carers_sip = format!("sip:{carers}");
    let more = json!({"tone": tone, "contacts": [carers_sip], "watch": [carers_sip], "codecs": ["PCMA/8000/1"]});
    let mut phone =
        world.server.phone("elder's phone (baresip)", &world.elder, more, &log).unwrap();

    log.line("== they see each other once both agree".into());
    app.want("presence", &[("from", &elders), ("type", "subscribe")]);
    phone.never("presence", &[("status", "Online")]);
    app.tell(json!({"cmd": "presence", "type": "subscribed", "to": elders}));
    phone.want("presence", &[("from", &carers), ("status", "Online")]);
    let mut elders_app =
        world.server.softphone("elder's app (slixmpp)", &world.elder, &log).unwrap();
    app.tell(json!({"cmd": "presence", "type": "subscribe", "to": elders}));
    elders_app.want("presence", &[("from", &carers), ("type", "subscribe")]);
    elders_app.tell(json!({"cmd": "presence", "type": "subscribed", "to": carers}));
    app.want("presence", &[("from", &format!("{elders}/phone-")), ("type", "available")]);

    log.line("== they write to each other".into());
    let there = format!("did you sleep well? {}", Dice.word());
    let back = format!("yes, {}", Dice.word());
    app.tell(json!({"cmd": "message", "to": elders, "body": there, "id": "story-1"}));
    phone.want("message", &[("from", &carers), ("body", &there)]);
    app.want("receipt", &[("from", &format!("{elders}/phone-")), ("id", "story-1")]);
    phone.tell(json!({"cmd": "message", "to": carers_sip, "body": back}));
    app.want("message", &[("from", &elders), ("body", &back)]);

    let mut calls = Vec::new();
    for (name, script, befriends) in [
        ("web client (stanza.js)", "stanza.mjs", true),
        ("web client in Chromium (stanza.js)", "chromium.mjs", false),
    ] {
        let mut web = world.server.web(name, script, &world.daughter, &log).unwrap();
        if befriends {
            // A client that knows no XEP-0353 calls a device, whose address contacts alone get to know.
            log.line(format!("== {} and {} become contacts", world.daughter, world.elder));
            befriend(&mut web, &mut elders_app, [&world.jid(&world.daughter), &elders]);
            elders_app.tell(json!({"cmd": "logout"}));
        }
        calls.extend(world.both_call(&mut web, &mut phone, &mut app, name, tone));
    }
    let captured = capture.stop().unwrap();
    world.told_of_message(&captured);
    world.nothing_went_past_us(&captured, &calls);
    for call in world.server.recorded(4).unwrap() {
        log.line(format!("== recorded: {} called {}: {}, {}", call.0, call.1, call.2, call.3));
    }
}

impl World {
    fn new(log: Transcript) -> Self {
        let domain = format!("{}.example", Dice.word());
        let [elder, daughter, carer] = ["1", "2", "3"].map(|n| Dice.word() + n);
        let server = Server::start(&domain, &[&elder, &daughter, &carer]).unwrap();
        log.line(format!(
            "== {elder}, an elder, {daughter}, her daughter, and {carer}, her carer, of {domain}"
        ));
        log.line(format!(
            "== the gateway's ports: {} XMPP, {} HTTPS, {} SIP",
            server.xmpp, server.https, server.sip
        ));
        Self { server, log, domain, elder, daughter, carer }
    }

    fn jid(&self, name: &str) -> String {
        format!("{name}@{}", self.domain)
    }

    /// The web client calls the phone, then the phone calls it; each hears the other, and the carer sees it.
    fn both_call(
        &self,
        web: &mut Peer,
        phone: &mut Peer,
        app: &mut Peer,
        name: &str,
        tone: u32,
    ) -> [Call; 2] {
        let pitch = 700 + Dice.number(40) * 20;
        let elders_phone = format!("{}/phone-", self.jid(&self.elder));
        let seen = web.want("presence", &[("from", &elders_phone), ("type", "available")]);
        let device = seen["from"].as_str().unwrap();

        self.log.line(format!("== the {name} calls the phone: {pitch} Hz there, {tone} Hz back"));
        phone.tell(json!({"cmd": "auto_answer"}));
        let from = now();
        web.tell(json!({"cmd": "call", "to": device, "tone": pitch}));
        web.want("connected", &[]);
        phone.want("established", &[]);
        app.want("presence", &[("from", device), ("show", "dnd"), ("status", "On the phone")]);
        let first = self.listen(from, web, phone, pitch, tone);
        web.tell(json!({"cmd": "hangup"}));
        phone.want("closed", &[]);
        web.want("ended", &[("reason", "success")]);

        self.log.line(format!("== the phone calls the {name}: {tone} Hz there, {pitch} Hz back"));
        web.tell(json!({"cmd": "auto_answer", "tone": pitch}));
        let from = now();
        phone.tell(json!({"cmd": "call", "to": format!("sip:{}", self.jid(&self.daughter))}));
        phone.want("established", &[]);
        web.want("connected", &[]);
        let second = self.listen(from, web, phone, pitch, tone);
        phone.tell(json!({"cmd": "hangup"}));
        phone.want("closed", &[]);
        web.want("ended", &[("reason", "success")]);
        [first, second]
    }

    fn listen(
        &self,
        from: SystemTime,
        web: &mut Peer,
        phone: &mut Peer,
        pitch: u32,
        tone: u32,
    ) -> Call {
        let [gateway, phone_ports, client] =
            [self.server.id(), phone.id(), web.id()].map(|id| udp_ports(id).unwrap());
        phone.hears(pitch);
        web.hears(tone);
        Call { from, until: now(), gateway, phone: phone_ports, client }
    }

    /// A phone's receipt is the 200 that its MESSAGE got (RFC 3428 section 7): the message is with the app.
    fn told_of_message(&self, captured: &Captured) {
        let answers = captured.count(self.server.sip, "SIP/2.0 200", " MESSAGE\r\n");
        assert!(answers > 0, "the phone's MESSAGE has no 200");
        self.log.line("== captured: the phone's MESSAGE was answered with 200".into());
    }

    /// No RTP passes the gateway by. While a call is up, `/proc` says which UDP ports the processes of the gateway, of
    /// the phone and of the client have open; two processes cannot share one. In the capture of that time, each RTP
    /// packet from or to a port of the phone or of the client must have a port of the gateway at its other end.
    fn nothing_went_past_us(&self, captured: &Captured, calls: &[Call]) {
        for (n, call) in calls.iter().enumerate() {
            let (mut phone, mut client) = (0, 0);
            for ((one, other), count) in captured.rtp_pairs(call.from, call.until) {
                let with = |side: &BTreeSet<u16>| side.contains(&one) || side.contains(&other);
                phone += if with(&call.phone) { count } else { 0 };
                client += if with(&call.client) { count } else { 0 };
                let is_theirs = with(&call.phone) || with(&call.client);
                assert!(!is_theirs || with(&call.gateway), "RTP past the gateway: {one} {other}");
            }
            // Two seconds and more, fifty packets a second, both ways.
            assert!(phone > 150 && client > 150, "call {n}: {phone} and {client} packets");
            self.log.line(format!(
                "== captured: call {}, {phone} RTP packets between phone and gateway, {client} between client and \
                 gateway, none between phone and client",
                n + 1
            ));
        }
    }
}

#[allow(clippy::disallowed_methods)] // a capture has the time of the clock
fn now() -> SystemTime {
    SystemTime::now()
}

fn folder() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let folder = target.join("story");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
