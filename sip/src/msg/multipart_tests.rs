//! Bodies of several parts: what RFC 2046 section 5.1 shows, what RFC 5621 asks, what breaks them.

use bytes::Bytes;

use super::header::{ContentType, Header};
use super::{Multipart, MultipartError, Part};

fn kind(boundary: &str) -> ContentType {
    ContentType::parse(&format!("multipart/mixed; boundary=\"{boundary}\"")).unwrap()
}

fn parse(body: &str) -> Result<Vec<(String, String)>, MultipartError> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let parts = Multipart::parse(&kind("b"), &body)?.parts;
    let text =
        |part: &Part| (part.content_type().media, String::from_utf8_lossy(&part.body).into_owned());
    Ok(parts.iter().map(text).collect())
}

#[test]
fn parts_are_cut_where_lines_begin_with_the_boundary() {
    let body = "before\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>--b</p>\r\n--bb\r\n--b  \r\n\r\nplain\r\n\r\n--b--\r\nafter";
    let expected = [("text/html", "<p>--b</p>\r\n--bb"), ("text/plain", "plain\r\n")];
    let found = parse(body).unwrap();
    let found: Vec<_> = found.iter().map(|(kind, text)| (kind.as_str(), text.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn empty_parts_and_folded_fields_are_read() {
    let found = parse("--b\r\nContent-Type:\r\n text/css\r\n\r\n\r\n--b--").unwrap();
    assert_eq!(found, [("text/css".to_owned(), String::new())]);
    assert_eq!(parse("--b--"), Ok(Vec::new()));
}

#[test]
fn what_is_broken_is_refused() {
    let many = "--b\r\n\r\nx\r\n".repeat(65) + "--b--";
    let rows = [
        ("", MultipartError::Unbounded),
        ("--b\r\n\r\nno end", MultipartError::Unbounded),
        ("x--b\r\n\r\nx", MultipartError::Unbounded),
        ("--b\r\nno colon\r\n\r\nx\r\n--b--", MultipartError::BadPart),
        ("--b\r\nContent-Type: text/plain\r\n--b--", MultipartError::BadPart),
        (&many, MultipartError::TooMany),
    ];
    for (body, error) in rows {
        assert_eq!(parse(body), Err(error), "{body:.60}");
    }
    for bad in ["", "é", "x ", &"x".repeat(71)] {
        let found = Multipart::parse(&kind(bad), &Bytes::from_static(b"--x--"));
        assert_eq!(found, Err(MultipartError::NoBoundary), "{bad}");
    }
}

#[test]
fn parts_share_the_bytes_of_the_body() {
    let body = Bytes::from_static(b"--b\r\n\r\n\x00\x01\xff\r\n--b--");
    let parts = Multipart::parse(&kind("b"), &body).unwrap().parts;
    let part = &parts.first().unwrap().body;
    assert_eq!(part.as_ref(), b"\x00\x01\xff");
    let (whole, within) = (body.as_ptr() as usize, part.as_ptr() as usize);
    assert_eq!(within - whole, 7, "no copy");
}

#[test]
fn the_wanted_part_is_found_in_depth_and_the_best_of_alternatives() {
    let inner = "--i\r\nContent-Type: text/plain\r\n\r\nplain\r\n--i\r\nContent-Type: text/html\r\n\r\nhtml\r\n--i--";
    let outer = format!(
        "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b\r\nContent-Type: multipart/alternative;boundary=i\r\n\r\n{inner}\r\n--b--"
    );
    let body = Bytes::from(outer);
    let find = |media: &'static [&'static str]| {
        let is_wanted = |kind: &ContentType| media.iter().any(|media| kind.is(media));
        Multipart::find(&kind("b"), &body, &is_wanted).map(|part| part.body)
    };
    assert_eq!(find(&["application/sdp"]).as_deref(), Some(b"v=0".as_slice()));
    assert_eq!(find(&["text/plain", "text/html"]).as_deref(), Some(b"html".as_slice()));
    assert_eq!(find(&["text/plain"]).as_deref(), Some(b"plain".as_slice()));
    assert_eq!(find(&["image/png"]), None);
}

#[test]
fn nesting_ends_at_eight() {
    let nested = |depth: usize| {
        let mut body = "Content-Type: text/html\r\n\r\nx".to_owned();
        for level in 0..depth {
            let own = depth - 1 - level;
            body = format!(
                "Content-Type: multipart/mixed;boundary=b{own}\r\n\r\n--b{own}\r\n{body}\r\n--b{own}--"
            );
        }
        let body = body.split_once("\r\n\r\n").unwrap().1.to_owned();
        let is_wanted = |kind: &ContentType| kind.is("text/html");
        Multipart::find(&kind("b0"), &Bytes::from(body), &is_wanted).is_some()
    };
    assert!(nested(8));
    assert!(!nested(9));
}

#[test]
fn what_is_written_is_read_back_whatever_it_holds() {
    let whole = Multipart {
        parts: vec![
            Part::new("text/plain", Bytes::from_static(b"--edge\r\n\r\nedge.1")),
            Part::new("application/octet-stream", Bytes::from_static(b"\r\n\x00--edge--\r\n")),
        ],
    };
    let (bytes, boundary) = whole.to_bytes("edge");
    assert_eq!(boundary, "edge.2");
    let kind = ContentType::parse(&Multipart::content_type("mixed", &boundary)).unwrap();
    assert_eq!(Multipart::parse(&kind, &bytes), Ok(whole));
}
