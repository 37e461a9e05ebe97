//! Cuts a byte stream into its top-level parts (RFC 6120 section 4): header, stanzas, end.
//!
//! Works on any chunking of the input in linear time and keeps no stack: depth is a counter, so a hundred thousand
//! nested elements cost a comparison each and then an error. Between stanzas it holds no buffer.

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr3};

use super::{MAX_DEPTH, XmlError};

/// One top-level part of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The opening `<stream:stream ...>` tag, raw.
    Header(Bytes),
    /// A complete child of the stream, raw.
    Stanza(Bytes),
    /// `</stream:stream>`.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Text,
    /// Inside `<...`, with the open quote if any.
    Tag(Option<u8>),
    Cdata,
}

/// The cutter. Push bytes, then poll frames until `None`.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    /// First byte not looked at yet.
    seen: usize,
    /// Where the current tag began.
    tag: usize,
    place: Place,
    /// Open elements inside the stream element.
    depth: usize,
    in_stream: bool,
    max_bytes: usize,
}

impl Framer {
    /// For a TCP stream, which begins with a header. `max_bytes` bounds each part.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            seen: 0,
            tag: 0,
            place: Place::Text,
            depth: 0,
            in_stream: false,
            max_bytes,
        }
    }

    /// For a WebSocket, where every frame is one element (RFC 7395 section 3.3).
    pub fn without_header(max_bytes: usize) -> Self {
        Self { in_stream: true, ..Self::new(max_bytes) }
    }

    /// Most bytes of a part.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Changes the bound, which grows with authentication.
    pub fn set_max_bytes(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes;
    }

    /// Forgets everything and waits for a header: after STARTTLS and SASL (RFC 6120 section 4.3.3).
    pub fn restart(&mut self) {
        *self = Self::new(self.max_bytes);
    }

    /// Whether bytes wait that are not a whole part yet.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Adds bytes from the peer.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete part.
    ///
    /// # Errors
    ///
    /// [`XmlError::TooMuch`] when a part is longer or deeper than allowed, [`XmlError::Restricted`] for comments and the
    /// like. The stream is unusable afterwards.
    pub fn poll(&mut self) -> Result<Option<Frame>, XmlError> {
        let frame = self.scan()?;
        if frame.is_none() {
            if self.buffer.len() > self.max_bytes {
                return Err(XmlError::TooMuch("stanza too long"));
            }
            if self.buffer.is_empty() {
                // An idle stream holds no buffer.
                self.buffer = BytesMut::new();
            }
        }
        Ok(frame)
    }

    fn scan(&mut self) -> Result<Option<Frame>, XmlError> {
        while self.seen < self.buffer.len() {
            match self.place {
                Place::Text => self.scan_text()?,
                Place::Cdata => {
                    if !self.scan_cdata() {
                        return Ok(None);
                    }
                }
                Place::Tag(quote) => match self.scan_tag(quote)? {
                    Scan::More => return Ok(None),
                    Scan::Inner => {}
                    Scan::Frame(frame) => return Ok(Some(frame)),
                },
            }
        }
        Ok(None)
    }

    fn scan_text(&mut self) -> Result<(), XmlError> {
        let rest = &self.buffer[self.seen..];
        let found = memchr(b'<', rest);
        let text = &rest[..found.unwrap_or(rest.len())];
        if self.depth == 0 {
            // Only white space may stand between stanzas; it is a keepalive and leaves no trace.
            if !text.iter().all(u8::is_ascii_whitespace) {
                return Err(XmlError::NotWellFormed("text between stanzas"));
            }
            let skip = self.seen + text.len();
            let _ = self.buffer.split_to(skip);
            self.seen = 0;
        } else {
            self.seen += text.len();
        }
        if found.is_some() {
            self.tag = self.seen;
            self.seen += 1;
            self.place = Place::Tag(None);
        }
        Ok(())
    }

    fn scan_cdata(&mut self) -> bool {
        // The terminator may straddle two reads: start two bytes back.
        let from = self.seen.saturating_sub(2).max(self.tag + 9);
        let rest = self.buffer.get(from..).unwrap_or_default();
        match memchr::memmem::find(rest, b"]]>") {
            Some(at) => {
                self.seen = from + at + 3;
                self.place = Place::Text;
                true
            }
            None => {
                self.seen = self.buffer.len();
                false
            }
        }
    }

    fn scan_tag(&mut self, quote: Option<u8>) -> Result<Scan, XmlError> {
        let rest = &self.buffer[self.seen..];
        let found = match quote {
            Some(quote) => memchr(quote, rest),
            None => memchr3(b'>', b'"', b'\'', rest),
        };
        let Some(at) = found else {
            self.seen = self.buffer.len();
            return self.check_special().map(|()| Scan::More);
        };
        let byte = rest.get(at).copied().unwrap_or_default();
        self.seen += at + 1;
        self.check_special()?;
        if self.place == Place::Cdata {
            return Ok(Scan::Inner);
        }
        match (quote, byte) {
            (Some(_), _) => self.place = Place::Tag(None),
            (None, b'>') => return self.tag_end(),
            (None, quote) => self.place = Place::Tag(Some(quote)),
        }
        Ok(Scan::Inner)
    }

    /// Refuses what restricted XML has not, as soon as its first bytes are seen.
    fn check_special(&mut self) -> Result<(), XmlError> {
        let tag = self.buffer.get(self.tag..self.seen).unwrap_or_default();
        match tag.get(1) {
            Some(b'?') if !self.in_stream && self.depth == 0 => Ok(()),
            Some(b'?') => Err(XmlError::Restricted("processing instruction")),
            Some(b'!') => {
                const CDATA: &[u8] = b"<![CDATA[";
                let length = tag.len().min(CDATA.len());
                if tag.get(..length) != CDATA.get(..length) || self.depth == 0 {
                    return Err(XmlError::Restricted("comment or document type"));
                }
                if tag.len() >= CDATA.len() {
                    self.place = Place::Cdata;
                    self.seen = self.tag + CDATA.len();
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn tag_end(&mut self) -> Result<Scan, XmlError> {
        self.place = Place::Text;
        let tag = &self.buffer[self.tag..self.seen];
        let closes = tag.get(1) == Some(&b'/');
        let empty = tag.len() >= 2 && tag.get(tag.len() - 2) == Some(&b'/');
        if tag.get(1) == Some(&b'?') {
            // The XML declaration before a header.
            let _ = self.buffer.split_to(self.seen);
            self.seen = 0;
            return Ok(Scan::Inner);
        }
        if !self.in_stream {
            if closes || empty {
                return Err(XmlError::NotWellFormed("no stream header"));
            }
            self.in_stream = true;
            return Ok(Scan::Frame(Frame::Header(self.take())));
        }
        if closes {
            if self.depth == 0 {
                let _ = self.take();
                return Ok(Scan::Frame(Frame::End));
            }
            self.depth -= 1;
        } else {
            if self.depth >= MAX_DEPTH {
                return Err(XmlError::TooMuch("elements nested too deeply"));
            }
            if !empty {
                self.depth += 1;
            }
        }
        if self.depth > 0 {
            return Ok(Scan::Inner);
        }
        if self.seen > self.max_bytes {
            return Err(XmlError::TooMuch("stanza too long"));
        }
        Ok(Scan::Frame(Frame::Stanza(self.take())))
    }

    fn take(&mut self) -> Bytes {
        let part = self.buffer.split_to(self.seen).freeze();
        self.seen = 0;
        part
    }
}

/// Proves that a WebSocket message is one element and nothing else (RFC 7395 section 3.3). White space alone is let
/// pass: COMPAT strophe.js and others send it to keep a connection alive.
///
/// # Errors
///
/// [`XmlError`] as for [`Framer::poll`], and for a part of an element, text, or a second element.
pub fn check_message(message: &[u8], max_bytes: usize) -> Result<(), XmlError> {
    let mut framer = Framer::without_header(max_bytes);
    framer.push(message);
    let first = framer.poll()?;
    let whole = framer.is_empty() || framer.poll()?.is_none() && framer.is_empty();
    match first {
        None | Some(Frame::Stanza(_)) if whole => Ok(()),
        _ => Err(XmlError::NotWellFormed("a message is not one element")),
    }
}

enum Scan {
    More,
    Inner,
    Frame(Frame),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(framer: &mut Framer) -> Vec<Frame> {
        std::iter::from_fn(|| framer.poll().unwrap()).collect()
    }

    #[test]
    fn cuts_the_same_parts_however_the_bytes_arrive() {
        let stream = b"<?xml version='1.0'?><s:s xmlns:s='x'> <a b='>'/>\n<m><b>x<![CDATA[</m>]]></b></m></s:s>";
        let whole = {
            let mut framer = Framer::new(1000);
            framer.push(stream);
            all(&mut framer)
        };
        let mut framer = Framer::new(1000);
        let mut pieces = Vec::new();
        for byte in stream {
            framer.push(&[*byte]);
            pieces.extend(all(&mut framer));
        }
        assert_eq!(whole, pieces);
        assert_eq!(whole.len(), 4);
        assert_eq!(whole[1], Frame::Stanza(Bytes::from_static(b"<a b='>'/>")));
        assert_eq!(whole[3], Frame::End);
    }

    #[test]
    fn a_message_is_one_element() {
        let table = [
            ("<a/>", true),
            (" <a><b/>x</a>\n", true),
            (" ", true),
            ("", true),
            ("<a/><b/>", false),
            ("<a>", false),
            ("<a", false),
            ("</a>", false),
            ("<a/>x", false),
            ("x<a/>", false),
            ("<a/><", false),
            ("<?xml version='1.0'?><a/>", false),
        ];
        for (message, fits) in table {
            assert_eq!(check_message(message.as_bytes(), 100).is_ok(), fits, "{message}");
        }
    }

    #[test]
    fn a_hundred_thousand_nested_elements_are_refused_without_a_stack() {
        let mut framer = Framer::without_header(10_000_000);
        framer.push("<a>".repeat(100_000).as_bytes());
        assert_eq!(framer.poll(), Err(XmlError::TooMuch("elements nested too deeply")));
    }

    #[test]
    fn refuses_a_stanza_over_the_limit_before_it_is_whole() {
        let mut framer = Framer::without_header(100);
        framer.push(b"<a>");
        framer.push(&[b'x'; 97]);
        assert_eq!(framer.poll(), Ok(None));
        framer.push(b"x");
        assert_eq!(framer.poll(), Err(XmlError::TooMuch("stanza too long")));
    }

    #[test]
    fn refuses_restricted_xml() {
        for bad in ["<!-- x -->", "<a><!-- x --></a>", "<a><?x?></a>", "<!DOCTYPE a>"] {
            let mut framer = Framer::without_header(1000);
            framer.push(bad.as_bytes());
            assert!(matches!(framer.poll(), Err(XmlError::Restricted(_))), "{bad}");
        }
    }
}
