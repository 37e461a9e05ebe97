//! RFC 3680, RFC 5628: the `reg` package, which tells an account where it is registered.
//!
//! Only the account itself may watch (RFC 3680 section 4.6). State is sent whole each time; contacts that have gone are in
//! the first document after that, with what became of them.

use std::sync::Arc;
use std::time::Instant;

use super::binding::Binding;
use super::events::{Document, Package};
use super::notifier::Subscribing;
use super::{Core, Job, Waiting};
use crate::ports::{Subscription, SubscriptionId, SubscriptionState};

/// What happened to the contacts that an account has no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// Their phones said so, or registered in another way.
    Unregistered,
    /// Their time was over.
    Expired,
    /// Their connection is gone; they are to register again.
    Lost,
}

impl Gone {
    fn event(self) -> &'static str {
        match self {
            Self::Unregistered => "unregistered",
            Self::Expired => "expired",
            Self::Lost => "deactivated",
        }
    }
}

impl Core {
    /// Decides a subscription: what we know ourselves here, all else outside.
    pub(super) fn judge(
        &mut self,
        subscribing: Subscribing,
        subscription: Subscription,
        now: Instant,
    ) {
        if subscription.package != Package::Reg {
            let job = Job::Subscribe(Box::new(subscription));
            return self.job(Waiting::Subscribe(subscribing), job);
        }
        let id = subscription.id;
        let target = &subscription.target;
        let user = target.user_decoded().unwrap_or_default();
        let account = format!("{user}@{}", target.host);
        if !account.eq_ignore_ascii_case(&subscription.watcher) {
            return self.subscribe_answered(subscribing, Err(403), now);
        }
        let watchers = self.reg_watches.entry(subscription.watcher.clone()).or_default();
        watchers.retain(|known| *known != id && self.watches.contains_key(known));
        watchers.push(id);
        self.subscribe_answered(subscribing, Ok(()), now);
        let document = self.registrations(&subscription.watcher, &[], Gone::Unregistered, now);
        self.tell_watcher(id, document, now);
    }

    fn tell_watcher(&mut self, id: SubscriptionId, document: Document, now: Instant) {
        self.notify(id, SubscriptionState::Active, Some(document), now);
    }

    /// The bindings of an account were these.
    pub(super) fn tell_registrations(
        &mut self,
        account: &str,
        before: &[Arc<Binding>],
        gone: Gone,
        now: Instant,
    ) {
        let Some(watchers) = self.reg_watches.get_mut(account) else { return };
        watchers.retain(|id| self.watches.contains_key(id));
        let watchers = watchers.clone();
        if watchers.is_empty() {
            self.reg_watches.remove(account);
            return;
        }
        let document = self.registrations(account, before, gone, now);
        for id in watchers {
            self.tell_watcher(id, document.clone(), now);
        }
    }

    /// Everything about an account (RFC 3680 section 5).
    fn registrations(
        &mut self,
        account: &str,
        before: &[Arc<Binding>],
        gone: Gone,
        now: Instant,
    ) -> Document {
        let time = self.unix_time(now);
        let bindings = self.bindings(account).to_vec();
        let lost = before.iter().filter(|old| !bindings.iter().any(|new| is_same(old, new)));
        let mut contacts = String::new();
        for binding in &bindings {
            let known = before.iter().any(|old| is_same(old, binding));
            let event = if known { "refreshed" } else { "registered" };
            contacts.push_str(&Self::contact_element(binding, "active", event, time));
        }
        for binding in lost {
            contacts.push_str(&Self::contact_element(binding, "terminated", gone.event(), time));
        }
        let state = match (bindings.is_empty(), contacts.is_empty()) {
            (false, _) => "active",
            (true, false) => "terminated",
            (true, true) => "init",
        };
        let rest = format!(
            "\" state=\"full\"><registration aor=\"{}\" id=\"{}\" state=\"{state}\">{contacts}\
             </registration></reginfo>\n",
            escape(&format!("sip:{account}")),
            super::ids::stable(&[account]),
        );
        let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" \
                    xmlns:gr=\"urn:ietf:params:xml:ns:gruuinfo\" version=\"";
        Document::counted(Package::Reg.media(), head, &rest)
    }

    fn contact_element(binding: &Binding, state: &str, event: &str, time: u64) -> String {
        let expires = match state {
            "active" => format!(" expires=\"{}\"", binding.expires_at.saturating_sub(time)),
            _ => String::new(),
        };
        let id = match binding.reg_id {
            Some(flow) => format!("{}.{flow}", binding.id),
            None => binding.id.clone(),
        };
        let mut out = format!(
            "<contact id=\"{id}\" state=\"{state}\" event=\"{event}\"{expires} \
             duration-registered=\"{}\" q=\"{}.{:03}\" callid=\"{}\" cseq=\"{}\"><uri>{}</uri>",
            time.saturating_sub(binding.registered_at),
            binding.q / 1000,
            binding.q % 1000,
            escape(&binding.call_id),
            binding.cseq,
            escape(&binding.contact),
        );
        if let Some(instance) = &binding.instance {
            let instance = escape(&format!("\"<{instance}>\""));
            out.push_str(&format!(
                "<unknown-param name=\"+sip.instance\">{instance}</unknown-param>"
            ));
        }
        if let Some(gruu) = Self::public_gruu(binding).filter(|_| binding.has_gruu) {
            out.push_str(&format!("<gr:pub-gruu uri=\"{}\"/>", escape(&gruu.to_string())));
        }
        out.push_str("</contact>");
        out
    }
}

/// Whether two are one contact, registered again.
fn is_same(one: &Binding, other: &Binding) -> bool {
    one.id == other.id && one.reg_id == other.reg_id
}

/// Text as XML has it; what XML cannot have is left out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}
