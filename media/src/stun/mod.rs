//! STUN messages (RFC 8489) as ICE uses them (RFC 8445 section 7.1): parse, check, build.

mod wire;

use std::net::SocketAddr;

use smallvec::SmallVec;

pub use self::wire::{Attribute, Class, Frame, TransactionId, Writer, is_stun};
use self::wire::{ERROR_CODE, FINGERPRINT};
pub(crate) use self::wire::{
    MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256, SOFTWARE, USERNAME, XOR_MAPPED_ADDRESS, be16,
};

/// The method of a Binding.
pub(crate) const BINDING: u16 = 0x001;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
/// More are not listed.
pub(crate) const MAX_UNKNOWN: usize = 16;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802a;

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
    frame: Frame<'a>,
}

impl<'a> Message<'a> {
    /// Reads a Binding message. A FINGERPRINT, if there, must be right.
    pub fn parse(raw: &'a [u8]) -> Option<Self> {
        let frame = Frame::parse(raw)?;
        if frame.method != BINDING {
            return None;
        }
        let mut message = Self {
            class: frame.class,
            transaction: frame.transaction,
            username: None,
            priority: None,
            use_candidate: false,
            controlling: None,
            controlled: None,
            mapped: None,
            error: None,
            unknown: SmallVec::new(),
            integrity: None,
            frame,
        };
        for attribute in frame.attributes() {
            message.attribute(attribute)?;
        }
        Some(message)
    }

    fn attribute(&mut self, Attribute { kind, value, at }: Attribute<'a>) -> Option<()> {
        // What follows MESSAGE-INTEGRITY is ignored (RFC 8489 section 14.5).
        if self.integrity.is_some() {
            return Some(());
        }
        match kind {
            USERNAME => self.username = Some(std::str::from_utf8(value).ok()?),
            PRIORITY => self.priority = Some(u32::from_be_bytes(value.try_into().ok()?)),
            USE_CANDIDATE => self.use_candidate = true,
            ICE_CONTROLLING => self.controlling = Some(u64::from_be_bytes(value.try_into().ok()?)),
            ICE_CONTROLLED => self.controlled = Some(u64::from_be_bytes(value.try_into().ok()?)),
            XOR_MAPPED_ADDRESS => self.mapped = self.frame.address(value),
            ERROR_CODE => {
                let [_, _, class, number, ..] = value else { return None };
                self.error = Some(u16::from(class & 7) * 100 + u16::from(*number));
            }
            MESSAGE_INTEGRITY => self.integrity = (value.len() == 20).then_some(at),
            FINGERPRINT => {}
            // 0x8000 and up may be ignored.
            kind if kind < 0x8000 && self.unknown.len() < MAX_UNKNOWN => self.unknown.push(kind),
            _ => {}
        }
        Some(())
    }

    /// Whether MESSAGE-INTEGRITY is there and made with this password (short-term credentials).
    pub fn is_authentic(&self, password: &str) -> bool {
        self.integrity.is_some_and(|at| self.frame.is_signed_sha1(at, password.as_bytes()))
    }
}

/// Builds a Binding message.
#[derive(Debug)]
pub struct Builder(Writer);

impl Builder {
    /// Starts a message.
    pub fn new(class: Class, transaction: &TransactionId) -> Self {
        Self(Writer::new(BINDING, class, transaction))
    }

    /// USERNAME.
    #[must_use]
    pub fn username(self, name: &str) -> Self {
        Self(self.0.attribute(USERNAME, name.as_bytes()))
    }

    /// PRIORITY.
    #[must_use]
    pub fn priority(self, priority: u32) -> Self {
        Self(self.0.attribute(PRIORITY, &priority.to_be_bytes()))
    }

    /// ICE-CONTROLLING or ICE-CONTROLLED.
    #[must_use]
    pub fn role(self, controlling: bool, tie_breaker: u64) -> Self {
        let kind = if controlling { ICE_CONTROLLING } else { ICE_CONTROLLED };
        Self(self.0.attribute(kind, &tie_breaker.to_be_bytes()))
    }

    /// USE-CANDIDATE.
    #[must_use]
    pub fn use_candidate(self) -> Self {
        Self(self.0.attribute(USE_CANDIDATE, &[]))
    }

    /// XOR-MAPPED-ADDRESS.
    #[must_use]
    pub fn mapped(self, address: SocketAddr) -> Self {
        Self(self.0.address(XOR_MAPPED_ADDRESS, address))
    }

    /// ERROR-CODE.
    #[must_use]
    pub fn error(self, code: u16, reason: &str) -> Self {
        Self(self.0.error(code, reason))
    }

    /// UNKNOWN-ATTRIBUTES.
    #[must_use]
    pub fn unknown_attributes(self, kinds: &[u16]) -> Self {
        Self(self.0.unknown_attributes(kinds))
    }

    /// Adds MESSAGE-INTEGRITY and FINGERPRINT and gives the bytes.
    pub fn finish(self, password: &str) -> Vec<u8> {
        self.0.sign_sha1(password.as_bytes()).fingerprint().into_bytes()
    }
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
