//! External components (XEP-0114) with slixmpp.

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
