//! STUN messages (RFC 8489) as ICE uses them (RFC 8445 section 7.1): parse, check, build.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use smallvec::SmallVec;
use subtle::ConstantTimeEq;

const COOKIE: u32 = 0x2112_a442;
const FINGERPRINT_XOR: u32 = 0x5354_554e;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
/// More are not listed.
const MAX_UNKNOWN: usize = 16;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802a;

/// A transaction id.
pub type TransactionId = [u8; 12];

/// The class of a Binding message.
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

impl Class {
    fn bits(self) -> u16 {
        match self {
            Self::Request => 0x001,
            Self::Indication => 0x011,
            Self::Success => 0x101,
            Self::Error => 0x111,
        }
    }
}

/// Whether a datagram looks like STUN (RFC 7983, RFC 8489 section 5).
pub fn is_stun(datagram: &[u8]) -> bool {
    matches!(datagram, [first, _, _, _, a, b, c, d, ..]
        if *first < 4 && u32::from_be_bytes([*a, *b, *c, *d]) == COOKIE && datagram.len() >= 20)
}

/// A parsed Binding message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its class.
    pub class: Class,
    /// Its transaction.
    pub transaction: TransactionId,
    /// USERNAME.
    pub username: Option<&'a str>,
    /// PRIORITY.
    pub priority: Option<u32>,
    /// USE-CANDIDATE.
    pub use_candidate: bool,
    /// ICE-CONTROLLING and its tie-breaker.
    pub controlling: Option<u64>,
    /// ICE-CONTROLLED and its tie-breaker.
    pub controlled: Option<u64>,
    /// XOR-MAPPED-ADDRESS.
    pub mapped: Option<SocketAddr>,
    /// ERROR-CODE.
    pub error: Option<u16>,
    /// The comprehension-required attributes we do not know; a request with any is answered 420.
    pub unknown: SmallVec<[u16; 4]>,
    /// Where MESSAGE-INTEGRITY stands.
    integrity: Option<usize>,
    raw: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a Binding message. A FINGERPRINT, if there, must be right.
    pub fn parse(raw: &'a [u8]) -> Option<Self> {
        if !is_stun(raw) {
            return None;
        }
        let kind = be16(raw, 0)?;
        let class = [Class::Request, Class::Indication, Class::Success, Class::Error]
            .into_iter()
            .find(|c| c.bits() == kind)?;
        if usize::from(be16(raw, 2)?) + 20 != raw.len() {
            return None;
        }
        let mut message = Self {
            class,
            transaction: raw.get(8..20)?.try_into().ok()?,
            username: None,
            priority: None,
            use_candidate: false,
            controlling: None,
            controlled: None,
            mapped: None,
            error: None,
            unknown: SmallVec::new(),
            integrity: None,
            raw,
        };
        let mut at = 20;
        while at < raw.len() {
            let (kind, length) = (be16(raw, at)?, usize::from(be16(raw, at + 2)?));
            let value = raw.get(at + 4..at + 4 + length)?;
            message.attribute(kind, value, at)?;
            at += 4 + length.next_multiple_of(4);
        }
        Some(message)
    }

    fn attribute(&mut self, kind: u16, value: &'a [u8], at: usize) -> Option<()> {
        // What follows MESSAGE-INTEGRITY is ignored, FINGERPRINT excepted (RFC 8489 section 14.5).
        if self.integrity.is_some() && kind != FINGERPRINT {
            return Some(());
        }
        match kind {
            USERNAME => self.username = Some(std::str::from_utf8(value).ok()?),
            PRIORITY => self.priority = Some(u32::from_be_bytes(value.try_into().ok()?)),
            USE_CANDIDATE => self.use_candidate = true,
            ICE_CONTROLLING => self.controlling = Some(u64::from_be_bytes(value.try_into().ok()?)),
            ICE_CONTROLLED => self.controlled = Some(u64::from_be_bytes(value.try_into().ok()?)),
            XOR_MAPPED_ADDRESS => self.mapped = read_address(value, &self.transaction),
            ERROR_CODE => {
                let [_, _, class, number, ..] = value else { return None };
                self.error = Some(u16::from(class & 7) * 100 + u16::from(*number));
            }
            MESSAGE_INTEGRITY => self.integrity = (value.len() == 20).then_some(at),
            FINGERPRINT => {
                let sent = u32::from_be_bytes(value.try_into().ok()?);
                if sent != crc32(self.raw.get(..at)?) ^ FINGERPRINT_XOR {
                    return None;
                }
            }
            // 0x8000 and up may be ignored.
            kind if kind < 0x8000 && self.unknown.len() < MAX_UNKNOWN => self.unknown.push(kind),
            _ => {}
        }
        Some(())
    }

    /// Whether MESSAGE-INTEGRITY is there and made with this password (short-term credentials).
    pub fn is_authentic(&self, password: &str) -> bool {
        let check = || {
            let at = self.integrity?;
            let mut head: [u8; 20] = self.raw.get(..20)?.try_into().ok()?;
            let length = u16::try_from(at + 24 - 20).ok()?.to_be_bytes();
            head.get_mut(2..4)?.copy_from_slice(&length);
            let digest = integrity(password, &head, self.raw.get(20..at)?);
            Some(bool::from(digest.ct_eq(self.raw.get(at + 4..at + 24)?)))
        };
        check().unwrap_or(false)
    }
}

/// Builds a Binding message.
#[derive(Debug)]
pub struct Builder(Vec<u8>);

impl Builder {
    /// Starts a message.
    pub fn new(class: Class, transaction: &TransactionId) -> Self {
        let mut out = Vec::with_capacity(128);
        out.extend(class.bits().to_be_bytes());
        out.extend([0, 0]);
        out.extend(COOKIE.to_be_bytes());
        out.extend(transaction);
        Self(out)
    }

    /// USERNAME.
    #[must_use]
    pub fn username(self, name: &str) -> Self {
        self.attribute(USERNAME, name.as_bytes())
    }

    /// PRIORITY.
    #[must_use]
    pub fn priority(self, priority: u32) -> Self {
        self.attribute(PRIORITY, &priority.to_be_bytes())
    }

    /// ICE-CONTROLLING or ICE-CONTROLLED.
    #[must_use]
    pub fn role(self, controlling: bool, tie_breaker: u64) -> Self {
        let kind = if controlling { ICE_CONTROLLING } else { ICE_CONTROLLED };
        self.attribute(kind, &tie_breaker.to_be_bytes())
    }

    /// USE-CANDIDATE.
    #[must_use]
    pub fn use_candidate(self) -> Self {
        self.attribute(USE_CANDIDATE, &[])
    }

    /// XOR-MAPPED-ADDRESS.
    #[must_use]
    pub fn mapped(self, address: SocketAddr) -> Self {
        let transaction: TransactionId =
            self.0.get(8..20).and_then(|t| t.try_into().ok()).unwrap_or_default();
        let value = write_address(address, &transaction);
        self.attribute(XOR_MAPPED_ADDRESS, &value)
    }

    /// ERROR-CODE.
    #[must_use]
    pub fn error(self, code: u16, reason: &str) -> Self {
        let class = u8::try_from(code / 100).unwrap_or(5);
        let number = u8::try_from(code % 100).unwrap_or(0);
        let mut value = vec![0, 0, class, number];
        value.extend(reason.as_bytes());
        self.attribute(ERROR_CODE, &value)
    }

    /// UNKNOWN-ATTRIBUTES.
    #[must_use]
    pub fn unknown_attributes(self, kinds: &[u16]) -> Self {
        let value: Vec<u8> = kinds.iter().flat_map(|kind| kind.to_be_bytes()).collect();
        self.attribute(UNKNOWN_ATTRIBUTES, &value)
    }

    /// Adds MESSAGE-INTEGRITY and FINGERPRINT and gives the bytes.
    pub fn finish(mut self, password: &str) -> Vec<u8> {
        self.set_length(24);
        let (head, rest) = self.0.split_at(20);
        let digest = integrity(password, head, rest);
        self = self.attribute(MESSAGE_INTEGRITY, &digest);
        self.set_length(8);
        let crc = crc32(&self.0) ^ FINGERPRINT_XOR;
        self = self.attribute(FINGERPRINT, &crc.to_be_bytes());
        self.0
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend(kind.to_be_bytes());
        self.0.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self.set_length(0);
        self
    }

    /// The length field, counting `extra` bytes that are still to come.
    fn set_length(&mut self, extra: usize) {
        let length = u16::try_from(self.0.len() - 20 + extra).unwrap_or(u16::MAX).to_be_bytes();
        if let Some(field) = self.0.get_mut(2..4) {
            field.copy_from_slice(&length);
        }
    }
}

fn integrity(password: &str, head: &[u8], rest: &[u8]) -> [u8; 20] {
    let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(password.as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(head);
    mac.update(rest);
    mac.finalize().into_bytes().into()
}

fn read_address(value: &[u8], transaction: &TransactionId) -> Option<SocketAddr> {
    let port = be16(value, 2)? ^ (COOKIE >> 16) as u16;
    let mut mask = [0; 16];
    mask.get_mut(..4)?.copy_from_slice(&COOKIE.to_be_bytes());
    mask.get_mut(4..)?.copy_from_slice(transaction);
    let ip = match value.get(1)? {
        1 => {
            let mut ip: [u8; 4] = value.get(4..8)?.try_into().ok()?;
            ip.iter_mut().zip(mask).for_each(|(b, m)| *b ^= m);
            IpAddr::V4(Ipv4Addr::from(ip))
        }
        2 => {
            let mut ip: [u8; 16] = value.get(4..20)?.try_into().ok()?;
            ip.iter_mut().zip(mask).for_each(|(b, m)| *b ^= m);
            IpAddr::V6(Ipv6Addr::from(ip))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn write_address(address: SocketAddr, transaction: &TransactionId) -> Vec<u8> {
    let mut mask = COOKIE.to_be_bytes().to_vec();
    mask.extend(transaction);
    let (family, ip) = match address.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let mut out = vec![0, family];
    out.extend((address.port() ^ (COOKIE >> 16) as u16).to_be_bytes());
    out.extend(ip.iter().zip(mask).map(|(b, m)| b ^ m));
    out
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

    fn hex(text: &str) -> Vec<u8> {
        text.split_whitespace().map(|b| u8::from_str_radix(b, 16).unwrap()).collect()
    }

    /// RFC 5769 section 2.1.
    #[test]
    fn reads_the_sample_request() {
        let raw = hex("00 01 00 58 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae
            80 22 00 10 53 54 55 4e 20 74 65 73 74 20 63 6c 69 65 6e 74
            00 24 00 04 6e 00 01 ff 80 29 00 08 93 2f f9 b1 51 26 3b 36
            00 06 00 09 65 76 74 6a 3a 68 36 76 59 20 20 20
            00 08 00 14 9a ea a7 0c bf d8 cb 56 78 1e f2 b5 b2 d3 f2 49 c1 b5 71 a2
            80 28 00 04 e5 7a 3b cf");
        let message = Message::parse(&raw).unwrap();
        assert_eq!(message.class, Class::Request);
        assert_eq!(message.username, Some("evtj:h6vY"));
        assert_eq!(message.priority, Some(0x6e00_01ff));
        assert_eq!(message.controlled, Some(0x932f_f9b1_5126_3b36));
        assert!(message.is_authentic(PASSWORD));
        assert!(!message.is_authentic("something else"));
    }

    /// RFC 5769 sections 2.2 and 2.3.
    #[test]
    fn reads_the_sample_responses() {
        let v4 = hex("01 01 00 3c 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae
            80 22 00 0b 74 65 73 74 20 76 65 63 74 6f 72 20
            00 20 00 08 00 01 a1 47 e1 12 a6 43
            00 08 00 14 2b 91 f5 99 fd 9e 90 c3 8c 74 89 f9 2a f9 ba 53 f0 6b e7 d7
            80 28 00 04 c0 7d 4c 96");
        let message = Message::parse(&v4).unwrap();
        assert_eq!(message.mapped, Some("192.0.2.1:32853".parse().unwrap()));
        assert!(message.is_authentic(PASSWORD));
        let v6 = hex("01 01 00 48 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae
            80 22 00 0b 74 65 73 74 20 76 65 63 74 6f 72 20
            00 20 00 14 00 02 a1 47 01 13 a9 fa a5 d3 f1 79 bc 25 f4 b5 be d2 b9 d9
            00 08 00 14 a3 82 95 4e 4b e6 7b f1 17 84 c9 7c 82 92 c2 75 bf e3 ed 41
            80 28 00 04 c8 fb 0b 4c");
        let message = Message::parse(&v6).unwrap();
        let expected = "[2001:db8:1234:5678:11:2233:4455:6677]:32853";
        assert_eq!(message.mapped, Some(expected.parse().unwrap()));
        assert!(message.is_authentic(PASSWORD));
    }

    #[test]
    fn what_is_built_reads_back() {
        for address in ["127.0.0.1:5000", "[::1]:6000"] {
            let address: SocketAddr = address.parse().unwrap();
            let raw = Builder::new(Class::Success, &[7; 12]).mapped(address).finish("secret");
            let message = Message::parse(&raw).unwrap();
            assert_eq!(message.mapped, Some(address));
            assert!(message.is_authentic("secret"));
        }
        let raw = Builder::new(Class::Error, &[7; 12]).error(487, "Role Conflict").finish("s");
        assert_eq!(Message::parse(&raw).unwrap().error, Some(487));
    }

    #[test]
    fn broken_datagrams_are_no_messages() {
        let good = Builder::new(Class::Request, &[1; 12]).username("a:b").priority(1).finish("x");
        for length in 0..good.len() {
            assert!(Message::parse(&good[..length]).is_none(), "{length}");
        }
        // Up to the FINGERPRINT, whose loss MESSAGE-INTEGRITY makes good.
        for at in 0..good.len() - 8 {
            let mut bad = good.clone();
            bad[at] ^= 0x55;
            let accepted = Message::parse(&bad).is_some_and(|m| m.is_authentic("x"));
            assert!(!accepted, "{at}");
        }
    }
}
