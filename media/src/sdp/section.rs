//! The lines of one SDP section (RFC 8866 section 5), kept in order, unknown ones too.

use super::value::{Bandwidth, Connection, Direction, Fingerprint, Group, Rtcp, RtpMap, SetupRole};
use crate::srtp::sdes::Crypto;

/// One line: a letter and what stands behind its `=`.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    kind: char,
    value: String,
}

impl Line {
    /// Makes a line. What would end it early (CR, LF, NUL) is left out of the value, so that nobody's text becomes a line
    /// of its own; a `kind` that is no ASCII letter becomes `x`, which nobody understands.
    pub fn new(kind: char, value: &str) -> Self {
        let kind = if kind.is_ascii_alphabetic() { kind } else { 'x' };
        Self { kind, value: value.chars().filter(|c| !matches!(c, '\r' | '\n' | '\0')).collect() }
    }

    /// `a`, `b`, `c` ...
    pub fn kind(&self) -> char {
        self.kind
    }

    /// What stands behind the `=`, as written.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Name and value of an `a=` line; the value is empty where there is none.
    pub fn attribute(&self) -> Option<(&str, &str)> {
        let value = self.value.as_str();
        (self.kind == 'a').then(|| value.split_once(':').unwrap_or((value, "")))
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.kind, self.value)
    }
}

/// Keys (`a=crypto`, `k=`, ICE passwords) stay out of logs.
impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.attribute().map(|(name, _)| name.to_ascii_lowercase());
        match name.as_deref() {
            Some(name @ ("crypto" | "ice-pwd" | "key-mgmt")) => write!(f, "\"a={name}:...\""),
            None if self.kind == 'k' => f.write_str("\"k=...\""),
            _ => write!(f, "\"{}={}\"", self.kind, self.value.escape_debug()),
        }
    }
}

/// The lines of a section but `v=`, `o=` and `m=`, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Section {
    lines: Vec<Line>,
}

impl Section {
    /// All lines.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Adds a line at the end; see [`Line::new`] for what is left out of it. The order of RFC 8866 section 5 is the
    /// caller's.
    pub fn push(&mut self, kind: char, value: &str) {
        self.lines.push(Line::new(kind, value));
    }

    pub(super) fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// Adds `a=name`, or `a=name:value` if the value is not empty.
    pub fn push_attribute(&mut self, name: &str, value: &str) {
        let colon = if value.is_empty() { "" } else { ":" };
        self.push('a', &format!("{name}{colon}{value}"));
    }

    /// Value of the first line of this kind.
    pub fn value(&self, kind: char) -> Option<&str> {
        self.lines.iter().find(|line| line.kind == kind).map(Line::value)
    }

    /// Values of all attributes of this name, trimmed. Case of the name is not looked at: no two differ by it only.
    pub fn attributes<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.lines
            .iter()
            .filter_map(Line::attribute)
            .filter(move |(n, _)| n.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// Value of the first attribute of this name; empty if it has none.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes(name).next()
    }

    /// `c=`, the first.
    pub fn connection(&self) -> Option<Connection> {
        Connection::parse(self.value('c')?)
    }

    /// `b=` lines that can be read.
    pub fn bandwidths(&self) -> impl Iterator<Item = Bandwidth> {
        self.lines
            .iter()
            .filter(|line| line.kind == 'b')
            .filter_map(|line| Bandwidth::parse(&line.value))
    }

    /// The first of `a=sendrecv`, `a=sendonly`, `a=recvonly`, `a=inactive`. `None`: nothing is said here.
    pub fn direction(&self) -> Option<Direction> {
        let mut names = self.lines.iter().filter_map(Line::attribute).map(|(name, _)| name.trim());
        names.find_map(Direction::parse)
    }

    /// `a=rtpmap` lines that can be read.
    pub fn rtpmaps(&self) -> impl Iterator<Item = RtpMap> {
        self.attributes("rtpmap").filter_map(RtpMap::parse)
    }

    /// Parameters of a format (`a=fmtp`), the first line for it.
    pub fn fmtp(&self, format: &str) -> Option<&str> {
        self.attributes("fmtp").find_map(|value| {
            let (of, parameters) = value.split_once(|c: char| c.is_ascii_whitespace())?;
            (of == format).then(|| parameters.trim())
        })
    }

    /// `a=ptime` in milliseconds, without the fraction.
    pub fn ptime(&self) -> Option<u32> {
        milliseconds(self.attribute("ptime")?)
    }

    /// `a=maxptime` in milliseconds, without the fraction.
    pub fn maxptime(&self) -> Option<u32> {
        milliseconds(self.attribute("maxptime")?)
    }

    /// `a=rtcp`.
    pub fn rtcp(&self) -> Option<Rtcp> {
        Rtcp::parse(self.attribute("rtcp")?)
    }

    /// Whether `a=rtcp-mux` is there (RFC 5761).
    pub fn rtcp_mux(&self) -> bool {
        self.attribute("rtcp-mux").is_some()
    }

    /// Whether there is any `a=crypto`, usable or not.
    pub fn has_crypto(&self) -> bool {
        self.attribute("crypto").is_some()
    }

    /// The `a=crypto` lines that we can use, in the writer's order of preference (RFC 4568 section 5.1).
    pub fn cryptos(&self) -> impl Iterator<Item = Crypto> {
        self.attributes("crypto").filter_map(Crypto::parse)
    }

    /// `a=mid` (RFC 5888).
    pub fn mid(&self) -> Option<&str> {
        self.attribute("mid").filter(|mid| !mid.is_empty())
    }

    /// `a=group` lines, found at session level only.
    pub fn groups(&self) -> impl Iterator<Item = Group> {
        self.attributes("group").filter_map(Group::parse)
    }

    /// `a=setup`.
    pub fn setup(&self) -> Option<SetupRole> {
        SetupRole::parse(self.attribute("setup")?)
    }

    /// `a=fingerprint` lines.
    pub fn fingerprints(&self) -> impl Iterator<Item = Fingerprint> {
        self.attributes("fingerprint").filter_map(Fingerprint::parse)
    }
}

/// Some values have a fraction, or text behind: only the first digits count.
fn milliseconds(value: &str) -> Option<u32> {
    let digits = value.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().filter(|ms| *ms > 0)
}
