//! What every message of ours carries, and the way it takes (RFC 3261 sections 8.1.1, 18.1 and 20.10, RFC 3581).

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::{Core, Listening, OWN_SOCKETS, Owner};
use crate::dialog::Dialog;
use crate::msg::header::{Contact, Via};
use crate::msg::{Host, Message, Name, NameAddr, Request, Response, Uri};
use crate::ports::Refusal;
use crate::transaction::TxId;
use crate::transaction::layer::reply_flow;
use crate::transport::{Flow, Protocol};

impl Core {
    /// Sends a request of ours; its answers go to `owner`.
    pub(super) fn request(
        &mut self,
        request: Request,
        flow: Flow,
        owner: Owner,
        now: Instant,
    ) -> TxId {
        let branch = self.ids.branch();
        self.request_as(request, &branch, flow, owner, now)
    }

    pub(super) fn request_as(
        &mut self,
        mut request: Request,
        branch: &str,
        flow: Flow,
        owner: Owner,
        now: Instant,
    ) -> TxId {
        self.stamp(&mut request, branch, flow);
        let owner = match owner {
            // What the ACK, the CANCEL and late answers are made from.
            Owner::Invite(leg, _) => Owner::Invite(leg, Box::new(request.clone())),
            other => other,
        };
        let tx = self.layer.request(request, branch, flow, now);
        self.owners.insert(tx, owner);
        tx
    }

    /// Sends an ACK to a 2xx, each time that comes: a request without a transaction.
    pub(super) fn ack(&mut self, dialog: &Dialog, number: u32) {
        let mut ack = dialog.request_numbered(crate::msg::Method::ACK, number);
        let branch = self.ids.branch();
        let flow = self.flow_of(dialog);
        self.stamp(&mut ack, &branch, flow);
        self.layer.send(Message::Request(ack), flow);
    }

    fn stamp(&self, request: &mut Request, branch: &str, flow: Flow) {
        let mut via = Via::new(
            flow.protocol.token(),
            Host::from(flow.local.ip()),
            Some(flow.local.port()),
            branch,
        );
        via.params.set("rport", None);
        request.headers.push_front_typed(&via);
        request.headers.set(Name::UserAgent, &self.config.software);
    }

    /// Answers a request; a response outside a dialog gets a fresh To tag.
    pub(super) fn answer(&mut self, tx: TxId, request: &Request, status: u16, now: Instant) {
        let response = self.response(request, status);
        self.respond(tx, response, now);
    }

    /// An answer to be filled in.
    pub(super) fn response(&mut self, request: &Request, status: u16) -> Response {
        let tag = self.ids.token();
        request.response(status, Some(&tag))
    }

    pub(super) fn respond(&mut self, tx: TxId, mut response: Response, now: Instant) -> bool {
        response.headers.set(Name::Server, &self.config.software);
        self.layer.respond(tx, response, now)
    }

    /// The answer of a request that was let in leaves, also when its connection is gone: over a new one to the port that
    /// its Via names (section 18.2.2).
    pub(super) fn reopen(&mut self, tx: TxId, request: &Request) {
        let Some(flow) = self.layer.reply_flow(tx) else { return };
        if flow.protocol != Protocol::Tcp || self.usable(flow).is_some() {
            return;
        }
        let port = request.headers.top_via().ok().and_then(|via| via.port);
        let port = port.unwrap_or(flow.protocol.default_port());
        let peer = SocketAddr::new(flow.peer.ip(), port);
        if let Some(new) = self.flow_at(flow.protocol, peer, None) {
            self.layer.reply_over(tx, Flow { local: new.local_or(flow), ..new });
        }
    }

    /// A 503 that costs no state.
    pub(super) fn refuse_statelessly(&mut self, request: &Request, flow: Flow, now: Instant) {
        if self.is_flood(flow, now) {
            return;
        }
        self.turn_away(flow, Refusal::Overload);
        let mut response = self.response(request, 503);
        response.headers.set("Retry-After", "10");
        self.answer_statelessly(response, flow);
    }

    pub(super) fn answer_statelessly(&mut self, mut response: Response, flow: Flow) {
        response.headers.set(Name::Server, &self.config.software);
        let Ok(mut via) = response.headers.top_via() else {
            // A Via that cannot be read says nothing better than where the request came from (RFC 4475 section 3.1.2.1).
            return self.layer.send(Message::Response(response), flow);
        };
        via.note_source(flow.peer);
        response.headers.replace_first(&via);
        self.layer.send(Message::Response(response), reply_flow(flow, &via));
    }

    /// Where the peer of this flow can send requests to.
    pub(super) fn contact(&self, user: &str, flow: Flow) -> Contact {
        let mut uri = Uri::sip(Some(user), Host::from(flow.local.ip()));
        uri.port = Some(flow.local.port());
        if flow.protocol != Protocol::Udp {
            uri.params.set("transport", Some(flow.protocol.param()));
        }
        Contact(NameAddr::new(uri))
    }

    /// The way to the other end of a dialog; where there is none any more, the old one, over which nothing arrives.
    pub(super) fn flow_of(&mut self, dialog: &Dialog) -> Flow {
        self.reconnect(dialog.flow, dialog.next_hop()).unwrap_or(dialog.flow)
    }

    /// This flow while it is open, else a new one to the address in a URI.
    pub(super) fn reconnect(&mut self, flow: Flow, uri: &Uri) -> Option<Flow> {
        if let Some(open) = self.usable(flow) {
            return Some(open);
        }
        let new = self.flow_to(uri)?;
        Some(Flow { local: new.local_or(flow), ..new })
    }

    /// A flow that can still be sent over. Datagrams always can, by the listener that has this address now.
    pub(super) fn usable(&self, flow: Flow) -> Option<Flow> {
        if flow.protocol.is_reliable() {
            return self.streams.get(&flow.socket).copied().filter(|open| open.peer == flow.peer);
        }
        let fits = |listener: &&Listening| listener.fits(Protocol::Udp, flow.peer);
        let known = self.listeners.iter().filter(fits).find(|one| one.socket == flow.socket);
        let listener = known.or_else(|| self.listeners.iter().find(fits))?;
        let today = Flow { socket: listener.socket, local: listener.local, ..flow };
        Some(Flow { local: today.local_or(flow), ..today })
    }

    /// A flow of our own to the address in a URI; `None` for names, which would have to be looked up, and for TLS.
    pub(super) fn flow_to(&mut self, uri: &Uri) -> Option<Flow> {
        let protocol = match uri.param("transport").map(str::to_ascii_lowercase).as_deref() {
            None | Some("udp") => Protocol::Udp,
            Some("tcp") => Protocol::Tcp,
            Some(_) => return None,
        };
        let ip = uri.host.ip()?;
        let peer = SocketAddr::new(ip, uri.port.unwrap_or(protocol.default_port()));
        self.flow_at(protocol, peer, None)
    }

    /// A flow of our own to an address; under TLS, whoever is there has to prove this name.
    pub(super) fn flow_at(
        &mut self,
        protocol: Protocol,
        peer: SocketAddr,
        name: Option<String>,
    ) -> Option<Flow> {
        let listener = *self.listeners.iter().find(|listener| listener.fits(protocol, peer))?;
        let local = listener.towards(peer);
        let flow = Flow { protocol, socket: listener.socket, peer, local };
        if protocol == Protocol::Udp {
            return Some(flow);
        }
        let open = self.stream_to.get(&(protocol, peer)).and_then(|at| self.streams.get(at));
        // A connection is taken for another name only if it has proven that one too (RFC 5923 section 6).
        if let Some(open) = open
            && self.stream_names.get(&open.socket) == name.as_ref()
        {
            return Some(*open);
        }
        self.next_socket = self.next_socket.wrapping_add(1).max(OWN_SOCKETS);
        let flow = Flow { socket: self.next_socket, ..flow };
        self.stream_opened(flow);
        if let Some(name) = &name {
            self.stream_names.insert(flow.socket, name.clone());
        }
        self.connects.push_back((flow, name));
        Some(flow)
    }
}

impl Listening {
    fn fits(&self, protocol: Protocol, peer: SocketAddr) -> bool {
        let ip = self.local.ip();
        // [::] takes both families.
        let is_reached = ip.is_ipv4() == peer.is_ipv4() || (ip.is_ipv6() && ip.is_unspecified());
        self.protocol == protocol && is_reached
    }

    /// Our address as this peer is told.
    fn towards(&self, peer: SocketAddr) -> SocketAddr {
        let same = |ip: &&IpAddr| ip.is_ipv4() == peer.ip().to_canonical().is_ipv4();
        let ip =
            self.outward.iter().flatten().find(same).filter(|_| self.local.ip().is_unspecified());
        SocketAddr::new(ip.copied().unwrap_or(self.local.ip()), self.local.port())
    }
}

impl Flow {
    /// Our address on this flow: where the listener is open on all, the one that the peer was told before.
    pub(super) fn local_or(self, before: Flow) -> SocketAddr {
        let is_open = self.local.ip().is_unspecified();
        let ip = if is_open { before.local.ip() } else { self.local.ip() };
        SocketAddr::new(ip, self.local.port())
    }
}
