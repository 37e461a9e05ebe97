//! Two devices of one person and one of another, with slixmpp's plugins: XEP-0308, 0444, 0461, 0333, 0424, 0191, 0377.

use tandem_tests::Server;

#[test]
fn what_is_changed_taken_back_and_blocked_is_so_on_every_device() {
    let server = Server::start("localhost", &["ana", "julia"]).unwrap();
    let story = server.story("devices.py", &[]).unwrap();
    for step in [
        "a correction on both devices",
        "a reaction comes and goes",
        "a reply names what it answers",
        "what one device has shown the other knows",
        "what was taken back is gone from every device's history",
        "blocked and reported on one device, blocked on both",
        "unblocked on the other, and what was refused is nowhere",
    ] {
        assert!(story.contains(step), "{step}: {story}");
    }
    let reports = server.run(&["reports"]).unwrap();
    assert!(reports.contains("julia@localhost reports ana@localhost: abuse"), "{reports}");
}
