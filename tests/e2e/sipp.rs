//! sipp (RFC 3261, RFC 3428): scenarios of `tests/peers/sipp_*.xml`, over UDP and TCP.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use std::process::{Child, Command, Stdio};

use serde_json::json;
use tandem_tests::{Dice, Server, Transcript, free_ports, root};

const PEOPLE: &[&str] = &["ana", "carl"];

/// One run of a scenario.
struct Sipp(Child, tempfile::TempDir);

impl Sipp {
    /// Starts a scenario as ana on a port of ours. `transport` is `u1` or `t1`; `keys` are what the scenario names.
    fn start(
        server: &Server,
        scenario: &str,
        transport: &str,
        port: u16,
        keys: &[(&str, &str)],
    ) -> Self {
        Self::start_as(("ana", "ana", "secret-ana"), server, scenario, transport, port, keys)
    }

    /// The same as somebody: as whom, with what name and password.
    fn start_as(
        (account, user, password): (&str, &str, &str),
        server: &Server,
        scenario: &str,
        transport: &str,
        port: u16,
        keys: &[(&str, &str)],
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sipp");
        command
            .arg(format!("127.0.0.1:{}", server.sip))
            .arg("-sf")
            .arg(root().join("tests/peers").join(scenario))
            .args(["-i", "127.0.0.1", "-p", &port.to_string(), "-t", transport, "-m", "1"])
            .args(["-mp", &free_port().to_string(), "-nostdin", "-timeout", "45"])
            .args(["-timeout_error", "-s", account, "-au", user, "-ap", password])
            .args([
                "-trace_msg",
                "-message_file",
                "messages",
                "-trace_err",
                "-error_file",
                "errors",
            ])
            .args(["-key", "domain", "localhost"]);
        let home = ("home", "localhost");
        let home = if keys.iter().any(|(key, _)| *key == home.0) { None } else { Some(&home) };
        for (key, value) in keys.iter().chain(home) {
            command.args(["-key", key, value]);
        }
        let process = command
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(process, dir)
    }

    /// Waits for its end and checks that the scenario went as written; gives what was sent and received.
    fn passes(mut self) -> String {
        let status = self.0.wait().unwrap();
        let read = |name| std::fs::read_to_string(self.1.path().join(name)).unwrap_or_default();
        let messages = read("messages");
        assert!(status.success(), "{status}\n{}\n{messages}", read("errors"));
        messages
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let [port] = free_ports().unwrap();
    port
}

#[test]
fn sipp_registers_calls_the_echo_address_and_writes_over_udp_and_tcp() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    for transport in ["u1", "t1"] {
        let run = |scenario: &str, keys: &[(&str, &str)]| {
            Sipp::start(&server, scenario, transport, free_port(), keys).passes()
        };
        let text = run("sipp_register.xml", &[]);
        assert!(text.contains("algorithm=MD5"), "{text}");
        run("sipp_invite.xml", &[("callee", "echo")]);
        let body = Dice.word();
        run("sipp_message.xml", &[("callee", "carl"), ("body", &body)]);
        app.want("message", &[("from", "ana@localhost"), ("body", &body)]);
    }
    let calls = server.recorded(2).unwrap();
    assert!(
        calls.iter().all(|call| call.1 == "echo@localhost" && call.2 == "hung up"),
        "{calls:?}"
    );
}

#[test]
fn sipp_is_written_to_and_called() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let port = free_port();
    Sipp::start(&server, "sipp_register.xml", "u1", port, &[]).passes();

    let phone = Sipp::start(&server, "sipp_take_message.xml", "u1", port, &[]);
    let body = Dice.word();
    app.tell(json!({"cmd": "message", "to": "ana@localhost", "body": body, "id": "m1"}));
    app.want("receipt", &[("id", "m1")]);
    let text = phone.passes();
    assert!(text.contains(&body), "{text}");

    let phone = Sipp::start(&server, "sipp_take_call.xml", "u1", port, &[]);
    app.tell(json!({"cmd": "call", "to": "ana@localhost", "tone": 500, "codecs": ["PCMA"]}));
    app.want("ringing", &[("from", "ana@localhost/phone-")]);
    app.want("connected", &[]);
    app.tell(json!({"cmd": "hangup"}));
    let text = phone.passes();
    assert!(text.contains("BYE sip:"), "{text}");
    assert_eq!(server.recorded(1).unwrap()[0].2, "hung up");
}

/// What sipp sends with 70 may be forwarded 69 times by those behind us: a call that goes in a circle over gateways ends.
#[test]
fn a_call_between_phones_has_one_hop_less() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let port = free_port();
    Sipp::start_as(("carl", "carl", "secret-carl"), &server, "sipp_register.xml", "u1", port, &[])
        .passes();
    let phone = Sipp::start_as(
        ("carl", "carl", "secret-carl"),
        &server,
        "sipp_take_call.xml",
        "u1",
        port,
        &[],
    );
    let keys = [("callee", "carl")];
    Sipp::start(&server, "sipp_invite.xml", "u1", free_port(), &keys).passes();
    let text = phone.passes();
    let (_, invite) = text.split_once("INVITE sip:").unwrap();
    let (invite, _) = invite.split_once("\r\n\r\n").unwrap();
    assert!(invite.contains("Max-Forwards: 69"), "{text}");
}

#[test]
fn a_caller_that_was_answered_elsewhere_leaves_no_missed_call() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let log = Transcript::default();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let keys = [("callee", "carl")];
    let caller = Sipp::start(&server, "sipp_taken_elsewhere.xml", "u1", free_port(), &keys);
    app.want("incoming", &[("from", "ana@localhost")]);
    app.want("ended", &[("reason", "cancel")]);
    caller.passes();
    assert_eq!(server.recorded(1).unwrap()[0].2, "answered elsewhere");
}

#[test]
fn sipp_is_a_trunk_that_proves_itself_by_a_password_of_its_own() {
    let sections = "[[trunks]]\nname = \"world\"\nuri = \"sip:pstn.example\"\nsupervise = false\nencrypted = false\n\
        inbound_username = \"provider\"\ninbound_password = \"of-its-own\"\n\
        [numbers.accounts]\n\"+4930501\" = \"carl@localhost\"\n";
    let server = Server::start_with("localhost", PEOPLE, sections).unwrap();
    let log = Transcript::default();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    let trunk = |scenario: &str, transport: &str, keys: &[(&str, &str)]| {
        let login = ("+4930123", "provider", "of-its-own");
        let keys = [keys, &[("callee", "+4930501"), ("home", "pstn.example")]].concat();
        Sipp::start_as(login, &server, scenario, transport, free_port(), &keys)
    };
    app.tell(json!({"cmd": "auto_answer", "tone": 500, "codecs": ["PCMA"]}));
    for transport in ["u1", "t1"] {
        let body = Dice.word();
        trunk("sipp_message.xml", transport, &[("body", &body)]).passes();
        app.want("message", &[("from", "+4930123@tel.localhost"), ("body", &body)]);
        let call = trunk("sipp_invite.xml", transport, &[]);
        app.want("incoming", &[("from", "+4930123@tel.localhost/")]);
        call.passes();
        app.want("ended", &[]);
    }
    let calls = server.recorded(2).unwrap();
    assert!(calls.iter().all(|call| call.0 == "+4930123@tel.localhost"), "{calls:?}");
}

/// Call settings (RFC 3261 sections 21.1.3 and 21.4.18, RFC 3326): forwarded to somebody who is not to be disturbed.
#[test]
fn a_caller_is_told_that_its_call_is_forwarded_and_that_nobody_is_disturbed() {
    let server = Server::start("localhost", &["ana", "carl", "julia"]).unwrap();
    for (account, word) in [("carl@localhost", "always=julia"), ("julia@localhost", "dnd=on")] {
        server.run(&["user", "calls", account, word]).unwrap();
    }
    let keys = [("callee", "carl")];
    let text = Sipp::start(&server, "sipp_forwarded.xml", "u1", free_port(), &keys).passes();
    assert!(text.contains("Reason: SIP;cause=480;text=\"Do not disturb\""), "{text}");
}

#[test]
fn who_may_not_dial_a_number_learns_why() {
    let sections = "[[trunks]]\nname = \"world\"\nuri = \"sip:pstn.example\"\nsupervise = false\n\
        [numbers]\ndenied = [\"+49900\"]\n";
    let server = Server::start_with("localhost", PEOPLE, sections).unwrap();
    for (number, why) in [
        ("+49900123", "this number is not dialled"),
        ("+88213000", "premium numbers are not dialled"),
    ] {
        let keys = [("callee", number)];
        let text = Sipp::start(&server, "sipp_denied.xml", "u1", free_port(), &keys).passes();
        assert!(text.contains(&format!("Warning: 399 tandem \"{why}\"")), "{text}");
        assert!(text.contains(&format!("Reason: Q.850;cause=21;text=\"{why}\"")), "{text}");
        let is_said =
            |line: &String| line.contains("audit") && line.contains(why) && line.contains(number);
        assert!(server.log().iter().any(is_said), "{:#?}", server.log());
        let counted = format!("tandem_trunk_refused_total{{why=\"{why}\"}} 1");
        assert!(server.http("/metrics").unwrap().contains(&counted));
    }
}

/// Privacy of who calls by a trunk is kept (RFC 3325 section 7): who is called hears of nobody.
#[test]
fn who_hides_behind_a_trunk_is_nobody_to_the_called() {
    let port = free_port();
    let sections = "[[trunks]]\nname = \"world\"\nuri = \"sip:pstn.example\"\nsupervise = false\nencrypted = false\n\
         inbound_username = \"provider\"\ninbound_password = \"of-its-own\"\n\
         [numbers.accounts]\n\"+4930501\" = \"carl@localhost\"\n";
    let server = Server::start_with("localhost", PEOPLE, sections).unwrap();
    let log = Transcript::default();
    let mut app = server.softphone("app", "carl", &log).unwrap();
    app.tell(json!({"cmd": "auto_answer", "tone": 500, "codecs": ["PCMA"]}));
    let dir = tempfile::tempdir().unwrap();
    let scenario = dir.path().join("private.xml");
    let open = std::fs::read_to_string(root().join("tests/peers/sipp_invite.xml")).unwrap();
    let fields = "Privacy: id\n    P-Asserted-Identity: <sip:+4930123@pstn.example>\n    Max-Forwards: 70\n    Content-Type";
    std::fs::write(&scenario, open.replace("Max-Forwards: 70\n    Content-Type", fields)).unwrap();
    let login = ("+4930123", "provider", "of-its-own");
    let keys = [("callee", "+4930501"), ("home", "pstn.example")];
    let call = Sipp::start_as(login, &server, scenario.to_str().unwrap(), "u1", port, &keys);
    app.want("incoming", &[("from", "anonymous@tel.localhost/")]);
    assert!(call.passes().contains("Privacy: id"));
    assert_eq!(server.recorded(1).unwrap()[0].0, "anonymous@tel.localhost");
}
