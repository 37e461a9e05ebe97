//! RFC 4475 and RFC 5118 from outside the process: each of their messages over UDP and over TCP, the answer that it earns,
//! and a server that goes on as if nothing had been.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use tandem_tests::{Dice, Server};

/// What a message earns.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Earns {
    /// One of these.
    Status(&'static [u16]),
    /// It was understood: an answer of the server behind the parser, whoever it thinks may ask.
    Understood,
    /// Nothing.
    Silence,
}
use Earns::{Silence, Status, Understood};

/// What a connection does after it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum After {
    /// It takes the next message.
    GoesOn,
    /// It is closed: where the next message begins is not known.
    Closes,
    /// It waits for the rest of the message.
    Waits,
}
use After::{Closes, GoesOn, Waits};

const BAD: Earns = Status(&[400]);

/// Name, over UDP, over TCP, and what the connection does then. By `section` of RFC 4475.
const RFC_4475: &[(&str, Earns, Earns, After)] = &[
    // 3.1.1: valid.
    ("wsinv", Understood, Understood, GoesOn),
    ("intmeth", Status(&[501]), Status(&[501]), GoesOn),
    ("esc01", Understood, Understood, GoesOn),
    ("escnull", Understood, Understood, GoesOn),
    ("esc02", Status(&[501]), Status(&[501]), GoesOn),
    ("lwsdisp", Understood, Understood, GoesOn),
    ("longreq", Understood, Understood, GoesOn),
    // On a stream the second request is one of its own.
    ("dblreq", Understood, Understood, GoesOn),
    ("semiuri", Understood, Understood, GoesOn),
    ("transports", Understood, Understood, GoesOn),
    ("mpart01", Understood, Understood, GoesOn),
    ("unreason", Silence, Silence, GoesOn),
    ("noreason", Silence, Silence, GoesOn),
    // 3.1.2: invalid.
    ("badinv01", BAD, BAD, GoesOn),
    ("clerr", BAD, Silence, Waits),
    ("ncl", BAD, BAD, Closes),
    ("scalar02", BAD, BAD, GoesOn),
    ("scalarlg", Silence, Silence, GoesOn),
    ("quotbal", BAD, BAD, GoesOn),
    ("ltgtruri", BAD, BAD, GoesOn),
    ("lwsruri", BAD, BAD, GoesOn),
    ("lwsstart", BAD, BAD, GoesOn),
    ("trws", BAD, BAD, GoesOn),
    ("escruri", BAD, BAD, GoesOn),
    ("baddate", Understood, Understood, GoesOn),
    ("regbadct", BAD, BAD, GoesOn),
    ("badaspec", BAD, BAD, GoesOn),
    ("baddn", BAD, BAD, GoesOn),
    ("badvers", Status(&[505]), Status(&[505]), GoesOn),
    ("mismatch01", BAD, BAD, GoesOn),
    ("mismatch02", Status(&[501, 400]), Status(&[501, 400]), GoesOn),
    ("bigcode", Silence, Silence, GoesOn),
    // 3.2: transactions.
    ("badbranch", BAD, BAD, GoesOn),
    // 3.3: applications.
    ("insuf", BAD, BAD, GoesOn),
    ("unkscm", Status(&[416]), Status(&[416]), GoesOn),
    ("novelsc", Status(&[416]), Status(&[416]), GoesOn),
    ("unksm2", BAD, BAD, GoesOn),
    ("bext01", Status(&[420]), Status(&[420]), GoesOn),
    ("invut", Status(&[415]), Status(&[415]), GoesOn),
    ("regaut01", Status(&[401]), Status(&[401]), GoesOn),
    ("multi01", BAD, BAD, GoesOn),
    ("mcl01", BAD, BAD, Closes),
    ("bcast", Silence, Silence, GoesOn),
    ("zeromf", Understood, Understood, GoesOn),
    ("cparam01", Understood, Understood, GoesOn),
    ("cparam02", Understood, Understood, GoesOn),
    ("regescrt", Understood, Understood, GoesOn),
    ("sdp01", Status(&[406]), Status(&[406]), GoesOn),
    // 3.4: of a time before. A stream cannot be framed without Content-Length (RFC 3261 section 18.3).
    ("inv2543", Understood, BAD, Closes),
];

const RFC_5118: &[(&str, Earns, Earns, After)] = &[
    ("ipv6-good", Understood, Understood, GoesOn),
    ("ipv6-bad", BAD, BAD, GoesOn),
    ("port-ambiguous", Understood, Understood, GoesOn),
    ("port-unambiguous", Understood, Understood, GoesOn),
    ("via-received-param-with-delim", Understood, Understood, GoesOn),
    ("via-received-param-no-delim", Understood, Understood, GoesOn),
    ("ipv6-in-sdp", Understood, Understood, GoesOn),
    ("mult-ip-in-header", Understood, Understood, GoesOn),
    ("mult-ip-in-sdp", Understood, Understood, GoesOn),
    ("ipv4-mapped-ipv6", Understood, Understood, GoesOn),
    ("ipv6-bug-abnf-3-colons", Understood, Understood, GoesOn),
    ("ipv6-correct-abnf-2-colons", Understood, Understood, GoesOn),
];

/// The bytes of each message, by name.
fn messages(text: &str) -> Vec<(String, Vec<u8>)> {
    let sections = text.split("\n=== ").skip(1);
    let named = sections.map(|section| section.split_once('\n').unwrap());
    named.map(|(name, lines)| (name.to_owned(), bytes(lines.trim_end_matches('\n')))).collect()
}

/// RFC 4475 section 2.1: what its marks stand for. Lines end in CRLF; a head without a body ends in an empty line.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut is_one_line = false;
    let mut is_hex = false;
    let mut has_body = false;
    for line in text.split('\n') {
        match line {
            "<allOneLine>" => is_one_line = true,
            "</allOneLine>" => {
                is_one_line = false;
                out.extend(b"\r\n");
            }
            "<hex>" => is_hex = true,
            "</hex>" => {
                is_hex = false;
                out.extend(b"\r\n");
            }
            line if is_hex => out.extend(hex(line)),
            line => {
                has_body |= line.is_empty();
                inline(line, &mut out);
                if !is_one_line {
                    out.extend(b"\r\n");
                }
            }
        }
    }
    if !has_body {
        out.extend(b"\r\n");
    }
    out
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

/// `<hex>..</hex>` and `<repeat count=n>..</repeat>` within a line.
fn inline(line: &str, out: &mut Vec<u8>) {
    let mut rest = line;
    while let Some(at) = rest.find("<hex>").into_iter().chain(rest.find("<repeat count=")).min() {
        out.extend(&rest.as_bytes()[..at]);
        rest = &rest[at..];
        if let Some(inner) = rest.strip_prefix("<hex>") {
            let (digits, after) = inner.split_once("</hex>").unwrap();
            out.extend(hex(digits));
            rest = after;
        } else {
            let inner = rest.strip_prefix("<repeat count=").unwrap();
            let (count, inner) = inner.split_once('>').unwrap();
            let (word, after) = inner.split_once("</repeat>").unwrap();
            out.extend(word.repeat(count.trim_matches('"').parse().unwrap()).as_bytes());
            rest = after;
        }
    }
    out.extend(rest.as_bytes());
}

/// The message as one that was not sent before: some share their branch and Call-ID, and would be repeats of each other.
fn fresh(message: &[u8], mark: &str) -> Vec<u8> {
    let branch = find(message, b"branch=z9hG4bK").filter(|at| {
        // Of `badbranch` the cookie is all.
        message.get(at + 14).is_some_and(|byte| !matches!(byte, b'\r' | b';'))
    });
    let call_id = [&b"Call-ID:"[..], b"Call-ID :", b"call-id:", b"\ni:"]
        .into_iter()
        .find_map(|name| find(message, name));
    let ends = |from: usize, stops: &[u8]| {
        message[from..].iter().position(|byte| stops.contains(byte)).map(|n| from + n)
    };
    let mut places: Vec<usize> = Vec::new();
    places.extend(branch.and_then(|at| ends(at, b"\r;,")));
    places.extend(call_id.and_then(|at| ends(at + 2, b"\r")));
    places.sort_unstable_by(|a, b| b.cmp(a));
    let mut out = message.to_vec();
    for at in places {
        out.splice(at..at, mark.bytes());
    }
    out
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// A question that is answered at once; its own Call-ID tells its answer from others.
fn probe(number: usize, at: SocketAddr) -> Vec<u8> {
    format!(
        "OPTIONS sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKprobe{number};rport\r\n\
         From: <sip:probe@example.com>;tag=p\r\nTo: <sip:example.com>\r\nCall-ID: probe-{number}\r\n\
         CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Whether an answer is what was earned. A 100 on its way is none.
fn fits(found: Option<u16>, expected: Earns) -> bool {
    match (found, expected) {
        (None, Silence) => true,
        (Some(found), Status(list)) => list.contains(&found),
        (Some(found), Understood) => !matches!(found, 400 | 500..=599),
        _ => false,
    }
}

/// Over UDP from port 5060 of an address of our own: most of the messages name no port to answer to.
fn over_udp(socket: &UdpSocket, message: &[u8], number: usize) -> Option<u16> {
    socket.send(message).unwrap();
    socket.send(&probe(number, socket.local_addr().unwrap())).unwrap();
    let mut first = None;
    loop {
        let mut buffer = [0; 65_535];
        let count = socket.recv(&mut buffer).expect("the server answers no more");
        let answer = String::from_utf8_lossy(&buffer[..count]).into_owned();
        if answer.contains(&format!("probe-{number}\r\n")) {
            return first;
        }
        // What a lost answer would be sent again for belongs to a message before.
        if status(&answer) > 100 && first.is_none() && !answer.contains("probe-") {
            first = Some(status(&answer));
        }
    }
}

/// The statuses that come back on a connection, and whether it goes on.
fn over_tcp(server: u16, message: &[u8], number: usize, after: After) -> (Option<u16>, After) {
    let mut stream = TcpStream::connect(("127.0.0.1", server)).unwrap();
    let patience = if after == Waits { Duration::from_secs(2) } else { Duration::from_secs(20) };
    stream.set_read_timeout(Some(patience)).unwrap();
    let probe = probe(number, stream.local_addr().unwrap());
    // A server that has closed already is found out by reading.
    let _ = stream.write_all(message).and_then(|()| stream.write_all(&probe));
    let (mut heard, mut buffer) = (String::new(), [0; 65_535]);
    let is_probed = |heard: &str| heard.contains(&format!("probe-{number}\r\n"));
    let after = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break Closes,
            Ok(count) => heard += &String::from_utf8_lossy(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break Closes,
            Err(_) => break Waits,
        }
        if is_probed(&heard) {
            break GoesOn;
        }
    };
    let answers = heard.split("\r\n\r\n").filter(|answer| !is_probed(answer));
    (answers.map(status).find(|status| *status > 100), after)
}

fn tortures(text: &str, table: &[(&str, Earns, Earns, After)]) {
    let server = Server::start("example.com", &["user"]).unwrap();
    let messages = messages(text);
    assert_eq!(messages.len(), table.len());
    let mut wrong = Vec::new();
    for (number, ((name, message), (known, udp, tcp, after))) in
        messages.iter().zip(table).enumerate()
    {
        assert_eq!(name, known);
        let octet = || u8::try_from(1 + Dice.number(250)).unwrap();
        let socket = (0..100).find_map(|_| {
            UdpSocket::bind((Ipv4Addr::new(127, octet(), octet(), octet()), port_of(message))).ok()
        });
        let socket = socket.expect("no address of our own");
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.connect(("127.0.0.1", server.sip)).unwrap();
        let found = over_udp(&socket, &fresh(message, &format!("u{number}")), number);
        if !fits(found, *udp) {
            wrong.push(format!("{name} over UDP: {found:?}, not {udp:?}"));
        }
        let found = over_tcp(server.sip, &fresh(message, &format!("t{number}")), number, *after);
        if !fits(found.0, *tcp) || found.1 != *after {
            wrong.push(format!("{name} over TCP: {found:?}, not {tcp:?} {after:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(server.http("/health/ready").unwrap().starts_with("HTTP/1.1 200"));
    assert!(server.stop().unwrap(), "it stops in good order");
}

/// Where the answer to a message goes: the port of its first Via.
fn port_of(message: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(message).replace("\r\n ", " ");
    let via = text.lines().find(|line| {
        let name = line.split(':').next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("via") || name.eq_ignore_ascii_case("v")
    });
    let sent_by = via.and_then(|via| via.split(';').next()).unwrap_or_default();
    let port = sent_by.rsplit_once(':').filter(|(before, port)| {
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        is_number && (!before.contains('[') || before.ends_with(']'))
    });
    port.and_then(|(_, port)| port.parse().ok()).unwrap_or(5060)
}

#[test]
fn each_message_of_rfc_4475_earns_its_outcome_from_outside() {
    tortures(include_str!("torture/rfc4475.txt"), RFC_4475);
}

#[test]
fn each_message_of_rfc_5118_earns_its_outcome_from_outside() {
    tortures(include_str!("torture/rfc5118.txt"), RFC_5118);
}
