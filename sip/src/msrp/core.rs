//! Sessions and their connections (RFC 4975 sections 5.4 and 7): who may speak over which connection, chunks out, reports
//! both ways.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ConnId;
use super::frame::{Flag, Framer, Head, Part, Range, Start};
use super::inbound::{Inbound, Incoming};
use super::uri::MsrpUri;

/// Bytes of a chunk: the most that need not be interrupted (section 7.1.1).
const CHUNK: usize = 2_048;
/// How long a chunk waits for its response (section 7.1.1), and a connection for its first request.
const PATIENCE: Duration = Duration::from_secs(30);
/// Chunks of one session that wait for a response.
const MAX_PENDING: usize = 1_024;
/// Messages that are remembered as not to be reported on.
const MAX_SILENT: usize = 64;
/// Messages that wait for a connection.
const MAX_QUEUED: usize = 256;

/// What a session is.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Our URI; its session part names the session here.
    pub local: MsrpUri,
    /// The peer's path, as its SDP has it.
    pub remote: Vec<MsrpUri>,
    /// Whether we open the connection.
    pub is_active: bool,
    /// Where to, when that is not what the path says (RFC 6714).
    pub place: Option<(String, u16)>,
    /// Fingerprint that the peer's certificate must have, as SDP writes it.
    pub fingerprint: Option<String>,
    /// Media types that are taken; `*` or `text/*` are patterns.
    pub accepts: Vec<String>,
    /// Bytes of one message.
    pub max_size: usize,
}

/// A message to send.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Message-ID, unique.
    pub id: String,
    /// Content-Type.
    pub content_type: String,
    /// Content.
    pub body: Bytes,
    /// Whether the peer is to say that it has all of it.
    pub wants_report: bool,
}

/// What the machine is told to do. The first word names the session: the session part of our URI.
#[derive(Debug)]
pub enum Command {
    /// A session begins.
    Open(Box<SessionConfig>),
    /// Sends a message.
    Send(String, Outgoing),
    /// Answers a request that came as [`SessionEvent::Nickname`].
    AnswerNickname(String, String, u16),
    /// A message that was taken, and its length, did not arrive after all: its sender is told why (section 7.1.4).
    Fail(String, String, usize, u16),
    /// The session is over.
    Close(String),
}

/// What happens in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// A connection is bound to it.
    Ready,
    /// A message is complete.
    Message(Incoming),
    /// The peer has all of a message (200), or will not have it.
    Report {
        /// Message-ID.
        id: String,
        /// 200, or why not.
        status: u16,
    },
    /// The peer wants to be called so (RFC 7701 section 7); to be answered.
    Nickname {
        /// Names the request in the answer.
        request: String,
        /// The name; empty to have none.
        nickname: String,
    },
    /// The connection is gone or was never there: the session has failed.
    Lost,
}

/// What the driver has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a connection to a host and port.
    Connect {
        /// Its name from now on.
        conn: ConnId,
        /// Where to.
        place: (String, u16),
        /// Over TLS.
        is_secure: bool,
        /// What the peer's certificate must be.
        fingerprint: Option<String>,
    },
    /// Write over a connection.
    Write(ConnId, Bytes),
    /// Close it, once all is written.
    Close(ConnId),
    /// Something happened in a session.
    Event(String, SessionEvent),
}

struct Session {
    config: SessionConfig,
    conn: Option<ConnId>,
    /// Our connection is open: what is sent goes out.
    is_ready: bool,
    inbound: Inbound,
    queue: VecDeque<Outgoing>,
    /// Chunks without a response: transaction, message, until when.
    pending: VecDeque<(String, String, Instant)>,
    /// The last messages whose sender wants to hear of no failure.
    silent: VecDeque<String>,
}

#[derive(Default)]
struct Conn {
    framer: Framer,
    /// The request whose body comes in.
    current: Option<Current>,
    sessions: Vec<String>,
    /// Until when its first request has to be there.
    deadline: Option<Instant>,
}

struct Current {
    head: Head,
    session: Option<String>,
    /// What its sender is told at its end.
    status: u16,
    has_body: bool,
}

/// All sessions of a node.
pub struct Core {
    sessions: HashMap<String, Session>,
    conns: HashMap<ConnId, Conn>,
    outputs: VecDeque<Output>,
    /// Makes transaction ids: a random beginning and a number.
    prefix: String,
    serial: u64,
    next_conn: u64,
}

/// Connections that we open have names from here on; those of the driver are below.
const OWN: u64 = 1 << 63;

impl Core {
    /// A machine without sessions. `seed` is random.
    pub fn new(seed: [u8; 16]) -> Self {
        let prefix = seed.iter().take(10).map(|b| format!("{b:02x}")).collect();
        Self {
            sessions: HashMap::new(),
            conns: HashMap::new(),
            outputs: VecDeque::new(),
            prefix,
            serial: 0,
            next_conn: OWN,
        }
    }

    /// What has to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Core::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let pending = self.sessions.values().filter_map(|s| s.pending.front().map(|p| p.2));
        pending.chain(self.conns.values().filter_map(|c| c.deadline)).min()
    }

    /// Sessions that are open.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.conns.is_empty()
    }

    /// Does what it is told.
    pub fn handle_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Open(config) => self.open(*config, now),
            Command::Send(name, message) => self.send(&name, message, now),
            Command::AnswerNickname(name, request, status) => {
                let Some(session) = self.sessions.get(&name) else { return };
                let Some(conn) = session.conn else { return };
                let to = session.config.remote.clone();
                let head = response(&request, status, to, session.config.local.clone());
                self.outputs.push_back(Output::Write(conn, head.print(None, Flag::Complete)));
            }
            Command::Fail(name, message, length, status) => {
                self.fail(&name, &message, length, status)
            }
            Command::Close(name) => self.close(&name),
        }
    }

    /// A peer has connected to us.
    pub fn handle_accepted(&mut self, conn: ConnId, now: Instant) {
        let deadline = Some(now + PATIENCE);
        self.conns.insert(conn, Conn { deadline, ..Conn::default() });
    }

    /// A connection that we wanted is open.
    pub fn handle_connected(&mut self, conn: ConnId, now: Instant) {
        let names = self.conns.get(&conn).map(|c| c.sessions.clone()).unwrap_or_default();
        for name in names {
            self.bind(&name, now);
        }
    }

    /// A connection is gone, or could not be opened.
    pub fn handle_closed(&mut self, conn: ConnId) {
        let Some(gone) = self.conns.remove(&conn) else { return };
        for name in gone.sessions {
            if self.sessions.get(&name).is_some_and(|s| s.conn == Some(conn)) {
                self.sessions.remove(&name);
                self.outputs.push_back(Output::Event(name, SessionEvent::Lost));
            }
        }
    }

    /// Bytes came in.
    pub fn handle_bytes(&mut self, conn: ConnId, bytes: &[u8], now: Instant) {
        let Some(known) = self.conns.get_mut(&conn) else { return };
        known.framer.push(bytes);
        loop {
            let Some(known) = self.conns.get_mut(&conn) else { return };
            match known.framer.poll() {
                Ok(Some(Part::Head(head, has_body))) => self.head(conn, head, has_body, now),
                Ok(Some(Part::Body(body))) => self.body(conn, &body),
                Ok(Some(Part::End(flag))) => self.end(conn, flag),
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(%error, "an MSRP connection is closed");
                    self.outputs.push_back(Output::Close(conn));
                    return self.handle_closed(conn);
                }
            }
        }
    }

    /// Something may be due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for (name, session) in &mut self.sessions {
            while let Some((_, message, _)) = session.pending.pop_front_if(|p| p.2 <= now) {
                let event = SessionEvent::Report { id: message, status: 408 };
                self.outputs.push_back(Output::Event(name.clone(), event));
            }
        }
        let is_due = |conn: &Conn| conn.deadline.is_some_and(|at| at <= now);
        let due: Vec<ConnId> =
            self.conns.iter().filter(|(_, c)| is_due(c)).map(|(n, _)| *n).collect();
        for conn in due {
            self.outputs.push_back(Output::Close(conn));
            self.handle_closed(conn);
        }
    }

    fn open(&mut self, config: SessionConfig, now: Instant) {
        let name = config.local.session.clone();
        let is_active = config.is_active;
        let target = config.remote.first().cloned();
        let (place, fingerprint) = (config.place.clone(), config.fingerprint.clone());
        let session = Session {
            config,
            conn: None,
            is_ready: false,
            inbound: Inbound::default(),
            queue: VecDeque::new(),
            pending: VecDeque::new(),
            silent: VecDeque::new(),
        };
        self.sessions.insert(name.clone(), session);
        let Some(target) = target.filter(|_| is_active) else { return };
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        let waits = Conn {
            sessions: vec![name.clone()],
            deadline: Some(now + PATIENCE),
            ..Conn::default()
        };
        self.conns.insert(conn, waits);
        if let Some(session) = self.sessions.get_mut(&name) {
            session.conn = Some(conn);
        }
        let (place, is_secure) = (place.unwrap_or_else(|| target.place()), target.is_secure);
        self.outputs.push_back(Output::Connect { conn, place, is_secure, fingerprint });
    }

    /// The connection of an active session is there: an empty request binds it at the peer (section 5.4).
    fn bind(&mut self, name: &str, now: Instant) {
        let id = self.transaction(&[]);
        let Some(session) = self.sessions.get_mut(name) else { return };
        let Some(conn) = session.conn else { return };
        session.is_ready = true;
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.deadline = None;
        }
        if session.queue.is_empty() {
            let (to, from) = (session.config.remote.clone(), session.config.local.clone());
            let head = Head::request(&id, "SEND", to, from)
                .with("Message-ID", id.clone())
                .with("Byte-Range", "1-0/0");
            self.outputs.push_back(Output::Write(conn, head.print(None, Flag::Complete)));
        }
        self.outputs.push_back(Output::Event(name.to_owned(), SessionEvent::Ready));
        self.flush(name, now);
    }

    fn send(&mut self, name: &str, message: Outgoing, now: Instant) {
        let Some(session) = self.sessions.get_mut(name) else {
            let event = SessionEvent::Report { id: message.id, status: 481 };
            return self.outputs.push_back(Output::Event(name.to_owned(), event));
        };
        if session.queue.len() >= MAX_QUEUED || session.pending.len() >= MAX_PENDING {
            let event = SessionEvent::Report { id: message.id, status: 408 };
            return self.outputs.push_back(Output::Event(name.to_owned(), event));
        }
        session.queue.push_back(message);
        self.flush(name, now);
    }

    fn flush(&mut self, name: &str, now: Instant) {
        loop {
            let Some(session) = self.sessions.get_mut(name).filter(|s| s.is_ready) else { return };
            let Some(conn) = session.conn else { return };
            let Some(message) = session.queue.pop_front() else { return };
            let (to, from) = (session.config.remote.clone(), session.config.local.clone());
            let total = message.body.len();
            let mut at = 0;
            loop {
                let end = (at + CHUNK).min(total);
                let chunk = message.body.slice(at..end);
                let id = self.transaction(&chunk);
                let head = Head::request(&id, "SEND", to.clone(), from.clone())
                    .with("Message-ID", message.id.clone())
                    .with("Byte-Range", format!("{}-{end}/{total}", at + 1))
                    .with("Success-Report", if message.wants_report { "yes" } else { "no" })
                    .with("Failure-Report", "yes")
                    .with("Content-Type", message.content_type.clone());
                let flag = if end == total { Flag::Complete } else { Flag::More };
                self.outputs.push_back(Output::Write(conn, head.print(Some(&chunk), flag)));
                if let Some(session) = self.sessions.get_mut(name) {
                    session.pending.push_back((id, message.id.clone(), now + PATIENCE));
                }
                at = end;
                if at == total {
                    break;
                }
            }
        }
    }

    /// A transaction id whose end-line is not in `body`.
    fn transaction(&mut self, body: &[u8]) -> String {
        loop {
            self.serial += 1;
            let id = format!("{}{:x}", self.prefix, self.serial);
            if memchr::memmem::find(body, id.as_bytes()).is_none() {
                return id;
            }
        }
    }

    fn head(&mut self, conn: ConnId, head: Head, has_body: bool, now: Instant) {
        let name = head.to.first().map(|uri| uri.session.clone()).unwrap_or_default();
        let known = self.sessions.get(&name).filter(|s| {
            head.to.first().is_some_and(|uri| {
                uri.session == s.config.local.session && uri.is_secure == s.config.local.is_secure
            })
        });
        if !matches!(head.start, Start::Request(_)) {
            let id = head.id.clone();
            if let (Start::Response(status, _), true) =
                (&head.start, known.is_some_and(|s| s.conn == Some(conn)))
            {
                self.response(&name, &id, *status);
            }
            return self.set_current(conn, None);
        }
        let status = match known {
            None => 481,
            Some(session) if session.conn.is_some_and(|own| own != conn) => 506,
            Some(_) => 200,
        };
        if status == 200 {
            self.bound(conn, &name, now);
        }
        let mut current = Current { session: None, status, has_body, head };
        if status == 200 {
            current.session = Some(name.clone());
            current.status = match (method_of(&current.head), has_body) {
                ("SEND", true) => self.begin(&name, &current.head, now).err().unwrap_or(200),
                ("SEND" | "REPORT" | "NICKNAME", _) => 200,
                _ => 501,
            };
        }
        self.set_current(conn, Some(current));
    }

    fn set_current(&mut self, conn: ConnId, current: Option<Current>) {
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.current = current;
        }
    }

    /// The first request of a session over a connection binds both (section 5.4).
    fn bound(&mut self, conn: ConnId, name: &str, now: Instant) {
        let Some(session) = self.sessions.get_mut(name) else { return };
        if session.conn == Some(conn) {
            return;
        }
        (session.conn, session.is_ready) = (Some(conn), true);
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.deadline = None;
            conn.sessions.push(name.to_owned());
        }
        self.outputs.push_back(Output::Event(name.to_owned(), SessionEvent::Ready));
        self.flush(name, now);
    }

    fn begin(&mut self, name: &str, head: &Head, now: Instant) -> Result<(), u16> {
        let session = self.sessions.get_mut(name).ok_or(481_u16)?;
        let range: Range = head.range().ok_or(400_u16)?;
        let media_type = head.get("Content-Type").unwrap_or_default();
        if !accepts(&session.config.accepts, media_type) {
            return Err(415);
        }
        session.inbound.begin(head, range, session.config.max_size, now)
    }

    fn body(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(current) = self.conns.get_mut(&conn).and_then(|c| c.current.as_mut()) else {
            return;
        };
        let (Some(name), 200, "SEND") =
            (&current.session, current.status, method_of(&current.head))
        else {
            return;
        };
        if let Some(session) = self.sessions.get_mut(name) {
            let taken = session.inbound.body(bytes, session.config.max_size);
            current.status = taken.err().unwrap_or(200);
        }
    }

    fn end(&mut self, conn: ConnId, flag: Flag) {
        let Some(current) = self.conns.get_mut(&conn).and_then(|c| c.current.take()) else {
            return;
        };
        let Current { head, session: name, status, has_body } = current;
        match (method_of(&head), &name) {
            ("REPORT", Some(name)) => return self.reported(name, &head),
            ("REPORT", None) => return,
            ("NICKNAME", Some(name)) => {
                let Some(nickname) = head.get("Use-Nickname") else {
                    return self.answer(conn, &head, 424);
                };
                let nickname = nickname.trim().trim_matches('"').to_owned();
                let event = SessionEvent::Nickname { request: head.id.clone(), nickname };
                return self.outputs.push_back(Output::Event(name.clone(), event));
            }
            _ => {}
        }
        let failure = head.get("Failure-Report").unwrap_or("yes").to_ascii_lowercase();
        let is_told = match failure.as_str() {
            "no" => false,
            "partial" => status != 200,
            _ => true,
        };
        if is_told {
            self.answer(conn, &head, status);
        }
        let (Some(name), true, 200) = (name, has_body, status) else { return };
        let Some(session) = self.sessions.get_mut(&name) else { return };
        let Some(message) = session.inbound.end(flag) else { return };
        if failure == "no" {
            session.silent.push_back(message.id.clone());
            if session.silent.len() > MAX_SILENT {
                session.silent.pop_front();
            }
        }
        if head.get("Success-Report").is_some_and(|v| v.eq_ignore_ascii_case("yes")) {
            self.report(conn, &head, &message);
        }
        self.outputs.push_back(Output::Event(name, SessionEvent::Message(message)));
    }

    /// All of a message is here, and its sender wants to know (section 7.1.3).
    fn report(&mut self, conn: ConnId, head: &Head, message: &Incoming) {
        let id = self.transaction(&[]);
        let Some(own) = head.to.last().cloned() else { return };
        let total = message.body.len();
        let report = Head::request(&id, "REPORT", head.from.clone(), own)
            .with("Message-ID", message.id.clone())
            .with("Byte-Range", format!("1-{total}/{total}"))
            .with("Status", "000 200 OK");
        self.outputs.push_back(Output::Write(conn, report.print(None, Flag::Complete)));
    }

    fn fail(&mut self, name: &str, message: &str, length: usize, status: u16) {
        let id = self.transaction(&[]);
        let Some(session) = self.sessions.get(name) else { return };
        let (Some(conn), false) = (session.conn, session.silent.iter().any(|m| m == message))
        else {
            return;
        };
        let report = Head::request(
            &id,
            "REPORT",
            session.config.remote.clone(),
            session.config.local.clone(),
        )
        .with("Message-ID", message)
        .with("Byte-Range", format!("1-{length}/{length}"))
        .with("Status", format!("000 {status:03}"));
        self.outputs.push_back(Output::Write(conn, report.print(None, Flag::Complete)));
    }

    fn answer(&mut self, conn: ConnId, request: &Head, status: u16) {
        let (Some(to), Some(own)) = (request.from.first(), request.to.first()) else { return };
        let head = response(&request.id, status, vec![to.clone()], own.clone());
        self.outputs.push_back(Output::Write(conn, head.print(None, Flag::Complete)));
    }

    fn response(&mut self, name: &str, id: &str, status: u16) {
        let Some(session) = self.sessions.get_mut(name) else { return };
        let Some(at) = session.pending.iter().position(|(known, ..)| known == id) else { return };
        let Some((_, message, _)) = session.pending.remove(at) else { return };
        if status != 200 {
            // One word about a message is enough, however many chunks it had.
            session.pending.retain(|(_, other, _)| *other != message);
            let event = SessionEvent::Report { id: message, status };
            self.outputs.push_back(Output::Event(name.to_owned(), event));
        }
    }

    fn reported(&mut self, name: &str, head: &Head) {
        let status = head.get("Status").and_then(|s| {
            let mut words = s.split_ascii_whitespace();
            words.next().filter(|namespace| *namespace == "000")?;
            words.next()?.parse::<u16>().ok()
        });
        let range = head.range();
        let is_whole = range.is_none_or(|r| {
            head.get("Byte-Range").is_none()
                || r.start == 1 && (r.end == r.total || r.end.is_none())
        });
        let (Some(id), Some(status)) = (head.get("Message-ID"), status) else { return };
        if status != 200 || is_whole {
            let event = SessionEvent::Report { id: id.to_owned(), status };
            self.outputs.push_back(Output::Event(name.to_owned(), event));
        }
    }

    fn close(&mut self, name: &str) {
        let Some(session) = self.sessions.remove(name) else { return };
        let Some(conn) = session.conn else { return };
        let Some(known) = self.conns.get_mut(&conn) else { return };
        known.sessions.retain(|other| other != name);
        // A connection without sessions is closed (section 5.4 keeps it only as long as it has one).
        if known.sessions.is_empty() {
            self.conns.remove(&conn);
            self.outputs.push_back(Output::Close(conn));
        }
    }
}

fn method_of(head: &Head) -> &str {
    match &head.start {
        Start::Request(method) => method,
        Start::Response(..) => "",
    }
}

fn response(id: &str, status: u16, to: Vec<MsrpUri>, own: MsrpUri) -> Head {
    let comment = match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        408 => "Timeout",
        413 => "Message Too Large",
        415 => "Unsupported Media Type",
        423 => "Interval Out of Bounds",
        424 => "Malformed Nickname",
        425 => "Nickname Reserved",
        481 => "No Such Session",
        501 => "Unknown Method",
        506 => "Session Already In Use",
        _ => "",
    };
    let start = Start::Response(status, comment.to_owned());
    Head { id: id.to_owned(), start, to, from: vec![own], headers: Vec::new() }
}

/// Whether a media type is among those that are taken (section 8.6).
fn accepts(patterns: &[String], media_type: &str) -> bool {
    let bare = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    patterns.iter().any(|pattern| match pattern.strip_suffix("/*") {
        Some(main) => bare.split('/').next() == Some(main),
        None => pattern == "*" || *pattern == bare,
    })
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
