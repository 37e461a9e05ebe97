//! Both directions, replay, forgery, rollover.

use super::*;

fn key(profile: Profile) -> MasterKey {
    MasterKey { profile, key_and_salt: (0..profile.key_length() as u8).collect() }
}

fn packet(sequence: u16, ssrc: u32) -> Vec<u8> {
    let mut bytes = vec![0x80, 8];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(1234_u32.to_be_bytes());
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend(b"payload of some length");
    bytes
}

fn protect(context: &mut Context, plain: &[u8]) -> Vec<u8> {
    let mut buffer = plain.to_vec();
    buffer.resize(plain.len() + MAX_OVERHEAD, 0);
    let length = context.protect_rtp(&mut buffer, plain.len()).unwrap();
    buffer.truncate(length);
    buffer
}

const ALL: [Profile; 3] =
    [Profile::Aes128CmSha1_80, Profile::Aes128CmSha1_32, Profile::AeadAes128Gcm];

#[test]
fn what_is_sealed_opens_once_and_only_once() {
    for profile in ALL {
        let mut tx = Context::new(&key(profile)).unwrap();
        let mut rx = Context::new(&key(profile)).unwrap();
        // Across the rollover of the sequence number.
        for step in 0..200_u16 {
            let plain = packet(65_450_u16.wrapping_add(step), 7);
            let sealed = protect(&mut tx, &plain);
            assert_ne!(sealed[12..20], plain[12..20]);
            let mut copy = sealed.clone();
            let length = rx.unprotect_rtp(&mut copy).unwrap();
            assert_eq!(copy[..length], plain, "{profile:?} {step}");
            assert_eq!(rx.unprotect_rtp(&mut sealed.clone()), Err(SrtpError::Replay));
        }
    }
}

#[test]
fn a_changed_bit_is_refused_and_leaves_no_state() {
    for profile in ALL {
        let mut tx = Context::new(&key(profile)).unwrap();
        let mut rx = Context::new(&key(profile)).unwrap();
        let mut sealed = protect(&mut tx, &packet(1, 7));
        sealed[15] ^= 1;
        assert_eq!(rx.unprotect_rtp(&mut sealed), Err(SrtpError::Authentication));
        assert!(rx.sources.is_empty());
    }
}

#[test]
fn rtcp_goes_through_and_is_not_replayed() {
    for profile in ALL {
        let mut tx = Context::new(&key(profile)).unwrap();
        let mut rx = Context::new(&key(profile)).unwrap();
        let plain = [0x80, 201, 0, 1, 0, 0, 0, 7];
        for _ in 0..3 {
            let mut buffer = plain.to_vec();
            buffer.resize(plain.len() + MAX_OVERHEAD, 0);
            let length = tx.protect_rtcp(&mut buffer, plain.len()).unwrap();
            let mut sealed = buffer[..length].to_vec();
            let mut again = sealed.clone();
            let length = rx.unprotect_rtcp(&mut sealed).unwrap();
            assert_eq!(sealed[..length], plain);
            assert_eq!(rx.unprotect_rtcp(&mut again), Err(SrtpError::Replay), "{profile:?}");
        }
    }
}

#[test]
fn late_packets_are_welcome_within_the_window() {
    let mut tx = Context::new(&key(Profile::Aes128CmSha1_80)).unwrap();
    let mut rx = Context::new(&key(Profile::Aes128CmSha1_80)).unwrap();
    let mut sealed: Vec<_> = (0..300).map(|s| protect(&mut tx, &packet(s, 7))).collect();
    assert!(rx.unprotect_rtp(&mut sealed[0]).is_ok());
    assert!(rx.unprotect_rtp(&mut sealed[299]).is_ok());
    assert!(rx.unprotect_rtp(&mut sealed[180]).is_ok());
    assert_eq!(rx.unprotect_rtp(&mut sealed[100]), Err(SrtpError::Replay));
}
