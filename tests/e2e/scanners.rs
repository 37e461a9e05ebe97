//! sipvicious against the SIP edge, by its name and under another: it learns nothing, and phones beside it are served.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use std::process::{Command, Stdio};

use serde_json::json;
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
