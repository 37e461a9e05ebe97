//! RFC 3261 sections 20.10 and 25.1: `"Display Name" <uri>;params`, the shape of From, To, Contact, Route and others.

use std::fmt;

use crate::msg::params::Params;
use crate::msg::scan;
use crate::msg::uri::{RawUri, Uri};

/// An address with an optional display name and the header field's parameters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NameAddr {
    /// The display name, quotes and escapes taken away.
    pub display: Option<String>,
    /// The address.
    pub uri: Uri,
    /// Parameters outside the angle brackets.
    pub params: Params,
}

impl NameAddr {
    /// An address alone.
    pub fn new(uri: Uri) -> Self {
        NameAddr { display: None, uri, params: Params::new() }
    }

    /// With a display name.
    pub fn with_display(mut self, display: Option<&str>) -> Self {
        self.display = display.map(str::to_owned);
        self
    }

    /// With a tag.
    pub fn with_tag(mut self, tag: &str) -> Self {
        self.params.set("tag", Some(tag));
        self
    }

    /// The `tag` parameter.
    pub fn tag(&self) -> Option<&str> {
        self.params.get("tag")
    }

    /// The `tag` in the text of an address, without allocating.
    pub(crate) fn tag_in(text: &str) -> Option<&str> {
        Params::find(RawNameAddr::split(text)?.params, "tag")
    }

    /// Reads `name-addr` or `addr-spec` with parameters; `None` when it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let raw = RawNameAddr::split(text)?;
        Some(NameAddr {
            display: raw.display.filter(|text| !text.is_empty()).map(scan::unquote),
            uri: raw.uri.to_uri(),
            params: Params::parse(raw.params)?,
        })
    }

    /// Whether [`NameAddr::parse`] would succeed, without allocating.
    pub(crate) fn check(text: &str) -> bool {
        RawNameAddr::split(text).is_some_and(|raw| Params::check(raw.params))
    }
}

struct RawNameAddr<'a> {
    display: Option<&'a str>,
    uri: RawUri<'a>,
    params: &'a str,
}

impl<'a> RawNameAddr<'a> {
    fn split(text: &'a str) -> Option<Self> {
        let text = scan::trim(text);
        let after_quotes = if text.starts_with('"') { scan::quoted_len(text)? } else { 0 };
        let unquoted = text.get(after_quotes..)?;
        let open = memchr::memchr(b'<', unquoted.as_bytes()).map(|at| at + after_quotes);
        // A `<` behind the first `;` belongs to a parameter of an address without brackets; none may hold one.
        let Some(open) = open else { return Self::split_bare(text) };
        let display = scan::trim(text.get(..open)?);
        if after_quotes == 0 && !is_plain_display(display)
            || after_quotes != 0 && after_quotes != display.len()
        {
            return None;
        }
        let inside = text.get(open + 1..)?;
        let close = memchr::memchr(b'>', inside.as_bytes())?;
        let params = scan::trim(inside.get(close + 1..)?);
        if !params.is_empty() && !params.starts_with(';') {
            return None;
        }
        Some(RawNameAddr {
            display: Some(display),
            uri: RawUri::split(inside.get(..close)?)?,
            params,
        })
    }

    /// Without brackets, a URI may hold neither `;` nor `?` nor `,` (section 20.10): what follows `;` is the field's.
    fn split_bare(text: &'a str) -> Option<Self> {
        let end = memchr::memchr(b';', text.as_bytes()).unwrap_or(text.len());
        let uri = scan::trim(text.get(..end)?);
        if uri.contains(['?', ',']) {
            return None;
        }
        Some(RawNameAddr { display: None, uri: RawUri::split(uri)?, params: text.get(end..)? })
    }
}

/// Tokens and white space. Bytes beyond ASCII are let through. COMPAT: phones that send names in UTF-8 without quotes.
fn is_plain_display(text: &str) -> bool {
    text.bytes()
        .all(|byte| scan::is_token_byte(byte) || matches!(byte, b' ' | b'\t') || byte >= 0x80)
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = &self.display {
            write!(f, "{} ", scan::quote(display))?;
        }
        write!(f, "<{}>{}", self.uri, self.params)
    }
}
