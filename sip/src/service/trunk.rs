//! Trunks: servers that are let in by where they are (RFC 3324's trust domain), and that ask us who we are (RFC 3261
//! section 22.2, RFC 7616).
//!
//! What a trunk says of its callers is believed (RFC 3325 section 5), but for one thing: that they are people of ours.

use std::time::Instant;

use super::invite::Leg;
use super::{Core, identity};
use crate::auth::{Algorithm, Challenge};
use crate::msg::header::{CSeq, PAssertedIdentity};
use crate::msg::{Method, Request, Response, Uri};
use crate::ports::{LegId, Login};
use crate::transaction::TxId;
use crate::transport::Flow;

impl Core {
    /// The trunk that a request comes from.
    pub(super) fn trunk_of(&self, flow: Flow) -> Option<String> {
        let is_it = |place: &crate::config::Source| {
            place.ip == flow.peer.ip().to_canonical()
                && place.port.is_none_or(|port| port == flow.peer.port())
        };
        let trunk = self.config.trunks.iter().find(|trunk| trunk.sources.iter().any(is_it));
        trunk.map(|trunk| trunk.name.clone())
    }

    /// The trunk behind an address that we called.
    pub(super) fn trunk_at(&self, remote: &Uri) -> Option<String> {
        let is_it = |trunk: &&crate::config::Trunk| {
            Uri::parse(&trunk.uri).is_ok_and(|uri| uri.host.is_same(&remote.host))
        };
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
        let asserted: Vec<PAssertedIdentity> = match request.headers.list() {
            Ok(asserted) => asserted,
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
            false => format!("{user}@{}", caller.host),
        };
        if request.method == Method::MESSAGE {
            if account.is_empty() || identity::is_private(&request.headers) {
                // Nobody could be answered (RFC 5079).
                return self.answer(tx, &request, 433, now);
            }
            return self.message_came(tx, request, flow, (account, Some(trunk)), now);
        }
        if self.is_merged(&request) {
            return self.answer(tx, &request, 482, now);
        }
        self.invited(tx, request, flow, (account, Some(trunk)), now);
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

/// Whether a request is one that trunks send.
pub(super) fn may_send(request: &Request) -> bool {
    matches!(request.method, Method::INVITE | Method::MESSAGE)
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
