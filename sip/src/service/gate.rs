//! Who is asking (RFC 3261 section 22, RFC 7616, RFC 8760): requests that make state have to prove their account.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::identity::is_anonymous;
use super::{Core, Job, JobResult, Output, Waiting};
use crate::auth::{Algorithm, Credentials, Nonces, Outcome, Presented, Verifier};
use crate::config::Config;
use crate::dialog::{Dialog, DialogId};
use crate::msg::{Host, Method, Name, Request, Uri};
use crate::ports::{Origin, Refusal};
use crate::transaction::TxId;
use crate::transport::Flow;

/// How long a nonce is taken.
const NONCE_LIFE: Duration = Duration::from_secs(300);
/// Phones that give up when one challenge of several is unknown to them, against RFC 8760 section 2.4. They are asked for
/// MD5 alone. Whoever could forge this field could as well take the better challenge away.
const MD5_ONLY: [&str; 2] = ["baresip v0.", "baresip v1."];
/// Answered nonces that are remembered, per domain.
const NONCES: usize = 200_000;
/// Addresses whose challenges are counted within one second.
const MAX_STRANGERS: usize = 100_000;

/// One verifier a domain, and the count of strangers.
pub(super) struct Gate {
    verifiers: HashMap<String, Verifier>,
    second: Instant,
    challenged: HashMap<IpAddr, u32>,
}

/// A request that waits for the hash of its password.
pub(super) struct Gated {
    tx: TxId,
    request: Box<Request>,
    flow: Flow,
    domain: String,
    credentials: Box<Credentials>,
    /// A trunk says who it is; else an account does.
    is_trunk: bool,
}

impl Gate {
    pub(super) fn new(config: &Config, seed: [u8; 32], now: Instant) -> Self {
        let algorithms: &[Algorithm] =
            if config.allow_md5 { &Algorithm::ALL } else { &[Algorithm::Sha256] };
        let verifier = |domain: &String| {
            let nonces = Nonces::new(seed, NONCE_LIFE, NONCES, now);
            let verifier = Verifier::new(domain, algorithms, nonces);
            (domain.clone(), verifier.with_auth_int(config.auth_int))
        };
        let verifiers = config.domains.iter().map(verifier).collect();
        Self { verifiers, second: now, challenged: HashMap::new() }
    }

    /// Whose answer a request brings for this realm.
    pub(super) fn user(&self, realm: &str, request: &Request) -> Option<String> {
        match self.verifiers.get(realm)?.read(request) {
            Presented::Answer(credentials) => Some(credentials.username),
            Presented::Nothing => None,
        }
    }

    /// Whether this address may be answered once more in this second.
    fn may_answer(&mut self, peer: IpAddr, bound: u32, now: Instant) -> bool {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.challenged.clear();
        }
        if self.challenged.len() >= MAX_STRANGERS && !self.challenged.contains_key(&peer) {
            return false;
        }
        let count = self.challenged.entry(peer).or_insert(0);
        *count += 1;
        *count <= bound
    }
}

impl Core {
    /// Whether this address has sent more without credentials than it may in a second.
    pub(super) fn is_flood(&mut self, flow: Flow, now: Instant) -> bool {
        let bound = self.config.max_strangers_per_second;
        let is_flood = !self.gate.may_answer(flow.peer.ip(), bound, now);
        if is_flood {
            self.turn_away(flow, Refusal::Flood);
        }
        is_flood
    }

    /// The domain a host stands for: itself, or the first one for an address of ours, which people type into phones.
    pub(super) fn domain_of(&self, host: &Host, local: SocketAddr) -> Option<String> {
        if let Some(ip) = host.ip() {
            return (ip == local.ip()).then(|| self.config.domains.first().cloned()).flatten();
        }
        let host = host.to_string();
        let name = host.strip_suffix('.').unwrap_or(&host);
        self.config.domains.iter().find(|domain| domain.eq_ignore_ascii_case(name)).cloned()
    }

    /// The URI with the domain for an address of ours.
    pub(super) fn canonical(&self, uri: &Uri, local: SocketAddr) -> Uri {
        let domain = self.domain_of(&uri.host, local).and_then(|domain| Host::parse(&domain));
        match domain {
            Some(host) => Uri { host, port: None, ..uri.clone() },
            None => uri.clone(),
        }
    }

    /// Lets a request in, challenges it, or refuses it.
    pub(super) fn admit(&mut self, tx: TxId, request: Box<Request>, flow: Flow, now: Instant) {
        if self.may_be_trunk(&request) {
            if let Some(trunk) = self.trunk_of(flow) {
                return self.trunk_sends(tx, request, flow, trunk, now);
            }
            if let Some(domain) = self.trunk_door(&request, flow) {
                return self.examine(tx, request, &domain, flow, true, now);
            }
        }
        if request.method == Method::INVITE && self.is_merged(&request) {
            return self.answer(tx, &request, 482, now);
        }
        // A registration is about the address in To, everything else is said by the one in From.
        let subject = if request.method == Method::REGISTER {
            request.headers.to().map(|to| to.0.uri)
        } else {
            request.headers.from().map(|from| from.0.uri)
        };
        let Ok(mut subject) = subject else { return self.answer(tx, &request, 400, now) };
        if request.method != Method::REGISTER && is_anonymous(&subject) {
            // Who hides from others proves to us who it is, where the request goes (RFC 3323 section 4.1).
            subject = request.uri.clone();
        }
        let Some(domain) = self.domain_of(&subject.host, flow.local) else {
            return match request.method {
                Method::REGISTER => self.answer(tx, &request, 404, now),
                Method::INVITE | Method::MESSAGE => self.foreign_sends(tx, request, flow, now),
                _ => self.answer(tx, &request, 403, now),
            };
        };
        let named = subject.user_decoded().map(|user| format!("{user}@{domain}"));
        let is_hidden = request.method != Method::REGISTER
            && request.headers.from().is_ok_and(|from| is_anonymous(&from.uri));
        if !flow.protocol.is_secure()
            && !is_hidden
            && !named.is_some_and(|account| self.config.may_be_clear(&account))
        {
            // Before a password is asked for, which somebody could hear.
            return self.refuse_clear(tx, &request, flow, now);
        }
        self.examine(tx, request, &domain, flow, false, now);
    }

    /// Asks who it is, or whether what it answered is right.
    fn examine(
        &mut self,
        tx: TxId,
        request: Box<Request>,
        domain: &str,
        flow: Flow,
        is_trunk: bool,
        now: Instant,
    ) {
        let domain = domain.to_owned();
        let Some(verifier) = self.gate.verifiers.get(&domain) else { return };
        match verifier.read(&request) {
            Presented::Nothing => self.challenge(tx, &request, &domain, false, flow, now),
            Presented::Answer(credentials) if !verifier.made(&credentials.nonce, now) => {
                // Made before a restart, or made up: no reason to trouble the store (RFC 7616 section 3.3).
                self.challenge(tx, &request, &domain, true, flow, now);
            }
            Presented::Answer(credentials) => {
                let job = Job::Password {
                    realm: domain.clone(),
                    user: credentials.username.clone(),
                    algorithm: credentials.algorithm,
                    peer: flow.peer.ip(),
                };
                let gated = Gated { tx, request, flow, domain, credentials, is_trunk };
                self.job(Waiting::Gate(gated), job);
            }
        }
    }

    /// Says that TLS is wanted.
    pub(super) fn refuse_clear(&mut self, tx: TxId, request: &Request, flow: Flow, now: Instant) {
        self.turn_away(flow, Refusal::Clear);
        let mut response = self.response(request, 403);
        response.reason = "TLS Required".to_owned();
        response.headers.push("Warning", "399 tandem \"this account is reached by TLS alone\"");
        self.respond(tx, response, now);
    }

    fn challenge(
        &mut self,
        tx: TxId,
        request: &Request,
        domain: &str,
        is_stale: bool,
        flow: Flow,
        now: Instant,
    ) {
        if super::dispatch::brings_proof(request) && self.is_flood(flow, now) {
            // Who brings none was counted at the door; wrong answers count as much.
            return self.layer.forget(tx);
        }
        let Some(verifier) = self.gate.verifiers.get_mut(domain) else { return };
        let agent = request.headers.get(Name::UserAgent).unwrap_or_default();
        let is_simple =
            self.config.allow_md5 && MD5_ONLY.iter().any(|name| agent.starts_with(name));
        let challenges = verifier.challenges(is_stale, now);
        let tag = self.ids.tag_of(request);
        let mut response = request.response(401, Some(&tag));
        for challenge in challenges {
            if is_simple && challenge.algorithm != Algorithm::Md5 {
                continue;
            }
            response.headers.push(Name::WwwAuthenticate, challenge.to_string());
        }
        self.respond(tx, response, now);
        // Nothing is kept for who has proven nothing: a repeat is challenged again (section 8.2.7).
        self.layer.forget(tx);
    }

    pub(super) fn password_found(&mut self, gated: Gated, result: JobResult, now: Instant) {
        let Gated { tx, request, flow, domain, credentials, is_trunk } = gated;
        let ha1 = match result {
            JobResult::Password(_) if is_trunk => self.trunk_hash(&credentials, &domain),
            JobResult::Password(Ok(ha1)) => ha1,
            JobResult::MustWait(time) => {
                let mut response = self.response(&request, 503);
                response.reason = "Too Many Wrong Passwords".to_owned();
                let seconds = time.as_secs().max(1).to_string();
                response.headers.set("Retry-After", seconds);
                self.respond(tx, response, now);
                return;
            }
            _ => return self.answer(tx, &request, 500, now),
        };
        let Some(verifier) = self.gate.verifiers.get_mut(&domain) else { return };
        let outcome = verifier.verify(&credentials, ha1.as_deref(), &request, now);
        let account = format!("{}@{domain}", credentials.username);
        let peer = flow.peer.ip();
        match outcome {
            Outcome::Stale => self.challenge(tx, &request, &domain, true, flow, now),
            Outcome::Denied => {
                self.outputs.push_back(Output::Tried { peer, account, ok: false });
                self.challenge(tx, &request, &domain, false, flow, now);
            }
            Outcome::Granted => {
                self.outputs.push_back(Output::Tried { peer, account: account.clone(), ok: true });
                if is_trunk {
                    return self.trunk_enters(tx, request, flow, &credentials.username, now);
                }
                self.enter(tx, request, flow, account, &credentials.username, now);
            }
        }
    }

    /// The password was right; now the address has to be the account's own (RFC 3261 sections 10.3 step 4 and 22.1).
    fn enter(
        &mut self,
        tx: TxId,
        mut request: Box<Request>,
        flow: Flow,
        account: String,
        user: &str,
        now: Instant,
    ) {
        let subject = if request.method == Method::REGISTER {
            request.headers.to().map(|to| to.0.uri)
        } else {
            request.headers.from().map(|from| from.0.uri)
        };
        if !self.layer.awaits_answer(tx) {
            // Cancelled, or given up, while the password was looked up.
            return;
        }
        let is_own = |found: String| found.eq_ignore_ascii_case(user);
        let is_hidden = |uri: &Uri| request.method != Method::REGISTER && is_anonymous(uri);
        if !subject.is_ok_and(|uri| is_hidden(&uri) || uri.user_decoded().is_some_and(is_own)) {
            return self.answer(tx, &request, 403, now);
        }
        if !flow.protocol.is_secure() && !self.config.may_be_clear(&account) {
            return self.refuse_clear(tx, &request, flow, now);
        }
        if let Err((status, reason)) = self.identify(&mut request, &account) {
            let mut response = self.response(&request, status);
            response.reason = reason.unwrap_or(response.reason);
            self.respond(tx, response, now);
            return;
        }
        if let Some(dialog) = DialogId::of_request(&request) {
            return self.enter_dialog(tx, request, &dialog, flow, &account, now);
        }
        if request.method != Method::REGISTER
            && let Some(domain) = self.domain_of(&request.uri.host, flow.local)
        {
            match self.resolve_gruu(&request.uri, &domain) {
                Ok(uri) => request.uri = uri,
                Err(status) => return self.answer(tx, &request, status, now),
            }
        }
        match request.method {
            Method::REGISTER => self.register(tx, request, flow, account, now),
            Method::INVITE => self.invited(tx, request, flow, (account, Origin::Account), now),
            Method::MESSAGE => {
                self.message_came(tx, request, flow, (account, Origin::Account), now)
            }
            Method::PUBLISH => self.publish(tx, request, flow, account, now),
            _ => self.subscribe(tx, request, flow, account, now),
        }
    }

    /// Whether a request inside a dialog comes from where the dialog's other end is known to be. From elsewhere it has to
    /// prove its account: the tags alone may have been seen on the way.
    pub(super) fn is_familiar(&self, dialog: &Dialog, flow: Flow) -> bool {
        let is_phone = self.domain_of(&dialog.remote.uri.host, dialog.flow.local).is_some();
        dialog.flow.peer.ip() == flow.peer.ip() || !is_phone
    }

    fn enter_dialog(
        &mut self,
        tx: TxId,
        request: Box<Request>,
        dialog: &DialogId,
        flow: Flow,
        account: &str,
        now: Instant,
    ) {
        let Some(remote) = self.dialog(dialog).map(|dialog| dialog.remote.uri.clone()) else {
            return self.answer(tx, &request, 481, now);
        };
        let domain = self.domain_of(&remote.host, flow.local);
        let owner = remote.user_decoded().zip(domain).map(|(user, at)| format!("{user}@{at}"));
        if owner.is_none_or(|owner| !owner.eq_ignore_ascii_case(account)) {
            return self.answer(tx, &request, 403, now);
        }
        self.handle_proven(tx, request, dialog, flow, now);
    }
}
