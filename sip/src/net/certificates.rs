//! Certificates of other SIP servers (RFC 5922 sections 7.3 and 7.4): who is called has to be the domain that was asked for;
//! who calls may show whose server it is, and is a stranger else.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage};

use crate::transport::certificate::{identities, is_same};

/// Takes the certificate of a server that leads to one of the roots and speaks for the domain that was asked for.
#[derive(Debug)]
pub struct DomainVerifier {
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl DomainVerifier {
    /// With these authorities and algorithms.
    pub fn new(roots: RootCertStore, provider: Arc<CryptoProvider>) -> Arc<Self> {
        Arc::new(Self { roots, provider })
    }
}

impl ServerCertVerifier for DomainVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        asked: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        let ServerName::DnsName(domain) = asked else {
            // An address is no domain; who is asked for by one shows one.
            verify_server_name(&parsed, asked)?;
            return Ok(ServerCertVerified::assertion());
        };
        match names(certificate).iter().any(|name| is_same(name, domain.as_ref())) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(Error::InvalidCertificate(CertificateError::NotValidForName)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The domains that a client's chain proves now: those of its first certificate when it leads to one of the roots, else none.
///
/// A server shows the same certificate as client and as server, and authorities issue it for servers: one for either use does.
pub(super) fn proven(chain: Option<&[CertificateDer<'_>]>, roots: &RootCertStore) -> Vec<String> {
    let Some((first, intermediates)) = chain.and_then(<[_]>::split_first) else {
        return Vec::new();
    };
    let Ok(certificate) = EndEntityCert::try_from(first) else { return Vec::new() };
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
    let (roots, now) = (&roots.roots, UnixTime::now());
    let is_valid = [KeyUsage::server_auth(), KeyUsage::client_auth()].into_iter().any(|usage| {
        certificate
            .verify_for_usage(algorithms, roots, intermediates, now, usage, None, None)
            .is_ok()
    });
    if is_valid { names(first) } else { Vec::new() }
}

fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    identities(certificate.valid_uri_names(), certificate.valid_dns_names())
}

#[cfg(test)]
mod tests {
    use rcgen::ExtendedKeyUsagePurpose::{self, ClientAuth, CodeSigning, ServerAuth};
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

    use super::*;

    type Authority = (Issuer<'static, KeyPair>, RootCertStore);

    fn authority() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let mut roots = RootCertStore::empty();
        roots.add(params.self_signed(&key).unwrap().der().clone()).unwrap();
        (Issuer::new(params, key), roots)
    }

    fn certificate(
        issuer: &Issuer<'_, KeyPair>,
        uris: &[&str],
        names: &[&str],
    ) -> CertificateDer<'static> {
        certificate_for(issuer, uris, names, &[])
    }

    fn certificate_for(
        issuer: &Issuer<'_, KeyPair>,
        uris: &[&str],
        names: &[&str],
        uses: &[ExtendedKeyUsagePurpose],
    ) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        let names = names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap()));
        params.subject_alt_names = uris.chain(names).collect();
        params.extended_key_usages = uses.to_vec();
        params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
    }

    #[test]
    fn who_is_called_speaks_for_the_domain_that_was_asked_for() {
        let ((issuer, roots), (stranger, _)) = (authority(), authority());
        let verifier =
            DomainVerifier::new(roots, Arc::new(rustls::crypto::ring::default_provider()));
        let table: [(&[&str], &[&str], &str, bool); 7] = [
            (&["sip:a.example"], &[], "a.example", true),
            (&["sip:a.example"], &["b.example"], "b.example", false),
            (&[], &["b.example"], "B.Example", true),
            (&[], &["*.example"], "a.example", false),
            (&[], &["a.example"], "sip.a.example", false),
            (&[], &["sip.a.example"], "a.example", false),
            (&["sip:ana@a.example"], &[], "a.example", false),
        ];
        let verify = |shown: &CertificateDer<'_>, asked: &str| {
            let asked = ServerName::try_from(asked.to_owned()).unwrap();
            verifier.verify_server_cert(shown, &[], &asked, &[], UnixTime::now()).is_ok()
        };
        for (uris, names, asked, expected) in table {
            let shown = certificate(&issuer, uris, names);
            assert_eq!(verify(&shown, asked), expected, "{uris:?} {names:?} {asked}");
        }
        assert!(!verify(&certificate(&stranger, &["sip:a.example"], &[]), "a.example"));
    }

    #[test]
    fn who_calls_has_proven_what_an_authority_says_of_it_and_nothing_else() {
        let ((issuer, roots), (stranger, _)) = (authority(), authority());
        let shown = certificate(&issuer, &["sip:a.example"], &["b.example"]);
        assert_eq!(proven(Some(&[shown]), &roots), ["a.example"]);
        let shown = certificate(&issuer, &[], &["b.example", "c.example"]);
        assert_eq!(proven(Some(&[shown]), &roots), ["b.example", "c.example"]);
        let own = certificate(&stranger, &["sip:a.example"], &[]);
        let broken = CertificateDer::from(b"no certificate".to_vec());
        for chain in [Some(&[own][..]), Some(&[broken][..]), Some(&[][..]), None] {
            assert_eq!(proven(chain, &roots), [""; 0]);
        }
    }

    /// RFC 5922 section 7.1. A server shows what it has also where it calls: either of the two uses of TLS does for that.
    #[test]
    fn a_certificate_for_another_use_proves_nothing() {
        let (issuer, roots) = authority();
        let verifier =
            DomainVerifier::new(roots.clone(), Arc::new(rustls::crypto::ring::default_provider()));
        let asked = ServerName::try_from("a.example").unwrap();
        for (uses, serves, calls) in [
            (&[][..], true, true),
            (&[ServerAuth][..], true, true),
            (&[ClientAuth][..], false, true),
            (&[CodeSigning][..], false, false),
        ] {
            let shown = certificate_for(&issuer, &["sip:a.example"], &[], uses);
            let is_taken = verifier.verify_server_cert(&shown, &[], &asked, &[], UnixTime::now());
            assert_eq!(is_taken.is_ok(), serves, "{uses:?}");
            assert_eq!(!proven(Some(&[shown]), &roots).is_empty(), calls, "{uses:?}");
        }
    }
}
