//! Connections over an in-memory pipe, in virtual time.

use base64::Engine as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

use super::*;
use crate::config::Config;
use crate::jid::Jid;
use crate::ports::memory::{MemoryBridge, MemoryRemote, MemoryStore};
use crate::ports::memory_accounts::{MemoryDesk, MemoryDirectory};
use crate::ports::memory_web::{MemoryPushes, MemoryRelays, MemoryUploads};
use crate::service::{Outcome, Ports};
use crate::stanza::Stanza;

/// Bytes the pipe takes before the reader must read.
const PIPE: usize = 4096;
pub(super) const HEADER: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='d' version='1.0'>";

pub(super) struct World {
    pub(super) store: Arc<MemoryStore>,
    pub(super) server: Server,
}

/// One client and the task that serves it.
pub(super) struct Client {
    pub(super) pipe: DuplexStream,
    pub(super) task: JoinHandle<()>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with_queue(Config::default().max_queued_bytes)
    }

    /// With queues of so many bytes.
    pub(super) fn with_queue(max_queued_bytes: usize) -> Self {
        let accounts = [jid("ana@d"), jid("bob@d")];
        let store = Arc::new(MemoryStore::with_accounts(&[&accounts[0], &accounts[1]]));
        let bridge = Arc::new(MemoryBridge::default());
        let desk = Arc::new(MemoryDesk::default());
        let ports = Ports {
            accounts: store.clone(),
            passwords: store.clone(),
            directory: Arc::new(MemoryDirectory::new(store.clone(), desk.clone())),
            blocklists: desk.clone(),
            invites: desk,
            login_tokens: store.tokens(),
            bearer_tokens: None,
            rosters: store.clone(),
            archive: store.clone(),
            offline: store.clone(),
            pubsub: Arc::new(crate::ports::memory_pubsub::MemoryPubSub::default()),
            foreign: bridge.clone(),
            watch: bridge,
            remote: Arc::new(MemoryRemote::default()),
            uploads: Some(Arc::new(MemoryUploads::default())),
            relays: Some(Arc::new(MemoryRelays::default())),
            pushes: Arc::new(MemoryPushes::default()),
            rooms: Arc::new(crate::ports::memory_rooms::MemoryRooms::default()),
            secret: [1; 32],
        };
        let config = Config { domains: vec!["d".into()], max_queued_bytes, ..Config::default() };
        Self { store, server: Server::new(config, ports) }
    }

    pub(super) fn connect(&self) -> Client {
        let (pipe, near) = tokio::io::duplex(PIPE);
        let c2s = machine(&self.server, Transport::Tls, Secured::default());
        let peer: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let stranger = self.server.admit(peer.ip());
        let mut connection = Connection::new(self.server.clone(), c2s, stranger, peer);
        let task = tokio::spawn(async move {
            let mut wire = Stream(near);
            let end = connection.run(&mut wire).await;
            drop(wire);
            connection.finish(end).await;
        });
        Client { pipe, task }
    }

    /// A client that is online.
    pub(super) async fn login(&self, name: &str, resource: &str) -> Client {
        let mut client = self.connect();
        client.log_in(name).await;
        client.bind(resource).await;
        client.say("<presence/>", "features-").await;
        client
    }

    /// Writes so much to a client that its pipe is full and its connection waits to write.
    pub(super) async fn clog(&self, to: &str) {
        for n in 0..20 {
            let outcome = self.message(to, &format!("{n}-{}", "x".repeat(1000))).await;
            assert!(matches!(outcome, Outcome::Delivered { .. }), "{outcome:?}");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    pub(super) async fn message(&self, to: &str, body: &str) -> Outcome {
        let text =
            format!("<message from='bob@d/x' to='{to}' type='chat'><body>{body}</body></message>");
        self.server.handle(Stanza::parse(text.into()).unwrap()).await
    }
}

impl Client {
    /// Logs in and gives the features that are offered then.
    pub(super) async fn log_in(&mut self, name: &str) -> String {
        self.say(HEADER, "</stream:features>").await;
        let plain = base64::engine::general_purpose::STANDARD.encode(format!("\0{name}\0secret"));
        let auth = format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"
        );
        self.say(&auth, "<success").await;
        self.say(HEADER, "</stream:features>").await
    }

    pub(super) async fn bind(&mut self, resource: &str) {
        let bind = format!(
            "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <resource>{resource}</resource></bind></iq>"
        );
        self.say(&bind, "</iq>").await;
    }

    pub(super) async fn write(&mut self, text: &str) {
        self.pipe.write_all(text.as_bytes()).await.unwrap();
    }

    /// All that comes in this time.
    pub(super) async fn hear_for(&mut self, time: Duration) -> String {
        let mut heard = String::new();
        let mut space = [0; 1024];
        let end = tokio::time::Instant::now() + time;
        while let Ok(Ok(count)) = tokio::time::timeout_at(end, self.pipe.read(&mut space)).await {
            if count == 0 {
                break;
            }
            heard.push_str(std::str::from_utf8(&space[..count]).unwrap());
        }
        heard
    }

    /// Sends text and reads until `until` is there.
    pub(super) async fn say(&mut self, text: &str, until: &str) -> String {
        self.pipe.write_all(text.as_bytes()).await.unwrap();
        self.hear(until).await
    }

    pub(super) async fn hear(&mut self, until: &str) -> String {
        let mut heard = String::new();
        while !heard.contains(until) {
            let mut space = [0; 1024];
            let count = self.pipe.read(&mut space).await.unwrap();
            assert!(count > 0, "ended before {until}: {heard}");
            heard.push_str(std::str::from_utf8(&space[..count]).unwrap());
        }
        heard
    }
}

pub(super) fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

/// A busy outgoing queue drops the pending read again and again; what was read must come out.
#[tokio::test]
async fn a_read_that_is_dropped_loses_nothing() {
    let (mut far, near) = tokio::io::duplex(4096);
    far.write_all(&[b'x'; 1024]).await.unwrap();
    let mut wire = Stream(near);
    let got = tokio::select! {
        biased;
        got = wire.receive() => got,
        () = std::future::ready(()) => None,
    };
    assert_eq!(got.map(|b| b.len()), Some(1024));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_reading_is_closed_and_its_messages_are_kept() {
    let world = World::new();
    let client = world.login("ana", "r").await;
    world.clog("ana@d").await;
    let closed = tokio::time::timeout(Duration::from_secs(60), client.task).await;
    assert!(closed.is_ok(), "still open after a minute without progress");
    assert_eq!(world.store.waiting(&jid("ana@d")).len(), 20);
    assert_eq!(world.server.session_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_stays() {
    let world = World::new();
    let mut client = world.login("ana", "r").await;
    world.clog("ana@d").await;
    let mut heard = String::new();
    while !heard.contains("19-xxx") {
        tokio::time::sleep(Duration::from_secs(20)).await;
        let mut space = [0; 4096];
        let count = client.pipe.read(&mut space).await.unwrap();
        assert!(count > 0, "closed though it reads");
        heard.push_str(std::str::from_utf8(&space[..count]).unwrap());
    }
    assert!(world.store.waiting(&jid("ana@d")).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_writes_or_keeps_everything_and_ends_streams_that_are_not_bound() {
    let world = World::new();
    let mut reads = world.login("bob", "r").await;
    let clogged = world.login("ana", "r").await;
    let mut fresh = world.connect();
    world.clog("ana@d").await;
    world.message("bob@d", "last words").await;
    let said = tokio::spawn(async move { reads.hear("</stream:stream>").await });
    assert!(stop(&world.server, Duration::from_secs(10)).await, "not all have left");
    let said = said.await.unwrap();
    assert!(said.contains("last words") && said.contains("<system-shutdown"), "{said}");
    assert_eq!(world.store.waiting(&jid("ana@d")).len(), 20);
    assert!(world.store.waiting(&jid("bob@d")).is_empty());
    assert!(fresh.hear("</stream:stream>").await.contains("<system-shutdown"));
    drop(clogged);
    // Who comes later is told at once.
    assert!(world.connect().hear("</stream:stream>").await.contains("<system-shutdown"));
}

/// The gateway closes the store once no session is counted: by then nothing may be left to give back.
#[tokio::test(start_paused = true)]
async fn a_session_counts_until_what_it_had_queued_is_kept() {
    let world = World::new();
    let client = world.login("ana", "r").await;
    world.clog("ana@d").await;
    world.server.close_all();
    while world.server.session_count() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(world.store.waiting(&jid("ana@d")).len(), 20);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn messages_from_the_store_wait_again_once_when_the_client_is_lost_and_go_to_the_next() {
    let world = World::new();
    for n in 0..20 {
        let body = format!("{n}-{}", "x".repeat(1000));
        assert_eq!(world.message("ana@d", &body).await, Outcome::Stored);
    }
    let lost = world.login("ana", "lost").await;
    tokio::time::timeout(Duration::from_secs(60), lost.task).await.unwrap().unwrap();
    assert_eq!(world.store.waiting(&jid("ana@d")).len(), 20);
    let mut client = world.login("ana", "r").await;
    client.hear("19-xxx").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.store.waiting(&jid("ana@d")).is_empty());
}

/// XEP-0115 section 6.3: the hash among the features is the one that disco answers to.
#[tokio::test(start_paused = true)]
async fn the_server_s_capabilities_are_announced_and_can_be_asked_for() {
    let world = World::new();
    let mut client = world.connect();
    client.say(HEADER, "</stream:features>").await;
    let plain = base64::engine::general_purpose::STANDARD.encode("\0ana\0secret");
    let auth =
        format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>");
    client.say(&auth, "<success").await;
    let features = client.say(HEADER, "</stream:features>").await;
    let ver = features.split(" ver='").nth(1).unwrap().split('\'').next().unwrap();
    let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
    client.say(bind, "</iq>").await;
    for (node, answer) in
        [("https://tandem.example/server", "<feature"), ("old", "<item-not-found")]
    {
        let ask = format!(
            "<iq type='get' id='d' to='d'>\
             <query xmlns='http://jabber.org/protocol/disco#info' node='{node}#{ver}'/></iq>"
        );
        let said = client.say(&ask, "</iq>").await;
        assert!(said.contains(answer), "{said}");
        assert!(answer != "<feature" || said.contains(&format!("node='{node}#{ver}'")), "{said}");
    }
}

/// What an idle session's task takes (the sum is much of what a session costs).
#[tokio::test]
async fn an_idle_session_s_task_is_small() {
    let world = World::new();
    let server = world.server.clone();
    let c2s = machine(&server, Transport::Tls, crate::stream::c2s::Secured::default());
    let peer: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let stranger = server.admit(peer.ip());
    let mut connection = Connection::new(server, c2s, stranger, peer);
    let (_pipe, near) = tokio::io::duplex(PIPE);
    let mut wire = Stream(near);
    let (kept, running) = (size_of::<Connection>(), size_of_val(&connection.run(&mut wire)));
    assert!(kept + running < 2_800, "{kept} + {running}");
}
