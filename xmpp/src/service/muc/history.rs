//! What a room tells those who enter (XEP-0045 sections 7.2.13 and 7.2.14): the last messages, within their wishes.

use std::collections::VecDeque;
use std::sync::Arc;

use super::wire::Shared;
use crate::jid::Jid;
use crate::stanza::stamp;
use crate::xml::Element;

/// Bytes of messages that are remembered of one room.
const MAX_BYTES: usize = 256 * 1024;

/// One message.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) id: String,
    pub(super) stamp: String,
    pub(super) micros: i64,
    /// Who said it, bare.
    pub(super) sender: Jid,
    pub(super) stanza: Arc<Shared>,
}

/// The last messages of a room, oldest first.
#[derive(Debug)]
pub(super) struct History {
    kept: VecDeque<Kept>,
    bytes: usize,
    max: usize,
}

/// What a newcomer wants to hear.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    characters: Option<usize>,
    stanzas: Option<usize>,
    seconds: Option<i64>,
    since: Option<i64>,
}

impl Wish {
    /// From the `<x/>` of a join. What cannot be read is no wish.
    pub(super) fn read(x: Option<&Element>) -> Self {
        let history = x.and_then(|x| x.child("history", super::wire::MUC));
        let number = |name| history.and_then(|h| h.attr(name)?.trim().parse().ok());
        let seconds = history.and_then(|h| h.attr("seconds")?.trim().parse::<u32>().ok());
        Self {
            characters: number("maxchars"),
            stanzas: number("maxstanzas"),
            seconds: seconds.map(i64::from),
            since: history.and_then(|h| stamp::parse(h.attr("since")?.trim())),
        }
    }
}

impl History {
    pub(super) fn new(max: usize) -> Self {
        Self { kept: VecDeque::new(), bytes: 0, max }
    }

    /// Remembers a message, and forgets the oldest beyond the limits.
    pub(super) fn add(&mut self, kept: Kept) {
        self.bytes += kept.stanza.len();
        self.kept.push_back(kept);
        while self.kept.len() > self.max || self.bytes > MAX_BYTES {
            let Some(oldest) = self.kept.pop_front() else { return };
            self.bytes -= oldest.stanza.len();
        }
    }

    /// Forgets a message that was taken back.
    pub(super) fn forget(&mut self, id: &str) {
        self.kept.retain(|kept| kept.id != id);
        self.bytes = self.kept.iter().map(|kept| kept.stanza.len()).sum();
    }

    /// The message of this id.
    pub(super) fn get(&self, id: &str) -> Option<&Kept> {
        self.kept.iter().find(|kept| kept.id == id)
    }

    /// What is told to a newcomer: at most `max` messages, the newest, as they are wished for.
    pub(super) fn tell(&self, room: &Jid, wish: &Wish, max: usize, now: i64) -> Vec<Shared> {
        let most = wish.stanzas.map_or(max, |stanzas| stanzas.min(max));
        let earliest = wish.seconds.map(|seconds| now - seconds * 1_000_000);
        let earliest = earliest.into_iter().chain(wish.since).max();
        let mut characters = wish.characters.unwrap_or(usize::MAX);
        let mut told = Vec::new();
        for kept in self.kept.iter().rev().take(most) {
            if earliest.is_some_and(|earliest| kept.micros < earliest) {
                break;
            }
            let stanza = kept.stanza.delayed(room, &kept.stamp);
            let length = stanza.text().chars().count();
            let Some(left) = characters.checked_sub(length) else { break };
            characters = left;
            told.push(stanza);
        }
        told.reverse();
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jid() -> Jid {
        Jid::parse("r@rooms.d").unwrap()
    }

    fn history(messages: usize) -> History {
        let mut history = History::new(5);
        for n in 0..messages {
            let body = format!("<body>{n}</body>");
            history.add(Kept {
                id: n.to_string(),
                stamp: format!("2026-01-01T00:00:0{n}Z"),
                micros: 1_767_225_600_000_000 + 1_000_000 * i64::try_from(n).unwrap(),
                sender: Jid::parse("a@d").unwrap(),
                stanza: Arc::new(Shared::new("message", "r@rooms.d/a", "", &body)),
            });
        }
        history
    }

    fn told(wish: &str) -> String {
        let x = format!("<x xmlns='{}'>{wish}</x>", super::super::wire::MUC);
        let wish = Wish::read(Some(&Element::parse(x.as_bytes()).unwrap()));
        let told = history(8).tell(&jid(), &wish, 4, 1_767_225_608_000_000);
        told.iter().map(|s| s.text().split("<body>").nth(1).unwrap()[..1].to_owned()).collect()
    }

    #[test]
    fn wishes_are_granted_within_the_limits() {
        let one = history(1).tell(&jid(), &Wish::default(), 1, 0)[0].text().len();
        let table = [
            ("", "4567".to_owned()),
            ("<history/>", "4567".to_owned()),
            ("<history maxstanzas='2'/>", "67".to_owned()),
            ("<history maxstanzas='0'/>", String::new()),
            ("<history maxstanzas='99'/>", "4567".to_owned()),
            ("<history maxstanzas='-1'/>", "4567".to_owned()),
            ("<history maxchars='0'/>", String::new()),
            ("<history seconds='2'/>", "67".to_owned()),
            ("<history seconds='99999999999999'/>", "4567".to_owned()),
            ("<history since='2026-01-01T00:00:05Z'/>", "567".to_owned()),
            ("<history since='2026-01-01T01:00:05+01:00' maxstanzas='1'/>", "7".to_owned()),
            ("<history since='nonsense'/>", "4567".to_owned()),
        ];
        for (wish, expected) in table {
            assert_eq!(told(wish), expected, "{wish}");
        }
        // Whole stanzas only, as many as fit.
        assert_eq!(told(&format!("<history maxchars='{}'/>", 2 * one)), "67");
        assert_eq!(told(&format!("<history maxchars='{}'/>", 2 * one - 1)), "7");
    }

    #[test]
    fn what_is_taken_back_is_not_told() {
        let mut history = history(3);
        history.forget("1");
        let told = history.tell(&jid(), &Wish::default(), 9, 0);
        assert_eq!(told.len(), 2);
        assert!(told.iter().all(|s| !s.text().contains("<body>1<")));
    }
}
