//! The server in virtual time: a world of one core, phones made of text, and ports that answer at once or when told.

mod calls;
mod clear;
mod crossing;
mod early;
mod events;
mod foreign;
mod identity;
mod locate;
mod lossy;
mod outbound;
mod overload;
mod publish;
mod random;
mod refer;
mod reg_event;
mod register;
mod requests;
mod timers;
mod torture;
mod trunk;
mod trunk_door;
mod upkeep;
mod wake;
mod watching;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::binding::Binding;
use super::{Core, Job, JobId, JobResult, Listening, Output, Ticket};
use crate::auth::{Algorithm, Challenge, Credentials};
use crate::config::Config;
use crate::msg::header::Push;
use crate::msg::{Header, Limits, Message, Method, Request, Response, Uri, parse_datagram};
use crate::ports::{
    IncomingMessage, KnownNames, LegEvent, LegId, MessageReply, MessageResult, Origin, Publication,
    PublicationId, StoreError, Subscription, SubscriptionEnd, SubscriptionId, WatchEvent, WatchId,
};
use crate::transport::{Flow, Protocol};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\n";

/// The core with everything it has said.
struct World {
    core: Core,
    now: Instant,
    sent: Vec<(Flow, Message)>,
    legs: Vec<(LegId, LegEvent)>,
    saves: Vec<(JobId, String, Vec<Arc<Binding>>)>,
    /// Bindings that last longer, confirmed before they are kept.
    refreshes: Vec<(String, Vec<Arc<Binding>>)>,
    /// Saves wait for [`World::save`].
    holds_saves: bool,
    messages: Vec<IncomingMessage>,
    reply: MessageReply,
    subscriptions: Vec<Subscription>,
    consent: Result<(), u16>,
    ended: Vec<(SubscriptionId, SubscriptionEnd)>,
    publications: Vec<Publication>,
    /// Where they wait for a word about the state, when they are to.
    held_states: Option<Vec<JobId>>,
    unpublished: Vec<PublicationId>,
    watched: Vec<(WatchId, WatchEvent)>,
    results: Vec<(Ticket, MessageResult)>,
    tried: Vec<(String, bool)>,
    trunk_is_up: Option<bool>,
    trunk_is_there: Vec<bool>,
    turned_away: Vec<crate::ports::Refusal>,
    must_wait: Option<Duration>,
    connects: Vec<Flow>,
    /// The phones that sleep, of the account that was told of last.
    asleep: Vec<Arc<Binding>>,
    pushes: Vec<Push>,
    /// What the push service says.
    takes_pushes: bool,
    names: KnownNames,
    /// Lookups wait until they are let go.
    holds_lookups: bool,
    lookups: Vec<(JobId, Box<crate::transport::Search>)>,
    serial: u32,
}

fn config() -> Config {
    Config { domains: vec!["example.org".into()], ..Config::default() }
}

fn flow(protocol: Protocol, socket: u64, port: u16) -> Flow {
    let peer = ([192, 0, 2, 7], port).into();
    Flow { protocol, socket, peer, local: ([192, 0, 2, 1], 5060).into() }
}

fn udp(port: u16) -> Flow {
    flow(Protocol::Udp, 0, port)
}

impl World {
    #[allow(clippy::disallowed_methods)] // an origin for virtual time
    fn with(config: Config, bindings: Vec<Binding>) -> Self {
        let now = Instant::now();
        let local = ([192, 0, 2, 1], 5060).into();
        let listeners = [(Protocol::Udp, 0), (Protocol::Tcp, 1)]
            .map(|(protocol, socket)| Listening { protocol, socket, local, outward: [None; 2] })
            .to_vec();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let mut world = Self {
            core: Core::new(config, listeners, bindings, [7; 32], now, wall),
            now,
            sent: Vec::new(),
            legs: Vec::new(),
            saves: Vec::new(),
            refreshes: Vec::new(),
            holds_saves: false,
            messages: Vec::new(),
            reply: MessageReply::new(200),
            subscriptions: Vec::new(),
            consent: Ok(()),
            ended: Vec::new(),
            publications: Vec::new(),
            held_states: None,
            unpublished: Vec::new(),
            watched: Vec::new(),
            results: Vec::new(),
            tried: Vec::new(),
            trunk_is_up: None,
            trunk_is_there: Vec::new(),
            turned_away: Vec::new(),
            must_wait: None,
            connects: Vec::new(),
            asleep: Vec::new(),
            pushes: Vec::new(),
            takes_pushes: true,
            names: KnownNames::default(),
            holds_lookups: false,
            lookups: Vec::new(),
            serial: 0,
        };
        world.drain();
        world
    }

    fn new() -> Self {
        Self::with(config(), Vec::new())
    }

    fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send(flow, bytes) => {
                    // The driver can only send over what it was told to open before.
                    assert!(flow.socket < super::OWN_SOCKETS || self.connects.contains(&flow));
                    self.sent.push((flow, sent(bytes)));
                }
                Output::Job(id, job) => self.job(id, job),
                Output::Leg(leg, event) => self.legs.push((leg, event)),
                Output::SubscriptionEnded(id, why) => self.ended.push((id, why)),
                Output::MessageDone(ticket, result) => self.results.push((ticket, result)),
                Output::Known(_) => {}
                Output::TurnedAway(_, why) => self.turned_away.push(why),
                Output::Tried { account, ok, .. } => self.tried.push((account, ok)),
                Output::Trunk(_, is_up) => self.trunk_is_up = Some(is_up),
                Output::TrunkThere(_, is_there) => self.trunk_is_there.push(is_there),
                Output::Unpublished(id) => self.unpublished.push(id),
                Output::Watched(id, event) => self.watched.push((id, event)),
                Output::Connect(flow, _) => self.connects.push(flow),
                Output::Bindings { asleep, .. } => self.asleep = asleep,
                Output::Refreshed(account, bindings) => self.refreshes.push((account, bindings)),
            }
        }
    }

    fn job(&mut self, id: JobId, job: Job) {
        let result = match job {
            Job::Password { realm, user, algorithm, .. } => match self.must_wait {
                Some(time) => JobResult::MustWait(time),
                None => {
                    let known = matches!(user.as_str(), "ana" | "carl");
                    JobResult::Password(Ok(known.then(|| algorithm.ha1(&user, &realm, "secret"))))
                }
            },
            Job::Save { account, bindings } => {
                self.saves.push((id, account, bindings));
                if self.holds_saves {
                    return;
                }
                JobResult::Saved(Ok(()))
            }
            Job::Message(message) => {
                self.messages.push(*message);
                JobResult::Message(self.reply.clone())
            }
            Job::Locate(search) if self.holds_lookups => return self.lookups.push((id, search)),
            Job::Locate(search) => JobResult::Located(self.found(*search)),
            Job::Push(push) => {
                self.pushes.push(*push);
                JobResult::Pushed(self.takes_pushes)
            }
            Job::Subscribe(subscription) => {
                self.subscriptions.push(*subscription);
                JobResult::Subscribe(self.consent)
            }
            Job::Publish(publication) => {
                self.publications.push(*publication);
                if let Some(held) = &mut self.held_states {
                    return held.push(id);
                }
                JobResult::Publish(self.consent)
            }
        };
        self.core.job_done(id, result, self.now);
        self.drain();
    }

    fn found(&self, search: crate::transport::Search) -> Vec<crate::transport::Hop> {
        futures_util::FutureExt::now_or_never(super::locate::find(&self.names, search)).unwrap()
    }

    /// Ends the oldest save.
    fn save(&mut self, result: Result<(), StoreError>) {
        let (id, ..) = self.saves.remove(0);
        self.core.job_done(id, JobResult::Saved(result), self.now);
        self.drain();
    }

    fn receive(&mut self, message: Message, flow: Flow) {
        self.core.handle_message(message, flow, self.now);
        self.drain();
    }

    /// Time passes, with everything that falls due in it.
    fn pass(&mut self, seconds: f64) {
        let until = self.now + Duration::from_secs_f64(seconds);
        while let Some(at) = self.core.next_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.core.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    /// What has been sent since the last look: methods and statuses.
    fn said(&mut self) -> Vec<String> {
        self.sent.drain(..).map(|(_, message)| word(&message)).collect()
    }

    fn last_response(&self) -> &Response {
        let found = self.sent.iter().rev().find_map(|(_, message)| match message {
            Message::Response(response) => Some(response),
            Message::Request(_) => None,
        });
        found.unwrap()
    }

    fn last_request(&self) -> (Flow, Request) {
        let found = self.sent.iter().rev().find_map(|(flow, message)| match message {
            Message::Request(request) => Some((*flow, request.clone())),
            Message::Response(_) => None,
        });
        found.unwrap()
    }

    /// A request of a phone outside any dialog, without credentials.
    fn request(
        &mut self,
        method: &str,
        uri: &str,
        user: &str,
        fields: &str,
        body: &str,
    ) -> Request {
        self.serial += 1;
        let n = self.serial;
        let to = if method == "REGISTER" { format!("sip:{user}@example.org") } else { uri.into() };
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK{n};rport\r\n\
             From: <sip:{user}@example.org>;tag=f{n}\r\nTo: <{to}>\r\nCall-ID: call-{n}\r\n\
             CSeq: {n} {method}\r\nMax-Forwards: 70\r\n{fields}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        request(text)
    }

    /// The same request, answering the last challenge.
    fn signed(
        &mut self,
        mut request: Request,
        user: &str,
        password: &str,
        hash: Algorithm,
    ) -> Request {
        self.serial += 1;
        let challenges = self.last_response().headers.get_all("WWW-Authenticate");
        let mut challenges = challenges.filter_map(|text| Challenge::parse(text).ok());
        let challenge = challenges.find(|challenge| challenge.algorithm == hash);
        let challenge =
            challenge.unwrap_or_else(|| panic!("no challenge: {:?}", self.last_response()));
        let mut answer = Credentials {
            username: user.into(),
            realm: challenge.realm.clone(),
            nonce: challenge.nonce.clone(),
            uri: request.uri.to_string(),
            response: String::new(),
            algorithm: hash,
            opaque: None,
            protection: Some(crate::auth::digest::Protection {
                qop: crate::auth::Qop::Auth,
                cnonce: "c".into(),
                count: 1,
            }),
        };
        let ha1 = hash.ha1(user, &challenge.realm, password);
        answer.response = answer.expected(&ha1, request.method.as_str(), &request.body);
        request.headers.set("Authorization", answer.to_string());
        let via = format!("SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK{};rport", self.serial);
        request.headers.replace_first(&crate::msg::header::Via::parse(&via).unwrap());
        let method = request.method.clone();
        request.headers.set("CSeq", format!("{} {method}", self.serial));
        request
    }

    /// Sends a request of `user` through the challenge; gives it as it was sent the second time.
    fn ask(
        &mut self,
        method: &str,
        uri: &str,
        user: &str,
        fields: &str,
        body: &str,
        flow: Flow,
    ) -> Request {
        let request = self.request(method, uri, user, fields, body);
        self.receive(Message::Request(request.clone()), flow);
        if request.method == Method::INVITE {
            let mut ack = request.clone();
            ack.method = Method::ACK;
            ack.headers.set("CSeq", format!("{} ACK", request.headers.cseq().unwrap().number));
            ack.body = Bytes::new();
            self.receive(Message::Request(ack), flow);
        }
        let signed = self.signed(request, user, "secret", Algorithm::Sha256);
        self.receive(Message::Request(signed.clone()), flow);
        signed
    }

    /// Registers a phone of `user`; gives the status.
    fn register(&mut self, user: &str, fields: &str, flow: Flow) -> u16 {
        self.ask("REGISTER", "sip:example.org", user, fields, "", flow);
        self.last_response().status
    }

    fn binding(&self, user: &str) -> Binding {
        Binding::clone(&self.core.bindings(&format!("{user}@example.org"))[0])
    }

    /// Nothing is left of anything.
    fn is_empty(&self) -> bool {
        let core = &self.core;
        core.legs.is_empty()
            && core.waking.is_empty()
            && core.leg_of_dialog.is_empty()
            && core.leg_of_invite.is_empty()
            && core.leg_of_call.is_empty()
            && core.watch_counts.is_empty()
            && core.owners.is_empty()
            && core.jobs.is_empty()
            && core.watches.is_empty()
            && core.watchings.is_empty()
            && core.publications.is_empty()
            && core.watch_of_dialog.is_empty()
            && core.layer.is_empty()
    }
}

/// What the server sent. The answer to what could not be read has fields that cannot be read either.
fn sent(bytes: Bytes) -> Message {
    parse_datagram(bytes.clone(), &Limits::default()).unwrap_or_else(|error| {
        let text = String::from_utf8_lossy(&bytes);
        let status = text.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse().ok());
        Message::Response(Response::new(status.unwrap_or_else(|| panic!("{error}: {text}"))))
    })
}

fn request(text: String) -> Request {
    match parse_datagram(Bytes::from(text), &Limits::default()).unwrap() {
        Message::Request(request) => request,
        Message::Response(_) => unreachable!(),
    }
}

/// What a phone answers to a request of ours.
fn answer(request: &Request, status: u16, tag: &str, sdp: &str) -> Message {
    let mut response = request.response(status, Some(tag));
    if (101..300).contains(&status) {
        response.headers.push("Contact", format!("<sip:phone-{tag}@192.0.2.7:5060>"));
    }
    if !sdp.is_empty() {
        response = response.with_body("application/sdp", Bytes::from(sdp.to_owned()));
    }
    Message::Response(response)
}

/// A request inside the dialog that `invite` of a phone made, answered by `ok`.
fn inside(
    world: &mut World,
    invite: &Request,
    ok: &Response,
    method: &str,
    fields: &str,
    body: &str,
) -> Message {
    world.serial += 1;
    let n = world.serial;
    let header = |name: &str| invite.headers.get(name).unwrap().to_owned();
    let number = if method == "ACK" { invite.headers.cseq().unwrap().number } else { n };
    let text = format!(
        "{method} sip:server@192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK{n};rport\r\n\
         From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {number} {method}\r\nMax-Forwards: 70\r\n{fields}\
         Content-Length: {}\r\n\r\n{body}",
        header("From"),
        ok.headers.get("To").unwrap(),
        header("Call-ID"),
        body.len(),
    );
    Message::Request(request(text))
}

fn word(message: &Message) -> String {
    match message {
        Message::Request(request) => request.method.to_string(),
        Message::Response(response) => response.status.to_string(),
    }
}

fn uri(text: &str) -> Uri {
    Uri::parse(text).unwrap()
}

fn methods(sent: &[(Flow, Message)], method: &Method) -> usize {
    sent.iter().filter(|(_, m)| matches!(m, Message::Request(r) if r.method == *method)).count()
}
