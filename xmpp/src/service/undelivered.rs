//! Messages that come back to their sender as an error: the sender's other devices learn of it (XEP-0280 section 6.1), and
//! the same message sent once more is delivered, not taken for one that has arrived (XEP-0359).
//!
//! Each session remembers the last messages that it sent; what comes back later, or to a session that is gone, is told to
//! nobody else.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::Server;
use crate::jid::Jid;
use crate::ports::Seq;
use crate::stanza::{Stanza, StanzaError};

/// Messages of one session that are remembered.
const MAX_SENT: usize = 64;

/// The last messages that a session sent and its other devices were to have.
#[derive(Debug, Default)]
pub(super) struct Sent(VecDeque<(u64, Option<Seq>)>);

impl Sent {
    /// `place` is that in the sender's archive, or in the addressee's.
    fn note(&mut self, to: &Jid, id: &str, place: Option<Seq>) {
        if self.0.len() >= MAX_SENT {
            self.0.pop_front();
        }
        self.0.push_back((key(to, id), place));
    }

    /// The place of a message that has come back, which is forgotten. `None`: it was not sent by this session.
    fn take(&mut self, to: &Jid, id: &str) -> Option<Option<Seq>> {
        let key = key(to, id);
        let at = self.0.iter().position(|(sent, _)| *sent == key)?;
        self.0.remove(at).map(|(_, place)| place)
    }
}

/// A few bits by which a message is known again, whichever device of the addressee it comes back from.
fn key(to: &Jid, id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    to.as_bare_str().hash(&mut hasher);
    id.hash(&mut hasher);
    hasher.finish()
}

impl Server {
    /// A session sends a message that its account's other devices are to have.
    pub(super) fn note_sent(&self, stanza: &Stanza, place: Option<Seq>) {
        if let (Some(from), Some(to), Some(id)) = (stanza.from(), stanza.to(), stanza.id())
            && let Some(resource) = self.sessions().get_mut(from)
        {
            resource.sent.note(to, id, place);
        }
    }

    /// Whether an error that reaches a session is the first about a message that it has sent; see [`Server::note_sent`].
    pub(super) async fn is_about_sent(&self, error: &Stanza) -> bool {
        let (Some(from), Some(to), Some(id)) = (error.from(), error.to(), error.id()) else {
            return false;
        };
        let sent = self.sessions().get_mut(to).and_then(|resource| resource.sent.take(from, id));
        if let Some(Some(place)) = sent {
            self.note_returned(place).await;
        }
        sent.is_some()
    }

    /// A message of a session was refused, and its sender told so: the other devices see both.
    pub(super) fn copy_refused(&self, stanza: &Stanza, error: &StanzaError) {
        let Some(reply) = stanza.error_reply(error) else { return };
        if let (Some(from), Ok(reply)) = (stanza.from(), Stanza::from_element(&reply)) {
            self.copy_error(&reply, from);
        }
    }

    /// A message of the archive was not delivered: sent once more it is not a repetition.
    pub(super) async fn note_returned(&self, place: Seq) {
        if let Err(error) = self.0.ports.archive.set_returned(place, true).await {
            tracing::error!(%error, "a message that came back cannot be sent again");
        }
    }

    /// Whether a message that is sent once more had come back.
    pub(super) async fn had_returned(&self, place: Seq) -> bool {
        self.0.ports.archive.set_returned(place, false).await.unwrap_or_else(|error| {
            tracing::error!(%error, "whether a message came back cannot be read");
            false
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_once_and_few_are_remembered() {
        let jid = |text| Jid::parse(text).unwrap();
        let mut sent = Sent::default();
        sent.note(&jid("bob@d"), "1", Some(7));
        sent.note(&jid("bob@d/x"), "2", None);
        assert_eq!(sent.take(&jid("carl@d"), "1"), None);
        assert_eq!(sent.take(&jid("bob@d/x"), "1"), Some(Some(7)));
        assert_eq!(sent.take(&jid("bob@d/x"), "1"), None);
        assert_eq!(sent.take(&jid("bob@d"), "2"), Some(None));
        for n in 0..1_000 {
            sent.note(&jid("bob@d"), &n.to_string(), None);
        }
        assert_eq!(sent.0.len(), MAX_SENT);
        assert_eq!(sent.take(&jid("bob@d"), "999"), Some(None));
        assert_eq!(sent.take(&jid("bob@d"), "9"), None);
    }
}
