//! What the server runs and what time it is: software version (XEP-0092), entity time (XEP-0202).

use super::{Outcome, Server};
use crate::stanza::{Condition, Stanza, StanzaError};
use crate::xml::Element;

pub(super) const VERSION: &str = "jabber:iq:version";
pub(super) const TIME: &str = "urn:xmpp:time";

impl Server {
    /// The name, and the version where the settings let it be known (XEP-0092 section 4). The operating system never.
    pub(super) fn answer_version(&self, stanza: &Stanza) -> Outcome {
        let version = if self.config().show_version { env!("CARGO_PKG_VERSION") } else { "" };
        let query = Element::new("query", VERSION)
            .with_child(Element::new("name", VERSION).with_text("Tandem"))
            .with_child(Element::new("version", VERSION).with_text(version));
        self.reply(stanza, Some(query))
    }

    /// Always in UTC: where the machine stands is nobody's business.
    pub(super) fn answer_time(&self, stanza: &Stanza) -> Outcome {
        if !stanza.has("time", TIME) {
            return self.bounce(stanza, StanzaError::new(Condition::BadRequest));
        }
        let time = Element::new("time", TIME)
            .with_child(Element::new("tzo", TIME).with_text("+00:00"))
            .with_child(Element::new("utc", TIME).with_text(self.0.ports.accounts.stamp()));
        self.reply(stanza, Some(time))
    }
}
