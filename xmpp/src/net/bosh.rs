//! BOSH sessions of this node: a task for each, between its requests and its stream (XEP-0124). Decides nothing.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::{serve_websocket, sleep_until};
use crate::service::Server;
use crate::stream::bosh::{Action, Body, BodyFault, Limits, Session};

/// Sessions of one node; who asks for one more gets `resource-constraint` in HTTP's words, see [`BoshSessions::request`].
const MAX_SESSIONS: usize = 20_000;
/// Requests of one session that wait to be taken.
const QUEUE: usize = 8;

/// One request with the way back.
type Request = (Body, oneshot::Sender<Bytes>);

/// All BOSH sessions of a node. Cheap to clone.
#[derive(Clone)]
pub struct BoshSessions(Arc<Inner>);

struct Inner {
    server: Server,
    limits: Limits,
    sessions: Mutex<HashMap<String, mpsc::Sender<Request>>>,
}

impl BoshSessions {
    /// None yet.
    pub fn new(server: Server, limits: Limits) -> Self {
        Self(Arc::new(Inner { server, limits, sessions: Mutex::default() }))
    }

    /// Takes the content of an HTTP request and gives that of its answer, which may be a minute later. `None`: too many
    /// sessions; the client may come again.
    pub async fn request(&self, content: Bytes, peer: SocketAddr) -> Option<Bytes> {
        let body = match Body::parse(&content) {
            Ok(body) => body,
            Err(error) => {
                tracing::debug!(%peer, %error, "not a BOSH request");
                return Some(BodyFault::answer());
            }
        };
        let (answer, answered) = oneshot::channel();
        let session = match &body.sid {
            Some(sid) => self.sessions().get(sid).cloned(),
            None => {
                if self.sessions().len() >= MAX_SESSIONS {
                    return None;
                }
                return Some(self.open(body, peer, answer, answered).await);
            }
        };
        if let Some(session) = session {
            let _ = session.send((body, answer)).await;
        }
        // A session that is over drops what it was asked last.
        Some(answered.await.unwrap_or_else(|_| Body::unknown_session()))
    }

    async fn open(
        &self,
        body: Body,
        peer: SocketAddr,
        answer: oneshot::Sender<Bytes>,
        answered: oneshot::Receiver<Bytes>,
    ) -> Bytes {
        let random = self.0.server.ports().accounts.random();
        let sid: String = random.iter().map(|b| format!("{b:02x}")).collect();
        let session = Session::open(sid.clone(), body, 0, self.0.limits, Instant::now());
        let session = match session {
            Ok(session) => session,
            Err(refusal) => return refusal,
        };
        let (requests, queue) = mpsc::channel(QUEUE);
        self.sessions().insert(sid.clone(), requests);
        let sessions = self.clone();
        tokio::spawn(async move {
            sessions.run(session, queue, answer, peer).await;
            sessions.sessions().remove(&sid);
        });
        answered.await.unwrap_or_else(|_| Body::unknown_session())
    }

    /// One session to its end.
    async fn run(
        &self,
        session: Session,
        requests: mpsc::Receiver<Request>,
        answer: oneshot::Sender<Bytes>,
        peer: SocketAddr,
    ) {
        let (to_stream, incoming) = mpsc::channel(QUEUE);
        let (outgoing, from_stream) = mpsc::channel(QUEUE);
        let server = self.0.server.clone();
        let stream = serve_websocket(server.clone(), incoming, outgoing, peer);
        let link = Link {
            session,
            requests,
            to_stream,
            from_stream,
            frames: VecDeque::new(),
            waiting: HashMap::from([(0, answer)]),
            next: 1,
        };
        let (undelivered, ()) = tokio::join!(link.run(), stream);
        for stanza in undelivered {
            server.redeliver(stanza).await;
        }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, mpsc::Sender<Request>>> {
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session with all that leads to it and away.
struct Link {
    session: Session,
    requests: mpsc::Receiver<Request>,
    to_stream: mpsc::Sender<Bytes>,
    from_stream: mpsc::Receiver<Bytes>,
    /// Frames that the stream has not taken yet. No more requests are taken meanwhile.
    frames: VecDeque<Bytes>,
    waiting: HashMap<u64, oneshot::Sender<Bytes>>,
    next: u64,
}

impl Link {
    /// Runs until the session is over; dropped with it, the stream sees its end. Gives what was not delivered.
    async fn run(mut self) -> Vec<Bytes> {
        let mut has_stream = true;
        while !self.act() {
            let is_busy = !self.frames.is_empty();
            let has_room = has_stream && self.session.has_room();
            tokio::select! {
                biased;
                // 1. What the stream says, as much as is there.
                frame = self.from_stream.recv(), if has_room => match frame {
                    Some(frame) => self.take_frames(frame),
                    None => {
                        has_stream = false;
                        self.session.handle_stream_end();
                    }
                },
                // 2. What the client has said.
                space = self.to_stream.clone().reserve_owned(), if is_busy => {
                    match (space, self.frames.pop_front()) {
                        (Ok(space), Some(frame)) => drop(space.send(frame)),
                        // The stream is over; its last word is still to be read.
                        _ => self.frames.clear(),
                    }
                }
                // 3. What it says now.
                request = self.requests.recv(), if !is_busy => {
                    let Some((body, answer)) = request else { break };
                    let ticket = self.next;
                    self.next += 1;
                    self.waiting.insert(ticket, answer);
                    self.session.handle_request(body, ticket, Instant::now());
                }
                // 4. What is due.
                () = sleep_until(self.session.poll_timeout()) => {
                    self.session.handle_timeout(Instant::now());
                }
            }
            self.session.flush(Instant::now());
        }
        self.wind_up().await
    }

    /// What the client said last is heard before the stream sees the end. What the stream says after that is too late.
    async fn wind_up(self) -> Vec<Bytes> {
        let Self { mut session, to_stream, mut from_stream, frames, .. } = self;
        let send = async move {
            for frame in frames {
                if to_stream.send(frame).await.is_err() {
                    break;
                }
            }
        };
        let take = async {
            while let Some(frame) = from_stream.recv().await {
                session.handle_late_frame(frame);
            }
        };
        tokio::join!(send, take);
        session.into_undelivered()
    }

    fn take_frames(&mut self, first: Bytes) {
        self.session.handle_frame(first);
        while self.session.has_room()
            && let Ok(frame) = self.from_stream.try_recv()
        {
            self.session.handle_frame(frame);
        }
    }

    /// Does what the session wants; true when it is over.
    fn act(&mut self) -> bool {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Frame(frame) => self.frames.push_back(frame),
                Action::Answer(ticket, answer) => {
                    if let Some(waiting) = self.waiting.remove(&ticket) {
                        let _ = waiting.send(answer);
                    }
                }
                Action::End => return true,
            }
        }
        false
    }
}
