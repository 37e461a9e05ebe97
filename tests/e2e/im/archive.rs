//! History with slixmpp: the archive (XEP-0313) and what may be done to messages that are in it.

use tandem_tests::Server;

#[test]
fn two_devices_read_one_history_and_what_is_taken_back_stays_gone() {
    let server = Server::start("localhost", &["ana", "bob"]).unwrap();
    let story = server.story("archive.py", &[]).unwrap();
    for step in [
        "thirty messages, each with one id",
        "carbons have the sender's id",
        "pages forwards",
        "pages backwards",
        "a window of time",
        "a correction is a message",
        "a reaction is archived",
        "a retracted message is a tombstone in both archives",
        "a resend is the same message",
        "hints are followed",
        "wishes are followed",
        "somebody else's archive is closed",
        "who was away reads it once",
    ] {
        assert!(story.contains(step), "{step}: {story}");
    }
}
