//! Reading a whole message (RFC 3261 sections 7 and 18.3) and judging what every message must have.

use bytes::Bytes;

use super::error::{BadRequest, ParseError};
use super::head::{self, Head};
use super::header::{CSeq, CallId, NameAddr, Via};
use super::headers::Headers;
use super::message::{Message, Request, Response};
use super::method::Method;
use super::name::Name;
use super::scan;
use super::uri::{RawUri, Uri};

/// How large a message may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message, body included. Default 65536.
    pub message: usize,
    /// Bytes of a line, unfolded. Default 8192.
    pub line: usize,
    /// Header fields. Default 200.
    pub headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { message: 64 * 1024, line: 8 * 1024, headers: 200 }
    }
}

/// Reads one datagram, or one message that the [framer](super::stream::Framer) cut. Bytes behind the body are ignored.
///
/// # Errors
/// What to tell the sender: nothing, or a status.
pub fn parse_datagram(datagram: impl Into<Bytes>, limits: &Limits) -> Result<Message, ParseError> {
    let mut datagram: Bytes = datagram.into();
    let start =
        datagram.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(datagram.len());
    let datagram = datagram.split_off(start);
    if datagram.is_empty() {
        return Err(ParseError::Drop("keepalive"));
    }
    let head = head::cut(&datagram, limits);
    let is_response = head.start.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"));
    if is_response {
        return response(&datagram, head, limits).map(Message::Response).map_err(ParseError::Drop);
    }
    match request(&datagram, &head, limits) {
        Ok((method, uri, body)) => {
            Ok(Message::Request(Request { method, uri, headers: head.headers, body }))
        }
        Err(fault) => Err(refuse(&head.start, &head.headers, fault)),
    }
}

/// A status and why.
pub(crate) type Fault = (u16, &'static str);

fn request(datagram: &Bytes, head: &Head, limits: &Limits) -> Result<(Method, Uri, Bytes), Fault> {
    let headers = &head.headers;
    if datagram.len() > limits.message {
        return Err((513, "message too large"));
    }
    let (method, uri) = request_line(&head.start)?;
    if let Some(problem) = head.problem {
        return Err((400, problem));
    }
    let cseq_method = check_fields(headers)?;
    if cseq_method != method {
        // RFC 4475 section 3.1.2.17-18: an unknown method is told to be one, whatever its CSeq says.
        let is_known = super::check::ALLOWED_METHODS.contains(&method);
        return Err(if is_known { (400, "CSeq method mismatch") } else { (501, "unknown method") });
    }
    let uri = RawUri::split(uri).ok_or((400, "malformed Request-URI"))?;
    if uri.headers.is_some() {
        return Err((400, "headers in the Request-URI"));
    }
    check_optional(headers)?;
    let body = body(datagram, head.body_at, headers)?;
    Ok((Method::new(method), uri.to_uri(), body))
}

/// `METHOD uri SIP/2.0`, one space each.
fn request_line(line: &[u8]) -> Result<(&str, &str), Fault> {
    let malformed = (400, "malformed request line");
    let line = std::str::from_utf8(line).map_err(|_| malformed)?;
    let (method, rest) = line.split_once(' ').ok_or(malformed)?;
    let (uri, version) = rest.rsplit_once(' ').ok_or(malformed)?;
    if !scan::is_token(method) {
        return Err(malformed);
    }
    match version {
        _ if version.eq_ignore_ascii_case("SIP/2.0") => Ok((method, uri)),
        _ if is_sip_version(version) => Err((505, "unknown version")),
        _ => Err(malformed),
    }
}

fn is_sip_version(text: &str) -> bool {
    let number = text
        .get(4..)
        .filter(|_| text.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("SIP/")));
    number.and_then(|number| number.split_once('.')).is_some_and(|(major, minor)| {
        scan::digits(major).is_some() && scan::digits(minor).is_some()
    })
}

fn response(datagram: &Bytes, head: Head, limits: &Limits) -> Result<Response, &'static str> {
    if datagram.len() > limits.message {
        return Err("response too large");
    }
    if let Some(problem) = head.problem {
        return Err(problem);
    }
    let line = std::str::from_utf8(&head.start).map_err(|_| "malformed status line")?;
    let (version, rest) = line.split_once(' ').ok_or("malformed status line")?;
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return Err("unknown version");
    }
    let status =
        scan::digits(status).filter(|_| status.len() == 3).and_then(Result::ok).unwrap_or_default();
    let status = u16::try_from(status)
        .ok()
        .filter(|status| (100..700).contains(status))
        .ok_or("unknown status")?;
    check_fields(&head.headers).map_err(|(_, cause)| cause)?;
    let body = body(datagram, head.body_at, &head.headers).map_err(|(_, cause)| cause)?;
    Ok(Response { status, reason: reason.to_owned(), headers: head.headers, body })
}

/// Fields that stand at most once (RFC 3261 section 7.3.1): two readers could believe two different ones.
const SINGLE: [(Name, &str); 6] = [
    (Name::From, "From repeated"),
    (Name::To, "To repeated"),
    (Name::CallId, "Call-ID repeated"),
    (Name::CSeq, "CSeq repeated"),
    (Name::MaxForwards, "Max-Forwards repeated"),
    (Name::ContentLength, "Content-Length repeated"),
];

/// Checks what every message has, without allocating, and gives the CSeq's method.
fn check_fields(headers: &Headers) -> Result<&str, Fault> {
    for (name, cause) in SINGLE {
        if headers.count(name) > 1 {
            return Err((400, cause));
        }
    }
    let is = |name, check: fn(&str) -> bool| headers.get(name).is_some_and(check);
    if !is(Name::From, NameAddr::check) {
        return Err((400, "From missing or malformed"));
    }
    if !is(Name::To, NameAddr::check) {
        return Err((400, "To missing or malformed"));
    }
    if !is(Name::CallId, CallId::check) {
        return Err((400, "Call-ID missing or malformed"));
    }
    let cseq = headers.get(Name::CSeq).ok_or((400, "CSeq missing"))?;
    let (_, method) = CSeq::split(cseq).map_err(|_| (400, "malformed CSeq"))?;
    if headers.count(Name::Via) == 0
        || !headers.iter().filter(|field| field.id() == Name::Via).all(|field| {
            field.value().is_some_and(|value| scan::split(value, b',').all(Via::check))
        })
    {
        return Err((400, "Via missing or malformed"));
    }
    Ok(method)
}

/// Checks fields that need not be there but are relied upon when they are.
fn check_optional(headers: &Headers) -> Result<(), Fault> {
    for (name, cause) in [
        (Name::Contact, "malformed Contact"),
        (Name::Route, "malformed Route"),
        (Name::RecordRoute, "malformed Record-Route"),
    ] {
        for field in headers.iter().filter(|field| field.id() == name) {
            let value = field.value().ok_or((400, cause))?;
            let is_star = name == Name::Contact && value == "*";
            if !is_star && !scan::split(value, b',').all(NameAddr::check) {
                return Err((400, cause));
            }
        }
    }
    let branch_is_empty = headers.get(Name::Via).is_some_and(|via| {
        let first = scan::split(via, b',').next().unwrap_or_default();
        let params = scan::split_once(first, b';').map_or("", |(_, params)| params);
        scan::split(params, b';').any(|param| {
            let (name, value) = scan::split_once(param, b'=').unwrap_or((param, ""));
            scan::trim(name).eq_ignore_ascii_case("branch") && scan::trim(value) == "z9hG4bK"
        })
    });
    if branch_is_empty { Err((400, "the branch is only the cookie")) } else { Ok(()) }
}

/// The body: as long as Content-Length says, or all the rest without one.
fn body(datagram: &Bytes, at: usize, headers: &Headers) -> Result<Bytes, Fault> {
    let rest = datagram.slice(at.min(datagram.len())..);
    let Some(field) = headers.field(Name::ContentLength) else { return Ok(rest) };
    let length = field.value().and_then(scan::digits).ok_or((400, "malformed Content-Length"))?;
    let length = length.ok().and_then(|length| usize::try_from(length).ok());
    match length {
        Some(length) if length <= rest.len() => Ok(rest.slice(..length)),
        _ => Err((400, "body shorter than Content-Length")),
    }
}

/// What a bad request's sender gets. Without a Via there is no way to say it; an ACK is never answered.
pub(crate) fn refuse(start: &[u8], headers: &Headers, (status, cause): Fault) -> ParseError {
    let is_sip = memchr::memmem::find(start, b" SIP/")
        .or_else(|| memchr::memmem::find(start, b" sip/"))
        .is_some();
    if !is_sip || start.starts_with(b"ACK ") || !headers.has(Name::Via) {
        return ParseError::Drop(cause);
    }
    let mut salvaged = Headers::new();
    salvaged.copy_from(headers, Name::Via);
    for name in [Name::From, Name::To, Name::CallId, Name::CSeq] {
        if let Some(field) = headers.field(name) {
            salvaged.push_field(field.clone());
        }
    }
    ParseError::Respond(Box::new(BadRequest { status, cause, salvaged }))
}
