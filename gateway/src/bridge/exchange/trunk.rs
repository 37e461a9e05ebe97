//! Calls from and to the telephone network, by trunks (RFC 3261 section 16.6 as a B2BUA does it, RFC 3325, E.164).
//!
//! A number is an XMPP address in a domain of its own, so that apps call it and are called by it like anybody. Nobody answers
//! there but this file: what else is asked of it gets an error.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tandem_media::sdp::Encryption;
use tandem_sip::msg::{NameAddr, Uri};
use tandem_sip::ports::{Invited, OutgoingInvite, Target};
use tandem_sip::service::identity as privacy;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::Stanza;
use tandem_xmpp::xml::{Element, ns};

use super::audio::{self, Security};
use super::entry::{CallKey, Entry, Kind, Leg, Way};
use super::{Exchange, LegKey};
use crate::bridge::identity;
use crate::bridge::numbers::Dialled;
use crate::config::Trunk;

const DISCO: &str = "http://jabber.org/protocol/disco#info";
const AN_HOUR: Duration = Duration::from_secs(60 * 60);
/// The resource by which a called number speaks.
const RESOURCE: &str = "trunk";

/// When accounts began to call the telephone network, within the last hour.
pub(super) type Begun = HashMap<Jid, Vec<Instant>>;

impl Exchange {
    /// Who is called by a trunk: the account that has the number, or the name.
    pub(super) fn called_by_trunk(&self, invited: &Invited) -> Option<Jid> {
        let plan = &self.parts.plan;
        // A trunk that we are registered at calls our contact; the number is in To then.
        let to = invited.headers.to().map(|to| to.0.uri);
        let called = [Some(&invited.to), to.as_ref().ok()];
        let number = |uri: &Uri| plan.read_uri(uri).and_then(|number| plan.account(&number));
        if let Some(account) = called.into_iter().flatten().find_map(number) {
            return Some(account);
        }
        let named = identity::sip_to_jid(&invited.to).ok()?;
        (!plan.is_number_domain(&named)).then_some(named)
    }

    /// Who calls by a trunk: a number, or whatever the trunk calls its user. Never an account of ours.
    pub(super) fn caller_of_trunk(&self, invited: &Invited, sid: &str) -> Option<Jid> {
        let plan = &self.parts.plan;
        let is_hidden = privacy::is_private(&invited.headers);
        let user = invited.account.rsplit_once('@').map(|(user, _)| user).filter(|_| !is_hidden);
        let caller = match user.and_then(|user| plan.read(user)) {
            Some(number @ Dialled::International(_)) => plan.address(&number)?,
            _ if user.is_none() => plan.stranger(identity::NOBODY)?,
            _ => plan.stranger(&identity::sip_user_to_node(&invited.account)?)?,
        };
        caller.with_resource(&format!("call-{sid}")).ok()
    }

    /// What may be asked about a number by XMPP: what it can do (XEP-0030).
    pub(super) fn number_asked(&self, us: &Jid, from: &Jid, stanza: &Stanza) -> bool {
        let id = stanza.id().unwrap_or_default();
        if !self.parts.plan.is_number_domain(us) || stanza.child("query", DISCO).is_none() {
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

    /// Who refuses a call to a number that nobody carries.
    pub(super) fn voice_of(&self, callee: &Jid) -> Option<Jid> {
        let is_number = self.parts.plan.is_number_domain(callee);
        is_number.then(|| callee.bare().with_resource(RESOURCE).ok()).flatten()
    }

    /// The address of an emergency number, which no account's name hides.
    pub(super) fn emergency(&self, to: &Uri) -> Option<Jid> {
        let number = self.parts.plan.read_uri(to)?;
        matches!(number, Dialled::Emergency(_)).then(|| self.parts.plan.address(&number)).flatten()
    }

    /// The address of a number that somebody dialled.
    pub(super) fn dialled(&self, to: &Uri) -> Option<Jid> {
        let plan = &self.parts.plan;
        if plan.is_empty() {
            return None;
        }
        plan.address(&plan.read_uri(to)?)
    }

    /// Rings a number by the trunk that takes it, for this account, which the caller may hide. `Err`: why nobody does, as a SIP
    /// status.
    pub(super) fn ring_number(
        &mut self,
        call: CallKey,
        entry: &mut Entry,
        account: &Jid,
        now: Instant,
    ) -> Result<(), u16> {
        let Some(number) = self.parts.plan.number(&entry.callee) else { return Err(404) };
        if !self.parts.plan.may_dial(account) {
            // From the telephone network to the telephone network, or from elsewhere: nobody here pays for that.
            return self.refuse_number(account, &number, "by a stranger", 403);
        }
        let ways = self.parts.plan.ways(&number);
        if ways.is_empty() {
            return self.refuse_number(account, &number, "no trunk takes it", 404);
        }
        if matches!(number, Dialled::International(_)) && !self.may_dial(account, now) {
            return self.refuse_number(account, &number, "too many calls", 403);
        }
        match self.call_by(entry, &number, ways) {
            Some(leg) => {
                entry.payer = Some(account.clone());
                let key = LegKey(entry.next_key);
                self.index_target(call, key, &leg);
                entry.add_leg(leg);
                Ok(())
            }
            None => self.refuse_number(account, &number, "all trunks are full", 503),
        }
    }

    /// Rings what an app calls.
    pub(super) fn ring_phones_or_number(&mut self, call: CallKey, entry: &mut Entry, now: Instant) {
        if !self.parts.plan.is_number_domain(&entry.callee) {
            return self.ring_phones(call, entry);
        }
        // Without a target the call ends by itself, and the caller is told.
        let account = entry.caller.bare();
        let _ = self.ring_number(call, entry, &account, now);
    }

    fn refuse_number(
        &self,
        account: &Jid,
        number: &Dialled,
        why: &str,
        status: u16,
    ) -> Result<(), u16> {
        tracing::warn!(target: "audit", %account, number = number.as_str(), why, "a number was not dialled");
        metrics::counter!("tandem_trunk_refused_total").increment(1);
        Err(status)
    }

    /// Whether an account may begin one more call to the telephone network; counts it.
    fn may_dial(&mut self, account: &Jid, now: Instant) -> bool {
        let (per_hour, at_once) = self.parts.plan.limits();
        let plan = self.parts.plan.clone();
        let goes_out = |entry: &&Entry| {
            entry.payer.as_ref() == Some(account) && plan.is_number_domain(&entry.callee)
        };
        if self.calls.values().filter(goes_out).count() >= at_once {
            return false;
        }
        self.begun.retain(|_, times| {
            times.retain(|at| now.saturating_duration_since(*at) < AN_HOUR);
            !times.is_empty()
        });
        let times = self.begun.entry(account.clone()).or_default();
        let may = times.len() < per_hour;
        if may {
            times.push(now);
        }
        may
    }

    /// Calls by the first trunk that has room; the others wait for it to fail.
    fn call_by(&self, entry: &Entry, number: &Dialled, mut ways: Vec<Arc<Trunk>>) -> Option<Leg> {
        // Those that do not answer come last, and are tried all the same.
        ways.sort_by_key(|trunk| self.parts.sip.is_away(&trunk.name));
        let mut ways = ways.into_iter();
        while let Some(trunk) = ways.next() {
            let is_full = self.calls_by(&trunk) >= trunk.max_calls;
            // An emergency is tried all the same.
            if is_full && matches!(number, Dialled::International(_)) {
                tracing::warn!(trunk = trunk.name, "a trunk carries all it may");
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
        let gateway = Uri::parse(&trunk.uri).ok()?;
        // A plus and digits, which need no escapes.
        let uri = Uri { user: Some(number.as_str().to_owned()), ..gateway.clone() };
        let own = |user: &str| NameAddr::new(Uri::sip(Some(user), gateway.host.clone()));
        let mut headers = Vec::new();
        let shown = self.parts.plan.shown(&entry.caller, trunk);
        let from = match shown {
            _ if entry.is_hidden => {
                headers.push(("Privacy".to_owned(), "id".to_owned()));
                privacy::anonymous()
            }
            Some(shown) => own(&shown),
            None => own(&trunk.username),
        };
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
    pub(super) fn next_trunk(&mut self, call: CallKey, key: LegKey, status: u16) -> bool {
        let Some(entry) = self.calls.get(&call) else { return false };
        let old = entry.legs.get(&key).map(|leg| &leg.kind);
        let Some(Kind::SipTarget { way: Way::Trunk { trunk, number, others }, .. }) = old else {
            return false;
        };
        // What the called person's side says is final.
        if !matches!(status, 401 | 403 | 407 | 408 | 500..=599) {
            return false;
        }
        tracing::warn!(trunk = trunk.name, status, "a trunk did not take a call");
        metrics::counter!("tandem_trunk_failed_total").increment(1);
        let Some(leg) = self.call_by(entry, &number.clone(), others.clone()) else { return false };
        self.close_media(call, key);
        self.index_target(call, key, &leg);
        if let Some(entry) = self.calls.get_mut(&call) {
            entry.legs.insert(key, leg);
        }
        true
    }
}
