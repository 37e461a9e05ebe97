//! What is wrong with a message that could not be read, and what its sender gets (RFC 3261 section 8.2, RFC 4475).

use super::headers::Headers;
use super::message::Response;
use super::name::Name;
use super::status::reason_phrase;

/// Why bytes are no message that we go on with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Say nothing: no SIP, a bad response, a bad ACK, or nothing to answer by.
    #[error("dropped: {0}")]
    Drop(&'static str),
    /// Answer without a transaction.
    #[error("{}: {}", .0.status, .0.cause)]
    Respond(Box<BadRequest>),
}

/// A request that is answered without being understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRequest {
    /// The answer's status.
    pub status: u16,
    /// What was wrong, for the log and the reason phrase.
    pub cause: &'static str,
    /// Via, From, To, Call-ID and CSeq as far as they were there, as written.
    pub salvaged: Headers,
}

impl ParseError {
    /// The answer, ready but for the Via's `received` and `rport`; `None` for silence.
    pub fn response(&self, to_tag: &str) -> Option<Response> {
        match self {
            ParseError::Drop(_) => None,
            ParseError::Respond(bad) => Some(bad.response(to_tag)),
        }
    }

    /// The answer's status; `None` for silence.
    pub fn status(&self) -> Option<u16> {
        match self {
            ParseError::Drop(_) => None,
            ParseError::Respond(bad) => Some(bad.status),
        }
    }

    /// What was wrong.
    pub fn cause(&self) -> &'static str {
        match self {
            ParseError::Drop(cause) => cause,
            ParseError::Respond(bad) => bad.cause,
        }
    }
}

impl BadRequest {
    /// The answer, ready but for the Via's `received` and `rport`.
    pub fn response(&self, to_tag: &str) -> Response {
        let mut response = Response::new(self.status);
        if self.status == 400 {
            response.reason = format!("{} ({})", reason_phrase(400), self.cause);
        }
        for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
            response.headers.copy_from(&self.salvaged, name);
        }
        response.tag_to(to_tag);
        response
    }
}
