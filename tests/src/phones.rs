//! A small SIP load over UDP (RFC 3261): phones that register, call and hang up as fast as the server answers, and RTP
//! whose way through the server is timed. It parses no more than it must.
//!
//! Benches run these as fast as they go, soaks at a rate.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use md5::{Digest, Md5};

mod offered;
mod once;

pub use self::offered::{Offered, offered};
pub use self::once::Once;

/// A server to be loaded, with the accounts of [`account`].
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    /// Where it listens, over UDP.
    pub sip: u16,
    /// Its domain.
    pub domain: &'static str,
}

/// The name of an account.
pub fn account(n: usize) -> String {
    format!("user{n}")
}

/// Its password.
pub fn password(n: usize) -> String {
    format!("secret-{}", account(n))
}

/// A request without an answer for so long was lost; it is begun anew.
const LOST: Duration = Duration::from_secs(2);

/// A message, taken apart at its line ends.
struct Message {
    start: String,
    fields: Vec<(String, String)>,
    body: String,
}

impl Message {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_owned();
        let fields = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Self { start, fields, body: body.to_owned() })
    }

    fn get(&self, name: &str) -> &str {
        self.fields.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    fn all<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a str> {
        self.fields.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }
}

/// The answer to the MD5 challenge among those of a 401 or 407.
fn credentials(challenge: &Message, method: &str, uri: &str, n: usize) -> Option<String> {
    let is_proxy = challenge.status() == Some(407);
    let (asks, answers) = if is_proxy {
        ("proxy-authenticate", "Proxy-Authorization")
    } else {
        ("www-authenticate", "Authorization")
    };
    let offer = challenge.all(asks).find(|offer| !offer.contains("SHA-256"))?;
    let part = |name: &str| {
        let rest = offer.split_once(&format!("{name}=\""))?.1;
        rest.split_once('"').map(|(value, _)| value)
    };
    let (realm, nonce) = (part("realm")?, part("nonce")?);
    let hash = |text: String| {
        Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let ha1 = hash(format!("{}:{realm}:{}", account(n), password(n)));
    let ha2 = hash(format!("{method}:{uri}"));
    let response = hash(format!("{ha1}:{nonce}:00000001:c0ffee:auth:{ha2}"));
    Some(format!(
        "{answers}: Digest username=\"{}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"c0ffee\"\r\n",
        account(n)
    ))
}

/// Phones behind one socket.
pub struct Phones {
    socket: UdpSocket,
    server: SocketAddr,
    domain: &'static str,
    port: u16,
    branches: u64,
    /// What was sent last, for who has to send it again.
    last: String,
    /// The contacts of a REGISTER, where they are not just the socket: how many, and the first.
    contacts: usize,
    first_contact: Option<usize>,
}

impl Phones {
    /// Nobody is registered yet.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub fn new(server: Target) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        // What comes in a burst is not to be lost here.
        socket2::SockRef::from(&socket).set_recv_buffer_size(4 * 1024 * 1024)?;
        let port = socket.local_addr()?.port();
        let address = ([127, 0, 0, 1], server.sip).into();
        let domain = server.domain;
        let (contacts, first_contact) = (1, None);
        let (branches, last) = (0, String::new());
        Ok(Self { socket, server: address, domain, port, branches, last, contacts, first_contact })
    }

    fn send(&mut self, text: &str) -> Result<()> {
        text.clone_into(&mut self.last);
        self.socket.send_to(text.as_bytes(), self.server)?;
        Ok(())
    }

    fn receive(&self) -> Result<Option<Message>> {
        let mut buffer = [0; 8_192];
        match self.socket.recv(&mut buffer) {
            Ok(length) => Ok(Message::parse(buffer.get(..length).unwrap_or_default())),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn via(&mut self) -> String {
        self.branches += 1;
        let (port, branch) = (self.port, self.branches);
        format!("Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{port}x{branch};rport\r\n")
    }

    fn register(&mut self, n: usize, number: u32, credentials: &str) -> Result<()> {
        let (via, name, port, domain) = (self.via(), account(n), self.port, self.domain);
        // One Call-ID each, so that none is older than another.
        let (call, contacts) = match self.first_contact {
            None => (format!("r{n}-{port}"), format!("Contact: <sip:{name}@127.0.0.1:{port}>\r\n")),
            Some(first) => {
                let one = |at: usize| format!("Contact: <sip:{name}-{at}@127.0.0.1:{port}>\r\n");
                let all = (first..first + self.contacts).map(one).collect();
                (format!("r{n}-{first}-{port}"), all)
            }
        };
        self.send(&format!(
            "REGISTER sip:{domain} SIP/2.0\r\n{via}From: <sip:{name}@{domain}>;tag=r{n}\r\n\
             To: <sip:{name}@{domain}>\r\nCall-ID: {call}\r\nCSeq: {number} REGISTER\r\n\
             {contacts}Expires: 3600\r\nMax-Forwards: 70\r\n{credentials}\
             Content-Length: 0\r\n\r\n"
        ))
    }

    /// Writes a message; `turn` and `number` name it.
    fn write(
        &mut self,
        from: usize,
        to: usize,
        (turn, number): (u64, u32),
        proof: &str,
    ) -> Result<()> {
        let (via, domain) = (self.via(), self.domain);
        let (name, other, port) = (account(from), account(to), self.port);
        let body = "a message of a bench, about as long as people write";
        self.send(&format!(
            "MESSAGE sip:{other}@{domain} SIP/2.0\r\n{via}From: <sip:{name}@{domain}>;tag=m{turn}\r\n\
             To: <sip:{other}@{domain}>\r\nCall-ID: m{from}-{turn}-{port}\r\nCSeq: {number} MESSAGE\r\n\
             Max-Forwards: 70\r\n{proof}Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// Registers one account.
    ///
    /// # Errors
    ///
    /// It is refused, or nothing is heard.
    pub fn register_once(&mut self, n: usize) -> Result<()> {
        self.register(n, 1, "")?;
        for _ in 0..50 {
            let Some(answer) = self.receive()? else { continue };
            match answer.status() {
                Some(401) => {
                    let proof =
                        credentials(&answer, "REGISTER", &format!("sip:{}", self.domain), n);
                    self.register(n, 2, &proof.context("no MD5 challenge")?)?;
                }
                Some(200) => return Ok(()),
                _ => {}
            }
        }
        bail!("account {n} cannot register")
    }
}

/// `window` phones register again and again; gives how often they did.
///
/// # Errors
///
/// The server refuses, or sockets fail.
pub fn registers(server: Target, window: usize, time: Duration) -> Result<u64> {
    let mut phones = Phones::new(server)?;
    let end = Instant::now() + time;
    let mut numbers = vec![1_u32; window];
    let mut seen = vec![Instant::now(); window];
    for n in 0..window {
        phones.register(n, 1, "")?;
    }
    let mut done = 0;
    while Instant::now() < end {
        if let Some(answer) = phones.receive()? {
            let n: usize = answer
                .get("call-id")
                .trim_start_matches('r')
                .split('-')
                .next()
                .unwrap_or("")
                .parse()?;
            let (Some(number), Some(seen)) = (numbers.get_mut(n), seen.get_mut(n)) else {
                continue;
            };
            *number += 1;
            *seen = Instant::now();
            let proof = match answer.status() {
                Some(401) => credentials(&answer, "REGISTER", &format!("sip:{}", server.domain), n)
                    .context("no MD5 challenge")?,
                Some(200) => {
                    done += 1;
                    String::new()
                }
                status => bail!("REGISTER got {status:?}"),
            };
            phones.register(n, *number, &proof)?;
        }
        for n in 0..window {
            if seen.get(n).is_some_and(|at| at.elapsed() > LOST)
                && let (Some(number), Some(seen)) = (numbers.get_mut(n), seen.get_mut(n))
            {
                (*number, *seen) = (*number + 1, Instant::now());
                phones.register(n, *number, "")?;
            }
        }
    }
    Ok(done)
}

/// Phones that take every call, until dropped. `rtp` is the port in their answers.
pub struct Callees {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Callees {
    /// Registers these accounts and answers for them; `refuse` answers 486 to a call. `invited` hears of each INVITE.
    ///
    /// # Errors
    ///
    /// They cannot register.
    pub fn start(
        server: Target,
        accounts: std::ops::Range<usize>,
        rtp: u16,
        refuse: bool,
        invited: impl Fn(Instant) + Send + 'static,
    ) -> Result<Self> {
        let mut phones = Phones::new(server)?;
        for n in accounts {
            phones.register_once(n)?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Ok(Some(request)) = phones.receive() else { continue };
                let method = request.start.split(' ').next().unwrap_or_default();
                let mut head = String::new();
                for name in ["via", "record-route", "from", "call-id", "cseq"] {
                    for value in request.all(name) {
                        head += &format!("{name}: {value}\r\n");
                    }
                }
                let to = request.get("to");
                let to = if to.contains("tag=") { to.to_owned() } else { format!("{to};tag=b") };
                let answer = match method {
                    "INVITE" => {
                        invited(Instant::now());
                        if refuse {
                            format!(
                                "SIP/2.0 486 Busy Here\r\n{head}To: {to}\r\nContent-Length: 0\r\n\r\n"
                            )
                        } else {
                            let sdp = sdp(rtp);
                            format!(
                                "SIP/2.0 200 OK\r\n{head}To: {to}\r\nContact: <sip:b@127.0.0.1:{}>\r\n\
                                 Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
                                phones.port,
                                sdp.len()
                            )
                        }
                    }
                    "BYE" | "CANCEL" | "MESSAGE" => {
                        format!("SIP/2.0 200 OK\r\n{head}To: {to}\r\nContent-Length: 0\r\n\r\n")
                    }
                    _ => continue,
                };
                let _ = phones.send(&answer);
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Callees {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn sdp(port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\n\
         a=rtpmap:8 PCMA/8000\r\n"
    )
}

struct Call {
    from: usize,
    to: usize,
    number: u32,
    begun: Instant,
}

/// Calls from each of some accounts to the one as many further on.
struct Callers {
    phones: Phones,
    calls: HashMap<String, Call>,
    serial: u64,
    rtp: u16,
}

impl Callers {
    fn begin(&mut self, from: usize, to: usize) -> Result<()> {
        self.serial += 1;
        let id = format!("c{}-{}", self.serial, self.phones.port);
        self.calls.insert(id.clone(), Call { from, to, number: 1, begun: Instant::now() });
        self.invite(&id, "")
    }

    fn invite(&mut self, id: &str, proof: &str) -> Result<()> {
        let via = self.phones.via();
        let call = self.calls.get(id).context("no call")?;
        let (from, to, number) = (account(call.from), account(call.to), call.number);
        let (port, sdp, domain) = (self.phones.port, sdp(self.rtp), self.phones.domain);
        self.phones.send(&format!(
            "INVITE sip:{to}@{domain} SIP/2.0\r\n{via}From: <sip:{from}@{domain}>;tag=a\r\nTo: <sip:{to}@{domain}>\r\n\
             Call-ID: {id}\r\nCSeq: {number} INVITE\r\nContact: <sip:{from}@127.0.0.1:{port}>\r\nMax-Forwards: 70\r\n\
             {proof}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        ))
    }

    /// Acknowledges a refusal (RFC 3261 section 17.1.1.3).
    fn acknowledge(&mut self, answer: &Message, uri: &str) -> Result<()> {
        let number = answer.get("cseq").split(' ').next().unwrap_or_default();
        self.phones.send(&format!(
            "ACK {uri} SIP/2.0\r\nVia: {}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {number} ACK\r\n\
             Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            answer.get("via").split(";received").next().unwrap_or_default(),
            answer.get("from"),
            answer.get("to"),
            answer.get("call-id"),
        ))
    }

    /// A request inside the call that this 200 made.
    fn inside(&mut self, ok: &Message, method: &str, number: u32) -> Result<()> {
        let via = self.phones.via();
        let contact =
            ok.get("contact").trim_start_matches('<').split('>').next().unwrap_or_default();
        let routes: String =
            ok.all("record-route").rev().map(|route| format!("Route: {route}\r\n")).collect();
        self.phones.send(&format!(
            "{method} {contact} SIP/2.0\r\n{via}{routes}From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {number} {method}\r\n\
             Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            ok.get("from"),
            ok.get("to"),
            ok.get("call-id")
        ))
    }

    /// Takes an answer; gives the call that it ended.
    fn handle(&mut self, answer: &Message) -> Result<Option<Call>> {
        let id = answer.get("call-id").to_owned();
        let of_invite = answer.get("cseq").ends_with("INVITE");
        let number: u32 = answer.get("cseq").split(' ').next().unwrap_or("").parse().unwrap_or(0);
        let is_current = self.calls.get(&id).is_some_and(|call| call.number == number);
        match answer.status() {
            Some(401 | 407) if of_invite && is_current => self.challenged(answer, &id)?,
            Some(200) if of_invite => {
                self.inside(answer, "ACK", number)?;
                if is_current {
                    self.inside(answer, "BYE", number + 1)?;
                }
            }
            Some(200) => return Ok(self.calls.remove(&id)),
            Some(300..) if is_current => bail!("a call got {}", answer.start),
            _ => {}
        }
        Ok(None)
    }

    /// The challenge of an INVITE: it is acknowledged and answered.
    fn challenged(&mut self, answer: &Message, id: &str) -> Result<()> {
        let Some(call) = self.calls.get(id) else { return Ok(()) };
        let uri = format!("sip:{}@{}", account(call.to), self.phones.domain);
        self.acknowledge(answer, &uri)?;
        let call = self.calls.get_mut(id).context("no call")?;
        call.number += 1;
        let proof = credentials(answer, "INVITE", &uri, call.from).context("no MD5 challenge")?;
        self.invite(id, &proof)
    }
}

/// `window` accounts call as many others, which answer; gives how many calls went from INVITE to the answered BYE.
///
/// # Errors
///
/// The server refuses, or sockets fail.
pub fn calls(server: Target, window: usize, time: Duration) -> Result<u64> {
    let _callees = Callees::start(server, window..2 * window, 40_000, false, |_| {})?;
    let phones = Phones::new(server)?;
    let mut callers = Callers { phones, calls: HashMap::new(), serial: 0, rtp: 40_002 };
    let end = Instant::now() + time;
    for n in 0..window {
        callers.begin(n, n + window)?;
    }
    let mut done = 0;
    while Instant::now() < end {
        if let Some(answer) = callers.phones.receive()?
            && let Some(call) = callers.handle(&answer)?
        {
            done += 1;
            callers.begin(call.from, call.to)?;
        }
        let lost: Vec<String> = callers
            .calls
            .iter()
            .filter(|(_, call)| call.begun.elapsed() > LOST)
            .map(|(id, _)| id.clone())
            .collect();
        for id in lost {
            if let Some(call) = callers.calls.remove(&id) {
                callers.begin(call.from, call.to)?;
            }
        }
    }
    Ok(done)
}

/// `window` accounts write to as many others, each again once it was answered; gives how many messages got a 2xx.
///
/// # Errors
///
/// The server refuses, or sockets fail.
pub fn messages(server: Target, window: usize, time: Duration) -> Result<u64> {
    let _readers = Callees::start(server, window..2 * window, 40_000, false, |_| {})?;
    let mut phones = Phones::new(server)?;
    let end = Instant::now() + time;
    let mut turns = vec![(0_u64, 1_u32, Instant::now()); window];
    for n in 0..window {
        phones.write(n, n + window, (0, 1), "")?;
    }
    let mut done = 0;
    while Instant::now() < end {
        if let Some(answer) = phones.receive()? {
            let mut name = answer.get("call-id").trim_start_matches('m').split('-');
            let mut number = || name.next().unwrap_or("").parse::<u64>().ok();
            let (Some(n), Some(turn)) = (number(), number()) else { continue };
            let n = usize::try_from(n)?;
            let Some(state) = turns.get_mut(n).filter(|(known, ..)| *known == turn) else {
                continue;
            };
            let uri = format!("sip:{}@{}", account(n + window), server.domain);
            let asked: u32 = answer.get("cseq").split(' ').next().unwrap_or("").parse()?;
            match answer.status() {
                Some(401 | 407) if asked == state.1 => {
                    let proof =
                        credentials(&answer, "MESSAGE", &uri, n).context("no MD5 challenge")?;
                    *state = (turn, asked + 1, Instant::now());
                    phones.write(n, n + window, (turn, asked + 1), &proof)?;
                }
                Some(200..=299) => {
                    done += 1;
                    *state = (turn + 1, 1, Instant::now());
                    phones.write(n, n + window, (turn + 1, 1), "")?;
                }
                Some(300..) if asked == state.1 => {
                    bail!("{}: a message got {}", server.name, answer.start)
                }
                _ => {}
            }
        }
        for n in 0..window {
            if let Some(state) = turns.get_mut(n).filter(|(.., at)| at.elapsed() > LOST) {
                *state = (state.0 + 1, 1, Instant::now());
                let turn = (state.0, 1);
                phones.write(n, n + window, turn, "")?;
            }
        }
    }
    Ok(done)
}

/// Registers `each` contacts for each of so many accounts.
///
/// # Errors
///
/// The server refuses, or sockets fail.
pub fn contacts(server: Target, accounts: usize, each: usize) -> Result<()> {
    /// Contacts of one REGISTER.
    const AT_ONCE: usize = 10;
    let mut phones = Phones::new(server)?;
    for n in 0..accounts {
        for first in (0..each).step_by(AT_ONCE) {
            phones.first_contact = Some(first);
            phones.contacts = AT_ONCE.min(each - first);
            phones.register_once(n)?;
        }
    }
    Ok(())
}

/// Median and 99th percentile of one way through the server, of packets of `count` calls for `time`, in milliseconds.
///
/// # Errors
///
/// The server refuses, or sockets fail.
pub fn packet_delay(server: Target, count: usize, time: Duration) -> Result<(f64, f64)> {
    let mut ways = Vec::new();
    let mut keep = Vec::new();
    for n in 0..count {
        let (ours, theirs) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        let callee = count + n;
        let callees =
            Callees::start(server, callee..callee + 1, theirs.local_addr()?.port(), false, |_| {})?;
        let phones = Phones::new(server)?;
        let rtp = ours.local_addr()?.port();
        let mut callers = Callers { phones, calls: HashMap::new(), serial: n as u64, rtp };
        callers.begin(n, callee)?;
        let port = answered(&mut callers)?;
        ways.push((ours, SocketAddr::from(([127, 0, 0, 1], port)), theirs));
        keep.push((callees, callers));
    }
    timed(ways, time)
}

/// The same without a server: what the loopback interface and the clock take.
///
/// # Errors
///
/// The server refuses, or sockets fail.
pub fn direct_delay(count: usize, time: Duration) -> Result<(f64, f64)> {
    let mut ways = Vec::new();
    for _ in 0..count {
        let (ours, theirs) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        let to = theirs.local_addr()?;
        ways.push((ours, to, theirs));
    }
    timed(ways, time)
}

/// Waits until the one call is up; gives the server's media port.
fn answered(callers: &mut Callers) -> Result<u16> {
    for _ in 0..50 {
        let Some(answer) = callers.phones.receive()? else { continue };
        let id = answer.get("call-id").to_owned();
        match answer.status() {
            Some(401 | 407) => callers.challenged(&answer, &id)?,
            Some(200) => {
                callers.inside(&answer, "ACK", 2)?;
                let line = answer.body.lines().find_map(|line| line.strip_prefix("m=audio "));
                return Ok(line.context("no audio")?.split(' ').next().unwrap_or("").parse()?);
            }
            Some(status @ 300..) => bail!("the call got {status}"),
            _ => {}
        }
    }
    bail!("the call was not answered")
}

/// Sends a packet each 20 ms on every way and times its arrival.
fn timed(ways: Vec<(UdpSocket, SocketAddr, UdpSocket)>, time: Duration) -> Result<(f64, f64)> {
    let base = Instant::now();
    let end = base + time;
    let mut readers = Vec::new();
    let mut senders = Vec::new();
    for (ours, to, theirs) in ways {
        theirs.set_read_timeout(Some(Duration::from_millis(500)))?;
        readers.push(std::thread::spawn(move || {
            let mut delays = Vec::new();
            let mut buffer = [0; 1_500];
            while let Ok(length) = theirs.recv(&mut buffer) {
                let now = base.elapsed();
                let sent = buffer.get(..length).and_then(|b| b.get(12..20)?.try_into().ok());
                if let Some(sent) = sent.map(u64::from_be_bytes) {
                    delays.push(
                        now.saturating_sub(Duration::from_nanos(sent)).as_secs_f64() * 1_000.0,
                    );
                }
            }
            delays
        }));
        senders.push((ours, to));
    }
    let mut sequence = 0_u16;
    while Instant::now() < end {
        for (n, (ours, to)) in senders.iter().enumerate() {
            let mut packet = [0_u8; 172];
            let head = [0x80, 8, (sequence >> 8) as u8, sequence as u8];
            let stamp = (u32::from(sequence) * 160).to_be_bytes();
            let sent = u64::try_from(base.elapsed().as_nanos()).unwrap_or(0).to_be_bytes();
            let source = (n as u32 + 1).to_be_bytes();
            let bytes = head.iter().chain(&stamp).chain(&source).chain(&sent);
            packet.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            ours.send_to(&packet, to)?;
        }
        sequence = sequence.wrapping_add(1);
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut delays: Vec<f64> = Vec::new();
    for reader in readers {
        delays.extend(reader.join().unwrap_or_default());
    }
    if delays.len() < 100 {
        bail!("only {} packets arrived", delays.len());
    }
    delays.sort_by(f64::total_cmp);
    let at =
        |share: f64| delays.get((delays.len() as f64 * share) as usize).copied().unwrap_or(0.0);
    Ok((at(0.5), at(0.99)))
}
