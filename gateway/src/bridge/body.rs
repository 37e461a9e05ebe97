//! Bodies of phones' messages (RFC 2046 section 5.1, RFC 3428 section 4, `interop.md` 2.5): what is text, what is said
//! about messages, and what is a file.

use bytes::Bytes;

use super::iscomposing;
use super::text::{self, Unshowable};

/// Most parts of one body.
const MAX_PARTS: usize = 16;
/// How deep parts may hold parts.
const MAX_DEPTH: usize = 4;
/// Most header lines of a part.
const MAX_HEADERS: usize = 32;
/// Longest boundary (RFC 2046 section 5.1.1).
const MAX_BOUNDARY: usize = 70;

/// One thing that a body holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text, fit for a stanza.
    Text(String),
    /// A notification (RFC 5438).
    Notification(Bytes),
    /// A typing indication (RFC 3994).
    Typing(Bytes),
    /// Anything else: its name, type and content.
    File(File),
}

/// A file inside a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// What its sender calls it, or a name by its type.
    pub name: String,
    /// Media type, without parameters.
    pub content_type: String,
    /// Content.
    pub bytes: Bytes,
}

/// Everything a body holds, in order. Of alternatives the last that is text is taken, else the last.
///
/// # Errors
///
/// [`Unshowable`] for broken multiparts and text in unknown character sets.
pub fn read(
    content_type: Option<&str>,
    disposition: Option<&str>,
    body: &Bytes,
) -> Result<Vec<Part>, Unshowable> {
    let mut parts = Vec::new();
    collect(content_type, disposition, body, MAX_DEPTH, &mut parts)?;
    Ok(parts)
}

fn collect(
    content_type: Option<&str>,
    disposition: Option<&str>,
    body: &Bytes,
    depth: usize,
    parts: &mut Vec<Part>,
) -> Result<(), Unshowable> {
    let media_type = text::media_type(content_type);
    match media_type.as_str() {
        "text/plain" | "text/html" => parts.push(Part::Text(text::from_phone(content_type, body)?)),
        "message/imdn+xml" => parts.push(Part::Notification(body.clone())),
        iscomposing::CONTENT_TYPE => parts.push(Part::Typing(body.clone())),
        _ if media_type.starts_with("multipart/") => {
            let boundary = parameter(content_type.unwrap_or_default(), "boundary");
            let boundary = boundary.filter(|b| !b.is_empty() && b.len() <= MAX_BOUNDARY);
            if depth == 0 {
                return Err(Unshowable);
            }
            let mut inner = Vec::new();
            for (head, content) in split(body, &boundary.ok_or(Unshowable)?)? {
                let get = |name: &str| field(&head, name);
                collect(
                    get("content-type"),
                    get("content-disposition"),
                    &content,
                    depth - 1,
                    &mut inner,
                )?;
            }
            if media_type == "multipart/alternative" {
                let best = inner.iter().rposition(|p| matches!(p, Part::Text(_)));
                let best = best.or(inner.len().checked_sub(1));
                inner = best.map(|at| inner.swap_remove(at)).into_iter().collect();
            }
            parts.extend(inner);
        }
        // Short messages of mobile networks and things for machines are nothing that a person could open.
        "message/cpim" | "application/vnd.3gpp.sms" | "application/sdp" | "" => {
            return Err(Unshowable);
        }
        _ if !is_media_type(&media_type) => return Err(Unshowable),
        _ => {
            let name = disposition.and_then(|d| parameter(d, "filename"));
            let name = name.or_else(|| parameter(content_type.unwrap_or_default(), "name"));
            let name = name.filter(|n| !n.trim().is_empty());
            let name = name.unwrap_or_else(|| default_name(&media_type));
            parts.push(Part::File(File { name, content_type: media_type, bytes: body.clone() }));
        }
    }
    if parts.len() > MAX_PARTS { Err(Unshowable) } else { Ok(()) }
}

type Piece = (Vec<(String, String)>, Bytes);

/// The pieces between the boundary lines. The last may lack its end.
fn split(body: &Bytes, boundary: &str) -> Result<Vec<Piece>, Unshowable> {
    let mark = format!("--{boundary}");
    let mut pieces = Vec::new();
    let (mut at, mut begun) = (0, None::<usize>);
    let mut ended = false;
    for line in body.split_inclusive(|b| *b == b'\n') {
        let next = at + line.len();
        let bare = line.trim_ascii_end();
        let closes = bare.strip_prefix(mark.as_bytes()) == Some(b"--");
        if closes || bare == mark.as_bytes() {
            if let Some(from) = begun {
                pieces.push(piece(&body.slice(from..end_before(body, from, at))));
            }
            begun = Some(next);
            ended = closes;
            if ended || pieces.len() > MAX_PARTS {
                break;
            }
        }
        at = next;
    }
    match begun {
        None => Err(Unshowable),
        Some(from) if !ended => {
            pieces.push(piece(&body.slice(from..)));
            Ok(pieces)
        }
        Some(_) => Ok(pieces),
    }
}

/// The line end before a boundary belongs to the boundary.
fn end_before(body: &[u8], from: usize, at: usize) -> usize {
    let part = body.get(from..at).unwrap_or_default();
    let cut = if part.ends_with(b"\r\n") { 2 } else { usize::from(part.ends_with(b"\n")) };
    at - cut
}

fn piece(bytes: &Bytes) -> Piece {
    let (mut at, mut fields) = (0, Vec::<(String, String)>::new());
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        at += line.len();
        let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
        if text.is_empty() {
            break;
        }
        if text.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push_str(&text);
            }
        } else if let Some((name, value)) = text.split_once(':')
            && fields.len() < MAX_HEADERS
        {
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    (fields, bytes.slice(at..))
}

fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

/// A parameter of a header value, unquoted.
pub fn parameter(value: &str, name: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (found, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted_string(quoted),
            None => {
                let (found, next) = after.split_once(';').unwrap_or((after, ""));
                (found.trim().to_owned(), next)
            }
        };
        if key.trim().trim_start_matches(';').trim().eq_ignore_ascii_case(name) {
            return Some(found);
        }
        rest = next;
    }
}

fn quoted_string(text: &str) -> (String, &str) {
    let (mut out, mut escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => {
                out.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (out, text.get(at + 1..).unwrap_or_default()),
            c => out.push(c),
        }
    }
    (out, "")
}

fn is_media_type(media_type: &str) -> bool {
    let is_token = |t: &str| {
        !t.is_empty()
            && t.len() <= 64
            && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    media_type.split_once('/').is_some_and(|(main, sub)| is_token(main) && is_token(sub))
}

fn default_name(media_type: &str) -> String {
    let (main, sub) = media_type.split_once('/').unwrap_or(("file", ""));
    let ending = match sub {
        "jpeg" => "jpg",
        "svg+xml" => "svg",
        "mpeg" if main == "audio" => "mp3",
        sub if main != "application" || matches!(sub, "pdf" | "zip" | "json" | "xml") => sub,
        _ => "bin",
    };
    format!("{}.{ending}", if main == "application" { "file" } else { main })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(content_type: &str, body: &str) -> Result<Vec<Part>, Unshowable> {
        read(Some(content_type), None, &Bytes::copy_from_slice(body.as_bytes()))
    }

    fn said(text: &str) -> Part {
        Part::Text(text.into())
    }

    #[test]
    fn multiparts_are_taken_apart() {
        let body = "preamble\r\n--x\r\n\r\nhello\r\n--x\r\nContent-Type: image/png\r\n\
            Content-Disposition: attachment;\r\n filename=\"my \\\"cat\\\".png\"\r\n\r\nPNG\r\n--x--\r\nepilogue";
        let file = File {
            name: "my \"cat\".png".into(),
            content_type: "image/png".into(),
            bytes: Bytes::from("PNG"),
        };
        let read = parts("multipart/mixed; boundary=x", body).unwrap();
        assert_eq!(read, [said("hello"), Part::File(file)]);
        let body = "--\"b\n\n<x/>\n--\"b\nContent-Type: text/html\n\n<b>two</b>\n--\"b\nContent-Type: image/gif\n\nG";
        let read = parts("multipart/alternative;boundary=\"\\\"b\"", body).unwrap();
        assert_eq!(read, [said("two")]);
        let nested = "--a\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n--a\n\ntwo\n--a--";
        assert_eq!(
            parts("multipart/mixed;boundary=a", nested).unwrap(),
            [said("one"), said("two")]
        );
    }

    #[test]
    fn what_cannot_be_shown_is_refused() {
        for (content_type, body) in [
            ("multipart/mixed", "--x\n\nhi\n--x--"),
            ("multipart/mixed;boundary=x", "no boundary"),
            ("application/vnd.3gpp.sms", "x"),
            ("text/plain;charset=x-unknown", "x"),
            ("nonsense", "x"),
            ("message/cpim", "x"),
        ] {
            assert_eq!(parts(content_type, body), Err(Unshowable), "{content_type}");
        }
        let many = "--x\n\nhi\n".repeat(40);
        assert_eq!(parts("multipart/mixed;boundary=x", &many), Err(Unshowable));
        let mut deep = String::from("hi");
        for level in 0..8 {
            let inner = if level == 0 {
                "text/plain".into()
            } else {
                format!("multipart/mixed;boundary=b{}", level - 1)
            };
            deep = format!("--b{level}\nContent-Type: {inner}\n\n{deep}\n--b{level}--");
        }
        assert_eq!(parts("multipart/mixed;boundary=b7", &deep), Err(Unshowable));
    }

    #[test]
    fn files_have_names() {
        for (content_type, name) in [
            ("image/jpeg", "image.jpg"),
            ("application/pdf", "file.pdf"),
            ("application/octet-stream", "file.bin"),
            ("audio/ogg;name=note.ogg", "note.ogg"),
        ] {
            let Some(Part::File(file)) = parts(content_type, "x").unwrap().pop() else { panic!() };
            assert_eq!(file.name, name);
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(content_type in "[ -~]{0,60}", body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(Some(&content_type), Some(&content_type), &Bytes::from(body.clone()));
            let _ = read(Some("multipart/mixed;boundary=-"), None, &Bytes::from(body));
        }
    }
}
