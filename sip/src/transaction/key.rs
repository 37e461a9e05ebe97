//! Which transaction a message belongs to (RFC 3261 sections 17.1.3 and 17.2.3).

use crate::msg::header::Via;
use crate::msg::{Headers, Method, Request};

/// What branches of this century begin with.
pub const COOKIE: &str = "z9hG4bK";

/// The name of a server transaction: branch, sent-by and method; for branches without the cookie, what RFC 2543 used.
/// An ACK and a CANCEL can be asked for the name of their INVITE.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerKey(Box<str>);

impl ServerKey {
    /// The key of `request` as if its method were `method`.
    pub fn of(request: &Request, via: &Via, method: &Method) -> Self {
        let branch = via.branch().unwrap_or_default();
        let is_modern = branch
            .get(..COOKIE.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(COOKIE) && branch.len() > COOKIE.len());
        let (host, port) = (&via.host, via.port.unwrap_or_default());
        if is_modern {
            return Self(format!("{branch} {host}:{port} {method}").into());
        }
        let headers = &request.headers;
        let number = headers.cseq().map_or(0, |cseq| cseq.number);
        let call_id = headers.get("Call-ID").unwrap_or_default();
        let tag = headers.from_tag().unwrap_or_default();
        Self(format!("{call_id} {number} {tag} {} {via} {method}", request.uri).into())
    }
}

/// The name of a client transaction: the branch, which is ours and unique, and the method, as a CANCEL shares the
/// branch of its INVITE.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientKey(Box<str>);

impl ClientKey {
    /// The key of a request with this branch.
    pub fn new(branch: &str, method: &Method) -> Self {
        Self(format!("{branch} {method}").into())
    }

    /// The key that the response's only Via and its CSeq name; `None` without a branch or a CSeq.
    pub fn of_response(via: &Via, headers: &Headers) -> Option<Self> {
        Some(Self::new(via.branch()?, &headers.cseq().ok()?.method))
    }
}
