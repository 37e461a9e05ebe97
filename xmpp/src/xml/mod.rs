//! XML as streams use it (RFC 6120 sections 4 and 11): framing with limits, tokens, and a small element tree.
//!
//! Restricted XML: comments, processing instructions, document types and entities other than the five are refused
//! (section 11.1). [`frame::Framer`] cuts the byte stream into stanzas and enforces size and depth before anything is
//! parsed; [`token::Tokens`] proves a stanza well-formed; [`Element`] is what handlers read and write.

mod element;
pub mod frame;
mod rescope;
pub mod token;

pub use element::{Element, Node, escape};
pub use rescope::rescope;

/// Deepest nesting inside one stanza, the stanza itself included.
pub const MAX_DEPTH: usize = 64;
/// Most attributes in one stanza, all elements together.
pub const MAX_ATTRIBUTES: usize = 256;

/// Why XML from a peer is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// Tags do not match, a character is illegal, UTF-8 is broken.
    #[error("not well-formed: {0}")]
    NotWellFormed(&'static str),
    /// A comment, processing instruction, document type or unknown entity (RFC 6120 section 11.1).
    #[error("restricted XML: {0}")]
    Restricted(&'static str),
    /// A prefix without a declaration.
    #[error("undeclared namespace prefix")]
    UnknownPrefix,
    /// Larger, deeper or with more attributes than allowed.
    #[error("{0}")]
    TooMuch(&'static str),
}

impl XmlError {
    /// The stream error condition (RFC 6120 section 4.9.3).
    pub fn condition(&self) -> &'static str {
        match self {
            Self::NotWellFormed(_) => "not-well-formed",
            Self::Restricted(_) => "restricted-xml",
            Self::UnknownPrefix => "bad-namespace-prefix",
            Self::TooMuch(_) => "policy-violation",
        }
    }
}

/// Namespaces that more than one module needs.
pub mod ns {
    /// Stanzas between clients and servers.
    pub const CLIENT: &str = "jabber:client";
    /// Stanzas between servers.
    pub const SERVER: &str = "jabber:server";
    /// Stanzas between a server and its components (XEP-0114).
    pub const COMPONENT: &str = "jabber:component:accept";
    /// Stream elements.
    pub const STREAM: &str = "http://etherx.jabber.org/streams";
    /// Stanza error conditions.
    pub const STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
    /// Stream error conditions.
    pub const STREAMS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
    /// XML's own prefix.
    pub const XML: &str = "http://www.w3.org/XML/1998/namespace";
}
