//! Content filters: messages of watched rooms and domains are copied to a component (XEP-0114), whose verdict takes them
//! back.
//!
//! A copy is a message from the domain to the component, made after the message was kept:
//!
//! ```xml
//! <message from='d' to='filter.d' id='filter-7'>
//!   <copy xmlns='urn:tandem:filter:0' by='tea@rooms.d' id='archive-id'/>
//!   <forwarded xmlns='urn:xmpp:forward:0'><delay .../><message xmlns='jabber:client' .../></forwarded>
//! </message>
//! ```
//!
//! `by` is the room, or the account that got the message, and `id` its id in that archive (XEP-0359), missing where
//! nothing was kept. A verdict is a request, answered when it has been carried out:
//!
//! ```xml
//! <iq type='set' from='filter.d' to='d' id='v1'>
//!   <verdict xmlns='urn:tandem:filter:0' by='tea@rooms.d' id='archive-id' action='retract'
//!            reason='urn:xmpp:reporting:abuse'>words for the report</verdict>
//! </iq>
//! ```
//!
//! `action='retract'` (the default) leaves a tombstone, in a room by way of XEP-0425; `action='report'` only files a
//! report. Both do the latter. A room takes a request to moderate (XEP-0425 section 3.1) from a filter that watches it
//! too, which files none. Errors: `forbidden` for a chat that the component is not shown, `item-not-found` for a
//! message that is not there, `bad-request`.
//!
//! Chat never waits for a filter. A copy goes into the bounded queue of the component; when that is full, or the
//! component away, the copy is dropped and counted.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::{Outcome, Server};
use crate::jid::Jid;
use crate::ports::{ArchiveQuery, Evidence, Report, Seq, StoreError};
use crate::router::Place;
use crate::stanza::{Condition, Stanza, StanzaError};
use crate::xml::{Element, escape, ns};

/// The namespace.
pub(super) const NS: &str = "urn:tandem:filter:0";
const RETRACT: &str = "urn:xmpp:message-retract:1";
const MODERATE: &str = "urn:xmpp:message-moderate:1";
/// What a verdict without a reason is taken for (XEP-0377 section 3).
const ABUSE: &str = "urn:xmpp:reporting:abuse";
/// Longest words of a verdict that are kept, in bytes.
const MAX_TEXT: usize = 1_024;

/// A component that is shown the messages of some chats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterRule {
    /// Domains, rooms, or all rooms of a service as `*@rooms.example.org`.
    pub watch: Vec<String>,
    /// The component's domain.
    pub component: Jid,
}

impl FilterRule {
    /// Whether it is shown what is said in a room, or to an account.
    fn watches(&self, chat: &Jid) -> bool {
        self.watch.iter().any(|pattern| match pattern.split_once('@') {
            Some(("*", domain)) => domain == chat.domain(),
            Some(_) => pattern == chat.as_bare_str(),
            None => pattern == chat.domain(),
        })
    }
}

/// How many copies were made, and how many nobody took.
#[derive(Debug, Default)]
pub(super) struct FilterCount {
    made: AtomicU64,
    dropped: AtomicU64,
}

impl Server {
    /// How many copies were dropped because a filter did not take them.
    pub fn filter_copies_dropped(&self) -> u64 {
        self.0.filters.dropped.load(Ordering::Relaxed)
    }

    /// Shows a message to the filters of its chat: the room it was said in, or the account it went to. `bytes` is the
    /// message as it was delivered; `id` is its id in the archive of the chat.
    pub(super) fn show_filters(&self, chat: &Jid, bytes: &Bytes, id: Option<&str>) {
        for rule in self.0.config.filters.iter().filter(|rule| rule.watches(chat)) {
            let number = self.0.filters.made.fetch_add(1, Ordering::Relaxed);
            let Ok(domain) = Jid::new(None, self.host_of(chat), None) else { continue };
            let stamp = self.0.ports.accounts.stamp();
            let copy = copy(&domain, rule, number, chat, bytes, id, &stamp);
            if !self.emit(&domain, &rule.component, &copy) {
                self.count_dropped(&rule.component);
            }
        }
    }

    fn count_dropped(&self, component: &Jid) {
        let dropped = self.0.filters.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        // A filter that hangs is told of often enough, not with every message.
        if dropped.is_power_of_two() {
            tracing::warn!(%component, dropped, "a filter takes no copies");
        }
    }

    /// Whether this is a copy, which its filter left unread.
    pub(super) fn drop_copy(&self, stanza: &Stanza) -> bool {
        let Some(to) = stanza.to().filter(|_| stanza.has("copy", NS)) else { return false };
        let is_filter = self.0.config.filters.iter().any(|rule| rule.component == *to);
        if is_filter {
            self.count_dropped(to);
        }
        is_filter
    }

    /// Shows a message that went to an account, if it says something.
    pub(super) fn show_delivered(&self, stanza: &Stanza, place: Option<Seq>) {
        let Some(to) = stanza.to().filter(|to| self.place(to) == Place::Account) else { return };
        if self.is_filtered(to) && stanza.has("body", ns::CLIENT) {
            let id = place.map(|place| self.archive_id(place));
            self.show_filters(&to.bare(), &stanza.bytes(), id.as_deref());
        }
    }

    /// Whether an address is of a filter that is shown what is said in this room or to this account.
    pub(super) fn filters(&self, from: &Jid, chat: &Jid) -> bool {
        let mut rules = self.0.config.filters.iter();
        rules.any(|rule| rule.component.domain() == from.domain() && rule.watches(chat))
    }

    /// Whether any filter is shown what is said in this room or to this account.
    pub(super) fn is_filtered(&self, chat: &Jid) -> bool {
        self.0.config.filters.iter().any(|rule| rule.watches(chat))
    }

    /// The served domain that a chat belongs to.
    fn host_of<'a>(&self, chat: &'a Jid) -> &'a str {
        match self.place(chat) {
            Place::Rooms => chat.domain().split_once('.').map_or(chat.domain(), |(_, host)| host),
            _ => chat.domain(),
        }
    }

    /// A filter says what is to become of a message.
    pub(super) async fn answer_verdict(&self, stanza: &Stanza, from: &Jid) -> Outcome {
        let verdict = match stanza.child("verdict", NS).map(|element| Verdict::read(&element)) {
            Some(Some(verdict)) => verdict,
            _ => return self.bounce(stanza, StanzaError::new(Condition::BadRequest)),
        };
        if !self.filters(from, &verdict.by) {
            return self.bounce(stanza, StanzaError::new(Condition::Forbidden));
        }
        let seq = self.archive_seq(&verdict.id);
        let found = match seq {
            Some(seq) => self.message_at(&verdict.by, seq).await,
            None => Ok(None),
        };
        let done = match (found, seq) {
            (Ok(Some(original)), Some(seq)) => self.carry_out(&verdict, from, seq, original).await,
            (Ok(_), _) => {
                return self.bounce(stanza, StanzaError::new(Condition::ItemNotFound));
            }
            (Err(error), _) => Err(error),
        };
        match done {
            Ok(()) => self.reply(stanza, None),
            Err(error) => self.store_failed(stanza, &error),
        }
    }

    async fn message_at(&self, owner: &Jid, seq: Seq) -> Result<Option<Bytes>, StoreError> {
        let query = ArchiveQuery { ids: Some(vec![seq]), ..ArchiveQuery::new(owner.bare(), 1) };
        let page = self.0.ports.archive.page(&query).await?;
        Ok(page.and_then(|page| page.messages.into_iter().next()).map(|message| message.stanza))
    }

    async fn carry_out(
        &self,
        verdict: &Verdict,
        from: &Jid,
        seq: Seq,
        original: Bytes,
    ) -> Result<(), StoreError> {
        // The report first: what it is about is gone after that.
        let sender = Stanza::parse(original.clone()).ok().and_then(|s| s.from().cloned());
        let report = Report {
            reporter: from.bare(),
            reported: sender.unwrap_or_else(|| verdict.by.clone()),
            reason: verdict.reason.clone(),
            text: Some(verdict.text.clone()).filter(|text| !text.is_empty()),
            to_origin: false,
            to_others: false,
            evidence: vec![Evidence {
                by: verdict.by.to_string(),
                id: verdict.id.clone(),
                stanza: Some(original),
            }],
        };
        self.0.ports.blocklists.block(&from.bare(), &[], &[report]).await?;
        if !verdict.retracts {
            return Ok(());
        }
        if self.place(&verdict.by) == Place::Rooms {
            return self.filter_out(&verdict.by, &verdict.id, &verdict.text).await.map(|_| ());
        }
        let mut moderated = Element::new("moderated", MODERATE);
        moderated.set_attr("by", self.host_of(&verdict.by));
        let mut retracted = Element::new("retracted", RETRACT)
            .with_attr("stamp", self.0.ports.accounts.stamp())
            .with_child(moderated);
        if !verdict.text.is_empty() {
            retracted.push(Element::new("reason", MODERATE).with_text(&verdict.text));
        }
        self.entomb(&verdict.by, seq, retracted).await.map(|_| ())
    }
}

/// What a filter decided.
struct Verdict {
    by: Jid,
    id: String,
    retracts: bool,
    reason: String,
    text: String,
}

impl Verdict {
    fn read(element: &Element) -> Option<Self> {
        let by = Jid::parse(element.attr("by")?).ok()?.bare();
        let id = element.attr("id").filter(|id| !id.is_empty())?.to_owned();
        let retracts = match element.attr("action") {
            None | Some("retract") => true,
            Some("report") => false,
            Some(_) => return None,
        };
        let reason = element.attr("reason").filter(|reason| reason.len() <= MAX_TEXT);
        let mut text = element.text();
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        Some(Self { by, id, retracts, reason: reason.unwrap_or(ABUSE).to_owned(), text })
    }
}

/// The copy, with the message in it byte for byte (XEP-0297).
fn copy(
    domain: &Jid,
    rule: &FilterRule,
    number: u64,
    chat: &Jid,
    bytes: &Bytes,
    id: Option<&str>,
    stamp: &str,
) -> Bytes {
    let message = std::str::from_utf8(bytes).unwrap_or_default();
    // The forwarded stanza declares its namespace, which the wrapper has changed.
    let declared = format!("<message xmlns='{}'", ns::CLIENT);
    let message = message.replacen("<message", &declared, 1);
    let mut out = String::with_capacity(message.len() + 400);
    out.push_str("<message from='");
    escape(&mut out, domain.as_str());
    out.push_str("' to='");
    escape(&mut out, rule.component.as_str());
    out.push_str(&format!("' id='filter-{number}'><copy xmlns='{NS}' by='"));
    escape(&mut out, chat.as_bare_str());
    if let Some(id) = id {
        out.push_str("' id='");
        escape(&mut out, id);
    }
    out.push_str("'/><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='");
    escape(&mut out, stamp);
    out.push_str("'/>");
    out.push_str(&message);
    out.push_str("</forwarded></message>");
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_watches_a_domain_a_room_or_all_rooms() {
        let rule = |watch: &str| FilterRule {
            watch: vec![watch.into()],
            component: Jid::parse("filter.d").unwrap(),
        };
        for (watch, chat, expected) in [
            ("d", "ana@d", true),
            ("d", "tea@rooms.d", false),
            ("*@rooms.d", "tea@rooms.d", true),
            ("*@rooms.d", "ana@d", false),
            ("tea@rooms.d", "tea@rooms.d", true),
            ("tea@rooms.d", "cake@rooms.d", false),
        ] {
            let watches = rule(watch).watches(&Jid::parse(chat).unwrap());
            assert_eq!(watches, expected, "{watch} {chat}");
        }
    }
}
