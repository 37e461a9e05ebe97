//! The relay as coturn's own clients, written for another server, find it (RFC 8489, RFC 8656).

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // what goes wrong here fails a test

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tandem_tests::{Server, free_ports};

const SECRET: &str = "north-star";

/// A server with a relay, and the ports of TURN and of TURN over TLS.
fn server() -> (Server, u16, u16) {
    let [turn, turns] = free_ports().unwrap();
    let listen = format!("turn = [\"127.0.0.1:{turn}\"]\nturns = [\"127.0.0.1:{turns}\"]");
    let relay =
        format!("[relay]\nsecret = \"{SECRET}\"\nbytes_per_second = 10000000\nold_channels = true");
    (Server::start_listening("localhost", &["ana"], &listen, &relay).unwrap(), turn, turns)
}

fn run(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new("timeout")
        .args(["60", tool])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the Debian package coturn is missing");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// Two clients write to each other through the relay; all of it arrives.
fn relays(port: u16, more: &[&str]) {
    let port = port.to_string();
    let mut arguments =
        vec!["-y", "-m", "2", "-n", "50", "-z", "5", "-u", "ana", "-W", SECRET, "-p", &port];
    arguments.extend(more);
    arguments.push("127.0.0.1");
    let text = run("turnutils_uclient", &arguments);
    assert!(
        text.contains("tot_send_msgs=200") || text.contains("tot_send_msgs=100"),
        "{more:?}: {text}"
    );
    assert!(text.contains("Total lost packets 0 (0.000000%)"), "{more:?}: {text}");
}

#[test]
fn data_goes_through_over_udp_tcp_and_tls() {
    let (server, turn, turns) = server();
    relays(turn, &[]);
    // By Send indications too.
    relays(turn, &["-s"]);
    relays(turn, &["-t"]);
    relays(turns, &["-t", "-S"]);
    // Beside HTTPS.
    relays(server.https, &["-t", "-S"]);
    counts(&server, "tandem_relay_packets_total", 1_000);
}

/// Waits until a counter has come so far.
fn counts(server: &Server, name: &str, least: u64) {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let metrics = server.http("/metrics").unwrap();
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        let count = line.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or_default();
        if count >= least {
            return;
        }
        assert!(Instant::now() < end, "{name} is {count}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn everybody_learns_their_address() {
    let (_server, turn, _) = server();
    let text = run("turnutils_stunclient", &["-p", &turn.to_string(), "127.0.0.1"]);
    assert!(text.contains("UDP reflexive addr: 127.0.0.1:"), "{text}");
}

#[test]
fn who_guesses_gets_nothing() {
    let (server, turn, _) = server();
    let port = turn.to_string();
    let text =
        run("turnutils_uclient", &["-y", "-u", "ana", "-W", "guessed", "-p", &port, "127.0.0.1"]);
    assert!(text.contains("Cannot complete Allocation"), "{text}");
    assert!(!text.contains("Total lost packets 0"), "{text}");
    counts(&server, "tandem_relay_refused_total{cause=\"unauthorized\"}", 1);
}
