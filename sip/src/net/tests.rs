//! Real sockets on loopback: what bad input earns (RFC 4475; `Limits`), who may stay connected, and what a lost connection
//! costs (RFC 3261 section 18). A witness, registered throughout, shows that nobody else notices.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::task::Inbound;
use super::*;
use crate::auth::{Algorithm, Challenge};
use crate::msg::stream::{Frame, Framer};
use crate::msg::{Message, NameAddr, Response, Uri, parse_datagram};
use crate::ports::{
    Accounts, Binding, Bindings, BoxFuture, Calls, Events, IncomingMessage, KnownNames, LegEvent,
    LegId, MessageReply, Messages, OutgoingMessage, Ports, Publication, PublicationId, Push,
    StoreError, Subscription, SubscriptionEnd, SubscriptionId, Target, Waker, WatchEvent, WatchId,
};

pub(super) const SHORT: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Memory {
    saved: Mutex<HashMap<String, Vec<Arc<Binding>>>>,
}

impl Accounts for Memory {
    fn ha1<'a>(
        &'a self,
        realm: &'a str,
        user: &'a str,
        algorithm: Algorithm,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        Box::pin(async move { Ok(Some(algorithm.ha1(user, realm, "secret"))) })
    }
    fn must_wait(&self, _: IpAddr, _: &str) -> Option<Duration> {
        None
    }
    fn tried(&self, _: IpAddr, _: &str, _: bool) {}
    fn turned_away(&self, _: IpAddr, _: crate::ports::Refusal, _: u64) {}
}

impl Bindings for Memory {
    fn key(&self) -> BoxFuture<'_, Result<[u8; 32], StoreError>> {
        Box::pin(async { Ok([5; 32]) })
    }

    fn load(&self) -> BoxFuture<'_, Result<Vec<Binding>, StoreError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn save<'a>(
        &'a self,
        account: &'a str,
        bindings: &'a [Arc<Binding>],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.saved.lock().unwrap().insert(account.to_owned(), bindings.to_vec());
        Box::pin(async { Ok(()) })
    }
    fn refreshed(&self, account: &str, bindings: &[Arc<Binding>]) {
        self.saved.lock().unwrap().insert(account.to_owned(), bindings.to_vec());
    }
    fn changed(&self, _: &str, _: &[Arc<Binding>], _: &[Arc<Binding>]) {}
}

impl Waker for Memory {
    fn wake<'a>(&'a self, _: &'a Push) -> BoxFuture<'a, bool> {
        Box::pin(async { false })
    }
}

impl Calls for Memory {
    fn event(&self, _: LegId, _: LegEvent) {}
}

impl Messages for Memory {
    fn message(&self, _: IncomingMessage) -> BoxFuture<'_, MessageReply> {
        Box::pin(async { MessageReply::new(202) })
    }
}

impl Events for Memory {
    fn subscribed(&self, _: Subscription) -> BoxFuture<'_, Result<(), u16>> {
        Box::pin(async { Err(403) })
    }
    fn ended(&self, _: SubscriptionId, _: SubscriptionEnd) {}
    fn published(&self, _: Publication) -> BoxFuture<'_, Result<(), u16>> {
        Box::pin(async { Err(403) })
    }
    fn unpublished(&self, _: PublicationId) {}
    fn watched(&self, _: WatchId, _: WatchEvent) {}
}

/// A server on loopback: its handle, its UDP and its TCP address.
pub(super) async fn server(config: Config) -> (SipHandle, SocketAddr, SocketAddr) {
    server_at(config, ([127, 0, 0, 1], 0).into()).await
}

pub(super) async fn server_at(
    config: Config,
    addr: SocketAddr,
) -> (SipHandle, SocketAddr, SocketAddr) {
    let memory = Arc::new(Memory::default());
    let ports = Ports {
        accounts: memory.clone(),
        bindings: memory.clone(),
        calls: memory.clone(),
        messages: memory.clone(),
        events: memory.clone(),
        waker: memory,
        names: Arc::new(KnownNames::default()),
    };
    let listeners = [Protocol::Udp, Protocol::Tcp].map(|protocol| Listener {
        protocol,
        addr,
        advertised: None,
    });
    let (handle, bound) =
        Sip::start(config, ports, &listeners, None, [3; 32], super::Place::Here).await.unwrap();
    (handle, bound[0], bound[1])
}

/// One end of a conversation with the server.
pub(super) enum Wire {
    Udp(UdpSocket),
    Tcp(TcpStream, Framer),
    Web(mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>),
}

impl Wire {
    pub(super) async fn udp(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(server).await.unwrap();
        Self::Udp(socket)
    }

    pub(super) async fn tcp(server: SocketAddr) -> Self {
        Self::Tcp(TcpStream::connect(server).await.unwrap(), Framer::new(Limits::default()))
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        match self {
            Self::Udp(socket) => drop(socket.send(bytes).await.unwrap()),
            // A server that closed meanwhile is found out by reading.
            Self::Tcp(stream, _) => drop(stream.write_all(bytes).await),
            Self::Web(frames, _) => drop(frames.send(Bytes::copy_from_slice(bytes)).await),
        }
    }

    /// The next message; `None`: the connection was closed.
    pub(super) async fn next(&mut self) -> Option<Message> {
        let mut chunk = vec![0; 70_000];
        match self {
            Self::Udp(socket) => {
                let count = timeout(SHORT, socket.recv(&mut chunk)).await.unwrap().unwrap();
                Some(parse_datagram(chunk[..count].to_vec(), &Limits::default()).unwrap())
            }
            Self::Tcp(stream, framer) => loop {
                if let Some(Frame::Message(message)) = framer.poll().unwrap() {
                    return Some(message.unwrap());
                }
                match timeout(SHORT, stream.read(&mut chunk)).await.expect("nothing came") {
                    Ok(count) if count > 0 => framer.push(&chunk[..count]),
                    _ => return None,
                }
            },
            Self::Web(_, frames) => {
                let frame = timeout(SHORT, frames.recv()).await.expect("nothing came")?;
                Some(parse_datagram(frame, &Limits::default()).unwrap())
            }
        }
    }

    pub(super) async fn answer(&mut self) -> Option<Response> {
        match self.next().await? {
            Message::Response(response) => Some(response),
            Message::Request(request) => panic!("{request:?}"),
        }
    }
}

/// A request with its usual fields; `more` are lines that may repeat some of them.
pub(super) fn text(method: &str, id: u32, version: &str, more: &str, body: &str) -> String {
    format!(
        "{method} sip:example.org {version}\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK{method}{id};rport\r\n\
         From: <sip:ana@example.org>;tag={id}\r\nTo: <sip:ana@example.org>\r\nCall-ID: id{id}\r\n\
         CSeq: {id} {method}\r\nMax-Forwards: 70\r\n{more}\r\n{body}"
    )
}

/// Registers `ana`; the contact as given.
pub(super) async fn register(wire: &mut Wire, id: u32, contact: &str) -> u16 {
    let fields = format!("Contact: <{contact}>\r\n");
    wire.send(text("REGISTER", id, "SIP/2.0", &format!("{fields}l: 0\r\n"), "").as_bytes()).await;
    let asked = wire.answer().await.unwrap();
    let challenge = Challenge::first_known(asked.headers.get_all("WWW-Authenticate")).unwrap();
    let ha1 = challenge.algorithm.ha1("ana", "example.org", "secret");
    let said = ("REGISTER", "sip:example.org", "");
    let answer = challenge.answer("ana", &ha1, said_bytes(said), ("c", 1));
    let fields = format!("{fields}Authorization: {answer}\r\nl: 0\r\n");
    wire.send(text("REGISTER", id + 1, "SIP/2.0", &fields, "").as_bytes()).await;
    wire.answer().await.unwrap().status
}

fn said_bytes<'a>(
    (method, uri, body): (&'a str, &'a str, &'a str),
) -> (&'a str, &'a str, &'a [u8]) {
    (method, uri, body.as_bytes())
}

pub(super) fn config() -> Config {
    Config { domains: vec!["example.org".into()], ..Config::default() }
}

/// What a witness sees after each row: nothing.
async fn is_well(witness: &mut Wire, id: u32) {
    assert_eq!(register(witness, id, "sip:ana@127.0.0.1:5999").await, 200);
}

#[tokio::test]
async fn bad_datagrams_get_their_status_or_silence_and_nobody_else_notices() {
    let (_handle, udp, _) = server(Config { max_message_bytes: 4_096, ..config() }).await;
    let mut witness = Wire::udp(udp).await;
    is_well(&mut witness, 1).await;
    let good = |more: &str, body: &str| text("OPTIONS", 1, "SIP/2.0", more, body);
    let table = [
        ("good", good("", ""), Some(200)),
        ("From twice", good("f: <sip:b@example.org>;tag=2\r\n", ""), Some(400)),
        ("To twice", good("t: <sip:b@example.org>\r\n", ""), Some(400)),
        ("Call-ID twice", good("i: other\r\n", ""), Some(400)),
        ("CSeq twice", good("CSeq: 2 OPTIONS\r\n", ""), Some(400)),
        ("length too long", good("l: 5\r\n", "1234"), Some(400)),
        ("length negative", good("l: -5\r\n", "1234"), Some(400)),
        ("length twice", good("l: 4\r\nl: 4\r\n", "1234"), Some(400)),
        ("length too short", good("l: 2\r\n", "1234"), Some(200)),
        ("unknown version", text("OPTIONS", 1, "SIP/7.0", "", ""), Some(505)),
        ("too large", good("", &"x".repeat(4_096)), Some(513)),
        ("no SIP", "GET / HTTP/1.1\r\n\r\n".into(), None),
        (
            "a bad response",
            good("", "").replacen("OPTIONS sip:example.org SIP/2.0", "SIP/2.0 999 ?", 1),
            None,
        ),
        ("a bad ACK", text("ACK", 1, "SIP/2.0", "CSeq: 2 ACK\r\n", ""), None),
    ];
    for ((name, bytes, expected), id) in table.into_iter().zip(10..) {
        let mut stranger = Wire::udp(udp).await;
        let bytes = bytes.replace("OPTIONS1;", &format!("OPTIONSx{id};"));
        stranger.send(bytes.as_bytes()).await;
        // Silence is proven by what is asked after it and answered first.
        stranger.send(text("OPTIONS", 1_000 + id, "SIP/2.0", "", "").as_bytes()).await;
        let first = stranger.answer().await.unwrap();
        let is_probe = first.headers.call_id().is_ok_and(|at| at.0 == format!("id{}", 1_000 + id));
        assert_eq!((!is_probe).then_some(first.status), expected, "{name}");
        is_well(&mut witness, 10 * id).await;
    }
}

#[tokio::test]
async fn bad_streams_get_their_status_and_end_where_the_next_message_is_lost() {
    let (_handle, udp, tcp) = server(config()).await;
    let mut witness = Wire::udp(udp).await;
    let mut neighbour = Wire::tcp(tcp).await;
    is_well(&mut witness, 1).await;
    let good = |more: &str, body: &str| text("OPTIONS", 1, "SIP/2.0", more, body);
    let endless = format!("OPTIONS sip:example.org SIP/2.0\r\nX: {}", "x".repeat(70_000));
    // Name, bytes, status, whether the connection goes on.
    let table = [
        ("good", good("l: 0\r\n", ""), Some(200), true),
        ("From twice", good("f: <sip:b@example.org>;tag=2\r\nl: 0\r\n", ""), Some(400), true),
        ("To twice", good("t: <sip:b@example.org>\r\nl: 0\r\n", ""), Some(400), true),
        ("Call-ID twice", good("i: other\r\nl: 0\r\n", ""), Some(400), true),
        ("CSeq twice", good("CSeq: 2 OPTIONS\r\nl: 0\r\n", ""), Some(400), true),
        ("unknown version", text("OPTIONS", 1, "SIP/7.0", "l: 0\r\n", ""), Some(505), true),
        ("length missing", good("", "1234"), Some(400), false),
        ("length negative", good("l: -5\r\n", "1234"), Some(400), false),
        ("length twice", good("l: 4\r\nl: 4\r\n", "1234"), Some(400), false),
        ("over 64 KiB", good("l: 65536\r\n", ""), Some(513), false),
        ("length beyond numbers", good("l: 99999999999999999999999\r\n", ""), Some(400), false),
        ("a head over 64 KiB", endless, None, false),
    ];
    for ((name, bytes, expected, goes_on), id) in table.into_iter().zip(10..) {
        let mut stranger = Wire::tcp(tcp).await;
        stranger.send(bytes.as_bytes()).await;
        if let Some(status) = expected {
            let answer = stranger.answer().await.unwrap_or_else(|| panic!("{name}: no answer"));
            assert_eq!(answer.status, status, "{name}");
        }
        stranger.send(text("OPTIONS", id, "SIP/2.0", "l: 0\r\n", "").as_bytes()).await;
        assert_eq!(stranger.next().await.is_some(), goes_on, "{name}");
        is_well(&mut witness, 10 * id).await;
        is_well(&mut neighbour, 10 * id + 5).await;
    }
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_gets_them_back() {
    let (_handle, _, tcp) = server(Config { max_connections_per_peer: 2, ..config() }).await;
    let options = text("OPTIONS", 1, "SIP/2.0", "l: 0\r\n", "");
    let mut guests = Vec::new();
    for _ in 0..2 {
        let mut guest = Wire::tcp(tcp).await;
        guest.send(options.as_bytes()).await;
        assert!(guest.next().await.is_some());
        guests.push(guest);
    }
    let mut third = Wire::tcp(tcp).await;
    third.send(options.as_bytes()).await;
    assert!(third.next().await.is_none(), "turned away");
    guests.pop();
    // The place is free once the server has seen the end of the connection.
    let mut is_in = false;
    for _ in 0..500 {
        let mut late = Wire::tcp(tcp).await;
        late.send(options.as_bytes()).await;
        if late.next().await.is_some() {
            is_in = true;
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(is_in);
}

#[tokio::test]
async fn a_phone_whose_connection_broke_is_called_back_and_hears_the_message() {
    let (handle, _, tcp) = server(config()).await;
    let phone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = phone.local_addr().unwrap().port();
    let mut wire = Wire::tcp(tcp).await;
    let contact = format!("sip:ana@127.0.0.1:{port};transport=tcp");
    assert_eq!(register(&mut wire, 1, &contact).await, 200);
    let binding = handle.bindings("ana@example.org").await.remove(0);
    drop(wire);
    let message = OutgoingMessage {
        target: Target::Binding(binding),
        from: NameAddr::new(Uri::parse("sip:carl@example.org").unwrap()),
        to: Uri::parse("sip:ana@example.org").unwrap(),
        call_id: None,
        cseq: None,
        login: None,
        headers: Vec::new(),
        content_type: "text/plain".into(),
        body: Bytes::from_static(b"hello"),
    };
    // The server may not have seen the end yet: then the first try fails at once.
    let talk = async {
        loop {
            let result = handle.message(message.clone()).await.unwrap();
            if result.status != 503 {
                return result.status;
            }
        }
    };
    let hear = async {
        let (stream, _) = phone.accept().await.unwrap();
        let mut wire = Wire::Tcp(stream, Framer::new(Limits::default()));
        let Some(Message::Request(request)) = wire.next().await else { panic!("no request") };
        assert_eq!(request.body, "hello");
        wire.send(&request.response(200, Some("t")).to_bytes()).await;
        wire
    };
    let (status, _wire) = timeout(SHORT, async { tokio::join!(talk, hear) }).await.unwrap();
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_stop_closes_every_connection() {
    let (handle, _, tcp) = server(config()).await;
    let mut wire = Wire::tcp(tcp).await;
    is_well(&mut wire, 1).await;
    handle.shutdown().await;
    assert!(wire.next().await.is_none());
}

/// A doorman without sockets, in virtual time.
fn serve(theirs: tokio::io::DuplexStream) -> mpsc::Receiver<Vec<Inbound>> {
    let (inbox, events) = mpsc::channel(64);
    let doorman = {
        let budgets = task::budgets(&config());
        stream::Doorman::new(&config(), (inbox, budgets), Limits::default(), None, None)
    };
    let peer = ([192, 0, 2, 7], 5060).into();
    let flow = crate::transport::Flow { protocol: Protocol::Tcp, socket: 1, peer, local: peer };
    tokio::spawn(async move {
        let (writer, queue) = mpsc::channel(4);
        doorman.serve(theirs, flow, Some(writer), queue).await;
    });
    events
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_or_drips_is_shown_out_and_who_registered_may_be_silent() {
    let whole = text("OPTIONS", 1, "SIP/2.0", "l: 0\r\n", "");
    let half = format!("{whole}OPTIONS");
    // Name, what is sent, the pause between bytes, seconds until the end.
    let table = [
        ("silence", "", 0, 15..=16),
        ("keepalives alone", "\r\n\r\n\r\n\r\n", 3, 15..=16),
        ("a dripping message", whole.as_str(), 1, 15..=16),
        ("half a message after a whole one", half.as_str(), 0, 15..=16),
        ("silence after a message", whole.as_str(), 0, 3_600..=3_601),
    ];
    for (name, bytes, pause, expected) in table {
        let (mut ours, theirs) = tokio::io::duplex(4_096);
        let mut events = serve(theirs);
        let begun = tokio::time::Instant::now();
        let drip = async {
            for byte in bytes.as_bytes() {
                if ours.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(pause)).await;
            }
            std::future::pending::<()>().await;
        };
        let end = async {
            let mut kept = Vec::new();
            while let Some(batch) = events.recv().await {
                if batch.iter().any(|inbound| matches!(inbound, Inbound::Closed { .. })) {
                    return;
                }
                // The core keeps the writer of a connection.
                kept.push(batch);
            }
        };
        tokio::select! { () = drip => {}, () = end => {} }
        let seconds = begun.elapsed().as_secs();
        assert!(expected.contains(&seconds), "{name}: {seconds} s");
    }
}
