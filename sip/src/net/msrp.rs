//! TCP and TLS for message sessions (RFC 4975 section 5.4). One task owns the [`Core`]; a task a connection reads, and one
//! writes what a bounded queue holds for it: a full one closes the connection.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::pinned;
use crate::msrp::{Command, ConnId, Core, Output, SessionEvent};

/// Pieces that wait for the machine.
const INBOX: usize = 1_024;
/// Writes that wait for a connection.
const QUEUE: usize = 1_024;
/// Connections at once.
const MAX_CONNECTIONS: usize = 10_000;
/// Time for a handshake, to connect, and for a write.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes read at once.
const READ: usize = 16 * 1024;

/// What connections tell the machine.
enum Inbound {
    Accepted(ConnId, mpsc::Sender<Bytes>),
    Connected(ConnId),
    Bytes(ConnId, Bytes),
    Closed(ConnId),
}

/// Tells the machine what to do. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MsrpHandle(mpsc::UnboundedSender<Command>);

impl MsrpHandle {
    /// Passes a command on; nothing happens once the machine is gone.
    pub fn tell(&self, command: Command) {
        let _ = self.0.send(command);
    }
}

/// Where to listen, and over what.
pub struct MsrpListener {
    /// Where; port 0 takes a free one.
    pub addr: SocketAddr,
    /// TLS from the first byte.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// Binds the listeners and starts the tasks; gives the addresses as bound. `seed` is random. What happens in sessions
/// goes to `events`, with the session's name.
///
/// # Errors
///
/// An address cannot be bound.
pub async fn start(
    listeners: Vec<MsrpListener>,
    seed: [u8; 16],
    events: mpsc::UnboundedSender<(String, SessionEvent)>,
) -> std::io::Result<(MsrpHandle, Vec<SocketAddr>)> {
    let (inbox, inbound) = mpsc::channel(INBOX);
    let (handle, commands) = mpsc::unbounded_channel();
    let door = Door { inbox, next: Arc::new(AtomicU64::new(1)), open: Arc::default() };
    let mut bound = Vec::new();
    for listener in listeners {
        let socket = TcpListener::bind(listener.addr).await?;
        bound.push(socket.local_addr()?);
        tokio::spawn(door.clone().accept(socket, listener.tls.map(TlsAcceptor::from)));
    }
    let task = Task { core: Core::new(seed), writers: HashMap::new(), door, events };
    tokio::spawn(task.run(inbound, commands));
    Ok((MsrpHandle(handle), bound))
}

struct Task {
    core: Core,
    writers: HashMap<ConnId, mpsc::Sender<Bytes>>,
    door: Door,
    events: mpsc::UnboundedSender<(String, SessionEvent)>,
}

impl Task {
    async fn run(
        mut self,
        mut inbound: mpsc::Receiver<Inbound>,
        mut commands: mpsc::UnboundedReceiver<Command>,
    ) {
        loop {
            let due = self.core.poll_timeout();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.core.handle_command(command, Instant::now()),
                    None => return,
                },
                Some(piece) = inbound.recv() => self.take(piece, Instant::now()),
                () = sleep_until(due) => self.core.handle_timeout(Instant::now()),
            }
            while let Some(output) = self.core.poll_output() {
                self.act(output);
            }
        }
    }

    fn take(&mut self, piece: Inbound, now: Instant) {
        match piece {
            Inbound::Accepted(conn, writer) => {
                self.writers.insert(conn, writer);
                self.core.handle_accepted(conn, now);
            }
            Inbound::Connected(conn) => self.core.handle_connected(conn, now),
            Inbound::Bytes(conn, bytes) => self.core.handle_bytes(conn, &bytes, now),
            Inbound::Closed(conn) => {
                self.writers.remove(&conn);
                self.core.handle_closed(conn);
            }
        }
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::Connect { conn, place, is_secure, fingerprint } => {
                let (writer, queue) = mpsc::channel(QUEUE);
                self.writers.insert(conn, writer);
                let tls = is_secure.then_some(fingerprint);
                tokio::spawn(self.door.clone().connect(conn, place, tls, queue));
            }
            Output::Write(conn, bytes) => {
                let taken = self.writers.get(&conn).is_some_and(|w| w.try_send(bytes).is_ok());
                if !taken {
                    // The writer ends with its queue, and the reader with the writer.
                    self.writers.remove(&conn);
                }
            }
            Output::Close(conn) => drop(self.writers.remove(&conn)),
            Output::Event(session, event) => drop(self.events.send((session, event))),
        }
    }
}

#[derive(Clone)]
struct Door {
    inbox: mpsc::Sender<Inbound>,
    next: Arc<AtomicU64>,
    open: Arc<AtomicUsize>,
}

impl Door {
    async fn accept(self, socket: TcpListener, tls: Option<TlsAcceptor>) {
        loop {
            let Ok((stream, _)) = socket.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            if self.open.load(Ordering::Relaxed) >= MAX_CONNECTIONS {
                continue;
            }
            let conn = ConnId(self.next.fetch_add(1, Ordering::Relaxed));
            let (door, tls) = (self.clone(), tls.clone());
            tokio::spawn(async move {
                let (writer, queue) = mpsc::channel(QUEUE);
                let accepted = Inbound::Accepted(conn, writer);
                match tls {
                    None => {
                        let _ = door.inbox.send(accepted).await;
                        door.serve(conn, stream, queue).await;
                    }
                    Some(tls) => {
                        let Ok(Ok(stream)) = timeout(PATIENCE, tls.accept(stream)).await else {
                            return;
                        };
                        let _ = door.inbox.send(accepted).await;
                        door.serve(conn, stream, queue).await;
                    }
                }
            });
        }
    }

    /// `tls`: over TLS, with the fingerprint that the peer's certificate must have.
    async fn connect(
        self,
        conn: ConnId,
        (host, port): (String, u16),
        tls: Option<Option<String>>,
        queue: mpsc::Receiver<Bytes>,
    ) {
        let open = async {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            let _ = stream.set_nodelay(true);
            let Some(fingerprint) = tls else {
                return Ok::<_, std::io::Error>((Some(stream), None));
            };
            // Without a fingerprint nothing proves who answers (section 14.4).
            let config =
                pinned::config(fingerprint.as_deref()).ok_or(std::io::ErrorKind::InvalidInput)?;
            let name = ServerName::try_from(host.clone()).map_err(std::io::Error::other)?;
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
            Ok((None, Some(stream)))
        };
        match timeout(PATIENCE, open).await {
            Ok(Ok((Some(stream), _))) => {
                let _ = self.inbox.send(Inbound::Connected(conn)).await;
                self.serve(conn, stream, queue).await;
            }
            Ok(Ok((_, Some(stream)))) => {
                let _ = self.inbox.send(Inbound::Connected(conn)).await;
                self.serve(conn, stream, queue).await;
            }
            failed => {
                tracing::debug!(?failed, "an MSRP connection cannot be opened");
                let _ = self.inbox.send(Inbound::Closed(conn)).await;
            }
        }
    }

    async fn serve<S>(self, conn: ConnId, stream: S, queue: mpsc::Receiver<Bytes>)
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        self.open.fetch_add(1, Ordering::Relaxed);
        let (reader, writer) = tokio::io::split(stream);
        tokio::select! {
            () = read(conn, reader, &self.inbox) => {}
            () = write(writer, queue) => {}
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
        let _ = self.inbox.send(Inbound::Closed(conn)).await;
    }
}

async fn read(conn: ConnId, mut reader: impl AsyncRead + Unpin, inbox: &mpsc::Sender<Inbound>) {
    let mut buffer = vec![0; READ];
    while let Ok(length @ 1..) = reader.read(&mut buffer).await {
        let bytes = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
        if inbox.send(Inbound::Bytes(conn, bytes)).await.is_err() {
            return;
        }
    }
}

async fn write(mut writer: impl AsyncWrite + Unpin, mut queue: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = queue.recv().await {
        if !matches!(timeout(PATIENCE, writer.write_all(&bytes)).await, Ok(Ok(()))) {
            return;
        }
        if queue.is_empty() && writer.flush().await.is_err() {
            return;
        }
    }
    let _ = timeout(PATIENCE, writer.shutdown()).await;
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
