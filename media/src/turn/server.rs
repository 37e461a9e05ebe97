//! The server's requests (RFC 8489 section 6.3, RFC 8656 sections 7 to 12). Allocate is in `allocate`.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::allocation::{Allocation, Unbound};
use super::auth::{ALGORITHMS, Auth, Proof, Refused};
use super::bucket::{Sources, network};
use super::request::{
    ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, DONT_FRAGMENT, LIFETIME, NONCE, PASSWORD_ALGORITHMS,
    REALM, REFRESH, Request, SEND, Wanted,
};
use super::{Action, Client, Counters, Family, Inbound, RelayId, Settings, Transport, allocate};
use crate::stun::{Class, Frame, SOFTWARE, Writer, XOR_MAPPED_ADDRESS};

/// What an allocation gets that asks for nothing, and the most (section 7.2).
pub(super) const LIFETIME_DEFAULT: u32 = 600;
pub(super) const LIFETIME_MAX: u32 = 3_600;
/// How long a connection may be there with nothing allocated over it.
const IDLE: Duration = Duration::from_secs(30);
/// Attributes of one request that name peers.
const MAX_PEERS: usize = 64;
/// Told in answers to requests.
pub(super) const NAME: &[u8] = b"Tandem";

/// An answer that says no: code and reason phrase.
pub(super) type Refusal = (u16, &'static str);

/// The server. See the module.
pub struct Server {
    pub(super) settings: Settings,
    pub(super) auth: Auth,
    pub(super) counters: Counters,
    pub(super) allocations: HashMap<Client, Allocation>,
    pub(super) relays: HashMap<RelayId, Client>,
    pub(super) per_user: HashMap<Arc<str>, usize>,
    pub(super) per_address: HashMap<IpAddr, usize>,
    /// When to look at an allocation; it may have been refreshed since.
    pub(super) due: BTreeSet<(Instant, Client)>,
    pub(super) pending: HashMap<u64, allocate::Pending>,
    pub(super) reserved: HashMap<[u8; 8], allocate::Reserved>,
    pub(super) tickets: u64,
    pub(super) actions: VecDeque<Action>,
    strangers: Sources,
    start: Instant,
    wall: Duration,
    seed: [u8; 32],
    drawn: u64,
}

impl Server {
    /// A server. `seed` is random; `wall` is the time since 1970 at `now`.
    pub fn new(settings: Settings, seed: [u8; 32], now: Instant, wall: Duration) -> Self {
        let nonce_key = Sha256::new().chain_update(seed).chain_update(b"nonce").finalize().into();
        let (secrets, users) = (settings.secrets.clone(), settings.users.clone());
        let auth = Auth::new(&settings.realm, secrets, users, nonce_key);
        Self {
            strangers: Sources::new(settings.strangers_per_second, now),
            settings,
            auth,
            counters: Counters::default(),
            allocations: HashMap::new(),
            relays: HashMap::new(),
            per_user: HashMap::new(),
            per_address: HashMap::new(),
            due: BTreeSet::new(),
            pending: HashMap::new(),
            reserved: HashMap::new(),
            tickets: 0,
            actions: VecDeque::new(),
            start: now,
            wall,
            seed,
            drawn: 0,
        }
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        Counters { open: self.allocations.len() as u64, ..self.counters }
    }

    /// Seconds since 1970.
    fn seconds(&self, now: Instant) -> u64 {
        (self.wall + now.saturating_duration_since(self.start)).as_secs()
    }

    /// A name that was handed out, which may come as its hash from now on until it ends.
    pub fn remember(&mut self, name: &str, ends: u64, now: Instant) {
        let now = self.seconds(now);
        self.auth.remember(name, ends, now);
    }

    /// Bytes that nobody can guess.
    pub(super) fn random_bytes<const N: usize>(&mut self) -> [u8; N] {
        self.drawn += 1;
        let hash =
            Sha256::new().chain_update(self.seed).chain_update(self.drawn.to_be_bytes()).finalize();
        let mut bytes = [0; N];
        bytes.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        bytes
    }

    pub(super) fn of_client(&self, client: &Client) -> Option<&Allocation> {
        self.allocations.get(client)
    }

    pub(super) fn of_client_mut(&mut self, client: &Client) -> Option<&mut Allocation> {
        self.allocations.get_mut(client)
    }

    pub(super) fn of_relay(&self, relay: RelayId) -> Option<&Allocation> {
        self.relays.get(&relay).and_then(|client| self.allocations.get(client))
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let reserved = self.reserved.values().map(|reserved| reserved.expires).min();
        self.due.first().map(|(at, _)| *at).into_iter().chain(reserved).min()
    }

    /// Ends what has expired.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, client)) = self.due.first().copied()
            && at <= now
        {
            self.due.remove(&(at, client));
            match self.allocations.get(&client).map(|allocation| allocation.expires) {
                Some(expires) if expires > now => {
                    self.due.insert((expires, client));
                }
                Some(_) => self.expire(&client, now),
                None if client.transport != Transport::Udp => {
                    self.actions.push_back(Action::Close(client));
                }
                None => {}
            }
        }
        self.drop_reserved(now);
    }

    /// A connection is there. It is closed when nothing is allocated over it in time.
    pub fn handle_opened(&mut self, client: Client, now: Instant) {
        self.due.insert((now + IDLE, client));
    }

    /// A connection is gone, and with it what was allocated over it.
    pub fn handle_closed(&mut self, client: &Client) {
        self.end(client);
    }

    /// What a client sent: one datagram, or one message of a stream.
    pub fn handle_client(&mut self, client: Client, bytes: &[u8], now: Instant) -> Inbound {
        if bytes.first().is_some_and(|first| first >> 6 == 1) {
            return self.channel_data(&client, bytes, now);
        }
        let Some(frame) = Frame::parse(bytes) else { return Inbound::Dropped };
        match frame.class {
            Class::Request => {
                self.request(client, &Request::read(frame), now);
                Inbound::Handled
            }
            Class::Indication if frame.method == SEND => {
                self.send_indication(&client, bytes, &Request::read(frame), now)
            }
            Class::Indication | Class::Success | Class::Error => Inbound::Dropped,
        }
    }

    fn request(&mut self, client: Client, request: &Request<'_>, now: Instant) {
        if request.is_binding() {
            return self.binding(client, request, now);
        }
        let seconds = self.seconds(now);
        let proof = match self.auth.check(request, &client, seconds) {
            Ok(proof) => proof,
            Err(refused) => return self.refuse_stranger(client, request, refused, now),
        };
        if let Err(refusal) = self.proven(client, request, &proof, now) {
            self.refuse(client, request, &proof, refusal);
        }
    }

    fn proven(
        &mut self,
        client: Client,
        request: &Request<'_>,
        proof: &Proof,
        now: Instant,
    ) -> Result<(), Refusal> {
        // RFC 8489 section 6.3.1. DONT-FRAGMENT is one of those where it has a meaning.
        if !request.unknown.is_empty() || request.dont_fragment {
            return Err((420, "Unknown Attribute"));
        }
        if let Some(allocation) = self.of_client(&client)
            && allocation.owner != proof.owner
        {
            return Err((441, "Wrong Credentials"));
        }
        match request.frame.method {
            ALLOCATE => self.allocate(client, request, proof, now),
            REFRESH => self.refresh(client, request, proof, now),
            CREATE_PERMISSION => self.create_permission(client, request, proof, now),
            CHANNEL_BIND => self.channel_bind(client, request, proof, now),
            _ => Err((400, "Unknown Method")),
        }
    }

    /// A STUN Binding: everybody may know the address they come from (RFC 8489 section 12).
    fn binding(&mut self, client: Client, request: &Request<'_>, now: Instant) {
        if !self.strangers.take(client.remote.ip(), now) {
            self.counters.ignored += 1;
            return;
        }
        let frame = &request.frame;
        let writer = if request.unknown.is_empty() {
            Writer::new(frame.method, Class::Success, &frame.transaction)
                .address(XOR_MAPPED_ADDRESS, client.remote)
        } else {
            Writer::new(frame.method, Class::Error, &frame.transaction)
                .error(420, "Unknown Attribute")
                .unknown_attributes(&request.unknown)
        };
        let bytes = writer.attribute(SOFTWARE, NAME).fingerprint().into_bytes();
        self.actions.push_back(Action::Answer { client, bytes });
    }

    /// Refresh (RFC 8656 section 8).
    fn refresh(
        &mut self,
        client: Client,
        request: &Request<'_>,
        proof: &Proof,
        now: Instant,
    ) -> Result<(), Refusal> {
        let allocation = self.of_client_mut(&client).ok_or(NO_ALLOCATION)?;
        let family = match request.family {
            None => None,
            Some(Wanted::Known(family)) if allocation.relay(family).is_some() => Some(family),
            Some(_) => return Err((443, "Peer Address Family Mismatch")),
        };
        let seconds = match request.lifetime {
            Some(0) => 0,
            asked => lifetime(asked),
        };
        if seconds > 0 {
            allocation.lifetime = Duration::from_secs(seconds.into());
            allocation.expires = now + allocation.lifetime;
        } else {
            self.give_up(&client, family, now);
        }
        let writer = self.success(request).attribute(LIFETIME, &seconds.to_be_bytes());
        self.answer(client, writer, proof);
        Ok(())
    }

    /// CreatePermission (section 10): all of the peers or none.
    fn create_permission(
        &mut self,
        client: Client,
        request: &Request<'_>,
        proof: &Proof,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.of_client(&client).ok_or(NO_ALLOCATION)?;
        if request.peers.is_empty() || request.peers.len() > MAX_PEERS {
            return Err(BAD_REQUEST);
        }
        let mut peers = Vec::with_capacity(request.peers.len());
        for peer in &request.peers {
            let ip = peer.ok_or(BAD_REQUEST)?.ip();
            let is_allowed = self.settings.policy.allows_ip(ip);
            self.judge(&client, ip, is_allowed)?;
            peers.push(ip);
        }
        let allocation = self.of_client_mut(&client).ok_or(NO_ALLOCATION)?;
        if !allocation.permit(&peers, now) {
            return Err((508, "Insufficient Capacity"));
        }
        let writer = self.success(request);
        self.answer(client, writer, proof);
        Ok(())
    }

    /// ChannelBind (section 12.2).
    fn channel_bind(
        &mut self,
        client: Client,
        request: &Request<'_>,
        proof: &Proof,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.of_client(&client).ok_or(NO_ALLOCATION)?;
        let (Some(number), &[Some(peer)]) = (request.channel, &*request.peers) else {
            return Err(BAD_REQUEST);
        };
        if !self.is_channel(number) {
            return Err(BAD_REQUEST);
        }
        let is_allowed = self.settings.policy.allows(peer);
        self.judge(&client, peer.ip(), is_allowed)?;
        let allocation = self.of_client_mut(&client).ok_or(NO_ALLOCATION)?;
        allocation.bind(number, peer, now).map_err(|unbound| match unbound {
            Unbound::Taken => (400, "Channel Or Peer Bound"),
            Unbound::Full => (508, "Insufficient Capacity"),
        })?;
        let writer = self.success(request);
        self.answer(client, writer, proof);
        Ok(())
    }

    /// Whether an allocation reaches an address: of a family that it has, and one that policy allows.
    fn judge(&mut self, client: &Client, ip: IpAddr, is_allowed: bool) -> Result<(), Refusal> {
        let allocation = self.of_client(client).ok_or(NO_ALLOCATION)?;
        if allocation.relay(Family::of(ip)).is_none() {
            return Err((443, "Peer Address Family Mismatch"));
        }
        if !is_allowed {
            self.counters.forbidden += 1;
            return Err((403, "Forbidden"));
        }
        Ok(())
    }

    pub(super) fn success(&self, request: &Request<'_>) -> Writer {
        let frame = &request.frame;
        Writer::new(frame.method, Class::Success, &frame.transaction).attribute(SOFTWARE, NAME)
    }

    pub(super) fn answer(&mut self, client: Client, writer: Writer, proof: &Proof) {
        let bytes = proof.sign(writer).fingerprint().into_bytes();
        self.actions.push_back(Action::Answer { client, bytes });
    }

    pub(super) fn refuse(
        &mut self,
        client: Client,
        request: &Request<'_>,
        proof: &Proof,
        (code, reason): Refusal,
    ) {
        if matches!(code, 486 | 508) {
            self.counters.over_quota += 1;
        }
        let frame = &request.frame;
        let mut writer = Writer::new(frame.method, Class::Error, &frame.transaction)
            .error(code, reason)
            .attribute(SOFTWARE, NAME);
        if code == 420 {
            let mut unknown = request.unknown.clone();
            if request.dont_fragment {
                unknown.push(DONT_FRAGMENT);
            }
            writer = writer.unknown_attributes(&unknown);
        }
        self.answer(client, writer, proof);
    }

    /// Refuses who is not known: with what is needed to become so, and not too often (RFC 8489 section 9.2.4).
    fn refuse_stranger(
        &mut self,
        client: Client,
        request: &Request<'_>,
        refused: Refused,
        now: Instant,
    ) {
        if refused == Refused::Unauthorized
            && (request.integrity.is_some() || request.integrity_sha256.is_some())
        {
            self.counters.unauthorized += 1;
        }
        if !self.strangers.take(client.remote.ip(), now) {
            self.counters.ignored += 1;
            return;
        }
        let (code, reason) = match refused {
            Refused::Malformed => (400, "Bad Request"),
            Refused::Unauthorized => (401, "Unauthorized"),
            Refused::Stale => (438, "Stale Nonce"),
        };
        let frame = &request.frame;
        let mut writer =
            Writer::new(frame.method, Class::Error, &frame.transaction).error(code, reason);
        if code != 400 {
            let nonce = self.auth.nonce(&client, self.seconds(now));
            writer = writer
                .attribute(REALM, self.auth.realm().as_bytes())
                .attribute(NONCE, nonce.as_bytes())
                .attribute(PASSWORD_ALGORITHMS, &ALGORITHMS);
        }
        let bytes = writer.attribute(SOFTWARE, NAME).fingerprint().into_bytes();
        self.actions.push_back(Action::Answer { client, bytes });
    }

    /// Ends an allocation, or one half of it.
    fn give_up(&mut self, client: &Client, family: Option<Family>, now: Instant) {
        let Some(allocation) = self.allocations.get_mut(client) else { return };
        let is_half = |ip: IpAddr| family.is_some_and(|family| family == Family::of(ip));
        if family.is_some() && allocation.relays.iter().flatten().count() > 1 {
            for relay in &mut allocation.relays {
                if let Some(ended) = relay.take_if(|relay| is_half(relay.address.ip())) {
                    self.relays.remove(&ended.id);
                    self.actions.push_back(Action::Release(ended.id));
                }
            }
            return;
        }
        self.expire(client, now);
    }

    /// Ends an allocation. Its connection may make another.
    fn expire(&mut self, client: &Client, now: Instant) {
        self.end(client);
        if client.transport != Transport::Udp {
            self.handle_opened(*client, now);
        }
    }

    fn end(&mut self, client: &Client) {
        let Some(allocation) = self.allocations.remove(client) else { return };
        for relay in allocation.relays.into_iter().flatten() {
            self.relays.remove(&relay.id);
            self.actions.push_back(Action::Release(relay.id));
        }
        less(&mut self.per_user, &allocation.owner);
        less(&mut self.per_address, &network(client.remote.ip()));
    }
}

pub(super) const NO_ALLOCATION: Refusal = (437, "Allocation Mismatch");
pub(super) const BAD_REQUEST: Refusal = (400, "Bad Request");

/// The seconds that a client gets (section 7.2): never fewer than the default, never more than the most.
pub(super) fn lifetime(asked: Option<u32>) -> u32 {
    asked.unwrap_or(LIFETIME_DEFAULT).clamp(LIFETIME_DEFAULT, LIFETIME_MAX)
}

/// Counts one less, and forgets who has none.
fn less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}
