//! `turn.relay`: ChannelData through a TURN relay (RFC 8656 section 12.4), as clients and peers of our own make it.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use md5::{Digest, Md5};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use tandem_media::stun::{Class, Frame, Writer};
use tandem_media::turn::rest_password;

use super::servers::{Running, Setup, cpu_seconds, free_port, running, start_tandem};

const SECRET: &str = "north-star";
/// Payload of a packet, as 20 ms of G.711 have it.
const PAYLOAD: usize = 160;
const TIME: Duration = Duration::from_secs(5);
/// Packets a second of one allocation each way, where the rate is that of calls.
const CALL_RATE: u32 = 50;
const CHANNEL: u16 = 0x4000;

/// One server with the port of its relay.
struct Relay {
    server: Running,
    port: u16,
}

/// What was relayed per CPU-second: ours, then coturn's.
pub(crate) async fn measure(
    allocations: usize,
    is_saturated: bool,
) -> Result<Vec<(&'static str, f64)>> {
    let mut figures = Vec::new();
    for relay in [tandem().await?, coturn().await?] {
        let name = relay.server.name;
        let done = tokio::task::spawn_blocking(move || run(&relay, allocations, is_saturated));
        figures.push((name, done.await??));
    }
    Ok(figures)
}

async fn tandem() -> Result<Relay> {
    let port = free_port()?;
    let sections = format!(
        "[relay]\nsecret = \"{SECRET}\"\nallow = [\"127.0.0.0/8\"]\nmax_per_account = 1000\nmax_per_address = 1000\n\
         max_strangers_per_second = 100000\nbytes_per_second = 1000000000\n"
    );
    let server = start_tandem(0, Setup { turn: port, sections, ..Setup::default() }).await?;
    Ok(Relay { server, port })
}

async fn coturn() -> Result<Relay> {
    let dir = tempfile::tempdir()?;
    let port = free_port()?;
    let process = Command::new("turnserver")
        .args(["-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--realm=localhost"])
        .arg(format!("--listening-port={port}"))
        .args(["--use-auth-secret", &format!("--static-auth-secret={SECRET}")])
        .args(["--no-tls", "--no-dtls", "--fingerprint", "--allow-loopback-peers", "--no-cli"])
        .args(["--relay-threads=1", "--min-port=40000", "--max-port=48000"])
        .arg(format!("--userdb={}", dir.path().join("turndb").display()))
        .arg(format!("--pidfile={}", dir.path().join("pid").display()))
        .args(["--log-file=/dev/null", "--no-software-attribute"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("the Debian package coturn is missing")?;
    Ok(Relay { server: running("coturn", process, port, dir).await?, port })
}

/// A client, its peer, and the relayed address between them.
struct Pair {
    client: UdpSocket,
    peer: UdpSocket,
    relayed: SocketAddr,
}

fn run(relay: &Relay, allocations: usize, is_saturated: bool) -> Result<f64> {
    let pairs: Vec<Pair> =
        (0..allocations).map(|n| allocate(relay.port, n)).collect::<Result<_>>()?;
    let stop = Arc::new(AtomicBool::new(false));
    let received = Arc::new(AtomicU64::new(0));
    let drain = drain(&pairs, stop.clone(), received.clone())?;
    let before = cpu_seconds(relay.server.pid)?;
    send(&pairs, is_saturated)?;
    // What is on its way arrives, or never will.
    std::thread::sleep(Duration::from_millis(200));
    let used = cpu_seconds(relay.server.pid)? - before;
    stop.store(true, Ordering::Relaxed);
    drain.join().map_err(|_| anyhow::anyhow!("the receiver failed"))?;
    let count = received.load(Ordering::Relaxed);
    ensure!(count > 0 && used > 0.0, "nothing was relayed");
    Ok(count as f64 / used)
}

/// Packets both ways, in turns over all pairs.
fn send(pairs: &[Pair], is_saturated: bool) -> Result<()> {
    let mut to_peer = CHANNEL.to_be_bytes().to_vec();
    to_peer.extend(u16::try_from(PAYLOAD)?.to_be_bytes());
    to_peer.extend([7; PAYLOAD]);
    let to_client = [7; PAYLOAD];
    let start = Instant::now();
    let mut rounds = 0;
    while start.elapsed() < TIME {
        for pair in pairs {
            // A full buffer loses packets, here as anywhere.
            let _ = pair.client.send(&to_peer);
            let _ = pair.peer.send_to(&to_client, pair.relayed);
        }
        rounds += 1;
        if !is_saturated {
            let due = start + Duration::from_secs(1) / CALL_RATE * rounds;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    Ok(())
}

/// Counts what arrives anywhere.
fn drain(
    pairs: &[Pair],
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
) -> Result<std::thread::JoinHandle<()>> {
    let mut poll = Poll::new()?;
    let mut sockets = HashMap::new();
    for socket in pairs.iter().flat_map(|pair| [&pair.client, &pair.peer]) {
        let socket = socket.try_clone()?;
        socket.set_nonblocking(true)?;
        let token = Token(sockets.len());
        let descriptor = socket.as_raw_fd();
        poll.registry().register(&mut SourceFd(&descriptor), token, Interest::READABLE)?;
        sockets.insert(token, socket);
    }
    Ok(std::thread::spawn(move || {
        let mut events = Events::with_capacity(1_024);
        let mut buffer = [0; 2_048];
        while !stop.load(Ordering::Relaxed) {
            let _ = poll.poll(&mut events, Some(Duration::from_millis(50)));
            for event in &events {
                let Some(socket) = sockets.get(&event.token()) else { continue };
                loop {
                    match socket.recv(&mut buffer) {
                        Ok(length) if length >= PAYLOAD => {
                            received.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(_) => {}
                    }
                }
            }
        }
    }))
}

/// An allocation with a channel to its peer.
fn allocate(port: u16, number: usize) -> Result<Pair> {
    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.connect(("127.0.0.1", port))?;
    client.set_read_timeout(Some(Duration::from_secs(2)))?;
    let peer = UdpSocket::bind("127.0.0.2:0")?;
    let ends = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 3_600;
    let name = format!("{ends}:user{number}");
    let password = rest_password(SECRET.as_bytes(), &name);
    let mut id = [0; 12];
    let mut ask = |writer: &dyn Fn(Writer) -> Writer, method| -> Result<Vec<u8>> {
        id[0] += 1;
        client.send(&writer(Writer::new(method, Class::Request, &id)).into_bytes())?;
        let mut buffer = [0; 2_048];
        let length = client.recv(&mut buffer).context("the relay does not answer")?;
        Ok(buffer[..length].to_vec())
    };
    let transport = |writer: Writer| writer.attribute(0x0019, &[17, 0, 0, 0]);
    let told = ask(&transport, 0x003)?;
    let told = Frame::parse(&told).context("no STUN")?;
    let get = |frame: &Frame<'_>, kind| {
        frame.attributes().find(|a| a.kind == kind).map(|a| a.value.to_vec())
    };
    let realm = get(&told, 0x0014).context("no realm")?;
    let nonce = get(&told, 0x0015).context("no nonce")?;
    let text = format!("{name}:{}:{password}", String::from_utf8_lossy(&realm));
    let key = Md5::digest(text);
    let sign = |writer: Writer| {
        let named = writer.attribute(0x0006, name.as_bytes());
        named.attribute(0x0014, &realm).attribute(0x0015, &nonce).sign_sha1(&key)
    };
    let made = ask(&|writer| sign(transport(writer)), 0x003)?;
    let made = Frame::parse(&made).context("no STUN")?;
    let Some(relayed) = get(&made, 0x0016).and_then(|value| made.address(&value)) else {
        bail!("no allocation: {:?}", get(&made, 0x0009));
    };
    let address = peer.local_addr()?;
    let bind = |writer: Writer| {
        let [high, low] = CHANNEL.to_be_bytes();
        sign(writer.attribute(0x000c, &[high, low, 0, 0]).address(0x0012, address))
    };
    let bound = ask(&bind, 0x009)?;
    let bound = Frame::parse(&bound).context("no STUN")?;
    ensure!(bound.class == Class::Success, "no channel: {:?}", get(&bound, 0x0009));
    Ok(Pair { client, peer, relayed })
}
