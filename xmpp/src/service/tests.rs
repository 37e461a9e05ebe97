//! The service over in-memory ports: delivery (RFC 6121 section 8), presence and roster as their clients see them.

mod adhoc;
mod archive;
mod blocking;
mod calls;
mod delivery;
mod disco;
mod extdisco;
mod federation;
mod filters;
mod login;
mod offline;
mod pep;
mod pep_approval;
mod pep_bookmarks;
mod pep_elsewhere;
mod pep_interest;
mod pep_owner;
mod pep_profile;
mod push;
mod registration;
mod requests;
mod rooms;
mod roster;
mod sessions;
mod undelivered;
mod upload;

use std::sync::Arc;

use futures_util::FutureExt as _;

use crate::config::Config;
use crate::jid::Jid;
use crate::ports::Outbox;
use crate::ports::StoreError;
use crate::ports::memory::{MemoryBridge, MemoryOutbox, MemoryRemote, MemoryStore};
use crate::ports::memory_accounts::{MemoryDesk, MemoryDirectory};
use crate::ports::memory_rooms::MemoryRooms;
use crate::ports::memory_web::{MemoryPushes, MemoryRelays, MemoryUploads};
use crate::service::{Outcome, Ports, Server};
use crate::stanza::{Condition, Stanza};

pub(super) fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

/// A server with the accounts `ana`, `bob` and `carl` at `d`.
pub(super) struct World {
    pub(super) store: Arc<MemoryStore>,
    pub(super) server: Server,
}

/// One session.
pub(super) struct Session {
    pub(super) jid: Jid,
    pub(super) outbox: Arc<MemoryOutbox>,
    server: Server,
}

pub(super) fn store() -> Arc<MemoryStore> {
    let accounts = [jid("ana@d"), jid("bob@d"), jid("carl@d")];
    Arc::new(MemoryStore::with_accounts(&accounts.each_ref()))
}

pub(super) fn ports(store: &Arc<MemoryStore>) -> Ports {
    let bridge = Arc::new(MemoryBridge::default());
    let desk = Arc::new(MemoryDesk::default());
    Ports {
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
        rooms: Arc::new(MemoryRooms::default()),
        secret: [1; 32],
    }
}

impl World {
    pub(super) fn new() -> Self {
        let store = store();
        let ports = ports(&store);
        Self::with(store, ports)
    }

    pub(super) fn with(store: Arc<MemoryStore>, ports: Ports) -> Self {
        let config = Config { domains: vec!["d".into()], ..Config::default() };
        Self { store, server: Server::new(config, ports) }
    }

    /// A session that has not said anything yet.
    pub(super) fn bind(&self, full: &str) -> Session {
        let jid = jid(full);
        let outbox = MemoryOutbox::new();
        let bound = self.server.bind(&jid.bare(), jid.resource(), "made", outbox.clone());
        // Nothing in memory has to be waited for.
        self.server.greet(bound.unwrap()).now_or_never().unwrap();
        Session { jid, outbox, server: self.server.clone() }
    }

    /// A session that is available and has read what it was greeted with.
    pub(super) async fn online(&self, full: &str) -> Session {
        let session = self.bind(full);
        session.say("<presence/>").await;
        session.read().await;
        session
    }

    /// A session that has asked for the roster too.
    pub(super) async fn interested(&self, full: &str) -> Session {
        let session = self.online(full).await;
        session.say("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
        session.read().await;
        session
    }
}

impl Session {
    /// Sends a stanza as the driver would.
    pub(super) async fn say(&self, text: &str) -> Outcome {
        let mut stanza = Stanza::parse(text.to_owned().into()).unwrap();
        stanza.set_from(self.jid.clone());
        self.server.handle(stanza).await
    }

    /// Reads all that is queued.
    pub(super) async fn read(&self) -> Vec<String> {
        self.outbox.read().await
    }

    /// The bodies of the messages among what is queued; of each copy too.
    pub(super) async fn bodies(&self) -> Vec<String> {
        let read = self.read().await;
        read.iter()
            .filter_map(|s| Some(s.split_once("<body>")?.1.split_once("</body>")?.0.to_owned()))
            .collect()
    }

    /// The connection is gone; does what the driver does then.
    pub(super) async fn lose(self) {
        let outbox: Arc<dyn Outbox> = self.outbox.clone();
        self.server.unbind(&self.jid, &outbox).await;
        for stanza in self.outbox.lose() {
            self.server.redeliver(stanza).await;
        }
        self.server.offer_waiting(&self.jid.bare()).await;
    }
}

pub(super) fn chat(to: &str, body: &str) -> String {
    format!("<message to='{to}' type='chat' id='m'><body>{body}</body></message>")
}
