//! sipvicious against the SIP edge, by its name and under another: it learns nothing, and phones beside it are served. So they
//! are beside a flood.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test
#![allow(clippy::disallowed_methods)] // a flood has a rate

use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tandem_tests::phones::{self, Once, Target};
use tandem_tests::{Dice, Server, Transcript};

/// Runs a tool of sipvicious; what it prints.
fn run(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the Debian package sipvicious is missing");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn scanners_find_nobody_and_phones_beside_them_are_served() {
    // Names as scanners try them, so that there is something to be found.
    let server = Server::start("localhost", &["100", "101", "carl"]).unwrap();
    let log = Transcript::default();
    let mut phone = server.phone("phone", "100", json!({"tone": 620}), &log).unwrap();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let port = server.sip.to_string();
    let scans = std::thread::spawn(move || {
        let found = run("svmap", &["-p", &port, "127.0.0.1"]);
        let mut all = vec![found];
        for method in ["REGISTER", "INVITE", "OPTIONS"] {
            all.push(run("svwar", &["-p", &port, "-m", method, "-e", "95-130", "127.0.0.1"]));
        }
        all
    });
    for _ in 0..5 {
        let body = Dice.word();
        app.tell(json!({"cmd": "message", "to": "100@localhost", "body": body}));
        phone.want("message", &[("body", &body)]);
    }
    phone.tell(json!({"cmd": "call", "to": "sip:echo@localhost"}));
    phone.want("established", &[]);
    phone.hears(620);
    phone.tell(json!({"cmd": "hangup"}));
    phone.want("closed", &[]);
    let found = scans.join().unwrap();
    for text in &found {
        // Neither the server nor an extension stands in a table of what was found.
        assert!(!text.contains("Tandem"), "{found:#?}");
        assert!(!text.contains("reqauth") && !text.contains("noauth"), "{found:#?}");
    }
    let metrics = server.http("/metrics").unwrap();
    let turned_away =
        metrics.lines().find(|l| l.starts_with("tandem_sip_refused_total{why=\"scanner\"}"));
    assert!(turned_away.is_some(), "{metrics}");
    assert!(server.log().iter().any(|line| line.contains("audit") && line.contains("scanner")));
}

/// One address sends ten times what it may. What another one asks for is done, and what was dropped unseen is counted and told.
#[test]
fn a_flood_from_one_address_takes_nothing_from_another() {
    let (caller, callee) = (phones::account(0), phones::account(1));
    let server = Server::start("localhost", &[&caller, &callee]).unwrap();
    let target = Target { name: "tandem", sip: server.sip, domain: "localhost" };
    let is_over = Arc::new(AtomicBool::new(false));
    let (over, port) = (is_over.clone(), server.sip);
    let flood = std::thread::spawn(move || {
        let socket = UdpSocket::bind("127.0.0.2:0").unwrap();
        let (mut sent, mut buffer) = (0_u64, [0; 2_000]);
        socket.set_nonblocking(true).unwrap();
        while !over.load(Ordering::Relaxed) {
            sent += 1;
            let ask = format!(
                "INVITE sip:user1@localhost SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.2;branch=z9hG4bK{sent};rport\r\n\
                 From: <sip:user0@localhost>;tag=1\r\nTo: <sip:user1@localhost>\r\nCall-ID: {sent}\r\n\
                 CSeq: 1 INVITE\r\nContact: <sip:x@127.0.0.2>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
            );
            let _ = socket.send_to(ask.as_bytes(), ("127.0.0.1", port));
            while socket.recv(&mut buffer).is_ok() {}
            if sent.is_multiple_of(10) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        sent
    });
    let _callees = phones::Callees::start(target, 1..2, 40_000, false, |_| {}).unwrap();
    let mut phone = Once::new(target, 40_002).unwrap();
    // The flood has its burst behind it when the budget says so.
    while !server.http("/metrics").unwrap().contains("tandem_sip_refused_total{why=\"budget\"}") {
        phone.register(0).unwrap();
    }
    for _ in 0..20 {
        phone.register(0).unwrap();
        phone.call(0, 1).unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    let sent = flood.join().unwrap();
    assert!(server.log().iter().any(|line| line.contains("audit") && line.contains("budget")));
    assert_eq!(server.recorded(20).unwrap().len(), 20, "beside {sent} of a stranger");
}
