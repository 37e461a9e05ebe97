//! Federation (RFC 6120, XEP-0220, XEP-0178, XEP-0368) with Prosody and ejabberd: names, certificates and the stories of
//! two people at two servers.

use tandem_tests::names::{Authority, Names};
use tandem_tests::neighbour::{Neighbour, Proof, installed};
use tandem_tests::{Server, free_ports};

const STEPS: &[&str] = &[
    "messages both ways",
    "subscribed both ways",
    "presence both ways",
    "probes answered both ways",
    "gone both ways",
    "requests both ways",
    "what cannot be delivered comes back",
    "talked in a room of the other server",
    "read the archive of a room of the other server",
    "talked in a room of this server",
    "read the archive of a room of this server",
];

/// Our server at `domain`, known to the test's DNS, with a certificate of the test's authority.
fn ours(domain: &str, names: &Names, authority: &Authority, more: &str) -> Server {
    let rooms = format!("rooms.{domain}");
    let (certificate, key) = authority.issue(&[domain, &rooms]).unwrap();
    let [s2s, s2s_tls] = free_ports().unwrap();
    names.serve(domain, s2s, false);
    names.serve(&rooms, s2s, false);
    let listen = format!("s2s = [\"127.0.0.1:{s2s}\"]\ns2s_tls = [\"127.0.0.1:{s2s_tls}\"]");
    let sections = format!(
        "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n[dns]\nservers = [\"{}\"]\n[federation]\n{more}\n",
        certificate.display(),
        key.display(),
        names.address,
    );
    Server::start_listening(domain, &["ana"], &listen, &sections).unwrap()
}

fn tell(server: &Server, neighbour: &Neighbour, domains: [&str; 2]) {
    let rooms = format!("conference.{}", domains[1]);
    let port = neighbour.c2s.to_string();
    let story = server.story("federation.py", &[domains[0], domains[1], &port, &rooms]).unwrap();
    for step in STEPS {
        assert!(story.contains(step), "{step}: {story}");
    }
}

fn meet(
    name: &str,
    proof: Proof,
    start: fn(&str, &Names, &Authority, Proof) -> anyhow::Result<Neighbour>,
) {
    installed(&["prosody", "erl", "unshare"]).unwrap();
    let (names, authority) = (Names::start().unwrap(), Authority::new().unwrap());
    let (here, there) = (format!("{name}-here.test"), format!("{name}-there.test"));
    let more = match proof {
        Proof::Certificate => format!("extra_roots = [\"{}\"]", authority.root().display()),
        // Nobody trusts the authority: nothing but dialback is left.
        Proof::Dialback => "require_valid_certificates = false".to_owned(),
    };
    let server = ours(&here, &names, &authority, &more);
    let neighbour = start(&there, &names, &authority, proof).unwrap();
    names.serve(&there, neighbour.s2s, false);
    names.serve(&format!("conference.{there}"), neighbour.s2s, false);
    tell(&server, &neighbour, [&here, &there]);
    let (by, not) = match proof {
        Proof::Certificate => ("external", "dialback"),
        Proof::Dialback => ("dialback", "external"),
    };
    // Each direction is proven as the neighbour was told to.
    let log = server.log();
    for line in ["stream from another server", "stream to another server"] {
        let of = |by: &str| {
            // The log is coloured between the name and the value.
            let by = format!("\"{by}\"");
            log.iter().filter(|l| l.contains(line) && l.contains(&by)).count()
        };
        assert!(of(by) > 0 && of(not) == 0, "{line}: {log:?}");
    }
    assert!(server.stop().unwrap());
}

#[test]
fn prosody_and_we_know_each_other_by_certificate() {
    meet("pc", Proof::Certificate, Neighbour::prosody);
}

#[test]
fn prosody_and_we_know_each_other_by_dialback() {
    meet("pd", Proof::Dialback, Neighbour::prosody);
}

#[test]
fn ejabberd_and_we_know_each_other_by_certificate() {
    meet("ec", Proof::Certificate, Neighbour::ejabberd);
}

#[test]
fn ejabberd_and_we_know_each_other_by_dialback() {
    meet("ed", Proof::Dialback, Neighbour::ejabberd);
}
