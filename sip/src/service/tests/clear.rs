//! Accounts that are reached by TLS alone (RFC 3261 section 26.2.2), and those that are excepted.

use super::*;

#[test]
fn without_tls_nobody_is_asked_for_a_password_but_whoever_is_excepted() {
    let clear = vec!["ana@example.org".to_owned()];
    let config = Config { require_tls: true, clear_accounts: clear, ..config() };
    let mut world = World::with(config, Vec::new());
    let contact = "Contact: <sip:x@192.0.2.7:5060>\r\n";
    for (user, protocol, status) in [
        ("ana", Protocol::Udp, 401),
        ("carl", Protocol::Udp, 403),
        ("carl", Protocol::Tcp, 403),
        ("carl", Protocol::Ws, 403),
        ("carl", Protocol::Tls, 401),
        ("carl", Protocol::Wss, 401),
    ] {
        let from = flow(protocol, 7, 5060);
        if protocol != Protocol::Udp {
            world.core.stream_opened(from);
        }
        let request = world.request("REGISTER", "sip:example.org", user, contact, "");
        world.receive(Message::Request(request), from);
        assert_eq!(world.last_response().status, status, "{user} {protocol:?}");
    }
    // Who hides its name is known once it has proven it.
    let mut hidden = world.request("MESSAGE", "sip:ana@example.org", "carl", "", "");
    hidden.headers.set("From", "<sip:anonymous@anonymous.invalid>;tag=a");
    world.receive(Message::Request(hidden.clone()), udp(5060));
    assert_eq!(world.last_response().status, 401);
    let signed = world.signed(hidden, "carl", "secret", Algorithm::Sha256);
    world.receive(Message::Request(signed), udp(5060));
    assert_eq!(world.last_response().status, 403);
    assert!(world.messages.is_empty());
}
