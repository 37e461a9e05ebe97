//! What federation is given: authorities, our certificate for both directions, names, a secret.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tandem_sip::config::Policy;
use tandem_sip::net::certificates::DomainVerifier;
use tandem_xmpp::net::s2s::{AnyCertificate, Federation, Settings};

use crate::certificate::CertificateError;
use crate::config::Config;
use crate::dns::Resolver;
use crate::live_certificate::LiveCertificate;

/// Application protocol of direct TLS between servers (XEP-0368 section 2).
const ALPN: &str = "xmpp-server";

/// TLS of streams from other servers: in the clear first, and direct.
pub struct Incoming {
    /// For STARTTLS.
    pub starttls: Arc<ServerConfig>,
    /// For direct TLS.
    pub direct: Arc<ServerConfig>,
}

/// Federation as configured, which shows the certificate that is live when a stream begins, and what its listeners need. `secret` is the same across restarts.
///
/// # Errors
///
/// [`CertificateError`] when a file with authorities cannot be read, or the TLS library does not work.
pub fn prepare(
    config: &Config,
    certificate: &LiveCertificate,
    secret: [u8; 32],
) -> Result<(Federation, Incoming), CertificateError> {
    let federation = &config.federation;
    let settings = Settings {
        enabled: federation.enabled,
        allow: federation.allow.clone(),
        deny: federation.deny.clone(),
        require_valid_certificates: federation.require_valid_certificates,
        roots: roots(config)?,
        secret,
        max_queued_bytes: federation.max_queued_bytes,
        max_links: federation.max_links,
        patience: Duration::from_secs(federation.patience_seconds),
        tls: [outgoing(certificate, &[ALPN])?, outgoing(certificate, &[])?],
        dns: Arc::new(Resolver::new(&config.dns)),
    };
    let incoming =
        Incoming { starttls: incoming(certificate, &[])?, direct: incoming(certificate, &[ALPN])? };
    Ok((Federation::new(settings), incoming))
}

/// TLS of phones and of other SIP servers: those show the certificate of the domain that was asked for (RFC 5922
/// section 4), and ours is shown to them. Where trunks, or domains
/// that are named, may be known by their certificate, whoever connects is asked for one.
///
/// # Errors
///
/// As [`prepare`].
pub fn phones(
    config: &Config,
    certificate: &LiveCertificate,
) -> Result<tandem_sip::Tls, CertificateError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = roots(config)?;
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(DomainVerifier::new(roots.clone(), provider))
        .with_client_cert_resolver(certificate.shown());
    let client = Some(Arc::new(client));
    // Phones have no certificates, and some stumble over the question.
    let is_asked = config.trunks.iter().any(|trunk| !trunk.tls_names.is_empty())
        || config.sip.foreign != Policy::Closed && !config.sip.foreign_domains.is_empty();
    let (server, roots) = match is_asked {
        true => (incoming(certificate, &[])?, Some(Arc::new(roots))),
        false => (certificate.server_config()?, None),
    };
    Ok(tandem_sip::Tls { server, client, roots })
}

/// TLS towards web servers.
///
/// # Errors
///
/// As [`prepare`].
pub fn web_client(config: &Config) -> Result<Arc<ClientConfig>, CertificateError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots(config)?)
        .with_no_client_auth();
    Ok(Arc::new(client))
}

/// The authorities of the system and those of the configuration.
fn roots(config: &Config) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "an authority of the system cannot be read");
    }
    roots.add_parsable_certificates(system.certs);
    for path in &config.federation.extra_roots {
        let fault = |e: String| CertificateError::File(path.display().to_string(), e);
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|e| fault(e.to_string()))?;
        for certificate in certificates {
            roots.add(certificate).map_err(|e| fault(e.to_string()))?;
        }
    }
    Ok(roots)
}

fn unusable(error: rustls::Error) -> CertificateError {
    CertificateError::Unusable(error.to_string())
}

fn protocols(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|p| p.as_bytes().to_vec()).collect()
}

fn outgoing(
    certificate: &LiveCertificate,
    alpn: &[&str],
) -> Result<Arc<ClientConfig>, CertificateError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(AnyCertificate::new(provider))
        .with_client_cert_resolver(certificate.shown());
    // A session that is resumed shows the certificate with which it began.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = protocols(alpn);
    Ok(Arc::new(config))
}

fn incoming(
    certificate: &LiveCertificate,
    alpn: &[&str],
) -> Result<Arc<ServerConfig>, CertificateError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_client_cert_verifier(AnyCertificate::new(provider))
        .with_cert_resolver(certificate.shown());
    config.alpn_protocols = protocols(alpn);
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::certificate::Certificate;

    /// What each side is shown by the other.
    async fn shown(near: &Arc<ClientConfig>, far: &Arc<ServerConfig>) -> [Vec<u8>; 2] {
        let (a, b) = tokio::io::duplex(64 * 1024);
        let name = ServerName::try_from("localhost").unwrap();
        let (near, far) = tokio::try_join!(
            TlsConnector::from(near.clone()).connect(name, a),
            TlsAcceptor::from(far.clone()).accept(b)
        )
        .unwrap();
        assert_eq!(far.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
        [near.get_ref().1.peer_certificates(), far.get_ref().1.peer_certificates()]
            .map(|chain| chain.unwrap()[0].to_vec())
    }

    #[tokio::test]
    async fn other_servers_are_shown_a_new_certificate_in_both_directions() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { data_dir: dir.path().to_owned(), ..Config::default() };
        let live = LiveCertificate::load(&config).unwrap();
        let (near, far) = (outgoing(&live, &[ALPN]).unwrap(), incoming(&live, &[ALPN]).unwrap());
        let old = shown(&near, &far).await;
        assert_eq!(old[0], old[1]);
        assert_eq!(shown(&near, &far).await, old);
        for file in Certificate::files(&config) {
            std::fs::remove_file(file).unwrap();
        }
        Certificate::load(&config).unwrap();
        live.renew();
        let new = shown(&near, &far).await;
        assert_eq!(new[0], new[1]);
        assert_ne!(new[0], old[0]);
    }
}
