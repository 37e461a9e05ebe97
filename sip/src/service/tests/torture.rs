//! RFC 4475: what those of its messages earn that only a whole server can judge (sections 3.1.2 and 3.2 to 3.4).

use std::fmt::Write as _;

use super::*;

/// A request with the fields given; what is not given is as usual, `-Name` leaves a field out.
fn text(start: &str, fields: &[&str], body: &str) -> String {
    let method = start.split(' ').next().unwrap_or_default();
    let usual = [
        ("Via", "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKt".to_owned()),
        ("From", "<sip:ana@example.org>;tag=1".to_owned()),
        ("To", "<sip:carl@example.org>".to_owned()),
        ("Call-ID", "torture".to_owned()),
        ("CSeq", format!("1 {method}")),
        ("Max-Forwards", "70".to_owned()),
        ("Contact", "<sip:ana@192.0.2.7>".to_owned()),
    ];
    let mut text = format!("{start}\r\n");
    for (name, value) in usual {
        let own = |field: &&&str| {
            let named = field.trim_start_matches('-').split(':').next().unwrap_or_default();
            named.eq_ignore_ascii_case(name)
        };
        if !fields.iter().any(|field| own(&field)) {
            write!(text, "{name}: {value}\r\n").unwrap();
        }
    }
    for field in fields.iter().filter(|field| !field.starts_with('-')) {
        write!(text, "{field}\r\n").unwrap();
    }
    format!("{text}\r\n{body}")
}

/// The first thing the server says to these bytes.
fn earns(world: &mut World, text: &str) -> Option<String> {
    world.sent.clear();
    match parse_datagram(Bytes::from(text.to_owned()), &Limits::default()) {
        Ok(message) => world.receive(message, udp(5060)),
        Err(error) => {
            world.core.handle_bad(&error, udp(5060), world.now);
            world.drain();
        }
    }
    world.sent.first().map(|(_, message)| word(message))
}

/// Name, start line, fields, body, and the status that comes back first.
type Row =
    (&'static str, &'static str, &'static [&'static str], &'static str, Option<&'static str>);

const INVITE: &str = "INVITE sip:carl@example.org SIP/2.0";
const REGISTER: &str = "REGISTER sip:example.org SIP/2.0";
const OPTIONS: &str = "OPTIONS sip:example.org SIP/2.0";
const OK: &str = "SIP/2.0 200 OK";
const BRANCHES: [&str; 2] = [
    "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa",
    "Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bKb",
];

const TABLE: [Row; 22] = [
    ("badbranch", INVITE, &["Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK"], "", Some("400")),
    ("insuf", INVITE, &["-Call-ID", "-From", "-To"], "", Some("400")),
    ("unkscm", "OPTIONS nobodyKnowsThisScheme:x SIP/2.0", &[], "", Some("416")),
    ("novelsc", "OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0", &[], "", Some("416")),
    ("unksm2", REGISTER, &["To: isbn:2983792873"], "", Some("400")),
    ("bext01", OPTIONS, &["Require: nothingSupportsThis"], "", Some("420")),
    ("invut", INVITE, &["Content-Type: application/unknownformat"], "<audio/>", Some("415")),
    ("regaut01", REGISTER, &["Authorization: NoOneKnowsThisScheme a=b"], "", Some("401")),
    ("multi01", INVITE, &["CSeq: 5 INVITE", "Call-ID: a", "Call-ID: b"], "", Some("400")),
    ("zeromf, for us", OPTIONS, &["Max-Forwards: 0"], "", Some("200")),
    ("zeromf, to pass on", INVITE, &["Max-Forwards: 0"], "", Some("483")),
    (
        "zeromf, a text",
        "MESSAGE sip:carl@example.org SIP/2.0",
        &["Max-Forwards: 0"],
        "",
        Some("483"),
    ),
    ("bcast", OK, &["CSeq: 1 INVITE", BRANCHES[0], BRANCHES[1]], "", None),
    ("sdp01", INVITE, &["Accept: text/nobodyKnowsThis", "Content-Length: 0"], "", Some("406")),
    (
        "inv2543",
        INVITE,
        &["Via: SIP/2.0/UDP 192.0.2.7", "From: sip:ana@example.org", "-Max-Forwards", "-Contact"],
        "",
        Some("401"),
    ),
    ("badvers", "OPTIONS sip:example.org SIP/7.0", &[], "", Some("505")),
    ("mismatch01", OPTIONS, &["CSeq: 8 INVITE"], "", Some("400")),
    ("mismatch02", "NEWMETHOD sip:example.org SIP/2.0", &["CSeq: 8 INVITE"], "", Some("501")),
    ("intmeth", "!Meth0123_*+`.%'~ sip:example.org SIP/2.0", &[], "", Some("501")),
    ("bigcode", "SIP/2.0 4294967301 no", &["CSeq: 1 INVITE"], "", None),
    ("a method of others", "REFER sip:ana@example.org SIP/2.0", &[], "", Some("405")),
    (
        "a call that is not",
        "BYE sip:example.org SIP/2.0",
        &["To: <sip:carl@example.org>;tag=none"],
        "",
        Some("481"),
    ),
];

#[test]
fn the_torture_messages_earn_what_the_rfc_says() {
    for (name, start, fields, body, expected) in TABLE {
        let mut world = World::new();
        assert_eq!(earns(&mut world, &text(start, fields, body)).as_deref(), expected, "{name}");
        world.pass(40.0);
        assert!(world.is_empty(), "{name}");
    }
}

#[test]
fn what_is_refused_says_what_would_do() {
    let table = [
        ("REFER sip:ana@example.org SIP/2.0", "", "Allow", "INVITE, ACK"),
        ("NEWMETHOD sip:ana@example.org SIP/2.0", "", "Allow", "INVITE"),
        ("OPTIONS sip:example.org SIP/2.0", "", "Allow-Events", "presence"),
        ("OPTIONS sip:example.org SIP/2.0", "", "Accept", "application/sdp"),
        ("OPTIONS sip:example.org SIP/2.0", "Require: a, b", "Unsupported", "a, b"),
        ("INVITE sip:carl@example.org SIP/2.0", "Content-Type: a/b", "Accept", "application/sdp"),
    ];
    for (start, field, name, value) in table {
        let mut world = World::new();
        let fields: Vec<&str> = Some(field).filter(|field| !field.is_empty()).into_iter().collect();
        earns(&mut world, &text(start, &fields, "body"));
        let found = world.last_response().headers.get(name).unwrap_or_default().to_owned();
        assert!(found.contains(value), "{start}: {name}: {found}");
    }
}

/// An escaped Route in a Contact (regescrt) and headers in one are not carried out: the contact is refused.
#[test]
fn contacts_are_kept_as_written_or_refused() {
    let table = [
        ("<sip:ana@192.0.2.7;unknownparam>", 200),
        ("sip:ana@192.0.2.7;unknownparam", 200),
        ("<sip:ana@192.0.2.7?Route=%3Csip:evil%3E>", 400),
        ("<tel:+351>", 403),
    ];
    for (contact, status) in table {
        let mut world = World::new();
        assert_eq!(
            world.register("ana", &format!("Contact: {contact}\r\n"), udp(5060)),
            status,
            "{contact}"
        );
        if status == 200 {
            let is_inside = contact.starts_with('<');
            assert_eq!(world.binding("ana").contact.contains("unknownparam"), is_inside);
        }
    }
}
