//! A client made of bytes, against the server, in virtual time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use md5::{Digest, Md5};
use sha2::Sha256;

use crate::stun::{Attribute, Class, Frame, Writer};
use crate::turn::request::*;
use crate::turn::*;

pub(super) const REALM_NAME: &str = "example.org";
pub(super) const SECRET: &[u8] = b"north";
pub(super) const WALL: u64 = 1_000_000;
pub(super) const ERROR: u16 = 0x0009;
pub(super) const UNKNOWN: u16 = 0x000a;
pub(super) const PEER: &str = "8.8.8.8:5000";

pub(super) struct World {
    pub(super) server: Server,
    pub(super) now: Instant,
    /// Addresses bound, by number.
    pub(super) bound: HashMap<u32, SocketAddr>,
    pub(super) next: u32,
    /// What binding gives: families that fail.
    pub(super) broken: Vec<Family>,
    pub(super) sent: Vec<(Client, Vec<u8>)>,
    pub(super) closed: Vec<Client>,
}

/// Somebody who asks.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) client: Client,
    pub(super) name: String,
    pub(super) password: String,
    pub(super) nonce: Vec<u8>,
    /// SHA-256 for the code, the key and the name.
    pub(super) is_modern: bool,
}

/// An answer, taken apart.
pub(super) struct Answer {
    pub(super) class: Class,
    pub(super) attributes: Vec<(u16, Vec<u8>)>,
    pub(super) raw: Vec<u8>,
}

impl Answer {
    pub(super) fn get(&self, kind: u16) -> Option<&[u8]> {
        self.attributes.iter().find(|(own, _)| *own == kind).map(|(_, value)| &**value)
    }

    pub(super) fn code(&self) -> u16 {
        let value = self.get(ERROR).expect("an error");
        u16::from(value[2]) * 100 + u16::from(value[3])
    }

    pub(super) fn addresses(&self, kind: u16) -> Vec<SocketAddr> {
        let frame = Frame::parse(&self.raw).unwrap();
        let own = self.attributes.iter().filter(|(own, _)| *own == kind);
        own.map(|(_, value)| frame.address(value).unwrap()).collect()
    }

    pub(super) fn seconds(&self) -> u32 {
        u32::from_be_bytes(self.get(LIFETIME).unwrap().try_into().unwrap())
    }
}

pub(super) fn settings() -> Settings {
    Settings {
        realm: REALM_NAME.into(),
        secrets: vec![b"newer".to_vec(), SECRET.to_vec()],
        users: HashMap::from([("gateway".to_owned(), "fixed".to_owned())]),
        policy: Policy::default(),
        families: vec![Family::V4, Family::V6],
        max_allocations: 20,
        max_per_user: 3,
        max_per_address: 5,
        bytes_per_second: 10_000,
        old_channels: false,
        strangers_per_second: 1_000,
    }
}

impl World {
    pub(super) fn new(settings: Settings) -> Self {
        let now = Instant::now();
        let server = Server::new(settings, [7; 32], now, Duration::from_secs(WALL));
        let (bound, sent) = (HashMap::new(), Vec::new());
        Self { server, now, bound, next: 0, broken: Vec::new(), sent, closed: Vec::new() }
    }

    pub(super) fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.server.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.server.handle_timeout(self.now);
            self.act();
        }
        self.now = end;
    }

    pub(super) fn bind(&mut self, family: Family) -> Bound {
        self.next += 1;
        let port = u16::try_from(50_000 + 2 * self.next).unwrap();
        let address = match family {
            Family::V4 => SocketAddr::new("8.1.1.1".parse().unwrap(), port),
            Family::V6 => SocketAddr::new("2600::1".parse().unwrap(), port),
        };
        self.bound.insert(self.next, address);
        Bound { id: RelayId(self.next), address }
    }

    pub(super) fn act(&mut self) {
        while let Some(action) = self.server.poll_action() {
            match action {
                Action::Answer { client, bytes } => self.sent.push((client, bytes)),
                Action::Release(id) => {
                    self.bound.remove(&id.0).expect("it was bound");
                }
                Action::Close(client) => self.closed.push(client),
                Action::Bind { ticket, request } => {
                    let families =
                        request.families.iter().filter(|f| !self.broken.contains(f)).copied();
                    let families: Vec<_> = families.collect();
                    let bound: Vec<_> = families.into_iter().map(|f| self.bind(f)).collect();
                    let reserved = request.reserve.then(|| self.bind(Family::V4));
                    self.server.handle_bound(ticket, &bound, reserved, self.now);
                }
            }
        }
    }

    /// Sends bytes and gives what is answered.
    pub(super) fn send(&mut self, client: Client, bytes: &[u8]) -> Option<Answer> {
        self.server.handle_client(client, bytes, self.now);
        self.act();
        let (to, raw) = self.sent.pop()?;
        assert_eq!(to, client);
        assert!(self.sent.is_empty());
        let frame = Frame::parse(&raw).expect("a message");
        let attributes = frame.attributes().map(|a| (a.kind, a.value.to_vec())).collect();
        Some(Answer { class: frame.class, attributes, raw: raw.clone() })
    }

    /// Sends a request with the credentials of somebody.
    pub(super) fn ask(&mut self, asker: &Asker, method: u16, attributes: &[Parameter]) -> Answer {
        let bytes = asker.request(method, rand_id(), attributes);
        let answer = self.send(asker.client, &bytes).expect("an answer");
        if asker.is_authentic(&answer) {
            return answer;
        }
        assert!([400, 401, 438].contains(&answer.code()), "{} is not signed", answer.code());
        answer
    }

    /// Somebody with a name that ends in an hour, and the nonce that it was told.
    pub(super) fn asker(&mut self, remote: &str, account: &str) -> Asker {
        let name = format!("{}:{account}", WALL + 3_600);
        let password = rest_password(SECRET, &name);
        self.asker_named(remote, &name, &password)
    }

    pub(super) fn asker_named(&mut self, remote: &str, name: &str, password: &str) -> Asker {
        let client =
            Client { listener: 0, remote: remote.parse().unwrap(), transport: Transport::Udp };
        let bytes = Writer::new(ALLOCATE, Class::Request, &rand_id()).into_bytes();
        let answer = self.send(client, &bytes).unwrap();
        assert_eq!(answer.code(), 401);
        assert_eq!(answer.get(REALM), Some(REALM_NAME.as_bytes()));
        let nonce = answer.get(NONCE).unwrap().to_vec();
        Asker { client, name: name.into(), password: password.into(), nonce, is_modern: false }
    }

    pub(super) fn allocated(&mut self, remote: &str, account: &str) -> Asker {
        let asker = self.asker(remote, account);
        let answer = self.ask(&asker, ALLOCATE, &[udp()]);
        assert_eq!(answer.class, Class::Success);
        asker
    }
}

impl Asker {
    pub(super) fn key(&self) -> Vec<u8> {
        let joined = format!("{}:{REALM_NAME}:{}", self.name, self.password);
        if self.is_modern { Sha256::digest(joined).to_vec() } else { Md5::digest(joined).to_vec() }
    }

    pub(super) fn request(&self, method: u16, id: [u8; 12], attributes: &[Parameter]) -> Vec<u8> {
        let mut writer = Writer::new(method, Class::Request, &id);
        for (kind, value) in attributes {
            writer = match value.as_slice() {
                // An address is written under the transaction: as text here.
                text if *kind == XOR_PEER_ADDRESS => {
                    let address = std::str::from_utf8(text).unwrap().parse().unwrap();
                    writer.address(*kind, address)
                }
                value => writer.attribute(*kind, value),
            };
        }
        if self.is_modern {
            let hash = Sha256::digest(format!("{}:{REALM_NAME}", self.name));
            writer = writer.attribute(0x001e, &hash);
        } else {
            writer = writer.attribute(0x0006, self.name.as_bytes());
        }
        writer = writer.attribute(REALM, REALM_NAME.as_bytes()).attribute(NONCE, &self.nonce);
        if self.is_modern {
            writer = writer
                .attribute(PASSWORD_ALGORITHMS, &[0, 2, 0, 0, 0, 1, 0, 0])
                .attribute(0x001d, &[0, 2, 0, 0])
                .sign_sha256(&self.key());
        } else {
            writer = writer.sign_sha1(&self.key());
        }
        writer.fingerprint().into_bytes()
    }

    pub(super) fn is_authentic(&self, answer: &Answer) -> bool {
        let frame = Frame::parse(&answer.raw).unwrap();
        frame.attributes().any(|Attribute { kind, at, .. }| match kind {
            0x0008 if !self.is_modern => frame.is_signed_sha1(at, &self.key()),
            0x001c if self.is_modern => frame.is_signed_sha256(at, &self.key()),
            _ => false,
        })
    }
}

pub(super) fn rand_id() -> [u8; 12] {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut id = [0; 12];
    id[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    id
}

/// An attribute of a request.
pub(super) type Parameter = (u16, Vec<u8>);

pub(super) fn udp() -> Parameter {
    (0x0019, vec![17, 0, 0, 0])
}

pub(super) fn peer(address: &str) -> Parameter {
    (XOR_PEER_ADDRESS, address.as_bytes().to_vec())
}

pub(super) fn channel(number: u16) -> Parameter {
    let [high, low] = number.to_be_bytes();
    (CHANNEL_NUMBER, vec![high, low, 0, 0])
}

pub(super) fn family(number: u8) -> Parameter {
    (0x0017, vec![number, 0, 0, 0])
}

pub(super) fn channel_data(number: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(data);
    bytes
}
