//! Threads (RFC 7572 table 1): `<thread/>` against Call-ID, with the tag and the CSeq that a Call-ID needs.
//!
//! A thread of a client has one Call-ID of ours towards one account, with a From tag that stays and a number that grows:
//! equal ones would be a merged request (RFC 3261 section 8.2.2.2). A Call-ID that a phone uses again is a thread too; one
//! that it uses once is none, since most phones draw a new one for each message.

use tandem_xmpp::jid::Jid;

use super::new_id;
use super::receipts::{FEW_IDS, Remembered};

/// Longest thread that is mapped, in bytes.
const MAX_THREAD: usize = 256;

/// What a request of a thread carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) call_id: String,
    pub(super) tag: String,
    pub(super) cseq: u32,
}

/// The threads of all conversations; the oldest are forgotten.
#[derive(Default)]
pub(super) struct Threads {
    lines: Remembered<Line>,
    /// By phone's account and Call-ID: the thread, once it is one.
    names: Remembered<Option<Box<str>>, FEW_IDS>,
}

impl Threads {
    /// The line for the next message of a thread from `sender` to `account`.
    pub(super) fn next(&mut self, sender: &Jid, account: &Jid, thread: &str) -> Option<Line> {
        if thread.is_empty() || thread.len() > MAX_THREAD {
            return None;
        }
        let key = format!("{} {} {thread}", sender.bare(), account.bare());
        if let Some(line) = self.lines.get_mut(&key) {
            line.cseq += 1;
            return Some(line.clone());
        }
        // A thread that a phone began goes on under its Call-ID.
        let own = format!("{} {thread}", account.bare());
        let is_theirs =
            self.names.get_mut(&own).is_some_and(|name| name.as_deref() == Some(thread));
        let call_id = if is_theirs { thread.to_owned() } else { new_id() };
        let line = Line { call_id: call_id.clone(), tag: new_id(), cseq: 1 };
        self.lines.put(&key, line.clone());
        if !is_theirs {
            self.names.put(&format!("{} {call_id}", account.bare()), Some(thread.into()));
        }
        Some(line)
    }

    /// The thread of a message that a phone of `account` sends under this Call-ID.
    pub(super) fn of(&mut self, account: &Jid, call_id: &str) -> Option<String> {
        let key = format!("{} {call_id}", account.bare());
        match self.names.get_mut(&key) {
            Some(name) => Some(String::from(&**name.get_or_insert_with(|| call_id.into()))),
            None => {
                self.names.put(&key, None);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_one_call_id_whose_numbers_grow() {
        let [carl, ana] = ["carl@h/app", "ana@h"].map(|j| Jid::parse(j).unwrap());
        let mut threads = Threads::default();
        let first = threads.next(&carl, &ana, "t1").unwrap();
        let second = threads.next(&carl, &ana, "t1").unwrap();
        assert_eq!((first.cseq, second.cseq), (1, 2));
        assert_eq!((&first.call_id, &first.tag), (&second.call_id, &second.tag));
        assert_ne!(threads.next(&carl, &ana, "t2").unwrap().call_id, first.call_id);
        assert_ne!(threads.next(&ana, &carl, "t1").unwrap().call_id, first.call_id);
        assert_eq!(threads.of(&ana, &first.call_id).as_deref(), Some("t1"));
        assert_eq!(threads.of(&carl, &first.call_id), None, "it is a thread with Ana");
        assert_eq!(threads.next(&carl, &ana, ""), None);
    }

    #[test]
    fn a_call_id_that_a_phone_uses_again_is_a_thread() {
        let [carl, ana] = ["carl@h", "ana@h"].map(|j| Jid::parse(j).unwrap());
        let mut threads = Threads::default();
        assert_eq!(threads.of(&ana, "abc@phone"), None);
        assert_eq!(threads.of(&ana, "abc@phone").as_deref(), Some("abc@phone"));
        assert_eq!(threads.next(&carl, &ana, "abc@phone").unwrap().call_id, "abc@phone");
    }
}
