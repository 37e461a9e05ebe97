//! One shard: a thread that owns its sockets and its engine. It decides nothing.

use std::collections::HashMap;
use std::io::{ErrorKind, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};

use super::Listener;
use super::worker::Workers;
use crate::control::{Cause, Command, LegId, MediaEvent};
use crate::engine::{Engine, Made, Socket};
use crate::error::MediaError;

/// Commands that may wait.
const CONTROL_QUEUE: usize = 4_096;
/// Room for one batch entry; the kernel may join datagrams of one sender.
const BUFFER: usize = 65_535;
/// Batches taken from one socket before others have their turn.
const TURNS: usize = 4;
const WAKE: Token = Token(0);
const SHARED: Token = Token(1);

/// For the shard's thread.
#[derive(Debug)]
pub(super) enum Control {
    Command(Command),
    OpenRtp { command: Command, leg: LegId, rtp: UdpSocket, rtcp: UdpSocket },
}

/// A shard's control queue.
#[derive(Debug)]
pub(super) struct Started {
    queue: SyncSender<Control>,
    waker: Arc<Waker>,
    /// Woken, and not at the queue yet: what comes now is found there without another system call.
    is_awake: Arc<AtomicBool>,
    late: Late,
}

/// Ends of legs and calls that found the queue full: as many as there are, and none is lost, as with each a port would be.
type Late = Arc<Mutex<Vec<Command>>>;

impl Started {
    pub(super) fn send(&self, control: Control) -> Result<(), MediaError> {
        let sent = match self.queue.try_send(control) {
            Err(TrySendError::Full(Control::Command(
                end @ (Command::CloseLeg(_) | Command::CloseCall(_)),
            ))) => {
                self.late.lock().unwrap_or_else(PoisonError::into_inner).push(end);
                Ok(())
            }
            sent => sent,
        };
        match sent {
            Ok(()) => {
                if !self.is_awake.swap(true, Ordering::AcqRel) {
                    let _ = self.waker.wake();
                }
                Ok(())
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(MediaError::Busy),
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Closes the queue before the thread looks at it.
        let (closed, _) = sync_channel(1);
        self.queue = closed;
        let _ = self.waker.wake();
    }
}

pub(super) fn start(
    index: usize,
    engine: Engine,
    socket: UdpSocket,
    workers: usize,
    listener: Listener,
) -> Result<Started, MediaError> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
    let (queue, control) = sync_channel(CONTROL_QUEUE);
    let (made_in, made) = sync_channel(CONTROL_QUEUE);
    let workers = Workers::start(workers, &made_in, &waker)?;
    let (is_awake, late) = (Arc::new(AtomicBool::new(false)), Late::default());
    let mut shard = Shard {
        engine,
        poll,
        sockets: HashMap::new(),
        tokens: HashMap::new(),
        next_token: SHARED.0,
        readable: Vec::new(),
        buffer: vec![0; BUFFER * BATCH_SIZE],
        control,
        is_awake: is_awake.clone(),
        late: late.clone(),
        made,
        workers,
        listener,
    };
    shard.add(Socket::Shared, socket)?;
    std::thread::Builder::new().name(format!("media-{index}")).spawn(move || shard.run())?;
    Ok(Started { queue, waker, is_awake, late })
}

struct Port {
    socket: UdpSocket,
    state: UdpSocketState,
    token: Token,
    is_v6: bool,
}

struct Shard {
    engine: Engine,
    poll: Poll,
    sockets: HashMap<Socket, Port>,
    tokens: HashMap<Token, Socket>,
    next_token: usize,
    readable: Vec<Socket>,
    buffer: Vec<u8>,
    control: Receiver<Control>,
    is_awake: Arc<AtomicBool>,
    late: Late,
    made: Receiver<Made>,
    workers: Workers,
    listener: Listener,
}

impl Shard {
    fn run(mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            let timeout = if self.readable.is_empty() {
                self.engine.poll_timeout().map(|at| at.saturating_duration_since(Instant::now()))
            } else {
                Some(std::time::Duration::ZERO)
            };
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return tracing::error!(%error, "media shard ends"),
            }
            for event in &events {
                if let Some(socket) = self.tokens.get(&event.token())
                    && !self.readable.contains(socket)
                {
                    self.readable.push(*socket);
                }
            }
            if !self.take_control() {
                return;
            }
            self.read_sockets();
            self.finish_batch();
        }
    }

    /// False when every handle is gone.
    fn take_control(&mut self) -> bool {
        use std::sync::mpsc::TryRecvError;
        let now = Instant::now();
        // Before the queue is looked at: whoever adds to it from here on wakes us again.
        self.is_awake.swap(false, Ordering::AcqRel);
        loop {
            match self.control.try_recv() {
                Ok(Control::Command(command)) => self.engine.handle_command(command, now),
                Ok(Control::OpenRtp { command, leg, rtp, rtcp }) => {
                    self.engine.handle_command(command, now);
                    let added = self
                        .add(Socket::Rtp(leg), rtp)
                        .and_then(|()| self.add(Socket::Rtcp(leg), rtcp));
                    if let Err(error) = added {
                        tracing::error!(%error, "a media port could not be watched");
                    }
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        // What ends here was begun by what was in the queue before it.
        let late = std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner));
        for end in late {
            self.engine.handle_command(end, now);
        }
        while let Ok(made) = self.made.try_recv() {
            self.engine.handle_made(&made, now);
        }
        true
    }

    fn read_sockets(&mut self) {
        let mut readable = std::mem::take(&mut self.readable);
        readable.retain(|socket| self.read(*socket));
        self.readable = readable;
    }

    /// True when there may be more to read.
    fn read(&mut self, socket: Socket) -> bool {
        for _ in 0..TURNS {
            let Some(port) = self.sockets.get(&socket) else { return false };
            let mut metas = [RecvMeta::default(); BATCH_SIZE];
            let mut chunks = self.buffer.chunks_mut(BUFFER);
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
            let count =
                match port.state.recv(UdpSockRef::from(&port.socket), &mut slices, &mut metas) {
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                    // An ICMP refusal of something sent before; the socket lives on.
                    Err(_) => continue,
                };
            let now = Instant::now();
            for (meta, chunk) in metas.iter().zip(self.buffer.chunks_mut(BUFFER)).take(count) {
                let Some(received) = chunk.get_mut(..meta.len) else { continue };
                for datagram in received.chunks_mut(meta.stride.max(1)) {
                    self.engine.handle_datagram(socket, unmapped(meta.addr), datagram, now);
                }
            }
            self.flush();
        }
        true
    }

    fn finish_batch(&mut self) {
        let now = Instant::now();
        if self.engine.poll_timeout().is_some_and(|at| now >= at) {
            self.engine.handle_timeout(now);
        }
        self.flush();
        while let Some(work) = self.engine.poll_work() {
            if let Some(leg) = self.workers.give(work) {
                self.engine.count(leg, Cause::Overload);
            }
        }
        while let Some(event) = self.engine.poll_event() {
            if let MediaEvent::Closed { leg, .. } = event {
                self.remove(Socket::Rtp(leg));
                self.remove(Socket::Rtcp(leg));
            }
            (self.listener)(event);
        }
    }

    fn flush(&mut self) {
        for (queued, bytes) in self.engine.outbox().iter() {
            let Some(port) = self.sockets.get(&queued.socket) else { continue };
            let transmit = Transmit {
                destination: if port.is_v6 { mapped(queued.to) } else { queued.to },
                ecn: None,
                contents: bytes,
                segment_size: None,
                src_ip: None,
            };
            // Media does not wait: what the kernel refuses is lost like any packet.
            let _ = port.state.try_send(UdpSockRef::from(&port.socket), &transmit);
        }
        self.engine.outbox().clear();
    }

    fn add(&mut self, name: Socket, socket: UdpSocket) -> std::io::Result<()> {
        let token = Token(self.next_token);
        self.next_token += 1;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let is_v6 = socket.local_addr()?.is_ipv6();
        let descriptor = socket.as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&descriptor), token, Interest::READABLE)?;
        self.tokens.insert(token, name);
        self.sockets.insert(name, Port { socket, state, token, is_v6 });
        // What came before it was watched.
        self.readable.push(name);
        Ok(())
    }

    fn remove(&mut self, name: Socket) {
        if let Some(port) = self.sockets.remove(&name) {
            self.tokens.remove(&port.token);
            let descriptor = port.socket.as_raw_fd();
            let _ = self.poll.registry().deregister(&mut SourceFd(&descriptor));
        }
    }
}

/// On a socket of both families IPv4 peers appear as mapped addresses.
fn unmapped(address: std::net::SocketAddr) -> std::net::SocketAddr {
    std::net::SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The way back.
fn mapped(address: std::net::SocketAddr) -> std::net::SocketAddr {
    match address.ip() {
        std::net::IpAddr::V4(ip) => (ip.to_ipv6_mapped(), address.port()).into(),
        std::net::IpAddr::V6(_) => address,
    }
}
