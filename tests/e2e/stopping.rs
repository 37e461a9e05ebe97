//! SIGTERM while calls run and more begin: every phone hears the end of its call, every call has its record, and nothing that
//! still works finds its store closed.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test
#![allow(clippy::disallowed_methods)] // waits until a load runs

use std::time::Duration;

use serde_json::json;
use tandem_tests::phones::{self, Target};
use tandem_tests::{Dice, Server, Transcript};

/// What an operator would be woken for.
fn errors(server: &Server) -> Vec<String> {
    server.log().into_iter().filter(|line| line.contains("ERROR")).collect()
}

#[test]
fn both_ends_of_a_call_hear_that_the_server_stops_and_the_call_has_its_record() {
    let mut server = Server::start("localhost", &["ana", "carl"]).unwrap();
    let log = Transcript::default();
    let (high, low) = Dice.pitches();
    let mut ana = server.phone("ana", "ana", json!({"tone": low}), &log).unwrap();
    let mut carl = server.phone("carl", "carl", json!({"tone": high}), &log).unwrap();
    ana.tell(json!({"cmd": "auto_answer"}));
    carl.tell(json!({"cmd": "call", "to": "sip:ana@localhost"}));
    ana.want("established", &[]);
    carl.want("established", &[]);
    ana.hears(high);
    carl.hears(low);
    assert!(server.terminate().unwrap(), "{:#?}", server.log());
    ana.want("closed", &[]);
    carl.want("closed", &[]);
    let calls = server.calls().unwrap();
    let [(caller, callee, result, _)] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!((&**caller, &**callee), ("carl@localhost", "ana@localhost"));
    assert_eq!(result, "shutting down");
    assert_eq!(errors(&server), [""; 0]);
}

#[test]
fn a_server_that_stops_under_load_loses_no_record_and_asks_no_closed_store() {
    const ACCOUNTS: usize = 10;
    let names: Vec<String> = (0..2 * ACCOUNTS).map(phones::account).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut server = Server::start("localhost", &names).unwrap();
    let target = Target { name: "tandem", sip: server.sip, domain: "localhost" };
    let load = std::thread::spawn(move || {
        // The server goes away meanwhile: what is sent then is refused by the kernel.
        phones::offered(target, ACCOUNTS, 100.0, Duration::from_secs(6))
    });
    // Calls are in every state then: asked, challenged, ringing, up, and ending.
    for _ in 0..500 {
        if begun(&server) >= 200 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(begun(&server) >= 200, "{:#?}", server.log());
    assert!(server.terminate().unwrap(), "{:#?}", server.log());
    let _ = load.join().unwrap();
    assert_eq!(errors(&server), [""; 0]);
    assert_eq!(server.calls().unwrap().len(), begun(&server), "each call has its record");
}

/// Calls that began, as the log has them.
fn begun(server: &Server) -> usize {
    server.log().iter().filter(|line| line.contains("others_ring")).count()
}
