//! RFC 2046 section 5.1 and RFC 5621: bodies of several parts, read without copying and written.

use bytes::{BufMut, Bytes, BytesMut};

use super::head;
use super::header::ContentType;
use super::headers::Headers;
use super::name::Name;
use super::parse::Limits;

/// Parts of one body at most.
const MAX_PARTS: usize = 64;
/// How deep bodies may lie in each other.
const MAX_DEPTH: usize = 8;
/// What the head of a part may hold.
const PART: Limits = Limits { message: usize::MAX, line: 8 * 1024, headers: 50 };
/// Longest boundary (RFC 2046 section 5.1.1).
const MAX_BOUNDARY: usize = 70;

/// One part of a body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Part {
    /// Its header fields; Content-Length is neither needed nor written.
    pub headers: Headers,
    /// Its bytes.
    pub body: Bytes,
}

/// A body of several parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Multipart {
    /// The parts in their order.
    pub parts: Vec<Part>,
}

/// Why a body of several parts could not be read. In a request that is a 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// Its type names no usable boundary.
    #[error("no boundary")]
    NoBoundary,
    /// The boundary does not begin it, or does not end it.
    #[error("the boundary is missing")]
    Unbounded,
    /// The head of a part is malformed.
    #[error("malformed part")]
    BadPart,
    /// More parts than anybody needs.
    #[error("too many parts")]
    TooMany,
}

impl Part {
    /// A part of that type.
    pub fn new(content_type: &str, body: Bytes) -> Self {
        let mut headers = Headers::new();
        headers.push(Name::ContentType, content_type);
        Part { headers, body }
    }

    /// What it is; `text/plain` when it does not say (RFC 2045 section 5.2).
    pub fn content_type(&self) -> ContentType {
        self.headers.typed().unwrap_or_else(|_| ContentType::new("text/plain"))
    }
}

impl Multipart {
    /// Whether a body of this type has parts.
    pub fn is_one(content_type: &ContentType) -> bool {
        content_type.media.starts_with("multipart/")
    }

    /// Reads `body`. The parts share its bytes. What stands before the first and behind the last boundary is ignored.
    ///
    /// # Errors
    /// See [`MultipartError`].
    pub fn parse(content_type: &ContentType, body: &Bytes) -> Result<Self, MultipartError> {
        let boundary = content_type.params.get_unquoted("boundary");
        let boundary =
            boundary.filter(|text| is_boundary(text)).ok_or(MultipartError::NoBoundary)?;
        let mut parts = Vec::new();
        let mut delimiters = Delimiters::new(body, &boundary);
        let mut open = delimiters.next().ok_or(MultipartError::Unbounded)?;
        while !open.is_last {
            let next = delimiters.next().ok_or(MultipartError::Unbounded)?;
            if parts.len() >= MAX_PARTS {
                return Err(MultipartError::TooMany);
            }
            parts.push(part(&body.slice(open.end..next.start.max(open.end)))?);
            open = next;
        }
        Ok(Multipart { parts })
    }

    /// The first part of one of these types, however deep: among alternatives the last one that is known, for it is the
    /// best (RFC 2046 section 5.1.4).
    pub fn find(
        content_type: &ContentType,
        body: &Bytes,
        is_wanted: &dyn Fn(&ContentType) -> bool,
    ) -> Option<Part> {
        find(content_type, body, is_wanted, 0)
    }

    /// The bytes, and the boundary between them: `boundary` itself, or a longer one where it stands in a part.
    pub fn to_bytes(&self, boundary: &str) -> (Bytes, String) {
        let boundary = self.free_boundary(boundary);
        let mut out = BytesMut::new();
        for part in &self.parts {
            out.put_slice(format!("--{boundary}\r\n").as_bytes());
            for field in part.headers.iter().filter(|field| field.id() != Name::ContentLength) {
                out.put_slice(field.name().as_bytes());
                out.put_slice(b": ");
                out.put_slice(field.value_bytes());
                out.put_slice(b"\r\n");
            }
            out.put_slice(b"\r\n");
            out.put_slice(&part.body);
            out.put_slice(b"\r\n");
        }
        out.put_slice(format!("--{boundary}--\r\n").as_bytes());
        (out.freeze(), boundary)
    }

    /// The value of a Content-Type field for a body with that boundary; `kind` is `mixed`, `alternative`, `related`.
    pub fn content_type(kind: &str, boundary: &str) -> String {
        format!("multipart/{kind};boundary={boundary}")
    }

    fn free_boundary(&self, wanted: &str) -> String {
        let mut boundary: String = wanted
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
            .take(MAX_BOUNDARY / 2)
            .collect();
        boundary.insert_str(0, if boundary.is_empty() { "part" } else { "" });
        let stands = |text: &str| {
            let finder = memchr::memmem::Finder::new(text);
            self.parts.iter().any(|part| {
                finder.find(&part.body).is_some()
                    || part.headers.iter().any(|field| finder.find(field.value_bytes()).is_some())
            })
        };
        let mut number = 0_u64;
        let mut free = boundary.clone();
        // Each number that stands in the parts takes bytes of them, so this ends.
        while stands(&free) {
            number += 1;
            free = format!("{boundary}.{number}");
        }
        free
    }
}

fn find(
    content_type: &ContentType,
    body: &Bytes,
    is_wanted: &dyn Fn(&ContentType) -> bool,
    depth: usize,
) -> Option<Part> {
    if is_wanted(content_type) {
        let mut headers = Headers::new();
        headers.push_typed(content_type);
        return Some(Part { headers, body: body.clone() });
    }
    if depth >= MAX_DEPTH || !Multipart::is_one(content_type) {
        return None;
    }
    let parts = Multipart::parse(content_type, body).ok()?.parts;
    let inner = |part: Part| {
        let kind = part.content_type();
        if is_wanted(&kind) { Some(part) } else { find(&kind, &part.body, is_wanted, depth + 1) }
    };
    if content_type.is("multipart/alternative") {
        return parts.into_iter().rev().find_map(inner);
    }
    parts.into_iter().find_map(inner)
}

/// RFC 2046 section 5.1.1: 1 to 70 characters, no space at the end.
fn is_boundary(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    (1..=MAX_BOUNDARY).contains(&text.len()) && !text.ends_with(' ') && text.bytes().all(is_allowed)
}

/// A part: fields, an empty line, bytes. The fields may be missing, the empty line may not.
fn part(bytes: &Bytes) -> Result<Part, MultipartError> {
    let head = head::cut_fields(bytes, &PART);
    if head.problem.is_some() {
        return Err(MultipartError::BadPart);
    }
    Ok(Part { headers: head.headers, body: bytes.slice(head.body_at..) })
}

/// A line that separates parts.
struct Delimiter {
    /// Where the line end before it begins: the part before ends here.
    start: usize,
    /// Where the part behind it begins.
    end: usize,
    /// Whether nothing follows.
    is_last: bool,
}

struct Delimiters<'a> {
    body: &'a [u8],
    dashes: String,
    at: usize,
}

impl<'a> Delimiters<'a> {
    fn new(body: &'a [u8], boundary: &str) -> Self {
        Delimiters { body, dashes: format!("--{boundary}"), at: 0 }
    }

    fn next(&mut self) -> Option<Delimiter> {
        loop {
            let rest = self.body.get(self.at..)?;
            let found = self.at + memchr::memmem::find(rest, self.dashes.as_bytes())?;
            self.at = found + self.dashes.len();
            let start = if found == 0 {
                Some(0)
            } else {
                self.body.get(..found)?.ends_with(b"\r\n").then(|| found - 2)
            };
            if let (Some(start), Some((end, is_last))) = (start, self.line_end()) {
                // The part's own first line end is not taken for the one of the next delimiter.
                self.at = end;
                return Some(Delimiter { start, end, is_last });
            }
        }
    }

    /// What follows the boundary on its line: `--` on the last, spaces, the line end.
    fn line_end(&self) -> Option<(usize, bool)> {
        let rest = self.body.get(self.at..)?;
        if rest.starts_with(b"--") {
            return Some((self.at + 2, true));
        }
        let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        rest.get(blanks..)?.starts_with(b"\r\n").then_some((self.at + blanks + 2, false))
    }
}
