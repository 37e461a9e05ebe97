//! XMPP with slixmpp (RFC 6120, RFC 6121): login, chat, presence, offline messages, crashes.

use tandem_tests::Server;

const PEOPLE: &[&str] = &["ana", "julia", "carl"];

#[test]
fn every_mechanism_logs_in_over_every_transport_and_a_wrong_password_does_not() {
    let server = Server::start("care.example", PEOPLE).unwrap();
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"] {
        for transport in ["starttls", "direct"] {
            let story = server.story("login.py", &["care.example", mechanism, transport]).unwrap();
            assert!(story.contains("logged in"), "{mechanism} {transport}: {story}");
        }
    }
    let story = server.story("login.py", &["care.example", "wrong-password", "starttls"]).unwrap();
    assert!(story.contains("refused"), "{story}");
    let metrics = server.http("/metrics").unwrap();
    assert!(metrics.contains("tandem_xmpp_logins_refused_total 1"), "{metrics}");
    assert!(server.http("/health/ready").unwrap().starts_with("HTTP/1.1 200"));
}

#[test]
fn a_family_subscribes_writes_and_hears_back() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let story = server.story("chat.py", &["localhost"]).unwrap();
    let steps = [
        "subscription asked and granted",
        "presence seen both ways",
        "message delivered",
        "receipt returned",
        "typing passed",
        "carbon of a received message",
        "carbon of a sent message",
        "unknown account refused",
        "gone when logged out",
        "echo answered",
        "blocked by nobody: jingle iq passes untouched",
    ];
    for step in steps {
        assert!(story.contains(step), "{step}: {story}");
    }
    assert!(server.stop().unwrap());
}

#[test]
fn a_message_that_was_taken_survives_kill_nine() {
    let mut server = Server::start("localhost", PEOPLE).unwrap();
    server.story("offline.py", &["send"]).unwrap();
    server.crash_and_restart().unwrap();
    let story = server.story("offline.py", &["receive"]).unwrap();
    assert!(story.contains("20 messages in order"), "{story}");
    // They were delivered: they do not come again.
    let story = server.story("offline.py", &["receive-none"]).unwrap();
    assert!(story.contains("nothing waits"), "{story}");
}

#[test]
fn a_stranger_s_garbage_ends_its_own_stream_only() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let story = server.story("garbage.py", &[]).unwrap();
    for step in [
        "16 KiB",
        "300 KiB stanza",
        "nested elements",
        "not XML",
        "attributes",
        "the other session noticed nothing",
    ] {
        assert!(story.contains(step), "{step}: {story}");
    }
}

#[test]
fn a_browser_finds_the_websocket_and_logs_in_over_it() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let story = server.story("websocket.py", &[]).unwrap();
    assert!(story.contains("bound over the websocket"), "{story}");
}

#[test]
fn profanity_logs_in_and_hears_the_echo() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let story = server.story("profanity.py", &["echo"]).unwrap();
    assert!(story.contains("profanity shows the echo"), "{story}");
}
