//! External components (XEP-0114) with slixmpp, content filters among them.

use tandem_tests::{Server, free_ports};

#[test]
fn a_component_talks_for_its_domain_and_for_no_other() {
    let [port] = free_ports().unwrap();
    let sections = "[[components]]\nhost = \"filter.localhost\"\nsecret = \"between us\"\n";
    let listen = format!("components = [\"127.0.0.1:{port}\"]");
    let server = Server::start_listening("localhost", &["ana"], &listen, sections).unwrap();
    let port = port.to_string();
    let story = server.story_with("component.py", &[], &[("COMPONENTS_PORT", &port)]).unwrap();
    for step in [
        "a component that is away is told of",
        "a wrong secret is refused",
        "messages both ways",
        "requests both ways",
        "presence both ways",
        "a second connection replaces the first",
        "directed presence is taken back",
        "a forged sender ends the stream",
    ] {
        assert!(story.contains(step), "{step}: {story}");
    }
}

/// A filter is shown what is said, in a domain and in its rooms, and takes it back. Stopped, it changes nothing for who
/// talks, and every copy that it missed is counted.
#[test]
fn a_filter_takes_messages_back_and_holds_nobody_up() {
    let [port] = free_ports().unwrap();
    let sections = "[[components]]\nhost = \"filter.localhost\"\nsecret = \"between us\"\n\
                    [[filters]]\nwatch = [\"localhost\", \"*@rooms.localhost\"]\ncomponent = \"filter.localhost\"\n";
    let listen = format!("components = [\"127.0.0.1:{port}\"]");
    let server =
        Server::start_listening("localhost", &["ana", "julia"], &listen, sections).unwrap();
    let port = port.to_string();
    let story = server.story_with("filter.py", &[], &[("COMPONENTS_PORT", &port)]).unwrap();
    for step in [
        "a verdict leaves a tombstone in an archive",
        "a verdict takes back what was said in a room",
        "what is only reported, or nice, stays",
        "nobody waits for a filter that is stopped",
        "nothing is lost",
        "a filter that wakes up does its work again",
    ] {
        assert!(story.contains(step), "{step}: {story}");
    }
    let number = |text: &str, before: &str| -> u64 {
        let rest = text.split(before).nth(1).unwrap_or_else(|| panic!("{before}: {text}"));
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    let metrics = server.http("/metrics").unwrap();
    let dropped = number(&metrics, "\ntandem_filter_dropped_total ");
    assert!(dropped > 0, "the filter's queue has no bound");
    assert_eq!(dropped + number(&story, "shown "), number(&story, "copies "), "{story}");
    let reports = server.run(&["reports", "--last", "100"]).unwrap();
    for report in [
        "<body>bad words</body>",
        "<body>bad words for all</body>",
        "<body>only somewhat bad</body>",
    ] {
        assert!(reports.contains(report), "{report}: {reports}");
    }
    assert!(reports.contains("filter.localhost reports ana@localhost/x: abuse"), "{reports}");
}
