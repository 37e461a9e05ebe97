//! Parameters of URIs and header fields (`;name=value`, RFC 3261 sections 7.3.1 and 19.1.1).

use std::fmt;

use super::scan::{self, Class};

/// Parameters in their order. Names are compared without case; values are kept as written, quotes included.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Params(Vec<(String, Option<String>)>);

impl Params {
    /// No parameters.
    pub const fn new() -> Self {
        Params(Vec::new())
    }

    /// Reads `;a=b;c` (the first semicolon may be missing). White space is allowed round `;` and `=`.
    /// `None` for an empty name, a stray separator, or a quote that does not end.
    pub fn parse(text: &str) -> Option<Self> {
        let mut params = Vec::new();
        for part in cut(text)? {
            let (name, value) = part?;
            params.push((name.to_owned(), value.map(str::to_owned)));
        }
        Some(Params(params))
    }

    /// Whether [`Params::parse`] would succeed, without allocating.
    pub(crate) fn check(text: &str) -> bool {
        cut(text).is_some_and(|mut parts| parts.all(|part| part.is_some()))
    }

    /// The value of one parameter in the text of all, without allocating.
    pub(crate) fn find<'a>(text: &'a str, name: &str) -> Option<&'a str> {
        cut(text)?.flatten().find(|(key, _)| key.eq_ignore_ascii_case(name))?.1
    }

    /// The value as written. `None`: absent, or present without a value (see [`Params::has`]).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| value.as_deref())
    }

    /// The value with its quotes and escapes taken away.
    pub fn get_unquoted(&self, name: &str) -> Option<String> {
        self.get(name).map(scan::unquote)
    }

    /// Whether the parameter is there, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key.eq_ignore_ascii_case(name))
    }

    /// Replaces the parameter, or appends it. The value goes out as given.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        let value = value.map(str::to_owned);
        match self.0.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case(name)) {
            Some(slot) => slot.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Like [`Params::set`], for a chain.
    pub fn with(mut self, name: &str, value: Option<&str>) -> Self {
        self.set(name, value);
        self
    }

    /// Takes the parameter away; whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.0.len() != before
    }

    /// All parameters in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

type Part<'a> = Option<(&'a str, Option<&'a str>)>;

/// Cuts parameter text into names and values; an item is `None` where the text is wrong.
fn cut(text: &str) -> Option<impl Iterator<Item = Part<'_>>> {
    let text = scan::trim(text);
    let text = text.strip_prefix(';').unwrap_or(text);
    let mut is_done = text.is_empty();
    let mut parts = scan::split(text, b';');
    Some(std::iter::from_fn(move || {
        if is_done {
            return None;
        }
        match parts.next() {
            Some(part) => Some(one(part)),
            None => {
                is_done = true;
                None
            }
        }
    }))
}

/// A URI parameter's name may hold a few more characters than a token (RFC 3261 section 25.1, paramchar).
static NAME: Class = Class::alphanumeric_and(b"-.!%*_+`'~[]/:&$()");

fn one(part: &str) -> Part<'_> {
    let (name, value) = match memchr::memchr(b'=', part.as_bytes()) {
        Some(at) => (scan::trim(&part[..at]), Some(scan::trim(&part[at + 1..]))),
        None => (part, None),
    };
    (!name.is_empty() && NAME.has_all(name) && value.is_none_or(is_value)).then_some((name, value))
}

/// A token, a host or a quoted string; loosely: no white space and nothing that would end it early.
fn is_value(value: &str) -> bool {
    if value.starts_with('"') {
        return scan::quoted_len(value) == Some(value.len());
    }
    !value.bytes().any(|byte| byte <= b' ' || byte == 0x7f || b"\";,<>".contains(&byte))
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.0 {
            match value {
                Some(value) => write!(f, ";{name}={value}")?,
                None => write!(f, ";{name}")?,
            }
        }
        Ok(())
    }
}
