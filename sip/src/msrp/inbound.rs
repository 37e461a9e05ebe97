//! Messages put together out of chunks (RFC 4975 sections 7.3.1 and 8.1): by position, whatever the order, within limits.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::frame::{Flag, Head, Range};

/// Messages of one session that are incomplete at once.
const MAX_OPEN: usize = 8;
/// Gaps of one message.
const MAX_GAPS: usize = 64;
/// How long a message may stand still.
const PATIENCE: Duration = Duration::from_secs(120);

/// A complete message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Message-ID.
    pub id: String,
    /// Content-Type.
    pub content_type: String,
    /// Content-Disposition.
    pub disposition: Option<String>,
    /// Content.
    pub body: Bytes,
}

#[derive(Debug)]
struct Open {
    content_type: String,
    disposition: Option<String>,
    bytes: Vec<u8>,
    /// What is there: pieces by their first and last position, from 0, in order and apart.
    pieces: Vec<(usize, usize)>,
    /// Length, once known.
    total: Option<usize>,
    touched: Instant,
}

/// A chunk that is coming in.
#[derive(Debug)]
struct Chunk {
    message: String,
    at: usize,
}

/// The messages of one session that are not complete.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    open: HashMap<String, Open>,
    chunk: Option<Chunk>,
}

impl Inbound {
    /// A chunk of `head` begins.
    ///
    /// # Errors
    ///
    /// 400 for a range that makes no sense, 413 for what is too long or one message too many.
    pub(super) fn begin(
        &mut self,
        head: &Head,
        range: Range,
        max: usize,
        now: Instant,
    ) -> Result<(), u16> {
        let id = head.get("Message-ID").ok_or(400_u16)?.to_owned();
        let number = |n: u64| usize::try_from(n).map_err(|_| 413_u16);
        let (at, total) = (number(range.start - 1)?, range.total.map(number).transpose()?);
        if total.is_some_and(|total| total > max) || at > max {
            return Err(413);
        }
        if total.is_some_and(|total| at > total) {
            return Err(400);
        }
        if !self.open.contains_key(&id) {
            self.open.retain(|_, open| now.saturating_duration_since(open.touched) < PATIENCE);
            if self.open.len() >= MAX_OPEN {
                return Err(413);
            }
            let open = Open {
                content_type: head.get("Content-Type").unwrap_or("text/plain").to_owned(),
                disposition: head.get("Content-Disposition").map(str::to_owned),
                bytes: Vec::new(),
                pieces: Vec::new(),
                total,
                touched: now,
            };
            self.open.insert(id.clone(), open);
        }
        if let Some(open) = self.open.get_mut(&id) {
            open.touched = now;
            open.total = open.total.or(total);
        }
        self.chunk = Some(Chunk { message: id, at });
        Ok(())
    }

    /// Bytes of the chunk.
    ///
    /// # Errors
    ///
    /// 413 when it becomes too long, or holds too many gaps.
    pub(super) fn body(&mut self, bytes: &[u8], max: usize) -> Result<(), u16> {
        let Some(chunk) = &mut self.chunk else { return Ok(()) };
        let Some(open) = self.open.get_mut(&chunk.message) else { return Ok(()) };
        let end = chunk.at.saturating_add(bytes.len());
        if end > open.total.unwrap_or(max).min(max) {
            return Err(self.give_up(413));
        }
        if open.bytes.len() < end {
            open.bytes.resize(end, 0);
        }
        if let Some(place) = open.bytes.get_mut(chunk.at..end) {
            place.copy_from_slice(bytes);
        }
        open.add((chunk.at, end));
        chunk.at = end;
        if open.pieces.len() > MAX_GAPS {
            return Err(self.give_up(413));
        }
        Ok(())
    }

    /// The chunk ends; gives the message if that is complete now.
    pub(super) fn end(&mut self, flag: Flag) -> Option<Incoming> {
        let chunk = self.chunk.take()?;
        let open = self.open.get_mut(&chunk.message)?;
        match flag {
            Flag::Aborted => {
                self.open.remove(&chunk.message);
                return None;
            }
            Flag::Complete => open.total = Some(chunk.at),
            Flag::More => {}
        }
        let total = open.total?;
        let is_whole = total == 0 || open.pieces == [(0, total)];
        let open = if is_whole { self.open.remove(&chunk.message)? } else { return None };
        Some(Incoming {
            id: chunk.message,
            content_type: open.content_type,
            disposition: open.disposition,
            body: open.bytes.into(),
        })
    }

    fn give_up(&mut self, status: u16) -> u16 {
        if let Some(chunk) = self.chunk.take() {
            self.open.remove(&chunk.message);
        }
        status
    }
}

impl Open {
    /// Notes a piece and joins those that touch.
    fn add(&mut self, piece: (usize, usize)) {
        if let Some(last) = self.pieces.last_mut()
            && last.1 == piece.0
        {
            last.1 = piece.1;
            return;
        }
        self.pieces.push(piece);
        self.pieces.sort_unstable();
        let mut joined: Vec<(usize, usize)> = Vec::with_capacity(self.pieces.len());
        for (from, to) in self.pieces.drain(..) {
            match joined.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => joined.push((from, to)),
            }
        }
        self.pieces = joined;
    }
}
