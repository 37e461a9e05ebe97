//! Requests from other domains (RFC 3261 section 22: policy decides; RFC 5922, RFC 3263): their people reach accounts here, and
//! nothing else.
//!
//! Nobody of another domain proves anything to us by a password. A domain that is named has to be where the request comes
//! from: its certificate says so, or its own servers are there by DNS. From anywhere else its name is not believed. What
//! such a request claims of identities beside From is taken away (RFC 3325 section 5).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::{Core, Job, Waiting};
use crate::msg::{Host, Method, Name, Request, Response, Uri};
use crate::ports::{Origin, Refusal};
use crate::transaction::TxId;
use crate::transport::certificate::is_same;
use crate::transport::{Flow, Hop, Protocol};

const MINUTE: Duration = Duration::from_secs(60);
/// Networks that are counted within one minute; in a minute with more, others wait for the next.
const MAX_NETWORKS: usize = 100_000;

/// How much came from where in this minute.
pub(super) struct Strangers {
    minute: Instant,
    counts: HashMap<IpAddr, u32>,
}

impl Strangers {
    pub(super) fn new(now: Instant) -> Self {
        Self { minute: now, counts: HashMap::new() }
    }

    /// Counts one more; how long to wait where that is too much.
    fn count(&mut self, peer: IpAddr, most: u32, now: Instant) -> Result<(), Duration> {
        if now.saturating_duration_since(self.minute) >= MINUTE {
            self.minute = now;
            self.counts.clear();
        }
        let wait = (self.minute + MINUTE).saturating_duration_since(now);
        let peer = network(peer);
        if self.counts.len() >= MAX_NETWORKS && !self.counts.contains_key(&peer) {
            return Err(wait);
        }
        let count = self.counts.entry(peer).or_insert(0);
        if *count >= most {
            return Err(wait);
        }
        *count += 1;
        Ok(())
    }
}

/// One subscriber's network: with version 6, everybody has addresses by the billion.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip => ip,
    }
}

/// A request whose domain has to be shown to be its sender's.
pub(super) struct Claim {
    tx: TxId,
    request: Box<Request>,
    flow: Flow,
    account: String,
}

impl Core {
    /// A call or a message of somebody who is no account of ours.
    pub(super) fn foreign_sends(
        &mut self,
        tx: TxId,
        mut request: Box<Request>,
        flow: Flow,
        now: Instant,
    ) {
        let Some((account, domain)) = self.foreign_sender(&request, flow) else {
            return self.refuse_foreign(tx, &request, flow, now);
        };
        if self.config.require_tls
            && !flow.protocol.is_secure()
            && !self.config.foreign.may_be_clear(&domain)
        {
            return self.refuse_clear(tx, &request, flow, now);
        }
        let most = self.config.foreign.max_per_minute;
        if let Err(wait) = self.strangers.count(flow.peer.ip(), most, now) {
            self.turn_away(flow, Refusal::Excess);
            let mut response = self.response(&request, 503);
            response.headers.set("Retry-After", wait.as_secs().max(1).to_string());
            self.respond(tx, response, now);
            return;
        }
        for name in [Name::PAssertedIdentity, Name::PPreferredIdentity] {
            request.headers.remove(name);
        }
        let claim = Claim { tx, request, flow, account };
        if !self.config.foreign.names(&domain) || self.has_shown(flow, &domain) {
            return self.foreign_enters(claim, now);
        }
        let search = Host::parse(&domain).and_then(|host| {
            let uri = Uri::sip(None, host);
            self.begin_search(&uri, false)
        });
        match search {
            Some(search) => {
                let job = Job::Locate(Box::new(search));
                self.job(Waiting::Foreign(Box::new(claim)), job);
            }
            None => self.refuse_foreign(tx, &claim.request, flow, now),
        }
    }

    /// Who sends, `user@domain`, and the domain; `None` for whom nobody may be, and for what is none of an outsider's business.
    fn foreign_sender(&self, request: &Request, flow: Flow) -> Option<(String, String)> {
        let from = request.headers.from().ok()?.0.uri;
        if !from.is_sip() || from.host.ip().is_some() {
            return None;
        }
        let domain = from.host.to_string();
        let domain = domain.strip_suffix('.').unwrap_or(&domain).to_ascii_lowercase();
        let user = from.user_decoded().filter(|user| !user.is_empty())?;
        let is_for_us = self.domain_of(&request.uri.host, flow.local).is_some();
        let is_let_in = self.config.foreign.lets_in(&domain) && !self.config.is_own(&domain);
        // Taking somebody's place in a call is for those who prove who they are (RFC 3891 section 3).
        let takes_place = request.headers.has("Replaces");
        (is_let_in && is_for_us && !takes_place).then(|| (format!("{user}@{domain}"), domain))
    }

    /// Whether the other end of a connection has shown the certificate of this domain.
    fn has_shown(&self, flow: Flow, domain: &str) -> bool {
        let opened = self.stream_names.get(&flow.socket);
        let shown = self.shown_names.get(&flow.socket).into_iter().flatten();
        flow.protocol == Protocol::Tls
            && opened.into_iter().chain(shown).any(|name| is_same(name, domain))
    }

    /// Where the servers of a domain are is known now.
    pub(super) fn claim_judged(&mut self, claim: Claim, hops: &[Hop], now: Instant) {
        let peer = claim.flow.peer.ip().to_canonical();
        if !self.layer.awaits_answer(claim.tx) {
            // Cancelled, or given up, meanwhile.
            return;
        }
        match hops.iter().any(|hop| hop.address.ip().to_canonical() == peer) {
            true => self.foreign_enters(claim, now),
            false => self.refuse_foreign(claim.tx, &claim.request, claim.flow, now),
        }
    }

    fn foreign_enters(&mut self, claim: Claim, now: Instant) {
        let Claim { tx, mut request, flow, account } = claim;
        if let Some(domain) = self.domain_of(&request.uri.host, flow.local) {
            match self.resolve_gruu(&request.uri, &domain) {
                Ok(uri) => request.uri = uri,
                Err(status) => return self.answer(tx, &request, status, now),
            }
        }
        let sender = (account, Origin::Foreign);
        match request.method {
            Method::INVITE if self.is_merged(&request) => self.answer(tx, &request, 482, now),
            Method::INVITE => self.invited(tx, request, flow, sender, now),
            _ => self.message_came(tx, request, flow, sender, now),
        }
    }

    /// What a closed server says to everybody.
    fn refuse_foreign(&mut self, tx: TxId, request: &Request, flow: Flow, now: Instant) {
        self.turn_away(flow, Refusal::Foreign);
        let response: Response = self.response(request, 403);
        self.respond(tx, response, now);
    }
}
