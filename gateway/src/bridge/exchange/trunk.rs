//! Calls from and to the telephone network, by trunks (RFC 3261 section 16.6 as a B2BUA does it, RFC 3325, E.164).
//!
//! A number is an XMPP address in a domain of its own, so that apps call it and are called by it like anybody. Nobody answers
//! there but this file: what else is asked of it gets an error.

use std::sync::Arc;
use std::time::Instant;

use tandem_media::sdp::Encryption;
use tandem_sip::ports::{Invited, OutgoingInvite, Target};
use tandem_sip::service::identity as privacy;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::Stanza;
use tandem_xmpp::xml::{Element, ns};

use super::audio::{self, Security};
use super::entry::{CallKey, Entry, Kind, Leg, Way};
use super::{Exchange, LegKey, breadth};
use crate::bridge::numbers::{Dialled, is_of_trunk};
use crate::bridge::tolls::{Item, Refused};
use crate::config::Trunk;

const DISCO: &str = "http://jabber.org/protocol/disco#info";
/// The resource by which a called number speaks, or somebody of another domain.
pub(super) const RESOURCE: &str = "trunk";

impl Exchange {
    /// Who is called by a trunk.
    pub(super) fn called_by_trunk(&self, invited: &Invited) -> Option<Jid> {
        let to = invited.headers.to().map(|to| to.0.uri);
        self.parts.plan.called(&invited.to, to.as_ref().ok())
    }

    /// Who calls by a trunk.
    pub(super) fn caller_of_trunk(&self, invited: &Invited, sid: &str) -> Option<Jid> {
        let is_hidden = privacy::is_private(&invited.headers);
        let said = if is_hidden { "" } else { invited.account.as_str() };
        self.parts.plan.caller(said)?.with_resource(&format!("call-{sid}")).ok()
    }

    /// What may be asked about a number, or somebody of another domain, by XMPP: what it can do (XEP-0030).
    pub(super) fn number_asked(&self, us: &Jid, from: &Jid, stanza: &Stanza) -> bool {
        let id = stanza.id().unwrap_or_default();
        if !self.is_elsewhere(us) || stanza.child("query", DISCO).is_none() {
            return false;
        }
        let features = super::super::echo_call::FEATURES.iter().chain(&[DISCO]);
        let identity = Element::new("identity", DISCO)
            .with_attr("category", "client")
            .with_attr("type", "phone")
            .with_attr("name", us.node().unwrap_or("Telephone network"));
        let query = features
            .fold(Element::new("query", DISCO).with_child(identity), |query, var| {
                query.with_child(Element::new("feature", DISCO).with_attr("var", *var))
            });
        let reply = Element::new("iq", ns::CLIENT)
            .with_attr("type", "result")
            .with_attr("id", id)
            .with_attr("from", us.as_str())
            .with_attr("to", from.as_str());
        self.say(reply.with_child(query));
        true
    }

    /// Who refuses a call to a number that nobody carries, or to another domain that is not reached.
    pub(super) fn voice_of(&self, callee: &Jid) -> Option<Jid> {
        self.is_elsewhere(callee).then(|| callee.bare().with_resource(RESOURCE).ok()).flatten()
    }

    /// Rings a number by the trunk that takes it, for this account, which the caller may hide. `Err`: why nobody does.
    pub(super) fn ring_number(
        &mut self,
        call: CallKey,
        entry: &mut Entry,
        account: &Jid,
        now: Instant,
    ) -> Result<(), Refused> {
        let rung = match self.parts.plan.number(&entry.callee) {
            Some(number) => self.ring_by_trunk(call, entry, account, &number, now),
            None => Err(Refused::NoTrunk),
        };
        rung.inspect_err(|refused| {
            refused.audit(account, entry.callee.node().unwrap_or_default());
        })
    }

    fn ring_by_trunk(
        &mut self,
        call: CallKey,
        entry: &mut Entry,
        account: &Jid,
        number: &Dialled,
        now: Instant,
    ) -> Result<(), Refused> {
        let plan = self.parts.plan.clone();
        let is_counted = matches!(number, Dialled::International(_));
        if is_counted && self.calls_of(account) >= plan.most_at_once() {
            return Err(Refused::AtOnce);
        }
        let ways = plan.admit(account, number, Item::Call, now)?;
        entry.payer = Some(account.clone());
        let leg = self.call_by(entry, number, ways, now).ok_or(Refused::Full)?;
        let key = LegKey(entry.next_key);
        self.index_target(call, key, &leg);
        entry.add_leg(leg);
        Ok(())
    }

    /// Rings what an app calls: phones, a number, or somebody of another domain.
    pub(super) async fn ring_phones_or_number(
        &mut self,
        call: CallKey,
        entry: &mut Entry,
        now: Instant,
    ) {
        if self.parts.domains.is_abroad(&entry.callee) {
            let rung = self.ring_abroad(call, entry, &entry.caller.bare());
            entry.refused = rung.err();
            return;
        }
        if !self.parts.plan.is_number_domain(&entry.callee) {
            self.follow(entry);
            self.introduce(entry).await;
            return self.ring_forwarded(call, entry, false, now);
        }
        let account = entry.caller.bare();
        let rung = self.ring_number(call, entry, &account, now);
        // Without a target the call ends by itself, and the caller is told.
        entry.refused = rung.err();
    }

    /// Calls to the telephone network that an account has now.
    fn calls_of(&self, account: &Jid) -> usize {
        let goes_out = |entry: &&Entry| {
            entry.payer.as_ref() == Some(account) && self.parts.plan.is_number_domain(&entry.callee)
        };
        self.calls.values().filter(goes_out).count()
    }

    /// Calls by the first trunk that has room; the others wait for it to fail.
    fn call_by(
        &self,
        entry: &Entry,
        number: &Dialled,
        mut ways: Vec<Arc<Trunk>>,
        now: Instant,
    ) -> Option<Leg> {
        // Those that do not answer come last, and are tried all the same.
        ways.sort_by_key(|trunk| self.parts.sip.is_away(&trunk.name));
        let mut ways = ways.into_iter();
        while let Some(trunk) = ways.next() {
            let is_full = self.calls_by(&trunk) >= trunk.max_calls;
            // An emergency is tried all the same.
            if is_full && matches!(number, Dialled::International(_)) {
                tracing::warn!(target: "audit", trunk = trunk.name, "a trunk carries all it may");
                continue;
            }
            if !self.parts.plan.has_room(&trunk, number, Item::Call, now) {
                tracing::warn!(target: "audit", trunk = trunk.name, "a trunk has taken its calls of this hour");
                continue;
            }
            let way = Way::Trunk { trunk, number: number.clone(), others: ways.clone().collect() };
            if let Some(leg) = self.invite_by(entry, way) {
                return Some(leg);
            }
        }
        None
    }

    fn calls_by(&self, trunk: &Trunk) -> usize {
        let is_its = |leg: &&Leg| matches!(&leg.kind, Kind::SipTarget { way: Way::Trunk { trunk: its, .. }, .. } if its.name == trunk.name);
        self.calls.values().flat_map(|entry| entry.legs.values()).filter(is_its).count()
    }

    fn invite_by(&self, entry: &Entry, way: Way) -> Option<Leg> {
        let Way::Trunk { trunk, number, .. } = &way else { return None };
        let encryption = match trunk.encrypted {
            true => Encryption::Required(audio::keys(self.parts.random)),
            false => Encryption::Off,
        };
        let (media, mut audio) = self.open_audio(entry, Security::Rtp(encryption))?;
        let uri = self.parts.plan.target(number, trunk)?;
        // Who pays is shown, also where somebody else goes on talking.
        let account = entry.payer.as_ref().unwrap_or(&entry.caller);
        let (from, mut headers) = self.parts.plan.sender(account, trunk, entry.is_hidden)?;
        headers.extend(self.diversions_by(entry, trunk));
        headers.push(breadth::field(entry.max_breadth));
        let leg = self.parts.sip.invite(OutgoingInvite {
            to: uri.clone(),
            target: Target::Uri(uri),
            from,
            offer: audio.offer(),
            headers,
            login: trunk.login(),
            max_forwards: entry.max_forwards,
        });
        let device = entry.callee.bare().with_resource(RESOURCE).ok();
        let kind = Kind::SipTarget { leg, way, audio: Box::new(audio), retried: true };
        let mut leg = Leg::new(kind, device);
        leg.media = Some(media);
        Some(leg)
    }

    /// A trunk cannot be reached, or does not work: the next takes the call. False: there is none.
    pub(super) fn next_trunk(
        &mut self,
        call: CallKey,
        key: LegKey,
        status: u16,
        now: Instant,
    ) -> bool {
        let Some(entry) = self.calls.get(&call) else { return false };
        let old = entry.legs.get(&key).map(|leg| &leg.kind);
        let Some(Kind::SipTarget { way: Way::Trunk { trunk, number, others }, .. }) = old else {
            return false;
        };
        if !is_of_trunk(status) {
            return false;
        }
        tracing::warn!(trunk = trunk.name, status, "a trunk did not take a call");
        metrics::counter!("tandem_trunk_failed_total").increment(1);
        let Some(leg) = self.call_by(entry, &number.clone(), others.clone(), now) else {
            return false;
        };
        self.close_media(call, key);
        self.index_target(call, key, &leg);
        if let Some(entry) = self.calls.get_mut(&call) {
            entry.legs.insert(key, leg);
        }
        true
    }
}
