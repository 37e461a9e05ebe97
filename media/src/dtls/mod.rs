//! DTLS-SRTP (RFC 5764, RFC 8842) on `rtc-dtls`: one association a leg, keys out, nothing else.
//!
//! The peer is known by its certificate's fingerprint alone (RFC 8122). The leg's agent decides where datagrams go; here
//! the address is a constant.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use rtc_crypto::RTCCryptoProvider;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error;
use sha2::{Digest, Sha256};

use crate::srtp::{MasterKey, Profile};

/// Label of RFC 5764 section 4.2.
const LABEL: &str = "EXTRACTOR-dtls_srtp";

/// Why DTLS does not work.
#[derive(Debug, thiserror::Error)]
pub enum DtlsError {
    /// The handshake failed.
    #[error("DTLS: {0}")]
    Handshake(String),
    /// No profile in common.
    #[error("no common SRTP profile")]
    NoProfile,
}

/// Whether a datagram is DTLS (RFC 7983).
pub fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(20..=63))
}

/// Our certificate, made once per process.
pub struct Identity {
    provider: Arc<dyn RTCCryptoProvider>,
    certificate: Certificate,
    fingerprint: String,
}

impl Identity {
    /// A fresh self-signed certificate.
    ///
    /// # Errors
    ///
    /// [`DtlsError`] when the crypto provider cannot make one.
    pub fn generate() -> Result<Self, DtlsError> {
        let fault = |e: &dyn std::fmt::Display| DtlsError::Handshake(e.to_string());
        let provider = rtc_crypto::default_provider().map_err(|e| fault(&e))?;
        let certificate =
            Certificate::generate_self_signed(vec!["tandem".to_owned()], provider.crypto())
                .map_err(|e| fault(&e))?;
        let der = certificate.certificate.first().map(|c| c.to_vec()).unwrap_or_default();
        let fingerprint = fingerprint(&der);
        Ok(Self { provider, certificate, fingerprint })
    }

    /// SHA-256, upper-case hex with colons.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// The SHA-256 fingerprint of a certificate (RFC 8122 section 5).
pub fn fingerprint(der: &[u8]) -> String {
    let hex: Vec<String> = Sha256::digest(der).iter().map(|b| format!("{b:02X}")).collect();
    hex.join(":")
}

/// Keys of both directions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrtpKeys {
    /// For what we send.
    pub ours: MasterKey,
    /// For what we receive.
    pub theirs: MasterKey,
}

/// One association. Feed [`Association::handle_datagram`], drain [`Association::poll_transmit`].
pub struct Association {
    endpoint: Endpoint,
    is_client: bool,
    done: bool,
}

/// The endpoint keys associations by address; ours has one.
fn peer() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 9))
}

impl Association {
    /// Starts as client (we are `active`) or waits as server. `fingerprints` are the peer's SHA-256 ones.
    ///
    /// # Errors
    ///
    /// [`DtlsError`] when the configuration is refused.
    pub fn new(
        identity: &Identity,
        is_client: bool,
        fingerprints: Vec<String>,
        now: Instant,
    ) -> Result<Self, DtlsError> {
        let fault = |e: Error| DtlsError::Handshake(e.to_string());
        let builder = ConfigBuilder::default()
            .with_crypto_provider(identity.provider.clone())
            .with_certificates(vec![identity.certificate.clone()])
            .with_srtp_protection_profiles(vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            ])
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(Arc::new(move |chain, _| {
                let seen = chain.first().map(|der| fingerprint(der)).unwrap_or_default();
                if fingerprints.iter().any(|f| f.eq_ignore_ascii_case(&seen)) {
                    Ok(())
                } else {
                    Err(Error::Other("certificate does not match its fingerprint".into()))
                }
            })));
        let config = Arc::new(builder.build(is_client, None).map_err(fault)?);
        let server = (!is_client).then(|| config.clone());
        let mut endpoint = Endpoint::new(peer(), TransportProtocol::UDP, server);
        if is_client {
            endpoint.connect(now, peer(), config, None).map_err(fault)?;
        }
        Ok(Self { endpoint, is_client, done: false })
    }

    /// Takes a datagram; gives the keys when the handshake completes with it.
    ///
    /// # Errors
    ///
    /// [`DtlsError`] when the peer is not who it should be, or nothing is in common. The leg has failed.
    pub fn handle_datagram(
        &mut self,
        datagram: &[u8],
        now: Instant,
    ) -> Result<Option<SrtpKeys>, DtlsError> {
        let read = self.endpoint.read(now, peer(), None, datagram.into());
        let events = match read {
            Ok(events) => events,
            // After the handshake nothing but media matters; stray records do not end a call.
            Err(_) if self.done => return Ok(None),
            Err(error) => return Err(DtlsError::Handshake(error.to_string())),
        };
        let complete = events.iter().any(|e| matches!(e, EndpointEvent::HandshakeComplete));
        if !complete || self.done {
            return Ok(None);
        }
        self.done = true;
        self.keys().map(Some)
    }

    /// The next datagram for the peer.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.endpoint.poll_transmit().map(|t| t.message.to_vec())
    }

    /// Retransmits what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = self.endpoint.handle_timeout(peer(), now);
    }

    /// The next deadline.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout(&peer())
    }

    fn keys(&self) -> Result<SrtpKeys, DtlsError> {
        let state = self.endpoint.get_connection_state(peer()).ok_or(DtlsError::NoProfile)?;
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Profile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Profile::Aes128CmSha1_80,
            _ => return Err(DtlsError::NoProfile),
        };
        let salt = profile.key_length() - 16;
        let material = state
            .export_keying_material(LABEL, &[], 2 * profile.key_length())
            .map_err(|e| DtlsError::Handshake(e.to_string()))?;
        let material: &[u8] = material.as_ref();
        // Client key, server key, client salt, server salt.
        let part =
            |from: usize, length: usize| material.get(from..from + length).unwrap_or_default();
        let client = [part(0, 16), part(32, salt)].concat();
        let server = [part(16, 16), part(32 + salt, salt)].concat();
        let (ours, theirs) = if self.is_client { (client, server) } else { (server, client) };
        let key = |key_and_salt| MasterKey { profile, key_and_salt };
        Ok(SrtpKeys { ours: key(ours), theirs: key(theirs) })
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests {
    use super::*;

    fn handshake(
        expected_by_client: String,
        expected_by_server: String,
        ids: &[Identity; 2],
    ) -> Result<[SrtpKeys; 2], DtlsError> {
        let now = Instant::now();
        let mut ends = [
            Association::new(&ids[0], true, vec![expected_by_client], now)?,
            Association::new(&ids[1], false, vec![expected_by_server], now)?,
        ];
        let mut keys = [None, None];
        for _ in 0..20 {
            for from in 0..2 {
                while let Some(datagram) = ends[from].poll_transmit() {
                    assert!(is_dtls(&datagram));
                    if let Some(got) = ends[1 - from].handle_datagram(&datagram, now)? {
                        keys[1 - from] = Some(got);
                    }
                }
            }
        }
        match keys {
            [Some(a), Some(b)] => Ok([a, b]),
            _ => Err(DtlsError::Handshake("not complete".into())),
        }
    }

    #[test]
    fn both_ends_get_the_same_keys() {
        let ids = [Identity::generate().unwrap(), Identity::generate().unwrap()];
        let [a, b] =
            handshake(ids[1].fingerprint().to_lowercase(), ids[0].fingerprint().into(), &ids)
                .unwrap();
        assert_eq!((a.ours, a.theirs), (b.theirs, b.ours));
    }

    #[test]
    fn a_stranger_s_certificate_ends_the_handshake_at_either_end() {
        let ids = [Identity::generate().unwrap(), Identity::generate().unwrap()];
        let (a, b) = (ids[0].fingerprint().to_owned(), ids[1].fingerprint().to_owned());
        assert!(handshake(a.clone(), a.clone(), &ids).is_err());
        assert!(handshake(b.clone(), b, &ids).is_err());
    }
}
