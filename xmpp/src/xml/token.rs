//! Tokens of one complete, framed part: tags, attributes, text (XML 1.0 as restricted by RFC 6120 section 11).

use std::borrow::Cow;

use memchr::memchr;

use super::XmlError;

/// One token. Names and values are raw slices of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// `<name attributes>` or `<name attributes/>`.
    Start {
        /// Qualified name.
        name: &'a str,
        /// Everything between the name and the bracket.
        attributes: &'a str,
        /// Whether the element ends here too.
        empty: bool,
        /// Where the tag begins in the input.
        at: usize,
    },
    /// `</name>`; `after` is the offset behind it.
    End {
        /// Qualified name.
        name: &'a str,
        /// Offset behind the tag.
        after: usize,
    },
    /// Character data, escapes not resolved.
    Text(&'a str),
    /// The inside of a CDATA section.
    Cdata(&'a str),
}

/// The tokens of a string.
#[derive(Debug, Clone)]
pub struct Tokens<'a> {
    input: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    /// Tokens of `input`, which must be valid UTF-8.
    ///
    /// # Errors
    ///
    /// [`XmlError::NotWellFormed`] for other bytes.
    pub fn new(input: &'a [u8]) -> Result<Self, XmlError> {
        let input = std::str::from_utf8(input).map_err(|_| XmlError::NotWellFormed("not UTF-8"))?;
        Ok(Self { input, at: 0 })
    }

    /// Offset of the next token.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next token, `None` at the end.
    ///
    /// # Errors
    ///
    /// [`XmlError`] when the input is not what a stream may carry.
    pub fn next_token(&mut self) -> Result<Option<Token<'a>>, XmlError> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        if !rest.starts_with('<') {
            let length = memchr(b'<', rest.as_bytes()).unwrap_or(rest.len());
            self.at += length;
            let text = rest.get(..length).unwrap_or_default();
            check_characters(text)?;
            // XML 1.0 section 2.4: it is passed on as it came, and would end the stream of who gets it.
            if memchr::memmem::find(text.as_bytes(), b"]]>").is_some() {
                return Err(XmlError::NotWellFormed("end of CDATA in text"));
            }
            return Ok(Some(Token::Text(text)));
        }
        if let Some(inner) = rest.strip_prefix("<![CDATA[") {
            let length = inner.find("]]>").ok_or(XmlError::NotWellFormed("open CDATA"))?;
            self.at += 9 + length + 3;
            let text = inner.get(..length).unwrap_or_default();
            check_characters(text)?;
            return Ok(Some(Token::Cdata(text)));
        }
        if rest.starts_with("<!") || rest.starts_with("<?") {
            return Err(XmlError::Restricted("comment, instruction or document type"));
        }
        let length = tag_length(rest).ok_or(XmlError::NotWellFormed("open tag"))?;
        let at = self.at;
        self.at += length;
        let inner = rest.get(1..length - 1).unwrap_or_default();
        if let Some(name) = inner.strip_prefix('/') {
            let name = check_name(name.trim_end_matches(is_space))?;
            return Ok(Some(Token::End { name, after: self.at }));
        }
        let (inner, empty) = match inner.strip_suffix('/') {
            Some(inner) => (inner, true),
            None => (inner, false),
        };
        let (name, attributes) = match inner.find(is_space) {
            Some(end) => inner.split_at(end),
            None => (inner, ""),
        };
        Ok(Some(Token::Start { name: check_name(name)?, attributes, empty, at }))
    }
}

/// Attributes of one tag, in order, values unescaped.
pub struct Attributes<'a>(&'a str);

impl<'a> Attributes<'a> {
    /// Reads the `attributes` part of a start token.
    pub fn new(attributes: &'a str) -> Self {
        Self(attributes)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(&'a str, Cow<'a, str>), XmlError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.trim_start_matches(is_space);
        if rest.is_empty() {
            return None;
        }
        Some(read_attribute(rest).map(|(name, value, rest)| {
            self.0 = rest;
            (name, value)
        }))
        .inspect(|read| {
            if read.is_err() {
                self.0 = "";
            }
        })
    }
}

fn read_attribute(rest: &str) -> Result<(&str, Cow<'_, str>, &str), XmlError> {
    const BAD: XmlError = XmlError::NotWellFormed("attribute");
    let (name, rest) = rest.split_once('=').ok_or(BAD)?;
    let name = check_name(name.trim_end_matches(is_space))?;
    let rest = rest.trim_start_matches(is_space);
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or(BAD)?;
    let rest = rest.get(1..).ok_or(BAD)?;
    let (value, rest) = rest.split_once(quote).ok_or(BAD)?;
    if !(rest.is_empty() || rest.starts_with(is_space)) || value.contains('<') {
        return Err(BAD);
    }
    check_characters(value)?;
    Ok((name, unescape(value)?, rest))
}

/// The prefix that an attribute declares a namespace for, the default one's being empty; `None` for other attributes.
///
/// # Errors
///
/// [`XmlError::NotWellFormed`] for what Namespaces in XML 1.0 section 3 forbids: a prefix for nothing, and the two
/// reserved ones with their namespaces otherwise than they are.
pub fn declared<'a>(name: &'a str, namespace: &str) -> Result<Option<&'a str>, XmlError> {
    let prefix = match name.split_once(':') {
        None if name == "xmlns" => "",
        Some(("xmlns", prefix)) => prefix,
        _ => return Ok(None),
    };
    let is_reserved = prefix == "xmlns" || namespace == XMLNS;
    let is_mistaken = (prefix == "xml") != (namespace == super::ns::XML);
    if is_reserved || is_mistaken || (namespace.is_empty() && !prefix.is_empty()) {
        return Err(XmlError::NotWellFormed("namespace declaration"));
    }
    Ok(Some(prefix))
}

/// Bound to the prefix `xmlns` and to nothing else.
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// Resolves the five entities and character references.
///
/// # Errors
///
/// [`XmlError::Restricted`] for any other entity, [`XmlError::NotWellFormed`] for a stray `&`.
pub fn unescape(text: &str) -> Result<Cow<'_, str>, XmlError> {
    if memchr(b'&', text.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let (name, after) = after.split_once(';').ok_or(XmlError::NotWellFormed("stray &"))?;
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => character_reference(name)?,
        });
        rest = after;
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

fn character_reference(name: &str) -> Result<char, XmlError> {
    let number = name.strip_prefix('#').ok_or(XmlError::Restricted("entity"))?;
    let (digits, radix) = match number.strip_prefix('x') {
        Some(hex) => (hex, 16),
        None => (number, 10),
    };
    // No sign, which the library would take.
    let code = digits.starts_with(|c: char| c.is_digit(radix));
    code.then(|| u32::from_str_radix(digits, radix).ok())
        .flatten()
        .and_then(char::from_u32)
        .filter(|c| is_character(*c))
        .ok_or(XmlError::NotWellFormed("character reference"))
}

fn tag_length(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let mut at = 1;
    loop {
        let found = at + memchr::memchr3(b'>', b'"', b'\'', bytes.get(at..)?)?;
        match bytes.get(found)? {
            b'>' => return Some(found + 1),
            quote => at = found + 2 + memchr(*quote, bytes.get(found + 1..)?)?,
        }
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// XML 1.0 section 2.2.
pub fn is_character(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn check_characters(text: &str) -> Result<(), XmlError> {
    let plain = |b: &u8| matches!(b, b' '..=0x7e | b'\n' | b'\t' | b'\r');
    if text.as_bytes().iter().all(plain) || text.chars().all(is_character) {
        return Ok(());
    }
    Err(XmlError::NotWellFormed("illegal character"))
}

/// A qualified name (Namespaces in XML 1.0 section 4).
fn check_name(name: &str) -> Result<&str, XmlError> {
    let mut parts = name.splitn(2, ':');
    let fits = parts.all(|part| {
        let mut characters = part.chars();
        characters.next().is_some_and(begins_name) && characters.all(continues_name)
    });
    if fits { Ok(name) } else { Err(XmlError::NotWellFormed("name")) }
}

fn begins_name(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || LETTERS.iter().any(|range| range.contains(&c))
}

fn continues_name(c: char) -> bool {
    begins_name(c) || c.is_ascii_digit() || matches!(c, '-' | '.' | '\u{b7}')
}

/// Letters of living scripts that every edition of XML 1.0 takes in names. Later editions take more, but many parsers
/// follow the fourth (appendix B), and a name that is passed on must not end the stream of who gets it.
const LETTERS: [std::ops::RangeInclusive<char>; 24] = [
    '\u{c0}'..='\u{d6}',
    '\u{d8}'..='\u{f6}',
    '\u{f8}'..='\u{131}',
    '\u{134}'..='\u{13e}',
    '\u{141}'..='\u{148}',
    '\u{14a}'..='\u{17e}',
    '\u{180}'..='\u{1c3}',
    '\u{388}'..='\u{38a}',
    '\u{38e}'..='\u{3a1}',
    '\u{3a3}'..='\u{3ce}',
    '\u{401}'..='\u{40c}',
    '\u{40e}'..='\u{44f}',
    '\u{451}'..='\u{45c}',
    '\u{45e}'..='\u{481}',
    '\u{531}'..='\u{556}',
    '\u{561}'..='\u{586}',
    '\u{5d0}'..='\u{5ea}',
    '\u{621}'..='\u{63a}',
    '\u{641}'..='\u{64a}',
    '\u{905}'..='\u{939}',
    '\u{3041}'..='\u{3094}',
    '\u{30a1}'..='\u{30fa}',
    '\u{4e00}'..='\u{9fa5}',
    '\u{ac00}'..='\u{d7a3}',
];
