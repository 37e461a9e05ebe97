//! Subscriptions that the owner of a node approves (XEP-0060 sections 6.1.4 and 8.6): asked by a form, which any of the
//! owner's devices sends back.

use super::access::affiliation;
use super::{KnownNode, Refusal};
use crate::jid::Jid;
use crate::ports::StoreError;
use crate::ports::pubsub::Access;
use crate::service::Server;
use crate::stanza::data_form::{self, Field, FieldKind, Form, FormKind};
use crate::stanza::{Condition, Stanza};
use crate::xml::{Element, ns};

const AUTHORIZATION: &str = "http://jabber.org/protocol/pubsub#subscribe_authorization";

/// The answer to a request for approval, when a message is one.
fn answer(stanza: &Stanza) -> Option<Form> {
    let form = Form::from_element(&stanza.child("x", data_form::NS)?)?;
    let is_answer = matches!(form.kind, FormKind::Submit | FormKind::Cancel);
    (is_answer && form.form_type() == Some(AUTHORIZATION)).then_some(form)
}

impl Server {
    /// Whether somebody's subscription is for the owner to approve. Who is on the node's list needs none.
    pub(super) async fn needs_approval(
        &self,
        owner: &Jid,
        known: &KnownNode,
        from: &Jid,
    ) -> Result<bool, StoreError> {
        let asks = known.node.config.access == Access::Authorize
            && affiliation(&known.node, &from.bare()).is_none();
        Ok(asks && !self.may_read(owner, &known.node, &from.bare()).await?)
    }

    /// Keeps a request until it is answered; false when it was there. For who has the account's turn.
    pub(super) async fn note_pending_subscription(
        &self,
        owner: &Jid,
        known: &KnownNode,
        jid: &Jid,
    ) -> Result<bool, Refusal> {
        let mut node = known.node.clone();
        if node.pending.contains(jid) {
            return Ok(false);
        }
        if node.subscriptions.len() + node.pending.len() >= self.config().pubsub.max_subscriptions {
            return Err(Refusal::because(Condition::PolicyViolation, "too-many-subscriptions"));
        }
        node.pending.push(jid.clone());
        self.save_node(owner, node).await?;
        Ok(true)
    }

    /// Asks the owner, now or when it comes online.
    pub(super) async fn ask_for_approval(&self, owner: &Jid, node: &str, jid: &Jid) {
        let text = |var: &str, label: &str, value: &str| {
            Field::new(FieldKind::TextSingle, var).with_label(label).with_value(value)
        };
        let form = Form::about(FormKind::Form, AUTHORIZATION)
            .with_title("Subscription request")
            .with_field(text("pubsub#node", "Node", node))
            .with_field(
                Field::new(FieldKind::JidSingle, "pubsub#subscriber_jid")
                    .with_label("Who wants to subscribe")
                    .with_value(jid.as_str()),
            )
            .with_field(
                Field::new(FieldKind::Boolean, "pubsub#allow")
                    .with_label("Allow it")
                    .with_bool(false),
            );
        let words = format!("{jid} wants to subscribe to {node}.");
        let message = Element::new("message", ns::CLIENT)
            .with_attr("from", owner.as_str())
            .with_attr("to", owner.as_str())
            .with_attr("id", self.made_up_id())
            .with_child(Element::new("body", ns::CLIENT).with_text(words))
            .with_child(form.to_element());
        // A message may be about something that is asked for in turn.
        Box::pin(self.inject(message)).await;
    }

    /// Takes a message of an account to itself that answers a request; false when it is another one.
    pub(in crate::service) async fn takes_approval(&self, stanza: &Stanza) -> bool {
        let (Some(from), Some(to)) = (stanza.from(), stanza.to()) else { return false };
        if to.as_str() != from.as_bare_str() || !stanza.has("x", data_form::NS) {
            return false;
        }
        let Some(form) = answer(stanza) else { return false };
        if let Err(Refusal::Store(error)) = self.approve(to, &form).await {
            tracing::error!(%error, "a subscription that was approved or denied still waits");
        }
        true
    }

    async fn approve(&self, owner: &Jid, form: &Form) -> Result<(), Refusal> {
        // Cancelled, it goes on waiting.
        let (Some(name), Some(allow)) = (form.value("pubsub#node"), form.bool("pubsub#allow"))
        else {
            return Ok(());
        };
        let jid = form.value("pubsub#subscriber_jid").and_then(|jid| Jid::parse(jid).ok());
        let _turn = self.pep_turn(owner).await;
        let profile = self.profile(owner).await?;
        let Some((known, jid)) = profile.find(name).zip(jid) else { return Ok(()) };
        if form.kind == FormKind::Cancel || !known.node.pending.contains(&jid) {
            return Ok(());
        }
        let mut node = known.node.clone();
        node.pending.retain(|other| *other != jid);
        if allow {
            node.subscriptions.push(jid.clone());
        }
        self.save_node(owner, node).await?;
        self.tell_subscriber(owner, name, &jid, if allow { "subscribed" } else { "none" });
        if allow {
            self.send_last_to_subscriber(owner, known, &jid).await?;
        }
        Ok(())
    }
}
