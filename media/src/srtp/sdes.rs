//! Keys in SDP: the value of `a=crypto` (RFC 4568 section 9.1).
//!
//! One key per attribute, without MKI; a lifetime is read past. Session parameters change how packets look, so an
//! attribute with any is not for us (section 6.3.7).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{MasterKey, Profile};

/// Some write the padding, some leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The value of one `a=crypto`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crypto {
    /// The answer repeats the offer's.
    pub tag: u32,
    /// Suite, key and salt.
    pub key: MasterKey,
}

impl Crypto {
    /// Makes an attribute of random bytes, of which the profile takes what it needs (at most 30).
    pub fn new(tag: u32, profile: Profile, random: [u8; 30]) -> Self {
        let key_and_salt = random.iter().copied().take(profile.key_length()).collect();
        Self { tag, key: MasterKey { profile, key_and_salt } }
    }

    /// Reads `1 AES_CM_128_HMAC_SHA1_80 inline:...`. `None`: a suite, key length or parameter that we do not do.
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let tag = words.next()?.parse().ok()?;
        let profile = Profile::from_suite(words.next()?)?;
        let inline = words.next()?;
        let inline = inline
            .get(..7)
            .filter(|scheme| scheme.eq_ignore_ascii_case("inline:"))
            .and_then(|_| inline.get(7..))?;
        if words.next().is_some() || inline.contains(';') {
            return None;
        }
        let mut parts = inline.split('|');
        let key_and_salt = BASE64.decode(parts.next()?).ok()?;
        // What has a colon is an MKI.
        if key_and_salt.len() != profile.key_length() || parts.any(|p| p.contains(':')) {
            return None;
        }
        Some(Self { tag, key: MasterKey { profile, key_and_salt } })
    }
}

impl std::fmt::Display for Crypto {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = BASE64.encode(&self.key.key_and_salt);
        write!(f, "{} {} inline:{key}", self.tag, self.key.profile.suite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first line is that of RFC 4568 section 6.1.
    #[test]
    fn attributes_are_read_and_those_we_cannot_do_are_not() {
        let key = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
        let table = [
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{key}|2^20"), true),
            (format!("1 aes_cm_128_hmac_sha1_32 INLINE:{key}"), true),
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{key}|2^20|1:4"), false),
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{key}|2^20 FEC_ORDER=FEC_SRTP"), false),
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{key};inline:{key}"), false),
            (format!("1 AEAD_AES_128_GCM inline:{key}"), false),
            (format!("1 F8_128_HMAC_SHA1_80 inline:{key}"), false),
            ("1 AES_CM_128_HMAC_SHA1_80 inline:".to_owned(), false),
            ("1 AES_CM_128_HMAC_SHA1_80 ключ".to_owned(), false),
            (String::new(), false),
        ];
        for (text, good) in table {
            assert_eq!(Crypto::parse(&text).is_some(), good, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for profile in [Profile::Aes128CmSha1_80, Profile::Aes128CmSha1_32, Profile::AeadAes128Gcm]
        {
            let crypto = Crypto::new(3, profile, [0xa5; 30]);
            assert_eq!(Crypto::parse(&crypto.to_string()), Some(crypto));
        }
    }
}
