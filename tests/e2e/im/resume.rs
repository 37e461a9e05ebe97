//! Sessions that outlive their connections (XEP-0198), with slixmpp and over WebSocket.

use tandem_tests::Server;

const PEOPLE: &[&str] = &["ana", "julia"];

#[test]
fn a_device_that_loses_its_connection_resumes_and_has_everything_once() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let story = server.story("resume.py", &["tcp"]).unwrap();
    for step in [
        "written to in three tunnels, everything once and in order",
        "what was on its way in three tunnels arrived once and in order",
        "nobody noticed",
        "nothing comes again after that",
    ] {
        assert!(story.contains(step), "{step}: {story}");
    }
}

#[test]
fn a_websocket_that_breaks_is_resumed_over_another() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let story = server.story("resume.py", &["websocket"]).unwrap();
    assert!(story.contains("resumed over the websocket, everything in order"), "{story}");
}
