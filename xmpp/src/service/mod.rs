//! The server: sessions, and one file a feature. What happens to a stanza is one visible list of calls.

pub mod attached;
mod delivery;
mod disco;
mod iq;
mod offline;
mod presence;
mod roster;
mod sessions;
mod streams;
mod subscription;
#[cfg(test)]
#[allow(clippy::disallowed_methods)] // clients act at the same time
mod tests;
mod turns;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

pub use self::attached::Attachment;
use self::offline::Waiting;
use self::presence::addressed;
use self::sessions::Sessions;
pub use self::sessions::{ResourcePresence, Show};
use self::streams::Streams;
pub use self::streams::{OpenStream, Unfinished};
use self::turns::Turns;
use crate::config::Config;
use crate::jid::Jid;
use crate::ports::{Accounts, Foreign, Offline, Outbox, Roster, Rosters, StoreError, Watch};
use crate::stanza::{Condition, Kind, Stanza, StanzaError};
use crate::xml::Element;

/// Rosters kept in memory before those of absent accounts are dropped.
const MAX_ROSTERS: usize = 20_000;

/// What the server is given.
pub struct Ports {
    /// Accounts and login.
    pub accounts: Arc<dyn Accounts>,
    /// Contacts.
    pub rosters: Arc<dyn Rosters>,
    /// Waiting messages.
    pub offline: Arc<dyn Offline>,
    /// Devices behind the bridge.
    pub foreign: Arc<dyn Foreign>,
    /// Watchers behind the bridge.
    pub watch: Arc<dyn Watch>,
    /// A secret for made-up SCRAM salts; the same across restarts.
    pub secret: [u8; 32],
}

/// What became of an injected stanza.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Given to this many XMPP streams and attached devices.
    Delivered {
        /// Streams.
        sessions: usize,
        /// Attached devices.
        attached: usize,
    },
    /// Kept until the account comes online; committed.
    Stored,
    /// Needed no delivery (a state notification for somebody who is away).
    Ignored,
    /// Refused; the same error went to the sender.
    Refused(StanzaError),
}

/// The XMPP server of one node. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    config: Config,
    ports: Ports,
    sessions: Mutex<Sessions>,
    /// Rosters of accounts that are or were lately online.
    rosters: Mutex<HashMap<Jid, Arc<Roster>>>,
    /// Counts what was committed to rosters: a roster read before a commit is not remembered after it.
    roster_commits: AtomicU64,
    /// Whose roster is being changed.
    roster_turns: Turns,
    /// Names roster pushes.
    pushes: AtomicU64,
    waiting: Waiting,
    streams: Streams,
}

impl Server {
    /// A server without sessions.
    pub fn new(mut config: Config, ports: Ports) -> Self {
        // Domains are compared with those of addresses, which are prepared.
        for domain in &mut config.domains {
            if let Ok(prepared) = Jid::new(None, domain, None) {
                *domain = prepared.domain().to_owned();
            }
        }
        Self(Arc::new(Inner {
            config,
            ports,
            sessions: Mutex::default(),
            rosters: Mutex::default(),
            roster_commits: AtomicU64::default(),
            roster_turns: Turns::default(),
            pushes: AtomicU64::default(),
            waiting: Waiting::default(),
            streams: Streams::default(),
        }))
    }

    /// The server's capabilities as streams announce them (XEP-0115 section 6.3).
    pub fn caps(&self) -> Element {
        disco::server_caps()
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The ports.
    pub fn ports(&self) -> &Ports {
        &self.0.ports
    }

    /// Registers a logged-in client under the resource it wants, or a made-up one. A session that had the resource
    /// is ended with `conflict` (RFC 6120 section 7.7.2.2).
    ///
    /// # Errors
    ///
    /// [`StanzaError`] `resource-constraint` when the account has too many sessions.
    pub fn bind(
        &self,
        account: &Jid,
        resource: Option<&str>,
        made_up: &str,
        outbox: Arc<dyn Outbox>,
    ) -> Result<Jid, StanzaError> {
        let wanted = account.with_resource(resource.unwrap_or(made_up));
        let jid = wanted.map_err(|_| StanzaError::new(Condition::BadRequest))?;
        let mut sessions = self.sessions();
        if sessions.of(account).len() >= self.0.config.max_sessions {
            return Err(StanzaError::new(Condition::ResourceConstraint));
        }
        if let Some(old) = sessions.bind(&jid, outbox) {
            old.end("conflict");
        }
        Ok(jid)
    }

    /// The stream of `jid` is gone; `outbox` tells it from a newer one with the same resource.
    pub async fn unbind(&self, jid: &Jid, outbox: &Arc<dyn Outbox>) {
        let gone = self.sessions().take(jid, outbox);
        if let Some(resource) = gone {
            self.became_unavailable(jid, resource, None).await;
        }
        let bare = jid.bare();
        if self.sessions().of(&bare).is_empty() {
            self.rosters().remove(&bare);
        }
    }

    /// Handles a stanza of a bound client; its `from` has been stamped.
    pub async fn handle(&self, stanza: Stanza) -> Outcome {
        match stanza.kind() {
            Kind::Message => self.route_message(stanza).await,
            Kind::Presence => self.handle_presence(stanza).await,
            Kind::Iq => self.handle_iq(stanza).await,
        }
    }

    /// Handles a stanza from an attached device or a local account, as if a session of it had sent it.
    pub async fn inject(&self, element: Element) -> Outcome {
        match Stanza::from_element(&element) {
            Ok(stanza) if stanza.from().is_some() => self.handle(stanza).await,
            _ => Outcome::Refused(StanzaError::new(Condition::BadRequest)),
        }
    }

    /// All available resources of an account.
    pub fn presences(&self, account: &Jid) -> Vec<ResourcePresence> {
        self.sessions().presences(&account.bare())
    }

    /// Whether `watcher` may see `target`: the same account, or a subscription.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the roster cannot be read.
    pub async fn may_see(&self, watcher: &Jid, target: &Jid) -> Result<bool, StoreError> {
        let (watcher, target) = (watcher.bare(), target.bare());
        if watcher == target {
            return Ok(true);
        }
        Ok(self.roster(&target).await?.item(&watcher).is_some_and(|i| i.from))
    }

    pub(crate) fn is_local(&self, jid: &Jid) -> bool {
        self.0.config.domains.iter().any(|d| d == jid.domain())
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rosters(&self) -> MutexGuard<'_, HashMap<Jid, Arc<Roster>>> {
        self.0.rosters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn roster(&self, owner: &Jid) -> Result<Arc<Roster>, StoreError> {
        if let Some(roster) = self.rosters().get(owner).cloned() {
            return Ok(roster);
        }
        let commits = self.0.roster_commits.load(Ordering::SeqCst);
        let roster = Arc::new(self.0.ports.rosters.load(owner).await?);
        if self.rosters().len() >= MAX_ROSTERS {
            let online: HashSet<Jid> = self.sessions().accounts().cloned().collect();
            self.rosters().retain(|owner, _| online.contains(owner));
        }
        let mut rosters = self.rosters();
        if self.0.roster_commits.load(Ordering::SeqCst) == commits {
            rosters.insert(owner.clone(), roster.clone());
        }
        drop(rosters);
        Ok(roster)
    }

    /// Sends an error reply for `stanza` to whoever sent it.
    fn bounce(&self, stanza: &Stanza, error: StanzaError) -> Outcome {
        if let (Some(reply), Some(from)) = (stanza.error_reply(&error), stanza.from()) {
            self.send_to(from, &reply);
        }
        Outcome::Refused(error)
    }

    /// Gives an element to one full JID, session or attached.
    fn send_to(&self, to: &Jid, element: &Element) -> bool {
        self.send_bytes(to, &element.to_bytes())
    }

    fn send_bytes(&self, to: &Jid, bytes: &Bytes) -> bool {
        let outbox = {
            let sessions = self.sessions();
            match sessions.get(to) {
                Some(resource) => resource.outbox.clone(),
                None => return false,
            }
        };
        match outbox {
            Some(outbox) => outbox.send(bytes.clone()),
            None => Stanza::parse(bytes.clone()).is_ok_and(|stanza| {
                let resource = [to.resource().unwrap_or_default().to_owned()];
                self.0.ports.foreign.deliver(&to.bare(), &resource, &stanza)
            }),
        }
    }

    fn store_failed(&self, stanza: &Stanza, error: &StoreError) -> Outcome {
        tracing::error!(%error, "store failed while handling a stanza");
        self.bounce(stanza, StanzaError::new(Condition::InternalServerError))
    }
}
