//! What federation is given: authorities, our certificate for both directions, names, a secret.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tandem_xmpp::net::s2s::{AnyCertificate, Federation, Settings};

use crate::certificate::{Certificate, CertificateError};
use crate::config::Config;
use crate::dns::Resolver;

/// Application protocol of direct TLS between servers (XEP-0368 section 2).
const ALPN: &str = "xmpp-server";

/// TLS of streams from other servers: in the clear first, and direct.
pub struct Incoming {
    /// For STARTTLS.
    pub starttls: Arc<ServerConfig>,
    /// For direct TLS.
    pub direct: Arc<ServerConfig>,
}

/// Federation as configured, and what its listeners need. `secret` is the same across restarts.
///
/// # Errors
///
/// [`CertificateError`] when a file with authorities cannot be read, or our certificate not be used.
pub fn prepare(
    config: &Config,
    certificate: &Certificate,
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
    certificate: &Certificate,
    alpn: &[&str],
) -> Result<Arc<ClientConfig>, CertificateError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (chain, key) = certificate.parts();
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(AnyCertificate::new(provider))
        .with_client_auth_cert(chain, key)
        .map_err(unusable)?;
    config.alpn_protocols = protocols(alpn);
    Ok(Arc::new(config))
}

fn incoming(
    certificate: &Certificate,
    alpn: &[&str],
) -> Result<Arc<ServerConfig>, CertificateError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (chain, key) = certificate.parts();
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_client_cert_verifier(AnyCertificate::new(provider))
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    config.alpn_protocols = protocols(alpn);
    Ok(Arc::new(config))
}
