//! What the owner of a node may do (XEP-0060 section 8): settings, removal, emptying, and the lists of who is what.

use std::sync::Arc;

use super::access::barrier;
use super::config::{self, default_config};
use super::{Answer, KnownNode, OWNER, Refusal, is_hidden, node_name, wire};
use crate::jid::Jid;
use crate::ports::pubsub::Access;
use crate::service::Server;
use crate::service::bookmarks::{BOOKMARKS, STORAGE};
use crate::stanza::Condition;
use crate::stanza::data_form::{Form, FormKind};
use crate::xml::Element;

impl Server {
    pub(super) async fn answer_owner(
        &self,
        from: &Jid,
        owner: &Jid,
        set: bool,
        verb: &Element,
    ) -> Answer {
        if from.bare() != *owner {
            return Err(Refusal::new(Condition::Forbidden));
        }
        if (verb.name(), set) == ("default", false) {
            let form = config::form(&default_config(""), FormKind::Form);
            let default = Element::new("default", OWNER).with_child(form);
            return Ok(Some(wire::owner_of(&default)));
        }
        let name = node_name(verb)?;
        if name == STORAGE && set {
            // It is a view of the new bookmarks: who means the old node must not lose or open these.
            return Err(Refusal::new(Condition::NotAllowed));
        }
        let name = if name == STORAGE { BOOKMARKS } else { name };
        let _turn = self.pep_turn(owner).await;
        let profile = self.profile(owner).await?;
        let known = profile.find(name).filter(|_| !is_hidden(name));
        let Some(known) = known else { return Err(Refusal::new(Condition::ItemNotFound)) };
        match (verb.name(), set) {
            ("configure", false) => {
                let form = config::form(&known.node.config, FormKind::Form);
                let configure =
                    Element::new("configure", OWNER).with_attr("node", name).with_child(form);
                Ok(Some(wire::owner_of(&configure)))
            }
            ("configure", true) => self.configure(owner, known, verb).await,
            ("delete", true) => self.delete(owner, known).await,
            ("purge", true) => self.purge(owner, known).await,
            ("affiliations", false) => Ok(Some(super::affiliations::list(&known.node))),
            ("affiliations", true) => self.set_affiliations(owner, known, verb).await,
            ("subscriptions", false) => Ok(Some(super::subscribe::list(&known.node))),
            ("subscriptions", true) => self.set_subscriptions(owner, known, verb).await,
            _ => Err(Refusal::new(Condition::FeatureNotImplemented)),
        }
    }

    async fn configure(&self, owner: &Jid, known: &Arc<KnownNode>, verb: &Element) -> Answer {
        if Form::in_element(verb).is_some_and(|form| form.kind == FormKind::Cancel) {
            return Ok(None);
        }
        let old = &known.node;
        let mut node = old.clone();
        node.config = config::submitted(&old.config, verb)?;
        let roster = self.roster(owner).await?;
        let may_stay = |jid: &Jid| barrier(owner, &node, &jid.bare(), &roster).is_none();
        let staying = old.subscriptions.iter().filter(|jid| may_stay(jid)).cloned().collect();
        node.subscriptions = staying;
        if node.config.access != Access::Authorize {
            // Nobody is asked any more: who still wants to subscribes anew.
            node.pending.clear();
        }
        if old.config.persist && !node.config.persist {
            self.0.ports.pubsub.retract(owner, &node.name, None).await?;
        }
        let notify = node.config.notify_config;
        self.save_node(owner, node.clone()).await?;
        if notify {
            let form = config::form(&node.config, FormKind::Result);
            self.notify_node(owner, &node, "configuration", Some(form)).await?;
        }
        self.published(owner, &node.name).await?;
        Ok(None)
    }

    async fn delete(&self, owner: &Jid, known: &Arc<KnownNode>) -> Answer {
        let node = &known.node;
        self.0.ports.pubsub.remove_node(owner, &node.name).await?;
        let profile = self.profile(owner).await?;
        self.remember(owner, profile.without(&node.name));
        if node.config.notify_delete {
            self.notify_node(owner, node, "delete", None).await?;
        }
        self.published(owner, &node.name).await?;
        Ok(None)
    }

    async fn purge(&self, owner: &Jid, known: &Arc<KnownNode>) -> Answer {
        let node = &known.node;
        if !node.config.persist {
            return Err(Refusal::unsupported("persistent-items"));
        }
        self.0.ports.pubsub.retract(owner, &node.name, None).await?;
        let profile = self.profile(owner).await?;
        self.remember(owner, profile.with(node.clone(), std::sync::OnceLock::new()));
        // One event for all of them (section 8.5.2).
        if node.config.notify_retract {
            self.notify_node(owner, node, "purge", None).await?;
        }
        self.published(owner, &node.name).await?;
        Ok(None)
    }
}
