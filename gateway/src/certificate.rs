//! One certificate for all listeners: from files, or self-made in the data folder.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use tandem_xmpp::stream::binding;

use crate::config::Config;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    File(String, String),
    /// Chain and key do not fit, or cannot be used.
    #[error("the certificate cannot be used: {0}")]
    Unusable(String),
}

/// Chain and key of this node.
pub struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Certificate {
    /// Reads the configured files, or the self-made ones, or makes those.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] names the file.
    pub fn load(config: &Config) -> Result<Self, CertificateError> {
        let [certificate, key] = Self::files(config);
        let is_self_made = config.tls.certificate.as_os_str().is_empty();
        if is_self_made && !(certificate.exists() && key.exists()) {
            make(&config.domains, &certificate, &key)?;
        }
        let fault = |path: &Path, e: rustls::pki_types::pem::Error| {
            CertificateError::File(path.display().to_string(), e.to_string())
        };
        let chain = CertificateDer::pem_file_iter(&certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|e| fault(&certificate, e))?;
        let key = PrivateKeyDer::from_pem_file(&key).map_err(|e| fault(&key, e))?;
        Ok(Self { chain, key })
    }

    /// The channel binding of its own certificate (RFC 5929 section 4); `None` where its signature defines none.
    pub fn end_point(&self) -> Option<Vec<u8>> {
        self.chain.first().and_then(|certificate| binding::end_point(certificate))
    }

    /// Chain and key, for TLS of another kind.
    pub(crate) fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.chain.clone(), self.key.clone_key())
    }

    /// Where chain and key are.
    pub fn files(config: &Config) -> [PathBuf; 2] {
        if config.tls.certificate.as_os_str().is_empty() {
            return ["certificate.pem", "key.pem"].map(|name| config.data_dir.join(name));
        }
        [config.tls.certificate.clone(), config.tls.key.clone()]
    }

    /// TLS of a listener that offers these application protocols (ALPN).
    ///
    /// # Errors
    ///
    /// [`CertificateError::Unusable`] when key and chain do not fit.
    pub fn tls(&self, alpn: &[String]) -> Result<tandem_xmpp::net::Tls, CertificateError> {
        let alpn: Vec<&str> = alpn.iter().map(String::as_str).collect();
        let (config, end_point) = (self.server_config(&alpn)?, self.end_point());
        Ok(tandem_xmpp::net::Tls { config, end_point })
    }

    /// TLS settings that offer these application protocols (ALPN).
    ///
    /// # Errors
    ///
    /// [`CertificateError::Unusable`] when key and chain do not fit.
    pub fn server_config(&self, alpn: &[&str]) -> Result<Arc<ServerConfig>, CertificateError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| CertificateError::Unusable(e.to_string()))?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|e| CertificateError::Unusable(e.to_string()))?;
        // A device that comes back resumes its TLS session, without anything being kept for it here.
        config.ticketer = rustls::crypto::ring::Ticketer::new()
            .map_err(|e| CertificateError::Unusable(e.to_string()))?;
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }
}

fn make(domains: &[String], certificate: &Path, key: &Path) -> Result<(), CertificateError> {
    let unusable = |e: rcgen::Error| CertificateError::Unusable(e.to_string());
    let pair = rcgen::KeyPair::generate().map_err(unusable)?;
    // The services beside a domain show the same certificate to other servers.
    let services = |domain: &String| {
        let names = [tandem_xmpp::router::ROOMS, tandem_xmpp::router::UPLOADS];
        names.map(|name| format!("{name}.{domain}"))
    };
    let names: Vec<String> =
        domains.iter().cloned().chain(domains.iter().flat_map(services)).collect();
    let params = rcgen::CertificateParams::new(names).map_err(unusable)?;
    let made = params.self_signed(&pair).map_err(unusable)?;
    write(key, pair.serialize_pem().as_bytes(), 0o600)?;
    write(certificate, made.pem().as_bytes(), 0o644)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertificateError> {
    let fault =
        |e: std::io::Error| CertificateError::File(path.display().to_string(), e.to_string());
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(mode).open(path).map_err(fault)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// XEP-0388 section 3, XEP-0440 section 3.
    #[test]
    fn sessions_are_resumed_and_no_early_data_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { data_dir: dir.path().to_owned(), ..Config::default() };
        let certificate = Certificate::load(&config).unwrap();
        let settings = certificate.server_config(&["xmpp-client"]).unwrap();
        assert!(settings.ticketer.enabled());
        assert_eq!(settings.max_early_data_size, 0);
        assert_eq!(certificate.end_point().map(|hash| hash.len()), Some(32));
    }
}
