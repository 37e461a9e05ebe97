//! Headers, URIs, limits and framing in tables; printing what was parsed as a property.

use proptest::prelude::*;

use super::header::*;
use super::stream::{Frame, Framer};
use super::torture_tests::message;
use super::*;

fn request(fields: &[&str]) -> Request {
    match parse_datagram(
        message("OPTIONS sip:user@example.com SIP/2.0", fields, ""),
        &Limits::default(),
    ) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn status(bytes: Vec<u8>) -> Option<u16> {
    parse_datagram(bytes, &Limits::default()).unwrap_err().status()
}

#[test]
fn repeated_single_fields_are_refused() {
    for field in [
        "From: <sip:a@b>",
        "t: <sip:a@b>",
        "i: 2",
        "CSeq: 1 OPTIONS",
        "Max-Forwards: 1",
        "Content-Length: 0",
    ] {
        let name = field.split(':').next().unwrap();
        let usual = match Name::of(name.as_bytes()) {
            Name::From => "From: <sip:a@b>;tag=1",
            Name::To => "To: <sip:a@b>",
            Name::CallId => "Call-ID: 1",
            _ => field,
        };
        let bytes = message("OPTIONS sip:user@example.com SIP/2.0", &[usual, field], "");
        assert_eq!(status(bytes), Some(400), "{field}");
    }
}

#[test]
fn limits_hold() {
    let start = "OPTIONS sip:user@example.com SIP/2.0";
    let long = format!("X: {}", "x".repeat(8 * 1024));
    let folded = format!("X: {}", "x\r\n ".repeat(5 * 1024));
    let many = vec!["X: y"; 195];
    assert_eq!(status(message(start, &[&long], "")), Some(400));
    assert_eq!(status(message(start, &[&folded], "")), Some(400));
    assert_eq!(status(message(start, &many, "")), Some(400));
    assert!(parse_datagram(message(start, &many[1..], ""), &Limits::default()).is_ok());
    assert_eq!(status(message(start, &[], &"x".repeat(64 * 1024))), Some(513));
}

#[test]
fn a_refusal_keeps_what_a_response_needs() {
    let bytes =
        message("INVITE sip:user@example.com SIP/2.0", &["CSeq: x INVITE", "Subject: secret"], "");
    let response = parse_datagram(bytes, &Limits::default()).unwrap_err().response("abc").unwrap();
    assert_eq!(response.headers.to().unwrap().tag(), Some("abc"));
    assert_eq!(response.headers.get("CSeq"), Some("x INVITE"));
    assert!(!response.headers.has("Subject"));
    assert_eq!(status(message("ACK sip:user@example.com SIP/2.0", &["CSeq: x ACK"], "")), None);
    assert_eq!(status(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()), None);
}

#[test]
fn fields_keep_their_names_and_lists_split_where_they_should() {
    let request = request(&[
        "m: \"a, <b>\" <sip:a,c@b>;q=0.7, sip:d@e;expires=60",
        "X-Odd:  kept  ",
        "Supported:",
    ]);
    let Contacts::List(contacts) = request.headers.contacts().unwrap() else { panic!() };
    let found: Vec<_> = contacts
        .iter()
        .map(|contact| (contact.display.as_deref(), contact.q(), contact.expires()))
        .collect();
    assert_eq!(found.len(), 2);
    assert_eq!(found, [(Some("a, <b>"), Some(700), None), (None, None, Some(60))]);
    assert_eq!(request.headers.field("Contact").unwrap().name(), "m");
    assert_eq!(request.headers.get("x-odd"), Some("kept"));
    assert_eq!(request.headers.list::<Supported>().unwrap(), []);
}

#[test]
fn a_star_stands_alone() {
    assert_eq!(request(&["Contact: *"]).headers.contacts(), Ok(Contacts::All));
    let bad = message("REGISTER sip:x SIP/2.0", &["Contact: *, <sip:a@b>"], "");
    assert_eq!(status(bad), Some(400));
}

#[test]
fn values_cannot_add_fields() {
    let mut headers = Headers::new();
    headers.push("Subject", "hello\r\nFrom: <sip:x@y>");
    assert_eq!(headers.get("s"), Some("hello  From: <sip:x@y>"));
}

#[test]
fn the_first_of_a_list_can_be_changed_and_taken() {
    let mut headers = request(&["Via: SIP/2.0/UDP a;branch=z9hG4bK1;rport, SIP/2.0/UDP b"]).headers;
    let mut via = headers.top_via().unwrap();
    via.note_source("192.0.2.7:4321".parse().unwrap());
    headers.replace_first(&via);
    assert_eq!(headers.top_via().unwrap().rport(), Some(4321));
    assert_eq!(headers.top_via().unwrap().received(), Some("192.0.2.7".parse().unwrap()));
    headers.remove_first::<Via>();
    assert_eq!(headers.get("Via"), Some("SIP/2.0/UDP b"));
    headers.remove_first::<Via>();
    assert!(!headers.has("Via"));
}

#[test]
fn uris_compare_as_rfc_3261_says() {
    let rows = [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            true,
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            true,
        ),
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", false),
        ("tel:+1-201-555", "tel:+1201555", true),
    ];
    for (one, other, expected) in rows {
        assert_eq!(
            Uri::parse(one).unwrap().is_same(&Uri::parse(other).unwrap()),
            expected,
            "{one} {other}"
        );
    }
}

#[test]
fn headers_print_what_they_read() {
    let date = "Sat, 13 Nov 2010 23:29:00 GMT";
    assert_eq!(
        Date::parse(date).map(|date| (date.0, date.to_string())),
        Ok((1_289_690_940, date.to_owned()))
    );
    assert_eq!(Date(951_782_400).to_string(), "Tue, 29 Feb 2000 00:00:00 GMT");
    assert!(Date::parse("Fri, 01 Jan 2010 16:00:00 EST").is_err());
    assert_eq!(RetryAfter::parse("120 (I'm in a meeting);duration=3"), Ok(RetryAfter(120)));
    let warning = "370 devnull \"Choose a bigger pipe\"";
    assert_eq!(Warning::parse(warning).unwrap().to_string(), warning);
    let reason = Reason::sip(200, "Call \"completed\" elsewhere");
    assert_eq!(Reason::parse(&reason.to_string()), Ok(reason));
    let contact = Contact::parse("<sip:a@b>;+sip.instance=\"<urn:uuid:1>\";reg-id=2").unwrap();
    assert_eq!((contact.instance().as_deref(), contact.reg_id()), (Some("urn:uuid:1"), Some(2)));
}

#[test]
fn a_stream_is_cut_wherever_it_was_split() {
    let one = message("OPTIONS sip:a@b SIP/2.0", &["l: 4"], "body");
    let mut stream = b"\r\n\r\n".to_vec();
    stream.extend_from_slice(&one);
    stream.extend_from_slice(b"\r\n");
    stream.extend_from_slice(&one);
    for step in [1, 3, 7, 50, stream.len()] {
        let mut framer = Framer::new(Limits::default());
        let mut frames = Vec::new();
        for chunk in stream.chunks(step) {
            framer.push(chunk);
            while let Some(frame) = framer.poll().unwrap() {
                frames.push(frame);
            }
        }
        assert!(
            matches!(&frames[..], [Frame::Ping, Frame::Message(Ok(_)), Frame::Message(Ok(_))]),
            "{step}: {frames:?}"
        );
        framer.expect_pong();
        framer.push(b"\r\n");
        assert_eq!(framer.poll(), Ok(Some(Frame::Pong)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn an_address_reads_as_it_was_printed(display in "[ -~äß]{0,20}", user in "\\PC{1,20}", tag in "[a-z0-9.]{1,8}", port in any::<Option<u16>>()) {
        let mut uri = Uri::sip(Some(&user), Host::Name("example.com".to_owned()));
        uri.port = port;
        prop_assert_eq!(uri.user_decoded(), Some(user));
        let display = Some(display).filter(|text| !text.is_empty());
        let address = NameAddr::new(uri).with_display(display.as_deref()).with_tag(&tag);
        prop_assert_eq!(NameAddr::parse(&address.to_string()), Some(address));
    }

    #[test]
    fn a_message_reads_as_it_was_printed(subject in "[!-~]([ -~]{0,30}[!-~])?", body in proptest::collection::vec(any::<u8>(), 0..200), status in 100u16..700) {
        let mut response = request(&[]).response(status, Some("tag"));
        response.headers.push("Subject", &subject);
        response.headers.push("Content-Length", body.len().to_string());
        response.body = body.into();
        let read = parse_datagram(response.to_bytes(), &Limits::default());
        prop_assert_eq!(read, Ok(Message::Response(response)));
    }
}
