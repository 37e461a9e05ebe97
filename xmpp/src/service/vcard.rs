//! vCards of the old kind (XEP-0054): everybody reads them, their owner writes them. The photo in them is the avatar of
//! `avatar`, kept once (XEP-0398).

use super::pep::{Answer, Draft, Refusal, default_config};
use super::{Outcome, Server};
use crate::jid::Jid;
use crate::ports::StoreError;
use crate::stanza::{Condition, Stanza};
use crate::xml::Element;

pub(super) const NS: &str = "vcard-temp";
/// Where it is kept, without the photo; no client sees this node.
const NODE: &str = "tandem:vcard";
/// Largest vCard without its photo in bytes.
const MAX_BYTES: usize = 32 * 1024;

impl Server {
    pub(super) async fn vcard(&self, stanza: &Stanza, from: &Jid, to: &Jid) -> Outcome {
        let answer = if stanza.type_() == Some("get") {
            self.vcard_get(from, to).await
        } else if from.bare() == *to {
            self.vcard_set(stanza, to).await
        } else {
            Err(Refusal::new(Condition::Forbidden))
        };
        self.give(stanza, answer)
    }

    async fn vcard_get(&self, from: &Jid, owner: &Jid) -> Answer {
        let own = from.bare() == *owner;
        let kept = self.kept_vcard(owner).await?;
        let photo = self.avatar_image(owner, &from.bare()).await?;
        if kept.is_none() && photo.is_none() {
            // No vCard and no account look alike (section 3.3).
            let missing = if own { Condition::ItemNotFound } else { Condition::ServiceUnavailable };
            return Err(Refusal::new(missing));
        }
        let mut vcard = kept.unwrap_or_else(|| Element::new("vCard", NS));
        if let Some(photo) = photo {
            vcard.retain_elements(|e| !e.is("PHOTO", NS));
            let text = |name: &str, text: &str| Element::new(name, NS).with_text(text);
            let photo = Element::new("PHOTO", NS)
                .with_child(text("TYPE", &photo.kind))
                .with_child(text("BINVAL", &photo.base64));
            vcard.push(photo);
        }
        let mut text = String::new();
        vcard.print(&mut text, crate::xml::ns::CLIENT);
        Ok(Some(text))
    }

    async fn vcard_set(&self, stanza: &Stanza, owner: &Jid) -> Answer {
        let malformed = || Refusal::new(Condition::BadRequest);
        let mut vcard = stanza.child("vCard", NS).ok_or_else(malformed)?;
        let photo = vcard.child("PHOTO", NS).cloned();
        let inline = photo.as_ref().and_then(|photo| photo.child("BINVAL", NS));
        // A photo elsewhere stays as it is; one that is here is the avatar.
        let is_link = photo.as_ref().is_some_and(|photo| photo.child("EXTVAL", NS).is_some());
        if !is_link {
            vcard.retain_elements(|e| !e.is("PHOTO", NS));
        }
        let draft = Draft::new("current", &vcard);
        if draft.payload.len() > MAX_BYTES {
            return Err(Refusal::new(Condition::NotAcceptable));
        }
        let _turn = self.pep_turn(owner).await;
        if let Some(photo) = photo.as_ref().filter(|_| !is_link) {
            let kind = photo.child("TYPE", NS).map(Element::text);
            let base64 = inline.map(Element::text).unwrap_or_default();
            self.set_avatar(owner, &base64, kind.as_deref()).await?;
        }
        let node = self.own_node(owner, NODE, || default_config(NODE)).await?;
        self.publish(owner, owner, &node, vec![draft]).await?;
        Ok(None)
    }

    async fn kept_vcard(&self, owner: &Jid) -> Result<Option<Element>, StoreError> {
        let profile = self.profile(owner).await?;
        let Some(known) = profile.find(NODE) else { return Ok(None) };
        let last = self.last_item(owner, known).await?;
        Ok(last.and_then(|item| Element::parse(&item.payload).ok()))
    }
}
