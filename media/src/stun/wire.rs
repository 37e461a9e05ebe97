//! STUN messages as such (RFC 8489 sections 5, 6 and 14): header, attributes, integrity. ICE and TURN are built on it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// What stands in bytes 4 to 7 of every message.
pub(crate) const COOKIE: u32 = 0x2112_a442;
const HEADER: usize = 20;
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// USERNAME.
pub(crate) const USERNAME: u16 = 0x0006;
/// MESSAGE-INTEGRITY: HMAC-SHA1.
pub(crate) const MESSAGE_INTEGRITY: u16 = 0x0008;
/// ERROR-CODE.
pub(crate) const ERROR_CODE: u16 = 0x0009;
/// UNKNOWN-ATTRIBUTES.
pub(crate) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
/// MESSAGE-INTEGRITY-SHA256.
pub(crate) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
/// XOR-MAPPED-ADDRESS.
pub(crate) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// FINGERPRINT.
pub(crate) const FINGERPRINT: u16 = 0x8028;
/// SOFTWARE.
pub(crate) const SOFTWARE: u16 = 0x8022;

/// A transaction id.
pub type TransactionId = [u8; 12];

/// The class of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A request.
    Request,
    /// An indication, never answered.
    Indication,
    /// A success response.
    Success,
    /// An error response.
    Error,
}

/// Whether a datagram looks like STUN (RFC 7983, RFC 8489 section 5).
pub fn is_stun(datagram: &[u8]) -> bool {
    matches!(datagram, [first, _, _, _, a, b, c, d, ..]
        if *first < 4 && u32::from_be_bytes([*a, *b, *c, *d]) == COOKIE && datagram.len() >= HEADER)
}

/// A message whose header and attribute lengths are sound. A FINGERPRINT, if there, is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its method, such as 1 for Binding.
    pub method: u16,
    /// Its class.
    pub class: Class,
    /// Its transaction.
    pub transaction: TransactionId,
    raw: &'a [u8],
}

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its type.
    pub kind: u16,
    /// Its value, without padding.
    pub value: &'a [u8],
    /// Where it begins in the message.
    pub at: usize,
}

impl<'a> Frame<'a> {
    /// Reads a message. None for what is not one.
    pub fn parse(raw: &'a [u8]) -> Option<Self> {
        if !is_stun(raw) || usize::from(be16(raw, 2)?) + HEADER != raw.len() {
            return None;
        }
        let kind = be16(raw, 0)?;
        let class = match (kind >> 7 & 2) | (kind >> 4 & 1) {
            0 => Class::Request,
            1 => Class::Indication,
            2 => Class::Success,
            _ => Class::Error,
        };
        let method = (kind & 0x000f) | (kind >> 1 & 0x0070) | (kind >> 2 & 0x0f80);
        let frame = Self { method, class, transaction: raw.get(8..20)?.try_into().ok()?, raw };
        let mut at = HEADER;
        for attribute in frame.attributes() {
            at = attribute.at + 4 + attribute.value.len().next_multiple_of(4);
            if attribute.kind == FINGERPRINT {
                let sent = u32::from_be_bytes(attribute.value.try_into().ok()?);
                if sent != crc32(raw.get(..attribute.at)?) ^ FINGERPRINT_XOR {
                    return None;
                }
            }
        }
        // The walk ends early at an attribute that does not fit.
        (at == raw.len()).then_some(frame)
    }

    /// All attributes in order.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        let raw = self.raw;
        let mut at = HEADER;
        std::iter::from_fn(move || {
            let (kind, length) = (be16(raw, at)?, usize::from(be16(raw, at + 2)?));
            let attribute = Attribute { kind, value: raw.get(at + 4..at + 4 + length)?, at };
            at += 4 + length.next_multiple_of(4);
            Some(attribute)
        })
    }

    /// Whether the MESSAGE-INTEGRITY that stands at `at` was made with this key.
    pub fn is_signed_sha1(&self, at: usize, key: &[u8]) -> bool {
        let check = || {
            let sent = self.raw.get(at + 4..at + 24)?;
            let mac = self.signed_part::<Hmac<Sha1>>(at, 24, key)?;
            Some(bool::from(mac.finalize().into_bytes().ct_eq(sent)))
        };
        check().unwrap_or(false)
    }

    /// Whether the MESSAGE-INTEGRITY-SHA256 that stands at `at` was made with this key. It may be cut to 16 bytes (RFC
    /// 8489 section 14.6).
    pub fn is_signed_sha256(&self, at: usize, key: &[u8]) -> bool {
        let check = || {
            let length = usize::from(be16(self.raw, at + 2)?);
            if !(16..=32).contains(&length) || length % 4 != 0 {
                return None;
            }
            let sent = self.raw.get(at + 4..at + 4 + length)?;
            let mac = self.signed_part::<Hmac<Sha256>>(at, 4 + length, key)?;
            Some(bool::from(mac.finalize().into_bytes().get(..length)?.ct_eq(sent)))
        };
        check().unwrap_or(false)
    }

    /// The code over what stands before `at`, with the length as if the message ended after the attribute there.
    fn signed_part<M: Mac + KeyInit>(&self, at: usize, attribute: usize, key: &[u8]) -> Option<M> {
        let length = u16::try_from(at + attribute - HEADER).ok()?;
        let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
        mac.update(self.raw.get(..2)?);
        mac.update(&length.to_be_bytes());
        mac.update(self.raw.get(4..at)?);
        Some(mac)
    }

    /// The value of an XOR-... address attribute of this message.
    pub fn address(&self, value: &[u8]) -> Option<SocketAddr> {
        let port = be16(value, 2)? ^ (COOKIE >> 16) as u16;
        let mask = mask(&self.transaction);
        let ip = match (value.get(1)?, value.len()) {
            (1, 8) => {
                let mut ip: [u8; 4] = value.get(4..8)?.try_into().ok()?;
                ip.iter_mut().zip(mask).for_each(|(b, m)| *b ^= m);
                IpAddr::V4(Ipv4Addr::from(ip))
            }
            (2, 20) => {
                let mut ip: [u8; 16] = value.get(4..20)?.try_into().ok()?;
                ip.iter_mut().zip(mask).for_each(|(b, m)| *b ^= m);
                IpAddr::V6(Ipv6Addr::from(ip))
            }
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }
}

/// Writes a message.
#[derive(Debug)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Starts one.
    pub fn new(method: u16, class: Class, transaction: &TransactionId) -> Self {
        Self::over(Vec::with_capacity(160), method, class, transaction)
    }

    /// Starts one in the room of an empty vector.
    pub(crate) fn over(
        mut out: Vec<u8>,
        method: u16,
        class: Class,
        transaction: &TransactionId,
    ) -> Self {
        let class = match class {
            Class::Request => 0,
            Class::Indication => 0x0010,
            Class::Success => 0x0100,
            Class::Error => 0x0110,
        };
        let kind = (method & 0x000f) | (method & 0x0070) << 1 | (method & 0x0f80) << 2 | class;
        out.extend(kind.to_be_bytes());
        out.extend([0, 0]);
        out.extend(COOKIE.to_be_bytes());
        out.extend(transaction);
        Self(out)
    }

    /// Adds an attribute.
    #[must_use]
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend(kind.to_be_bytes());
        self.0.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self.set_length(0);
        self
    }

    /// Adds an XOR-... address attribute.
    #[must_use]
    pub fn address(self, kind: u16, address: SocketAddr) -> Self {
        let transaction: TransactionId =
            self.0.get(8..HEADER).and_then(|t| t.try_into().ok()).unwrap_or_default();
        let mask = mask(&transaction);
        let mut value = [0; 20];
        let (head, ip) = value.split_at_mut(4);
        let (family, length) = match address.ip() {
            IpAddr::V4(v4) => {
                ip.iter_mut()
                    .zip(v4.octets().iter().zip(mask))
                    .for_each(|(to, (b, m))| *to = b ^ m);
                (1, 8)
            }
            IpAddr::V6(v6) => {
                ip.iter_mut()
                    .zip(v6.octets().iter().zip(mask))
                    .for_each(|(to, (b, m))| *to = b ^ m);
                (2, 20)
            }
        };
        let [high, low] = (address.port() ^ (COOKIE >> 16) as u16).to_be_bytes();
        head.copy_from_slice(&[0, family, high, low]);
        self.attribute(kind, value.get(..length).unwrap_or_default())
    }

    /// Adds ERROR-CODE.
    #[must_use]
    pub fn error(self, code: u16, reason: &str) -> Self {
        let class = u8::try_from(code / 100).unwrap_or(5);
        let number = u8::try_from(code % 100).unwrap_or(0);
        let mut value = vec![0, 0, class, number];
        value.extend(reason.as_bytes());
        self.attribute(ERROR_CODE, &value)
    }

    /// Adds UNKNOWN-ATTRIBUTES.
    #[must_use]
    pub fn unknown_attributes(self, kinds: &[u16]) -> Self {
        let value: Vec<u8> = kinds.iter().flat_map(|kind| kind.to_be_bytes()).collect();
        self.attribute(UNKNOWN_ATTRIBUTES, &value)
    }

    /// Adds MESSAGE-INTEGRITY.
    #[must_use]
    pub fn sign_sha1(mut self, key: &[u8]) -> Self {
        self.set_length(24);
        let code = mac::<Hmac<Sha1>>(key, &self.0);
        self.attribute(MESSAGE_INTEGRITY, &code)
    }

    /// Adds MESSAGE-INTEGRITY-SHA256.
    #[must_use]
    pub fn sign_sha256(mut self, key: &[u8]) -> Self {
        self.set_length(36);
        let code = mac::<Hmac<Sha256>>(key, &self.0);
        self.attribute(MESSAGE_INTEGRITY_SHA256, &code)
    }

    /// Adds FINGERPRINT.
    #[must_use]
    pub fn fingerprint(mut self) -> Self {
        self.set_length(8);
        let crc = crc32(&self.0) ^ FINGERPRINT_XOR;
        self.attribute(FINGERPRINT, &crc.to_be_bytes())
    }

    /// The message.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The length field, counting `extra` bytes that are still to come.
    fn set_length(&mut self, extra: usize) {
        let length = u16::try_from(self.0.len() - HEADER + extra).unwrap_or(u16::MAX);
        if let Some(field) = self.0.get_mut(2..4) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    }
}

fn mac<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn mask(transaction: &TransactionId) -> [u8; 16] {
    let mut mask = [0; 16];
    let (cookie, rest) = mask.split_at_mut(4);
    cookie.copy_from_slice(&COOKIE.to_be_bytes());
    rest.copy_from_slice(transaction);
    mask
}

pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// CRC-32 of ITU V.42 (RFC 8489 section 14.7).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |c, _| {
                if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 }
            },
        )
    })
}
