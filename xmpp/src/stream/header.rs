//! The opening tag of a stream between servers or from a component (RFC 6120 section 4.7), and ids for ours.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::jid::Jid;
use crate::xml::token::{Attributes, Token, Tokens};
use crate::xml::{Element, XmlError, ns};

/// Bytes of prefixes and namespaces remembered of a stream's header.
const MAX_DECLARED_BYTES: usize = 4 * 1024;

/// What a peer's header says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// Whether it is a `<stream/>` of the stream namespace.
    pub(super) is_stream: bool,
    /// The content namespace.
    pub(super) content: String,
    /// Prepared; `Some(None)` is an address that is none.
    pub(super) from: Option<Option<String>>,
    pub(super) to: Option<Option<String>>,
    pub(super) id: Option<String>,
    /// Version 1.0 or later.
    pub(super) is_xmpp_1: bool,
    /// Prefixes declared for the whole stream, with their namespaces.
    pub(super) declared: Vec<(String, String)>,
}

impl Header {
    /// Reads the raw opening tag.
    ///
    /// # Errors
    ///
    /// [`XmlError`] when it is none.
    pub(super) fn parse(raw: &[u8]) -> Result<Self, XmlError> {
        let mut closed = raw.to_vec();
        if let Some(bracket) = closed.pop() {
            closed.push(b'/');
            closed.push(bracket);
        }
        let element = Element::parse(&closed)?;
        let domain = |name| element.attr(name).map(prepared);
        let version = element.attr("version").and_then(|v| v.split('.').next()?.parse().ok());
        let (content, mut declared) = declarations(&closed);
        // The content namespace is `jabber:client` inside, also where it has a prefix.
        for (_, namespace) in &mut declared {
            if matches!(namespace.as_str(), ns::SERVER | ns::COMPONENT) {
                ns::CLIENT.clone_into(namespace);
            }
        }
        Ok(Self {
            is_stream: element.is("stream", ns::STREAM),
            content,
            from: domain("from"),
            to: domain("to"),
            id: element.attr("id").map(str::to_owned),
            is_xmpp_1: version.is_some_and(|v: u32| v >= 1),
            declared,
        })
    }
}

/// A domain in its one form.
pub(super) fn prepared(domain: &str) -> Option<String> {
    Jid::new(None, domain, None).ok().map(|jid| jid.domain().to_owned())
}

/// The default namespace and the prefixes; those beyond the bound are unknown, as they would grow every stanza that
/// uses them.
pub(super) fn declarations(header: &[u8]) -> (String, Vec<(String, String)>) {
    let first = Tokens::new(header).and_then(|mut tokens| tokens.next_token());
    let Ok(Some(Token::Start { attributes, .. })) = first else { return Default::default() };
    let mut room = MAX_DECLARED_BYTES;
    let (mut content, mut declared) = (String::new(), Vec::new());
    for (name, namespace) in Attributes::new(attributes).map_while(Result::ok) {
        if name == "xmlns" {
            content = namespace.into_owned();
        } else if let Some(prefix) = name.strip_prefix("xmlns:") {
            let bytes = prefix.len() + namespace.len();
            if matches!(prefix, "stream" | "xml" | "xmlns") || bytes > room {
                continue;
            }
            room -= bytes;
            declared.push((prefix.to_owned(), namespace.into_owned()));
        }
    }
    (content, declared)
}

/// Stream ids: unpredictable, from one random seed (RFC 6120 section 4.7.3).
#[derive(Debug)]
pub(super) struct Ids {
    seed: [u8; 32],
    count: u64,
}

impl Ids {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self { seed, count: 0 }
    }

    pub(super) fn next_id(&mut self) -> String {
        use sha2::Digest;
        self.count += 1;
        let digest =
            sha2::Sha256::new().chain_update(self.seed).chain_update(self.count.to_be_bytes());
        URL_SAFE_NO_PAD.encode(digest.finalize().get(..18).unwrap_or_default())
    }
}

/// A `<stream:error/>` with this condition (RFC 6120 section 4.9).
pub(super) fn stream_error(condition: &str, text: &str) -> Element {
    let error = Element::new("error", ns::STREAM).with_child(Element::new(condition, ns::STREAMS));
    if text.is_empty() {
        return error;
    }
    error.with_child(Element::new("text", ns::STREAMS).with_text(text))
}
