//! MSRP framing (RFC 4975 sections 7.1 and 9): heads, bodies in pieces as they come, end-lines; and printing.
//!
//! A [`Framer`] takes bytes in pieces of any size and gives parts: [`Part::Head`], then for a request with content any
//! number of [`Part::Body`], then [`Part::End`]. It holds a head at most and what may be the beginning of an end-line.

use bytes::{Bytes, BytesMut};

use super::uri::MsrpUri;

/// Longest head, in bytes.
const MAX_HEAD: usize = 8 * 1024;
/// Most header lines.
const MAX_HEADERS: usize = 64;
/// Seven hyphens begin an end-line.
const HYPHENS: &[u8] = b"-------";

/// The last character of an end-line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// `$`: the message is complete.
    Complete,
    /// `+`: another chunk follows.
    More,
    /// `#`: the message is given up.
    Aborted,
}

impl Flag {
    fn byte(self) -> u8 {
        match self {
            Self::Complete => b'$',
            Self::More => b'+',
            Self::Aborted => b'#',
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Complete, Self::More, Self::Aborted].into_iter().find(|f| f.byte() == byte)
    }
}

/// What a start line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// A request with this method.
    Request(String),
    /// A response with this status and comment.
    Response(u16, String),
}

/// Everything before the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Transaction id.
    pub id: String,
    /// Request or response.
    pub start: Start,
    /// To-Path, never empty.
    pub to: Vec<MsrpUri>,
    /// From-Path, never empty.
    pub from: Vec<MsrpUri>,
    /// All other header fields, in order.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// A request between these, to be filled.
    pub fn request(id: &str, method: &str, to: Vec<MsrpUri>, from: MsrpUri) -> Self {
        let start = Start::Request(method.to_owned());
        Self { id: id.to_owned(), start, to, from: vec![from], headers: Vec::new() }
    }

    /// The first header field of this name, whatever its case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Adds a header field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Byte-Range: first, last if known, total if known. A request without one begins at 1.
    pub fn range(&self) -> Option<Range> {
        match self.get("Byte-Range") {
            Some(value) => Range::parse(value),
            None => Some(Range { start: 1, end: None, total: None }),
        }
    }

    /// Prints a whole request or response. Content-Type is put last, as section 7.1 wants it.
    pub fn print(&self, body: Option<&[u8]>, flag: Flag) -> Bytes {
        let mut out = match &self.start {
            Start::Request(method) => format!("MSRP {} {method}\r\n", self.id),
            Start::Response(status, comment) if comment.is_empty() => {
                format!("MSRP {} {status:03}\r\n", self.id)
            }
            Start::Response(status, comment) => {
                format!("MSRP {} {status:03} {comment}\r\n", self.id)
            }
        };
        let path =
            |path: &[MsrpUri]| path.iter().map(MsrpUri::to_string).collect::<Vec<_>>().join(" ");
        out.push_str(&format!(
            "To-Path: {}\r\nFrom-Path: {}\r\n",
            path(&self.to),
            path(&self.from)
        ));
        let is_type = |name: &str| name.eq_ignore_ascii_case("Content-Type");
        let (last, first): (Vec<_>, Vec<_>) =
            self.headers.iter().partition(|(name, _)| is_type(name));
        for (name, value) in first.into_iter().chain(last) {
            out.push_str(&format!("{name}: {}\r\n", value.replace(['\r', '\n'], " ")));
        }
        let mut out = out.into_bytes();
        if let Some(body) = body {
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(body);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(HYPHENS);
        out.extend_from_slice(self.id.as_bytes());
        out.push(flag.byte());
        out.extend_from_slice(b"\r\n");
        out.into()
    }
}

/// A Byte-Range; positions count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Position of the first byte.
    pub start: u64,
    /// Position of the last; `None`: not known before the end.
    pub end: Option<u64>,
    /// Length of the whole message.
    pub total: Option<u64>,
}

impl Range {
    /// Reads one. A message begins at 1.
    pub fn parse(value: &str) -> Option<Self> {
        let (range, total) = value.trim().split_once('/')?;
        let (start, end) = range.split_once('-')?;
        let number = |text: &str| text.trim().parse::<u64>().ok();
        let open = |text: &str| match text.trim() {
            "*" => Some(None),
            text => number(text).map(Some),
        };
        let start = number(start).filter(|start| *start > 0)?;
        Some(Self { start, end: open(end)?, total: open(total)? })
    }
}

/// A piece of what arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A request or response begins; whether a body follows.
    Head(Head, bool),
    /// Bytes of its body.
    Body(Bytes),
    /// Its end.
    End(Flag),
}

/// The bytes are no MSRP: the connection is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no MSRP: {0}")]
pub struct FrameError(&'static str);

#[derive(Debug)]
enum State {
    Start,
    /// Inside the body of this transaction.
    Body(Vec<u8>),
    /// Behind the head of a request without a body.
    Bare(Flag),
}

/// Cuts a stream into parts.
#[derive(Debug)]
pub struct Framer {
    state: State,
    buffer: BytesMut,
}

impl Default for Framer {
    fn default() -> Self {
        Self { state: State::Start, buffer: BytesMut::new() }
    }
}

impl Framer {
    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next part, if it is there.
    ///
    /// # Errors
    ///
    /// [`FrameError`] once; nothing comes after it.
    pub fn poll(&mut self) -> Result<Option<Part>, FrameError> {
        match &self.state {
            State::Start => self.head(),
            State::Bare(flag) => {
                let flag = *flag;
                self.state = State::Start;
                Ok(Some(Part::End(flag)))
            }
            State::Body(mark) => {
                let mark = mark.clone();
                Ok(self.body(&mark))
            }
        }
    }

    fn head(&mut self) -> Result<Option<Part>, FrameError> {
        let blank = self.buffer.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let begins = self.buffer.get(blank..self.buffer.len().min(blank + 5)).unwrap_or_default();
        if !b"MSRP ".starts_with(begins) {
            return Err(FrameError("another protocol"));
        }
        let mut at = 0;
        let mut lines: Vec<Vec<u8>> = Vec::new();
        while let Some(length) = memchr::memchr(b'\n', self.buffer.get(at..).unwrap_or_default()) {
            let line = self.buffer.get(at..at + length).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let next = at + length + 1;
            // Empty lines between messages keep connections open.
            if lines.is_empty() && line.is_empty() {
                at = next;
                continue;
            }
            let end = lines.first().and_then(|first| end_line(first, line));
            if line.is_empty() || end.is_some() {
                if next > MAX_HEAD {
                    return Err(FrameError("a head too long"));
                }
                let head = read(&lines)?;
                self.state = match end {
                    Some(flag) => State::Bare(flag),
                    None => State::Body([b"\r\n", HYPHENS, head.id.as_bytes()].concat()),
                };
                let _ = self.buffer.split_to(next);
                return Ok(Some(Part::Head(head, end.is_none())));
            }
            if lines.len() > MAX_HEADERS {
                return Err(FrameError("too many header fields"));
            }
            lines.push(line.to_vec());
            at = next;
        }
        if self.buffer.len() > MAX_HEAD {
            return Err(FrameError("a head too long"));
        }
        Ok(None)
    }

    fn body(&mut self, mark: &[u8]) -> Option<Part> {
        let mut from = 0;
        while let Some(found) = memchr::memmem::find(self.buffer.get(from..)?, mark) {
            let at = from + found;
            let tail = self.buffer.get(at + mark.len()..)?;
            match tail {
                [flag, b'\r', b'\n', ..] => {
                    if let Some(flag) = Flag::from_byte(*flag) {
                        return Some(self.end(at, mark.len() + 3, flag));
                    }
                }
                // Not all of the end-line is here.
                [] | [b'$' | b'+' | b'#'] | [b'$' | b'+' | b'#', b'\r'] => return self.pass(at),
                _ => {}
            }
            from = at + 1;
        }
        let keep = self.buffer.len().saturating_sub(mark.len());
        self.pass(keep)
    }

    /// An empty body's end-line has only the CRLF of the head's end before it.
    fn end(&mut self, at: usize, length: usize, flag: Flag) -> Part {
        if at > 0 {
            return Part::Body(self.buffer.split_to(at).freeze());
        }
        let _ = self.buffer.split_to(length);
        self.state = State::Start;
        Part::End(flag)
    }

    fn pass(&mut self, length: usize) -> Option<Part> {
        (length > 0).then(|| Part::Body(self.buffer.split_to(length).freeze()))
    }
}

/// Whether `line` ends the message that `first` begins.
fn end_line(first: &[u8], line: &[u8]) -> Option<Flag> {
    let id = first.split(|b| *b == b' ').nth(1)?;
    let rest = line.strip_prefix(HYPHENS)?.strip_prefix(id)?;
    match rest {
        [flag] => Flag::from_byte(*flag),
        _ => None,
    }
}

fn read(lines: &[Vec<u8>]) -> Result<Head, FrameError> {
    let mut texts =
        lines.iter().map(|l| std::str::from_utf8(l).map_err(|_| FrameError("not UTF-8")));
    let first = texts.next().ok_or(FrameError("no start line"))??;
    let rest = first.strip_prefix("MSRP ").ok_or(FrameError("another protocol"))?;
    let (id, word) = rest.split_once(' ').ok_or(FrameError("half a start line"))?;
    if !is_ident(id) {
        return Err(FrameError("a bad transaction id"));
    }
    let (code, comment) = word.split_once(' ').unwrap_or((word, ""));
    let start = match code.parse::<u16>() {
        Ok(status) if code.len() == 3 => Start::Response(status, comment.to_owned()),
        _ if !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase()) => {
            Start::Request(word.to_owned())
        }
        _ => return Err(FrameError("a bad start line")),
    };
    let mut headers = Vec::new();
    for text in texts {
        let (name, value) =
            text?.split_once(':').ok_or(FrameError("a line that is no header field"))?;
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let mut take = |name: &str| {
        let at = headers.iter().position(|(n, _): &(String, String)| n.eq_ignore_ascii_case(name));
        at.and_then(|at| MsrpUri::path(&headers.remove(at).1)).ok_or(FrameError("a bad path"))
    };
    let (to, from) = (take("To-Path")?, take("From-Path")?);
    Ok(Head { id: id.to_owned(), start, to, from, headers })
}

/// `ident` of section 9: 4 to 32 characters.
pub fn is_ident(text: &str) -> bool {
    (4..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-+%=".contains(&b))
        && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
