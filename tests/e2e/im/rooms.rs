//! Rooms (XEP-0045) with slixmpp: a circle is made, talks, keeps order, survives a crash, is raced for, ends.

use tandem_tests::Server;

#[test]
fn a_circle_meets_in_a_room_and_the_room_survives_a_crash() {
    let guests: Vec<String> = (0..12).map(|n| format!("g{n}")).collect();
    let people = ["ana", "bob", "carl"].into_iter().chain(guests.iter().map(String::as_str));
    let mut server = Server::start("localhost", &people.collect::<Vec<_>>()).unwrap();
    let story = server.story("rooms.py", &[]).unwrap();
    for step in [
        "created, locked, configured",
        "a member invites, the invited becomes a member",
        "two devices of one name hear everything",
        "history as it is wished for",
        "a whisper reaches both devices",
        "subject",
        "a new name",
        "self-ping",
        "a moderator takes a message back",
        "kicked and banned",
        "the archive, without what was taken back",
    ] {
        assert!(story.contains(step), "{step}: {story}");
    }
    server.crash_and_restart().unwrap();
    let story = server.story("rooms.py", &["back"]).unwrap();
    for step in [
        "back after a crash",
        "a race for the places leaves ten people inside",
        "no ghosts",
        "destroyed",
    ] {
        assert!(story.contains(step), "{step}: {story}");
    }
}
