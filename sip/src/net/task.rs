//! The task that owns the core: everything in, everything out, jobs beside it.
//!
//! It works in short turns: what has come is read at once, so that nothing is lost in the kernel, and waits in the backlog;
//! a few pieces are worked on; then others of this thread, who end what was begun, have theirs.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot};

use super::handle::Command;
use super::stream::Doorman;
use super::udp::{Reader, readable};
use crate::config::Config;
use crate::msg::{Limits, Message, ParseError, parse_datagram};
use crate::ports::{Binding, MessageResult, Ports, Refusal};
use crate::service::locate;
use crate::service::{Core, Gauges, Job, JobId, JobResult, Output, Ticket};
use crate::transport::{Backlog, Budgets, Class, Flow, Protocol, call_of_bytes};

/// What the sockets tell the core.
pub(super) enum Inbound {
    /// A message that was read then, or what is wrong with it.
    Message { flow: Flow, message: Box<Result<Message, ParseError>>, at: Instant },
    /// A connection was accepted; `writer` takes what is for it.
    Opened { flow: Flow, writer: mpsc::Sender<Bytes> },
    /// Who is about to open a connection has shown a certificate that speaks for these domains.
    Proven { socket: u64, names: Vec<String> },
    /// A connection is gone.
    Closed { socket: u64 },
}

type Jobs = FuturesUnordered<Pin<Box<dyn Future<Output = (JobId, JobResult)> + Send>>>;

/// What the addresses may send; streams are charged where they are read.
pub(super) type SharedBudgets = Arc<Mutex<Budgets>>;

/// Datagrams that are worked on, that are refused, and batches of connections that are taken before others have their turn.
const WORKED_ON: usize = 32;
const REFUSED: usize = 32;
const BATCHES: usize = 16;
/// Between looks at how much is in work.
const SECOND: Duration = Duration::from_secs(1);
/// How long a stop waits for BYE and NOTIFY to be answered.
const FAREWELL: Duration = Duration::from_secs(4);
/// Between looks whether they are.
const LOOK: Duration = Duration::from_millis(20);

pub(super) struct Task {
    core: Core,
    ports: Ports,
    sockets: Vec<Reader>,
    backlog: Backlog<Bytes>,
    budgets: SharedBudgets,
    /// Datagrams that were lost as too many waited already.
    lost: u64,
    doorman: Doorman,
    limits: Limits,
    writers: HashMap<u64, mpsc::Sender<Bytes>>,
    jobs: Jobs,
    tickets: HashMap<Ticket, oneshot::Sender<MessageResult>>,
    next_ticket: u64,
    stopping: Option<(Instant, oneshot::Sender<()>)>,
    gauges: Arc<Mutex<Gauges>>,
    /// Trunks that do not answer.
    away: Arc<Mutex<HashSet<String>>>,
    read_at: Instant,
    look_at: Instant,
}

impl Task {
    pub(super) fn new(
        core: Core,
        ports: Ports,
        sockets: Vec<Reader>,
        (doorman, budgets): (Doorman, SharedBudgets),
        (gauges, away): (Arc<Mutex<Gauges>>, Arc<Mutex<HashSet<String>>>),
    ) -> Self {
        Self {
            core,
            ports,
            sockets,
            backlog: Backlog::default(),
            budgets,
            lost: 0,
            limits: doorman.limits,
            doorman,
            writers: HashMap::new(),
            jobs: FuturesUnordered::new(),
            tickets: HashMap::new(),
            next_ticket: 0,
            stopping: None,
            gauges,
            away,
            read_at: Instant::now(),
            look_at: Instant::now(),
        }
    }

    pub(super) async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Vec<Inbound>>,
        mut commands: mpsc::UnboundedReceiver<Command>,
    ) {
        self.flush();
        loop {
            if self.backlog.is_empty() {
                let due = self.core.next_timeout();
                let look = self.look_at;
                let farewell = self.stopping.as_ref().map(|(at, _)| look.min(*at));
                tokio::select! {
                    Some((id, result)) = self.jobs.next(), if !self.jobs.is_empty() => {
                        self.core.job_done(id, result, Instant::now());
                    }
                    command = commands.recv() => match command {
                        Some(command) => self.command(command),
                        // The last handle is gone.
                        None => return,
                    },
                    Some(batch) = inbox.recv() => self.batch(batch),
                    () = readable(&self.sockets) => {}
                    () = sleep_until(due) => {}
                    () = sleep_until(farewell) => {}
                }
            } else {
                tokio::task::yield_now().await;
            }
            self.turn(&mut inbox, &mut commands);
            if self.is_done()
                && let Some((_, done)) = self.stopping.take()
            {
                let _ = done.send(());
                return;
            }
        }
    }

    /// Whether the server is to stop, and everybody has answered who was told goodbye, or has had the time.
    fn is_done(&mut self) -> bool {
        let Some((farewell, _)) = &self.stopping else { return false };
        let now = Instant::now();
        if *farewell <= now {
            return true;
        }
        // A look through all: not in each turn.
        if now < self.look_at {
            return false;
        }
        self.look_at = now + LOOK;
        self.core.is_quiet()
    }

    /// Whatever woke us: what has come is taken in, what is due is due, and what came together leaves together.
    fn turn(
        &mut self,
        inbox: &mut mpsc::Receiver<Vec<Inbound>>,
        commands: &mut mpsc::UnboundedReceiver<Command>,
    ) {
        self.read();
        while let Ok(command) = commands.try_recv() {
            self.command(command);
        }
        while !self.jobs.is_empty()
            && let Some(Some((id, result))) = self.jobs.next().now_or_never()
        {
            self.core.job_done(id, result, Instant::now());
        }
        for _ in 0..BATCHES {
            let Ok(batch) = inbox.try_recv() else { break };
            self.batch(batch);
        }
        self.work();
        self.core.handle_timeout(Instant::now());
        self.flush();
        self.read_gauges();
    }

    /// Takes in what the sockets of datagrams have.
    fn read(&mut self) {
        let now = Instant::now();
        let Self { sockets, backlog, budgets, lost, .. } = self;
        let mut budgets = budgets.lock().unwrap_or_else(PoisonError::into_inner);
        for socket in sockets {
            let take = |flow, datagram: Bytes| {
                let class = Class::of_bytes(&datagram);
                if datagram.starts_with(b"CANCEL ") {
                    let call = call_of_bytes(&datagram);
                    backlog.hasten(|from, other: &Bytes| {
                        *from == flow && call_of_bytes(other) == call
                    });
                }
                *lost += u64::from(!backlog.push(class, flow, datagram, now));
            };
            socket.read(|peer| budgets.admits(peer, now), take);
        }
        while let Some((peer, count)) = budgets.poll_over() {
            self.ports.accounts.turned_away(peer, Refusal::Budget, count);
        }
    }

    /// Refuses what waits too long, and goes on with the most urgent of the rest.
    fn work(&mut self) {
        let now = Instant::now();
        for _ in 0..REFUSED {
            let Some((flow, datagram)) = self.backlog.pop_late(now) else { break };
            self.datagram(flow, datagram, true, now);
        }
        for _ in 0..WORKED_ON {
            let Some((flow, datagram)) = self.backlog.pop(now) else { break };
            self.datagram(flow, datagram, false, now);
        }
    }

    fn datagram(&mut self, flow: Flow, datagram: Bytes, is_late: bool, now: Instant) {
        match parse_datagram(datagram, &self.limits) {
            Ok(message) if is_late => self.core.handle_late(message, flow, now),
            Ok(message) => self.core.handle_message(message, flow, now),
            Err(error) => self.core.handle_bad(&error, flow, now),
        }
    }

    fn batch(&mut self, batch: Vec<Inbound>) {
        let now = Instant::now();
        for inbound in batch {
            self.inbound(inbound, now);
        }
    }

    /// For whoever asks how much is in work, each second and whenever the last of it is done.
    fn read_gauges(&mut self) {
        let (now, gauges) = (Instant::now(), self.core.gauges());
        if gauges.transactions == 0 || now.saturating_duration_since(self.read_at) >= SECOND {
            self.read_at = now;
            *self.gauges.lock().unwrap_or_else(PoisonError::into_inner) = gauges;
            let lost = std::mem::take(&mut self.lost);
            if lost > 0 {
                tracing::warn!(lost, "more came than could even be refused");
            }
        }
    }

    fn inbound(&mut self, inbound: Inbound, now: Instant) {
        match inbound {
            Inbound::Message { flow, message, at } => match *message {
                Ok(message) if Class::of(&message).is_late(at, now) => {
                    self.core.handle_late(message, flow, now);
                }
                Ok(message) => self.core.handle_message(message, flow, now),
                Err(error) => self.core.handle_bad(&error, flow, now),
            },
            Inbound::Opened { flow, writer } => {
                self.writers.insert(flow.socket, writer);
                self.core.stream_opened(flow);
            }
            Inbound::Proven { socket, names } => self.core.stream_proven(socket, names),
            Inbound::Closed { socket } => {
                self.writers.remove(&socket);
                self.core.stream_closed(socket, now);
            }
        }
    }

    fn command(&mut self, command: Command) {
        let now = Instant::now();
        let core = &mut self.core;
        match command {
            Command::Invite(leg, call) => core.invite(leg, *call, now),
            Command::Ring(leg, status, sdp) => core.ring(leg, status, sdp, now),
            Command::Answer(leg, sdp, fields) => {
                core.say_in_answer(leg, fields);
                core.accept(leg, sdp, now);
            }
            Command::Reject(leg, status, reason, headers) => {
                core.reject(leg, status, reason.as_deref(), headers, now);
            }
            Command::HangUp(leg, reason) => core.hang_up(leg, reason, now),
            Command::Reinvite(leg, offer) => core.reinvite(leg, offer, now),
            Command::AnswerReinvite(leg, answer) => core.answer_reinvite(leg, answer, now),
            Command::AnswerRefer(leg, status) => core.answer_refer(leg, status, now),
            Command::AnswerDigit(leg, status) => core.answer_digit(leg, status, now),
            Command::ReferProgress(leg, status) => core.refer_progress(leg, status, now),
            Command::Notify(id, state, document) => core.notify(id, state, document, now),
            Command::Watch(id, wish) => core.watch(id, *wish, now),
            Command::Unwatch(id) => core.unwatch(id, now),
            Command::Nudge(phone) => core.nudge(&phone, now),
            Command::Message(message, done) => {
                self.next_ticket += 1;
                let ticket = Ticket(self.next_ticket);
                self.tickets.insert(ticket, done);
                core.send_message(ticket, *message, now);
            }
            Command::Bindings(account, done) => {
                let _ = done.send(core.bindings(&account).to_vec());
            }
            Command::Close => core.close(),
            Command::Stop(done) => {
                core.stop(now);
                self.stopping = Some((now + FAREWELL, done));
            }
        }
    }

    /// Does what the core decided.
    fn flush(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send(flow, bytes) => self.send(flow, bytes),
                Output::Connect(flow, name) => {
                    self.writers.insert(flow.socket, self.doorman.connect(flow, name));
                }
                Output::Job(id, job) => {
                    let ports = self.ports.clone();
                    let mut work = Box::pin(async move { work(&ports, job).await });
                    // What a cache knows needs no turn of its own.
                    match (&mut work).now_or_never() {
                        Some(result) => self.core.job_done(id, result, Instant::now()),
                        None => self.jobs.push(Box::pin(async move { (id, work.await) })),
                    }
                }
                Output::Leg(leg, event) => self.ports.calls.event(leg, event),
                Output::Bindings { account, phones, asleep } => {
                    self.ports.bindings.changed(&account, &phones, &asleep);
                }
                Output::Refreshed(account, bindings) => {
                    self.ports.bindings.refreshed(&account, &bindings);
                }
                Output::SubscriptionEnded(id, why) => self.ports.events.ended(id, why),
                Output::Unpublished(id) => self.ports.events.unpublished(id),
                Output::Watched(id, event) => self.ports.events.watched(id, event),
                Output::Trunk(trunk, true) => tracing::info!(trunk, "registered at a trunk"),
                Output::Trunk(trunk, false) => {
                    tracing::error!(trunk, "a trunk does not know where we are");
                }
                Output::TrunkThere(trunk, is_there) => {
                    let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
                    if is_there {
                        tracing::info!(trunk, "a trunk is back");
                        away.remove(&trunk);
                    } else {
                        tracing::error!(trunk, "a trunk does not answer");
                        away.insert(trunk);
                    }
                }
                Output::MessageDone(ticket, result) => {
                    if let Some(done) = self.tickets.remove(&ticket) {
                        let _ = done.send(result);
                    }
                }
                Output::TurnedAway(peer, why) => {
                    if why == Refusal::Scanner {
                        self.budgets().suspect(peer, Instant::now());
                    }
                    self.ports.accounts.turned_away(peer, why, 1);
                }
                Output::Tried { peer, account, ok } => {
                    let now = Instant::now();
                    match ok {
                        true => self.budgets().vouch(peer, now),
                        false => self.budgets().suspect(peer, now),
                    }
                    self.ports.accounts.tried(peer, &account, ok)
                }
                Output::Known(peer) => self.budgets().vouch(peer, Instant::now()),
            }
        }
    }

    fn budgets(&self) -> MutexGuard<'_, Budgets> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&mut self, flow: Flow, bytes: Bytes) {
        if flow.protocol == Protocol::Udp {
            let socket = self.sockets.iter().find(|socket| socket.number == flow.socket);
            // A full buffer loses a datagram, as the network may; what matters is sent again.
            if let Some(Reader { socket, is_v6, .. }) = socket
                && let Err(error) = socket.try_send_to(&bytes, peer_on(*is_v6, flow.peer))
            {
                tracing::debug!(peer = %flow.peer, %error, "a datagram did not leave");
            }
            return;
        }
        let is_stuck = match self.writers.get(&flow.socket) {
            Some(writer) => writer.try_send(bytes).is_err(),
            None => false,
        };
        if is_stuck {
            // Without its writer the connection closes, and says so.
            self.writers.remove(&flow.socket);
        }
    }
}

/// What addresses may send, of which trunks may send all.
pub(super) fn budgets(config: &Config) -> SharedBudgets {
    let trunks = config.trunks.iter().flat_map(|trunk| &trunk.sources).map(|source| source.ip);
    let rate = config.max_messages_per_second;
    Arc::new(Mutex::new(Budgets::new(rate, trunks, Instant::now())))
}

/// Who was registered before we stopped is known.
pub(super) fn vouch_all(budgets: &SharedBudgets, bindings: &[Binding]) {
    let (mut budgets, now) =
        (budgets.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
    for binding in bindings {
        budgets.vouch(binding.flow.peer.ip(), now);
    }
}

/// An IPv6 socket writes to an IPv4 peer by its mapped address.
fn peer_on(is_v6: bool, peer: SocketAddr) -> SocketAddr {
    match peer.ip() {
        IpAddr::V4(ip) if is_v6 => SocketAddr::new(ip.to_ipv6_mapped().into(), peer.port()),
        _ => peer,
    }
}

/// Asks a port.
async fn work(ports: &Ports, job: Job) -> JobResult {
    match job {
        Job::Password { realm, user, algorithm, peer } => {
            let account = format!("{user}@{realm}");
            if let Some(time) = ports.accounts.must_wait(peer, &account) {
                return JobResult::MustWait(time);
            }
            JobResult::Password(ports.accounts.ha1(&realm, &user, algorithm).await)
        }
        Job::Save { account, bindings } => {
            JobResult::Saved(ports.bindings.save(&account, &bindings).await)
        }
        Job::Message(message) => JobResult::Message(ports.messages.message(*message).await),
        Job::Push(push) => JobResult::Pushed(ports.waker.wake(&push).await),
        Job::Locate(search) => JobResult::Located(locate::find(&*ports.names, *search).await),
        Job::Subscribe(subscription) => {
            JobResult::Subscribe(ports.events.subscribed(*subscription).await)
        }
        Job::Publish(publication) => JobResult::Publish(ports.events.published(*publication).await),
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
