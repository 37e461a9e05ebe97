//! ICE (RFC 8445) for a host with a public address: full agent, both roles, trickle in, consent (RFC 7675).
//!
//! We have one candidate per advertised address, all on one socket that many sessions share, so a local candidate plays
//! no part in choosing a pair: pairs are known by the remote address alone. Feed [`Agent::handle_stun`], drain
//! [`Agent::poll_transmit`] and [`Agent::poll_event`], and call [`Agent::handle_timeout`] when due.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::stun::{Builder, Class, Message, TransactionId};

/// Pace of checks (RFC 8445 section 14.2).
const TA: Duration = Duration::from_millis(20);
/// First retransmission of a check; doubles.
const RTO: Duration = Duration::from_millis(200);
/// Tries of one check.
const TRIES: u32 = 7;
/// How often consent is asked for, on average (RFC 7675 section 5.1).
const CONSENT_INTERVAL: Duration = Duration::from_secs(5);
/// Consent runs out.
const CONSENT: Duration = Duration::from_secs(30);
/// Nothing ever worked.
const CONNECT: Duration = Duration::from_secs(30);
/// Most remote candidates, peer-reflexive ones included.
const MAX_PAIRS: usize = 64;
/// Waits this long for a better pair before nominating a worse one.
const PATIENCE: Duration = Duration::from_millis(150);

/// A user name fragment and password (section 5.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// At least 4 characters.
    pub ufrag: String,
    /// At least 22 characters.
    pub pwd: String,
}

/// What the agent tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Media goes to this address from now on.
    Selected(SocketAddr),
    /// No pair works, or consent was lost.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PairState {
    Waiting,
    InProgress { transaction: TransactionId, tries: u32, next: Instant, nominating: bool },
    Succeeded,
    Failed,
}

#[derive(Debug)]
struct Pair {
    remote: SocketAddr,
    priority: u32,
    state: PairState,
    /// The peer said USE-CANDIDATE for it.
    nominated: bool,
    /// A check on it was answered; stays so while it is checked again.
    valid: bool,
}

/// One ICE session.
#[derive(Debug)]
pub struct Agent {
    ours: Credentials,
    theirs: Option<Credentials>,
    controlling: bool,
    tie_breaker: u64,
    pairs: Vec<Pair>,
    selected: Option<SocketAddr>,
    /// When the peer last answered a check on the selected pair.
    consent_until: Option<Instant>,
    next_consent: Option<Instant>,
    consent_transaction: TransactionId,
    next_check: Option<Instant>,
    first_success: Option<Instant>,
    give_up_at: Option<Instant>,
    failed: bool,
    counter: u64,
    transmits: VecDeque<(SocketAddr, Vec<u8>)>,
    events: VecDeque<Event>,
}

impl Agent {
    /// An agent with its own credentials. `tie_breaker` is random.
    pub fn new(ours: Credentials, controlling: bool, tie_breaker: u64) -> Self {
        Self {
            ours,
            theirs: None,
            controlling,
            tie_breaker,
            pairs: Vec::new(),
            selected: None,
            consent_until: None,
            next_consent: None,
            consent_transaction: [0; 12],
            next_check: None,
            first_success: None,
            give_up_at: None,
            failed: false,
            counter: 0,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Our credentials.
    pub fn credentials(&self) -> &Credentials {
        &self.ours
    }

    /// Where media goes, once known.
    pub fn selected(&self) -> Option<SocketAddr> {
        self.selected
    }

    /// Whether this address has proven itself by an authenticated check.
    pub fn is_valid(&self, remote: SocketAddr) -> bool {
        self.pairs.iter().any(|p| p.remote == remote && p.valid)
    }

    /// An address that has proven itself, the best first.
    pub fn any_valid(&self) -> Option<SocketAddr> {
        self.pairs.iter().find(|p| p.valid).map(|p| p.remote)
    }

    /// The peer's credentials, with its offer or answer. Other ones later restart the session.
    pub fn set_remote(&mut self, theirs: Credentials, now: Instant) {
        if self.theirs.as_ref() == Some(&theirs) {
            return;
        }
        if self.theirs.is_some() {
            self.pairs.clear();
            self.first_success = None;
        }
        self.theirs = Some(theirs);
        self.give_up_at = Some(now + CONNECT);
        self.next_check = Some(now);
    }

    /// A candidate of the peer; the same address twice is one.
    pub fn add_candidate(&mut self, remote: SocketAddr, priority: u32, now: Instant) {
        if self.pairs.len() >= MAX_PAIRS || remote.port() == 0 || remote.ip().is_multicast() {
            return;
        }
        if self.pairs.iter().all(|p| p.remote != remote) {
            let pair = Pair {
                remote,
                priority,
                state: PairState::Waiting,
                nominated: false,
                valid: false,
            };
            self.pairs.push(pair);
            self.pairs.sort_by_key(|p| std::cmp::Reverse(p.priority));
        }
        if self.theirs.is_some() {
            self.next_check.get_or_insert(now);
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.transmits.pop_front()
    }

    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next deadline.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.failed {
            return None;
        }
        let give_up = if self.selected.is_none() { self.give_up_at } else { self.consent_until };
        [self.next_check, self.next_consent, give_up].into_iter().flatten().min()
    }

    /// Takes a STUN message from `from`. False when it is not ours: wrong user name or password.
    pub fn handle_stun(&mut self, message: &Message<'_>, from: SocketAddr, now: Instant) -> bool {
        match message.class {
            Class::Request => self.handle_request(message, from, now),
            Class::Success | Class::Error => self.handle_response(message, from, now),
            Class::Indication => true,
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.failed {
            return;
        }
        let lost = match self.selected {
            None => self.give_up_at,
            Some(_) => self.consent_until,
        };
        if lost.is_some_and(|at| now >= at) {
            return self.fail();
        }
        if self.next_consent.is_some_and(|at| now >= at) {
            self.ask_consent(now);
        }
        if self.next_check.is_some_and(|at| now >= at) {
            self.check_next(now);
        }
    }

    fn handle_request(&mut self, message: &Message<'_>, from: SocketAddr, now: Instant) -> bool {
        let ours = message.username.and_then(|u| u.split(':').next()) == Some(&self.ours.ufrag);
        if !ours || !message.is_authentic(&self.ours.pwd) {
            return false;
        }
        if !message.unknown.is_empty() {
            let reply = Builder::new(Class::Error, &message.transaction)
                .error(420, "Unknown Attribute")
                .unknown_attributes(&message.unknown)
                .finish(&self.ours.pwd);
            self.transmits.push_back((from, reply));
            return true;
        }
        if let Some(conflict) = self.role_conflict(message) {
            if conflict {
                let reply = Builder::new(Class::Error, &message.transaction)
                    .error(487, "Role Conflict")
                    .finish(&self.ours.pwd);
                self.transmits.push_back((from, reply));
                return true;
            }
            self.controlling = !self.controlling;
        }
        let reply =
            Builder::new(Class::Success, &message.transaction).mapped(from).finish(&self.ours.pwd);
        self.transmits.push_back((from, reply));
        // A check from an unknown address makes a peer-reflexive candidate (section 7.3.1.3).
        self.add_candidate(from, message.priority.unwrap_or(1), now);
        let Some(pair) = self.pairs.iter_mut().find(|p| p.remote == from) else { return true };
        if message.use_candidate {
            pair.nominated = true;
        }
        match pair.state {
            PairState::Succeeded => self.select_nominated(now),
            // The triggered check (section 7.3.1.4).
            PairState::Waiting | PairState::Failed => {
                pair.state = PairState::Waiting;
                if self.theirs.is_some() {
                    self.start_check(from, false, now);
                }
            }
            PairState::InProgress { .. } => {}
        }
        true
    }

    /// Section 7.3.1.1: `Some(true)` answers 487, `Some(false)` switches our role.
    fn role_conflict(&self, message: &Message<'_>) -> Option<bool> {
        match (self.controlling, message.controlling, message.controlled) {
            (true, Some(theirs), _) => Some(self.tie_breaker >= theirs),
            (false, _, Some(theirs)) => Some(self.tie_breaker < theirs),
            _ => None,
        }
    }

    fn handle_response(&mut self, message: &Message<'_>, from: SocketAddr, now: Instant) -> bool {
        let Some(theirs) = &self.theirs else { return false };
        if !message.is_authentic(&theirs.pwd) {
            return false;
        }
        if message.transaction == self.consent_transaction && self.selected == Some(from) {
            if message.class == Class::Success {
                self.consent_until = Some(now + CONSENT);
            }
            return true;
        }
        let found = self.pairs.iter_mut().find(|p| {
            matches!(&p.state, PairState::InProgress { transaction, .. }
                if *transaction == message.transaction)
        });
        let Some(pair) = found else { return true };
        if message.class == Class::Error {
            pair.state = PairState::Failed;
            if message.error == Some(487) {
                self.controlling = !self.controlling;
                pair.state = PairState::Waiting;
                self.next_check.get_or_insert(now);
            }
            return true;
        }
        // The answer must come from where the check went (section 7.2.5.2.1).
        if pair.remote != from {
            pair.state = PairState::Failed;
            return true;
        }
        let nominating = matches!(pair.state, PairState::InProgress { nominating: true, .. });
        pair.state = PairState::Succeeded;
        pair.valid = true;
        pair.nominated |= nominating;
        self.first_success.get_or_insert(now);
        self.select_nominated(now);
        if self.controlling && self.selected.is_none() {
            self.next_check.get_or_insert(now + TA);
        }
        true
    }

    fn select_nominated(&mut self, now: Instant) {
        let best = self
            .pairs
            .iter()
            .filter(|p| p.nominated && p.state == PairState::Succeeded)
            .map(|p| p.remote)
            .next();
        let Some(remote) = best else { return };
        if self.selected != Some(remote) {
            self.selected = Some(remote);
            self.events.push_back(Event::Selected(remote));
        }
        self.consent_until = Some(now + CONSENT);
        self.next_consent.get_or_insert(now + CONSENT_INTERVAL);
    }

    /// Sends the most urgent check and plans the next look.
    fn check_next(&mut self, now: Instant) {
        self.next_check = None;
        if self.theirs.is_none() {
            return;
        }
        self.resend(now);
        if self.controlling && self.selected.is_none() && self.is_time_to_nominate(now) {
            let best = self.pairs.iter().find(|p| p.state == PairState::Succeeded);
            if let Some(remote) = best.map(|p| p.remote) {
                self.start_check(remote, true, now);
            }
        } else if let Some(remote) =
            self.pairs.iter().find(|p| p.state == PairState::Waiting).map(|p| p.remote)
        {
            self.start_check(remote, false, now);
        }
        self.plan(now);
    }

    fn is_time_to_nominate(&self, now: Instant) -> bool {
        let nominating = self
            .pairs
            .iter()
            .any(|p| matches!(p.state, PairState::InProgress { nominating: true, .. }));
        let best_is_known = self
            .pairs
            .iter()
            .find(|p| p.state != PairState::Failed)
            .is_some_and(|p| p.state == PairState::Succeeded);
        !nominating && self.first_success.is_some_and(|at| best_is_known || now >= at + PATIENCE)
    }

    fn resend(&mut self, now: Instant) {
        let mut due = Vec::new();
        for pair in &mut self.pairs {
            if let PairState::InProgress { transaction, tries, next, nominating } = &mut pair.state
                && now >= *next
            {
                if *tries >= TRIES {
                    pair.state = PairState::Failed;
                    continue;
                }
                *next = now + RTO * 2_u32.pow(*tries);
                *tries += 1;
                due.push((pair.remote, *transaction, *nominating));
            }
        }
        for (remote, transaction, nominating) in due {
            self.send_check(remote, &transaction, nominating);
        }
    }

    fn start_check(&mut self, remote: SocketAddr, nominating: bool, now: Instant) {
        let transaction = self.transaction();
        let Some(pair) = self.pairs.iter_mut().find(|p| p.remote == remote) else { return };
        pair.state = PairState::InProgress { transaction, tries: 1, next: now + RTO, nominating };
        self.send_check(remote, &transaction, nominating);
        self.plan(now);
    }

    fn send_check(&mut self, remote: SocketAddr, transaction: &TransactionId, nominating: bool) {
        let Some(theirs) = &self.theirs else { return };
        let mut check = Builder::new(Class::Request, transaction)
            .username(&format!("{}:{}", theirs.ufrag, self.ours.ufrag))
            // Type preference of a peer-reflexive candidate (section 7.1.1).
            .priority((110 << 24) | (65_535 << 8) | 255)
            .role(self.controlling, self.tie_breaker);
        if nominating {
            check = check.use_candidate();
        }
        let bytes = check.finish(&theirs.pwd);
        self.transmits.push_back((remote, bytes));
    }

    fn ask_consent(&mut self, now: Instant) {
        let Some(remote) = self.selected else { return };
        self.consent_transaction = self.transaction();
        let transaction = self.consent_transaction;
        self.send_check(remote, &transaction, false);
        // 0.8 to 1.2 of the interval (RFC 7675 section 5.1).
        let spread = u32::from(transaction.first().copied().unwrap_or_default()) * 4 / 255;
        self.next_consent = Some(now + CONSENT_INTERVAL * (8 + spread) / 10);
    }

    fn plan(&mut self, now: Instant) {
        let waiting = self.pairs.iter().any(|p| p.state == PairState::Waiting);
        let nominate = self.controlling && self.selected.is_none() && self.first_success.is_some();
        let resend = self
            .pairs
            .iter()
            .filter_map(|p| match &p.state {
                PairState::InProgress { next, .. } => Some(*next),
                _ => None,
            })
            .min();
        let pace = (waiting || nominate).then_some(now + TA);
        self.next_check = [pace, resend].into_iter().flatten().min();
    }

    fn fail(&mut self) {
        self.failed = true;
        self.selected = None;
        self.events.push_back(Event::Failed);
    }

    /// Unpredictable and unique: made from the tie-breaker and our password.
    fn transaction(&mut self) -> TransactionId {
        use sha2::Digest;
        self.counter += 1;
        let digest = sha2::Sha256::new()
            .chain_update(self.ours.pwd.as_bytes())
            .chain_update(self.tie_breaker.to_be_bytes())
            .chain_update(self.counter.to_be_bytes())
            .finalize();
        digest.get(..12).and_then(|d| d.try_into().ok()).unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests;
