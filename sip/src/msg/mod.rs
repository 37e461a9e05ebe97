//! SIP messages on the wire (RFC 3261 sections 7, 18.3, 19, 20, 25): parser, printer, URIs, typed header fields.
//!
//! Lossless: header fields keep their order, their names as written and values that nobody here understands. Folded
//! lines are unfolded, nothing else is changed. The bytes of a message are shared, not copied, by its fields and body.
//! What is wrong with a message, and what the sender has to be told, is a [`ParseError`]; what a well-formed request
//! asks beyond our means is found by [`check_request`].

mod check;
mod error;
mod head;
pub mod header;
mod headers;
mod host;
mod message;
mod method;
mod multipart;
mod name;
mod params;
mod parse;
mod print;
pub(crate) mod scan;
mod status;
pub mod stream;
mod uri;

#[cfg(test)]
mod header_tests;
#[cfg(test)]
mod multipart_tests;
#[cfg(test)]
mod mutation_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod torture_tests;

pub use check::{ALLOWED_METHODS, Refusal, SUPPORTED, check_request};
pub use error::{BadRequest, ParseError};
pub use header::{Header, HeaderError, ListHeader, NameAddr, Problem};
pub use headers::{Field, Headers};
pub use host::Host;
pub use message::{Message, Request, Response};
pub use method::Method;
pub use multipart::{Multipart, MultipartError, Part};
pub use name::{AsName, Name};
pub use params::Params;
pub use parse::{Limits, parse_datagram};
pub use status::reason_phrase;
pub use uri::{Scheme, Uri, UriError, escape_user};
