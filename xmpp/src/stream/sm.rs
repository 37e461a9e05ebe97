//! Stream management (XEP-0198): what one side has sent and not seen acknowledged, what it has handled of the other's,
//! and the elements that say so. Only stanzas count, modulo 2^32 (section 4).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::xml::{Element, ns};

/// The namespace.
pub const NS: &str = "urn:xmpp:sm:3";
/// A request for an acknowledgement, the same on every transport.
pub const REQUEST: Bytes = Bytes::from_static(b"<r xmlns='urn:xmpp:sm:3'/>");

/// The other side acknowledged more than it was sent (section 6); the stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{h} stanzas acknowledged, {sent} sent")]
pub struct TooHigh {
    /// What it said.
    pub h: u32,
    /// What it was sent.
    pub sent: u32,
}

impl TooHigh {
    /// What stands beside the stream error's `undefined-condition`.
    pub fn to_element(self) -> Element {
        Element::new("handled-count-too-high", NS)
            .with_attr("h", self.h.to_string())
            .with_attr("send-count", self.sent.to_string())
    }
}

/// Stanzas that were sent and not acknowledged, oldest first. It bounds nothing; who owns it does.
#[derive(Debug)]
pub struct Unacked<T> {
    /// The last `h` of the other side.
    acked: u32,
    sent: VecDeque<T>,
    /// A request is on its way.
    asked: bool,
}

impl<T> Default for Unacked<T> {
    fn default() -> Self {
        Self::counted_from(0)
    }
}

impl<T> Unacked<T> {
    /// Nothing sent, and the counter at this value.
    pub fn counted_from(acked: u32) -> Self {
        Self { acked, sent: VecDeque::new(), asked: false }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.sent.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// How many were sent, as the other side counts.
    pub fn sent_count(&self) -> u32 {
        self.acked.wrapping_add(u32::try_from(self.sent.len()).unwrap_or(u32::MAX))
    }

    /// This is on its way from now on.
    pub fn push(&mut self, stanza: T) {
        self.sent.push_back(stanza);
    }

    /// How many an `h` acknowledges.
    ///
    /// # Errors
    ///
    /// [`TooHigh`], also for an `h` below the last one, which modulo 2^32 is the same.
    pub fn count(&self, h: u32) -> Result<usize, TooHigh> {
        let count = h.wrapping_sub(self.acked) as usize;
        if count <= self.sent.len() {
            return Ok(count);
        }
        Err(TooHigh { h, sent: self.sent_count() })
    }

    /// Takes out what an `<a/>` acknowledges.
    ///
    /// # Errors
    ///
    /// As for [`Unacked::count`]; nothing is taken out then.
    pub fn acknowledge(&mut self, h: u32) -> Result<Vec<T>, TooHigh> {
        let count = self.count(h)?;
        self.acked = h;
        self.asked = false;
        let done = self.sent.drain(..count).collect();
        if self.sent.is_empty() {
            self.sent = VecDeque::new();
        }
        Ok(done)
    }

    /// Takes all out, to be sent again: the counter is back at what was acknowledged (section 5).
    pub fn take(&mut self) -> VecDeque<T> {
        self.asked = false;
        std::mem::take(&mut self.sent)
    }

    /// Whether a request is due: something waits, and none is on its way. It counts as sent after this. One request at
    /// a time keeps the queue as short as the way to the client is long.
    pub fn ask(&mut self) -> bool {
        let due = !self.asked && !self.sent.is_empty();
        self.asked |= due;
        due
    }
}

/// What a client asks for with `<enable/>` (section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enable {
    /// Whether it wants to resume.
    pub resume: bool,
    /// How long at most.
    pub max: Option<Duration>,
}

impl Enable {
    /// Reads an `<enable/>`.
    pub fn from_element(element: &Element) -> Option<Self> {
        let resume = matches!(element.attr("resume"), Some("true" | "1"));
        let max = element.attr("max").and_then(|m| m.trim().parse().ok()).map(Duration::from_secs);
        element.is("enable", NS).then_some(Self { resume, max })
    }
}

/// What is granted: an id where the session may be resumed, and for how long after its stream is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The opaque id of the session (SM-ID); `None` when it cannot be resumed.
    pub id: Option<String>,
    /// How long it waits.
    pub max: Duration,
}

impl Granted {
    /// The `<enabled/>`.
    pub fn to_element(&self) -> Element {
        let enabled = Element::new("enabled", NS);
        match &self.id {
            Some(id) => enabled
                .with_attr("id", id.as_str())
                .with_attr("resume", "true")
                .with_attr("max", self.max.as_secs().to_string()),
            None => enabled,
        }
    }
}

/// What a client asks for with `<resume/>` (section 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The id of the session.
    pub previd: String,
    /// What the client has handled of it.
    pub h: u32,
}

impl Resume {
    /// Reads a `<resume/>`; one without id or count is none.
    pub fn from_element(element: &Element) -> Option<Self> {
        if !element.is("resume", NS) {
            return None;
        }
        let previd = element.attr("previd")?.to_owned();
        Some(Self { previd, h: element.attr("h")?.trim().parse().ok()? })
    }
}

/// How a `<resume/>` ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resumption {
    /// The stream carries on the session of this address.
    Resumed {
        /// The full address.
        jid: crate::jid::Jid,
        /// What the server has handled of the client's stanzas.
        h: u32,
    },
    /// There is no such session (any more).
    Unknown {
        /// What had been handled when it ended, where that is remembered.
        h: Option<u32>,
    },
    /// The client claims to have more than it was sent.
    TooHigh(TooHigh),
}

/// The `<resumed/>`.
pub fn resumed(previd: &str, h: u32) -> Element {
    Element::new("resumed", NS).with_attr("previd", previd).with_attr("h", h.to_string())
}

/// The `<failed/>` with a stanza error condition; `h` where it is known (section 5).
pub fn failed(condition: &str, h: Option<u32>) -> Element {
    Element::new("failed", NS)
        .with_attr_opt("h", h.map(|h| h.to_string()).as_deref())
        .with_child(Element::new(condition, ns::STANZAS))
}

/// The `<a/>`.
pub fn answer(h: u32) -> Bytes {
    format!("<a xmlns='{NS}' h='{h}'/>").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_acknowledged_leaves_in_order_and_what_is_not_is_sent_again() {
        let mut unacked = Unacked::default();
        (1..=5).for_each(|n| unacked.push(n));
        assert_eq!(unacked.acknowledge(2), Ok(vec![1, 2]));
        assert_eq!(unacked.acknowledge(2), Ok(vec![]));
        assert_eq!(unacked.take(), [3, 4, 5]);
        assert_eq!(unacked.sent_count(), 2);
        (3..=5).for_each(|n| unacked.push(n));
        assert_eq!(unacked.acknowledge(5), Ok(vec![3, 4, 5]));
    }

    #[test]
    fn the_counter_goes_from_its_highest_value_to_zero() {
        let mut unacked = Unacked::counted_from(u32::MAX);
        unacked.push('a');
        unacked.push('b');
        assert_eq!(unacked.sent_count(), 1);
        assert_eq!(unacked.acknowledge(0), Ok(vec!['a']));
        assert_eq!(unacked.acknowledge(1), Ok(vec!['b']));
    }

    #[test]
    fn more_than_was_sent_or_less_than_before_is_refused_and_changes_nothing() {
        let mut unacked = Unacked::default();
        unacked.push('a');
        assert_eq!(unacked.acknowledge(2), Err(TooHigh { h: 2, sent: 1 }));
        assert_eq!(unacked.acknowledge(1), Ok(vec!['a']));
        assert_eq!(unacked.acknowledge(0), Err(TooHigh { h: 0, sent: 1 }));
    }

    #[test]
    fn one_request_at_a_time() {
        let mut unacked = Unacked::default();
        assert!(!unacked.ask());
        unacked.push('a');
        assert!(unacked.ask());
        unacked.push('b');
        assert!(!unacked.ask());
        assert_eq!(unacked.acknowledge(1), Ok(vec!['a']));
        assert!(unacked.ask());
    }

    #[test]
    fn elements_are_read_and_written() {
        let parse = |text: &str| Element::parse(text.as_bytes()).unwrap();
        let enable = parse("<enable xmlns='urn:xmpp:sm:3' resume='1' max='60'/>");
        let wanted = Enable { resume: true, max: Some(Duration::from_secs(60)) };
        assert_eq!(Enable::from_element(&enable), Some(wanted));
        let resume = parse("<resume xmlns='urn:xmpp:sm:3' previd='x' h='4294967295'/>");
        let wanted = Resume { previd: "x".into(), h: u32::MAX };
        assert_eq!(Resume::from_element(&resume), Some(wanted));
        for bad in [
            "<resume xmlns='urn:xmpp:sm:3' h='1'/>",
            "<resume xmlns='urn:xmpp:sm:3' previd='x' h='-1'/>",
        ] {
            assert_eq!(Resume::from_element(&parse(bad)), None);
        }
        let failed = failed("item-not-found", Some(7));
        assert_eq!(failed.attr("h"), Some("7"));
        assert!(failed.child("item-not-found", ns::STANZAS).is_some());
    }
}
