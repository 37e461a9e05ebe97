//! Cutting a message's head into start line and fields (RFC 3261 section 7.3.1): lines, folding, limits.

use std::ops::Range;

use bytes::Bytes;

use super::headers::{Field, Headers};
use super::name::Name;
use super::parse::Limits;
use super::scan;

/// A head that is cut but not judged yet: as much as could be read, and the first thing that was wrong.
pub(crate) struct Head {
    /// The start line.
    pub start: Bytes,
    /// The fields that could be read.
    pub headers: Headers,
    /// Where the body begins.
    pub body_at: usize,
    /// What was wrong with the rest.
    pub problem: Option<&'static str>,
}

/// Cuts the head of `message`, which begins with the start line.
pub(crate) fn cut(message: &Bytes, limits: &Limits) -> Head {
    let mut lines = Lines { message, at: 0 };
    let mut head = Head {
        start: Bytes::new(),
        headers: Headers::with_capacity(16),
        body_at: message.len(),
        problem: None,
    };
    match lines.next() {
        Some(line) if line.len() <= limits.line => head.start = message.slice(line),
        Some(_) => head.problem = Some("start line too long"),
        None => {
            head.problem = Some("no line end");
            return head;
        }
    }
    fields(&mut head, &mut lines, limits);
    head
}

/// Cuts the head of a part of a body: fields without a start line.
pub(crate) fn cut_fields(part: &Bytes, limits: &Limits) -> Head {
    let mut lines = Lines { message: part, at: 0 };
    let mut head =
        Head { start: Bytes::new(), headers: Headers::new(), body_at: part.len(), problem: None };
    fields(&mut head, &mut lines, limits);
    head
}

fn fields(head: &mut Head, lines: &mut Lines<'_>, limits: &Limits) {
    loop {
        let Some(line) = lines.next() else {
            note(head, "the head does not end");
            break;
        };
        if line.is_empty() {
            head.body_at = lines.at;
            break;
        }
        // A line that stands alone is read where it is, without a copy.
        let joined;
        let (text, line) = if lines.is_continued() {
            let Some(whole) = lines.joined(line) else {
                note(head, "the head does not end");
                break;
            };
            joined = whole;
            (&joined, 0..joined.len())
        } else {
            (lines.message, line)
        };
        if line.len() > limits.line {
            note(head, "header line too long");
        } else if head.headers.len() >= limits.headers {
            note(head, "too many header fields");
            break;
        } else {
            match field(text, line) {
                Some(field) => head.headers.push_field(field),
                None => note(head, "malformed header line"),
            }
        }
    }
}

fn note(head: &mut Head, problem: &'static str) {
    head.problem.get_or_insert(problem);
}

/// `name : value`. A lone CR or LF is refused: another reader could take it for a line end. NUL may stand escaped in a
/// quoted string (RFC 4475 section 3.1.1.2).
fn field(text: &Bytes, range: Range<usize>) -> Option<Field> {
    let line = text.get(range.clone())?;
    let colon = memchr::memchr(b':', line)?;
    let name_end = line.get(..colon)?.iter().rposition(|byte| !is_blank(*byte))? + 1;
    let name = line.get(..name_end)?;
    if !name.iter().all(|byte| scan::is_token_byte(*byte)) {
        return None;
    }
    let rest = line.get(colon + 1..)?;
    let start = rest.iter().position(|byte| !is_blank(*byte)).unwrap_or(rest.len());
    let end = rest.iter().rposition(|byte| !is_blank(*byte)).map_or(start, |at| at + 1);
    let value = rest.get(start..end)?;
    if memchr::memchr2(b'\r', b'\n', value).is_some() {
        return None;
    }
    let id = Name::of(name);
    let written = match id.as_str() {
        // The usual spelling is shared by all messages.
        long if long.as_bytes() == name => Bytes::from_static(long.as_bytes()),
        _ => text.slice(range.start..range.start + name_end),
    };
    let from = range.start + colon + 1 + start;
    Some(Field::new(id, written, text.slice(from..from + value.len())))
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

struct Lines<'a> {
    message: &'a Bytes,
    /// Where the next line begins.
    at: usize,
}

impl Lines<'_> {
    /// Where the next line is, without its CRLF.
    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        let end = start + find_crlf(self.message.get(start..)?)?;
        self.at = end + 2;
        Some(start..end)
    }

    /// This line joined with the lines that continue it; each joint becomes one space.
    fn joined(&mut self, line: Range<usize>) -> Option<Bytes> {
        let mut joined = self.message.get(line)?.to_vec();
        while self.is_continued() {
            let more = self.next()?;
            let more = self.message.get(more)?;
            let start = more.iter().position(|byte| !is_blank(*byte)).unwrap_or(more.len());
            joined.push(b' ');
            joined.extend_from_slice(more.get(start..).unwrap_or_default());
        }
        Some(Bytes::from(joined))
    }

    fn is_continued(&self) -> bool {
        self.message.get(self.at).is_some_and(|byte| is_blank(*byte))
    }
}

fn find_crlf(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', bytes).find_map(|at| {
        let before = at.checked_sub(1)?;
        (bytes.get(before) == Some(&b'\r')).then_some(before)
    })
}
