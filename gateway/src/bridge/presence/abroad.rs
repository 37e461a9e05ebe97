//! SIP contacts of other domains, watched for XMPP users (RFC 8048 section 5.2): carries out what their machines decide.
//!
//! One SIP subscription a user and contact, never one a device; the notifier sees the user's bare address.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tandem_sip::msg::NameAddr;
use tandem_sip::ports::{OutgoingSubscription, Package, Target, WatchEvent, WatchId, WatchingEnd};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::{Condition, Stanza, StanzaError};
use tandem_xmpp::xml::Element;

use super::PresenceDesk;
use super::foreign::{Action, Contact, Input};
use crate::bridge::pidf_read::{Document, Tuple};
use crate::bridge::{identity, reason};

/// SIP contacts of one user (RFC 8048 section 8.1).
const MAX_CONTACTS: usize = 100;
/// How long a subscription is asked for (RFC 3856 section 6.4).
const AN_HOUR: Duration = Duration::from_secs(3_600);

/// The way to contacts that are not of this server.
pub trait Routes: Send + Sync {
    /// Where SUBSCRIBE requests for this contact go; `None`: it is no SIP contact.
    fn target(&self, contact: &Jid) -> Option<Target>;
}

/// No other domain is reached over SIP.
pub struct NoRoutes;

impl Routes for NoRoutes {
    fn target(&self, _: &Jid) -> Option<Target> {
        None
    }
}

/// A user and the contact it watches.
type Pair = (Jid, Jid);

/// All machines.
#[derive(Default)]
pub(super) struct Abroad {
    contacts: HashMap<Pair, Entry>,
    by_watch: HashMap<WatchId, Pair>,
    /// When a machine is due, or somewhat earlier.
    pub(super) due: Option<Instant>,
}

struct Entry {
    machine: Contact,
    watch: Option<WatchId>,
}

impl PresenceDesk {
    /// A user's presence stanza for a SIP contact.
    pub(super) async fn went_abroad(&mut self, stanza: &Stanza, now: Instant) {
        let (Some(from), Some(to)) = (stanza.from().cloned(), stanza.to().map(Jid::bare)) else {
            return;
        };
        let pair = (from.bare(), to);
        let input = match stanza.type_() {
            Some("subscribe") => Input::Subscribe,
            Some("unsubscribe") => Input::Unsubscribe,
            Some("probe") => Input::Online,
            // What its watchers see goes out by NOTIFY, to them alone.
            _ => return,
        };
        if !self.abroad.contacts.contains_key(&pair) && !self.meet(&pair, &input).await {
            return;
        }
        if input == Input::Online
            && let Some(entry) = self.abroad.contacts.get(&pair)
        {
            // A further device is shown what the others know.
            for tuple in entry.machine.shown() {
                self.xmpp.inject(presence(&pair.1, &from, Some(tuple), &tuple.resource)).await;
            }
        }
        self.feed(&pair, input, now).await;
    }

    /// Makes a machine, if the user may have one more.
    async fn meet(&mut self, pair: &Pair, input: &Input) -> bool {
        let roster = self.xmpp.contacts(&pair.0).await.ok();
        let item = roster.as_ref().and_then(|roster| roster.item(&pair.1));
        let is_let = item.is_some_and(|item| item.to);
        let count = self.abroad.contacts.keys().filter(|(user, _)| *user == pair.0).count();
        if *input == Input::Subscribe && (count >= MAX_CONTACTS || !self.may_ask(&pair.0)) {
            let refused = Element::new("presence", "jabber:client")
                .with_attr("type", "error")
                .with_attr("from", pair.1.as_str())
                .with_attr("to", pair.0.as_str())
                .with_child(StanzaError::new(Condition::ResourceConstraint).to_element());
            self.xmpp.inject(refused).await;
            return false;
        }
        let is_online = self.is_online(&pair.0);
        let entry = Entry { machine: Contact::new(is_let, is_online), watch: None };
        self.abroad.contacts.insert(pair.clone(), entry);
        true
    }

    fn is_online(&self, user: &Jid) -> bool {
        self.xmpp.presences(user).iter().any(|presence| !presence.attached)
    }

    /// A user came, or went.
    pub(super) async fn moved(&mut self, user: &Jid, now: Instant) {
        let pairs: Vec<Pair> =
            self.abroad.contacts.keys().filter(|(of, _)| of == user).cloned().collect();
        if pairs.is_empty() {
            return;
        }
        let is_online = self.is_online(user);
        for pair in pairs {
            let input = if is_online { Input::Online } else { Input::Offline };
            self.feed(&pair, input, now).await;
        }
    }

    /// The SIP side heard something.
    pub(super) async fn heard(&mut self, id: WatchId, event: WatchEvent, now: Instant) {
        let Some(pair) = self.abroad.by_watch.get(&id).cloned() else { return };
        let input = match event {
            WatchEvent::Told(told) => {
                let document = told.body.and_then(|body| Document::parse(&body));
                Input::Told(told.fork, told.state, document)
            }
            WatchEvent::ForkEnded(fork) => Input::ForkEnded(fork),
            WatchEvent::Ended(why) => {
                self.abroad.by_watch.remove(&id);
                if let Some(entry) = self.abroad.contacts.get_mut(&pair) {
                    entry.watch = None;
                }
                Input::Ended(why)
            }
        };
        self.feed(&pair, input, now).await;
    }

    /// What is due, and when to look again.
    pub(super) async fn abroad_due(&mut self, now: Instant) {
        let is_due = |entry: &Entry| entry.machine.poll_timeout().is_some_and(|at| at <= now);
        let due: Vec<Pair> = self
            .abroad
            .contacts
            .iter()
            .filter(|(_, entry)| is_due(entry))
            .map(|(pair, _)| pair.clone())
            .collect();
        for pair in due {
            if let Some(entry) = self.abroad.contacts.get_mut(&pair) {
                entry.machine.handle_timeout(now);
            }
            self.act(&pair, now).await;
        }
        let left = self.abroad.contacts.values();
        self.abroad.due = left.filter_map(|entry| entry.machine.poll_timeout()).min();
    }

    async fn feed(&mut self, pair: &Pair, input: Input, now: Instant) {
        if let Some(entry) = self.abroad.contacts.get_mut(pair) {
            entry.machine.handle(input, now);
        }
        self.act(pair, now).await;
    }

    async fn act(&mut self, pair: &Pair, now: Instant) {
        let (user, contact) = pair;
        while let Some(action) =
            self.abroad.contacts.get_mut(pair).and_then(|entry| entry.machine.poll_action())
        {
            let stanza = match action {
                Action::Watch => {
                    if let Some(why) = self.begin_abroad(pair) {
                        let entry = self.abroad.contacts.get_mut(pair);
                        entry
                            .into_iter()
                            .for_each(|e| e.machine.handle(Input::Ended(why.clone()), now));
                    }
                    continue;
                }
                Action::Unwatch => {
                    let watch = self.abroad.contacts.get(pair).and_then(|entry| entry.watch);
                    watch.into_iter().for_each(|watch| self.sip.unwatch(watch));
                    continue;
                }
                Action::Subscribed => kind(contact, user, "subscribed"),
                Action::Unsubscribed => kind(contact, user, "unsubscribed"),
                Action::Failed(status) => {
                    let Some(error) = reason::status_to_error(status, "") else { continue };
                    kind(contact, user, "error").with_child(error.to_element())
                }
                Action::Show(tuple) => presence(contact, user, Some(&tuple), &tuple.resource),
                Action::Gone(resource) => presence(contact, user, None, &resource),
            };
            self.xmpp.inject(stanza).await;
        }
        let Some(entry) = self.abroad.contacts.get(pair) else { return };
        let due = entry.machine.poll_timeout();
        self.abroad.due = self.abroad.due.into_iter().chain(due).min();
        if entry.machine.is_over() {
            self.abroad.contacts.remove(pair);
        }
    }

    /// Sends the SUBSCRIBE; gives why it cannot be sent.
    fn begin_abroad(&mut self, pair: &Pair) -> Option<WatchingEnd> {
        let uri = |jid: &Jid| identity::jid_to_sip(&jid.bare()).ok();
        let target = self.routes.target(&pair.1);
        let (Some(target), Some(from), Some(to)) = (target, uri(&pair.0), uri(&pair.1)) else {
            return Some(WatchingEnd::Refused { status: 404, retry_after: None });
        };
        let watch = self.sip.watch(OutgoingSubscription {
            target,
            from: NameAddr::new(from),
            to,
            package: Package::Presence,
            expires: AN_HOUR,
        });
        self.abroad.by_watch.insert(watch, pair.clone());
        if let Some(entry) = self.abroad.contacts.get_mut(pair) {
            entry.watch = Some(watch);
        }
        None
    }
}

fn kind(from: &Jid, to: &Jid, kind: &str) -> Element {
    Element::new("presence", "jabber:client")
        .with_attr("from", from.as_str())
        .with_attr("to", to.as_str())
        .with_attr("type", kind)
}

/// One device of a contact as its tuple says (RFC 8048 section 6.3); without a tuple it is there no more.
fn presence(contact: &Jid, to: &Jid, tuple: Option<&Tuple>, resource: &str) -> Element {
    let from = contact.with_resource(resource).unwrap_or_else(|_| contact.clone());
    let mut presence = Element::new("presence", "jabber:client")
        .with_attr("from", from.as_str())
        .with_attr("to", to.as_str());
    let Some(tuple) = tuple else { return presence.with_attr("type", "unavailable") };
    if let Some(show) = tuple.show {
        presence.push(Element::new("show", "jabber:client").with_text(show.name()));
    }
    if let Some(note) = &tuple.note {
        presence.push(Element::new("status", "jabber:client").with_text(note));
    }
    if tuple.priority != 0 {
        let priority = tuple.priority.to_string();
        presence.push(Element::new("priority", "jabber:client").with_text(priority));
    }
    presence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tuple_becomes_presence_of_its_device() {
        let (contact, user) = (Jid::parse("bob@p").unwrap(), Jid::parse("ana@d").unwrap());
        let body = "<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='sip:bob@p'><tuple id='ID-desk'>\
            <status><basic>open</basic><show xmlns='jabber:client'>away</show></status>\
            <contact priority='1'>sip:bob@p</contact><note>tea</note></tuple></presence>";
        let document = Document::parse(body.as_bytes()).unwrap();
        let tuple = &document.tuples[0];
        let shown = presence(&contact, &user, Some(tuple), &tuple.resource);
        assert_eq!(shown.attr("from"), Some("bob@p/desk"));
        assert_eq!((shown.attr("to"), shown.attr("type")), (Some("ana@d"), None));
        for (name, text) in [("show", "away"), ("status", "tea"), ("priority", "127")] {
            assert_eq!(shown.child(name, "jabber:client").unwrap().text(), text);
        }
        let gone = presence(&contact, &user, None, "desk");
        assert_eq!(
            (gone.attr("type"), gone.attr("from")),
            (Some("unavailable"), Some("bob@p/desk"))
        );
    }
}
