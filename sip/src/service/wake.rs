//! Phones that sleep (RFC 8599): woken by a push before they are called, and remembered when their registration has ended.
//!
//! A phone that names a push service is called at once while a connection of it is open, or when it has registered a moment
//! ago. Any other is woken: the call waits until it has registered anew, for a bounded time. We give out no `sip.pnspurr`,
//! so inside a dialog nobody is woken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::binding::Binding;
use super::{Core, Job, Output, Timer, Waiting};
use crate::msg::header::{Contact, Contacts, Push};
use crate::msg::{Name, Params, Request, Response};
use crate::ports::{LegEvent, LegId, OutgoingInvite, Target};

/// How long a phone hears datagrams after it has registered.
const AWAKE: Duration = Duration::from_secs(10);
/// How long a registration that has ended can still be woken.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3600);
/// Seconds before the end of its registration at which a phone that wakes itself is to register anew. More than 120
/// (section 5.6.1.1).
const REFRESH: u32 = 130;

/// Seconds before the end of its registration at which a phone that does not wake itself is woken to register anew (section
/// 5.6.1.2).
const REMIND: u64 = 120;
/// Between two pushes that only ask a phone to register.
const PAUSE: Duration = Duration::from_secs(60);
/// Phones that were asked so lately; beyond them others wait.
const MAX_NUDGED: usize = 50_000;

/// A call that waits for a phone to wake up.
pub(super) struct Waking {
    call: Box<OutgoingInvite>,
    account: String,
    push: Push,
    until: Instant,
}

impl Core {
    /// How a phone is woken, where we can.
    pub(super) fn push_of(&self, binding: &Binding) -> Option<Push> {
        if self.config.push_services.is_empty() {
            return None;
        }
        binding.push().filter(|push| self.serves(&push.provider))
    }

    fn serves(&self, service: &str) -> bool {
        self.config.push_services.iter().any(|known| known.eq_ignore_ascii_case(service))
    }

    /// Whether a registration that has ended is worth being kept.
    pub(super) fn may_be_woken(&self, binding: &Binding, time: u64) -> bool {
        binding.expires_at.saturating_add(REMEMBERED.as_secs()) > time
            && self.push_of(binding).is_some()
    }

    /// What the answer to a REGISTER says of push services (sections 4.1.1 and 5.6.1.1), one value each.
    pub(super) fn push_terms(&self, request: &Request) -> Vec<String> {
        let Ok(Contacts::List(contacts)) = request.headers.contacts() else { return Vec::new() };
        let Some(contact) = contacts.iter().find(|contact| contact.uri.params.has("pn-provider"))
        else {
            return Vec::new();
        };
        match service_of(contact) {
            // Which are there?
            "" => self.push_services(),
            service if self.serves(service) => {
                let mut term = format!("*;+sip.pns=\"{}\"", service.to_ascii_lowercase());
                if contact.params.has("+sip.pnsreg") {
                    term.push_str(&format!(";+sip.pnsreg=\"{REFRESH}\""));
                }
                vec![term]
            }
            _ => Vec::new(),
        }
    }

    fn push_services(&self) -> Vec<String> {
        let services = self.config.push_services.iter();
        services.map(|service| format!("*;+sip.pns=\"{service}\"")).collect()
    }

    /// Whether a contact wants to be woken by a service that we do not know, and what we do know: a 555.
    pub(super) fn unknown_service(&self, contact: &Contact) -> Option<String> {
        let service = service_of(contact);
        let is_unknown = !self.config.push_services.is_empty() && !service.is_empty();
        (is_unknown && !self.serves(service)).then(|| self.push_services().join(", "))
    }

    /// Whether a phone hears us: by a connection that is open, or as it has registered a moment ago.
    fn is_awake(&self, binding: &Arc<Binding>, now: Instant) -> bool {
        let time = self.unix_time(now);
        self.ways(binding).iter().any(|way| {
            way.expires_at > time
                && match way.flow.protocol.is_reliable() {
                    true => self.usable(way.flow).is_some(),
                    false => way.registered_at.saturating_add(AWAKE.as_secs()) > time,
                }
        })
    }

    /// Gives a call back that can be placed at once; another waits until its phone is awake.
    pub(super) fn wake_first(
        &mut self,
        leg: LegId,
        call: OutgoingInvite,
        now: Instant,
    ) -> Option<OutgoingInvite> {
        let Target::Binding(binding) = &call.target else { return Some(call) };
        let Some(push) = self.push_of(binding).filter(|_| !self.is_awake(binding, now)) else {
            return Some(call);
        };
        let account = binding.account.clone();
        let is_asked = self.waking.values().any(|other| other.push == push);
        let until = now + Duration::from_secs(self.config.push_wait_secs.into());
        self.timers.push(now, until, Timer::Leg(leg));
        let call = Box::new(call);
        self.waking.insert(leg, Waking { call, account, push: push.clone(), until });
        if is_asked {
            self.rings_by_push(leg);
        } else {
            self.job(Waiting::Push(leg), Job::Push(Box::new(push)));
        }
        None
    }

    /// The service took our push, or not. Where it did not, the phone may be awake all the same.
    pub(super) fn pushed(&mut self, leg: LegId, is_taken: bool, now: Instant) {
        let Some(waking) = self.waking.get(&leg) else { return };
        if is_taken {
            return self.rings_by_push(leg);
        }
        let push = waking.push.clone();
        let legs = self.waking.iter().filter(|(_, other)| other.push == push);
        for leg in legs.map(|(leg, _)| *leg).collect::<Vec<_>>() {
            let Some(waking) = self.waking.remove(&leg) else { continue };
            self.call_or_fail(leg, *waking.call, now);
        }
    }

    /// Something waits for a phone: one that sleeps is woken, and gets it when it has registered.
    pub fn nudge(&mut self, binding: &Arc<Binding>, now: Instant) {
        if !self.is_awake(binding, now) {
            self.remind(binding, now);
        }
    }

    /// Asks a phone to register, once in a while.
    fn remind(&mut self, binding: &Binding, now: Instant) {
        let Some(push) = self.push_of(binding) else { return };
        self.nudged.retain(|_, at| now.saturating_duration_since(*at) < PAUSE);
        let is_asked = self.nudged.contains_key(&push)
            || self.waking.values().any(|waking| waking.push == push);
        if self.nudged.len() >= MAX_NUDGED || is_asked {
            return;
        }
        self.nudged.insert(push.clone(), now);
        self.job(Waiting::Nudge, Job::Push(Box::new(push)));
    }

    /// When a phone is to be woken so that its registration does not end: not one that was just made for a short time.
    pub(super) fn reminder(&self, binding: &Binding) -> Option<u64> {
        if self.config.push_services.is_empty() {
            return None;
        }
        let wakes_itself = binding.features.as_deref().and_then(Params::parse);
        let at = binding.expires_at.checked_sub(REMIND)?;
        let is_late = at > binding.registered_at.saturating_add(REMIND);
        let is_meant = is_late && !wakes_itself.is_some_and(|said| said.has("+sip.pnsreg"));
        (is_meant && self.push_of(binding).is_some()).then_some(at)
    }

    /// Wakes the phones of an account whose registration is about to end.
    pub(super) fn remind_phones(&mut self, account: &str, now: Instant) {
        let time = self.unix_time(now);
        for binding in self.bindings(account).to_vec() {
            if self.reminder(&binding).is_some_and(|at| at <= time) {
                self.remind(&binding, now);
            }
        }
    }

    fn call_or_fail(&mut self, leg: LegId, call: OutgoingInvite, now: Instant) {
        let time = self.unix_time(now);
        let is_registered = matches!(&call.target, Target::Binding(binding)
            if self.ways(binding).iter().any(|way| way.expires_at > time));
        match is_registered {
            true => self.place(leg, call, now),
            false => self.fail(leg, &asleep(), now),
        }
    }

    /// Whoever calls hears that something rings.
    fn rings_by_push(&mut self, leg: LegId) {
        let event = LegEvent::Progress { status: 180, sdp: None, fork: None };
        self.outputs.push_back(Output::Leg(leg, event));
    }

    /// A phone of this account has registered: calls that waited for it go on.
    pub(super) fn awoken(&mut self, account: &str, now: Instant) {
        let waiting: Vec<LegId> = self
            .waking
            .iter()
            .filter(|(_, waking)| waking.account == account)
            .map(|(leg, _)| *leg)
            .collect();
        for leg in waiting {
            let Some(waking) = self.waking.get(&leg) else { continue };
            let of_phone = |binding: &&Arc<Binding>| {
                self.is_awake(binding, now) && self.push_of(binding).as_ref() == Some(&waking.push)
            };
            let Some(binding) = self.bindings(account).iter().rev().find(of_phone).cloned() else {
                continue;
            };
            if let Some(mut waking) = self.waking.remove(&leg) {
                waking.call.target = Target::Binding(binding);
                self.place(leg, *waking.call, now);
            }
        }
    }

    /// A phone that did not wake up in time.
    pub(super) fn waking_due(&mut self, leg: LegId, now: Instant) {
        if self.waking.get(&leg).is_some_and(|waking| waking.until <= now) {
            self.waking.remove(&leg);
            self.fail(leg, &asleep(), now);
        }
    }

    /// A call that is given up while its phone wakes up ends.
    pub(super) fn stop_waking(&mut self, leg: LegId, now: Instant) {
        if self.waking.remove(&leg).is_some() {
            self.called_off(leg, now);
        }
    }
}

/// The service that a contact names; empty where it only asks which there are.
fn service_of(contact: &Contact) -> &str {
    contact.uri.params.get("pn-provider").unwrap_or_default()
}

/// Section 5.6.2: nobody is woken up for ever.
fn asleep() -> Response {
    let mut response = Response::new(480);
    response.reason = "Does Not Wake Up".into();
    response.headers.set(Name::RetryAfter, "30");
    response
}
