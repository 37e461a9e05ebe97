//! Stanzas that leave for other servers and components (RFC 6120 section 10.4), and those that come back.

use bytes::Bytes;

use super::{Outcome, Server};
use crate::router::Place;
use crate::stanza::{Condition, Kind, Stanza, StanzaError};

impl Server {
    /// Gives a stanza to the way to its domain; its sender hears when there is none.
    pub(super) fn send_elsewhere(&self, stanza: &Stanza) -> Outcome {
        let (Some(from), Some(to)) = (stanza.from(), stanza.to()) else { return Outcome::Ignored };
        if self.emit(from, to, &stanza.bytes()) {
            return Outcome::Sent;
        }
        // Presence goes to many at once, and its sender can do nothing about those who cannot be reached.
        if stanza.kind() == Kind::Presence {
            return Outcome::Ignored;
        }
        self.bounce(stanza, StanzaError::new(Condition::RemoteServerNotFound))
    }

    /// What was queued for another domain could not be delivered: it comes back to its sender as an error (RFC 6120
    /// section 8.3.1). Probes and farewells come back to nobody, and what a filter did not read is dropped.
    pub async fn returned(&self, stanza: Bytes, condition: Condition) {
        let Ok(stanza) = Stanza::parse(stanza) else { return };
        if self.drop_copy(&stanza) {
            return;
        }
        if stanza.kind() == Kind::Presence && stanza.type_().is_some() {
            return;
        }
        let error = stanza.error_reply(&StanzaError::new(condition));
        if let Some(Ok(error)) = error.map(|e| Stanza::from_element(&e)) {
            self.handle(error).await;
        }
    }

    /// Whether a stanza to this domain is for this server: a served domain, one of its services, or a component. Another
    /// server may send to no other (RFC 6120 section 4.9.3.6).
    pub fn serves(&self, domain: &str) -> bool {
        let jid = crate::jid::Jid::new(None, domain, None);
        jid.is_ok_and(|jid| self.place(&jid) != Place::Elsewhere)
            || self.config().components.iter().any(|c| c == domain)
    }
}
