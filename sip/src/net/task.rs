//! The task that owns the core: everything in, everything out, jobs beside it.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

use super::handle::Command;
use super::stream::Doorman;
use crate::msg::{Message, ParseError};
use crate::ports::{MessageResult, Ports};
use crate::service::locate;
use crate::service::{Core, Gauges, Job, JobId, JobResult, Output, Ticket};
use crate::transport::{Flow, Protocol};

/// What the sockets tell the core.
pub(super) enum Inbound {
    /// A message, or what is wrong with it.
    Message { flow: Flow, message: Box<Result<Message, ParseError>> },
    /// A socket was read: until nothing was left, or not.
    Read { socket: u64, drained: bool },
    /// A connection was accepted; `writer` takes what is for it.
    Opened { flow: Flow, writer: mpsc::Sender<Bytes> },
    /// Who is about to open a connection has shown a certificate that speaks for these domains.
    Proven { socket: u64, names: Vec<String> },
    /// A connection is gone.
    Closed { socket: u64 },
}

type Jobs = FuturesUnordered<Pin<Box<dyn Future<Output = (JobId, JobResult)> + Send>>>;

/// Between looks at how much is in work.
const SECOND: Duration = Duration::from_secs(1);
/// How long a stop waits for BYE and NOTIFY to be answered.
const FAREWELL: Duration = Duration::from_secs(1);

pub(super) struct Task {
    core: Core,
    ports: Ports,
    /// With their numbers, and whether they are of IPv6.
    sockets: Vec<(u64, Arc<UdpSocket>, bool)>,
    doorman: Doorman,
    writers: HashMap<u64, mpsc::Sender<Bytes>>,
    jobs: Jobs,
    tickets: HashMap<Ticket, oneshot::Sender<MessageResult>>,
    next_ticket: u64,
    stopping: Option<(Instant, oneshot::Sender<()>)>,
    gauges: Arc<Mutex<Gauges>>,
    /// Trunks that do not answer.
    away: Arc<Mutex<HashSet<String>>>,
    read_at: Instant,
}

impl Task {
    pub(super) fn new(
        core: Core,
        ports: Ports,
        sockets: Vec<(u64, Arc<UdpSocket>)>,
        doorman: Doorman,
        (gauges, away): (Arc<Mutex<Gauges>>, Arc<Mutex<HashSet<String>>>),
    ) -> Self {
        Self {
            core,
            ports,
            sockets: sockets
                .into_iter()
                .map(|(number, socket)| {
                    let is_v6 = socket.local_addr().is_ok_and(|addr| addr.is_ipv6());
                    (number, socket, is_v6)
                })
                .collect(),
            doorman,
            writers: HashMap::new(),
            jobs: FuturesUnordered::new(),
            tickets: HashMap::new(),
            next_ticket: 0,
            stopping: None,
            gauges,
            away,
            read_at: Instant::now(),
        }
    }

    pub(super) async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Vec<Inbound>>,
        mut commands: mpsc::UnboundedReceiver<Command>,
    ) {
        self.flush();
        loop {
            let due = self.core.next_timeout();
            let farewell = self.stopping.as_ref().map(|(at, _)| *at);
            tokio::select! {
                Some((id, result)) = self.jobs.next(), if !self.jobs.is_empty() => {
                    self.core.job_done(id, result, Instant::now());
                }
                command = commands.recv() => match command {
                    Some(command) => self.command(command),
                    // The last handle is gone.
                    None => return,
                },
                Some(batch) = inbox.recv() => {
                    let now = Instant::now();
                    for inbound in batch {
                        self.inbound(inbound, now);
                    }
                }
                () = sleep_until(due) => {}
                () = sleep_until(farewell) => {}
            }
            // Whatever woke us: what is due is due, and commands that came together leave together.
            while let Ok(command) = commands.try_recv() {
                self.command(command);
            }
            self.core.handle_timeout(Instant::now());
            self.flush();
            self.read_gauges();
            if let Some((at, _)) = &self.stopping
                && (*at <= Instant::now() || self.core.open_requests() == 0)
            {
                if let Some((_, done)) = self.stopping.take() {
                    let _ = done.send(());
                }
                return;
            }
        }
    }

    /// For whoever asks how much is in work, each second and whenever the last of it is done.
    fn read_gauges(&mut self) {
        let (now, gauges) = (Instant::now(), self.core.gauges());
        if gauges.transactions == 0 || now.saturating_duration_since(self.read_at) >= SECOND {
            self.read_at = now;
            *self.gauges.lock().unwrap_or_else(PoisonError::into_inner) = gauges;
        }
    }

    fn inbound(&mut self, inbound: Inbound, now: Instant) {
        match inbound {
            Inbound::Message { flow, message } => match *message {
                Ok(message) => self.core.handle_message(message, flow, now),
                Err(error) => self.core.handle_bad(&error, flow, now),
            },
            Inbound::Read { socket, drained } => self.core.socket_read(socket, drained, now),
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
            Command::Answer(leg, sdp) => core.accept(leg, sdp, now),
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
            Command::Stop(done) => self.stopping = Some((now + FAREWELL, done)),
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
                Output::TurnedAway(peer, why) => self.ports.accounts.turned_away(peer, why),
                Output::Tried { peer, account, ok } => {
                    self.ports.accounts.tried(peer, &account, ok)
                }
            }
        }
    }

    fn send(&mut self, flow: Flow, bytes: Bytes) {
        if flow.protocol == Protocol::Udp {
            let socket = self.sockets.iter().find(|(number, ..)| *number == flow.socket);
            // A full buffer loses a datagram, as the network may; what matters is sent again.
            if let Some((_, socket, is_v6)) = socket
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
