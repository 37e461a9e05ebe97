//! The ways to a phone (RFC 5626 section 7, RFC 3327 section 5.4, RFC 5627 section 6.1).
//!
//! A phone may have several bindings, a host several places. One is used at a time: the most recent whose flow is open. Where that fails before
//! the phone has said anything, the next is tried.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::binding::Binding;
use super::trunk::proof;
use super::{Core, Owner, Ticket};
use crate::msg::header::{CSeq, Path, RetryAfter, Route};
use crate::msg::{Header, Method, Request, Response, Uri};
use crate::ports::{Login, Target};
use crate::transport::{Flow, Hop, PAUSE, Protocol};

/// Bytes of a request that any path carries in a datagram (RFC 3261 section 18.1.1).
pub(super) const MAX_DATAGRAM: usize = 1_300;
/// Room for what is put on every request: Via and User-Agent.
pub(super) const STAMP: usize = 160;
/// Room for the answer to a challenge (RFC 7616 section 3.4).
pub(super) const PROOF: usize = 400;
/// How long a peer that took no connection is written to by datagrams, whatever their size.
const NO_STREAM: Duration = Duration::from_secs(600);

/// One way to a phone, or to anybody.
pub(super) struct Way {
    pub(super) flow: Flow,
    pub(super) uri: Uri,
    /// Proxies on the way.
    routes: Vec<Route>,
}

/// A message that may be sent again: over another flow, or to who asks for a password.
pub(super) struct Resend {
    request: Box<Request>,
    flow: Flow,
    others: Vec<Other>,
    /// What a challenge is answered with.
    login: Option<Login>,
}

/// What is tried after a way that failed.
pub(super) enum Other {
    /// Another flow of the same phone.
    Binding(Arc<Binding>),
    /// Another place of the same host (RFC 3263 section 4.3).
    Hop(Uri, Hop),
    /// The datagrams that a large request was spared (RFC 3261 section 18.1.1).
    Datagrams(Way),
}

impl Way {
    /// Points a request at this way.
    pub(super) fn lead(&self, request: &mut Request) {
        request.uri.clone_from(&self.uri);
        request.headers.set_list(&self.routes);
    }
}

impl Core {
    /// All bindings of the phone that this one is of, the best first. What is registered now counts, not what was when
    /// somebody looked.
    pub(super) fn ways(&self, binding: &Arc<Binding>) -> Vec<Arc<Binding>> {
        let known = self.bindings(&binding.account).iter().rev();
        let mut ways: Vec<Arc<Binding>> =
            known.filter(|known| known.id == binding.id).cloned().collect();
        if ways.is_empty() {
            ways.push(binding.clone());
        }
        ways.sort_by_key(|binding| !self.is_open(binding));
        ways
    }

    /// Whether a request can leave over the flow that a phone has registered over.
    fn is_open(&self, binding: &Binding) -> bool {
        self.usable(binding.flow).is_some()
    }

    /// The best way to a target, and the bindings to try after it. `None`: there is no way, as no flow is open.
    pub(super) fn route(&mut self, target: &Target, now: Instant) -> Option<(Way, Vec<Other>)> {
        match target {
            Target::Uri(_) | Target::Secure(_) | Target::Hops(..) => {
                let places = self.places(target, now);
                self.next_way(places)
            }
            Target::Binding(binding) => {
                let bindings = self.ways(binding).into_iter().map(Other::Binding).collect();
                self.next_way(bindings)
            }
        }
    }

    /// The first of these that leads anywhere, and those behind it.
    pub(super) fn next_way(&mut self, others: Vec<Other>) -> Option<(Way, Vec<Other>)> {
        let mut rest = others.into_iter();
        while let Some(other) = rest.next() {
            let way = match other {
                Other::Binding(binding) => self.way(&binding),
                Other::Hop(uri, hop) => {
                    let flow = self.flow_by(&hop);
                    flow.map(|flow| Way { flow, uri, routes: Vec::new() })
                }
                Other::Datagrams(way) => Some(way),
            };
            if let Some(way) = way {
                return Some((way, rest.collect()));
            }
        }
        None
    }

    fn way(&mut self, binding: &Binding) -> Option<Way> {
        let uri = binding.uri()?;
        let path: Vec<Path> = binding.path.iter().filter_map(|hop| Path::parse(hop).ok()).collect();
        let flow = match path.first() {
            // A flow is the phone's own choice of way: there is no other to the same end (RFC 5626 section 7).
            None if binding.reg_id.is_some() => self.usable(binding.flow)?,
            None => self.reconnect(binding.flow, &uri)?,
            Some(hop) if hop.uri.host.ip().is_some_and(|ip| ip != binding.flow.peer.ip()) => {
                self.flow_to(&hop.uri)?
            }
            Some(hop) => self.reconnect(binding.flow, &hop.uri)?,
        };
        let routes = path.into_iter().map(|hop| Route(hop.0)).collect();
        Some(Way { flow, uri, routes })
    }

    /// Sends a message, and keeps it where there is another way to try, or a challenge to be answered.
    pub(super) fn send_over(
        &mut self,
        ticket: Ticket,
        mut request: Request,
        (way, others): (Way, Vec<Other>),
        login: Option<Login>,
        now: Instant,
    ) {
        way.lead(&mut request);
        let (way, others) = self.spare(&request, way, others, now);
        if !others.is_empty() || login.is_some() {
            let request = Box::new(request.clone());
            self.resends.insert(ticket, Resend { request, flow: way.flow, others, login });
        }
        self.request(request, way.flow, Owner::Message(ticket), now);
    }

    /// A message was challenged; true: it is on its way again, with credentials (RFC 3261 section 22.2).
    pub(super) fn prove_message(
        &mut self,
        ticket: Ticket,
        response: &Response,
        now: Instant,
    ) -> bool {
        let cnonce = self.ids.token();
        let Some(Resend { request, flow, login: Some(login), .. }) = self.resends.get_mut(&ticket)
        else {
            return false;
        };
        let Some((field, proof)) = proof(login, response, request, &cnonce) else { return false };
        request.headers.set(field, proof);
        let number = request.headers.cseq().map_or(1, |cseq| cseq.number);
        request.headers.set_typed(&CSeq::new(number.wrapping_add(1), Method::MESSAGE));
        let (request, flow) = ((**request).clone(), *flow);
        self.request(request, flow, Owner::Message(ticket), now);
        true
    }

    /// A message got its final answer; true: it is on its way again over the next flow.
    pub(super) fn resend(&mut self, ticket: Ticket, response: &Response, now: Instant) -> bool {
        let Some(Resend { mut request, flow, others, login }) = self.resends.remove(&ticket) else {
            return false;
        };
        if !self.goes_on(flow, &others, response, now) {
            return false;
        }
        let Some(next) = self.next_way(others) else { return false };
        // What was proven to one server is nothing to another.
        for field in ["Authorization", "Proxy-Authorization"] {
            request.headers.remove(field);
        }
        self.send_over(ticket, *request, next, login, now);
        true
    }
}

impl Core {
    /// Whether what failed so is tried another way. A place that did not answer is left alone for a while.
    pub(super) fn goes_on(
        &mut self,
        flow: Flow,
        others: &[Other],
        response: &Response,
        now: Instant,
    ) -> bool {
        let is_unseen = is_flow_failure(response);
        match others.first() {
            Some(Other::Hop(..)) if is_unseen || response.status == 503 => {
                let retry_after = response.headers.typed::<RetryAfter>().ok();
                let pause = retry_after.map_or(PAUSE, |field| Duration::from_secs(field.0.into()));
                self.avoided.add(flow.protocol, flow.peer, pause, now);
                true
            }
            Some(Other::Datagrams(_)) if is_unseen => {
                // Behind most NATs nobody listens: asked once, known for long.
                self.avoided.add(flow.protocol, flow.peer, NO_STREAM, now);
                true
            }
            Some(Other::Binding(_)) => is_unseen,
            _ => false,
        }
    }

    /// RFC 3261 section 18.1.1: a request that may be too large for a datagram takes a connection, and datagrams after all
    /// where there is none to be had. A phone that registered from another address than its own is behind a NAT, where
    /// nothing listens.
    pub(super) fn spare(
        &mut self,
        request: &Request,
        way: Way,
        mut others: Vec<Other>,
        now: Instant,
    ) -> (Way, Vec<Other>) {
        let peer = way.flow.peer;
        let next = way.routes.first().map_or(&way.uri, |route| &route.0.uri);
        let port = next.port.unwrap_or(Protocol::Udp.default_port());
        let is_direct = next.host.ip() == Some(peer.ip().to_canonical()) && port == peer.port();
        let is_large =
            way.flow.protocol == Protocol::Udp && request.wire_len() + STAMP > MAX_DATAGRAM;
        if !is_large || !is_direct || self.avoided.has(Protocol::Tcp, peer, now) {
            return (way, others);
        }
        let Some(flow) = self.flow_at(Protocol::Tcp, peer, None) else { return (way, others) };
        let flow = Flow { local: flow.local_or(way.flow), ..flow };
        let spared = Way { flow, uri: way.uri.clone(), routes: way.routes.clone() };
        others.insert(0, Other::Datagrams(way));
        (spared, others)
    }
}

/// Whether the phone has not seen the request, so that another flow may carry it (RFC 5626 section 7).
fn is_flow_failure(response: &Response) -> bool {
    // What we made up ourselves has no header fields.
    response.status == 430 || response.headers.is_empty() && matches!(response.status, 408 | 503)
}
