//! The TURN server's thread (RFC 8656): its sockets, and the connections that others hold for it. It decides nothing.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use sha2::{Digest, Sha256};

use super::bind_udp;
use super::datagrams::{BATCH, Inbox, Outbox, Port};
use crate::error::MediaError;
use crate::turn::stream::{Framer, padding};
use crate::turn::{
    Action, BindRequest, Bound, Client, Counters, Family, Inbound, RelayId, Server, Settings,
    Transport, Wrap, write_indication,
};

/// Commands that may wait.
const CONTROL_QUEUE: usize = 4_096;
/// Batches taken from one socket before others have their turn.
const TURNS: usize = 4;
/// Ports that are tried for one relayed address.
const TRIES: usize = 64;
/// Shortest time between two turns: under load what comes meanwhile is handled together, as cards moderate interrupts.
/// Who comes after a pause does not wait.
const TURN: Duration = Duration::from_micros(100);
/// Between two looks at what happened.
const PUBLISH: Duration = Duration::from_secs(1);
const WAKE: Token = Token(0);
const FIRST_LISTENER: usize = 1;
/// Tokens of relayed addresses begin here.
const FIRST_RELAY: usize = 1_000;

/// What a relay is started with.
pub struct RelayConfig {
    /// Where datagrams of clients arrive. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Addresses that relayed addresses are bound to, at most one of each family.
    pub bind: Vec<IpAddr>,
    /// What peers are told instead, where the machine is behind a one-to-one NAT.
    pub advertised: Vec<IpAddr>,
    /// First and last port of relayed addresses.
    pub ports: (u16, u16),
    /// What the server allows.
    pub settings: Settings,
}

/// Takes what goes to the client of a connection. Called on the relay's thread: must not wait.
pub type Sink = Arc<dyn Fn(Bytes) -> Taken + Send + Sync>;

/// What a [`Sink`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is on its way.
    Yes,
    /// Too much waits already: whole messages are left out, as they are datagrams after all.
    Full,
    /// Nobody is there.
    Gone,
}

enum Control {
    Open { number: u64, client: Client, sink: Sink },
    Bytes { number: u64, bytes: Bytes },
    Closed { number: u64 },
    Remember { name: String, ends: u64 },
}

/// The relay. It ends when its last handle and connection are dropped.
#[derive(Clone)]
pub struct RelayHandle(Arc<Shared>);

struct Shared {
    addresses: Vec<SocketAddr>,
    queue: Mutex<Option<SyncSender<Control>>>,
    waker: Arc<Waker>,
    counters: Arc<Mutex<Counters>>,
    connections: AtomicU64,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Closes the queue before the thread looks at it.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = self.waker.wake();
    }
}

impl Shared {
    fn send(&self, control: Control) -> Result<(), Control> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(queue) = queue else { return Err(control) };
        let sent = queue.try_send(control).map_err(|error| match error {
            TrySendError::Full(control) | TrySendError::Disconnected(control) => control,
        });
        let _ = self.waker.wake();
        sent
    }
}

impl RelayHandle {
    /// Where datagrams of clients arrive.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.0.addresses
    }

    /// What happened so far, a second old at most.
    pub fn counters(&self) -> Counters {
        *self.0.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A name that was handed out, and the second since 1970 when it ends: it may come as its hash (RFC 8489 section
    /// 14.4). When the relay is too busy to hear of it, it will be known by its name alone.
    pub fn remember(&self, name: &str, ends: u64) {
        let _ = self.0.send(Control::Remember { name: name.to_owned(), ends });
    }

    /// A client over TCP or TLS. None when the relay is too busy.
    pub fn connect(&self, remote: SocketAddr, sink: Sink) -> Option<Connection> {
        let number = self.0.connections.fetch_add(1, Ordering::Relaxed);
        let transport = Transport::Stream(number);
        let client = Client { listener: u16::MAX, remote, transport };
        self.0.send(Control::Open { number, client, sink }).ok()?;
        Some(Connection { number, relay: self.0.clone() })
    }
}

/// A client's connection. Dropped, it ends what was allocated over it.
pub struct Connection {
    number: u64,
    relay: Arc<Shared>,
}

impl Connection {
    /// Hands on what was read. Given back when the relay is too busy: to be tried again, and nothing read meanwhile.
    ///
    /// # Errors
    ///
    /// The bytes.
    pub fn receive(&self, bytes: Bytes) -> Result<(), Bytes> {
        match self.relay.send(Control::Bytes { number: self.number, bytes }) {
            Err(Control::Bytes { bytes, .. }) => Err(bytes),
            _ => Ok(()),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut control = Control::Closed { number: self.number };
        // It must be heard, or the allocation would live for as long as it was made for.
        for _ in 0..100 {
            match self.relay.send(control) {
                Ok(()) => return,
                Err(back) => control = back,
            }
            std::thread::yield_now();
        }
    }
}

/// Binds the listeners and starts the thread.
///
/// # Errors
///
/// [`MediaError`] when a port cannot be bound or the configuration makes no sense.
pub fn start_relay(config: RelayConfig, seed: [u8; 32]) -> Result<RelayHandle, MediaError> {
    let (first, last) = config.ports;
    if first < 1_024 || last <= first {
        return Err(MediaError::Config("relay ports must be a range of ports above 1023"));
    }
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
    let (queue, control) = sync_channel(CONTROL_QUEUE);
    let now = Instant::now();
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let counters = Arc::new(Mutex::new(Counters::default()));
    let server = Server::new(config.settings, seed, now, wall);
    let mut addresses = Vec::new();
    let mut listeners = Vec::new();
    for address in config.listen {
        let port = Port::new(bind_udp(address)?)?;
        addresses.push(port.local()?);
        watch(&poll, &port, Token(FIRST_LISTENER + listeners.len()))?;
        listeners.push(port);
    }
    let published = counters.clone();
    let run = move || {
        let relay = Relay {
            server,
            poll,
            listeners,
            relays: Vec::new(),
            free: Vec::new(),
            streams: HashMap::new(),
            readable: Vec::new(),
            inbox: Some(Inbox::new()),
            outbox: Outbox::new(),
            scratch: Vec::new(),
            control,
            counters: published,
            published: now,
            bind: config.bind,
            advertised: config.advertised,
            ports: config.ports,
            seed,
            drawn: 0,
            indications: 0,
        };
        relay.run();
    };
    std::thread::Builder::new().name("relay".into()).spawn(run)?;
    let (queue, connections) = (Mutex::new(Some(queue)), AtomicU64::new(1));
    Ok(RelayHandle(Arc::new(Shared { addresses, queue, waker, counters, connections })))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Listener(u16),
    Relay(RelayId),
}

struct Stream {
    client: Client,
    framer: Framer,
    sink: Sink,
}

struct Relay {
    server: Server,
    poll: Poll,
    listeners: Vec<Port>,
    /// By their number.
    relays: Vec<Option<Port>>,
    free: Vec<usize>,
    streams: HashMap<u64, Stream>,
    readable: Vec<Place>,
    /// Taken while what it holds is looked at.
    inbox: Option<Inbox>,
    outbox: Outbox<Place>,
    scratch: Vec<u8>,
    control: Receiver<Control>,
    counters: Arc<Mutex<Counters>>,
    published: Instant,
    bind: Vec<IpAddr>,
    advertised: Vec<IpAddr>,
    ports: (u16, u16),
    seed: [u8; 32],
    drawn: u64,
    /// Data indications sent.
    indications: u64,
}

impl Relay {
    fn run(mut self) {
        let mut events = Events::with_capacity(256);
        let mut turn = Instant::now();
        loop {
            let since = turn.elapsed();
            if since < TURN {
                std::thread::sleep(TURN - since);
            }
            match self.poll.poll(&mut events, self.timeout()) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return tracing::error!(%error, "the relay ends"),
            }
            turn = Instant::now();
            for event in &events {
                let place = match event.token().0 {
                    token if token >= FIRST_RELAY => Place::Relay(RelayId(
                        u32::try_from(token - FIRST_RELAY).unwrap_or(u32::MAX),
                    )),
                    token if token >= FIRST_LISTENER => {
                        Place::Listener(u16::try_from(token - FIRST_LISTENER).unwrap_or(u16::MAX))
                    }
                    _ => continue,
                };
                if !self.readable.contains(&place) {
                    self.readable.push(place);
                }
            }
            if !self.take_control() {
                return;
            }
            let mut readable = std::mem::take(&mut self.readable);
            readable.retain(|place| self.read(*place));
            self.flush();
            // What was bound meanwhile is looked at next.
            readable.append(&mut self.readable);
            self.readable = readable;
            let now = Instant::now();
            if self.server.poll_timeout().is_some_and(|at| now >= at) {
                self.server.handle_timeout(now);
                self.act(now);
                self.flush();
            }
            self.publish(now);
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.readable.is_empty() {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let publish =
            (self.server.counters() != self.last_counters()).then(|| self.published + PUBLISH);
        let next = self.server.poll_timeout().into_iter().chain(publish).min()?;
        Some(next.saturating_duration_since(now))
    }

    fn last_counters(&self) -> Counters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&mut self, now: Instant) {
        if now.saturating_duration_since(self.published) >= PUBLISH {
            self.published = now;
            *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = self.server.counters();
        }
    }

    /// False when every handle is gone.
    fn take_control(&mut self) -> bool {
        let now = Instant::now();
        loop {
            match self.control.try_recv() {
                Ok(Control::Open { number, client, sink }) => {
                    let framer = Framer::default();
                    self.server.handle_opened(client, now);
                    self.streams.insert(number, Stream { client, framer, sink });
                }
                Ok(Control::Bytes { number, bytes }) => self.read_stream(number, &bytes, now),
                Ok(Control::Closed { number }) => self.close_stream(number, now),
                Ok(Control::Remember { name, ends }) => self.server.remember(&name, ends, now),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn read_stream(&mut self, number: u64, bytes: &[u8], now: Instant) {
        let Some(mut stream) = self.streams.remove(&number) else { return };
        let client = stream.client;
        let framed =
            stream.framer.handle(bytes, |message| self.take_from_client(client, message, now));
        if framed.is_err() {
            // The client speaks something else; dropping the sink closes the connection.
            self.server.handle_closed(&client);
        } else {
            self.streams.insert(number, stream);
        }
        self.act(now);
    }

    fn close_stream(&mut self, number: u64, now: Instant) {
        if let Some(stream) = self.streams.remove(&number) {
            self.server.handle_closed(&stream.client);
            self.act(now);
        }
    }

    /// True when there may be more to read.
    fn read(&mut self, place: Place) -> bool {
        let Some(mut inbox) = self.inbox.take() else { return false };
        let mut more = true;
        for _ in 0..TURNS {
            let Some(port) = self.port(place) else {
                more = false;
                break;
            };
            let count = match inbox.recv(port) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    more = false;
                    break;
                }
                // An ICMP refusal of something sent before; the socket lives on.
                Err(_) => continue,
            };
            let now = Instant::now();
            for (from, datagram) in (0..count).filter_map(|index| inbox.get(index)) {
                match place {
                    Place::Listener(listener) => {
                        let client = Client { listener, remote: from, transport: Transport::Udp };
                        self.take_from_client(client, datagram, now);
                    }
                    Place::Relay(relay) => self.take_from_peer(relay, from, datagram, now),
                }
            }
            self.act(now);
            // Fewer than fit: the socket was empty, and what comes now wakes us.
            if count < BATCH {
                more = false;
                break;
            }
        }
        self.inbox = Some(inbox);
        more
    }

    fn port(&self, place: Place) -> Option<&Port> {
        find(&self.listeners, &self.relays, place)
    }

    fn take_from_client(&mut self, client: Client, datagram: &[u8], now: Instant) {
        if let Inbound::Relay { relay, peer, payload } =
            self.server.handle_client(client, datagram, now)
            && let Some(payload) = datagram.get(payload)
        {
            self.queue(Place::Relay(relay), peer, [payload, &[]]);
        }
    }

    fn take_from_peer(&mut self, relay: RelayId, peer: SocketAddr, payload: &[u8], now: Instant) {
        let Some((client, wrap)) = self.server.handle_peer(relay, peer, payload.len(), now) else {
            return;
        };
        let header = match wrap {
            Wrap::Channel(number) => {
                let [a, b] = number.to_be_bytes();
                let [c, d] = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
                [a, b, c, d]
            }
            Wrap::Indication => {
                let mut scratch = std::mem::take(&mut self.scratch);
                // Nobody answers an indication: its number only has to be another each time.
                self.indications = self.indications.wrapping_add(1);
                let mut id = [0; 12];
                id.iter_mut().zip(self.indications.to_be_bytes()).for_each(|(to, b)| *to = b);
                write_indication(&mut scratch, peer, payload, id);
                match client.transport {
                    Transport::Udp => {
                        self.queue(
                            Place::Listener(client.listener),
                            client.remote,
                            [&scratch, &[]],
                        );
                    }
                    Transport::Stream(number) => self.give(number, &[&scratch]),
                }
                self.scratch = scratch;
                return;
            }
        };
        match client.transport {
            Transport::Udp => {
                self.queue(Place::Listener(client.listener), client.remote, [&header, payload]);
            }
            Transport::Stream(number) => {
                let zeroes = [0; 3];
                let padding = zeroes.get(..padding(payload.len())).unwrap_or_default();
                self.give(number, &[&header, payload, padding]);
            }
        }
    }

    /// Hands a message to the holder of a connection.
    fn give(&mut self, number: u64, parts: &[&[u8]]) {
        if let Some(stream) = self.streams.get(&number)
            && (stream.sink)(Bytes::from(parts.concat())) == Taken::Gone
        {
            // Its end will be heard of.
            tracing::trace!(number, "a client left before its answer");
        }
    }

    /// Queues a datagram: all that is read in one turn leaves together.
    fn queue(&mut self, place: Place, to: SocketAddr, parts: [&[u8]; 2]) {
        if self.outbox.push(place, to, parts) {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let Self { outbox, listeners, relays, .. } = self;
        outbox.flush(|place| find(listeners, relays, place));
    }

    fn act(&mut self, now: Instant) {
        while let Some(action) = self.server.poll_action() {
            match action {
                Action::Answer { client, bytes } => match client.transport {
                    Transport::Udp => {
                        self.queue(Place::Listener(client.listener), client.remote, [&bytes, &[]]);
                    }
                    Transport::Stream(number) => self.give(number, &[&bytes]),
                },
                Action::Release(id) => self.release(id),
                Action::Close(client) => {
                    if let Transport::Stream(number) = client.transport {
                        self.streams.remove(&number);
                    }
                }
                Action::Bind { ticket, request } => {
                    let (bound, reserved) = self.bind_all(&request);
                    self.server.handle_bound(ticket, &bound, reserved, now);
                }
            }
        }
    }

    fn bind_all(&mut self, request: &BindRequest) -> (Vec<Bound>, Option<Bound>) {
        let mut bound = Vec::new();
        let mut reserved = None;
        for family in &request.families {
            for _ in 0..TRIES {
                let port = self.random_port(request.even);
                let Some(first) = self.bind_one(*family, port) else { continue };
                if request.reserve {
                    let next = port.checked_add(1).filter(|next| *next <= self.ports.1);
                    let next = next.and_then(|next| self.bind_one(*family, next));
                    let Some(next) = next else {
                        self.release(first.id);
                        continue;
                    };
                    reserved = Some(next);
                }
                bound.push(first);
                break;
            }
        }
        (bound, reserved)
    }

    fn bind_one(&mut self, family: Family, port: u16) -> Option<Bound> {
        let ip = *self.bind.iter().find(|ip| Family::of(**ip) == family)?;
        let advertised = self.advertised.iter().find(|ip| Family::of(**ip) == family);
        let port = Port::new(bind_udp(SocketAddr::new(ip, port)).ok()?).ok()?;
        let number = port.local().ok()?.port();
        let index = self.free.pop().unwrap_or(self.relays.len());
        watch(&self.poll, &port, Token(FIRST_RELAY + index)).ok()?;
        if index == self.relays.len() {
            self.relays.push(Some(port));
        } else if let Some(slot) = self.relays.get_mut(index) {
            *slot = Some(port);
        }
        let id = RelayId(u32::try_from(index).ok()?);
        Some(Bound { id, address: SocketAddr::new(*advertised.unwrap_or(&ip), number) })
    }

    fn release(&mut self, id: RelayId) {
        // What waits leaves before somebody else has this number.
        self.flush();
        let index = id.0 as usize;
        if let Some(port) = self.relays.get_mut(index).and_then(Option::take) {
            let _ = self.poll.registry().deregister(&mut SourceFd(&port.descriptor()));
            self.free.push(index);
        }
    }

    fn random_port(&mut self, even: bool) -> u16 {
        let (first, last) = self.ports;
        let [a, b, ..] = self.draw();
        let span = u32::from(last - first) + 1;
        let offset = u32::from(u16::from_be_bytes([a, b])) % span;
        let port = first.saturating_add(u16::try_from(offset).unwrap_or(0));
        // Below the first even one there is none.
        if even { (port & !1).max(first.next_multiple_of(2)) } else { port }
    }

    fn draw(&mut self) -> [u8; 12] {
        self.drawn += 1;
        let hash = Sha256::new()
            .chain_update(self.seed)
            .chain_update(b"relay")
            .chain_update(self.drawn.to_be_bytes())
            .finalize();
        let mut drawn = [0; 12];
        drawn.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        drawn
    }
}

fn find<'a>(listeners: &'a [Port], relays: &'a [Option<Port>], place: Place) -> Option<&'a Port> {
    match place {
        Place::Listener(listener) => listeners.get(usize::from(listener)),
        Place::Relay(relay) => relays.get(relay.0 as usize)?.as_ref(),
    }
}

fn watch(poll: &Poll, port: &Port, token: Token) -> std::io::Result<()> {
    let descriptor = port.descriptor();
    poll.registry().register(&mut SourceFd(&descriptor), token, Interest::READABLE)
}
