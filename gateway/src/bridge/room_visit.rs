//! A phone in a room, as long as it is there (`interop.md` 5.3): who else is, what it said, what waits for it.

use std::collections::{BTreeSet, VecDeque};

use tandem_xmpp::stanza::Stanza;
use tokio::sync::oneshot;

use super::room_text::Line;
use crate::store::PhoneRoom;

/// Lines that wait for one phone in one room; the oldest are dropped.
pub(super) const QUEUE: usize = 100;
/// Own messages that are known when they come back.
const OWN: usize = 64;
/// The beginnings of messages that reactions quote.
const TEXTS: usize = 200;

/// A phone in a room.
#[derive(Default)]
pub(super) struct Visit {
    pub(super) name: String,
    pub(super) nick: String,
    pub(super) is_inside: bool,
    /// The subject of the beginning has been heard: from now on it is news.
    pub(super) is_settled: bool,
    pub(super) people: BTreeSet<String>,
    pub(super) kept: PhoneRoom,
    /// Who waits for the entry.
    pub(super) entering: Vec<oneshot::Sender<u16>>,
    /// Ids of what this phone said.
    pub(super) own: VecDeque<String>,
    pub(super) texts: VecDeque<(String, String)>,
    pub(super) queue: VecDeque<Waiting>,
    pub(super) skipped: usize,
    pub(super) is_sending: bool,
}

/// A line on its way to a phone.
#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) line: Line,
    /// When it was said, in milliseconds since 1970; 0 for what is not part of the talk.
    pub(super) at: i64,
    pub(super) is_old: bool,
}

impl Visit {
    /// This phone said something.
    pub(super) fn said(&mut self, id: &str) {
        self.own.push_back(id.to_owned());
        if self.own.len() > OWN {
            self.own.pop_front();
        }
    }

    /// Tells those who wait for the entry.
    pub(super) fn entered(&mut self, status: u16) {
        for waits in self.entering.drain(..) {
            let _ = waits.send(status);
        }
    }

    pub(super) fn push(&mut self, line: Line, at: i64, is_old: bool) {
        self.queue.push_back(Waiting { line, at, is_old });
        if self.queue.len() > QUEUE {
            self.queue.pop_front();
            self.skipped += 1;
        }
    }

    pub(super) fn put_back(&mut self, waiting: Waiting) {
        if self.queue.len() < QUEUE {
            self.queue.push_front(waiting);
        } else {
            self.skipped += 1;
        }
    }

    pub(super) fn remember(&mut self, stanza: &Stanza) {
        let ids = ["stanza-id"].iter().filter_map(|name| stanza.child(name, "urn:xmpp:sid:0"));
        let ids = ids.filter_map(|e| e.attr("id").map(str::to_owned));
        let Some(body) = stanza.body() else { return };
        for id in ids.chain(stanza.id().map(str::to_owned)) {
            self.texts.push_back((id, body.chars().take(60).collect()));
        }
        while self.texts.len() > TEXTS {
            self.texts.pop_front();
        }
    }

    pub(super) fn who(&self) -> String {
        let people: Vec<&str> = self.people.iter().map(String::as_str).collect();
        format!("In {}: {}", self.name, people.join(", "))
    }
}
