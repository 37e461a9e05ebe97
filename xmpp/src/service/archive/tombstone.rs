//! What stays of a retracted message (XEP-0424 section 5): its place, addresses and id, and who took it back; no word of
//! what it said.

use bytes::Bytes;

use crate::jid::Jid;
use crate::ports::{ArchiveQuery, Archived, Seq, StoreError};
use crate::service::Server;
use crate::stanza::stanza_id::{self, origin_id};
use crate::stanza::{Stanza, stamp};
use crate::xml::{Element, ns};

/// The namespace.
pub(in crate::service) const RETRACT: &str = "urn:xmpp:message-retract:1";
const OCCUPANT: &str = "urn:xmpp:occupant-id:0";

impl Server {
    /// A message between two people takes another back: the first stays as a tombstone in the archives that have it, if
    /// the same account wrote both. `owner` is one of the two, and `seq` the place of the retraction.
    pub(in crate::service) async fn entomb_retracted(
        &self,
        retraction: &Stanza,
        owner: &Jid,
        seq: Seq,
    ) -> Result<(), StoreError> {
        let Some(element) = retraction.child("retract", RETRACT) else { return Ok(()) };
        let (Some(id), Some(from), Some(to)) =
            (element.attr("id"), retraction.from(), retraction.to())
        else {
            return Ok(());
        };
        let (from, to) = (from.bare(), to.bare());
        let peer = if from == *owner { &to } else { &from };
        let retracted = Element::new("retracted", RETRACT)
            .with_attr_opt("id", retraction.id())
            .with_attr("stamp", stamp::print(seq));
        for Archived { seq: place, stanza } in self.0.ports.archive.find(owner, peer, id).await? {
            let Ok(original) = Stanza::parse(stanza) else { continue };
            let same = original.from().is_some_and(|f| f.bare() == from)
                && original.to().is_some_and(|t| t.bare() == to)
                && is_named(&original, id)
                && !original.has("retract", RETRACT)
                && !original.has("retracted", RETRACT);
            if same && place < seq {
                let stone = tombstone(&original, retracted);
                return self.0.ports.archive.replace(place, stone).await;
            }
        }
        Ok(())
    }

    /// A moderator takes a message of a room back (XEP-0425): `retracted` stands in its place. False when the archive does
    /// not have it. Who may do that is for the caller to say.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn entomb(
        &self,
        owner: &Jid,
        seq: Seq,
        retracted: Element,
    ) -> Result<bool, StoreError> {
        let query = ArchiveQuery { ids: Some(vec![seq]), ..ArchiveQuery::new(owner.clone(), 1) };
        let page = self.0.ports.archive.page(&query).await?;
        let Some(message) = page.and_then(|page| page.messages.into_iter().next()) else {
            return Ok(false);
        };
        let Ok(original) = Stanza::parse(message.stanza) else { return Ok(false) };
        self.0.ports.archive.replace(seq, tombstone(&original, retracted)).await?;
        Ok(true)
    }
}

/// The id that a retraction or correction names: that of the message, else its origin id.
pub(in crate::service) fn name_of(stanza: &Stanza) -> Option<String> {
    stanza.id().map(str::to_owned).or_else(|| origin_of(stanza))
}

/// The origin id (XEP-0359).
pub(in crate::service) fn origin_of(stanza: &Stanza) -> Option<String> {
    stanza.child("origin-id", stanza_id::NS).as_ref().and_then(origin_id).map(str::to_owned)
}

fn is_named(stanza: &Stanza, id: &str) -> bool {
    name_of(stanza).as_deref() == Some(id)
}

/// The message with `retracted` in place of its content. What tells who wrote it, and its own id, stay.
fn tombstone(original: &Stanza, retracted: Element) -> Bytes {
    let kept = [("origin-id", stanza_id::NS), ("occupant-id", OCCUPANT)];
    Element::new("message", ns::CLIENT)
        .with_attr_opt("from", original.from().map(Jid::as_str))
        .with_attr_opt("to", original.to().map(Jid::as_str))
        .with_attr_opt("type", original.type_())
        .with_attr_opt("id", original.id())
        .with_children(kept.into_iter().filter_map(|(name, ns)| original.child(name, ns)))
        .with_child(retracted)
        .to_bytes()
}
