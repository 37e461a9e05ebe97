//! What a place in the archive looks like on the wire (XEP-0359 section 4, XEP-0313 section 3.1): one block of AES under
//! a secret of the server. Nobody can guess an id or read the time out of it, and no index has to be kept to find it.

use aes::Aes128;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::ports::Seq;

/// Turns places into ids and back.
pub(in crate::service) struct ArchiveIds(Aes128);

impl ArchiveIds {
    /// Ids of a server with this secret: the same after a restart.
    pub(in crate::service) fn new(secret: &[u8; 32]) -> Self {
        let mut key = [0; 16];
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) {
            mac.update(b"archive ids");
            for (to, from) in key.iter_mut().zip(mac.finalize().into_bytes()) {
                *to = from;
            }
        }
        Self(Aes128::new(&Array::from(key)))
    }

    /// 22 characters.
    pub(in crate::service) fn id(&self, seq: Seq) -> String {
        let mut block = [0; 16];
        for (to, from) in block.iter_mut().zip(seq.to_be_bytes()) {
            *to = from;
        }
        let mut block = Array::from(block);
        self.0.encrypt_block(&mut block);
        URL_SAFE_NO_PAD.encode(block)
    }

    /// The place; `None` for what is no id of ours.
    pub(in crate::service) fn seq(&self, id: &str) -> Option<Seq> {
        let block: [u8; 16] = URL_SAFE_NO_PAD.decode(id).ok()?.try_into().ok()?;
        let mut block = Array::from(block);
        self.0.decrypt_block(&mut block);
        let block = <[u8; 16]>::from(block);
        let (seq, rest) = block.split_first_chunk::<8>()?;
        rest.iter().all(|byte| *byte == 0).then(|| Seq::from_be_bytes(*seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_lead_back_and_only_ours_do() {
        let ids = ArchiveIds::new(&[7; 32]);
        for seq in [0, 1, 1_795_645_822_500_000, Seq::MAX] {
            let id = ids.id(seq);
            assert_eq!(id.len(), 22);
            assert_eq!(ids.seq(&id), Some(seq));
            assert_eq!(ArchiveIds::new(&[8; 32]).seq(&id), None);
        }
        // Neighbours look nothing alike.
        let (one, two) = (ids.id(1_000), ids.id(1_001));
        let same = one.bytes().zip(two.bytes()).filter(|(a, b)| a == b).count();
        assert!(same < 8, "{one} {two}");
        for bad in ["", "x", "AAAAAAAAAAAAAAAAAAAAAA", "not base64 at all!!!!!"] {
            assert_eq!(ids.seq(bad), None, "{bad}");
        }
    }
}
