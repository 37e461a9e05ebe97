//! Private XML storage (XEP-0049): what a client keeps on the server for itself, by name and namespace. Bookmarks in it
//! are those of `bookmarks`.

use super::bookmarks::STORAGE;
use super::pep::{Answer, Draft, Refusal, default_config};
use super::{Outcome, Server};
use crate::jid::Jid;
use crate::ports::StoreError;
use crate::ports::pubsub::Wanted;
use crate::stanza::{Condition, Stanza};
use crate::xml::Element;

pub(super) const NS: &str = "jabber:iq:private";
/// Where it is kept; no client sees this node.
const NODE: &str = "tandem:private";
/// Most elements set at once.
const MAX_AT_ONCE: usize = 20;

impl Server {
    /// An account's request for its own data.
    pub(super) async fn private_storage(&self, stanza: &Stanza, from: &Jid) -> Outcome {
        let answer = self.answer_private(stanza, &from.bare()).await;
        self.give(stanza, answer)
    }

    async fn answer_private(&self, stanza: &Stanza, owner: &Jid) -> Answer {
        let malformed = || Refusal::new(Condition::BadRequest);
        let query = stanza.child("query", NS).ok_or_else(malformed)?;
        let elements: Vec<Element> = query.elements().cloned().collect();
        // Names of the protocol itself are not for private data (section 2.3).
        let reserved = |e: &Element| e.ns().starts_with("jabber:") || e.ns() == "vcard-temp";
        if elements.iter().any(reserved) {
            return Err(Refusal::new(Condition::NotAcceptable));
        }
        if stanza.type_() == Some("get") {
            let [wanted] = elements.as_slice() else {
                return Err(Refusal::new(Condition::NotAcceptable));
            };
            let found = if wanted.is("storage", STORAGE) {
                Some(self.bookmark_storage(owner).await?)
            } else {
                self.private_element(owner, wanted.name(), wanted.ns()).await?
            };
            // What was never kept is answered as it was asked for (section 2.2).
            let found = found.unwrap_or_else(|| Element::new(wanted.name(), wanted.ns()));
            let mut text = String::new();
            Element::new("query", NS).with_child(found).print(&mut text, crate::xml::ns::CLIENT);
            return Ok(Some(text));
        }
        if elements.is_empty() || elements.len() > MAX_AT_ONCE {
            return Err(Refusal::new(Condition::NotAcceptable));
        }
        let (bookmarks, others): (Vec<_>, Vec<_>) =
            elements.into_iter().partition(|e| e.is("storage", STORAGE));
        if !others.is_empty() {
            let _turn = self.pep_turn(owner).await;
            self.keep_private(owner, &others).await?;
        }
        for storage in &bookmarks {
            self.replace_bookmarks(owner, storage).await?;
        }
        Ok(None)
    }

    /// Keeps elements in place of those of their names. For who has the account's turn.
    pub(super) async fn keep_private(
        &self,
        owner: &Jid,
        elements: &[Element],
    ) -> Result<(), Refusal> {
        let mut drafts: Vec<Draft> = Vec::new();
        for element in elements {
            let draft = Draft::new(key(element.name(), element.ns()), element);
            if draft.payload.len() > self.config().pubsub.max_item_bytes {
                return Err(Refusal::new(Condition::NotAcceptable));
            }
            drafts.push(draft);
        }
        let node = self.own_node(owner, NODE, || default_config(NODE)).await?;
        self.publish(owner, owner, &node, drafts).await
    }

    /// What is kept under a name.
    pub(super) async fn private_element(
        &self,
        owner: &Jid,
        name: &str,
        ns: &str,
    ) -> Result<Option<Element>, StoreError> {
        let profile = self.profile(owner).await?;
        let Some(known) = profile.find(NODE) else { return Ok(None) };
        let wanted = Wanted::Ids(vec![key(name, ns)]);
        let page = self.0.ports.pubsub.items(owner, &known.node, &wanted).await?;
        let item = page.and_then(|mut page| page.items.pop());
        Ok(item.and_then(|item| Element::parse(&item.payload).ok()))
    }
}

/// No namespace or name has a space in it.
fn key(name: &str, ns: &str) -> String {
    format!("{name} {ns}")
}
