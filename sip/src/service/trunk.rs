//! Trunks: servers that are let in by where they are, by their certificate (RFC 5922) or by a password of their own, and that
//! ask us who we are (RFC 3261 section 22.2, RFC 7616).
//!
//! What a trunk says of its callers is believed (RFC 3325 section 5, RFC 3324's trust domain), unless it is set otherwise, but
//! for one thing: that they are people of ours.

use std::net::SocketAddr;
use std::time::Instant;

use super::dispatch::brings_proof;
use super::invite::Leg;
use super::{Core, identity};
use crate::auth::{Algorithm, Challenge, Credentials};
use crate::config::Trunk;
use crate::dialog::DialogId;
use crate::msg::header::{CSeq, PAssertedIdentity};
use crate::msg::{Method, Request, Response, Uri};
use crate::ports::{LegId, Login, Origin};
use crate::transaction::TxId;
use crate::transport::certificate::is_same;
use crate::transport::{Flow, Protocol};

impl Core {
    /// The trunk that a request comes from, by its address or by what its certificate has proven.
    pub(super) fn trunk_of(&self, flow: Flow) -> Option<String> {
        let opened = self.stream_names.get(&flow.socket);
        let shown = self.shown_names.get(&flow.socket).into_iter().flatten();
        let names: Vec<&String> = match flow.protocol {
            Protocol::Tls => opened.into_iter().chain(shown).collect(),
            _ => Vec::new(),
        };
        let is_it = |trunk: &&Trunk| {
            trunk.sources.iter().any(|place| place.has(flow.peer))
                || trunk.tls_names.iter().any(|one| names.iter().any(|name| is_same(name, one)))
        };
        self.config.trunks.iter().find(is_it).map(|trunk| trunk.name.clone())
    }

    /// Whether a request is one that trunks send: a call, a message, or what belongs to a call.
    pub(super) fn may_be_trunk(&self, request: &Request) -> bool {
        matches!(request.method, Method::INVITE | Method::MESSAGE)
            || DialogId::of_request(request).is_some_and(|dialog| self.is_with_trunk(&dialog))
    }

    fn is_with_trunk(&self, dialog: &DialogId) -> bool {
        let leg = self.leg_of_dialog.get(dialog).and_then(|leg| self.legs.get(leg));
        matches!(leg, Some(Leg::Up(session)) if session.trunk().is_some())
    }

    /// The realm in which a request is asked which trunk it is from: where trunks have passwords and nothing else is known of
    /// who sends it, or where it brings the answer of a trunk.
    pub(super) fn trunk_door(&self, request: &Request, flow: Flow) -> Option<String> {
        let is_it = |trunk: &&Trunk| trunk.account.is_some();
        let mut trunks = self.config.trunks.iter().filter(is_it).peekable();
        trunks.peek()?;
        let from = request.headers.from().ok()?.0.uri;
        let home = self.domain_of(&from.host, flow.local);
        let is_stranger = home.is_none() && !identity::is_anonymous(&from);
        let asked = home.or_else(|| self.domain_of(&request.uri.host, flow.local));
        let domain = asked.or_else(|| self.config.domains.first().cloned())?;
        if is_stranger {
            if !brings_proof(request) && self.is_guest(request, &from) {
                return None;
            }
            // A password is not asked for where somebody could hear what nobody may say there.
            let may = flow.protocol.is_secure() || trunks.any(|trunk| !trunk.secure);
            return may.then_some(domain);
        }
        let user = self.gate.user(&domain, request)?;
        let is_account = from.user_decoded().is_some_and(|name| name == user);
        let is_named = |trunk: &Trunk| trunk.account.as_ref().is_some_and(|a| a.username == user);
        (!is_account && trunks.any(is_named)).then_some(domain)
    }

    /// Whether a request may be one of somebody of another domain: what is for a number is asked which trunk it is from.
    fn is_guest(&self, request: &Request, from: &Uri) -> bool {
        let user = request.uri.user_decoded().unwrap_or_default();
        let is_number = user.chars().all(|c| c.is_ascii_digit() || "+-.()".contains(c));
        !is_number && self.config.foreign.lets_in(&from.host.to_string())
    }

    /// The hash of a trunk's password; none for a name that no trunk has.
    pub(super) fn trunk_hash(&self, credentials: &Credentials, realm: &str) -> Option<String> {
        let login = self.trunk_named(&credentials.username)?.account.as_ref()?;
        Some(credentials.algorithm.ha1(&login.username, realm, &login.password))
    }

    fn trunk_named(&self, user: &str) -> Option<&Trunk> {
        let is_it = |trunk: &&Trunk| trunk.account.as_ref().is_some_and(|a| a.username == user);
        self.config.trunks.iter().find(is_it)
    }

    /// A trunk has proven itself by its password.
    pub(super) fn trunk_enters(
        &mut self,
        tx: TxId,
        request: Box<Request>,
        flow: Flow,
        user: &str,
        now: Instant,
    ) {
        if !self.layer.awaits_answer(tx) {
            // Cancelled, or given up, while the password was looked up.
            return;
        }
        let Some(trunk) = self.trunk_named(user) else { return };
        if trunk.secure && !flow.protocol.is_secure() {
            return self.refuse_clear(tx, &request, flow, now);
        }
        let name = trunk.name.clone();
        self.trunk_sends(tx, request, flow, name, now);
    }

    /// Who is behind an address that we called.
    pub(super) fn origin_at(&self, remote: &Uri, local: SocketAddr) -> Origin {
        match self.trunk_at(remote) {
            Some(trunk) => Origin::Trunk(trunk),
            None if self.domain_of(&remote.host, local).is_some() => Origin::Account,
            None => Origin::Foreign,
        }
    }

    fn trunk_at(&self, remote: &Uri) -> Option<String> {
        let is_it =
            |trunk: &&Trunk| Uri::parse(&trunk.uri).is_ok_and(|uri| uri.host.is_same(&remote.host));
        self.config.trunks.iter().find(is_it).map(|trunk| trunk.name.clone())
    }

    /// A call or a message from a trunk. Who calls or writes is whom the trunk names, in P-Asserted-Identity or else in From.
    pub(super) fn trunk_sends(
        &mut self,
        tx: TxId,
        request: Box<Request>,
        flow: Flow,
        trunk: String,
        now: Instant,
    ) {
        if let Some(dialog) = DialogId::of_request(&request) {
            return self.trunk_goes_on(tx, request, flow, (&dialog, &trunk), now);
        }
        let asserted: Vec<PAssertedIdentity> = match request.headers.list() {
            Ok(asserted) if self.believes(&trunk) => asserted,
            Ok(_) => Vec::new(),
            Err(_) => return self.answer(tx, &request, 400, now),
        };
        let from = request.headers.from().map(|from| from.0.uri);
        let Some(caller) = asserted.into_iter().map(|found| found.0.uri).next().or(from.ok())
        else {
            return self.answer(tx, &request, 400, now);
        };
        let user = caller.user_decoded().unwrap_or_default();
        let account = match identity::is_anonymous(&caller) {
            true => String::new(),
            // A `tel` URI names no host, which says nothing but that it is not here.
            false if !caller.is_sip() => format!("{user}@invalid"),
            false => format!("{user}@{}", caller.host),
        };
        if request.method == Method::MESSAGE {
            if account.is_empty() || identity::is_private(&request.headers) {
                // Nobody could be answered (RFC 5079).
                return self.answer(tx, &request, 433, now);
            }
            return self.message_came(tx, request, flow, (account, Origin::Trunk(trunk)), now);
        }
        if self.is_merged(&request) {
            return self.answer(tx, &request, 482, now);
        }
        self.invited(tx, request, flow, (account, Origin::Trunk(trunk)), now);
    }

    /// Who we are at a trunk.
    pub(super) fn login_at(&self, trunk: &str) -> Option<Login> {
        self.config.trunks.iter().find(|known| known.name == trunk)?.login.clone()
    }

    fn believes(&self, trunk: &str) -> bool {
        self.config.trunks.iter().any(|known| known.name == trunk && known.trusted)
    }

    /// A request inside a call, from elsewhere than before: its own trunk only is let in.
    fn trunk_goes_on(
        &mut self,
        tx: TxId,
        request: Box<Request>,
        flow: Flow,
        (dialog, trunk): (&DialogId, &str),
        now: Instant,
    ) {
        let leg = self.leg_of_dialog.get(dialog).and_then(|leg| self.legs.get(leg));
        match leg {
            Some(Leg::Up(session)) if session.trunk() == Some(trunk) => {
                self.handle_proven(tx, request, dialog, flow, now);
            }
            Some(_) => self.answer(tx, &request, 403, now),
            None => self.answer(tx, &request, 481, now),
        }
    }

    /// Answers a challenge to our INVITE: the same request with credentials (RFC 3261 section 22.2). False: there is nothing
    /// to answer with, or the answer was not good enough.
    pub(super) fn prove(&mut self, leg: LegId, response: &Response, now: Instant) -> bool {
        let Some(Leg::Calling(calling)) = self.legs.get_mut(&leg) else { return false };
        if calling.is_given_up() {
            return false;
        }
        let Some(login) = calling.login.clone() else { return false };
        let cnonce = self.ids.token();
        let Some((field, proof)) = proof(&login, response, &calling.invite, &cnonce) else {
            return false;
        };
        let (mut request, flow) = ((*calling.invite).clone(), calling.flow);
        let others = std::mem::take(&mut calling.others);
        let least = calling.least;
        self.forget_early(leg, None, now);
        request.headers.set(field, proof);
        let number = request.headers.cseq().map_or(1, |cseq| cseq.number);
        request.headers.set_typed(&CSeq::new(number.wrapping_add(1), Method::INVITE));
        self.send_invite(leg, request, (flow, others), (least, Some(login)), now);
        true
    }
}

/// The header field that answers a challenge to a request of ours, by the best hash that both know. `None`: there is no such
/// challenge, or the request has answered one already that was not too old.
pub(super) fn proof(
    login: &Login,
    response: &Response,
    request: &Request,
    cnonce: &str,
) -> Option<(&'static str, String)> {
    let (asked, field) = match response.status {
        401 => ("WWW-Authenticate", "Authorization"),
        407 => ("Proxy-Authenticate", "Proxy-Authorization"),
        _ => return None,
    };
    let challenges: Vec<Challenge> =
        response.headers.get_all(asked).filter_map(|value| Challenge::parse(value).ok()).collect();
    let of = |hash: &Algorithm| challenges.iter().find(|challenge| challenge.algorithm == *hash);
    let challenge = Algorithm::ALL.iter().find_map(of)?;
    if request.headers.has(field) && !challenge.is_stale {
        return None;
    }
    let ha1 = challenge.algorithm.ha1(&login.username, &challenge.realm, &login.password);
    let uri = request.uri.to_string();
    let what = (request.method.as_str(), uri.as_str(), &*request.body);
    Some((field, challenge.answer(&login.username, &ha1, what, (cnonce, 1)).to_string()))
}
