//! Builds the node: store, services, drivers; hands each its ports. The only file that names types of all crates.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use tandem_media::net::RelayHandle;
use tandem_media::{Media, MediaHandle};
use tandem_sip::transport::Protocol;
use tandem_sip::{Place, Sip, SipHandle, WebSocketEnds};
use tandem_web::invite::{InvitePage, InvitePages};
use tandem_web::ports::BoxFuture;
use tandem_web::{Ends, Health, Site, Streams};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::net::s2s::Federation;
use tandem_xmpp::ports::{Foreign, Relays, Remote, StoreError, Uploads, Watch};
use tandem_xmpp::stanza::{Kind, Stanza};
use tandem_xmpp::{Ports, Server, net};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::accounts::{PhoneAccounts, StoredAccounts};
use crate::bridge::call_desk::CallDesk;
use crate::bridge::contacts::{self, Contacts};
use crate::bridge::domains::Domains;
use crate::bridge::echo_call::EchoCalls;
use crate::bridge::hub::{self, Hub};
use crate::bridge::message::Chat;
use crate::bridge::msrp as sessions;
use crate::bridge::numbers::Plan;
use crate::bridge::pictures::{Album, Links};
use crate::bridge::presence::{self, NoRoutes, PresenceDesk, Routes};
use crate::bridge::protection::Protection;
use crate::bridge::room_phone::RoomPhones;
use crate::bridge::room_roster::RoomRosters;
use crate::bridge::{echo, exchange};
use crate::certificate::CertificateError;
use crate::cluster::{Bus, Envelope, Local};
use crate::config::{self, Config, Turn};
use crate::doors::{Door, accept};
use crate::federation::Incoming;
use crate::guard::Guard;
use crate::live_certificate::LiveCertificate;
use crate::push::PushPlaces;
use crate::relays::ConfiguredRelays;
use crate::removal::{self, Control};
use crate::store::{Store, random_password};
use crate::telemetry::Telemetry;
use crate::uploads::Depot;
use crate::visitors::Visitors;

/// Connections that may be open at once, over all listeners.
const MAX_CONNECTIONS: usize = 100_000;
/// Between looks for messages that are too old.
const HOUSEKEEPING: Duration = Duration::from_secs(60 * 60);
/// Time for streams to say goodbye when the node stops.
const GOODBYE: Duration = Duration::from_secs(5);
/// Messages that wait for the echo service.
const ECHO_QUEUE: usize = 1_024;
/// Call stanzas that wait for the exchange.
const STANZA_QUEUE: usize = 4_096;

/// Why the node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be made, or its database not opened.
    #[error("data folder: {0}")]
    Store(#[from] StoreError),
    /// No certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The media engine cannot start.
    #[error("media: {0}")]
    Media(#[from] tandem_media::MediaError),
    /// The SIP server cannot start.
    #[error("sip ([listen] sip, sips): {0}")]
    Sip(#[from] tandem_sip::error::StartError),
    /// A port is taken or not ours to take.
    #[error("cannot listen on {address} ([listen] {setting}): {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The key in the configuration.
        setting: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// Where a running node listens.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// XMPP with STARTTLS.
    pub xmpp: Vec<SocketAddr>,
    /// XMPP over TLS.
    pub xmpps: Vec<SocketAddr>,
    /// SIP over UDP and TCP, which have the same port unless it was 0: first all of UDP, then of TCP.
    pub sip: Vec<SocketAddr>,
    /// SIP over TLS.
    pub sips: Vec<SocketAddr>,
    /// STUN and TURN over UDP and TCP.
    pub turn: Vec<SocketAddr>,
    /// TURN over TLS.
    pub turns: Vec<SocketAddr>,
    /// HTTPS.
    pub https: Vec<SocketAddr>,
    /// Metrics.
    pub metrics: Vec<SocketAddr>,
    /// External components.
    pub components: Vec<SocketAddr>,
    /// Other servers, with STARTTLS.
    pub s2s: Vec<SocketAddr>,
    /// Other servers over TLS.
    pub s2s_tls: Vec<SocketAddr>,
}

/// A running node.
pub struct App {
    addresses: Addresses,
    store: Store,
    xmpp: Server,
    sip: SipHandle,
    legs: mpsc::UnboundedSender<exchange::Event>,
    desk: presence::Line,
    chat: Chat,
    listeners: JoinSet<()>,
    /// What follows the phones that come and go.
    followers: JoinSet<()>,
}

impl App {
    /// Starts everything; when it returns, all listeners accept.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what to change.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let store = Store::open_in(&config.data_dir).await?;
        let certificate = LiveCertificate::load(&config)?;
        let telemetry = Telemetry::global();
        let guard = Arc::new(Guard::default());
        let (echo_queue, echo_events) = mpsc::channel(ECHO_QUEUE);
        let (legs, leg_events) = mpsc::unbounded_channel();
        let (stanzas, stanza_events) = mpsc::channel(STANZA_QUEUE);
        let desk = presence::Line::default();
        let (phones, phone_events) = mpsc::unbounded_channel();
        let bus =
            Local { echo: echo_queue, legs: legs.clone(), stanzas, presence: desk.clone(), phones };
        let contacts = Contacts::default();
        let plan = Arc::new(Plan::new(&config));
        let handling = CallDesk::new(store.clone(), plan.clone());
        let ways = (Arc::new(bus) as Arc<dyn Bus>, handling.clone(), plan.clone());
        let hub = Arc::new(Hub::new(store.clone(), contacts.clone(), ways));
        let media = start_media(&config, hub.clone())?;
        let telemetry = telemetry.with_media(media.clone());
        let depot = match config.upload.enabled {
            true => Some(Depot::open(&config, store.clone()).await?),
            false => None,
        };
        let hosts = config.components.iter().map(config::Component::host).collect();
        let components = net::Components::new(hosts, config.xmpp.max_queued_bytes);
        let relay = start_relay(&config, &store).await?;
        let secret = store.secret("dialback").await?;
        let (federation, s2s) = crate::federation::prepare(&config, &certificate, secret)?;
        let routes: Arc<dyn Routes> = Arc::new(NoRoutes);
        let names = Arc::new(crate::dns::Resolver::new(&config.dns));
        let domains = Arc::new(Domains::new(&config, names.clone()));
        let outside = Arc::new(Outside {
            components: components.clone(),
            federation: federation.clone(),
            routes: routes.clone(),
            plan: plan.clone(),
            domains: domains.clone(),
            hub: hub.clone(),
        });
        let beyond: (_, _, Arc<dyn Remote>) = (hub.clone() as _, hub.clone() as _, outside);
        let xmpp =
            xmpp_server(&config, &store, guard.clone(), beyond, (depot.clone(), relay.clone()))
                .await?;
        federation.serve(xmpp.clone());
        attach_echo(&config, &xmpp, &store).await?;
        let calls = EchoCalls::new(media.clone());
        tokio::spawn(echo::run(xmpp.clone(), calls, echo_events, random));
        let (sip, sip_addresses) =
            start_sip(&config, &store, (guard, names), &hub, &certificate).await?;
        let reached = (contacts.clone(), plan.clone(), domains.clone());
        let (chat, rooms) = start_chat(&config, (&xmpp, &sip), reached, &depot, &hub);
        start_sessions(&config, &certificate, (&chat, &rooms), (&xmpp, &sip, &contacts), &hub)
            .await?;
        let presence =
            PresenceDesk::new(xmpp.clone(), sip.clone(), contacts.clone(), store.clone(), routes);
        sip.runtime().spawn(presence.run(desk.clone()));
        let follow =
            follow_phones(xmpp.clone(), contacts.clone(), (chat.clone(), rooms), phone_events);
        let mut followers = JoinSet::new();
        followers.spawn(follow);
        let parts = (xmpp.clone(), sip.clone(), contacts, hub.bus.clone());
        let links = Links::new(&config.web_url(), store.secret("picture").await?);
        let rules = (plan, domains, handling.clone(), config.protection(), links.clone());
        start_exchange(parts, rules, media, &store, (leg_events, stanza_events));
        let node = Arc::new(Node::new(&config, &xmpp, &store, &sip));
        tokio::spawn(certificate.clone().watch());
        let site = node.site(&config, depot.clone());
        start_upkeep(depot, &xmpp, (&store, config.archive.age()));
        let album = Arc::new(Album { links, xmpp: xmpp.clone() });
        let mut app = Self {
            addresses: sip_addresses,
            store,
            xmpp,
            sip,
            legs,
            desk,
            chat,
            listeners: JoinSet::new(),
            followers,
        };
        let pages = tandem_web::invite::router(node).merge(tandem_web::picture::router(album));
        let web = (site, pages);
        let relay = relay.map(|(handle, _)| handle);
        app.listen(&config, &certificate, web, telemetry, (components, federation, s2s, relay))
            .await?;
        if let Some(control) = Control::open(&config.data_dir).await {
            app.listeners.spawn(control.serve(app.xmpp.clone(), handling));
        }
        Ok(app)
    }

    /// Where it listens; port 0 has become a real one.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Stops accepting, tells all streams, waits until they have left and the store is on disk.
    pub async fn stop(mut self) {
        self.listeners.shutdown().await;
        // From here on nothing new begins, while what runs is still heard.
        self.sip.close();
        // Calls and watchers first, while both protocols still work.
        let (done, ended) = oneshot::channel();
        if self.legs.send(exchange::Event::Stop(done)).is_ok() {
            let _ = tokio::time::timeout(GOODBYE, ended).await;
        }
        let _ = tokio::time::timeout(GOODBYE, self.desk.stop()).await;
        self.sip.shutdown().await;
        // Who is greeted is greeted after the next start: what waits is kept until it is given.
        self.followers.shutdown().await;
        self.chat.settle().await;
        if !net::stop(&self.xmpp, GOODBYE).await {
            tracing::warn!("some clients did not say goodbye in time");
        }
        self.store.close().await;
    }

    async fn listen(
        &mut self,
        config: &Config,
        certificate: &LiveCertificate,
        (site, invitations): (Site, axum::Router),
        telemetry: Telemetry,
        neighbours: (net::Components, Federation, Incoming, Option<RelayHandle>),
    ) -> Result<(), StartError> {
        let (components, federation, s2s, relay) = neighbours;
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let visitors = Visitors::new(config.web.max_connections_per_address);
        let starttls = certificate.front(&[])?;
        let direct = certificate.front(&["xmpp-client"])?;
        let [turn, discovery] = crate::relay::ALPN;
        let https = certificate.front(&["http/1.1", "xmpp-client", turn, discovery])?;
        let turns = certificate.front(&crate::relay::ALPN)?;
        if let Some(relay) = &relay {
            self.addresses.turn.extend(relay.addresses());
        }
        let telemetry = telemetry.with_relay(relay.clone());
        let render = telemetry.with_xmpp(self.xmpp.clone()).with_sip(self.sip.clone()).renderer();
        let metrics = Door::Http { router: tandem_web::metrics_router(site.clone(), render) };
        let public = tandem_web::router(site).merge(invitations);
        // The ports that datagrams have.
        let turn_streams = self.addresses.turn.clone();
        let doors = [
            ("xmpp", &config.listen.xmpp, Door::StartTls { tls: starttls }),
            (
                "xmpps",
                &config.listen.xmpps,
                Door::Tls { tls: direct, web: None, visitors: visitors.clone() },
            ),
            (
                "https",
                &config.listen.https,
                Door::Tls {
                    tls: https,
                    web: Some((public, relay.clone())),
                    visitors: visitors.clone(),
                },
            ),
            ("metrics", &config.listen.metrics, metrics),
            ("turn", &turn_streams, Door::Relay(relay.clone(), visitors.clone())),
            ("turns", &config.listen.turns, Door::RelayTls(turns, relay, visitors)),
            ("components", &config.listen.components, Door::Components(components)),
            ("s2s", &config.listen.s2s, Door::Federation(federation.clone(), s2s.starttls)),
            ("s2s_tls", &config.listen.s2s_tls, Door::FederationTls(federation, s2s.direct)),
        ];
        for (setting, addresses, door) in doors {
            for address in addresses {
                let fault = |source| StartError::Listen { address: *address, setting, source };
                let listener = TcpListener::bind(address).await.map_err(fault)?;
                let bound = listener.local_addr().map_err(fault)?;
                match setting {
                    "xmpp" => self.addresses.xmpp.push(bound),
                    "xmpps" => self.addresses.xmpps.push(bound),
                    "https" => self.addresses.https.push(bound),
                    "turn" => {}
                    "turns" => self.addresses.turns.push(bound),
                    "components" => self.addresses.components.push(bound),
                    "s2s" => self.addresses.s2s.push(bound),
                    "s2s_tls" => self.addresses.s2s_tls.push(bound),
                    _ => self.addresses.metrics.push(bound),
                }
                let serve = accept(listener, door.clone(), self.xmpp.clone(), permits.clone());
                self.listeners.spawn(serve);
            }
        }
        Ok(())
    }
}

/// The echo service of each domain.
async fn attach_echo(config: &Config, xmpp: &Server, store: &Store) -> Result<(), StartError> {
    for domain in &config.domains {
        if let Ok(account) = Jid::new(Some(echo::NAME), domain, None) {
            // Nobody knows its password: it is an account so that it can be written to and watched.
            let password = random_password().map_err(|e| StoreError::Unavailable(e.to_string()))?;
            store.ensure_account(&account, &password, config.xmpp.scram_iterations).await?;
            echo::attach(xmpp, &account).await;
        }
    }
    Ok(())
}

/// The owner of all calls, and what it says to others.
fn start_exchange(
    (xmpp, sip, contacts, bus): (Server, SipHandle, Contacts, Arc<dyn Bus>),
    (plan, domains, calls, protection, pictures): (
        Arc<Plan>,
        Arc<Domains>,
        CallDesk,
        Protection,
        Links,
    ),
    media: MediaHandle,
    store: &Store,
    (legs, stanzas): (mpsc::UnboundedReceiver<exchange::Event>, mpsc::Receiver<exchange::Call>),
) {
    let (outbox, said) = mpsc::unbounded_channel();
    let kept = (store.clone(), bus.clone());
    let runtime = sip.runtime().clone();
    runtime.spawn(exchange::send_all(xmpp.clone(), contacts.clone(), kept, said));
    let parts = exchange::Parts {
        xmpp,
        sip,
        media,
        contacts,
        plan,
        domains,
        calls,
        protection,
        pictures,
        bus,
        outbox,
        random,
    };
    runtime.spawn(exchange::Exchange::new(parts).run(legs, stanzas));
}

/// The way out of this server.
struct Outside {
    components: net::Components,
    federation: Federation,
    routes: Arc<dyn Routes>,
    plan: Arc<Plan>,
    domains: Arc<Domains>,
    hub: Arc<Hub>,
}

impl Remote for Outside {
    fn send(&self, from: &Jid, to: &Jid, stanza: Bytes) -> bool {
        if self.plan.is_number_domain(to) || self.domains.is_abroad(to) {
            let Ok(stanza) = Stanza::parse(stanza) else { return false };
            if stanza.kind() == Kind::Presence {
                // Who is there is neither here nor away.
                return true;
            }
            let resources = vec![to.resource().unwrap_or("trunk").to_owned()];
            if stanza.kind() == Kind::Message && !hub::is_call(&stanza) {
                let chat = self.hub.chat.get();
                return chat.is_some_and(|chat| chat.deliver(&to.bare(), &[], &stanza));
            }
            let call = exchange::Call { account: to.bare(), resources, stanza, is_taken: false };
            return self.hub.bus.send(Envelope::Call(call)).is_ok();
        }
        if self.routes.target(to).is_some()
            && let Some(presence) =
                Stanza::parse(stanza.clone()).ok().filter(|s| s.kind() == Kind::Presence)
        {
            let event = presence::Event::Abroad(Box::new(presence));
            return self.hub.bus.send(Envelope::Presence(event)).is_ok();
        }
        let component = self.components.send(to.domain(), stanza.clone());
        component.unwrap_or_else(|| self.federation.send(from, to, stanza))
    }
}

/// Forgets what is older than it may be, now and then.
async fn forget_old(store: Store, age: Duration) {
    let mut times = tokio::time::interval(HOUSEKEEPING);
    loop {
        times.tick().await;
        match store.forget_older(age).await {
            Ok(0) => {}
            Ok(gone) => tracing::info!(gone, "old messages left the archives"),
            Err(error) => tracing::error!(%error, "old messages cannot be forgotten"),
        }
    }
}

/// The XMPP server over a store, which nobody can connect to.
///
/// # Errors
///
/// [`StartError::Store`] when the store fails.
pub(crate) async fn server_alone(config: &Config, store: &Store) -> Result<Server, StartError> {
    xmpp_server(config, store, Arc::default(), removal::Nobody::ports(), (None, None)).await
}

async fn xmpp_server(
    config: &Config,
    store: &Store,
    guard: Arc<Guard>,
    (foreign, watch, remote): (Arc<dyn Foreign>, Arc<dyn Watch>, Arc<dyn Remote>),
    (depot, relay): (Option<Depot>, Option<(RelayHandle, Turn)>),
) -> Result<Server, StartError> {
    let accounts = Arc::new(StoredAccounts::new(store.clone(), guard, config).await?);
    let ports = Ports {
        accounts: accounts.clone(),
        passwords: accounts.clone(),
        login_tokens: accounts,
        // No issuer can be configured yet.
        bearer_tokens: None,
        directory: Arc::new(store.clone()),
        blocklists: Arc::new(store.clone()),
        invites: Arc::new(store.clone()),
        rosters: Arc::new(store.clone()),
        archive: Arc::new(store.clone()),
        offline: Arc::new(store.clone()),
        pubsub: Arc::new(store.clone()),
        foreign,
        watch,
        rooms: Arc::new(store.clone()),
        uploads: depot.map(|depot| Arc::new(depot) as Arc<dyn Uploads>),
        relays: ConfiguredRelays::new(relay, &config.turn)
            .map(|relays| Arc::new(relays) as Arc<dyn Relays>),
        pushes: Arc::new(store.clone()),
        remote,
        secret: store.secret("login-salt").await?,
    };
    Ok(Server::new(config.xmpp_config(), ports))
}

/// What apps and phones write to each other.
fn start_chat(
    config: &Config,
    (xmpp, sip): (&Server, &SipHandle),
    reached: (Contacts, Arc<Plan>, Arc<Domains>),
    depot: &Option<Depot>,
    hub: &Arc<Hub>,
) -> (Chat, RoomPhones) {
    let (settings, depot) = (config.chat.clone(), depot.clone());
    let contacts = reached.0.clone();
    let chat = Chat::new(xmpp.clone(), sip.clone(), reached, settings.clone(), depot);
    let store = hub.store.clone();
    let rooms = RoomPhones::new(
        xmpp.clone(),
        contacts,
        chat.clone(),
        store,
        settings,
        RoomRosters::new(sip.clone()),
    );
    chat.with_rooms(rooms.clone());
    let _ = hub.chat.set(chat.clone());
    let _ = hub.rooms.set(rooms.clone());
    (chat, rooms)
}

/// The message sessions of phones.
async fn start_sessions(
    config: &Config,
    certificate: &LiveCertificate,
    (chat, rooms): (&Chat, &RoomPhones),
    (xmpp, sip, contacts): (&Server, &SipHandle, &Contacts),
    hub: &Arc<Hub>,
) -> Result<(), StartError> {
    use tandem_sip::net::msrp::{self, MsrpListener};
    let tls = certificate.server_config()?;
    let plain = config.listen.msrp.iter().map(|addr| MsrpListener { addr: *addr, tls: None });
    let secure = config.listen.msrps.iter();
    let secure = secure.map(|addr| MsrpListener { addr: *addr, tls: Some(tls.clone()) });
    let listeners: Vec<MsrpListener> = plain.chain(secure).collect();
    let first = config.listen.msrp.iter().chain(&config.listen.msrps).next().copied();
    let (events, mut happened) = mpsc::unbounded_channel();
    let seed = random().first_chunk().copied().unwrap_or_default();
    let (handle, bound) = msrp::start(listeners, seed, events).await.map_err(|source| {
        let address = first.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
        StartError::Listen { address, setting: "msrp, msrps", source }
    })?;
    let plain = config.listen.msrp.first().and(bound.first()).map(SocketAddr::port);
    let secure = bound.get(config.listen.msrp.len()).map(SocketAddr::port);
    let parts = sessions::Parts {
        xmpp: xmpp.clone(),
        sip: sip.clone(),
        msrp: handle,
        contacts: contacts.clone(),
        chat: chat.clone(),
        rooms: rooms.clone(),
        ports: (plain, secure),
        protection: config.protection(),
        advertised: config.sip.advertised,
        fingerprint: certificate.fingerprint(),
        history: config.chat.room_history,
    };
    let desk = sessions::MsrpDesk::start(parts);
    chat.with_sessions(desk.clone());
    let _ = hub.sessions.set(desk.clone());
    tokio::spawn(async move {
        while let Some((session, event)) = happened.recv().await {
            desk.tell(sessions::Event::Session(session, event));
        }
    });
    Ok(())
}

/// What the node does by itself now and then.
fn start_upkeep(depot: Option<Depot>, xmpp: &Server, (store, age): (&Store, Option<Duration>)) {
    if let Some(age) = age {
        tokio::spawn(forget_old(store.clone(), age));
    }
    if let Some(depot) = depot {
        tokio::spawn(depot.keep_tidy());
    }
    tokio::spawn(crate::relays::renew(xmpp.clone()));
}

/// The relay, and what clients are told of it.
async fn start_relay(
    config: &Config,
    store: &Store,
) -> Result<Option<(RelayHandle, Turn)>, StartError> {
    // As text, as the relays of others have theirs.
    let secret = base64::engine::general_purpose::STANDARD.encode(store.secret("relay").await?);
    let Some(settings) = config.relay_config(secret.clone().into_bytes()) else { return Ok(None) };
    let handle = tandem_media::net::start_relay(settings, random())?;
    let first = config.domains.first().cloned().unwrap_or_default();
    let told = Turn {
        host: if config.relay.host.is_empty() { first } else { config.relay.host.clone() },
        port: handle.addresses().first().map_or(0, SocketAddr::port),
        tls_port: config.listen.turns.first().map_or(0, SocketAddr::port),
        transports: vec!["udp".into(), "tcp".into()],
        secret,
        seconds: config.relay.seconds,
    };
    Ok(Some((handle, told)))
}

/// The media engine; its events go to whoever owns the leg.
fn start_media(config: &Config, hub: Arc<Hub>) -> Result<MediaHandle, StartError> {
    let media = Media::start(config.media_config(), random(), move |event| hub.media(&event))?;
    if media.advertised().is_empty() {
        tracing::warn!("no address to offer for calls; set [media] advertised");
    }
    Ok(media)
}

/// The SIP server; gives the addresses it has bound too.
async fn start_sip(
    config: &Config,
    store: &Store,
    (guard, names): (Arc<Guard>, Arc<crate::dns::Resolver>),
    hub: &Arc<Hub>,
    certificate: &LiveCertificate,
) -> Result<(SipHandle, Addresses), StartError> {
    let accounts = Arc::new(PhoneAccounts::new(store.clone(), guard));
    let listeners = config.sip_listeners();
    let client = crate::federation::web_client(config)?;
    let waker = Arc::new(PushPlaces::new(&config.sip.push, client));
    let ports = hub::ports(hub, accounts, names, waker);
    let tls = crate::federation::phones(config, certificate)?;
    let (sip, bound) =
        Sip::start(config.sip_config(), ports, &listeners, Some(tls), random(), Place::OwnThread)
            .await?;
    let mut addresses = Addresses::default();
    for (listener, bound) in listeners.iter().zip(bound) {
        match listener.protocol {
            Protocol::Tls => addresses.sips.push(bound),
            _ => addresses.sip.push(bound),
        }
    }
    Ok((sip, addresses))
}

/// Brings the XMPP side in line with the registrations; a phone that is new gets what waited for its account.
async fn follow_phones(
    xmpp: Server,
    contacts: Contacts,
    (chat, rooms): (Chat, RoomPhones),
    mut registrations: mpsc::UnboundedReceiver<hub::Registration>,
) {
    let (greet, greeted) = mpsc::unbounded_channel();
    let mut greeter = JoinSet::new();
    greeter.spawn(greet_phones(chat, rooms.clone(), greeted));
    while let Some((account, change)) = registrations.recv().await {
        rooms.unregistered();
        contacts::sync(&xmpp, &contacts, &change).await;
        for device in change.new {
            let _ = greet.send((account.clone(), device));
        }
    }
}

/// Phones get what waited and go to their rooms, so many at once: after a power cut all of them are new.
async fn greet_phones(
    chat: Chat,
    rooms: RoomPhones,
    mut phones: mpsc::UnboundedReceiver<(Jid, Jid)>,
) {
    const AT_ONCE: usize = 256;
    let mut greeted = JoinSet::new();
    while let Some((account, device)) = phones.recv().await {
        while greeted.try_join_next().is_some() {}
        if greeted.len() >= AT_ONCE {
            greeted.join_next().await;
        }
        let (chat, rooms) = (chat.clone(), rooms.clone());
        greeted.spawn(async move {
            chat.flush(&account, &device).await;
            rooms.registered(&device).await;
        });
    }
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the system has a source of randomness");
    bytes
}

/// What the web layer asks.
struct Node {
    xmpp: Server,
    bosh: net::BoshSessions,
    store: Store,
    sip: SipHandle,
    sip_advertised: Option<IpAddr>,
}

impl Node {
    fn new(config: &Config, xmpp: &Server, store: &Store, sip: &SipHandle) -> Self {
        Self {
            xmpp: xmpp.clone(),
            bosh: net::BoshSessions::new(xmpp.clone(), Default::default()),
            store: store.clone(),
            sip: sip.clone(),
            sip_advertised: config.sip.advertised,
        }
    }

    /// What the web layer shows and asks.
    fn site(self: &Arc<Self>, config: &Config, depot: Option<Depot>) -> Site {
        Site {
            domains: config.domains.clone(),
            health: self.clone(),
            streams: self.clone(),
            max_frame_bytes: config.xmpp.max_stanza_bytes,
            max_sip_bytes: config.sip.max_message_bytes,
            files: depot.map(|depot| Arc::new(depot) as Arc<dyn tandem_web::Files>),
            origins: config.web.origins.clone().into(),
        }
    }
}

impl Health for Node {
    fn ready(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            self.store.accounts().await.map(|_| ()).map_err(|_| "the database fails".to_owned())
        })
    }
}

impl InvitePages for Node {
    fn find<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<InvitePage>, String>> {
        Box::pin(async move {
            let found = self.xmpp.ports().invites.find(token).await.map_err(|e| e.to_string())?;
            Ok(found.map(|invite| InvitePage {
                uri: tandem_xmpp::service::invite_uri(&invite, token),
                inviter: invite.inviter.map(|inviter| inviter.to_string()),
                domain: invite.domain,
                registers: invite.registers,
            }))
        })
    }
}

impl Streams for Node {
    fn xmpp(
        &self,
        incoming: mpsc::Receiver<Bytes>,
        outgoing: mpsc::Sender<Bytes>,
        peer: SocketAddr,
    ) -> BoxFuture<'static, ()> {
        Box::pin(net::serve_websocket(self.xmpp.clone(), incoming, outgoing, peer))
    }

    fn sip(
        &self,
        incoming: mpsc::Receiver<Bytes>,
        outgoing: mpsc::Sender<Bytes>,
        ends: Ends,
    ) -> BoxFuture<'static, ()> {
        let (sip, Ends { peer, local, is_secure }) = (self.sip.clone(), ends);
        let local = SocketAddr::new(self.sip_advertised.unwrap_or(local.ip()), local.port());
        let ends = WebSocketEnds { peer, local, is_secure };
        Box::pin(async move { sip.websocket(incoming, outgoing, ends).await })
    }

    fn bosh(&self, content: Bytes, peer: SocketAddr) -> BoxFuture<'static, Option<Bytes>> {
        let sessions = self.bosh.clone();
        Box::pin(async move { sessions.request(content, peer).await })
    }
}
