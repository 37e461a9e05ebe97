//! The transaction layer (RFC 3261 sections 17 and 18.2): matches messages to machines and sends again what has to be.
//!
//! Sans-I/O. Messages and `now` go in; [`Layer::poll_send`] says what leaves over which flow, [`Layer::poll_event`] what
//! the user of the transactions has to know. Responses leave over the flow the request came by; over datagrams to the
//! port of the Via where the sender did not ask for `rport` (RFC 3581 section 4).

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::client::{self, Client};
use super::invite_client::{self, InviteClient};
use super::invite_server::{self, InviteServer};
use super::key::{ClientKey, ServerKey};
use super::server::{self, Server};
use super::timers::Deadlines;
use crate::msg::header::{CSeq, Via};
use crate::msg::{Message, Method, Name, Request, Response};
use crate::transport::Flow;

/// One transaction of this layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TxId(u64);

/// What the user of the transactions has to know.
#[derive(Debug)]
pub enum Event {
    /// A new request that waits for [`Layer::respond`].
    Request {
        /// Its transaction.
        tx: TxId,
        /// The request; the top Via has `received` and `rport` filled in.
        request: Box<Request>,
        /// Where it came from.
        flow: Flow,
    },
    /// An ACK that belongs to no refusal: to a 2xx, or to nothing.
    Ack {
        /// The ACK.
        request: Box<Request>,
    },
    /// An answer to a request of ours; a 2xx to an INVITE comes up each time it arrives.
    Response {
        /// Its transaction.
        tx: TxId,
        /// The answer.
        response: Box<Response>,
    },
    /// No answer: 408 when time ran out, 503 when the connection was lost.
    Failed {
        /// The transaction.
        tx: TxId,
        /// The status as if somebody had answered so.
        status: u16,
    },
    /// A request of ours is over: nothing more will be heard of it.
    Done {
        /// The transaction.
        tx: TxId,
    },
}

#[derive(Debug)]
enum Machine {
    InviteClient(InviteClient),
    Client(Client),
    InviteServer(InviteServer),
    Server(Server),
}

impl Machine {
    fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::InviteClient(machine) => machine.next_timeout(),
            Self::Client(machine) => machine.next_timeout(),
            Self::InviteServer(machine) => machine.next_timeout(),
            Self::Server(machine) => machine.next_timeout(),
        }
    }

    fn is_terminated(&self) -> bool {
        match self {
            Self::InviteClient(machine) => machine.is_terminated(),
            Self::Client(machine) => machine.is_terminated(),
            Self::InviteServer(machine) => machine.is_terminated(),
            Self::Server(machine) => machine.is_terminated(),
        }
    }

    fn is_open_client(&self) -> bool {
        match self {
            Self::InviteClient(machine) => machine.is_open(),
            Self::Client(machine) => machine.is_open(),
            _ => false,
        }
    }
}

#[derive(Debug)]
enum Key {
    Client(ClientKey),
    Server(ServerKey),
}

#[derive(Debug)]
struct Entry {
    machine: Machine,
    key: Key,
    /// Where its messages go.
    flow: Flow,
    /// What is sent again: the request, or the last response.
    last: Bytes,
    /// The request, where an ACK, a CANCEL or a 100 is made from it.
    request: Option<Box<Request>>,
    /// The ACK to a refusal.
    ack: Bytes,
    /// The earliest deadline that is queued for it.
    armed: Option<Instant>,
}

/// All transactions of a node.
#[derive(Debug, Default)]
pub struct Layer {
    /// Each in a place of its own: a table of whole entries takes megabytes, and twice as many while it grows.
    entries: HashMap<TxId, Box<Entry>>,
    servers: HashMap<ServerKey, TxId>,
    clients: HashMap<ClientKey, TxId>,
    /// Open requests of ours on connections, so that a lost connection ends them at once.
    on_streams: HashMap<u64, HashSet<TxId>>,
    deadlines: Deadlines<TxId>,
    next_id: u64,
    sends: VecDeque<(Flow, Bytes)>,
    events: VecDeque<Event>,
}

impl Layer {
    /// Transactions in work.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What has to leave next.
    pub fn poll_send(&mut self) -> Option<(Flow, Bytes)> {
        self.sends.pop_front()
    }

    /// What has to be known next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Layer::handle_timeout`].
    pub fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// A message arrived. Responses that belong to nothing are dropped (RFC 6026 section 7.3).
    pub fn handle_message(&mut self, message: Message, flow: Flow, now: Instant) {
        match message {
            Message::Request(request) => self.handle_request(request, flow, now),
            Message::Response(response) => self.handle_response(response, now),
        }
    }

    fn handle_request(&mut self, mut request: Request, flow: Flow, now: Instant) {
        let Ok(mut via) = request.headers.top_via() else { return };
        let method = match request.method {
            Method::ACK => Method::INVITE,
            ref other => other.clone(),
        };
        let key = ServerKey::of(&request, &via, &method);
        if let Some(tx) = self.servers.get(&key).copied() {
            return self.handle_known(tx, request, now);
        }
        if request.method == Method::ACK {
            return self.events.push_back(Event::Ack { request: Box::new(request) });
        }
        via.note_source(flow.peer);
        if matches!(request.method, Method::REGISTER | Method::INVITE | Method::SUBSCRIBE) {
            via.agree_to_keep(flow.protocol.keep_alive_secs());
        }
        request.headers.replace_first(&via);
        let reply = reply_flow(flow, &via);
        let is_reliable = flow.protocol.is_reliable();
        let is_invite = request.method == Method::INVITE;
        let machine = if is_invite {
            Machine::InviteServer(InviteServer::new(is_reliable, now))
        } else {
            Machine::Server(Server::new(is_reliable, now))
        };
        let request = Box::new(request);
        let kept = is_invite.then(|| request.clone());
        let tx = self.insert(machine, Key::Server(key), reply, kept, now);
        self.events.push_back(Event::Request { tx, request, flow });
    }

    fn handle_known(&mut self, tx: TxId, request: Request, now: Instant) {
        let Some(entry) = self.entries.get_mut(&tx) else { return };
        match &mut entry.machine {
            Machine::InviteServer(machine) if request.method == Method::ACK => {
                if machine.handle_ack(now) == invite_server::Action::DeliverAck {
                    self.events.push_back(Event::Ack { request: Box::new(request) });
                }
            }
            Machine::InviteServer(machine) => {
                let action = machine.handle_repeat();
                self.invite_server_action(tx, action);
            }
            Machine::Server(machine) => {
                if machine.handle_repeat() == server::Action::SendResponse {
                    self.sends.push_back((entry.flow, entry.last.clone()));
                }
            }
            Machine::InviteClient(_) | Machine::Client(_) => {}
        }
        self.settle(tx, now);
    }

    fn invite_server_action(&mut self, tx: TxId, action: invite_server::Action) {
        use invite_server::Action;
        let Some(entry) = self.entries.get_mut(&tx) else { return };
        match action {
            Action::Nothing | Action::DeliverAck | Action::AckMissing => {}
            Action::SendResponse => self.sends.push_back((entry.flow, entry.last.clone())),
            Action::SendTrying => {
                if let Some(request) = &entry.request {
                    let trying = Message::Response(request.response(100, None)).to_bytes();
                    self.sends.push_back((entry.flow, trying));
                }
            }
        }
    }

    fn handle_response(&mut self, response: Response, now: Instant) {
        // With more than one Via it was for somebody behind us (RFC 3261 section 8.1.3.3).
        let Ok(vias) = response.headers.list::<Via>() else { return };
        let [via] = vias.as_slice() else { return };
        let Some(key) = ClientKey::of_response(via, &response.headers) else { return };
        let Some(tx) = self.clients.get(&key).copied() else { return };
        let Some(entry) = self.entries.get_mut(&tx) else { return };
        let deliver = match &mut entry.machine {
            Machine::InviteClient(machine) => {
                use invite_client::Action;
                let action = machine.handle_response(response.status, now);
                if action == Action::AckAndDeliver
                    && let Some(invite) = &entry.request
                {
                    entry.ack = Message::Request(ack_of_refusal(invite, &response)).to_bytes();
                }
                if matches!(action, Action::AckAndDeliver | Action::SendAck) {
                    self.sends.push_back((entry.flow, entry.ack.clone()));
                }
                matches!(action, Action::Deliver | Action::AckAndDeliver)
            }
            Machine::Client(machine) => {
                machine.handle_response(response.status, now) == client::Action::Deliver
            }
            Machine::InviteServer(_) | Machine::Server(_) => false,
        };
        if deliver {
            self.events.push_back(Event::Response { tx, response: Box::new(response) });
        }
        self.settle(tx, now);
    }

    /// Sends a request. `branch` is the one of its top Via: unique, or that of the INVITE for a CANCEL.
    pub fn request(&mut self, request: Request, branch: &str, flow: Flow, now: Instant) -> TxId {
        let key = Key::Client(ClientKey::new(branch, &request.method));
        let bytes = request.to_bytes();
        let is_reliable = flow.protocol.is_reliable();
        let (machine, kept) = if request.method == Method::INVITE {
            (Machine::InviteClient(InviteClient::new(is_reliable, now)), Some(Box::new(request)))
        } else {
            (Machine::Client(Client::new(is_reliable, now)), None)
        };
        let tx = self.insert(machine, key, flow, kept, now);
        if let Some(entry) = self.entries.get_mut(&tx) {
            entry.last = bytes.clone();
        }
        if is_reliable {
            self.on_streams.entry(flow.socket).or_default().insert(tx);
        }
        self.sends.push_back((flow, bytes));
        tx
    }

    /// Sends what no transaction keeps: an ACK to a 2xx, a repeated 2xx, an answer without state.
    pub fn send(&mut self, message: Message, flow: Flow) {
        self.sends.push_back((flow, message.to_bytes()));
    }

    /// Sends bytes again.
    pub fn send_bytes(&mut self, bytes: Bytes, flow: Flow) {
        self.sends.push_back((flow, bytes));
    }

    /// Answers a request. False: it is too late for that.
    pub fn respond(&mut self, tx: TxId, response: Response, now: Instant) -> bool {
        let Some(entry) = self.entries.get_mut(&tx) else { return false };
        let takes = match &mut entry.machine {
            Machine::InviteServer(machine) => machine.handle_answer(response.status, now),
            Machine::Server(machine) => machine.handle_answer(now),
            Machine::InviteClient(_) | Machine::Client(_) => false,
        };
        if takes {
            let flow = entry.flow;
            let bytes = Message::Response(response).to_bytes();
            entry.last = bytes.clone();
            self.sends.push_back((flow, bytes));
        }
        self.settle(tx, now);
        takes
    }

    /// Where the answers of a transaction go.
    pub fn reply_flow(&self, tx: TxId) -> Option<Flow> {
        self.entries.get(&tx).map(|entry| entry.flow)
    }

    /// Answers leave over this flow from now on: the one the request came by is gone.
    pub fn reply_over(&mut self, tx: TxId, flow: Flow) {
        if let Some(entry) = self.entries.get_mut(&tx) {
            entry.flow = flow;
        }
    }

    /// Whether a request of a peer still waits for its final answer.
    pub fn awaits_answer(&self, tx: TxId) -> bool {
        match self.entries.get(&tx).map(|entry| &entry.machine) {
            Some(Machine::InviteServer(machine)) => machine.is_open(),
            Some(Machine::Server(machine)) => machine.is_open(),
            _ => false,
        }
    }

    /// The INVITE of a transaction.
    pub fn invite(&self, tx: TxId) -> Option<&Request> {
        self.entries.get(&tx)?.request.as_deref()
    }

    /// Whether a request of ours waits for its final answer.
    pub fn is_open(&self, tx: TxId) -> bool {
        self.entries.get(&tx).is_some_and(|entry| entry.machine.is_open_client())
    }

    /// Whether this request was seen before: a repeat costs nothing new.
    pub fn knows(&self, request: &Request) -> bool {
        let Ok(via) = request.headers.top_via() else { return false };
        self.servers.contains_key(&ServerKey::of(request, &via, &request.method))
    }

    /// The INVITE that a CANCEL means, while it is not answered (RFC 3261 section 9.2).
    pub fn cancelled(&self, cancel: &Request) -> Option<TxId> {
        let via = cancel.headers.top_via().ok()?;
        let tx = *self.servers.get(&ServerKey::of(cancel, &via, &Method::INVITE))?;
        let entry = self.entries.get(&tx)?;
        matches!(&entry.machine, Machine::InviteServer(_)).then_some(tx)
    }

    /// Whether a CANCEL may leave for this INVITE: a 1xx came, no final answer.
    pub fn may_cancel(&self, tx: TxId) -> bool {
        let machine = self.entries.get(&tx).map(|entry| &entry.machine);
        matches!(machine, Some(Machine::InviteClient(machine)) if machine.may_cancel())
    }

    /// Gives a request up: nothing more is sent or reported for it.
    pub fn forget(&mut self, tx: TxId) {
        self.remove(tx);
    }

    /// A connection is gone: open requests on it fail at once.
    pub fn flow_lost(&mut self, socket: u64) {
        for tx in self.on_streams.remove(&socket).unwrap_or_default() {
            let is_open = self.entries.get(&tx).is_some_and(|entry| entry.machine.is_open_client());
            if is_open {
                self.events.push_back(Event::Failed { tx, status: 503 });
                self.remove(tx);
            }
        }
    }

    /// Something may be due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, tx)) = self.deadlines.pop(now) {
            let Some(entry) = self.entries.get_mut(&tx) else { continue };
            if entry.armed != Some(at) {
                continue;
            }
            entry.armed = None;
            match &mut entry.machine {
                Machine::InviteClient(machine) => match machine.handle_timeout(now) {
                    invite_client::Action::SendRequest => {
                        self.sends.push_back((entry.flow, entry.last.clone()));
                    }
                    invite_client::Action::TimedOut => {
                        self.events.push_back(Event::Failed { tx, status: 408 });
                    }
                    _ => {}
                },
                Machine::Client(machine) => match machine.handle_timeout(now) {
                    client::Action::SendRequest => {
                        self.sends.push_back((entry.flow, entry.last.clone()));
                    }
                    client::Action::TimedOut => {
                        self.events.push_back(Event::Failed { tx, status: 408 });
                    }
                    _ => {}
                },
                Machine::InviteServer(machine) => {
                    let action = machine.handle_timeout(now);
                    self.invite_server_action(tx, action);
                }
                Machine::Server(machine) => {
                    machine.handle_timeout(now);
                }
            }
            self.settle(tx, now);
        }
    }

    fn insert(
        &mut self,
        machine: Machine,
        key: Key,
        flow: Flow,
        request: Option<Box<Request>>,
        now: Instant,
    ) -> TxId {
        self.next_id += 1;
        let tx = TxId(self.next_id);
        match &key {
            Key::Client(key) => self.clients.insert(key.clone(), tx),
            Key::Server(key) => self.servers.insert(key.clone(), tx),
        };
        let entry = Entry {
            machine,
            key,
            flow,
            last: Bytes::new(),
            request,
            ack: Bytes::new(),
            armed: None,
        };
        self.entries.insert(tx, Box::new(entry));
        self.settle(tx, now);
        tx
    }

    /// After a step: forget what ended, queue the next deadline.
    fn settle(&mut self, tx: TxId, now: Instant) {
        let Some(entry) = self.entries.get_mut(&tx) else { return };
        if entry.machine.is_terminated() {
            return self.remove(tx);
        }
        let Some(at) = entry.machine.next_timeout() else { return };
        if entry.armed != Some(at) {
            entry.armed = Some(at);
            self.deadlines.push(now, at, tx);
        }
    }

    fn remove(&mut self, tx: TxId) {
        let Some(entry) = self.entries.remove(&tx).map(|entry| *entry) else { return };
        match entry.key {
            Key::Client(key) => {
                self.clients.remove(&key);
                self.events.push_back(Event::Done { tx });
                if entry.flow.protocol.is_reliable()
                    && let Some(list) = self.on_streams.get_mut(&entry.flow.socket)
                {
                    list.remove(&tx);
                    if list.is_empty() {
                        self.on_streams.remove(&entry.flow.socket);
                    }
                }
            }
            Key::Server(key) => {
                self.servers.remove(&key);
            }
        }
    }
}

/// Where a response goes: back over the connection; over datagrams to the port in the Via unless `rport` was asked for.
pub fn reply_flow(flow: Flow, via: &Via) -> Flow {
    if flow.protocol.is_reliable() || via.wants_rport() {
        return flow;
    }
    let port = via.port.unwrap_or(flow.protocol.default_port());
    Flow { peer: SocketAddr::new(flow.peer.ip(), port), ..flow }
}

/// RFC 3261 section 17.1.1.3: the ACK of a refusal has the Via, Request-URI and Route of the INVITE and the To of the
/// response.
fn ack_of_refusal(invite: &Request, response: &Response) -> Request {
    let mut ack = Request::new(Method::ACK, invite.uri.clone());
    if let Ok(via) = invite.headers.top_via() {
        ack.headers.push_typed(&via);
    }
    for name in [Name::Route, Name::MaxForwards, Name::From] {
        ack.headers.copy_from(&invite.headers, name);
    }
    ack.headers.copy_from(&response.headers, Name::To);
    ack.headers.copy_from(&invite.headers, Name::CallId);
    if let Ok(cseq) = invite.headers.cseq() {
        ack.headers.push_typed(&CSeq::new(cseq.number, Method::ACK));
    }
    ack
}
