//! The archive of accounts and rooms (XEP-0313).
//!
//! | file | duty |
//! |---|---|
//! | `ids` | the ids by which clients know archived messages (XEP-0359) |
//! | `rules` | what is archived, and for whom it waits (XEP-0313 section 6, XEP-0334) |
//! | `query` | pages, the form, metadata (XEP-0313 sections 4 and 5, XEP-0059) |
//! | `prefs` | an account's wishes (XEP-0441) |
//! | `tombstone` | what stays of a retracted message (XEP-0424) |

mod ids;
mod prefs;
mod query;
mod rules;
mod tombstone;

use bytes::Bytes;

pub(super) use self::ids::ArchiveIds;
pub(super) use self::prefs::PrefsCache;
pub(super) use self::query::Whose;
pub(super) use self::rules::importance;
pub(super) use self::tombstone::{RETRACT, name_of, origin_of};
use super::Server;
use crate::jid::Jid;
use crate::ports::{Archived, Seq};
use crate::stanza::{append_child, stamp, stanza_id};
use crate::xml::escape;

/// The namespace.
pub(super) const MAM: &str = "urn:xmpp:mam:2";
/// What an archive's address announces (section 7).
pub(super) const FEATURES: &[&str] = &[
    MAM,
    "urn:xmpp:mam:2#extended",
    "urn:xmpp:mam:2#groupchat-field",
    stanza_id::NS,
    tombstone::RETRACT,
    "urn:xmpp:message-retract:1#tombstone",
];

impl Server {
    /// The id under which the message at this place is known to clients (XEP-0359).
    pub(crate) fn archive_id(&self, seq: Seq) -> String {
        self.0.archive_ids.id(seq)
    }

    /// The place that an id names; `None` for what is no id of ours.
    pub(crate) fn archive_seq(&self, id: &str) -> Option<Seq> {
        self.0.archive_ids.seq(id)
    }

    /// A stanza with the id that it has in the archive of `by`.
    pub(crate) fn with_archive_id(&self, stanza: &Bytes, by: &Jid, seq: Seq) -> Bytes {
        append_child(stanza, &self.id_element(by, seq))
    }

    /// A message of the owner's archive that comes late (XEP-0203), with its id there.
    pub(super) fn delayed(&self, stanza: &Bytes, owner: &Jid, seq: Seq) -> Bytes {
        let mut text = "<delay xmlns='urn:xmpp:delay' from='".to_owned();
        escape(&mut text, owner.domain());
        text.push_str("' stamp='");
        text.push_str(&stamp::print(seq));
        text.push_str("'/>");
        text.push_str(&self.id_element(owner, seq));
        append_child(stanza, &text)
    }

    fn id_element(&self, by: &Jid, seq: Seq) -> String {
        let mut text = "<stanza-id xmlns='urn:xmpp:sid:0' by='".to_owned();
        escape(&mut text, by.as_str());
        text.push_str("' id='");
        text.push_str(&self.archive_id(seq));
        text.push_str("'/>");
        text
    }

    /// A result message (section 4.2), as it goes to `to`. The forwarded stanza is as it was kept.
    fn result(&self, owner: &Jid, to: &Jid, queryid: Option<&str>, message: &Archived) -> Bytes {
        let mut out = String::with_capacity(message.stanza.len() + 400);
        let mut attribute = |name: &str, value: &str| {
            out.push_str(name);
            out.push_str("='");
            escape(&mut out, value);
            out.push('\'');
        };
        let id = self.archive_id(message.seq);
        attribute("<message from", owner.as_str());
        attribute(" to", to.as_str());
        attribute("><result xmlns", MAM);
        if let Some(queryid) = queryid {
            attribute(" queryid", queryid);
        }
        attribute(" id", &id);
        attribute("><forwarded xmlns", "urn:xmpp:forward:0");
        attribute("><delay xmlns", "urn:xmpp:delay");
        attribute(" stamp", &stamp::print(message.seq));
        out.push_str("/>");
        out.push_str(&forwarded(&message.stanza));
        out.push_str("</forwarded></result></message>");
        out.into()
    }
}

/// A message inside another stanza: it declares its namespace, which the wrapper has changed (XEP-0297).
pub(super) fn forwarded(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    let rest = text.strip_prefix("<message").unwrap_or(&text);
    format!("<message xmlns='jabber:client'{rest}")
}
