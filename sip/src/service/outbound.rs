//! The ways to a phone (RFC 5626 section 7, RFC 3327 section 5.4, RFC 5627 section 6.1).
//!
//! A phone may have several bindings. One is used at a time: the most recent whose flow is open. Where that fails before
//! the phone has said anything, the next is tried.

use std::sync::Arc;
use std::time::Instant;

use super::binding::Binding;
use super::{Core, Owner, Ticket};
use crate::msg::header::{Path, Route};
use crate::msg::{Header, Request, Response, Uri};
use crate::ports::Target;
use crate::transport::Flow;

/// One way to a phone, or to anybody.
pub(super) struct Way {
    pub(super) flow: Flow,
    pub(super) uri: Uri,
    /// Proxies on the way.
    routes: Vec<Route>,
}

/// A message that may be sent again over another flow.
pub(super) struct Resend {
    request: Box<Request>,
    others: Vec<Arc<Binding>>,
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
    pub(super) fn route(&mut self, target: &Target) -> Option<(Way, Vec<Arc<Binding>>)> {
        match target {
            Target::Uri(uri) => {
                let way = Way { flow: self.flow_to(uri)?, uri: uri.clone(), routes: Vec::new() };
                Some((way, Vec::new()))
            }
            Target::Binding(binding) => self.next_way(self.ways(binding)),
        }
    }

    /// The first of these bindings that leads anywhere, and those behind it.
    pub(super) fn next_way(
        &mut self,
        bindings: Vec<Arc<Binding>>,
    ) -> Option<(Way, Vec<Arc<Binding>>)> {
        let mut rest = bindings.into_iter();
        while let Some(binding) = rest.next() {
            if let Some(way) = self.way(&binding) {
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

    /// Sends a message, and keeps it where there is another way to try.
    pub(super) fn send_over(
        &mut self,
        ticket: Ticket,
        mut request: Request,
        (way, others): (Way, Vec<Arc<Binding>>),
        now: Instant,
    ) {
        way.lead(&mut request);
        if !others.is_empty() {
            let request = Box::new(request.clone());
            self.resends.insert(ticket, Resend { request, others });
        }
        self.request(request, way.flow, Owner::Message(ticket), now);
    }

    /// A message got its final answer; true: it is on its way again over the next flow.
    pub(super) fn resend(&mut self, ticket: Ticket, response: &Response, now: Instant) -> bool {
        let Some(Resend { request, others }) = self.resends.remove(&ticket) else { return false };
        if !is_flow_failure(response) {
            return false;
        }
        let Some(next) = self.next_way(others) else { return false };
        self.send_over(ticket, *request, next, now);
        true
    }
}

/// Whether the phone has not seen the request, so that another flow may carry it (RFC 5626 section 7).
pub(super) fn is_flow_failure(response: &Response) -> bool {
    // What we made up ourselves has no header fields.
    response.status == 430 || response.headers.is_empty() && matches!(response.status, 408 | 503)
}
