//! Messages out of a byte stream (RFC 3261 section 18.3) and the keepalive of RFC 5626 section 4.4.1.
//!
//! Push what was read, then poll until `None`. An error ends the stream: where the next message begins is not known.

use bytes::{Buf, BytesMut};

use super::error::ParseError;
use super::message::Message;
use super::parse::{Limits, parse_datagram};
use super::{Name, head, parse, scan};

/// What a stream held.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // one exists at a time and is moved once
pub enum Frame {
    /// A whole message, or what its sender is told instead; the stream goes on.
    Message(Result<Message, ParseError>),
    /// A keepalive (two line ends): answer with one.
    Ping,
    /// The answer to our keepalive.
    Pong,
}

/// Why a stream cannot be read on: send `answer` where there is one, then close.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stream framing: {cause}")]
pub struct FrameError {
    /// What was wrong.
    pub cause: &'static str,
    /// What to tell the sender first.
    pub answer: Option<ParseError>,
}

/// Cuts a stream into messages. Holds at most one message and what was pushed behind it.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    limits: Limits,
    /// How far the end of the head was looked for already.
    searched: usize,
    /// The length of the whole message, once its head is read.
    expected: Option<usize>,
    awaits_pong: bool,
}

impl Framer {
    /// A framer with these limits.
    pub fn new(limits: Limits) -> Self {
        Framer { buffer: BytesMut::new(), limits, searched: 0, expected: None, awaits_pong: false }
    }

    /// Adds what was read from the socket.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Says that a ping was sent: the next lone line end is its pong. Otherwise it is the first half of a ping.
    pub fn expect_pong(&mut self) {
        self.awaits_pong = true;
    }

    /// Bytes waiting for the rest of their message. More than none for long is a peer that stalls.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// The next whole thing; `None`: push more.
    ///
    /// # Errors
    /// The stream has to be closed.
    pub fn poll(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.expected.is_none() {
            if let Some(frame) = self.poll_line_ends() {
                return Ok(Some(frame));
            }
            let Some(head_len) = self.find_head()? else { return Ok(None) };
            self.expected = Some(self.message_len(head_len)?);
        }
        let Some(expected) = self.expected.filter(|expected| *expected <= self.buffer.len()) else {
            return Ok(None);
        };
        self.expected = None;
        self.searched = 0;
        let message = self.buffer.split_to(expected).freeze();
        if self.buffer.is_empty() {
            // The next read begins a new block: an idle stream holds no memory.
            self.buffer = BytesMut::new();
        }
        Ok(Some(Frame::Message(parse_datagram(message, &self.limits))))
    }

    /// Line ends between messages. A lone one in front of a message is skipped (RFC 3261 section 7.5).
    fn poll_line_ends(&mut self) -> Option<Frame> {
        if self.awaits_pong && self.buffer.starts_with(b"\r\n") {
            self.awaits_pong = false;
            self.buffer.advance(2);
            return Some(Frame::Pong);
        }
        if self.buffer.starts_with(b"\r\n\r\n") {
            self.buffer.advance(4);
            return Some(Frame::Ping);
        }
        if self.buffer.starts_with(b"\r\n") && self.buffer.len() >= 4 {
            self.buffer.advance(2);
        }
        None
    }

    /// The length of the head with its empty line.
    fn find_head(&mut self) -> Result<Option<usize>, FrameError> {
        if self.buffer.len() < 4 {
            return Ok(None);
        }
        let from = self.searched.saturating_sub(3);
        let found = memchr::memmem::find(self.buffer.get(from..).unwrap_or_default(), b"\r\n\r\n");
        if let Some(at) = found {
            return Ok(Some(from + at + 4));
        }
        self.searched = self.buffer.len();
        if self.buffer.len() > self.limits.message {
            return Err(FrameError { cause: "the head does not end", answer: None });
        }
        Ok(None)
    }

    /// Head and body together, by Content-Length.
    fn message_len(&self, head_len: usize) -> Result<usize, FrameError> {
        let bytes = bytes::Bytes::copy_from_slice(self.buffer.get(..head_len).unwrap_or_default());
        let head = head::cut(&bytes, &self.limits);
        let refuse = |status, cause| FrameError {
            cause,
            answer: Some(parse::refuse(&head.start, &head.headers, (status, cause))),
        };
        let fail = |cause| {
            // Parsing the head alone tells what the sender is due: its body is missing by any count but zero.
            match parse_datagram(bytes.clone(), &self.limits) {
                Ok(_) => refuse(400, cause),
                Err(error) => FrameError { cause, answer: Some(error) },
            }
        };
        if head.headers.count(Name::ContentLength) != 1 {
            return Err(fail("Content-Length missing or repeated"));
        }
        let length = head.headers.get(Name::ContentLength).and_then(scan::digits);
        let length = length.ok_or_else(|| fail("malformed Content-Length"))?;
        let length = length
            .ok()
            .and_then(|length| usize::try_from(length).ok())
            .and_then(|body| body.checked_add(head_len))
            .ok_or_else(|| fail("Content-Length beyond all numbers"))?;
        if length > self.limits.message {
            return Err(refuse(513, "message too large"));
        }
        Ok(length)
    }
}
