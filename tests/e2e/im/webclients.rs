//! Web clients over WebSocket (RFC 7395): stanza.js from the command line and in Chromium, with slixmpp on the other side.

use tandem_tests::Server;

fn talks_with_slixmpp(client: &str) {
    let server = Server::start("localhost", &["ana", "julia"]).unwrap();
    let story = server.story("webclient.py", &[client]).unwrap();
    for step in [
        "logged in over the websocket",
        "a contact in the roster, and her presence",
        "a chat both ways, with a receipt",
        "carbons both ways",
        "the archive in pages, forwards and backwards",
        "invited into a room, and talked",
        "a bookmark that the telephone has too",
        "gone when logged out",
    ] {
        assert!(story.contains(step), "{client}: {step}: {story}");
    }
}

#[test]
fn stanza_js_from_the_command_line_talks_with_slixmpp() {
    talks_with_slixmpp("stanza.mjs");
}

#[test]
fn stanza_js_in_chromium_talks_with_slixmpp() {
    talks_with_slixmpp("chromium.mjs");
}
