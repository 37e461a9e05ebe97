//! The SIP server without its sockets (RFC 3261 sections 8, 10 and 12): registrar, user agent of calls and messages,
//! notifier of events.
//!
//! [`Core`] is one machine over the transaction layer. Messages, commands and the results of jobs go in; [`Output`]s
//! come out. What needs a port is a [`Job`]: the driver does it and brings the result back, so nothing here waits. One
//! task owns it, so nothing here is locked.
//!
//! | module | duty |
//! |---|---|
//! | `dispatch` | what a request is, and which module takes it |
//! | `gate`, `identity` | who is asking (digest), how often, and what others may know of it |
//! | `foreign` | requests from other domains |
//! | `registrar`, `bind`, `leaving`, `gruu` | where the phones are, what a REGISTER changes, the addresses of one phone |
//! | `outbound` | the ways to a phone |
//! | `wake` | phones that sleep |
//! | `locate` | the ways to hosts that nobody registered from |
//! | `calling`, `invite`, `early`, `reliable` | calls: ours and theirs until they are answered |
//! | `session`, `change`, `refer` | calls that are up, their changes, transfers |
//! | `trunk`, `registration`, `supervision` | servers that are no phones of ours: their calls, ours, that they know where we are, and whether they are there |
//! | `message` | single messages, both ways |
//! | `events`, `notifier` | what phones can watch, and that they are told |
//! | `winfo`, `dialog_event`, `message_summary`, `resource_list` | the documents that tell it |
//! | `subscriber` | what we watch |
//! | `publish` | what phones say about themselves |

mod bind;
pub mod binding;
mod calling;
mod change;
pub mod conference;
pub mod dialog_event;
mod dispatch;
mod dtmf_info;
mod early;
pub mod events;
mod foreign;
mod gate;
mod gruu;
pub mod identity;
mod ids;
mod invite;
mod leaving;
pub mod locate;
mod markup;
mod message;
pub mod message_summary;
mod notifier;
mod outbound;
mod publish;
mod refer;
mod reg_event;
mod registrar;
mod registration;
mod reliable;
pub mod resource_list;
mod send;
mod session;
mod subscriber;
mod supervision;
#[cfg(test)]
mod tests;
mod trunk;
mod wake;
pub mod winfo;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use self::binding::Binding;
use self::foreign::Strangers;
use self::gate::Gate;
use self::gruu::Gruus;
use self::ids::Ids;
use self::invite::Leg;
use self::notifier::Watch;
use self::publish::Publications;
use self::registrar::Registrar;
use self::registration::Registration;
use self::subscriber::Watchings;
use self::supervision::Supervised;
use self::wake::Waking;
use crate::auth::Algorithm;
use crate::config::Config;
use crate::dialog::DialogId;
use crate::msg::header::Push;
use crate::msg::{Message, ParseError, Request};
use crate::ports::{
    IncomingMessage, LegEvent, LegId, Login, MessageReply, MessageResult, Publication,
    PublicationId, Refusal, StoreError, Subscription, SubscriptionEnd, SubscriptionId, WatchEvent,
    WatchId,
};
use crate::transaction::timers::Deadlines;
use crate::transaction::{Layer, TxId};
use crate::transport::{Avoided, Flow, Hop, Protocol, Search};

/// Names a job while it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobId(u64);

/// Names a message that the gateway waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// What has to be done outside.
#[derive(Debug)]
pub enum Output {
    /// Bytes leave over a flow.
    Send(Flow, Bytes),
    /// A connection has to be opened; sends over it follow at once and wait for it. Under TLS, the certificate has to be
    /// for this name.
    Connect(Flow, Option<String>),
    /// Somebody outside has to be asked; the answer comes back by [`Core::job_done`].
    Job(JobId, Job),
    /// Something happened on a leg.
    Leg(LegId, LegEvent),
    /// The phones of an account are these now, one binding each.
    Bindings {
        /// Whose.
        account: String,
        /// Those that are registered.
        phones: Vec<Arc<Binding>>,
        /// Those whose registration has ended, but that can be woken.
        asleep: Vec<Arc<Binding>>,
    },
    /// These bindings of an account last longer, and nothing else about them is new: the REGISTER is confirmed already, and
    /// they may be kept a little later.
    Refreshed(String, Vec<Arc<Binding>>),
    /// A subscription is over.
    SubscriptionEnded(SubscriptionId, SubscriptionEnd),
    /// What a phone published is over.
    Unpublished(PublicationId),
    /// Something was heard about what we watch.
    Watched(WatchId, WatchEvent),
    /// A trunk knows where we are, or does not any more.
    Trunk(String, bool),
    /// A trunk is there again, or is not.
    TrunkThere(String, bool),
    /// A message of ours got its final answer.
    MessageDone(Ticket, MessageResult),
    /// Something was turned away before it was asked who it is.
    TurnedAway(IpAddr, Refusal),
    /// Whoever is there is in a call.
    Known(IpAddr),
    /// A password was tried.
    Tried {
        /// From where.
        peer: IpAddr,
        /// For which account.
        account: String,
        /// Whether it was right.
        ok: bool,
    },
}

/// A question for a port.
#[derive(Debug)]
pub enum Job {
    /// The digest hash of a user, unless this peer has to wait.
    Password {
        /// The domain.
        realm: String,
        /// The user.
        user: String,
        /// Which hash.
        algorithm: Algorithm,
        /// Who asks.
        peer: IpAddr,
    },
    /// Bindings have to be kept.
    Save {
        /// Whose.
        account: String,
        /// All of them.
        bindings: Vec<Arc<Binding>>,
    },
    /// A message came.
    Message(Box<IncomingMessage>),
    /// A phone subscribes or refreshes.
    Subscribe(Box<Subscription>),
    /// A phone tells its state.
    Publish(Box<Publication>),
    /// A phone has to be woken.
    Push(Box<Push>),
    /// A host has to be found.
    Locate(Box<Search>),
}

/// What a port said.
#[derive(Debug)]
pub enum JobResult {
    /// The hash, or nothing for an unknown user.
    Password(Result<Option<String>, StoreError>),
    /// Too many wrong passwords: not before this time has passed.
    MustWait(Duration),
    /// The bindings are kept, or not.
    Saved(Result<(), StoreError>),
    /// What becomes of the message.
    Message(MessageReply),
    /// The subscription is taken, or refused with a status.
    Subscribe(Result<(), u16>),
    /// The state is taken, or refused with a status.
    Publish(Result<(), u16>),
    /// Whether the push service takes care of it.
    Pushed(bool),
    /// Where the host is.
    Located(Vec<Hop>),
}

/// Whose a request of ours is.
enum Owner {
    Invite(LegId, Box<Request>),
    Reinvite(LegId),
    Message(Ticket),
    Notify(SubscriptionId),
    /// A SUBSCRIBE: the first, or one in a dialog.
    Subscribe(WatchId, Option<DialogId>),
    /// A REGISTER of ours, and the flow it left by.
    Trunk(usize, Flow),
    /// A question to a trunk.
    Supervision(usize),
    /// A BYE for who may ask who we are.
    Bye(Box<(Request, Flow, Login)>),
    /// Nobody cares how it ends: BYE, CANCEL.
    Nobody,
}

/// What waits for a job.
enum Waiting {
    Gate(gate::Gated),
    Register(Box<registrar::Registering>),
    /// Bindings ran out; nobody waits.
    Expired(String),
    Message(TxId, Box<Request>),
    Subscribe(notifier::Subscribing),
    Publish(publish::Publishing),
    Locate(locate::Wish),
    /// A call waits for a phone to wake up.
    Push(LegId),
    /// A domain says that a request is from it.
    Foreign(Box<foreign::Claim>),
    /// A phone is asked to register; nobody waits.
    Nudge,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Leg(LegId),
    Watch(SubscriptionId),
    Watching(WatchId),
    Publication(String),
    Registration(String),
    Trunk(usize),
    Supervision(usize),
}

/// How much is in work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Transactions; each is kept up to 32 s after its end, for what comes late.
    pub transactions: usize,
    /// Calls and what may become one.
    pub dialogs: usize,
    /// Subscriptions to us, and of ours.
    pub subscriptions: usize,
    /// Accounts with a phone.
    pub accounts: usize,
    /// Stream connections.
    pub connections: usize,
}

/// Where we listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// The protocol.
    pub protocol: Protocol,
    /// The socket's number in flows; of streams, connections have their own.
    pub socket: u64,
    /// The address that peers are told.
    pub local: SocketAddr,
    /// Where that is none: our addresses, one a family, as whom we write to first is told.
    pub outward: [Option<IpAddr>; 2],
}

/// The server.
pub struct Core {
    config: Config,
    listeners: Vec<Listening>,
    /// Monotonic and wall time of the same moment.
    origin: (Instant, SystemTime),
    ids: Ids,
    layer: Layer,
    gate: Gate,
    /// What came from other domains.
    strangers: Strangers,
    registrar: Registrar,
    gruus: Gruus,
    /// Who watches where an account is registered.
    reg_watches: HashMap<String, Vec<SubscriptionId>>,
    /// Ours, at trunks.
    registrations: Vec<Registration>,
    /// Trunks that are asked whether they are there.
    supervised: Vec<Supervised>,
    /// Messages that have another way to go.
    resends: HashMap<Ticket, outbound::Resend>,
    legs: HashMap<LegId, Leg>,
    /// Calls that wait for their phone to wake up.
    waking: HashMap<LegId, Waking>,
    /// Phones that were asked lately to register.
    nudged: HashMap<Push, Instant>,
    leg_of_dialog: HashMap<DialogId, LegId>,
    leg_of_invite: HashMap<TxId, LegId>,
    /// Their INVITEs in work by what they have in common whatever way they came (section 8.2.2.2).
    leg_of_call: HashMap<invite::CallName, LegId>,
    next_leg: u64,
    watches: HashMap<SubscriptionId, Watch>,
    watch_of_dialog: HashMap<DialogId, SubscriptionId>,
    /// Subscriptions of each account.
    watch_counts: HashMap<String, usize>,
    next_watch: u64,
    watchings: Watchings,
    publications: Publications,
    owners: HashMap<TxId, Owner>,
    jobs: HashMap<JobId, Waiting>,
    next_job: u64,
    timers: Deadlines<Timer>,
    streams: HashMap<u64, Flow>,
    stream_to: HashMap<(Protocol, SocketAddr), u64>,
    next_socket: u64,
    connects: VecDeque<(Flow, Option<String>)>,
    /// Whose certificate the connections that we opened under TLS have shown.
    stream_names: HashMap<u64, String>,
    /// What the certificates of those who opened one to us have proven (RFC 5922).
    shown_names: HashMap<u64, Vec<String>>,
    /// Whether nothing new is taken any more.
    is_closed: bool,
    /// Places that did not answer lately.
    avoided: Avoided,
    outputs: VecDeque<Output>,
}

/// Sockets that the core opens have numbers from here on; what the driver accepts is below.
const OWN_SOCKETS: u64 = 1 << 63;

impl Core {
    /// A server with what was registered before it stopped. `seed` is random; `now` and `wall` are one moment.
    pub fn new(
        config: Config,
        listeners: Vec<Listening>,
        bindings: Vec<Binding>,
        seed: [u8; 32],
        now: Instant,
        wall: SystemTime,
    ) -> Self {
        let gate = Gate::new(&config, seed, now);
        let mut core = Self {
            config,
            listeners,
            origin: (now, wall),
            ids: Ids::new(seed),
            layer: Layer::default(),
            gate,
            strangers: Strangers::new(now),
            registrar: Registrar::default(),
            gruus: Gruus::new(seed),
            reg_watches: HashMap::new(),
            registrations: Vec::new(),
            supervised: Vec::new(),
            resends: HashMap::new(),
            legs: HashMap::new(),
            waking: HashMap::new(),
            nudged: HashMap::new(),
            leg_of_dialog: HashMap::new(),
            leg_of_invite: HashMap::new(),
            leg_of_call: HashMap::new(),
            next_leg: 0,
            watches: HashMap::new(),
            watch_of_dialog: HashMap::new(),
            watch_counts: HashMap::new(),
            next_watch: 0,
            watchings: Watchings::default(),
            publications: Publications::default(),
            owners: HashMap::new(),
            jobs: HashMap::new(),
            next_job: 0,
            timers: Deadlines::default(),
            streams: HashMap::new(),
            stream_to: HashMap::new(),
            next_socket: OWN_SOCKETS,
            connects: VecDeque::new(),
            stream_names: HashMap::new(),
            shown_names: HashMap::new(),
            is_closed: false,
            avoided: Avoided::default(),
            outputs: VecDeque::new(),
        };
        core.load_bindings(bindings, now);
        core.begin_registrations(now);
        core.begin_supervision(now);
        core
    }

    /// What has to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        // What is to be sent over a connection comes after the wish to open it.
        if let Some((flow, name)) = self.connects.pop_front() {
            return Some(Output::Connect(flow, name));
        }
        if let Some((flow, bytes)) = self.layer.poll_send() {
            return Some(Output::Send(flow, bytes));
        }
        self.outputs.pop_front()
    }

    /// When to call [`Core::handle_timeout`].
    pub fn next_timeout(&self) -> Option<Instant> {
        [self.layer.next_timeout(), self.timers.next()].into_iter().flatten().min()
    }

    /// A message arrived.
    pub fn handle_message(&mut self, message: Message, flow: Flow, now: Instant) {
        let is_too_much = self.is_closed || self.layer.len() >= self.config.max_transactions;
        self.receive(message, flow, is_too_much, now);
    }

    /// A message arrived, and nobody had time for it until now: what is new is refused. Its sender hears so before it asks
    /// again, and whoever runs is served meanwhile (RFC 3261 section 21.5.4).
    pub fn handle_late(&mut self, message: Message, flow: Flow, now: Instant) {
        self.receive(message, flow, true, now);
    }

    /// Nothing new is taken from now on: the server is about to stop.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// The server stops: who calls and was not answered hears so.
    pub fn stop(&mut self, now: Instant) {
        self.close();
        let is_called = |(id, leg): (&LegId, &Leg)| matches!(leg, Leg::Called(_)).then_some(*id);
        let called: Vec<LegId> = self.legs.iter().filter_map(is_called).collect();
        for leg in called {
            self.reject(leg, 503, None, Vec::new(), now);
        }
    }

    /// What goes on or ends is never turned away.
    fn receive(&mut self, message: Message, flow: Flow, is_too_much: bool, now: Instant) {
        if is_too_much
            && let Message::Request(request) = &message
            && dispatch::may_be_shed(request)
            && !self.layer.knows(request)
        {
            return self.refuse_statelessly(request, flow, now);
        }
        self.layer.handle_message(message, flow, now);
        self.run_events(now);
    }

    /// Bytes arrived that are no message we go on with: they are answered without state, or not at all.
    pub fn handle_bad(&mut self, error: &ParseError, flow: Flow, now: Instant) {
        if error.status().is_none() || self.is_flood(flow, now) {
            return;
        }
        let tag = self.ids.token();
        if let Some(response) = error.response(&tag) {
            self.answer_statelessly(response, flow);
        }
    }

    /// A connection was accepted.
    pub fn stream_opened(&mut self, flow: Flow) {
        self.streams.insert(flow.socket, flow);
        self.stream_to.insert((flow.protocol, flow.peer), flow.socket);
    }

    /// Whoever opened a connection to us has proven these names by its certificate.
    pub fn stream_proven(&mut self, socket: u64, names: Vec<String>) {
        self.shown_names.insert(socket, names);
    }

    /// A connection is gone, or could not be opened.
    pub fn stream_closed(&mut self, socket: u64, now: Instant) {
        if let Some(flow) = self.streams.remove(&socket) {
            let place = (flow.protocol, flow.peer);
            if self.stream_to.get(&place) == Some(&socket) {
                self.stream_to.remove(&place);
            }
        }
        self.stream_names.remove(&socket);
        self.shown_names.remove(&socket);
        self.layer.flow_lost(socket);
        self.socket_lost(socket, now);
        self.run_events(now);
    }

    /// Whoever is there is not a stranger any more.
    fn known(&mut self, flow: Flow) {
        self.outputs.push_back(Output::Known(flow.peer.ip()));
    }

    /// A port answered.
    pub fn job_done(&mut self, id: JobId, result: JobResult, now: Instant) {
        let Some(waiting) = self.jobs.remove(&id) else { return };
        match (waiting, result) {
            (Waiting::Gate(gated), result) => self.password_found(gated, result, now),
            (Waiting::Register(registering), JobResult::Saved(result)) => {
                self.registered(*registering, result, now);
            }
            (Waiting::Nudge, _) => {}
            (Waiting::Expired(account), _) => self.next_registration(&account, now),
            (Waiting::Message(tx, request), JobResult::Message(reply)) => {
                self.message_answered(tx, &request, reply, now);
            }
            (Waiting::Subscribe(subscribing), JobResult::Subscribe(result)) => {
                self.subscribe_answered(subscribing, result, now);
            }
            (Waiting::Publish(publishing), JobResult::Publish(result)) => {
                self.state_judged(publishing, result, now);
            }
            (Waiting::Push(leg), JobResult::Pushed(is_taken)) => self.pushed(leg, is_taken, now),
            (Waiting::Locate(wish), JobResult::Located(hops)) => self.located(wish, hops, now),
            (Waiting::Foreign(claim), JobResult::Located(hops)) => {
                self.claim_judged(*claim, &hops, now);
            }
            // The driver answers each job with its own kind of result.
            (
                Waiting::Register(_)
                | Waiting::Message(..)
                | Waiting::Subscribe(_)
                | Waiting::Publish(_)
                | Waiting::Locate(_)
                | Waiting::Push(_)
                | Waiting::Foreign(_),
                _,
            ) => {}
        }
        self.run_events(now);
    }

    /// Something may be due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.layer.handle_timeout(now);
        self.run_events(now);
        if self.timers.is_crowded() {
            self.drop_stale_timers();
        }
        while let Some((at, timer)) = self.timers.pop(now) {
            match timer {
                Timer::Leg(leg) => self.leg_due(leg, now),
                Timer::Watch(id) => self.watch_due(id, at, now),
                Timer::Watching(id) => self.watching_due(id, now),
                Timer::Publication(account) => self.publications_due(&account, now),
                Timer::Registration(account) => self.registration_due(&account, at, now),
                Timer::Trunk(at) => self.register_due(at, now),
                Timer::Supervision(at) => self.supervision_due(at, now),
            }
            self.run_events(now);
        }
    }

    /// Timers of what is over: a call sets one for half an hour, and lasts a minute.
    fn drop_stale_timers(&mut self) {
        let Self { timers, legs, waking, watches, watchings, registrar, .. } = self;
        timers.drop_stale(|at, timer| match timer {
            Timer::Leg(leg) => legs.contains_key(leg) || waking.contains_key(leg),
            Timer::Watch(id) => watches.get(id).is_some_and(|watch| watch.due == Some(at)),
            Timer::Watching(id) => watchings.knows(*id),
            Timer::Registration(account) => {
                registrar.accounts.get(account).is_some_and(|entry| entry.due == Some(at))
            }
            Timer::Publication(_) | Timer::Trunk(_) | Timer::Supervision(_) => true,
        });
    }

    /// How much is in work.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            transactions: self.layer.len(),
            dialogs: self.legs.len() + self.waking.len(),
            subscriptions: self.watches.len() + self.watchings.len(),
            accounts: self.registrar.len(),
            connections: self.streams.len(),
        }
    }

    /// Whether every request of ours has its final answer, or none will come.
    pub fn is_quiet(&self) -> bool {
        !self.owners.keys().any(|tx| self.layer.is_open(*tx))
    }

    fn turn_away(&mut self, flow: Flow, why: Refusal) {
        self.outputs.push_back(Output::TurnedAway(flow.peer.ip(), why));
    }

    fn job(&mut self, waiting: Waiting, job: Job) {
        self.next_job += 1;
        let id = JobId(self.next_job);
        self.jobs.insert(id, waiting);
        self.outputs.push_back(Output::Job(id, job));
    }

    /// Seconds since 1970.
    fn unix_time(&self, now: Instant) -> u64 {
        let (origin, wall) = self.origin;
        let wall = wall + now.saturating_duration_since(origin);
        wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}
