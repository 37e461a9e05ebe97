//! Session keys and the transforms themselves (RFC 3711 sections 4.1 to 4.3, RFC 7714 sections 8 and 9).

use aes::Aes128;
use aes::cipher::BlockCipherEncrypt;
use hmac::{Hmac, KeyInit, Mac};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use super::{Profile, SrtpError};

const E_FLAG: u32 = 0x8000_0000;

/// Session keys of RTP or RTCP.
pub(super) struct Keys {
    salt: [u8; 14],
    kind: Kind,
    rtp_tag: usize,
    rtcp_tag: usize,
}

enum Kind {
    Cm { cipher: Box<Aes128>, mac: Box<Hmac<Sha1>> },
    Gcm(Box<LessSafeKey>),
}

impl Keys {
    /// `label` is 0 for RTP, 3 for RTCP.
    pub(super) fn derive(
        profile: Profile,
        key: &[u8],
        salt: &[u8],
        label: u8,
    ) -> Result<Self, SrtpError> {
        let master = Aes128::new_from_slice(key).map_err(|_| SrtpError::Malformed)?;
        // A GCM salt of 96 bits is padded on the right (RFC 7714 section 11).
        let mut padded = [0; 14];
        padded.get_mut(..salt.len()).ok_or(SrtpError::Malformed)?.copy_from_slice(salt);
        let mut session = [0; 16];
        prf(&master, &padded, label, &mut session);
        let mut session_salt = [0; 14];
        prf(&master, &padded, label + 2, &mut session_salt);
        let kind = if profile == Profile::AeadAes128Gcm {
            let key = UnboundKey::new(&AES_128_GCM, &session).map_err(|_| SrtpError::Malformed)?;
            Kind::Gcm(Box::new(LessSafeKey::new(key)))
        } else {
            let mut auth = [0; 20];
            prf(&master, &padded, label + 1, &mut auth);
            Kind::Cm {
                cipher: Box::new(Aes128::new(&session.into())),
                mac: Box::new(
                    <Hmac<Sha1> as KeyInit>::new_from_slice(&auth)
                        .map_err(|_| SrtpError::Malformed)?,
                ),
            }
        };
        Ok(Self {
            salt: session_salt,
            kind,
            rtp_tag: profile.rtp_tag(),
            rtcp_tag: profile.rtcp_tag(),
        })
    }

    pub(super) fn seal_rtp(
        &self,
        packet: &mut [u8],
        header: usize,
        length: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<(), SrtpError> {
        let (plain, tag) = split(packet, length)?;
        match &self.kind {
            Kind::Cm { cipher, mac } => {
                counter(
                    cipher,
                    &self.iv_cm(ssrc, index),
                    plain.get_mut(header..).unwrap_or_default(),
                );
                let digest = rtp_mac(mac, plain, index);
                copy_tag(tag, &digest)
            }
            Kind::Gcm(key) => {
                let (aad, body) = split(plain, header)?;
                let nonce = self.nonce(ssrc, index);
                let sealed = key.seal_in_place_separate_tag(nonce, Aad::from(&*aad), body);
                copy_tag(tag, sealed.map_err(|_| SrtpError::Malformed)?.as_ref())
            }
        }
    }

    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header: usize,
        plain_length: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<(), SrtpError> {
        match &self.kind {
            Kind::Cm { cipher, mac } => {
                let (cipher_text, tag) = split(packet, plain_length)?;
                let digest = rtp_mac(mac, cipher_text, index);
                let expected = digest.get(..self.rtp_tag).unwrap_or_default();
                if !bool::from(expected.ct_eq(tag)) {
                    return Err(SrtpError::Authentication);
                }
                let body = cipher_text.get_mut(header..).unwrap_or_default();
                counter(cipher, &self.iv_cm(ssrc, index), body);
                Ok(())
            }
            Kind::Gcm(key) => {
                let (aad, body) = split(packet, header)?;
                let nonce = self.nonce(ssrc, index);
                key.open_in_place(nonce, Aad::from(&*aad), body)
                    .map(|_| ())
                    .map_err(|_| SrtpError::Authentication)
            }
        }
    }

    pub(super) fn seal_rtcp(
        &self,
        packet: &mut [u8],
        length: usize,
        ssrc: u32,
        index: u32,
    ) -> Result<(), SrtpError> {
        let word = (index | E_FLAG).to_be_bytes();
        match &self.kind {
            Kind::Cm { cipher, mac } => {
                let (plain, trailer) = split(packet, length)?;
                let iv = self.iv_cm(ssrc, u64::from(index));
                counter(cipher, &iv, plain.get_mut(8..).unwrap_or_default());
                let mut mac = (**mac).clone();
                mac.update(plain);
                mac.update(&word);
                let (index_at, tag) = split(trailer, 4)?;
                index_at.copy_from_slice(&word);
                copy_tag(tag, &mac.finalize().into_bytes())
            }
            Kind::Gcm(key) => {
                let (plain, trailer) = split(packet, length)?;
                let mut aad = [0; 12];
                let (head, tail) = aad.split_at_mut(8);
                head.copy_from_slice(plain.get(..8).ok_or(SrtpError::Malformed)?);
                tail.copy_from_slice(&word);
                let body = plain.get_mut(8..).ok_or(SrtpError::Malformed)?;
                let nonce = self.nonce(ssrc, u64::from(index));
                let sealed = key
                    .seal_in_place_separate_tag(nonce, Aad::from(aad), body)
                    .map_err(|_| SrtpError::Malformed)?;
                let (tag, index_at) = split(trailer, 16)?;
                tag.copy_from_slice(sealed.as_ref());
                index_at.copy_from_slice(&word);
                Ok(())
            }
        }
    }

    /// Gives the index that the packet carries.
    pub(super) fn open_rtcp(
        &self,
        packet: &mut [u8],
        plain_length: usize,
        ssrc: u32,
    ) -> Result<u32, SrtpError> {
        match &self.kind {
            Kind::Cm { cipher, mac } => {
                let (authentic, tag) = split(packet, plain_length + 4)?;
                let mut mac = (**mac).clone();
                mac.update(authentic);
                let digest = mac.finalize().into_bytes();
                let expected = digest.get(..self.rtcp_tag).unwrap_or_default();
                if !bool::from(expected.ct_eq(tag)) {
                    return Err(SrtpError::Authentication);
                }
                let (body, word) = split(authentic, plain_length)?;
                let word =
                    u32::from_be_bytes((&*word).try_into().map_err(|_| SrtpError::Malformed)?);
                let index = word & !E_FLAG;
                if word & E_FLAG != 0 {
                    let iv = self.iv_cm(ssrc, u64::from(index));
                    counter(cipher, &iv, body.get_mut(8..).unwrap_or_default());
                }
                Ok(index)
            }
            Kind::Gcm(key) => {
                let at = plain_length + 16;
                let (sealed, word) = split(packet, at)?;
                let word: [u8; 4] = (&*word).try_into().map_err(|_| SrtpError::Malformed)?;
                let index = u32::from_be_bytes(word) & !E_FLAG;
                if u32::from_be_bytes(word) & E_FLAG == 0 {
                    return Err(SrtpError::Authentication);
                }
                let mut aad = [0; 12];
                let (head, tail) = aad.split_at_mut(8);
                head.copy_from_slice(sealed.get(..8).ok_or(SrtpError::Malformed)?);
                tail.copy_from_slice(&word);
                let body = sealed.get_mut(8..).ok_or(SrtpError::Malformed)?;
                let nonce = self.nonce(ssrc, u64::from(index));
                key.open_in_place(nonce, Aad::from(aad), body)
                    .map_err(|_| SrtpError::Authentication)?;
                Ok(index)
            }
        }
    }

    /// RFC 3711 section 4.1.1.
    fn iv_cm(&self, ssrc: u32, index: u64) -> [u8; 16] {
        let mut iv = [0; 16];
        for (to, from) in iv.iter_mut().zip(&self.salt) {
            *to = *from;
        }
        for (to, from) in iv.iter_mut().skip(4).zip(ssrc.to_be_bytes()) {
            *to ^= from;
        }
        for (to, from) in iv.iter_mut().skip(8).zip(index.to_be_bytes().iter().skip(2)) {
            *to ^= from;
        }
        iv
    }

    /// RFC 7714 sections 8.1 and 9.1.
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut iv = [0; 12];
        for (to, from) in iv.iter_mut().skip(2).zip(ssrc.to_be_bytes()) {
            *to = from;
        }
        for (to, from) in iv.iter_mut().skip(6).zip(index.to_be_bytes().iter().skip(2)) {
            *to = *from;
        }
        for (to, from) in iv.iter_mut().zip(&self.salt) {
            *to ^= from;
        }
        Nonce::assume_unique_for_key(iv)
    }
}

fn rtp_mac(mac: &Hmac<Sha1>, packet: &[u8], index: u64) -> [u8; 20] {
    let mut mac = mac.clone();
    mac.update(packet);
    let roc = u32::try_from(index >> 16 & 0xffff_ffff).unwrap_or_default();
    mac.update(&roc.to_be_bytes());
    mac.finalize().into_bytes().into()
}

fn split(bytes: &mut [u8], at: usize) -> Result<(&mut [u8], &mut [u8]), SrtpError> {
    bytes.split_at_mut_checked(at).ok_or(SrtpError::Malformed)
}

fn copy_tag(tag: &mut [u8], digest: &[u8]) -> Result<(), SrtpError> {
    let cut = digest.get(..tag.len()).ok_or(SrtpError::Malformed)?;
    tag.copy_from_slice(cut);
    Ok(())
}

/// Section 4.3.3: the key stream with the label in the seventh byte from the right.
fn prf(cipher: &Aes128, salt: &[u8; 14], label: u8, out: &mut [u8]) {
    let mut iv = [0; 16];
    for (to, from) in iv.iter_mut().zip(salt) {
        *to = *from;
    }
    if let Some(byte) = iv.get_mut(7) {
        *byte ^= label;
    }
    counter(cipher, &iv, out);
}

/// AES in counter mode, in place.
fn counter(cipher: &Aes128, iv: &[u8; 16], data: &mut [u8]) {
    let start = u128::from_be_bytes(*iv);
    for (group, chunk) in (0_u128..).step_by(8).zip(data.chunks_mut(128)) {
        let mut blocks: [aes::Block; 8] = std::array::from_fn(|i| {
            start.wrapping_add(group).wrapping_add(i as u128).to_be_bytes().into()
        });
        let needed = chunk.len().div_ceil(16).min(8);
        cipher.encrypt_blocks(blocks.get_mut(..needed).unwrap_or_default());
        for (bytes, block) in chunk.chunks_mut(16).zip(&blocks) {
            for (byte, key) in bytes.iter_mut().zip(block.iter()) {
                *byte ^= key;
            }
        }
    }
}

#[cfg(test)]
pub(super) mod vectors {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let text: String = text.split_whitespace().collect();
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    }

    /// RFC 3711 appendix B.2.
    #[test]
    fn the_key_stream_is_that_of_rfc_3711() {
        let cipher = Aes128::new_from_slice(&hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
        let iv: [u8; 16] = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000").try_into().unwrap();
        let mut out = vec![0; 16 * 0xff02];
        counter(&cipher, &iv, &mut out);
        assert_eq!(
            out[..32],
            hex("E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB")
        );
        assert_eq!(
            out[16 * 0xfeff..16 * 0xff02],
            hex(
                "EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE 6A2CC3787889374FBEB4C81B17BA6C44"
            )
        );
    }

    /// RFC 3711 appendix B.3.
    #[test]
    fn the_session_keys_are_those_of_rfc_3711() {
        let master = Aes128::new_from_slice(&hex("E1F97A0D3E018BE0D64FA32C06DE4139")).unwrap();
        let salt: [u8; 14] = hex("0EC675AD498AFEEBB6960B3AABE6").try_into().unwrap();
        let mut key = [0; 16];
        prf(&master, &salt, 0, &mut key);
        assert_eq!(key[..], hex("C61E7A93744F39EE10734AFE3FF7A087"));
        let mut session_salt = [0; 14];
        prf(&master, &salt, 2, &mut session_salt);
        assert_eq!(session_salt[..], hex("30CBBC08863D8C85D49DB34A9AE1"));
        let mut auth = [0; 94];
        prf(&master, &salt, 1, &mut auth);
        assert_eq!(
            auth[..32],
            hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE")
        );
    }

    /// RFC 7714 section 16.1.1: session key and salt are given directly.
    #[test]
    fn gcm_seals_the_packet_of_rfc_7714() {
        let session = hex("000102030405060708090a0b0c0d0e0f");
        let mut salt = [0; 14];
        salt[..12].copy_from_slice(&hex("517569642070726f2071756f"));
        let key = UnboundKey::new(&AES_128_GCM, &session).unwrap();
        let keys = Keys {
            salt,
            kind: Kind::Gcm(Box::new(LessSafeKey::new(key))),
            rtp_tag: 16,
            rtcp_tag: 16,
        };
        let plain = hex(
            "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573",
        );
        let mut packet = plain.clone();
        packet.extend([0; 16]);
        keys.seal_rtp(&mut packet, 12, plain.len(), 0x5501_a0b2, 0xf17b).unwrap();
        assert_eq!(
            packet,
            hex(
                "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce"
            )
        );
        keys.open_rtp(&mut packet, 12, plain.len(), 0x5501_a0b2, 0xf17b).unwrap();
        assert_eq!(packet[..plain.len()], plain);
    }
}
