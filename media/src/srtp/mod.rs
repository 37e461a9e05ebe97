//! SRTP and SRTCP (RFC 3711, RFC 7714), in place, without allocation; keys by SDES (RFC 4568) or DTLS (RFC 5764).
//!
//! One [`Context`] is one direction. Replay windows and rollover counters are kept per SSRC and made only after a packet
//! has proven itself, so forged packets leave nothing behind.

mod cipher;
mod replay;
pub mod sdes;

use smallvec::SmallVec;

use self::cipher::Keys;
use self::replay::Window;

/// A protection profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// AES-128 counter mode, HMAC-SHA1 cut to 80 bits.
    Aes128CmSha1_80,
    /// The same cut to 32 bits; RTCP keeps 80.
    Aes128CmSha1_32,
    /// AES-128-GCM.
    AeadAes128Gcm,
}

impl Profile {
    /// Master key and salt together, in bytes.
    pub fn key_length(self) -> usize {
        16 + self.salt_length()
    }

    fn salt_length(self) -> usize {
        if self == Self::AeadAes128Gcm { 12 } else { 14 }
    }

    /// Name in `a=crypto` (RFC 4568 section 6.2, RFC 7714 section 14.2).
    pub fn suite(self) -> &'static str {
        match self {
            Self::Aes128CmSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::Aes128CmSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
        }
    }

    /// By the name in `a=crypto`.
    pub fn from_suite(name: &str) -> Option<Self> {
        [Self::Aes128CmSha1_80, Self::Aes128CmSha1_32, Self::AeadAes128Gcm]
            .into_iter()
            .find(|p| p.suite().eq_ignore_ascii_case(name))
    }

    fn rtp_tag(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 => 10,
            Self::Aes128CmSha1_32 => 4,
            Self::AeadAes128Gcm => 16,
        }
    }

    fn rtcp_tag(self) -> usize {
        if self == Self::AeadAes128Gcm { 16 } else { 10 }
    }
}

/// Most bytes that protection adds to an RTP or RTCP packet.
pub const MAX_OVERHEAD: usize = 16 + 4;
/// Most SSRCs one direction remembers.
const MAX_SSRCS: usize = 16;

/// Why a packet is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// Too short, or no RTP.
    #[error("malformed packet")]
    Malformed,
    /// The tag does not match.
    #[error("authentication failed")]
    Authentication,
    /// Seen before, or too old.
    #[error("replayed packet")]
    Replay,
    /// More SSRCs than one stream has.
    #[error("too many sources")]
    TooManySources,
    /// The buffer has no room for the tag.
    #[error("no room for the tag")]
    NoRoom,
}

/// A master key with its salt.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    /// Which transform.
    pub profile: Profile,
    /// Key then salt.
    pub key_and_salt: Vec<u8>,
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MasterKey").field("profile", &self.profile).finish_non_exhaustive()
    }
}

struct Source {
    ssrc: u32,
    /// Highest index accepted or sent.
    index: u64,
    window: Window,
    rtcp_index: u32,
    rtcp_window: Window,
}

impl Source {
    fn new(ssrc: u32, index: u64) -> Self {
        Self {
            ssrc,
            index,
            window: Window::default(),
            rtcp_index: 0,
            rtcp_window: Window::default(),
        }
    }
}

/// One direction of one stream.
pub struct Context {
    profile: Profile,
    rtp: Keys,
    rtcp: Keys,
    sources: SmallVec<[Source; 2]>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("profile", &self.profile).finish_non_exhaustive()
    }
}

impl Context {
    /// Derives the session keys (RFC 3711 section 4.3).
    ///
    /// # Errors
    ///
    /// [`SrtpError::Malformed`] when the master key has the wrong length.
    pub fn new(master: &MasterKey) -> Result<Self, SrtpError> {
        let profile = master.profile;
        if master.key_and_salt.len() != profile.key_length() {
            return Err(SrtpError::Malformed);
        }
        let (key, salt) = master.key_and_salt.split_at(16);
        Ok(Self {
            profile,
            rtp: Keys::derive(profile, key, salt, 0)?,
            rtcp: Keys::derive(profile, key, salt, 3)?,
            sources: SmallVec::new(),
        })
    }

    /// Encrypts the first `length` bytes of `buffer`; gives the new length.
    ///
    /// # Errors
    ///
    /// [`SrtpError::NoRoom`] when the tag does not fit.
    pub fn protect_rtp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, SrtpError> {
        let header = rtp_header_length(buffer.get(..length).ok_or(SrtpError::NoRoom)?)?;
        let (ssrc, sequence) = rtp_identity(buffer)?;
        let source = self.source(ssrc, u64::from(sequence))?;
        let index = guess_index(source.index, sequence);
        source.index = source.index.max(index);
        let total = length + self.profile.rtp_tag();
        let packet = buffer.get_mut(..total).ok_or(SrtpError::NoRoom)?;
        self.rtp.seal_rtp(packet, header, length, ssrc, index)?;
        Ok(total)
    }

    /// Checks and decrypts a packet; gives the plain length.
    ///
    /// # Errors
    ///
    /// [`SrtpError`]; the packet must be dropped.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let tag = self.profile.rtp_tag();
        let plain = packet.len().checked_sub(tag).ok_or(SrtpError::Malformed)?;
        let header = rtp_header_length(packet.get(..plain).ok_or(SrtpError::Malformed)?)?;
        let (ssrc, sequence) = rtp_identity(packet)?;
        let known = self.sources.iter().position(|s| s.ssrc == ssrc);
        let index = match known.and_then(|at| self.sources.get(at)) {
            Some(source) => {
                let index = guess_index(source.index, sequence);
                if !source.window.is_new(source.index, index) {
                    return Err(SrtpError::Replay);
                }
                index
            }
            None => u64::from(sequence),
        };
        self.rtp.open_rtp(packet, header, plain, ssrc, index)?;
        let source = self.source(ssrc, index)?;
        source.window.accept(&mut source.index, index);
        Ok(plain)
    }

    /// Encrypts an RTCP compound packet.
    ///
    /// # Errors
    ///
    /// [`SrtpError::NoRoom`] when trailer and tag do not fit.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(buffer.get(..length).ok_or(SrtpError::NoRoom)?)?;
        let source = self.source(ssrc, 0)?;
        source.rtcp_index = (source.rtcp_index + 1) & 0x7fff_ffff;
        let index = source.rtcp_index;
        let total = length + self.profile.rtcp_tag() + 4;
        let packet = buffer.get_mut(..total).ok_or(SrtpError::NoRoom)?;
        self.rtcp.seal_rtcp(packet, length, ssrc, index)?;
        Ok(total)
    }

    /// Checks and decrypts an SRTCP packet; gives the plain length.
    ///
    /// # Errors
    ///
    /// [`SrtpError`]; the packet must be dropped.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let overhead = self.profile.rtcp_tag() + 4;
        let plain = packet.len().checked_sub(overhead).ok_or(SrtpError::Malformed)?;
        let ssrc = rtcp_ssrc(packet.get(..plain).ok_or(SrtpError::Malformed)?)?;
        let index = self.rtcp.open_rtcp(packet, plain, ssrc)?;
        if let Some(source) = self.sources.iter().find(|s| s.ssrc == ssrc)
            && !source.rtcp_window.is_new(u64::from(source.rtcp_index), u64::from(index))
        {
            return Err(SrtpError::Replay);
        }
        let source = self.source(ssrc, 0)?;
        let mut highest = u64::from(source.rtcp_index);
        source.rtcp_window.accept(&mut highest, u64::from(index));
        source.rtcp_index = u32::try_from(highest).unwrap_or(u32::MAX);
        Ok(plain)
    }

    fn source(&mut self, ssrc: u32, index: u64) -> Result<&mut Source, SrtpError> {
        let at = match self.sources.iter().position(|s| s.ssrc == ssrc) {
            Some(at) => at,
            None if self.sources.len() >= MAX_SSRCS => return Err(SrtpError::TooManySources),
            None => {
                self.sources.push(Source::new(ssrc, index));
                self.sources.len() - 1
            }
        };
        self.sources.get_mut(at).ok_or(SrtpError::TooManySources)
    }
}

/// The 48-bit index nearest to the highest one with this sequence number (RFC 3711 section 3.3.1).
fn guess_index(highest: u64, sequence: u16) -> u64 {
    let roc = highest >> 16;
    let last = highest & 0xffff;
    let sequence = u64::from(sequence);
    let roc = if last < 0x8000 && sequence > last + 0x8000 {
        roc.wrapping_sub(1) & 0xffff_ffff
    } else if last >= 0x8000 && sequence < last - 0x8000 {
        (roc + 1) & 0xffff_ffff
    } else {
        roc
    };
    if roc == 0xffff_ffff && highest >> 16 == 0 { sequence } else { (roc << 16) | sequence }
}

fn rtp_identity(packet: &[u8]) -> Result<(u32, u16), SrtpError> {
    match packet {
        [_, _, a, b, _, _, _, _, s, t, u, v, ..] => {
            Ok((u32::from_be_bytes([*s, *t, *u, *v]), u16::from_be_bytes([*a, *b])))
        }
        _ => Err(SrtpError::Malformed),
    }
}

/// Length of the header with CSRCs and extension.
fn rtp_header_length(packet: &[u8]) -> Result<usize, SrtpError> {
    let first = *packet.first().ok_or(SrtpError::Malformed)?;
    if first >> 6 != 2 {
        return Err(SrtpError::Malformed);
    }
    let mut length = 12 + 4 * usize::from(first & 0x0f);
    if first & 0x10 != 0 {
        let words = packet.get(length + 2..length + 4).ok_or(SrtpError::Malformed)?;
        length += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
    }
    if length > packet.len() { Err(SrtpError::Malformed) } else { Ok(length) }
}

fn rtcp_ssrc(packet: &[u8]) -> Result<u32, SrtpError> {
    match packet {
        [first, _, _, _, s, t, u, v, ..] if first >> 6 == 2 => {
            Ok(u32::from_be_bytes([*s, *t, *u, *v]))
        }
        _ => Err(SrtpError::Malformed),
    }
}

#[cfg(test)]
mod tests;
