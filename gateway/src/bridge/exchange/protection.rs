//! Both ends of a call learn how the other one is protected, as far as we see it: an app by `<protection/>` in a `session-info` once
//! they hear each other, a phone by a header field in the INVITE that rings it and in the 200 that answers it. The record of the
//! call has the same words.
//!
//! `signalling` is `tls` or `clear`, `media` is `dtls-srtp`, `sdes-srtp` or `clear`; what is not known yet is left out. Who does not
//! know the element or the field ignores it (XEP-0166 section 6.8, RFC 3261 section 20).

use tandem_xmpp::stanza::jingle::Info;

use super::entry::{CallKey, Leg};
use super::{Exchange, LegKey};

/// The header field for phones.
const FIELD: &str = "Tandem-Protection";

/// How a leg is protected, for the phone at the other end.
pub(super) fn field(leg: &Leg) -> Option<(String, String)> {
    let signalling = leg.kind.signalling_protection().map(|is| format!("signalling={is}"));
    let media = leg.kind.media_protection().map(|is| format!("media={is}"));
    let said: Vec<String> = signalling.into_iter().chain(media).collect();
    (!said.is_empty()).then(|| (FIELD.to_owned(), said.join(";")))
}

impl Exchange {
    /// The two hear each other: those of them that are apps learn how the other is protected.
    pub(super) fn show_protection(&mut self, call: CallKey, one: LegKey, other: LegKey) {
        let Some(mut entry) = self.calls.remove(&call) else { return };
        for (key, other) in [(one, other), (other, one)] {
            let Some(leg) = entry.legs.get(&other) else { continue };
            let owned = |word: Option<&str>| word.map(str::to_owned);
            let signalling = owned(leg.kind.signalling_protection());
            let media = owned(leg.kind.media_protection());
            if signalling.is_none() && media.is_none() {
                continue;
            }
            if let Some(session) = entry.legs.get_mut(&key).and_then(|leg| leg.kind.session()) {
                session.inform(Info::Protection { signalling, media });
            }
            self.drain(&mut entry, key);
        }
        self.calls.insert(call, entry);
    }
}
