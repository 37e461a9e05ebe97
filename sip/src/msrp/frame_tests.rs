//! Framing of MSRP, in one piece and in many.

use proptest::prelude::*;

use super::*;

fn parts(bytes: &[u8], step: usize) -> (Vec<Part>, Option<FrameError>) {
    let mut framer = Framer::default();
    let mut parts: Vec<Part> = Vec::new();
    for piece in bytes.chunks(step.max(1)) {
        framer.push(piece);
        loop {
            match framer.poll() {
                // Where bodies are cut is chance.
                Ok(Some(Part::Body(more))) => match parts.last_mut() {
                    Some(Part::Body(body)) => *body = [&body[..], &more[..]].concat().into(),
                    _ => parts.push(Part::Body(more)),
                },
                Ok(Some(part)) => parts.push(part),
                Ok(None) => break,
                Err(error) => return (parts, Some(error)),
            }
        }
    }
    (parts, None)
}

const SEND: &str = "MSRP a786hjs2 SEND\r\nTo-Path: msrp://bob.example.com:8888/9di4eae923wzd;tcp\r\n\
    From-Path: msrp://alicepc.example.com:7777/iau39soe2843z;tcp\r\nMessage-ID: 87652491\r\n\
    Byte-Range: 1-25/25\r\nContent-Type: text/plain\r\n\r\nHey Bob, are you there?\r\n\r\n-------a786hjs2$\r\n";

#[test]
fn the_first_message_of_rfc_4975() {
    for step in [1, 2, 7, 1_000] {
        let (parts, error) = parts(SEND.as_bytes(), step);
        assert_eq!(error, None);
        let [Part::Head(head, true), Part::Body(body), Part::End(Flag::Complete)] = &parts[..]
        else {
            panic!("{parts:?}");
        };
        assert_eq!(&body[..], b"Hey Bob, are you there?\r\n");
        assert_eq!(
            (head.get("message-id"), &head.start),
            (Some("87652491"), &Start::Request("SEND".into()))
        );
        assert_eq!(head.range(), Some(Range { start: 1, end: Some(25), total: Some(25) }));
        assert_eq!(head.print(Some(body), Flag::Complete), SEND.as_bytes());
    }
}

#[test]
fn bodies_may_look_like_ends_and_requests_may_have_none() {
    let bare = SEND.split("Message-ID").next().unwrap().to_owned() + "-------a786hjs2$\r\n";
    let ok = "MSRP a786hjs2 200 OK\r\nTo-Path: msrp://a:1/x;tcp\r\nFrom-Path: msrp://b:2/y;tcp\r\n-------a786hjs2$\r\n";
    let tricky = SEND.replace(
        "Hey Bob, are you there?",
        "\r\n-------a786hjs2x\r\n-------a786hjs2\r\n-------a786hjs2$ ",
    );
    let empty = SEND.replace("Hey Bob, are you there?\r\n", "");
    for step in [1, 3, 10_000] {
        let all = format!("{bare}\r\n\r\n{ok}{tricky}{empty}");
        let (parts, error) = parts(all.as_bytes(), step);
        assert_eq!(error, None);
        assert!(matches!(&parts[0], Part::Head(_, false)));
        assert!(
            matches!(&parts[2], Part::Head(Head { start: Start::Response(200, comment), .. }, false) if comment == "OK")
        );
        assert!(matches!(&parts[4], Part::Head(_, true)));
        let text = "\r\n-------a786hjs2x\r\n-------a786hjs2\r\n-------a786hjs2$ \r\n";
        assert_eq!(parts[5], Part::Body(Bytes::from_static(text.as_bytes())));
        assert!(matches!(&parts[7], Part::Head(_, true)));
        assert_eq!(parts[8], Part::End(Flag::Complete), "an empty body");
        assert_eq!(parts.len(), 9);
    }
}

#[test]
fn what_is_no_msrp_ends_the_stream() {
    for bad in [
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "MSRP x SEND\r\n\r\n".into(),
        "MSRP abcd send\r\n\r\n".into(),
        SEND.replace("To-Path", "X"),
        SEND.replace("msrp://", "sip://"),
        format!("MSRP abcd SEND\r\n{}", "X: y\r\n".repeat(100)),
        "M".repeat(10_000),
        format!("MSRP abcd SEND\r\nX: {}", "y".repeat(10_000)),
    ] {
        assert!(parts(bad.as_bytes(), 100).1.is_some(), "{bad}");
    }
}

#[test]
fn ranges_are_read() {
    let read = Range::parse;
    assert_eq!(read("1-*/*"), Some(Range { start: 1, end: None, total: None }));
    assert_eq!(read("1-0/0"), Some(Range { start: 1, end: Some(0), total: Some(0) }));
    for bad in ["", "0-1/2", "1-2", "a-b/c", "1/2", "-1-2/3"] {
        assert_eq!(read(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn a_message_comes_out_as_it_went_in(body in prop::collection::vec(any::<u8>(), 0..300), step in 1_usize..40) {
        let uri = MsrpUri::parse("msrp://h:1/s;tcp").unwrap();
        let head = Head::request("tid123", "SEND", vec![uri.clone()], uri).with("Content-Type", "x/y");
        prop_assume!(memchr::memmem::find(&body, b"-------tid123").is_none());
        let (parts, error) = parts(&head.print(Some(&body), Flag::More), step);
        prop_assert_eq!(error, None);
        let got: Vec<u8> = parts.iter().filter_map(|p| match p { Part::Body(b) => Some(&b[..]), _ => None }).flatten().copied().collect();
        prop_assert_eq!(got, body);
        prop_assert_eq!(parts.last(), Some(&Part::End(Flag::More)));
    }

    #[test]
    fn cuts_make_no_difference(bytes in prop::collection::vec(any::<u8>(), 0..200), step in 1_usize..20) {
        let mut all = SEND.as_bytes().to_vec();
        all.extend(bytes);
        prop_assert_eq!(parts(&all, all.len()), parts(&all, step));
    }
}

#[test]
fn bodies_with_line_ends_at_their_edges_are_whole() {
    let uri = MsrpUri::parse("msrp://h:1/s;tcp").unwrap();
    for body in
        ["\n1,70\r\n1,70\r", "\r\n1,7", "0\r\n", "\r", "\r\n", "\n", "-", "-------", "\r\n-------"]
    {
        let head = Head::request("tid123", "SEND", vec![uri.clone()], uri.clone());
        let printed = head.with("Content-Type", "x/y").print(Some(body.as_bytes()), Flag::Complete);
        for step in [1, 5, 1_000] {
            let (parts, error) = parts(&printed, step);
            assert_eq!(error, None);
            assert_eq!(
                parts[1..],
                [Part::Body(Bytes::from(body)), Part::End(Flag::Complete)],
                "{body:?}"
            );
        }
    }
}
