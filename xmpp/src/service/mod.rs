//! The server: sessions, and one file a feature. What happens to a stanza is one visible list of calls.

mod about;
mod adhoc;
mod admin;
mod admin_lists;
mod archive;
pub mod attached;
mod avatar;
mod blocking;
mod bookmarks;
mod call_wishes;
mod caps;
mod clients;
mod delivery;
mod disco;
mod elsewhere;
pub mod extdisco;
mod filter;
mod invites;
mod iq;
mod login;
mod mentions;
mod muc;
mod offline;
mod pep;
mod presence;
mod private;
mod push;
mod registration;
mod removal;
mod reports;
mod resume;
mod roster;
mod sessions;
mod strangers;
mod streams;
mod subscription;
#[cfg(test)]
#[allow(clippy::disallowed_methods)] // clients act at the same time
mod tests;
mod turns;
mod undelivered;
mod upload;
mod vcard;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use self::archive::{ArchiveIds, PrefsCache};
pub use self::attached::{Attachment, DeviceKind};
use self::blocking::{Blocks, Verdict};
pub use self::bookmarks::NotificationSetting;
use self::clients::Clients;
use self::delivery::Archiving;
use self::extdisco::Asked;
use self::filter::FilterCount;
pub use self::filter::FilterRule;
pub use self::invites::{Invitation, invite_uri};
pub use self::login::derive;
pub use self::muc::RoomAbout;
pub use self::offline::TakenMessage;
use self::offline::Waiting;
use self::pep::Profiles;
use self::presence::addressed;
use self::push::PushDesk;
pub use self::registration::Registration;
use self::registration::Registrations;
pub use self::resume::Held;
use self::resume::Resumables;
use self::sessions::Sessions;
pub use self::sessions::{ResourcePresence, Show};
use self::strangers::Strangers;
pub use self::strangers::{Stranger, network};
use self::streams::Streams;
pub use self::streams::{OpenStream, Unfinished};
use self::turns::Turns;
use crate::config::Config;
use crate::jid::Jid;
use crate::ports::{
    Accounts, Archive, BearerTokens, Blocklists, BoxFuture, Directory, Foreign, Invites,
    LoginTokens, Offline, Outbox, Passwords, PubSub, Pushes, Relays, Remote, Rooms, Roster,
    Rosters, StoreError, Stored, Uploads, Watch,
};
use crate::router::{self, Place};
use crate::stanza::{Condition, Kind, Stanza, StanzaError};
use crate::xml::Element;

/// Rosters kept in memory before those of absent accounts are dropped.
const MAX_ROSTERS: usize = 20_000;

/// What the server is given.
pub struct Ports {
    /// Accounts and login.
    pub accounts: Arc<dyn Accounts>,
    /// Accounts that are made, changed and removed.
    pub passwords: Arc<dyn Passwords>,
    /// The list of accounts.
    pub directory: Arc<dyn Directory>,
    /// Block lists and reports.
    pub blocklists: Arc<dyn Blocklists>,
    /// Invitations.
    pub invites: Arc<dyn Invites>,
    /// Tokens that devices log in with.
    pub login_tokens: Arc<dyn LoginTokens>,
    /// Whose bearer tokens are trusted; `None` for nobody's.
    pub bearer_tokens: Option<Arc<dyn BearerTokens>>,
    /// Contacts.
    pub rosters: Arc<dyn Rosters>,
    /// History.
    pub archive: Arc<dyn Archive>,
    /// Waiting messages.
    pub offline: Arc<dyn Offline>,
    /// What accounts publish.
    pub pubsub: Arc<dyn PubSub>,
    /// Devices behind the bridge.
    pub foreign: Arc<dyn Foreign>,
    /// Watchers behind the bridge.
    pub watch: Arc<dyn Watch>,
    /// Other servers and components.
    pub remote: Arc<dyn Remote>,
    /// Files of users; none when there is no upload service.
    pub uploads: Option<Arc<dyn Uploads>>,
    /// Relays of calls; none when none is set.
    pub relays: Option<Arc<dyn Relays>>,
    /// App servers that wake absent devices.
    pub pushes: Arc<dyn Pushes>,
    /// Rooms that outlive their visits.
    pub rooms: Arc<dyn Rooms>,
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
    /// On its way to another server or a component; a failure comes back as an error stanza.
    Sent,
    /// Needed no delivery (a state notification for somebody who is away).
    Ignored,
    /// Refused; the same error went to the sender.
    Refused(StanzaError),
}

/// A stanza that was taken in and is not yet routed.
pub struct Begun {
    stanza: Stanza,
    /// Whether it is known to be refused: one of the two does not want it to arrive (XEP-0191), or it cannot.
    refused: Verdict,
    archiving: Archiving,
    /// What a room has taken, if it is for everybody in one.
    taken: Option<Box<muc::Taken>>,
    kept: Keeping,
}

/// A session that is registered, and what it has replaced.
#[must_use = "others are told of what was replaced by `Server::greet`"]
pub struct Bound {
    jid: Jid,
    replaced: Option<sessions::Resource>,
}

/// How far the store is with what must be kept of a stanza.
enum Keeping {
    /// It is committed, or nothing had to be.
    Kept(Result<Option<Stored>, StoreError>),
    Waiting(BoxFuture<'static, Result<Stored, StoreError>>),
}

impl Begun {
    /// A stanza of which nothing is kept.
    fn new(stanza: Stanza) -> Self {
        let kept = Keeping::Kept(Ok(None));
        Self { stanza, refused: Verdict::Pass, archiving: Archiving::default(), taken: None, kept }
    }

    /// Whether [`Server::finish`] would have to wait for a commit.
    pub fn waits(&self) -> bool {
        matches!(self.kept, Keeping::Waiting(_))
    }

    /// Resolves when it no longer waits. May be dropped and called again.
    pub async fn kept(&mut self) {
        if let Keeping::Waiting(stored) = &mut self.kept {
            self.kept = Keeping::Kept(stored.await.map(Some));
        }
    }
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
    profiles: Profiles,
    clients: Clients,
    streams: Streams,
    strangers: Strangers,
    blocks: Blocks,
    asked_services: Asked,
    archive_ids: ArchiveIds,
    archive_prefs: PrefsCache,
    resumables: Resumables,
    /// Commands under way.
    commands: adhoc::Sessions,
    registrations: Registrations,
    halls: muc::Halls,
    push: PushDesk,
    filters: FilterCount,
}

impl Server {
    /// A server without sessions.
    pub fn new(mut config: Config, ports: Ports) -> Self {
        // Domains are compared with those of addresses, which are prepared.
        for domain in config.domains.iter_mut().chain(&mut config.components) {
            if let Ok(prepared) = Jid::new(None, domain, None) {
                *domain = prepared.domain().to_owned();
            }
        }
        let archive_ids = ArchiveIds::new(&ports.secret);
        Self(Arc::new(Inner {
            config,
            ports,
            sessions: Mutex::default(),
            rosters: Mutex::default(),
            roster_commits: AtomicU64::default(),
            roster_turns: Turns::default(),
            pushes: AtomicU64::default(),
            waiting: Waiting::default(),
            profiles: Profiles::default(),
            clients: Clients::default(),
            streams: Streams::default(),
            strangers: Strangers::default(),
            blocks: Blocks::default(),
            asked_services: Asked::default(),
            archive_ids,
            archive_prefs: PrefsCache::default(),
            resumables: Resumables::default(),
            commands: adhoc::Sessions::default(),
            registrations: Registrations::default(),
            halls: muc::Halls::default(),
            push: PushDesk::default(),
            filters: FilterCount::default(),
        }))
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
    /// is ended with `conflict` (RFC 6120 section 7.7.2.2); what it leaves behind is for [`Server::greet`].
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
    ) -> Result<Bound, StanzaError> {
        let wanted = account.with_resource(resource.unwrap_or(made_up));
        let jid = wanted.map_err(|_| StanzaError::new(Condition::BadRequest))?;
        let replaced = {
            let mut sessions = self.sessions();
            let others = sessions.of(account).iter().filter(|r| r.jid != jid).count();
            if others >= self.0.config.max_sessions {
                return Err(StanzaError::new(Condition::ResourceConstraint));
            }
            sessions.bind(&jid, outbox)
        };
        if let Some(old) = replaced.as_ref().and_then(|replaced| replaced.outbox.as_ref()) {
            old.end("conflict");
        }
        Ok(Bound { jid, replaced })
    }

    /// Those who saw the session that a new one has replaced are told that it is gone, before the new one says anything
    /// (RFC 6121 section 4.5.2). Gives the address of the new one.
    pub async fn greet(&self, bound: Bound) -> Jid {
        if let Some(replaced) = bound.replaced {
            self.became_unavailable(&bound.jid, replaced, None).await;
        }
        bound.jid
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

    /// Handles a stanza whose `from` has been stamped or proven: of a bound client, an attached device, a component or
    /// another server.
    pub async fn handle(&self, stanza: Stanza) -> Outcome {
        let begun = self.begin(stanza).await;
        self.finish(begun).await
    }

    /// Takes a stanza in: what must be kept of it is on its way to the store when this resolves, in the order of the
    /// calls. Several stanzas of one sender may be begun before the first is finished, so that they share a commit;
    /// they are finished in order (RFC 6120 section 10.1).
    pub async fn begin(&self, stanza: Stanza) -> Begun {
        match self.judge(&stanza).await {
            Ok(Verdict::Pass) => {}
            Ok(refused) => return Begun { refused, ..Begun::new(stanza) },
            Err(error) => return Begun { kept: Keeping::Kept(Err(error)), ..Begun::new(stanza) },
        }
        match stanza.kind() {
            Kind::Message => self.begin_message(stanza).await,
            Kind::Presence | Kind::Iq => Begun::new(stanza),
        }
    }

    /// Waits until a begun stanza is kept, then routes it. After this its sender may be told that it was taken.
    pub async fn finish(&self, mut begun: Begun) -> Outcome {
        begun.kept().await;
        let Begun { stanza, mut refused, archiving, taken, kept } = begun;
        let stored = match kept {
            Keeping::Kept(Ok(stored)) => stored,
            Keeping::Kept(Err(error)) => {
                tracing::error!(%error, "store failed while taking in a stanza");
                refused = Verdict::Refuse(StanzaError::new(Condition::InternalServerError));
                None
            }
            Keeping::Waiting(_) => None,
        };
        if refused != Verdict::Pass {
            return match stanza.kind() {
                Kind::Message => self.turn_away_message(&stanza, refused),
                Kind::Presence | Kind::Iq => self.turn_away(&stanza, refused),
            };
        }
        match stanza.kind() {
            Kind::Message => match taken {
                Some(taken) => self.give_out(&stanza, *taken, stored).await,
                None => self.route_message(stanza, &archiving, stored).await,
            },
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
        if !self.roster(&target).await?.item(&watcher).is_some_and(|i| i.from) {
            return Ok(false);
        }
        Ok(!self.is_blocked(&target, &watcher).await?)
    }

    /// Whether somebody may administer the server (`[xmpp] admins`).
    pub(crate) fn is_admin(&self, jid: &Jid) -> bool {
        self.0.config.admins.contains(&jid.bare())
    }

    /// Whether the address belongs to a domain that is served here, not to one of its services.
    pub(crate) fn is_local(&self, jid: &Jid) -> bool {
        matches!(self.place(jid), Place::Host | Place::Account)
    }

    /// Where an address leads.
    pub(crate) fn place(&self, jid: &Jid) -> Place {
        router::place(&self.0.config.domains, jid)
    }

    /// Gives a finished stanza to an address anywhere: a session or attached device by its full JID, another server or a
    /// component by its domain. False when nobody takes it.
    pub(crate) fn emit(&self, from: &Jid, to: &Jid, stanza: &Bytes) -> bool {
        match self.place(to) {
            Place::Account => self.send_bytes(to, stanza),
            Place::Rooms => {
                // What comes back to a room: nobody waits for more.
                Stanza::parse(stanza.clone()).is_ok_and(|stanza| {
                    self.room_returned(&stanza);
                    true
                })
            }
            Place::Host | Place::Uploads => false,
            Place::Elsewhere => self.0.ports.remote.send(from, to, stanza.clone()),
        }
    }

    /// Whether a device that does not speak XMPP is at this address.
    fn is_attached(&self, jid: &Jid) -> bool {
        let sessions = self.sessions();
        sessions.of(&jid.bare()).iter().any(|r| r.jid == *jid && r.outbox.is_none())
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rosters(&self) -> MutexGuard<'_, HashMap<Jid, Arc<Roster>>> {
        self.0.rosters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The contacts of an account, and who asks to see it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the roster cannot be read.
    pub async fn contacts(&self, owner: &Jid) -> Result<Arc<Roster>, StoreError> {
        self.roster(&owner.bare()).await
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
            self.answer(stanza, from, &reply);
        }
        Outcome::Refused(error)
    }

    /// Gives an answer to whoever sent `stanza`, here or elsewhere.
    fn answer(&self, stanza: &Stanza, from: &Jid, answer: &Element) -> bool {
        self.emit(stanza.to().unwrap_or(from), from, &answer.to_bytes())
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
