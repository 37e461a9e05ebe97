//! The characters of RFC 3261 section 25.1, and cutting text at separators that are not inside quotes or angle brackets.

/// A set of characters: one look-up tells whether a byte is in it.
pub(crate) struct Class([bool; 256]);

impl Class {
    /// ASCII letters and digits, and these.
    pub(crate) const fn alphanumeric_and(others: &[u8]) -> Class {
        let mut set = [false; 256];
        let mut at = 0;
        while at < others.len() {
            set[others[at] as usize] = true;
            at += 1;
        }
        let mut byte = 0;
        while byte < 128 {
            set[byte] |= (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        Class(set)
    }

    /// Every byte of printable ASCII but space and these.
    pub(crate) const fn visible_but(others: &[u8]) -> Class {
        let mut set = [false; 256];
        let mut byte = b'!' as usize;
        while byte <= b'~' as usize {
            set[byte] = true;
            byte += 1;
        }
        let mut at = 0;
        while at < others.len() {
            set[others[at] as usize] = false;
            at += 1;
        }
        Class(set)
    }

    /// Whether `byte` is in it.
    pub(crate) fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }

    /// Whether all of `text` is in it.
    pub(crate) fn has_all(&self, text: &str) -> bool {
        text.bytes().all(|byte| self.has(byte))
    }
}

static TOKEN: Class = Class::alphanumeric_and(b"-.!%*_+`'~");

/// Whether `byte` may stand in a `token`.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN.has(byte)
}

/// Whether `text` is a `token`: not empty, no separators.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && TOKEN.has_all(text)
}

/// `text` without the white space around it (space, tab, and line ends left by a careless caller).
pub(crate) fn trim(text: &str) -> &str {
    let bytes = text.as_bytes();
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = bytes.iter().position(is_text).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(is_text).map_or(start, |at| at + 1);
    &text[start..end]
}

/// The length of the quoted string at the start of `text`, both quotes counted; `None` when it does not end.
pub(crate) fn quoted_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The text inside a quoted string, escapes taken away; text without quotes comes back as it is.
pub(crate) fn unquote(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return text.to_owned();
    };
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return inner.to_owned();
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            _ => out.push(c),
        }
    }
    out
}

/// What stands in a quoted string as it is.
static PLAIN: Class = Class::visible_but(b"\"\\");

/// `text` as a quoted string. Control characters become spaces: they may not stand in one, not even escaped.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    if PLAIN.has_all(text) {
        out.push_str(text);
    } else {
        for c in text.chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                c if c.is_control() => out.push(' '),
                c => out.push(c),
            }
        }
    }
    out.push('"');
    out
}

/// Where the first `separator` outside quotes and angle brackets is.
pub(crate) fn find_outside(text: &str, separator: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        at += memchr::memchr3(separator, b'"', b'<', bytes.get(at..)?)?;
        at += match bytes.get(at)? {
            b'"' => quoted_len(text.get(at..)?)?,
            b'<' => memchr::memchr(b'>', bytes.get(at..)?)? + 1,
            _ => return Some(at),
        };
    }
}

/// `text` before and behind the first `separator`, which is ASCII.
pub(crate) fn split_once(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = memchr::memchr(separator, text.as_bytes())?;
    Some((&text[..at], &text[at + 1..]))
}

/// The parts of `text` between separators outside quotes and angle brackets, trimmed; empty parts are given too.
pub(crate) fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let whole = rest?;
        let (part, left) = match find_outside(whole, separator) {
            Some(at) => (&whole[..at], Some(&whole[at + 1..])),
            None => (whole, None),
        };
        rest = left;
        Some(trim(part))
    })
}

/// `%HH` decoded once, as bytes. A `%` that is not followed by two hex digits stays.
pub(crate) fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, bytes.get(at + 1).and_then(hex), bytes.get(at + 2).and_then(hex)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// Whether every `%` in `text` begins an escape.
pub(crate) fn has_whole_escapes(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'%', bytes).all(|at| {
        bytes.get(at + 1).and_then(hex).is_some() && bytes.get(at + 2).and_then(hex).is_some()
    })
}

fn hex(byte: &u8) -> Option<u8> {
    char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// A decimal number of digits only (leading zeros allowed). Too large is `Some(Err)`, not a number is `None`.
pub(crate) fn digits(text: &str) -> Option<Result<u64, TooLarge>> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().map_err(|_| TooLarge))
}

/// A number beyond 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// `text` as a 32-bit number, held at the largest one where it is larger (expiry times, RFC 4475 section 3.1.2.4).
pub(crate) fn saturating_u32(text: &str) -> Option<u32> {
    Some(match digits(text)? {
        Ok(number) => u32::try_from(number).unwrap_or(u32::MAX),
        Err(TooLarge) => u32::MAX,
    })
}
