//! Nothing acknowledged is lost, nothing is there twice (XEP-0198, XEP-0313, XEP-0359): bursts of 10,000 messages from 100
//! clients, in which the server is killed, loses power, or has a full disk. Afterwards the clients log in, catch up from
//! their archives, send again what nobody acknowledged, and count.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tandem_tests::{Dice, Server, root};

/// Acknowledgements before anything happens, and after them at random.
const FIRST: u32 = 1_000;
const SPREAD: u32 = 2_500;

fn people() -> Vec<String> {
    (0..100).map(|n| format!("u{n}")).collect()
}

fn start() -> Server {
    let people = people();
    let people: Vec<&str> = people.iter().map(String::as_str).collect();
    Server::start("localhost", &people).unwrap()
}

/// One run of the clients.
fn run(server: &Server, arguments: &[&str]) -> Value {
    let said = server.story("burst.py", arguments).unwrap();
    serde_json::from_str(said.trim()).unwrap()
}

/// Kills the server in a burst of messages, at a random moment.
fn kill(server: &Server, state: &Path) -> u64 {
    let (pid, after) = (server.id().to_string(), (FIRST + Dice.number(SPREAD)).to_string());
    let told = run(server, &["kill", state.to_str().unwrap(), &pid, &after]);
    assert_eq!(told["killed"], true, "{told}");
    told["acks"].as_u64().unwrap()
}

/// Counts: all that was ever acknowledged, and what was sent again.
fn check(server: &Server, state: &Path) -> u64 {
    let told = run(server, &["check", state.to_str().unwrap()]);
    told["counted"].as_u64().unwrap()
}

/// The library that watches what is synced, made for this run.
fn watcher(dir: &Path) -> PathBuf {
    let library = dir.join("synced.so");
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(root().join("tests/peers/synced.c"))
        .arg("-ldl")
        .status();
    assert!(made.unwrap().success(), "the library is not made");
    library
}

#[test]
fn killed_twenty_times_the_server_has_all_it_acknowledged_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    let mut server = start();
    let mut acknowledged = 0;
    for _ in 0..20 {
        acknowledged += kill(&server, &state);
        server.crash_and_restart().unwrap();
    }
    let counted = check(&server, &state);
    assert!(acknowledged >= 20_000 && counted >= acknowledged, "{counted} of {acknowledged}");
}

/// The files hold what was synced and nothing else when the server starts again.
#[test]
fn a_power_cut_leaves_all_that_was_acknowledged_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let (state, synced) = (dir.path().join("state.json"), dir.path().join("synced"));
    let library = watcher(dir.path());
    let variables =
        [("LD_PRELOAD", library.to_str().unwrap()), ("SYNCED_TO", synced.to_str().unwrap())];
    let mut server = start();
    server.lose_power(&synced, &variables).unwrap();
    let mut acknowledged = 0;
    for _ in 0..5 {
        acknowledged += kill(&server, &state);
        server.lose_power(&synced, &variables).unwrap();
    }
    let counted = check(&server, &state);
    assert!(acknowledged >= 5_000 && counted >= acknowledged, "{counted} of {acknowledged}");
}

#[test]
fn with_a_full_disk_the_sender_is_told_and_the_rest_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let (state, full) = (dir.path().join("state.json"), dir.path().join("full"));
    let library = watcher(dir.path());
    let variables =
        [("LD_PRELOAD", library.to_str().unwrap()), ("DISK_FULL", full.to_str().unwrap())];
    let mut server = start();
    server.crash_and_restart_with(&variables).unwrap();
    let told = run(&server, &["full", state.to_str().unwrap(), full.to_str().unwrap(), "1500"]);
    assert!(told["refused"].as_u64().unwrap() >= 200, "{told}");
    let acknowledged = told["acks"].as_u64().unwrap();
    let counted = check(&server, &state);
    assert_eq!(counted, 10_000, "{told}");
    assert!(counted > acknowledged);
    server.crash_and_restart().unwrap();
    assert_eq!(check(&server, &state), 10_000);
}
