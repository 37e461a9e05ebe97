//! Logins by every mechanism and profile, with slixmpp and @xmpp/client.

use tandem_tests::Server;

const PEOPLE: &[&str] = &["ana", "julia"];

/// RFC 6120 section 6, RFC 5802, RFC 7677.
#[test]
fn slixmpp_logs_in_by_every_mechanism_over_every_transport() {
    let server = Server::start("care.example", PEOPLE).unwrap();
    for mechanism in ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"] {
        for transport in ["starttls", "direct"] {
            let story = server.story("login.py", &["care.example", mechanism, transport]).unwrap();
            assert!(story.contains("logged in"), "{mechanism} {transport}: {story}");
        }
    }
}

/// XEP-0388, XEP-0386, XEP-0484.
#[test]
fn xmppjs_logs_in_by_sasl2_binds_inline_and_comes_back_by_a_token() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    for transport in ["tcp", "tls", "websocket", "browser"] {
        let story = server.story("xmppjs.mjs", &["localhost", transport]).unwrap();
        for step in [
            "bound by its password in one exchange",
            "the session works",
            "a token was given",
            "logged in again by the token",
            "the older session of the same installation has ended",
            "the token of another installation was refused and the password taken",
            "a wrong password was refused",
        ] {
            assert!(story.contains(step), "{transport}: {step}: {story}");
        }
    }
}

/// RFC 5929, XEP-0474 and XEP-0484: logins bound to the certificate, by password and by a token that outlives the program.
#[test]
fn a_login_is_bound_to_the_certificate_and_its_token_survives_kill_nine() {
    let mut server = Server::start("localhost", PEOPLE).unwrap();
    let story = server.story("sasl2.py", &["password"]).unwrap();
    assert!(story.contains("bound to the channel"), "{story}");
    let token = story.lines().find_map(|line| line.strip_prefix("token ")).unwrap().to_owned();
    server.crash_and_restart().unwrap();
    for (arguments, outcome) in [
        (&["token", &token][..], "logged in by the token"),
        (&["token", &token, "back"], "logged in by the token"),
        (&["token", &token], "refused"),
    ] {
        let story = server.story("sasl2.py", arguments).unwrap();
        assert!(story.contains(outcome), "{story}");
    }
}
