//! Requests and responses (RFC 3261 sections 7.1 and 7.2).

use bytes::Bytes;

use super::header::{CSeq, CallId, From, HeaderError, MaxForwards, NameAddr, To, Via};
use super::headers::Headers;
use super::method::Method;
use super::name::Name;
use super::status::reason_phrase;
use super::uri::Uri;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// Of whom (the Request-URI).
    pub uri: Uri,
    /// The header fields.
    pub headers: Headers,
    /// The body; `Content-Length` is written by the printer.
    pub body: Bytes,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// 100 to 699.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: String,
    /// The header fields.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

impl Message {
    /// The header fields.
    pub fn headers(&self) -> &Headers {
        match self {
            Message::Request(request) => &request.headers,
            Message::Response(response) => &response.headers,
        }
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        match self {
            Message::Request(request) => &request.body,
            Message::Response(response) => &response.body,
        }
    }
}

impl Request {
    /// A request without header fields.
    pub fn new(method: Method, uri: Uri) -> Self {
        Request { method, uri, headers: Headers::with_capacity(16), body: Bytes::new() }
    }

    /// A response to this request (RFC 3261 section 8.2.6): Via, From, To, Call-ID and CSeq are copied. Outside a
    /// dialog, `to_tag` is added to a To without one, except in a 100; a 100 copies the Timestamp too.
    pub fn response(&self, status: u16, to_tag: Option<&str>) -> Response {
        let mut response = Response::new(status);
        response.headers = Headers::with_capacity(16);
        for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
            response.headers.copy_from(&self.headers, name);
        }
        if status == 100 {
            response.headers.copy_from(&self.headers, Name::Timestamp);
        }
        if let (Some(tag), true) = (to_tag, status > 100) {
            response.tag_to(tag);
        }
        response
    }

    /// Sets body and Content-Type.
    pub fn with_body(mut self, content_type: &str, body: Bytes) -> Self {
        self.headers.set(Name::ContentType, content_type);
        self.body = body;
        self
    }
}

impl Response {
    /// A response with the usual reason phrase and no header fields.
    pub fn new(status: u16) -> Self {
        let reason = reason_phrase(status).to_owned();
        Response { status, reason, headers: Headers::new(), body: Bytes::new() }
    }

    /// Adds a tag to a To that has none. A To that cannot be read stays.
    pub fn tag_to(&mut self, tag: &str) {
        let is_untagged = |to: &&str| NameAddr::check(to) && NameAddr::tag_in(to).is_none();
        if let Some(to) = self.headers.get(Name::To).filter(is_untagged) {
            let tagged = format!("{to};tag={tag}");
            self.headers.set(Name::To, tagged);
        }
    }

    /// Sets body and Content-Type.
    pub fn with_body(mut self, content_type: &str, body: Bytes) -> Self {
        self.headers.set(Name::ContentType, content_type);
        self.body = body;
        self
    }
}

/// The fields that every message has.
impl Headers {
    /// The topmost Via.
    ///
    /// # Errors
    /// Missing or malformed.
    pub fn top_via(&self) -> Result<Via, HeaderError> {
        self.typed()
    }

    /// From.
    ///
    /// # Errors
    /// Missing or malformed.
    pub fn from(&self) -> Result<From, HeaderError> {
        self.typed()
    }

    /// To.
    ///
    /// # Errors
    /// Missing or malformed.
    pub fn to(&self) -> Result<To, HeaderError> {
        self.typed()
    }

    /// The tag in From; `None` too when From is missing or malformed.
    pub fn from_tag(&self) -> Option<&str> {
        self.get(Name::From).and_then(NameAddr::tag_in)
    }

    /// The tag in To; `None` too when To is missing or malformed.
    pub fn to_tag(&self) -> Option<&str> {
        self.get(Name::To).and_then(NameAddr::tag_in)
    }

    /// Call-ID.
    ///
    /// # Errors
    /// Missing or malformed.
    pub fn call_id(&self) -> Result<CallId, HeaderError> {
        self.typed()
    }

    /// CSeq.
    ///
    /// # Errors
    /// Missing or malformed.
    pub fn cseq(&self) -> Result<CSeq, HeaderError> {
        self.typed()
    }

    /// Max-Forwards; 70 when it is missing or unreadable.
    pub fn max_forwards(&self) -> MaxForwards {
        self.typed().unwrap_or(MaxForwards::DEFAULT)
    }
}
