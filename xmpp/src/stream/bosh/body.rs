//! The `<body/>` that wraps everything (XEP-0124 section 6), read and written. Payloads keep their bytes.

use bytes::Bytes;

use crate::xml::token::{Attributes, Token, Tokens};
use crate::xml::{Element, XmlError, escape, ns};

const NS: &str = "http://jabber.org/protocol/httpbind";
/// Most payloads of one request.
const MAX_PAYLOADS: usize = 100;
/// The largest request id (section 14.1).
const MAX_RID: u64 = (1 << 53) - 1;

/// Why a request is none. The answer is `bad-request`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// Not XML as streams allow it.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// XML, but no request.
    #[error("{0}")]
    NotABody(&'static str),
}

impl BodyFault {
    /// What the client is told.
    pub fn answer() -> Bytes {
        Answer::terminate(Some("bad-request")).to_bytes()
    }
}

/// One request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    /// Its number.
    pub rid: u64,
    /// The session; none to begin one.
    pub sid: Option<String>,
    pub(super) to: Option<String>,
    pub(super) lang: Option<String>,
    pub(super) wait: Option<u64>,
    pub(super) hold: Option<u64>,
    pub(super) ack: Option<u64>,
    pub(super) pause: Option<u64>,
    pub(super) key: Option<String>,
    pub(super) new_key: Option<String>,
    pub(super) terminates: bool,
    pub(super) restarts: bool,
    pub(super) payloads: Vec<Bytes>,
}

impl Body {
    /// The answer to a request for a session that is not there.
    pub fn unknown_session() -> Bytes {
        Answer::terminate(Some("item-not-found")).to_bytes()
    }

    /// Reads the content of an HTTP request.
    ///
    /// # Errors
    ///
    /// [`BodyFault`].
    pub fn parse(content: &Bytes) -> Result<Self, BodyFault> {
        let content = content.slice_ref(content.trim_ascii());
        // Proves all of it well-formed and within the limits of a stream.
        let element = Element::parse(&content)?;
        if !element.is("body", NS) {
            return Err(BodyFault::NotABody("another element"));
        }
        if !element.text().trim().is_empty() {
            return Err(BodyFault::NotABody("text in the body"));
        }
        let text = |name: &str| element.attr(name).map(str::to_owned);
        let number = |name: &str| element.attr(name).and_then(|value| value.trim().parse().ok());
        let rid = number("rid").filter(|rid| (1..MAX_RID).contains(rid));
        let is_true = |value: &str| matches!(value, "true" | "1");
        // The prefix is the client's choice; the attribute is known by its name.
        let restart = element.attrs().find(|(name, _)| name.ends_with(":restart"));
        Ok(Self {
            rid: rid.ok_or(BodyFault::NotABody("no request id"))?,
            sid: text("sid"),
            to: text("to"),
            lang: text("xml:lang"),
            wait: number("wait"),
            hold: number("hold"),
            ack: number("ack"),
            pause: number("pause"),
            key: text("key"),
            new_key: text("newkey"),
            terminates: element.attr("type") == Some("terminate"),
            restarts: restart.is_some_and(|(_, value)| is_true(value)),
            payloads: payloads(&content)?,
        })
    }
}

/// The elements in the body, byte for byte, each with the declarations that it took from the body.
fn payloads(content: &Bytes) -> Result<Vec<Bytes>, BodyFault> {
    let mut tokens = Tokens::new(content)?;
    let Some(Token::Start { attributes, empty, .. }) = tokens.next_token()? else {
        return Err(BodyFault::NotABody("no element"));
    };
    let declared: Vec<(String, String)> = Attributes::new(attributes)
        .filter_map(Result::ok)
        .filter_map(|(name, ns)| Some((name.strip_prefix("xmlns:")?.to_owned(), ns.into_owned())))
        .collect();
    let mut found = Vec::new();
    let mut depth = 0_usize;
    let mut begun = None;
    if empty {
        return Ok(found);
    }
    while let Some(token) = tokens.next_token()? {
        match token {
            Token::Start { name, attributes, empty, at } => {
                if depth == 0 {
                    begun = Some((at, name, attributes));
                }
                depth += usize::from(!empty);
            }
            // The last end is the body's own.
            Token::End { .. } if depth == 0 => break,
            Token::End { .. } => depth -= 1,
            Token::Text(_) | Token::Cdata(_) => continue,
        }
        if depth == 0
            && let Some((at, name, attributes)) = begun.take()
        {
            if found.len() >= MAX_PAYLOADS {
                return Err(BodyFault::NotABody("too many payloads"));
            }
            let raw = content.slice(at..tokens.position());
            found.push(standalone(raw, name, attributes, &declared));
        }
    }
    Ok(found)
}

/// A payload that stands for itself. One that declares no namespace is meant for the stream (XEP-0206 section 4 wants it
/// declared, and older clients leave it out).
fn standalone(raw: Bytes, name: &str, attributes: &str, declared: &[(String, String)]) -> Bytes {
    let text = std::str::from_utf8(&raw).unwrap_or_default();
    let own: Vec<&str> =
        Attributes::new(attributes).filter_map(Result::ok).map(|(name, _)| name).collect();
    let mut more = String::new();
    let mut declare = |name: &str, ns: &str| {
        more.push(' ');
        more.push_str(name);
        more.push_str("='");
        escape(&mut more, ns);
        more.push('\'');
    };
    if !own.contains(&"xmlns") && !name.contains(':') {
        declare("xmlns", ns::CLIENT);
    }
    for (prefix, ns) in declared {
        let attribute = format!("xmlns:{prefix}");
        if text.contains(&format!("{prefix}:")) && !own.contains(&attribute.as_str()) {
            declare(&attribute, ns);
        }
    }
    if more.is_empty() {
        return raw;
    }
    let (start, rest) = text.split_at_checked(1 + name.len()).unwrap_or((text, ""));
    format!("{start}{more}{rest}").into()
}

/// One answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    /// Attributes of the first answer of a session.
    pub(super) first: Option<Vec<(&'static str, String)>>,
    pub(super) ack: Option<u64>,
    pub(super) terminate: bool,
    pub(super) condition: Option<&'static str>,
    /// A recoverable error (section 17.3): ask again.
    pub(super) error: bool,
    pub(super) payloads: Vec<Bytes>,
}

impl Answer {
    pub(super) fn terminate(condition: Option<&'static str>) -> Self {
        Self { terminate: true, condition, ..Self::default() }
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        let size: usize = self.payloads.iter().map(Bytes::len).sum();
        let mut out = Vec::with_capacity(size + 512);
        out.extend_from_slice(b"<body xmlns='http://jabber.org/protocol/httpbind'");
        let mut push = |name: &str, value: &str| {
            let mut escaped = String::new();
            escape(&mut escaped, value);
            out.extend_from_slice(format!(" {name}='{escaped}'").as_bytes());
        };
        for (name, value) in self.first.iter().flatten() {
            push(name, value);
        }
        if let Some(ack) = self.ack {
            push("ack", &ack.to_string());
        }
        match (self.terminate, self.error) {
            (true, _) => push("type", "terminate"),
            (false, true) => push("type", "error"),
            (false, false) => {}
        }
        if let Some(condition) = self.condition {
            push("condition", condition);
        }
        if self.payloads.iter().any(|payload| payload.starts_with(b"<stream:")) {
            push("xmlns:stream", ns::STREAM);
        }
        if self.payloads.is_empty() {
            out.extend_from_slice(b"/>");
            return out.into();
        }
        out.push(b'>');
        for payload in &self.payloads {
            out.extend_from_slice(payload);
        }
        out.extend_from_slice(b"</body>");
        out.into()
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
