//! profanity in a terminal, with slixmpp at the other ends.

use tandem_tests::Server;

#[test]
fn profanity_reads_what_has_waited_and_talks_with_slixmpp_and_a_room() {
    let server = Server::start("localhost", &["ana", "julia"]).unwrap();
    let story = server.story("profanity.py", &["family"]).unwrap();
    for step in [
        "by SCRAM-SHA-",
        "profanity shows what has waited",
        "a chat both ways",
        "carbons both ways",
        "talked in a room",
    ] {
        assert!(story.contains(step), "{step}: {story}");
    }
}
