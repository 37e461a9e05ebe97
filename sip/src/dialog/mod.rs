//! Dialogs (RFC 3261 section 12): who talks with whom, and the requests that belong to it.

pub mod timer;

use crate::msg::header::{
    CSeq, CallId, Contact, Contacts, From, MaxForwards, RecordRoute, Route, To,
};
use crate::msg::{Headers, Method, NameAddr, Request, Response, Uri};
use crate::transport::Flow;

/// The name of a dialog on our side: Call-ID, our tag, their tag.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DialogId {
    /// Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// The peer's tag; empty for a peer of RFC 2543.
    pub remote_tag: String,
}

impl DialogId {
    /// The dialog that a request of the peer names: our tag is in To.
    pub fn of_request(request: &Request) -> Option<Self> {
        let headers = &request.headers;
        let local_tag = headers.to_tag()?.to_owned();
        let remote_tag = headers.from_tag().unwrap_or_default().to_owned();
        Some(Self { call_id: headers.call_id().ok()?.0, local_tag, remote_tag })
    }
}

/// What both ends know.
#[derive(Debug, Clone)]
pub struct Dialog {
    /// Its name.
    pub id: DialogId,
    /// We, with our tag.
    pub local: NameAddr,
    /// They, with their tag.
    pub remote: NameAddr,
    /// Where their requests want to go: their Contact.
    pub target: Uri,
    /// Proxies in between that asked to stay.
    pub route_set: Vec<NameAddr>,
    /// The number of our last request.
    pub local_seq: u32,
    /// The number of their last request.
    pub remote_seq: Option<u32>,
    /// Over which we reach them.
    pub flow: Flow,
}

impl Dialog {
    /// As the one who was called (section 12.1.1). `None`: the request names no Contact.
    pub fn of_incoming(request: &Request, local_tag: &str, flow: Flow) -> Option<Self> {
        let headers = &request.headers;
        let (from, to) = (headers.from().ok()?.0, headers.to().ok()?.0);
        let id = DialogId {
            call_id: headers.call_id().ok()?.0,
            local_tag: local_tag.to_owned(),
            remote_tag: from.tag().unwrap_or_default().to_owned(),
        };
        Some(Self {
            id,
            local: to.with_tag(local_tag),
            remote: from,
            target: contact(headers)?,
            route_set: headers
                .list::<RecordRoute>()
                .ok()?
                .into_iter()
                .map(|route| route.0)
                .collect(),
            local_seq: 0,
            remote_seq: Some(headers.cseq().ok()?.number),
            flow,
        })
    }

    /// As the one who called (section 12.1.2). An answer that forgets its Contact comes from where the request went.
    /// `None`: a field that is needed cannot be read.
    pub fn of_outgoing(request: &Request, response: &Response, flow: Flow) -> Option<Self> {
        let (local, remote) = (request.headers.from().ok()?.0, response.headers.to().ok()?.0);
        let id = DialogId {
            call_id: request.headers.call_id().ok()?.0,
            local_tag: local.tag()?.to_owned(),
            remote_tag: remote.tag().unwrap_or_default().to_owned(),
        };
        let mut route_set: Vec<NameAddr> =
            response.headers.list::<RecordRoute>().ok()?.into_iter().map(|route| route.0).collect();
        route_set.reverse();
        Some(Self {
            id,
            local,
            remote,
            target: contact(&response.headers).unwrap_or_else(|| request.uri.clone()),
            route_set,
            local_seq: request.headers.cseq().ok()?.number,
            remote_seq: None,
            flow,
        })
    }

    /// The next request of ours, without Via and Contact.
    pub fn request(&mut self, method: Method) -> Request {
        self.local_seq = self.local_seq.wrapping_add(1);
        self.request_numbered(method, self.local_seq)
    }

    /// A request with a number that was used: the ACK to a 2xx, or a CANCEL.
    pub fn request_numbered(&self, method: Method, number: u32) -> Request {
        let (target, routes) = self.path();
        let mut request = Request::new(method.clone(), target);
        let headers = &mut request.headers;
        headers.push_typed(&MaxForwards::DEFAULT);
        for route in routes {
            headers.push_typed(&Route(route));
        }
        headers.push_typed(&From(self.local.clone()));
        headers.push_typed(&To(self.remote.clone()));
        headers.push_typed(&CallId(self.id.call_id.clone()));
        headers.push_typed(&CSeq::new(number, method));
        request
    }

    /// Request-URI and Routes. A first proxy of RFC 2543 (no `lr`) wants to be the Request-URI itself, and the target
    /// last in line (section 12.2.1.1).
    fn path(&self) -> (Uri, Vec<NameAddr>) {
        match self.route_set.split_first() {
            Some((first, rest)) if !first.uri.params.has("lr") => {
                let mut routes = rest.to_vec();
                routes.push(NameAddr::new(self.target.clone()));
                (first.uri.clone(), routes)
            }
            _ => (self.target.clone(), self.route_set.clone()),
        }
    }

    /// Where a request has to go first.
    pub fn next_hop(&self) -> &Uri {
        self.route_set.first().map_or(&self.target, |route| &route.uri)
    }

    /// Takes the number of a request of theirs; false: it is older than what came before (section 12.2.2).
    pub fn accept_seq(&mut self, number: u32) -> bool {
        if self.remote_seq.is_some_and(|last| number <= last) {
            return false;
        }
        self.remote_seq = Some(number);
        true
    }

    /// A re-INVITE or an UPDATE may move the peer's Contact (section 12.2.2).
    pub fn refresh_target(&mut self, headers: &Headers) {
        if let Some(target) = contact(headers) {
            self.target = target;
        }
    }
}

/// The one Contact of a message.
pub fn contact(headers: &Headers) -> Option<Uri> {
    match headers.contacts().ok()? {
        Contacts::List(list) => list.into_iter().next().map(|Contact(address)| address.uri),
        Contacts::All => None,
    }
}
