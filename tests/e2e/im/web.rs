//! What travels beside the stream: files (XEP-0363), relays (XEP-0215) with coturn, push (XEP-0357) with a component as
//! the app server, BOSH (XEP-0124) with strophe.js.

use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tandem_tests::{Server, free_ports, root};

const PEOPLE: &[&str] = &["ana", "julia"];

#[test]
fn files_go_into_slots_and_are_fetched_by_who_knows_their_address() {
    let bounds = "[upload]\nmax_file_bytes = 2000000\ndaily_bytes = 5000000\n";
    let server = Server::start_with("localhost", PEOPLE, bounds).unwrap();
    let story = server.story("upload.py", &[]).unwrap();
    for step in [
        "the service is found with its bound",
        "what does not fit the slot is refused",
        "a slot is used once",
        "who knows the address has the file",
        "a picture has a thumbnail beside it",
        "a page is saved, not shown",
        "bounds and quotas are told",
    ] {
        assert!(story.contains(step), "{step}: {story}");
    }
    let incoming = server.data().join("uploads/incoming");
    assert_eq!(std::fs::read_dir(incoming).unwrap().count(), 0, "half files are left");
}

/// A relay of coturn that shares a secret with the server. Ended when dropped.
struct Relay {
    process: Child,
    _dir: tempfile::TempDir,
}

impl Relay {
    fn start(port: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = port.to_string();
        let process = Command::new("turnserver")
            .args(["-n", "--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1"])
            .args(["--listening-port", &port, "--realm", "localhost"])
            .args(["--use-auth-secret", "--static-auth-secret=between-us"])
            .args(["--no-tls", "--no-dtls", "--no-cli", "--allow-loopback-peers"])
            .args(["--log-file", "stdout", "--db"])
            .arg(dir.path().join("turn.db"))
            .arg("--pidfile")
            .arg(dir.path().join("turn.pid"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, _dir: dir }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends through the relay with these credentials; whether all came back.
fn relayed(port: u16, username: &str, password: &str) -> bool {
    let output = Command::new("timeout")
        .args(["30", "turnutils_uclient", "-y", "-c", "-n", "3", "-m", "1", "-l", "100"])
        .args(["-u", username, "-w", password, "-p", &port.to_string(), "127.0.0.1"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    text.contains("Total lost packets 0 ") && text.contains("tot_recv_msgs=6")
}

#[test]
fn credentials_given_over_xmpp_open_a_relay_of_coturn() {
    let [port] = free_ports().unwrap();
    let sections =
        format!("[[turn]]\nhost = \"127.0.0.1\"\nport = {port}\nsecret = \"between-us\"\n");
    let server = Server::start_with("localhost", PEOPLE, &sections).unwrap();
    let relay = Relay::start(port);
    let story = server.story("extdisco.py", &[]).unwrap();
    let given: Value = serde_json::from_str(story.trim()).unwrap();
    assert_eq!(given["port"], port.to_string());
    let (username, password) =
        (given["username"].as_str().unwrap(), given["password"].as_str().unwrap());
    // The relay may need a moment to open its port.
    let opened = (0..10).any(|_| relayed(port, username, password));
    assert!(opened, "the relay refuses {given}");
    assert!(!relayed(port, username, "wrong"), "the relay lets everybody in");
    drop(relay);
}

#[test]
fn an_app_server_is_told_what_a_user_misses_and_calls_come_first() {
    let [port] = free_ports().unwrap();
    let sections = "[[components]]\nhost = \"push.localhost\"\nsecret = \"between us\"\n";
    let listen = format!("components = [\"127.0.0.1:{port}\"]");
    let server = Server::start_listening("localhost", PEOPLE, &listen, sections).unwrap();
    let port = port.to_string();
    let story = server.story_with("push.py", &[], &[("COMPONENTS_PORT", &port)]).unwrap();
    for step in [
        "enabled",
        "not told while she looks",
        "told of a message, without its words",
        "a call is urgent",
        "a missed call is in the archive",
        "a node that is gone is not told again",
    ] {
        assert!(story.contains(step), "{step}: {story}");
    }
}

#[test]
fn strophe_logs_in_over_bosh_and_hears_the_echo() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let output = Command::new("timeout")
        .args(["60", "node"])
        .arg(root().join("tests/peers/bosh.mjs"))
        .env("HTTPS_PORT", server.https.to_string())
        .output()
        .unwrap();
    let story = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    for step in ["logged in as ana@localhost/bosh", "twenty messages came back", "said goodbye"] {
        assert!(story.contains(step), "{step}: {story}{errors}");
    }
}

#[test]
fn strangers_who_send_little_are_shown_out_and_nobody_waits_for_them() {
    let bounds = "[web]\nmax_connections_per_address = 50\n";
    let server = Server::start_with("localhost", PEOPLE, bounds).unwrap();
    let story = server.story("slow.py", &[]).unwrap();
    for step in [
        "an address has so many places, and others have theirs",
        "who does not begin is shown out",
        "a head that trickles is not waited for",
        "a body that trickles is not waited for",
        "a connection without a request is not kept",
    ] {
        assert!(story.contains(step), "{step}: {story}");
    }
}
