//! The attributes of RFC 8656 section 18 and of the requests they come in.

use std::net::{IpAddr, SocketAddr};

use smallvec::SmallVec;

use crate::stun::{
    Attribute, BINDING, Frame, MAX_UNKNOWN, MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256, USERNAME,
};

pub(super) const ALLOCATE: u16 = 0x003;
pub(super) const REFRESH: u16 = 0x004;
pub(super) const SEND: u16 = 0x006;
pub(super) const DATA_INDICATION: u16 = 0x007;
pub(super) const CREATE_PERMISSION: u16 = 0x008;
pub(super) const CHANNEL_BIND: u16 = 0x009;

pub(super) const CHANNEL_NUMBER: u16 = 0x000c;
pub(super) const LIFETIME: u16 = 0x000d;
pub(super) const XOR_PEER_ADDRESS: u16 = 0x0012;
pub(super) const DATA: u16 = 0x0013;
pub(super) const REALM: u16 = 0x0014;
pub(super) const NONCE: u16 = 0x0015;
pub(super) const XOR_RELAYED_ADDRESS: u16 = 0x0016;
const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
const EVEN_PORT: u16 = 0x0018;
const REQUESTED_TRANSPORT: u16 = 0x0019;
pub(super) const DONT_FRAGMENT: u16 = 0x001a;
const PASSWORD_ALGORITHM: u16 = 0x001d;
const USERHASH: u16 = 0x001e;
pub(super) const RESERVATION_TOKEN: u16 = 0x0022;
const ADDITIONAL_ADDRESS_FAMILY: u16 = 0x8000;
pub(super) const ADDRESS_ERROR_CODE: u16 = 0x8001;
pub(super) const PASSWORD_ALGORITHMS: u16 = 0x8002;

/// The family of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Version 4.
    V4,
    /// Version 6.
    V6,
}

impl Family {
    /// Of an address.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// As attributes name it.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::V4 => 1,
            Self::V6 => 2,
        }
    }

    fn read(value: &[u8]) -> Wanted<Self> {
        match value {
            [1, _, _, _] => Wanted::Known(Self::V4),
            [2, _, _, _] => Wanted::Known(Self::V6),
            _ => Wanted::Other,
        }
    }
}

/// What an attribute asks for, which may be something we do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted<T> {
    Known(T),
    Other,
}

/// A request or indication of a client.
pub(super) struct Request<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) username: Option<&'a [u8]>,
    pub(super) userhash: Option<&'a [u8]>,
    pub(super) realm: Option<&'a [u8]>,
    pub(super) nonce: Option<&'a [u8]>,
    pub(super) password_algorithm: Option<&'a [u8]>,
    pub(super) password_algorithms: Option<&'a [u8]>,
    /// Where the two codes stand.
    pub(super) integrity: Option<usize>,
    pub(super) integrity_sha256: Option<usize>,
    pub(super) lifetime: Option<u32>,
    pub(super) channel: Option<u16>,
    pub(super) peers: SmallVec<[Option<SocketAddr>; 4]>,
    pub(super) data: Option<&'a [u8]>,
    /// The protocol number that follows from REQUESTED-TRANSPORT.
    pub(super) transport: Option<u8>,
    pub(super) family: Option<Wanted<Family>>,
    pub(super) additional: Option<Wanted<Family>>,
    /// EVEN-PORT, and whether the next port is to be kept.
    pub(super) even_port: Option<bool>,
    pub(super) token: Option<&'a [u8]>,
    pub(super) dont_fragment: bool,
    /// Attributes that must be understood and are not.
    pub(super) unknown: SmallVec<[u16; 4]>,
}

impl<'a> Request<'a> {
    pub(super) fn read(frame: Frame<'a>) -> Self {
        let mut request = Self {
            frame,
            username: None,
            userhash: None,
            realm: None,
            nonce: None,
            password_algorithm: None,
            password_algorithms: None,
            integrity: None,
            integrity_sha256: None,
            lifetime: None,
            channel: None,
            peers: SmallVec::new(),
            data: None,
            transport: None,
            family: None,
            additional: None,
            even_port: None,
            token: None,
            dont_fragment: false,
            unknown: SmallVec::new(),
        };
        for attribute in frame.attributes() {
            request.attribute(attribute);
        }
        request
    }

    fn attribute(&mut self, Attribute { kind, value, at }: Attribute<'a>) {
        // After MESSAGE-INTEGRITY only MESSAGE-INTEGRITY-SHA256 counts, after that nothing (RFC 8489 section 14.5).
        if self.integrity_sha256.is_some()
            || (self.integrity.is_some() && kind != MESSAGE_INTEGRITY_SHA256)
        {
            return;
        }
        match kind {
            USERNAME => self.username = Some(value),
            USERHASH => self.userhash = Some(value),
            REALM => self.realm = Some(value),
            NONCE => self.nonce = Some(value),
            PASSWORD_ALGORITHM => self.password_algorithm = Some(value),
            PASSWORD_ALGORITHMS => self.password_algorithms = Some(value),
            MESSAGE_INTEGRITY => self.integrity = Some(at),
            MESSAGE_INTEGRITY_SHA256 => self.integrity_sha256 = Some(at),
            LIFETIME => self.lifetime = value.try_into().ok().map(u32::from_be_bytes),
            CHANNEL_NUMBER => {
                if let [high, low, _, _] = value {
                    self.channel = Some(u16::from_be_bytes([*high, *low]));
                }
            }
            XOR_PEER_ADDRESS => self.peers.push(self.frame.address(value)),
            DATA => self.data = Some(value),
            REQUESTED_TRANSPORT => self.transport = value.first().copied(),
            REQUESTED_ADDRESS_FAMILY => self.family = Some(Family::read(value)),
            ADDITIONAL_ADDRESS_FAMILY => self.additional = Some(Family::read(value)),
            EVEN_PORT => self.even_port = Some(value.first().is_some_and(|bits| bits & 0x80 != 0)),
            RESERVATION_TOKEN => self.token = Some(value),
            DONT_FRAGMENT => self.dont_fragment = true,
            kind if kind < 0x8000 && self.unknown.len() < MAX_UNKNOWN => self.unknown.push(kind),
            _ => {}
        }
    }

    /// Whether it is a STUN request that has nothing to do with relays.
    pub(super) fn is_binding(&self) -> bool {
        self.frame.method == BINDING
    }
}
