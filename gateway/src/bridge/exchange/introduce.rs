//! Who calls, as whom is called knows it: the name that its roster has (RFC 6121 section 2.1.2.4), else the one that the caller's
//! phone or a trunk that is believed says; and a link to the caller's picture, for phones (RFC 3261 section 20.9).

use tandem_sip::ports::{Invited, Origin};
use tandem_xmpp::xml::Element;

use super::Exchange;
use super::entry::Entry;

/// Characters of a name.
const MAX_NAME: usize = 100;
const NICK: &str = "http://jabber.org/protocol/nick";

/// What a name holds that phones and apps show: one line.
fn clean(name: &str) -> Option<String> {
    let name: String = name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// For an app, which shows it where it does not know who calls (XEP-0172 section 4.2).
pub(super) fn nick(entry: &Entry) -> Option<Element> {
    entry.said_name.as_ref().map(|name| Element::new("nick", NICK).with_text(name))
}

impl Exchange {
    /// The name that a caller says it has: strangers of other domains may call themselves what they like.
    pub(super) fn said_name(&self, invited: &Invited) -> Option<String> {
        let is_believed = match &invited.origin {
            Origin::Account => true,
            Origin::Trunk(trunk) => self.parts.plan.is_trusted(trunk),
            Origin::Foreign => false,
        };
        invited.from.display.as_deref().filter(|_| is_believed).and_then(clean)
    }

    /// Looks up what the phones that are to ring will show.
    pub(super) async fn introduce(&self, entry: &mut Entry) {
        (entry.known_name, entry.picture) = (None, None);
        let (caller, callee) = (entry.caller.bare(), entry.callee.bare());
        let contacts = &self.parts.contacts;
        let rings = !contacts.of(&callee).is_empty() || !contacts.asleep(&callee).is_empty();
        if entry.is_hidden || !rings {
            return;
        }
        let found = self.parts.xmpp.contacts(&callee).await;
        match found {
            Ok(roster) => {
                let item = roster.items.iter().find(|item| item.jid == caller);
                entry.known_name = item.and_then(|item| item.name.as_deref()).and_then(clean);
            }
            Err(error) => tracing::error!(%error, "a roster cannot be read: a call has no name"),
        }
        if !self.parts.plan.may_dial(&caller) {
            return;
        }
        match self.parts.xmpp.avatar_for(&caller, &callee).await {
            Ok(hash) => entry.picture = hash.map(|hash| self.parts.pictures.link(&caller, &hash)),
            Err(error) => tracing::error!(%error, "an avatar cannot be read"),
        }
    }
}
