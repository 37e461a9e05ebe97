//! Accounts that come, invite, block, report, are administered and go, with slixmpp (XEP-0077, 0133, 0191, 0377, 0401).

use tandem_tests::Server;

const PEOPLE: &[&str] = &["ana", "julia", "carl"];

#[test]
fn accounts_are_invited_blocked_administered_and_removed() {
    let admins = "admins = [\"ana@localhost\"]\n";
    let server = Server::start_set("localhost", PEOPLE, admins, "").unwrap();
    let story = server.story("accounts.py", &["localhost", "closed"]).unwrap();
    for step in [
        "a client that knows a version gets what has changed",
        "blocked, reported and unblocked",
        "registration is closed to strangers",
        "an invitation has a link and a page",
        "who was invited has an account and a contact",
        "a password is changed",
        "an account is removed",
        "accounts are administered",
    ] {
        assert!(story.contains(step), "{step}: {story}");
    }
    let reports = server.run(&["reports"]).unwrap();
    assert!(reports.contains("ana@localhost reports julia@localhost: spam"), "{reports}");
    assert!(reports.contains("said: she sells things"), "{reports}");
    assert!(reports.contains("<body>buy now</body>"), "{reports}");
    let invitation = server.run(&["invite", "--name", "eve"]).unwrap();
    assert!(invitation.contains("xmpp:eve@localhost?register;preauth="), "{invitation}");
}

#[test]
fn an_open_server_lets_a_network_make_few_accounts() {
    let sections = "[registration]\nopen = true\nper_hour = 2\n";
    let server = Server::start_with("localhost", PEOPLE, sections).unwrap();
    let story = server.story("accounts.py", &["localhost", "open"]).unwrap();
    for step in ["anybody makes an account", "but not too many"] {
        assert!(story.contains(step), "{step}: {story}");
    }
}

/// XEP-0050 section 3.4, with the sessions of a client of others.
#[test]
fn a_long_list_is_paged_by_a_client_of_others() {
    let others: Vec<String> = (0..59).map(|n| format!("p{n}")).collect();
    let people: Vec<&str> =
        std::iter::once("ana").chain(others.iter().map(String::as_str)).collect();
    let server =
        Server::start_set("localhost", &people, "admins = [\"ana@localhost\"]\n", "").unwrap();
    let story = server.story("accounts.py", &["localhost", "paged"]).unwrap();
    assert!(story.contains("a long list is read forwards and back"), "{story}");
}

/// The command does what an administrator's command does: nothing of the account stays in the server that runs.
#[test]
fn an_account_that_an_operator_removes_beside_the_server_is_gone_at_once() {
    let server = Server::start("localhost", PEOPLE).unwrap();
    let config = server.data().with_file_name("tandem.toml");
    let variables = [("CONFIG", config.to_str().unwrap())];
    let story = server.story_with("removal.py", &[], &variables).unwrap();
    for step in [
        "her session has ended",
        "the room has let go of her",
        "her contact has let go of her",
        "and once is enough",
        "she does not come back",
    ] {
        assert!(story.contains(step), "{step}: {story}");
    }
    assert!(server.data().join("control.sock").exists());
}
