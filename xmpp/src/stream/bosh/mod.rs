//! A client's stream over HTTP requests (XEP-0124 version 1.11.2, XEP-0206 version 1.4): request ids, holding, waiting.
//!
//! A session sits between HTTP and a stream whose parts travel as over a WebSocket: what the client sends comes out by
//! [`Action::Frame`], what the stream says goes in by [`Session::handle_frame`]. Each request gets a ticket from the
//! driver and is answered by [`Action::Answer`] with that ticket. Drain [`Session::poll_action`] after each call, call
//! [`Session::flush`] once all frames at hand are in, and [`Session::handle_timeout`] when [`Session::poll_timeout`] is
//! due. After [`Action::End`] nothing more comes out.
//!
//! Several streams in one session (section 16) are not offered: the optional `stream` attribute is never sent.

mod body;
#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha1::{Digest, Sha1};

use self::body::{Answer, hex};
pub use self::body::{Body, BodyFault};
use crate::xml::{Element, ns};

const FRAMING: &str = "urn:ietf:params:xml:ns:xmpp-framing";
/// Most requests the server holds for a client; what it asks for beyond that is not given.
const MAX_HOLD: u64 = 2;
/// Answers kept for clients that did not get them, beside those of the window.
const SPARE_ANSWERS: usize = 1;
/// Empty requests in a row, each too soon after the last and while another is held, before the session ends.
const MAX_STRIKES: u32 = 10;

/// What bounds a session.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest time a request is held. Default 60 s.
    pub wait: Duration,
    /// Silence after which a client is taken for gone. Default 60 s.
    pub inactivity: Duration,
    /// Longest pause a client may announce. Default 120 s.
    pub pause: Duration,
    /// Shortest time between two polls that bring nothing. Default 2 s.
    pub polling: Duration,
    /// Bytes that wait for the client's next request before no more is taken from the stream. Default 1 MiB.
    pub queued_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(60),
            inactivity: Duration::from_secs(60),
            pause: Duration::from_secs(120),
            polling: Duration::from_secs(2),
            queued_bytes: 1024 * 1024,
        }
    }
}

/// What the driver must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Give this to the stream.
    Frame(Bytes),
    /// Answer the request with this ticket.
    Answer(u64, Bytes),
    /// The session is over. The driver closes the stream.
    End,
}

/// A request that is held.
#[derive(Debug)]
struct Held {
    ticket: u64,
    until: Instant,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    sid: String,
    limits: Limits,
    hold: usize,
    wait: Duration,
    domain: String,
    lang: Option<String>,
    acknowledges: bool,
    /// The answer to the first request has not gone out.
    is_new: bool,
    /// The last request that was taken in order.
    taken: u64,
    held: BTreeMap<u64, Held>,
    /// Requests that came before their turn.
    early: BTreeMap<u64, (Body, u64)>,
    /// Answers that went out, by request; a client that lost one asks again.
    answered: VecDeque<(u64, Bytes)>,
    queued: VecDeque<Bytes>,
    queued_bytes: usize,
    /// The last key, in hexadecimal (section 15).
    key: Option<String>,
    last_empty: Option<Instant>,
    strikes: u32,
    /// Nothing is held since then, and how long that may last.
    silent_since: Instant,
    patience: Duration,
    /// The stream acknowledges stanzas (XEP-0198) and looks after what was not delivered.
    is_managed: bool,
    over: bool,
    actions: VecDeque<Action>,
}

impl Session {
    /// A session from its first request (section 7.1), which the driver has given `ticket`. `sid` cannot be guessed.
    ///
    /// # Errors
    ///
    /// The answer to a request that begins no session.
    pub fn open(
        sid: String,
        body: Body,
        ticket: u64,
        limits: Limits,
        now: Instant,
    ) -> Result<Self, Bytes> {
        let Some(to) = body.to.clone().filter(|to| !to.is_empty()) else {
            return Err(Answer::terminate(Some("improper-addressing")).to_bytes());
        };
        if body.sid.is_some() {
            return Err(Answer::terminate(Some("item-not-found")).to_bytes());
        }
        let wait = Duration::from_secs(body.wait.unwrap_or(60)).min(limits.wait);
        let hold = body.hold.unwrap_or(1).min(MAX_HOLD);
        let mut session = Self {
            sid,
            limits,
            hold: if wait.is_zero() { 0 } else { usize::try_from(hold).unwrap_or(1) },
            wait,
            domain: to,
            lang: body.lang.clone(),
            acknowledges: body.ack.is_some(),
            is_new: true,
            taken: body.rid,
            held: BTreeMap::new(),
            early: BTreeMap::new(),
            answered: VecDeque::new(),
            queued: VecDeque::new(),
            queued_bytes: 0,
            key: body.new_key.clone(),
            last_empty: None,
            strikes: 0,
            silent_since: now,
            patience: limits.inactivity,
            is_managed: false,
            over: false,
            actions: VecDeque::new(),
        };
        let opening = session.opening();
        session.actions.push_back(Action::Frame(opening));
        let payloads = body.payloads.into_iter().map(Action::Frame);
        session.actions.extend(payloads);
        session.held.insert(body.rid, Held { ticket, until: now + session.limits.wait });
        Ok(session)
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next deadline; none once the session is over.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        let held = self.held.values().map(|held| held.until).min();
        held.or(Some(self.silent_since + self.patience))
    }

    /// Whether what the stream says can be taken in.
    pub fn has_room(&self) -> bool {
        !self.over && self.queued_bytes < self.limits.queued_bytes
    }

    /// What was queued and will not be sent, once the session is over, for others to deliver. Empty when the stream
    /// looks after that itself.
    pub fn into_undelivered(self) -> Vec<Bytes> {
        if self.is_managed { Vec::new() } else { self.queued.into() }
    }

    /// Takes a request (sections 8, 14 and 15).
    pub fn handle_request(&mut self, body: Body, ticket: u64, now: Instant) {
        if self.over {
            return self.answer_late(ticket);
        }
        if body.rid <= self.taken {
            return self.repeat(body.rid, ticket, now);
        }
        let window = u64::try_from(self.requests()).unwrap_or(1);
        // One more is allowed to pause or to end (section 11).
        let more = u64::from(body.pause.is_some() || body.terminates);
        let is_beyond = body.rid > self.taken + window + more;
        if let Some((_, first)) = self.early.insert(body.rid, (body, ticket)) {
            let again = Answer { error: true, ..Answer::default() }.to_bytes();
            self.actions.push_back(Action::Answer(first, again));
        }
        if is_beyond {
            return self.terminate("item-not-found");
        }
        while let Some((body, ticket)) = self.early.remove(&(self.taken + 1)) {
            self.take(body, ticket, now);
            if self.over {
                return;
            }
        }
    }

    /// Takes a part of the stream for the client.
    pub fn handle_frame(&mut self, frame: Bytes) {
        if self.over {
            return;
        }
        let begins = |with: &[u8]| frame.starts_with(with);
        if begins(b"<open ") || begins(b"<open>") {
            return;
        }
        if begins(b"<close ") || begins(b"<close/") {
            return self.close(None);
        }
        if begins(b"<stream:error") {
            return self.close(Some(frame));
        }
        self.is_managed |= begins(b"<enabled ") || begins(b"<resumed ");
        self.queued_bytes += frame.len();
        self.queued.push_back(frame);
    }

    /// Keeps what the stream said after the session was over, to be handed back.
    pub fn handle_late_frame(&mut self, frame: Bytes) {
        self.queued.push_back(frame);
    }

    /// The stream is gone without a word.
    pub fn handle_stream_end(&mut self) {
        if !self.over {
            self.terminate("remote-connection-failed");
        }
    }

    /// Answers what can be answered now: what is queued goes out with the oldest request.
    pub fn flush(&mut self, now: Instant) {
        if self.over {
            return;
        }
        while self.held.len() > self.hold.max(usize::from(self.is_new)) || self.may_answer() {
            if self.held.is_empty() {
                return;
            }
            self.answer_oldest(now);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.over {
            return;
        }
        while self.held.values().any(|held| held.until <= now) {
            self.answer_oldest(now);
        }
        if self.held.is_empty() && now >= self.silent_since + self.patience {
            // Nobody is told (section 10).
            self.finish();
        }
    }

    fn may_answer(&self) -> bool {
        !self.held.is_empty() && !self.queued.is_empty()
    }

    /// How many requests a client may have under way (section 7.2).
    fn requests(&self) -> usize {
        self.hold + 1
    }

    fn opening(&self) -> Bytes {
        Element::new("open", FRAMING)
            .with_attr("to", &*self.domain)
            .with_attr("version", "1.0")
            .with_attr_opt("xml:lang", self.lang.as_deref())
            .to_bytes_in("")
    }

    /// One request in its turn.
    fn take(&mut self, body: Body, ticket: u64, now: Instant) {
        self.taken = body.rid;
        self.held.insert(body.rid, Held { ticket, until: now + self.wait });
        if !self.fits_key(&body) {
            return self.terminate("item-not-found");
        }
        let is_empty = body.payloads.is_empty() && !body.restarts && !body.terminates;
        if self.is_too_often(is_empty && body.pause.is_none(), now) {
            return self.terminate("policy-violation");
        }
        self.patience = self.limits.inactivity;
        if body.restarts {
            let opening = self.opening();
            self.actions.push_back(Action::Frame(opening));
        }
        self.actions.extend(body.payloads.into_iter().map(Action::Frame));
        if body.terminates {
            let close = Element::new("close", FRAMING).to_bytes_in("");
            self.actions.push_back(Action::Frame(close));
            return self.close(None);
        }
        if let Some(pause) = body.pause {
            // Section 13: everything is answered, and the client may stay away.
            self.patience = Duration::from_secs(pause).min(self.limits.pause);
            while !self.held.is_empty() {
                self.answer_oldest(now);
            }
        }
    }

    /// Section 15.4.
    fn fits_key(&mut self, body: &Body) -> bool {
        if let Some(expected) = &self.key {
            let given = body.key.as_deref().map(|key| hex(&Sha1::digest(key)));
            if given.is_none_or(|given| !given.eq_ignore_ascii_case(expected)) {
                return false;
            }
        }
        let next = body.new_key.clone().or_else(|| body.key.clone());
        self.key = next.filter(|_| self.key.is_some() || body.new_key.is_some());
        true
    }

    /// Requests that bring nothing and get nothing, one soon after the other: polls (section 12), or such that push out
    /// those that are held (section 11), of which a few are borne with.
    fn is_too_often(&mut self, is_empty: bool, now: Instant) -> bool {
        if !is_empty || !self.queued.is_empty() {
            self.last_empty = None;
            self.strikes = 0;
            return false;
        }
        let last = self.last_empty.replace(now);
        let soon =
            last.is_some_and(|last| now.saturating_duration_since(last) < self.limits.polling);
        if self.hold == 0 {
            return soon;
        }
        let pushes_out = soon && self.held.len() > 1;
        self.strikes = if pushes_out { self.strikes + 1 } else { 0 };
        self.strikes > MAX_STRIKES
    }

    /// A request that was seen before (section 14.3): its answer again, or it is held instead of the first.
    fn repeat(&mut self, rid: u64, ticket: u64, now: Instant) {
        if let Some(held) = self.held.get_mut(&rid) {
            let first = std::mem::replace(held, Held { ticket, until: now + self.wait });
            let again = Answer { error: true, ..Answer::default() }.to_bytes();
            return self.actions.push_back(Action::Answer(first.ticket, again));
        }
        match self.answered.iter().find(|(known, _)| *known == rid) {
            Some((_, answer)) => {
                self.actions.push_back(Action::Answer(ticket, answer.clone()));
            }
            None => {
                let unknown = Answer::terminate(Some("item-not-found")).to_bytes();
                self.actions.push_back(Action::Answer(ticket, unknown));
                self.terminate("item-not-found");
            }
        }
    }

    fn answer_oldest(&mut self, now: Instant) {
        let Some((rid, held)) = self.held.pop_first() else { return };
        self.queued_bytes = 0;
        let answer = Answer {
            first: self.first_answer(),
            ack: self.ack(rid),
            payloads: std::mem::take(&mut self.queued).into(),
            ..Answer::default()
        };
        self.is_new = false;
        let bytes = answer.to_bytes();
        self.answered.push_back((rid, bytes.clone()));
        if self.answered.len() > self.requests() + SPARE_ANSWERS {
            self.answered.pop_front();
        }
        self.actions.push_back(Action::Answer(held.ticket, bytes));
        self.silent_since = now;
    }

    /// What the first answer says beside its payloads (section 7.2, XEP-0206 section 3).
    fn first_answer(&self) -> Option<Vec<(&'static str, String)>> {
        let seconds = |time: Duration| time.as_secs().to_string();
        self.is_new.then(|| {
            let mut attributes = vec![
                ("sid", self.sid.clone()),
                ("wait", seconds(self.wait)),
                ("hold", self.hold.to_string()),
                ("requests", self.requests().to_string()),
                ("inactivity", seconds(self.limits.inactivity)),
                ("maxpause", seconds(self.limits.pause)),
                ("polling", seconds(self.limits.polling)),
                ("ver", "1.11".to_owned()),
                ("from", self.domain.clone()),
                ("xmlns:xmpp", "urn:xmpp:xbosh".to_owned()),
                ("xmpp:version", "1.0".to_owned()),
                ("xmpp:restartlogic", "true".to_owned()),
            ];
            attributes.extend(self.lang.clone().map(|lang| ("xml:lang", lang)));
            attributes
        })
    }

    /// Section 9.1: the first answer names its own request, later ones only what is news.
    fn ack(&self, rid: u64) -> Option<u64> {
        (self.acknowledges && (self.is_new || self.taken != rid)).then_some(self.taken)
    }

    /// The stream has ended by itself or on the client's wish; `error` is its last word.
    fn close(&mut self, error: Option<Bytes>) {
        let condition = error.as_deref().map(|error| condition_of(error));
        self.queued.extend(error);
        let last = Answer {
            first: self.first_answer(),
            payloads: std::mem::take(&mut self.queued).into(),
            ..Answer::terminate(condition)
        };
        self.end_with(&last);
    }

    /// Ends the session with a condition of its own (section 17.2).
    fn terminate(&mut self, condition: &'static str) {
        self.end_with(&Answer::terminate(Some(condition)));
    }

    /// The oldest request learns why, the others that it is over (section 13).
    fn end_with(&mut self, last: &Answer) {
        let mut last = Some(last.to_bytes());
        let early = std::mem::take(&mut self.early).into_values().map(|(_, ticket)| ticket);
        let held = std::mem::take(&mut self.held).into_values().map(|held| held.ticket);
        for ticket in held.chain(early).collect::<Vec<_>>() {
            let bytes = last.take().unwrap_or_else(|| Answer::terminate(None).to_bytes());
            self.actions.push_back(Action::Answer(ticket, bytes));
        }
        self.finish();
    }

    fn finish(&mut self) {
        self.over = true;
        self.actions.push_back(Action::End);
    }

    fn answer_late(&mut self, ticket: u64) {
        let unknown = Answer::terminate(Some("item-not-found")).to_bytes();
        self.actions.push_back(Action::Answer(ticket, unknown));
    }
}

/// The condition for a stream error (section 17.2): few have one of their own.
fn condition_of(error: &[u8]) -> &'static str {
    let declared = [("stream".to_owned(), ns::STREAM.to_owned())];
    let error = Element::parse_in(error, &declared).ok();
    let name = error.as_ref().and_then(|e| e.elements().next()).map(Element::name);
    match name {
        Some("host-unknown") => "host-unknown",
        Some("host-gone") => "host-gone",
        Some("system-shutdown") => "system-shutdown",
        _ => "remote-stream-error",
    }
}
