//! What a well-formed request may ask of us (RFC 3261 section 8.2, in its order): method, scheme, extensions, body.

use super::header::{Accept, ContentEncoding, ContentType, Require};
use super::message::Request;
use super::method::Method;
use super::name::Name;
use super::status::reason_phrase;
use super::uri::Scheme;

/// The methods that are understood.
pub const ALLOWED_METHODS: [&str; 14] = [
    "INVITE",
    "ACK",
    "CANCEL",
    "BYE",
    "OPTIONS",
    "REGISTER",
    "MESSAGE",
    "SUBSCRIBE",
    "NOTIFY",
    "PUBLISH",
    "REFER",
    "INFO",
    "UPDATE",
    "PRACK",
];

/// The extensions that may be required of us.
pub const SUPPORTED: [&str; 9] =
    ["100rel", "199", "eventlist", "gruu", "norefersub", "outbound", "path", "replaces", "timer"];

/// An answer to a request that we will not process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// Header fields that go with it.
    pub headers: Vec<(String, String)>,
}

impl Refusal {
    /// A refusal with the usual phrase.
    pub fn new(status: u16) -> Self {
        Refusal { status, reason: reason_phrase(status).to_owned(), headers: Vec::new() }
    }

    /// With a header field.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// Checks a request before anything else is done with it. An ACK is never answered: drop it when it is refused.
///
/// # Errors
/// 501, 416, 400, 420, 415 or 406 with the header fields that RFC 3261 asks for.
pub fn check_request(request: &Request) -> Result<(), Refusal> {
    check_method(request)?;
    check_scheme(request)?;
    check_require(request)?;
    check_body(request)?;
    check_accept(request)
}

fn check_method(request: &Request) -> Result<(), Refusal> {
    if ALLOWED_METHODS.contains(&request.method.as_str()) {
        return Ok(());
    }
    Err(Refusal::new(501).with("Allow", ALLOWED_METHODS.join(", ")))
}

/// The Request-URI has to be one we can route; a registrar also has to understand the To (RFC 4475 section 3.3.4).
fn check_scheme(request: &Request) -> Result<(), Refusal> {
    if matches!(request.uri.scheme, Scheme::Other(_)) {
        return Err(Refusal::new(416));
    }
    if request.method == Method::REGISTER {
        let is_known =
            request.headers.to().is_ok_and(|to| !matches!(to.uri.scheme, Scheme::Other(_)));
        return if is_known { Ok(()) } else { Err(Refusal::new(400)) };
    }
    Ok(())
}

/// ACK and CANCEL are exempt (section 8.2.2.3).
fn check_require(request: &Request) -> Result<(), Refusal> {
    if matches!(request.method, Method::ACK | Method::CANCEL) {
        return Ok(());
    }
    let required = request.headers.list::<Require>().map_err(|_| Refusal::new(400))?;
    let is_supported = |tag: &str| SUPPORTED.iter().any(|known| known.eq_ignore_ascii_case(tag));
    let unknown: Vec<&str> =
        required.iter().map(|tag| tag.0.as_str()).filter(|tag| !is_supported(tag)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Refusal::new(420).with("Unsupported", unknown.join(", ")))
}

/// Session descriptions have to be ones; what MESSAGE, INFO, NOTIFY and PUBLISH carry is judged where it is used.
fn check_body(request: &Request) -> Result<(), Refusal> {
    if request.body.is_empty() {
        return Ok(());
    }
    let encodings = request.headers.list::<ContentEncoding>().map_err(|_| Refusal::new(400))?;
    if encodings.iter().any(|encoding| !encoding.0.eq_ignore_ascii_case("identity")) {
        return Err(Refusal::new(415).with("Accept-Encoding", "identity"));
    }
    let has_session = matches!(request.method, Method::INVITE | Method::UPDATE | Method::PRACK);
    let disposition =
        request.headers.get(Name::ContentDisposition).unwrap_or("session").to_ascii_lowercase();
    if !has_session || disposition.contains("handling=optional") {
        return Ok(());
    }
    let media = request.headers.typed::<ContentType>().map_err(|_| Refusal::new(400))?.media;
    match media.as_str() {
        "application/sdp" | "multipart/mixed" | "multipart/alternative" | "multipart/related" => {
            Ok(())
        }
        _ => Err(Refusal::new(415).with("Accept", "application/sdp")),
    }
}

/// An INVITE whose sender cannot take a session description cannot be answered with one.
fn check_accept(request: &Request) -> Result<(), Refusal> {
    if request.method != Method::INVITE || !request.headers.has(Name::Accept) {
        return Ok(());
    }
    let accepted = request.headers.list::<Accept>().map_err(|_| Refusal::new(400))?;
    if accepted.iter().any(|accept| accept.takes("application/sdp")) {
        return Ok(());
    }
    Err(Refusal::new(406).with("Warning", "399 tandem \"answers are application/sdp\""))
}
